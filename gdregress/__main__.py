"""The main job from the command line: ``python -m gdregress``.

Fits a data set exactly and by gradient descent, searches over learning rates, and shows what each
fit says about itself, as a table and, where matplotlib is installed, as a plot of loss curves.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.callback import ProgressBar
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression, __version__
from gdregress._tables import BUNDLED, MOST_CLASSES, InputError, Table, load_bundled, load_csv
from gdregress.history import StopReason
from gdregress.inspection import LossCurve, LossCurveDisplay

# Learning rates to try, as multiples of 1/λ, λ the largest eigenvalue of the Hessian bound: that is
# what learning_rate="auto" takes. Least squares converge below 2/λ and diverge above. The curvature
# of the logistic losses falls below its bound as the fit moves, so that far larger rates may work.
MULTIPLES = {
    "regression": (0.01, 0.1, 1.0, 1.995, 2.2),
    "classification": (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0),
}
# Enough for the descents with the automatic rate to stop by themselves on the bundled sets.
LONG = 20_000


class Study:
    """A data set, split and ready to be fitted in several ways.

    Parameters
    ----------
    table : Table
        The data.
    iterations : int
        Iterations that each candidate learning rate may take.
    """

    def __init__(self, table: Table, iterations: int) -> None:
        self.table, self.iterations = table, iterations
        self.is_classification = table.task == "classification"
        self.X, self.X_test, self.y, self.y_test = train_test_split(
            table.X,
            table.y,
            test_size=0.25,
            random_state=0,
            stratify=table.y if self.is_classification else None,
        )
        self.alpha = 1 / len(self.y) if self.is_classification else 0.0

    def pipeline(self, **parameters: Any) -> Pipeline:
        """An unfitted pipeline: standardise every column, then the regression."""
        regression = LogisticRegression if self.is_classification else LinearRegression
        model = regression(alpha=self.alpha, **parameters)
        return Pipeline([("scale", StandardScaler()), ("model", model)])

    def fit(self, **parameters: Any) -> Fit:
        """Fit a pipeline with these parameters of the regression; its warnings are kept."""
        pipeline = self.pipeline(**parameters)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start = time.perf_counter()
            pipeline.fit(self.X, self.y)
            seconds = time.perf_counter() - start
        return Fit(pipeline, seconds, [str(warning.message) for warning in caught])

    def search(self, rates: Sequence[float], callbacks: Sequence[Any]) -> tuple[GridSearchCV, Fit]:
        """Cross-validate the learning rates, with the same number of iterations for each."""
        folds = 5
        if self.is_classification:
            folds = min(folds, int(np.unique(self.y, return_counts=True)[1].min()))
        search = GridSearchCV(
            self.pipeline(max_iter=self.iterations),
            {"model__learning_rate": list(rates)},
            # The accuracy hardly sees how far a descent has come; the log-loss does.
            scoring="neg_log_loss" if self.is_classification else "r2",
            cv=folds,
            error_score="raise",
        )
        search.set_callbacks(*callbacks)
        with warnings.catch_warnings():
            # Rates too small and too large warn; what they did stands in the table.
            warnings.simplefilter("ignore", ConvergenceWarning)
            start = time.perf_counter()
            search.fit(self.X, self.y)
            seconds = time.perf_counter() - start
        return search, Fit(search.best_estimator_, seconds, [])


@dataclass(frozen=True)
class Fit:
    """A fitted pipeline, the time it took, and the warnings it gave."""

    pipeline: Pipeline
    seconds: float
    warnings: list[str]

    @property
    def model(self) -> Any:
        """The regression at the end of the pipeline."""
        return self.pipeline[-1]


def distances(model: Any, exact: Any) -> tuple[float, float]:
    """How far a descent ended from the exact solution: relative, in coefficients and in loss."""

    def flat(fitted: Any) -> np.ndarray:
        return np.append(np.ravel(fitted.coef_), np.ravel(fitted.intercept_))

    off = np.linalg.norm(flat(model) - flat(exact)) / np.linalg.norm(flat(exact))
    return float(off), float((model.loss_ - exact.loss_) / (model.loss_curve_[0] - exact.loss_))


def judge(model: Any, auto: Any, best: Any) -> str:
    """What a learning rate did, against the automatic rate and the one that got farthest."""

    def lags(other: Any) -> bool:
        return model.loss_ - other.loss_ > 1e-6 * (model.loss_curve_[0] - other.loss_)

    if model.stop_reason_ == StopReason.DIVERGED:
        return "diverging"
    if lags(best) and model.learning_rate_ > best.learning_rate_:
        return "too large"
    return "too small" if lags(auto) else "good"


def report(study: Study, callbacks: Sequence[Any]) -> tuple[dict[str, Pipeline], Pipeline]:
    """Fit, search and print the tables; returns the fits to draw by name, and the exact one."""
    print(_describe(study))
    study.fit()  # the first fit of a process loads libraries and starts threads: not to be timed
    exact = study.fit()
    descent = study.fit(solver="gd", max_iter=LONG)
    closer = study.fit(solver="nesterov", max_iter=LONG, tol=1e-12)
    multiples = MULTIPLES[study.table.task]
    rates = [multiple * descent.model.learning_rate_ for multiple in multiples]
    search, best = study.search(rates, callbacks)

    rows = []
    score_name = "accuracy" if study.is_classification else "R²"
    for name, fit in [
        (f"exact: {exact.model.solver_}", exact),
        (f"descent: {descent.model.solver_}, tol={descent.model.tol:g}", descent),
        (f"descent: {closer.model.solver_}, tol={closer.model.tol:g}", closer),
        (f"search: {best.model.solver_}, best rate {best.model.learning_rate_:.3g}", best),
    ]:
        off = ("", "") if fit is exact else map("{:.1e}".format, distances(fit.model, exact.model))
        rows.append(
            [
                name,
                f"{fit.pipeline.score(study.X_test, study.y_test):.4f}",
                f"{fit.model.n_iter_}",
                _duration(fit.seconds),
                *off,
                LossCurve.from_estimator(fit.model).outcome,
            ]
        )
    header = ["fit", score_name, "iterations", "time", "coef. off", "loss off", "stop reason"]
    print_table(header, rows)
    print(
        f"{score_name} on the rows held out; coef. off: |θ − θ*| / |θ*|, loss off:"
        " (L − L*) / (L(start) − L*), * the exact fit.\n"
        f"The descents took the automatic rate {descent.model.learning_rate_:.3g}; the search made"
        f" {len(rates) * search.n_splits_ + 1} fits of at most {study.iterations} iterations."
    )
    for message in exact.warnings:
        print(f"note on the exact fit: {message}")

    fits = [
        study.fit(learning_rate=rate, max_iter=study.iterations, tol=0).pipeline for rate in rates
    ]
    auto = fits[multiples.index(1.0)][-1]
    farthest = min((fit[-1] for fit in fits), key=lambda model: model.loss_)
    shown: dict[str, Pipeline] = {}
    rows = []
    for multiple, score, fit in zip(
        multiples, search.cv_results_["mean_test_score"], fits, strict=True
    ):
        model = fit[-1]
        verdict = judge(model, auto, farthest)
        # The plot has one curve of each kind; of the good rates the one that got farthest.
        if verdict not in shown or model is farthest:
            shown[verdict] = fit
        rows.append(
            [
                f"{model.learning_rate_:.3g}",
                f"{multiple:g} × automatic",
                f"{-score if study.is_classification else score:.4f}",
                f"{distances(model, exact.model)[1]:.1e}",
                verdict,
            ]
        )
    score_name = "log-loss" if study.is_classification else "R²"
    print_table(
        ["learning rate", "", f"{score_name} (cross-validated)", "loss off", "verdict"], rows
    )
    named = {f"{verdict}, rate {fit[-1].learning_rate_:.3g}": fit for verdict, fit in shown.items()}
    return named, exact.pipeline


def _describe(study: Study) -> str:
    table = study.table
    lines = [
        f"gdregress {__version__}: {table.task} on {table.name} ({table.origin})",
        f"{len(study.y)} rows to fit, {len(study.y_test)} held out; {table.X.shape[1]} features,"
        " standardised on the rows to fit",
    ]
    if study.is_classification:
        lines += [
            f"alpha = 1/m = {study.alpha:.3g}, m the rows to fit: where a plane separates the"
            " classes, as in the bundled",
            "sets, the loss falls as long as the coefficients grow, and without a penalty no exact"
            " solution exists.",
        ]
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header: text to the left, numbers to the right."""
    print()
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    aligns = ["<", *[">"] * (len(header) - 2), "<"]
    print("  ".join(f"{cell:{a}{w}}" for cell, a, w in zip(header, aligns, widths)).rstrip())
    print("  ".join("-" * width for width in widths))
    for row in rows:
        print("  ".join(f"{cell:{a}{w}}" for cell, a, w in zip(row, aligns, widths)).rstrip())


