"""What the two estimators share: the one ``fit``, its callbacks, and its attributes.

fit -> validate -> objective -> solver -> fitted attributes
"""

import copy
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils.validation import check_is_fitted

from ._advice import advise
from ._checks import (
    check_namespace,
    check_sample_weight,
    check_validation_arguments,
    normalised_weights,
)
from ._constructor import Parameters
from ._fitting import Origin, fit_of
from ._parameters import check_plan
from ._precision import held_in
from ._reading import (
    Data,
    explaining_overflow,
    look_for_bad_rows,
    objective_over,
    read_rows,
)
from ._saving import SavingMixin
from ._showing import ShowingMixin
from ._streaming import Part
from ._typing import FloatArray, MatrixLike, keeps_signature
from ._watch import Watch
from .history import History, StopReason
from .problem.penalty import ElasticNet
from .rows.threads import single_threaded_blas
from .solvers.exact import EXACT

__all__ = ["BaseRegression"]

# What makes something of the coefficients.
_PREDICTING = ("predict", "predict_proba", "predict_log_proba", "decision_function")
# What has to stay the same where a fit goes on.
_FEATURES = {"n_features_in_", "feature_names_in_"}
# What a fit leaves beside its attributes.
_PRIVATE_STATE = {"_descent", "_dtype", "_stream", "_theta", "_y_ndim"}


