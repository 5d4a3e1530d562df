"""Objectives: the formulas, the quadratic from moments, the Hessians and their bounds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from plain import KINDS, Plain
from scipy import sparse
from scipy.special import softmax

from gdregress.problem.hessians import AppliedHessian
from gdregress.problem.moments import CentredFactor, CentredMoments
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.problem.quadratic import QuadraticObjective
from gdregress.problem.smoothness import HessianBound
from gdregress.rows.blocks import RowBlocks
from gdregress.rows.columns import FrameChoice
from gdregress.rows.dense import DenseDesign
from gdregress.rows.frame import Frame
from gdregress.rows.kernels import ColumnMoments

N_ROWS, N_FEATURES = 60, 4
FRAME = Frame(np.array([0.5, 0.0, -2.0, 1.0]), np.array([2.0, 0.5, 1.0, 4.0]))

each_kind = pytest.mark.parametrize("name", KINDS)
each_weighting = pytest.mark.parametrize("weighted", [False, True])
each_intercept = pytest.mark.parametrize("fit_intercept", [True, False])
each_alpha = pytest.mark.parametrize("alpha", [0.0, 0.3])
each_frame = pytest.mark.parametrize("frame", [None, FRAME], ids=["original", "framed"])


class Case:
    """A block objective and the textbook's, on the same rows."""

    def __init__(self, name, *, weighted=True, fit_intercept=True, alpha=0.3, l1_ratio=0.0, seed=0):
        rng = np.random.default_rng(seed)
        self.kind = KINDS[name]
        self.X = rng.standard_normal((N_ROWS, N_FEATURES)) * [1, 5, 0.2, 1] + [0, 1, 2, 0]
        self.y = self.kind.draw(rng, N_ROWS)
        self.weight = rng.uniform(0, 3, N_ROWS) if weighted else None
        self.penalty = ElasticNet(alpha, l1_ratio)
        self.fit_intercept = fit_intercept
        self.plain = Plain(
            self.kind,
            self.X,
            self.y,
            self.weight,
            alpha * (1 - l1_ratio),
            fit_intercept=fit_intercept,
        )
        self.theta = 0.5 * rng.standard_normal((N_FEATURES + 1, 1, self.kind.n_outputs))
        self.direction = rng.standard_normal((N_FEATURES + 1, 3, self.kind.n_outputs))

    def blocks(self, is_sparse=False):
        X = sparse.csr_matrix(self.X) if is_sparse else self.X
        return RowBlocks(X, self.y, self.weight, workers=2, block_rows=9)

    def objective(self, frame=None, is_sparse=False):
        made = BlockObjective(
            self.blocks(is_sparse),
            self.kind.loss,
            self.penalty,
            self.kind.n_outputs,
            fit_intercept=self.fit_intercept,
        )
        return made if frame is None else made.in_frame(frame)

    def quadratic(self, how="moments"):
        objective = self.objective()
        moments = CentredMoments.of(objective.blocks, objective.fit_intercept)
        factor = (
            moments.factor()
            if how == "moments"
            else CentredFactor.from_objective(objective, moments.frame, moments.y_shift)
        )
        return QuadraticObjective(factor, self.penalty, fit_intercept=self.fit_intercept)


def slope(value, theta, step=1e-5):
    """Central differences of a function of theta, in the shape of theta."""
    out = np.empty(theta.shape)
    for index in np.ndindex(theta.shape):
        up, down = theta.copy(), theta.copy()
        up[index] += step
        down[index] -= step
        out[index] = (value(up) - value(down)) / (2 * step)
    return out


# Values and gradients


