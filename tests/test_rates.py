"""Learning rates: automatic, by line search, on a schedule."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import descent_case, each_case, to_theta
from scipy.sparse import csr_array
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress.solvers import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    Momentum,
    Nesterov,
    Step,
)

RULES = ["gd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"]
CURVATURE = {"squares": 1.0, "three targets": 1.0, "sigmoid": 0.25, "softmax": 0.5}


# Automatic


@each_case
@pytest.mark.parametrize(
    ("solver", "share"),
    [(Momentum(beta=0.0), 1.0), ("momentum", 0.1), (Momentum(beta=0.5), 0.5), ("nesterov", 0.1)],
)
@pytest.mark.parametrize("batch_size", [1, 16, 100])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_automatic_rate_of_mini_batches(name, solver, share, batch_size, weighted):
    """1/(2 L), the expected smoothness L of Gower et al. (2019), times 1 - beta under momentum."""
    case = descent_case(name)
    m, alpha, c = len(case.X), 0.05, CURVATURE[name]
    s = np.random.default_rng(0).uniform(0.5, 2, m) if weighted else np.ones(m)
    norms = (case.X**2).sum(axis=1) + 1
    worst = np.max(c * m * s / s.sum() * norms + alpha)
    top = case.textbook(alpha=alpha, sample_weight=s).largest_eigenvalue()
    b = batch_size
    smoothness = (m * (b - 1) * top + (m - b) * worst) / (b * (m - 1))
    model = case.estimator(solver=solver, batch_size=b, alpha=alpha, max_iter=1, tol=0)
    model.fit(case.X, case.y, sample_weight=s)
    assert_allclose(model.learning_rate_, share / (2 * smoothness), rtol=1e-8)


def test_without_an_intercept_rows_are_shorter():
    case = descent_case("squares")
    rule = Momentum(beta=0.0)
    model = LinearRegression(solver=rule, batch_size=1, fit_intercept=False, max_iter=1, tol=0)
    model.fit(case.X, case.y)
    assert_allclose(model.learning_rate_, 0.5 / (case.X**2).sum(axis=1).max(), rtol=1e-12)


@each_case
@pytest.mark.parametrize("batch_size", [1, 16])
def test_plain_descent_on_mini_batches_takes_polyak_rates(name, batch_size):
    """min over the last batches of f / g^T P g, at most 3 / (2 c), times (1 + epochs)^(-1/4).

    The last are those of this window and of the one before, of 8, 16, 32, ... batches. Of columns
    whose mean square and ridge, 2 (s^2 + alpha / c), are 1 no units are better: there P is 1 in the
    first epoch. For good the rate falls where gradients disagree with the steps before.
    """
    case, alpha, c = descent_case(name), 0.05, CURVATURE[name]
    size = np.sqrt(0.5 - alpha / c)
    case = case._replace(X=size * StandardScaler().fit_transform(case.X))
    n_steps = -(-len(case.X) // batch_size)
    model = case.estimator(solver="gd", batch_size=batch_size, alpha=alpha, max_iter=3, tol=0)
    model.set_params(store_path="step", random_state=0).fit(case.X, case.y)
    assert_allclose(model.learning_rate_, 1.5 / c, rtol=1e-12)
    steps = model.history_.steps
    time, rates = np.arange(3 * n_steps) / n_steps, steps["learning_rate"][1:]
    directions = directions_of(steps, rates)
    gradients = gradients_of(directions, metrics_of(case, model, alpha))
    assert_allclose(np.linalg.norm(gradients, axis=1), steps["gradient_norm"][1:], rtol=1e-5)
    polyak = steps["loss"][1:] / np.sum(gradients * directions, axis=1)
    begins = [0, 0, *(2 ** np.arange(4, 20) - 8)]
    # What was said of other coordinates is forgotten.
    anew = n_steps if case.Y.shape[1] == 1 else 0
    lowest = np.empty(3 * n_steps)
    for before, begin, end in zip(begins, begins[1:], begins[2:]):
        for k in range(begin, min(end, len(lowest))):
            since = max(before, anew) if k >= anew else before
            lowest[k] = min(model.learning_rate_, polyak[since : k + 1].min())
    settled = falls_to(gradients, directions, [*begins, anew], n_steps)
    assert_allclose(rates, settled * lowest * (1 + time) ** -0.25, rtol=1e-5)
    assert batch_size > 1 or lowest.min() < 0.9 * model.learning_rate_
    assert batch_size > 1 or c == 1.0 or settled[-1] < 1.0
    # No batch is smoother than its roughest row allows.
    worst = np.max(c * ((case.X**2).sum(axis=1) + 1) + alpha)
    assert lowest[:n_steps].min() >= 0.5 / worst


def directions_of(steps, rates):
    """The steps along the iterates, of which the record has the means, with late ones heavy."""
    means = np.column_stack([steps.coef_path.reshape(len(rates) + 1, -1), steps.intercept_path])
    weights = 4.0 / (np.arange(1, len(rates) + 1) + 3.0)
    iterates = means.copy()
    iterates[1:] = means[:-1] + np.diff(means, axis=0) / weights[:, None]
    return -np.diff(iterates, axis=0) / rates[:, None]


def metrics_of(case, model, alpha):
    """The inverse of P in every epoch: of one output, from the second on, the Hessian at the mean
    that the first epochs, 1 or 2 of them, have ended with, towards its diagonal by the share of it
    that is chance; times the rate, by the share of a Newton step that it is."""
    n_steps, m, p = model.history_["step"][1], *case.X.shape
    share_of_newton = min(m / n_steps / (m / n_steps + p), 8 / n_steps)
    A = np.column_stack([case.X, np.ones(len(case.X))])
    if case.Y.shape[1] > 1:
        return [np.eye(case.Y.shape[1] * A.shape[1])] * 3
    path, found = model.history_, [np.eye(A.shape[1])]
    for coef, intercept in zip(path.coef_path[1:3], path.intercept_path[1:3], strict=True):
        z = A @ np.append(coef, intercept)
        curvature = expit(z) * expit(-z) if hasattr(model, "classes_") else np.ones(len(z))
        ridge = alpha * np.append(np.ones(A.shape[1] - 1), 0.0)
        hessian = A.T @ (curvature[:, None] * A) / len(A)
        least = 0.5 * curvature.mean() * np.append(np.mean(case.X**2, axis=0), 0.0)
        share = curvature.sum() ** 2 / np.sum(curvature**2)
        share = share / (share + case.X.shape[1])
        metric = share * hessian
        np.fill_diagonal(metric, np.maximum(hessian.diagonal(), least) + ridge)
        found.append(metric * model.learning_rate_ / share_of_newton)
    return found


def gradients_of(directions, metrics):
    """What the steps of three epochs are the directions of: the inverse of P times them."""
    epochs = np.split(directions, 3)
    return np.vstack([each @ metric for each, metric in zip(epochs, metrics, strict=True)])


def falls_to(gradients, directions, begins, n_steps):
    """By 0.7 at every 16th batch at which gradients disagree with the steps before by two standard
    deviations, over the batches since it fell or a window began; more than batches do that share
    no row with one another."""
    settled, factor, products = [1.0], 1.0, []
    for k in range(1, len(gradients)):
        products = [] if k in begins else products
        apart = gradients[k] @ directions[k] / (n_steps - 1)
        products = [*products, gradients[k] @ directions[k - 1] + apart]
        if k % 16 == 0 and np.sum(products) < -2.0 * np.linalg.norm(products):
            factor, products = 0.7 * factor, []
        settled.append(factor)
    return settled


@pytest.mark.parametrize(("batch_size", "n_epochs"), [(16, 20), (32, 20), (256, 40)])
@pytest.mark.parametrize("make", [np.asarray, csr_array])
def test_columns_that_depend_on_one_another_do_not_slow_later_epochs(batch_size, n_epochs, make):
    """Radius, perimeter and area of a cell are nearly one thing: in units of the columns alone
    fifty epochs end at 4 % of what there is to gain; and three long steps an epoch remember for
    eight of them how short they had to be in these units."""
    X, y = load_breast_cancer(return_X_y=True)
    alpha = 1.0 / len(y)
    model = LogisticRegression(solver="gd", batch_size=batch_size, alpha=alpha, tol=0)
    model.set_params(max_iter=n_epochs)
    model.set_params(random_state=0).fit(make(X), y)
    best = LogisticRegression(alpha=alpha).fit(X, y).loss_
    constant = LogisticRegression().fit(np.zeros((len(y), 1)), y).loss_
    assert model.loss_ - best < 0.01 * (constant - best)


@pytest.mark.parametrize("loss", ["squares", "sigmoid"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_metric_of_later_epochs_knows_no_units(loss, weighted):
    """Nor means of the columns, nor their order in memory."""
    case = descent_case(loss)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(case.X)) if weighted else None
    X, unit = case.X + 5.0, 10.0 ** np.arange(-4, case.X.shape[1] - 4)
    model = case.estimator(solver="gd", batch_size=32, max_iter=4, tol=0, random_state=0)
    expected = model.fit(X, case.y, sample_weight=weight).coef_
    other = np.asfortranarray((X + 100.0) * unit)
    found = model.fit(other, case.y, sample_weight=weight).coef_ * unit
    assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.max(np.abs(expected)))


@pytest.mark.parametrize("make", [np.asarray, csr_array])
@pytest.mark.parametrize(("batch_size", "share"), [(32, 0.005), (256, 0.0025)])
def test_one_epoch_of_mini_batches_comes_close(batch_size, share, make):
    """Many rows, two classes that overlap, columns of any unit."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 20)) * (rng.random((20_000, 20)) < 0.3)
    y = (X @ rng.standard_normal(20) + rng.logistic(size=20_000) > 0.0).astype(int)
    X *= 10.0 ** rng.uniform(-3, 4, 20)
    model = LogisticRegression(solver="gd", batch_size=batch_size, max_iter=1, tol=0)
    losses = model.set_params(random_state=0).fit(make(X), y).loss_curve_
    best = LogisticRegression().fit(make(X), y).loss_
    assert losses[1] - best < share * (losses[0] - best)


