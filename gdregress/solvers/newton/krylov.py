"""Truncated Newton: directions from products with the Hessian, which is never formed."""

import math
from collections import deque

import numpy as np

from ..cholesky import ScaledCholesky
from .costs import costs
from .hessian import NEGLIGIBLE

__all__ = ["KrylovMetric"]

_EPS = np.finfo(np.float64).eps
_MAX_KRYLOV_STEPS = 1000
# The share that is left of a gradient, in length, is no more than this.
_LARGEST_SHARE = 0.25
# Where the decrement has a bound, a step is not asked to bring that below this share of the
# tolerance.
_ENOUGH = 0.25
# Conjugate gradients have settled when this many steps add next to nothing.
_DELAY = 10
# The diagonal of a block is lifted by this share of it.
_LIFT = 1e-8
# Eliminating the intercept leaves no less than this of the diagonal.
_LEFT = 1e-6
# Directions in a fit that are many: an ill-conditioned X may be why.
_MANY = 20
# Blocks of the Hessian are made of so many rows for each column, and factored up to so many columns
# where they cost less than so many products.
_BLOCK_ROWS, _MAX_BLOCK_COLUMNS, _WORTH_BLOCKS = 20, 1024, 25.0


class KrylovMetric:
    """The Hessian of all rows, by its products alone: truncated Newton.

    ``H d = -g`` is solved by preconditioned conjugate gradients until the residual r is a share of
    the gradient that shrinks with it (Nocedal & Wright 2006, algorithm 7.1); never a p x p matrix
    for large p. ``-1/2 g^T d`` approaches the decrement from below, by what each step of the
    conjugate gradients adds: near the tolerance they go on until the last ten steps together add
    next to nothing (Strakos & Tichy 2002, "On error estimation in the conjugate gradient method"),
    or until a ridge bounds what is missing; see :class:`_Diagonal`. With a bound, no residual is
    asked for whose own decrement is far below the tolerance (Kelley 1995, "Iterative methods for
    linear and nonlinear equations", equation 6.20).
    """

    is_sampled = is_kept = is_exact = is_saturated = gives_up = False

    def __init__(self, framed):
        self.framed = framed
        self.is_suspicious = self.is_blind = False
        self._n_directions = 0
        self._first = self._preconditioner = self._before = None

    def look(self, theta):
        """The evaluation at theta, the curvatures of the rows first."""
        return self.framed.at(theta).having("curvature")

    def direction(self, at, tolerance):
        """The truncated Newton direction and the decrement."""
        return self.solve(at.curvature, at.gradient, tolerance)

    def solve(self, hessian, gradient, tolerance):
        """``-H^-1 g`` of any g, truncated, and ``1/2 g^T H^-1 g``."""
        if self._preconditioner is None:
            self._preconditioner = _preconditioner(hessian, self.framed, self._before)
        solve, ill = self._preconditioner.solve, self._preconditioner.is_ill_conditioned
        square = float(np.vdot(gradient, solve(gradient)))
        if square == 0.0:
            return np.zeros_like(gradient), 0.0
        self._first = square if self._first is None else self._first
        share = min(_LARGEST_SHARE, math.sqrt(math.sqrt(square / self._first)))
        bound = self._preconditioner.bound(gradient)
        if bound > 0.0:
            share = max(share, min(_LARGEST_SHARE, math.sqrt(_ENOUGH * tolerance / bound)))
        direction, missing, n_steps, broke, self.is_blind = _conjugate_gradients(
            hessian.product, -gradient, self._preconditioner, share**2 * square, tolerance
        )
        if n_steps > self._preconditioner.lasts:
            self._before, self._preconditioner = self._preconditioner, None
        self._n_directions += 1
        self.is_suspicious = broke or ill or self._n_directions > _MANY
        return direction, missing - 0.5 * float(np.vdot(gradient, direction))

    def remember(self, before, after, t):
        """Nothing to remember: the next Hessian is exact."""


def _preconditioner(hessian, framed, before):
    """The blocks of softmax where they pay, else one Gram matrix for all, or a diagonal.

    `before` is the one of the last step of Newton, None at the first.
    """
    n_features, has_gauge = framed.shape[0], framed.loss.has_gauge
    if has_gauge and n_features <= _MAX_BLOCK_COLUMNS:
        share = min(1.0, _BLOCK_ROWS * n_features / framed.blocks.n_samples)
        if share * costs(framed).grams_in_products <= _WORTH_BLOCKS:
            return _Blocks(hessian, framed)
    if has_gauge and framed.bound.gram is not None:
        return _Gram(hessian, framed)
    return _Diagonal(hessian, framed, before)


