"""What an exact solver of least squares returns."""

from dataclasses import dataclass, field

import numpy as np

__all__ = ["ExactSolution"]


@dataclass
class ExactSolution:
    """theta (original columns), and what was learnt on the way; losses and norms at both rows."""

    theta: np.ndarray
    solver: str
    rank: int | None  # None where it was not determined
    condition: float
    start: tuple  # loss and gradient (original columns) at zero, penalty included
    loss: float
    gradient: np.ndarray  # at theta, original columns
    # Indices of columns that depend on the others.
    dependent: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))
    converged: bool = True
