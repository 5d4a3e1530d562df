"""The factored Hessian of a step: regular in spite of the gauge and of dependent columns."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import linalg

from ...problem.basis import Basis
from ..cholesky import ScaledCholesky

__all__ = ["NEGLIGIBLE", "SingularDirections", "factor_hessian"]

_EPS = np.finfo(np.float64).eps
# Below this reciprocal condition of the scaled Hessian it is asked whether columns are dependent.
_SUSPICIOUS_RCOND = 1e-13
# A penalty below this share of the curvature of the loss moves nothing.
NEGLIGIBLE = 1e-12
_NO_COLUMNS = np.empty(0, dtype=np.intp)


class FactoredHessian(NamedTuple):
    """A factor of a Hessian, whether that was regular as it stood, and its columns of zeros.

    Where it was not, ``is_exact`` tells whether the factor solves ``H d = -g`` all the same.
    """

    factor: ScaledCholesky
    is_regular: bool
    is_exact: bool
    dead: np.ndarray


def factor_hessian(framed, hessian, singular):
    """A Hessian of the objective, factored."""
    # No entry is larger than those of the diagonal.
    if not np.maximum.reduce(hessian.diagonal()) < np.inf:
        raise FloatingPointError("The Hessian overflows float64; rescale X to ordinary units.")
    if framed.loss.has_gauge:
        hessian = _without_gauge(hessian, framed)
    diagonal, dead = hessian.diagonal(), _NO_COLUMNS
    if not np.minimum.reduce(diagonal) > 0.0:  # columns of zeros: nothing to learn, nothing to move
        dead = np.flatnonzero(~(diagonal > 0.0))
        hessian = hessian.copy()
        hessian[dead] = hessian[:, dead] = 0.0
        hessian[dead, dead] = 1.0
    try:
        factor = ScaledCholesky(hessian)
        regular = factor.is_regular(_SUSPICIOUS_RCOND)
    except linalg.LinAlgError:
        factor, regular = None, False
    exact = regular
    if not regular:
        factor, exact = singular.regularised(hessian, factor)
    return FactoredHessian(factor, regular, exact, dead)


def _without_gauge(hessian, framed):
    """A copy of the softmax Hessian, regular along the gauge, which no step then moves.

    Adding a constant to all classes of an unpenalised row j of theta changes nothing:
    ``H (e_j kron 1) = 0`` and ``g^T (e_j kron 1) = 0``. Adding ``h_jj / K 1 1^T`` to its block
    leaves the solution of ``H d = -g`` that is orthogonal to the gauge. A penalty below rounding
    level does not fix the gauge; where the means over the classes are zero it asks for nothing.
    """
    n_features, n_outputs = framed.shape
    trace = np.add.reduce(hessian.diagonal().reshape(n_features, n_outputs), axis=1)
    is_free = framed.penalty.curvature((n_features, 1))[:, 0] <= NEGLIGIBLE * trace
    hessian = hessian.copy()
    for j in is_free.nonzero()[0].tolist():
        own = slice(j * n_outputs, (j + 1) * n_outputs)
        hessian[own, own] += trace[j] / n_outputs**2
    return hessian


class SingularDirections:
    """Directions of theta along which X is rank-deficient, and with it every Hessian.

    Rank belongs to X, never to a Hessian, which saturates where the classes separate: it is
    decided, once and only if asked, by :class:`~gdregress.problem.basis.Basis`.
    """

    def __init__(self, framed):
        self.framed = framed

    @cached_property
    def null(self):
        """Shape (n_features + 1, n_null), intercept last; a basis has left them out."""
        if self.framed.penalty.l2 > 0.0 or isinstance(self.framed.frame, Basis):
            return np.empty((self.framed.shape[0], 0))
        return Basis.of(self.framed).null

    def regularised(self, hessian, factor):
        """A factor of ``H + C C^T``, C having a part in each direction in which H vanishes.

        A direction n with H n = 0 has g^T n = 0, so ``(H + C C^T) d = -g`` has the solution of
        ``H d = -g`` with ``C^T d = 0``. The columns of C weigh all classes alike, or no solution
        could be orthogonal to the gauge as well. What is still singular then is a saturated
        Hessian, or one too ill-conditioned for Cholesky; a shift at rounding level keeps the step
        finite, and the factor is no longer exact.
        """
        unit = np.sqrt(hessian.diagonal())
        scaled = hessian / unit / unit[:, None]
        null = self.null
        if null.shape[1]:
            n_outputs = self.framed.shape[1]
            weight = (unit * unit).reshape(-1, n_outputs).mean(axis=1)
            against = np.kron(null * weight[:, None], np.eye(n_outputs)) / unit[:, None]
            against /= np.linalg.norm(against, axis=0)
            scaled += against @ against.T
        elif factor is not None:
            return factor, False
        shift = 0.0
        while True:
            try:
                factor = ScaledCholesky(scaled * np.outer(unit, unit))
                return factor, shift == 0.0 and factor.is_regular(_SUSPICIOUS_RCOND)
            except linalg.LinAlgError:
                added = 9.0 * shift if shift else len(unit) * _EPS
                scaled.flat[:: len(unit) + 1] += added
                shift += added
