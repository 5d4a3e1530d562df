"""All that is to be said about a fit, on one page; it never refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from ._coefficient_table import CoefficientTable
from ._coefficients import coefficient_table
from ._gap import GapBound, gap_of
from ._problem import Problem, Refusal, problem_of
from ._text import TextTable, number

__all__ = ["Summary", "summary"]


@dataclass(frozen=True, repr=False)
class Summary:
    """What :func:`summary` returns; printed, it is a page of 80 columns.

    Attributes
    ----------
    table : CoefficientTable or None
        None where the fit has no standard errors.
    refusal : str or None
        Why it has none.
    gap : GapBound
        See ``optimality_gap``.
    loss : float
        The objective on the rows given, penalty included.
    """

    table: CoefficientTable | None
    refusal: str | None
    gap: GapBound
    loss: float
    _fit: TextTable
    _coefficients: TextTable

    def text(self) -> str:
        """The page as plain text."""
        below = self.table.text() if self.table is not None else self._coefficients.text()
        return f"{self._fit.text()}\n\n{below}"

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        table = self.table
        below = table._repr_html_() if table is not None else self._coefficients.html()
        return self._fit.html() + "<br>" + below


def summary(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    confidence: float = 0.95,
    cov_type: str = "nonrobust",
    groups: Any = None,
) -> Summary:
    """How a fit went, how far it is from the optimum, and what its coefficients are worth.

    Parameters
    ----------
    estimator : estimator
        A fitted ``LinearRegression`` or ``LogisticRegression``, or a fitted Pipeline or search that
        ends in one.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows of the fit.
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    sample_weight : array-like of shape (n_samples,), default=None
    confidence, cov_type, groups
        As in ``coefficient_table``. Where that refuses, the page says why, and shows the
        coefficients alone.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        For bad data.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from gdregress import LinearRegression
    >>> from gdregress.inspection import summary
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> model = LinearRegression(alpha=1.0).fit(X[["bmi", "bp"]], y)
    >>> summary(model, X[["bmi", "bp"]], y)
    LinearRegression on 442 rows
    normal_equations, 1 iteration: The exact solution was computed.
    loss 1826.09
    at most ... above the optimum (the gap itself, as the loss is quadratic)
    rank 2, condition number 1.52
    <BLANKLINE>
    Coefficients
    <BLANKLINE>
               coefficient
    intercept      -196.01
    bmi             8.0407
    bp              1.4376
    <BLANKLINE>
    No standard errors: LinearRegression needs a fit without a penalty: alpha=1.0
    shrinks the coefficients, which then have a bias and no standard errors; refit
    with alpha=0, or estimate the spread with a bootstrap.
    """
    with problem_of(estimator, X, y, sample_weight, caller="summary") as problem:
        gap = gap_of(problem)
        loss = float(problem.objective.value(problem.theta)[0])
    table, refusal = None, None
    try:
        table = coefficient_table(
            estimator, X, y, sample_weight, confidence=confidence, cov_type=cov_type, groups=groups
        )
    except Refusal as error:
        refusal = str(error).removeprefix("coefficient_table of ")
    return Summary(
        table, refusal, gap, loss, _fit(problem, gap, loss), _coefficients(problem, refusal)
    )


def _fit(problem: Problem, gap: GapBound, loss: float) -> TextTable:
    model = problem.model
    iterations = f"{model.n_iter_} iteration" + "s" * (model.n_iter_ != 1)
    rate = "" if np.isnan(model.learning_rate_) else f", learning rate {model.learning_rate_:.4g}"
    above = f"at most {float(gap):.2g} above the optimum ({gap.method})"
    lead = [
        f"{model.solver_}{rate}, {iterations}: {model.stop_reason_}",
        f"loss {loss:.6g}",
        above if np.isfinite(gap) else f"how far above the optimum is not known: {gap.method}",
    ]
    if getattr(model, "rank_", None) is not None:
        lead.append(f"rank {model.rank_}, condition number {model.condition_number_:.3g}")
    n_samples = problem.objective.blocks.n_weighing
    return TextTable(f"{problem.title} on {n_samples} rows", lead=lead)


def _coefficients(problem: Problem, refusal: str | None) -> TextTable:
    theta = problem.theta[:, 0]
    has_intercept = problem.objective.fit_intercept
    rows: list[list[str]] = []
    for k in range(theta.shape[1]):
        if theta.shape[1] > 1:
            label = problem.model.classes_[k] if is_classifier(problem.model) else f"target {k}"
            rows.append([str(label)])
        names = ["intercept"] * has_intercept + problem.names
        values = [theta[-1, k]] * has_intercept + theta[:-1, k].tolist()
        rows += [[name, number(float(value))] for name, value in zip(names, values)]
    notes = [] if refusal is None else [f"No standard errors: {refusal}"]
    return TextTable("Coefficients", ["", "coefficient"], rows, notes)
