"""Newton's method for the logistic losses.

    theta <- theta - t H(theta)^-1 grad L(theta)

with Armijo backtracking on t, stopped by the Newton decrement ``1/2 g^T H^-1 g``, which is the
decrease that the quadratic model still promises (Boyd & Vandenberghe 2004, section 9.5). It works
in a frame of shifted and scaled columns, so the units of X play no part.
"""

import math

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
# A loss below this share of the start's is worth a pass over X to see if the classes separate.
_CONFIDENT = 0.1


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
    reason : StopReason
    """
    frame = objective.sampled_frame()
    if not frame.is_identity:
        frame = objective.exact_frame()
    framed = objective.in_frame(frame)
    theta = frame.enter(theta)
    singular = _SingularDirections(framed)

    def held_out(theta):
        return math.nan if validation is None else float(validation.value(frame.leave(theta))[0])

    with np.errstate(all="ignore"):
        loss, gradient = framed.value_and_gradient(theta)
        if not (np.isfinite(loss[0]) and np.all(np.isfinite(gradient))):
            raise FloatingPointError(
                "The loss at the start overflows float64; rescale X to ordinary units."
            )
        start_loss = float(loss[0])
        _record(history, 0, start_loss, frame.gradient_outside(gradient), held_out=held_out(theta))
        for iteration in range(1, max_iter + 1):
            if watch is not None:
                watch.begin(frame.leave(theta))
            direction = -_solve(framed, theta, gradient, singular)
            decrement = -0.5 * float(np.vdot(gradient, direction))
            theta, loss, gradient, step = _backtrack(framed, theta, loss, gradient, direction)
            update = frame.leave(theta) - frame.leave(theta - step * direction)
            norms = frame.gradient_outside(gradient), np.linalg.norm(update)
            _record(history, iteration, float(loss[0]), *norms, step, held_out(theta))
            stop = watch is not None and watch.end(frame.leave(theta))
            # Without a penalty, separable classes have no optimum: do not run after it.
            confident = loss[0] < _CONFIDENT * start_loss and framed.penalty.l2 == 0.0
            if confident and framed.margin(theta) > 0.0:
                return frame.leave(theta), StopReason.SEPARABLE
            rounding = 4.0 * _EPS * max(float(loss[0]), _EPS * start_loss)
            # The step just made squares what the decrement measured before it.
            if decrement <= max(tol * tol * start_loss, rounding) or step == 0.0:
                return frame.leave(theta), StopReason.DECREMENT
            if stop:
                return frame.leave(theta), StopReason.CALLBACK
    return frame.leave(theta), StopReason.MAX_ITER


def _record(
    history, iteration, loss, gradient, update_norm=math.nan, step=math.nan, held_out=math.nan
):
    norm = float(np.linalg.norm(gradient))
    history.record(iteration, iteration, loss, norm, update_norm, step, held_out)


def _solve(framed, theta, gradient, singular):
    """``H^-1 g``, by Cholesky of the unit-diagonal Hessian."""
    hessian = framed.hessian(theta)
    _fix_gauge(hessian, framed)
    diagonal = np.diag(hessian)
    dead = ~(diagonal > 0.0)  # columns of zeros: nothing to learn, nothing to move
    if dead.any():
        hessian[dead] = hessian[:, dead] = 0.0
        hessian[dead, dead] = 1.0
    try:
        cholesky = ScaledCholesky(hessian)
        regular = cholesky.rcond > _SUSPICIOUS_RCOND
    except linalg.LinAlgError:
        cholesky, regular = None, False
    if not regular:
        cholesky = singular.regularised(hessian, cholesky)
    g = np.where(dead, 0.0, gradient.ravel())
    return cholesky.solve(g).reshape(gradient.shape)


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

    def regularised(self, hessian, cholesky):
        """A factor of ``H + B B^T``, B spanning the directions in which H vanishes.

        A direction n with H n = 0 has g^T n = 0, so ``(H + B B^T) d = -g`` has the solution of
        ``H d = -g`` with ``B^T d = 0``. What is still singular then is a saturated Hessian, or
        one too ill-conditioned for Cholesky; a shift at rounding level keeps the step finite.
        """
        unit = np.sqrt(np.diag(hessian))
        scaled = hessian / unit / unit[:, None]
        if self.framed.penalty.l2 == 0.0 and self.null.shape[1]:
            n_outputs = self.framed.shape[1]
            null = np.kron(self.null, np.eye(n_outputs)) * unit[:, None]
            null /= np.linalg.norm(null, axis=0)
            scaled += null @ null.T
            cholesky = None
        elif cholesky is not None:
            return cholesky
        shift = len(unit) * _EPS
        while True:
            try:
                return ScaledCholesky(scaled * np.outer(unit, unit))
            except linalg.LinAlgError:
                scaled[np.diag_indices_from(scaled)] += shift
                shift *= 10.0


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
