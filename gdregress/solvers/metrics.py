"""Metrics: how Newton's method finds its direction, from all rows or from a sample of them.

The contract of a metric:

``direction(theta, gradient, tolerance)`` -> (direction, decrement)
    A descent direction and the decrement ``1/2 g^T H^-1 g``; infinite where only a bound of it
    will be known.
``remember(change, gradient_change)``
    What the step has shown.
``is_sampled``
    Whether the Hessian is that of a sample; then ``certifies`` bounds the decrement.
"""

import math
from collections import deque

import numpy as np

from .hessian import SingularDirections, factor_hessian

__all__ = ["FullMetric", "KrylovMetric", "QuasiNewton", "SampledMetric", "backtrack", "full_metric"]

_EPS = np.finfo(np.float64).eps
_ARMIJO = 1e-4
# More parameters than this: the Hessian is applied, not factored.
_MAX_FACTORED_PARAMETERS = 2500
_MAX_KRYLOV_STEPS = 1000
# Conjugate gradients have settled when this many steps add next to nothing.
_DELAY = 10
# Samples: the smallest one, the growth from one to the next, and what makes the last one pay.
_MIN_SAMPLE, _SAMPLE_GROWTH, _MAX_SAMPLE_SHARE = 2000, 8, 0.35
_MAX_SAMPLE_BYTES = 24 * 2**20
# Steps on a sample in one metric, and how often it is renewed there.
_MAX_SAMPLE_STEPS, _MAX_SAMPLE_ROUNDS = 15, 4
# The pairs that quasi-Newton steps remember.
_MEMORY = 20
# An estimate of the decrement within this factor of the tolerance is worth a bound.
_PROMISING = 5.0


def backtrack(framed, theta, loss, gradient, direction):
    """The first of t = 1, 1/2, 1/4, ... with sufficient decrease; t = 0 at rounding level."""
    slope = float(np.vdot(gradient, direction))
    noise = 8.0 * _EPS * abs(float(loss[0]))
    step = 1.0
    for _ in range(50):
        trial = theta + step * direction
        trial_loss, trial_gradient = framed.value_and_gradient(trial)
        if trial_loss[0] <= loss[0] + _ARMIJO * step * slope + noise:
            return trial, trial_loss, trial_gradient, step
        step *= 0.5
    return theta, loss, gradient, 0.0


def full_metric(framed):
    """The Hessian of all rows: factored, or applied where it would be too large."""
    small = framed.shape[0] * framed.shape[1] <= _MAX_FACTORED_PARAMETERS
    return FullMetric(framed) if small else KrylovMetric(framed)


class FullMetric:
    """The Hessian of all rows, at every step anew."""

    is_sampled = False

    def __init__(self, framed):
        self.framed = framed
        self.singular = SingularDirections(framed)

    def direction(self, theta, gradient, tolerance):
        """The Newton direction ``-H^-1 g`` and the decrement ``1/2 g^T H^-1 g``."""
        factor = factor_hessian(self.framed, theta, self.singular).factor
        direction = -factor.solve(gradient.ravel()).reshape(gradient.shape)
        return direction, -0.5 * float(np.vdot(gradient, direction))

    def remember(self, change, gradient_change):
        """Nothing to remember: the next Hessian is exact."""


class KrylovMetric:
    """The Hessian of all rows, by its products alone: truncated Newton.

    ``H d = -g`` is solved by conjugate gradients, preconditioned by the diagonal of H, until the
    residual r is a share of the gradient that shrinks with it (Nocedal & Wright 2006, algorithm
    7.1); never a p x p matrix. ``-1/2 g^T d`` approaches the decrement from below, by what each
    step of the conjugate gradients adds: near the tolerance they go on until the last ten steps
    together add next to nothing (Strakos & Tichy 2002, "On error estimation in the conjugate
    gradient method").
    """

    is_sampled = False

    def __init__(self, framed):
        self.framed = framed
        self._first = None

    def direction(self, theta, gradient, tolerance):
        """The truncated Newton direction and the decrement."""
        hessian = self.framed.hessian_at(theta)
        diagonal = hessian.diagonal()
        inverse = np.divide(1.0, diagonal, out=np.ones_like(diagonal), where=diagonal > 0.0)
        square = float(np.vdot(gradient, inverse * gradient))
        if square == 0.0:
            return np.zeros_like(gradient), 0.0
        self._first = square if self._first is None else self._first
        share = min(0.25, math.sqrt(math.sqrt(square / self._first)))
        direction = _conjugate_gradients(
            hessian.product, -gradient, inverse, share**2 * square, tolerance
        )
        return direction, -0.5 * float(np.vdot(gradient, direction))

    def remember(self, change, gradient_change):
        """Nothing to remember: the next Hessian is exact."""


