"""Newton's method for the logistic losses, in a metric from all rows or from a sample of them.

    theta <- theta - t H(theta)^-1 grad L(theta)

with Armijo backtracking on t, stopped by the Newton decrement ``1/2 g^T H^-1 g``, which is the
decrease that the quadratic model still promises (Boyd & Vandenberghe 2004, section 9.5). It works
in a frame of shifted and scaled columns, so the units of X play no part.

A Hessian costs (p + 1) / 2 times the arithmetic of a gradient. Where rows are many, most of the
way is therefore gone on samples of them, and the rest by quasi-Newton steps over all rows in the
metric of the last sample (:class:`SampledMetric`). What stops them is a bound, not an estimate.
"""

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from scipy import linalg

from ..history import StopReason
from ..objective import CentredFactor
from .cholesky import ScaledCholesky

__all__ = ["newton"]

_EPS = np.finfo(np.float64).eps
_ARMIJO = 1e-4
# Below this reciprocal condition of the scaled Hessian it is asked whether columns are dependent.
_SUSPICIOUS_RCOND = 1e-13
# More parameters than this: the Hessian is applied, not factored.
_MAX_FACTORED_PARAMETERS = 2500
_MAX_SAMPLE_BYTES = 24 * 2**20
_MAX_KRYLOV_STEPS = 1000
# Conjugate gradients have settled when this many steps add next to nothing.
_DELAY = 10
# A row that the last step moves by more than this in the linear predictor has not come to rest.
_STILL_MOVING = 0.1
# A loss below this share of the start's is worth a pass over X to see if the classes separate.
_CONFIDENT = 0.1
# Samples: the smallest one, the growth from one to the next, and what makes the last one pay.
_MIN_SAMPLE, _SAMPLE_GROWTH, _MAX_SAMPLE_SHARE = 2000, 8, 0.35
# Steps on a sample in one metric, and how often it is renewed there.
_MAX_SAMPLE_STEPS, _MAX_SAMPLE_ROUNDS = 15, 4
# Steps in the metric of a sample before it is given up, and the pairs that it remembers.
_MAX_SAMPLED_STEPS, _MEMORY = 40, 20
# An estimate of the decrement within this factor of the tolerance is worth a bound.
_PROMISING = 5.0


def newton(objective, theta, history, *, max_iter, tol, validation=None, watch=None):
    """Minimise a smooth block objective by Newton's method.

    Parameters
    ----------
    objective : BlockObjective
        In the original columns.
    theta : ndarray of shape (n_features + 1, 1, n_outputs)
        The start.
    history : History
    max_iter : int
    tol : float
        The decrement is to fall to ``tol^2 L(start)``.
    validation, watch : objects, optional
        As in :func:`~gdregress.solvers.descent.descend`.

    Returns
    -------
    theta : ndarray
        With several classes in the gauge of mean zero over the classes (its intercepts alone
        where coefficients are penalised, which fixes theirs).
    reason : StopReason
    separating : ndarray
        With ``StopReason.SEPARABLE`` the columns that do most of the separating, else empty.
    """
    frame = objective.sampled_frame()
    if not frame.is_identity:
        frame = objective.exact_frame()
    framed = objective.in_frame(frame)
    theta = frame.enter(theta)

    def record(iteration, update=None, step=math.nan):
        held_out = math.nan if validation is None else validation.value(frame.leave(theta))[0]
        norm = float(np.linalg.norm(frame.gradient_outside(gradient)))
        moved = math.nan if update is None else float(np.linalg.norm(update))
        history.record(iteration, iteration, float(loss[0]), norm, moved, step, float(held_out))

    metric = SampledMetric.of(framed) or _metric(framed)
    if metric.is_sampled:  # the samples go on from here: no need of a gradient over all rows
        loss, gradient = framed.value(theta), np.full_like(theta, np.nan)
    else:
        loss, gradient = _finite(framed, theta)
    start_loss = float(loss[0])
    record(0)
    for iteration in range(1, max_iter + 1):
        if watch is not None:
            watch.begin(frame.leave(theta))
        before = theta
        last = False
        if iteration == 1 and metric.is_sampled:
            theta, step = metric.descend_samples(theta), 1.0
            loss, gradient = framed.value_and_gradient(theta)
            if not loss[0] < start_loss:  # the sample was no likeness of the rows
                metric, theta = _metric(framed), before
                loss, gradient = _finite(framed, theta)
        else:
            tolerance = _tolerance(tol, loss, start_loss)
            direction, decrement = metric.direction(theta, gradient, tolerance)
            # The step of a full metric squares what the decrement measured before it.
            last = decrement <= tolerance
            theta, loss, new_gradient, step = _backtrack(framed, theta, loss, gradient, direction)
            metric.remember(theta - before, new_gradient - gradient)
            gradient = new_gradient
        record(iteration, frame.leave(theta) - frame.leave(before), step)
        if watch is not None and watch.end(frame.leave(theta)):
            return _finished(framed, theta, StopReason.CALLBACK)
        # Without a penalty, separable classes have no optimum: do not run after it.
        unpenalised = framed.penalty.l2 == 0.0
        if unpenalised and loss[0] < _CONFIDENT * start_loss and framed.margins(theta)[0] > 0.0:
            return _finished(framed, theta, StopReason.SEPARABLE, theta)
        certain = metric.is_sampled and metric.certifies(
            theta, gradient, _tolerance(tol, loss, start_loss)
        )
        if last or certain or (step == 0.0 and not metric.is_sampled):
            update = theta - before
            if unpenalised and _separates(framed, update):
                return _finished(framed, theta, StopReason.SEPARABLE, update)
            return _finished(framed, theta, StopReason.DECREMENT)
        if metric.is_sampled and (step == 0.0 or metric.n_steps >= _MAX_SAMPLED_STEPS):
            metric = _metric(framed)
    return _finished(framed, theta, StopReason.MAX_ITER)


