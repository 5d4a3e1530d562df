"""Objectives: what a solver minimises. The only place with 1/S, the penalty and the intercept.

    L(theta) = 1/S sum_i s_i loss(y_i, z_i) + penalty(W),    z_i = W^T x_i + b

Every objective in this module has the same face, so that solvers do not know which one they have:

``shape`` : (n_features + 1, n_outputs), that of one model; theta is (n_features + 1, M, n_outputs)
``value(theta)`` : shape (M,)
    ``L`` of each model, penalty included.
``smooth_value(theta)`` : shape (M,)
    ``L`` without the L1 norm.
``value_and_gradient(theta)`` : shapes (M,) and that of theta
    ``L``, and the gradient of its smooth part (everything but the L1 norm).
``at(theta)`` : Evaluation
    All of these and the Hessian at one point, on demand and once; see ``evaluation``.
``hessian_product(theta, direction)`` : shape of direction
    The Hessian of the smooth part at theta (one model) times directions.
``proximal(theta, step)`` : shape of theta
    The proximal step of the L1 norm; theta itself where there is none.
``hessian_bound_diagonal()`` : shape (n_features + 1, 1, 1)
    The diagonal of ``c/S [X 1]^T diag(s) [X 1] + alpha (1 - l1_ratio) diag(1, ..., 1, 0)``,
    which bounds the Hessian at every theta (c is 1 for squares, 1/4 and 1/2 for the logistics).
``hessian_bound_norm()`` : float
    The largest eigenvalue of that bound.
``reach`` : float
    ``sqrt(2 L)`` of the best constant model: what a fit can gain, and a yardstick for what it
    leaves.
``floor`` : float
    A part of every loss that no theta changes, where it is known; 0 else.
``column_centres()`` : two arrays of shape (n_features,)
    The weighted mean of each column, zero without an intercept, and the mean square around it.

An intercept that is not fitted is a coordinate with gradient zero: it stays where it starts.
"""

from functools import cached_property

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from ..rows.blocks import PerRow
from ..rows.columns import ColumnStatistics
from ..rows.frame import Frame
from ..rows.kernels import (
    ColumnMoments,
    ColumnRange,
    ColumnSquares,
    GramProduct,
    LargestLeverage,
    LargestMove,
    LargestRow,
    LinearPredictor,
    Moments,
    PulledBack,
)
from ..rows.sampling import sample_rows
from .evaluation import Evaluation
from .hessians import AppliedHessian
from .kernels import (
    BatchGradient,
    BatchLossGradient,
    BatchValue,
    ConjugateValue,
    CurvedExpansion,
    Expansion,
    Hessian,
    LossGradient,
    LossValue,
    Margin,
    RowCurvature,
    SmallestRival,
)

__all__ = [
    "SAMPLE_ROWS",
    "BlockObjective",
    "ColumnsOutOfRange",
    "check_squares",
    "largest_eigenvalue",
    "overflow",
]

_EPS = np.finfo(np.float64).eps
SAMPLE_ROWS = 256
# Dense Gram matrices up to this many columns; beyond, eigenvalues come from products alone.
_MAX_GRAM_COLUMNS = 2048


