"""The gap to the optimum: exact for squares, bounds elsewhere, free of units and means."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from plain import KINDS
from scipy import sparse

from gdregress.problem.class_losses import LogLoss, SoftmaxLoss
from gdregress.problem.kernels import Hessian
from gdregress.problem.losses import SquaredLoss
from gdregress.problem.moments import CentredMoments
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.problem.quadratic import QuadraticObjective
from gdregress.rows.blocks import RowBlocks
from gdregress.rows.kernels import ColumnMoments, LargestLeverage, Moments
from gdregress.solvers.gap import OptimalityGap, gain

PENALTIES = [(0.0, 0.0), (0.1, 0.0), (0.05, 1.0), (0.1, 0.5)]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_penalty = pytest.mark.parametrize(("alpha", "l1_ratio"), PENALTIES)


def drawn(kind, *, alpha=0.0, l1_ratio=0.0, weighted=False, shift=0.0, unit=1.0, seed=0, **params):
    """An objective on correlated columns, and the plain X, y and weights."""
    kind = KINDS[kind]
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((80, 4)) @ rng.standard_normal((4, 4)) * unit + shift
    y = kind.draw(rng, 80)
    weight = rng.uniform(0.5, 2, 80) if weighted else None
    blocks = RowBlocks(X, y, weight)
    penalty = ElasticNet(alpha, l1_ratio)
    return BlockObjective(blocks, kind.loss, penalty, kind.n_outputs, **params)


def optimum(objective, n_iter=20_000):
    """The least loss that FISTA finds in centred columns: nothing of the package's own solvers."""
    X = objective.blocks.X
    mean = X.mean(axis=0) if objective.fit_intercept else 0.0
    weight = objective.blocks.sample_weight
    centred = BlockObjective(
        RowBlocks(X - mean, objective.blocks.y, weight),
        objective.loss,
        objective.penalty,
        objective.shape[1],
        fit_intercept=objective.fit_intercept,
    )
    rate = 1.0 / centred.bound.norm
    theta = point = np.zeros((objective.shape[0], 1, objective.shape[1]))
    t, best, best_theta = 1.0, math.inf, theta
    for _ in range(n_iter):
        _, gradient = centred.value_and_gradient(point)
        previous, theta = theta, centred.penalty.proximal(point - rate * gradient, rate)
        if np.vdot(point - theta, theta - previous) > 0.0:
            t, point = 1.0, theta
        else:
            t, before = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t)), t
            point = theta + (before - 1.0) / t * (theta - previous)
        value = centred.value(theta)[0]
        if value < best:
            best, best_theta = value, theta
        if np.abs(theta - previous).max() <= 1e-15 * np.abs(theta).max():
            break
    theta = best_theta.copy()
    theta[-1, 0] -= mean @ theta[:-1, 0] if objective.fit_intercept else 0.0
    return best, theta


def found(objective, theta, tolerance=math.inf, **limits):
    """Measure and bound of the share at theta."""
    gap = OptimalityGap(objective, **limits)
    loss, gradient = objective.value_and_gradient(theta)
    share = gap.share(theta, loss[0], gradient, tolerance)
    proven = gap.proven(theta, loss[0], gradient, share)
    return share, proven, gap.bound(theta, loss[0], gradient, proven)


def moments_of(objective):
    factor = CentredMoments.of(objective.blocks, objective.fit_intercept).factor()
    return QuadraticObjective(factor, objective.penalty, fit_intercept=objective.fit_intercept)


# Squares


