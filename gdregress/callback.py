"""Callbacks of our own, in the form of ``sklearn.callback``: progress, a time limit, a checkpoint.

scikit-learn's ``ScoringMonitor`` (and its own ``ProgressBar``) serve the estimators of this package
too.
"""

import json
import math
import os
import tempfile
import time
import zipfile
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from ._progress import ProgressBar
from ._resume import Descent
from .history import History, StopReason
from .linear import LinearRegression
from .logistic import LogisticRegression
from .solvers.descent.loop import DescentState
from .solvers.descent.rules import RULES
from .solvers.descent.schedules import SCHEDULES

__all__ = ["Checkpoint", "ProgressBar", "TimeLimit", "load_checkpoint"]

_FORMAT = "gdregress checkpoint"
_ESTIMATORS = {cls.__name__: cls for cls in (LinearRegression, LogisticRegression)}
_PARTS = {cls.__name__: cls for cls in (*RULES.values(), *SCHEDULES.values())}


class TimeLimit:
    """Stop a fit when its time is up.

    The clock starts with the ``fit`` of the estimator that the callback is set on, and is looked
    at after every iteration, so that a fit makes at least one. Set on a Pipeline or a search it is
    handed on to their estimators, and limits the whole. It serves every estimator that supports
    callbacks and honours their request to stop; those of this package then say so in
    ``stop_reason_``.

    Parameters
    ----------
    seconds : float
        The limit, > 0, in seconds of wall-clock time.

    Raises
    ------
    ValueError, TypeError
        If `seconds` is not a positive number.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> from gdregress.callback import TimeLimit
    >>> model = LinearRegression(solver="gd", max_iter=10**9, tol=0)
    >>> model = model.set_callbacks(TimeLimit(0.1)).fit([[0.0], [2.0]], [1.0, 3.0])
    >>> print(model.stop_reason_)
    A callback asked to stop.
    """

    max_propagation_depth: int | None = None  # to all estimators below the one it is set on

    def __init__(self, seconds: float) -> None:
        given: Any = seconds
        if isinstance(given, bool) or not isinstance(given, Real):
            raise TypeError(f"'seconds' of TimeLimit must be a positive number; got {seconds!r}.")
        if not 0 < seconds < math.inf:
            raise ValueError(f"'seconds' of TimeLimit must be a positive number; got {seconds!r}.")
        self.seconds: float = seconds
        self._deadlines: dict[Any, float] = {}

    def setup(self, estimator: Any, context: Any) -> None:
        """The outermost fit begins."""
        # The monotonic clock is the machine's: workers of a search read the same.
        self._deadlines[context.root_uuid] = time.monotonic() + self.seconds

    def teardown(self, estimator: Any, context: Any) -> None:
        """The outermost fit has ended."""
        self._deadlines.pop(context.root_uuid, None)

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Nothing to do."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._deadlines.get(context.root_uuid, math.inf)


