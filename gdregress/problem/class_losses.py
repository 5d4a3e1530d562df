"""Cross-entropy, the loss of classes: of two, and of more; see ``losses`` for the contract."""

import math
from functools import cache

import numpy as np
from scipy.special import entr, expit, log_expit, logsumexp, softmax

from .._linalg import add_to_rows
from ..rows.design import weigh
from .losses import Loss, Separate

__all__ = ["LogLoss", "SoftmaxLoss"]

# Products of two probabilities that are made at a time: 2 MiB.
_PAIR_NUMBERS = 2**18
# An array, as NumPy would make one of a number in every call, for a third of what the call takes.
_MINUS = np.array(-1.0)
# The exponential of more would leave float64 soon.
_LARGEST_POWER = 700.0


class LogLoss(Separate):
    """``loss(y, z) = log(1 + e^z) - y z`` for y in {0, 1}: binary cross-entropy.

    ``P(y = 1) = sigma(z) = 1 / (1 + e^-z)``; gradient ``sigma(z) - y``; curvature
    ``sigma(z) (1 - sigma(z)) <= 1/4``. Evaluated through the sign ``s = 1 - 2 y`` and
    ``t = s z``, by which the row is on the wrong side: then sigma(t) is the probability of the
    other class, without cancellation, and

        loss = log(1 + e^t),    gradient = s sigma(t),    curvature = sigma(t) sigma(-t).
    """

    curvature_bound = 0.25
    self_concordance = 1.0  # Bach 2010, "Self-concordant analysis for logistic regression"

    @staticmethod
    def value_at_zero(n_outputs):
        return math.log(2.0)

    @staticmethod
    def best_constant(y, sample_weight, fit_intercept):
        """From the entropy of the class shares, ``-sum_k q_k log q_k``."""
        share = float(np.average(y[:, 0], weights=sample_weight))
        entropy = float(entr(share) + entr(1.0 - share)) if fit_intercept else math.log(2.0)
        return math.sqrt(2.0 * entropy)

    @staticmethod
    def _signed(y, z):
        """The sign s and ``t = s z``."""
        sign = 1.0 - 2.0 * y[:, None, :]
        return sign, sign * z

    def value(self, y, z):
        # log(1 + e^t) = max(t, 0) + log(1 + e^-|t|), which cannot overflow
        _, t = self._signed(y, z)
        return (np.maximum(t, 0.0) + np.log1p(np.exp(-np.abs(t))))[:, :, 0]

    def value_and_gradient(self, y, z):
        sign, t = self._signed(y, z)
        return self.value(y, z), sign * expit(t)

    @staticmethod
    def _odds(t):
        """``e^t``, t up to 700, and ``1 + e^t``: all else is made of this one exponential."""
        odds = np.minimum(t, _LARGEST_POWER)
        np.exp(odds, out=odds)
        return odds, 1.0 + odds

    def sum_and_gradient(self, y, z, sample_weight):
        """``sigma(t) = e^t / (1 + e^t)`` beside ``log(1 + e^t)``, which is t where t is large.

        Losses below rounding level, 1e-16 a row, vanish; :meth:`value` keeps them.
        """
        sign, t = self._signed(y, z)
        odds, total = self._odds(t)
        gradient = np.divide(odds, total, out=odds)
        gradient *= sign
        return self._sum(total, t, sample_weight), gradient

    def sum_gradient_and_curvature(self, y, z, sample_weight):
        """As :meth:`sum_and_gradient`, with ``sigma(t) sigma(-t) = sigma(t) / (1 + e^t)``."""
        sign, t = self._signed(y, z)
        odds, total = self._odds(t)
        gradient = np.divide(odds, total, out=odds)
        curvature = self._bent(gradient, total, t)
        gradient *= sign
        return self._sum(total, t, sample_weight), gradient, curvature

    @staticmethod
    def _bent(probability, total, t):
        """``sigma(t) sigma(-t)``; where t is too large for its odds, none."""
        rest = (t < _LARGEST_POWER) / total
        rest *= probability
        return rest

    @staticmethod
    def _sum(total, t, sample_weight):
        """The weighted sum of the losses, from ``1 + e^t``, which it overwrites."""
        value = np.log(total, out=total)
        np.maximum(value, t, out=value)
        if sample_weight is None:
            return np.add.reduce(value, axis=(0, 2))  # called without NumPy's Python
        return np.dot(sample_weight, value[:, :, 0])

    def slope(self, y, z, dz, sample_weight):
        odds, total = self._odds(z)
        gradient = np.divide(odds, total, out=odds)
        bent = np.divide(gradient, total, out=total)
        gradient -= y[:, None]
        bent *= dz
        along = weigh(dz, sample_weight)
        return np.vdot(gradient, along), np.vdot(bent, along)

    def of_batch(self, y, z, sample_weight):
        """With the residual r at hand, ``|r| = sigma(t)`` and the loss is ``-log(1 - |r|)``, which
        is at least ``|r| + r^2 / 2 >= 3/2 r^2``.

        Where that leaves float64, far on the wrong side, it is made from z.
        """
        residual = expit(z)
        residual -= y
        r = residual[:, 0]
        weighed = r if sample_weight is None else r * sample_weight

        def total():
            value = np.log1p(np.copysign(r, _MINUS))
            total = np.add.reduce(value) if sample_weight is None else np.dot(sample_weight, value)
            if total > -math.inf:
                return -float(total)
            return float(self.sum_and_gradient(y, z[:, None], sample_weight)[0][0])

        return 1.5 * float(weighed.dot(r)), residual, total

    @staticmethod
    def gradient(y, z):
        expit(z, out=z)
        z -= y
        return z

    @staticmethod
    def conjugate(y, u):
        """``p log p + (1 - p) log(1 - p)`` with ``p = y + u``."""
        p = np.clip(y[:, None, :] + u, 0.0, 1.0)
        return -(entr(p) + entr(1.0 - p))[:, :, 0]

    @staticmethod
    def margin(y, z):
        return (2.0 * y - 1.0) * z[:, :, 0]

    def rival(self, y, z):
        return np.abs(self.gradient(y[:, None], z.copy()))[:, :, 0]

    def curvature(self, y, z):
        """``sigma(z) (1 - sigma(z))``, without cancellation for large ``|z|``."""
        odds, total = self._odds(z)
        odds /= total
        return self._bent(odds, total, z)

    @staticmethod
    def probabilities(z):
        """Class probabilities, shape (n, 2), of decision values ``z`` of shape (n, 1)."""
        return np.hstack([expit(-z), expit(z)])

    @staticmethod
    def log_probabilities(z):
        """Logarithms of :meth:`probabilities`, finite where the probability underflows."""
        return np.hstack([log_expit(-z), log_expit(z)])


