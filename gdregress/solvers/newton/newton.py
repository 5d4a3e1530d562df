"""Newton's method for losses with a second derivative, in a metric from all rows or from a sample.

    theta <- theta - t H(theta)^-1 grad L(theta)

with Armijo backtracking on t, stopped by the Newton decrement ``1/2 g^T H^-1 g``, which is the
decrease that the quadratic model still promises (Boyd & Vandenberghe 2004, section 9.5). It works
in a frame of shifted and scaled columns, so the units of X play no part.

A Hessian costs (p + 1) / 2 times the arithmetic of a gradient. Where rows are many, most of the
way is therefore gone on samples of them, and the rest by quasi-Newton steps over all rows in the
metric of the last sample, or in a Hessian that is kept until another one pays; see ``choice``. What
stops them is a bound, not an estimate; see ``kept``. Wide tables with a ridge are fitted among
their rows (``row_space``, or by products ``among_rows``), and dense tables whose columns are sparse
around a value are multiplied in two parts (``rows.parts``).
"""

import math
from functools import partial

import numpy as np

from ...history import StopReason
from ...problem.basis import worthwhile_basis
from ...problem.margins import largest_move, margins, smallest_rival
from ...rows.few import of_few_rows
from ...rows.parts import in_parts
from ..needs import bad_start
from ..solution import Solution
from .choice import choose_metric, newton_metric
from .full import FullMetric
from .krylov import KrylovMetric
from .movers import is_far
from .row_space import RowSpace
from .separation import AT_REST, Separation, separation_near
from .steps import backtrack, first_length, with_gradient

__all__ = ["newton"]

_EPS = np.finfo(np.float64).eps
# The decrement is to fall to this share of the tolerance of a descent.
_SHARE = 1e-5
# A loss below this share of that at zero is worth a pass over X to see if the classes separate.
_CONFIDENT = 0.1
# How long steps get where each of them moves a row by about 1, see ``movers``.
_LONGEST = 512.0
# A step as short as this says that the metric is none for the place.
_SHORT = 2.0**-13
# The points tried on the way from zero to a start that is worse.
_SHRINK = np.append(4.0 ** -np.arange(1.0, 60.0), 0.0)


def newton(
    objective, theta, history, *, max_iter, tol, validation=None, watch=None, choose=choose_metric
):
    """Minimise a smooth block objective by Newton's method.

    Parameters
    ----------
    objective : BlockObjective
        In the original columns.
    theta : ndarray of shape (n_features + 1, 1, n_outputs)
        The start.
    history : History
    max_iter : int
    tol : float
        The decrement is to fall to ``1e-5 tol`` times the loss at the start, or at zero if that is
        less: a step squares it, so this is cheap.
    validation, watch : objects, optional
        As in :func:`~gdregress.solvers.descent.loop.descend`.
    choose : callable, default=choose_metric
        The metric to begin with, of an objective in its frame.

    Returns
    -------
    Solution
        Of several classes theta is in the gauge of mean zero over the classes (its intercepts
        alone where coefficients are penalised, which fixes theirs).
    """
    run = _Run(objective, theta, tol, choose)
    run.record(history, 0, validation)
    reason, iteration = None, 0
    for iteration in range(1, max_iter + 1):
        if watch is not None:
            watch.begin(run.outside)
        run.step()
        run.record(history, iteration, validation)
        if watch is not None and watch.end(run.outside):
            reason = StopReason.CALLBACK
        reason = reason or run.verdict()
        if reason is not None:
            break
    reason = reason or StopReason.MAX_ITER
    return Solution(
        theta=run.result(),
        loss=run.loss,
        solver="newton",
        reason=reason,
        history=history,
        n_iter=iteration,
        separation=run.separation if reason is StopReason.SEPARABLE else None,
    )


