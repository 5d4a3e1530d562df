"""float32 in, float32 out, unless float32 cannot hold the answer."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from gdregress import LinearRegression, LogisticRegression

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def single(unit, seed=0):
    """A float32 table in these units, and one without any."""
    X = np.random.default_rng(seed).standard_normal((200, 3)).astype(np.float32)
    return (X * np.float32(unit)), X.astype(np.float64)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("n_targets", [None, 2])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("unit", "y_unit", "dtype"),
    [
        (1.0, 1.0, np.float32),
        (1e-30, 1e5, np.float32),
        (1e-30, 1e10, np.float64),  # coefficients of 1e40
        (1e30, 1e-10, np.float64),  # 1e-40
        (1.0, 1e60, np.float64),  # and predictions
        (1.0, 1e-60, np.float64),
        (1e30, 1e-60, np.float64),
    ],
)
def test_coefficients_are_as_precise_as_they_have_to_be(
    kind, n_targets, stream, unit, y_unit, dtype
):
    X, plain = single(unit)
    coef = np.array([[1.0, 2.0, -3.0], [0.5, 1.0, 2.0]])
    y = plain @ coef.T + 1.0 if n_targets else plain @ coef[0] + 1.0
    coef = coef if n_targets else coef[0]
    model = LinearRegression()
    fit = model.partial_fit if stream else model.fit
    fit(kind(X), y * y_unit)
    assert model.coef_.dtype == model.intercept_.dtype == dtype
    unit = float(np.float32(unit))
    assert_allclose(model.coef_ * unit / y_unit, coef, rtol=1e-5)
    assert_allclose(model.intercept_ / y_unit, 1.0, rtol=1e-5)
    assert_allclose(model.predict(kind(X)) / y_unit, y, rtol=0, atol=1e-5 * abs(y).max())
    assert model.score(kind(X), y * y_unit) > 1 - 1e-9


def test_terms_of_a_prediction_may_overflow_where_the_sum_does_not():
    X = np.array([[1e25, 0.0], [0.0, 1e25], [1e25, 1e25], [0.0, 0.0]], dtype=np.float32)
    y = np.array([1e30, -1e30, 0.0, 0.0])
    model = LinearRegression().fit(X, y)
    assert model.coef_.dtype == np.float32
    far = np.full((1, 2), 2e35, dtype=np.float32)
    assert_allclose(model.predict(far), 0.0, atol=1e36)


@pytest.mark.parametrize("options", [{"solver": "newton"}, {"solver": "newton", "alpha": 1e-3}])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("unit", [1e-30, 1e-37, 1e37])
def test_logistic_coefficients(options, n_classes, unit):
    X, plain = single(unit)
    rng = np.random.default_rng(1)
    labels = (
        plain @ rng.standard_normal((3, n_classes)) + rng.gumbel(size=(200, n_classes))
    ).argmax(1)
    found = LogisticRegression(**options).fit(X, labels)
    double = LogisticRegression(**options).fit(X.astype(np.float64), labels)
    assert_allclose(found.coef_, double.coef_, rtol=1e-5)
    assert np.isfinite(found.decision_function(X)).all()
    held = abs(double.coef_).max() < 3e38 and abs(double.coef_).min() > 1.2e-38
    assert found.coef_.dtype == (np.float32 if held else np.float64)


def test_the_path_of_a_descent_is_held_too():
    """The first step from zero goes to 1e-40; the path keeps it."""
    X, plain = single(1e-20)
    y = plain @ [1.0, 2.0, 3.0] * 1e-20
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = LinearRegression(
            solver="gd", learning_rate=1.0, max_iter=2, tol=0, store_path=True
        ).fit(X, y)
    path = model.history_.coef_path
    assert_array_equal(path[-1], model.coef_)
    gradient = -(X.astype(float).T @ y) / len(y)
    assert_allclose(path[1], -gradient, rtol=1e-5)
    assert path.dtype == np.float64


def test_zeros_are_held():
    X, _ = single(1.0)
    model = LinearRegression().fit(X, np.zeros(200))
    assert model.coef_.dtype == np.float32
    assert_array_equal(model.coef_, 0.0)
