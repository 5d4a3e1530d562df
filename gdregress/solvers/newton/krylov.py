"""Truncated Newton: directions from products with the Hessian, which is never formed."""

import math
from collections import deque

import numpy as np
from scipy.linalg.blas import daxpy

from .decrement_bound import DecrementBound
from .preconditioners import mean_of_outputs, preconditioner
from .steps import may_spare

__all__ = ["KrylovMetric"]

_EPS = np.finfo(np.float64).eps
_MAX_KRYLOV_STEPS = 1000
# The share that is left of a gradient, in length, is no more and no less than this; and how long a
# residual may be beside what a step bends.
_LARGEST_SHARE, _LEAST_SHARE, _BESIDE = 0.25, 1e-5, 3.0
# Where the decrement has a bound, a step is not asked to bring that below this share of the
# tolerance, and none is taken from there on: where the tolerance is loose, and where it is not, but
# for one of no more than so many roundings of the loss.
_LOOSELY, _CLOSELY, _ROUNDINGS = 0.25, 1e-4, 100.0
# Conjugate gradients have settled when this many steps add next to nothing.
_DELAY = 10
# Directions in a fit that are many: an ill-conditioned X may be why.
_MANY = 20
# A bound is asked for where a guess at it is no more than so many tolerances.
_NEAR = 4.0
# A Hessian that is kept takes over where the decrement is below this share of the loss, from where
# on curvature changes little; if it and its steps are thought to cost so many times less.
_SETTLED, _PATIENCE, _KEPT_STEPS = 0.01, 2.0, 4.0
# What a step takes beside its products: the curvatures of the rows, and the loss where it ends.
_PASSES_OF_A_STEP = 2.0


