"""What is said of wrong input: whose value it is, and what to do."""

import enum
import math
import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone

from gdregress import LinearRegression, LogisticRegression
from gdregress.callback import Checkpoint
from gdregress.solvers import GradientDescent, Momentum, Nesterov

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
Y = X @ [1.0, 2.0, 3.0] + RNG.standard_normal(60)
LABELS = (Y > 0).astype(int)
THREE = np.arange(60) % 3
WITH_NAN = X.copy()
WITH_NAN[5, 1] = math.nan
Colour = enum.Enum("Colour", "RED BLUE")
BOTH = [(LinearRegression, Y), (LogisticRegression, LABELS)]
each_estimator = pytest.mark.parametrize(("estimator", "y"), BOTH, ids=["linear", "logistic"])


def refusal(call, *args, **kwargs):
    """The one plain error that a call ends in."""
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*args, **kwargs)
    assert type(caught.value) in (ValueError, TypeError)
    return str(caught.value)


# Names


@pytest.mark.parametrize(
    ("given", "here"),
    [
        ({"C": 2.0}, "alpha"),
        ({"penalty": "l2"}, "l1_ratio"),
        ({"epochs": 5}, "max_iter"),
        ({"n_epochs": 5}, "max_iter"),
        ({"eta0": 0.1}, "learning_rate"),
        ({"lr": 0.1}, "learning_rate"),
        ({"momentum": 0.9}, "solver"),
        ({"seed": 0}, "random_state"),
        ({"fit_intersept": False}, "fit_intercept"),
        ({"coef_init": [0.0]}, "fit"),
        ({"something_else": 1}, "learning_rate"),
    ],
)
@each_estimator
def test_a_parameter_of_another_library(estimator, y, given, here):
    message = refusal(estimator, **given)
    assert message.startswith(f"{estimator.__name__} has no parameter {next(iter(given))!r}")
    assert here in message.replace(next(iter(given)), "")


@each_estimator
def test_parameters_have_names(estimator, y):
    message = refusal(estimator, "gd")
    assert f"{estimator.__name__} takes its parameters by name" in message


class Subclass(LinearRegression):
    """With parameters of its own."""

    def __init__(self, *, degree=1, solver="auto"):
        super().__init__(solver=solver)
        self.degree = degree


def test_parameters_of_a_subclass():
    assert clone(Subclass(degree=3)).get_params() == {"degree": 3, "solver": "auto"}
    assert "alpha" in clone(LogisticRegression(alpha=0.5)).get_params()


@pytest.mark.parametrize(
    ("estimator", "solver", "here"),
    [
        (LogisticRegression, "lbfgs", "'newton'"),
        (LogisticRegression, "liblinear", "'newton', or 'nesterov' with an L1 part"),
        (LogisticRegression, "lstsq", "'newton'"),
        (LinearRegression, "newton", "'normal_equations'"),
        (LinearRegression, "svd", "'lstsq'"),
        (LinearRegression, "SGD", "'gd' with a batch_size"),
    ],
)
def test_a_solver_of_another_library(estimator, solver, here):
    message = refusal(estimator(solver=solver).fit, X, LABELS)
    assert message.endswith(f"What you look for may be {here}.")


def test_a_schedule_where_a_rate_is_expected():
    assert "'schedule'" in refusal(LinearRegression(learning_rate="invscaling").fit, X, Y)


# Rows that nobody has looked at


