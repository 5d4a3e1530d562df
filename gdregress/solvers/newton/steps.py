"""Steps: how far along a direction, and directions that learn from the steps before."""

from collections import deque
from functools import partial

import numpy as np

__all__ = ["QuasiNewton", "backtrack", "with_gradient"]

_EPS = np.finfo(np.float64).eps
_ARMIJO = 1e-4
# Steps shorter than 2^-30 of a direction move nothing: their decrease is rounding.
_MAX_HALVINGS = 30
# The pairs that quasi-Newton steps remember.
_MEMORY = 20


def with_gradient(objective, theta):
    """The evaluation at theta, from one pass that brings loss and gradient."""
    return objective.at(theta).having("gradient")


def backtrack(at, direction, look):
    """The first of t = 1, 1/2, 1/4, ... with sufficient decrease; t = 0 at rounding level.

    ``look(theta)`` is the evaluation at the first trial, which is rarely rejected. Returns the
    evaluation at the new theta, and t.
    """
    slope = float(np.vdot(at.gradient, direction))
    loss = float(at.loss[0])
    noise = 8.0 * _EPS * abs(loss)
    step = 1.0
    for _ in range(_MAX_HALVINGS):
        trial = look(at.theta + step * direction)
        if trial.loss[0] <= loss + _ARMIJO * step * slope + noise:
            return trial, step
        step *= 0.5
        look = partial(with_gradient, at.objective)
    return at, 0.0


class QuasiNewton:
    """L-BFGS with ``gamma M^-1`` in the place of its initial diagonal.

    Nocedal & Wright (2006), algorithm 7.4; `factor` solves with M. Where the last pair (s, y) shows
    more curvature than M has, ``gamma = s^T y / y^T M^-1 y < 1`` (equation 7.20 in the metric of M)
    shortens what M alone would make too long, or every step would be halved.
    """

    def __init__(self, factor):
        self.factor = factor
        self._pairs = deque(maxlen=_MEMORY)

    def direction(self, gradient):
        """The two-loop recursion, ``-H g``."""
        direction = -gradient.ravel()
        weights = []
        for change, gradient_change, curvature in reversed(self._pairs):
            weights.append(float(change @ direction) / curvature)
            direction = direction - weights[-1] * gradient_change
        direction = self.factor.solve(direction)
        direction *= self._shortening()
        pairs = zip(self._pairs, reversed(weights), strict=True)
        for (change, gradient_change, curvature), weight in pairs:
            share = weight - float(gradient_change @ direction) / curvature
            direction = direction + share * change
        return direction.reshape(gradient.shape)

    def _shortening(self):
        """gamma, at most 1."""
        if not self._pairs:
            return 1.0
        _, gradient_change, curvature = self._pairs[-1]
        seen = float(gradient_change @ self.factor.solve(gradient_change))
        return min(1.0, curvature / seen) if seen > 0.0 else 1.0

    def remember(self, change, gradient_change):
        """Keep a pair (change of theta, change of the gradient) of positive curvature."""
        change, gradient_change = change.ravel(), gradient_change.ravel()
        curvature = float(change @ gradient_change)
        if curvature > 0.0:
            self._pairs.append((change, gradient_change, curvature))
