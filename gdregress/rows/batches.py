"""Mini-batches: a few rows ``[X 1]``, and the epochs that go through all rows in such batches."""

import operator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from .threads import fold

__all__ = ["epoch", "gatherer_of_arrays", "gatherer_of_csr"]

# Bytes of the rows that are gathered for some batches, and of those that are copied at once: they
# are read again while they are in a near cache.
_CHUNK_BYTES, _COPY_BYTES = 2**19, 2**17
# Numbers of a batch of sparse rows, zeros and all, up to which BLAS is sooner with it than SciPy:
# the calls cost more than the arithmetic.
_MAX_DENSE = 2**14
# Bytes of sparse rows that are made dense at a time.
_FILLED_BYTES = 2**20


class Batch(NamedTuple):
    """Some rows in the original columns, with their column of ones.

    On 32 rows, calling NumPy costs more than the arithmetic: one model has no axis of models here.

    Parameters
    ----------
    rows : object of shape (n, n_features + 1)
        ``A = [X 1]``: what a gatherer of ``design`` gives.
    y : ndarray of shape (n, n_columns) or None
    sample_weight : ndarray of shape (n,) or None
    """

    rows: Any
    y: Any
    sample_weight: Any

    def times(self, theta):
        """``A theta``, shape (n, K) of one model, else (n, M, K)."""
        if theta.size == len(theta):  # vectors: half of the time of a product with one column
            return self.rows.dot(theta.ravel())[:, None]
        if theta.shape[1] == 1:
            return self.rows.dot(theta[:, 0])
        return self.rows.dot(theta.reshape(len(theta), -1)).reshape(-1, *theta.shape[1:])

    def pull(self, r):
        """``A^T r``, shape (n_features + 1, M, K), of r in the shape of :meth:`times`."""
        if r.size == len(r):
            return self.rows.T.dot(r.ravel())[:, None, None]
        if r.ndim == 2:
            return self.rows.T.dot(r)[:, None]
        return self.rows.T.dot(r.reshape(len(r), -1)).reshape(-1, *r.shape[1:])


