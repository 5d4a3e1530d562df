"""Continuing: warm starts equal longer fits, and an interruption loses nothing."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from problems import descent_case
from recording import Recorder
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from gdregress import LinearRegression, LogisticRegression
from gdregress.solvers import Momentum, Nesterov

SETTINGS = {
    "gd": {"solver": "gd"},
    "momentum": {"solver": "momentum"},
    "nesterov": {"solver": "nesterov"},
    "FISTA": {"solver": "nesterov", "alpha": 0.01, "l1_ratio": 1.0},
    "adam": {"solver": "adam"},
    "line search": {"learning_rate": "line_search"},
    "average": {"solver": Momentum(average=True)},
    "gd in batches": {"batch_size": 32},
    "adagrad in batches": {"solver": "adagrad", "batch_size": 32},
    "nesterov in batches": {"solver": "nesterov", "batch_size": 32},
    "schedule in batches": {"batch_size": 32, "schedule": "inverse_scaling"},
    "path": {"solver": "gd", "store_path": True},
}


@pytest.mark.parametrize("case_name", ["squares", "three targets", "sigmoid", "softmax"])
@pytest.mark.parametrize("name", SETTINGS)
def test_ten_and_ten_iterations_are_twenty(case_name, name):
    case = descent_case(case_name)
    params = {"alpha": 0.01, "tol": 0, "random_state": 0, **SETTINGS[name]}
    whole = case.estimator(max_iter=20, **params).fit(case.X, case.y)
    parts = case.estimator(max_iter=10, warm_start=True, **params).fit(case.X, case.y)
    assert parts.n_iter_ == 10
    first = parts.loss_curve_.copy()
    parts.fit(case.X, case.y)
    assert parts.n_iter_ == 20
    for attribute in ("coef_", "intercept_", "loss_curve_", "loss_"):
        assert_array_equal(getattr(parts, attribute), getattr(whole, attribute))
    for column in ("iteration", "step", "gradient_norm", "update_norm", "learning_rate"):
        assert_array_equal(parts.history_[column], whole.history_[column])
    assert np.all(np.diff(parts.history_["seconds"]) >= 0)
    assert_array_equal(parts.loss_curve_[:11], first)
    if params.get("store_path"):
        assert_array_equal(parts.history_.coef_path, whole.history_.coef_path)


def test_without_it_a_fit_starts_anew():
    case = descent_case("sigmoid")
    model = case.estimator(solver="adam", max_iter=5, tol=0)
    first = model.fit(case.X, case.y).coef_
    assert_array_equal(model.fit(case.X, case.y).coef_, first)
    assert model.n_iter_ == 5


def test_a_start_of_ones_own_starts_anew():
    case = descent_case("sigmoid")
    model = case.estimator(solver="gd", max_iter=5, tol=0, warm_start=True).fit(case.X, case.y)
    model.fit(case.X, case.y, coef_init=np.ones((1, 8)))
    assert model.n_iter_ == 5
    expected = clone(model).fit(case.X, case.y, coef_init=np.ones((1, 8)))
    assert_array_equal(model.coef_, expected.coef_)


def test_the_rate_and_the_rows_may_change():
    """Fewer rows of the same kind, at a tenth of the rate: the usual end of a long descent."""
    case = descent_case("squares")
    model = LinearRegression(learning_rate=0.1, max_iter=10, tol=0, warm_start=True)
    model.fit(case.X, case.y)
    start = {"coef_init": model.coef_, "intercept_init": model.intercept_}
    model.set_params(learning_rate=0.01).fit(case.X[:100], case.y[:100])
    expected = LinearRegression(learning_rate=0.01, max_iter=10, tol=0)
    expected.fit(case.X[:100], case.y[:100], **start)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-12)
    assert_array_equal(model.history_["learning_rate"][1:], [0.1] * 10 + [0.01] * 10)


def test_from_batches_to_full_batches():
    """The growing sequence belongs to full batches, the fixed one to mini-batches."""
    case = descent_case("sigmoid")
    model = LogisticRegression(solver=Nesterov(), batch_size=32, max_iter=5, tol=0, alpha=0.1)
    model.set_params(warm_start=True, random_state=0).fit(case.X, case.y)
    last = model.loss_
    start = {"coef_init": model.coef_, "intercept_init": model.intercept_}
    model.set_params(batch_size=None, max_iter=30).fit(case.X, case.y)
    expected = LogisticRegression(solver=Nesterov(), max_iter=30, tol=0, alpha=0.1)
    expected.fit(case.X, case.y, **start)
    assert_array_equal(model.coef_, expected.coef_)
    assert model.loss_ < last


def test_after_a_divergence_it_goes_on_from_the_best_iterate():
    case = descent_case("squares")
    model = LinearRegression(learning_rate=1e3, warm_start=True)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(case.X, case.y)
    best = model.loss_
    model.set_params(learning_rate="auto", max_iter=50, tol=0).fit(case.X, case.y)
    assert model.loss_ < best
    assert np.isfinite(model.coef_).all()


def test_exact_solvers_take_no_notice():
    case = descent_case("squares")
    model = LinearRegression(warm_start=True).fit(case.X, case.y).fit(case.X[:, :4], case.y)
    assert_array_equal(model.coef_, LinearRegression().fit(case.X[:, :4], case.y).coef_)


# What is refused


@pytest.mark.parametrize(
    ("change", "columns", "labels", "match"),
    [
        ({}, 4, None, r"4 features.*8 features"),
        ({}, 8, 3, r"\['a', 'b'\].*\['a', 'b', 'c'\]"),
        ({"solver": "adam"}, 8, None, r"GradientDescent\(\).*Adam\(\)"),
        ({"solver": Momentum()}, 8, None, r"GradientDescent\(\).*Momentum\(\)"),
    ],
)
def test_other_features_classes_or_rules(change, columns, labels, match):
    case = descent_case("sigmoid")
    y = np.array(["a", "b"])[case.y]
    model = LogisticRegression(solver="gd", max_iter=5, tol=0, warm_start=True).fit(case.X, y)
    before = dict(vars(model))
    if labels == 3:
        y = np.where(case.X[:, 0] > 1, "c", y)
    with pytest.raises(ValueError, match=match):
        model.set_params(**change).fit(case.X[:, :columns], y)
    model.set_params(solver="gd")
    after = dict(vars(model))
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before if name.endswith("_"))
    assert model.fit(case.X, np.array(["a", "b"])[case.y]).n_iter_ == 10  # still able to go on


def test_other_targets():
    case = descent_case("three targets")
    model = LinearRegression(solver="gd", max_iter=5, tol=0, warm_start=True).fit(case.X, case.y)
    with pytest.raises(ValueError, match=r"targets.*3.*2"):
        model.fit(case.X, case.y[:, :2])


def test_other_parameters_of_the_rule():
    case = descent_case("squares")
    model = LinearRegression(solver=Momentum(beta=0.5), max_iter=5, tol=0, warm_start=True)
    model.fit(case.X, case.y)
    with pytest.raises(ValueError, match=r"beta=0\.5.*beta=0\.6"):
        model.set_params(solver=Momentum(beta=0.6)).fit(case.X, case.y)


# Interruptions


@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("solver", ["gd", "adam"])
def test_ctrl_c_keeps_the_best_iterate(solver, batch_size):
    case = descent_case("sigmoid")
    params = {"solver": solver, "batch_size": batch_size, "tol": 0, "random_state": 0}
    model = LogisticRegression(max_iter=50, warm_start=True, **params)
    model.set_callbacks(Recorder(stop_after=12, error=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        model.fit(case.X, case.y)
    assert model.n_iter_ == 12
    assert model.stop_reason_ == "The fit was interrupted; the best iterate was kept."
    assert model.converged_ is False
    assert model.loss_ == model.loss_curve_.min()
    assert model.predict(case.X).shape == case.y.shape

    model.set_callbacks().set_params(max_iter=8).fit(case.X, case.y)  # as if nothing had happened
    expected = LogisticRegression(max_iter=20, **params).fit(case.X, case.y)
    assert_array_equal(model.coef_, expected.coef_)
    assert_array_equal(model.loss_curve_, expected.loss_curve_)


def test_ctrl_c_within_an_epoch_takes_the_epoch_back():
    case = descent_case("sigmoid")

    class Schedule:
        def __init__(self):
            self.calls, self.last = 0, 10**9

        def __call__(self, t):
            self.calls += 1
            if self.calls == self.last:
                raise KeyboardInterrupt
            return 1.0

    schedule = Schedule()
    params = {"batch_size": 32, "tol": 0, "random_state": 0}
    model = LogisticRegression(schedule=schedule, max_iter=9, warm_start=True, **params)
    schedule.last = 3 * 18 + 7  # in the fourth epoch of 18 batches
    with pytest.raises(KeyboardInterrupt):
        model.fit(case.X, case.y)
    assert model.n_iter_ == 3
    assert len(model.loss_curve_) == 4
    model.set_params(max_iter=6).fit(case.X, case.y)
    expected = LogisticRegression(max_iter=9, **params).fit(case.X, case.y)
    assert_array_equal(model.coef_, expected.coef_)
    assert_array_equal(model.loss_curve_, expected.loss_curve_)


def test_ctrl_c_before_the_first_iteration_leaves_the_estimator_as_it_was():
    case = descent_case("sigmoid")

    def schedule(t):
        raise KeyboardInterrupt

    model = LogisticRegression(schedule=schedule)
    with pytest.raises(KeyboardInterrupt):
        model.fit(case.X, case.y)
    assert not hasattr(model, "coef_")
    model.set_params(schedule="constant", max_iter=3, tol=0).fit(case.X, case.y)
    before = dict(vars(model))
    with pytest.raises(KeyboardInterrupt):
        model.set_params(schedule=schedule).fit(case.X[:, :3], case.y)
    model.set_params(schedule="constant")
    assert vars(model) == before


SCRIPT = """
import numpy as np, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from gdregress import LogisticRegression

