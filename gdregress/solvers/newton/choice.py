"""Which metric Newton's method works in, decided by what it would cost; the only such place.

The contract of a metric:

``look(theta)``
    The :class:`~gdregress.problem.evaluation.Evaluation` at a theta where the next direction may
    begin, from one pass over the rows that brings what a direction needs.
``direction(at, tolerance)`` -> (direction, decrement)
    A descent direction and the decrement ``1/2 g^T H^-1 g``; infinite where only a bound of it
    will be known.
``remember(before, after, t)``
    What a step of length t has shown: the evaluations before and after it.
``is_sampled``
    Whether it begins with a descent on samples of the rows.
``proves(at, tolerance)``
    Whether the decrement is within the tolerance by a bound for which no Hessian is needed.
``spared``
    The step that is not taken where it is, or a longer one, if that is known.
``is_kept``
    Whether its Hessian is that of another theta or of a sample; then ``certifies`` bounds the
    decrement.
``gives_up``
    Whether :func:`newton_metric` is to take over; ``is_hard`` says to it that Hessian after Hessian
    was called for, or product after product.
``is_last_resort``
    Whether there is no other metric to go on in where a step of this one fails.
``is_exact``, ``is_saturated``
    Whether the last direction solved ``H d = -g`` to several digits; whether it could not, for a
    Hessian that is singular to rounding.
``is_suspicious``
    Whether it hints at columns that are nearly dependent.
``is_blind``
    Whether it could not see the curvature along a direction that the gradient has.

Costs are those of ``costs``, in passes that bring loss and gradient.
"""

import math
from dataclasses import dataclass

from .among_rows import AmongRowsMetric
from .at_zero import AtZeroMetric
from .costs import costs
from .damped import DampedMetric
from .diagonal import DiagonalMetric
from .full import FullMetric
from .kept import LazyMetric, SampledMetric
from .krylov import KrylovMetric
from .preconditioners import blocks_cost, solves_pay

__all__ = ["Limits", "Pace", "choose_metric", "newton_metric", "sampled_metric"]

# What a step in a new metric is hoped to divide the decrement by until it is seen: of a sample,
# of all rows, in its blocks, and by products, of which one step takes about a dozen. At the most;
# see ``Pace``.
_HOPE = {
    "sample": math.log(8.0),
    "all": math.log(20.0),
    "blocks": math.log(2.0),
    "products": math.log(20.0) / 12.0,
}
# Blocks are made if they cost no more passes than this, and where half the logarithm of loss over
# decrement is this: far out curvature changes too much.
_WORTH_BLOCKS, _SETTLED = 40.0, 0.5 * math.log(100.0)
# Steps over which progress is measured.
_WINDOW = 3
# Newton's method makes about so many Hessians, lazily so many with so many steps; so many products.
_NEWTON_HESSIANS, _LAZY_HESSIANS, _LAZY_STEPS, _PRODUCTS = 7, 3, 9, 60
# Of one output they go in a diagonal, and may be this many times as many.
_DOUBT = 2.0

# Rows of a sample for each parameter of a coupled loss are at least five, and more where a Hessian
# of all rows costs less passes than this for each; but no more than so many.
_WORTH_OF_A_SAMPLE, _MOST_PER_PARAMETER = 120.0, 12.0

# A kept Hessian needs a bound, and its last step squares nothing: it has to save this much.
_WORTH = 0.65
# A coupled loss has to have so many rows for each parameter for it.
_ROWS_TO_KEEP = 7


@dataclass(frozen=True)
class Limits:
    """What decides between the metrics beside their cost.

    Attributes
    ----------
    parameters : int
        More than these: the Hessian is applied, not factored.
    smallest, growth : int
        Rows of the smallest sample, and the growth from one to the next.
    largest_share : float
        A sample of more than this share of the rows does not pay.
    sample_bytes : int
    """

    parameters: int = 2500
    smallest: int = 2000
    growth: int = 8
    largest_share: float = 0.35
    sample_bytes: int = 24 * 2**20


_LIMITS = Limits()


