"""Least squares over a stream of rows that are not kept."""

from dataclasses import dataclass, replace

import numpy as np

from .blocks import RowBlocks
from .frame import Frame
from .kernels import RFactor
from .moments import CentredFactor, QuadraticObjective
from .objective import BlockObjective
from .solvers.solution import ExactSolution
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
        y_shift = sample.y.mean(axis=0) * objective.fit_intercept
        return cls(dense.sampled_frame(), y_shift, objective.fit_intercept)

    def update(self, objective):
        """The stream after the rows of `objective`; this one stays as it is."""
        kernel = RFactor(self.frame, self.y_shift, self.fit_intercept)
        triangle = objective.blocks.reduce(kernel)
        if self.triangle is not None:
            triangle = kernel.combine(self.triangle, triangle)
        total_weight = self.total_weight + objective.total_weight
        if not (np.all(np.isfinite(triangle)) and np.isfinite(total_weight)):
            raise FloatingPointError("X, y or their weights overflow float64; rescale them.")
        n_samples = self.n_samples + objective.blocks.n_samples
        return replace(self, triangle=triangle, total_weight=total_weight, n_samples=n_samples)

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
        return ExactSolution(
            theta=frame.leave(theta),
            solver="lstsq",
            rank=rank,
            condition=condition,
            start=factor.at_zero(),
            loss=float(loss[0]),
            gradient=frame.gradient_outside(gradient),
            dependent=dependent,
        )

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
