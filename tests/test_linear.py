"""LinearRegression against known answers, closed forms and other libraries."""

import re

import numpy as np
import pandas as pd
import pytest
import sklearn.linear_model
import statsmodels.api as sm
from comparing import centred
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from problems import EXACT_LINEAR, LINEAR_SOLVERS, least_squares, linear
from scipy.linalg import LinAlgWarning
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression

each_solver = pytest.mark.parametrize("solver", LINEAR_SOLVERS)
each_exact_solver = pytest.mark.parametrize("solver", EXACT_LINEAR)
each_intercept = pytest.mark.parametrize("fit_intercept", [True, False])


def assert_minimum_norm(fitted, X, y, sample_weight=None, fit_intercept=True):
    """The coefficients are those of `np.linalg.lstsq` on centred data, the intercept spared."""
    A, b, X_mean, y_mean = centred(X, y, sample_weight, fit_intercept)
    coef = np.linalg.lstsq(A, b, rcond=1e-12)[0].T
    assert_allclose(fitted.coef_, coef, rtol=0, atol=1e-9 * abs(coef).max())
    assert_allclose(fitted.intercept_, y_mean - X_mean @ coef.T, rtol=0, atol=1e-9 * abs(y).max())


# Known answers


@each_solver
@each_intercept
@pytest.mark.parametrize("n_targets", [None, 1, 3])
def test_finds_the_known_optimum(solver, fit_intercept, n_targets):
    problem = least_squares(n_targets=n_targets, fit_intercept=fit_intercept)
    model = linear(solver, fit_intercept=fit_intercept).fit(problem.X, problem.y)
    assert_allclose(model.coef_, problem.coef, rtol=1e-9)
    assert_allclose(model.intercept_, problem.intercept, rtol=1e-9)
    assert_allclose(model.loss_, problem.loss, rtol=1e-12)
    assert_allclose(
        model.predict(problem.X), problem.X @ problem.coef.T + problem.intercept, rtol=1e-8
    )


@each_solver
@each_intercept
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_targets", [None, 2])
def test_ridge_is_the_closed_form_with_penalty_alpha_times_total_weight(
    solver, fit_intercept, weighted, n_targets
):
    problem = least_squares(n_targets=n_targets)
    alpha, n_samples = 0.3, len(problem.X)
    weight = np.random.default_rng(1).uniform(0.1, 2, n_samples) if weighted else None
    total = weight.sum() if weighted else n_samples
    A, b, X_mean, y_mean = centred(problem.X, problem.y, weight, fit_intercept)
    coef = np.linalg.solve(A.T @ A + alpha * total * np.eye(A.shape[1]), A.T @ b).T

    model = linear(solver, alpha=alpha, fit_intercept=fit_intercept)
    model.fit(problem.X, problem.y, sample_weight=weight)
    assert_allclose(model.coef_, coef, rtol=1e-9)
    assert_allclose(model.intercept_, y_mean - X_mean @ coef.T, rtol=0, atol=1e-9)
    penalty = 0.5 * alpha * np.sum(coef**2)
    assert_allclose(model.loss_, 0.5 * np.sum((b - A @ coef.T) ** 2) / total + penalty, rtol=1e-12)


@each_solver
def test_integer_weights_equal_repeated_rows(solver):
    X, y, *_ = least_squares(n_targets=2)
    weight = np.random.default_rng(2).integers(0, 4, len(X))
    weighted = linear(solver, alpha=0.01).fit(X, y, sample_weight=weight)
    repeated = linear(solver, alpha=0.01).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight, 0))
    assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-11)
    assert_allclose(weighted.intercept_, repeated.intercept_, rtol=1e-11)
    assert_allclose(weighted.loss_, repeated.loss_, rtol=1e-12)


