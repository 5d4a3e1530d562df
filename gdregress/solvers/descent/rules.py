"""Update rules: the direction of a step. How long the step is, the learning rate says.

The contract of every rule, with theta of shape (n_features + 1, n_models, n_outputs):

``init(theta, stochastic)`` -> state
    The rule's memory before the first step, a dict of arrays and numbers; `stochastic` tells
    whether gradients come from mini-batches.
``update(gradient, state)`` -> (direction, state)
    The step is ``theta <- theta - learning_rate * direction``.
``extrapolate(theta, previous, point, state)`` -> (point, state)
    Where the next gradient is taken, after the step from ``previous`` to ``theta`` made with the
    gradient at ``point``; theta itself unless the rule looks ahead.
``stable_below(curvature, state)`` -> float or None
    The full-batch learning rate below which the rule is stable on a quadratic whose largest
    eigenvalue is `curvature`; None where none is known, and none is claimed.

Rules hold only constructor parameters and never change: one instance may serve many fits. A new one
is a class of :class:`UpdateRule`, and a line in ``RULES`` gives it a name.
"""

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from ..._ranges import POSITIVE, SHARE, TRUTH, Range, check_ranges
from ..._typing import State, Theta
from ..needs import SMOOTH, Need
from .models import along_models, inner_products, numbers

__all__ = [
    "RULES",
    "Adagrad",
    "Adam",
    "GradientDescent",
    "Momentum",
    "Nesterov",
    "RMSProp",
    "UpdateRule",
    "searching_rules",
]


