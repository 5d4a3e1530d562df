"""Truncated Newton: its preconditioner and its bound of a decrement, beside the textbook's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from plain import KINDS, Plain
from scipy import sparse

from gdregress.history import History, StopReason
from gdregress.problem.basis import Basis
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks
from gdregress.rows.parts import in_parts
from gdregress.solvers.newton.decrement_bound import DecrementBound
from gdregress.solvers.newton.full import FullMetric
from gdregress.solvers.newton.krylov import KrylovMetric, _Forcing
from gdregress.solvers.newton.newton import newton
from gdregress.solvers.newton.preconditioners import _Diagonal, _Gram, preconditioner

N_ROWS, N_FEATURES, ALPHA = 60, 12, 0.03


def table(seed=0):
    rng = np.random.default_rng(seed)
    X = (rng.random((N_ROWS, N_FEATURES)) < np.geomspace(0.9, 0.05, N_FEATURES)) + 0.0
    return X, rng.integers(0, 2, N_ROWS) + 0.0, rng.integers(1, 4, N_ROWS) + 0.0


def objective(X, y, weight, fit_intercept=True, alpha=ALPHA):
    return BlockObjective(
        RowBlocks(X, y[:, None], weight),
        KINDS["sigmoid"].loss,
        ElasticNet(alpha),
        1,
        fit_intercept=fit_intercept,
    )


def softmax_objective(X, y, weight, fit_intercept=True, alpha=ALPHA):
    rows, loss = RowBlocks(X, y, weight), KINDS["softmax"].loss
    return BlockObjective(rows, loss, ElasticNet(alpha), 3, fit_intercept=fit_intercept)


def diagonal(at, before=None):
    is_single = at.theta.shape[2] == 1
    along = DecrementBound(at.curvature, at.objective).along if is_single else None
    return _Diagonal(at.curvature, at.objective, along, before)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_the_bound_of_a_decrement_is_one(make, fit_intercept):
    X, y, weight = table()
    problem = Plain(KINDS["sigmoid"], X, y[:, None], weight, ALPHA, fit_intercept=fit_intercept)
    rng = np.random.default_rng(1)
    theta = rng.standard_normal((N_FEATURES + 1, 1)) * problem.A.any(axis=0)[:, None]
    at = objective(make(X), y, weight, fit_intercept).at(theta[:, None])
    bound = DecrementBound(at.curvature, at.objective)
    pseudo_inverse = np.linalg.pinv(problem.hessian(theta), rcond=1e-13)
    for r in [*rng.standard_normal((20, N_FEATURES + 1)), problem.gradient(theta)[:, 0]]:
        r = r * problem.A.any(axis=0)
        decrement = 0.5 * r @ pseudo_inverse @ r
        assert decrement <= bound(r[:, None, None]) * (1.0 + 1e-12)
    assert bound(r[:, None, None]) <= 50.0 * decrement


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_the_bound_of_a_decrement_of_several_classes_is_one(make, fit_intercept):
    X, _, weight = table()
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, (N_ROWS, 1))
    problem = Plain(KINDS["softmax"], X, y, weight, ALPHA, fit_intercept=fit_intercept)
    theta = rng.standard_normal((N_FEATURES + 1, 3))
    theta[-1] *= fit_intercept
    at = softmax_objective(make(X), y, weight, fit_intercept).at(theta[:, None])
    bound = DecrementBound(at.curvature, at.objective)
    pseudo_inverse = np.linalg.pinv(problem.hessian(theta), rcond=1e-13)
    for r in [*rng.standard_normal((20, N_FEATURES + 1, 3)), problem.gradient(theta)]:
        # No gradient pulls along the gauge of the intercepts.
        r[-1] = (r[-1] - r[-1].mean()) * fit_intercept
        decrement = 0.5 * r.ravel() @ pseudo_inverse @ r.ravel()
        assert decrement <= bound(r[:, None]) * (1.0 + 1e-12)
    assert bound(r[:, None]) <= 50.0 * decrement
    assert bound(np.zeros_like(r)[:, None]) == 0.0


def test_there_is_no_bound_without_a_ridge_or_where_an_intercept_does_not_bend():
    X, y, weight = table()
    theta = np.zeros((N_FEATURES + 1, 1, 1))
    at = objective(X, y, weight, alpha=0.0).at(theta)
    assert DecrementBound(at.curvature, at.objective)(np.ones_like(theta)) == np.inf
    theta[-1] = 1e4  # every probability is 1
    at = objective(X, y, weight).at(theta)
    assert DecrementBound(at.curvature, at.objective)(np.ones_like(theta)) == np.inf


def test_a_point_within_the_bound_ends_the_iteration_there():
    X, y, weight = table()
    problem = Plain(KINDS["sigmoid"], X, y[:, None], weight, ALPHA)
    framed = objective(sparse.csr_array(X), y, weight)
    metric, theta = KrylovMetric(framed), np.zeros((N_FEATURES + 1, 1, 1))
    proven = []
    for _ in range(6):
        at = metric.look(theta)
        true = problem.decrement(theta[:, 0])
        assert not metric.proves(at, 0.99 * true)
        proven.append(metric.proves(at, 1e-6))
        assert true <= 1e-6 or not proven[-1]
        theta = theta + metric.direction(at, 1e-6)[0]
    assert not all(proven)
    assert any(proven)


@pytest.mark.parametrize(("kind", "n_outputs"), [("sigmoid", 1), ("softmax", 3)])
def test_the_preconditioner_knows_no_means(kind, n_outputs):
    X, _, weight = table()
    rng = np.random.default_rng(2)
    y = KINDS[kind].draw(rng, N_ROWS)
    shift, coef = rng.normal(0.0, 3.0, N_FEATURES), rng.standard_normal((N_FEATURES, n_outputs))
    r, solved = rng.standard_normal((N_FEATURES + 1, n_outputs)), []
    if n_outputs > 1:  # as gradients are
        r -= r.mean(axis=1, keepdims=True)
    for by in (np.zeros(N_FEATURES), shift):
        theta = np.vstack([coef, by @ coef])[:, None]
        blocks = RowBlocks(X - by, y, weight)
        at = BlockObjective(blocks, KINDS[kind].loss, ElasticNet(ALPHA), n_outputs).at(theta)
        # The gradient by the columns less their shift: g_W - shift g_b
        inside = np.vstack([r[:-1] - np.outer(by, r[-1]), r[-1]])[:, None]
        solved.append(diagonal(at).solve(inside)[:, 0])
    assert_allclose(solved[1][:-1], solved[0][:-1], rtol=1e-10)
    assert_allclose(solved[1][-1] - shift @ solved[1][:-1], solved[0][-1], rtol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_preconditioner_of_several_classes_is_one(fit_intercept):
    X, _, weight = table()
    y = KINDS["softmax"].draw(np.random.default_rng(7), N_ROWS)
    theta = np.random.default_rng(8).standard_normal((N_FEATURES + 1, 1, 3))
    theta[-1] *= fit_intercept
    at = softmax_objective(X, y, weight, fit_intercept).at(theta)
    units = np.eye(theta.size).reshape(theta.size, *theta.shape)
    P = np.stack([diagonal(at).solve(unit).ravel() for unit in units])
    assert_allclose(P, P.T, atol=1e-12 * abs(P).max())
    # The gauge of the intercepts, or the intercepts that are not fitted, which nothing moves.
    moving = np.linalg.eigvalsh(P)
    assert (moving > 1e-10 * moving[-1]).sum() == theta.size - (1 if fit_intercept else 3)
    assert moving[0] > -1e-12 * moving[-1]
    # What all classes have in common is penalised, and nothing else.
    r = np.random.default_rng(9).standard_normal((N_FEATURES + 1, 1, 1)) * np.ones(3)
    assert_allclose(diagonal(at).solve(r)[:-1], r[:-1] / ALPHA, rtol=1e-9)
    r -= r.mean()
    r[:, :, 1] += 1.0
    r -= r.mean(axis=2, keepdims=True)
    solved = diagonal(at).solve(r)
    assert_allclose(solved.sum(axis=2), 0.0, atol=1e-12 * abs(solved).max())


def test_what_classes_have_in_common_is_solved_exactly():
    X, _, weight = table()
    rng = np.random.default_rng(10)
    y, theta = rng.integers(0, 3, (N_ROWS, 1)), rng.standard_normal((N_FEATURES + 1, 3))
    problem = Plain(KINDS["softmax"], X, y, weight, ALPHA)
    at = softmax_objective(sparse.csr_array(X), y, weight).at(theta[:, None])
    pseudo_inverse = np.linalg.pinv(problem.hessian(theta), rcond=1e-13)
    common = rng.standard_normal((N_FEATURES + 1, 1)) * np.ones(3)
    common[-1] = 0.0  # the gauge of the intercepts
    apart = rng.standard_normal((N_FEATURES + 1, 3))
    apart -= apart.mean(axis=1, keepdims=True)
    for g in (common, common + apart, 1e-6 * common + apart):
        direction, decrement = KrylovMetric(at.objective).solve(at.curvature, g[:, None], 0.0)
        mean = -g[:-1].mean(axis=1) / ALPHA
        assert_allclose(direction[:-1, 0].mean(axis=1), mean, rtol=1e-8)
        true = 0.5 * g.ravel() @ pseudo_inverse @ g.ravel()
        assert 0.9 * true < decrement < (1.0 + 1e-9) * true


def test_the_decrement_that_is_reported_is_no_less_than_the_true_one():
    X, y, weight = table()
    problem = Plain(KINDS["sigmoid"], X, y[:, None], weight, ALPHA)
    framed = objective(sparse.csr_array(X), y, weight)
    metric, theta = KrylovMetric(framed), np.zeros((N_FEATURES + 1, 1, 1))
    reported, true = [], []
    for _ in range(6):
        at = metric.look(theta)
        true.append(problem.decrement(theta[:, 0]))
        step, decrement = metric.direction(at, 1e-6)
        reported.append(decrement)
        theta = theta + step
    certain = np.array(reported) <= 1e-6
    assert certain.any()
    assert not certain.all()
    assert (np.array(true)[certain] <= 1e-6).all()


def ridge_problem(kind, n_outputs):
    """The textbook's problem, and the same as an objective of sparse rows."""
    X, _, weight = table()
    y = KINDS[kind].draw(np.random.default_rng(4), N_ROWS)
    problem = Plain(KINDS[kind], X, y, weight, ALPHA)
    blocks = RowBlocks(sparse.csr_array(X), y, weight)
    framed = BlockObjective(blocks, KINDS[kind].loss, ElasticNet(ALPHA), n_outputs)
    return problem, framed


