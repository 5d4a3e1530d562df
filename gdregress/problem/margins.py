"""How rows lie to the classes, and how far a step moves them; of a block objective."""

import numpy as np

from ..rows.kernels import (
    LargestLeverage,
    LargestMove,
    LargestMoveBeside,
    MomentsBesideMovers,
    Movers,
    RowMoves,
)
from .kernels import ConjugateValue, Margin, SmallestRival

__all__ = [
    "conjugate_value",
    "largest_leverage",
    "largest_move",
    "largest_move_beside",
    "margins",
    "pull_on_movers",
    "row_moves",
    "smallest_rival",
    "squares_beside_movers",
]


def margins(objective, theta):
    """Smallest and largest margin of the rows of positive weight; see ``margin`` of the losses."""
    low, high = objective.blocks.reduce(Margin(objective.loss), theta)
    return float(low), float(high)


def smallest_rival(objective, theta):
    """The least ``s_i p_ik / S`` of a row and a class not its own, p at theta (one model)."""
    least = objective.blocks.reduce(SmallestRival(objective.loss), theta)
    return float(least[0]) / objective.total_weight


def row_moves(objective, direction):
    """How far a step moves every row; see ``moves`` of the losses."""
    return np.concatenate(objective.blocks.reduce(RowMoves(objective.loss.moves), direction))


def largest_move(objective, direction):
    """The most that a step moves a row; see ``moves`` of the losses."""
    return float(objective.blocks.reduce(LargestMove(objective.loss.moves), direction)[0])


def largest_move_beside(objective, direction, step, size):
    """:func:`largest_move` along a direction of the rows that a step moves by no more than a
    size."""
    kernel = LargestMoveBeside(objective.loss.moves, size)
    return float(objective.blocks.reduce(kernel, direction, step)[0])


def pull_on_movers(objective, gradient, direction, size):
    """``sum_i |g^T x_i|^2 / |x_i|^2`` of the rows that a step moves by more than a size."""
    kernel = Movers(objective.loss.moves, size)
    return float(objective.blocks.reduce(kernel, gradient, direction)[0])


def squares_beside_movers(objective, direction, size):
    """The mean squares of the columns in the rows that a step moves by no more than a size, around
    their means there where an intercept takes up these."""
    kernel = MomentsBesideMovers(objective.loss.moves, size)
    weight, (first, second) = objective.blocks.reduce(kernel, direction)
    if objective.fit_intercept and weight[0] > 0.0:
        second = np.maximum(second - first * (first / weight[0]), 0.0)
    return second / objective.total_weight


def largest_leverage(objective, inverse_root):
    """``max_i max_|u| = 1`` of the move of row i by a step u of unit length in a metric.

    With ``R^T R = H`` the metric and dz_i the change of the linear predictor along u, that of one
    output is ``|R^-T [x_i 1]|``; with a gauge the range of several is bounded by twice the largest
    distance of ``R^-T ([x_i 1] kron e_k)`` from their mean over k. `inverse_root` is ``R^-T`` in
    the order of ``theta.ravel()``. Rows of weight zero do not count.
    """
    has_gauge = objective.loss.has_gauge
    maps = inverse_root.reshape(len(inverse_root), *objective.shape)
    if has_gauge:
        maps = maps - maps.mean(axis=2, keepdims=True)
    maps = np.ascontiguousarray(maps.transpose(1, 2, 0))
    largest = float(objective.blocks.reduce(LargestLeverage(maps))[0])
    return 2.0 * largest if has_gauge else largest


def conjugate_value(objective, theta, t):
    """The mean of the conjugates at a share t of the gradients; see :class:`ConjugateValue`."""
    total = objective.blocks.reduce(ConjugateValue(objective.loss), theta, t)
    return float(total[0]) / objective.total_weight
