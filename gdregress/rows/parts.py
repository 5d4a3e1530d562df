"""A design in two parts: columns nearly all of whose entries are the same, and the others.

One-hot columns in a dense array have an entry of 1 here and there, and standardised ones take two
values. With a the usual value of such a column, ``X = 1 a^T + E`` and E is sparse: in a frame with
shifts c and scales d

    x~ = e / d + o,    o = (a - c) / d,

so that products with the rows are products with E and with what is dense, and a rank-one
correction, as in tabmat's split and standardised matrices, which make glum fast. The usual values
are guessed from a sample; E has whatever differs from them in any row, so a wrong guess costs time
and no digits. Where c is the mean of a column far from zero, o is as small as E; elsewhere o is at
most as large as the rows themselves are beside their spread.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse

from .dense import DenseDesign, grams_work
from .design import MAX_COPY_BYTES, MAX_COPY_SHARE, Prices, as_float64, weigh
from .frame import Frame
from .sparse import SparseDesign, grams_of_pairs, pairs_work, runs_of_pairs, weighted_entries

__all__ = ["PartsDesign", "in_parts"]

# Numbers in an X that is worth a look, and the rows that are looked at.
_MIN_NUMBERS, _SAMPLE_ROWS = 2**19, 256
# More unusual entries than this, and the column is dense; what a sparse entry costs beside a dense
# one; and the share of the dense cost from which on two parts pay.
_MAX_SHARE, _SPARSE_COST, _MAX_COST = 0.3, 3.0, 0.5
# Bytes of rows that are weighted at once for a dense Gram matrix.
_SLAB_BYTES = 2**20
# Rows of a block at most: its products take the memory of the rows, but some verbs make them dense.
_MOST_ROWS = 2**16


class _Split(NamedTuple):
    """Which columns are in which part, and the usual values of the sparse ones."""

    dense: np.ndarray
    sparse: np.ndarray
    usual: np.ndarray  # of every column; those of the dense ones mean nothing


class PartsDesign(DenseDesign):
    """Rows in an array, with products in two parts; what has none of its own is dense.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        The rows as they came, or those that the rows were `taken` from.
    split : _Split
    numbers : ndarray of shape (n, n_dense)
        The dense columns, in float64.
    entries : CSR matrix of shape (n, n_sparse)
        The others, less their usual values.
    taken : ndarray of shape (n,), optional
        The indices of the rows in X, where these are only some.
    """

    prices = Prices(gradient=3.3, shared=0.8, product=2.0, as_dense=0.0, pair=3.0, more=1.0)

    def __init__(self, X, split, numbers, entries, frame=None, taken=None):
        self.frame = None if frame is None or frame.is_identity else frame
        self.n_rows, self.n_columns = len(numbers), X.shape[1]
        self._source, self._taken = X, taken
        self._split, self._numbers, self._entries = split, numbers, entries
        usual = split.usual[split.sparse]
        if self.frame is None:
            self._scale, self._offset, inner = 1.0, usual, None
        else:
            shift, scale = self.frame.shift, self.frame.scale
            self._scale = scale[split.sparse] if self.frame.is_scaled else 1.0
            self._offset = (usual - shift[split.sparse]) / self._scale
            inner = Frame(shift[split.dense], scale[split.dense])
        self._dense = DenseDesign(numbers, inner)
        self._is_offset = bool(self._offset.any())
        self._runs, self._framed = {}, None

    @cached_property
    def X(self):
        """The rows as they came; of those that were taken a copy, if ever it is asked for."""
        return self._source if self._taken is None else self._source[self._taken]

    @property
    def rows(self):
        return self._plain(slice(None)).rows

    def _plain(self, rows):
        """Some rows, without parts."""
        if self._taken is not None:
            rows = self._taken[rows]
        return DenseDesign(as_float64(self._source[rows]), self.frame)

    def in_frame(self, frame):
        """Kept, too, for the next pass in the same frame."""
        if frame.is_identity and self.frame is None:
            return self
        framed = self._framed
        if framed is None or framed.frame is not frame:
            own = self._source, self._split, self._numbers, self._entries
            framed = PartsDesign(*own, frame, self._taken)
            self._framed = framed
        return framed

    def part(self, begin, end):
        """Its parts are kept: to cut them costs more than a product with them."""
        run = self._runs.get((begin, end))
        if run is None:
            entries = SparseDesign(self._entries)._run(begin, end)
            rows = slice(begin, end)
            own = self._split, self._numbers[rows], entries, self.frame
            if self._taken is None:
                run = PartsDesign(self._source[rows], *own)
            else:
                run = PartsDesign(self._source, *own, self._taken[rows])
            self._runs[begin, end] = run
        return run

    def take(self, rows):
        """Their parts; as they came they are looked up where they are asked for."""
        taken = np.arange(self.n_rows)[rows] if self._taken is None else self._taken[rows]
        own = self._split, self._numbers[rows], self._entries[rows], self.frame
        return PartsDesign(self._source, *own, taken)

    def copied(self, rows):
        return self.take(rows)

    def times(self, theta):
        split, coef = self._split, theta[self._split.sparse]
        if not theta.any():
            return super().times(theta)
        inner = np.empty((len(split.dense) + 1, *theta.shape[1:]))
        inner[:-1] = theta[split.dense]
        inner[-1] = theta[-1]
        if self._is_offset:
            inner[-1] += np.tensordot(self._offset, coef, axes=1)
        z = self._dense.times(inner)
        coef = (coef.T / self._scale).T
        if coef[0].size == 1:
            z[:, 0, 0] += self._entries @ coef[:, 0, 0]
        else:
            z += (self._entries @ coef.reshape(len(coef), -1)).reshape(z.shape)
        return z

    def pull(self, r, s=None):
        r = weigh(r, s)
        inner = self._dense.pull(r)
        flat = r.reshape(-1) if r.size == len(r) else r.reshape(len(r), -1)
        pulled = (self._by_column @ flat).reshape(-1, *inner.shape[1:])
        pulled = (pulled.T / self._scale).T
        if self._is_offset:
            pulled += np.multiply.outer(self._offset, inner[-1])
        return self._joined(inner, pulled)

    def pull_squares(self, r, s=None):
        r = weigh(r, s)
        inner, flat = self._dense.pull_squares(r), r.reshape(len(r), -1)
        squares = (self._scaled_entries().power(2).T @ flat).T
        if self._is_offset:
            # x~^2 = e^2 / d^2 + 2 o e / d + o^2
            o, pulled = self._offset, (self._by_column @ flat).T / self._scale
            squares += 2.0 * o * pulled + o * o * flat.sum(axis=0)[:, None]
        return self._joined(inner, squares.T.reshape(-1, *inner.shape[1:]))

    def _scaled_entries(self):
        """``e / d``."""
        entries = self._entries
        if self.frame is None or not self.frame.is_scaled:
            return entries
        data = entries.data / self._scale[entries.indices]
        return type(entries)((data, entries.indices, entries.indptr), shape=entries.shape)

    def _joined(self, inner, outer):
        """Quantities of the columns from those of the parts; the last inner one is of the ones."""
        out = np.empty((self.n_columns + 1, *inner.shape[1:]))
        out[self._split.dense], out[self._split.sparse], out[-1] = inner[:-1], outer, inner[-1]
        return out

    @cached_property
    def _by_column(self):
        """The transpose of the entries, a CSR matrix."""
        return self._entries.T.tocsr()

    def gram(self, s=None):
        if self._gram_is_dense:
            return self._over_slabs(DenseDesign.gram, s)
        split, scale, o = self._split, self._scale, self._offset
        s = np.ones(self.n_rows) if s is None else s
        inner, total = self._dense.gram(s), s.sum()
        own = (self._by_column @ weighted_entries(self._entries, s)).toarray()
        own, pulled = (own / scale).T / scale, (self._by_column @ s) / scale
        if self._is_offset:
            # x~ x~^T = e e^T / d d^T + o e^T / d + e o^T / d + o o^T
            crossed = np.outer(o, pulled + 0.5 * total * o)
            own += crossed
            own += crossed.T
        out = np.empty((self.n_columns + 1, self.n_columns + 1))
        border = np.append(split.dense, self.n_columns)
        out[np.ix_(border, border)] = inner
        out[np.ix_(split.sparse, split.sparse)] = own
        if len(split.dense):
            crossed = (self._by_column @ weigh(self._dense.rows, s)).T / scale
            crossed += np.outer(inner[:-1, -1], o)
            out[np.ix_(split.dense, split.sparse)] = crossed
            out[np.ix_(split.sparse, split.dense)] = crossed.T
        out[-1, split.sparse] = out[split.sparse, -1] = pulled + total * o
        return out

    def grams(self, weights):
        """With ``x~ = e / d + o``, from sums of ``e e^T``, of ``e b^T`` and of ``b b^T``, b being
        the dense columns and the ones."""
        in_parts, dense = self._grams_work(weights.shape[1])
        if in_parts >= dense:
            return self._over_slabs(DenseDesign.grams, weights)
        weights = np.ascontiguousarray(weights)
        split, o = self._split, self._offset
        scale = np.broadcast_to(self._scale, o.shape)
        inner = self._dense.grams(weights)
        own = grams_of_pairs(self._entries, weights) / scale / scale[:, None]
        crossed = self._crossed(weights) / scale[:, None]
        # sum (e / d + o)(e / d + o)^T = sum e e^T / d d^T + e o^T / d + o (e / d + o)^T
        own += crossed[:, :, -1:] * o
        crossed += o[:, None] * inner[:, -1:]
        own += o[:, None] * crossed[:, None, :, -1]
        grams = np.empty((weights.shape[1], self.n_columns + 1, self.n_columns + 1))
        border = np.append(split.dense, self.n_columns)
        grams[:, border[:, None], border] = inner
        grams[:, split.sparse[:, None], split.sparse] = own
        grams[:, split.sparse[:, None], border] = crossed
        grams[:, border[:, None], split.sparse] = crossed.transpose(0, 2, 1)
        return grams

    def _crossed(self, weights):
        """``sum_i w_im e_i b_i^T`` of every weight, from the products of each entry with b."""
        size, n_sparse = len(self._split.dense) + 1, len(self._split.sparse)
        sums = np.zeros((n_sparse * size, weights.shape[1]))
        for run in runs_of_pairs(self.n_rows, size * self._entries.nnz / max(1, self.n_rows)):
            entries, dense = self._entries[run], self._dense.rows[run]
            bordered = np.ones((len(dense), size))
            bordered[:, :-1] = dense
            rows = np.repeat(np.arange(len(dense)), np.diff(entries.indptr))
            products = entries.data[:, None] * bordered[rows]
            places = size * entries.indices.astype(np.int64)[:, None] + np.arange(size)
            begin = size * entries.indptr.astype(np.int64)
            products = products.ravel(), places.ravel(), begin
            shape = len(dense), n_sparse * size
            sums += sparse.csr_matrix(products, shape=shape).T @ weights[run]
        return sums.reshape(n_sparse, size, -1).transpose(2, 0, 1)

    def grams_work(self, n_weights):
        return min(self._grams_work(n_weights))

    def _grams_work(self, n_weights):
        """In parts, and with all columns dense."""
        n_dense, stored = len(self._split.dense) + 1, self._entries.nnz / max(1, self.n_rows)
        n_pairs = stored * (n_dense + 0.5 * (stored + 1.0))
        in_parts = grams_work(n_dense, n_weights) + pairs_work(n_pairs, n_weights)
        return in_parts, super().grams_work(n_weights)

    def statistics(self, share=None):
        """Entries that are not stored are the usual value."""
        split, inner = self._split, self._dense.statistics(share)
        low, high, mean, spread = SparseDesign(self._by_column.T).statistics(share)
        usual = split.usual[split.sparse]
        outer = usual + low, usual + high, usual + mean, spread
        found = np.empty((4, self.n_columns))
        found[:, split.dense], found[:, split.sparse] = inner, outer
        return tuple(found)

    def usual(self):
        usual = self._split.usual.copy()
        usual[self._split.dense] = self._dense.usual()
        return usual

    def n_unusual(self, usual):
        if not self._knows(self._split.sparse, usual):
            return super().n_unusual(usual)
        dense, counts = self._split.dense, np.empty(self.n_columns, dtype=np.intp)
        counts[dense] = self._dense.n_unusual(usual[dense])
        counts[self._split.sparse] = SparseDesign(self._entries).n_unusual(None)
        return counts

    def unusual(self, columns, usual):
        if not self._knows(columns, usual):
            return super().unusual(columns, usual)
        places = np.searchsorted(self._split.sparse, columns)
        return SparseDesign(self._entries).unusual(places, None)

    def _knows(self, columns, usual):
        """Whether the entries of some columns are beside values that are usual."""
        is_usual = usual == self._split.usual
        is_usual[self._split.dense] = False
        return bool(is_usual[columns].all())

    @property
    def n_stored(self):
        return self._numbers.size + self._entries.nnz

    @property
    def slab_rows(self):
        return max(1, _SLAB_BYTES // (8 * self.n_columns))

    def rows_in(self, n_bytes):
        entries = 12 * self._entries.nnz // max(1, self.n_rows)
        # As of sparse rows: a block of its own costs much.
        return min(4 * n_bytes // (entries + 8 * self._numbers.shape[1] + 8), _MOST_ROWS)

    @property
    def _gram_is_dense(self):
        """Whether BLAS is sooner with all columns, by the costs of ``SparseDesign``."""
        n_dense, p = len(self._split.dense), self.n_columns
        stored = self._entries.nnz / max(1, self.n_rows)
        in_parts = 6.0 * stored**2 + n_dense * (4.0 + n_dense / 45.0 + 3.0 * stored)
        return p * (4.0 + p / 45.0) < in_parts

    def _over_slabs(self, verb, s):
        """A sum over the rows, by a verb of dense ones."""
        total = 0.0
        for begin in range(0, self.n_rows, self.slab_rows):
            rows = slice(begin, begin + self.slab_rows)
            total = total + verb(self._plain(rows), None if s is None else s[rows])
        return total


class _NotAsThought(Exception):
    """Rows that are not like the sample."""


def _places(differs):
    """``np.flatnonzero``, twice as fast where few are true: eight at a time are looked at first."""
    flat = differs.reshape(-1)
    n_whole = len(flat) // 8 * 8
    words = flat[:n_whole].view(np.uint64)
    some = np.flatnonzero(words != 0)
    place = np.flatnonzero(words[some].view(bool))
    place = 8 * some[place // 8] + place % 8
    return np.append(place, n_whole + np.flatnonzero(flat[n_whole:]))


class _Entries:
    """Of each block the dense columns, and what differs from the usual values of the others."""

    def __init__(self, split, most):
        self.split, self.most = split, most

    def __call__(self, block):
        X, split = block.design.X, self.split
        differs = split.usual != X
        differs[:, split.dense] = False
        flat = _places(differs)
        if len(flat) > self.most * len(X):
            raise _NotAsThought
        rows = flat // X.shape[1]
        columns = flat - rows * X.shape[1]
        # Of memory in this order a number is found by where it is.
        entries = X.ravel()[flat] if X.flags.c_contiguous else X[rows, columns]
        entries = entries - split.usual[columns]
        place = np.empty(X.shape[1], dtype=np.int32)
        place[split.sparse] = np.arange(len(split.sparse))
        counts = np.bincount(rows, minlength=len(X))
        return [(np.take(X, split.dense, axis=1), counts, place[columns], entries)]

    @staticmethod
    def combine(total, part):
        return total + part


def in_parts(blocks, *, least_numbers=_MIN_NUMBERS):
    """The same blocks with a design in two parts, where that pays and is no large copy.

    An X of fewer than `least_numbers` is left as it is.
    """
    split, stored = _guess(blocks, least_numbers)
    if split is None:
        return blocks
    n_bytes = blocks.n_samples * (8 * len(split.dense) + 24 * stored)  # and the transpose
    if n_bytes > max(MAX_COPY_BYTES, MAX_COPY_SHARE * blocks.X.nbytes):
        return blocks
    plain = blocks.in_frame(Frame.identity(blocks.n_features))
    try:
        found = plain.reduce(_Entries(split, max(1.0, 1.5 * stored)))
    except _NotAsThought:
        return blocks
    numbers, counts, columns, entries = (np.concatenate(part) for part in zip(*found, strict=True))
    indptr = np.append(0, np.cumsum(counts)).astype(np.int32)
    shape = blocks.n_samples, len(split.sparse)
    entries = sparse.csr_matrix((entries, columns, indptr), shape=shape)
    parts = blocks.of_design(PartsDesign(blocks.X, split, numbers, entries))
    more = parts.design.rows_in(_SLAB_BYTES) / max(1, blocks.design.rows_in(_SLAB_BYTES))
    parts.block_rows = max(blocks.block_rows, min(int(more * blocks.block_rows), _MOST_ROWS))
    return parts


def _guess(blocks, least_numbers):
    """The split of the columns that a sample suggests, or None, and the entries of a row."""
    n_samples, n_features = blocks.n_samples, blocks.n_features
    if not blocks.stores_zeros or n_samples * n_features < least_numbers:
        return None, 0.0
    sample = as_float64(blocks.X[:: max(1, n_samples // _SAMPLE_ROWS)])
    usual = np.sort(sample, axis=0)[len(sample) // 2]
    share = (sample != usual).mean(axis=0)
    rare = share <= _MAX_SHARE
    stored = float(share[rare].sum())
    cost = np.count_nonzero(~rare) + _SPARSE_COST * stored
    if not rare.any() or cost > _MAX_COST * n_features:
        return None, 0.0
    return _Split(np.flatnonzero(~rare), np.flatnonzero(rare), usual), stored
