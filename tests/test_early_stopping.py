"""Validation rows: recorded whenever given, stopping only when asked, keeping the best."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import descent_case, each_case, to_theta
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression


def split(case, seed=0):
    return train_test_split(
        np.arange(len(case.X)),
        test_size=0.3,
        random_state=seed,
        stratify=case.y if case.estimator is LogisticRegression else None,
    )


def unpenalised(case, rows, coef, intercept, weight=None):
    held_out = case._replace(X=case.X[rows], y=case.y[rows], Y=case.Y[rows])
    return held_out.textbook(sample_weight=weight).loss(to_theta(coef, intercept))


@each_case
@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_on_rows_of_ones_own_is_recorded_without_the_penalty(name, batch_size, weighted):
    case = descent_case(name)
    train, held_out = split(case)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(held_out)) if weighted else None
    model = case.estimator(
        solver="gd", alpha=0.5, batch_size=batch_size, max_iter=8, tol=0, store_path=True
    )
    plain = clone(model).set_params(random_state=0).fit(case.X[train], case.y[train])
    model.set_params(random_state=0).fit(
        case.X[train],
        case.y[train],
        X_val=case.X[held_out],
        y_val=case.y[held_out],
        sample_weight_val=weight,
    )
    history = model.history_
    for coef, intercept, loss in zip(
        history.coef_path, history.intercept_path, history["validation_loss"]
    ):
        assert_allclose(loss, unpenalised(case, held_out, coef, intercept, weight), rtol=1e-9)
    assert model.n_iter_ == 8  # watching is not stopping
    assert_array_equal(model.coef_, plain.coef_)


@each_case
def test_exact_solvers_record_it_too(name):
    case = descent_case(name)
    train, held_out = split(case)
    solver = "lstsq" if case.estimator is LinearRegression else "newton"
    model = case.estimator(solver=solver, alpha=0.1)
    model.fit(case.X[train], case.y[train], X_val=case.X[held_out], y_val=case.y[held_out])
    expected = unpenalised(case, held_out, model.coef_, model.intercept_)
    assert_allclose(model.history_["validation_loss"][-1], expected, rtol=1e-7)
    assert np.isfinite(model.history_["validation_loss"]).all()


def overfitting():
    """More columns than the rows can tell apart: the validation loss turns up again."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((160, 60))
    y = (X[:, 0] + 2 * rng.standard_normal(160) > 0).astype(int)
    return X[:80], y[:80], X[80:], y[80:]


@pytest.mark.parametrize("solver", ["gd", "nesterov", "momentum"])
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("patience", [1, 5])
def test_it_stops_by_its_patience_and_keeps_the_best_iterate(solver, batch_size, patience):
    X, y, X_val, y_val = overfitting()
    model = LogisticRegression(
        solver=solver,
        batch_size=batch_size,
        learning_rate={"gd": 0.1, "nesterov": 0.01, "momentum": 0.01}[solver],
        early_stopping=True,
        n_iter_no_change=patience,
        store_path=True,
        random_state=0,
    ).fit(X, y, X_val=X_val, y_val=y_val)
    losses = model.history_["validation_loss"]
    best = np.argmin(losses)
    assert model.stop_reason_ == "The validation loss has stopped improving."
    assert 0 < best < model.n_iter_
    running = np.minimum.accumulate(losses)
    idle = [k for k in range(1, len(losses)) if losses[k] >= running[k - 1]]
    assert idle[-patience:] == list(range(len(losses) - patience, len(losses)))
    assert_array_equal(model.coef_, model.history_.coef_path[best])
    assert_allclose(model.loss_, model.loss_curve_[best], rtol=1e-12)


@each_case
@pytest.mark.parametrize("fraction", [0.1, 0.4])
def test_rows_are_held_out_in_the_proportions_of_the_classes(name, fraction):
    """The loss at the start is that of no coefficients, on the rows that were held out."""
    case = descent_case(name)
    seen = []

    class Watch:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, *, X, y):
            seen.append(X)

        def on_fit_task_end(self, estimator, context):
            pass

    model = case.estimator(
        solver="gd", early_stopping=True, validation_fraction=fraction, max_iter=3, tol=0
    )
    model.set_params(random_state=1).set_callbacks(Watch()).fit(case.X, case.y)
    train = np.array([np.flatnonzero((row == case.X).all(axis=1))[0] for row in seen[0]])
    n_held_out = len(case.X) - len(train)
    assert abs(n_held_out - fraction * len(case.X)) <= 1
    if case.estimator is LogisticRegression:
        for label in np.unique(case.y):
            kept, all_rows = np.mean(case.y[train] == label), np.mean(case.y == label)
            assert abs(kept - all_rows) < 2 / len(train)


