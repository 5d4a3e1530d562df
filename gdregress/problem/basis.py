"""A basis of orthonormal columns: coordinates in which X has the condition number 1.

With c the means of the columns of a frame, and ``diag(s)^(1/2) (X~ - c) D^-1 = Q R``, D the norms
of these columns and ``R = U diag(sigma) V^T``,

    u = (x~ - c) T,    T = S^(1/2) D^-1 V diag(1 / sigma),

has the weighted second moments ``1/S sum_i s_i u_i u_i^T = I``: a Hessian in these coordinates
is as well conditioned as the probabilities allow, whatever X is like. Directions along which X
is rank-deficient (sigma at rounding level) are left out: rank is decided here, and once.
"""

import math

import numpy as np
from scipy import linalg

from ..rows.columns import largest_values
from ..rows.dense import DenseDesign
from ..rows.frame import Frame
from ..rows.kernels import LargestMove
from .moments import CentredFactor

__all__ = ["Basis", "worthwhile_basis"]

_EPS = np.finfo(np.float64).eps
# Columns that differ from a combination of the others by this share are that combination.
_ROUNDING = 64.0 * _EPS
# Eigenvalues of a Gram matrix below this share of the largest may be rounding.
_CERTAIN = 1e-10
# Columns with a larger condition number than this, and no more than these, are worth a basis.
_ILL_CONDITIONED, _MAX_COLUMNS = 1e5, 2500


