"""The linear predictor of a fitted estimator at new rows."""

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from ._checks import check_namespace
from ._reading import read_features

__all__ = ["linear_predictor"]


def linear_predictor(estimator, X):
    """``X W + b``, shape (n_samples, n_outputs), in the dtype of the coefficients and X."""
    check_is_fitted(estimator, "coef_")
    check_namespace(estimator, X=X)
    X = read_features(estimator, X, "X", accept_sparse=["csr", "csc"], finite=True)
    z = _product(estimator, X)
    if z.dtype == np.float32 and not np.isfinite(z).all():
        z = _product(estimator, X.astype(np.float64))  # terms may overflow where their sum does not
    if not np.isfinite(z).all():
        raise ValueError(
            f"The predictions of {type(estimator).__name__} overflow {z.dtype}; X has values far "
            f"outside those it was fitted on, the largest of size {abs(X).max():.3g}."
        )
    return z


def _product(estimator, X):
    coef = estimator.coef_.reshape(-1, estimator.n_features_in_)
    with np.errstate(all="ignore"):
        product = X @ coef.T
        dense = product.toarray() if sparse.issparse(product) else product
        return dense + estimator.intercept_
