"""Rows, their verdicts, and the form in which they are handed out and kept: table and JSON."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import gdregress

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


# Of the ratio to the peer that is nearest, over the cases of a group.
MEAN_FIGURES = {"tables": Figure(10), "kinds": Figure(3)}
# The verdicts of a row whose ratio counts.
JUDGED = ("met", "NOT MET", "", "(quick)")


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
    threads: int | None = None
    shape: str = ""
    spread: tuple | None = None
    facts: dict = field(default_factory=dict)

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
        threads = "" if self.threads is None else f" [{self.threads}]"
        return (
            self.case + threads,
            quantity(self.ours, self.unit),
            self.peer,
            quantity(self.theirs, self.unit),
            value,
            str(self.figure or ""),
            self.verdict,
            error_text(self.our_error),
            error_text(self.peer_error),
        )


def quantity(value, unit):
    if value is None:
        return ""
    if unit == "s" and value < 0.1:
        return f"{1e3 * value:.3g} ms"
    return f"{value:.3g} {unit}"


def error_text(value):
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
    command : str
        What was typed, for the record.
    path : Path, optional
        Where everything is kept, row by row: an interruption loses none.
    remark : str
        What to know about the run.
    """

    quick: bool = False
    command: str = ""
    path: Path | None = None
    remark: str = ""
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
        if self.path:
            self.write_json()

    def add_curve(self, case, label, points):
        """Keep a curve; of one measured again (on another number of threads) the first."""
        points = [(s, g) for s, g in points if np.isfinite(s) and np.isfinite(g)]
        known = {(curve.case, curve.label) for curve in self.curves}
        if points and (case, label) not in known:
            seconds, gaps = zip(*points)
            self.curves.append(Curve(case, label, list(seconds), list(gaps)))

    def summary(self):
        """Counts of the verdicts, the mean ratios, and the names of what was not met."""
        judged = [row for row in self.rows if row.figure]
        met = sum(row.verdict == "met" for row in judged)
        print(f"\n{met} of {len(judged)} figures met")
        for text in means(self.content()["rows"]):
            print(f"    {text}")
        for row in judged:
            if row.verdict not in ("met", "(quick)"):
                print(f"    {row.group}: {row.cells()[0]} against {row.peer}: {row.verdict}")

    def content(self):
        """Everything measured, with the machine and the versions it was measured on."""
        run = {
            "command": self.command,
            "date": datetime.now(UTC).date().isoformat(),
            "groups": list(dict.fromkeys(row.group for row in self.rows)),
            "quick": self.quick,
            "note": self.remark,
            "environment": environment(),
        }
        rows = [{**asdict(row), "verdict": row.verdict} for row in self.rows]
        curves = [asdict(curve) for curve in self.curves]
        return {"runs": [run], "rows": rows, "curves": curves}

    def write_json(self):
        """Write what was measured; in a file that is there, what was not measured anew stays."""
        content = self.content()
        if self.path.exists():
            content = merged(json.loads(self.path.read_text(encoding="utf-8")), content)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(_compact(content), encoding="utf-8")


def merged(before, after):
    """Two contents in one: of cases that both have, the later; no run without rows, or twice."""

    def key(row):
        return row["group"], row["case"], row["threads"]

    anew = {key(row) for row in after["rows"]}
    rows = [row for row in before["rows"] if key(row) not in anew] + after["rows"]
    drawn = {curve["case"] for curve in after["curves"]}
    curves = [curve for curve in before["curves"] if curve["case"] not in drawn]
    still = {row["group"] for row in before["rows"] if key(row) not in anew}
    commands = {run["command"] for run in after["runs"]}
    runs = [
        run
        for run in before["runs"]
        if still & set(run["groups"]) and run["command"] not in commands
    ]
    return {"runs": runs + after["runs"], "rows": rows, "curves": curves + after["curves"]}


def _compact(content):
    """JSON with a line for each run, row and curve, numbers of four digits."""

    def lines(items):
        texts = [json.dumps(_rounded(item), ensure_ascii=False) for item in items]
        return "[\n" + ",\n".join(texts) + "\n]"

    return "{" + ",\n".join(f'"{name}": {lines(items)}' for name, items in content.items()) + "}\n"


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def best_ratios(rows, group):
    """By number of threads and case: the row of the peer that is nearest to us, or ahead."""
    nearest = {}
    for row in rows:
        if row["group"] != group or row["value"] is None or row["verdict"] not in JUDGED:
            continue
        cases = nearest.setdefault(row["threads"], {})
        known = cases.get(row["case"])
        if known is None or row["value"] < known["value"]:
            cases[row["case"]] = row
    return nearest


def thread_text(count):
    """How many threads, in words."""
    return "threads as they are" if count is None else f"{count} thread{'s' if count > 1 else ''}"


def at_the_loosest(row):
    """The ratio had gdregress been tuned as the peers are, to the loosest ``tol`` that reaches."""
    return row["value"] / row["facts"].get("time at the loosest tol", 1.0)


def geometric_mean(values):
    return float(np.exp(np.mean(np.log(values))))


def means(rows):
    """A sentence for each group with a mean to reach, and number of threads."""
    texts = []
    for group, figure in MEAN_FIGURES.items():
        for threads, cases in best_ratios(rows, group).items():
            mean = geometric_mean([row["value"] for row in cases.values()])
            verdict = "met" if figure.met(mean) else "NOT MET"
            texts.append(
                f"{group}, {thread_text(threads)}: geometric mean of {len(cases)} ratios "
                f"{mean:.3g} × ({figure}: {verdict})"
            )
    return texts


def _line(cells):
    texts = [str(text).ljust(width) for text, width in zip(cells, WIDTHS)]
    return "  ".join(texts).rstrip()


def environment():
    """Versions, processor and thread counts, without any path."""
    from importlib.metadata import PackageNotFoundError, version

    from threadpoolctl import threadpool_info

    names = (
        "numpy",
        "scipy",
        "scikit-learn",
        "scikit-learn-intelex",
        "glum",
        "skglm",
        "threadpoolctl",
    )
    versions = {"gdregress": gdregress.__version__}
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
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "versions": versions,
        "thread_pools": pools,
    }


def _processor():
    """The name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
