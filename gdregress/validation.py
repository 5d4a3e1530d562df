"""Checks of parameters and data: every message names the parameter, the value and the remedy."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_array, check_consistent_length, check_random_state

from .solvers.descent import DescentSettings
from .solvers.schedules import SCHEDULES, Schedule
from .solvers.updates import RULES, UpdateRule

__all__ = [
    "Plan",
    "check_initial_theta",
    "check_last_theta",
    "check_partial_fit",
    "check_plan",
    "check_sample_weight",
    "check_streams",
    "encode_labels",
    "normalised_weights",
]

_CRITERIA = ("gradient", "update", "loss")


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


def _fail(kind, estimator, name, value, accepted):
    raise kind(f"{name!r} of {type(estimator).__name__} must be {accepted}; got {value!r}.")


def _real(estimator, name, accepted, valid):
    value = getattr(estimator, name)
    if type(value) is not float and (
        isinstance(value, (bool, np.bool_)) or not isinstance(value, Real)
    ):
        _fail(TypeError, estimator, name, value, accepted)
    if not (math.isfinite(value) and valid(value)):
        _fail(ValueError, estimator, name, value, accepted)
    return float(value)


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
    max_iter = _whole(estimator, "max_iter", "an integer >= 1", lambda v: v >= 1)
    tol = _real(estimator, "tol", "a number >= 0", lambda v: v >= 0)
    patience = _whole(estimator, "n_iter_no_change", "an integer >= 1", lambda v: v >= 1)
    _real(estimator, "validation_fraction", "a number in (0, 1)", lambda v: 0 < v < 1)
    early_stopping = _flag(estimator, "early_stopping")
    store_path = _flag(estimator, "store_path")
    criterion = estimator.criterion
    if not (isinstance(criterion, str) and criterion in _CRITERIA):
        _fail(ValueError, estimator, "criterion", criterion, f"one of {_listed(_CRITERIA)}")
    batch_size = estimator.batch_size
    if batch_size is not None:
        batch_size = _whole(estimator, "batch_size", "None or an integer >= 1", lambda v: v >= 1)
    learning_rate = _learning_rate(estimator)
    schedule = _schedule(estimator)
    try:
        check_random_state(estimator.random_state)
    except ValueError:
        accepted = "None, an integer or a numpy.random.RandomState"
        _fail(ValueError, estimator, "random_state", estimator.random_state, accepted)
    line_search = learning_rate == "line_search"

    plain_schedule = isinstance(estimator.schedule, str) and estimator.schedule == "constant"
    changed = (
        learning_rate != "auto"
        or batch_size is not None
        or not plain_schedule
        or early_stopping
        or store_path
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
    if rule is not None and line_search:
        if not rule.has_proximal_step:
            raise ValueError(
                f"'learning_rate'='line_search' of {type(estimator).__name__} needs solver='gd' or "
                f"'nesterov'; got solver={estimator.solver!r}."
            )
        if batch_size is not None:
            raise ValueError(
                f"'learning_rate'='line_search' of {type(estimator).__name__} needs full batches; "
                f"set batch_size=None instead of {batch_size!r}, or give a number."
            )
        if not plain_schedule:
            raise ValueError(
                f"'learning_rate'='line_search' of {type(estimator).__name__} chooses every step "
                f"itself; set schedule='constant' instead of {estimator.schedule!r}."
            )
    settings = DescentSettings(
        learning_rate=learning_rate if isinstance(learning_rate, float) else math.nan,
        schedule=schedule,
        max_iter=max_iter,
        tol=tol,
        criterion=criterion,
        n_iter_no_change=patience,
        early_stopping=early_stopping,
        batch_size=batch_size,
        line_search=line_search,
        store_path=store_path,
    )
    return Plan(exact, rule, automatic, settings, learning_rate == "auto")


def _learning_rate(estimator):
    value = estimator.learning_rate
    accepted = "a positive number, 'auto' or 'line_search'"
    if isinstance(value, str):
        if value not in {"auto", "line_search"}:
            _fail(ValueError, estimator, "learning_rate", value, accepted)
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
        _fail(ValueError, estimator, "solver", solver, accepted)
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
    if not can_continue:
        raise ValueError(
            f"partial_fit of {name} with solver={estimator.solver!r} cannot continue what "
            f"solver_={estimator.solver_!r} fitted: that keeps no rows to add to. Start the stream "
            f"with partial_fit, on sklearn.base.clone(...) of this estimator."
        )
    return True


def check_partial_fit(estimator, plan, *, can_continue):
    """A stream of rows can be fitted as the plan says, and goes on where it can."""
    name = type(estimator).__name__
    if plan.settings.early_stopping:
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
    check_streams(estimator, can_continue=can_continue)


def check_sample_weight(sample_weight, X, name="sample_weight"):
    """The weights as float64 (n_samples,), or None; scikit-learn's own words for what is wrong."""
    if sample_weight is None:
        return None
    n_samples = X.shape[0]
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples, float(sample_weight))
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name=name)
    if weight.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar, got {weight.ndim}D array. Expected either "
            f"a scalar value or a 1D array of length {n_samples}."
        )
    if weight.shape != (n_samples,):
        raise ValueError(f"{name}.shape == {weight.shape}, expected {(n_samples,)}!")
    if np.any(weight < 0):
        raise ValueError(
            f"Negative values in data passed to `{name}`; the smallest is {weight.min()!r}."
        )
    if not np.any(weight):
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


