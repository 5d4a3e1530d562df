"""An evaluation at a point: what it says, and how many looks at the rows that takes."""

from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from plain import KINDS, Plain
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from gdregress import LinearRegression, LogisticRegression
from gdregress.problem.kernels import LossGradient
from gdregress.problem.moments import CentredMoments
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.problem.quadratic import QuadraticObjective
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers import GradientDescent

N_ROWS, N_FEATURES, ALPHA = 40, 3, 0.3

each_kind = pytest.mark.parametrize("name", KINDS)


class CountedBlocks(RowBlocks):
    """Rows that count how often they are looked at."""

    n_passes = 0

    def reduce(self, kernel, *args):
        self.n_passes += 1
        return super().reduce(kernel, *args)


def draw(name, l1_ratio=0.0, n_models=1):
    """A block objective, the textbook's on the same rows, and a theta."""
    rng, kind = np.random.default_rng(0), KINDS[name]
    X, y = rng.standard_normal((N_ROWS, N_FEATURES)), kind.draw(rng, N_ROWS)
    weight = rng.uniform(0, 3, N_ROWS)
    penalty = ElasticNet(ALPHA, l1_ratio)
    objective = BlockObjective(CountedBlocks(X, y, weight), kind.loss, penalty, kind.n_outputs)
    theta = rng.standard_normal((N_FEATURES + 1, n_models, kind.n_outputs))
    return objective, Plain(kind, X, y, weight, ALPHA * (1 - l1_ratio)), theta


@each_kind
@pytest.mark.parametrize("order", list(permutations(["loss", "gradient", "hessian", "curvature"])))
def test_everything_is_the_textbooks_in_whatever_order_it_is_asked(name, order):
    objective, plain, theta = draw(name)
    objectives = [objective]
    if objective.is_quadratic:
        factor = CentredMoments.of(objective.blocks, objective.fit_intercept).factor()
        objectives.append(QuadraticObjective(factor, objective.penalty))
    hessian, direction = plain.hessian(theta[:, 0]), theta[::-1].copy()
    own = [slice(k, None, theta.shape[2]) for k in range(theta.shape[2])]
    for each in objectives:
        at = each.at(theta)
        for what in order:
            getattr(at, what)
        assert at.theta is theta
        assert_allclose(at.loss, [plain.loss(theta[:, 0])], rtol=1e-12)
        assert_allclose(at.gradient[:, 0], plain.gradient(theta[:, 0]), atol=1e-12)
        assert_allclose(at.hessian, hessian, atol=1e-12)
        product = (hessian @ direction.ravel()).reshape(direction.shape)
        assert_allclose(at.curvature.product(direction), product, atol=1e-12)
        assert_allclose(at.curvature.diagonal().ravel(), np.diag(hessian), atol=1e-12)
        likely = at.curvature.output_blocks()
        assert likely.shape == (len(own), len(theta), len(theta))
        for k, block in zip(own, likely, strict=True):
            assert_allclose(np.diag(block), np.diag(hessian[k, k]), atol=1e-12)


@pytest.mark.parametrize(
    ("order", "n_passes"),
    [
        (["loss"], 1),
        (["gradient", "loss"], 1),
        (["hessian", "gradient", "loss", "smooth_loss"], 1),
        (["curvature", "gradient", "loss", "smooth_loss"], 1),
        (["loss", "gradient", "hessian"], 3),
        (["gradient", "hessian"], 2),
        (["gradient", "curvature"], 2),
    ],
)
@each_kind
def test_no_pass_is_made_twice_and_a_pass_gives_all_that_comes_before(name, order, n_passes):
    """The curvature of squares needs no look at the rows at all."""
    objective, _, theta = draw(name, l1_ratio=0.5)
    if objective.is_quadratic and order == ["gradient", "curvature"]:
        n_passes = 1
    at = objective.at(theta)
    first = [getattr(at, what) for what in order]
    again = [getattr(at, what) for what in order]
    assert objective.blocks.n_passes == n_passes
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one, two) if isinstance(one, np.ndarray) else one is two


@each_kind
def test_an_evaluation_of_many_models_and_what_the_l1_norm_is_to_it(name):
    objective, plain, theta = draw(name, l1_ratio=0.5, n_models=3)
    at = objective.at(theta)
    for m in range(3):
        l1 = 0.5 * ALPHA * np.abs(theta[:-1, m]).sum()
        assert_allclose(at.smooth_loss[m], plain.loss(theta[:, m]), rtol=1e-12)
        assert_allclose(at.loss[m], plain.loss(theta[:, m]) + l1, rtol=1e-12)
        assert_allclose(at.gradient[:, m], plain.gradient(theta[:, m]), atol=1e-12)


@pytest.mark.parametrize("solver", ["gd", "nesterov", GradientDescent(average=True)])
@pytest.mark.parametrize("batch_size", [None, 10])
@pytest.mark.parametrize("draw_rows", [np.asarray, csr_array])
def test_a_descent_is_judged_by_its_last_evaluation(passes, solver, batch_size, draw_rows):
    """The start and five iterations or epochs are six passes; how far the optimum is takes none,
    as the gradient of the intercept alone says that it is elsewhere."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((N_ROWS, N_FEATURES)), rng.integers(0, 2, N_ROWS)
    model = LogisticRegression(solver=solver, alpha=0.1, learning_rate=0.1, random_state=0)
    model.set_params(batch_size=batch_size, max_iter=5, tol=0).fit(draw_rows(X), y)
    assert passes == [(LossGradient, N_ROWS)] * 6
    assert not model.converged_
    best = LogisticRegression(alpha=0.1, tol=1e-14).fit(X, y)
    assert model.optimality_gap_ >= model.loss_ - best.loss_ > 0.0


def test_a_best_iterate_that_is_not_the_last_is_evaluated_for_itself():
    """Too long steps end above their start: what is returned was seen long before."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((N_ROWS, N_FEATURES)), rng.standard_normal(N_ROWS)
    model = LinearRegression(solver="gd", learning_rate=50.0, max_iter=100)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    best = LinearRegression(solver="lstsq").fit(X, y)
    assert_allclose(model.optimality_gap_, model.loss_ - best.loss_, rtol=1e-9)
