"""What each column of a table is for: a number, a date, a category, or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .cells import as_numbers, date_format, is_time_of_day, number_style
from .columns import MOST_LEVELS, typed
from .reading import RawTable

__all__ = ["Column", "decide", "leaks", "rare_below", "without_repetitions"]

# A column of numbers may have a few cells that are none: they become gaps, and are told.
STRAY = 0.1
# A text of which more rows than these have their own value says nothing about the next row.
MOST_DISTINCT = 0.5
_ID = re.compile(
    r"(unnamed: ?0(\.\d+)?|(.*[_ .])?(id|uuid|guid)|\w*[a-z]I[dD]|ids?|index|idx|key|rownames?|"
    r"row([_ .]?(no|num|number|id))?|"
    r"no\.?|nr\.?|num|number|#|obs(ervation)?|case|x|x1|s\.?no\.?|serial([_ .]?(no|number)\.?)?)",
)
_SURELY_ID = re.compile(r"id|index|idx|key|unnamed|row")
_IDENTIFIER = "an identifier, to judge by its name and values"


@dataclass(frozen=True)
class Column:
    """What became of a column.

    Attributes
    ----------
    name : str
    kind : str or None
        As ``TableColumns`` takes it; None: left out.
    words : str
        What it is, or why it is left out.
    gaps : int
        Rows without a value.
    """

    name: str
    kind: str | None
    words: str
    gaps: int = 0


def decide(table: RawTable, frame: Any, names: Sequence[str], options: Any) -> list[Column]:
    """What each of the columns is.

    Parameters
    ----------
    table : RawTable
        Where the lines of cells are looked up.
    frame : DataFrame
        The rows to fit.
    names : list of str
        The columns to decide on.
    options : namespace
        ``categorical``, ``columns``: sets of names that the user asked for.
    """
    decimal = table.dialect.decimal if table.dialect else "."
    columns = [_decide(table, frame[name], decimal, options) for name in names]
    if not any(column.kind for column in columns):
        # x = 1, 2, 3, … is a feature where there is no other.
        columns = [_counted(column) for column in columns]
    return columns


def _counted(column: Column) -> Column:
    """A column of numbers that was left out for counting the rows, in use after all."""
    if column.words != _IDENTIFIER or _SURELY_ID.search(column.name.lower()):
        return column
    return Column(column.name, "number", "number: it counts the rows", column.gaps)


def _decide(table: RawTable, column: Any, decimal: str, options: Any) -> Column:
    name = str(column.name)
    gaps = int(column.isna().sum())
    filled = column.dropna()
    if filled.empty:
        return Column(name, None, "all its cells are gaps", gaps)
    if name in options.categorical:
        return Column(name, "category", _levels(filled.nunique()), gaps)
    if pd.api.types.is_datetime64_any_dtype(column):
        return Column(name, "date ISO", "date, in years", gaps)
    if filled.nunique() == 1 and not gaps:
        return Column(name, None, f"constant: {str(filled.iloc[0])[:30]!r} in every row", gaps)
    asked = name in options.columns
    if pd.api.types.is_bool_dtype(column):
        return Column(name, "category", _levels(2), gaps)
    if pd.api.types.is_numeric_dtype(column):
        if not asked and _is_identifier(table, name, filled, gaps):
            return Column(name, None, _IDENTIFIER, gaps)
        return Column(name, "number", "number", gaps)
    return _decide_text(table, column, filled, decimal, asked)


def _is_identifier(table: RawTable, name: str, filled: Any, gaps: int) -> bool:
    """Whole numbers under a name of identifiers, or counting the rows without any name."""
    if gaps or not np.all(filled == np.rint(filled)):
        return False
    if name in table.unnamed:
        # A table without a header has only such names: there the values have to count.
        steps = np.diff(filled.to_numpy(dtype=float))
        counts = len(filled) > 2 and bool(np.all(steps == 1.0)) and filled.iloc[0] in (0, 1)
        return (
            counts if not (table.dialect and table.dialect.has_header) else bool(filled.is_unique)
        )
    if not _ID.fullmatch(name) and not _ID.fullmatch(name.lower()):
        return False
    # x and number name features, too, unless they count the rows.
    if _SURELY_ID.search(name.lower()):
        return True
    return bool(np.all(np.diff(filled.to_numpy(dtype=float)) == 1.0)) and filled.iloc[0] in (0, 1)


def _decide_text(table: RawTable, column: Any, filled: Any, decimal: str, asked: bool) -> Column:
    name, gaps = str(column.name), int(column.isna().sum())
    distinct = [str(value) for value in filled.unique()]
    kind = _number_or_date(table, column, filled, distinct, decimal)
    if kind is not None:
        return kind
    share = len(distinct) / len(filled)
    if asked or len(distinct) <= 2:
        return Column(name, "category", _levels(len(distinct)), gaps)
    if share == 1.0 or (name in table.unnamed and share > MOST_DISTINCT):
        words = float(np.mean([len(text.split()) for text in distinct]))
        what = "free text" if words > 5 else "an identifier: no two rows have the same"
        return Column(name, None, what, gaps)
    if len(distinct) > 10 and share > MOST_DISTINCT:
        return Column(name, None, f"text with {len(distinct)} values in {len(filled)} rows", gaps)
    counts = filled.value_counts()
    frequent = int((counts >= rare_below(len(column))).sum())
    if frequent == 0:
        return Column(name, None, f"text with {len(distinct)} values, all of them rare", gaps)
    return Column(name, "category", _levels(len(distinct), frequent), gaps)


def _number_or_date(
    table: RawTable, column: Any, filled: Any, distinct: list[str], decimal: str
) -> Column | None:
    name, gaps = str(column.name), int(column.isna().sum())
    if number_style(distinct[:200], decimal)[1] >= 0.5:
        mark, _ = number_style(distinct, decimal)
        numbers = as_numbers(column, mark)
        stray = filled[numbers[filled.index].isna()]
        kind = "number" if mark == "." else "number ,"
        dressed = next((t for t in distinct if not re.fullmatch(r"[+-]?[\d.]+", t)), None)
        if stray.empty and dressed is None:
            return Column(name, kind, "number", gaps)
        if stray.empty:
            read = as_numbers(pd.Series([dressed], dtype=object), mark).iloc[0]
            return Column(name, kind, f"number: {dressed!r} is read as {read:g}", gaps)
        if len(stray) <= STRAY * len(filled) and len(filled) - len(stray) > 2:
            row = int(table.frame.index.get_loc(stray.index[0]))
            words = (
                f"number: {len(stray)} cell(s) that are none become gaps,"
                f" {str(stray.iloc[0])[:20]!r} in {table.line(row)} first"
            )
            return Column(name, kind, words, gaps + len(stray))
    found = date_format(distinct)
    if found is None:
        return None
    form, rival = found
    unit = "hours" if is_time_of_day(form) else "years"
    doubt = f" ({rival} would fit, too)" if rival else ""
    return Column(name, f"date {form}", f"date {form}{doubt}, in {unit}", gaps)


def _levels(n: int, frequent: int | None = None) -> str:
    kept = n if frequent is None else min(frequent, MOST_LEVELS)
    pooled = f", the {n - kept} rarest pooled" if kept < n else ""
    return f"category of {n} level{'s' if n > 1 else ''}{pooled}"


def rare_below(rows: int) -> int:
    """Levels with fewer rows than these are pooled: a hundredth of the rows, between 2 and 20."""
    return int(np.clip(rows // 100, 2, 20))


def without_repetitions(frame: Any, columns: list[Column]) -> list[Column]:
    """Leave out a column that says, row for row, what one before it says."""
    seen: dict[tuple[str, int], list[tuple[str, np.ndarray]]] = {}
    result = []
    for column in columns:
        if column.kind is None:
            result.append(column)
            continue
        values = typed(frame[column.name], column.kind)
        is_category = column.kind == "category"
        # Labels one to one have the same codes, in order of appearance.
        codes = pd.factorize(values)[0] if is_category else values.to_numpy(dtype=float)
        key = ("category" if is_category else "number", hash(codes[:1000].tobytes()))
        twin = next(
            (
                name
                for name, other in seen.get(key, [])
                if np.array_equal(codes, other, equal_nan=True)
            ),
            None,
        )
        if twin is None:
            seen.setdefault(key, []).append((column.name, codes))
            result.append(column)
        else:
            same = "one to one with" if is_category else "the same as"
            result.append(Column(column.name, None, f"{same} {twin!r}", column.gaps))
    return result


def leaks(frame: Any, columns: list[Column], y: Any, task: str) -> list[str]:
    """Columns that determine the target by themselves."""
    if len(y) < 10:
        return []
    return [c.name for c in columns if c.kind and _determines(frame[c.name], c.kind, y, task)]


def _determines(column: Any, kind: str, y: Any, task: str) -> bool:
    values = typed(column, kind)
    if kind == "category":
        known = values.notna().to_numpy()
        codes, levels = pd.factorize(values[known])
        if len(levels) < 2 or len(levels) > len(codes) // 5 or known.mean() < 0.9:
            return False
        groups = pd.Series(y)[known].groupby(codes)
        if task == "classification":
            return bool((groups.nunique() == 1).all())
        return bool((groups.max() - groups.min()).max() <= 1e-9 * np.ptp(y))
    x = values.to_numpy(dtype=float)
    known = np.isfinite(x)
    x, y = x[known], np.asarray(y)[known]
    if len(x) < 10 or np.ptp(x) == 0.0:
        return False
    if task == "regression":
        return np.ptp(y) > 0 and abs(np.corrcoef(x, y.astype(float))[0, 1]) > 1.0 - 1e-10
    order = np.argsort(x, kind="stable")
    labels, sorted_x = y[order], x[order]
    changes = np.flatnonzero(labels[1:] != labels[:-1])
    # As many stretches as classes, and no tie across a border.
    return len(changes) == len(np.unique(y)) - 1 and bool(
        np.all(sorted_x[changes + 1] > sorted_x[changes])
    )