def test_batches_that_share_no_row_are_not_taken_for_noise_around_the_optimum():
    """Of many columns and few batches: what one asks for the next ones take back, at any rate."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 1000)) / np.sqrt(1000)
    y = (3.0 * X @ rng.standard_normal(1000) + rng.logistic(size=2000) > 0.0).astype(int)
    model = LogisticRegression(solver="gd", batch_size=64, alpha=1e-3, max_iter=20, tol=0)
    losses = model.set_params(random_state=0).fit(X, y).loss_curve_
    best = LogisticRegression(alpha=1e-3).fit(X, y).loss_
    assert losses[-1] - best < 0.008 * (losses[0] - best)


@pytest.mark.parametrize("unit", [1e-160, 1e-170])
def test_losses_without_digits_bound_no_rate(unit):
    """The squares of such targets underflow; the coefficients come out as in other units."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.1
    model = LinearRegression(solver="gd", batch_size=1, tol=0, max_iter=20, random_state=0)
    assert_allclose(model.fit(X, unit * y).coef_ / unit, [1.0, -2.0, 0.5], rtol=1e-6)


def test_a_polyak_rate_whose_factors_leave_float64():
    """A column near 1e140 makes 2 / lambda, a row without it a square, and their product is 0."""
    X = np.diag([1e140, 1e-30, 1e-30, 1e-30])
    y = np.array([0, 1, 0, 1])
    model = LogisticRegression(
        solver="gd", batch_size=1, fit_intercept=False, max_iter=3, tol=0, random_state=0
    )
    model.fit(X, y)
    assert model.loss_ < np.log(2)
    assert model.coef_[0, 0] < 0.0


