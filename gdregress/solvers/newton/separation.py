"""Separation: whether unpenalised logistic regression has an optimum at all, and if not, why.

Row i has a margin of its class y_i over every other class k along a direction (W, b),

    a_ik = x_i^T (w_{y_i} - w_k) + b_{y_i} - b_k,        two classes: a_i = +-(x_i^T w + b).

There is no finite optimum if and only if along some direction no margin is negative and some are
positive: the loss falls along it for ever. Where a direction makes all margins positive the
separation is complete, else quasi-complete (Albert & Anderson 1984, "On the existence of maximum
likelihood estimates in logistic regression models").

**What rules it out.** Let d be such a direction, p_ik the probabilities at any theta, n the exact
Newton direction there, ``H n = -g``, and z the changes of the linear predictor along n. Then

    -g^T d = 1/S sum_ik s_i p_ik a_ik = n^T H d <= max_i (max_k z_ik - min_k z_ik) (-g^T d),

the inequality because ``n^T H d = 1/S sum_i s_i Cov_{p_i}(z_i, -a_i)``. As ``-g^T d > 0``, a Newton
direction that moves every row by less than 1 proves that there is no separation. In the same way
``(-g^T d)^2 <= g^T H^-1 g  d^T H d`` and ``d^T H d <= max_ik a_ik (-g^T d)`` give

    min_ik s_i p_ik / S <= g^T H^-1 g     wherever there is separation.

**What proves it.** Newton's method runs along a separating direction: in the end its steps move
the rows that are separated by 1 and the others not at all. Those span a space that every
direction of this face has to be orthogonal to; what is left has few dimensions, and there

    maximise sum a_ik(d)  over the pairs not yet separated,  such that  a_ik(d) >= 0,  |d_j| <= 1

is a small linear programme (Konis 2007, "Linear programming algorithms for detecting separated
data in binary logistic regression models"). Where neither comes to an end, within rounding, the
programme over the whole space decides.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse
from scipy.optimize import linprog

from ..._linalg import rank_threshold
from ...problem.basis import Basis, worthwhile_basis
from ...problem.margins import largest_move, margins
from ...rows.columns import spans
from ...rows.containers import stacked
from ...rows.kernels import Moments
from .choice import sampled_metric
from .full import FullMetric
from .steps import backtrack

__all__ = ["AT_REST", "Separation", "separation", "separation_near"]

# More unknowns than this: neither a Hessian is factored nor a linear programme solved for it.
_MAX_UNKNOWNS, _MAX_PROGRAMME_UNKNOWNS = 2500, 300
# Entries of a wide X, which is copied.
_MAX_WIDE = 2**23
# A Newton direction that moves every row by less than 1 leaves no separation; half for rounding.
AT_REST = 0.5
# The programme is asked where the decrement is this share of the loss at zero, and again of that.
_NEAR, _MAX_STEPS = 1e-2, 60
# The tolerance of the linear programme, whose coefficients are about 1 in size.
_FEASIBLE = 1e-10
_TOLERANCES = "primal_feasibility_tolerance", "dual_feasibility_tolerance"
# A margin counts as positive from here on, and as negative from its negative hundredth on.
_POSITIVE = 1e-7
_MAX_ROUNDS = 200
# Rows span no direction whose eigenvalue is below this many times rounding level.
_SLACK = 100.0


class Separation(NamedTuple):
    """How the classes are separated.

    Attributes
    ----------
    kind : {"none", "quasi-complete", "complete", "undecided"}
        ``"undecided"`` only where the problem is too large to be asked.
    direction : ndarray of shape (n_features + 1, n_outputs)
        In the original columns, the intercept last: moving theta along it raises the margins of
        some rows and lowers none. Zeros unless the classes are separated.
    columns : ndarray of int
        Indices of the columns that do most of the separating.
    """

    kind: str
    direction: np.ndarray
    columns: np.ndarray

    @classmethod
    def without(cls, objective, kind="none"):
        """No direction."""
        return cls(kind, np.zeros(objective.shape), np.empty(0, dtype=int))

    @classmethod
    def along(cls, objective, kind, direction):
        """Of a block objective in its original columns, along a direction there."""
        pull = np.abs(direction[:-1])
        if objective.loss.has_gauge:  # adding a constant to all classes separates nothing
            pull = np.ptp(direction[:-1], axis=1, keepdims=True)
        pull = pull[:, 0] * spans(objective.blocks)
        return cls(kind, direction, np.flatnonzero(pull > 1e-3 * pull.max(initial=0.0)))


def separation(objective):
    """Whether the classes are separated: completely, in part, or not at all.

    Parameters
    ----------
    objective : BlockObjective
        Of a logistic loss, without a penalty, in its original columns. Rows without weight play
        no part.

    Returns
    -------
    Separation

    Notes
    -----
    Exact up to rounding: a margin below 1e-9 of the spread of the rows is zero. A problem of more
    than 2,500 unknowns (columns times classes) is not asked. One of more than 300 may stay
    undecided, and complete separation be called quasi-complete there.
    """
    if objective.blocks.n_features >= objective.blocks.n_weighing:
        return _of_wide(objective)
    if objective.shape[0] * objective.shape[1] > _MAX_UNKNOWNS:
        return Separation.without(objective, "undecided")
    framed = objective.in_frame(objective.frames.best())
    theta = np.zeros((objective.shape[0], 1, objective.shape[1]))
    sampled = sampled_metric(framed)
    if sampled is not None:
        theta = sampled.descend_samples(theta)
    found, pairs = _by_newton(objective, framed, theta)
    if found.kind == "quasi-complete" and pairs.fit_a_programme:
        return pairs.separation_in(np.eye(pairs.n_rows))  # is there more of it?
    return found


def separation_near(objective, theta):
    """Some separation if there is any, as :func:`separation`, from a theta near the least loss.

    What it finds may be a part of the whole. A problem that is too large is looked at for complete
    separation by theta itself.
    """
    if margins(objective, theta)[0] > 0.0:
        return Separation.along(objective, "complete", theta[:, 0])
    n_features, n_outputs = objective.shape
    if n_features > objective.blocks.n_weighing:  # not all are separated: rows are dependent
        return _of_wide(objective)
    if n_features * n_outputs > _MAX_UNKNOWNS:
        return Separation.without(objective, "undecided")
    framed = objective.in_frame(objective.frames.best())
    return _by_newton(objective, framed, framed.frame.enter(theta))[0]


def _of_wide(objective):
    """With at least as many columns as rows: any labels can be had if the rows are independent."""
    blocks = objective.blocks
    if blocks.n_features * blocks.n_weighing > _MAX_WIDE:
        return Separation.without(objective, "undecided")
    pairs = _Pairs(objective, Basis.of(objective.in_frame(objective.frames.best())))
    return pairs.separation_of_all() or pairs.separation_in(np.eye(pairs.n_rows))


def _by_newton(objective, framed, theta):
    """Newton's method until it is at rest, separates all rows, or shows which ones can be.

    Where part of the rows is separated, the decrement comes to shrink by e at every step: no
    sooner is it worth asking. Returns the separation, and the pairs if they were asked for.
    """
    metric = FullMetric(framed)
    at = metric.look(theta)
    ask_below = _NEAR * float(framed.value(np.zeros_like(theta))[0])
    pairs, decrement = None, 0.0
    for _ in range(_MAX_STEPS):
        if margins(framed, at.theta)[0] > 0.0:
            direction = framed.frame.leave(at.theta)[:, 0]
            return Separation.along(objective, "complete", direction), pairs
        before = decrement
        step, decrement = metric.direction(at, 0.0)
        if metric.is_suspicious and (basis := worthwhile_basis(framed)) is not None:
            theta = basis.enter(framed.frame.leave(at.theta))
            return _by_newton(objective, objective.in_frame(basis), theta)
        if metric.is_exact and largest_move(framed, step) < AT_REST:
            return Separation.without(objective), pairs
        if 0.25 * before < decrement < ask_below:
            ask_below = _NEAR * decrement
            pairs = _Pairs(objective, Basis.of(framed)) if pairs is None else pairs
            found = pairs.separation_in(pairs.leaving_the_rest_of(framed.frame.leave(step)))
            if found.kind not in {"none", "undecided"}:
                return found, pairs
        at, t = backtrack(at, step, metric.look)
        if t == 0.0 or not metric.is_exact:
            break
    pairs = _Pairs(objective, Basis.of(framed)) if pairs is None else pairs
    return pairs.separation_in(np.eye(pairs.n_rows)), pairs


def _widest(pairs, remaining):
    """The unknowns with the largest sum of the `remaining` margins, none of which is negative.

    Zero where there are none; None where that was not found out. The constraints are generated: a
    programme over some pairs bounds that over all, and the pairs that its solution violates most
    are added until none is, or none that it does not know: it is as good as its tolerance then.
    """
    total = pairs.total(remaining)
    total /= np.abs(total).max(initial=0.0) or 1.0
    unknowns, matrix, known = np.sign(total), None, np.zeros(remaining.size, dtype=bool)
    for _ in range(_MAX_ROUNDS):
        margins = np.where(remaining, pairs.margins(unknowns), np.inf).ravel()
        violated = np.flatnonzero(margins < -0.01 * _POSITIVE)
        if not len(violated):
            return unknowns
        violated = violated[~known[violated]]
        if not len(violated):
            return None
        most = 2 * pairs.n_unknowns + 100
        if len(violated) > most:
            violated = violated[np.argpartition(margins[violated], most)[:most]]
        known[violated] = True
        rows = pairs.constraints(np.sort(violated))
        matrix = rows if matrix is None else stacked(matrix, rows)
        programme = linprog(
            -total,
            A_ub=-matrix,
            b_ub=np.zeros(matrix.shape[0]),
            bounds=(-1.0, 1.0),
            method="highs",
            options=dict.fromkeys(_TOLERANCES, _FEASIBLE),
        )
        if programme.x is None:
            return None
        unknowns = programme.x
        if -programme.fun <= 0.01 * _POSITIVE:
            return np.zeros_like(unknowns)
    return None


class _Pairs:
    """The pairs of a row and a class that is not its own, and their margins.

    ``n_rows`` are the coordinates of a direction of one output: those of the basis and, where it is
    fitted, the intercept. Directions are ``space @ unknowns`` for each output, that of class 0 of
    softmax being 0 (the gauge).
    """

    def __init__(self, objective, basis):
        self._objective, self._basis = objective, basis
        self._blocks = objective.blocks.in_frame(basis)
        self._n_outputs, self._has_gauge = objective.shape[1], objective.loss.has_gauge
        self._n_free = self._n_outputs - int(self._has_gauge)
        self._own = objective.blocks.y[:, 0].astype(np.intp)
        self._sign = np.where(self._own == 1, 1.0, -1.0)[:, None]
        self.n_rows = basis.n_columns + int(objective.fit_intercept)
        self.space = np.eye(self.n_rows)
        self.exist = np.ones((len(self._own), self._n_outputs), dtype=bool)
        if self._has_gauge:
            self.exist[np.arange(len(self._own)), self._own] = False
        if self._blocks.sample_weight is not None:
            self.exist[self._blocks.sample_weight <= 0.0] = False

    def separation_in(self, space):
        """The separation of as many pairs as can be, by directions in a space."""
        self.space, remaining = space, self.exist.copy()
        objective, direction = self._objective, np.zeros(self.n_unknowns)
        if not self.n_unknowns:
            return Separation.without(objective)
        if not self.fit_a_programme:
            return Separation.without(objective, "undecided")
        while remaining.any():
            step = _widest(self, remaining)
            if step is None:
                return Separation.without(objective, "undecided")
            margins = self.margins(step)
            separated = remaining & (margins > _POSITIVE)
            if not separated.any():
                break
            # Those set aside stay separated, however far the step would take them back.
            aside = self.exist & ~remaining
            back = -margins[aside] / self.margins(direction)[aside]
            direction = (1.0 + max(0.0, back.max(initial=0.0))) * direction + step
            remaining &= ~separated
        if not direction.any():
            return Separation.without(objective)
        kind = "quasi-complete" if remaining.any() else "complete"
        return Separation.along(objective, kind, self._outside(direction))

    def separation_of_all(self):
        """Complete separation where rows are independent and thus have any margins; else None."""
        weighing = np.flatnonzero(self.exist.any(axis=1))
        if self.n_rows < len(weighing):
            return None
        rows = self._blocks.block(weighing).design.dense()
        rows = np.column_stack([rows, np.ones(len(rows))])[:, : self.n_rows]
        wanted = np.eye(self._n_outputs)[self._own] if self._has_gauge else self._sign
        direction = np.zeros((self._basis.n_columns + 1, 1, self._n_outputs))
        direction[: self.n_rows, 0] = linalg.lstsq(rows, wanted[weighing])[0]
        outside = self._basis.leave(direction)[:, 0]
        return Separation.along(self._objective, "complete", outside)

    @property
    def fit_a_programme(self):
        """Whether a linear programme over the space is small enough."""
        return self.n_unknowns <= _MAX_PROGRAMME_UNKNOWNS

    @property
    def n_unknowns(self):
        return self.space.shape[1] * self._n_free

    def leaving_the_rest_of(self, step):
        """The space of directions that move no row that `step`, of the original columns, leaves."""
        z = self._predictors(self._basis.enter(step))
        moves = self._objective.loss.moves(z[:, None])[:, 0]
        resting = ((moves < AT_REST) & self.exist.any(axis=1)).astype(np.float64)
        if not resting.any():
            return np.eye(self.n_rows)
        gram = self._blocks.with_y(None, resting).reduce(Moments())
        values, vectors = linalg.eigh(gram[: self.n_rows, : self.n_rows])
        return vectors[:, values <= rank_threshold(len(values)) * values[-1] * _SLACK]

    def _predictors(self, direction):
        return self._blocks.times(direction)[:, 0]

    def _direction(self, unknowns):
        """In the basis, shape (n_columns + 1, 1, n_outputs)."""
        direction = np.zeros((self._basis.n_columns + 1, 1, self._n_outputs))
        free = self.space @ unknowns.reshape(self.space.shape[1], self._n_free)
        direction[: self.n_rows, 0, int(self._has_gauge) :] = free
        return direction

    def _outside(self, unknowns):
        """The direction in the original columns, (n_features + 1, n_outputs)."""
        return self._basis.leave(self._direction(unknowns))[:, 0]

    def margins(self, unknowns):
        """``a_ik``, (n_samples, n_outputs); infinite where there is no pair."""
        z = self._predictors(self._direction(unknowns))
        if self._has_gauge:
            margins = np.take_along_axis(z, self._own[:, None], axis=1) - z
        else:
            margins = self._sign * z
        margins[~self.exist] = np.inf
        return margins

    def total(self, remaining):
        """The gradient of the sum of the `remaining` margins by the unknowns."""
        if self._has_gauge:
            pull = -remaining.astype(np.float64)
            pull[np.arange(len(pull)), self._own] = remaining.sum(axis=1)
        else:
            pull = self._sign * remaining
        total = self._blocks.pull(pull)[: self.n_rows]
        return (self.space.T @ total[:, int(self._has_gauge) :]).ravel()

    def constraints(self, flat):
        """The gradients of the margins of some pairs by the unknowns, one a row."""
        i, k = np.divmod(flat, self._n_outputs)
        rows = self._blocks.block(i).design.dense()
        rows = np.column_stack([rows, np.ones(len(rows))])[:, : self.n_rows] @ self.space
        if not self._has_gauge:
            return self._sign[i] * rows
        out = np.zeros((len(flat), rows.shape[1], self._n_outputs))
        pair = np.arange(len(flat))
        out[pair, :, self._own[i]] = rows
        out[pair, :, k] = -rows
        return sparse.csr_matrix(out[:, :, 1:].reshape(len(flat), self.n_unknowns))
