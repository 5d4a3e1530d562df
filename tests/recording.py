"""Callbacks that write down what they are told, and an estimator of somebody else that has some."""

from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks

__all__ = ["Patient", "Recorder"]


class Recorder:
    """Writes down every task and what it was given; asks to stop after some iterations."""

    def __init__(self, stop_after=None, error=None):
        self.stop_after, self.error = stop_after, error
        self.tasks, self.estimators, self.given = [], [], []
        self.set_up = self.torn_down = 0

    def setup(self, estimator, context):
        self.set_up += 1

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.tasks.append(("begin", context.task_name, context.task_id))
        self.estimators.append(fitted_estimator)

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.tasks.append(("end", context.task_name, context.task_id))
        self.estimators.append(fitted_estimator)
        self.given.append((X, y, metadata))
        if context.task_name == "iteration" and context.task_id + 1 == self.stop_after:
            if self.error is not None:
                raise self.error
            return True
        return False


class Patient(CallbackSupportMixin, BaseEstimator):
    """An estimator of somebody else, that supports callbacks and honours their requests."""

    @with_callbacks
    def fit(self, X=None, y=None):
        root = self._init_callback_context(max_subtasks=None)
        root.call_on_fit_task_begin(estimator=self)
        self.n_iter_, asked = 0, False
        while not asked:
            task = root.subcontext(task_name="turn")
            task.call_on_fit_task_begin(estimator=self)
            self.n_iter_ += 1
            asked = task.call_on_fit_task_end(estimator=self)
        root.call_on_fit_task_end(estimator=self)
        return self