def test_the_mean_of_its_iterates_favours_late_ones():
    """Every row is the same, so that the order of the batches plays no part."""
    x, y, theta, mean, lowest = np.array([2.0, 1.0]), 3.0, np.zeros(2), np.zeros(2), 2 / 5
    for k in range(8):
        residual = theta @ x - y
        g = residual * x
        lowest = min(lowest, residual**2 / 2 / (g @ g))
        theta = theta - lowest * (1 + k / 4) ** -0.25 * g
        mean += 4 / (k + 1 + 3) * (theta - mean)
    model = LinearRegression(solver="gd", batch_size=5, max_iter=2, tol=0)
    model.fit(np.full((20, 1), 2.0), np.full(20, y))
    assert_allclose(np.append(model.coef_, model.intercept_), mean, rtol=1e-12)


@pytest.mark.parametrize("batch_size", [32, 256])
def test_where_targets_are_noise_mini_batches_settle(batch_size):
    """At a constant rate they end ten times as far from the optimum as they began."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 10)), rng.standard_normal(2000)
    exact = LinearRegression().fit(X, y)
    model = LinearRegression(
        solver="gd", batch_size=batch_size, max_iter=30, tol=0, random_state=0
    ).fit(X, y)
    gaps = model.loss_curve_ - exact.loss_
    assert gaps[-1] < 0.05 * gaps[0]


def test_a_given_rate_returns_the_last_iterate_again():
    case = descent_case("squares")
    model = case.estimator(solver="gd", batch_size=16, max_iter=2, tol=0, warm_start=True)
    model.set_params(random_state=0).fit(case.X, case.y)
    model.set_params(learning_rate=1e-12).fit(case.X, case.y)
    after = model.loss_curve_
    model.set_params(max_iter=1).fit(case.X, case.y)
    # Steps of nothing: only the change from the mean to the last iterate was one.
    assert_allclose(model.loss_curve_[-1], after[-1], rtol=1e-9)
    assert not np.isclose(after[2], after[3], rtol=1e-9)


@pytest.mark.parametrize("solver", ["momentum", "nesterov", Nesterov(beta=0.5)])
@each_case
def test_in_full_batches_it_is_that_of_plain_descent(solver, name):
    case = descent_case(name)
    model = case.estimator(solver=solver, max_iter=1, tol=0).fit(case.X, case.y)
    assert_allclose(model.learning_rate_, 1 / case.textbook().largest_eigenvalue(), rtol=1e-6)


SHARES = {"adagrad": 0.5, "rmsprop": 0.05, "adam": 0.05}


@each_case
@pytest.mark.parametrize("solver", SHARES)
@pytest.mark.parametrize("batch_size", [None, 16])
def test_adaptive_rules_take_a_share_of_how_far_coordinates_can_go(name, solver, batch_size):
    """sqrt(2 L(0) / (K h_jj)) for one coordinate; all of them together in mini-batches."""
    case = descent_case(name)
    n_outputs = case.Y.shape[1]
    roots = np.sqrt(np.diag(case.textbook().hessian_bound()))
    size = roots.max() if batch_size is None else roots.sum()
    zero = case.textbook().loss(np.zeros((case.X.shape[1] + 1, n_outputs)))
    model = case.estimator(solver=solver, batch_size=batch_size, max_iter=1, tol=0)
    model.fit(case.X, case.y)
    expected = SHARES[solver] * np.sqrt(2 * zero / n_outputs) / size
    assert_allclose(model.learning_rate_, expected, rtol=1e-8)


@pytest.mark.parametrize("solver", [*SHARES, "nesterov"])
@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_automatic_rates_do_not_see_means_and_units(solver, l1_ratio):
    """Powers of two scale exactly, and the intercept follows a mean: the iterates are the same."""
    if l1_ratio and solver != "nesterov":
        pytest.skip("no proximal step")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.2], [0, 0, 1]])
    X -= X.mean(axis=0)
    y = X @ [1.0, -2.0, 0.5] + 3.0 + rng.standard_normal(100)
    unit, shift = np.array([2.0**10, 2.0**-7, 1.0]), np.array([1e3, -40.0, 7.0])
    # A penalty is one of the original coefficients: the same only where units are.
    unit = np.ones(3) if l1_ratio else unit
    model = LinearRegression(
        solver=solver, alpha=0.1 * l1_ratio, l1_ratio=l1_ratio, max_iter=40, tol=0
    )
    plain = clone(model).fit(X, y)
    moved = clone(model).fit(X * unit + shift, y)
    assert_allclose(moved.coef_ * unit, plain.coef_, rtol=1e-6)
    assert_allclose(moved.intercept_ + moved.coef_ @ shift, plain.intercept_, rtol=1e-6)
    assert_allclose(moved.loss_curve_, plain.loss_curve_, rtol=1e-6)


@pytest.mark.parametrize("make", [np.asarray, csr_array])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("batch_size", [8, 100])
def test_nor_does_that_of_mini_batches(make, fit_intercept, n_targets, batch_size):
    """The rows are as they are, every step is one in centred, scaled columns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.2], [0, 0, 1]]) + 5.0
    y = X @ rng.standard_normal((3, n_targets)) + 3.0 + rng.standard_normal((400, n_targets))
    unit = np.array([2.0**10, 2.0**-7, 1.0])
    shift = np.array([1e3, -40.0, 7.0]) if fit_intercept else np.zeros(3)
    model = LinearRegression(
        batch_size=batch_size, fit_intercept=fit_intercept, max_iter=20, tol=0, random_state=0
    )
    plain = clone(model).fit(make(X), y)
    moved = clone(model).fit(make(X * unit + shift), y)
    assert_allclose(moved.coef_ * unit, plain.coef_, rtol=1e-6)
    assert_allclose(moved.intercept_ + moved.coef_ @ shift, plain.intercept_, rtol=1e-6)
    assert_allclose(moved.learning_rate_, plain.learning_rate_, rtol=1e-6)
    best = LinearRegression(fit_intercept=fit_intercept).fit(X, y)
    start = plain.loss_curve_[0] - best.loss_
    assert plain.loss_ - best.loss_ < 0.1 * start