@pytest.mark.parametrize(("kind", "n_outputs"), [("sigmoid", 1), ("softmax", 3)])
def test_who_asks_for_all_digits_gets_a_step_that_squares(kind, n_outputs):
    problem, framed = ridge_problem(kind, n_outputs)
    decrements = []
    for tol in (1e-5, 1e-13):
        found = newton(
            framed,
            np.zeros((N_FEATURES + 1, 1, n_outputs)),
            History(),
            max_iter=50,
            tol=tol,
            choose=KrylovMetric,
        )
        decrements.append(problem.decrement(found.theta[:, 0]) / found.loss)
    assert decrements[0] <= 1e-10
    assert decrements[1] <= 1e-22


@pytest.mark.parametrize(("kind", "n_outputs"), [("sigmoid", 1), ("softmax", 3)])
def test_no_step_begins_where_the_decrement_is_lost_in_the_rounding_of_the_loss(kind, n_outputs):
    problem, framed = ridge_problem(kind, n_outputs)
    before = []

    class Noting(KrylovMetric):
        def direction(self, at, tolerance):
            before.append(problem.decrement(at.theta[:, 0]) / float(at.loss[0]))
            return super().direction(at, tolerance)

    start = np.zeros((N_FEATURES + 1, 1, n_outputs))
    found = newton(framed, start, History(), max_iter=50, tol=1e-7, choose=Noting)
    assert found.reason is StopReason.DECREMENT
    assert problem.decrement(found.theta[:, 0]) <= 1e-16 * found.loss
    assert before[-1] > 1e-17


