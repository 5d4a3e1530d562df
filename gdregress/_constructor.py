"""The constructor of the estimators: their parameters, and what each may be."""

from collections.abc import Callable
from numbers import Integral
from typing import ClassVar, Literal

from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from ._ranges import NON_NEGATIVE, SHARE, TRUTH, WHOLE, Range
from ._synonyms import explaining_names, hint_for_rate
from ._typing import Criterion, RandomState, Rate, ScheduleLike, SolverName
from .solvers.descent.rules import UpdateRule
from .solvers.descent.schedules import SCHEDULES
from .solvers.descent.stopping import chosen_by_name

__all__ = ["Parameters"]


def _is_schedule(value: object) -> bool:
    return isinstance(value, Callable) and not isinstance(value, type)  # type: ignore[arg-type]


def _is_random_state(value: object) -> bool:
    if isinstance(value, Integral):  # a generator takes longer to seed than a small table to read
        return 0 <= int(value) < 2**32
    try:
        check_random_state(value)
    except ValueError:
        return False
    return True


class Parameters(BaseEstimator):
    """The parameters that all estimators have; they are documented there.

    An estimator with one more adds its range to these, ``_ranges = {**Parameters._ranges, ...}``.
    """

    @explaining_names
    def __init__(
        self,
        *,
        solver: SolverName | UpdateRule = "auto",
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        learning_rate: Rate = "auto",
        schedule: ScheduleLike = "constant",
        batch_size: int | None = None,
        max_iter: int = 1000,
        tol: float = 1e-7,
        criterion: Criterion = "gradient",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        min_delta: float = 0.0,
        on_divergence: Literal["warn", "raise"] = "warn",
        warm_start: bool = False,
        store_path: bool | Literal["step"] = False,
        random_state: RandomState = None,
    ) -> None:
        self.solver: SolverName | UpdateRule = solver
        self.alpha: float = alpha
        self.l1_ratio: float = l1_ratio
        self.fit_intercept: bool = fit_intercept
        self.learning_rate: Rate = learning_rate
        self.schedule: ScheduleLike = schedule
        self.batch_size: int | None = batch_size
        self.max_iter: int = max_iter
        self.tol: float = tol
        self.criterion: Criterion = criterion
        self.early_stopping: bool = early_stopping
        self.validation_fraction: float = validation_fraction
        self.n_iter_no_change: int = n_iter_no_change
        self.min_delta: float = min_delta
        self.on_divergence: Literal["warn", "raise"] = on_divergence
        self.warm_start: bool = warm_start
        self.store_path: bool | Literal["step"] = store_path
        self.random_state: RandomState = random_state

    # What `solver` may be depends on the estimator; see ``check_plan``.
    _ranges: ClassVar[dict[str, Range]] = {
        "alpha": NON_NEGATIVE,
        "l1_ratio": Range("a number in [0, 1]", float, low=0, high=1, closed="both"),
        "fit_intercept": TRUTH,
        "learning_rate": Range(
            "a positive number, 'auto' or 'line_search'",
            float,
            low=0,
            words=("auto", "line_search"),
            hint=hint_for_rate,
        ),
        "schedule": Range("one of {words}, or a callable", words=SCHEDULES, others=_is_schedule),
        "batch_size": Range("None or an integer >= 1", int, low=1, closed="left", optional=True),
        "max_iter": WHOLE,
        "tol": NON_NEGATIVE,
        "criterion": Range("one of {words}", words=chosen_by_name),
        "early_stopping": TRUTH,
        "validation_fraction": Range("a number in (0, 1)", float, low=0, high=1),
        "n_iter_no_change": WHOLE,
        "min_delta": SHARE,
        "on_divergence": Range("one of {words}", words=("warn", "raise")),
        "warm_start": TRUTH,
        "store_path": Range("True, False or 'step'", bool, words=("step",)),
        "random_state": Range(
            "None, an integer from 0 to 2**32 - 1 or a numpy.random.RandomState",
            optional=True,
            others=_is_random_state,
        ),
    }
