"""Which metric Newton's method works in, and what a fit costs: counted in passes over the rows."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from plain import KINDS, Plain
from scipy import sparse
from sklearn import linear_model

from gdregress import LogisticRegression
from gdregress.history import History, StopReason
from gdregress.problem.class_losses import LogLoss, SoftmaxLoss
from gdregress.problem.kernels import (
    CurvedExpansion,
    CurvedProduct,
    CurvedSquares,
    Expansion,
    Hessian,
    LikelyGrams,
    LossGradient,
    Slope,
)
from gdregress.problem.margins import LargestMove
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks
from gdregress.rows.kernels import ColumnMoments
from gdregress.solvers.cholesky import ScaledCholesky
from gdregress.solvers.newton.at_zero import AtZeroMetric, BlockFactor
from gdregress.solvers.newton.choice import Pace, choose_metric
from gdregress.solvers.newton.costs import costs
from gdregress.solvers.newton.diagonal import Diagonal, DiagonalMetric
from gdregress.solvers.newton.full import FullMetric
from gdregress.solvers.newton.kept import LazyMetric, SampledMetric
from gdregress.solvers.newton.krylov import KrylovMetric
from gdregress.solvers.newton.newton import newton
from gdregress.solvers.newton.preconditioners import Blocks
from gdregress.solvers.newton.steps import QuasiNewton


def equivalents(seen, X):
    """Of passes that bring loss and gradient; a Hessian takes as long as 3 + p / 35 of them.

    What the solver asks for: passes that tell how to hold the columns are not its.
    """
    hessian = 3.0 + X.shape[1] / 35.0
    weight = {Hessian: hessian, Expansion: hessian + 1.0, LossGradient: 1.0, LargestMove: 0.5}
    return sum(weight.get(kernel, 0.0) * n_rows / X.shape[0] for kernel, n_rows in seen)


def one_hot(n_samples, levels, rng):
    """Factors whose levels get rarer by a power law, the rarest with a handful of rows."""
    columns = []
    for n_levels in levels:
        weight = np.arange(1, n_levels + 1.0) ** -2.2
        level = rng.choice(n_levels, n_samples, p=weight / weight.sum())
        columns.append(level[:, None] == np.arange(n_levels))
    return np.column_stack(columns) + 0.0


def labels(X, share, rng):
    """Labels of a model of which a few columns say nearly everything; `share` of them are 1."""
    z = X @ rng.standard_t(3.0, X.shape[1])
    z = 2.5 * z / z.std() + rng.logistic(size=len(z))
    return (z > np.quantile(z, 1.0 - share)).astype(int)


def standardised(X):
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)


def census(rng):
    """Factors of 2 to 40 levels, a quarter of the rows of the class."""
    X = one_hot(16_000, (5, 8, 5, 16, 7, 14, 6, 5, 2, 41), rng)
    return X, labels(X, 0.24, rng)


def pages(rng):
    """Binary keywords by a power law, three rows of a hundred of the class."""
    chance = 0.5 * np.arange(1, 101.0) ** -0.9
    X = (rng.random((25_000, 100)) < rng.permutation(chance)) + 0.0
    return X, labels(X, 0.03, rng)


@pytest.mark.parametrize("alpha", ["1/m", 1e-3])
@pytest.mark.parametrize(
    ("table", "form"),
    [
        (census, "raw"),
        (census, "standardised"),
        (census, "sparse"),
        (pages, "raw"),
        (pages, "sparse"),
    ],
)
def test_a_one_hot_table_takes_no_more_than_twenty_passes(table, form, alpha, passes):
    """A sample of the rows that knows the rare levels and the rare class is a likeness of all."""
    X, y = table(np.random.default_rng(0))
    X = standardised(X) if form == "standardised" else X
    fitted = sparse.csr_array(X) if form == "sparse" else X
    alpha = 1 / len(y) if alpha == "1/m" else alpha
    model = LogisticRegression(alpha=alpha, tol=1e-4).fit(fitted, y)
    assert model.converged_
    assert equivalents(passes, X) <= 20.0


def objective(X, y, alpha=1e-3, n_outputs=1):
    loss = LogLoss() if n_outputs == 1 else SoftmaxLoss()
    return BlockObjective(RowBlocks(X, y[:, None]), loss, ElasticNet(alpha), n_outputs)


@pytest.mark.parametrize(
    ("shape", "n_classes", "expected"),
    [
        ((20_000, 20), 2, SampledMetric),
        ((3_000, 100), 2, DiagonalMetric),  # uncorrelated, Hessians dear
        ((100_000, 30), 2, SampledMetric),  # a sample of so many rows is hardly chance
        ((300, 10), 2, FullMetric),  # Hessians cheap
        ((300, 10), 3, FullMetric),
        ((3_000, 100), 20, AtZeroMetric),  # then products
        ((100, 3_000), 2, KrylovMetric),  # too large to be factored
    ],
)
def test_the_metric_that_costs_least_is_chosen(shape, n_classes, expected):
    y = np.arange(shape[0]) % n_classes
    y = y + 0.0 if n_classes == 2 else y
    X = np.random.default_rng(1).standard_normal(shape)
    assert (
        type(choose_metric(objective(X, y, 1e-3, max(1, n_classes * (n_classes > 2))))) is expected
    )


@pytest.mark.parametrize(
    "correlated",
    [
        lambda X: X + 0.5 * X[:, :1],  # all with one
        lambda X: np.hstack([X[:, 20:], X[:, :20] + X[:, 20:40]]),  # in pairs
        lambda X: X + 3.0 * np.sin(np.arange(len(X)))[:, None],  # with the row, and so with all
    ],
)
def test_a_hessian_is_kept_where_columns_are_correlated(correlated):
    """Too few rows for a sample, Hessians dear."""
    X = correlated(np.random.default_rng(1).standard_normal((3_000, 100)))
    assert type(choose_metric(objective(X, np.arange(3_000) % 2 + 0.0))) is LazyMetric


def short_rows(n_samples, n_words, rng):
    """Rows of eight words of some hundred, the frequent ones first, and two classes."""
    share = np.arange(3.0, n_words + 3.0) ** -0.8
    words = rng.choice(n_words, (n_samples, 8), p=share / share.sum()).ravel()
    rows = np.repeat(np.arange(n_samples), 8)
    X = sparse.csr_array((np.ones(len(words)), (rows, words)), shape=(n_samples, n_words))
    z = X @ rng.standard_normal(n_words)
    return X, (z + rng.logistic(size=n_samples) > 0).astype(int)


@pytest.mark.parametrize("n_words", [500, 1_000])
def test_short_rows_of_words_take_products(passes, n_words):
    """A Hessian and its factor take longer than all of them."""
    X, y = short_rows(2_000, n_words, np.random.default_rng(3))
    assert type(choose_metric(objective(X, y + 0.0, 5e-4))) is KrylovMetric
    model = LogisticRegression(alpha=5e-4).fit(X, y)
    assert model.converged_
    kernels = [kernel for kernel, _ in passes]
    assert not {Hessian, Expansion} & set(kernels)
    assert kernels.count(CurvedProduct) <= 100
    plain = Plain(KINDS["sigmoid"], X.toarray(), y[:, None] + 0.0, None, 5e-4)
    theta = np.append(model.coef_[0], model.intercept_)[:, None]
    assert plain.decrement(theta) <= 1e-8 * math.log(2.0)


def test_products_that_are_too_many_give_way_to_a_hessian(passes):
    """Words that go in pairs, with hardly a ridge: no diagonal is like that Hessian."""
    rng = np.random.default_rng(4)
    X, y = short_rows(2_000, 250, rng)
    X = sparse.csr_array(sparse.hstack([X, X * rng.uniform(0.9, 1.1, X.shape[1])[::-1]]))
    X = sparse.csr_array(X + 1e-2 * X[:, rng.permutation(X.shape[1])])
    assert type(choose_metric(objective(X, y + 0.0, 1e-9))) is KrylovMetric
    assert LogisticRegression(alpha=1e-9).fit(X, y).converged_
    kernels = [kernel for kernel, _ in passes]
    assert {Hessian, Expansion} & set(kernels)
    cost = costs(objective(X, y + 0.0, 1e-9))
    kept = 3.0 * (cost.hessian + cost.factor) + 9.0
    assert kernels.count(CurvedProduct) <= kept + 20.0  # and those of the bound


@pytest.mark.parametrize("alpha", [0.0, 1e-11])
def test_uncorrelated_columns_take_no_hessian_but_that_of_the_bound(passes, alpha):
    """In any units and anywhere, of any distribution: some ten passes, as lbfgs makes them."""
    rng, shape = np.random.default_rng(6), (5_000, 100)
    X = rng.laplace(size=shape)
    z = X @ rng.standard_normal(shape[1]) / 5.0
    y = (z + rng.logistic(size=shape[0]) > 0.3).astype(int)
    X = (X + rng.uniform(-2.0, 2.0, shape[1])) * 10.0 ** rng.uniform(-3.0, 3.0, shape[1])
    model = LogisticRegression(alpha=alpha, tol=1e-4).fit(X, y)
    assert model.converged_
    assert equivalents(passes, X) <= 13.0
    plain = Plain(KINDS["sigmoid"], X, y[:, None] + 0.0, None, alpha)
    theta = np.append(model.coef_[0], model.intercept_)[:, None]
    assert plain.decrement(theta) <= 1e-9 * math.log(2.0)


@pytest.mark.parametrize(("n_rows", "looks"), [(1_000, False), (5_000, True)])
def test_correlations_are_looked_at_where_much_may_be_gained(monkeypatch, n_rows, looks):
    """A fit of one millisecond does without."""
    asked = []
    monkeypatch.setattr(Diagonal, "of", lambda framed: asked.append(framed))
    X = np.random.default_rng(9).standard_normal((n_rows, 60 if n_rows < 5_000 else 100))
    choose_metric(objective(X, np.arange(n_rows) % 2 + 0.0))
    assert bool(asked) is looks


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("weighted", [False, True])
def test_at_zero_all_rows_bend_alike(make, weighted):
    rng = np.random.default_rng(10)
    X = rng.poisson(0.5, (300, 6)) * rng.uniform(1.0, 2.0, (300, 6))
    weight = rng.uniform(0.5, 2.0, 300) if weighted else np.full(300, 1.5)
    blocks = RowBlocks(make(X), np.arange(300)[:, None] % 2 + 0.0, weight)
    framed = BlockObjective(blocks, LogLoss(), ElasticNet(1e-2), 1)
    A = np.column_stack([X, np.ones(300)])
    expected = 0.25 * A.T @ (weight[:, None] * A) / weight.sum()
    expected += 1e-2 * np.diag(np.append(np.ones(6), 0.0))
    assert_allclose(framed.hessian(np.zeros((7, 1, 1))), expected, rtol=1e-13)


def test_rows_that_do_not_bend_at_all_leave_no_trace():
    """Squares of their numbers may be beyond float64."""
    X = np.full((4, 2), 1e200)
    blocks = RowBlocks(X, np.ones((4, 1)))
    hessian = LogLoss().hessian(blocks.block(slice(0, 4)).design, np.zeros((4, 1, 1)), None)
    assert_allclose(hessian, np.zeros((3, 3)), atol=0.0)


def test_the_diagonal_gives_way_where_its_steps_are_slow():
    """One row in fifty has columns that hang together: few rows don't show it, or show too much."""
    rng = np.random.default_rng(8)
    X = rng.standard_normal((4_000, 80))
    X[::50] = 10.0 * rng.standard_normal((80, 1)) + 0.1 * rng.standard_normal((80, 80))
    y = (X[:, 0] + rng.logistic(size=4_000) > 0) + 0.0
    framed = objective(X, y, 1e-4)
    metric = DiagonalMetric(framed, Pace({"all": 5.0}), Diagonal.of(framed, math.inf))
    found = newton(
        framed, np.zeros((81, 1, 1)), History(), max_iter=60, tol=1e-6, choose=lambda _: metric
    )
    assert found.reason is StopReason.DECREMENT
    assert found.n_iter <= 25


