"""What the two estimators share: the one ``fit``, its callbacks, and its attributes.

    fit -> validate -> objective -> solver -> fitted attributes
"""

import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .blocks import RowBlocks
from .history import History, StopReason
from .objective import BlockObjective, CentredMoments, QuadraticObjective
from .penalty import ElasticNet
from .solvers.descent import DescentState, descend
from .threads import single_threaded_blas
from .validation import (
    check_initial_theta,
    check_plan,
    check_sample_weight,
    check_validation_arguments,
    normalised_weights,
)

__all__ = ["BaseRegression"]

# Least squares with up to this many columns descends on its moments, p x p.
_MAX_MOMENT_COLUMNS = 2048
_ACCEPT_SPARSE = "csr"


class BaseRegression(CallbackSupportMixin, BaseEstimator):
    """Common part of the estimators; the parameters are documented there.

    A subclass names its exact solvers, turns y into targets, and solves exactly.
    """

    def __init__(
        self,
        *,
        solver="auto",
        alpha=0.0,
        l1_ratio=0.0,
        fit_intercept=True,
        learning_rate="auto",
        schedule="constant",
        batch_size=None,
        max_iter=1000,
        tol=1e-6,
        criterion="gradient",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        warm_start=False,
        store_path=False,
        random_state=None,
    ):
        self.solver = solver
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.criterion = criterion
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.store_path = store_path
        self.random_state = random_state

    @with_callbacks
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        coef_init=None,
        intercept_init=None,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
    ):
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
            default.
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
            For bad data or a parameter out of range; a fitted estimator is left as it was.
        """
        with self._unchanged_on_error(), single_threaded_blas() as workers:
            asks_for_descent = any(v is not None for v in (coef_init, intercept_init, X_val))
            plan = check_plan(self, self._exact_solvers, asks_for_descent=asks_for_descent)
            check_validation_arguments(self, X_val, y_val, sample_weight_val)
            user_y = y
            X, y = self._validate_fit(X, y)
            sample_weight = check_sample_weight(sample_weight, X)
            with self._explaining_overflow(X):
                target, weight = self._encode(y, sample_weight)
                weight = normalised_weights(weight)
                validation = None
                if X_val is not None:
                    validation = self._validation_objective(X_val, y_val, sample_weight_val, workers)
                elif plan.settings.early_stopping and plan.exact is None:
                    X, target, weight, validation = self._split(X, target, weight, workers)
                objective = self._objective(X, target, weight, workers)
                shape = (X.shape[1], objective.shape[1])
                start = check_initial_theta(self, shape, coef_init, intercept_init)
                watch = _Watch.of(self, plan, X, user_y, sample_weight)
                if plan.exact is not None:
                    self._fit_exact(objective, plan, start, validation, watch, asks_for_descent)
                else:
                    self._fit_descent(objective, plan, start, validation, watch)
                if watch is not None:
                    watch.finish()
        return self

    def _validate_fit(self, X, y):
        """X and y as arrays; X is read block-wise later, and its NaN found there."""
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=_ACCEPT_SPARSE,
            ensure_all_finite=False,
            **self._y_checks,
        )
        assert_all_finite(y, input_name="y", estimator_name=type(self).__name__)
        self._dtype = X.dtype if X.dtype == np.float32 else np.dtype(np.float64)
        return X, y

    def _objective(self, X, target, weight, workers, *, penalty=None):
        blocks = RowBlocks(X, target, weight, workers)
        return BlockObjective(
            blocks,
            self._loss(),
            ElasticNet(self.alpha, self.l1_ratio) if penalty is None else penalty,
            self._n_outputs(target),
            fit_intercept=self.fit_intercept,
        )

    def _validation_objective(self, X_val, y_val, sample_weight_val, workers):
        """The unpenalised loss on the user's own rows."""
        X_val = validate_data(
            self, X_val, accept_sparse=_ACCEPT_SPARSE, reset=False, ensure_all_finite=True
        )
        sample_weight_val = check_sample_weight(sample_weight_val, X_val, "sample_weight_val")
        target, weight = self._encode_validation(y_val, sample_weight_val)
        return self._objective(X_val, target, weight, workers, penalty=ElasticNet())

    def _split(self, X, target, weight, workers):
        """Set rows aside for early stopping, stratified by class for a classifier."""
        rows = np.arange(X.shape[0])
        train, held_out = train_test_split(
            rows,
            test_size=self.validation_fraction,
            random_state=self.random_state,
            stratify=self._strata(target),
        )
        train_weight, held_out_weight = (None, None) if weight is None else (weight[train], weight[held_out])
        if weight is not None and not (train_weight.any() and held_out_weight.any()):
            raise ValueError(
                f"'validation_fraction'={self.validation_fraction!r} of {type(self).__name__} left a "
                f"part of the rows with weights that are all zero; use another random_state."
            )
        validation = self._objective(
            X[held_out], target[held_out], held_out_weight, workers, penalty=ElasticNet()
        )
        return X[train], target[train], train_weight, validation

    def _fit_descent(self, objective, plan, start, validation, watch):
        """Descend, and set what the descent tells."""
        rule, settings = plan.rule, plan.settings
        rows, settings = objective, _full_batch_if_larger(self, settings, objective.blocks.n_samples)
        if settings.batch_size is None and _descends_on_moments(objective):
            factor = CentredMoments.from_objective(objective).factor()
            objective = QuadraticObjective(
                factor, objective.penalty, fit_intercept=self.fit_intercept
            )
        if plan.automatic_rate:
            settings = replace(settings, learning_rate=_automatic_rate(objective, rule, settings))
        generator = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        state = DescentState.begin(
            start, rule, stochastic=settings.batch_size is not None, generator=generator
        )
        history = History()
        interrupted = None
        try:
            reason = descend(
                objective, rule, settings, state, history, validation=validation, watch=watch
            )
        except KeyboardInterrupt as error:
            if state.iteration == 0:
                raise
            reason, interrupted = StopReason.INTERRUPTED, error
        theta = state.reported
        if reason in {StopReason.DIVERGED, StopReason.INTERRUPTED}:
            theta = state.best_theta
        if settings.early_stopping and state.best_validation_theta is not None:
            theta = state.best_validation_theta
        self._set_theta(theta)
        self.n_iter_ = state.iteration
        self.loss_ = float(rows.value(theta)[0])
        self.learning_rate_ = state.rate if settings.line_search else settings.learning_rate
        self.stop_reason_ = reason
        self.solver_ = _rule_name(rule)
        close = state.gradient_check <= settings.tol
        self.converged_ = bool(close and reason not in {StopReason.DIVERGED, StopReason.INTERRUPTED})
        self._set_history(history)
        self._set_design(objective)
        if interrupted is not None:
            raise interrupted
        self._warn_about_descent(objective, rule, settings, state)

    def _warn_about_descent(self, objective, rule, settings, state):
        name, reason = type(self).__name__, self.stop_reason_
        if reason is StopReason.DIVERGED:
            limit = None
            if settings.batch_size is None:
                limit = rule.stable_below(objective.hessian_bound_norm(), state.rule_state)
            text = (
                f"{name} with solver='{self.solver_}' and learning_rate={state.rate:.6g} diverged after "
                f"{state.iteration} iterations: the loss rose from {state.start_loss:.6g} to "
                f"{state.last_loss:.6g}. The best iterate was kept. Lower learning_rate"
            )
            if limit is not None:
                kind = "is stable" if objective.is_quadratic else "is guaranteed stable"
                text += f": on this data {self.solver_} {kind} below {limit:.6g}"
            warnings.warn(f"{text}; learning_rate='auto' finds one.", ConvergenceWarning, stacklevel=4)
        elif reason is StopReason.UPDATE and not self.converged_:
            warnings.warn(
                f"{name} stopped because the update became small ({state.update_norm:.3g} < tol="
                f"{settings.tol:.3g}) while the gradient is not: a coordinate step could still lower "
                f"the loss by {state.gradient_check:.3g} of where it began. That is a small step, not "
                f"an optimum: raise learning_rate or lower tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        elif reason in {StopReason.MAX_ITER, StopReason.LOSS} and not self.converged_ and settings.tol > 0:
            limit = f"max_iter={settings.max_iter}" if reason is StopReason.MAX_ITER else "a stalled loss"
            warnings.warn(
                f"{name} with solver='{self.solver_}' stopped at {limit} before it converged: a "
                f"coordinate step could still lower the loss by {state.gradient_check:.3g} of where "
                f"it began (tol={settings.tol:.3g}). Increase max_iter, standardise the features, or "
                f"use solver='{self._exact_solvers[0]}'.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _set_history(self, history):
        """The record, with the path in the shapes of ``coef_`` and ``intercept_``."""
        self.history_ = history
        self.loss_curve_ = history["loss"]
        if history._path:
            pairs = [self._shaped(theta) for theta in history._path]
            history.coef_path = np.stack([coef for coef, _ in pairs])
            history.intercept_path = np.stack([np.asarray(b) for _, b in pairs])

    def _set_theta(self, theta):
        if not np.all(np.isfinite(theta)):
            raise FloatingPointError(
                "the coefficients overflow float64; rescale X and y to ordinary units."
            )
        self.coef_, self.intercept_ = self._shaped(theta)

    def _set_design(self, objective):
        """Attributes that describe X, where a subclass promises them."""

    def _linear_predictor(self, X):
        check_is_fitted(self, "coef_")
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        coef = self.coef_.reshape(-1, self.n_features_in_)
        product = X @ coef.T
        return (product.toarray() if sparse.issparse(product) else product) + self.intercept_

    @contextmanager
    def _unchanged_on_error(self):
        """Put every fitted attribute back as it was when something is raised."""
        before = {k: v for k, v in self.__dict__.items() if _is_fitted_state(k)}
        try:
            yield
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt) or self.__dict__.get("stop_reason_") is not (
                StopReason.INTERRUPTED
            ):
                for key in [k for k in self.__dict__ if _is_fitted_state(k)]:
                    del self.__dict__[key]
                self.__dict__.update(before)
            raise

    @contextmanager
    def _explaining_overflow(self, X):
        """Turn a non-finite intermediate result into scikit-learn's words about X, or our own."""
        try:
            with np.errstate(all="ignore"):  # what matters is looked at where it is computed
                yield
        except (FloatingPointError, LinAlgError) as error:
            name = type(self).__name__
            assert_all_finite(X, estimator_name=name, input_name="X")
            raise ValueError(f"{name}: {error}") from error

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _is_fitted_state(name):
    return name.endswith("_") or name in {"_descent", "_dtype", "_theta", "_y_ndim"}


def _rule_name(rule):
    return {
        "GradientDescent": "gd",
        "Momentum": "momentum",
        "Nesterov": "nesterov",
        "Adagrad": "adagrad",
        "RMSProp": "rmsprop",
        "Adam": "adam",
    }.get(type(rule).__name__, type(rule).__name__)


def _full_batch_if_larger(estimator, settings, n_samples):
    if settings.batch_size is not None and settings.batch_size >= n_samples:
        if settings.batch_size > n_samples:
            warnings.warn(
                f"'batch_size'={settings.batch_size} of {type(estimator).__name__} exceeds the "
                f"{n_samples} rows; every batch is the full batch.",
                UserWarning,
                stacklevel=5,
            )
        return replace(settings, batch_size=None)
    return settings


def _descends_on_moments(objective):
    n_samples, n_features = objective.blocks.n_samples, objective.blocks.n_features
    return objective.is_quadratic and n_features <= min(_MAX_MOMENT_COLUMNS, 2 * n_samples)


def _automatic_rate(objective, rule, settings):
    """The step size that is safe for the rule; see ``learning_rate`` of the estimators."""
    if rule.default_learning_rate is not None:
        return rule.default_learning_rate
    if settings.batch_size is None:
        curvature = objective.hessian_bound_norm()
        return 1.0 / curvature if curvature > 0.0 else 1.0
    smoothness = objective.expected_smoothness(settings.batch_size)
    return rule.stochastic_share / (2.0 * smoothness) if smoothness > 0.0 else 1.0


class _Watch:
    """Callback bookkeeping of one fit: a task per iteration, and the fitted state on demand."""

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
