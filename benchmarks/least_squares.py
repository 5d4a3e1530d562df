"""Exact least squares: time against peers and against one ``X.T @ X``."""

from dataclasses import dataclass, field

import numpy as np

from gdregress import LinearRegression

from . import problems
from .measure import interleaved, median_time, quiet
from .peers import intelex_fell_back, least_squares_peers
from .reference import least_squares as reference_solution
from .report import Figure, Row

ACCURACY = 1e-10
DEFAULT = "scikit-learn LinearRegression"
INTELEX = "scikit-learn-intelex LinearRegression"
RIDGE = "scikit-learn Ridge(cholesky)"
GRAM = "one X.T @ X"


@dataclass(frozen=True)
class Case:
    """A shape and its figures by peer. No shape means diabetes."""

    name: str
    shape: tuple | None
    figures: dict = field(default_factory=dict)

    def build(self):
        return problems.regression(*self.shape) if self.shape else problems.diabetes()


def cases(options):
    """The shapes of the speed table; scikit-learn-intelex is to be matched on each."""
    m = options.size
    table = (
        ("1,000,000 × 100", (m(1_000_000), 100), Figure(10)),
        ("1,000,000 × 20", (m(1_000_000), 20), Figure(6)),
        ("100,000 × 500", (m(100_000), 500), Figure(4)),
        ("10,000 × 100", (m(10_000), 100), Figure(6)),
        ("442 × 10 (diabetes)", None, Figure(1.2)),
    )
    out = []
    for name, shape, figure in table:
        figures = {DEFAULT: figure}
        if shape is not None:
            figures[INTELEX] = Figure(1)
        if name == "1,000,000 × 100":
            figures |= {RIDGE: Figure(1.3), GRAM: Figure(1.5, at_least=False)}
        out.append(Case(f"least squares {name}", shape, figures))
    return out


def run(options, report):
    """Measure every case against every peer."""
    for case in cases(options):
        if options.wants(case.name):
            _run_case(case, options, report)


def _run_case(case, options, report):
    problem = case.build()
    truth = np.append(*reference_solution(problem.X, problem.y))
    ours, failed, our_error = _ours(problem, truth)
    peers = dict(least_squares_peers())
    for name, make in peers.items():
        row = Row("least squares", case.name, name, figure=case.figures.get(name))
        row.our_error, row.failed, row.note = our_error, failed, ""
        _compare(row, ours, make, problem, truth, options)
        report.add(row)
    row = Row("least squares", case.name, GRAM, figure=case.figures.get(GRAM), failed=failed)
    _compare_gram(row, ours, problem.X, options)
    report.add(row)


def _ours(problem, truth):
    """The call to time, why it does not count (or ""), and its error."""

    def fit():
        return LinearRegression().fit(problem.X, problem.y)

    try:
        with quiet():
            error = relative_error(fit(), truth)
    except Exception as problem_met:
        return None, f"{type(problem_met).__name__}: {problem_met}"[:100], None
    return fit, "" if error <= ACCURACY else f"error above {ACCURACY:g}", error


def relative_error(estimator, truth):
    """||theta - truth|| / ||truth||, the intercept included."""
    theta = np.append(np.ravel(estimator.coef_), estimator.intercept_)
    return float(np.linalg.norm(theta - truth) / np.linalg.norm(truth))


def _compare(row, ours, make, problem, truth, options):
    def theirs():
        return make().fit(problem.X, problem.y)

    try:
        with quiet():
            fell_back, fitted = intelex_fell_back(theirs)
    except Exception as error:
        row.failed, row.note = row.failed or "peer failed", f"{type(error).__name__}: {error}"[:120]
        return
    row.note = "fell back to scikit-learn's own solver" if fell_back else ""
    row.peer_error = relative_error(fitted, truth)
    if ours is None or row.failed:
        row.theirs = median_time(theirs, options.repeats)[0]
        return
    pairs = interleaved(ours, theirs, options.repeats)
    row.ours, row.theirs = pairs.seconds
    row.value = pairs.ratio
    row.our_error = relative_error(pairs.our_result, truth)
    row.peer_error = relative_error(pairs.their_result, truth)
    row.note = f"{pairs.note} {row.note}".strip()
    if not row.our_error <= ACCURACY:
        row.failed = f"error above {ACCURACY:g}"
    elif not row.peer_error <= ACCURACY:
        row.failed = "peer failed"


def _compare_gram(row, ours, X, options):
    """The figure here is ours / gram: how many times one product with itself X is worth."""

    def gram():
        return X.T @ X

    if ours is None or row.failed:
        row.theirs = median_time(gram, options.repeats)[0]
        return
    pairs = interleaved(ours, gram, options.repeats)
    row.ours, row.theirs = pairs.seconds
    row.value = 1.0 / pairs.ratio
    row.note = pairs.note
