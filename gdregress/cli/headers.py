"""Whether a text has a header, where it stands, and what it says."""

from __future__ import annotations

import re
from dataclasses import replace

from .dialects import Dialect, is_gap, is_number, records_of, usual_width
from .errors import InputError
from .sources import Source

__all__ = ["find_header"]


def find_header(
    source: Source,
    head: str,
    records: list[list[str]],
    dialect: Dialect,
    asked: str | None,
) -> Dialect:
    """Find the header, and how many records stand before the first row.

    Parameters
    ----------
    source : Source
        For error messages.
    head : str
        The first part of the text.
    records : list of list of str
        Its records; blank ones and comments are [].
    dialect : Dialect
        With all but the header.
    asked : {"first", "none"} or None
        What the user said.
    """
    width, _ = usual_width(records)
    rows = [(i, record) for i, record in enumerate(records) if record]
    if not rows:
        raise InputError(f"{source.shown} has no rows but comments")
    at = next(k for k, (_, record) in enumerate(rows) if len(record) == width)
    first = rows[at][1]
    body = [record for _, record in rows[at + 1 :] if len(record) == width]
    is_short = at and len(rows[at - 1][1]) == width - 1 and rows[at - 1][0] == rows[at][0] - 1
    if is_short and not _is_header(first, body, dialect.decimal):
        # R's write.table: the header has no cell for the names of the rows. Or a comma ends rows.
        at, body, short = at - 1, [first, *body], rows[at - 1][1]
        first = [*short, ""] if all(record[-1] == "" for record in body) else ["", *short]
    notes = list(dialect.notes)
    if at:
        notes.append(f"{at} line(s) above the table are skipped: {' '.join(rows[0][1])!r}")
    start = rows[at][0]
    if asked == "first" or (asked != "none" and _is_header(first, body, dialect.decimal)):
        return replace(dialect, names=first, skip=start + 1, notes=tuple(notes))
    nameless = replace(dialect, names=[""] * len(first), has_header=False, skip=start)
    names = _names_in_comment(head, nameless) if asked is None else None
    if names is not None:
        notes.append("the names of the columns stand in the comment above the first row")
        return replace(nameless, names=names, has_header=True, notes=tuple(notes))
    if asked is None:
        notes.append(
            f"the first line is taken for a row: it holds {_in_short(first)}; --header first takes"
            " it for the names"
        )
    return replace(nameless, notes=tuple(notes))


def _names_in_comment(head: str, dialect: Dialect) -> list[str] | None:
    """The names in the comment above the first row, as NumPy's savetxt writes them."""
    mark = dialect.comment
    lines = head.split("\n")[: dialect.skip + 1]
    above = next((line for line in reversed(lines) if mark and line.startswith(mark)), None)
    if above is None:
        return None
    text = above.lstrip(f"{mark} ")
    record: list[str] = next(records_of([text], dialect.delimiter, dialect.quote), [])
    names = [name.strip() for name in record]
    is_fitting = len(names) == len(dialect.names) and not any(map(is_number, names))
    return names if is_fitting else None


def _in_short(cells: list[str]) -> str:
    text = ", ".join(cells[:4])
    return f"{text[:40]}…" if len(cells) > 4 or len(text) > 40 else text


def _is_header(first: list[str], body: list[list[str]], decimal: str) -> bool:
    """Whether the first record names the columns: its cells are of another kind than others."""
    filled = [cell for cell in first if not is_gap(cell)]
    numeric = [cell for cell in filled if is_number(cell, decimal)]
    if not filled or len(numeric) == len(filled):
        return False
    if not body:
        return True
    years = [int(cell) for cell in numeric if re.fullmatch(r"1[5-9]\d\d|20\d\d|21\d\d", cell)]
    if len(years) >= 2 and len(years) == len(numeric) == len(set(years)):
        numeric = []  # a column for each year
    votes = 0
    for j, cell in enumerate(first):
        below = [record[j] for record in body if not is_gap(record[j])]
        if is_gap(cell) or not below:
            continue
        share = sum(is_number(other, decimal) for other in below) / len(below)
        if share > 0.8:
            votes += -1 if cell in numeric else 1
        elif cell in below:
            votes -= 1  # the value of a row, seen again in another
        elif len(set(below)) <= 0.5 * len(below):
            votes += 1
    return votes >= 0
