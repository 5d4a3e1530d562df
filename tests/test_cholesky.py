"""The column-scaled symmetric solve."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import LinAlgError

from gdregress.solvers.cholesky import ScaledCholesky


def unit_diagonal(condition, size=8, seed=0):
    """A positive definite matrix with unit diagonal and about that condition number."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    matrix = (basis * np.geomspace(1.0, 1.0 / condition, size)) @ basis.T
    unit = np.sqrt(np.diag(matrix))
    return (matrix + matrix.T) / 2 / np.outer(unit, unit)


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6, 1e9, 1e12])
def test_solutions_have_the_accuracy_that_the_condition_allows(condition):
    matrix = unit_diagonal(condition)
    x = np.random.default_rng(1).standard_normal((8, 3))
    cholesky = ScaledCholesky(matrix)
    bound = 50 * np.linalg.cond(matrix) * np.finfo(float).eps
    assert_allclose(cholesky.solve(matrix @ x), x, rtol=0, atol=bound * abs(x).max())
    assert_allclose(cholesky.solve(matrix @ x[:, 0]), x[:, 0], rtol=0, atol=bound * abs(x).max())
    residual = matrix @ cholesky.solve(x) - x  # backward stable, whatever the condition
    scale = np.linalg.norm(matrix) * np.linalg.norm(cholesky.solve(x))
    assert np.linalg.norm(residual) <= 1e-14 * scale


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e6, 1e10, 1e13])
@pytest.mark.parametrize("seed", range(5))
def test_rcond_is_within_a_factor_of_the_reciprocal_condition(condition, seed):
    matrix = unit_diagonal(condition, seed=seed)
    exact = 1 / np.linalg.cond(matrix, 1)
    assert exact * 0.9 <= ScaledCholesky(matrix).rcond <= 3 * exact  # an estimate from above


@pytest.mark.parametrize("size", [1, 2, 8, 60])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e6, 1e10])
def test_a_bound_of_the_condition_is_kept(condition, size):
    """Whether the determinant tells, as that of few columns may, or not."""
    matrix = unit_diagonal(condition, size)
    exact = 1 / np.linalg.cond(matrix, 1)
    for share in (1e-9, 1e-3, 0.9):
        assert ScaledCholesky(matrix).is_regular(share * exact)
    for share in (4.0, 1e3, 1e9):  # the estimate is one from above
        assert not ScaledCholesky(matrix).is_regular(share * exact)


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e6, 1e10])
def test_condition_number_is_that_of_the_columns(condition):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((30, 5)) @ np.diag([1.0, 1e3, 1e-3, 1.0, 1e5])
    X[:, 3] = X[:, 0] + X[:, 3] / np.sqrt(condition)
    unit = X / np.linalg.norm(X, axis=0)
    found = ScaledCholesky(X.T @ X).condition_number()
    assert_allclose(found, np.linalg.cond(unit), rtol=1e-3)


@pytest.mark.parametrize("exponents", [[0] * 8, np.linspace(-490, 490, 8), [300] * 4 + [-300] * 4])
def test_units_change_nothing_but_the_units(exponents):
    """Powers of two round nothing: D H D is solved as H is, to rounding of its square roots."""
    matrix, b = unit_diagonal(1e4), np.random.default_rng(3).standard_normal(8)
    scale = np.ldexp(1.0, np.asarray(exponents, dtype=int))
    plain, scaled = ScaledCholesky(matrix), ScaledCholesky(scale[:, None] * matrix * scale)
    assert_allclose(scaled.solve(scale * b) * scale, plain.solve(b), rtol=1e-9)
    assert_allclose(scaled.rcond, plain.rcond, rtol=1e-6)


def test_the_matrix_is_left_alone():
    matrix = unit_diagonal(100.0)
    before = matrix.copy()
    matrix.setflags(write=False)
    ScaledCholesky(matrix).solve(np.ones(8))
    assert np.array_equal(matrix, before)


@pytest.mark.parametrize(
    "matrix",
    [
        [[1.0, 2.0], [2.0, 1.0]],
        [[1.0, 0.0], [0.0, 0.0]],
        [[1.0, 0.0], [0.0, -1.0]],
        [[1.0, 0.0], [0.0, np.nan]],
    ],
    ids=["indefinite", "zero on the diagonal", "negative", "not a number"],
)
def test_what_is_not_positive_definite_is_refused(matrix):
    with pytest.raises(LinAlgError):
        ScaledCholesky(np.array(matrix))


def test_a_singular_matrix_is_refused_or_known_to_be_singular():
    x = np.random.default_rng(4).standard_normal((50, 3))
    X = np.column_stack([x, x @ [1.0, 2.0, 3.0]])
    try:
        rcond = ScaledCholesky(X.T @ X).rcond
    except LinAlgError:
        rcond = 0.0
    assert rcond < 1e-13
