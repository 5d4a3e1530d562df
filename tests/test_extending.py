"""What docs/extending.md adds from outside: by name, and where it does not fit."""

import re
from typing import ClassVar

import numpy as np
import pytest
from extended import (
    PAGE,
    Grouped,
    GroupedClasses,
    HuberRegression,
    Lion,
    PoissonRegression,
    Settled,
    table,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression as ScikitLogisticRegression

from gdregress import LinearRegression, LogisticRegression
from gdregress._ranges import SHARE
from gdregress.callback import Checkpoint, load_checkpoint
from gdregress.inspection import (
    Refusal,
    coefficient_table,
    learning_rate_bounds,
    optimality_gap,
    prediction_interval,
)
from gdregress.problem.class_losses import LogLoss
from gdregress.problem.penalty import ElasticNet
from gdregress.solvers import Adam
from gdregress.solvers.descent.rules import RULES, UpdateRule
from gdregress.solvers.descent.schedules import SCHEDULES, Schedule
from gdregress.solvers.descent.stopping import CRITERIA

# Rules and criteria by name


def test_a_rule_by_name_is_stored_and_goes_on(tmp_path, monkeypatch):
    X, y = table("huber")
    path = tmp_path / "fit.npz"
    own = LinearRegression(solver=Lion(beta1=0.5), max_iter=10, tol=0)
    with pytest.raises(TypeError, match="Checkpoint cannot store"):
        own.set_callbacks(Checkpoint(path)).fit(X, y)
    with pytest.raises(ValueError, match=r"'solver' of LinearRegression must be one of"):
        LinearRegression(solver="lion").fit(X, y)
    monkeypatch.setitem(RULES, "lion", Lion)
    whole = LinearRegression(solver="lion", max_iter=20, tol=0).fit(X, y)
    assert whole.solver_ == "lion"
    own.set_params(solver=Lion()).fit(X, y)
    stored = load_checkpoint(path).set_params(max_iter=20).fit(X, y)
    assert_array_equal(stored.coef_, whole.coef_)
    batches = LogisticRegression(solver="lion", batch_size=8, max_iter=30, tol=0, random_state=0)
    labels = (y > np.median(y)).astype(int)
    batches.fit(X, labels)
    assert batches.loss_ < 0.95 * np.log(2)


class Along(UpdateRule):
    """Plain descent, written anew: its steps go along the gradient, and it says so."""

    has_proximal_step = has_polyak_rate = True

    def update(self, gradient, state):
        return gradient, state


@pytest.mark.parametrize(
    "params",
    [{"batch_size": 8}, {"learning_rate": "line_search"}, {"alpha": 0.1, "l1_ratio": 1.0}],
    ids=str,
)
def test_a_rule_along_the_gradient_has_what_plain_descent_has(params):
    X, y = table("huber")
    params = {"max_iter": 5, "tol": 0, "random_state": 0, **params}
    own, plain = (LinearRegression(solver=rule, **params).fit(X, y) for rule in (Along(), "gd"))
    assert_array_equal(own.coef_, plain.coef_)


def test_a_rule_that_searches_is_named_where_one_is_needed(monkeypatch):
    X, y = table("poisson")
    asked = LinearRegression(solver="adam", learning_rate="line_search")
    unbounded = PoissonRegression(solver="adam")
    for model in (asked, unbounded):
        with pytest.raises(ValueError, match=r"solver='gd' or 'nesterov'[;,]"):
            model.fit(X, y)
    monkeypatch.setitem(RULES, "along", Along)
    for model in (asked, unbounded):
        with pytest.raises(ValueError, match=r"solver='gd', 'nesterov' or 'along'[;,]"):
            model.fit(X, y)


def test_the_steps_of_the_rule():
    X, y = table("huber")
    model = LinearRegression(solver=Lion(), learning_rate=0.01, max_iter=30, tol=0).fit(X, y)
    theta, mean = np.zeros(5), np.zeros(5)
    design = np.column_stack([X, np.ones(len(X))])
    for _ in range(30):
        gradient = design.T @ (design @ theta - y) / len(y)
        theta = theta - 0.01 * np.sign(0.9 * mean + 0.1 * gradient)
        mean = 0.99 * mean + 0.01 * gradient
    assert_allclose(np.append(model.coef_, model.intercept_), theta, atol=1e-12)


def test_a_schedule_by_name(monkeypatch):
    class Halved(Schedule):
        _ranges: ClassVar = {"share": SHARE}

        def __init__(self, share=0.5):
            self.share = share

        def __call__(self, t):
            return 1.0 if t < 3 else self.share

    X, y = table("huber")
    model = LinearRegression(solver="gd", schedule="halved", learning_rate=0.1, max_iter=6, tol=0)
    with pytest.raises(ValueError, match=r"'schedule' of LinearRegression must be one of"):
        model.fit(X, y)
    monkeypatch.setitem(SCHEDULES, "halved", Halved)
    rates = model.fit(X, y).history_["learning_rate"]
    assert_allclose(rates[1:], [0.1] * 3 + [0.05] * 3)
    with pytest.raises(ValueError, match=r"'constant'.*'halved', or a callable; got 'quartered'"):
        model.set_params(schedule="quartered").fit(X, y)
    with pytest.raises(ValueError, match=r"'share' of Halved must be a number in \[0, 1\); got 2"):
        model.set_params(schedule=Halved(share=2)).fit(X, y)


def test_a_criterion_by_name(monkeypatch):
    X, y = table("huber")
    model = LinearRegression(solver="gd", criterion="settled", tol=1e-3)
    with pytest.raises(ValueError, match=r"'criterion' of LinearRegression must be one of"):
        model.fit(X, y)
    monkeypatch.setitem(CRITERIA, "settled", Settled)
    with pytest.warns(match="criterion='settled'.*before it converged"):
        model.set_params(tol=0.01, learning_rate=1e-4).fit(X, y)
    assert model.stop_reason_ == Settled.reason
    assert model.stop_reason_.short == "settled"
    assert not model.converged_
    path = clone(model).set_params(max_iter=model.n_iter_, tol=0, store_path=True).fit(X, y)
    thetas = np.column_stack([path.history_.coef_path, path.history_.intercept_path])
    moves = np.linalg.norm(np.diff(thetas, axis=0), axis=1)
    met = moves <= 0.01 * np.linalg.norm(thetas[1:], axis=1)
    assert met[-1]
    assert not met[:-1].any()


# What does not fit together

X_SMALL, Y_SMALL = table("poisson", n_features=6)
MISMATCHES = [
    (Grouped(solver="adam"), r"'solver'='adam' of Grouped has no proximal step for GroupLasso"),
    (Grouped(solver=Adam()), r"'solver'=Adam\(\) of Grouped has no proximal step for GroupLasso"),
    (Grouped(solver="lstsq"), r"'lstsq' of Grouped.*GroupLasso; use solver='gd' or 'nesterov'\."),
    (
        GroupedClasses(solver="newton"),
        r"'newton' of GroupedClasses.*GroupLasso; use solver='gd' or 'nesterov'\.",
    ),
    (
        LinearRegression(solver="lstsq", alpha=1.0, l1_ratio=0.5),
        r"'lstsq' of LinearRegression has no proximal step for the L1 part of the penalty "
        r"\(alpha=1.0, l1_ratio=0.5\); use solver='gd' or 'nesterov', or l1_ratio=0\.",
    ),
    (
        PoissonRegression(solver="adam"),
        r"'auto' of PoissonRegression with solver='adam' needs a bound.*PoissonLoss declares none",
    ),
    (PoissonRegression(solver="gd", batch_size=8), "needs a bound.*PoissonLoss.*give a number"),
    (PoissonRegression(solver="gd", schedule="cosine"), "needs a bound.*PoissonLoss"),
    (
        type("Unsuited", (HuberRegression,), {"_exact_solvers": ("lstsq",)})(),
        r"needs a loss whose second derivative is constant, and that of HuberLoss is not; use "
        r"solver='gd', 'momentum'",
    ),
]


@pytest.mark.parametrize(("model", "sentence"), MISMATCHES, ids=lambda part: str(part)[:60])
def test_a_mismatch_is_one_sentence(model, sentence):
    y = (Y_SMALL > 1).astype(int) if isinstance(model, LogisticRegression) else Y_SMALL
    if isinstance(model, Grouped | GroupedClasses):
        model.set_params(alpha=0.1)
    with pytest.raises(ValueError, match=sentence) as caught:
        model.fit(X_SMALL, y)
    assert str(caught.value).count("\n") == 0
    assert not hasattr(model, "coef_")


@pytest.fixture
def rules():
    """The rules by name, which a test may change: they come back, in their order."""
    before = dict(RULES)
    yield RULES
    RULES.clear()
    RULES.update(before)


def test_the_one_solver_that_is_left(rules):
    for name in rules.keys() - {"nesterov", "adam"}:
        del rules[name]
    with pytest.raises(ValueError, match=r"for GroupLasso; use solver='nesterov'\.$"):
        Grouped(solver="lstsq", alpha=0.1).fit(X_SMALL, Y_SMALL)
    del rules["nesterov"]
    with pytest.raises(ValueError, match="use solver=an update rule"):
        Grouped(solver="lstsq", alpha=0.1).fit(X_SMALL, Y_SMALL)


@pytest.mark.parametrize(
    "reader", [optimality_gap, coefficient_table, learning_rate_bounds, prediction_interval]
)
def test_readers_say_whom_they_serve(reader):
    more = (X_SMALL,) if reader is prediction_interval else ()
    for model in (PoissonRegression(alpha=0.0), Grouped(alpha=0.1)):
        model.fit(X_SMALL, Y_SMALL)
        arguments = (model, X_SMALL, Y_SMALL, *more)
        with pytest.raises(Refusal, match=r"serves .*(PoissonLoss|GroupLasso)|needs a fit without"):
            reader(*arguments)


def test_the_losses_of_the_package_are_asked_no_more_than_others():
    """A classifier whose loss is derived anew is fitted as its own."""

    class Mine(LogLoss):
        pass

    class Classifier(LogisticRegression):
        def _loss(self):
            return Mine()

        def _penalty(self):
            return ElasticNet(self.alpha, self.l1_ratio)

    X, y = table("huber")
    labels = (y > np.median(y)).astype(int)
    ours = Classifier(alpha=0.01).fit(X, labels)
    theirs = ScikitLogisticRegression(C=1 / (0.01 * len(y)), tol=1e-12, max_iter=10_000)
    assert_allclose(ours.coef_, theirs.fit(X, labels).coef_, atol=1e-5)


def test_the_page_names_what_there_is():
    text = PAGE.read_text(encoding="utf-8")
    for module in re.findall(r"^\| `(gdregress[\w.]+)`", text, re.MULTILINE):
        __import__(module)
