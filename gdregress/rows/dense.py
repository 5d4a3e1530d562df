"""Rows in an array, by what is done with them; see ``design``."""

import numpy as np

from .batches import gatherer_of_arrays
from .design import Design, Prices

__all__ = ["DenseDesign", "grams_work", "units"]

# Products of pairs of columns that are made at a time: 4 MiB.
_PRODUCTS = 2**19


class DenseDesign(Design):
    """Rows in an array; see ``design``."""

    stores_zeros = True
    prices = Prices(gradient=0.8, shared=0.8, product=0.25, as_dense=0.0, pair=np.inf, more=0.0)

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

    @staticmethod
    def _gram(Z):
        return _times(Z.T, Z)  # BLAS sees one operand twice: one triangle (syrk)

    @staticmethod
    def _weighted(rows, weight):
        return rows * weight[:, None]

    def _squares(self):
        return self.rows * self.rows

    def moments(self, s=None):
        if s is not None:
            return super().moments(s)
        # Without a copy of the squares, a fourth of the time.
        squares = np.einsum("ij,ij->j", self.rows, self.rows)
        return np.stack([np.dot(np.ones(self.n_rows), self.rows), squares])

    def grams(self, weights):
        """Of many weights from the products of all pairs of columns, which serve them all."""
        size, n_weights = self.n_columns + 1, weights.shape[1]
        if _each_alone(size, n_weights) <= _by_products(size, n_weights):
            return super().grams(weights)
        n_pairs = size * (size + 1) // 2
        n_rows = max(64, _PRODUCTS // n_pairs)
        total = np.zeros((n_pairs, n_weights))
        for begin in range(0, self.n_rows, n_rows):
            run = slice(begin, begin + n_rows)
            total += np.dot(_pair_products(self.rows[run]), weights[run])
        grams, (first, second) = np.empty((n_weights, size, size)), np.triu_indices(size)
        grams[:, first, second] = grams[:, second, first] = total.T
        return grams

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

    def grams_work(self, n_weights):
        return grams_work(self.n_columns + 1, n_weights)

    @property
    def slab_rows(self):
        return self.n_rows

    @property
    def n_stored(self):
        return self.X.size

    def row_gram_work(self):
        # Half of a symmetric matrix, and a sixth of the time, for a product reads from memory.
        return self.n_rows**2 * self.n_columns / 12

    def row_gram(self, mean, scale=None):
        gram, n_columns = np.zeros((self.n_rows, self.n_rows)), max(1, _PRODUCTS // self.n_rows)
        for begin in range(0, self.n_columns, n_columns):
            run = slice(begin, begin + n_columns)
            columns = self.rows[:, run] - mean[run]
            if scale is not None:
                columns *= scale[run]
            gram += np.dot(columns, columns.T)
        return gram

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


def grams_work(size, n_weights):
    """What Gram matrices of so many dense columns take, in nanoseconds a row."""
    return min(_each_alone(size, n_weights), _by_products(size, n_weights))


def _each_alone(size, n_weights):
    return n_weights * size * (2.4 + size / 45.0)


def _by_products(size, n_weights):
    return 0.5 * size * (size + 1) * (2.1 + n_weights / 31.0)


def _pair_products(rows):
    """``x_ij x_ik`` of all columns j <= k of ``x = [x~ 1]``, shape (n_pairs, n)."""
    size = rows.shape[1] + 1
    columns = np.ones((size, len(rows)))
    columns[:-1] = rows.T
    products, end = np.empty((size * (size + 1) // 2, len(rows))), 0
    for j in range(size):
        begin, end = end, end + size - j
        np.multiply(columns[j:], columns[j], out=products[begin:end])
    return products


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
