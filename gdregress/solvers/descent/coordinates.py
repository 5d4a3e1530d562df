"""Centred, scaled columns in which a rule takes its steps, while theta stays in the original ones.

A rule that knows one rate for all coordinates is slow where columns differ in size, and where a
column has a mean that the intercept has to follow. With the frame x~ = (x - shift) / scale,

    theta~ = enter(theta),    g~ = gradient by theta~,    step,    theta = leave(theta~),

is the same problem (``frame``): the loss is a function of the linear predictor, and the penalty is
that of the original coefficients, whose proximal step has a threshold for each column. The optimum
is the same where it is unique, and no row is touched: the maps act on theta and its gradient.
"""

import numpy as np
from scipy import linalg

from ...problem.smoothness import largest_eigenvalue
from ...rows.frame import Frame
from ..cholesky import ScaledCholesky
from ..gap import is_factorable
from .models import along_models, inner_products

__all__ = ["Coordinates"]

# A mean below this share of its spread is none, to a descent.
_CENTRED = 0.25
# The smallest eigenvalue down to which an optimum counts as unique, and where LAPACK's estimate of
# it, good to a factor of ten, leaves no doubt.
_UNIQUE, _SURELY_UNIQUE = 1e-10, 1e-8
# The share of a mean square that its part around the mean may be without a frame of its own.
_DIGITS_LEFT = 1e-6


class Coordinates:
    """The frame of an objective, its penalty there, and the size of its curvature.

    Parameters
    ----------
    objective : object
    is_sample : bool
        Whether it is over a sample of the rows, where a column without a spread may have one: it
        moves as it is.

    Attributes
    ----------
    frame : Frame
    penalty : Penalty
    curvature : float
        The largest eigenvalue of the Hessian bound in the frame.
    largest, total : float
        Of the roots of its diagonal: the largest, and the sum.
    """

    def __init__(self, objective, *, is_sample=False):
        base, mean, gram = _moments(objective) if is_sample else objective.centred_gram
        spread = np.sqrt(gram.diagonal()) * base.scale
        centre = base.shift + base.scale * mean
        # c sigma_j^2 + alpha_2, the curvature of column j: a penalty would bend a small column
        # the more, the closer its unit came to its own spread.
        bent = np.hypot(spread, np.sqrt(objective.penalty.l2 / objective.curvature_bound))
        has_size = spread > 0.0 if is_sample else bent > 0.0
        exponent = np.rint(np.log2(np.where(has_size, bent, 1.0)))
        scale = np.ldexp(1.0, exponent.astype(int))
        # Nothing moves a constant column but the rounding of its gradient, and a penalty.
        is_known = objective.penalty.l2 == 0.0 and not is_sample
        self._still = np.flatnonzero((spread == 0.0) & is_known)
        far = np.abs(centre) > _CENTRED * spread
        self.frame = Frame(np.where(far, centre, 0.0), scale)
        self.penalty = objective.penalty.in_frame(self.frame)
        self._inverse = np.append(1.0 / scale, 1.0)
        self._inverse[self._still] = 0.0
        self._inverse_shift = np.append(self.frame.shift, 0.0) * self._inverse
        ratio = base.scale / scale
        self._gram = gram = gram * ratio * ratio[:, None]
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
    def of(cls, objective, rule, *, is_sample=False):
        """The coordinates that a rule is faster in with the same result, or None."""
        if not (is_factorable(objective) and objective.penalty.is_separable):
            return None
        found = cls(objective, is_sample=is_sample)
        penalised = objective.penalty.l2 > 0.0 or not objective.penalty.is_smooth
        # Of many optima, descent from 0 finds the one of least norm: in the original columns.
        if not (penalised or rule.is_adaptive or found.has_one_optimum):
            return None
        return found

    @property
    def has_one_optimum(self):
        """Whether no penalty is needed for that: the columns are independent.

        By the smallest eigenvalue of the Gram matrix with a unit diagonal, which is at least the
        reciprocal of the 1-norm of the inverse: where a factor tells enough, no eigenvalue is made.
        """
        try:
            factor = ScaledCholesky(self._gram)
        except linalg.LinAlgError:
            return False
        if factor.rcond * factor.norm > _SURELY_UNIQUE:
            return True
        return bool(np.linalg.eigvalsh(factor.scaled)[0] > _UNIQUE)

    def direction(self, gradient):
        """The change of theta, ``leave(g~)``, that the gradient g~ in the frame is, and ``|g~|^2``.

        With g~ = (g_W - shift g_b) / scale, as in ``frame``, that is ``d_W = g~ / scale`` and
        ``d_b = g_b - shift^T d_W``, in as few calls as it takes; the square of a single model is
        a number.
        """
        single = gradient.size == len(gradient)
        flat = gradient.reshape(-1) if single else gradient.reshape(len(gradient), -1)
        inverse, shift = self._inverse, self._inverse_shift
        if not single:
            inverse, shift = inverse[:, None], shift[:, None]
        inside = flat * inverse
        if self.frame.is_shifted:
            inside -= shift * flat[-1]
        outside = inside * inverse
        if self.frame.is_shifted:
            outside[-1] -= np.dot(self._inverse_shift, inside)
        squares = inner_products(*(inside.reshape(gradient.shape),) * 2)
        return outside.reshape(gradient.shape), along_models(squares)

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


def _moments(sample):
    """``centred_gram`` of a sample by one pass around its first row, where no mean takes the digits
    of a spread."""
    n_features = sample.blocks.n_features
    frame = Frame.identity(n_features)
    if sample.fit_intercept and sample.blocks.stores_zeros:
        row = sample.blocks.block(slice(0, 1)).design.dense()[0]
        frame = Frame(row, np.ones(n_features))
    gram = sample.in_frame(frame).bound.gram
    mean, square = gram[-1, :-1], gram.diagonal()[:-1]
    if (square - mean * mean < _DIGITS_LEFT * square).any():
        return sample.centred_gram
    return frame, mean, gram[:-1, :-1] - mean * mean[:, None]
