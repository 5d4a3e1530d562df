"""What docs/extending.md adds from outside, read from it, and problems for it."""

import doctest
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from gdregress import LinearRegression, LogisticRegression
from gdregress.problem.losses import Separate
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import Penalty
from gdregress.rows.blocks import RowBlocks

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"


def classes_of_the_page():
    """What the page imports and defines."""
    namespace = {"__name__": "extending"}
    for example in doctest.DocTestParser().get_examples(PAGE.read_text(encoding="utf-8")):
        if example.source.startswith(("import ", "from ", "class ")):
            exec(example.source, namespace)
    return namespace


OURS = classes_of_the_page()
HuberLoss, PoissonLoss, GroupLasso = (OURS[n] for n in ("HuberLoss", "PoissonLoss", "GroupLasso"))
HuberRegression, PoissonRegression = OURS["HuberRegression"], OURS["PoissonRegression"]
Lion, Settled = OURS["Lion"], OURS["Settled"]


class Quiet(HuberRegression):
    """Huber's loss that does not say how its curvature may fall."""

    def _loss(self):
        return UndeclaredLoss(self.delta)


class StraightLoss(Separate):
    """Huber's loss with a gradient and no more."""

    curvature_bound = 1.0

    def __init__(self, delta):
        self._huber = HuberLoss(delta)
        self.value, self.gradient = self._huber.value, self._huber.gradient


class UndeclaredLoss(StraightLoss):
    def curvature(self, y, z):
        return self._huber.curvature(y, z)


class Straight(HuberRegression):
    def _loss(self):
        return StraightLoss(self.delta)


def table(kind, n_samples=80, n_features=4, n_targets=None, seed=0):
    """Rows for a loss: noisy with outliers, or counts."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features)) + 0.3
    shape = (n_features,) if n_targets is None else (n_features, n_targets)
    z = X @ (0.4 * rng.standard_normal(shape)) + 0.5
    if kind == "poisson":
        return X, rng.poisson(np.exp(z)).astype(float)
    return X, z + rng.standard_t(1.5, z.shape)


KINDS = {"huber": (HuberRegression, HuberLoss(1.35)), "poisson": (PoissonRegression, PoissonLoss())}
each_kind = pytest.mark.parametrize("kind", KINDS)


def objective_of(kind, alpha=0.0, n_targets=1, seed=0, *, fit_intercept=True, **blocks):
    X, y = table(kind, n_targets=n_targets, seed=seed)
    weight = np.random.default_rng(seed + 1).uniform(0.0, 2.0, len(X))
    rows = RowBlocks(X, y, weight, **blocks)
    loss = KINDS[kind][1]
    return BlockObjective(rows, loss, Penalty(alpha), n_targets, fit_intercept=fit_intercept)


def least(kind, X, y, alpha=0.0, sample_weight=None):
    """theta and loss by a general minimiser, the objective written out."""
    weight = np.ones(len(X)) if sample_weight is None else sample_weight

    def value_and_gradient(theta):
        z = X @ theta[:-1] + theta[-1]
        if kind == "poisson":
            value, pull = np.exp(z) - y * z, np.exp(z) - y
        else:
            size = np.abs(z - y)
            value = np.where(size <= 1.35, size**2 / 2, 1.35 * (size - 0.675))
            pull = np.clip(z - y, -1.35, 1.35)
        pull = weight * pull / weight.sum()
        ridge = alpha * theta[:-1] @ theta[:-1] / 2
        gradient = np.append(X.T @ pull + alpha * theta[:-1], pull.sum())
        return weight @ value / weight.sum() + ridge, gradient

    options = {"gtol": 1e-12, "ftol": 1e-16, "maxiter": 10_000, "maxfun": 100_000}
    start = np.zeros(X.shape[1] + 1)
    return minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x


GROUPS = np.array([0, 0, 1, 1, 1, 2])


class Grouped(LinearRegression):
    def _penalty(self):
        return GroupLasso(self.alpha, GROUPS)


class GroupedClasses(LogisticRegression):
    def _penalty(self):
        return GroupLasso(self.alpha, GROUPS)
