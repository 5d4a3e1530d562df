"""Newton's method for the logistic losses, in a metric from all rows or from a sample of them.

    theta <- theta - t H(theta)^-1 grad L(theta)

with Armijo backtracking on t, stopped by the Newton decrement ``1/2 g^T H^-1 g``, which is the
decrease that the quadratic model still promises (Boyd & Vandenberghe 2004, section 9.5). It works
in a frame of shifted and scaled columns, so the units of X play no part.

A Hessian costs (p + 1) / 2 times the arithmetic of a gradient. Where rows are many, most of the
way is therefore gone on samples of them, and the rest by quasi-Newton steps over all rows in the
metric of the last sample. What stops them is a bound, not an estimate; see ``metrics``.
"""

import math

import numpy as np

from ...history import StopReason
from ...problem.basis import worthwhile_basis
from ..solution import Solution
from .metrics import backtrack, choose_metric, full_metric
from .separation import AT_REST, Separation, separation_near

__all__ = ["newton"]

_EPS = np.finfo(np.float64).eps
# The decrement is to fall to this share of the tolerance of a descent.
_SHARE = 1e-5
# A loss below this share of that at zero is worth a pass over X to see if the classes separate.
_CONFIDENT = 0.1
# Steps in the metric of a sample before it is given up.
_MAX_SAMPLED_STEPS = 40
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
        loss=float(run.loss[0]),
        solver="newton",
        reason=reason,
        history=history,
        n_iter=iteration,
        separation=run.separation if reason is StopReason.SEPARABLE else None,
    )


