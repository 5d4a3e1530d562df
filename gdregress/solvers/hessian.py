"""The factored Hessian of a step: regular in spite of the gauge and of dependent columns."""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from ..moments import CentredFactor
from .cholesky import ScaledCholesky

__all__ = ["FactoredHessian", "SingularDirections", "factor_hessian"]

_EPS = np.finfo(np.float64).eps
# Below this reciprocal condition of the scaled Hessian it is asked whether columns are dependent.
_SUSPICIOUS_RCOND = 1e-13


class FactoredHessian(NamedTuple):
    """A factor of a Hessian, whether that was regular as it stood, and its columns of zeros."""

    factor: ScaledCholesky
    is_regular: bool
    dead: np.ndarray


def factor_hessian(framed, hessian, singular):
    """A Hessian of the objective, factored; it is overwritten."""
    if not np.isfinite(hessian).all():
        raise FloatingPointError("The Hessian overflows float64; rescale X to ordinary units.")
    _fix_gauge(hessian, framed)
    dead = ~(hessian.diagonal() > 0.0)  # columns of zeros: nothing to learn, nothing to move
    if dead.any():
        hessian[dead] = hessian[:, dead] = 0.0
        hessian[dead, dead] = 1.0
    try:
        factor = ScaledCholesky(hessian)
        regular = factor.rcond > _SUSPICIOUS_RCOND
    except linalg.LinAlgError:
        factor, regular = None, False
    if not regular:
        factor = singular.regularised(hessian, factor)
    return FactoredHessian(factor, regular, dead)


def _fix_gauge(hessian, framed):
    """Make the softmax Hessian regular along the gauge, which no step then moves.

    Adding a constant to all classes of an unpenalised row j of theta changes nothing:
    ``H (e_j kron 1) = 0`` and ``g^T (e_j kron 1) = 0``. Adding ``h_jj / K 1 1^T`` to its block
    leaves the solution of ``H d = -g`` that is orthogonal to the gauge.
    """
    n_outputs = framed.shape[1]
    if n_outputs == 1:
        return
    penalised = framed.penalty.l2 > 0.0
    n_features = framed.shape[0]
    j = np.arange(n_features - 1 if penalised else 0, n_features)
    blocks = hessian.reshape(n_features, n_outputs, n_features, n_outputs)
    trace = np.einsum("jkjk->j", blocks)[j]
    blocks[j, :, j, :] += trace[:, None, None] / n_outputs**2


class SingularDirections:
    """Directions of theta along which X is rank-deficient, and with it every Hessian.

    Rank belongs to X, never to a Hessian, which saturates where the classes separate: it is
    decided, once and only if asked, on the R factor of ``[1 X]`` with unit columns.
    """

    def __init__(self, framed):
        self.framed = framed
        self._null = None

    @property
    def null(self):
        """Orthonormal in unit columns; shape (n_features + 1, n_null), intercept last."""
        if self._null is None:
            blocks = self.framed.blocks
            factor = CentredFactor.from_objective(
                self.framed, self.framed.frame, np.zeros(blocks.y.shape[1])
            )
            unit = np.linalg.norm(factor.root, axis=0)
            unit[unit == 0.0] = 1.0
            _, sigma, vt = linalg.svd(factor.root / unit)
            threshold = max(blocks.n_samples, len(unit)) * _EPS * sigma[0]
            coef = vt[sigma <= threshold].T / unit[:, None]
            self._null = np.vstack([coef, -factor.mean_x @ coef])
        return self._null

    def regularised(self, hessian, factor):
        """A factor of ``H + B B^T``, B spanning the directions in which H vanishes.

        A direction n with H n = 0 has g^T n = 0, so ``(H + B B^T) d = -g`` has the solution of
        ``H d = -g`` with ``B^T d = 0``. What is still singular then is a saturated Hessian, or
        one too ill-conditioned for Cholesky; a shift at rounding level keeps the step finite.
        """
        unit = np.sqrt(hessian.diagonal())
        scaled = hessian / unit / unit[:, None]
        if self.framed.penalty.l2 == 0.0 and self.null.shape[1]:
            n_outputs = self.framed.shape[1]
            null = np.kron(self.null, np.eye(n_outputs)) * unit[:, None]
            null /= np.linalg.norm(null, axis=0)
            scaled += null @ null.T
        elif factor is not None:
            return factor
        shift = len(unit) * _EPS
        while True:
            try:
                return ScaledCholesky(scaled * np.outer(unit, unit))
            except linalg.LinAlgError:
                scaled.flat[:: len(unit) + 1] += shift
                shift *= 10.0
