"""What docs/extending.md adds from outside, checked harder than the page does it.

The classes are those of the page: they are read from it.
"""

import doctest
import re
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize, minimize_scalar
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import HuberRegressor, PoissonRegressor
from sklearn.linear_model import LogisticRegression as ScikitLogisticRegression

from gdregress import LinearRegression, LogisticRegression
from gdregress._ranges import SHARE
from gdregress.callback import Checkpoint, load_checkpoint
from gdregress.history import StopReason
from gdregress.inspection import (
    Refusal,
    coefficient_table,
    learning_rate_bounds,
    optimality_gap,
    prediction_interval,
)
from gdregress.problem.losses import LogLoss, Separate
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet, Penalty
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers import Adam
from gdregress.solvers.descent.rules import RULES, UpdateRule
from gdregress.solvers.descent.schedules import SCHEDULES, Schedule
from gdregress.solvers.descent.stopping import CRITERIA
from gdregress.solvers.gap import OptimalityGap, prove
from gdregress.solvers.newton.choice import Pace
from gdregress.solvers.newton.kept import LazyMetric
from gdregress.solvers.solution import Solution

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
EPS = np.finfo(float).eps


def classes_of_the_page():
    """What the page imports and defines."""
    namespace = {"__name__": "extending"}
    for example in doctest.DocTestParser().get_examples(PAGE.read_text(encoding="utf-8")):
        if example.source.startswith(("import ", "from ", "class ")):
            exec(example.source, namespace)
    return namespace


OURS = classes_of_the_page()
HuberLoss, PoissonLoss, GroupLasso = (OURS[n] for n in ("HuberLoss", "PoissonLoss", "GroupLasso"))
HuberRegression, PoissonRegression = OURS["HuberRegression"], OURS["PoissonRegression"]
GroupLassoRegression, Lion, Settled = (
    OURS[name] for name in ("GroupLassoRegression", "Lion", "Settled")
)


class Quiet(HuberRegression):
    """Huber's loss that does not say how its curvature may fall."""

    def _loss(self):
        return UndeclaredLoss(self.delta)


class UndeclaredLoss(Separate):
    curvature_bound = 1.0

    def __init__(self, delta):
        self._huber = HuberLoss(delta)
        self.value, self.gradient = self._huber.value, self._huber.gradient

    def curvature(self, y, z):
        return self._huber.curvature(y, z)


class StraightLoss(UndeclaredLoss):
    curvature = None
    del curvature  # a loss with a gradient and no more

    def __getattribute__(self, name):
        if name == "curvature":
            raise AttributeError(name)
        return super().__getattribute__(name)


class Straight(HuberRegression):
    def _loss(self):
        return StraightLoss(self.delta)