class Tell:
    def setup(self, estimator, context): pass
    def teardown(self, estimator, context): pass
    def on_fit_task_begin(self, estimator, context): pass
    def on_fit_task_end(self, estimator, context):
        if context.task_name == "iteration" and context.task_id == 20:
            print("running", flush=True)

X, y = load_breast_cancer(return_X_y=True)
model = LogisticRegression(solver="gd", batch_size=16, max_iter=10**9, tol=0, random_state=0)
model.set_callbacks(Tell())
try:
    model.fit(StandardScaler().fit_transform(X), y)
except KeyboardInterrupt:
    assert model.n_iter_ > 20
    assert model.loss_ == model.loss_curve_.min()
    print("kept", model.n_iter_ == len(model.loss_curve_) - 1, flush=True)
    raise
"""


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_a_real_signal():
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "running\n"
    child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=120)
    assert out == "kept True\n", error
    assert "KeyboardInterrupt" in error
    assert child.returncode != 0


def test_newton_starts_from_the_last_solution():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    y = X[:, 0] + rng.standard_normal(200) > 0
    model = LogisticRegression(solver="newton", warm_start=True).fit(X, y)
    first, coef = model.n_iter_, model.coef_
    assert model.fit(X, y).n_iter_ == 1 < first
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-6)
    with pytest.raises(ValueError, match="fitted on 3 features; X has 2"):
        model.fit(X[:, :2], y)
    with pytest.raises(ValueError, match="fitted on the classes"):
        model.fit(X, np.where(y, "yes", "no"))
    assert model.n_features_in_ == 3
