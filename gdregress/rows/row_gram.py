"""``X X^T`` of sparse rows: what a fit with more columns than rows works with."""

import numpy as np

__all__ = ["row_gram", "row_gram_work"]

# A dense multiplication costs this share of one in a product of sparse matrices.
_DENSE_SPEED = 100
_SLAB = 1024


def row_gram_work(X):
    """What ``X X^T`` of a CSR matrix takes, in multiplications of a product with X."""
    n_samples, n_features = X.shape
    pairs = float(np.sum(np.bincount(X.indices, minlength=n_features).astype(np.float64) ** 2))
    return min(pairs, n_samples**2 * n_features / _DENSE_SPEED)


def row_gram(X, mean):
    """``(X - 1 mean^T)(X - 1 mean^T)^T`` of a CSR matrix, dense, (n_samples, n_samples)."""
    n_samples, n_features = X.shape
    columns = X.T.tocsr()
    gram = np.zeros((n_samples, n_samples))
    if row_gram_work(X) * _DENSE_SPEED >= n_samples**2 * n_features:
        for begin in range(0, n_features, _SLAB):
            slab = columns[begin : begin + _SLAB].toarray()
            gram += np.dot(slab.T, slab)
    else:
        for begin in range(0, n_samples, _SLAB):
            gram[begin : begin + _SLAB] = (X[begin : begin + _SLAB] @ columns).toarray()
    # (x_i - mean)^T (x_j - mean) = x_i^T x_j - x_i^T mean - x_j^T mean + mean^T mean
    along = X @ mean - 0.5 * float(mean @ mean)
    gram -= along[:, None]
    gram -= along
    return gram
