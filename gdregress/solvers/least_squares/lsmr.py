"""Least squares with many sparse columns, from products with X alone: LSMR.

In a frame, with S the sum of the weights and u_j the lengths of the columns of

    A = [diag(sqrt(s)) (X~ - 1 mean^T)]        y = [diag(sqrt(s)) (y - mean)]
        [diag(sqrt(S alpha))          ],           [0                       ],

LSMR minimises ``|A diag(1/u) v - y|`` over v = u w: the columns, penalty included, have length one.
"""

import numpy as np
from scipy.sparse.linalg import LinearOperator, lsmr

from ...history import StopReason
from .found import LeastSquaresSolution, noticeable
from .triangle import is_negligible

__all__ = ["CentredDesign", "solve_by_lsmr"]

# Where rounding is reached: LSMR is to stop there, not at a tolerance.
_TOLERANCE = 1e-15
# Rounding of the products may keep LSMR from seeing that it is done: the share of the gradient
# (of unit columns) in the residual, and of the residual in y, that are as good as zero.
_SMALL_GRADIENT, _SMALL_RESIDUAL = 1e-12, 1e-13
# What LSMR calls its end at maxiter, and steps that are many.
_AT_MAX_STEPS, _MANY_STEPS = 7, 300
# Additions that calling the products of a step costs.
_CALLS = 50_000


class CentredDesign:
    """The centred, weighted rows of a quadratic objective as an operator, never formed.

    Parameters
    ----------
    objective : BlockObjective
        In the original columns.

    Attributes
    ----------
    framed : BlockObjective
        The same in the frame of its columns.
    mean_x, spread : ndarray of shape (n_features,)
        Weighted means (zeros without an intercept) and root mean squares around them, of the
        columns of the frame; constant columns have a spread of zero.
    targets : ndarray of shape (n_samples, n_outputs)
        ``sqrt(s) (y - mean_y)``.
    """

    def __init__(self, objective):
        columns = objective.frames.columns()
        frame = columns.frame(allow_shift=objective.fit_intercept)
        self.framed = objective.in_frame(frame)
        blocks = objective.blocks
        weight = np.ones(blocks.n_samples) if blocks.sample_weight is None else blocks.sample_weight
        self.total_weight = objective.total_weight
        self.root_weight = np.sqrt(weight)
        self._is_weighted = blocks.sample_weight is not None
        n_features, n_outputs = blocks.n_features, objective.shape[1]
        self.mean_x, self.mean_y = np.zeros(n_features), np.zeros(n_outputs)
        spread = columns.spread / frame.scale
        if objective.fit_intercept:
            self.mean_x = self.framed.blocks.pull(weight)[:-1] / self.total_weight
            for _ in range(2):  # once more: the first mean has the rounding of the sum of y
                self.mean_y += weight @ (blocks.y - self.mean_y) / self.total_weight
            spread[frame.constant(self.mean_x, spread**2)] = 0.0
        else:
            spread = np.hypot(spread, columns.mean / frame.scale)
        self.spread = spread
        self.targets = self.root_weight[:, None] * (blocks.y - self.mean_y)

    def forward(self, coef):
        """``diag(sqrt(s)) (X~ - 1 mean^T) coef``, (n_samples,)."""
        theta = np.append(coef, -(self.mean_x @ coef))[:, None, None]
        rows = self.framed.blocks.times(theta)[:, 0, 0]
        return self.root_weight * rows if self._is_weighted else rows

    def backward(self, rows):
        """Its transpose times `rows`, (n_features,)."""
        product = self.framed.blocks.pull(self.root_weight * rows if self._is_weighted else rows)
        return product[:-1] - self.mean_x * product[-1]

    def operator(self, unit, ridge):
        """``[design; diag(ridge)] diag(1 / unit)``; no rows of `ridge` where that is None."""
        n_samples, n_features = len(self.root_weight), len(self.mean_x)

        def forward(v):
            rows = self.forward(v / unit)
            return rows if ridge is None else np.concatenate([rows, ridge / unit * v])

        def backward(r):
            out = self.backward(r[:n_samples]) / unit
            return out if ridge is None else out + ridge / unit * r[n_samples:]

        shape = (n_samples + (0 if ridge is None else n_features), n_features)
        return LinearOperator(shape, matvec=forward, rmatvec=backward, dtype=np.float64)

    def solution(self, coef, **found):
        """The solution with these coefficients of the frame, (n_features, n_outputs)."""
        framed = self.framed
        theta = np.vstack([coef, self.mean_y - self.mean_x @ coef])[:, None, :]
        loss, gradient = framed.value_and_gradient(theta)
        start_loss, start_gradient = framed.value_and_gradient(np.zeros_like(theta))
        outside = framed.frame.gradient_outside
        return LeastSquaresSolution(
            theta=framed.frame.leave(theta),
            noticeable=lambda: noticeable(coef, self.spread, np.abs(self.targets).max(axis=0)),
            solver="lstsq",
            start=(float(start_loss[0]), outside(start_gradient)),
            loss=float(loss[0]),
            gradient=outside(gradient),
            **found,
        )


