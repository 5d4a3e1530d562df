"""Least squares by dense matrices: normal equations with refinement, triangles, the minimum norm.

In a frame of shifted, scaled and centred columns X~, with S the sum of the weights,

    (X~^T diag(s) X~ + S alpha) w = X~^T diag(s) y~        the normal equations
    R w = q,  [X~ y~] = Q [R q; 0 rho]                     the same from a QR factorisation
"""

import numpy as np
from scipy import linalg

from ...problem.moments import CentredFactor
from ..cholesky import ScaledCholesky
from .found import LeastSquaresSolution, noticeable
from .proven import ProvenBasis
from .triangle import triangle_solve

__all__ = ["equations_of_basis", "from_triangle", "normal_equations", "rank_and_condition", "wide"]

_EPS = np.finfo(np.float64).eps
# The Gram matrix has the squared condition: up to here refinement recovers the accuracy of QR.
_MIN_RCOND = 1e-11
# Bounds, not errors: unrefined normal equations may have this many times the bound of QR ...
_AS_GOOD_AS_QR = 4.0
# ... and the root of their loss, a difference, be this many times smaller than its terms.
_LOSS_IN_MOMENTS = 32.0
_MAX_REFINEMENTS = 3


def normal_equations(objective, moments):
    """Cholesky of the scaled Gram matrix; None where its condition asks for a triangle."""
    hessian, cholesky = _factored(objective, moments)
    if cholesky is None:
        return None
    design = cholesky
    if objective.penalty.l2:  # rank and condition belong to X
        design = _regular_design(moments)
        if design is None:
            return None
    moments, found = _by_equations(objective, moments, cholesky, hessian)
    condition = design.condition_number()
    return _solution(
        moments, **found, solver="normal_equations", rank=len(hessian), condition=condition
    )


def equations_of_basis(objective, moments):
    """The same where the rows prove that some columns depend on the others, else None: with a
    ridge of all columns, without of a basis among them.

    Of what fits alike both mean the shortest: rounding decides in a Gram matrix.
    """
    hessian, cholesky = _factored(objective, moments)
    if cholesky is None and objective.penalty.l2:
        return None
    basis = _proven_basis(objective, moments)
    if basis is None:
        return None
    moments, found = _by_equations(objective, moments, cholesky or basis, hessian)
    return _of_coefficients(
        objective.in_frame(moments.frame),
        moments,
        basis.shortest(found["theta"][:-1, 0]),
        solver="normal_equations",
        rank=basis.rank,
        condition=np.inf,
        dependent=basis.dependent,
    )


def _factored(objective, moments):
    """The Hessian in the frame, and its factor; None where its condition is not good enough."""
    penalty = objective.penalty.in_frame(moments.frame)
    hessian = moments.gram / moments.total_weight
    if penalty.l2:
        hessian.flat[:: len(hessian) + 1] += penalty.curvature((len(hessian) + 1, 1))[:-1, 0]
    try:
        cholesky = ScaledCholesky(hessian)
    except linalg.LinAlgError:
        return hessian, None
    return hessian, cholesky if cholesky.rcond > _min_rcond(moments, cholesky.unit) else None


def _mean_per_unit(moments, unit):
    """The largest mean beside the unit of its column; constant columns have none."""
    ratio = np.divide(moments.mean_x, unit, out=np.zeros_like(unit), where=unit > 0.0)
    return float(np.abs(ratio).max())


def _min_rcond(moments, unit):
    """Means add their squares to the rounding of the Gram matrix."""
    return _MIN_RCOND * (1.0 + _mean_per_unit(moments, unit) ** 2)


def _proven_basis(objective, moments):
    """The basis of the columns that the rows prove to be one, or None."""
    if not moments.spread.any():  # constants alone
        return None
    min_rcond = _min_rcond(moments, moments.spread)
    if objective.blocks.stores_zeros:
        moments = moments.recentred()
    basis = ProvenBasis(objective, moments, min_rcond)
    return basis if basis.is_proven else None


