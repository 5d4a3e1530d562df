"""Rows, their verdicts, and the three forms in which they are handed out: table, JSON, plot."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

WIDTHS = (56, 10, 38, 10, 10, 10, 14, 9, 9)
HEADER = ("case", "ours", "peer", "peer's", "ratio", "target", "verdict", "error", "peer's")


@dataclass(frozen=True)
class Figure:
    """A bound to reach: ``at_least`` or at most ``bound``, of a ratio or of a quantity."""

    bound: float
    at_least: bool = True
    unit: str = "×"

    def met(self, value):
        return bool(value >= self.bound if self.at_least else value <= self.bound)

    def __str__(self):
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}".strip()


@dataclass
class Row:
    """One comparison.

    ``value`` is what the figure judges, most often a ratio of times: peer / ours where the
    figure is "at least", ours / peer where it is "at most". ``problem`` holds the sentence
    for which there is no value; the error columns hold suboptimality, or the relative error
    of the coefficients for least squares.
    """

    group: str
    case: str
    peer: str = ""
    ours: float | None = None
    theirs: float | None = None
    unit: str = "s"
    value: float | None = None
    figure: Figure | None = None
    our_error: float | None = None
    peer_error: float | None = None
    failed: str = ""
    note: str = ""

    @property
    def verdict(self):
        if self.failed:
            return self.failed
        if self.figure is None or self.value is None:
            return ""
        return "met" if self.figure.met(self.value) else "NOT MET"

    def cells(self):
        """The texts of the printed row."""
        unit = self.figure.unit if self.figure else "×"
        value = "" if self.value is None else f"{self.value:.3g} {unit}"
        return (
            self.case,
            _quantity(self.ours, self.unit),
            self.peer,
            _quantity(self.theirs, self.unit),
            value,
            str(self.figure or ""),
            self.verdict,
            _error(self.our_error),
            _error(self.peer_error),
        )


def _quantity(value, unit):
    if value is None:
        return ""
    if unit == "s" and value < 0.1:
        return f"{1e3 * value:.3g} ms"
    return f"{value:.3g} {unit}"


def _error(value):
    return "" if value is None else f"{value:.1e}"


@dataclass
class Curve:
    """Suboptimality against seconds of one contender on one case."""

    case: str
    label: str
    seconds: list
    suboptimality: list


@dataclass
class Report:
    """Prints every row as it arrives and keeps all of them.

    Parameters
    ----------
    quick : bool
        Figures hold for the full shapes; in a quick run they are printed and not judged.
    """

    quick: bool = False
    rows: list = field(default_factory=list)
    curves: list = field(default_factory=list)
    group: str = ""

    def add(self, row):
        if self.quick and row.figure and row.value is not None and not row.failed:
            row.failed = "(quick)"
        if row.group != self.group:
            self.group = row.group
            print(f"\n{row.group}\n{_line(HEADER)}\n{'-' * (sum(WIDTHS) + 2 * len(WIDTHS))}")
        print(_line(row.cells()), flush=True)
        if row.note:
            print(f"    {row.note.strip()}")
        self.rows.append(row)

    def add_curve(self, case, label, points):
        points = [(s, g) for s, g in points if np.isfinite(s) and np.isfinite(g)]
        if points:
            seconds, gaps = zip(*points)
            self.curves.append(Curve(case, label, list(seconds), list(gaps)))

    def summary(self):
        """Counts of the verdicts, and the names of what was not met."""
        judged = [row for row in self.rows if row.figure]
        met = sum(row.verdict == "met" for row in judged)
        print(f"\n{met} of {len(judged)} figures met")
        for row in judged:
            if row.verdict not in ("met", "(quick)"):
                print(f"    {row.group}: {row.case} against {row.peer}: {row.verdict}")

    def write_json(self, path):
        """Everything measured, with the machine and the versions it was measured on."""
        rows = [{**asdict(row), "verdict": row.verdict} for row in self.rows]
        content = {
            "environment": environment(),
            "quick": self.quick,
            "rows": rows,
            "curves": [asdict(curve) for curve in self.curves],
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(content, indent=1, default=float, ensure_ascii=False))

    def plot(self, path):
        """Suboptimality against time, one panel per case."""
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt

        cases = list(dict.fromkeys(curve.case for curve in self.curves))
        if not cases:
            print("nothing to plot: only logistic and softmax cases have curves")
            return
        columns = min(3, len(cases))
        lines = -(-len(cases) // columns)
        figure, axes = plt.subplots(
            lines, columns, figsize=(5.5 * columns, 4 * lines), squeeze=False
        )
        for ax, case in zip(axes.flat, cases):
            _panel(ax, case, [curve for curve in self.curves if curve.case == case])
        for ax in axes.flat[len(cases) :]:
            ax.set_axis_off()
        figure.tight_layout()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
        plt.close(figure)


def _panel(ax, case, curves):
    for curve in curves:
        order = np.argsort(curve.seconds)
        gaps = np.maximum(np.array(curve.suboptimality)[order], 1e-16)
        ours = curve.label == "gdregress"
        width, marker = (2.5, "o") if ours else (1.0, ".")
        ax.loglog(
            np.array(curve.seconds)[order], gaps, label=curve.label, lw=width, marker=marker, ms=4
        )
    ax.axhline(1e-8, color="grey", lw=0.8, ls=":")
    ax.set(title=case, xlabel="seconds", ylabel="(L − L*) / (L(start) − L*)")
    ax.title.set_fontsize(8)
    ax.legend(fontsize=6)


def _line(cells):
    texts = [str(text).ljust(width) for text, width in zip(cells, WIDTHS)]
    return "  ".join(texts).rstrip()


def environment():
    """Versions, processor and thread counts, without any path."""
    from importlib.metadata import PackageNotFoundError, version

    from threadpoolctl import threadpool_info

    names = (
        "gdregress",
        "numpy",
        "scipy",
        "scikit-learn",
        "scikit-learn-intelex",
        "glum",
        "skglm",
        "threadpoolctl",
    )
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    pools = [
        {key: pool.get(key) for key in ("internal_api", "version", "num_threads", "architecture")}
        for pool in threadpool_info()
    ]
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "versions": versions,
        "thread_pools": pools,
    }
