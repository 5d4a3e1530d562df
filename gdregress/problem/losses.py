"""Pointwise losses in the linear predictor.

The contract of every loss, of squares here and of classes in ``class_losses``, with ``n`` rows,
``M`` models and ``K`` outputs:

``y`` : array of shape (n, K) for squares and the sigmoid, (n, 1) class codes for softmax
    The target of a row, the same for every model.
``z`` : float64 array of shape (n, M, K)
    The linear predictor ``z_i = W^T x_i + b``; losses act on its trailing axis.
``value(y, z)`` : shape (n, M)
    ``loss(y_i, z_i) >= 0``, convex in z. Infinite only where it leaves float64.
``value_and_gradient(y, z)`` : shapes (n, M) and (n, M, K)
    The same value, and ``d loss / d z``: of the package's losses the prediction minus the target.
``gradient(y, z)`` : shape of z
    The gradient alone, in as few calls as it takes: z of shape (n, K) (one model), or (n, M, K)
    and y with an axis for the models; it may overwrite z.
``sum_and_gradient(y, z, sample_weight)`` : shapes (M,) and (n, M, K)
    The weighted sum of the values, and the same gradient: what a pass over the rows needs.
``of_batch(y, z, sample_weight)`` : a number, an array of shape (n, K), a function
    Of few rows and one model, in as few calls as it takes: what the weighted sum of the values is
    at least, the gradient, and the sum, for those who need it. z of shape (n, K), which it may
    overwrite.
``best_constant(y, sample_weight, fit_intercept)`` : float
    ``sqrt(2 L)`` of the model without columns: the best constant z, or z = 0 without an intercept.
    The root, for squares of small targets underflow.
``value_at_zero(n_outputs)`` : float or None
    The value of every row at z = 0 where it is the same for all.
``typical_curvature(y, sample_weight, fit_intercept)`` : float
    A yardstick where the curvature has no bound: its mean at the best constant z.

What only some losses have, for solvers to ask (``hasattr``):

``curvature(y, z)`` : shape (n, M, K)
    What the second derivative of each row is made of; Newton's method needs it. What it is read by:
``sum_gradient_and_curvature(y, z, sample_weight)``
    What ``sum_and_gradient`` and ``curvature`` return: what Newton's method needs of a pass.
``slope(y, z, dz, sample_weight)`` : two numbers
    The first and second derivative along dz of the weighted sum over the rows, of one model: what
    the length of a step needs.
``curve(rows, dz)`` : shape (n, M, K)
    The second derivative times changes of z, `rows` being what ``curvature`` returned, of one model
    or of M.
``curvature_diagonal(rows)`` : shape of rows
    The diagonal of the second derivative of each row.
``hessian(design, rows, sample_weight)`` : shape (q, q)
    ``sum_i s_i (d^2 loss_i / dz^2) kron x_i x_i^T`` of one model, x_i with its one, in the order of
    ``theta.ravel()``.
``margin(y, z)`` : shape (n, M), where y are classes
    What the class of a row has over the best other one in z: whether classes separate.
``rival(y, z)`` : shape (n, M), with a margin
    The least probability of a class that is not that of the row.
``probabilities(z)``, ``log_probabilities(z)`` : shape (n, n_classes), z of one model (n, K)
    Of the classes, for a classifier to predict.
``conjugate(y, u)`` : shape (n, M)
    ``max_z (u^T z - loss(y, z))`` for u between 0 and a gradient: duality gaps.
``least_curvature(y, z, radius)`` : as ``curvature``
    What the curvature is at least while no part of z moves by more than a radius: certificates of
    losses whose curvature jumps.

What a loss declares of itself:

``curvature_bound`` : float or None
    A number c with ``d^2 loss / d z^2 <= c I`` for every z; None where there is none.
``is_quadratic``, ``is_coupled`` : bool
    Whether the second derivative is constant; whether it couples the outputs.
``has_gauge`` : bool
    Whether adding a constant to all outputs changes nothing.
``self_concordance`` : float or None, and ``moves(dz)`` : shape (n, M)
    A number nu with ``|F'''| <= nu max_i |moves_i| F''`` along any line, None where none is known;
    and how far a change of z moves a row: its largest part, or with a gauge the range of its parts.

A new loss is one class: of :class:`Separate`, where outputs do not interact, it needs ``value`` and
``gradient``, ``curvature`` for Newton's method, and what it declares.

Weights, means and penalties are the objective's: a loss knows nothing of them.
"""

import math

import numpy as np
from scipy.linalg.blas import dnrm2
from scipy.optimize import brentq

from ..rows.design import weigh

__all__ = ["Loss", "Separate", "SquaredLoss"]

_EPS = np.finfo(np.float64).eps
# A constant is looked for up to here.
_FAR = 2.0**512


