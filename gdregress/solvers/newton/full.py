"""The metric of Newton's method itself: the Hessian of all rows, at every step anew."""

import math

import numpy as np

from ...problem.margins import largest_move
from .hessian import SingularDirections, factor_hessian
from .steps import may_spare

__all__ = ["FullMetric", "has_bound"]

_FAR = 10.0  # moves beyond it bound nothing
# What a last step would leave of the tolerance, or more.
_BELOW = 1e-6
# A decrement that the others promise may be more, by this factor.
_DOUBT = 3.0


class FullMetric:
    """The Hessian of all rows, from the same look at them as loss and gradient.

    With a ridge the last of them is spared. Near the optimum the decrements n_k of full steps tell
    what is to come,

        n_(k+1) / n_k^2 = n_k / n_(k-1)^2,    or about so,

    and where they promise one within the tolerance, no Hessian is made at the end of the step. A
    step d from where the Hessian is M, which moves no row by more than r / nu (nu is the
    ``self_concordance`` of the loss, its moves are those of ``moves``), leads to an H with
    ``e^-r M <= H`` (Bach 2010, "Self-concordant analysis for logistic regression", proposition 1),
    so that the decrement there is

        1/2 g^T H^-1 g <= e^r 1/2 g^T M^-1 g.

    If that is within the tolerance indeed, the step from there is the last one, and M serves it;
    where the tolerance is loose beside the loss at the start, the fit ends without it.
    """

    is_sampled = is_kept = is_blind = gives_up = False
    is_hard, is_lifted = True, False
    spared = _first_loss = None
    _near = _kept = None  # a factored M where a step begins, and with r where it has ended
    _decrement = _before = None  # n_k, and n_(k-1) where a full step led from there

    def __init__(self, framed):
        self.framed = framed
        self.is_exact = self.is_suspicious = False
        self.singular = SingularDirections(framed)

    def look(self, theta):
        """The evaluation at theta, Hessian first where there has to be one."""
        at = self.framed.at(theta).having("hessian" if self._near is None else "gradient")
        if self._first_loss is None:
            self._first_loss = at.loss[0]
        return at

    def direction(self, at, tolerance):
        """The Newton direction ``-H^-1 g`` and the decrement ``1/2 g^T H^-1 g``, or a bound of it
        that is within the tolerance."""
        self.spared = None
        if self._kept is not None:
            direction, bound = self._along_the_kept(at.gradient)
            if bound <= tolerance:
                return direction, bound
        factored = factor_hessian(self.framed, at.hessian, self.singular)
        self.is_exact, self.is_suspicious = factored.is_exact, not factored.is_regular
        direction, decrement = _along(factored, at.gradient)
        self._decrement = decrement
        self._near = factored if self._may_serve(factored, decrement, tolerance) else None
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
        direction, bound = self._along_the_kept(at.gradient)
        may_end = may_spare(self.framed, tolerance, self._first_loss)
        is_proven = bound <= (tolerance if may_end else _BELOW * tolerance)
        self.spared = math.exp(self._kept[1]) * direction if is_proven else None
        return is_proven

    def _may_serve(self, factored, decrement, tolerance):
        """Whether a full step is thought to lead to the last one, for which M will do."""
        if self._before is None or not (self.framed.penalty.l2 > 0.0 and factored.is_regular):
            return False
        left = _DOUBT * decrement * (decrement / self._before) ** 2
        return left <= tolerance < decrement and self.framed.loss.self_concordance is not None

    @property
    def is_last_resort(self):
        """Whether nothing is at hand by which the Hessian could be lifted."""
        return not has_bound(self.framed)

    @property
    def is_saturated(self):
        return not self.is_exact

    def remember(self, before, after, t):
        """How far M is from where a full step has ended; of another one nothing is kept."""
        factored, self._near, self._kept = self._near, None, None
        self._before = self._decrement if t == 1.0 else None
        if t == 1.0 and factored is not None:
            nu = self.framed.loss.self_concordance
            r = nu * largest_move(self.framed, after.theta - before.theta)
            self._kept = (factored, r) if r < _FAR else None


def has_bound(framed):
    """Whether there is a matrix that bounds the Hessian at any theta."""
    return framed.curvature_bound is not None and framed.bound.gram is not None


def _along(factored, gradient):
    """The Newton direction and the decrement."""
    direction = -factored.factor.solve(gradient.ravel()).reshape(gradient.shape)
    return direction, -0.5 * float(np.vdot(gradient, direction))
