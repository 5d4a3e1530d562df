"""The one loop of descent: every rule, full batch and mini-batch, smooth and proximal.

One iteration, theta being the iterate and y the point where the rule takes its gradient:

    theta <- prox_eta( y - eta * direction(gradient at y) ),    y <- extrapolate(theta)

with one such step for a full batch, and one per mini-batch in an epoch.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ...history import StopReason
from .coordinates import Coordinates
from .schedules import checked_factor
from .stopping import EarlyStopping, Seen, criteria

__all__ = ["DescentSettings", "DescentState", "descend"]

# Trial steps of a line search, as factors of the last step: columns of one pass over X.
_TRIALS = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.0625])
_ARMIJO = 1e-4
# The automatic rate of an adaptive rule falls to this share where the loss rises.
_SHRINK = 0.9


@dataclass(frozen=True)
class DescentSettings:
    """How to descend; the meaning of each is in the docstring of the estimators."""

    learning_rate: float  # NaN with a line search
    schedule: Callable
    max_iter: int  # iterations of this call, whatever was made before
    tol: float
    criterion: str
    n_iter_no_change: int
    early_stopping: bool = False
    min_delta: float = 0.0
    raises: bool = False  # where it diverges
    batch_size: int | None = None
    line_search: bool = False
    store_path: bool | str = False  # "step": of every step of an epoch, too
    is_part: bool = False  # the rows are a part of a stream
    coordinates: Coordinates | None = None  # where the rule takes its steps, if not in theta's
    shrinks: bool = False  # whether the rate falls where the loss rises


@dataclass
class DescentState:
    """Everything a descent needs to continue as if it had never stopped.

    Arrays are replaced, never written into, so a reference is as good as a copy.
    """

    theta: np.ndarray
    point: np.ndarray
    rule_state: dict
    generator: np.random.Generator | None = None
    iteration: int = 0
    step: int = 0
    average: np.ndarray | None = None
    line_step: float = math.nan
    start_loss: float = math.nan
    best_loss: float = math.inf
    best_theta: np.ndarray | None = None
    best_iteration: int = 0
    best_validation: float = math.inf
    best_validation_theta: np.ndarray | None = None
    best_validation_iteration: int = 0
    loss_at_best_validation: float = math.nan
    last_loss: float = math.nan
    update_norm: float = math.nan
    rate: float = math.nan
    shrunk: float = 1.0  # what the rate has fallen to
    memory: dict = field(default_factory=dict)  # of the criteria, by name
    stop: StopReason | None = None  # what the last iteration decided

    @classmethod
    def begin(cls, theta, rule, *, stochastic=False, generator=None):
        """The state before the first step."""
        return cls(theta, theta, rule.init(theta, stochastic), generator)

    def prepare_to_continue(self, rule, *, stochastic, on_new_rows=False):
        """Make ready for more iterations, of full batches or not.

        What was measured on the rows of an earlier fit, losses and patience, says nothing about
        those of another (`on_new_rows`): it is measured again when the descent begins.
        """
        if self.stop is StopReason.DIVERGED:
            self.theta = self.point = self.best_theta
            self.rule_state = rule.init(self.theta, stochastic)
            self.average, self.memory = None, {}
        elif rule.init(self.theta, stochastic).keys() != self.rule_state.keys():
            # Nesterov's sequence grows with full batches only: its memory starts anew.
            self.point, self.rule_state = self.theta, rule.init(self.theta, stochastic)
        if on_new_rows:
            self.start_loss, self.memory = math.nan, {}
        self.stop = None

    def copy(self):
        """A state that may go on without touching this one."""
        return replace(self, generator=copy.deepcopy(self.generator))

    def snapshot(self):
        """All of it at this moment, for :meth:`roll_back`."""
        random = None if self.generator is None else self.generator.bit_generator.state
        return vars(self).copy(), random

    def roll_back(self, snapshot):
        """Be what it was, in the middle of whatever iteration this is called."""
        fields, random = snapshot
        vars(self).update(fields)
        if random is not None:
            self.generator.bit_generator.state = random

    @property
    def reported(self):
        """What a caller sees as theta: the iterate, or its running mean."""
        return self.theta if self.average is None else self.average

    @property
    def result(self):
        """What a fit that ended here would return, but for early stopping."""
        return self.best_theta if self.stop is StopReason.DIVERGED else self.reported

    @property
    def result_loss(self):
        """The loss there."""
        return self.best_loss if self.stop is StopReason.DIVERGED else self.last_loss


def descend(objective, rule, settings, state, history, *, gap=None, validation=None, watch=None):
    """Descend for up to ``settings.max_iter`` iterations; returns the reason it stopped.

    Parameters
    ----------
    objective : object
        An objective of ``objective``; with ``settings.batch_size`` one that has row blocks.
    rule : UpdateRule
    settings : DescentSettings
    state : DescentState
        Brought up to date after every iteration. An interruption in the middle of one leaves it,
        and the history, as they were when the iteration began: nothing is lost, nothing twice.
    history : History
    gap : OptimalityGap, optional
        That of the objective; needed with a tolerance.
    validation : object, optional
        An objective whose ``value`` is the validation loss.
    watch : object, optional
        ``begin(theta)`` is called before every iteration, ``end(theta, loss)`` after it; a true
        answer of the latter stops the descent.
    """
    tests = criteria(objective, rule, settings, gap)
    committed, n_rows = state.snapshot(), len(history)
    try:
        with np.errstate(all="ignore"):
            gradient, ahead = None, None
            if settings.batch_size is None or math.isnan(state.start_loss):
                gradient, ahead = _evaluate(objective, state, settings)
            if math.isnan(state.start_loss):
                _begin(objective, tests, settings, state, history, validation, gradient)
                committed, n_rows = state.snapshot(), len(history)
            for _ in range(settings.max_iter):
                if watch is not None:
                    watch.begin(state.reported)
                # 1. One step, or one epoch of steps.
                before = state.reported
                if settings.batch_size is None:
                    _full_step(objective, rule, settings, state, ahead)
                else:
                    _epoch(objective, rule, settings, state, history)
                state.iteration += 1
                # 2. Where that led.
                previous_loss = state.last_loss
                gradient, ahead = _evaluate(objective, state, settings)
                if settings.shrinks and state.last_loss > previous_loss:
                    state.shrunk *= _SHRINK
                state.update_norm = _norm(state.reported - before)
                validation_loss = _validation_loss(validation, state)
                previous_best = state.best_loss
                _keep_best(state, validation_loss)
                # 3. Stop?
                state.stop = _reason(tests, state, gradient, previous_best, validation_loss)
                # 4. Remember it, and tell.
                _record(history, state, settings, _norm(gradient), validation_loss)
                committed, n_rows = state.snapshot(), len(history)
                asked = watch is not None and watch.end(state.result, state.result_loss)
                if state.stop is not None:
                    return state.stop
                if asked:
                    return StopReason.CALLBACK
    except KeyboardInterrupt:
        state.roll_back(committed)
        history.truncate(n_rows)
        raise
    return StopReason.MAX_ITER


def _begin(objective, tests, settings, state, history, validation, gradient):
    """Row 0: where the descent starts; or what a later one starts from, on rows of its own."""
    state.start_loss = state.last_loss
    if not math.isfinite(state.start_loss):
        raise FloatingPointError(
            "The loss at the start overflows float64; rescale X and y to ordinary units."
        )
    validation_loss = _validation_loss(validation, state)
    if state.iteration == 0:
        _record(history, state, settings, _norm(gradient), validation_loss)
    else:
        _measure_best_again(objective, validation, state)
    _keep_best(state, validation_loss)
    for test in tests:
        if isinstance(test, EarlyStopping):
            state.memory = {**state.memory, test.name: test.begin(validation_loss)}


def _measure_best_again(objective, validation, state):
    """The losses of the best iterates of an earlier fit, on the rows of this one."""
    state.best_loss = float(objective.value(state.best_theta)[0])
    state.best_validation = math.inf
    if validation is not None and state.best_validation_theta is not None:
        state.best_validation = float(validation.value(state.best_validation_theta)[0])
        state.loss_at_best_validation = float(objective.value(state.best_validation_theta)[0])


def _full_step(objective, rule, settings, state, gradient):
    if settings.line_search:
        _, rule_state = rule.update(gradient, state.rule_state)
        state.rate, theta = _line_search(objective, rule, state, gradient)
        _advance(rule, state, theta, rule_state)
    else:
        _step(objective, rule, settings, state, gradient, state.iteration)


def _epoch(objective, rule, settings, state, history):
    blocks = objective.blocks
    steps = _record_of_steps(history, state) if settings.store_path == "step" else None
    n_steps = -(-blocks.n_samples // settings.batch_size)
    for number, block in enumerate(blocks.batches(state.generator, settings.batch_size)):
        gradient = objective.batch_gradient(block, state.point)
        before, loss = state.reported, 0.0
        if steps is not None:
            loss = float(objective.batch_value(block, state.point)[0])
        _step(objective, rule, settings, state, gradient, state.iteration + number / n_steps)
        if steps is not None:
            _record_step(steps, state, loss, gradient, before)


def _step(objective, rule, settings, state, gradient, t):
    """One step of the rule at the time t."""
    rate = settings.learning_rate * checked_factor(settings.schedule, t)
    state.rate = rate = rate * state.shrunk if settings.shrinks else rate
    if settings.coordinates is not None:
        moved = settings.coordinates.step(rule, state, gradient, rate)
        state.theta, state.point, state.rule_state = moved
        _count(rule, state)
        return
    direction, rule_state = rule.update(gradient, state.rule_state)
    theta = objective.proximal(state.point - rate * direction, rate)
    _advance(rule, state, theta, rule_state)


def _advance(rule, state, theta, rule_state):
    previous, state.theta = state.theta, theta
    state.point, state.rule_state = rule.extrapolate(theta, previous, state.point, rule_state)
    _count(rule, state)


def _count(rule, state):
    """One step more, and the mean of the iterates with it."""
    theta = state.theta
    state.step += 1
    if rule.average:
        # Mean of theta_1, ..., theta_k (Polyak & Juditsky 1992)
        mean = theta if state.average is None else state.average
        state.average = mean + (theta - mean) / state.step


def _record_of_steps(history, state):
    """The record of the single steps; row 0 is where they begin."""
    steps = history.begin_steps()
    if not len(steps):
        steps.record(state.iteration, state.step, state.last_loss)
        steps.record_path(state.reported)
    return steps


def _record_step(steps, state, loss, gradient, before):
    """One row: the loss and the gradient of the batch, where they were taken, and the new theta."""
    steps.record(
        state.iteration + 1,
        state.step,
        loss,
        gradient_norm=_norm(gradient),
        update_norm=_norm(state.reported - before),
        learning_rate=state.rate,
    )
    steps.record_path(state.reported)


def _evaluate(objective, state, settings):
    """Loss at the reported theta; gradients there and at the point, in one pass over X."""
    if settings.batch_size is not None or state.point is state.reported:
        loss, gradient = objective.value_and_gradient(state.reported)
        state.last_loss = float(loss[0])
        return gradient, gradient
    both = np.concatenate([state.reported, state.point], axis=1)
    loss, gradients = objective.value_and_gradient(both)
    state.last_loss = float(loss[0])
    return gradients[:, :1], gradients[:, 1:]


def _validation_loss(validation, state):
    return math.nan if validation is None else float(validation.value(state.reported)[0])


def _keep_best(state, validation_loss):
    """Remember the best iterates."""
    if state.last_loss < state.best_loss:
        state.best_loss, state.best_theta = state.last_loss, state.reported
        state.best_iteration = state.iteration
    if validation_loss < state.best_validation:
        state.best_validation, state.best_validation_theta = validation_loss, state.reported
        state.best_validation_iteration = state.iteration
        state.loss_at_best_validation = state.last_loss


def _reason(tests, state, gradient, previous_best, validation_loss):
    """Why to stop here, or None; the memories of the criteria are brought up to date."""
    seen = Seen(
        state.reported,
        state.last_loss,
        gradient,
        state.update_norm,
        state.rate,
        previous_best,
        state.start_loss,
        validation_loss,
        state.rule_state,
    )
    for test in tests:
        before = state.memory.get(test.name)
        reason, memory = test.check(before, seen)
        if memory is not before:
            state.memory = {**state.memory, test.name: memory}
        if reason is not None:
            return reason
    return None


def _norm(theta):
    return math.sqrt(np.vdot(theta, theta))


def _record(history, state, settings, gradient_norm, validation_loss):
    history.record(
        state.iteration,
        state.step,
        state.last_loss,
        gradient_norm=gradient_norm,
        update_norm=state.update_norm,
        learning_rate=state.rate,
        validation_loss=validation_loss,
    )
    if settings.store_path:
        history.record_path(state.reported)


def _line_search(objective, rule, state, gradient):
    """A step from the point along its gradient; returns the step size and the new theta.

    Plain descent on a smooth quadratic: exact, ``eta = g^T g / g^T H g``. Otherwise the largest of
    several trial steps with sufficient decrease of the smooth part F, trials being columns of one
    pass over X: ``F(theta+) <= F(y) + c g^T d`` (Armijo 1966) for plain descent and, where the
    step is proximal or accelerated, the quadratic bound of Beck & Teboulle (2009),

        F(theta+) <= F(y) + g^T d + |d|^2 / (2 eta),   d = theta+ - y.
    """
    point = state.point
    plain = not (objective.has_l1 or rule.looks_ahead)
    if objective.is_quadratic and plain:
        curvature = np.vdot(gradient, objective.hessian_product(point, gradient))
        square = np.vdot(gradient, gradient)
        step = float(square / curvature) if curvature > 0.0 else 0.0
        return step, point - step * gradient
    if not math.isfinite(state.line_step):
        # The trace bounds the largest eigenvalue: a step that surely decreases the loss.
        state.line_step = 1.0 / max(float(objective.hessian_bound_diagonal().sum()), 1e-300)
    smooth_at_point = objective.smooth_value(point)[0]
    for _ in range(60):
        steps = state.line_step * _TRIALS
        trials = objective.proximal(point - steps[:, None] * gradient, steps[:, None])
        change = trials - point
        square = np.einsum("jmk,jmk->m", change, change)
        slope = np.einsum("jmk,jk->m", change, gradient[:, 0])
        if plain:
            allowed = smooth_at_point + _ARMIJO * slope
        else:
            allowed = smooth_at_point + slope + square / (2.0 * steps)
        value = objective.smooth_value(trials)
        accepted = np.flatnonzero(value <= allowed + 4e-16 * abs(smooth_at_point))
        if len(accepted):
            first = accepted[0]
            state.line_step = float(steps[first])
            return state.line_step, trials[:, first : first + 1]
        state.line_step = float(steps[-1])
    return 0.0, point
