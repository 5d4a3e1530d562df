"""Checks of what `fit` and `partial_fit` are given: weights, labels, starts, validation rows.

Every message names the estimator, the argument, the value and the remedy.
"""

import math
import re
from contextlib import contextmanager
from numbers import Real

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, column_or_1d

__all__ = [
    "assert_finite",
    "check_initial_theta",
    "check_labels",
    "check_last_theta",
    "check_namespace",
    "check_room_for_triangle",
    "check_sample_weight",
    "check_targets",
    "check_validation_arguments",
    "encode_labels",
    "is_surely_finite",
    "naming",
    "normalised_weights",
    "real_numbers",
]


# Solving a triangle takes several times its memory.
_MAX_TRIANGLE_BYTES = 2**30
# So many labels Python sorts sooner than NumPy.
_FEW_LABELS = 1024

# What NumPy, pandas and scikit-learn say of values that are no numbers, without saying whose.
_NO_NUMBERS = re.compile(
    r"could not convert|argument must be|array element|inhomogeneous|bytes/strings|'numeric'"
    r"|[Cc]annot (?:cast|convert)|[Cc]omplex data|unsupported operand|do not have a common"
    r"|NAType|ambiguous|promoted|no matching signature|too large to convert"
)


def check_namespace(estimator, **arguments):
    """Refuse arrays of other libraries where scikit-learn would not convert them to NumPy's."""
    if not get_config()["array_api_dispatch"]:
        return
    for name, value in arguments.items():
        if hasattr(value, "__dlpack__") and not isinstance(value, (np.ndarray, np.generic)):
            kind = type(value)
            raise TypeError(
                f"{type(estimator).__name__} computes with NumPy on the CPU; got {name!r} as "
                f"{kind.__module__}.{kind.__qualname__} while array_api_dispatch=True. Convert it "
                f"with numpy.asarray, or call within "
                f"sklearn.config_context(array_api_dispatch=False), which does so."
            )


@contextmanager
def naming(estimator, argument):
    """Whoever converts the argument: an error says whose value is no number."""
    try:
        with np.errstate(all="ignore"):  # sums of infinities, on the way to the error
            yield
    except (TypeError, ValueError, OverflowError) as error:
        if not _NO_NUMBERS.search(str(error)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"{argument!r} of {type(estimator).__name__} must hold real numbers, and nothing else; "
            f"encode text and dates before: {error}"
        ) from error


def as_numbers(estimator, value, name, **options):
    """The argument as an array of float64, checked by scikit-learn; dates are no numbers."""
    with naming(estimator, name):
        array = check_array(
            value, dtype="numeric", ensure_2d=False, input_name=name, estimator=estimator, **options
        )
        return real_numbers(array).astype(np.float64, copy=False)


def real_numbers(array):
    """Within :func:`naming`: an array of a type that NumPy calculates with.

    It would turn dates into counts of days or nanoseconds.
    """
    if array.dtype.kind in "mM":
        raise TypeError(f"cannot convert {array.dtype} without a unit of yours.")
    return array.astype(np.float64) if array.dtype.kind == "O" else array


def assert_finite(estimator, array, name="X"):
    """scikit-learn's own words about NaN and infinity, and no raw warning on the way."""
    if is_surely_finite(array):
        return
    with np.errstate(all="ignore"):
        assert_all_finite(array, estimator_name=type(estimator).__name__, input_name=name)


def is_surely_finite(array):
    """Whether the kind of an array, or its sum, leave no doubt that it holds neither NaN nor
    infinity; where they do, scikit-learn takes its time to look closer."""
    kind = array.dtype.kind if type(array) is np.ndarray else "O"
    if kind != "f":
        return kind in "iub"
    with np.errstate(all="ignore"):
        return math.isfinite(array.sum())


def check_targets(estimator, y, name="y"):
    """Numbers as float64, (n_samples,) or (n_samples, n_targets)."""
    _refuse_nothing(estimator, y, name)
    return as_numbers(estimator, y, name)


def check_labels(estimator, y, name="y"):
    """Labels of any kind as an array (n_samples,)."""
    _refuse_nothing(estimator, y, name)
    with naming(estimator, name):
        y = column_or_1d(y, warn=name == "y")
    if y.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: {name!r} of {type(estimator).__name__} must hold labels."
        )
    try:
        assert_finite(estimator, y, name)
    except TypeError as error:  # pandas.NA is neither equal nor unequal to itself
        raise _unsortable(estimator, y, name) from error
    return y


