"""A basis of orthonormal columns: coordinates in which X has the condition number 1.

With c the means of the columns of a frame, and ``diag(s)^(1/2) (X~ - c) D^-1 = Q R``, D the norms
of these columns and ``R = U diag(sigma) V^T``,

    u = (x~ - c) T,    T = S^(1/2) D^-1 V diag(1 / sigma),

has the weighted second moments ``1/S sum_i s_i u_i u_i^T = I``: a Hessian in these coordinates
is as well conditioned as the probabilities allow, whatever X is like. Directions along which X
is rank-deficient (sigma at rounding level) are left out: rank is decided here, and once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg, sparse

from ..moments import CentredFactor
from ..objective import overflow

__all__ = ["Basis"]

_EPS = np.finfo(np.float64).eps


class Basis:
    """Columns ``u = (x~ - mean) T``; has the face of a :class:`~gdregress.frame.Frame`.

    Parameters
    ----------
    frame : Frame
        That of x~.
    mean : ndarray of shape (n_features,)
    forward : ndarray of shape (n_features, n_columns)
        T.
    backward : ndarray of shape (n_columns, n_features)
        ``T^+``: coefficients w~ of x~ are ``T^+ w~`` here.
    """

    is_identity = is_scaled = False
    is_shifted = True

    def __init__(self, frame: Any, mean: Any, forward: Any, backward: Any) -> None:
        self.frame, self.mean = frame, mean
        self.forward, self.backward = forward, backward
        self.n_columns = forward.shape[1]

    @classmethod
    def of(cls, framed: Any) -> Basis:
        """The basis of a block objective's rows in its frame.

        One pass of blocked QR; of a wide X, which has to fit in memory, the singular values.
        """
        blocks = framed.blocks
        wide = blocks.n_features >= blocks.n_weighing
        root, mean, weight = _centred_rows(framed) if wide else _centred_factor(framed)
        unit = np.linalg.norm(root, axis=0)
        unit[unit == 0.0] = 1.0
        _, sigma, vt = linalg.svd(root / unit, full_matrices=False)
        threshold = max(blocks.n_samples, len(unit)) * _EPS * sigma.max(initial=0.0)
        kept = sigma > threshold
        sigma, vt = sigma[kept, None], vt[kept]
        size = np.sqrt(weight)
        forward = (vt / sigma).T * size / unit[:, None]
        return cls(framed.frame, mean, forward, vt * sigma * unit / size)

    def rows(self, X: Any) -> np.ndarray:
        """The block of rows in the basis, dense."""
        X = self.frame.rows(X)
        X = X.toarray() if sparse.issparse(X) else X
        return np.dot(X - self.mean, self.forward)

    shifted = rows  # nothing is left to ride on theta

    def enter(self, theta: np.ndarray) -> np.ndarray:
        """theta of the original columns -> theta of the basis."""
        inside = self.frame.enter(theta)
        out = np.empty((self.n_columns + 1, *theta.shape[1:]))
        out[:-1] = np.tensordot(self.backward, inside[:-1], axes=1)
        out[-1] = inside[-1] + np.tensordot(self.mean, inside[:-1], axes=1)
        return out

    def leave(self, theta: np.ndarray) -> np.ndarray:
        """theta of the basis -> theta of the original columns."""
        out = np.empty((len(self.mean) + 1, *theta.shape[1:]))
        out[:-1] = np.tensordot(self.forward, theta[:-1], axes=1)
        out[-1] = theta[-1] - np.tensordot(self.mean, out[:-1], axes=1)
        return self.frame.leave(out)

    def gradient_outside(self, gradient: np.ndarray) -> np.ndarray:
        """Gradient by theta of the basis -> gradient by theta of the original columns."""
        out = np.empty((len(self.mean) + 1, *gradient.shape[1:]))
        out[:-1] = np.tensordot(self.backward.T, gradient[:-1], axes=1)
        out[:-1] += self.mean[:, None, None] * gradient[-1]
        out[-1] = gradient[-1]
        return self.frame.gradient_outside(out)


def _centred_factor(framed: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """The R factor of the weighted, centred rows, their means and total weight."""
    factor = CentredFactor.from_objective(framed, framed.frame, np.zeros(framed.blocks.y.shape[1]))
    return factor.root, factor.mean_x, factor.total_weight


def _centred_rows(framed: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """The weighted, centred rows themselves, of those that weigh something."""
    blocks = framed.blocks
    weight = np.ones(blocks.n_samples) if blocks.sample_weight is None else blocks.sample_weight
    weighing = np.flatnonzero(weight)
    rows, weight = framed.frame.rows(blocks.block(weighing).X), weight[weighing]
    rows = rows.toarray() if sparse.issparse(rows) else rows
    mean = np.zeros(rows.shape[1])
    if framed.fit_intercept:
        mean = weight @ rows / weight.sum()
        noise = 8.0 * _EPS * (np.abs(mean) + np.abs(framed.frame.shift / framed.frame.scale))
        rows = np.where(np.ptp(rows, axis=0) <= noise, 0.0, rows - mean)
    if not np.isfinite(rows).all():
        raise FloatingPointError(overflow("X"))
    return rows * np.sqrt(weight)[:, None], mean, weight.sum()