def test_a_hessian_costs_more_the_more_columns_and_classes():
    X, y = np.ones((5_000, 40)), np.arange(5_000) % 2
    narrow, wide = (costs(objective(X[:, :p], y + 0.0)).hessian for p in (5, 40))
    coupled = costs(objective(X, np.arange(5_000) % 4, 1e-3, 4)).hessian
    assert 1.0 < narrow < wide < coupled


NEAR = 1e4  # a loss beside which the decrements below are small


def pace_after(decrements, cost, tolerance=1e-12, loss=NEAR):
    """What a pace says after each of some steps, of one pass each."""
    pace, said = Pace({"all": cost}), []
    for decrement in decrements:
        said.append(pace.better(decrement, tolerance, loss))
        pace.spend(1.0)
    return said


def test_slow_steps_end_before_they_cost_much_more_than_a_hessian():
    """A tenth less at every step: 260 of them would be needed."""
    said = pace_after(0.9 ** np.arange(30), 10.0)
    assert "all" in said[:3]


def test_fast_steps_are_not_left():
    assert pace_after(0.01 ** np.arange(6.0), 10.0) == [None] * 6


def test_slow_steps_go_on_where_little_is_left():
    """Half of it at every step, and 5 steps to go: a Hessian that costs 10 comes too late."""
    assert pace_after(2.0 ** -np.arange(5.0), 10.0, tolerance=2.0**-8) == [None] * 5


