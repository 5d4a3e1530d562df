"""Why a descent stops: each criterion owns its memory, and answers with a reason or with None.

The contract of a criterion:

``name`` : str
    Under which the state of the descent keeps its memory, and the word for ``criterion`` where it
    ``is_chosen`` by that.
``of(objective, rule, settings, gap)`` -> criterion or None
    The criterion of a descent, where it applies.
``init(validation_loss)`` -> memory
    Its memory where the descent begins, of numbers and arrays; None where it needs none.
``check(memory, seen)`` -> (reason, memory)
    After an iteration. `memory` is what it returned last, replaced and never written into; `seen`
    is what the iteration has shown.

A new one is a class with these and a line in ``CRITERIA``; its reason is one of
:class:`~gdregress.history.StopReason`, or a :class:`~gdregress.history.Reason` of its own. What
every tolerance is a share of, and what "converged" means, is in ``gap``.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...history import StopReason
from .schedules import Constant
from .state import DescentState, Iterates

__all__ = ["CRITERIA", "Criterion", "Seen", "chosen_by_name", "criteria", "reason_to_stop"]

# From so many times the loss at the start nothing comes back; see Divergence.
_HOPELESS, _HOPELESS_STOCHASTIC, _HOPELESS_IN_A_PART = 1e3, 1e6, 1e2
_TINY = np.finfo(np.float64).tiny
# A window whose mean loss is below this share of the one before is falling.
_STILL_FALLING = 0.95
_FIRST_WINDOW = {"length": 10, "left": 10, "total": 0.0, "mean": math.inf, "idle": 0}
# Refused by the Hessian, a measure has to fall by this before it is asked again.
_LEAST_FALL = 1.1
# ... and by this where the Hessian had nothing to say.
_UNKNOWN_FALL = 4.0


@dataclass(slots=True)
class Seen:
    """What an iteration has shown of one model.

    Its `state` is that before the iteration: the best iterate so far, the loss at the start.
    """

    theta: np.ndarray
    loss: float
    gradient: np.ndarray
    update_norm: float
    rate: float
    validation_loss: float
    state: DescentState
    run: Iterates
    place: int  # of the model in the run

    @property
    def rule_state(self):
        """The rule's memory."""
        return self.run.only([self.place]).rule_state


def criteria(objective, rule, settings, gap):
    """The criteria of a descent, in the order in which they are asked."""
    asked = (kind.of(objective, rule, settings, gap) for kind in CRITERIA.values())
    return [criterion for criterion in asked if criterion is not None]


def reason_to_stop(tests, memory, seen):
    """Why to stop here, or None; and the memories of the criteria, by their names."""
    for test in tests:
        before = memory.get(test.name)
        reason, after = test.check(before, seen)
        if after is not before:
            memory = {**memory, test.name: after}
        if reason is not None:
            return reason, memory
    return None, memory


class Criterion:
    """One that is chosen by its name, with a tolerance; see the module for the contract."""

    name = ""
    is_chosen = True

    def __init__(self, settings, gap):
        self.settings, self.gap = settings, gap

    @classmethod
    def of(cls, objective, rule, settings, gap):
        """The criterion where it was chosen; none where the tolerance is 0."""
        return cls(settings, gap) if settings.tol > 0.0 and settings.criterion == cls.name else None

    def init(self, validation_loss):
        """The memory at the start: none."""

    def check(self, memory, seen):
        """The reason to stop, and the memory."""
        raise NotImplementedError


class GradientCriterion(Criterion):
    """The whole decrease that is still possible is at most ``tol`` of what a fit can gain.

    The measure, in every iteration, is exact for squares and too low for the logistic losses. Once
    it is below the tolerance they ask the Hessian; refused, the memory is by how much the measure
    was too low, and the Hessian is asked again where the measure times that falls below. Of a
    gradient of zero that proves nothing (all rows far out, where the Hessian vanishes, too) it is
    infinite: while the gradient is zero there is nothing new to be asked.
    """

    name = "gradient"

    def check(self, memory, seen):
        tol = self.settings.tol
        measured = self.gap.share(seen.theta, seen.loss, seen.gradient, tol)
        if not measured * (1.0 if memory is None else memory) <= tol:
            return None, None if memory == math.inf and measured > 0.0 else memory
        proven = self.gap.proven(seen.theta, seen.loss, seen.gradient, measured)
        if proven <= tol:
            return StopReason.GRADIENT, memory
        if not math.isfinite(proven):
            proven = _UNKNOWN_FALL * tol
        proven = max(proven, _LEAST_FALL * tol)
        return None, proven / measured if measured > 0.0 else math.inf


