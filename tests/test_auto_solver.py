"""`solver="auto"` descends as soon as something is said of descent, and else solves exactly."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from problems import least_squares, overlapping_classes
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress.solvers import Adam

# Short runs: which solver ran is the question, not how far it came.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ESTIMATORS = [LinearRegression, LogisticRegression]
EXACT = {LinearRegression: ("normal_equations", "lstsq"), LogisticRegression: ("newton",)}


def halving(step):
    return 0.5**step


SAID_OF_DESCENT = {
    "learning_rate": {"learning_rate": 0.1},
    "learning_rate, a NumPy number": {"learning_rate": np.float64(0.1)},
    "batch_size": {"batch_size": 16},
    "schedule": {"schedule": halving},
    "early_stopping": {"early_stopping": True},
    "store_path": {"store_path": True},
}
NOT_SAID_OF_DESCENT = {
    "nothing": {},
    "defaults": {"learning_rate": "auto", "batch_size": None, "schedule": "constant"},
    "more iterations": {"max_iter": 50, "tol": 1e-5, "criterion": "update"},
    "a seed": {"random_state": 0},
    "a penalty": {"alpha": 0.5},
}


def data(estimator):
    if estimator is LinearRegression:
        X, y, *_ = least_squares(n_samples=90, n_features=3)
        return X, y, {"coef_init": np.ones(3), "intercept_init": 1.0}
    X, y = overlapping_classes(2)
    return X, y, {"coef_init": np.ones((1, 5)), "intercept_init": np.ones(1)}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("said", SAID_OF_DESCENT)
def test_a_parameter_of_descent_turns_to_descent(estimator, said):
    X, y, _ = data(estimator)
    model = estimator(max_iter=20, random_state=0, **SAID_OF_DESCENT[said]).fit(X, y)
    assert model.solver_ == "gd"
    assert model.n_iter_ > 1
    assert len(model.loss_curve_) == model.n_iter_ + 1


EXACTLY = {
    LinearRegression: "nothing asks for descent; normal equations, for the condition of the "
    "columns leaves them their digits",
    LogisticRegression: "nothing asks for descent",
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("params", "arguments", "solver", "reason"),
    [
        ({"batch_size": 16}, {}, "gd", "batch_size asks for descent"),
        ({"schedule": halving}, {}, "gd", "schedule asks for descent"),
        ({}, {"intercept_init": 1.0}, "gd", "intercept_init asks for descent"),
        ({"alpha": 0.1, "l1_ratio": 0.5}, {}, "nesterov", "an L1 penalty needs a proximal step"),
        ({"alpha": 0.1}, {}, None, EXACTLY),
        ({"solver": "adam", "batch_size": 16}, {}, "adam", "solver names it"),
        ({"solver": Adam()}, {}, "adam", "solver is this rule"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_it_says_why(estimator, params, arguments, solver, reason):
    X, y, _ = data(estimator)
    model = estimator(max_iter=5, random_state=0, **params).fit(X, y, **arguments)
    assert model.solver_ == (solver or EXACT[estimator][0])
    assert model.solver_reason_ == (reason if isinstance(reason, str) else reason[estimator])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_validation_data_turn_to_descent(estimator):
    X, y, _ = data(estimator)
    model = estimator(max_iter=20).fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    assert model.solver_ == "gd"
    assert np.isfinite(model.history_["validation_loss"]).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("names", [["coef_init"], ["coef_init", "intercept_init"]])
def test_a_start_turns_to_descent(estimator, names):
    X, y, start = data(estimator)
    model = estimator(max_iter=20).fit(X, y, **{name: start[name] for name in names})
    assert model.solver_ == "gd"


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("unsaid", NOT_SAID_OF_DESCENT)
def test_otherwise_the_solution_is_exact(estimator, unsaid):
    X, y, _ = data(estimator)
    model = estimator(**NOT_SAID_OF_DESCENT[unsaid]).fit(X, y)
    assert model.solver_ in EXACT[estimator]


@pytest.mark.parametrize(
    ("estimator", "solver"), [(e, solver) for e in ESTIMATORS for solver in EXACT[e]]
)
@pytest.mark.parametrize("said", SAID_OF_DESCENT)
def test_a_named_exact_solver_takes_no_notice_of_descent(estimator, solver, said):
    X, y, _ = data(estimator)
    plain = estimator(solver=solver).fit(X, y)
    model = estimator(solver=solver, **SAID_OF_DESCENT[said]).fit(X, y)
    assert model.solver_ == solver
    assert_array_equal(model.coef_, plain.coef_)
    assert_array_equal(model.intercept_, plain.intercept_)


@pytest.mark.parametrize(
    ("estimator", "load"),
    [(LinearRegression, load_diabetes), (LogisticRegression, load_breast_cancer)],
)
def test_a_grid_over_the_learning_rate_searches_over_descent(estimator, load):
    X, y = load(return_X_y=True)
    rates = [1e-6, 1e-3, 0.1]
    name = estimator.__name__.lower()
    pipeline = make_pipeline(StandardScaler(), estimator(max_iter=100))
    grid = GridSearchCV(pipeline, {f"{name}__learning_rate": rates}, cv=3).fit(X, y)
    scores = grid.cv_results_["mean_test_score"]
    assert len(np.unique(scores)) == 3
    assert grid.best_params_ == {f"{name}__learning_rate": 0.1}
    assert grid.best_estimator_[-1].solver_ == "gd"


def test_a_diverging_candidate_scores_finitely_and_loses():
    X, y = load_diabetes(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LinearRegression(max_iter=200))
    rates = [0.1, 10.0, 1e30]
    grid = GridSearchCV(pipeline, {"linearregression__learning_rate": rates}, cv=3).fit(X, y)
    scores = grid.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert scores[0] > 0.4 > scores[1]
    assert scores[0] > 0.4 > scores[2]