@pytest.mark.parametrize(("loss", "when"), [(1e4, 1), (4.0, 2), (1.0, 4), (0.01, 8), (0.0, None)])
def test_a_hessian_waits_until_the_decrement_is_small_beside_the_loss(loss, when):
    """A third of it at every step, 25 to go, and a Hessian for 8: steps in it are thought to leave
    (decrement / loss)^(1/2), and it pays from ``8 + left / log (loss / decrement)^(1/2)`` below
    ``left / log 3`` on, left being log (decrement / tolerance)."""
    said = pace_after(3.0 ** -np.arange(10.0), 8.0, loss=loss)
    assert (said.index("all") if "all" in said else None) == when


def test_a_metric_that_was_no_better_is_hoped_for_again_when_steps_have_cost_as_much():
    pace = Pace({"all": 10.0})
    pace.better(1.0, 1e-12, NEAR)
    pace.spend(1.0)
    assert pace.better(0.5, 1e-12, NEAR) == "all"
    pace.begin("all", 0.5)
    for k in range(2, 9):
        pace.spend(1.0)
        assert pace.better(2.0**-k, 1e-12, NEAR) is None  # as fast as before, and it costs nothing
    pace.spend(4.0)
    assert pace.better(2.0**-9, 1e-12, NEAR) == "all"


