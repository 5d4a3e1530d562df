"""What one block of rows contributes to a sum over all rows.

A kernel is called with a :class:`Block` and the arguments of the reduction and returns an array
or a tuple of arrays; ``combine`` adds two such results (or, for the R factor, merges them). It
may write into its first argument. Kernels are pure and picklable; they know nothing of threads,
files, means (the division by S is the objective's) or penalties.

Shapes: ``theta`` is (n_features + 1, n_models, n_outputs), the intercept last; gradients have the
shape of theta. Everything is accumulated in float64.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, sparse

__all__ = [
    "BatchGradient",
    "Block",
    "ColumnMoments",
    "ColumnRange",
    "ColumnSquares",
    "ConjugateValue",
    "CurvedExpansion",
    "CurvedGrams",
    "CurvedProduct",
    "CurvedSquares",
    "Expansion",
    "Hessian",
    "HessianProduct",
    "LargestLeverage",
    "LargestMove",
    "LargestRow",
    "LinearPredictor",
    "LossGradient",
    "LossValue",
    "Margin",
    "Moments",
    "PulledBack",
    "Predictors",
    "RFactor",
    "RowCurvature",
    "SmallestRival",
    "linear_predictor",
    "transpose_product",
]


class Block(NamedTuple):
    """A run of rows: X (n, p) float64 or CSR, y (n, n_columns) or None, weights (n,) or None."""

    X: Any
    y: Any
    sample_weight: Any


def _dot(A, B):
    """``A B`` for A dense or sparse; ``np.dot`` releases the GIL where ``@`` may not."""
    return np.dot(A, B) if type(A) is np.ndarray else A @ B


def linear_predictor(X, theta):
    """``z = X W + b``, shape (n, n_models, n_outputs): the design with its column of ones.

    The rows are the fastest axis in memory: losses reduce over the outputs, and a reduction over
    a slow axis runs at the speed of additions.
    """
    n_models, n_outputs = theta.shape[1:]
    if theta[-1, 0, 0] == 0.0 and not theta.any():  # where every descent begins
        return np.zeros((n_models, n_outputs, X.shape[0])).transpose(2, 0, 1)
    if n_models * n_outputs == 1:
        z = _dot(X, theta[:-1, 0, 0])
        z += theta[-1, 0, 0]
        return z[:, None, None]
    coef = theta[:-1].reshape(-1, n_models * n_outputs)
    z = (X @ coef).T if sparse.issparse(X) else np.dot(coef.T, X.T)
    z += theta[-1].reshape(-1, 1)
    return z.reshape(n_models, n_outputs, -1).transpose(2, 0, 1)


def transpose_product(X, r):
    """``[X 1]^T r``, shape (p + 1, n_models, n_outputs), of row quantities r."""
    flat = r.reshape(-1) if r.size == len(r) else r.reshape(len(r), -1)
    out = np.empty((X.shape[1] + 1, *flat.shape[1:]))
    out[:-1] = _dot(X.T, flat)
    out[-1] = flat.sum(axis=0)
    return out.reshape(-1, *r.shape[1:])


def _gram(Z):
    """``Z^T Z``; dense BLAS sees one operand twice and computes one triangle (syrk)."""
    if sparse.issparse(Z):
        return (Z.T @ Z).toarray()
    return np.dot(Z.T, Z)


def _weighted_rows(X, weight):
    """Rows times the square root of their weight: ``Z^T Z = X^T diag(weight) X``."""
    if weight is None:
        return X
    root = np.sqrt(weight)[:, None]
    return X.multiply(root).tocsr() if sparse.issparse(X) else X * root


def _bordered_gram(X, weight):
    """``[X 1]^T diag(weight) [X 1]``, shape (p + 1, p + 1); `weight` None means ones."""
    n_samples, n_features = X.shape
    out = np.empty((n_features + 1, n_features + 1))
    out[:-1, :-1] = _gram(_weighted_rows(X, weight))
    weight = np.ones(n_samples) if weight is None else weight
    out[-1, :-1] = out[:-1, -1] = _dot(X.T, weight)
    out[-1, -1] = weight.sum()
    return out


def _weigh(rows, sample_weight):
    """Row quantities times their weight (rows on the first axis); no weights, no copy."""
    if sample_weight is None:
        return rows
    return rows * sample_weight.reshape(-1, *(1,) * (rows.ndim - 1))


class _Sum:
    """Kernels whose contributions add, lists of row quantities one behind the other."""

    @staticmethod
    def combine(total, part):
        if isinstance(total, tuple):
            for t, p in zip(total, part, strict=True):
                t += p
        else:
            total += part
        return total


class LossValue(_Sum):
    """``sum_i s_i loss(y_i, z_i)`` of each model, shape (n_models,)."""

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, theta):
        z = linear_predictor(self.frame.shifted(block.X), _on_original_scale(theta, self.frame))
        return _weigh(self.loss.value(block.y, z), block.sample_weight).sum(axis=0)


class LossGradient(_Sum):
    """``sum_i s_i loss(y_i, z_i)`` and its gradient ``[X 1]^T (s (yhat - y))``."""

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, theta):
        X = self.frame.shifted(block.X)
        z = linear_predictor(X, _on_original_scale(theta, self.frame))
        total, residual = self.loss.sum_and_gradient(block.y, z, block.sample_weight)
        return total, _pulled_back(X, residual, block.sample_weight, self.frame)


class CurvedExpansion(_Sum):
    """Loss and gradient at theta, of one model, and the list of the curvatures of the rows."""

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, theta):
        X = self.frame.shifted(block.X)
        z = linear_predictor(X, _on_original_scale(theta, self.frame))
        curvature = self.loss.curvature(z[:, 0, :])
        total, residual = self.loss.sum_and_gradient(block.y, z, block.sample_weight)
        gradient = _pulled_back(X, residual, block.sample_weight, self.frame)
        return total, gradient, [curvature]


class ConjugateValue(_Sum):
    """``sum_i s_i loss*(t d loss_i / dz)``: the conjugate at a share t of the gradients."""

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, theta, t):
        z = linear_predictor(self.frame.shifted(block.X), _on_original_scale(theta, self.frame))
        _, gradient = self.loss.value_and_gradient(block.y, z)
        value = self.loss.conjugate(block.y, t * gradient)
        return _weigh(value, block.sample_weight).sum(axis=0)


class BatchGradient:
    """``[X 1]^T (s (yhat - y))`` of one model, over the few rows ``[X 1]`` of a mini-batch.

    The gradient of :class:`LossGradient` in the original columns, without the loss and in as few
    calls as it takes: on 32 rows, calling NumPy costs more than the arithmetic.
    """

    def __init__(self, loss):
        self.loss = loss

    def __call__(self, block, theta):
        A, y, sample_weight = block
        residual = self.loss.gradient(y, _dot(A, theta[:, 0]))
        if sample_weight is not None:
            residual *= sample_weight[:, None]
        return _dot(A.T, residual)[:, None]


class BatchValue:
    """``sum_i s_i loss(y_i, z_i)`` of one model, over the rows ``[X 1]`` of a mini-batch."""

    def __init__(self, loss):
        self.loss = loss

    def __call__(self, block, theta):
        A, y, sample_weight = block
        z = _dot(A, theta[:, 0])[:, None]
        return float(_weigh(self.loss.value(y, z), sample_weight).sum())


def _on_original_scale(theta, frame):
    """theta of the frame for rows that are shifted but not scaled."""
    if not frame.is_scaled:
        return theta
    out = theta.copy()
    out[:-1] /= frame.scale[:, None, None]
    return out


class Moments(_Sum):
    """Second moments of the rows ``[x~ 1]`` and ``y - y_shift``.

    Returns the Gram matrix ``[X~ 1]^T diag(s) [X~ 1]`` (p + 1, p + 1), the cross moments
    ``[X~ 1]^T diag(s) (y - y_shift)`` (p + 1, n_outputs), and the sums of squares of
    ``y - y_shift`` (n_outputs,). A block without y gives the Gram matrix alone.
    """

    def __init__(self, frame, y_shift=None):
        self.frame, self.y_shift = frame, y_shift

    def __call__(self, block):
        X = self.frame.rows(block.X)
        gram = _bordered_gram(X, block.sample_weight)
        if self.y_shift is None:
            return gram
        y = block.y - self.y_shift
        weighted = _weigh(y, block.sample_weight)
        return gram, transpose_product(X, weighted), np.einsum("nk,nk->k", weighted, y)


class Hessian(_Sum):
    """``sum_i s_i (d^2 loss / dz^2) kron x_i x_i^T`` at theta, of one model.

    Shape (q, q), q = (n_features + 1) n_outputs, in the order of ``theta.ravel()``.
    """

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, theta):
        X = self.frame.rows(block.X)
        return self._at(theta, X, linear_predictor(X, theta), block.sample_weight)

    def _at(self, theta, X, z, sample_weight):
        n_outputs = theta.shape[2]
        if self.loss.is_coupled and not theta.any():
            # All probabilities are 1 / K: one Gram matrix serves all pairs of classes.
            equal = np.eye(n_outputs) / n_outputs - 1.0 / n_outputs**2
            return np.kron(_bordered_gram(X, sample_weight), equal)
        curvature = self.loss.curvature(z[:, 0, :])
        if self.loss.is_coupled:
            return self._coupled(X, curvature, sample_weight)
        weight = _weigh(curvature, sample_weight)
        blocks = [_bordered_gram(X, weight[:, k]) for k in range(n_outputs)]
        return blocks[0] if n_outputs == 1 else _interleave(blocks)

    def _coupled(self, X, p, sample_weight):
        """Slab by slab: a row of X takes n_outputs times its memory here."""
        slab = max(256, len(p) // p.shape[1])
        total = 0.0
        for begin in range(0, len(p), slab):
            rows = slice(begin, begin + slab)
            weight = None if sample_weight is None else sample_weight[rows]
            total = total + self._softmax(X[rows], p[rows], weight)
        return total

    @staticmethod
    def _softmax(X, p, sample_weight):
        """``diag(p) - p p^T`` couples the classes: X^T diag(s (p_k [k = l] - p_k p_l)) X."""
        n_outputs = p.shape[1]
        rows = _weighted_rows(_bordered(X), sample_weight)
        n_columns = rows.shape[1]
        if sparse.issparse(rows):
            stacked = sparse.hstack([rows.multiply(column[:, None]) for column in p.T]).tocsr()
            own = (rows.T @ stacked).toarray()
        else:
            stacked = (p[:, :, None] * rows[:, None, :]).reshape(len(p), -1)
            own = np.dot(rows.T, stacked)
        hessian = -_gram(stacked).reshape(n_outputs, n_columns, n_outputs, n_columns)
        k = np.arange(n_outputs)
        hessian[k, :, k, :] += own.reshape(n_columns, n_outputs, n_columns).transpose(1, 0, 2)
        size = n_outputs * n_columns
        return np.ascontiguousarray(hessian.transpose(1, 0, 3, 2)).reshape(size, size)


class Expansion(Hessian):
    """Loss, gradient and Hessian at theta, of one model: one look at the rows serves all three."""

    def __call__(self, block, theta):
        X, sample_weight = self.frame.rows(block.X), block.sample_weight
        z = linear_predictor(X, theta)
        total, residual = self.loss.sum_and_gradient(block.y, z, sample_weight)
        gradient = transpose_product(X, _weigh(residual, sample_weight))
        return total, gradient, self._at(theta, X, z, sample_weight)


def _bordered(X):
    """``[X 1]`` of one block."""
    if sparse.issparse(X):
        return sparse.hstack([X, np.ones((X.shape[0], 1))]).tocsr()
    bordered = np.ones((X.shape[0], X.shape[1] + 1))
    bordered[:, :-1] = X
    return bordered


def _interleave(blocks):
    """Block-diagonal matrix over the outputs, in the order of ``theta.ravel()``."""
    n_outputs, size = len(blocks), len(blocks[0])
    out = np.zeros((size, n_outputs, size, n_outputs))
    for k, block in enumerate(blocks):
        out[:, k, :, k] = block
    return out.reshape(size * n_outputs, size * n_outputs)


class LinearPredictor:
    """``z_i`` of every row: a list of arrays (n, n_models, n_outputs), in order."""

    def __init__(self, frame):
        self.frame = frame

    def __call__(self, block, theta):
        return [linear_predictor(self.frame.rows(block.X), theta)]

    @staticmethod
    def combine(total, part):
        return total + part


class PulledBack(_Sum):
    """``[X~ 1]^T r``, of row quantities r (n, n_outputs) in the place of y; no weights."""

    def __init__(self, frame):
        self.frame = frame

    def __call__(self, block):
        return transpose_product(self.frame.rows(block.X), block.y)


class HessianProduct(_Sum):
    """The Hessian at theta times directions: one pass, never a p x p matrix.

    `direction` has the shape of theta with any number of models; theta has one.
    """

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, theta, direction):
        X = self.frame.shifted(block.X)
        z = linear_predictor(X, _on_original_scale(theta, self.frame))[:, 0, :]
        dz = linear_predictor(X, _on_original_scale(direction, self.frame))
        curved = self.loss.curve(self.loss.curvature(z), dz)
        return _pulled_back(X, curved, block.sample_weight, self.frame)


class RowCurvature:
    """``loss.curvature(z_i)`` at theta of every row: a list of arrays (n, n_outputs), in order."""

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, theta):
        X = self.frame.shifted(block.X)
        z = linear_predictor(X, _on_original_scale(theta, self.frame))
        return [self.loss.curvature(z[:, 0, :])]

    @staticmethod
    def combine(total, part):
        return total + part


class Predictors:
    """The linear predictor of every row at theta: a list of arrays (n, n_outputs), in order."""

    def __init__(self, frame):
        self.frame = frame

    def __call__(self, block, theta):
        X = self.frame.shifted(block.X)
        return [linear_predictor(X, _on_original_scale(theta, self.frame))[:, 0, :]]

    @staticmethod
    def combine(total, part):
        return total + part


class CurvedProduct(_Sum):
    """The Hessian times directions, from the curvatures of the rows.

    Two products with X, where :class:`HessianProduct` needs three and the loss.
    """

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, curvature, direction):
        X = self.frame.shifted(block.X)
        dz = linear_predictor(X, _on_original_scale(direction, self.frame))
        curved = self.loss.curve(curvature, dz)
        return _pulled_back(X, curved, block.sample_weight, self.frame)


class CurvedSquares(_Sum):
    """The diagonal of the Hessian, (n_features + 1, 1, n_outputs), from the rows' curvatures."""

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, curvature):
        X = self.frame.rows(block.X)
        squares = X.power(2) if sparse.issparse(X) else X * X
        rows = self.loss.curvature_diagonal(curvature)[:, None, :]
        return transpose_product(squares, _weigh(rows, block.sample_weight))


