"""Where a descent is, and everything it needs to continue as if it had never stopped."""

import copy
import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ...history import History, Reason, StopReason
from .models import along_models, joined

__all__ = ["DescentState", "Iterates"]

# The weight of a late iterate in a mean, which grows with the power of this.
_LATE = 3.0


@dataclass
class Iterates:
    """Where M models are that descend together, all of them at the same iteration.

    Arrays have the axis of models (see ``models``), and are replaced, never written into: a
    reference is as good as a copy.
    """

    theta: np.ndarray
    point: np.ndarray  # where the rule takes its gradient
    rule_state: dict
    average: np.ndarray | None = None
    learning_rate: Any = math.nan
    rate: Any = math.nan  # of the last step
    line_step: Any = math.nan  # of the last line search
    shrunk: Any = 1.0  # what the rate has fallen to
    shrunk_before: Any = 1.0  # in the window before, of a rate that may rise again; see ``steps``
    settled: Any = 1.0  # what it has fallen to for good
    direction: np.ndarray | None = None  # of the last step
    anchor: np.ndarray | None = None  # where the metric of the steps was taken; see ``metric``
    agreement: Any = 0.0  # of gradients with the step before, in this window
    scatter: Any = 0.0  # the root of the sum of the squares of its terms
    iteration: int = 0
    step: int = 0

    @property
    def reported(self):
        """What a caller sees as theta: the iterate, or its running mean."""
        return self.theta if self.average is None else self.average

    def move(self, rule, theta, point, rule_state):
        """One step more, and the mean of the iterates with it."""
        self.theta, self.point, self.rule_state = theta, point, rule_state
        self.step += 1
        if not rule.average:
            self.average = None
            return
        if self.average is None:
            self.average = theta.copy()
            return
        # Mean of theta_1, ..., theta_k (Polyak & Juditsky 1992)
        mean = theta - self.average
        mean /= self.step
        mean += self.average
        self.average = mean

    def move_on(self, rule, since, steps):
        """Some steps on end of a rule that does not look ahead, vectors, from where (step, average)
        were `since`; and the mean of the iterates, in which late ones weigh more."""
        shape, (begun, average) = self.theta.shape, since
        self.theta = self.point = steps[-1].reshape(shape)
        self.step = begun + len(steps)
        length = np.arange(begun + 1.0, self.step + 1.0)
        if not rule.average:
            # theta_k weighs (a + 1) / (k + a): late ones the most (Shamir & Zhang 2013, section 4)
            length = (length + _LATE) / (1.0 + _LATE)
        # mean_k = (1 - w_k) mean_(k-1) + w_k theta_k, for all of them at once.
        weight = 1.0 / length
        left = np.append(np.cumprod((1.0 - weight)[:0:-1])[::-1], 1.0)
        self.average = np.dot(weight * left, steps).reshape(shape)
        if average is not None:
            self.average += (1.0 - weight[0]) * left[0] * average

    def forget_bounds(self):
        """Begin anew with what batches say of the rates; see ``steps``."""
        self.shrunk = self.shrunk_before = 1.0
        self.agreement = self.scatter = 0.0

    @classmethod
    def together(cls, parts):
        """The iterates of several models as one."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        found = {
            name: _together([getattr(part, name) for part in parts])
            for name in vars(first)
            if name not in {"rule_state", "iteration", "step"}
        }
        memory = {
            key: _together([part.rule_state[key] for part in parts]) for key in first.rule_state
        }
        if all(part.point is part.theta for part in parts):  # one evaluation serves both
            found["point"] = found["theta"]
        return cls(**found, rule_state=memory, iteration=first.iteration, step=first.step)

    def only(self, kept):
        """The iterates of some of the models, by their places."""
        if self.theta.shape[1] == 1:
            return self
        found = {name: _only(value, kept) for name, value in vars(self).items()}
        found["rule_state"] = {key: _only(value, kept) for key, value in self.rule_state.items()}
        if self.point is self.theta:
            found["point"] = found["theta"]
        return Iterates(**found)


def _together(values):
    """One value of each model as one: arrays side by side, numbers along the axis of models."""
    if values[0] is None:
        return None
    if isinstance(values[0], np.ndarray):
        return joined(values)
    return along_models(values)


def _only(value, kept):
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 3:
        return np.take(value, kept, axis=1)
    return along_models(value[kept, 0].tolist())


class Best(NamedTuple):
    """The best iterate so far, by its loss, or by that on the validation rows."""

    loss: float = math.inf
    theta: np.ndarray | None = None
    iteration: int = 0
    validation_loss: float = math.inf


@dataclass
class DescentState:
    """One model's descent: its iterates, what they have shown, and the record of it.

    Attributes
    ----------
    iterates : Iterates
    history : History
    generator : Generator
        Of the mini-batches.
    start_loss, last_loss, update_norm : float
        The loss where the descent began, and what the last iteration has shown.
    best, best_validated : Best
        The iterates of least loss, and of least loss on the validation rows.
    memory : dict
        Of the stopping criteria, by their names.
    stop : Reason or None
        What the last iteration decided.
    """

    iterates: Iterates
    history: History
    generator: np.random.Generator | None = None
    start_loss: float = math.nan
    last_loss: float = math.nan
    update_norm: float = math.nan
    best: Best = field(default_factory=Best)
    best_validated: Best = field(default_factory=Best)
    memory: dict = field(default_factory=dict)
    stop: Reason | None = None

    @classmethod
    def begin(cls, theta, rule, *, stochastic=False, generator=None):
        """The state before the first step."""
        iterates = Iterates(theta, theta, rule.init(theta, stochastic))
        return cls(iterates, History(), generator)

    def prepare_to_continue(self, rule, *, stochastic, on_new_rows=False):
        """Make ready for more iterations, of full batches or not.

        What was measured on the rows of an earlier fit, losses and patience, says nothing about
        those of another (`on_new_rows`): it is measured again when the descent begins.
        """
        run = self.iterates
        if self.stop is StopReason.DIVERGED:
            run.theta = run.point = self.best.theta
            run.rule_state = rule.init(run.theta, stochastic)
            run.average, self.memory = None, {}
        elif rule.init(run.theta, stochastic).keys() != run.rule_state.keys():
            # Nesterov's sequence grows with full batches only: its memory starts anew.
            run.point, run.rule_state = run.theta, rule.init(run.theta, stochastic)
        if on_new_rows:
            self.start_loss, self.memory = math.nan, {}
        self.stop = None

    def keep_best(self, theta, iteration, validation_loss):
        """Remember an iterate, of the last loss, that is better than all before."""
        loss = self.last_loss
        if loss < self.best.loss:
            self.best = Best(loss, theta, iteration)
        if validation_loss < self.best_validated.validation_loss:
            self.best_validated = Best(loss, theta, iteration, validation_loss)

    def copy(self):
        """A state that may go on without touching this one."""
        return replace(
            self,
            iterates=replace(self.iterates),
            generator=copy.deepcopy(self.generator),
            history=self.history.copy(),
        )

    @property
    def result(self):
        """What a fit that ended here would return, but for early stopping."""
        return self.best.theta if self.stop is StopReason.DIVERGED else self.iterates.reported

    @property
    def result_loss(self):
        """The loss there."""
        return self.best.loss if self.stop is StopReason.DIVERGED else self.last_loss

    def to_dict(self):
        """All of it as numbers, text, arrays and dicts of these, for :meth:`from_dict`."""
        random = None if self.generator is None else self.generator.bit_generator.state
        return {
            **vars(self),
            "iterates": vars(self.iterates).copy(),
            "history": self.history.packed(),
            "generator": random,
            "best": self.best._asdict(),
            "best_validated": self.best_validated._asdict(),
            "stop": None if self.stop is None else self.stop.packed(),
        }

    @classmethod
    def from_dict(cls, stored, history=None):
        """The state that was stored; `history` where its record was stored elsewhere."""
        if stored["history"] is not None:
            history = History.unpacked(stored["history"])
        generator = None
        if stored["generator"] is not None:
            generator = np.random.default_rng()
            generator.bit_generator.state = stored["generator"]
        return cls(
            **{
                **stored,
                "iterates": Iterates(**stored["iterates"]),
                "history": history,
                "generator": generator,
                "best": Best(**stored["best"]),
                "best_validated": Best(**stored["best_validated"]),
                "stop": None if stored["stop"] is None else Reason.unpacked(stored["stop"]),
            }
        )
