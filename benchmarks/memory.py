"""Peak extra memory of one fit, each measured in a fresh process.

``python -m benchmarks.memory LAYOUT ESTIMATOR ROWS COLUMNS`` is that process: it builds X,
makes a tiny fit so that imports and BLAS buffers do not count, resets the peak, says "ready",
fits, and prints the growth of its peak resident memory. Pages of a memory-mapped file belong to
the page cache, not to the fit: there the parent samples the anonymous memory instead.
"""

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import gdregress

from .measure import quiet
from .report import Figure, Row

LAYOUTS = ("C", "F", "float32", "int64", "bool", "memmap")
ESTIMATORS = {
    "linear": "LinearRegression",
    "logistic": "LogisticRegression",
    "sklearn": "scikit-learn LinearRegression",
}
FIGURE = Figure(64, at_least=False, unit="MiB")
MIB = 2.0**20


def run(options, report):
    """Every layout with both estimators, scikit-learn's LinearRegression beside them."""
    rows, columns = options.size(1_000_000), 100
    for layout in LAYOUTS:
        names = [f"{ESTIMATORS[e]} {layout}" for e in ("linear", "logistic")]
        if not any(options.wants(name) for name in names):
            continue
        theirs = extra_memory(layout, "sklearn", rows, columns)
        for name, estimator in zip(names, ("linear", "logistic")):
            peer = ESTIMATORS["sklearn"] if estimator == "linear" else ""
            row = Row("peak extra memory", name, peer, unit="MiB", figure=FIGURE)
            row.theirs = theirs["extra"] if peer else None
            _measure(row, layout, estimator, rows, columns)
            report.add(row)


def _measure(row, layout, estimator, rows, columns):
    answer = extra_memory(layout, estimator, rows, columns)
    row.failed = answer.get("failed", "")
    if not row.failed:
        row.ours = row.value = answer["extra"]
        row.note = f"X itself {answer['data']:.0f} MiB"


def extra_memory(layout, estimator, rows, columns):
    """MiB beyond X and the imports at the peak of one fit, from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory"]
    command += [layout, estimator, str(rows), str(columns)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    ) as child:
        ready = child.stdout.readline()
        if not ready.startswith("ready"):
            child.kill()
            return {"extra": np.nan, "data": np.nan, "failed": "child process failed"}
        sampler = _Sampler(child.pid)
        child.stdin.write("go\n")
        child.stdin.close()
        answer = json.loads(child.stdout.readline())
        sampled = sampler.stop()
    if layout == "memmap" and sampled is not None:
        answer["extra"] = sampled
    return answer


class _Sampler:
    """Growth of another process's anonymous memory, read about a thousand times a second."""

    def __init__(self, pid):
        self.status = Path(f"/proc/{pid}/status")
        self.first = self.peak = _status_kib("RssAnon", self.status)
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while self.first is not None and not self.done.is_set():
            value = _status_kib("RssAnon", self.status)
            if value is None:
                return
            self.peak = max(self.peak, value)
            time.sleep(0.001)

    def stop(self):
        self.done.set()
        self.thread.join()
        return None if self.first is None else (self.peak - self.first) / 1024


def _status_kib(field, status):
    """A field of a Linux process status file, or None where there is no such thing."""
    try:
        for line in status.read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    except (OSError, IndexError, ValueError):
        pass
    return None


def build(layout, n_rows, n_columns, folder, block=20_000):
    """X in the layout asked for, filled block by block so that the peak is X itself."""
    rng = np.random.default_rng(0)
    shape = (n_rows, n_columns)
    if layout == "memmap":
        X = np.lib.format.open_memmap(Path(folder) / "X.npy", mode="w+", shape=shape)
    else:
        dtype = {"C": float, "F": float}.get(layout, layout)
        X = np.empty(shape, dtype=dtype, order="F" if layout == "F" else "C")
    for start in range(0, n_rows, block):
        rows = slice(start, start + block)
        values = rng.standard_normal((len(range(*rows.indices(n_rows))), n_columns))
        X[rows] = values > 0 if layout == "bool" else 10 * values if layout == "int64" else values
    if layout == "memmap":
        X.flush()
        X = np.load(Path(folder) / "X.npy", mmap_mode="r")
    return X


def targets(X, logistic, block=20_000):
    """Targets of a model on the first columns, without a pass that would allocate."""
    rng = np.random.default_rng(1)
    y = np.empty(len(X))
    for start in range(0, len(X), block):
        rows = slice(start, start + block)
        y[rows] = X[rows, :5].astype(float).sum(axis=1)
    y += rng.standard_normal(len(X)) * max(y.std(), 1.0)
    return (y > np.median(y)).astype(np.int64) if logistic else y


def _estimator(name):
    if name == "sklearn":
        from sklearn.linear_model import LinearRegression

        return LinearRegression()
    return getattr(gdregress, ESTIMATORS[name])(**({"alpha": 1e-6} if name == "logistic" else {}))


def _peak_kib():
    peak = _status_kib("VmHWM", Path("/proc/self/status"))
    if peak is not None:
        return peak
    # Without /proc: bytes on macOS, KiB elsewhere.
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage // 1024 if sys.platform == "darwin" else usage


def _reset_peak():
    """Let the peak start again from the present (Linux); the baseline is what it then reads."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_kib()


def main(layout, name, n_rows, n_columns):
    """Build, warm up, announce, fit, and print one line of JSON."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        X = build(layout, n_rows, n_columns, folder)
        y = targets(X, name == "logistic")
        small = np.asarray(X[:2000])
        _estimator(name).fit(small, y[:2000])
        estimator = _estimator(name)
        del small
        before = _reset_peak()
        print("ready", flush=True)
        sys.stdin.readline()
        answer = {"data": X.nbytes / MIB}
        try:
            estimator.fit(X, y)
            answer["extra"] = (_peak_kib() - before) / 1024
        except Exception as error:
            answer["failed"] = f"{type(error).__name__}: {error}"[:100]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
