"""Logistic regression, binary and softmax: by Newton's method, or by gradient descent."""

import warnings

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from ._base import BaseRegression
from .history import History, StopReason
from .losses import LogLoss, SoftmaxLoss
from .solvers.newton import newton
from .validation import encode_labels

__all__ = ["LogisticRegression"]


class LogisticRegression(ClassifierMixin, BaseRegression):
    _exact_solvers = ("newton",)
    _y_checks = {}

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
        class_weight=None,
    ):
        super().__init__(
            solver=solver,
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            learning_rate=learning_rate,
            schedule=schedule,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=tol,
            criterion=criterion,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            store_path=store_path,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def _loss(self):
        return LogLoss() if len(self.classes_) == 2 else SoftmaxLoss()

    def _n_outputs(self, target):
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _encode(self, y, sample_weight):
        """Class codes and row weights; a class whose rows all weigh nothing does not exist."""
        classes, codes = encode_labels(y)
        if not (len(classes) <= 2 and y.dtype.kind in "bi"):
            check_classification_targets(y)
        weight_of = self._class_weights(classes, codes, sample_weight)
        weight = sample_weight
        if weight_of is not None:
            weight = weight_of[codes] if weight is None else weight_of[codes] * weight
        if weight is not None:
            exists = np.bincount(codes, weights=weight, minlength=len(classes)) > 0
            if not exists.all():
                codes = np.maximum(np.cumsum(exists) - 1, 0)[codes]  # the others weigh nothing
                classes = classes[exists]
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes in the data, but the "
                f"data contains only one class of positive weight: {classes.tolist()}."
            )
        self.classes_ = classes
        return self._codes_as_target(codes), weight

    def _class_weights(self, classes, codes, sample_weight):
        """The factor of each class, or None for ones."""
        if self.class_weight is None:
            return None
        if isinstance(self.class_weight, dict):
            bad = {k: v for k, v in self.class_weight.items() if not (np.isfinite(v) and v >= 0)}
            if bad:
                raise ValueError(
                    f"'class_weight' of {type(self).__name__} must hold finite weights >= 0; got {bad!r}."
                )
        elif not (isinstance(self.class_weight, str) and self.class_weight == "balanced"):
            raise ValueError(
                f"'class_weight' of {type(self).__name__} must be None, 'balanced' or a dict from "
                f"label to weight; got {self.class_weight!r}."
            )
        else:
            # S / (number of classes * weighted count), over the classes that exist
            counts = np.bincount(codes, weights=sample_weight, minlength=len(classes))
            exists = counts > 0
            weight = counts.sum() / (exists.sum() * np.where(exists, counts, 1.0))
            return np.where(exists, weight, 0.0)
        return compute_class_weight(self.class_weight, classes=classes, y=classes)

    def _codes_as_target(self, codes):
        dtype = np.float64 if len(self.classes_) == 2 else np.intp
        return codes.astype(dtype, copy=False)[:, None]

    def _encode_validation(self, y_val, sample_weight_val):
        y_val = np.asarray(y_val)
        known = np.isin(y_val, self.classes_)
        if not known.all():
            unknown = np.unique(y_val[~known])[:5].tolist()
            raise ValueError(
                f"'y_val' of {type(self).__name__}.fit has labels that y does not have: {unknown}."
            )
        return self._codes_as_target(np.searchsorted(self.classes_, y_val)), sample_weight_val

    def _strata(self, target):
        return target[:, 0]

    def _fit_exact(self, objective, plan, start, validation, watch, has_start):
        settings = plan.settings
        if self.warm_start and not has_start and hasattr(self, "_theta"):
            start = self._theta
        history = History()
        theta, reason = newton(
            objective,
            start,
            history,
            max_iter=settings.max_iter,
            tol=settings.tol,
            validation=validation,
            watch=watch,
        )
        if len(self.classes_) > 2:
            centred = theta - theta.mean(axis=2, keepdims=True)
            theta[-1] = centred[-1]
            if objective.penalty.l2 == 0.0:
                theta = centred
        self._set_theta(theta)
        self.n_iter_ = max(1, len(history) - 1)
        self.loss_ = float(history["loss"][-1])
        self.learning_rate_ = float("nan")
        self.stop_reason_ = reason
        self.solver_ = "newton"
        self.converged_ = reason is StopReason.DECREMENT
        self._set_history(history)
        if reason is StopReason.SEPARABLE:
            warnings.warn(
                f"{type(self).__name__}: the classes are linearly separable, so without a penalty the "
                f"coefficients would grow for ever; the fit stopped at the first iterate that "
                f"separates them. Set alpha > 0.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if reason is StopReason.MAX_ITER and settings.tol > 0:
            warnings.warn(
                f"{type(self).__name__} with solver='newton' stopped at max_iter={settings.max_iter} "
                f"before its decrement fell to tol^2 of the loss at the start; increase max_iter, or "
                f"set alpha > 0.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _shaped(self, theta):
        return theta[:-1, 0].T.astype(self._dtype), theta[-1, 0].astype(self._dtype)

    def decision_function(self, X):
        """The linear predictor ``z = X W + b``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, (n_samples, n_classes) for more
            For two classes, the log-odds of ``classes_[1]``.
        """
        z = self._linear_predictor(X)
        return z[:, 0] if z.shape[1] == 1 else z

    def predict(self, X):
        """The most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        z = self._linear_predictor(X)
        codes = (z[:, 0] > 0).astype(np.intp) if z.shape[1] == 1 else z.argmax(axis=1)
        return self.classes_[codes]

    def predict_proba(self, X):
        """Probabilities ``sigma(z)``, or ``softmax(z)``, in the order of ``classes_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        z = self._linear_predictor(X)
        return self._loss().probabilities(z)

    def predict_log_proba(self, X):
        """Logarithms of :meth:`predict_proba`, finite where a probability underflows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        z = self._linear_predictor(X)
        return self._loss().log_probabilities(z)
