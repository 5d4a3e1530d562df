"""Rows in a CSR matrix, by what is done with them; see ``design``."""

from functools import cached_property

import numpy as np
from scipy import sparse

from .batches import gatherer_of_csr
from .dense import DenseDesign, grams_work, units
from .design import (
    MAX_COPY_BYTES,
    MAX_COPY_SHARE,
    Design,
    Prices,
    as_float64,
    vanishes,
    weigh,
)
from .row_gram import row_gram, row_gram_work

__all__ = ["SparseDesign", "grams_of_pairs", "pairs_work", "runs_of_pairs", "weighted_entries"]

# Numbers of a dense slab of rows, 1 MiB.
_SLAB_NUMBERS = 2**17
# Pairs of entries that are made at a time.
_PAIRS = 2**18
# Products that are work for a thread, some milliseconds, beside what it waits for the interpreter;
# entries of a block for each of its columns, whose sums over the rows are added up; and blocks.
_WORK_APART, _ENTRIES_APART, _MOST_APART = 2**18, 16, 8
# So many outputs keep a processor busy while one waits for its sum.
_MANY_OUTPUTS = 16
# After so many products with several outputs there will be as many more: they pay for a copy.
_MANY_PRODUCTS = 16


class SparseDesign(Design):
    """Rows in a CSR matrix that stores no entry twice; see ``design``."""

    stores_zeros = False
    prices = Prices(gradient=3.3, shared=0.0, product=2.0, as_dense=2.0, pair=6.0, more=1.0)

    def __init__(self, X, frame=None):
        super().__init__(X, frame)
        self._n_products, self._n_in_all = 0, X.nnz

    def part(self, begin, end):
        part = SparseDesign(self._run(begin, end))
        part._n_in_all = self.X.nnz
        return part

    def _moved(self):
        """X with its entries shifted and scaled, and what it does not store filled in, at the ends
        of the rows: a sum of two matrices takes as long as ten products, and wider indices."""
        X, frame = self.X, self.frame
        data, indices, indptr = X.data, X.indices, X.indptr
        if frame.is_shifted:
            stored, rows, places = _stored_in(X, frame.far)
            data = data.astype(np.float64)
            data[stored] -= frame.shift[frame.far][places]
            if len(stored) < self.n_rows * len(frame.far):
                rows, columns = self._not_stored(rows, places)
                end = indptr[rows + 1]
                data = _inserted(data, end, -frame.shift[columns])
                indices = _inserted(indices, end, columns)
                more = np.cumsum(np.bincount(rows, minlength=self.n_rows))
                number = sparse.get_index_dtype((indices, indptr), maxval=len(data))
                indptr = (indptr + np.append(0, more)).astype(number)
        if frame.is_scaled:
            data = data / frame.scale[indices]
        return type(X)((data, indices, indptr), shape=X.shape)

    def _not_stored(self, rows, places):
        """The rows and columns of the entries in shifted columns that are not among those."""
        far = self.frame.far
        missing = np.ones((self.n_rows, len(far)), dtype=bool)
        missing[rows, places] = False
        rows, places = np.nonzero(missing)
        return rows, far[places]

    def dense(self):
        return self.rows.toarray()

    def some(self, columns):
        return self.rows[:, columns].toarray()

    def times(self, theta):
        """The outputs are the fastest axis in memory, as SciPy makes products.

        By rows, the products of one row wait for each other: all add to the same few numbers. By
        columns they do not, and the order in which they are added, the bits, is the same.
        """
        if theta[0].size == 1:
            return super().times(theta)
        if vanishes(theta):  # where every descent begins
            return np.zeros((self.n_rows, *theta.shape[1:]))
        self._n_products += 1
        pays = self._n_products > _MANY_PRODUCTS and 12 * self._n_in_all <= MAX_COPY_BYTES
        if not pays or vanishes(theta[:-1]):
            return super().times(theta)
        z = self._by_columns @ theta.reshape(len(theta), -1)
        return z.reshape(-1, *theta.shape[1:])

    @cached_property
    def _columns(self):
        return _transpose(self.rows)

    @cached_property
    def _by_columns(self):
        """``[X~ 1]`` in a CSC matrix: a copy, which takes about as long as a product."""
        X = self.rows.tocsc()
        data = np.append(X.data, np.ones(self.n_rows))
        indices = np.append(X.indices, np.arange(self.n_rows, dtype=X.indices.dtype))
        indptr = np.append(X.indptr, X.indptr[-1:] + self.n_rows)
        return type(X)((data, indices, indptr), shape=(self.n_rows, self.n_columns + 1))

    @cached_property
    def _columns_as_rows(self):
        """The transpose of that, which shares its memory."""
        return _transpose(self._by_columns)

    def pull(self, r, s=None):
        if r[:1].size < _MANY_OUTPUTS or "_by_columns" not in vars(self):
            return super().pull(r, s)
        pulled = self._columns_as_rows @ weigh(r, s).reshape(len(r), -1)
        return pulled.reshape(-1, *r.shape[1:])

    def _product(self, coef):
        if not coef.any():  # the intercepts alone
            return np.zeros((self.n_rows, *coef.shape[1:])).T
        return (self.rows @ coef).T

    @staticmethod
    def _dot(A, B):
        return A @ B

    @staticmethod
    def _gram(Z):
        if not _pays_as_dense(Z, Z.shape[1]):
            return (Z.T @ Z).toarray()
        return sum(np.dot(rows.T, rows) for rows in _dense_slabs(Z))

    def grams(self, weights):
        rows, n_weights = self.rows, weights.shape[1]
        in_pairs, as_dense = self._grams_work(n_weights)
        if in_pairs < as_dense:
            rows = sparse.hstack([rows, np.ones((self.n_rows, 1))]).tocsr()
            return grams_of_pairs(rows, weights)
        total, begin = 0.0, 0
        for slab in _dense_slabs(rows):
            run = slice(begin, begin + len(slab))
            total, begin = total + DenseDesign(slab).grams(weights[run]), run.stop
        return total

    def grams_work(self, n_weights):
        return min(self._grams_work(n_weights))

    def _grams_work(self, n_weights):
        """That of pairs of entries, and that of dense rows."""
        size, stored = self.n_columns + 1, self.rows.nnz / max(1, self.n_rows) + 1.0
        as_dense = self.prices.as_dense * size + grams_work(size, n_weights)
        return pairs_work(0.5 * stored * (stored + 1.0), n_weights), as_dense

    @staticmethod
    def _weighted(rows, weight):
        return weighted_entries(rows, weight)

    def _squares(self):
        X = self.rows
        return type(X)((X.data * X.data, X.indices, X.indptr), shape=X.shape)

    def row_squares(self):
        return self._squares() @ np.ones(self.n_columns)

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
        unit = units(low, high)
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
        stored, rows, places = _stored_in(self.X, columns)
        entries = self.X.data[stored] != 0.0
        return rows[entries], places[entries]

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
        # A block of its own costs as much as a million additions: it has to be larger. Blocks are
        # of one size, so that no thread waits for another.
        row_bytes = max(1, self.X.nnz // max(1, self.n_rows) * 12 + 8)
        n_blocks = max(1, -(-self.n_rows * row_bytes // (4 * n_bytes)))
        return -(-self.n_rows // n_blocks)

    def rows_apart(self, n_outputs):
        # As many blocks as are a power of two, for as many threads.
        in_work = self.X.nnz * n_outputs // _WORK_APART
        in_sums = self.X.nnz // (_ENTRIES_APART * max(1, self.n_columns))
        n_blocks = max(1, min(in_work, in_sums, _MOST_APART))
        return -(-self.n_rows // 2 ** (n_blocks.bit_length() - 1))

    def keeps_blocks(self, frame, n_blocks):
        """SciPy takes as long to make a matrix of a block and its transpose as for a product.

        Each is some objects, 4 KiB, pointers to its rows, and a copy of its entries of another type
        or in another frame.
        """
        X = self.X
        per_entry = 8 * (X.dtype != np.float64) + 12 * (not frame.is_identity)
        n_bytes = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
        copied = 4096 * n_blocks + 8 * self.n_rows + per_entry * X.nnz
        return copied <= max(MAX_COPY_BYTES, MAX_COPY_SHARE * n_bytes)

    def _run(self, begin, end):
        """Consecutive rows in float64, without the copy that a slice makes."""
        X = self.rows
        if (begin, end) == (0, self.n_rows):
            return as_float64(X)
        first, last = X.indptr[begin], X.indptr[end]
        data = X.data[first:last].astype(np.float64, copy=False)
        indptr = X.indptr[begin : end + 1] - first
        return _matrix(type(X), data, X.indices[first:last], indptr, (end - begin, X.shape[1]))

    def copied(self, rows):
        return SparseDesign(self.X[rows])

    def gatherer(self, n_rows, workers):
        return gatherer_of_csr(self.X)


def _matrix(kind, data, indices, indptr, shape):
    """A sparse matrix of these arrays as they are: its constructor copies those that are less than
    half of another one, into pieces that the system keeps in small pages, slower to read."""
    matrix = kind(shape)
    matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
    return matrix


def _transpose(X):
    """The transpose of a matrix by rows or by columns, which shares its memory."""
    if isinstance(X, sparse.sparray):
        by_rows, by_columns = sparse.csr_array, sparse.csc_array
    else:
        by_rows, by_columns = sparse.csr_matrix, sparse.csc_matrix
    kind = by_columns if X.format == "csr" else by_rows
    return _matrix(kind, X.data, X.indices, X.indptr, X.shape[::-1])


def weighted_entries(X, weight):
    """``diag(weight) X`` of a CSR matrix."""
    data = X.data * np.repeat(weight, np.diff(X.indptr))
    return type(X)((data, X.indices, X.indptr), shape=X.shape)


def grams_of_pairs(X, weights):
    """``X^T diag(w_m) X`` of every weight of a CSR matrix, shape (W, p, p)."""
    size, weights = X.shape[1], np.ascontiguousarray(weights)
    per_row = 0.5 * (X.nnz / max(1, X.shape[0]) + 1.0) ** 2
    sums = np.zeros((size**2, weights.shape[1]))
    for run in runs_of_pairs(X.shape[0], per_row):
        sums += _entry_pairs(X[run]).T @ weights[run]
    sums = sums.reshape(size, size, -1).transpose(2, 0, 1)
    grams = sums + sums.transpose(0, 2, 1)
    own = np.arange(size)
    grams[:, own, own] = sums[:, own, own]
    return grams


def runs_of_pairs(n_rows, per_row):
    """Slices of rows that have about as many pairs as are made at a time."""
    step = max(64, int(_PAIRS / max(1.0, per_row)))
    return [slice(begin, min(begin + step, n_rows)) for begin in range(0, n_rows, step)]


def _entry_pairs(X):
    """``x_ij x_ik`` of all pairs of entries of a row, in column ``p j + k`` of a CSR matrix.

    A pair is there once, whichever of the two columns comes first in its row.
    """
    n_rows, n_columns = X.shape
    indptr, own = X.indptr.astype(np.int64), np.arange(X.nnz)
    counts = np.diff(indptr)
    # An entry goes with itself and all that are behind it in its row.
    left = np.repeat(indptr[1:], counts) - own
    first = np.repeat(own, left)
    second = np.arange(len(first)) - np.repeat(np.cumsum(left) - left - own, left)
    places = X.indices[first].astype(np.int64) * n_columns + X.indices[second]
    begin = np.append(0, np.cumsum(counts * (counts + 1) // 2))
    data = X.data[first] * X.data[second]
    return sparse.csr_matrix((data, places, begin), shape=(n_rows, n_columns**2))


def pairs_work(n_pairs, n_weights):
    """What so many pairs of entries in a row take, in nanoseconds (one core with AVX-512)."""
    return n_pairs * (20.0 + 0.5 * n_weights)


def _inserted(entries, places, values):
    """``np.insert`` at ascending places that are few: runs of entries are copied as they are."""
    pieces = [entries[: places[0]]]
    for begin, end, value in zip(places, [*places[1:], len(entries)], values, strict=True):
        pieces += [[value], entries[begin:end]]
    return np.concatenate(pieces, dtype=entries.dtype)


def _stored_in(X, columns):
    """What a CSR matrix stores in some columns: where, in which rows, which columns of these."""
    asked = np.zeros(X.shape[1], dtype=bool)
    asked[columns] = True
    stored = np.flatnonzero(asked.take(X.indices))
    places = np.empty(X.shape[1], dtype=np.intp)
    places[columns] = np.arange(len(columns))
    rows = np.searchsorted(X.indptr, stored, side="right") - 1
    return stored, rows, places[X.indices[stored]]


def _pays_as_dense(Z, n_columns):
    """Whether the Gram matrix of so many columns made of Z takes BLAS less than SciPy takes.

    In nanoseconds a row, with p columns and r entries in a row, 4 p + p^2 / 45 dense and 6 r^2
    sparse (measured, one core of 2020).
    """
    stored = Z.nnz / max(1, Z.shape[0]) * (n_columns / max(1, Z.shape[1]))
    return n_columns * (4.0 + n_columns / 45.0) < 6.0 * stored**2


def _dense_slabs(Z):
    """Some rows of Z after the other as a dense array that fits the cache, good until the next:
    memory that is new each time takes longer to come by than to fill."""
    n_rows = max(64, _SLAB_NUMBERS // Z.shape[1])
    slab = np.empty((min(n_rows, Z.shape[0]), Z.shape[1]))
    for begin in range(0, Z.shape[0], n_rows):
        rows = Z[begin : begin + n_rows]
        yield rows.toarray(out=slab[: rows.shape[0]])
