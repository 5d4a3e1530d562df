"""Mini-batches to an accuracy: untuned, against scikit-learn's SGD at the best of a grid.

The accuracy is a loss within 1 % of the optimum, of all that a fit can gain: of the distance from
the best constant model to the optimum. Both sides are given the number of epochs after which they
are there, which nobody could know beforehand; the time is that of one call of ``fit`` for so many.
Where no setting of SGD is there after 50 epochs, the three that came nearest go on, up to 500; the
time of one that is not there then is a lower bound, and so is the ratio.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import SGDClassifier, SGDRegressor

import gdregress

from . import kinds, problems
from .measure import interleaved, quiet, threads
from .peers import solution
from .reference import Optimum, loss_at, optimum
from .report import Figure, Row

SHARE = 0.01
BATCHES = (32, 256)
EPOCHS = 50
# Of the settings that came nearest, where none is there in so many, and of how many.
PATIENCE, NEAREST = 500, 3
RATES = 10.0 ** np.arange(-7.0, 1.0)
SCHEDULES = ("constant", "invscaling")


@dataclass(frozen=True)
class Case:
    """A table, and the function that builds its `Problem`."""

    name: str
    build: Callable


def cases(options):
    """The binary kinds, scikit-learn's bundled tables, and house prices where a folder has them."""
    wanted = ("census", "web pages", "spam", "credit")
    found = [
        Case(name.replace(", alpha 1/m", ""), build)
        for name, build in kinds.kinds(options.size, alphas=("1/m",))
        if name.startswith(wanted)
    ]
    tables = [problems.bundled_classification()[0], replace(problems.diabetes(), alpha=1e-3)]
    tables += [p for p in problems.folder_tables(options.tables) if p.name.startswith("cal_")]
    for problem in tables:
        raw = replace(problem, name=problem.name.removesuffix(", raw") + ", raw")
        found += [Case(p.name, lambda p=p: p) for p in (raw, problems.standardised(raw))]
    return found


def run(options, report):
    """For every table and size of batch: the time to the accuracy, and that of an epoch."""
    for case in cases(options):
        if options.wants(case.name):
            problem = case.build()
            reference = _from_best_constant(problem)
            with quiet():
                peer = _best_peer(problem, reference)
            for count in options.threads:
                with threads(count), quiet():
                    for batch_size in BATCHES:
                        report.add(_row(case, problem, reference, peer, batch_size, count, options))


def _from_best_constant(problem):
    """The optimum, its start at the best model without columns: what a fit can gain."""
    if problem.kind == "squares":
        coef, intercept = _ridge_solution(problem)
        best = Optimum(problem, coef, intercept, loss_at(problem, coef, intercept), np.nan, 0.0)
        constant = problem.y.mean()
    else:
        best = optimum(problem)
        share = problem.y.mean()
        constant = np.log(share / (1.0 - share))
    zero = np.zeros((problem.n_features, 1))
    return replace(best, start=loss_at(problem, zero, np.array([constant])))


def _ridge_solution(problem):
    """Ridge as least squares: rows sqrt(alpha m) I, centred columns, target zero."""
    mean = problem.X.mean(axis=0)
    root = np.sqrt(problem.alpha * problem.n_samples)
    A = np.vstack([problem.X - mean, root * np.eye(problem.n_features)])
    target = np.append(problem.y - problem.y.mean(), np.zeros(problem.n_features))
    coef = np.linalg.lstsq(A, target, rcond=None)[0]
    return coef[:, None], np.array([problem.y.mean() - mean @ coef])


def _ours(problem, batch_size, epochs):
    kind = "LinearRegression" if problem.kind == "squares" else "LogisticRegression"
    return getattr(gdregress, kind)(
        alpha=problem.alpha, batch_size=batch_size, max_iter=epochs, tol=0, random_state=0
    )


def _sgd(problem, schedule, rate, epochs):
    kind = SGDRegressor if problem.kind == "squares" else SGDClassifier
    loss = "squared_error" if problem.kind == "squares" else "log_loss"
    return kind(
        loss=loss,
        alpha=problem.alpha,
        learning_rate=schedule,
        eta0=rate,
        max_iter=epochs,
        tol=None,
        random_state=0,
    )


