"""Least squares in extreme units: right, or said in words; never a bare NumPy warning."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.metrics import r2_score

from gdregress import LinearRegression
from gdregress.solvers.least_squares import exact

pytestmark = [
    pytest.mark.filterwarnings("error::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*(has rank|are constant or combinations)"),
]
SHAPES = {"tall": (40, 4), "wide": (6, 9)}
WAYS = ["dense", "triangle", "proof", "matrix", "sparse", "LSMR", "rows", "stream"]
UNITS = [1e-300, 1e-150, 1.0, 1e60, 1e150, 1e300]


@pytest.fixture
def fit(monkeypatch):
    """Fits in one of the ways that exact least squares can go."""

    def fit(way, model, X, y, weight=None):
        limits = exact.Limits(
            sparse_columns=1 if way in ("LSMR", "rows") else 2000,
            rows=4096 if way in ("matrix", "rows") else 0,
            wide=1.0,
            proof=0.0 if way == "proof" else np.inf,
        )
        monkeypatch.setattr(exact, "LIMITS", limits)
        model.set_params(solver="lstsq" if way == "triangle" else "auto")
        if way != "stream":
            X = sparse.csr_matrix(X) if way in ("sparse", "LSMR", "rows") else X
            return model.fit(X, y, weight)
        for rows in (slice(None, len(X) // 2), slice(len(X) // 2, None)):
            model.partial_fit(X[rows], y[rows], None if weight is None else weight[rows])
        return model

    return fit


def plain(shape, n_targets, weighted, alpha_share, fit_intercept=True):
    """A problem in ordinary units, and its coefficients, (n_targets, n_features)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal(SHAPES[shape]) + 0.5
    y = X @ rng.standard_normal((X.shape[1], n_targets)) + rng.standard_normal((len(X), n_targets))
    weight = rng.uniform(0.5, 2.0, len(X)) if weighted else np.ones(len(X))
    means = [fit_intercept * np.average(a, axis=0, weights=weight) for a in (X, y)]
    root = np.sqrt(weight)[:, None]
    u, sigma, vt = np.linalg.svd((X - means[0]) * root, full_matrices=False)
    kept = sigma > 1e-10 * sigma[0]
    shrunk = sigma[kept] / (sigma[kept] ** 2 + alpha_share * weight.sum())
    coef = (vt[kept].T @ (shrunk[:, None] * (u[:, kept].T @ ((y - means[1]) * root)))).T
    return X, y, weight, coef, means[1] - coef @ means[0]


def scaled(values, unit, per):
    """``values * unit / per`` without leaving the range on the way."""
    for _ in range(2):
        values = values * unit**0.5 / per**0.5
    return values


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("x_unit", UNITS)
@pytest.mark.parametrize(
    ("weight_unit", "ridge"), [(None, False), (None, True), (1e-300, True), (1e300, False)]
)
def test_right_or_said(fit, way, shape, x_unit, weight_unit, ridge):
    """The penalty of 0.1 in the units of X where float64 has such a number."""
    alpha_share = 0.1 if ridge and 1e-150 <= x_unit <= 1e150 else 0.0
    X, y, weight, coef, intercept = plain(shape, 2, weight_unit is not None, alpha_share)
    for y_unit in [*UNITS, 1e-200]:
        model = LinearRegression(alpha=alpha_share and alpha_share * x_unit**2)
        s = None if weight_unit is None else weight * weight_unit
        size = np.log10(y_unit) - np.log10(x_unit)
        try:
            found = fit(way, model, X * x_unit, y * y_unit, s)
            predicted = found.predict(X * x_unit)
            score = found.score(X * x_unit, y * y_unit, s)
        except ValueError as error:
            words = str(error)
            assert (
                ("the coefficients underflow" in words and size < -300)
                or ("the coefficients overflow" in words and size > 300)
                or ("squares of y overflow" in words and y_unit >= 1e150)
            )
            continue
        assert abs(size) < 310
        assert y_unit <= 1e150
        assert_allclose(
            scaled(found.coef_, x_unit, y_unit), coef, rtol=0, atol=1e-9 * abs(coef).max()
        )
        assert_allclose(found.intercept_ / y_unit, intercept, rtol=1e-9)
        fitted = X @ coef.T + intercept
        assert_allclose(predicted / y_unit, fitted, rtol=0, atol=1e-9 * abs(fitted).max())
        assert_allclose(score, r2_score(y, fitted, sample_weight=weight), atol=1e-9)
        square = np.average(0.5 * np.sum((fitted - y) ** 2, axis=1), weights=weight)
        square += 0.5 * alpha_share * np.sum(coef**2)
        assert_allclose(found.loss_, square * y_unit * y_unit, rtol=1e-9, atol=1e-25 * y_unit**2)
        assert np.isfinite(found.loss_curve_).all()


