"""Linear regression by least squares: exact, or by gradient descent."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.linear_model import LinearRegression as ScikitLinearRegression
from sklearn.utils.metaestimators import available_if

from ._base import BaseRegression
from ._checks import check_targets
from ._precision import is_held_in
from ._predicting import linear_predictor, r_squared
from ._streaming import streams
from ._typing import FloatArray, MatrixLike, keeps_signature
from .problem.losses import SquaredLoss

__all__ = ["LinearRegression"]


class LinearRegression(MultiOutputMixin, RegressorMixin, BaseRegression):
    """Linear regression by least squares: exact, or by gradient descent.

    Minimises, over coefficients W and intercept b, the weighted mean

        L(W, b) = 1/S sum_i s_i 1/2 |W^T x_i + b - y_i|^2
                  + alpha (l1_ratio |W|_1 + (1 - l1_ratio)/2 |W|_2^2),        S = sum_i s_i,

    by the normal equations ``X^T X theta = X^T y``, by a QR factorisation, or by iterations
    ``theta <- theta - eta grad L(theta)`` from a start of your choice. The exact solvers are right
    in any units: multiplying a column by c divides its coefficient by c.

    Parameters
    ----------
    solver : str or update rule, default="auto"
        Exact: ``"normal_equations"`` (Cholesky of the column-scaled Gram matrix, refined with
        residuals from X, handed on to ``"lstsq"`` where its condition asks for it), ``"lstsq"`` (a
        blocked QR factorisation; the minimum norm where columns depend on each other). Descent:
        ``"gd"``, ``"momentum"``, ``"nesterov"``, ``"adagrad"``, ``"rmsprop"``, ``"adam"``, or an
        instance such as ``Adam(beta1=0.8)`` from :mod:`gdregress.solvers`. ``"auto"`` is ``"gd"``
        as soon as one of `learning_rate`, `batch_size`, `schedule`, `early_stopping`, `store_path`
        differs from its default or `fit` receives a start or validation rows; otherwise
        ``"nesterov"`` with an L1 part, and the exact solver for the shape without.
    alpha : float, default=0.0
        Strength of the penalty, >= 0; scikit-learn's ``Ridge`` calls ``alpha * S`` its alpha.
    l1_ratio : float, default=0.0
        Share of the L1 part, in [0, 1]; needs ``"gd"`` (ISTA) or ``"nesterov"`` (FISTA).
    fit_intercept : bool, default=True
        Whether to fit b, which is never penalised.
    learning_rate : float, "auto" or "line_search", default="auto"
        The step size eta > 0. ``"auto"``: 1 / lambda_max of the Hessian
        ``1/S X^T diag(s) X + alpha (1 - l1_ratio) diag(1, ..., 1, 0)`` (X with its column of ones)
        for full batches (of ``"nesterov"`` in centred, scaled columns); for mini-batches under
        ``"gd"`` the stochastic Polyak rate in centred, scaled columns, 3 / (2 c) or the least
        ``f / |gradient|^2`` of the last batches, times ``(1 + epochs)^(-1/4)``, c bounding the
        curvature of the loss; it falls for good where only noise is left, and the result is a mean
        of the iterates (from the second epoch on, of one output, in the coordinates that the
        Hessian of some rows asks for); for those of the other rules, and with L1, a bound from
        expected smoothness; and for the adaptive rules a share of how far a coordinate can go,
        ``sqrt(2 L(0) / h_jj)``, that falls by a tenth where the loss rises.
        ``"line_search"``: exact, or by trial steps; for full batches with ``"gd"`` and
        ``"nesterov"``.
    schedule : str or callable, default="constant"
        Factor s(t) > 0 on the learning rate, s(0) = 1: ``"constant"``, ``"inverse_scaling"``,
        ``"exponential"``, ``"step"``, ``"cosine"``, an instance from :mod:`gdregress.solvers`, or
        any callable of the time t in iterations (epochs).
    batch_size : int or None, default=None
        Rows of a mini-batch; None takes all rows in every step.
    max_iter : int, default=1000
        Iterations at most; with mini-batches one iteration is one epoch.
    tol : float, default=1e-7
        Tolerance of the `criterion`; 0 runs exactly `max_iter` iterations. The default brings
        coefficients of standardised columns within about 1 %.
    criterion : {"gradient", "update", "loss"}, default="gradient"
        ``"gradient"``: the loss can fall by no more than `tol` times what a fit can gain, the loss
        of the best constant model: ``1/2 g^T H^-1 g <= tol/2 var(y)`` for all coefficients and the
        intercept together, H the Hessian (with an L1 norm a duality gap; see
        :mod:`gdregress.solvers.gap`). Free of units, means and correlations.
        ``"update"``: ``|theta_k - theta_(k-1)|_2 < tol``. ``"loss"``: the loss fell by less than
        `tol` times that gain for `n_iter_no_change` iterations.
    early_stopping : bool, default=False
        Stop when the loss on held-out rows has not improved for `n_iter_no_change` iterations, and
        keep the best iterate.
    validation_fraction : float, default=0.1
        Share of the rows held out for early stopping where `fit` is given none.
    n_iter_no_change : int, default=5
        Patience of ``criterion="loss"`` and of early stopping.
    min_delta : float, default=0.0
        Share of the validation loss by which it has to fall to count as an improvement.
    on_divergence : {"warn", "raise"}, default="warn"
        What a descent that diverges does: keep the best iterate and warn, or raise a ValueError,
        so that a search gives the candidate its ``error_score``. The best iterate may be the start,
        and zero coefficients can score better than some fits that converge.
    warm_start : bool, default=False
        Continue the descent of the previous fit instead of starting anew.
    store_path : bool or "step", default=False
        Keep theta of every iteration in ``history_.coef_path`` and ``history_.intercept_path``;
        with ``"step"`` also every single step of mini-batches, its batch's loss and theta, in
        ``history_.steps``.
    random_state : int, RandomState or None, default=None
        Order of the mini-batches and choice of the held-out rows.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        float32 where X is float32, as predictions are; float64 else, and where float32 cannot
        hold the coefficients or y.
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
        Iterations made; 1 for an exact fit.
    loss_ : float
        L at the returned coefficients, from their residuals.
    history_ : History
        One row per iteration; see :class:`~gdregress.history.History`.
    loss_curve_ : ndarray of shape (n_iter_ + 1,)
        ``history_["loss"]``, beginning with the loss at the start.
    stop_reason_ : StopReason
        Why the fit stopped, a sentence; a ``Reason`` where a criterion of your own stopped it.
    converged_ : bool
        Whether the gradient criterion held at the end; of exact fits False only where X has so many
        sparse columns that the solution is iterated (LSMR), and the iterations reached their limit.
    optimality_gap_ : float
        A bound of ``L - min L`` at the coefficients that a descent has returned; NaN after an exact
        fit, and in a stream.
    solver_ : str
        The solver that was used.
    solver_reason_ : str
        Why it was this one, such as ``"batch_size asks for descent"``; of exact fits also which
        way they went.
    learning_rate_ : float
        The rate that was used; NaN for exact fits.
    rank_ : int
        Rank of the centred design: singular values, of unit columns, above
        ``max(m, p) eps sigma_1``. Of exact fits and of full-batch descent on moments. None where X
        is sparse with more than 2,000 columns and LSMR was used: it does not reveal the rank.
    dependent_columns_ : ndarray of int, or None
        Columns that are constant or combinations of the others, as many as `rank_` falls short of;
        None where `rank_` is, and of no more rows than columns.
    condition_number_ : float
        2-norm condition number of that design; infinite where it is rank-deficient, NaN where
        its rank is None.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X had column names that are all strings.

    See Also
    --------
    LogisticRegression : The same for classes.

    Notes
    -----
    Which parameter serves which solver (others have no effect on it):

    ====================================  =======================  ==========================
    parameter                             exact                    descent
    ====================================  =======================  ==========================
    alpha, fit_intercept                  yes                      yes
    l1_ratio                              only 0                   gd, nesterov
    max_iter, tol                         ``"newton"``             yes
    warm_start                            ``"newton"``: the start  continues
    learning_rate, schedule, batch_size   no                       yes
    criterion, n_iter_no_change           no                       yes
    early_stopping, validation_fraction   no                       yes
    min_delta, on_divergence              no                       yes
    store_path, random_state              no                       yes
    ====================================  =======================  ==========================

    References
    ----------
    Björck (1996), "Numerical Methods for Least Squares Problems"; Golub & Van Loan (2013),
    "Matrix Computations", chapter 5; Boyd & Vandenberghe (2004), "Convex Optimization", chapter 9.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]
    >>> exact = LinearRegression().fit(X, y)
    >>> exact.coef_.round(6), round(float(exact.intercept_), 6)
    (array([2.]), 1.0)
    >>> descent = LinearRegression(learning_rate=0.1).fit(X, y)
    >>> descent.solver_, descent.converged_
    ('gd', True)
    >>> print(descent.stop_reason_)
    The loss can fall by no more than tol of what a fit can gain.
    """

    _exact_solvers = ("normal_equations", "lstsq")
    _exact_streams = True

    intercept_: float | FloatArray
    rank_: int | None
    condition_number_: float
    dependent_columns_: NDArray[np.intp] | None

    def _loss(self):
        return SquaredLoss()

    def _check_y(self, y):
        return check_targets(self, y)

    def _encode(self, y, sample_weight):
        self._y_ndim = y.ndim
        target = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        if self._dtype == "float32" and not is_held_in(np.float32, np.abs(target).max(axis=0)):
            self._dtype = "float64"  # float32 would not hold the predictions
        return target, sample_weight

    def _encode_validation(self, y_val):
        y_val = check_targets(self, y_val, "y_val")
        return y_val.reshape(len(y_val), -1)

    @keeps_signature(available_if(streams))
    def partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        forget: float = 1.0,
    ) -> Self:
        """Fit to one more part of a stream of rows.

        With an exact solver, and under ``solver="auto"``, the R factor of ``[1 X y]`` of all rows
        seen is kept and updated by QR: after each call the attributes are those of ``fit`` on all
        rows so far, to the accuracy of QR, ``loss_`` being that on all of them. With a rule of
        descent a call is one epoch over the rows given, or one step where ``batch_size=None``;
        ``loss_`` and the new row of ``history_`` are those of the rows given, and
        ``learning_rate="auto"`` is that of the rows given, where it has to be lower than the last;
        else it moves up towards it, by 2 % of the logarithm a part.
        ``history_`` keeps the last 10,000 calls; ``n_iter_`` counts them all.
        ``max_iter`` and ``tol`` have no effect. A rule of descent goes on from an earlier ``fit``:
        with the descent itself, or from the coefficients of an exact one.

        The R factor takes ``8 (p + 2)^2`` bytes, and 1 GiB at most; up to p rows the rows
        themselves are kept instead.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0, on the same scale in every call. A part that weighs nothing is skipped,
            but for the first.
        coef_init, intercept_init : array-like, default=None
            Where a descent begins, in the shapes of ``coef_`` and ``intercept_``; only with the
            first part. ``solver="auto"`` then descends.
        forget : float, default=1.0
            Factor in (0, 1] on the weights of all rows seen before, for streams that drift: after
            k parts the first weighs ``forget^(k - 1)`` (recursive least squares with exponential
            weights; Haykin, "Adaptive Filter Theory", 5th ed., chapter 10). Of exact streams: a
            descent forgets at the pace of its learning rate.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            For bad data, other features or targets than before, more columns than there is room
            for, ``early_stopping=True``, a start for a stream that has begun or is exact, and, with
            an exact solver, after ``fit``, which keeps no rows to add to; the estimator is left as
            it was.

        Examples
        --------
        >>> from gdregress import LinearRegression
        >>> model = LinearRegression().partial_fit([[0.0], [1.0]], [1.0, 3.0])
        >>> model.partial_fit([[2.0], [4.0]], [5.0, 9.0]).coef_.round(6)
        array([2.])
        """
        start = {"coef_init": coef_init, "intercept_init": intercept_init}
        return self._take_part(X, y, sample_weight, start, forget=forget)

    def _encode_part(self, y, sample_weight, classes, first):
        before = None if first else (self._y_ndim, self.intercept_)
        target, weight = self._encode(y, sample_weight)
        if before is not None and (y.ndim, target.shape[1]) != (before[0], np.size(before[1])):
            raise ValueError(
                f"{type(self).__name__} continues a stream with {np.size(before[1])} targets in "
                f"{before[0]} dimension(s); got y of shape {y.shape}."
            )
        return target, weight

    def predict(self, X: MatrixLike) -> FloatArray:
        """Predict ``yhat = X W + b``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        z = linear_predictor(self, X)
        return z[:, 0] if self.coef_.ndim == 1 else z

    def score(self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The coefficient of determination ``R^2 = 1 - sum s (y - yhat)^2 / sum s (y - ybar)^2``.

        Several targets count alike. Targets come to ordinary units first: R^2 knows none, and
        the squares of 1e-200 are zero.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
            At most 1; minus infinity where the predictions are that far off.
        """
        return r_squared(check_targets(self, y), self.predict(X), sample_weight)

    def to_sklearn(self) -> Any:
        """The fitted model as :class:`sklearn.linear_model.LinearRegression`.

        For what knows scikit-learn's classes by name, such as SHAP, or a colleague without this
        package. It predicts the same, in the same dtype; fitting it again solves least squares
        without a penalty.

        Returns
        -------
        sklearn.linear_model.LinearRegression
            With copies of the fitted attributes that it shares with this estimator.

        Raises
        ------
        TypeError
            Of a subclass that predicts in a way of its own.

        Examples
        --------
        >>> from gdregress import LinearRegression
        >>> model = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
        >>> model.to_sklearn().predict([[2.0]]).round(6)
        array([5.])
        """
        model = ScikitLinearRegression(fit_intercept=self.fit_intercept)
        return self._as_scikit_learns(model, ("rank_",), LinearRegression)
