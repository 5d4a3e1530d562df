"""The Hessian at zero, kept: one factor of a Gram matrix for all classes."""

import math

import numpy as np
from scipy import linalg

from ...rows.design import MAX_COPY_BYTES
from ..cholesky import AlikeCholesky, ScaledCholesky
from .hessian import FactoredHessian
from .kept import LazyMetric
from .steps import QuasiNewton

__all__ = ["AtZeroMetric"]

# The reciprocal condition that a Gram matrix needs.
_LEAST_RCOND = 1e-10
# Products that tell whether the decrement is within the tolerance where this metric cannot.
_TO_CERTIFY = 12.0


class AtZeroMetric(LazyMetric):
    """M is the Hessian at theta = 0 until another metric pays.

    There all probabilities are 1/K. With G the Gram matrix of [X 1],

        H(0) = 1/K (I - 1 1^T / K) kron G + ridge,

    and as no gradient has a part along 1, which only the ridge bends, it may as well be
    ``I kron (G / K + ridge)``. That takes one matrix of as many columns as X has, where a Hessian
    anywhere else takes one of each pair of classes, and quasi-Newton steps in it take one pass:
    far from the optimum, where steps of Newton go too far, they lower the loss for less. Böhning
    (1992), "Multinomial logistic regression algorithm", steps in half of it, a bound everywhere.

    Parameters
    ----------
    framed, pace
        As in :class:`~gdregress.solvers.newton.kept.LazyMetric`.
    kept : FactoredHessian
        M.
    """

    def __init__(self, framed, pace, kept):
        super().__init__(framed, pace)
        self._take(kept, np.zeros((framed.shape[0], 1, framed.shape[1])))

    @classmethod
    def of(cls, framed, pace):
        """That of an objective, or None where columns are nearly dependent, or too many, or where
        the steps that are kept would take more than copies may."""
        if QuasiNewton.n_bytes(framed.shape[0] * framed.shape[1]) > MAX_COPY_BYTES:
            return None
        kept = _at_zero(framed)
        return None if kept is None else cls(framed, pace, kept)

    @property
    def _is_at_zero(self):
        return isinstance(self._metric.factor, AlikeCholesky)

    def _renewal_pays(self, missing):
        """Products tell what is left, too, where another Hessian costs more than they do."""
        if self.pace.options.get("all", math.inf) <= _TO_CERTIFY:
            return super()._renewal_pays(missing)
        self.gives_up = self.pace.pays(_TO_CERTIFY, missing)
        return False

    def _missing_beside_movers(self, gradient, moves, missing, tolerance):
        if not self._is_at_zero:
            return super()._missing_beside_movers(gradient, moves, missing, tolerance)
        self._moved = float(moves.max())
        return missing


def _at_zero(framed):
    """The factored Hessian at zero but for the gauge, or None."""
    gram, loss, n_outputs = framed.bound.gram, framed.loss, framed.shape[1]
    if gram is None:
        return None
    # Outputs treated alike, with a gauge, bend by c (I - 1 1^T / K): those of softmax by c = 1/K.
    row = loss.curvature(framed.blocks.y[:1], np.zeros((1, 1, n_outputs)))
    c = float(loss.curvature_diagonal(row)[0, 0, 0]) * n_outputs / (n_outputs - 1.0)
    matrix = c * gram
    diagonal = matrix.diagonal() + framed.penalty.curvature((len(gram), 1))[:, 0]
    dead = np.flatnonzero(~(diagonal > 0.0))
    matrix[dead] = matrix[:, dead] = 0.0
    diagonal[dead] = 1.0
    np.fill_diagonal(matrix, diagonal)
    try:
        factor = ScaledCholesky(matrix)
    except linalg.LinAlgError:
        return None
    if not factor.is_regular(_LEAST_RCOND):
        return None
    dead = (dead[:, None] * n_outputs + np.arange(n_outputs)).ravel()
    return FactoredHessian(AlikeCholesky(factor, n_outputs), True, True, dead)
