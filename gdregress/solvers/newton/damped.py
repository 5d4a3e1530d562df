"""A metric for losses whose curvature may jump, and vanish: a Hessian, lifted where it fails."""

import numpy as np

from .full import FullMetric
from .hessian import factor_hessian

__all__ = ["DampedMetric"]

# The share of the bound that is added first, and how it rises and falls.
_FIRST, _RISE, _FALL = 1e-3, 8.0, 8.0


class DampedMetric(FullMetric):
    """``H + mu B``, H the Hessian of all rows and B the bound of it at any theta.

    A Newton step trusts that rows bend the loss on the way as they do where it begins. Where rows
    are straight until they come near their targets, as Huber's loss is, H may vanish, and its step
    leads anywhere. A step in B always lowers the loss. mu is 0 at first and where full steps are
    taken, and rises where one had to be shortened or H could not be factored (Levenberg 1944;
    Marquardt 1963; Nocedal & Wright 2006, section 10.3).
    """

    def __init__(self, framed):
        super().__init__(framed)
        self._mu = 0.0
        gram = framed.curvature_bound * framed.bound.gram
        gram.flat[:: len(gram) + 1] += framed.penalty.curvature((len(gram), 1))[:, 0]
        self._bound = np.kron(gram, np.eye(framed.shape[1]))

    @classmethod
    def suits(cls, framed):
        """Whether the curvature of the loss may jump, and a bound of it is at hand."""
        has_bound = framed.curvature_bound is not None
        return framed.loss.self_concordance is None and has_bound and framed.bound.gram is not None

    def direction(self, at, tolerance):
        """``-(H + mu B)^-1 g``; the decrement is infinite but where mu is 0."""
        gradient, self.is_suspicious = at.gradient, False
        if self._mu == 0.0:
            factored = factor_hessian(self.framed, at.hessian, self.singular)
            bends = not gradient.ravel()[factored.dead].any()
            self.is_exact = factored.is_exact and bends
            if self.is_exact:
                direction = -factored.factor.solve(gradient.ravel()).reshape(gradient.shape)
                return direction, -0.5 * float(np.vdot(gradient, direction))
            self._mu = _FIRST
        self.is_exact = False
        hessian = at.hessian + self._mu * self._bound
        factor = factor_hessian(self.framed, hessian, self.singular).factor
        return -factor.solve(gradient.ravel()).reshape(gradient.shape), np.inf

    def remember(self, before, after, t):
        """Less of the bound after a full step, more after one that was shortened."""
        if t < 1.0:
            self._mu = max(_FIRST, _RISE * self._mu)
        elif self._mu > 0.0:
            self._mu = self._mu / _FALL if self._mu > _FIRST else 0.0
