"""Objectives: what a solver minimises. The only place with 1/S, the penalty and the intercept.

    L(theta) = 1/S sum_i s_i loss(y_i, z_i) + penalty(W),    z_i = W^T x_i + b

Every objective in this module has the same face, so that solvers do not know which one they have:

``shape`` : (n_features + 1, n_outputs), that of one model; theta is (n_features + 1, M, n_outputs)
``value(theta)`` : shape (M,)
    ``L`` of each model, penalty included.
``smooth_value(theta)`` : shape (M,)
    ``L`` without the L1 norm.
``value_and_gradient(theta)`` : shapes (M,) and that of theta
    ``L``, and the gradient of its smooth part (everything but the L1 norm).
``hessian_product(theta, direction)`` : shape of direction
    The Hessian of the smooth part at theta (one model) times directions.
``proximal(theta, step)`` : shape of theta
    The proximal step of the L1 norm; theta itself where there is none.
``hessian_bound_diagonal()`` : shape (n_features + 1, 1, 1)
    The diagonal of ``c/S [X 1]^T diag(s) [X 1] + alpha (1 - l1_ratio) diag(1, ..., 1, 0)``,
    which bounds the Hessian at every theta (c is 1 for squares, 1/4 and 1/2 for the logistics).
``hessian_bound_norm()`` : float
    The largest eigenvalue of that bound.

An intercept that is not fitted is a coordinate with gradient zero: it stays where it starts.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from . import kernels
from .frame import Frame
from .losses import SquaredLoss

__all__ = ["AppliedHessian", "BlockObjective", "CentredFactor", "CentredMoments", "QuadraticObjective"]

_SAMPLE_ROWS = 256
# Dense Gram matrices up to this many columns; beyond, eigenvalues come from products alone.
_MAX_GRAM_COLUMNS = 2048
_EPS = np.finfo(np.float64).eps


class BlockObjective:
    """The objective of the module, as reductions over row blocks.

    Parameters
    ----------
    blocks : RowBlocks
    loss : object
        A loss of ``losses``.
    penalty : ElasticNet
    n_outputs : int
    fit_intercept : bool
    frame : Frame, optional
        The coordinates of theta; the original columns by default. The penalty is always the
        penalty of the coefficients of the original columns.
    """

    def __init__(self, blocks, loss, penalty, n_outputs, *, fit_intercept=True, frame=None):
        self.blocks, self.loss, self.penalty = blocks, loss, penalty
        self.fit_intercept = fit_intercept
        self.shape = (blocks.n_features + 1, n_outputs)
        self.frame = Frame.identity(blocks.n_features) if frame is None else frame
        self._value = kernels.LossValue(loss, self.frame)
        self._gradient = kernels.LossGradient(loss, self.frame)
        self._batch_gradient = kernels.BatchGradient(loss)
        self._hessian_product = kernels.HessianProduct(loss, self.frame)

    @cached_property
    def total_weight(self):
        return self.blocks.total_weight

    @property
    def is_quadratic(self):
        return self.loss.is_quadratic

    @property
    def has_l1(self):
        return self.penalty.l1 > 0.0

    def in_frame(self, frame):
        """The same objective, as a function of theta of `frame`."""
        penalty = self.penalty.in_frame(frame)
        return BlockObjective(
            self.blocks,
            self.loss,
            penalty,
            self.shape[1],
            fit_intercept=self.fit_intercept,
            frame=frame,
        )

    def value(self, theta):
        return self.blocks.reduce(self._value, theta) / self.total_weight + self.penalty.value(
            theta
        )

    def smooth_value(self, theta):
        return self.value(theta) - self.penalty.l1_value(theta)

    def value_and_gradient(self, theta):
        total, gradient = self.blocks.reduce(self._gradient, theta)
        gradient /= self.total_weight
        return total / self.total_weight + self.penalty.value(theta), self._smooth(theta, gradient)

    def batch_gradient(self, block, theta):
        """Gradient over a mini-batch: its mean over draws of the batch is the full gradient.

        ``1/b sum_{i in batch} (m s_i / S) grad loss_i``, the penalty in full.
        """
        gradient = self._batch_gradient(block, theta)
        gradient *= self.blocks.n_samples / (self.total_weight * block.X.shape[0])
        if not self.fit_intercept:
            gradient[-1] = 0.0
        if self.penalty.l2:
            gradient += self._ridge * theta
        return gradient

    @cached_property
    def _ridge(self):
        """The diagonal of the penalty's Hessian, in the shape of theta."""
        return self.penalty.curvature(self.shape)[:, None, :]

    def _smooth(self, theta, gradient):
        if not self.fit_intercept:
            gradient[-1] = 0.0
        return self.penalty.add_gradient(theta, gradient)

    def hessian(self, theta):
        """The Hessian at theta (one model), (q, q) in the order of ``theta.ravel()``.

        An intercept that is not fitted has a unit diagonal, so that the matrix is regular.
        """
        hessian = self.blocks.reduce(kernels.Hessian(self.loss, self.frame), theta)
        hessian /= self.total_weight
        curvature = self.penalty.curvature(self.shape)
        n_outputs = self.shape[1]
        if not self.fit_intercept:
            hessian[-n_outputs:] = hessian[:, -n_outputs:] = 0.0
            curvature[-1] = 1.0
        hessian[np.diag_indices_from(hessian)] += curvature.ravel()
        return hessian

    def hessian_product(self, theta, direction):
        product = self.blocks.reduce(self._hessian_product, theta, direction)
        product /= self.total_weight
        if not self.fit_intercept:
            product[-1] = 0.0
        product[:-1] += self.penalty.curvature(self.shape)[:-1, None, :] * direction[:-1]
        return product

    def hessian_at(self, theta):
        """The Hessian at theta (one model), never formed; see :class:`AppliedHessian`."""
        return AppliedHessian(self, theta)

    def proximal(self, theta, step):
        return self.penalty.proximal(theta, step)

    def margins(self, theta):
        """Smallest and largest margin of the rows; see :class:`~gdregress.kernels.Margin`."""
        low, high = self.blocks.reduce(kernels.Margin(self.frame), theta)
        return float(low), float(high)

    def column_spans(self):
        """The range of the values of each column of the frame, shape (n_features,)."""
        low, high = self.blocks.reduce(kernels.ColumnRange())
        return high / self.frame.scale - low / self.frame.scale

    @cached_property
    def gram(self):
        """``1/S [X 1]^T diag(s) [X 1]`` in the frame, or None where it would be too large."""
        n_features = self.blocks.n_features
        if n_features > _MAX_GRAM_COLUMNS or n_features > 4 * self.blocks.n_samples:
            return None
        gram = self.blocks.reduce(kernels.Moments(self.frame)) / self.total_weight
        _check_squares(gram.diagonal(), gram.diagonal() > 0.0)
        if not self.fit_intercept:
            gram[-1, :] = gram[:, -1] = 0.0
        return gram

    @cached_property
    def _bound_diagonal(self):
        if "gram" in self.__dict__ and self.gram is not None:
            squares = np.diag(self.gram).copy()
        else:
            squares = self.blocks.reduce(kernels.ColumnSquares(self.frame)) / self.total_weight
        occupied = squares > 0.0
        if not occupied[:-1].all():
            low, high = self.blocks.reduce(kernels.ColumnRange())
            occupied[:-1] = (low != 0.0) | (high != 0.0)
        _check_squares(squares, occupied)
        if not self.fit_intercept:
            squares[-1] = 0.0
        diagonal = self.loss.curvature_bound * squares[:, None]
        return (diagonal + self.penalty.curvature((len(squares), 1)))[:, None, :]

    def hessian_bound_diagonal(self):
        return self._bound_diagonal

    @cached_property
    def _bound_norm(self):
        ridge = self.penalty.curvature((self.shape[0], 1))[:, 0]
        if self.gram is not None:
            bound = self.loss.curvature_bound * self.gram
            bound[np.diag_indices_from(bound)] += ridge
            return _largest_eigenvalue(bound)
        squares = BlockObjective(
            self.blocks,
            SquaredLoss(),
            self.penalty,
            1,
            fit_intercept=self.fit_intercept,
            frame=self.frame,
        )
        if not np.all(np.isfinite(squares.hessian_bound_diagonal())):
            raise FloatingPointError(_overflow("X"))
        zero = np.zeros((self.shape[0], 1, 1))

        def product(v):
            v = v.reshape(-1, 1, 1)
            loss_part = squares.hessian_product(zero, v)[:, 0, 0] - ridge * v[:, 0, 0]
            return self.loss.curvature_bound * loss_part + ridge * v[:, 0, 0]

        operator = LinearOperator((len(ridge), len(ridge)), matvec=product, dtype=np.float64)
        return _largest_eigenvalue(operator)

    def hessian_bound_norm(self):
        return self._bound_norm

    @cached_property
    def row_smoothness(self):
        """``max_i L_i``, the smoothness of the worst row as a mini-batch sees it.

        ``L_i = c (m s_i / S) |[x_i 1]|^2 + alpha (1 - l1_ratio)``.
        """
        largest = self.blocks.reduce(kernels.LargestRow(self.frame, self.fit_intercept))[0]
        weight = self.blocks.n_samples / self.total_weight
        return self.loss.curvature_bound * weight * float(largest) + self.penalty.l2

    def expected_smoothness(self, batch_size):
        """Smoothness of mini-batch gradients, drawn without replacement, in expectation.

        ``[m (b - 1) lambda_max + (m - b) max_i L_i] / [b (m - 1)]``: between that of a single row
        at b = 1 and that of the full batch at b = m (Gower et al. 2019, "SGD: general analysis
        and improved rates", proposition 3.8).
        """
        m, b = self.blocks.n_samples, batch_size
        if m == 1:
            return self.hessian_bound_norm()
        full = m * (b - 1) * self.hessian_bound_norm()
        return (full + (m - b) * self.row_smoothness) / (b * (m - 1))

    def sampled(self, n_rows):
        """The objective on a sample of about `n_rows` rows, and a share c of all that it is.

        See :meth:`~gdregress.blocks.RowBlocks.sample_rows`. Weights are divided by the
        probabilities of the rows, which makes the sample an unbiased likeness; the Hessian of all
        rows is at least c times that of the sample.
        """
        rows, probability = self.blocks.sample_rows(n_rows)
        sample = self._on_rows(self.blocks.subset(rows, 1.0 / probability))
        weight = sample.total_weight / self.total_weight
        return sample, min(1.0, float(probability.min()) * weight)

    def thinned(self, factor):
        """The objective on every `factor`-th row."""
        return self._on_rows(self.blocks.subset(slice(None, None, factor), None))

    def _on_rows(self, blocks):
        """The same objective on other blocks; its S is theirs."""
        return BlockObjective(
            blocks,
            self.loss,
            self.penalty,
            self.shape[1],
            fit_intercept=self.fit_intercept,
            frame=self.frame,
        )

    def sampled_frame(self):
        """A frame chosen from evenly spaced rows; dense columns only (a shift would fill X)."""
        n_features = self.blocks.n_features
        if self.blocks.is_sparse:
            return Frame.identity(n_features)
        X = self.blocks.sample(_SAMPLE_ROWS).X
        with np.errstate(all="ignore"):
            largest = np.abs(X).max(axis=0)
            unit = np.where(largest > 0.0, largest, 1.0)
            scaled = X / unit  # squares of raw columns could overflow
            mean, spread = scaled.mean(axis=0) * unit, scaled.std(axis=0) * unit
            constant = np.ptp(X, axis=0) == 0.0
        mean = np.where(constant, X[0], mean)  # the mean of equal numbers may differ from them
        spread = np.where(constant, 0.0, spread)
        if not np.all(np.isfinite(mean)):
            raise FloatingPointError(_overflow("X"))
        return Frame.from_columns(mean, spread, largest, allow_shift=self.fit_intercept)

    def exact_frame(self):
        """A frame chosen from all rows, one pass: where a sample was not representative."""
        low, high = self.blocks.reduce(kernels.ColumnRange())
        if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high))):
            raise FloatingPointError(_overflow("X"))
        middle, spread = 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low
        middle = np.where(spread == 0.0, low, middle)
        allow_shift = self.fit_intercept and not self.blocks.is_sparse
        largest = np.maximum(np.abs(low), np.abs(high))
        return Frame.from_columns(middle, spread, largest, allow_shift=allow_shift)


