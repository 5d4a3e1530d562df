"""The rows that an estimator is given, as an objective: validated, encoded, some of them held out.

data -> validated rows -> targets and weights -> objective
"""

import math
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import LinAlgError
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import validate_data

from ._advice import names_of
from ._checks import (
    assert_finite,
    check_sample_weight,
    is_surely_finite,
    naming,
    real_numbers,
)
from .problem.objective import BlockObjective
from .problem.penalty import ElasticNet
from .rows.blocks import RowBlocks
from .rows.overflow import ColumnsOutOfRange

__all__ = [
    "Data",
    "explaining_overflow",
    "held_out",
    "look_for_bad_rows",
    "n_outputs",
    "objective_over",
    "read_features",
    "read_rows",
    "validation_over",
]


class Data(NamedTuple):
    """Rows as an objective takes them: targets, and the weights of rows and classes together."""

    X: Any
    target: np.ndarray
    weight: np.ndarray | None

    def rows(self, chosen):
        """Some of the rows, copied."""
        weight = None if self.weight is None else self.weight[chosen]
        return Data(self.X[chosen], self.target[chosen], weight)


def read_rows(estimator, X, y, *, reset):
    """X and y as arrays; X is read block-wise later, and its NaN found there."""
    X = read_features(estimator, X, "X", reset=reset)
    if not (type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "fiub"):
        y = estimator._check_y(y)
    if X.shape[:1] != y.shape[:1]:
        check_consistent_length(X, y)  # which raises
    assert_finite(estimator, y, "y")
    return X, y


def read_features(estimator, X, name, *, reset=False, accept_sparse="csr", finite=False):
    """An array of features of the estimator; with `finite` its NaN are looked for."""
    is_plain = _is_plain_table(X) and (not finite or is_surely_finite(X))
    if is_plain and _has_known_columns(estimator, X, reset=reset):
        return X
    with naming(estimator, name):
        X = validate_data(
            estimator, X, reset=reset, accept_sparse=accept_sparse, ensure_all_finite=finite
        )
        return real_numbers(X)


def _is_plain_table(X):
    """Whether scikit-learn has nothing to convert, to name or to refuse; asking it takes a fifth of
    a small fit."""
    return type(X) is np.ndarray and X.ndim == 2 and X.size > 0 and X.dtype.kind in "fiub"


def _has_known_columns(estimator, X, *, reset):
    """Whether a table without names has the columns of the estimator, or gives it them."""
    fitted = vars(estimator)
    if reset:
        fitted.pop("feature_names_in_", None)
        estimator.n_features_in_ = X.shape[1]
        return True
    return "feature_names_in_" not in fitted and fitted.get("n_features_in_") == X.shape[1]


def objective_over(estimator, data, workers, penalty):
    """The objective of an estimator over some rows."""
    loss, outputs = estimator._loss(), n_outputs(estimator, data.target)
    return BlockObjective(
        RowBlocks(*data, workers, n_outputs=outputs if loss.is_coupled else 1),
        loss,
        penalty,
        outputs,
        fit_intercept=estimator.fit_intercept,
    )


def n_outputs(estimator, target):
    """The columns of theta: one for each target, or for each class of more than two."""
    n_classes = len(getattr(estimator, "classes_", ()))
    return n_classes if n_classes > 2 else target.shape[1]


def validation_over(estimator, X_val, y_val, sample_weight_val, n_columns, workers):
    """The loss without the penalty on the user's own rows."""
    X_val = read_features(estimator, X_val, "X_val", finite=True)
    weight = check_sample_weight(estimator, sample_weight_val, X_val, "sample_weight_val")
    target = estimator._encode_validation(y_val)
    if target.shape[1] != n_columns:
        raise ValueError(
            f"'y_val' of {type(estimator).__name__}.fit must have as many targets as y, "
            f"{n_columns}; got {target.shape[1]}."
        )
    return objective_over(estimator, Data(X_val, target, weight), workers, ElasticNet())


def held_out(estimator, data, seed, workers):
    """Set rows aside for early stopping, stratified by class for a classifier: the others, and the
    loss without the penalty on these."""
    # Rows that weigh nothing decide nothing.
    n_samples = data.X.shape[0]
    rows = np.arange(n_samples) if data.weight is None else np.flatnonzero(data.weight)
    strata = data.target[rows, 0] if hasattr(estimator, "classes_") else None
    n_held_out = _check_held_out(estimator, len(rows), strata)
    train, aside = (rows[part] for part in _split_rows(n_held_out, len(rows), strata, seed))
    validation = data.rows(aside)
    # A bad value there would spoil the validation loss, and no step would notice it.
    assert_finite(estimator, validation.X)
    return data.rows(train), objective_over(estimator, validation, workers, ElasticNet())


def _check_held_out(estimator, n_samples, strata):
    """How many rows `validation_fraction` sets aside: one at least, and of each class one stays."""
    name, share = type(estimator).__name__, estimator.validation_fraction
    n_held_out = int(np.ceil(share * n_samples))
    needed = 1 if strata is None else len(np.unique(strata))
    what = f"one row of each of the {needed} classes" if needed > 1 else "one row"
    if n_samples - n_held_out < needed:
        raise ValueError(
            f"'validation_fraction'={share!r} of {name} sets {n_held_out} of the rows aside, and "
            f"early_stopping=True needs {what} to fit (n_samples={n_samples}); choose another "
            f"share, or pass X_val and y_val."
        )
    return n_held_out


def _split_rows(n_held_out, n_samples, strata, seed):
    """The numbers of the rows to fit, and of those set aside, in the proportions of the classes.

    Where classes are so many, or so small, that not every one can be on both sides, rows are drawn
    from all but one of each class, which stays to be fitted.
    """
    rows = np.arange(n_samples)
    by_class = None if strata is None else np.unique(strata, return_counts=True)[1]
    if by_class is None or (by_class.min() > 1 and n_held_out >= len(by_class)):
        return train_test_split(rows, test_size=n_held_out, random_state=seed, stratify=strata)
    order = np.random.RandomState(seed).permutation(n_samples)
    stay = order[np.unique(strata[order], return_index=True)[1]]
    held_out = order[~np.isin(order, stay)][:n_held_out]
    return np.setdiff1d(rows, held_out), held_out


def look_for_bad_rows(estimator, X, history):
    """A loss that is no number may come from X, which nobody may have looked at so far."""
    if not math.isfinite(history.last("loss")):
        assert_finite(estimator, X)


@contextmanager
def explaining_overflow(estimator, X):
    """Turn a non-finite intermediate result into scikit-learn's words about X, or our own."""
    try:
        with np.errstate(all="ignore"):  # what matters is looked at where it is computed
            yield
    except (FloatingPointError, LinAlgError) as error:
        name = type(estimator).__name__
        assert_finite(estimator, X)
        what = str(error)
        if isinstance(error, ColumnsOutOfRange):
            what = error.sentence(f"column {names_of(estimator, error.columns)}")
        raise ValueError(f"{name}: {what}") from error
