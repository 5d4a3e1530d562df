"""What a later call needs to go on where an earlier one ended."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .history import History
from .solvers.descent.coordinates import natural_rate
from .solvers.descent.loop import DescentState
from .solvers.descent.rules import UpdateRule

__all__ = ["Descent", "automatic_rate"]

# A rate times a gradient has to stay within float64.
_LARGEST_RATE = 1e300


@dataclass
class Descent:
    """A descent that may go on, and what it belongs to; an estimator keeps it as ``_descent``."""

    state: DescentState
    history: History
    rule: UpdateRule
    seed: int  # of the batches, and of the rows held out
    n_samples: int
    shape: tuple  # (n_features, n_outputs)
    classes: Any = None  # of a classifier
    begun_at: int = 0  # the iteration with which the current fit began
    rate: float = np.inf  # the last automatic rate of a stream
    pending: bool = False  # read from a checkpoint, in the middle of a fit
    is_stream: bool = False  # gone on with by partial_fit

    @classmethod
    def begin(cls, estimator, rule, theta, n_samples, seed, *, stochastic):
        """The descent before its first step; the generator is its own."""
        generator = np.random.default_rng(seed)
        state = DescentState.begin(theta, rule, stochastic=stochastic, generator=generator)
        shape = (theta.shape[0] - 1, theta.shape[2])
        classes = getattr(estimator, "classes_", None)
        return cls(state, History(), rule, seed, n_samples, shape, classes)

    def copy(self):
        """A descent that may go on without touching this one: a fit that fails loses nothing."""
        return replace(self, state=self.state.copy(), history=self.history.copy())

    def check_rule(self, estimator, rule):
        """The rule and its parameters are those it has been made with."""
        if type(rule) is not type(self.rule) or repr(rule) != repr(self.rule):
            self._refuse(estimator, "solver", self.rule, rule)

    def check_data(self, estimator, n_samples, shape, classes):
        """The rows are of the kind it has been made with, the same in number if it is pending."""
        if self.pending and n_samples != self.n_samples:
            self._refuse(estimator, "number of rows of X", self.n_samples, n_samples)
        if classes is not None and not np.array_equal(classes, self.classes):
            self._refuse(estimator, "classes of y", self.classes.tolist(), classes.tolist())
        if shape[0] != self.shape[0]:
            self._refuse(estimator, "number of features of X", self.shape[0], shape[0])
        if shape[1] != self.shape[1]:
            self._refuse(estimator, "number of targets of y", self.shape[1], shape[1])

    def _refuse(self, estimator, what, before, now):
        name = type(estimator).__name__
        if self.pending:
            raise ValueError(
                f"The checkpoint that this {name} was loaded from has another {what}: {before!r}, "
                f"where fit has {now!r}. Fit the same data with the same parameters to continue, "
                f"or sklearn.base.clone(...) to start anew."
            )
        raise ValueError(
            f"{name} continues a fit with another {what}: {before!r} then, {now!r} now. Start anew "
            f"with warm_start=False, or with sklearn.base.clone(...) before partial_fit."
        )


def automatic_rate(objective, rule, batch_size, *, coordinates=None, is_part=False):
    """The step size that is safe for the rule; see ``learning_rate`` of the estimators.

    Mini-batches of `batch_size` rows; None means full batches; steps in `coordinates` where given.
    The rate of adaptive rules is a share of how far a coordinate can go, in mini-batches all of
    them together. A part of a stream (`is_part`) does not tell how large the targets of others
    are: there it is a constant, and of a classifier less where columns are large.
    """
    if rule.is_adaptive and is_part:
        if objective.is_quadratic:
            return rule.default_learning_rate
        harmless = natural_rate(objective, None, 0.5, together=True)
        return min(rule.default_learning_rate, harmless)
    if rule.is_adaptive:
        share, together = rule.natural_share, batch_size is not None
        rate = natural_rate(objective, coordinates, share, together=together)
        return rate if math.isfinite(rate) else rule.default_learning_rate
    if coordinates is not None:
        return 1.0 / coordinates.curvature if coordinates.curvature > 0.0 else 1.0
    if batch_size is None:
        curvature = objective.hessian_bound_norm()
    else:
        curvature = 2.0 * objective.expected_smoothness(batch_size) / rule.stochastic_share
    if curvature <= 0.0:
        return 1.0
    if 1.0 / curvature > _LARGEST_RATE:
        raise FloatingPointError(
            "The squares of X are so small that learning_rate='auto' leaves the range of float64; "
            "gradient descent works in the units of X: standardise X, or use an exact solver."
        )
    return 1.0 / curvature
