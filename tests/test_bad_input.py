"""Bad input: one clear error, and the estimator left as it was."""

import re
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from gdregress import LinearRegression, LogisticRegression

nan, inf = float("nan"), float("inf")

# The parameter, bad values of it, and the solver that reads it ("auto" where all do).
BAD_PARAMETERS = [
    ("learning_rate", [0, 0.0, -0.1, nan, inf, "fast", [0.1], True, None]),
    ("solver", ["sgd", "NEWTON", 3, None]),
    ("max_iter", [0, -1, 1.5, "many", None, nan, True]),
    ("tol", [-1e-3, nan, inf, "small", None]),
    ("alpha", [-1.0, nan, inf, "strong", None]),
    ("l1_ratio", [-0.1, 1.5, nan, "half"]),
    ("criterion", ["speed", None, 1]),
    ("n_iter_no_change", [0, -1, 2.5, "few"]),
    ("fit_intercept", ["yes", None, 2]),
    ("batch_size", [0, -1, 2.5, "small"]),
    ("schedule", ["sometimes", 0.5]),
    ("validation_fraction", [0.0, 1.0, -0.1, nan]),
    ("random_state", ["seed"]),
]
BAD_PARAMETERS = [(name, value) for name, values in BAD_PARAMETERS for value in values]
NOT_FOR_THIS_ESTIMATOR = [
    (LinearRegression, "newton"),
    (LogisticRegression, "normal_equations"),
    (LogisticRegression, "lstsq"),
]
EVERY_SOLVER = [
    LinearRegression(solver="normal_equations"),
    LinearRegression(solver="lstsq"),
    LinearRegression(solver="gd"),
    LogisticRegression(solver="newton", alpha=0.1),
    LogisticRegression(solver="gd", alpha=0.1),
]
solver_id = lambda model: f"{type(model).__name__}-{model.solver}"  # noqa: E731
each_solver = pytest.mark.parametrize("model", EVERY_SOLVER, ids=solver_id)
each_estimator = pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])