class AppliedHessian:
    """The Hessian of a block objective at one theta: its products and its diagonal.

    The curvature of every row is computed once, so that a product costs two products with X.
    """

    def __init__(self, objective, theta):
        blocks = objective.blocks
        rows = blocks.reduce(kernels.RowCurvature(objective.loss, objective.frame), theta)
        self._blocks = blocks.with_y(np.concatenate(rows))
        self._objective = objective
        self._product = kernels.CurvedProduct(objective.loss, objective.frame)

    def product(self, direction):
        """``H direction``, direction of shape (n_features + 1, n_models, n_outputs)."""
        return self._penalised(self._blocks.reduce(self._product, direction), direction)

    def diagonal(self):
        """Shape (n_features + 1, 1, n_outputs)."""
        kernel = kernels.CurvedSquares(self._objective.loss, self._objective.frame)
        squares = self._blocks.reduce(kernel)
        return self._penalised(squares, np.ones_like(squares))

    def _penalised(self, total, direction):
        objective = self._objective
        total /= objective.total_weight
        if not objective.fit_intercept:
            total[-1] = 0.0
        total += objective.penalty.curvature(objective.shape)[:, None, :] * direction
        return total


@dataclass
class CentredMoments:
    """Least squares, reduced to the centred second moments of a frame.

    ``gram = sum_i s_i (x~_i - mean_x)(x~_i - mean_x)^T`` (p, p), ``cross`` (p, K) and ``square``
    (K,) likewise with ``y - y_shift``. Without an intercept the means are zero and nothing is
    centred. Columns that are constant to rounding have exact zeros.
    """

    frame: Frame
    y_shift: np.ndarray
    total_weight: float
    mean_x: np.ndarray
    mean_y: np.ndarray
    gram: np.ndarray
    cross: np.ndarray
    square: np.ndarray

    @classmethod
    def from_objective(cls, objective):
        """One pass over X; a second one where the frame, guessed from a sample, was unfit.

        Where X is a single block the guess is no frame at all, which costs least.
        """
        blocks = objective.blocks
        small = blocks.n_samples <= blocks.block_rows
        frame = objective.frame if small else objective.sampled_frame()
        y_shift = np.zeros(objective.shape[1])
        if objective.fit_intercept and not small:
            y_shift = blocks.sample(_SAMPLE_ROWS).y.mean(axis=0)
        moments = cls._in_frame(objective, frame, y_shift)
        if moments is None or not moments._frame_was_fit(blocks.is_sparse):
            if objective.fit_intercept:
                y_shift = y_shift + (0.0 if moments is None else moments.mean_y)
            moments = cls._in_frame(objective, objective.exact_frame(), y_shift)
            if moments is None:
                raise FloatingPointError(_overflow("y"))
        return moments

    @classmethod
    def _in_frame(cls, objective, frame, y_shift):
        gram, cross, square = objective.blocks.reduce(kernels.Moments(frame, y_shift))
        if not (np.isfinite(gram).all() and np.isfinite(square).all()):
            return None
        total_weight = gram[-1, -1]
        mean_x, mean_y = gram[-1, :-1] / total_weight, cross[-1] / total_weight
        gram, cross = gram[:-1, :-1], cross[:-1]
        if objective.fit_intercept:
            # sum s (x - mean)(x - mean)^T = sum s x x^T - S mean mean^T
            gram -= (total_weight * mean_x)[:, None] * mean_x
            cross -= (total_weight * mean_x)[:, None] * mean_y
            square -= total_weight * mean_y**2
            np.maximum(square, 0.0, out=square)
            # A column whose spread is the rounding of its mean is constant.
            noise = 8.0 * _EPS * (np.abs(frame.shift / frame.scale) + np.abs(mean_x))
            constant = gram.diagonal() <= total_weight * noise**2
            if constant.any():
                gram[constant] = gram[:, constant] = cross[constant] = 0.0
        else:
            mean_x, mean_y = np.zeros_like(mean_x), np.zeros_like(mean_y)
        return cls(frame, y_shift, total_weight, mean_x, mean_y, gram, cross, square)

    def _frame_was_fit(self, is_sparse):
        """Whether no column lost its digits to cancellation, underflow or overflow."""
        variance = self.gram.diagonal() / self.total_weight
        if is_sparse:  # never shifted
            return bool((variance > 1e-200).all())
        fit = (variance > 1e-200) & (self.mean_x**2 <= 4096.0 * variance)
        return bool(fit.all() and (self.mean_y**2 <= 1e6 * self.square / self.total_weight).all())

    def at_zero(self):
        """``L`` and its gradient (original columns) at theta = 0, without the penalty."""
        mean_y = self.mean_y + self.y_shift
        cross = self.cross / self.total_weight + np.outer(self.mean_x, mean_y)
        gradient = -np.vstack([cross, mean_y])[:, None, :]
        loss = 0.5 * float(np.sum(self.square / self.total_weight + mean_y**2))
        return loss, self.frame.gradient_outside(gradient)

    def theta(self, coef):
        """theta of the frame from its coefficients: the residuals have mean zero."""
        intercept = self.mean_y + self.y_shift - self.mean_x @ coef
        return np.vstack([coef, intercept])[:, None, :]

    def factor(self):
        """An R with ``R^T R = gram``: Cholesky, or by eigenvalues where it is singular."""
        unit = np.sqrt(np.diag(self.gram))
        unit = np.where(unit > 0.0, unit, 1.0)
        scaled = self.gram / np.outer(unit, unit)
        cross = self.cross / unit[:, None]
        try:
            root = linalg.cholesky(scaled, check_finite=False)
            q = linalg.solve_triangular(root, cross, trans="T", check_finite=False)
        except linalg.LinAlgError:
            eigenvalues, vectors = linalg.eigh(scaled, check_finite=False)
            kept = eigenvalues > len(unit) * _EPS * max(eigenvalues[-1], 0.0)
            singular = np.sqrt(np.where(kept, eigenvalues, 0.0))
            root = singular[:, None] * vectors.T
            inverse = np.divide(1.0, singular, out=np.zeros_like(singular), where=kept)
            q = inverse[:, None] * (vectors.T @ cross)
        rest = np.maximum(self.square - np.einsum("jk,jk->k", q, q), 0.0)
        return CentredFactor(
            self.frame,
            self.y_shift,
            self.total_weight,
            self.mean_x,
            self.mean_y,
            root * unit,
            q,
            rest,
        )


