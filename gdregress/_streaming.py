"""One part of a stream of rows: whether it can be taken, and what it adds."""

from dataclasses import dataclass, replace
from typing import Any

from ._checks import assert_finite, check_initial_theta, check_room_for_triangle
from ._fitting import check_descent_fits, draw_seed
from ._parameters import Plan, check_partial_fit, check_plan, check_streams
from ._suited import suited
from .history import History
from .solvers.descent.driver import Descent
from .solvers.least_squares.stream import LeastSquaresStream

__all__ = ["Part", "streams"]

# What stays of an exact fit where a descent begins from its coefficients.
_KEPT = {"n_features_in_", "feature_names_in_", "classes_", "_dtype", "_y_ndim"}


def streams(estimator):
    """For ``available_if``: an exact fit keeps no rows to add to, and Newton needs them all."""
    goes_on = not vars(estimator).keys().isdisjoint({"_stream", "_descent"})
    can_continue = not hasattr(estimator, "coef_") or goes_on or _is_a_start(estimator)
    return check_streams(estimator, can_continue=can_continue)


def _is_a_start(estimator):
    """Whether a stream that descends may begin from the coefficients of an exact fit."""
    exact = estimator._exact_solvers
    solved = "_stream" not in vars(estimator) and estimator.solver_ in exact
    stays_exact = estimator.solver == "auto" and estimator._exact_streams
    return solved and not stays_exact and estimator.solver not in exact


@dataclass(frozen=True)
class Part:
    """The next part of an estimator's stream.

    Attributes
    ----------
    plan : Plan
    first : bool
        Whether the estimator has seen nothing before.
    begins : bool
        Whether a stream begins here, at a start or from the coefficients of an exact fit.
    """

    estimator: Any
    plan: Plan
    first: bool
    begins: bool
    start: dict[str, Any]
    forget: float

    @classmethod
    def of(cls, estimator, start, forget):
        """What the parameters and the past of an estimator make of its next part."""
        first = not hasattr(estimator, "coef_")
        has_start = any(part is not None for part in start.values())
        plan = _plan(estimator, has_start)
        goes_on = ("_descent" if plan.exact is None else "_stream") in vars(estimator)
        is_a_start = not goes_on and plan.exact is None
        begins = first or (is_a_start and _is_a_start(estimator))
        check_partial_fit(
            estimator,
            plan,
            forget,
            can_continue=begins or goes_on,
            has_start=has_start,
            is_first=first,
        )
        return cls(estimator, plan, first, begins, start, forget)

    def skip(self, X):
        """Rows that all weigh nothing add nothing, and cannot be where a stream begins."""
        assert_finite(self.estimator, X)
        if self.first:
            raise ValueError(
                f"The first part of a stream of {type(self.estimator).__name__}.partial_fit needs "
                f"a row of positive weight, and in this one 'sample_weight' or 'class_weight' "
                f"makes all rows weigh nothing; later such parts are skipped."
            )

    def solve(self, objective):
        """The solution after the rows of an objective."""
        part = replace(self, plan=suited(self.estimator, self.plan, objective.loss))
        return (part._descend if part.plan.exact is None else part._solve_exactly)(objective)

    def _descend(self, objective):
        estimator, plan, n_samples = self.estimator, self.plan, objective.blocks.n_samples
        shape = (objective.shape[0] - 1, objective.shape[1])
        if self.begins:
            theta, seed = self._theta(shape), draw_seed(estimator, plan)
            classes = vars(estimator).get("classes_")
            descent = Descent.begin(
                plan.rule, theta, n_samples, seed, stochastic=True, classes=classes
            )
        else:
            descent = estimator._descent.streamed()
            check_descent_fits(estimator, estimator._descent, plan.rule, n_samples, shape)
        estimator._descent = descent
        return descent.take_part(objective, plan.settings, automatic=plan.automatic_rate)

    def _theta(self, shape):
        """Where a descending stream begins: at the user's start, an exact fit's end, or zero."""
        estimator, start = self.estimator, self.start
        if not self.first:
            start = {"coef_init": estimator.coef_, "intercept_init": estimator.intercept_}
            estimator._forget(but=_KEPT)
        return check_initial_theta(estimator, shape, **start)

    def _solve_exactly(self, objective):
        estimator, fit_intercept = self.estimator, self.estimator.fit_intercept
        stream = vars(estimator).get("_stream")
        if stream is None:
            check_room_for_triangle(estimator, sum(objective.shape))
            stream = LeastSquaresStream(fit_intercept)
        if stream.fit_intercept != fit_intercept:
            raise ValueError(
                f"{type(estimator).__name__} continues a stream with fit_intercept="
                f"{stream.fit_intercept}; got fit_intercept={fit_intercept}. Start anew with "
                f"sklearn.base.clone(...)."
            )
        estimator._stream = stream.update(objective, self.forget)
        found = estimator._stream.solve(objective, self.plan.exact)
        found.record(History())
        return found


def _plan(estimator, has_start):
    """The plan of a stream; under ``"auto"`` one that has begun to descend goes on so."""
    asked_by = "coef_init or intercept_init" if has_start else None
    if not estimator._exact_streams:
        asked_by = "partial_fit"
    plan = check_plan(estimator, asked_by)
    if plan.automatic and plan.exact is not None and "_descent" in vars(estimator):
        plan = check_plan(estimator, "a stream that descends")
    return plan
