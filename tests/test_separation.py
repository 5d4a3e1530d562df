"""Separation: what is said about it, against a linear programme, by every solver."""

import warnings
from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose
from plain import KINDS
from scipy import sparse
from scipy.optimize import linprog
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from gdregress import LogisticRegression
from gdregress.history import History, StopReason
from gdregress.problem.class_losses import LogLoss, SoftmaxLoss
from gdregress.problem.kernels import Margin
from gdregress.problem.margins import largest_move, smallest_rival
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks
from gdregress.solvers.newton.choice import Limits, Pace, sampled_metric
from gdregress.solvers.newton.full import FullMetric
from gdregress.solvers.newton.kept import LazyMetric
from gdregress.solvers.newton.krylov import KrylovMetric
from gdregress.solvers.newton.newton import newton
from gdregress.solvers.newton.separation import separation, separation_near

RULES = ["gd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"]
CHOOSE = {
    "full": FullMetric,
    "Krylov": KrylovMetric,
    "sampled": lambda framed: (
        sampled_metric(framed, Limits(smallest=20, largest_share=1.0)) or FullMetric(framed)
    ),
    "lazy": lambda framed: LazyMetric(framed, Pace({"all": 5.0})),
}


class Design(NamedTuple):
    X: object
    y: np.ndarray
    sample_weight: np.ndarray | None = None
    fit_intercept: bool = True

    @property
    def n_classes(self):
        return int(self.y.max()) + 1

    def objective(self, alpha=0.0):
        binary = self.n_classes == 2
        target = self.y.astype(float if binary else np.intp)[:, None]
        return BlockObjective(
            RowBlocks(self.X, target, self.sample_weight, workers=2),
            LogLoss() if binary else SoftmaxLoss(),
            ElasticNet(alpha),
            1 if binary else self.n_classes,
            fit_intercept=self.fit_intercept,
        )

    def fit(self, **params):
        model = LogisticRegression(fit_intercept=self.fit_intercept, **params)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(self.X, self.y, sample_weight=self.sample_weight)

    def margins_by(self, direction):
        """The margins of all pairs of a weighing row and another class, by the definition."""
        X = self.X.toarray() if sparse.issparse(self.X) else np.asarray(self.X, dtype=float)
        z = X @ direction[:-1] + direction[-1]
        if self.n_classes == 2:
            margins = np.where(self.y == 1, 1.0, -1.0)[:, None] * z
        else:
            own = np.arange(self.n_classes) == self.y[:, None]
            margins = np.where(own, np.nan, z[own][:, None] - z)
        if self.sample_weight is not None:
            margins = margins[self.sample_weight > 0]
        return margins[~np.isnan(margins)]

    def kind(self):
        """By one linear programme, as Albert & Anderson define it.

        Maximise sum t_ik such that ``a_ik(d) >= t_ik`` and ``0 <= t_ik <= 1``: a cone, so that t is
        1 for each pair that can be separated and 0 for the others.
        """
        X = self.X.toarray() if sparse.issparse(self.X) else np.asarray(self.X, dtype=float)
        y = self.y
        if self.sample_weight is not None:
            X, y = X[self.sample_weight > 0], y[self.sample_weight > 0]
        X = np.column_stack([X, np.ones(len(X))]) if self.fit_intercept else X
        X = X / np.maximum(np.abs(X).max(axis=0), 1e-300)
        if self.n_classes == 2:
            pairs = np.where(y == 1, 1.0, -1.0)[:, None] * X
        else:
            i, k = np.nonzero(np.arange(self.n_classes) != y[:, None])
            other = np.eye(self.n_classes)[y[i]] - np.eye(self.n_classes)[k]
            pairs = (other[:, :, None] * X[i][:, None, :]).reshape(len(i), -1)
        n_pairs, n_unknowns = pairs.shape
        solution = linprog(
            np.append(np.zeros(n_unknowns), -np.ones(n_pairs)),
            A_ub=sparse.hstack([sparse.csr_matrix(-pairs), sparse.eye(n_pairs)]),
            b_ub=np.zeros(n_pairs),
            bounds=[(None, None)] * n_unknowns + [(0, 1)] * n_pairs,
            method="highs",
            options=dict.fromkeys(
                ["primal_feasibility_tolerance", "dual_feasibility_tolerance"], 1e-9
            ),
        )
        if -solution.fun < 0.5:
            return "none"
        return "complete" if -solution.fun > n_pairs - 0.5 else "quasi-complete"


