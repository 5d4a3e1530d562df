"""Penalties of the coefficients: a ridge, and a part without a gradient that has a proximal step.

    penalty(W) = l2 / 2 |W|_2^2 + r(W)

The contract of every penalty in this module, for theta of shape (n_features + 1, M, n_outputs), the
last row of which, the intercept, is never penalised:

``value(theta)`` : shape (M,)
    The penalty of each model.
``rough_value(theta)`` : shape (M,)
    ``r(W)``, the part that has no gradient.
``add_gradient(theta, gradient)``, ``curvature(shape)``
    Of the ridge: its gradient, added in place; the diagonal of its Hessian.
``proximal(theta, step)`` : shape of theta
    ``argmin_u 1/2 |u - theta|^2 + step r(u)``; theta itself where there is no r. `step` is a number
    or an array that broadcasts against theta.
``least_subgradient(theta, gradient)`` : shape of theta
    The smallest subgradient of the objective, `gradient` being that of all but r: zero at an
    optimum, and nowhere else.
``in_frame(frame)``
    The same penalty as a function of theta of a frame.

What a penalty declares of itself, for solvers to ask:

``is_smooth`` : bool
    Whether there is no r.
``is_separable`` : bool
    Whether r is a sum over the coefficients, so that its proximal step is as easy in columns that
    are scaled each by its own number.
``l1``, ``l2`` : float or array of shape (M,)
    The strengths of an L1 norm and of the ridge, of each model its own; 0 where there is none.
``has_l2`` : bool
    Whether there is a ridge at all.

A new penalty is one class: of :class:`Penalty`, which is the ridge, it needs ``rough_value``,
``proximal``, ``least_subgradient`` and what it declares; its text stands in errors.
"""

import copy
import math

import numpy as np

__all__ = ["ElasticNet", "Penalty"]


class Penalty:
    """The ridge ``l2 / 2 |W|_2^2``, none by default; see the module for the contract.

    Parameters
    ----------
    l2 : float or array of shape (n_models,), default=0.0
        Its strength, >= 0.
    """

    is_smooth = is_separable = True
    l1 = 0.0
    # What a user sets to have no rough part, for errors.
    smooth_with: str | None = None

    def __init__(self, l2=0.0):
        self.l2 = _strength(l2)
        self.has_l2 = _is_any(self.l2)
        # Of every model, to broadcast against (n_features, n_models, n_outputs).
        self._l2 = self.l2 if isinstance(self.l2, float) else self.l2[:, None]
        self._root = math.sqrt(self._l2) if isinstance(self.l2, float) else np.sqrt(self._l2)
        self._scale = None  # theta[:-1] / _scale are the coefficients of the original columns

    def __str__(self):
        return type(self).__name__

    @property
    def kind(self):
        """What it is called in a sentence."""
        return type(self).__name__

    def in_frame(self, frame):
        """The same penalty as a function of theta of `frame`."""
        if not frame.is_scaled:
            return self
        framed = copy.copy(self)
        framed._scale = frame.scale[:, None, None]
        return framed

    def _coef(self, theta):
        return theta[:-1] if self._scale is None else theta[:-1] / self._scale

    def value(self, theta):
        """The penalty of each model, shape (n_models,)."""
        value = np.zeros(theta.shape[1]) if self.is_smooth else self.rough_value(theta)
        if self.has_l2:
            # alpha w^2, where w^2 alone might underflow or overflow
            root = self._root * self._coef(theta)
            is_one = theta.shape[1] == 1
            square = np.vdot(root, root) if is_one else np.einsum("jmk,jmk->m", root, root)
            value += 0.5 * square
        return value

    def rough_value(self, theta):
        """The part of :meth:`value` that has no gradient, shape (n_models,)."""
        return np.zeros(theta.shape[1])

    def add_gradient(self, theta, gradient):
        """Add the gradient of the ridge, ``l2 W``, in place."""
        if self.has_l2:
            coef = self._coef(theta)
            coef = coef if self._scale is None else coef / self._scale
            gradient[:-1] += self._l2 * coef
        return gradient

    def curvature(self, shape):
        """The diagonal of its Hessian, of the given shape: (n_features + 1, n_outputs), or with
        the axis of the models, (n_features + 1, n_models, n_outputs)."""
        curvature = np.zeros(shape)
        if not self.has_l2:
            return curvature
        curvature[:-1] = self._l2
        if self._scale is not None:
            scale = self._scale if len(shape) == 3 else self._scale[:, 0]
            root = np.clip(self._root / scale, 1e-150, 1e150)
            curvature[:-1] = np.where(self._l2 > 0.0, root**2, 0.0)
        return curvature

    def proximal(self, theta, step):
        """Theta itself: there is nothing rough."""
        return theta

    def least_subgradient(self, theta, gradient):
        """The gradient itself: there is nothing rough."""
        return gradient


