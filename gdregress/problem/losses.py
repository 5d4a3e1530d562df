"""Pointwise losses in the linear predictor.

The contract of every loss in this module, with ``n`` rows, ``M`` models and ``K`` outputs:

``y`` : array of shape (n, K) for squares and the sigmoid, (n, 1) class codes for softmax
    The target of a row, the same for every model.
``z`` : float64 array of shape (n, M, K)
    The linear predictor ``z_i = W^T x_i + b``; losses act on its trailing axis.
``value(y, z)`` : shape (n, M)
    ``loss(y_i, z_i)``, finite for every finite ``z``.
``value_and_gradient(y, z)`` : shapes (n, M) and (n, M, K)
    The same value, and ``d loss / d z``: in all three cases the prediction minus the target.
``gradient(y, z)`` : shape (n, K)
    The gradient alone, for z of shape (n, K) (one model), which it may overwrite.
``sum_and_gradient(y, z, sample_weight)`` : shapes (M,) and (n, M, K)
    The weighted sum of the values, and the same gradient: what a pass over the rows needs.
``curvature(z)`` : shape (n, K)
    What the second derivative of each row is made of, for z of shape (n, K) (one model).
``curve(rows, dz)`` : shape (n, M, K)
    The second derivative times changes of z, ``rows`` being what ``curvature`` returned.
``curvature_diagonal(rows)`` : shape (n, K)
    The diagonal of the second derivative of each row.
``best_constant(y, sample_weight, fit_intercept)`` : float
    ``sqrt(2 L)`` of the model without columns: the best constant z, or z = 0 without an intercept.
    The root, for squares of small targets underflow.
``conjugate(y, u)`` : shape (n, M), of the logistic losses
    ``max_z (u^T z - loss(y, z))`` for u between 0 and a gradient: an entropy, negative.
``curvature_bound`` : float
    A number ``c`` with ``d^2 loss / d z^2 <= c I`` for every ``z``.

Weights, means and penalties are the objective's: a loss knows nothing of them.
"""

import math

import numpy as np
from scipy.linalg.blas import dnrm2
from scipy.special import entr, expit, log_expit, logsumexp, softmax

__all__ = ["LogLoss", "SoftmaxLoss", "SquaredLoss"]

_EPS = np.finfo(np.float64).eps


class _Loss:
    """What follows from the value and the gradient of a row."""

    @staticmethod
    def value_at_zero(n_outputs):
        """The value of every row at z = 0 where it is the same for all, else None."""

    def sum_and_gradient(self, y, z, sample_weight):
        """``sum_i s_i loss(y_i, z_i)``, shape (M,), and the gradient of every row, unweighted."""
        value, gradient = self.value_and_gradient(y, z)
        if sample_weight is None:
            return value.sum(axis=0), gradient
        return np.dot(sample_weight, value), gradient


class _Separate(_Loss):
    """Losses whose outputs do not interact: the second derivative of a row is diagonal."""

    is_coupled = False

    @staticmethod
    def curve(rows, dz):
        return rows[:, None, :] * dz

    @staticmethod
    def curvature_diagonal(rows):
        return rows


def _spread(y, sample_weight):
    """``sqrt(sum_i s_i |y_i|^2 / S)``; BLAS scales the norm, so that no square leaves float64."""
    if sample_weight is None:
        return float(dnrm2(y.ravel())) / math.sqrt(len(y))
    root = np.sqrt(sample_weight)
    return float(dnrm2((root[:, None] * y).ravel())) / float(dnrm2(root))


class SquaredLoss(_Separate):
    """``loss(y, z) = 1/2 (z - y)^2``, summed over the targets.

    Gradient ``z - y``, curvature 1: the Hessian does not depend on ``z``, so the objective is
    quadratic and the moments of the data are sufficient for it.
    """

    curvature_bound = 1.0
    is_quadratic = True

    def value(self, y, z):
        residual = z - y[:, None, :]
        return 0.5 * np.einsum("nmk,nmk->nm", residual, residual)

    def value_and_gradient(self, y, z):
        residual = z - y[:, None, :]
        return 0.5 * np.einsum("nmk,nmk->nm", residual, residual), residual

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
    def curvature(z):
        return np.ones_like(z)


