"""The bound of the gap against the gap itself, from an optimum in extended precision."""

import math
import pickle

import numpy as np
import pytest
from problems import overlapping_classes
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress.inspection import optimality_gap
from gdregress.inspection._gap import Limits, gap_of
from gdregress.inspection._problem import problem_of

LONG = np.longdouble
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::scipy.linalg.LinAlgWarning"
)
PENALTIES = {"none": (0.0, 0.0), "ridge": (0.1, 0.0), "lasso": (0.05, 1.0), "both": (0.05, 0.5)}
KINDS = ["squares", "sigmoid", "softmax"]


class Reference:
    """The objective as its formula has it, and its minimum, in extended precision."""

    def __init__(self, kind, X, y, weight, alpha, l1_ratio, fit_intercept):
        self.kind = kind
        self.X, self.fit_intercept = np.asarray(X, dtype=LONG), fit_intercept
        weight = np.ones(len(X)) if weight is None else weight
        self.weight = np.asarray(weight, dtype=LONG) / np.asarray(weight, dtype=LONG).sum()
        self.l1, self.l2 = LONG(alpha * l1_ratio), LONG(alpha * (1 - l1_ratio))
        labels = np.unique(y)
        self.Y = np.asarray(y, dtype=LONG).reshape(len(X), -1)
        if kind == "softmax":
            self.Y = (np.asarray(y)[:, None] == labels).astype(LONG)

    def loss(self, coef, intercept):
        coef = np.atleast_2d(np.asarray(coef, dtype=LONG))
        Z = self.X @ coef.T + np.asarray(intercept, dtype=LONG)
        if self.kind == "squares":
            rows = ((Z - self.Y) ** 2).sum(axis=1) / 2
        elif self.kind == "sigmoid":
            rows = (np.logaddexp(LONG(0), Z) - self.Y * Z).sum(axis=1)
        else:
            top = Z.max(axis=1, keepdims=True)
            rows = top[:, 0] + np.log(np.exp(Z - top).sum(axis=1)) - (self.Y * Z).sum(axis=1)
        penalty = self.l1 * np.abs(coef).sum() + self.l2 / 2 * (coef**2).sum()
        return self.weight @ rows + penalty

    def _derivatives(self, theta):
        """Gradient and Hessian of the smooth part; theta (p + 1, K), the intercept last."""
        A = np.column_stack([self.X, np.full(len(self.X), LONG(self.fit_intercept))])
        Z = A @ theta
        K = Z.shape[1]
        if self.kind == "squares":
            mean, curvature = Z, np.broadcast_to(np.eye(K, dtype=LONG), (len(Z), K, K))
        elif self.kind == "sigmoid":
            mean = 1 / (1 + np.exp(-Z))
            curvature = (mean * (1 - mean))[:, :, None]
        else:
            mean = np.exp(Z - Z.max(axis=1, keepdims=True))
            mean /= mean.sum(axis=1, keepdims=True)
            curvature = mean[:, :, None] * np.eye(K) - mean[:, :, None] * mean[:, None, :]
        gradient = A.T @ (self.weight[:, None] * (mean - self.Y))
        gradient[:-1] += self.l2 * theta[:-1]
        blocks = np.einsum("i,ia,ib,ikl->akbl", self.weight, A, A, curvature)
        hessian = blocks.reshape(theta.size, theta.size)
        ridge = np.repeat(np.append(np.full(len(theta) - 1, self.l2), 0), K)
        return gradient, hessian + np.diag(ridge)

    def minimum(self, coef, intercept):
        """Without an L1 norm: Newton's method from a fit at the optimum to double precision."""
        theta = np.vstack([np.atleast_2d(coef).T, np.atleast_1d(intercept)]).astype(LONG)
        for _ in range(6):
            gradient, hessian = self._derivatives(theta)
            inverse = np.linalg.pinv(hessian.astype(float), rcond=1e-11).astype(LONG)
            theta = theta - (inverse @ gradient.ravel()).reshape(theta.shape)
        return self.loss(theta[:-1].T, theta[-1])


