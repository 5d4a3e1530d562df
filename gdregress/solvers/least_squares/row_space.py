"""Least squares with more columns than rows, solved among the rows.

With ``A = diag(sqrt(s)) (X - 1 mean^T)`` (m, p) in the original units and lambda = S alpha,

    w = A^T z,    (A A^T + lambda I) z = y,

because ``A^T (A A^T + lambda I) = (A^T A + lambda I) A^T``: the ridge solution, and for lambda = 0
the solution of minimum norm where the rows are independent (Golub & Van Loan, Matrix Computations,
4th ed., section 5.6.2). An m x m matrix, whatever p.
"""

import numpy as np
from scipy import linalg

from ..cholesky import ScaledCholesky
from .lsmr import CentredDesign

__all__ = ["row_space_work", "solve_in_row_space"]

# The Gram matrix of the rows has the squared condition.
_MIN_RCOND = 1e-11
_MAX_REFINEMENTS = 5
# What rounding leaves of a sum, as a share of its terms.
_ROUNDING = 64.0 * np.finfo(np.float64).eps
# Multiplications that the Gram matrix may take.
_MAX_PRODUCTS = 2e9
# One of them costs as much as so many of a product with X, and a factor a share of m^3.
_PER_PRODUCT, _PER_CUBE = 10, 20


def solve_in_row_space(objective, *, to_rounding=False):
    """Minimise a quadratic block objective with p >= m; None where that cannot be.

    It cannot where the rows depend on each other and there is no penalty to speak of. With
    `to_rounding` it is not to be, either, where the rank is not known or more is left of the
    residual than the rounding of its terms, as the squared condition may have it.
    """
    design = CentredDesign(objective)
    scale = design.framed.frame.scale
    largest = scale.max()  # a power of two, for squares in ordinary sizes
    scale = np.where(design.spread > 0.0, scale / largest, 0.0)  # constant columns count nothing
    ridge = design.total_weight * objective.penalty.l2 / largest**2
    gram = _regular(_gram(design, scale), design.root_weight, objective.fit_intercept)
    if not np.isfinite(gram).all():
        return None
    independent = factor = _cholesky(gram)
    if to_rounding and independent is None:
        return None
    length = np.sqrt(gram.trace())  # of A
    if ridge:
        gram.flat[:: len(gram) + 1] += ridge
        factor = _cholesky(gram)
    if factor is None:
        return None

    def coefficients(z):
        return np.column_stack([scale**2 * design.backward(column) for column in z.T])

    # Residuals from X itself, as in the refinement of normal equations.
    z, coef = np.zeros_like(design.targets), np.zeros((len(scale), objective.shape[1]))
    residual, size = design.targets, np.linalg.norm(design.targets)
    for _ in range(_MAX_REFINEMENTS):
        trial = z + factor.solve(residual)
        trial_coef = coefficients(trial)
        fitted = np.column_stack([design.forward(column) for column in trial_coef.T])
        residual = design.targets - fitted - ridge * trial
        before, size = size, np.linalg.norm(residual)
        if not size < before:
            break
        z, coef = trial, trial_coef
        if size > 0.5 * before:
            break
    w = np.divide(coef.T, scale, out=np.zeros_like(coef.T), where=scale > 0.0)
    terms = length * np.linalg.norm(w) + np.linalg.norm(design.targets)
    if to_rounding and not size <= _ROUNDING * terms:
        return None
    rank = int(np.count_nonzero(design.root_weight)) - int(objective.fit_intercept)
    return design.solution(
        coef,
        rank=rank if independent is not None else None,
        condition=np.inf if independent is not None else np.nan,
    )


def row_space_work(blocks, most_rows):
    """What it costs, in multiplications of a product with X; infinite where it is out of reach."""
    n_samples, n_features = blocks.n_samples, blocks.n_features
    if n_features < n_samples or n_samples > most_rows:
        return np.inf
    products = blocks.design.row_gram_work()
    if products > _MAX_PRODUCTS:
        return np.inf
    return _PER_PRODUCT * products + n_samples**3 / _PER_CUBE


def _gram(design, scale):
    """``A diag(scale)^2 A^T``, (n_samples, n_samples), A the centred rows of the frame."""
    blocks = design.framed.blocks
    gram = blocks.block(slice(0, blocks.n_samples)).design.row_gram(design.mean_x, scale)
    gram *= design.root_weight[:, None]
    gram *= design.root_weight
    return gram


def _regular(gram, root_weight, fit_intercept):
    """The Gram matrix, regular where the rows are independent but for their mean.

    Rows without weight are no rows: they get a diagonal. Centred rows have the null vector sqrt(s),
    to which all targets are orthogonal: lifting it changes no solution.
    """
    size = gram.trace() / max(1, np.count_nonzero(root_weight)) or 1.0
    gram.flat[:: len(gram) + 1] += np.where(root_weight == 0.0, size, 0.0)
    if fit_intercept:
        null = root_weight / np.linalg.norm(root_weight)
        gram += size * np.outer(null, null)
    return gram


def _cholesky(matrix):
    """A factor that residuals can refine, else None."""
    try:
        factor = ScaledCholesky(matrix)
    except linalg.LinAlgError:
        return None
    return factor if factor.rcond > _MIN_RCOND else None