class KrylovMetric:
    """The Hessian of all rows, by its products alone: truncated Newton.

    ``H d = -g`` is solved by preconditioned conjugate gradients until the residual r is a share of
    the gradient that shrinks with it (Nocedal & Wright 2006, algorithm 7.1), see :class:`_Forcing`;
    never a p x p matrix for large p. ``-1/2 g^T d`` approaches the decrement from below, by what
    each step of the conjugate gradients adds: near the tolerance they go on until the last ten
    steps together add next to nothing (Strakos & Tichy 2002, "On error estimation in the conjugate
    gradient method"), or until a ridge bounds what is missing; see ``decrement_bound``. With a
    bound, no residual is asked for whose own decrement is far below the tolerance (Kelley 1995,
    "Iterative methods for linear and nonlinear equations", equation 6.20), and no direction where
    the gradient's is, unless the tolerance is near rounding level.

    Products that lower the logarithm of the decrement by r each need l / r more, l being that of
    decrement over tolerance. Near the optimum a Hessian of all rows that is kept serves every step
    to the end: it takes over where it costs less than half of that.

    Parameters
    ----------
    framed : BlockObjective
        All rows.
    patience : float, default=inf
        After so many products it gives up; infinite where the Hessian cannot be factored.
    kept : float, default=inf
        What a Hessian costs that is kept, in passes; infinite where none is to take over.
    begin_with : object, optional
        A preconditioner that was made not far from here.

    Attributes
    ----------
    is_outdone : bool
        Whether it gives up for a Hessian that is kept.
    """

    is_sampled = is_kept = is_exact = is_saturated = False
    is_hard = True  # where products were so many, the Hessian is to be factored
    spared = None

    def __init__(self, framed, patience=math.inf, kept=math.inf, begin_with=None):
        self.framed, self._kept, self.is_outdone = framed, kept, False
        self._decrement, self._spent, self._n_products = math.inf, 0.0, 0
        self._left, self.gives_up = patience, False
        self.is_suspicious = self.is_blind = False
        self._n_directions = 0
        self._forcing = _Forcing()
        self._preconditioner, self._bound = begin_with, None
        self._is_worn, self._drift = False, 0.0

    def look(self, theta):
        """The evaluation at theta, the curvatures of the rows first."""
        return self.framed.at(theta).having("curvature")

    def proves(self, at, tolerance):
        """Whether the decrement has a bound far enough within the tolerance: no step will square
        it."""
        enough = self._enough(at, tolerance)
        if enough == 0.0:
            return False
        bound = self._bound_of(at.curvature)
        near = bound.guess(at.gradient) <= _NEAR * enough
        return near and bound(at.gradient) <= enough

    def direction(self, at, tolerance):
        """The truncated Newton direction and the decrement."""
        if self.is_outdone:
            self.gives_up = True
            return np.zeros_like(at.gradient), math.inf
        enough = self._enough(at, tolerance)
        direction, decrement = self.solve(at.curvature, at.gradient, tolerance, enough)
        if tolerance < decrement < _SETTLED * float(at.loss[0]) and math.isfinite(self._kept):
            self.is_outdone = self._is_slow(decrement, tolerance)
        self._decrement, self._spent = decrement, self._n_products + _PASSES_OF_A_STEP
        return direction, decrement

    def _is_slow(self, decrement, tolerance):
        """Whether a Hessian that is kept is thought to get there for less, once the step at hand
        has been taken: the one before has lowered the logarithm of the decrement by r."""
        r = max(math.log(self._decrement / decrement), 0.0)
        left = math.log(decrement / tolerance) - r
        return left > 0.0 and left * self._spent > r * _PATIENCE * (self._kept + _KEPT_STEPS)

    def solve(self, hessian, gradient, tolerance, enough=0.0):
        """``-H^-1 g`` of any g, truncated, and ``1/2 g^T H^-1 g``.

        A residual whose own decrement is `enough` is good enough.
        """
        bound = self._bound_of(hessian)
        before, self._drift = self._preconditioner, self._drift + self._forcing.bent()
        if before is None or (self._is_worn and self._drift > before.bears):
            along = bound.along if self.framed.shape[1] == 1 else None
            self._preconditioner = preconditioner(hessian, self.framed, along, before)
            self._drift = 0.0
        ill = self._preconditioner.is_ill_conditioned
        common, own = self._preconditioner.split(gradient)
        z = self._preconditioner.apart(own)
        square = float(np.vdot(own, z))
        if common is not None:
            square += gradient.shape[2] * float(np.vdot(mean_of_outputs(gradient), common))
        if square == 0.0:
            return np.zeros_like(gradient), 0.0
        share = self._forcing.share(square, enough > 0.0)
        rest = _Rest(bound, bound.guess(gradient) / square if tolerance > 0.0 else math.inf)
        if 0.0 < rest.ratio < math.inf:
            share = max(share, min(_LARGEST_SHARE, math.sqrt(enough / (rest.ratio * square))))
        direction, r, missing, n_steps, broke, self.is_blind = _conjugate_gradients(
            hessian.product,
            -own,
            -z,
            self._preconditioner,
            share**2 * square,
            tolerance,
            rest,
            min(self._left, _MAX_KRYLOV_STEPS),
        )
        if common is not None:
            direction -= common
        self._forcing.model = gradient, square, r, self._preconditioner.apart
        self._n_products = n_steps
        self._left -= n_steps
        self.gives_up = self._left <= 0
        self._preconditioner.n_steps = n_steps
        self._is_worn = n_steps > self._preconditioner.lasts
        self._n_directions += 1
        self.is_suspicious = broke or ill or self._n_directions > _MANY
        return direction, missing - 0.5 * float(np.vdot(gradient, direction))

    def _enough(self, at, tolerance):
        """The decrement that ends a fit if it is a bound.

        Whoever asks for all digits gets the step that squares what is left.
        """
        if may_spare(self.framed, tolerance, at.loss[0]):
            return _LOOSELY * tolerance
        asks_for_all = tolerance <= _ROUNDINGS * _EPS * float(at.loss[0])
        return 0.0 if asks_for_all else _CLOSELY * tolerance

    def _bound_of(self, hessian):
        """The bound of the decrement in a Hessian."""
        if self._bound is None or self._bound.hessian is not hessian:
            self._bound = DecrementBound(hessian, self.framed)
        return self._bound

    @property
    def is_last_resort(self):
        """Whether the Hessian is too large to be factored."""
        return math.isinf(self._left)

    def remember(self, before, after, t):
        """How much of the gradient the step has bent."""
        self._forcing.compare(after.gradient, t)


