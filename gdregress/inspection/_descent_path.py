"""Descent paths: the iterates of one or several fits on the contours of the loss."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from ._curves import LossCurve
from ._drawing import (
    curve_styles,
    final_estimator,
    is_dark,
    keyword_sets,
    legend_beside,
    named_estimators,
    new_axes,
    transformed,
)
from ._plane import Plane, exact_fit, path_of
from ._problem import fitted_theta, problem_of

__all__ = ["DescentPath", "DescentPathDisplay"]

_DISPLAY = "DescentPathDisplay"
# Points along each side of the grid on which the contours are drawn.
_GRID = 81
# Room around the iterates, as a share of what they span.
_MARGIN = 0.12
# Iterates beyond this many times the distance from start to optimum leave the picture, but for the
# first steps of each path, which show where it goes.
_FAR = 2.0
_FIRST_STEPS, _FARTHEST = 4, 100.0


@dataclass(frozen=True)
class DescentPath:
    """The iterates of one fit in a plane.

    Attributes
    ----------
    curve : LossCurve
        What the legend says of the fit.
    points : ndarray of shape (n_iter_ + 1, 2)
        Its iterates in the coordinates of the picture.
    """

    curve: LossCurve
    points: np.ndarray


class DescentPathDisplay:
    """The loss over two directions of theta, with the iterates of one or several fits.

    Made with :meth:`from_estimator` or :meth:`from_estimators`. The plane goes through the exact
    solution: along two coefficients, the others at their optimum, or along the steepest and the
    flattest direction of the Hessian there. Contours are levels of the loss above the optimum,
    each a constant factor from the next.

    Parameters
    ----------
    paths : list of DescentPath
    plane : Plane
        The two directions.
    optimum : ndarray of shape (2,)
        Where the exact solution is.
    a, b : ndarray
        The grid along the two directions.
    losses : ndarray of shape (len(b), len(a))
        The loss above its optimum on the grid.

    Attributes
    ----------
    paths : list of DescentPath
    ax_ : matplotlib Axes
        Set by :meth:`plot`.
    figure_ : matplotlib Figure
        Set by :meth:`plot`.
    lines_ : list of matplotlib Line2D
        One path for each fit. Set by :meth:`plot`.

    See Also
    --------
    LossCurveDisplay : The loss of every iteration.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from gdregress import LinearRegression
    >>> from gdregress.inspection import DescentPathDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X = scale(X)[:, [2, 3]]
    >>> fits = [
    ...     LinearRegression(solver=rule, store_path=True, max_iter=30, tol=0).fit(X, y)
    ...     for rule in ("gd", "nesterov")
    ... ]
    >>> display = DescentPathDisplay.from_estimators(fits, X, y, features=(0, 1))
    >>> display.ax_.get_xlabel()
    'coefficient of x0'
    """

    paths: list[DescentPath]
    plane: Plane
    optimum: np.ndarray
    a: np.ndarray
    b: np.ndarray
    losses: np.ndarray
    ax_: Any
    figure_: Any
    lines_: list[Any]

    def __init__(
        self,
        paths: list[DescentPath],
        plane: Plane,
        optimum: np.ndarray,
        a: np.ndarray,
        b: np.ndarray,
        losses: np.ndarray,
    ) -> None:
        self.paths, self.plane, self.optimum = paths, plane, optimum
        self.a, self.b, self.losses = a, b, losses

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, name: str | None = None, **kwargs: Any
    ) -> DescentPathDisplay:
        """Draw the path of one estimator; see :meth:`from_estimators`."""
        estimators = [estimator] if name is None else {name: estimator}
        return cls.from_estimators(estimators, X, y, **kwargs)

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Iterable[Any],
        X: Any,
        y: Any,
        *,
        features: Sequence[Any] | str = "principal",
        fit: bool = False,
        max_points: int | None = None,
        **plot_kwargs: Any,
    ) -> DescentPathDisplay:
        """Draw the paths of several estimators over the contours of the loss they share.

        Parameters
        ----------
        estimators : dict of {str: estimator} or iterable of estimators
            Fitted with ``store_path=True`` on `X` and `y`, with the same penalty; or Pipelines that
            end in such ones. ``store_path="step"`` shows every step of mini-batches.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        features : "principal" or pair, default="principal"
            The axes of the picture: the steepest and the flattest direction, or two coefficients by
            name or number, ``"intercept"`` among them; a pair (feature, output) where there are
            several outputs.
        fit : bool, default=False
            Fit clones of the estimators first, with ``store_path="step"``.
        max_points : int, default=None
            Draw so many iterates of each path at most, from the start.
        **plot_kwargs : dict
            The parameters of :meth:`plot`.

        Returns
        -------
        DescentPathDisplay

        Raises
        ------
        ValueError
            If a fit kept no path, or `features` names something that is not there.
        """
        named = named_estimators(_DISPLAY, estimators)
        if fit:
            named = [(name, _fitted_with_path(each, X, y)) for name, each in named]
        models = [final_estimator(_DISPLAY, each) for _, each in named]
        first, model = named[0][1], models[0]
        theta = fitted_theta(exact_fit(model, transformed(first, X), y))
        with problem_of(first, X, y, caller=_DISPLAY) as problem:
            objective = problem.objective
            if not isinstance(features, str):
                plane = Plane.of_coordinates(theta[:, 0], features, problem.names)
            elif features == "principal":
                plane = Plane.of_principal_directions(theta[:, 0], objective.hessian(theta))
            else:
                raise ValueError(f"features must be 'principal' or a pair; got {features!r}")
            paths = cls._projected(named, models, plane, max_points)
            optimum = np.array(plane.offset)
            a, b = _axes_of_grid([path.points for path in paths], optimum)
            losses = plane.losses(objective, a, b) - float(objective.value(theta)[0])
        return cls(paths, plane, optimum, a, b, losses).plot(**plot_kwargs)

    @staticmethod
    def _projected(
        named: list[tuple[str | None, Any]], models: list[Any], plane: Plane, max_points: int | None
    ) -> list[DescentPath]:
        return [
            DescentPath(
                LossCurve.from_estimator(model, name=name),
                plane.project(path_of(model)[:max_points]),
            )
            for (name, _), model in zip(named, models, strict=True)
        ]

    def plot(
        self,
        *,
        ax: Any = None,
        n_levels: int = 14,
        path_kwargs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        contour_kwargs: Mapping[str, Any] | None = None,
        legend_kwargs: Mapping[str, Any] | None = None,
    ) -> DescentPathDisplay:
        """Draw the contours, the paths and the optimum.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw into. None: a new figure.
        n_levels : int, default=14
            Number of contours.
        path_kwargs : dict or list of dict, default=None
            Keywords of ``Axes.plot`` for the paths.
        contour_kwargs : dict, default=None
            Keywords of ``Axes.contour``.
        legend_kwargs : dict, default=None
            Keywords of ``Axes.legend``.

        Returns
        -------
        DescentPathDisplay
            The display itself.
        """
        own = keyword_sets("path_kwargs", path_kwargs, len(self.paths))
        ax = new_axes(_DISPLAY, ax, figsize=(8.4, 4.8))
        self.ax_, self.figure_, self.lines_ = ax, ax.figure, []
        self._draw_contours(n_levels, contour_kwargs or {})
        ax.plot(*self.optimum, marker="*", markersize=13, linestyle="none", color=self._ink)
        styles = curve_styles(ax, [path.curve for path in self.paths])
        for path, style, kwargs in zip(self.paths, styles, own, strict=True):
            look = {
                "label": path.curve.label,
                "linewidth": 1.4,
                "marker": "o",
                "markersize": 3.5 if len(path.points) <= 60 else 1.5,
            }
            (line,) = ax.plot(*path.points.T, **look | style | {"linestyle": "-"} | kwargs)
            self.lines_.append(line)
        starts = np.unique([path.points[0] for path in self.paths], axis=0)
        ax.plot(*starts.T, marker="s", markersize=6, linestyle="none", color=self._ink)
        ax.set_xlim(self.a[0], self.a[-1])
        ax.set_ylim(self.b[0], self.b[-1])
        ax.set_xlabel(self.plane.labels[0])
        ax.set_ylabel(self.plane.labels[1])
        legend_beside(ax, **(legend_kwargs or {}))
        return self

    @property
    def _ink(self) -> str:
        return "white" if is_dark(self.ax_) else "black"

    def _draw_contours(self, n_levels: int, kwargs: Mapping[str, Any]) -> None:
        """Levels a constant factor apart, down to where the paths end."""
        finite = self.losses[np.isfinite(self.losses)]
        highest = float(finite.max())
        if not highest > 0.0:
            return
        levels = highest * np.geomspace(1e-4, 1.0, n_levels)
        style: dict[str, Any] = {
            "cmap": "gray" if is_dark(self.ax_) else "gray_r",
            "linewidths": 0.7,
            "alpha": 0.6,
        }
        from matplotlib.colors import LogNorm

        # Half of the grey scale: the lowest levels stay visible, the highest stay behind the paths.
        style["norm"] = LogNorm(1e-8 * highest, highest)
        self.ax_.contour(self.a, self.b, self.losses, **{"levels": levels} | style | dict(kwargs))

    def animate(
        self, path: str | os.PathLike[str], *, frames: int = 60, interval: int = 100
    ) -> Path:
        """Save the paths as they grow, as one HTML file that needs nothing else.

        Parameters
        ----------
        path : str or path-like
            The file to write.
        frames : int, default=60
            Pictures at most; they are spread evenly over the iterations.
        interval : int, default=100
            Milliseconds between two pictures.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        from matplotlib.animation import FuncAnimation

        if not hasattr(self, "lines_"):
            self.plot()
        longest = max(len(each.points) for each in self.paths)
        shown = np.unique(np.linspace(1, longest, min(frames, longest)).round().astype(int))

        def draw(n_points: int) -> list[Any]:
            for line, each in zip(self.lines_, self.paths, strict=True):
                line.set_data(*each.points[:n_points].T)
            self.ax_.set_title(f"iteration {n_points - 1}", fontsize="medium")
            return list(self.lines_)

        animation = FuncAnimation(self.figure_, draw, frames=shown, interval=interval, repeat=True)
        target = Path(path)
        target.write_text(
            "<!doctype html><meta charset='utf-8'><title>Descent</title>"
            + animation.to_jshtml(default_mode="loop"),
            encoding="utf-8",
        )
        return target


