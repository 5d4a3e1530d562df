"""Truncated Newton: directions from products with the Hessian, which is never formed."""

import math
from collections import deque

import numpy as np

from ..cholesky import ScaledCholesky
from .hessian import NEGLIGIBLE

__all__ = ["KrylovMetric"]

_EPS = np.finfo(np.float64).eps
_MAX_KRYLOV_STEPS = 1000
# Conjugate gradients have settled when this many steps add next to nothing.
_DELAY = 10
# The diagonal of a block is lifted by this share of it.
_LIFT = 1e-8
# Directions in a fit that are many: an ill-conditioned X may be why.
_MANY = 20
# Blocks of the Hessian are factored up to this many columns; beyond, its diagonal has to do.
_MAX_BLOCK_COLUMNS = 1024


class KrylovMetric:
    """The Hessian of all rows, by its products alone: truncated Newton.

    ``H d = -g`` is solved by preconditioned conjugate gradients until the residual r is a share of
    the gradient that shrinks with it (Nocedal & Wright 2006, algorithm 7.1); never a p x p matrix
    for large p. ``-1/2 g^T d`` approaches the decrement from below, by what each step of the
    conjugate gradients adds: near the tolerance they go on until the last ten steps together add
    next to nothing (Strakos & Tichy 2002, "On error estimation in the conjugate gradient method").
    """

    is_sampled = is_kept = is_exact = is_saturated = gives_up = False

    def __init__(self, framed):
        self.framed = framed
        self.is_suspicious = self.is_blind = False
        self._n_directions = 0
        self._first = self._preconditioner = None

    def look(self, theta):
        """The evaluation at theta, the curvatures of the rows first."""
        at = self.framed.at(theta)
        at.curvature  # noqa: B018  (computed on demand, and kept)
        return at

    def direction(self, at, tolerance):
        """The truncated Newton direction and the decrement."""
        return self.solve(at.curvature, at.gradient, tolerance)

    def solve(self, hessian, gradient, tolerance):
        """``-H^-1 g`` of any g, truncated, and ``1/2 g^T H^-1 g``."""
        if self._preconditioner is None:
            n_features, n_outputs = self.framed.shape
            blocks_pay = n_outputs > 1 and n_features <= _MAX_BLOCK_COLUMNS
            self._preconditioner = (_Blocks if blocks_pay else _Diagonal)(hessian, self.framed)
        solve, ill = self._preconditioner.solve, self._preconditioner.is_ill_conditioned
        square = float(np.vdot(gradient, solve(gradient)))
        if square == 0.0:
            return np.zeros_like(gradient), 0.0
        self._first = square if self._first is None else self._first
        share = min(0.25, math.sqrt(math.sqrt(square / self._first)))
        direction, n_steps, broke, self.is_blind = _conjugate_gradients(
            hessian.product, -gradient, self._preconditioner, share**2 * square, tolerance
        )
        if n_steps > self._preconditioner.lasts:
            self._preconditioner = None
        self._n_directions += 1
        self.is_suspicious = broke or ill or self._n_directions > _MANY
        return direction, -0.5 * float(np.vdot(gradient, direction))

    def remember(self, before, after, t):
        """Nothing to remember: the next Hessian is exact."""


class _Diagonal:
    """The diagonal of the Hessian; what does not move stays."""

    lasts = 0
    amplifies = 1e4  # rounding, in squares
    is_ill_conditioned = False

    def __init__(self, hessian, framed):
        diagonal = hessian.diagonal()
        self._inverse = np.divide(1.0, diagonal, out=np.ones_like(diagonal), where=diagonal > 0.0)

    def solve(self, r):
        return self._inverse * r


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
        ridge = framed.penalty.curvature((framed.shape[0], 1))
        # Beside a penalty below rounding level, the mean of a residual is rounding too.
        counts = ridge > NEGLIGIBLE * np.einsum("kjj->j", blocks)[:, None]
        self._gauge = np.divide(1.0, ridge, out=np.zeros_like(ridge), where=counts)
        self._factors = [_positive(block) for block in blocks]
        self.is_ill_conditioned = min(factor.rcond for factor in self._factors) < 10.0 * _LIFT

    def solve(self, r):
        mean = r.mean(axis=2, keepdims=True)
        z = np.empty_like(r)
        for k, factor in enumerate(self._factors):
            z[:, 0, k] = factor.solve(r[:, 0, k] - mean[:, 0, 0])
        z -= z.mean(axis=2, keepdims=True)
        return z + self._gauge[:, None, :] * mean


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

    Returns x, the number of steps, whether H vanished, to rounding, along one of them, and whether
    the residual did not: columns are dependent in the digits of a product, but not in those of
    the gradient.

    Every step adds ``step r^T P^-1 r`` to ``b^T x``, which grows towards ``b^T H^-1 b``. Where
    half of that is no more than the `tolerance`, or not by much, the last ten additions have to be
    small beside it too. Hestenes & Stiefel (1952).
    """
    x, r, solve = np.zeros_like(b), b, preconditioner.solve
    z = solve(r)
    d, pd, rz = z, r, float(np.vdot(r, z))
    gained, last = 0.0, deque(maxlen=_DELAY)
    n_steps, broke, blind = 0, False, False
    while n_steps < _MAX_KRYLOV_STEPS:
        near = 0.5 * gained <= 2.0 * tolerance
        settled = len(last) == _DELAY and sum(last) <= 0.01 * tolerance
        if rz <= goal and (settled or not near):
            break
        hd = product(d)
        curvature = float(np.vdot(d, hd))
        if not curvature > 100.0 * _EPS * float(np.vdot(d, pd)):
            broke, blind = True, rz > preconditioner.amplifies * b.size * _EPS**2
            break
        n_steps += 1
        step = rz / curvature
        x, r = x + step * d, r - step * hd
        gained += step * rz
        last.append(step * rz)
        z = solve(r)
        previous, rz = rz, float(np.vdot(r, z))
        if not rz > 0.0:
            break
        d, pd = z + (rz / previous) * d, r + (rz / previous) * pd
    return x, n_steps, broke, blind