@each_case
def test_the_rows_held_out_are_fixed_by_random_state(name):
    case = descent_case(name)
    model = case.estimator(solver="gd", early_stopping=True, max_iter=5, tol=0, random_state=4)
    first = model.fit(case.X, case.y).coef_
    assert_array_equal(model.fit(case.X, case.y).coef_, first)
    other = model.set_params(random_state=5).fit(case.X, case.y).coef_
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_through_a_pipeline_within_a_search(n_jobs):
    """The pipeline standardises X_val by the rows of each fold: metadata routing carries it."""
    case = descent_case("sigmoid")
    X = case.X * 3 + 5
    train, held_out = split(case)
    with config_context(enable_metadata_routing=True):
        model = LogisticRegression(early_stopping=True, max_iter=30, tol=0)
        model.set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("model", model)], transform_input=["X_val"]
        )
        search = GridSearchCV(pipeline, {"model__learning_rate": [0.1, 1.0]}, cv=3, n_jobs=n_jobs)
        search.fit(X[train], case.y[train], X_val=X[held_out], y_val=case.y[held_out])
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        best = search.best_estimator_[-1]
        assert np.isfinite(best.history_["validation_loss"]).all()
        scaled = StandardScaler().fit(X[train])
        expected = LogisticRegression(
            early_stopping=True, max_iter=30, tol=0, learning_rate=best.learning_rate
        ).fit(
            scaled.transform(X[train]),
            case.y[train],
            X_val=scaled.transform(X[held_out]),
            y_val=case.y[held_out],
        )
        assert_array_equal(best.coef_, expected.coef_)
        assert_array_equal(best.history_["validation_loss"], expected.history_["validation_loss"])


# What is refused


@each_case
@pytest.mark.parametrize("early_stopping", [False, True])
def test_bad_validation_rows(name, early_stopping):
    case = descent_case(name)
    train, held_out = split(case)
    X_val, y_val = case.X[held_out], case.y[held_out]
    nan = X_val.copy()
    nan[0, 0] = np.nan
    bad = [
        ({"X_val": X_val}, "y_val is None"),
        ({"y_val": y_val}, "X_val is None"),
        ({"sample_weight_val": np.ones(len(X_val))}, "'sample_weight_val' without 'X_val'"),
        ({"X_val": X_val[:, :2], "y_val": y_val}, "X has 2 features"),
        ({"X_val": X_val[:-1], "y_val": y_val}, "inconsistent numbers of samples"),
        ({"X_val": nan, "y_val": y_val}, "contains NaN"),
        (
            {"X_val": X_val, "y_val": y_val, "sample_weight_val": np.zeros(len(X_val))},
            "at least one non-zero",
        ),
        (
            {"X_val": X_val, "y_val": y_val, "sample_weight_val": -np.ones(len(X_val))},
            "sample_weight_val",
        ),
    ]
    if case.estimator is LogisticRegression:
        bad.append(({"X_val": X_val, "y_val": y_val + 1}, "'y_val' .* labels that are not in y"))
    else:
        more = np.column_stack([case.Y[held_out], case.Y[held_out]])
        bad.append(({"X_val": X_val, "y_val": more}, "'y_val' .* as many targets as y"))
    model = case.estimator(solver="gd", max_iter=3, tol=0).fit(case.X, case.y)
    model.set_params(early_stopping=early_stopping)
    before = dict(vars(model))
    for arguments, match in bad:
        with pytest.raises(ValueError, match=match):
            model.fit(case.X[train], case.y[train], **arguments)
        assert vars(model) == before


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 2, float("nan")])
def test_bad_fractions(value):
    with pytest.raises(ValueError, match="'validation_fraction'"):
        LinearRegression(early_stopping=True, validation_fraction=value).fit([[0.0], [1.0]], [0, 1])


def test_too_few_rows_to_hold_some_out():
    with pytest.raises(
        ValueError, match=r"validation_fraction|test_size|train_size|least populated"
    ):
        LogisticRegression(early_stopping=True).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_a_bad_value_among_the_rows_held_out_is_found(value, make):
    case = descent_case("sigmoid")
    for row in range(0, len(case.X), 40):
        X = case.X.copy()
        X[row, 1] = value
        model = LogisticRegression(early_stopping=True, max_iter=3, tol=0, random_state=0)
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            model.fit(make(X), case.y)
        assert not hasattr(model, "coef_")