class Checkpoint:
    """Store a descent on disk while it runs, so that it can go on after a crash.

    The file is replaced as a whole (written beside it, then renamed), so that there is a complete
    checkpoint at every moment. It is an npz archive of arrays and one JSON text: no pickle, and
    nothing in it is executed when it is loaded. It holds what :func:`load_checkpoint` needs to
    continue to the last bit: the parameters, theta, the rule's memory, the generator of the
    batches, the best iterates, the counters and the history; but none of the rows.

    Parameters
    ----------
    path : str or path-like
        The file; in an existing folder. An earlier checkpoint there is replaced.
    every : int, default=1
        Iterations (epochs) between two writes. The end of the fit is always written.

    Raises
    ------
    ValueError, TypeError
        When the fit begins: for an exact solver, which has nothing to continue; for another
        estimator than those of this package; within a search, whose candidates would overwrite
        each other's file; for a schedule or rule that is code of your own, and labels that are
        neither text nor numbers.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> from gdregress.callback import Checkpoint, load_checkpoint
    >>> X, y = [[0.0], [1.0], [3.0]], [1.0, 3.0, 5.0]
    >>> model = LinearRegression(learning_rate=0.1, max_iter=50, tol=0)
    >>> model = model.set_callbacks(Checkpoint("descent.npz", every=10)).fit(X, y)
    >>> again = load_checkpoint("descent.npz").fit(X, y)  # it had ended: nothing is left to do
    >>> again.n_iter_, bool(again.coef_ == model.coef_)
    (50, True)
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        given: Any = path, every
        if not isinstance(given[0], (str, os.PathLike)):
            raise TypeError(f"'path' of Checkpoint must be a path; got {path!r}.")
        if isinstance(given[1], bool) or not isinstance(given[1], Integral):
            raise TypeError(f"'every' of Checkpoint must be an integer >= 1; got {every!r}.")
        if every < 1:
            raise ValueError(f"'every' of Checkpoint must be an integer >= 1; got {every!r}.")
        self.path: str | os.PathLike[str] = path
        self.every: int = every

    def setup(self, estimator: Any, context: Any) -> None:
        """Refuse now what could not be written later."""
        _check_can_be_stored(estimator)
        above = context.parent
        while above is not None:
            if not above.sequential_subtasks:
                raise ValueError(
                    f"Checkpoint writes one file for one fit; within {above.estimator_name} every "
                    f"candidate would overwrite {os.fspath(self.path)!r}. Fit the best one alone, "
                    f"with a Checkpoint of its own."
                )
            above = above.parent
        if Path(self.path).is_dir():
            raise ValueError(
                f"'path' of Checkpoint must be a file, and {os.fspath(self.path)!r} is a folder; "
                f"add a name such as 'fit.npz'."
            )
        folder = Path(self.path).parent
        if not folder.is_dir():
            raise ValueError(
                f"'path' of Checkpoint must be in an existing folder; got {self.path!r}."
            )
        _contents(estimator)

    def teardown(self, estimator: Any, context: Any) -> None:
        """Nothing to do."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Nothing to do."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Write, every so many iterations and when the fit has ended."""
        ended = context.task_name != "iteration"
        if ended or estimator._descent.state.iteration % self.every == 0:
            _write(Path(self.path), _contents(estimator))


def load_checkpoint(path: str | os.PathLike[str]) -> LinearRegression | LogisticRegression:
    """The estimator of a :class:`Checkpoint`, whose ``fit`` on the same data continues.

    It has the parameters of the estimator that was being fitted, and already predicts, with the
    best iterate so far. ``fit`` with the same rows (and validation rows) makes the iterations that
    were left of ``max_iter`` and ends with the same bits as if nothing had happened; raise
    ``max_iter`` by ``set_params`` to go further. Callbacks are not stored: set them again. Passing
    ``coef_init`` or ``intercept_init``, or fitting a clone, starts anew.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    LinearRegression or LogisticRegression

    Raises
    ------
    ValueError
        If the file is no whole checkpoint, or is one of another version of the package; the file
        stays as it is. ``fit`` raises it for rows of another shape, other classes, or another
        rule than those of the checkpoint.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> from gdregress import LogisticRegression
    >>> from gdregress.callback import Checkpoint, load_checkpoint
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
    >>> model = LogisticRegression(batch_size=2, max_iter=40, tol=0, random_state=0)
    >>> model.set_params(max_iter=20).set_callbacks(Checkpoint("epochs.npz")).fit(X, y).n_iter_
    20
    >>> continued = load_checkpoint("epochs.npz").set_params(max_iter=40).fit(X, y)
    >>> whole = LogisticRegression(batch_size=2, max_iter=40, tol=0, random_state=0).fit(X, y)
    >>> bool(continued.coef_ == whole.coef_)
    True
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        text = json.loads(str(arrays.pop("text")))
        if text["format"] != _FORMAT:
            raise KeyError("format")
        version = text["version"]
    except FileNotFoundError:
        raise
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{os.fspath(path)!r} is no whole checkpoint of gdregress ({error}); it may be "
            f"truncated, or another kind of file. Load an earlier one, or fit anew."
        ) from error
    if version != __version__:
        raise ValueError(
            f"The checkpoint {os.fspath(path)!r} was written by gdregress {version}, and this is "
            f"{__version__}: another version may continue otherwise. Install gdregress {version} "
            f"to go on, or fit anew."
        )
    if text.get("estimator") not in _ESTIMATORS:
        raise ValueError(
            f"The checkpoint {os.fspath(path)!r} is one of the class {text.get('estimator')!r}; "
            f"this version knows {' and '.join(_ESTIMATORS)}."
        )
    try:
        return _restored(text, arrays)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"The checkpoint {os.fspath(path)!r} contradicts itself ({error}): it was not written "
            f"by gdregress.callback.Checkpoint. Load an earlier one, or fit anew."
        ) from error