def _finite(framed, theta):
    """Loss and gradient at a start, which have to be finite."""
    loss, gradient = framed.value_and_gradient(theta)
    if not (np.isfinite(loss[0]) and np.isfinite(gradient).all()):
        raise FloatingPointError(
            "The loss at the start overflows float64; rescale X to ordinary units."
        )
    return loss, gradient


def _finished(framed, theta, reason, direction=None):
    """What ``newton`` returns, in the original columns and the gauge of mean zero."""
    separating = np.empty(0, dtype=int)
    if direction is not None:
        pull = np.abs(direction[:-1, 0]).max(axis=1) * framed.column_spans()
        separating = np.flatnonzero(pull > 1e-3 * pull.max(initial=0.0))
    theta = framed.frame.leave(theta).copy()
    if framed.shape[1] > 1:
        centred = theta - theta.mean(axis=2, keepdims=True)
        theta[-1] = centred[-1]
        if framed.penalty.l2 == 0.0:
            theta = centred
    return theta, reason, separating


def _separates(framed, update):
    """Whether the last update still raises margins and lowers none: then it could go on for ever.

    Near a finite optimum the last update moves no row. Where part of the classes is separated,
    every Newton step moves those rows by about 1 in the linear predictor, at ever less gain
    (Albert & Anderson 1984, "On the existence of maximum likelihood estimates in logistic
    regression models": quasi-complete separation).
    """
    low, high = framed.margins(update)
    return high > _STILL_MOVING and low > -1e-3 * high


def _tolerance(tol, loss, start_loss):
    """What the decrement is to fall to: ``tol^2 L(start)``, or rounding level."""
    return max(tol * tol * start_loss, 4.0 * _EPS * max(float(loss[0]), _EPS * start_loss))


def _backtrack(framed, theta, loss, gradient, direction):
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


class FullMetric:
    """The Hessian of all rows, at every step anew."""

    is_sampled = False

    def __init__(self, framed):
        self.framed = framed
        self.singular = _SingularDirections(framed)

    def direction(self, theta, gradient, tolerance):
        """The Newton direction ``-H^-1 g`` and the decrement ``1/2 g^T H^-1 g``."""
        factor = _factor(self.framed, theta, self.singular).factor
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


