"""The descending half of the estimators: fitting, going on, and streams of rows.

data -> objective (blocks, or moments) -> descend -> fitted attributes
"""

import math
from dataclasses import replace

import numpy as np
from sklearn.utils import check_random_state

from ._advice import (
    advise_after_descent,
    advise_batch_of_everything,
    advise_cut_rate,
    advise_dependent_columns,
    advise_separable,
)
from ._checks import assert_finite
from ._parameters import check_keeps_its_descent, check_plan
from ._resume import Descent, automatic_rate
from .history import StopReason
from .problem.moments import CentredMoments, QuadraticObjective
from .solvers.descent.coordinates import Coordinates
from .solvers.descent.loop import descend
from .solvers.descent.rules import RULES
from .solvers.gap import OptimalityGap, prove
from .solvers.least_squares.exact import rank_and_condition
from .solvers.solution import Solution

__all__ = ["DescentMixin", "without_batches_of_everything"]

# Least squares with up to this many columns descends on its moments, p x p.
_MAX_MOMENT_COLUMNS = 2048
# The history of a stream, which may never end: the rows of its last parts.
_STREAM_ROWS = 10_000
# An automatic rate of a stream moves by this share of the logarithm towards what later rows allow;
# one that a part cuts below a hundredth is worth a word.
_RELAXED, _CUT = 0.02, 1e-2


class DescentMixin:
    """What :class:`~gdregress._base.BaseRegression` does where it descends.

    ``_descent`` holds the :class:`~gdregress._resume.Descent` that a later call may go on with.
    """

    def _fit_descent(self, rows, plan, descent, validation, watch):
        """Descend, and set what the descent tells; returns the interruption, if there was one."""
        rule, settings, state = plan.rule, plan.settings, descent.state
        objective, moments = rows, None
        if settings.batch_size is None and _descends_on_moments(rows):
            moments = CentredMoments.from_objective(rows)
            objective = QuadraticObjective(
                moments.factor(), rows.penalty, fit_intercept=self.fit_intercept
            )
        if plan.automatic_rate:
            settings = _with_automatic_rate(objective, rule, settings)
            plan = replace(plan, settings=settings)
        gap = OptimalityGap(objective)
        remaining = max(0, settings.max_iter - (state.iteration - descent.begun_at))
        reason, interruption = state.stop, None
        if reason is None:
            try:
                reason = descend(
                    objective,
                    rule,
                    replace(settings, max_iter=remaining),
                    state,
                    descent.history,
                    gap=gap,
                    validation=validation,
                    watch=watch,
                )
            except KeyboardInterrupt as error:
                if state.iteration == descent.begun_at:
                    raise
                reason, interruption = StopReason.INTERRUPTED, error
        self._look_for_bad_rows(rows, state)
        descent.pending = False
        found = _solution(descent, rows, objective, settings, reason)
        prove(found, objective, gap, settings.tol)
        if moments is not None:
            found.rank, found.condition, found.dependent = rank_and_condition(rows, moments)
        quiet = reason is StopReason.DIVERGED or settings.tol == 0.0
        if interruption is None and not quiet:
            found.separation = self._separation(rows, found.theta, reason)
        self._set_solution(found)
        if found.separation is not None:
            advise_separable(self)
        elif interruption is None:
            advise_after_descent(self, found, objective, plan, state.rule_state)
        if found.converged and not quiet:
            advise_dependent_columns(self, found, "at which the descent arrived")
        return interruption

    def _look_for_bad_rows(self, rows, state):
        """A loss that is no number may come from X, which nobody may have looked at so far."""
        if not math.isfinite(state.last_loss):
            assert_finite(self, rows.blocks.X)

    def _restore_descent(self, descent, **attributes):
        """Be the estimator in the middle of whose fit a checkpoint was written."""
        vars(self).update({k: v for k, v in attributes.items() if v is not None})
        settings = check_plan(self, self._exact_solvers, asks_for_descent=True).settings
        settings = replace(settings, learning_rate=descent.state.rate)
        self._descent = descent
        reason = descent.state.stop or StopReason.INTERRUPTED
        self._set_solution(_solution(descent, None, None, settings, reason))

    def _separation(self, rows, theta, reason):
        """How the classes are separated where a descent ended; targets never are."""

    def _stream_descent(self, objective, plan, start):
        """One epoch over the rows given, one step without a batch size; `start` where it begins."""
        n_samples, settings = objective.blocks.n_samples, plan.settings
        shape = (objective.shape[0] - 1, objective.shape[1])
        if start is not None:
            descent = Descent.begin(
                self, plan.rule, start, n_samples, self._draw_seed(), stochastic=True
            )
        else:
            descent = self._descent.copy()
            descent.check_rule(self, plan.rule)
            descent.check_data(self, n_samples, shape, None)
            descent.state.prepare_to_continue(plan.rule, stochastic=True)
        descent.pending, descent.is_stream = False, True
        batch_size = settings.batch_size
        if batch_size is not None and batch_size >= n_samples:
            batch_size = None
        rate = settings.learning_rate
        if plan.automatic_rate:
            rate = automatic_rate(objective, plan.rule, batch_size or n_samples, is_part=True)
            if rate < _CUT * descent.rate < math.inf:
                advise_cut_rate(self)
            rate = descent.rate = _relaxed(descent.rate, rate)
        settings = replace(
            settings,
            learning_rate=rate,
            batch_size=batch_size,
            max_iter=1,
            tol=0.0,
            is_part=True,
        )
        reason = descend(objective, plan.rule, settings, descent.state, descent.history)
        self._look_for_bad_rows(objective, descent.state)
        descent.history.keep_last(_STREAM_ROWS)
        if reason is StopReason.MAX_ITER:
            reason = StopReason.EPOCH
        self._descent = descent
        found = _solution(descent, objective, objective, settings, reason)
        self._set_solution(found)
        if reason is StopReason.DIVERGED:
            plan = replace(plan, settings=settings)
            advise_after_descent(self, found, objective, plan, descent.state.rule_state)

    def _is_pending(self):
        """Whether this estimator was loaded from a checkpoint, in the middle of a fit."""
        return "_descent" in self.__dict__ and self._descent.pending

    def _descent_to_continue(self, plan):
        """The descent that this fit goes on with, or None."""
        descent = self.__dict__.get("_descent")
        if plan.exact is not None:
            return None
        if descent is None:
            check_keeps_its_descent(self)
            return None
        if not (self.warm_start or descent.pending):
            return None
        descent.check_rule(self, plan.rule)
        return descent

    def _begin_fit(self, plan, previous, start, n_samples, seed):
        """The descent of this fit, new or continued; from here on it is ``_descent``."""
        stochastic = plan.settings.batch_size is not None
        if previous is None:
            descent = Descent.begin(self, plan.rule, start, n_samples, seed, stochastic=stochastic)
        else:
            descent = previous.copy()
            descent.n_samples, descent.is_stream = n_samples, False
            if not descent.pending:
                descent.begun_at = descent.state.iteration
                descent.state.prepare_to_continue(
                    plan.rule, stochastic=stochastic, on_new_rows=True
                )
        self._descent = descent
        return descent

    def _draw_seed(self):
        return int(check_random_state(self.random_state).randint(2**31 - 1))


