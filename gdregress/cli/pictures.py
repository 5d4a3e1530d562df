"""Pictures of the result: loss curves for the terminal's user, and more for the report."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay, PredictionErrorDisplay

from ..inspection import LossCurveDisplay
from .job import Result

__all__ = ["as_svg", "coefficient_figure", "fit_figure", "loss_figure"]

_MOST_BARS = 25


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    # A Figure of its own instead of pyplot's: no window system is looked for.
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def loss_figure(result: Result) -> Figure:
    """A loss curve for each rate of the search; the descents where nothing was searched."""
    figure, ax = _figure(8.0, 5.0)
    fits: dict[str, Any] = {}
    if result.search is not None:
        for rate in result.search.rates:
            name = f"rate {rate.rate:.3g}: {rate.verdict}"
            fits[name + (", chosen" if rate is result.search.chosen else "")] = rate.fit.pipeline
            if rate.verdict == "diverging":  # larger ones leave the picture sooner
                break
    else:
        fits = {f.model.solver_: f.pipeline for f in result.descents}
    LossCurveDisplay.from_estimators(fits, relative_to=result.exact.pipeline, ax=ax)
    ax.set_title(f"Gradient descent on {result.prepared.name}", loc="left")
    return figure


def fit_figure(result: Result) -> Figure:
    """Predictions of the exact fit against the target: a scatter, or a confusion matrix."""
    study = result.study
    rows = study.test if len(study.test) else study.train
    predicted = result.exact.pipeline.predict(study.X.iloc[rows])
    on = "held out" if len(study.test) else "fitted"
    if study.is_classification:
        size = float(np.clip(2.5 + 0.5 * len(np.unique(study.y)), 4.0, 9.0))
        figure, ax = _figure(size + 1.0, size)
        ConfusionMatrixDisplay.from_predictions(
            study.y[rows], predicted, ax=ax, cmap="Blues", colorbar=False, xticks_rotation=45
        )
    else:
        figure, ax = _figure(6.0, 5.0)
        PredictionErrorDisplay.from_predictions(
            study.y[rows], predicted, kind="actual_vs_predicted", ax=ax, random_state=0
        )
    ax.set_title(f"{result.prepared.target.name}: the exact fit on the rows {on}")
    return figure


def coefficient_figure(result: Result) -> Figure:
    """The coefficients per standard deviation of their column, with their intervals."""
    rows = [row for row in result.coefficients.rows if row.per_deviation is not None]
    rows = sorted(rows, key=lambda row: abs(row.per_deviation or 0.0))[-_MOST_BARS:]
    figure, ax = _figure(7.0, 1.3 + 0.28 * len(rows))
    for i, row in enumerate(rows):
        assert row.per_deviation is not None
        spread = None
        if row.lower is not None and row.upper is not None and row.estimate:
            deviation = row.per_deviation / row.estimate
            spread = [
                [(row.estimate - row.lower) * deviation],
                [(row.upper - row.estimate) * deviation],
            ]
        ax.errorbar([row.per_deviation], [i], xerr=spread, fmt="o", color="#1f5a96", capsize=3)
    ax.axvline(0.0, color="0.5", linewidth=0.8)
    names = [row.name if row.output is None else f"{row.output}: {row.name}" for row in rows]
    ax.set_yticks(range(len(rows)), [name if len(name) < 40 else name[:39] + "…" for name in names])
    ax.set_ylim(-0.7, len(rows) - 0.3)
    unit = "log-odds" if result.study.is_classification else result.prepared.target.name
    ax.set_xlabel(f"{unit} per standard deviation of the column")
    ax.grid(visible=True, axis="x", alpha=0.25, linewidth=0.6)
    title = "The strongest coefficients" if len(rows) == _MOST_BARS else "Coefficients"
    ax.set_title(title + (", with 95 % intervals" if result.coefficients.statistic else ""))
    return figure


def as_svg(figure: Figure, title: str) -> str:
    """The figure as an ``<svg>`` element to stand in a page, ids its own."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    # matplotlib numbers its ids from 1 in every figure: several in one page would share them.
    prefix = re.sub(r"\W+", "-", title)
    text = re.sub(r'\bid="', f'id="{prefix}-', text[text.index("<svg") :])
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)
    # A letter is drawn once for each text that has it, and curves may share a name.
    text = _only_once(r'<path id="([^"]+)"[^>]*/>', text)
    text = _only_once(r' id="([^"]+)"', text)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def _only_once(pattern: str, text: str) -> str:
    """Take out what matches the pattern with an id that an earlier match had."""
    seen: set[str] = set()

    def kept(match: re.Match[str]) -> str:
        again = match[1] in seen
        seen.add(match[1])
        return "" if again else match[0]

    return re.sub(pattern, kept, text)
