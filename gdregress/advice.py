"""What a fit says when it did not end well: the facts, and what to do about them."""

import sys
import warnings

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.exceptions import ConvergenceWarning

from .history import StopReason

__all__ = [
    "advise_after_descent",
    "advise_batch_of_everything",
    "advise_dependent_columns",
    "advise_newton_unfinished",
    "advise_separable",
    "advise_unsolved",
    "names_of",
]

_INSIDE = ("gdregress.", "sklearn.callback.")


def _warn(text, category):
    """Warn at the line of the user's that called the package."""
    level, frame = 2, sys._getframe(1)  # level 1 is this function
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def advise_after_descent(estimator, objective, rule, settings, state):
    """Warn where a descent diverged or stopped before it converged."""
    name, reason = type(estimator).__name__, estimator.stop_reason_
    solver = estimator.solver_
    if reason is StopReason.DIVERGED:
        limit = None
        if settings.batch_size is None:
            limit = rule.stable_below(objective.hessian_bound_norm(), state.rule_state)
        text = (
            f"{name} with solver='{solver}' and learning_rate={state.rate:.6g} diverged after "
            f"{state.iteration} iterations: the loss rose from {state.start_loss:.6g} to "
            f"{state.last_loss:.6g}. The best iterate was kept. Lower learning_rate"
        )
        if limit is not None:
            kind = "is stable" if objective.is_quadratic else "is guaranteed stable"
            text += f": on this data {solver} {kind} below {limit:.6g}"
        _warn(f"{text}; learning_rate='auto' finds one.", ConvergenceWarning)
        return
    if estimator.converged_:
        return
    could = f"a coordinate step could still lower the loss by {state.gradient_check:.3g} of where"
    if reason is StopReason.UPDATE:
        _warn(
            f"{name} stopped because the update became small ({state.update_norm:.3g} < tol="
            f"{settings.tol:.3g}) while the gradient is not: {could} it began. That is a small "
            f"step, not an optimum: raise learning_rate or lower tol.",
            ConvergenceWarning,
        )
    elif reason in {StopReason.MAX_ITER, StopReason.LOSS} and settings.tol > 0:
        by_count = reason is StopReason.MAX_ITER
        limit = f"max_iter={settings.max_iter}" if by_count else "a stalled loss"
        _warn(
            f"{name} with solver='{solver}' stopped at {limit} before it converged: {could} it "
            f"began (tol={settings.tol:.3g}). Increase max_iter, standardise the features, or use "
            f"solver='{estimator._exact_solvers[0]}'.",
            ConvergenceWarning,
        )


def advise_newton_unfinished(estimator, settings):
    """Warn that Newton's method reached ``max_iter``."""
    _warn(
        f"{type(estimator).__name__} with solver='newton' stopped at max_iter={settings.max_iter} "
        f"before its decrement fell to tol^2 of the loss at the start; increase max_iter, or set "
        f"alpha > 0.",
        ConvergenceWarning,
    )


def advise_separable(estimator, what_happened, columns=()):
    """Warn that the classes are separable, by which columns if they are few."""
    by = f" by column {names_of(estimator, columns)}" if 0 < len(columns) <= 5 else ""
    _warn(
        f"{type(estimator).__name__}: the classes are linearly separable, all or in part{by}, so "
        f"without a penalty there is no optimum and coefficients would grow for ever; "
        f"{what_happened}. Set alpha > 0.",
        ConvergenceWarning,
    )


def advise_unsolved(estimator):
    """Warn that an exact fit ran out of iterations."""
    _warn(
        f"{type(estimator).__name__}: with more than 2,000 sparse columns the solution is iterated "
        f"(LSMR), and the iterations hit their limit before they converged, as happens where "
        f"columns nearly depend on others. Drop such columns, raise alpha, or pass X as a dense "
        f"array.",
        ConvergenceWarning,
    )


def advise_dependent_columns(estimator, solution):
    """Warn that X is rank-deficient; `solution` says which of the optima was taken."""
    _warn(
        f"{type(estimator).__name__}: columns of X are constant or combinations of others, so that "
        f"the coefficients are not unique: {solution}. rank_ says how many are independent and "
        f"dependent_columns_ which are not; drop these, or set alpha > 0.",
        LinAlgWarning,
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
