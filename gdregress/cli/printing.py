"""The result on a terminal, by rich: 80 columns where nobody says otherwise, plain when piped."""

from __future__ import annotations

import sys
import textwrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .job import Result
from .wording import (
    Grid,
    are_plain,
    coefficient_grids,
    columns_grid,
    fits_grid,
    opening,
    search_grid,
)

__all__ = ["console", "print_result"]

_MOST_COEFFICIENTS = 40
_MOST_COLUMNS = 40


def console() -> Console:
    """Stdout; tables of more than 100 columns would be hard to read."""
    found = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=False)
    found.width = min(found.width, 100)
    return found


def print_result(result: Result, out: Console) -> None:
    """Print everything that was found."""
    first, *rest = opening(result)
    _say(first, out, "bold")
    for line in rest:
        _say(line, out)
    for note in result.prepared.notes:
        _say(f"note: {note}", out)
    if not are_plain(result):
        _print(columns_grid(result), out, _MOST_COLUMNS)
    for grid in coefficient_grids(result, _MOST_COEFFICIENTS):
        _print(grid, out)
    _print(fits_grid(result), out)
    _print(search_grid(result), out)


def _print(grid: Grid, out: Console, most: int | None = None) -> None:
    out.print()
    if grid.title:
        _say(grid.title, out, "bold")
    if grid.rows:
        table = Table(
            box=None, padding=(0, _gap(grid, out.width), 0, 0), pad_edge=False, header_style="bold"
        )
        for j, name in enumerate(grid.header):
            table.add_column(
                Text(name),
                justify="right" if j in grid.right else "left",
                no_wrap=j in grid.right,
                overflow="fold",
            )
        for i, row in enumerate(grid.rows[:most]):
            table.add_row(*map(Text, row), style="bold" if i == grid.marked else None)
        with out.capture() as captured:
            out.print(table)
        # rich pads every cell, the last ones too.
        out.file.writelines(line.rstrip(" ") + "\n" for line in captured.get().splitlines())
        if most is not None and len(grid.rows) > most:
            out.print(Text(f"… {len(grid.rows) - most} more; --report has all."))
    for line in grid.below:
        _say(line, out)


def _gap(grid: Grid, width: int) -> int:
    """Blanks between columns: two where all fits, else one."""
    widths = [max(map(len, cells)) for cells in zip(grid.header, *grid.rows, strict=True)]
    return 2 if sum(widths) + 2 * len(widths) <= width else 1


def _say(line: str, out: Console, style: str = "") -> None:
    """A sentence, wrapped."""
    for part in textwrap.wrap(line, out.width, break_on_hyphens=False):
        out.print(Text(part, style=style))