@each_solver
@pytest.mark.parametrize("factor", [1e-250, 1e-3, 1e250])
def test_a_common_factor_of_the_weights_cancels(solver, factor):
    X, y, _, coef, intercept, loss = least_squares()
    model = linear(solver).fit(X, y, sample_weight=np.full(len(X), factor))
    assert_allclose(model.coef_, coef, rtol=1e-9)
    assert_allclose(model.intercept_, intercept, rtol=1e-9)
    assert_allclose(model.loss_, loss, rtol=1e-10)


@each_solver
def test_an_exact_relation_leaves_no_loss(solver):
    """The loss comes from residuals: moments hold no digit of it here."""
    X, y, _, coef, *_ = least_squares(n_targets=2, noise=0)
    model = linear(solver).fit(X, y)
    assert_allclose(model.coef_, coef, rtol=1e-9)
    assert 0 <= model.loss_ <= 1e-20 * np.mean(y**2)
    assert np.all(model.loss_curve_ >= 0)


# Agreement with other libraries on real data


@each_solver
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_scikit_learn_and_statsmodels_on_diabetes(solver, weighted):
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    weight = np.random.default_rng(3).uniform(0.5, 2, len(X)) if weighted else None
    model = linear(solver).fit(X, y, sample_weight=weight)

    reference = sklearn.linear_model.LinearRegression().fit(X, y, sample_weight=weight)
    assert_allclose(model.coef_, reference.coef_, rtol=1e-8)
    assert_allclose(model.intercept_, reference.intercept_, rtol=1e-8)

    design = sm.add_constant(X)
    reference = sm.WLS(y, design, weight).fit() if weighted else sm.OLS(y, design).fit()
    assert_allclose(np.append(model.intercept_, model.coef_), reference.params, rtol=1e-8)
    total = len(X) if weight is None else weight.sum()
    assert_allclose(2 * total * model.loss_, reference.ssr, rtol=1e-10)


