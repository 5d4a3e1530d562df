"""Hessians that are applied, never formed: that of an objective over rows, and of a quadratic one.

The contract of both, of the smooth part of the objective at one theta:

``product(direction)`` : shape of direction, (n_features + 1, n_models, n_outputs)
    ``H direction``.
``diagonal()`` : shape (n_features + 1, n_models, n_outputs)
``output_blocks()`` : shape (n_outputs, n_features + 1, n_features + 1)
    The blocks on the diagonal, one of each output.

And of one over rows alone:

``intercepts()`` : shape (n_outputs, n_outputs)
    The block of the intercepts.
``own_intercepts()`` : shape of theta
    The column of each intercept in the block of its output.
``blocks_along(axes, rows)`` : shape (n_outputs, q + 1, q + 1)
    ``W^T H_kk W`` with the block H_kk of each output and axes W of shape (n_features + 1, q + 1),
    the last that of the intercept; `rows` are the blocks of ``X W`` without it.
"""

import numpy as np
from scipy.linalg.blas import daxpy

from ..rows.blocks import PerRow
from .kernels import (
    CurvedIntercepts,
    CurvedProduct,
    CurvedSquares,
    CurvedSums,
    GramsAlongAxes,
    LikelyGrams,
)

__all__ = ["AppliedHessian", "QuadraticHessian", "ridge_of"]

# So many rows for each column tell the blocks of a Hessian well enough to precondition it.
_ROWS_PER_COLUMN = 20


class AppliedHessian:
    """The Hessian of a block objective: the curvature of every row is known, a product costs two
    products with X.

    Parameters
    ----------
    objective : BlockObjective
    rows : ndarray of shape (n_samples, n_models, n_outputs)
        ``loss.curvature(y_i, z_i)`` of every row.
    rows_per_column : int, default=20
        Of rows that count, no more than so many for each column are in :meth:`output_blocks`.
    """

    def __init__(self, objective, rows, *, rows_per_column=_ROWS_PER_COLUMN):
        self._objective, self._rows = objective, rows
        self._rows_per_column = rows_per_column
        self._product = CurvedProduct(objective.loss)
        self._ridge = ridge_of(objective.penalty, objective.shape)
        coef = self._ridge[:-1]
        self._same = float(coef.flat[0]) if coef.size and (coef == coef.flat[0]).all() else None

    def product(self, direction):
        if not self._objective.fit_intercept:
            direction = np.vstack([direction[:-1], np.zeros_like(direction[-1:])])
        product = self._objective.blocks.reduce(self._product, PerRow(self._rows), direction)
        return self._penalised(product, direction)

    def diagonal(self):
        kernel = CurvedSquares(self._objective.loss)
        squares = self._objective.blocks.reduce(kernel, PerRow(self._rows))
        return self._penalised(squares, np.ones_like(squares))

    def intercepts(self):
        objective = self._objective
        if not objective.fit_intercept:
            return np.zeros((objective.shape[1],) * 2)
        kernel = CurvedIntercepts(objective.loss)
        return objective.blocks.reduce(kernel, PerRow(self._rows)) / objective.total_weight

    def own_intercepts(self):
        objective = self._objective
        kernel = CurvedSums(objective.loss)
        sums = objective.blocks.reduce(kernel, PerRow(self._rows)) / objective.total_weight
        return sums if objective.fit_intercept else np.zeros_like(sums)

    def blocks_along(self, axes, rows):
        objective = self._objective
        blocks = rows.reduce(GramsAlongAxes(objective.loss), PerRow(self._rows))
        blocks /= objective.total_weight
        if not objective.fit_intercept:
            blocks[:, -1] = blocks[:, :, -1] = 0.0
        ridge = objective.penalty.curvature((objective.shape[0], 1))
        return blocks + axes.T @ (ridge * axes)

    def output_blocks(self):
        """Each of the rows that count in it, scaled so that its diagonal is no less than that of
        all: a preconditioner need not be exact.
        """
        objective = self._objective
        share = self._rows_per_column * objective.shape[0] / objective.blocks.n_samples
        grams = objective.blocks.reduce(LikelyGrams(objective.loss), PerRow(self._rows), share)
        grams *= 1.0 / objective.total_weight
        if not objective.fit_intercept:
            grams[:, -1] = grams[:, :, -1] = 0.0
        curvature = objective.penalty.curvature((objective.shape[0], 1))[:, 0]
        diagonal = grams.reshape(len(grams), -1)[:, :: objective.shape[0] + 1]
        diagonal += curvature
        of_all = self.diagonal()[:, 0].T
        seen = diagonal > 0.0
        ratio = np.divide(of_all, diagonal, out=np.ones_like(of_all), where=seen)
        for gram, root in zip(grams, np.sqrt(np.maximum(ratio, 1.0)), strict=True):
            gram *= root
            gram *= root[:, None]
        diagonal[~seen] = of_all[~seen]
        return grams

    def _penalised(self, total, direction):
        objective = self._objective
        total *= 1.0 / objective.total_weight
        if not objective.fit_intercept:
            total[-1] = 0.0
        if self._same is None or not total.flags.c_contiguous:
            total += self._ridge * direction
        elif self._same > 0.0:  # in place
            daxpy(direction[:-1].reshape(-1), total[:-1].reshape(-1), a=self._same)
        return total


class QuadraticHessian:
    """That of a quadratic objective, the same at every theta: ``A^T A`` and the penalty."""

    def __init__(self, objective):
        self._objective = objective
        self._transposed = np.ascontiguousarray(objective.A.T)

    def product(self, direction):
        A, flat = self._objective.A, direction.reshape(len(direction), -1)
        product = np.dot(self._transposed, np.dot(A, flat)).reshape(direction.shape)
        return self._objective.penalty.add_gradient(direction, product)

    def diagonal(self):
        n_outputs = self._objective.shape[1]
        return np.repeat(self._objective.bound.diagonal, n_outputs, axis=2)

    def output_blocks(self):
        return np.repeat(self._objective.bound.gram[None], self._objective.shape[1], axis=0)


def ridge_of(penalty, shape):
    """The diagonal of a penalty's Hessian in the shape of theta, shape being that of one model."""
    return penalty.curvature((shape[0], np.size(penalty.l2), shape[1]))
