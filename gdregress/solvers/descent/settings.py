"""How to descend: what a user asks for, resolved."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .coordinates import Coordinates

__all__ = ["DescentSettings"]


@dataclass(frozen=True)
class DescentSettings:
    """How to descend; the meaning of each is in the docstring of the estimators."""

    schedule: Callable
    max_iter: int  # iterations of this call, whatever was made before
    tol: float
    criterion: str
    n_iter_no_change: int
    learning_rate: Any = math.nan  # of several models an array (M,); NaN with a line search
    early_stopping: bool = False
    min_delta: float = 0.0
    raises: bool = False  # where it diverges
    batch_size: int | None = None
    line_search: bool = False
    store_path: bool | str = False  # "step": of every step of an epoch, too
    is_part: bool = False  # the rows are a part of a stream
    coordinates: Coordinates | None = None  # where the rule takes its steps, if not in theta's
    shrinks: bool = False  # whether the rate falls where the loss rises
    polyak: bool = False  # whether the losses of mini-batches bound it; see ``steps``
