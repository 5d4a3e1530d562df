"""A criterion from outside: one class, and one line where criteria are registered."""

import pickle

import numpy as np
import pytest
from problems import descent_case

from gdregress import LogisticRegression
from gdregress.history import Reason, StopReason
from gdregress.solvers.descent import stopping

CALM = Reason("The gradient fell to a tenth of the first.", "a tenth of the gradient")


class Calm(stopping.Criterion):
    """Stops where the gradient is a tenth of what it was after the first iteration."""

    name = "calm"
    is_chosen = False

    @classmethod
    def of(cls, objective, rule, settings, gap):
        return cls(settings, gap)

    def check(self, memory, seen):
        size = float(np.linalg.norm(seen.gradient))
        if memory is None:
            return None, {"first": size}
        return CALM if size < 0.1 * memory["first"] else None, memory


def test_a_criterion_from_outside(monkeypatch):
    case = descent_case("sigmoid")
    params = {"solver": "gd", "learning_rate": 0.5, "max_iter": 200, "alpha": 0.01}
    plain = LogisticRegression(tol=0, **params).fit(case.X, case.y)
    monkeypatch.setitem(stopping.CRITERIA, Calm.name, Calm)
    model = LogisticRegression(tol=0, **params).fit(case.X, case.y)
    norm = plain.history_["gradient_norm"]
    assert model.n_iter_ == np.flatnonzero(norm[1:] < 0.1 * norm[1])[0] + 1
    assert str(model.stop_reason_) == str(CALM)
    assert model.stop_reason_.short == "a tenth of the gradient"
    assert model.converged_ == (model.optimality_gap_ <= 1e-7 * plain.history_["loss"][0])
    saved = pickle.loads(pickle.dumps(model)).stop_reason_
    assert (saved, saved.short) == (CALM, CALM.short)


def test_reasons_are_packed_as_text():
    for reason in (*StopReason, CALM):
        again = Reason.unpacked(reason.packed())
        assert again == reason
        assert again.short == reason.short
    assert Reason.unpacked(StopReason.EARLY.packed()) is StopReason.EARLY


@pytest.mark.parametrize(
    ("solver", "learning_rate"), [("gd", 1e5), ("momentum", 1e5), ("adam", 1e3), ("rmsprop", 1e5)]
)
@pytest.mark.parametrize("alpha", [0.0, 1e-300])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_gradient_of_zero_far_out(solver, learning_rate, alpha):
    """Separable rows at a huge rate: every probability is 0 or 1, where the Hessian vanishes."""
    for seed in range(5):
        X = np.random.default_rng(seed).standard_normal((40, 3))
        y = X[:, 0] > 0.0
        model = LogisticRegression(solver=solver, learning_rate=learning_rate, alpha=alpha)
        model.fit(X, y)
        assert np.isfinite(model.coef_).all()
        assert model.loss_ >= 0.0
        if model.converged_:
            assert model.loss_ < 1e-6 * np.log(2.0)
