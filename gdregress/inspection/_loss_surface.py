"""Two losses of the same sigmoid, as surfaces: why classes are not fitted by least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import is_classifier

from ._drawing import final_estimator, is_dark, pyplot
from ._plane import Plane
from ._problem import fitted_theta, rows_for

__all__ = ["LossSurfaceDisplay"]

_DISPLAY = "LossSurfaceDisplay"
_GRID = 81
# The linear predictor at the edge of the picture, root mean square: deep in the sigmoid's plateaus.
_REACH = 8.0
_TITLES = {
    "cross_entropy": "cross-entropy: convex everywhere",
    "squared_error": "squared error of σ(z): not convex where hatched",
}


class LossSurfaceDisplay:
    """Mean cross-entropy and mean squared error of the sigmoid, over two coefficients.

    With ``p = sigma(z)``, ``z = X W + b`` and y in {0, 1} the two losses of a row are

        cross-entropy:  log(1 + e^z) - y z,    second derivative by z:  p (1 - p) >= 0
        squared error:  1/2 (p - y)^2,         p (1 - p) [p (1 - p) + (p - y)(1 - 2 p)],

    of which the second changes its sign: where a row is far on the wrong side, its squared error is
    flat and curves downwards, and gradient descent has next to no slope to follow (Hastie,
    Tibshirani & Friedman 2009, "The Elements of Statistical Learning", section 4.4). Where the
    Hessian in the plane of the picture has a negative eigenvalue, the surface is hatched.

    Parameters
    ----------
    a, b : ndarray
        The two coefficients on the grid.
    losses : dict of {str: ndarray of shape (len(b), len(a))}
        ``"cross_entropy"`` and ``"squared_error"``, means over the rows, without a penalty.
    smallest_curvature : dict of {str: ndarray}
        The smallest eigenvalue of the Hessian in the plane.
    optimum : tuple of float
        The fitted coefficients.
    labels : tuple of str
        What the coefficients are.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One for each loss. Set by :meth:`plot`.
    figure_ : matplotlib Figure
        Set by :meth:`plot`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from gdregress import LogisticRegression
    >>> from gdregress.inspection import LossSurfaceDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = scale(X)[:, :1]
    >>> display = LossSurfaceDisplay.from_estimator(LogisticRegression().fit(X, y), X, y)
    >>> bool((display.smallest_curvature["cross_entropy"] >= 0).all())
    True
    >>> bool((display.smallest_curvature["squared_error"] < 0).any())
    True
    """

    a: np.ndarray
    b: np.ndarray
    losses: dict[str, np.ndarray]
    optimum: tuple[float, float]
    labels: tuple[str, str]
    axes_: Any
    figure_: Any

    def __init__(
        self,
        a: np.ndarray,
        b: np.ndarray,
        losses: dict[str, np.ndarray],
        smallest_curvature: dict[str, np.ndarray],
        optimum: tuple[float, float],
        labels: tuple[str, str],
    ) -> None:
        self.a, self.b, self.losses = a, b, losses
        self.smallest_curvature = smallest_curvature
        self.optimum, self.labels = optimum, labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        features: Sequence[Any] = ("intercept", 0),
        max_samples: int = 2000,
        **plot_kwargs: Any,
    ) -> LossSurfaceDisplay:
        """Compute both surfaces around a fit and draw them.

        Parameters
        ----------
        estimator : estimator
            A fitted ``LogisticRegression`` of two classes, or a Pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        features : pair, default=("intercept", 0)
            The coefficients on the axes, by name or number; the others keep their fitted values.
        max_samples : int, default=2000
            Rows that are looked at; of more, so many evenly spaced ones.
        **plot_kwargs : dict
            The parameters of :meth:`plot`.

        Returns
        -------
        LossSurfaceDisplay

        Raises
        ------
        TypeError
            If the estimator is no classifier of two classes.
        """
        model = final_estimator(_DISPLAY, estimator)
        if not (is_classifier(model) and len(model.classes_) == 2):
            raise TypeError(
                f"{_DISPLAY} compares two losses of the sigmoid and needs a fitted"
                f" LogisticRegression of two classes; got {type(model).__name__}"
            )
        _, X, names = rows_for(estimator, X, _DISPLAY)
        step = -(-X.shape[0] // max_samples)
        X = X[::step].toarray() if hasattr(X, "toarray") else np.asarray(X, dtype=float)[::step]
        y = (np.asarray(y)[::step] == model.classes_[1]).astype(float)
        theta = fitted_theta(model)[:, 0]
        plane = Plane.of_coordinates(theta, features, names)
        rows = np.column_stack([X, np.ones(len(X))])
        along = np.column_stack([rows @ plane.u[:, 0], rows @ plane.v[:, 0]])
        reach = _REACH / np.maximum(np.sqrt((along**2).mean(axis=0)), 1e-300)
        a = plane.offset[0] + np.linspace(-reach[0], reach[0], _GRID)
        b = plane.offset[1] + np.linspace(-reach[1], reach[1], _GRID)
        losses, curvature = _surfaces(rows @ theta[:, 0], along, y, plane.offset, a, b)
        return cls(a, b, losses, curvature, plane.offset, plane.labels).plot(**plot_kwargs)

    def plot(
        self, *, axes: Any = None, contour_kwargs: Mapping[str, Any] | None = None
    ) -> LossSurfaceDisplay:
        """Draw the two surfaces side by side.

        Parameters
        ----------
        axes : pair of matplotlib Axes, default=None
            Axes to draw into. None: a new figure.
        contour_kwargs : dict, default=None
            Keywords of ``Axes.contourf``.

        Returns
        -------
        LossSurfaceDisplay
            The display itself.
        """
        if axes is None:
            _, axes = pyplot(_DISPLAY).subplots(
                1, 2, figsize=(9.6, 4.4), layout="constrained", sharex=True, sharey=True
            )
        self.axes_ = np.asarray(axes, dtype=object)
        self.figure_ = self.axes_[0].figure
        for ax, (name, title) in zip(self.axes_, _TITLES.items(), strict=True):
            ink = "white" if is_dark(ax) else "black"
            surface = self.losses[name]
            style = {"levels": 24, "cmap": "viridis"} | dict(contour_kwargs or {})
            filled = ax.contourf(self.a, self.b, surface, **style)
            ax.contour(self.a, self.b, surface, levels=24, colors="black", linewidths=0.3)
            bends_down = self.smallest_curvature[name] < 0.0
            if bends_down.any():
                ax.contourf(
                    self.a,
                    self.b,
                    bends_down.astype(float),
                    levels=[0.5, 1.5],
                    colors="none",
                    hatches=["///"],
                )
            ax.plot(*self.optimum, marker="*", markersize=13, color="white", markeredgecolor=ink)
            ax.set_xlabel(self.labels[0])
            ax.set_ylabel(self.labels[1])
            ax.set_title(title, fontsize="medium")
            self.figure_.colorbar(filled, ax=ax, label="mean over the rows")
        return self


def _surfaces(
    z0: np.ndarray,
    along: np.ndarray,
    y: np.ndarray,
    offset: tuple[float, float],
    a: np.ndarray,
    b: np.ndarray,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mean losses, and smallest eigenvalues of their Hessians in the plane, on the grid."""
    losses = {name: np.empty((len(b), len(a))) for name in _TITLES}
    curvature = {name: np.empty((len(b), len(a))) for name in _TITLES}
    # second moments of what a row does along the two axes
    pairs = np.column_stack([along[:, 0] ** 2, along[:, 0] * along[:, 1], along[:, 1] ** 2])
    for i, second in enumerate(b):
        z = z0 + np.outer(a - offset[0], along[:, 0]) + (second - offset[1]) * along[:, 1]
        p = expit(z)
        q = p * expit(-z)  # p (1 - p)
        losses["cross_entropy"][i] = (np.logaddexp(0.0, z) - y * z).mean(axis=1)
        losses["squared_error"][i] = 0.5 * ((p - y) ** 2).mean(axis=1)
        bends = {"cross_entropy": q, "squared_error": q * (q + (p - y) * (1.0 - 2.0 * p))}
        for name, second_derivative in bends.items():
            curvature[name][i] = _smallest_eigenvalue(second_derivative @ pairs / len(y))
    return losses, curvature


def _smallest_eigenvalue(matrix: np.ndarray) -> np.ndarray:
    """Of symmetric 2 x 2 matrices given as rows (h_11, h_12, h_22).

    ``det / largest`` where that is positive: the difference of two equal numbers would be noise.
    """
    mean = 0.5 * (matrix[:, 0] + matrix[:, 2])
    root = np.hypot(0.5 * (matrix[:, 0] - matrix[:, 2]), matrix[:, 1])
    determinant = matrix[:, 0] * matrix[:, 2] - matrix[:, 1] ** 2
    largest = mean + root
    positive = largest > 0.0
    return np.where(positive, determinant / np.where(positive, largest, 1.0), mean - root)
