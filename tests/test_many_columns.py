"""Exact least squares with many sparse columns: among the rows, by LSMR, or said."""

import numpy as np
import pytest
from comparing import assert_relative
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from gdregress import LinearRegression
from gdregress.history import StopReason
from gdregress.solvers.least_squares import exact

SHAPES = {"tall": (90, 30), "wide": (25, 60)}
# (shape, the way that is to be taken)
WAYS = [
    ("tall", "LSMR"),
    ("tall", "factor"),
    ("wide", "rows"),
    ("wide", "LSMR"),
    ("wide", "factor"),
]
SAID = {
    ("tall", "LSMR"): "LSMR",
    ("tall", "factor"): "normal equations",
    ("wide", "rows"): "the matrix of the rows",
    ("wide", "LSMR"): "LSMR",
    ("wide", "factor"): "the rows themselves",
}
each_way = pytest.mark.parametrize(("shape", "way"), WAYS)


@pytest.fixture
def go(monkeypatch):
    """Makes a small problem take one of the ways of large ones."""

    def go(way, **others):
        limits = {
            "rows": 4096 if way == "rows" else 0,
            "lsmr_steps": 10_000 if way == "LSMR" else 1,
        }
        limits |= {"work": 0} if way == "factor" else {}
        limits |= others
        monkeypatch.setattr(exact, "LIMITS", exact.Limits(sparse_columns=1, **limits))

    return go


def sparse_columns(shape, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal(SHAPES[shape]) * (rng.random(SHAPES[shape]) < 0.5)
    return X, rng.standard_normal((len(X), 2))


def reference(X, y, weight=None, alpha=0.0, fit_intercept=True):
    """Coefficients (n_targets, n_features) from the singular values of the centred rows."""
    weight = np.ones(len(X)) if weight is None else weight
    root = np.sqrt(weight)[:, None]
    A = (X - fit_intercept * np.average(X, axis=0, weights=weight)) * root
    b = (y - fit_intercept * np.average(y, axis=0, weights=weight)) * root
    u, sigma, vt = np.linalg.svd(A, full_matrices=False)
    kept = sigma > 1e-10 * sigma[0]
    shrunk = sigma / (sigma**2 + alpha * weight.sum())
    return (vt[kept].T @ (shrunk[kept, None] * (u[:, kept].T @ b))).T


@each_way
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 1e-6, 0.1, 1e6])
def test_every_way_is_the_closed_form(go, shape, way, weighted, fit_intercept, alpha):
    X, y = sparse_columns(shape)
    if way != "factor":  # which names constant columns
        X[:, 3], X[:, 4] = 0.0, 2.0
    weight = np.random.default_rng(1).integers(0, 3, len(X)) + 0.5 * weighted if weighted else None
    if weighted:
        weight[:3] = 0.0
    go(way)
    model = LinearRegression(alpha=alpha, fit_intercept=fit_intercept)
    found = model.fit(sparse.csr_matrix(X), y, weight)
    expected = reference(X, y, weight, alpha, fit_intercept)
    assert_relative(found.coef_, expected)
    assert found.converged_
    assert found.stop_reason_ is StopReason.SOLVED
    assert found.solver_reason_.startswith(f"nothing asks for descent; {SAID[shape, way]}")
    if fit_intercept:
        means = [np.average(a, axis=0, weights=weight) for a in (X, y)]
        assert_relative(found.intercept_, means[1] - expected @ means[0])


@each_way
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_a_column_far_from_zero(go, shape, way, alpha):
    near, y = sparse_columns(shape)
    rng = np.random.default_rng(1)
    near[:, 0] = rng.integers(-256, 256, len(near)) / 256
    away = near.copy()
    away[:, 0] += 1e8
    go(way)
    found = LinearRegression(alpha=alpha).fit(sparse.csr_matrix(away), y)
    assert_relative(found.coef_, reference(near, y, alpha=alpha))


@each_way
def test_a_far_column_with_zeros(go, shape, way):
    """Two rows of 25 or 90 are zero there: too many for a shift, and outliers."""
    X, y = sparse_columns(shape)
    X[:, 0] += 1e4
    X[5:7, 0] = 0.0
    go(way)
    assert_relative(LinearRegression().fit(sparse.csr_matrix(X), y).coef_, reference(X, y), 1e-9)


@each_way
def test_units_divide_the_coefficients(go, shape, way):
    X, y = sparse_columns(shape)
    expected = reference(X, y)
    go(way)
    for scale in (1e-150, 1e150):  # all alike: the minimum norm belongs to the units
        found = LinearRegression().fit(sparse.csr_matrix(X * scale), y)
        assert_relative(found.coef_ * scale, expected)
    if shape == "tall":
        scale = np.geomspace(1e-120, 1e120, X.shape[1])
        found = LinearRegression().fit(sparse.csr_matrix(X * scale), y)
        assert_relative(found.coef_ * scale, expected)


