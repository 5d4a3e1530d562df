"""How much an objective over rows can bend: the bound of its Hessian, and that of mini-batches.

    B = c/S [X 1]^T diag(s) [X 1] + alpha (1 - l1_ratio) diag(1, ..., 1, 0)

is no less than the Hessian at any theta, c being the bound of the curvature of the loss.
"""

from functools import cached_property

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from ..rows.kernels import ColumnRange, ColumnSquares, GramProduct, LargestRow, Moments
from ..rows.overflow import check_squares, overflow

__all__ = ["HessianBound", "QuadraticBound", "largest_eigenvalue"]

# Dense Gram matrices up to this many columns; beyond, eigenvalues come from products alone.
_MAX_GRAM_COLUMNS = 2048


class HessianBound:
    """B of a block objective, from as few passes over its rows as it takes.

    Parameters
    ----------
    objective : BlockObjective
        Its penalty has one strength, for all models.
    max_gram_columns : int, default=2048
        No matrix is formed of more columns than these.

    Raises
    ------
    TypeError
        If the curvature of the loss has no bound.
    """

    def __init__(self, objective, *, max_gram_columns=_MAX_GRAM_COLUMNS):
        self._blocks, self._penalty = objective.blocks, objective.penalty
        self._fit_intercept, self._total_weight = objective.fit_intercept, objective.total_weight
        self._loss, self._n_terms = objective.loss, objective.shape[0]
        self._max_gram_columns = max_gram_columns

    @property
    def _c(self):
        c = self._loss.curvature_bound
        if c is None:
            raise TypeError(
                f"{type(self._loss).__name__} has a curvature without a bound, and a rate or a "
                f"criterion made of one cannot serve it: give a number as the learning rate, or "
                f"search for it along the line."
            )
        return c

    @cached_property
    def gram(self):
        """``1/S [X 1]^T diag(s) [X 1]`` in the frame, or None where it would be too large."""
        n_features = self._blocks.n_features
        if n_features > self._max_gram_columns or n_features > 4 * self._blocks.n_samples:
            return None
        gram = self._blocks.reduce(Moments()) / self._total_weight
        check_squares(gram.diagonal(), gram.diagonal() > 0.0)
        if not self._fit_intercept:
            gram[-1, :] = gram[:, -1] = 0.0
        return gram

    @cached_property
    def diagonal(self):
        """That of B, shape (n_features + 1, 1, 1)."""
        if vars(self).get("gram") is not None:  # made already: the diagonal is in it
            squares = np.diag(self.gram).copy()
        else:
            squares = self._blocks.reduce(ColumnSquares()) / self._total_weight
        occupied = squares > 0.0
        if not occupied[:-1].all():
            low, high = self._blocks.reduce(ColumnRange(only_weighing=True))
            occupied[:-1] = (low != 0.0) | (high != 0.0)
        check_squares(squares, occupied)
        if not self._fit_intercept:
            squares[-1] = 0.0
        diagonal = self._c * squares[:, None]
        return (diagonal + self._penalty.curvature((len(squares), 1)))[:, None, :]

    @cached_property
    def norm(self):
        """The largest eigenvalue of B."""
        ridge = self._penalty.curvature((self._n_terms, 1))[:, 0]
        if self.gram is not None:
            bound = self._c * self.gram
            bound.flat[:: len(bound) + 1] += ridge
            return largest_eigenvalue(bound)
        if not np.all(np.isfinite(self.diagonal)):
            raise FloatingPointError(overflow("X"))

        def product(v):
            v = v.reshape(-1, 1, 1)
            if not self._fit_intercept:
                v = np.vstack([v[:-1], np.zeros_like(v[-1:])])
            gram = self._blocks.reduce(GramProduct(), v)[:, 0, 0] / self._total_weight
            if not self._fit_intercept:
                gram[-1] = 0.0
            return self._c * gram + ridge * v[:, 0, 0]

        operator = LinearOperator((len(ridge), len(ridge)), matvec=product, dtype=np.float64)
        return largest_eigenvalue(operator)

    @cached_property
    def of_worst_row(self):
        """``max_i L_i``, the smoothness of the worst row as a mini-batch sees it.

        ``L_i = c (m s_i / S) |[x_i 1]|^2 + alpha (1 - l1_ratio)``.
        """
        largest = self._blocks.reduce(LargestRow(self._fit_intercept))[0]
        weight = self._blocks.n_samples / self._total_weight
        return self._c * weight * float(largest) + self._penalty.l2

    def of_batches(self, batch_size):
        """Smoothness of mini-batch gradients, drawn without replacement, in expectation.

        ``[m (b - 1) lambda_max + (m - b) max_i L_i] / [b (m - 1)]``: between that of a single row
        at b = 1 and that of the full batch at b = m (Gower et al. 2019, "SGD: general analysis
        and improved rates", proposition 3.8).
        """
        m, b = self._blocks.n_samples, batch_size
        if m == 1:
            return self.norm
        full = m * (b - 1) * self.norm
        return (full + (m - b) * self.of_worst_row) / (b * (m - 1))


class QuadraticBound:
    """That of a quadratic objective, where it is the Hessian: ``A^T A`` and the penalty.

    Parameters
    ----------
    A : ndarray of shape (n_features + 1, n_features + 1)
    diagonal : ndarray of shape (n_features + 1, 1, 1)
        That of the bound.
    """

    def __init__(self, A, diagonal):
        self._A, self.diagonal = A, diagonal

    @cached_property
    def gram(self):
        """The bound itself, (n_features + 1, n_features + 1), penalty included."""
        gram = np.ascontiguousarray(self._A.T) @ self._A
        gram.flat[:: len(gram) + 1] = self.diagonal[:, 0, 0]
        return gram

    @cached_property
    def norm(self):
        """The largest eigenvalue."""
        return largest_eigenvalue(self.gram)


def largest_eigenvalue(matrix):
    """Largest eigenvalue of a symmetric matrix or operator, deterministic."""
    size = matrix.shape[0]
    if isinstance(matrix, np.ndarray) and not np.all(np.isfinite(matrix)):
        raise FloatingPointError(overflow("X"))
    if isinstance(matrix, np.ndarray) and size <= 512:
        last = {"subset_by_index": [size - 1, size - 1], "check_finite": False}
        try:
            top = linalg.eigh(matrix, eigvals_only=True, **last)
        except linalg.LinAlgError:  # LAPACK's syevr gives up where a huge penalty is all there is
            top = linalg.eigh(matrix, eigvals_only=True, driver="ev", check_finite=False)[-1:]
    else:
        start = np.random.default_rng(0).standard_normal(size)  # a fixed seed: same data, same bits
        try:
            top = eigsh(matrix, k=1, which="LA", v0=start, return_eigenvectors=False)
        except ArpackError as error:
            moved = matrix @ start
            if not moved.any():
                return 0.0
            if np.isfinite(np.vdot(moved, moved)):
                raise
            raise FloatingPointError(overflow("X")) from error
    return max(float(top[0]), 0.0)
