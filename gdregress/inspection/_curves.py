"""The loss curve of one fit, read from its history: numbers, no pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from ._drawing import final_estimator

__all__ = ["LossCurve"]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class LossCurve:
    """The loss of one fit, iteration by iteration.

    Attributes
    ----------
    name : str
        What the legend calls the fit.
    iteration, seconds, loss : ndarray of shape (n_iter_ + 1,)
        Columns of the fit's ``history_``; row 0 is the start.
    validation_loss : ndarray of shape (n_iter_ + 1,) or None
        Loss on the validation data, without the penalty; None where none was recorded.
    stop_reason : Reason or str
        Why the fit stopped, as it says itself.
    converged : bool
        The fit's ``converged_``.
    quantity : str
        What the loss is, with its unit: the label of the vertical axis.
    step, gradient_norm, update_norm, rate : ndarray of shape (n_iter_ + 1,) or None
        Further columns: updates made, norms of gradient and update, learning rate of the last step.
    learning_rate : float
        The rate that the fit was given; NaN where there is none.
    returned : int or None
        The row whose coefficients the fit returned; None is the last one.
    by_epoch : bool
        Whether an iteration is one pass over the rows in mini-batches.
    solver : str
        The fit's ``solver_``.
    step_loss : tuple of two ndarrays or None
        The numbers of the single steps and the loss of the mini-batch that each has seen, where
        ``store_path="step"`` kept them.
    """

    name: str
    iteration: np.ndarray
    seconds: np.ndarray
    loss: np.ndarray
    validation_loss: np.ndarray | None
    stop_reason: str
    converged: bool
    quantity: str
    step: np.ndarray | None = None
    gradient_norm: np.ndarray | None = None
    update_norm: np.ndarray | None = None
    rate: np.ndarray | None = None
    learning_rate: float = float("nan")
    returned: int | None = None
    by_epoch: bool = False
    solver: str = ""
    step_loss: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def from_estimator(cls, estimator: Any, *, name: str | None = None) -> LossCurve:
        """Read the curve from a fitted estimator, or from a Pipeline or search that ends in one."""
        model = final_estimator("LossCurveDisplay", estimator)
        history = model.history_
        column = {key: np.asarray(history[key], dtype=float) for key in history}
        validation = column["validation_loss"]
        n_rows = len(column["loss"])
        return cls(
            name=_default_name(model) if name is None else str(name),
            iteration=column["iteration"],
            seconds=column["seconds"],
            loss=column["loss"],
            validation_loss=validation if np.isfinite(validation).any() else None,
            stop_reason=model.stop_reason_,
            converged=bool(model.converged_),
            quantity=_quantity(model),
            step=column["step"],
            gradient_norm=column["gradient_norm"],
            update_norm=column["update_norm"],
            rate=column["learning_rate"],
            learning_rate=float(model.learning_rate_),
            returned=_returned_row(model, n_rows),
            by_epoch=bool(column["step"][-1] > column["iteration"][-1]),
            solver=str(model.solver_),
            step_loss=_step_loss(history),
        )

    @property
    def outcome(self) -> str:
        """The stop reason in two or three words."""
        return getattr(self.stop_reason, "short", self.stop_reason)

    @property
    def counted(self) -> str:
        """What an iteration is called."""
        return "epoch" if self.by_epoch else "iteration"

    @property
    def label(self) -> str:
        """The entry of the legend: name, outcome, number of iterations, what was returned."""
        n_iter = int(self.iteration[-1])
        text = f"{self.outcome}, {n_iter} {self.counted}{'' if n_iter == 1 else 's'}"
        if self.returned is not None and self.returned != len(self.iteration) - 1:
            text += f", returned {self.counted} {self.iteration[self.returned]:.0f}"
        return f"{self.name} ({text})"

    def values(self, y_axis: str, optimum: float | None, log_scale: bool) -> np.ndarray:
        """The values to draw; what is not finite becomes a gap in the line.

        A logarithm has no place for zero, and no digits of ``loss - optimum`` are known below the
        rounding of its terms: such values stand at :meth:`floor`.
        """
        column = getattr(self, "rate" if y_axis == "learning_rate" else y_axis)
        if column is None:
            return np.full(len(self.iteration), np.nan)
        values = column if optimum is None else column - optimum
        if log_scale:
            values = np.maximum(values, self.floor(y_axis, optimum))
        return np.where(np.isfinite(values), values, np.nan)

    def floor(self, y_axis: str, optimum: float | None) -> float:
        """The smallest value that means anything on a logarithmic axis."""
        if optimum is not None:
            start = self.loss[0] if np.isfinite(self.loss[0]) else 1.0
            return max(_EPS * abs(optimum), _EPS * _EPS * abs(start), np.finfo(float).tiny)
        column = np.asarray(getattr(self, "rate" if y_axis == "learning_rate" else y_axis))
        positive = column[np.isfinite(column) & (column > 0.0)]
        if not len(positive):
            return float(np.finfo(float).tiny)
        return float(min(_EPS * positive[0], positive.min()))


def _returned_row(model: Any, n_rows: int) -> int | None:
    row = getattr(model.history_, "returned", None)
    return n_rows - 1 if row is None else int(row) % n_rows


def _step_loss(history: Any) -> tuple[np.ndarray, np.ndarray] | None:
    steps = getattr(history, "steps", None)
    return None if steps is None else (np.asarray(steps["step"]), np.asarray(steps["loss"]))


def _default_name(model: Any) -> str:
    rate = getattr(model, "learning_rate_", None)
    rate_text = "" if rate is None or not np.isfinite(rate) else f", learning_rate={rate:.3g}"
    return f"{type(model).__name__}({model.solver_}{rate_text})"


def _quantity(model: Any) -> str:
    unit = "mean log-loss, nats" if is_classifier(model) else "½ mean squared error, units of y²"
    return unit + (" + penalty" if model.alpha else "")
