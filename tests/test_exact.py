"""Exact least squares against arbitrary precision, Householder QR and closed forms."""

import numpy as np
import pytest
from comparing import centred
from numpy.testing import assert_allclose
from problems import least_squares_error
from scipy import sparse

from gdregress.problem.losses import SquaredLoss
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers.least_squares import exact
from gdregress.solvers.least_squares.exact import solve_least_squares

each_solver = pytest.mark.parametrize("solver", ["auto", "normal_equations", "lstsq"])
each_intercept = pytest.mark.parametrize("fit_intercept", [True, False])
each_weighting = pytest.mark.parametrize("weighted", [False, True])


def solve(
    X, y, sample_weight=None, *, solver="auto", alpha=0.0, fit_intercept=True, block_rows=None
):
    y = y.reshape(len(y), -1)
    blocks = RowBlocks(X, y, sample_weight, workers=2, block_rows=block_rows)
    objective = BlockObjective(
        blocks, SquaredLoss(), ElasticNet(alpha), y.shape[1], fit_intercept=fit_intercept
    )
    with np.errstate(all="ignore"):
        return solve_least_squares(objective, solver)


def closed_form(X, y, sample_weight=None, *, alpha=0.0, fit_intercept=True):
    """Ridge, or the solution of minimum norm, the intercept spared: (p + 1, K)."""
    A, b, x_mean, y_mean = centred(X, y, sample_weight, fit_intercept)
    total = len(X) if sample_weight is None else sample_weight.sum()
    if alpha:
        p = A.shape[1]
        A, b = (
            np.vstack([A, np.sqrt(alpha * total) * np.eye(p)]),
            np.vstack([b, np.zeros((p, b.shape[1]))]),
        )
    coef = np.linalg.lstsq(A, b, rcond=1e-11)[0]
    return np.vstack([coef, y_mean - x_mean @ coef])


def loss_at(theta, X, y, sample_weight=None, alpha=0.0):
    square = 0.5 * np.sum((X @ theta[:-1] + theta[-1] - y) ** 2, axis=1)
    return np.average(square, weights=sample_weight) + 0.5 * alpha * np.sum(theta[:-1] ** 2)


# More columns than rows


@each_weighting
@each_intercept
@pytest.mark.parametrize("alpha", [0.0, 1e-3])
@pytest.mark.parametrize("unit", [1.0, np.resize([1e2, 1.0, 1e-2, 0.0], 90)])
def test_wide_columns_are_fitted_among_the_rows(unit, alpha, fit_intercept, weighted):
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((20, 90)) * unit + 5.0, rng.standard_normal((20, 2))
    weight = rng.integers(0, 3, 20).astype(float) if weighted else None
    settings = {"alpha": alpha, "fit_intercept": fit_intercept}
    found = solve(X, y, weight, **settings)
    expected = closed_form(X, y, weight, **settings)
    assert "the matrix of the rows" in found.why
    assert found.rank == (np.count_nonzero(weight) if weighted else 20) - fit_intercept
    assert found.condition == np.inf
    assert_allclose(found.theta[:, 0], expected, rtol=0, atol=1e-10 * abs(expected).max())


@pytest.mark.parametrize("kind", ["twice the same row", "nearly the same row", "huge"])
def test_rows_that_depend_on_each_other_are_not_fitted_by_their_matrix(kind):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((20, 90)), rng.standard_normal((20, 1))
    if kind == "huge":
        X *= 1e170
    else:
        X[1], y[1] = X[0] + (kind[0] == "n") * 1e-7 * X[1], y[0]
    found = solve(X, y, fit_intercept=False)
    assert found.rank == 19 + (kind[0] != "t")
    assert_allclose(X @ found.theta[:-1, 0], y, rtol=0, atol=1e-12)


# Accuracy


