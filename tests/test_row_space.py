"""Logistic fits of wide tables with a ridge: in the space of the rows, and as exact as any."""

from itertools import pairwise

import numpy as np
import pytest
from comparing import assert_relative
from numpy.testing import assert_allclose
from plain import KINDS, Plain
from recording import Recorder
from scipy import sparse
from threadpoolctl import threadpool_limits

from gdregress import LogisticRegression
from gdregress.history import StopReason
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers.newton import row_space
from gdregress.solvers.newton.row_space import RowSpace

N_ROWS, N_FEATURES = 20, 60
each_kind = pytest.mark.parametrize("kind", ["sigmoid", "softmax"])


def table(kind, seed=0, n_rows=N_ROWS, n_features=N_FEATURES):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, 8)) @ rng.standard_normal((8, n_features))
    X += rng.standard_normal((n_rows, n_features)) + rng.normal(3.0, 2.0, n_features)
    return X, KINDS[kind].draw(rng, n_rows)[:, 0].astype(int)


def plain(kind, X, y, weight=None, alpha=0.1, fit_intercept=True):
    X = np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=float)
    return Plain(KINDS[kind], X, y[:, None], weight, alpha, fit_intercept=fit_intercept)


def optimum(problem):
    """theta (n_features + 1, n_outputs) by Newton's method in all columns, from zero."""
    theta = np.zeros((problem.A.shape[1], problem.Y.shape[1]))
    for _ in range(100):
        step = np.linalg.lstsq(problem.hessian(theta), problem.gradient(theta).ravel())[0]
        step, t = step.reshape(theta.shape), 1.0
        while problem.loss(theta - t * step) > problem.loss(theta) + 1e-15:
            t /= 2
        theta = theta - t * step
        if np.abs(t * step).max() < 1e-14 * np.abs(theta).max():
            break
    return theta


def goes_among_rows(kind, X, y, weight=None, alpha=0.1, fit_intercept=True):
    """Whether the fit of these data is one in the row space."""
    entry = KINDS[kind]
    objective = BlockObjective(
        RowBlocks(X, y[:, None].astype(float if kind == "sigmoid" else int), weight),
        entry.loss,
        ElasticNet(alpha),
        entry.n_outputs,
        fit_intercept=fit_intercept,
    )
    return RowSpace.of(objective) is not None


def of_many_layouts(X, tmp_path):
    mapped = np.memmap(tmp_path / "X.dat", dtype=float, mode="w+", shape=X.shape)
    mapped[:] = X
    return {
        "C": X,
        "Fortran": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "mapped": mapped,
        "sparse": sparse.csr_array(X * (np.abs(X) > 2.0)),
        "integers": np.round(X).astype(np.int16),
        "float32": X.astype(np.float32),
    }


LAYOUTS = ["C", "Fortran", "strided", "mapped", "sparse", "integers", "float32"]


@each_kind
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_optimum_of_all_columns(kind, layout, fit_intercept, weighted, tmp_path):
    X, y = table(kind)
    X = of_many_layouts(X, tmp_path)[layout]
    weight = np.random.default_rng(1).integers(0, 4, N_ROWS) + 0.0 if weighted else None
    assert goes_among_rows(kind, X, y, weight, fit_intercept=fit_intercept)
    model = LogisticRegression(alpha=0.1, fit_intercept=fit_intercept)
    model.fit(X, y, sample_weight=weight)
    problem = plain(kind, X, y, weight, fit_intercept=fit_intercept)
    theta = optimum(problem)
    tolerance = 1e-6 if layout == "float32" else 1e-9
    assert_relative(model.coef_, theta[:-1].T, tolerance)
    assert_allclose(model.intercept_, theta[-1], atol=tolerance * np.abs(theta).max())
    assert_allclose(model.loss_, problem.loss(theta), rtol=1e-12)
    assert model.stop_reason_ is StopReason.DECREMENT


@each_kind
@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 1.0, 1e6])
def test_weak_and_strong_penalties(kind, alpha):
    X, y = table(kind)
    assert goes_among_rows(kind, X, y, alpha=alpha)
    model = LogisticRegression(alpha=alpha).fit(X, y)
    assert plain(kind, X, y, alpha=alpha).decrement(
        np.vstack([model.coef_.T, model.intercept_])
    ) <= 1e-12 * np.log(2)


@each_kind
def test_repeated_rows_and_integer_weights_are_one_thing(kind):
    X, y = table(kind)
    weight = np.random.default_rng(2).integers(0, 4, N_ROWS)
    repeated = np.repeat(X, weight, axis=0), np.repeat(y, weight)
    assert goes_among_rows(kind, *repeated)
    model = LogisticRegression(alpha=0.1).fit(*repeated)
    weighted = LogisticRegression(alpha=0.1).fit(X, y, sample_weight=weight)
    assert_relative(model.coef_, weighted.coef_, 1e-10)