class CurvedGrams(_Sum):
    """The blocks of the Hessian on its diagonal, (n_outputs, n_features + 1, n_features + 1)."""

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, curvature):
        X = self.frame.rows(block.X)
        rows = _weigh(self.loss.curvature_diagonal(curvature), block.sample_weight)
        return np.stack([_bordered_gram(X, column) for column in rows.T])


def _pulled_back(X, rows, sample_weight, frame):
    """``[X~ 1]^T diag(s) rows`` for X shifted but not scaled."""
    product = transpose_product(X, _weigh(rows, sample_weight))
    if frame.is_scaled:
        product[:-1] /= frame.scale[:, None, None]
    return product


class RFactor:
    """The R factor of ``diag(sqrt(s)) [1 X~ y]`` by blocked Householder QR, ``[X~ y]`` without
    an intercept.

    Associative: the R factor of two stacked R factors is the R factor of all their rows
    (Golub & Van Loan, Matrix Computations, 4th ed., section 5.3.7; "tall skinny QR").
    The leading column of ones centres the rest: rows 1..p of R belong to the centred design.
    """

    def __init__(self, frame, y_shift, fit_intercept=True):
        self.frame, self.y_shift, self.fit_intercept = frame, y_shift, fit_intercept

    def __call__(self, block):
        n_rows = block.X.shape[0]
        # Sparse blocks hold many rows: only a slab of them is dense at a time.
        slab = n_rows if not sparse.issparse(block.X) else max(256, 4 * block.X.shape[1])
        total = None
        for begin in range(0, n_rows, slab):
            part = self._slab(
                Block(*(None if b is None else b[begin : begin + slab] for b in block))
            )
            total = part if total is None else self.combine(total, part)
        return total

    def _slab(self, block):
        return _triangle(self.rows(block))

    def rows(self, block):
        """``diag(sqrt(s)) [1 X~ y]`` of the block, dense."""
        X = block.X.toarray() if sparse.issparse(block.X) else block.X
        X = self.frame.rows(X)
        ones = [np.ones((len(X), 1))] if self.fit_intercept else []
        rows = np.hstack([*ones, X, block.y - self.y_shift])
        return _weighted_rows(rows, block.sample_weight)

    @staticmethod
    def combine(total, part):
        return _triangle(np.vstack([total, part]))


