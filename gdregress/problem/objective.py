"""Objectives over rows: what a solver minimises. Here are 1/S, the penalty and the intercept.

    L(theta) = 1/S sum_i s_i loss(y_i, z_i) + penalty(W),    z_i = W^T x_i + b

This objective and that of ``quadratic``, from moments, have the same face, so that solvers do not
know which one they have:

``shape`` : (n_features + 1, n_outputs), that of one model; theta is (n_features + 1, M, n_outputs)
``penalty``, ``fit_intercept``
    As they were given.
``is_quadratic``, ``curvature_bound``, ``curvature_scale``
    Of the loss; the last is its bound, or where it has none a typical curvature.
``at(theta)`` : Evaluation
    The loss, the gradient of its smooth part (all but the rough part of the penalty) and the
    Hessian at one point, on demand and once; see ``evaluation``. Its passes over the data are
    methods, too:
    ``value``, ``value_and_gradient``, ``expansion``, ``hessian``, ``hessian_at`` and
    ``curved_expansion``.
``bound`` : object
    The bound ``c/S [X 1]^T diag(s) [X 1] + alpha (1 - l1_ratio) diag(1, ..., 1, 0)`` of the Hessian
    at every theta (c is 1 for squares, 1/4 and 1/2 for the logistics; of losses that declare one):
    ``bound.diagonal``, of shape (n_features + 1, 1, 1), and ``bound.norm``, its largest eigenvalue.
``reach`` : float
    ``sqrt(2 L)`` of the best constant model: what a fit can gain, and a yardstick for what it
    leaves.
``floor`` : float
    A part of every loss that no theta changes, where it is known; 0 else.
``column_centres()`` : two arrays of shape (n_features,)
    The weighted mean of each column, zero without an intercept, and the mean square around it.
``centred_gram`` : a frame, and arrays of shape (n_features,) and (n_features, n_features)
    The means and ``1/S sum_i s_i (x~_i - mean)(x~_i - mean)^T`` of the columns in the frame.

An intercept that is not fitted is a coordinate with gradient zero: it stays where it starts.
"""

from functools import cached_property

import numpy as np
from scipy.linalg.blas import daxpy

from ..rows.columns import FrameChoice, keep_digits
from ..rows.kernels import ColumnMoments
from ..rows.sampling import sample_rows
from .evaluation import Evaluation
from .hessians import AppliedHessian, ridge_of
from .kernels import (
    BatchGradient,
    BatchLossGradient,
    BatchValue,
    CurvedExpansion,
    Expansion,
    ExpansionBeside,
    Hessian,
    LeastHessian,
    LossGradient,
    LossValue,
    RowCurvature,
    Slope,
)
from .moments import CentredMoments
from .smoothness import HessianBound

__all__ = ["BlockObjective"]

_EPS = np.finfo(np.float64).eps


