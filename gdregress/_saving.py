"""What a fitted estimator saves: numbers, arrays and text, and no more than a later call needs."""

from typing import Any

from .history import History, Reason, StopReason
from .solvers.descent.driver import Descent

__all__ = ["SavingMixin", "n_iter_of", "restored", "state_of"]

_TOLD_BY_ROWS = ("n_features_in_", "feature_names_in_", "classes_", "_dtype", "_y_ndim")


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
        descent, history = state.pop("_descent", None), state.get("history_")
        if descent is not None and self._may_go_on(descent):
            state["_descent"] = stored = descent.to_dict()
            if descent.history is history:
                stored["state"]["history"] = None  # saved once
        if not self.warm_start:
            state.pop("_theta", None)
        if history is not None:
            state["history_"] = history.packed()
        if "stop_reason_" in state:
            state["stop_reason_"] = state["stop_reason_"].packed()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "history_" in state:
            state["history_"] = History.unpacked(state["history_"])
        if "stop_reason_" in state:
            state["stop_reason_"] = Reason.unpacked(state["stop_reason_"])
        if "_descent" in state:
            state["_descent"] = Descent.from_dict(state["_descent"], state.get("history_"))
        super().__setstate__(state)

    def _may_go_on(self, descent):
        """Whether somebody may go on with the descent, other than by changing ``warm_start``."""
        interrupted = self.__dict__.get("stop_reason_") is StopReason.INTERRUPTED
        return self.warm_start or descent.pending or descent.is_stream or interrupted


def n_iter_of(estimator: Any) -> int:
    """The iterations that the descent of an estimator has made so far."""
    return int(vars(estimator)["_descent"].iteration)


def state_of(estimator: Any) -> dict[str, Any] | None:
    """What a descending estimator needs to go on, in the middle of a fit too; None of others.

    Its parameters, the :meth:`~gdregress.solvers.descent.driver.Descent.to_dict` of its descent,
    and what the rows have told; numbers, text, arrays, rules and dicts of these.
    """
    known = vars(estimator)
    if "_descent" not in known:
        return None
    return {
        "params": estimator.get_params(deep=False),
        "descent": known["_descent"].to_dict(),
        "attributes": {name: known.get(name) for name in _TOLD_BY_ROWS},
    }


def restored(kind: Any, state: dict[str, Any]) -> Any:
    """The estimator of a class whose state was kept by :func:`state_of`, ready to go on."""
    descent, attributes = Descent.from_dict(state["descent"]), state["attributes"]
    descent.check_shapes(attributes["n_features_in_"])
    descent.pending = True
    estimator = kind(**state["params"])
    vars(estimator).update({k: v for k, v in attributes.items() if v is not None})
    estimator._resume(descent)
    return estimator
