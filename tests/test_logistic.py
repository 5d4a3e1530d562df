"""LogisticRegression against known optima and other libraries."""

import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.linear_model
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from problems import (
    EXACT_LOGISTIC,
    LOGISTIC_SOLVERS,
    SIGMOID,
    SOFTMAX,
    Textbook,
    classification,
    logistic,
    overlapping_classes,
    to_theta,
)
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from gdregress import LogisticRegression
from gdregress._checks import encode_labels

each_solver = pytest.mark.parametrize("solver", LOGISTIC_SOLVERS)
each_exact_solver = pytest.mark.parametrize("solver", EXACT_LOGISTIC)
each_n_classes = pytest.mark.parametrize("n_classes", [2, 3, 5])


# Known answers


@each_solver
@each_n_classes
@pytest.mark.parametrize("alpha", [0.0, 1e-3])
def test_finds_the_known_optimum(solver, n_classes, alpha):
    problem = classification(n_classes=n_classes, alpha=alpha)
    model = logistic(solver, alpha=alpha)
    model.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
    assert model.converged_ is True
    assert_allclose(model.coef_, problem.coef, rtol=0, atol=1e-9)
    assert_allclose(model.intercept_, problem.intercept, rtol=0, atol=1e-9)
    assert_allclose(model.loss_, problem.loss, rtol=1e-12)


@each_exact_solver
@each_n_classes
def test_the_gradient_vanishes_without_an_intercept(solver, n_classes):
    X, y = overlapping_classes(n_classes)
    model = logistic(solver, fit_intercept=False).fit(X, y)
    residual = model.predict_proba(X) - np.eye(n_classes)[y]
    assert_allclose(X.T @ residual / len(X), 0, rtol=0, atol=1e-10)
    assert_array_equal(model.intercept_, 0)


@each_solver
def test_one_loss_serves_two_classes_and_many(solver):
    """Softmax with a third class of vanishing weight is the sigmoid of the difference."""
    X, y, weight, *_ = classification(n_classes=3)
    kept = y < 2
    pair = logistic(solver, alpha=0.1).fit(X[kept], y[kept], sample_weight=weight[kept])
    # The penalty of the two rows of softmax, w/2 and -w/2, is half that of the sigmoid's w.
    X3 = np.vstack([X[kept], X[:1]])
    y3 = np.append(y[kept], 2)
    weight3 = np.append(weight[kept], 1e-9)
    three = logistic("newton", alpha=0.2).fit(X3, y3, sample_weight=weight3)
    assert_allclose(three.coef_[1] - three.coef_[0], pair.coef_[0], rtol=0, atol=1e-5)
    assert_allclose(
        three.intercept_[1] - three.intercept_[0], pair.intercept_[0], rtol=0, atol=1e-5
    )


@each_solver
@each_n_classes
def test_integer_weights_equal_repeated_rows(solver, n_classes):
    X, y = overlapping_classes(n_classes)
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = logistic(solver, alpha=0.01).fit(X, y, sample_weight=weight)
    rows = np.repeat(np.arange(len(X)), weight)
    repeated = logistic(solver, alpha=0.01).fit(X[rows], y[rows])
    assert_allclose(weighted.coef_, repeated.coef_, rtol=0, atol=1e-10)
    assert_allclose(weighted.intercept_, repeated.intercept_, rtol=0, atol=1e-10)
    assert_allclose(weighted.loss_, repeated.loss_, rtol=1e-12)


@each_exact_solver
@each_n_classes
@given(exponents=st.lists(st.floats(-150, 150), min_size=3, max_size=3))
def test_a_unit_only_divides_its_coefficient(solver, n_classes, exponents):
    problem = classification(n_classes=n_classes)
    units = 10.0 ** np.array(exponents)
    model = logistic(solver).fit(problem.X * units, problem.y, problem.sample_weight)
    assert_allclose(model.coef_ * units, problem.coef, rtol=0, atol=1e-9)
    assert_allclose(model.intercept_, problem.intercept, rtol=0, atol=1e-9)


@each_exact_solver
def test_a_column_far_from_zero_keeps_its_digits(solver):
    X, y, weight, *_ = classification()
    X = np.round(X * 2**20) / 2**20  # so that 2^30 is added without rounding
    expected = logistic(solver).fit(X, y, sample_weight=weight)
    model = logistic(solver).fit(np.add(X, [0, 2**30, 0]), y, sample_weight=weight)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-8)