class Pace:
    """How fast the decrement falls for what is spent, and whether another metric would pay.

    With l the logarithm of decrement over tolerance, and r the fall of its logarithm for each pass
    over the rows, the metric at hand needs l / r more. Another one of cost C needs C + l / r', r'
    being what the first step showed when it was last tried, and a hope before that, and again once
    the steps since then have cost C. The least of these is chosen, so that slow steps end when they
    have cost about what a Hessian costs: far from the optimum, where the decrement says little of
    the progress, a fit takes no more than about twice the time of a Hessian at every step.

    A kept Hessian serves the better the nearer to the optimum it is made: far out curvature changes
    on the way (Doikov, Chayti & Jaggi 2023, "Second-order optimization with lazy Hessians"). So no
    step in one made here is hoped to divide the decrement by more than
    ``(loss / decrement)^(1/2)``, or by 2 where that is less; and where blocks of one are an option
    nothing else is tried before the decrement is small beside the loss.

    Parameters
    ----------
    options : dict of str to float
        The cost of each other metric, in passes that bring loss and gradient.
    """

    def __init__(self, options):
        self.options = options
        self._shown = {}  # of each metric that was tried: r' and what had been spent by then
        self._last = None
        self._spent, self._trail = 0.0, []

    def spend(self, passes):
        """Passes that a step has taken."""
        self._spent += passes

    def begin(self, name, decrement):
        """Another metric is at work, and the decrement in it."""
        self._last, self._trail = name, []
        self._note(decrement)

    def _note(self, decrement):
        self._trail.append((self._spent, math.log(decrement) if decrement > 0.0 else -math.inf))

    def better(self, decrement, tolerance, loss):
        """The name of the metric that would get there sooner, or None; all three at one theta."""
        self._note(decrement)
        if len(self._trail) < 2 or not decrement > tolerance > 0.0:
            return None
        rate, low = self._rate(), self._trail[-1][1]
        if len(self._trail) == 2 and self._last is not None:
            self._shown[self._last] = rate, self._spent
        left = low - math.log(tolerance)
        here = 0.5 * math.log(max(loss / decrement, 4.0))
        needed = {
            name: cost + _over(left, self._expected(name, here))
            for name, cost in self.options.items()
        }
        best = min(needed, key=needed.get, default=None)
        return best if best is not None and needed[best] < _over(left, rate) else None

    def _expected(self, name, here):
        """The rate that another metric is thought to have; no Hessian made here more than that."""
        if "blocks" in self.options and here < _SETTLED:
            return 0.0
        hope = _HOPE[name] if name in {"blocks", "products"} else min(_HOPE[name], here)
        rate, spent = self._shown.get(name, (hope, self._spent))
        return hope if self._spent - spent >= self.options[name] else rate

    def pays(self, cost, missing):
        """Whether what costs so many passes is less than steps that lower a bound by e^missing."""
        return cost < max(1.0, _over(missing, self._rate()))

    def _rate(self):
        """The fall of the logarithm of the decrement for a pass, over the last steps."""
        if len(self._trail) < 2:
            return _HOPE["sample"]
        (before, high), (now, low) = (
            self._trail[-min(len(self._trail), _WINDOW + 1)],
            self._trail[-1],
        )
        return max(high - low, 0.0) / (now - before) if now > before else 0.0


def _over(left, rate):
    return left / rate if rate > 0.0 else math.inf


def choose_metric(framed, limits=_LIMITS):
    """Samples of the rows where they pay, else a Hessian of all that is kept, or one each step."""
    if framed.loss.self_concordance is None:  # a Hessian that is kept would certify nothing
        return newton_metric(framed, limits)
    size = _sample_size(framed, limits)
    others = (framed.blocks.n_samples, 1) if size is None else (size, 2)
    diagonal = DiagonalMetric.diagonal_for(framed, *others)
    if diagonal is not None:
        return DiagonalMetric(framed, Pace({"all": costs(framed).metric}), diagonal)
    sampled = sampled_metric(framed, limits)
    if sampled is not None:
        return sampled
    patience = _patience_with_products(framed, limits)
    if patience > 0.0:
        return KrylovMetric(framed, patience=patience)
    every_step = newton_metric(framed, limits)
    n_parameters = framed.shape[0] * framed.shape[1]
    cost = costs(framed)
    lazy = _LAZY_HESSIANS * cost.hessian + _LAZY_STEPS
    # With few rows classes nearly separate, and the curvature changes all the way.
    changes = framed.loss.is_coupled and framed.blocks.n_weighing < _ROWS_TO_KEEP * n_parameters
    fits = n_parameters <= limits.parameters and not changes
    if fits and lazy < _WORTH * _expected(every_step, cost.hessian):
        return LazyMetric(framed, Pace({"all": cost.metric}))
    if framed.loss.has_gauge and solves_pay(framed) and type(every_step) is KrylovMetric:
        options, blocks = {"products": 1.0}, blocks_cost(framed)
        if blocks <= _WORTH_BLOCKS:
            options["blocks"] = blocks
        elif fits:
            options["all"] = cost.metric
        return AtZeroMetric.of(framed, Pace(options)) or every_step
    return every_step


