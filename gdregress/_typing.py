"""The types of the public face."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ClassWeight",
    "Criterion",
    "FloatArray",
    "MatrixLike",
    "RandomState",
    "Rate",
    "ScheduleLike",
    "SolverName",
    "State",
    "Theta",
    "keeps_signature",
]


class SparseLike(Protocol):
    """A sparse matrix or array of SciPy, which ships no types."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    def tocsr(self) -> Any:
        """The same in rows."""


# X: arrays, lists and data frames (whatever NumPy can read), and sparse matrices.
MatrixLike: TypeAlias = ArrayLike | SparseLike
# What a fit returns: float32 for rows of float32, else float64.
FloatArray: TypeAlias = NDArray[np.floating[Any]]
# Inside: (n_features + 1, n_models, n_outputs), the intercept last.
Theta: TypeAlias = NDArray[np.float64]
# The memory of a rule: arrays and numbers by name.
State: TypeAlias = dict[str, Any]

# Names as the package has them, so that a misspelt one is found before it runs. One that was
# registered from outside is not among them: give the rule or the function itself.
SolverName: TypeAlias = Literal[
    "auto",
    "normal_equations",
    "lstsq",
    "newton",
    "gd",
    "momentum",
    "nesterov",
    "adagrad",
    "rmsprop",
    "adam",
]
Rate: TypeAlias = float | Literal["auto", "line_search"]
ScheduleLike: TypeAlias = (
    Literal["constant", "inverse_scaling", "exponential", "step", "cosine"]
    | Callable[[float], float]
)
Criterion: TypeAlias = Literal["gradient", "update", "loss"]
RandomState: TypeAlias = int | np.random.RandomState | None
ClassWeight: TypeAlias = Mapping[Any, float] | Literal["balanced"] | None

F = TypeVar("F", bound=Callable[..., Any])


def keeps_signature(decorator: Any) -> Callable[[F], F]:
    """The decorator, which has no types, as one that leaves the signature as it is."""
    return cast(Callable[[F], F], decorator)
