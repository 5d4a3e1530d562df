"""What every solver returns: the solution, how it was reached, and what was learnt on the way."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..history import History, Reason, StopReason

__all__ = ["Solution"]

# The ends that are optima by themselves, and those after which a small gap proves nothing.
_OPTIMA = {StopReason.SOLVED, StopReason.GRADIENT, StopReason.DECREMENT}
_NO_OPTIMA = {
    StopReason.UNSOLVED,
    StopReason.DIVERGED,
    StopReason.SEPARABLE,
    StopReason.INTERRUPTED,
    StopReason.EPOCH,
}


def _no_columns():
    return np.empty(0, dtype=np.intp)


@dataclass(kw_only=True)
class Solution:
    """theta, how it was reached, and what was learnt on the way.

    Attributes
    ----------
    theta : ndarray of shape (n_features + 1, 1, n_outputs)
        Of the original columns, the intercept last.
    loss : float
        The objective there, penalty included.
    solver : str
        The solver that found it.
    why : str
        Why it went this way, where it had a choice.
    reason : Reason
        Why it stopped.
    history : History or None
        One row for the start and for every iteration.
    n_iter : int
        Iterations made; 1 for a direct solution.
    rate : float
        The learning rate; NaN where there is none.
    rank : int or None
        Of the centred design; None where it was not determined.
    condition : float or None
        2-norm condition number of that design; None where nobody looked at it.
    dependent : ndarray of int
        Columns that depend on the others.
    separation : Separation or None
        How the classes are separated, so that there is no optimum; None where they are not.
    gap : float
        A bound of ``L(theta) - min L``; NaN where none was asked for.
    proven : bool or None
        Whether the gap is proven to be within the tolerance; None where nobody asked.
    objective : object
        What was minimised; for advice, like the next two.
    stable_below : float or None
        The limit of the rate of a descent that diverged, where its rule has one.
    is_cut : bool
        Whether the rows given cut the automatic rate of a stream severely.
    interruption : KeyboardInterrupt or None
        What interrupted the solver, to be raised again.
    """

    theta: np.ndarray
    loss: float
    solver: str
    reason: Reason
    why: str = ""
    history: History | None = None
    n_iter: int = 1
    rate: float = np.nan
    rank: int | None = None
    condition: float | None = None
    dependent: np.ndarray = field(default_factory=_no_columns)
    separation: Any = None
    gap: float = np.nan
    proven: bool | None = None
    objective: Any = None
    stable_below: float | None = None
    is_cut: bool = False
    interruption: KeyboardInterrupt | None = None

    @property
    def converged(self):
        """Whether theta is an optimum to the tolerance.

        What the proof says, where one was asked for and the solver ended as it should; else
        whether the solver stopped because it had arrived. Nobody arrives at the optimum of
        separable classes.
        """
        if self.reason in _NO_OPTIMA or self.separation is not None:
            return False
        return self.reason in _OPTIMA if self.proven is None else bool(self.proven)

    @property
    def dependent_columns(self):
        """The columns that depend on others, as many as the rank falls short of, or None.

        None where the rank is not known, and of no more rows than columns: too many depend on
        others to be worth a list.
        """
        n_features = len(self.theta) - 1
        known = self.rank is not None and (len(self.dependent) or self.rank == n_features)
        return self.dependent.astype(np.intp) if known else None

    @property
    def separating_columns(self):
        """The columns that do most of the separating; none where the classes are not separable."""
        return _no_columns() if self.separation is None else self.separation.columns
