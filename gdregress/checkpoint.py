"""The file of a checkpoint: arrays, and everything else as one JSON text.

It holds what ``state_of`` tells of an estimator in the middle of its fit: numbers and text as they
are, arrays by name, rules and schedules of this package by class and parameters. No pickle: nothing
in it is executed when it is read.
"""

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from ._saving import restored, state_of
from .linear import LinearRegression
from .logistic import LogisticRegression
from .solvers.descent.rules import RULES
from .solvers.descent.schedules import SCHEDULES

__all__ = ["check_can_be_stored", "load_checkpoint", "write_checkpoint"]

_FORMAT, _LAYOUT = "gdregress checkpoint", 2
_ESTIMATORS = {cls.__name__: cls for cls in (LinearRegression, LogisticRegression)}


def _parts() -> dict[str, Any]:
    """The rules and schedules that have a name, by that of their class."""
    return {cls.__name__: cls for cls in (*RULES.values(), *SCHEDULES.values())}


def write_checkpoint(path: str | os.PathLike[str], estimator: Any) -> None:
    """Store an estimator in the middle of its fit, or at the end."""
    _write(Path(path), _contents(estimator))


def load_checkpoint(path: str | os.PathLike[str]) -> LinearRegression | LogisticRegression:
    """The estimator of a checkpoint, whose ``fit`` on the same data continues.

    The file is one that :class:`~gdregress.callback.Checkpoint` wrote. The estimator has the
    parameters of the one that was being fitted, and already predicts, with the best iterate so far.
    ``fit`` with the same rows (and validation rows) makes the iterations that were left of
    ``max_iter`` and ends with the same bits as if nothing had happened; raise ``max_iter`` by
    ``set_params`` to go further. Callbacks are not stored: set them again. Passing ``coef_init`` or
    ``intercept_init``, or fitting a clone, starts anew.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    LinearRegression or LogisticRegression

    Raises
    ------
    ValueError
        If the file is no whole checkpoint, or is one of another version of the package or layout of
        the file; it stays as it is. ``fit`` raises it for rows of another shape, other classes, or
        another rule than those of the checkpoint.
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
    if text.get("layout") != _LAYOUT:
        raise ValueError(
            f"The checkpoint {os.fspath(path)!r} has the layout {text.get('layout', 1)!r}, that of "
            f"an earlier build of gdregress {version}, and this one reads {_LAYOUT}: fit anew."
        )
    if text.get("estimator") not in _ESTIMATORS:
        raise ValueError(
            f"The checkpoint {os.fspath(path)!r} is one of the class {text.get('estimator')!r}; "
            f"this version knows {' and '.join(_ESTIMATORS)}."
        )
    try:
        state = _from_json(text["state"], arrays)
        return restored(_ESTIMATORS[text["estimator"]], state)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"The checkpoint {os.fspath(path)!r} contradicts itself ({error}): it was not written "
            f"by gdregress.callback.Checkpoint. Load an earlier one, or fit anew."
        ) from error


def check_can_be_stored(estimator: Any) -> None:
    """Refuse now what could not be written later."""
    name = type(estimator).__name__
    if _ESTIMATORS.get(name) is not type(estimator):
        raise TypeError(
            f"Checkpoint serves {' and '.join(_ESTIMATORS)} of gdregress; got {name}. Set it on "
            f"such an estimator itself, not on what contains it."
        )
    if state_of(estimator) is None:
        raise ValueError(
            f"Checkpoint stores a descent, and solver={estimator.solver!r} of {name} is exact "
            f"here: it has nothing to continue. Use a rule of descent such as 'gd', or drop the "
            f"Checkpoint."
        )
    _contents(estimator)


def _contents(estimator: Any) -> dict[str, np.ndarray]:
    """The arrays of the archive, the JSON text among them."""
    name, store = type(estimator).__name__, _ArrayStore()
    text = {
        "format": _FORMAT,
        "version": __version__,
        "layout": _LAYOUT,
        "estimator": name,
        "state": _to_json(state_of(estimator), name, store),
    }
    return {**store.arrays, "text": np.array(json.dumps(text))}


class _ArrayStore:
    """Arrays by name, each once: whether two fields are one array matters to the descent."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._names: dict[int, str] = {}

    def add(self, array: np.ndarray) -> str:
        if id(array) not in self._names:
            name = f"array_{len(self.arrays)}"
            self._names[id(array)] = name
            self.arrays[name] = array
        return self._names[id(array)]


def _to_json(value: Any, what: str, store: _ArrayStore) -> Any:
    """A value as JSON, its arrays in the store; what cannot be held is refused by name."""

    def inside(part: Any, key: object) -> Any:
        return _to_json(part, f"{key!r} of {what}", store)

    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return {"array": store.add(value)}
    if isinstance(value, np.ndarray):
        return {"labels": [_to_json(label, "a class label", store) for label in value]}
    if isinstance(value, (tuple, list)):
        return {"list": [_to_json(part, what, store) for part in value]}
    if isinstance(value, dict):
        return {"pairs": [[_to_json(k, what, store), inside(v, k)] for k, v in value.items()]}
    kind = type(value).__name__
    if _parts().get(kind) is type(value):
        params: dict[str, Any] = value.get_params(deep=False)
        return {"class": kind, "params": {key: inside(part, key) for key, part in params.items()}}
    if isinstance(value, np.random.RandomState):
        return {"random_state": _to_json(value.get_state(), what, store)}
    raise TypeError(
        f"Checkpoint cannot store {what}: it keeps numbers, text, and the rules and schedules of "
        f"gdregress.solvers, but no code and no objects; got {value!r}."
    )


def _from_json(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    def inside(part: Any) -> Any:
        return _from_json(part, arrays)

    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "labels" in value:
        labels = np.empty(len(value["labels"]), dtype=object)
        labels[:] = value["labels"]
        return labels
    if "list" in value:
        return tuple(map(inside, value["list"]))
    if "class" in value:
        params = {name: inside(part) for name, part in value["params"].items()}
        return _parts()[value["class"]](**params)
    if "random_state" in value:
        random_state = np.random.RandomState()
        random_state.set_state(inside(value["random_state"]))
        return random_state
    return {inside(key): inside(part) for key, part in value["pairs"]}


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
