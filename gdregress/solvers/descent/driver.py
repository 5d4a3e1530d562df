"""A descent as a whole: begun, gone on with, fed a stream, stored; and what it has found."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...history import StopReason
from ...problem.moments import CentredMoments
from ...problem.quadratic import QuadraticObjective
from ..gap import OptimalityGap, prove
from ..least_squares.direct import rank_and_condition
from ..newton.separation import separation_near
from ..solution import Solution
from .loop import descend
from .rates import automatic_rate, relaxed, with_automatic_rate
from .rules import RULES, UpdateRule
from .state import DescentState

__all__ = ["Descent", "DescentProblem"]

# Least squares with up to this many columns descends on its moments, p x p.
_MAX_MOMENT_COLUMNS = 2048
# A loss below this share of that at zero has lost digits, where it comes from moments.
_DIGITS_IN_MOMENTS = 1e-4
# The history of a stream, which may never end: the rows of its last parts.
_STREAM_ROWS = 10_000
# A part that cuts the automatic rate of a stream below this share is worth a word.
_CUT = 1e-2


class DescentProblem:
    """What a descent minimises: the objective over the rows, or its moments where these are fewer.

    Attributes
    ----------
    rows : BlockObjective
        The objective over the rows themselves.
    objective : object
        What is descended on.
    """

    def __init__(self, rows, batch_size=None):
        self.rows = self.objective = rows
        self._moments = None
        n_samples, n_features = rows.blocks.n_samples, rows.blocks.n_features
        few = n_features <= min(_MAX_MOMENT_COLUMNS, 2 * n_samples)
        if batch_size is None and rows.is_quadratic and few:
            self._moments = CentredMoments.of(rows.blocks, rows.fit_intercept)
            self.objective = QuadraticObjective(
                self._moments.factor(), rows.penalty, fit_intercept=rows.fit_intercept
            )

    def complete(self, found, rule, settings, run):
        """Add to a solution what the objective tells; its loss is what the descent has seen.

        Near an exact fit the moments hold no digit of it: then the rows are asked.
        """
        found.objective = self.objective
        if self._moments is not None:
            at_zero = float(self.objective.value(np.zeros_like(found.theta))[0])
            if not found.loss > _DIGITS_IN_MOMENTS * at_zero:
                found.loss = float(self.rows.value(found.theta)[0])
        has_limit = settings.batch_size is None and self.objective.curvature_bound is not None
        if found.reason is StopReason.DIVERGED and has_limit:
            curvature = self.objective.bound.norm
            found.stable_below = rule.stable_below(curvature, run.rule_state)

    def describe(self, found):
        """Add to a solution what the moments tell of the columns."""
        if self._moments is not None:
            found.rank, found.condition, found.dependent = rank_and_condition(
                self.rows, self._moments
            )

    def separation(self, found):
        """How the classes are separated where a descent ended, or None.

        With a penalty there is an optimum, and an end that was asked for is not a search for one.
        """
        rows, asked_for = self.rows, {StopReason.EARLY, StopReason.CALLBACK}
        is_penalised = rows.penalty.l2 > 0.0 or not rows.penalty.is_smooth
        if not hasattr(rows.loss, "margin") or is_penalised or found.reason in asked_for:
            return None
        separation = separation_near(rows, found.theta)
        return None if separation.kind in {"none", "undecided"} else separation


@dataclass
class Descent:
    """A descent that may go on, and what it belongs to.

    Attributes
    ----------
    rule : UpdateRule
    state : DescentState
    seed : int
        Of the batches, and of the rows held out.
    n_samples : int
        The rows of the current fit.
    classes : ndarray or None
        Of a classifier.
    begun_at : int
        The iteration with which the current fit began.
    rate : float
        The last automatic rate of a stream.
    pending : bool
        Whether it was read from a checkpoint, in the middle of a fit.
    is_stream : bool
        Whether it was last gone on with by a part of a stream.
    """

    rule: UpdateRule
    state: DescentState
    seed: int
    n_samples: int
    classes: Any = None
    begun_at: int = 0
    rate: float = math.inf
    pending: bool = False
    is_stream: bool = False

    @classmethod
    def begin(cls, rule, theta, n_samples, seed, *, stochastic, classes=None):
        """The descent before its first step; the generator is its own."""
        generator = np.random.default_rng(seed)
        state = DescentState.begin(theta, rule, stochastic=stochastic, generator=generator)
        return cls(rule, state, seed, n_samples, classes)

    def continued(self, n_samples, *, stochastic):
        """A descent that goes on from here with a fit to other rows, or the same; a copy."""
        descent = self.copy()
        descent.n_samples, descent.is_stream = n_samples, False
        if not descent.pending:
            descent.begun_at = descent.iteration
            descent.state.prepare_to_continue(self.rule, stochastic=stochastic, on_new_rows=True)
        return descent

    def streamed(self):
        """A descent that goes on from here with a part of a stream; a copy."""
        descent = self.copy()
        descent.state.prepare_to_continue(self.rule, stochastic=True)
        return descent

    def copy(self):
        """A descent that may go on without touching this one: a fit that fails loses nothing."""
        return replace(self, state=self.state.copy())

    @property
    def history(self):
        """The record."""
        return self.state.history

    @property
    def iteration(self):
        """Iterations made."""
        return self.state.iterates.iteration

    @property
    def shape(self):
        """(n_features, n_outputs)."""
        theta = self.state.iterates.theta
        return theta.shape[0] - 1, theta.shape[2]

    def fit(self, rows, settings, *, automatic=False, validation=None, watch=None):
        """Descend as far as the settings say; returns the :class:`Solution`.

        After an interruption it is the best so far, and holds the exception, to be raised again.
        """
        problem = DescentProblem(rows, settings.batch_size)
        objective = problem.objective
        if automatic:
            settings = with_automatic_rate(objective, self.rule, settings)
        gap = OptimalityGap(objective)
        reason, at, interruption = self.state.stop, None, None
        if reason is None:
            remaining = max(0, settings.max_iter - (self.iteration - self.begun_at))
            asked = replace(settings, max_iter=remaining)
            more = {"gap": gap, "validation": validation, "watch": watch}
            try:
                ((reason, at),) = descend(objective, self.rule, asked, [self.state], **more)
            except KeyboardInterrupt as error:
                if self.iteration == self.begun_at:
                    raise
                reason, interruption = StopReason.INTERRUPTED, error
        self.pending = False
        found = self.solution(reason, settings, problem)
        found.interruption = interruption
        prove(found, objective, gap, settings.tol, at)
        problem.describe(found)
        if interruption is None and reason is not StopReason.DIVERGED and settings.tol > 0.0:
            found.separation = problem.separation(found)
        return found

    def take_part(self, rows, settings, *, automatic=False):
        """One epoch over a part of a stream, one step without a batch size."""
        n_samples, batch_size = rows.blocks.n_samples, settings.batch_size
        self.pending, self.is_stream = False, True
        if batch_size is not None and batch_size >= n_samples:
            batch_size = None
        rate, is_cut = settings.learning_rate, False
        if automatic:
            bound = automatic_rate(rows, self.rule, batch_size or n_samples, is_part=True)
            is_cut = bound < _CUT * self.rate < math.inf
            rate = self.rate = relaxed(self.rate, bound)
        settings = replace(
            settings,
            learning_rate=rate,
            batch_size=batch_size,
            max_iter=1,
            tol=0.0,
            is_part=True,
        )
        ((reason, _),) = descend(rows, self.rule, settings, [self.state])
        self.history.keep_last(_STREAM_ROWS)
        if reason is StopReason.MAX_ITER:
            reason = StopReason.EPOCH
        found = self.solution(reason, settings, DescentProblem(rows, batch_size=n_samples))
        found.is_cut = is_cut
        return found

    def solution(self, reason, settings, problem=None):
        """What has been found, which is the best that was seen where it ended badly.

        Without a `problem` nothing is asked of the rows.
        """
        state, run = self.state, self.state.iterates
        theta, loss, iteration = run.reported, state.last_loss, run.iteration
        if reason in {StopReason.DIVERGED, StopReason.INTERRUPTED}:
            theta, loss, iteration = state.best.theta, state.best.loss, state.best.iteration
        best = state.best_validated
        if settings.early_stopping and best.theta is not None:
            theta, loss, iteration = best.theta, best.loss, best.iteration
        if iteration != run.iteration and iteration >= self.history["iteration"][0]:
            self.history.mark_returned(iteration)
        found = Solution(
            theta=theta,
            loss=loss,
            solver=_name_of(self.rule),
            reason=reason,
            history=self.history,
            n_iter=run.iteration,
            rate=run.rate if settings.line_search else settings.learning_rate,
        )
        if problem is not None:
            problem.complete(found, self.rule, settings, run)
        return found

    def to_dict(self):
        """All of it as numbers, text, arrays, dicts of these, and the rule."""
        return {**vars(self), "state": self.state.to_dict()}

    @classmethod
    def from_dict(cls, stored, history=None):
        """The descent that was stored; `history` where its record was stored elsewhere."""
        return cls(**{**stored, "state": DescentState.from_dict(stored["state"], history)})

    def check_shapes(self, n_features):
        """Raise ValueError where what was stored cannot be that of so many features."""
        run, shape = self.state.iterates, self.state.iterates.theta.shape
        for theta in (run.theta, run.point, self.state.best.theta):
            if theta.shape != shape or len(theta) != n_features + 1:
                raise ValueError(f"theta of shape {theta.shape} for {n_features} features")


def _name_of(rule):
    names = {kind: name for name, kind in RULES.items()}
    return names.get(type(rule), type(rule).__name__)
