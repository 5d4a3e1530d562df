"""The words for how a text holds a table, and how its cells and records are told apart."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

__all__ = [
    "MISSING",
    "WHITESPACE",
    "Dialect",
    "is_gap",
    "is_number",
    "records_of",
    "usual_width",
    "without_blanks",
]

# What pandas takes for a gap by itself, and what other tables write.
MISSING = [
    *("?", "-", "--", "---", ".", "..", "*", "na", "Na", "N.A.", "n.a.", "NIL", "nil", "NONE"),
    *("none", "NAN", "Null", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "NaT", "<na>"),
    *("(null)", "(missing)", "missing", "Missing", "\\N"),
]
_GAPS = {"", "nan", "null", "n/a", "<na>", "#n/a", *(word.lower() for word in MISSING)}
WHITESPACE = r"\s+"
_NAMES = {"\t": "tab", WHITESPACE: "blanks", ",": "comma", ";": "semicolon", "|": "bar"}
_POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Dialect:
    """How a text holds its table.

    Attributes
    ----------
    encoding, delimiter, quote, decimal : str
        As ``pandas.read_csv`` takes them.
    comment : str or None
        What begins a line that is no row.
    names : list of str
        The header's cells, or "" for each column where there is none.
    has_header : bool
    gaps : tuple of str
        The words for nothing that were seen.
    has_blanks : bool
        Whether blanks follow delimiters.
    skip : int
        Records, blank ones and the header included, before the first row.
    notes : tuple of str
        What was found out and how to overrule it.
    """

    encoding: str
    delimiter: str
    quote: str
    decimal: str
    comment: str | None
    names: list[str]
    has_header: bool
    skip: int
    gaps: tuple[str, ...] = ()
    has_blanks: bool = True
    notes: tuple[str, ...] = ()

    def described(self) -> str:
        """The dialect in one line."""
        parts = [
            f"delimiter {_NAMES.get(self.delimiter, repr(self.delimiter))}",
            f"encoding {self.encoding}",
            "header in the first line" if self.has_header else "no header",
        ]
        if self.decimal != ".":
            parts.append(f"decimal mark {self.decimal!r}")
        if self.quote != '"':
            parts.append(f"quotes {self.quote}")
        return ", ".join(parts)


def is_number(cell: str, decimal: str = ".") -> bool:
    """Whether a cell is a plain number with this decimal mark."""
    return bool((_POINT if decimal == "." else _COMMA).fullmatch(cell))


def is_gap(cell: str) -> bool:
    """Whether a cell holds nothing."""
    return cell.strip().lower() in _GAPS


def records_of(stream: Any, delimiter: str, quote: str) -> Any:
    """The records of a text stream, blank ones as [], with ``line_num`` of the csv module."""
    blanks = delimiter == WHITESPACE
    lines = (line.replace("\t", " ").strip() + "\n" for line in stream) if blanks else stream
    return csv.reader(
        lines,
        delimiter=" " if blanks else delimiter,
        quotechar=quote,
        skipinitialspace=True,
    )


def without_blanks(records: list[list[str]]) -> list[list[str]]:
    """The records that are neither blank nor a comment."""
    return [record for record in records if record]


def usual_width(records: list[list[str]]) -> tuple[int, float]:
    """The usual number of cells, and the share of the records that have it."""
    counts = Counter(map(len, without_blanks(records)))
    if not counts:
        return 0, 0.0
    width, count = max(counts.items(), key=lambda item: (item[1], item[0]))
    return width, count / counts.total()
