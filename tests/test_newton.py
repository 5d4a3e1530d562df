"""Newton's method in every metric: the optimum, and a certificate that holds."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from plain import KINDS, Plain
from scipy import sparse
from scipy.special import expit, softmax
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning

from gdregress import LogisticRegression
from gdregress.history import History, StopReason
from gdregress.problem.basis import Basis
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers.newton.at_zero import AtZeroMetric
from gdregress.solvers.newton.choice import Limits, Pace, choose_metric, sampled_metric
from gdregress.solvers.newton.diagonal import Diagonal, DiagonalMetric
from gdregress.solvers.newton.full import FullMetric
from gdregress.solvers.newton.kept import LazyMetric, SampledMetric
from gdregress.solvers.newton.krylov import KrylovMetric
from gdregress.solvers.newton.newton import newton
from gdregress.solvers.newton.steps import first_length

METRICS = {
    "full": FullMetric,
    "Krylov": KrylovMetric,
    "sampled": SampledMetric,
    "lazy": LazyMetric,
    "at zero": AtZeroMetric,
    "diagonal": DiagonalMetric,
}
each_metric = pytest.mark.parametrize("metric", METRICS)
each_alpha = pytest.mark.parametrize("alpha", [0.0, 1e-3])
each_kind = pytest.mark.parametrize("name", ["sigmoid", "softmax"])


CHOOSE = {
    "full": FullMetric,
    "Krylov": KrylovMetric,
    "sampled": lambda framed: sampled_metric(framed, Limits(smallest=200)),
    "lazy": lambda framed: LazyMetric(framed, Pace({"all": 5.0})),
    "at zero": lambda framed: at_zero(framed, Pace({"all": 20.0, "products": 2.0})),
    "diagonal": lambda framed: diagonal(framed, Pace({"all": 20.0})),
}


def at_zero(framed, pace):
    """That of several classes; None of two."""
    return AtZeroMetric.of(framed, pace) if framed.loss.is_coupled else None


def diagonal(framed, pace, most=math.inf):
    """The diagonal of one output, whatever the correlations; None where a column is zero."""
    found = Diagonal.of(framed, most) if framed.shape[1] == 1 else None
    return found and DiagonalMetric(framed, pace, found)


class Force:
    """Begin with one metric, whatever the size of the problem; and what there was."""

    def __init__(self):
        self.metric, self.used = None, set()

    def __call__(self, metric):
        self.metric = metric
        return self.used

    def choose(self, framed):
        chosen = self.metric and CHOOSE[self.metric](framed)
        chosen = chosen or choose_metric(framed)
        self.used.add(type(chosen))
        return chosen


FORCED = Force()


@pytest.fixture
def force():
    yield FORCED
    FORCED.__init__()


def table(name, n_rows=3000, n_features=4, *, weighted=False, seed=0, X=None):
    """Rows, labels drawn from a model of them, and weights."""
    kind, rng = KINDS[name], np.random.default_rng(seed)
    if X is None:
        X = rng.standard_normal((n_rows, n_features)) + 0.3
    z = X @ rng.uniform(-1, 1, (X.shape[1], kind.n_outputs))
    if name == "sigmoid":
        y = (rng.uniform(size=z.shape) < expit(z)) + 0.0
    else:
        y = np.argmax(z + rng.gumbel(size=z.shape), axis=1)[:, None]
    return X, y, rng.uniform(0.1, 3, len(X)) if weighted else None


def objective_of(name, X, y, sample_weight=None, alpha=0.0, *, fit_intercept=True):
    kind = KINDS[name]
    blocks = RowBlocks(X, y, sample_weight, workers=2)
    return BlockObjective(
        blocks, kind.loss, ElasticNet(alpha), kind.n_outputs, fit_intercept=fit_intercept
    )


def fit(objective, *, tol=1e-6, max_iter=200, start=None):
    """theta (p + 1, K), the reason, the history."""
    history = History()
    theta = np.zeros((objective.shape[0], 1, objective.shape[1])) if start is None else start
    with np.errstate(all="ignore"):  # as the estimators do
        found = newton(objective, theta, history, max_iter=max_iter, tol=tol, choose=FORCED.choose)
    assert np.all(np.isfinite(found.theta))
    return found.theta[:, 0], found.reason, history


def optimum(plain, shape):
    """Damped Newton steps by the plain formulas, to rounding level."""
    theta = np.zeros(shape)
    for _ in range(60):
        g, H = plain.gradient(theta).ravel(), plain.hessian(theta)
        unit = np.sqrt(np.diag(H))
        unit[unit == 0.0] = 1.0
        step = np.linalg.lstsq(H / unit / unit[:, None], g / unit, rcond=1e-12)[0] / unit
        t = 1.0
        while plain.loss(theta - t * step.reshape(shape)) > plain.loss(theta) and t > 1e-3:
            t /= 2
        theta = theta - t * step.reshape(shape)
        if g @ step < 1e-20:
            break
    return theta


def assert_certified(
    name, theta, history, X, y, weight=None, alpha=0.0, *, tol, fit_intercept=True
):
    """The true decrement at theta, by the plain formulas, is within the tolerance."""
    plain = Plain(KINDS[name], X, y, weight, alpha, fit_intercept=fit_intercept)
    start = plain.loss(np.zeros_like(theta))
    rounding = 32 * np.finfo(float).eps * plain.loss(theta)
    assert plain.decrement(theta) <= max(1e-5 * tol * start, rounding)
    assert_allclose(history["loss"][-1], plain.loss(theta), rtol=1e-10)
    assert_allclose(history["loss"][0], start, rtol=1e-12)


# The optimum


@each_metric
@each_kind
@each_alpha
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_every_metric_reaches_the_optimum(
    metric, name, alpha, weighted, is_sparse, fit_intercept, force
):
    used = force(metric)
    X, y, weight = table(name, weighted=weighted)
    if is_sparse:
        X = X * (np.random.default_rng(1).uniform(size=X.shape) < 0.5)
    args = (sparse.csr_matrix(X) if is_sparse else X, y, weight, alpha)
    theta, reason, _ = fit(objective_of(name, *args, fit_intercept=fit_intercept), tol=1e-9)
    assert METRICS[metric] in used or (metric, name) in {
        ("diagonal", "softmax"),
        ("at zero", "sigmoid"),
    }
    assert reason is StopReason.DECREMENT
    plain = Plain(KINDS[name], X, y, weight, alpha, fit_intercept=fit_intercept)
    best = optimum(plain, theta.shape)
    if name == "softmax" and alpha == 0.0:  # equal up to a constant for all classes
        best -= best.mean(axis=1, keepdims=True)
        theta = theta - theta.mean(axis=1, keepdims=True)
    elif name == "softmax":
        best[-1] -= best[-1].mean()
        theta[-1] -= theta[-1].mean()
    # The rounding of the loss, eps, leaves sqrt(eps / curvature) of theta, and with a penalty the
    # smallest curvature, that along the gauge, is alpha.
    assert_allclose(theta, best, atol=1e-6 if alpha == 0.0 else 5e-6)
    assert plain.loss(theta) - plain.loss(best) <= 1e-14
    if not fit_intercept:
        assert np.all(theta[-1] == 0.0)


@each_metric
@each_kind
@each_alpha
def test_the_history_descends_and_counts(metric, name, alpha, force):
    force(metric)
    X, y, weight = table(name, weighted=True)
    _, _, history = fit(objective_of(name, X, y, weight, alpha))
    assert np.all(np.diff(history["loss"]) <= 1e-14)
    assert list(history["iteration"]) == list(range(len(history)))
    assert np.isnan(history["update_norm"][0])


@each_metric
def test_max_iter_is_kept(metric, force):
    force(metric)
    X, y, _ = table("sigmoid")
    _, reason, history = fit(objective_of("sigmoid", X, y), max_iter=1, tol=0)
    assert reason is StopReason.MAX_ITER
    assert len(history) == 2


@each_metric
@each_kind
def test_it_stays_where_the_gradient_is_zero(metric, name, force):
    """Every row with each label once: the start is the optimum, to the last bit."""
    force(metric)
    K = max(2, KINDS[name].n_outputs)
    rows = np.tile(np.eye(4), (200, 1))
    X = np.repeat(rows, K, axis=0)
    y = np.tile(np.arange(K), len(rows))[:, None]
    theta, reason, history = fit(objective_of(name, X, y + 0.0 if K == 2 else y))
    assert reason is StopReason.DECREMENT
    assert_allclose(theta, 0.0, atol=1e-12)
    assert_allclose(history["loss"][-1], np.log(K), rtol=1e-12)


# The certificate


@each_metric
@each_kind
@each_alpha
@pytest.mark.parametrize("tol", [1e-2, 1e-6])
@pytest.mark.parametrize("correlation", [0.0, 1 - 1e-6])
def test_the_decrement_at_the_end_is_within_the_tolerance(
    metric, name, alpha, tol, correlation, force
):
    """Correlated columns are where a diagonal or a sample says little about the Hessian."""
    force(metric)
    rng = np.random.default_rng(2)
    X = rng.standard_normal((3000, 1)) * np.sqrt(correlation) + rng.standard_normal(
        (3000, 5)
    ) * np.sqrt(1 - correlation)
    X[:, 2] *= 1e-3
    _, y, weight = table(name, X=X, weighted=True)
    theta, reason, history = fit(objective_of(name, X, y, weight, alpha), tol=tol)
    assert reason is StopReason.DECREMENT
    assert_certified(name, theta, history, X, y, weight, alpha, tol=tol)


@each_kind
@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_the_hessian_is_spared_only_where_the_decrement_is_within_the_tolerance(name, scale):
    """However far rows lie, and whether that was known before or hoped for.

    A step is spared where the tolerance is near rounding level only if it would change nothing.
    """
    X, y, weight = table(name, n_rows=200, weighted=True)
    X = X * np.array([1.0, scale, 1.0, 0.1])
    X[:5], weight[:5] = 30.0 * X[:5, ::-1], 0.01  # of little weight, which every step moves far
    y[:5] = 1.0 - y[:5] if name == "sigmoid" else 2 - y[:5]
    plain = Plain(KINDS[name], X, y, weight, 1e-2, fit_intercept=True)
    n_spared = n_steps_spared = 0
    for tolerance in 10.0 ** -np.arange(2.0, 13.0):
        metric = FullMetric(objective_of(name, X, y, weight, 1e-2))
        at = metric.look(np.zeros((5, 1, KINDS[name].n_outputs)))
        for _ in range(12):
            direction, decrement = metric.direction(at, tolerance)
            if decrement <= tolerance:
                n_spared += at._hessian is None
                assert plain.decrement(at.theta[:, 0]) <= tolerance * (1 + 1e-9)
                break
            before, at = at, metric.look(at.theta + direction)
            metric.remember(before, at, 1.0)
            if metric.proves(at, tolerance):
                is_loose = tolerance > 5e-10
                n_steps_spared += is_loose
                most = tolerance if is_loose else 1e-6 * tolerance
                assert plain.decrement(at.theta[:, 0]) <= most * (1 + 1e-9)
    assert n_spared > 0
    assert n_steps_spared > 0


@each_metric
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_the_certificate_holds_in_a_trend_of_many_columns(metric, tol, force):
    """Cumulative columns: conjugate gradients have the small residual long before the step."""
    force(metric)
    rng = np.random.default_rng(3)
    X = (rng.uniform(size=(4000, 1)) > np.linspace(0.02, 0.98, 40)) + 0.0
    y = (rng.uniform(size=(4000, 1)) < expit(2 * np.sin(6 * X.mean(axis=1, keepdims=True)))) + 0.0
    theta, reason, history = fit(objective_of("sigmoid", X, y), tol=tol)
    assert reason is StopReason.DECREMENT
    assert_certified("sigmoid", theta, history, X, y, tol=tol)


def heavy_rows(n_rows=6000):
    """Three rows with nearly all the weight, and a column that is zero there."""
    X, y, _ = table("sigmoid", n_rows, 3, seed=4)
    weight = np.ones(n_rows)
    heavy = [17, 2222, 5333]
    weight[heavy] = 1e6
    X[heavy, 2] = 0.0
    y[heavy, 0] = [0.0, 1.0, 1.0]
    return X, y, weight


def rare_levels(n_rows=8000, n_levels=60):
    """So many rare levels that the rows that have one are more than the sample."""
    rng = np.random.default_rng(5)
    levels = np.minimum(np.arange(n_rows) // 30, n_levels)  # the last one is all the rest
    X = np.column_stack([np.eye(n_levels + 1)[levels][:, :-1], rng.standard_normal(n_rows)])
    y = (rng.uniform(size=(n_rows, 1)) < expit(X[:, -1:])) + 0.0
    for rows in rng.choice(n_rows, (8, 4), replace=False):
        X = np.column_stack([X, np.isin(np.arange(n_rows), rows)])
        y[rows, 0] = [0.0, 1.0, 1.0, 0.0]
    return X, y, None


def tail_rows(n_rows=2039):
    """A column that is not zero in the last rows only."""
    X, y, _ = table("sigmoid", n_rows, 3, seed=6)
    X[:-30, 2] = 0.0
    return X, y, None


TABLES = {
    "plain": lambda: table("sigmoid", seed=7),
    "weighted": lambda: table("sigmoid", weighted=True, seed=7),
    "softmax": lambda: table("softmax", weighted=True, seed=7),
    "heavy rows": heavy_rows,
    "rare levels": rare_levels,
    "tail rows": tail_rows,
}


@each_alpha
@pytest.mark.parametrize("data", TABLES)
def test_the_bound_of_a_sample_is_never_below_the_true_decrement(data, alpha, force):
    force("sampled")
    X, y, weight = TABLES[data]()
    name = "softmax" if data == "softmax" else "sigmoid"
    objective = objective_of(name, X, y, weight, alpha)
    plain = Plain(KINDS[name], X, y, weight, alpha)
    rng, too_low = np.random.default_rng(8), []
    for scale in (0.0, 0.1, 1.0):
        theta = scale * rng.standard_normal((objective.shape[0], 1, objective.shape[1]))
        metric = CHOOSE["sampled"](objective)
        metric.descend_samples(theta)
        # `certifies` claims a bound: asked for a little less than the truth it must refuse.
        gradient, true = objective.value_and_gradient(theta)[1], plain.decrement(theta[:, 0])
        if metric.certifies(theta, gradient, true * (1 - 1e-6)):
            too_low.append((scale, "the gradient"))
        # The same along coordinates: near the optimum the gradient may come to point anywhere.
        inverse = np.linalg.pinv(plain.hessian(theta[:, 0]), rcond=1e-13, hermitian=True)
        for j in range(theta.size)[-9:] if name == "sigmoid" else ():
            unit = np.zeros_like(theta)
            unit.flat[j] = 1.0
            if metric.certifies(theta, unit, 0.5 * inverse[j, j] * (1 - 1e-6)):
                too_low.append((scale, j))
    assert too_low == []


@pytest.mark.parametrize("data", TABLES)
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_the_certificate_of_a_sample_holds_on_awkward_tables(data, tol, force):
    force("sampled")
    X, y, weight = TABLES[data]()
    name = "softmax" if data == "softmax" else "sigmoid"
    theta, reason, history = fit(objective_of(name, X, y, weight), tol=tol)
    assert reason is StopReason.DECREMENT
    assert_certified(name, theta, history, X, y, weight, tol=tol)


@each_kind
@pytest.mark.parametrize("n_weighing", [20, 4_000])
def test_rows_that_weigh_nothing_are_no_rows(name, n_weighing):
    """Among 100,000 rows without weight, a sample that misses the others would know nothing."""
    X, y, _ = table(name, 100_000, 4)
    kept = np.sort(np.random.default_rng(9).choice(len(X), n_weighing, replace=False))
    weight = np.zeros(len(X))
    weight[kept] = 1.0
    theta, reason, _ = fit(objective_of(name, X, y, weight, 0.01), tol=1e-9)
    alone, _, _ = fit(objective_of(name, X[kept], y[kept], None, 0.01), tol=1e-9)
    assert reason is StopReason.DECREMENT
    # The decrements are within 1e-14 of the loss: theta is known to the root of that.
    assert_allclose(theta, alone, rtol=1e-7, atol=2e-7)


# Awkward columns


@each_metric
@each_kind
@pytest.mark.parametrize("size", [1e-150, 1e-30, 1e30, 1e150])
def test_the_unit_of_a_penalised_column_is_no_matter(metric, name, size, force):
    """Next to a column of size 1e150 its penalty is nothing; one of 1e-150 is held at zero."""
    force(metric)
    X, y, weight = table(name, weighted=True)
    Z = X * [1.0, size, 1.0, 1.0]
    theta, reason, _ = fit(objective_of(name, Z, y, weight, 1e-3), tol=1e-9)
    assert reason is StopReason.DECREMENT
    held = 1e-3 / np.array([1.0, size, 1.0, 1.0]) ** 2
    z = Z @ theta[:-1] + theta[-1]
    p = expit(z) if name == "sigmoid" else softmax(z, axis=1)
    target = y if name == "sigmoid" else np.eye(z.shape[1])[y[:, 0]]
    gradient = X.T @ (weight[:, None] * (p - target)) / weight.sum()
    in_units = theta[:-1] * np.array([1.0, size, 1.0, 1.0])[:, None]
    assert_allclose(gradient + held[:, None] * in_units, 0.0, atol=1e-7)


@each_metric
def test_a_rare_level_gets_its_own_coefficient(metric, force):
    """Three ones in 30,000 rows: a sample of the rows may not see one."""
    force(metric)
    X, y, _ = table("sigmoid", 30_000, 2)
    rare = np.array([11, 12_345, 29_999])
    X = np.column_stack([X, np.isin(np.arange(30_000), rare)])
    y[rare, 0] = [1.0, 0.0, 1.0]
    for design in (X, sparse.csr_matrix(X)):
        theta, reason, history = fit(objective_of("sigmoid", design, y), tol=1e-8)
        assert reason is StopReason.DECREMENT
        p = expit(np.column_stack([X[rare], np.ones(3)]) @ theta)
        assert_allclose(p.sum(), 2.0, rtol=1e-4)  # the gradient of that coefficient
        assert_certified("sigmoid", theta, history, X, y, tol=1e-8)


@each_metric
@each_kind
@each_alpha
@pytest.mark.parametrize("extra", ["constant", "zero", "duplicate", "sum"])
def test_columns_that_add_nothing_change_no_prediction(metric, name, alpha, extra, force):
    force(metric)
    X, y, weight = table(name, weighted=True)
    columns = {
        "constant": np.full(len(X), 7.0),
        "zero": np.zeros(len(X)),
        "duplicate": X[:, 1],
        "sum": X[:, 0] - 2 * X[:, 3],
    }
    wider = np.column_stack([X, columns[extra]])
    theta, reason, _ = fit(objective_of(name, X, y, weight, alpha), tol=1e-9)
    wide, wide_reason, history = fit(objective_of(name, wider, y, weight, alpha), tol=1e-9)
    assert reason is StopReason.DECREMENT
    assert wide_reason is StopReason.DECREMENT
    assert_certified(name, wide, history, wider, y, weight, alpha, tol=1e-6)
    if alpha == 0.0 or extra in ("constant", "zero"):
        narrow_z, wide_z = X @ theta[:-1] + theta[-1], wider @ wide[:-1] + wide[-1]
        gauge = [
            z - z.mean(axis=1, keepdims=name == "softmax") * (name == "softmax")
            if name == "softmax"
            else z
            for z in (narrow_z, wide_z)
        ]
        assert_allclose(gauge[1], gauge[0], atol=1e-6)
    if extra == "zero":
        assert np.all(wide[-2] == 0.0)


@each_metric
@each_kind
@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1e9, 1e150])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_units_divide_the_coefficients(metric, name, scale, is_sparse, force):
    force(metric)
    X, y, weight = table(name, weighted=True)
    units = np.array([scale, 1.0, 1 / scale, 1.0])
    theta, _, _ = fit(objective_of(name, X, y, weight), tol=1e-9)
    scaled = X * units
    scaled = sparse.csr_matrix(scaled) if is_sparse else scaled
    other, reason, _ = fit(objective_of(name, scaled, y, weight), tol=1e-9)
    assert reason is StopReason.DECREMENT
    other[:-1] *= units[:, None]
    assert_allclose(
        other - other.mean(axis=1, keepdims=True) * (name == "softmax"),
        theta - theta.mean(axis=1, keepdims=True) * (name == "softmax"),
        atol=1e-6,
    )


@each_metric
@each_kind
def test_a_column_far_from_zero_is_a_column_near_it(metric, name, force):
    force(metric)
    X, y, weight = table(name, weighted=True)
    X[:, 0] = np.round(X[:, 0] * 1024) / 1024
    far = X + np.array([1e9, 0, 0, 0])
    theta, _, _ = fit(objective_of(name, X, y, weight), tol=1e-9)
    other, reason, _ = fit(objective_of(name, far, y, weight), tol=1e-9)
    assert reason is StopReason.DECREMENT
    if name == "softmax":
        theta, other = (t - t.mean(axis=1, keepdims=True) for t in (theta, other))
    assert_allclose(other[:-1], theta[:-1], atol=1e-6)


@each_metric
@each_kind
@pytest.mark.parametrize("gap", [1e-4, 1e-8, 1e-10, 1e-12])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_nearly_dependent_columns_cost_nothing(metric, name, gap, is_sparse, force):
    """A column that differs from another by 1e-12 of it: the difference is a column like any.

    The optimum is that of the same columns with the difference, which is exact, in the place of
    the fifth; the loss of that of the original columns may feel that their linear predictor is
    rounded to eps / gap.
    """
    force(metric)
    X, _, _ = table(name, seed=11)
    rng = np.random.default_rng(12)
    if is_sparse:
        X = X * (rng.random(X.shape) < 0.5)
    near = X[:, 1] * (1.0 + gap * rng.standard_normal(len(X)))
    wide, apart = (np.column_stack([X, c]) for c in (near, (near - X[:, 1]) / gap))
    _, y, weight = table(name, X=apart, weighted=True, seed=11)
    weight[::7] = 0.0
    _, _, reference = fit(objective_of(name, apart, y, weight), tol=1e-9)
    wide = sparse.csr_matrix(wide) if is_sparse else wide
    _, reason, history = fit(objective_of(name, wide, y, weight))
    assert reason is StopReason.DECREMENT
    assert len(history) <= len(reference) + 6
    assert abs(history["loss"][-1] - reference["loss"][-1]) <= 1e-10 + np.finfo(float).eps / gap


@each_metric
@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_a_penalty_beside_a_huge_column_costs_no_iterations(metric, size, force):
    force(metric)
    X, y, weight = table("softmax", weighted=True)
    _, _, ordinary = fit(objective_of("softmax", X, y, weight, 1e-3))
    _, _, history = fit(objective_of("softmax", X * [1.0, size, 1.0, 1.0], y, weight, 1e-3))
    assert len(history) <= len(ordinary) + 1


@each_kind
def test_the_direction_is_newtons_where_columns_depend_on_each_other(name):
    """``H d = -g``, at any theta: no class is weighed against another by its curvature."""
    X, y, weight = table(name, 400, weighted=True)
    objective = objective_of(name, np.column_stack([X, X[:, 0] - X[:, 2]]), y, weight)
    theta = np.random.default_rng(13).standard_normal((6, 1, objective.shape[1]))
    metric = FullMetric(objective)
    at = metric.look(theta)
    direction, _ = metric.direction(at, 0.0)
    assert metric.is_exact
    assert_allclose(objective.hessian_at(theta).product(direction), -at.gradient, atol=1e-13)


# The start


def far_starts(shape):
    rng = np.random.default_rng(14)
    intercept = np.zeros(shape)
    intercept[-1] = [50.0, -20.0, 10.0][: shape[2]]
    return {
        "intercept": intercept,
        "saturated": 1e3 * rng.standard_normal(shape),
        "hopeless": 1e9 * rng.standard_normal(shape),
        "lopsided": np.full(shape, 3.0) if shape[2] == 1 else np.full(shape, 3.0) * [1.0, 2.0, 9.0],
    }


@each_metric
@each_kind
@each_alpha
@pytest.mark.parametrize("start", far_starts((5, 1, 3)))
@pytest.mark.parametrize("is_sparse", [False, True])
def test_the_optimum_is_reached_from_anywhere(metric, name, alpha, start, is_sparse, force):
    force(metric)
    X, y, weight = table(name, weighted=True)
    X = X * (np.random.default_rng(15).random(X.shape) < 0.5) if is_sparse else X
    args = (sparse.csr_matrix(X) if is_sparse else X, y, weight, alpha)
    _, _, reference = fit(objective_of(name, *args))
    objective = objective_of(name, *args)
    begin = far_starts((5, 1, objective.shape[1]))[start]
    _, reason, history = fit(objective, start=begin)
    assert reason is StopReason.DECREMENT
    plain = Plain(KINDS[name], X, y, weight, alpha)
    assert_allclose(history["loss"][0], plain.loss(begin[:, 0]), rtol=1e-9)
    assert_allclose(history["loss"][-1], reference["loss"][-1], rtol=0, atol=1e-11)
    assert len(history) <= len(reference) + 3
    assert np.all(np.diff(history["loss"]) <= 1e-13 * history["loss"][:-1])


@each_metric
@pytest.mark.parametrize("size", [3.0, 30.0])
def test_a_start_that_is_good_but_saturated(metric, size, force):
    """Nearly all rows right and certain, a few wrong: better than zero, with hardly a Hessian."""
    force(metric)
    rng = np.random.default_rng(16)
    X = rng.standard_normal((3000, 4))
    z = X @ rng.standard_normal((4, 1))
    y = ((z > 0) ^ (rng.random(z.shape) < 0.005)) + 0.0
    begin = np.zeros((5, 1, 1))
    begin[:-1, 0] = np.linalg.lstsq(X, size * z, rcond=None)[0]
    _, _, reference = fit(objective_of("sigmoid", X, y))
    _, reason, history = fit(objective_of("sigmoid", X, y), start=begin)
    assert history["loss"][0] < np.log(2)
    assert reason is StopReason.DECREMENT
    assert_allclose(history["loss"][-1], reference["loss"][-1], rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_a_first_step_goes_as_far_as_the_loss_falls(name):
    """Along it the loss falls beyond length 1. What promises little, or tells nothing of that, is
    not looked at."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 3)), KINDS[name].draw(rng, 300)
    score = 2.0 * X[:, 0] + rng.logistic(size=300)
    y[:, 0] = (score > 0.0) + (score > 1.5) * (name == "softmax")
    framed = BlockObjective(
        RowBlocks(X, y), KINDS[name].loss, ElasticNet(1e-3), KINDS[name].n_outputs
    )
    metric = FullMetric(framed)
    at = metric.look(np.zeros((4, 1, KINDS[name].n_outputs)))
    direction, decrement = metric.direction(at, 0.0)
    length = first_length(at, direction, decrement)
    trials = np.linspace(0.5, 4.0, 36)
    losses = framed.value(np.hstack([at.theta + t * direction for t in trials]))
    best = trials[np.argmin(losses)]
    assert 1.3 < best < 3.5
    assert length - 1.0 > 0.3 * (best - 1.0)
    assert framed.value(at.theta + length * direction)[0] < framed.value(at.theta + direction)[0]
    assert first_length(at, 1e-3 * direction, 1e-3 * decrement) == 1.0
    assert first_length(at, direction, np.inf) == 1.0


