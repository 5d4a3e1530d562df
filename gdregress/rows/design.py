"""The design of a block: its rows ``[x~ 1]`` in a frame, known by what is done with them.

With n rows, p columns, theta of shape (p + 1, M, K), intercept last, and weights s (None for ones):

``times(theta)`` : shape (n, M, K)
    ``[X~ 1] theta``, the linear predictor.
``pull(r, s)``, ``pull_squares(r, s)`` : shape (p + 1, ...), of row quantities r of shape (n, ...)
    ``[X~ 1]^T diag(s) r``, and the same of the squares of the rows.
``moments(s)`` : shape (2, p)
    ``X~^T s``, and the same of the squares of the rows.
``gram(s)`` : shape (p + 1, p + 1)
    ``[X~ 1]^T diag(s) [X~ 1]``.
``grams(weights)`` : shape (W, p + 1, p + 1), weights of shape (n, W)
    ``gram`` of each of W weights.
``row_squares()`` : shape (n,)
    ``|x~_i|^2``.
``dense()`` : ndarray of shape (n, p)
    The rows themselves; of so many at a time as ``slab_rows`` says.
``limits()``, ``statistics(share)``, ``usual()``, ``n_unusual(usual)``, ``unusual(columns, usual)``
    Of every column: its range; its range, mean and spread, whatever the frame, rows weighing
    `share`; what nearly all of its entries are, if anything; how many are not; which ones of some
    columns, as their rows, in order, and the places of their columns among those.

Dense or sparse, shifted or scaled, with the column of ones: nobody but the design asks. A
design of all rows holds them as they came, and hands out the designs of blocks, in float64:

``part(begin, end)``, ``take(rows)``
    Consecutive rows, without a copy where that can be; rows by their indices.
``copied(rows)``
    A design of all rows, of some of them, in memory of its own.
``gatherer(n_rows, workers)``
    A function of up to `n_rows` indices that gives the matrix ``[X 1]`` of these rows, good until
    it is called again. Its slices have a ``shape``, a transpose ``T``, and both a product ``dot``
    with columns; of sparse rows a slice is good until the next.
``rows_in(n_bytes)``
    How many rows make a block of such a size.
``rows_apart(n_outputs)``
    How many at most, so that threads share the products with so many outputs.
``keeps_blocks(frame, n_blocks)``
    Whether so many blocks in a frame are kept for the next pass: it pays and takes little memory.

A solver that has to choose asks what the rows cost, never what they are kept in:

``n_stored``, ``prices``
    How many numbers a product reads, and the :class:`Prices` of the work on them.
``stores_zeros``
    Whether a row takes p numbers as it is: another shift costs nothing then, nor does p x p.
``row_gram_work()``
    What ``X X^T`` takes, in multiplications of a product with X.
``grams_work(n_weights)``
    What ``grams`` takes of so many weights, in nanoseconds a row.
``row_gram(mean, scale)``
    ``A A^T`` with ``A = (X~ - 1 mean^T) diag(scale)``, scale None is 1.
``gram_work()``, ``some(columns)``, of rows that store no zeros
    What ``X^T X`` takes; some columns of X~, dense.

Scales are exact, being powers of two, and rare, so they are not spared a copy of the block.

What ``dense`` and ``sparse`` rows do alike stands here, in :class:`Design`; ``containers`` knows
which one holds an X.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = [
    "MAX_COPY_BYTES",
    "MAX_COPY_SHARE",
    "Design",
    "Prices",
    "as_float64",
    "sums",
    "vanishes",
    "weigh",
]

# Copies that spare work are of so many bytes at most, or of such a share of X.
MAX_COPY_BYTES, MAX_COPY_SHARE = 2**26, 0.15


@dataclass(frozen=True)
class Prices:
    """What a row costs, in nanoseconds for each number that it stores.

    Measured on one core of 2020, with OpenBLAS; what counts is their ratio, which threads leave
    about as it is.

    Attributes
    ----------
    gradient, product : float
        Of a pass that brings loss and gradient, and of ``X^T D X v``.
    shared : float
        The share of the former that all outputs have in common.
    as_dense : float
        Of a number more, zeros too, in rows that are made dense for a Gram matrix.
    pair : float
        Of each pair of numbers stored in a row, in a Gram matrix that is not.
    more : float
        What a row costs for being one, in numbers stored.
    """

    gradient: float
    shared: float
    product: float
    as_dense: float
    pair: float
    more: float


def sums(rows):
    """Over the first axis; by a product where NumPy would add up few numbers at a time."""
    is_narrow = rows.ndim == 2 and rows.flags.c_contiguous
    return np.dot(np.ones(len(rows)), rows) if is_narrow else rows.sum(axis=0)


def vanishes(theta):
    """Whether all of theta is zero: one number tells mostly that it is not."""
    return not theta.size or (theta[0, 0, 0] == 0.0 and not theta.any())


def weigh(rows, s):
    """Row quantities times their weight (rows on the first axis); no weights, no copy."""
    return rows if s is None else rows * s.reshape(-1, *(1,) * (rows.ndim - 1))


class Design:
    """What dense and sparse rows share; see the module.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, p)
    frame : Frame, optional
        The coordinates of the columns; those of X by default.
    """

    def __init__(self, X, frame=None):
        self.X = X
        self.frame = None if frame is None or frame.is_identity else frame
        self.n_rows, self.n_columns = X.shape

    @cached_property
    def rows(self):
        """``X~``, dense or sparse as X is."""
        return self.X if self.frame is None else self._moved()

    def in_frame(self, frame):
        """The same rows in another frame."""
        return self if frame.is_identity and self.frame is None else type(self)(self.X, frame)

    def times(self, theta):
        """The rows are the fastest axis in memory: losses reduce over the outputs, and a reduction
        over a slow axis runs at the speed of additions.
        """
        n_models, n_outputs = theta.shape[1:]
        if vanishes(theta):  # where every descent begins
            return np.zeros((n_models, n_outputs, self.n_rows)).transpose(2, 0, 1)
        if n_models * n_outputs == 1:
            z = self._product(theta[:-1, 0, 0])
            z += theta[-1, 0, 0]
            return z[:, None, None]
        z = self._product(theta[:-1].reshape(-1, n_models * n_outputs))
        z += theta[-1].reshape(-1, 1)
        return z.reshape(n_models, n_outputs, -1).transpose(2, 0, 1)

    @cached_property
    def _columns(self):
        """The transpose of the rows, which shares their memory: SciPy takes its time to make it."""
        return self.rows.T

    def pull(self, r, s=None):
        return self._pulled(self._columns, weigh(r, s))

    def pull_squares(self, r, s=None):
        return self._pulled(self._squares().T, weigh(r, s))

    def moments(self, s=None):
        weight = np.ones(self.n_rows) if s is None else s
        moments = np.empty((2, self.n_columns))
        moments[0] = self.pull(weight)[:-1]
        moments[1] = self.pull_squares(weight)[:-1]
        return moments

    def _pulled(self, columns, r):
        flat = r.reshape(-1) if r.size == len(r) else r.reshape(len(r), -1)
        out = np.empty((columns.shape[0] + 1, *flat.shape[1:]))
        out[:-1] = self._dot(columns, flat)
        out[-1] = sums(flat)
        return out.reshape(-1, *r.shape[1:])

    def gram(self, s=None):
        out = np.empty((self.n_columns + 1, self.n_columns + 1))
        rows = self.rows if s is None else self._weighted(self.rows, np.sqrt(s))
        out[:-1, :-1] = self._gram(rows)
        out[:, -1] = out[-1] = self._pulled(self._columns, np.ones(self.n_rows) if s is None else s)
        return out

    def grams(self, weights):
        return np.stack([self.gram(weight) for weight in weights.T])

    def limits(self):
        limits = self._limits()
        return limits if self.frame is None else (limits - self.frame.shift) / self.frame.scale

    def rows_apart(self, n_outputs):
        return self.n_rows  # blocks that fit a cache are small enough

    def keeps_blocks(self, frame, n_blocks):
        return False  # to make them anew costs little beside a product with them

    def part(self, begin, end):
        return type(self)(as_float64(self._run(begin, end)))

    def take(self, rows):
        return type(self)(as_float64(self.X[rows]), self.frame)


def as_float64(X):
    """X, as it is where it has numbers of float64."""
    return X if X.dtype == np.float64 else X.astype(np.float64)