def _by_equations(objective, moments, cholesky, hessian):
    """Moments and, in their frame, theta, loss and gradient there."""
    coef = cholesky.solve(moments.cross / moments.total_weight)
    if _needs_no_refinement(moments, cholesky, coef):
        theta = moments.theta(coef)
        penalty = objective.penalty.in_frame(moments.frame)
        loss, gradient = _at(penalty, moments, theta)
    else:
        if objective.blocks.stores_zeros:
            moments = moments.recentred()
        theta, loss, gradient = _refine(objective, moments, cholesky, hessian, coef)
    return moments, {"theta": theta, "loss": loss, "gradient": gradient}


def _regular_design(moments):
    """The scaled Gram matrix of X, factored; None where its condition asks for a triangle."""
    try:
        design = ScaledCholesky(moments.gram)
    except linalg.LinAlgError:
        return None
    return design if design.rcond > _MIN_RCOND else None


def rank_and_condition(objective, moments):
    """Rank and 2-norm condition number of the centred design with unit columns.

    And the indices of the columns that depend on the others.
    """
    design = _regular_design(moments)
    if design is not None:
        return len(moments.gram), design.condition_number(), np.empty(0, dtype=int)
    n_samples = objective.blocks.n_samples
    basis = _proven_basis(objective, moments) if n_samples > len(moments.gram) else None
    if basis is not None:
        return basis.rank, np.inf, basis.dependent
    factor = CentredFactor.from_objective(objective, moments.frame, moments.y_shift)
    none = np.zeros(len(moments.gram))
    _, *found = triangle_solve(factor.root, factor.q, none, none + 1.0, n_samples)
    return tuple(found)


def _needs_no_refinement(moments, cholesky, coef):
    """Whether the normal equations as they are have the accuracy of QR, and their loss has digits.

    With columns of unit length, w their coefficients, k their condition and r the residuals, the
    error of QR is at most of the order of eps (k + k^2 |r| / (sigma_1 |w|)) |w| (Golub & Van Loan
    2013, "Matrix computations", 5.3.6). Sums of products round in proportion to the size of the
    factors, their means included: with c^2 = 1 + mean^2 / variance the normal equations have
    errors of eps k^2 (c_x^2 + c_x c_y |y| / (sigma_1 |w|)) |w|, and the loss is the difference of
    terms up to (c_x sigma_1 |w| + c_y |y|)^2.
    """
    total_weight, scaled = moments.total_weight, coef * cholesky.unit[:, None]
    # A sum of one sign grows while it rounds: means count twice.
    c = (1.0 + 2.0 * _mean_per_unit(moments, cholesky.unit) ** 2) ** 0.5
    for square, explained, size, mean_y in zip(
        moments.square.tolist(),
        (moments.cross * coef).sum(axis=0).tolist(),
        (scaled * scaled).sum(axis=0).tolist(),
        moments.mean_y.tolist(),
    ):
        # = |y~ - X~ w|^2 and the penalty, at the optimum
        residual = (max(square - explained, 0.0) / total_weight) ** 0.5
        fitted = (cholesky.norm * size) ** 0.5
        terms = c * fitted + (square / total_weight + 2.0 * mean_y**2) ** 0.5
        of_qr = cholesky.rcond**0.5 * fitted + residual
        if not (c * terms <= _AS_GOOD_AS_QR * of_qr and terms <= _LOSS_IN_MOMENTS * residual):
            return False
    return True


def _refine(objective, moments, cholesky, hessian, coef):
    """Corrected semi-normal equations: solve for the residual gradient computed from X.

    One or two steps restore the accuracy of QR for conditions up to about 1e7 (Björck 1987,
    "Stability analysis of the method of seminormal equations"). Residuals have its digits only
    where neither the columns nor the targets have a large mean.

    Returns theta in the frame of the moments, and the loss and gradient there.
    """
    mean_y = moments.mean_y + moments.y_shift
    framed = objective.in_frame(moments.frame)
    if (mean_y**2 * moments.total_weight > moments.square).any():
        framed = framed.with_y(objective.blocks.y - mean_y)
    else:
        mean_y = np.zeros_like(mean_y)
    theta = moments.theta(coef)
    theta[-1] -= mean_y
    theta, loss, gradient = _refined(framed, moments, cholesky, hessian, theta)
    theta[-1] += mean_y
    return theta, loss, gradient