def epoch(blocks, generator, batch_size):
    """The mini-batches of one epoch over row blocks, in an order drawn from `generator`.

    Rows are gathered in chunks, by all workers, and sliced from there: the cost of gathering is
    paid once per chunk, not once per batch. A batch is good until the next is asked for: they
    share their memory.
    """
    y, weight = blocks.y, blocks.sample_weight
    order = generator.permutation(blocks.n_samples)
    at_once = min(blocks.block_rows, blocks.design.rows_in(_CHUNK_BYTES))
    chunk_rows = max(1, at_once // batch_size) * batch_size
    gather = blocks.design.gatherer(min(chunk_rows, blocks.n_samples), blocks.workers)
    for first in range(0, blocks.n_samples, chunk_rows):
        chosen = order[first : first + chunk_rows]
        rows = gather(chosen)
        chunk_y = None if y is None else y[chosen]
        chunk_weight = None if weight is None else weight[chosen]
        for begin in range(0, len(chosen), batch_size):
            end = begin + batch_size
            yield Batch(
                rows[begin:end],
                None if y is None else chunk_y[begin:end],
                None if weight is None else chunk_weight[begin:end],
            )


def gatherer_of_arrays(X, n_rows, workers):
    """The gatherer of ``design`` of an array: all workers gather, in memory that is there already
    and holds its ones, as the system would hand out new pages all the time."""
    n_columns, is_plain = X.shape[1], X.flags.c_contiguous
    n_copied = max(1, min(n_rows, _COPY_BYTES // max(1, X.dtype.itemsize * n_columns)))
    taken = np.empty((workers, n_copied, n_columns), dtype=X.dtype)
    bordered = np.ones((n_rows, n_columns + 1))

    def gather(rows):
        n_parts = min(workers, len(rows))

        def gather_part(number):
            first, last = number * len(rows) // n_parts, (number + 1) * len(rows) // n_parts
            for begin in range(first, last, n_copied):
                chosen = rows[begin : min(begin + n_copied, last)]
                copied = taken[number, : len(chosen)]
                if is_plain:  # without looking at every index first
                    np.take(X, chosen, axis=0, out=copied, mode="clip")
                else:
                    copied[...] = X[chosen]
                bordered[begin : begin + len(chosen), :-1] = copied
            return last - first

        fold(gather_part, n_parts, operator.add, n_parts)
        return bordered[: len(rows)]

    return gather


def gatherer_of_csr(X):
    """The gatherer of ``design`` of a CSR matrix."""
    return lambda rows: _Gathered(X[rows])


class _Gathered:
    """CSR rows with a column of ones, to be cut into batches.

    Small batches are cut out of an array, where some of them are at a time, and only the entries
    are ever written. To make a matrix of others takes SciPy as long as to multiply with it: those
    of one size are one matrix, which is given the entries of one batch after the other.
    """

    def __init__(self, rows):
        self.data, self.indices, self.indptr = rows.data, rows.indices, rows.indptr
        if self.data.dtype != np.float64:
            self.data = self.data.astype(np.float64)
        self.n_rows, self.n_columns = rows.shape
        self._matrices = {}
        self._first = self._last = 0

    def __getitem__(self, rows):
        first, last = rows.start, min(rows.stop, self.n_rows)
        if (last - first) * (self.n_columns + 1) <= _MAX_DENSE:
            if not self._first <= first < last <= self._last:
                self._fill(first, last - first)
            return self._filled[first - self._first : last - self._first]
        matrix = self._matrices.get(last - first)
        if matrix is None:
            matrix = self._matrices[last - first] = _Bordered(last - first, self.n_columns)
        return matrix.holding(self, first)

    @cached_property
    def _filled(self):
        """The array ``[X 1]``, zeros to begin with, of as many rows as the cache has room for."""
        n_rows = min(self.n_rows, max(1, _FILLED_BYTES // (8 * (self.n_columns + 1))))
        filled = np.zeros((n_rows, self.n_columns + 1))
        filled[:, -1] = 1.0
        self._places = np.zeros(0, dtype=np.intp)
        return filled

    def _fill(self, first, n_rows):
        """Have as many batches of `n_rows` rows in the array as fit, from `first` on."""
        filled = self._filled
        last = min(first + len(filled) // n_rows * n_rows, self.n_rows)
        bounds, width, flat = self.indptr[first : last + 1], filled.shape[1], filled.reshape(-1)
        flat[self._places] = 0.0
        starts = np.arange(0, (last - first) * width, width)
        self._places = np.repeat(starts, np.diff(bounds)) + self.indices[bounds[0] : bounds[-1]]
        flat[self._places] = self.data[bounds[0] : bounds[-1]]
        self._first, self._last = first, last


class _Bordered:
    """``[X 1]`` of the CSR rows that it holds, with its products as an array has them."""

    def __init__(self, n_rows, n_columns):
        self.shape = n_rows, n_columns + 1
        self._rows = sparse.csr_array((n_rows, n_columns))
        self._columns = sparse.csc_array((n_columns, n_rows))
        self.T = _Transposed(self._columns)

    def holding(self, gathered, first):
        """The same matrix with the entries of the rows from `first` on: those of X by rows are
        those of X^T by columns."""
        bounds = gathered.indptr[first : first + self.shape[0] + 1]
        begin, end = bounds[0], bounds[-1]
        data, indices, indptr = (
            gathered.data[begin:end],
            gathered.indices[begin:end],
            bounds - begin,
        )
        for matrix in (self._rows, self._columns):
            matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
        return self

    def dot(self, theta):
        """``X W + 1 b^T``, of a vector ``X w + b``."""
        z = self._rows @ theta[:-1]
        z += theta[-1]
        return z


class _Transposed:
    """``[X 1]^T`` of the same."""

    def __init__(self, columns):
        self._columns = columns

    def dot(self, r):
        """``[X^T r; 1^T r]``."""
        out = np.empty((self._columns.shape[0] + 1, *r.shape[1:]))
        out[:-1] = self._columns @ r
        out[-1] = np.add.accumulate(r)[-1]  # in the order of the rows, as SciPy adds the others
        return out
