"""Least squares, reduced to its moments: sufficient for every solver, whatever the rows.

Two forms of the same: centred second moments, and a triangle, which loses no digits to squaring.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from .._linalg import above_rounding
from ..rows.columns import SAMPLE_ROWS, FrameChoice
from ..rows.frame import Frame
from ..rows.kernels import Moments, RFactor
from ..rows.overflow import overflow

__all__ = ["CentredFactor", "CentredMoments"]

_EPS = np.finfo(np.float64).eps
# Squared mean by variance from which a second look at the rows looks at them shifted.
_WORTH_RECENTRING = 4.0


@dataclass
class _Centred:
    """What both forms know: a frame, the shift of y, S, and the means of the columns and of y.

    A subclass has ``cross`` (p, K) and ``square`` (K,), the centred moments with and of y.
    """

    frame: Frame
    y_shift: np.ndarray
    total_weight: float
    mean_x: np.ndarray
    mean_y: np.ndarray

    def at_zero(self):
        """``L`` and its gradient (original columns) at theta = 0, without the penalty."""
        mean_y = self.mean_y + self.y_shift
        cross = self.cross / self.total_weight + np.outer(self.mean_x, mean_y)
        gradient = -np.vstack([cross, mean_y])[:, None, :]
        loss = 0.5 * float(np.sum(self.square / self.total_weight + mean_y**2))
        return loss, self.frame.gradient_outside(gradient)

    @property
    def y_size(self):
        """Root mean square of the targets, (n_outputs,)."""
        return np.hypot(np.sqrt(self.square / self.total_weight), self.mean_y + self.y_shift)

    def theta(self, coef):
        """theta of the frame from its coefficients: the residuals have mean zero."""
        intercept = self.mean_y + self.y_shift - self.mean_x @ coef
        return np.vstack([coef, intercept])[:, None, :]


@dataclass
class CentredMoments(_Centred):
    """Least squares, reduced to the centred second moments of a frame.

    ``gram = sum_i s_i (x~_i - mean_x)(x~_i - mean_x)^T`` (p, p), ``cross`` (p, K) and ``square``
    (K,) likewise with ``y - y_shift``. Without an intercept the means are zero and nothing is
    centred. Columns that are constant to rounding have exact zeros.
    """

    gram: np.ndarray
    cross: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, blocks, fit_intercept):
        """One pass over X; a second one where the frame, guessed from a sample, was unfit.

        Where X is a single block the guess is no frame at all, which costs least.
        """
        frames = FrameChoice(blocks, allow_shift=fit_intercept)
        small = blocks.n_samples <= blocks.block_rows
        frame = blocks.frame if small else frames.sampled()
        y_shift = np.zeros(blocks.y.shape[1])
        if fit_intercept:  # moments of targets with a mean lose digits, too
            y = blocks.y if small else blocks.sample(SAMPLE_ROWS).y
            y_shift = np.add.reduce(y, axis=0) / len(y)
        moments = cls._in_frame(blocks, frame, y_shift, fit_intercept)
        if moments is None or not moments._frame_was_fit():
            if fit_intercept:
                y_shift = y_shift + (0.0 if moments is None else moments.mean_y)
            moments = cls._in_frame(blocks, frames.exact(), y_shift, fit_intercept)
            if moments is None:
                raise FloatingPointError(overflow("y"))
        return moments

    @classmethod
    def _in_frame(cls, blocks, frame, y_shift, fit_intercept):
        gram, cross, square = blocks.in_frame(frame).reduce(Moments(y_shift))
        if not (np.isfinite(gram).all() and np.isfinite(square).all()):
            return None
        total_weight = gram[-1, -1]
        mean_x, mean_y = gram[-1, :-1] / total_weight, cross[-1] / total_weight
        gram, cross = gram[:-1, :-1], cross[:-1]
        if fit_intercept:
            # sum s (x - mean)(x - mean)^T = sum s x x^T - S mean mean^T
            gram -= (total_weight * mean_x)[:, None] * mean_x
            cross -= (total_weight * mean_x)[:, None] * mean_y
            square -= total_weight * mean_y**2
            np.maximum(square, 0.0, out=square)
            constant = frame.constant(mean_x, gram.diagonal() / total_weight)
            if constant.any():
                gram[constant] = gram[:, constant] = cross[constant] = 0.0
        else:
            mean_x, mean_y = np.zeros_like(mean_x), np.zeros_like(mean_y)
        return cls(frame, y_shift, total_weight, mean_x, mean_y, gram, cross, square)

    def _frame_was_fit(self):
        """Whether no column lost its digits to cancellation, underflow or overflow."""
        variance = self.gram.diagonal() / self.total_weight
        fit = (variance > 1e-200) & (self.mean_x**2 <= 4096.0 * variance)
        return bool(fit.all() and (self.mean_y**2 <= 1e6 * self.square / self.total_weight).all())

    def recentred(self):
        """The same in a frame whose shifts leave no mean above the spread of its column.

        Centred moments do not change with a shift: what changes are the rows of this frame, which
        have digits that rows with a mean lose in sums.
        """
        variance = self.gram.diagonal() / self.total_weight
        far = (self.mean_x**2 > _WORTH_RECENTRING * variance) & (variance > 0.0)
        if not far.any():
            return self
        shift = np.where(far, self.frame.shift + self.frame.scale * self.mean_x, self.frame.shift)
        frame = Frame(shift, self.frame.scale)
        return replace(self, frame=frame, mean_x=np.where(far, 0.0, self.mean_x))

    @property
    def spread(self):
        """Root mean square of the centred columns of the frame, (n_features,)."""
        return np.sqrt(self.gram.diagonal() / self.total_weight)

    def factor(self):
        """An R with ``R^T R = gram``: Cholesky, or by eigenvalues where it is singular."""
        unit = np.sqrt(np.diag(self.gram))
        unit = np.where(unit > 0.0, unit, 1.0)
        scaled = self.gram / np.outer(unit, unit)
        cross = self.cross / unit[:, None]
        try:
            root = linalg.cholesky(scaled, check_finite=False)
            q = linalg.solve_triangular(root, cross, trans="T", check_finite=False)
        except linalg.LinAlgError:
            eigenvalues, vectors = linalg.eigh(scaled, check_finite=False)
            kept = above_rounding(eigenvalues)
            singular = np.sqrt(np.where(kept, eigenvalues, 0.0))
            root = singular[:, None] * vectors.T
            # A constant column has no part in any of them, to the last bit: what it had would be
            # rounding, and whoever scales columns by their size would divide by that.
            root[:, self.gram.diagonal() == 0.0] = 0.0
            inverse = np.divide(1.0, singular, out=np.zeros_like(singular), where=kept)
            q = inverse[:, None] * (vectors.T @ cross)
        rest = np.maximum(self.square - np.einsum("jk,jk->k", q, q), 0.0)
        return CentredFactor(
            self.frame,
            self.y_shift,
            self.total_weight,
            self.mean_x,
            self.mean_y,
            root * unit,
            q,
            rest,
        )


@dataclass
class CentredFactor(_Centred):
    """Least squares, reduced to a triangle: ``sum s (z - y)^2 = |R w~ - q|^2 + rest + S t^2``.

    ``t`` is the mean residual; ``R`` (p, p), ``q`` (p, K), ``rest`` (K,). No digits are lost to
    squaring, so this is what streams keep and what ill-conditioned problems are solved from.
    """

    root: np.ndarray
    q: np.ndarray
    rest: np.ndarray

    @classmethod
    def from_objective(cls, objective, frame, y_shift):
        """One pass of blocked QR over the rows ``[1 x~ y]``."""
        kernel = RFactor(y_shift, objective.fit_intercept)
        triangle = objective.blocks.in_frame(frame).reduce(kernel)
        return cls.from_triangle(triangle, frame, y_shift, objective.total_weight)

    @classmethod
    def of_rows(cls, framed):
        """The rows that weigh something, centred and times the roots of their weights, in the place
        of a triangle: where they are no more than the columns."""
        blocks, frame = framed.blocks, framed.blocks.frame
        every = blocks.n_weighing == blocks.n_samples
        weighing = slice(0, blocks.n_samples) if every else np.flatnonzero(blocks.sample_weight)
        rows = blocks.block(weighing)
        X, n_outputs = rows.design.dense(), rows.y.shape[1]
        weight = np.ones(len(X)) if rows.sample_weight is None else rows.sample_weight
        total_weight = weight.sum()
        mean_x, mean_y = np.zeros(X.shape[1]), np.zeros(n_outputs)
        if framed.fit_intercept:
            mean_x, mean_y = weight @ X / total_weight, weight @ rows.y / total_weight
        root_weight = np.sqrt(weight)[:, None]
        root, q = (X - mean_x) * root_weight, (rows.y - mean_y) * root_weight
        if not np.isfinite(root).all():
            raise FloatingPointError(
                "X overflows float64 when centred; rescale it to ordinary units."
            )
        root[:, frame.constant(mean_x, np.linalg.norm(root, axis=0) ** 2 / total_weight)] = 0.0
        nothing = np.zeros(n_outputs)
        return cls(frame, nothing, total_weight, mean_x, mean_y, root, q, nothing)

    @classmethod
    def from_triangle(cls, triangle, frame, y_shift, total_weight):
        """From the R factor of ``diag(sqrt(s)) [1 X~ y - y_shift]``, without the ones if it has
        one column less."""
        if not np.all(np.isfinite(triangle)):
            raise FloatingPointError(overflow("X"))
        n_features = len(frame.shift)
        centred = len(triangle) - n_features - len(y_shift)
        x, y = slice(centred, n_features + centred), slice(n_features + centred, None)
        mean_x, mean_y = np.zeros(n_features), np.zeros(len(y_shift))
        if centred:
            mean_x, mean_y = triangle[0, x] / triangle[0, 0], triangle[0, y] / triangle[0, 0]
        root, q = triangle[x, x].copy(), triangle[x, y]
        square = np.linalg.norm(root, axis=0) ** 2 / total_weight
        root[:, frame.constant(mean_x, square)] = 0.0
        rest = np.einsum("ik,ik->k", triangle[y, y], triangle[y, y])
        return cls(frame, y_shift, total_weight, mean_x, mean_y, root, q, rest)

    @property
    def spread(self):
        """Root mean square of the centred columns of the frame, (n_features,)."""
        return np.linalg.norm(self.root, axis=0) / np.sqrt(self.total_weight)

    @property
    def cross(self):
        return self.root.T @ self.q

    @property
    def square(self):
        return np.einsum("jk,jk->k", self.q, self.q) + self.rest
