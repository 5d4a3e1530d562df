"""Truncated Newton among the rows: every product with ``X X^T`` serves all steps after it.

With a ridge, coefficients that begin at zero stay in the span of the rows: ``W = X^T beta``. Let
``u = X W = K beta`` with ``K = X X^T``, which is never formed, and D be the curvatures of the rows,
times their shares s/S of the weight. Then

    L = 1/S sum_i s_i loss(y_i, u_i + b) + l2/2 beta^T u,
    grad_W L = X^T rho,    rho = s/S d loss/dz + l2 beta,
    H (X^T zeta) = X^T (l2 zeta + D K zeta),

all of it known without a product where ``K beta`` and ``K zeta`` are. A product with K, two with X,
is spent on a new direction zeta alone. It is kept with ``K zeta``, and L is minimised over the span
of all that are kept, in as many unknowns (Narkiss & Zibulevsky 2005, "Sequential subspace
optimization method for large-scale unconstrained problems").

A new direction is what the gradient is in the metric of a matrix like H. Let F be the columns of X
that weigh most; the others are so rare that their rows are nearly orthogonal. With Delta the
squares of the rows without F,

    K ~ F F^T + Delta,    zeta = (B + D F F^T)^-1 rho,    B = l2 + D Delta,

for which it takes a matrix of as few rows as F has columns (the formula of Sherman, Morrison and
Woodbury).
"""

import math

import numpy as np
from scipy.linalg import lapack

from ...problem.along_rows import AlongRows
from ...rows.kernels import ColumnSquares, RowSquares, SomeColumns
from .krylov import KrylovMetric
from .steps import with_gradient

__all__ = ["AmongRowsMetric"]

_EPS = np.finfo(np.float64).eps
# What a step leaves of the bound of the decrement, the last step, and each quadratic model on the
# way; so many of these, and what they have to leave at least to be worth it.
_SHARE, _LAST_SHARE, _MODEL_SHARE, _MAX_MODELS, _WORTH = 1e-5, 1e-6, 1.0 / 16.0, 6, 0.5
# Directions that are kept, at most and at least, and the most memory for three numbers of each row;
# as much for F.
_MOST, _LEAST, _MAX_BYTES = 128, 32, 2**26
# Numbers that a row stores: with fewer, products are cheap beside all else here.
_MIN_STORED = 100
# F has q columns, q^2 so many times the numbers that a row stores, once a model has taken so many
# directions without.
_COLUMNS, _SLOW = 50.0, 3
# A column of ones is so much longer than any row: the intercept has no ridge.
_ONES = 10.0
# The curvatures may change by this share before the matrix like H is made anew.
_DRIFT = 0.1
# What may be left along the span, as a share of the bound of all that is left.
_ALONG = 0.1
_ARMIJO, _MAX_HALVINGS = 1e-4, 20


