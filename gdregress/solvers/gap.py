"""How far a theta is from the optimum, in units of the loss, and what that is measured against.

L = F + r(W), with F smooth. B, the Hessian bound of ``objective``, is no less than the Hessian of F
anywhere. v is the least of the subgradients of L: the gradient g of F, and with an L1 norm

    v_j = g_j + l1 sign(w_j) where w_j is not 0,    v_j = sign(g_j) max(|g_j| - l1, 0) elsewhere.

**The measure**, ``1/2 v^T B^-1 v``. Eliminating the intercept, which is not penalised, leaves

    v^T B^-1 v = v_b^2 / c + u^T C^-1 u,    u = v_W - mean_x v_b,

with ``C = c/S sum_i s_i (x_i - mean_x)(x_i - mean_x)^T + l2 I``: no mean of a column, no unit and
no correlation matters. A matrix T with ``T^T T = B^-1`` is made once; then an iteration pays one
product. It leaves out directions in which X is rank-deficient: v has no part there (without a rough
penalty), and rounding noise divided by a rounded zero would be all there is to see. Of losses that
declare no bound of their curvature, c is that at the best constant model, and the measure says when
it is worth asking the Hessian, no more.

*Squares*: B is the Hessian, so that for every other theta'

    L(theta') >= L(theta) + v^T (theta' - theta) + 1/2 (theta' - theta)^T B (theta' - theta),

and the least of the right hand side says ``L(theta) - min L <= 1/2 v^T B^-1 v``, with equality
where there is no rough part (Boyd & Vandenberghe 2004, section 9.1.2, in the metric of B).

*Other losses*, such as the logistic ones: a step ``-B^-1 g`` already gains ``1/2 g^T B^-1 g``, so
that without a rough part the measure is a *lower* bound of what is possible: above the tolerance,
the optimum is surely not reached; below it, rows whose probabilities have come near 0 or 1 bend
the loss less than B says, and more may be possible. Then the Hessian H at theta certifies.

**The certificate.** A step u moves the linear predictor of row i by dz_i. The third derivative of
the logistic losses is bounded by their second (Bach 2010, "Self-concordant analysis for logistic
regression", section 2): along u, ``|F'''| <= max_i |dz_i| F''``, the range of dz_i over the classes
with several outputs. With ``|u|_H^2 = u^T H u``, kappa the largest move of a row by a step of
length 1, and lambda^2 = v^T H^-1 v (half of it is the decrement of Newton's method),

    L(theta + u) - L(theta) >= -lambda t + (e^(-kappa t) - 1 + kappa t) / kappa^2,    t = |u|_H,

and the minimum over t, where ``a = kappa lambda < 1``, says

    L(theta) - min L <= lambda^2 (a + (1 - a) log(1 - a)) / a^2 = lambda^2 (1/2 + a/6 + ...).

Of a >= 1, as along classes that a plane separates, nothing is known. A loss says for itself whether
it is of this kind (``self_concordance``, a factor of kappa).

Of a loss whose curvature jumps, as Huber's, nothing follows from the Hessian at theta alone. Where
it says how low the curvature of a row can fall while no row moves by more than a radius
(``least_curvature``), let H be that Hessian, with lambda and kappa as above. While no row has moved
so far, ``L(theta + u) >= L(theta) - lambda t + t^2 / 2``: above L(theta) at t > 2 lambda, so that
the optimum lies within, if ``2 kappa lambda`` is no more than the radius, and

    L(theta) - min L <= lambda^2 / 2.

Of a loss that declares neither, nothing is proven, and no fit of it calls itself converged, but by
strong convexity below.

**The duality gap** of squares with an L1 norm needs no inverse of C and is valid where columns
outnumber rows. With ``|r|^2`` the mean square of the centred residuals and the rows of the ridge,
``X~^T r = -u`` of the smooth part, and any s in [0, 1] for which ``s |u_j| <= l1``,

    L(theta) - min L <= v_b^2 / 2 + (1 - s)^2 |r|^2 / 2 + sum_j (l1 |w_j| + s u_j w_j)

(Fercoq, Gramfort & Salmon 2015, "Mind the duality gap"; s is chosen to make it least).

Of the logistic losses, with residuals r_i (probabilities less labels) at a theta whose intercept
makes their weighted sum vanish, g the gradient of the mean loss there, loss* the conjugate, an
entropy, and ``t = min(1, l1 / max_j |g_j|)``, or t = 1 and a ridge,

    min L >= -1/S sum_i s_i loss*(y_i, t r_i) - sum_j max(|t g_j| - l1, 0)^2 / (2 l2).

**Strong convexity**: with a ridge, ``L - min L <= v_b^2 / (2 c) + |u|^2 / (2 l2)`` for squares, and
for other losses without a rough part ``|g_W|^2 / (2 l2)`` where the intercept is at its best:
L less the ridge is convex, and so is its minimum over the intercept. That is the certificate where
columns far outnumber rows. And as no loss is negative, no gap exceeds L.

**The yardstick** is what a fit can gain: the loss of the best constant model, ``1/2 var y`` or the
entropy of the class shares, and without an intercept L(0). Tolerances are shares of it.
:func:`gain` is that number; ``criterion``, ``converged_``, warnings and tables all use it.
"""