@pytest.mark.parametrize("make", [np.asarray, csr_array])
@pytest.mark.parametrize(("kind", "most"), [("long tails", 1.0), ("few large entries", 1.5)])
def test_a_sample_that_is_no_likeness_of_the_rows_bounds_no_rate(kind, most, make):
    rng = np.random.default_rng(26)
    if kind == "long tails":
        X = rng.standard_cauchy((20_000, 30))
    else:
        X = (rng.random((20_000, 5)) < 0.002) * np.exp(4.0 * rng.standard_normal((20_000, 5)))
    y = np.clip(X, -50.0, 50.0) @ rng.standard_normal(X.shape[1]) + rng.standard_normal(len(X))
    model = LinearRegression(solver="gd", batch_size=32, max_iter=5, tol=0, random_state=0)
    losses = model.fit(make(X), y).loss_curve_
    assert losses[-1] < most * losses[0]


@pytest.mark.parametrize("make", [np.asarray, csr_array])
def test_a_column_with_one_entry_goes_where_its_row_asks_and_not_far(make):
    """One entry in 5,000, and a penalty so small that it says nothing of the column's size."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal(5000), np.zeros(5000)])
    X[1, 1] = 1.0
    y = (X[:, 0] + rng.logistic(size=5000) > 0.0).astype(int)
    model = LogisticRegression(batch_size=16, alpha=1e-14, max_iter=3, tol=0, random_state=0).fit(
        make(X), y
    )
    best = LogisticRegression(alpha=1e-14).fit(X[:, :1], y)
    assert_allclose(model.coef_[0, 0], best.coef_[0, 0], rtol=0.1)
    assert 0.0 < model.coef_[0, 1] * (2 * y[1] - 1) < 100.0
    assert model.loss_ < 1.001 * best.loss_


@pytest.mark.parametrize("spread", [1e-2, 1e-5, 1e-9])
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize(
    ("solver", "l1_ratio"),
    [*((rule, 0.0) for rule in [*SHARES, "nesterov"]), ("nesterov", 0.5)],
)
def test_a_small_column_under_a_penalty_slows_no_other(solver, l1_ratio, estimator, spread):
    """alpha w^2 keeps its coefficient near 0, so the fit is as fast as without the column."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    y = X @ [1.0, 2.0, 3.0, 4.0] + rng.standard_normal(200)
    y = y > 0 if estimator is LogisticRegression else y + 100
    model = estimator(solver=solver, alpha=0.1, l1_ratio=l1_ratio)
    without = clone(model).fit(X[:, :3], y)
    model.fit(X * [1.0, 1.0, 1.0, spread], y)
    assert model.converged_
    assert model.n_iter_ <= 2 * without.n_iter_


