"""The objective as its formulas write it, on the whole of X at once.

Nothing in this module calls the package's numerics: the tests of the inner rooms compare with it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from problems import SIGMOID, SOFTMAX, SQUARES, Model, Textbook

from gdregress.problem.class_losses import LogLoss, SoftmaxLoss
from gdregress.problem.losses import SquaredLoss


class Kind(NamedTuple):
    """A loss of the package, the textbook's model of it, and targets to draw."""

    loss: object
    model: Model
    n_outputs: int
    draw: Callable  # (generator, n_rows) -> y as the losses take it


KINDS = {
    "squares": Kind(SquaredLoss(), SQUARES, 2, lambda rng, n: rng.standard_normal((n, 2))),
    "sigmoid": Kind(LogLoss(), SIGMOID, 1, lambda rng, n: rng.integers(0, 2, (n, 1)) + 0.0),
    "softmax": Kind(SoftmaxLoss(), SOFTMAX, 3, lambda rng, n: rng.integers(0, 3, (n, 1))),
}


def targets(kind, y):
    """y as the losses take it -> the textbook's Y: one-hot for softmax."""
    return np.eye(kind.n_outputs)[y[:, 0]] if kind.model is SOFTMAX else y


class Plain(Textbook):
    """The textbook's objective of theta (n_features + 1, n_outputs), and its Hessian."""

    def __init__(self, kind, X, y, sample_weight=None, alpha=0.0, *, fit_intercept=True):
        super().__init__(kind.model, X, targets(kind, y), sample_weight, alpha)
        if not fit_intercept:
            self.A[:, -1] = 0.0

    def row_curvatures(self, theta):
        """The second derivative of every row's loss by its linear predictor, (n, K, K)."""
        mean = self.model.mean(self.A @ theta)
        diagonal = mean[:, :, None] * np.eye(mean.shape[1])
        if self.model is SQUARES:
            return np.broadcast_to(np.eye(mean.shape[1]), diagonal.shape)
        return diagonal - mean[:, :, None] * mean[:, None, :]

    def hessian(self, theta):
        """(q, q) in the order of ``theta.ravel()``."""
        rows = self.weight[:, None, None] * self.row_curvatures(theta)
        n_columns, n_outputs = theta.shape
        blocks = np.empty((n_columns, n_outputs, n_columns, n_outputs))
        for k, m in np.ndindex(n_outputs, n_outputs):
            blocks[:, k, :, m] = self.A.T @ (rows[:, k, m, None] * self.A)
        ridge = np.broadcast_to(self.alpha * self.penalised, theta.shape).ravel()
        return blocks.reshape(theta.size, theta.size) + np.diag(ridge)

    def decrement(self, theta):
        """``1/2 g^T H^+ g``: what the quadratic model at theta still promises."""
        g, H = self.gradient(theta).ravel(), self.hessian(theta)
        unit = np.sqrt(np.maximum(np.diag(H), np.finfo(float).tiny))
        values, vectors = np.linalg.eigh(H / unit / unit[:, None])
        parts = (vectors.T @ (g / unit))[values > 1e-13 * values[-1]]
        return 0.5 * np.sum(parts**2 / values[values > 1e-13 * values[-1]])
