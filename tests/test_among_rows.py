"""Newton's method among the rows of long sparse rows, beside the textbook's and scikit-learn's."""

import math
from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_allclose
from plain import KINDS, Plain
from scipy import sparse
from sklearn.linear_model import LogisticRegression as SkLogistic

from gdregress.history import History, StopReason
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers.newton.among_rows import AmongRowsMetric, _Place, _Span
from gdregress.solvers.newton.choice import newton_metric
from gdregress.solvers.newton.krylov import KrylovMetric
from gdregress.solvers.newton.newton import newton

N_ROWS, N_COLUMNS = 300, 2_600


def words(n_rows=N_ROWS, n_columns=N_COLUMNS, seed=0, mean=3.0):
    """Counts of words by Zipf's law, and labels that some of them tell."""
    rng = np.random.default_rng(seed)
    share = np.minimum(0.9, 20.0 / np.arange(1.0, n_columns + 1))
    X = (rng.random((n_rows, n_columns)) < share) * (1.0 + rng.poisson(mean, (n_rows, n_columns)))
    z = X @ rng.normal(0.0, 0.1, n_columns)
    return X, (rng.random(n_rows) < 1.0 / (1.0 + np.exp(z.mean() - z))) + 0.0


def objective(X, y, weight=None, fit_intercept=True, alpha=1e-2, **blocks):
    rows = RowBlocks(sparse.csr_array(X), y[:, None], weight, **blocks)
    loss = KINDS["sigmoid"].loss
    return BlockObjective(rows, loss, ElasticNet(alpha), 1, fit_intercept=fit_intercept)


def zero(n_columns=N_COLUMNS):
    return np.zeros((n_columns + 1, 1, 1))


def fitted(problem, theta, choose=AmongRowsMetric, tol=1e-7):
    return newton(problem, theta, History(), max_iter=40, tol=tol, choose=choose)


@pytest.fixture
def metrics():
    """The metrics that a fit was given, and what gives them."""
    given = []

    def choose(framed):
        assert not framed.blocks.stores_zeros  # not the few rows that a Gram matrix is made of
        given.append(AmongRowsMetric(framed))
        return given[-1]

    return given, choose


