"""The step of an iteration: how long it is, and the step itself, for all models at once.

The contract of a step:

``take(run, gradient, smooth_losses, t)``
    Move the iterates from ``run.point``, where the gradient and, for a line search, the losses
    without the rough part of the penalty, shape (M,), are given, at the time t:
    ``theta <- prox_eta(y - eta direction)``.
``sees_batches`` : bool
    Whether the losses of mini-batches bound the steps: then ``epoch(run, batches, record)`` takes
    them all, of one model, in the place of ``take``.
``shrinks`` : bool
    Whether the rate falls where the loss rises; then ``shrink(run, before, after)`` is told the
    losses of the models before an iteration and after it, lists.

`rule` says the direction, and where the next gradient is taken.
"""

import math
from functools import cached_property

import numpy as np
from scipy.linalg.blas import daxpy

from .metric import HessianMetric, epochs_worth_a_metric
from .models import along_models, inner_products, joined, models_of, numbers
from .rules import GradientDescent
from .schedules import Constant, checked_factor

__all__ = ["step_of"]

# Trial steps of a line search, as factors of the last step: columns of one pass over X.
_TRIALS = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.0625])
_ARMIJO = 1e-4
_MAX_ROUNDS = 60
# The power of the time by which stochastic Polyak rates fall.
_DECAY = 0.25
# Batches of the first window, a power of two: each is twice as long as the one before.
_FIRST_WINDOW = 8
# A rate falls to this share where gradients disagree with steps by so many standard deviations;
# asked at every so many batches.
_SETTLE, _DEVIATIONS, _ASKED_EVERY = 0.7, 2.0, 16
# Steps after which the mean of the iterates is brought up to date.
_TOGETHER = 64
# The automatic rate of an adaptive rule falls to this share where the loss rises.
_SHRINK = 0.9


