"""What one block of rows contributes to a sum over all rows, of a loss; see ``rows.kernels``."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..rows.dense import DenseDesign
from ..rows.design import weigh
from ..rows.kernels import Least, Sum

__all__ = [
    "BatchGradient",
    "BatchLossGradient",
    "BatchValue",
    "ConjugateValue",
    "CurvedExpansion",
    "CurvedIntercepts",
    "CurvedProduct",
    "CurvedSquares",
    "CurvedSums",
    "Expansion",
    "ExpansionBeside",
    "GramsAlongAxes",
    "Hessian",
    "LeastHessian",
    "LikelyGrams",
    "LossGradient",
    "LossValue",
    "Margin",
    "RowCurvature",
    "Slope",
    "SmallestRival",
]

# Rows count in a Gram matrix that are this share of the mean; where they are more than that share
# of all, it costs less to take all.
_COUNTS, _NEARLY_ALL = 0.5, 0.7


@dataclass(frozen=True)
class _OfLoss:
    """A kernel that knows a loss."""

    loss: Any


def _weighing(rows, sample_weight):
    """Row quantities of the rows of positive weight."""
    return rows if sample_weight is None else rows[sample_weight > 0.0]


class LossValue(_OfLoss, Sum):
    """``sum_i s_i loss(y_i, z_i)`` of each model, shape (n_models,)."""

    def __call__(self, block, theta):
        value = self.loss.value(block.y, block.design.times(theta))
        return weigh(value, block.sample_weight).sum(axis=0)


class LossGradient(_OfLoss, Sum):
    """``sum_i s_i loss(y_i, z_i)`` and its gradient ``[X 1]^T (s d loss / dz)``."""

    def __call__(self, block, theta):
        design, y, s = block
        total, residual = self.loss.sum_and_gradient(y, design.times(theta), s)
        return total, design.pull(residual, s)


class ConjugateValue(_OfLoss, Sum):
    """``sum_i s_i loss*(t d loss_i / dz)``: the conjugate at a share t of the gradients."""

    def __call__(self, block, theta, t):
        _, gradient = self.loss.value_and_gradient(block.y, block.design.times(theta))
        value = self.loss.conjugate(block.y, t * gradient)
        return weigh(value, block.sample_weight).sum(axis=0)


class Hessian(_OfLoss, Sum):
    """``sum_i s_i (d^2 loss / dz^2) kron x_i x_i^T`` at theta, of one model, shape (q, q)."""

    def __call__(self, block, theta):
        design, y, s = block
        return self.loss.hessian(design, self.loss.curvature(y, design.times(theta)), s)


class LeastHessian(_OfLoss, Sum):
    """What :class:`Hessian` is at least while no row moves by more than a radius from theta."""

    def __call__(self, block, theta, radius):
        design, y, s = block
        curvature = self.loss.least_curvature(y, design.times(theta), radius)
        return self.loss.hessian(design, curvature, s)


class Expansion(_OfLoss, Sum):
    """Loss, gradient and Hessian at theta, of one model: one look at the rows serves all three."""

    def __call__(self, block, theta):
        design, y, s = block
        z = design.times(theta)
        total, residual, curvature = self.loss.sum_gradient_and_curvature(y, z, s)
        return total, design.pull(residual, s), self.loss.hessian(design, curvature, s)


@dataclass(frozen=True)
class ExpansionBeside(Expansion):
    """:class:`Expansion` of the rows that a step moves by no more than `most`; see ``moves`` of the
    losses."""

    most: float

    def __call__(self, block, theta, step):
        still = self.loss.moves(block.design.times(step))[:, 0] <= self.most
        weight = weigh(still + 0.0, block.sample_weight)
        return super().__call__(block._replace(sample_weight=weight), theta)


class Slope(_OfLoss, Sum):
    """First and second derivative at theta of ``sum_i s_i loss(y_i, z_i)`` along a direction, of
    one model, shape (2,)."""

    def __call__(self, block, theta, direction):
        design, y, s = block
        return np.array(self.loss.slope(y, design.times(theta), design.times(direction), s))


class RowCurvature(_OfLoss, Sum):
    """``loss.curvature(y_i, z_i)`` at theta: a list of arrays (n, M, n_outputs), in order."""

    def __call__(self, block, theta):
        return [self.loss.curvature(block.y, block.design.times(theta))]


class CurvedExpansion(_OfLoss, Sum):
    """Loss and gradient at theta, and what :class:`RowCurvature` gives, in one look at the rows."""

    def __call__(self, block, theta):
        design, y, s = block
        z = design.times(theta)
        total, residual, curvature = self.loss.sum_gradient_and_curvature(y, z, s)
        return total, design.pull(residual, s), [curvature]


class CurvedProduct(_OfLoss, Sum):
    """The Hessian times directions, from the curvatures of the rows: two products with X."""

    def __call__(self, block, curvature, direction):
        curved = self.loss.curve(curvature, block.design.times(direction))
        return block.design.pull(curved, block.sample_weight)


class CurvedSquares(_OfLoss, Sum):
    """The diagonal of the Hessian, of the shape of theta, from the rows' curvatures."""

    def __call__(self, block, curvature):
        rows = self.loss.curvature_diagonal(curvature)
        return block.design.pull_squares(rows, block.sample_weight)


