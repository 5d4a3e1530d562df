"""Full-batch gradient descent against the textbook's loop."""

import re
import warnings

import numpy as np
import pytest
from comparing import assert_relative
from numpy.testing import assert_allclose, assert_array_equal
from problems import (
    classification,
    descent_case,
    each_case,
    least_squares,
    to_attributes,
    to_theta,
)
from sklearn.exceptions import ConvergenceWarning

from gdregress import LinearRegression, LogisticRegression

COLUMNS = [
    "iteration",
    "step",
    "loss",
    "gradient_norm",
    "update_norm",
    "learning_rate",
    "seconds",
    "validation_loss",
]


def assert_follows(model, textbook, path):
    """The fit ends where the path ends and went down the same losses."""
    coef, intercept = to_attributes(path[-1], like=model)
    assert_relative(model.coef_, coef)
    assert_relative(model.intercept_, intercept)
    losses = textbook.losses(path)
    assert_allclose(model.loss_curve_ / losses[0], losses / losses[0], rtol=0, atol=1e-10)


def numbers_in(message):
    return [float(text) for text in re.findall(r"-?\d+\.?\d*(?:[eE][-+]?\d+)?", message)]


def assert_mentions(message, value):
    """Some number in the message is the value, to the digits that a message has."""
    assert any(np.isclose(number, value, rtol=0.05) for number in numbers_in(message)), message


def to_one_digit(value):
    """Rounded down: below it the rate is stable, whatever the other digits."""
    unit = 10 ** np.floor(np.log10(value))
    return f"{np.floor(value / unit) * unit:.0g}"


# The iterates


@each_case
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fraction", [0.1, 1.0])
def test_equals_the_textbook_loop(name, alpha, weighted, fraction):
    case = descent_case(name)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(case.X)) if weighted else None
    textbook = case.textbook(alpha=alpha, sample_weight=weight)
    learning_rate = fraction / textbook.largest_eigenvalue()
    path = textbook.descend(learning_rate, 200)

    model = case.estimator(
        solver="gd", learning_rate=learning_rate, max_iter=200, tol=0, alpha=alpha
    ).fit(case.X, case.y, sample_weight=weight)
    assert model.n_iter_ == 200
    assert model.learning_rate_ == learning_rate
    assert_follows(model, textbook, path)
    assert_allclose(model.loss_, textbook.loss(path[-1]), rtol=1e-10)


@each_case
def test_equals_the_textbook_loop_without_intercept(name):
    case = descent_case(name)
    textbook = case.textbook()
    textbook.A[:, -1] = 0  # the intercept has no gradient and stays where it began
    path = textbook.descend(0.1, 50)
    model = case.estimator(
        solver="gd", learning_rate=0.1, max_iter=50, tol=0, fit_intercept=False
    ).fit(case.X, case.y)
    assert_follows(model, textbook, path)
    assert_array_equal(model.intercept_, 0)


@each_case
def test_starts_where_it_is_told_to(name):
    case = descent_case(name)
    textbook = case.textbook()
    rng = np.random.default_rng(1)
    n_outputs = case.Y.shape[1]
    coef, intercept = rng.standard_normal((n_outputs, case.X.shape[1])), rng.random(n_outputs)
    path = textbook.descend(0.1, 20, start=to_theta(coef, intercept))
    if name == "squares":
        coef, intercept = coef[0], intercept[0]
    model = case.estimator(learning_rate=0.1, max_iter=20, tol=0)
    model.fit(case.X, case.y, coef_init=coef, intercept_init=intercept)
    assert_follows(model, textbook, path)