def _triangle(rows):
    """R of the QR factorisation, padded with zero rows to a square."""
    n_rows, n_columns = rows.shape
    if n_rows < n_columns:
        rows = np.vstack([rows, np.zeros((n_columns - n_rows, n_columns))])
    (triangle,) = linalg.qr(rows, mode="r", check_finite=False)
    return triangle[:n_columns]


class ColumnSquares(_Sum):
    """``sum_i s_i x~_ij^2`` of every column, the column of ones last, and nothing else."""

    def __init__(self, frame):
        self.frame = frame

    def __call__(self, block):
        X = self.frame.rows(block.X)
        weight = np.ones(X.shape[0]) if block.sample_weight is None else block.sample_weight
        squares = X.power(2) if sparse.issparse(X) else X * X
        return np.append(_dot(squares.T, weight), weight.sum())


class ColumnMoments(_Sum):
    """``sum_i s_i x~_ij`` and ``sum_i s_i x~_ij^2`` of every column, shape (2, n_features)."""

    def __init__(self, frame):
        self.frame = frame

    def __call__(self, block):
        X = self.frame.rows(block.X)
        weight = np.ones(X.shape[0]) if block.sample_weight is None else block.sample_weight
        squares = X.power(2) if sparse.issparse(X) else X * X
        return np.vstack([_dot(X.T, weight), _dot(squares.T, weight)])


