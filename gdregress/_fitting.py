"""One fit as planned: where it begins, on which rows, and how it is solved.

plan, origin, data -> objective -> solver -> Solution
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ._advice import advise_batch_of_everything
from ._checks import check_initial_theta, check_last_theta
from ._parameters import Plan, check_keeps_its_descent
from ._reading import Data, held_out, n_outputs, objective_over, validation_over
from ._suited import suited
from .history import History
from .solvers.descent.driver import Descent
from .solvers.exact import EXACT
from .solvers.solution import Solution

__all__ = ["Fit", "Origin", "check_descent_fits", "draw_seed", "fit_of"]


@dataclass(frozen=True)
class Origin:
    """Where a fit begins: at a start, where an earlier one has ended, or at zero."""

    start: dict[str, Any]
    descent: Descent | None = None
    last: tuple[Any, Any] | None = None  # theta and classes of an earlier fit

    @classmethod
    def of(cls, estimator, plan, start):
        """What the parameters and the last fit of an estimator leave to begin with."""
        if any(part is not None for part in start.values()):
            return cls(start)
        return cls(start, _descent_to_continue(estimator, plan), _last_theta(estimator, plan))

    def theta(self, estimator, shape):
        """The start, of the shape (n_features + 1, 1, n_outputs)."""
        theta = check_initial_theta(estimator, shape, **self.start)
        return theta if self.last is None else check_last_theta(estimator, self.last, theta.shape)

    def seed(self, estimator, plan):
        """That of the batches and of the rows held out: the earlier descent's, or a new one."""
        return draw_seed(estimator, plan) if self.descent is None else self.descent.seed


def _descent_to_continue(estimator, plan):
    """The descent that a fit goes on with, or None."""
    if plan.exact is not None:
        return None
    descent = vars(estimator).get("_descent")
    if descent is None:
        check_keeps_its_descent(estimator)
        return None
    if not (estimator.warm_start or descent.pending):
        return None
    check_descent_fits(estimator, descent, plan.rule)
    return descent


def _last_theta(estimator, plan):
    """theta and classes of the last fit, where an exact solver that iterates is to start there."""
    iterates = plan.exact is not None and EXACT[plan.exact].iterates
    if not (estimator.warm_start and iterates and hasattr(estimator, "coef_")):
        return None
    classes = vars(estimator).get("classes_")
    if "_theta" in vars(estimator):
        return estimator._theta, classes
    # Saved with warm_start=False, or the end of a descent: its coefficients are a start.
    coef = np.atleast_2d(estimator.coef_).T
    intercept = np.atleast_1d(estimator.intercept_)
    return np.vstack([coef, intercept], dtype=np.float64)[:, None, :], classes


@dataclass
class Fit:
    """A fit that is ready: ``solve(watch=...)`` gives the :class:`Solution`."""

    plan: Plan
    X: Any  # without the rows that were held out
    history: History
    solve: Callable[..., Solution]
    descent: Descent | None = None


def fit_of(estimator, plan: Plan, origin: Origin, data: Data, validation, workers) -> Fit:
    """The fit that a plan asks for."""
    n_samples, shape = data.X.shape[0], (data.X.shape[1], n_outputs(estimator, data.target))
    if origin.descent is not None:
        check_descent_fits(estimator, origin.descent, plan.rule, n_samples, shape)
    theta, seed, held_out_loss = origin.theta(estimator, shape), origin.seed(estimator, plan), None
    if validation["X_val"] is not None:
        n_columns = data.target.shape[1]
        held_out_loss = validation_over(
            estimator, n_columns=n_columns, workers=workers, **validation
        )
    elif plan.settings.early_stopping and plan.exact is None:
        data, held_out_loss = held_out(estimator, data, seed, workers)
    objective = objective_over(estimator, data, workers, plan.penalty)
    plan = suited(estimator, plan, objective.loss)
    if plan.exact is not None:
        return _exact_fit(plan, data.X, objective, theta, held_out_loss)
    plan = plan.with_batches(_batch_size(estimator, plan, data.X.shape[0]))
    stochastic = plan.settings.batch_size is not None
    if origin.descent is not None:
        descent = origin.descent.continued(n_samples, stochastic=stochastic)
    else:
        known = {"stochastic": stochastic, "classes": vars(estimator).get("classes_")}
        descent = Descent.begin(plan.rule, theta, n_samples, seed, **known)
    more = {"automatic": plan.automatic_rate, "validation": held_out_loss}
    solve = partial(descent.fit, objective, plan.settings, **more)
    return Fit(plan, data.X, descent.history, solve, descent)


def _exact_fit(plan, X, objective, theta, validation):
    """A fit by the exact solver of a plan."""
    history, solve = History(), EXACT[plan.exact].solve
    more = {"settings": plan.settings, "validation": validation}
    return Fit(plan, X, history, partial(solve, objective, theta, history, **more))


def draw_seed(estimator, plan):
    """The seed of a descent's batches, and of the rows held out; an exact fit needs none."""
    if plan.exact is not None:
        return None
    random_state = estimator.random_state
    if isinstance(random_state, Integral):
        generator = _SEEDED.generator
        generator.seed(int(random_state))
    else:
        generator = check_random_state(random_state)
    return int(generator.randint(2**31 - 1))


class _Seeded(threading.local):
    """A generator for every thread, seeded whenever it is drawn from: to make one anew, as
    ``check_random_state`` does of a number, takes a tenth of a fit to a small table."""

    def __init__(self):
        self.generator = np.random.RandomState()


_SEEDED = _Seeded()


def _batch_size(estimator, plan, n_samples):
    """The rows of a mini-batch; None for full batches, also where one would hold all rows."""
    batch_size = plan.settings.batch_size
    if batch_size is None or batch_size < n_samples:
        return batch_size
    if batch_size > n_samples:
        advise_batch_of_everything(estimator, batch_size)
    return None


def check_descent_fits(estimator, descent, rule, n_samples=None, shape=None):
    """An earlier descent was made with this rule, and on rows of this kind where they are known.

    The same in number if it is to go on in the middle of a fit.
    """
    if type(rule) is not type(descent.rule) or repr(rule) != repr(descent.rule):
        _refuse(estimator, descent, "solver", descent.rule, rule)
    if shape is None:
        return
    if descent.pending and n_samples != descent.n_samples:
        _refuse(estimator, descent, "number of rows of X", descent.n_samples, n_samples)
    classes = vars(estimator).get("classes_")
    if classes is not None and not np.array_equal(classes, descent.classes):
        _refuse(estimator, descent, "classes of y", descent.classes.tolist(), classes.tolist())
    for place, what in enumerate(["number of features of X", "number of targets of y"]):
        if shape[place] != descent.shape[place]:
            _refuse(estimator, descent, what, descent.shape[place], shape[place])


def _refuse(estimator, descent, what, before, now):
    name = type(estimator).__name__
    if descent.pending:
        raise ValueError(
            f"The checkpoint that this {name} was loaded from has another {what}: {before!r}, "
            f"where fit has {now!r}. Fit the same data with the same parameters to continue, "
            f"or sklearn.base.clone(...) to start anew."
        )
    raise ValueError(
        f"{name} continues a fit with another {what}: {before!r} then, {now!r} now. Start anew "
        f"with warm_start=False, or with sklearn.base.clone(...) before partial_fit."
    )
