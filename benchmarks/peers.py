"""How each library is asked to solve the objective of a `Problem`, and how it is tuned.

Every maker translates the objective ``mean(loss) + alpha / 2 ||coef||^2``: scikit-learn's
``C = 1 / (alpha * m)``, ``Ridge(alpha=alpha * m)``; glum and skglm take ``alpha`` as it is.
"""

import importlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from .measure import median_time, quiet, timed

TARGET = 1e-8
MAX_DENSE_HESSIAN = 5_000
_TIGHTEST = 14


@dataclass(frozen=True)
class Peer:
    """A contender: ``make(problem, tol, max_iter)`` builds the unfitted estimator.

    ``excuse(problem)`` says why it cannot be asked this problem, or returns an empty string.
    """

    name: str
    library: str
    make: Callable
    excuse: Callable = lambda problem: ""  # noqa: ARG005
    note: str = ""


@dataclass
class Tuned:
    """The loosest tolerance at which a peer reached the target, and the way there.

    ``curve`` holds (seconds, suboptimality) of every fit tried.
    """

    peer: Peer
    reached: bool = False
    tol: float = np.nan
    power: int = 0
    max_iter: int = 0
    seconds: float = np.inf
    suboptimality: float = np.nan
    reason: str = ""
    note: str = ""
    curve: list = field(default_factory=list)

    def fit(self, problem):
        """A fresh fit at the tuned setting."""
        return self.peer.make(problem, self.tol, self.max_iter).fit(problem.X, problem.y)


def optional(module):
    """An optional library, or None where it is missing or broken."""
    try:
        return importlib.import_module(module)
    except Exception:
        return None


def solution(estimator):
    """``coef`` (p, K) and ``intercept`` (K,) of any fitted peer."""
    coef = np.asarray(estimator.coef_, dtype=float)
    coef = coef[:, None] if coef.ndim == 1 else coef.T
    intercept = np.broadcast_to(np.asarray(estimator.intercept_, dtype=float), (coef.shape[1],))
    return coef, intercept


def least_squares_peers():
    """Makers of ordinary least-squares estimators by name, as far as they are installed."""
    peers = {
        "scikit-learn LinearRegression": LinearRegression,
        "scikit-learn Ridge(cholesky)": lambda: Ridge(alpha=0.0, solver="cholesky"),
    }
    if sklearnex := optional("sklearnex.linear_model"):
        peers["scikit-learn-intelex LinearRegression"] = sklearnex.LinearRegression
    if glum := optional("glum"):
        peers["glum normal"] = lambda: glum.GeneralizedLinearRegressor(family="normal", alpha=0)
    return peers


def _scikit_learn(solver):
    def make(problem, tol, max_iter):
        scaling = 100.0 if solver == "liblinear" and problem.fit_intercept else 1.0
        return LogisticRegression(
            C=1.0 / (problem.alpha * problem.n_samples),
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            fit_intercept=problem.fit_intercept,
            random_state=0,
            intercept_scaling=scaling,
        )

    return make


def _no_dense_hessian(problem):
    size = (problem.n_features + 1) * problem.n_outputs
    return f"a Hessian of {size:,}² numbers" if size > MAX_DENSE_HESSIAN else ""


def _binary_only(problem):
    return "two classes only" if problem.n_outputs > 1 else ""


def _dense_only(problem):
    return "dense only in this comparison" if sparse.issparse(problem.X) else ""


def _binary_dense(problem):
    return _binary_only(problem) or _dense_only(problem)


def scikit_learn_solvers():
    """All six solvers, those likely to be fast first: their times bound the patience for the rest.

    liblinear penalises the intercept as one more coefficient. It runs with
    ``intercept_scaling=100``, which weakens that penalty by 1e4; its suboptimality tells whether
    that was enough.
    """
    excuses = {"newton-cholesky": _no_dense_hessian, "liblinear": _binary_only}
    notes = {"liblinear": "penalises the intercept (intercept_scaling=100)"}
    order = ("newton-cholesky", "lbfgs", "newton-cg", "liblinear", "sag", "saga")
    return [
        Peer(
            f"scikit-learn {solver}",
            "scikit-learn",
            _scikit_learn(solver),
            excuses.get(solver, lambda problem: ""),  # noqa: ARG005
            notes.get(solver, ""),
        )
        for solver in order
    ]


def other_libraries():
    """scikit-learn-intelex, glum and skglm, as far as they are installed."""
    peers = []
    if sklearnex := optional("sklearnex.linear_model"):
        peers.append(_intelex(sklearnex))
    if glum := optional("glum"):
        peers.append(_glum(glum))
    if skglm := optional("skglm"):
        peers.append(_skglm(skglm))
    return peers


def _intelex(sklearnex):
    def make(problem, tol, max_iter):
        return sklearnex.LogisticRegression(
            C=1.0 / (problem.alpha * problem.n_samples),
            tol=tol,
            max_iter=max_iter,
            fit_intercept=problem.fit_intercept,
        )

    return Peer("scikit-learn-intelex lbfgs", "scikit-learn-intelex", make, _dense_only)


def _glum(glum):
    def make(problem, tol, max_iter):
        return glum.GeneralizedLinearRegressor(
            family="binomial",
            alpha=problem.alpha,
            l1_ratio=0.0,
            gradient_tol=tol,
            max_iter=max_iter,
            fit_intercept=problem.fit_intercept,
        )

    return Peer("glum irls", "glum", make, lambda p: _binary_only(p) or _no_dense_hessian(p))