class LogLoss(_Separate):
    """``loss(y, z) = log(1 + e^z) - y z`` for y in {0, 1}: binary cross-entropy.

    ``P(y = 1) = sigma(z) = 1 / (1 + e^-z)``; gradient ``sigma(z) - y``; curvature
    ``sigma(z) (1 - sigma(z)) <= 1/4``. Evaluated through the sign ``s = 1 - 2 y`` and
    ``t = s z``, by which the row is on the wrong side: then sigma(t) is the probability of the
    other class, without cancellation, and

        loss = log(1 + e^t),    gradient = s sigma(t),    curvature = sigma(t) sigma(-t).
    """

    curvature_bound = 0.25
    is_quadratic = False

    @staticmethod
    def value_at_zero(n_outputs):
        return math.log(2.0)

    @staticmethod
    def best_constant(y, sample_weight, fit_intercept):
        """From the entropy of the class shares, ``-sum_k q_k log q_k``."""
        share = float(np.average(y[:, 0], weights=sample_weight))
        entropy = float(entr(share) + entr(1.0 - share)) if fit_intercept else math.log(2.0)
        return math.sqrt(2.0 * entropy)

    @staticmethod
    def _signed(y, z):
        """The sign s and ``t = s z``."""
        sign = 1.0 - 2.0 * y[:, None, :]
        return sign, sign * z

    def value(self, y, z):
        # log(1 + e^t) = max(t, 0) + log(1 + e^-|t|), which cannot overflow
        _, t = self._signed(y, z)
        return (np.maximum(t, 0.0) + np.log1p(np.exp(-np.abs(t))))[:, :, 0]

    def value_and_gradient(self, y, z):
        sign, t = self._signed(y, z)
        return self.value(y, z), sign * expit(t)

    def sum_and_gradient(self, y, z, sample_weight):
        """With ``max(sigma, 1 - sigma) = 1 / (1 + e^-|t|)``, one exponential serves both.

        Unweighted, the sum of logarithms is the logarithm of products: one in 512 is taken. A
        factor is at least 1/2, so 512 of them do not underflow. Losses below rounding level,
        1e-16 a row, vanish; :meth:`value` keeps them.
        """
        sign, t = self._signed(y, z)
        gradient = expit(t)
        factor = 1.0 - gradient
        np.maximum(factor, gradient, out=factor)
        gradient *= sign
        value = np.maximum(t, 0.0, out=t)
        if sample_weight is None:
            products = np.multiply.reduceat(factor, np.arange(0, len(z), 512), axis=0)
            return value.sum(axis=(0, 2)) - np.log(products).sum(axis=(0, 2)), gradient
        value -= np.log(factor, out=factor)
        return np.dot(sample_weight, value[:, :, 0]), gradient

    @staticmethod
    def gradient(y, z):
        expit(z, out=z)
        z -= y
        return z

    @staticmethod
    def conjugate(y, u):
        """``p log p + (1 - p) log(1 - p)`` with ``p = y + u``."""
        p = np.clip(y[:, None, :] + u, 0.0, 1.0)
        return -(entr(p) + entr(1.0 - p))[:, :, 0]

    @staticmethod
    def curvature(z):
        """``sigma(z) (1 - sigma(z))``, without cancellation for large ``|z|``."""
        smaller = expit(-np.abs(z))
        return smaller - smaller * smaller

    @staticmethod
    def probabilities(z):
        """Class probabilities, shape (n, 2), of decision values ``z`` of shape (n, 1)."""
        return np.hstack([expit(-z), expit(z)])

    @staticmethod
    def log_probabilities(z):
        """Logarithms of :meth:`probabilities`, finite where the probability underflows."""
        return np.hstack([log_expit(-z), log_expit(z)])


class SoftmaxLoss(_Loss):
    """``loss(y, z) = log sum_k e^(z_k) - z_y`` for y in {0, ..., K - 1}: cross-entropy.

    ``P(y = k) = softmax(z)_k``; gradient ``softmax(z) - onehot(y)``; curvature
    ``diag(p) - p p^T <= 1/2 I`` (Böhning 1992, "Multinomial logistic regression algorithm").
    Adding a constant to all outputs changes nothing (the gauge).
    """

    curvature_bound = 0.5
    is_quadratic = False
    is_coupled = True

    @staticmethod
    def value_at_zero(n_outputs):
        return math.log(n_outputs)

    @staticmethod
    def best_constant(y, sample_weight, fit_intercept):
        """From the entropy of the class shares, ``-sum_k q_k log q_k``."""
        share = np.bincount(y[:, 0], weights=sample_weight)
        share = share / share.sum()
        entropy = float(entr(share).sum()) if fit_intercept else math.log(len(share))
        return math.sqrt(2.0 * entropy)

    def value(self, y, z):
        return self.value_and_gradient(y, z)[0]

    def value_and_gradient(self, y, z):
        gradient = z - z.max(axis=2, keepdims=True)
        own = np.arange(len(z))[:, None], np.arange(z.shape[1]), y
        linear = gradient[own]
        np.exp(gradient, out=gradient)
        total = gradient.sum(axis=2, keepdims=True)
        gradient /= total
        gradient[own] -= 1.0
        return np.log(total[:, :, 0]) - linear, gradient

    @staticmethod
    def gradient(y, z):
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        z[np.arange(len(z)), y[:, 0]] -= 1.0
        return z

    @staticmethod
    def conjugate(y, u):
        """``sum_k p_k log p_k`` with ``p = onehot(y) + u``."""
        p = u.copy()
        p[np.arange(len(u))[:, None], np.arange(u.shape[1]), y] += 1.0
        return -entr(np.maximum(p, 0.0)).sum(axis=2)

    @staticmethod
    def curvature(z):
        """The probabilities p, of which ``diag(p) - p p^T`` is made."""
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return p

    @staticmethod
    def curve(rows, dz):
        p = rows[:, None, :]
        return p * (dz - (p * dz).sum(axis=2, keepdims=True))

    @staticmethod
    def curvature_diagonal(rows):
        return rows * (1.0 - rows)

    @staticmethod
    def probabilities(z):
        """Class probabilities, shape (n, K), of decision values ``z`` of shape (n, K)."""
        return softmax(z, axis=1)

    @staticmethod
    def log_probabilities(z):
        """Logarithms of :meth:`probabilities`, finite where the probability underflows."""
        return z - logsumexp(z, axis=1, keepdims=True)