@pytest.mark.parametrize("way", WAYS)
def test_targets_of_different_units(fit, way):
    X, y, _, coef, intercept = plain("tall", 2, False, 0.0)
    unit = np.array([1e-200, 1e100])
    found = fit(way, LinearRegression(), X, y * unit)
    assert_allclose(found.coef_ / unit[:, None], coef, rtol=1e-9)
    assert_allclose(found.intercept_ / unit, intercept, rtol=1e-9)
    fitted = X @ coef.T + intercept
    assert_allclose(found.loss_, 0.5 * np.mean((fitted - y)[:, 1] ** 2) * 1e200, rtol=1e-9)
    assert_allclose(found.score(X, y * unit), r2_score(y, fitted), rtol=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_a_coefficient_that_nobody_notices_may_underflow(fit, way):
    """A column of 1e300 without a part in y: its coefficient is rounding, 1e-316."""
    X, *_ = plain("tall", 1, False, 0.0)
    found = fit(way, LinearRegression(), X * [1.0, 1.0, 1.0, 1e300], X[:, 0])
    assert_allclose(found.coef_[:3], [1.0, 0.0, 0.0], atol=1e-12)
    assert abs(found.coef_[3]) < 1e-310


@pytest.mark.parametrize("way", [way for way in WAYS if way != "stream"])
def test_an_estimator_stays_as_it_was(fit, way):
    X, y, *_ = plain("tall", 1, False, 0.0)
    model = fit(way, LinearRegression(), X, y[:, 0])
    before = model.coef_.copy()
    with pytest.raises(ValueError, match="LinearRegression: the coefficients underflow float64"):
        fit(way, model, X * 1e300, y[:, 0] * 1e-100)
    assert_allclose(model.coef_, before, rtol=0)


@pytest.mark.parametrize("y_unit", [1e-310, 1e-200, 1e-60, 1.0, 1e160, 1e300])
def test_the_score_knows_no_units(y_unit):
    X, y, weight, *_ = plain("tall", 2, True, 0.0)
    model = LinearRegression().fit(X, y)
    expected = r2_score(y, model.predict(X), sample_weight=weight)
    small = LinearRegression()
    small.__dict__.update(vars(model))
    small.coef_, small.intercept_ = model.coef_ * y_unit, model.intercept_ * y_unit
    assert_allclose(small.score(X, y * y_unit, weight * 1e300), expected, rtol=1e-9)


def test_a_score_that_is_beyond_all_numbers():
    X, y, *_ = plain("tall", 1, False, 0.0)
    model = LinearRegression().fit(X, 1e150 * y[:, 0])
    assert model.score(X, 1e-200 * y[:, 0]) == -np.inf
    assert model.score(X, y[:, 0] * 1e-5) < -1e300


def test_mini_batches_of_targets_whose_squares_overflow():
    X, y = np.random.default_rng(0).standard_normal((2, 50, 2))
    model = LinearRegression(solver="gd", batch_size=16)
    with pytest.raises(ValueError, match="loss at the start overflows float64; rescale"):
        model.fit(X, 1e160 * y[:, 0])


@pytest.mark.parametrize("params", [{}, {"learning_rate": 0.01, "criterion": "loss"}])
def test_a_start_that_leaves_no_loss_of_such_targets(params):
    X, coef = np.random.default_rng(0).standard_normal((50, 3)), 1e160 * np.array([1.0, 2.0, 3.0])
    model = LinearRegression(solver="gd", batch_size=16, max_iter=1, random_state=0, **params)
    model.fit(X, X @ coef, coef_init=coef, intercept_init=0.0)
    assert_allclose(model.coef_, coef, rtol=1e-12)


def test_an_automatic_rate_of_many_columns_of_zeros():
    X, y = np.zeros((300, 600)), np.arange(300.0)
    model = LinearRegression(solver="momentum", fit_intercept=False, max_iter=3)
    assert not model.fit(X, y).coef_.any()


def test_an_automatic_rate_of_many_columns_whose_squares_nearly_overflow():
    X = 1e153 * (1.0 + 1e-3 * np.random.default_rng(0).standard_normal((300, 600)))
    X[::2] = 0.0
    model = LinearRegression(solver="momentum", max_iter=3)
    with pytest.raises(ValueError, match="squares of X overflow float64"):
        model.fit(X, np.arange(300.0))


def exactly(X, y, alpha):
    """The penalised coefficients to 900 digits; of least norm where alpha is 0."""
    n_samples, n_features = X.shape
    with mpmath.workdps(900):
        design, target = mpmath.matrix(X.tolist()), mpmath.matrix(y.tolist())
        for column in range(n_features):
            mean = mpmath.fsum(design[:, column]) / n_samples
            for row in range(n_samples):
                design[row, column] -= mean
        target -= mpmath.matrix([mpmath.fsum(target) / n_samples] * n_samples)
        ridge = n_samples * (mpmath.mpf(alpha) or mpmath.mpf(10) ** -600)
        hessian = design.T * design + ridge * mpmath.eye(n_features)
        return np.array([float(w) for w in mpmath.lu_solve(hessian, design.T * target)])


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1.0])
@pytest.mark.parametrize("decades", [6, 30, 100])
@pytest.mark.parametrize("case", ["wide", "tall, a column twice"])
@pytest.mark.parametrize("way", WAYS)
def test_units_far_from_each_other_where_the_rank_is_not_full(fit, way, case, decades, alpha):
    """Which of the solutions is meant depends on the units: LSMR finds one, the others that."""
    rng = np.random.default_rng(decades)
    shape = (6, 9) if case == "wide" else (12, 5)
    X = rng.standard_normal(shape) * 10.0 ** rng.uniform(-decades / 2, decades / 2, shape[1])
    if case != "wide":
        X[:, 1] = 2.0 * X[:, 0]
    y = rng.standard_normal(len(X))
    model = fit(way, LinearRegression(alpha=alpha), X, y)
    coef, size = exactly(X, y, alpha), np.abs(X).max(axis=0)
    if way in ("LSMR", "rows"):
        X = X - X.mean(axis=0)
        assert_allclose(X @ model.coef_, X @ coef, rtol=0.0, atol=1e-8)
    else:
        assert_allclose(model.coef_ * size, coef * size, rtol=0.0, atol=1e-8)