@each_way
def test_a_large_column_does_not_blur_the_others(go, shape, way):
    X, y = sparse_columns(shape)
    X[:, 0] *= 1e5
    y = y[:, 0] + X[:, 0]
    go(way)
    found = LinearRegression().fit(sparse.csr_matrix(X), y)
    if shape == "tall":
        scale = np.append(1e5, np.ones(X.shape[1] - 1))
        expected = reference(X / scale, y[:, None])[0] / scale
        assert_allclose(found.coef_[0], expected[0], rtol=1e-12)
        assert_relative(found.coef_[1:], expected[1:], 1e-8)
    else:
        fitted = X @ found.coef_ + found.intercept_
        assert_relative(fitted, y, 1e-11)  # the rounding of numbers 1e5 times the others


@each_way
@pytest.mark.parametrize("dtype", [np.float32, np.int8, bool])
def test_narrow_types(go, shape, way, dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2 if dtype is bool else 100, SHAPES[shape]).astype(dtype)
    y = rng.standard_normal((len(X), 2))
    go(way)
    found = LinearRegression().fit(sparse.csr_matrix(X), y)
    assert found.coef_.dtype == (np.float32 if dtype is np.float32 else np.float64)
    assert_relative(
        found.coef_, reference(X.astype(float), y), 1e-6 if dtype is np.float32 else 1e-10
    )


def test_equal_rows_are_no_reason_to_fail(go):
    X, y = sparse_columns("wide")
    X[1] = X[0]
    go("rows")
    found = LinearRegression().fit(sparse.csr_matrix(X), y)
    assert_relative(found.coef_, reference(X, y))
    assert found.rank_ == 23


def test_more_rows_than_the_row_space_has_room_for():
    """LSMR by itself, with the penalty in the lengths of the columns: a handful of steps."""
    rng = np.random.default_rng(0)
    X = scattered(4200, 5000, 10)
    y = X @ rng.standard_normal(5000) + rng.standard_normal(4200)
    found = LinearRegression(alpha=0.01).fit(X, y)
    residual = X @ found.coef_ + found.intercept_ - y
    gradient = X.T @ residual / 4200 + 0.01 * found.coef_
    assert abs(gradient).max() < 1e-12 * abs(X.T @ (y - y.mean()) / 4200).max()
    assert found.converged_


@pytest.mark.parametrize("alpha", [1e-6, 1e-2, 1.0])
def test_ridge_on_a_very_wide_table(alpha):
    X = scattered(100, 2100, 30)
    y = X @ np.ones(2100) + np.random.default_rng(0).standard_normal(100)
    found = LinearRegression(alpha=alpha).fit(X, y)
    assert_relative(found.coef_, reference(X.toarray(), y[:, None], alpha=alpha)[0])


def scattered(n_rows, n_features, n_each):
    """A large sparse table with some entries in each row."""
    rng = np.random.default_rng(0)
    entries = rng.standard_normal(n_rows * n_each)
    columns = rng.integers(0, n_features, n_rows * n_each)
    X = sparse.csr_matrix(
        (entries, columns, np.arange(n_rows + 1) * n_each), shape=(n_rows, n_features)
    )
    X.sum_duplicates()
    return X


def second_differences(n_features):
    """A design whose condition grows like the square of its size, far beyond what LSMR bears."""
    shape = n_features + n_features // 20, n_features
    A = sparse.diags([-1.0, 2.0, -1.0], [0, 1, 2], shape=shape).tocsr()
    return A, np.random.default_rng(0).standard_normal(n_features)


def accuracy(A, coef):
    """The condition of the centred columns, and an error that a backward stable solver may have."""
    singular = np.linalg.svd(A.toarray() - A.mean(axis=0), compute_uv=False)
    condition = singular[0] / singular[-1]
    return condition, 10 * condition * np.finfo(float).eps * np.linalg.norm(coef)


def test_many_steps_are_as_accurate_as_a_factor(go):
    A, coef = second_differences(200)
    go("LSMR")
    found = LinearRegression().fit(A, A @ coef)
    assert found.converged_
    assert found.rank_ is None
    assert np.linalg.norm(found.coef_ - coef) <= accuracy(A, coef)[1]


@pytest.mark.parametrize("n_features", [420, pytest.param(2100, marks=pytest.mark.slow)])
def test_what_lsmr_does_not_reach_is_factored(go, n_features):
    A, coef = second_differences(n_features)
    go("factor")
    found = LinearRegression().fit(A, A @ coef)
    condition, bound = accuracy(A, coef)
    assert np.linalg.norm(found.coef_ - coef) <= bound
    assert found.rank_ == n_features
    assert condition / 10 < found.condition_number_ < 10 * condition


def test_what_is_reached_by_no_way_is_said(go):
    A, coef = second_differences(420)
    go("factor", dense_entries=0)
    with pytest.warns(ConvergenceWarning, match="before they converged.*raise alpha") as caught:
        found = LinearRegression().fit(A, A @ coef)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert not found.converged_
    assert found.stop_reason_ is StopReason.UNSOLVED
    assert found.rank_ is None
    assert np.isfinite(found.coef_).all()
