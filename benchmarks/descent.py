"""Gradient descent: cost of an iteration, of an epoch, and what ``learning_rate="auto"`` reaches.

The cost of one iteration is the difference of two fits of different lengths, divided by the
iterations between them: validation and set-up cancel.
"""

import statistics
from functools import partial

import numpy as np
from sklearn.linear_model import SGDClassifier
from threadpoolctl import threadpool_limits

import gdregress

from . import problems
from .measure import PAUSE, interleaved, median_time, quiet, timed
from .peers import solution
from .reference import Optimum, loss_at, optimum
from .reference import least_squares as least_squares_solution
from .report import Figure, Row

RULES = ("gd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")
PASSES = 1_000
EPOCHS = 20


def run(options, report):
    """Every case of the descent table."""
    for name, case in CASES.items():
        if options.wants(name):
            case(name, options, report)


def _row(name, peer, figure=None, **values):
    return Row("descent", name, peer, figure=figure, **values)


def _attempt(row, report, work):
    """Run ``work`` unless the package is missing; an exception becomes the verdict."""
    if not row.failed:
        try:
            with quiet():
                work()
        except Exception as error:
            row.failed = f"{type(error).__name__}: {error}"[:100]
    report.add(row)


def _fit(estimator, problem):
    return estimator.fit(problem.X, problem.y)


def many_iterations(name, options, report):
    """1,000 iterations of plain descent against the exact fit of the same package."""
    problem = problems.regression(options.size(1_000_000), 100)
    row = _row(name, "gdregress exact fit", Figure(1.3, at_least=False))

    def work():
        descent = partial(gdregress.LinearRegression, solver="gd", max_iter=1_000, tol=0)
        reference = _quadratic_optimum(problem)
        pairs = interleaved(
            lambda: _fit(descent(), problem),
            lambda: _fit(gdregress.LinearRegression(), problem),
            options.repeats,
        )
        row.ours, row.theirs = pairs.seconds
        row.value = 1.0 / pairs.ratio
        row.note = pairs.note
        row.our_error = float(reference.suboptimality(*solution(pairs.our_result)))
        row.peer_error = float(reference.suboptimality(*solution(pairs.their_result)))
        if pairs.our_result.n_iter_ != 1_000:
            row.failed = f"made {pairs.our_result.n_iter_} iterations"

    _attempt(row, report, work)


