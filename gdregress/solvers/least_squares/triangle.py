"""Least squares from a triangle: rank, condition, and the solution of minimum norm."""

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from ..._linalg import append_rows, rank_threshold

__all__ = ["is_negligible", "triangle_solve"]

_EPS = np.finfo(np.float64).eps
# From so many columns on a few solutions with the triangle are cheaper than all singular values.
_WORTH_LANCZOS = 400


def is_negligible(ridge, unit, *, full=True):
    """Whether a ridge says nothing beside columns of these lengths: the minimum norm is meant then.

    ``sqrt(ridge) / unit`` is to move no singular value above the threshold of the rank; where the
    rank is not full, rounding would drown it.
    """
    return bool((np.sqrt(ridge) <= (0.01 if full else 10.0) * _EPS * unit).all())


def triangle_solve(root, q, ridge, scale, n_samples):
    """``min |root w - q|^2 + w^T diag(ridge) w``, by QR or with minimum norm.

    Rank and condition are those of `root` with unit columns: its singular values above
    ``max(n_samples, n_features) eps sigma_1``. The minimum norm is that of ``w / scale``, the
    coefficients in the original units.

    Returns the coefficients, rank, condition number and the indices of dependent columns.
    """
    n_features = root.shape[1]
    unit = np.linalg.norm(root, axis=0)
    regular = unit > 0.0
    unit = np.where(regular, unit, 1.0)
    threshold = rank_threshold(n_samples, n_features)
    if n_features >= _WORTH_LANCZOS and regular.all():
        condition = _condition_of_regular(root / unit, threshold)
        if condition is not None:
            triangle, right = root / unit, q
            if not is_negligible(ridge, unit):
                triangle, right = _with_ridge(triangle, q, np.sqrt(ridge) / unit)
            solution = linalg.solve_triangular(triangle, right, check_finite=False)
            return solution / unit[:, None], n_features, condition, np.empty(0, dtype=int)
    u, sigma, vt = linalg.svd(root / unit, full_matrices=False, check_finite=False)
    kept = sigma > threshold * sigma[0]
    rank = int(kept.sum())
    full = rank == n_features
    condition = float(sigma[0] / sigma[-1]) if full else np.inf
    dependent = np.empty(0, dtype=int)
    if not full and n_samples > n_features:
        _, pivots = linalg.qr(root / unit, mode="r", pivoting=True, check_finite=False)
        dependent = np.sort(pivots[rank:])
    if not is_negligible(ridge, unit, full=full):
        stacked = np.vstack([root / unit, np.diag(np.sqrt(ridge) / unit)])
        target = np.vstack([q, np.zeros((n_features, q.shape[1]))])
        orthogonal, triangle = linalg.qr(stacked, mode="economic", check_finite=False)
        solution = linalg.solve_triangular(triangle, orthogonal.T @ target, check_finite=False)
        return solution / unit[:, None], rank, condition, dependent
    if full:
        if np.array_equal(root, np.triu(root)):
            solution = linalg.solve_triangular(root / unit, q, check_finite=False)
            return solution / unit[:, None], rank, condition, dependent
        solution = vt.T @ ((u.T @ q) / sigma[:, None])
        return solution / unit[:, None], rank, condition, dependent
    solution = vt[kept].T @ ((u[:, kept].T @ q) / sigma[kept, None]) / unit[:, None]
    return _shortest(solution, vt[kept], unit, regular, scale), rank, condition, dependent


def _shortest(solution, vt, unit, regular, scale):
    """The least norm in original units among what fits like `solution`: its projection on the rows.

    `vt` spans the rows of the design with unit columns. All in ordinary sizes; a common factor of
    the units is no matter.
    """
    scale = scale / scale.max()
    rows = (vt * unit * scale).T  # rows of the design in original units
    size = np.abs(rows).max(initial=0.0) or 1.0
    basis, _ = linalg.qr(rows / size, mode="economic", check_finite=False)
    original = basis @ (basis.T @ (solution / scale[:, None]))
    original[~regular] = 0.0  # exactly: the shift of a constant column may be huge
    return original * scale[:, None]


def _with_ridge(triangle, q, root_ridge):
    """The R factor of ``[R; diag(root_ridge)]`` and the right side that goes with ``[q; 0]``."""
    n_features, n_outputs = q.shape
    bordered = np.zeros((n_features + n_outputs, n_features + n_outputs))
    bordered[:n_features, :n_features], bordered[:n_features, n_features:] = triangle, q
    below = np.zeros((n_features, n_features + n_outputs))
    below.flat[:: n_features + n_outputs + 1] = root_ridge
    found = append_rows(bordered, below)[:n_features]
    return found[:, :n_features], found[:, n_features:]


def _condition_of_regular(triangle, threshold):
    """The condition number of a triangle, to a per cent, or None where it may be singular.

    The extreme singular values by Lanczos: of ``R^T R`` and of its inverse, whose largest
    eigenvalue substitution finds to full accuracy.
    """
    size = len(triangle)
    if triangle.shape != (size, size) or not np.array_equal(triangle, np.triu(triangle)):
        return None
    if not triangle.diagonal().all():
        return None

    def solve(v, trans):
        return linalg.solve_triangular(triangle, v, trans=trans, check_finite=False)

    def largest(product):
        operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(size)  # a fixed seed: same data, same bits
        return float(
            eigsh(operator, k=1, which="LA", v0=start, tol=1e-2, return_eigenvectors=False)[0]
        )

    try:
        square = largest(lambda v: triangle.T @ (triangle @ v))
        inverse = largest(lambda v: solve(solve(v, "T"), "N"))
    except ArpackError:
        return None
    condition = np.sqrt(square) * np.sqrt(inverse)
    # A margin, for a singular triangle has an inverse of rounding errors.
    return float(condition) if condition < 0.1 / threshold else None