def with_condition(condition, n_rows, n_features, noise, seed=0):
    """A design of that condition, and y."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((n_rows, n_features)))[0]
    right = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
    X = (left * np.geomspace(1.0, 1.0 / condition, n_features)) @ right.T + 0.1
    return X, X @ rng.standard_normal(n_features) + noise * rng.standard_normal(n_rows)


def far_from_zero(mean, n_rows, condition, noise, seed=0):
    """The same with columns whose means are so many times their spreads."""
    X, y = with_condition(condition, n_rows, 4, 0.0, seed)
    X -= X.mean(axis=0)
    X += mean * X.std(axis=0)
    rng = np.random.default_rng(seed)
    y = X @ rng.standard_normal(4)
    return X, y + noise * y.std() * rng.standard_normal(n_rows)


@each_solver
@pytest.mark.parametrize("noise", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("condition", [1e1, 1e2, 1e3, 1e4, 1e6, 3e6, 1e7, 1e8, 1e10, 1e12, 3e13])
def test_coefficients_are_as_accurate_as_householder_qr(solver, condition, noise):
    """3e13 is as far as it goes: beyond 1 / (60 eps) the rank of 60 rows is no longer full."""
    for seed in range(4):
        X, y = with_condition(condition, 60, 4, noise, seed)
        found = solve(X, y, solver=solver, block_rows=16).theta[:, 0]
        assert least_squares_error(found, X, y) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("condition", [1e2, 1e5, 3e6, 1e9, 1e12])
def test_a_wide_table_is_as_accurate_as_householder_qr(condition, noise):
    X, y = with_condition(condition, 400, 30, noise)
    found = solve(X, y, block_rows=64).theta[:, 0]
    assert least_squares_error(found, X, y) <= 1.0


@each_solver
@pytest.mark.parametrize("block_rows", [16, 1000])
@pytest.mark.parametrize("noise", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("condition", [1.1, 1e2, 1e5])
@pytest.mark.parametrize("mean", [1.0, 4.0, 15.0, 60.0, 1e6])
def test_means_cost_no_digits(solver, block_rows, noise, condition, mean):
    """The bound is that of centred columns, whatever the means; targets have a mean as well."""
    X, y = far_from_zero(mean, 60, condition, noise)
    found = solve(X, y, solver=solver, block_rows=block_rows).theta[:, 0]
    assert least_squares_error(found, X, y) <= 1.0


@each_solver
@each_intercept
@each_weighting
@pytest.mark.parametrize("alpha", [0.0, 1e-4])
@pytest.mark.parametrize("mean", [0.5, 15.0, 60.0])
@pytest.mark.parametrize("condition", [3.0, 1e3])
def test_weights_penalties_and_targets_cost_no_digits(
    solver, fit_intercept, weighted, alpha, mean, condition
):
    X, y = far_from_zero(mean, 60, condition, 0.3)
    rng = np.random.default_rng(12)
    y = np.column_stack([y, 1e3 + rng.standard_normal(60), X[:, 0]])
    weight = rng.uniform(0.1, 2, 60) if weighted else None
    settings = {"alpha": alpha, "fit_intercept": fit_intercept}
    found = solve(X, y, weight, solver=solver, block_rows=25, **settings).theta[:, 0]
    assert least_squares_error(found, X, y, weight, **settings) <= 1.0


@each_solver
@pytest.mark.parametrize("n_rows", [300, 40_000])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_column_far_from_zero_keeps_its_digits(solver, n_rows, is_sparse):
    """A time stamp beside an ordinary feature: the spread is a billionth of the mean."""
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [1e9 + rng.integers(-1000, 1000, n_rows) / 512, rng.standard_normal(n_rows)]
    )
    spread = X[:, 0] - 1e9
    y = 2 * spread - 3 * X[:, 1] + rng.standard_normal(n_rows)
    coef = closed_form(np.column_stack([spread, X[:, 1]]), y[:, None])
    found = solve(sparse.csr_matrix(X) if is_sparse else X, y, solver=solver)
    assert_allclose(found.theta[:-1, 0], coef[:-1], rtol=1e-5)
    assert_allclose(
        found.loss, loss_at(coef, np.column_stack([spread, X[:, 1]]), y[:, None]), rtol=1e-7
    )
    assert found.rank == 2


@each_solver
@pytest.mark.parametrize("exponent", [-498, -100, 100, 498])
@pytest.mark.parametrize("n_rows", [50, 5000])
def test_units_divide_the_coefficients(solver, exponent, n_rows):
    """2^498 is about 1e150."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n_rows, 3)) + 0.5
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(n_rows)
    expected = closed_form(X, y[:, None])[:-1, 0]
    scale = np.ldexp(1.0, [exponent, 0, -exponent])
    found = solve(X * scale, y, solver=solver)
    assert_allclose(found.theta[:-1, 0, 0] * scale, expected, rtol=1e-10)
    assert found.rank == 3


# Closed forms

SHAPES = {"tall": (50, 5), "square": (8, 8), "wide": (8, 20)}


# (solver, kind of X): the last is the branch for many sparse columns, whatever the solver
BRANCHES = [
    (solver, kind)
    for solver in ("auto", "normal_equations", "lstsq")
    for kind in ("dense", "sparse", "many sparse columns")
    if solver == "auto" or kind != "many sparse columns"
]
each_branch = pytest.mark.parametrize(("solver", "kind"), BRANCHES)


