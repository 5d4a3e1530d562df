"""Callbacks of one fit: a task per iteration, and the fitted state on demand."""

import numpy as np

__all__ = ["Watch"]


class Watch:
    """The tasks of one fit in the form of ``sklearn.callback``.

    The root task is the fit; each iteration (each epoch, the one step of an exact solver) is a
    task below it. What a hook may ask for is made when it asks: coefficients are copies.
    """

    @classmethod
    def of(cls, estimator, plan, X, y, sample_weight):
        """A watch where callbacks are set (here or on a meta-estimator), else None."""
        has_callbacks = getattr(estimator, "_skl_callbacks", None)
        if not has_callbacks and not hasattr(estimator, "_parent_callback_ctx"):
            return None
        return cls(estimator, plan, X, y, sample_weight)

    def __init__(self, estimator, plan, X, y, sample_weight):
        self.estimator = estimator
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._data = {"X": X, "y": y, "metadata": metadata}
        one_task = plan.exact is not None and plan.exact != "newton"
        self._root = estimator._init_callback_context(
            max_subtasks=1 if one_task else plan.settings.max_iter
        )
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

    def end(self, theta):
        """An iteration ended at theta; whether a callback asks to stop."""
        return self._task.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self._attributes(theta),
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

    def _attributes(self, theta):
        coef, intercept = self.estimator._shaped(theta)
        return {"coef_": coef, "intercept_": intercept}
