"""How a text holds its table: encoding, delimiter, decimal mark, header; from its first part."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from .errors import InputError
from .sources import Source

__all__ = ["MISSING", "WHITESPACE", "Dialect", "is_number", "records_of", "sniff"]

# What pandas takes for a gap by itself, and what other tables write.
MISSING = [
    *("?", "-", "--", "---", ".", "..", "*", "na", "Na", "N.A.", "n.a.", "NIL", "nil", "NONE"),
    *("none", "NAN", "Null", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "NaT", "<na>"),
    *("(null)", "(missing)", "missing", "Missing", "\\N"),
]
_GAPS = {"", "nan", "null", "n/a", "<na>", "#n/a", *(word.lower() for word in MISSING)}
WHITESPACE = r"\s+"
# Of delimiters that explain a text equally well the first is taken.
_DELIMITERS = ["\t", ";", "|", ",", WHITESPACE]
_NAMES = {"\t": "tab", WHITESPACE: "blanks", ",": "comma", ";": "semicolon", "|": "bar"}
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
_POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")


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
    if comment is not None and _are_rows(text, delimiter, quote, comment, _width(records)[0]):
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
    dialect = _header(source, records, dialect, options.header)
    return dialect if dialect.has_header or options.header else _from_comment(text, dialect)


def _from_comment(head: str, dialect: Dialect) -> Dialect:
    """A header in the comment above the first row, as NumPy's savetxt writes it."""
    mark = dialect.comment
    lines = head.split("\n")[: dialect.skip + 1]
    above = next((line for line in reversed(lines) if mark and line.startswith(mark)), None)
    if above is None:
        return dialect
    text = above.lstrip(f"{mark} ")
    names = [n.strip() for n in next(records_of([text], dialect.delimiter, dialect.quote), [])]
    if len(names) != len(dialect.names) or any(is_number(name) for name in names):
        return dialect
    notes = tuple(note for note in dialect.notes if "taken for a row" not in note)
    note = f"the names of the columns stand in the comment {above.strip()[:40]!r}"
    return replace(dialect, names=names, has_header=True, notes=(*notes, note))


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


def _rows(records: list[list[str]]) -> list[list[str]]:
    """The records that are neither blank nor a comment."""
    return [record for record in records if record]


def _width(records: list[list[str]]) -> tuple[int, float]:
    """The usual number of cells, and the share of the records that have it."""
    counts = Counter(map(len, _rows(records)))
    if not counts:
        return 0, 0.0
    width, count = max(counts.items(), key=lambda item: (item[1], item[0]))
    return width, count / counts.total()


def _delimiter(text: str, quote: str, comment: str | None) -> tuple[str, list[list[str]]]:
    """The delimiter that gives rows of one width, with cells that are numbers where they can be."""
    best, chosen = 0.0, None
    for delimiter in _DELIMITERS:
        records = _sample(text, delimiter, quote, comment)
        width, share = _width(records)
        if width < 2 or share < 0.6:
            continue
        cells = [cell for record in _rows(records)[1:] for cell in record]
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
    cells = [cell for record in _rows(records)[1:] for cell in record]
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


def _header(
    source: Source, records: list[list[str]], dialect: Dialect, asked: str | None
) -> Dialect:
    """Find the header, and how many records stand before the first row."""
    width, _ = _width(records)
    rows = [(i, record) for i, record in enumerate(records) if record]
    if not rows:
        raise InputError(f"{source.shown} has no rows but comments")
    at = next(k for k, (_, record) in enumerate(rows) if len(record) == width)
    notes = list(dialect.notes)
    full = [record for _, record in rows[at + 1 :] if len(record) == width]
    is_short = at and len(rows[at - 1][1]) == width - 1 and rows[at - 1][0] == rows[at][0] - 1
    if is_short and not _is_header(rows[at][1], full, dialect.decimal):
        # R's write.table: the header has no cell for the names of the rows. Or a comma ends rows.
        at -= 1
        first = rows[at][1]
        ends = all(record[-1] == "" for _, record in rows[at + 1 :] if len(record) == width)
        first = [*first, ""] if ends else ["", *first]
    else:
        first = rows[at][1]
    before = [record for _, record in rows[:at]]
    if before:
        notes.append(f"{len(before)} line(s) above the table are skipped: {' '.join(before[0])!r}")
    body = [record for _, record in rows[at + 1 :] if len(record) == width]
    has_header = asked == "first" or (asked != "none" and _is_header(first, body, dialect.decimal))
    if not has_header and asked is None:
        notes.append(
            f"the first line is taken for a row: it holds {_in_short(first)}; --header first takes"
            " it for the names"
        )
    start = rows[at][0]
    return replace(
        dialect,
        names=first if has_header else [""] * len(first),
        has_header=has_header,
        skip=start + 1 if has_header else start,
        notes=tuple(notes),
    )


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