def table(kind, n_samples=80, n_features=4, n_targets=None, seed=0):
    """Rows for a loss: noisy with outliers, or counts."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features)) + 0.3
    shape = (n_features,) if n_targets is None else (n_features, n_targets)
    z = X @ (0.4 * rng.standard_normal(shape)) + 0.5
    if kind == "poisson":
        return X, rng.poisson(np.exp(z)).astype(float)
    return X, z + rng.standard_t(1.5, z.shape)


KINDS = {"huber": (HuberRegression, HuberLoss(1.35)), "poisson": (PoissonRegression, PoissonLoss())}
each_kind = pytest.mark.parametrize("kind", KINDS)


def objective_of(kind, alpha=0.0, n_targets=1, seed=0, *, fit_intercept=True, **blocks):
    X, y = table(kind, n_targets=n_targets, seed=seed)
    weight = np.random.default_rng(seed + 1).uniform(0.0, 2.0, len(X))
    rows = RowBlocks(X, y, weight, **blocks)
    loss = KINDS[kind][1]
    return BlockObjective(rows, loss, Penalty(alpha), n_targets, fit_intercept=fit_intercept)


def least(kind, X, y, alpha=0.0, sample_weight=None):
    """theta and loss by a general minimiser, the objective written out."""
    weight = np.ones(len(X)) if sample_weight is None else sample_weight

    def value_and_gradient(theta):
        z = X @ theta[:-1] + theta[-1]
        if kind == "poisson":
            value, pull = np.exp(z) - y * z, np.exp(z) - y
        else:
            size = np.abs(z - y)
            value = np.where(size <= 1.35, size**2 / 2, 1.35 * (size - 0.675))
            pull = np.clip(z - y, -1.35, 1.35)
        pull = weight * pull / weight.sum()
        ridge = alpha * theta[:-1] @ theta[:-1] / 2
        gradient = np.append(X.T @ pull + alpha * theta[:-1], pull.sum())
        return weight @ value / weight.sum() + ridge, gradient

    options = {"gtol": 1e-12, "ftol": 1e-16, "maxiter": 10_000, "maxfun": 100_000}
    start = np.zeros(X.shape[1] + 1)
    return minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x


# Losses


@pytest.mark.parametrize("z", [-700.0, -1e-9, 0.0, 0.3, 1.3499, 1.36, 40.0, 700.0])
@pytest.mark.parametrize("y", [0.0, 1.0, 7.0])
def test_losses_in_arbitrary_precision(y, z):
    with mpmath.workdps(600):
        exact, delta = mpmath.mpf(z), mpmath.mpf(1.35)
        size = abs(exact - y)
        huber = size**2 / 2 if size <= delta else delta * (size - delta / 2)
        poisson = mpmath.exp(exact) - y - y * exact + (y * mpmath.log(y) if y else 0)
        slopes = min(max(exact - y, -delta), delta), mpmath.exp(exact) - y
    target, at = np.array([[y]]), np.array([[[z]]])
    for loss, value, slope in zip((HuberLoss(1.35), PoissonLoss()), (huber, poisson), slopes):
        found, gradient = loss.value_and_gradient(target, at)
        assert_allclose(found[0, 0], float(value), rtol=1e-13, atol=1e-13)
        assert_allclose(gradient[0, 0, 0], float(slope), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@each_kind
def test_gradients_and_hessians_by_central_differences(kind, fit_intercept, n_targets):
    objective = objective_of(
        kind, 0.2, n_targets, fit_intercept=fit_intercept, block_rows=7, workers=2
    )
    rng = np.random.default_rng(5)
    theta = 0.3 * rng.standard_normal((5, 1, n_targets))
    if not fit_intercept:
        theta[-1] = 0.0
    at, step = objective.at(theta), 1e-6
    gradient, hessian = np.zeros(theta.size), np.zeros((theta.size, theta.size))
    for j in range(theta.size):
        move = np.zeros(theta.size)
        move[j] = step
        ahead, behind = (objective.at(theta + s * move.reshape(theta.shape)) for s in (1, -1))
        gradient[j] = (ahead.loss[0] - behind.loss[0]) / (2 * step)
        hessian[:, j] = (ahead.gradient - behind.gradient).ravel() / (2 * step)
    free = slice(None) if fit_intercept else slice(-n_targets)
    assert_allclose(at.gradient.ravel()[free], gradient[free], rtol=1e-6, atol=1e-8)
    assert_allclose(at.hessian[free, free], hessian[free, free], rtol=1e-5, atol=1e-7)
    direction = rng.standard_normal(theta.shape)
    if not fit_intercept:
        direction[-1] = 0.0
    product = at.curvature.product(direction).ravel()
    assert_allclose(product[free], (hessian @ direction.ravel())[free], rtol=1e-5, atol=1e-7)


@each_kind
@pytest.mark.parametrize("n_targets", [1, 2])
def test_the_best_constant(kind, n_targets):
    objective = objective_of(kind, n_targets=n_targets)
    y, weight, loss = objective.blocks.y, objective.blocks.sample_weight, KINDS[kind][1]
    expected = 0.0
    for column in y.T:

        def mean(z, column=column):
            return np.average(
                loss.value(column[:, None], np.full((len(y), 1, 1), z))[:, 0], weights=weight
            )

        expected += minimize_scalar(
            mean, bounds=(-10, 10), method="bounded", options={"xatol": 1e-10}
        ).fun
    assert_allclose(objective.reach**2 / 2, expected, rtol=1e-9)


def test_where_a_constant_leaves_nothing():
    X = np.arange(6.0)[:, None]
    for kind, y in [(HuberRegression, np.full(6, 3.0)), (PoissonRegression, np.zeros(6))]:
        at_zero = {HuberRegression: 1.35 * (3.0 - 0.675), PoissonRegression: 1.0}[kind]
        loss = kind()._loss()
        assert_allclose(loss.best_constant(y[:, None], None, True) ** 2 / 2, at_zero)
        told = nullcontext()
        if kind is PoissonRegression:  # the intercept would fall for ever
            told = pytest.warns(ConvergenceWarning, match="nothing proves.*: raise tol")
        with told:
            model = kind(alpha=0.1).fit(X, y)
        assert model.loss_ < 1e-6 * at_zero


# Fits


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "newton"},
        {"solver": "gd", "tol": 1e-13, "max_iter": 20_000},
        {"solver": "nesterov", "tol": 1e-13, "max_iter": 20_000},
        {"solver": "gd", "learning_rate": "line_search", "tol": 1e-13, "max_iter": 20_000},
    ],
    ids=lambda settings: "-".join(map(str, settings.values()))[:20],
)
@each_kind
def test_every_solver_finds_the_optimum(kind, settings, alpha):
    X, y = table(kind)
    weight = np.random.default_rng(3).integers(0, 4, len(X)).astype(float)
    expected = least(kind, X, y, alpha, weight)
    model = KINDS[kind][0](alpha=alpha, **settings).fit(X, y, sample_weight=weight)
    assert model.converged_
    assert_allclose(np.append(model.coef_, model.intercept_), expected, atol=2e-6)
    repeated = np.repeat(np.arange(len(X)), weight.astype(int))
    again = KINDS[kind][0](alpha=alpha, **settings).fit(X[repeated], y[repeated])
    assert_allclose(again.coef_, model.coef_, atol=2e-6)
    assert_allclose(again.loss_, model.loss_, rtol=1e-11)
    thin = KINDS[kind][0](alpha=alpha, **settings).fit(
        sparse.csr_matrix(X), y, sample_weight=weight
    )
    assert_allclose(thin.coef_, model.coef_, atol=2e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_scikit_learns_poisson_regression(alpha):
    X, y = table("poisson", seed=4)
    theirs = PoissonRegressor(alpha=alpha, tol=1e-12, max_iter=10_000).fit(X, y)
    ours = PoissonRegression(alpha=alpha).fit(X, y)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5)


def test_scikit_learns_huber_regression():
    """Theirs finds a scale sigma too: with it, residuals are bent at epsilon sigma."""
    X, y = table("huber", seed=4)
    theirs = HuberRegressor(epsilon=1.35, alpha=0.0, tol=1e-10, max_iter=10_000).fit(X, y)
    ours = HuberRegression().fit(X / theirs.scale_, y / theirs.scale_)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    assert_allclose(ours.intercept_ * theirs.scale_, theirs.intercept_, atol=1e-5)


@each_kind
@pytest.mark.parametrize("solver", ["newton", "nesterov"])
def test_several_targets_are_fitted_as_each_alone(kind, solver):
    X, Y = table(kind, n_targets=3, seed=2)
    settings = {"solver": solver, "alpha": 0.05, "tol": 1e-12, "max_iter": 20_000}
    together = KINDS[kind][0](**settings).fit(X, Y)
    assert together.converged_
    for k in range(3):
        alone = KINDS[kind][0](**settings).fit(X, Y[:, k])
        assert_allclose(together.coef_[k], alone.coef_, atol=5e-6)
        assert_allclose(together.intercept_[k], alone.intercept_, atol=5e-6)


@each_kind
def test_blocks_and_threads_change_no_bit_of_an_order(kind):
    results = [
        objective_of(kind, 0.1, block_rows=7, workers=workers).expansion(np.full((5, 1, 1), 0.1))
        for workers in (1, 2, 3)
    ]
    for other in results[1:]:
        for ours, theirs in zip(results[0], other):
            assert_array_equal(ours, theirs)
    whole = objective_of(kind, 0.1).expansion(np.full((5, 1, 1), 0.1))
    for ours, theirs in zip(results[0], whole):
        assert_allclose(ours, theirs, rtol=1e-13)


def test_huber_arrives_where_all_rows_are_straight_at_the_start():
    """At zero no row is near its target, and the Hessian vanishes."""
    X, y = table("huber")
    y = 100.0 * y + 5000.0
    model = HuberRegression().fit(X, y)
    expected = minimize(
        lambda theta: np.where(
            (size := np.abs(X @ theta[:-1] + theta[-1] - y)) <= 1.35,
            size**2 / 2,
            1.35 * (size - 0.675),
        ).mean(),
        np.append(model.coef_, model.intercept_) + 1e-3,
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 20_000, "maxfev": 20_000},
    ).fun
    assert model.converged_
    assert model.loss_ <= expected * (1 + 1e-9)


@each_kind
def test_mini_batches_come_near(kind):
    X, y = table(kind, n_samples=2000, seed=1)
    best = KINDS[kind][0]().fit(X, y)
    model = KINDS[kind][0](
        solver="gd",
        batch_size=32,
        learning_rate=0.02,
        schedule="inverse_scaling",
        max_iter=60,
        tol=0,
    )
    model.set_params(random_state=0).fit(X, y)
    assert best.loss_ <= model.loss_ < best.loss_ + 0.01 * (model.loss_curve_[0] - best.loss_)


def test_many_counts_begin_on_samples_of_the_rows():
    X, y = table("poisson", n_samples=40_000, n_features=6, seed=1)
    model = PoissonRegression().fit(X, y)
    assert model.converged_
    assert_allclose(np.append(model.coef_, model.intercept_), least("poisson", X, y), atol=2e-5)


@each_kind
def test_streams_and_warm_starts(kind):
    X, y = table(kind)
    model = KINDS[kind][0](solver="gd", learning_rate=0.01)
    for _ in range(3):
        model.partial_fit(X[:40], y[:40]).partial_fit(X[40:], y[40:])
    assert model.n_iter_ == 6
    assert model.loss_curve_[-1] < model.loss_curve_[1]
    model = KINDS[kind][0](warm_start=True).fit(X, y)
    assert model.fit(X, y).n_iter_ <= 2
    with pytest.raises(ValueError, match="1 targets; y has 2"):
        model.fit(X, np.column_stack([y, y]))


# What is proven, and what is not


@each_kind
@pytest.mark.parametrize("alpha", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(5))
def test_the_bound_of_the_gap_holds(kind, seed, alpha):
    objective = objective_of(kind, alpha, seed=seed)
    y, X = objective.blocks.y[:, 0], objective.blocks.X
    best = least(kind, X, y, alpha, objective.blocks.sample_weight)
    lowest = objective.value(best[:, None, None])[0]
    measure, rng = OptimalityGap(objective), np.random.default_rng(seed)
    n_finite = 0
    for size in 10.0 ** -np.arange(0.0, 6.0, 0.25):
        theta = (best + size * rng.standard_normal(5))[:, None, None]
        loss, gradient = objective.value_and_gradient(theta)
        share = measure.share(theta, loss[0], gradient, 1.0)
        proven = measure.proven(theta, loss[0], gradient, share)
        bound = measure.bound(theta, loss[0], gradient, proven)
        assert bound >= (loss[0] - lowest) * (1 - 1e-6) - 1e-12
        n_finite += np.isfinite(proven)
    assert n_finite > 5


@pytest.mark.parametrize("seed", range(60))
def test_nothing_is_proven_falsely_where_rows_lie_at_their_kinks(seed):
    """Rows within a hair of where they become straight: there a Hessian misleads."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((12, 2))
    theta = rng.standard_normal(3)
    hair = 10.0 ** -rng.integers(3, 9)
    residual = rng.choice([-1, 1], 12) * (1.35 + hair * rng.uniform(-1, 1, 12))
    y = X @ theta[:-1] + theta[-1] + residual
    objective = BlockObjective(RowBlocks(X, y[:, None]), HuberLoss(1.35), Penalty(), 1)
    best = HuberRegression(tol=0, max_iter=200).fit(X, y).loss_
    measure = OptimalityGap(objective)
    for _ in range(20):
        at = (theta + 10.0 ** -rng.integers(1, 9) * rng.standard_normal(3))[:, None, None]
        found = Solution(
            theta=at, loss=float(objective.value(at)[0]), solver="gd", reason=StopReason.MAX_ITER
        )
        prove(found, objective, measure, 1e-3)
        assert found.gap >= (found.loss - best) * (1 - 1e-9) - 1e-14
        assert not found.proven or found.loss - best <= 1e-3 * measure.gain


