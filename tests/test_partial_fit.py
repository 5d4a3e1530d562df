"""Streams of rows: least squares as exact as all rows at once, and descent part by part."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import descent_case, least_squares, overlapping_classes
from scipy import sparse
from scipy.linalg import LinAlgWarning
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.multioutput import MultiOutputRegressor
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress.solvers import Momentum

RULES = ["gd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"]


def parts(n_rows, size):
    return [slice(begin, begin + size) for begin in range(0, n_rows, size)]


def stream(model, X, y, size, sample_weight=None):
    for rows in parts(X.shape[0], size):
        weight = None if sample_weight is None else sample_weight[rows]
        model.partial_fit(X[rows], y[rows], sample_weight=weight)
    return model


def assert_same_solution(model, expected, tolerance):
    assert_allclose(model.coef_, expected.coef_, rtol=tolerance)
    assert_allclose(model.intercept_, expected.intercept_, rtol=tolerance)
    assert_allclose(model.loss_, expected.loss_, rtol=tolerance)
    assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=tolerance)
    assert model.rank_ == expected.rank_
    # that of fit may be estimated
    assert expected.condition_number_ / 3 < model.condition_number_ < 3 * expected.condition_number_
    assert model.n_iter_ == 1
    assert model.converged_ is True


# Exact streams


@pytest.mark.parametrize("size", [1, 3, 7, 60])
@pytest.mark.parametrize("solver", ["auto", "normal_equations", "lstsq"])
@pytest.mark.parametrize("n_targets", [None, 3])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_stream_equals_the_fit_on_all_rows(size, solver, n_targets, alpha, weighted):
    X, y, *_ = least_squares(n_targets=n_targets)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X)) if weighted else None
    model = LinearRegression(solver=solver, alpha=alpha)
    streamed = stream(clone(model), X, y, size, weight)
    assert_same_solution(streamed, model.fit(X, y, sample_weight=weight), 1e-12)
    assert np.shape(streamed.coef_) == np.shape(model.coef_)
    assert np.shape(streamed.intercept_) == np.shape(model.intercept_)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_known_coefficients(fit_intercept):
    X, y, _, coef, intercept, loss = least_squares(fit_intercept=fit_intercept)
    model = stream(LinearRegression(fit_intercept=fit_intercept), X, y, 11)
    assert_allclose(model.coef_, coef, rtol=1e-12)
    assert_allclose(model.intercept_, intercept, rtol=1e-12, atol=1e-15)
    assert_allclose(model.loss_, loss, rtol=1e-12)


@pytest.mark.parametrize("condition", [1e4, 1e8, 1e11])
def test_no_digits_are_lost_to_squaring(condition):
    """At condition 1e11 moments hold nothing of the smallest direction, and QR five digits."""
    rng = np.random.default_rng(1)
    u = np.linalg.qr(rng.standard_normal((400, 5)))[0]
    v = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    X = u * np.geomspace(1, 1 / condition, 5) @ v
    y = X @ np.ones(5)
    model = stream(LinearRegression(fit_intercept=False), X, y, 32)
    assert_allclose(model.coef_, np.ones(5), rtol=0, atol=1e-14 * condition)


@pytest.mark.parametrize("size", [1, 10, 200])
def test_columns_in_any_unit(size):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((200, 5))
    y = X @ np.arange(1.0, 6.0) + 3.0 + rng.standard_normal(200)
    expected = stream(LinearRegression(), X, y, size)
    units = np.array([1e150, 1e-150, 1.0, -1e80, 1e-9])
    model = stream(LinearRegression(), X * units, y, size)
    assert_allclose(model.coef_ * units, expected.coef_, rtol=1e-11)
    assert_allclose(model.loss_, expected.loss_, rtol=1e-11)
    assert_allclose(model.condition_number_, expected.condition_number_, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 10, 200])
def test_columns_far_from_zero(size):
    """A column at 1e9 +- 1 has seven digits; the fit keeps all of them."""
    rng = np.random.default_rng(3)
    X = np.column_stack([1e9 + np.round(rng.standard_normal(200), 3), rng.standard_normal(200)])
    X[:, 0] = np.round((X[:, 0] - 1e9) * 1024) / 1024 + 1e9  # exact in binary
    centred = X - [1e9, 0.0]
    y = centred @ [2.0, -3.0] + rng.standard_normal(200)
    model = stream(LinearRegression(), X, y, size)
    expected = LinearRegression().fit(centred, y)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-12)
    assert_allclose(model.loss_, expected.loss_, rtol=1e-12)


def test_an_exact_relation_leaves_no_loss():
    X, y, *_ = least_squares(noise=0.0)
    model = stream(LinearRegression(), X, y, 7)
    assert 0 <= model.loss_ < 1e-25 * model.loss_curve_[0]


@pytest.mark.parametrize("first", ["dense", "sparse"])
def test_sparse_and_dense_parts(first):
    X, y, *_ = least_squares()
    X[X < 0] = 0
    expected = LinearRegression().fit(X, y)
    model = LinearRegression()
    for number, rows in enumerate(parts(len(X), 13)):
        make = sparse.csr_array if (number % 2 == 0) == (first == "sparse") else np.asarray
        model.partial_fit(make(X[rows]), y[rows])
    assert_same_solution(model, expected, 1e-11)


def test_dependent_columns_are_announced_and_get_the_minimum_norm():
    X, y, *_ = least_squares()
    X = np.column_stack([X, X[:, 0] - X[:, 1]])
    with pytest.warns(LinAlgWarning, match="minimum norm"):
        expected = LinearRegression(solver="lstsq").fit(X, y)
    model = LinearRegression()
    with pytest.warns(LinAlgWarning, match="minimum norm"):
        stream(model, X, y, 30)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-10)
    assert model.rank_ == 4
    assert model.dependent_columns_[0] in {0, 1, 4}


def test_fewer_rows_than_columns_are_the_minimum_norm_too():
    X, y, *_ = least_squares(n_samples=12, n_features=30, noise=0.0)
    model = stream(LinearRegression(), X, y, 5)
    expected = LinearRegression().fit(X, y)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-10)
    assert model.rank_ == expected.rank_


def test_the_penalty_may_change_on_the_way():
    X, y, *_ = least_squares()
    model = stream(LinearRegression(alpha=1.0), X[:50], y[:50], 10)
    model.set_params(alpha=0.1).partial_fit(X[50:], y[50:])
    assert_same_solution(model, LinearRegression(alpha=0.1).fit(X, y), 1e-12)


def test_single_precision_stays():
    X, y, *_ = least_squares()
    model = stream(LinearRegression(), X.astype(np.float32), y, 10)
    assert model.coef_.dtype == np.float32
    assert_allclose(model.coef_, LinearRegression().fit(X, y).coef_, rtol=1e-5)


def drifting(n_parts=12, size=15, seed=0):
    """Parts of a stream whose coefficients change on the way."""
    rng = np.random.default_rng(seed)
    for k in range(n_parts):
        X = rng.standard_normal((size, 4)) + np.array([0, 5, 0, 0])
        yield X, X @ [1.0, k, 2.0, -k] + 3.0 + rng.standard_normal(size), rng.uniform(0.5, 2, size)


@pytest.mark.parametrize("forget", [1.0, 0.9, 0.3, 1e-3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("size", [2, 15])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_forgetting_equals_a_fit_with_weights_that_fall(
    forget, weighted, fit_intercept, alpha, size, make
):
    """Exponentially weighted least squares; parts of two rows are kept until they are enough."""
    model = LinearRegression(alpha=alpha, fit_intercept=fit_intercept)
    stream, seen = clone(model), []
    for number, (X, y, weight) in enumerate(drifting(size=size)):
        given = {"sample_weight": weight} if weighted else {}
        stream.partial_fit(make(X), y, **given, forget=forget)
        seen = [(*part, w * forget) for *part, w in seen]
        seen.append((X, y, weight if weighted else np.ones(size)))
        if number in (0, 1, 4, 11):
            rows = [np.concatenate(column) for column in zip(*seen)]
            expected = clone(model).fit(rows[0], rows[1], sample_weight=rows[2])
            assert_allclose(stream.coef_, expected.coef_, rtol=1e-8, atol=1e-10)
            assert_allclose(stream.intercept_, expected.intercept_, rtol=1e-8, atol=1e-10)
            assert_allclose(stream.loss_, expected.loss_, rtol=1e-8, atol=1e-20)


def test_forgetting_follows_a_drift():
    late, all_rows = LinearRegression(), LinearRegression()
    for X, y, _ in drifting(n_parts=40):
        late.partial_fit(X, y, forget=0.5)
        all_rows.partial_fit(X, y)
    assert abs(late.coef_[1] - 39) < 5 < 10 < abs(all_rows.coef_[1] - 39)


@pytest.mark.parametrize("n_features", [12, 40])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_rows_are_kept_until_they_outnumber_the_columns(n_features, alpha, make):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, n_features)) * (rng.random((60, n_features)) < 0.7)
    y = rng.standard_normal(60)
    model = LinearRegression(alpha=alpha)
    for end in range(4, 61, 4):
        part = make(X[end - 4 : end].copy())
        model.partial_fit(part, y[end - 4 : end])
        (part if make is np.asarray else part.data)[:] = np.nan  # the rows kept are a copy
        expected = LinearRegression(alpha=alpha).fit(X[:end], y[:end])
        assert_allclose(model.coef_, expected.coef_, rtol=1e-7, atol=1e-9)
        assert_allclose(model.loss_, expected.loss_, rtol=1e-7, atol=1e-20)
        assert model.rank_ == expected.rank_


@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("size", [30, 900])
def test_many_columns(alpha, size):
    """From some hundred columns on all singular values would cost more than the solution."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((900, 420)) * np.geomspace(1e-5, 1e5, 420) + 3.0
    y = rng.standard_normal((900, 2))
    model = LinearRegression(alpha=alpha).partial_fit(X[:600], y[:600])
    for rows in parts(300, size):
        model.partial_fit(X[600:][rows], y[600:][rows])
    expected = LinearRegression(alpha=alpha).fit(X, y)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-8)
    assert_allclose(model.loss_, expected.loss_, rtol=1e-10)
    assert model.rank_ == 420
    assert_allclose(model.condition_number_, expected.condition_number_, rtol=0.05)


