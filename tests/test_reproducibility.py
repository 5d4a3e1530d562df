"""Same data, same bits: whatever the number of threads, the source of the rows, the process."""

import multiprocessing

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from gdregress import LinearRegression, LogisticRegression

MODELS = {
    "normal_equations": LinearRegression(solver="normal_equations"),
    "lstsq": LinearRegression(solver="lstsq"),
    "auto": LinearRegression(),
    "gd": LinearRegression(solver="gd", max_iter=20, tol=0),
    "newton": LogisticRegression(solver="newton"),
    "logistic auto": LogisticRegression(),
    "logistic gd": LogisticRegression(solver="gd", max_iter=5, tol=0),
    "softmax newton": LogisticRegression(solver="newton"),
    "softmax gd": LogisticRegression(solver="gd", max_iter=5, tol=0),
}
each_model = pytest.mark.parametrize("name", MODELS)
START_METHODS = [m for m in multiprocessing.get_all_start_methods() if m == "fork"]


def data(name, n_samples=60_000):
    """Some megabytes, so that there are several row blocks."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, 12)) + 0.3
    y = X @ rng.uniform(-1, 1, 12) + rng.standard_normal(n_samples)
    if name.startswith("softmax"):
        y = np.digitize(y, [-1, 1])
    elif isinstance(MODELS[name], LogisticRegression):
        y = (y > 0).astype(int)
    return X, y, rng.uniform(0.5, 2, n_samples)


def fit(name, X, y, weight, n_threads=None):
    with threadpool_limits(n_threads):
        return clone(MODELS[name]).fit(X, y, sample_weight=weight)


def assert_same_bits(model, expected):
    assert_array_equal(model.coef_, expected.coef_)
    assert_array_equal(model.intercept_, expected.intercept_)
    assert_array_equal(model.loss_curve_, expected.loss_curve_)
    assert model.loss_ == expected.loss_
    assert model.stop_reason_ == expected.stop_reason_


@each_model
@pytest.mark.parametrize("order", ["C", "F"])
def test_one_thread_and_two_give_the_same_bits(name, order):
    X, y, weight = data(name)
    X = np.asarray(X, order=order)
    assert_same_bits(fit(name, X, y, weight, 2), fit(name, X, y, weight, 1))


@each_model
def test_fitting_twice_gives_the_same_bits(name):
    X, y, weight = data(name)
    first = fit(name, X, y, weight)
    np.random.random()  # noqa: NPY002 (moves the global generator, which must not matter)
    assert_same_bits(fit(name, X, y, weight), first)


@each_model
def test_a_memory_map_gives_the_same_bits(name, tmp_path):
    X, y, weight = data(name)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_same_bits(fit(name, mapped, y, weight), fit(name, X, y, weight))


@each_model
def test_memory_order_changes_rounding_only(name):
    X, y, weight = data(name)
    model, expected = fit(name, np.asfortranarray(X), y, weight), fit(name, X, y, weight)
    # 60,000 terms in another order; newton may also take one step more or less
    tolerance = 1e-7 if name in ("newton", "logistic auto", "softmax newton") else 1e-11
    assert_allclose(model.coef_, expected.coef_, rtol=tolerance, atol=tolerance)
    assert_allclose(model.loss_, expected.loss_, rtol=1e-11)


def fit_in_child(name, n_samples):
    model = fit(name, *data(name, n_samples))
    return model.coef_, model.intercept_


# Forking a process that has threads, such as the package's own, is deprecated from Python 3.12.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("start_method", START_METHODS)
def test_a_child_process_can_fit_after_its_parent_has(start_method):
    names = ["auto", "logistic auto", "gd"]
    parent = {name: fit(name, *data(name)) for name in names}  # its workers are now alive
    with multiprocessing.get_context(start_method).Pool(1) as pool:
        for name in names:
            # A deadlock, the usual end of threads and fork, would show as a TimeoutError.
            coef, intercept = pool.apply_async(fit_in_child, (name, 60_000)).get(timeout=120)
            assert_array_equal(coef, parent[name].coef_)
            assert_array_equal(intercept, parent[name].intercept_)
