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
        """The frame of columns like these; see :meth:`~gdregress.frame.Frame.from_columns`."""
        return Frame.from_columns(self.mean, self.spread, self.largest, allow_shift=allow_shift)


class ColumnStatistics:
    """The :class:`Columns` of a block, from two looks at it: no digit is lost to cancellation.

    Parts are combined as in Chan, Golub & LeVeque (1983), "Algorithms for computing the sample
    variance": with shares a and b of the weight and d the difference of the means,

        mean = mean_a + b d,    spread^2 = a spread_a^2 + b spread_b^2 + a b d^2.
    """

    def __call__(self, block):
        X, weight = block.X, block.sample_weight
        if weight is None:
            weight = np.ones(X.shape[0])
        elif not weight.all():
            kept = weight > 0.0
            X, weight = X[kept], weight[kept]
        total = float(weight.sum())
        if not len(weight):
            nothing = np.zeros(X.shape[1])
            return Columns(total, nothing, nothing, nothing + np.inf, nothing - np.inf)
        if sparse.issparse(X):
            low, high = X.min(axis=0).toarray().ravel(), X.max(axis=0).toarray().ravel()
        else:
            low, high = X.min(axis=0), X.max(axis=0)
        unit = np.maximum(np.abs(low), np.abs(high))
        unit[unit == 0.0] = 1.0  # in these units squares neither overflow nor vanish
        moments = _sparse_moments if sparse.issparse(X) else _dense_moments
        mean, spread = moments(X, unit, weight / total)
        constant = low == high  # the mean of equal numbers may differ from them
        mean = np.where(constant, low, mean * unit)
        return Columns(total, mean, np.where(constant, 0.0, spread * unit), low, high)

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


def _dense_moments(X, unit, share):
    """Mean and spread of ``X / unit``; `share` is the weights with sum 1."""
    scaled = X / unit
    mean = np.dot(share, scaled)
    scaled -= mean
    scaled *= scaled
    return mean, np.sqrt(np.dot(share, scaled))


def _sparse_moments(X, unit, share):
    """The same; entries that are not stored are zero."""
    n_rows, n_features = X.shape
    rows = np.repeat(share, np.diff(X.indptr))
    data = X.data / unit[X.indices]

    def per_column(entries):
        return np.bincount(X.indices, entries, minlength=n_features)

    mean = per_column(rows * data)
    missing = np.maximum(1.0 - per_column(rows), 0.0)
    missing[np.bincount(X.indices, minlength=n_features) == n_rows] = 0.0
    square = per_column(rows * (data - mean[X.indices]) ** 2) + missing * mean**2
    return mean, np.sqrt(square)
