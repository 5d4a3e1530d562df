"""The table of coefficients itself: what it holds, and how it prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._text import TextTable, number, p_value

__all__ = ["CoefficientTable"]

_COLUMNS = ("estimate", "std_error", "statistic", "p_value", "lower", "upper")


@dataclass(frozen=True, repr=False)
class CoefficientTable:
    """What ``coefficient_table`` returns; printed, it is a table of 80 columns.

    Arrays have one entry for each of `names`, in a row for each of `outputs` where there are
    several (targets, or the classes other than the reference). Quantities of the whole fit are
    numbers, or arrays of shape (n_targets,) for several targets.

    Attributes
    ----------
    model : {"linear", "logistic", "softmax"}
    names : tuple of str
        The intercept, where there is one, then the columns of X.
    outputs : tuple or None
        Targets by number, or the labels of the classes; None for one target and for two classes.
    classes : tuple or None
        Two classes: the labels (other, counted). More: (reference,). None for linear regression.
    estimate, std_error, statistic, p_value, lower, upper : ndarray
        Of the coefficients. The statistic is the estimate over its standard error.
    covariance : ndarray
        Of the coefficients, (q, q) in the order of ``estimate.ravel()``; for several targets one
        matrix for each, (n_targets, n_names, n_names).
    confidence : float
        Of the intervals from `lower` to `upper`.
    cov_type : str
    distribution : {"t", "z"}
        Of the statistic: Student's t with `df_inference` degrees of freedom, or the normal.
    n_samples : int
        Rows of positive weight.
    df_model, df_resid : int
        Coefficients without the intercepts; rows minus coefficients.
    df_inference : int
        Degrees of freedom of t and F: `df_resid`, or the number of clusters minus 1.
    scale : float or ndarray
        The variance of a residual of weight 1; 1 for logistic regression.
    log_likelihood, aic, bic : float or ndarray
        ``-2 log L + 2 k`` and ``-2 log L + k log n``, k the number of coefficients.
    r_squared : float or ndarray
        The share of the variance explained; for logistic regression McFadden's
        ``1 - log L / log L_0``.
    adjusted_r_squared : float, ndarray or None
        None for logistic regression.
    test : {"F", "likelihood ratio"}
        Of all coefficients but the intercept being zero.
    test_statistic, test_p_value : float or ndarray
    """

    model: str
    names: tuple[str, ...]
    outputs: tuple[Any, ...] | None
    classes: tuple[Any, ...] | None
    estimate: np.ndarray
    std_error: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    covariance: np.ndarray
    confidence: float
    cov_type: str
    distribution: str
    n_samples: int
    df_model: int
    df_resid: int
    df_inference: int
    scale: Any
    log_likelihood: Any
    aic: Any
    bic: Any
    r_squared: Any
    adjusted_r_squared: Any
    test: str
    test_statistic: Any
    test_p_value: Any

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row for each coefficient.

        The index holds the names; with several outputs, pairs of output and name.
        """
        import pandas as pd

        index: Any = pd.Index(self.names, name="name")
        if self.outputs is not None:
            index = pd.MultiIndex.from_product([self.outputs, self.names], names=["output", "name"])
        data = {column: np.ravel(getattr(self, column)) for column in _COLUMNS}
        return pd.DataFrame(data, index=index)

    def text(self) -> str:
        """The table as plain text, at most 80 columns wide."""
        return self._layout().text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self._layout().html()

    def _layout(self) -> TextTable:
        percent = f"{100 * self.confidence:g}"
        header = ["", "estimate", "std error", self.distribution, "p-value"]
        header += [f"lower {percent} %", f"upper {percent} %"]
        rows: list[list[str]] = []
        for k, output in enumerate(self.outputs or [None]):
            if output is not None:
                rows.append([self._heading(output, k)])
            columns = [np.atleast_2d(getattr(self, column))[k] for column in _COLUMNS]
            for name, *cells in zip(self.names, *columns):
                estimate, error, statistic, p, lower, upper = cells
                numbers = [number(estimate), number(error), f"{statistic:.3f}", p_value(p)]
                if abs(statistic) >= 1e5:
                    numbers[2] = f"{statistic:.1e}"
                rows.append([name, *numbers, number(lower), number(upper)])
        return TextTable(self._title(), header, rows, self._notes(), self._lead())

    def _title(self) -> str:
        if self.model == "linear":
            return "Linear regression, least squares"
        if self.model == "logistic" and self.classes is not None:
            other, counted = self.classes
            return f"Logistic regression: log-odds of {counted!s} against {other!s}"
        return f"Logistic regression, {len(self.outputs or ()) + 1} classes (softmax)"

    def _heading(self, output: Any, k: int) -> str:
        if self.model == "softmax" and self.classes is not None:
            return f"log-odds of {output!s} against {self.classes[0]!s}"
        r_squared = np.atleast_1d(self.r_squared)[k]
        return f"target {output!s}: R² {r_squared:.4f}, {self._test(k)}"

    def _lead(self) -> list[str]:
        of = f"t, {self.df_inference} degrees of freedom" if self.distribution == "t" else "z"
        return [
            f"{self.n_samples} rows, {self.estimate.size} coefficients; "
            f"{self.cov_type} standard errors; {of}"
        ]

    def _test(self, k: int = 0) -> str:
        statistic = np.atleast_1d(self.test_statistic)[k]
        p = p_value(np.atleast_1d(self.test_p_value)[k])
        p = p if p.startswith("<") else f"= {p}"
        if self.test == "F":
            return f"F({self.df_model}, {self.df_inference}) = {number(statistic)}, p {p}"
        return f"likelihood ratio: chi²({self.df_model}) = {number(statistic)}, p {p}"

    def _notes(self) -> list[str]:
        if self.model == "linear" and self.outputs is not None:
            return []
        likelihood = (
            f"log-likelihood {number(self.log_likelihood, 7)}, AIC {number(self.aic, 7)}, "
            f"BIC {number(self.bic, 7)}"
        )
        if self.model == "linear":
            fit = f"R² {self.r_squared:.4f}, adjusted {self.adjusted_r_squared:.4f}"
            fit += f", residual standard error {number(float(np.sqrt(self.scale)))}"
        else:
            fit = f"McFadden's pseudo-R² {self.r_squared:.4f}"
        return [fit, self._test(), likelihood]
