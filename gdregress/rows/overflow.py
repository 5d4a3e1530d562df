"""Squares that leave the range of float64: found, and said."""

import numpy as np

__all__ = ["ColumnsOutOfRange", "check_squares", "overflow"]


class ColumnsOutOfRange(FloatingPointError):
    """The squares of some columns leave float64: says which, by name where there are names."""

    def __init__(self, columns):
        super().__init__(columns)
        self.columns = columns

    def sentence(self, names):
        """What is wrong and what helps; `names` are those of the columns, as a text."""
        return (
            f"the squares of a column of X overflow or underflow float64 ({names}), and gradient "
            f"descent works in the units of X; standardise X, or use an exact solver, which needs "
            f"no units."
        )

    def __str__(self):
        return self.sentence(", ".join(map(str, self.columns[:10])))


def check_squares(squares, occupied):
    """Raise where the square of a column that is not zero left the range of float64."""
    fine = np.isfinite(squares) & ((squares > 0.0) | ~occupied)
    if not np.all(fine):
        raise ColumnsOutOfRange(np.flatnonzero(~fine[:-1]))


def overflow(name):
    """The sentence about an array whose squares leave float64."""
    return (
        f"The squares of {name} overflow float64 even after scaling its columns; rescale {name} "
        f"to ordinary units."
    )