@each_solver
def test_agrees_with_scikit_learn_on_several_real_targets(solver):
    X, Y = load_linnerud(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = linear(solver).fit(X, Y)
    reference = sklearn.linear_model.LinearRegression().fit(X, Y)
    assert_allclose(model.coef_, reference.coef_, rtol=0, atol=1e-8 * abs(reference.coef_).max())
    assert_allclose(model.predict(X), reference.predict(X), rtol=1e-8)


# Rank and conditioning


@each_exact_solver
@each_intercept
@pytest.mark.parametrize("weighted", [False, True])
def test_dependent_columns_get_the_minimum_norm_in_their_own_units(solver, fit_intercept, weighted):
    X, y, *_ = least_squares(n_features=12, n_targets=2)
    X = np.column_stack([X, 3 * X[:, 4] - 20 * X[:, 7]]) * np.geomspace(0.1, 10, 13)
    weight = np.random.default_rng(4).uniform(0.1, 2, len(X)) if weighted else None
    model = linear(solver, fit_intercept=fit_intercept)
    with pytest.warns(LinAlgWarning, match="minimum norm"):
        model.fit(X, y, sample_weight=weight)
    assert model.rank_ == 12
    assert_only_one_of(model.dependent_columns_, {4, 7, 12})
    assert_minimum_norm(model, X, y, weight, fit_intercept)


def assert_only_one_of(columns, accepted):
    assert len(columns) == 1
    assert columns[0] in accepted


@each_solver
def test_dependent_columns_are_an_attribute_and_the_warning_has_one_text(solver):
    """Python shows a warning once for each text: a search must not see a new one in every fold."""
    X, y, *_ = least_squares(n_features=3)
    texts = set()
    for factor, rows in [(2.0, slice(None)), (0.5, slice(20, None))]:
        frame = pd.DataFrame(X[rows], columns=["age", "height", "weight"])
        frame[f"height times {factor}"] = factor * frame["height"]
        model = linear(solver, tol=1e-9)
        with pytest.warns(LinAlgWarning) as caught:
            model.fit(frame, y[rows])
        assert model.rank_ == 3
        assert_only_one_of(model.dependent_columns_, {1, 3})
        texts |= {str(warning.message) for warning in caught}
    assert len(texts) == 1
    assert "dependent_columns_" in texts.pop()


@each_solver
def test_independent_columns_are_none(solver):
    X, y, *_ = least_squares()
    model = linear(solver).fit(X, y)
    assert model.dependent_columns_.dtype.kind == "i"
    assert len(model.dependent_columns_) == 0
    wide = linear(solver, tol=1e-3).fit(X[:4], y[:4])
    assert wide.dependent_columns_ is None


@each_solver
def test_a_penalty_decides_what_dependent_columns_leave_open(solver):
    """Ridge has one solution, whatever the rank: nothing to warn of."""
    X, y, *_ = least_squares(n_features=3)
    X = np.column_stack([X, X[:, 0]])
    model = linear(solver, alpha=0.1).fit(X, y)
    assert_only_one_of(model.dependent_columns_, {0, 3})
    assert_allclose(model.coef_[0], model.coef_[3], rtol=1e-6)


@each_exact_solver
@each_intercept
@pytest.mark.parametrize("n_targets", [None, 2])
def test_more_columns_than_rows_interpolate_with_minimum_norm_and_no_warning(
    solver, fit_intercept, n_targets
):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((15, 40)) * np.geomspace(0.1, 10, 40)
    y = rng.standard_normal(15 if n_targets is None else (15, n_targets))
    model = linear(solver, fit_intercept=fit_intercept).fit(X, y)
    assert model.rank_ == (14 if fit_intercept else 15)
    assert_minimum_norm(model, X, y, None, fit_intercept)
    assert_allclose(model.predict(X), y, rtol=0, atol=1e-10)


@each_exact_solver
@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_with_more_columns_than_rows(solver, weighted):
    rng = np.random.default_rng(6)
    X, y = rng.standard_normal((15, 40)), rng.standard_normal((15, 2))
    weight = rng.uniform(0.1, 2, 15) if weighted else None
    total = weight.sum() if weighted else 15
    A, b, X_mean, y_mean = centred(X, y, weight)
    coef = np.linalg.solve(A.T @ A + 0.1 * total * np.eye(40), A.T @ b).T
    model = linear(solver, alpha=0.1).fit(X, y, sample_weight=weight)
    assert_allclose(model.coef_, coef, rtol=0, atol=1e-10)
    assert_allclose(model.intercept_, y_mean - X_mean @ coef.T, rtol=0, atol=1e-10)


@each_exact_solver
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 / 3])
def test_a_constant_column_adds_nothing_to_an_intercept(solver, value):
    """0.1 and 1e9/3 differ from their computed mean by rounding, which is no information."""
    X, y, _, coef, intercept, _ = least_squares()
    X = np.column_stack([X[:, :2], np.full(len(X), value), X[:, 2:]])
    model = linear(solver)
    with pytest.warns(LinAlgWarning):
        model.fit(X, y)
    assert model.rank_ == 4
    assert_array_equal(model.dependent_columns_, [2])
    assert_allclose(model.coef_, np.insert(coef, 2, 0), rtol=1e-9, atol=1e-12)
    assert_allclose(model.intercept_ + value * model.coef_[2], intercept, rtol=1e-9)
    rounding = np.finfo(float).eps * value
    assert_allclose(model.intercept_, intercept, rtol=1e-9, atol=rounding)


@each_exact_solver
def test_a_constant_column_is_an_intercept_where_there_is_none(solver):
    X, y, _, coef, intercept, _ = least_squares()
    X = np.column_stack([X, np.full(len(X), 4.0)])
    model = linear(solver, fit_intercept=False).fit(X, y)
    assert model.rank_ == 5
    assert_allclose(model.coef_, np.append(coef, intercept / 4), rtol=1e-9)