@pytest.mark.parametrize("t", [1.0, 0.5, 2.0])
def test_a_residual_is_three_times_what_the_last_step_says_will_be_bent(t):
    rng = np.random.default_rng(7)
    g, r, bent = rng.standard_normal((3, 5, 1, 1)) * np.reshape([1.0, 0.1, 1e-2], (3, 1, 1, 1))
    inverse = rng.uniform(0.5, 2.0, g.shape)
    square, after = float(np.vdot(g, inverse * g)), 1e-3
    forcing, model = _Forcing(), (g, square, r, lambda e: inverse * e)
    assert forcing.share(square, True) == 0.25
    forcing.model = model
    forcing.compare((1.0 - t) * g - t * r + bent, t)
    share, bent_square = forcing.share(after, True), float(np.vdot(bent, inverse * bent))
    assert_allclose(share**2 * after, 9.0 * bent_square * (after / (t**2 * square)) ** 2)
    assert_allclose(forcing.bent() ** 2, bent_square / (t**2 * square))
    # Near rounding level what is bent is rounding.
    assert_allclose(forcing.share(after, False), (after / square) ** 0.25)
    # A quadratic loss bends nothing, and no system is solved for ever.
    forcing.model = model
    forcing.compare((1.0 - t) * g - t * r, t)
    assert_allclose(forcing.share(after, True), 1e-5)


