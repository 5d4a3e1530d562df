"""Metrics: how Newton's method finds its direction, from all rows or from a sample of them.

The contract of a metric:

``evaluate(theta)`` -> (loss, gradient)
    Those of all rows, at a theta where the next direction may begin.
``direction(theta, gradient, tolerance)`` -> (direction, decrement)
    A descent direction and the decrement ``1/2 g^T H^-1 g``; infinite where only a bound of it
    will be known.
``remember(change, gradient_change)``
    What the step has shown.
``is_sampled``
    Whether the Hessian is that of a sample; then ``certifies`` bounds the decrement.
``is_exact``, ``is_saturated``
    Whether the last direction solved ``H d = -g`` to several digits; whether it could not, for a
    Hessian that is singular to rounding.
``is_suspicious``
    Whether it hints at columns that are nearly dependent.
``is_blind``
    Whether it could not see the curvature along a direction that the gradient has.
"""

import math
from collections import deque

import numpy as np

from .hessian import SingularDirections, factor_hessian
from .krylov import KrylovMetric

__all__ = [
    "FullMetric",
    "QuasiNewton",
    "SampledMetric",
    "backtrack",
    "choose_metric",
    "full_metric",
]

_EPS = np.finfo(np.float64).eps
_ARMIJO = 1e-4
# Steps shorter than 2^-30 of a direction move nothing: their decrease is rounding.
_MAX_HALVINGS = 30
# More parameters than this: the Hessian is applied, not factored.
_MAX_FACTORED_PARAMETERS = 2500
# So many multiplications for one Hessian of a coupled loss: its products get there sooner.
_MAX_COUPLED_WORK = 1e8
# Samples: the smallest one, the growth from one to the next, and what makes the last one pay.
_MIN_SAMPLE, _SAMPLE_GROWTH, _MAX_SAMPLE_SHARE = 2000, 8, 0.35
_MAX_SAMPLE_BYTES = 24 * 2**20
# Steps on a sample in one metric, and how often it is renewed there.
_MAX_SAMPLE_STEPS, _MAX_SAMPLE_ROUNDS = 15, 4
# A bound this many times the tolerance is left to another step: that costs less than a Hessian.
_WORTH_A_STEP = 30.0
_FAR = 700.0  # moves beyond it are one to the bound, whose exponential is finite
# The pairs that quasi-Newton steps remember.
_MEMORY = 20


def backtrack(framed, theta, loss, gradient, direction, evaluate):
    """The first of t = 1, 1/2, 1/4, ... with sufficient decrease; t = 0 at rounding level.

    ``evaluate(theta)`` gives loss and gradient of the first trial, which is rarely rejected.
    """
    slope = float(np.vdot(gradient, direction))
    noise = 8.0 * _EPS * abs(float(loss[0]))
    step = 1.0
    for _ in range(_MAX_HALVINGS):
        trial = theta + step * direction
        trial_loss, trial_gradient = evaluate(trial)
        if trial_loss[0] <= loss[0] + _ARMIJO * step * slope + noise:
            return trial, trial_loss, trial_gradient, step
        step *= 0.5
        evaluate = framed.value_and_gradient
    return theta, loss, gradient, 0.0


def choose_metric(framed):
    """Samples of the rows where they pay, else the Hessian of all."""
    return SampledMetric.of(framed) or full_metric(framed)


def full_metric(framed):
    """The Hessian of all rows: factored, or applied where that costs too much."""
    n_features, n_outputs = framed.shape
    n_parameters = n_features * n_outputs
    work = framed.blocks.n_samples * n_parameters**2 if framed.loss.is_coupled else 0
    factored = n_parameters <= _MAX_FACTORED_PARAMETERS and work <= _MAX_COUPLED_WORK
    return FullMetric(framed) if factored else KrylovMetric(framed)


