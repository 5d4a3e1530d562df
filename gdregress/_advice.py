"""What a fit says when it did not end well: the facts, and what to do about them."""

import math
import sys
import warnings

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.exceptions import ConvergenceWarning

from .history import StopReason
from .solvers.descent.schedules import Constant
from .solvers.exact import EXACT

__all__ = ["advise", "advise_batch_of_everything", "names_of"]

# Spreads that differ by more than this, or means as many times their spread, slow a descent.
_FAR = 3.0
_INSIDE = ("gdregress.", "sklearn.callback.")


def _warn(text, category):
    """Warn at the line of the user's that called the package."""
    level, frame = 2, sys._getframe(1)  # level 1 is this function
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def advise(estimator, found, plan):
    """Say what has to be said of a solution: one warning about its end, one about its columns.

    Raise instead where a descent diverged and the plan says so.
    """
    settings, reason = plan.settings, found.reason
    if found.is_cut:
        _advise_cut_rate(estimator)
    if found.separation is not None:
        _advise_separable(estimator)
    elif reason is StopReason.UNSOLVED:
        _advise_unsolved(estimator)
    elif reason is StopReason.DIVERGED:
        _advise_diverged(estimator, found, plan)
    elif plan.exact is not None and EXACT[plan.exact].iterates and settings.tol > 0.0:
        _advise_newton_unfinished(estimator, found, settings)
    elif plan.rule is not None and not found.converged and settings.tol > 0.0:
        _advise_unfinished(estimator, found, plan)
    is_exact = plan.rule is None
    if is_exact or (found.converged and settings.tol > 0.0):
        _advise_dependent_columns(estimator, found, is_exact)


def _advise_unfinished(estimator, found, plan):
    """Warn where a descent stopped before it converged.

    The remedies are those that the plan leaves open, and that the data ask for.
    """
    name, tol = f"{type(estimator).__name__} with solver={found.solver!r}", plan.settings.tol
    if found.reason is StopReason.UPDATE:
        end = f"at a step below tol={tol:.3g}, which is a small step and no optimum"
    elif found.reason is StopReason.LOSS:
        end = f"as the loss fell by less than tol={tol:.3g} an iteration, before it converged"
    elif found.reason is StopReason.MAX_ITER:
        end = f"at max_iter={plan.settings.max_iter} before it converged to tol={tol:.3g}"
    elif not isinstance(found.reason, StopReason):
        criterion = plan.settings.criterion
        end = f"by criterion={criterion!r} with tol={tol:.3g} before it converged"
    else:
        return
    remedies = _remedies(estimator, found.objective, plan)
    _warn(
        f"{name} stopped {end}: the loss may still fall by more than that share of what a fit can "
        f"gain (optimality_gap_ bounds it). {remedies[0][0].upper()}{'; or '.join(remedies)[1:]}.",
        ConvergenceWarning,
    )


def _advise_diverged(estimator, found, plan):
    """Warn of a divergence, or raise."""
    text = _diverged(estimator, found, plan)
    if plan.settings.raises:
        raise ValueError(text)
    _warn(f"{text} The best iterate was kept.", ConvergenceWarning)


def _diverged(estimator, found, plan):
    """The sentences about a divergence."""
    solver = found.solver
    rate = "" if plan.automatic_rate else f" and learning_rate={found.rate:.6g}"
    text = f"{type(estimator).__name__} with solver={solver!r}{rate} diverged: its loss rose and "
    text += "would not come back. "
    if plan.automatic_rate:  # a part of a stream, whose rows are far larger than those before
        return f"{text}Give a learning_rate that suits the largest rows, or scale them."
    limit = found.stable_below
    text += "Lower learning_rate"
    if limit is not None and math.isfinite(limit):
        kind = "is stable" if found.objective.is_quadratic else "is guaranteed stable"
        text += f": on this data {solver} {kind} below about {_one_digit(limit)}"
    return f"{text}; learning_rate='auto' finds one."


def _one_digit(number):
    """A positive number, rounded down to one digit."""
    unit = 10.0 ** math.floor(math.log10(number))
    return f"{math.floor(number / unit) * unit:.0g}"


def _remedies(estimator, objective, plan):
    """What would help a descent that has not arrived: what to set, or else."""
    settings, remedies = plan.settings, []
    changes = [
        change
        for change, is_open in [
            ("batch_size=None", settings.batch_size is not None),
            ("solver='nesterov'", not plan.rule.looks_ahead),
            ("learning_rate='auto'", not plan.automatic_rate),
            ("schedule='constant'", not isinstance(settings.schedule, Constant)),
            ("criterion='gradient'", settings.criterion != "gradient"),
        ]
        if is_open
    ]
    if changes:
        remedies.append(f"set {', '.join(changes)}")
    if _needs_standardising(objective):
        remedies.append("standardise the columns of X (sklearn.preprocessing.StandardScaler)")
    if settings.criterion == "gradient":
        remedies.append("raise max_iter")
    if objective.penalty.is_smooth:
        remedies.append(f"fit exactly, with solver={estimator._exact_solvers[0]!r}")
    return remedies


