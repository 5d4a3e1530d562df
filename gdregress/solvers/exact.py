"""The solvers that end at the optimum, by the names that users give them.

A new one is a function and a line in ``EXACT``; the estimators list the names that serve them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import needs
from .gap import OptimalityGap, prove
from .least_squares.exact import solve_least_squares
from .newton.newton import newton
from .solution import Solution

__all__ = ["EXACT"]


@dataclass(frozen=True)
class ExactSolver:
    """One exact solver.

    Attributes
    ----------
    solve : callable
        Given an objective in its original columns, a start and a history, with the keywords
        ``settings``, ``validation`` and ``watch``; returns the :class:`Solution`.
    title : str
        What it is called in a sentence.
    needs : tuple of Need
    iterates : bool
        Whether it makes iterations from a start, up to ``max_iter`` of them.
    streams : bool
        Whether it can be fed one part of the rows after the other.
    """

    solve: Callable[..., Solution]
    title: str
    needs: tuple[needs.Need, ...]
    iterates: bool = False
    streams: bool = False


def _least_squares(objective, theta, history, *, solver, validation, watch, **_):
    """Least squares in one iteration, which a watch sees begin and end; no setting plays a part."""
    if watch is not None:
        watch.begin(theta)
    found = solve_least_squares(objective, solver)
    found.record(history, validation)
    if watch is not None:
        watch.end(found.theta)
    return found


def _newton(objective, theta, history, *, settings, validation, watch):
    """Newton's method. Where a loss has no margins, by which it knows that there is no optimum, or
    has a curvature that may jump, its decrement alone proves nothing."""
    limits = {"max_iter": settings.max_iter, "tol": settings.tol}
    found = newton(objective, theta, history, validation=validation, watch=watch, **limits)
    if not hasattr(objective.loss, "margin") or objective.loss.self_concordance is None:
        prove(found, objective, OptimalityGap(objective), settings.tol)
    return found


_LEAST_SQUARES = {
    "title": "least squares",
    "needs": (needs.QUADRATIC, needs.SMOOTH),
    "streams": True,
}
EXACT = {
    **{
        name: ExactSolver(partial(_least_squares, solver=name), **_LEAST_SQUARES)
        for name in ("normal_equations", "lstsq")
    },
    "newton": ExactSolver(
        _newton, "Newton's method", (needs.CURVATURE, needs.SMOOTH), iterates=True
    ),
}
