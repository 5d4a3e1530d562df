"""The result in tables of words: what the terminal and the report both show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import __version__
from ..inspection import LossCurve
from .fitting import Fit
from .inference import Coefficient
from .job import Result

__all__ = [
    "Grid",
    "are_plain",
    "coefficient_grids",
    "columns_grid",
    "fits_grid",
    "number",
    "opening",
    "search_grid",
]


@dataclass(frozen=True)
class Grid:
    """A table of words; the columns in `right` are aligned to the right.

    Attributes
    ----------
    title : str
    header : list of str
    rows : list of list of str
    right : frozenset of int
    below : list of str
        Sentences under the table.
    marked : int or None
        The row to stand out.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    right: frozenset[int] = frozenset()
    below: tuple[str, ...] = ()
    marked: int | None = None


def number(value: float | None, digits: int = 4) -> str:
    """A number to `digits` significant places; nothing for None."""
    if value is None:
        return ""
    if value == 0.0 or not np.isfinite(value):
        return f"{value:g}"
    if 10.0 ** (1 - digits) <= abs(value) < 10.0**6:
        places = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
        return f"{value:.{places}f}"
    return f"{value:.{digits - 1}e}"


def opening(result: Result) -> list[str]:
    """What is fitted, on what, in a few sentences."""
    prepared, study = result.prepared, result.study
    used = len(prepared.kinds)
    held = f", {len(study.test)} held out" if len(study.test) else ", none held out: they are few"
    lines = [
        f"gdregress {__version__}: {study.task} of {prepared.target.name!r} on {prepared.name}",
        f"read: {prepared.origin}; {len(prepared.table.frame)} rows,"
        f" {prepared.table.frame.shape[1]} columns",
        f"{len(study.train)} rows to fit{held}; {used} column(s) in use become {study.n_columns},"
        " standardised on the rows to fit",
    ]
    if study.is_classification:
        labels, counts = np.unique(study.y, return_counts=True)
        shown = [f"{label}: {n}" for label, n in zip(labels, counts, strict=True)]
        more = f", … ({len(labels)} in all)" if len(shown) > 10 else ""
        lines.append(f"classes: {', '.join(shown[:10])}{more}")
    if study.alpha and study.is_separable:
        lines.append(
            f"alpha = 1/m = {study.alpha:.3g}, m the rows to fit: a plane separates their classes,"
            " or some of them; without a penalty the loss would fall as long as the coefficients"
            " grow"
        )
    elif study.alpha and study.is_wide and study.alpha_is_chosen:
        lines.append(
            f"alpha = 1/m = {study.alpha:.3g}, m the rows to fit: {study.n_columns} prepared"
            " columns for so few rows fit anything without a penalty"
        )
    elif study.alpha:
        lines.append(f"alpha = {study.alpha:.3g}, as asked for")
    return lines


def are_plain(result: Result) -> bool:
    """Whether all columns are numbers without gaps: then a list of them says nothing."""
    return all(c.words == "number" and not c.gaps for c in result.prepared.columns)


def columns_grid(result: Result) -> Grid:
    """What became of each column."""
    kept = [column for column in result.prepared.columns if column.kind is not None]
    left = [column for column in result.prepared.columns if column.kind is None]
    rows = [[c.name, c.words, str(c.gaps) if c.gaps else ""] for c in kept]
    rows += [[c.name, f"left out: {c.words}", str(c.gaps) if c.gaps else ""] for c in left]
    below: tuple[str, ...] = ()
    if any(column.gaps for column in kept):
        below = ("Gaps become the median, with a column that marks them; in categories a level.",)
    return Grid("Columns", ["column", "what it is", "gaps"], rows, frozenset({2}), below)