@pytest.mark.parametrize("solver", SHARES)
def test_an_adaptive_rate_falls_where_the_loss_rises(solver):
    case = descent_case("squares")
    model = LinearRegression(solver=solver, max_iter=300, tol=0).fit(case.X, case.y)
    rises = np.diff(model.loss_curve_)[:-1] > 0
    rates = model.history_["learning_rate"][1:]
    assert rises.any()
    assert_allclose(rates[1:] / rates[:-1], np.where(rises, 0.9, 1.0), rtol=1e-12)
    assert model.learning_rate_ == rates[0]
    given = clone(model).set_params(learning_rate=model.learning_rate_).fit(case.X, case.y)
    assert_allclose(given.history_["learning_rate"][1:], model.learning_rate_)  # a number stays


def test_a_target_of_zeros_leaves_adaptive_rules_their_constant():
    model = LinearRegression(solver="adam", max_iter=3, tol=0).fit([[1e6], [2e6]], [0.0, 0.0])
    assert model.learning_rate_ == 0.01
    assert_allclose(model.coef_, 0.0)


@pytest.mark.parametrize("solver", ["adagrad", "rmsprop", "adam"])
@pytest.mark.parametrize("batch_size", [None, 64])
def test_adaptive_rules_end_below_their_start_on_raw_columns(solver, batch_size):
    """Columns like rooms, people and degrees: a constant 0.01 ends at twenty times its start."""
    rng = np.random.default_rng(0)
    size = np.array([3000.0, 600.0, 1500.0, 500.0, 4.0, 30.0, 100.0])
    X = size * rng.lognormal(0.0, 0.7, (2000, 7))
    y = (X / size).sum(axis=1) - 2 * X[:, 4] / 4 + rng.logistic(size=2000) > 6
    model = LogisticRegression(
        solver=solver, batch_size=batch_size, max_iter=100, tol=0, random_state=0
    ).fit(X, y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@pytest.mark.parametrize("solver", RULES)
@pytest.mark.parametrize("batch_size", [None, 64])
@pytest.mark.parametrize("load", [load_diabetes, load_breast_cancer, load_wine])
@pytest.mark.parametrize("scaled", [False, True])
def test_an_automatic_rate_never_diverges(solver, batch_size, load, scaled):
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X) if scaled else X
    estimator = LinearRegression if load is load_diabetes else LogisticRegression
    model = estimator(solver=solver, batch_size=batch_size, max_iter=20, tol=0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # separable classes
        model.fit(X, y)
    assert "diverged" not in model.stop_reason_
    assert np.isfinite(model.loss_curve_).all()
    assert np.isfinite(model.predict(X[:5]).astype(float)).all()
    if solver in ("gd", "momentum", "nesterov"):
        assert model.loss_curve_[-1] < model.loss_curve_[0]


# Line search


@pytest.mark.parametrize("n_targets", [None, 3])
def test_on_squares_the_line_search_is_exact(n_targets):
    case = descent_case("squares" if n_targets is None else "three targets")
    textbook = case.textbook(alpha=0.1)
    H = textbook.hessian_bound()
    theta = np.zeros((11, case.Y.shape[1]))
    steps = []
    for _ in range(30):
        g = textbook.gradient(theta)
        steps.append(np.sum(g * g) / np.sum(g * (H @ g)))
        theta = theta - steps[-1] * g
    model = case.estimator(learning_rate="line_search", alpha=0.1, max_iter=30, tol=0)
    model.fit(case.X, case.y)
    assert_allclose(model.history_["learning_rate"][1:], steps, rtol=1e-8)
    assert_allclose(model.loss_, textbook.loss(theta), rtol=1e-10)
    assert model.learning_rate_ == model.history_["learning_rate"][-1]


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_on_the_logistics_every_step_meets_armijo(name):
    case = descent_case(name)
    textbook = case.textbook(alpha=0.01)
    model = case.estimator(
        learning_rate="line_search", alpha=0.01, max_iter=30, tol=0, store_path=True
    ).fit(case.X, case.y)
    losses, rates = model.loss_curve_, model.history_["learning_rate"][1:]
    squares = model.history_["gradient_norm"][:-1] ** 2
    assert np.all(losses[1:] <= losses[:-1] - 1e-4 * rates * squares + 1e-15)
    fixed = clone(model).set_params(learning_rate="auto").fit(case.X, case.y)
    assert model.loss_ < fixed.loss_  # it finds longer steps than the bound allows
    assert rates.max() > 2 / textbook.largest_eigenvalue()


@each_case
@pytest.mark.parametrize(
    ("solver", "l1_ratio"), [("gd", 0.5), ("nesterov", 0.0), ("nesterov", 0.5)]
)
def test_accelerated_and_proximal_steps_search_too(name, solver, l1_ratio):
    case = descent_case(name)
    params = {"solver": solver, "alpha": 0.01, "l1_ratio": l1_ratio}
    model = case.estimator(learning_rate="line_search", max_iter=3000, tol=1e-13, **params)
    model.fit(case.X, case.y)
    textbook, l1 = case.textbook(alpha=0.01 * (1 - l1_ratio)), 0.01 * l1_ratio
    theta = to_theta(model.coef_, model.intercept_)
    assert_allclose(model.loss_, textbook.loss(theta) + l1 * abs(theta[:-1]).sum(), rtol=1e-12)
    # The optimum: 0 = g + l1 sign(w) where w is not 0, |g| <= l1 where it is; g = 0 of b.
    g, threshold = textbook.gradient(theta), l1 * textbook.penalised
    left = np.where(theta != 0.0, g + threshold * np.sign(theta), np.maximum(abs(g) - threshold, 0))
    assert abs(left).max() <= 1e-5 * abs(textbook.gradient(0.0 * theta)).max()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"solver": "adam"}, "'learning_rate'='line_search'.*'gd' or 'nesterov'.*'adam'"),
        ({"solver": "momentum"}, "'gd' or 'nesterov'"),
        ({"batch_size": 10}, "batch_size=None instead of 10"),
        ({"schedule": "cosine"}, "schedule='constant' instead of 'cosine'"),
    ],
)
def test_what_a_line_search_does_not_go_with(change, match):
    case = descent_case("sigmoid")
    model = LogisticRegression(**{"solver": "gd", "learning_rate": "line_search", **change})
    with pytest.raises(ValueError, match=match):
        model.fit(case.X, case.y)
    assert not hasattr(model, "coef_")


