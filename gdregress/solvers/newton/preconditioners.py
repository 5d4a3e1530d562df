"""Preconditioners of the products with a Hessian: what is like it and can be solved with.

The contract, of the Hessian H of a loss at one theta and the penalty:

``solve(r)`` : shape of r, that of theta
    ``P^-1 r``, P symmetric and positive definite but for what does not move.
``split(r)``
    What all classes have in common, where H is the penalty alone (the gauge): ``P^-1`` of the mean
    of r over the classes, None of one output; and the rest of r. P is exact on the first, so that
    conjugate gradients are left with the second.
``apart(r)`` : shape of r
    ``P^-1 r`` of r whose mean over the classes is zero, as is that of all residuals of such; but
    for rounding, of which nothing comes back.
``lasts``
    A step of Newton that took no more conjugate gradients than these leaves it to the next.
``bears``
    Steps that bent their gradients by no more than this share, together, leave it too.
``amplifies``
    How much more than rounding a residual may be that is rounding, in squares.
``is_ill_conditioned``
    Whether it hints at columns that are nearly dependent.
``n_steps``
    How many conjugate gradients the last step of Newton took in it, for the next preconditioner.
"""

import numpy as np

from ..._linalg import add_to_rows, times_row
from ...rows.blocks import RowBlocks
from ...rows.design import sums
from ..cholesky import ScaledCholesky
from .costs import costs, gram_in_products, solve_in_products
from .hessian import NEGLIGIBLE

__all__ = ["Blocks", "blocks_cost", "mean_of_outputs", "preconditioner", "solves_pay"]

# The diagonal of a block is lifted by this share of it.
_LIFT = 1e-8
# Eliminating the intercepts leaves no less than this of the diagonal; curvature of these below this
# share of the largest is none.
_LEFT, _NONE = 1e-6, 1e-10
# Blocks of the Hessian are made of so many rows for each column, and factored up to so many columns
# where they cost less than so many products.
_BLOCK_ROWS, _MAX_BLOCK_COLUMNS, _WORTH_BLOCKS = 20, 1024, 25.0
# Near the optimum this share of the rows counts in a block. What else blocks cost, in passes.
_COUNT, _BESIDE = 1.0 / 3.0, 6.0
# A diagonal is still good where the Hessian has changed by about a fifth along the steps.
_BENDS = 0.1
# Sparse columns with a ridge depend little on each other: no solves that cost more products.
_WORTH_SOLVE = 0.5
# The leading axes get blocks of their own where these cost less than so many products, once a step
# has taken so many; and the most memory of the rows along them.
_N_AXES, _WORTH_AXES, _SLOW, _AXES_BYTES = 32, 4.0, 4, 2**26
_SUBSPACE_STEPS = 2


def preconditioner(hessian, framed, along=None, before=None):
    """The blocks of softmax where they pay, else one Gram matrix for all, or a diagonal, as where
    sparse columns have a ridge and solves would cost more than products.

    `along` is the column of the intercept in H, of one output; `before` is what preconditioned the
    last step of Newton, None at the first.
    """
    solves = framed.loss.has_gauge and solves_pay(framed)
    if solves and (isinstance(before, Blocks) or _blocks_pay(framed)):
        return Blocks(hessian, framed)
    if solves and framed.bound.gram is not None:
        return _Gram(hessian, framed, before)
    return _Diagonal(hessian, framed, along, before)


def _blocks_pay(framed):
    """Whether the blocks of the classes are worth what they cost."""
    if framed.shape[0] > _MAX_BLOCK_COLUMNS:
        return False
    return _share_in_blocks(framed, 1.0) * costs(framed).grams_in_products <= _WORTH_BLOCKS


def blocks_cost(framed):
    """The blocks of the classes, in passes, not far from the optimum, and the curvatures, squares
    and lengths of the rows that they take."""
    cost = costs(framed)
    return _BESIDE + _share_in_blocks(framed, _COUNT) * cost.grams + cost.factors


def _share_in_blocks(framed, most):
    """The share of the rows that is in each block, or the most."""
    return min(most, _BLOCK_ROWS * framed.shape[0] / framed.blocks.n_samples)


def solves_pay(framed):
    """Whether triangles of as many columns as X has may be solved in every step."""
    is_sparse = framed.blocks.design.prices.pair < np.inf
    depend = not is_sparse or framed.penalty.l2 == 0.0
    return depend or solve_in_products(framed) <= _WORTH_SOLVE


