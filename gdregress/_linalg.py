"""Matrix factorisations that LAPACK has and NumPy and SciPy do not offer by name, and rank."""

import numpy as np
from scipy.linalg import lapack

__all__ = ["above_rounding", "append_rows", "rank_threshold"]

_EPS = np.finfo(np.float64).eps
_PANEL = 32


def rank_threshold(*shape):
    """``max(m, p) eps``: singular values below this share of the largest are zero.

    Those of a matrix with these dimensions and unit columns (Golub & Van Loan, Matrix Computations,
    4th ed., section 5.5.8).
    """
    return max(shape) * _EPS


def above_rounding(values):
    """Which of the n eigenvalues of a positive semi-definite matrix, or singular values, are more
    than rounding: above ``n eps`` times the largest. There may be none that is positive."""
    return values > rank_threshold(len(values)) * max(float(values.max(initial=0.0)), 0.0)


def append_rows(triangle, rows):
    """The R factor of `rows` below the upper `triangle`, in ``2 m n^2`` multiplications.

    A QR factorisation of the two stacked would take ``2 (m + n) n^2``: it does not see that half of
    the triangle is zeros, ``tpqrt`` does (Golub & Van Loan, Matrix Computations, 4th ed., section
    6.5.3, "appending a row").

    Parameters
    ----------
    triangle : ndarray of shape (n, n)
        Upper triangular; left as it is.
    rows : ndarray of shape (m, n)
    """
    n_columns = len(triangle)
    panel = min(_PANEL, n_columns)
    updated, _, _, failed = lapack.dtpqrt(0, panel, np.asfortranarray(triangle), rows)
    if failed:
        raise ValueError(f"LAPACK's tpqrt refused its argument {-failed}.")
    return np.triu(updated)
