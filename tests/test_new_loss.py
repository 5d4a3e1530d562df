"""A loss from outside is one class: counts, whose curvature depends on z and has no bound."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.special import xlogy
from sklearn.linear_model import PoissonRegressor

from gdregress.problem.losses import Separate
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks


class PoissonLoss(Separate):
    """``loss(y, z) = e^z - y z``, the negative log-likelihood of counts without its constant."""

    @staticmethod
    def value(y, z):
        return (np.exp(z) - y[:, None] * z).sum(axis=2)

    @staticmethod
    def gradient(y, z):
        np.exp(z, out=z)
        z -= y
        return z

    @staticmethod
    def curvature(y, z):
        return np.exp(z)

    @staticmethod
    def best_constant(y, sample_weight, fit_intercept):
        mean = float(np.average(y[:, 0], weights=sample_weight))
        return math.sqrt(2.0 * (mean - xlogy(mean, mean)))


def counts(make=np.asarray, block_rows=None):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 3))
    y = rng.poisson(np.exp(X @ [0.5, -0.3, 0.0] + 0.2))
    weight = rng.uniform(0.5, 2.0, 120)
    blocks = RowBlocks(make(X), y[:, None] + 0.0, weight, block_rows=block_rows)
    return BlockObjective(blocks, PoissonLoss(), ElasticNet(0.1), 1), X, y, weight


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("block_rows", [None, 7])
def test_its_optimum_is_that_of_scikit_learn(make, block_rows):
    objective, X, y, weight = counts(make, block_rows)
    theta = np.zeros((4, 1, 1))
    for _ in range(20):
        at = objective.at(theta)
        step = np.linalg.solve(at.hessian, at.gradient.ravel()).reshape(theta.shape)
        theta = theta - step
    product = at.curvature.product(step)
    assert_allclose(product.ravel(), at.hessian @ step.ravel(), atol=1e-15)
    other = PoissonRegressor(alpha=0.1, tol=1e-10, max_iter=1000).fit(X, y, weight)
    assert_allclose(theta[:-1, 0, 0], other.coef_, atol=1e-6)
    assert_allclose(theta[-1, 0, 0], other.intercept_, atol=1e-6)


def test_mini_batches_descend_it():
    objective, *_ = counts()
    theta = np.zeros((4, 1, 1))
    gradients = [
        objective.batch_gradient(batch, theta)
        for batch in objective.blocks.batches(np.random.default_rng(1), 12)
    ]
    assert_allclose(np.mean(gradients, axis=0), objective.at(theta).gradient, atol=1e-13)


def test_what_needs_a_bound_of_its_curvature_says_so():
    objective, *_ = counts()
    with pytest.raises(TypeError, match="PoissonLoss has a curvature without a bound"):
        objective.bound.norm  # noqa: B018
