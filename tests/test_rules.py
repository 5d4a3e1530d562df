"""The table of update rules x problems: each rule against the loop of its paper.

A new rule adds one row to RULES: its class, how it is made, and the loop as the paper writes it.
"""

from typing import NamedTuple

import numpy as np
import pytest
from comparing import assert_relative
from numpy.testing import assert_allclose, assert_array_equal
from problems import descent_case, each_case, to_attributes
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress._saving import state_of
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers import Adagrad, Adam, GradientDescent, Momentum, Nesterov, RMSProp
from gdregress.solvers.descent.rules import RULES as BY_NAME


def gd(theta, gradient, rate):
    while True:
        theta = theta - rate * gradient(theta)
        yield theta


def momentum(theta, gradient, rate, beta=0.9):
    v = np.zeros_like(theta)
    while True:
        v = beta * v + gradient(theta)
        theta = theta - rate * v
        yield theta


def nesterov(theta, gradient, rate, beta):
    """Fixed extrapolation."""
    previous = theta
    while True:
        y = theta + beta * (theta - previous)
        previous, theta = theta, y - rate * gradient(y)
        yield theta


def nesterov_growing(theta, gradient, rate, restart=True):
    """Beck & Teboulle's sequence; restarted by O'Donoghue & Candès' gradient test."""
    y, t = theta, 1.0
    while True:
        g = gradient(y)
        new = y - rate * g
        if restart and np.sum((y - new) * (new - theta)) > 0:
            theta, y, t = new, new, 1.0
        else:
            t_next = (1 + np.sqrt(1 + 4 * t * t)) / 2
            y = new + (t - 1) / t_next * (new - theta)
            theta, t = new, t_next
        yield theta


def adagrad(theta, gradient, rate, epsilon=1e-10):
    G = np.zeros_like(theta)
    while True:
        g = gradient(theta)
        G = G + g**2
        theta = theta - rate * g / (np.sqrt(G) + epsilon)
        yield theta


def rmsprop(theta, gradient, rate, rho=0.9, epsilon=1e-8):
    v = np.zeros_like(theta)
    while True:
        g = gradient(theta)
        v = rho * v + (1 - rho) * g**2
        theta = theta - rate * g / (np.sqrt(v) + epsilon)
        yield theta