@pytest.mark.parametrize("seed", range(4))
def test_a_hessian_that_says_little_of_the_way_is_not_kept_for_long(seed):
    """Heavy tails, five classes, and next to no penalty: far from the optimum the decrement rises
    after a new Hessian, too. Newton's method itself takes some twenty steps."""
    rng = np.random.default_rng(seed)
    X = np.exp(1.5 * rng.standard_normal((250, 18)))
    y = (3.0 * X @ rng.standard_normal((18, 5)) + rng.gumbel(size=(250, 5))).argmax(axis=1)
    model = LogisticRegression(alpha=1e-5).fit(X, y)
    reference = linear_model.LogisticRegression(C=1e5 / 250, solver="newton-cholesky", tol=1e-10)
    assert model.n_iter_ <= 50
    expected = reference.set_params(max_iter=100).fit(X, y).predict_proba(X)
    assert_allclose(model.predict_proba(X), expected, atol=1e-4)


def test_a_step_too_long_is_not_made_twice():
    """``f = 1/2 k x^2`` in a metric that says 1 where the curvature is k: the pair corrects it."""
    k, x = 8.0, np.array([1.0, -2.0])
    steps = QuasiNewton(ScaledCholesky(np.eye(2)))
    moved = x * [0.5, 1.0]
    steps.remember(moved - x, k * x, k * moved)
    direction = steps.direction(k * moved)
    assert_allclose(direction, -moved, rtol=1e-12)


def test_steps_may_be_longer_where_curvature_falls_but_not_where_a_penalty_holds():
    """In a metric that says 1 where the curvature is k, as that of a logistic loss far out does;
    along the second axis a penalty is all there is, and along the third no gradient."""
    k, gradient, along = 0.5, np.array([1.0, -2.0, 0.0]), np.array([0.0, 0.0, 1.0])
    for longest, expected in ((2.0, [-1.0 / k, 2.0, 0.0]), (1.0, [-1.0, 2.0, 0.0])):
        steps = QuasiNewton(ScaledCholesky(np.eye(3)), longest)
        steps.hold(np.array([0.0, 1.0, 0.0]))
        steps.remember(along, 0.0 * along, k * along)
        assert_allclose(steps.direction(gradient), expected, rtol=1e-12, atol=1e-15)


