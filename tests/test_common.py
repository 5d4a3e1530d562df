"""scikit-learn's own checks, on every solver; no check is expected to fail."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from gdregress import LinearRegression, LogisticRegression

ESTIMATORS = [
    LinearRegression(),
    LinearRegression(solver="normal_equations"),
    LinearRegression(solver="lstsq"),
    LinearRegression(solver="gd"),
    LinearRegression(alpha=0.1, fit_intercept=False),
    LinearRegression(solver="normal_equations", alpha=0.1),
    LinearRegression(solver="lstsq", fit_intercept=False),
    LinearRegression(solver="gd", alpha=0.1, criterion="loss"),
    LogisticRegression(),
    LogisticRegression(solver="newton"),
    LogisticRegression(solver="gd"),
    # Without an intercept, scikit-learn's own fails check_class_weight_classifiers as well: a plane
    # through the origin cannot put 87 % of the rows on one side.
    LogisticRegression(alpha=0.1, tol=1e-10),
    LogisticRegression(solver="newton", alpha=0.01, class_weight="balanced"),
    LogisticRegression(solver="gd", alpha=0.1, criterion="update", tol=1e-4),
]


# The checks fit separable classes, constant columns and iterations cut short. What is announced is
# not their concern; test_linear, test_logistic and test_descent check that it is.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