def adam(theta, gradient, rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    m, v, t = np.zeros_like(theta), np.zeros_like(theta), 0
    while True:
        g, t = gradient(theta), t + 1
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        theta = theta - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        yield theta


class Row(NamedTuple):
    """A rule by name or instance, its plain loop, and the loop's parameters."""

    solver: object
    loop: object
    params: dict
    stochastic: object = None  # (loop, params) where mini-batches differ


RULES = {
    "gd": Row("gd", gd, {}),
    "GradientDescent()": Row(GradientDescent(), gd, {}),
    "momentum": Row("momentum", momentum, {}),
    "Momentum(0.5)": Row(Momentum(beta=0.5), momentum, {"beta": 0.5}),
    "nesterov": Row("nesterov", nesterov_growing, {}, (nesterov, {"beta": 0.9})),
    "Nesterov(restart=False)": Row(
        Nesterov(restart=False), nesterov_growing, {"restart": False}, (nesterov, {"beta": 0.9})
    ),
    "Nesterov(0.7)": Row(Nesterov(beta=0.7), nesterov, {"beta": 0.7}),
    "adagrad": Row("adagrad", adagrad, {}),
    "Adagrad(0.1)": Row(Adagrad(epsilon=0.1), adagrad, {"epsilon": 0.1}),
    "rmsprop": Row("rmsprop", rmsprop, {}),
    "RMSProp(0.5)": Row(RMSProp(rho=0.5, epsilon=1e-3), rmsprop, {"rho": 0.5, "epsilon": 1e-3}),
    "adam": Row("adam", adam, {}),
    "Adam(0.5, 0.9)": Row(
        Adam(beta1=0.5, beta2=0.9, epsilon=1e-4),
        adam,
        {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-4},
    ),
}
each_rule = pytest.mark.parametrize("rule", RULES)
ADAPTIVE = {"adagrad", "Adagrad(0.1)", "rmsprop", "RMSProp(0.5)", "adam", "Adam(0.5, 0.9)"}


class Batches:
    """Gradients over mini-batches, in the order in which a stored path says they were taken."""

    def __init__(self, case, alpha, orders, batch_size, weight=None):
        self.case, self.alpha = case, alpha
        self.A = np.column_stack([case.X, np.ones(len(case.X))])
        self.weight = np.ones(len(case.X)) if weight is None else weight / weight.mean()
        self.batches = [
            order[begin : begin + batch_size]
            for order in orders
            for begin in range(0, len(order), batch_size)
        ]
        self.number = 0

    def __call__(self, theta):
        rows = self.batches[self.number]
        self.number += 1
        residual = self.case.model.mean(self.A[rows] @ theta) - self.case.Y[rows]
        gradient = self.A[rows].T @ (self.weight[rows, None] * residual) / len(rows)
        gradient[:-1] += self.alpha * theta[:-1]
        return gradient


def orders_of(model, n_rows, n_epochs):
    """The orders in which the epochs of a descent go through the rows: what its seed fixes."""
    generator = np.random.default_rng(state_of(model)["descent"]["seed"])
    numbers = RowBlocks(np.arange(n_rows)[:, None])
    orders = []
    for _ in range(n_epochs):
        batches = numbers.batches(generator, 7)
        orders.append(np.concatenate([batch.rows[:, 0].astype(int) for batch in batches]))
    return orders


@each_rule
@each_case
def test_full_batches_follow_the_loop_of_the_paper(rule, name):
    case, row = descent_case(name), RULES[rule]
    textbook = case.textbook(alpha=0.01)
    rate = 0.05 if rule in ADAPTIVE else 0.5 / textbook.largest_eigenvalue()
    theta = np.zeros((case.X.shape[1] + 1, case.Y.shape[1]))
    loop = row.loop(theta, textbook.gradient, rate, **row.params)
    path = [theta, *(next(loop) for _ in range(60))]

    model = case.estimator(
        solver=row.solver, learning_rate=rate, alpha=0.01, max_iter=60, tol=0, store_path=True
    ).fit(case.X, case.y)
    expected = np.array([to_attributes(theta, like=model)[0] for theta in path])
    # Rules that divide by small gradients amplify their rounding.
    assert_relative(model.history_.coef_path, expected, 1e-6 if rule in ADAPTIVE else 1e-9)
    assert_relative(model.loss_curve_, textbook.losses(path), 1e-9)


@each_rule
@each_case
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("weighted", [False, True])
def test_mini_batches_follow_the_loop_of_the_paper(rule, name, make, weighted):
    case, row = descent_case(name), RULES[rule]
    weight = np.random.default_rng(0).uniform(0.5, 2, len(case.X)) if weighted else None
    # Not a multiple of three: batches in which the classes of iris balance have gradients of 0 but
    # for rounding, and adaptive rules divide these by their own size.
    model = case.estimator(
        solver=row.solver,
        learning_rate=0.02,
        alpha=0.01,
        batch_size=35,
        max_iter=3,
        tol=0,
        random_state=7,
    ).fit(make(case.X), case.y, sample_weight=weight)
    batches = Batches(case, 0.01, orders_of(model, len(case.X), 3), 35, weight)
    loop, params = row.stochastic or (row.loop, row.params)
    theta = np.zeros((case.X.shape[1] + 1, case.Y.shape[1]))
    steps = loop(theta, batches, 0.02, **params)
    for _ in batches.batches:
        theta = next(steps)

    coef, intercept = to_attributes(theta, like=model)
    assert_relative(model.coef_, coef, 1e-8)
    assert_relative(model.intercept_, intercept, 1e-8)
    assert model.history_["step"][-1] == len(batches.batches)
    assert_allclose(
        model.loss_, case.textbook(alpha=0.01, sample_weight=weight).loss(theta), rtol=1e-8
    )


@each_rule
@pytest.mark.parametrize("batch_size", [None, 33])
def test_the_mean_of_the_iterates(rule, batch_size):
    """average=True returns what the same descent passed through, on average; Polyak & Juditsky."""
    case, row = descent_case("sigmoid"), RULES[rule]
    params = {"learning_rate": 0.05, "batch_size": batch_size, "tol": 0, "random_state": 3}
    solver = row.solver
    if isinstance(solver, str):
        solver = BY_NAME[solver]()
    averaged = LogisticRegression(
        solver=clone(solver).set_params(average=True), max_iter=3, **params
    )
    averaged.fit(case.X, case.y)
    start = np.zeros((9, 1))
    if batch_size is None:
        steps, n_steps = row.loop(start, case.textbook().gradient, 0.05, **row.params), 3
    else:
        batches = Batches(case, 0.0, orders_of(averaged, len(case.X), 3), 33)
        loop, loop_params = row.stochastic or (row.loop, row.params)
        steps, n_steps = loop(start, batches, 0.05, **loop_params), len(batches.batches)
    path = [next(steps)[:-1].T for _ in range(n_steps)]
    assert_relative(averaged.coef_, np.mean(path, axis=0))
    assert_allclose(averaged.loss_, averaged.loss_curve_[-1], rtol=1e-12)


def test_averaging_calms_the_noise():
    case = descent_case("squares")
    best = LinearRegression().fit(case.X, case.y).loss_
    params = {"learning_rate": 0.05, "batch_size": 8, "max_iter": 60, "tol": 0, "random_state": 0}
    last = LinearRegression(solver="gd", **params).fit(case.X, case.y).loss_
    mean = LinearRegression(solver=GradientDescent(average=True), **params).fit(case.X, case.y)
    assert mean.loss_ - best < 0.3 * (last - best)


# Names and instances


@each_rule
def test_the_name_of_the_rule_is_reported(rule):
    model = LinearRegression(solver=RULES[rule].solver, max_iter=2, tol=0)
    names = {"nes": "nesterov", "mom": "momentum", "ada": None, "gra": "gd"}
    expected = names.get(rule[:3].lower()) or rule.split("(")[0].lower()
    expected = "gd" if expected == "gradientdescent" else expected
    assert model.fit([[0.0], [1.0]], [0.0, 1.0]).solver_ == expected


def test_an_instance_serves_many_fits_and_never_changes():
    case = descent_case("sigmoid")
    rule = Adam(beta1=0.8)
    before = dict(vars(rule))
    model = LogisticRegression(solver=rule, max_iter=5, tol=0)
    first = model.fit(case.X, case.y).coef_
    assert_array_equal(clone(model).fit(case.X, case.y).coef_, first)
    assert_array_equal(model.fit(case.X, case.y).coef_, first)
    assert vars(rule) == before
    assert model.solver is rule
    assert repr(model) == "LogisticRegression(max_iter=5, solver=Adam(beta1=0.8), tol=0)"


def test_a_grid_reaches_into_a_rule():
    case = descent_case("sigmoid")
    model = LogisticRegression(solver=Adam(), learning_rate=0.05, max_iter=5, tol=0)
    pipeline = Pipeline([("scale", StandardScaler()), ("model", model)])
    values = [0.0, 0.5, 0.99]
    grid = {"model__solver__beta1": values}
    search = GridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss").fit(case.X, case.y)
    assert len(set(search.cv_results_["mean_test_score"])) == 3
    assert search.best_params_["model__solver__beta1"] in values
    assert search.best_estimator_[-1].solver.beta1 == search.best_params_["model__solver__beta1"]
    assert model.solver.beta1 == 0.9


def test_a_grid_over_rules():
    case = descent_case("squares")
    grid = {"solver": ["gd", "nesterov", Momentum(beta=0.5)]}
    search = GridSearchCV(LinearRegression(max_iter=20, tol=0), grid, cv=3).fit(case.X, case.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    ("rule", "kind", "match"),
    [
        (
            Momentum(beta=1.0),
            ValueError,
            r"'beta' of Momentum .* in \[0, 1\); got 1\.0",
        ),
        (Momentum(beta=-0.1), ValueError, "'beta' of Momentum"),
        (Momentum(beta=float("nan")), ValueError, "'beta' of Momentum"),
        (Momentum(beta="0.9"), TypeError, "'beta' of Momentum"),
        (Momentum(average=1), TypeError, "'average' of Momentum"),
        (Nesterov(beta=2), ValueError, "'beta' of Nesterov"),
        (Nesterov(restart="yes"), TypeError, "'restart' of Nesterov"),
        (Adagrad(epsilon=0), ValueError, "'epsilon' of Adagrad must be a positive number; got 0"),
        (RMSProp(rho=1), ValueError, "'rho' of RMSProp"),
        (Adam(beta1=None), TypeError, "'beta1' of Adam"),
        (Adam(beta2=1.5), ValueError, "'beta2' of Adam"),
        (Adam, TypeError, "'solver' of LinearRegression"),
    ],
    ids=str,
)
def test_bad_parameters_of_a_rule(rule, kind, match):
    model = LinearRegression(solver=rule)
    with pytest.raises(kind, match=match):
        model.fit([[0.0], [1.0]], [0.0, 1.0])
    assert not hasattr(model, "coef_")