class Basis:
    """Columns ``u = (x~ - mean) T``; has the face of a :class:`~gdregress.rows.frame.Frame`.

    Parameters
    ----------
    frame : Frame
        That of x~.
    mean : ndarray of shape (n_features,)
    forward : ndarray of shape (n_features, n_columns)
        T.
    backward : ndarray of shape (n_columns, n_features)
        ``T^+``: coefficients w~ of x~ are ``T^+ w~`` here.
    null : ndarray of shape (n_features + 1, n_null)
        Directions of theta~, intercept last, that move no row: all of them, but for a wide X of
        more than 2,500 columns.
    condition : float
        Of X~ with centred unit columns, those directions left out.
    """

    is_identity = is_scaled = is_provisional = False

    def __init__(self, frame, mean, forward, backward, null, condition):
        self.frame, self.mean = frame, mean
        self.forward, self.backward = forward, backward
        self.null, self.condition = null, condition
        self.n_columns = forward.shape[1]

    @classmethod
    def of(cls, framed):
        """The basis of a block objective's rows in its frame, which is remembered there.

        From the Gram matrix where that leaves no doubt about the rank, else by one pass of blocked
        QR; of a wide X, which has to fit in memory, from the rows themselves.
        """
        if isinstance(framed.frame, cls):
            return framed.frame
        if framed.basis is None:
            framed.basis = cls._of(framed)
        return framed.basis

    @classmethod
    def _of(cls, framed):
        if framed.blocks.n_features >= framed.blocks.n_weighing:
            return cls._of_factor(framed, CentredFactor.of_rows(framed))
        if framed.bound.gram is None:
            return cls._of_factor(framed, cls._triangle(framed))
        gram, mean = _centred_gram(framed)
        unit = np.sqrt(gram.diagonal())
        unit[unit == 0.0] = 1.0
        squares, vectors = linalg.eigh(gram / unit / unit[:, None])
        kept = squares > _CERTAIN * squares[-1]
        sigma = np.sqrt(np.where(kept, squares, 1.0))
        basis = cls._of_parts(framed, mean, unit, sigma, vectors.T, kept, 1.0)
        if basis._null_moves_no_row(framed):
            return basis
        return cls._of_factor(framed, cls._triangle(framed))

    @staticmethod
    def _triangle(framed):
        """The R factor of the weighted, centred rows."""
        no_shift = np.zeros(framed.blocks.y.shape[1])
        return CentredFactor.from_objective(framed, framed.frame, no_shift)

    @classmethod
    def _of_factor(cls, framed, factor):
        """From R, or rows, with ``root^T root`` the centred Gram matrix."""
        root, mean, weight = factor.root, factor.mean_x, factor.total_weight
        unit = np.linalg.norm(root, axis=0)
        unit[unit == 0.0] = 1.0
        _, sigma, vt = linalg.svd(root / unit, full_matrices=len(unit) <= _MAX_COLUMNS)
        sigma = np.append(sigma, np.zeros(len(vt) - len(sigma)))
        threshold = _ROUNDING * math.sqrt(len(unit)) * sigma.max(initial=0.0)
        return cls._of_parts(framed, mean, unit, sigma, vt, sigma > threshold, weight)

    @classmethod
    def _of_parts(cls, framed, mean, unit, sigma, vt, kept, weight):
        size = np.sqrt(weight)
        forward = (vt[kept] / sigma[kept, None]).T * size / unit[:, None]
        backward = vt[kept] * sigma[kept, None] * unit / size
        null = vt[~kept].T / unit[:, None]
        null = np.vstack([null, -mean @ null])
        condition = sigma[kept].max(initial=1.0) / sigma[kept].min(initial=1.0)
        return cls(framed.frame, mean, forward, backward, null, float(condition))

    def _null_moves_no_row(self, framed):
        """Whether X is as rank-deficient as its Gram matrix, which has half of the digits."""
        if not self.null.shape[1]:
            return True
        some = self.null @ np.random.default_rng(0).standard_normal(self.null.shape[1])
        size = np.abs(some[:-1]) @ largest_values(framed.blocks) + np.abs(some[-1])
        moved = framed.blocks.reduce(LargestMove(np.abs), some[:, None, None])
        return float(moved[0]) <= _ROUNDING * size

    def applied(self, design):
        """The design of the same rows in the basis, dense."""
        rows = self.frame.applied(design).dense()
        return DenseDesign(np.dot(rows - self.mean, self.forward))

    def enter(self, theta):
        """theta of the original columns -> theta of the basis."""
        inside = self.frame.enter(theta)
        out = np.empty((self.n_columns + 1, *theta.shape[1:]))
        out[:-1] = np.tensordot(self.backward, inside[:-1], axes=1)
        out[-1] = inside[-1] + np.tensordot(self.mean, inside[:-1], axes=1)
        return out

    def leave(self, theta):
        """theta of the basis -> theta of the original columns."""
        out = np.empty((len(self.mean) + 1, *theta.shape[1:]))
        out[:-1] = np.tensordot(self.forward, theta[:-1], axes=1)
        out[-1] = theta[-1] - np.tensordot(self.mean, out[:-1], axes=1)
        return self.frame.leave(out)

    def gradient_inside(self, gradient):
        """Gradient by theta of the frame -> gradient by theta of the basis."""
        out = np.empty((self.n_columns + 1, *gradient.shape[1:]))
        away = gradient[:-1] - self.mean[:, None, None] * gradient[-1]
        out[:-1] = np.tensordot(self.forward.T, away, axes=1)
        out[-1] = gradient[-1]
        return out

    def gradient_outside(self, gradient):
        """Gradient by theta of the basis -> gradient by theta of the original columns."""
        out = np.empty((len(self.mean) + 1, *gradient.shape[1:]))
        out[:-1] = np.tensordot(self.backward.T, gradient[:-1], axes=1)
        out[:-1] += self.mean[:, None, None] * gradient[-1]
        out[-1] = gradient[-1]
        return self.frame.gradient_outside(out)

    norm_outside = Frame.norm_outside
    gradient_norm_outside = Frame.gradient_norm_outside


def worthwhile_basis(framed):
    """The basis of an objective's rows where its columns are nearly dependent, else None."""
    if isinstance(framed.frame, Basis) or framed.blocks.n_features > _MAX_COLUMNS:
        return None
    basis = Basis.of(framed)
    return basis if basis.condition > _ILL_CONDITIONED else None


def _centred_gram(framed):
    """The weighted covariance of the columns of the frame, and their means."""
    gram, mean = framed.bound.gram, np.zeros(framed.blocks.n_features)
    if framed.fit_intercept:
        mean = gram[-1, :-1] / gram[-1, -1]
        gram = gram - np.outer(gram[-1], gram[-1]) / gram[-1, -1]
        constant = framed.frame.constant(mean, gram[:-1].diagonal())
        gram[:-1][constant] = gram[:, :-1][:, constant] = 0.0
    return gram[:-1, :-1], mean
