"""Intervals around the predictions of least squares: of the mean response, and of a new row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, special
from sklearn.base import is_classifier
from sklearn.utils.validation import validate_data

from ..rows.blocks import RowBlocks
from ._optimum import Optimum, optimum_of
from ._problem import problem_of, rows_for
from ._text import TextTable, number

__all__ = ["PredictionInterval", "prediction_interval"]

_KINDS = ("observation", "mean")
_SHOWN = 10


@dataclass(frozen=True, repr=False)
class PredictionInterval:
    """What :func:`prediction_interval` returns.

    Attributes
    ----------
    prediction, lower, upper, std_error : ndarray
        In the shape of ``predict``; std_error is that of the mean, or of a new observation.
    kind : {"observation", "mean"}
    confidence : float
    df_resid : int
        Degrees of freedom of Student's t.
    """

    prediction: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    std_error: np.ndarray
    kind: str
    confidence: float
    df_resid: int

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row for each prediction; of several targets one below the other."""
        import pandas as pd

        columns = ("prediction", "std_error", "lower", "upper")
        data = {name: np.atleast_2d(getattr(self, name).T).ravel() for name in columns}
        if self.prediction.ndim == 1:
            return pd.DataFrame(data)
        n_rows, n_targets = self.prediction.shape
        index = pd.MultiIndex.from_product(
            [range(n_targets), range(n_rows)], names=["target", "row"]
        )
        return pd.DataFrame(data, index=index)

    def text(self) -> str:
        """The first rows as plain text."""
        return self._layout().text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self._layout().html()

    def _layout(self) -> TextTable:
        of = "a new observation" if self.kind == "observation" else "the mean response"
        n_targets = 1 if self.prediction.ndim == 1 else self.prediction.shape[1]
        rows = []
        for k in range(n_targets):
            if n_targets > 1:
                rows.append([f"target {k}"])
            arrays = self.prediction, self.std_error, self.lower, self.upper
            columns = [array.reshape(len(array), -1)[:_SHOWN, k] for array in arrays]
            rows += [[str(i), *map(number, cells)] for i, cells in enumerate(zip(*columns))]
        left = len(self.prediction) - _SHOWN
        notes = [f"and {left} more rows"] if left > 0 else []
        return TextTable(
            f"{100 * self.confidence:g} % intervals of {of}",
            ["row", "prediction", "std error", "lower", "upper"],
            rows,
            notes,
        )


def prediction_interval(
    estimator: Any,
    X: Any,
    y: Any,
    X_new: Any,
    *,
    sample_weight: Any = None,
    confidence: float = 0.95,
    kind: str = "observation",
) -> PredictionInterval:
    """Intervals around the predictions of an unpenalised linear regression at its optimum.

    With A the information matrix ``sum_i s_i [x_i 1]^T [x_i 1]``, ``sigma^2`` the variance of the
    residuals and t the quantile of Student's distribution with n - k degrees of freedom,

        mean         yhat -+ t sigma sqrt([x 1] A^-1 [x 1]^T)
        observation  yhat -+ t sigma sqrt(1 + [x 1] A^-1 [x 1]^T)

    The first covers the mean of y at x in so many of the samples, the second a single new y, of
    weight 1, whose residual is normal with the same variance.

    Parameters
    ----------
    estimator : estimator
        A fitted ``LinearRegression``, or a Pipeline or search that ends in one.
    X, y, sample_weight
        The rows of the fit, as in ``coefficient_table``.
    X_new : {array-like, sparse matrix} of shape (n_rows, n_features)
        Where to predict.
    confidence : float, default=0.95
    kind : {"observation", "mean"}, default="observation"

    Returns
    -------
    PredictionInterval

    Raises
    ------
    ValueError
        Where ``coefficient_table`` refuses, and for logistic regression.

    References
    ----------
    Greene (2018), "Econometric Analysis", 8th ed., section 4.8.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> from gdregress.inspection import prediction_interval
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.1, 4.9, 7.0]
    >>> model = LinearRegression().fit(X, y)
    >>> prediction_interval(model, X, y, [[1.5], [10.0]])
    95 % intervals of a new observation
    <BLANKLINE>
    row  prediction  std error   lower   upper
    0        4.0000    0.10607  3.5436  4.4564
    1        20.830    0.37590  19.213  22.447
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(
            f"'confidence' of prediction_interval must be between 0 and 1; got {confidence!r}."
        )
    if kind not in _KINDS:
        raise ValueError(
            f"'kind' of prediction_interval must be 'observation' or 'mean'; got {kind!r}."
        )
    with problem_of(estimator, X, y, sample_weight, caller="prediction_interval") as problem:
        problem.check_is_known()
        if is_classifier(problem.model):
            raise problem.fails(
                "is for linear regression: a label has a probability and no interval",
                "use predict_proba",
            )
        optimum = optimum_of(problem)
        model, X_new, _ = rows_for(estimator, X_new, "prediction_interval")
        X_new = validate_data(model, X_new, accept_sparse="csr", reset=False)
        prediction, variance = _moments_at(optimum, RowBlocks(X_new).in_frame(optimum.basis))
    if kind == "observation":
        variance += optimum.scale
    error = np.sqrt(variance)
    half = special.stdtrit(optimum.df_resid, 0.5 * (1.0 + confidence)) * error
    shape = prediction.shape if np.ndim(model.intercept_) else (len(prediction),)
    return PredictionInterval(
        prediction=prediction.reshape(shape),
        lower=(prediction - half).reshape(shape),
        upper=(prediction + half).reshape(shape),
        std_error=error.reshape(shape),
        kind=kind,
        confidence=float(confidence),
        df_resid=optimum.df_resid,
    )


def _moments_at(optimum: Optimum, blocks: RowBlocks) -> tuple[np.ndarray, np.ndarray]:
    """The prediction of each row and the variance of its mean, (n_rows, n_targets)."""
    theta = optimum.theta[:, 0]
    prediction = np.empty((blocks.n_samples, theta.shape[1]))
    leverage = np.empty((blocks.n_samples, 1))
    step = optimum.inside.blocks.block_rows
    for begin in range(0, blocks.n_samples, step):
        rows = slice(begin, min(begin + step, blocks.n_samples))
        terms = blocks.block(rows).design.dense()
        terms = np.column_stack([terms, np.ones(len(terms))])
        prediction[rows] = terms @ theta
        terms = terms[:, : optimum.n_terms]
        half = linalg.solve_triangular(optimum.root, terms.T, lower=True)
        leverage[rows, 0] = np.einsum("ji,ji->i", half, half)
    return prediction, leverage * optimum.scale
