"""Metrics that are kept: the Hessian of some rows at an earlier theta, corrected by the steps."""

import math

import numpy as np

from ...problem.hessians import ridge_of
from ...problem.margins import row_moves
from .costs import costs
from .hessian import SingularDirections, factor_hessian
from .movers import KeptBesideMovers
from .steps import QuasiNewton, backtrack, with_gradient

__all__ = ["LazyMetric", "SampledMetric"]

# Steps on a sample in one metric, and how often it is renewed there.
_MAX_SAMPLE_STEPS, _MAX_SAMPLE_ROUNDS = 15, 4
_FAR = 700.0  # moves beyond it are one to the bound, whose exponential is finite
# How often M is renewed from all rows.
_MAX_RENEWALS = 4
# What it takes to leave some rows out of M: a share of a pass, and so many of its factors.
_LOOK, _FACTORS = 0.5, 2.0


class LazyMetric:
    """The Hessian M of all rows, kept for as long as steps in it make progress.

    Steps are those of ``steps.QuasiNewton`` in the metric of M, and ``choice.Pace``
    says when M is to be renewed (Doikov, Chayti & Jaggi 2023, "Second-order optimization with lazy
    Hessians").

    M is known at theta'. Where no row moves by more than d / nu from there (its largest less its
    smallest output of ``X (theta - theta')``; nu is the ``self_concordance`` of the loss, 1 of the
    logistic ones), ``H(theta) >= e^-d M`` (Bach 2010, "Self-concordant
    analysis for logistic regression", proposition 1), so that

        1/2 g^T H^-1 g <= 1/2 g^T M^-1 g e^d / c

    with c = 1. That bound, with the gradient of all rows, certifies the optimum. Where a
    few rows have moved much farther than the others, M is taken without them; see ``movers``.

    Parameters
    ----------
    framed : BlockObjective
        All rows.
    pace : Pace
        Its options are those of :meth:`_renew`.
    rows : BlockObjective, optional
        Those of the first M; all by default.
    share : float, optional
        c, with which ``H(theta) >= c M(theta)`` for these rows.
    """

    is_sampled = False
    is_kept = True
    is_exact = is_saturated = is_blind = is_last_resort = False
    spared = None
    _longest, _memory = 1.7, 20  # of the steps: gamma and pairs

    def __init__(self, framed, pace, rows=None, share=1.0):
        self.framed, self.pace = framed, pace
        self.rows, self.share = framed if rows is None else rows, share
        self.gives_up = False
        self._n_renewals = 0
        self._metric = self._taken_at = None
        self._steps = QuasiNewton(None, self._longest, self._memory)
        self._singular = SingularDirections(self.rows)
        self._same_rank = rows is None
        # The move from theta' of a row, when it was last asked for: the largest, or of those beside
        # the movers; and M without these, once it is made.
        self._moved, self._beside = 0.0, None

    def look(self, theta):
        """The evaluation at theta, gradient first; at the very first theta with the Hessian."""
        is_first = self._metric is None and not self.is_sampled
        return self.framed.at(theta).having(*["hessian"] * is_first, "gradient")

    @property
    def is_hard(self):
        """Whether M was renewed so often that the problem is one for a Hessian at every step."""
        return self._n_renewals > _MAX_RENEWALS

    @property
    def is_suspicious(self):
        """Whether M hints at columns that are nearly dependent."""
        return not self._metric.is_regular

    def direction(self, at, tolerance):
        """The quasi-Newton direction; its decrement is for :meth:`certifies` to bound."""
        if self._steps.factor is None:
            self._take(factor_hessian(self.framed, at.hessian, self._singular), at.theta)
        direction = self._steps.direction(at.gradient)
        decrement = -0.5 * float(at.gradient.ravel() @ direction.ravel())
        better = self.pace.better(decrement, tolerance * self.share, float(at.loss[0]))
        if better is not None:
            self._renew(better, at)
            direction = self._steps.direction(at.gradient)
            self.pace.begin(better, -0.5 * float(at.gradient.ravel() @ direction.ravel()))
        return direction, math.inf

    def _renew(self, option, at):
        """M at the present theta: of the same rows or of all of them; or let another metric try."""
        self._n_renewals += option == "all"
        if option == "products" or self.is_hard:
            self.gives_up = True
        elif option == "sample":
            self._take(self._factored(self.rows, at.theta), at.theta)
        else:
            if self.rows is not self.framed:
                self.rows, self.share = self.framed, 1.0
                self.pace.options.pop("sample", None)  # it has had its turn
                self._singular, self._same_rank = SingularDirections(self.framed), True
            self._take(factor_hessian(self.framed, at.hessian, self._singular), at.theta)

    def _take(self, metric, theta):
        """Go on in the metric of M at theta."""
        self._metric, self._taken_at = metric, theta
        self._moved, self._beside = 0.0, None
        self._steps.factor = metric.factor
        self._steps.hold(ridge_of(self.framed.penalty, self.framed.shape).ravel())
        # Without a factor that solves, nothing would ever be certified.
        self.gives_up = self.rows is self.framed and not (metric.is_regular or metric.is_exact)

    def remember(self, before, after, t):
        """What the step has shown, and what it has cost."""
        if t > 0.0:
            self._steps.remember(after.theta - before.theta, before.gradient, after.gradient)
            self.pace.spend(1.0 - math.log2(t))

    @staticmethod
    def proves(at, tolerance):
        """That takes a kept Hessian; see :meth:`certifies`."""
        return False

    def certifies(self, theta, gradient, tolerance):
        """Whether ``1/2 g^T H^-1 g`` at theta is known to be within the tolerance."""
        bound = self._bound(gradient)
        if bound > tolerance:
            return False
        missing = self._missing(theta, gradient, bound, tolerance)
        if missing > 0.0:
            if not self._renewal_pays(missing):
                return False
            self._take(self._factored(self.rows, theta), theta)
            bound = self._bound(gradient)
        # A column that the sample misses has no bound; one of zeros has no gradient either.
        regular = self._metric.is_regular or (self._same_rank and self._metric.is_exact)
        covered = regular and not gradient.ravel()[self._metric.dead].any()
        return covered and bound <= tolerance

    def _renewal_pays(self, missing):
        """Whether M anew costs less than steps that bring its bound down by e^missing."""
        option = "all" if self.rows is self.framed else "sample"
        return self.pace.pays(self.pace.options[option], missing)

    def _missing(self, theta, gradient, bound, tolerance):
        """The logarithm of what the bound at theta is above the tolerance, M being of theta'.

        Steps near the end hardly move a row: where the last look at them was too far for this
        bound, they are not looked at again.
        """
        if theta is self._taken_at or bound == 0.0:
            return 0.0
        above = math.log(bound / tolerance)
        if 0.8 * self._moved + above > 0.0:
            return 0.8 * self._moved + above
        moves = row_moves(self.rows, theta - self._taken_at)
        moves = np.minimum(self.rows.loss.self_concordance * moves, _FAR)
        missing = float(moves.max()) + above
        return self._missing_beside_movers(gradient, moves, missing, tolerance)

    def _missing_beside_movers(self, gradient, moves, missing, tolerance):
        """:meth:`_missing` without the rows that have moved most, where that is less and is worth a
        factor."""
        farthest = float(moves.max())
        if missing <= 0.0 or not self._metric.is_regular:
            self._moved = farthest
            return missing
        if self._beside is None:
            most = farthest - missing
            self._moved = KeptBesideMovers.size(moves, most)
            if self._moved > most:
                return self._moved - most
            if not self.pace.pays(_LOOK + _FACTORS * costs(self.framed).factor, missing):
                return missing
            at = self._metric.factor, self._taken_at
            self._beside = KeptBesideMovers(self.rows, *at, moves, self._moved)
        decrement = self._beside.decrement(gradient, moves)
        return min(missing, math.log(decrement / self.share / tolerance))

    def _factored(self, rows, theta):
        """The Hessian of some rows at theta."""
        singular = self._singular if rows is self.rows else SingularDirections(rows)
        return factor_hessian(rows, rows.hessian(theta), singular)

    def _bound(self, gradient):
        """``1/2 g^T M^-1 g / c``, M where it was taken."""
        factor = self._metric.factor
        steps_in_it = factor is self._steps.factor
        solved = self._steps.solved(gradient) if steps_in_it else factor.solve(gradient.ravel())
        return 0.5 * float(gradient.ravel() @ solved) / self.share