@pytest.mark.parametrize(
    "params",
    [
        {"batch_size": 8},
        {},
        {"solver": "adam"},
        {"solver": "adam", "batch_size": 60},
        {"solver": "nesterov"},
        {"batch_size": 8, "early_stopping": True, "random_state": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
@each_estimator
def test_nan_with_a_given_rate_and_no_tolerance(estimator, y, params, make):
    model = estimator(**{"solver": "gd", "learning_rate": 0.1, "tol": 0, "max_iter": 5, **params})
    assert "Input X contains NaN" in refusal(model.fit, make(WITH_NAN), y)
    assert not hasattr(model, "coef_")
    with_validation = model.set_params(early_stopping=False).fit
    message = refusal(with_validation, X, y, X_val=make(WITH_NAN), y_val=y)
    assert "Input X contains NaN" in message


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@each_estimator
def test_nan_in_a_part_of_a_stream(estimator, y, batch_size, value):
    model = estimator(solver="gd", learning_rate=0.1, batch_size=batch_size)
    classes = {} if estimator is LinearRegression else {"classes": [0, 1]}
    bad = np.where(np.isnan(WITH_NAN), value, X)
    word = "NaN" if math.isnan(value) else "infinity"
    assert f"Input X contains {word}" in refusal(model.partial_fit, bad, y, **classes)
    model.partial_fit(X, y, **classes)
    before = model.coef_.copy()
    assert f"Input X contains {word}" in refusal(model.partial_fit, bad, y)
    assert_array_equal(model.coef_, before)


# Values that are no numbers, and labels that are none

TEXT = ["a"] * 60
MIXED = np.array([1, "a"] * 30, dtype=object)
MISSING = np.array([None, "a"] * 30, dtype=object)
PLAIN_ENUM = np.array([Colour.RED, Colour.BLUE] * 30, dtype=object)
DATES = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")


@pytest.mark.parametrize("y", [TEXT, np.array(TEXT), MIXED, MISSING, PLAIN_ENUM, Y + 1j], ids=repr)
def test_targets_that_are_no_numbers(y):
    for call in (LinearRegression().fit, LinearRegression().partial_fit):
        assert re.search("'y' of LinearRegression", refusal(call, X, y))
    message = refusal(LinearRegression(solver="gd").fit, X, Y, X_val=X, y_val=y)
    assert "'y_val' of LinearRegression" in message


@pytest.mark.parametrize("y", [MIXED, MISSING, PLAIN_ENUM], ids=["mixed", "missing", "enum"])
def test_labels_that_cannot_be_sorted(y):
    kinds = sorted({type(label).__name__ for label in y})
    sentence = "'y' of LogisticRegression must hold labels of one kind that can be sorted"
    message = refusal(LogisticRegression().fit, X, y)
    assert sentence in message
    assert " and ".join(kinds) in message
    assert sentence in refusal(LogisticRegression().partial_fit, X, y, classes=["a", "b"])
    classes = list(dict.fromkeys(y))
    as_array = np.array(classes, dtype=object)
    assert "'classes' of Log" in refusal(LogisticRegression().partial_fit, X, y, classes=as_array)
    model = LogisticRegression(solver="gd", alpha=0.1)
    assert "'y_val' of Log" in refusal(model.fit, X, LABELS, X_val=X, y_val=y)


def test_enumerations_with_an_order_are_labels():
    Level = enum.IntEnum("Level", "LOW HIGH")
    y = np.array([Level.LOW, Level.HIGH], dtype=object)[LABELS]
    model = LogisticRegression(alpha=0.1).fit(X, y)
    assert_array_equal(model.classes_, [Level.LOW, Level.HIGH])
    expected = LogisticRegression(alpha=0.1).fit(X, LABELS)
    assert_array_equal(model.coef_, expected.coef_)


@each_estimator
def test_a_sparse_y(estimator, y):
    column = sparse.csr_array(np.abs(y)[:, None])
    message = refusal(estimator().fit, X, column)
    assert f"'y' of {estimator.__name__} must be a dense array" in message
    assert "y.toarray()" in message


@pytest.mark.parametrize("make", [lambda y: y[:, None], pd.DataFrame, list, pd.Series])
@each_estimator
def test_validation_targets_as_a_column(estimator, y, make):
    model = estimator(solver="gd", max_iter=3, tol=0)
    expected = model.fit(X, y, X_val=X, y_val=y).history_["validation_loss"]
    model.fit(X, y, X_val=X, y_val=make(y))
    assert_array_equal(model.history_["validation_loss"], expected)


@each_estimator
def test_one_weight_for_all_validation_rows(estimator, y):
    model = estimator(solver="gd", max_iter=3, tol=0)
    expected = model.fit(X, y, X_val=X, y_val=y).history_["validation_loss"]
    model.fit(X, y, X_val=X, y_val=y, sample_weight_val=2.0)
    np.testing.assert_allclose(model.history_["validation_loss"], expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["X", "sample_weight", "coef_init", "intercept_init", "X_val"])
@pytest.mark.parametrize("value", ["text", "dates", "complex", "ragged"])
@each_estimator
def test_an_argument_that_holds_no_numbers(estimator, y, name, value):
    good = {"X": X, "y": y, "coef_init": np.zeros(3), "intercept_init": 0.0}
    good |= {"sample_weight": np.ones(60), "X_val": X, "y_val": y}
    shape = np.shape(good[name])
    bad = {
        "text": np.full(shape, "a", dtype=object),
        "dates": np.full(shape, np.datetime64("2020-01-01")),
        "complex": np.full(shape, 1j),
        "ragged": [[1.0, 2.0], [3.0]] * 30,
    }[value]
    message = refusal(estimator(solver="gd").fit, **{**good, name: bad})
    assert f"{name!r} of {estimator.__name__}" in message or f"Input {name}" in message


MISFITS = {
    "text": np.full((60, 3), "a", dtype=object),
    "dates": np.full((60, 3), np.datetime64("2020-01-01")),
    "categories": pd.DataFrame({"a": pd.Categorical(["u", "v"] * 30), "b": Y, "c": Y}),
    "date and number": pd.DataFrame({"a": pd.date_range("2020", periods=60), "b": Y, "c": Y}),
    "missing": np.array([[1.0, 2.0, pd.NA]] * 60, dtype=object),
}


@pytest.mark.parametrize("kind", MISFITS)
@each_estimator
def test_rows_that_hold_no_numbers(estimator, y, kind):
    classes = {} if estimator is LinearRegression else {"classes": [0, 1]}
    model = estimator(alpha=0.1).fit(X, y)
    calls = [
        lambda: estimator().fit(MISFITS[kind], y),
        lambda: estimator(solver="gd").partial_fit(MISFITS[kind], y, **classes),
    ]
    if isinstance(MISFITS[kind], np.ndarray):
        calls += [lambda: model.predict(MISFITS[kind]), lambda: model.score(MISFITS[kind], y)]
    for call in calls:
        assert f"'X' of {estimator.__name__} must hold real numbers" in refusal(call)


def test_kinds_of_columns_that_are_numbers():
    """Nullable integers and booleans, categories and objects, without a missing value."""
    frame = pd.DataFrame(
        {
            "integer": pd.array(THREE, dtype="Int64"),
            "truth": pd.array(LABELS > 0, dtype="boolean"),
            "category": pd.Categorical(np.arange(60) % 5),
            "object": X[:, 0].astype(object),
        }
    )
    plain = np.column_stack([THREE, LABELS, np.arange(60) % 5, X[:, 0]]).astype(float)
    for y in (Y, pd.array(THREE, dtype="Int64"), pd.Series(Y).astype(object)):
        model = LinearRegression().fit(frame, y)
        expected = LinearRegression().fit(plain, np.asarray(y, dtype=float))
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-10, atol=1e-12)
    assert_array_equal(model.predict(frame), model.predict(frame.astype(float)))


@pytest.mark.parametrize("array", ["X", "y"])
@each_estimator
def test_infinities_of_both_signs(estimator, y, array):
    """Their sum is no number, which NumPy says in a RuntimeWarning: here an error."""
    bad = {"X": X.copy(), "y": y.astype(float)}
    bad[array][:2] = np.inf
    bad[array][2:4] = -np.inf
    assert f"Input {array} contains infinity" in refusal(estimator().fit, **bad)
    if array == "X":
        assert "Input X contains inf" in refusal(estimator(alpha=0.1).fit(X, y).predict, bad["X"])


@pytest.mark.parametrize("name", ["alpha", "tol", "learning_rate", "l1_ratio"])
def test_an_integer_beyond_float64(name):
    assert f"{name!r} of LinearRegression" in refusal(LinearRegression(**{name: 10**400}).fit, X, Y)


@pytest.mark.parametrize("weights", [{0: "a", 1: 1}, {0: None}, {0: [1.0]}, {0: 1j}], ids=str)
def test_class_weights_that_are_no_numbers(weights):
    message = refusal(LogisticRegression(class_weight=weights).fit, X, LABELS)
    assert "'class_weight' of LogisticRegression must hold finite weights >= 0" in message


# Rows held out


@pytest.mark.parametrize(
    ("model", "y", "n_samples"),
    [
        (LogisticRegression(validation_fraction=0.99), THREE, 60),
        (LinearRegression(validation_fraction=0.99), Y, 3),
        (LinearRegression(), Y, 1),
    ],
    ids=str,
)
def test_too_few_rows_to_hold_some_out(model, y, n_samples):
    model.set_params(early_stopping=True)
    message = refusal(model.fit, X[:n_samples], y[:n_samples])
    assert f"'validation_fraction'={model.validation_fraction}" in message
    assert "X_val" in message
    assert "test_size" not in message


@pytest.mark.parametrize(("y", "share"), [(THREE, 0.01), (np.append(1, np.zeros(59)), 0.1)])
def test_where_classes_cannot_be_on_both_sides_each_stays_to_be_fitted(y, share):
    model = LogisticRegression(
        early_stopping=True, validation_fraction=share, max_iter=5, tol=0, random_state=0
    ).fit(X[:60], y[:60])
    assert np.array_equal(model.classes_, np.unique(y[:60]))
    assert np.isfinite(model.history_["validation_loss"]).all()


# Single parameters


@pytest.mark.parametrize("value", [-1, 2**32, 1.5, "0"])
def test_random_states(value):
    message = refusal(LinearRegression(solver="gd", random_state=value).fit, X, Y)
    assert f"integer from 0 to 2**32 - 1 or a numpy.random.RandomState; got {value!r}" in message


def test_a_checkpoint_is_a_file(tmp_path):
    model = LinearRegression(solver="gd").set_callbacks(Checkpoint(tmp_path))
    assert "is a folder" in refusal(model.fit, X, Y)


@pytest.mark.parametrize("model", [LinearRegression(solver="gd"), LogisticRegression(solver="gd")])
def test_squares_out_of_range_name_the_column(model):
    frame = pd.DataFrame(X * [1.0, 1e200, 1.0], columns=["age", "mass", "size"])
    assert "(column mass)" in refusal(model.fit, frame, LABELS)
    assert "(column 1)" in refusal(model.fit, frame.to_numpy(), LABELS)


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_an_automatic_rate_is_finite(estimator):
    model = estimator(solver="gd", tol=0, fit_intercept=False)
    message = refusal(model.fit, X * 1e-155, LABELS)
    assert "standardise X" in message


@pytest.mark.parametrize("unit", [2.0**-515, 2.0**300])
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_that_of_mini_batches_sees_no_units(estimator, unit):
    model = estimator(batch_size=8, max_iter=20, tol=0, fit_intercept=False, random_state=0)
    expected = clone(model).fit(X, LABELS)
    assert_allclose(unit * model.fit(unit * X, LABELS).coef_, expected.coef_, rtol=1e-9)


@pytest.mark.parametrize("rule", [GradientDescent(), Momentum(), Nesterov(), Nesterov(beta=0.5)])
def test_without_curvature_every_rate_is_stable(rule):
    assert rule.stable_below(0.0, rule.init(np.zeros((2, 1, 1)))) == math.inf


@pytest.mark.parametrize("solver", ["gd", "momentum", "nesterov", "adam"])
def test_rows_of_zeros_curve_nothing(solver):
    """The rounding of log 3 may look like a loss above that of the start, time and again."""
    for n_samples in range(6, 40):
        model = LogisticRegression(solver=solver, fit_intercept=False, tol=0, max_iter=20)
        model.fit(np.zeros((n_samples, 2)), THREE[:n_samples])
        assert_array_equal(model.coef_, np.zeros((3, 2)))


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e150])
@pytest.mark.parametrize("params", [{}, {"solver": "lstsq"}, {"alpha": 0.1}], ids=str)
def test_targets_of_any_size(scale, params):
    """No raw RuntimeWarning, here an error, and the coefficients in their unit."""
    model = LinearRegression(**params).fit(X, Y)
    scaled = LinearRegression(**params).fit(X, Y * scale)
    np.testing.assert_allclose(scaled.coef_, model.coef_ * scale, rtol=1e-10)
    streamed = LinearRegression(**params).partial_fit(X, Y * scale)
    np.testing.assert_allclose(streamed.coef_, model.coef_ * scale, rtol=1e-10)
