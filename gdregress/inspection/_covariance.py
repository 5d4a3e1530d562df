"""The covariance of the coefficients at an optimum: classical, robust, by clusters.

With scores ``g_i = s_i [u_i 1] e_i`` in the basis u of X, e being the derivative of the loss by the
linear predictor, the information ``A = sum_i s_i c_i [u_i 1] [u_i 1]^T``, c being the curvature of
the loss, and k coefficients, the covariance of these is

    nonrobust   phi A^-1,   phi = sum s e^2 / (n - k) for squares, 1 for the logistic losses
    HC0         A^-1 (sum_i g_i g_i^T) A^-1                               White (1980)
    HC1         HC0 n / (n - k)
    HC2, HC3    A^-1 (sum_i g_i g_i^T / (1 - h_i)^a) A^-1,  a = 1, 2      MacKinnon & White (1985)
    cluster     A^-1 (sum_c g_c g_c^T) A^-1  G/(G - 1) (n - 1)/(n - k),   g_c = sum_{i in c} g_i
                                                                          Cameron & Miller (2015)

    h_i = s_i c_i [u_i 1] A^-1 [u_i 1]^T    the leverage of a row

n counts the rows of positive weight, k all coefficients of one target or of all classes but one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from ..rows.blocks import Block
from ..rows.kernels import Sum
from ._optimum import Optimum

__all__ = ["COV_TYPES", "covariance"]

COV_TYPES = ("nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster")
_EPS = np.finfo(np.float64).eps


def covariance(optimum: Optimum, cov_type: str, groups: Any = None, target: int = 0) -> np.ndarray:
    """Covariance of the parameters in the basis, (q, q); of one target for squares."""
    if cov_type == "nonrobust":
        half = linalg.solve_triangular(optimum.root, np.eye(len(optimum.root)), lower=True)
        return optimum.scale[target] * (half.T @ half)
    outputs = np.array([target]) if optimum.inside.is_quadratic else optimum.outputs
    power = {"HC2": 1, "HC3": 2}.get(cov_type, 0)
    scores = _Scores(optimum, outputs, power)
    n, k = optimum.n_samples, optimum.n_parameters
    if cov_type == "cluster":
        meat, n_groups = _clustered(optimum, scores, groups)
        meat *= n_groups / (n_groups - 1.0) * (n - 1.0) / (n - k)
    else:
        meat = optimum.inside.blocks.reduce(_Meat(scores), optimum.theta)
        if not np.isfinite(meat).all():
            raise optimum.problem.fails(
                f"has no cov_type={cov_type!r} here, as some row has leverage 1: it alone "
                f"determines a coefficient",
                "use cov_type='HC0' or 'HC1', or leave out a column that is zero in all rows "
                "but one",
            )
        if cov_type == "HC1":
            meat *= n / (n - k)
    half = linalg.cho_solve((optimum.root, True), meat)
    return linalg.cho_solve((optimum.root, True), half.T)


def _clustered(optimum: Optimum, scores: _Scores, groups: Any) -> tuple[np.ndarray, int]:
    """``sum_c g_c g_c^T``, the rows taken group by group; and the number of groups."""
    blocks = optimum.inside.blocks
    order = np.argsort(groups, kind="stable")
    if blocks.sample_weight is not None:
        order = order[blocks.sample_weight[order] > 0.0]
    sorted_groups = groups[order]
    n_groups = int(np.count_nonzero(np.diff(sorted_groups))) + 1
    if n_groups < 2:
        raise optimum.problem.fails(
            "needs rows of at least 2 groups for cov_type='cluster'",
            "pass other 'groups', or use cov_type='HC1'",
        )
    meat = np.zeros((len(optimum.root), len(optimum.root)))
    carried = np.zeros(len(optimum.root))  # of a group that goes on in the next run of rows
    for begin in range(0, len(order), blocks.block_rows):
        rows = order[begin : begin + blocks.block_rows]
        here = sorted_groups[begin : begin + len(rows)]
        starts = np.concatenate([[0], 1 + np.flatnonzero(np.diff(here))])
        sums = np.add.reduceat(scores(blocks.block(rows), optimum.theta), starts, axis=0)
        if begin and here[0] == sorted_groups[begin - 1]:
            sums[0] += carried
        elif begin:
            meat += np.outer(carried, carried)
        carried, sums = sums[-1].copy(), sums[:-1]
        meat += sums.T @ sums
    return meat + np.outer(carried, carried), n_groups


class _Scores:
    """The scores of the rows of one block, (n, q), divided by ``(1 - h)^(power / 2)``."""

    def __init__(self, optimum: Optimum, outputs: np.ndarray, power: int) -> None:
        self.loss = optimum.inside.loss
        self.fit_intercept = optimum.inside.fit_intercept
        self.outputs, self.power, self.root = outputs, power, optimum.root

    def __call__(self, block: Block, theta: np.ndarray) -> np.ndarray:
        rows, z = block.design.dense(), block.design.times(theta)
        residual = self.loss.value_and_gradient(block.y, z)[1][:, 0, self.outputs]
        if self.fit_intercept:
            rows = np.column_stack([rows, np.ones(len(rows))])
        weight = np.ones(len(rows)) if block.sample_weight is None else block.sample_weight
        residual = residual * weight[:, None]
        if self.power:
            curvature = self.loss.curvature(block.y, z)[:, 0, self.outputs[0]]
            half = linalg.solve_triangular(self.root, rows.T, lower=True, check_finite=False)
            rest = 1.0 - weight * curvature * np.einsum("ji,ji->i", half, half)
            rest[rest < 1e3 * _EPS] = np.nan
            residual /= rest[:, None] ** (0.5 * self.power)
        return (rows[:, :, None] * residual[:, None, :]).reshape(len(rows), -1)


class _Meat(Sum):
    """``sum_i g_i g_i^T``."""

    def __init__(self, scores: _Scores) -> None:
        self.scores = scores

    def __call__(self, block: Block, theta: np.ndarray) -> np.ndarray:
        scores = self.scores(block, theta)
        return np.dot(scores.T, scores)