import math
import sys
from functools import cached_property

import numpy as np
from scipy import linalg
from scipy.linalg import lapack
from scipy.linalg.blas import dnrm2

from .._linalg import above_rounding
from ..problem.margins import conjugate_value, largest_leverage, largest_move
from .newton.hessian import SingularDirections, factor_hessian
from .newton.krylov import KrylovMetric

__all__ = ["DEFAULT_SHARE", "OptimalityGap", "gain", "is_factorable", "prove"]

_EPS = np.finfo(np.float64).eps
# The default of ``tol``: coefficients of standardised columns are within 1 % then.
DEFAULT_SHARE = 1e-7
# Dense columns up to this many: B is formed and factored.
_MAX_COLUMNS = 2048
_FEW_COLUMNS = 200
# The reciprocal condition up to which a Cholesky factor tells all directions from noise.
_MIN_RCOND = 1e-12
# Parameters up to this many, and multiplications of a coupled loss: the Hessian is factored.
_MAX_FACTORED_PARAMETERS, _MAX_COUPLED_WORK = 2500, 1e9
_MAX_INTERCEPT_STEPS = 10
# An intercept is at its best where the mean residual is rounding, of a loss as large as the gain.
_CENTRED = 1e-12
# Radii tried until the optimum is known to lie within one.
_MAX_RADII = 6


def gain(objective):
    """What a fit can gain: the loss of the best constant model, L(0) without an intercept; of one
    beyond float64 its largest number."""
    return min(0.5 * objective.reach * objective.reach, sys.float_info.max)


def is_factorable(objective, most_columns=_MAX_COLUMNS):
    """Whether the Hessian bound of an objective is worth forming and factoring."""
    n_columns = objective.shape[0] - 1
    blocks = getattr(objective, "blocks", None)
    return blocks is None or (n_columns <= most_columns and n_columns <= 4 * blocks.n_samples)