def test_failing_to_step_is_not_convergence():
    class Uphill(FullMetric):
        is_last_resort = True

        def direction(self, at, tolerance):
            return 1e30 * at.gradient, np.inf

    X, y, _ = table("sigmoid")
    objective, theta = objective_of("sigmoid", X, y), np.zeros((5, 1, 1))
    found = newton(objective, theta, History(), max_iter=50, tol=1e-6, choose=Uphill)
    assert found.reason is StopReason.LOSS
    assert not found.converged


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_a_hessian_that_leads_nowhere_is_lifted(name):
    """A row far on the wrong side does not bend the loss: Newton's step from there is endless."""

    class Astray(FullMetric):
        def direction(self, at, tolerance):
            if at.theta.any():
                return super().direction(at, tolerance)
            return far[:, None] - at.theta, np.inf

    X, y, _ = table(name)
    n_outputs = KINDS[name].n_outputs
    if n_outputs == 1:
        y[:] = X[:, :1] > 0.0
        X[:, :1] += 2.0 * y - 1.0
    else:
        y[:] = np.argmax(X[:, :n_outputs], axis=1)[:, None]
        X[np.arange(len(X)), y[:, 0]] += 1.0
    X, y = np.vstack([X, X[:2]]), np.vstack([y, (y[:2] + 1) % max(2, n_outputs)])
    far = np.zeros((X.shape[1] + 1, n_outputs))
    far[:n_outputs] = 100.0 * np.eye(n_outputs)
    objective = objective_of(name, X, y)
    with np.errstate(all="ignore"):
        found = newton(
            objective, np.zeros_like(far)[:, None], History(), max_iter=60, tol=1e-6, choose=Astray
        )
    assert found.history["loss"][1] > 1.5 * found.loss
    assert found.reason is StopReason.DECREMENT
    best, _, _ = fit(objective)
    assert_allclose(found.theta[:, 0], best, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("patience", [np.inf, 10])
def test_what_a_metric_cannot_see_is_no_optimum(patience):
    class Blind(KrylovMetric):
        def direction(self, at, tolerance):
            Basis.of(self.framed)
            self.is_blind = True
            return np.zeros_like(at.gradient), 0.0

    X, y, _ = table("softmax")
    objective = objective_of("softmax", X, y)
    theta = np.zeros((5, 1, 3))
    found = newton(
        objective,
        theta,
        History(),
        max_iter=50,
        tol=1e-6,
        choose=lambda framed: Blind(framed, patience),
    )
    if patience == np.inf:
        assert found.reason is StopReason.LOSS
    else:  # its Hessian can be factored
        assert found.reason is StopReason.DECREMENT
        assert_allclose(found.theta[:, 0], fit(objective)[0], atol=1e-5)


def test_products_that_are_too_many_give_way_to_the_hessian():
    X, y, _ = table("softmax")
    X = np.column_stack([X, X[:, 0] + 1e-3 * X[:, 1]])
    objective = objective_of("softmax", X, y)
    kept = []

    def choose(framed):
        kept.append(KrylovMetric(framed, patience=12))
        return kept[-1]

    found = newton(objective, np.zeros((6, 1, 3)), History(), max_iter=50, tol=1e-6, choose=choose)
    assert kept[0].gives_up
    assert found.reason is StopReason.DECREMENT
    assert_allclose(
        found.loss,
        newton(
            objective, np.zeros((6, 1, 3)), History(), max_iter=50, tol=1e-9, choose=FullMetric
        ).loss,
        rtol=1e-12,
    )


def test_many_dummies_that_separate_some_rows_are_told():
    """Products alone would run after an optimum that is not there."""
    rng = np.random.default_rng(0)
    codes = np.minimum(rng.geometric(0.5, size=(20, 600)) - 1, 2)
    X = np.hstack([np.eye(3)[code] for code in codes])
    scores = 2.0 * X @ rng.standard_normal((60, 12)) + 6.0 * rng.standard_normal((600, 12))
    y = scores.argmax(axis=1)
    with pytest.warns(ConvergenceWarning, match="linearly separable"):
        model = LogisticRegression(max_iter=100).fit(X, y)
    assert model.stop_reason_ is StopReason.SEPARABLE


def test_a_penalised_start_need_not_have_mean_zero_over_the_classes():
    X, y, _ = table("softmax")
    best, _, _ = fit(objective_of("softmax", X, y, alpha=1e-2), tol=1e-9)
    begin = best[:, None] + np.arange(1.0, 6.0)[:, None, None]
    theta, reason, _ = fit(objective_of("softmax", X, y, alpha=1e-2), start=begin, tol=1e-9)
    assert reason is StopReason.DECREMENT
    assert_allclose(theta, best, atol=1e-7)


# Separable classes


@each_metric
@each_kind
@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_separable_classes_stop_it(metric, name, unit, force):
    force(metric)
    X, _, _ = table(name)
    y = np.digitize(X[:, 0], [0.0] if name == "sigmoid" else [-0.5, 0.8])[:, None]
    y = y + 0.0 if name == "sigmoid" else y
    theta, reason, history = fit(objective_of(name, X * unit, y))
    assert reason is StopReason.SEPARABLE
    z = np.column_stack([X * unit, np.ones(len(X))]) @ theta
    predicted = z[:, 0] > 0 if name == "sigmoid" else np.argmax(z, axis=1)
    assert np.all(predicted == y[:, 0])  # it has found a separating theta
    assert history["loss"][-1] < history["loss"][0]


@each_metric
def test_with_a_penalty_separable_classes_have_an_optimum(metric, force):
    force(metric)
    X, _, _ = table("sigmoid")
    y = (X[:, :1] > 0) + 0.0
    theta, reason, history = fit(objective_of("sigmoid", X, y, alpha=1e-3))
    assert reason is StopReason.DECREMENT
    assert_certified("sigmoid", theta, history, X, y, alpha=1e-3, tol=1e-6)


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-7])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    ("shape", "alpha"),
    [
        ((300, 8), 1.0),
        ((300, 8), 0.0),
        ((60, 200), 1.0),
        ((3000, 100), 1.0),
        ((30_000, 12), 1.0),
        ((30_000, 12), 0.0),
    ],
)
def test_a_row_of_large_numbers_holds_no_coefficients(shape, alpha, n_classes, tol):
    """On its own side it has next to no loss, and next to none to lose: a decrement says nothing.

    The optimum is that of the other rows, on the right side of which it lies.
    """
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape)
    y = X @ rng.standard_normal((shape[1], n_classes)) + rng.gumbel(size=(shape[0], n_classes))
    y = y.argmax(axis=1)
    reference = linear_model.LogisticRegression(
        C=1.0 / (alpha * shape[0]) if alpha else np.inf,
        solver="newton-cholesky",
        tol=1e-10,
        max_iter=1000,
    ).fit(X[1:], y[1:])
    X[0] *= 1e8
    y[0] = reference.predict(X[:1])[0]
    model = LogisticRegression(alpha=alpha, tol=tol, solver="newton").fit(X, y)
    assert model.converged_
    lost = -np.log(np.take_along_axis(reference.predict_proba(X), y[:, None], axis=1)).mean()
    best = lost + 0.5 * alpha * np.square(reference.coef_).sum()
    # Without a penalty the rounding of that row's linear predictor, 1e8 eps, shows in the loss.
    rounding = 1e-13 if alpha else 1e-11
    assert model.loss_ - best <= 1e-5 * tol * np.log(n_classes) + rounding