def random_design(seed):
    """Noise or none; rare dummies, dummies of one class, all levels of a factor, duplicates."""
    rng = np.random.default_rng(seed)
    n_classes = int(rng.choice([2, 2, 2, 3, 4]))
    n_rows, n_features = int(rng.integers(30, 200)), int(rng.integers(1, 6))
    X = rng.standard_normal((n_rows, n_features))
    z = X @ rng.standard_normal((n_features, n_classes)) * rng.choice([0.3, 1, 4])
    noise = rng.choice([0.0, 0.1, 1.0], p=[0.25, 0.15, 0.6])
    y = np.argmax(z + noise * rng.gumbel(size=z.shape), axis=1)
    for kind in rng.choice(4, rng.integers(0, 3)):
        rare = np.isin(np.arange(n_rows), rng.choice(n_rows, rng.integers(1, 8), replace=False))
        one_class = (y == rng.integers(n_classes)) & (rng.random(n_rows) < 0.2)
        levels = np.eye(3)[rng.integers(0, 3, n_rows)]
        extra = [rare, one_class, levels, X[:, rng.integers(X.shape[1])]][kind]
        X = np.column_stack([X, extra])
    y[:n_classes] = np.arange(n_classes)
    weight = None
    if rng.random() < 0.3:
        weight = rng.uniform(0.1, 3, n_rows) * (rng.random(n_rows) < 0.8)
        weight[:n_classes] = 1.0
    fit_intercept = bool(rng.random() < 0.8)
    form = rng.random()
    if form < 0.3:
        X = sparse.csr_matrix(X * (rng.random(X.shape) < 0.5))
    elif form < 0.5:
        X = X.astype(np.float32)
    return Design(X, y, weight, fit_intercept)


def assert_separates(design, found):
    """The direction found lowers no margin and raises some: all, where that is claimed."""
    margins = design.margins_by(found.direction)
    size = np.abs(margins).max()
    assert size > 0.0
    assert margins.min() >= -1e-8 * size
    if found.kind == "complete":
        assert margins.min() > 0.0


def check_separation(seed):
    design = random_design(seed)
    truth, found = design.kind(), separation(design.objective())
    assert found.kind == truth
    if truth == "none":
        assert not found.direction.any()
        assert len(found.columns) == 0
    else:
        assert_separates(design, found)
        assert len(found.columns) > 0


def check_newton(seed, metric):
    design = random_design(seed)
    objective, theta = design.objective(), None
    theta = np.zeros((objective.shape[0], 1, objective.shape[1]))
    with np.errstate(all="ignore"):
        found = newton(objective, theta, History(), max_iter=1000, tol=1e-6, choose=CHOOSE[metric])
    if design.kind() == "none":
        assert found.reason is StopReason.DECREMENT
        assert found.converged
        assert found.separation is None
    else:
        assert found.reason is StopReason.SEPARABLE
        assert not found.converged
        assert_separates(design, found.separation)


def check_descent(seed, rule):
    design = random_design(seed)
    model = design.fit(solver=rule, max_iter=100)
    assert (len(model.separating_columns_) > 0) == (design.kind() != "none")
    if len(model.separating_columns_):
        assert model.converged_ is False


# Against a linear programme


@pytest.mark.parametrize("seed", range(60))
def test_it_is_what_a_linear_programme_says(seed):
    check_separation(seed)


@pytest.mark.parametrize("metric", CHOOSE)
@pytest.mark.parametrize("seed", range(20))
def test_newton_tells_it_in_every_metric(seed, metric):
    check_newton(seed, metric)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(6))
def test_descent_tells_it_by_every_rule(seed, rule):
    check_descent(seed, rule)


@pytest.mark.slow
@pytest.mark.parametrize("check", ["separation", *CHOOSE, *RULES])
@pytest.mark.parametrize("first", range(0, 500, 50))
def test_nothing_is_missed_and_nothing_imagined(check, first):
    for seed in range(first, first + 50):
        if check in CHOOSE:
            check_newton(seed, check)
        elif check in RULES:
            check_descent(seed, check)
        else:
            check_separation(seed)


# Cases with a known answer


def overlapping(n_rows, n_classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, 3))
    z = X @ rng.standard_normal((3, n_classes))
    return X, np.argmax(z + rng.gumbel(size=z.shape), axis=1)


