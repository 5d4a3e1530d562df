"""What a fit tells: one row per iteration, and the reason it stopped."""

import time
from enum import StrEnum

import numpy as np

__all__ = ["COLUMNS", "History", "StopReason"]

COLUMNS = (
    "iteration",
    "step",
    "loss",
    "gradient_norm",
    "update_norm",
    "learning_rate",
    "seconds",
    "validation_loss",
)
_INTEGER = {"iteration", "step"}


class StopReason(StrEnum):
    """Why a fit stopped; each member is a sentence."""

    SOLVED = "The exact solution was computed."
    GRADIENT = "No coordinate step can lower the loss by more than tol of where it began."
    DECREMENT = "The Newton decrement fell to the tolerance or to rounding level."
    UPDATE = "The update became smaller than tol."
    LOSS = "The loss has stopped decreasing."
    MAX_ITER = "The maximum number of iterations was reached."
    EARLY = "The validation loss has stopped improving."
    DIVERGED = "The loss diverged; the best iterate was kept."
    SEPARABLE = "The classes are linearly separable: without a penalty there is no optimum."
    CALLBACK = "A callback asked to stop."
    INTERRUPTED = "The fit was interrupted; the best iterate was kept."
    EPOCH = "One pass over the rows given was made."


class History:
    """The record of a fit; row k is the state at theta^k, k = 0..n_iter_.

    ``history["loss"]`` is the column as an array; the columns are ``iteration``, ``step`` (the
    number of updates made), ``loss`` (the full objective), ``gradient_norm`` (Euclidean, of its
    smooth part, in the units of loss per unit of theta), ``update_norm`` (of the last iteration),
    ``learning_rate`` (of the last step), ``seconds`` (since the fit began) and
    ``validation_loss``. What was not computed is NaN.

    Attributes
    ----------
    coef_path : ndarray of shape (n_iter + 1, *coef_.shape)
        Coefficients at every row, with ``store_path=True``; absent otherwise.
    intercept_path : ndarray of shape (n_iter + 1, *intercept_.shape)
        Intercepts likewise.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> model = LinearRegression(learning_rate=0.1, max_iter=2, tol=0).fit([[0.0], [2.0]], [1, 3])
    >>> model.history_["loss"].round(4)
    array([2.5   , 1.37  , 0.7536])
    """

    def __init__(self):
        self._rows = []
        self._path = []
        self._began = time.perf_counter()

    def record(
        self,
        iteration,
        step,
        loss,
        gradient_norm=np.nan,
        update_norm=np.nan,
        learning_rate=np.nan,
        validation_loss=np.nan,
    ):
        """Append one row."""
        seconds = time.perf_counter() - self._began
        self._rows.append(
            (
                iteration,
                step,
                loss,
                gradient_norm,
                update_norm,
                learning_rate,
                seconds,
                validation_loss,
            )
        )

    def record_path(self, theta):
        """Append a copy of theta to the path."""
        self._path.append(theta.copy())

    def copy(self):
        """A record that may go on without touching this one, its clock included."""
        other = History()
        other._rows, other._path = self._rows.copy(), self._path.copy()
        other.resume_clock()
        return other

    def truncate(self, n_rows):
        """Forget all but the first rows."""
        del self._rows[n_rows:], self._path[n_rows:]

    def resume_clock(self):
        """Continue ``seconds`` from the last row, as if no time had passed since."""
        if self._rows:
            self._began = time.perf_counter() - self._rows[-1][COLUMNS.index("seconds")]

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, column):
        if column not in COLUMNS:
            raise KeyError(f"The history has no column {column!r}; it has {', '.join(COLUMNS)}.")
        index = COLUMNS.index(column)
        dtype = np.int64 if column in _INTEGER else np.float64
        return np.array([row[index] for row in self._rows], dtype=dtype)

    def keys(self):
        """The names of the columns."""
        return COLUMNS

    def __iter__(self):
        return iter(COLUMNS)

    def to_frame(self):
        """The record as a ``pandas.DataFrame`` (needs pandas)."""
        import pandas as pd

        return pd.DataFrame({column: self[column] for column in COLUMNS})

    def __repr__(self):
        if not self._rows:
            return "History(0 rows)"
        loss = COLUMNS.index("loss")
        return (
            f"History({len(self)} rows, loss {self._rows[0][loss]:.6g} -> "
            f"{self._rows[-1][loss]:.6g})"
        )
