"""Data sets for the command line: scikit-learn's bundled ones, and CSV files."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn import datasets

__all__ = ["BUNDLED", "MOST_CLASSES", "InputError", "Table", "load_bundled", "load_csv"]

BUNDLED = {
    "diabetes": (datasets.load_diabetes, "regression"),
    "breast_cancer": (datasets.load_breast_cancer, "classification"),
    "digits": (datasets.load_digits, "classification"),
}
MISSING = {"", "?", "na", "n/a", "nan", "none", "null"}
MOST_CLASSES = 20  # an integer target with more distinct values than this is taken for a quantity
FEWEST_ROWS = 20
LARGEST = 1e140  # standardising and scoring sum squares, which end at 1.8e308
FEWEST_PER_CLASS = 4  # a quarter is held out, and each fold needs one


class InputError(Exception):
    """What the user gave cannot be used; the message says what and why in one line."""


class TextInColumn(InputError):
    """A column holds something that is not a number."""


@dataclass(frozen=True)
class Table:
    """A data set to fit: numeric features, a target, and what was understood of it."""

    name: str
    origin: str
    X: np.ndarray
    y: np.ndarray
    task: str


def load_bundled(name: str) -> Table:
    """One of scikit-learn's bundled data sets."""
    load, task = BUNDLED[name]
    bunch = load()
    y = bunch.target
    if task == "classification":
        y = np.asarray(bunch.target_names)[y]
    return Table(name, "bundled with scikit-learn", bunch.data, y, task)


def load_csv(path: str, target: str | None, task: str, delimiter: str) -> Table:
    """A CSV file with a header line, numeric features, and a numeric or a text target."""
    header, lines, cells = _read_cells(path, delimiter)
    if target is None:
        raise InputError(f"--target is needed with {path!r}; its columns are {_listed(header)}")
    if target not in header:
        raise InputError(f"no column {target!r} in {path!r}; its columns are {_listed(header)}")
    columns = dict(zip(header, zip(*cells, strict=True), strict=True))
    features = [name for name in header if name != target]
    if not features:
        raise InputError(f"{path!r} has no column but the target {target!r}: nothing to fit it on")

    X = np.empty((len(lines), len(features)))
    for j, name in enumerate(features):
        try:
            X[:, j] = _numbers(path, name, columns[name], lines)
        except TextInColumn as error:
            raise InputError(f"{error}; code it as numbers or leave the column out") from None

    y: np.ndarray
    try:
        y = _numbers(path, target, columns[target], lines)
    except TextInColumn as error:
        if task == "regression":
            raise InputError(f"{error}; --task regression needs a numeric target") from None
        y, task = np.array(columns[target]), "classification"
    if task == "auto":
        few = len(np.unique(y)) <= min(MOST_CLASSES, len(y) // 10)
        task = "classification" if few and _whole(y) else "regression"
    if task == "classification" and y.dtype.kind == "f" and _whole(y):
        y = y.astype(np.int32)

    _check_learnable(path, target, y, task)
    return Table(Path(path).stem, f"column {target!r} of {path!r}", X, y, task)


def _read_cells(path: str, delimiter: str) -> tuple[list[str], list[int], list[list[str]]]:
    """Header, line number of each record, and the records' cells."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter)
            records = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except FileNotFoundError:
        raise InputError(
            f"no file {path!r}; --data takes {', '.join(BUNDLED)} or the path of a CSV file"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path!r}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path!r} is not a CSV file in UTF-8: {error}") from None
    if not records:
        raise InputError(f"{path!r} is empty; a header line and rows of numbers are needed")

    (_, header), *rows = records
    if "" in header:
        raise InputError(f"column {header.index('') + 1} of {path!r} has no name in the header")
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise InputError(f"{path!r} has more than one column {repeated[0]!r}")
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(
                f"line {line} of {path!r} has {len(row)} cells where the header has {len(header)}"
            )
    if len(rows) < FEWEST_ROWS:
        raise InputError(
            f"{path!r} has {len(rows)} rows below its header; at least {FEWEST_ROWS} are needed"
        )
    return header, [line for line, _ in rows], [row for _, row in rows]


def _numbers(path: str, name: str, cells: Sequence[str], lines: Sequence[int]) -> np.ndarray:
    """A column as finite numbers, or an error naming the first cell that is none."""

    def where(i: int) -> str:
        return f"column {name!r} of {path!r}, line {lines[i]}"

    # Gaps first: in a column of labels they must not pass for one more label.
    for i, cell in enumerate(cells):
        if cell.lower() in MISSING:
            raise InputError(f"{where(i)}: a value is missing; fill it or leave the row out")
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        try:
            values[i] = float(cell)
        except ValueError:
            raise TextInColumn(f"{where(i)}: {cell!r} is text, not a number") from None
        if not np.isfinite(values[i]):
            raise InputError(f"{where(i)}: {cell!r} is not a finite number")
        if abs(values[i]) > LARGEST:
            raise InputError(
                f"{where(i)}: {cell!r} is too large to be squared; give it in a larger unit"
            )
    return values


def _whole(y: np.ndarray) -> bool:
    return bool(np.all((y == np.rint(y)) & (np.abs(y) < 2**31)))


def _check_learnable(path: str, target: str, y: np.ndarray, task: str) -> None:
    labels, counts = np.unique(y, return_counts=True)
    if len(labels) == 1:
        raise InputError(f"the target {target!r} of {path!r} has one value only: {labels[0]}")
    if task == "classification" and counts.min() < FEWEST_PER_CLASS:
        raise InputError(
            f"class {str(labels[counts.argmin()])!r} of the target {target!r} of {path!r} has"
            f" {counts.min()} rows; at least {FEWEST_PER_CLASS} are needed"
        )


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
