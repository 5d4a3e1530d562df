"""A table as a data frame, by ``pandas.read_csv`` with what the sniffing found."""

from __future__ import annotations

import csv
import io
import re
import warnings
import zlib
from dataclasses import dataclass, field, replace
from lzma import LZMAError
from typing import Any

import numpy as np
import pandas as pd

from .dialects import Dialect, is_gap, records_of
from .errors import InputError
from .sniffing import sniff
from .sources import Source

__all__ = ["RawTable", "read"]

LARGEST = 1e140  # standardising and scoring sum squares, which end at 1.8e308


@dataclass
class RawTable:
    """A table as it was read: columns of numbers, booleans or text.

    Attributes
    ----------
    source : Source
    frame : DataFrame
        Gaps are NaN; text is stripped.
    described : str
        How it was read, in one line.
    notes : list of str
        What was found out on the way.
    dialect : Dialect or None
        None for parquet.
    unnamed : set of str
        Columns that had no name of their own.
    """

    source: Source
    frame: Any
    described: str
    notes: list[str]
    dialect: Dialect | None = None
    unnamed: set[str] = field(default_factory=set)

    def line(self, row: int) -> str:
        """Where the row (counted from 0) stands in the file, in words."""
        if self.dialect is None:
            return f"row {row + 1}"
        for i, (line, _) in enumerate(_data_records(self.source, self.dialect)):
            if i == row:
                return f"line {line}"
        return f"row {row + 1}"


def read(path: str, options: Any) -> RawTable:
    """Read the table that `path` names.

    Parameters
    ----------
    path : str
        A path, or "-" for stdin; text (compressed or not) or parquet.
    options : namespace
        ``encoding``, ``delimiter``, ``decimal``, ``header`` (None: found out) and ``na``.

    Raises
    ------
    InputError
        If it holds no table; the message says why.
    """
    source = Source(path)
    if source.is_parquet:
        table = _read_parquet(source)
    else:
        table = _read_text(source, options)
    if table.frame.shape[1] == 0 or len(table.frame) == 0:
        raise InputError(f"{source.shown} has a header but no rows")
    _tidy(table, options.na)
    return table


def _read_parquet(source: Source) -> RawTable:
    try:
        with source.open() as stream:
            frame = pd.read_parquet(io.BytesIO(stream.read()))
    except ImportError:
        raise InputError(
            f"{source.shown} is parquet, which needs pyarrow: python -m pip install pyarrow"
        ) from None
    except Exception as error:  # pyarrow's own kinds, which cannot be named without pyarrow
        raise InputError(f"cannot read {source.shown}: {str(error).splitlines()[0]}") from None
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame.columns = [str(name) for name in frame.columns]
    return RawTable(source, frame, "parquet", [])


def _read_text(source: Source, options: Any) -> RawTable:
    dialect = sniff(source, options)
    notes = list(dialect.notes)
    try:
        frame = _parse(source, dialect, options.na)
    except UnicodeDecodeError as error:
        if options.encoding is not None or dialect.encoding != "utf-8":
            raise InputError(f"{source.shown} is not text in {dialect.encoding}: {error}") from None
        # The sample was plain ASCII; further down it is not.
        dialect = replace(dialect, encoding="cp1252")
        try:
            frame = _parse(source, dialect, options.na)
        except UnicodeDecodeError:
            dialect = replace(dialect, encoding="latin-1")
            frame = _parse(source, dialect, options.na)
    if options.encoding is None and dialect.encoding in {"cp1252", "latin-1"}:
        notes.append(
            f"the text is not UTF-8 and is read as {dialect.encoding}; --encoding sets another"
        )
    table = RawTable(source, frame, dialect.described(), notes, dialect)
    _name_columns(table)
    _note_short_rows(table)
    return table


def _parse(source: Source, dialect: Dialect, na: list[str], *, in_parts: bool = True) -> Any:
    """The rows as pandas reads them.

    In parts, which is faster; where a column is numbers in one part and text in another, at once.
    """
    try:
        with source.open() as stream, warnings.catch_warnings():
            # A first row that is longer than the header: pandas would cut it.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            warnings.simplefilter("error", pd.errors.DtypeWarning)
            return pd.read_csv(
                stream,
                sep=dialect.delimiter,
                decimal=dialect.decimal,
                encoding=dialect.encoding,
                quotechar=dialect.quote,
                comment=dialect.comment,
                header=None,
                names=range(len(dialect.names)),
                index_col=False,
                skiprows=dialect.skip,
                skipinitialspace=dialect.has_blanks,
                # Each word costs time in each cell: those not seen yet are looked for in text.
                na_values=[*dialect.gaps, *na],
                low_memory=in_parts,
            )
    except pd.errors.DtypeWarning:
        return _parse(source, dialect, na, in_parts=False)
    except UnicodeDecodeError:
        raise
    except pd.errors.EmptyDataError:
        raise InputError(f"{source.shown} has a header but no rows") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise InputError(_explained(source, dialect, str(error))) from None
    except (OSError, EOFError, zlib.error, LZMAError, ValueError) as error:
        raise InputError(f"cannot read {source.shown}: {error}") from None


