"""The objective that a fitted estimator minimised, on rows that are given once more.

A fit keeps no rows. What looks at a fit afterwards is given them again, and everything here goes
the way of ``fit``: the same validation, the same weights, the same blocks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted

from .._base import BaseRegression
from .._checks import check_sample_weight
from .._parameters import check_plan
from .._reading import Data, explaining_overflow, objective_over
from ..problem.objective import BlockObjective
from ..rows.threads import single_threaded_blas
from ..solvers.needs import RIDGE_OR_L1, SQUARES_OR_CLASSES, lacking, mismatch

__all__ = ["Problem", "Refusal", "fitted_theta", "problem_of", "rows_for", "unfitted_problem_of"]


_KNOWN = (SQUARES_OR_CLASSES, RIDGE_OR_L1)


class Refusal(ValueError):
    """What is asked would mean nothing for this fit; the data and the arguments are in order."""


Refusal.__module__ = "gdregress.inspection"  # where it is to be imported from


@dataclass(frozen=True)
class Problem:
    """A fitted estimator and the objective on the rows given.

    Attributes
    ----------
    model : estimator
        A copy of the final estimator, fitted.
    objective : BlockObjective
        In the original columns, the model's penalty included.
    theta : ndarray of shape (n_features + 1, 1, n_outputs)
        The model's coefficients, the intercept last.
    names : list of str
        Of the columns of X.
    caller : str
        The public function that asks, for error messages.
    """

    model: Any
    objective: BlockObjective
    theta: np.ndarray
    names: list[str]
    caller: str

    @property
    def title(self) -> str:
        return type(self.model).__name__

    def fails(self, reason: str, remedy: str) -> Refusal:
        """The error that the caller cannot go on: one sentence."""
        return Refusal(f"{self.caller} of {self.title} {reason}; {remedy}.")

    def check_is_known(self) -> None:
        """Raise a :class:`Refusal` of a loss or a penalty whose theory the caller does not know."""
        have = {"loss": self.objective.loss, "penalty": self.objective.penalty}
        missing = lacking(_KNOWN, **have)
        if missing is not None:
            remedy = (
                "optimality_gap_ bounds the gap of any fit, and a bootstrap has standard errors"
            )
            raise Refusal(mismatch(f"{self.caller} of {self.title}", missing, remedy, **have))


@contextmanager
def problem_of(
    estimator: Any, X: Any, y: Any, sample_weight: Any = None, *, caller: str
) -> Iterator[Problem]:
    """The :class:`Problem` of a fitted estimator, a Pipeline or a search; BLAS is ours inside.

    Raises
    ------
    TypeError
        If the final estimator is not one of this package.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        For bad data, other features, or labels that it was not fitted on.
    """
    model, X, names = rows_for(estimator, X, caller)
    with _objective_on(model, X, y, sample_weight, is_fitted=True) as objective:
        yield Problem(model, objective, fitted_theta(model), names, caller)


@contextmanager
def unfitted_problem_of(
    estimator: Any, X: Any, y: Any, sample_weight: Any = None, *, caller: str
) -> Iterator[Problem]:
    """The :class:`Problem` that ``fit`` would solve; its theta is zero."""
    model = clone(estimator)
    check_plan(model)
    with _objective_on(model, X, y, sample_weight, is_fitted=False) as objective:
        names = getattr(model, "feature_names_in_", None)
        if names is None:
            names = [f"x{j}" for j in range(model.n_features_in_)]
        theta = np.zeros((objective.shape[0], 1, objective.shape[1]))
        yield Problem(model, objective, theta, [str(name) for name in names], caller)


@contextmanager
def _objective_on(
    model: Any, X: Any, y: Any, sample_weight: Any, *, is_fitted: bool
) -> Iterator[BlockObjective]:
    with single_threaded_blas() as workers:
        X, y = model._read_rows(X, y, reset=not is_fitted)
        assert_all_finite(X, estimator_name=type(model).__name__, input_name="X")
        weight = check_sample_weight(model, sample_weight, X)
        with explaining_overflow(model, X):
            encode = _encoded_as_fitted if is_fitted else type(model)._encode
            target, weight = encode(model, y, weight)
            yield objective_over(model, Data(X, target, weight), workers, model._penalty())


def unwrapped(estimator: Any, caller: str) -> tuple[list[Any], Any]:
    """The transformers before the final estimator, and a copy of that."""
    before: list[Any] = []
    while not isinstance(estimator, BaseRegression):
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "steps"):
            if len(estimator.steps) > 1:
                before.append(estimator[:-1])
            estimator = estimator.steps[-1][1]
        else:
            check_is_fitted(estimator)
            raise TypeError(
                f"{caller} reads LinearRegression and LogisticRegression of gdregress, and "
                f"Pipelines and searches that end in one; got {type(estimator).__name__}."
            )
    check_is_fitted(estimator, "coef_")
    return before, copy.copy(estimator)  # validation notes what it has seen, on the copy


def rows_for(estimator: Any, X: Any, caller: str) -> tuple[Any, Any, list[str]]:
    """The final estimator (a copy), X as it sees it, and the names of its columns."""
    before, model = unwrapped(estimator, caller)
    names: Any = getattr(model, "feature_names_in_", None)
    for transformers in before:
        X = transformers.transform(X)
    if names is None and before:
        names = _names_out(before[-1])
    if names is None or len(names) != model.n_features_in_:
        names = [f"x{j}" for j in range(model.n_features_in_)]
    return model, X, [str(name) for name in names]


def _names_out(transformers: Any) -> Sequence[str] | None:
    """The names that transformers give, where all of them know any."""
    try:
        return list(transformers.get_feature_names_out())
    except (AttributeError, ValueError):
        return None


def _encoded_as_fitted(model: Any, y: Any, weight: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """y as the loss takes it and the weights of the rows, the classes staying as they are."""
    if not is_classifier(model):
        target, weight = model._encode(y, weight)
        n_targets = np.size(model.intercept_)
        if target.shape[1] != n_targets:
            raise ValueError(
                f"{type(model).__name__} was fitted on {n_targets} target(s); got y of shape "
                f"{np.shape(y)}."
            )
        return target, weight
    codes = model._codes_of(y, "y", "classes_")
    return model._codes_as_target(codes), model._weigh(model.classes_, codes, weight)


def fitted_theta(model: Any) -> np.ndarray:
    """theta of shape (n_features + 1, 1, n_outputs) from the fitted attributes."""
    coef = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), len(coef))
    return np.vstack([coef.T, intercept])[:, None, :]
