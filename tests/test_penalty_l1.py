"""L1 and the elastic net: proximal steps, exact zeros, the condition of optimality."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import descent_case, each_case, to_theta
from sklearn.linear_model import ElasticNet, Lasso

from gdregress import LinearRegression, LogisticRegression
from gdregress.solvers import Adam, Nesterov

# Strengths that leave some coefficients and not all.
ALPHA = {"squares": 8.0, "three targets": 0.05, "sigmoid": 0.15, "softmax": 0.05}


def optimality(case, model, alpha, l1_ratio, weight=None):
    """Largest violation of the condition of optimality, relative to the gradient at zero.

    g = -l1 sign(w) where w is not zero, |g| <= l1 where it is, and g = 0 for the intercept.
    """
    textbook = case.textbook(alpha=alpha * (1 - l1_ratio), sample_weight=weight)
    theta = to_theta(model.coef_, model.intercept_)
    g, l1 = textbook.gradient(theta), alpha * l1_ratio
    w, g_w = theta[:-1], g[:-1]
    violation = np.where(w != 0, np.abs(g_w + l1 * np.sign(w)), np.maximum(np.abs(g_w) - l1, 0))
    return max(violation.max(), np.abs(g[-1]).max()) / np.abs(textbook.gradient(0 * theta)).max()


@each_case
@pytest.mark.parametrize("solver", ["gd", "nesterov", Nesterov(restart=False), Nesterov(beta=0.5)])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_condition_of_optimality(name, solver, l1_ratio, weighted):
    case, alpha = descent_case(name), ALPHA[name]
    weight = np.random.default_rng(0).uniform(0.5, 2, len(case.X)) if weighted else None
    # A gap is a difference of losses: a tolerance of a few eps is met by luck or not at all.
    model = case.estimator(
        solver=solver, alpha=alpha, l1_ratio=l1_ratio, tol=1e-14, max_iter=50_000
    ).fit(case.X, case.y, sample_weight=weight)
    assert model.converged_
    assert optimality(case, model, alpha, l1_ratio, weight) < 1e-6
    n_zeros = np.sum(model.coef_ == 0)
    assert 0 < n_zeros < model.coef_.size
    assert np.all(model.intercept_ != 0)  # which is spared


@pytest.mark.parametrize("l1_ratio", [1.0, 0.3])
def test_equals_the_lasso_and_the_elastic_net(l1_ratio):
    case = descent_case("squares")
    theirs = ElasticNet(alpha=8.0, l1_ratio=l1_ratio, tol=1e-14, max_iter=100_000)
    theirs = Lasso(alpha=8.0, tol=1e-14, max_iter=100_000) if l1_ratio == 1 else theirs
    theirs.fit(case.X, case.y)
    model = LinearRegression(alpha=8.0, l1_ratio=l1_ratio, tol=1e-20, max_iter=10_000)
    model.fit(case.X, case.y)
    assert model.solver_ == "nesterov"  # what "auto" takes
    assert_allclose(model.coef_, theirs.coef_, rtol=1e-6, atol=1e-9)
    assert_array_equal(model.coef_ == 0, theirs.coef_ == 0)


def test_columns_that_are_orthogonal_have_a_closed_form():
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.standard_normal((64, 5)))[0] * 8  # X^T X / m = 1
    y = X @ [3.0, -2.0, 0.5, 0.05, 0.0]
    model = LinearRegression(alpha=0.4, l1_ratio=0.5, fit_intercept=False, tol=1e-24).fit(X, y)
    expected = np.array([2.8, -1.8, 0.3, 0, 0]) / 1.2  # soft threshold 0.2, shrinkage 1 + 0.2
    assert_allclose(model.coef_, expected, rtol=0, atol=1e-12)
    assert_array_equal(model.coef_[3:], 0)


@each_case
@pytest.mark.parametrize("solver", ["gd", "nesterov"])
def test_a_penalty_strong_enough_leaves_nothing(name, solver):
    case = descent_case(name)
    model = case.estimator(solver=solver, alpha=1e4, l1_ratio=1.0).fit(case.X, case.y)
    assert_array_equal(model.coef_, 0)
    assert model.converged_


@each_case
def test_the_steps_are_those_of_ista(name):
    case, alpha, l1_ratio = descent_case(name), ALPHA[name], 0.7
    textbook = case.textbook(alpha=alpha * (1 - l1_ratio))
    rate = 0.9 / textbook.largest_eigenvalue()
    theta, threshold = np.zeros((case.X.shape[1] + 1, case.Y.shape[1])), rate * alpha * l1_ratio
    losses = []
    for _ in range(40):
        theta = theta - rate * textbook.gradient(theta)
        theta[:-1] = np.sign(theta[:-1]) * np.maximum(np.abs(theta[:-1]) - threshold, 0)
        losses.append(textbook.loss(theta) + alpha * l1_ratio * np.abs(theta[:-1]).sum())
    params = {"solver": "gd", "learning_rate": rate, "max_iter": 40, "tol": 0}
    model = case.estimator(alpha=alpha, l1_ratio=l1_ratio, **params).fit(case.X, case.y)
    assert_allclose(model.loss_curve_[1:], losses, rtol=1e-10)
    assert_allclose(to_theta(model.coef_, model.intercept_), theta, rtol=1e-8, atol=1e-10)
    assert_array_equal(to_theta(model.coef_, model.intercept_) == 0, theta == 0)


def test_fista_is_faster_than_ista():
    case = descent_case("sigmoid")
    params = {"alpha": 1e-3, "l1_ratio": 1.0, "tol": 1e-8, "max_iter": 50_000}
    ista = LogisticRegression(solver="gd", **params).fit(case.X, case.y)
    fista = LogisticRegression(solver="nesterov", **params).fit(case.X, case.y)
    assert 3 * fista.n_iter_ < ista.n_iter_


@each_case
@pytest.mark.parametrize("solver", ["gd", "nesterov"])
def test_proximal_steps_on_mini_batches(name, solver):
    case, alpha = descent_case(name), ALPHA[name]
    params = {"alpha": alpha, "l1_ratio": 1.0}
    best = case.estimator(solver="nesterov", tol=1e-14, max_iter=20_000, **params)
    best.fit(case.X, case.y)
    model = case.estimator(
        solver=solver, batch_size=32, schedule="inverse_scaling", max_iter=60, tol=0, **params
    )
    model.set_params(random_state=0).fit(case.X, case.y)
    assert np.any(model.coef_ == 0)
    gap = (model.loss_ - best.loss_) / (model.loss_curve_[0] - best.loss_)
    assert 0 <= gap < 0.1


@pytest.mark.parametrize("solver", ["momentum", "adagrad", "rmsprop", "adam", Adam()], ids=str)
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_rules_without_a_proximal_step(estimator, solver):
    model = estimator(solver=solver, alpha=0.1, l1_ratio=0.5)
    with pytest.raises(ValueError, match=r"no proximal step.*solver='gd' or 'nesterov'") as caught:
        model.fit([[0.0], [1.0], [2.0]], [0, 1, 0])
    assert "dam" in str(caught.value) or str(solver) in str(caught.value)
    assert not hasattr(model, "coef_")
    model.set_params(alpha=0.0, max_iter=2, tol=0).fit([[0.0], [1.0], [2.0]], [0, 1, 0])