class FullMetric:
    """The Hessian of all rows, at every step anew."""

    is_sampled = is_blind = False

    def __init__(self, framed):
        self.framed = framed
        self.is_exact = self.is_suspicious = False
        self.singular = SingularDirections(framed)
        self._known = None, None

    def evaluate(self, theta):
        """Loss and gradient; the Hessian, from the same look at the rows, is kept."""
        loss, gradient, hessian = self.framed.expansion(theta)
        self._known = theta, hessian
        return loss, gradient

    def direction(self, theta, gradient, tolerance):
        """The Newton direction ``-H^-1 g`` and the decrement ``1/2 g^T H^-1 g``."""
        at, hessian = self._known
        if at is not theta:
            hessian = self.framed.hessian(theta)
        self._known = None, None  # factoring overwrites it
        factored = factor_hessian(self.framed, hessian, self.singular)
        self.is_exact, self.is_suspicious = factored.is_exact, not factored.is_regular
        direction = -factored.factor.solve(gradient.ravel()).reshape(gradient.shape)
        return direction, -0.5 * float(np.vdot(gradient, direction))

    @property
    def is_saturated(self):
        return not self.is_exact

    def remember(self, change, gradient_change):
        """Nothing to remember: the next Hessian is exact."""


class SampledMetric:
    """The Hessian M of a sample of rows, corrected by what full gradients have shown.

    Steps are those of :class:`QuasiNewton` in the metric of M. With s_i / pi_i as the weights of
    the sampled rows, pi_i the probability with which row i was drawn, M is an unbiased likeness.
    Every term of a Hessian is positive semi-definite and the sampled terms are part of the whole,
    so that with S' the sum of the weights of the sample

        H(theta) >= c M(theta),  c = min(1, min(pi) S' / S).

    M is known at another theta'. Where no sampled row moves by more than d from there (its
    largest less its smallest output of ``X (theta - theta')``), ``M(theta) >= e^-d M(theta')``
    (Bach 2010, "Self-concordant analysis for logistic regression", proposition 1), so that

        1/2 g^T H^-1 g <= 1/2 g^T M(theta')^-1 g e^d / c.

    That bound, with the gradient of all rows, certifies the optimum.
    """

    is_sampled = True
    is_exact = is_saturated = is_blind = False

    def __init__(self, framed, samples, share):
        self.framed, self.samples, self.share = framed, samples, share
        self.evaluate = framed.value_and_gradient
        self.n_steps = 0
        self._steps = self._metric = self._taken_at = None
        self._singular = SingularDirections(samples[-1])
        self._same_rank = False

    @property
    def is_suspicious(self):
        return not self._metric.is_regular

    def spans_the_rows(self):
        """Whether the sample is rank-deficient only as X is, which costs a look at all rows.

        Then it vanishes where X does and nowhere else, and the bound holds all the same.
        """
        of_all = SingularDirections(self.framed).null
        self._same_rank = self._singular.null.shape[1] == of_all.shape[1]
        return self._same_rank

    @classmethod
    def of(cls, framed, *, smallest=_MIN_SAMPLE, largest_share=_MAX_SAMPLE_SHARE):
        """Samples of the rows where they pay, else None: no less than `smallest` rows, and no more
        than a share of all."""
        n_features, n_outputs = framed.shape
        n_samples = framed.blocks.n_weighing
        if n_features * n_outputs > _MAX_FACTORED_PARAMETERS:
            return None
        if n_outputs == 1:
            size = max(20 * n_features, min(n_samples // 10, 2000 * n_features), smallest)
        else:
            size = max(5 * n_features * n_outputs, n_samples // 20, smallest)
        needed = size
        if not framed.blocks.is_sparse:
            size = min(size, _MAX_SAMPLE_BYTES // (8 * n_features))
        if size > largest_share * n_samples or size < needed // 8:
            return None
        largest, share = framed.sampled(size)
        samples = [largest]
        smallest = max(smallest, 5 * n_features * n_outputs)
        while samples[0].blocks.n_samples > _SAMPLE_GROWTH * smallest:
            samples.insert(0, samples[0].thinned(_SAMPLE_GROWTH))
        return cls(framed, samples, share)

    def descend_samples(self, theta):
        """Descend on each sample in turn, from the smallest; theta of the last, and its Hessian.

        The metric of a sample is the Hessian of the one before; that of the first its own at the
        start, which from theta = 0 costs no more than a Gram matrix.
        """
        metric = self._factored(self.samples[0], theta)
        for sample in self.samples:
            # The optimum of a sample is about q / n from that of all rows: no use going on.
            close = 0.05 * theta.size / sample.blocks.n_samples
            for _ in range(_MAX_SAMPLE_ROUNDS):
                theta, decrement, loss = _quasi_newton(sample, theta, metric.factor, close)
                metric = self._factored(sample, theta)
                if decrement <= close * loss:
                    break
        self._steps = QuasiNewton(metric.factor)
        self._take(metric, theta)
        return theta

    def direction(self, theta, gradient, tolerance):
        """The quasi-Newton direction; its decrement is for :meth:`certifies` to bound."""
        self.n_steps += 1
        return self._steps.direction(gradient), math.inf

    def remember(self, change, gradient_change):
        self._steps.remember(change, gradient_change)

    def certifies(self, theta, gradient, tolerance):
        """Whether ``1/2 g^T H^-1 g`` at theta is known to be within the tolerance."""
        flat, sample = gradient.ravel(), self.samples[-1]
        bound = self._bound(flat)
        if bound > tolerance:
            return False
        moved = min(sample.largest_move(theta - self._taken_at), _FAR)
        missing = bound * math.exp(moved) / tolerance
        if not missing <= 1.0:
            if missing <= _WORTH_A_STEP:
                return False
            self._take(self._factored(sample, theta), theta)
            bound = self._bound(flat)
        # A column that the sample misses has no bound; one of zeros has no gradient either.
        regular = self._metric.is_regular or (self._same_rank and self._metric.is_exact)
        covered = regular and not flat[self._metric.dead].any()
        return covered and bound <= tolerance

    def _factored(self, sample, theta):
        """The Hessian of a sample at theta."""
        largest = sample is self.samples[-1]
        singular = self._singular if largest else SingularDirections(sample)
        return factor_hessian(sample, sample.hessian(theta), singular)

    def _take(self, metric, theta):
        """Go on in the metric of the last sample at theta."""
        self._metric, self._taken_at = metric, theta
        self._steps.factor = metric.factor

    def _bound(self, gradient):
        """``1/2 g^T M^-1 g / c``, M where it was taken."""
        return 0.5 * float(gradient @ self._metric.factor.solve(gradient)) / self.share


class QuasiNewton:
    """L-BFGS with ``M^-1`` in the place of its initial diagonal.

    Nocedal & Wright (2006), algorithm 7.4; `factor` solves with M.
    """

    def __init__(self, factor):
        self.factor = factor
        self._pairs = deque(maxlen=_MEMORY)

    def direction(self, gradient):
        """The two-loop recursion, ``-H g``."""
        direction = -gradient.ravel()
        weights = []
        for change, gradient_change, curvature in reversed(self._pairs):
            weights.append(float(change @ direction) / curvature)
            direction = direction - weights[-1] * gradient_change
        direction = self.factor.solve(direction)
        pairs = zip(self._pairs, reversed(weights), strict=True)
        for (change, gradient_change, curvature), weight in pairs:
            share = weight - float(gradient_change @ direction) / curvature
            direction = direction + share * change
        return direction.reshape(gradient.shape)

    def remember(self, change, gradient_change):
        """Keep a pair (change of theta, change of the gradient) of positive curvature."""
        change, gradient_change = change.ravel(), gradient_change.ravel()
        curvature = float(change @ gradient_change)
        if curvature > 0.0:
            self._pairs.append((change, gradient_change, curvature))


def _quasi_newton(sample, theta, factor, close):
    """Some quasi-Newton steps on a sample; theta, the last estimated decrement, and the loss."""
    steps = QuasiNewton(factor)
    loss, gradient = sample.value_and_gradient(theta)
    decrement = math.inf
    for _ in range(_MAX_SAMPLE_STEPS):
        direction = steps.direction(gradient)
        decrement = -0.5 * float(np.vdot(gradient, direction))
        before, before_gradient = theta, gradient
        theta, loss, gradient, t = backtrack(
            sample, theta, loss, gradient, direction, sample.value_and_gradient
        )
        if decrement <= close * float(loss[0]) or t == 0.0:
            break
        steps.remember(theta - before, gradient - before_gradient)
    return theta, decrement, float(loss[0])
