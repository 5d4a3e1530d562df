"""The constructor's parameters, checked and resolved into a plan; whether a stream can follow it.

Every message names the estimator, the parameter, the value and the remedy.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state

from ._synonyms import hint_for_rate, hint_for_solver
from .solvers.descent.loop import DescentSettings
from .solvers.descent.rules import RULES, UpdateRule
from .solvers.descent.schedules import SCHEDULES, Schedule

__all__ = [
    "Plan",
    "check_keeps_its_descent",
    "check_partial_fit",
    "check_plan",
    "check_streams",
]

_CRITERIA = ("gradient", "update", "loss")
_ON_DIVERGENCE = ("warn", "raise")


@dataclass(frozen=True)
class Plan:
    """The constructor parameters, checked and resolved.

    ``exact`` is the name of an exact solver, or None; then ``rule`` is the rule of descent.
    ``automatic`` tells that ``solver="auto"`` chose, and may choose again when it sees the data.
    """

    exact: str | None
    rule: UpdateRule | None
    automatic: bool
    settings: DescentSettings
    automatic_rate: bool


def _fail(kind, estimator, name, value, accepted, hint=""):
    raise kind(f"{name!r} of {type(estimator).__name__} must be {accepted}; got {value!r}.{hint}")


def _real(estimator, name, accepted, valid):
    value = getattr(estimator, name)
    if type(value) is not float and (
        isinstance(value, (bool, np.bool_)) or not isinstance(value, Real)
    ):
        _fail(TypeError, estimator, name, value, accepted)
    try:
        number = float(value)
    except OverflowError:  # an integer beyond float64
        number = math.inf
    if not (math.isfinite(number) and valid(number)):
        _fail(ValueError, estimator, name, value, accepted)
    return number


def _whole(estimator, name, accepted, valid):
    value = getattr(estimator, name)
    if type(value) is not int and (
        isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral)
    ):
        kind = ValueError if isinstance(value, Real) else TypeError
        _fail(kind, estimator, name, value, accepted)
    if not valid(value):
        _fail(ValueError, estimator, name, value, accepted)
    return int(value)


def _flag(estimator, name):
    value = getattr(estimator, name)
    if not isinstance(value, (bool, np.bool_)):
        _fail(TypeError, estimator, name, value, "True or False")
    return bool(value)


def _store_path(estimator):
    value = estimator.store_path
    if isinstance(value, str) and value == "step":
        return value
    if not isinstance(value, (bool, np.bool_)):
        kind = ValueError if isinstance(value, str) else TypeError
        _fail(kind, estimator, "store_path", value, "True, False or 'step'")
    return bool(value)


def _word(estimator, name, words):
    value = getattr(estimator, name)
    if not (isinstance(value, str) and value in words):
        _fail(ValueError, estimator, name, value, f"one of {_listed(words)}")
    return value


def _listed(words):
    return ", ".join(repr(word) for word in words)


def check_plan(estimator, exact_solvers, *, asks_for_descent=False):
    """Check the constructor parameters of `estimator` and resolve ``solver``.

    Parameters
    ----------
    estimator : estimator
    exact_solvers : tuple of str
        Names of the exact solvers it has, the default of ``"auto"`` first.
    asks_for_descent : bool
        Whether ``fit`` was passed something that only descent can use.
    """
    alpha = _real(estimator, "alpha", "a number >= 0", lambda v: v >= 0)
    l1_ratio = _real(estimator, "l1_ratio", "a number in [0, 1]", lambda v: 0 <= v <= 1)
    _flag(estimator, "fit_intercept")
    _flag(estimator, "warm_start")
    _real(estimator, "validation_fraction", "a number in (0, 1)", lambda v: 0 < v < 1)
    learning_rate = _learning_rate(estimator)
    settings = _settings(estimator, learning_rate)
    _random_state(estimator)

    changed = (
        learning_rate != "auto"
        or settings.batch_size is not None
        or not _is_constant(estimator.schedule)
        or settings.early_stopping
        or settings.store_path
        or asks_for_descent
    )
    has_l1 = alpha * l1_ratio > 0
    exact, rule, automatic = _solver(estimator, exact_solvers, changed, has_l1)
    if has_l1 and (exact is not None or not rule.has_proximal_step):
        raise ValueError(
            f"'solver'={estimator.solver!r} of {type(estimator).__name__} has no proximal step for "
            f"the L1 part of the penalty (alpha={alpha!r}, l1_ratio={l1_ratio!r}); use "
            f"solver='gd' or 'nesterov', or l1_ratio=0."
        )
    if rule is not None and settings.line_search:
        _check_line_search(estimator, rule)
    return Plan(exact, rule, automatic, settings, learning_rate == "auto")


def _settings(estimator, learning_rate):
    """How to descend, if it comes to that."""
    batch_size = estimator.batch_size
    if batch_size is not None:
        batch_size = _whole(estimator, "batch_size", "None or an integer >= 1", lambda v: v >= 1)
    criterion = _word(estimator, "criterion", _CRITERIA)
    positive = "an integer >= 1", lambda v: v >= 1
    return DescentSettings(
        learning_rate=learning_rate if isinstance(learning_rate, float) else math.nan,
        schedule=_schedule(estimator),
        max_iter=_whole(estimator, "max_iter", *positive),
        tol=_real(estimator, "tol", "a number >= 0", lambda v: v >= 0),
        criterion=criterion,
        n_iter_no_change=_whole(estimator, "n_iter_no_change", *positive),
        early_stopping=_flag(estimator, "early_stopping"),
        min_delta=_real(estimator, "min_delta", "a number in [0, 1)", lambda v: 0 <= v < 1),
        raises=_word(estimator, "on_divergence", _ON_DIVERGENCE) == "raise",
        batch_size=batch_size,
        line_search=learning_rate == "line_search",
        store_path=_store_path(estimator),
    )


def _check_line_search(estimator, rule):
    if not rule.has_proximal_step:
        raise ValueError(
            f"'learning_rate'='line_search' of {type(estimator).__name__} needs solver='gd' or "
            f"'nesterov'; got solver={estimator.solver!r}."
        )
    if estimator.batch_size is not None:
        raise ValueError(
            f"'learning_rate'='line_search' of {type(estimator).__name__} needs full batches; "
            f"set batch_size=None instead of {estimator.batch_size!r}, or give a number."
        )
    if not _is_constant(estimator.schedule):
        raise ValueError(
            f"'learning_rate'='line_search' of {type(estimator).__name__} chooses every step "
            f"itself; set schedule='constant' instead of {estimator.schedule!r}."
        )


def _random_state(estimator):
    value = estimator.random_state
    accepted = "None, an integer from 0 to 2**32 - 1 or a numpy.random.RandomState"
    try:
        check_random_state(value)
    except ValueError:
        _fail(ValueError, estimator, "random_state", value, accepted)


def _is_constant(schedule):
    return isinstance(schedule, str) and schedule == "constant"


def _learning_rate(estimator):
    value = estimator.learning_rate
    accepted = "a positive number, 'auto' or 'line_search'"
    if isinstance(value, str):
        if value not in {"auto", "line_search"}:
            hint = hint_for_rate(value)
            _fail(ValueError, estimator, "learning_rate", value, accepted, hint)
        return value
    return _real(estimator, "learning_rate", accepted, lambda v: v > 0)


def _schedule(estimator):
    schedule = estimator.schedule
    accepted = f"one of {_listed(SCHEDULES)}, or a callable"
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            _fail(ValueError, estimator, "schedule", schedule, accepted)
        return SCHEDULES[schedule]()
    if not isinstance(schedule, Callable) or isinstance(schedule, type):
        _fail(TypeError, estimator, "schedule", schedule, accepted)
    if isinstance(schedule, Schedule):
        schedule.check()
    return schedule


def _solver(estimator, exact_solvers, changed, has_l1):
    solver = estimator.solver
    if isinstance(solver, UpdateRule):
        solver.check()
        return None, solver, False
    names = ("auto", *exact_solvers, *RULES)
    accepted = f"one of {_listed(names)}, or an instance of an update rule"
    if not isinstance(solver, str):
        _fail(TypeError, estimator, "solver", solver, accepted)
    if solver not in names:
        hint = hint_for_solver(solver, exact_solvers)
        _fail(ValueError, estimator, "solver", solver, accepted, hint)
    if solver in exact_solvers:
        return solver, None, False
    if solver in RULES:
        return None, RULES[solver](), False
    if changed:
        return None, RULES["gd"](), True
    if has_l1:
        return None, RULES["nesterov"](), True
    return exact_solvers[0], None, True


def check_streams(estimator, *, can_continue):
    """Whether ``partial_fit`` is there at all: True, or the reason why not as a ValueError.

    For :func:`sklearn.utils.metaestimators.available_if`, which turns it into an AttributeError:
    meta-estimators and checks look for the method before they call it.
    """
    name = type(estimator).__name__
    if estimator.solver == "newton":
        raise ValueError(
            f"partial_fit of {name} needs a rule of descent, as Newton's method needs all rows at "
            f"once; set solver='gd' or 'auto' instead of {estimator.solver!r}."
        )
    if estimator.early_stopping is True:
        raise ValueError(
            f"partial_fit of {name} does not support early_stopping=True, for it sees one part of "
            f"the rows at a time; set early_stopping=False, or use fit."
        )
    class_weight = getattr(estimator, "class_weight", None)
    if isinstance(class_weight, str) and class_weight == "balanced":
        raise ValueError(
            f"partial_fit of {name} does not support class_weight='balanced', for the share of a "
            f"class is not known in advance. Compute the weights from a large enough sample with "
            f"sklearn.utils.class_weight.compute_class_weight and pass them as a dict."
        )
    descended = not can_continue and estimator.solver_ not in estimator._exact_solvers
    if descended and "_descent" not in vars(estimator):
        raise ValueError(
            f"partial_fit of {name} cannot continue a fit that was saved or copied without the "
            f"state of its descent; set warm_start=True before saving it, or start the stream with "
            f"partial_fit, on sklearn.base.clone(...) of this estimator."
        )
    if not can_continue:
        raise ValueError(
            f"partial_fit of {name} with solver={estimator.solver!r} cannot continue what "
            f"solver_={estimator.solver_!r} fitted: that keeps no rows to add to. Start the stream "
            f"with partial_fit, on sklearn.base.clone(...) of this estimator, or descend from the "
            f"coefficients of a fit with solver='gd'."
        )
    return True


def check_keeps_its_descent(estimator):
    """A warm start finds the descent that it is to continue, if there was one."""
    before = getattr(estimator, "solver_", None)
    if estimator.warm_start and before is not None and before not in estimator._exact_solvers:
        raise ValueError(
            f"{type(estimator).__name__} with warm_start=True cannot continue a fit that was saved "
            f"or copied with warm_start=False, which leaves out the state of its descent. Set "
            f"warm_start=True before saving, or pass coef_init and intercept_init to start from "
            f"coef_ and intercept_."
        )


def check_partial_fit(estimator, plan, forget, *, can_continue, has_start, begins):
    """A stream of rows can be fitted as the plan says, and goes on where it can."""
    name = type(estimator).__name__
    _check_forget(name, plan, forget)
    if has_start and plan.exact is not None:
        raise ValueError(
            f"'coef_init' and 'intercept_init' of {name}.partial_fit are where a descent begins, "
            f"and solver={estimator.solver!r} is exact; leave them out, or set solver='gd'."
        )
    if has_start and not begins:
        raise ValueError(
            f"'coef_init' and 'intercept_init' of {name}.partial_fit are where a stream begins, "
            f"and this one has begun; pass them with the first part, on sklearn.base.clone(...) of "
            f"this estimator."
        )
    check_streams(estimator, can_continue=can_continue)


def _check_forget(name, plan, forget):
    """A weight in (0, 1] on what an exact stream has seen."""
    accepted = f"'forget' of {name}.partial_fit must be a number in (0, 1]; got {forget!r}."
    if isinstance(forget, (bool, np.bool_)) or not isinstance(forget, Real):
        raise TypeError(accepted)
    if not 0.0 < forget <= 1.0:
        raise ValueError(accepted)
    if forget != 1.0 and plan.exact is None:
        raise ValueError(
            f"'forget'={forget!r} of {name}.partial_fit weighs the rows that an exact stream has "
            f"seen, and a descent keeps none: it forgets at the pace of its learning rate. Leave "
            f"forget=1 and use a constant learning_rate, or set solver='lstsq'."
        )
