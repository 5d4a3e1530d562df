"""Rows of very large numbers: they hold the coefficients with next to no loss, or for good."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from plain import KINDS, Plain
from sklearn.exceptions import ConvergenceWarning

from gdregress import LogisticRegression
from gdregress.problem.kernels import Expansion, Hessian
from gdregress.problem.margins import row_moves
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers.newton.hessian import SingularDirections, factor_hessian
from gdregress.solvers.newton.movers import KeptBesideMovers

_DIGITS = 40


def outliers(seed, n_classes, decades):
    """Normal columns, some of them multiplied by 10^u in one to three rows; u is uniform."""
    rng = np.random.default_rng(seed)
    n_rows, n_columns = rng.integers(30, 120), rng.integers(3, 10)
    X = rng.standard_normal((n_rows, n_columns))
    scores = X @ rng.standard_normal((n_columns, n_classes))
    y = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    y[:n_classes] = np.arange(n_classes)
    rows = rng.choice(n_rows, rng.integers(1, 4), replace=False)
    columns = rng.choice(n_columns, rng.integers(1, n_columns + 1), replace=False)
    X[np.ix_(rows, columns)] *= 10.0 ** rng.uniform(*decades)
    return X, y


def few_outliers(seed):
    """Two classes, the first column and some others multiplied, fewer rows and columns."""
    rng = np.random.default_rng(seed)
    n_rows, n_columns = int(rng.integers(30, 90)), int(rng.integers(3, 8))
    X = rng.standard_normal((n_rows, n_columns))
    z = 0.7 * (X @ rng.standard_normal(n_columns)) + rng.logistic(size=n_rows)
    y = (z > 0.0).astype(int)
    y[:2] = 0, 1
    rows = rng.choice(n_rows, int(rng.integers(1, 4)), replace=False)
    columns = rng.random(n_columns) < 0.5
    columns[0] = True
    X[np.ix_(rows, np.flatnonzero(columns))] *= 10.0 ** rng.uniform(1.0, 7.0)
    return X, y


def exactly(values):
    return np.vectorize(mpmath.mpf, otypes=[object])(values)


def left_at(coef, X, y, alpha):
    """The loss at coefficients of two classes less that at the optimum, by Newton's method in 40
    digits from there, which goes on until no row moves; without an intercept."""
    with mpmath.workdps(_DIGITS):
        A, w, side = exactly(X * (1.0 - 2.0 * y)[:, None]), exactly(coef), 1.0 / len(y)
        exp, log = np.vectorize(mpmath.exp), np.vectorize(lambda t: mpmath.log(1 + mpmath.exp(t)))

        def loss(w):
            return log(A @ w).sum() * side + alpha / 2 * (w @ w)

        value = start = loss(w)
        for _ in range(500):
            p = 1 / (1 + exp(-(A @ w)))
            gradient = A.T @ p * side + alpha * w
            hessian = (A.T * (p * (1 - p))) @ A * side + alpha * np.eye(len(w))
            step = mpmath.lu_solve(mpmath.matrix(hessian.tolist()), mpmath.matrix(-gradient))
            step = np.array(list(step), dtype=object)
            if max(abs(A @ step)) < 1e-9:
                return float(start - value)
            t, trial = 1, loss(w + step)
            while trial >= value and t > 1e-30:
                t, trial = t / 2, loss(w + t / 2 * step)
            while t >= 1 and (longer := loss(w + 2 * t * step)) < trial:
                t, trial = 2 * t, longer
            w, value = w + t * step, trial
    raise AssertionError("40 digits do not arrive")


@pytest.mark.parametrize("tol", [1e-2, 1e-5])
@pytest.mark.parametrize("alpha", [0.0, 1e-3])
@pytest.mark.parametrize("seed", [3, 20, 76, 110, 143])
def test_what_is_left_at_the_optimum_of_two_classes(seed, alpha, tol):
    X, y = few_outliers(seed)
    model = LogisticRegression(alpha=alpha, tol=tol, fit_intercept=False, solver="newton").fit(X, y)
    assert model.converged_
    assert model.n_iter_ <= 40
    assert left_at(model.coef_.ravel(), X, y, alpha) <= 1.2e-5 * tol * np.log(2.0)


def test_a_step_that_goes_too_far_is_not_doubled():
    """Near the optimum twice a Newton step leads to the mirror image of where it began."""
    X, y = outliers(57, 2, (1.0, 7.0))
    model = LogisticRegression(alpha=0.0, tol=1e-2, fit_intercept=False, solver="newton").fit(X, y)
    assert model.converged_
    assert model.n_iter_ <= 40
    assert left_at(model.coef_.ravel(), X, y, 0.0) <= 1.2e-7 * np.log(2.0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("tol", [1e-2, 1e-5])
@pytest.mark.parametrize("seed", [2, 10, 26, 45, 104])
def test_rows_that_hold_the_coefficients_of_many_classes_end_the_fit(seed, tol):
    """With numbers of up to 1e9 rounding may keep it from being certain; then it says so soon."""
    X, y = outliers(seed, 4, (2.0, 9.0))
    model = LogisticRegression(alpha=1e-3, tol=tol, fit_intercept=False, solver="newton").fit(X, y)
    assert model.n_iter_ <= 60
    assert model.converged_ or "stopped decreasing" in model.stop_reason_


@pytest.mark.parametrize("alpha", [0.0, 1e-3])
def test_separable_rows_that_move_for_ever_end_the_fit(alpha):
    """A level of one row has no optimum of its own without a penalty, and moves by 1 each time."""
    X, y = few_outliers(20)
    X = np.column_stack([X, np.arange(len(y)) == 5])
    model = LogisticRegression(alpha=alpha, tol=1e-4, solver="newton")
    if alpha:
        assert model.fit(X, y).converged_
    else:
        with pytest.warns(ConvergenceWarning, match="separable"):
            model.fit(X, y)
    assert model.n_iter_ <= 40


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_a_kept_hessian_without_its_movers(name, weighted, fit_intercept):
    """``e^r / 2 g^T M_o^-1 g`` by the textbook, and never below the decrement."""
    rng, kind = np.random.default_rng(4), KINDS[name]
    X = rng.standard_normal((300, 4))
    X[:7] *= 20.0
    y, weight = kind.draw(rng, 300), rng.uniform(0.5, 2.0, 300) if weighted else None
    blocks = RowBlocks(X, y, weight, workers=2)
    penalty, intercept = ElasticNet(1e-3), {"fit_intercept": fit_intercept}
    objective = BlockObjective(blocks, kind.loss, penalty, kind.n_outputs, **intercept)
    before, step = 0.2 * rng.standard_normal((2, 5, 1, kind.n_outputs))
    if not fit_intercept:
        before[-1] = step[-1] = 0.0
    theta = before + step
    hessian = objective.hessian(before)
    kept = factor_hessian(objective, hessian, SingularDirections(objective)).factor
    moves = row_moves(objective, step)
    size = np.sort(moves)[-8:-6].mean()
    beside = KeptBesideMovers(objective, kept, before, moves, size)
    gradient = objective.value_and_gradient(theta)[1]

    plain = Plain(kind, X, y, weight, 1e-3, **intercept)
    true = plain.decrement(theta[:, 0])
    others = Plain(kind, X, y, weight, 1e-3, **intercept)
    others.weight = np.where(moves > size, 0.0, plain.weight)
    g = gradient[: 5 if fit_intercept else 4].ravel()
    M = others.hessian(before[:, 0])[: len(g), : len(g)]
    expected = 0.5 * np.exp(moves[moves <= size].max()) * g @ np.linalg.pinv(M, rcond=1e-13) @ g
    found = beside.decrement(gradient, moves)
    assert_allclose(found, expected, rtol=1e-8)
    assert true <= found < 0.5 * np.exp(moves.max()) * g @ kept.solve(gradient.ravel())[: len(g)]


def test_where_the_others_do_not_hold_the_coefficients_they_bound_nothing():
    """A column that only the movers have, and no ridge: without them nothing bends there."""
    X = np.random.default_rng(2).standard_normal((200, 3))
    X[5:, 2] = 0.0
    y = (np.arange(200) % 2 + 0.0)[:, None]
    objective = BlockObjective(RowBlocks(X, y), KINDS["sigmoid"].loss, ElasticNet(0.0), 1)
    zero = np.zeros((4, 1, 1))
    kept = factor_hessian(objective, objective.hessian(zero), SingularDirections(objective)).factor
    moves = np.where(np.arange(200) < 5, 3.0, 0.1)
    beside = KeptBesideMovers(objective, kept, zero, moves, 1.0)
    assert beside.decrement(np.ones_like(zero), moves) == np.inf


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_of_heavy_tails_call_for_no_hessian_but_that_of_the_steps(seed, standardise, passes):
    """Their few movers had a Hessian made at the optimum for nothing but its bound."""
    rng, shape = np.random.default_rng(seed), (4000, 30)
    X = np.exp(1.5 * rng.standard_normal(shape)) * (rng.random(shape) < 0.3)
    z = 0.7 * np.log1p(X) @ rng.standard_normal(shape[1])
    y = (z - np.median(z) + rng.logistic(size=shape[0]) > 0.0).astype(int)
    if standardise:
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = LogisticRegression(alpha=1e-3, tol=1e-4).fit(X, y)
    assert model.converged_
    whole = [kernel for kernel, n_rows in passes if n_rows == shape[0]]
    assert sum(kernel in {Hessian, Expansion} for kernel in whole) <= 2
    plain = Plain(KINDS["sigmoid"], X, y[:, None] + 0.0, None, 1e-3)
    theta = np.append(model.coef_[0], model.intercept_)[:, None]
    assert plain.decrement(theta) <= 1e-9 * np.log(2.0)
