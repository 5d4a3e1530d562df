"""The estimators among scikit-learn's tools: pipelines, searches, routing, frames, threads."""

import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from problems import least_squares, overlapping_classes
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from gdregress import LinearRegression, LogisticRegression

MODELS = [
    LinearRegression(),
    LinearRegression(solver="lstsq", alpha=0.1),
    LinearRegression(solver="gd"),
    LogisticRegression(),
    LogisticRegression(solver="newton", alpha=0.1),
    LogisticRegression(solver="gd", alpha=0.1),
]
each_model = pytest.mark.parametrize("model", MODELS, ids=repr)
FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame}


def data(model):
    """X, y and weights of a problem for the model."""
    X, y = least_squares()[:2] if is_regressor(model) else overlapping_classes(2)
    return X, y, np.random.default_rng(0).uniform(0.5, 2, len(X))


def assert_same(model, expected):
    assert_array_equal(model.coef_, expected.coef_)
    assert_array_equal(model.intercept_, expected.intercept_)


def test_the_kinds_of_estimator():
    assert is_regressor(LinearRegression())
    assert is_classifier(LogisticRegression())


# Parameters


@each_model
def test_clone_get_params_and_set_params(model):
    X, y, _ = data(model)
    other = clone(model).fit(X, y)
    assert other.get_params() == model.get_params()  # fit writes no parameter
    copy = clone(other)
    assert not hasattr(copy, "coef_")
    assert copy.set_params(alpha=0.25, max_iter=7) is copy
    assert copy.get_params()["alpha"] == 0.25
    assert copy.max_iter == 7
    with pytest.raises(ValueError, match="momentum"):
        copy.set_params(momentum=0.9)


def test_repr_shows_what_differs_from_the_default():
    assert repr(LinearRegression()) == "LinearRegression()"
    assert repr(LogisticRegression(alpha=0.1, solver="gd")) == (
        "LogisticRegression(alpha=0.1, solver='gd')"
    )
    assert "LinearRegression" in LinearRegression()._repr_html_()


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_parameters_are_keywords_with_the_documented_defaults(estimator):
    defaults = {
        "solver": "auto",
        "alpha": 0.0,
        "l1_ratio": 0.0,
        "fit_intercept": True,
        "learning_rate": "auto",
        "schedule": "constant",
        "batch_size": None,
        "max_iter": 1000,
        "tol": 1e-7,
        "criterion": "gradient",
        "early_stopping": False,
        "validation_fraction": 0.1,
        "n_iter_no_change": 5,
        "min_delta": 0.0,
        "on_divergence": "warn",
        "warm_start": False,
        "store_path": False,
        "random_state": None,
    }
    if estimator is LogisticRegression:
        defaults["class_weight"] = None
    assert estimator().get_params() == defaults
    with pytest.raises(TypeError):
        estimator("gd")


# Copies


@each_model
def test_pickle_keeps_everything(model, tmp_path):
    X, y, weight = data(model)
    fitted = clone(model).fit(X, y, sample_weight=weight)
    joblib.dump(fitted, tmp_path / "model.joblib")
    for copy in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "model.joblib")):
        # All but what only a continued descent, or a warm start of Newton's method, could use.
        assert vars(copy).keys() == vars(fitted).keys() - {"_descent", "_theta"}
        assert_same(copy, fitted)
        assert_array_equal(copy.predict(X), fitted.predict(X))
        assert_array_equal(copy.loss_curve_, fitted.loss_curve_)
        assert str(copy.stop_reason_) == str(fitted.stop_reason_)
        assert copy.stop_reason_ == fitted.stop_reason_
        assert_same(copy.fit(X, y, sample_weight=weight), fitted)


@each_model
def test_a_second_fit_forgets_the_first(model):
    X, y, _ = data(model)
    fresh = clone(model).fit(X, y)
    other = clone(model).fit(X[:20, :2], y[20:40] if is_regressor(model) else np.arange(20) % 2)
    assert_same(other.fit(X, y), fresh)
    assert_array_equal(other.loss_curve_, fresh.loss_curve_)
    assert other.n_features_in_ == X.shape[1]


@each_model
def test_fit_leaves_its_arguments_alone(model):
    X, y, weight = (array.copy() for array in data(model))
    clone(model).fit(X, y, sample_weight=weight)
    for array, original in zip((X, y, weight), data(model)):
        assert_array_equal(array, original)


# Pipelines and searches


@pytest.mark.parametrize(
    ("model", "load", "n_jobs"),
    [
        (LinearRegression(), load_diabetes, 1),
        (LinearRegression(), load_diabetes, 2),
        (LogisticRegression(), load_breast_cancer, 1),
    ],
    ids=["linear", "linear in two processes", "logistic"],
)
def test_grid_search_in_a_pipeline(model, load, n_jobs):
    X, y = load(return_X_y=True)
    pipeline = Pipeline([("scale", StandardScaler()), ("model", model)])
    alphas = [1e-3, 1e-1, 1e3]
    grid = GridSearchCV(pipeline, {"model__alpha": alphas}, n_jobs=n_jobs, cv=3).fit(X, y)
    assert grid.best_params_["model__alpha"] < 1e3
    for alpha, score in zip(alphas, grid.cv_results_["mean_test_score"]):
        single = clone(pipeline).set_params(model__alpha=alpha)
        assert_allclose(score, cross_val_score(single, X, y, cv=3).mean(), rtol=1e-10)