def solve_by_lsmr(objective, work, least_steps):
    """Minimise a quadratic block objective by LSMR (Fong & Saunders 2011).

    With unit columns, which sets the accuracy, and from there, without a penalty, to the minimum
    norm. A Krylov method does not reveal the rank or the condition.

    `work` is about the number of multiplications that all steps together may take; a solution
    that was not reached within it, or in `least_steps` of them, says so.
    """
    design = CentredDesign(objective)
    blocks = objective.blocks
    n_features, n_outputs = len(design.mean_x), objective.shape[1]
    per_step = 4 * blocks.design.n_stored + 10 * (blocks.n_samples + n_features) + _CALLS
    max_steps = min(20 * n_features, max(least_steps, int(work / per_step / n_outputs)))

    curvature = design.framed.penalty.curvature((n_features + 1, 1))[:-1, 0]
    length = np.sqrt(design.total_weight) * design.spread
    ridge = None
    if not is_negligible(design.total_weight * curvature, length, full=False):
        ridge = np.sqrt(design.total_weight * curvature)
        length = np.hypot(length, ridge)
    # The others are constant columns, whose coefficients are zero.
    unit = np.where(design.spread > 0.0, length, np.inf)
    coef, converged = np.zeros((n_features, n_outputs)), True
    for k, target in enumerate(design.targets.T):
        v, done = _minimum(design.operator(unit, ridge), target, max_steps)
        coef[:, k] = v / unit
        if done and ridge is None:
            shortest = _shortest(design, coef[:, k], unit, max_steps)
            # With more rows than columns there is no other solution, as a rule.
            done = shortest is not None or blocks.n_samples > n_features
            coef[:, k] = coef[:, k] if shortest is None else shortest
        converged = converged and done
    reason = StopReason.SOLVED if converged else StopReason.UNSOLVED
    return design.solution(coef, rank=None, condition=np.nan, reason=reason)


def _shortest(design, coef, unit, max_steps):
    """The coefficients of least norm in the original units with the same fitted values, or None.

    LSMR finds it from the fitted values, to the accuracy that the units allow; what is missing to
    the fitted values then comes from unit columns again.
    """
    size = unit * design.framed.frame.scale
    regular = np.isfinite(unit)
    original = np.where(regular, size[regular].max(initial=0.0) / design.framed.frame.scale, np.inf)
    fitted = design.forward(coef)
    length = np.linalg.norm(fitted)
    v, done = _minimum(design.operator(original, None), fitted, max_steps)
    shortest = v / original
    missing = fitted - design.forward(shortest)
    if done and np.linalg.norm(missing) > _SMALL_RESIDUAL * length:
        v, done = _minimum(design.operator(unit, None), missing, max_steps)
        shortest = shortest + v / unit
        missing = fitted - design.forward(shortest)
    return shortest if done and np.linalg.norm(missing) <= 1e-12 * length else None


def _minimum(operator, target, max_steps):
    """The minimum of ``|operator v - target|``, and whether it was reached."""
    padded = np.zeros(operator.shape[0])
    padded[: len(target)] = target
    size = np.linalg.norm(padded)
    if size == 0.0:
        return np.zeros(operator.shape[1]), True
    options = {"atol": _TOLERANCE, "btol": _TOLERANCE, "conlim": 0.0, "maxiter": max_steps}
    v, reason, n_steps, *_ = lsmr(operator, padded, **options)
    residual = padded - operator.matvec(v)
    if reason != _AT_MAX_STEPS and n_steps > _MANY_STEPS:
        # Its estimate of |A|, by which it measures the residual, has grown with the steps.
        change = lsmr(operator, residual, **options)[0]
        improved = residual - operator.matvec(change)
        if np.linalg.norm(improved) < np.linalg.norm(residual):
            return v + change, True
    if reason != _AT_MAX_STEPS:
        return v, True
    left = np.linalg.norm(residual)
    gradient = np.linalg.norm(operator.rmatvec(residual))
    return v, bool(left <= _SMALL_RESIDUAL * size or gradient <= _SMALL_GRADIENT * left)
