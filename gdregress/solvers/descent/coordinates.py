"""Centred, scaled columns in which a rule takes its steps, while theta stays in the original ones.

A rule that knows one rate for all coordinates is slow where columns differ in size, and where a
column has a mean that the intercept has to follow. With the frame x~ = (x - shift) / scale,

    theta~ = enter(theta),    g~ = gradient by theta~,    step,    theta = leave(theta~),

is the same problem (``frame``): the loss is a function of the linear predictor, and the penalty is
that of the original coefficients, whose proximal step has a threshold for each column. The optimum
is the same where it is unique, and no row is touched: the maps act on theta and its gradient.
"""

import math

import numpy as np
from scipy import linalg
from scipy.linalg.blas import daxpy

from ...problem.smoothness import largest_eigenvalue
from ...rows.frame import Frame
from ...rows.overflow import check_squares
from ..cholesky import ScaledCholesky
from ..gap import is_factorable

__all__ = ["ColumnUnits", "Coordinates", "has_one_optimum", "is_penalised"]

# A mean below this share of its spread is none, to a descent.
_CENTRED = 0.25
# The smallest eigenvalue down to which an optimum counts as unique, and where LAPACK's estimate of
# it, good to a factor of ten, leaves no doubt.
_UNIQUE, _SURELY_UNIQUE = 1e-10, 1e-8


class Coordinates:
    """The frame of an objective, its penalty there, and the size of its curvature.

    Parameters
    ----------
    objective : object

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
        self._still = np.flatnonzero((spread == 0.0) & (objective.penalty.l2 == 0.0))
        far = np.abs(centre) > _CENTRED * spread
        self.frame = Frame(np.where(far, centre, 0.0), scale)
        self.penalty = objective.penalty.in_frame(self.frame)
        ratio = base.scale / scale
        gram = gram * ratio * ratio[:, None]
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
        # Of many optima, descent from 0 finds the one of least norm: in the original columns.
        if not (is_penalised(objective) or rule.is_adaptive or has_one_optimum(objective)):
            return None
        return cls(objective)

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


class ColumnUnits:
    """Columns less their means, each in a unit of its own; the mini-batches of plain descent step
    in these. A mean that is small beside the spread is left, unless others are not.

    With s_j^2 the mean square of column j around its mean, and the ridge of l2 that bends it, too,

        x~_j = (x_j - mean_j) / d_j,    d_j^2 = 2 (s_j^2 + l2 / c),

    the bound c of the curvature of the loss bends L by c / 2 along every column, and by c along the
    intercept, which has the longest way to go. Nothing moves a column that is constant. Unlike
    :class:`Coordinates` it says nothing of several columns together, and takes a pass over X.
    """

    def __init__(self, objective):
        mean, square = objective.column_centres()
        check_squares(np.append(square, 1.0), np.append(square > 0.0, True))
        ridge = math.sqrt(objective.penalty.l2 / objective.curvature_bound)
        unit = math.sqrt(2.0) * np.hypot(np.sqrt(square), ridge)
        inverse = np.divide(1.0, unit, out=np.zeros_like(unit), where=unit > 0.0)
        self._inverse = np.append(inverse, 1.0)
        self._mean = np.append(mean, 0.0)
        self._pull_of_mean = self._mean * self._inverse * self._inverse
        self._is_shifted = bool((np.abs(mean) > _CENTRED * np.sqrt(square)).any())

    def direction(self, gradient):
        """The change of theta that the gradient g~ in these units is, and ``|g~|^2``, of one model:
        vectors in the order of ``theta.ravel()``.

        With g~ = (g_W - mean g_b) / d, that is ``d_W = (g_W - mean g_b) / d^2`` and ``d_b = g_b -
        mean^T d_W``; then ``|g~|^2 = g^T d``. All in as few calls as it takes.
        """
        if len(gradient) > len(self._mean):
            return self._direction_of_outputs(gradient.reshape(len(self._mean), -1))
        outside = gradient * self._inverse
        outside *= self._inverse  # whose square may leave float64
        if self._is_shifted:
            outside = daxpy(self._pull_of_mean, outside, a=-gradient.item(-1))
            outside[-1] -= self._mean.dot(outside)
        return outside, float(gradient.dot(outside))

    def _direction_of_outputs(self, gradient):
        """The same of several outputs."""
        outside = gradient * self._inverse[:, None] * self._inverse[:, None]
        if self._is_shifted:
            outside -= self._pull_of_mean[:, None] * gradient[-1]
            outside[-1] -= self._mean.dot(outside)
        return outside.ravel(), float(np.vdot(gradient, outside))


def is_penalised(objective):
    """Whether a penalty leaves one optimum."""
    return objective.penalty.l2 > 0.0 or not objective.penalty.is_smooth


def has_one_optimum(objective):
    """Whether no penalty is needed for that: the columns are independent.

    By the smallest eigenvalue of the Gram matrix with a unit diagonal, which is at least the
    reciprocal of the 1-norm of the inverse: where a factor tells enough, no eigenvalue is made.
    """
    if not is_factorable(objective):
        return False
    _, _, gram = objective.centred_gram
    try:
        factor = ScaledCholesky(gram)
    except linalg.LinAlgError:
        return False
    if factor.rcond * factor.norm > _SURELY_UNIQUE:
        return True
    return bool(np.linalg.eigvalsh(factor.scaled)[0] > _UNIQUE)
