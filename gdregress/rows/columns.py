"""What the columns of X are like, and the frame that is chosen from it."""

from typing import NamedTuple

import numpy as np

from .frame import Frame

__all__ = ["ColumnStatistics", "Columns"]


class Columns(NamedTuple):
    """Statistics of every column over the rows of positive weight, arrays (n_features,).

    ``mean = sum_i s_i x_i / S``, ``spread = sqrt(sum_i s_i (x_i - mean)^2 / S)``, and the range
    from ``low`` to ``high``; ``weight`` is S.
    """

    weight: float
    mean: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def largest(self):
        """The largest absolute value of each column."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def frame(self, *, allow_shift):
        """The frame of columns like these; see :meth:`~gdregress.rows.frame.Frame.from_columns`."""
        return Frame.from_columns(self.mean, self.spread, self.largest, allow_shift=allow_shift)


class ColumnStatistics:
    """The :class:`Columns` of a block, from two looks at it: no digit is lost to cancellation.

    Parts are combined as in Chan, Golub & LeVeque (1983), "Algorithms for computing the sample
    variance": with shares a and b of the weight and d the difference of the means,

        mean = mean_a + b d,    spread^2 = a spread_a^2 + b spread_b^2 + a b d^2.
    """

    def __call__(self, block):
        design, weight = block.design, block.sample_weight
        if weight is not None and not weight.all():
            kept = np.flatnonzero(weight)
            design, weight = design.take(kept), weight[kept]
        total = float(design.n_rows if weight is None else weight.sum())
        if design.n_rows == 0:
            nothing = np.zeros(design.n_columns)
            return Columns(total, nothing, nothing, nothing + np.inf, nothing - np.inf)
        share = None if weight is None else weight / total
        low, high, mean, spread = design.statistics(share)
        constant = low == high  # the mean of equal numbers may differ from them
        mean, spread = np.where(constant, low, mean), np.where(constant, 0.0, spread)
        return Columns(total, mean, spread, low, high)

    @staticmethod
    def combine(total, part):
        if not (total.weight and part.weight):
            return total if total.weight else part
        weight = total.weight + part.weight
        a, b = total.weight / weight, part.weight / weight
        difference = part.mean - total.mean
        within = np.hypot(np.sqrt(a) * total.spread, np.sqrt(b) * part.spread)
        low, high = np.minimum(total.low, part.low), np.maximum(total.high, part.high)
        mean = np.where(low == high, low, total.mean + b * difference)
        return Columns(weight, mean, np.hypot(within, np.sqrt(a * b) * difference), low, high)