def test_a_triangle_without_room_is_refused_before_it_is_made():
    rng = np.random.default_rng(0)
    place = np.arange(200), rng.integers(0, 262_144, 200)
    X = sparse.csr_array((rng.random(200), place), shape=(200, 262_144))
    y = np.arange(200.0)
    refused(LinearRegression(), "262146 columns, 512 GiB.*solver='gd'", X, y)
    model = LinearRegression(solver="gd").partial_fit(X, y)
    assert model.coef_.shape == (262_144,)


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


@pytest.mark.parametrize("value", [0.0, -0.5, 1.5, np.nan, "half", None, True])
def test_forget_out_of_range(value):
    case = descent_case("squares")
    match = rf"'forget' of LinearRegression.partial_fit must be .*\(0, 1\]; got {value!r}"
    kind = (ValueError, TypeError)
    refused(LinearRegression(), match, case.X, case.y, forget=value, kind=kind)


def test_a_descent_keeps_no_rows_to_forget():
    case = descent_case("squares")
    refused(LinearRegression(solver="gd"), "a descent keeps none", case.X, case.y, forget=0.9)


def test_forgetting_is_routed_as_metadata():
    with config_context(enable_metadata_routing=True):
        model = LinearRegression().set_partial_fit_request(forget=True, sample_weight=True)
        request = model.get_metadata_routing()
        assert request.consumes("partial_fit", ["forget", "sample_weight", "coef_init"]) == {
            "forget",
            "sample_weight",
        }
        case = descent_case("three targets")
        several = MultiOutputRegressor(LinearRegression().set_partial_fit_request(forget=True))
        several.partial_fit(case.X, case.y, forget=0.5)
        several.partial_fit(case.X[:50], case.y[:50], forget=0.5)
        one = LinearRegression().partial_fit(case.X, case.y[:, 0])
        one.partial_fit(case.X[:50], case.y[:50, 0], forget=0.5)
        assert_allclose(several.estimators_[0].coef_, one.coef_, rtol=1e-12)


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


def refused(model, match, *args, kind=ValueError, **kwargs):
    """`partial_fit` raises, and the estimator is as it was."""
    before = dict(vars(model))
    curve = len(model.loss_curve_) if hasattr(model, "coef_") else None
    with pytest.raises(kind, match=match):
        model.partial_fit(*args, **kwargs)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert curve is None or len(model.loss_curve_) == curve == len(model.history_["loss"])


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
