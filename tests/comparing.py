"""What "the same" means where tests compare arrays, and the centred rows that some compare."""

import numpy as np
from numpy.testing import assert_allclose

__all__ = ["assert_relative", "centred"]


def assert_relative(actual, expected, tolerance=1e-10):
    """Equal to a fraction of the largest value."""
    largest = np.nanmax(np.abs(expected), initial=0.0)
    assert_allclose(actual, expected, rtol=0, atol=tolerance * largest)


def centred(X, y, sample_weight=None, fit_intercept=True):
    """X and y without their weighted means, rows times the root of their weight; and the means."""
    weight = np.ones(len(X)) if sample_weight is None else sample_weight
    X_mean, y_mean = (np.average(a, axis=0, weights=weight) * fit_intercept for a in (X, y))
    root = np.sqrt(weight)
    rows = root if y.ndim == 1 else root[:, None]
    return (X - X_mean) * root[:, None], (y - y_mean) * rows, X_mean, y_mean
