"""Checks of what `fit` and `partial_fit` are given: weights, labels, starts, validation rows.

Every message names the estimator, the argument, the value and the remedy.
"""

from numbers import Real

import numpy as np
from sklearn.utils import check_array, check_consistent_length

__all__ = [
    "check_initial_theta",
    "check_last_theta",
    "check_sample_weight",
    "check_validation_arguments",
    "encode_labels",
    "normalised_weights",
]


def check_sample_weight(sample_weight, X, name="sample_weight"):
    """The weights as float64 (n_samples,), or None; scikit-learn's own words for what is wrong."""
    if sample_weight is None:
        return None
    n_samples = X.shape[0]
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples, float(sample_weight))
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name=name)
    if weight.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar, got {weight.ndim}D array. Expected either "
            f"a scalar value or a 1D array of length {n_samples}."
        )
    if weight.shape != (n_samples,):
        raise ValueError(f"{name}.shape == {weight.shape}, expected {(n_samples,)}!")
    if np.any(weight < 0):
        raise ValueError(
            f"Negative values in data passed to `{name}`; the smallest is {weight.min()!r}."
        )
    if not np.any(weight):
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


def normalised_weights(weight):
    """The weights times a power of two where their sum would leave the range of float64.

    Objectives are weighted means: a common factor changes nothing, but 1 / S of subnormal
    weights overflows.
    """
    if weight is None:
        return None
    largest = float(weight.max())
    if 1e-150 < largest < 1e150:
        return weight
    return np.ldexp(weight, -int(np.frexp(largest)[1]))


def encode_labels(y):
    """The distinct labels, sorted, and the code of each row."""
    if y.dtype.kind in "bifu" and y.size:
        # Two numeric labels, the common case, without sorting.
        low, high = y.min(), y.max()
        if low == high:
            return np.array([low]), np.zeros(len(y), dtype=np.intp)
        upper = y == high
        if np.all(upper | (y == low)):
            return np.array([low, high]), upper.view(np.uint8)
    return np.unique(y, return_inverse=True)


def check_initial_theta(estimator, shape, coef_init, intercept_init):
    """theta of shape (n_features + 1, 1, n_outputs) from a user's start; zero by default.

    `shape` is (n_features, n_outputs); ``coef_init`` has the shape of ``coef_``.
    """
    n_features, n_outputs = shape
    theta = np.zeros((n_features + 1, 1, n_outputs))
    if coef_init is not None:
        coef = check_array(coef_init, ensure_2d=False, dtype=np.float64, input_name="coef_init")
        allowed = {(n_outputs, n_features)} | ({(n_features,)} if n_outputs == 1 else set())
        if coef.shape not in allowed:
            raise ValueError(
                f"'coef_init' of {type(estimator).__name__} must have the shape of coef_, "
                f"{(n_outputs, n_features)}; got shape {coef.shape}."
            )
        theta[:-1, 0] = coef.reshape(n_outputs, n_features).T
    if intercept_init is not None:
        intercept = np.asarray(intercept_init, dtype=np.float64)
        if intercept.shape not in ({(), (1,)} if n_outputs == 1 else {(n_outputs,)}):
            raise ValueError(
                f"'intercept_init' of {type(estimator).__name__} must have the shape of "
                f"intercept_, {(n_outputs,)}; got shape {intercept.shape}."
            )
        if not np.all(np.isfinite(intercept)):
            raise ValueError(
                f"'intercept_init' of {type(estimator).__name__} must be finite; got "
                f"{intercept_init!r}."
            )
        if not estimator.fit_intercept and np.any(intercept):
            raise ValueError(
                f"'intercept_init' of {type(estimator).__name__} must be zero or None with "
                f"fit_intercept=False; got {intercept_init!r}."
            )
        theta[-1, 0] = intercept
    return theta


def check_last_theta(estimator, last, shape):
    """The theta of the last fit as a start; the features and classes have to be the same."""
    theta, classes = last
    name = type(estimator).__name__
    if theta.shape[0] != shape[0]:
        raise ValueError(
            f"{name} with warm_start=True was fitted on {theta.shape[0] - 1} features; X has "
            f"{shape[0] - 1}. Set warm_start=False to start anew."
        )
    if not np.array_equal(classes, estimator.classes_):
        raise ValueError(
            f"{name} with warm_start=True was fitted on the classes {classes.tolist()}; y has "
            f"{estimator.classes_.tolist()}. Set warm_start=False to start anew."
        )
    return theta


def check_validation_arguments(estimator, X_val, y_val, sample_weight_val):
    """X_val and y_val come together, and weights only with them."""
    name = type(estimator).__name__
    if (X_val is None) != (y_val is None):
        missing = "y_val" if y_val is None else "X_val"
        raise ValueError(
            f"{name}.fit got one of 'X_val' and 'y_val' without the other: {missing} is None."
        )
    if sample_weight_val is not None and X_val is None:
        raise ValueError(f"{name}.fit got 'sample_weight_val' without 'X_val' and 'y_val'.")
    if X_val is not None:
        check_consistent_length(X_val, y_val, sample_weight_val)