class BlockObjective:
    """The objective of the module, as reductions over row blocks.

    Parameters
    ----------
    blocks : RowBlocks
        In the frame of theta.
    loss : object
        A loss of ``losses``.
    n_outputs : int
    fit_intercept : bool
    penalty : ElasticNet
        That of the coefficients of the original columns, as a function of theta.
    """

    def __init__(self, blocks, loss, penalty, n_outputs, *, fit_intercept=True):
        self.blocks, self.loss, self.penalty = blocks, loss, penalty
        self.fit_intercept = fit_intercept
        self.centred = None  # of moments.centred_gram
        self.shape = (blocks.frame.n_columns + 1, n_outputs)
        self.basis = None  # of the rows in the frame, once it was asked for; see ``basis``
        self._value, self._gradient = LossValue(loss), LossGradient(loss)
        self._batch_gradient, self._batch_value = BatchGradient(loss), BatchValue(loss)
        self._batch_loss_gradient = BatchLossGradient(loss)

    @property
    def frame(self):
        """The coordinates of theta."""
        return self.blocks.frame

    @cached_property
    def total_weight(self):
        return self.blocks.total_weight

    floor = 0.0

    @property
    def is_quadratic(self):
        return self.loss.is_quadratic

    @property
    def curvature_bound(self):
        return self.loss.curvature_bound

    @cached_property
    def reach(self):
        blocks = self.blocks
        return self.loss.best_constant(blocks.y, blocks.sample_weight, self.fit_intercept)

    @property
    def has_l1(self):
        return self.penalty.l1 > 0.0

    def in_frame(self, frame):
        """The same objective, as a function of theta of `frame`."""
        return BlockObjective(
            self.blocks.in_frame(frame),
            self.loss,
            self.penalty.in_frame(frame),
            self.shape[1],
            fit_intercept=self.fit_intercept,
        )

    def at(self, theta):
        """The objective at a point; see ``evaluation``."""
        return Evaluation(self, theta)

    def value(self, theta):
        if not theta.any() and (known := self.loss.value_at_zero(self.shape[1])) is not None:
            return np.full(theta.shape[1], known)  # no need of the rows
        return self.blocks.reduce(self._value, theta) / self.total_weight + self.penalty.value(
            theta
        )

    def smooth_value(self, theta):
        return self.value(theta) - self.penalty.l1_value(theta)

    def value_and_gradient(self, theta):
        return self._mean(theta, *self.blocks.reduce(self._gradient, theta))

    def _mean(self, theta, total, gradient):
        """The means of sums over the rows, with the penalty's part."""
        gradient /= self.total_weight
        if not self.fit_intercept:
            gradient[-1] = 0.0
        loss = total / self.total_weight + self.penalty.value(theta)
        return loss, self.penalty.add_gradient(theta, gradient)

    def batch_gradient(self, batch, theta):
        """Gradient over a mini-batch: its mean over draws of the batch is the full gradient.

        ``1/b sum_{i in batch} (m s_i / S) grad loss_i``, the penalty in full.
        """
        return self._batch_mean(batch, theta, self._batch_gradient(batch, theta))

    def batch_value_and_gradient(self, batch, theta):
        """:meth:`batch_value` and :meth:`batch_gradient`, from one product with the rows."""
        total, gradient = self._batch_loss_gradient(batch, theta)
        total = total * (self._rows_per_weight / batch.rows.shape[0])
        if self.penalty.l2 or self.penalty.l1:
            total += self.penalty.value(theta)
        return total, self._batch_mean(batch, theta, gradient)

    def _batch_mean(self, batch, theta, gradient):
        """The mean of a sum of gradients over a mini-batch, with the penalty's."""
        gradient *= self._rows_per_weight / batch.rows.shape[0]
        if not self.fit_intercept:
            gradient[-1] = 0.0
        if self.penalty.l2:
            gradient += self._ridge * theta
        return gradient

    def batch_value(self, batch, theta):
        """The loss whose gradient :meth:`batch_gradient` is, penalty included, shape (M,)."""
        mean = self._batch_value(batch, theta) * self._rows_per_weight / batch.rows.shape[0]
        return mean + self.penalty.value(theta)

    @cached_property
    def _rows_per_weight(self):
        return self.blocks.n_samples / self.total_weight

    @cached_property
    def _ridge(self):
        """The diagonal of the penalty's Hessian, in the shape of theta."""
        return self.penalty.curvature(self.shape)[:, None, :]

    def hessian(self, theta):
        """The Hessian at theta (one model), (q, q) in the order of ``theta.ravel()``.

        An intercept that is not fitted has a unit diagonal, so that the matrix is regular.
        """
        return self._regular(self.blocks.reduce(Hessian(self.loss), theta))

    def expansion(self, theta):
        """:meth:`value_and_gradient` and :meth:`hessian` at theta (one model), in one pass."""
        total, gradient, hessian = self.blocks.reduce(Expansion(self.loss), theta)
        return *self._mean(theta, total, gradient), self._regular(hessian)

    def _regular(self, hessian):
        """The mean of a sum of Hessians of the rows, with the penalty's."""
        hessian /= self.total_weight
        curvature = self.penalty.curvature(self.shape)
        n_outputs = self.shape[1]
        if not self.fit_intercept:
            hessian[-n_outputs:] = hessian[:, -n_outputs:] = 0.0
            curvature[-1] = 1.0
        hessian.flat[:: len(hessian) + 1] += curvature.ravel()
        return hessian

    def hessian_product(self, theta, direction):
        return self.hessian_at(theta).product(direction)

    def hessian_at(self, theta):
        """The Hessian at theta (one model), never formed; see ``hessians``."""
        rows = self.blocks.reduce(RowCurvature(self.loss), theta)
        return AppliedHessian(self, np.concatenate(rows))

    def curved_expansion(self, theta):
        """:meth:`value_and_gradient` and :meth:`hessian_at` at theta (one model), in one pass."""
        total, gradient, rows = self.blocks.reduce(CurvedExpansion(self.loss), theta)
        return *self._mean(theta, total, gradient), AppliedHessian(self, np.concatenate(rows))

    def proximal(self, theta, step):
        return self.penalty.proximal(theta, step)

    def linear_predictor(self, theta):
        """``z`` of every row, shape (n_samples, n_models, n_outputs)."""
        parts = self.blocks.reduce(LinearPredictor(), theta)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def pulled_back(self, rows):
        """``[X 1]^T rows``, shape (n_features + 1,), of one number for each row; no weights."""
        return self.blocks.reduce(PulledBack(), PerRow(rows))

    def margins(self, theta):
        """Smallest and largest margin of the rows; see :class:`Margin`."""
        low, high = self.blocks.reduce(Margin(self.loss), theta)
        return float(low), float(high)

    def largest_move(self, direction):
        """The most that a step moves a row; see ``moves`` of the losses."""
        return float(self.blocks.reduce(LargestMove(self.loss.moves), direction).max())

    def conjugate_value(self, theta, t):
        """The mean of :class:`ConjugateValue`."""
        return float(self.blocks.reduce(ConjugateValue(self.loss), theta, t)[0]) / self.total_weight

    def largest_leverage(self, inverse_root):
        """``max_i max_|u| = 1`` of the move of row i by a step u of unit length in a metric.

        With ``R^T R = H`` the metric and dz_i the change of the linear predictor along u, that of
        one output is ``|R^-T [x_i 1]|``; with a gauge the range of several is bounded by twice the
        largest distance of ``R^-T ([x_i 1] kron e_k)`` from their mean over k. `inverse_root` is
        ``R^-T`` in the order of ``theta.ravel()``. Rows of weight zero do not count.
        """
        maps = inverse_root.reshape(len(inverse_root), *self.shape)
        if self.loss.has_gauge:
            maps = maps - maps.mean(axis=2, keepdims=True)
        maps = np.ascontiguousarray(maps.transpose(1, 2, 0))
        factor = 2.0 if self.loss.has_gauge else 1.0
        return factor * float(self.blocks.reduce(LargestLeverage(maps))[0])

    def column_centres(self):
        frame = self.sampled_frame()
        blocks = self.blocks.in_frame(frame)
        first, second = blocks.reduce(ColumnMoments()) / self.total_weight
        mean = first if self.fit_intercept else np.zeros_like(first)
        variance = second - mean * mean
        variance[variance <= 8.0 * _EPS * second] = 0.0  # the rounding of a constant column
        return frame.shift + frame.scale * mean, variance * frame.scale**2

    def smallest_rival(self, theta):
        """The least ``s_i p_ik / S`` of a row and a class not its own, p at theta (one model)."""
        return float(self.blocks.reduce(SmallestRival(self.loss), theta)[0]) / self.total_weight

    def column_spans(self):
        """The range of the values of each column of the frame, shape (n_features,)."""
        low, high = self.blocks.reduce(ColumnRange(only_weighing=True))
        return high - low

    def column_sizes(self):
        """The largest absolute value of each column of the frame, shape (n_features,)."""
        return np.abs(self.blocks.reduce(ColumnRange())).max(axis=0)

    @cached_property
    def gram(self):
        """``1/S [X 1]^T diag(s) [X 1]`` in the frame, or None where it would be too large."""
        n_features = self.blocks.n_features
        if n_features > _MAX_GRAM_COLUMNS or n_features > 4 * self.blocks.n_samples:
            return None
        gram = self.blocks.reduce(Moments()) / self.total_weight
        check_squares(gram.diagonal(), gram.diagonal() > 0.0)
        if not self.fit_intercept:
            gram[-1, :] = gram[:, -1] = 0.0
        return gram

    @cached_property
    def _bound_diagonal(self):
        if "gram" in self.__dict__ and self.gram is not None:
            squares = np.diag(self.gram).copy()
        else:
            squares = self.blocks.reduce(ColumnSquares()) / self.total_weight
        occupied = squares > 0.0
        if not occupied[:-1].all():
            low, high = self.blocks.reduce(ColumnRange(only_weighing=True))
            occupied[:-1] = (low != 0.0) | (high != 0.0)
        check_squares(squares, occupied)
        if not self.fit_intercept:
            squares[-1] = 0.0
        diagonal = self.loss.curvature_bound * squares[:, None]
        return (diagonal + self.penalty.curvature((len(squares), 1)))[:, None, :]

    def hessian_bound_diagonal(self):
        return self._bound_diagonal

    @cached_property
    def _bound_norm(self):
        ridge = self.penalty.curvature((self.shape[0], 1))[:, 0]
        if self.gram is not None:
            bound = self.loss.curvature_bound * self.gram
            bound.flat[:: len(bound) + 1] += ridge
            return largest_eigenvalue(bound)
        if not np.all(np.isfinite(self.blocks.reduce(ColumnSquares()))):
            raise FloatingPointError(overflow("X"))

        def product(v):
            v = v.reshape(-1, 1, 1)
            if not self.fit_intercept:
                v = np.vstack([v[:-1], np.zeros_like(v[-1:])])
            gram = self.blocks.reduce(GramProduct(), v)[:, 0, 0] / self.total_weight
            if not self.fit_intercept:
                gram[-1] = 0.0
            return self.loss.curvature_bound * gram + ridge * v[:, 0, 0]

        operator = LinearOperator((len(ridge), len(ridge)), matvec=product, dtype=np.float64)
        return largest_eigenvalue(operator)

    def hessian_bound_norm(self):
        return self._bound_norm

    @cached_property
    def row_smoothness(self):
        """``max_i L_i``, the smoothness of the worst row as a mini-batch sees it.

        ``L_i = c (m s_i / S) |[x_i 1]|^2 + alpha (1 - l1_ratio)``.
        """
        largest = self.blocks.reduce(LargestRow(self.fit_intercept))[0]
        weight = self.blocks.n_samples / self.total_weight
        return self.loss.curvature_bound * weight * float(largest) + self.penalty.l2

    def expected_smoothness(self, batch_size):
        """Smoothness of mini-batch gradients, drawn without replacement, in expectation.

        ``[m (b - 1) lambda_max + (m - b) max_i L_i] / [b (m - 1)]``: between that of a single row
        at b = 1 and that of the full batch at b = m (Gower et al. 2019, "SGD: general analysis
        and improved rates", proposition 3.8).
        """
        m, b = self.blocks.n_samples, batch_size
        if m == 1:
            return self.hessian_bound_norm()
        full = m * (b - 1) * self.hessian_bound_norm()
        return (full + (m - b) * self.row_smoothness) / (b * (m - 1))

    def sampled(self, n_rows):
        """The objective on a sample of about `n_rows` rows, and a share c of all that it is.

        See :func:`~gdregress.rows.sampling.sample_rows`. Weights are divided by the
        probabilities of the rows, which makes the sample an unbiased likeness; the Hessian of all
        rows is at least c times that of the sample.
        """
        n_classes = None if self.is_quadratic else max(2, self.shape[1])
        rows, probability = sample_rows(self.blocks, n_rows, n_classes)
        sample = self.on_rows(self.blocks.subset(rows, 1.0 / probability))
        weight = sample.total_weight / self.total_weight
        return sample, min(1.0, float(probability.min()) * weight)

    def thinned(self, factor):
        """The objective on every `factor`-th row."""
        return self.on_rows(self.blocks.subset(slice(None, None, factor), None))

    def with_y(self, y):
        """The objective with other targets for the same rows."""
        return self.on_rows(self.blocks.with_y(y))

    def on_rows(self, blocks):
        """The same objective on other blocks; its S is theirs."""
        return BlockObjective(
            blocks,
            self.loss,
            self.penalty,
            self.shape[1],
            fit_intercept=self.fit_intercept,
        )

    def sampled_frame(self):
        """A frame chosen from evenly spaced rows."""
        blocks = self.blocks
        frame = self._sampled_columns.frame(allow_shift=self.fit_intercept)
        # So many columns cannot be full of entries: the rows of the sample are no likeness.
        if len(frame.far) * blocks.n_samples > 2 * blocks.design.n_stored:
            return self.exact_frame()
        return frame

    def exact_frame(self):
        """A frame chosen from all rows, one pass: where a sample was not representative."""
        return self.column_statistics().frame(allow_shift=self.fit_intercept)

    @cached_property
    def _sampled_columns(self):
        """The :class:`~gdregress.rows.columns.Columns` of evenly spaced rows."""
        sample = self.blocks.sample(SAMPLE_ROWS)
        if sample.sample_weight is not None and not sample.sample_weight.any():
            sample = sample._replace(sample_weight=None)
        with np.errstate(all="ignore"):
            return _finite(ColumnStatistics()(sample))

    def solver_frame(self):
        """A frame in which a solver works at its best: exact where one is needed at all."""
        frame = self.sampled_frame()
        if frame.is_identity or self._has_rare_levels_only(frame):
            return Frame.identity(self.blocks.n_features)
        return self.exact_frame()

    def _has_rare_levels_only(self, frame):
        """Whether columns that seemed to be far from zero are just rare levels, standardised.

        The evenly spaced rows saw no such level, and a constant column. Sums of all rows cost a
        fifth of exact statistics, and are exact enough where a column is not far after all.
        """
        seen = self._sampled_columns
        if frame.is_scaled or (seen.spread[frame.far] > 0.0).any():
            return False
        first, second = self.blocks.reduce(ColumnMoments()) / self.total_weight
        size = np.sqrt(second)
        spread = np.sqrt(np.maximum(second - first * first, 0.0))
        if not np.isfinite(size).all():
            return False
        allow_shift = self.fit_intercept
        return Frame.from_columns(first, spread, size, allow_shift=allow_shift).is_identity

    def column_statistics(self):
        """The :class:`~gdregress.rows.columns.Columns` of all rows."""
        return _finite(self.blocks.reduce(ColumnStatistics()))