@each_case
def test_stores_the_path(name):
    case = descent_case(name)
    path = case.textbook().descend(0.1, 15)
    model = case.estimator(learning_rate=0.1, max_iter=15, tol=0, store_path=True)
    model.fit(case.X, case.y)
    history = model.history_
    assert history.coef_path.shape == (16, *model.coef_.shape)
    assert history.intercept_path.shape == (16, *np.shape(model.intercept_))
    coef_path, intercept_path = zip(*(to_attributes(theta, like=model) for theta in path))
    assert_relative(history.coef_path, coef_path)
    assert_allclose(history.intercept_path, intercept_path, rtol=1e-10, atol=1e-14)
    assert_array_equal(history.coef_path[-1], model.coef_)
    assert_array_equal(history.intercept_path[-1], model.intercept_)


@each_case
def test_integer_weights_equal_repeated_rows_at_every_iterate(name):
    case = descent_case(name)
    weight = np.random.default_rng(2).integers(0, 3, len(case.X))
    model = case.estimator(learning_rate=0.1, max_iter=30, tol=0, alpha=0.01, store_path=True)
    weighted = model.fit(case.X, case.y, sample_weight=weight).history_
    rows = np.repeat(np.arange(len(case.X)), weight)
    repeated = model.fit(case.X[rows], case.y[rows]).history_
    assert_relative(weighted.coef_path, repeated.coef_path, 1e-12)
    assert_relative(weighted["loss"], repeated["loss"], 1e-12)
    assert_relative(weighted["gradient_norm"], repeated["gradient_norm"], 1e-11)


def test_softmax_keeps_its_gauge():
    case = descent_case("softmax")
    model = case.estimator(learning_rate=0.5, max_iter=100, tol=0).fit(case.X, case.y)
    assert_allclose(model.coef_.sum(axis=0), 0, rtol=0, atol=1e-13)
    assert_allclose(model.intercept_.sum(), 0, rtol=0, atol=1e-13)


def test_more_columns_than_rows_reach_the_joint_minimum_norm():
    """From zero, descent stays in the row space of [X 1]: there the intercept counts too."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((10, 30)), rng.standard_normal(10)
    model = LinearRegression(solver="gd", max_iter=10_000, tol=1e-24).fit(X, y)
    expected = np.linalg.pinv(np.column_stack([X, np.ones(10)])) @ y
    assert_allclose(np.append(model.coef_, model.intercept_), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_the_loss_of_an_almost_exact_relation_falls_and_stays_positive(noise):
    """Moments expanded into a quadratic would cancel here, and turn negative."""
    X, y, _, _, _, loss = least_squares(n_samples=300, noise=noise)
    model = LinearRegression(solver="gd", max_iter=3000, tol=0).fit(X, y)
    first = model.loss_curve_[0]
    assert np.all(model.loss_curve_ >= 0)
    assert np.all(np.diff(model.loss_curve_) <= 1e-14 * first)
    assert_allclose(model.loss_, loss, rtol=1e-8, atol=1e-25 * first)


# The learning rate


@each_case
@pytest.mark.parametrize("alpha", [0.0, 10.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_the_automatic_rate_is_the_inverse_of_the_largest_eigenvalue(name, alpha, weighted, raw):
    case = descent_case(name)
    if raw:  # intercept and columns far from orthogonal
        case = case._replace(X=case.X * np.geomspace(1, 30, case.X.shape[1]) + 5)
    weight = np.random.default_rng(4).uniform(0.5, 2, len(case.X)) if weighted else None
    expected = 1 / case.textbook(alpha=alpha, sample_weight=weight).largest_eigenvalue()
    model = case.estimator(solver="gd", alpha=alpha, max_iter=5, tol=0)
    model.fit(case.X, case.y, sample_weight=weight)
    assert_allclose(model.learning_rate_, expected, rtol=1e-6)
    assert_allclose(model.history_["learning_rate"][1:], expected, rtol=1e-6)
    assert np.all(np.diff(model.loss_curve_) <= 0)  # which is what the rate promises


def test_the_automatic_rate_serves_columns_in_any_unit():
    X, y, *_ = least_squares()
    for unit in (1e-150, 1e-8, 1e8, 1e150):
        model = LinearRegression(solver="gd", max_iter=50, tol=0).fit(X * unit, y)
        assert np.isfinite(model.coef_).all()
        assert np.all(np.diff(model.loss_curve_) <= 1e-15 * model.loss_curve_[0])


@pytest.mark.parametrize("exponent", [-200, 200])
def test_a_column_beyond_the_range_of_squares_is_refused_or_not_called_converged(exponent):
    """Its gradient, 1e-200 or 1e200 times the others', has no square in double precision."""
    X, y, *_ = least_squares()
    X[:, 1] *= 10.0**exponent
    model = LinearRegression(solver="gd")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, y)
    except ValueError as error:
        said = str(error)
    else:
        assert model.converged_ is False
        assert [warning.category for warning in caught] == [ConvergenceWarning]
        said = str(caught[0].message)
    assert re.search("scale|standardise|large|small", said)


