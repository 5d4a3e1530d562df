"""What the columns of X are like, and the frame that is chosen from it."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

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
        X, weight = block.X, block.sample_weight
        if weight is not None and not weight.all():
            kept = weight > 0.0
            X, weight = X[kept], weight[kept]
        total = float(X.shape[0] if weight is None else weight.sum())
        if X.shape[0] == 0:
            nothing = np.zeros(X.shape[1])
            return Columns(total, nothing, nothing, nothing + np.inf, nothing - np.inf)
        moments = _sparse_moments if sparse.issparse(X) else _dense_moments
        low, high, mean, spread = moments(X, None if weight is None else weight / total)
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


def _units(low, high):
    """Powers of two in which squares of the columns neither overflow nor vanish."""
    exponent = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
    return np.ldexp(1.0, np.clip(exponent, -1022, 1022))


def _dense_moments(X, share):
    """Range, mean and spread of the columns; `share` is the weights with sum 1, None if equal."""
    low, high = X.min(axis=0), X.max(axis=0)
    unit = _units(low, high)
    scaled = X / unit
    share = np.full(len(X), 1.0 / len(X)) if share is None else share
    mean = np.dot(share, scaled)
    scaled -= mean
    scaled *= scaled
    return low, high, mean * unit, np.sqrt(np.dot(share, scaled)) * unit


def _sparse_moments(X, share):
    """The same; entries that are not stored are zero."""
    n_rows, n_features = X.shape
    columns = X.tocsc()
    n_stored = np.diff(columns.indptr)
    occupied = np.flatnonzero(n_stored)
    begin = columns.indptr[occupied]

    def per_column(reduce, entries):
        out = np.zeros(n_features)
        out[occupied] = reduce.reduceat(entries, begin) if len(begin) else 0.0
        return out

    low, high = per_column(np.minimum, columns.data), per_column(np.maximum, columns.data)
    full = n_stored == n_rows
    low = np.where(full, low, np.minimum(low, 0.0))
    high = np.where(full, high, np.maximum(high, 0.0))
    unit = _units(low, high)
    data = columns.data / np.repeat(unit, n_stored)
    if share is None:
        share, missing = 1.0 / n_rows, 1.0 - n_stored / n_rows
    else:
        share = share[columns.indices]
        missing = np.where(full, 0.0, np.maximum(1.0 - per_column(np.add, share), 0.0))
    mean = per_column(np.add, share * data)
    data -= np.repeat(mean, n_stored)
    data *= data
    square = per_column(np.add, share * data) + missing * mean**2
    return low, high, mean * unit, np.sqrt(square) * unit