class _Forcing:
    """The share of a gradient g that its Newton system may leave, in the length ``g^T P^-1 g``.

    A step of length t leaves ``(1 - t) g - t r``, r the residual of its system, and what the
    gradient has bent on the way,

        e = g_+ - (1 - t) g + t r,    e^T P^-1 e ~ c (t^2 g^T P^-1 g)^2.

    With the c of the step before, the next residual is asked to be three times as long as e will
    be: one that is far shorter is for nothing, one that is longer calls for one more step
    (Eisenstat & Walker 1996, "Choosing the forcing terms in an inexact Newton method", choice 1).
    Where no step is known, the share is the root of ``|g| / |g_0|``, g_0 the first gradient.

    Attributes
    ----------
    model : tuple
        g, ``g^T P^-1 g`` and the residual of the last system, and what solves with P.
    """

    def __init__(self):
        self.model = self._first = self._step = self._square = None
        self._bent = math.inf

    def compare(self, gradient, t):
        """The gradient where a step of length t has led."""
        self._step, self._bent = None, math.inf
        if self.model is not None and t > 0.0:
            before, square, r, solve = self.model
            self._step = gradient - (1.0 - t) * before + t * r, t * t * square, solve
        self.model = None

    def bent(self):
        """The length of e beside that of ``t g``, half of the change of H along the last step;
        infinite where there is none."""
        if self._step is not None:
            e, square, solve = self._step
            self._step, self._square = None, square
            self._bent = math.sqrt(max(float(np.vdot(e, solve(e))), 0.0) / square)
        return self._bent

    def share(self, square, may_bend):
        """The share of a gradient of such a square; near rounding level, e is rounding."""
        self._first = square if self._first is None else self._first
        share = math.sqrt(math.sqrt(square / self._first))
        if may_bend and self.bent() < math.inf:
            share = max(_LEAST_SHARE, _BESIDE * self.bent() * math.sqrt(square / self._square))
        return min(_LARGEST_SHARE, share)


class _Rest:
    """What a residual r still has of ``1/2 r^T H^-1 r``, at most.

    A bound may cost a product: it is looked at where ``r^T P^-1 r``, times the ratio of the two
    when it was last looked at, says that it is within the tolerance.
    """

    def __init__(self, bound, ratio):
        self._bound, self.ratio = bound, ratio

    def within(self, r, square, tolerance):
        """The bound, if it is within the tolerance, else None."""
        if not self.ratio * square <= tolerance:
            return None
        rest = self._bound(r)
        self.ratio = rest / square
        return rest if rest <= tolerance else None


def _conjugate_gradients(product, b, z, preconditioner, goal, tolerance, rest, most):
    """``H x = b`` until ``r^T P^-1 r <= goal``, P^-1 the preconditioner, in at most so many steps.

    `z` is ``P^-1 b``. Returns x, the residual r, what may be missing of ``1/2 b^T x``, the number
    of steps, whether H vanished, to rounding, along one of them, and whether the residual did not:
    columns are dependent in the digits of a product, but not in those of the gradient.

    Every step adds ``step r^T P^-1 r`` to ``b^T x``, which grows towards
    ``b^T H^-1 b = b^T x + r^T H^-1 r``. Where half of that is no more than the `tolerance`, or not
    by much, it has to be known that it stays so: by a bound of ``r^T H^-1 r``, or as the last ten
    additions are small beside the tolerance. Hestenes & Stiefel (1952).
    """
    x, r, solve = np.zeros_like(b), b.copy(), preconditioner.apart
    d, rz = z.copy(), float(np.vdot(r, z))
    dpd = rz  # d^T P d, as r is orthogonal to the direction before
    gained, last = 0.0, deque(maxlen=_DELAY)
    missing, n_steps, broke, blind = 0.0, 0, False, False
    while n_steps < most:
        if rz <= goal:
            settled = len(last) == _DELAY and sum(last) <= 0.01 * tolerance
            surely_more = tolerance if math.isfinite(rest.ratio) else 2.0 * tolerance
            if settled or 0.5 * gained > surely_more:
                break
            bound = rest.within(r, rz, tolerance - 0.5 * gained)
            if bound is not None:
                missing = bound
                break
        hd = product(d)
        curvature = float(np.vdot(d, hd))
        if not curvature > 100.0 * _EPS * dpd:
            broke, blind = True, rz > preconditioner.amplifies * b.size * _EPS**2
            break
        n_steps += 1
        step = rz / curvature
        # x + step d and r - step H d, in place
        daxpy(d.reshape(-1), x.reshape(-1), a=step)
        daxpy(hd.reshape(-1), r.reshape(-1), a=-step)
        gained += step * rz
        last.append(step * rz)
        z = solve(r)
        previous, rz = rz, float(np.vdot(r, z))
        if not rz > 0.0:
            break
        share = rz / previous
        d = daxpy(d.reshape(-1), z.reshape(-1), a=share).reshape(b.shape)  # z + share d
        dpd = rz + share**2 * dpd
    return x, r, missing, n_steps, broke, blind
