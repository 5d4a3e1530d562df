"""Columns far from zero, dense and sparse: a shift of a column moves the intercept alone."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from gdregress import LinearRegression, LogisticRegression
from gdregress.solvers.newton.krylov import KrylovMetric
from gdregress.solvers.newton.newton import newton

KINDS = {
    "dense": np.asarray,
    "CSR": sparse.csr_matrix,
    "CSR array": sparse.csr_array,
    "CSC": sparse.csc_matrix,
    "stored twice": lambda X: twice(sparse.csr_matrix(X)),
}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_far = pytest.mark.parametrize("far", [1e3, 1e7, -1e9])


def twice(X):
    """The same matrix, every entry stored as two halves."""
    halves = np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr
    return sparse.csr_matrix(halves, shape=X.shape)


def near_and_far(n_rows, far, seed=0, n_empty=0):
    """Three columns near zero, and the same with the first of them far away, without rounding.

    In the last `n_empty` rows the far column is zero, which a sparse matrix does not store.
    """
    rng = np.random.default_rng(seed)
    near = np.column_stack(
        [
            rng.integers(-512, 512, n_rows) / 256,
            rng.standard_normal(n_rows) * (rng.random(n_rows) < 0.3),
            rng.standard_normal(n_rows) + 1.0,
        ]
    )
    away = near.copy()
    away[:, 0] += far
    if n_empty:
        away[-n_empty:, 0] = 0.0
        near[-n_empty:, 0] = -far
    return near, away


@each_far
@pytest.mark.parametrize("solver", ["normal_equations", "lstsq"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, "plain") for kind in KINDS),
        ("CSR", "weights"),
        ("CSR", "ridge"),
        ("CSR", "targets"),
    ],
)
@pytest.mark.parametrize("n_rows", [300, 20_000])
def test_least_squares_moves_the_intercept_alone(kind, far, solver, options, n_rows):
    near, away = near_and_far(n_rows, far)
    rng = np.random.default_rng(1)
    y = near @ [3.0, -2.0, 1.0] + rng.standard_normal(n_rows)
    y = np.column_stack([y, rng.standard_normal(n_rows)]) if options == "targets" else y
    weight = rng.integers(0, 3, n_rows) + 0.0 if options == "weights" else None
    model = LinearRegression(solver=solver, alpha=0.1 * (options == "ridge"))
    expected = model.fit(near, y, weight)
    coef, intercept, loss = expected.coef_, expected.intercept_, expected.loss_
    found = model.fit(KINDS[kind](away), y, weight)
    assert_allclose(found.coef_, coef, rtol=1e-9, atol=1e-12)
    assert_allclose(found.intercept_, intercept - far * coef.T[0], rtol=1e-9)
    assert_allclose(found.loss_, loss, rtol=1e-9)
    assert_allclose(found.score(KINDS[kind](away)[:200], y[:200]), found.score(away[:200], y[:200]))


@each_kind
@pytest.mark.parametrize("far", [1e3, 3e4])
def test_single_precision_columns_far_from_zero(kind, far):
    near, _ = near_and_far(2000, 0.0)
    near = near[:, [0, 0, 0]] * [1.0, 0.0, 0.0] + [[0.0, 1.0, 0.0]]
    away = (near + np.array([far, 0.0, 0.0])).astype(
        np.float32
    )  # multiples of 1/256: nothing is rounded
    y = 3 * near[:, 0] + np.random.default_rng(1).standard_normal(2000)
    with pytest.warns(match="rank"):  # one column of ones and one of zeros
        found = LinearRegression().fit(KINDS[kind](away), y)
    expected = np.polyfit(near[:, 0], y, 1)
    assert_allclose(found.coef_, [expected[0], 0.0, 0.0], rtol=1e-6)


@each_kind
@pytest.mark.parametrize("n_empty", [1, 5, 40])
def test_a_far_column_with_a_few_zeros(kind, n_empty):
    """The zeros are outliers, which decide; they have to be seen."""
    near, away = near_and_far(20_000, 1e6, n_empty=n_empty)
    y = near @ [3.0, -2.0, 1.0]
    found = LinearRegression().fit(KINDS[kind](away), y)
    assert_allclose(found.coef_, [3.0, -2.0, 1.0], rtol=1e-9)
    assert_allclose(found.intercept_, -3e6, rtol=1e-9)


@each_kind
def test_without_an_intercept_nothing_is_shifted(kind):
    _, away = near_and_far(5000, 1e7)
    y = away @ [3.0, -2.0, 1.0]
    found = LinearRegression(fit_intercept=False).fit(KINDS[kind](away), y)
    assert_allclose(found.coef_, [3.0, -2.0, 1.0], rtol=1e-7)


@each_kind
def test_a_stream_of_a_far_column(kind):
    near, away = near_and_far(3000, 1e9)
    y = near @ [3.0, -2.0, 1.0] + np.random.default_rng(1).standard_normal(3000)
    expected = LinearRegression().fit(near, y)
    found = LinearRegression()
    for begin in range(0, 3000, 500):
        rows = slice(begin, begin + 500)
        found.partial_fit(KINDS[kind](away[rows]), y[rows])
    assert_allclose(found.coef_, expected.coef_, rtol=1e-9)
    assert_allclose(found.loss_, expected.loss_, rtol=1e-9)


@pytest.mark.parametrize("kind", ["dense", "CSR"])
@pytest.mark.parametrize("far", [1e3, -1e9])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("metric", ["factored", "Krylov", "sampled"])
@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_newton_moves_the_intercept_alone(kind, far, n_classes, metric, alpha, monkeypatch):
    if metric == "Krylov":
        monkeypatch.setitem(newton.__kwdefaults__, "choose", KrylovMetric)
    n_rows = 20_000 if metric == "sampled" else 2000
    near, away = near_and_far(n_rows, far)
    rng = np.random.default_rng(2)
    z = near @ rng.standard_normal((3, n_classes)) + rng.gumbel(size=(n_rows, n_classes))
    model = LogisticRegression(solver="newton", alpha=alpha, tol=1e-10)
    coef = model.fit(near, z.argmax(axis=1)).coef_
    n_iter = model.n_iter_
    found = model.fit(KINDS[kind](away), z.argmax(axis=1))
    assert found.converged_
    assert found.n_iter_ <= n_iter + 2
    assert_allclose(found.coef_, coef, rtol=0, atol=1e-7 * abs(coef).max())
    if kind != "dense":
        assert_array_equal(found.predict(KINDS[kind](away)), found.predict(away))
