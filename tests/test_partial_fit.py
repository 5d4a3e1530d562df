"""Streams of rows: where they begin, what is refused, and descent part by part."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import descent_case, overlapping_classes
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from streams import parts, refused

from gdregress import LinearRegression, LogisticRegression
from gdregress.solvers import Momentum

RULES = ["gd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"]


# Parts that weigh nothing


def weightless(name):
    case = descent_case(name)
    classes = {"classes": np.unique(case.y)} if name == "sigmoid" else {}
    return case, classes, {"sample_weight": np.zeros(len(case.y))}


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("squares", LinearRegression()),
        ("squares", LinearRegression(solver="adam", batch_size=16)),
        ("sigmoid", LogisticRegression()),
        ("sigmoid", LogisticRegression(class_weight={0: 0.0, 1: 0.0})),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value),
)
def test_a_part_that_weighs_nothing_is_skipped_but_cannot_be_the_first(name, model):
    case, classes, nothing = weightless(name)
    model = clone(model)
    first = "first part of a stream of .*partial_fit needs a row of positive weight"
    refused(model, first, case.X, case.y, **classes, **nothing)
    by_class = name == "sigmoid" and model.class_weight is not None
    if by_class:
        model.set_params(class_weight=None)
    model.partial_fit(case.X, case.y, **classes)
    if by_class:
        model.set_params(class_weight={0: 0.0, 1: 0.0})
    before = dict(vars(model))
    model.partial_fit(case.X.astype(np.float32), case.y, **nothing)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[key] is value for key, value in before.items())
    bad = np.where(case.X > 2, np.nan, case.X)
    refused(model, "Input X contains NaN", bad, case.y, **nothing)


# Where a stream begins


@pytest.mark.parametrize("name", ["squares", "three targets", "sigmoid", "softmax"])
def test_a_stream_begins_from_given_coefficients(name):
    case = descent_case(name)
    rng = np.random.default_rng(0)
    any_fit = case.estimator(solver="gd", max_iter=1, tol=0).fit(case.X, case.y)
    coef = rng.standard_normal(any_fit.coef_.shape)
    intercept = rng.standard_normal(max(1, case.Y.shape[1]))
    start = {"coef_init": coef, "intercept_init": intercept}
    is_linear = name in ("squares", "three targets")
    classes = {} if is_linear else {"classes": np.unique(case.y)}
    model = case.estimator().partial_fit(case.X, case.y, **classes, **start)
    assert model.solver_ == "gd"  # a start asks for descent, as in fit
    one_step = {"solver": "gd", "max_iter": 1, "tol": 0, "learning_rate": model.learning_rate_}
    expected = case.estimator(**one_step).fit(case.X, case.y, **start)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-9)
    assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-9)
    model.partial_fit(case.X, case.y)  # and goes on descending
    assert model.n_iter_ == 2
    refused(model, "this one has begun", case.X, case.y, **start)


@pytest.mark.parametrize("name", ["squares", "three targets", "sigmoid", "softmax"])
def test_a_descent_begins_from_an_exact_fit(name):
    case = descent_case(name)
    early, late = (case.X[::2], case.y[::2]), (case.X[1::2], case.y[1::2])
    model = case.estimator(alpha=0.1).fit(*early)
    start = {"coef_init": model.coef_, "intercept_init": model.intercept_}
    params = {"alpha": 0.1, "learning_rate": 0.01}
    if name in ("squares", "three targets"):
        params["solver"] = "gd"
    model.set_params(**params).partial_fit(*late)
    expected = case.estimator(**params, max_iter=1, tol=0)
    expected.fit(*late, **start)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-9)
    assert model.n_iter_ == 1
    assert model.solver_ == "gd"
    assert not hasattr(model, "condition_number_")  # it was that of the fit
    model.partial_fit(case.X, case.y)
    assert model.n_iter_ == 2


def test_a_start_is_for_a_descent_that_begins():
    case = descent_case("squares")
    start = {"coef_init": np.zeros(10)}
    refused(LinearRegression(solver="lstsq"), "solver='lstsq' is exact", case.X, case.y, **start)
    short = {"coef_init": np.zeros(3)}
    refused(LinearRegression(), "'coef_init' of LinearRegression", case.X, case.y, **short)
    model = LinearRegression().partial_fit(case.X, case.y)
    refused(model, "this one has begun", case.X, case.y, **start)


# Descent


class Loop:
    """Mini-batch rules as a book writes them, on parts of a least-squares problem."""

    @staticmethod
    def gd(theta, gradient, memory, rate):
        return theta - rate * gradient

    @staticmethod
    def momentum(theta, gradient, memory, rate):
        memory["v"] = 0.9 * memory.get("v", 0.0) + gradient
        return theta - rate * memory["v"]

    @staticmethod
    def adam(theta, gradient, memory, rate):
        t = memory["t"] = memory.get("t", 0) + 1
        m = memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * gradient
        v = memory["v"] = 0.999 * memory.get("v", 0.0) + 0.001 * gradient**2
        return theta - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


@pytest.mark.parametrize("rule", ["gd", "momentum", "adam"])
@pytest.mark.parametrize("name", ["squares", "three targets", "sigmoid", "softmax"])
def test_a_part_is_one_step(name, rule):
    case = descent_case(name)
    model = case.estimator(solver=rule, learning_rate=0.05)
    theta = np.zeros((case.X.shape[1] + 1, case.Y.shape[1]))
    memory, classes = (
        {},
        {} if name in ("squares", "three targets") else {"classes": np.unique(case.y)},
    )
    rows_of = parts(len(case.X), 40)
    order = np.random.default_rng(0).permutation(len(case.X))
    for rows in rows_of:
        index = order[rows]
        A = np.column_stack([case.X[index], np.ones(len(index))])
        residual = case.model.mean(A @ theta) - case.Y[index]
        theta = getattr(Loop, rule)(theta, A.T @ residual / len(index), memory, 0.05)
        model.partial_fit(case.X[index], case.y[index], **classes)
    assert_allclose(model.coef_.reshape(-1), theta[:-1].T.reshape(-1), rtol=1e-9, atol=1e-12)
    assert_allclose(np.ravel(model.intercept_), theta[-1], rtol=1e-9, atol=1e-12)
    assert model.n_iter_ == len(rows_of)
    assert len(model.loss_curve_) == len(rows_of) + 1
    assert model.stop_reason_ == "One pass over the rows given was made."
    assert model.solver_ == rule


def test_a_part_is_one_epoch_of_batches():
    case = descent_case("sigmoid")
    params = {"batch_size": 16, "learning_rate": 0.5, "random_state": 0}
    model = LogisticRegression(**params)
    model.partial_fit(case.X, case.y, classes=[0, 1])
    expected = LogisticRegression(**params, max_iter=1, tol=0).fit(case.X, case.y)
    assert_array_equal(model.coef_, expected.coef_)
    assert model.history_["step"][-1] == 36
    model.partial_fit(case.X[:16], case.y[:16])  # no larger than a batch: one step, in silence
    assert model.history_["step"][-1] == 37


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_parts_come_near_the_optimum(rule, batch_size, n_classes):
    X, y = overlapping_classes(n_classes)
    model = LogisticRegression(solver=rule, alpha=0.01, batch_size=batch_size, random_state=0)
    if rule == "adagrad":  # whose automatic rate is a cautious one
        model.set_params(learning_rate=0.1)
    order = np.random.default_rng(0).permutation(len(X))
    for _ in range(30):
        for rows in parts(len(X), 64):
            model.partial_fit(X[order[rows]], y[order[rows]], classes=np.unique(y))
    best = LogisticRegression(alpha=0.01).fit(X, y)
    proba = model.predict_proba(X)[np.arange(len(y)), y]
    loss = -np.log(proba).mean() + 0.005 * np.sum(model.coef_**2)
    start = np.log(n_classes)
    assert (loss - best.loss_) / (start - best.loss_) < 0.1


def test_the_automatic_rate_shrinks_at_once_and_grows_slowly():
    case = descent_case("squares")
    model = LinearRegression(solver="gd")
    bounds, rates = [], []
    for rows, unit in zip(parts(len(case.X), 50), [1.0, 3.0, 0.1, 1.0, 5.0, 0.1, 1.0]):
        X = case.X[rows] * unit
        A = np.column_stack([X, np.ones(len(X))])
        bounds.append(0.5 / np.linalg.eigvalsh(A.T @ A / len(A))[-1])
        rates.append(model.partial_fit(X, case.y[rows]).learning_rate_)
    expected = [bounds[0]]
    for bound in bounds[1:]:
        expected.append(min(bound, expected[-1] * (bound / expected[-1]) ** 0.02))
    assert_allclose(rates, expected, rtol=1e-10)


def test_a_part_of_outliers_is_said_and_forgotten():
    rng = np.random.default_rng(0)
    coef = np.array([1.0, -2.0, 0.5])
    model = LinearRegression(solver="gd")

    def feed(size):
        X = rng.standard_normal((20, 3))
        X[0] *= size
        return model.partial_fit(X, X @ coef)

    before = feed(1.0).learning_rate_
    with pytest.warns(ConvergenceWarning, match="more than a hundredfold"):
        assert feed(1e3).learning_rate_ < 1e-3 * before
    for _ in range(400):
        feed(1.0)
    assert model.learning_rate_ > 0.2 * before
    assert_allclose(model.coef_, coef, atol=1e-3)


@pytest.mark.parametrize("solver", ["gd", "momentum"])
def test_a_stream_that_one_row_destroys_says_so(solver):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    X[300] *= -1e6
    model = LogisticRegression(solver=solver, learning_rate=0.1)

    def feed():
        for rows in parts(len(X), 50):
            model.partial_fit(X[rows], y[rows], classes=[0, 1])

    with pytest.warns(ConvergenceWarning, match=r"learning_rate=0\.1 diverged"):
        feed()
    ordinary = np.arange(len(X)) != 300
    assert model.score(X[ordinary], y[ordinary]) > 0.9


def test_an_automatic_rate_never_diverges_on_parts_in_raw_units():
    X, y = load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    for rule in ("gd", "momentum", "nesterov"):
        for size in (1, 10, 89):
            model = LogisticRegression(solver=rule)
            for rows in parts(len(X), size):
                model.partial_fit(X[order[rows]], y[order[rows]], classes=[0, 1, 2])
            assert np.isfinite(model.coef_).all()
            proba = model.predict_proba(X)
            assert -np.log(proba[np.arange(len(y)), y]).mean() < 2 * np.log(3)


def test_it_goes_on_after_a_descent():
    case = descent_case("sigmoid")
    params = {"learning_rate": 0.5, "tol": 0}
    model = LogisticRegression(max_iter=7, **params).fit(case.X, case.y)
    model.partial_fit(case.X, case.y)
    expected = LogisticRegression(max_iter=8, **params).fit(case.X, case.y)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-12)
    assert model.n_iter_ == 8
    assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-12)


def test_a_step_on_squares_takes_a_line_search():
    case = descent_case("squares")
    model = LinearRegression(learning_rate="line_search").partial_fit(case.X, case.y)
    expected = LinearRegression(learning_rate="line_search", max_iter=1, tol=0)
    assert_allclose(model.coef_, expected.fit(case.X, case.y).coef_, rtol=1e-10)


def test_a_rate_too_large_keeps_the_best_iterate_and_says_so():
    case = descent_case("squares")
    model = LinearRegression(learning_rate=1e3)

    def feed(n_parts):
        for _ in range(n_parts):
            model.partial_fit(case.X, case.y)
            assert np.isfinite(model.coef_).all()

    with pytest.warns(ConvergenceWarning, match="learning_rate=1000 diverged"):
        feed(40)
    model.set_params(learning_rate=0.01)
    losses = [model.partial_fit(case.X, case.y).loss_ for _ in range(20)]
    assert losses[-1] < model.loss_curve_[0]


def test_weights_of_classes():
    case = descent_case("sigmoid")
    weight = np.where(case.y == 1, 3.0, 1.0)
    model = LogisticRegression(learning_rate=0.5, class_weight={1: 3.0})
    expected = LogisticRegression(learning_rate=0.5)
    for rows in parts(len(case.X), 100):
        model.partial_fit(case.X[rows], case.y[rows], classes=[0, 1])
        expected.partial_fit(case.X[rows], case.y[rows], classes=[0, 1], sample_weight=weight[rows])
    assert_allclose(model.coef_, expected.coef_, rtol=1e-12)


def test_a_part_may_hold_one_class_only():
    case = descent_case("softmax")
    labels = np.array(["a", "b", "c"])[case.y]
    model = LogisticRegression()
    for label in "abc":
        rows = labels == label
        model.partial_fit(case.X[rows], labels[rows], classes=["c", "a", "b"])
    assert_array_equal(model.classes_, ["a", "b", "c"])
    assert model.coef_.shape == (3, 4)


# What is refused


def not_a_number(t):
    return float("nan")


def test_classes_are_needed_first_and_kept():
    case = descent_case("sigmoid")
    model = LogisticRegression()
    refused(model, "classes must be passed on the first call", case.X, case.y)
    refused(model, r"\[2\]", case.X, np.where(case.y == 1, 2, 0), classes=[0, 1])
    refused(model, "at least 2 labels", case.X, case.y * 0, classes=[0])
    model.partial_fit(case.X, case.y, classes=[0, 1])
    refused(model, r"\[7\]", case.X, np.where(case.y == 1, 7, 0))
    refused(model, r"\[0, 1\].*\[0, 1, 2\]", case.X, case.y, classes=[0, 1, 2])
    model.partial_fit(case.X, case.y)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"solver": "adam", "l1_ratio": 1.0, "alpha": 1.0}, "proximal"),
        ({"schedule": not_a_number}, "schedule"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_parameters_that_do_not_go_with_it(params, match):
    case = descent_case("sigmoid")
    refused(LogisticRegression(**params), match, case.X, case.y, classes=[0, 1])
    model = LogisticRegression().partial_fit(case.X, case.y, classes=[0, 1])
    model.set_params(**params)
    refused(model, match, case.X, case.y)


def unavailable(model, match):
    """The method is not there, for a reason that is said."""
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit") as caught:
        model.partial_fit  # noqa: B018
    assert re.search(match, str(caught.value.__cause__))


@pytest.mark.parametrize("solver", ["auto", "lstsq"])
def test_an_exact_stream_does_not_begin_from_an_exact_fit(solver):
    """The fit keeps no rows; their moments would lose half the digits of what is to come."""
    case = descent_case("squares")
    fitted = LinearRegression(solver=solver).fit(case.X, case.y)
    unavailable(fitted, "Start the stream with partial_fit.*or descend .* with solver='gd'")
    assert hasattr(clone(fitted), "partial_fit")  # as it says
    assert hasattr(fitted.set_params(solver="gd"), "partial_fit")


def test_newton_needs_all_rows():
    unavailable(LogisticRegression(solver="newton"), "Newton's method needs all rows at once")
    case = descent_case("sigmoid")
    model = LogisticRegression().partial_fit(case.X, case.y, classes=[0, 1])
    unavailable(model.set_params(solver="newton"), "set solver='gd' or 'auto'")


def test_what_needs_all_rows_hides_the_method():
    unavailable(LinearRegression(early_stopping=True), "does not support early_stopping=True")
    unavailable(LogisticRegression(class_weight="balanced"), "pass them as a dict")


def test_other_solvers_on_the_way():
    case = descent_case("squares")
    model = LinearRegression().partial_fit(case.X, case.y)
    model.set_params(learning_rate=0.1)
    refused(model, "solver='auto'.*'lstsq'", case.X, case.y)
    model = LinearRegression(solver="gd").partial_fit(case.X, case.y)
    model.set_params(solver="lstsq")
    refused(model, "solver='lstsq'.*'gd'", case.X, case.y)
    model.set_params(solver=Momentum())
    refused(model, r"GradientDescent\(\).*Momentum\(\)", case.X, case.y)


@pytest.mark.parametrize("solver", ["auto", "gd"])
def test_other_data_on_the_way(solver):
    case = descent_case("squares")
    nan = case.X.copy()
    nan[3, 2] = np.nan
    model = LinearRegression(solver=solver).partial_fit(case.X, case.y)
    refused(model, "X has 4 features, but LinearRegression is expecting 10", case.X[:, :4], case.y)
    refused(model, "Input X contains NaN", nan, case.y)
    refused(model, "targets", case.X, np.column_stack([case.y, case.y]))
    refused(model, "1 targets in 1 dim", case.X, case.y[:, None])
    refused(model, "inconsistent", case.X, case.y[:-1])
    refused(model, "Negative", case.X, case.y, sample_weight=-np.ones(len(case.y)))
    model.partial_fit(case.X, case.y)


def test_an_intercept_comes_first_or_not_at_all():
    case = descent_case("squares")
    model = LinearRegression().partial_fit(case.X, case.y).set_params(fit_intercept=False)
    refused(model, "fit_intercept=True; got fit_intercept=False", case.X, case.y)


@pytest.mark.parametrize("rule", ["adagrad", "rmsprop", "adam"])
def test_small_targets_in_a_stream_do_not_stop_an_adaptive_rule(rule):
    """An automatic rate may only shrink: one row with y near zero must not shrink it for ever."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3))
    y = rng.standard_normal(50)
    y[7] = 1e-12
    model = LinearRegression(solver=rule, batch_size=1, random_state=0)
    for i in range(50):
        model.partial_fit(X[i : i + 1], y[i : i + 1])
    assert model.learning_rate_ == 0.01