class ElasticNet(Penalty):
    """``alpha * (l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2)``; the intercept is spared.

    Parameters
    ----------
    alpha : float or array of shape (n_models,)
        Strength of the penalty, >= 0; of each model its own.
    l1_ratio : float or array of shape (n_models,)
        Share of the L1 part, in [0, 1].

    Notes
    -----
    Zou & Hastie (2005), "Regularization and variable selection via the elastic net".
    """

    smooth_with, kind = "l1_ratio=0", "an L1 penalty"

    def __init__(self, alpha=0.0, l1_ratio=0.0):
        super().__init__(alpha * (1.0 - l1_ratio))
        self.l1 = _strength(alpha * l1_ratio)
        self.is_smooth = not _is_any(self.l1)
        self._alpha, self._l1_ratio = alpha, l1_ratio

    def __str__(self):
        told = f"alpha={_strength(self._alpha)!r}, l1_ratio={_strength(self._l1_ratio)!r}"
        return f"the L1 part of the penalty ({told})"

    def rough_value(self, theta):
        """``l1 |W|_1`` of each model."""
        if self.is_smooth:
            return np.zeros(theta.shape[1])
        return self.l1 * np.abs(self._coef(theta)).sum(axis=(0, 2))

    def proximal(self, theta, step):
        """``argmin_u 1/2 |u - theta|^2 + step * l1 * |u|_1``: soft thresholding.

        Shrinks every coefficient towards zero by ``step * alpha * l1_ratio`` and stops at
        exactly zero (Beck & Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm").
        """
        if self.is_smooth:
            return theta
        threshold = np.broadcast_to(step * _by_model(self.l1), theta.shape)[:-1]
        if self._scale is not None:
            threshold = threshold / self._scale
        coef = theta[:-1]
        shrunk = theta.copy()
        shrunk[:-1] = np.sign(coef) * np.maximum(np.abs(coef) - threshold, 0.0)
        return shrunk

    def least_subgradient(self, theta, gradient):
        """``g_j + l1 sign(w_j)``, and ``sign(g_j) max(|g_j| - l1, 0)`` where w_j is zero."""
        if self.is_smooth:
            return gradient
        threshold = _by_model(self.l1)
        if self._scale is not None:
            threshold = threshold / self._scale
        v, coef = gradient.copy(), theta[:-1]
        rest = np.sign(v[:-1]) * np.maximum(np.abs(v[:-1]) - threshold, 0.0)
        v[:-1] = np.where(coef == 0.0, rest, v[:-1] + threshold * np.sign(coef))
        return v


def _strength(value):
    """A number, or one of each model."""
    is_one = isinstance(value, float) or np.ndim(value) == 0
    return float(value) if is_one else np.asarray(value, dtype=np.float64)


def _is_any(strength):
    """Whether there is a penalty, of any model."""
    return bool(strength.any() if isinstance(strength, np.ndarray) else strength)


def _by_model(strength):
    """A strength that broadcasts against (n_features, n_models, n_outputs)."""
    return strength[:, None] if isinstance(strength, np.ndarray) else strength