class _Run:
    """Where a fit by Newton's method is: theta in a frame, loss and gradient there, the metric."""

    def __init__(self, objective, theta, tol, choose):
        self.objective, self.tol = objective, tol
        self.is_penalised = objective.penalty.l2 > 0.0
        self.separation = Separation.without(objective)
        self._asked = self._begun = self._is_last = False
        self._enter(objective.solver_frame(), theta, choose)
        if self.metric.is_sampled:  # the samples go on from here: no need of all gradients
            self.loss = self.framed.value(self.theta)
            self.gradient = np.full_like(self.theta, np.nan)
        else:
            self._evaluate()
        self._at_zero = float(self.framed.value(np.zeros_like(self.theta))[0])
        self._yardstick = min(float(self.loss[0]), self._at_zero)
        self._update, self._t = None, math.nan

    def _enter(self, frame, theta, choose):
        """Work in a frame from here on, theta being of the original columns."""
        self.framed = self.objective.in_frame(frame)
        self.theta = frame.enter(theta)
        self.metric = choose(self.framed)

    def _evaluate(self):
        """Loss and gradient where a direction is to begin; they have to be finite."""
        self.loss, self.gradient = self.metric.evaluate(self.theta)
        if not (np.isfinite(self.loss[0]) and np.isfinite(self.gradient).all()):
            raise FloatingPointError(
                "The loss at the start overflows float64; rescale X to ordinary units."
            )

    @property
    def outside(self):
        """theta of the original columns."""
        return self.framed.frame.leave(self.theta)

    @property
    def tolerance(self):
        """What the decrement is to fall to: ``1e-5 tol`` of the yardstick, or rounding level."""
        rounding = 4.0 * _EPS * max(float(self.loss[0]), _EPS * self._yardstick)
        return max(_SHARE * self.tol * self._yardstick, rounding)

    def record(self, history, iteration, validation):
        """One row of the history."""
        outside = self.framed.frame.gradient_outside(self.gradient)
        moved = math.nan if self._update is None else math.sqrt(np.vdot(self._update, self._update))
        held_out = math.nan if validation is None else float(validation.value(self.outside)[0])
        history.record(
            iteration,
            iteration,
            float(self.loss[0]),
            gradient_norm=math.sqrt(np.vdot(outside, outside)),
            update_norm=moved,
            learning_rate=self._t,
            validation_loss=held_out,
        )

    def step(self):
        """One iteration: on samples of the rows at first, where they pay; else in the metric."""
        before = self.outside
        if not self._begun:
            self._begun = True
            self._leave_a_bad_start()
            if self.metric.is_sampled and self._descend_samples():
                self._update, self._t = self.outside - before, 1.0
                return
        self._descend()
        self._update = self.outside - before

    def _leave_a_bad_start(self):
        """Begin at the best point between zero and a start that is worse than zero.

        Far out, where every probability is 0 or 1, the Hessian vanishes and with it all that a
        Newton step knows. At a start the mean over the classes of penalised coefficients, which
        the loss does not see, is put to its optimum: zero.
        """
        if not self.theta.any():
            return
        if self.is_penalised and self.theta.shape[2] > 1:
            self.theta = self.theta - self.theta.mean(axis=2, keepdims=True)
        if self.loss[0] > self._at_zero:
            trials = self.theta * _SHRINK[:, None]
            best = np.argmin(self.framed.value(trials))
            self.theta = np.ascontiguousarray(trials[:, best : best + 1])
        if not self.metric.is_sampled:
            self._evaluate()

    def _descend_samples(self):
        """Go to the optimum of a sample; whether that was a likeness of the rows."""
        theta = self.metric.descend_samples(self.theta)
        if self.metric.is_suspicious and self._change_basis():
            return False
        if not self.metric.is_suspicious or self.is_penalised or self.metric.spans_the_rows():
            loss, gradient = self.framed.value_and_gradient(theta)
            if loss[0] < self._at_zero:
                self._direction = theta - self.theta
                self.theta, self.loss, self.gradient = theta, loss, gradient
                return True
        self.metric = full_metric(self.framed)
        self._evaluate()
        return False

    def _descend(self):
        """A step along the direction of the metric."""
        direction, decrement = self.metric.direction(self.theta, self.gradient, self.tolerance)
        if self.metric.is_suspicious and self._change_basis():
            direction, decrement = self.metric.direction(self.theta, self.gradient, self.tolerance)
        # The step of a full metric squares what the decrement measured before it.
        self._is_last = decrement <= self.tolerance
        evaluate = self.framed.value_and_gradient if self._is_last else self.metric.evaluate
        theta, loss, gradient, self._t = backtrack(
            self.framed, self.theta, self.loss, self.gradient, direction, evaluate
        )
        self._direction = direction
        self.metric.remember(theta - self.theta, gradient - self.gradient)
        self.theta, self.loss, self.gradient = theta, loss, gradient

    def _change_basis(self):
        """Go on in orthonormal columns where those of X are nearly dependent; whether it did."""
        basis = None if self.is_penalised else worthwhile_basis(self.framed)
        if basis is None:
            return False
        self._enter(basis, self.outside, full_metric)
        self._evaluate()
        return True

    def verdict(self):
        """Why to stop here, or None."""
        metric = self.metric
        if not self.is_penalised and self._all_separated():
            return StopReason.SEPARABLE
        certain = self._is_last or (
            metric.is_sampled and metric.certifies(self.theta, self.gradient, self.tolerance)
        )
        failed = self._t == 0.0
        stuck = not metric.is_sampled and (failed or metric.is_saturated) and not self._asked
        if (certain or stuck) and not self.is_penalised and self._partly_separated():
            return StopReason.SEPARABLE
        if certain:
            # A basis, once it was asked for, has told that there was nothing to be seen.
            blind = metric.is_blind and self.framed.basis is None
            return StopReason.LOSS if blind else StopReason.DECREMENT
        if metric.is_sampled and (failed or metric.n_steps >= _MAX_SAMPLED_STEPS):
            self.metric = full_metric(self.framed)
        elif failed:
            return StopReason.LOSS
        return None

    def _all_separated(self):
        """Whether theta separates the classes: without a penalty, do not run after an optimum."""
        confident = self.loss[0] < _CONFIDENT * self._at_zero
        if not (confident and self.framed.margins(self.theta)[0] > 0.0):
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
            return self.framed.largest_move(self._direction) < AT_REST
        if self.metric.is_saturated:
            return False
        return self.framed.smallest_rival(self.theta) > 4.0 * self.tolerance

    def result(self):
        """theta of the original columns, in the gauge of mean zero over the classes."""
        theta = self.outside.copy()
        if theta.shape[2] > 1:
            centred = theta - theta.mean(axis=2, keepdims=True)
            theta[-1] = centred[-1]
            if not self.is_penalised:
                theta = centred
        return theta


def _keeps_separating(framed, direction):
    """Whether a step raises margins and lowers none by more than a thousandth of that.

    Near a finite optimum it moves no row, near separation the separated ones by 1: what can be
    said where there are too many unknowns for more.
    """
    low, high = framed.margins(direction)
    return high > AT_REST and low > -1e-3 * high