class ColumnRange:
    """Smallest and largest value of every column, shape (2, n_features), of all rows or of those
    that weigh something; infinite where there are none."""

    def __init__(self, *, only_weighing=False):
        self.only_weighing = only_weighing

    def __call__(self, block):
        X = block.X
        if self.only_weighing and block.sample_weight is not None:
            X = X[block.sample_weight > 0.0]
            if not X.shape[0]:
                return np.repeat([[np.inf], [-np.inf]], X.shape[1], axis=1)
        if sparse.issparse(X):
            return np.vstack([X.min(axis=0).toarray(), X.max(axis=0).toarray()])
        return np.vstack([X.min(axis=0), X.max(axis=0)])

    @staticmethod
    def combine(total, part):
        return np.vstack([np.minimum(total[0], part[0]), np.maximum(total[1], part[1])])


class Margin:
    """Smallest and largest margin of the rows of positive weight, shape (2,).

    The margin of a row is what its own class has over the best other one in the linear predictor.
    A theta whose margins are all positive separates the classes, and 2 theta does so with less
    loss; one whose margins are >= 0, some of them positive, separates part of them.
    """

    def __init__(self, frame):
        self.frame = frame

    def __call__(self, block, theta):
        X = self.frame.shifted(block.X)
        z = linear_predictor(X, _on_original_scale(theta, self.frame))[:, 0, :]
        if z.shape[1] == 1:
            margin = (2.0 * block.y[:, 0] - 1.0) * z[:, 0]
        else:
            own = np.take_along_axis(z, block.y, axis=1)[:, 0]
            np.put_along_axis(z, block.y, -np.inf, axis=1)
            margin = own - z.max(axis=1)
        if block.sample_weight is not None:
            margin = margin[block.sample_weight > 0.0]
        return np.array([margin.min(initial=np.inf), margin.max(initial=-np.inf)])

    @staticmethod
    def combine(total, part):
        return np.array([min(total[0], part[0]), max(total[1], part[1])])