def newton_metric(framed, limits=_LIMITS, *, before=None):
    """The Hessian of all rows at every step: factored, or applied where that costs less.

    `before` is the metric that has given up, or failed: where that was this Hessian, it is lifted.
    """
    if isinstance(before, FullMetric) and not before.is_lifted:
        return DampedMetric(framed, is_lifted=True)
    blocks = before.blocks if isinstance(before, AtZeroMetric) else None
    if framed.shape[0] * framed.shape[1] <= limits.parameters:
        if isinstance(before, KrylovMetric) and before.is_outdone:
            return LazyMetric(framed, Pace({"all": costs(framed).metric}))
        is_hard = before is not None and before.is_hard
        hessian = costs(framed).hessian if framed.loss.is_coupled and not is_hard else 0.0
        if _applies(hessian):
            is_first = before is None or isinstance(before, AtZeroMetric)
            may_keep = is_first and framed.loss.self_concordance is not None
            kept = hessian if may_keep else math.inf
            return KrylovMetric(framed, _NEWTON_HESSIANS * (1.0 + hessian), kept, blocks)
        return DampedMetric(framed) if DampedMetric.suits(framed) else FullMetric(framed)
    if AmongRowsMetric.suits(framed):
        return AmongRowsMetric(framed)
    return KrylovMetric(framed, begin_with=blocks)


def _patience_with_products(framed, limits):
    """How many products are tried before Hessians: as many as a fit with kept ones costs,
    where columns are sparse and a ridge bounds the decrement, if these are enough; else none.

    In short rows of words a product costs next to nothing, a factor no less than in any others.
    """
    n_features, n_outputs = framed.shape
    is_sparse = framed.blocks.design.prices.pair < math.inf and framed.penalty.l2 > 0.0
    if n_outputs > 1 or n_features > limits.parameters or not is_sparse:
        return 0.0
    cost = costs(framed)
    patience = _LAZY_HESSIANS * cost.metric + _LAZY_STEPS
    return patience if patience > _DOUBT * _PRODUCTS else 0.0


def _applies(hessian):
    """Whether products are fewer passes than the Hessians of Newton's method at such a cost."""
    return _NEWTON_HESSIANS * (1.0 + hessian) > _PRODUCTS


def _expected(metric, hessian):
    """The passes that a fit may take, a Hessian costing so many."""
    return _NEWTON_HESSIANS * (1.0 + hessian) if type(metric) is FullMetric else _PRODUCTS


def _sample_size(framed, limits):
    """Rows of a sample that pays, or None."""
    n_features, n_outputs = framed.shape
    n_samples = framed.blocks.n_weighing
    if n_features * n_outputs > limits.parameters:
        return None
    if limits.smallest > limits.largest_share * n_samples:
        return None
    cost = costs(framed)
    if not framed.loss.is_coupled:
        size = max(20 * n_features, min(n_samples // 10, 2000 * n_features), limits.smallest)
    else:
        n_parameters = n_features * n_outputs
        size = max(5 * n_parameters, n_samples // 20, limits.smallest)
        many = min(_MOST_PER_PARAMETER, _WORTH_OF_A_SAMPLE / cost.hessian) * n_parameters
        size = max(size, int(min(many, limits.largest_share * n_samples)))
    needed = size
    if framed.blocks.stores_zeros:
        size = min(size, limits.sample_bytes // (8 * n_features))
    return None if size > limits.largest_share * n_samples or size < needed // 8 else size


def sampled_metric(framed, limits=_LIMITS):
    """Samples of the rows where they pay, else None."""
    size = _sample_size(framed, limits)
    if size is None:
        return None
    n_features, n_outputs = framed.shape
    cost = costs(framed)
    largest, share = framed.sampled(size)
    samples = [largest]
    smallest = max(limits.smallest, 5 * n_features * n_outputs)
    while samples[0].blocks.n_samples > limits.growth * smallest:
        samples.insert(0, samples[0].thinned(limits.growth))
    options = {"sample": cost.metric_of(largest.blocks.n_samples), "all": cost.metric}
    if framed.loss.is_coupled and _applies(cost.hessian):
        options["products"] = 1.0
    return SampledMetric(framed, samples, share, Pace(options))
