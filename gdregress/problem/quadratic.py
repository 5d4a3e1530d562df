"""The quadratic objective of least squares from its moments, with the face of ``objective``."""

from functools import cached_property

import numpy as np

from ..rows.overflow import check_squares
from .evaluation import Evaluation
from .hessians import QuadraticHessian
from .smoothness import QuadraticBound

__all__ = ["QuadraticObjective"]

_EPS = np.finfo(np.float64).eps


class QuadraticObjective:
    """Least squares from its moments: an evaluation costs (p + 1)^2, whatever the rows.

    With ``A = [[R / sqrt(S), 0], [mean_x^T, 1]]`` and ``d = [q / sqrt(S), mean_y]``,

        L(theta) = 1/2 |A theta - d|^2 + rest / (2 S) + penalty(W),    gradient A^T (A theta - d).

    A sum of squares: expanded into moments it would cancel, and go negative near the optimum.
    theta is that of the original columns.

    Parameters
    ----------
    factor : CentredFactor
        R, q and the rest, in a frame of its own.
    penalty : Penalty
        Of the original columns.
    fit_intercept : bool, default=True
    """

    is_quadratic = True
    curvature_bound = curvature_scale = 1.0

    def __init__(self, factor, penalty, *, fit_intercept=True):
        self.factor = factor
        frame, root_weight = factor.frame, np.sqrt(factor.total_weight)
        n_features, n_outputs = factor.q.shape
        self.shape = (n_features + 1, n_outputs)
        self.penalty, self.fit_intercept = penalty, fit_intercept
        self.A = np.zeros((n_features + 1, n_features + 1))
        self.A[:-1, :-1] = factor.root * frame.scale / root_weight
        if fit_intercept:
            self.A[-1, :-1] = frame.shift + frame.scale * factor.mean_x
            self.A[-1, -1] = 1.0
        self._A_transposed = np.ascontiguousarray(self.A.T)
        d = np.vstack([factor.q / root_weight, factor.mean_y + factor.y_shift])
        self._d, self.d = d, d[:, None, :]
        self.floor = 0.5 * float(np.sum(factor.rest)) / factor.total_weight

    def _residual(self, theta):
        """``A theta - d``, shape (p + 1, K) of one model, whose axis would cost more than it
        does, else (p + 1, M, K)."""
        if theta.shape[1] == 1:
            e = np.dot(self.A, theta[:, 0])
            e -= self._d
            return e
        e = np.dot(self.A, theta.reshape(len(theta), -1)).reshape(theta.shape)
        e -= self.d
        return e

    def _value(self, theta, e):
        if theta.shape[1] == 1:
            value = np.array([0.5 * np.vdot(e, e) + self.floor])
        else:
            value = 0.5 * np.einsum("jmk,jmk->m", e, e) + self.floor
        if self.penalty.has_l2 or not self.penalty.is_smooth:
            value += self.penalty.value(theta)
        return value

    def at(self, theta):
        """The objective at a point; see ``evaluation``."""
        return Evaluation(self, theta)

    def value(self, theta):
        return self._value(theta, self._residual(theta))

    def value_and_gradient(self, theta):
        e = self._residual(theta)
        flat = e if e.ndim == 2 else e.reshape(len(e), -1)
        gradient = np.dot(self._A_transposed, flat).reshape(theta.shape)
        if self.penalty.has_l2:
            self.penalty.add_gradient(theta, gradient)
        return self._value(theta, e), gradient

    def hessian(self, theta):
        """The Hessian, (q, q) in the order of ``theta.ravel()``, regular as that of blocks is."""
        gram = self.bound.gram.copy()
        if not self.fit_intercept:
            gram[-1, -1] = 1.0
        return np.kron(gram, np.eye(self.shape[1]))

    def expansion(self, theta):
        """:meth:`value_and_gradient` and :meth:`hessian`."""
        return *self.value_and_gradient(theta), self.hessian(theta)

    def hessian_at(self, theta):
        """The Hessian, never formed and the same at every theta; see ``hessians``."""
        return self._applied

    @cached_property
    def _applied(self):
        return QuadraticHessian(self)

    def curved_expansion(self, theta):
        """:meth:`value_and_gradient` and :meth:`hessian_at`."""
        return *self.value_and_gradient(theta), self.hessian_at(theta)

    @cached_property
    def bound(self):
        """The bound of the Hessian, which is the Hessian of one output: its diagonal and norm."""
        squares = np.einsum("ij,ij->j", self.A, self.A)
        check_squares(squares, self.A.any(axis=0))
        diagonal = (squares[:, None] + self.penalty.curvature((len(squares), 1)))[:, None, :]
        return QuadraticBound(self.A, diagonal)

    @cached_property
    def centred_gram(self):
        """The frame, the means and ``1/S sum_i s_i (x~_i - mean)(x~_i - mean)^T`` of the columns
        there."""
        factor = self.factor
        return factor.frame, factor.mean_x, factor.root.T @ factor.root / factor.total_weight

    @cached_property
    def reach(self):
        root_weight = np.sqrt(self.factor.total_weight)
        spread = np.hypot(np.linalg.norm(self.factor.q), np.sqrt(self.factor.rest.sum()))
        size = float(np.linalg.norm(self.d[-1]))
        spread = float(spread) / root_weight
        return spread if spread > 8.0 * _EPS * size else size

    def column_centres(self):
        return self.A[-1, :-1], np.einsum("ij,ij->j", self.A[:-1, :-1], self.A[:-1, :-1])
