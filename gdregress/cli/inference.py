"""Coefficients in the units of the table, with standard errors where the fit has them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from scipy import linalg

from .. import LinearRegression, LogisticRegression
from ..inspection import coefficient_table
from .columns import shown_name
from .fitting import Fit, Study

__all__ = ["Coefficient", "Coefficients", "coefficients"]

# A column whose part that the columns before it do not explain is smaller depends on them.
_DEPENDENT = 1e-9


@dataclass(frozen=True)
class Coefficient:
    """One coefficient: in the unit of its column, and for one standard deviation of it.

    ``error``, ``statistic``, ``p``, ``lower`` and ``upper`` are None where the fit has none.
    """

    output: str | None
    name: str
    estimate: float
    per_deviation: float | None
    error: float | None = None
    statistic: float | None = None
    p: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Coefficients:
    """All coefficients, and what is to be said about them.

    Attributes
    ----------
    rows : list of Coefficient
    statistic : str or None
        "t" or "z"; None where no standard errors are.
    title : str
    summary : list of str
        R², tests, information criteria.
    notes : list of str
        Columns left out as combinations of others, and why there are no standard errors.
    """

    rows: list[Coefficient]
    statistic: str | None
    title: str
    summary: list[str]
    notes: list[str]


def coefficients(study: Study, whole: Fit) -> Coefficients:
    """The coefficients of the fit on all rows.

    The columns are the prepared ones before they are standardised: an estimate is the change of the
    target (or of the log-odds) for one unit of the column, the other columns held.

    Parameters
    ----------
    study : Study
    whole : Fit
        The exact fit on all rows.
    """
    steps = whole.pipeline[:-2]
    names = [shown_name(str(name)) for name in steps.get_feature_names_out()]
    Z = pd.DataFrame(steps.transform(study.X), columns=names)
    if whole.model.alpha > 0 and not (study.alpha_is_chosen and study.is_classification):
        return _estimates(study, whole, names, "a penalised fit has none; see --alpha")
    if Z.shape[1] + 1 >= len(Z):
        reason = f"{Z.shape[1]} prepared columns leave no row over for them"
        return _estimates(study, whole, names, reason)
    depends = _dependent(Z.to_numpy(dtype=float))
    dependent = [name for name, is_so in zip(Z.columns, depends, strict=True) if is_so]
    Z = Z.loc[:, ~depends]
    try:
        table = _table(study, Z)
    except ValueError as error:
        reason = str(error).replace("coefficient_table of ", "").rstrip(".")
        return _estimates(study, whole, names, reason)
    notes = []
    if dependent:
        notes.append(
            "left out of this table as combinations of the columns above them:"
            f" {', '.join(dependent)}"
        )
    return Coefficients(_rows(table, Z), table.distribution, _title(table), _summary(table), notes)


def _dependent(Z: np.ndarray) -> np.ndarray:
    """Which columns are combinations of those before them and the constant: the first ones stay."""
    spread = Z.std(axis=0)
    flat = spread <= 1e-12 * np.abs(Z).max(axis=0)
    Z = (Z - Z.mean(axis=0)) / np.where(flat, 1.0, spread)
    depends = flat.copy()
    # Z = QR: |R_jj| is the length of what columns 0..j-1 leave of column j. A column that depends
    # on others is taken out before the next is looked for: its rounding would pass for one.
    while True:
        kept = np.flatnonzero(~depends)
        if len(kept) == 0:
            return depends
        R = linalg.qr(Z[:, kept], mode="r", check_finite=False)[0]
        length = np.abs(np.diagonal(R)) / np.sqrt(len(Z))
        small = np.flatnonzero(length <= _DEPENDENT)
        if len(small) == 0:
            return depends
        depends[kept[small[0]]] = True


def _table(study: Study, Z: Any) -> Any:
    regression = LogisticRegression if study.is_classification else LinearRegression
    with sklearn.config_context(enable_metadata_routing=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they would say, coefficient_table refuses with
        model = regression().fit(Z, study.y, sample_weight=study.weights)
        return coefficient_table(
            model,
            Z,
            study.y,
            study.weights,
            cov_type="nonrobust" if study.groups is None else "cluster",
            groups=study.groups,
        )


def _rows(table: Any, Z: Any) -> list[Coefficient]:
    deviations = dict(zip(Z.columns, Z.to_numpy(dtype=float).std(axis=0), strict=True))
    outputs = table.outputs or [None]
    shape = (len(outputs), len(table.names))
    fields = ("std_error", "statistic", "p_value", "lower", "upper")
    rest = [np.reshape(getattr(table, field), shape) for field in fields]
    estimate = np.reshape(table.estimate, shape)
    found = []
    for k, output in enumerate(outputs):
        for j, name in enumerate(table.names):
            deviation = deviations.get(name)
            found.append(
                Coefficient(
                    None if output is None else str(output),
                    name if deviation is not None else "(intercept)",
                    float(estimate[k, j]),
                    None if deviation is None else float(estimate[k, j] * deviation),
                    *(float(values[k, j]) for values in rest),
                )
            )
    return found


def _title(table: Any) -> str:
    of = f"unpenalised fit on all {table.n_samples} rows"
    if table.model == "linear":
        return f"Coefficients of the {of}"
    if table.model == "logistic":
        other, counted = table.classes
        return f"Coefficients of the {of}: log-odds of {counted} against {other}"
    return f"Coefficients of the {of}: log-odds against {table.classes[0]}"


def _p(value: float) -> str:
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.4f}"


def _summary(table: Any) -> list[str]:
    test = float(table.test_statistic)
    if table.test == "F":
        text = f"F({table.df_model}, {table.df_inference}) = {test:.5g}, {_p(table.test_p_value)}"
    else:
        text = f"likelihood ratio chi²({table.df_model}) = {test:.5g}, {_p(table.test_p_value)}"
    if table.model == "linear":
        error = float(np.sqrt(table.scale))
        fit = (
            f"R² {table.r_squared:.4f}, adjusted {table.adjusted_r_squared:.4f}, residual standard"
        )
        first = f"{fit} error {error:.5g}"
    else:
        first = f"McFadden's pseudo-R² {table.r_squared:.4f}"
    return [
        f"{first}; {text}",
        f"log-likelihood {table.log_likelihood:.2f}, AIC {table.aic:.2f}, BIC {table.bic:.2f};"
        f" standard errors: {table.cov_type}",
    ]


def _estimates(study: Study, whole: Fit, names: list[str], reason: str) -> Coefficients:
    """Estimates alone, of the fit itself, carried back from standardised columns."""
    scaler, model = whole.pipeline[-2], whole.model
    coef = np.atleast_2d(model.coef_)
    # z = (x − μ)/σ, so that c·z + b = (c/σ)·x + (b − Σ c μ/σ).
    original = coef / scaler.scale_
    intercept = np.ravel(model.intercept_) - original @ scaler.mean_
    outputs: list[str | None] = [None]
    if len(coef) > 1:
        outputs = [str(label) for label in model.classes_]
    found = []
    for k, output in enumerate(outputs):
        found.append(Coefficient(output, "(intercept)", float(intercept[k]), None))
        found += [
            Coefficient(output, name, float(original[k, j]), float(coef[k, j]))
            for j, name in enumerate(names)
        ]
    title = f"Coefficients of the exact fit on all {len(study.y)} rows"
    if study.is_classification and len(coef) == 1:
        title += f": log-odds of {model.classes_[1]} against {model.classes_[0]}"
    return Coefficients(found, None, title, [], [f"no standard errors: {reason}"])