@pytest.mark.parametrize("solver", ["newton", "gd", "nesterov"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_two_rows_of_one_class_among_thousands(solver, kind):
    X, y = overlapping(8000)
    rare = np.isin(np.arange(8000), np.flatnonzero(y == 1)[[5, 900]])
    design = Design(kind(np.column_stack([X, rare])), y)
    model = design.fit(solver=solver, max_iter=200)
    assert model.separating_columns_.tolist() == [3]
    assert model.converged_ is False
    both = np.isin(np.arange(8000), [np.flatnonzero(y == 1)[5], np.flatnonzero(y == 0)[5]])
    model = Design(kind(np.column_stack([X, both])), y).fit(solver=solver, max_iter=200)
    assert len(model.separating_columns_) == 0


@pytest.mark.parametrize("solver", ["newton", "gd", "nesterov"])
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9])
def test_a_level_that_never_occurs_with_one_class(solver, tol):
    """The margin over that class alone can grow for ever; the other two overlap."""
    X, y = overlapping(2000, 3)
    level = (np.random.default_rng(1).random(2000) < 0.3) & (y != 2)
    design = Design(np.column_stack([X, level]), y)
    model = design.fit(solver=solver, tol=tol, max_iter=200)
    assert model.separating_columns_.tolist() == [3]
    assert model.converged_ is False
    assert separation(design.objective()).kind == "quasi-complete"


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("solver", ["newton", "gd"])
def test_an_overlap_by_a_hair_has_an_optimum(gap, solver):
    """Large coefficients, and probabilities within rounding of 0 and 1: no false alarm."""
    x = np.concatenate([np.linspace(-1, -gap, 50), [gap], [-gap], np.linspace(gap, 1, 50)])
    y = np.repeat([0, 1], 51)
    design = Design(x[:, None], y)
    assert separation(design.objective()).kind == "none"
    model = design.fit(solver=solver)
    assert len(model.separating_columns_) == 0
    apart = Design(np.abs(x[:, None]) * np.where(y == 1, 1, -1)[:, None], y)
    assert separation(apart.objective()).kind == "complete"


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("units", [1e-100, 1e-6, 1e6, 1e100])
@pytest.mark.parametrize("far", [0.0, 1e6])
def test_units_and_means_are_no_matter(n_classes, units, far):
    X, y = overlapping(400, n_classes)
    level = (np.arange(400) % 3 == 0) & (y != 1)
    X = (np.column_stack([X, X[:, 0] + 1e-7 * X[:, 1] ** 2, level]) + far) * units
    found = separation(Design(X, y).objective())
    assert found.kind == "quasi-complete"
    assert 4 in found.columns
    X[0, 4] = X[y == 1, 4][0] if level[0] else X[0, 4]
    flip = np.flatnonzero(y == 1)[:2]
    X[flip, 4] = (1.0 + far) * units  # now the level occurs with every class
    assert separation(Design(X, y).objective()).kind == "none"


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_more_columns_than_rows(n_classes, kind):
    """Independent rows can be had with any labels; two equal rows cannot."""
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((40, 200)), np.arange(40) % n_classes
    design = Design(kind(X), y)
    found = separation(design.objective())
    assert found.kind == "complete"
    assert_separates(design, found)
    twice = Design(kind(np.vstack([X, X])), np.concatenate([y, (y + 1) % n_classes]))
    if n_classes == 2:
        assert separation(twice.objective()).kind == "none"
    else:
        assert separation(twice.objective()).kind == twice.kind() == "quasi-complete"
    for solver in ("newton", "gd"):
        assert len(design.fit(solver=solver, max_iter=50).separating_columns_) > 0


def test_rows_without_weight_neither_separate_nor_prevent_it():
    X, y = overlapping(300)
    weight = np.ones(300)
    z = X[:, 0] > 0
    weight[z != (y == 1)] = 0.0  # what is left is separated by column 0
    design = Design(X, y, weight)
    assert separation(design.objective()).kind == "complete"
    assert separation(Design(X, y).objective()).kind == "none"
    assert 0 in design.fit(solver="newton").separating_columns_