def test_a_sample_that_gave_way_to_all_rows_is_no_longer_offered():
    """At its price it would be a Hessian of all rows."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 20))
    framed = objective(X, rng.integers(0, 2, 20_000) + 0.0)
    metric = choose_metric(framed)
    at = framed.at(metric.descend_samples(np.zeros((21, 1, 1)))).having("gradient")
    assert set(metric.pace.options) == {"sample", "all"}
    metric.pace.better = lambda *_: "all"
    metric.direction(at, 1e-9)
    assert set(metric.pace.options) == {"all"}


@pytest.mark.parametrize("n_pairs", [1, 7, 33])
def test_directions_are_those_of_the_updates_one_by_one(n_pairs):
    """BFGS, ``H <- (I - s y^T/s^T y) H (I - y s^T/s^T y) + s s^T/s^T y``, of the last 20 pairs."""
    rng = np.random.default_rng(n_pairs)
    q = 40
    curvature, M, other = ((A @ A.T / q + 0.5 * np.eye(q)) for A in rng.standard_normal((3, q, q)))
    thetas = rng.standard_normal((n_pairs + 1, q))
    gradients = thetas @ curvature
    steps = QuasiNewton(ScaledCholesky(M))
    for n in range(n_pairs):
        steps.direction(gradients[n])
        steps.remember(thetas[n + 1] - thetas[n], gradients[n], gradients[n + 1])
    for metric in (M, other):
        steps.factor = ScaledCholesky(metric)
        S, Y = np.diff(thetas, axis=0)[-20:], np.diff(gradients, axis=0)[-20:]
        seen = Y[-1] @ np.linalg.solve(metric, Y[-1])
        H = min(1.0, S[-1] @ Y[-1] / seen) * np.linalg.inv(metric)
        for s, y in zip(S, Y, strict=True):
            left = np.eye(q) - np.outer(s, y) / (s @ y)
            H = left @ H @ left.T + np.outer(s, s) / (s @ y)
        assert_allclose(steps.direction(gradients[-1]), -H @ gradients[-1], rtol=1e-8, atol=1e-8)


def test_a_kept_hessian_certifies_no_less_than_the_decrement():
    """At any theta, with M of another one: refused where asked for a little less than the truth."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((400, 6))
    y = (X @ rng.standard_normal(6) + rng.logistic(size=400) > 0) + 0.0
    framed = objective(X, y)
    for far in (0.0, 0.1, 1.0):
        metric = LazyMetric(framed, Pace({"all": math.inf}))
        at = metric.look(0.3 * rng.standard_normal((7, 1, 1)))
        metric.direction(at, 1e-9)
        theta = at.theta + far * rng.standard_normal((7, 1, 1))
        gradient, hessian = framed.value_and_gradient(theta)[1], framed.hessian(theta)
        true = 0.5 * gradient.ravel() @ np.linalg.solve(hessian, gradient.ravel())
        assert not metric.certifies(theta, gradient, true * (1 - 1e-6))
        moved = np.abs(X @ (theta - at.theta)[:-1, 0, 0] + (theta - at.theta)[-1, 0, 0]).max()
        assert metric.certifies(theta, gradient, true * math.exp(2.0 * moved) * (1 + 1e-6))


