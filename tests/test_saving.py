"""What a fitted estimator saves: enough to go on where somebody may, and no more."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import descent_case
from recording import Recorder
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression as ScikitLogisticRegression

from gdregress import LinearRegression, LogisticRegression
from gdregress._saving import state_of
from gdregress.solvers import Momentum


def through_pickle(model):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


def through_skops(model):
    skops = pytest.importorskip("skops.io")
    data = skops.dumps(model)
    kind = f"{type(model).__module__}.{type(model).__name__}"
    assert set(skops.get_untrusted_types(data=data)) <= {kind, *TRUSTED_TO_GO_ON}
    return skops.loads(data, trusted=skops.get_untrusted_types(data=data))


# What skops has to be told to trust beside the estimator, where a descent may go on.
TRUSTED_TO_GO_ON = {
    "gdregress.solvers.descent.rules.GradientDescent",
    "gdregress.solvers.descent.rules.Momentum",
}


def assert_close(actual, expected):
    """To some last digits: where an array lies in memory may change those of a product."""
    assert_allclose(actual, expected, rtol=1e-12)


each_way = pytest.mark.parametrize(
    "again", [through_pickle, through_joblib, through_skops, copy.deepcopy]
)

MODELS = {
    "squares": ("squares", {}),
    "three targets, gd": ("three targets", {"solver": "gd", "store_path": True}),
    "squares, mini-batches": ("squares", {"batch_size": 64, "random_state": 0}),
    "sigmoid": ("sigmoid", {"alpha": 0.01}),
    "softmax, momentum": ("softmax", {"solver": "momentum", "alpha": 0.01}),
    "softmax, early stopping": ("softmax", {"early_stopping": True, "random_state": 0}),
}


def fitted(name, **params):
    case_name, own = MODELS[name]
    case = descent_case(case_name)
    model = case.estimator(**{"max_iter": 10, "tol": 0, **own, **params})
    return case, model.fit(case.X, case.y)


@each_way
@pytest.mark.parametrize("name", MODELS)
def test_a_saved_fit_is_the_same_fit(name, again):
    case, model = fitted(name)
    other = again(model)
    assert other.history_ == model.history_
    assert other.stop_reason_ is model.stop_reason_
    for attribute in ("coef_", "intercept_", "n_iter_", "loss_", "loss_curve_", "converged_"):
        assert_array_equal(getattr(other, attribute), getattr(model, attribute))
    assert_array_equal(other.predict(case.X), model.predict(case.X))
    assert other.coef_.dtype == model.coef_.dtype
    if model.store_path:
        assert_array_equal(other.history_.coef_path, model.history_.coef_path)
    for attribute in ("coef_", "loss_"):  # a fit anew
        expected = clone(model).fit(case.X, case.y)
        assert_array_equal(
            getattr(other.fit(case.X, case.y), attribute), getattr(expected, attribute)
        )


@each_way
@pytest.mark.parametrize("name", ["squares", "softmax, momentum"])
def test_what_is_saved_to_go_on_goes_on(name, again):
    case, model = fitted(name, warm_start=True, solver=Momentum(beta=0.5), max_iter=7)
    other = again(model)
    expected = model.fit(case.X, case.y)
    other.fit(case.X, case.y)
    assert other.n_iter_ == 14
    assert_close(other.coef_, expected.coef_)
    assert_close(other.loss_curve_, expected.loss_curve_)
    kept = state_of(other)["descent"]["state"]["history"]  # one record, saved once
    assert_array_equal(kept["rows"], other.history_.packed()["rows"])


@each_way
def test_a_stream_goes_on(again):
    case = descent_case("sigmoid")
    model = LogisticRegression(solver=Momentum(beta=0.5), learning_rate=0.1)
    model.partial_fit(case.X[:50], case.y[:50], classes=[0, 1])
    other = again(model)
    for stream in (model, other):
        stream.partial_fit(case.X[50:], case.y[50:])
    assert_close(other.coef_, model.coef_)
    assert_close(other.loss_curve_, model.loss_curve_)
    rows = LinearRegression().partial_fit(case.X[:50], case.X[:50, 0])  # R factor
    other = through_pickle(rows).partial_fit(case.X[50:], case.X[50:, 0])
    assert_close(other.coef_, rows.partial_fit(case.X[50:], case.X[50:, 0]).coef_)


def test_an_interrupted_fit_goes_on():
    case = descent_case("sigmoid")
    model = LogisticRegression(solver="adam", max_iter=20, tol=0)
    expected = clone(model).fit(case.X, case.y)
    recorder = Recorder(stop_after=8, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(recorder).fit(case.X, case.y)
    other = through_pickle(model.set_callbacks()).set_params(warm_start=True, max_iter=12)
    assert_close(other.fit(case.X, case.y).coef_, expected.coef_)


@each_way
def test_a_finished_fit_does_not_carry_what_only_its_descent_needed(again):
    case, model = fitted("softmax, momentum")
    other = again(model)
    assert state_of(model) is not None  # it may still go on here
    assert state_of(other) is None
    before = dict(vars(other))
    with pytest.raises(ValueError, match=r"warm_start=True.*saved or copied.*coef_init"):
        other.set_params(warm_start=True).fit(case.X, case.y)
    with pytest.raises(AttributeError) as caught:
        other.set_params(warm_start=False).partial_fit(case.X, case.y)
    assert "saved or copied without the state of its descent" in str(caught.value.__cause__)
    assert vars(other).keys() == before.keys()
    begun = clone(other).fit(case.X, case.y, coef_init=model.coef_, intercept_init=model.intercept_)
    assert begun.loss_ < model.loss_  # the way out that the error names


def test_newton_starts_from_a_saved_solution():
    case = descent_case("softmax")
    model = LogisticRegression(alpha=0.01).fit(case.X, case.y)
    other = through_pickle(model)
    assert "_theta" not in vars(other)
    assert other.set_params(warm_start=True).fit(case.X, case.y).n_iter_ < model.n_iter_
    assert other.history_["loss"][0] == pytest.approx(model.loss_, rel=1e-12)
    binary = descent_case("sigmoid")
    model = LogisticRegression(alpha=0.01).fit(binary.X, binary.y)
    other = through_pickle(model).set_params(warm_start=True).fit(binary.X, binary.y)
    assert other.history_["loss"][0] == pytest.approx(model.loss_, rel=1e-12)


def thirty_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 30))
    return X, (X @ rng.normal(size=30) + rng.normal(size=500) > 0).astype(int)


@pytest.mark.parametrize("solver", ["newton", "gd", "adam"])
def test_a_model_file_is_not_much_larger_than_scikit_learns(solver):
    X, y = thirty_columns()
    mine = LogisticRegression(solver=solver, max_iter=10, tol=0).fit(X, y)
    theirs = ScikitLogisticRegression(max_iter=10, tol=1.0).fit(X, y)
    assert len(pickle.dumps(mine)) <= 2 * len(pickle.dumps(theirs))
    skops = pytest.importorskip("skops.io")
    assert len(skops.dumps(mine)) <= 2 * len(skops.dumps(theirs))


def test_a_long_record_takes_what_its_numbers_take():
    X, y = thirty_columns()
    model = LinearRegression(solver="gd", max_iter=10_000, tol=0).fit(X, y)
    bytes_of_numbers = 10_001 * 8 * 8
    assert len(pickle.dumps(model)) < bytes_of_numbers + 2000
    skops = pytest.importorskip("skops.io")
    assert len(skops.dumps(model)) < bytes_of_numbers + 20_000
