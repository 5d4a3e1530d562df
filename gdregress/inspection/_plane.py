"""A plane through parameter space: the loss on it, and where the iterates of a fit project to.

    theta(a, b) = origin + a u + b v

With two coefficients as axes, u and v are unit vectors and the other coordinates stay at the
origin. With the principal directions, u and v are eigenvectors of the Hessian at the optimum, of
its largest and its smallest eigenvalue: on a quadratic, gradient descent moves along each of them
on its own, so that what is drawn is the descent itself and no shadow of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "Plane",
    "coefficient_names",
    "exact_fit",
    "path_of",
]

# Points of a grid that are models of one pass over X.
_MODELS_AT_ONCE = 512


def exact_fit(model: Any, X: Any, y: Any) -> Any:
    """The same problem, solved exactly; by accelerated descent where the penalty has an L1 part."""
    descent = {
        "learning_rate": "auto",
        "schedule": "constant",
        "batch_size": None,
        "early_stopping": False,
        "warm_start": False,
        "store_path": False,
    }
    exact = clone(model).set_params(solver="auto", **descent)
    if model.alpha * model.l1_ratio > 0:
        exact.set_params(tol=1e-14, max_iter=100_000)
    with warnings.catch_warnings():
        # Separable classes have no optimum; the picture is drawn around where the fit stopped.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return exact.fit(X, y)


def path_of(model: Any) -> np.ndarray:
    """The iterates of a fit that kept its path, (n_rows, n_features + 1, n_outputs).

    Those of every single step where ``store_path="step"`` kept them, else one for each iteration.
    """
    history = getattr(model.history_, "steps", model.history_)
    if not hasattr(history, "coef_path"):
        raise ValueError(
            f"{type(model).__name__} kept no path of its coefficients; fit it with store_path=True"
        )
    coef = np.asarray(history.coef_path, dtype=np.float64)
    n_rows, n_features = len(coef), coef.shape[-1]
    coef = coef.reshape(n_rows, -1, n_features).transpose(0, 2, 1)
    intercept = np.asarray(history.intercept_path, dtype=np.float64).reshape(n_rows, 1, -1)
    return np.concatenate([coef, intercept], axis=1)


def coefficient_names(model: Any, rows: list[str]) -> list[str]:
    """A name for each entry of theta in some rows, in the order of ``theta.ravel()``."""
    n_outputs = np.size(model.intercept_)
    if n_outputs == 1:
        return rows
    outputs = model.classes_ if is_classifier(model) else range(n_outputs)
    return [f"{row}, {output}" for row in rows for output in outputs]


@dataclass(frozen=True)
class Plane:
    """``theta(a, b) = origin + a u + b v``; see the module.

    Attributes
    ----------
    origin, u, v : ndarray of shape (n_features + 1, n_outputs)
        u and v are orthonormal.
    labels : tuple of str
        What a and b are.
    offset : tuple of float
        What to add to (a, b) so that the axes read as the coordinates of theta.
    """

    origin: np.ndarray
    u: np.ndarray
    v: np.ndarray
    labels: tuple[str, str]
    offset: tuple[float, float]

    @classmethod
    def of_coordinates(cls, theta: np.ndarray, pair: Sequence[Any], names: list[str]) -> Plane:
        """Two coordinates of theta; the others keep their values there."""
        where = [_coordinate(choice, names, theta.shape[1]) for choice in pair]
        if where[0] == where[1]:
            raise ValueError(f"features must name two different coefficients; got {tuple(pair)!r}")
        axes = []
        for place in where:
            axis = np.zeros_like(theta)
            axis[place] = 1.0
            axes.append(axis)
        first, second = (_label(place, names, theta.shape[1]) for place in where)
        offset = float(theta[where[0]]), float(theta[where[1]])
        return cls(theta, axes[0], axes[1], (first, second), offset)

    @classmethod
    def of_principal_directions(cls, theta: np.ndarray, hessian: np.ndarray) -> Plane:
        """The steepest and the flattest direction in which the Hessian at theta curves at all."""
        values, vectors = np.linalg.eigh(hessian)
        curved = np.flatnonzero(values > len(values) * np.finfo(float).eps * values[-1])
        if len(curved) < 2:
            raise ValueError(
                "the loss curves in fewer than two directions: name two coefficients in features"
            )
        flat, steep = vectors[:, curved[0]], vectors[:, curved[-1]]
        labels = "steepest direction", "flattest direction"
        return cls(theta, steep.reshape(theta.shape), flat.reshape(theta.shape), labels, (0.0, 0.0))

    def project(self, path: np.ndarray) -> np.ndarray:
        """The coordinates (a, b), offset included, of iterates (n, n_features + 1, n_outputs)."""
        away = path - self.origin
        axes = np.stack([self.u, self.v])
        return np.einsum("ijk,ajk->ia", away, axes) + np.array(self.offset)

    def losses(self, objective: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The objective at all pairs of two axes (offset included), shape (len(b), len(a))."""
        A, B = np.meshgrid(a - self.offset[0], b - self.offset[1])
        points = self.at(A.ravel(), B.ravel())
        n_points = points.shape[1]
        values = [
            objective.value(np.ascontiguousarray(points[:, first : first + _MODELS_AT_ONCE]))
            for first in range(0, n_points, _MODELS_AT_ONCE)
        ]
        return np.concatenate(values).reshape(A.shape)

    def at(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """theta of points, as models: shape (n_features + 1, n_points, n_outputs)."""
        moved = a[:, None, None] * self.u + b[:, None, None] * self.v
        return (self.origin + moved).transpose(1, 0, 2)


def _coordinate(choice: Any, names: list[str], n_outputs: int) -> tuple[int, int]:
    """The place in theta of a feature's name or number, "intercept", or a pair with the output."""
    output = 0
    if isinstance(choice, tuple):
        choice, output = choice
    if not 0 <= output < n_outputs:
        raise ValueError(f"features names output {output!r}; there are {n_outputs}")
    if isinstance(choice, str):
        if choice == "intercept":
            return len(names), output
        if choice not in names:
            raise ValueError(f"features names {choice!r}, which is none of {names[:10]}")
        return names.index(choice), output
    if not 0 <= int(choice) < len(names):
        raise ValueError(f"features names column {choice!r}; there are {len(names)}")
    return int(choice), output


def _label(place: tuple[int, int], names: list[str], n_outputs: int) -> str:
    row, output = place
    text = "intercept" if row == len(names) else f"coefficient of {names[row]}"
    return text if n_outputs == 1 else f"{text}, output {output}"