@each_exact_solver
@each_n_classes
def test_dependent_columns_still_have_the_optimal_predictions(solver, n_classes):
    problem = classification(n_classes=n_classes)
    X = np.column_stack([problem.X, problem.X[:, 0] - problem.X[:, 2], np.ones(len(problem.X))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it may say so
        model = logistic(solver).fit(X, problem.y, sample_weight=problem.sample_weight)
    assert_allclose(model.loss_, problem.loss, rtol=1e-10)
    assert np.isfinite(model.coef_).all()


# Agreement with other libraries on real data


@pytest.mark.parametrize(
    ("load", "n_rows", "alpha"),
    [
        (load_breast_cancer, None, 1 / 569),
        (load_breast_cancer, None, 1e-1),
        (load_wine, None, 1 / 178),
        (partial(load_digits, n_class=4), 300, 1 / 300),
    ],
)
@each_exact_solver
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_scikit_learn_at_c_equal_to_one_over_alpha_times_total_weight(
    solver, load, n_rows, alpha, weighted
):
    X, y = load(return_X_y=True)
    X, y = StandardScaler().fit_transform(X)[:n_rows], y[:n_rows]
    weight = np.random.default_rng(1).uniform(0.5, 2, len(X)) if weighted else None
    total = weight.sum() if weighted else len(X)
    reference = sklearn.linear_model.LogisticRegression(
        C=1 / (alpha * total), tol=1e-12, solver="newton-cholesky", max_iter=100
    ).fit(X, y, sample_weight=weight)
    model = logistic(solver, alpha=alpha).fit(X, y, sample_weight=weight)
    largest = abs(reference.coef_).max()
    assert_allclose(model.coef_, reference.coef_, rtol=0, atol=1e-8 * largest)
    # scikit-learn leaves the constant of the intercepts where its iterations took it
    gauge = reference.intercept_.mean() if len(model.classes_) > 2 else 0
    assert_allclose(model.intercept_, reference.intercept_ - gauge, rtol=0, atol=1e-8 * largest)
    assert_allclose(model.predict_proba(X), reference.predict_proba(X), rtol=0, atol=1e-8)


@each_solver
def test_agrees_with_statsmodels_logit(solver):
    X, y = overlapping_classes(2)
    model = logistic(solver).fit(X, y)
    reference = sm.Logit(y, sm.add_constant(X)).fit(method="newton", tol=1e-12, disp=0)
    assert_allclose(np.append(model.intercept_, model.coef_), reference.params, rtol=0, atol=1e-8)
    assert_allclose(model.loss_, -reference.llf / len(y), rtol=1e-10)


@each_solver
def test_agrees_with_statsmodels_mnlogit(solver):
    X, y = overlapping_classes(3)
    model = logistic(solver).fit(X, y)
    reference = sm.MNLogit(y, sm.add_constant(X)).fit(method="newton", tol=1e-12, disp=0)
    theta = np.column_stack([model.intercept_, model.coef_]).T
    # statsmodels measures from the first class
    assert_allclose(theta[:, 1:] - theta[:, :1], reference.params, rtol=0, atol=1e-8)
    assert_allclose(model.loss_, -reference.llf / len(y), rtol=1e-10)


# Softmax's gauge


@each_solver
@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_softmax_coefficients_have_mean_zero_over_the_classes(solver, alpha):
    X, y = overlapping_classes(4)
    model = logistic(solver, alpha=alpha).fit(X, y)
    assert_allclose(model.intercept_.mean(), 0, rtol=0, atol=1e-12)
    assert_allclose(model.coef_.mean(axis=0), 0, rtol=0, atol=1e-10)


# Labels and class weights


@each_solver
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes", "perhaps"]),
        np.array(["no", "yes", "perhaps"], dtype=object),
        np.array([-7, 30, 2]),
        np.array([0.0, 1.0, 2.0]),
    ],
    ids=["str", "object", "int", "float"],
)
def test_labels_of_any_kind(solver, n_classes, labels):
    problem = classification(n_classes=n_classes)
    chosen = np.sort(labels[:n_classes])
    model = logistic(solver).fit(problem.X, chosen[problem.y], sample_weight=problem.sample_weight)
    assert_array_equal(model.classes_, chosen)
    assert model.classes_.dtype == labels.dtype
    assert_allclose(model.coef_, problem.coef, rtol=0, atol=1e-9)
    assert set(model.predict(problem.X)) <= set(chosen)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([-128, 127, 3, 0], dtype=np.int8),
        np.array([255, 0, 7], dtype=np.uint8),
        np.array([2**64 - 1, 2**64 - 5, 2**64 - 3], dtype=np.uint64),
        np.array([-(2**63), -(2**63) + 2, -(2**63) + 1]),
        np.array([5, 9, 6, 10_000_000]),
        np.array([-2, 4, 0], dtype=np.int32),
        np.array([0.0, -0.0, 1.5]),
        np.array([0.1, 0.2], dtype=np.float32),
        np.array([True, False]),
    ],
    ids=str,
)
@pytest.mark.parametrize("n_repeats", [1, 200, 2000])
def test_numbers_are_classes_as_numpy_sorts_them(labels, n_repeats):
    y = np.tile(labels, n_repeats)
    classes, codes = encode_labels(LogisticRegression(), y)
    expected, places = np.unique(y, return_inverse=True)
    assert classes.dtype == labels.dtype
    assert_array_equal(classes, expected)
    assert_array_equal(codes, places)