class _Preconditioner:
    """What is common to all; see the module."""

    _gauge = None  # the inverse of H on what all classes have in common, shape (n_features + 1,)

    def solve(self, r):
        common, rest = self.split(r)
        return self.apart(rest) if common is None else self.apart(rest) + common

    def split(self, r):
        if self._gauge is None:
            return None, r
        mean, rest = mean_of_outputs(r), r.copy()
        add_to_rows(rest[:, 0], -mean)
        return (self._gauge * mean)[:, None, None], rest


def mean_of_outputs(r):
    """Products are faster than sums over so few."""
    return np.dot(r[:, 0], np.full(r.shape[2], 1.0 / r.shape[2]))


class _Diagonal(_Preconditioner):
    """The diagonal of the Hessian; what does not move stays. Without the intercepts.

    With D the block of the intercepts in H, c_k the column of intercept k in the block of its
    output, P the diagonal by the coefficients, and ``mean_k = c_k / D_kk``,

        r -> (u, D^+ r_b - mean^T u),    u_k = (r_k - mean_k r_bk) / (P_k - D_kk mean_k^2).

    The means of the columns, which the intercepts take up, play no part in this; of sparse columns,
    which nobody can shift, they are most of what makes conjugate gradients slow. Rows weigh in them
    as they bend the output. The mean over the classes is treated as in :class:`Blocks`: it is zero
    in a gradient, and a diagonal that differs from class to class would make one.

    Where columns outnumber the rows and all have a ridge, H is the ridge but on the span of the m
    rows, with eigenvalues whose mean is ``ridge + 1/m sum_j P_j - ridge_j``. A diagonal that
    differs in every column would tear apart what is one eigenvalue: P_j is no less than that mean,
    and so the same of all rare columns. It then serves the next steps of Newton too, times the
    change of D_kk, the mean curvature of an output, until one has fallen or grown to its double.
    """

    lasts, bears = 0, _BENDS
    amplifies = 1e4 / _LEFT  # rounding, in squares
    is_ill_conditioned = False

    def __init__(self, hessian, framed, along=None, before=None):
        self._ridge = framed.penalty.curvature(framed.shape)[:-1, None]
        is_wide = (self._ridge > 0.0).all() and len(self._ridge) > framed.blocks.n_samples
        D = hessian.intercepts() if along is None else along[-1]
        self._curvature, self._made = D.diagonal(), None
        if is_wide and before is not None:
            self._made = before.still_good(self._curvature)
        if self._made is None:
            own = hessian.own_intercepts() if along is None else along
            self._made = self._curvature, hessian.diagonal(), _quotient(own[:-1], self._curvature)
        diagonal, self._mean = self._changed(), self._made[2]
        if framed.loss.has_gauge:
            self._gauge = _gauge(framed, mean_of_outputs(diagonal) * diagonal.shape[2])
        if along is not None:
            self._mean = _quotient(along[:-1], self._curvature)
        own, square = diagonal[:-1, 0], np.square(self._mean[:, 0])
        left = own - times_row(square, self._curvature, out=square)
        np.maximum(left, np.multiply(own, _LEFT, out=own), out=own)
        if is_wide:
            mean = sums(own - self._ridge[:, 0]) / framed.blocks.n_samples
            np.maximum(own, self._ridge[:, 0] + mean, out=own)
        diagonal[~(diagonal > 0.0)] = 1.0
        self._inverse = np.divide(1.0, diagonal, out=diagonal)
        self._of_intercepts = np.linalg.pinv(D, rcond=_NONE, hermitian=True)

    def still_good(self, curvature):
        """What was made of H, and at which mean curvatures, if they are about the same; or None."""
        before = self._made[0]
        same = (0.5 * before < curvature) & (curvature < 2.0 * before)
        return self._made if same.all() else None

    def _changed(self):
        """The diagonal of H, times the changes of the mean curvatures since it was made."""
        before, diagonal, _ = self._made
        if self._curvature is before:
            return diagonal.copy()
        change = self._curvature / before
        changed = change * diagonal
        changed[:-1] += (1.0 - change) * self._ridge
        return changed

    def apart(self, r):
        z, pull = np.empty_like(r), r[-1, 0]
        u = times_row(self._mean[:, 0], pull, out=z[:-1, 0])
        np.subtract(r[:-1, 0], u, out=u)
        u *= self._inverse[:-1, 0]
        z[-1, 0] = self._of_intercepts @ pull - np.einsum("jk,jk->k", self._mean[:, 0], u)
        if self._gauge is not None:
            add_to_rows(z[:, 0], -mean_of_outputs(z))
        return z