@pytest.mark.parametrize("solver", ["newton", "gd"])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_wide_rows_that_come_twice_are_separated_in_part(n_classes, solver):
    """More columns than rows, and none that fits all: rows are the same but for the class."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        kinds = rng.standard_normal((8, 40)) + 1e3
        X, y = kinds[np.arange(24) % 8], np.arange(24) // 8 % n_classes
        y[np.arange(24) % 8 > 3] = 0
        y[-1] = n_classes - 1
        design = Design(X, y)
        assert separation(design.objective()).kind == "quasi-complete"
        model = design.fit(solver=solver, max_iter=60)
        assert not model.converged_
        assert len(model.separating_columns_) > 0


@pytest.mark.parametrize("seed", [0, 3, 7])
def test_more_levels_than_rows_are_separated_in_part(seed):
    """A level that comes once separates its row, whatever the others do."""
    rng = np.random.default_rng(seed)
    share = rng.exponential(size=40) ** 2 + 1e-4
    X = np.eye(40)[rng.choice(40, size=30, p=share / share.sum())]
    design = Design(X, rng.integers(0, 5, 30))
    assert separation(design.objective()).kind == "quasi-complete"
    model = design.fit()
    assert not model.converged_
    assert len(model.separating_columns_) > 0


def test_what_is_too_large_is_not_asked():
    X, y = sparse.random(200, 3000, 0.01, format="csr", random_state=0), np.arange(200) % 2
    wide = sparse.vstack([X] * 20).tocsr()
    design = Design(wide, np.tile(y, 20))
    assert separation(design.objective()).kind == "undecided"
    theta = np.zeros((3001, 1, 1))
    assert separation_near(design.objective(), theta).kind == "undecided"


def test_a_programme_is_not_asked_again_for_what_it_knows(monkeypatch):
    """Pairs that it violates by its tolerance are the same each time."""
    asked = []

    def inexact(cost, *, A_ub, **options):
        solution = linprog(cost, A_ub=A_ub, **options)
        rows = A_ub.toarray() if sparse.issparse(A_ub) else A_ub
        nearest = rows[np.argmax(rows @ solution.x)]
        solution.x = solution.x + 1e-5 * nearest / (nearest @ nearest)
        asked.append(len(rows))
        return solution

    monkeypatch.setattr("gdregress.solvers.newton.separation.linprog", inexact)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 3)), rng.integers(0, 2, 300)
    X[:, 2] = (y == 1) & (rng.random(300) < 0.3)
    assert separation(Design(X, y).objective()).kind == "undecided"
    assert len(asked) == len(set(asked)) < 20


# What is said


def test_the_warning_has_one_text():
    X, y = overlapping(200)
    texts = set()
    for solver in ("newton", "gd"):
        for column in (y, (y == 0) & (X[:, 0] > 0)):
            with pytest.warns(ConvergenceWarning, match="separating_columns_") as caught:
                LogisticRegression(solver=solver).fit(np.column_stack([X, column]), y)
            texts |= {str(warning.message) for warning in caught}
    assert len(texts) == 1
    assert "alpha=1/len(y)" in texts.pop()


@pytest.mark.parametrize("solver", ["newton", "gd", "nesterov"])
def test_penalised_fits_never_ask(solver, passes):
    X, y = overlapping(200)
    X = np.column_stack([X, y])
    model = Design(X, y).fit(solver=solver, alpha=0.01, max_iter=10_000)
    assert model.converged_ is True
    assert model.separating_columns_.tolist() == []
    assert Margin not in {kernel for kernel, _ in passes}


def test_the_advice_can_be_followed():
    X, y = overlapping(200)
    X = np.column_stack([X, y])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LogisticRegression(alpha=1 / len(y)).fit(X, y).converged_ is True


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_a_newton_step_that_moves_no_row_by_1_leaves_no_separation(name):
    """The theorem itself: on separated rows every Newton direction moves some row by 1."""
    kind, rng = KINDS[name], np.random.default_rng(3)
    for trial in range(20):
        X = rng.standard_normal((60, 3))
        X = np.column_stack([X, rng.random(60) < 0.3])
        y = rng.integers(0, max(2, kind.n_outputs), 60)
        y[X[:, 3] == 1.0] = 0
        objective = Design(X, y).objective()
        theta = rng.standard_normal((5, 1, kind.n_outputs)) * trial / 10
        metric = FullMetric(objective)
        direction, _ = metric.direction(metric.look(theta), 0.0)
        if not metric.is_exact:
            continue
        z = X @ direction[:-1, 0] + direction[-1, 0]
        moved = np.abs(z).max() if name == "sigmoid" else np.ptp(z, axis=1).max()
        assert moved >= 1.0 - 1e-6
        assert_allclose(largest_move(objective, direction), moved, rtol=1e-9)


def test_the_smallest_rival():
    X, y = overlapping(50)
    weight = np.random.default_rng(4).uniform(0, 2, 50)
    weight[::5] = 0.0
    theta = np.random.default_rng(5).standard_normal((4, 1, 1))
    p = expit(X @ theta[:-1, 0] + theta[-1, 0])[:, 0]
    rival = np.where(y == 1, 1 - p, p) * weight
    expected = rival[weight > 0].min() / weight.sum()
    assert_allclose(smallest_rival(Design(X, y, weight).objective(), theta), expected, rtol=1e-12)
