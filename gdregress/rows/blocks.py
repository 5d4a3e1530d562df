"""Runs of rows over arrays, memory maps and sparse matrices, and the one reduction over them.

Block boundaries and the order of the fold depend on the shape alone, never on the number of
workers, so one thread, two threads and a memory map give the same bits.
"""

import copy
import operator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse

from .kernels import Block
from .threads import fold

__all__ = ["PerRow", "RowBlocks"]

# A block is read from memory once for X theta and again, from cache, for X^T r. Smaller ones stay
# in a nearer cache, but two threads that call NumPy that often wait for each other's GIL.
_BLOCK_BYTES = 2**22
# Rows enough that the cost of a call is small beside that of its arithmetic.
_MIN_BLOCK_ROWS = 32
# A reduction hands out this many runs of blocks; each run sums its own blocks first.
_N_RUNS = 32


class PerRow(NamedTuple):
    """An argument of a reduction with one entry for each row: a block gets those of its rows."""

    values: np.ndarray


def _of_rows(args, begin, end):
    """The arguments for a run of rows."""
    return [a.values[begin:end] if type(a) is PerRow else a for a in args]


class RowBlocks:
    """The rows of X, y and the weights, in blocks of float64 that fit the cache.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Any real dtype, strides and memory; never copied as a whole.
    y : ndarray of shape (n_samples, n_columns) or None
    sample_weight : ndarray of shape (n_samples,) or None
        Already times the class weights; None means ones.
    workers : int
        Number of threads of a reduction.
    """

    def __init__(self, X, y=None, sample_weight=None, workers=1, *, block_bytes=None):
        self.X = _canonical(X) if sparse.issparse(X) else np.asarray(X)
        self.y = y
        self.sample_weight = sample_weight
        self.workers = workers
        self.n_samples, self.n_features = X.shape
        self.is_sparse = sparse.issparse(X)
        block_bytes = _BLOCK_BYTES if block_bytes is None else block_bytes
        per_row = X.nnz // max(1, X.shape[0]) * 12 + 8 if self.is_sparse else 8 * X.shape[1]
        if self.is_sparse:  # a block of its own costs as much as a million additions
            block_bytes *= 4
        self.block_rows = max(_MIN_BLOCK_ROWS, block_bytes // max(1, per_row))

    @property
    def total_weight(self):
        """``S = sum_i s_i``."""
        if self.sample_weight is None:
            return float(self.n_samples)
        return float(np.sum(self.sample_weight))

    @property
    def n_weighing(self):
        """The number of rows of positive weight."""
        return (
            self.n_samples if self.sample_weight is None else np.count_nonzero(self.sample_weight)
        )

    def block(self, rows):
        """The block of a slice or an index array of rows."""
        if self.is_sparse and isinstance(rows, slice) and rows.step is None:
            X = self._run(rows.start, rows.stop)
        else:
            X = self.X[rows]
        if X.dtype != np.float64:
            X = X.astype(np.float64)
        y = None if self.y is None else self.y[rows]
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return Block(X, y, weight)

    def _run(self, first, last):
        """Consecutive rows of a sparse X, without the copy that a slice makes."""
        if (first, last) == (0, self.n_samples):
            return self.X
        begin, end = self.X.indptr[first], self.X.indptr[last]
        indptr = self.X.indptr[first : last + 1] - begin
        parts = self.X.data[begin:end], self.X.indices[begin:end], indptr
        return type(self.X)(parts, shape=(last - first, self.n_features))

    @cached_property
    def _only_block(self):
        """All rows, where they are few: kept, for iterations that take microseconds."""
        return self.block(slice(0, self.n_samples))

    def reduce(self, kernel, *args):
        """Fold ``kernel(block, *args)`` over all blocks, in order, on all workers.

        Of an argument that is :class:`PerRow` the kernel gets the rows of the block.
        """
        n_samples, block_rows = self.n_samples, self.block_rows
        n_blocks = -(-n_samples // block_rows)
        if n_blocks == 1:
            return kernel(self._only_block, *_of_rows(args, 0, n_samples))
        n_runs = min(n_blocks, _N_RUNS)

        def run(number):
            first, last = number * n_blocks // n_runs, (number + 1) * n_blocks // n_runs
            with np.errstate(all="ignore"):  # per thread; the objective looks at the result
                return self._unguarded(kernel, first, last, args)

        return fold(run, n_runs, kernel.combine, self.workers)

    def _unguarded(self, kernel, first, last, args):
        """Fold the blocks `first` to `last` - 1 on this thread."""
        total = None
        for number in range(first, last):
            begin = number * self.block_rows
            end = min(begin + self.block_rows, self.n_samples)
            part = kernel(self.block(slice(begin, end)), *_of_rows(args, begin, end))
            total = part if total is None else kernel.combine(total, part)
        return total

    def batches(self, generator, batch_size):
        """The mini-batches ``[X 1]`` of one epoch, in an order drawn from `generator`.

        Rows are gathered in chunks of the size of a block, by all workers, and sliced from there:
        the cost of gathering is paid once per chunk, not once per batch. A batch is good until the
        next is asked for: they share their memory, or the system would hand out new pages all the
        time.
        """
        order = generator.permutation(self.n_samples)
        chunk_rows = max(1, self.block_rows // batch_size) * batch_size
        memory = None if self.is_sparse else self._memory(min(chunk_rows, self.n_samples))
        for first in range(0, self.n_samples, chunk_rows):
            X, y, weight = self._gathered(order[first : first + chunk_rows], memory)
            for begin in range(0, X.shape[0], batch_size):
                end = begin + batch_size
                yield Block(
                    X[begin:end],
                    None if y is None else y[begin:end],
                    None if weight is None else weight[begin:end],
                )

    def _gathered(self, rows, memory):
        """The block ``[X 1]`` of an index array of rows, in memory that holds the ones."""
        y = None if self.y is None else self.y[rows]
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        if self.is_sparse:
            ones = np.ones((len(rows), 1))
            return Block(sparse.hstack([self.X[rows], ones], dtype=np.float64).tocsr(), y, weight)
        taken, bordered = memory
        n_parts = min(self.workers, len(rows))

        def gather(number):
            part = slice(number * len(rows) // n_parts, (number + 1) * len(rows) // n_parts)
            if self.X.flags.c_contiguous:
                # Into memory that is there already, and without looking at every index first.
                np.take(self.X, rows[part], axis=0, out=taken[part], mode="clip")
            else:
                taken[part] = self.X[rows[part]]
            bordered[part, :-1] = taken[part]
            return part.stop - part.start

        fold(gather, n_parts, operator.add, n_parts)
        return Block(bordered[: len(rows)], y, weight)

    def _memory(self, n_rows):
        """Room for rows of X as they are, and for ``[X 1]``, which holds its ones."""
        taken = np.empty((n_rows, self.n_features), dtype=self.X.dtype)
        return taken, np.ones((n_rows, self.n_features + 1))

    def subset(self, rows, factor):
        """The blocks of some rows, copied, their weights times `factor` (None for ones)."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        if factor is not None:
            weight = factor if weight is None else weight * factor
        y = None if self.y is None else self.y[rows]
        return RowBlocks(self._copied(rows), y, weight, self.workers)

    def _copied(self, rows):
        """Some rows of X, in memory of their own."""
        if self.is_sparse:
            return self.X[rows]
        if isinstance(rows, slice):
            return self.X[rows].copy()
        # take is twice as fast as an index; of another layout it would copy the whole.
        return np.take(self.X, rows, axis=0) if self.X.flags.c_contiguous else self.X[rows]

    def with_y(self, y, sample_weight=None):
        """The same rows with another y, and other weights if any are given."""
        other = copy.copy(self)
        other.y = y
        if sample_weight is not None:
            other.sample_weight = sample_weight
        vars(other).pop("_only_block", None)
        return other

    def sample(self, n_rows):
        """About `n_rows` evenly spaced rows as float64, and their weights."""
        step = max(1, self.n_samples // n_rows)
        return self.block(slice(None, None, step))


def _canonical(X):
    """A CSR matrix that stores no entry twice, as squares and shifts of entries need it."""
    if X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X