@pytest.mark.parametrize("solver", ["newton", "nesterov"])
def test_what_declares_nothing_proves_nothing(solver):
    X, y = table("huber")
    settings = {"solver": solver, "tol": 1e-9, "max_iter": 300}
    told, quiet = HuberRegression(**settings).fit(X, y), Quiet(**settings)
    with pytest.warns(match="before it converged|UndeclaredLoss, by which a proof is made"):
        quiet.fit(X, y)
    assert told.converged_
    assert not quiet.converged_
    assert_allclose(quiet.coef_, told.coef_, atol=1e-3)
    assert quiet.optimality_gap_ >= quiet.loss_


def test_without_an_optimum_newton_says_that_nothing_is_proven():
    """Counts that are zero wherever x is 1: its coefficient would fall for ever."""
    X, y = table("poisson")
    X[:, 0] = X[:, 1] > 0.3
    y[X[:, 0] == 1.0] = 0.0
    with pytest.warns(ConvergenceWarning, match="nothing proves that this is the optimum") as said:
        model = PoissonRegression().fit(X, y)
    assert not model.converged_
    assert f"optimality_gap_={model.optimality_gap_:.3g}" in str(said[0].message)
    assert "set alpha > 0" in str(said[0].message)
    assert PoissonRegression(alpha=0.01).fit(X, y).converged_


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "newton"},
        {"solver": "gd"},
        {"solver": "nesterov"},
        {"solver": "momentum", "learning_rate": 0.01},
        {"solver": "gd", "batch_size": 8, "learning_rate": 0.01, "tol": 0, "max_iter": 9},
    ],
    ids=str,
)
def test_counts_below_zero_are_no_overflow(settings):
    X, y = table("poisson")
    model = PoissonRegression(**settings).fit(X, y)
    before = model.coef_
    with pytest.raises(
        ValueError, match=rf"PoissonLoss is no number for some y, .* from -1 to {y.max() - 1:g};"
    ):
        model.fit(X, y - 1.0)
    assert model.coef_ is before
    with pytest.raises(ValueError, match="The loss at the start overflows float64"):
        model.fit(X, y, coef_init=np.full(4, 1e4))


