"""Logistic regression, binary and softmax: by Newton's method, or by gradient descent."""

from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression as ScikitLogisticRegression
from sklearn.utils import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from ._base import BaseRegression
from ._checks import check_labels, encode_labels
from ._constructor import Parameters
from ._predicting import linear_predictor
from ._ranges import Range
from ._streaming import streams
from ._synonyms import explaining_names
from ._typing import (
    ClassWeight,
    Criterion,
    FloatArray,
    MatrixLike,
    RandomState,
    Rate,
    ScheduleLike,
    SolverName,
    keeps_signature,
)
from .problem.class_losses import LogLoss, SoftmaxLoss
from .solvers.descent.rules import UpdateRule

__all__ = ["LogisticRegression"]


class LogisticRegression(ClassifierMixin, BaseRegression):
    """Logistic regression, binary and softmax: by Newton's method, or by gradient descent.

    Minimises, over coefficients W and intercept b with ``z_i = W^T x_i + b``, the weighted mean

        L(W, b) = 1/S sum_i s_i loss(y_i, z_i)
                  + alpha (l1_ratio |W|_1 + (1 - l1_ratio)/2 |W|_2^2),        S = sum_i s_i,

        two classes:   loss(y, z) = log(1 + e^z) - y z,              P(y = 1) = 1 / (1 + e^-z)
        K > 2 classes: loss(y, z) = log sum_k e^(z_k) - z_y,         P(y = k) = softmax(z)_k

    K > 2 classes are one problem, not K of one class against the rest. The intercepts of softmax
    have mean zero over the classes and, for ``alpha=0``, so have the coefficients.

    Parameters
    ----------
    solver : str or update rule, default="auto"
        ``"newton"``, a rule of descent by name (``"gd"``, ``"momentum"``, ``"nesterov"``,
        ``"adagrad"``, ``"rmsprop"``, ``"adam"``) or as an instance such as ``Adam(beta1=0.8)`` from
        :mod:`gdregress.solvers`. ``"auto"`` chooses as in ``LinearRegression``: descent where
        a parameter asks for it, ``"nesterov"`` with an L1 part, otherwise ``"newton"``.
    alpha : float, default=0.0
        Strength of the penalty, >= 0; scikit-learn's ``C`` is ``1 / (alpha * S)``. Without a
        penalty, separable classes have no optimum: the fit then says so, and which columns do it.
    l1_ratio : float, default=0.0
        Share of the L1 part, in [0, 1]; needs ``"gd"`` (ISTA) or ``"nesterov"`` (FISTA).
    fit_intercept : bool, default=True
        Whether to fit b, which is never penalised.
    learning_rate : float, "auto" or "line_search", default="auto"
        The step size eta > 0. ``"auto"``, full batch: 1 / lambda_max of the Hessian bound
        ``c/S X^T diag(s) X + alpha (1 - l1_ratio) diag(1, ..., 1, 0)``, X with its column of ones,
        c = 1/4 for two classes and 1/2 for more; else as in ``LinearRegression``.
    schedule : str or callable, default="constant"
        Factor on the learning rate; as in ``LinearRegression``.
    batch_size : int or None, default=None
        Rows of a mini-batch; None takes all rows in every step.
    max_iter : int, default=1000
        Iterations at most; with mini-batches one iteration is one epoch.
    tol : float, default=1e-7
        Tolerance of the `criterion` for descent; ``"newton"`` stops when its decrement
        ``1/2 g^T H^-1 g`` falls to ``1e-5 tol L(start)`` or to rounding level. 0 runs a descent for
        exactly `max_iter` iterations.
    criterion : {"gradient", "update", "loss"}, default="gradient"
        When a descent stops; as in ``LinearRegression``. What a fit can gain is the entropy of
        the class shares, and the Hessian at the end, not its bound, certifies the optimum.
    early_stopping : bool, default=False
        Stop a descent by the loss on held-out rows, and keep the best iterate.
    validation_fraction : float, default=0.1
        Share of the rows, stratified by class, held out where `fit` is given none.
    n_iter_no_change : int, default=5
        Patience of ``criterion="loss"`` and of early stopping.
    min_delta : float, default=0.0
        Share of the validation loss by which it has to fall to count as an improvement.
    on_divergence : {"warn", "raise"}, default="warn"
        What a descent that diverges does; as in ``LinearRegression``.
    warm_start : bool, default=False
        Continue the descent of the previous fit; ``"newton"`` starts from its solution.
    store_path : bool or "step", default=False
        Keep theta of every iteration in ``history_.coef_path`` and ``history_.intercept_path``;
        with ``"step"`` also every single step of mini-batches, its batch's loss and theta, in
        ``history_.steps``.
    random_state : int, RandomState or None, default=None
        Order of the mini-batches and choice of the held-out rows.
    class_weight : dict, "balanced" or None, default=None
        Factor on the weights of the rows of each class; ``"balanced"`` is
        ``S / (n_classes * weighted count of the class)``. A class of total weight 0 does not exist.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        float32 where X is float32, as predictions are; float64 else, and where float32 cannot
        hold the coefficients.
    intercept_ : ndarray of shape (1,) or (n_classes,)
    n_iter_ : int
        Iterations made.
    loss_ : float
        L at the returned coefficients.
    history_ : History
        One row per iteration; see :class:`~gdregress.history.History`. Newton's ``learning_rate``
        is the step length of its line search.
    loss_curve_ : ndarray of shape (n_iter_ + 1,)
        ``history_["loss"]``, beginning with the loss at the start.
    stop_reason_ : StopReason
        Why the fit stopped, a sentence; a ``Reason`` where a criterion of your own stopped it.
    converged_ : bool
        Whether the gradient criterion (``"newton"``: the decrement) held at the end; for ``tol=0``
        with the default of `tol`.
    optimality_gap_ : float
        A bound of ``L - min L`` at the returned coefficients, by the self-concordance of the loss,
        by duality with an L1 norm, and never more than ``loss_``. NaN after Newton's method, and in
        a stream.
    solver_ : str
        The solver that was used.
    solver_reason_ : str
        Why it was this one, such as ``"batch_size asks for descent"``.
    learning_rate_ : float
        The rate that was used; NaN for ``"newton"``.
    separating_columns_ : ndarray of int
        Indices of the columns that do most of the separating where the classes are linearly
        separable, all or in part, and there is no penalty; else empty.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X had column names that are all strings.

    See Also
    --------
    LinearRegression : Least squares; its notes say which parameter serves which solver.

    References
    ----------
    Boyd & Vandenberghe (2004), "Convex Optimization", section 9.5; Böhning (1992), "Multinomial
    logistic regression algorithm"; Hastie, Tibshirani & Friedman (2009), "The Elements of
    Statistical Learning", section 4.4.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from gdregress import LogisticRegression
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = LogisticRegression(alpha=1 / len(y)).fit(X, y)
    >>> model.solver_, model.converged_, round(model.score(X, y), 3)
    ('newton', True, 0.958)
    >>> model.predict_proba(X[:1]).shape
    (1, 2)
    """

    _exact_solvers = ("newton",)
    _exact_streams = False

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
        class_weight: ClassWeight = None,
    ) -> None:
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
            min_delta=min_delta,
            on_divergence=on_divergence,
            warm_start=warm_start,
            store_path=store_path,
            random_state=random_state,
        )
        self.class_weight: ClassWeight = class_weight

    _ranges: ClassVar[dict[str, Range]] = {
        **Parameters._ranges,
        "class_weight": Range(
            "None, 'balanced' or a dict from label to weight",
            words=("balanced",),
            optional=True,
            others=lambda value: isinstance(value, dict),
        ),
    }

    classes_: NDArray[Any]
    separating_columns_: NDArray[np.intp]
    intercept_: FloatArray

    def _loss(self):
        return LogLoss() if len(self.classes_) == 2 else SoftmaxLoss()

    def _check_y(self, y):
        return check_labels(self, y)

    def _encode(self, y, sample_weight):
        """Class codes and row weights; a class whose rows all weigh nothing does not exist."""
        classes, codes = encode_labels(self, y)
        few = len(classes) <= max(2, len(y) // 2)
        if not (few and _are_plain(classes)):  # many labels, or such as are no labels
            check_classification_targets(y)
        weight = self._weigh(classes, codes, sample_weight)
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

    @keeps_signature(available_if(streams))
    def partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
    ) -> Self:
        """Fit to one more part of a stream of rows: one epoch of descent over them.

        One epoch over the rows given, or one step where ``batch_size=None``. ``loss_`` and the new
        row of ``history_`` are those of the rows given. ``solver="auto"`` is ``"gd"`` here, and
        ``learning_rate="auto"`` is that of the rows given, where it has to be lower than the last;
        else it moves up towards it, by 2 % of the logarithm a part.
        ``history_`` keeps the last 10,000 calls; ``n_iter_`` counts them all.
        ``max_iter`` and ``tol`` have no effect. After ``fit`` by Newton's method the stream begins
        from its coefficients, after ``fit`` by descent it goes on with that.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed at the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0. A part that weighs nothing is skipped, but for the first.
        coef_init, intercept_init : array-like, default=None
            Where a stream begins, in the shapes of ``coef_`` and ``intercept_``; zero by default.
            Only with the first part.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            For bad data, `classes` missing at the first call or changed later, a label that is
            not among them, ``solver="newton"``, ``early_stopping=True``,
            ``class_weight="balanced"``, a first part without weight, and a start for a stream that
            has begun; the estimator is left as it was.

        Examples
        --------
        >>> from gdregress import LogisticRegression
        >>> model = LogisticRegression(learning_rate=1.0)
        >>> for _ in range(20):
        ...     model = model.partial_fit([[-1.0], [0.5]], ["no", "yes"], classes=["no", "yes"])
        ...     model = model.partial_fit([[1.0], [2.0]], ["yes", "yes"])
        >>> model.predict([[-2.0], [2.0]]).tolist()
        ['no', 'yes']
        """
        start = {"coef_init": coef_init, "intercept_init": intercept_init}
        return self._take_part(X, y, sample_weight, start, classes)

    def _encode_part(self, y, sample_weight, classes, first):
        name = type(self).__name__
        if not first:
            if classes is None:
                classes = self.classes_
            classes, _ = encode_labels(self, np.ravel(classes), "classes")
            if not np.array_equal(classes, self.classes_):
                raise ValueError(
                    f"'classes' of {name}.partial_fit must stay as they were, "
                    f"{self.classes_.tolist()}; got {classes.tolist()}."
                )
        elif classes is None:
            raise ValueError(f"classes must be passed on the first call to {name}.partial_fit.")
        else:
            self.classes_, _ = encode_labels(self, np.ravel(classes), "classes")
            if len(self.classes_) < 2:
                raise ValueError(
                    f"'classes' of {name}.partial_fit must hold at least 2 labels; got "
                    f"{self.classes_.tolist()}."
                )
        codes = self._codes_of(y, "y", "'classes'")
        weight = self._weigh(self.classes_, codes, sample_weight)
        return self._codes_as_target(codes), weight

    def _codes_of(self, y, name, where):
        """The place of each label among the classes."""
        labels, codes = encode_labels(self, y, name)
        try:
            known = np.isin(labels, self.classes_)
        except TypeError:  # dates among numbers
            known = np.zeros(len(labels), dtype=bool)
        if not known.all():
            unknown = labels[~known][:5].tolist()
            raise ValueError(
                f"{name!r} of {type(self).__name__} has labels that are not in {where}, "
                f"{self.classes_.tolist()[:10]}: {unknown}."
            )
        return np.searchsorted(self.classes_, labels)[codes]

    def _weigh(self, classes, codes, sample_weight):
        """The weights of rows, times those of their classes; None for ones."""
        if self.class_weight is None:
            return sample_weight
        factors = self._class_weights(classes, codes, sample_weight)[codes]
        return factors if sample_weight is None else factors * sample_weight

    def _class_weights(self, classes, codes, sample_weight):
        """The factor of each class."""
        if isinstance(self.class_weight, str):  # "balanced"
            # S / (number of classes * weighted count), over the classes that exist
            counts = np.bincount(codes, weights=sample_weight, minlength=len(classes))
            exists = counts > 0
            weight = counts.sum() / (exists.sum() * np.where(exists, counts, 1.0))
            return np.where(exists, weight, 0.0)
        bad = {
            label: weight
            for label, weight in self.class_weight.items()
            if not (isinstance(weight, Real) and 0 <= weight <= np.finfo(np.float64).max)
        }
        if bad:
            raise ValueError(
                f"'class_weight' of {type(self).__name__} must hold finite weights >= 0; "
                f"got {bad!r}."
            )
        return compute_class_weight(self.class_weight, classes=classes, y=classes)

    def _codes_as_target(self, codes):
        dtype = np.float64 if len(self.classes_) == 2 else np.intp
        return codes.astype(dtype, copy=False)[:, None]

    def _encode_validation(self, y_val):
        codes = self._codes_of(check_labels(self, y_val, "y_val"), "y_val", "y")
        return self._codes_as_target(codes)

    def decision_function(self, X: MatrixLike) -> FloatArray:
        """The linear predictor ``z = X W + b``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, (n_samples, n_classes) for more
            For two classes, the log-odds of ``classes_[1]``.
        """
        z = linear_predictor(self, X)
        return z[:, 0] if z.shape[1] == 1 else z

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """The most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        z = linear_predictor(self, X)
        codes = (z[:, 0] > 0).astype(np.intp) if z.shape[1] == 1 else z.argmax(axis=1)
        return self.classes_[codes]

    def predict_proba(self, X: MatrixLike) -> FloatArray:
        """Probabilities ``sigma(z)``, or ``softmax(z)``, in the order of ``classes_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        z = linear_predictor(self, X)
        return self._loss().probabilities(z)

    def predict_log_proba(self, X: MatrixLike) -> FloatArray:
        """Logarithms of :meth:`predict_proba`, finite where a probability underflows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        z = linear_predictor(self, X)
        return self._loss().log_probabilities(z)

    def to_sklearn(self) -> Any:
        """The fitted model as :class:`sklearn.linear_model.LogisticRegression`.

        For what knows scikit-learn's classes by name, such as SHAP, or a colleague without this
        package. It predicts the same labels and probabilities, in the same dtype. Its ``C`` is that
        of a fit without a penalty where ``alpha=0``, and scikit-learn's default otherwise: the
        model does not know the weight of the rows that it takes to tell ``C = 1 / (alpha * S)``.

        Returns
        -------
        sklearn.linear_model.LogisticRegression
            With copies of the fitted attributes that it shares with this estimator.

        Raises
        ------
        TypeError
            Of a subclass that predicts in a way of its own.

        Examples
        --------
        >>> from gdregress import LogisticRegression
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
        >>> model = LogisticRegression().fit(X, y)
        >>> model.to_sklearn().predict([[0.0], [3.0]]).tolist()
        ['no', 'yes']
        """
        model = ScikitLogisticRegression(fit_intercept=self.fit_intercept)
        if self.alpha == 0.0:
            model.set_params(C=np.inf)
        model = self._as_scikit_learns(model, ("classes_",), LogisticRegression)
        model.n_iter_ = np.array([self.n_iter_], dtype=np.int32)
        return model


def _are_plain(classes):
    """Whether the labels are integers or text, in an array of their own kind or of objects."""
    if classes.dtype.kind != "O":
        return classes.dtype.kind in "bi"
    return all(isinstance(label, (str, Integral, np.bool_)) for label in classes)