@dataclass
class _Setting:
    """A schedule of SGD with its rate, and the epoch after which it is there."""

    schedule: str
    rate: float
    epochs: int
    gap: float


def _best_peer(problem, reference):
    """The setting of the grid that needs the fewest epochs; where none is there, of those that came
    nearest, given more of them."""
    grid = [(schedule, rate) for schedule in SCHEDULES for rate in RATES]
    if problem.kind == "logistic":
        grid.insert(0, ("optimal", 0.01))
    tried = _tried(problem, reference, grid, EPOCHS)
    if not tried[0].gap <= SHARE:
        nearest = [(each.schedule, each.rate) for each in tried[:NEAREST]]
        tried = _tried(problem, reference, nearest, PATIENCE)
    return tried[0]


def _tried(problem, reference, grid, most):
    """The settings of a grid, the best first: those that are there by their epochs, none being
    given more than another has needed, then the others by how near they came."""
    tried = []
    for schedule, rate in grid:
        epochs, gap = _epochs_of_sgd(problem, reference, schedule, rate, most)
        tried.append(_Setting(schedule, rate, epochs, gap))
        if gap <= SHARE:
            most = epochs
    return sorted(tried, key=lambda each: (not each.gap <= SHARE, each.epochs, each.gap))


def _epochs_of_sgd(problem, reference, schedule, rate, most):
    """How many epochs, and the gap then, at most `most`."""
    estimator = _sgd(problem, schedule, rate, 1).set_params(warm_start=True)
    classes = {} if problem.kind == "squares" else {"classes": np.array([0, 1])}
    lowest = np.inf
    for epoch in range(1, most + 1):
        try:
            estimator.partial_fit(problem.X, problem.y, **classes)
        except ValueError:  # coefficients out of range
            return most, np.inf
        gap = float(reference.suboptimality(*solution(estimator)))
        if gap <= SHARE:
            return epoch, gap
        if not np.isfinite(gap) or gap > 1e6:
            return most, np.inf
        lowest = min(lowest, gap)
    return most, lowest


def _row(case, problem, reference, peer, batch_size, count, options):
    row = Row(
        "minibatch",
        f"{case.name}, batch {batch_size}",
        f"SGD {peer.schedule}, eta0={peer.rate:g}",
        figure=Figure(1),
        threads=count,
        shape=problem.shape_text,
    )
    epochs, row.our_error, losses = _our_epochs(problem, reference, batch_size)
    row.facts = {"epochs": epochs, "their epochs": peer.epochs}
    row.note = f"epochs {epochs} and {peer.epochs}; gaps " + " ".join(f"{x:.1e}" for x in losses)
    pairs = interleaved(
        lambda: _ours(problem, batch_size, epochs).fit(problem.X, problem.y),
        lambda: _sgd(problem, peer.schedule, peer.rate, peer.epochs).fit(problem.X, problem.y),
        options.repeats,
        options.small,
        options.large,
    )
    row.ours, row.theirs = pairs.seconds
    row.value, row.spread = pairs.ratio, pairs.spread
    row.facts["epoch ratio"] = pairs.ratio * epochs / peer.epochs
    row.note += f"\n    {pairs.note}"
    row.peer_error = peer.gap
    if not row.our_error <= SHARE:
        row.failed = f"short of {SHARE:.0%} in {EPOCHS} epochs"
    elif not peer.gap <= SHARE:
        row.peer += f", short of {SHARE:.0%}"
    return row


def _our_epochs(problem, reference, batch_size):
    """The epochs until the accuracy is reached, the gap then, and the gaps on the way there."""
    fitted = _ours(problem, batch_size, EPOCHS).fit(problem.X, problem.y)
    losses = np.asarray(fitted.history_["loss"], dtype=float)
    gaps = reference.of_loss(np.where(np.isfinite(losses), losses, np.inf))
    reached = np.flatnonzero(gaps[1:] <= SHARE)
    epochs = int(reached[0]) + 1 if len(reached) else EPOCHS
    return epochs, float(gaps[min(epochs, len(gaps) - 1)]), gaps[: epochs + 1][:12]
