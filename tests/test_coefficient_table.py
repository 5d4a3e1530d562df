"""Coefficient tables: statsmodels on real data, formulas where it has none, and refusals."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from problems import overlapping_classes
from scipy import sparse
from scipy.linalg import LinAlgWarning
from scipy.special import expit
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress.inspection import Refusal, coefficient_table
from gdregress.rows import blocks

ROBUST = ["HC0", "HC1", "HC2", "HC3"]
COLUMNS = ["estimate", "std_error", "statistic", "p_value", "lower", "upper"]


def statsmodels_data(name, columns=None):
    data = getattr(sm.datasets, name).load_pandas()
    X, y = data.exog, data.endog
    return (X if columns is None else X[columns]), y


def fair_has_affairs():
    X, y = statsmodels_data("fair")
    return X, (y > 0).astype(float)


def star_districts():
    """Counts of pupils above and below the median, as a share and a weight."""
    X, y = statsmodels_data("star98")
    total = y.sum(axis=1)
    return X, y.iloc[:, 0] / total, total


def murder():
    data = sm.datasets.statecrime.load_pandas().data
    return data[["violent", "hs_grad", "poverty", "single"]], data["murder"]


def diabetes():
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    return X, y


def cancer():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return X[["mean texture", "mean smoothness", "mean symmetry"]], y


def wine():
    X, y = load_wine(return_X_y=True, as_frame=True)
    return X[["alcohol", "ash"]], y


LINEAR = {
    "longley": lambda: statsmodels_data("longley"),
    "stackloss": lambda: statsmodels_data("stackloss"),
    "scotland": lambda: statsmodels_data("scotland"),
    "ccard": lambda: statsmodels_data("ccard"),
    "engel": lambda: statsmodels_data("engel"),
    "statecrime": murder,
    "copper": lambda: statsmodels_data("copper"),
    "diabetes": diabetes,
}
LOGISTIC = {
    "spector": lambda: statsmodels_data("spector"),
    "fair": fair_has_affairs,
    "breast cancer": cancer,
}
SOFTMAX = {"anes96": lambda: statsmodels_data("anes96"), "wine": wine}


def assert_table(table, result, *, tests=None, rtol=1e-8):
    """All of a table against the results of statsmodels, or against `tests` in its coefficients."""
    tests = tests or result
    reference = {
        "estimate": tests.params,
        "std_error": tests.bse,
        "statistic": tests.tvalues,
        "p_value": tests.pvalues,
    }
    for name, values in reference.items():
        # the p-value of a statistic of 30 has as many digits fewer as its exponent has
        values = np.asarray(values)
        if name == "p_value":
            np.testing.assert_allclose(getattr(table, name), values.T, rtol=1e-6, atol=1e-12)
        else:
            np.testing.assert_allclose(getattr(table, name), values.T, rtol=rtol, err_msg=name)
    interval = np.asarray(tests.conf_int())
    if table.estimate.ndim == 2:
        interval = interval.reshape(*table.estimate.shape, 2)
    # an end of an interval may be near zero: its error is that of the estimate
    size = np.abs(table.estimate) + table.std_error
    np.testing.assert_allclose((table.lower - interval[..., 0]) / size, 0.0, atol=rtol)
    np.testing.assert_allclose((table.upper - interval[..., 1]) / size, 0.0, atol=rtol)
    assert table.log_likelihood == pytest.approx(result.llf, rel=rtol)
    assert table.aic == pytest.approx(result.aic, rel=rtol)
    assert table.bic == pytest.approx(result.bic, rel=rtol)


def assert_squares(table, result, *, tests=None, rtol=1e-8):
    assert_table(table, result, tests=tests, rtol=rtol)
    assert table.r_squared == pytest.approx(result.rsquared, rel=rtol)
    assert table.adjusted_r_squared == pytest.approx(result.rsquared_adj, rel=rtol)
    assert table.scale == pytest.approx(result.scale, rel=rtol)
    assert table.test_statistic == pytest.approx(result.fvalue, rel=rtol)
    assert table.test_p_value == pytest.approx(result.f_pvalue, rel=1e-6)
    assert (table.df_model, table.df_resid) == (result.df_model, result.nobs - len(result.params))


@pytest.mark.parametrize("cov_type", ["nonrobust", *ROBUST])
@pytest.mark.parametrize("name", LINEAR)
def test_least_squares_is_that_of_statsmodels(name, cov_type):
    X, y = LINEAR[name]()
    table = coefficient_table(LinearRegression().fit(X, y), X, y, cov_type=cov_type)
    # statsmodels squares the condition, 4e4 for Longley even with columns of equal length: it gets
    # standardised columns, and its tests are of the combinations that are our coefficients.
    mean, scale = X.mean().to_numpy(), X.std().to_numpy()
    result = sm.OLS(y, sm.add_constant((X - mean) / scale)).fit(cov_type=cov_type)
    combinations = np.diag([1.0, *1.0 / scale])
    combinations[0, 1:] = -mean / scale
    test = result.t_test(combinations)
    test.params, test.bse, test.tvalues, test.pvalues = (
        test.effect,
        test.sd,
        test.tvalue,
        test.pvalue,
    )
    assert_squares(table, result, tests=test)
    assert table.names == ("intercept", *X.columns)
    assert table.distribution == ("t" if cov_type == "nonrobust" else "z")


@pytest.mark.parametrize("cov_type", ["nonrobust", *ROBUST])
def test_weighted_least_squares_is_that_of_statsmodels(cov_type):
    X, y, weight = star_districts()
    X = X[X.columns[:8]]  # the products of columns among the rest are another matter
    model = LinearRegression().fit(X, y, weight)
    table = coefficient_table(model, X, y, weight, cov_type=cov_type)
    assert_squares(table, sm.WLS(y, sm.add_constant(X), weight).fit(cov_type=cov_type))


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC1", "HC3"])
def test_products_of_columns_lose_no_digits(cov_type):
    # star98 whole: columns of products of others, condition number 3e5 with unit columns
    X, y, _ = star_districts()
    table = coefficient_table(LinearRegression().fit(X, y), X, y, cov_type=cov_type)
    standard = pd.DataFrame(StandardScaler().fit_transform(X))
    result = sm.OLS(y, sm.add_constant(standard)).fit(cov_type=cov_type)
    np.testing.assert_allclose(table.statistic[1:], result.tvalues[1:], rtol=1e-8)


@pytest.mark.parametrize("use_t", [None, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_clusters_of_squares_are_those_of_statsmodels(weighted, use_t):
    data = sm.datasets.grunfeld.load_pandas().data
    X, y, firm = data[["value", "capital"]], data["invest"], data["firm"]
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(y)) if weighted else np.ones(len(y))
    model = LinearRegression().fit(X, y, weight)
    table = coefficient_table(model, X, y, weight, cov_type="cluster", groups=firm, use_t=use_t)
    groups = np.unique(firm, return_inverse=True)[1]
    result = sm.WLS(y, sm.add_constant(X), weight).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=use_t
    )
    assert_squares(table, result)
    assert table.df_inference == len(firm.unique()) - 1


def test_clusters_in_any_order_and_in_small_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    X, groups = rng.standard_normal((301, 3)), rng.integers(0, 40, 301).astype(str)
    y = X[:, 0] + rng.standard_normal(301)
    model = LinearRegression().fit(X, y)
    whole = coefficient_table(model, X, y, cov_type="cluster", groups=groups)
    monkeypatch.setattr(blocks, "SIZE", blocks.BlockSize(n_bytes=1, least_rows=7))
    blocked = coefficient_table(model, X, y, cov_type="cluster", groups=groups)
    np.testing.assert_allclose(blocked.covariance, whole.covariance, rtol=1e-10)
    result = sm.OLS(y, sm.add_constant(X)).fit(
        cov_type="cluster", cov_kwds={"groups": np.unique(groups, return_inverse=True)[1]}
    )
    np.testing.assert_allclose(blocked.std_error, result.bse, rtol=1e-8)


@pytest.mark.parametrize("name", LOGISTIC)
def test_logistic_regression_is_that_of_statsmodels(name):
    X, y = LOGISTIC[name]()
    table = coefficient_table(LogisticRegression().fit(X, y), X, y)
    result = sm.Logit(y, sm.add_constant(X)).fit(disp=0, method="newton", tol=1e-11, maxiter=100)
    assert_table(table, result)
    assert table.r_squared == pytest.approx(result.prsquared, rel=1e-8)
    assert table.test_statistic == pytest.approx(result.llr, rel=1e-8)
    assert table.test_p_value == pytest.approx(result.llr_pvalue, rel=1e-6)
    assert (table.df_model, table.df_resid) == (result.df_model, result.df_resid)


@pytest.mark.parametrize("name", LOGISTIC)
def test_robust_logistic_regression(name):
    """HC0 and clusters as in statsmodels, which does not correct HC1 and knows no HC2 and HC3."""
    X, y = LOGISTIC[name]()
    model = LogisticRegression().fit(X, y)
    design = sm.add_constant(X)
    fit = sm.Logit(y, design).fit
    n, k = design.shape
    HC0 = fit(disp=0, tol=1e-11, maxiter=100, cov_type="HC0")
    assert_table(coefficient_table(model, X, y, cov_type="HC0"), HC0)
    HC1 = coefficient_table(model, X, y, cov_type="HC1")
    np.testing.assert_allclose(HC1.std_error, HC0.bse * np.sqrt(n / (n - k)), rtol=1e-8)

    groups = np.arange(n) // 4
    clustered = fit(disp=0, tol=1e-11, maxiter=100, cov_type="cluster", cov_kwds={"groups": groups})
    assert_table(coefficient_table(model, X, y, cov_type="cluster", groups=groups), clustered)

    A = design.to_numpy()
    p = expit(A @ HC0.params.to_numpy())
    bread = np.linalg.inv(A.T @ (A * (p * (1 - p))[:, None]))
    leverage = p * (1 - p) * np.einsum("ij,jk,ik->i", A, bread, A)
    for power, cov_type in [(1, "HC2"), (2, "HC3")]:
        scores = A * ((y.to_numpy() - p) / (1 - leverage) ** (power / 2))[:, None]
        expected = np.sqrt(np.diag(bread @ scores.T @ scores @ bread))
        table = coefficient_table(model, X, y, cov_type=cov_type)
        np.testing.assert_allclose(table.std_error, expected, rtol=1e-7)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0", "cluster"])
@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_is_that_of_statsmodels(name, cov_type):
    X, y = SOFTMAX[name]()
    groups = np.arange(len(y)) // 5 if cov_type == "cluster" else None
    model = LogisticRegression().fit(X, y)
    table = coefficient_table(model, X, y, cov_type=cov_type, groups=groups)
    result = sm.MNLogit(y, sm.add_constant(X)).fit(
        disp=0,
        method="newton",
        maxiter=100,
        tol=1e-11,
        cov_type=cov_type,
        **({} if groups is None else {"cov_kwds": {"groups": groups}}),
    )
    assert_table(table, result)
    assert table.r_squared == pytest.approx(result.prsquared, rel=1e-8)
    assert table.test_statistic == pytest.approx(result.llr, rel=1e-8)
    assert table.outputs == tuple(model.classes_[1:])


def test_weights_of_logistic_regression_are_those_of_a_glm():
    X, share, total = star_districts()
    X = X[X.columns[:6]]
    rows = pd.concat([X, X], ignore_index=True)
    y = np.repeat([1, 0], len(X))
    weight = np.concatenate([share * total, (1 - share) * total])
    model = LogisticRegression(tol=1e-12).fit(rows, y, weight)
    table = coefficient_table(model, rows, y, weight)
    result = sm.GLM(y, sm.add_constant(rows), sm.families.Binomial(), freq_weights=weight).fit(
        tol=1e-11, maxiter=100
    )
    np.testing.assert_allclose(table.estimate, result.params, rtol=1e-8)
    np.testing.assert_allclose(table.std_error, result.bse, rtol=1e-8)
    assert table.log_likelihood == pytest.approx(result.llf, rel=1e-10)
    assert table.test_statistic == pytest.approx(2 * (result.llf - result.llnull), rel=1e-8)


def test_without_an_intercept():
    X, y = murder()
    model = LinearRegression(fit_intercept=False).fit(X, y)
    for cov_type in ["nonrobust", *ROBUST]:
        table = coefficient_table(model, X, y, cov_type=cov_type)
        assert_squares(table, sm.OLS(y, X).fit(cov_type=cov_type))
    assert table.names == tuple(X.columns)

    X, y = cancer()
    X = StandardScaler().fit_transform(X)
    table = coefficient_table(LogisticRegression(fit_intercept=False, tol=1e-12).fit(X, y), X, y)
    result = sm.Logit(y, X).fit(disp=0, tol=1e-11, maxiter=100)
    np.testing.assert_allclose(table.std_error, result.bse, rtol=1e-8)
    equal = -len(y) * np.log(2)  # the model without any coefficient
    assert table.test_statistic == pytest.approx(2 * (result.llf - equal), rel=1e-8)


def test_several_targets_are_as_many_tables():
    X, y = diabetes()
    Y = np.column_stack([y, np.log(y), y**2])
    several = coefficient_table(LinearRegression().fit(X, Y), X, Y, cov_type="HC3")
    assert several.estimate.shape == (3, 11)
    assert several.covariance.shape == (3, 11, 11)
    for k, target in enumerate(Y.T):
        one = coefficient_table(LinearRegression().fit(X, target), X, target, cov_type="HC3")
        for name in [*COLUMNS, "covariance", "log_likelihood", "aic", "r_squared", "test_p_value"]:
            np.testing.assert_allclose(getattr(several, name)[k], getattr(one, name), rtol=1e-7)
    frame = several.to_frame()
    assert frame.index.names == ["output", "name"]
    assert frame.loc[(1, "bmi"), "estimate"] == several.estimate[1, 3]


def test_the_reference_class_is_a_choice():
    X, y = load_iris(return_X_y=True)
    X, y = X[:, :2], np.array(["setosa", "versicolor", "virginica"])[y]
    X = X + 3.0 * np.random.default_rng(0).standard_normal(X.shape)  # so that classes overlap
    model = LogisticRegression(tol=1e-12).fit(X, y)
    first = coefficient_table(model, X, y)
    last = coefficient_table(model, X, y, reference="virginica")
    assert (first.outputs, last.outputs) == (("versicolor", "virginica"), ("setosa", "versicolor"))
    np.testing.assert_allclose(last.estimate[0], -first.estimate[1])
    np.testing.assert_allclose(last.std_error[0], first.std_error[1], rtol=1e-9)
    # the same likelihood, and the variance of the difference of two of its contrasts
    n = first.estimate.shape[1]
    C = first.covariance
    variance = np.diag(C[:n, :n] + C[n:, n:] - C[:n, n:] - C[n:, :n])
    np.testing.assert_allclose(last.std_error[1], np.sqrt(variance), rtol=1e-9)
    with pytest.raises(ValueError, match="no class 'rose'"):
        coefficient_table(model, X, y, reference="rose")


UNITS = {
    "original": lambda X: X,
    "scaled": lambda X: X * np.logspace(-120, 120, X.shape[1]),
    "time stamps": lambda X: X + 1.7e9 * np.arange(X.shape[1]),
}


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
def test_the_statistics_of_slopes_are_free_of_units(units, cov_type):
    X, y = overlapping_classes(2)
    X = np.round(X * 1024) / 1024  # exact in other units, so that only the method can differ
    for estimator, target in [(LinearRegression, X[:, 0] + y), (LogisticRegression, y)]:
        model = estimator()
        other = X[:, 1:]
        plain = coefficient_table(model.fit(other, target), other, target, cov_type=cov_type)
        other = UNITS[units](other)
        table = coefficient_table(model.fit(other, target), other, target, cov_type=cov_type)
        np.testing.assert_allclose(table.statistic[1:], plain.statistic[1:], rtol=2e-6)
        assert table.log_likelihood == pytest.approx(plain.log_likelihood, rel=1e-9)


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize("cov_type", ["nonrobust", "HC2", "cluster"])
def test_sparse_float32_and_small_blocks_tell_the_same(estimator, cov_type, monkeypatch):
    rng = np.random.default_rng(3)
    X = rng.integers(0, 3, (400, 4)) * 1.0
    y = X[:, 0] - X[:, 1] + 2 * rng.logistic(size=400)
    y = y > 0 if estimator is LogisticRegression else y
    groups = np.arange(400) % 23 if cov_type == "cluster" else None
    model = estimator().fit(X, y)
    plain = coefficient_table(model, X, y, cov_type=cov_type, groups=groups)
    narrow = estimator().fit(X.astype(np.float32), y)
    monkeypatch.setattr(blocks, "SIZE", blocks.BlockSize(n_bytes=100))
    others = [
        (model, sparse.csr_array(X)),
        (model, sparse.csc_matrix(X)),
        (model, np.asfortranarray(X)),
        (model, X.astype(int)),
        (narrow, X.astype(np.float32)),
    ]
    for fitted, rows in others:
        table = coefficient_table(fitted, rows, y, cov_type=cov_type, groups=groups)
        loose = 1e-5 if fitted is narrow else 1e-9
        np.testing.assert_allclose(table.std_error, plain.std_error, rtol=loose)
        np.testing.assert_allclose(table.p_value, plain.p_value, rtol=20 * loose)


def test_rows_without_weight_are_not_there():
    X, y = murder()
    weight = np.arange(len(y)) % 3.0
    groups = np.arange(len(y)) % 9
    model = LinearRegression().fit(X, y, weight)
    there = weight > 0
    for cov_type in ["nonrobust", "HC1", "cluster"]:
        grouped = cov_type == "cluster"
        table = coefficient_table(
            model, X, y, weight, cov_type=cov_type, groups=groups if grouped else None
        )
        fewer = coefficient_table(
            model,
            X[there],
            y[there],
            weight[there],
            cov_type=cov_type,
            groups=groups[there] if grouped else None,
        )
        np.testing.assert_allclose(table.std_error, fewer.std_error, rtol=1e-10)
        assert (table.n_samples, table.df_inference) == (fewer.n_samples, fewer.df_inference)


@pytest.mark.parametrize("solver", ["gd", "nesterov"])
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_a_descent_that_calls_itself_converged_is_near_enough(estimator, solver):
    X, y = overlapping_classes(2)
    y = y if estimator is LogisticRegression else X[:, 0] + y
    fit = estimator(solver=solver).fit(X, y)
    assert fit.converged_
    exact = coefficient_table(estimator().fit(X, y), X, y)
    np.testing.assert_allclose(coefficient_table(fit, X, y).std_error, exact.std_error, rtol=1e-9)


def test_a_descent_at_the_optimum_has_the_same_table():
    X, y = overlapping_classes(3)
    exact_model = LogisticRegression().fit(X, y)
    exact = coefficient_table(exact_model, X, y)
    descent = LogisticRegression(solver="nesterov", tol=1e-9, max_iter=20_000).fit(X, y)
    table = coefficient_table(descent, X, y)
    assert np.abs(descent.coef_ - exact_model.coef_).max() > 1e-12
    for name in [*COLUMNS, "log_likelihood"]:
        np.testing.assert_allclose(getattr(table, name), getattr(exact, name), rtol=1e-9)


def test_a_pipeline_and_a_search_are_looked_into():
    X, y = diabetes()
    X["sex"] = np.where(X["sex"] > 1, "f", "m")
    columns = ColumnTransformer(
        [
            ("number", StandardScaler(), ["bmi", "bp"]),
            ("level", OneHotEncoder(drop="first"), ["sex"]),
        ]
    )
    pipe = make_pipeline(columns, LinearRegression()).fit(X, y)
    table = coefficient_table(pipe, X, y)
    assert table.names == ("intercept", "number__bmi", "number__bp", "level__sex_m")
    design = sm.add_constant(pipe[:-1].transform(X))
    assert_squares(table, sm.OLS(y, design).fit())
    grid = {"linearregression__solver": ["lstsq"]}
    search = GridSearchCV(pipe, grid).fit(X, y)
    np.testing.assert_allclose(coefficient_table(search, X, y).std_error, table.std_error)


def test_the_confidence_is_a_choice():
    X, y = murder()
    model = LinearRegression().fit(X, y)
    table = coefficient_table(model, X, y, confidence=0.8)
    result = sm.OLS(y, sm.add_constant(X)).fit()
    np.testing.assert_allclose(
        np.column_stack([table.lower, table.upper]), result.conf_int(0.2), rtol=1e-8
    )
    assert "80 %" in table.text()


def test_an_exact_fit_has_no_spread_but_rounding():
    X = np.arange(20.0)[:, None]
    table = coefficient_table(LinearRegression().fit(X, 3 * X[:, 0] + 1), X, 3 * X[:, 0] + 1)
    np.testing.assert_allclose(table.estimate, [1, 3])
    for target in (np.ones(20), np.zeros(20)):  # neither spread nor anything to explain
        flat = coefficient_table(LinearRegression().fit(X, target), X, target)
        np.testing.assert_allclose(flat.estimate, [target[0], 0], atol=1e-15)
        assert np.isnan(flat.r_squared)
    assert (table.std_error < 1e-12).all()
    assert table.r_squared == pytest.approx(1.0)
    assert len(table.text().splitlines()[3]) <= 80


def test_text_html_and_frame():
    X, y = diabetes()
    X = X.rename(columns={"bmi": "the body mass index of the patient & <b>its</b> unit, kg/m²"})
    table = coefficient_table(LinearRegression().fit(X, y), X, y)
    text = repr(table)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" in text
    assert "R² 0.5177" in text
    html = table._repr_html_()
    assert "the body mass index of the patient &amp; &lt;b&gt;its&lt;/b&gt; unit, kg/m²" in html
    frame = table.to_frame()
    assert list(frame.columns) == COLUMNS
    assert list(frame.index) == list(table.names)
    np.testing.assert_array_equal(frame["p_value"], table.p_value)


X_DIABETES, Y_DIABETES = load_diabetes(return_X_y=True)
CLASSES = (Y_DIABETES > 140).astype(int)


def refused(model, X, y, match, **kwargs):
    with pytest.raises(ValueError, match=match):
        coefficient_table(model, X, y, **kwargs)


def test_what_has_no_standard_errors_is_refused():
    X, y = X_DIABETES, Y_DIABETES
    refused(LinearRegression(alpha=0.1).fit(X, y), X, y, "alpha=0.1 shrinks.*refit with alpha=0")
    weighted = LogisticRegression(class_weight="balanced").fit(X, CLASSES)
    refused(weighted, X, CLASSES, "class_weight='balanced'")
    early = LinearRegression(early_stopping=True, learning_rate=0.9, random_state=0).fit(X, y)
    refused(early, X, y, "early stopping")
    model = LinearRegression().fit(X[:5], y[:5])
    refused(model, X[:5], y[:5], "more rows than coefficients: 5 rows")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(solver="gd", max_iter=20),
        LinearRegression(solver="adam", max_iter=20),
        LogisticRegression(solver="gd", max_iter=20),
        LogisticRegression(max_iter=1),
    ],
)
def test_a_fit_that_did_not_arrive_is_refused(model):
    y = Y_DIABETES if isinstance(model, LinearRegression) else CLASSES
    X = StandardScaler().fit_transform(X_DIABETES)
    refused(model.fit(X, y), X, y, r"standard errors away.*smaller tol")


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_other_rows_than_those_of_the_fit_are_refused(estimator):
    X, y = X_DIABETES, Y_DIABETES if estimator is LinearRegression else CLASSES
    model = estimator().fit(X, y)
    refused(model, X[::2], y[::2], "pass the rows and weights")
    refused(model, X, y, "pass the rows and weights", sample_weight=np.linspace(0.1, 2, len(y)))
    refused(model, X, y[::-1], "pass the rows and weights")


def test_how_far_from_the_optimum_is_told_in_standard_errors():
    X, y = X_DIABETES, Y_DIABETES
    model = LinearRegression().fit(X, y)
    table = coefficient_table(model, X, y)
    root = np.linalg.cholesky(table.covariance)
    off = root @ np.eye(11)[3]  # one standard error in the metric of the covariance
    np.testing.assert_allclose(table.estimate[1:], model.coef_, rtol=1e-9)
    for share, fine in [(0.099, True), (0.101, False)]:
        moved = LinearRegression().fit(X, y)
        moved.coef_ = model.coef_ + share * off[1:]
        moved.intercept_ = model.intercept_ + share * off[0]
        if fine:  # and the table is that of the optimum all the same
            again = coefficient_table(moved, X, y)
            np.testing.assert_allclose(again.estimate, table.estimate, rtol=1e-9)
            assert again.log_likelihood == pytest.approx(table.log_likelihood, rel=1e-12)
        else:
            refused(moved, X, y, "0.1 standard errors")


@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_dependent_columns_are_refused_by_name(estimator):
    X, y = diabetes()
    y = y if estimator is LinearRegression else y > 140
    X["total"] = X["s1"] + X["s2"]
    refused(estimator().fit(X, y), X, y, "rank 10 of 11, and the coefficients of '(s1|s2|total)'")
    X["total"] = 1.0
    refused(estimator().fit(X, y), X, y, "of 'total' could")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["newton", "gd", "nesterov"])
@pytest.mark.parametrize("kind", ["complete", "quasi-complete", "one class of three"])
def test_separated_classes_are_refused(solver, kind):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 3))
    y = (X[:, 0] + rng.logistic(size=120) > 0).astype(int)
    if kind == "complete":
        y = (X[:, 2] > 0.2).astype(int)
    elif kind == "quasi-complete":
        X[:, 2] = (y == 1) & (X[:, 1] > 0.5)
    else:
        y[X[:, 2] > 1.0] = 2
    model = LogisticRegression(solver=solver, max_iter=3000).fit(X, y)
    refused(model, X, y, "needs (classes that overlap.*'x2'|coefficients at the optimum)")
    if solver == "newton":
        refused(model, X, y, "classes that overlap.*'x2'")


def test_leverage_one_has_no_hc3():
    X, y = murder()
    X = X.assign(only=np.arange(len(y)) == 7)
    model = LinearRegression().fit(X, y)
    refused(model, X, y, "leverage 1", cov_type="HC3")
    result = sm.OLS(y, sm.add_constant(X.astype(float))).fit(cov_type="HC1")
    table = coefficient_table(model, X, y, cov_type="HC1")
    np.testing.assert_allclose(table.std_error[:-1], result.bse[:-1], rtol=1e-8)


def test_arguments_are_checked():
    X, y = X_DIABETES, Y_DIABETES
    model = LinearRegression().fit(X, y)
    refused(model, X, y, "'confidence'.*1.5", confidence=1.5)
    refused(model, X, y, "'cov_type'.*'HC4'", cov_type="HC4")
    refused(model, X, y, "'groups'", cov_type="cluster")
    refused(model, X, y, "'groups'", groups=np.arange(len(y)))
    refused(model, X, y, "inconsistent numbers", cov_type="cluster", groups=[1, 2])
    refused(model, X, y, "2 groups", cov_type="cluster", groups=np.ones(len(y)))
    refused(model, X, y, "'reference'", reference=1)
    refused(model, X, np.column_stack([y, y]), "1 target")
    refused(model, X[:, :4], y, "features")
    three = np.digitize(y, [100, 200])
    softmax = LogisticRegression(tol=1e-10).fit(X, three)
    refused(softmax, X, three, "leverage of a row", cov_type="HC3")
    refused(softmax, X, np.where(three == 1, 7, three), "not in classes_")
    with pytest.raises(NotFittedError):
        coefficient_table(LinearRegression(), X, y)
    with pytest.raises(TypeError, match="got Ridge"):
        coefficient_table(Ridge().fit(X, y), X, y)


def test_the_estimator_is_left_as_it_was():
    X, y = X_DIABETES, Y_DIABETES
    model = LinearRegression().fit(X, y)
    before = dict(vars(model))
    coefficient_table(model, X.astype(np.float32), y[:, None])
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[key] is before[key] for key in before)


def test_the_column_that_is_constant_is_the_one_that_is_named():
    """What is left of it after centring is rounding, which is no direction of its own."""
    rng = np.random.default_rng(0)
    X = rng.normal(3.0, 2.0, (51, 3))
    cubic = PolynomialFeatures(3).fit(X)
    with pytest.warns(LinAlgWarning, match="dependent_columns_"):
        model = LinearRegression().fit(cubic.transform(X), X[:, 0])
    assert model.dependent_columns_.tolist() == [0]
    with pytest.raises(Refusal, match="rank 19 of 20, and the coefficients of 'x0' could be"):
        coefficient_table(model, cubic.transform(X), X[:, 0])
