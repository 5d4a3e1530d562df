"""The linear reference sets of NIST, whose certified values have 15 digits.

The designs of Filip and of the Wampler sets are nearly collinear: rounding x^k moves the optimum
itself. The known answer is that for the rounded columns, in rational arithmetic; the certified
values are as far from it as such roundings can move them.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from problems import exact_least_squares, least_squares_error

from gdregress import LinearRegression

DATA = Path(__file__).parent / "data"
WAMPLER = [f"Wampler{k}" for k in range(1, 6)]
SETS = ["Norris", "Pontius", "NoInt1", "NoInt2", "Longley", *WAMPLER, "Filip"]
POLYNOMIAL_DEGREE = {"Pontius": 2, "Filip": 10, **dict.fromkeys(WAMPLER, 5)}
EPS = np.finfo(float).eps


class Certified(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    fit_intercept: bool
    theta: np.ndarray  # (n_features + 1, 1), the intercept last, 0 where there is none
    residual_sd: float
    r_squared: float


@cache
def load(name):
    """A set, with the powers of x as columns where the model is a polynomial."""
    lines = (DATA / f"{name}.dat").read_text().splitlines()
    certified = re.compile(r"\s*(B\d+|Standard Deviation|R-Squared)\s+([-\d.E+]+)")
    values = [m.groups() for line in lines[30:60] if (m := certified.match(line))]
    named = {name: float(value) for name, value in values}
    coef = [value for name, value in named.items() if name.startswith("B") and name != "B0"]
    start = next(i for i, line in enumerate(lines) if re.match(r"Data:\s+y\s+x", line))
    table = np.array([line.split() for line in lines[start + 1 :] if line.strip()], dtype=float)
    X = table[:, 1:] ** np.arange(1, POLYNOMIAL_DEGREE.get(name, 1) + 1)
    return Certified(
        X,
        table[:, 0],
        "B0" in named,
        np.array([*coef, named.get("B0", 0.0)])[:, None],
        named["Standard Deviation"],
        named["R-Squared"],
    )


def fitted(name, solver):
    """The fit, and its coefficients and intercept as a column."""
    nist = load(name)
    model = LinearRegression(solver=solver, fit_intercept=nist.fit_intercept).fit(nist.X, nist.y)
    return model, np.append(model.coef_, model.intercept_)[:, None]


each_set = pytest.mark.parametrize("name", SETS)
each_solver = pytest.mark.parametrize("solver", ["auto", "normal_equations", "lstsq"])


@each_solver
@each_set
def test_coefficients_are_as_accurate_as_householder_qr(name, solver):
    nist = load(name)
    _, theta = fitted(name, solver)
    assert least_squares_error(theta, nist.X, nist.y, fit_intercept=nist.fit_intercept) <= 1.0


@each_set
def test_the_rational_optimum_has_the_certified_digits(name):
    """All of them, but for what the rounding of the powers and of decimal fractions moves.

    In columns of unit length ``dw = A^+ (dy - dX w) + (A^T A)^-1 dX^T r``. This is a test of the
    judge of the test above.
    """
    nist = load(name)
    X, y, fit_intercept = nist.X, nist.y, nist.fit_intercept
    exact = exact_least_squares(X, y, fit_intercept=fit_intercept).astype(float)
    A = X - fit_intercept * X.mean(axis=0)
    unit, size = np.linalg.norm(A, axis=0), np.linalg.norm(X, axis=0)
    smallest = np.linalg.svd(A / unit, compute_uv=False)[-1]
    residual = np.linalg.norm(y - X @ exact[:-1, 0] - exact[-1, 0])
    moved = (np.linalg.norm(y) + size @ abs(exact[:-1, 0])) / smallest
    moved += np.linalg.norm(size / unit) * residual / smallest**2
    moved = EPS * moved / unit
    moved = np.append(moved, abs(X.mean(axis=0)) @ moved)[:, None]
    assert np.all(abs(exact - nist.theta) <= 1e-14 * abs(nist.theta) + moved)


@each_solver
@each_set
def test_loss_gives_the_certified_residual_deviation_and_r_squared(name, solver):
    """To the rounding of predictions: sums of ``|x_j w_j|`` that cancel have errors of eps each.

    For Filip these are 1e6 times the residuals, and the powers themselves are rounded likewise.
    """
    nist = load(name)
    model, theta = fitted(name, solver)
    n, n_coef = len(nist.y), np.count_nonzero(nist.theta)
    rounding = (
        n_coef * EPS * np.sqrt(np.mean((abs(nist.X) @ abs(theta[:-1]) + abs(theta[-1])) ** 2))
    )
    # |sqrt(mean (r + d)^2) - sqrt(mean r^2)| <= sqrt(mean d^2)
    deviation = np.sqrt(2 * model.loss_ * n / (n - n_coef))
    allowed = 1e-14 * nist.residual_sd + rounding * np.sqrt(n / (n - n_coef))
    assert abs(deviation - nist.residual_sd) <= allowed
    total = np.mean((nist.y - nist.fit_intercept * nist.y.mean()) ** 2)
    root = np.sqrt(2 * model.loss_)
    allowed = 1e-14 + (2 * root * rounding + rounding**2) / total
    assert abs(1 - 2 * model.loss_ / total - nist.r_squared) <= allowed
