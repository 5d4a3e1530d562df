"""A bound of the Newton decrement from products with the Hessian."""

import math
from functools import cached_property

import numpy as np

__all__ = ["DecrementBound"]

# Curvature of the intercepts below this share of the largest is none.
_NONE = 1e-10
# The share of the pull on the intercepts that may lie where they have no curvature: rounding.
_ROUNDING = 1e-6


class DecrementBound:
    """``1/2 r^T H^-1 r`` is no more than this, where every coefficient has a ridge.

    With D the block of the intercepts in H, C that between coefficients and intercepts, and
    ``x = D^+ r_b``,

        r^T H^-1 r = r_b^T x + u^T (H_WW - C D^+ C^T)^-1 u,    u = r_W - C x,

    and ``H_WW - C D^+ C^T`` is the ridge and a covariance, so that

        r^T H^-1 r <= r_b^T x + sum_j u_j^2 / ridge_j.

    Of one output C is known from one product with H; of several each bound takes one.

    Parameters
    ----------
    hessian : AppliedHessian
    framed : BlockObjective
    """

    def __init__(self, hessian, framed):
        self.hessian, self._framed = hessian, framed
        ridge = framed.penalty.curvature((framed.shape[0], 1))[:-1, :, None]
        if ridge.size and (ridge == ridge[0]).all():
            ridge = ridge[0]
        self._inverse_ridge = 1.0 / ridge if (ridge > 0.0).all() else None
        self._is_single = framed.shape[1] == 1

    @property
    def is_known(self):
        return self._inverse_ridge is not None

    def __call__(self, r):
        """The bound for r of the shape of theta; infinite where none is known."""
        if not self.is_known:
            return math.inf
        along, x = self._of_the_intercepts(r[-1, 0])
        if along is None:
            return math.inf
        u = r[:-1] - along
        return 0.5 * (float(r[-1, 0] @ x) + self._of_the_rest(u))

    def guess(self, r):
        """What the bound would be if coefficients and intercepts had nothing to do with each other:
        it spares the product."""
        if not self.is_known:
            return math.inf
        return 0.5 * self._of_the_rest(r[:-1])

    def _of_the_rest(self, u):
        """``sum_j u_j^2 / ridge_j``."""
        if self._inverse_ridge.size == 1:
            return float(self._inverse_ridge.item() * np.vdot(u, u))
        return float(np.vdot(u, u * self._inverse_ridge))

    @cached_property
    def along(self):
        """The column of the intercept in H, of one output."""
        direction = np.zeros((self._framed.shape[0], 1, 1))
        direction[-1] = 1.0
        return self.hessian.product(direction)

    def _of_the_intercepts(self, pull):
        """``C x`` and x with ``D x = pull``; None where D vanishes along a part of it."""
        if self._is_single:
            curvature = self.along[-1, 0]
            if curvature > 0.0:
                x = pull / curvature
                return self.along[:-1] * x, x
            return (0.0, pull) if pull == 0.0 else (None, None)
        if self._framed.loss.has_gauge:
            pull = pull - pull.mean()  # rounding: nothing pulls along the gauge
        curvature, axes = self._axes
        x = axes @ (axes.T @ pull / curvature)
        missed = np.linalg.norm(pull - axes @ (curvature * (axes.T @ x)))
        if missed > _ROUNDING * np.linalg.norm(pull):
            return None, None
        direction = np.zeros((self._framed.shape[0], 1, self._framed.shape[1]))
        direction[-1, 0] = x
        return self.hessian.product(direction)[:-1], x

    @cached_property
    def _axes(self):
        """The eigenvalues of D that count, and their axes in columns."""
        curvature, axes = np.linalg.eigh(self.hessian.intercepts())
        counts = curvature > _NONE * max(curvature[-1], 0.0)
        return curvature[counts], axes[:, counts]
