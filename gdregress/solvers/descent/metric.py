"""The metric of later epochs of mini-batches: the inverse of a Hessian that a sample of rows tells.

Units of its own for each column (see ``coordinates``) leave the columns correlated, and the loss
bends along what they share many times as much as along what tells them apart. With P the inverse of
the Hessian, ``theta <- theta - eta P g`` is plain descent in coordinates in which it bends alike
along all (Bercu, Godichon & Portier 2020, "An efficient stochastic Newton algorithm for parameter
estimation in logistic regressions"). The first epoch has no point to take it at: one far from the
optimum, where every row is uncertain, bends more, and differently. It ends near enough. Nor has it
shown whether there will be more of them: a metric is taken once the epochs made have taken as much
as it takes, so that it at most doubles what a fit takes, whenever that ends (to rent or to buy;
Karlin, Manasse, Rudolph & Sleator 1988, "Competitive snoopy caching").
"""

import math

import numpy as np

from ...problem.kernels import RowCurvature
from ...rows.blocks import RowBlocks
from ...rows.frame import Frame
from ..cholesky import ScaledCholesky

__all__ = ["HessianMetric", "epochs_worth_a_metric"]

# Up to so many columns: a product of P with a gradient is to cost no more than a batch.
_MAX_COLUMNS = 256
# The sample: so many rows at least, and for each column.
_MIN_SAMPLE, _ROWS_PER_COLUMN = 1024, 8
# A mean beyond so many times the spread costs P the digits of the intercept.
_FAR = 1e4
# The share of its curvature over all rows that a column has at least.
_FLOOR = 0.5
# The share of its bound from which on a mean curvature says something.
_LEAST_CURVATURE = 1e-4
# What an epoch brings of Newton's way: the sum of its shares.
_WAY = 8.0
# What an epoch takes, a step of it and a number of its rows, in nanoseconds (one core of 2020);
# what a metric takes, a number of its rows, and a column of these.
_EPOCH, _STEP, _READ = 150e3, 20e3, 2.5
_METRIC, _SAMPLED, _PER_COLUMN = 200e3, 6.0, 1.0 / 15.0


class HessianMetric:
    """P at a point, of one output.

    With h_i the curvatures of n rows of the sample there, p columns and the Hessian H, which rests
    on ``n' = (sum h_i)^2 / sum h_i^2`` rows,

        K = (1 - q) H + q diag(H),    q = p / (n' + p),
        P = nu K^-1 / eta,            nu = min(b / (b + p), 8 / k),

    eta being the learning rate, so that a step of that length is the share nu of Newton's. Of b
    rows a whole one is mostly noise where b is not far above p; and the k steps of an epoch, which
    leave ``(1 - nu)^k`` of the way, need not be longer than it takes to leave little. The share q
    of what the sample says of two columns together is chance (Ledoit & Wolf 2004, "A
    well-conditioned estimator for large-dimensional covariance matrices"). A column that the sample
    holds too little of bends no less than half of what its mean square over all rows says.

    Parameters
    ----------
    objective : BlockObjective
    rate : float
        The learning rate.
    n_steps : int
        Of an epoch.
    """

    def __init__(self, objective, rate, n_steps):
        mean, square = objective.column_centres()
        n_samples, n_columns = objective.blocks.n_samples, len(mean)
        batch_size = n_samples / n_steps
        self._share = min(batch_size / (batch_size + n_columns), _WAY / n_steps)
        blocks = objective.thinned(_thinned_by(n_samples, n_columns)).blocks
        exponent = np.rint(0.5 * np.log2(np.where(square > 0.0, square, 1.0)))
        scale = np.ldexp(1.0, exponent.astype(int))
        self._frame, self._square = Frame(mean, scale), square / scale / scale
        # Centred rows are dense, whatever they were.
        design = blocks.block(slice(0, blocks.n_samples)).design
        rows = RowBlocks(design.dense(), blocks.y, blocks.sample_weight, blocks.workers)
        self._sample = objective.on_rows(rows).in_frame(self._frame)
        self._rate = rate

    @classmethod
    def of(cls, objective, rate, n_steps):
        """The metric of an objective, or None where units of the columns have to do."""
        size, n_outputs = objective.shape
        if n_outputs > 1 or size - 1 > min(_MAX_COLUMNS, objective.blocks.n_samples):
            return None
        if not hasattr(objective.loss, "curvature"):
            return None
        mean, square = objective.column_centres()
        if (np.abs(mean) > _FAR * np.sqrt(square)).any():
            return None
        metric = cls(objective, rate, n_steps)
        return metric if metric._sample.total_weight > 0.0 else None

    def at(self, theta):
        """What ``direction`` is asked of, with P taken at theta; None where nothing bends there."""
        sample, inside = self._sample, self._frame.enter(theta)
        weight = sample.blocks.sample_weight
        rows = sample.blocks.reduce(RowCurvature(sample.loss), inside)
        curvature = np.concatenate(rows)[:, 0, 0]
        if weight is not None:
            curvature = curvature * weight
        mean = curvature.sum() / sample.total_weight
        if not _LEAST_CURVATURE * sample.curvature_bound < mean < math.inf:
            return None
        n_columns = len(self._square)
        chance = n_columns / (curvature.sum() ** 2 / curvature.dot(curvature) + n_columns)
        hessian = sample.hessian(inside)
        ridge = sample.penalty.curvature(inside.shape)[:, 0, 0]
        least = np.append(_FLOOR * mean * self._square, 0.0) + ridge
        diagonal = np.maximum(hessian.diagonal(), least)
        still = least == 0.0  # nothing moves a column that is constant
        still[-1] = not sample.fit_intercept
        hessian *= 1.0 - chance
        hessian[still] = hessian[:, still] = 0.0
        np.fill_diagonal(hessian, np.where(still, 1.0, diagonal))
        root = ScaledCholesky(hessian).inverse_root()
        root[:, still] = 0.0
        frame = self._frame
        root[:, -1] -= root[:, :-1] @ (frame.shift / frame.scale)
        matrix = np.dot(root.T, root) * (self._share / self._rate)
        return _Metric(matrix, np.append(1.0 / frame.scale, 1.0))


def epochs_worth_a_metric(objective, n_steps):
    """After how many epochs of so many steps they have taken as much as a metric takes."""
    n_samples, size = objective.blocks.n_samples, objective.shape[0]
    epoch = _EPOCH + _STEP * n_steps + _READ * (objective.blocks.design.n_stored + n_samples)
    n_rows = n_samples // _thinned_by(n_samples, size - 1)
    return (_METRIC + n_rows * size * (_SAMPLED + _PER_COLUMN * size)) / epoch


def _thinned_by(n_samples, n_columns):
    """Every how many-th row is in the sample."""
    return max(1, n_samples // max(_MIN_SAMPLE, _ROWS_PER_COLUMN * n_columns))


class _Metric:
    """P at a point; the scales of the columns stand apart: their squares may leave float64."""

    def __init__(self, matrix, inverse):
        self._matrix, self._inverse = matrix, inverse

    def direction(self, gradient):
        """``P g`` and ``g^T P g``, of one model: vectors."""
        outside = self._matrix.dot(gradient * self._inverse)
        outside *= self._inverse
        return outside, max(0.0, float(gradient.dot(outside)))