@each_kind
@each_weighting
@each_intercept
@each_alpha
def test_value_and_gradient_are_the_textbooks(name, weighted, fit_intercept, alpha):
    problem = Case(name, weighted=weighted, fit_intercept=fit_intercept, alpha=alpha)
    for objective in (problem.objective(), problem.objective(is_sparse=True)):
        value, gradient = objective.value_and_gradient(problem.direction)
        for m in range(3):
            theta = problem.direction[:, m].copy()
            # An intercept that is not fitted is an offset at which theta stays: start it at zero.
            if not fit_intercept:
                theta[-1] = 0.0
                one = objective.value_and_gradient(theta[:, None])
                assert_allclose(one[0][0], problem.plain.loss(theta), rtol=1e-12)
                assert_allclose(one[1][:, 0], problem.plain.gradient(theta), atol=1e-12)
            else:
                assert_allclose(value[m], problem.plain.loss(theta), rtol=1e-12)
                assert_allclose(gradient[:, m], problem.plain.gradient(theta), atol=1e-12)
        assert_allclose(objective.value(problem.direction), value, rtol=1e-14)


@each_kind
@each_frame
@each_intercept
@pytest.mark.parametrize("l1_ratio", [0.0, 0.4])
def test_gradient_is_the_slope_of_the_smooth_value(name, frame, fit_intercept, l1_ratio):
    problem = Case(name, fit_intercept=fit_intercept, l1_ratio=l1_ratio)
    objective = problem.objective(frame)
    expected = slope(lambda theta: objective.at(theta).smooth_loss[0], problem.theta)
    if not fit_intercept:
        expected[-1] = 0.0
    assert_allclose(objective.value_and_gradient(problem.theta)[1], expected, atol=1e-8)


@each_kind
def test_in_a_frame_it_is_the_same_function(name):
    problem = Case(name, l1_ratio=0.4)
    plain, framed = problem.objective(), problem.objective(FRAME)
    inside = FRAME.enter(problem.theta)
    value, gradient = plain.value_and_gradient(problem.theta)
    framed_value, framed_gradient = framed.value_and_gradient(inside)
    assert_allclose(framed_value, value, rtol=1e-12)
    assert_allclose(FRAME.gradient_outside(framed_gradient), gradient, atol=1e-12)
    assert_allclose(framed.at(inside).smooth_loss, plain.at(problem.theta).smooth_loss, rtol=1e-12)


@each_kind
@each_weighting
def test_batch_gradients_average_to_the_full_gradient(name, weighted):
    """Over the batches of one epoch, each weighted by its size."""
    problem = Case(name, weighted=weighted)
    objective = problem.objective()
    total = np.zeros_like(problem.theta)
    for batch in objective.blocks.batches(np.random.default_rng(0), 7):
        total += batch.rows.shape[0] / N_ROWS * objective.batch_gradient(batch, problem.theta)
    assert_allclose(total, objective.value_and_gradient(problem.theta)[1], atol=1e-12)


@each_kind
@each_weighting
@pytest.mark.parametrize("is_sparse", [False, True])
def test_batch_values_and_gradients_average_to_the_textbooks(name, weighted, is_sparse):
    """With the penalty in every batch."""
    problem = Case(name, weighted=weighted)
    objective = problem.objective(is_sparse=is_sparse)
    for m in range(problem.direction.shape[1]):
        theta = problem.direction[:, m]
        value, gradient = 0.0, np.zeros_like(theta)
        for batch in objective.blocks.batches(np.random.default_rng(0), 7):
            share = batch.rows.shape[0] / N_ROWS
            least, pull, loss = objective.batch_value_and_gradient(batch, theta.ravel())
            assert 0.0 < least <= loss()
            value += share * loss()
            gradient += share * pull.reshape(theta.shape)
        assert_allclose(value, problem.plain.loss(theta), rtol=1e-12)
        assert_allclose(gradient, problem.plain.gradient(theta), atol=1e-12)