def _fitted_with_path(estimator: Any, X: Any, y: Any) -> Any:
    """A fitted clone that has kept its path, at the end of a Pipeline too."""
    fresh = clone(estimator)
    last = fresh.steps[-1][1] if hasattr(fresh, "steps") else fresh
    last.set_params(store_path="step")
    return fresh.fit(X, y)


def _axes_of_grid(paths: list[np.ndarray], optimum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A grid around the start, the optimum and what lies not too far from them."""
    starts = np.stack([points[0] for points in paths])
    reach = np.abs(starts - optimum).max(axis=0)
    reach = np.where(reach > 0.0, reach, max(reach.max(), 1e-12))
    first = np.concatenate([points[:_FIRST_STEPS] for points in paths])
    every = np.concatenate([*paths, optimum[None]])
    low, high = _within(every, optimum, _FAR * reach)
    lowest, highest = _within(first, optimum, _FARTHEST * reach)
    low, high = np.minimum(low, lowest), np.maximum(high, highest)
    span = np.where(high > low, high - low, reach)
    low, high = low - _MARGIN * span, high + _MARGIN * span
    return np.linspace(low[0], high[0], _GRID), np.linspace(low[1], high[1], _GRID)


def _within(points: np.ndarray, centre: np.ndarray, reach: np.ndarray) -> Any:
    """The smallest and the largest coordinates, no farther than `reach` from the centre."""
    points = points[np.isfinite(points).all(axis=1)]
    points = np.clip(points, centre - reach, centre + reach)
    return points.min(axis=0), points.max(axis=0)
