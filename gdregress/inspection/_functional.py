"""The objective of an estimator as a function that one can call: values, gradients, Hessians."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils.validation import check_array

from .._base import BaseRegression
from ..problem.objective import BlockObjective
from ..rows.threads import single_threaded_blas
from ._problem import Problem, problem_of, unfitted_problem_of

__all__ = ["Objective", "objective"]


class Objective:
    """``L(theta)`` of an estimator on given rows, and its derivatives; see :func:`objective`.

    A theta is a pair ``(coef, intercept)`` in the shapes of ``coef_`` and ``intercept_``, or one
    flat vector: ``coef.ravel()``, then ``intercept.ravel()`` (nothing where no intercept is
    fitted). Gradients come in the form in which theta was given, so that optimisers and
    ``scipy.optimize.check_grad`` take vectors and people take pairs.

    Attributes
    ----------
    coef_shape, intercept_shape : tuple
        Shapes of ``coef_`` and ``intercept_``.
    size : int
        Length of a flat theta.
    names : list of str
        What the entries of a flat theta belong to.
    theta_ : ndarray of shape (size,) or None
        The flat theta of the fitted estimator; None where it is not fitted.
    """

    def __init__(self, problem: Any) -> None:
        self._objective: BlockObjective = problem.objective
        self._has_intercept = bool(problem.model.fit_intercept)
        is_fitted = hasattr(problem.model, "coef_")
        n_features, n_outputs = self._objective.shape[0] - 1, self._objective.shape[1]
        model = problem.model
        flat = not is_classifier(model)
        if flat:
            flat = (np.ndim(model.coef_) if is_fitted else model._y_ndim) == 1
        self.coef_shape: tuple[int, ...] = (n_features,) if flat else (n_outputs, n_features)
        self.intercept_shape: tuple[int, ...] = () if flat else (n_outputs,)
        self.size: int = n_outputs * (n_features + int(self._has_intercept))
        self.names: list[str] = self._named(problem, n_outputs)
        self.theta_: NDArray[np.float64] | None = (
            self._flattened(problem.theta) if is_fitted else None
        )

    def __repr__(self) -> str:
        return (
            f"Objective of {self.size} parameters on {self._objective.blocks.n_samples} rows: "
            f"coef of shape {self.coef_shape}, intercept of shape {self.intercept_shape}"
        )

    def value(self, theta: Any, intercept: Any = None) -> float:
        """``L(theta)``, the penalty included."""
        inside, _ = self._inside(theta, intercept)
        with single_threaded_blas(), np.errstate(all="ignore"):
            return float(self._objective.value(inside)[0])

    __call__ = value

    def gradient(self, theta: Any, intercept: Any = None) -> Any:
        """The gradient at theta, in the form of theta.

        With an L1 part, that of the smooth rest: ``|W|_1`` has none where a coefficient is zero.
        """
        inside, is_flat = self._inside(theta, intercept)
        with single_threaded_blas(), np.errstate(all="ignore"):
            gradient = self._objective.value_and_gradient(inside)[1]
        if is_flat:
            return self._flattened(gradient)
        coef = gradient[:-1, 0].T.reshape(self.coef_shape)
        return coef, gradient[-1, 0].reshape(self.intercept_shape)[()]

    def hessian(self, theta: Any, intercept: Any = None) -> np.ndarray:
        """The Hessian at theta, (size, size), in the order of a flat theta."""
        inside, _ = self._inside(theta, intercept)
        with single_threaded_blas(), np.errstate(all="ignore"):
            hessian = self._objective.hessian(inside)
        n_terms, n_outputs = self._objective.shape
        # From (feature, output), the intercept last, to outputs of features, then intercepts.
        order = np.arange(n_terms * n_outputs).reshape(n_terms, n_outputs)
        parts = [order[:-1].T.ravel()] + ([order[-1]] if self._has_intercept else [])
        kept = np.concatenate(parts)
        return hessian[np.ix_(kept, kept)]

    def unflatten(self, theta: Any) -> tuple[np.ndarray, Any]:
        """The pair (coef, intercept) of a flat theta."""
        inside, _ = self._inside(theta, None)
        coef = inside[:-1, 0].T.reshape(self.coef_shape)
        return coef, inside[-1, 0].reshape(self.intercept_shape)[()]

    def flatten(self, coef: Any, intercept: Any = None) -> np.ndarray:
        """The flat theta of a pair; of an intercept that is not fitted nothing remains."""
        return self._flattened(self._inside(coef, intercept if intercept is not None else 0.0)[0])

    def _flattened(self, theta: np.ndarray) -> np.ndarray:
        parts = [theta[:-1, 0].T.ravel()] + ([theta[-1, 0]] if self._has_intercept else [])
        return np.concatenate(parts)

    def _inside(self, theta: Any, intercept: Any) -> tuple[np.ndarray, bool]:
        """theta as the objective takes it, and whether it was given flat."""
        n_terms, n_outputs = self._objective.shape
        if isinstance(theta, tuple):
            if intercept is not None or len(theta) != 2:
                raise ValueError(
                    f"theta of Objective must be a pair (coef, intercept) or one flat vector; got "
                    f"a tuple of {len(theta)}."
                )
            theta, intercept = theta
        theta = check_array(theta, ensure_2d=False, dtype=np.float64, input_name="theta")
        inside = np.zeros((n_terms, 1, n_outputs))
        if intercept is None:
            if theta.shape != (self.size,):
                raise ValueError(
                    f"A flat theta of Objective must have the shape {(self.size,)}, coef.ravel() "
                    f"and then the intercept; got shape {theta.shape}."
                )
            split = n_outputs * (n_terms - 1)
            coef, last = theta[:split], theta[split:]
        else:
            if theta.shape != self.coef_shape:
                raise ValueError(
                    f"coef of Objective must have the shape of coef_, {self.coef_shape}; got shape "
                    f"{theta.shape}."
                )
            last = np.asarray(intercept, dtype=np.float64).ravel()
            if last.size not in {1, n_outputs} or not np.isfinite(last).all():
                raise ValueError(
                    f"intercept of Objective must be finite and have the shape of intercept_, "
                    f"{self.intercept_shape}; got {intercept!r}."
                )
            if not self._has_intercept and last.any():
                raise ValueError(
                    f"intercept of Objective must be 0 with fit_intercept=False; got {intercept!r}."
                )
            coef = theta
        inside[:-1, 0] = coef.reshape(n_outputs, n_terms - 1).T
        if last.size:
            inside[-1, 0] = last
        return inside, intercept is None

    def _named(self, problem: Problem, n_outputs: int) -> list[str]:
        outputs = [""]
        if n_outputs > 1:
            labels = getattr(problem.model, "classes_", np.arange(n_outputs))
            outputs = [f"{label}: " for label in labels]
        names = [output + name for output in outputs for name in problem.names]
        return names + [f"{output}intercept" for output in outputs] * self._has_intercept


def objective(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> Objective:
    """The function that an estimator minimises on X and y, to be called at any theta.

        L(W, b) = 1/S sum_i s_i loss(y_i, W^T x_i + b)
                  + alpha (l1_ratio |W|_1 + (1 - l1_ratio)/2 |W|_2^2)

    Parameters
    ----------
    estimator : estimator
        ``LinearRegression`` or ``LogisticRegression``, fitted or not; or a fitted Pipeline or
        search that ends in one, which transforms X first.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    Objective
        With ``value(theta)``, ``gradient(theta)`` and ``hessian(theta)``.

    Raises
    ------
    ValueError, TypeError
        For bad data, and for a theta of another shape.

    References
    ----------
    Boyd & Vandenberghe (2004), "Convex Optimization", sections 3.1 and 7.1.

    Examples
    --------
    The logistic loss is convex: its Hessian has no negative eigenvalue, wherever one looks.

    >>> import numpy as np
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from gdregress import LogisticRegression
    >>> from gdregress.inspection import objective
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> L = objective(LogisticRegression(), scale(X[:, :5]), y)
    >>> thetas = np.random.default_rng(0).standard_normal((100, L.size))
    >>> all(np.linalg.eigvalsh(L.hessian(theta))[0] > -1e-12 for theta in thetas)
    True

    The gradient is checked by finite differences in one line:

    >>> from scipy.optimize import check_grad
    >>> bool(check_grad(L.value, L.gradient, np.zeros(L.size)) < 1e-6)
    True
    """
    if isinstance(estimator, BaseRegression) and not hasattr(estimator, "coef_"):
        with unfitted_problem_of(estimator, X, y, sample_weight, caller="objective") as problem:
            return Objective(problem)
    with problem_of(estimator, X, y, sample_weight, caller="objective") as problem:
        return Objective(problem)