def test_a_ridge_proves_it_all_the_same():
    X, y = table("huber", n_samples=30, n_features=300)
    model = Quiet(alpha=0.5, solver="nesterov", max_iter=5000).fit(X, y)
    assert model.converged_
    assert model.optimality_gap_ < 1e-6


def test_an_intercept_that_is_not_at_its_best_proves_nothing():
    """All rows are straight at zero: no Newton step for the intercept, whatever the pull."""
    X, y = table("huber", n_samples=30, n_features=300)
    loss, penalty = UndeclaredLoss(1.35), Penalty(0.5)
    objective = BlockObjective(RowBlocks(X, y[:, None] + 5000.0), loss, penalty, 1)
    at = objective.at(np.zeros((301, 1, 1)))
    measure = OptimalityGap(objective)
    share = measure.proven(at.theta, at.loss[0], at.gradient, 0.0)
    best = Quiet(alpha=0.5).fit(X, y + 5000.0).loss_
    assert share * measure.gain >= at.loss[0] - best


class DoubleLoss(PoissonLoss):
    """Poisson's at twice the linear predictor, so that nu is 2."""

    self_concordance = 2.0

    def value(self, y, z):
        return super().value(y, 2 * z)

    def gradient(self, y, z):
        return 2 * super().gradient(y, 2 * z)

    def curvature(self, y, z):
        return 4 * super().curvature(y, 2 * z)