def independent_of_rows(name, options, report):
    """An iteration on a hundred times the rows costs the same."""
    many = problems.regression(options.size(1_000_000), 100)
    few = problems.Problem("few", many.X[: many.n_samples // 100], many.y[: many.n_samples // 100])
    row = _row(name, "1 / 100 of the rows", Figure(1.3, at_least=False))

    def work():
        make = partial(gdregress.LinearRegression, solver="gd", tol=0)
        samples = [
            [_per_iteration(make, p, 1_000, 11_000) for p in (many, few)]
            for _ in range(min(options.repeats, 5))
        ]
        row.ours, row.theirs = (statistics.median(column) for column in zip(*samples))
        row.value = statistics.median(a / b for a, b in samples)

    _attempt(row, report, work)


def _per_iteration(make, problem, low, high):
    short = timed(lambda: _fit(make(max_iter=low), problem), PAUSE)[0]
    long = timed(lambda: _fit(make(max_iter=high), problem), PAUSE)[0]
    return (long - short) / (high - low)


def logistic_iteration(name, options, report):
    """One full-batch iteration against its two products with X, in turn."""
    problem = problems.classification(options.size(1_000_000), 20)
    row = _row(name, "X @ w and X.T @ r", Figure(1.5, at_least=False))
    w, r = np.ones(problem.n_features), np.ones(problem.n_samples)

    def products():
        problem.X @ w
        problem.X.T @ r

    products()
    row.theirs = median_time(products, max(options.repeats, 9))[0]

    def work():
        make = partial(gdregress.LogisticRegression, solver="gd", tol=0, alpha=problem.alpha)
        samples = []
        for _ in range(options.repeats):
            ours = _per_iteration(make, problem, 10, 40)
            theirs = statistics.median(timed(products)[0] for _ in range(9))
            samples.append((ours, theirs))
        row.ours, row.theirs = (statistics.median(column) for column in zip(*samples))
        row.value = statistics.median(a / b for a, b in samples)

    _attempt(row, report, work)


def overhead(name, options, report):
    """Time of an iteration on data so small that nothing else is left."""
    bundled = problems.bundled_classification()[0]
    tiny = problems.standardised(bundled)
    tiny = problems.Problem("tiny", tiny.X[:30, :3].copy(), tiny.y[:30])
    for kind in ("LinearRegression", "LogisticRegression"):
        row = _row(f"{name}, {kind}", "", Figure(20, at_least=False, unit="µs"), unit="µs")

        def work(kind=kind, row=row):
            make = partial(getattr(gdregress, kind), solver="gd", tol=0)
            samples = [
                _per_iteration(make, tiny, 1_000, 6_000) for _ in range(max(options.repeats, 5))
            ]
            row.ours = row.value = 1e6 * statistics.median(samples)

        _attempt(row, report, work)


def epoch(name, options, report, batch_size, figure):
    """One epoch, loss pass included, against one of SGDClassifier; both at rate 0.01."""
    problem = problems.classification(options.size(200_000), 100)
    row = _row(name, "scikit-learn SGDClassifier", figure)
    peer = partial(
        SGDClassifier,
        loss="log_loss",
        alpha=problem.alpha,
        learning_rate="constant",
        eta0=0.01,
        max_iter=1,
        tol=None,
        random_state=0,
    )
    start = np.log(2.0)

    def theirs():
        return _fit(peer(), problem)

    if row.failed:
        row.theirs, result = median_time(theirs, options.repeats)
        row.peer_error = loss_at(problem, *solution(result)) / start

    def work():
        def ours():
            estimator = gdregress.LogisticRegression(
                solver="gd",
                alpha=problem.alpha,
                learning_rate=0.01,
                batch_size=batch_size,
                max_iter=1,
                tol=0,
                random_state=0,
            )
            return _fit(estimator, problem)

        pairs = interleaved(ours, theirs, options.repeats)
        row.ours, row.theirs = pairs.seconds
        row.value = pairs.ratio
        row.our_error = loss_at(problem, *solution(pairs.our_result)) / start
        row.peer_error = loss_at(problem, *solution(pairs.their_result)) / start
        row.note = f"error: loss after the epoch / before; {pairs.note}"
        if not row.our_error < 1.0:
            row.failed = "the loss did not fall"

    _attempt(row, report, work)


def auto_rate(name, options, report):
    """Every rule, full batch and batch 64, untuned, on every real set, raw and standardised.

    One row per set and batch size. No rule may diverge; on standardised sets in full batch
    the figure is the passes that nesterov takes to 1e-6.
    """
    sets = [
        *problems.real_classification(options.tables),
        *problems.real_regression(options.tables),
    ]
    for problem in sets:
        reference = optimum(problem) if problem.kind == "logistic" else _quadratic_optimum(problem)
        for batch_size in (None, 64):
            report.add(_auto_row(name, problem, reference, batch_size))


def _auto_row(name, problem, reference, batch_size):
    batch = "full batch" if batch_size is None else f"batch {batch_size}"
    must_reach = batch_size is None and "standardised" in problem.name
    figure = Figure(PASSES, False, "passes") if must_reach else Figure(0, False, "diverge")
    row = Row("descent", f"{name}: {problem.name}, {batch}", "every rule", figure=figure)
    texts, failures = [], []
    for rule in RULES:
        text, failure, reached = _auto_fit(problem, reference, rule, batch_size)
        texts.append(f"{rule} {text}")
        failures += [f"{rule}: {failure}"] if failure else []
        if rule == "nesterov" and must_reach:
            row.value = reached
    if not must_reach:
        row.value = len(failures)
    row.failed = "; ".join(failures)
    row.note = "suboptimality: " + ", ".join(texts)
    return row


def _auto_fit(problem, reference, rule, batch_size):
    """Suboptimality as text, what went wrong (or ""), and the passes to 1e-6."""
    try:
        with quiet():
            fitted = _fit(_auto_estimator(problem, rule, batch_size), problem)
    except Exception as error:
        return "raised", f"{type(error).__name__}: {error}"[:80], np.inf
    losses = np.asarray(fitted.history_["loss"], dtype=float)
    gap = float(reference.suboptimality(*solution(fitted)))
    passes = _passes_to(reference, losses, 1e-6)
    text = f"{gap:.0e}" + (f" (1e-6 after {passes:g} passes)" if np.isfinite(passes) else "")
    return text, _divergence(fitted, losses), passes


def _auto_estimator(problem, rule, batch_size):
    kind = "LinearRegression" if problem.kind == "squares" else "LogisticRegression"
    return getattr(gdregress, kind)(
        solver=rule,
        alpha=problem.alpha,
        batch_size=batch_size,
        max_iter=PASSES if batch_size is None else EPOCHS,
        tol=0,
        random_state=0,
    )


def _divergence(fitted, losses):
    """Said so itself, went non-finite, or ended above the loss it began with."""
    known = losses[~np.isnan(losses)]
    if "diverg" in str(getattr(fitted, "stop_reason_", "")).lower():
        return "DIVERGED"
    if not np.all(np.isfinite(known)):
        return "NOT FINITE"
    return "ENDED ABOVE ITS START" if known[-1] > known[0] * (1 + 1e-9) else ""


def _passes_to(reference, losses, target):
    with np.errstate(invalid="ignore"):
        gaps = (losses - reference.loss) / (reference.start - reference.loss)
        reached = np.flatnonzero(gaps <= target)
    return float(reached[0]) if len(reached) else np.inf


def _quadratic_optimum(problem):
    """The reference of a least-squares problem in the form the others have."""
    coef, intercept = least_squares_solution(problem.X, problem.y)
    coef, intercept = coef[:, None], np.array([intercept])
    zero = np.zeros_like(coef)
    loss, start = loss_at(problem, coef, intercept), loss_at(problem, zero, np.zeros(1))
    return Optimum(problem, coef, intercept, loss, start, 0.0)


def same_bits(name, options, report):
    """One BLAS thread and two give the same coefficients to the last bit."""
    square = problems.regression(options.size(200_000), 30)
    binary = problems.classification(options.size(200_000), 30)
    batches = {"batch_size": 256, "max_iter": 2, "learning_rate": 0.01, "random_state": 0}
    plans = {
        "LinearRegression, gd": ("LinearRegression", square, {"max_iter": 50}),
        "LogisticRegression, gd": ("LogisticRegression", binary, {"max_iter": 20}),
        "LinearRegression, mini-batch": ("LinearRegression", square, batches),
        "LogisticRegression, mini-batch": ("LogisticRegression", binary, batches),
    }
    for text, (kind, problem, settings) in plans.items():
        row = _row(f"{name}: {text}", "1 thread against 2", Figure(0, False, "difference"), unit="")

        def work(kind=kind, problem=problem, settings=settings, row=row):
            coefs = []
            for threads in (1, 2):
                with threadpool_limits(threads, user_api="blas"):
                    estimator = getattr(gdregress, kind)(solver="gd", tol=0, **settings)
                    coefs.append(np.vstack(solution(_fit(estimator, problem))))
            row.value = float(np.max(np.abs(coefs[0] - coefs[1])))

        _attempt(row, report, work)


CASES = {
    "1,000 iterations, least squares 1,000,000 × 100": many_iterations,
    "iteration independent of m, least squares": independent_of_rows,
    "one iteration, logistic 1,000,000 × 20": logistic_iteration,
    "epoch, logistic 200,000 × 100, batch 32": partial(epoch, batch_size=32, figure=Figure(1)),
    "epoch, logistic 200,000 × 100, batch 256": partial(epoch, batch_size=256, figure=Figure(2)),
    "auto rate": auto_rate,
    "overhead of an iteration": overhead,
    "same bits on any number of threads": same_bits,
}