def _conjugate_gradients(product, b, inverse, goal, tolerance):
    """``H x = b`` until ``r^T P^-1 r <= goal``, P^-1 the `inverse` diagonal.

    Every step adds ``step r^T P^-1 r`` to ``b^T x``, which grows towards ``b^T H^-1 b``. Where
    half of that is near the `tolerance`, the last ten additions have to be small beside it too.
    Hestenes & Stiefel (1952).
    """
    x, r = np.zeros_like(b), b
    z = inverse * r
    d, rz = z, float(np.vdot(r, z))
    gained, last = 0.0, deque(maxlen=_DELAY)
    for _ in range(_MAX_KRYLOV_STEPS):
        near = 0.5 * gained <= 100.0 * tolerance
        settled = len(last) == _DELAY and sum(last) <= 0.01 * min(gained, tolerance)
        if rz <= goal and (settled or not near):
            break
        hd = product(d)
        curvature = float(np.vdot(d, hd))
        if not curvature > 100.0 * _EPS * float(np.vdot(d, d / inverse)):
            break  # H vanishes along d, to rounding: columns depend on each other
        step = rz / curvature
        x, r = x + step * d, r - step * hd
        gained += step * rz
        last.append(step * rz)
        z = inverse * r
        previous, rz = rz, float(np.vdot(r, z))
        if rz == 0.0:
            break
        d = z + (rz / previous) * d
    return x


class SampledMetric:
    """The Hessian M of a sample of rows, corrected by what full gradients have shown.

    Steps are those of :class:`QuasiNewton` in the metric of M. With s_i / pi_i as the weights of
    the sampled rows, pi_i the probability with which row i was drawn, M is an unbiased likeness.
    Every term of a Hessian is positive semi-definite and the sampled terms are part of the whole,
    so that with S' the sum of the weights of the sample

        H(theta) >= c M(theta),  c = min(1, min(pi) S' / S),    and
        1/2 g^T H^-1 g <= 1/2 g^T M^-1 g / c.

    That bound, with the gradient of all rows and M at the same theta, certifies the optimum.
    """

    is_sampled = True

    def __init__(self, framed, samples, share):
        self.framed, self.samples, self.share = framed, samples, share
        self.n_steps = 0
        self._steps = None

    @classmethod
    def of(cls, framed):
        """Samples of the rows where they pay, else None."""
        n_features, n_outputs = framed.shape
        n_samples = framed.blocks.n_samples
        if n_features * n_outputs > _MAX_FACTORED_PARAMETERS:
            return None
        if n_outputs == 1:
            size = max(20 * n_features, min(n_samples // 10, 2000 * n_features), _MIN_SAMPLE)
        else:
            size = max(3 * n_features * n_outputs // 2, n_samples // 20, _MIN_SAMPLE)
        needed = size
        if not framed.blocks.is_sparse:
            size = min(size, _MAX_SAMPLE_BYTES // (8 * n_features))
        if size > _MAX_SAMPLE_SHARE * n_samples or size < needed // 8:
            return None
        largest, share = framed.sampled(size)
        samples = [largest]
        smallest = max(_MIN_SAMPLE, 5 * n_features * n_outputs)
        while samples[0].blocks.n_samples > _SAMPLE_GROWTH * smallest:
            samples.insert(0, samples[0].thinned(_SAMPLE_GROWTH))
        return cls(framed, samples, share)

    def descend_samples(self, theta):
        """Descend on each sample in turn, from the smallest; theta of the last, and its Hessian.

        The metric of a sample is the Hessian of the one before; that of the first its own at the
        start, which from theta = 0 costs no more than a Gram matrix.
        """
        factor = factor_hessian(self.samples[0], theta, SingularDirections(self.samples[0])).factor
        for sample in self.samples:
            singular = SingularDirections(sample)
            # The optimum of a sample is about q / n from that of all rows: no use going on.
            close = 0.05 * theta.size / sample.blocks.n_samples
            for _ in range(_MAX_SAMPLE_ROUNDS):
                theta, decrement, loss = _quasi_newton(sample, theta, factor, close)
                factor = factor_hessian(sample, theta, singular).factor
                if decrement <= close * loss:
                    break
        self._steps = QuasiNewton(factor)
        return theta

    def direction(self, theta, gradient, tolerance):
        """The quasi-Newton direction; its decrement is for :meth:`certifies` to bound."""
        self.n_steps += 1
        return self._steps.direction(gradient), math.inf

    def remember(self, change, gradient_change):
        self._steps.remember(change, gradient_change)

    def certifies(self, theta, gradient, tolerance):
        """Whether ``1/2 g^T H^-1 g`` at theta is known to be within the tolerance."""
        flat = gradient.ravel()
        if self._bound(flat) > _PROMISING * tolerance:
            return False
        # M was taken elsewhere: only one at this theta bounds the Hessian at this theta.
        sample = self.samples[-1]
        metric = factor_hessian(sample, theta, SingularDirections(sample))
        self._steps.factor = metric.factor
        # A column that the sample misses has no bound; one of zeros has no gradient either.
        covered = metric.is_regular and not flat[metric.dead].any()
        return covered and self._bound(flat) <= tolerance

    def _bound(self, gradient):
        return 0.5 * float(gradient @ self._steps.factor.solve(gradient)) / self.share


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
        theta, loss, gradient, t = backtrack(sample, theta, loss, gradient, direction)
        if decrement <= close * float(loss[0]) or t == 0.0:
            break
        steps.remember(theta - before, gradient - before_gradient)
    return theta, decrement, float(loss[0])
