"""Error of the coefficients in ill-conditioned least squares, relative to Householder QR.

The truth is the exact least-squares solution of the very float64 numbers that every solver is
given, in rational arithmetic: neither the construction's rounding nor a solver serves as judge.
"""

import numpy as np
from scipy import linalg

from gdregress import LinearRegression

from .measure import quiet
from .peers import least_squares_peers
from .reference import exact_least_squares
from .report import Figure, Row

SEEDS = range(6)
SHAPES = ((40, 8), (5_000, 20))
SHOWN = ("scikit-learn LinearRegression", "scikit-learn-intelex LinearRegression")
FIGURE = Figure(20, at_least=False)


def run(options, report):
    """One row per condition, noise and shape; as information two peers relative to QR.

    A shape is left out where the condition would be beyond ``1 / (max(m, p) eps)``: there the
    design is rank-deficient in float64 by definition, and minimum norm is another question.
    """
    for shape in SHAPES:
        for power in range(2, 15, 2):
            for noise in (0.0, 1.0):
                text = "with noise" if noise else "no noise"
                name = f"condition 1e{power}, {shape[0]:,} × {shape[1]}, {text}"
                rankable = 10.0**power * max(shape) * np.finfo(float).eps < 0.95
                if rankable and options.wants(name):
                    _run_case(name, shape, 10.0**power, noise, report)


def _run_case(name, shape, condition, noise, report):
    designs = [_design(shape, condition, noise, seed) for seed in SEEDS]
    truths = [exact_least_squares(_with_ones(X), y)[1:] for X, y in designs]
    householder = _errors(_householder, designs, truths)
    row = Row("accuracy", name, "Householder QR", unit="", figure=FIGURE)
    row.theirs = _rms(householder)
    errors = _errors(lambda X, y: LinearRegression().fit(X, y).coef_, designs, truths)
    row.ours = _rms(errors)
    row.value = row.ours / row.theirs
    row.note = f"worst seed {np.max(errors / householder):.3g} ×"
    report.add(row)
    _report_peers(name, designs, truths, row, report)


def _report_peers(name, designs, truths, judged, report):
    for peer, make in least_squares_peers().items():
        if peer not in SHOWN:
            continue
        errors = _errors(lambda X, y, make=make: make().fit(X, y).coef_, designs, truths)
        row = Row("accuracy", name, peer, unit="")
        row.theirs = _rms(errors)
        row.value = row.theirs / judged.theirs
        report.add(row)


def _design(shape, condition, noise, seed):
    """Random singular vectors, singular values geometric from 1 to 1 / condition, an offset."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal(shape))[0]
    right = np.linalg.qr(rng.standard_normal((shape[1], shape[1])))[0]
    X = (left * np.geomspace(1.0, 1.0 / condition, shape[1])) @ right
    X *= np.sqrt(shape[0])
    y = X @ rng.standard_normal(shape[1]) + 1.0 + noise * rng.standard_normal(shape[0])
    return X, y


def _with_ones(X):
    return np.column_stack([np.ones(len(X)), X])


def _householder(X, y):
    Q, R = linalg.qr(_with_ones(X), mode="economic")
    return linalg.solve_triangular(R, Q.T @ y)[1:]


def _errors(solve, designs, truths):
    errors = []
    for (X, y), truth in zip(designs, truths):
        try:
            with quiet():
                coef = np.ravel(solve(X, y))
            errors.append(np.linalg.norm(coef - truth) / np.linalg.norm(truth))
        except Exception:
            errors.append(np.inf)
    return np.array(errors)


def _rms(errors):
    return float(np.sqrt(np.mean(errors**2)))