def _refined(framed, moments, cholesky, hessian, theta):
    """The refinement itself, by residuals of `framed`."""
    condition = cholesky.rcond**-0.5
    unit = cholesky.unit[:, None]
    first = previous = np.inf
    for _ in range(_MAX_REFINEMENTS):
        loss, gradient = framed.value_and_gradient(theta)
        # In centred coordinates the intercept decouples: g_w - mean g_b, and g_b.
        outer = gradient[-1, 0]
        inner = gradient[:-1, 0] - moments.mean_x[:, None] * outer
        step = cholesky.solve(inner)
        size = np.linalg.norm(step * unit) / (np.linalg.norm(theta[:-1, 0] * unit) or 1.0)
        if not size <= 0.5 * previous:  # no longer contracting: at rounding level
            return theta, float(loss[0]), gradient
        first, previous = min(first, size), size
        theta = theta.copy()
        theta[:-1, 0] -= step
        theta[-1, 0] += moments.mean_x @ step - outer
        # A step leaves the share of the error that the first solution had of theta: `first`.
        if size * max(first, _EPS) <= 0.1 * _EPS * condition:
            break
    # The objective is quadratic: loss and gradient after the step follow from the step...
    decrease = 0.5 * float((inner * step).sum() + (outer**2).sum())
    if decrease > 1e-3 * float(loss[0]):  # ... unless little is left of the loss
        loss, gradient = framed.value_and_gradient(theta)
        return theta, float(loss[0]), gradient
    gradient[:-1, 0] = inner - hessian @ step
    gradient[-1, 0] = 0.0
    return theta, float(loss[0]) - decrease, gradient


def _at(penalty, moments, theta):
    """Loss and gradient in the frame at a theta with residual mean zero, from the moments."""
    coef = theta[:-1, 0]
    gram_coef = moments.gram @ coef
    # |y~ - X~ w|^2 = y~^T y~ + w^T (X~^T X~ w - 2 X~^T y~)
    square = moments.square.sum() + (coef * (gram_coef - 2.0 * moments.cross)).sum()
    gradient = np.zeros_like(theta)
    gradient[:-1, 0] = (gram_coef - moments.cross) / moments.total_weight
    penalty.add_gradient(theta, gradient)
    loss = 0.5 * float(square) / moments.total_weight + float(penalty.value(theta)[0])
    return loss, gradient


def from_triangle(objective, moments):
    """From the R factor of the rows: full rank by substitution, else the minimum norm."""
    if objective.blocks.stores_zeros:
        moments = moments.recentred()
    framed = objective.in_frame(moments.frame)
    factor = CentredFactor.from_objective(objective, moments.frame, moments.y_shift)
    ridge = framed.penalty.curvature(framed.shape)[:-1, 0] * factor.total_weight
    coef, rank, condition, dependent = triangle_solve(
        factor.root, factor.q, ridge, moments.frame.scale, objective.blocks.n_samples
    )
    return _of_coefficients(
        framed, factor, coef, solver="lstsq", rank=rank, condition=condition, dependent=dependent
    )


def wide(objective):
    """At least as many columns as rows: the minimum norm from the centred rows themselves."""
    framed = objective.in_frame(objective.frames.sure())
    factor = CentredFactor.of_rows(framed)
    centred, target, scale = factor.root, factor.q, factor.frame.scale
    ridge = framed.penalty.curvature(framed.shape)[:-1, 0] * factor.total_weight
    coef, rank, condition, _ = triangle_solve(centred, target, ridge, scale, len(centred))
    return _of_coefficients(framed, factor, coef, solver="lstsq", rank=rank, condition=condition)


def _of_coefficients(framed, factor, coef, **found):
    """The solution with these coefficients of the frame; loss and gradient come from the rows."""
    theta = factor.theta(coef)
    loss, gradient = framed.value_and_gradient(theta)
    return _solution(factor, theta=theta, loss=float(loss[0]), gradient=gradient, **found)


def _solution(statistics, *, theta, gradient, **found):
    frame = statistics.frame
    return LeastSquaresSolution(
        theta=frame.leave(theta),
        noticeable=lambda: noticeable(theta[:-1, 0], statistics.spread, statistics.y_size),
        gradient=frame.gradient_outside(gradient),
        start=statistics.at_zero(),
        **found,
    )
