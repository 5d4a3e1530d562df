"""Many models in one pass: each gets what it would get alone."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from plain import KINDS, Plain
from scipy import sparse

from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks
from gdregress.rows.frame import Frame

N_ROWS, N_FEATURES, N_MODELS = 40, 3, 4
ALPHA, L1_RATIO = np.array([0.0, 0.2, 1.5, 0.3]), np.array([0.3, 0.0, 1.0, 0.5])

each_kind = pytest.mark.parametrize("name", KINDS)
each_container = pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])


def draw(name, make=np.asarray, *, penalty=None, fit_intercept=True):
    """An objective, X, y and the weights, and a theta and a direction of every model."""
    rng, kind = np.random.default_rng(0), KINDS[name]
    X, y = rng.standard_normal((N_ROWS, N_FEATURES)), kind.draw(rng, N_ROWS)
    weight = rng.uniform(0, 3, N_ROWS)
    objective = BlockObjective(
        RowBlocks(make(X), y, weight),
        kind.loss,
        ElasticNet(ALPHA, L1_RATIO) if penalty is None else penalty,
        kind.n_outputs,
        fit_intercept=fit_intercept,
    )
    shape = N_FEATURES + 1, N_MODELS, kind.n_outputs
    return objective, (X, y, weight), rng.standard_normal(shape), rng.standard_normal(shape)


def textbook(name, rows, m):
    """The smooth part of the objective of one model."""
    return Plain(KINDS[name], *rows, ALPHA[m] * (1 - L1_RATIO[m]))


@each_kind
@each_container
def test_losses_and_gradients_with_a_penalty_of_each(name, make):
    objective, rows, theta, _ = draw(name, make)
    at = objective.at(theta)
    for m in range(N_MODELS):
        plain = textbook(name, rows, m)
        l1 = ALPHA[m] * L1_RATIO[m] * np.abs(theta[:-1, m]).sum()
        assert_allclose(at.loss[m], plain.loss(theta[:, m]) + l1, rtol=1e-12)
        assert_allclose(at.smooth_loss[m], plain.loss(theta[:, m]), rtol=1e-12)
        assert_allclose(at.gradient[:, m], plain.gradient(theta[:, m]), atol=1e-12)


@each_kind
@each_container
def test_hessian_products_and_diagonals_at_a_theta_of_each(name, make):
    objective, rows, theta, direction = draw(name, make)
    curvature = objective.at(theta).curvature
    product, diagonal = curvature.product(direction), curvature.diagonal()
    for m in range(N_MODELS):
        hessian = textbook(name, rows, m).hessian(theta[:, m])
        expected = (hessian @ direction[:, m].ravel()).reshape(direction[:, m].shape)
        assert_allclose(product[:, m], expected, atol=1e-12)
        assert_allclose(diagonal[:, m].ravel(), np.diag(hessian), atol=1e-12)


@each_kind
@each_container
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_gradient_of_a_batch_is_that_of_its_rows(name, make, fit_intercept):
    objective, (X, y, weight), theta, _ = draw(name, make, fit_intercept=fit_intercept)
    order = np.random.default_rng(1).permutation(N_ROWS)
    for number, batch in enumerate(objective.blocks.batches(np.random.default_rng(1), 16)):
        chosen = order[16 * number : 16 * number + 16]
        part = X[chosen], y[chosen], weight[chosen]
        gradient, value = (
            objective.batch_gradient(batch, theta),
            objective.batch_value(batch, theta),
        )
        share = weight[chosen].sum() / len(chosen) * N_ROWS / weight.sum()
        for m in range(N_MODELS):
            plain = Plain(KINDS[name], *part, 0.0)
            penalised = textbook(name, part, m)
            ridge = penalised.gradient(theta[:, m]) - plain.gradient(theta[:, m])
            expected = share * plain.gradient(theta[:, m]) + ridge
            expected[-1] *= fit_intercept
            assert_allclose(gradient[:, m], expected, atol=1e-12)
            penalty = penalised.loss(theta[:, m]) - plain.loss(theta[:, m])
            penalty += ALPHA[m] * L1_RATIO[m] * np.abs(theta[:-1, m]).sum()
            assert_allclose(value[m], share * plain.loss(theta[:, m]) + penalty, rtol=1e-12)


FRAMES = [Frame.identity(3), Frame(np.array([1.0, 0.0, -2.0]), np.array([0.25, 1.0, 64.0]))]


@pytest.mark.parametrize("frame", FRAMES, ids=["identity", "scaled"])
def test_the_penalty_of_many_models_is_that_of_each(frame):
    theta = np.random.default_rng(2).standard_normal((4, N_MODELS, 3))
    together = ElasticNet(ALPHA, L1_RATIO).in_frame(frame)
    step = np.array([0.1, 1.0, 0.3, 2.0])[:, None]
    added, shrunk = (
        together.add_gradient(theta, np.ones_like(theta)),
        together.proximal(theta, step),
    )
    curvature = together.curvature(theta.shape)
    assert not together.is_smooth
    assert together.has_l2
    for m in range(N_MODELS):
        alone, own = ElasticNet(ALPHA[m], L1_RATIO[m]).in_frame(frame), theta[:, m : m + 1]
        assert_allclose(together.value(theta)[m], alone.value(own)[0], rtol=1e-14)
        assert_allclose(together.rough_value(theta)[m], alone.rough_value(own)[0], rtol=1e-14)
        assert_array_equal(added[:, m : m + 1], alone.add_gradient(own, np.ones_like(own)))
        assert_array_equal(shrunk[:, m : m + 1], alone.proximal(own, step[m]))
        assert_array_equal(curvature[:, m], alone.curvature((4, 3)))