def _check_can_be_stored(estimator):
    name = type(estimator).__name__
    if _ESTIMATORS.get(name) is not type(estimator):
        raise TypeError(
            f"Checkpoint serves {' and '.join(_ESTIMATORS)} of gdregress; got {name}. Set it on "
            f"such an estimator itself, not on what contains it."
        )
    if "_descent" not in vars(estimator):
        raise ValueError(
            f"Checkpoint stores a descent, and solver={estimator.solver!r} of {name} is exact "
            f"here: it has nothing to continue. Use a rule of descent such as 'gd', or drop the "
            f"Checkpoint."
        )


# What a checkpoint holds: arrays, and everything else as one JSON text.


def _contents(estimator):
    """The arrays of the archive, the JSON text among them."""
    descent = estimator._descent
    store = _ArrayStore()
    text = {
        "format": _FORMAT,
        "version": __version__,
        "estimator": type(estimator).__name__,
        "params": {
            name: _to_json(value, f"{name!r} of {type(estimator).__name__}")
            for name, value in estimator.get_params(deep=False).items()
        },
        "attributes": {
            "n_features_in_": int(estimator.n_features_in_),
            "_dtype": estimator._dtype,
            "_y_ndim": vars(estimator).get("_y_ndim"),
        },
        "descent": {
            "rule": _to_json(descent.rule, "the rule"),
            "state": _fields_to_json(descent.state, store),
            "generator": descent.state.generator.bit_generator.state,
            "seed": descent.seed,
            "n_samples": descent.n_samples,
            "shape": list(descent.shape),
            "begun_at": descent.begun_at,
            "rate": descent.rate,
        },
        "history": _record_to_json(descent.history.packed(), store),
        "classes": _labels_to_json(descent.classes, store),
        "features": _labels_to_json(vars(estimator).get("feature_names_in_"), store),
    }
    return {**store.arrays, "text": np.array(json.dumps(text))}


def _restored(text: Any, arrays: Any) -> Any:
    params = {name: _from_json(value) for name, value in text["params"].items()}
    estimator = _ESTIMATORS[text["estimator"]](**params)
    stored = text["descent"]
    state = DescentState(**_fields_from_json(stored["state"], arrays))
    state.generator = np.random.default_rng()
    state.generator.bit_generator.state = stored["generator"]
    history = History.unpacked(_record_from_json(text["history"], arrays))
    classes = _labels_from_json(text["classes"], arrays)
    n_features, n_outputs = stored["shape"]
    for theta in (state.theta, state.point, state.best_theta):
        if theta.shape != (n_features + 1, 1, n_outputs):
            raise ValueError(f"theta of shape {theta.shape} for {n_features} features")
    descent = Descent(
        state,
        history,
        _from_json(stored["rule"]),
        seed=stored["seed"],
        n_samples=stored["n_samples"],
        shape=(n_features, n_outputs),
        classes=classes,
        begun_at=stored["begun_at"],
        rate=stored["rate"],
        pending=True,
    )
    estimator._restore_descent(
        descent,
        n_features_in_=text["attributes"]["n_features_in_"],
        feature_names_in_=_labels_from_json(text["features"], arrays),
        classes_=classes,
        _dtype=text["attributes"]["_dtype"],
        _y_ndim=text["attributes"]["_y_ndim"],
    )
    return estimator