@each_solver
@each_intercept
def test_columns_of_zeros_get_coefficients_of_zero(solver, fit_intercept):
    X, y = np.zeros((20, 2)), np.arange(20.0)
    model = linear(solver, fit_intercept=fit_intercept)
    with pytest.warns(LinAlgWarning):
        model.fit(X, y)
    assert model.rank_ == 0
    assert_array_equal(model.dependent_columns_, [0, 1])
    assert_array_equal(model.coef_, [0, 0])
    assert_allclose(model.intercept_, 9.5 if fit_intercept else 0)


@each_exact_solver
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.999, 0.999999])
def test_condition_number_of_two_correlated_columns(solver, correlation):
    """The ratio of the squared singular values is (1 + r) / (1 - r), whatever units and means."""
    Q = np.linalg.qr(np.column_stack([np.ones(50), np.random.default_rng(7).random((50, 2))]))[0]
    X = np.column_stack([Q[:, 1], correlation * Q[:, 1] + np.sqrt(1 - correlation**2) * Q[:, 2]])
    model = linear(solver).fit(X * [1e6, 1e-6] + [1e3, 0], X.sum(axis=1))
    expected = np.sqrt((1 + correlation) / (1 - correlation))
    assert model.rank_ == 2
    assert expected / 3 <= model.condition_number_ <= expected * 3  # an estimate will do


@each_exact_solver
def test_near_dependence_within_double_precision_is_not_rank_deficiency(solver):
    """Two columns that differ by 1e-10 of their size: still rank 2, and a usable answer.

    y is the sum of both; the condition number 1e10 leaves the coefficients six digits.
    """
    Q = np.linalg.qr(np.column_stack([np.ones(50), np.random.default_rng(8).random((50, 2))]))[0]
    X = np.column_stack([Q[:, 1], Q[:, 1] + 1e-10 * Q[:, 2]])
    model = linear(solver).fit(X, X.sum(axis=1))
    assert model.rank_ == 2
    assert_allclose(model.coef_, [1, 1], rtol=1e-4)
    assert 1e9 < model.condition_number_ < 1e11


# Units


@each_exact_solver
@given(data=st.data())
def test_a_unit_only_divides_its_coefficient(solver, data):
    fit_intercept = data.draw(st.booleans())
    problem = least_squares(fit_intercept=fit_intercept)
    units = data.draw(
        st.lists(st.floats(-150, 150).map(lambda e: 10.0**e), min_size=4, max_size=4)
    ) * np.array(data.draw(st.lists(st.sampled_from([-1, 1]), min_size=4, max_size=4)))
    model = linear(solver, fit_intercept=fit_intercept).fit(problem.X * units, problem.y)
    assert model.rank_ == 4
    assert_allclose(model.coef_ * units, problem.coef, rtol=1e-10)
    assert_allclose(model.intercept_, problem.intercept, rtol=1e-10)


@each_exact_solver
@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_a_unit_of_the_target_multiplies_everything(solver, unit):
    X, y, _, coef, intercept, _ = least_squares(n_targets=2)
    model = linear(solver).fit(X, y * unit)
    assert_allclose(model.coef_ / unit, coef, rtol=1e-10)
    assert_allclose(model.intercept_ / unit, intercept, rtol=1e-10)


@pytest.mark.parametrize("exponent", [-200, 200])
def test_columns_beyond_the_range_of_squares_are_solved_or_refused(exponent):
    X, y, _, coef, *_ = least_squares()
    X[:, 1] *= 10.0**exponent
    try:
        model = LinearRegression().fit(X, y)
    except ValueError as error:
        message = str(error)
    else:
        message = ""
        expected = coef / [1, 10.0**exponent, 1, 1]
        assert_allclose(model.coef_, expected, rtol=1e-9)
    assert message == "" or re.search("scale|large|small", message)