def test_columns_far_from_zero_and_constant_ones():
    X, y = table("sigmoid")
    far = X + 1e9 * (np.arange(N_FEATURES) % 3 == 0)
    X = far - 1e9 * (np.arange(N_FEATURES) % 3 == 0)  # what float64 keeps of them
    far[:, 5], X[:, 5] = 1e9 + 0.1, 0.0
    assert goes_among_rows("sigmoid", far, y)
    model = LogisticRegression(alpha=0.1).fit(far, y)
    theta = optimum(plain("sigmoid", X, y))
    assert_relative(np.delete(model.coef_, 5), np.delete(theta[:-1, 0], 5), 1e-9)
    assert abs(model.coef_[0, 5]) < 1e-15


@each_kind
def test_what_the_rounding_of_the_gram_matrix_left_is_taken_away(kind):
    rng = np.random.default_rng(3)
    X, y = table(kind)
    X = X + 3e4 * np.outer(rng.standard_normal(N_ROWS), rng.standard_normal(N_FEATURES))
    assert goes_among_rows(kind, X, y)
    model = LogisticRegression(alpha=0.1).fit(X, y)
    theta = np.vstack([model.coef_.T, model.intercept_])
    assert plain(kind, X, y).decrement(theta) <= 1e-18


@pytest.mark.parametrize(
    ("unit", "alpha"), [(1e150, 0.1), (1e-150, 0.1), (1e9, 1e-6), (1.0, 1e-15), (1.0, 0.0)]
)
def test_no_row_space_where_the_gram_matrix_holds_no_digits(unit, alpha):
    X, y = table("sigmoid")
    X = X * np.where(np.arange(N_FEATURES) % 2, unit, 1.0)
    assert not goes_among_rows("sigmoid", X, y, alpha=alpha)


@pytest.mark.parametrize("shape", [(60, 60), (60, 59), (60, 63), (20, 30)])
def test_no_row_space_where_it_does_not_pay(shape):
    X, y = table("sigmoid", n_rows=shape[0], n_features=shape[1])
    assert goes_among_rows("sigmoid", X, y) == (shape == (20, 30))


def test_rows_that_are_all_alike():
    X, y = np.tile(np.arange(30.0), (8, 1)), np.arange(8) % 4 // 3
    model = LogisticRegression(alpha=0.1).fit(X, y)
    assert_allclose(model.coef_, 0.0, atol=1e-15)
    assert_allclose(model.intercept_, np.log(1.0 / 3.0), rtol=1e-7)


class Follower(Recorder):
    """Keeps the coefficients after every iteration."""

    def __init__(self):
        super().__init__()
        self.thetas = []

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        if context.task_name == "iteration":
            fitted = fitted_estimator
            self.thetas.append(np.vstack([fitted.coef_.T, fitted.intercept_]))


@each_kind
@pytest.mark.parametrize("warm", [False, True])
def test_history_and_callbacks_tell_of_the_original_columns(kind, warm):
    X, y = table(kind)
    problem, follower = plain(kind, X, y), Follower()
    start, init = np.zeros((N_FEATURES + 1, KINDS[kind].n_outputs)), {}
    if warm:  # most of it outside the row space
        start = np.random.default_rng(4).standard_normal(start.shape)
        init = {"coef_init": start[:-1].T, "intercept_init": start[-1]}
    model = LogisticRegression(alpha=0.1, solver="newton").set_callbacks(follower)
    model.fit(X, y, **init, X_val=X[:7], y_val=np.append(y[:6], y[0]))
    thetas = [start, *follower.thetas]
    history = model.history_
    assert len(history) == len(thetas) > 4
    assert_allclose(history["loss"], [problem.loss(theta) for theta in thetas], rtol=1e-12)
    norms = [np.linalg.norm(problem.gradient(theta)) for theta in thetas]
    assert_allclose(history["gradient_norm"], norms, rtol=1e-9, atol=1e-13)
    moves = [np.linalg.norm(b - a) for a, b in pairwise(thetas)]
    assert_allclose(history["update_norm"][1:], moves, rtol=1e-9, atol=1e-12)
    held_out = plain(kind, X[:7], np.append(y[:6], y[0]), alpha=0.0)
    assert_allclose(
        history["validation_loss"], [held_out.loss(theta) for theta in thetas], rtol=1e-11
    )
    assert_relative(model.coef_, optimum(problem)[:-1].T, 1e-9)


@each_kind
def test_a_warm_start_at_the_optimum_takes_one_step(kind):
    X, y = table(kind)
    model = LogisticRegression(alpha=0.1, solver="newton", warm_start=True).fit(X, y)
    before = model.coef_.copy()
    model.fit(X, y)
    assert model.n_iter_ == 1
    assert_relative(model.coef_, before, 1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_bits_do_not_depend_on_the_threads(dtype):
    X, y = table("sigmoid", n_rows=30, n_features=9000)
    X = X.astype(dtype)
    assert 2 * row_space._MIN_SLAB < 9000
    fits = []
    for n_threads in (1, 2, 3):
        with threadpool_limits(n_threads):
            fits.append(LogisticRegression(alpha=0.1).fit(X, y).coef_)
    assert (fits[0] == fits[1]).all()
    assert (fits[0] == fits[2]).all()