def weights(n_rows=N_ROWS, seed=3):
    return np.random.default_rng(seed).integers(0, 4, n_rows) + 0.0


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weight", [None, weights()])
@pytest.mark.parametrize("alpha", [1e-4, 1e-1])
def test_the_optimum_is_that_of_another_library(alpha, weight, fit_intercept, metrics):
    X, y = words()
    given, choose = metrics
    problem = objective(X, y, weight, fit_intercept, alpha, block_rows=70)
    found = fitted(problem, zero(), choose, tol=1e-10)
    total = N_ROWS if weight is None else weight.sum()
    peer = SkLogistic(
        C=1.0 / (alpha * total),
        tol=1e-10,
        max_iter=500,
        solver="newton-cg",
        fit_intercept=fit_intercept,
    ).fit(X, y, sample_weight=weight)
    assert found.reason is StopReason.DECREMENT
    assert len(given) == 1
    assert not given[0]._is_plain
    scale = np.abs(peer.coef_).max()
    assert_allclose(found.theta[:-1, 0, 0], peer.coef_[0], rtol=0.0, atol=1e-6 * scale)
    assert_allclose(found.theta[-1, 0, 0], np.ravel(peer.intercept_)[0], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("reach", [0.0, 1.0, 100.0])
def test_the_bound_of_a_decrement_is_one(reach, fit_intercept):
    X, y = words(40, 60, mean=0.0)
    weight, alpha = weights(40), 0.03
    plain = Plain(KINDS["sigmoid"], X, y[:, None], weight, alpha, fit_intercept=fit_intercept)
    span = _Span(objective(X, y, weight, fit_intercept, alpha))
    rng = np.random.default_rng(1)
    for _ in range(10):
        beta = reach * rng.standard_normal(40) * weight / weight.sum()
        if fit_intercept:
            beta -= weight * beta.sum() / weight.sum()
        place = _Place(span, beta, X @ (X.T @ beta), rng.normal() * fit_intercept)
        theta = np.append(X.T @ beta, place.b)[:, None]
        gradient, hessian = plain.gradient(theta)[:, 0], plain.hessian(theta)
        decrement = 0.5 * gradient @ np.linalg.pinv(hessian, rcond=1e-14) @ gradient
        assert_allclose(X.T @ place.rho, gradient[:-1], rtol=0.0, atol=1e-12)
        assert_allclose(place.pull, gradient[-1] if fit_intercept else place.pull, atol=1e-12)
        assert decrement <= place.bound * (1.0 + 1e-9)
        assert decrement <= span._bound_by_ridge(place) * (1.0 + 1e-9)
        assert reach > 1.0 or place.bound <= 50.0 * decrement


def test_a_step_keeps_what_it_has_learnt_and_takes_fewer_products(monkeypatch):
    X, y = words()
    counts, reduce = Counter(), RowBlocks.reduce

    def counted(blocks, kernel, *args):
        counts[type(kernel).__name__] += 1
        return reduce(blocks, kernel, *args)

    monkeypatch.setattr(RowBlocks, "reduce", counted)
    fitted(objective(X, y, alpha=1e-4), zero(), tol=1e-4)
    among = counts["LinearPredictor"] + counts["LossGradient"]
    counts.clear()
    fitted(objective(X, y, alpha=1e-4), zero(), KrylovMetric, tol=1e-4)
    assert among < 0.6 * (counts["CurvedProduct"] + counts["CurvedExpansion"])


def test_more_directions_than_there_is_room_for():
    X, y = words(mean=20.0, seed=4)
    problem = objective(X * np.random.default_rng(0).lognormal(0.0, 2.0, X.shape), y, alpha=1e-7)
    found = fitted(problem, zero(), tol=1e-9)
    plain = fitted(problem, zero(), KrylovMetric, tol=1e-9)
    assert found.reason is StopReason.DECREMENT
    assert float(found.loss) <= float(plain.loss) + 1e-14


def test_another_start_has_no_place_among_the_rows(metrics):
    X, y = words()
    given, choose = metrics
    theta = zero()
    theta[:5] = 0.1
    found = fitted(objective(X, y), theta, choose)
    assert given[0]._is_plain
    theta = zero()
    theta[-1] = 0.5
    same = fitted(objective(X, y), theta, choose)
    assert not given[1]._is_plain
    assert_allclose(found.theta, same.theta, rtol=0.0, atol=1e-6)


def test_an_intercept_where_no_row_bends_leaves_it_to_products(metrics):
    X, y = words()
    given, choose = metrics
    problem = objective(X, y)
    at = choose(problem).look(np.append(np.zeros(N_COLUMNS), 1e4)[:, None, None])
    direction, decrement = given[0].direction(at, 1e-9)
    assert given[0]._is_plain
    assert math.isfinite(decrement)
    assert np.isfinite(direction).all()


@pytest.mark.parametrize(
    ("change", "metric"),
    [
        ({}, AmongRowsMetric),
        ({"n_rows": 2_700}, KrylovMetric),
        ({"short": True}, KrylovMetric),
        ({"alpha": 0.0}, KrylovMetric),
        ({"dense": True}, KrylovMetric),
    ],
)
def test_long_sparse_rows_with_a_ridge_choose_it(change, metric):
    X, y = words(change.get("n_rows", N_ROWS))
    if "short" in change:
        X[:, :100] = 0.0
    rows = RowBlocks(X if "dense" in change else sparse.csr_array(X), y[:, None])
    penalty = ElasticNet(change.get("alpha", 1e-2))
    framed = BlockObjective(rows, KINDS["sigmoid"].loss, penalty, 1)
    assert type(newton_metric(framed)) is metric