def test_a_kept_hessian_counts_on_what_the_loss_declares():
    """Of equal rows ``H(theta) = e^(-2 d) M``: a bound by e^-d would certify what does not hold."""
    y = np.random.default_rng(0).poisson(2.0, 20).astype(float)
    blocks = RowBlocks(np.ones((20, 1)), y[:, None])
    objective = BlockObjective(blocks, DoubleLoss(), Penalty(), 1, fit_intercept=False)
    metric, theta = LazyMetric(objective, Pace({"all": 1e9})), np.array([1.0, 0.0])[:, None, None]
    metric.direction(metric.look(theta), 1e-9)
    at = objective.at(theta - np.array([0.7, 0.0])[:, None, None])
    decrement = 0.5 * at.gradient[0, 0, 0] ** 2 / at.hessian[0, 0]
    assert not metric.certifies(at.theta, at.gradient, 0.9 * decrement)
    assert metric.certifies(at.theta, at.gradient, 1.1 * decrement)


@pytest.mark.parametrize("move", [0.05, 0.1, 0.2, 0.3])
def test_a_certificate_counts_on_it_too(move):
    """Two kinds of rows, ``z = b + w`` and ``b - w``: the first move, and the bound is the gap."""
    x, y = np.repeat([1.0, -1.0], 10), np.repeat([2.0, 50.0], 10)
    blocks = RowBlocks(x[:, None], y[:, None])
    objective = BlockObjective(blocks, DoubleLoss(), Penalty(), 1)
    best = 0.5 * np.log([2.0, 50.0])
    theta = np.array([(best[0] + move - best[1]) / 2, (best[0] + move + best[1]) / 2])
    at = objective.at(theta[:, None, None])
    measure = OptimalityGap(objective)
    share = measure.proven(at.theta, at.loss[0], at.gradient, 0.0)
    # e^(2 z) - 2 y z of the first ten, less the same at their best
    gap = 0.5 * 2.0 * (np.exp(2 * move) - 1.0 - 2 * move)
    assert_allclose(share * measure.gain, gap, rtol=1e-9)


def test_a_loss_with_a_gradient_and_no_more():
    X, y = table("huber", n_samples=30, n_features=300)
    with pytest.warns(match="before it converged"):
        Straight(alpha=0.5, solver="nesterov", max_iter=50).fit(X, y)
    X, y = table("huber")
    with pytest.raises(ValueError, match=r"needs the second derivative.*StraightLoss has none"):
        Straight().fit(X, y)
    with pytest.warns(match="before it converged"):
        model = Straight(solver="nesterov", max_iter=500).fit(X, y)
    assert_allclose(model.coef_, HuberRegression().fit(X, y).coef_, atol=1e-5)
    assert not model.converged_


@pytest.mark.parametrize("alpha", [0.02, 0.2])
@each_kind
def test_an_l1_norm_too(kind, alpha):
    X, y = table(kind)
    model = KINDS[kind][0](alpha=alpha, l1_ratio=1.0, tol=1e-12, max_iter=20_000).fit(X, y)
    assert model.solver_ == "nesterov"
    assert model.converged_
    z = X @ model.coef_ + model.intercept_
    pull = X.T @ KINDS[kind][1].gradient(y, z) / len(y)
    zero = model.coef_ == 0.0
    assert (np.abs(pull[zero]) <= alpha * (1 + 1e-9)).all()
    assert_allclose(pull[~zero], -alpha * np.sign(model.coef_[~zero]), atol=1e-6)


# The penalty

GROUPS = np.array([0, 0, 1, 1, 1, 2])
THETA = np.random.default_rng(0).standard_normal((7, 2, 3))
THETA[2:5, 1] = 0.0


def test_the_value_spares_the_intercept():
    sizes = [np.sqrt((THETA[rows] ** 2).sum(axis=(0, 2))) for rows in ([0, 1], [2, 3, 4], [5])]
    expected = 0.7 * sum(np.sqrt(n) * size for n, size in zip((2, 3, 1), sizes))
    penalty, moved = GroupLasso(0.7, GROUPS), THETA.copy()
    moved[-1] += 5.0
    assert_allclose(penalty.value(THETA), expected, rtol=1e-14)
    assert_allclose(penalty.value(moved), expected, rtol=1e-14)
    assert_array_equal(penalty.proximal(moved, 0.3)[-1], moved[-1])


