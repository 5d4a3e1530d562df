"""What the columns of X are like, and the frame that is chosen from it."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from .frame import Frame
from .kernels import ColumnMoments, ColumnRange
from .overflow import overflow

__all__ = [
    "SAMPLE_ROWS",
    "ColumnStatistics",
    "Columns",
    "FrameChoice",
    "keep_digits",
    "largest_values",
    "spans",
]

SAMPLE_ROWS = 256
# The sums of so many rows are taken as soon as those of a sample; so are those of all rows where
# there are so few entries for each column, that it is columns which take the time.
_FEW_ROWS, _FEW_ENTRIES = 1024, 16
# A variance above this share of the mean square is known to half of the digits of its own.
_HALF_EPS = np.sqrt(np.finfo(np.float64).eps)
# A squared mean below this share of the mean square is no reason for a shift, nor are mean squares
# within these bounds one for a scale; all of them far inside of those of ``Frame.from_columns``.
_NEAR, _SMALL, _LARGE = 0.98, 1e-100, 1e100


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


class FrameChoice:
    """Frames that suit some rows.

    Parameters
    ----------
    blocks : RowBlocks
        In the original columns.
    allow_shift : bool
        Whether an intercept takes up what a shift moves.
    """

    def __init__(self, blocks, *, allow_shift):
        self._blocks, self._allow_shift = blocks, allow_shift

    def sampled(self):
        """A frame chosen from evenly spaced rows."""
        blocks = self._blocks
        if self._is_plain:
            return blocks.frame
        frame = self._sampled_columns.frame(allow_shift=self._allow_shift)
        # So many columns cannot be full of entries: the rows of the sample are no likeness.
        if len(frame.far) * blocks.n_samples > 2 * blocks.design.n_stored:
            return self.exact()
        return frame

    @cached_property
    def _sample(self):
        """The block of evenly spaced rows, without weights where all of them are zero."""
        sample = self._blocks.sample(SAMPLE_ROWS)
        if sample.sample_weight is not None and not sample.sample_weight.any():
            sample = sample._replace(sample_weight=None)
        return sample

    @property
    def _has_all_rows(self):
        """Whether rows are so few that the sample has them all."""
        return self._blocks.n_samples < 2 * SAMPLE_ROWS

    @cached_property
    def _is_plain(self):
        """Whether sums over the sampled rows leave no doubt that the columns are fine as they are.

        That of ordinary columns takes a fifth of their statistics.
        """
        if not self._weighs_alike:
            return False  # a row of little weight hides its size
        with np.errstate(all="ignore"):
            first, second = self._sums
            if self._vanish or not np.maximum.reduce(second) < _LARGE:
                return False
            near = first * first <= _NEAR * second
            return not self._allow_shift or bool(np.logical_and.reduce(near))

    @property
    def _is_small(self):
        """Whether sums over all rows take no longer than those over a sample."""
        blocks = self._blocks
        is_sparse = not blocks.stores_zeros
        has_few = is_sparse and blocks.design.n_stored <= _FEW_ENTRIES * blocks.n_features
        return blocks.n_samples <= _FEW_ROWS or has_few

    @property
    def _weighs_alike(self):
        """Whether rows have no weights, and no frame."""
        return self._blocks.sample_weight is None and self._blocks.frame.is_identity

    @cached_property
    def _sums(self):
        """Means and mean squares of the columns, of all rows where that is no dearer."""
        blocks = self._blocks
        if self._is_small:
            return blocks.reduce(ColumnMoments()) / blocks.n_samples
        return ColumnMoments()(self._sample) / self._sample.design.n_rows

    @cached_property
    def _vanish(self):
        """Whether squares of a column are so small that they say little: not where all of its
        entries are zero."""
        second = self._sums[1]
        if np.minimum.reduce(second) > _SMALL:
            return False
        design = (self._blocks if self._is_small else self._sample).design
        n_entries = design.n_unusual(np.zeros(len(second)))
        return bool(n_entries[~(second > _SMALL)].any())

    @cached_property
    def _sampled_columns(self):
        """The :class:`Columns` of evenly spaced rows."""
        with np.errstate(all="ignore"):
            return _finite(ColumnStatistics()(self._sample))

    def exact(self):
        """A frame chosen from all rows, one pass: where a sample was not representative."""
        return self.columns().frame(allow_shift=self._allow_shift)

    def sure(self):
        """A frame that is exact where one seems to be needed at all."""
        frame = self.sampled()
        return frame if frame.is_identity else self.exact()

    def best(self):
        """A frame in which a solver works at its best: exact where one is needed at all.

        Of few rows, or entries, there are the sums, which are as exact as :meth:`_of_sums` says
        where squares do not vanish.
        """
        is_of_all = self._weighs_alike and self._is_small
        if is_of_all and not self._is_plain and not self._vanish:
            frame = self._of_sums(*self._sums)
            if frame is not None:
                return frame
        frame = self.sampled()
        if frame.is_identity or self._has_all_rows:
            return frame
        from_sums = self._from_sums(frame)
        return self.exact() if from_sums is None else from_sums

    def _from_sums(self, frame):
        """A frame from sums over all rows; None where they are not exact enough, or no gain.

        They cost a fifth of exact statistics, or less, and are exact enough where a column is not
        far after all: columns that seemed to be far from zero may be just rare levels,
        standardised. The evenly spaced rows saw no such level, and a constant column. Rows that
        store their zeros cost the same with any shift.
        """
        seen, blocks = self._sampled_columns, self._blocks
        if frame.is_scaled or (blocks.stores_zeros and (seen.spread[frame.far] > 0.0).any()):
            return None
        found = self._of_sums(*blocks.reduce(ColumnMoments()) / blocks.total_weight)
        needless = found is None or (blocks.stores_zeros and not found.is_identity)
        return None if needless else found

    def _of_sums(self, first, second):
        """The frame of columns with such means and mean squares; None where these do not tell it.

        A shift is as good as exact where the spread keeps half of its digits beside the mean.
        """
        with np.errstate(all="ignore"):
            size, variance = np.sqrt(second), second - first * first
        if not np.isfinite(size).all():
            return None
        spread = np.sqrt(np.maximum(variance, 0.0))
        found = Frame.from_columns(first, spread, size, allow_shift=self._allow_shift)
        if found.is_identity:
            return found
        is_exact = not found.is_scaled and (variance > _HALF_EPS * second)[found.far].all()
        return found if is_exact else None

    def columns(self):
        """The :class:`Columns` of all rows."""
        if self._has_all_rows:
            return self._sampled_columns
        return _finite(self._blocks.reduce(ColumnStatistics()))


def keep_digits(first, second):
    """Whether means and mean squares tell the spreads of all columns to half of their digits."""
    with np.errstate(all="ignore"):
        exact = second - first * first > _HALF_EPS * second
        return bool((exact & (second > _SMALL) & (second < _LARGE)).all())


def spans(blocks):
    """The range of the values of each column of the frame, of the rows that weigh something."""
    low, high = blocks.reduce(ColumnRange(only_weighing=True))
    return high - low


def largest_values(blocks):
    """The largest absolute value of each column of the frame."""
    return np.abs(blocks.reduce(ColumnRange())).max(axis=0)


def _finite(columns):
    """Statistics of columns, which have to be finite."""
    if not np.isfinite([columns.low, columns.high, columns.mean, columns.spread]).all():
        raise FloatingPointError(overflow("X"))
    return columns
