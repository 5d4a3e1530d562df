"""The metric of Newton's method itself: the Hessian of all rows, at every step anew."""

import math

import numpy as np

from ...problem.margins import largest_move
from .hessian import SingularDirections, factor_hessian

__all__ = ["FullMetric"]

_FAR = 10.0  # moves beyond it square nothing
# What a last step would leave of the tolerance, or more.
_BELOW = 1e-6


class FullMetric:
    """The Hessian of all rows, from the same look at them as loss and gradient.

    With a ridge the last of them is spared. Where a step d = -M^-1 g, M being the Hessian where it
    begins, moves no row by more than r / nu (nu is the ``self_concordance`` of the loss, its moves
    are those of ``moves``), ``e^-tr M <= H(theta + t d) <= e^tr M`` (Bach 2010, "Self-concordant
    analysis for logistic regression", proposition 1), and as the gradient at its end is the
    integral of ``(H(theta + t d) - M) d`` over t, the decrement there is

        1/2 g^T H^-1 g <= e^r ((e^r - 1 - r) / r)^2 1/2 d^T M d.

    If that is within the tolerance, the step from there is the last one, and M serves it.
    """

    is_sampled = is_kept = is_blind = gives_up = False
    _near = _kept = None  # a factored Hessian and r: where a step will end, and where it has

    def __init__(self, framed):
        self.framed = framed
        self.is_exact = self.is_suspicious = False
        self.singular = SingularDirections(framed)

    def look(self, theta):
        """The evaluation at theta, Hessian first where there has to be one."""
        return self.framed.at(theta).having("hessian" if self._near is None else "gradient")

    def direction(self, at, tolerance):
        """The Newton direction ``-H^-1 g`` and the decrement ``1/2 g^T H^-1 g``, or a bound of it
        that is within the tolerance."""
        if self._kept is not None:
            direction, bound = self._along_the_kept(at.gradient)
            if bound <= tolerance:
                return direction, bound
        factored = factor_hessian(self.framed, at.hessian, self.singular)
        self.is_exact, self.is_suspicious = factored.is_exact, not factored.is_regular
        direction, decrement = _along(factored, at.gradient)
        self._near = self._near_the_end(factored, direction, decrement, tolerance)
        return direction, decrement

    def _along_the_kept(self, gradient):
        """The direction in M, and the bound of the decrement: ``H >= e^-r M``."""
        factored, moved = self._kept
        direction, decrement = _along(factored, gradient)
        return direction, math.exp(moved) * decrement

    def proves(self, at, tolerance):
        """Whether there is no need of that last step."""
        if self._kept is None:
            return False
        return self._along_the_kept(at.gradient)[1] <= _BELOW * tolerance

    def _near_the_end(self, factored, direction, decrement, tolerance):
        """The factored Hessian and r where a full step leads to the last one, else None."""
        nu = self.framed.loss.self_concordance
        # r^2 is at least 8 times the decrement where the curvature is at most 1/4.
        hopeless = decrement <= tolerance or 2.0 * decrement * decrement > tolerance
        if hopeless or nu is None or not (self.framed.penalty.l2 > 0.0 and factored.is_regular):
            return None
        r = nu * largest_move(self.framed, direction)
        if not 0.0 < r < _FAR:
            return None
        bound = math.exp(r) * ((math.expm1(r) - r) / r) ** 2 * decrement
        return (factored, r) if bound <= tolerance else None

    @property
    def is_saturated(self):
        return not self.is_exact

    def remember(self, before, after, t):
        """Whether a full step has led to where the last one begins; the next Hessian is exact."""
        self._kept, self._near = self._near if t == 1.0 else None, None


def _along(factored, gradient):
    """The Newton direction and the decrement."""
    direction = -factored.factor.solve(gradient.ravel()).reshape(gradient.shape)
    return direction, -0.5 * float(np.vdot(gradient, direction))
