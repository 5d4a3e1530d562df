"""Which learning rates plain gradient descent takes on given data, and how long it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from .._base import BaseRegression
from .._linalg import above_rounding
from ..problem.losses import SquaredLoss
from ..problem.margins import margins
from ..problem.moments import CentredFactor
from ..problem.objective import BlockObjective
from ..rows.frame import Frame
from ..solvers.gap import DEFAULT_SHARE, gain
from ._minimum import MAX_PARAMETERS, newton_to_the_end
from ._problem import problem_of, unfitted_problem_of
from ._text import TextTable, number

__all__ = ["LearningRateBounds", "RateBounds", "learning_rate_bounds"]

_MOST_ITERATIONS = 1e15


@dataclass(frozen=True)
class RateBounds:
    """Rates for one form of the columns; see :func:`learning_rate_bounds`.

    Attributes
    ----------
    lambda_max, lambda_min : float
        Largest and smallest eigenvalue of the Hessian; lambda_min is the smallest that is not zero.
    condition : float
        ``lambda_max / lambda_min``.
    safe : float
        ``1 / lambda_max``: what ``learning_rate="auto"`` takes.
    stable_below : float
        ``2 / lambda_max``.
    best : float
        ``2 / (lambda_min + lambda_max)``.
    iterations_safe, iterations_best : float
        Until the loss is within `tol` times the gain of its minimum, from theta = 0.
    """

    lambda_max: float
    lambda_min: float
    condition: float
    safe: float
    stable_below: float
    best: float
    iterations_safe: float
    iterations_best: float


@dataclass(frozen=True, repr=False)
class LearningRateBounds:
    """What :func:`learning_rate_bounds` returns.

    Attributes
    ----------
    as_given, standardized : RateBounds
        For the columns as they are, and with mean 0 and standard deviation 1.
    tol : float
    is_exact : bool
        Whether the iterations are exact, as for least squares, or those of the last part of the
        way.
    """

    as_given: RateBounds
    standardized: RateBounds
    tol: float
    is_exact: bool

    def to_frame(self) -> Any:
        """A pandas DataFrame, one column for each form of the columns."""
        import pandas as pd

        columns = {"as given": vars(self.as_given), "standardized": vars(self.standardized)}
        return pd.DataFrame(columns)

    def text(self) -> str:
        """The rates as plain text."""
        return self._layout().text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self._layout().html()

    def _layout(self) -> TextTable:
        about = "" if self.is_exact else "about "
        quantities = [
            ("largest eigenvalue of the Hessian", "lambda_max"),
            ("smallest eigenvalue", "lambda_min"),
            ("condition number", "condition"),
            ("1 / λ_max, the automatic rate", "safe"),
            ("2 / λ_max, no rate above is stable", "stable_below"),
            ("2 / (λ_min + λ_max), the best rate", "best"),
            (f"{about}iterations to tol={self.tol:g}, 1 / λ_max", "iterations_safe"),
            (f"{about}iterations, best rate", "iterations_best"),
        ]
        rows = []
        for label, name in quantities:
            values = [getattr(part, name) for part in (self.as_given, self.standardized)]
            count = name.startswith("iterations")
            rows.append([label, *(_count(v) if count else number(v) for v in values)])
        return TextTable(
            "Learning rates of gradient descent", ["", "as given", "standardized"], rows
        )


def _count(iterations: float) -> str:
    return f"{iterations:.0f}" if iterations < 1e9 else f"{iterations:.1e}"


def learning_rate_bounds(
    estimator: Any, X: Any, y: Any, sample_weight: Any = None, *, tol: float | None = None
) -> LearningRateBounds:
    """Learning rates for plain gradient descent on all rows, before and after standardising.

    On a quadratic with Hessian H an iteration ``theta - eta grad L`` shrinks the error along the
    eigenvector of lambda_i by ``1 - eta lambda_i``, so that descent

        is stable for               eta < 2 / lambda_max,
        never overshoots for        eta <= 1 / lambda_max,
        is fastest in the end with  eta = 2 / (lambda_min + lambda_max),

    and with ``H = V diag(lambda) V^T``, ``c = V^T (theta_0 - theta*)``, after k iterations

        L(theta_k) - L(theta*) = 1/2 sum_i lambda_i c_i^2 (1 - eta lambda_i)^(2 k).

    Parameters
    ----------
    estimator : estimator
        ``LinearRegression`` or ``LogisticRegression``, fitted or not: loss, `alpha`, `l1_ratio` and
        `fit_intercept` are read; or a fitted Pipeline, which transforms X first.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    sample_weight : array-like of shape (n_samples,), default=None
    tol : float, default=None
        The share of the gain (the loss of the best constant model) that may be left; None takes
        that of the estimator, or 1e-6 where it is 0.

    Returns
    -------
    LearningRateBounds

    Raises
    ------
    ValueError
        For bad data, ``tol <= 0``, or more than 2,500 coefficients.

    Notes
    -----
    Of least squares the Hessian ``1/S [X 1]^T diag(s) [X 1] + alpha (1 - l1_ratio) I`` is the same
    everywhere, and the number of iterations exact. Of the logistic losses lambda_max is that of
    the bound ``c/S [X 1]^T diag(s) [X 1] + ...`` (c = 1/4, 1/2), under which no rate below 2 /
    lambda_max diverges from anywhere, and lambda_min that of the Hessian at the optimum, so that
    the iterations are those of the last part of the way. It is 0 where the classes are separated.
    An L1 part is left out. Sparse columns are divided by their standard deviation, not centred.

    References
    ----------
    Nesterov (2018), "Lectures on Convex Optimization", section 2.1.5; Boyd & Vandenberghe (2004),
    "Convex Optimization", section 9.3.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from gdregress import LinearRegression
    >>> from gdregress.inspection import learning_rate_bounds
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> learning_rate_bounds(LinearRegression(), X[:, [0, 2, 3]], y, tol=1e-4)
    Learning rates of gradient descent
    <BLANKLINE>
                                            as given  standardized
    largest eigenvalue of the Hessian          12245        1.6185
    smallest eigenvalue                     0.016066       0.56332
    condition number                          762161        2.8731
    1 / λ_max, the automatic rate          8.167e-05       0.61787
    2 / λ_max, no rate above is stable    0.00016334        1.2357
    2 / (λ_min + λ_max), the best rate    0.00016334       0.91668
    iterations to tol=0.0001, 1 / λ_max      2682661             6
    iterations, best rate                    2028045             6
    """
    is_new = isinstance(estimator, BaseRegression) and not hasattr(estimator, "coef_")
    problem_on = unfitted_problem_of if is_new else problem_of
    with problem_on(estimator, X, y, sample_weight, caller="learning_rate_bounds") as problem:
        tol = float(tol if tol is not None else problem.model.tol or DEFAULT_SHARE)
        if not tol > 0.0:
            raise ValueError(f"'tol' of learning_rate_bounds must be > 0; got {tol!r}.")
        problem.check_is_known()
        objective = problem.objective
        if objective.shape[0] * objective.shape[1] > MAX_PARAMETERS:
            raise problem.fails(
                f"needs all eigenvalues of the Hessian, and {objective.shape} coefficients are "
                f"more than {MAX_PARAMETERS}",
                "give fewer columns",
            )
        scaler = _Standardized.of(objective)
        bounds = _of_squares if objective.is_quadratic else _of_likelihood
        return LearningRateBounds(
            as_given=bounds(objective, scaler, False, tol),
            standardized=bounds(objective, scaler, True, tol),
            tol=tol,
            is_exact=objective.is_quadratic,
        )


@dataclass(frozen=True)
class _Standardized:
    """The triangle of the centred rows, and the means and deviations of the columns."""

    factor: CentredFactor
    frame: Frame  # of the standardised columns

    @classmethod
    def of(cls, objective: BlockObjective) -> _Standardized:
        frame = objective.frames.exact()
        squares = objective
        if not objective.is_quadratic:
            blocks = objective.blocks
            squares = BlockObjective(
                blocks.with_y(np.zeros((blocks.n_samples, 1))),
                SquaredLoss(),
                objective.penalty,
                1,
                fit_intercept=objective.fit_intercept,
            )
        n_targets = squares.blocks.y.shape[1]
        factor = CentredFactor.from_objective(squares.in_frame(frame), frame, np.zeros(n_targets))
        mean = frame.shift + frame.scale * factor.mean_x
        deviation = np.linalg.norm(factor.root, axis=0) / math.sqrt(factor.total_weight)
        deviation = np.where(deviation > 0.0, deviation, 1.0) * frame.scale
        if not objective.blocks.stores_zeros or not objective.fit_intercept:
            centre = np.zeros_like(mean)
        else:
            centre = mean
        return cls(factor, Frame(centre, deviation))

    def root(self, *, standardized: bool) -> np.ndarray:
        """A with ``A^T A = 1/S [X 1]^T diag(s) [X 1]``, of the columns as given or standardised."""
        factor, frame = self.factor, self.factor.frame
        mean = frame.shift + frame.scale * factor.mean_x
        unit, shift = np.ones_like(mean), np.zeros_like(mean)
        if standardized:
            unit, shift = self.frame.scale, self.frame.shift
        root = np.zeros((len(mean) + 1, len(mean) + 1))
        root[:-1, :-1] = factor.root * (frame.scale / unit) / math.sqrt(factor.total_weight)
        root[-1, :-1], root[-1, -1] = (mean - shift) / unit, 1.0
        return root


def _of_squares(
    objective: BlockObjective, scaler: _Standardized, standardized: bool, tol: float
) -> RateBounds:
    root, factor = scaler.root(standardized=standardized), scaler.factor
    target = np.vstack([factor.q / math.sqrt(factor.total_weight), factor.mean_y + factor.y_shift])
    if not objective.fit_intercept:
        root, target = root[:-1, :-1], target[:-1]
    if objective.penalty.l2:
        ridge = math.sqrt(objective.penalty.l2) * np.eye(len(root))
        if objective.fit_intercept:
            ridge = ridge[:-1]
        root = np.vstack([root, ridge])
        target = np.vstack([target, np.zeros((len(ridge), target.shape[1]))])
    u, sigma, _ = linalg.svd(root, full_matrices=False)
    kept = above_rounding(sigma)
    eigenvalues = sigma[kept] ** 2
    gap = 0.5 * ((u.T @ target)[kept] ** 2).sum(axis=1)
    return _bounds(eigenvalues[0], eigenvalues[-1], eigenvalues, gap, tol * gain(objective))


def _of_likelihood(
    objective: BlockObjective, scaler: _Standardized, standardized: bool, tol: float
) -> RateBounds:
    bound = scaler.root(standardized=standardized)
    if not objective.fit_intercept:
        bound = bound[:-1, :-1]
    n_terms = len(bound)
    gram = objective.loss.curvature_bound * bound.T @ bound
    penalised = n_terms - int(objective.fit_intercept)
    gram[np.arange(penalised), np.arange(penalised)] += objective.penalty.l2
    lambda_max = float(linalg.eigvalsh(gram)[-1])

    # The optimum, in standardised columns with the penalty of either problem.
    frame = scaler.frame
    penalty = objective.penalty if standardized else objective.penalty.in_frame(frame)
    inside = BlockObjective(
        objective.blocks.in_frame(frame),
        objective.loss,
        penalty,
        objective.shape[1],
        fit_intercept=objective.fit_intercept,
    )
    start = np.zeros((objective.shape[0], 1, objective.shape[1]))
    theta = newton_to_the_end(inside, start)
    before, after = float(inside.value(start)[0]), float(inside.value(theta)[0])
    n_outputs = objective.shape[1]
    hessian = inside.hessian(theta)
    kept = np.arange(n_terms * n_outputs)
    values, vectors = linalg.eigh(hessian[np.ix_(kept, kept)])
    half = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    if not standardized:
        half = half @ np.kron(_enter(frame, n_terms), np.eye(n_outputs))
    # Descent from 0 never moves along the gauge, and no gradient has a part there.
    if objective.loss.has_gauge:
        half = half @ np.kron(np.eye(n_terms), linalg.null_space(np.ones((1, n_outputs))))
    sigma = linalg.svdvals(half)
    sigma = sigma[above_rounding(sigma)]
    separated = objective.penalty.l2 == 0.0 and margins(inside, theta)[0] > 0.0
    lambda_min = 0.0 if separated else float(sigma[-1] ** 2)
    gap = np.array([max(before - after, 0.0)])
    return _bounds(lambda_max, lambda_min, np.array([lambda_min]), gap, tol * gain(objective))


def _enter(frame: Frame, n_terms: int) -> np.ndarray:
    """theta of a frame by theta of the original columns, (n_terms, n_terms)."""
    n_features = len(frame.shift)
    unit = np.zeros((n_features + 1, n_terms, 1))
    unit[:n_terms, :, 0] = np.eye(n_terms)
    return frame.enter(unit)[:n_terms, :, 0]


def _bounds(
    lambda_max: float, lambda_min: float, eigenvalues: np.ndarray, gap: np.ndarray, goal: float
) -> RateBounds:
    safe, best = 1.0 / lambda_max, 2.0 / (lambda_min + lambda_max)
    return RateBounds(
        lambda_max=float(lambda_max),
        lambda_min=float(lambda_min),
        condition=float(lambda_max / lambda_min) if lambda_min > 0.0 else math.inf,
        safe=float(safe),
        stable_below=float(2.0 / lambda_max),
        best=float(best),
        iterations_safe=_iterations(safe, eigenvalues, gap, goal),
        iterations_best=_iterations(best, eigenvalues, gap, goal),
    )


def _iterations(rate: float, eigenvalues: np.ndarray, gap: np.ndarray, goal: float) -> float:
    """The least k with ``sum_i gap_i (1 - rate lambda_i)^(2 k) <= goal``."""
    factor = np.abs(1.0 - rate * eigenvalues)

    def left(k: float) -> float:
        return float(gap @ factor ** (2.0 * k))

    if left(0) <= goal:
        return 0.0
    low, high = 0.0, 1.0
    while left(high) > goal:
        low, high = high, 2.0 * high
        if high > _MOST_ITERATIONS:
            return math.inf
    while high - low > max(1.0, 1e-15 * high):
        middle = math.floor(0.5 * (low + high))
        if left(middle) > goal:
            low = middle
        else:
            high = middle
    return high