def test_a_revenue_and_a_rate_are_both_used():
    """scikit-learn 1.9's default loses the rate, R2 = 0.33."""
    rng = np.random.default_rng(9)
    X = np.column_stack([1e9 * rng.lognormal(0, 0.3, 500), rng.normal(0.05, 0.01, 500)])
    y = 1e-9 * X[:, 0] + 45 * X[:, 1] + 0.03 * rng.standard_normal(500)
    model = LinearRegression().fit(X, y)
    assert model.score(X, y) > 0.99
    reference = sm.OLS(y, sm.add_constant(X / [1e9, 0.01])).fit().params[1:] / [1e9, 0.01]
    assert_allclose(model.coef_, reference, rtol=1e-9)
    assert model.condition_number_ < 3  # units are not conditioning


def test_a_timestamp_beside_a_standard_feature():
    """scikit-learn 1.9's default gives R2 = 0.04."""
    rng = np.random.default_rng(10)
    seconds = 1.7e9 + rng.uniform(0, 3e7, 500)
    X = np.column_stack([seconds, rng.standard_normal(500)])
    y = (seconds - 1.7e9) / 3e7 + 2 * X[:, 1] + 0.04 * rng.standard_normal(500)
    assert LinearRegression().fit(X, y).score(X, y) > 0.999


@each_exact_solver
@pytest.mark.parametrize("weighted", [False, True])
def test_a_column_far_from_zero_keeps_its_digits(solver, weighted):
    """The offset 2^30 = 1.07e9 is added without rounding, so that the answer is known."""
    X, y, *_ = least_squares()
    X = np.round(X * 2**20) / 2**20
    weight = np.random.default_rng(11).uniform(0.5, 2, len(X)) if weighted else None
    A, b, *_ = centred(X, y, weight)
    expected = np.linalg.lstsq(A, b, rcond=None)[0]
    model = linear(solver).fit(np.add(X, [0, 2**30, 0, 2**30]), y, sample_weight=weight)
    assert_allclose(model.coef_, expected, rtol=1e-10)


@each_solver
def test_a_constant_target_needs_no_coefficients(solver):
    X, *_ = least_squares()
    model = linear(solver).fit(X, np.full(len(X), 1e3))
    assert_allclose(model.coef_, 0, rtol=0, atol=1e-8)
    assert_allclose(model.intercept_, 1e3, rtol=1e-10)


@each_solver
def test_a_target_of_zeros_is_met_exactly(solver):
    X, *_ = least_squares()
    model = linear(solver).fit(X, np.zeros(len(X)))
    assert_array_equal(model.coef_, 0)
    assert model.intercept_ == 0
    assert model.loss_ == 0
    assert model.n_iter_ >= 1


# What a fit tells


@each_solver
@pytest.mark.parametrize("n_targets", [None, 1, 3])
def test_attributes_have_scikit_learns_shapes(solver, n_targets):
    X, y, *_ = least_squares(n_targets=n_targets)
    model = linear(solver).fit(X, y)
    reference = sklearn.linear_model.LinearRegression().fit(X, y)
    assert model.coef_.shape == reference.coef_.shape
    assert np.shape(model.intercept_) == np.shape(reference.intercept_)
    assert model.predict(X).shape == reference.predict(X).shape


@each_solver
def test_an_exact_fit_reports_its_two_states(solver):
    X, y, *_ = least_squares()
    model = linear(solver).fit(X, y)
    assert isinstance(model.rank_, int | np.integer)
    assert model.rank_ == 4
    assert model.condition_number_ >= 1
    assert isinstance(model.n_iter_, int)
    assert model.converged_ is True
    assert len(str(model.stop_reason_).split()) > 2  # a sentence
    assert_allclose(model.loss_curve_[0], 0.5 * np.mean(y**2), rtol=1e-12)
    assert_allclose(model.loss_curve_[-1], model.loss_, rtol=1e-10)
    assert model.solver_ in (EXACT_LINEAR if solver == "auto" else [solver])
    assert model.solver_ != "auto"
    if solver != "gd":
        assert model.n_iter_ == 1
        assert_array_equal(model.history_["iteration"], [0, 1])
