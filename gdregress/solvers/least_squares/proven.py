"""Columns that others make up: found in the Gram matrix, proven by the rows.

A Gram matrix has the squares of the singular values, so what is small there may be none: it tells a
basis B among the columns, of unit length, that is well-conditioned, and the coefficients of the
others in it,

    T = (A_B^T A_B)^-1 A_B^T A_D,    E = A_D - A_B T.

E is computed from the rows. A less E in the place of the others has the rank of B, so that all but
as many singular values of A are at most ``|E|`` (Eckart & Young 1936, "The approximation of one
matrix by another of lower rank"): where that is within the threshold of the rank, it is that of B.
"""

import math
from functools import cached_property

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from ..._linalg import rank_threshold
from ...rows.kernels import ProductAndSquares
from ..cholesky import ScaledCholesky
from .triangle import minimum_norm, without_rounding

__all__ = ["ProvenBasis"]

# Some rows may tell that E is more than rounding of a first T, and so many looks at all of them do.
_SAMPLE_ROWS, _MARGIN, _MAX_LOOKS = 256, 100.0 * np.finfo(np.float64).eps, 2


class ProvenBasis:
    """A basis among the columns, and the others in it, ``A = A_B W``.

    Parameters
    ----------
    objective : BlockObjective
    moments : CentredMoments
    min_rcond : float
        What the reciprocal condition of the Gram matrix of the basis is to exceed.

    Attributes
    ----------
    rank : int
    dependent : ndarray of int
        The others, constant columns too.
    unit : ndarray of shape (p,)
        Root mean squares of the columns, as of a :class:`ScaledCholesky` of ``gram / S``.
    norm, rcond : float
        Of the basis, as of a :class:`ScaledCholesky`.
    is_proven : bool
    """

    def __init__(self, objective, moments, min_rcond):
        self._objective, self._moments = objective, moments
        self.unit = moments.spread
        varying = np.flatnonzero(self.unit)
        scaled = moments.gram[np.ix_(varying, varying)] / moments.total_weight
        scaled /= self.unit[varying]
        scaled /= self.unit[varying, None]
        triangle, pivots, rank, _ = lapack.dpstrf(scaled, tol=min_rcond)
        self.rank = int(rank)
        self._basis, self._others = np.split(varying[pivots - 1], [self.rank])
        self._triangle = np.triu(triangle[: self.rank, : self.rank])
        depends = np.ones(len(self.unit), dtype=bool)
        depends[self._basis] = False
        self.dependent = np.flatnonzero(depends)
        try:
            self._factor = ScaledCholesky(self._gram(self._basis))
        except linalg.LinAlgError:
            self.norm = self.rcond = 0.0
        else:
            self.norm, self.rcond = self._factor.norm, self._factor.rcond
        self._others_in_basis = self._proven_by_rows() if self.rcond > min_rcond else None
        self.is_proven = self._others_in_basis is not None

    def _gram(self, columns):
        moments = self._moments
        return moments.gram[np.ix_(self._basis, columns)] / moments.total_weight

    def _proven_by_rows(self):
        """T of unit columns, refined by its residual; None where E is no rounding.

        The largest singular value of A is at least the length of a column.
        """
        blocks = self._objective.blocks.in_frame(self._moments.frame)
        threshold = rank_threshold(blocks.n_samples, len(self.unit))
        T = self._factor.solve(self._gram(self._others) / self.unit[self._others])
        if not len(self._others):  # but for constant columns all are in the basis
            return T
        some = blocks.sample(_SAMPLE_ROWS)
        _, length = self._left(T, lambda kernel, theta: kernel(some, theta))
        if length > threshold + _MARGIN / self.rcond:
            return None
        for _ in range(_MAX_LOOKS):
            gradient, length = self._left(T, blocks.reduce)
            T = T + self._factor.solve(gradient)
            if length <= threshold:
                T = T * self.unit[self._basis, None]
                return without_rounding(self._triangle, T, threshold)
        return None

    def _left(self, T, reduce):
        """``A_B^T E / S`` and ``|E|``, of others of unit length and a basis of the frame."""
        moments, basis, others = self._moments, self._basis, self._others
        theta = np.zeros((len(self.unit) + 1, 1, len(others)))
        theta[others, 0, np.arange(len(others))] = 1.0 / self.unit[others]
        theta[basis, 0] = -T
        theta[-1, 0] = -moments.mean_x @ theta[:-1, 0]
        product, squares = reduce(ProductAndSquares(), theta)
        product = product[basis, 0] - np.outer(moments.mean_x[basis], product[-1, 0])
        return product / moments.total_weight, math.sqrt(squares.sum() / moments.total_weight)

    def solve(self, b):
        """``H^-1 b`` of the basis, for b of shape (p, k); zeros beside it."""
        solution = np.zeros_like(b)
        solution[self._basis] = self._factor.solve(b[self._basis])
        return solution

    @cached_property
    def _of_all(self):
        """W, of unit columns; none of constant ones."""
        of_all = np.zeros((self.rank, len(self.unit)))
        of_all[:, self._basis] = np.eye(self.rank)
        of_all[:, self._others] = self._others_in_basis
        return of_all

    def shortest(self, coef):
        """The coefficients with the fitted values of these that are shortest in the original units,
        shape (p, K), both in the frame."""
        scale = self._moments.frame.scale
        of_basis = self._of_all @ (coef * self.unit[:, None])
        return minimum_norm(self._of_all, self.unit * scale, of_basis) * scale[:, None]
