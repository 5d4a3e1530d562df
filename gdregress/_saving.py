"""What a fitted estimator saves: numbers, arrays and text, and no more than a later call needs."""

from dataclasses import replace
from typing import Any

from .history import History, StopReason

__all__ = ["SavingMixin"]


class SavingMixin:
    """The state of an estimator for pickle, joblib, skops and copies.

    The record of the fit and the reason it stopped are saved as arrays and text, so that skops has
    the estimator's own class to trust and nothing else. The memory of a descent (velocities, best
    iterates, the generator of the batches) and the unrounded start of Newton's method are saved
    where something may go on with them: with ``warm_start=True``, in a stream of ``partial_fit``,
    and after an interruption.
    """

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        descent, history = state.get("_descent"), state.get("history_")
        if not self._may_go_on():
            state.pop("_descent", None)
        elif descent is not None and descent.history is history:
            state["_descent"] = replace(descent, history=None)  # saved once
        if not self.warm_start:
            state.pop("_theta", None)
        if history is not None:
            state["history_"] = history.packed()
        if "stop_reason_" in state:
            state["stop_reason_"] = state["stop_reason_"].name
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "history_" in state:
            state["history_"] = History.unpacked(state["history_"])
        if "stop_reason_" in state:
            state["stop_reason_"] = StopReason[state["stop_reason_"]]
        descent = state.get("_descent")
        if descent is not None and descent.history is None:
            state["_descent"] = replace(descent, history=state["history_"])
        super().__setstate__(state)

    def _may_go_on(self):
        """Whether somebody may go on with the descent, other than by changing ``warm_start``."""
        descent = self.__dict__.get("_descent")
        if descent is None:
            return False
        interrupted = self.__dict__.get("stop_reason_") is StopReason.INTERRUPTED
        return self.warm_start or descent.pending or descent.is_stream or interrupted
