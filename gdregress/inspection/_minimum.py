"""Newton's method to the end, for what needs the optimum itself, not a fit within a tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from .._linalg import above_rounding
from ..solvers.newton.full import FullMetric
from ..solvers.newton.steps import backtrack

__all__ = ["MAX_PARAMETERS", "active_newton", "newton_to_the_end"]

MAX_PARAMETERS = 2500  # a Hessian of more is not factored
_EPS = np.finfo(np.float64).eps
_MAX_STEPS, _MAX_HALVINGS = 60, 12


def newton_to_the_end(framed: Any, theta: np.ndarray, max_steps: int = _MAX_STEPS) -> np.ndarray:
    """The minimum of a smooth block objective in its frame, to rounding, begun at theta.

    Where there is none, a theta far out on the way to it.
    """
    metric = FullMetric(framed)
    at = metric.look(theta)
    previous = np.inf
    for _ in range(max_steps):
        direction, decrement = metric.direction(at, 0.0)
        # At rounding level the decrement no longer shrinks by much.
        if not decrement > 0.0 or (decrement <= 1e-12 * at.loss[0] and decrement > 0.1 * previous):
            break
        previous = decrement
        at, step = backtrack(at, direction, metric.look)
        if step == 0.0 or decrement <= _EPS**2 * at.loss[0]:
            break
    return at.theta


def active_newton(framed: Any, theta: np.ndarray, max_steps: int = 3 * _MAX_STEPS) -> np.ndarray:
    """A better theta of an objective with an L1 norm, in its frame: Newton steps on a support.

    The support is where coefficients are not zero, or the least subgradient asks for more; signs
    stay, and what would change its sign becomes zero. Where that does not lower the loss, only one
    zero at a time is let go, and a step ends where the first coefficient becomes zero: then it
    always does (Lee, Battle, Raina & Ng 2007, "Efficient sparse coding algorithms").
    """
    threshold = np.zeros((framed.shape[0], 1, 1))
    threshold[:-1, 0, 0] = framed.penalty.l1 / framed.frame.scale
    for _ in range(max_steps):
        theta = _in_best_gauge(framed, theta)
        at = framed.at(theta)
        hessian, gradient, loss = at.hessian, at.gradient, at.loss
        pull = np.sign(gradient) * np.maximum(np.abs(gradient) - threshold, 0.0)
        pull = np.where(theta == 0.0, pull, gradient + threshold * np.sign(theta))
        pull[-1] = gradient[-1]
        if not framed.fit_intercept:
            pull[-1] = 0.0
        better = None
        for violators in ("all", "none", "largest"):
            support = _support(framed, theta, pull, violators)
            better = _on_support(framed, theta, pull, hessian, support, float(loss[0]))
            if better is not None:
                break
        if better is None:
            break
        theta = better
    return theta


def _support(framed: Any, theta: np.ndarray, pull: np.ndarray, violators: str) -> np.ndarray:
    """The coefficients that may move: those other than zero, the intercept, and violators."""
    support = theta != 0.0
    support[-1] = framed.fit_intercept
    zeros = np.where(support, 0.0, np.abs(pull))
    if violators == "all":
        support |= zeros > 0.0
    elif violators == "largest" and zeros.any():
        support |= zeros == zeros.max()
    return support


def _on_support(
    framed: Any,
    theta: np.ndarray,
    pull: np.ndarray,
    hessian: np.ndarray,
    support: np.ndarray,
    loss: float,
) -> np.ndarray | None:
    """The first shortened Newton step that lowers the loss; None where there is none."""
    flat = support.ravel()
    step = np.zeros_like(theta)
    step[support] = -_solved(hessian[np.ix_(flat, flat)], pull[support])
    sign = np.where(theta == 0.0, -np.sign(pull), np.sign(theta))
    sign[-1] = 0.0
    halvings = 0.5 ** np.arange(_MAX_HALVINGS)
    lengths = halvings.tolist()
    crossing = (sign * step < 0.0) & (theta != 0.0)
    if crossing.any():
        first = float((-theta[crossing] / step[crossing]).min())
        if first < 1.0:
            lengths += (first * halvings).tolist()
    for t in lengths:
        trial = theta + t * step
        # At the length of the first crossing that coefficient is zero but for rounding.
        gone = sign[:-1] * trial[:-1] <= 8.0 * _EPS * np.abs(theta[:-1])
        trial[:-1][gone] = 0.0
        if framed.value(trial)[0] < loss:
            return trial
    return None


def _in_best_gauge(framed: Any, theta: np.ndarray) -> np.ndarray:
    """Of softmax with an L1 norm alone: a constant for all classes of a column has no curvature.

    ``sum_k |w_jk - c|`` is least where c is a median of the w_jk: the lower one, so that a
    coefficient is zero and the constant has no part in the steps.
    """
    if not framed.loss.is_coupled or framed.penalty.l2 > 0.0:
        return theta
    theta = theta.copy()
    theta[:-1] -= np.sort(theta[:-1], axis=2)[:, :, [(framed.shape[1] - 1) // 2]]
    return theta


def _solved(matrix: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``matrix^+ b`` in units in which its diagonal is one."""
    unit = np.sqrt(np.maximum(matrix.diagonal(), np.finfo(float).tiny))
    values, vectors = linalg.eigh(matrix / unit / unit[:, None])
    kept = above_rounding(values)
    return vectors[:, kept] @ ((vectors[:, kept].T @ (b / unit)) / values[kept]) / unit