class SoftmaxLoss(Loss):
    """``loss(y, z) = log sum_k e^(z_k) - z_y`` for y in {0, ..., K - 1}: cross-entropy.

    ``P(y = k) = softmax(z)_k``; gradient ``softmax(z) - onehot(y)``; curvature
    ``diag(p) - p p^T <= 1/2 I`` (Böhning 1992, "Multinomial logistic regression algorithm").
    Adding a constant to all outputs changes nothing (the gauge).
    """

    curvature_bound = 0.5
    self_concordance = 1.0  # of the range over the classes; Bach 2010, section 2
    is_coupled = has_gauge = True

    @staticmethod
    def value_at_zero(n_outputs):
        return math.log(n_outputs)

    @staticmethod
    def best_constant(y, sample_weight, fit_intercept):
        """From the entropy of the class shares, ``-sum_k q_k log q_k``."""
        share = np.bincount(y[:, 0], weights=sample_weight)
        share = share / share.sum()
        entropy = float(entr(share).sum()) if fit_intercept else math.log(len(share))
        return math.sqrt(2.0 * entropy)

    def value(self, y, z):
        return self.value_and_gradient(y, z)[0]

    def value_and_gradient(self, y, z):
        if z.shape[1] == 1:
            value, p, own = self._value_and_probabilities(y, np.ascontiguousarray(z[:, 0].T))
            p.reshape(-1)[own] -= 1.0
            return value[:, None], _lying_as(z, p)
        gradient = z - z.max(axis=2, keepdims=True)
        own = np.arange(len(z))[:, None], np.arange(z.shape[1]), y
        linear = gradient[own]
        np.exp(gradient, out=gradient)
        total = gradient.sum(axis=2, keepdims=True)
        gradient /= total
        gradient[own] -= 1.0
        return np.log(total[:, :, 0]) - linear, gradient

    @staticmethod
    def _value_and_probabilities(y, scores):
        """Of one model: the loss of every row, the probabilities p, (K, n) as the scores are, and
        the places of the own classes in them."""
        n_rows = scores.shape[1]
        own = y[:, 0] * n_rows + np.arange(n_rows)
        p = scores - np.maximum.reduce(scores, axis=0)
        linear = p.take(own)
        np.exp(p, out=p)
        total = np.add.reduce(p, axis=0)
        p /= total
        value = np.log(total, out=total)
        value -= linear
        return value, p, own

    def sum_gradient_and_curvature(self, y, z, sample_weight):
        if z.shape[1] > 1:
            return super().sum_gradient_and_curvature(y, z, sample_weight)
        value, p, own = self._value_and_probabilities(y, np.ascontiguousarray(z[:, 0].T))
        gradient = p.copy()
        gradient.reshape(-1)[own] -= 1.0
        mean = value.sum() if sample_weight is None else np.dot(sample_weight, value)
        return np.array([mean]), _lying_as(z, gradient), _lying_as(z, p)

    def slope(self, y, z, dz, sample_weight):
        """With d what dz has beside its mean ``p^T dz``, ``-d_y`` and ``p^T d^2`` of each row."""
        _, p, own = self._value_and_probabilities(y, np.ascontiguousarray(z[:, 0].T))
        dz = np.ascontiguousarray(dz[:, 0].T)
        beside = dz - np.add.reduce(p * dz, axis=0)
        p *= beside
        if sample_weight is None:
            return -np.add.reduce(beside.take(own)), np.vdot(p, beside)
        return -np.dot(sample_weight, beside.take(own)), np.vdot(p, beside * sample_weight)

    @staticmethod
    def gradient(y, z):
        z -= z.max(axis=-1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=-1, keepdims=True)
        if z.ndim == 2:
            z[np.arange(len(z)), y[:, 0]] -= 1.0
        else:
            z[np.arange(len(z))[:, None], np.arange(z.shape[1]), y[:, 0]] -= 1.0
        return z

    @staticmethod
    def margin(y, z):
        own, others = y[:, None], z.copy()
        np.put_along_axis(others, own, -np.inf, axis=2)
        return np.take_along_axis(z, own, axis=2)[:, :, 0] - others.max(axis=2)

    def rival(self, y, z):
        # The gradient of a row is its probabilities, less 1 for its own class.
        rivals = np.abs(self.gradient(y[:, None], z.copy()))
        np.put_along_axis(rivals, y[:, None], np.inf, axis=2)
        return rivals.min(axis=2)

    @staticmethod
    def moves(dz):
        return np.ptp(dz, axis=2)

    @staticmethod
    def conjugate(y, u):
        """``sum_k p_k log p_k`` with ``p = onehot(y) + u``."""
        p = u.copy()
        p[np.arange(len(u))[:, None], np.arange(u.shape[1]), y] += 1.0
        return -entr(np.maximum(p, 0.0)).sum(axis=2)

    @staticmethod
    def curvature(y, z):
        """The probabilities p, of which ``diag(p) - p p^T`` is made."""
        p = np.exp(z - z.max(axis=2, keepdims=True))
        p /= p.sum(axis=2, keepdims=True)
        return p

    @staticmethod
    def curve(rows, dz):
        curved = rows * dz
        if dz.shape[1] > 1:
            return rows * (dz - curved.sum(axis=2, keepdims=True))
        mean = np.dot(curved[:, 0], np.ones(dz.shape[2]))  # faster than sums over so few
        np.copyto(curved, dz)
        add_to_rows(curved[:, 0], -mean)
        curved *= rows
        return curved

    @staticmethod
    def hessian(design, rows, sample_weight):
        """``diag(p) - p p^T`` couples the classes: X^T diag(s (p_k [k = l] - p_k p_l)) X.

        As ``1 - p_k`` is the sum of the others, a Gram matrix ``G_kl = X^T diag(s p_k p_l) X`` of
        each pair of classes is all it takes: the block of k and l is ``-G_kl``, that of k alone
        ``sum_l G_kl``. Slab by slab, for a row takes a number for each pair.
        """
        p = rows[:, 0].T
        n_outputs, n_rows = p.shape
        first, second = _class_pairs(n_outputs)
        if p[0, 0] == 1.0 / n_outputs and (p == p[0, 0]).all():
            # Rows bend alike: X^T diag(s) X kron (I / K - 1 1^T / K^2)
            gram = design.gram(sample_weight)
            row = (np.eye(n_outputs) - 1.0 / n_outputs) / n_outputs
            return (gram[:, None, :, None] * row[:, None]).reshape(2 * (gram.shape[0] * n_outputs,))
        if not design.n_columns:  # the intercepts alone: one product with all pairs
            gram = np.dot(p if sample_weight is None else p * sample_weight, p.T)
            np.fill_diagonal(gram, 0.0)
            return np.diag(gram.sum(axis=0)) - gram
        slab, grams = max(8, _PAIR_NUMBERS // len(first)), 0.0
        for begin in range(0, n_rows, slab):
            end = min(begin + slab, n_rows)
            run = p[:, begin:end]
            weights = run[first] * run[second]
            if sample_weight is not None:
                weights *= sample_weight[begin:end]
            part = design if end - begin == n_rows else design.part(begin, end)
            grams = grams + part.grams(weights.T)
        return _from_pairs(grams, n_outputs)

    @staticmethod
    def curvature_diagonal(rows):
        return rows * (1.0 - rows)

    @staticmethod
    def probabilities(z):
        """Class probabilities, shape (n, K), of decision values ``z`` of shape (n, K)."""
        return softmax(z, axis=1)

    @staticmethod
    def log_probabilities(z):
        """Logarithms of :meth:`probabilities`, finite where the probability underflows."""
        return z - logsumexp(z, axis=1, keepdims=True)


def _lying_as(z, outputs):
    """Outputs (K, n), by rows, as (n, 1, K) in the memory order of z: what comes of both is as fast
    as memory."""
    return np.asarray(outputs.T, order="C" if z.flags.c_contiguous else "F")[:, None]


@cache
def _class_pairs(n_outputs):
    """All pairs k < l of classes: the first of each, and the second."""
    return np.triu_indices(n_outputs, 1)


def _from_pairs(grams, n_outputs):
    """The softmax Hessian, in the order of ``theta.ravel()``, from a matrix of each pair."""
    (first, second), size = _class_pairs(n_outputs), grams.shape[1]
    blocks = np.zeros((n_outputs, n_outputs, size, size))
    blocks[first, second] = blocks[second, first] = grams
    own = blocks.sum(axis=1)
    np.negative(blocks, out=blocks)
    every = np.arange(n_outputs)
    blocks[every, every] = own
    return blocks.transpose(2, 0, 3, 1).reshape(2 * (size * n_outputs,))
