"""The one loop of descent: every rule, full batch and mini-batch, smooth and proximal.

One iteration, theta being the iterate and y the point where the rule takes its gradient:

    theta <- prox_eta( y - eta * direction(gradient at y) ),    y <- extrapolate(theta)

with one such step for a full batch, and one per mini-batch in an epoch. M models of one objective
descend together: one pass over the rows serves all that still run. Each has a rate of its own, its
own criteria, best iterate and record.
"""

import math
from typing import NamedTuple

import numpy as np

from ...history import Reason, StopReason
from ...problem.evaluation import Evaluation
from ..needs import bad_start
from .models import models_of, norms, numbers
from .state import Iterates
from .steps import step_of
from .stopping import Seen, criteria, reason_to_stop

__all__ = ["End", "descend"]


class End(NamedTuple):
    """Why a model stopped, and the last evaluation of the objective, where it is reported.

    None where nothing was evaluated: there were no iterations to make.
    """

    reason: Reason
    at: Evaluation | None


def descend(objective, rule, settings, states, *, gap=None, validation=None, watch=None):
    """Descend for up to ``settings.max_iter`` iterations; returns the :class:`End` of each model.

    Parameters
    ----------
    objective : object
        An objective of ``objective``; with ``settings.batch_size`` one that has row blocks.
    rule : UpdateRule
    settings : DescentSettings
        Its learning rate is a number, or an array with one for each model.
    states : list of DescentState
        One of each model, all at the same iteration, brought up to date after every iteration. An
        interruption in the middle of one leaves them, and their histories, as they were when the
        iteration began: nothing is lost, nothing twice. Mini-batches are in the order that the
        generator of the first draws.
    gap : OptimalityGap, optional
        That of the objective; needed with a tolerance.
    validation : object, optional
        An objective whose ``value`` is the validation loss.
    watch : object, optional
        Of a single model: ``begin(theta)`` is called before every iteration, ``end(theta, loss)``
        after it; a true answer of the latter stops the descent.
    """
    loop = _Loop(objective, rule, settings, states, gap, validation)
    asked = False
    with np.errstate(all="ignore"):
        try:
            if settings.batch_size is None or loop.is_new:
                loop.evaluate()
            if loop.is_new:
                loop.begin()
            for _ in range(settings.max_iter):
                if watch is not None:
                    watch.begin(states[0].iterates.reported)
                has_stopped = loop.iterate()
                asked = watch is not None and watch.end(states[0].result, states[0].result_loss)
                if has_stopped:
                    loop.let_go()
                if asked or not loop.running:
                    break
        except KeyboardInterrupt:
            loop.roll_back()
            raise
        finally:
            loop.hand_back()
    loop.keep_last()
    end = StopReason.CALLBACK if asked else StopReason.MAX_ITER
    return [End(state.stop or end, at) for state, at in zip(states, loop.last, strict=True)]


