"""Why a descent stops: each criterion owns its memory, and answers with a reason or with None.

The contract of a criterion:

``name`` : str
    Under which the state of the descent keeps its memory.
``check(memory, seen)`` -> (reason, memory)
    After an iteration. `memory` is what it returned last, None at first; it is replaced, never
    written into. `seen` is what the iteration has shown.

What every tolerance is a share of, and what "converged" means, is in ``gap``.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...history import StopReason
from .schedules import Constant

__all__ = ["Divergence", "EarlyStopping", "Seen", "criteria"]

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
    """What an iteration has shown."""

    theta: np.ndarray
    loss: float
    gradient: np.ndarray
    update_norm: float
    rate: float
    previous_best: float
    start_loss: float
    validation_loss: float
    rule_state: dict


def criteria(objective, rule, settings, gap):
    """The criteria of a descent, in the order in which they are asked."""
    found: list[Any] = [Divergence(objective, rule, settings)]
    if settings.tol > 0.0:
        found.append(_BY_NAME[settings.criterion](settings, gap))
    if settings.early_stopping:
        found.append(EarlyStopping(settings))
    return found


class GradientCriterion:
    """The whole decrease that is still possible is at most ``tol`` of what a fit can gain.

    The measure, in every iteration, is exact for squares and too low for the logistic losses. Once
    it is below the tolerance they ask the Hessian; refused, the memory is by how much the measure
    was too low, and the Hessian is asked again where the measure times that falls below.
    """

    name = "gradient"

    def __init__(self, settings, gap):
        self.tol, self.gap = settings.tol, gap

    def check(self, memory, seen):
        measured = self.gap.share(seen.theta, seen.loss, seen.gradient, self.tol)
        if not measured * (1.0 if memory is None else memory) <= self.tol:
            return None, memory
        proven = self.gap.proven(seen.theta, seen.loss, seen.gradient, measured)
        if proven <= self.tol:
            return StopReason.GRADIENT, memory
        if not math.isfinite(proven):
            proven = _UNKNOWN_FALL * self.tol
        return None, max(proven, _LEAST_FALL * self.tol) / measured


class UpdateCriterion:
    """``|theta_k - theta_(k-1)|_2 < tol``."""

    name = "update"

    def __init__(self, settings, gap):
        self.tol = settings.tol

    def check(self, memory, seen):
        return StopReason.UPDATE if seen.update_norm < self.tol else None, memory


class LossCriterion:
    """For `n_iter_no_change` iterations on end the loss fell by less than ``tol`` of the gain."""

    name = "loss"

    def __init__(self, settings, gap):
        self.least = settings.tol * gap.gain
        self.patience = settings.n_iter_no_change

    def check(self, memory, seen):
        if not seen.previous_best - seen.loss < self.least:
            return None, 0
        idle = (memory or 0) + 1
        return StopReason.LOSS if idle >= self.patience else None, idle


class EarlyStopping:
    """The validation loss has not improved by a share ``min_delta`` for `n_iter_no_change`."""

    name = "early stopping"

    def __init__(self, settings):
        self.patience, self.min_delta = settings.n_iter_no_change, settings.min_delta

    def begin(self, validation_loss):
        """The memory at the start."""
        return {"idle": 0, "best": validation_loss}

    def check(self, memory, seen):
        best = memory["best"]
        if seen.validation_loss < best - self.min_delta * abs(best):
            return None, self.begin(seen.validation_loss)
        memory = {"idle": memory["idle"] + 1, "best": best}
        return StopReason.EARLY if memory["idle"] >= self.patience else None, memory


class Divergence:
    """The loss has left the range of float64, or is above its start and does not come back.

    A loss above both its start and that of theta = 0 is given up

    - in full batches of squares, where the rate is constant and above the limit of its rule, so
      that nothing can come back: after ten such iterations, or a thousandfold;
    - in full batches of a logistic loss at such a rate, which may come back from far away: where it
      has stopped falling, on the mean over windows of 10, 20, 40, ... iterations, twice on end;
    - in mini-batches, of which no limit is known, at a million times the start;
    - in one part of a stream, whose other parts cannot mend it, at a hundred times the start.

    Adaptive steps are bounded: their loss comes back.
    """

    name = "divergence"

    def __init__(self, objective, rule, settings):
        self.objective, self.rule, self.settings = objective, rule, settings
        self._at_zero = None

    def check(self, memory, seen):
        if not math.isfinite(seen.loss):
            return StopReason.DIVERGED, memory
        if seen.loss <= seen.start_loss or self.rule.is_adaptive:
            return None, None
        if self._at_zero is None:
            self._at_zero = float(self.objective.value(np.zeros_like(seen.theta))[0])
        times = seen.loss / max(seen.start_loss, self._at_zero, _TINY)
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
        limit = self.rule.stable_below(self.objective.hessian_bound_norm(), seen.rule_state)
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


_BY_NAME = {each.name: each for each in (GradientCriterion, UpdateCriterion, LossCriterion)}