@dataclass
class CentredFactor:
    """Least squares, reduced to a triangle: ``sum s (z - y)^2 = |R w~ - q|^2 + rest + S t^2``.

    ``t`` is the mean residual; ``R`` (p, p), ``q`` (p, K), ``rest`` (K,). No digits are lost to
    squaring, so this is what streams keep and what ill-conditioned problems are solved from.
    """

    frame: Frame
    y_shift: np.ndarray
    total_weight: float
    mean_x: np.ndarray
    mean_y: np.ndarray
    root: np.ndarray
    q: np.ndarray
    rest: np.ndarray

    @classmethod
    def from_objective(cls, objective, frame, y_shift):
        """One pass of blocked QR over the rows ``[1 x~ y]``."""
        kernel = kernels.RFactor(frame, y_shift, objective.fit_intercept)
        triangle = objective.blocks.reduce(kernel)
        return cls.from_triangle(triangle, frame, y_shift, objective.total_weight)

    @classmethod
    def from_triangle(cls, triangle, frame, y_shift, total_weight):
        """From the R factor of ``diag(sqrt(s)) [1 X~ y - y_shift]``, without the ones if it has
        one column less."""
        if not np.all(np.isfinite(triangle)):
            raise FloatingPointError(_overflow("X"))
        n_features = len(frame.shift)
        centred = len(triangle) - n_features - len(y_shift)
        x, y = slice(centred, n_features + centred), slice(n_features + centred, None)
        mean_x, mean_y = np.zeros(n_features), np.zeros(len(y_shift))
        if centred:
            mean_x, mean_y = triangle[0, x] / triangle[0, 0], triangle[0, y] / triangle[0, 0]
        root, q = triangle[x, x].copy(), triangle[x, y]
        # A column whose spread is the rounding of its mean is constant.
        size = np.abs(frame.shift / frame.scale) + np.abs(mean_x)
        constant = np.linalg.norm(root, axis=0) <= 8.0 * _EPS * size * np.sqrt(total_weight)
        root[:, constant] = 0.0
        rest = np.einsum("ik,ik->k", triangle[y, y], triangle[y, y])
        return cls(frame, y_shift, total_weight, mean_x, mean_y, root, q, rest)

    at_zero = CentredMoments.at_zero
    theta = CentredMoments.theta

    @property
    def cross(self):
        return self.root.T @ self.q

    @property
    def square(self):
        return np.einsum("jk,jk->k", self.q, self.q) + self.rest