class BaseRegression(ShowingMixin, SavingMixin, CallbackSupportMixin, Parameters):
    """Common part of the estimators.

    A subclass names its exact solvers, turns y into targets, and says what is minimised: by
    ``_loss()``, a loss of ``problem.losses``, and ``_penalty()``, a penalty of ``problem.penalty``.
    """

    # What every fit leaves; the docstrings of the estimators say what it is.
    coef_: FloatArray
    n_features_in_: int
    feature_names_in_: NDArray[Any]
    n_iter_: int
    loss_: float
    history_: History
    stop_reason_: StopReason
    converged_: bool
    solver_: str
    solver_reason_: str
    learning_rate_: float
    optimality_gap_: float

    @keeps_signature(with_callbacks)
    def fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        X_val: MatrixLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Any real dtype and memory layout; never copied as a whole.
        y : array-like of shape (n_samples,), or (n_samples, n_targets) for linear regression
            Targets, or labels of any kind.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0; weight 2 equals the row twice.
        coef_init, intercept_init : array-like, default=None
            The start of the iterations, in the shapes of ``coef_`` and ``intercept_``; zero by
            default. A named exact solver of least squares makes no iterations: it has no effect.
        X_val, y_val, sample_weight_val : array-like, default=None
            Rows of your own on which ``history_["validation_loss"]`` is recorded (the loss without
            the penalty), and by which ``early_stopping=True`` stops.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            For bad data, a parameter out of range, or coefficients beyond the range of float64; a
            fitted estimator is left as it was.
        """
        start = {"coef_init": coef_init, "intercept_init": intercept_init}
        validation = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
        with self._unchanged_on_error(), single_threaded_blas() as workers:
            plan = check_plan(self, self._asks_for_descent({**start, "X_val": X_val}))
            arrays = {"X": X, "y": y, "sample_weight": sample_weight}
            check_namespace(self, **arrays, **start, **validation)
            check_validation_arguments(self, **validation)
            origin = Origin.of(self, plan, start)
            goes_on = origin.descent is not None
            self._forget(but=_FEATURES if goes_on else set())
            told_y = y  # as it came: callbacks are told
            X, y = self._read_rows(X, y, reset=not goes_on)
            sample_weight = check_sample_weight(self, sample_weight, X)
            with explaining_overflow(self, X):
                target, weight = self._encode(y, sample_weight)
                data = Data(X, target, normalised_weights(weight))
                fit = fit_of(self, plan, origin, data, validation, workers)
                if fit.descent is not None:
                    self._descent = fit.descent  # a checkpoint stores it
                watch = Watch.of(self, plan, fit.history, fit.X, told_y, sample_weight)
                found = fit.solve(watch=watch)
                look_for_bad_rows(self, fit.X, found.history)
                self._set_solution(found, fit.plan)
                advise(self, found, fit.plan)
                if watch is not None and found.interruption is None:
                    watch.finish()
        if found.interruption is not None:
            raise found.interruption
        return self

    def _penalty(self):
        return ElasticNet(self.alpha, self.l1_ratio)

    def _asks_for_descent(self, arguments):
        """The name of what was passed to ``fit`` that only descent can use, or None."""
        if "_descent" in self.__dict__ and self._descent.pending:
            return "the checkpoint"
        return next((name for name, value in arguments.items() if value is not None), None)

    def _read_rows(self, X, y, *, reset):
        X, y = read_rows(self, X, y, reset=reset)
        self._dtype = "float32" if X.dtype == np.float32 else "float64"
        return X, y

    def _take_part(self, X, y, sample_weight, start, classes=None, forget=1.0):
        """What ``partial_fit`` does: one more part of a stream of rows."""
        with self._unchanged_on_error(), single_threaded_blas() as workers:
            part = Part.of(self, start, forget)
            dtype = self.__dict__.get("_dtype")
            check_namespace(self, X=X, y=y, sample_weight=sample_weight, **start)
            X, y = self._read_rows(X, y, reset=part.first)
            sample_weight = check_sample_weight(self, sample_weight, X, may_be_zero=True)
            with explaining_overflow(self, X):
                target, weight = self._encode_part(y, sample_weight, classes, part.first)
                if weight is not None and not weight.any():
                    part.skip(X)
                    self._dtype = dtype
                    return self
                data = Data(X, target, weight)
                found = part.solve(objective_over(self, data, workers, part.plan.penalty))
                look_for_bad_rows(self, X, found.history)
                self._set_solution(found, part.plan)
                advise(self, found, part.plan)
        return self

    def _resume(self, descent):
        """Be the estimator in the middle of whose fit a descent was stored."""
        self._descent, state = descent, descent.state
        plan = check_plan(self, "the checkpoint")
        settings = replace(plan.settings, learning_rate=state.iterates.rate)
        reason = state.stop or StopReason.INTERRUPTED
        self._set_solution(descent.solution(reason, settings), plan)

    def _forget(self, but):
        """Drop what an earlier fit has left, but for what has to stay the same."""
        for key in _fitted_state(self.__dict__).difference(but):
            del self.__dict__[key]

    def _set_solution(self, found, plan):
        """Every fitted attribute that tells of the solution, whichever solver found it."""
        if not np.isfinite(found.theta).all():
            raise FloatingPointError(
                "the coefficients overflow float64; rescale X and y to ordinary units."
            )
        self.coef_, self.intercept_ = self._shaped(found.theta)
        self.n_iter_, self.loss_ = found.n_iter, found.loss
        self.solver_ = found.solver
        self.solver_reason_ = f"{plan.why}; {found.why}" if found.why else plan.why
        self.learning_rate_ = found.rate
        self.stop_reason_, self.converged_ = found.reason, found.converged
        self.optimality_gap_ = found.gap
        if found.condition is not None:
            self.rank_, self.condition_number_ = found.rank, found.condition
            self.dependent_columns_ = found.dependent_columns
        if hasattr(self, "classes_"):
            self.separating_columns_ = found.separating_columns
        if found.solver in EXACT and EXACT[found.solver].iterates:
            self._theta = found.theta  # float32 would round it
        self.history_ = found.history
        found.history.shape_path(self.coef_.shape, np.shape(self.intercept_), self.coef_.dtype)

    def _shaped(self, theta):
        """``coef_`` and ``intercept_`` of a theta."""
        coef, intercept = held_in(self._dtype, theta[:-1, 0].T, theta[-1, 0])
        if self.__dict__.get("_y_ndim") == 1:
            coef, intercept = coef[0], intercept[0]
        return coef, intercept

    @property
    def loss_curve_(self) -> NDArray[np.float64]:
        """The column "loss" of ``history_``; there once the estimator is fitted."""
        if "history_" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no 'loss_curve_' before it is fitted.")
        return self.history_["loss"]

    def _as_scikit_learns(self, model, names, own):
        """`model`, a class of scikit-learn's, with this estimator's fitted attributes.

        It predicts as the class `own` does: a subclass that predicts otherwise is refused.
        """
        check_is_fitted(self, "coef_")
        kind = type(self)
        for method in _PREDICTING:
            if getattr(kind, method, None) is not getattr(own, method, None):
                raise TypeError(
                    f"to_sklearn() of {kind.__name__} would predict as {own.__name__} does, and "
                    f"{kind.__name__} has a {method} of its own; use {kind.__name__} itself."
                )
        for name in ("coef_", "intercept_", "n_features_in_", "feature_names_in_", *names):
            if name in vars(self):
                setattr(model, name, copy.copy(vars(self)[name]))
        return model

    @contextmanager
    def _unchanged_on_error(self):
        """Put every fitted attribute back as it was when something is raised."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            for key in _fitted_state(self.__dict__):
                del self.__dict__[key]
            self.__dict__.update({key: before[key] for key in _fitted_state(before)})
            raise

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _fitted_state(attributes):
    """The names of those that a fit has made."""
    return {name for name in attributes if name[-1] == "_" or name in _PRIVATE_STATE}