@pytest.mark.parametrize("tol", [1e-4, 1e-12])
def test_a_fit_ends_however_far_rows_have_moved_from_the_kept_hessian(tol):
    """The bound is e^80 times what the steps see: no step brings that down below rounding."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((4000, 3))
    y = (1.5 * X[:, 0] + rng.logistic(size=4000) > 0) + 0.0
    X = np.vstack([X, [[60.0, 0.0, 0.0]]])  # one row, certain, that moves far
    framed = objective(X, np.append(y, 1.0), 1e-6)
    found = newton(
        framed,
        np.zeros((4, 1, 1)),
        History(),
        max_iter=100,
        tol=tol,
        choose=lambda framed: LazyMetric(framed, Pace({"all": 30.0})),
    )
    assert found.reason is StopReason.DECREMENT
    assert np.abs(X @ found.theta[:-1, 0, 0]).max() > 80.0
    assert found.n_iter <= 60


def test_every_evaluation_of_a_fit_is_one_pass(passes):
    """Few rows: the Hessian brings loss and gradient, and nothing is looked at twice."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((300, 8))
    y = (X[:, 0] + rng.logistic(size=300) > 0).astype(int)
    model = LogisticRegression(alpha=1e-2).fit(X, y)
    kernels = [kernel for kernel, _ in passes]
    assert kernels.count(ColumnMoments) == 1  # for the frame
    assert kernels.count(Slope) == 1  # for the length of the first step
    looks = [kernel for kernel in kernels if kernel in {Expansion, LossGradient}]
    assert len(looks) == model.n_iter_ + 1
    assert looks.count(LossGradient) == 2  # the last step is made in the Hessian before it
    assert kernels.count(LargestMove) == len(kernels) - 2 - len(looks) <= 2


def spectra(n_samples, n_features, n_classes, rng):
    """Smooth, bounded features around a mean for each class: columns depend on their neighbours."""
    place = np.linspace(0.0, n_features, 20)[:, None]
    bumps = np.exp(-0.5 * ((np.arange(n_features) - place) / (n_features / 50)) ** 2)
    y = np.arange(n_samples) % n_classes
    means = rng.standard_normal((n_classes, 20)) @ bumps
    noise = rng.standard_normal((n_samples, 20)) @ bumps
    white = 0.1 * rng.standard_normal((n_samples, n_features))
    return np.tanh(0.35 * means[y] + 0.45 * noise + white), y


def test_at_zero_one_gram_matrix_is_the_softmax_hessian(passes):
    """All probabilities are equal: ``(I - 1 1^T / K) / K kron G``, and one product confirms it."""
    X, y = spectra(600, 300, 10, np.random.default_rng(4))
    framed = objective(X, y, 0.0, 10)
    metric = KrylovMetric(framed)
    at = metric.look(np.zeros((301, 1, 10)))
    direction, decrement = metric.direction(at, 1e-12)
    assert sum(kernel is CurvedProduct for kernel, _ in passes) == 1
    assert_allclose(at.curvature.product(direction), -at.gradient, atol=1e-7)
    assert_allclose(decrement, -0.5 * np.vdot(at.gradient, direction), rtol=1e-12)


@pytest.mark.parametrize("alpha", [1e-2, 1e-3])
def test_many_classes_and_columns_need_one_factor_not_one_for_each_class(alpha, passes):
    X, y = spectra(600, 300, 10, np.random.default_rng(5))
    X = standardised(X)
    model = LogisticRegression(alpha=alpha, tol=1e-4).fit(X, y)
    kernels = [kernel for kernel, _ in passes]
    assert model.converged_
    assert kernels.count(LikelyGrams) == 0
    assert kernels.count(CurvedProduct) <= 8 * model.n_iter_
    theta = np.vstack([model.coef_.T, model.intercept_])
    assert ridge_bound(theta, X, y, alpha) <= 1e-9 * np.log(10)


def test_blocks_are_made_where_they_cost_a_few_products():
    X, y = spectra(3_000, 12, 10, np.random.default_rng(6))
    assert costs(objective(X, y, 1e-3, 10)).grams_in_products < 25
    X, y = spectra(600, 300, 10, np.random.default_rng(6))
    assert costs(objective(X, y, 1e-3, 10)).grams_in_products > 25


def sites(n_samples, n_places, n_classes, rng):
    """Letters at places, one column for each; those in the middle tell the class."""
    letter = rng.integers(4, size=(n_samples, n_places))
    X = (letter[..., None] == np.arange(4)).reshape(n_samples, -1) + 0.0
    tells = 3.0 * np.exp(-0.25 * np.abs(np.arange(n_places) - n_places / 2)).repeat(4)
    weights = rng.standard_normal((X.shape[1], n_classes)) * tells[:, None]
    return X, np.argmax(X @ weights + rng.gumbel(size=(n_samples, n_classes)), axis=1)