@each_kind
def test_an_intercept_that_is_not_fitted_is_inert(name):
    problem = Case(name, fit_intercept=False)
    objective = problem.objective()
    assert_array_equal(objective.value_and_gradient(problem.direction)[1][-1], 0.0)
    assert_array_equal(objective.hessian_at(problem.theta).product(problem.direction)[-1], 0.0)
    applied = objective.hessian_at(problem.theta)
    assert_array_equal(applied.product(problem.direction)[-1], 0.0)
    assert_array_equal(applied.diagonal()[-1], 0.0)
    assert_array_equal(objective.bound.diagonal[-1], 0.0)
    hessian, K = objective.hessian(problem.theta), problem.kind.n_outputs
    assert_array_equal(hessian[-K:], np.eye(K * (N_FEATURES + 1))[-K:])
    assert_array_equal(hessian[:, -K:], np.eye(K * (N_FEATURES + 1))[:, -K:])


@each_kind
@pytest.mark.parametrize("factor", [1e-250, 1e-3, 1e250])
def test_a_common_factor_of_the_weights_cancels(name, factor):
    problem = Case(name)
    value, gradient = problem.objective().value_and_gradient(problem.theta)
    problem.weight = problem.weight * factor
    other_value, other_gradient = problem.objective().value_and_gradient(problem.theta)
    assert_allclose(other_value, value, rtol=1e-12)
    assert_allclose(other_gradient, gradient, atol=1e-12)


@each_weighting
def test_total_weight(weighted):
    problem = Case("sigmoid", weighted=weighted)
    total = problem.weight.sum() if weighted else N_ROWS
    assert problem.objective().total_weight == pytest.approx(total, rel=1e-14)


# The Hessian


