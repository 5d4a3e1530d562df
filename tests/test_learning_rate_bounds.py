"""Learning rates against eigenvalues, and against descents that are run."""

import numpy as np
import pytest
from problems import descent_case, each_case
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress.inspection import learning_rate_bounds
from gdregress.problem.smoothness import largest_eigenvalue

X, Y = load_diabetes(return_X_y=True, scaled=False)
X = X[:, [0, 2, 3]]


def first_below(textbook, rate, goal, most):
    """The first iteration of plain descent from zero whose loss is at most `goal`."""
    losses = textbook.losses(textbook.descend(rate, most))
    return int(np.argmax(losses <= goal)) if (losses <= goal).any() else None


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("name", ["squares", "three targets"])
def test_of_squares_the_iterations_are_exact(name, alpha):
    case = descent_case(name)
    rows, target = case.X[:, 2:6] * [1.0, 3.0, 0.5, 2.0] + 0.5, case.y
    bounds = learning_rate_bounds(LinearRegression(alpha=alpha), rows, target, tol=1e-3)
    for part, design in [
        (bounds.as_given, rows),
        (bounds.standardized, StandardScaler().fit_transform(rows)),
    ]:
        textbook = case._replace(X=design).textbook(alpha=alpha)
        eigenvalues = np.linalg.eigvalsh(textbook.hessian_bound())
        assert part.lambda_max == pytest.approx(eigenvalues[-1], rel=1e-9)
        assert part.lambda_min == pytest.approx(eigenvalues[0], rel=1e-9)
        assert part.safe == pytest.approx(1 / eigenvalues[-1])
        assert part.stable_below == pytest.approx(2 / eigenvalues[-1])
        assert part.best == pytest.approx(2 / (eigenvalues[0] + eigenvalues[-1]))
        best = LinearRegression(alpha=alpha).fit(design, target).loss_
        gain = 0.5 * np.sum(np.var(np.reshape(target, (len(design), -1)), axis=0))
        for rate, iterations in [
            (part.safe, part.iterations_safe),
            (part.best, part.iterations_best),
        ]:
            assert first_below(textbook, rate, best + 1e-3 * gain, 5000) == iterations
    assert bounds.is_exact


def test_above_the_limit_descent_diverges_and_below_it_does_not():
    part = learning_rate_bounds(LinearRegression(), X, Y).standardized
    rows = StandardScaler().fit_transform(X)
    textbook = descent_case("squares")._replace(X=rows, y=Y, Y=Y[:, None]).textbook()
    for factor, grows in [(0.999, False), (1.001, True)]:
        losses = textbook.losses(textbook.descend(factor * part.stable_below, 20_000))
        assert (losses[-1] > losses[0]) == grows


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_of_logistic_losses_the_rates_are_those_of_the_bound_and_of_the_optimum(name, alpha):
    case = descent_case(name)
    rng = np.random.default_rng(0)
    rows, y = case.X[:, :3] + 2 * rng.standard_normal((len(case.X), 3)), case.y
    case = case._replace(X=rows)
    part = learning_rate_bounds(LogisticRegression(alpha=alpha), rows, y, tol=1e-5).as_given
    textbook = case.textbook(alpha=alpha)
    assert part.lambda_max == pytest.approx(textbook.largest_eigenvalue(), rel=1e-9)
    fit = LogisticRegression(alpha=alpha, tol=1e-10).fit(rows, y)
    theta = np.vstack([fit.coef_.T, fit.intercept_])
    # descent along the flattest direction, near the optimum: its rate tells lambda_min
    path = textbook.descend(part.safe, 400, start=theta + 0.01 * rng.standard_normal(theta.shape))
    if theta.shape[1] > 1:
        path = path - path.mean(axis=2, keepdims=True)
        theta = theta - theta.mean(axis=1, keepdims=True)
    far = np.linalg.norm(path - theta, axis=(1, 2))
    far = far[far > 1e-6]
    slowest = 1 - (far[-1] / far[-2])
    assert part.lambda_min * part.safe == pytest.approx(slowest, rel=0.02)
    counts = [
        int(part.iterations_safe),
        first_below(textbook, part.safe, fit.loss_ + 1e-5 * np.log(2), 5000),
    ]
    assert 0.3 < counts[1] / counts[0] <= 1.5