def test_a_diagonal_is_made_anew_where_steps_have_bent_the_gradient():
    X, _, weight = table()
    framed = objective(sparse.csr_array(X), X[:, 0] + 0.0, weight, alpha=1e-3)
    metric, theta, made, bent = KrylovMetric(framed), np.zeros((N_FEATURES + 1, 1, 1)), [], []
    at = metric.look(theta)
    for _ in range(8):
        theta = theta + metric.direction(at, 1e-9)[0]
        made.append(metric._preconditioner)
        before, at = at, metric.look(theta)
        metric.remember(before, at, 1.0)
        bent.append(metric._forcing.bent())
    assert bent[0] > 0.2
    assert made[1] is not made[0]
    assert sum(bent[5:7]) < 0.05
    assert made[5] is made[6] is made[7]


def wide_table(seed=0, n_features=400):
    """Words by Zipf's law, more than documents."""
    rng = np.random.default_rng(seed)
    X = (rng.random((N_ROWS, n_features)) < 0.9 / np.sqrt(np.arange(1, n_features + 1))) + 0.0
    return X, rng.integers(0, 2, N_ROWS) + 0.0, rng.integers(1, 4, N_ROWS) + 0.0


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_more_columns_than_rows(fit_intercept):
    X, y, weight = wide_table()
    problem = Plain(KINDS["sigmoid"], X, y[:, None], weight, ALPHA, fit_intercept=fit_intercept)
    framed = objective(sparse.csr_array(X), y, weight, fit_intercept)
    metric, theta = KrylovMetric(framed), np.zeros((X.shape[1] + 1, 1, 1))
    reported, true = [], []
    for _ in range(12):
        at = metric.look(theta)
        true.append(problem.decrement(theta[:, 0]))
        step, decrement = metric.direction(at, 1e-7)
        reported.append(decrement)
        theta = theta + step
        if decrement <= 1e-7:
            break
    assert reported[-1] <= 1e-7 < reported[-2]
    assert true[-1] <= reported[-1]
    assert problem.decrement(theta[:, 0]) < 0.1 * 1e-7


def test_a_diagonal_that_is_kept_bounds_the_decrement_of_the_new_hessian():
    X, y, weight = wide_table()
    problem = Plain(KINDS["sigmoid"], X, y[:, None], weight, ALPHA)
    framed = objective(sparse.csr_array(X), y, weight)
    rng = np.random.default_rng(1)
    near = 0.05 * rng.standard_normal((X.shape[1] + 1, 1))
    first = diagonal(framed.at(np.zeros_like(near)[:, None]))
    at = framed.at(near[:, None])
    kept = diagonal(at, first)
    assert kept._made is first._made
    bound = DecrementBound(at.curvature, framed)
    inverse = np.linalg.inv(problem.hessian(near))
    for r in rng.standard_normal((20, X.shape[1] + 1)):
        assert 0.5 * r @ inverse @ r <= bound(r[:, None, None]) * (1.0 + 1e-12)
    far = diagonal(framed.at(40.0 * near[:, None]), kept)
    assert far._made is not first._made


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_more_columns_than_rows_of_several_classes(fit_intercept):
    X, _, weight = wide_table()
    y = KINDS["softmax"].draw(np.random.default_rng(6), N_ROWS)
    problem = Plain(KINDS["softmax"], X, y, weight, ALPHA, fit_intercept=fit_intercept)
    framed = softmax_objective(sparse.csr_array(X), y, weight, fit_intercept)
    start = np.zeros((X.shape[1] + 1, 1, 3))
    found = newton(framed, start, History(), max_iter=30, tol=1e-5, choose=KrylovMetric)
    assert found.reason is StopReason.DECREMENT
    assert problem.decrement(found.theta[:, 0]) <= 1e-10 * np.log(3.0)


