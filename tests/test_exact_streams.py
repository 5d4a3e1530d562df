"""Exact streams: least squares of parts, as exact as of all rows at once."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import descent_case, least_squares
from scipy import sparse
from scipy.linalg import LinAlgWarning
from sklearn import config_context
from sklearn.base import clone
from sklearn.multioutput import MultiOutputRegressor
from streams import parts, refused

from gdregress import LinearRegression


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