@pytest.mark.parametrize("of_moments", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(("shift", "unit"), [(0.0, 1.0), (1e4, 1.0), (0.0, 1e100), (-3e-8, 1e-12)])
def test_of_squares_it_is_the_gap(of_moments, alpha, weighted, fit_intercept, shift, unit):
    alpha *= unit**2
    objective = drawn(
        "squares", alpha=alpha, weighted=weighted, shift=shift, unit=unit,
        fit_intercept=fit_intercept,
    )  # fmt: skip
    X, y, s = objective.blocks.X, objective.blocks.y, objective.blocks.sample_weight
    s = np.full(80, 1 / 80) if s is None else s / s.sum()
    scaled = (X - (s @ X if fit_intercept else 0.0)) / unit
    A = np.column_stack([scaled, np.full(80, float(fit_intercept))])
    H = A.T @ (s[:, None] * A) + alpha / unit**2 * np.diag([1.0] * 4 + [0.0])
    best = np.linalg.pinv(H) @ A.T @ (s[:, None] * y)
    change = np.random.default_rng(1).standard_normal(best.shape) * 1e-3
    change[-1] *= fit_intercept
    expected = 0.5 * np.sum(change * (H @ change))
    theta = best + change
    theta[:-1] /= unit
    theta[-1] -= (s @ X) @ theta[:-1] if fit_intercept else 0.0

    measured = moments_of(objective) if of_moments else objective
    share, proven, bound = found(measured, theta[:, None, :])
    lost = 1e-16 * (abs(shift) / unit) ** 2  # the digits that X itself has lost
    for value in (share * gain(measured), proven * gain(measured), bound):
        assert_allclose(value, expected, rtol=1e-6 + lost * 1e3)


def test_dependent_columns_neither_hide_nor_feign_a_gap():
    objective = drawn("squares")
    X, y = objective.blocks.X, objective.blocks.y
    doubled = np.column_stack([X, X[:, 0] + X[:, 1], np.full(80, 7.0), np.zeros(80)])
    wide = BlockObjective(RowBlocks(doubled, y), SquaredLoss(), ElasticNet(), 2)
    _, theta = optimum(objective)
    rng = np.random.default_rng(0)
    for size in (0.0, 1e-4):
        theta_wide = np.zeros((8, 1, 2))
        theta_wide[[0, 1, 2, 3, 7]] = theta + size * rng.standard_normal(theta.shape)
        expected = objective.value(theta_wide[[0, 1, 2, 3, 7]]) - objective.value(theta)
        theta_wide[:3] += [[[3.0]], [[3.0]], [[0.0]]]
        theta_wide[4] -= 3.0  # along the null space: nothing changes
        for each in (wide, moments_of(wide)):
            share, _, bound = found(each, theta_wide)
            assert_allclose(share * gain(each), expected, rtol=1e-6, atol=1e-15)
            assert_allclose(bound, expected, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e150])
def test_the_share_is_free_of_the_unit_of_y(scale):
    objective = drawn("squares")
    blocks = RowBlocks(objective.blocks.X, objective.blocks.y * scale)
    scaled = BlockObjective(blocks, SquaredLoss(), ElasticNet(), 2)
    theta = np.random.default_rng(0).standard_normal((5, 1, 2))
    assert_allclose(found(scaled, theta * scale)[0], found(objective, theta)[0], rtol=1e-10)


# Bounds


@each_kind
@each_penalty
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_a_bound_is_no_less_than_the_gap(kind, alpha, l1_ratio, weighted, shift):
    objective = drawn(kind, alpha=alpha, l1_ratio=l1_ratio, weighted=weighted, shift=shift)
    least, best = optimum(objective)
    rng = np.random.default_rng(2)
    noise = 1e-13 * (1 + shift**2)
    for size in (1.0, 1e-2, 1e-4, 0.0):
        step = size * rng.standard_normal(best.shape) * (best != 0.0)
        step[-1] -= shift * step[:-1].sum(axis=0)
        theta = best + step
        true = objective.value(theta)[0] - least
        share, proven, bound = found(objective, theta)
        assert bound >= true - noise
        assert proven * gain(objective) >= true - noise
        if kind != "squares" and l1_ratio == 0.0:
            assert share * gain(objective) <= true + noise  # B exceeds the Hessian: a lower bound
        if size <= 1e-4 and l1_ratio == 0.0:
            assert bound <= 1.2 * true + noise


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
def test_duality_bounds_the_gap_where_columns_outnumber_rows(kind, l1_ratio):
    kind = KINDS[kind]
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((25, 40)) + 1.0, kind.draw(rng, 25)
    penalty = ElasticNet(0.1, l1_ratio)
    objective = BlockObjective(RowBlocks(X, y), kind.loss, penalty, kind.n_outputs)
    least, best = optimum(objective)
    for size in (0.1, 1e-3, 0.0):
        theta = best + size * rng.standard_normal(best.shape)
        true = objective.value(theta)[0] - least
        _, proven, bound = found(objective, theta)
        assert bound >= true - 1e-14
        assert proven * gain(objective) >= true - 1e-14
    assert bound <= 1e-7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_ridge_bounds_the_gap_where_columns_far_outnumber_rows(kind, fit_intercept):
    """No matrix is formed of more than 4 m columns; what columns say one by one is no bound."""
    kind = KINDS[kind]
    rng = np.random.default_rng(3)
    X, y = 3.0 * rng.standard_normal((12, 60)) + 1.0, kind.draw(rng, 12)
    objective = BlockObjective(
        RowBlocks(X, y), kind.loss, ElasticNet(0.01), kind.n_outputs, fit_intercept=fit_intercept
    )
    least, best = optimum(objective)
    for size in (1.0, 0.1, 1e-3, 0.0):
        step = size * rng.standard_normal(best.shape) * X.std(axis=0).min() / 60
        for along in (step, size * best):
            theta = best + along
            theta[-1] *= fit_intercept
            true = objective.value(theta)[0] - least
            _, proven, bound = found(objective, theta)
            assert proven * gain(objective) >= true - 1e-14
            assert bound >= true - 1e-14
    assert bound <= 1e-11


