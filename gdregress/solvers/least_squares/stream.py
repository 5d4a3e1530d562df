"""Least squares over a stream of rows that are not kept."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..._linalg import append_rows
from ...problem.moments import CentredFactor
from ...problem.quadratic import QuadraticObjective
from ...rows.blocks import RowBlocks
from ...rows.containers import stacked
from ...rows.frame import Frame
from ...rows.kernels import RFactor
from .exact import solve_least_squares
from .found import LeastSquaresSolution, extreme_units, noticeable
from .triangle import triangle_solve

__all__ = ["LeastSquaresStream"]

_SAMPLE_ROWS = 256


class _Rows(NamedTuple):
    """Rows as they came, with their targets and weights."""

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None


@dataclass(frozen=True)
class LeastSquaresStream:
    """The R factor of ``diag(sqrt(s)) [1 X~ y - y_shift]`` of all rows seen so far.

    Updated by QR, never squared: moments would lose half the digits, and the rows are gone. The
    columns are shifted by what the first rows say about them, once and for all: a column at
    1e9 +- 1 would round in any other coordinates. Their scale is no matter to Householder
    reflections and is chosen when the triangle is solved. (Golub & Van Loan, Matrix Computations,
    4th ed., section 6.5.3, "appending rows".)

    As long as the rows are no more than the columns they are kept instead: they take less memory
    than the triangle, and are solved as in a fit.

    With a forgetting factor f what was seen before weighs f times as much: ``R <- sqrt(f) R``,
    ``S <- f S``. That is recursive least squares with exponential weights (Haykin, Adaptive Filter
    Theory, 5th ed., chapter 10).
    """

    fit_intercept: bool
    rows: _Rows | None = None  # in memory of their own, until there is a triangle
    y_unit: np.ndarray | None = None  # powers of two, where y or the weights are extreme
    weight_unit: float = 1.0
    triangle: np.ndarray | None = None
    frame: Frame | None = None
    y_shift: np.ndarray | None = None
    total_weight: float = 0.0
    n_samples: int = 0

    def update(self, objective, forget=1.0):
        """The stream after the rows of `objective`; this one stays as it is."""
        n_samples = self.n_samples + objective.blocks.n_samples
        if self.triangle is None:
            return replace(self, n_samples=n_samples)._kept(objective, forget)
        kernel = RFactor(self.y_shift, self.fit_intercept)
        blocks = self._in_units(objective.blocks).in_frame(self.frame)
        if blocks.n_samples < len(self.triangle):
            rows = kernel.rows(blocks.block(slice(0, blocks.n_samples)))
        else:
            rows = blocks.reduce(kernel)
        triangle = append_rows(np.sqrt(forget) * self.triangle, rows)
        total_weight = forget * self.total_weight + blocks.total_weight
        _check_finite(triangle, total_weight)
        return replace(self, triangle=triangle, total_weight=total_weight, n_samples=n_samples)

    def _kept(self, objective, forget):
        """The stream that keeps these rows too, until they are more than the columns."""
        enough = self.n_samples > objective.blocks.n_features
        if enough and self.rows is None:
            return self._begun(objective)
        rows = _stacked(self.rows, forget, objective.blocks)
        if enough:
            return self._begun(objective.on_rows(RowBlocks(*rows, objective.blocks.workers)))
        return replace(self, rows=rows)

    def _begun(self, objective):
        """The stream with a triangle of all rows so far."""
        unit = self._units(objective.blocks)
        blocks = unit._in_units(objective.blocks)
        y_shift = blocks.sample(_SAMPLE_ROWS).y.mean(axis=0) * self.fit_intercept
        frame = objective.frames.sampled()
        triangle = blocks.in_frame(frame).reduce(RFactor(y_shift, self.fit_intercept))
        total_weight = blocks.total_weight
        _check_finite(triangle, total_weight)
        return replace(
            unit,
            rows=None,
            triangle=triangle,
            frame=frame,
            y_shift=y_shift,
            total_weight=total_weight,
        )

    def _units(self, blocks):
        """The stream with the units that bring such targets and weights to ordinary sizes."""
        weight = np.ones(1) if blocks.sample_weight is None else blocks.sample_weight
        unit = extreme_units(weight[:, None])
        weight_unit = 1.0 if unit is None else float(unit[0])
        return replace(self, y_unit=extreme_units(blocks.y), weight_unit=weight_unit)

    def _in_units(self, blocks):
        """The same rows with y and the weights of ordinary size."""
        if self.y_unit is None and self.weight_unit == 1.0:
            return blocks
        y = blocks.y if self.y_unit is None else blocks.y / self.y_unit
        weight = blocks.sample_weight
        if weight is None and self.weight_unit != 1.0:
            weight = np.ones(blocks.n_samples)
        weight = None if weight is None else weight / self.weight_unit
        return RowBlocks(blocks.X, y, weight, blocks.workers)

    def solve(self, objective, solver):
        """The minimum of the penalised loss over all rows seen; `objective` is that of some."""
        if self.triangle is not None:
            return self._solve_triangle(objective.penalty)
        rows = RowBlocks(*self.rows, objective.blocks.workers)
        units = replace(self._units(rows), y_unit=None)  # a fit sees to its targets itself
        return solve_least_squares(objective.on_rows(units._in_units(rows)), solver)

    def _solve_triangle(self, penalty):
        factor = self._scaled_factor()
        frame, shape = factor.frame, (len(self.frame.shift) + 1, len(self.y_shift))
        ridge = penalty.in_frame(frame).curvature(shape)[:-1, 0] * factor.total_weight
        coef, rank, condition, dependent = triangle_solve(
            factor.root, factor.q, ridge, frame.scale, self.n_samples
        )
        # Loss and gradient in the frame: far from zero, the original columns would round them.
        inside = replace(factor, frame=Frame.identity(len(frame.shift)))
        objective = QuadraticObjective(
            inside, penalty.in_frame(frame), fit_intercept=self.fit_intercept
        )
        theta = factor.theta(coef)
        loss, gradient = objective.value_and_gradient(theta)
        found = LeastSquaresSolution(
            theta=frame.leave(theta),
            noticeable=lambda: noticeable(coef, factor.spread, factor.y_size),
            solver="lstsq",
            rank=rank,
            condition=condition,
            start=factor.at_zero(),
            loss=float(loss[0]),
            gradient=frame.gradient_outside(gradient),
            dependent=dependent,
        )
        if self.y_unit is None:
            return found.checked()
        return found.times(self.y_unit, self._losses(inside, penalty.in_frame(frame), theta))

    def _losses(self, factor, penalty, theta):
        """The losses at zero and at theta in the units of y; `factor` and theta know no units."""
        unit = self.y_unit
        factor = replace(
            factor,
            y_shift=factor.y_shift * unit,
            mean_y=factor.mean_y * unit,
            q=factor.q * unit,
            rest=factor.rest * unit * unit,
        )
        objective = QuadraticObjective(factor, penalty, fit_intercept=self.fit_intercept)
        return [float(objective.value(at * unit)[0]) for at in (0.0 * theta, theta)]

    def _scaled_factor(self):
        """The factor with columns of ordinary size: powers of two, which round nothing."""
        n_features = len(self.frame.shift)
        x = slice(int(self.fit_intercept), n_features + int(self.fit_intercept))
        size = np.abs(self.triangle[x, x]).max(axis=0)
        scale = np.ldexp(1.0, np.where(size > 0.0, np.frexp(size)[1], 0))
        triangle = self.triangle.copy()
        triangle[:, x] /= scale
        frame = Frame(self.frame.shift, self.frame.scale * scale)
        return CentredFactor.from_triangle(triangle, frame, self.y_shift, self.total_weight)


def _check_finite(triangle, total_weight):
    if not (np.all(np.isfinite(triangle)) and np.isfinite(total_weight)):
        raise FloatingPointError("X, y or their weights overflow float64; rescale them.")


def _stacked(before, forget, blocks):
    """The rows seen before, weighing `forget` times as much, and those of `blocks`; copied."""
    X = blocks.X.copy()
    y, weight = blocks.y.copy(), blocks.sample_weight
    if before is None and weight is None:
        return _Rows(X, y, None)
    weight = np.ones(len(y)) if weight is None else weight.copy()
    if before is None:
        return _Rows(X, y, weight)
    seen = np.ones(len(before.y)) if before.sample_weight is None else before.sample_weight
    X = stacked(before.X, X)
    return _Rows(X, np.vstack([before.y, y]), np.concatenate([forget * seen, weight]))
