"""How a text holds its table: encoding, delimiter, decimal mark; from its first part."""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import replace
from typing import Any

from .dialects import (
    MISSING,
    WHITESPACE,
    Dialect,
    is_gap,
    is_number,
    records_of,
    usual_width,
    without_blanks,
)
from .errors import InputError
from .headers import find_header
from .sources import Source

__all__ = ["sniff"]

# Of delimiters that explain a text equally well the first is taken.
_DELIMITERS = ["\t", ";", "|", ",", WHITESPACE]
_OTHER_TEXTS = {
    "<!doctype html": "HTML",
    "<html": "HTML",
    "<?xml": "XML",
    "{": "JSON",
    "[{": "JSON",
}
# Excel's own first line, which names the delimiter.
_SEPARATOR = re.compile(r"\ufeff?sep=(.)\r?\n")
_SAMPLE = 1 << 18
_RECORDS = 500
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")


def sniff(source: Source, options: Any) -> Dialect:
    """Find out how `source` holds its table; what `options` name is not guessed."""
    head, is_all = source.head(_SAMPLE)
    encoding, text = _decode(source, head, is_all, options.encoding)
    if not is_all:  # the last line may be cut
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    start = text.lstrip()[:15].lower()
    if not start:
        raise InputError(f"{source.shown} is empty; a table needs a header and rows")
    for mark, what in _OTHER_TEXTS.items():
        if start.startswith(mark):
            raise InputError(f"{source.shown} is {what}, not a table in rows and cells")
    quote = _quote(text)
    comment = _comment(text)
    told = _SEPARATOR.match(text)
    delimiter = options.delimiter or (told[1] if told else None)
    if delimiter is not None:
        records = _sample(text, delimiter, quote, comment)
    else:
        delimiter, records = _delimiter(text, quote, comment)
    if comment is not None and _are_rows(text, delimiter, quote, comment, usual_width(records)[0]):
        comment, records = None, _sample(text, delimiter, quote, None)
    dialect = Dialect(encoding, delimiter, quote, ".", comment, [], True, 0)
    decimal, notes = _decimal(records, dialect, options.decimal)
    if comment is not None:
        notes = (*notes, f"lines that begin with {comment} are skipped")
    seen = {cell for record in records for cell in record}
    dialect = replace(
        dialect,
        decimal=decimal,
        gaps=tuple(word for word in MISSING if word in seen),
        has_blanks=delimiter != WHITESPACE and f"{delimiter} " in text,
        notes=notes,
    )
    return find_header(source, text, records, dialect, options.header)


def _decode(source: Source, head: bytes, is_all: bool, asked: str | None) -> tuple[str, str]:
    encoding = asked or _encoding(source, head, is_all)
    try:
        # An incremental decoder does not mind that the last character is cut.
        return encoding, codecs.getincrementaldecoder(encoding)().decode(head, final=is_all)
    except LookupError:
        raise InputError(f"--encoding {asked!r} is no encoding that Python knows") from None
    except UnicodeError as error:
        raise InputError(f"{source.shown} is not text in {encoding}: {error}") from None


