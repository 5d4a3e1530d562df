"""How far a fit is from the optimum, as an upper bound that holds.

**Smooth objectives.** In a basis of X (see ``basis``), with g and H the gradient and the Hessian
at theta and ``lambda^2 = g^T H^-1 g``,

    squares            L(theta) - min L = lambda^2 / 2
    logistic losses    L(theta) - min L <= lambda^2 (a + (1 - a) log(1 - a)) / a^2

where ``a = kappa lambda < 1``, kappa the largest move of a row by a step of unit length in H (Bach
2010, from the third derivative being bounded by the second; derived in ``solvers.gap``). The bound
tends to ``lambda^2 / 2``, the true gap, as a falls. Directions that X does not see have the
curvature ``alpha (1 - l1_ratio)`` and nothing else, and their gap is known exactly.

**Where that says nothing**, as far from the optimum, or with an L1 norm, any theta' may be asked,

    L(theta) - min L = (L(theta) - L(theta')) + (L(theta') - min L),

and theta' is what Newton's method, on the coefficients other than zero, makes of theta: near the
optimum, where the bound of the second part (of L1 the duality gap of ``solvers.gap``) is small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from .._linalg import rank_threshold
from ..problem.basis import Basis
from ..problem.margins import largest_leverage
from ..problem.objective import BlockObjective
from ..problem.penalty import ElasticNet
from ..solvers.gap import OptimalityGap, gain
from ._minimum import MAX_PARAMETERS, active_newton, newton_to_the_end
from ._optimum import Residuals, in_basis, sure_frame
from ._problem import Problem, problem_of

__all__ = ["GapBound", "Limits", "gap_of", "optimality_gap"]

_EPS = np.finfo(np.float64).eps
# Beyond this a = kappa lambda, Newton's method gets nearer before the bound is taken.
_NEAR = 0.1
# Rounding of a gradient in the basis, in units of eps times the size of what is summed.
_NOISE = 16.0
# The mean residual that counts as zero.
_CENTRED = 1e-13


@dataclass(frozen=True)
class Limits:
    """Columns of squares, or rows if they are fewer, and parameters of other losses, up to which
    matrices are factored."""

    columns: int = 4096
    parameters: int = MAX_PARAMETERS


_LIMITS = Limits()


class GapBound(float):
    """An upper bound of ``L(theta) - min L``: a float that knows where it comes from.

    Attributes
    ----------
    method : str
        What proves it.
    share : float
        The bound as a share of what a fit can gain, the loss of the best constant model: the
        number that `tol` is about.
    """

    method: str
    share: float

    def __new__(cls, value: float, method: str, gain: float) -> GapBound:
        self = super().__new__(cls, value)
        self.method = method
        share = value / gain if gain > 0.0 else (0.0 if value == 0.0 else math.inf)
        self.share = float(share)
        return self

    def __repr__(self) -> str:
        return f"{float(self):.3g} ({self.method})"

    def __reduce__(self) -> Any:
        return _rebuilt, (float(self), self.method, self.share)


def _rebuilt(value: float, method: str, share: float) -> GapBound:
    bound = GapBound(value, method, 1.0)
    bound.share = share
    return bound


def optimality_gap(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> GapBound:
    """An upper bound of ``L(theta) - min L`` at the coefficients of a fit.

    It never lies below the gap, whatever made the fit, and near the optimum it is the gap:

    - squares, with or without a ridge: the gap itself, ``1/2 g^T H^-1 g``;
    - logistic losses, with or without a ridge: the bound for self-concordant functions from the
      decrement of Newton's method, at theta or at what Newton's method makes of it;
    - with an L1 norm: the decrease that Newton's method finds on the coefficients other than zero,
      and the duality gap that is left there.

    Parameters
    ----------
    estimator : estimator
        A fitted ``LinearRegression`` or ``LogisticRegression``, or a fitted Pipeline or search that
        ends in one.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    sample_weight : array-like of shape (n_samples,), default=None
        Of the fit, or of other rows: the bound is that of the objective on the rows given.

    Returns
    -------
    GapBound
        A float, in units of the loss, with ``method``, a sentence, and ``share``. Infinite where
        there is no optimum to be away from (separated classes without a penalty), or where no bound
        is known; ``method`` says why.

    Raises
    ------
    ValueError
        For bad data.

    References
    ----------
    Boyd & Vandenberghe (2004), "Convex Optimization", sections 5.5.1 and 9.6; Bach (2010),
    "Self-concordant analysis for logistic regression"; Fercoq, Gramfort & Salmon (2015), "Mind the
    duality gap".

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from gdregress import LinearRegression
    >>> from gdregress.inspection import optimality_gap
    >>> X, y = load_diabetes(return_X_y=True)
    >>> exact = LinearRegression().fit(X, y)
    >>> descent = LinearRegression(solver="gd", max_iter=100, tol=0).fit(scale(X), y)
    >>> gap = optimality_gap(descent, scale(X), y)
    >>> gap
    7.32 (the gap itself, as the loss is quadratic)
    >>> bool(abs(descent.loss_ - exact.loss_ - gap) < 1e-8)
    True
    """
    with problem_of(estimator, X, y, sample_weight, caller="optimality_gap") as problem:
        return gap_of(problem)


def gap_of(problem: Problem, limits: Limits = _LIMITS) -> GapBound:
    """The bound for a fitted problem."""
    problem.check_is_known()
    objective = problem.objective
    value, method = _bound(objective, problem.theta, limits)
    return GapBound(value, method, gain(objective))


def _bound(objective: BlockObjective, theta: np.ndarray, limits: Limits) -> tuple[float, str]:
    if not objective.penalty.is_smooth:
        return _with_l1(objective, theta, limits)
    n_parameters = objective.shape[0] * (1 if objective.is_quadratic else objective.shape[1])
    wide = min(objective.blocks.n_features, objective.blocks.n_samples)
    if (n_parameters if not objective.is_quadratic else wide) > (
        limits.columns if objective.is_quadratic else limits.parameters
    ):
        return _without_matrices(objective, theta, n_parameters)
    smooth = _Smooth.of(objective)
    if objective.is_quadratic:
        return smooth.gap_of_squares(theta), "the gap itself, as the loss is quadratic"
    return smooth.bound_of_logistic(theta)


@dataclass(frozen=True)
class _Smooth:
    """A smooth objective in a basis of X, the ridge as a quadratic form there.

    Coefficients W of the original columns are ``F w_u`` and a rest that no row sees.
    """

    objective: BlockObjective
    inside: BlockObjective  # the loss alone, in the basis
    rows: np.ndarray  # B: w_u = B W, (n_columns, n_features)
    columns: np.ndarray  # F = B^+

    @classmethod
    def of(cls, objective: BlockObjective) -> _Smooth:
        frame = sure_frame(objective)
        basis = Basis.of(objective.in_frame(frame))
        rows = basis.backward * frame.scale
        columns = basis.forward / frame.scale[:, None]
        if basis.n_columns < len(frame.scale):  # W of least norm
            q, r = linalg.qr(rows.T, mode="economic")
            columns = q @ linalg.solve_triangular(r, np.eye(len(r)), trans="T")
        return cls(objective, in_basis(objective, basis, ElasticNet()), rows, columns)

    @property
    def l2(self) -> float:
        return self.objective.penalty.l2

    def unseen(self, theta: np.ndarray) -> float:
        """``l2 / 2 |W - F B W|^2``: the whole gap along directions that X does not see."""
        if self.l2 == 0.0 or len(self.rows) == self.rows.shape[1]:
            return 0.0
        coef = theta[:-1, 0]
        rest = coef - self.columns @ (self.rows @ coef)
        return 0.5 * self.l2 * float(np.vdot(rest, rest))

    def gap_of_squares(self, theta: np.ndarray) -> float:
        inside = self.inside
        theta_u = inside.frame.enter(theta)
        squares, gradient, gram = inside.blocks.reduce(Residuals(), theta_u)
        n_columns = len(self.rows)
        n_terms = n_columns + int(inside.fit_intercept)
        hessian = gram[:n_terms, :n_terms] / inside.total_weight
        pull = gradient[:n_terms] / inside.total_weight
        ridge = self.l2 * (self.columns.T @ self.columns)
        hessian[:n_columns, :n_columns] += ridge
        pull[:n_columns] += ridge @ theta_u[:n_columns, 0]
        root = linalg.cholesky(hessian, lower=True)
        length = float(np.linalg.norm(linalg.solve_triangular(root, pull, lower=True)))
        y, weight = inside.blocks.y, inside.blocks.sample_weight
        size = math.sqrt(float(np.average(y * y, axis=0, weights=weight).sum()))
        size += math.sqrt(float(squares.sum()) / inside.total_weight)
        length += _NOISE * _EPS * math.sqrt(n_terms) * size
        return 0.5 * length**2 + self.unseen(theta)

    def bound_of_logistic(self, theta: np.ndarray) -> tuple[float, str]:
        what = "from the decrement of Newton's method, for self-concordant losses"
        bound, near = self._self_concordant(theta)
        if near:
            return bound + self.unseen(theta), what
        frame = sure_frame(self.objective)
        framed = self.objective.in_frame(frame)
        better = frame.leave(newton_to_the_end(framed, frame.enter(theta)))
        rest, _ = self._self_concordant(better)
        if not rest < math.inf:
            if self.l2 == 0.0:
                return math.inf, (
                    "no bound: the classes are separated, or nearly so, and the loss has no "
                    "optimum that is known to exist"
                )
            return math.inf, "no bound: Newton's method did not come near the optimum"
        loss = float(self.objective.value(theta)[0])
        decrease = loss - float(self.objective.value(better)[0])
        through = max(decrease, 0.0) + rest + self.unseen(better) + _NOISE * _EPS * loss
        bound = min(through, bound + self.unseen(theta))
        return bound, f"what Newton's method still gains, and a bound {what}"

    def _self_concordant(self, theta: np.ndarray) -> tuple[float, bool]:
        """The bound from theta, without `unseen`, and whether ``a`` makes it a tight one."""
        inside, n_outputs = self.inside, self.inside.shape[1]
        theta_u = inside.frame.enter(theta)
        n_columns = len(self.rows)
        at = inside.at(theta_u)
        hessian, gradient = at.hessian.copy(), at.gradient.copy()
        ridge = self.l2 * (self.columns.T @ self.columns)
        gradient[:n_columns, 0] += ridge @ theta_u[:n_columns, 0]
        free = self._free(n_columns)
        coefs = np.arange(n_columns * n_outputs)
        hessian[np.ix_(coefs, coefs)] += np.kron(ridge, np.eye(n_outputs))
        values, vectors = linalg.eigh(hessian[np.ix_(free, free)])
        if not values[0] > 1e3 * rank_threshold(len(values)) * values[-1]:
            return math.inf, False
        root = np.zeros((len(free), theta_u.size))  # W with W^T W = H^-1
        root[:, free] = vectors.T / np.sqrt(values)[:, None]
        length = float(np.linalg.norm(root @ gradient.ravel()))
        size = 1.0 + float(np.abs(theta_u).sum(axis=0).max())
        length += _NOISE * _EPS * math.sqrt(len(free)) * size / math.sqrt(values[0])
        a = length * largest_leverage(inside, root)
        return length**2 * _growth(a), a < _NEAR

    def _free(self, n_columns: int) -> np.ndarray:
        """Parameters that are no gauge: the first class of softmax is fixed where unpenalised."""
        n_outputs = self.inside.shape[1]
        order = np.arange((n_columns + 1) * n_outputs).reshape(-1, n_outputs)
        if not self.inside.fit_intercept:
            order = order[:-1]
        if not self.inside.loss.has_gauge:
            return order.ravel()
        if self.l2 == 0.0:
            return order[:, 1:].ravel()
        return np.concatenate([order[:n_columns].ravel(), order[n_columns:, 1:].ravel()])


def _growth(a: float) -> float:
    """``(a + (1 - a) log(1 - a)) / a^2``, 1/2 at 0; infinite from a = 1 on."""
    if not a < 1.0:
        return math.inf
    if a < 1e-4:  # the difference would cancel
        return 0.5 + a / 6.0 + a * a
    return (a + (1.0 - a) * math.log1p(-a)) / a**2


def _with_l1(objective: BlockObjective, theta: np.ndarray, limits: Limits) -> tuple[float, str]:
    loss = float(objective.value(theta)[0])
    rounding = _NOISE * _EPS * loss  # losses are subtracted
    bound, what = _duality(objective, theta) + rounding, "duality gap"
    if objective.shape[0] * objective.shape[1] <= limits.parameters:
        frame = sure_frame(objective)
        better = frame.leave(active_newton(objective.in_frame(frame), frame.enter(theta)))
        decrease = loss - float(objective.value(better)[0])
        through = max(decrease, 0.0) + _duality(objective, better) + rounding
        if through < bound:
            bound = through
            what = "what Newton's method still gains, and the duality gap there"
    return bound, what


def _duality(objective: BlockObjective, theta: np.ndarray) -> float:
    measure = OptimalityGap(objective)
    loss, gradient = objective.value_and_gradient(theta)
    if objective.is_quadratic:
        return measure.bound(theta, loss[0], gradient, math.inf)
    # Residuals are dual feasible where the intercept is the best for its coefficients.
    at = measure._with_centred_residuals(theta)
    if np.abs(objective.value_and_gradient(at)[1][-1]).max() > _CENTRED:
        return math.inf
    return measure._logistic_duality(at, loss[0])


def _without_matrices(
    objective: BlockObjective, theta: np.ndarray, n_parameters: int
) -> tuple[float, str]:
    """Of many coefficients: strong convexity or duality with a ridge, else nothing."""
    if objective.penalty.l2 > 0.0:
        bound = _duality(objective, theta)
        return bound, "strong convexity" if objective.is_quadratic else "duality gap"
    return (
        math.inf,
        f"no bound: the Hessian of {n_parameters} coefficients is too large to be formed",
    )
