"""What solvers need of a loss and a penalty, and the one sentence where that is missing.

A solver lists its needs as data beside it; losses and penalties declare what they have. Nobody asks
which loss or penalty it is.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "CURVATURE",
    "CURVATURE_BOUND",
    "QUADRATIC",
    "RIDGE_OR_L1",
    "SMOOTH",
    "SQUARES_OR_CLASSES",
    "Need",
    "bad_start",
    "lacking",
    "mismatch",
]


@dataclass(frozen=True)
class Need:
    """One thing that a solver asks for.

    Attributes
    ----------
    of : {"loss", "penalty"}
        Of which it asks.
    sentence : str
        What is to be said of a solver without it, ``{it}`` being the loss or the penalty.
    is_met : callable
        Given the loss or the penalty, whether it has it.
    """

    of: str
    sentence: str
    is_met: Callable[[Any], bool]


CURVATURE = Need(
    "loss",
    "needs the second derivative of the loss, and {it} has none",
    lambda loss: hasattr(loss, "curvature"),
)
CURVATURE_BOUND = Need(
    "loss",
    "needs a bound of the second derivative of the loss, and {it} declares none",
    lambda loss: loss.curvature_bound is not None,
)
QUADRATIC = Need(
    "loss",
    "needs a loss whose second derivative is constant, and that of {it} is not",
    lambda loss: loss.is_quadratic,
)
SMOOTH = Need("penalty", "has no proximal step for {it}", lambda penalty: penalty.is_smooth)


SQUARES_OR_CLASSES = Need(
    "loss",
    "serves least squares and classifiers, and {it} is the loss of neither",
    lambda loss: loss.is_quadratic or hasattr(loss, "margin"),
)
RIDGE_OR_L1 = Need(
    "penalty",
    "serves ridges and L1 norms, and {it} is neither",
    lambda penalty: penalty.is_smooth or bool(np.any(penalty.l1)),
)


def lacking(needs: Iterable[Need], *, loss: Any = None, penalty: Any = None) -> Need | None:
    """The first need that is not met, or None; what is None is not known yet, and not asked."""
    have = {"loss": loss, "penalty": penalty}
    for need in needs:
        it = have[need.of]
        if it is not None and not need.is_met(it):
            return need
    return None


def mismatch(who: str, need: Need, remedy: str, *, loss: Any = None, penalty: Any = None) -> str:
    """The sentence: what was asked for, what is missing of what, and what helps."""
    it = {"loss": loss, "penalty": penalty}[need.of]
    name = type(it).__name__ if need.of == "loss" else str(it)
    return f"{who} {need.sentence.format(it=name)}; {remedy}."


def bad_start(objective: Any, loss: float) -> FloatingPointError:
    """The error of a loss at the start that is no finite number.

    At a linear predictor of zero X plays no part: what is no number there has none for y.
    """
    zero = np.zeros((objective.shape[0], 1, objective.shape[1]))
    if math.isnan(loss) and math.isnan(float(objective.value(zero)[0])):
        name, y = type(objective.loss).__name__, objective.blocks.y
        return FloatingPointError(
            f"{name} is no number for some y, which go from {y.min():.6g} to {y.max():.6g}; "
            f"pass targets for which it is defined."
        )
    return FloatingPointError(
        "The loss at the start overflows float64; rescale X and y to ordinary units."
    )
