"""What BLAS and LAPACK have and NumPy and SciPy do not offer by name, and rank."""

import numpy as np
from scipy.linalg import blas, lapack

__all__ = ["above_rounding", "add_to_rows", "append_rows", "rank_threshold", "times_row"]

_EPS = np.finfo(np.float64).eps
_PANEL, _AT_A_TIME = 32, 32


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


def add_to_rows(A, numbers):
    """``A += numbers 1^T`` in place, for A of shape (n, K) and float64.

    NumPy adds a number to K others at a time where rows lie one behind the other: of few columns it
    takes up to three times as long as a rank-one update.
    """
    if A.size and A.flags.c_contiguous:
        blas.dger(1.0, np.ones(A.shape[1]), numbers, a=A.T, overwrite_a=1)
    else:
        A += numbers[:, None]


def times_row(A, row, out):
    """``A diag(row)`` into `out`, A and `out` of shape (n, K), one row behind the other.

    Many rows are one to NumPy, which takes up to four times as long for K numbers at a time.
    """
    n_rows, n_columns = A.shape
    if n_columns == 1:
        return np.multiply(A, row, out=out)
    many = n_rows - n_rows % _AT_A_TIME
    shape = -1, _AT_A_TIME * n_columns
    repeated = np.repeat(row[None], _AT_A_TIME, axis=0).ravel()
    np.multiply(A[:many].reshape(shape), repeated, out=out[:many].reshape(shape))
    np.multiply(A[many:], row, out=out[many:])
    return out


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