@pytest.mark.parametrize("step", [0.1, 1.0, 10.0])
def test_the_proximal_step_is_the_minimum(step):
    penalty, theta = GroupLasso(0.7, GROUPS), THETA[:, :1]
    found = penalty.proximal(theta, step)
    rng = np.random.default_rng(1)

    def value(u):
        return 0.5 * np.sum((u - theta) ** 2) + step * penalty.value(u)[0]

    for size in (1e-3, 1e-1, 1.0):
        for _ in range(50):
            assert value(found) <= value(found + size * rng.standard_normal(theta.shape))


def test_the_least_subgradient_is_the_least():
    """``|v| = max over directions of the descent``: minus the steepest directional derivative."""
    penalty, rng = GroupLasso(0.4, GROUPS), np.random.default_rng(2)
    theta, gradient = THETA[:, 1:], rng.standard_normal((7, 1, 3))
    least_one, step = penalty.least_subgradient(theta, gradient), 1e-7

    def slope(direction):
        change = penalty.value(theta + step * direction) - penalty.value(theta)
        return np.vdot(gradient, direction) + change[0] / step

    size = np.linalg.norm(least_one)
    assert_allclose(slope(-least_one / size), -size, rtol=1e-5)
    for _ in range(200):
        direction = rng.standard_normal(theta.shape)
        assert slope(direction / np.linalg.norm(direction)) >= -size * (1 + 1e-5)


class Grouped(LinearRegression):
    def _penalty(self):
        return GroupLasso(self.alpha, GROUPS)


class GroupedClasses(LogisticRegression):
    def _penalty(self):
        return GroupLasso(self.alpha, GROUPS)


