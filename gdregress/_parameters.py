"""The constructor's parameters, checked and resolved into a plan; whether a stream can follow it.

Every message names the estimator, the parameter, the value and the remedy.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any

from ._constructor import Parameters
from ._ranges import Range, check_ranges, either
from ._suited import suited
from ._synonyms import hint_for_solver
from .problem.penalty import Penalty
from .solvers.descent.rules import RULES, UpdateRule, searching_rules
from .solvers.descent.schedules import SCHEDULES, Schedule
from .solvers.descent.settings import DescentSettings
from .solvers.exact import EXACT

__all__ = [
    "Plan",
    "check_keeps_its_descent",
    "check_partial_fit",
    "check_plan",
    "check_streams",
]


_FORGET = Range("a number in (0, 1]", float, low=0, high=1, closed="right")
# What only a descent can use: where one differs from its default, "auto" descends.
_OF_DESCENT = ("learning_rate", "batch_size", "schedule", "early_stopping", "store_path")
_DEFAULTS = {name: each.default for name, each in signature(Parameters).parameters.items()}
# What a descent is told as it is.
_SETTINGS = (
    "max_iter",
    "tol",
    "criterion",
    "n_iter_no_change",
    "early_stopping",
    "min_delta",
    "batch_size",
    "store_path",
)


@dataclass(frozen=True)
class Plan:
    """The constructor parameters, checked and resolved.

    ``exact`` is the name of an exact solver, or None; then ``rule`` is the rule of descent. ``why``
    says why it is this one, and ``automatic`` that ``solver="auto"`` chose it.
    """

    exact: str | None
    rule: UpdateRule | None
    why: str
    automatic: bool
    settings: DescentSettings
    automatic_rate: bool
    penalty: Penalty

    def with_batches(self, batch_size: int | None) -> "Plan":
        """The plan with mini-batches of so many rows, or full batches."""
        if batch_size == self.settings.batch_size:
            return self
        return replace(self, settings=replace(self.settings, batch_size=batch_size))


def check_plan(estimator: Any, asked_by: str | None = None) -> Plan:
    """Check the constructor parameters of `estimator` and resolve ``solver``.

    `asked_by` names what else asks for descent, such as an argument of ``fit``.
    """
    checked = check_ranges(estimator)
    penalty = estimator._penalty()
    exact, rule, why, automatic = _choice(estimator, checked, penalty, asked_by)
    rate = checked["learning_rate"]
    if rule is not None and rate == "line_search":
        _check_line_search(estimator, checked, rule)
    settings = DescentSettings(
        learning_rate=rate if isinstance(rate, float) else math.nan,
        schedule=_schedule(checked["schedule"]),
        raises=checked["on_divergence"] == "raise",
        line_search=rate == "line_search",
        **{key: checked[key] for key in _SETTINGS},
    )
    plan = Plan(exact, rule, why, automatic, settings, rate == "auto", penalty)
    return suited(estimator, plan)


def _choice(estimator, checked, penalty, asked_by):
    """The one place where a solver is chosen: an exact one or a rule, why, and whether by "auto".

    ``"auto"`` descends where something asks for it, with Nesterov's rule where the penalty does,
    and is exact otherwise.
    """
    solver, exact_solvers = estimator.solver, estimator._exact_solvers
    if isinstance(solver, UpdateRule):
        solver.check()
        return None, solver, "solver is this rule", False
    names = ("auto", *exact_solvers, *RULES)
    if not (isinstance(solver, str) and solver in names):
        accepted = "one of {words}, or an instance of an update rule"
        accepted = Range(accepted, words=names, hint=partial(hint_for_solver, exact_solvers))
        accepted.check(type(estimator).__name__, "solver", solver)
    if solver in exact_solvers:
        return solver, None, "solver names it", False
    if solver in RULES:
        return None, RULES[solver](), "solver names it", False
    asking = [name for name in _OF_DESCENT if _differs(checked, name)]
    if asking or asked_by is not None:
        why = f"{asking[0] if asking else asked_by} asks for descent"
        return None, RULES["gd"](), why, True
    if not penalty.is_smooth:
        return None, RULES["nesterov"](), f"{penalty.kind} needs a proximal step", True
    return exact_solvers[0], None, "nothing asks for descent", True


def _differs(checked, name):
    """Whether a parameter is not what it is by default."""
    value, default = checked[name], _DEFAULTS[name]
    return not (value is default or (isinstance(value, type(default)) and value == default))


def _check_line_search(estimator, checked, rule):
    name = f"'learning_rate'='line_search' of {type(estimator).__name__}"
    if not rule.has_proximal_step:
        raise ValueError(
            f"{name} needs solver={either(searching_rules())}; got solver={estimator.solver!r}."
        )
    if estimator.batch_size is not None:
        raise ValueError(
            f"{name} needs full batches; set batch_size=None instead of {estimator.batch_size!r}, "
            f"or give a number."
        )
    if _differs(checked, "schedule"):
        raise ValueError(
            f"{name} chooses every step itself; set schedule='constant' instead of "
            f"{estimator.schedule!r}."
        )


def _schedule(schedule):
    """The schedule itself; one of this package has its own parameters checked."""
    if isinstance(schedule, str):
        return SCHEDULES[schedule]()
    if isinstance(schedule, Schedule):
        schedule.check()
    return schedule


def check_streams(estimator, *, can_continue):
    """Whether ``partial_fit`` is there at all: True, or the reason why not as a ValueError.

    For :func:`sklearn.utils.metaestimators.available_if`, which turns it into an AttributeError:
    meta-estimators and checks look for the method before they call it.
    """
    name = type(estimator).__name__
    solver = estimator.solver if isinstance(estimator.solver, str) else ""
    if solver in EXACT and not EXACT[solver].streams:
        raise ValueError(
            f"partial_fit of {name} needs a rule of descent, as {EXACT[solver].title} needs "
            f"all rows at once; set solver='gd' or 'auto' instead of {estimator.solver!r}."
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


def check_partial_fit(estimator, plan, forget, *, can_continue, has_start, is_first):
    """A stream of rows can be fitted as the plan says, and goes on where it can."""
    name = type(estimator).__name__
    _check_forget(name, plan, forget)
    if has_start and plan.exact is not None:
        raise ValueError(
            f"'coef_init' and 'intercept_init' of {name}.partial_fit are where a descent begins, "
            f"and solver={estimator.solver!r} is exact; leave them out, or set solver='gd'."
        )
    if has_start and not is_first:
        raise ValueError(
            f"'coef_init' and 'intercept_init' of {name}.partial_fit are where a stream begins, "
            f"and this one has begun; pass them with the first part, on sklearn.base.clone(...) of "
            f"this estimator."
        )
    check_streams(estimator, can_continue=can_continue)


def _check_forget(name, plan, forget):
    """A weight in (0, 1] on what an exact stream has seen."""
    _FORGET.check(f"{name}.partial_fit", "forget", forget)
    if forget != 1.0 and plan.exact is None:
        raise ValueError(
            f"'forget'={forget!r} of {name}.partial_fit weighs the rows that an exact stream has "
            f"seen, and a descent keeps none: it forgets at the pace of its learning rate. Leave "
            f"forget=1 and use a constant learning_rate, or set solver='lstsq'."
        )