def test_the_diagonal_of_a_class_is_kept_while_its_mean_curvature_is():
    X, _, weight = wide_table()
    y = KINDS["softmax"].draw(np.random.default_rng(6), N_ROWS)
    framed = softmax_objective(sparse.csr_array(X), y, weight)
    theta = np.zeros((X.shape[1] + 1, 1, 3))
    first = _Diagonal(framed.at(theta).curvature, framed)
    theta[-1, 0] = 0.3, 0.0, -0.3  # the same for all rows: only the mean curvatures change
    kept = _Diagonal(framed.at(theta).curvature, framed, None, first)
    assert kept._made is first._made
    new = _Diagonal(framed.at(theta).curvature, framed)
    assert_allclose(kept._inverse, new._inverse, rtol=1e-12)
    theta[-1, 0] = 4.0, 0.0, 0.0
    assert _Diagonal(framed.at(theta).curvature, framed, None, kept)._made is not first._made


def test_rare_columns_share_a_number_where_rows_are_fewer():
    X, y, weight = wide_table()
    framed = objective(sparse.csr_array(X), y, weight, alpha=1e-3)
    theta = np.zeros((X.shape[1] + 1, 1, 1))
    at = framed.at(theta)
    hessian = at.curvature
    matrix = np.hstack(
        [hessian.product(unit[:, None, None])[:, :, 0] for unit in np.eye(len(theta))]
    )
    preconditioner = diagonal(at)
    solved = np.hstack([preconditioner.solve(c[:, None, None])[:, :, 0] for c in matrix.T])
    eigenvalues = np.sort(np.linalg.eigvals(solved).real)
    # Off the span of the rows there are no more eigenvalues than columns with their own number.
    n_own = len(np.unique(preconditioner._inverse[:-1].round(12))) - 1
    same = np.isclose(eigenvalues, eigenvalues[0], rtol=1e-6).sum()
    assert same >= X.shape[1] - N_ROWS - n_own > 100


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_blocks_of_the_hessian_along_axes(fit_intercept):
    X, _, weight = table()
    rng = np.random.default_rng(5)
    y, theta = rng.integers(0, 3, (N_ROWS, 1)), rng.standard_normal((N_FEATURES + 1, 3))
    theta[-1] *= fit_intercept
    problem = Plain(KINDS["softmax"], X, y, weight, ALPHA, fit_intercept=fit_intercept)
    axes = np.zeros((N_FEATURES + 1, 5))
    axes[:-1, :-1], axes[-1, -1] = rng.standard_normal((N_FEATURES, 4)), 1.0
    at = softmax_objective(X, y, weight, fit_intercept).at(theta[:, None])
    found = at.curvature.blocks_along(axes, RowBlocks(X @ axes[:-1, :-1], None, weight))
    hessian = problem.hessian(theta).reshape(N_FEATURES + 1, 3, N_FEATURES + 1, 3)
    for k, block in enumerate(found):
        assert_allclose(block, axes.T @ hessian[:, k, :, k] @ axes, atol=1e-12)