def _solution(descent, rows, objective, settings, reason):
    """What a descent has found, which is the best it has seen where it ended badly."""
    state = descent.state
    theta, loss, iteration = state.reported, state.last_loss, state.iteration
    if reason in {StopReason.DIVERGED, StopReason.INTERRUPTED}:
        theta, loss, iteration = state.best_theta, state.best_loss, state.best_iteration
    if settings.early_stopping and state.best_validation_theta is not None:
        theta, loss = state.best_validation_theta, state.loss_at_best_validation
        iteration = state.best_validation_iteration
    if objective is not rows:
        # Near an exact fit the moments hold no digit of the loss: ask the rows.
        without_fit = float(objective.value(np.zeros_like(theta))[0])
        if not loss > 1e-4 * without_fit:
            loss = float(rows.value(theta)[0])
    if iteration != state.iteration and iteration >= descent.history["iteration"][0]:
        descent.history.mark_returned(iteration)
    return Solution(
        theta=theta,
        loss=loss,
        solver=_rule_name(descent.rule),
        reason=reason,
        history=descent.history,
        n_iter=state.iteration,
        rate=state.rate if settings.line_search else settings.learning_rate,
    )


def _rule_name(rule):
    names = {kind: name for name, kind in RULES.items()}
    return names.get(type(rule), type(rule).__name__)


def _with_automatic_rate(objective, rule, settings):
    """The settings with a rate that suits the rule, and the coordinates that suit both."""
    coordinates, full_batches = None, settings.batch_size is None
    if rule.is_adaptive or (rule.looks_ahead and full_batches):
        coordinates = Coordinates.of(objective, rule)
    rate = automatic_rate(objective, rule, settings.batch_size, coordinates=coordinates)
    return replace(settings, learning_rate=rate, coordinates=coordinates, shrinks=rule.is_adaptive)


def _relaxed(last, bound):
    """The rate of a part: its bound; above the last rate, a small step towards it."""
    if not last < bound:
        return bound
    return last * (bound / last) ** _RELAXED


def without_batches_of_everything(estimator, plan, objective):
    """The plan, with full batches where a batch would hold all rows."""
    batch_size, n_samples = plan.settings.batch_size, objective.blocks.n_samples
    if batch_size is None or batch_size < n_samples:
        return plan
    if batch_size > n_samples:
        advise_batch_of_everything(estimator, batch_size)
    return replace(plan, settings=replace(plan.settings, batch_size=None))


def _descends_on_moments(objective):
    n_samples, n_features = objective.blocks.n_samples, objective.blocks.n_features
    return objective.is_quadratic and n_features <= min(_MAX_MOMENT_COLUMNS, 2 * n_samples)
