"""Files that are there whole or not at all; saved models."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib

from .columns import TableColumns
from .errors import InputError

__all__ = ["load_model", "save_model", "whole_file"]

# skops builds only types that it is told to trust: those of this package and what they hold.
_TRUSTED = ("gdregress.", "numpy.dtype")


@contextmanager
def whole_file(path: str, option: str) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` when the block is left without an error."""
    final = Path(path)
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{final.stem}-", suffix=final.suffix, dir=final.parent or "."
        )
        os.close(handle)
    except OSError as error:
        raise InputError(f"{option}: cannot write {path!r}: {error.strerror}") from None
    scratch = Path(name)
    try:
        yield scratch
        # mkstemp's files are for their owner alone; this is an ordinary one.
        mask = os.umask(0)
        os.umask(mask)
        scratch.chmod(0o666 & ~mask)
        os.replace(scratch, final)
    except OSError as error:
        raise InputError(f"{option}: cannot write {path!r}: {error.strerror or error}") from None
    finally:
        scratch.unlink(missing_ok=True)


def check_can_save(path: str) -> None:
    """Refuse a format whose package is missing before the work begins."""
    if Path(path).suffix.lower() == ".skops":
        _skops()


def _skops() -> Any:
    try:
        import skops.io
    except ImportError:
        raise InputError(
            '.skops needs skops: python -m pip install "gdregress[cli]"; or save as .joblib'
        ) from None
    return skops.io


def save_model(pipeline: Any, path: str) -> None:
    """Write a fitted pipeline in the format of the suffix."""
    suffix = Path(path).suffix.lower()
    writers: dict[str, Callable[[Path], object]] = {
        ".skops": lambda file: _skops().dump(pipeline, file),
        ".joblib": lambda file: joblib.dump(pipeline, file),
        ".pkl": lambda file: file.write_bytes(pickle.dumps(pipeline)),
    }
    with whole_file(path, "--save") as file:
        writers[suffix](file)


def load_model(path: str) -> Any:
    """Read a pipeline that :func:`save_model` wrote.

    Joblib and pickle files run what is written in them: only skops files may come from strangers.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"no model {path!r}")
    try:
        if file.suffix.lower() == ".skops":
            model = _load_skops(file)
        else:
            model = joblib.load(file)
    except InputError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path!r} is no model that --save wrote: {reason}") from None
    steps = getattr(model, "steps", None)
    if not steps or not isinstance(steps[0][1], TableColumns):
        raise InputError(f"{path!r} holds {type(model).__name__}, no model that --save wrote")
    return model


def _load_skops(file: Path) -> Any:
    io = _skops()
    unknown = io.get_untrusted_types(file=file)
    strange = [name for name in unknown if not name.startswith(_TRUSTED)]
    if strange:
        raise InputError(f"{str(file)!r} holds types that gdregress does not save: {strange[0]}")
    return io.load(file, trusted=unknown)