class LargestMove:
    """``max_i (max_k dz_ik - min_k dz_ik)``, of one output ``max_i |dz_i|``, at one direction."""

    def __init__(self, frame):
        self.frame = frame

    def __call__(self, block, direction):
        X = self.frame.shifted(block.X)
        dz = linear_predictor(X, _on_original_scale(direction, self.frame))[:, 0, :]
        moves = np.abs(dz[:, 0]) if dz.shape[1] == 1 else np.ptp(dz, axis=1)
        return np.max(moves, keepdims=True)

    @staticmethod
    def combine(total, part):
        return np.maximum(total, part)


class LargestLeverage:
    """``max_i max_|u| = 1 (max_k dz_ik - min_k dz_ik)`` over the u of unit length in a metric.

    With ``R^T R = H`` the metric and dz_i the change of the linear predictor of row i along u, that
    of one output is ``|R^-T [x_i 1]|``; of several it is bounded by twice the largest distance of
    ``R^-T ([x_i 1] kron e_k)`` from their mean over k. Rows of weight zero do not count.

    Parameters
    ----------
    frame : Frame
    inverse_root : ndarray of shape (q, q)
        ``R^-T``, q = (n_features + 1) n_outputs in the order of ``theta.ravel()``.
    n_outputs : int
    """

    def __init__(self, frame, inverse_root, n_outputs):
        self.frame, self.n_outputs = frame, n_outputs
        size = len(inverse_root)
        by_output = inverse_root.reshape(size, -1, n_outputs)
        if n_outputs > 1:
            by_output = by_output - by_output.mean(axis=2, keepdims=True)
        self._maps = np.ascontiguousarray(by_output.transpose(2, 1, 0))  # (K, p + 1, q)

    def __call__(self, block):
        X = self.frame.rows(block.X)
        if block.sample_weight is not None:
            X = X[block.sample_weight > 0.0]
        largest = 0.0
        for begin in range(0, X.shape[0], 1024):  # a row takes q numbers here
            rows = _bordered(X[begin : begin + 1024])
            for of_output in self._maps:
                moved = rows @ of_output
                largest = max(largest, np.einsum("iq,iq->i", moved, moved).max(initial=0.0))
        factor = 1.0 if self.n_outputs == 1 else 2.0
        return np.array([factor * np.sqrt(largest)])

    @staticmethod
    def combine(total, part):
        return np.maximum(total, part)


