"""Who says "converged" has arrived: tables x rules x units x penalties, and situations.

The least loss comes from the exact solvers, with an L1 norm from a long descent.
"""

import warnings
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import DESCENT_CASES, descent_case
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_linnerud, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression

RULES = ["gd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"]
TABLES = {
    "diabetes": load_diabetes,
    "linnerud": load_linnerud,
    "breast cancer": load_breast_cancer,
    "wine": load_wine,
    "iris": load_iris,
}
PENALTIES = {"none": (0.0, 0.0), "ridge": (1.0, 0.0), "lasso": (1.0, 1.0)}


@cache
def table(name, scaled):
    X, y = TABLES[name](return_X_y=True)
    return (StandardScaler().fit_transform(X) if scaled else X), y


def gain(y):
    """The loss of the best constant model."""
    if np.asarray(y).dtype.kind == "f":
        return 0.5 * np.sum(np.var(y, axis=0))
    shares = np.bincount(y) / len(y)
    return -np.sum(shares * np.log(shares))


def estimator_of(name, penalty):
    alpha, l1_ratio = PENALTIES[penalty]
    if name in ("diabetes", "linnerud"):
        return LinearRegression(alpha=alpha, l1_ratio=l1_ratio)
    return LogisticRegression(alpha=alpha / 100, l1_ratio=l1_ratio)


@cache
def least_loss(name, scaled, penalty):
    X, y = table(name, scaled)
    model = estimator_of(name, penalty)
    if model.l1_ratio == 0.0:
        return model.fit(X, y).loss_
    # At most 1e-11 of the gain above the least: what is asked below is ten thousand times as much.
    return model.set_params(tol=1e-11, max_iter=20_000).fit(X, y).loss_