class AmongRowsMetric(KrylovMetric):
    """Steps to the least loss over a span of directions that grows; see the module.

    It is the metric of plain products from a start that is not in the span of the rows, and from
    where no direction brings the bound of the decrement down.
    """

    def __init__(self, framed):
        super().__init__(framed)
        self._span = self._place = self._next = None
        self._is_plain = False

    @classmethod
    def suits(cls, framed):
        """Whether rows are long, no more than the columns and store no zeros, and all of the loss
        and the penalty is as the module has it."""
        blocks, loss = framed.blocks, framed.loss
        n_samples = blocks.n_samples
        if blocks.stores_zeros or blocks.design.n_stored < _MIN_STORED * n_samples:
            return False
        if n_samples > blocks.n_features or _room(n_samples) < _LEAST:
            return False
        if framed.shape[1] > 1 or loss.self_concordance is None:
            return False
        ridge = framed.penalty.curvature(framed.shape)[:-1]
        return bool((ridge > 0.0).all() and (ridge == ridge.flat[0]).all())

    def look(self, theta):
        if self._place is None:
            self._is_plain = bool(theta[:-1].any())
        return super().look(theta) if self._is_plain else with_gradient(self.framed, theta)

    def proves(self, at, tolerance):
        if self._is_plain:
            return super().proves(at, tolerance)
        return self._place.bound <= self._enough(at, tolerance)

    def direction(self, at, tolerance):
        """The way to the least loss in the span; the bound of the decrement, if it is within the
        tolerance."""
        if self._is_plain:
            return super().direction(at, tolerance)
        with np.errstate(all="ignore"):  # a bound may be none
            self._descend(at, tolerance)
        before, after = self._place, self._next
        if not after.bound <= _WORTH * before.bound:
            self._is_plain = True
            return super().direction(at, tolerance)
        direction = self.framed.blocks.pull((after.beta - before.beta)[:, None, None])
        direction[-1] = after.b - before.b
        return direction, before.bound if before.bound <= tolerance else math.inf

    def _descend(self, at, tolerance):
        if self._place is None:
            self._span = _Span(self.framed)
            nowhere = np.zeros(self.framed.blocks.n_samples)
            self._place = _Place(self._span, nowhere, nowhere, float(at.theta[-1, 0, 0]))
        before, enough = self._place, self._enough(at, tolerance)
        share = _LAST_SHARE if before.bound <= tolerance else _SHARE
        self._next = self._span.descend(before, max(share * before.bound, 0.5 * enough))

    def remember(self, before, after, t):
        if self._is_plain or t == 0.0:
            return
        start, end = self._place, self._next
        if t != 1.0:
            beta, u, b = end.beta - start.beta, end.u - start.u, end.b - start.b
            end = start.moved(t * beta, t * u, t * b)
        self._place = end


class _Place:
    """beta, ``u = K beta`` and the intercept b, and what is known there without a product.

    Attributes
    ----------
    loss : float
    curvature, rho : ndarray of shape (n_samples,)
    pull : float
        The derivative by b.
    bound : float
        That of the decrement, by ``measure``.
    """

    def __init__(self, span, beta, u, b):
        self._span, self.beta, self.u, self.b = span, beta, u, b
        rows = AlongRows(span.framed, u + b)
        self.loss = rows.loss + 0.5 * span.l2 * float(beta @ u)
        self.curvature, self.rho = rows.curvature, rows.residual + span.l2 * beta
        self.pull = float(rows.residual.sum())
        self.measure = _Bound(self.curvature, span.lengths, span.framed.fit_intercept)
        self.bound = self.measure(self.rho)

    def moved(self, beta, u, b):
        """The place that is so far away."""
        return _Place(self._span, self.beta + beta, self.u + u, self.b + b)


class _Bound:
    """What ``1/2 g^T H^-1 g`` of ``g = [X 1]^T rho`` is at most, without a product.

    ``g^T H^-1 g = max 2 rho^T t - l2 |v|^2 - t^T D t`` over all v and b, ``t = X v + b``, is no
    more than ``rho^T D^-1 rho``. Of a row with next to no curvature, ``|rho_i| l_i`` is added to
    the root instead, where ``l_i = (|x_i| + max |x|) / sqrt(l2) + 1 / sqrt(sum D)`` is no less than
    the length of [x_i 1] in H^-1. Without an intercept it is ``|x_i| / sqrt(l2)``. Where there are
    such rows, it may be much more than what it bounds: then it is blunt.
    """

    def __init__(self, curvature, lengths, fit_intercept):
        total = float(curvature.sum())
        if fit_intercept:
            lengths = lengths + (1.0 / math.sqrt(total) if total > 0.0 else math.inf)
        bends = curvature * lengths**2 > 1.0 / len(lengths)
        self.is_blunt = not bends.all()
        self._inverse = np.divide(1.0, curvature, where=bends, out=np.zeros_like(curvature))
        self._lengths = np.where(bends, 0.0, lengths)

    def __call__(self, rho):
        bent = float(rho @ (rho * self._inverse))
        return 0.5 * (math.sqrt(bent) + float(np.abs(rho) @ self._lengths)) ** 2


