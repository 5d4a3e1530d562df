"""Tables of results as plain text and as HTML: the one place that lays them out."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["TextTable", "number", "p_value"]

_WIDTH = 80
_LEAST_NAME = 10
_STYLE = "font-variant-numeric: tabular-nums; text-align: right; padding: 0.1em 0.6em"


@dataclass(frozen=True)
class TextTable:
    """A title, rows of cells under a header, and lines of notes.

    Parameters
    ----------
    title : str
    header : sequence of str
        Of the columns; the first column holds names, the others numbers.
    rows : sequence of sequences of str
        A row of one cell is a heading.
    notes : sequence of str
        Lines below the table; long ones are wrapped.
    lead : sequence of str
        Lines between the title and the table.
    """

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    lead: Sequence[str] = field(default_factory=tuple)

    def text(self) -> str:
        """At most 80 columns wide; names that are too long for that are cut."""
        lines = [self.title, *_wrapped(self.lead)]
        if self.rows:
            lines += ["", *self._lines()]
        if self.notes:
            lines += ["", *_wrapped(self.notes)]
        return "\n".join(line.rstrip() for line in lines)

    def _lines(self) -> list[str]:
        full = [row for row in [self.header, *self.rows] if len(row) > 1]
        widths = [max(len(row[j]) for row in full) for j in range(len(self.header))]
        # A column is parted from the last by two spaces, by one where that is needed.
        for gap in (2, 1):
            numbers = sum(widths[1:]) + gap * (len(widths) - 1)
            if widths[0] + numbers <= _WIDTH:
                break
        name = min(widths[0], max(_WIDTH - numbers, _LEAST_NAME))
        lines = []
        for row in [self.header, *self.rows]:
            if len(row) == 1:
                lines.append(_cut(row[0], _WIDTH))
                continue
            cells = [_cut(row[0], name).ljust(name)]
            cells += [" " * gap + cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
            lines.append("".join(cells))
        return lines

    def html(self) -> str:
        """A table for a notebook; nothing is cut."""
        parts = [f"<div><strong>{html.escape(self.title)}</strong>"]
        parts += [f"<div>{html.escape(line)}</div>" for line in self.lead]
        if self.rows:
            head = "".join(f'<th style="{_STYLE}">{html.escape(cell)}</th>' for cell in self.header)
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>")
            for row in self.rows:
                if len(row) == 1:
                    wide = f'<th colspan="{len(self.header)}" style="text-align: left">'
                    parts.append(f"<tr>{wide}{html.escape(row[0])}</th></tr>")
                    continue
                name = f'<th style="text-align: left">{html.escape(row[0])}</th>'
                cells = [f'<td style="{_STYLE}">{html.escape(cell)}</td>' for cell in row[1:]]
                parts.append(f"<tr>{name}{''.join(cells)}</tr>")
            parts.append("</tbody></table>")
        parts += [f"<div>{html.escape(line)}</div>" for line in self.notes]
        return "".join(parts) + "</div>"


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [part for line in lines for part in (textwrap.wrap(line, _WIDTH) or [""])]


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"


def number(value: float, digits: int = 5) -> str:
    """A number with so many significant digits, zeros at its end kept: columns of one look."""
    size = abs(value)
    if value == 0.0 or not size < math.inf:
        return f"{value:g}"
    if 10.0 ** (digits - 1) <= size < 1e7:
        return f"{value:.0f}"
    if 1e-4 <= size < 1e7:
        return f"{value:#.{digits}g}".removesuffix(".")
    return f"{value:.{digits - 2}e}"


def p_value(value: float) -> str:
    """A p-value: four decimals, or the order of magnitude where it is smaller."""
    if value != value:
        return "nan"
    if value < 1e-16:
        return "<1e-16"
    return f"{value:.4f}" if value >= 1e-4 else f"{value:.1e}"
