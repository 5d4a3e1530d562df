"""Whether a small decrement means that the optimum is near: not where rows still move by much.

A row far on its own side bends the loss less by a factor of e for each unit that it moves. What is
left is about the decrement only where a Newton step moves no row by much, in units of 1 / nu
(Bach 2010, "Self-concordant analysis for logistic regression", proposition 2): else a row of large
numbers may hold the coefficients with next to no loss, and the decrement falls by e each time
without the optimum being near.

Against rows that move farther than that, the movers, count the curvature of the other rows and of
the penalty alone. With H_o the Hessian without the movers, and g the gradient of all, or that of
the others and the penalty as no row has a loss below zero,

    L(theta + d) >= L(theta)   + g^T d   + 1/2 e^-r d^T H_o d,
    L(theta + d) >= L_o(theta) + g_o^T d + 1/2 e^-r d^T H_o d

for every d that moves none of the others by more than r / nu. Where ``-e^r H_o^-1 g`` is such a d,
the right side is least there: what is left is no more than

    1/2 e^r g^T H_o^-1 g,    or    L(theta) - L_o(theta) + 1/2 e^r g_o^T H_o^-1 g_o.

With r the move of ``H_o^-1 g`` in units of 1 / nu, this takes a ``rho = r e^rho``, and there is one
up to r = 1 / e. Of a Newton step that moves no row farther, e^rho times the decrement is a bound
with no row left out.

Before H_o is formed, each mover is asked alone: against a ridge along its direction,
``(g^T x_i)^2 / (2 ridge |x_i|^2)`` is left. Where that is within the tolerance it is believed, and
where H_o would be too large it is all that is known; without a ridge, in its place, a share of the
mean squares of the other rows. That is an estimate, for movers together may hold more.

A Hessian M that is kept has movers, too: the rows that have moved most since the theta' at which it
was taken. With r the move of the others in units of 1 / nu, and M_o that without the movers,

    H(theta) >= e^-r M_o,    M_o = M - sum_movers s_i/S (d^2 loss / dz^2)(theta') kron x_i x_i^T.
"""

import math

import numpy as np
from scipy import linalg
from scipy.special import lambertw

from ...problem.margins import (
    largest_move,
    largest_move_beside,
    pull_on_movers,
    squares_beside_movers,
)
from ..cholesky import ScaledCholesky

__all__ = ["KeptBesideMovers", "is_far"]

# Newton steps move a row that has only to go on by 1, those in a kept Hessian by less; a step that
# moves none by more than this is near its end.
_NEAR = 0.05
# Beyond this move there is no bound: 1 / e.
_FARTHEST = math.exp(-1.0)
# Of more parameters than these no Hessian is formed.
_MOST_PARAMETERS = 2500
# The share of its diagonal that is added to H_o.
_LIFT = 1e-13
# A kept Hessian is without no more rows than these.
_MOST_MOVERS = 256
# Movers of a kept Hessian move by more than this share of what may be at all.
_FAR_SHARE = 0.5
# What is left of a diagonal, and the reciprocal condition, for a difference to keep its digits.
_LEFT = 1e-8
# The share of the bound of the curvature that is counted on in rows where no Hessian is formed: a
# guess, and a cautious one.
_TYPICAL = 0.01


def is_far(framed, metric, at, direction, t, decrement, tolerance, *, again=False):
    """Whether more than the tolerance may be left in spite of the decrement.

    Parameters
    ----------
    framed : BlockObjective
    metric : object
        See ``choice``.
    at : Evaluation
        Where a step has led.
    direction : ndarray of the shape of theta
        In the frame of `framed`: a step was t times that.
    t : float
    decrement : float
        Where the step began, of a Newton direction; infinite of another one.
    tolerance : float
    again : bool, default=False
        Whether it was so a step before. H_o costs more than a full step, which mostly settles it.
    """
    nu = framed.loss.self_concordance
    if nu is None:
        return False
    rows = metric.rows if metric.is_kept else framed  # that bend the bound
    moved = nu * largest_move(rows, direction)
    step = max(t, 1.0) * direction  # one that was shortened has not gone where it would
    if max(t, 1.0) * moved <= _NEAR or _excess(moved) * decrement <= tolerance:
        return False
    left = pull_on_movers(rows, at.gradient, step, _NEAR / nu)
    if framed.penalty.l2 > 0.0:
        curvature = framed.penalty.curvature(framed.shape)[:-1, 0]
    else:
        squares = squares_beside_movers(rows, step, _NEAR / nu)
        curvature = _TYPICAL * framed.curvature_scale * squares
    seems_near = left <= 2.0 * curvature.min() * tolerance
    if at.theta.size > _MOST_PARAMETERS or (seems_near and framed.penalty.l2 > 0.0):
        return not seems_near
    if not (seems_near or again or t < 1.0):
        return True
    return _left_beside_movers(at, step, _NEAR / nu) > tolerance


def _left_beside_movers(at, step, size):
    """The lesser of the two bounds; infinite where there is none."""
    framed = at.objective
    loss, gradient, hessian = framed.expansion_beside(at.theta, step, size)
    try:
        factor = ScaledCholesky(_lifted(hessian))
    except linalg.LinAlgError:
        return math.inf
    left = math.inf
    for pull, dropped in ((at.gradient, 0.0), (gradient, float(at.loss[0] - loss[0]))):
        solved = factor.solve(pull.ravel())
        moved = largest_move_beside(framed, solved.reshape(pull.shape), step, size)
        excess = _excess(framed.loss.self_concordance * moved)
        left = min(left, dropped + 0.5 * excess * float(pull.ravel() @ solved))
    return left


def _excess(moved):
    """``e^rho`` with ``rho = r e^rho``; infinite where there is none."""
    return math.exp(-lambertw(-moved).real) if moved < _FARTHEST else math.inf


def _lifted(hessian):
    """A Hessian that is regular where it vanishes, as gradients do there but for rounding."""
    diagonal = hessian.diagonal()
    hessian.flat[:: len(hessian) + 1] += np.where(diagonal > 0.0, _LIFT * diagonal, 1.0)
    return hessian


class KeptBesideMovers:
    """M_o, and what it says of a decrement; see the module.

    Parameters
    ----------
    rows : BlockObjective
        Those of M.
    kept : ScaledCholesky
        M.
    theta : ndarray
        Where it was taken.
    moves : ndarray of shape (n_samples,)
        How far the rows have moved from there, in units of 1 / nu.
    size : float
        Movers have moved by more.
    """

    def __init__(self, rows, kept, theta, moves, size):
        self._moves_too_far = moves > size
        self._factor = None
        part = rows.hessian_of_rows(theta, np.flatnonzero(self._moves_too_far))
        try:
            factor = kept.less(part)
        except linalg.LinAlgError:
            return
        if (factor.unit**2 > _LEFT * kept.unit**2).all() and factor.is_regular(_LEFT):
            self._factor = factor

    @staticmethod
    def size(moves, most):
        """What movers have moved by more than, where rows may move by no more than `most`."""
        rank = max(0, len(moves) - 1 - _MOST_MOVERS)
        return max(float(np.partition(moves, rank)[rank]), _FAR_SHARE * most)

    def decrement(self, gradient, moves):
        """What ``1/2 g^T H^-1 g`` is at most where the rows have moved so far; infinite where the
        others do not hold the coefficients."""
        if self._factor is None:
            return math.inf
        farthest = np.max(moves, where=~self._moves_too_far, initial=0.0)
        pull = gradient.ravel()
        return 0.5 * math.exp(farthest) * float(pull @ self._factor.solve(pull))
