"""What the two estimators share: the one ``fit``, its callbacks, and its attributes.

fit -> validate -> objective -> solver -> fitted attributes
"""

import copy
from contextlib import contextmanager
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.linalg import LinAlgError
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from ._advice import names_of
from ._checks import (
    assert_finite,
    check_held_out,
    check_initial_theta,
    check_last_theta,
    check_namespace,
    check_sample_weight,
    check_validation_arguments,
    naming,
    normalised_weights,
    real_numbers,
    split_rows,
)
from ._descending import DescentMixin, without_batches_of_everything
from ._parameters import check_partial_fit, check_plan, check_streams
from ._precision import held_in
from ._saving import SavingMixin
from ._showing import ShowingMixin
from ._synonyms import explaining_names
from ._typing import (
    Criterion,
    MatrixLike,
    RandomState,
    Rate,
    ScheduleLike,
    SolverName,
    keeps_signature,
)
from ._watch import Watch
from .history import History
from .problem.objective import BlockObjective, ColumnsOutOfRange
from .problem.penalty import ElasticNet
from .rows.blocks import RowBlocks
from .rows.threads import single_threaded_blas
from .solvers.descent.rules import UpdateRule

__all__ = ["BaseRegression"]

_ACCEPT_SPARSE = "csr"


class BaseRegression(ShowingMixin, SavingMixin, DescentMixin, CallbackSupportMixin, BaseEstimator):
    """Common part of the estimators; the parameters are documented there.

    A subclass names its exact solvers, turns y into targets, and solves exactly.
    """

    @explaining_names
    def __init__(
        self,
        *,
        solver: SolverName | UpdateRule = "auto",
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        learning_rate: Rate = "auto",
        schedule: ScheduleLike = "constant",
        batch_size: int | None = None,
        max_iter: int = 1000,
        tol: float = 1e-7,
        criterion: Criterion = "gradient",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        min_delta: float = 0.0,
        on_divergence: Literal["warn", "raise"] = "warn",
        warm_start: bool = False,
        store_path: bool | Literal["step"] = False,
        random_state: RandomState = None,
    ) -> None:
        self.solver: SolverName | UpdateRule = solver
        self.alpha: float = alpha
        self.l1_ratio: float = l1_ratio
        self.fit_intercept: bool = fit_intercept
        self.learning_rate: Rate = learning_rate
        self.schedule: ScheduleLike = schedule
        self.batch_size: int | None = batch_size
        self.max_iter: int = max_iter
        self.tol: float = tol
        self.criterion: Criterion = criterion
        self.early_stopping: bool = early_stopping
        self.validation_fraction: float = validation_fraction
        self.n_iter_no_change: int = n_iter_no_change
        self.min_delta: float = min_delta
        self.on_divergence: Literal["warn", "raise"] = on_divergence
        self.warm_start: bool = warm_start
        self.store_path: bool | Literal["step"] = store_path
        self.random_state: RandomState = random_state

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
        has_start = coef_init is not None or intercept_init is not None
        interruption = None
        with self._unchanged_on_error(), single_threaded_blas() as workers:
            asks_for_descent = has_start or X_val is not None or self._is_pending()
            plan = check_plan(self, self._exact_solvers, asks_for_descent=asks_for_descent)
            check_namespace(
                self,
                sample_weight=sample_weight,
                coef_init=coef_init,
                intercept_init=intercept_init,
                X_val=X_val,
                y_val=y_val,
                sample_weight_val=sample_weight_val,
            )
            check_validation_arguments(self, X_val, y_val, sample_weight_val)
            previous = None if has_start else self._descent_to_continue(plan)
            last = self._last_theta(plan) if not has_start else None
            self._forget(but_features=previous is not None)
            user_y = y
            X, y = self._validate_rows(X, y, reset=previous is None)
            sample_weight = check_sample_weight(self, sample_weight, X)
            with self._explaining_overflow(X):
                target, weight = self._encode(y, sample_weight)
                weight = normalised_weights(weight)
                n_samples, shape = X.shape[0], (X.shape[1], self._n_outputs(target))
                if previous is not None:
                    classes = getattr(self, "classes_", None)
                    previous.check_data(self, n_samples, shape, classes)
                seed = None
                if plan.exact is None:
                    seed = self._draw_seed() if previous is None else previous.seed
                validation = None
                if X_val is not None:
                    validation = self._validation_objective(
                        X_val, y_val, sample_weight_val, target.shape[1], workers
                    )
                elif plan.settings.early_stopping and plan.exact is None:
                    X, target, weight, validation = self._split(X, target, weight, seed, workers)
                objective = self._objective(X, target, weight, workers)
                start = check_initial_theta(self, shape, coef_init, intercept_init)
                start = start if last is None else check_last_theta(self, last, start.shape)
                if plan.exact is not None:
                    history = History()
                    watch = Watch.of(self, plan, history, X, user_y, sample_weight)
                    self._fit_exact(objective, plan, start, history, validation, watch)
                else:
                    plan = without_batches_of_everything(self, plan, objective)
                    descent = self._begin_fit(plan, previous, start, n_samples, seed)
                    # Setting up a callback may need the descent: a checkpoint stores it.
                    watch = Watch.of(self, plan, descent.history, X, user_y, sample_weight)
                    interruption = self._fit_descent(objective, plan, descent, validation, watch)
                if watch is not None and interruption is None:
                    watch.finish()
        if interruption is not None:
            raise interruption
        return self

    def _streams(self):
        """For ``available_if``: an exact fit keeps no rows to add to, and Newton needs them all."""
        first = not hasattr(self, "coef_")
        goes_on = "_stream" in self.__dict__ or "_descent" in self.__dict__
        return check_streams(self, can_continue=first or goes_on or self._is_a_start())

    def _is_a_start(self):
        """Whether a stream that descends may begin from the coefficients of an exact fit."""
        exact = ("auto", *self._exact_solvers) if self._exact_streams else self._exact_solvers
        solved = "_stream" not in self.__dict__ and self.solver_ in self._exact_solvers
        return solved and self.solver not in exact

    def _take_part(self, X, y, sample_weight, coef_init, intercept_init, classes=None, forget=1.0):
        """What ``partial_fit`` does: one more part of a stream of rows."""
        with self._unchanged_on_error(), single_threaded_blas() as workers:
            first = not hasattr(self, "coef_")
            has_start = coef_init is not None or intercept_init is not None
            plan = self._stream_plan(has_start)
            state = "_stream" if plan.exact is not None else "_descent"
            goes_on = state in self.__dict__
            begins = first or (not goes_on and plan.exact is None and self._is_a_start())
            check_partial_fit(
                self,
                plan,
                forget,
                can_continue=begins or goes_on,
                has_start=has_start,
                begins=first,
            )
            dtype = self.__dict__.get("_dtype")
            X, y = self._validate_rows(X, y, reset=first)
            sample_weight = check_sample_weight(self, sample_weight, X, may_be_zero=True)
            with self._explaining_overflow(X):
                target, weight = self._encode_part(y, sample_weight, classes, first)
                if weight is not None and not weight.any():
                    self._skip_part(X, first)
                    self._dtype = dtype
                    return self
                objective = self._objective(X, target, weight, workers)
                if plan.exact is not None:
                    self._stream_exact(objective, plan, forget)
                    return self
                start = None
                if begins:
                    start = self._stream_start(objective, coef_init, intercept_init, first)
                self._stream_descent(objective, plan, start)
        return self

    def _stream_start(self, objective, coef_init, intercept_init, first):
        """theta where a descending stream begins: the user's, that of an exact fit, or zero."""
        if not first:
            coef_init, intercept_init = self.coef_, self.intercept_
            self._forget_the_solution()
        shape = (objective.shape[0] - 1, objective.shape[1])
        return check_initial_theta(self, shape, coef_init, intercept_init)

    def _stream_plan(self, has_start):
        """The plan of a stream; under ``"auto"`` one that has begun to descend goes on so."""
        descends = has_start or not self._exact_streams
        plan = check_plan(self, self._exact_solvers, asks_for_descent=descends)
        if plan.automatic and plan.exact is not None and "_descent" in self.__dict__:
            plan = check_plan(self, self._exact_solvers, asks_for_descent=True)
        return plan

    def _skip_part(self, X, first):
        """Rows that all weigh nothing add nothing, and cannot be where a stream begins."""
        name = type(self).__name__
        assert_finite(self, X)
        if first:
            raise ValueError(
                f"The first part of a stream of {name}.partial_fit needs a row of positive weight, "
                f"and in this one 'sample_weight' or 'class_weight' makes all rows weigh nothing; "
                f"later such parts are skipped."
            )

    def _forget_the_solution(self):
        """Drop what an exact fit told of itself; the features, classes and targets stay."""
        kept = {"n_features_in_", "feature_names_in_", "classes_", "_dtype", "_y_ndim"}
        for key in [k for k in self.__dict__ if _is_fitted_state(k) and k not in kept]:
            del self.__dict__[key]

    def _last_theta(self, plan):
        """theta and classes of the last fit, where Newton's method is to start from them."""
        if not (self.warm_start and plan.exact == "newton" and hasattr(self, "coef_")):
            return None
        if "_theta" in self.__dict__:
            return self._theta, self.classes_
        # Saved with warm_start=False, or the end of a descent: its coefficients are a start.
        theta = np.vstack([self.coef_.T, self.intercept_], dtype=np.float64)
        return theta[:, None, :], self.classes_

    def _forget(self, *, but_features):
        """Drop what an earlier fit has left; the features where they have to stay the same."""
        for key in [k for k in self.__dict__ if _is_fitted_state(k)]:
            if not (but_features and key in {"n_features_in_", "feature_names_in_"}):
                del self.__dict__[key]

    def _validate_rows(self, X, y, *, reset):
        """X and y as arrays; X is read block-wise later, and its NaN found there."""
        check_namespace(self, X=X, y=y)
        with naming(self, "X"):
            X = validate_data(
                self, X, reset=reset, accept_sparse=_ACCEPT_SPARSE, ensure_all_finite=False
            )
            X = real_numbers(X)
        if not (type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "fiub"):
            y = self._check_y(y)
        check_consistent_length(X, y)
        assert_finite(self, y, "y")
        self._dtype = "float32" if X.dtype == np.float32 else "float64"
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

    def _validation_objective(self, X_val, y_val, sample_weight_val, n_columns, workers):
        """The unpenalised loss on the user's own rows."""
        with naming(self, "X_val"):
            X_val = validate_data(self, X_val, accept_sparse=_ACCEPT_SPARSE, reset=False)
            X_val = real_numbers(X_val)
        sample_weight_val = check_sample_weight(self, sample_weight_val, X_val, "sample_weight_val")
        target, weight = self._encode_validation(y_val, sample_weight_val)
        if target.shape[1] != n_columns:
            raise ValueError(
                f"'y_val' of {type(self).__name__}.fit must have as many targets as y, "
                f"{n_columns}; got {target.shape[1]}."
            )
        return self._objective(X_val, target, weight, workers, penalty=ElasticNet())

    def _split(self, X, target, weight, seed, workers):
        """Set rows aside for early stopping, stratified by class for a classifier."""
        # Rows that weigh nothing decide nothing.
        rows = np.arange(X.shape[0]) if weight is None else np.flatnonzero(weight)
        strata = self._strata(target)
        strata = None if strata is None else strata[rows]
        n_held_out = check_held_out(self, len(rows), strata)
        train, held_out = (rows[part] for part in split_rows(n_held_out, len(rows), strata, seed))
        train_weight, held_out_weight = (
            (None, None) if weight is None else (weight[train], weight[held_out])
        )
        X_held_out = X[held_out]
        # A bad value there would spoil the validation loss, and no step would notice it.
        assert_finite(self, X_held_out)
        validation = self._objective(
            X_held_out, target[held_out], held_out_weight, workers, penalty=ElasticNet()
        )
        return X[train], target[train], train_weight, validation

    def _set_solution(self, found):
        """Every fitted attribute that tells of the solution, whichever solver found it."""
        if not np.all(np.isfinite(found.theta)):
            raise FloatingPointError(
                "the coefficients overflow float64; rescale X and y to ordinary units."
            )
        self.coef_, self.intercept_ = self._shaped(found.theta)
        self.n_iter_, self.loss_ = found.n_iter, found.loss
        self.solver_, self.learning_rate_ = found.solver, found.rate
        self.stop_reason_, self.converged_ = found.reason, found.converged
        self.optimality_gap_ = found.gap
        if found.condition is not None:
            self.rank_, self.condition_number_ = found.rank, found.condition
            self.dependent_columns_ = found.dependent_columns
        if hasattr(self, "classes_"):
            self.separating_columns_ = found.separating_columns
        if found.solver == "newton":
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

    def _as_scikit_learns(self, model, names):
        """`model`, a class of scikit-learn's, with this estimator's fitted attributes."""
        check_is_fitted(self, "coef_")
        for name in ("coef_", "intercept_", "n_features_in_", "feature_names_in_", *names):
            if name in vars(self):
                setattr(model, name, copy.copy(vars(self)[name]))
        return model

    def _linear_predictor(self, X):
        check_is_fitted(self, "coef_")
        check_namespace(self, X=X)
        with naming(self, "X"):
            X = real_numbers(validate_data(self, X, accept_sparse=["csr", "csc"], reset=False))
        z = self._product(X)
        if z.dtype == np.float32 and not np.isfinite(z).all():
            z = self._product(X.astype(np.float64))  # terms may overflow where their sum does not
        if not np.isfinite(z).all():
            raise ValueError(
                f"The predictions of {type(self).__name__} overflow {z.dtype}; X has values far "
                f"outside those it was fitted on, the largest of size {abs(X).max():.3g}."
            )
        return z

    def _product(self, X):
        coef = self.coef_.reshape(-1, self.n_features_in_)
        with np.errstate(all="ignore"):
            product = X @ coef.T
            return (product.toarray() if sparse.issparse(product) else product) + self.intercept_

    @contextmanager
    def _unchanged_on_error(self):
        """Put every fitted attribute back as it was when something is raised."""
        before = {k: v for k, v in self.__dict__.items() if _is_fitted_state(k)}
        try:
            yield
        except BaseException:
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
            assert_finite(self, X)
            what = str(error)
            if isinstance(error, ColumnsOutOfRange):
                what = error.sentence(f"column {names_of(self, error.columns)}")
            raise ValueError(f"{name}: {what}") from error

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _is_fitted_state(name):
    return name.endswith("_") or name in {"_descent", "_dtype", "_stream", "_theta", "_y_ndim"}