# Stopping


@each_case
@pytest.mark.parametrize("criterion", ["gradient", "update", "loss"])
def test_a_tolerance_of_zero_runs_all_iterations_in_silence(name, criterion):
    case = descent_case(name)
    model = case.estimator(solver="gd", criterion=criterion, tol=0, max_iter=37)
    model.fit(case.X, case.y)
    assert model.n_iter_ == 37
    assert len(model.loss_curve_) == 38


@pytest.mark.parametrize("criterion", ["gradient", "update", "loss"])
def test_a_tolerance_of_zero_runs_all_iterations_even_at_the_optimum(criterion):
    X, *_ = least_squares()
    model = LinearRegression(solver="gd", criterion=criterion, tol=0, max_iter=37)
    model.fit(X, np.zeros(len(X)))
    assert model.n_iter_ == 37
    assert_array_equal(model.coef_, 0)


@each_case
@pytest.mark.parametrize("alpha", [0.02, 0.1])
def test_the_gradient_criterion_stops_where_the_gap_is_a_share_of_the_gain(name, alpha):
    """Of squares at the first such iterate; of the logistics once the Hessian can tell."""
    case = descent_case(name)
    textbook = case.textbook(alpha=alpha)
    tol = 1e-4
    path = textbook.descend(1 / textbook.largest_eigenvalue(), 4000)
    best = textbook.descend(1 / textbook.largest_eigenvalue(), 1, start=path[-1])[-1]
    if case.estimator is LinearRegression:
        H = textbook.hessian_bound()
        best = np.linalg.solve(H, textbook.A.T @ (textbook.weight[:, None] * case.Y))
    shares = case.Y.mean(axis=0)
    if case.estimator is LinearRegression:
        gain = 0.5 * np.sum(case.Y.var(axis=0))
    else:
        shares = np.append(shares, 1 - shares) if len(shares) == 1 else shares
        gain = -np.sum(shares * np.log(shares))
    gaps = textbook.losses(path) - textbook.loss(best)
    expected = np.argmax(gaps <= tol * gain)
    assert expected > 1

    model = case.estimator(solver="gd", tol=tol, alpha=alpha, max_iter=4000)
    model.fit(case.X, case.y)
    if case.estimator is LinearRegression:
        assert model.n_iter_ == expected
    else:
        assert expected <= model.n_iter_ <= 1.1 * expected + 10
    assert model.converged_ is True
    true = gaps[model.n_iter_]
    assert true <= model.optimality_gap_ * (1 + 1e-9) <= 1.1 * tol * gain
    coef, _ = to_attributes(path[model.n_iter_], like=model)
    assert_relative(model.coef_, coef, 1e-8)


