"""A metric for losses whose curvature may jump, and vanish: a Hessian, lifted where it fails."""

import numpy as np

from .full import FullMetric, has_bound
from .hessian import factor_hessian

__all__ = ["DampedMetric"]

# The share of the bound that is added first, and how it rises and falls.
_FIRST, _RISE, _FALL = 1e-3, 8.0, 8.0
# A Hessian that was lifted because it failed is given up for itself below this share.
_LEAST = 1e-9


class DampedMetric(FullMetric):
    """``H + mu B``, H the Hessian of all rows and B the bound of it at any theta.

    A Newton step trusts that rows bend the loss on the way as they do where it begins. Where rows
    are straight until they come near their targets, as Huber's loss is, H may vanish, and its step
    leads anywhere. A step in B always lowers the loss. mu is 0 at first and where full steps are
    taken, and rises where one had to be shortened or H could not be factored (Levenberg 1944;
    Marquardt 1963; Nocedal & Wright 2006, section 10.3).

    Rows far on the wrong side leave a logistic loss just as straight. A lift that begins where
    Newton's steps have failed falls with every full step, and gives up for Newton's method when it
    is all but gone, or brings nothing.

    Parameters
    ----------
    framed : BlockObjective
    is_lifted : bool, default=False
        Whether to begin with a mu.
    """

    is_last_resort = True
    is_saturated = False

    def __init__(self, framed, *, is_lifted=False):
        super().__init__(framed)
        self._mu, self._least = (_FIRST, _LEAST) if is_lifted else (0.0, _FIRST)
        self.is_lifted = is_lifted
        gram = framed.curvature_bound * framed.bound.gram
        gram.flat[:: len(gram) + 1] += framed.penalty.curvature((len(gram), 1))[:, 0]
        self._bound = np.kron(gram, np.eye(framed.shape[1]))

    @classmethod
    def suits(cls, framed):
        """Whether the curvature of the loss may jump, and a bound of it is at hand."""
        return framed.loss.self_concordance is None and has_bound(framed)

    def direction(self, at, tolerance):
        """``-(H + mu B)^-1 g``; the decrement is infinite but where mu is 0."""
        gradient, self.is_suspicious = at.gradient, False
        if self.is_lifted and self._mu == 0.0:
            self.gives_up = True
            return np.zeros_like(gradient), np.inf
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
        direction = -factor.solve(gradient.ravel()).reshape(gradient.shape)
        promised = -0.5 * float(np.vdot(gradient, direction))
        self.gives_up = self.is_lifted and promised <= tolerance
        return direction, np.inf

    def remember(self, before, after, t):
        """Less of the bound after a full step, more after one that was shortened."""
        if t < 1.0:
            self._mu = max(_FIRST, _RISE * self._mu)
        elif self._mu > 0.0:
            self._mu = self._mu / _FALL if self._mu > self._least else 0.0