def _unsortable(estimator, y, name):
    kinds = sorted({type(label).__name__ for label in y})
    return ValueError(
        f"{name!r} of {type(estimator).__name__} must hold labels of one kind that can be "
        f"sorted, such as text or numbers, and none that is missing; got labels of type "
        f"{' and '.join(kinds)}. Convert them, for example with [str(label) for label in "
        f"{name}]."
    )


def _refuse_nothing(estimator, y, name):
    kind = type(estimator).__name__
    if y is None:
        raise ValueError(
            f"This {kind} estimator requires {name} to be passed, but the target {name} is None."
        )
    if sparse.issparse(y):
        raise TypeError(
            f"{name!r} of {kind} must be a dense array, and got a sparse {type(y).__name__}: pass "
            f"{name}.toarray().ravel()."
        )


def check_sample_weight(estimator, sample_weight, X, name="sample_weight", *, may_be_zero=False):
    """The weights as float64 (n_samples,), or None; scikit-learn's own words for what is wrong."""
    if sample_weight is None:
        return None
    n_samples = X.shape[0]
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples, float(sample_weight))
    weight = as_numbers(estimator, sample_weight, name)
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
    if not (may_be_zero or np.any(weight)):
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


def encode_labels(estimator, y, name="y"):
    """The distinct labels, sorted, and the code of each row."""
    if y.dtype.kind in "bifu" and y.size:
        # Two numeric labels, the common case, without sorting.
        low, high = np.minimum.reduce(y), np.maximum.reduce(y)
        if low == high:
            return np.array([low]), np.zeros(len(y), dtype=np.intp)
        upper = y == high
        if np.logical_and.reduce(upper | (y == low)):
            return np.array([low, high]), upper.view(np.uint8)
        if y.size <= _FEW_LABELS:
            classes = np.array(sorted(set(y.tolist())), dtype=y.dtype)
            return classes, classes.searchsorted(y)
    try:
        return np.unique(y, return_inverse=True)
    except TypeError as error:
        raise _unsortable(estimator, y, name) from error


def check_initial_theta(estimator, shape, coef_init, intercept_init):
    """theta of shape (n_features + 1, 1, n_outputs) from a user's start; zero by default.

    `shape` is (n_features, n_outputs); ``coef_init`` has the shape of ``coef_``.
    """
    n_features, n_outputs = shape
    theta = np.zeros((n_features + 1, 1, n_outputs))
    if coef_init is not None:
        options = {"allow_nd": True, "ensure_min_samples": 0}
        coef = as_numbers(estimator, coef_init, "coef_init", **options)
        allowed = {(n_outputs, n_features)} | ({(n_features,)} if n_outputs == 1 else set())
        if coef.shape not in allowed:
            raise ValueError(
                f"'coef_init' of {type(estimator).__name__} must have the shape of coef_, "
                f"{(n_outputs, n_features)}; got shape {coef.shape}."
            )
        theta[:-1, 0] = coef.reshape(n_outputs, n_features).T
    if intercept_init is not None:
        with naming(estimator, "intercept_init"):
            intercept = np.atleast_1d(intercept_init)  # a number for one output
        intercept = as_numbers(estimator, intercept, "intercept_init", allow_nd=True)
        if intercept.shape != (n_outputs,):
            raise ValueError(
                f"'intercept_init' of {type(estimator).__name__} must have the shape of "
                f"intercept_, {(n_outputs,)}; got shape {intercept.shape}."
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
    if theta.shape[0] != shape[0]:
        before, now = f"{theta.shape[0] - 1} features", f"X has {shape[0] - 1}"
    elif theta.shape != shape:
        before, now = f"{theta.shape[2]} targets", f"y has {shape[2]}"
    elif classes is not None and not np.array_equal(classes, estimator.classes_):
        before, now = f"the classes {classes.tolist()}", f"y has {estimator.classes_.tolist()}"
    else:
        return theta
    raise ValueError(
        f"{type(estimator).__name__} with warm_start=True was fitted on {before}; {now}. Set "
        f"warm_start=False to start anew."
    )


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
        weighs_alike = isinstance(sample_weight_val, Real)  # one weight for all
        check_consistent_length(X_val, y_val, None if weighs_alike else sample_weight_val)


def check_room_for_triangle(estimator, n_columns):
    """An exact stream keeps a triangle that has a row for every column of X and y."""
    size = 8 * n_columns**2
    if size > _MAX_TRIANGLE_BYTES:
        raise ValueError(
            f"partial_fit of {type(estimator).__name__} with solver={estimator.solver!r} keeps a "
            f"triangle of {n_columns} columns, {size / 2**30:.3g} GiB, and has room for "
            f"{_MAX_TRIANGLE_BYTES / 2**30:.0f} GiB; use a rule of descent such as solver='gd', "
            f"which keeps no more than its coefficients, or fit."
        )