class _ArrayStore:
    """Arrays by name, each once: whether two fields are one array matters to the descent."""

    def __init__(self):
        self.arrays = {}
        self._names = {}

    def add(self, array):
        if id(array) not in self._names:
            name = f"array_{len(self.arrays)}"
            self._names[id(array)] = name
            self.arrays[name] = array
        return self._names[id(array)]


def _record_to_json(packed, store):
    """A packed History, that of its single steps within it."""
    if isinstance(packed, dict):
        return {"parts": {key: _record_to_json(part, store) for key, part in packed.items()}}
    return {"array": store.add(packed)} if isinstance(packed, np.ndarray) else packed


def _record_from_json(stored, arrays):
    if not isinstance(stored, dict):
        return stored
    if "array" in stored:
        return arrays[stored["array"]]
    return {key: _record_from_json(part, arrays) for key, part in stored["parts"].items()}


def _fields_to_json(state, store):
    """The fields of a state: numbers as they are, arrays by name."""

    def plain(value):
        if isinstance(value, np.ndarray):
            return {"array": store.add(value)}
        if isinstance(value, StopReason):
            return {"stop": value.name}
        if isinstance(value, dict):
            return {"dict": {key: plain(part) for key, part in value.items()}}
        return _to_json(value, "the state of the descent")

    return {
        field.name: plain(getattr(state, field.name))
        for field in fields(state)
        if field.name != "generator"
    }


def _fields_from_json(stored, arrays):
    def value_of(value):
        if not isinstance(value, dict):
            return value
        if "array" in value:
            return arrays[value["array"]]
        if "stop" in value:
            return StopReason[value["stop"]]
        return {key: value_of(part) for key, part in value["dict"].items()}

    return {name: value_of(value) for name, value in stored.items()}


def _to_json(value, what):
    """A parameter as JSON; what it cannot hold is refused by name."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if _PARTS.get(type(value).__name__) is type(value):
        params = value.get_params(deep=False)
        inside = {key: _to_json(part, f"{key!r} of {what}") for key, part in params.items()}
        return {"class": type(value).__name__, "params": inside}
    if isinstance(value, np.random.RandomState):
        kind, keys, *rest = value.get_state()
        return {"random_state": [kind, keys.tolist(), *rest]}
    if isinstance(value, dict):
        return {"pairs": [[_to_json(k, what), _to_json(v, what)] for k, v in value.items()]}
    raise TypeError(
        f"Checkpoint cannot store {what}: it keeps numbers, text, and the rules and schedules of "
        f"gdregress.solvers, but no code and no objects; got {value!r}."
    )


def _from_json(value):
    if not isinstance(value, dict):
        return value
    if "class" in value:
        params = {key: _from_json(part) for key, part in value["params"].items()}
        return _PARTS[value["class"]](**params)
    if "random_state" in value:
        kind, keys, *rest = value["random_state"]
        random_state = np.random.RandomState()
        random_state.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
        return random_state
    return {_from_json(key): _from_json(part) for key, part in value["pairs"]}


def _labels_to_json(labels, store):
    """Class labels or column names: an array of a plain type, or a list of text and numbers."""
    if labels is None:
        return None
    if labels.dtype.kind != "O":
        return {"array": store.add(labels)}
    return {"list": [_to_json(label, "a class label") for label in labels]}


def _labels_from_json(stored, arrays):
    if stored is None:
        return None
    if "array" in stored:
        return arrays[stored["array"]]
    labels = np.empty(len(stored["list"]), dtype=object)
    labels[:] = stored["list"]
    return labels


def _write(path, contents):
    """Replace the file at once: a reader finds the old one or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