def _needs_standardising(objective):
    """Whether columns differ in size, or their means dwarf their spreads."""
    mean, variance = objective.column_centres()
    spread = np.sqrt(variance[variance > 0.0])
    if not len(spread):
        return False
    far = np.abs(mean[variance > 0.0]).max() > _FAR * spread.max()
    return bool(far or spread.max() > _FAR * spread.min())


def _advise_newton_unfinished(estimator, found, settings):
    """Warn where Newton's method reached ``max_iter``, or a point that no step improves, or one
    that nothing proves to be the optimum."""
    if found.reason is StopReason.DECREMENT and not found.converged:
        _advise_unproven(estimator, found, settings)
    if found.reason not in {StopReason.MAX_ITER, StopReason.LOSS}:
        return
    where, remedy = f"max_iter={settings.max_iter}", "raise max_iter"
    if found.reason is StopReason.LOSS:
        where, remedy = "a point from which its steps lower the loss no more", "standardise X"
    _warn(
        f"{type(estimator).__name__} with solver='newton' stopped at {where} before its decrement "
        f"fell to 1e-5 tol of the loss at the start; {remedy}, or set alpha > 0, such as "
        f"alpha=1/len(y), which is scikit-learn's C=1.",
        ConvergenceWarning,
    )


def _advise_unproven(estimator, found, settings):
    """Warn where the decrement is at rest and the gap is not known to be within tol."""
    loss = estimator._loss()
    name = type(loss).__name__
    if loss.self_concordance is None and not hasattr(loss, "least_curvature"):
        remedy = f"Declare self_concordance or least_curvature of {name}, by which a proof is made"
    else:
        way_out = "raise tol" if estimator.alpha > 0.0 else "set alpha > 0"
        remedy = f"An optimum may not exist, as where coefficients grow for ever: {way_out}"
    _warn(
        f"{type(estimator).__name__} with solver='newton' stopped where its decrement promises no "
        f"more, at a loss of {found.loss:.6g}, and nothing proves that this is the optimum to "
        f"tol={settings.tol:.3g}: the loss may be optimality_gap_={found.gap:.3g} above it. "
        f"{remedy}.",
        ConvergenceWarning,
    )


def _advise_separable(estimator):
    """Warn that the classes are separable."""
    _warn(
        f"{type(estimator).__name__}: the classes are linearly separable, all or in part (by the "
        f"columns in separating_columns_), so without a penalty there is no optimum: the "
        f"coefficients would grow for ever. Set alpha > 0, such as alpha=1/len(y), which is "
        f"scikit-learn's C=1.",
        ConvergenceWarning,
    )


def _advise_unsolved(estimator):
    """Warn that an exact fit ran out of iterations."""
    _warn(
        f"{type(estimator).__name__}: with more than 2,000 sparse columns the solution is iterated "
        f"(LSMR), and the iterations hit their limit before they converged, as happens where "
        f"columns nearly depend on others. Drop such columns, raise alpha, or pass X as a dense "
        f"array.",
        ConvergenceWarning,
    )


def _advise_dependent_columns(estimator, found, is_exact):
    """Warn where X is rank-deficient, unless a penalty decides what the data leave open."""
    dependent = found.dependent_columns
    if estimator.alpha > 0.0 or dependent is None or not len(dependent):
        return
    which = "of minimum norm" if is_exact else "at which the descent arrived"
    _warn(
        f"{type(estimator).__name__}: columns of X are constant or combinations of others, so that "
        f"the coefficients are not unique: those {which} were taken. rank_ says how many are "
        f"independent and dependent_columns_ which are not; drop these, or set alpha > 0.",
        LinAlgWarning,
    )


def _advise_cut_rate(estimator):
    """Warn that one part of a stream has rows that are far larger than those before."""
    _warn(
        f"{type(estimator).__name__}.partial_fit: the rows of this part are so large that they cut "
        f"learning_rate='auto' more than a hundredfold, and it grows back over some hundred "
        f"parts. Look for outliers among these rows, or scale the columns of X.",
        ConvergenceWarning,
    )


def advise_batch_of_everything(estimator, batch_size):
    """Warn that a mini-batch would hold more than all rows."""
    _warn(
        f"'batch_size'={batch_size} of {type(estimator).__name__} exceeds the number of rows; "
        f"every batch is the full batch.",
        UserWarning,
    )


def names_of(estimator, columns):
    """The names of some columns, or their numbers; no more than ten."""
    names = getattr(estimator, "feature_names_in_", np.arange(estimator.n_features_in_))
    listed = ", ".join(str(names[column]) for column in columns[:10])
    return listed if len(columns) <= 10 else f"{listed} and {len(columns) - 10} more"
