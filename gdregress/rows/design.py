"""The design of a block: its rows ``[x~ 1]`` in a frame, known by what is done with them.

With n rows, p columns, theta of shape (p + 1, M, K), intercept last, and weights s (None for ones):

``times(theta)`` : shape (n, M, K)
    ``[X~ 1] theta``, the linear predictor.
``pull(r, s)``, ``pull_squares(r, s)`` : shape (p + 1, ...), of row quantities r of shape (n, ...)
    ``[X~ 1]^T diag(s) r``, and the same of the squares of the rows.
``gram(s)`` : shape (p + 1, p + 1)
    ``[X~ 1]^T diag(s) [X~ 1]``.
``outer_grams(r, s)`` : shapes (p + 1, K, p + 1) and (K, p + 1, K, p + 1), r of shape (n, K)
    ``sum_i s_i r_ik x_i x_i^T`` and ``sum_i s_i r_ik r_il x_i x_i^T``, ``x = [x~ 1]``.
``row_squares()`` : shape (n,)
    ``|x~_i|^2``.
``dense()`` : ndarray of shape (n, p)
    The rows themselves; of so many at a time as ``slab_rows`` says.
``limits()``, ``statistics(share)``, ``usual()``, ``n_unusual(usual)``, ``unusual(columns, usual)``
    Of every column: its range; its range, mean and spread, whatever the frame, rows weighing
    `share`; what nearly all of its entries are, if anything; how many are not; which ones.

Dense or sparse, shifted or scaled, with the column of ones: nobody outside of this room asks. A
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

A solver that has to choose asks what the rows cost, never what they are kept in:

``n_stored``, ``prices``
    How many numbers a product reads, and the :class:`Prices` of the work on them.
``stores_zeros``
    Whether a row takes p numbers as it is: another shift costs nothing then, nor does p x p.
``row_gram_work()``
    What ``X X^T`` takes, in multiplications of a product with X.
``gram_work()``, ``row_gram(mean, scale)``, of rows that store no zeros
    What ``X^T X`` takes, and ``A A^T`` with ``A = (X~ - 1 mean^T) diag(scale)``; scale None is 1.

Scales are exact, being powers of two, and rare, so they are not spared a copy of the block.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from .batches import gatherer_of_arrays, gatherer_of_csr
from .row_gram import row_gram, row_gram_work

__all__ = ["DenseDesign", "Prices", "SparseDesign", "design_of", "stacked", "weigh"]


# Numbers of a dense slab of sparse rows, 1 MiB.
_SLAB_NUMBERS = 2**17


@dataclass(frozen=True)
class Prices:
    """What a row costs, in nanoseconds for each number that it stores.

    Measured on one core of 2020, with OpenBLAS; what counts is their ratio, which threads leave
    about as it is.

    Attributes
    ----------
    gradient, product : float
        Of a pass that brings loss and gradient, and of ``X^T D X v``.
    as_dense : float
        Of a number more, zeros too, in rows that are made dense for a Gram matrix.
    pair : float
        Of each pair of numbers stored in a row, in a Gram matrix that is not.
    more : float
        What a row costs for being one, in numbers stored.
    """

    gradient: float
    product: float
    as_dense: float
    pair: float
    more: float


def design_of(X):
    """The design of all rows of X, in the columns as they are; X may be one."""
    if isinstance(X, _Design):
        return X
    return SparseDesign(_canonical(X)) if sparse.issparse(X) else DenseDesign(np.asarray(X))


def stacked(above, below):
    """Rows and more rows, X as it may come: sparse where both are."""
    if sparse.issparse(above) and sparse.issparse(below):
        return sparse.vstack([above, below], format="csr")
    parts = [part.toarray() if sparse.issparse(part) else part for part in (above, below)]
    return np.vstack(parts)


def weigh(rows, s):
    """Row quantities times their weight (rows on the first axis); no weights, no copy."""
    return rows if s is None else rows * s.reshape(-1, *(1,) * (rows.ndim - 1))


class _Design:
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
        if theta[-1, 0, 0] == 0.0 and not theta.any():  # where every descent begins
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

    def _pulled(self, columns, r):
        flat = r.reshape(-1) if r.size == len(r) else r.reshape(len(r), -1)
        out = np.empty((columns.shape[0] + 1, *flat.shape[1:]))
        out[:-1] = self._dot(columns, flat)
        out[-1] = flat.sum(axis=0)
        return out.reshape(-1, *r.shape[1:])

    def gram(self, s=None):
        out = np.empty((self.n_columns + 1, self.n_columns + 1))
        rows = self.rows if s is None else self._weighted(self.rows, np.sqrt(s))
        out[:-1, :-1] = self._gram(rows)
        out[:, -1] = out[-1] = self._pulled(self._columns, np.ones(self.n_rows) if s is None else s)
        return out

    def outer_grams(self, r, s=None):
        bordered = self._bordered()
        if s is not None:
            bordered = self._weighted(bordered, np.sqrt(s))
        stacked = self._stacked(bordered, r)
        shape = r.shape[1], self.n_columns + 1
        own = self._cross(bordered, stacked).reshape(-1, *shape)
        return own, self._gram(stacked).reshape(*shape, *shape)

    def limits(self):
        limits = self._limits()
        return limits if self.frame is None else (limits - self.frame.shift) / self.frame.scale

    def part(self, begin, end):
        return type(self)(_as_float64(self._run(begin, end)))

    def take(self, rows):
        return type(self)(_as_float64(self.X[rows]), self.frame)


def _as_float64(X):
    return X if X.dtype == np.float64 else X.astype(np.float64)


class DenseDesign(_Design):
    """Rows in an array; see the module."""

    stores_zeros = True
    prices = Prices(gradient=0.8, product=0.25, as_dense=0.0, pair=np.inf, more=0.0)

    def _moved(self):
        frame = self.frame
        rows = self.X - frame.shift if frame.is_shifted else self.X
        return rows / frame.scale if frame.is_scaled else rows

    def dense(self):
        return self.rows

    def _product(self, coef):
        if coef.ndim == 1:
            return np.dot(self.rows, coef)
        return np.dot(coef.T, self.rows.T)

    @staticmethod
    def _dot(A, B):
        return np.dot(A, B)  # which releases the GIL where @ may not

    _cross = staticmethod(lambda A, B: np.dot(A.T, B))

    @staticmethod
    def _gram(Z):
        return np.dot(Z.T, Z)  # BLAS sees one operand twice: one triangle (syrk)

    @staticmethod
    def _weighted(rows, weight):
        return rows * weight[:, None]

    def _squares(self):
        return self.rows * self.rows

    def _bordered(self):
        bordered = np.ones((self.n_rows, self.n_columns + 1))
        bordered[:, :-1] = self.rows
        return bordered

    @staticmethod
    def _stacked(rows, r):
        """``[r_1 rows, r_2 rows, ...]``."""
        return (r[:, :, None] * rows[:, None, :]).reshape(len(r), -1)

    def row_squares(self):
        return np.einsum("ij,ij->i", self.rows, self.rows)

    def _limits(self):
        return np.vstack([self.X.min(axis=0), self.X.max(axis=0)])

    def statistics(self, share=None):
        low, high = self.X.min(axis=0), self.X.max(axis=0)
        unit = _units(low, high)
        scaled = self.X / unit
        share = np.full(self.n_rows, 1.0 / self.n_rows) if share is None else share
        mean = np.dot(share, scaled)
        scaled -= mean
        scaled *= scaled
        return low, high, mean * unit, np.sqrt(np.dot(share, scaled)) * unit

    def usual(self):
        return np.sort(self.X, axis=0)[self.n_rows // 2]

    def n_unusual(self, usual):
        return np.count_nonzero(usual != self.X, axis=0)

    def unusual(self, columns, usual):
        return self.X[:, columns] != usual[columns]

    @property
    def slab_rows(self):
        return self.n_rows

    @property
    def n_stored(self):
        return self.X.size

    def row_gram_work(self):
        # Half of a symmetric matrix, and a sixth of the time, for a product reads from memory.
        return self.n_rows**2 * self.n_columns / 12

    def rows_in(self, n_bytes):
        return n_bytes // max(1, 8 * self.n_columns)

    def _run(self, begin, end):
        return self.rows[begin:end]

    def copied(self, rows):
        if isinstance(rows, slice):
            return DenseDesign(self.X[rows].copy())
        # take is twice as fast as an index; of another layout it would copy the whole.
        is_plain = self.X.flags.c_contiguous
        return DenseDesign(np.take(self.X, rows, axis=0) if is_plain else self.X[rows])

    def gatherer(self, n_rows, workers):
        return gatherer_of_arrays(self.X, n_rows, workers)


class SparseDesign(_Design):
    """Rows in a CSR matrix; see the module."""

    stores_zeros = False
    prices = Prices(gradient=3.3, product=2.0, as_dense=2.0, pair=6.0, more=1.0)

    def _moved(self):
        """X with its entries shifted and scaled, and what it does not store filled in."""
        X, frame = self.X, self.frame
        data, n_stored = X.data, 0
        if frame.is_shifted:
            by = frame.shift[X.indices]
            data, n_stored = data - by, np.count_nonzero(by)
        if frame.is_scaled:
            data = data / frame.scale[X.indices]
        moved = type(X)((data, X.indices, X.indptr), shape=X.shape)
        if n_stored == self.n_rows * len(frame.far):
            return moved
        return moved + self._filling()

    def _filling(self):
        """What the entries that X does not store become in the shifted columns."""
        X, far = self.X, self.frame.far
        place = np.full(self.n_columns, -1)
        place[far] = np.arange(len(far))
        place = place[X.indices]
        stored = np.flatnonzero(place >= 0)
        rows = np.searchsorted(X.indptr, stored, side="right") - 1
        missing = np.ones((self.n_rows, len(far)), dtype=bool)
        missing[rows, place[stored]] = False
        rows, place = np.nonzero(missing)
        columns = far[place]
        entries = -self.frame.shift[columns] / self.frame.scale[columns]
        return type(X)((entries, (rows, columns)), shape=X.shape)

    def dense(self):
        return self.rows.toarray()

    def _product(self, coef):
        if coef.ndim == 1 and not coef.any():  # the intercept alone
            return np.zeros(self.n_rows)
        return (self.rows @ coef).T

    @staticmethod
    def _dot(A, B):
        return A @ B

    _cross = staticmethod(lambda A, B: (A.T @ B).toarray())

    @staticmethod
    def _gram(Z):
        if not _pays_as_dense(Z, Z.shape[1]):
            return (Z.T @ Z).toarray()
        return sum(np.dot(rows.T, rows) for rows in _dense_slabs(Z))

    def outer_grams(self, r, s=None):
        if not _pays_as_dense(self.rows, self.n_columns * r.shape[1]):
            return super().outer_grams(r, s)
        own = square = 0.0
        begin = 0
        for rows in _dense_slabs(self.rows, r.shape[1]):
            run = slice(begin, begin + len(rows))
            weight = None if s is None else s[run]
            parts = DenseDesign(rows).outer_grams(r[run], weight)
            own, square, begin = own + parts[0], square + parts[1], run.stop
        return own, square

    @staticmethod
    def _weighted(rows, weight):
        return rows.multiply(weight[:, None]).tocsr()

    def _squares(self):
        return self.rows.power(2)

    def _bordered(self):
        return sparse.hstack([self.rows, np.ones((self.n_rows, 1))]).tocsr()

    @staticmethod
    def _stacked(rows, r):
        return sparse.hstack([rows.multiply(column[:, None]) for column in r.T]).tocsr()

    def row_squares(self):
        return np.asarray(self.rows.power(2).sum(axis=1)).ravel()

    def _limits(self):
        return np.vstack([self.X.min(axis=0).toarray(), self.X.max(axis=0).toarray()])

    def statistics(self, share=None):
        """Entries that are not stored are zero."""
        columns = self.X.tocsc()
        n_stored = np.diff(columns.indptr)
        occupied = np.flatnonzero(n_stored)
        begin = columns.indptr[occupied]

        def per_column(reduce, entries):
            out = np.zeros(self.n_columns)
            out[occupied] = reduce.reduceat(entries, begin) if len(begin) else 0.0
            return out

        low, high = per_column(np.minimum, columns.data), per_column(np.maximum, columns.data)
        full = n_stored == self.n_rows
        low = np.where(full, low, np.minimum(low, 0.0))
        high = np.where(full, high, np.maximum(high, 0.0))
        unit = _units(low, high)
        data = columns.data / np.repeat(unit, n_stored)
        if share is None:
            share, missing = 1.0 / self.n_rows, 1.0 - n_stored / self.n_rows
        else:
            share = share[columns.indices]
            missing = np.where(full, 0.0, np.maximum(1.0 - per_column(np.add, share), 0.0))
        mean = per_column(np.add, share * data)
        data -= np.repeat(mean, n_stored)
        data *= data
        square = per_column(np.add, share * data) + missing * mean**2
        return low, high, mean * unit, np.sqrt(square) * unit

    def usual(self):
        return np.zeros(self.n_columns)

    def n_unusual(self, usual):
        return np.bincount(self.X.indices, minlength=self.n_columns)

    def unusual(self, columns, usual):
        return self.X[:, columns].toarray() != usual[columns]

    @property
    def slab_rows(self):
        return max(256, 4 * self.n_columns)

    @property
    def n_stored(self):
        return self.X.nnz

    def gram_work(self):
        return np.sum(np.diff(self.X.indptr).astype(np.float64) ** 2)

    def row_gram_work(self):
        return row_gram_work(self.X)

    def row_gram(self, mean, scale=None):
        rows = self.rows
        if scale is not None:
            data = rows.data * scale[rows.indices]
            rows = type(rows)((data, rows.indices, rows.indptr), shape=rows.shape)
            mean = mean * scale
        return row_gram(rows, mean)

    def rows_in(self, n_bytes):
        # A block of its own costs as much as a million additions: it has to be larger.
        return 4 * n_bytes // max(1, self.X.nnz // max(1, self.n_rows) * 12 + 8)

    def _run(self, begin, end):
        """Consecutive rows, without the copy that a slice makes."""
        X = self.rows
        if (begin, end) == (0, self.n_rows):
            return X
        first, last = X.indptr[begin], X.indptr[end]
        indptr = X.indptr[begin : end + 1] - first
        parts = X.data[first:last], X.indices[first:last], indptr
        return type(X)(parts, shape=(end - begin, self.n_columns))

    def copied(self, rows):
        return SparseDesign(self.X[rows])

    def gatherer(self, n_rows, workers):
        return gatherer_of_csr(self.X)


def _pays_as_dense(Z, n_columns):
    """Whether the Gram matrix of so many columns made of Z takes BLAS less than SciPy takes.

    In nanoseconds a row, with p columns and r entries in a row, 4 p + p^2 / 45 dense and 6 r^2
    sparse (measured, one core of 2020).
    """
    stored = Z.nnz / max(1, Z.shape[0]) * (n_columns / max(1, Z.shape[1]))
    return n_columns * (4.0 + n_columns / 45.0) < 6.0 * stored**2


def _dense_slabs(Z, n_copies=1):
    """Some rows of Z after the other as dense arrays; of each so many copies fit the cache."""
    n_rows = max(64, _SLAB_NUMBERS // (Z.shape[1] * n_copies))
    for begin in range(0, Z.shape[0], n_rows):
        yield Z[begin : begin + n_rows].toarray()


def _units(low, high):
    """Powers of two in which squares of the columns neither overflow nor vanish."""
    exponent = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
    return np.ldexp(1.0, np.clip(exponent, -1022, 1022))


def _canonical(X):
    """A CSR matrix that stores no entry twice, as squares and shifts of entries need it."""
    if X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X