def _quotient(a, b):
    """``a / b``; 0 where b is."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0.0)


class Blocks(_Preconditioner):
    """The blocks of the softmax Hessian on its diagonal, one of each class, or likenesses.

    ``H_kk = 1/S [X 1]^T diag(s p_k (1 - p_k)) [X 1]`` plus the penalty knows the units of the
    columns and how they depend on each other. What couples the classes is left to the iteration.
    Theta splits into its mean over the classes, on which H is the penalty alone (the gauge), and
    the rest, where the blocks act: the preconditioner is exact on the first.
    """

    lasts, bears = 8, 0.0  # it costs as much as some products: good for more than one step
    amplifies = 1e4 / _LIFT

    def __init__(self, hessian, framed):
        blocks = hessian.output_blocks()
        self._gauge = _gauge(framed, np.einsum("kjj->j", blocks))
        self._factors = [_positive(block) for block in blocks]
        self.is_ill_conditioned = not all(f.is_regular(10.0 * _LIFT) for f in self._factors)

    @property
    def unit(self):
        """The roots of the diagonals, of the shape of theta."""
        return np.stack([factor.unit for factor in self._factors], axis=1)[:, None]

    def solve_each(self, r):
        """``P^-1 r`` of each r of several, (n_features + 1, n_outputs, n)."""
        mean, z = r.mean(axis=1), np.empty_like(r)
        for k, factor in enumerate(self._factors):
            z[:, k] = factor.solve(r[:, k] - mean)
        z += (self._gauge[:, None] * mean - z.mean(axis=1))[:, None]
        return z

    def apart(self, r):
        z = np.empty_like(r)
        for k, factor in enumerate(self._factors):
            z[:, 0, k] = factor.solve(r[:, 0, k])
        add_to_rows(z[:, 0], -mean_of_outputs(z))
        return z


class _Gram(_Preconditioner):
    """One factor of the Gram matrix for all classes, and the blocks of each along the leading axes.

    Böhning (1992), "Multinomial logistic regression algorithm", bounds the softmax Hessian by
    ``1/2 (I - 1 1^T / K) kron G``, G the Gram matrix of [X 1]. With ``P_k`` the diagonal of the
    block of class k, c the mean of p_k (1 - p_k) over rows and classes, and D the diagonal of
    ``M = c G + ridge``,

        H_kk ~ M_k = T_k M T_k,    T_k = P_k^1/2 D^-1/2.

    A solution for all classes is two triangular solves with a matrix, and M is good until c has
    fallen or risen to its double. On the way to the optimum most rows leave the Hessian of a class,
    and what remains bends other directions than G does. That shows along the axes in which the rows
    spread most: once steps are slow these q, W, get the blocks that they have in H,

        P_k^-1 = T_k^-1 (M^-1 - W (W^T M W)^-1 W^T) T_k^-1 + W (W^T H_kk W)^-1 W^T

    (a two-level preconditioner; Tang, Nabben, Vuik & Erlangga 2009, "Comparison of two-level
    preconditioners derived from deflation, domain decomposition and multigrid methods"). The first
    part leaves W alone, and both are positive semi-definite whatever W is. The mean over the
    classes is treated as in :class:`Blocks`.
    """

    lasts, bears = 0, 0.0
    amplifies = 1e4 / _LIFT

    def __init__(self, hessian, framed, before=None):
        diagonal = hessian.diagonal()[:, 0]
        ridge = framed.penalty.curvature((framed.shape[0], 1))[:, 0]
        self._gauge = _gauge(framed, diagonal.sum(axis=1))
        self._mean = float((diagonal.mean(axis=1) - ridge).sum())
        if before is not None and 0.5 * before._made < self._mean < 2.0 * before._made:
            self._made, self._matrix, self._factor = before._made, before._matrix, before._factor
        else:
            self._make(framed.bound.gram, ridge)
        unit = np.divide(
            self._matrix.diagonal()[:, None],
            diagonal,
            where=diagonal > 0.0,
            out=np.ones_like(diagonal),
        )
        self._root = np.sqrt(unit)
        self.is_ill_conditioned = self._factor.rcond < 10.0 * _LIFT
        self._axes = None if before is None else before._axes
        if self._axes is None and before is not None and before.n_steps >= _SLOW:
            self._axes = _LeadingAxes.of(framed, self._matrix)
        if self._axes is not None:
            axes = self._axes.of_all
            self._shared = _inverses(axes.T @ (self._matrix @ axes))
            self._own = _inverses(self._axes.blocks_of(hessian))

    def _make(self, gram, ridge):
        """M at the mean curvature, and its factor."""
        self._made = self._mean
        self._matrix = gram * (self._made / float(gram.trace()))
        self._matrix.flat[:: len(gram) + 1] += ridge
        self._factor = _positive(self._matrix)

    def apart(self, r):
        r = r[:, 0]
        x = self._root * r
        z = self._factor.solve(x)
        if self._axes is not None:
            axes = self._axes.of_all
            z -= np.dot(axes, np.dot(self._shared, np.dot(axes.T, x)))
        z *= self._root
        if self._axes is not None:
            along = np.dot(axes.T, r).T[:, :, None]
            z += np.dot(axes, np.matmul(self._own, along)[:, :, 0].T)
        z = z[:, None]
        add_to_rows(z[:, 0], -mean_of_outputs(z))
        return z


class _LeadingAxes:
    """Axes along which rows spread most, in the units of a matrix M, and that of the intercept.

    With C the covariance of the columns and D the diagonal of M there, they are about the leading
    eigenvectors of ``D^-1/2 C D^-1/2``, by two steps of subspace iteration (Halko, Martinsson &
    Tropp 2011, "Finding structure with randomness", algorithm 4.4).

    Attributes
    ----------
    of_all : ndarray of shape (n_features + 1, q + 1)
        W, the intercept's last.
    """

    def __init__(self, framed, matrix):
        gram = framed.bound.gram
        n_features = len(gram) - 1
        scale = np.sqrt(matrix.diagonal()[:-1])
        covariance = gram[:-1, :-1].copy()
        if gram[-1, -1] > 0.0:
            covariance -= np.outer(gram[:-1, -1], gram[-1, :-1] / gram[-1, -1])
        covariance /= scale
        covariance /= scale[:, None]
        axes = np.random.default_rng(0).standard_normal((n_features, _N_AXES))
        for _ in range(_SUBSPACE_STEPS):
            axes, _ = np.linalg.qr(np.dot(covariance, axes))
        self.of_all = np.zeros((n_features + 1, _N_AXES + 1))
        self.of_all[:-1, :-1] = axes / scale[:, None]
        self.of_all[-1, -1] = 1.0
        blocks = framed.blocks
        rows = blocks.times(np.ascontiguousarray(self.of_all[:, None, :-1]))[:, 0]
        self._rows = RowBlocks(
            np.ascontiguousarray(rows), None, blocks.sample_weight, blocks.workers
        )

    @classmethod
    def of(cls, framed, matrix):
        """Those of an objective in its frame; None where they would cost too much."""
        is_cheap = gram_in_products(framed, _N_AXES) <= _WORTH_AXES
        is_small = 8 * _N_AXES * framed.blocks.n_samples <= _AXES_BYTES
        pays = is_cheap and is_small and framed.shape[0] > 4 * _N_AXES
        return cls(framed, matrix) if pays else None

    def blocks_of(self, hessian):
        """``W^T H_kk W`` of each class k, shape (n_outputs, q + 1, q + 1)."""
        return hessian.blocks_along(self.of_all, self._rows)


def _inverses(matrices):
    """The inverses of positive semi-definite matrices whose diagonals are lifted a little."""
    diagonal = np.einsum("...jj->...j", matrices)
    unit = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    both = unit[..., :, None] * unit[..., None, :]
    scaled = matrices / both
    np.einsum("...jj->...j", scaled)[...] = 1.0 + _LIFT
    inverse = np.linalg.inv(scaled)
    return 0.5 * (inverse + np.swapaxes(inverse, -1, -2)) / both


def _gauge(framed, trace):
    """The inverse of H on what all classes have in common: of the ridge, (n_features + 1,).

    Beside a penalty below rounding level, the mean of a residual is rounding too.
    """
    ridge = framed.penalty.curvature((framed.shape[0], 1))[:, 0]
    counts = ridge > NEGLIGIBLE * trace
    return np.divide(1.0, ridge, out=np.zeros_like(ridge), where=counts)


def _positive(matrix):
    """A factor of a positive semi-definite matrix whose diagonal is lifted a little.

    Along a direction in which columns depend on each other, the solution is noise divided by
    rounding errors; the lift bounds it.
    """
    dead = ~(matrix.diagonal() > 0.0)
    matrix.flat[:: len(matrix) + 1] *= 1.0 + _LIFT
    matrix.flat[:: len(matrix) + 1] += dead
    return ScaledCholesky(matrix)