@each_branch
@each_intercept
@each_weighting
@pytest.mark.parametrize("alpha", [0.0, 0.2])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_branch_is_the_closed_form(
    solver, kind, fit_intercept, weighted, alpha, shape, monkeypatch
):
    if kind == "many sparse columns":
        monkeypatch.setattr(exact, "LIMITS", exact.Limits(sparse_columns=1))
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal(SHAPES[shape]) + 0.3, rng.standard_normal((SHAPES[shape][0], 2))
    X *= np.geomspace(0.3, 3, X.shape[1])
    X[rng.uniform(size=X.shape) < 0.3] = 0.0
    weight = rng.uniform(0.1, 2, len(X)) if weighted else None
    expected = closed_form(X, y, weight, alpha=alpha, fit_intercept=fit_intercept)
    found = solve(
        X if kind == "dense" else sparse.csr_matrix(X),
        y,
        weight,
        solver=solver,
        alpha=alpha,
        fit_intercept=fit_intercept,
        block_rows=7,
    )
    size = abs(expected).max()
    assert_allclose(found.theta[:, 0], expected, rtol=0, atol=1e-8 * size)
    assert_allclose(found.loss, loss_at(expected, X, y, weight, alpha), rtol=1e-8, atol=1e-14)
    zero = np.zeros_like(expected)
    assert_allclose(found.start[0], loss_at(zero, X, y, weight), rtol=1e-12)


