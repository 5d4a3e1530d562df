"""Rows in an array, by what is done with them; see ``design``."""

import numpy as np

from .batches import gatherer_of_arrays
from .design import Design, Prices

__all__ = ["DenseDesign", "units"]


class DenseDesign(Design):
    """Rows in an array; see ``design``."""

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
            return _times(self.rows, coef)
        return _times(coef.T, self.rows.T)

    @staticmethod
    def _dot(A, B):
        # With the few columns of B as its rows, BLAS reads A as it lies in memory: up to twice as
        # fast as the product as it stands.
        return _times(A, B) if B.ndim == 1 else _times(B.T, A.T).T

    _cross = staticmethod(lambda A, B: np.dot(A.T, B))

    @staticmethod
    def _gram(Z):
        return _times(Z.T, Z)  # BLAS sees one operand twice: one triangle (syrk)

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
        unit = units(low, high)
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
        return np.nonzero(self.X[:, columns] != usual[columns])

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


def _times(A, B):
    """``A B``. np.dot releases the GIL where @ may not, but of rows cut out of columns that lie in
    memory one after the other, as those of a data frame do, it makes products without BLAS.
    """
    return np.matmul(A, B) if _is_cut(A) or _is_cut(B) else np.dot(A, B)


def _is_cut(A):
    return not A.flags.forc and A.itemsize in A.strides


def units(low, high):
    """Powers of two in which squares of the columns neither overflow nor vanish."""
    exponent = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
    return np.ldexp(1.0, np.clip(exponent, -1022, 1022))