def _finite(columns):
    """Statistics of columns, which have to be finite."""
    if not np.isfinite([columns.low, columns.high, columns.mean, columns.spread]).all():
        raise FloatingPointError(overflow("X"))
    return columns


def largest_eigenvalue(matrix):
    """Largest eigenvalue of a symmetric matrix or operator, deterministic."""
    size = matrix.shape[0]
    if isinstance(matrix, np.ndarray) and not np.all(np.isfinite(matrix)):
        raise FloatingPointError(overflow("X"))
    if isinstance(matrix, np.ndarray) and size <= 512:
        top = linalg.eigh(
            matrix, eigvals_only=True, subset_by_index=[size - 1, size - 1], check_finite=False
        )
    else:
        start = np.random.default_rng(0).standard_normal(size)  # a fixed seed: same data, same bits
        top = eigsh(matrix, k=1, which="LA", v0=start, return_eigenvectors=False)
    return max(float(top[0]), 0.0)


class ColumnsOutOfRange(FloatingPointError):
    """The squares of some columns leave float64: says which, by name where there are names."""

    def __init__(self, columns):
        super().__init__(columns)
        self.columns = columns

    def sentence(self, names):
        """What is wrong and what helps; `names` are those of the columns, as a text."""
        return (
            f"the squares of a column of X overflow or underflow float64 ({names}), and gradient "
            f"descent works in the units of X; standardise X, or use an exact solver, which needs "
            f"no units."
        )

    def __str__(self):
        return self.sentence(", ".join(map(str, self.columns[:10])))


def check_squares(squares, occupied):
    """Raise where the square of a column that is not zero left the range of float64."""
    fine = np.isfinite(squares) & ((squares > 0.0) | ~occupied)
    if not np.all(fine):
        raise ColumnsOutOfRange(np.flatnonzero(~fine[:-1]))


def overflow(name):
    """The sentence about an array whose squares leave float64."""
    return (
        f"The squares of {name} overflow float64 even after scaling its columns; rescale {name} "
        f"to ordinary units."
    )
