"""Centred, scaled columns in which a rule takes its steps, while theta stays in the original ones.

A rule that knows one rate for all coordinates is slow where columns differ in size, and where a
column has a mean that the intercept has to follow. With the frame x~ = (x - shift) / scale,

    theta~ = enter(theta),    g~ = gradient by theta~,    step,    theta = leave(theta~),

is the same problem (``frame``): the loss is a function of the linear predictor, and the penalty is
that of the original coefficients, whose proximal step has a threshold for each column. The optimum
is the same where it is unique, and no row is touched: the maps act on theta and its gradient.
"""

import numpy as np

from ...problem.smoothness import largest_eigenvalue
from ...rows.frame import Frame
from ..gap import is_factorable

__all__ = ["Coordinates"]

# A mean below this share of its spread is none, to a descent.
_CENTRED = 0.25
# The condition, squared, up to which an optimum counts as unique.
_UNIQUE = 1e-10


class Coordinates:
    """The frame of an objective, its penalty there, and the size of its curvature.

    Attributes
    ----------
    frame : Frame
    penalty : Penalty
    curvature : float
        The largest eigenvalue of the Hessian bound in the frame.
    largest, total : float
        Of the roots of its diagonal: the largest, and the sum.
    """

    def __init__(self, objective):
        base, mean, gram = objective.centred_gram
        spread = np.sqrt(gram.diagonal()) * base.scale
        centre = base.shift + base.scale * mean
        # c sigma_j^2 + alpha_2, the curvature of column j: a penalty would bend a small column
        # the more, the closer its unit came to its own spread.
        bent = np.hypot(spread, np.sqrt(objective.penalty.l2 / objective.curvature_bound))
        exponent = np.rint(np.log2(np.where(bent > 0.0, bent, 1.0)))
        scale = np.ldexp(1.0, exponent.astype(int))
        # Nothing moves a constant column but the rounding of its gradient, and a penalty.
        self._still = np.flatnonzero(spread == 0.0) if objective.penalty.l2 == 0.0 else []
        far = np.abs(centre) > _CENTRED * spread
        self.frame = Frame(np.where(far, centre, 0.0), scale)
        self.penalty = objective.penalty.in_frame(self.frame)
        ratio = base.scale / scale
        gram = gram * ratio * ratio[:, None]
        self._smallest = _smallest_eigenvalue(gram)
        bound = np.zeros((len(gram) + 1, len(gram) + 1))
        rest = (centre - self.frame.shift) / scale
        bound[:-1, :-1] = gram + rest * rest[:, None]
        bound[:-1, -1] = bound[-1, :-1] = rest
        bound[-1, -1] = 1.0
        bound *= objective.curvature_bound
        bound.flat[:: len(bound) + 1] += self.penalty.curvature((len(bound), 1))[:, 0]
        if not objective.fit_intercept:
            bound[-1] = bound[:, -1] = 0.0
        self.curvature = largest_eigenvalue(bound)
        roots = np.sqrt(bound.diagonal())
        self.largest, self.total = float(roots.max()), float(roots.sum())

    @classmethod
    def of(cls, objective, rule):
        """The coordinates that a rule is faster in with the same result, or None."""
        if not (is_factorable(objective) and objective.penalty.is_separable):
            return None
        found = cls(objective)
        penalised = objective.penalty.l2 > 0.0 or not objective.penalty.is_smooth
        # Of many optima, descent from 0 finds the one of least norm: in the original columns.
        if not (penalised or rule.is_adaptive or found._smallest > _UNIQUE):
            return None
        return found

    def step(self, rule, run, gradient, rate):
        """One step of the rule: theta, the point ahead, and the rule's memory."""
        enter, leave = self.frame.enter, self.frame.leave
        pull = self.frame.gradient_inside(gradient)
        if len(self._still):
            pull = pull.copy()
            pull[self._still] = 0.0
        direction, memory = rule.update(pull, run.rule_state)
        point = enter(run.point)
        inside = self.penalty.proximal(point - rate * direction, rate)
        theta = leave(inside)
        ahead, memory = rule.extrapolate(inside, enter(run.theta), point, memory)
        return theta, theta if ahead is inside else leave(ahead), memory


def _smallest_eigenvalue(gram):
    """That of the matrix with a unit diagonal."""
    unit = np.sqrt(gram.diagonal())
    if not (unit > 0.0).all():
        return 0.0
    return float(np.linalg.eigvalsh(gram / unit / unit[:, None])[0])