def test_separable_classes_have_no_certificate():
    """Along the direction that separates, the loss falls for ever: only the loss itself bounds."""
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([[0.0], [0.0], [1.0], [1.0]])
    objective = BlockObjective(RowBlocks(X, y), LogLoss(), ElasticNet(), 1)
    theta = np.array([3.0, 0.0])[:, None, None]
    _, proven, bound = found(objective, theta)
    assert proven == math.inf
    assert_allclose(bound, objective.value(theta)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_where_no_matrix_is_formed_columns_are_added_up(kind, make):
    """Of uncorrelated columns the sum is the whole."""
    kind = KINDS[kind]
    rng = np.random.default_rng(4)
    X = np.linalg.qr(rng.standard_normal((60, 5)) - 0.0)[0]
    X = np.linalg.qr(X - X.mean(axis=0))[0] * np.array([1.0, 2, 3, 4, 5]) + 2.0
    y = kind.draw(rng, 60)
    objective = BlockObjective(RowBlocks(make(X), y), kind.loss, ElasticNet(), kind.n_outputs)
    theta = rng.standard_normal((6, 1, kind.n_outputs))
    whole = found(objective, theta)[0]
    assert_allclose(found(objective, theta, most_columns=4)[0], whole, rtol=1e-9)


# The yardstick


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gain_is_the_loss_of_the_best_constant(weighted):
    rng = np.random.default_rng(5)
    X, s = rng.standard_normal((50, 2)), rng.uniform(0.1, 3, 50) if weighted else None
    w = np.full(50, 1 / 50) if s is None else s / s.sum()
    y = rng.standard_normal((50, 2)) + 100
    codes = rng.integers(0, 3, 50)[:, None]
    shares = np.bincount(codes[:, 0], weights=w)
    upper = (codes == 2).astype(float)
    share = w @ upper[:, 0]
    cases = [
        (SquaredLoss(), y, 2, 0.5 * np.sum(w @ (y - w @ y) ** 2), 0.5 * np.sum(w @ y**2)),
        (SoftmaxLoss(), codes, 3, -np.sum(shares * np.log(shares)), np.log(3)),
        (LogLoss(), upper, 1,
         -share * np.log(share) - (1 - share) * np.log(1 - share), np.log(2)),
    ]  # fmt: skip
    for loss, target, n_outputs, expected, without in cases:
        blocks = RowBlocks(X, target, s)
        each = BlockObjective(blocks, loss, ElasticNet(), n_outputs)
        assert_allclose(gain(each), expected, rtol=1e-10)
        bare = BlockObjective(blocks, loss, ElasticNet(), n_outputs, fit_intercept=False)
        assert_allclose(gain(bare), without, rtol=1e-10)
        if loss.is_quadratic:
            assert_allclose(gain(moments_of(each)), expected, rtol=1e-10)
            assert_allclose(gain(moments_of(bare)), without, rtol=1e-10)


def test_a_constant_target_is_measured_by_its_size():
    for value, expected in [(3.7, 0.5 * 3.7**2), (0.0, 0.0)]:
        X, y = np.arange(6.0)[:, None], np.full((6, 1), value)
        objective = BlockObjective(RowBlocks(X, y), SquaredLoss(), ElasticNet(), 1)
        assert_allclose(gain(objective), expected)
        assert_allclose(gain(moments_of(objective)), expected)
        theta = np.array([0.0, value])[:, None, None]
        assert found(objective, theta)[0] <= 1e-25


def test_what_belongs_to_x_is_found_once(passes):
    """The frame and the dependent columns; a second bound makes passes of its own point alone."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((80, 4)) + 1e3
    X[:, 3] = X[:, 0] - X[:, 1]
    codes = rng.integers(0, 2, 80)[:, None]
    objective = BlockObjective(RowBlocks(X, codes), LogLoss(), ElasticNet(), 1)
    gap, seen = OptimalityGap(objective), []
    for intercept in (0.0, 0.01):
        theta = np.zeros((5, 1, 1))
        theta[-1] = intercept
        loss, gradient = objective.value_and_gradient(theta)
        passes.clear()
        gap.proven(theta, loss[0], gradient, 0.0)
        seen.append([kernel for kernel, _ in passes])
    assert {ColumnMoments, Moments} <= set(seen[0])  # of the frame, of the dependent columns
    assert seen[1] == [Hessian, LargestLeverage]
