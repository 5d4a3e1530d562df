"""Wide tables with a ridge: a fit in as many unknowns as X has independent rows.

With rows x_i less their mean and the penalty ``l2 / 2 |W|^2`` of the original columns, the optimum
has coefficients ``W = X~^T A``: what is orthogonal to the rows moves none of them and is penalised.
Let the Gram matrix of the rows be ``K = X~ X~^T = L L^T`` with r independent columns L (m, r). Then

    Q = X~^T L (L^T L)^-1 has orthonormal columns,    X~ = L Q^T,    W = Q U,    |W| = |U|,

and the problem is that of the rows of L, with the same penalty and the same intercept but for the
mean (Hastie & Tibshirani 2004, "Efficient quadratic regularization for expression arrays"). K
takes ``m^2 p / 2`` multiplications, and p plays no part after that.

L is the Cholesky factor of K with pivoting. With X_1 and L_1 the r rows that it took,
``Q = X_1~^T L_1^-T``: neither Q nor anything else of its size is kept.

K has the squares of X~ and with them half of its digits. Where that leaves too few beside the
penalty, nothing of this is done; and in the end the gradient of the problem itself tells what the
rounding of K has left, and one more step takes it away.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from ...rows.blocks import RowBlocks
from ...rows.frame import Frame
from ...rows.threads import fold
from .choice import newton_metric
from .steps import with_gradient

__all__ = ["RowSpace"]

_EPS = np.finfo(np.float64).eps
# Rows up to this many: their Gram matrix is dense.
_MAX_ROWS = 4096
# The rounding of K beside the penalty, as a share of the curvature that it adds.
_MAX_ROUNDING = 1e-3
# So far below the tolerance the decrement is to fall, if it does in so many steps.
_BELOW, _REFINEMENTS = 1e-6, 4
# Squares up to here keep clear of the end of float64.
_MAX_SQUARE = 1e200
# A slab of columns is taken from memory once; so many at least, as each fills a K of its own.
_SLAB_BYTES, _MIN_SLAB = 2**20, 512
# Iterations that a fit may take, products that conjugate gradients need for it, and what a
# multiplication costs there, where rows come from memory, beside one of a Gram matrix.
_ITERATIONS, _PRODUCTS, _SLOWER = 10, 100, 6.0
# Parameters of a Hessian that is factored, and the share of the work from which on it pays.
_MAX_FACTORED, _WORTH = 2500, 0.8


class RowSpace(Frame):
    """Coordinates (U, intercept) of the rows less their mean: a frame of ``objective``.

    Attributes
    ----------
    objective : BlockObjective
        The problem in r unknowns and the intercept; its rows are those of L.
    outer : BlockObjective
        The problem itself, in a frame of its columns.
    """

    is_provisional = True

    def __init__(self, objective, rows, taken, root):
        rank = len(taken)
        super().__init__(np.zeros(rank), np.ones(rank))  # the columns of L are taken as they are
        self.outer = objective.in_frame(rows.frame)
        self._mean, self._taken, self._root = rows.mean, rows.weighing[taken], root[taken]
        mean = rows.frame.shift + rows.mean
        self._mean_square, self._mean_inside = float(mean @ mean), self._inside(mean[:, None])[:, 0]
        blocks = objective.blocks
        weight = None if blocks.sample_weight is None else blocks.sample_weight[rows.weighing]
        among = RowBlocks(root, blocks.y[rows.weighing], weight, blocks.workers).in_frame(self)
        self.objective = objective.on_rows(among)

    @classmethod
    def of(cls, objective):
        """That of a block objective in its original columns; None where it does not pay, or where
        K does not hold the digits."""
        if not _pays(objective):
            return None
        measure = _measure_slabs if objective.blocks.stores_zeros else _measure_whole
        rows = measure(objective)
        if rows.frame.is_scaled or not rows.hold_the_digits(objective):
            return None
        root, taken = _pivoted_root(rows.gram)
        return cls(objective, rows, taken, root) if len(taken) else None

    def _inside(self, coef):
        """``Q^T coef`` of coefficients (n_features, k) of the outer frame."""
        theta = np.vstack([coef, -(self._mean @ coef)])[:, None]
        z = self.outer.blocks.times(theta)[self._taken, 0]
        return linalg.solve_triangular(self._root, z, lower=True, check_finite=False)

    def _outside(self, coef):
        """``Q coef`` of coefficients (r, k) of the row space."""
        rows = np.zeros((self.outer.blocks.n_samples, coef.shape[1]))
        rows[self._taken] = linalg.solve_triangular(
            self._root, coef, lower=True, trans="T", check_finite=False
        )
        pulled = self.outer.blocks.pull(rows)
        return pulled[:-1] - np.outer(self._mean, pulled[-1])

    def enter(self, theta):
        """theta of the original columns -> theta of the row space, but for what is outside it."""
        inside = self.outer.frame.enter(theta)[:, 0]
        intercept = inside[-1] + self._mean @ inside[:-1]
        return np.vstack([self._inside(inside[:-1]), intercept])[:, None]

    def leave(self, theta):
        """theta of the row space -> theta of the original columns."""
        return self.outer.frame.leave(self._to_outer(theta))

    def _to_outer(self, theta):
        """theta of the row space -> theta of the outer frame."""
        coef = self._outside(theta[:-1, 0])
        return np.vstack([coef, theta[-1, 0] - self._mean @ coef])[:, None]

    def gradient_outside(self, gradient):
        """Gradient by theta of the row space -> gradient by theta of the original columns."""
        pull = self._outside(gradient[:-1, 0]) + np.outer(self._mean, gradient[-1, 0])
        return self.outer.frame.gradient_outside(np.vstack([pull, gradient[-1, 0]])[:, None])

    def refined(self, theta, tolerance, metric=None):
        """theta of the row space -> theta of the outer frame, without the rounding of K.

        H is ``1/S L^T D L + l2 I`` in the row space and ``l2 I`` outside, as K knows it; with the
        gradient of the problem itself, every step shrinks what that has left by as much again.

        The `metric` is one of the row space that begins no direction from a kept Hessian.

        Returns the evaluation there, and the decrement ``1/2 g^T H^-1 g``. Like that of the last
        step of Newton's method it goes far below the `tolerance`.
        """
        metric = metric or newton_metric(self.objective)
        known, outer, l2 = metric.look(theta), self.outer, self.outer.penalty.l2
        theta, best, n_outputs = self._to_outer(theta), None, theta.shape[2]
        for _ in range(_REFINEMENTS):
            at = with_gradient(outer, theta)
            pull = at.gradient[:-1, 0] - np.outer(self._mean, at.gradient[-1, 0])
            g = np.vstack([self._inside(pull), at.gradient[-1, 0]])[:, None]
            step, decrement = metric.direction(_Exactly(known, g), tolerance)
            rest = float(np.vdot(pull, pull)) - float(np.vdot(g[:-1], g[:-1]))
            decrement += 0.5 * max(rest, 0.0) / l2
            if best is not None and not decrement < 0.5 * best[1]:
                break
            best = at, decrement
            if decrement <= _BELOW * tolerance:
                break
            both = self._outside(np.hstack([step[:-1, 0], g[:-1, 0]]))
            coef = both[:, :n_outputs] - (pull - both[:, n_outputs:]) / l2
            theta = theta + np.vstack([coef, step[-1, 0] - self._mean @ coef])[:, None]
        return best

    def norm_outside(self, change):
        """The norm of ``leave(change)``, for which nobody needs to leave.

        ``|W| = |U|`` and ``b = b~ - mean^T W`` with ``mean^T W = (Q^T mean)^T U``.
        """
        intercept = change[-1, 0] - self._mean_inside @ change[:-1, 0]
        return math.hypot(np.linalg.norm(change[:-1]), np.linalg.norm(intercept))

    def gradient_norm_outside(self, gradient):
        """The norm of ``gradient_outside(gradient)``, in the same way.

        ``|Q g + mean g_b|^2 = |g|^2 + 2 g_b (Q^T mean)^T g + |mean|^2 g_b^2``.
        """
        g, g_b = gradient[:-1, 0], gradient[-1, 0]
        crossed = float(g_b @ (self._mean_inside @ g))
        square = float(np.vdot(g, g)) + 2.0 * crossed + (1.0 + self._mean_square) * float(g_b @ g_b)
        return math.sqrt(max(square, 0.0))


class _Exactly:
    """An evaluation in the row space with a gradient that has been seen in the columns."""

    def __init__(self, at, gradient):
        self._at, self.gradient = at, gradient

    @property
    def loss(self):
        return self._at.loss

    @property
    def hessian(self):
        return self._at.hessian

    @property
    def curvature(self):
        return self._at.curvature


class _MeasuredRows(NamedTuple):
    """The rows that weigh something: a frame of the columns, their means there, and K."""

    frame: Frame
    mean: np.ndarray
    gram: np.ndarray
    weighing: np.ndarray  # their indices
    largest: float  # the largest square of a row that had a part in K

    def hold_the_digits(self, objective):
        """Whether the rounding of K is small beside the penalty.

        ``H / l2 = I + L^T D L / (S l2)`` with ``D <= c diag(s)``: K counts ``c s_i K_ii / (S l2)``
        times, and has errors of eps of that.
        """
        if not self.largest <= _MAX_SQUARE:
            return False
        weight = objective.blocks.sample_weight
        heaviest = 1.0 if weight is None else float(weight.max())
        share = objective.curvature_bound * heaviest * len(self.gram) / objective.total_weight
        return _EPS * share * self.largest <= _MAX_ROUNDING * objective.penalty.l2


def _pays(objective):
    """Whether forming K, and a fit in m unknowns, costs less than a fit in p."""
    blocks, penalty = objective.blocks, objective.penalty
    n_samples, n_features = blocks.n_weighing, blocks.n_features
    if penalty.l2 == 0.0 or n_features < n_samples or n_samples > _MAX_ROWS:
        return False
    if objective.curvature_bound is None:  # nothing to hold the rounding of K against
        return False
    weighing = n_samples / blocks.n_samples
    entries = blocks.design.n_stored * weighing
    most = _WORTH * _work(objective, n_samples, n_features, entries)
    among_rows = _work(objective, n_samples, n_samples, n_samples**2)
    if among_rows >= most:  # what forming K takes need not be counted
        return False
    return among_rows + blocks.design.row_gram_work() * weighing**2 * _SLOWER < most


def _work(objective, n_samples, n_features, entries):
    """The multiplications of a fit, in those of a Gram matrix."""
    n_outputs = objective.shape[1]
    size = (n_features + 1) * n_outputs
    factored = _ITERATIONS * (n_samples * size**2 / 2 + size**3 / 3)
    applied = _PRODUCTS * 2 * entries * n_outputs * _SLOWER
    if size > _MAX_FACTORED:
        return applied
    return min(factored, applied) if objective.loss.is_coupled else factored


def _measure_slabs(objective):
    """The rows of an array, from slabs of its columns; see :func:`_measure_slab`."""
    blocks = objective.blocks
    weighing, share = _weighing(blocks)
    width = max(_MIN_SLAB, _SLAB_BYTES // (8 * len(weighing)))

    def measure(number):
        columns = blocks.X[:, number * width : (number + 1) * width]
        rows = columns if len(weighing) == len(columns) else columns[weighing]
        with np.errstate(all="ignore"):  # per thread
            return _measure_slab(rows.astype(np.float64), share, objective.fit_intercept)

    n_slabs = -(-blocks.n_features // width)
    gram, parts = fold(measure, n_slabs, _add_slabs, blocks.workers)
    first, mean, spread = np.concatenate(parts, axis=1)
    size = np.hypot(first + mean, spread)
    frame = Frame.from_columns(first + mean, spread, size, allow_shift=objective.fit_intercept)
    mean += first - frame.shift  # what rounding leaves of a mean far from zero
    return _MeasuredRows(frame, mean, gram, weighing, float(gram.diagonal().max()))


def _measure_slab(rows, share, fit_intercept):
    """What some columns add to K, and a list of one array of what they are like: the first row,
    the mean of the differences to it, and the spread. The rows are overwritten.

    Equal numbers have no spread, to the last bit.
    """
    first = mean = np.zeros(rows.shape[1])
    if fit_intercept:
        first = rows[0].copy()
        rows -= first
        mean = np.dot(share, rows)
        rows -= mean
    spread = np.sqrt(np.einsum("i,ij,ij->j", share, rows, rows))
    return np.dot(rows, rows.T), [np.stack([first, mean, spread])]


def _add_slabs(total, part):
    gram, parts = total
    gram += part[0]
    return gram, parts + part[1]


def _measure_whole(objective):
    """The rows as they are stored, in a frame whose shifts leave no mean far from the spread."""
    blocks, frame = objective.blocks, objective.frames.best()
    weighing, share = _weighing(blocks)
    every = len(weighing) == blocks.n_samples
    rows = blocks.in_frame(frame).block(slice(0, blocks.n_samples) if every else weighing).design
    mean = rows.pull(share)[:-1] if objective.fit_intercept else np.zeros(rows.n_columns)
    gram = rows.row_gram(mean)
    return _MeasuredRows(frame, mean, gram, weighing, float(rows.row_squares().max()))


def _weighing(blocks):
    """The indices of the rows that weigh something, and their shares of the weight."""
    if blocks.sample_weight is None:
        return np.arange(blocks.n_samples), np.full(blocks.n_samples, 1.0 / blocks.n_samples)
    weighing = np.flatnonzero(blocks.sample_weight)
    return weighing, blocks.sample_weight[weighing] / blocks.total_weight


def _pivoted_root(gram):
    """L with ``L L^T = K``, of full column rank, and the rows that are lower triangular in it.

    Cholesky's factor with complete pivoting, up to a pivot of ``m eps`` times the largest (Higham
    1990, "Analysis of the Cholesky decomposition of a semi-definite matrix").
    """
    factor, pivots, rank, failed = lapack.dpstrf(gram, lower=1)
    if failed < 0:
        raise ValueError(f"LAPACK's pstrf refused its argument {-failed}.")
    root = np.empty((len(gram), rank))
    root[pivots - 1] = np.tril(factor)[:, :rank]
    return root, pivots[:rank] - 1