def drawn(kind, seed, n_samples=60, n_features=4):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features)) @ rng.standard_normal((n_features, n_features))
    X = X + (seed % 2) * 3.0  # columns with a mean, so that the intercept matters
    z = X @ rng.standard_normal(n_features) / 2 + 2 * rng.logistic(size=n_samples)
    if kind == "squares":
        return X, z if seed % 3 else np.column_stack([z, rng.standard_normal(n_samples)])
    cuts = [np.median(z)] if kind == "sigmoid" else np.quantile(z, [0.3, 0.7])
    return X, np.searchsorted(cuts, z)


def estimator_for(kind, **params):
    return (LinearRegression if kind == "squares" else LogisticRegression)(**params)


# 3 kinds x 4 penalties x 4 seeds x 5 lengths of the descent: 240 fits
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_never_below_the_gap_and_near_it(kind, penalty, seed):
    alpha, l1_ratio = PENALTIES[penalty]
    X, y = drawn(kind, seed)
    weight = np.random.default_rng(seed).uniform(0.2, 3.0, len(X)) if seed % 2 else None
    params = {"alpha": alpha, "l1_ratio": l1_ratio, "fit_intercept": seed != 2}
    reference = Reference(kind, X, y, weight, **params)
    if l1_ratio:
        best = estimator_for(kind, solver="nesterov", tol=1e-14, max_iter=20_000, **params)
        best.fit(X, y, weight)
        least = reference.loss(best.coef_, best.intercept_)
    else:
        best = estimator_for(kind, tol=1e-12, **params).fit(X, y, weight)
        least = reference.minimum(best.coef_, best.intercept_)
    for max_iter in [1, 10, 100, 300, 1000]:
        solver = "nesterov" if max_iter > 100 else "gd"
        fit = estimator_for(kind, solver=solver, max_iter=max_iter, tol=0, **params)
        fit.fit(X, y, weight)
        gap = optimality_gap(fit, X, y, weight)
        true = float(reference.loss(fit.coef_, fit.intercept_) - least)
        size = float(least)
        assert gap >= true * (1 - 1e-9) - 1e-18 * size
        if true > 1e-13 * size:
            assert gap <= 3.0 * true


@pytest.mark.parametrize("kind", KINDS)
def test_dependent_columns_have_a_gap_too(kind):
    X, y = drawn(kind, 1)
    X = np.column_stack([X, X[:, 0] - 2 * X[:, 1], np.full(len(X), 7.0)])
    for alpha in [0.0, 0.1]:
        fit = estimator_for(kind, solver="gd", max_iter=300, tol=0, alpha=alpha).fit(X, y)
        # a part that no row sees, which only a penalty minds
        coef = np.atleast_2d(fit.coef_).copy()
        coef[0, [0, 1, 4]] += [0.3, -0.6, -0.3]
        fit.coef_ = coef.reshape(fit.coef_.shape)
        reference = Reference(kind, X, y, None, alpha, 0.0, True)
        best = estimator_for(kind, tol=1e-12, alpha=alpha).fit(X, y)
        least = reference.minimum(best.coef_, best.intercept_)
        true = float(reference.loss(fit.coef_, fit.intercept_) - least)
        assert true * (1 - 1e-9) <= optimality_gap(fit, X, y) <= 1.01 * true


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_more_columns_than_rows(kind, penalty):
    alpha, l1_ratio = PENALTIES[penalty]
    X, y = drawn(kind, 1, n_samples=30, n_features=50)
    params = {"alpha": alpha, "l1_ratio": l1_ratio}
    best = estimator_for(kind, solver="nesterov", tol=1e-14, max_iter=20_000, **params).fit(X, y)
    reference = Reference(kind, X, y, None, alpha, l1_ratio, True)
    least = reference.loss(best.coef_, best.intercept_)
    fit = estimator_for(kind, solver="gd", max_iter=50, tol=0, **params).fit(X, y)
    true = float(reference.loss(fit.coef_, fit.intercept_) - least)
    assert true * (1 - 1e-9) <= optimality_gap(fit, X, y) <= 3.0 * true


