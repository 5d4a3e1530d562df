"""A metric for columns that are all but uncorrelated: a diagonal, for which no Hessian is made."""

import math

import numpy as np

from ...problem.hessians import ridge_of
from ...rows.kernels import ColumnMoments
from .costs import costs
from .hessian import SingularDirections, factor_hessian
from .kept import LazyMetric

__all__ = ["Diagonal", "DiagonalMetric"]

# Evenly spaced rows that tell the correlations, and the variances; the variance of the eigenvalues
# of the former, beyond that of chance, from which on columns are correlated.
_PILOT_ROWS, _SAMPLE_ROWS, _CORRELATED = 96, 2048, 0.05
# Rows for each column: fewer are no likeness of what they were drawn from; so many certify.
_LEAST_ROWS, _ROWS_TO_CERTIFY = 8, 4
# First steps are slow in any metric, for the curvature changes: a Hessian has to pay twice.
_PATIENCE = 2.0
# Steps that a fit takes, whatever the rows, and by how much the logarithm of the decrement falls in
# others: in a diagonal, and in the Hessian of some rows. What it takes to certify, in passes.
_IN_DIAGONAL, _IN_HESSIAN, _TO_CERTIFY = (6.0, 10.0), (2.0, 17.0), 2.0
# What it costs to look at the correlations, in calls, and how often it is for nothing.
_TO_LOOK = 4.0 * 3.0


class DiagonalMetric(LazyMetric):
    """The diagonal D of the Hessian of centred columns at first, and a Hessian where that pays.

    The correlation matrix of m rows of p independent columns has its eigenvalues between
    ``(1 - r)^2`` and ``(1 + r)^2`` with ``r^2 = p / m`` (Marchenko & Pastur 1967, "Distribution of
    eigenvalues for some sets of random matrices"). In the metric of D conjugate gradients, and
    quasi-Newton steps like them, divide the decrement by about m / p then: a Hessian of all rows,
    or of a good share of them, costs more passes than it spares. D is known from some rows.

    What D lacks is a bound. Where the decrement in it is small enough, some rows are drawn, as for
    a :class:`~gdregress.solvers.newton.kept.SampledMetric`, whose Hessian M has one,
    ``H >= c M``; the steps remain those in D.
    """

    def __init__(self, framed, pace, diagonal):
        super().__init__(framed, pace)
        pace.options["all"] *= _PATIENCE
        self._steps.factor = diagonal
        self._ridge = ridge_of(framed.penalty, framed.shape).ravel()
        self._steps.hold(self._ridge)
        self._n_drawn = min(_ROWS_TO_CERTIFY * framed.shape[0], framed.blocks.n_weighing)

    @classmethod
    def diagonal_for(cls, framed, n_rows, n_hessians):
        """The :class:`Diagonal` where it pays, else None; another metric would begin with so many
        Hessians of so many rows."""
        blocks, n_columns = framed.blocks, framed.shape[0] - 1
        is_plain = framed.shape[1] == 1 and blocks.stores_zeros and n_columns > 1
        n_weighing = blocks.n_weighing
        if not is_plain or min(n_rows, n_weighing) < _LEAST_ROWS * n_columns:
            return None
        cost = costs(framed)
        hessian = n_rows / blocks.n_samples * cost.hessian
        others = n_hessians * hessian + _steps(*_IN_HESSIAN, n_rows / n_columns)
        own = _steps(*_IN_DIAGONAL, n_weighing / n_columns) + _TO_CERTIFY
        if own + _TO_LOOK * cost.call > others:
            return None
        return Diagonal.of(framed)

    def look(self, theta):
        return self.framed.at(theta).having("gradient")

    @property
    def is_suspicious(self):
        return self._metric is not None and super().is_suspicious

    def certifies(self, theta, gradient, tolerance):
        """With some rows, drawn where they are thought to do."""
        if self._metric is None:
            share = self._n_drawn / self.framed.blocks.n_weighing * (1.0 - 1.0 / _ROWS_TO_CERTIFY)
            decrement = 0.5 * float(gradient.ravel() @ self._steps.solved(gradient))
            if decrement > share * tolerance:
                return False
            self.rows, self.share = self.framed.sampled(self._n_drawn)
            self._singular, self._same_rank = SingularDirections(self.rows), False
            self._metric, self._taken_at = self._factored_for_the_bound(theta), theta
            self.gives_up = not self._metric.is_regular  # it would never certify
        return super().certifies(theta, gradient, tolerance)

    def _renew(self, option, at):
        """With the Hessian of all rows, at its price from here on."""
        if isinstance(self._steps.factor, Diagonal):
            self.pace.options["all"] /= _PATIENCE
        super()._renew(option, at)

    def _factored_for_the_bound(self, theta):
        """The Hessian of the rows drawn, with as much of the ridge as makes c M have all of it."""
        hessian = self.rows.hessian(theta)
        more = 1.0 / self.share - 1.0
        hessian.flat[:: len(hessian) + 1] += more * self._ridge
        return factor_hessian(self.rows, hessian, self._singular)

    def _renewal_pays(self, missing):
        """The rows that were drawn are no metric for steps, which go on until their bound does."""
        drawn = self._metric.factor is not self._steps.factor
        return not drawn and super()._renewal_pays(missing)