def _data_records(source: Source, dialect: Dialect) -> Any:
    """The records below the header as pandas counts them: (line in the file, cells)."""
    with source.open() as stream:
        text = io.TextIOWrapper(stream, encoding=dialect.encoding, newline="")
        reader = records_of(text, dialect.delimiter, dialect.quote)
        before = 0
        for i, record in enumerate(reader):
            line, before = before + 1, reader.line_num
            if i < dialect.skip or not record or (len(record) == 1 and not record[0].strip()):
                continue
            if dialect.comment and record[0].startswith(dialect.comment):
                continue
            yield line, record


def _explained(source: Source, dialect: Dialect, error: str) -> str:
    """pandas' complaint with the line of the file, which pandas does not know."""
    width = len(dialect.names)
    try:
        for line, record in _data_records(source, dialect):
            if len(record) > width and not (len(record) == width + 1 and not record[-1]):
                where = "the header has" if dialect.has_header else "the other lines have"
                return (
                    f"line {line} of {source.shown} has {len(record)} cells where {where} {width}"
                )
    except csv.Error:
        pass
    reason = re.sub(r"^Error tokenizing data\. (C error: )?", "", error).strip()
    if "EOF inside string" in reason:
        reason = "a quote is opened and never closed"
    return f"cannot read {source.shown}: {reason}"


def _name_columns(table: RawTable) -> None:
    """Give every column a name of its own; what had none, or another's, is told."""
    assert table.dialect is not None
    names: list[str] = []
    blank, twice = [], []
    for j, name in enumerate(table.dialect.names):
        name = " ".join(name.split())
        if not name:
            name = f"column_{j + 1}"
            table.unnamed.add(name)
            blank.append(name)
        elif re.fullmatch(r"Unnamed: \d+(\.\d+)?", name):
            table.unnamed.add(name)
        stem, k = name, 2
        while name in names:
            name, k = f"{stem}.{k}", k + 1
        if name != stem:
            twice.append(name)
        names.append(name)
    table.frame.columns = names
    if twice:
        table.notes.append(f"names that stand twice in the header become {', '.join(twice)}")
    if not table.dialect.has_header:
        table.notes.append(f"the columns are named {names[0]} to {names[-1]}")
    elif blank:
        table.notes.append(f"columns without a name in the header become {', '.join(blank[:5])}")


def _note_short_rows(table: RawTable) -> None:
    """Tell of rows that end early: their gaps nobody wrote. The last column has one then."""
    assert table.dialect is not None
    gaps = int(table.frame.iloc[:, -1].isna().sum())
    if not gaps or len(table.frame) > 200_000:
        return
    width = len(table.dialect.names)
    short = [ln for ln, rec in _data_records(table.source, table.dialect) if len(rec) < width]
    if short and width > 1:
        table.notes.append(
            f"{len(short)} row(s) have fewer cells than the others, the first in line {short[0]};"
            " the cells not there are gaps"
        )


def _tidy(table: RawTable, na: list[str]) -> None:
    """Strip text, make gaps of what stands for nothing, and refuse infinities."""
    frame = table.frame
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(object)
        if column.dtype == object or pd.api.types.is_string_dtype(column):
            frame[name] = column = _stripped(column, set(na))
        if pd.api.types.is_numeric_dtype(column):
            _check_finite(table, name, column)


def _stripped(column: Any, na: set[str]) -> Any:
    """Text without blanks around it, gaps as NaN; True and False become text."""
    values = {}
    for value in column.dropna().unique():
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        text = text.strip()
        values[value] = np.nan if is_gap(text) or text in na else text
    text = column.astype(object).map(values)
    try:
        # What kept pandas from reading numbers may have been gaps alone.
        return pd.to_numeric(text)
    except (ValueError, TypeError):
        return text


def _check_finite(table: RawTable, name: str, column: Any) -> None:
    if column.dtype.kind not in "fiu":
        return
    values = column.to_numpy(dtype=float, na_value=np.nan)
    with np.errstate(invalid="ignore"):
        # Two passes without a temporary: most columns have nothing to look for.
        if (
            column.dtype.kind != "f"
            or max(np.fmax.reduce(values), -np.fmin.reduce(values)) <= LARGEST
        ):
            return
        wrong = np.abs(values) > LARGEST
    if not wrong.any():
        return
    row = int(np.flatnonzero(wrong)[0])
    where = f"column {name!r} of {table.source.shown}, {table.line(row)}"
    if np.isinf(values[row]):
        raise InputError(f"{where}: {values[row]} is not a finite number; --na inf makes it a gap")
    raise InputError(f"{where}: {values[row]:g} is too large to be squared; use a larger unit")