class UpdateCriterion(Criterion):
    """``|theta_k - theta_(k-1)|_2 < tol``."""

    name = "update"

    def check(self, memory, seen):
        return StopReason.UPDATE if seen.update_norm < self.settings.tol else None, memory


class LossCriterion(Criterion):
    """For `n_iter_no_change` iterations on end the loss fell by less than ``tol`` of the gain."""

    name = "loss"

    def check(self, memory, seen):
        if not seen.state.best.loss - seen.loss < self.settings.tol * self.gap.gain:
            return None, 0
        idle = (memory or 0) + 1
        return StopReason.LOSS if idle >= self.settings.n_iter_no_change else None, idle


class EarlyStopping(Criterion):
    """The validation loss has not improved by a share ``min_delta`` for `n_iter_no_change`."""

    name = "early stopping"
    is_chosen = False

    @classmethod
    def of(cls, objective, rule, settings, gap):
        return cls(settings, gap) if settings.early_stopping else None

    def init(self, validation_loss):
        return {"idle": 0, "best": validation_loss}

    def check(self, memory, seen):
        best = memory["best"]
        if seen.validation_loss < best - self.settings.min_delta * abs(best):
            return None, self.init(seen.validation_loss)
        memory, patience = (
            {"idle": memory["idle"] + 1, "best": best},
            self.settings.n_iter_no_change,
        )
        return StopReason.EARLY if memory["idle"] >= patience else None, memory


class Divergence(Criterion):
    """The loss has left the range of float64, or is above its start and does not come back.

    A loss above both its start and that of theta = 0 is given up

    - in full batches of squares, where the rate is constant and above the limit of its rule, so
      that nothing can come back: after ten such iterations, or a thousandfold;
    - in full batches of another loss at such a rate, which may come back from far away: where it
      has stopped falling, on the mean over windows of 10, 20, 40, ... iterations, twice on end;
    - in mini-batches, of which no limit is known, at a million times the start;
    - in one part of a stream, whose other parts cannot mend it, at a hundred times the start.

    Adaptive steps are bounded: their loss comes back.
    """

    name = "divergence"
    is_chosen = False

    def __init__(self, objective, rule, settings):
        self.objective, self.rule, self.settings = objective, rule, settings
        self._at_zero = None

    @classmethod
    def of(cls, objective, rule, settings, gap):
        return cls(objective, rule, settings)

    def check(self, memory, seen):
        if not math.isfinite(seen.loss):
            return StopReason.DIVERGED, memory
        start_loss = seen.state.start_loss
        if seen.loss <= start_loss or self.rule.is_adaptive:
            return None, None
        if self._at_zero is None:
            self._at_zero = float(self.objective.value(np.zeros_like(seen.theta))[0])
        times = seen.loss / max(start_loss, self._at_zero, _TINY)
        if times <= 1.0:
            return None, None
        settings = self.settings
        if settings.is_part and times > _HOPELESS_IN_A_PART:
            return StopReason.DIVERGED, memory
        if settings.batch_size is not None:
            return StopReason.DIVERGED if times > _HOPELESS_STOCHASTIC else None, None
        if settings.coordinates is not None or settings.line_search:
            return None, None  # such rates are safe
        if not isinstance(settings.schedule, Constant):
            return None, None
        if not self._is_above_limit(seen):
            return None, None
        memory = memory or _FIRST_WINDOW
        if not self.objective.is_quadratic:
            return self._falling(memory, seen)
        left = memory["left"] - 1
        hopeless = left == 0 or times > _HOPELESS
        return StopReason.DIVERGED if hopeless else None, {**memory, "left": left}

    def _is_above_limit(self, seen):
        if self.objective.curvature_bound is None:
            return False
        limit = self.rule.stable_below(self.objective.bound.norm, seen.rule_state)
        return limit is not None and seen.rate > limit

    @staticmethod
    def _falling(memory, seen):
        """Compare the mean loss of every window with that of the one before, half as long."""
        left, total = memory["left"] - 1, memory["total"] + seen.loss
        if left:
            return None, {**memory, "total": total, "left": left}
        mean, length = total / memory["length"], 2 * memory["length"]
        idle = 0 if mean < _STILL_FALLING * memory["mean"] else memory["idle"] + 1
        window = {"length": length, "left": length, "total": 0.0, "mean": mean, "idle": idle}
        return StopReason.DIVERGED if idle == 2 else None, window


CRITERIA: dict[str, Any] = {
    each.name: each
    for each in (Divergence, GradientCriterion, UpdateCriterion, LossCriterion, EarlyStopping)
}


def chosen_by_name():
    """The words for ``criterion``, of those that were added too."""
    return [name for name, kind in CRITERIA.items() if kind.is_chosen]
