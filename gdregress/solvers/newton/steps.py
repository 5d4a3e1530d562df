"""Steps: how far along a direction, and directions that learn from the steps before."""

from functools import partial

import numpy as np

__all__ = ["QuasiNewton", "backtrack", "first_length", "may_spare", "with_gradient"]

_EPS = np.finfo(np.float64).eps
_ARMIJO = 1e-4
# Steps shorter than 2^-30 of a direction move nothing: their decrease is rounding.
_MAX_HALVINGS = 30
# A step that promises this share of the loss is worth a look at how long it should be, and how long
# it may get.
_GOOD_PART, _LONGEST = 0.03, 3.0
# Above so many roundings of the loss a tolerance is loose.
_LOOSE = 1e6
# A column of which a penalty has more than this share of the curvature is held by it alone.
_ALONE = 0.999


def with_gradient(objective, theta):
    """The evaluation at theta, from one pass that brings loss and gradient."""
    return objective.at(theta).having("gradient")


def may_spare(framed, tolerance, loss):
    """Whether a tolerance is loose beside a loss, and what is found is not refined afterwards.

    Whoever asks for all digits gets the step that squares what is left.
    """
    is_loose = bool(tolerance > _LOOSE * _EPS * loss)
    return is_loose and not framed.frame.is_provisional


def first_length(at, direction, decrement):
    """The length at which the loss is least along a Newton direction, or about so; at least 1.

    Far from the optimum the curvature of a logistic loss falls along a step, which is too short
    then. With ``f(t)`` the objective along it, one Newton step from t = 1:

        t = 1 - f'(1) / f''(1)

    It costs two products with X, and is made where the step promises a good part of the loss: there
    it spares every third Hessian.
    """
    if not _GOOD_PART * float(at.loss[0]) < decrement < np.inf:
        return 1.0
    slope, curvature = at.objective.slope(at.theta + direction, direction)
    if not (slope < 0.0 and curvature > 0.0):
        return 1.0
    return min(1.0 - slope / curvature, _LONGEST)


def backtrack(at, direction, look, step=1.0):
    """The first of t = step, step/2, step/4, ... with sufficient decrease; 0 at rounding level.

    ``look(theta)`` is the evaluation at the first trial, which is rarely rejected. Returns the
    evaluation at the new theta, and t.
    """
    slope = float(np.vdot(at.gradient, direction))
    loss = float(at.loss[0])
    noise = 8.0 * _EPS * abs(loss)
    for _ in range(_MAX_HALVINGS):
        trial = look(at.theta + step * direction)
        if trial.loss[0] <= loss + _ARMIJO * step * slope + noise:
            return trial, step
        step *= 0.5
        look = partial(with_gradient, at.objective)
    return at, 0.0


class QuasiNewton:
    """L-BFGS with ``gamma M^-1`` in the place of its initial diagonal; `factor` solves with M.

    Where the last pair (s, y) shows more curvature than M has,
    ``gamma = s^T y / y^T M^-1 y < 1`` (Nocedal & Wright 2006, equation 7.20 in the metric of M)
    shortens what M alone would make too long, or every step would be halved. Where it shows less,
    gamma is at most `longest`: the Hessian of a theta far out has too much curvature, for that of a
    logistic loss falls on the way; that of a sample errs either way. The curvature of a penalty
    does not fall: of columns j that it holds alone, ``(gamma - 1) / M_jj`` is taken off again.

    With the pairs as the rows of S and Y, V = Y M^-1, R the upper triangle of ``S Y^T`` and D its
    diagonal (Byrd, Nocedal & Schnabel 1994, "Representations of quasi-Newton matrices and their use
    in limited memory methods", theorem 2.2)

        H g = gamma M^-1 g + S^T w - gamma V^T u,
        u = R^-1 S g,    w = R^-T (D u + gamma (Y V^T u - V g)).

    Each gradient takes one solve with M, which serves its pair and its bound, too. ``R^-1`` is
    kept, and grows by a column with each pair:

        (R  r)^-1   (R^-1  -R^-1 r / d)
        (0  d)    = (0            1 / d).
    """

    def __init__(self, factor, longest=1.0, memory=20):
        self._factor, self._longest, self._memory, self._n_pairs = factor, longest, memory, 0
        self._held = None  # 1 / M_jj of the columns that a penalty holds alone, and 0
        # S, Y and V, R^-1 and Y V^T, and D, once there is a pair.
        self._pairs = self._products = self._diagonal = None
        self._gradient = self._solved = None

    @staticmethod
    def n_bytes(memory, size):
        """What so many pairs of so many unknowns take, and what M makes of them."""
        return 3 * memory * 8 * size

    @property
    def factor(self):
        return self._factor

    @factor.setter
    def factor(self, factor):
        self._factor, self._gradient = factor, None
        if self._n_pairs:
            _, Y, V = self._pairs[:, : self._n_pairs]
            V[:] = factor.solve(Y.T).T
            self._products[1, : self._n_pairs, : self._n_pairs] = Y.dot(V.T)

    def hold(self, ridge):
        """What the penalty adds to the diagonal of M."""
        alone = ridge > _ALONE * self._factor.unit**2
        self._held = np.divide(1.0, ridge, out=0.0 * ridge, where=alone) if alone.any() else None

    def solved(self, gradient):
        """``M^-1 g``, flat; of the gradient at hand once."""
        if gradient is not self._gradient:
            self._gradient, self._solved = gradient, self._factor.solve(gradient.ravel())
        return self._solved

    def direction(self, gradient):
        """``-H g``."""
        n, solved = self._n_pairs, self.solved(gradient)
        if n == 0:
            return -solved.reshape(gradient.shape)
        (S, Y, V), (inverse, YV) = self._pairs[:, :n], self._products[:, :n, :n]
        g, D = gradient.ravel(), self._diagonal[:n]
        gamma = min(self._longest, D[-1] / YV[-1, -1]) if YV[-1, -1] > 0.0 else 1.0
        if self._held is not None and gamma > 1.0:
            excess = (1.0 - 1.0 / gamma) * self._held
            solved, V = solved - excess * g, V - excess * Y
            YV = Y.dot(V.T)
        u = inverse.dot(S.dot(g))
        w = (D * u + gamma * (YV.dot(u) - V.dot(g))).dot(inverse)
        return (gamma * (u.dot(V) - solved) - w.dot(S)).reshape(gradient.shape)

    def remember(self, change, before, after):
        """Keep a change of theta and that of the gradient, if they show a positive curvature."""
        s, y = change.ravel(), (after - before).ravel()
        d = s.dot(y)
        if not d > 0.0:
            return
        if self._pairs is None:
            n = self._memory
            self._pairs = np.empty((3, n, len(s)))
            self._products, self._diagonal = np.zeros((2, n, n)), np.empty(n)
        if self._n_pairs == self._memory:
            self._pairs[:, :-1] = self._pairs[:, 1:].copy()
            self._products[:, :-1, :-1] = self._products[:, 1:, 1:].copy()
            self._diagonal[:-1] = self._diagonal[1:].copy()
            self._n_pairs -= 1
        last = self._n_pairs
        self._n_pairs += 1
        S, Y, V = self._pairs[:, : self._n_pairs]
        inverse, YV = self._products[:, : self._n_pairs, : self._n_pairs]
        solved = self.solved(before)
        S[last], Y[last], V[last] = s, y, self.solved(after) - solved
        self._diagonal[last], inverse[last, last] = d, 1.0 / d
        inverse[:last, last] = inverse[:last, :last].dot(S[:last].dot(y)) / -d
        YV[:, last] = YV[last] = Y.dot(V[last])
