"""What one block of rows contributes to a sum over all rows, whatever is to be minimised.

A kernel is called with a block and the arguments of the reduction and returns an array, a list of
row quantities, or a tuple of these; ``combine`` adds two such results (or merges them, as the R
factors). It may write into its first argument. Kernels are pure and picklable, and made of the
verbs of a design; they know nothing of containers, threads, files, frames, means (the division by S
is the objective's) or penalties.

Shapes: ``theta`` is (n_features + 1, n_models, n_outputs), the intercept last; gradients have the
shape of theta. Everything is accumulated in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from .design import weigh

__all__ = [
    "ColumnMoments",
    "ColumnRange",
    "ColumnSquares",
    "GramProduct",
    "Largest",
    "LargestLeverage",
    "LargestMove",
    "LargestMoveBeside",
    "LargestRow",
    "Least",
    "LinearPredictor",
    "Moments",
    "MomentsBesideMovers",
    "Movers",
    "ProductAndSquares",
    "PulledBack",
    "RFactor",
    "RowMoves",
    "RowSquares",
    "SomeColumns",
    "Sum",
]


class Sum:
    """Kernels whose contributions add, lists of row quantities one behind the other."""

    @staticmethod
    def combine(total, part):
        if isinstance(total, tuple):
            for t, p in zip(total, part, strict=True):
                t += p
        else:
            total += part
        return total


class Least:
    """Of whose contributions the least counts."""

    combine = staticmethod(np.minimum)


class Largest:
    """Of whose contributions the largest counts."""

    combine = staticmethod(np.maximum)


class LinearPredictor(Sum):
    """``z_i`` of every row: a list of arrays (n, n_models, n_outputs), in order."""

    def __call__(self, block, theta):
        return [block.design.times(theta)]


class PulledBack(Sum):
    """``[X~ 1]^T r``, of row quantities r; no weights."""

    def __call__(self, block, r):
        return block.design.pull(r)


class GramProduct(Sum):
    """``[X~ 1]^T diag(s) [X~ 1] theta``, and never a p x p matrix."""

    def __call__(self, block, theta):
        return block.design.pull(block.design.times(theta), block.sample_weight)


class ProductAndSquares(Sum):
    """:class:`GramProduct` of one model, and ``sum_i s_i z_ik^2`` of ``z = [X~ 1] theta``."""

    def __call__(self, block, theta):
        z = block.design.times(theta)
        weighted = weigh(z, block.sample_weight)
        return block.design.pull(weighted), np.einsum("imk,imk->k", weighted, z)


@dataclass(frozen=True)
class RowMoves(Sum):
    """The size of every row's change of z along a direction, of one model: a list of arrays, in
    order; `size` as ``moves`` of a loss."""

    size: Callable

    def __call__(self, block, direction):
        return [self.size(block.design.times(direction))[:, 0]]


@dataclass(frozen=True)
class LargestMove(Largest):
    """The largest size of a row's change of z along a direction; `size` as ``moves`` of a loss."""

    size: Callable

    def __call__(self, block, direction):
        sizes = self.size(block.design.times(direction))
        return np.maximum.reduce(sizes, axis=None).reshape(1)


@dataclass(frozen=True)
class LargestMoveBeside(Largest):
    """:class:`LargestMove` of the rows that a step moves by no more than `most`; 0 of none."""

    size: Callable
    most: float

    def __call__(self, block, direction, step):
        moves = self.size(block.design.times(direction))
        still = self.size(block.design.times(step)) <= self.most
        return np.array([moves.max(where=still, initial=0.0)])


@dataclass(frozen=True)
class Movers(Sum):
    """``sum_i |G^T x_i|^2 / |x_i|^2`` of the rows that a direction moves by more than `least`,
    shape (1,); `size` as ``moves`` of a loss, G of the shape of theta."""

    size: Callable
    least: float

    def __call__(self, block, gradient, direction):
        moves = self.size(block.design.times(direction))[:, 0] > self.least
        if not moves.any():
            return np.zeros(1)
        design = block.design.take(np.flatnonzero(moves))
        gradient = np.concatenate([gradient[:-1], np.zeros_like(gradient[-1:])])
        along = np.square(design.times(gradient)[:, 0]).sum(axis=1)
        lengths = design.row_squares()
        along = np.divide(along, lengths, where=lengths > 0.0, out=along)
        return np.array([along.sum()])


@dataclass(frozen=True)
class MomentsBesideMovers(Sum):
    """Of the rows that a direction moves by no more than `most`: ``sum_i s_i``, and
    ``sum_i s_i x_ij`` and ``sum_i s_i x_ij^2``, shapes (1,) and (2, n_features)."""

    size: Callable
    most: float

    def __call__(self, block, direction):
        design, _, s = block
        still = self.size(design.times(direction))[:, 0] <= self.most
        weight = weigh(still + 0.0, s)
        return np.array([weight.sum()]), design.moments(weight)