def spectra(n_rows=240, n_features=200, seed=0):
    """Rows that spread along few axes and a little along all, in classes that hardly overlap."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n_rows) % 4)[:, None]
    means, loading = rng.standard_normal((4, 12)), rng.standard_normal((12, n_features))
    X = (1.5 * means[y[:, 0]] + rng.standard_normal((n_rows, 12))) @ loading
    return X + 0.3 * rng.standard_normal(X.shape), y


def at_its_optimum(X, y, alpha):
    framed = BlockObjective(RowBlocks(X, y), KINDS["softmax"].loss, ElasticNet(alpha), 4)
    theta = np.zeros((X.shape[1] + 1, 1, 4))
    found = newton(framed, theta, History(), max_iter=30, tol=1e-7, choose=KrylovMetric)
    return framed.at(found.theta)


def test_blocks_along_the_leading_axes_make_the_hessian_rounder():
    X, y = spectra()
    at = at_its_optimum(X, y, 1e-3)
    hessian, framed = at.curvature, at.objective
    q = at.theta.size
    units = np.eye(q).reshape(q, *at.theta.shape)
    H = np.stack([hessian.product(unit).ravel() for unit in units])
    plain = _Gram(hessian, framed)
    plain.n_steps = 100
    spread = []
    for each in (plain, _Gram(hessian, framed, plain)):
        P = np.stack([each.solve(unit).ravel() for unit in units])
        assert_allclose(P, P.T, atol=1e-10 * abs(P).max())
        # The gauge of the intercepts, which nothing moves.
        moving, axes = np.linalg.eigh(P)
        assert (moving > 1e-12 * moving[-1]).sum() == q - 1
        root = axes[:, 1:] * np.sqrt(moving[1:])
        eigenvalues = np.linalg.eigvalsh(root.T @ H @ root)
        assert eigenvalues[0] > 0.0
        spread.append(eigenvalues[-1] / eigenvalues[0])
    assert spread[1] < 0.3 * spread[0]


def test_steps_along_the_leading_axes_are_few():
    X, y = spectra()
    framed = BlockObjective(RowBlocks(X, y), KINDS["softmax"].loss, ElasticNet(1e-3), 4)
    at = at_its_optimum(X, y, 1e-3)
    metric, g = KrylovMetric(framed), np.random.default_rng(0).standard_normal(at.theta.shape)
    g -= g.mean(axis=2, keepdims=True)
    counts = []
    for _ in range(2):
        metric.solve(at.curvature, g, 0.0)
        counts.append(metric._preconditioner.n_steps)
    assert counts[1] < 0.7 * counts[0]


def test_products_in_an_orthonormal_basis():
    """Columns that nearly depend on each other, and no ridge. A decrement does not depend on the
    coordinates; a truncated one is somewhat less."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5))
    X[:, 1] = X[:, 0] + 1e-3 * rng.standard_normal(300)
    y = (X[:, 0] + rng.gumbel(size=300) > 0.5) + (X[:, 2] + rng.gumbel(size=300) > 0.5)
    whole = softmax_objective(X, y[:, None], None, alpha=0.0)
    basis = Basis.of(whole.in_frame(whole.frames.best()))
    found = []
    for metric in (KrylovMetric(whole.in_frame(basis)), FullMetric(whole)):
        at = metric.look(np.zeros((metric.framed.shape[0] + 1, 1, 3)))
        found.append(metric.direction(at, 1e-9)[1])
    assert 0.9 * found[1] < found[0] < found[1] * (1.0 + 1e-9)


@pytest.mark.parametrize("container", [sparse.csr_array, np.asarray])
def test_solves_that_cost_more_than_products_are_not_made(container):
    """A word stands in few rows: p x p triangles of several classes would be most of the work."""
    rng = np.random.default_rng(0)
    words = (rng.random((1500, 1200)) < 0.005) + 0.0
    y = rng.integers(0, 3, (1500, 1))
    framed = softmax_objective(container(words), y, None, alpha=1e-3)
    framed = framed.on_rows(in_parts(framed.blocks))
    framed = framed.in_frame(framed.frames.best())
    hessian = framed.at(np.zeros((1201, 1, 3))).having("curvature").curvature
    assert isinstance(preconditioner(hessian, framed), _Diagonal)
    assert "gram" not in vars(framed.bound)
    dense = softmax_objective(rng.standard_normal((1500, 1200)), y, None, alpha=1e-3)
    hessian = dense.at(np.zeros((1201, 1, 3))).having("curvature").curvature
    assert isinstance(preconditioner(hessian, dense), _Gram)
