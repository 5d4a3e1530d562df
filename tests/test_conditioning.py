"""Conditioning: rank, dependencies in words and numbers, and the diagnostics of Belsley et al."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import sparse
from sklearn.datasets import load_diabetes
from statsmodels.stats.outliers_influence import variance_inflation_factor

from gdregress import LinearRegression
from gdregress.inspection import conditioning


def longley():
    return sm.datasets.longley.load_pandas().exog


def test_rank_and_condition_are_those_of_a_fit():
    for X in (longley(), load_diabetes().data, np.vander(np.linspace(0, 1, 50), 8)[:, :-1]):
        found = conditioning(X)
        fit = LinearRegression().fit(X, np.arange(len(X)) % 3)
        assert found.rank == fit.rank_ == X.shape[1]
        assert found.condition_number == pytest.approx(fit.condition_number_, rel=1e-6)
        assert not found.dependencies


def test_variance_inflation_is_that_of_statsmodels():
    X = longley()
    design = sm.add_constant(X).to_numpy()
    expected = [variance_inflation_factor(design, j + 1) for j in range(X.shape[1])]
    np.testing.assert_allclose(conditioning(X).variance_inflation, expected, rtol=1e-8)


def test_condition_indices_of_longley_are_those_of_the_book():
    """Belsley (1991, and R's `perturb` and SAS): 43,275 with the intercept, YEAR and GNP."""
    found = conditioning(longley(), centered=False)
    rounded = found.condition_indices.round(5)
    np.testing.assert_allclose(
        rounded[[1, 2, 3, 4, 5]], [9.14172, 12.25574, 25.33661, 230.42395, 1048.08030]
    )
    assert rounded[-1] == pytest.approx(43275.04, abs=0.01)
    assert found.terms[0] == "intercept"
    shares = found.to_frame().iloc[-1]
    assert shares["intercept"] > 0.999
    np.testing.assert_allclose(shares[["GNP", "UNEMP"]], [0.65, 0.69], atol=0.01)
    assert found.near_dependencies[-1][1] == ("intercept", "GNP", "UNEMP", "YEAR")


@pytest.mark.parametrize("centered", [True, False])
def test_proportions_are_those_of_the_singular_values(centered):
    X = longley().to_numpy()
    A = X - X.mean(axis=0) if centered else np.column_stack([np.ones(len(X)), X])
    A = A / np.linalg.norm(A, axis=0)
    _, sigma, vt = np.linalg.svd(A, full_matrices=False)
    parts = (vt / sigma[:, None]) ** 2
    found = conditioning(X, centered=centered)
    np.testing.assert_allclose(found.condition_indices, sigma[0] / sigma, rtol=1e-6)
    np.testing.assert_allclose(found.variance_proportions, parts / parts.sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.variance_proportions.sum(axis=0), 1.0)


def dependent():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((60, 3)) * [1, 1e6, 1e-3] + [0, 5, 2], columns=list("abc"))
    X["double"] = 2.0 * X["a"] + 3.0
    X["d"] = rng.standard_normal(60)
    X["mix"] = 0.5 * X["d"] - 4.0 * X["a"] + 1e-6 * X["b"]
    X["always"] = 7.0
    return X


@pytest.mark.parametrize("make", [lambda X: X, lambda X: X[::-1], lambda X: X * 2.0**300])
def test_dependencies_hold_as_they_are_said(make):
    X = make(dependent())
    found = conditioning(X)
    assert found.rank == 4
    assert found.condition_number == np.inf
    assert [each.column for each in found.dependencies] == ["double", "mix", "always"]
    for each in found.dependencies:
        said = sum(value * X[name] for name, value in each.combination.items()) + each.constant
        np.testing.assert_allclose(
            said, X[each.column], rtol=1e-9, atol=1e-9 * X[each.column].std()
        )
    assert set(found.dependencies[0].combination) == {"a"}
    assert set(found.dependencies[1].combination) == {"a", "b", "d"}
    infinite = np.isinf(found.variance_inflation)
    assert dict(zip(found.names, infinite)) == dict.fromkeys(found.names, True) | {"c": False}


def test_dependencies_in_words():
    text = repr(conditioning(dependent()))
    assert "60 rows, 7 columns: rank 4, condition number inf" in text
    assert "double = 2.0000 a + 3.0000" in text
    assert "always = 7.0000, a constant" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "No column depends" in conditioning(np.random.default_rng(0).random((30, 2))).text()
    assert "Near-dependencies" in conditioning(longley())._repr_html_()


def test_dummies_with_and_without_an_intercept():
    level = np.arange(30) % 3
    X = pd.DataFrame(np.eye(3)[level], columns=["low", "middle", "high"])
    (each,) = conditioning(X).dependencies
    assert each.column == "high"
    assert each.combination == pytest.approx({"low": -1.0, "middle": -1.0})
    assert each.constant == pytest.approx(1.0)
    assert not conditioning(X, fit_intercept=False).dependencies
    X["all"] = 1.0
    (each,) = conditioning(X, fit_intercept=False).dependencies
    assert each.column == "all"
    assert each.combination == pytest.approx({"low": 1.0, "middle": 1.0, "high": 1.0})


def test_weights_sparse_rows_and_wide_ones():
    X = dependent().drop(columns="always")
    weight = np.arange(60) % 3.0
    there = X[weight > 0].to_numpy()
    repeated = np.repeat(there, weight[weight > 0].astype(int), axis=0)
    found = conditioning(X, sample_weight=weight)
    again = conditioning(repeated)
    assert (found.rank, found.n_samples) == (again.rank, len(there))
    np.testing.assert_allclose(found.condition_indices[:4], again.condition_indices[:4], rtol=1e-9)
    S = sparse.random(80, 5, 0.3, random_state=0, format="csr")
    found, dense = conditioning(S), conditioning(S.toarray())
    np.testing.assert_allclose(found.condition_indices, dense.condition_indices, rtol=1e-9)
    wide = conditioning(np.random.default_rng(0).random((5, 12)))
    assert wide.rank == 4
    assert len(wide.dependencies) == 8


def test_columns_that_are_all_constant():
    found = conditioning(np.ones((5, 2)) * [3.0, 0.0])
    assert (found.rank, found.condition_number) == (0, np.inf)
    assert [repr(each) for each in found.dependencies] == [
        "x0 = 3.0000, a constant",
        "x1 = 0, a constant",
    ]
    np.testing.assert_allclose(found.variance_proportions.sum(axis=0), 1.0)


def test_bad_data_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        conditioning([[1.0, np.nan], [2.0, 3.0], [4.0, 4.0]])
    with pytest.raises(ValueError, match="Negative"):
        conditioning([[1.0], [2.0]], sample_weight=[1.0, -1.0])
