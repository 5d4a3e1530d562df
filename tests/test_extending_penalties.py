"""The penalty that docs/extending.md adds from outside, checked harder than the page does it."""

import numpy as np
import pytest
from extended import GROUPS, Grouped, GroupedClasses, GroupLasso, table
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from gdregress import LinearRegression
from gdregress.history import StopReason
from gdregress.problem.objective import BlockObjective
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers.gap import OptimalityGap, prove
from gdregress.solvers.solution import Solution

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
