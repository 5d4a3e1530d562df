"""What X may be kept in, and the design that knows what to do with it."""

import numpy as np
from scipy import sparse

from .dense import DenseDesign
from .design import MAX_COPY_BYTES, Design
from .sparse import SparseDesign

__all__ = ["design_of", "stacked"]


def design_of(X):
    """The design of all rows of X, in the columns as they are; X may be one."""
    if isinstance(X, Design):
        return X
    return SparseDesign(_canonical(X)) if sparse.issparse(X) else DenseDesign(np.asarray(X))


def stacked(above, below):
    """Rows and more rows, X as it may come: sparse where both are."""
    if sparse.issparse(above) and sparse.issparse(below):
        return sparse.vstack([above, below], format="csr")
    parts = [part.toarray() if sparse.issparse(part) else part for part in (above, below)]
    return np.vstack(parts)


def _canonical(X):
    """A CSR matrix that stores no entry twice, as squares and shifts of entries need it."""
    if X.has_canonical_format:
        return X
    # To transpose it twice sorts its entries in half the time, and takes one copy more.
    is_unsorted = not X.has_sorted_indices and X.data.nbytes <= MAX_COPY_BYTES
    X = X.tocsc().tocsr() if is_unsorted else X.copy()
    X.sum_duplicates()
    return X