class _Diagonal:
    """The diagonal of the Hessian; what does not move stays. Of one output, without the intercept.

    With (c, d) the column of the intercept in H, and P the diagonal by the coefficients,

        r -> (u, (r_b - c^T u) / d),    u = (r_W - c r_b / d) / (P - c^2 / d).

    The means of the columns, which the intercept takes up, play no part in this; of sparse columns,
    which nobody can shift, they are most of what makes conjugate gradients slow. And as
    ``H_WW - c c^T / d`` is a covariance and the ridge of the penalty,

        r^T H^-1 r <= r_b^2 / d + sum_j (r_j - c_j r_b / d)^2 / ridge_j.

    Where columns outnumber the rows and all have a ridge, H is the ridge but on the span of the m
    rows, with eigenvalues whose mean is ``ridge + 1/m sum_j P_j - ridge_j``. A diagonal that
    differs in every column would tear apart what is one eigenvalue: P_j is no less than that mean,
    and so the same of all rare columns. Of one output it then serves the next steps of Newton too,
    times the change of d, the mean curvature, until that has fallen or grown to its double.
    """

    lasts = 0
    amplifies = 1e4 / _LEFT  # rounding, in squares
    is_ill_conditioned = False

    def __init__(self, hessian, framed, before=None):
        self._ridge = framed.penalty.curvature(framed.shape)[:-1, None]
        has_ridge, is_single = bool((self._ridge > 0.0).all()), framed.shape[1] == 1
        self._has_bound = has_ridge and is_single
        is_wide = has_ridge and len(self._ridge) > framed.blocks.n_samples
        along = hessian.product(_intercept(framed)) if is_single else None
        self._curvature = along[-1, 0, 0] if is_single else 0.0
        self._made = None
        if is_wide and before is not None:
            self._made = before.still_good(self._curvature)
        if self._made is None:
            self._made = self._curvature, hessian.diagonal()
        diagonal = self._changed()
        self._share = np.zeros_like(diagonal[:-1])
        if self._curvature > 0.0:
            self._share = along[:-1] / along[-1]
            least = _LEFT * diagonal[:-1]
            diagonal[:-1] = np.maximum(diagonal[:-1] - along[:-1] * self._share, least)
        if is_wide:
            mean = (diagonal[:-1] - self._ridge).sum(axis=0) / framed.blocks.n_samples
            diagonal[:-1] = np.maximum(diagonal[:-1], self._ridge + mean)
        self._inverse = np.divide(1.0, diagonal, out=np.ones_like(diagonal), where=diagonal > 0.0)
        self._lent = self._inverse[:-1] * self._share

    def still_good(self, curvature):
        """What was made of H, and at which mean curvature, if that is about the same; or None."""
        before, _ = self._made
        return self._made if 0.5 * before < curvature < 2.0 * before else None

    def _changed(self):
        """The diagonal of H, times the change of the mean curvature since it was made."""
        before, diagonal = self._made
        if self._curvature == before:
            return diagonal.copy()
        change = self._curvature / before
        changed = change * diagonal
        changed[:-1] += (1.0 - change) * self._ridge
        return changed

    def solve(self, r):
        z = self._inverse * r
        z[:-1] -= self._lent * r[-1]
        z[-1] -= np.einsum("jmk,jmk->mk", self._share, z[:-1])
        return z

    def bound(self, r):
        """A bound of ``1/2 r^T H^-1 r``; infinite where none is known."""
        if not self._has_bound:
            return math.inf
        u = r[:-1] - self._share * r[-1]
        return 0.5 * float(np.vdot(u, u / self._ridge) + np.vdot(r[-1], self._inverse[-1] * r[-1]))


class _Blocks:
    """The blocks of the softmax Hessian on its diagonal, one of each class.

    ``H_kk = 1/S [X 1]^T diag(s p_k (1 - p_k)) [X 1]`` plus the penalty knows the units of the
    columns and how they depend on each other. What couples the classes is left to the iteration.
    Theta splits into its mean over the classes, on which H is the penalty alone (the gauge), and
    the rest, where the blocks act: the preconditioner is exact on the first.
    """

    lasts = 8  # it costs as much as some products: good for more than one step of Newton
    amplifies = 1e4 / _LIFT

    def __init__(self, hessian, framed):
        blocks = hessian.output_blocks()
        self._gauge = _gauge(framed, np.einsum("kjj->j", blocks))
        self._factors = [_positive(block) for block in blocks]
        self.is_ill_conditioned = min(factor.rcond for factor in self._factors) < 10.0 * _LIFT

    def solve(self, r):
        mean = r.mean(axis=2, keepdims=True)
        z = np.empty_like(r)
        for k, factor in enumerate(self._factors):
            z[:, 0, k] = factor.solve(r[:, 0, k] - mean[:, 0, 0])
        z -= z.mean(axis=2, keepdims=True)
        return z + self._gauge[:, None, :] * mean

    @staticmethod
    def bound(r):
        """None is known of ``1/2 r^T H^-1 r``."""
        return math.inf