@each_kind
@each_weighting
@each_intercept
@each_alpha
def test_hessian_is_the_textbooks_and_its_products_agree(name, weighted, fit_intercept, alpha):
    problem = Case(name, weighted=weighted, fit_intercept=fit_intercept, alpha=alpha)
    if not fit_intercept:
        problem.theta[-1] = problem.direction[-1] = 0.0
    expected, q = problem.plain.hessian(problem.theta[:, 0]), problem.theta.size
    shape = problem.theta[:, 0].shape
    for is_sparse in (False, True):
        objective = problem.objective(is_sparse=is_sparse)
        hessian = objective.hessian(problem.theta)
        assert hessian.shape == (q, q)
        fitted = q if fit_intercept else q - problem.kind.n_outputs
        assert_allclose(hessian[:fitted, :fitted], expected[:fitted, :fitted], atol=1e-11)
        applied = objective.hessian_at(problem.theta)
        for product in (
            objective.hessian_at(problem.theta).product(problem.direction),
            applied.product(problem.direction),
        ):
            for m in range(3):
                exact = (expected @ problem.direction[:, m].ravel()).reshape(shape)
                assert_allclose(product[:, m], exact, atol=1e-11)
        assert_allclose(applied.diagonal()[:, 0].ravel(), np.diag(expected), atol=1e-11)
        for k, block in enumerate(applied.output_blocks()):
            own = slice(k, None, problem.kind.n_outputs)
            assert_allclose(np.diag(block), np.diag(expected[own, own]), atol=1e-11)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_blocks_are_those_of_the_rows_that_count_on_the_diagonal_of_all(is_sparse):
    """A row that hardly bends a class counts by its length; where all bend alike, all count."""
    problem = Case("softmax", alpha=0.1)
    X = sparse.csr_array(problem.X) if is_sparse else problem.X
    objective = BlockObjective(RowBlocks(X, problem.y), problem.kind.loss, ElasticNet(0.1), 3)
    zero = np.zeros_like(problem.theta)
    exact = objective.hessian(zero)
    for k, block in enumerate(objective.hessian_at(zero).output_blocks()):
        assert_allclose(block, exact[k::3, k::3], atol=1e-12)
    theta, X = 9.0 * problem.theta, problem.X
    p = softmax(X @ theta[:-1, 0] + theta[-1, 0], axis=1)
    rows = np.hstack([X, np.ones((len(X), 1))])
    for k, block in enumerate(objective.hessian_at(theta).output_blocks()):
        bent = p[:, k] * (1.0 - p[:, k])
        part = bent * np.sum(X * X, axis=1)
        counts = (bent >= bent.mean() / 2) | (part >= part.mean() / 2)
        assert 0.1 < counts.mean() < 0.65
        ridge = np.diag(0.1 * (np.arange(len(theta)) < len(theta) - 1.0))
        of_all, expected = (
            (rows * w[:, None]).T @ rows / len(X) + ridge for w in (bent, bent * counts)
        )
        root = np.sqrt(np.diag(of_all) / np.diag(expected))
        assert_allclose(block, expected * np.outer(root, root), atol=1e-11)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_blocks_of_some_rows_are_positive_and_no_smaller_than_those_of_all(is_sparse):
    """A column that the rows taken miss is not one of zeros."""
    problem = Case("softmax", weighted=True, alpha=0.1)
    problem.X[: len(problem.X) // 2 * 2 : 2, 1] = 0.0
    objective = problem.objective(is_sparse=is_sparse)
    rows_for_every_second = len(problem.X) // (2 * objective.shape[0])
    z = objective.blocks.times(problem.theta)
    rows = objective.loss.curvature(problem.y, z)
    applied = AppliedHessian(objective, rows, rows_per_column=rows_for_every_second)
    diagonal = applied.diagonal()[:, 0]
    for k, block in enumerate(applied.output_blocks()):
        assert np.all(np.diag(block) >= diagonal[:, k] * (1 - 1e-12))
        assert np.linalg.eigvalsh(block)[0] > 0.0
        assert not np.allclose(block, objective.hessian(problem.theta)[k::3, k::3])


@each_kind
@each_frame
def test_hessian_is_the_slope_of_the_gradient(name, frame):
    problem = Case(name)
    objective = problem.objective(frame)
    step = 1e-5 * problem.direction[:, :1]
    up = objective.value_and_gradient(problem.theta + step)[1]
    down = objective.value_and_gradient(problem.theta - step)[1]
    change = (up - down) / 2e-5
    direction = problem.direction[:, :1]
    hessian = objective.hessian(problem.theta)
    product = (hessian @ direction.ravel()).reshape(change.shape)
    assert_allclose(product, change, atol=1e-7)
    assert_allclose(objective.hessian_at(problem.theta).product(direction), change, atol=1e-7)
    applied = objective.hessian_at(problem.theta)
    assert_allclose(applied.product(direction), change, atol=1e-7)
    assert_allclose(applied.diagonal().ravel(), np.diag(hessian), rtol=1e-12)


# Bounds


def bound_matrix(problem, X):
    """``c/S [X 1]^T diag(s) [X 1] + alpha diag(1, ..., 1, 0)`` for one output."""
    plain = Plain(
        problem.kind,
        X,
        problem.y,
        problem.weight,
        problem.plain.alpha,
        fit_intercept=problem.fit_intercept,
    )
    return plain.hessian_bound()


@each_kind
@each_weighting
@each_intercept
@each_alpha
@pytest.mark.parametrize("max_gram_columns", [0, 2048], ids=["products", "gram"])
def test_hessian_bound(name, weighted, fit_intercept, alpha, max_gram_columns):
    problem = Case(name, weighted=weighted, fit_intercept=fit_intercept, alpha=alpha)
    bound = bound_matrix(problem, problem.X)
    found = HessianBound(problem.objective(), max_gram_columns=max_gram_columns)
    assert_allclose(found.diagonal, np.diag(bound)[:, None, None], rtol=1e-12)
    assert_allclose(found.norm, np.linalg.eigvalsh(bound)[-1], rtol=1e-8)
    again = HessianBound(problem.objective(), max_gram_columns=max_gram_columns)
    assert_allclose(again.norm, found.norm, rtol=1e-8)  # first of all
    assert_allclose(again.diagonal, found.diagonal, rtol=1e-12)

    # It bounds the Hessian of every theta, by its norm and coordinate by coordinate.
    for scale in (0.0, 0.3, 3.0):
        hessian = problem.plain.hessian(scale * problem.theta[:, 0])
        outer = np.kron(bound, np.eye(problem.kind.n_outputs))
        assert np.linalg.eigvalsh(outer - hessian)[0] >= -1e-12 * np.trace(outer)


@each_kind
@each_intercept
def test_hessian_products_are_symmetric(name, fit_intercept):
    """In any directions: an eigenvalue solver starts from a random one, intercept included."""
    problem = Case(name, fit_intercept=fit_intercept)
    objective = problem.objective()
    u, v = np.random.default_rng(0).standard_normal((2, *problem.theta.shape))
    left, right = (
        np.vdot(a, objective.hessian_at(problem.theta).product(b)) for a, b in ((u, v), (v, u))
    )
    assert_allclose(left, right, rtol=1e-12)


@each_kind
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("frame", [FRAME, Frame(np.zeros(4), FRAME.scale)], ids=["both", "scaled"])
def test_hessian_bound_in_a_frame_is_that_of_its_columns(name, norm_first, frame):
    problem = Case(name, alpha=0.0)
    bound = bound_matrix(problem, (problem.X - frame.shift) / frame.scale)
    objective = problem.objective(frame)
    if norm_first:
        assert_allclose(objective.bound.norm, np.linalg.eigvalsh(bound)[-1], rtol=1e-8)
    assert_allclose(objective.bound.diagonal, np.diag(bound)[:, None, None], rtol=1e-12)


@each_kind
@each_weighting
@each_intercept
def test_expected_smoothness_goes_from_the_worst_row_to_the_full_batch(
    name, weighted, fit_intercept
):
    problem = Case(name, weighted=weighted, fit_intercept=fit_intercept)
    objective, c = problem.objective(), problem.kind.loss.curvature_bound
    s = np.ones(N_ROWS) if problem.weight is None else problem.weight
    squares = np.sum(problem.plain.A**2, axis=1)
    worst = c * np.max(N_ROWS * s / s.sum() * squares) + problem.plain.alpha
    assert_allclose(objective.bound.of_batches(1), worst, rtol=1e-12)
    full = np.linalg.eigvalsh(bound_matrix(problem, problem.X))[-1]
    assert_allclose(objective.bound.of_batches(N_ROWS), full, rtol=1e-10)
    between = [objective.bound.of_batches(b) for b in range(1, N_ROWS + 1)]
    assert np.all(np.diff(between) < 0)


def test_expected_smoothness_of_one_row_is_that_row():
    blocks = RowBlocks(np.array([[3.0]]), np.array([[1.0]]))
    objective = BlockObjective(blocks, KINDS["squares"].loss, ElasticNet(), 1)
    assert_allclose(objective.bound.of_batches(1), 10.0, rtol=1e-12)


# The quadratic from moments


@each_weighting
@each_intercept
@each_alpha
@pytest.mark.parametrize("how", ["moments", "factor"])
def test_the_quadratic_has_the_face_and_the_numbers_of_the_blocks(
    weighted, fit_intercept, alpha, how
):
    problem = Case("squares", weighted=weighted, fit_intercept=fit_intercept, alpha=alpha)
    blocks, quadratic = problem.objective(), problem.quadratic(how)
    theta = problem.direction
    if not fit_intercept:
        theta[-1] = 0.0
    assert quadratic.shape == blocks.shape
    assert_allclose(quadratic.value(theta), blocks.value(theta), rtol=1e-11)
    value, gradient = quadratic.value_and_gradient(theta)
    assert_allclose(value, blocks.value(theta), rtol=1e-11)
    assert_allclose(gradient, blocks.value_and_gradient(theta)[1], atol=1e-11)
    assert_allclose(
        quadratic.hessian_at(theta[:, :1]).product(problem.direction),
        blocks.hessian_at(theta[:, :1]).product(problem.direction),
        atol=1e-11,
    )
    assert_allclose(quadratic.bound.diagonal, blocks.bound.diagonal, rtol=1e-11)
    assert_allclose(quadratic.bound.norm, blocks.bound.norm, rtol=1e-11)


def test_the_quadratics_gradient_is_the_slope_of_its_value():
    problem = Case("squares", l1_ratio=0.4)
    quadratic = problem.quadratic()
    expected = slope(lambda theta: quadratic.at(theta).smooth_loss[0], problem.theta)
    assert_allclose(quadratic.value_and_gradient(problem.theta)[1], expected, atol=1e-8)
    change = quadratic.value(problem.theta) - quadratic.at(problem.theta).smooth_loss
    assert_allclose(change, 0.3 * 0.4 * np.abs(problem.theta[:-1]).sum(), rtol=1e-10)


@pytest.mark.parametrize("how", ["moments", "factor"])
@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-6])
def test_near_an_exact_fit_the_quadratic_is_not_negative(how, noise):
    problem = Case("squares", alpha=0.0)
    rng = np.random.default_rng(5)
    coef = rng.standard_normal((N_FEATURES, 2))
    problem.y = problem.X @ coef + [3.0, -4.0] + noise * rng.standard_normal((N_ROWS, 2))
    quadratic = problem.quadratic(how)
    best = np.vstack([coef, [3.0, -4.0]])[:, None, :]
    for step in (0.0, 1e-15, 1e-12, 1e-9):
        theta = best + step * rng.standard_normal(best.shape)
        assert 0.0 <= quadratic.value(theta)[0] < 1e-8 * np.mean(problem.y**2)