class BlockObjective:
    """The objective of the module, as reductions over row blocks.

    Parameters
    ----------
    blocks : RowBlocks
        In the frame of theta.
    loss : object
        A loss of ``losses``.
    penalty : Penalty
        One of ``penalty``: that of the coefficients of the original columns, as a function of
        theta.
    n_outputs : int
    fit_intercept : bool
    """

    def __init__(self, blocks, loss, penalty, n_outputs, *, fit_intercept=True):
        self.blocks, self.loss, self.penalty = blocks, loss, penalty
        self.fit_intercept = fit_intercept
        self.shape = (blocks.frame.n_columns + 1, n_outputs)
        self.basis = None  # of the rows in the frame, once it was asked for; see ``basis``

    @property
    def frame(self):
        """The coordinates of theta."""
        return self.blocks.frame

    _value = cached_property(lambda self: LossValue(self.loss))
    _gradient = cached_property(lambda self: LossGradient(self.loss))
    _expansion = cached_property(lambda self: Expansion(self.loss))
    _slope = cached_property(lambda self: Slope(self.loss))
    _batch_value = cached_property(lambda self: BatchValue(self.loss))
    _batch_gradient = cached_property(lambda self: BatchGradient(self.loss))
    _batch_loss_gradient = cached_property(lambda self: BatchLossGradient(self.loss))

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
    def curvature_scale(self):
        """The bound of the curvature, or else its mean at the best constant model: a yardstick."""
        if self.curvature_bound is not None:
            return self.curvature_bound
        blocks = self.blocks
        return self.loss.typical_curvature(blocks.y, blocks.sample_weight, self.fit_intercept)

    @cached_property
    def reach(self):
        blocks = self.blocks
        return self.loss.best_constant(blocks.y, blocks.sample_weight, self.fit_intercept)

    def in_frame(self, frame):
        """The same objective, as a function of theta of `frame`."""
        if frame is self.frame:
            return self
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

    def value_and_gradient(self, theta):
        return self._mean(theta, *self.blocks.reduce(self._gradient, theta))

    def _mean(self, theta, total, gradient):
        """The means of sums over the rows, with the penalty's part."""
        gradient /= self.total_weight
        if not self.fit_intercept:
            gradient[-1] = 0.0
        loss = total / self.total_weight
        if self.penalty.has_l2 or not self.penalty.is_smooth:
            loss += self.penalty.value(theta)
            self.penalty.add_gradient(theta, gradient)
        return loss, gradient

    def batch_gradient(self, batch, theta):
        """Gradient over a mini-batch: its mean over draws of the batch is the full gradient.

        ``1/b sum_{i in batch} (m s_i / S) grad loss_i``, the penalty in full.
        """
        gradient = self._batch_gradient(batch, theta)
        gradient *= self._rows_per_weight / batch.rows.shape[0]
        if not self.fit_intercept:
            gradient[-1] = 0.0
        if self.penalty.has_l2:
            gradient += self._ridge * theta
        return gradient

    def batch_value_and_gradient(self, batch, theta):
        """What :meth:`batch_value` is at least, :meth:`batch_gradient`, and the value, for those
        who need it: of one model, a number, a vector and a function, from one product with the
        rows. theta is a vector, in the order of ``theta.ravel()``, and the penalty smooth."""
        least, gradient, total = self._batch_loss_gradient(batch, theta)
        share, has_ridge = self._rows_per_weight / batch.rows.shape[0], self.penalty.has_l2
        if has_ridge:  # l2 W
            gradient = daxpy(gradient, self._flat_ridge * theta, a=share)
        else:
            gradient *= share
        if not self.fit_intercept:
            gradient[-self.shape[1] :] = 0.0

        def value():
            mean = share * total()  # 1/2 l2 |W|^2
            return mean + 0.5 * float((self._flat_ridge * theta).dot(theta)) if has_ridge else mean

        return share * least, gradient, value

    def batch_value(self, batch, theta):
        """The loss whose gradient :meth:`batch_gradient` is, penalty included, shape (M,)."""
        mean = self._batch_value(batch, theta) * self._rows_per_weight / batch.rows.shape[0]
        return mean + self.penalty.value(theta)

    @cached_property
    def _rows_per_weight(self):
        return self.blocks.n_samples / self.total_weight

    @cached_property
    def _flat_ridge(self):
        return self._ridge.ravel()

    @cached_property
    def _ridge(self):
        """The diagonal of the penalty's Hessian, in the shape of theta."""
        return ridge_of(self.penalty, self.shape)

    def hessian(self, theta):
        """The Hessian at theta (one model), (q, q) in the order of ``theta.ravel()``.

        An intercept that is not fitted has a unit diagonal, so that the matrix is regular.
        """
        return self._regular(self.blocks.reduce(Hessian(self.loss), theta))

    def hessian_of_rows(self, theta, rows):
        """What some rows contribute to the Hessian at theta, the penalty left out."""
        hessian = self.blocks.subset(rows, None).reduce(Hessian(self.loss), theta)
        if not self.fit_intercept:
            n_outputs = self.shape[1]
            hessian[-n_outputs:] = hessian[:, -n_outputs:] = 0.0
        return hessian / self.total_weight

    def slope(self, theta, direction):
        """First and second derivative at theta of the objective along a direction (one model)."""
        first, second = self.blocks.reduce(self._slope, theta, direction) / self.total_weight
        bent = self._ridge * direction
        return float(first + np.vdot(bent, theta)), float(second + np.vdot(bent, direction))

    def expansion_beside(self, theta, step, size):
        """:meth:`expansion` without the rows that a step moves by more than a size."""
        kernel = ExpansionBeside(self.loss, size)
        total, gradient, hessian = self.blocks.reduce(kernel, theta, step)
        return *self._mean(theta, total, gradient), self._regular(hessian)

    def least_hessian(self, theta, radius):
        """What the Hessian is at least, wherever no row moves by more than `radius` from theta."""
        return self._regular(self.blocks.reduce(LeastHessian(self.loss), theta, radius))

    def expansion(self, theta):
        """:meth:`value_and_gradient` and :meth:`hessian` at theta (one model), in one pass."""
        total, gradient, hessian = self.blocks.reduce(self._expansion, theta)
        return *self._mean(theta, total, gradient), self._regular(hessian)

    def _regular(self, hessian):
        """The mean of a sum of Hessians of the rows, with the penalty's."""
        hessian /= self.total_weight
        n_outputs, curvature = self.shape[1], self._ridge.ravel()
        if not self.fit_intercept:
            hessian[-n_outputs:] = hessian[:, -n_outputs:] = 0.0
            curvature = np.append(curvature[:-n_outputs], np.ones(n_outputs))
        hessian.flat[:: len(hessian) + 1] += curvature
        return hessian

    def hessian_at(self, theta):
        """The Hessian at theta, never formed; see ``hessians``."""
        if self.is_quadratic:  # the same at every theta: no need of the rows
            z = np.zeros((self.blocks.n_samples, 1, self.shape[1]))
            return AppliedHessian(self, self.loss.curvature(self.blocks.y, z))
        rows = self.blocks.reduce(RowCurvature(self.loss), theta)
        return AppliedHessian(self, np.concatenate(rows))

    def curved_expansion(self, theta):
        """:meth:`value_and_gradient` and :meth:`hessian_at` at theta, in one pass."""
        total, gradient, rows = self.blocks.reduce(CurvedExpansion(self.loss), theta)
        return *self._mean(theta, total, gradient), AppliedHessian(self, np.concatenate(rows))

    def column_centres(self):
        return self._column_centres

    @cached_property
    def _column_centres(self):
        """Of a pass or two: the units of the columns and the gap ask for them both."""
        if "centred_gram" in vars(self):  # they are in it
            frame, mean, gram = self.centred_gram
            return frame.shift + frame.scale * mean, gram.diagonal() * frame.scale**2
        first, second = self._moments_in(self.frame)
        frame = self.frame if keep_digits(first, second) else self.frames.sampled()
        if frame is not self.frame and not (frame.is_identity and self.frame.is_identity):
            first, second = self._moments_in(frame)
        mean = first if self.fit_intercept else np.zeros_like(first)
        variance = second - mean * mean
        variance[variance <= 8.0 * _EPS * second] = 0.0  # the rounding of a constant column
        return frame.shift + frame.scale * mean, variance * frame.scale**2

    def _moments_in(self, frame):
        """The means and the mean squares of the columns in a frame."""
        with np.errstate(all="ignore"):
            return self.blocks.in_frame(frame).reduce(ColumnMoments()) / self.total_weight

    @cached_property
    def bound(self):
        """The bound of the Hessian, and what follows from it; see ``smoothness``."""
        return HessianBound(self)

    @cached_property
    def frames(self):
        """The choice of a frame for the rows."""
        return FrameChoice(self.blocks, allow_shift=self.fit_intercept)

    @cached_property
    def centred_gram(self):
        """The frame, the means and ``1/S sum_i s_i (x~_i - mean)(x~_i - mean)^T`` of the columns
        there, by a pass over the rows."""
        blocks = self.blocks
        blocks = blocks.with_y(np.zeros((blocks.n_samples, 1)))
        moments = CentredMoments.of(blocks, self.fit_intercept)
        return moments.frame, moments.mean_x, moments.gram / moments.total_weight

    def sampled(self, n_rows):
        """The objective on a sample of about `n_rows` rows, and a share c of all that it is.

        See :func:`~gdregress.rows.sampling.sample_rows`. Weights are divided by the
        probabilities of the rows, which makes the sample an unbiased likeness; the Hessian of all
        rows is at least c times that of the sample.
        """
        n_classes = max(2, self.shape[1]) if hasattr(self.loss, "margin") else None
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
