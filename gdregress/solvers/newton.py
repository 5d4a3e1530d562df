"""Newton's method for the logistic losses, in a metric from all rows or from a sample of them.

    theta <- theta - t H(theta)^-1 grad L(theta)

with Armijo backtracking on t, stopped by the Newton decrement ``1/2 g^T H^-1 g``, which is the
decrease that the quadratic model still promises (Boyd & Vandenberghe 2004, section 9.5). It works
in a frame of shifted and scaled columns, so the units of X play no part.

A Hessian costs (p + 1) / 2 times the arithmetic of a gradient. Where rows are many, most of the
way is therefore gone on samples of them, and the rest by quasi-Newton steps over all rows in the
metric of the last sample. What stops them is a bound, not an estimate; see ``metrics``.
"""

import math

import numpy as np

from ..history import StopReason
from .metrics import SampledMetric, backtrack, full_metric

__all__ = ["newton"]

_EPS = np.finfo(np.float64).eps
# The decrement is to fall to this share of the tolerance of a descent.
_SHARE = 1e-5
# A row that the last step moves by more than this in the linear predictor has not come to rest.
_STILL_MOVING = 0.1
# A loss below this share of the start's is worth a pass over X to see if the classes separate.
_CONFIDENT = 0.1
# Steps in the metric of a sample before it is given up.
_MAX_SAMPLED_STEPS = 40


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
        The decrement is to fall to ``1e-5 tol L(start)``: a step squares it, so this is cheap.
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
        outside = frame.gradient_outside(gradient)
        norm = math.sqrt(np.vdot(outside, outside))
        moved = math.nan if update is None else math.sqrt(np.vdot(update, update))
        history.record(
            iteration,
            iteration,
            float(loss[0]),
            gradient_norm=norm,
            update_norm=moved,
            learning_rate=step,
            validation_loss=float(held_out),
        )

    metric = SampledMetric.of(framed) or full_metric(framed)
    if metric.is_sampled:  # the samples go on from here: no need of a gradient over all rows
        loss, gradient = framed.value(theta), np.full_like(theta, np.nan)
    else:
        loss, gradient = _finite(metric, theta)
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
                metric, theta = full_metric(framed), before
                loss, gradient = _finite(metric, theta)
        else:
            tolerance = _tolerance(tol, loss, start_loss)
            direction, decrement = metric.direction(theta, gradient, tolerance)
            # The step of a full metric squares what the decrement measured before it.
            last = decrement <= tolerance
            evaluate = framed.value_and_gradient if last else metric.evaluate
            theta, loss, new_gradient, step = backtrack(
                framed, theta, loss, gradient, direction, evaluate
            )
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
            metric = full_metric(framed)
    return _finished(framed, theta, StopReason.MAX_ITER)


def _finite(metric, theta):
    """Loss and gradient at a start, which have to be finite."""
    loss, gradient = metric.evaluate(theta)
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
    """What the decrement is to fall to: ``1e-5 tol L(start)``, or rounding level."""
    return max(_SHARE * tol * start_loss, 4.0 * _EPS * max(float(loss[0]), _EPS * start_loss))