class OptimalityGap:
    """The gap ``L(theta) - min L`` of one objective; see the module for the mathematics.

    ``share`` measures it as a share of the gain, in every iteration; ``proven`` is a valid bound
    of it where one is known, as a share too; ``bound`` is one in units of the loss.

    Parameters
    ----------
    objective : object
        One over rows (``objective``) or of moments (``quadratic``), in the original columns.
    most_columns : int
        B of more is not formed.
    """

    def __init__(self, objective, *, most_columns=_MAX_COLUMNS):
        self.objective = objective
        self.reach = objective.reach
        self._l1, self._l2 = objective.penalty.l1, objective.penalty.l2
        self._is_smooth = objective.penalty.is_smooth
        self._c = objective.curvature_scale
        self._has_duality = self._l1 > 0.0 and objective.is_quadratic
        self._is_factorable = is_factorable(objective, most_columns)
        # From moments of few columns T costs less than it saves from the first iteration on.
        has_moments = getattr(objective, "blocks", None) is None
        self._is_cheap = has_moments and objective.shape[0] <= _FEW_COLUMNS
        self._mean = self._size = self._root = None
        self._is_full = False
        self._last_proven = None

    def share(self, theta, loss, gradient, tolerance):
        """The measure as a share of the gain, free of units; see the module.

        Above the `tolerance` it may be a rough lower bound, which costs less: T is made when a
        single coordinate no longer shows that the optimum is elsewhere.
        """
        v = self.objective.penalty.least_subgradient(theta, gradient)
        dual = self._duality(theta, loss, gradient) if self._has_duality else math.inf
        if self._root is None:
            if not self._is_factorable:
                return dual if self._has_duality else self._by_columns(v, sum)
            if not self._is_cheap and (rough := self._rough(v, tolerance)) > tolerance:
                return min(dual, rough)
            self._make_root()
        measured = self._share_of(float(dnrm2(np.dot(self._root, v[:, 0]).ravel())))
        if self._is_smooth or self._is_full:
            return min(dual, measured)
        return dual if self._has_duality else max(measured, self._by_columns(v, sum))

    def proven(self, theta, loss, gradient, measured):
        """A bound of the gap as a share of the gain, `measured` being that of :meth:`share`.

        Of other losses than squares it needs the Hessian at theta. Where that is too large to be
        factored it is the decrement that conjugate gradients find, which is an estimate; infinite
        where nothing is known.
        """
        if self.objective.is_quadratic:
            known = self._is_smooth or self._has_duality or self._is_full
            return measured if known else math.inf
        if self._last_proven is None or self._last_proven[0] is not theta:
            self._last_proven = theta, self._proven(theta, loss, gradient)
        return self._last_proven[1]

    def _proven(self, theta, loss, gradient):
        bound = math.inf
        if self._is_factorable or (self._is_smooth and self._l2 == 0.0):
            v = self.objective.penalty.least_subgradient(theta, gradient)
            bound = self._certificate(theta, v)
        elif self._is_smooth:
            bound = self._logistic_strong_convexity(theta, loss)
        has_conjugate = hasattr(self.objective.loss, "conjugate")
        if not math.isfinite(bound) and self._l1 > 0.0 and has_conjugate:
            bound = self._logistic_duality(theta, loss)
        return bound / self.gain if self.gain > 0.0 else math.inf

    def bound(self, theta, loss, gradient, proven):
        """A valid bound of ``L(theta) - min L``; `proven` is the share that is, else infinite."""
        bounds = [float(loss), proven * self.gain]
        if self.objective.is_quadratic:
            if (self._is_factorable and self._is_smooth) or self._has_duality:
                bounds.append(self.share(theta, loss, gradient, math.inf) * self.gain)
            if self._l2 > 0.0:
                bounds.append(self._strong_convexity(theta, gradient))
        return max(0.0, min(bounds))

    @property
    def gain(self):
        """See :func:`gain`."""
        return gain(self.objective)

    def _share_of(self, distance):
        """``distance^2 / reach^2``; 0 where there is no distance, whatever the reach."""
        if distance == 0.0:
            return 0.0
        ratio = distance / self.reach if self.reach > 0.0 else math.inf
        return ratio * ratio

    def _centred(self, v):
        """``u = v_W - mean_x v_b``, shape (n_features, n_outputs)."""
        if self._mean is None:
            self._mean, variance = self.objective.column_centres()
            size = np.sqrt(self._c * variance + self._l2)[:, None]
            # A column of zeros, or constant, has neither curvature nor gradient.
            self._size = np.where(size > 0.0, size, np.inf)
            self._mean = self._mean[:, None]
        return v[:-1, 0] - self._mean * v[-1, 0]

    def _rough(self, v, tolerance):
        """The largest part of one coordinate alone; that of the intercept where it says enough, as
        nobody has to look at the columns for it."""
        if self._mean is None:
            intercept = self._share_of(float(np.abs(v[-1, 0]).max()) / math.sqrt(self._c))
            if intercept > tolerance:
                return intercept
        return self._by_columns(v, max)

    def _by_columns(self, v, together):
        """``u_j^2 / C_jj`` of each column alone, and the intercept: their largest, or their sum."""
        parts = self._centred(v)
        parts /= self._size
        intercept = v[-1, 0] / math.sqrt(self._c)
        if together is max:
            largest = max(parts.max(), -parts.min(), intercept.max(), -intercept.min())
            return self._share_of(float(largest))
        return self._share_of(float(np.hypot(dnrm2(parts.ravel()), dnrm2(intercept))))

    def _make_root(self):
        """T, with ``T^T T = B^-1``, rows for the intercept and for every direction kept."""
        frame, mean, gram = self.objective.centred_gram
        gram = gram * self._c
        gram.flat[:: len(gram) + 1] += self._l2 / frame.scale**2
        inverse, self._is_full = _inverse_root(gram)
        inverse /= frame.scale
        root = np.zeros((len(inverse) + 1, len(gram) + 1))
        root[:-1, :-1] = inverse
        root[:-1, -1] = -(inverse @ (frame.shift + frame.scale * mean))
        root[-1, -1] = 1.0 / math.sqrt(self._c)
        self._root = root

    def _duality(self, theta, loss, gradient):
        """The duality gap of squares with an L1 norm, as a share of the gain."""
        coef, u, v_b = theta[:-1, 0], self._centred(gradient), gradient[-1, 0]
        unfit = float(loss) - self._l1 * float(np.abs(coef).sum()) - self.objective.floor
        square = max(2.0 * unfit - float(v_b @ v_b), 0.0)
        pull = float(np.vdot(u, coef))
        steepest = float(np.abs(u).max(initial=0.0))
        s = max(1.0 - pull / square, 0.0) if square > 0.0 else 1.0
        s = min(s, self._l1 / steepest) if steepest > 0.0 else s
        parts = float((self._l1 * np.abs(coef) + s * u * coef).sum())
        gap = 0.5 * float(v_b @ v_b) + 0.5 * (1.0 - s) ** 2 * square + parts
        return self._share_of(math.sqrt(2.0 * max(gap, 0.0)))

    def _logistic_duality(self, theta, loss):
        """The duality gap of the logistic losses with an L1 norm."""
        objective = self.objective
        at = self._with_centred_residuals(theta)
        _, gradient = objective.value_and_gradient(at)
        pull = gradient[:-1] - self._l2 * at[:-1]
        steepest = float(np.abs(pull).max(initial=0.0))
        t = 1.0 if self._l2 > 0.0 or steepest <= self._l1 else self._l1 / steepest
        dual = -conjugate_value(objective, at, t)
        if self._l2 > 0.0:
            excess = np.maximum(np.abs(pull) - self._l1, 0.0)
            dual -= float(np.vdot(excess, excess)) / (2.0 * self._l2)
        return max(float(loss) - dual, 0.0)

    def _logistic_strong_convexity(self, theta, loss):
        """``L(theta) - L(at) + |g_W|^2 / (2 l2)`` with a ridge, at the best intercept."""
        if not hasattr(self.objective.loss, "curvature"):
            return math.inf
        at = self._with_centred_residuals(theta)
        value, gradient = self.objective.value_and_gradient(at)
        if np.abs(gradient[-1]).max() > _CENTRED * max(1.0, self.gain):
            return math.inf
        size = float(dnrm2(gradient[:-1].ravel()))
        return max(float(loss) - float(value[0]), 0.0) + 0.5 * size * size / self._l2

    def _with_centred_residuals(self, theta):
        """theta with the intercept that is best for its coefficients, by Newton's method."""
        objective, n_outputs = self.objective, theta.shape[2]
        if not objective.fit_intercept:
            return theta
        units = np.zeros((len(theta), n_outputs, n_outputs))
        units[-1] = np.eye(n_outputs)
        for _ in range(_MAX_INTERCEPT_STEPS):
            pull = objective.value_and_gradient(theta)[1][-1, 0]
            if np.abs(pull).max() <= 4.0 * _EPS:
                break
            curvature = objective.hessian_at(theta).product(units)[-1]
            curvature += np.trace(curvature) / n_outputs**2 * objective.loss.has_gauge
            theta = theta.copy()
            theta[-1, 0] -= np.linalg.lstsq(curvature, pull, rcond=None)[0]
        return theta

    def _strong_convexity(self, theta, gradient):
        """``v_b^2 / (2 c) + |u|^2 / (2 l2)``, of squares with a ridge."""
        v = self.objective.penalty.least_subgradient(theta, gradient)
        u, v_b = self._centred(v), v[-1, 0]
        return 0.5 * float(v_b @ v_b) / self._c + 0.5 * float(np.vdot(u, u)) / self._l2

    @cached_property
    def _framed(self):
        """The objective in a frame for its Hessian."""
        return self.objective.in_frame(self.objective.frames.sure())

    @cached_property
    def _singular(self):
        return SingularDirections(self._framed)

    def _certificate(self, theta, v):
        """The bound of losses that are not quadratic, infinite where nothing is known."""
        objective, loss = self.objective, self.objective.loss
        steadiness, falls = loss.self_concordance, hasattr(loss, "least_curvature")
        if steadiness is None and not falls:
            return math.inf
        if not self._is_smooth and self._l2 == 0.0 and loss.has_gauge:
            return math.inf  # H vanishes along the gauge of the coefficients, and v does not
        framed = self._framed
        inside, pull = framed.frame.enter(theta), framed.frame.gradient_inside(v)
        n_parameters = theta.size
        work = objective.blocks.n_samples * n_parameters**2 if loss.is_coupled else 0
        if n_parameters > _MAX_FACTORED_PARAMETERS or work > _MAX_COUPLED_WORK:
            if steadiness is None:
                return math.inf
            hessian = framed.hessian_at(inside)
            step, decrement = KrylovMetric(framed).solve(hessian, pull, 0.0)
            return decrement if steadiness * largest_move(framed, step) <= 1.0 else math.inf
        if steadiness is None:
            return self._within_a_radius(framed, inside, pull)
        length, leverage = self._length_and_leverage(framed, framed.hessian(inside), pull)
        return _self_concordant(length, steadiness * leverage)

    def _length_and_leverage(self, framed, hessian, pull):
        """lambda and kappa of the module in a Hessian; infinite where it bends too little."""
        factored = factor_hessian(framed, hessian, self._singular)
        factor, solves = factored.factor, factored.is_exact and factored.factor.rcond > _MIN_RCOND
        if not (factored.is_regular or (self._is_smooth and solves)):
            return math.inf, math.inf
        if pull.ravel()[factored.dead].any():
            return math.inf, math.inf
        root = factor.inverse_root()
        return float(dnrm2(root @ pull.ravel())), largest_leverage(framed, root)

    def _within_a_radius(self, framed, inside, pull):
        """``lambda^2 / 2`` of the least Hessian within a radius that holds the optimum."""
        radius = 0.0
        for _ in range(_MAX_RADII):
            hessian = framed.least_hessian(inside, radius)
            length, leverage = self._length_and_leverage(framed, hessian, pull)
            needed = 2.0 * length * leverage
            if needed <= radius or not math.isfinite(needed):
                break
            radius = 2.0 * needed
        return 0.5 * length**2 if needed <= radius else math.inf