class UpdateRule(BaseEstimator):
    """Base of the rules; see the module for the contract."""

    _ranges: ClassVar[dict[str, Range]] = {}
    # Whether a step goes along the (extrapolated) gradient itself: for such steps the proximal step
    # and the line search are derived, and for those of plain descent stochastic Polyak rates.
    has_proximal_step: bool = False
    has_polyak_rate: bool = False
    looks_ahead: bool = False
    # Whether the mean of the iterates, of equal weights, is returned.
    average: bool = False
    # Whether the rule divides by the size of past gradients.
    is_adaptive: bool = False
    # Rules that divide by the size of past gradients move each coefficient by about the learning
    # rate per step, so theirs is in units of theta; the curvature only says where it is too much.
    default_learning_rate: float | None = None
    # Of such a rule, its rate as a share of how far a coordinate can go.
    natural_share: float = 1.0

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the rule needs of a loss and a penalty."""
        return () if self.has_proximal_step else (SMOOTH,)

    @property
    def stochastic_share(self) -> float:
        """The share of the plain mini-batch rate that is safe when past gradients accumulate."""
        return 1.0

    def init(self, theta: Theta, stochastic: bool = False) -> State:
        return {}

    def update(self, gradient: Theta, state: State) -> tuple[Theta, State]:
        raise NotImplementedError

    def extrapolate(
        self, theta: Theta, previous: Theta, point: Theta, state: State
    ) -> tuple[Theta, State]:
        return theta, state

    def stable_below(self, curvature: float, state: State) -> float | None:
        return None

    def check(self) -> None:
        """Raise ValueError or TypeError for a parameter outside its range."""
        check_ranges(self)


def _below(factor: float, curvature: float) -> float:
    """``factor / curvature``; where nothing curves every rate is stable."""
    return factor / curvature if curvature > 0.0 else math.inf


class GradientDescent(UpdateRule):
    """Plain gradient descent, ``theta <- theta - eta grad L(theta)`` (Cauchy 1847).

    With an L1 penalty each step ends with soft thresholding (ISTA). On a quadratic it is stable
    below ``eta = 2 / lambda``, lambda the largest eigenvalue of the Hessian.

    Parameters
    ----------
    average : bool, default=False
        Return the mean of the iterates (Polyak & Juditsky 1992) instead of the last. With the
        automatic rate of mini-batches it is a mean in any case, in which late iterates weigh more;
        True gives them equal weights.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> model = LinearRegression(solver="gd", learning_rate=0.1, max_iter=1, tol=0)
    >>> model.fit([[0.0], [2.0]], [1.0, 3.0]).coef_
    array([0.3])
    """

    has_proximal_step: bool = True
    has_polyak_rate: bool = True

    _ranges: ClassVar[dict[str, Range]] = {"average": TRUTH}

    def __init__(self, *, average: bool = False) -> None:
        self.average: bool = average

    def update(self, gradient: Theta, state: State) -> tuple[Theta, State]:
        return gradient, state

    def stable_below(self, curvature: float, state: State) -> float:
        return _below(2.0, curvature)


class Momentum(UpdateRule):
    """Heavy ball: ``v <- beta v + grad L(theta)``, ``theta <- theta - eta v``.

    Polyak (1964), "Some methods of speeding up the convergence of iteration methods". The
    velocity starts at zero. Stable on a quadratic below ``eta = 2 (1 + beta) / lambda``.

    Parameters
    ----------
    beta : float, default=0.9
        Share of the velocity that is kept, in [0, 1).
    average : bool, default=False
        Return the mean of the iterates instead of the last.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> model = LinearRegression(solver=Momentum(beta=0.5), tol=1e-12)
    >>> model.fit([[0.0], [2.0], [4.0]], [1.0, 3.0, 5.0]).coef_.round(4)
    array([1.])
    """

    _ranges: ClassVar[dict[str, Range]] = {"beta": SHARE, "average": TRUTH}

    def __init__(self, beta: float = 0.9, *, average: bool = False) -> None:
        self.beta: float = beta
        self.average: bool = average

    @property
    def stochastic_share(self) -> float:
        return 1.0 - self.beta

    def init(self, theta: Theta, stochastic: bool = False) -> State:
        return {"velocity": np.zeros_like(theta)}

    def update(self, gradient: Theta, state: State) -> tuple[Theta, State]:
        velocity = self.beta * state["velocity"] + gradient
        return velocity, {"velocity": velocity}

    def stable_below(self, curvature: float, state: State) -> float:
        return _below(2.0 * (1.0 + self.beta), curvature)


class Nesterov(UpdateRule):
    """Nesterov's accelerated gradient: step from a point ahead of theta.

        theta_k = y_k - eta grad L(y_k),    y_(k+1) = theta_k + beta_k (theta_k - theta_(k-1))

    With ``beta=None`` and full batches, beta_k = (t_k - 1) / t_(k+1) with the growing sequence
    t_1 = 1, t_(k+1) = (1 + sqrt(1 + 4 t_k^2)) / 2, the loss then falls as O(1 / k^2); with an L1
    penalty this is FISTA. On mini-batches the growing sequence would amplify the noise, so
    ``beta=None`` means 0.9 there. Nesterov (1983); Beck & Teboulle (2009); restart by the
    gradient test of O'Donoghue & Candès (2015), "Adaptive restart for accelerated gradient
    schemes": when (y_k - theta_k)^T (theta_k - theta_(k-1)) > 0, t starts again at 1.

    Parameters
    ----------
    beta : float or None, default=None
        A fixed extrapolation in [0, 1), or None. With a fixed beta the rule is stable on a
        quadratic below ``eta = 2 (1 + beta) / ((1 + 2 beta) lambda)``.
    restart : bool, default=True
        Restart the growing sequence when it overshoots; without effect for a fixed beta.
    average : bool, default=False
        Return the mean of the iterates instead of the last.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> model = LinearRegression(solver="nesterov", tol=1e-12)
    >>> model.fit([[0.0], [2.0], [4.0]], [1.0, 3.0, 5.0]).coef_.round(4)
    array([1.])
    """

    has_proximal_step: bool = True
    looks_ahead: bool = True
    _STOCHASTIC_BETA = 0.9

    _ranges: ClassVar[dict[str, Range]] = {
        "beta": replace(SHARE, accepted="None or a number in [0, 1)", optional=True),
        "restart": TRUTH,
        "average": TRUTH,
    }

    def __init__(
        self, beta: float | None = None, restart: bool = True, *, average: bool = False
    ) -> None:
        self.beta: float | None = beta
        self.restart: bool = restart
        self.average: bool = average

    @property
    def stochastic_share(self) -> float:
        return 1.0 - (self._STOCHASTIC_BETA if self.beta is None else self.beta)

    def init(self, theta: Theta, stochastic: bool = False) -> State:
        if self.beta is not None:
            return {"beta": self.beta}
        return {"beta": self._STOCHASTIC_BETA} if stochastic else {"t": 1.0}

    def update(self, gradient: Theta, state: State) -> tuple[Theta, State]:
        return gradient, state

    def extrapolate(
        self, theta: Theta, previous: Theta, point: Theta, state: State
    ) -> tuple[Theta, State]:
        ahead = theta - previous
        if "beta" in state:
            return theta + state["beta"] * ahead, state
        if theta.shape[1] == 1:
            beta, t = self._grown(state["t"], float(np.vdot(point - theta, ahead)))
            stands = beta == 0.0
        else:
            overshoots = inner_products(point - theta, ahead)
            pairs = map(self._grown, numbers(state["t"], theta), overshoots)
            beta, t = (along_models(list(each)) for each in zip(*pairs, strict=True))
            stands = not beta.any()
        if stands:
            return theta, {"t": t}
        ahead *= beta
        ahead += theta
        return ahead, {"t": t}

    def _grown(self, t: float, overshoot: float) -> tuple[float, float]:
        """The extrapolation after t, and the next t."""
        if self.restart and overshoot > 0.0:
            return 0.0, 1.0
        t_next = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t))
        return (t - 1.0) / t_next, t_next

    def stable_below(self, curvature: float, state: State) -> float:
        if "beta" not in state:
            return _below(1.0, curvature)
        beta = state["beta"]
        return _below(2.0 * (1.0 + beta) / (1.0 + 2.0 * beta), curvature)


class Adagrad(UpdateRule):
    """``G <- G + g^2``, ``theta <- theta - eta g / (sqrt(G) + epsilon)``, elementwise.

    Duchi, Hazan & Singer (2011), "Adaptive subgradient methods", the diagonal variant. The
    learning rate is in units of theta; ``"auto"`` is a share of how far a coordinate can go, and
    falls by a tenth where the loss rises.

    Parameters
    ----------
    epsilon : float, default=1e-10
        Added to the root, > 0.
    average : bool, default=False
        Return the mean of the iterates instead of the last.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> model = LinearRegression(solver=Adagrad(), learning_rate=0.01, max_iter=1, tol=0)
    >>> model.fit([[0.0], [2.0]], [1.0, 3.0]).coef_.round(4)
    array([0.01])
    """

    is_adaptive: bool = True
    default_learning_rate: float | None = 0.01
    natural_share: float = 0.5

    _ranges: ClassVar[dict[str, Range]] = {"epsilon": POSITIVE, "average": TRUTH}

    def __init__(self, epsilon: float = 1e-10, *, average: bool = False) -> None:
        self.epsilon: float = epsilon
        self.average: bool = average

    def init(self, theta: Theta, stochastic: bool = False) -> State:
        return {"squares": np.zeros_like(theta)}

    def update(self, gradient: Theta, state: State) -> tuple[Theta, State]:
        squares = state["squares"] + gradient * gradient
        return gradient / (np.sqrt(squares) + self.epsilon), {"squares": squares}


class RMSProp(UpdateRule):
    """``v <- rho v + (1 - rho) g^2``, ``theta <- theta - eta g / (sqrt(v) + epsilon)``.

    Tieleman & Hinton (2012), lecture 6.5, uncentred, v starts at zero without bias correction. The
    learning rate is in units of theta; ``"auto"`` is a share of how far a coordinate can go, and
    falls by a tenth where the loss rises.

    Parameters
    ----------
    rho : float, default=0.9
        Decay of the mean square, in [0, 1).
    epsilon : float, default=1e-8
        Added to the root, > 0.
    average : bool, default=False
        Return the mean of the iterates instead of the last.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> model = LinearRegression(solver=RMSProp(rho=0.75), learning_rate=0.01, max_iter=1, tol=0)
    >>> model.fit([[0.0], [2.0]], [1.0, 3.0]).coef_.round(4)  # 0.01 / sqrt(1 - rho)
    array([0.02])
    """

    is_adaptive: bool = True
    default_learning_rate: float | None = 0.01
    natural_share: float = 0.05

    _ranges: ClassVar[dict[str, Range]] = {"rho": SHARE, "epsilon": POSITIVE, "average": TRUTH}

    def __init__(self, rho: float = 0.9, epsilon: float = 1e-8, *, average: bool = False) -> None:
        self.rho: float = rho
        self.epsilon: float = epsilon
        self.average: bool = average

    def init(self, theta: Theta, stochastic: bool = False) -> State:
        return {"mean_square": np.zeros_like(theta)}

    def update(self, gradient: Theta, state: State) -> tuple[Theta, State]:
        mean_square = self.rho * state["mean_square"] + (1.0 - self.rho) * gradient * gradient
        direction = gradient / (np.sqrt(mean_square) + self.epsilon)
        return direction, {"mean_square": mean_square}


class Adam(UpdateRule):
    """Moments with bias correction; ``theta <- theta - eta m^ / (sqrt(v^) + epsilon)``.

        m <- beta1 m + (1 - beta1) g,      m^ = m / (1 - beta1^t)
        v <- beta2 v + (1 - beta2) g^2,    v^ = v / (1 - beta2^t)

    Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1. The learning
    rate is in units of theta; ``"auto"`` is a share of how far a coordinate can go, and falls by a
    tenth where the loss rises.

    Parameters
    ----------
    beta1, beta2 : float, default=0.9 and 0.999
        Decay of the mean and of the mean square, in [0, 1).
    epsilon : float, default=1e-8
        Added to the root, > 0.
    average : bool, default=False
        Return the mean of the iterates instead of the last.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> model = LinearRegression(solver=Adam(beta1=0.8), learning_rate=0.5, max_iter=1, tol=0)
    >>> model.fit([[0.0], [2.0]], [1.0, 3.0]).coef_.round(4)
    array([0.5])
    """

    is_adaptive: bool = True
    default_learning_rate: float | None = 0.01
    natural_share: float = 0.05

    _ranges: ClassVar[dict[str, Range]] = {
        "beta1": SHARE,
        "beta2": SHARE,
        "epsilon": POSITIVE,
        "average": TRUTH,
    }

    def __init__(
        self,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        average: bool = False,
    ) -> None:
        self.beta1: float = beta1
        self.beta2: float = beta2
        self.epsilon: float = epsilon
        self.average: bool = average

    def init(self, theta: Theta, stochastic: bool = False) -> State:
        return {"mean": np.zeros_like(theta), "mean_square": np.zeros_like(theta), "t": 0}

    def update(self, gradient: Theta, state: State) -> tuple[Theta, State]:
        t = state["t"] + 1
        mean = self.beta1 * state["mean"] + (1.0 - self.beta1) * gradient
        mean_square = self.beta2 * state["mean_square"] + (1.0 - self.beta2) * gradient * gradient
        root = np.sqrt(mean_square / (1.0 - self.beta2**t)) + self.epsilon
        direction = mean / (1.0 - self.beta1**t) / root
        return direction, {"mean": mean, "mean_square": mean_square, "t": t}


RULES: dict[str, type[UpdateRule]] = {
    "gd": GradientDescent,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": Adagrad,
    "rmsprop": RMSProp,
    "adam": Adam,
}


def searching_rules() -> list[str]:
    """The names of the rules whose steps a line search may choose."""
    return [name for name, rule in RULES.items() if rule.has_proximal_step]
