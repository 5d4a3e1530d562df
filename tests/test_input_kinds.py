"""The same numbers in another array, another dtype or a sparse matrix give the same fit."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import (
    LINEAR_SOLVERS,
    LOGISTIC_SOLVERS,
    classification,
    least_squares,
    linear,
    logistic,
)

SOLVERS = {
    **{f"linear-{solver}": partial(linear, solver) for solver in LINEAR_SOLVERS},
    **{f"logistic-{solver}": partial(logistic, solver) for solver in LOGISTIC_SOLVERS},
    # The same iterations rather than the same optimum.
    "linear-gd": partial(linear, "gd", tol=0, max_iter=50),
    "logistic-gd": partial(logistic, "gd", tol=0, max_iter=50),
}
each_solver = pytest.mark.parametrize("solver", SOLVERS)


def every_other(X, step):
    """The values of X seen through strides of `step` into a larger array."""
    larger = np.full((2 * X.shape[0], 2 * X.shape[1]), np.nan)
    view = larger[::step, ::step][: X.shape[0], : X.shape[1]]
    view[...] = X
    return view


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": lambda X: every_other(X, 2),
    "negative strides": lambda X: every_other(X, -2),
    "broadcast row stride": lambda X: np.broadcast_to(X[:, :, None], (*X.shape, 2))[..., 1],
    "read-only": read_only,
    "list": lambda X: X.tolist(),
}
SPARSE = {
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "csr_matrix": sp.csr_matrix,
    "coo_array": sp.coo_array,
    "csr, 64-bit indices": lambda X: with_int64_indices(sp.csr_array(X)),
    "csc, 64-bit indices": lambda X: with_int64_indices(sp.csc_array(X)),
    "csr, unsorted indices": lambda X: with_unsorted_indices(sp.csr_array(X)),
    "csr, duplicate entries": lambda X: with_duplicates(sp.coo_array(X)),
}
DTYPES = [np.bool_, np.int8, np.uint8, np.int64, np.uint64, np.float16]


def with_int64_indices(X):
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def with_unsorted_indices(X):
    for start, stop in zip(X.indptr[:-1], X.indptr[1:]):
        X.indices[start:stop] = X.indices[start:stop][::-1].copy()
        X.data[start:stop] = X.data[start:stop][::-1].copy()
    X.has_sorted_indices = False
    return X


def with_duplicates(X):
    """Every entry written as the sum of two; as csr it keeps both until they are summed."""
    twice = sp.coo_array(
        (np.tile(X.data / 2, 2), (np.tile(X.row, 2), np.tile(X.col, 2))), shape=X.shape
    )
    order = np.argsort(twice.row, kind="stable")
    indptr = np.searchsorted(twice.row[order], np.arange(X.shape[0] + 1))
    return sp.csr_array((twice.data[order], twice.col[order], indptr), shape=X.shape)


def data(solver):
    """X, y and weights of a problem for the solver."""
    if solver.startswith("linear"):
        X, y, *_ = least_squares(n_features=3, n_targets=2)
        return X, y, np.random.default_rng(0).uniform(0.5, 2, len(X))
    return classification(n_classes=3)[:3]


def assert_same_fit(model, expected, rtol=1e-9):
    assert_allclose(model.coef_, expected.coef_, rtol=rtol, atol=rtol)
    assert_allclose(model.intercept_, expected.intercept_, rtol=rtol, atol=rtol)
    assert_allclose(model.loss_, expected.loss_, rtol=rtol)


@each_solver
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout(solver, layout):
    X, y, weight = data(solver)
    expected = SOLVERS[solver]().fit(X, y, sample_weight=weight)
    other = LAYOUTS[layout](X)
    model = SOLVERS[solver]().fit(other, y, sample_weight=weight)
    assert_same_fit(model, expected)
    assert_allclose(model.predict(other), expected.predict(X), rtol=1e-9)
    assert_array_equal(other, X)  # and nothing was written into it


@each_solver
def test_memory_map(solver, tmp_path):
    X, y, weight = data(solver)
    np.save(tmp_path / "X.npy", X)
    X_mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = SOLVERS[solver]().fit(X, y, sample_weight=weight)
    assert_same_fit(SOLVERS[solver]().fit(X_mapped, y, sample_weight=weight), expected, rtol=0)


@each_solver
@pytest.mark.parametrize("layout", ["Fortran", "read-only", "strided"])
def test_layout_of_target_and_weights(solver, layout):
    X, y, weight = data(solver)
    expected = SOLVERS[solver]().fit(X, y, sample_weight=weight)
    other_y = LAYOUTS[layout](y.reshape(len(y), -1)).reshape(y.shape)
    other_weight = LAYOUTS[layout](weight[:, None])[:, 0]
    assert_same_fit(SOLVERS[solver]().fit(X, other_y, sample_weight=other_weight), expected)


@each_solver
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_dtype(solver, dtype):
    """Values up to 200 where the type holds them: their squares overflow it."""
    _, y, weight = data(solver)
    top = {np.bool_: 2, np.int8: 120}.get(dtype, 200)
    X = np.random.default_rng(1).integers(0, top, (len(y), 3)).astype(dtype)
    expected = SOLVERS[solver]().fit(X.astype(float), y, sample_weight=weight)
    model = SOLVERS[solver]().fit(X, y, sample_weight=weight)
    assert model.coef_.dtype == np.float64
    assert_same_fit(model, expected)
    assert_allclose(model.predict(X), expected.predict(X.astype(float)), rtol=1e-9)


@each_solver
@pytest.mark.parametrize("kind", SPARSE)
def test_sparse(solver, kind):
    X, y, weight = data(solver)
    X[np.random.default_rng(2).random(X.shape) < 0.6] = 0
    expected = SOLVERS[solver]().fit(X, y, sample_weight=weight)
    model = SOLVERS[solver]().fit(SPARSE[kind](X), y, sample_weight=weight)
    assert_same_fit(model, expected, rtol=1e-8)
    assert_allclose(model.predict(SPARSE[kind](X)), expected.predict(X), rtol=1e-8)


@each_solver
def test_sparse_integers(solver):
    X, y, weight = data(solver)
    X = np.round(X)
    expected = SOLVERS[solver]().fit(X, y, sample_weight=weight)
    model = SOLVERS[solver]().fit(sp.csr_array(X.astype(np.int32)), y, sample_weight=weight)
    assert_same_fit(model, expected, rtol=1e-8)


# float32


@each_solver
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_float32_in_float32_out(solver, kind):
    X, y, weight = data(solver)
    X, weight = kind(X.astype(np.float32)), weight.astype(np.float32)
    y = y.astype(np.float32) if y.dtype.kind == "f" else y
    model = SOLVERS[solver](tol=0 if solver.endswith("gd") else 1e-6)
    model.fit(X, y, sample_weight=weight)
    assert model.coef_.dtype == np.float32
    assert model.intercept_.dtype == np.float32
    if hasattr(model, "predict_proba"):
        assert model.predict_proba(X).dtype == np.float32
        assert model.predict_log_proba(X).dtype == np.float32
        assert model.decision_function(X).dtype == np.float32
    else:
        assert model.predict(X).dtype == np.float32
    expected = SOLVERS[solver]().fit(X.astype(float), y, sample_weight=weight.astype(float))
    assert_same_fit(model, expected, rtol=3e-6)


@pytest.mark.parametrize("solver", ["linear-normal_equations", "linear-lstsq", "linear-auto"])
def test_float32_does_not_lose_a_column_far_from_zero(solver):
    """Mean 1000 times the spread, 20,000 rows: sums in float32 would keep two or three digits."""
    rng = np.random.default_rng(3)
    X = (rng.normal([0, 1000, 0], 1, (20_000, 3))).astype(np.float32)
    y = (X.astype(float) @ [1, 2, 3] + rng.standard_normal(len(X))).astype(np.float32)
    model = SOLVERS[solver]().fit(X, y)
    X64, y64 = X.astype(float), y.astype(float)
    expected = np.linalg.lstsq(X64 - X64.mean(0), y64 - y64.mean(), rcond=None)[0]
    assert_allclose(model.coef_, expected, rtol=5e-7)  # the answer rounded to float32


@each_solver
def test_a_plain_table_is_read_as_any_other(solver):
    """An array of numbers needs no conversion: what is told of it is what a list would tell."""
    X, y, weight = data(solver)
    as_list = SOLVERS[solver]().fit(X.tolist(), y, sample_weight=weight)
    model = SOLVERS[solver]().fit(pd.DataFrame(X, columns=list("abc")), y, sample_weight=weight)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    model.fit(X, y, sample_weight=weight)
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == as_list.n_features_in_ == 3
    assert_same_fit(model, as_list)
    with pytest.raises(ValueError, match=r"0 feature\(s\)|0 sample\(s\)"):
        model.fit(X[:0], y[:0])
    with pytest.raises(ValueError, match="Expected 2D array"):
        model.fit(X[:, 0], y)
    assert model.n_features_in_ == 3
