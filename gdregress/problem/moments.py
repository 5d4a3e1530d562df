"""Least squares, reduced to its moments: sufficient for every solver, whatever the rows.

Three forms of the same: centred second moments, a triangle (no digits lost to squaring), and a
quadratic objective with the face of those in ``objective``, so that solvers cannot tell.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import linalg

from ..rows.frame import Frame
from ..rows.kernels import Moments, RFactor
from .evaluation import Evaluation
from .hessians import QuadraticHessian
from .losses import SquaredLoss
from .objective import SAMPLE_ROWS, BlockObjective, check_squares, largest_eigenvalue, overflow

__all__ = ["CentredFactor", "CentredMoments", "QuadraticObjective", "centred_gram"]

_EPS = np.finfo(np.float64).eps
# Squared mean by variance from which a second look at the rows looks at them shifted.
_WORTH_RECENTRING = 4.0


@dataclass
class CentredMoments:
    """Least squares, reduced to the centred second moments of a frame.

    ``gram = sum_i s_i (x~_i - mean_x)(x~_i - mean_x)^T`` (p, p), ``cross`` (p, K) and ``square``
    (K,) likewise with ``y - y_shift``. Without an intercept the means are zero and nothing is
    centred. Columns that are constant to rounding have exact zeros.
    """

    frame: Frame
    y_shift: np.ndarray
    total_weight: float
    mean_x: np.ndarray
    mean_y: np.ndarray
    gram: np.ndarray
    cross: np.ndarray
    square: np.ndarray

    @classmethod
    def from_objective(cls, objective):
        """One pass over X; a second one where the frame, guessed from a sample, was unfit.

        Where X is a single block the guess is no frame at all, which costs least.
        """
        blocks = objective.blocks
        small = blocks.n_samples <= blocks.block_rows
        frame = objective.frame if small else objective.sampled_frame()
        y_shift = np.zeros(objective.shape[1])
        if objective.fit_intercept:  # moments of targets with a mean lose digits, too
            y = blocks.y if small else blocks.sample(SAMPLE_ROWS).y
            y_shift = np.add.reduce(y, axis=0) / len(y)
        moments = cls._in_frame(objective, frame, y_shift)
        if moments is None or not moments._frame_was_fit():
            if objective.fit_intercept:
                y_shift = y_shift + (0.0 if moments is None else moments.mean_y)
            moments = cls._in_frame(objective, objective.exact_frame(), y_shift)
            if moments is None:
                raise FloatingPointError(overflow("y"))
        return moments

    @classmethod
    def _in_frame(cls, objective, frame, y_shift):
        gram, cross, square = objective.blocks.in_frame(frame).reduce(Moments(y_shift))
        if not (np.isfinite(gram).all() and np.isfinite(square).all()):
            return None
        total_weight = gram[-1, -1]
        mean_x, mean_y = gram[-1, :-1] / total_weight, cross[-1] / total_weight
        gram, cross = gram[:-1, :-1], cross[:-1]
        if objective.fit_intercept:
            # sum s (x - mean)(x - mean)^T = sum s x x^T - S mean mean^T
            gram -= (total_weight * mean_x)[:, None] * mean_x
            cross -= (total_weight * mean_x)[:, None] * mean_y
            square -= total_weight * mean_y**2
            np.maximum(square, 0.0, out=square)
            # A column whose spread is the rounding of its mean is constant.
            constant = gram.diagonal() <= total_weight * frame.noise(mean_x) ** 2
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

    def at_zero(self):
        """``L`` and its gradient (original columns) at theta = 0, without the penalty."""
        mean_y = self.mean_y + self.y_shift
        cross = self.cross / self.total_weight + np.outer(self.mean_x, mean_y)
        gradient = -np.vstack([cross, mean_y])[:, None, :]
        loss = 0.5 * float(np.sum(self.square / self.total_weight + mean_y**2))
        return loss, self.frame.gradient_outside(gradient)

    @property
    def spread(self):
        """Root mean square of the centred columns of the frame, (n_features,)."""
        return np.sqrt(self.gram.diagonal() / self.total_weight)

    @property
    def y_size(self):
        """Root mean square of the targets, (n_outputs,)."""
        return np.hypot(np.sqrt(self.square / self.total_weight), self.mean_y + self.y_shift)

    def theta(self, coef):
        """theta of the frame from its coefficients: the residuals have mean zero."""
        intercept = self.mean_y + self.y_shift - self.mean_x @ coef
        return np.vstack([coef, intercept])[:, None, :]

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
            kept = eigenvalues > len(unit) * _EPS * max(eigenvalues[-1], 0.0)
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
class CentredFactor:
    """Least squares, reduced to a triangle: ``sum s (z - y)^2 = |R w~ - q|^2 + rest + S t^2``.

    ``t`` is the mean residual; ``R`` (p, p), ``q`` (p, K), ``rest`` (K,). No digits are lost to
    squaring, so this is what streams keep and what ill-conditioned problems are solved from.
    """

    frame: Frame
    y_shift: np.ndarray
    total_weight: float
    mean_x: np.ndarray
    mean_y: np.ndarray
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
        # A column whose spread is the rounding of its mean is constant.
        noise = frame.noise(mean_x) * np.sqrt(total_weight)
        constant = np.linalg.norm(root, axis=0) <= noise
        root[:, constant] = 0.0
        rest = np.einsum("ik,ik->k", triangle[y, y], triangle[y, y])
        return cls(frame, y_shift, total_weight, mean_x, mean_y, root, q, rest)

    at_zero = CentredMoments.at_zero
    y_size = CentredMoments.y_size
    theta = CentredMoments.theta

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


class QuadraticObjective:
    """Least squares from its moments: an evaluation costs (p + 1)^2, whatever the rows.

    With ``A = [[R / sqrt(S), 0], [mean_x^T, 1]]`` and ``d = [q / sqrt(S), mean_y]``,

        L(theta) = 1/2 |A theta - d|^2 + rest / (2 S) + penalty(W),    gradient A^T (A theta - d).

    A sum of squares: expanded into moments it would cancel, and go negative near the optimum.
    theta is that of the original columns.
    """

    is_quadratic = True
    curvature_bound = 1.0

    def __init__(self, factor, penalty, *, fit_intercept=True):
        self.factor = factor
        frame, root_weight = factor.frame, np.sqrt(factor.total_weight)
        n_features, n_outputs = factor.q.shape
        self.shape = (n_features + 1, n_outputs)
        self.penalty, self.fit_intercept = penalty, fit_intercept
        self.centred = None  # see centred_gram
        self.A = np.zeros((n_features + 1, n_features + 1))
        self.A[:-1, :-1] = factor.root * frame.scale / root_weight
        if fit_intercept:
            self.A[-1, :-1] = frame.shift + frame.scale * factor.mean_x
            self.A[-1, -1] = 1.0
        self._A_transposed = np.ascontiguousarray(self.A.T)
        d = np.vstack([factor.q / root_weight, factor.mean_y + factor.y_shift])
        self.d = d[:, None, :]
        self.floor = 0.5 * float(np.sum(factor.rest)) / factor.total_weight

    @property
    def has_l1(self):
        return self.penalty.l1 > 0.0

    def _residual(self, theta):
        e = np.dot(self.A, theta.reshape(len(theta), -1)).reshape(theta.shape)
        e -= self.d
        return e

    def _value(self, theta, e):
        if theta.shape[1] == 1:
            value = np.array([0.5 * np.vdot(e, e) + self.floor])
        else:
            value = 0.5 * np.einsum("jmk,jmk->m", e, e) + self.floor
        if self.penalty.l1 or self.penalty.l2:
            value += self.penalty.value(theta)
        return value

    def at(self, theta):
        """The objective at a point; see ``evaluation``."""
        return Evaluation(self, theta)

    def value(self, theta):
        return self._value(theta, self._residual(theta))

    def smooth_value(self, theta):
        return self.value(theta) - self.penalty.l1_value(theta)

    def value_and_gradient(self, theta):
        e = self._residual(theta)
        gradient = np.dot(self._A_transposed, e.reshape(len(e), -1)).reshape(theta.shape)
        return self._value(theta, e), self.penalty.add_gradient(theta, gradient)

    def hessian_product(self, theta, direction):
        flat = np.dot(self._A_transposed, np.dot(self.A, direction.reshape(len(direction), -1)))
        return self.penalty.add_gradient(direction, flat.reshape(direction.shape))

    @cached_property
    def gram(self):
        """``A^T A`` and the penalty, (n_features + 1, n_features + 1): the Hessian of an output."""
        gram = self._A_transposed @ self.A
        gram.flat[:: len(gram) + 1] = self.hessian_bound_diagonal()[:, 0, 0]
        return gram

    def hessian(self, theta):
        """The Hessian, (q, q) in the order of ``theta.ravel()``, regular as that of blocks is."""
        gram = self.gram.copy()
        if not self.fit_intercept:
            gram[-1, -1] = 1.0
        return np.kron(gram, np.eye(self.shape[1]))

    def expansion(self, theta):
        """:meth:`value_and_gradient` and :meth:`hessian`."""
        return *self.value_and_gradient(theta), self.hessian(theta)

    def hessian_at(self, theta):
        """The Hessian, never formed; see ``hessians``."""
        return QuadraticHessian(self)

    def curved_expansion(self, theta):
        """:meth:`value_and_gradient` and :meth:`hessian_at`."""
        return *self.value_and_gradient(theta), self.hessian_at(theta)

    def proximal(self, theta, step):
        return self.penalty.proximal(theta, step)

    @cached_property
    def _bound_diagonal(self):
        squares = np.einsum("ij,ij->j", self.A, self.A)
        check_squares(squares, self.A.any(axis=0))
        return (squares[:, None] + self.penalty.curvature((len(squares), 1)))[:, None, :]

    def hessian_bound_diagonal(self):
        return self._bound_diagonal

    @cached_property
    def _bound_norm(self):
        return largest_eigenvalue(self.gram)

    def hessian_bound_norm(self):
        return self._bound_norm

    @cached_property
    def reach(self):
        root_weight = np.sqrt(self.factor.total_weight)
        spread = np.hypot(np.linalg.norm(self.factor.q), np.sqrt(self.factor.rest.sum()))
        size = float(np.linalg.norm(self.d[-1]))
        spread = float(spread) / root_weight
        return spread if spread > 8.0 * _EPS * size else size

    def column_centres(self):
        return self.A[-1, :-1], np.einsum("ij,ij->j", self.A[:-1, :-1], self.A[:-1, :-1])


def centred_gram(objective):
    """The frame, the means and ``1/S sum_i s_i (x~_i - mean)(x~_i - mean)^T`` of the columns there.

    From the moments where the objective is made of them, else by a pass over its rows, once.
    """
    if objective.centred is None:
        objective.centred = _centred_gram(objective)
    return objective.centred


def _centred_gram(objective):
    if isinstance(objective, QuadraticObjective):
        statistics = objective.factor
        gram = statistics.root.T @ statistics.root
    else:
        blocks = objective.blocks
        statistics = CentredMoments.from_objective(
            BlockObjective(
                blocks.with_y(np.zeros((blocks.n_samples, 1))),
                SquaredLoss(),
                objective.penalty,
                1,
                fit_intercept=objective.fit_intercept,
            )
        )
        gram = statistics.gram
    return statistics.frame, statistics.mean_x, gram / statistics.total_weight
