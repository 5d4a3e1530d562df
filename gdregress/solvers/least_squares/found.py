"""What an exact solver of least squares has found, in the units of its targets."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.blas import dnrm2

from ...history import StopReason
from ...rows.overflow import overflow
from ..solution import Solution

__all__ = ["LeastSquaresSolution", "extreme_units", "noticeable"]

_TINY = np.finfo(np.float64).tiny
_OUT_OF_RANGE = "the coefficients {} float64; rescale X and y to ordinary units."
# Squares and products of targets within these bounds keep their digits.
_SMALL_TARGET, _LARGE_TARGET = 1e-60, 1e60


@dataclass(kw_only=True)
class LeastSquaresSolution(Solution):
    """A solution with loss and gradient at both ends of its one iteration.

    Attributes
    ----------
    start : tuple
        Loss and gradient (original columns) at zero.
    gradient : ndarray of the shape of theta
        At theta, original columns.
    noticeable : callable
        Whether predictions notice each coefficient, (n_features, n_outputs); rarely asked.
    """

    reason: StopReason = StopReason.SOLVED
    start: tuple
    gradient: np.ndarray
    noticeable: Callable[[], np.ndarray]

    def checked(self):
        """This solution; an error where float64 cannot hold a coefficient that is noticed."""
        if not np.isfinite(self.theta).all():
            raise FloatingPointError(_OUT_OF_RANGE.format("overflow"))
        lost = np.abs(self.theta[:-1, 0]) < _TINY
        if lost.any() and (self.noticeable() & lost).any():
            raise FloatingPointError(_OUT_OF_RANGE.format("underflow"))
        return self

    def times(self, unit, losses):
        """The solution for ``y diag(unit)``, whose losses at zero and at theta are given, checked.

        The penalised least squares are linear in y.
        """
        found = replace(
            self,
            theta=self.theta * unit,
            gradient=self.gradient * unit,
            start=(losses[0], self.start[1] * unit),
            loss=losses[1],
        ).checked()
        if not np.isfinite(losses).all():
            raise FloatingPointError(overflow("y"))
        return found

    def record(self, history, validation=None):
        """Make zero and theta rows 0 and 1 of the history."""
        self.history = history
        losses = [np.nan, np.nan]
        if validation is not None:
            ends = np.zeros_like(self.theta), self.theta
            losses = [float(validation.value(theta)[0]) for theta in ends]
        loss, gradient = self.start
        history.record(0, 0, loss, gradient_norm=_norm(gradient), validation_loss=losses[0])
        history.record(
            1,
            1,
            self.loss,
            gradient_norm=_norm(self.gradient),
            update_norm=_norm(self.theta),
            validation_loss=losses[1],
        )


def _norm(theta):
    """Euclidean norm; BLAS scales it, so that squares of huge entries do not overflow."""
    return float(dnrm2(theta.ravel()))


def noticeable(coef, spread, y_size):
    """Whether ``coef_j`` times the spread of its column is more than the rounding of a prediction.

    `coef` is (n_features, n_outputs), `y_size` the size of the targets, (n_outputs,).
    """
    reach = np.abs(coef) * spread[:, None]
    return (reach > 1e-8 * reach.max(axis=0, initial=0.0)) & (reach > 1e-13 * y_size)


def extreme_units(y):
    """Powers of two that bring each target to ordinary sizes; None where all are of such."""
    largest = np.maximum(y.max(axis=0), -y.min(axis=0))
    extreme = (largest > 0.0) & ((largest < _SMALL_TARGET) | (largest > _LARGE_TARGET))
    if not extreme.any():
        return None
    return np.ldexp(1.0, np.where(extreme, np.clip(np.frexp(largest)[1], -1000, 1000), 0))
