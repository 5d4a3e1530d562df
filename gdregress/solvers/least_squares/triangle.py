"""Least squares from a triangle: rank, condition, and the solution of minimum norm."""

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from ..._linalg import append_rows, rank_threshold

__all__ = ["is_negligible", "minimum_norm", "triangle_solve", "without_rounding"]

_EPS = np.finfo(np.float64).eps
# From so many columns on a few solutions with the triangle are cheaper than all singular values.
_WORTH_LANCZOS = 400
_NONE = np.empty(0, dtype=int)


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
            return solution / unit[:, None], n_features, condition, _NONE
    columns = root / unit
    sigma = linalg.svdvals(columns, check_finite=False)
    rank = int(np.sum(sigma > threshold * sigma[0]))
    if rank == 0:
        dependent = np.arange(n_features) if n_samples > n_features else _NONE
        return np.zeros((n_features, q.shape[1])), 0, np.inf, dependent
    if rank < n_features:
        basis = _Basis(columns, rank, threshold)
        # ridge_j = lambda / scale_j^2, where the square of a large scale may underflow
        root_ridge = (np.sqrt(ridge) * scale).max()
        solution = basis.shortest(q, unit * scale, root_ridge) * scale[:, None]
        solution[~regular] = 0.0  # exactly: the shift of a constant column may be huge
        return solution, rank, np.inf, basis.dependent if n_samples > n_features else _NONE
    condition = float(sigma[0] / sigma[-1])
    if is_negligible(ridge, unit) and np.array_equal(root, np.triu(root)):
        solution = linalg.solve_triangular(columns, q, check_finite=False)
    else:
        solution = _solve_ridge(columns, q, np.sqrt(ridge) / unit)
    return solution / unit[:, None], rank, condition, _NONE


def _solve_ridge(columns, q, root_ridge):
    """``min |A v - q|^2 + |diag(root_ridge) v|^2`` by QR."""
    n_features = columns.shape[1]
    stacked = np.vstack([columns, np.diag(root_ridge)])
    target = np.vstack([q, np.zeros((n_features, q.shape[1]))])
    orthogonal, triangle = linalg.qr(stacked, mode="economic", check_finite=False)
    return linalg.solve_triangular(triangle, orthogonal.T @ target, check_finite=False)


class _Basis:
    """A basis among columns of unit length, and the others in it: ``A = A_B W``, W = [I T] P^T.

    ``A P = Q [R11 R12]`` by QR with pivoting, and ``T = R11^-1 R12`` (Golub & Van Loan 2013,
    "Matrix computations", 5.5). What of T is rounding is zero: units would raise it to a
    dependency.
    """

    def __init__(self, columns, rank, threshold):
        n_features = columns.shape[1]
        q, r, pivots = linalg.qr(columns, mode="economic", pivoting=True, check_finite=False)
        self.q, self.triangle = q[:, :rank], r[:rank, :rank]
        self.dependent = np.sort(pivots[rank:])
        others = linalg.solve_triangular(self.triangle, r[:rank, rank:], check_finite=False)
        others = without_rounding(self.triangle, others, threshold)
        self.of_all = np.empty((rank, n_features))
        self.of_all[:, pivots] = np.hstack([np.eye(rank), others])

    def shortest(self, target, unit, root_ridge):
        """``min |A diag(unit) w - b|^2 + lambda |w|^2``; of least norm where lambda is 0."""
        target = self.q.T @ target
        if root_ridge == 0.0:
            c = linalg.solve_triangular(self.triangle, target, check_finite=False)
            return minimum_norm(self.of_all, unit, c)
        span = _Span(self.of_all, unit)
        design = self.triangle[:, span.pivots] @ span.r.T  # columns of z
        length = np.hypot(np.linalg.norm(design, axis=0), root_ridge / span.largest)
        z = _solve_ridge(design / length, target, root_ridge / span.largest / length)
        return span.at(z / length[:, None])


class _Span:
    """The w that are shortest for what they fit, by their coordinates z.

    With ``diag(unit) W^T P = Q R`` and ``z = Q^T w``, the coefficients of the basis are
    ``c = P R^T z``, and the least norm of w is that of z. Units may be of any sizes beside each
    other: Householder QR that pivots, its rows in descending order, has small errors in each row
    (Cox & Higham 1998, "Stability of Householder QR factorization for weighted least squares
    problems").
    """

    def __init__(self, of_all, unit):
        rows = (of_all * unit).T
        size = np.abs(rows).max(axis=1)
        self.largest = size.max(initial=0.0) or 1.0
        self._order = np.argsort(-size, kind="stable")
        self._q, self.r, self.pivots = linalg.qr(
            rows[self._order] / self.largest, mode="economic", pivoting=True, check_finite=False
        )

    def at(self, z):
        w = np.empty((len(self._order), z.shape[1]))
        w[self._order] = self._q @ (z / self.largest)
        return w


def minimum_norm(of_all, unit, c):
    """The shortest w with ``W diag(unit) w = c``: of columns in a basis, ``A = A_B W``."""
    span = _Span(of_all, unit)
    return span.at(linalg.solve_triangular(span.r, c[span.pivots], trans="T", check_finite=False))


def without_rounding(triangle, others, threshold):
    """T with zeros for what is rounding, of unit columns ``A_B T`` that are given to a threshold.

    An entry of row i is known to the threshold times the length of that row of ``R11^-1``: beside
    a basis that is nearly dependent, large parts of T may be rounding together, and none of them
    alone. What is put to zero is therefore to move its column of ``R11 T`` by no more than the
    threshold; else only entries below it are.
    """
    inverse = linalg.solve_triangular(triangle, np.eye(len(triangle)), check_finite=False)
    noise = threshold * np.linalg.norm(inverse, axis=1)[:, None]
    size = np.abs(others)
    rounding = np.where(size <= noise, others, 0.0)
    moved = np.linalg.norm(triangle @ rounding, axis=0)
    return np.where(size <= np.where(moved <= threshold, noise, threshold), 0.0, others)


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
