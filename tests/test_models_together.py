"""Many models in one descent: each ends as it would have alone, and a pass over X serves all."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import DESCENT_CASES, descent_case

from gdregress.history import StopReason
from gdregress.problem.class_losses import LogLoss, SoftmaxLoss
from gdregress.problem.losses import SquaredLoss
from gdregress.problem.moments import CentredMoments
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.problem.quadratic import QuadraticObjective
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers import Adam, GradientDescent, Momentum, Nesterov
from gdregress.solvers.descent.loop import descend
from gdregress.solvers.descent.schedules import Constant, Step
from gdregress.solvers.descent.settings import DescentSettings
from gdregress.solvers.descent.state import DescentState
from gdregress.solvers.gap import OptimalityGap

each_case = pytest.mark.parametrize("name", DESCENT_CASES)


def objective_of(name, **penalty):
    """The objective of a case, over its rows."""
    case = descent_case(name)
    n_outputs = case.Y.shape[1]
    loss, target = SquaredLoss(), case.Y
    if not np.issubdtype(case.y.dtype, np.floating):
        loss = LogLoss() if n_outputs == 1 else SoftmaxLoss()
        target = case.y[:, None].astype(float if n_outputs == 1 else np.intp)
    return BlockObjective(RowBlocks(case.X, target), loss, ElasticNet(**penalty), n_outputs)


def settings_of(**changed):
    asked = {"schedule": Constant(), "max_iter": 60, "tol": 0.0, "criterion": "gradient"}
    return DescentSettings(**{**asked, "n_iter_no_change": 3, **changed})


def begun(objective, rule, start, *, stochastic=False):
    generator = np.random.default_rng(3)
    return DescentState.begin(start, rule, stochastic=stochastic, generator=generator)


def starts_of(objective, n_models, seed=0):
    """Starts that differ, the first of them zero."""
    rng = np.random.default_rng(seed)
    n_rows, n_outputs = objective.shape
    theta = 0.3 * rng.standard_normal((n_models, n_rows, 1, n_outputs))
    theta[0] = 0.0
    return list(theta)


def reasons_of(ends):
    return [end.reason for end in ends]


def both(objective, rule, rates, **changed):
    """The states and the reasons of models that descended together, and of each alone."""
    starts = starts_of(objective, len(rates))
    stochastic = changed.get("batch_size") is not None
    settings = settings_of(**changed)
    gap = OptimalityGap(objective)
    together = [begun(objective, rule, start, stochastic=stochastic) for start in starts]
    asked = replace(settings, learning_rate=np.array(rates))
    reasons = reasons_of(descend(objective, rule, asked, together, gap=gap))
    alone, expected = [], []
    for start, rate in zip(starts, rates, strict=True):
        state = begun(objective, rule, start, stochastic=stochastic)
        asked = replace(settings, learning_rate=rate)
        ends = descend(objective, rule, asked, [state], gap=OptimalityGap(objective))
        expected += reasons_of(ends)
        alone.append(state)
    return together, reasons, alone, expected


def assert_same(found, tolerance=1e-8):
    together, reasons, alone, expected = found
    assert reasons == expected
    for one, other in zip(together, alone, strict=True):
        assert one.iterates.iteration == other.iterates.iteration
        assert one.iterates.step == other.iterates.step
        assert one.best.iteration == other.best.iteration
        for name in ("theta", "point"):
            mine, theirs = getattr(one.iterates, name), getattr(other.iterates, name)
            size = max(1.0, np.abs(theirs).max())
            assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * size)
        size = max(1.0, np.abs(other.best.theta).max())
        assert_allclose(one.best.theta, other.best.theta, rtol=tolerance, atol=tolerance * size)
        for column in ("loss", "gradient_norm", "update_norm", "learning_rate"):
            mine, theirs = one.history[column], other.history[column]
            atol = tolerance * np.nanmax(np.abs(theirs))
            assert_allclose(mine, theirs, rtol=1e-6, atol=atol)
        assert one.iterates.rule_state.keys() == other.iterates.rule_state.keys()
        for key, value in other.iterates.rule_state.items():
            assert np.shape(one.iterates.rule_state[key]) == np.shape(value)
            atol = 1e-6 * max(1.0, np.abs(value).max())
            assert_allclose(one.iterates.rule_state[key], value, rtol=1e-6, atol=atol)


RULES = {
    "gd": GradientDescent(),
    "mean": GradientDescent(average=True),
    "momentum": Momentum(),
    "nesterov": Nesterov(),
    "nesterov, fixed": Nesterov(beta=0.7),
    "adam": Adam(),
}
each_rule = pytest.mark.parametrize("rule", RULES)


def rates_of(objective, rule):
    """Rates from slow to divergent."""
    natural = 0.05 if rule == "adam" else 1.0 / objective.bound.norm
    return [0.1 * natural, natural, 0.7 * natural, 40.0 * natural]


@each_rule
@each_case
def test_full_batches(rule, name):
    objective = objective_of(name, alpha=0.01)
    found = both(objective, RULES[rule], rates_of(objective, rule))
    assert_same(found, 1e-6 if rule == "adam" else 1e-8)
    if rule == "gd" and objective.is_quadratic:
        assert found[1] == [StopReason.MAX_ITER] * 3 + [StopReason.DIVERGED]
        assert found[0][3].iterates.iteration < 60 == found[0][0].iterates.iteration


@each_case
@pytest.mark.parametrize("criterion", ["gradient", "update", "loss"])
def test_each_stops_by_its_own_criterion(name, criterion):
    objective = objective_of(name, alpha=0.05)
    rates = [scale / objective.bound.norm for scale in (0.05, 1.0, 0.5, 1.5)]
    tol = {"gradient": 1e-4, "update": 1e-3, "loss": 1e-4}[criterion]
    found = both(objective, Momentum(beta=0.5), rates, tol=tol, criterion=criterion, max_iter=400)
    assert_same(found, 1e-6)
    assert len({state.iterates.iteration for state in found[0]}) >= 3


@each_case
@pytest.mark.parametrize("rule", ["gd", "nesterov"])
def test_an_l1_penalty(name, rule):
    objective = objective_of(name, alpha=0.1, l1_ratio=0.7)
    rates = [scale / objective.bound.norm for scale in (0.1, 1.0, 0.5)]
    found = both(objective, RULES[rule], rates)
    assert_same(found)
    for one, other in zip(found[0], found[2], strict=True):
        assert_array_equal(one.iterates.theta == 0.0, other.iterates.theta == 0.0)


@each_rule
@each_case
def test_mini_batches_in_the_same_order(rule, name):
    objective = objective_of(name, alpha=0.01)
    rates = [0.001, 0.02, 0.01]
    schedule, more = Step(factor=0.5, every=2), {"batch_size": 35, "max_iter": 5}
    found = both(objective, RULES[rule], rates, schedule=schedule, store_path="step", **more)
    assert_same(found, 1e-6 if rule == "adam" else 1e-8)
    for one, other in zip(found[0], found[2], strict=True):
        assert_allclose(one.history.steps["loss"], other.history.steps["loss"], rtol=1e-6)
        # The order of later epochs is that of a descent that goes on alone.
        assert one.generator.bit_generator.state == other.generator.bit_generator.state


@each_case
@pytest.mark.parametrize("rule", ["gd", "nesterov"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_a_line_search(name, rule, l1_ratio):
    objective = objective_of(name, alpha=0.05, l1_ratio=l1_ratio)
    # Few steps: what a search accepts is a comparison of losses, and these round.
    found = both(objective, RULES[rule], [np.nan] * 3, line_search=True, max_iter=6)
    assert_same(found, 1e-6)


def test_on_moments():
    rows = objective_of("three targets", alpha=0.01)
    factor = CentredMoments.of(rows.blocks, rows.fit_intercept).factor()
    objective = QuadraticObjective(factor, rows.penalty)
    rates = [scale / objective.bound.norm for scale in (0.1, 1.0, 0.5, 30.0)]
    assert_same(both(objective, Nesterov(), rates))


def test_shrinking_rates():
    objective = objective_of("squares")
    found = both(objective, Adam(), [3000.0, 0.01, 300.0], shrinks=True, max_iter=40)
    assert_same(found, 1e-6)
    shrunk = [state.iterates.shrunk for state in found[0]]
    assert shrunk[0] < 1.0 == shrunk[1]


@each_case
def test_early_stopping_of_each(name):
    objective = objective_of(name)
    validation = objective_of(name).thinned(3)
    rule, starts = GradientDescent(), starts_of(objective, 3)
    rates = [scale / objective.bound.norm for scale in (0.05, 1.0, 30.0)]
    settings = settings_of(early_stopping=True, max_iter=30)
    together = [begun(objective, rule, start) for start in starts]
    asked = replace(settings, learning_rate=np.array(rates))
    reasons = reasons_of(descend(objective, rule, asked, together, validation=validation))
    for start, rate, one, reason in zip(starts, rates, together, reasons, strict=True):
        alone = begun(objective, rule, start)
        asked = replace(settings, learning_rate=rate)
        ends = descend(objective, rule, asked, [alone], validation=validation)
        assert reasons_of(ends) == [reason]
        assert one.best_validated.iteration == alone.best_validated.iteration
        assert_allclose(one.best_validated.theta, alone.best_validated.theta, rtol=1e-7, atol=1e-9)


class Counting:
    """An objective that counts its passes over the rows, and the columns of theta in each."""

    def __init__(self, objective):
        self.objective, self.passes = objective, []

    def __getattr__(self, name):
        return getattr(self.objective, name)

    def at(self, theta):
        self.passes.append(theta.shape[1])
        return self.objective.at(theta)

    def value(self, theta):
        self.passes.append(theta.shape[1])
        return self.objective.value(theta)

    def value_and_gradient(self, theta):
        self.passes.append(theta.shape[1])
        return self.objective.value_and_gradient(theta)


def test_one_pass_an_iteration_for_those_that_run():
    objective = Counting(objective_of("squares"))
    rates = [scale / objective.bound.norm for scale in (0.1, 1.0, 1e9)]
    starts = starts_of(objective, 3, seed=1)
    states = [begun(objective, GradientDescent(), start) for start in starts]
    settings = settings_of(learning_rate=np.array(rates), max_iter=20)
    reasons = reasons_of(descend(objective, GradientDescent(), settings, states))
    assert reasons == [StopReason.MAX_ITER, StopReason.MAX_ITER, StopReason.DIVERGED]
    at_zero = 1  # what a divergence is measured by
    iterations = states[2].iterates.iteration
    assert objective.passes.count(3) == 1 + iterations
    assert objective.passes.count(2) == 20 - iterations
    assert len(objective.passes) == 21 + at_zero


@pytest.mark.parametrize(("rule", "at_points"), [(GradientDescent(), 1), (Nesterov(), 2)])
def test_a_line_search_evaluates_nothing_twice(rule, at_points):
    """An iteration is one pass for the trials, and one for where they led."""
    objective = Counting(objective_of("sigmoid", alpha=0.01))
    state = begun(objective, rule, starts_of(objective, 1)[0])
    settings = settings_of(line_search=True, max_iter=10)
    descend(objective, rule, settings, [state])
    searched = objective.passes.count(6)
    assert searched >= 10  # more where all trials were too long
    assert len(objective.passes) == 1 + 10 + searched
    assert max(n for n in objective.passes if n != 6) == at_points


def test_an_interruption_leaves_every_model_at_its_last_iteration():
    objective = objective_of("softmax", alpha=0.01)
    rates = [scale / objective.bound.norm for scale in (0.1, 1.0, 0.5)]
    rule, starts = Momentum(), starts_of(objective, 3)

    class Interrupted(Counting):
        def value_and_gradient(self, theta):
            if len(self.passes) == 8:
                raise KeyboardInterrupt
            return super().value_and_gradient(theta)

    settings = settings_of(learning_rate=np.array(rates), batch_size=40, max_iter=20)
    states = [begun(objective, rule, start, stochastic=True) for start in starts]
    with pytest.raises(KeyboardInterrupt):
        descend(Interrupted(objective), rule, settings, states)
    assert [state.iterates.iteration for state in states] == [7] * 3
    assert [len(state.history) for state in states] == [8] * 3
    descend(objective, rule, replace(settings, max_iter=13), states)
    whole = [begun(objective, rule, start, stochastic=True) for start in starts]
    descend(objective, rule, settings, whole)
    for state, expected in zip(states, whole, strict=True):
        assert_allclose(state.iterates.theta, expected.iterates.theta, rtol=1e-12, atol=1e-14)
        assert len(state.history) == 21