class CurvedSums(_OfLoss, Sum):
    """The sums of the columns, rows weighing as they bend each output; of the shape of theta."""

    def __call__(self, block, curvature):
        rows = self.loss.curvature_diagonal(curvature)
        return block.design.pull(rows, block.sample_weight)


class CurvedIntercepts(_OfLoss, Sum):
    """The block of the intercepts in the Hessian, (n_outputs, n_outputs), of one model: that of
    rows without columns."""

    def __call__(self, block, curvature):
        ones = DenseDesign(np.empty((len(curvature), 0)))
        return self.loss.hessian(ones, curvature, block.sample_weight)


class GramsAlongAxes(_OfLoss, Sum):
    """The blocks of the Hessian on its diagonal, (n_outputs, n_features + 1, n_features + 1), of
    one model; of all rows, which are given along a few axes."""

    def __call__(self, block, curvature):
        rows = weigh(self.loss.curvature_diagonal(curvature)[:, 0], block.sample_weight)
        return np.stack([block.design.gram(column) for column in rows.T])


class LikelyGrams(_OfLoss, Sum):
    """Likenesses of these blocks, each of the rows that count in it: those that weigh half of the
    mean or more, or whose part of its trace is as much; no more than a share of all."""

    def __call__(self, block, curvature, share):
        bends = weigh(self.loss.curvature_diagonal(curvature)[:, 0], block.sample_weight)
        squares = block.design.row_squares()
        most = math.ceil(share * len(bends))
        return np.stack([_likely_gram(block.design, bent, squares, most) for bent in bends.T])


def _likely_gram(design, bent, squares, most):
    """The Gram matrix of the rows that count, or of so many of these, evenly spaced."""
    part = bent * squares
    counts = (bent >= _COUNTS * bent.mean()) | (part >= _COUNTS * part.mean())
    rows = np.flatnonzero(counts)
    if len(rows) > most:
        rows = rows[:: math.ceil(len(rows) / most)]
    if len(rows) > _NEARLY_ALL * len(bent):
        return design.gram(bent)
    return design.take(rows).gram(bent[rows])


class Margin(_OfLoss):
    """Smallest and largest margin of the rows of positive weight, shape (2,).

    The margin of a row is what its own class has over the best other one in the linear predictor.
    A theta whose margins are all positive separates the classes, and 2 theta does so with less
    loss; one whose margins are >= 0, some of them positive, separates part of them.
    """

    def __call__(self, block, theta):
        margin = self.loss.margin(block.y, block.design.times(theta))
        margin = _weighing(margin, block.sample_weight)
        return np.array([margin.min(initial=np.inf), margin.max(initial=-np.inf)])

    @staticmethod
    def combine(total, part):
        return np.array([min(total[0], part[0]), max(total[1], part[1])])


class SmallestRival(_OfLoss, Least):
    """The least ``s_i p_ik`` of a row of positive weight and a class that is not its own."""

    def __call__(self, block, theta):
        rival = self.loss.rival(block.y, block.design.times(theta))
        least = _weighing(weigh(rival, block.sample_weight), block.sample_weight)
        return np.array([least.min(initial=np.inf)])


class BatchGradient(_OfLoss):
    """``[X 1]^T (s d loss / dz)`` over a mini-batch, of the shape of theta.

    The gradient of :class:`LossGradient` in the original columns, without the loss and in as few
    calls as it takes: on 32 rows, calling NumPy costs more than the arithmetic.
    """

    def __call__(self, batch, theta):
        y, s = batch.y, batch.sample_weight
        if theta.shape[1] > 1:
            residual = self.loss.gradient(y[:, None], batch.times(theta))
            return batch.pull(weigh(residual, s))
        residual = self.loss.gradient(y, batch.times(theta))
        if s is not None:
            residual *= s[:, None]
        return batch.pull(residual)


class BatchLossGradient(_OfLoss):
    """Of a mini-batch and one model, from one product: what ``sum_i s_i loss(y_i, z_i)`` is at
    least, its gradient, a vector, and the sum, a function; theta is a vector, in the order of
    ``theta.ravel()``."""

    def __call__(self, batch, theta):
        A, y, s = batch
        size = A.shape[1]
        if len(theta) == size:
            least, residual, total = self.loss.of_batch(y, A.dot(theta)[:, None], s)
            return least, A.T.dot(weigh(residual, s)[:, 0]), total
        least, residual, total = self.loss.of_batch(y, A.dot(theta.reshape(size, -1)), s)
        return least, A.T.dot(weigh(residual, s)).ravel(), total


class BatchValue(_OfLoss):
    """``sum_i s_i loss(y_i, z_i)`` over a mini-batch, shape (n_models,)."""

    def __call__(self, batch, theta):
        _, y, s = batch
        z = batch.times(theta)
        value = self.loss.value(y, z[:, None] if z.ndim == 2 else z)
        return weigh(value, s).sum(axis=0)
