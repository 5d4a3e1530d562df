"""Logistic and softmax cases: dense, sparse, generated and real.

One pattern serves all: the reference optimum; every solver of scikit-learn tuned until it
reaches 1e-8; then gdregress, with the tolerance that certifies what the case asks of it, against
the fastest of them, in turn.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gdregress import LogisticRegression

from . import problems
from .kinds import kinds as every_kind
from .measure import interleaved, median_time, quiet
from .peers import (
    TARGET,
    fastest,
    intelex_fell_back,
    other_libraries,
    scikit_learn_solvers,
    solution,
    tune,
)
from .reference import optimum
from .report import Figure, Row

MEAN_FIGURES = {"tables": Figure(10), "kinds": Figure(3)}


@dataclass(frozen=True)
class Case:
    """A problem to build and what is asked of gdregress on it.

    Attributes
    ----------
    build : callable
        Returns the `Problem`.
    figure : Figure, optional
        Against the fastest scikit-learn solver that reaches 1e-8.
    intelex : Figure, optional
        Against scikit-learn-intelex.
    accuracy : float
        The suboptimality gdregress has to reach before its time counts.
    solvers : tuple of str
        Restricts the scikit-learn solvers; empty means all.
    """

    name: str
    build: Callable
    figure: Figure | None = None
    intelex: Figure | None = None
    accuracy: float = TARGET
    solvers: tuple = ()


def logistic(options):
    """The dense binary cases."""
    m = options.size
    breast_cancer = problems.bundled_classification()[0]
    return [
        Case(
            "logistic 1,000,000 × 20",
            lambda: problems.classification(m(1_000_000), 20),
            Figure(4),
            Figure(3),
            1e-9,
        ),
        Case(
            "logistic 200,000 × 100",
            lambda: problems.classification(m(200_000), 100),
            Figure(2.5),
            Figure(1.5),
            1e-9,
        ),
        Case(
            "logistic 200,000 × 100, scales 1 to 0.01 rotated",
            lambda: problems.classification(m(200_000), 100, smallest=0.01),
            Figure(10),
            None,
            1e-9,
        ),
        Case(
            "logistic 20,000 × 300",
            lambda: problems.classification(m(20_000), 300),
            Figure(1),
            None,
            1e-9,
        ),
        Case(
            "logistic 569 × 30 (breast cancer, standardised)",
            lambda: problems.standardised(breast_cancer),
            Figure(2),
            None,
            1e-9,
        ),
    ]


def softmax(options):
    """Ten classes, isotropic and badly scaled."""
    m = options.size
    return [
        Case(
            "softmax 100,000 × 50, 10 classes",
            lambda: problems.classification(m(100_000), 50, 10),
            Figure(2.5),
        ),
        Case(
            "softmax 100,000 × 50, 10 classes, scales 1 to 0.01 rotated",
            lambda: problems.classification(m(100_000), 50, 10, smallest=0.01),
            Figure(15),
        ),
    ]


def tables(options):
    """Real tables raw and standardised, and one-hot tables with rare levels."""
    real = problems.real_classification(options.tables)
    m = options.size
    cases = [Case(problem.name, lambda p=problem: p) for problem in real]
    rare = [
        Case(
            f"one-hot with rare levels 30,000 × 120, alpha {alpha}",
            lambda a=alpha: problems.rare_levels(m(30_000), a),
        )
        for alpha in ("1/m", "1e-3")
    ]
    return cases + rare


def sparse(options):
    """One-hot tables in CSR form, and more columns than rows."""
    m = options.size
    tables = [
        Case(
            f"sparse one-hot 50,000 × 300, alpha {alpha}",
            lambda a=alpha: problems.sparse_one_hot(m(50_000), a),
            Figure(2),
        )
        for alpha in ("1/m", "1e-3")
    ]
    wide = [
        Case(
            "sparse logistic 20,000 × 50,000" + ("" if intercept else ", no intercept"),
            lambda b=intercept: problems.wide_sparse(m(20_000), m(50_000), fit_intercept=b),
            Figure(1),
            solvers=("lbfgs", "newton-cg", "liblinear"),
        )
        for intercept in (True, False)
    ]
    return tables + wide


def kinds(options):
    """Look-alikes of the tables that people fit, raw, standardised and sparse."""
    return [Case(name, build, Figure(1)) for name, build in every_kind(options.size)]


def run(group, cases, options, report):
    """Measure the cases of one group; those of tables end with the mean of their ratios."""
    ratios = []
    for case in cases:
        if options.wants(case.name):
            ratios += _run_case(group, case, options, report)
    if group in MEAN_FIGURES and ratios:
        mean = float(np.exp(np.mean(np.log(ratios))))
        name = f"geometric mean of {len(ratios)} tables"
        figure = MEAN_FIGURES[group]
        report.add(Row(group, name, "fastest scikit-learn", value=mean, figure=figure))


def _run_case(group, case, options, report):
    problem = case.build()
    reference = optimum(problem)
    ours = _ours(case, problem, reference, report)
    tuned = _tune_scikit_learn(case, problem, reference, options)
    for t in tuned:
        report.add_curve(case.name, t.peer.name, t.curve)
    best = fastest(tuned, problem)
    ratios = [_compare(group, case, problem, reference, ours, best, tuned, options, report)]
    if not case.solvers:
        _compare_others(group, case, problem, reference, ours, best, options, report)
    return [ratio for ratio in ratios if ratio]


class _Ours:
    """gdregress: the call to time, and what is wrong with it, if so.

    Newton certifies a decrement of ``tol^2 L(start)``; like the peers it is asked for no more
    than the accuracy of the case.
    """

    def __init__(self, case, problem):
        self.failed, self.gap, self.note = "", None, ""
        self.problem = problem
        self.tol = case.accuracy**0.5

    def fit(self):
        estimator = LogisticRegression(
            alpha=self.problem.alpha, fit_intercept=self.problem.fit_intercept, tol=self.tol
        )
        return estimator.fit(self.problem.X, self.problem.y)


def _ours(case, problem, reference, report):
    ours = _Ours(case, problem)
    try:
        with quiet():
            fitted = ours.fit()
    except Exception as error:
        ours.failed = f"{type(error).__name__}: {error}"[:100]
        return ours
    ours.gap = float(reference.suboptimality(*solution(fitted)))
    ours.note = f"{getattr(fitted, 'solver_', '')}, {getattr(fitted, 'n_iter_', '?')} iterations"
    if not ours.gap <= case.accuracy:
        ours.failed = f"short of {case.accuracy:g}"
    _history_curve(case, fitted, reference, report)
    return ours


def _history_curve(case, fitted, reference, report):
    history = getattr(fitted, "history_", None)
    if history is None:
        return
    losses = np.asarray(history["loss"], dtype=float)
    gaps = reference.of_loss(np.where(np.isfinite(losses), losses, np.inf))
    report.add_curve(case.name, "gdregress", zip(np.asarray(history["seconds"]), gaps))


def _tune_scikit_learn(case, problem, reference, options):
    peers = scikit_learn_solvers()
    if case.solvers:
        peers = [p for p in peers if p.name.split()[-1] in case.solvers]
    tuned, patience = [], options.budget
    for peer in peers:
        tuned.append(tune(peer, problem, reference, patience))
        best = min((t.seconds for t in tuned if t.reached), default=np.inf)
        patience = float(np.clip(3.0 * best, 2.0, options.budget))
    return tuned


def _compare(group, case, problem, reference, ours, best, tuned, options, report):
    """The row against the fastest scikit-learn solver; returns the ratio where it counts."""
    row = Row(group, case.name, figure=case.figure, our_error=ours.gap, failed=ours.failed)
    row.note = _all_solvers(tuned, ours)
    if best is None:
        row.peer = "no scikit-learn solver reaches 1e-8"
        row.failed = ours.failed or "peer failed"
        if not ours.failed:
            row.ours = median_time(ours.fit, options.repeats)[0]
        report.add(row)
        return None
    _time(row, ours, best, problem, reference, case.accuracy, options)
    report.add(row)
    return None if row.failed else row.value


def _time(row, ours, best, problem, reference, accuracy, options):
    """Fill in times, ratio and the errors of the very results that were timed."""
    row.peer = f"{best.peer.name}, tol={best.tol:.0e}"
    row.peer_error = best.suboptimality
    if ours.failed:
        row.theirs = median_time(lambda: best.fit(problem), options.repeats)[0]
        return
    pairs = interleaved(ours.fit, lambda: best.fit(problem), options.repeats)
    row.ours, row.theirs = pairs.seconds
    row.our_error = float(reference.suboptimality(*solution(pairs.our_result)))
    row.peer_error = float(reference.suboptimality(*solution(pairs.their_result)))
    row.value = pairs.ratio
    row.note += f"\n    {pairs.note}"
    if not row.our_error <= accuracy:
        row.failed = f"short of {accuracy:g}"
    elif not row.peer_error <= TARGET:
        row.failed = "peer failed"


def _all_solvers(tuned, ours):
    texts = []
    for t in tuned:
        name = t.peer.name.removeprefix("scikit-learn ")
        if t.reached:
            texts.append(f"{name} {t.seconds:.3g} s")
        else:
            closest = min((gap for _, gap in t.curve if np.isfinite(gap)), default=np.nan)
            reached = f", closest {closest:.0e}" if np.isfinite(closest) else ""
            texts.append(f"{name}: {t.reason}{reached}")
        if t.peer.note and t.curve:
            texts[-1] += f" ({t.peer.note})"
    return "; ".join([ours.problem.shape_text, *filter(None, [ours.note]), *texts])


def _compare_others(group, case, problem, reference, ours, best, options, report):
    patience = options.budget if best is None else max(5.0, 5.0 * best.seconds)
    for peer in other_libraries():
        intelex = peer.library == "scikit-learn-intelex"
        if peer.excuse(problem):
            continue
        # The first call imports and compiles: it is no measure of patience.
        fell_back = _warm_up(peer, problem)
        tuned = tune(peer, problem, reference, patience)
        report.add_curve(case.name, peer.name, tuned.curve)
        figure = case.intelex if intelex else None
        row = Row(group, case.name, peer.name, figure=figure, our_error=ours.gap)
        row.failed = ours.failed
        if fell_back:
            row.note = "fell back to scikit-learn's own solver"
        if tuned.reached:
            _time(row, ours, tuned, problem, reference, case.accuracy, options)
        else:
            row.failed, row.note = "peer failed", tuned.reason
        report.add(row)


def _warm_up(peer, problem, rows=2_000):
    """Import and compile on a few rows; whether scikit-learn-intelex declined this problem."""

    def work():
        with quiet():
            try:
                peer.make(problem, 1e-8, 100).fit(problem.X[:rows], problem.y[:rows])
            except Exception:
                return False
        return True

    return intelex_fell_back(work)[0]