def _metric(framed):
    """The Hessian of all rows: factored, or applied where it would be too large."""
    small = framed.shape[0] * framed.shape[1] <= _MAX_FACTORED_PARAMETERS
    return FullMetric(framed) if small else KrylovMetric(framed)


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
            size = max(20 * n_features, n_samples // 10, _MIN_SAMPLE)
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
        factor = _factor(self.samples[0], theta, _SingularDirections(self.samples[0])).factor
        for sample in self.samples:
            singular = _SingularDirections(sample)
            # The optimum of a sample is about q / n from that of all rows: no use going on.
            close = 0.05 * theta.size / sample.blocks.n_samples
            for _ in range(_MAX_SAMPLE_ROUNDS):
                theta, decrement, loss = _quasi_newton(sample, theta, factor, close)
                factor = _factor(sample, theta, singular).factor
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
        metric = _factor(sample, theta, _SingularDirections(sample))
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
        theta, loss, gradient, t = _backtrack(sample, theta, loss, gradient, direction)
        if decrement <= close * float(loss[0]) or t == 0.0:
            break
        steps.remember(theta - before, gradient - before_gradient)
    return theta, decrement, float(loss[0])


class _Factored(NamedTuple):
    """A factor of a Hessian, whether that was regular as it stood, and its columns of zeros."""

    factor: ScaledCholesky
    is_regular: bool
    dead: np.ndarray


def _factor(framed, theta, singular):
    """The Hessian at theta, factored."""
    hessian = framed.hessian(theta)
    if not np.isfinite(hessian).all():
        raise FloatingPointError("The Hessian overflows float64; rescale X to ordinary units.")
    _fix_gauge(hessian, framed)
    dead = ~(hessian.diagonal() > 0.0)  # columns of zeros: nothing to learn, nothing to move
    if dead.any():
        hessian[dead] = hessian[:, dead] = 0.0
        hessian[dead, dead] = 1.0
    try:
        factor = ScaledCholesky(hessian)
        regular = factor.rcond > _SUSPICIOUS_RCOND
    except linalg.LinAlgError:
        factor, regular = None, False
    if not regular:
        factor = singular.regularised(hessian, factor)
    return _Factored(factor, regular, dead)


def _fix_gauge(hessian, framed):
    """Make the softmax Hessian regular along the gauge, which no step then moves.

    Adding a constant to all classes of an unpenalised row j of theta changes nothing:
    ``H (e_j kron 1) = 0`` and ``g^T (e_j kron 1) = 0``. Adding ``h_jj / K 1 1^T`` to its block
    leaves the solution of ``H d = -g`` that is orthogonal to the gauge.
    """
    n_outputs = framed.shape[1]
    if n_outputs == 1:
        return
    penalised = framed.penalty.l2 > 0.0
    first = framed.shape[0] - 1 if penalised else 0
    for j in range(first, framed.shape[0]):
        rows = slice(j * n_outputs, (j + 1) * n_outputs)
        block = hessian[rows, rows]
        block += np.trace(block) / n_outputs**2


class _SingularDirections:
    """Directions of theta along which X is rank-deficient, and with it every Hessian.

    Rank belongs to X, never to a Hessian, which saturates where the classes separate: it is
    decided, once and only if asked, on the R factor of ``[1 X]`` with unit columns.
    """

    def __init__(self, framed):
        self.framed = framed
        self._null = None

    @property
    def null(self):
        """Orthonormal in unit columns; shape (n_features + 1, n_null), intercept last."""
        if self._null is None:
            blocks = self.framed.blocks
            factor = CentredFactor.from_objective(
                self.framed, self.framed.frame, np.zeros(blocks.y.shape[1])
            )
            unit = np.linalg.norm(factor.root, axis=0)
            unit[unit == 0.0] = 1.0
            _, sigma, vt = linalg.svd(factor.root / unit)
            threshold = max(blocks.n_samples, len(unit)) * _EPS * sigma[0]
            coef = vt[sigma <= threshold].T / unit[:, None]
            self._null = np.vstack([coef, -factor.mean_x @ coef])
        return self._null

    def regularised(self, hessian, factor):
        """A factor of ``H + B B^T``, B spanning the directions in which H vanishes.

        A direction n with H n = 0 has g^T n = 0, so ``(H + B B^T) d = -g`` has the solution of
        ``H d = -g`` with ``B^T d = 0``. What is still singular then is a saturated Hessian, or
        one too ill-conditioned for Cholesky; a shift at rounding level keeps the step finite.
        """
        unit = np.sqrt(hessian.diagonal())
        scaled = hessian / unit / unit[:, None]
        if self.framed.penalty.l2 == 0.0 and self.null.shape[1]:
            n_outputs = self.framed.shape[1]
            null = np.kron(self.null, np.eye(n_outputs)) * unit[:, None]
            null /= np.linalg.norm(null, axis=0)
            scaled += null @ null.T
        elif factor is not None:
            return factor
        shift = len(unit) * _EPS
        while True:
            try:
                return ScaledCholesky(scaled * np.outer(unit, unit))
            except linalg.LinAlgError:
                scaled[np.diag_indices_from(scaled)] += shift
                shift *= 10.0
