"""The step size that nobody gave, and the coordinates that suit it."""

import math
from dataclasses import replace

import numpy as np

from ...rows.kernels import ColumnMoments
from ..needs import CURVATURE_BOUND
from .coordinates import ColumnUnits, Coordinates, has_one_optimum, is_penalised

__all__ = ["NEEDS", "automatic_rate", "relaxed", "with_automatic_rate"]

# Of a rate that nobody gave.
NEEDS = (CURVATURE_BOUND,)
# Rows that tell the largest eigenvalue well enough for a rate to begin with.
_MIN_SAMPLE, _ROWS_PER_COLUMN = 2048, 20
# The curvature of a column, in that of a sample along any direction, from which on it is none.
_UNLIKE = 2.0
# The first rate of mini-batches in units of the columns, in 1 / c; 2 is the limit.
_LONGEST = 1.5
# A rate times a gradient has to stay within float64.
_LARGEST_RATE = 1e300
# Losses below 1e-280 lose their digits before a fit has converged: they bound no rate.
_LEAST_REACH = 1e-140
# An automatic rate of a stream moves by this share of the logarithm towards what later rows allow.
_RELAXED = 0.02


def with_automatic_rate(objective, rule, settings):
    """The settings with a rate that suits the rule, and the coordinates that suit both.

    Plain descent on mini-batches begins at ``3 / 2 c``, in units of the columns in which c, the
    bound of the curvature of the loss, bounds that along every coordinate; see
    :class:`~gdregress.solvers.descent.steps.PolyakStep`. The losses of the batches bound it from
    there.
    """
    coordinates, full_batches = None, settings.batch_size is None
    if rule.is_adaptive or (rule.looks_ahead and full_batches):
        coordinates = Coordinates.of(objective, rule)
    polyak = rule.has_polyak_rate and not full_batches and objective.penalty.is_smooth
    polyak = polyak and objective.reach > _LEAST_REACH
    if polyak:
        rate, coordinates = _of_polyak_steps(objective, rule)
    else:
        rate = automatic_rate(objective, rule, settings.batch_size, coordinates=coordinates)
    return replace(
        settings,
        learning_rate=rate,
        coordinates=coordinates,
        shrinks=rule.is_adaptive,
        polyak=polyak,
    )


def _of_polyak_steps(objective, rule):
    """``3 / 2 c`` and the units of the columns where there is one optimum; else ``2 / lambda`` in
    the columns as they are: of a sample, or of all rows where it is no likeness of them."""
    rate = _LONGEST / objective.curvature_bound
    if is_penalised(objective):
        return rate, ColumnUnits(objective)
    # The gap of squares needs the Gram matrix of all rows anyway.
    if objective.is_quadratic and has_one_optimum(objective):
        return rate, ColumnUnits(objective)
    few = max(_MIN_SAMPLE, _ROWS_PER_COLUMN * objective.shape[0])
    step = max(1, objective.blocks.n_samples // few)
    sample = objective.thinned(step)
    if sample.total_weight > 0.0:
        if has_one_optimum(sample):
            return rate, ColumnUnits(objective)
        bound = automatic_rate(sample, rule, None)
        if step == 1 or _is_likeness(objective, 1.0 / bound):
            return 2.0 * bound, None
    return 2.0 * automatic_rate(objective, rule, None), None


def _is_likeness(objective, curvature):
    """Whether no column of all rows bends the loss by much more than a sample does along any
    direction; one pass.

    Columns with long tails, or with few large entries, are larger than a sample shows: the losses
    of most batches do not show it either, and between the others steps would be too long.
    """
    _, square = objective.blocks.reduce(ColumnMoments()) / objective.total_weight
    return bool((objective.curvature_bound * square <= _UNLIKE * curvature).all())


def relaxed(last, bound):
    """The rate of a part of a stream: its bound; above the last rate, a small step towards it."""
    if not last < bound:
        return bound
    return last * (bound / last) ** _RELAXED


def automatic_rate(objective, rule, batch_size, *, coordinates=None, is_part=False):
    """The step size that is safe for the rule; see ``learning_rate`` of the estimators.

    Mini-batches of `batch_size` rows; None means full batches; steps in `coordinates` where given.
    The rate of adaptive rules is a share of how far a coordinate can go, in mini-batches all of
    them together. A part of a stream (`is_part`) does not tell how large the targets of others
    are: there it is a constant, and of a classifier less where columns are large.
    """
    if rule.is_adaptive and is_part:
        if objective.is_quadratic:
            return rule.default_learning_rate
        harmless = _natural_rate(objective, None, 0.5, together=True)
        return min(rule.default_learning_rate, harmless)
    if rule.is_adaptive:
        share, together = rule.natural_share, batch_size is not None
        rate = _natural_rate(objective, coordinates, share, together=together)
        return rate if math.isfinite(rate) else rule.default_learning_rate
    if coordinates is not None:
        return 1.0 / coordinates.curvature if coordinates.curvature > 0.0 else 1.0
    if batch_size is None:
        curvature = objective.bound.norm
    else:
        curvature = 2.0 * objective.bound.of_batches(batch_size) / rule.stochastic_share
    if curvature <= 0.0:
        return 1.0
    if 1.0 / curvature > _LARGEST_RATE:
        raise FloatingPointError(
            "The squares of X are so small that learning_rate='auto' leaves the range of float64; "
            "gradient descent works in the units of X: standardise X, or use an exact solver."
        )
    return 1.0 / curvature


def _natural_rate(objective, coordinates, share, *, together):
    """A share of how far coordinates can go at all, or all of them together.

    With h the diagonal of the Hessian bound and K outputs, ``sqrt(2 L(0) / (K h_jj))`` is the move
    of one coordinate that bends the loss by L(0); of all, ``sqrt(2 L(0) / K) / sum_j sqrt(h_jj)``.
    """
    n_outputs = objective.shape[1]
    at_zero = float(objective.value(np.zeros((objective.shape[0], 1, n_outputs)))[0])
    if coordinates is None:
        roots = np.sqrt(objective.bound.diagonal)
        size = float(roots.sum() if together else roots.max())
    else:
        size = coordinates.total if together else coordinates.largest
    if not min(at_zero, size) > 0.0:
        return math.inf
    return share * math.sqrt(2.0 * at_zero / n_outputs) / size
