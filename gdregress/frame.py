"""The frame: column shifts and power-of-two scales, and the maps between the two coordinates.

With shift c and scale d, the columns are ``x~ = (x - c) / d`` and the same linear predictor is

    z = x^T w + b = x~^T w~ + b~,    w~ = d w,    b~ = b + c^T w.

A loss is a function of z, so its value is the same in both coordinates, and gradients map by the
transposed Jacobian: ``dL/dw = d dL/dw~ + c dL/db~``, ``dL/db = dL/db~``. Scales are powers of
two: scaling rounds nothing. Moments and Hessians stay in the frame; only theta comes out.
"""

import numpy as np

__all__ = ["Frame"]

# Squares of columns within these bounds neither overflow nor lose digits when summed.
_SAFE_SMALL, _SAFE_LARGE = 1e-60, 1e60
# A column whose mean exceeds its spread this many times loses two to three digits of its
# second moments to cancellation: from there on the shift is worth a copy of each block.
_WORTH_A_SHIFT = 16.0


class Frame:
    """Columns ``x~ = (x - shift) / scale``; see the module for the maps.

    Parameters
    ----------
    shift, scale : ndarray of shape (n_features,)
        The scales are powers of two.
    """

    def __init__(self, shift, scale):
        self.shift = shift
        self.scale = scale
        self.is_shifted = bool(np.any(shift))
        self.is_scaled = bool(np.any(scale != 1.0))

    @classmethod
    def identity(cls, n_features):
        return cls(np.zeros(n_features), np.ones(n_features))

    @classmethod
    def from_columns(cls, mean, spread, largest, *, allow_shift):
        """The cheapest frame in which the second moments of such columns keep their digits.

        `mean`, `spread` (root mean square around the mean) and `largest` (absolute value) of
        each column may come from a sample of the rows; columns that need nothing keep shift 0
        and scale 1.
        """
        shift = np.zeros_like(mean)
        if allow_shift:
            far = np.abs(mean) > _WORTH_A_SHIFT * spread
            shift[far] = mean[far]
        size = np.where(shift != 0.0, spread, largest)
        extreme = (size > 0.0) & ((size < _SAFE_SMALL) | (size > _SAFE_LARGE))
        exponent = np.zeros(len(mean), dtype=np.int64)
        exponent[extreme] = np.frexp(size[extreme])[1]
        return cls(shift, np.ldexp(1.0, np.clip(exponent, -1020, 1020)))

    @property
    def is_identity(self):
        return not (self.is_shifted or self.is_scaled)

    def rows(self, X):
        """The block of rows in the frame (the same array where nothing is to be done)."""
        if self.is_shifted:
            X = X - self.shift
        return self._unscaled(X)

    def shifted(self, X):
        """The block of rows, shifted only: the scale can ride on theta, exactly."""
        return X - self.shift if self.is_shifted else X

    def _unscaled(self, X):
        if not self.is_scaled:
            return X
        if hasattr(X, "multiply"):  # sparse: keeps its pattern
            return X.multiply(1.0 / self.scale).tocsr()
        return X / self.scale

    def enter(self, theta):
        """theta of the original columns -> theta of the frame."""
        if self.is_identity:
            return theta
        inside = theta.copy()
        inside[:-1] *= self.scale[:, None, None]
        if self.is_shifted:
            inside[-1] += np.einsum("j,jmk->mk", self.shift, theta[:-1])
        return inside

    def leave(self, theta):
        """theta of the frame -> theta of the original columns."""
        if self.is_identity:
            return theta
        outside = theta.copy()
        outside[:-1] /= self.scale[:, None, None]
        if self.is_shifted:
            outside[-1] -= np.einsum("j,jmk->mk", self.shift, outside[:-1])
        return outside

    def gradient_inside(self, gradient):
        """Gradient by theta of the original columns -> gradient by theta of the frame."""
        if self.is_identity:
            return gradient
        inside = gradient.copy()
        if self.is_shifted:
            inside[:-1] -= self.shift[:, None, None] * gradient[-1]
        inside[:-1] /= self.scale[:, None, None]
        return inside

    def gradient_outside(self, gradient):
        """Gradient by theta of the frame -> gradient by theta of the original columns."""
        if self.is_identity:
            return gradient
        outside = gradient.copy()
        outside[:-1] *= self.scale[:, None, None]
        if self.is_shifted:
            outside[:-1] += self.shift[:, None, None] * gradient[-1]
        return outside