def prove(found, objective, gap, tol, at=None):
    """Set the bound of the gap of a solution, and whether it is proven to be within `tol`.

    For ``tol = 0``, which asks for iterations and not for an optimum, within its default. `at` is
    the last evaluation of the objective: where it is that of the solution, nothing is repeated.
    """
    tolerance, theta = tol or DEFAULT_SHARE, found.theta
    with np.errstate(all="ignore"):
        if at is None or at.theta is not theta:
            at = objective.at(theta).having("gradient")
        loss, gradient = at.loss[0], at.gradient
        share = gap.share(theta, loss, gradient, tolerance)
        proven = math.inf
        if share <= tolerance:
            proven = gap.proven(theta, loss, gradient, share)
        found.gap = gap.bound(theta, loss, gradient, proven)
    found.proven = bool(proven <= tolerance)


def _self_concordant(length, leverage):
    """``lambda^2 (a + (1 - a) log(1 - a)) / a^2``, a = kappa lambda; infinite from a = 1 on."""
    a = leverage * length
    if not a < 1.0:
        return math.inf
    if a < 1e-4:  # the series: the difference would cancel
        return length**2 * (0.5 + a / 6.0 + a * a / 12.0 + a**3)
    return length**2 * (a + (1.0 - a) * math.log1p(-a)) / a**2


def _inverse_root(matrix):
    """W with ``W^T W`` the inverse of a positive semi-definite matrix, and whether of all of it.

    Of the matrix with a unit diagonal: by Cholesky, or by eigenvalues above rounding level.
    """
    unit = np.sqrt(matrix.diagonal())
    alive = unit > 0.0
    unit = np.where(alive, unit, 1.0)
    scaled = matrix / unit / unit[:, None]
    if alive.all():
        upper, failed = lapack.dpotrf(scaled)
        if not failed:
            rcond, _ = lapack.dpocon(upper, lapack.dlange("1", scaled))
            if rcond > _MIN_RCOND:
                return np.tril(lapack.dtrtri(upper)[0].T) / unit, True
    eigenvalues, vectors = linalg.eigh(scaled, check_finite=False)
    kept = above_rounding(eigenvalues)
    return (vectors[:, kept] / np.sqrt(eigenvalues[kept])).T / unit, bool(kept.all())