def normalised_weights(weight):
    """The weights times a power of two where their sum would leave the range of float64.

    Objectives are weighted means: a common factor changes nothing, but 1 / S of subnormal
    weights overflows.
    """
    if weight is None:
        return None
    largest = float(weight.max())
    if 1e-150 < largest < 1e150:
        return weight
    return np.ldexp(weight, -int(np.frexp(largest)[1]))


def encode_labels(y):
    """The distinct labels, sorted, and the code of each row."""
    if y.dtype.kind in "bifu" and y.size:
        # Two numeric labels, the common case, without sorting.
        low, high = y.min(), y.max()
        if low == high:
            return np.array([low]), np.zeros(len(y), dtype=np.intp)
        upper = y == high
        if np.all(upper | (y == low)):
            return np.array([low, high]), upper.view(np.uint8)
    return np.unique(y, return_inverse=True)


def check_initial_theta(estimator, shape, coef_init, intercept_init):
    """theta of shape (n_features + 1, 1, n_outputs) from a user's start; zero by default.

    `shape` is (n_features, n_outputs); ``coef_init`` has the shape of ``coef_``.
    """
    n_features, n_outputs = shape
    theta = np.zeros((n_features + 1, 1, n_outputs))
    if coef_init is not None:
        coef = check_array(coef_init, ensure_2d=False, dtype=np.float64, input_name="coef_init")
        allowed = {(n_outputs, n_features)} | ({(n_features,)} if n_outputs == 1 else set())
        if coef.shape not in allowed:
            raise ValueError(
                f"'coef_init' of {type(estimator).__name__} must have the shape of coef_, "
                f"{(n_outputs, n_features)}; got shape {coef.shape}."
            )
        theta[:-1, 0] = coef.reshape(n_outputs, n_features).T
    if intercept_init is not None:
        intercept = np.asarray(intercept_init, dtype=np.float64)
        if intercept.shape not in ({(), (1,)} if n_outputs == 1 else {(n_outputs,)}):
            raise ValueError(
                f"'intercept_init' of {type(estimator).__name__} must have the shape of "
                f"intercept_, {(n_outputs,)}; got shape {intercept.shape}."
            )
        if not np.all(np.isfinite(intercept)):
            raise ValueError(
                f"'intercept_init' of {type(estimator).__name__} must be finite; got "
                f"{intercept_init!r}."
            )
        if not estimator.fit_intercept and np.any(intercept):
            raise ValueError(
                f"'intercept_init' of {type(estimator).__name__} must be zero or None with "
                f"fit_intercept=False; got {intercept_init!r}."
            )
        theta[-1, 0] = intercept
    return theta


def check_last_theta(estimator, last, shape):
    """The theta of the last fit as a start; the features and classes have to be the same."""
    theta, classes = last
    name = type(estimator).__name__
    if theta.shape[0] != shape[0]:
        raise ValueError(
            f"{name} with warm_start=True was fitted on {theta.shape[0] - 1} features; X has "
            f"{shape[0] - 1}. Set warm_start=False to start anew."
        )
    if not np.array_equal(classes, estimator.classes_):
        raise ValueError(
            f"{name} with warm_start=True was fitted on the classes {classes.tolist()}; y has "
            f"{estimator.classes_.tolist()}. Set warm_start=False to start anew."
        )
    return theta


def check_validation_arguments(estimator, X_val, y_val, sample_weight_val):
    """X_val and y_val come together, and weights only with them."""
    name = type(estimator).__name__
    if (X_val is None) != (y_val is None):
        missing = "y_val" if y_val is None else "X_val"
        raise ValueError(
            f"{name}.fit got one of 'X_val' and 'y_val' without the other: {missing} is None."
        )
    if sample_weight_val is not None and X_val is None:
        raise ValueError(f"{name}.fit got 'sample_weight_val' without 'X_val' and 'y_val'.")
    if X_val is not None:
        check_consistent_length(X_val, y_val, sample_weight_val)