def _skglm(skglm):
    def make(problem, tol, max_iter):
        return skglm.GeneralizedLinearEstimator(
            skglm.datafits.Logistic(),
            skglm.penalties.L1_plus_L2(problem.alpha, 0.0),
            skglm.solvers.ProxNewton(
                tol=tol, max_iter=max_iter, fit_intercept=problem.fit_intercept
            ),
        )

    for room in ("datafits", "penalties", "solvers"):
        importlib.import_module(f"skglm.{room}")
    return Peer("skglm prox-newton", "skglm", make, _binary_dense)


def intelex_fell_back(work):
    """Whether scikit-learn-intelex handed the call to scikit-learn, and the call's result."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("sklearnex")
    level = logger.level
    handlers, logger.handlers = logger.handlers, [handler]
    logger.setLevel(logging.INFO)
    propagate, logger.propagate = logger.propagate, False
    try:
        result = work()
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
        logger.propagate = propagate
    return any("fallback" in message for message in messages), result


def tune(peer, problem, reference, patience, *, hopeless=np.inf):
    """Find the loosest tolerance (in decades) at which `peer` reaches the target.

    A fit may take about ``patience`` seconds: ``max_iter`` is set from the time of a few
    iterations. A peer that exhausts it, or stops improving, is reported as not reaching. All its
    fits together may take three times the patience. One that falls short of the target in more
    than ``hopeless`` seconds is given up: a tighter tolerance takes longer still.
    """
    tuned = Tuned(peer)
    excuse = peer.excuse(problem)
    if excuse:
        tuned.reason = excuse
        return tuned
    try:
        with quiet():
            _tighten(tuned, problem, reference, patience, hopeless)
    except Exception as error:
        tuned.reason = f"{type(error).__name__}: {error}"[:120]
    return tuned


def _tighten(tuned, problem, reference, patience, hopeless):
    max_iter, probe = _affordable(tuned, problem, reference, patience)
    if max_iter < 1:
        tuned.reason = f"more than {patience:.2g} s"
        return
    began, last, power, failed = time.perf_counter(), probe, 4, 0
    while power <= _TIGHTEST:
        gap, exhausted = _try(tuned, problem, reference, power, max_iter)
        if gap <= TARGET:
            _loosen(tuned, problem, reference, failed, max_iter)
            return
        if exhausted:
            tuned.reason = f"not reached in {max_iter:,} iterations"
            return
        if gap >= 0.999 * last and power > 10:
            tuned.reason = "stops short of the target at every tolerance"
            return
        if tuned.curve[-1][0] > hopeless:
            tuned.reason = "slower than the fastest before it gets there"
            return
        if time.perf_counter() - began > 3 * patience:
            tuned.reason = f"not reached within {3 * patience:.2g} s of tightening tol"
            return
        last, failed, power = gap, power, power + _decades(gap)
    tuned.reason = "not reached at any tolerance"


def _decades(gap):
    """How many decades a tolerance is tightened by: a gap is about quadratic in a gradient."""
    wanted = 0.5 * math.log10(gap / TARGET) if math.isfinite(gap) else 1.0
    return min(4, max(1, int(wanted)))


def _affordable(tuned, problem, reference, patience):
    """Iterations that fit into the patience, from the time of two short fits."""
    counts, seconds = (1, 4), []
    for count in counts:
        estimator = tuned.peer.make(problem, 1e-14, count)
        elapsed, fitted = timed(lambda e=estimator: e.fit(problem.X, problem.y))
        gap = float(reference.suboptimality(*solution(fitted)))
        tuned.curve.append((elapsed, gap))
        seconds.append(elapsed)
        if elapsed > patience:
            return 0, gap
    # Compilation or import may hide in the first: the second alone bounds an iteration as well.
    per_iteration = max(seconds[1] - seconds[0], 0.1 * seconds[1]) / (counts[1] - counts[0])
    return int(np.clip(patience / per_iteration, 20, 100_000)), gap


def _try(tuned, problem, reference, power, max_iter):
    """Fit with ``tol = 10^-power``; remember it where it reaches the target."""
    tol = 10.0**-power
    estimator = tuned.peer.make(problem, tol, max_iter)
    seconds, fitted = timed(lambda: estimator.fit(problem.X, problem.y))
    gap = float(reference.suboptimality(*solution(fitted)))
    tuned.curve.append((seconds, gap))
    if gap <= TARGET:
        tuned.reached, tuned.suboptimality, tuned.power = True, gap, power
        tuned.tol, tuned.max_iter, tuned.seconds = tol, max_iter, seconds
    iterations = np.max(getattr(fitted, "n_iter_", 0))
    return gap, iterations >= max_iter


def _loosen(tuned, problem, reference, failed, max_iter):
    """Go back by decades, down to one that is known to fail, while the target is reached."""
    for power in range(tuned.power - 1, failed, -1):
        if _try(tuned, problem, reference, power, max_iter)[0] > TARGET:
            break


def fastest(tuned, problem, within=1.6):
    """The fastest of those that reached the target; near ties are timed again."""
    reached = sorted((t for t in tuned if t.reached), key=lambda t: t.seconds)
    close = [t for t in reached if t.seconds < within * reached[0].seconds]
    if len(close) > 1:
        for t in close:
            t.seconds = median_time(lambda t=t: t.fit(problem), repeats=3, budget=10.0)[0]
    return min(close, key=lambda t: t.seconds) if close else None
