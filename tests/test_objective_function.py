"""The objective as a function of theta: values, gradients, Hessians, and their order."""

import numpy as np
import pytest
from plain import KINDS, Plain
from problems import overlapping_classes
from scipy import sparse
from scipy.optimize import check_grad, minimize
from sklearn.datasets import load_diabetes, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress.inspection import objective

CASES = ["one target", "two targets", "sigmoid", "softmax"]


def case(name):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3)) + 1.0
    if name == "one target":
        return LinearRegression, X, X[:, 0] + rng.standard_normal(40)
    if name == "two targets":
        return LinearRegression, X, rng.standard_normal((40, 2))
    return LogisticRegression, X, rng.integers(0, 2 if name == "sigmoid" else 3, 40)


def plain(name, X, y, weight, alpha, fit_intercept):
    kind = KINDS[{"sigmoid": "sigmoid", "softmax": "softmax"}.get(name, "squares")]
    y = np.asarray(y).reshape(len(X), -1)
    y = y.astype(float) if name != "softmax" else y
    return Plain(kind, X, y, weight, alpha, fit_intercept=fit_intercept)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_value_gradient_and_hessian_are_those_of_the_formula(name, weighted, fit_intercept):
    estimator, X, y = case(name)
    weight = np.random.default_rng(1).uniform(0.5, 2, 40) if weighted else None
    model = estimator(alpha=0.1, fit_intercept=fit_intercept)
    L = objective(model, X, y, weight)
    reference = plain(name, X, y, weight, 0.1, fit_intercept)
    flat = np.random.default_rng(2).standard_normal(L.size)
    coef, intercept = L.unflatten(flat)
    theta = np.vstack([np.atleast_2d(coef).T, np.atleast_1d(intercept)])
    assert L.value(flat) == pytest.approx(reference.loss(theta), rel=1e-12)
    expected = reference.gradient(theta)
    pair = L.gradient((coef, intercept))
    np.testing.assert_allclose(np.atleast_2d(pair[0]), expected[:-1].T, rtol=1e-10)
    np.testing.assert_allclose(pair[1], expected[-1].reshape(np.shape(pair[1])), rtol=1e-10)
    np.testing.assert_allclose(L.gradient(flat), L.flatten(*pair), rtol=0)
    # The Hessian is the derivative of the gradient, in the order of a flat theta.
    step = 1e-6
    columns = [
        (L.gradient(flat + step * unit) - L.gradient(flat - step * unit)) / (2 * step)
        for unit in np.eye(L.size)
    ]
    np.testing.assert_allclose(L.hessian(flat), np.array(columns).T, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_shapes_are_those_of_the_fitted_attributes(name):
    estimator, X, y = case(name)
    model = estimator().fit(X, y)
    for L in (objective(model, X, y), objective(estimator(), X, y)):
        assert L.coef_shape == model.coef_.shape
        assert L.intercept_shape == np.shape(model.intercept_)
        assert L(model.coef_, model.intercept_) == pytest.approx(model.loss_, rel=1e-12)
        gradient = L.gradient((model.coef_, model.intercept_))
        assert np.shape(gradient[0]) == model.coef_.shape
        assert np.shape(gradient[1]) == np.shape(model.intercept_)
    np.testing.assert_array_equal(
        objective(model, X, y).theta_, L.flatten(model.coef_, model.intercept_)
    )
    assert objective(estimator(), X, y).theta_ is None
    assert len(L.names) == L.size


@pytest.mark.parametrize("name", CASES)
def test_it_serves_scipy(name):
    estimator, X, y = case(name)
    L = objective(estimator(alpha=0.01), X, y)
    start = np.random.default_rng(0).standard_normal(L.size)
    assert check_grad(L.value, L.gradient, start) < 1e-6
    found = minimize(
        L.value, start, jac=L.gradient, hess=L.hessian, method="trust-exact", tol=1e-10
    )
    assert found.fun == pytest.approx(estimator(alpha=0.01, tol=1e-10).fit(X, y).loss_, rel=1e-9)


def test_the_logistic_loss_is_convex_and_squared_error_of_a_sigmoid_is_not():
    X, y = overlapping_classes(2)
    L = objective(LogisticRegression(), X, y)
    thetas = 3 * np.random.default_rng(0).standard_normal((50, L.size))
    assert min(np.linalg.eigvalsh(L.hessian(theta))[0] for theta in thetas) > -1e-12


def test_rows_of_any_kind_and_pipelines():
    X, y = load_iris(return_X_y=True)
    L = objective(LogisticRegression(), X, y)
    theta = np.random.default_rng(0).standard_normal(L.size)
    for rows in (sparse.csr_array(X), np.asfortranarray(X), X.tolist()):
        other = objective(LogisticRegression(), rows, y)
        np.testing.assert_allclose(other.gradient(theta), L.gradient(theta), rtol=1e-12)
        np.testing.assert_allclose(other.hessian(theta), L.hessian(theta), rtol=1e-10, atol=1e-12)
    pipe = make_pipeline(StandardScaler(), LogisticRegression(alpha=0.1)).fit(X, y)
    L = objective(pipe, X, y)
    assert L.value(L.theta_) == pytest.approx(pipe[-1].loss_, rel=1e-12)
    assert np.abs(L.gradient(L.theta_)).max() < 1e-6


def test_a_l1_part_is_in_the_value_and_not_in_the_gradient():
    X, y = load_diabetes(return_X_y=True)
    smooth = objective(LinearRegression(alpha=0.0), X, y)
    L = objective(LinearRegression(alpha=0.5, l1_ratio=1.0), X, y)
    theta = np.random.default_rng(0).standard_normal(L.size)
    assert L(theta) == pytest.approx(smooth(theta) + 0.5 * np.abs(theta[:-1]).sum())
    np.testing.assert_allclose(L.gradient(theta), smooth.gradient(theta))


def test_wrong_thetas_are_told_the_shape():
    X, y = load_diabetes(return_X_y=True)
    L = objective(LinearRegression(), X, y)
    for theta in (np.zeros(10), np.zeros((1, 11)), (np.zeros(10), 0.0, 0.0)):
        with pytest.raises(ValueError, match=r"shape|pair"):
            L.value(theta)
    with pytest.raises(ValueError, match=r"coef of Objective .* \(10,\)"):
        L.value((np.zeros(11), 0.0))
    with pytest.raises(ValueError, match="NaN"):
        L.value(np.full(11, np.nan))
    with pytest.raises(ValueError, match="fit_intercept=False"):
        objective(LinearRegression(fit_intercept=False), X, y).value((np.zeros(10), 1.0))
    with pytest.raises(ValueError, match="contains NaN"):
        objective(LinearRegression(), np.where(X > 0.1, np.nan, X), y)