def test_an_endless_stream_keeps_its_last_rows():
    """The record is cut to the last 10,000 parts; what counts iterations does not forget."""
    case = descent_case("sigmoid")
    model = LogisticRegression(learning_rate=0.01, max_iter=10_004, tol=0)
    model.fit(case.X[::50], case.y[::50])
    assert len(model.history_) == 10_005  # a fit keeps every iteration
    losses = model.loss_curve_
    for k in range(3):
        model.partial_fit(case.X[k : k + 9], case.y[k : k + 9])
        assert model.n_iter_ == 10_005 + k
        assert len(model.history_) == len(model.loss_curve_) == 10_000
        assert model.history_["iteration"][-1] == model.n_iter_
        assert model.loss_curve_[-1] == model.loss_
    assert_array_equal(model.history_["iteration"], np.arange(8, 10_008))
    assert_array_equal(model.loss_curve_[:-3], losses[8:])


def test_a_part_adds_to_the_record_without_copying_it():
    case = descent_case("squares")
    model = LinearRegression(learning_rate=0.01, max_iter=500, tol=0).fit(case.X, case.y)
    model.partial_fit(case.X[:1], case.y[:1])
    for k in range(1, 9):
        before = model.history_
        model.partial_fit(case.X[k : k + 1], case.y[k : k + 1])
        assert np.shares_memory(before._rows.view, model.history_._rows.view)
        assert len(model.history_) == len(before) + 1
