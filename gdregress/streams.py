"""Least squares over a stream of rows that are not kept."""

from dataclasses import dataclass, replace

import numpy as np

from .blocks import RowBlocks
from .frame import Frame
from .kernels import RFactor
from .moments import CentredFactor, QuadraticObjective
from .objective import BlockObjective
from .solvers.solution import ExactSolution, extreme_units, noticeable
from .solvers.triangle import triangle_solve

__all__ = ["LeastSquaresStream"]

_SAMPLE_ROWS = 256


@dataclass(frozen=True)
class LeastSquaresStream:
    """The R factor of ``diag(sqrt(s)) [1 X~ y - y_shift]`` of all rows seen so far.

    Updated by QR, never squared: moments would lose half the digits, and the rows are gone. The
    columns are shifted by what the first rows say about them, once and for all: a column at
    1e9 +- 1 would round in any other coordinates. Their scale is no matter to Householder
    reflections and is chosen when the triangle is solved. (Golub & Van Loan, Matrix Computations,
    4th ed., section 6.5.3, "appending rows".)
    """

    frame: Frame
    y_shift: np.ndarray
    fit_intercept: bool
    y_unit: np.ndarray | None = None  # powers of two, where y or the weights are extreme
    weight_unit: float = 1.0
    triangle: np.ndarray | None = None
    total_weight: float = 0.0
    n_samples: int = 0

    @classmethod
    def begin(cls, objective):
        """An empty stream for rows like those of a quadratic block objective."""
        blocks = objective.blocks
        sample = blocks.sample(_SAMPLE_ROWS)
        X = sample.X.toarray() if blocks.is_sparse else sample.X
        dense = BlockObjective(
            RowBlocks(X),
            objective.loss,
            objective.penalty,
            objective.shape[1],
            fit_intercept=objective.fit_intercept,
        )
        y_unit = extreme_units(blocks.y)
        y = sample.y if y_unit is None else sample.y / y_unit
        y_shift = y.mean(axis=0) * objective.fit_intercept
        weight = np.ones(1) if blocks.sample_weight is None else blocks.sample_weight
        unit = extreme_units(weight[:, None])
        weight_unit = 1.0 if unit is None else float(unit[0])
        return cls(dense.sampled_frame(), y_shift, objective.fit_intercept, y_unit, weight_unit)

    def update(self, objective):
        """The stream after the rows of `objective`; this one stays as it is."""
        kernel = RFactor(self.frame, self.y_shift, self.fit_intercept)
        blocks = self._in_units(objective.blocks)
        triangle = blocks.reduce(kernel)
        if self.triangle is not None:
            triangle = kernel.combine(self.triangle, triangle)
        total_weight = self.total_weight + blocks.total_weight
        if not (np.all(np.isfinite(triangle)) and np.isfinite(total_weight)):
            raise FloatingPointError("X, y or their weights overflow float64; rescale them.")
        n_samples = self.n_samples + blocks.n_samples
        return replace(self, triangle=triangle, total_weight=total_weight, n_samples=n_samples)

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

    def solve(self, penalty):
        """The minimum of the penalised loss over all rows seen."""
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
        found = ExactSolution(
            theta=frame.leave(theta),
            noticeable=noticeable(coef, factor.spread, factor.y_size),
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
