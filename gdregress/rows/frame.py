"""The frame: column shifts and power-of-two scales, and the maps between the two coordinates.

With shift c and scale d, the columns are ``x~ = (x - c) / d`` and the same linear predictor is

    z = x^T w + b = x~^T w~ + b~,    w~ = d w,    b~ = b + c^T w.

A loss is a function of z, so its value is the same in both coordinates, and gradients map by the
transposed Jacobian: ``dL/dw = d dL/dw~ + c dL/db~``, ``dL/db = dL/db~``. Scales are powers of
two: scaling rounds nothing. Moments and Hessians stay in the frame; only theta comes out.

A sparse block stays sparse. A column is only shifted where ``mean^2 > F spread^2``, F = 256, and
if a share q of its entries is zero, ``spread^2 >= q mean^2``: so at least 255 of 256 entries are
stored already, and the shift, which fills in the others, costs no memory to speak of.
"""

import math
from functools import lru_cache

import numpy as np

__all__ = ["Frame"]

# Squares of columns within these bounds neither overflow nor lose digits when summed.
_SAFE_SMALL, _SAFE_LARGE = 1e-60, 1e60
# A column whose mean exceeds its spread this many times loses two to three digits of its
# second moments to cancellation: from there on the shift is worth a copy of each block.
_WORTH_A_SHIFT = 16.0
# Spreads below this share of the size of a column are rounding: the column is constant.
_ROUNDING = 8.0 * np.finfo(np.float64).eps


class Frame:
    """Columns ``x~ = (x - shift) / scale``; see the module for the maps.

    Parameters
    ----------
    shift, scale : ndarray of shape (n_features,)
        The scales are powers of two.

    Attributes
    ----------
    far : ndarray of int
        The shifted columns.
    is_provisional : bool
        Whether what a fit finds in it is refined in another one.
    """

    is_provisional = False

    def __init__(self, shift, scale):
        self.shift = shift
        self.scale = scale
        (self.far,) = shift.nonzero()
        self.is_shifted = len(self.far) > 0
        self.is_scaled = bool((scale != 1.0).any())
        self.is_identity = not (self.is_shifted or self.is_scaled)

    @staticmethod
    @lru_cache(maxsize=8)
    def identity(n_features):
        """The columns as they are; a frame that all fits share."""
        return Frame(np.broadcast_to(0.0, n_features), np.broadcast_to(1.0, n_features))

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
    def n_columns(self):
        return len(self.shift)

    def applied(self, design):
        """The design of the same rows in the frame; see ``design``."""
        return design.in_frame(self)

    def noise(self, mean):
        """The rounding of columns with such means in the frame: a smaller spread is none."""
        return _ROUNDING * (np.abs(self.shift / self.scale) + np.abs(mean))

    def constant(self, mean, square):
        """Which columns are constant: their spread in the frame is the rounding of their mean.

        `square` is the mean square around the mean, of each column.
        """
        return square <= self.noise(mean) ** 2

    def enter(self, theta):
        """theta of the original columns -> theta of the frame."""
        if self.is_identity:
            return theta
        inside = theta.copy()
        if self.is_scaled:
            inside[:-1] *= self.scale[:, None, None]
        if self.is_shifted:
            inside[-1] += self._moved(theta)
        return inside

    def leave(self, theta):
        """theta of the frame -> theta of the original columns."""
        if self.is_identity:
            return theta
        outside = theta.copy()
        if self.is_scaled:
            outside[:-1] /= self.scale[:, None, None]
        if self.is_shifted:
            outside[-1] -= self._moved(outside)
        return outside

    def _moved(self, theta):
        """``c^T w`` of every model and output, w of the original columns."""
        return np.dot(self.shift, theta[:-1].reshape(self.n_columns, -1)).reshape(theta.shape[1:])

    def gradient_inside(self, gradient):
        """Gradient by theta of the original columns -> gradient by theta of the frame."""
        if self.is_identity:
            return gradient
        inside = gradient.copy()
        if self.is_shifted:
            inside[:-1] -= self.shift[:, None, None] * gradient[-1]
        if self.is_scaled:
            inside[:-1] /= self.scale[:, None, None]
        return inside

    def gradient_outside(self, gradient):
        """Gradient by theta of the frame -> gradient by theta of the original columns."""
        if self.is_identity:
            return gradient
        outside = gradient.copy()
        if self.is_scaled:
            outside[:-1] *= self.scale[:, None, None]
        if self.is_shifted:
            outside[:-1] += self.shift[:, None, None] * gradient[-1]
        return outside

    def norm_outside(self, change):
        """The norm of a change of theta in the original columns."""
        return _norm(self.leave(change))

    def gradient_norm_outside(self, gradient):
        """The norm of a gradient by theta of the original columns."""
        return _norm(self.gradient_outside(gradient))


def _norm(theta):
    """Euclidean norm, without the general one's look at what it is given."""
    return math.sqrt(np.vdot(theta, theta))
