"""The linear reference sets of NIST, whose certified values have 15 digits.

The designs of Filip and of the Wampler sets are nearly collinear: rounding x^k moves the optimum
itself. There the known answer is the optimum for the rounded columns, in rational arithmetic, and
the yardstick is Householder QR on centred, scaled columns.
"""

import re
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import qr, solve_triangular

from gdregress import LinearRegression

DATA = Path(__file__).parent / "data"
POLYNOMIAL_DEGREE = {"Pontius": 2, "Filip": 10, **{f"Wampler{k}": 5 for k in range(1, 6)}}
# Digits of agreement with the certified values: those of Householder QR, less a factor 20. The
# condition of the design (1600 for Wampler, 4e9 for Filip) takes the rest of 15.
CERTIFIED_DIGITS = {
    "Norris": 11,
    "Pontius": 10,
    "NoInt1": 13,
    "NoInt2": 13,
    "Longley": 12,
    "Wampler1": 8,
    "Wampler2": 12,
    "Wampler3": 8,
    "Wampler4": 6,
    "Wampler5": 4,
    "Filip": 5,
}


class Certified(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    fit_intercept: bool
    theta: np.ndarray  # intercept first, where there is one
    residual_sd: float
    r_squared: float


@cache
def load(name):
    """A set, with the powers of x as columns where the model is a polynomial."""
    lines = (DATA / f"{name}.dat").read_text().splitlines()
    certified = re.compile(r"\s*(B\d+|Standard Deviation|R-Squared)\s+([-\d.E+]+)")
    values = [m.groups() for line in lines[30:60] if (m := certified.match(line))]
    theta = [float(value) for name, value in values if name.startswith("B")]
    named = dict(values)
    start = next(i for i, line in enumerate(lines) if re.match(r"Data:\s+y\s+x", line))
    table = np.array([line.split() for line in lines[start + 1 :] if line.strip()], dtype=float)
    X = table[:, 1:] ** np.arange(1, POLYNOMIAL_DEGREE.get(name, 1) + 1)
    return Certified(
        X,
        table[:, 0],
        "B0" in named,
        np.array(theta),
        float(named["Standard Deviation"]),
        float(named["R-Squared"]),
    )


def fitted(name, solver):
    nist = load(name)
    model = LinearRegression(solver=solver, fit_intercept=nist.fit_intercept).fit(nist.X, nist.y)
    theta = np.append(model.intercept_, model.coef_) if nist.fit_intercept else model.coef_
    return model, theta


@cache
def exact_solution(name):
    """Normal equations of [1 X] in rational arithmetic, by Gauss-Jordan elimination."""
    X, y, *_ = load(name)
    A = [[Fraction(1), *map(Fraction, row)] for row in X.tolist()]
    b = [Fraction(value) for value in y.tolist()]
    n = len(A[0])
    M = [
        [sum(row[i] * row[j] for row in A) for j in range(n)]
        + [sum(row[i] * t for row, t in zip(A, b))]
        for i in range(n)
    ]
    for k in range(n):
        M[k] = [value / M[k][k] for value in M[k]]
        for i in range(n):
            if i != k:
                M[i] = [x - M[i][k] * z for x, z in zip(M[i], M[k])]
    return [row[-1] for row in M]


def relative_error(theta, exact):
    return max(abs(float((Fraction(t) - e) / e)) for t, e in zip(theta.tolist(), exact))


def householder(X, y):
    """[1 X] by Householder QR on centred columns of unit norm."""
    X_mean, y_mean = X.mean(axis=0), y.mean()
    scale = np.linalg.norm(X - X_mean, axis=0)
    Q, R = qr((X - X_mean) / scale, mode="economic")
    coef = solve_triangular(R, Q.T @ (y - y_mean)) / scale
    return np.append(y_mean - X_mean @ coef, coef)


SOLVERS = ["auto", "normal_equations", "lstsq"]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", CERTIFIED_DIGITS)
def test_coefficients_have_the_certified_digits(name, solver):
    _, theta = fitted(name, solver)
    assert_allclose(theta, load(name).theta, rtol=10.0 ** -CERTIFIED_DIGITS[name])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", [name for name in CERTIFIED_DIGITS if "NoInt" not in name])
def test_coefficients_are_nearly_as_good_as_those_of_householder_qr(name, solver):
    X, y, *_ = load(name)
    _, theta = fitted(name, solver)
    exact = exact_solution(name)
    yardstick = max(relative_error(householder(X, y), exact), 1e-15)
    assert relative_error(theta, exact) <= 20 * yardstick


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", CERTIFIED_DIGITS)
def test_loss_gives_the_certified_residual_deviation_and_r_squared(name, solver):
    nist = load(name)
    model, theta = fitted(name, solver)
    sum_of_squares = 2 * len(nist.y) * model.loss_
    total = np.sum((nist.y - nist.fit_intercept * nist.y.mean()) ** 2)
    # Wampler1 and 2 are exact relations: what remains is the rounding of predictions.
    rounding = 1e-9 * np.sqrt(np.mean(nist.y**2))
    deviation = np.sqrt(sum_of_squares / (len(nist.y) - len(theta)))
    assert_allclose(deviation, nist.residual_sd, rtol=1e-8, atol=rounding)
    assert_allclose(1 - sum_of_squares / total, nist.r_squared, rtol=1e-10)