def _encoding(source: Source, head: bytes, is_all: bool) -> str:
    for mark, name in [
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ]:
        if head.startswith(mark):
            return name
    if b"\x00" in head:
        # Western text in UTF-16 has a zero in every second byte.
        even, odd = head[0::2].count(0), head[1::2].count(0)
        most, name = max((odd, "utf-16-le"), (even, "utf-16-be"))
        if most > 0.3 * (len(head) // 2) and min(odd, even) < 0.1 * most:
            return name
        raise InputError(f"{source.shown} is no table in text: it holds zero bytes")
    for name in ("utf-8", "cp1252", "latin-1"):
        try:
            codecs.getincrementaldecoder(name)().decode(head, final=is_all)
        except UnicodeDecodeError:
            continue
        break
    if name != "utf-8":
        odd = sum(byte < 32 and byte not in b"\t\n\r\f\x1a" for byte in head)
        if odd > 0.01 * len(head):
            raise InputError(f"{source.shown} is no table in text: it holds control characters")
    return name


def _quote(text: str) -> str:
    """Single quotes only where cells are wrapped in them and double quotes are not used."""
    wrapped = len(re.findall(r"(?:^|[,;\t| ])'[^'\n]*'(?=[,;\t| \r\n]|$)", text[:20_000], re.M))
    clean = wrapped > 1 and '"' not in text and text[:20_000].count("'") == 2 * wrapped
    return "'" if clean or (wrapped > 5 and text.count('"') < wrapped) else '"'


def _comment(text: str) -> str | None:
    """``#`` or ``%`` where it begins lines and stands nowhere else."""
    total = len(text.splitlines())
    for mark in "#%":
        lines = len(re.findall(rf"^[ \t]*{mark}(?!N/?A|DIV|VALUE|REF|NAME|NUM)", text, re.M))
        # Where most lines begin with it, it belongs to the cells.
        if 0 < lines < 0.5 * total and text.count(mark) == lines:
            return mark
    return None


def _are_rows(text: str, delimiter: str, quote: str, comment: str, width: int) -> bool:
    """Whether what begins like a comment below the first row has the cells of a row."""
    records = [r for r in _sample(text, delimiter, quote, None) if r]
    marked = [i for i, record in enumerate(records) if record[0].startswith(comment)]
    top = next((i for i in range(len(records)) if i not in marked), 0)
    return any(i > top and len(records[i]) == width > 1 for i in marked)


def _sample(text: str, delimiter: str, quote: str, comment: str | None) -> list[list[str]]:
    """The first records; blank ones and comments are []."""
    found: list[list[str]] = []
    try:
        for record in records_of(io.StringIO(text, newline=""), delimiter, quote):
            is_row = any(record) and not (comment and record[0].lstrip().startswith(comment))
            is_row &= bool(found) or not _SEPARATOR.match(text)
            found.append([cell.strip() for cell in record] if is_row else [])
            if len(found) == _RECORDS:
                break
    except csv.Error:
        return []
    return found


def _delimiter(text: str, quote: str, comment: str | None) -> tuple[str, list[list[str]]]:
    """The delimiter that gives rows of one width, with cells that are numbers where they can be."""
    best, chosen, splits_first_line = 0.0, None, False
    for delimiter in _DELIMITERS:
        records = _sample(text, delimiter, quote, comment)
        width, share = usual_width(records)
        if width < 2 or share < 0.6:
            continue
        first = len(without_blanks(records)[0])
        if splits_first_line and first == 1:
            continue  # the comma below the names size;price, in 170,3;1.129,22 €, is a decimal mark
        splits_first_line |= first == width and delimiter != ","
        cells = [cell for record in without_blanks(records)[1:] for cell in record]
        clean = sum(is_number(c) or is_number(c, ",") or is_gap(c) for c in cells)
        score = share + 0.5 * clean / max(1, len(cells))
        if score > best + 0.02:
            best, chosen = score, (delimiter, records)
    if chosen is None:
        return ",", _sample(text, ",", quote, comment)
    return chosen


def _decimal(
    records: list[list[str]], dialect: Dialect, asked: str | None
) -> tuple[str, tuple[str, ...]]:
    if asked is not None:
        return asked, ()
    if dialect.delimiter == ",":
        return ".", ()
    cells = [cell for record in without_blanks(records)[1:] for cell in record]
    commas = [cell for cell in cells if "," in cell and is_number(cell, ",")]
    points = [cell for cell in cells if "." in cell and is_number(cell)]
    # 1,234 may be either; 1,5 and 0,123 have a decimal comma, and beside 1.5 a comma groups.
    surely = [cell for cell in commas if not _GROUPED.fullmatch(cell)]
    if not commas or (points and not surely):
        return ".", ()
    if surely or dialect.delimiter == ";":
        cell = (surely or commas)[0]
        return ",", (f"{cell!r} is read with a decimal comma; --decimal . takes it otherwise",)
    return ".", ()