@each_case
def test_the_update_criterion_stops_at_the_first_small_step(name):
    case = descent_case(name)
    textbook = case.textbook(alpha=0.1)
    learning_rate = 1 / textbook.largest_eigenvalue()
    path = textbook.descend(learning_rate, 2000)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=(1, 2))
    tol = 1e-7 * steps[0]
    expected = 1 + np.argmax(steps < tol)
    assert expected > 1

    model = case.estimator(
        criterion="update", learning_rate=learning_rate, tol=tol, alpha=0.1, max_iter=2000
    ).fit(case.X, case.y)
    assert model.n_iter_ == expected
    assert model.converged_ is True  # the gradient is small as well


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # as it may be
@pytest.mark.parametrize("n_iter_no_change", [1, 5])
def test_the_loss_criterion_stops_after_as_many_flat_iterations_as_asked(n_iter_no_change):
    """The loss falls by a few percent in all: relative to any of its values is much the same."""
    case = descent_case("sigmoid")
    y = np.random.default_rng(5).integers(0, 2, len(case.X))  # unrelated to X
    case = case._replace(y=y, Y=y[:, None].astype(float))
    textbook = case.textbook()
    learning_rate = 1 / textbook.largest_eigenvalue()
    losses = textbook.losses(textbook.descend(learning_rate, 3000))
    assert losses[-1] > 0.95 * losses[0]
    tol = 1e-6
    last_fall = np.flatnonzero(-np.diff(losses) / losses[1:] >= tol)[-1] + 1

    model = case.estimator(
        solver="gd",
        criterion="loss",
        tol=tol,
        n_iter_no_change=n_iter_no_change,
        learning_rate=learning_rate,
        max_iter=3000,
    ).fit(case.X, case.y)
    assert abs(model.n_iter_ - (last_fall + n_iter_no_change)) <= 1


@each_case
def test_running_out_of_iterations_warns_and_says_what_to_do(name):
    case = descent_case(name)
    model = case.estimator(solver="gd", max_iter=3, tol=1e-12, alpha=0.01)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model.fit(case.X, case.y)
    assert model.n_iter_ == 3
    assert model.converged_ is False
    assert len(str(model.stop_reason_).split()) > 2  # a sentence
    path = case.textbook(alpha=0.01).descend(model.learning_rate_, 3)
    coef, _ = to_attributes(path[-1], like=model)
    assert_relative(model.coef_, coef)  # the last iterate


@each_case
def test_a_small_step_of_a_tiny_rate_is_not_convergence(name):
    case = descent_case(name)
    model = case.estimator(learning_rate=1e-12, criterion="update", tol=1e-6, alpha=0.01)
    with pytest.warns(ConvergenceWarning, match="learning_rate"):
        model.fit(case.X, case.y)
    assert model.n_iter_ == 1
    assert model.converged_ is False


@each_case
def test_starting_at_the_optimum_converges_at_once(name):
    case = descent_case(name)
    exact = case.estimator(alpha=0.1).fit(case.X, case.y)
    model = case.estimator(solver="gd", alpha=0.1, learning_rate=0.01)
    model.fit(case.X, case.y, coef_init=exact.coef_, intercept_init=exact.intercept_)
    assert model.converged_ is True
    assert_allclose(model.loss_curve_[0], exact.loss_, rtol=1e-6)


# Divergence


@pytest.mark.parametrize("factor", [2.5, 1e3, 1e200])
@pytest.mark.parametrize("n_targets", [None, 3])
def test_a_rate_too_large_stops_early_keeps_the_best_iterate_and_tells_the_limit(factor, n_targets):
    case = descent_case("squares" if n_targets is None else "three targets")
    textbook = case.textbook()
    limit = 2 / textbook.largest_eigenvalue()
    model = case.estimator(learning_rate=factor * limit, store_path=True)
    with pytest.warns(ConvergenceWarning, match="learning_rate") as caught:
        model.fit(case.X, case.y)
    message = str(caught[0].message)
    assert_mentions(message, factor * limit)
    assert f"stable below about {to_one_digit(limit)};" in message
    assert model.n_iter_ < 1000
    assert model.converged_ is False

    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.predict(case.X)).all()
    theta = to_theta(model.coef_, model.intercept_)
    assert_allclose(model.loss_, textbook.loss(theta), rtol=1e-10)
    assert_allclose(model.loss_, np.nanmin(model.loss_curve_), rtol=1e-9)
    best = np.nanargmin(model.loss_curve_)
    assert_array_equal(model.history_.coef_path[best], model.coef_)


