"""The linear predictor of a fitted estimator at new rows, and how well it predicts."""

import numpy as np
from scipy import sparse
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from ._checks import check_namespace, normalised_weights
from ._reading import read_features
from .solvers.least_squares.found import extreme_units

__all__ = ["linear_predictor", "r_squared"]


def linear_predictor(estimator, X):
    """``X W + b``, shape (n_samples, n_outputs), in the dtype of the coefficients and X."""
    if "coef_" not in vars(estimator):
        check_is_fitted(estimator, "coef_")  # which raises
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


def r_squared(y, predicted, sample_weight):
    """R^2 of predictions, from targets in units in which their squares stay within float64."""
    unit = extreme_units(y.reshape(len(y), -1))
    if sample_weight is not None:
        sample_weight = normalised_weights(np.asarray(sample_weight, dtype=np.float64))
    with np.errstate(over="ignore"):
        if unit is not None:
            y, predicted = y / unit, np.clip(predicted / unit, -1e300, 1e300)
        return r2_score(y, predicted, sample_weight=sample_weight)
