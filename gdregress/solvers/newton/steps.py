"""Steps: how far along a direction, and directions that learn from the steps before."""

from collections import deque
from functools import partial

import numpy as np

__all__ = ["QuasiNewton", "backtrack", "first_length", "with_gradient"]

_EPS = np.finfo(np.float64).eps
_ARMIJO = 1e-4
# Steps shorter than 2^-30 of a direction move nothing: their decrease is rounding.
_MAX_HALVINGS = 30
# A step that promises this share of the loss is worth a look at how long it should be, and how long
# it may get.
_GOOD_PART, _LONGEST = 0.03, 3.0
# The pairs that quasi-Newton steps remember, and how many of them there are early on.
_MEMORY, _EARLY = 20, 2


def with_gradient(objective, theta):
    """The evaluation at theta, from one pass that brings loss and gradient."""
    return objective.at(theta).having("gradient")


def first_length(at, direction, decrement):
    """The length at which the loss is least along a Newton direction, or about so; at least 1.

    Far from the optimum the curvature of a logistic loss falls along a step, which is too short
    then. With ``f(t)`` the objective along it, one Newton step from t = 1:

        t = 1 - f'(1) / f''(1)

    It costs two products with X, and is made where the step promises a good part of the loss: there
    it spares every third Hessian.
    """
    if not _GOOD_PART * float(at.loss[0]) < decrement < np.inf:
        return 1.0
    slope, curvature = at.objective.slope(at.theta + direction, direction)
    if not (slope < 0.0 and curvature > 0.0):
        return 1.0
    return min(1.0 - slope / curvature, _LONGEST)


def backtrack(at, direction, look, step=1.0):
    """The first of t = step, step/2, step/4, ... with sufficient decrease; 0 at rounding level.

    ``look(theta)`` is the evaluation at the first trial, which is rarely rejected. Returns the
    evaluation at the new theta, and t.
    """
    slope = float(np.vdot(at.gradient, direction))
    loss = float(at.loss[0])
    noise = 8.0 * _EPS * abs(loss)
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
    shortens what M alone would make too long, or every step would be halved. Where it shows less,
    gamma is at most `longest` for the first two steps, and 1 from then on: the Hessian of a theta
    far out has too much curvature, for that of a logistic loss falls on the way, but not along what
    a penalty holds; and that of a sample errs either way.
    """

    def __init__(self, factor, longest=1.0):
        self.factor, self.longest = factor, longest
        self._pairs = deque(maxlen=_MEMORY)

    def direction(self, gradient):
        """The two-loop recursion, ``-H g``."""
        direction = -gradient.ravel()
        weights = []
        for change, gradient_change, curvature in reversed(self._pairs):
            weights.append(float(change @ direction) / curvature)
            direction = direction - weights[-1] * gradient_change
        direction = self.factor.solve(direction)
        direction *= self._scale()
        pairs = zip(self._pairs, reversed(weights), strict=True)
        for (change, gradient_change, curvature), weight in pairs:
            share = weight - float(gradient_change @ direction) / curvature
            direction = direction + share * change
        return direction.reshape(gradient.shape)

    def _scale(self):
        """gamma; see the class."""
        if not self._pairs:
            return 1.0
        _, gradient_change, curvature = self._pairs[-1]
        seen = float(gradient_change @ self.factor.solve(gradient_change))
        longest = self.longest if len(self._pairs) <= _EARLY else 1.0
        return min(longest, curvature / seen) if seen > 0.0 else 1.0

    def remember(self, change, gradient_change):
        """Keep a pair (change of theta, change of the gradient) of positive curvature."""
        change, gradient_change = change.ravel(), gradient_change.ravel()
        curvature = float(change @ gradient_change)
        if curvature > 0.0:
            self._pairs.append((change, gradient_change, curvature))