def test_the_best_iterate_need_not_be_the_first():
    """Just above the limit the loss falls along most directions before one takes over.

    The losses are those of the textbook's loop.
    """
    case = descent_case("squares")
    textbook = case.textbook()
    learning_rate = 2.02 / textbook.largest_eigenvalue()
    losses = textbook.losses(textbook.descend(learning_rate, 2000))
    model = case.estimator(learning_rate=learning_rate, max_iter=2000, tol=0)
    with pytest.warns(ConvergenceWarning, match="learning_rate"):
        model.fit(case.X, case.y)
    assert np.argmin(losses) > 1
    assert_allclose(model.loss_, losses.min(), rtol=1e-9)


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
@pytest.mark.parametrize("factor", [1e4, 1e300])
def test_a_rate_too_large_for_a_logistic_loss(name, factor):
    """The loss grows with the rate instead of from step to step; it is no better for it."""
    case = descent_case(name)
    y = np.random.default_rng(6).permutation(case.y)  # no separable classes here
    limit = 2 / case.textbook().largest_eigenvalue()
    model = case.estimator(learning_rate=factor * limit)
    with pytest.warns(ConvergenceWarning, match="learning_rate") as caught:
        model.fit(case.X, y)
    assert_mentions(str(caught[0].message), factor * limit)
    assert f"stable below about {to_one_digit(limit)};" in str(caught[0].message)
    assert np.isfinite(model.coef_).all()
    assert model.loss_ <= model.loss_curve_[0]
    assert model.n_iter_ < 1000
    assert model.converged_ is False


def test_divergence_in_float32_stays_finite():
    X, y, *_ = least_squares()
    model = LinearRegression(learning_rate=1e20)
    with pytest.warns(ConvergenceWarning, match="learning_rate"):
        model.fit(X.astype(np.float32), y.astype(np.float32))
    assert model.coef_.dtype == np.float32
    assert np.isfinite(model.coef_).all()


# The history


@each_case
def test_the_history_is_what_the_textbook_would_have_written(name):
    case = descent_case(name)
    textbook = case.textbook(alpha=0.1)
    path = textbook.descend(0.1, 10)
    model = case.estimator(learning_rate=0.1, max_iter=10, tol=0, alpha=0.1).fit(case.X, case.y)
    history = model.history_

    frame = history.to_frame()
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 11
    for column in COLUMNS:
        assert isinstance(history[column], np.ndarray)
        assert_array_equal(frame[column], history[column])

    assert_array_equal(history["iteration"], np.arange(11))
    assert_array_equal(history["step"], np.arange(11))  # one step an iteration: full batch
    assert_relative(history["loss"], textbook.losses(path))
    norms = [np.linalg.norm(textbook.gradient(theta)) for theta in path[:-1]]
    assert_relative(history["gradient_norm"][:-1], norms)
    assert np.isnan(history["update_norm"][0])  # nothing led to the start
    assert_relative(history["update_norm"][1:], 0.1 * np.array(norms))
    assert_allclose(history["learning_rate"][1:], 0.1)
    assert np.all(history["seconds"] >= 0)
    assert np.all(np.diff(history["seconds"]) >= 0)
    assert np.isnan(history["validation_loss"]).all()
    assert_array_equal(model.loss_curve_, history["loss"])


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(solver="normal_equations"),
        LinearRegression(solver="lstsq"),
        LogisticRegression(solver="newton"),
    ],
    ids=lambda model: model.solver,
)
def test_the_history_of_an_exact_fit_has_the_same_columns(model):
    X, y, weight, _, _, loss = least_squares() if "Linear" in repr(model) else classification()
    history = model.fit(X, y, sample_weight=weight).history_
    assert list(history.to_frame().columns) == COLUMNS
    assert len(history["loss"]) == model.n_iter_ + 1
    assert_allclose(history["loss"][-1], loss, rtol=1e-10)
    assert_allclose(history["loss"][-1], model.loss_, rtol=1e-10)