class Diagonal:
    """``D = diag(h v_j + ridge_j)`` of centred columns, v their variances and h a curvature.

    With c the means of the columns, a step of centred columns has the same coefficients and the
    intercept ``b + c^T w``, and the gradient ``g_w - c g_b`` by them.

    Attributes
    ----------
    unit : ndarray of shape (n_features + 1,)
        The roots of the diagonal in the columns as they are.
    """

    def __init__(self, mean, curvature):
        self._mean, self._curvature = mean, curvature
        self.unit = np.sqrt(curvature + np.append(mean * mean * curvature[-1], 0.0))

    @classmethod
    def of(cls, framed, most=_CORRELATED):
        """Of some rows; None where their columns are correlated by more than so much."""
        rows = framed.blocks.sample(_PILOT_ROWS).design.dense()
        if framed.fit_intercept:
            rows = rows - rows.mean(axis=0)
        if not _correlation(rows) <= most:
            return None
        sample = framed.blocks.sample(_SAMPLE_ROWS)
        weight = sample.sample_weight
        total = float(sample.design.n_rows if weight is None else weight.sum())
        if total == 0.0:
            return None
        first, second = ColumnMoments()(sample) / total
        mean = first * framed.fit_intercept
        variance = second - mean * mean
        if not (variance.min() > 0.0 and np.isfinite(variance).all()):
            return None
        z = np.zeros((1, 1, 1))
        rows_bend = framed.loss.curvature(sample.y[:1], z)
        bends = framed.loss.curvature_diagonal(rows_bend).item()
        curvature = framed.penalty.curvature((len(mean) + 1, 1))[:, 0]
        curvature += bends * np.append(variance, 1.0)
        return cls(mean, curvature)

    def solve(self, gradient):
        """``D^-1 g`` of one, (q,), or of several, (q, n)."""
        g = gradient.T
        out = g / self._curvature
        out[..., :-1] -= g[..., -1:] * (self._mean / self._curvature[:-1])
        out[..., -1] -= np.dot(out[..., :-1], self._mean)
        return out.T


def _steps(first, fall, rows_per_column):
    """The steps of a fit in a metric that chance has made, of independent columns."""
    return first + fall / math.log(0.5 * rows_per_column)


def _correlation(rows):
    """The variance of the eigenvalues of the correlations of centred columns, less that of chance;
    infinite where a column is zero in these rows.

    Of n rows of independent columns squared correlations are 1 / (n - 1) in the mean, whatever the
    distributions. With ``C = Z^T Z`` the correlations, ``|C|_F = |Z Z^T|_F``.
    """
    lengths = np.sqrt(np.einsum("ij,ij->j", rows, rows))
    if not lengths.min() > 0.0:
        return math.inf
    rows = rows / lengths
    n_rows, n_columns = rows.shape
    gram = np.dot(rows.T, rows) if n_columns < n_rows else np.dot(rows, rows.T)
    variance = float(np.vdot(gram, gram)) / n_columns - 1.0
    return variance - (n_columns - 1) / (n_rows - 1)
