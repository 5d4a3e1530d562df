"""The Hessian at zero, one factor for all classes, and the blocks of a later one, one for each."""

import math

import numpy as np
from scipy import linalg

from ...rows.design import MAX_COPY_BYTES
from ..cholesky import AlikeCholesky, ScaledCholesky
from .hessian import FactoredHessian
from .kept import LazyMetric
from .preconditioners import Blocks
from .steps import QuasiNewton

__all__ = ["AtZeroMetric"]

# The reciprocal condition that a Gram matrix needs.
_LEAST_RCOND = 1e-10
_NO_COLUMNS = np.empty(0, dtype=np.intp)
# How often blocks are made before products take over.
_MAX_BLOCKS = 8
# Products that tell whether the decrement is within the tolerance where this metric cannot.
_TO_CERTIFY = 12.0


class AtZeroMetric(LazyMetric):
    """M is the Hessian at theta = 0, or the blocks of a later one, until another metric pays.

    At zero all probabilities are 1/K. With G the Gram matrix of [X 1],

        H(0) = 1/K (I - 1 1^T / K) kron G + ridge,

    and as no gradient has a part along 1, which only the ridge bends, it may as well be
    ``I kron (G / K + ridge)``. That takes one matrix of as many columns as X has, where a Hessian
    anywhere else takes one of each pair of classes, and quasi-Newton steps in it take one pass:
    far from the optimum, where steps of Newton go too far, they lower the loss for less. Böhning
    (1992), "Multinomial logistic regression algorithm", steps in half of it, a bound everywhere.

    Nearer to the optimum M becomes the blocks on the diagonal of the Hessian, one of each class, by
    the rows that count (:class:`~gdregress.solvers.newton.preconditioners.Blocks`). What couples
    the classes is left to the quasi-Newton steps, which are about as few as in the whole Hessian,
    at a price that grows with K, not with its square. Blocks bound nothing: where they say that the
    decrement is within the tolerance, products find out, with the blocks as their preconditioner.

    Parameters
    ----------
    framed, pace
        As in :class:`~gdregress.solvers.newton.kept.LazyMetric`.
    kept : FactoredHessian
        M.
    """

    _memory = 10  # far out curvature changes: older pairs mislead

    def __init__(self, framed, pace, kept):
        super().__init__(framed, pace)
        self.blocks, self._n_blocks = None, 0
        self._take(kept, np.zeros((framed.shape[0], 1, framed.shape[1])))

    @classmethod
    def of(cls, framed, pace):
        """That of an objective, or None where columns are nearly dependent, or too many, or where
        the steps that are kept would take more than copies may."""
        if QuasiNewton.n_bytes(cls._memory, framed.shape[0] * framed.shape[1]) > MAX_COPY_BYTES:
            return None
        kept = _at_zero(framed)
        return None if kept is None else cls(framed, pace, kept)

    @property
    def _is_at_zero(self):
        return isinstance(self._metric.factor, AlikeCholesky)

    def _renew(self, option, at):
        if option == "blocks":
            self._renew_blocks(at)
        else:
            super()._renew(option, at)

    def _renew_blocks(self, at):
        """The blocks at the present theta, in which steps of products would gain no more than those
        of one pass; not again and again."""
        self._n_blocks += 1
        self.blocks = Blocks(at.curvature, self.framed)
        regular = not self.blocks.is_ill_conditioned
        factor = BlockFactor(self.blocks, at.theta.shape)
        self._take(FactoredHessian(factor, regular, regular, _NO_COLUMNS), at.theta)
        self.gives_up |= self._n_blocks > _MAX_BLOCKS
        self.pace.options.pop("products", None)

    def certifies(self, theta, gradient, tolerance):
        """By products, which are to take over, where M is blocks."""
        if not isinstance(self._metric.factor, BlockFactor):
            return super().certifies(theta, gradient, tolerance)
        self.gives_up = self._bound(gradient) <= tolerance
        return False

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


class BlockFactor:
    """The blocks of the classes as a factor of their matrix; see ``cholesky``.

    Parameters
    ----------
    blocks : Blocks
    shape : tuple
        That of theta.
    """

    def __init__(self, blocks, shape):
        self._blocks, self._shape = blocks, shape
        self.unit = blocks.unit.ravel()

    def solve(self, b):
        """``M^-1 b`` for b of shape (q,) or (q, k)."""
        if b.ndim == 1:
            return self._blocks.solve(b.reshape(self._shape)).ravel()
        n_features, _, n_outputs = self._shape
        each = b.reshape(n_features, n_outputs, -1)
        return self._blocks.solve_each(each).reshape(b.shape)