class _Run:
    """Where a fit by Newton's method is: theta in a frame, what is known there, the metric."""

    def __init__(self, objective, theta, tol, choose):
        self.objective, self.tol = objective, tol
        self.is_penalised = objective.penalty.l2 > 0.0
        self.may_separate = hasattr(objective.loss, "margin") and not self.is_penalised
        self.separation = None
        self._asked = self._begun = self._is_last = False
        self._length, self._lifted_at = 1.0, math.inf
        self._was_far = False
        self._choose, space = choose, None
        self._is_at_zero = not theta.any()
        if self._is_at_zero:  # another start may lie outside the row space
            space = RowSpace.of(objective)
        if space is None:
            blocks = of_few_rows(in_parts(objective.blocks))
            if blocks is not objective.blocks:
                self.objective = objective = objective.on_rows(blocks)
        self._enter(space or objective.frames.best(), theta, choose)
        if self.metric.is_sampled:  # the samples go on from here: no need of all gradients
            self.at = self.framed.at(self.framed.frame.enter(theta))
        self._at_zero = self.loss
        if not self._is_at_zero:
            self._at_zero = float(self.framed.value(np.zeros_like(self.at.theta))[0])
        self._yardstick = min(self.loss, self._at_zero)
        self._update = self._t = self._fell = math.nan
        self._decrement = math.inf

    def _enter(self, frame, theta, choose):
        """Work in a frame from here on, theta being of the original columns."""
        in_rows = isinstance(frame, RowSpace)
        self.framed = frame.objective if in_rows else self.objective.in_frame(frame)
        self.metric = choose(self.framed)
        if not self.metric.is_sampled:
            self._look(frame.enter(theta))

    def _look(self, theta):
        """Loss and gradient where a direction is to begin; they have to be finite."""
        self.at = self.metric.look(theta)
        if not (np.isfinite(self.at.loss[0]) and np.isfinite(self.at.gradient).all()):
            raise bad_start(self.framed, self.loss)

    @property
    def loss(self):
        return float(self.at.loss[0])

    @property
    def outside(self):
        """theta of the original columns."""
        return self.framed.frame.leave(self.at.theta)

    @property
    def tolerance(self):
        """What the decrement is to fall to: ``1e-5 tol`` of the yardstick, or rounding level."""
        rounding = 4.0 * _EPS * max(self.at.loss[0], _EPS * self._yardstick)
        return max(_SHARE * self.tol * self._yardstick, rounding)

    def record(self, history, iteration, validation):
        """One row of the history."""
        norm = math.nan
        if self._begun or not self.metric.is_sampled:
            norm = self.framed.frame.gradient_norm_outside(self.at.gradient)
        held_out = math.nan if validation is None else float(validation.value(self.outside)[0])
        history.record(
            iteration,
            iteration,
            self.loss,
            gradient_norm=norm,
            update_norm=self._update,
            learning_rate=self._t,
            validation_loss=held_out,
        )

    def step(self):
        """One iteration: on samples of the rows at first, where they pay; else in the metric."""
        frame, before = self.framed.frame, self.at.theta
        if not self._begun:
            self._begun = True
            if not self._is_at_zero:
                self._begin_elsewhere()
            if self.metric.is_sampled and self._descend_samples():
                self._t = 1.0
                self._measure_update(frame, before)
                return
        self._descend()
        if isinstance(self.framed.frame, RowSpace) and (self._is_last or self._t == 0.0):
            self._leave_rows()
            if not self._is_last:
                self._descend()
        self._measure_update(frame, before)

    def _measure_update(self, frame, before):
        """The norm of what a step from `before` in a frame has moved."""
        if self.framed.frame is frame:
            self._update = frame.norm_outside(self.at.theta - before)
        else:
            self._update = float(np.linalg.norm(self.outside - frame.leave(before)))

    def _leave_rows(self):
        """Go on in the columns, where the rounding of the row space shows."""
        space = self.framed.frame
        products = self.metric if isinstance(self.metric, KrylovMetric) else None
        self.at, left = space.refined(self.at.theta, self.tolerance, products)
        self.framed, self.metric = space.outer, newton_metric(space.outer)
        self._is_last = left <= self.tolerance

    def _begin_elsewhere(self):
        """Begin at a start that is not zero, among the rows where that pays, or better."""
        space = RowSpace.of(self.objective)
        if space is not None:
            self._enter(space, self.outside, self._choose)
        self._leave_a_bad_start()

    def _leave_a_bad_start(self):
        """Begin at the best point between zero and a start that is worse than zero.

        Far out, where every probability is 0 or 1, the Hessian vanishes and with it all that a
        Newton step knows. At a start the mean over the classes of penalised coefficients, which
        the loss does not see, is put to its optimum: zero.
        """
        theta = self.at.theta
        if not theta.any():
            return
        if self.is_penalised and self.objective.loss.has_gauge:
            theta = theta - theta.mean(axis=2, keepdims=True)
        if self.loss > self._at_zero:
            trials = theta * _SHRINK[:, None]
            best = np.argmin(self.framed.value(trials))
            theta = np.ascontiguousarray(trials[:, best : best + 1])
        if theta is self.at.theta:
            return
        if self.metric.is_sampled:
            self.at = self.framed.at(theta)
        else:
            self._look(theta)

    def _descend_samples(self):
        """Go to the optimum of a sample; whether that was a likeness of the rows."""
        theta = self.metric.descend_samples(self.at.theta)
        if self.metric.is_suspicious and self._change_basis():
            return False
        if not self.metric.is_suspicious or self.is_penalised or self.metric.spans_the_rows():
            at = with_gradient(self.framed, theta)
            if at.loss[0] < self._at_zero:
                self._direction, self._stepped, self.at = theta - self.at.theta, self.framed, at
                return True
        self._leave_the_metric()
        return False

    def _leave_the_metric(self):
        """Go on with the Hessian of all rows at every step, lifted where that has failed."""
        self.metric = newton_metric(self.framed, before=self.metric)
        self._look(self.at.theta)

    def _descend(self):
        """A step along the direction of the metric."""
        tolerance = self.tolerance
        direction, decrement = self.metric.direction(self.at, tolerance)
        if self.metric.is_suspicious and self._change_basis():
            direction, decrement = self.metric.direction(self.at, tolerance)
        if self.metric.gives_up:
            self._leave_the_metric()
            direction, decrement = self.metric.direction(self.at, tolerance)
        self._decrement = decrement
        # The step of a full metric squares what the decrement measured before it, or nearly so.
        self._is_last = decrement <= tolerance
        look, length = self.metric.look, 1.0
        if self._is_last:
            look, length = partial(with_gradient, self.framed), self._length
        elif self.framed.loss.self_concordance is not None:  # else its curvature may jump
            length = first_length(self.at, direction, decrement)
        before = self.at
        self.at, self._t = backtrack(before, direction, look, length)
        self._fell = float(before.loss[0]) - self.loss
        self._direction, self._stepped = direction, self.framed
        self.metric.remember(before, self.at, self._t)
        if not self._is_last and self._t > 0.0:
            self._is_last = self.metric.proves(self.at, tolerance)

    def _change_basis(self):
        """Go on in orthonormal columns where those of X are nearly dependent; whether it did."""
        basis = None if self.is_penalised else worthwhile_basis(self.framed)
        if basis is None:
            return False
        self._enter(basis, self.outside, newton_metric)
        return True

    def verdict(self):
        """Why to stop here, or None."""
        metric = self.metric
        if self.may_separate and self._all_separated():
            return StopReason.SEPARABLE
        certain = self._is_last or (
            metric.is_kept and metric.certifies(self.at.theta, self.at.gradient, self.tolerance)
        )
        blind = self._is_last and metric.is_blind and self._is_surely_above()
        is_far = certain and not blind and self._is_far()
        # A shortened step that lowers nothing is rounding.
        rounding = is_far and self._t < 1.0 and self._fell <= 0.0
        stalled = self._t == 0.0 or (self._t < _SHORT and not metric.is_last_resort)
        certain = certain and not (blind or is_far)
        failed = (blind or rounding or stalled) and not certain
        ends = failed and not self._has_another_metric(rounding)
        stuck = (metric.is_saturated or ends) and not self._asked
        self._was_far = is_far
        self._length = self._next_length() if is_far else 1.0
        if (certain or stuck) and self.may_separate and self._partly_separated():
            return StopReason.SEPARABLE
        if certain:
            return StopReason.DECREMENT
        if ends:
            return StopReason.LOSS
        if failed:
            self._leave_the_metric()
        return None

    def _has_another_metric(self, rounding):
        """Whether to go on in another metric where a step has failed.

        A Hessian is lifted where it is not rounding that stops it, and again only where the loss
        has fallen since it was last.
        """
        if self.metric.is_last_resort:
            return False
        if not isinstance(self.metric, FullMetric):
            return True
        has_fallen = self._lifted_at - self.loss > self.tolerance
        self._lifted_at = self.loss
        return has_fallen and not rounding

    def _is_surely_above(self):
        """Whether the decrement is above the tolerance, whatever a metric could see of it.

        In an orthonormal basis ``H <= c I``, c bounding the curvature of the loss, so that the
        decrement is at least ``|g|^2 / (2 c)`` there. What a gradient has along directions that
        move no row is rounding, and a basis has left them out.
        """
        framed, basis = self.framed, self.framed.basis
        if basis is None or framed.curvature_bound is None:
            return basis is None
        gradient = basis.gradient_inside(self.at.gradient)
        return float(np.vdot(gradient, gradient)) > 2.0 * framed.curvature_bound * self.tolerance

    def _is_far(self):
        """Whether the decrement says little of what is left; see ``movers``."""
        step = self._in_the_frame(self._direction), self._t, self._decrement
        if self.metric.spared is not None:
            step = self.metric.spared, 1.0, math.inf
        again = self._was_far
        return is_far(self.framed, self.metric, self.at, *step, self.tolerance, again=again)

    def _in_the_frame(self, step):
        """A step of the frame that it was made in, which may have been left."""
        if self._stepped is self.framed:
            return step
        return self.framed.frame.enter(self._stepped.frame.leave(step))

    def _next_length(self):
        """Twice the last step, or 1 where that was too long: the loss rises again at its end."""
        slope = float(np.vdot(self.at.gradient, self._in_the_frame(self._direction)))
        return min(2.0 * self._t, _LONGEST) if self._t >= 1.0 and slope < 0.0 else 1.0

    def _all_separated(self):
        """Whether theta separates the classes: without a penalty, do not run after an optimum."""
        confident = self.loss < _CONFIDENT * self._at_zero
        if not (confident and margins(self.framed, self.at.theta)[0] > 0.0):
            return False
        self.separation = Separation.along(self.objective, "complete", self.outside[:, 0])
        return True

    def _partly_separated(self):
        """Whether the classes are separated in part; see ``separation`` for what rules it out."""
        if self._is_ruled_out():
            return False
        self._asked = True
        found = separation_near(self.objective, self.outside)
        if found.kind == "undecided" and _keeps_separating(self.framed, self._direction):
            direction = self.framed.frame.leave(self._direction)[:, 0]
            found = Separation.along(self.objective, "quasi-complete", direction)
        self.separation = found
        return found.kind in {"quasi-complete", "complete"}

    def _is_ruled_out(self):
        """Whether the last step, or the decrement, proves that there is no separation."""
        if self.metric.is_exact:
            return largest_move(self.framed, self._direction) < AT_REST
        if self.metric.is_saturated:
            return False
        return smallest_rival(self.framed, self.at.theta) > 4.0 * self.tolerance

    def result(self):
        """theta of the original columns, in the gauge of mean zero over the classes."""
        theta = self.outside.copy()
        if self.objective.loss.has_gauge:
            free = theta[-1:] if self.is_penalised else theta
            free -= free.mean(axis=2, keepdims=True)
        return theta


def _keeps_separating(framed, direction):
    """Whether a step raises margins and lowers none by more than a thousandth of that.

    Near a finite optimum it moves no row, near separation the separated ones by 1: what can be
    said where there are too many unknowns for more.
    """
    low, high = margins(framed, direction)
    return high > AT_REST and low > -1e-3 * high
