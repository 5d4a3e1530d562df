"""Coefficient paths: every coefficient against the iteration, with the exact ones as marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._curves import LossCurve
from ._drawing import (
    NEUTRAL,
    final_estimator,
    keyword_sets,
    legend_beside,
    new_axes,
    ordered_colors,
    quiet_grid,
    transformed,
)
from ._plane import coefficient_names, exact_fit, path_of
from ._problem import fitted_theta, rows_for

__all__ = ["CoefficientPathDisplay"]

_DISPLAY = "CoefficientPathDisplay"
# More lines than this: one colour for all but the largest few.
_MOST_NAMED = 12


class CoefficientPathDisplay:
    """The coefficients of one fit, iteration by iteration.

    Parameters
    ----------
    iteration : ndarray of shape (n_iter_ + 1,)
    path : ndarray of shape (n_iter_ + 1, n_coefficients)
    names : list of str
        One for each coefficient.
    exact : ndarray of shape (n_coefficients,) or None
        The coefficients of the exact solution.
    x_label : str
        "Iteration", "Epoch" or "Step".
    title : str
        The name and outcome of the fit.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Set by :meth:`plot`.
    figure_ : matplotlib Figure
        Set by :meth:`plot`.
    lines_ : list of matplotlib Line2D
        One for each coefficient. Set by :meth:`plot`.
    marks_ : list of matplotlib Line2D
        The exact coefficients, at the right edge; empty where none were given. Set by :meth:`plot`.

    See Also
    --------
    DescentPathDisplay : Two of them against each other, over the contours of the loss.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from gdregress import LinearRegression
    >>> from gdregress.inspection import CoefficientPathDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X = scale(X)
    >>> model = LinearRegression(solver="nesterov", store_path=True).fit(X, y)
    >>> display = CoefficientPathDisplay.from_estimator(model, X, y)
    >>> len(display.lines_), len(display.marks_)
    (10, 10)
    """

    iteration: np.ndarray
    path: np.ndarray
    names: list[str]
    exact: np.ndarray | None
    x_label: str
    title: str
    ax_: Any
    figure_: Any
    lines_: list[Any]
    marks_: list[Any]

    def __init__(
        self,
        iteration: np.ndarray,
        path: np.ndarray,
        names: list[str],
        exact: np.ndarray | None,
        x_label: str,
        title: str,
    ) -> None:
        self.iteration, self.path, self.names = iteration, path, names
        self.exact, self.x_label, self.title = exact, x_label, title

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        intercept: bool = False,
        exact: Any = None,
        **plot_kwargs: Any,
    ) -> CoefficientPathDisplay:
        """Draw the path of one fit.

        Parameters
        ----------
        estimator : estimator
            Fitted with ``store_path=True``; or a Pipeline or search that ends in such a one.
        X, y : array-like, default=None
            The data it was fitted on; with them the exact solution is computed and marked.
        intercept : bool, default=False
            Whether the intercept is drawn too.
        exact : estimator, default=None
            A fitted exact estimator, in the place of `X` and `y`.
        **plot_kwargs : dict
            The parameters of :meth:`plot`.

        Returns
        -------
        CoefficientPathDisplay

        Raises
        ------
        ValueError
            If the fit kept no path.
        """
        model = final_estimator(_DISPLAY, estimator)
        path = path_of(model)
        if exact is not None:
            exact = final_estimator(_DISPLAY, exact)
        elif X is not None:
            exact = exact_fit(model, transformed(estimator, X), y)
        n_rows = path.shape[1] if intercept else path.shape[1] - 1
        values = None
        if exact is not None:
            values = fitted_theta(exact)[:n_rows, 0].ravel()
        curve = LossCurve.from_estimator(model)
        _, _, names = rows_for(model if X is None else estimator, X, _DISPLAY)
        names = coefficient_names(model, [*names, "intercept"][:n_rows])
        by_step = len(curve.iteration) != len(path)
        iteration = np.arange(len(path)) if by_step else curve.iteration
        display = cls(
            iteration,
            path[:, :n_rows].reshape(len(path), -1),
            names,
            values,
            "Step" if by_step else curve.counted.capitalize(),
            curve.label,
        )
        return display.plot(**plot_kwargs)

    def plot(
        self,
        *,
        ax: Any = None,
        log_iterations: bool = False,
        line_kwargs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        legend_kwargs: Mapping[str, Any] | None = None,
    ) -> CoefficientPathDisplay:
        """Draw the coefficients.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw into. None: a new figure.
        log_iterations : bool, default=False
            Whether the horizontal axis is logarithmic from iteration 1 on.
        line_kwargs : dict or list of dict, default=None
            Keywords of ``Axes.plot``.
        legend_kwargs : dict, default=None
            Keywords of ``Axes.legend``.

        Returns
        -------
        CoefficientPathDisplay
            The display itself.
        """
        n_lines = self.path.shape[1]
        own = keyword_sets("line_kwargs", line_kwargs, n_lines)
        ax = new_axes(_DISPLAY, ax, figsize=(8.4, 4.8))
        self.ax_, self.figure_, self.lines_, self.marks_ = ax, ax.figure, [], []
        if log_iterations:
            ax.set_xscale("symlog", linthresh=1.0)
        elif hasattr(ax.xaxis.get_major_locator(), "set_params"):
            ax.xaxis.get_major_locator().set_params(integer=True)
        ax.axhline(0.0, color=NEUTRAL, linewidth=0.8, zorder=1)
        last = self.path[-1] if self.exact is None else self.exact
        # In the order of the values at the end, so that legend and lines read from the top.
        order = np.argsort(-np.nan_to_num(last), kind="stable")
        largest = np.argsort(-np.abs(np.nan_to_num(last)), kind="stable")[:_MOST_NAMED]
        named = [j for j in order if j in largest]
        colors = dict(zip(named, ordered_colors(ax, len(named)), strict=True))
        lines = {}
        for j in order:
            style = {"color": NEUTRAL, "linewidth": 0.8, "alpha": 0.5, "zorder": 1.5}
            if j in colors:
                style = {"color": colors[j], "linewidth": 1.5, "label": self.names[j]}
            (lines[j],) = ax.plot(self.iteration, self.path[:, j], **style | own[j])
            if self.exact is not None:
                self.marks_.append(self._mark(self.exact[j], lines[j].get_color()))
        self.lines_ = [lines[j] for j in range(n_lines)]
        ax.set_xlabel(self.x_label)
        ax.set_ylabel("Coefficient")
        ax.set_title(self.title, fontsize="small", loc="left")
        ax.margins(x=0.0)
        quiet_grid(ax)
        title = {"title": f"the largest {_MOST_NAMED}"} if n_lines > _MOST_NAMED else {}
        legend_beside(ax, **{"bbox_to_anchor": (1.03, 1.0), **title, **(legend_kwargs or {})})
        return self

    def _mark(self, value: float, color: Any) -> Any:
        """An arrowhead at the right edge: where an exact coefficient is."""
        (mark,) = self.ax_.plot(
            1.0,
            value,
            marker="<",
            color=color,
            transform=self.ax_.get_yaxis_transform(),
            clip_on=False,
            linestyle="none",
        )
        return mark