def step_of(objective, rule, settings):
    """The step that the settings ask for."""
    if settings.line_search:
        return LineSearch(objective, rule)
    if settings.polyak:
        n_steps = -(-objective.blocks.n_samples // settings.batch_size)
        return PolyakStep(objective, rule, settings, n_steps)
    return RatedStep(objective, rule, settings)


class RatedStep:
    """``eta = learning_rate s(t)``, times what it has shrunk to where a rising loss shrinks it.

    In the coordinates of the settings, where there are any; see ``coordinates``.
    """

    sees_batches = False

    def __init__(self, objective, rule, settings):
        self.rule, self.schedule, self.shrinks = rule, settings.schedule, settings.shrinks
        self.coordinates = settings.coordinates
        # What changes nothing is not called for in every step.
        self.is_constant = type(settings.schedule) is Constant
        self.proximal = None if objective.penalty.is_smooth else objective.penalty.proximal

    def take(self, run, gradient, smooth_losses, t):
        rate, rule = run.learning_rate, self.rule
        if not self.is_constant:
            rate = rate * checked_factor(self.schedule, t)
        run.rate = rate = rate * run.shrunk if self.shrinks else rate
        if self.coordinates is not None:
            run.move(rule, *self.coordinates.step(rule, run, gradient, rate))
            return
        direction, memory = rule.update(gradient, run.rule_state)
        theta = run.point - rate * direction
        if self.proximal is not None:
            theta = self.proximal(theta, rate)
        run.move(rule, theta, *rule.extrapolate(theta, run.theta, run.point, memory))

    def shrink(self, run, before, after):
        factors = [_SHRINK if b < a else 1.0 for b, a in zip(before, after, strict=True)]
        run.shrunk = run.shrunk * along_models(factors)


class PolyakStep:
    """Plain descent on mini-batches at a decreasing stochastic Polyak rate.

    With f_k and g_k the loss and the gradient of the k-th batch, in the coordinates of the settings
    where there are any, and t_k the time in epochs,

        u_k = min( u_0, f_j / |g_j|^2 of the last batches ),
        eta_k = s(t_k) q_k u_k (1 + t_k)^(-1/4),

    u_0 being the learning rate (DecSPS of Orvieto, Lacoste-Julien & Loizou 2022, "Dynamics of SGD
    with stochastic Polyak stepsizes", for losses that are nowhere below 0). It needs no constant:
    where a batch has smoothness L, f / |g|^2 is at least 1 / (2 L), and where steps are too long
    it brings them back. What noise remains goes by the mean of the iterates, late ones weighing
    more.

    The last batches are those of this window and of the one before, windows being of 8, 16, 32, ...
    batches; in DecSPS they are all. The first gradients are often the largest by far, those of the
    intercept on its way: what they allow would bind a fit for good.

    q_k, 1 to begin with, falls by a factor where the iterates go back and forth (Pflug 1990,
    "Non-asymptotic confidence bounds for stochastic approximation algorithms with constant step
    size"; Chee & Toulis 2018): on the way to the optimum the gradient g_k of a batch agrees with
    the step d_(k-1) before it, and around it, where noise is all that is left, it does not. It is
    asked at every 16th batch, over those since q fell, or since a window began, whether

        sum_k a_k  <  -2 sqrt( sum_k a_k^2 ),    a_k = <g_k, d_(k-1)> + |g_k|^2 / (n - 1),

    two standard deviations. The n batches of an epoch are drawn without replacement: their noise
    adds up to nothing, and the product of two is about -|g_k|^2 / (n - 1) at any rate.

    In later epochs the coordinates are those of a Hessian, taken at the mean of the iterates after
    epochs 1, 2, 4, 8, ..., from the first on after which they have taken as much as it takes; see
    ``metric``. What the batches have said of the rates before is forgotten there: it was said of
    other coordinates.
    """

    sees_batches = True
    shrinks = False  # every batch has told

    def __init__(self, objective, rule, settings, n_steps):
        self.objective, self.rule, self.schedule = objective, rule, settings.schedule
        self._learning_rate = settings.learning_rate
        self._n_steps, self._drawn_apart = n_steps, 1.0 / max(1, n_steps - 1)
        self.is_constant = type(settings.schedule) is Constant
        self.is_plain = type(rule) is GradientDescent
        self.coordinates = settings.coordinates
        self._at = None  # the point of the metric, and the metric there

    def epoch(self, run, batches, record=None):
        """Take the steps of one epoch; ``record(losses, gradient, before)`` is told of every
        one, once it is taken.

        On 32 rows calling NumPy costs more than the arithmetic: theta is a vector here, and the
        mean of the iterates is brought up to date after some steps.
        """
        objective, coordinates, shape = self.objective, self._coordinates_of(run), run.theta.shape
        theta, direction, first = run.theta.ravel(), run.direction, run.step
        since, taken = (run.step, run.average), []
        if direction is not None:
            direction = direction.ravel()
        for number, batch in enumerate(batches):
            before = None if record is None else run.reported
            least, gradient, loss = objective.batch_value_and_gradient(batch, theta)
            agreement = None if direction is None else float(gradient.dot(direction))
            if coordinates is None:
                direction, square = gradient, float(gradient.dot(gradient))
            else:
                direction, square = coordinates.direction(gradient)
            self._limit(run, first + number, least, loss, square, agreement)
            run.rate = self._rate(run, run.iteration + number / self._n_steps)
            if not self.is_plain:
                direction = direction.reshape(shape)
                direction, run.rule_state = self.rule.update(direction, run.rule_state)
                direction = direction.ravel()
            theta = daxpy(direction, theta.copy(), a=-run.rate)
            taken.append(theta)
            is_full = len(taken) == _TOGETHER
            if is_full or record is not None:
                run.move_on(self.rule, since, taken)
            if is_full:
                since, taken = (run.step, run.average), []
            if record is not None:
                record([loss()], gradient.reshape(shape), before)
        if taken:
            run.move_on(self.rule, since, taken)
        run.direction = direction.reshape(shape)

    @cached_property
    def _metric(self):
        if self.coordinates is None:
            return None
        return HessianMetric.of(self.objective, self._learning_rate, self._n_steps)

    @cached_property
    def _first_metric(self):
        return epochs_worth_a_metric(self.objective, self._n_steps)

    def _coordinates_of(self, run):
        """Those of the epoch that begins: of the columns, or of the metric where it was taken."""
        if self._asks_for_a_metric(run) and self._metric is not None:
            metric = self._metric.at(run.reported)
            if metric is not None:
                if run.anchor is None:
                    run.forget_bounds()
                run.anchor = run.reported
                self._at = run.anchor, metric
        if run.anchor is None or self._metric is None:
            return self.coordinates
        if self._at is None or self._at[0] is not run.anchor:
            self._at = run.anchor, self._metric.at(run.anchor)
        return self._at[1] or self.coordinates

    def _asks_for_a_metric(self, run):
        if run.anchor is not None and self.objective.is_quadratic:  # the same everywhere
            return False
        done = run.iteration
        return done > 0 and done & (done - 1) == 0 and done >= self._first_metric

    def _limit(self, run, step, least, loss, square, agreement):
        """What a batch says of the rates: what its loss is at least, and the loss, which is asked
        for where that might bound them; ``|g|^2``, and ``<g, d>`` with the step before, if there
        was one."""
        if _begins_window(step):
            shrunk = run.shrunk
            run.forget_bounds()
            run.shrunk_before = shrunk
        rate = run.learning_rate  # whose product with a square may underflow
        if square > 0.0 and least / square / rate < run.shrunk:
            run.shrunk = min(run.shrunk, loss() / square / rate)
        if agreement is None:
            return
        # Let q fall where the gradients no longer agree with the steps before them.
        agreement += self._drawn_apart * square
        run.agreement += agreement
        run.scatter = math.hypot(run.scatter, agreement)
        if step % _ASKED_EVERY == 0 and run.agreement < -_DEVIATIONS * run.scatter:
            run.settled *= _SETTLE
            run.agreement = run.scatter = 0.0

    def _rate(self, run, t):
        rate = run.learning_rate * min(run.shrunk, run.shrunk_before)
        rate *= run.settled * (1.0 + t) ** -_DECAY
        return rate if self.is_constant else rate * checked_factor(self.schedule, t)


def _begins_window(step):
    """Whether a window ends before a step: after 8, 8 + 16, 8 + 16 + 32, ... batches."""
    end = step + _FIRST_WINDOW
    return step > 0 and end & (end - 1) == 0


class LineSearch:
    """A step along the gradient itself, as long as the loss allows.

    Plain descent on a smooth quadratic: exact, ``eta = g^T g / g^T H g``. Otherwise the largest of
    several trial steps with sufficient decrease of the smooth part F, trials being columns of one
    pass over X: ``F(theta+) <= F(y) + c g^T d`` (Armijo 1966) for plain descent and, where the
    step is proximal or accelerated, the quadratic bound of Beck & Teboulle (2009),

        F(theta+) <= F(y) + g^T d + |d|^2 / (2 eta),   d = theta+ - y.
    """

    sees_batches = False
    shrinks = False  # every step is searched anew

    def __init__(self, objective, rule):
        self.objective, self.rule = objective, rule
        self.is_plain = not (rule.looks_ahead or not objective.penalty.is_smooth)

    def take(self, run, gradient, smooth_losses, t):
        _, memory = self.rule.update(gradient, run.rule_state)
        if self.objective.is_quadratic and self.is_plain:
            run.rate, theta = self._exact(run.point, gradient)
        else:
            run.rate, theta = self._searched(run, gradient, smooth_losses)
        run.move(self.rule, theta, *self.rule.extrapolate(theta, run.theta, run.point, memory))

    @cached_property
    def first_step(self):
        """One that surely decreases the loss, as the trace bounds the largest eigenvalue; a guess
        where no curvature is bounded."""
        if self.objective.curvature_bound is None:
            return 1.0
        return 1.0 / max(float(self.objective.bound.diagonal.sum()), 1e-300)

    def _exact(self, point, gradient):
        bent = self.objective.hessian_at(point[:, :1]).product(gradient)
        curvatures, squares = inner_products(gradient, bent), inner_products(gradient, gradient)
        steps = [s / c if c > 0.0 else 0.0 for s, c in zip(squares, curvatures, strict=True)]
        return along_models(steps), point - along_models(steps) * gradient

    def _searched(self, run, gradient, smooth_losses):
        points, gradients = models_of(run.point), models_of(gradient)
        last = numbers(run.line_step, gradient)
        searches = [
            _Search(self, *each)
            for each in zip(points, gradients, smooth_losses, last, strict=True)
        ]
        left = searches
        for _ in range(_MAX_ROUNDS):
            trials = [search.trials() for search in left]
            values = self.objective.at(joined(trials)).smooth_loss
            for search, value in zip(left, np.split(values, len(left)), strict=True):
                search.judge(value)
            left = [search for search in left if search.found is None]
            if not left:
                break
        run.line_step = along_models([search.step for search in searches])
        found = [search.found or (0.0, search.point) for search in searches]
        return along_models([step for step, _ in found]), joined([theta for _, theta in found])


class _Search:
    """The line search of one model."""

    def __init__(self, line, point, gradient, smooth_loss, step):
        self.line, self.point, self.gradient, self.smooth_loss = line, point, gradient, smooth_loss
        if not math.isfinite(step):
            step = line.first_step
        self.step, self.found = step, None

    def trials(self):
        """The points that the next steps lead to, and how much they have to gain."""
        self.steps = steps = self.step * _TRIALS
        proximal = self.line.objective.penalty.proximal
        self.tried = proximal(self.point - steps[:, None] * self.gradient, steps[:, None])
        change = self.tried - self.point
        slope = np.einsum("jmk,jk->m", change, self.gradient[:, 0])
        if self.line.is_plain:
            self.allowed = self.smooth_loss + _ARMIJO * slope
        else:
            square = np.einsum("jmk,jmk->m", change, change)
            self.allowed = self.smooth_loss + slope + square / (2.0 * steps)
        return self.tried

    def judge(self, value):
        """Take the longest step whose loss is low enough, or make shorter ones."""
        accepted = np.flatnonzero(value <= self.allowed + 4e-16 * abs(self.smooth_loss))
        if not len(accepted):
            self.step = float(self.steps[-1])
            return
        first = accepted[0]
        self.step = float(self.steps[first])
        self.found = self.step, self.tried[:, first : first + 1]