def test_slow_products_give_way_to_a_hessian_that_is_kept(passes):
    """Near the optimum each product gains less than a part of a Hessian that costs about 20."""
    X, y = sites(2_000, 60, 3, np.random.default_rng(0))
    X, alpha = standardised(X), 1 / 2_000
    framed = objective(X, y, alpha, 3)
    start = np.zeros((X.shape[1] + 1, 1, 3))

    def choose(framed):  # without blocks
        return AtZeroMetric.of(framed, Pace({"products": 1.0}))

    found = newton(framed, start, History(), max_iter=99, tol=1e-7, choose=choose)
    kernels = [kernel for kernel, _ in passes]
    assert found.reason is StopReason.DECREMENT
    assert kernels.count(CurvedProduct) < 70  # more than 100 of them would get there alone
    assert kernels.count(Expansion) == 1
    assert found.n_iter <= 30
    assert ridge_bound(found.theta[:, 0], X, y, alpha) <= 1e-9 * np.log(3)


@pytest.mark.parametrize("alpha", ["1/m", 1e-3])
@pytest.mark.parametrize("form", ["raw", "standardised"])
def test_steps_in_the_blocks_of_the_classes_replace_products_and_hessians(form, alpha, passes):
    """Two or three dozen passes and blocks, where products took 28 to 83, and Hessians of 20 each.

    A row with a letter that nobody else has is 45 long in each of its columns, standardised: the
    blocks of some rows have that one.
    """
    X, y = sites(2_000, 60, 3, np.random.default_rng(0))
    rare = np.zeros((2_000, 10))
    rare[7] = 1.0
    X = np.hstack([X, rare])
    X = standardised(X) if form == "standardised" else X
    alpha = 1 / 2_000 if alpha == "1/m" else alpha
    model = LogisticRegression(alpha=alpha, tol=1e-4).fit(X, y)
    kernels = [kernel for kernel, _ in passes]
    assert model.converged_
    assert kernels.count(LossGradient) <= 40
    assert 1 <= kernels.count(LikelyGrams) <= 3
    assert kernels.count(CurvedProduct) <= 20  # they find out that it is the optimum
    assert kernels.count(Expansion) == 0
    plain = Plain(KINDS["softmax"], X, y[:, None], None, alpha)
    assert plain.decrement(np.vstack([model.coef_.T, model.intercept_])) <= 1e-9 * np.log(3)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_blocks_are_solved_as_the_matrix_that_they_are(fit_intercept):
    """But for what all classes have in common, on which the Hessian is the ridge."""
    rng, alpha = np.random.default_rng(2), 0.1
    X, y = rng.standard_normal((80, 4)), rng.integers(3, size=80)
    framed = BlockObjective(
        RowBlocks(X, y[:, None]), SoftmaxLoss(), ElasticNet(alpha), 3, fit_intercept=fit_intercept
    )
    theta = 0.3 * rng.standard_normal((5, 1, 3))
    theta[-1] *= fit_intercept
    hessian = framed.hessian_at(theta)
    factor = BlockFactor(Blocks(hessian, framed), theta.shape)
    blocks = hessian.output_blocks()
    n_free = 5 if fit_intercept else 4
    unit = np.sqrt(np.einsum("kjj->jk", blocks))[:n_free]
    assert_allclose(factor.unit.reshape(5, 3)[:n_free], unit, rtol=1e-6)
    R = rng.standard_normal((5, 3, 6))
    R[n_free:] = 0.0
    mean = R.mean(axis=1, keepdims=True)
    own = [np.linalg.solve(blocks[k][:n_free, :n_free], (R - mean)[:n_free, k]) for k in range(3)]
    expected = np.zeros_like(R)
    expected[:n_free] = np.stack(own, axis=1)
    expected -= expected.mean(axis=1, keepdims=True)
    expected[:4] += mean[:4] / alpha
    found = factor.solve(R.reshape(15, 6)).reshape(R.shape)
    assert_allclose(found[:n_free], expected[:n_free], rtol=1e-6, atol=1e-8)
    for r, solved in zip(R.reshape(15, 6).T, found.reshape(15, 6).T, strict=True):
        assert_allclose(factor.solve(r), solved, rtol=1e-12, atol=1e-12)


