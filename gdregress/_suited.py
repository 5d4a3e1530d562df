"""Whether a plan suits what is minimised: where a solver meets a loss and a penalty."""

from dataclasses import replace

from ._ranges import either
from .solvers.descent.rates import NEEDS
from .solvers.descent.rules import RULES, searching_rules
from .solvers.descent.schedules import Constant
from .solvers.exact import EXACT
from .solvers.needs import lacking, mismatch

__all__ = ["suited"]


def suited(estimator, plan, loss=None):
    """The plan as it serves a loss and the penalty; a ValueError names what does not fit.

    Without a `loss` only the penalty is asked. Where no automatic rate is known, as the loss bounds
    no curvature, every step is searched for.
    """
    have = {"loss": loss, "penalty": plan.penalty}
    needs = plan.rule.needs if plan.rule is not None else EXACT[plan.exact].needs
    missing, name = lacking(needs, **have), type(estimator).__name__
    if missing is not None:
        who = f"'solver'={estimator.solver!r} of {name}"
        raise ValueError(mismatch(who, missing, _remedy(estimator, missing, have), **have))
    if plan.rule is None or not plan.automatic_rate:
        return plan
    missing = lacking(NEEDS, **have)
    if missing is None:
        return plan
    if _can_search(plan):
        settings = replace(plan.settings, line_search=True)
        return replace(plan, settings=settings, automatic_rate=False)
    who = f"'learning_rate'='auto' of {name} with solver={estimator.solver!r}"
    search = f"take full batches with solver={either(searching_rules())}, which search"
    remedy = f"give a number, or {search}"
    raise ValueError(mismatch(who, missing, remedy, **have))


def _can_search(plan):
    """Whether a line search may choose every step."""
    settings = plan.settings
    is_plain = settings.batch_size is None and isinstance(settings.schedule, Constant)
    return is_plain and plan.rule.has_proximal_step


def _remedy(estimator, missing, have):
    """The solvers that need no more than there is, or a penalty without what is in the way."""
    solvers = {name: EXACT[name].needs for name in estimator._exact_solvers}
    solvers |= {name: rule().needs for name, rule in RULES.items()}
    names = [name for name, needs in solvers.items() if lacking(needs, **have) is None]
    remedy = f"use solver={either(names) if names else 'an update rule of your own'}"
    smooth_with = getattr(have[missing.of], "smooth_with", None)
    return remedy if smooth_with is None else f"{remedy}, or {smooth_with}"