def test_standardising_is_what_the_scaler_does():
    pipe = make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y)
    inside = learning_rate_bounds(pipe, X, Y)
    outside = learning_rate_bounds(LinearRegression(), X, Y)
    assert vars(inside.as_given) == pytest.approx(vars(outside.standardized), rel=1e-9)
    assert outside.as_given.condition > 1e5 > 10 > outside.standardized.condition
    weight = np.arange(len(Y)) % 3.0
    scaled = StandardScaler().fit(X, sample_weight=weight).transform(X)
    for model, target in [(LinearRegression(), Y), (LogisticRegression(), Y > 140)]:
        inside = learning_rate_bounds(model, scaled, target, weight, tol=1e-3)
        outside = learning_rate_bounds(model, X, target, weight, tol=1e-3)
        assert vars(inside.as_given) == pytest.approx(vars(outside.standardized), rel=1e-6)
    S = sparse.random(200, 4, 0.5, random_state=0, format="csr")
    y = np.asarray(S.sum(axis=1)).ravel() + np.random.default_rng(0).standard_normal(200)
    scaled = StandardScaler(with_mean=False).fit_transform(S)
    for model, target in [(LinearRegression(), y), (LogisticRegression(), y > y.mean())]:
        inside = learning_rate_bounds(model, scaled, target)
        outside = learning_rate_bounds(model, S, target)
        assert vars(inside.as_given) == pytest.approx(vars(outside.standardized), rel=1e-6)


@each_case
def test_the_automatic_rate_is_the_safe_one(name):
    case = descent_case(name)
    fit = case.estimator(solver="gd", max_iter=1, tol=0).fit(case.X, case.y)
    part = learning_rate_bounds(fit, case.X, case.y).as_given
    assert part.safe == pytest.approx(fit.learning_rate_, rel=1e-9)


def test_dependent_columns_do_not_count_as_flat_directions():
    doubled = np.column_stack([X, X[:, 0]])
    part = learning_rate_bounds(LinearRegression(), doubled, Y).standardized
    assert part.condition < 20
    X_wide = np.random.default_rng(0).standard_normal((20, 40))
    part = learning_rate_bounds(LinearRegression(), X_wide, X_wide[:, 0]).as_given
    assert part.condition < 1e4


def test_separated_classes_take_for_ever():
    part = learning_rate_bounds(LogisticRegression(), X, X[:, 0] > 50).standardized
    assert (part.lambda_min, part.condition, part.iterations_safe) == (0.0, np.inf, np.inf)


def test_text_frame_and_arguments():
    bounds = learning_rate_bounds(LogisticRegression(), X, Y > 140, tol=1e-4)
    assert "about iterations to tol=0.0001" in repr(bounds)
    assert max(map(len, repr(bounds).splitlines())) <= 80
    assert "λ_max" in bounds._repr_html_()
    assert bounds.to_frame().loc["safe", "as given"] == bounds.as_given.safe
    with pytest.raises(ValueError, match="'tol'"):
        learning_rate_bounds(LinearRegression(), X, Y, tol=0.0)
    assert learning_rate_bounds(LinearRegression(tol=1e-3), X, Y).tol == 1e-3


@pytest.mark.parametrize("penalty", [1e200, 1e300])
def test_a_penalty_that_dwarfs_the_rows_is_the_curvature(penalty):
    """A multiple of one but for rounding, in which LAPACK's fast routine may find no eigenvalue."""
    for seed in range(6):
        X = np.random.default_rng(seed).standard_normal((100, 41))
        bound = X.T @ X / 100
        bound.flat[::42] += penalty
        bound[-1, -1] = 1.0
        assert largest_eigenvalue(bound) / penalty == pytest.approx(1.0, rel=1e-12)