@pytest.mark.parametrize("how", ["moments", "factor"])
def test_dependent_columns_leave_the_quadratic_right(how):
    problem = Case("squares", alpha=0.0)
    problem.X[:, 3] = problem.X[:, 0] - 2 * problem.X[:, 1]
    blocks, quadratic = problem.objective(), problem.quadratic(how)
    assert_allclose(quadratic.value(problem.direction), blocks.value(problem.direction), rtol=1e-10)
    gradient = blocks.value_and_gradient(problem.direction)[1]
    assert_allclose(quadratic.value_and_gradient(problem.direction)[1], gradient, atol=1e-10)


@each_weighting
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e9])
@pytest.mark.parametrize("unit", [2.0**-498, 1.0, 2.0**498])
def test_moments_are_centred_whatever_the_offset_and_the_unit(weighted, offset, unit):
    problem = Case("squares", weighted=weighted, alpha=0.0)
    spread = np.round(problem.X[:, 0], 5)
    problem.X[:, 0] = (spread + offset) * unit
    if offset:  # what is left of the spread in such a column
        spread = problem.X[:, 0] / unit - offset
    objective = problem.objective()
    moments = CentredMoments.of(objective.blocks, objective.fit_intercept)
    s = np.ones(N_ROWS) if problem.weight is None else problem.weight
    X = np.column_stack([spread, problem.X[:, 1:]])
    X, y = (values - np.average(values, axis=0, weights=s) for values in (X, problem.y))
    back = np.append(moments.frame.scale[0] / unit, moments.frame.scale[1:])
    gram = moments.gram * np.outer(back, back)
    tolerance = 1e-9 * np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    assert np.all(abs(gram - X.T @ (s[:, None] * X)) <= tolerance)
    assert_allclose(moments.cross * back[:, None], X.T @ (s[:, None] * y), atol=1e-6)
    assert_allclose(moments.square, s @ y**2, rtol=1e-10)