def good_data(n_samples=30):
    """X, y and weights that suit both estimators."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, 3))
    return X, (X[:, 0] + rng.standard_normal(n_samples) > 0).astype(float), rng.random(n_samples)


def put(array, value, at=-1):
    """A copy of the array with one value replaced."""
    array = array.copy()
    array[at] = value
    return array


# What is wrong, made from good X, y and weights; and what the message has to say.
BAD_DATA = {
    "nan in X": (lambda X, y, w: (put(X, nan, (-1, 1)), y, w), "Input X contains NaN"),
    "inf in X": (lambda X, y, w: (put(X, inf, (0, 0)), y, w), "Input X contains infinity"),
    "-inf in X": (lambda X, y, w: (put(X, -inf, (0, 0)), y, w), "Input X contains infinity"),
    "nan in float32 X": (
        lambda X, y, w: (put(X.astype(np.float32), nan, (-1, 1)), y, w),
        "Input X contains NaN",
    ),
    "nan in sparse X": (
        lambda X, y, w: (sp.csr_array(put(X, nan, (-1, 1))), y, w),
        "Input X contains NaN",
    ),
    "nan and weight 0": (
        lambda X, y, w: (put(X, nan, (-1, 1)), y, put(w, 0)),
        "Input X contains NaN",
    ),
    "text in X": (lambda X, y, w: (put(X.astype(object), "a", (0, 0)), y, w), "'a'"),
    "complex X": (lambda X, y, w: (X + 1j, y, w), "[Cc]omplex"),
    "nan in y": (lambda X, y, w: (X, put(y, nan), w), "y contains NaN"),
    "inf in y": (lambda X, y, w: (X, put(y, inf), w), "y contains infinity"),
    "nan in weights": (lambda X, y, w: (X, y, put(w, nan)), "sample_weight contains NaN"),
    "inf in weights": (lambda X, y, w: (X, y, put(w, inf)), "sample_weight contains infinity"),
    "negative weight": (lambda X, y, w: (X, y, put(w, -0.5)), "[Nn]egative.*sample_weight"),
    "no weight": (lambda X, y, w: (X, y, 0 * w), "(?i)sample.weight.*(zero|0)"),
    "weights too short": (lambda X, y, w: (X, y, w[:-1]), r"sample_weight.*\(29,\).*\(30,\)"),
    "weights 2-D": (lambda X, y, w: (X, y, w[:, None]), "(?i)sample.weight"),
    "no rows": (lambda X, y, w: (X[:0], y[:0], w[:0]), "0 sample"),
    "no columns": (lambda X, y, w: (X[:, :0], y, w), "0 feature"),
    "y too short": (lambda X, y, w: (X, y[:-1], w), r"inconsistent.*\[30, 29\]"),
    "X 1-D": (lambda X, y, w: (X[:, 0], y, w), "1D array"),
    "X 3-D": (lambda X, y, w: (X[:, :, None], y, w), "dim 3|3 dim|3D"),
    "y 3-D": (lambda X, y, w: (X, y[:, None, None], w), "(?i)dim 3|3 dim|3D|shape"),
    "no y": (lambda X, _, w: (X, None, w), "requires y|y cannot be None"),
}
BAD_CLASSES = {
    "one class": (lambda X, y, w: (X, 0 * y, w), "class"),
    "one class with weight": (lambda X, y, w: (X, y, np.where(y == 1, w, 0)), "class"),
    "continuous y": (lambda X, _, w: (X, X[:, 1], w), "(?i)continuous"),
    "two columns of labels": (lambda X, y, w: (X, np.column_stack([y, y]), w), "y"),
}


def assert_names(error, name, value):
    """A plain error that says which parameter is wrong, what was given and what is accepted."""
    message = str(error)
    assert type(error) in (ValueError, TypeError)
    assert name in message
    shown = str(value)
    assert shown in message, f"{shown!r} is not in {message!r}"
    # More than the two: what is accepted.
    assert len(re.sub(re.escape(name) + "|" + re.escape(shown), "", message).split()) >= 3


class Unchanged:
    """Checks on exit that no attribute of the estimator was added, removed, replaced or written."""

    def __init__(self, model):
        self.model = model

    def __enter__(self):
        self.before = dict(vars(self.model))
        self.copy = deepcopy(self.before)

    def __exit__(self, *exc):
        after = vars(self.model)
        assert after.keys() == self.before.keys()
        for key, value in self.before.items():
            assert after[key] is value, f"{key} was replaced"
            if isinstance(value, np.ndarray | float | int | str):
                assert_equal(value, self.copy[key])
        return False


# Parameters


@each_estimator
@pytest.mark.parametrize(
    ("name", "value"), BAD_PARAMETERS, ids=[f"{n}={v!r}" for n, v in BAD_PARAMETERS]
)
def test_bad_parameter(estimator, name, value):
    X, y, _ = good_data()
    model = estimator(alpha=0.1).fit(X, y)
    model.set_params(**{name: value})
    with Unchanged(model), pytest.raises((ValueError, TypeError)) as caught:
        model.fit(X, y)
    assert_names(caught.value, name, value)
    model.predict(X)  # as before


class _WithABadDefault(LogisticRegression):
    def __init__(self, *, tol=-1.0):
        super().__init__(tol=tol)


def test_a_default_of_a_subclass_is_checked_too():
    with pytest.raises(ValueError, match="'tol' of _WithABadDefault must be a number >= 0"):
        _WithABadDefault().fit(*good_data()[:2])
    _WithABadDefault(tol=1e-3).fit(*good_data()[:2])


@each_estimator
def test_parameters_are_checked_in_fit_only(estimator):
    model = estimator(learning_rate=-1, solver="sgd", max_iter=0)
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize(("estimator", "solver"), NOT_FOR_THIS_ESTIMATOR)
def test_a_solver_of_the_other_estimator(estimator, solver):
    X, y, _ = good_data()
    with pytest.raises(ValueError) as caught:
        estimator(solver=solver).fit(X, y)
    assert_names(caught.value, "solver", solver)
    for accepted in ("auto", "gd", "newton" if estimator is LogisticRegression else "lstsq"):
        assert accepted in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["heavy", {0.0: -1.0, 1.0: 1.0}, {0.0: nan, 1.0: 1.0}, {0.0: inf, 1.0: 1.0}, 3],
    ids=str,
)
def test_bad_class_weight(value):
    X, y, _ = good_data()
    model = LogisticRegression(alpha=0.1).fit(X, y).set_params(class_weight=value)
    with Unchanged(model), pytest.raises((ValueError, TypeError), match="class_weight"):
        model.fit(X, y)


@pytest.mark.parametrize("solver", ["normal_equations", "lstsq", "newton"])
def test_an_l1_part_needs_a_solver_with_a_proximal_step(solver):
    X, y, _ = good_data()
    estimator = LogisticRegression if solver == "newton" else LinearRegression
    with pytest.raises(ValueError, match=solver) as caught:
        estimator(solver=solver, alpha=0.1, l1_ratio=0.5).fit(X, y)
    assert "l1_ratio" in str(caught.value)


@each_estimator
@pytest.mark.parametrize(
    ("start", "name"),
    [
        ({"coef_init": np.ones(5)}, "coef_init"),
        ({"coef_init": np.ones((2, 2))}, "coef_init"),
        ({"coef_init": np.array([0, nan, 0])}, "coef_init"),
        ({"coef_init": np.zeros(3), "intercept_init": np.zeros(4)}, "intercept_init"),
        ({"coef_init": np.zeros(3), "intercept_init": inf}, "intercept_init"),
    ],
)
def test_bad_start(estimator, start, name):
    X, y, _ = good_data()
    if estimator is LogisticRegression and start["coef_init"].shape == (3,):
        start = {**start, "coef_init": start["coef_init"][None, :]}
    model = estimator(alpha=0.1).fit(X, y)
    with Unchanged(model), pytest.raises(ValueError, match=name):
        model.fit(X, y, **start)


# Data


@each_solver
@pytest.mark.parametrize("kind", BAD_DATA)
@pytest.mark.parametrize("fitted", [True, False])
def test_bad_data(model, kind, fitted):
    make_bad, match = BAD_DATA[kind]
    if kind in ("nan in y", "inf in y") and isinstance(model, LogisticRegression):
        match = "contains (NaN|infinity)"
    assert_refused(model, make_bad, match, fitted)


@pytest.mark.parametrize("model", EVERY_SOLVER[3:], ids=solver_id)
@pytest.mark.parametrize("kind", BAD_CLASSES)
@pytest.mark.parametrize("fitted", [True, False])
def test_bad_classes(model, kind, fitted):
    assert_refused(model, *BAD_CLASSES[kind], fitted)


def assert_refused(model, make_bad, match, fitted):
    """`fit` raises, and a model fitted to four columns before remains that model."""
    X, y, weight = good_data()
    bad_X, bad_y, bad_weight = make_bad(X, y, weight)
    model = clone(model)
    if fitted:
        model.fit(np.column_stack([X, X[:, 0] ** 2]), y)
    with Unchanged(model), pytest.raises((ValueError, TypeError), match=match) as caught:
        model.fit(bad_X, bad_y, sample_weight=bad_weight)
    assert type(caught.value) in (ValueError, TypeError)


@pytest.mark.parametrize("value", [nan, inf])
@each_solver
def test_a_bad_value_late_in_long_data_is_found(model, value):
    X, y, _ = good_data(50_000)
    word = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(ValueError, match=f"Input X contains {word}") as caught:
        clone(model).fit(put(X, value, (-1, -1)), y)
    # scikit-learn's own words name the estimator where it accepts no NaN
    assert type(model).__name__ in str(caught.value) or word == "infinity"


@each_solver
def test_a_list_of_weights_and_one_number_are_accepted(model):
    X, y, weight = good_data()
    expected = clone(model).fit(X, y, sample_weight=weight).coef_
    assert_equal(clone(model).fit(X, y, sample_weight=weight.tolist()).coef_, expected)
    expected = clone(model).fit(X, y).coef_
    np.testing.assert_allclose(clone(model).fit(X, y, sample_weight=2.0).coef_, expected, 1e-12)


# Prediction


@each_estimator
@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_prediction_before_fit_and_with_other_features(estimator, method):
    if not hasattr(estimator, method):
        assert estimator is LinearRegression
        return
    X, y, _ = good_data()
    with pytest.raises(NotFittedError, match=estimator.__name__):
        getattr(estimator(), method)(X)
    model = estimator(alpha=0.1).fit(X, y)
    for other in (X[:, :2], np.hstack([X, X])):
        expected = f"X has {other.shape[1]} features, but {estimator.__name__} is expecting 3"
        with pytest.raises(ValueError, match=expected):
            getattr(model, method)(other)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        getattr(model, method)(put(X, nan, (0, 0)))


@each_estimator
def test_prediction_with_other_names(estimator):
    X, y, _ = good_data()
    model = estimator(alpha=0.1).fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(pd.DataFrame(X, columns=["a", "b", "d"]))


# Where a warning points


def _fitted_with_a_warning():
    X, y = [[0.0, 1.0], [1.0, 0.0], [2.0, 5.0], [3.0, 1.0]], [0, 0, 1, 1]
    return {
        "unfinished": lambda: LinearRegression(solver="gd", max_iter=1).fit(X, y),
        "separable": lambda: LogisticRegression().fit(X, y),
        "batch of everything": lambda: LogisticRegression(batch_size=9, tol=1e-2).fit(X, y),
        "stream": lambda: LogisticRegression(solver="gd", learning_rate=1e9).partial_fit(
            X, y, classes=[0, 1]
        ),
    }


@pytest.mark.parametrize("which", _fitted_with_a_warning())
def test_a_warning_points_at_the_line_of_the_user(which):
    with pytest.warns((ConvergenceWarning, UserWarning)) as caught:
        _fitted_with_a_warning()[which]()
    assert {Path(warning.filename) for warning in caught} == {Path(__file__)}
