"""The column to predict: which it is, what task it makes, and the rows it can be fitted on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .cells import as_labels, as_numbers, number_style
from .errors import InputError, listed
from .reading import RawTable

__all__ = ["Target", "find_column", "understand"]

# A target of whole numbers with more kinds than these is taken for a quantity.
MOST_CLASSES = 10
FEWEST_ROWS = 5
FEWEST_PER_CLASS = 4  # a quarter is held out, and each fold needs one


@dataclass
class Target:
    """The target of a table.

    Attributes
    ----------
    name : str
    task : str
        "regression" or "classification".
    y : ndarray
        Numbers, or labels as text.
    rows : ndarray of int
        The rows of the table that `y` belongs to.
    notes : list of str
        What was guessed and what was left out.
    """

    name: str
    task: str
    y: np.ndarray
    rows: np.ndarray
    notes: list[str] = field(default_factory=list)


def find_column(table: RawTable, wanted: str, option: str) -> str:
    """The name of the column that the user means: its name, or its number from 1 on."""
    names = list(table.frame.columns)
    if wanted in names:
        return wanted
    alike = [n for n in names if n.strip().lower() == " ".join(wanted.split()).lower()]
    if len(alike) == 1:
        return str(alike[0])
    try:
        k = int(wanted)
    except ValueError:
        pass
    else:
        if 1 <= k <= len(names):
            return str(names[k - 1])
        if -len(names) <= k <= -1:
            return str(names[k])
    raise InputError(
        f"{option}: no column {wanted!r} in {table.source.shown}; its columns are {listed(names)}"
    )


def understand(table: RawTable, name: str, task: str) -> Target:
    """The target as numbers or as labels.

    Parameters
    ----------
    table : RawTable
    name : str
    task : {"auto", "regression", "classification"}

    Raises
    ------
    InputError
        If it cannot be learned, with the line of the cell or the class that is in the way.
    """
    column = table.frame[name]
    notes = []
    known = column.notna()
    if not known.any():
        raise InputError(f"the target {name!r} of {table.source.shown} has no value in any row")
    if not known.all():
        gap = int(np.flatnonzero(~known)[0])
        notes.append(
            f"{int((~known).sum())} row(s) without a target are left out, {table.line(gap)} first"
        )
    filled = column[known]
    numbers = (
        None
        if task == "classification" and _is_text(filled)
        else _numbers(table, name, filled, task)
    )
    distinct = filled.nunique()
    if task == "auto":
        task, why = _guess(filled, numbers, distinct)
        notes.insert(0, f"{why}: a {task}")
        if numbers is not None:
            other = "regression" if task == "classification" else "classification"
            takes = "quantities" if other == "regression" else "classes"
            notes[0] += f"; --task {other} takes them for {takes}"
    rows = np.flatnonzero(known)
    if task == "classification":
        y = as_labels(filled).to_numpy(dtype=object)
        y, rows = _without_rare_classes(table, name, y, rows, notes)
        y = y.astype(str)
    else:
        assert numbers is not None
        y = numbers.to_numpy(dtype=float)
    _check(table, name, y)
    return Target(name, task, y, rows, notes)


def _is_text(filled: Any) -> bool:
    return not pd.api.types.is_numeric_dtype(filled)


def _numbers(table: RawTable, name: str, filled: Any, task: str) -> Any:
    """The target as numbers; None where it is text; an error where it is almost all numbers."""
    if pd.api.types.is_datetime64_any_dtype(filled):
        raise InputError(f"the target {name!r} of {table.source.shown} holds dates, not a quantity")
    if pd.api.types.is_numeric_dtype(filled) and not pd.api.types.is_bool_dtype(filled):
        return filled.astype(float)
    texts = [str(value) for value in filled.unique()]
    decimal = table.dialect.decimal if table.dialect else "."
    mark, share = number_style(texts, decimal)
    numbers = (
        as_numbers(filled, mark) if not pd.api.types.is_bool_dtype(filled) else filled.astype(float)
    )
    if pd.api.types.is_bool_dtype(filled):
        return numbers if task == "regression" else None
    stray = np.flatnonzero(numbers.isna())
    if len(stray) == 0:
        return numbers
    # Not to become one more class: a cell among numbers is a slip of the pen.
    if (len(stray) < 0.5 * len(filled) and share > 0.0) or task == "regression":
        row = int(table.frame.index.get_loc(filled.index[stray[0]]))
        cell = str(filled.iloc[stray[0]])
        kind = (
            "text, not a number"
            if task != "regression"
            else "text; --task regression needs numbers"
        )
        raise InputError(
            f"column {name!r} of {table.source.shown}, {table.line(row)}: {cell[:40]!r} is {kind}"
            f" ({len(stray)} of {len(filled)} cells); correct it, or make it a gap by"
            f" --na {cell[:20]!r}"
        )
    return None


def _guess(filled: Any, numbers: Any, distinct: int) -> tuple[str, str]:
    if numbers is None:
        return "classification", f"text with {distinct} values"
    values = numbers.to_numpy()
    whole = bool(np.all(values == np.rint(values)))
    if whole and distinct == 2:
        low, high = np.unique(values)
        return "classification", f"two values, {low:g} and {high:g}"
    if whole and distinct <= min(MOST_CLASSES, len(filled) // 10):
        return "classification", f"whole numbers of {distinct} kinds"
    return "regression", f"{distinct} different numbers"


def _without_rare_classes(
    table: RawTable, name: str, y: np.ndarray, rows: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    labels, codes, counts = np.unique(y.astype(str), return_inverse=True, return_counts=True)
    shown = f"the target {name!r} of {table.source.shown}"
    if len(labels) == 1:
        raise InputError(
            f"{shown} has one value only: {str(labels[0])!r}; there is nothing to tell apart"
        )
    rare = counts < FEWEST_PER_CLASS
    if not rare.any():
        return y, rows
    if counts[rare].sum() > 0.1 * len(y) or (~rare).sum() < 2:
        least = labels[counts.argmin()]
        raise InputError(
            f"{shown} has {len(labels)} classes in {len(y)} rows, and {int(rare.sum())} of them"
            f" have fewer than {FEWEST_PER_CLASS} rows (class {str(least)!r} {counts.min()}): too"
            " few to learn from"
        )
    keep = ~rare[codes]
    names = ", ".join(
        f"{str(label)!r} ({n})" for label, n in zip(labels[rare], counts[rare], strict=True)
    )
    notes.append(
        f"{int((~keep).sum())} row(s) of classes with fewer than {FEWEST_PER_CLASS} rows are left"
        f" out: {names}"
    )
    return y[keep], rows[keep]


def _check(table: RawTable, name: str, y: np.ndarray) -> None:
    if len(y) < FEWEST_ROWS:
        raise InputError(
            f"{table.source.shown} has {len(y)} row(s) with a target; at least {FEWEST_ROWS} are"
            " needed"
        )
    if y[0] == y[-1] and np.all(y == y[0]):
        raise InputError(
            f"the target {name!r} of {table.source.shown} has one value only: {y[0]:g}; there is"
            " nothing to fit"
        )
