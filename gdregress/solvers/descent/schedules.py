"""Schedules: the factor s(t) on the learning rate at time t, in iterations (epochs).

A schedule is a callable ``s(t) -> factor > 0``. With full batches t is the number of iterations
made; with mini-batches it advances by 1 / (steps per epoch) with every step, so that a horizon
given in epochs keeps its meaning when the batch size changes. s(0) = 1 (for a warm-up: at its
end), so that a sweep over ``learning_rate`` keeps its meaning too.
"""

import math
import sys
from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from ..._ranges import NON_NEGATIVE, POSITIVE, Range, check_ranges

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "InverseScaling",
    "Schedule",
    "Step",
    "checked_factor",
]

# A factor never quite vanishes: a positive rate is part of the contract.
_SMALLEST = sys.float_info.min
_FACTOR = Range("a number in (0, 1]", float, low=0.0, high=1.0, closed="right")


class Schedule(BaseEstimator):
    """Base of the schedules of this module: parameters checked by :meth:`check`."""

    _ranges: ClassVar[dict[str, Range]] = {}

    def check(self) -> None:
        """Raise ValueError or TypeError for a parameter outside its range."""
        check_ranges(self)


class Constant(Schedule):
    """``s(t) = 1``.

    Examples
    --------
    >>> Constant()(10)
    1.0
    """

    def __call__(self, t: float) -> float:
        return 1.0


class InverseScaling(Schedule):
    """``s(t) = (1 + t / time)^-power`` (Robbins & Monro 1951 ask for 1/2 < power <= 1).

    Parameters
    ----------
    power : float, default=0.5
        >= 0.
    time : float, default=1.0
        Iterations (epochs) over which the rate falls by ``2^-power``.

    Examples
    --------
    >>> InverseScaling(power=1.0)(3)
    0.25
    """

    _ranges: ClassVar[dict[str, Range]] = {"power": NON_NEGATIVE, "time": POSITIVE}

    def __init__(self, power: float = 0.5, time: float = 1.0) -> None:
        self.power: float = power
        self.time: float = time

    def __call__(self, t: float) -> float:
        return (1.0 + t / self.time) ** -self.power


class Exponential(Schedule):
    """``s(t) = decay^t``.

    Parameters
    ----------
    decay : float, default=0.99
        Factor per iteration (epoch), in (0, 1].

    Examples
    --------
    >>> Exponential(decay=0.5)(2)
    0.25
    """

    _ranges: ClassVar[dict[str, Range]] = {"decay": _FACTOR}

    def __init__(self, decay: float = 0.99) -> None:
        self.decay: float = decay

    def __call__(self, t: float) -> float:
        return max(self.decay**t, _SMALLEST)


class Step(Schedule):
    """``s(t) = factor^floor(t / every)``.

    Parameters
    ----------
    factor : float, default=0.5
        Of each drop, in (0, 1].
    every : float, default=100
        Iterations (epochs) between two drops.

    Examples
    --------
    >>> Step(factor=0.1, every=10)(19)
    0.1
    """

    _ranges: ClassVar[dict[str, Range]] = {"factor": _FACTOR, "every": POSITIVE}

    def __init__(self, factor: float = 0.5, every: float = 100) -> None:
        self.factor: float = factor
        self.every: float = every

    def __call__(self, t: float) -> float:
        return max(self.factor ** (t // self.every), _SMALLEST)


class Cosine(Schedule):
    """Linear warm-up, then half a cosine from 1 down to `final` (Loshchilov & Hutter 2017).

    ``s(t) = (t + 1) / (warmup + 1)`` for t < warmup, afterwards ``final + (1 - final) (1 +
    cos(pi u)) / 2`` with u = (t - warmup) / (total_epochs - warmup), and `final` beyond.

    Parameters
    ----------
    total_epochs : float, default=1000
        Horizon, warm-up included, in iterations (epochs).
    warmup : float, default=0
        Length of the warm-up.
    final : float, default=0.01
        The factor at the horizon, > 0.

    Examples
    --------
    >>> [round(Cosine(total_epochs=10)(t), 3) for t in (0, 5, 10)]
    [1.0, 0.505, 0.01]
    """

    _ranges: ClassVar[dict[str, Range]] = {
        "total_epochs": POSITIVE,
        "warmup": NON_NEGATIVE,
        "final": _FACTOR,
    }

    def __init__(self, total_epochs: float = 1000, warmup: float = 0, final: float = 0.01) -> None:
        self.total_epochs: float = total_epochs
        self.warmup: float = warmup
        self.final: float = final

    def check(self) -> None:
        super().check()
        if not self.warmup < self.total_epochs:
            raise ValueError(
                f"'warmup' of Cosine must be less than total_epochs={self.total_epochs!r}; got "
                f"{self.warmup!r}."
            )

    def __call__(self, t: float) -> float:
        if t < self.warmup:
            return (t + 1.0) / (self.warmup + 1.0)
        u = min(1.0, (t - self.warmup) / (self.total_epochs - self.warmup))
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * u))


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "inverse_scaling": InverseScaling,
    "exponential": Exponential,
    "step": Step,
    "cosine": Cosine,
}


def checked_factor(schedule: Callable[[float], Any], t: float) -> float:
    """``schedule(t)``, or ValueError where it is not a positive finite number."""
    factor: Any = schedule(t)
    if type(factor) is float and 0.0 < factor < math.inf:
        return factor
    if not isinstance(factor, Real) or not 0.0 < float(factor) < math.inf:
        raise ValueError(
            f"'schedule' must return a positive finite number; {schedule!r} returned {factor!r} "
            f"at t = {t!r}."
        )
    return float(factor)