# Schedules

SCHEDULES = {
    "constant": (Constant(), lambda t: 0 * t + 1.0),
    "inverse_scaling": (InverseScaling(), lambda t: (1 + t) ** -0.5),
    "exponential": (Exponential(), lambda t: 0.99**t),
    "step": (Step(), lambda t: 0.5 ** (t // 100)),
    "cosine": (Cosine(), lambda t: 0.01 + 0.99 * (1 + np.cos(np.pi * min(t / 1000, 1))) / 2),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("t", [0, 0.25, 1, 99, 100, 250.5, 999, 1000, 5000, 10**7])
def test_the_formulas_of_the_schedules(name, t):
    instance, formula = SCHEDULES[name]
    assert_allclose(instance(t), max(formula(t), np.finfo(float).tiny), rtol=1e-12)
    assert instance(0) == 1


def test_parameters_of_the_schedules():
    assert_allclose(InverseScaling(power=1, time=4)(12), 0.25)
    assert_allclose(Step(factor=0.1, every=3)(7), 0.01)
    warm = Cosine(total_epochs=20, warmup=4, final=0.5)
    assert_allclose([warm(t) for t in (0, 1, 4, 12, 20, 30)], [0.2, 0.4, 1, 0.75, 0.5, 0.5])


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_multiplies_the_rate_of_each_iteration(name):
    case = descent_case("sigmoid")
    instance, formula = SCHEDULES[name]
    expected = 0.3 * np.array([formula(t) for t in range(20)])
    for schedule in (name, instance, formula):
        model = LogisticRegression(learning_rate=0.3, schedule=schedule, max_iter=20, tol=0)
        model.fit(case.X, case.y)
        assert_allclose(model.history_["learning_rate"][1:], expected, rtol=1e-12)
        assert model.learning_rate_ == 0.3


def test_in_mini_batches_time_is_counted_in_epochs():
    case = descent_case("sigmoid")
    times = []

    def schedule(t):
        times.append(t)
        return 1.0

    LogisticRegression(schedule=schedule, batch_size=100, max_iter=3, tol=0).fit(case.X, case.y)
    assert_allclose(times, np.arange(18) / 6)


def test_a_schedule_keeps_the_meaning_of_a_sweep():
    case = descent_case("squares")
    model = LinearRegression(schedule=Exponential(decay=0.95), max_iter=30, tol=0)
    search = GridSearchCV(model, {"learning_rate": [1e-3, 0.1], "schedule__decay": [0.5, 0.95]})
    search.fit(case.X, case.y)
    assert search.best_params_ == {"learning_rate": 0.1, "schedule__decay": 0.95}


def test_a_falling_rate_leads_further_in():
    case = descent_case("squares")
    best = LinearRegression().fit(case.X, case.y).loss_
    params = {"batch_size": 8, "learning_rate": 0.05, "max_iter": 60, "tol": 0, "random_state": 0}
    constant = LinearRegression(**params).fit(case.X, case.y).loss_
    falling = LinearRegression(schedule=Cosine(total_epochs=60), **params).fit(case.X, case.y).loss_
    assert falling - best < 0.3 * (constant - best)


def returns(value, after=0):
    return lambda t: value if t >= after else 1.0


@pytest.mark.parametrize(
    "value", [float("nan"), 0.0, -1.0, float("inf"), None, "1", np.ones(2)], ids=str
)
@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("batch_size", [None, 64])
def test_a_schedule_that_returns_no_rate(value, after, batch_size):
    case = descent_case("sigmoid")
    model = LogisticRegression(solver="gd", batch_size=batch_size, max_iter=5, tol=0)
    model.fit(case.X, case.y)
    before = dict(vars(model))
    schedule = returns(value, after)
    with pytest.raises(ValueError, match="'schedule' must return a positive finite number"):
        model.set_params(schedule=schedule).fit(case.X[:, :4], case.y)
    assert vars(model) == {**before, "schedule": schedule}
    assert_array_equal(model.predict(case.X).shape, case.y.shape)


@pytest.mark.parametrize(
    ("schedule", "kind", "match"),
    [
        ("linear", ValueError, "'schedule' of LinearRegression"),
        (0.9, TypeError, "'schedule' of LinearRegression"),
        (Exponential, TypeError, "'schedule' of LinearRegression"),
        (Exponential(decay=0), ValueError, r"'decay' of Exponential must be a number in \(0, 1\]"),
        (Exponential(decay=1.5), ValueError, "'decay' of Exponential"),
        (Exponential(decay="0.9"), TypeError, "'decay' of Exponential"),
        (InverseScaling(power=-1), ValueError, "'power' of InverseScaling"),
        (InverseScaling(time=0), ValueError, "'time' of InverseScaling"),
        (Step(every=0), ValueError, "'every' of Step"),
        (Step(factor=float("nan")), ValueError, "'factor' of Step"),
        (Cosine(total_epochs=0), ValueError, "'total_epochs' of Cosine"),
        (Cosine(final=0), ValueError, "'final' of Cosine"),
        (Cosine(warmup=1000), ValueError, "'warmup' of Cosine must be less than total_epochs"),
    ],
    ids=str,
)
def test_bad_schedules(schedule, kind, match):
    model = LinearRegression(schedule=schedule)
    with pytest.raises(kind, match=match):
        model.fit([[0.0], [1.0]], [0.0, 1.0])
    assert not hasattr(model, "coef_")


# Divergence


@pytest.mark.parametrize("solver", ["gd", "momentum", "nesterov", "adam"])
@pytest.mark.parametrize("batch_size", [None, 64])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # as it says
def test_in_a_search_a_diverging_candidate_scores_finitely_and_loses(solver, batch_size):
    case = descent_case("squares")
    model = LinearRegression(solver=solver, batch_size=batch_size, max_iter=50, random_state=0)
    search = GridSearchCV(model, {"learning_rate": ["auto", 1e6, 1e300]}, cv=3)
    search.fit(case.X, case.y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert search.best_params_["learning_rate"] == "auto"


@pytest.mark.parametrize(
    ("solver", "limit"),
    [
        ("gd", lambda top: 2 / top),
        (Momentum(beta=0.8), lambda top: 2 * 1.8 / top),
        (Nesterov(beta=0.8), lambda top: 2 * 1.8 / (2.6 * top)),
    ],
    ids=["gd", "momentum", "nesterov"],
)
def test_the_limit_of_a_rule_is_where_it_begins_to_diverge(solver, limit):
    case = descent_case("squares")
    edge = limit(case.textbook().largest_eigenvalue())
    model = LinearRegression(solver=solver, learning_rate=0.99 * edge, max_iter=3000, tol=0)
    assert model.fit(case.X, case.y).loss_ < model.loss_curve_[0]
    model.set_params(learning_rate=1.01 * edge)
    with pytest.warns(
        ConvergenceWarning, match=f"is stable below about {np.floor(edge * 10) / 10:.1g};"
    ):
        model.fit(case.X, case.y)
    assert np.isfinite(model.coef_).all()
    assert model.loss_ == pytest.approx(model.loss_curve_.min())
