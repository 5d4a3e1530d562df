"""Exact least squares: normal equations with refinement, triangles, and the minimum norm.

In a frame of shifted, scaled and centred columns X~, with S the sum of the weights,

    (X~^T diag(s) X~ + S alpha) w = X~^T diag(s) y~        the normal equations
    R w = q,  [X~ y~] = Q [R q; 0 rho]                     the same from a QR factorisation
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, lsmr

from ..moments import CentredFactor, CentredMoments
from .cholesky import ScaledCholesky

__all__ = ["ExactSolution", "rank_and_condition", "solve_least_squares", "triangle_solve"]

_EPS = np.finfo(np.float64).eps
# The Gram matrix has the squared condition: up to here refinement recovers the accuracy of QR.
_MIN_RCOND = 1e-11
# Below this squared condition the normal equations are as accurate as QR without refinement.
_WELL_CONDITIONED = 1e-3
# ... where the residuals are at least this share of y in squares: then the error of QR has the
# squared condition too.
_NOISY = 1e-2
_MAX_REFINEMENTS = 3
# More sparse columns than this: a Krylov method, never a dense p x p matrix.
_MAX_SPARSE_COLUMNS = 2000


@dataclass
class ExactSolution:
    """theta (original columns), and what was learnt on the way; losses and norms at both rows."""

    theta: np.ndarray
    solver: str
    rank: int | None  # None where it was not determined
    condition: float
    start: tuple  # loss and gradient (original columns) at zero, penalty included
    loss: float
    gradient: np.ndarray  # at theta, original columns
    dependent: np.ndarray  # indices of columns that depend on the others


def solve_least_squares(objective, solver):
    """Minimise a quadratic block objective exactly; `solver` is as in ``LinearRegression``."""
    n_features, n_samples = objective.blocks.n_features, objective.blocks.n_samples
    if objective.blocks.is_sparse and n_features > _MAX_SPARSE_COLUMNS:
        return _krylov(objective)
    if n_features >= n_samples:
        return _wide(objective)
    moments = CentredMoments.from_objective(objective)
    if solver != "lstsq":
        solution = _normal_equations(objective, moments)
        if solution is not None:
            return solution
    return _from_factor(objective, moments)


def _normal_equations(objective, moments):
    """Cholesky of the scaled Gram matrix; None where its condition asks for a triangle."""
    framed = objective.in_frame(moments.frame)
    total_weight = moments.total_weight
    ridge = framed.penalty.curvature((len(moments.gram) + 1, 1))[:-1, 0]
    hessian = moments.gram / total_weight
    hessian.flat[:: len(hessian) + 1] += ridge
    try:
        cholesky = ScaledCholesky(hessian)
    except linalg.LinAlgError:
        return None
    if not cholesky.rcond > _MIN_RCOND:
        return None
    design = cholesky
    if np.any(ridge):  # rank and condition belong to X
        design = _regular_design(moments)
        if design is None:
            return None

    theta = moments.theta(cholesky.solve(moments.cross / total_weight))
    theta, loss, gradient = _refine(framed, moments, cholesky, hessian, theta)
    return _solution(
        moments,
        theta=theta,
        solver="normal_equations",
        rank=len(hessian),
        condition=design.condition_number(),
        loss=loss,
        gradient=gradient,
    )


def _regular_design(moments):
    """The scaled Gram matrix of X, factored; None where its condition asks for a triangle."""
    try:
        design = ScaledCholesky(moments.gram)
    except linalg.LinAlgError:
        return None
    return design if design.rcond > _MIN_RCOND else None


def rank_and_condition(objective, moments):
    """Rank and 2-norm condition number of the centred design with unit columns."""
    design = _regular_design(moments)
    if design is not None:
        return len(moments.gram), design.condition_number()
    factor = CentredFactor.from_objective(objective, moments.frame, moments.y_shift)
    none = np.zeros(len(moments.gram))
    n_samples = objective.blocks.n_samples
    _, rank, condition, _ = triangle_solve(factor.root, factor.q, none, none + 1.0, n_samples)
    return rank, condition


def _refine(framed, moments, cholesky, hessian, theta):
    """Corrected semi-normal equations: solve for the residual gradient computed from X.

    One or two steps restore the accuracy of QR for conditions up to about 1e7 (Björck 1987,
    "Stability analysis of the method of seminormal equations"). A well-conditioned problem whose
    residuals are not small against y needs none: its moments hold the digits of the loss too.

    Returns theta, and the loss and gradient there.
    """
    # = |y~ - X~ w|^2 at the optimum without a penalty
    residual = moments.square - (moments.cross * theta[:-1, 0]).sum(axis=0)
    noisy = (residual > _NOISY * moments.square).all()
    if cholesky.rcond > _WELL_CONDITIONED and noisy:
        loss, gradient = _at(framed, moments, theta)
        return theta, loss, gradient

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


def _at(framed, moments, theta):
    """Loss and gradient in the frame at a theta with residual mean zero, from the moments."""
    coef = theta[:-1, 0]
    gram_coef = moments.gram @ coef
    # |y~ - X~ w|^2 = y~^T y~ + w^T (X~^T X~ w - 2 X~^T y~)
    square = moments.square.sum() + (coef * (gram_coef - 2.0 * moments.cross)).sum()
    gradient = np.zeros_like(theta)
    gradient[:-1, 0] = (gram_coef - moments.cross) / moments.total_weight
    framed.penalty.add_gradient(theta, gradient)
    loss = 0.5 * float(square) / moments.total_weight + float(framed.penalty.value(theta)[0])
    return loss, gradient


def _from_factor(objective, moments):
    """From the R factor of the rows: full rank by substitution, else the minimum norm."""
    framed = objective.in_frame(moments.frame)
    factor = CentredFactor.from_objective(objective, moments.frame, moments.y_shift)
    ridge = framed.penalty.curvature(framed.shape)[:-1, 0] * factor.total_weight
    coef, rank, condition, dependent = triangle_solve(
        factor.root, factor.q, ridge, moments.frame.scale, objective.blocks.n_samples
    )
    theta = factor.theta(coef)
    loss, gradient = framed.value_and_gradient(theta)
    return _solution(
        factor,
        theta=theta,
        solver="lstsq",
        rank=rank,
        condition=condition,
        loss=float(loss[0]),
        gradient=gradient,
        dependent=dependent,
    )


def triangle_solve(root, q, ridge, scale, n_samples):
    """``min |root w - q|^2 + w^T diag(ridge) w``, by QR or with minimum norm.

    Rank and condition are those of `root` with unit columns: its singular values above
    ``max(n_samples, n_features) eps sigma_1``. The minimum norm is that of ``w / scale``, the
    coefficients in the original units.

    Returns the coefficients, rank, condition number and the indices of dependent columns.
    """
    n_features = root.shape[1]
    unit = np.linalg.norm(root, axis=0)
    regular = unit > 0.0
    unit = np.where(regular, unit, 1.0)
    u, sigma, vt = linalg.svd(root / unit, full_matrices=False, check_finite=False)
    threshold = max(n_samples, n_features) * _EPS * sigma[0]
    kept = sigma > threshold
    rank = int(kept.sum())
    full = rank == n_features
    condition = float(sigma[0] / sigma[-1]) if full else np.inf
    dependent = np.empty(0, dtype=int)
    if not full and n_samples > n_features:
        _, pivots = linalg.qr(root / unit, mode="r", pivoting=True, check_finite=False)
        dependent = np.sort(pivots[rank:])
    if np.any(ridge):
        stacked = np.vstack([root / unit, np.diag(np.sqrt(ridge) / unit)])
        target = np.vstack([q, np.zeros((n_features, q.shape[1]))])
        orthogonal, triangle = linalg.qr(stacked, mode="economic", check_finite=False)
        solution = linalg.solve_triangular(triangle, orthogonal.T @ target, check_finite=False)
        return solution / unit[:, None], rank, condition, dependent
    if full:
        if np.array_equal(root, np.triu(root)):
            solution = linalg.solve_triangular(root / unit, q, check_finite=False)
            return solution / unit[:, None], rank, condition, dependent
        solution = vt.T @ ((u.T @ q) / sigma[:, None])
        return solution / unit[:, None], rank, condition, dependent
    # Any solution, then its projection on the row space, both in ordinary sizes.
    solution = vt[kept].T @ ((u[:, kept].T @ q) / sigma[kept, None]) / unit[:, None]
    rows = (vt[kept] * unit * scale).T  # rows of the design in original units
    size = np.abs(rows).max(initial=0.0) or 1.0
    basis, _ = linalg.qr(rows / size, mode="economic", check_finite=False)
    original = basis @ (basis.T @ (solution / scale[:, None]))
    original[~regular] = 0.0  # exactly: the shift of a constant column may be huge
    return original * scale[:, None], rank, condition, dependent


def _wide(objective):
    """At least as many columns as rows: the minimum norm from the centred rows themselves."""
    blocks = objective.blocks
    frame = objective.sampled_frame() if not blocks.is_sparse else objective.frame
    frame = objective.exact_frame() if frame.is_shifted or frame.is_scaled else frame
    framed = objective.in_frame(frame)
    rows = blocks.block(slice(0, blocks.n_samples))
    X = frame.rows(rows.X.toarray() if blocks.is_sparse else rows.X)
    weight = np.ones(len(X)) if rows.sample_weight is None else rows.sample_weight
    total_weight = weight.sum()
    if objective.fit_intercept:
        mean_x, mean_y = weight @ X / total_weight, weight @ rows.y / total_weight
    else:
        mean_x, mean_y = np.zeros(X.shape[1]), np.zeros(rows.y.shape[1])
    root_weight = np.sqrt(weight)[:, None]
    centred = (X - mean_x) * root_weight
    target = (rows.y - mean_y) * root_weight
    if not np.all(np.isfinite(centred)):
        raise FloatingPointError("X overflows float64 when centred; rescale it to ordinary units.")
    noise = 8.0 * _EPS * (np.abs(frame.shift / frame.scale) + np.abs(mean_x))
    norms = np.linalg.norm(centred, axis=0)
    centred[:, norms <= noise * np.sqrt(total_weight)] = 0.0
    factor = CentredFactor(
        frame,
        np.zeros(rows.y.shape[1]),
        total_weight,
        mean_x,
        mean_y,
        centred,
        target,
        np.zeros(rows.y.shape[1]),
    )
    ridge = framed.penalty.curvature(framed.shape)[:-1, 0] * total_weight
    if np.any(ridge):
        coef, rank, condition = _wide_ridge(centred, target, np.sqrt(ridge))
    else:
        coef, rank, condition, _ = triangle_solve(centred, target, ridge, frame.scale, len(X))
    theta = factor.theta(coef)
    loss, gradient = framed.value_and_gradient(theta)
    return _solution(
        factor,
        theta=theta,
        solver="lstsq",
        rank=rank,
        condition=condition,
        loss=float(loss[0]),
        gradient=gradient,
    )


def _wide_ridge(centred, target, root_ridge):
    """Ridge with p >= m: in ``v = root_ridge w`` it is ``min |A v - y|^2 + |v|^2``."""
    unit = np.linalg.norm(centred, axis=0)
    singular = linalg.svdvals(centred / np.where(unit > 0.0, unit, 1.0), check_finite=False)
    rank = int(np.sum(singular > max(centred.shape) * _EPS * singular[0]))
    condition = float(singular[0] / singular[-1]) if rank == centred.shape[1] else np.inf
    u, sigma, vt = linalg.svd(centred / root_ridge, full_matrices=False, check_finite=False)
    # sigma / (sigma^2 + 1), without squaring a large sigma
    shrunk = 1.0 / (sigma + np.divide(1.0, sigma, out=np.full_like(sigma, np.inf), where=sigma > 0))
    return vt.T @ (shrunk[:, None] * (u.T @ target)) / root_ridge[:, None], rank, condition


def _krylov(objective):
    """Many sparse columns: LSMR on the centred operator (Fong & Saunders 2011).

    First with unit columns, which sets the accuracy; then, without a penalty, once more in the
    original units from those fitted values, which takes out what has no part in them: the
    minimum norm. A Krylov method does not reveal the rank or the condition.
    """
    blocks, total_weight = objective.blocks, objective.total_weight
    X = blocks.X.astype(np.float64, copy=False)
    weight = np.ones(blocks.n_samples) if blocks.sample_weight is None else blocks.sample_weight
    mean_x, mean_y = np.zeros(X.shape[1]), np.zeros(blocks.y.shape[1])
    if objective.fit_intercept:
        mean_x, mean_y = X.T @ weight / total_weight, weight @ blocks.y / total_weight
    square = X.power(2).T @ weight - total_weight * mean_x**2
    if not np.all(np.isfinite(square)):
        raise FloatingPointError("The squares of X overflow float64; rescale its columns.")
    regular = square > 8.0 * _EPS * total_weight * mean_x**2  # the others are constant
    unit = np.where(regular, np.sqrt(np.maximum(square, 0.0)), np.inf)
    root_weight = np.sqrt(weight)
    root_ridge = np.sqrt(objective.penalty.l2 * total_weight)
    design = _centred_operator(X, root_weight, mean_x, unit, root_ridge)
    targets = ((blocks.y - mean_y) * root_weight[:, None]).T
    options = {"atol": 1e-15, "btol": 1e-15, "conlim": 0.0, "maxiter": 20 * X.shape[1]}

    def solve(operator, target):
        padded = np.zeros(operator.shape[0])
        padded[: len(target)] = target
        return lsmr(operator, padded, **options)[0]

    coef = np.column_stack([solve(design, target) / unit for target in targets])
    if root_ridge == 0.0:
        largest = unit[regular].max(initial=0.0) or 1.0
        plain = np.where(regular, largest, np.inf)
        original = _centred_operator(X, root_weight, mean_x, plain, 0.0)
        for k, column in enumerate(coef.T):
            fitted = original.matvec(np.where(regular, column * largest, 0.0))
            shortest = solve(original, fitted)
            error = np.linalg.norm(original.matvec(shortest) - fitted)
            if error <= 1e-12 * np.linalg.norm(fitted):
                coef[:, k] = shortest / plain
    theta = np.vstack([coef, mean_y - mean_x @ coef])[:, None, :]
    loss, gradient = objective.value_and_gradient(theta)
    start_loss, start_gradient = objective.value_and_gradient(np.zeros_like(theta))
    return ExactSolution(
        theta=theta,
        solver="lstsq",
        rank=None,
        condition=np.nan,
        start=(float(start_loss[0]), start_gradient),
        loss=float(loss[0]),
        gradient=gradient,
        dependent=np.empty(0, dtype=int),
    )


def _centred_operator(X, root_weight, mean_x, unit, root_ridge):
    """``diag(sqrt(s)) (X - 1 mean_x^T) diag(1 / unit)``, over ``root_ridge diag(1 / unit)``."""
    n_samples, n_features = X.shape
    ridge = root_ridge / unit
    n_extra = n_features if root_ridge else 0

    def forward(v):
        w = v / unit
        top = root_weight * (X @ w - mean_x @ w)
        return np.concatenate([top, ridge * v]) if n_extra else top

    def backward(r):
        top = root_weight * r[:n_samples]
        out = (X.T @ top - mean_x * top.sum()) / unit
        return out + ridge * r[n_samples:] if n_extra else out

    shape = (n_samples + n_extra, n_features)
    return LinearOperator(shape, matvec=forward, rmatvec=backward, dtype=np.float64)


def _solution(statistics, *, theta, gradient, dependent=None, **found):
    frame = statistics.frame
    return ExactSolution(
        theta=frame.leave(theta),
        gradient=frame.gradient_outside(gradient),
        start=statistics.at_zero(),
        dependent=np.empty(0, dtype=int) if dependent is None else dependent,
        **found,
    )