def test_ill_conditioned_squares_need_the_triangle():
    # condition number 1e9 of the scaled columns: its square is lost in a Gram matrix
    t = np.linspace(0.0, 1.0, 80)
    X = np.column_stack([t, t + 1e-9 * np.cos(40 * t)])
    y = t + np.cos(40 * t)
    best = LinearRegression().fit(X, y)
    assert best.condition_number_ > 1e8
    fit = LinearRegression().fit(X, y)
    fit.coef_ = np.array([1.0, 0.0])
    fit.intercept_ = float(np.mean(y - t))
    # the gap is that of leaving out the cosine, which only the difference of the columns has
    residual = y - X @ fit.coef_ - fit.intercept_
    true = 0.5 * np.mean(residual**2) - best.loss_
    assert true > 0.1
    assert optimality_gap(fit, X, y) == pytest.approx(true, rel=1e-6)


@pytest.mark.parametrize("unit", [1e-60, 1.0, 1e60])
@pytest.mark.parametrize("kind", KINDS)
def test_units_and_means_play_no_part(kind, unit):
    X, y = drawn(kind, 3)
    fit = estimator_for(kind, solver="gd", max_iter=200, tol=0).fit(X - 3, y)
    gap = optimality_gap(fit, X - 3, y)
    fit.coef_ = fit.coef_ / unit
    assert optimality_gap(fit, (X - 3) * unit, y) == pytest.approx(gap, rel=1e-9)
    moved = 1e6 * unit
    fit.intercept_ = fit.intercept_ - moved * np.sum(fit.coef_, axis=-1)
    assert optimality_gap(fit, (X - 3) * unit + moved, y) == pytest.approx(gap, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_float32_and_a_pipeline(kind):
    X, y = drawn(kind, 1)
    X = np.round(X)
    fit = estimator_for(kind, solver="nesterov", max_iter=200, tol=0).fit(X, y)
    gap = optimality_gap(fit, X, y)
    for rows in [sparse.csr_array(X), sparse.csc_matrix(X), X.astype(int), np.asfortranarray(X)]:
        assert optimality_gap(fit, rows, y) == pytest.approx(gap, rel=1e-9)
    narrow = estimator_for(kind).fit(X.astype(np.float32), y)
    assert optimality_gap(narrow, X.astype(np.float32), y) < 1e-9
    pipe = make_pipeline(StandardScaler(), estimator_for(kind)).fit(X, y)
    assert optimality_gap(pipe, X, y) < 1e-9


def test_separated_classes_have_no_bound_and_the_reason_is_said():
    X, y = np.arange(10.0)[:, None], np.arange(10) > 4
    gap = optimality_gap(LogisticRegression(solver="gd").fit(X, y), X, y)
    assert gap == math.inf
    assert "separated" in gap.method
    dummy = (y & (np.arange(10) % 2 == 0)).astype(float)[:, None]
    gap = optimality_gap(LogisticRegression(solver="gd").fit(dummy, y), dummy, y)
    assert gap == math.inf


def without_matrices(model, X, y):
    with problem_of(model, X, y, None, caller="optimality_gap") as problem:
        return gap_of(problem, Limits(columns=4, parameters=4))


def test_what_is_too_large_for_matrices_says_so():
    X, y = overlapping_classes(2)
    for estimator, target in [(LogisticRegression, y), (LinearRegression, X[:, 0] + y)]:
        gap = without_matrices(estimator().fit(X, target), X, target)
        assert gap == math.inf
        assert "too large" in gap.method
        for l1_ratio in [0.0, 0.5]:
            params = {"alpha": 0.1, "l1_ratio": l1_ratio, "max_iter": 30, "tol": 0}
            fit = estimator(solver="gd", **params).fit(X, target)
            params.update(max_iter=20_000, tol=1e-15)
            best = estimator(solver="nesterov", **params).fit(X, target)
            gap = without_matrices(fit, X, target)
            assert fit.loss_ - best.loss_ <= gap < 1.0


def test_the_bound_is_a_float_that_tells_its_share():
    X, y = load_diabetes(return_X_y=True)
    fit = LinearRegression(solver="gd", max_iter=5, tol=0).fit(X, y)
    gap = optimality_gap(fit, X, y)
    assert gap.share == pytest.approx(float(gap) / (0.5 * y.var()))
    assert "quadratic" in repr(gap)
    again = pickle.loads(pickle.dumps(gap))
    assert (again, again.share, again.method) == (gap, gap.share, gap.method)