class QuadraticObjective:
    """Least squares from its moments: an evaluation costs (p + 1)^2, whatever the rows.

    With ``A = [[R / sqrt(S), 0], [mean_x^T, 1]]`` and ``d = [q / sqrt(S), mean_y]``,

        L(theta) = 1/2 |A theta - d|^2 + rest / (2 S) + penalty(W),    gradient A^T (A theta - d).

    A sum of squares: expanded into moments it would cancel, and go negative near the optimum.
    theta is that of the original columns.
    """

    is_quadratic = True

    def __init__(self, factor, penalty, *, fit_intercept=True):
        frame, root_weight = factor.frame, np.sqrt(factor.total_weight)
        n_features, n_outputs = factor.q.shape
        self.shape = (n_features + 1, n_outputs)
        self.penalty, self.fit_intercept = penalty, fit_intercept
        self.A = np.zeros((n_features + 1, n_features + 1))
        self.A[:-1, :-1] = factor.root * frame.scale / root_weight
        if fit_intercept:
            self.A[-1, :-1] = frame.shift + frame.scale * factor.mean_x
            self.A[-1, -1] = 1.0
        self._A_transposed = np.ascontiguousarray(self.A.T)
        self.d = np.vstack([factor.q / root_weight, factor.mean_y + factor.y_shift])
        self.rest = 0.5 * float(np.sum(factor.rest)) / factor.total_weight

    @property
    def has_l1(self):
        return self.penalty.l1 > 0.0

    def _residual(self, theta):
        n_rows, n_models, n_outputs = theta.shape
        e = np.dot(self.A, theta.reshape(n_rows, -1)).reshape(n_rows, n_models, n_outputs)
        e -= self.d[:, None, :]
        return e

    def _value(self, theta, e):
        if theta.shape[1] == 1:
            value = np.array([np.vdot(e, e)])
        else:
            value = np.einsum("jmk,jmk->m", e, e)
        value *= 0.5
        value += self.rest
        if self.penalty.l1 or self.penalty.l2:
            value += self.penalty.value(theta)
        return value

    def value(self, theta):
        return self._value(theta, self._residual(theta))

    def smooth_value(self, theta):
        return self.value(theta) - self.penalty.l1_value(theta)

    def value_and_gradient(self, theta):
        e = self._residual(theta)
        gradient = np.dot(self._A_transposed, e.reshape(len(e), -1)).reshape(theta.shape)
        return self._value(theta, e), self.penalty.add_gradient(theta, gradient)

    def hessian_product(self, theta, direction):
        flat = np.dot(self._A_transposed, np.dot(self.A, direction.reshape(len(direction), -1)))
        return self.penalty.add_gradient(direction, flat.reshape(direction.shape))

    def proximal(self, theta, step):
        return self.penalty.proximal(theta, step)

    @cached_property
    def _bound_diagonal(self):
        squares = np.einsum("ij,ij->j", self.A, self.A)
        _check_squares(squares, self.A.any(axis=0))
        return (squares[:, None] + self.penalty.curvature((len(squares), 1)))[:, None, :]

    def hessian_bound_diagonal(self):
        return self._bound_diagonal

    @cached_property
    def _bound_norm(self):
        bound = self._A_transposed @ self.A
        bound[np.diag_indices_from(bound)] = self.hessian_bound_diagonal()[:, 0, 0]
        return _largest_eigenvalue(bound)

    def hessian_bound_norm(self):
        return self._bound_norm


def _largest_eigenvalue(matrix):
    """Largest eigenvalue of a symmetric matrix or operator, deterministic."""
    size = matrix.shape[0]
    if isinstance(matrix, np.ndarray) and not np.all(np.isfinite(matrix)):
        raise FloatingPointError(_overflow("X"))
    if isinstance(matrix, np.ndarray) and size <= 512:
        top = linalg.eigh(
            matrix, eigvals_only=True, subset_by_index=[size - 1, size - 1], check_finite=False
        )
    else:
        start = np.random.default_rng(0).standard_normal(size)  # a fixed seed: same data, same bits
        top = eigsh(matrix, k=1, which="LA", v0=start, return_eigenvectors=False)
    return max(float(top[0]), 0.0)


def _check_squares(squares, occupied):
    """Raise where the square of a column that is not zero left the range of float64."""
    if not np.all(np.isfinite(squares) & ((squares > 0.0) | ~occupied)):
        raise FloatingPointError(
            "The squares of a column of X overflow or underflow float64, and gradient descent works "
            "in the units of X; standardise X, or use an exact solver, which needs no units."
        )


def _overflow(name):
    return (
        f"The squares of {name} overflow float64 even after scaling its columns; rescale {name} "
        f"to ordinary units."
    )