class SampledMetric(LazyMetric):
    """The Hessian M of a sample of rows at first, and of all where that pays.

    With s_i / pi_i as the weights of the sampled rows, pi_i the probability with which row i was
    drawn, M is an unbiased likeness. Every term of a Hessian is positive semi-definite and the
    sampled terms are part of the whole, so that with S' the sum of the weights of the sample

        H(theta) >= c M(theta),  c = min(1, min(pi) S' / S),

    and no row of the sample needs to be looked at for the bound but its own.

    Parameters
    ----------
    framed : BlockObjective
    samples : list of BlockObjective
        Each larger than the one before.
    share : float
        c of the last.
    pace : Pace
    """

    is_sampled = True
    _longest = 1.0

    def __init__(self, framed, samples, share, pace):
        super().__init__(framed, pace, samples[-1], share)
        self.samples = samples

    def spans_the_rows(self):
        """Whether the sample is rank-deficient only as X is, which costs a look at all rows.

        Then it vanishes where X does and nowhere else, and the bound holds all the same.
        """
        of_all = SingularDirections(self.framed).null
        self._same_rank = self._singular.null.shape[1] == of_all.shape[1]
        return self._same_rank

    def descend_samples(self, theta):
        """Descend on each sample in turn, from the smallest; theta of the last, and its Hessian.

        The metric of a sample is the Hessian of the one before; that of the first its own at the
        start, which from theta = 0 costs no more than a Gram matrix.
        """
        metric = self._factored(self.samples[0], theta)
        for sample in self.samples:
            # The optimum of a sample is about q / n from that of all rows: no use going on.
            close = 0.05 * theta.size / sample.blocks.n_samples
            for _ in range(_MAX_SAMPLE_ROUNDS):
                at, decrement = _quasi_newton(with_gradient(sample, theta), metric.factor, close)
                theta = at.theta
                metric = self._factored(sample, theta)
                if decrement <= close * float(at.loss[0]):
                    break
        self._take(metric, theta)
        return theta


def _quasi_newton(at, factor, close):
    """Some quasi-Newton steps on a sample; where they end, and the last estimated decrement."""
    steps = QuasiNewton(factor)
    sample, decrement = at.objective, math.inf
    for _ in range(_MAX_SAMPLE_STEPS):
        direction = steps.direction(at.gradient)
        decrement = -0.5 * float(at.gradient.ravel() @ direction.ravel())
        before = at
        at, t = backtrack(at, direction, lambda theta: with_gradient(sample, theta))
        if decrement <= close * float(at.loss[0]) or t == 0.0:
            break
        steps.remember(at.theta - before.theta, before.gradient, at.gradient)
    return at, decrement
