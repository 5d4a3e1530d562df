"""The elastic net: its value, the gradient of its smooth part, its proximal step."""

import copy

import numpy as np

__all__ = ["ElasticNet"]


class ElasticNet:
    """``alpha * (l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2)``; the intercept is spared.

    Parameters
    ----------
    alpha : float or array of shape (n_models,)
        Strength of the penalty, >= 0; of each model its own.
    l1_ratio : float or array of shape (n_models,)
        Share of the L1 part, in [0, 1].

    Attributes
    ----------
    l1, l2 : float or array of shape (n_models,)
        ``alpha * l1_ratio`` and ``alpha * (1 - l1_ratio)``.
    has_l1, has_l2 : bool
        Whether those are there at all.

    Notes
    -----
    ``theta`` has shape (n_features + 1, n_models, n_outputs), its last row the intercept, which
    is never penalised. Zou & Hastie (2005), "Regularization and variable selection via the
    elastic net".
    """

    def __init__(self, alpha=0.0, l1_ratio=0.0):
        self.l1, self.l2 = _strength(alpha * l1_ratio), _strength(alpha * (1.0 - l1_ratio))
        self.has_l1, self.has_l2 = bool(np.any(self.l1)), bool(np.any(self.l2))
        self._scale = None  # theta[:-1] / _scale are the coefficients of the original columns

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
        value = self.l1_value(theta)
        if self.has_l2:
            # alpha w^2, where w^2 alone might underflow or overflow
            root = _by_model(np.sqrt(self.l2)) * self._coef(theta)
            value += 0.5 * np.einsum("jmk,jmk->m", root, root)
        return value

    def l1_value(self, theta):
        """The part of :meth:`value` that has no gradient, shape (n_models,)."""
        if not self.has_l1:
            return np.zeros(theta.shape[1])
        return self.l1 * np.abs(self._coef(theta)).sum(axis=(0, 2))

    def add_gradient(self, theta, gradient):
        """Add the gradient of the smooth part, ``alpha (1 - l1_ratio) W``, in place."""
        if self.has_l2:
            coef = self._coef(theta)
            coef = coef if self._scale is None else coef / self._scale
            gradient[:-1] += _by_model(self.l2) * coef
        return gradient

    def curvature(self, shape):
        """The diagonal of its Hessian, of the given shape: (n_features + 1, n_outputs), or with
        the axis of the models, (n_features + 1, n_models, n_outputs)."""
        curvature = np.zeros(shape)
        if not self.has_l2:
            return curvature
        curvature[:-1] = _by_model(self.l2)
        if self._scale is not None:
            scale = self._scale if len(shape) == 3 else self._scale[:, 0]
            root = np.clip(_by_model(np.sqrt(self.l2)) / scale, 1e-150, 1e150)
            curvature[:-1] = np.where(_by_model(self.l2) > 0.0, root**2, 0.0)
        return curvature

    def proximal(self, theta, step):
        """``argmin_u 1/2 |u - theta|^2 + step * l1 * |u|_1``: soft thresholding.

        Shrinks every coefficient towards zero by ``step * alpha * l1_ratio`` and stops at
        exactly zero. `step` is a number or an array that broadcasts against ``theta``
        (Beck & Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm").
        """
        if not self.has_l1:
            return theta
        threshold = np.broadcast_to(step * _by_model(self.l1), theta.shape)[:-1]
        if self._scale is not None:
            threshold = threshold / self._scale
        coef = theta[:-1]
        shrunk = theta.copy()
        shrunk[:-1] = np.sign(coef) * np.maximum(np.abs(coef) - threshold, 0.0)
        return shrunk


def _strength(value):
    """A number, or one of each model."""
    return float(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float64)


def _by_model(strength):
    """A strength that broadcasts against (n_features, n_models, n_outputs)."""
    return strength[:, None] if isinstance(strength, np.ndarray) else strength