class Loss:
    """What follows from the value, the gradient and the curvature of a row; see the module."""

    curvature_bound: float | None = None
    self_concordance: float | None = None
    is_quadratic = has_gauge = False

    @staticmethod
    def value_at_zero(n_outputs):
        return None

    def best_constant(self, y, sample_weight, fit_intercept):
        """Where no constant leaves a loss, there is nothing to compare with but the loss at 0."""
        z = np.zeros((len(y), 1, y.shape[1]))
        at_zero = np.average(self.value(y, z)[:, 0], weights=sample_weight)
        least = at_zero
        if fit_intercept:
            z += self._constant(y, sample_weight)
            least = np.average(self.value(y, z)[:, 0], weights=sample_weight)
        return math.sqrt(2.0 * float(least if least > 8.0 * _EPS * at_zero else at_zero))

    def typical_curvature(self, y, sample_weight, fit_intercept):
        """The mean curvature at the best constant z; 1 where there is none."""
        if not hasattr(self, "curvature"):
            return 1.0
        z = np.zeros((len(y), 1, y.shape[1]))
        z += self._constant(y, sample_weight) if fit_intercept else 0.0
        rows = self.curvature_diagonal(self.curvature(y, z))[:, 0].mean(axis=1)
        return float(np.average(rows, weights=sample_weight)) or 1.0

    def _constant(self, y, sample_weight):
        """The z of the best constant model of outputs that do not interact, shape (K,).

        The mean gradient of an output rises with z: its zero is bracketed by doubling, and is the
        last z tried where there is none (all counts are zero).
        """

        def pull(z, k):
            at = np.zeros_like(y)
            at[:, k] = z
            return float(np.average(self.gradient(y, at)[:, k], weights=sample_weight))

        constant = np.zeros(y.shape[1])
        for k in range(y.shape[1]):
            at_zero = pull(0.0, k)
            low, high = 0.0, -math.copysign(1.0, at_zero)
            while at_zero * pull(high, k) > 0.0 and abs(high) < _FAR:
                low, high = high, 2.0 * high
            found = at_zero * pull(high, k) < 0.0
            constant[k] = brentq(pull, low, high, args=(k,)) if found else high
        return constant

    def value_and_gradient(self, y, z):
        return self.value(y, z), self.gradient(y[:, None], z.copy())

    def sum_and_gradient(self, y, z, sample_weight):
        """``sum_i s_i loss(y_i, z_i)``, shape (M,), and the gradient of every row, unweighted."""
        value, gradient = self.value_and_gradient(y, z)
        if sample_weight is None:
            return value.sum(axis=0), gradient
        return np.dot(sample_weight, value), gradient

    def sum_gradient_and_curvature(self, y, z, sample_weight):
        return *self.sum_and_gradient(y, z, sample_weight), self.curvature(y, z)

    def slope(self, y, z, dz, sample_weight):
        _, gradient, rows = self.sum_gradient_and_curvature(y, z, None)
        along = weigh(dz, sample_weight)
        return np.vdot(gradient, along), np.vdot(self.curve(rows, dz), along)

    def of_batch(self, y, z, sample_weight):
        """:meth:`sum_and_gradient` of few rows and one model."""
        totals, gradient = self.sum_and_gradient(y, z[:, None], sample_weight)
        total = float(totals[0])
        return total, gradient[:, 0], lambda: total

    @staticmethod
    def moves(dz):
        return np.maximum.reduce(np.abs(dz), axis=2)


class Separate(Loss):
    """Losses whose outputs do not interact: the second derivative of a row is diagonal."""

    is_coupled = False

    @staticmethod
    def curve(rows, dz):
        return rows * dz

    @staticmethod
    def curvature_diagonal(rows):
        return rows

    @staticmethod
    def hessian(design, rows, sample_weight):
        """Block-diagonal: a Gram matrix for each output."""
        weights = weigh(rows[:, 0], sample_weight)
        if weights.shape[1] == 1:
            return _gram(design, weights[:, 0])
        blocks = [design.gram(weight) for weight in weights.T]
        n_outputs, size = len(blocks), len(blocks[0])
        out = np.zeros((size, n_outputs, size, n_outputs))
        for k, block in enumerate(blocks):
            out[:, k, :, k] = block
        return out.reshape(size * n_outputs, size * n_outputs)


def _gram(design, weight):
    """``sum_i w_i x_i x_i^T``; where all rows weigh alike, as at theta = 0, without a copy."""
    if weight[0] == weight[-1] > 0.0 and (weight == weight[0]).all():
        return weight[0] * design.gram()
    return design.gram(weight)


def _spread(y, sample_weight):
    """``sqrt(sum_i s_i |y_i|^2 / S)``; BLAS scales the norm, so that no square leaves float64."""
    if sample_weight is None:
        return float(dnrm2(y.ravel())) / math.sqrt(len(y))
    root = np.sqrt(sample_weight)
    return float(dnrm2((root[:, None] * y).ravel())) / float(dnrm2(root))


class SquaredLoss(Separate):
    """``loss(y, z) = 1/2 (z - y)^2``, summed over the targets.

    Gradient ``z - y``, curvature 1: the Hessian does not depend on ``z``, so the objective is
    quadratic and the moments of the data are sufficient for it.
    """

    curvature_bound = 1.0
    self_concordance = 0.0
    is_quadratic = True

    def value(self, y, z):
        residual = z - y[:, None, :]
        return 0.5 * np.einsum("nmk,nmk->nm", residual, residual)

    def value_and_gradient(self, y, z):
        residual = z - y[:, None, :]
        return 0.5 * np.einsum("nmk,nmk->nm", residual, residual), residual

    @staticmethod
    def of_batch(y, z, sample_weight):
        z -= y
        weighed = z if sample_weight is None else z * sample_weight[:, None]
        total = 0.5 * float(np.vdot(weighed, z))
        return total, z, lambda: total

    @staticmethod
    def best_constant(y, sample_weight, fit_intercept):
        """The spread of y, ``sqrt(sum_i s_i |y_i - mean y|^2 / S)``; of a constant y its size.

        A constant model fits a constant y exactly, and no column has anything to add: what is left
        to compare with is the size of y itself.
        """
        size = _spread(y, sample_weight)
        if not fit_intercept:
            return size
        centre = np.average(y, axis=0, weights=sample_weight)
        spread = _spread(y - centre, sample_weight)
        return spread if spread > 8.0 * _EPS * size else size

    @staticmethod
    def gradient(y, z):
        z -= y
        return z

    @staticmethod
    def curvature(y, z):
        return np.ones_like(z)