def coefficient_grids(result: Result, most: int) -> list[Grid]:
    """The coefficients, one table for each class; of more than `most` the strongest."""
    found = result.coefficients
    outputs = list(dict.fromkeys(row.output for row in found.rows))
    grids = []
    for output in outputs:
        rows = [row for row in found.rows if row.output == output]
        grids.append(_coefficient_grid(result, output, rows, max(5, most // len(outputs))))
    first, last = grids[0], grids[-1]
    grids[0] = Grid(
        f"{found.title}{f'; {first.title}' if first.title else ''}",
        *(first.header, first.rows, first.right, first.below),
    )
    last = grids[-1]
    unit = "log-odds" if result.study.is_classification else "target"
    below = (
        *last.below,
        *found.summary,
        f"estimate: {unit} for one unit of the column; per sd: for one standard deviation of it.",
        *found.notes,
    )
    grids[-1] = Grid(last.title, last.header, last.rows, last.right, below)
    return grids


def _statistic(value: float | None) -> str:
    """t or z: two decimals, unless a column that determines the target makes it astronomic."""
    ordinary = value is not None and abs(value) < 1e6
    return f"{value:.2f}" if ordinary else number(value, 3)


def _coefficient_grid(
    result: Result, output: str | None, rows: Sequence[Coefficient], most: int
) -> Grid:
    header = ["column", "estimate", "per sd"]
    statistic = result.coefficients.statistic
    if statistic is not None:
        header = ["column", "estimate", "std err", statistic, "p", "95 % interval", "per sd"]
    below: tuple[str, ...] = ()
    if len(rows) > most:
        strongest = sorted(rows, key=lambda row: -abs(row.per_deviation or np.inf))[:most]
        below = (f"the {most} strongest of {len(rows)}; --report has all.",)
        rows = [row for row in rows if row in strongest]
    cells = []
    for row in rows:
        line = [row.name, number(row.estimate)]
        if statistic is not None:
            line += [
                number(row.error),
                _statistic(row.statistic),
                "<.0001" if row.p is not None and row.p < 1e-4 else f"{row.p:.4f}",
                f"{number(row.lower, 3)} … {number(row.upper, 3)}",
            ]
        cells.append([*line, number(row.per_deviation, 3)])
    title = "" if output is None else f"class {output}"
    return Grid(title, header, cells, frozenset(range(1, len(header))), below)


def _duration(seconds: float) -> str:
    if seconds < 1.0:
        return f"{seconds * 1e3:.{0 if seconds >= 0.1 else 1}f} ms"
    return f"{seconds:.1f} s"


def fits_grid(result: Result) -> Grid:
    """The exact fit, the descents and the search, side by side."""
    study, exact = result.study, result.exact
    score = "accuracy" if study.is_classification else "R²"
    fits: list[tuple[str, Fit]] = [(exact.model.solver_, exact)]
    fits += [(f"{f.model.solver_} tol={f.model.tol:g}", f) for f in result.descents]
    if result.search is not None:
        best = result.search.best
        fits.append((f"search: rate {best.model.learning_rate_:.3g}", best))
    rows = []
    for name, fit in fits:
        off, left = "", ""
        if fit is not exact:
            off, left = f"{_distance(fit.model, exact.model):.1e}", f"{study.left(fit, exact):.1e}"
        rows.append(
            [
                name,
                f"{study.score(fit):.4f}",
                f"{fit.model.n_iter_}",
                _duration(fit.seconds),
                off,
                left,
                LossCurve.from_estimator(fit.model).outcome,
            ]
        )
    on = "held out" if len(study.test) else "fitted (none are held out)"
    below = [
        f"{score} on the rows {on}. θ off: |θ − θ*| / |θ*|; L off: (L − L*) / L(best constant),"
        " the share of what a fit can gain that is missing; * the exact fit."
    ]
    rate = result.descents[0].model.learning_rate_
    below.append(
        f"The descents took the automatic rate {rate:.3g}, for at most {study.long} iterations."
    )
    if not study.is_classification and _is_perfect(result):
        below.append(
            "The exact fit leaves no residual: the columns determine the target. Is one made of it?"
        )
    below += [f"note on the exact fit: {message}" for message in exact.warnings]
    header = ["fit", score, "iter.", "time", "θ off", "L off", "stop reason"]
    return Grid("Fits", header, rows, frozenset(range(1, 6)), tuple(below))


def _is_perfect(result: Result) -> bool:
    """Whether the exact fit goes through all points, with fewer columns than points."""
    study = result.study
    return not study.is_wide and result.exact.model.loss_ <= 1e-12 * study.constant_loss()


def _distance(model: object, exact: object) -> float:
    """How far a descent ended from the exact solution, relative, in coefficients."""

    def flat(fitted: object) -> np.ndarray:
        return np.append(np.ravel(fitted.coef_), np.ravel(fitted.intercept_))  # type: ignore[attr-defined]

    size = float(np.linalg.norm(flat(exact)))
    return float(np.linalg.norm(flat(model) - flat(exact))) / (size or 1.0)


def search_grid(result: Result) -> Grid:
    """The search over learning rates, each judged."""
    study, search = result.study, result.search
    if search is None:
        text = f"Too few rows to cross-validate learning rates: {len(study.train)} to fit."
        return Grid("Search over learning rates", [], [], below=(text,))
    rows = []
    for rate in search.rates:
        chosen = "  <- chosen" if rate is search.chosen else ""
        rows.append(
            [
                f"{rate.rate:.3g}",
                f"{rate.multiple:g} × automatic",
                f"{rate.gain:z.4f}",
                f"{rate.left:.1e}",
                rate.verdict + chosen,
            ]
        )
    loss = "log-loss" if study.is_classification else "squared error"
    below = [
        f"gain: the share of the best constant's {loss} that the rate saves on rows not fitted"
        f" ({'D²' if study.is_classification else 'R²'}, mean of {search.folds} folds); L off:"
        " the share it is off the exact fit on the rows fitted."
        f" {study.iterations} iterations each.",
    ]
    if any(rate.verdict == "overfits" for rate in search.rates):
        below.append(
            "overfits: nearer to the exact fit than the chosen rate, and worse on rows not fitted."
        )
    chosen_at = next(i for i, rate in enumerate(search.rates) if rate is search.chosen)
    header = ["rate", "", "gain (CV)", "L off", "verdict"]
    return Grid(
        "Search over learning rates", header, rows, frozenset({0, 2, 3}), tuple(below), chosen_at
    )
