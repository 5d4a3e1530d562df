"""scikit-learn's own checks, on every solver and rule."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from gdregress import LinearRegression, LogisticRegression
from gdregress.solvers.descent.rules import RULES

ESTIMATORS = [
    LinearRegression(),
    LinearRegression(solver="normal_equations"),
    LinearRegression(solver="lstsq"),
    LinearRegression(alpha=0.1, fit_intercept=False),
    LinearRegression(solver="normal_equations", alpha=0.1),
    LinearRegression(solver="lstsq", fit_intercept=False),
    LinearRegression(solver="gd", alpha=0.1, criterion="loss"),
    LogisticRegression(),
    LogisticRegression(solver="newton"),
    # Without an intercept, scikit-learn's own fails check_class_weight_classifiers as well: a plane
    # through the origin cannot put 87 % of the rows on one side.
    LogisticRegression(alpha=0.1, tol=1e-10),
    LogisticRegression(solver="newton", alpha=0.01, class_weight="balanced"),
    LogisticRegression(solver="gd", alpha=0.1, criterion="update", tol=1e-4),
    *(
        estimator(solver=rule)
        for rule in RULES
        for estimator in (LinearRegression, LogisticRegression)
    ),
    LogisticRegression(class_weight="balanced"),
    LogisticRegression(solver="gd", class_weight="balanced"),
    LinearRegression(early_stopping=True, random_state=0),
    LogisticRegression(early_stopping=True, random_state=0),
    # Fitted twice, a warm start is closer to the optimum by what the first fit had left.
    LinearRegression(solver="gd", warm_start=True, tol=1e-24),
    LogisticRegression(warm_start=True),
    LinearRegression(learning_rate="line_search"),
    LogisticRegression(learning_rate="line_search"),
]


_HELD_OUT = "rows are held out by their number: a row twice is not a row of weight two"


def expected_to_fail(estimator):
    """The checks of weights, where it is not the same rows that are held out."""
    if not estimator.early_stopping:
        return {}
    what = "check_sample_weight_equivalence_on_{}_data"
    return {what.format(kind): _HELD_OUT for kind in ("dense", "sparse")}


# The checks fit separable classes, constant columns and iterations cut short. What is announced is
# not their concern; test_linear, test_logistic and test_descent check that it is.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_to_fail)
def test_scikit_learn_checks(estimator, check):
    searches = estimator.learning_rate == "line_search" and hasattr(estimator, "class_weight")
    if searches and "sample_weight_equivalence" in str(check):
        pytest.skip("a line search compares losses: of theta the root of their rounding is left")
    check(estimator)
