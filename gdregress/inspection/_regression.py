"""Data, fit and interval in one feature: the line of a regression, the S-curve of a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import norm, t
from sklearn.base import is_classifier

from ._coefficients import coefficient_table
from ._drawing import final_estimator, legend_beside, new_axes, ordered_colors, quiet_grid
from ._drawing import transformed as seen_by_the_model

__all__ = ["RegressionDisplay"]

_DISPLAY = "RegressionDisplay"
_POINTS = 200
# More rows than this make a cloud: each is drawn the fainter.
_MANY = 500


class RegressionDisplay:
    """What a fit predicts over one feature, with its interval and the data.

    The other features stay at their mean (columns that are no numbers at their most frequent
    value). For linear regression the inner band is the confidence interval of the mean response,
    the outer one the prediction interval of a new observation:

        z(x) -+ t sqrt(x^T C x),    z(x) -+ t sqrt(x^T C x + s^2),

    C the covariance of the coefficients and s^2 the variance of the residuals (Weisberg 2014,
    "Applied Linear Regression", section 3.5). For two classes the curve is the probability
    ``sigma(z(x))`` and the band ``sigma(z(x) -+ q sqrt(x^T C x))`` (Hosmer, Lemeshow & Sturdivant
    2013, "Applied Logistic Regression", section 2.5); for more classes there is a curve for each,
    without a band.

    Parameters
    ----------
    x : ndarray of shape (n_points,)
        Values of the feature.
    curves : dict of {str: ndarray of shape (n_points,)}
        What is predicted, by name.
    bands : dict of {str: tuple of two ndarrays}
        ``"mean"`` and ``"observation"``, lower and upper end; what there is of them.
    data : tuple of two ndarrays
        The feature and the target of the rows, the target as 0 and 1 for two classes.
    labels : tuple of str
        Of the two axes.
    note : str
        Why there is no band; empty where there is one.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Set by :meth:`plot`.
    figure_ : matplotlib Figure
        Set by :meth:`plot`.
    lines_ : list of matplotlib Line2D
        One for each curve. Set by :meth:`plot`.

    See Also
    --------
    coefficient_table : Where the covariance comes from, and when there is none.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from gdregress import LinearRegression
    >>> from gdregress.inspection import RegressionDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> model = LinearRegression().fit(X[["bmi"]], y)
    >>> display = RegressionDisplay.from_estimator(model, X[["bmi"]], y, feature="bmi")
    >>> sorted(display.bands), display.ax_.get_xlabel()
    (['mean', 'observation'], 'bmi')
    """

    x: np.ndarray
    curves: dict[str, np.ndarray]
    bands: dict[str, tuple[np.ndarray, np.ndarray]]
    data: tuple[np.ndarray, np.ndarray]
    labels: tuple[str, str]
    note: str
    ax_: Any
    figure_: Any
    lines_: list[Any]

    def __init__(
        self,
        x: np.ndarray,
        curves: dict[str, np.ndarray],
        bands: dict[str, tuple[np.ndarray, np.ndarray]],
        data: tuple[np.ndarray, np.ndarray],
        labels: tuple[str, str],
        note: str = "",
    ) -> None:
        self.x, self.curves, self.bands = x, curves, bands
        self.data, self.labels, self.note = data, labels, note

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        feature: Any = 0,
        confidence: float = 0.95,
        **plot_kwargs: Any,
    ) -> RegressionDisplay:
        """Predict over one feature and draw.

        Parameters
        ----------
        estimator : estimator
            A fitted gdregress estimator, or a Pipeline that ends in one.
        X : array-like or DataFrame of shape (n_samples, n_features)
            The rows it was fitted on, as it takes them.
        y : array-like of shape (n_samples,)
        feature : int or str, default=0
            The column on the horizontal axis.
        confidence : float, default=0.95
            Of the bands.
        **plot_kwargs : dict
            The parameters of :meth:`plot`.

        Returns
        -------
        RegressionDisplay

        Raises
        ------
        ValueError
            If there are several targets, or no such feature.
        """
        model = final_estimator(_DISPLAY, estimator)
        if not is_classifier(model) and np.ndim(model.coef_) > 1:
            raise ValueError(f"{_DISPLAY} draws one target; this fit has {len(model.coef_)}")
        column, name = _column(X, feature)
        x = np.linspace(np.nanmin(column), np.nanmax(column), _POINTS)
        grid = _grid(X, feature, x)
        if is_classifier(model):
            probabilities = estimator.predict_proba(grid)
            two = len(model.classes_) == 2
            shown = model.classes_[1:] if two else model.classes_
            curves = {
                f"P({each})": probabilities[:, -len(shown) + k] for k, each in enumerate(shown)
            }
            target = np.full(len(column), np.nan)
            if two:
                target = (np.asarray(y) == model.classes_[1]).astype(float)
            axis = "Probability"
        else:
            two = False
            curves = {"fit": estimator.predict(grid)}
            target, axis = np.asarray(y, dtype=float), str(getattr(y, "name", None) or "y")
        bands, note = {}, ""
        if two or not is_classifier(model):
            try:
                bands = _bands(estimator, X, y, grid, confidence, two)
            except ValueError as error:
                note = str(error)
        return cls(x, curves, bands, (column, target), (name, axis), note).plot(**plot_kwargs)

    def plot(
        self,
        *,
        ax: Any = None,
        line_kwargs: Mapping[str, Any] | None = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
        legend_kwargs: Mapping[str, Any] | None = None,
    ) -> RegressionDisplay:
        """Draw data, curves and bands.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw into. None: a new figure.
        line_kwargs, scatter_kwargs, legend_kwargs : dict, default=None
            Keywords of ``Axes.plot`` for the curves, of ``Axes.scatter`` for the data, and of
            ``Axes.legend``.

        Returns
        -------
        RegressionDisplay
            The display itself.
        """
        ax = new_axes(_DISPLAY, ax)
        self.ax_, self.figure_, self.lines_ = ax, ax.figure, []
        several = len(self.curves) > 1
        colors = ordered_colors(ax, len(self.curves)) if several else [None]
        column, target = self.data
        if np.isfinite(target).any():
            faint = min(0.7, max(0.06, 0.7 * _MANY / len(column)))
            style = {"s": 14, "alpha": faint, "color": "0.5", "linewidths": 0, "zorder": 1}
            ax.scatter(column, target, **style | dict(scatter_kwargs or {}))
        for color, (name, values) in zip(colors, self.curves.items(), strict=True):
            style = {"linewidth": 2.0, "label": name} | ({"color": color} if several else {})
            (line,) = ax.plot(self.x, values, **style | dict(line_kwargs or {}))
            self.lines_.append(line)
        words = {"observation": "a new observation", "mean": "the mean"}
        for name, (lower, upper) in self.bands.items():
            fill = {"color": self.lines_[0].get_color(), "linewidth": 0, "zorder": 1.5}
            shade = 0.12 if name == "observation" else 0.3
            ax.fill_between(self.x, lower, upper, alpha=shade, label=words[name], **fill)
        ax.set_xlabel(self.labels[0])
        ax.set_ylabel(self.labels[1])
        if self.note:
            ax.set_title(f"no interval: {self.note}", fontsize="x-small", loc="left", wrap=True)
        quiet_grid(ax)
        legend_beside(ax, **{"loc": "best", "bbox_to_anchor": None} | dict(legend_kwargs or {}))
        return self


def _column(X: Any, feature: Any) -> tuple[np.ndarray, str]:
    """One column as numbers, and its name."""
    if hasattr(X, "columns"):
        name = X.columns[feature] if isinstance(feature, int) else feature
        if name not in X.columns:
            raise ValueError(f"feature names {feature!r}, which is none of {list(X.columns)[:10]}")
        return np.asarray(X[name], dtype=float), str(name)
    X = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    if not (isinstance(feature, int | np.integer) and 0 <= feature < X.shape[1]):
        raise ValueError(f"feature names column {feature!r}; there are {X.shape[1]}")
    return np.asarray(X[:, feature], dtype=float), f"x{feature}"


def _grid(X: Any, feature: Any, x: np.ndarray) -> Any:
    """Rows in which only the feature changes."""
    if hasattr(X, "columns"):
        name = X.columns[feature] if isinstance(feature, int) else feature
        grid = X.iloc[:1].loc[X.index[:1].repeat(len(x))].reset_index(drop=True)
        for column in X.columns:
            if column == name:
                grid[column] = x
            elif X[column].dtype.kind in "iuf":
                grid[column] = float(X[column].mean())
            else:
                grid[column] = X[column].mode().iloc[0]
        return grid
    X = X.toarray() if hasattr(X, "toarray") else np.asarray(X, dtype=float)
    grid = np.repeat(X.mean(axis=0)[None], len(x), axis=0)
    grid[:, feature] = x
    return grid


def _bands(
    estimator: Any, X: Any, y: Any, grid: Any, confidence: float, two: bool
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The bands around the curve, from the covariance of the coefficients."""
    table = coefficient_table(estimator, X, y, confidence=confidence)
    rows = np.asarray(seen_by_the_model(estimator, grid), dtype=float)
    if len(table.names) > rows.shape[1]:
        rows = np.column_stack([np.ones(len(rows)), rows])
    z = rows @ np.ravel(table.estimate)
    variance = np.einsum("ij,jk,ik->i", rows, table.covariance, rows)
    tail = 0.5 + 0.5 * confidence
    if two:
        reach = norm.ppf(tail) * np.sqrt(variance)
        return {"mean": (expit(z - reach), expit(z + reach))}
    quantile = t.ppf(tail, table.df_inference)
    mean, new = quantile * np.sqrt(variance), quantile * np.sqrt(variance + table.scale)
    return {"observation": (z - new, z + new), "mean": (z - mean, z + mean)}
