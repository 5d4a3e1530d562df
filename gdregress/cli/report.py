"""The result as one HTML file that needs nothing else: tables, and pictures as inline SVG."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from html import escape

from .job import Result
from .pictures import as_svg, coefficient_figure, fit_figure, loss_figure
from .wording import (
    Grid,
    are_plain,
    coefficient_grids,
    columns_grid,
    fits_grid,
    opening,
    search_grid,
)

__all__ = ["report_html"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --faint: #5d6878; --line: #dfe4ea; --paper: #fff;
  --mark: #eef4fb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --faint: #9aa5b4; --line: #343c48;
  --paper: #171b21; --mark: #202a38; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .9rem .22rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; white-space: nowrap; }
td.right, th.right { text-align: right; white-space: nowrap; }
tr.marked td { background: var(--mark); font-weight: 600; }
p.below, footer { color: var(--faint); margin: .4rem 0; max-width: 52rem; }
ul { padding-left: 1.2rem; max-width: 52rem; }
figure { margin: 1rem 0; background: #fff; border: 1px solid var(--line); border-radius: 6px;
  padding: .5rem; display: inline-block; max-width: 100%; box-sizing: border-box; }
figure svg { max-width: 100%; height: auto; display: block; }
code { font-size: .9em; }
@media print { body { margin: 0; } figure { break-inside: avoid; } }
"""


def report_html(result: Result, argv: Sequence[str]) -> str:
    """The whole page.

    Parameters
    ----------
    result : Result
    argv : list of str
        The command line, to be shown.
    """
    prepared = result.prepared
    title, *lines = opening(result)
    notes = "".join(f"<li>{escape(note)}</li>" for note in prepared.notes)
    parts = [
        f"<h1>{escape(title.partition(': ')[2])}</h1>",
        *(f"<p class=below>{escape(line)}</p>" for line in lines),
        f"<ul>{notes}</ul>" if notes else "",
        "" if are_plain(result) else _table(columns_grid(result)),
        *(_table(grid) for grid in coefficient_grids(result, sys.maxsize)),
        _figure(as_svg(coefficient_figure(result), "coefficients")),
        _table(fits_grid(result)),
        _figure(as_svg(fit_figure(result), "fit")),
        _table(search_grid(result)),
        _figure(as_svg(loss_figure(result), "loss curves")),
        f"<footer>{escape(title.partition(':')[0])}, <code>gdregress {escape(shlex.join(argv))}"
        "</code></footer>",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(f'gdregress: {prepared.target.name} on {prepared.name}')}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _figure(svg: str) -> str:
    return f"<figure>{svg}</figure>"


def _table(grid: Grid) -> str:
    parts = [f"<h2>{escape(grid.title)}</h2>"] if grid.title else []

    def cell(tag: str, j: int, text: str) -> str:
        right = ' class="right"' if j in grid.right else ""
        return f"<{tag}{right}>{escape(text)}</{tag}>"

    if grid.rows:
        head = "".join(cell("th", j, name) for j, name in enumerate(grid.header))
        rows = []
        for i, row in enumerate(grid.rows):
            marked = ' class="marked"' if i == grid.marked else ""
            rows.append(
                f"<tr{marked}>"
                + "".join(cell("td", j, text) for j, text in enumerate(row))
                + "</tr>"
            )
        body = "\n".join(rows)
        parts.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n'
            "</tbody></table></div>"
        )
    parts += [f'<p class="below">{escape(line)}</p>' for line in grid.below]
    return "\n".join(parts)
