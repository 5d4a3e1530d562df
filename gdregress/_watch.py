"""Callbacks of one fit: a task per iteration, and the fitted state on demand."""

from weakref import WeakKeyDictionary

import numpy as np

from .solvers.exact import EXACT

__all__ = ["Watch", "record_of"]

_records = WeakKeyDictionary()  # of the fits that are watched, by their contexts


class Watch:
    """The tasks of one fit in the form of ``sklearn.callback``.

    The root task is the fit; each iteration (each epoch, the one step of an exact solver) is a
    task below it. What a hook may ask for is made when it asks: coefficients and the record so far
    are copies.
    """

    @classmethod
    def of(cls, estimator, plan, history, X, y, sample_weight):
        """A watch where callbacks are set (here or on a meta-estimator), else None."""
        if not _is_watched(estimator):
            return None
        return cls(estimator, plan, history, X, y, sample_weight)

    def __init__(self, estimator, plan, history, X, y, sample_weight):
        self.estimator, self.history = estimator, history
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._data = {"X": X, "y": y, "metadata": metadata}
        one_task = plan.exact is not None and not EXACT[plan.exact].iterates
        self._root = estimator._init_callback_context(
            max_subtasks=1 if one_task else plan.settings.max_iter
        )
        _records[self._root] = history
        self._root.call_on_fit_task_begin(estimator=estimator, **self._data)
        self._task = None

    def begin(self, theta):
        """An iteration begins at theta."""
        self._task = self._root.subcontext(task_name="iteration")
        self._task.call_on_fit_task_begin(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self._attributes(theta),
            **self._data,
        )

    def end(self, theta, loss=None):
        """An iteration ended at theta; whether a callback asks to stop.

        Its loss is that of the last row, where none is given.
        """
        return self._task.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self._attributes(theta, loss),
            **self._data,
        )

    def finish(self):
        """The fit ended."""
        self._root.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: {
                "coef_": self.estimator.coef_.copy(),
                "intercept_": np.copy(self.estimator.intercept_)[()],
            },
            **self._data,
        )

    def _attributes(self, theta, loss=None):
        coef, intercept = self.estimator._shaped(theta)
        history = self.history.copy()
        history.shape_path(coef.shape, np.shape(intercept), coef.dtype)
        attributes = {"coef_": coef, "intercept_": intercept, "history_": history}
        if len(history):
            attributes["n_iter_"] = int(history["iteration"][-1])
            attributes["loss_"] = float(history["loss"][-1]) if loss is None else loss
        return attributes


def record_of(context):
    """The record of the fit that a context belongs to, to be read only; None for other estimators.

    For callbacks that look at it after every iteration and need no copy of the model.
    """
    record = _records.get(context)
    return record if record is not None or context.parent is None else _records.get(context.parent)


def _is_watched(estimator):
    """Whether callbacks are set on the estimator, or on one that fits it.

    scikit-learn 1.9 has no public question for this, and asking for a context without need would
    cost every fit more than some iterations: these two names are the only ones of its private
    state that this package reads.
    """
    return bool(vars(estimator).get("_skl_callbacks")) or hasattr(estimator, "_parent_callback_ctx")