@each_weighting
@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e9])
@pytest.mark.parametrize("unit", [2.0**-498, 1.0, 2.0**498])
def test_centres_of_columns_keep_their_digits_whatever_the_offset(
    weighted, is_sparse, offset, unit
):
    problem = Case("sigmoid", weighted=weighted)
    problem.X[:, 0] = (np.round(problem.X[:, 0], 5) + offset) * unit
    problem.X[:, 1] = 1e5  # constant
    mean, square = problem.objective(is_sparse=is_sparse).column_centres()
    X = problem.X / [unit, 1.0, 1.0, 1.0]
    expected = np.average(X, axis=0, weights=problem.weight)
    squares = np.average((X - expected) ** 2, axis=0, weights=problem.weight)
    assert_allclose(mean / [unit, 1.0, 1.0, 1.0], expected, rtol=1e-13, atol=1e-13)
    assert_allclose(square[[0, 2, 3]] / [unit**2, 1.0, 1.0], squares[[0, 2, 3]], rtol=1e-7)
    assert square[1] == 0.0


def test_centres_of_rare_levels_that_are_standardised_move_no_row(monkeypatch):
    """A sample sees no such level, and a constant column that is far from zero."""
    level = np.zeros(3000)
    level[[1, 1000, 2003]] = 1.0
    X = ((level - level.mean()) / level.std())[:, None]
    objective = BlockObjective(RowBlocks(X, level[:, None]), KINDS["sigmoid"].loss, ElasticNet(), 1)
    assert objective.frames.sampled().is_shifted
    monkeypatch.setattr(DenseDesign, "_moved", None)
    mean, square = objective.column_centres()
    assert_allclose(mean, 0.0, atol=1e-13)
    assert_allclose(square, 1.0, rtol=1e-13)


