"""Mini-batches: a few rows ``[X 1]``, and the epochs that go through all rows in such batches."""

from typing import Any, NamedTuple

import numpy as np

__all__ = ["epoch"]


def _dot(A, B):
    """``A B``, of a dense A in the fewest calls."""
    return np.dot(A, B) if type(A) is np.ndarray else A @ B


class Batch(NamedTuple):
    """Some rows in the original columns, with their column of ones.

    On 32 rows, calling NumPy costs more than the arithmetic: one model has no axis of models here.

    Parameters
    ----------
    rows : ndarray or CSR matrix of shape (n, n_features + 1)
        ``A = [X 1]``.
    y : ndarray of shape (n, n_columns) or None
    sample_weight : ndarray of shape (n,) or None
    """

    rows: Any
    y: Any
    sample_weight: Any

    def times(self, theta):
        """``A theta``, shape (n, K) of one model, else (n, M, K)."""
        if theta.shape[1] == 1:
            return _dot(self.rows, theta[:, 0])
        return _dot(self.rows, theta.reshape(len(theta), -1)).reshape(-1, *theta.shape[1:])

    def pull(self, r):
        """``A^T r``, shape (n_features + 1, M, K), of r in the shape of :meth:`times`."""
        if r.ndim == 2:
            return _dot(self.rows.T, r)[:, None]
        return _dot(self.rows.T, r.reshape(len(r), -1)).reshape(-1, *r.shape[1:])


def epoch(blocks, generator, batch_size):
    """The mini-batches of one epoch over row blocks, in an order drawn from `generator`.

    Rows are gathered in chunks of the size of a block, by all workers, and sliced from there: the
    cost of gathering is paid once per chunk, not once per batch. A batch is good until the next is
    asked for: they share their memory.
    """
    y, weight = blocks.y, blocks.sample_weight
    order = generator.permutation(blocks.n_samples)
    chunk_rows = max(1, blocks.block_rows // batch_size) * batch_size
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