class _Span:
    """Directions zeta and ``y = K zeta`` in rows; that of the intercept, if any, is y = 1.

    ``Y D Y^T + l2 Y Z^T`` is the Hessian along them.
    """

    def __init__(self, framed):
        self.framed, blocks = framed, framed.blocks
        self.l2 = float(framed.penalty.curvature(framed.shape).flat[0])
        most = _room(blocks.n_samples)
        self._Z, self._Y, self._E = (np.empty((most, blocks.n_samples)) for _ in range(3))
        self._ridge = np.zeros((most, most))
        self._Z[0], self._Y[0] = 0.0, 1.0
        self._own = self._n = int(framed.fit_intercept)
        self._squares = np.concatenate(blocks.reduce(RowSquares()))
        lengths = np.sqrt(self._squares)
        self.lengths = (lengths + self._own * lengths.max()) / math.sqrt(self.l2)
        self._like, self._columns, self._rest = None, None, self._squares

    def descend(self, place, goal):
        """From a place to one where the bound is no more than `goal`, or to one on the way."""
        if self._n == self._own:
            place = self._minimised(place)
        for _ in range(_MAX_MODELS):
            if not place.bound > goal or not self._extend(place, goal):
                break
            place = self._minimised(place)
            if place.measure.is_blunt and place.bound > goal:
                place.bound = min(place.bound, self._bound_by_ridge(place))
        return place

    def _bound_by_ridge(self, place):
        """The bound of the decrement as in ``decrement_bound``, from one product with X^T.

        The column of the intercept in H is no longer than ``sum_i D_i |x_i|``.
        """
        square, length = 0.0, np.linalg.norm(self.framed.blocks.pull(place.rho[:, None, None])[:-1])
        if self._own:
            step = abs(place.pull) / float(place.curvature.sum())
            square = step * abs(place.pull)
            length += step * float(place.curvature @ np.sqrt(self._squares))
        return 0.5 * (square + float(length) ** 2 / self.l2)

    def _hessian(self, place):
        scaled = self._Y[: self._n] * np.sqrt(place.curvature)
        return np.dot(scaled, scaled.T) + self.l2 * self._ridge[: self._n, : self._n]

    def _pull(self, place):
        """The gradient along the directions."""
        pull = np.dot(self._Y[: self._n], place.rho)
        if self._own:
            pull[0] = place.pull
        return pull

    def _minimised(self, place):
        """The place of the least loss over the span, by Newton's method.

        A Hessian serves once more, to tell whether next to nothing is left along the span.
        """
        if not self._n:
            return place
        pull = self._pull(place)
        for _ in range(_MAX_MODELS):
            factor, failed = lapack.dpotrf(self._hessian(place), lower=1)
            if failed:
                break
            c = lapack.dpotrs(factor, -pull, lower=1)[0]
            found = self._backtracked(place, c, float(c @ pull))
            if found is None:
                break
            place, pull = found, self._pull(found)
            left = float(pull @ lapack.dpotrs(factor, pull, lower=1)[0])
            if left <= _ALONG * place.bound:
                break
        return place

    def _backtracked(self, place, c, slope):
        """The first place with sufficient decrease on the way along c; None at rounding level."""
        b = float(c[0]) if self._own else 0.0
        beta, u = np.dot(c, self._Z[: self._n]), np.dot(c, self._Y[: self._n]) - b
        noise, t = 8.0 * _EPS * abs(place.loss), 1.0
        for _ in range(_MAX_HALVINGS):
            trial = place.moved(t * beta, t * u, t * b)
            if trial.loss <= place.loss + _ARMIJO * t * slope + noise:
                return trial
            t *= 0.5
        return None

    def _extend(self, place, goal):
        """Add directions until a quadratic model has little left; whether there was one to add.

        The residual of the model over the span is that of conjugate gradients in the metric of the
        matrix like H, which need not be symmetric.
        """
        if self._n == len(self._Y):
            self._begin_anew(place)
        share = max(_MODEL_SHARE, 0.5 * goal / place.bound)
        goal = share * place.measure(place.rho)
        before, like = self._n, self._like_hessian(place)
        hessian, pull, r = self._hessian(place), self._pull(place), place.rho
        self._E[:before] = self.l2 * self._Z[:before] + place.curvature * self._Y[:before]
        while self._n < len(self._Y) and self._add(like.solve(r), place):
            y = self._Y[self._n - 1]
            hessian = _bordered(hessian, np.dot(self._E[: self._n], y))
            pull = np.append(pull, y @ place.rho)
            _, c, failed = lapack.dposv(hessian, pull, lower=1)
            if failed:  # a direction like those before
                self._n -= 1
                break
            r = place.rho - np.dot(c, self._E[: self._n])
            if place.measure(r) <= goal:
                break
            if self._columns is None and self._n - before >= _SLOW:
                self._take_columns()
                like = self._like_hessian(place)
        return self._n > before

    def _add(self, zeta, place):
        """Keep a direction and its product with K, in the length of 1; whether it has one."""
        blocks, n, D = self.framed.blocks, self._n, place.curvature
        if self._own:  # nothing that the intercept takes up
            zeta -= D * (zeta.sum() / D.sum())
        pulled = blocks.pull(zeta[:, None, None])
        pulled[-1] = 0.0
        y = blocks.times(pulled)[:, 0, 0]
        square = float(zeta @ y)
        if not 0.0 < square < math.inf:
            return False
        unit = 1.0 / math.sqrt(square)
        self._Z[n], self._Y[n] = unit * zeta, unit * y
        self._E[n] = self.l2 * self._Z[n] + D * self._Y[n]
        self._n += 1
        along = np.dot(self._Y[self._own : self._n], self._Z[n])
        self._ridge[n, self._own : self._n] = self._ridge[self._own : self._n, n] = along
        return True

    def _begin_anew(self, place):
        """Forget all directions but the one to the place."""
        n = self._n = self._own
        square = float(place.beta @ place.u)
        if square > 0.0:
            unit = 1.0 / math.sqrt(square)
            self._Z[n], self._Y[n], self._ridge[n, n] = unit * place.beta, unit * place.u, 1.0
            self._n += 1

    def _take_columns(self):
        """F, and what the rows have beside it."""
        blocks = self.framed.blocks
        squares = blocks.reduce(ColumnSquares())[:-1]
        stored = blocks.design.n_stored / blocks.n_samples
        most = min(blocks.n_features, _MAX_BYTES // (8 * blocks.n_samples))
        q = min(math.ceil(math.sqrt(_COLUMNS * stored)), most)
        heaviest = np.sort(np.argpartition(squares, -q)[-q:])
        F = np.concatenate(blocks.reduce(SomeColumns(heaviest)))
        self._rest = np.maximum(self._squares - np.einsum("ij,ij->i", F, F), 0.0)
        ones = np.full((len(F), self._own), _ONES * math.sqrt(self._squares.max()))
        self._columns, self._like = np.hstack([F, ones]), None

    def _like_hessian(self, place):
        """A matrix like H, the one there is if the curvatures are about the same."""
        D = place.curvature
        if self._like is None or not self._like.is_good_at(D):
            self._like = _LikeHessian(self._columns, self._rest, D, self.l2)
        return self._like


class _LikeHessian:
    """``B + D F F^T``, F None where there is none; see the module."""

    def __init__(self, F, rest, curvature, l2):
        self._F, self._curvature, self._B = F, curvature, l2 + curvature * rest
        if F is not None:
            self._share = curvature / self._B
            scaled = F * np.sqrt(self._share)[:, None]
            matrix = np.dot(scaled.T, scaled)
            matrix.flat[:: len(matrix) + 1] += 1.0
            self._factor, _ = lapack.dpotrf(matrix, lower=1)

    def is_good_at(self, curvature):
        change = float(np.abs(curvature - self._curvature).sum())
        return change < _DRIFT * float(self._curvature.sum())

    def solve(self, r):
        x = r / self._B
        if self._F is None:
            return x
        along = lapack.dpotrs(self._factor, np.dot(x, self._F), lower=1)[0]
        return x - self._share * np.dot(self._F, along)


def _bordered(matrix, row):
    """A symmetric matrix with one more row and column."""
    bordered = np.empty((len(row), len(row)))
    bordered[:-1, :-1] = matrix
    bordered[-1] = bordered[:, -1] = row
    return bordered


def _room(n_samples):
    """How many directions are kept, with the intercept's."""
    return min(_MOST, _MAX_BYTES // (24 * n_samples))