def test_the_start_is_the_value_and_gradient_at_zero():
    problem = Case("squares", alpha=0.0)
    problem.X[:, 0] += 1e6
    problem.y += 100.0
    plain = Plain(problem.kind, problem.X, problem.y, problem.weight)
    objective, zero = problem.objective(), np.zeros_like(problem.theta)
    moments = CentredMoments.of(objective.blocks, objective.fit_intercept)
    factor = CentredFactor.from_objective(objective, moments.frame, moments.y_shift)
    for statistics in (moments, factor):
        loss, gradient = statistics.at_zero()
        assert_allclose(loss, plain.loss(zero[:, 0]), rtol=1e-12)
        assert_allclose(gradient[:, 0], plain.gradient(zero[:, 0]), rtol=1e-10)


# Samples


def test_a_sample_is_an_unbiased_likeness():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20_000, 3)), rng.integers(0, 2, (20_000, 1)) + 0.0
    objective = BlockObjective(RowBlocks(X, y), KINDS["sigmoid"].loss, ElasticNet(), 1)
    sample, smallest = objective.sampled(2000)
    theta = np.array([0.5, -1.0, 0.2, 0.1]).reshape(4, 1, 1)
    assert 0 < smallest <= 0.1 + 1e-12
    assert_allclose(sample.value(theta), objective.value(theta), rtol=0.05)
    assert_allclose(sample.hessian(theta), objective.hessian(theta), atol=0.03)
    thin = sample.thinned(4)
    assert thin.blocks.n_samples == 500
    assert_allclose(thin.hessian(theta), objective.hessian(theta), atol=0.06)


@pytest.mark.parametrize("unit", [1e-200, 1e-100, 1.0, 1e100, 1e150])
def test_frames_are_chosen_so_that_squares_are_ordinary(unit):
    problem = Case("sigmoid")
    problem.X[:, 1] *= unit
    objective = problem.objective()
    for frame in (objective.frames.sampled(), objective.frames.exact()):
        rows = (problem.X[:, 1] - frame.shift[1]) / frame.scale[1]
        assert 1e-120 < np.mean(rows**2) < 1e120