@each_solver
def test_labels_of_bools(solver):
    problem = classification()
    model = logistic(solver).fit(problem.X, problem.y == 1, sample_weight=problem.sample_weight)
    assert_array_equal(model.classes_, [False, True])
    assert_allclose(model.coef_, problem.coef, rtol=0, atol=1e-9)
    assert model.predict(problem.X).dtype == bool


@each_solver
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weight_multiplies_sample_weight(solver, n_classes, weighted):
    X, y = overlapping_classes(n_classes)
    names = np.array(["low", "middle", "high"])[:n_classes]
    class_weight = dict(zip(names, [0.5, 3.0, 1.25]))
    weight = np.random.default_rng(2).uniform(0.5, 2, len(X)) if weighted else np.ones(len(X))
    model = logistic(solver, alpha=0.01, class_weight=class_weight)
    model.fit(X, names[y], sample_weight=weight if weighted else None)
    explicit = logistic(solver, alpha=0.01)
    explicit.fit(X, names[y], sample_weight=weight * np.array([0.5, 3.0, 1.25])[y])
    assert_allclose(model.coef_, explicit.coef_, rtol=0, atol=1e-10)
    assert_allclose(model.loss_, explicit.loss_, rtol=1e-12)


@each_solver
@pytest.mark.parametrize("weighted", [False, True])
def test_balanced_gives_every_class_the_same_total_weight(solver, weighted):
    X, y = overlapping_classes(3)
    kept = (y > 0) | (np.arange(len(y)) % 3 == 0)
    X, y = X[kept], y[kept]
    weight = np.random.default_rng(3).uniform(0.5, 2, len(X)) if weighted else np.ones(len(X))
    model = logistic(solver, alpha=0.01, class_weight="balanced")
    model.fit(X, y, sample_weight=weight if weighted else None)
    explicit = logistic(solver, alpha=0.01).fit(X, y, weight / np.bincount(y, weight)[y])
    assert_allclose(model.coef_, explicit.coef_, rtol=0, atol=1e-10)
    assert_allclose(model.loss_, explicit.loss_, rtol=1e-12)


@each_solver
@pytest.mark.parametrize("n_classes", [3, 4])
@pytest.mark.parametrize("by", ["sample_weight", "class_weight"])
@pytest.mark.parametrize("base", [None, "balanced"])
def test_a_class_of_total_weight_zero_does_not_exist(solver, n_classes, by, base):
    X, y = overlapping_classes(n_classes)
    absent = y == 1
    expected = logistic(solver, alpha=0.01, class_weight=base).fit(X[~absent], y[~absent])
    if by == "sample_weight":
        model = logistic(solver, alpha=0.01, class_weight=base)
        model.fit(X, y, sample_weight=np.where(absent, 0.0, 1.0))
    else:
        class_weight = dict.fromkeys(range(n_classes), 1.0)
        if base == "balanced":
            class_weight = dict(enumerate(1 / np.bincount(y)))
        model = logistic(solver, alpha=0.01, class_weight={**class_weight, 1: 0.0}).fit(X, y)
    assert_array_equal(model.classes_, expected.classes_)
    assert_allclose(model.coef_, expected.coef_, rtol=0, atol=1e-10)
    assert_allclose(model.loss_, expected.loss_, rtol=1e-12)
    assert model.predict_proba(X).shape == (len(X), n_classes - 1)


# Predictions


@each_solver
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_predictions_are_consistent(solver, n_classes, kind):
    X, y = overlapping_classes(n_classes)
    model = logistic(solver, alpha=0.01).fit(X, y)
    decision = model.decision_function(kind(X))
    assert_allclose(decision, np.squeeze(X @ model.coef_.T + model.intercept_), rtol=1e-10)
    theta = to_theta(model.coef_, model.intercept_)
    form = SIGMOID if n_classes == 2 else SOFTMAX
    probability = form.mean(np.column_stack([X, np.ones(len(X))]) @ theta)
    if n_classes == 2:
        probability = np.hstack([1 - probability, probability])
        assert_array_equal(model.predict(kind(X)), decision > 0)
    else:
        assert_array_equal(model.predict(kind(X)), decision.argmax(axis=1))
    assert_allclose(model.predict_proba(kind(X)), probability, rtol=1e-10)
    assert_allclose(model.predict_log_proba(kind(X)), np.log(probability), rtol=1e-9)
    assert_array_equal(model.predict(kind(X)), model.predict_proba(kind(X)).argmax(axis=1))
    Y = np.eye(n_classes)[y] if n_classes > 2 else y[:, None]
    assert_allclose(model.loss_, Textbook(form, X, Y, alpha=0.01).loss(theta), rtol=1e-12)