@each_branch
@each_intercept
@each_weighting
@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_dependent_columns_get_rank_and_minimum_norm(
    solver, kind, fit_intercept, weighted, shape, monkeypatch
):
    if kind == "many sparse columns":
        monkeypatch.setattr(exact, "LIMITS", exact.Limits(sparse_columns=1))
    rng = np.random.default_rng(3)
    n_rows, n_features = SHAPES[shape]
    X, y = rng.standard_normal((n_rows, n_features)), rng.standard_normal((n_rows, 2))
    X[:, -1] = 2 * X[:, 0] - X[:, 1]
    X[:, 2] *= 10
    if shape == "tall":
        X = np.column_stack([X, 3 * X[:, 2], np.zeros(n_rows)])
    weight = rng.uniform(0.1, 2, n_rows) if weighted else None
    A = centred(X, y, weight, fit_intercept)[0]
    expected = closed_form(X, y, weight, fit_intercept=fit_intercept)
    found = solve(
        X if kind == "dense" else sparse.csr_matrix(X),
        y,
        weight,
        solver=solver,
        fit_intercept=fit_intercept,
        block_rows=7,
    )
    assert_allclose(found.theta[:, 0], expected, rtol=0, atol=1e-9 * abs(expected).max())
    if kind == "many sparse columns":
        assert found.rank is None  # LSMR does not reveal it
        return
    unit = np.linalg.norm(A, axis=0)
    assert found.rank == np.linalg.matrix_rank(A / np.where(unit > 0, unit, 1.0), tol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_dependent_columns_are_named(weighted):
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((50, 5)), rng.standard_normal(50)
    X[:, 3] = X[:, 0] - 2 * X[:, 1]
    weight = rng.uniform(0.1, 2, 50) if weighted else None
    found = solve(X, y, weight)
    assert len(found.dependent) == 1
    assert found.dependent[0] in (0, 1, 3)
    assert len(solve(np.delete(X, found.dependent, axis=1), y, weight).dependent) == 0


def one_hot(n_rows, rng, unit):
    """Three groups of levels, all of them, a column of numbers, twice it and a constant."""
    groups = [np.eye(k)[np.arange(n_rows) % k] for k in (2, 3, 7)]
    number = rng.standard_normal((n_rows, 1))
    return np.hstack([*groups, number, 2.0 * number, np.ones((n_rows, 1))]) * unit


@each_weighting
@each_intercept
@pytest.mark.parametrize("alpha", [0.0, 1e-3])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("unit", [1.0, np.resize([1e2, 1.0, 1e-2, 8.0], 15)])
def test_the_rows_prove_which_columns_depend_on_others(
    unit, kind, alpha, fit_intercept, weighted, monkeypatch
):
    """No triangle is needed where columns are sums of well-conditioned others."""
    monkeypatch.setattr(exact, "LIMITS", exact.Limits(proof=0.0))
    rng = np.random.default_rng(0)
    X, y = one_hot(210, rng, unit), rng.standard_normal((210, 2)) + 3.0
    weight = rng.uniform(0.1, 2.0, 210) if weighted else None
    settings = {"alpha": alpha, "fit_intercept": fit_intercept}
    found = solve(X if kind == "dense" else sparse.csr_array(X), y, weight, **settings)
    expected = closed_form(X, y, weight, **settings)
    assert "the rows prove" in found.why
    assert found.rank == (10 if fit_intercept else 11)
    assert found.condition == np.inf
    assert len(found.dependent) == 15 - found.rank
    assert_allclose(found.theta[:, 0], expected, rtol=0, atol=1e-11 * abs(expected).max())
    kept = np.delete(X, found.dependent, axis=1)
    assert len(solve(kept, y, weight, fit_intercept=fit_intercept).dependent) == 0


@pytest.mark.parametrize("distance", [1e-5, 1e-8, 1e-11])
def test_what_the_rows_do_not_prove_is_no_dependency(distance, monkeypatch):
    """In the Gram matrix the squares of the two smaller distances are rounding."""
    monkeypatch.setattr(exact, "LIMITS", exact.Limits(proof=0.0))
    rng = np.random.default_rng(1)
    X = rng.standard_normal((300, 4))
    X[:, 3] = X[:, 0] + X[:, 1] + distance * X[:, 3]
    found = solve(X, rng.standard_normal((300, 1)))
    assert found.rank == 4
    assert len(found.dependent) == 0


@pytest.mark.parametrize("part", [1e-1, 1e-2, 1e-3])
def test_small_parts_of_a_dependent_column_count_beside_columns_that_nearly_are(part):
    """The first two columns are nearly the same; that says nothing of what the last is made of."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 65))
    X[:, 1] = X[:, 0] + 1e-12 * X[:, 1]
    X[:, -1] = X[:, 2] + part * X[:, 3]
    y = X[:, [2]] + 3.0 * X[:, [3]]
    found = solve(X, y, None, solver="lstsq")
    assert found.rank == 64
    assert_allclose(X @ found.theta[:-1, 0] + found.theta[-1, 0], y, rtol=0, atol=1e-4)


@each_solver
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("correlation", [0.0, 0.9, 1 - 1e-6, 1 - 1e-13])
def test_rank_and_condition_belong_to_x(solver, alpha, correlation):
    rng = np.random.default_rng(5)
    X = np.linalg.qr(rng.standard_normal((200, 3)))[0]
    X[:, 1] = correlation * X[:, 0] + np.sqrt(1 - correlation**2) * X[:, 1]
    X = X * [1e3, 1.0, 1e-4] + [5.0, 0.0, 0.0]
    A = X - X.mean(axis=0)
    singular = np.linalg.svd(A / np.linalg.norm(A, axis=0), compute_uv=False)
    found = solve(X, rng.standard_normal(200), solver=solver, alpha=alpha)
    assert found.rank == 3
    exact_condition = singular[0] / singular[-1]
    assert exact_condition / 3 <= found.condition <= 3 * exact_condition


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.float32, bool])
@pytest.mark.parametrize("kind", ["dense", "sparse", "many sparse columns"])
def test_narrow_types_do_not_overflow(dtype, kind, monkeypatch):
    if kind == "many sparse columns":
        monkeypatch.setattr(exact, "LIMITS", exact.Limits(sparse_columns=1))
    rng = np.random.default_rng(6)
    top = {np.int8: 127, np.uint8: 255, np.int32: 10**6, np.float32: 10**6, bool: 2}[dtype]
    X = rng.integers(0, top, (300, 4)).astype(dtype)
    y = rng.standard_normal(300) + X.astype(float) @ rng.standard_normal(4) / top
    expected = closed_form(X.astype(float), y[:, None])
    found = solve(X if kind == "dense" else sparse.csr_matrix(X), y)
    assert_allclose(found.theta[:, 0], expected, rtol=0, atol=1e-8 * abs(expected).max())
    assert_allclose(found.theta[:-1, 0], expected[:-1], rtol=1e-7)


@each_solver
@pytest.mark.parametrize("condition", [1e2, 1e12])
def test_same_bits_for_any_number_of_workers(solver, condition):
    X, y = with_condition(condition, 60, 4, 0.1)
    thetas = []
    for n_workers in (1, 2, 3):
        blocks = RowBlocks(X, y[:, None], None, n_workers, block_rows=7)
        objective = BlockObjective(blocks, SquaredLoss(), ElasticNet(), 1)
        thetas.append(solve_least_squares(objective, solver).theta)
    assert all(np.array_equal(thetas[0], theta) for theta in thetas[1:])


@each_solver
@pytest.mark.parametrize("block_rows", [1, 3, 1000])
@pytest.mark.parametrize("condition", [1e3, 1e9])
def test_the_size_of_the_blocks_does_not_matter(solver, block_rows, condition):
    """One row to a block: the QR is one of a single row stacked on a triangle."""
    X, y = with_condition(condition, 60, 4, 1e-3)
    found = solve(X, y, solver=solver, block_rows=block_rows)
    assert least_squares_error(found.theta[:, 0], X, y) <= 1.0
