"""A design of few rows: its columns, that of ones among them, one behind the other.

On a table of some hundred rows NumPy takes longer to be called than to multiply, and SciPy longer
still. Here a verb of the design is one product with the matrix ``[X~ 1]^T``, a copy that is kept
for all iterations, zeros included.
"""

from functools import cached_property

import numpy as np

from .dense import DenseDesign
from .design import as_float64, weigh
from .sparse import SparseDesign

__all__ = ["FewRows", "of_few_rows"]

# Numbers in an X that is worth a copy: 512 KiB.
_MOST_NUMBERS = 2**16


class FewRows(DenseDesign):
    """Rows in an array, with products in one call; see the module."""

    _kept = None

    @cached_property
    def _bordered_columns(self):
        """``[X~ 1]^T``."""
        columns = np.empty((self.n_columns + 1, self.n_rows))
        columns[:-1] = self.rows.T
        columns[-1] = 1.0
        return columns

    def _memory(self, *shape):
        """An array of rows of this shape, the same at every call: products need no new pages."""
        if self._kept is None or self._kept.shape[:-1] != shape:
            self._kept = np.empty((*shape, self.n_rows))
        return self._kept

    def take(self, rows):
        return DenseDesign(as_float64(self.X[rows]), self.frame)

    def times(self, theta):
        if theta[-1, 0, 0] == 0.0 and not theta.any():
            return super().times(theta)
        n_models, n_outputs = theta.shape[1:]
        if n_models * n_outputs == 1:
            return theta.reshape(-1).dot(self._bordered_columns)[:, None, None]
        z = theta.reshape(len(theta), -1).T.dot(self._bordered_columns)
        return z.reshape(n_models, n_outputs, -1).transpose(2, 0, 1)

    def pull(self, r, s=None):
        r = weigh(r, s)
        flat = r.reshape(-1) if r.size == len(r) else r.reshape(len(r), -1)
        return self._bordered_columns.dot(flat).reshape(-1, *r.shape[1:])

    def moments(self, s=None):
        if s is not None:
            return super().moments(s)
        # At theta = 0, where all rows bend alike, the same matrix is the first Hessian.
        gram, moments = self._plain_gram, np.empty((2, self.n_columns))
        moments[0], moments[1] = gram[-1, :-1], gram.diagonal()[:-1]
        return moments

    @cached_property
    def _plain_gram(self):
        """``[X~ 1]^T [X~ 1]``."""
        return self._bordered_columns.dot(self._bordered_columns.T)

    def gram(self, s=None):
        if s is None:
            return self._plain_gram.copy()
        columns = self._bordered_columns
        weighted = np.multiply(columns, s, out=self._memory(len(columns)))
        return weighted.dot(columns.T)

    def grams(self, weights):
        columns, n_weights = self._bordered_columns, weights.shape[1]
        if n_weights * columns.size > _MOST_NUMBERS:
            return super().grams(weights)
        weighted = self._memory(n_weights, len(columns))
        np.multiply(weights.T[:, None], columns, out=weighted)
        grams = weighted.reshape(-1, self.n_rows).dot(columns.T)
        return grams.reshape(n_weights, len(columns), -1)


def of_few_rows(blocks):
    """The same blocks with a design of few rows, where X would take little memory as an array."""
    design = blocks.design
    if type(design) not in {DenseDesign, SparseDesign}:
        return blocks
    if design.n_rows * design.n_columns > _MOST_NUMBERS:
        return blocks
    return blocks.of_design(FewRows(design.X if design.stores_zeros else design.X.toarray()))