@each_solver
@pytest.mark.parametrize("n_classes", [2, 3])
def test_predictions_far_out_do_not_overflow(solver, n_classes):
    X, y = overlapping_classes(n_classes)
    model = logistic(solver, alpha=0.01).fit(X, y)
    for size in (1e3, 1e6, 1e300):
        far = size * np.sign(X)
        probability, log_probability = model.predict_proba(far), model.predict_log_proba(far)
        assert_allclose(probability.sum(axis=1), 1)
        assert np.isfinite(log_probability).all()
        assert log_probability.min() < -0.01 * size  # where log(predict_proba) would be -inf
        assert_array_equal(model.predict(far), probability.argmax(axis=1))


# No finite optimum


@each_solver
@pytest.mark.parametrize("n_classes", [2, 3])
def test_separable_classes_without_penalty_are_announced(solver, n_classes):
    rng = np.random.default_rng(4)
    y = np.arange(90) % n_classes
    X = np.column_stack([3 * y + rng.uniform(-1, 1, 90), 3 * (y == 1) + rng.uniform(-1, 1, 90)])
    model = LogisticRegression(solver=solver)
    with pytest.warns(ConvergenceWarning, match="alpha"):
        model.fit(X, y)
    assert np.isfinite(model.coef_).all()
    assert model.converged_ is False
    assert model.score(X, y) == 1
    assert LogisticRegression(solver=solver, alpha=0.1, max_iter=10_000).fit(X, y).converged_


@each_solver
def test_quasi_separated_classes_are_announced(solver):
    """A dummy column with one class only, among rows that overlap otherwise.

    It takes all of class 1 from one of the two levels of column 0, which then has class 0 only.
    """
    X, y = overlapping_classes(2)
    X = np.column_stack([X, (y == 1) & (X[:, 0] > 1)])
    with pytest.warns(ConvergenceWarning, match="alpha"):
        model = LogisticRegression(solver=solver).fit(X, y)
    assert np.isfinite(model.coef_).all()
    assert model.separating_columns_.tolist() == [0, 5]
    without = LogisticRegression(solver=solver, tol=1e-3).fit(X[:, :5], y)
    assert without.separating_columns_.size == 0


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_warm_start_in_other_units_reaches_the_optimum(n_classes):
    X, y = overlapping_classes(n_classes)
    model = LogisticRegression(solver="newton", warm_start=True).fit(X, y)
    best = model.loss_
    for unit in (1e3, 1e-3, 1e9):
        model.fit(X * unit, y)
        assert model.converged_ is True
        assert_allclose(model.loss_, best, rtol=1e-10)
    far = [50.0] if n_classes == 2 else [50.0, -50.0, 0.0]
    model = LogisticRegression(solver="newton").fit(X, y, intercept_init=far)
    assert model.converged_ is True
    assert_allclose(model.loss_, best, rtol=1e-10)


@each_exact_solver
def test_a_small_class_far_away_is_not_called_separable(solver):
    """Large coefficients and probabilities near 0 and 1, but a finite optimum."""
    X, y, weight, coef, *_ = classification(n_samples=200, seed=3)
    model = logistic(solver).fit(X / 1e3, y, sample_weight=weight)
    assert model.converged_ is True
    assert_allclose(model.coef_ / 1e3, coef, rtol=0, atol=1e-9)


# What a fit tells


@each_solver
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_attributes_have_scikit_learns_shapes(solver, n_classes, fit_intercept):
    X, y = overlapping_classes(n_classes)
    model = logistic(solver, alpha=0.01, fit_intercept=fit_intercept).fit(X, y)
    reference = sklearn.linear_model.LogisticRegression(fit_intercept=fit_intercept).fit(X, y)
    assert model.coef_.shape == reference.coef_.shape
    assert model.intercept_.shape == reference.intercept_.shape
    assert_array_equal(model.classes_, reference.classes_)
    assert model.decision_function(X).shape == reference.decision_function(X).shape
    assert isinstance(model.n_iter_, int)
    assert model.n_iter_ >= 1
    assert model.solver_ in (EXACT_LOGISTIC if solver == "auto" else [solver])
    assert model.solver_ != "auto"
    assert len(str(model.stop_reason_).split()) > 2  # a sentence
    assert len(model.loss_curve_) == model.n_iter_ + 1
    assert_allclose(model.loss_curve_[0], np.log(n_classes), rtol=1e-12)  # at zero


@each_n_classes
def test_newton_is_done_in_a_few_steps(n_classes):
    X, y = overlapping_classes(n_classes)
    model = LogisticRegression(solver="newton").fit(X, y)
    assert model.n_iter_ < 15
    assert model.converged_ is True
    assert np.all(np.diff(model.loss_curve_) <= 1e-15)