@each_kind
@each_weighting
@each_intercept
@each_frame
def test_slope_and_curvature_along_a_direction(name, weighted, fit_intercept, frame):
    problem = Case(name, weighted=weighted, fit_intercept=fit_intercept)
    objective, direction = problem.objective(frame), problem.direction[:, :1].copy()
    if not fit_intercept:
        direction[-1] = 0.0
    slope, curvature = objective.slope(problem.theta, direction)
    _, gradient = objective.value_and_gradient(problem.theta)
    hessian = objective.hessian(problem.theta)
    assert_allclose(slope, np.vdot(gradient, direction), rtol=1e-11, atol=1e-12)
    assert_allclose(curvature, direction.ravel() @ hessian @ direction.ravel(), rtol=1e-11)


@pytest.mark.parametrize("allow_shift", [False, True])
@pytest.mark.parametrize("n_rows", [300, 900, 3000])
def test_columns_that_look_ordinary_have_the_frame_that_statistics_choose(n_rows, allow_shift):
    """Means of up to 1,000 spreads in units of 10^-120 to 10^120, one column at a time."""
    rng = np.random.default_rng(0)
    shifted = 0
    for _ in range(60):
        mean = 10.0 ** rng.choice([rng.uniform(-2, 1.0), rng.uniform(1.4, 3)])  # not near 16
        column = mean + rng.standard_normal((n_rows, 1))
        column *= 10.0 ** rng.choice([0.0, rng.uniform(-120, 120)])
        frames = FrameChoice(RowBlocks(np.hstack([column, column])), allow_shift=allow_shift)
        found, expected = frames.best(), frames.columns().frame(allow_shift=allow_shift)
        assert_allclose(found.shift, expected.shift, rtol=1e-13)  # of few rows from sums
        assert_array_equal(found.scale, expected.scale)
        shifted += found.is_shifted
    assert 10 < shifted < 50 if allow_shift else shifted == 0


def test_a_constant_or_tiny_column_is_no_ordinary_one():
    for column in (np.full(300, 0.1), np.full(300, 1e-200), np.full(300, 1e200)):
        frames = FrameChoice(RowBlocks(column[:, None]), allow_shift=True)
        assert not frames.best().is_identity
        assert_array_equal(frames.best().shift, column[:1])


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_a_shift_needs_a_fitted_intercept(fit_intercept, is_sparse):
    problem = Case("sigmoid", fit_intercept=fit_intercept)
    problem.X[:, 0] += 1e9
    objective = problem.objective(is_sparse=is_sparse)
    for frame in (objective.frames.sampled(), objective.frames.exact()):
        assert_array_equal(frame.shift != 0.0, [fit_intercept, *[False] * (len(frame.shift) - 1)])


def test_a_sparse_sample_that_is_no_likeness_does_not_fill_x():
    """Every 40th row is full; the others, and with them the columns, are all but empty."""
    X = np.zeros((10_240, 300))
    X[::40] = 1e9
    blocks = RowBlocks(sparse.csr_matrix(X), np.zeros((len(X), 1)))
    objective = BlockObjective(blocks, KINDS["squares"].loss, ElasticNet(), 1)
    assert not objective.frames.sampled().is_shifted


@pytest.mark.parametrize("is_constant", [False, True])
def test_a_sparse_column_far_from_zero_is_shifted_by_its_mean(is_constant, passes):
    rng = np.random.default_rng(0)
    X = (rng.random((3_000, 3)) < 0.1) + 0.0
    X[:, 1] = 0.1 if is_constant else 5.0 + 0.1 * rng.standard_normal(len(X))
    weight = rng.integers(0, 3, len(X)) + 0.0
    blocks = RowBlocks(sparse.csr_matrix(X), np.zeros((len(X), 1)), weight)
    frames = BlockObjective(blocks, KINDS["squares"].loss, ElasticNet(), 1).frames
    if is_constant:  # exactly: what is left of it is zero, not rounding
        assert_array_equal(frames.best().shift, [0.0, 0.1, 0.0])
        return
    mean = np.average(X[:, 1], weights=weight)
    assert_allclose(frames.best().shift, [0.0, mean, 0.0], rtol=1e-13)
    assert passes == [(ColumnMoments, len(X))]  # sums of all rows are enough
