"""The losses that docs/extending.md adds from outside, checked harder than the page does it."""

from contextlib import nullcontext

import mpmath
import numpy as np
import pytest
from extended import (
    KINDS,
    HuberLoss,
    HuberRegression,
    PoissonLoss,
    PoissonRegression,
    Quiet,
    Straight,
    UndeclaredLoss,
    each_kind,
    least,
    objective_of,
    table,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize, minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import HuberRegressor, PoissonRegressor

from gdregress.history import StopReason
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import Penalty
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers.gap import OptimalityGap, prove
from gdregress.solvers.newton.choice import Pace
from gdregress.solvers.newton.kept import LazyMetric
from gdregress.solvers.solution import Solution

# By themselves


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
