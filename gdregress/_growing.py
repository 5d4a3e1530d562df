"""Rows of an array that grows: the record of a fit, and the path of its thetas."""

import numpy as np

__all__ = ["FIRST_ROWS", "GrowingRows"]

FIRST_ROWS = 16


class GrowingRows:
    """An array that grows at its end, at a cost per row that does not depend on their number.

    Copies share the array and what they begin with: a row is written once, behind the last one,
    and never changed. Who finds another's row behind its own last moves to an array of its own.
    """

    __slots__ = ("array", "begin", "end", "used")

    def __init__(self, array, n_rows=0):
        self.array, self.begin, self.end = array, 0, n_rows
        self.used = [n_rows]  # rows written, by whomever shares the array

    def __len__(self):
        return self.end - self.begin

    @property
    def view(self):
        """The rows; to be read only."""
        return self.array[self.begin : self.end]

    def append(self, row):
        """Copy a row to the end."""
        if self.end == len(self.array) or self.end != self.used[0]:
            self.move()
        self.array[self.end] = row
        self.used[0] = self.end = self.end + 1

    def move(self):
        """Take an array of twice the length, of which nobody else knows."""
        rows = self.view
        array = np.empty((max(FIRST_ROWS, 2 * len(rows)), *rows.shape[1:]), rows.dtype)
        array[: len(rows)] = rows
        self.array, self.begin, self.end, self.used = array, 0, len(rows), [len(rows)]

    def truncate(self, n_rows):
        """Forget all but the first rows."""
        self.end = min(self.end, self.begin + n_rows)

    def keep_last(self, n_rows):
        """Forget all but the last rows."""
        self.begin = max(self.begin, self.end - n_rows)
