"""What an exact solver of least squares returns."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ..problem.objective import overflow

__all__ = ["ExactSolution", "extreme_units", "noticeable"]

_TINY = np.finfo(np.float64).tiny
_OUT_OF_RANGE = "the coefficients {} float64; rescale X and y to ordinary units."
# Squares and products of targets within these bounds keep their digits.
_SMALL_TARGET, _LARGE_TARGET = 1e-60, 1e60


@dataclass
class ExactSolution:
    """theta (original columns), and what was learnt on the way; losses and norms at both rows."""

    theta: np.ndarray
    solver: str
    rank: int | None  # None where it was not determined
    condition: float
    start: tuple  # loss and gradient (original columns) at zero, penalty included
    loss: float
    gradient: np.ndarray  # at theta, original columns
    # Whether predictions notice each coefficient, (n_features, n_outputs); rarely asked.
    noticeable: Callable[[], np.ndarray]
    # Indices of columns that depend on the others.
    dependent: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))
    converged: bool = True

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
