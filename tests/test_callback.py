"""scikit-learn's callback protocol: one task per iteration, in fits, pipelines and searches."""

import re
import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import descent_case
from recording import Patient, Recorder
from sklearn.base import clone
from sklearn.callback import (
    ProgressBar,
    ScoringMonitor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as ScikitLogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress.callback import TimeLimit

MODELS = [
    LinearRegression(),
    LinearRegression(solver="lstsq"),
    LinearRegression(solver="gd", max_iter=5, tol=0),
    LinearRegression(solver="nesterov", batch_size=50, max_iter=5, tol=0, random_state=0),
    LogisticRegression(alpha=0.1),
    LogisticRegression(solver="adam", max_iter=5, tol=0),
    LogisticRegression(solver="gd", batch_size=50, max_iter=5, tol=0, random_state=0),
]
each_model = pytest.mark.parametrize("model", MODELS, ids=repr)


def data(model, n_classes=2):
    name = "squares" if isinstance(model, LinearRegression) else "sigmoid"
    case = descent_case(name)
    return case.X, case.y if name == "squares" else np.array(["no", "yes"])[case.y]


@each_model
def test_one_task_per_iteration(model):
    X, y = data(model)
    recorder = Recorder()
    fitted = clone(model).set_callbacks(recorder).fit(X, y)
    expected = [("begin", "fit", 0)]
    for number in range(fitted.n_iter_):
        expected += [("begin", "iteration", number), ("end", "iteration", number)]
    assert recorder.tasks == [*expected, ("end", "fit", 0)]
    assert (recorder.set_up, recorder.torn_down) == (1, 1)
    assert_array_equal(fitted.coef_, clone(model).fit(X, y).coef_)  # watching changes nothing


@each_model
def test_the_estimator_of_a_hook_predicts_and_scores(model):
    X, y = data(model)
    recorder = Recorder()
    fitted = clone(model).set_callbacks(recorder).fit(X, y)
    inside = [e for e in recorder.estimators if e is not None]
    assert len(inside) == 2 * fitted.n_iter_ + 1
    for estimator in inside:
        assert type(estimator) is type(model)
        assert np.isfinite(estimator.score(X, y))
        assert estimator.predict(X).shape == y.shape
    assert_array_equal(inside[0].coef_, np.zeros_like(fitted.coef_))  # where it starts
    assert_array_equal(inside[-1].predict(X), fitted.predict(X))
    assert_array_equal(inside[-2].coef_, fitted.coef_)


@each_model
def test_the_estimator_of_a_hook_has_the_record_so_far(model):
    X, y = data(model)
    recorder = Recorder()
    fitted = clone(model).set_callbacks(recorder).fit(X, y)
    inside = [e for e in recorder.estimators if e is not None]
    for number in range(fitted.n_iter_):
        begun, ended = inside[2 * number : 2 * number + 2]
        assert ended.n_iter_ == number + 1
        assert ended.loss_ == fitted.loss_curve_[number + 1]
        for estimator, n_rows in ((begun, number + 1), (ended, number + 2)):
            exact = model.get_params()["solver"] in {"auto", "lstsq"} and len(inside) == 3
            n_rows = 0 if exact and estimator is begun else n_rows  # nothing is known before
            assert_array_equal(estimator.loss_curve_, fitted.loss_curve_[:n_rows])
            assert_array_equal(estimator.history_["seconds"], fitted.history_["seconds"][:n_rows])
    assert inside[-1].history_ == fitted.history_
    assert inside[-1].loss_ == fitted.loss_


def test_the_estimator_of_a_hook_has_the_path_so_far():
    case = descent_case("softmax")
    recorder = Recorder()
    model = LogisticRegression(solver="gd", max_iter=3, tol=0, store_path=True)
    model.set_callbacks(recorder).fit(case.X, case.y)
    paths = [e.history_.coef_path for e in recorder.estimators[1:-1:2]]
    for n_rows, path in enumerate(paths, start=1):
        assert_array_equal(path, model.history_.coef_path[:n_rows])


def test_writing_into_the_estimator_of_a_hook_changes_nothing():
    case = descent_case("sigmoid")

    class Vandal(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            fitted_estimator.coef_[:] = np.nan
            fitted_estimator.intercept_ *= np.nan

    for solver in ("gd", "nesterov", "momentum"):
        model = LogisticRegression(solver=solver, max_iter=5, tol=0)
        expected = clone(model).fit(case.X, case.y)
        fitted = model.set_callbacks(Vandal()).fit(case.X, case.y)
        assert_array_equal(fitted.coef_, expected.coef_)


def test_hooks_get_the_data_as_the_user_gave_it():
    case = descent_case("sigmoid")
    labels = [["no", "yes"][k] for k in case.y]
    weight = np.ones(len(case.X))
    recorder = Recorder()
    model = LogisticRegression(solver="gd", max_iter=2, tol=0).set_callbacks(recorder)
    model.fit(case.X, labels, sample_weight=weight)
    for X, y, metadata in recorder.given:
        assert_array_equal(X, case.X)
        assert y is labels
        assert_array_equal(metadata["sample_weight"], weight)


@pytest.mark.parametrize("batch_size", [None, 64])
def test_a_request_to_stop_is_honoured(batch_size):
    case = descent_case("sigmoid")
    params = {"solver": "gd", "tol": 0, "batch_size": batch_size, "random_state": 0}
    model = LogisticRegression(max_iter=100, **params).set_callbacks(Recorder(stop_after=7))
    model.fit(case.X, case.y)
    assert model.n_iter_ == 7
    assert model.stop_reason_ == "A callback asked to stop."
    assert model.converged_ is False
    expected = LogisticRegression(max_iter=7, **params).fit(case.X, case.y)
    assert_array_equal(model.coef_, expected.coef_)


def test_hooks_see_the_best_iterate_of_a_diverging_fit():
    case = descent_case("squares")
    monitor = ScoringMonitor(scoring="r2")  # refuses NaN
    model = LinearRegression(learning_rate=1e200).set_callbacks(monitor)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(case.X, case.y)
    assert np.isfinite([row["r2"] for row in monitor.get_logs().data]).all()


def test_an_error_in_a_hook_leaves_the_estimator_as_it_was():
    case = descent_case("sigmoid")
    model = LogisticRegression(solver="gd", max_iter=9, tol=0).fit(case.X, case.y)
    before = {name: value for name, value in vars(model).items() if name.endswith("_")}
    recorder = Recorder(stop_after=3, error=RuntimeError("of a callback"))
    with pytest.raises(RuntimeError, match="of a callback"):
        model.set_callbacks(recorder).fit(case.X[:, :4], case.y)
    assert recorder.torn_down == 1
    after = {name: value for name, value in vars(model).items() if name.endswith("_")}
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    assert model.predict(case.X).shape == case.y.shape


# scikit-learn's own callbacks


@each_model
def test_scores_are_monitored(model):
    X, y = data(model)
    scoring = "r2" if isinstance(model, LinearRegression) else "neg_log_loss"
    monitor = ScoringMonitor(scoring=scoring)
    fitted = clone(model).set_callbacks(monitor).fit(X, y)
    rows = [r for r in monitor.get_logs().data if r["task_name"] == "iteration"]
    assert [row["task_id"] for row in rows] == list(range(fitted.n_iter_))
    if isinstance(model, LinearRegression):
        assert_allclose(rows[-1]["r2"], fitted.score(X, y))
    else:
        proba = fitted.predict_proba(X)[np.arange(len(y)), (y == "yes").astype(int)]
        assert_allclose(rows[-1]["neg_log_loss"], np.log(proba).mean(), rtol=1e-12)


@each_model
def test_progress_is_shown(model, capsys):
    pytest.importorskip("rich")
    X, y = data(model)
    clone(model).set_callbacks(ProgressBar()).fit(X, y)
    shown = capsys.readouterr().out
    assert type(model).__name__ in shown
    assert re.search(r"\d+%", shown)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("model", [LinearRegression(), LogisticRegression()], ids=repr)
@pytest.mark.parametrize("exact", [True, False])
def test_within_a_search_over_a_pipeline(model, exact, n_jobs, capsys):
    pytest.importorskip("rich")
    X, y = data(model)
    monitor = ScoringMonitor(scoring="r2" if isinstance(model, LinearRegression) else "accuracy")
    model = clone(model).set_params(max_iter=4, tol=0, alpha=0.1).set_callbacks(monitor)
    pipeline = Pipeline([("scale", StandardScaler()), ("model", model)])
    name, values = ("alpha", [0.1, 1.0]) if exact else ("learning_rate", [0.01, 0.1])
    search = GridSearchCV(pipeline, {f"model__{name}": values}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    rows = [r for r in monitor.get_logs().data if r["task_name"] == "iteration"]
    fits = {row["parent_task_id_path"] for row in rows}
    assert len(fits) == 2 * 2 + 1  # candidates x folds, and the refit
    if not exact:
        assert len(rows) == 4 * len(fits)
    assert "GridSearchCV" in capsys.readouterr().out


# The time limit


def test_the_time_limit_ends_a_fit():
    case = descent_case("sigmoid")
    model = LogisticRegression(solver="gd", max_iter=10**9, tol=0).set_callbacks(TimeLimit(0.2))
    began = time.monotonic()
    model.fit(case.X, case.y)
    assert time.monotonic() - began >= 0.2
    assert model.n_iter_ > 1
    assert model.stop_reason_ == "A callback asked to stop."
    assert model.history_["seconds"][-1] <= time.monotonic() - began
    model.fit(case.X, case.y)  # with a clock of its own
    assert model.n_iter_ > 1


def test_a_time_limit_long_past_leaves_one_iteration():
    case = descent_case("sigmoid")
    model = LogisticRegression(solver="gd", max_iter=10**9, tol=0).set_callbacks(TimeLimit(1e-9))
    assert model.fit(case.X, case.y).n_iter_ == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_time_limit_of_a_search_is_that_of_all_its_fits(n_jobs):
    case = descent_case("sigmoid")
    model = LogisticRegression(solver="gd", max_iter=10**9, tol=0)
    pipeline = Pipeline([("scale", StandardScaler()), ("model", model)])
    search = GridSearchCV(pipeline, {"model__learning_rate": [0.1, 1.0]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(TimeLimit(0.5)).fit(case.X, case.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_[-1].stop_reason_ == "A callback asked to stop."


def test_the_time_limit_serves_other_estimators():
    began = time.monotonic()
    assert Patient().set_callbacks(TimeLimit(0.2)).fit().n_iter_ > 1
    assert time.monotonic() - began >= 0.2
    case = descent_case("softmax")
    theirs = ScikitLogisticRegression()
    free = clone(theirs).fit(case.X, case.y)
    assert_allclose(theirs.set_callbacks(TimeLimit(60)).fit(case.X, case.y).coef_, free.coef_)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_bad_time_limit(seconds):
    with pytest.raises(ValueError, match="'seconds' of TimeLimit"):
        TimeLimit(seconds)


@pytest.mark.parametrize("seconds", ["1", None, True])
def test_a_time_limit_of_another_type(seconds):
    with pytest.raises(TypeError, match="'seconds' of TimeLimit"):
        TimeLimit(seconds)