class SmallestRival:
    """The least ``s_i p_ik`` of a row of positive weight and a class that is not its own."""

    def __init__(self, loss, frame):
        self.loss, self.frame = loss, frame

    def __call__(self, block, theta):
        X = self.frame.shifted(block.X)
        z = linear_predictor(X, _on_original_scale(theta, self.frame))[:, 0, :]
        # The gradient of a row is its probabilities, less 1 for its own class.
        rivals = np.abs(self.loss.gradient(block.y, np.ascontiguousarray(z)))
        if rivals.shape[1] > 1:
            np.put_along_axis(rivals, block.y, np.inf, axis=1)
        least = _weigh(rivals.min(axis=1), block.sample_weight)
        if block.sample_weight is not None:
            least = least[block.sample_weight > 0.0]
        return np.array([least.min(initial=np.inf)])

    @staticmethod
    def combine(total, part):
        return np.minimum(total, part)


class LargestRow:
    """``max_i s_i |[x_i 1]|^2``: the smoothness of the worst single row."""

    def __init__(self, frame, fit_intercept):
        self.frame, self.fit_intercept = frame, fit_intercept

    def __call__(self, block):
        X = self.frame.rows(block.X)
        norms = (
            np.asarray(X.power(2).sum(axis=1)).ravel()
            if sparse.issparse(X)
            else np.einsum("ij,ij->i", X, X)
        )
        return np.max(_weigh(norms + float(self.fit_intercept), block.sample_weight), keepdims=True)

    @staticmethod
    def combine(total, part):
        return np.maximum(total, part)