@dataclass(frozen=True)
class LargestLeverage(Largest):
    """``max_ik |T_k^T [x_i 1]|`` over the rows of positive weight, for maps T (p + 1, K, q)."""

    maps: np.ndarray

    def __call__(self, block):
        design, largest = block.design, 0.0
        for begin in range(0, design.n_rows, 1024):  # a row takes K q numbers here
            end = min(begin + 1024, design.n_rows)
            moved = design.part(begin, end).times(self.maps)
            lengths = np.einsum("ikq,ikq->ik", moved, moved)
            if block.sample_weight is not None:
                lengths = lengths[block.sample_weight[begin:end] > 0.0]
            largest = max(largest, lengths.max(initial=0.0))
        return np.array([np.sqrt(largest)])


@dataclass(frozen=True)
class Moments(Sum):
    """Second moments of the rows ``[x~ 1]`` and ``y - y_shift``.

    Returns the Gram matrix ``[X~ 1]^T diag(s) [X~ 1]`` (p + 1, p + 1), the cross moments
    ``[X~ 1]^T diag(s) (y - y_shift)`` (p + 1, n_outputs), and the sums of squares of
    ``y - y_shift`` (n_outputs,); without `y_shift` the Gram matrix alone.
    """

    y_shift: np.ndarray | None = None

    def __call__(self, block):
        design, y, s = block
        if self.y_shift is None:
            return design.gram(s)
        y = y - self.y_shift
        weighted = weigh(y, s)
        return design.gram(s), design.pull(weighted), np.einsum("nk,nk->k", weighted, y)


@dataclass(frozen=True)
class RFactor:
    """The R factor of ``diag(sqrt(s)) [1 X~ y]`` by blocked Householder QR, ``[X~ y]`` without
    an intercept.

    Associative: the R factor of two stacked R factors is the R factor of all their rows
    (Golub & Van Loan, Matrix Computations, 4th ed., section 5.3.7; "tall skinny QR").
    The leading column of ones centres the rest: rows 1..p of R belong to the centred design.
    """

    y_shift: np.ndarray
    fit_intercept: bool = True

    def __call__(self, block):
        design, total = block.design, None
        for begin in range(0, design.n_rows, design.slab_rows):
            run = slice(begin, min(begin + design.slab_rows, design.n_rows))
            weight = None if block.sample_weight is None else block.sample_weight[run]
            rows = self._rows(design.part(run.start, run.stop), block.y[run], weight)
            part = _triangle(rows)
            total = part if total is None else self.combine(total, part)
        return total

    def rows(self, block):
        """``diag(sqrt(s)) [1 X~ y]`` of the block, dense."""
        return self._rows(*block)

    def _rows(self, design, y, s):
        ones = [np.ones((design.n_rows, 1))] if self.fit_intercept else []
        rows = np.hstack([*ones, design.dense(), y - self.y_shift])
        return rows if s is None else rows * np.sqrt(s)[:, None]

    @staticmethod
    def combine(total, part):
        return _triangle(np.vstack([total, part]))


def _triangle(rows):
    """R of the QR factorisation, padded with zero rows to a square."""
    n_rows, n_columns = rows.shape
    if n_rows < n_columns:
        rows = np.vstack([rows, np.zeros((n_columns - n_rows, n_columns))])
    (triangle,) = linalg.qr(rows, mode="r", check_finite=False)
    return triangle[:n_columns]


class ColumnSquares(Sum):
    """``sum_i s_i x~_ij^2`` of every column, the column of ones last, and nothing else."""

    def __call__(self, block):
        return block.design.pull_squares(np.ones(block.design.n_rows), block.sample_weight)


class RowSquares(Sum):
    """``|x~_i|^2`` of every row: a list of arrays, in order."""

    def __call__(self, block):
        return [block.design.row_squares()]


@dataclass(frozen=True)
class SomeColumns(Sum):
    """Some columns of every row, dense: a list of arrays (n, q), in order."""

    columns: np.ndarray

    def __call__(self, block):
        return [block.design.some(self.columns)]


class ColumnMoments(Sum):
    """``sum_i s_i x~_ij`` and ``sum_i s_i x~_ij^2`` of every column, shape (2, n_features)."""

    def __call__(self, block):
        return block.design.moments(block.sample_weight)


@dataclass(frozen=True)
class ColumnRange:
    """Smallest and largest value of every column, shape (2, n_features), of all rows or of those
    that weigh something; infinite where there are none."""

    only_weighing: bool = False

    def __call__(self, block):
        design = block.design
        if self.only_weighing and block.sample_weight is not None:
            design = design.take(np.flatnonzero(block.sample_weight > 0.0))
            if not design.n_rows:
                return np.repeat([[np.inf], [-np.inf]], design.n_columns, axis=1)
        return design.limits()

    @staticmethod
    def combine(total, part):
        return np.vstack([np.minimum(total[0], part[0]), np.maximum(total[1], part[1])])


@dataclass(frozen=True)
class LargestRow(Largest):
    """``max_i s_i |[x_i 1]|^2``: the smoothness of the worst single row."""

    fit_intercept: bool = True

    def __call__(self, block):
        norms = block.design.row_squares() + float(self.fit_intercept)
        return np.max(weigh(norms, block.sample_weight), keepdims=True)