def draw(table: Table, fits: dict[str, Any], exact: Any, path: Path) -> None:
    """Write the loss curves of the fits to a PNG."""
    # A Figure of its own instead of pyplot's: no window system is looked for.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    ax = figure.subplots()
    LossCurveDisplay.from_estimators(fits, relative_to=exact, ax=ax)
    ax.set_title(f"Gradient descent on {table.name}, one curve for each learning rate")
    figure.savefig(path, format="png", dpi=150)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gdregress",
        description="Fit a data set exactly and by gradient descent, search over learning rates,"
        " and show what each fit did.",
    )
    parser.add_argument(
        "--data",
        default="diabetes",
        metavar="NAME|FILE.csv",
        help=f"one of {', '.join(BUNDLED)}, or a CSV file with a header line (default: diabetes)",
    )
    parser.add_argument("--target", metavar="COLUMN", help="the column of the CSV file to predict")
    parser.add_argument(
        "--task",
        choices=["auto", "regression", "classification"],
        default="auto",
        help="what the CSV file is for (default: classification where the target is text or has"
        f" whole numbers of at most {MOST_CLASSES} kinds)",
    )
    parser.add_argument("--delimiter", default=",", help="what separates the cells (default: ,)")
    parser.add_argument(
        "--iterations",
        type=int,
        default=200,
        help="iterations of each candidate learning rate (default: 200)",
    )
    parser.add_argument(
        "--output", metavar="PNG", help="where the loss curves go (default: gdregress-NAME.png)"
    )
    return parser.parse_args(argv)


