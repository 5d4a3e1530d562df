"""Logistic and softmax cases: dense, sparse, generated and real.

One pattern serves all: the reference optimum; every solver of scikit-learn tuned until it
reaches 1e-8; then gdregress, with the tolerance that certifies what the case asks of it, against
the fastest of them, in turn. What the same rule as for the peers, the loosest tolerance that
happens to reach 1e-8, would spare gdregress is measured beside it, and judges nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gdregress import LogisticRegression

from . import problems
from .kinds import kinds as every_kind
from .measure import interleaved, median_time, quiet, threads
from .passes import counted
from .peers import (
    TARGET,
    Peer,
    fastest,
    intelex_fell_back,
    other_libraries,
    scikit_learn_solvers,
    solution,
    tune,
)
from .reference import optimum
from .report import Figure, Row

SMALL_ROWS = 600


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
    others : Figure, optional
        Against the other libraries.
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
    others: Figure | None = None


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
    made = every_kind(options.size)
    made += [(p.name, lambda p=p: p) for p in problems.letters(options.tables)]
    one = Figure(1)
    return [Case(name, build, one, one, others=one) for name, build in made]


def small(options):
    """Tables of 150 to 600 rows, on which a fit takes milliseconds or less."""
    few = [p for p in problems.bundled_classification() if p.n_samples <= SMALL_ROWS]
    few += problems.mixed_tables(options.tables, SMALL_ROWS)
    one = Figure(1.5)
    both = [p for problem in few for p in (problem, problems.standardised(problem))]
    return [Case(problem.name, lambda p=problem: p, one, one, others=one) for problem in both]


def run(group, cases, options, report):
    """Measure the cases of one group."""
    for case in cases:
        if options.wants(case.name):
            _run_case(group, case, options, report)


def _run_case(group, case, options, report):
    """Tune the peers once, on the most threads; then every number of threads in turn."""
    problem = case.build()
    reference = optimum(problem)
    most = max(options.threads, key=lambda count: count or 0)
    with threads(most):
        tuned = _tune_scikit_learn(case, problem, reference, options)
        others = [] if case.solvers else _tune_others(problem, reference, tuned, options)
    for t in [*tuned, *others]:
        report.add_curve(case.name, t.peer.name, t.curve)
    for count in options.threads:
        with threads(count):
            ours = _ours(case, problem, reference, report)
            _loosen(ours, reference, options)
            # The order of those near each other may change with the threads.
            best = fastest(tuned, problem, 1.6 if count == most else 3.0)
            row = Row(group, case.name, figure=case.figure, threads=count)
            row.note = _all_solvers(tuned, ours)
            _compare(row, case, ours, best, problem, reference, options)
            report.add(row)
            for other in others:
                report.add(_other(group, case, count, ours, other, problem, reference, options))


class _Ours:
    """gdregress: the call to time, and what is wrong with it, if so.

    Newton's method certifies a decrement of ``1e-5 tol L(start)``: a tenth of an accuracy of 1e-8.
    Like the peers it is asked for about the accuracy of the case.
    """

    def __init__(self, case, problem):
        self.failed, self.gap, self.note = "", None, ""
        self.facts = {}
        self.problem = problem
        self.tol = case.accuracy**0.5

    def fit(self):
        return _gdregress(self.problem, self.tol).fit(self.problem.X, self.problem.y)


def _gdregress(problem, tol, max_iter=1_000):
    return LogisticRegression(
        alpha=problem.alpha, fit_intercept=problem.fit_intercept, tol=tol, max_iter=max_iter
    )


def _ours(case, problem, reference, report):
    ours = _Ours(case, problem)
    try:
        with quiet(), counted(problem) as counts:
            fitted = ours.fit()
    except Exception as error:
        ours.failed = f"{type(error).__name__}: {error}"[:100]
        return ours
    ours.gap = float(reference.suboptimality(*solution(fitted)))
    ours.facts = {
        "iterations": int(fitted.n_iter_),
        "passes": counts["passes"],
        "matrices": counts["matrices"],
    }
    ours.note = (
        f"{fitted.solver_}, {fitted.n_iter_} iterations, {counts['passes']:.3g} passes, "
        f"{counts['matrices']:.3g} matrices"
    )
    if not ours.gap <= case.accuracy:
        ours.failed = f"short of {case.accuracy:g}"
    with quiet():
        again = ours.fit()  # the first one met cold memory
    _history_curve(case, again, reference, report)
    return ours


def _loosen(ours, reference, options):
    """What gdregress would gain by the rule for the peers: the loosest tolerance that gets there.

    That tolerance, and the ratio of its time to that of the one that certifies, go to the facts.
    """
    if ours.failed:
        return
    peer = Peer("gdregress", "gdregress", _gdregress)
    loosest = tune(peer, ours.problem, reference, max(10.0, options.budget))
    if loosest.reached and loosest.tol > ours.tol:
        pairs = interleaved(
            ours.fit, lambda: loosest.fit(ours.problem), options.repeats, options.small / 4
        )
        ours.facts["loosest tol"] = loosest.tol
        ours.facts["time at the loosest tol"] = pairs.ratio


def _history_curve(case, fitted, reference, report):
    losses = np.asarray(fitted.history_["loss"], dtype=float)
    gaps = reference.of_loss(np.where(np.isfinite(losses), losses, np.inf))
    # The start is no result of a fit, and at 0 seconds a logarithm has no place for it.
    report.add_curve(case.name, "gdregress", zip(fitted.history_["seconds"][1:], gaps[1:]))


def _tune_scikit_learn(case, problem, reference, options):
    peers = scikit_learn_solvers()
    if case.solvers:
        peers = [p for p in peers if p.name.split()[-1] in case.solvers]
    tuned = []
    for peer in peers:
        patience, hopeless = _patience(tuned, options)
        tuned.append(tune(peer, problem, reference, patience, hopeless=hopeless))
    return tuned


def _patience(tuned, options):
    """Seconds for a fit of the next peer, and those after which it is hopeless.

    Both are multiples of the best time so far, and no less than what a busy machine takes away.
    """
    best = min((t.seconds for t in tuned if t.reached), default=np.inf)
    least = 0.5 if options.fast else 2.0
    patience = float(np.clip(3.0 * best, least, options.budget))
    return patience, max((2.0 if options.fast else 3.0) * best, 0.02)


def _tune_others(problem, reference, tuned, options):
    """The other libraries that can be asked this problem, tuned."""
    patience, hopeless = _patience(tuned, options)
    others = []
    for peer in other_libraries():
        if not peer.excuse(problem):
            # The first call imports and compiles: it is no measure of patience.
            fell_back = _warm_up(peer, problem)
            others.append(tune(peer, problem, reference, patience, hopeless=hopeless))
            if fell_back:
                others[-1].note = "fell back to scikit-learn's own solver"
    return others


def _compare(row, case, ours, best, problem, reference, options):
    """Fill in the row against the fastest scikit-learn solver."""
    row.our_error, row.failed, row.facts = ours.gap, ours.failed, ours.facts
    row.shape = problem.shape_text
    if best is None:
        row.peer = "no scikit-learn solver reaches 1e-8"
        row.failed = ours.failed or "peer failed"
        if not ours.failed:
            row.ours = median_time(ours.fit, options.repeats)[0]
        return
    _time(row, ours, best, problem, reference, case.accuracy, options)


def _other(group, case, count, ours, tuned, problem, reference, options):
    """The row against another library."""
    intelex = tuned.peer.library == "scikit-learn-intelex"
    figure = case.intelex if intelex else case.others
    row = Row(group, case.name, tuned.peer.name, figure=figure, threads=count)
    row.our_error, row.failed, row.facts = ours.gap, ours.failed, ours.facts
    row.shape, row.note = problem.shape_text, tuned.note
    if tuned.reached:
        _time(row, ours, tuned, problem, reference, case.accuracy, options)
    else:
        row.failed, row.note = "peer failed", tuned.reason
    return row


def _time(row, ours, best, problem, reference, accuracy, options):
    """Fill in times, ratio and the errors of the very results that were timed."""
    row.peer = f"{best.peer.name}, tol={best.tol:.0e}"
    row.peer_error = best.suboptimality
    if ours.failed:
        row.theirs = median_time(lambda: best.fit(problem), options.repeats)[0]
        return
    pairs = interleaved(
        ours.fit, lambda: best.fit(problem), options.repeats, options.small, options.large
    )
    row.ours, row.theirs = pairs.seconds
    row.our_error = float(reference.suboptimality(*solution(pairs.our_result)))
    row.peer_error = float(reference.suboptimality(*solution(pairs.their_result)))
    row.value, row.spread = pairs.ratio, pairs.spread
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
