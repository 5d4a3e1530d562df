"""The column-scaled symmetric solve that the exact solvers and Newton's method share."""

import math
from functools import cached_property

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

__all__ = ["AlikeCholesky", "ScaledCholesky"]


class ScaledCholesky:
    """``H = D L L^T D`` with ``D = diag(H)^(1/2)``: Cholesky of the unit-diagonal matrix.

    Scaling to a unit diagonal makes the factorisation, and its condition, free of the units of
    the columns, and comes within a factor of the size of the best diagonal scaling
    (van der Sluis 1969, "Condition numbers and equilibration of matrices").

    Parameters
    ----------
    matrix : ndarray of shape (q, q)
        Symmetric positive definite.

    Attributes
    ----------
    norm : float
        The 1-norm of the scaled matrix: no less than its largest eigenvalue.
    rcond : float
        LAPACK's estimate (``pocon``) of the reciprocal condition number of the scaled matrix, in
        the 1-norm; made when it is asked for.

    Raises
    ------
    scipy.linalg.LinAlgError
        If the matrix is not numerically positive definite.
    """

    def __init__(self, matrix):
        diagonal = matrix.diagonal()
        if not np.minimum.reduce(diagonal, initial=1.0) > 0.0:
            raise linalg.LinAlgError("a diagonal element is not positive")
        self.unit = np.sqrt(diagonal)
        self.scaled = matrix / self.unit
        self.scaled /= self.unit[:, None]
        # LAPACK takes columns: the transpose of an array by rows it need not copy in another order.
        columns = self.scaled.T
        self._factor, failed = lapack.dpotrf(columns, lower=1, clean=0)
        if failed:
            raise linalg.LinAlgError(
                f"the leading minor of order {failed} is not positive definite"
            )

    @cached_property
    def norm(self):
        return lapack.dlange("1", self.scaled.T)

    @cached_property
    def rcond(self):
        return lapack.dpocon(self._factor, self.norm, uplo="L")[0]

    def is_regular(self, rcond):
        """Whether the reciprocal condition number of the scaled matrix is above a bound.

        Of n eigenvalues with the sum n the least is at least ``det / (n / (n - 1))^(n - 1)``, or
        ``det / e``, as the others multiply to no more than their mean to the power of n - 1; and
        no 1-norm is above ``sqrt(n)`` 2-norms, so that ``rcond >= det / (e n^2)``. A product of
        the diagonal of L may tell, and spares the estimate.
        """
        root = np.multiply.reduce(self._factor.diagonal())
        return root * root > math.e * len(self.unit) ** 2 * rcond or self.rcond > rcond

    def solve(self, b):
        """``H^-1 b`` for b of shape (q,) or (q, k)."""
        unit = self.unit if b.ndim == 1 else self.unit[:, None]
        return lapack.dpotrs(self._factor, b / unit, lower=1)[0] / unit

    def less(self, part):
        """That of the matrix less a part of it."""
        matrix = self.scaled * self.unit
        matrix *= self.unit[:, None]
        matrix -= part
        return ScaledCholesky(matrix)

    def inverse_root(self):
        """``L^-1 D^-1`` with ``H = D L L^T D``, shape (q, q)."""
        return np.tril(lapack.dtrtri(self._factor, lower=1)[0]) / self.unit

    def condition_number(self):
        """Condition number of the scaled columns: the root of that of the scaled matrix."""
        eigenvalues = np.linalg.eigvalsh(self.scaled)
        return float(np.sqrt(eigenvalues[-1] / eigenvalues[0])) if eigenvalues[0] > 0 else np.inf


class AlikeCholesky:
    """``H = M kron I``, K outputs that bend alike: one factor of M serves them all.

    Parameters
    ----------
    factor : ScaledCholesky
        M, (p, p).
    n_outputs : int
        K.
    """

    def __init__(self, factor, n_outputs):
        self._factor, self._n_outputs = factor, n_outputs
        self.unit = np.repeat(factor.unit, n_outputs)

    def solve(self, b):
        """``H^-1 b`` for b of shape (p K,) or (p K, k)."""
        return self._factor.solve(b.reshape(len(self._factor.unit), -1)).reshape(b.shape)