def load(arguments: argparse.Namespace) -> Table:
    """The data that the command line names."""
    if len(arguments.delimiter) != 1:
        raise InputError(f"--delimiter takes one character; got {arguments.delimiter!r}")
    if arguments.iterations < 1:
        raise InputError(f"--iterations takes a number from 1 on; got {arguments.iterations}")
    if arguments.data not in BUNDLED:
        return load_csv(arguments.data, arguments.target, arguments.task, arguments.delimiter)
    if arguments.target is not None or arguments.task != "auto":
        raise InputError(f"--target and --task are for CSV files; {arguments.data} has its own")
    return load_bundled(arguments.data)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    arguments = parse(argv)
    has_matplotlib = importlib.util.find_spec("matplotlib") is not None
    try:
        table = load(arguments)
        path = Path(arguments.output or f"gdregress-{table.name}.png")
        if not path.parent.is_dir():
            raise InputError(f"--output {str(path)!r}: there is no folder {str(path.parent)!r}")
    except InputError as error:
        print(f"gdregress: {error}", file=sys.stderr)
        return 2

    fits, exact = report(Study(table, arguments.iterations), _progress_callbacks())
    print()
    if not has_matplotlib:
        print('no plot: matplotlib is missing (python -m pip install "gdregress[plot]")')
        return 0
    try:
        draw(table, fits, exact, path)
    except OSError as error:
        print(f"gdregress: cannot write {str(path)!r}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"loss curves: {path}")
    return 0


def _progress_callbacks() -> list[ProgressBar]:
    """A progress bar where somebody watches stderr and rich is installed."""
    if not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        return []
    import rich

    # scikit-learn's bar writes to rich's console, which is stdout unless told otherwise.
    rich.reconfigure(stderr=True)
    return [ProgressBar(max_propagation_depth=0)]


def _run() -> int:
    """The program: what concerns the process, not the job."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # θ on a terminal that has no Greek
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader, `head` say, has seen enough. Nothing may be flushed into its pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


if __name__ == "__main__":
    sys.exit(_run())