def test_a_meta_estimator_per_target_equals_one_fit_of_all():
    X, y, *_ = least_squares(n_targets=3)
    together = LinearRegression(alpha=0.1).fit(X, y)
    apart = MultiOutputRegressor(LinearRegression(alpha=0.1)).fit(X, y)
    assert_allclose(apart.predict(X), together.predict(X), rtol=1e-10)


@each_model
def test_sample_weight_changes_score(model):
    X, y, weight = data(model)
    fitted = clone(model).fit(X, y)
    if is_regressor(model):
        residual = np.average((y - fitted.predict(X)) ** 2, weights=weight)
        expected = 1 - residual / np.average(
            (y - np.average(y, weights=weight)) ** 2, weights=weight
        )
    else:
        expected = np.average(fitted.predict(X) == y, weights=weight)
    assert_allclose(fitted.score(X, y, sample_weight=weight), expected, rtol=1e-10)


# Metadata routing


@each_model
def test_sample_weight_is_routed(model):
    X, y, weight = data(model)
    with config_context(enable_metadata_routing=True):
        for requested in (True, False):
            routed = clone(model).set_fit_request(sample_weight=requested)
            routed.set_score_request(sample_weight=True)
            grid = GridSearchCV(routed, {"alpha": [0.01]}, cv=3)
            grid.fit(X, y, sample_weight=weight)
            expected = clone(model).set_params(alpha=0.01)
            expected.fit(X, y, sample_weight=weight if requested else None)
            assert_same(grid.best_estimator_, expected)


@each_model
def test_sample_weight_that_nobody_asked_for_is_refused(model):
    X, y, weight = data(model)
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), clone(model))
        with pytest.raises(ValueError, match="sample_weight"):
            pipeline.fit(X, y, sample_weight=weight)


# Frames


@each_model
@pytest.mark.parametrize("frame", FRAMES)
def test_frames(model, frame):
    X, y, _ = data(model)
    names = [f"column {j}" for j in range(X.shape[1])]
    table = FRAMES[frame](dict(zip(names, X.T)))
    expected = clone(model).fit(X, y)
    fitted = clone(model).fit(table, y)
    assert_array_equal(fitted.feature_names_in_, names)
    assert fitted.n_features_in_ == len(names)
    assert_allclose(fitted.coef_, expected.coef_, rtol=1e-9)
    assert_allclose(fitted.predict(table), expected.predict(X), rtol=1e-9)
    assert not hasattr(expected, "feature_names_in_")


@each_model
def test_series_of_targets_and_weights(model):
    X, y, weight = data(model)
    expected = clone(model).fit(X, y, sample_weight=weight)
    for series in (pd.Series, pl.Series):
        fitted = clone(model).fit(X, series(y), sample_weight=series(weight))
        assert_allclose(fitted.coef_, expected.coef_, rtol=1e-9)


def test_labels_of_a_series_of_strings():
    X, y, weight = data(LogisticRegression())
    labels = np.where(y == 1, "yes", "no")
    expected = LogisticRegression().fit(X, labels, sample_weight=weight)
    for series in (pd.Series(labels), pd.Series(labels, dtype="category"), pl.Series(labels)):
        fitted = LogisticRegression().fit(X, series, sample_weight=weight)
        assert_array_equal(fitted.classes_, ["no", "yes"])
        assert_array_equal(fitted.predict(X), expected.predict(X))


@each_model
@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_set_output_of_a_pipeline_hands_the_names_on(model, frame):
    X, y, _ = data(model)
    names = [f"x{j}" for j in range(X.shape[1])]
    table = FRAMES[frame](dict(zip(names, X.T)))
    pipeline = make_pipeline(StandardScaler(), clone(model)).set_output(transform=frame)
    pipeline.fit(table, y)
    assert_array_equal(pipeline[-1].feature_names_in_, names)
    expected = clone(model).fit(StandardScaler().fit_transform(X), y)
    assert_allclose(
        pipeline.predict(table), expected.predict(StandardScaler().fit_transform(X)), rtol=1e-9
    )


# Threads


@pytest.mark.parametrize("limit", [1, 2])
def test_concurrent_fits_leave_the_blas_threads_as_they_were(limit):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 20))
    y = X @ rng.standard_normal(20) + rng.standard_normal(len(X))
    models = [LinearRegression(), LogisticRegression(), LinearRegression(solver="gd")] * 2
    targets = [y > 0 if is_classifier(model) else y for model in models]
    serial = [clone(model).fit(X, target) for model, target in zip(models, targets)]
    with threadpool_limits(limit):
        before = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
        parallel = Parallel(n_jobs=4, backend="threading")(
            delayed(clone(model).fit)(X, target) for model, target in zip(models, targets)
        )
        after = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    assert after == before
    for fitted, expected in zip(parallel, serial):
        assert_same(fitted, expected)


def test_a_failing_fit_leaves_the_blas_threads_as_they_were():
    X = np.random.default_rng(0).standard_normal((50_000, 10))
    X[-1, -1] = np.nan
    with threadpool_limits(2):
        before = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
        for model in MODELS:
            with pytest.raises(ValueError, match="NaN"):
                clone(model).fit(X, np.arange(len(X)) % 2)
        assert [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()] == before