def ridge_bound(theta, X, y, alpha):
    """No less than what is left of the loss above its optimum."""
    z = X @ theta[:-1] + theta[-1]
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    gradient = X.T @ (p - np.eye(z.shape[1])[y]) / len(y) + alpha * theta[:-1]
    return np.sum(gradient**2) / (2 * alpha)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 1e-2])
def test_the_hessian_at_zero_is_solved_by_one_factor_for_all_classes(alpha, fit_intercept):
    """But for what all classes have in common, which no gradient has."""
    rng, kind = np.random.default_rng(3), KINDS["softmax"]
    X = rng.standard_normal((60, 4))
    X[:, 3] = 0.0
    y = kind.draw(rng, 60)
    weight = rng.uniform(0.5, 2.0, 60)
    args = kind.loss, ElasticNet(alpha), kind.n_outputs
    framed = BlockObjective(RowBlocks(X, y, weight), *args, fit_intercept=fit_intercept)
    metric = AtZeroMetric.of(framed, Pace({"products": 1.0}))
    theta = 0.1 * rng.standard_normal((5, 1, 3))
    theta -= theta.mean(axis=2, keepdims=True)
    if not fit_intercept:
        theta[-1] = 0.0
    at = metric.look(theta)
    direction, _ = metric.direction(at, 1e-9)
    plain = Plain(kind, X, y, weight, alpha, fit_intercept=fit_intercept)
    hessian = plain.hessian(np.zeros((5, 3)))
    expected = -np.linalg.pinv(hessian, rcond=1e-12) @ plain.gradient(theta[:, 0]).ravel()
    assert_allclose(direction.ravel(), expected, rtol=1e-9, atol=1e-12)


def test_columns_that_depend_on_each_other_begin_with_products():
    X = np.random.default_rng(1).standard_normal((3_000, 60))
    X[:, 7] = X[:, 3] - 2.0 * X[:, 5]
    y = np.arange(3_000) % 20
    assert type(choose_metric(objective(X, y, 0.0, 20))) is KrylovMetric
    assert type(choose_metric(objective(X, y, 1e-3, 20))) is AtZeroMetric


def test_steps_that_would_take_too_much_memory_are_not_kept():
    """Ten of them with their gradients and solutions: 84 MB of 500 classes and 700 columns."""
    X, y = np.random.default_rng(1).standard_normal((600, 700)), np.arange(600) % 500
    assert type(choose_metric(objective(X, y, 1e-3, 500))) is KrylovMetric
    assert type(choose_metric(objective(X, y % 100, 1e-3, 100))) is AtZeroMetric


@pytest.mark.parametrize("alpha", ["1/m", 1e-3])
@pytest.mark.parametrize("shape", [(1_500, 60, 10), (300, 80, 12)])
def test_far_from_the_optimum_steps_of_one_pass_replace_steps_of_many_products(
    shape, alpha, passes
):
    """Many classes of correlated columns: products alone take more passes."""
    n_rows, n_columns, n_classes = shape
    rng = np.random.default_rng(5)
    X = rng.standard_normal((n_rows, n_columns)) @ rng.standard_normal((n_columns, n_columns))
    X = standardised(np.abs(X) ** 1.5)
    z = X @ rng.standard_normal((n_columns, n_classes)) / 3.0
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    alpha = 1 / n_rows if alpha == "1/m" else alpha
    model = LogisticRegression(alpha=alpha, tol=1e-4).fit(X, y)
    assert model.converged_
    price = {LossGradient: 1.0, CurvedProduct: 1.0, CurvedExpansion: 1.5, CurvedSquares: 0.5}
    new = sum(price.get(kernel, 0.0) for kernel, _ in passes)
    passes.clear()
    K = len(np.unique(y))
    framed = objective(X, np.unique(y, return_inverse=True)[1], alpha, K)
    start = np.zeros((n_columns + 1, 1, K))
    found = newton(framed, start, History(), max_iter=99, tol=1e-4, choose=KrylovMetric)
    assert found.reason is StopReason.DECREMENT
    assert new < 0.95 * sum(price.get(kernel, 0.0) for kernel, _ in passes)
    plain = Plain(KINDS["softmax"]._replace(n_outputs=K), X, framed.blocks.y, None, alpha)
    theta = np.vstack([model.coef_.T, model.intercept_])
    assert plain.decrement(theta) <= 1e-9 * math.log(K)
