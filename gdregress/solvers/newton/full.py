"""The metric of Newton's method itself: the Hessian of all rows, at every step anew."""

import numpy as np

from .hessian import SingularDirections, factor_hessian

__all__ = ["FullMetric"]


class FullMetric:
    """The Hessian of all rows, from the same look at them as loss and gradient."""

    is_sampled = is_kept = is_blind = gives_up = False

    def __init__(self, framed):
        self.framed = framed
        self.is_exact = self.is_suspicious = False
        self.singular = SingularDirections(framed)

    def look(self, theta):
        """The evaluation at theta, Hessian first."""
        return self.framed.at(theta).having("hessian")

    def direction(self, at, tolerance):
        """The Newton direction ``-H^-1 g`` and the decrement ``1/2 g^T H^-1 g``."""
        factored = factor_hessian(self.framed, at.hessian, self.singular)
        self.is_exact, self.is_suspicious = factored.is_exact, not factored.is_regular
        gradient = at.gradient
        direction = -factored.factor.solve(gradient.ravel()).reshape(gradient.shape)
        return direction, -0.5 * float(np.vdot(gradient, direction))

    @property
    def is_saturated(self):
        return not self.is_exact

    @staticmethod
    def proves(at, tolerance):
        """The decrement is known with a direction only."""
        return False

    def remember(self, before, after, t):
        """Nothing to remember: the next Hessian is exact."""
