"""Runs of rows over arrays, memory maps and sparse matrices, and the one reduction over them.

Block boundaries and the order of the fold depend on the shape alone, never on the number of
workers, so one thread, two threads and a memory map give the same bits.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .batches import epoch
from .containers import design_of
from .frame import Frame
from .kernels import LinearPredictor, PulledBack
from .threads import fold

__all__ = ["SIZE", "Block", "BlockSize", "PerRow", "RowBlocks"]


@dataclass
class BlockSize:
    """How rows are cut into blocks, and blocks into runs.

    A block is read from memory once for X theta and again, from cache, for X^T r. Smaller ones stay
    in a nearer cache, but two threads that call NumPy that often wait for each other's GIL. Of
    several outputs BLAS multiplies matrices, which read as fast as that cache gives, until they are
    so many that it is arithmetic which takes the time: dense rows that one block does not hold are
    cut into smaller ones.
    """

    n_bytes: int = 2**22
    n_bytes_of_several: int = 3 * 2**19
    several: range = range(2, 17)
    least_rows: int = 32  # the cost of a call is small beside that of its arithmetic
    n_runs: int = 32  # handed out by a reduction; each sums its own blocks first


SIZE = BlockSize()
# glibc gives freed memory back to the system, to be filled with zeros again at the next pass, until
# it has seen a piece as large as this come and go (mallopt(3), M_MMAP_THRESHOLD); pages untouched.
np.empty(SIZE.n_bytes, dtype=np.uint8)


class Block(NamedTuple):
    """A run of rows: their design, y of shape (n, n_columns) or None, weights (n,) or None."""

    design: Any
    y: Any
    sample_weight: Any


class PerRow(NamedTuple):
    """An argument of a reduction with one entry for each row: a block gets those of its rows."""

    values: np.ndarray


def _of_rows(args, begin, end):
    """The arguments for a run of rows."""
    if PerRow not in map(type, args):
        return args
    return [a.values[begin:end] if type(a) is PerRow else a for a in args]


class RowBlocks:
    """The rows of X, y and the weights, in blocks of float64 that fit the cache.

    Parameters
    ----------
    X : ndarray, CSR matrix of shape (n_samples, n_features), or a design of such
        Any real dtype, strides and memory; never copied as a whole.
    y : ndarray of shape (n_samples, n_columns) or None
    sample_weight : ndarray of shape (n_samples,) or None
        Already times the class weights; None means ones.
    workers : int
        Number of threads of a reduction.
    n_outputs : int, default=1
        How many the rows are multiplied for at a time: it decides the size of the blocks.
    block_bytes, block_rows, n_runs : int, optional
        About the size of a block, its number of rows, and the number of runs of blocks; those of
        ``SIZE`` by default.

    Attributes
    ----------
    frame : Frame
        The coordinates of the columns that blocks are given in; see :meth:`in_frame`.
    """

    def __init__(
        self,
        X,
        y=None,
        sample_weight=None,
        workers=1,
        *,
        n_outputs=1,
        block_bytes=None,
        block_rows=None,
        n_runs=None,
    ):
        self.design = design_of(X)
        self.y = y
        self.sample_weight = sample_weight
        self.workers = workers
        self.n_samples, self.n_features = self.design.n_rows, self.design.n_columns
        self.frame = Frame.identity(self.n_features)
        self._kept, self._whole = {}, None
        if block_rows is None:
            usual = block_bytes is None
            rows = self._usual_rows(n_outputs) if usual else self.design.rows_in(block_bytes)
            block_rows = max(SIZE.least_rows, rows)
        self.block_rows = block_rows
        self.n_runs = SIZE.n_runs if n_runs is None else n_runs

    def _usual_rows(self, n_outputs):
        """How many rows a block has, by ``SIZE``."""
        rows = self.design.rows_in(SIZE.n_bytes)
        is_cut = self.stores_zeros and rows < self.n_samples
        if is_cut and n_outputs in SIZE.several:
            rows = self.design.rows_in(SIZE.n_bytes_of_several)
        return min(rows, self.design.rows_apart(n_outputs))

    @property
    def X(self):
        """The rows as they came."""
        return self.design.X

    @property
    def n_blocks(self):
        return -(-self.n_samples // self.block_rows)

    @property
    def stores_zeros(self):
        """Whether rows take as many numbers as X has columns; see ``design``."""
        return self.design.stores_zeros

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
        """The block of a slice or an index array of rows, in the frame."""
        if isinstance(rows, slice) and rows.step is None:
            design = self.design.part(rows.start, rows.stop)
        else:
            design = self.design.take(rows)
        y = None if self.y is None else self.y[rows]
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return Block(self.frame.applied(design), y, weight)

    def _run(self, begin, end):
        """A block of the reduction, whose design may be kept for the next pass."""
        design = self._kept.get(begin)
        if design is None:
            design = self.frame.applied(self.design.part(begin, end))
            if self._keeps:
                self._kept[begin] = design
        y = None if self.y is None else self.y[begin:end]
        weight = None if self.sample_weight is None else self.sample_weight[begin:end]
        return Block(design, y, weight)

    @cached_property
    def _keeps(self):
        """Whether designs are: of a single block, or of more where the design says so."""
        return self.n_blocks == 1 or self.design.keeps_blocks(self.frame, self.n_blocks)

    def reduce(self, kernel, *args):
        """Fold ``kernel(block, *args)`` over all blocks, in order, on all workers.

        Of an argument that is :class:`PerRow` the kernel gets the rows of the block.
        """
        n_blocks = self.n_blocks
        if n_blocks == 1:
            if self._whole is None:
                self._whole = self._run(0, self.n_samples)
            return kernel(self._whole, *_of_rows(args, 0, self.n_samples))
        n_runs = min(n_blocks, self.n_runs)

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
            part = kernel(self._run(begin, end), *_of_rows(args, begin, end))
            total = part if total is None else kernel.combine(total, part)
        return total

    def times(self, theta):
        """``[X~ 1] theta`` of all rows, shape (n_samples, n_models, n_outputs)."""
        parts = self.reduce(LinearPredictor(), theta)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def pull(self, r):
        """``[X~ 1]^T r`` of all rows, of row quantities r; no weights."""
        return self.reduce(PulledBack(), PerRow(r))

    def batches(self, generator, batch_size):
        """The mini-batches of one epoch, in the original columns; see ``batches``."""
        return epoch(self, generator, batch_size)

    def subset(self, rows, factor):
        """The blocks of some rows, copied, their weights times `factor` (None for ones)."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        if factor is not None:
            weight = factor if weight is None else weight * factor
        y = None if self.y is None else self.y[rows]
        some = RowBlocks(self.design.copied(rows), y, weight, self.workers)
        some.frame = self.frame
        return some

    def _alike(self):
        """The same rows, to be known in another way."""
        other = object.__new__(RowBlocks)
        vars(other).update(vars(self))
        other._whole = None
        return other

    def in_frame(self, frame):
        """The same rows, whose blocks are given in a frame."""
        if frame is self.frame:
            return self
        other = self._alike()
        other.frame = frame
        other._forget()
        return other

    def of_design(self, design):
        """The same rows, known by another design."""
        other = self._alike()
        other.design = design
        other._forget()
        return other

    def _forget(self):
        self._kept = {}
        vars(self).pop("_keeps", None)

    def for_dense_rows(self):
        """The same rows, in blocks small enough for whoever makes them dense."""
        rows = max(SIZE.least_rows, SIZE.n_bytes // (8 * self.n_features))
        if self.block_rows <= rows:
            return self
        return RowBlocks(
            self.design, self.y, self.sample_weight, self.workers, block_rows=rows
        ).in_frame(self.frame)

    def with_y(self, y, sample_weight=None):
        """The same rows with another y, and other weights if any are given."""
        other = self._alike()
        other.y = y
        if sample_weight is not None:
            other.sample_weight = sample_weight
        return other

    def sample(self, n_rows):
        """About `n_rows` evenly spaced rows as float64, and their weights."""
        step = max(1, self.n_samples // n_rows)
        return self.block(slice(None, None, step))