class _Gram:
    """One factor of the Gram matrix for all classes, scaled by the diagonal of the Hessian.

    Böhning (1992), "Multinomial logistic regression algorithm", bounds the softmax Hessian by
    ``1/2 (I - 1 1^T / K) kron G``, G the Gram matrix of [X 1]. With ``P_k`` the diagonal of the
    block of class k, c the mean of p_k (1 - p_k) over rows and classes, and D the diagonal of
    ``c G + ridge``,

        H_kk ~ P_k^1/2 D^-1/2 (c G + ridge) D^-1/2 P_k^1/2.

    A solution for all classes is two triangular solves with a matrix. The mean over the classes is
    treated as in :class:`_Blocks`.
    """

    lasts = 0
    amplifies = 1e4 / _LIFT

    def __init__(self, hessian, framed):
        diagonal = hessian.diagonal()[:, 0]
        ridge = framed.penalty.curvature((framed.shape[0], 1))[:, 0]
        self._gauge = _gauge(framed, diagonal.sum(axis=1))
        gram = framed.bound.gram
        mean = diagonal.mean(axis=1)
        matrix = gram * (float((mean - ridge).sum()) / float(gram.trace()))
        matrix.flat[:: len(matrix) + 1] += ridge
        self._factor = _positive(matrix)
        unit = np.divide(
            matrix.diagonal()[:, None], diagonal, where=diagonal > 0.0, out=np.ones_like(diagonal)
        )
        self._root = np.sqrt(unit)
        self.is_ill_conditioned = self._factor.rcond < 10.0 * _LIFT

    def solve(self, r):
        mean = r.mean(axis=2, keepdims=True)
        z = (self._root * self._factor.solve(self._root * (r - mean)[:, 0]))[:, None]
        z -= z.mean(axis=2, keepdims=True)
        return z + self._gauge[:, None, :] * mean

    bound = staticmethod(_Blocks.bound)


def _intercept(framed):
    """The direction in which the intercept of one output alone changes."""
    direction = np.zeros((framed.shape[0], 1, 1))
    direction[-1] = 1.0
    return direction


def _gauge(framed, trace):
    """The inverse of H on what all classes have in common: of the ridge, (n_features + 1, 1).

    Beside a penalty below rounding level, the mean of a residual is rounding too.
    """
    ridge = framed.penalty.curvature((framed.shape[0], 1))
    counts = ridge > NEGLIGIBLE * trace[:, None]
    return np.divide(1.0, ridge, out=np.zeros_like(ridge), where=counts)


def _positive(matrix):
    """A factor of a positive semi-definite matrix whose diagonal is lifted a little.

    Along a direction in which columns depend on each other, the solution is noise divided by
    rounding errors; the lift bounds it.
    """
    dead = ~(matrix.diagonal() > 0.0)
    matrix.flat[:: len(matrix) + 1] *= 1.0 + _LIFT
    matrix.flat[:: len(matrix) + 1] += dead
    return ScaledCholesky(matrix)


def _conjugate_gradients(product, b, preconditioner, goal, tolerance):
    """``H x = b`` until ``r^T P^-1 r <= goal``, P^-1 the preconditioner.

    Returns x, what may be missing of ``1/2 b^T x``, the number of steps, whether H vanished, to
    rounding, along one of them, and whether the residual did not: columns are dependent in the
    digits of a product, but not in those of the gradient.

    Every step adds ``step r^T P^-1 r`` to ``b^T x``, which grows towards
    ``b^T H^-1 b = b^T x + r^T H^-1 r``. Where half of that is no more than the `tolerance`, or not
    by much, it has to be known that it stays so: by a bound of ``r^T H^-1 r``, or as the last ten
    additions are small beside the tolerance. Hestenes & Stiefel (1952).
    """
    x, r, solve = np.zeros_like(b), b.copy(), preconditioner.solve
    z = solve(r)
    d, rz = z.copy(), float(np.vdot(r, z))
    dpd = rz  # d^T P d, as r is orthogonal to the direction before
    gained, last = 0.0, deque(maxlen=_DELAY)
    missing, n_steps, broke, blind = 0.0, 0, False, False
    while n_steps < _MAX_KRYLOV_STEPS:
        if rz <= goal:
            settled = len(last) == _DELAY and sum(last) <= 0.01 * tolerance
            bound = preconditioner.bound(r)
            surely_more = tolerance if math.isfinite(bound) else 2.0 * tolerance
            if settled or 0.5 * gained > surely_more:
                break
            if 0.5 * gained + bound <= tolerance:
                missing = bound
                break
        hd = product(d)
        curvature = float(np.vdot(d, hd))
        if not curvature > 100.0 * _EPS * dpd:
            broke, blind = True, rz > preconditioner.amplifies * b.size * _EPS**2
            break
        n_steps += 1
        step = rz / curvature
        x += step * d
        hd *= step
        r -= hd
        gained += step * rz
        last.append(step * rz)
        z = solve(r)
        previous, rz = rz, float(np.vdot(r, z))
        if not rz > 0.0:
            break
        share = rz / previous
        d *= share
        d += z
        dpd = rz + share**2 * dpd
    return x, missing, n_steps, broke, blind