class _Loop:
    """The models that still run, where they are, and what the last evaluation has shown there.

    ``losses`` (a list) and ``gradient`` are those where the models are reported, ``at_points`` the
    gradient where their steps begin, and ``smooth_losses`` the losses without the rough part,
    for a line search.
    """

    def __init__(self, objective, rule, settings, states, gap, validation):
        self.objective, self.settings, self.validation = objective, settings, validation
        self.tests = criteria(objective, rule, settings, gap)
        self.step = step_of(objective, rule, settings)
        rate = settings.learning_rate
        rates = rate.tolist() if isinstance(rate, np.ndarray) else [rate] * len(states)
        for state, rate in zip(states, rates, strict=True):
            state.iterates.learning_rate = rate
        self.running, self.places = list(states), list(range(len(states)))
        self.last = [None] * len(states)
        self.losses = None
        # Rows of each history before this descent, and those that it has added since.
        self.n_before, self.n_rows = [len(state.history) for state in states], 0
        self.is_new = math.isnan(states[0].start_loss)
        self.run = Iterates.together([state.iterates for state in states])
        self._commit()

    def begin(self):
        """Row 0: where the descent starts; or what a later one starts from, on rows of its own."""
        sizes, held_out = norms(self.gradient), self._held_out()
        shown = zip(
            self.running,
            self.losses,
            models_of(self.run.reported),
            sizes,
            held_out,
            strict=True,
        )
        for each in shown:
            self._begin(*each)
        self.n_rows = 1 if self.run.iteration == 0 else 0
        self._commit()

    def _begin(self, state, loss, theta, size, validation_loss):
        state.start_loss = state.last_loss = loss
        if not math.isfinite(state.start_loss):
            raise bad_start(self.objective, loss)
        if self.run.iteration == 0:
            self._record(state, theta, size, math.nan, validation_loss)
        else:
            self._measure_best_again(state)
        state.keep_best(theta, self.run.iteration, validation_loss)
        begun = {test.name: test.init(validation_loss) for test in self.tests}
        state.memory = {name: memory for name, memory in begun.items() if memory is not None}

    def _measure_best_again(self, state):
        """The losses of the best iterates of an earlier fit, on the rows of this one."""
        best, validated = state.best, state.best_validated
        state.best = best._replace(loss=float(self.objective.value(best.theta)[0]))
        if self.validation is None or validated.theta is None:
            state.best_validated = validated._replace(validation_loss=math.inf)
            return
        state.best_validated = validated._replace(
            validation_loss=float(self.validation.value(validated.theta)[0]),
            loss=float(self.objective.value(validated.theta)[0]),
        )

    def iterate(self):
        """One iteration of the models that still run; whether one has stopped."""
        run, running, before = self.run, self.running, self.run.reported
        # 1. One step, or one epoch of steps.
        if self.settings.batch_size is None:
            self.step.take(run, self.at_points, self.smooth_losses, run.iteration)
        else:
            self._epoch()
        run.iteration += 1
        # 2. Where that led.
        self.evaluate()
        losses, gradient, reported, has_stopped = self.losses, self.gradient, run.reported, False
        if self.step.shrinks:
            self.step.shrink(run, [state.last_loss for state in running], losses)
        sizes, moves, rates = norms(gradient), norms(reported - before), numbers(run.rate, reported)
        thetas, gradients, held_out = models_of(reported), models_of(gradient), self._held_out()
        for k, state in enumerate(running):
            theta, loss, rate, validation_loss = thetas[k], losses[k], rates[k], held_out[k]
            shown = Seen(theta, loss, gradients[k], moves[k], rate, validation_loss, state, run, k)
            state.last_loss, state.update_norm = loss, moves[k]
            # 3. Stop?
            state.stop, state.memory = reason_to_stop(self.tests, state.memory, shown)
            if state.stop is not None:
                has_stopped = True
            # 4. Remember it.
            state.keep_best(theta, run.iteration, validation_loss)
            self._record(state, theta, sizes[k], rate, validation_loss)
        self.n_rows += 1
        self._commit()
        return has_stopped

    def _epoch(self):
        """One pass over the rows, a step for every mini-batch."""
        run, settings, objective = self.run, self.settings, self.objective
        n_steps = -(-objective.blocks.n_samples // settings.batch_size)
        first, *others = [state.generator for state in self.running]
        records = self._records_of_steps() if settings.store_path == "step" else None
        batches = objective.blocks.batches(first, settings.batch_size)
        if self.step.sees_batches:
            record = None if records is None else lambda *seen: self._record_step(records, *seen)
            self.step.epoch(run, batches, record)
            return
        for number, batch in enumerate(batches):
            before, losses = None if records is None else run.reported, None
            gradient = objective.batch_gradient(batch, run.point)
            if records is not None:
                losses = objective.batch_value(batch, run.point).tolist()
            self.step.take(run, gradient, losses, run.iteration + number / n_steps)
            if records is not None:
                self._record_step(records, losses, gradient, before)
        for generator in others:
            generator.bit_generator.state = first.bit_generator.state

    def evaluate(self):
        """Losses where the models are reported, gradients there and at the points, in one pass."""
        run, n_models, reported = self.run, len(self.running), self.run.reported
        looks_ahead = run.point is not reported and self.settings.batch_size is None
        theta = np.concatenate([reported, run.point], axis=1) if looks_ahead else reported
        # Both are always needed, and no more: an Evaluation would cost a call for each of them.
        losses, gradient = self.objective.value_and_gradient(theta)
        self.smooth_losses = None
        if self.settings.line_search:
            rough = self.objective.penalty.rough_value(run.point)
            self.smooth_losses = losses[-n_models:] - rough
        self.losses, self.gradient, self.at_points = losses.tolist(), gradient, gradient
        if looks_ahead:
            del self.losses[n_models:]
            self.gradient, self.at_points = gradient[:, :n_models], gradient[:, n_models:]

    def _held_out(self):
        """The validation losses of the models, NaN without validation rows."""
        if self.validation is None:
            return [math.nan] * len(self.running)
        return self.validation.value(self.run.reported).tolist()

    def _record(self, state, theta, size, rate, validation_loss):
        state.history.record(
            self.run.iteration,
            self.run.step,
            state.last_loss,
            gradient_norm=size,
            update_norm=state.update_norm,
            learning_rate=rate,
            validation_loss=validation_loss,
        )
        if self.settings.store_path:
            state.history.record_path(theta)

    def _records_of_steps(self):
        """The records of the single steps; row 0 is where they begin."""
        records = [state.history.begin_steps() for state in self.running]
        for state, steps, theta in zip(
            self.running, records, models_of(self.run.reported), strict=True
        ):
            if not len(steps):
                steps.record(self.run.iteration, self.run.step, state.last_loss)
                steps.record_path(theta)
        return records

    def _record_step(self, records, losses, gradient, before):
        """One row: loss and gradient of the batch, where they were taken, and the new theta."""
        run = self.run
        thetas, sizes = models_of(run.reported), norms(gradient)
        moves, rates = norms(run.reported - before), numbers(run.rate, gradient)
        for k, steps in enumerate(records):
            steps.record(
                run.iteration + 1,
                run.step,
                losses[k],
                gradient_norm=sizes[k],
                update_norm=moves[k],
                learning_rate=rates[k],
            )
            steps.record_path(thetas[k])

    def let_go(self):
        """Leave behind the models that have stopped."""
        left = [k for k, state in enumerate(self.running) if state.stop is None]
        self.hand_back()
        self.keep_last()
        self.running = [self.running[k] for k in left]
        self.places = [self.places[k] for k in left]
        self.n_before = [self.n_before[k] for k in left]
        if left:
            self.run, self.losses = self.run.only(left), [self.losses[k] for k in left]
            self.gradient, self.at_points = self.gradient[:, left], self.at_points[:, left]
            if self.smooth_losses is not None:
                self.smooth_losses = self.smooth_losses[left]
            self._commit()

    def hand_back(self):
        """Give every model that runs its own iterates."""
        for k, state in enumerate(self.running):
            state.iterates = self.run.only([k])

    def keep_last(self):
        """Keep the last evaluation of every model that has run, and has its own iterates back."""
        if self.losses is None or not self.running:
            return
        shown = zip(self.places, self.running, self.losses, models_of(self.gradient), strict=True)
        for place, state, loss, gradient in shown:
            theta = state.iterates.reported
            at = Evaluation.known(self.objective, theta, np.array([loss]), gradient)
            self.last[place] = at

    def _commit(self):
        """What holds from here on, whatever interrupts the next iteration."""
        random = None
        if self.settings.batch_size is not None:
            random = self.running[0].generator.bit_generator.state
        states = [vars(state).copy() for state in self.running]
        self.committed = vars(self.run).copy(), states, random

    def roll_back(self):
        """Be where the last iteration ended."""
        iterates, states, random = self.committed
        vars(self.run).update(iterates)
        for state, fields, n_before in zip(self.running, states, self.n_before, strict=True):
            vars(state).update(fields)
            state.history.truncate(n_before + self.n_rows)
            if random is not None:
                state.generator.bit_generator.state = random
