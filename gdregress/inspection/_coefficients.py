"""The table of coefficients: estimates, standard errors, tests and intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg, special
from sklearn.utils import check_array, check_consistent_length

from ._coefficient_table import CoefficientTable
from ._covariance import COV_TYPES, covariance
from ._optimum import Optimum, optimum_of
from ._problem import Problem, problem_of

__all__ = ["coefficient_table"]


def coefficient_table(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    confidence: float = 0.95,
    cov_type: str = "nonrobust",
    groups: Any = None,
    use_t: bool | None = None,
    reference: Any = None,
) -> CoefficientTable:
    """Estimates, standard errors, tests and intervals of an unpenalised fit.

    With A the information matrix ``sum_i s_i c_i [1 x_i]^T [1 x_i]`` (c the curvature of the loss:
    1, or ``p (1 - p)``), ``g_i`` the gradient of row i, k coefficients and n rows,

        nonrobust   sigma^2 A^-1,  sigma^2 = sum_i s_i e_i^2 / (n - k);  A^-1 for logistic losses
        HC0         A^-1 (sum_i g_i g_i^T) A^-1
        HC1         HC0 n / (n - k)
        HC2, HC3    as HC0, with g_i g_i^T / (1 - h_i) and / (1 - h_i)^2, h_i the leverage
        cluster     A^-1 (sum_c g_c g_c^T) A^-1  G/(G - 1) (n - 1)/(n - k),  g_c a sum over rows

    is the covariance of the estimates. Standard errors are the roots of its diagonal, the statistic
    ``t = estimate / std_error``, the interval ``estimate -+ q std_error``.

    Parameters
    ----------
    estimator : estimator
        A fitted ``LinearRegression`` or ``LogisticRegression`` at its optimum, however it got
        there; or a fitted Pipeline or search that ends in one.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows that it was fitted on, as the Pipeline takes them. A fit keeps no rows.
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    sample_weight : array-like of shape (n_samples,), default=None
        The weights of the fit. They are precisions, as in statsmodels' WLS and R's ``lm``: the
        variance of a residual is ``sigma^2 / s_i``, and n counts rows, whatever they weigh (those
        of weight 0 are not there). For counts of equal rows, repeat the rows; only with the
        logistic losses and ``cov_type="nonrobust"`` is the table the same.
    confidence : float, default=0.95
        Of the intervals, between 0 and 1.
    cov_type : {"nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster"}, default="nonrobust"
        HC: robust against residuals of unequal variance. ``"cluster"``: also against residuals
        that depend on each other within `groups`. HC2 and HC3 need a single leverage of a row, and
        so two classes.
    groups : array-like of shape (n_samples,), default=None
        The cluster of each row; for ``cov_type="cluster"``.
    use_t : bool, default=None
        Whether tests and intervals are Student's t or the normal's. None: t for linear regression
        with ``cov_type="nonrobust"``, else the normal, as in statsmodels.
    reference : label, default=None
        With more than two classes, the class that the others are compared with; None is the first.
        The estimates are differences, ``coef_[k] - coef_[reference]``: only they are determined.

    Returns
    -------
    CoefficientTable
        Prints as a table, in notebooks too; ``to_frame()`` gives pandas.

    Raises
    ------
    ValueError
        With the reason and the remedy, where the numbers would mean nothing: a penalty, class
        weights, early stopping, dependent columns, no more rows than coefficients, separated
        classes, or coefficients more than a tenth of a standard error from the optimum on the
        rows given (also when these are not those of the fit).

    Notes
    -----
    The table is that of the optimum itself, whatever the tolerance of the fit: from its
    coefficients, at most a tenth of a standard error away, Newton's method goes to the end.

    Means of columns, scales and the conditioning of X play no part: all is computed in a basis in
    which X has orthonormal columns, from its QR factorisation, block by block and without a copy.
    R² without an intercept is that about zero. F of a robust covariance is Wald's. The null model
    of the likelihood-ratio test is that of the intercepts alone, or of equal probabilities where
    none are fitted.

    References
    ----------
    Greene (2018), "Econometric Analysis", 8th ed., chapters 4, 5, 9 and 17; White (1980), "A
    heteroskedasticity-consistent covariance matrix estimator"; MacKinnon & White (1985), "Some
    heteroskedasticity-consistent covariance matrix estimators with improved finite sample
    properties"; Cameron & Miller (2015), "A practitioner's guide to cluster-robust inference";
    McCullagh & Nelder (1989), "Generalized Linear Models", chapters 4 and 5; McFadden (1974).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from gdregress import LinearRegression
    >>> from gdregress.inspection import coefficient_table
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> X = X[["age", "bmi", "bp"]]
    >>> model = LinearRegression().fit(X, y)
    >>> coefficient_table(model, X, y)
    Linear regression, least squares
    442 rows, 4 coefficients; nonrobust standard errors; t, 438 degrees of freedom
    <BLANKLINE>
                estimate  std error       t  p-value  lower 95 %  upper 95 %
    intercept    -205.11     22.554  -9.094   <1e-16     -249.44     -160.78
    age         0.094411    0.23220   0.407   0.6845    -0.36196     0.55078
    bmi           8.5016    0.70664  12.031   <1e-16      7.1128      9.8904
    bp            1.3569    0.23546   5.763  1.6e-08     0.89414      1.8197
    <BLANKLINE>
    R² 0.3962, adjusted 0.3921, residual standard error 60.108
    F(3, 438) = 95.811, p <1e-16
    log-likelihood -2435.661, AIC 4879.321, BIC 4895.686
    """
    _check_arguments(confidence, cov_type, groups)
    with problem_of(estimator, X, y, sample_weight, caller="coefficient_table") as problem:
        problem.check_is_known()
        codes = _groups(groups, problem) if cov_type == "cluster" else None
        optimum = optimum_of(problem, _reference(problem, reference, cov_type))
        return _Inference(problem, optimum, confidence, cov_type, codes, use_t).table()


def _check_arguments(confidence: float, cov_type: str, groups: Any) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(
            f"'confidence' of coefficient_table must be between 0 and 1; got {confidence!r}."
        )
    if cov_type not in COV_TYPES:
        raise ValueError(
            f"'cov_type' of coefficient_table must be one of {', '.join(map(repr, COV_TYPES))}; "
            f"got {cov_type!r}."
        )
    if (cov_type == "cluster") != (groups is not None):
        raise ValueError(
            f"coefficient_table needs 'groups' for cov_type='cluster', and only then; got "
            f"cov_type={cov_type!r} {'with' if groups is not None else 'without'} groups."
        )


def _groups(groups: Any, problem: Problem) -> np.ndarray:
    """The code of the cluster of each row."""
    groups = check_array(groups, ensure_2d=False, dtype=None, input_name="groups").ravel()
    check_consistent_length(problem.objective.blocks.X, groups)
    return np.unique(groups, return_inverse=True)[1]


def _reference(problem: Problem, label: Any, cov_type: str) -> int:
    """The index of the reference class."""
    if not problem.objective.loss.has_gauge:
        if label is not None:
            raise problem.fails(
                f"takes 'reference' where there are more than two classes; got {label!r}",
                "leave it out",
            )
        return 0
    if cov_type in {"HC2", "HC3"}:
        raise problem.fails(
            f"has no cov_type={cov_type!r} with more than two classes, as the leverage of a row is "
            f"no single number then",
            "use 'HC0' or 'HC1'",
        )
    if label is None:
        return 0
    classes = problem.model.classes_
    found = np.flatnonzero(classes == label)
    if len(found) != 1:
        raise problem.fails(
            f"has no class {label!r} among {classes.tolist()[:10]}", "give one as 'reference'"
        )
    return int(found[0])


class _Inference:
    """From the covariance in the basis to the table."""

    def __init__(
        self,
        problem: Problem,
        optimum: Optimum,
        confidence: float,
        cov_type: str,
        groups: np.ndarray | None,
        use_t: bool | None,
    ) -> None:
        self.problem, self.optimum = problem, optimum
        self.confidence, self.cov_type, self.groups = confidence, cov_type, groups
        self.is_linear = optimum.inside.is_quadratic
        self.use_t = self.is_linear and cov_type == "nonrobust" if use_t is None else bool(use_t)
        self.df_inference = optimum.df_resid
        if groups is not None:
            weight = optimum.inside.blocks.sample_weight
            weighing = groups if weight is None else groups[weight > 0.0]
            self.df_inference = len(np.unique(weighing)) - 1

    def table(self) -> CoefficientTable:
        optimum = self.optimum
        targets = range(optimum.inside.shape[1]) if self.is_linear else [0]
        inner = [covariance(optimum, self.cov_type, self.groups, k) for k in targets]
        outer = np.stack([self._outside(matrix) for matrix in inner])
        estimate = self._estimate()
        error = np.sqrt(np.diagonal(outer, axis1=1, axis2=2)).reshape(estimate.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = estimate / error
        several = len(estimate) > 1
        first = (lambda a: a) if several else (lambda a: a[0])
        quantile = self._quantile()
        return CoefficientTable(
            names=self._names(),
            estimate=first(estimate),
            std_error=first(error),
            statistic=first(statistic),
            p_value=first(self._p_value(statistic)),
            lower=first(estimate - quantile * error),
            upper=first(estimate + quantile * error),
            covariance=outer if self.is_linear and several else outer[0],
            confidence=float(self.confidence),
            cov_type=self.cov_type,
            distribution="t" if self.use_t else "z",
            n_samples=optimum.n_samples,
            df_model=self._df_model(),
            df_resid=optimum.df_resid,
            df_inference=self.df_inference,
            **self._labels(),
            **(self._of_squares(inner) if self.is_linear else self._of_likelihood()),
        )

    def _names(self) -> tuple[str, ...]:
        intercept = ["intercept"] if self.optimum.inside.fit_intercept else []
        return tuple(intercept + self.problem.names)

    def _labels(self) -> dict[str, Any]:
        n_outputs, outputs = self.optimum.inside.shape[1], self.optimum.outputs
        if self.is_linear:
            targets = tuple(range(n_outputs)) if n_outputs > 1 else None
            return {"model": "linear", "outputs": targets, "classes": None}
        labels = self.problem.model.classes_.tolist()
        if n_outputs == 1:
            return {"model": "logistic", "outputs": None, "classes": tuple(labels)}
        reference = tuple(label for k, label in enumerate(labels) if k not in outputs)
        others = tuple(labels[k] for k in outputs)
        return {"model": "softmax", "outputs": others, "classes": reference}

    def _estimate(self) -> np.ndarray:
        """(n_outputs, n_names), the intercept first."""
        theta, outputs = self.optimum.estimate, self.optimum.outputs
        if theta.shape[1] > len(outputs):
            (reference,) = set(range(theta.shape[1])) - set(outputs.tolist())
            theta = theta[:, outputs] - theta[:, [reference]]
        return self._intercept_first(theta).T

    def _intercept_first(self, theta: np.ndarray) -> np.ndarray:
        if not self.optimum.inside.fit_intercept:
            return theta[: len(self.problem.names)]
        return np.concatenate([theta[-1:], theta[:-1]])

    def _outside(self, covariance: np.ndarray) -> np.ndarray:
        """Of the table's coefficients, output by output, from that of the basis."""
        jacobian = self._intercept_first(self.optimum.out_of_basis())
        n_names, n_terms = jacobian.shape
        n_outputs = len(covariance) // n_terms
        # In the basis the order is term by term: (j, k), (l, m).
        blocks = covariance.reshape(n_terms, n_outputs, n_terms, n_outputs)
        out = np.einsum("aj,jklm,bl->kamb", jacobian, blocks, jacobian, optimize=True)
        return out.reshape(n_outputs * n_names, -1)

    def _p_value(self, statistic: np.ndarray) -> np.ndarray:
        if self.use_t:
            return 2.0 * special.stdtr(self.df_inference, -np.abs(statistic))
        return 2.0 * special.ndtr(-np.abs(statistic))

    def _quantile(self) -> float:
        upper = 0.5 * (1.0 + self.confidence)
        if self.use_t:
            return float(special.stdtrit(self.df_inference, upper))
        return float(special.ndtri(upper))

    def _df_model(self) -> int:
        n_outputs = 1 if self.is_linear else len(self.optimum.outputs)
        return self.optimum.inside.blocks.n_features * n_outputs

    def _criteria(self, log_likelihood: Any) -> dict[str, Any]:
        k, n = self.optimum.n_parameters, self.optimum.n_samples
        return {
            "log_likelihood": log_likelihood,
            "aic": -2.0 * log_likelihood + 2.0 * k,
            "bic": -2.0 * log_likelihood + np.log(n) * k,
        }

    def _of_squares(self, covariance: list[np.ndarray]) -> dict[str, Any]:
        optimum, blocks = self.optimum, self.optimum.inside.blocks
        n, squares = optimum.n_samples, optimum.residual_squares
        weight = blocks.sample_weight
        centre = np.zeros(blocks.y.shape[1])
        if optimum.inside.fit_intercept:
            centre = np.average(blocks.y, axis=0, weights=weight)
        deviations = (blocks.y - centre) ** 2
        total = deviations.sum(axis=0) if weight is None else weight @ deviations
        # log L = -n/2 (log(2 pi sum s e^2 / n) + 1) + 1/2 sum log s
        logs = 0.0 if weight is None else 0.5 * np.log(weight[weight > 0.0]).sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            likelihood = -0.5 * n * (np.log(2.0 * np.pi * squares / n) + 1.0) + logs
            r_squared = 1.0 - squares / total
            shrink = (n - int(optimum.inside.fit_intercept)) / optimum.df_resid
            adjusted = 1.0 - shrink * (squares / total)
        wald = np.array([self._wald(matrix, k) for k, matrix in enumerate(covariance)])
        p = special.fdtrc(self._df_model(), self.df_inference, wald)
        one = (lambda a: float(a[0])) if len(squares) == 1 else (lambda a: a)
        return {
            "scale": one(optimum.scale),
            **self._criteria(one(likelihood)),
            "r_squared": one(r_squared),
            "adjusted_r_squared": one(adjusted),
            "test": "F",
            "test_statistic": one(wald),
            "test_p_value": one(p),
        }

    def _wald(self, covariance: np.ndarray, target: int) -> float:
        """``w^T V^-1 w / df_model`` of the coefficients without the intercept."""
        optimum = self.optimum
        p = optimum.basis.n_columns
        coef = optimum.theta[:p, 0, target]
        if self.cov_type == "nonrobust" and optimum.scale[target] == 0.0:
            return np.inf if coef.any() else np.nan
        try:
            root = linalg.cholesky(covariance[:p, :p], lower=True)
        except linalg.LinAlgError:  # no residuals, or fewer clusters than columns
            return np.nan
        half = linalg.solve_triangular(root, coef, lower=True)
        return float(half @ half) / self._df_model()

    def _of_likelihood(self) -> dict[str, Any]:
        optimum, blocks = self.optimum, self.optimum.inside.blocks
        n_classes = len(self.problem.model.classes_)
        codes = blocks.y[:, 0].astype(np.intp)
        counts = np.bincount(codes, weights=blocks.sample_weight, minlength=n_classes)
        shares = counts / counts.sum()
        if not optimum.inside.fit_intercept:
            shares = np.full(n_classes, 1.0 / n_classes)
        likelihood = -optimum.log_loss
        null = float(special.xlogy(counts, shares).sum())
        ratio = 2.0 * (likelihood - null)
        return {
            "scale": 1.0,
            **self._criteria(likelihood),
            "r_squared": 1.0 - likelihood / null,
            "adjusted_r_squared": None,
            "test": "likelihood ratio",
            "test_statistic": ratio,
            "test_p_value": float(special.chdtrc(self._df_model(), ratio)),
        }