def fitted(model, X, y, **start):
    """The model, and whether it warned that it has not converged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, **start)
    return model, any(w.category is ConvergenceWarning for w in caught)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("scaled", [False, True], ids=["raw", "scaled"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("rule", RULES)
def test_converged_or_a_warning(name, scaled, penalty, rule):
    X, y = table(name, scaled)
    model = estimator_of(name, penalty).set_params(solver=rule)
    if model.l1_ratio and rule not in ("gd", "nesterov"):
        pytest.skip("no proximal step")
    if model.alpha == 0.0 and isinstance(model, LogisticRegression):
        pytest.skip("separable, all or in part: no optimum")
    model, warned = fitted(model, X, y)
    assert warned is not model.converged_
    gap = model.loss_ - least_loss(name, scaled, penalty)
    if model.converged_:
        assert gap <= 1e-7 * gain(y) * (1 + 1e-6) + 1e-13
    assert gap <= model.optimality_gap_ * (1 + 1e-6) + 1e-12 * model.loss_
    if scaled:
        exact = estimator_of(name, "none" if penalty == "lasso" else penalty)
        if penalty != "lasso" and (model.alpha or isinstance(model, LinearRegression)):
            assert model.score(X, y) >= exact.fit(X, y).score(X, y) - 0.01


@pytest.mark.parametrize("name", ["diabetes", "linnerud", "breast cancer", "wine", "iris"])
@pytest.mark.parametrize("rule", ["gd", "momentum", "nesterov"])
def test_coefficients_of_a_converged_fit_are_within_a_hundredth(name, rule):
    X, y = table(name, True)
    model = estimator_of(name, "none" if name in ("diabetes", "linnerud") else "ridge")
    exact = clone(model).fit(X, y)
    model, warned = fitted(model.set_params(solver=rule, max_iter=20_000), X, y)
    assert model.converged_
    assert not warned
    distance = np.linalg.norm(model.coef_ - exact.coef_) / np.linalg.norm(exact.coef_)
    assert distance <= 0.01


# Situations


def columns_far_from_zero():
    """Means of 100, spreads of 1."""
    rng = np.random.default_rng(0)
    X = rng.normal(100, 1, (200, 5))
    return X, X @ [3, -2, 0, 0, 1] + rng.normal(0, 0.5, 200)


def weather():
    """Kelvin and hectopascal."""
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.normal(288, 8, 300), rng.normal(1013, 9, 300)])
    return X, 0.4 * X[:, 0] - 0.2 * X[:, 1] + rng.normal(0, 0.8, 300)


def a_target_far_from_zero():
    rng = np.random.default_rng(2)
    X = StandardScaler().fit_transform(rng.standard_normal((150, 4)))
    return X, 1e4 + X @ [1.0, -1.0, 0.5, 2.0] + rng.normal(0, 0.5, 150)


def powers_of_time():
    t = np.linspace(0, 1, 120)
    y = np.sin(6 * t) + 0.1 * np.random.default_rng(3).standard_normal(120)
    return StandardScaler().fit_transform(np.vander(t, 9)[:, :-1]), y


SITUATIONS = [columns_far_from_zero, weather, a_target_far_from_zero, powers_of_time]


@pytest.mark.parametrize("make", SITUATIONS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch_size", [None, 16])
def test_a_situation(make, rule, batch_size):
    X, y = make()
    model = LinearRegression(solver=rule, batch_size=batch_size, random_state=0, max_iter=300)
    model, warned = fitted(model, X, y)
    assert warned is not model.converged_
    gap = model.loss_ - LinearRegression().fit(X, y).loss_
    assert not model.converged_ or gap <= 1e-7 * gain(y) * 1.001
    if rule == "nesterov" and batch_size is None and make is not powers_of_time:
        assert model.converged_


def test_a_lasso_arrives_as_fast_as_on_centred_columns():
    X, y = columns_far_from_zero()
    model = LinearRegression(alpha=0.05, l1_ratio=1.0)
    raw, centred = clone(model).fit(X, y), clone(model).fit(X - X.mean(axis=0), y)
    assert raw.converged_
    assert centred.converged_
    assert raw.n_iter_ <= 2 * centred.n_iter_
    assert_allclose(raw.coef_, centred.coef_, atol=1e-3)
    assert raw.score(X, y) > 0.975


def test_few_positives():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((5000, 3))
    y = (rng.random(5000) < 1 / (1 + np.exp(7.0 - X[:, 0]))).astype(int)
    assert 5 < y.sum() < 50
    exact = LogisticRegression(alpha=1e-4).fit(X, y)
    model, _ = fitted(LogisticRegression(alpha=1e-4, solver="nesterov"), X, y)
    assert model.converged_
    assert_allclose(model.intercept_, exact.intercept_, rtol=0.01)
    gd, warned = fitted(LogisticRegression(alpha=1e-4, solver="gd"), X, y)
    assert warned is not gd.converged_


def test_many_classes_that_each_have_little_to_gain():
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((40, 6))
    y = np.repeat(np.arange(40), 12)
    X = centres[y] + rng.standard_normal((480, 6))
    exact = LogisticRegression(alpha=1e-3).fit(X, y)
    model, warned = fitted(LogisticRegression(alpha=1e-3, solver="nesterov"), X, y)
    assert warned is not model.converged_
    if model.converged_:
        assert model.loss_ - exact.loss_ <= 1e-7 * np.log(40)
        assert abs(model.score(X, y) - exact.score(X, y)) < 0.01


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e100])
def test_the_unit_of_the_target_plays_no_part(scale):
    X, y = table("diabetes", True)
    model, warned = fitted(LinearRegression(solver="nesterov"), X, y * scale)
    assert warned is not model.converged_
    assert np.isfinite(model.optimality_gap_)
    if scale < 1e-160:  # squares underflow, and with them the test of the restart: slower, but said
        return
    assert model.converged_
    assert_allclose(model.coef_ / scale, LinearRegression().fit(X, y).coef_, rtol=0.05, atol=0.3)


def test_a_constant_target():
    X = np.random.default_rng(0).standard_normal((30, 2))
    for value in (0.0, 5.0):
        model = LinearRegression(solver="gd").fit(X, np.full(30, value))
        assert model.converged_
        assert_allclose(model.predict(X), value, atol=1e-2)


@pytest.mark.parametrize("name", DESCENT_CASES)
def test_without_a_tolerance_the_end_is_judged_by_the_default(name):
    case = descent_case(name)
    model = case.estimator(solver="nesterov", tol=0, alpha=0.1)
    assert model.set_params(max_iter=5).fit(case.X, case.y).converged_ is False
    assert model.set_params(max_iter=600).fit(case.X, case.y).converged_ is True


# Continuing on other rows


def test_a_warm_start_measures_on_its_own_rows():
    X, y = table("diabetes", True)
    model = LinearRegression(solver="nesterov", warm_start=True)
    model.fit(X, 1e6 * y)
    model, warned = fitted(model, X, y)
    assert warned is not model.converged_
    if model.converged_:
        assert model.score(X, y) > 0.51


def test_patience_and_best_iterate_belong_to_the_new_rows():
    X, y = table("diabetes", True)
    model = LinearRegression(
        learning_rate=0.4, early_stopping=True, warm_start=True, random_state=0, max_iter=2000
    )
    fitted(model, X, 100 * y)
    first = model.n_iter_
    fitted(model, X, y)
    assert model.n_iter_ > first + model.n_iter_no_change
    assert model.score(X, y) > 0.4
    returned = model.history_.returned
    assert_array_equal(returned > first, True)


# Plain descent stays the textbook's


@pytest.mark.parametrize("name", DESCENT_CASES)
@pytest.mark.parametrize("tol", [0.0, 1e-9])
def test_a_given_rate_takes_the_steps_of_the_plain_loop_to_the_last_bit(name, tol):
    case = descent_case(name)
    model = case.estimator(solver="gd", learning_rate=0.05, max_iter=40, tol=tol, store_path=True)
    model, _ = fitted(model, case.X, case.y)
    coef, intercept = model.history_.coef_path, model.history_.intercept_path
    again, _ = fitted(clone(model).set_params(max_iter=1), case.X, case.y)
    for k in (0, 7, 39):  # one step from anywhere on the path leads to the next point of it
        start = {"coef_init": coef[k], "intercept_init": intercept[k]}
        fitted(again, case.X, case.y, **start)
        assert_array_equal(again.coef_, coef[k + 1])
        assert_array_equal(again.intercept_, intercept[k + 1])


# Divergence


def test_a_logistic_loss_that_comes_back_is_not_given_up():
    """The textbook's loop does so too; where in its wild path it is then hangs on rounding."""
    X, y = table("breast cancer", True)
    model = LogisticRegression(learning_rate=100, max_iter=1000, tol=0).fit(X, y)
    assert model.n_iter_ == 1000
    assert model.loss_curve_.max() > 10.0 * model.loss_curve_[0]
    assert model.loss_ < 0.08
    assert model.score(X, y) > 0.98