SETTINGS = [
    {"solver": "nesterov"},
    {"solver": "gd"},
    {"solver": "gd", "learning_rate": "line_search"},
    {"solver": "nesterov", "learning_rate": "line_search"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("n_targets", [None, 2])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_group_lasso_meets_its_condition(settings, n_targets, is_sparse):
    X, y = table("huber", n_features=6, n_targets=n_targets)
    y = np.clip(y, -3, 3)
    rows = sparse.csr_matrix(X) if is_sparse else X
    weight = np.random.default_rng(3).uniform(0.0, 2.0, len(X))
    model = Grouped(alpha=0.15, tol=1e-14, max_iter=20_000, **settings)
    model.fit(rows, y, sample_weight=weight)
    assert model.converged_
    assert 0.0 <= model.optimality_gap_ < 1e-10
    coef = np.atleast_2d(model.coef_).T
    residual = (model.predict(X) - y).reshape(len(X), -1)
    gradient = X.T @ (weight[:, None] * residual) / weight.sum()
    n_left_out = 0
    for group in range(3):
        rows = group == GROUPS
        strength, size = 0.15 * np.sqrt(rows.sum()), np.linalg.norm(coef[rows])
        if size == 0.0:
            n_left_out += 1
            assert np.linalg.norm(gradient[rows]) <= strength * (1 + 1e-9)
        else:
            assert_allclose(gradient[rows], -strength * coef[rows] / size, atol=1e-6)
    assert n_left_out < 3


def test_group_lasso_of_classes():
    X, y = table("huber", n_features=6, n_samples=200)
    labels = np.digitize(y, [0.0, 1.0])
    model = GroupedClasses(alpha=0.03, tol=1e-10, max_iter=5000)
    with pytest.warns(match="before it converged"):  # along the gauge nothing is known
        model.fit(X, labels)
    assert not model.converged_
    z = X @ model.coef_.T + model.intercept_
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    gradient = X.T @ (p - np.eye(3)[labels]) / len(X)
    for group in range(3):
        rows = group == GROUPS
        strength, coef = 0.03 * np.sqrt(rows.sum()), model.coef_.T[rows]
        size = np.linalg.norm(coef)
        if size == 0.0:
            assert np.linalg.norm(gradient[rows]) <= strength * (1 + 1e-9)
        else:
            assert_allclose(gradient[rows], -strength * coef / size, atol=1e-5)


def test_no_gap_is_proven_of_dependent_columns_with_a_rough_penalty():
    """Along (1, -1) of two equal columns the penalty has a slope, and the rows know nothing."""
    X, y = table("huber", n_features=6)
    X[:, 1] = X[:, 0]
    y = np.clip(y, -3, 3)
    model = Grouped(alpha=0.005, tol=0, max_iter=3000).fit(X, y)
    theta = np.append(model.coef_, model.intercept_)[:, None, None]
    theta[:2, 0, 0] += 0.05, -0.05
    loss, penalty = LinearRegression()._loss(), GroupLasso(0.005, GROUPS)
    objective = BlockObjective(RowBlocks(X, y[:, None]), loss, penalty, 1)
    at, measure = objective.at(theta), OptimalityGap(objective)
    gap = at.loss[0] - model.loss_
    tolerance = 0.5 * gap / measure.gain
    found = Solution(theta=theta, loss=at.loss[0], solver="gd", reason=StopReason.MAX_ITER)
    prove(found, objective, measure, tolerance)
    assert measure.share(theta, at.loss[0], at.gradient, tolerance) <= tolerance
    assert found.gap >= gap
    assert not found.proven


# Rules and criteria by name


def test_a_rule_by_name_is_stored_and_goes_on(tmp_path, monkeypatch):
    X, y = table("huber")
    path = tmp_path / "fit.npz"
    own = LinearRegression(solver=Lion(beta1=0.5), max_iter=10, tol=0)
    with pytest.raises(TypeError, match="Checkpoint cannot store"):
        own.set_callbacks(Checkpoint(path)).fit(X, y)
    with pytest.raises(ValueError, match=r"'solver' of LinearRegression must be one of"):
        LinearRegression(solver="lion").fit(X, y)
    monkeypatch.setitem(RULES, "lion", Lion)
    whole = LinearRegression(solver="lion", max_iter=20, tol=0).fit(X, y)
    assert whole.solver_ == "lion"
    own.set_params(solver=Lion()).fit(X, y)
    stored = load_checkpoint(path).set_params(max_iter=20).fit(X, y)
    assert_array_equal(stored.coef_, whole.coef_)
    batches = LogisticRegression(solver="lion", batch_size=8, max_iter=30, tol=0, random_state=0)
    labels = (y > np.median(y)).astype(int)
    batches.fit(X, labels)
    assert batches.loss_ < 0.95 * np.log(2)


class Along(UpdateRule):
    """Plain descent, written anew: its steps go along the gradient, and it says so."""

    has_proximal_step = has_polyak_rate = True

    def update(self, gradient, state):
        return gradient, state


@pytest.mark.parametrize(
    "params",
    [{"batch_size": 8}, {"learning_rate": "line_search"}, {"alpha": 0.1, "l1_ratio": 1.0}],
    ids=str,
)
def test_a_rule_along_the_gradient_has_what_plain_descent_has(params):
    X, y = table("huber")
    params = {"max_iter": 5, "tol": 0, "random_state": 0, **params}
    own, plain = (LinearRegression(solver=rule, **params).fit(X, y) for rule in (Along(), "gd"))
    assert_array_equal(own.coef_, plain.coef_)


def test_a_rule_that_searches_is_named_where_one_is_needed(monkeypatch):
    X, y = table("poisson")
    asked = LinearRegression(solver="adam", learning_rate="line_search")
    unbounded = PoissonRegression(solver="adam")
    for model in (asked, unbounded):
        with pytest.raises(ValueError, match=r"solver='gd' or 'nesterov'[;,]"):
            model.fit(X, y)
    monkeypatch.setitem(RULES, "along", Along)
    for model in (asked, unbounded):
        with pytest.raises(ValueError, match=r"solver='gd', 'nesterov' or 'along'[;,]"):
            model.fit(X, y)


def test_the_steps_of_the_rule():
    X, y = table("huber")
    model = LinearRegression(solver=Lion(), learning_rate=0.01, max_iter=30, tol=0).fit(X, y)
    theta, mean = np.zeros(5), np.zeros(5)
    design = np.column_stack([X, np.ones(len(X))])
    for _ in range(30):
        gradient = design.T @ (design @ theta - y) / len(y)
        theta = theta - 0.01 * np.sign(0.9 * mean + 0.1 * gradient)
        mean = 0.99 * mean + 0.01 * gradient
    assert_allclose(np.append(model.coef_, model.intercept_), theta, atol=1e-12)


def test_a_schedule_by_name(monkeypatch):
    class Halved(Schedule):
        _ranges: ClassVar = {"share": SHARE}

        def __init__(self, share=0.5):
            self.share = share

        def __call__(self, t):
            return 1.0 if t < 3 else self.share

    X, y = table("huber")
    model = LinearRegression(solver="gd", schedule="halved", learning_rate=0.1, max_iter=6, tol=0)
    with pytest.raises(ValueError, match=r"'schedule' of LinearRegression must be one of"):
        model.fit(X, y)
    monkeypatch.setitem(SCHEDULES, "halved", Halved)
    rates = model.fit(X, y).history_["learning_rate"]
    assert_allclose(rates[1:], [0.1] * 3 + [0.05] * 3)
    with pytest.raises(ValueError, match=r"'constant'.*'halved', or a callable; got 'quartered'"):
        model.set_params(schedule="quartered").fit(X, y)
    with pytest.raises(ValueError, match=r"'share' of Halved must be a number in \[0, 1\); got 2"):
        model.set_params(schedule=Halved(share=2)).fit(X, y)


def test_a_criterion_by_name(monkeypatch):
    X, y = table("huber")
    model = LinearRegression(solver="gd", criterion="settled", tol=1e-3)
    with pytest.raises(ValueError, match=r"'criterion' of LinearRegression must be one of"):
        model.fit(X, y)
    monkeypatch.setitem(CRITERIA, "settled", Settled)
    with pytest.warns(match="criterion='settled'.*before it converged"):
        model.set_params(tol=0.01, learning_rate=1e-4).fit(X, y)
    assert model.stop_reason_ == Settled.reason
    assert model.stop_reason_.short == "settled"
    assert not model.converged_
    path = clone(model).set_params(max_iter=model.n_iter_, tol=0, store_path=True).fit(X, y)
    thetas = np.column_stack([path.history_.coef_path, path.history_.intercept_path])
    moves = np.linalg.norm(np.diff(thetas, axis=0), axis=1)
    met = moves <= 0.01 * np.linalg.norm(thetas[1:], axis=1)
    assert met[-1]
    assert not met[:-1].any()


# What does not fit together

X_SMALL, Y_SMALL = table("poisson", n_features=6)
MISMATCHES = [
    (Grouped(solver="adam"), r"'solver'='adam' of Grouped has no proximal step for GroupLasso"),
    (Grouped(solver=Adam()), r"'solver'=Adam\(\) of Grouped has no proximal step for GroupLasso"),
    (Grouped(solver="lstsq"), r"'lstsq' of Grouped.*GroupLasso; use solver='gd' or 'nesterov'\."),
    (
        GroupedClasses(solver="newton"),
        r"'newton' of GroupedClasses.*GroupLasso; use solver='gd' or 'nesterov'\.",
    ),
    (
        LinearRegression(solver="lstsq", alpha=1.0, l1_ratio=0.5),
        r"'lstsq' of LinearRegression has no proximal step for the L1 part of the penalty "
        r"\(alpha=1.0, l1_ratio=0.5\); use solver='gd' or 'nesterov', or l1_ratio=0\.",
    ),
    (
        PoissonRegression(solver="adam"),
        r"'auto' of PoissonRegression with solver='adam' needs a bound.*PoissonLoss declares none",
    ),
    (PoissonRegression(solver="gd", batch_size=8), "needs a bound.*PoissonLoss.*give a number"),
    (PoissonRegression(solver="gd", schedule="cosine"), "needs a bound.*PoissonLoss"),
    (
        type("Unsuited", (HuberRegression,), {"_exact_solvers": ("lstsq",)})(),
        r"needs a loss whose second derivative is constant, and that of HuberLoss is not; use "
        r"solver='gd', 'momentum'",
    ),
]


@pytest.mark.parametrize(("model", "sentence"), MISMATCHES, ids=lambda part: str(part)[:60])
def test_a_mismatch_is_one_sentence(model, sentence):
    y = (Y_SMALL > 1).astype(int) if isinstance(model, LogisticRegression) else Y_SMALL
    if isinstance(model, Grouped | GroupedClasses):
        model.set_params(alpha=0.1)
    with pytest.raises(ValueError, match=sentence) as caught:
        model.fit(X_SMALL, y)
    assert str(caught.value).count("\n") == 0
    assert not hasattr(model, "coef_")


def test_the_one_solver_that_is_left(monkeypatch):
    for name in RULES.keys() - {"nesterov", "adam"}:
        monkeypatch.delitem(RULES, name)
    with pytest.raises(ValueError, match=r"for GroupLasso; use solver='nesterov'\.$"):
        Grouped(solver="lstsq", alpha=0.1).fit(X_SMALL, Y_SMALL)
    monkeypatch.delitem(RULES, "nesterov")
    with pytest.raises(ValueError, match="use solver=an update rule"):
        Grouped(solver="lstsq", alpha=0.1).fit(X_SMALL, Y_SMALL)


@pytest.mark.parametrize(
    "reader", [optimality_gap, coefficient_table, learning_rate_bounds, prediction_interval]
)
def test_readers_say_whom_they_serve(reader):
    more = (X_SMALL,) if reader is prediction_interval else ()
    for model in (PoissonRegression(alpha=0.0), Grouped(alpha=0.1)):
        model.fit(X_SMALL, Y_SMALL)
        arguments = (model, X_SMALL, Y_SMALL, *more)
        with pytest.raises(Refusal, match=r"serves .*(PoissonLoss|GroupLasso)|needs a fit without"):
            reader(*arguments)


def test_the_losses_of_the_package_are_asked_no_more_than_others():
    """A classifier whose loss is derived anew is fitted as its own."""

    class Mine(LogLoss):
        pass

    class Classifier(LogisticRegression):
        def _loss(self):
            return Mine()

        def _penalty(self):
            return ElasticNet(self.alpha, self.l1_ratio)

    X, y = table("huber")
    labels = (y > np.median(y)).astype(int)
    ours = Classifier(alpha=0.01).fit(X, labels)
    theirs = ScikitLogisticRegression(C=1 / (0.01 * len(y)), tol=1e-12, max_iter=10_000)
    assert_allclose(ours.coef_, theirs.fit(X, labels).coef_, atol=1e-5)


def test_the_page_names_what_there_is():
    text = PAGE.read_text(encoding="utf-8")
    for module in re.findall(r"^\| `(gdregress[\w.]+)`", text, re.MULTILINE):
        __import__(module)