@pytest.mark.parametrize("solver", ["adam", "rmsprop", "adagrad", "nesterov"])
@pytest.mark.parametrize("constant", [0.0, 1.3])
@pytest.mark.parametrize("n_rows", [3, 8])
def test_a_constant_column_among_few_rows_moves_nothing(solver, constant, n_rows):
    """Its coefficient could only be noise divided by noise."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n_rows, 5))
        X[:, 1] = constant
        y = rng.standard_normal(n_rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LinearRegression(solver=solver, max_iter=3000).fit(X, y)
        assert np.abs(model.coef_).max() < 1e3
        if constant == 0.0:
            assert model.coef_[1] == 0.0
        loss = 0.5 * np.mean((X @ model.coef_ + model.intercept_ - y) ** 2)
        assert_allclose(model.loss_, loss, rtol=1e-6, atol=1e-12)
        A = np.column_stack([X, np.ones(n_rows)])
        least = 0.5 * np.mean((A @ np.linalg.lstsq(A, y)[0] - y) ** 2)
        if model.converged_:
            assert loss - least <= 1.1e-7 * 0.5 * np.var(y)


@pytest.mark.parametrize("rule", ["nesterov", "adam"])
@pytest.mark.parametrize("seed", [18, 28, 30])
def test_many_more_columns_than_rows_of_low_rank_without_a_penalty(rule, seed):
    """The columns are combinations of a few, on which Newton's method finds the least loss.

    Where classes overlap little, the Hessian bound promises less than there is to gain.
    """
    rng = np.random.default_rng(seed)
    rank, n_rows = int(rng.integers(2, 4)), int(rng.integers(20, 50))
    factors = rng.normal(size=(n_rows, rank))
    X = factors @ rng.normal(size=(rank, 4 * n_rows + 20))
    z = factors @ rng.normal(size=rank) * rng.choice([1, 4, 8]) + rng.normal() * 3
    labels = (z + rng.logistic(size=n_rows) > 0).astype(int)
    least = LogisticRegression(solver="newton", tol=1e-12).fit(factors, labels)
    assert least.converged_
    model, warned = fitted(LogisticRegression(solver=rule, max_iter=3000), X, labels)
    assert warned is not model.converged_
    excess = model.loss_ - least.loss_
    if model.converged_:
        assert excess <= 1e-7 * gain(labels) * (1 + 1e-6) + 1e-14
    assert excess <= model.optimality_gap_ * (1 + 1e-6) + 1e-14


@pytest.mark.parametrize("solver", ["gd", "momentum"])
def test_a_divergence_may_raise(solver):
    X, y = table("diabetes", True)
    model = LinearRegression(solver=solver, learning_rate=10.0, on_divergence="raise")
    with pytest.raises(ValueError, match=r"learning_rate=10 diverged.*Lower learning_rate"):
        model.fit(X, y)
    assert not hasattr(model, "coef_")
    model.set_params(learning_rate="auto", tol=0, max_iter=5).fit(X, y)
    before = model.coef_
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(learning_rate=10.0, max_iter=1000).fit(X, y)
    assert model.coef_ is before


def test_a_least_improvement():
    X, y = table("diabetes", True)
    model = LinearRegression(
        learning_rate=0.01, early_stopping=True, random_state=0, max_iter=3000, n_iter_no_change=3
    )
    plain, _ = fitted(clone(model), X, y)
    asked, _ = fitted(clone(model).set_params(min_delta=0.01), X, y)
    losses = asked.history_["validation_loss"]
    assert asked.n_iter_ < plain.n_iter_
    best, idle, stopped = losses[0], 0, None
    for k, loss in enumerate(losses[1:], 1):
        best, idle = (loss, 0) if loss < 0.99 * best else (best, idle + 1)
        stopped = k if idle == 3 and stopped is None else stopped
    assert stopped == asked.n_iter_
    assert asked.history_.returned == np.argmin(losses)


# Advice


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"solver": "gd"}, ["solver='nesterov'", "raise max_iter", "solver='normal_equations'"]),
        ({"solver": "gd", "learning_rate": 1e-4}, ["learning_rate='auto'"]),
        ({"solver": "gd", "alpha": 1.0, "l1_ratio": 1.0}, ["solver='nesterov'"]),
        ({"batch_size": 32}, ["batch_size=None", "solver='nesterov'"]),
        ({"learning_rate": 1e-6, "criterion": "update", "tol": 1e-3}, ["criterion='gradient'"]),
        ({"learning_rate": 1e-6, "criterion": "loss", "tol": 1e-3}, ["criterion='gradient'"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_advice_that_is_followed_leads_to_the_optimum(params, expected):
    X, y = table("diabetes", True)
    model = LinearRegression(**{"max_iter": 100, "random_state": 0, **params})
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, y)
    (text,) = {str(w.message) for w in caught}
    assert all(part in text for part in expected), text
    assert ("normal_equations" in text) is (model.l1_ratio == 0.0)
    assert ("learning_rate='auto'" in text) is ("learning_rate" in params)
    changes = text.split("Set ")[1].split(";")[0].rstrip(".").split(", ")
    for change in changes:
        name, value = change.split("=")
        model.set_params(**{name: None if value == "None" else value.strip("'")})
    assert fitted(model.set_params(max_iter=1000), X, y)[0].converged_


def test_a_fit_in_good_coordinates_is_only_told_to_go_on():
    X, y = table("diabetes", True)
    with pytest.warns(ConvergenceWarning, match=r"Raise max_iter; or fit exactly, with solver='n"):
        LinearRegression(solver="nesterov", max_iter=10).fit(X, y)
