"""The optimum to higher accuracy than anything measured, and the distance of a result from it.

Least squares: exact rational arithmetic on small problems, iterative refinement on large ones.
Logistic and softmax: damped Newton in standardised columns down to rounding level, or
Newton-CG where the Hessian would not fit.
"""

import warnings
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit, log_softmax, softmax

from gdregress import LogisticRegression

ROWS = 1 << 16
DENSE_CELLS = 2e8
MOST_UNKNOWNS = 4_000


def loss_at(problem, coef, intercept):
    """The full objective of `problem` at ``coef`` (p, K) and ``intercept`` (K,)."""
    total = 0.0
    for start in range(0, problem.n_samples, ROWS):
        rows = slice(start, start + ROWS)
        Z = problem.X[rows] @ coef + intercept
        total += pointwise_loss(problem, Z, problem.y[rows]).sum()
    return total / problem.n_samples + 0.5 * problem.alpha * np.sum(coef**2)


def pointwise_loss(problem, Z, y):
    """Half squares, logistic loss or softmax cross-entropy of each row."""
    if problem.kind == "squares":
        return 0.5 * (Z[:, 0] - y) ** 2
    if Z.shape[1] == 1:
        return np.logaddexp(0.0, np.where(y > 0, -Z[:, 0], Z[:, 0]))
    return -log_softmax(Z, axis=1)[np.arange(len(y)), y]


def residual(Z, y):
    """d loss / d z of the classification losses, and the probabilities."""
    if Z.shape[1] == 1:
        P = expit(Z)
        return P - y[:, None], P
    P = softmax(Z, axis=1)
    R = P.copy()
    R[np.arange(len(y)), y] -= 1.0
    return R, P


@dataclass(frozen=True)
class Optimum:
    """The reference minimum of a problem, its loss, and the loss at zero where descent starts.

    ``decrement`` is what one more Newton step would still gain, as a suboptimality.
    """

    problem: object
    coef: np.ndarray
    intercept: np.ndarray
    loss: float
    start: float
    decrement: float

    def suboptimality(self, coef, intercept):
        """(L - L*) / (L(start) - L*), NaN or inf where the result is not finite."""
        with np.errstate(all="ignore"):
            value = loss_at(self.problem, coef, intercept)
        return self.of_loss(value)

    def of_loss(self, loss):
        """The same of a loss that is known already (a scalar or an array)."""
        gap = (np.asarray(loss) - self.loss) / (self.start - self.loss)
        if np.any(gap < -1e-10):
            raise AssertionError(f"{self.problem.name}: the reference is not optimal ({gap})")
        return gap


def optimum(problem):
    """The minimum of a logistic or softmax problem, checked.

    It begins where a fit of gdregress ends, which saves most of the way; gradient, Hessian and the
    decrement that has to vanish are computed here.

    Raises
    ------
    AssertionError
        When Newton's decrement at the result is above 1e-13 of L(start) - L*.
    """
    p, K = problem.n_features, problem.n_outputs
    if p > problem.n_samples and not sparse.issparse(problem.X):
        return _in_row_space(problem)
    begin = _fitted(problem)
    too_many = (p + 1) * K > MOST_UNKNOWNS
    too_large = sparse.issparse(problem.X) and problem.n_samples * p > DENSE_CELLS
    solve = _newton_cg if too_many or too_large else _newton
    coef, intercept, decrement = solve(problem, *begin)
    start = loss_at(problem, np.zeros((p, K)), np.zeros(K))
    loss = loss_at(problem, coef, intercept)
    gap = decrement / (start - loss)
    if not gap < 1e-13:
        raise AssertionError(f"{problem.name}: no reference optimum (decrement {gap:.1e})")
    return Optimum(problem, coef, intercept, loss, start, gap)


def _fitted(problem):
    estimator = LogisticRegression(
        alpha=problem.alpha, fit_intercept=problem.fit_intercept, tol=1e-5
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(problem.X, problem.y)
    coef, intercept = estimator.coef_, np.atleast_1d(estimator.intercept_)
    return np.atleast_2d(coef).T, np.broadcast_to(intercept, (problem.n_outputs,))


def _in_row_space(problem):
    """The optimum of a wide problem: coef = Q a with X^T = Q R, where ``|coef| = |a|``."""
    Q, R = linalg.qr(problem.X.T, mode="economic")
    found = optimum(replace(problem, X=np.ascontiguousarray(R.T)))
    return replace(found, problem=problem, coef=Q @ found.coef)


class _Standardised:
    """The problem in columns ``(X - mean) / scale`` and a last column of ones.

    Coefficients map as ``coef = theta / scale``, so that the penalty becomes
    ``alpha / scale**2`` column by column.
    """

    def __init__(self, problem):
        X = problem.X.toarray() if sparse.issparse(problem.X) else problem.X
        self.problem = problem
        self.mean = X.mean(axis=0) if problem.fit_intercept else np.zeros(X.shape[1])
        spread = np.sqrt(np.mean((X - self.mean) ** 2, axis=0))
        self.scale = np.where(spread > 0, spread, 1.0)
        self.A = np.empty((X.shape[0], X.shape[1] + 1))
        self.A[:, :-1] = (X - self.mean) / self.scale
        self.A[:, -1] = float(problem.fit_intercept)
        self.penalty = np.append(problem.alpha / self.scale**2, 0.0)[:, None]

    def loss(self, theta):
        values = pointwise_loss(self.problem, self.A @ theta, self.problem.y)
        return values.mean() + 0.5 * np.sum(self.penalty * theta**2)

    def derivatives(self, theta):
        """Gradient (p + 1, K) and Hessian ((p + 1) K, (p + 1) K), classes outermost."""
        n, K = self.problem.n_samples, theta.shape[1]
        size = len(theta)
        R, P = residual(self.A @ theta, self.problem.y)
        gradient = self.A.T @ R / n + self.penalty * theta
        H = np.empty((K, size, K, size))
        for k in range(K):
            for j in range(k + 1):
                weight = P[:, k] * (float(j == k) - P[:, j]) / n
                H[k, :, j, :] = H[j, :, k, :] = self._weighted_gram(weight)
            H[k, :, k, :] += np.diag(self.penalty[:, 0])
        self._fix_gauge(H)
        return gradient, H.reshape(K * size, K * size)

    def _weighted_gram(self, weight):
        blocks = (slice(s, s + ROWS) for s in range(0, len(weight), ROWS))
        return sum(self.A[b].T @ (self.A[b] * weight[b, None]) for b in blocks)

    def _fix_gauge(self, H):
        # Intercepts may move together at no cost: curvature along that direction, where the
        # gradient is zero, leaves the step unchanged. Without an intercept its column is zero.
        H[:, -1, :, -1] += 1.0 if H.shape[0] > 1 else 0.0
        if not self.problem.fit_intercept:
            H[:, -1, :, -1] += np.eye(H.shape[0])

    def standard(self, coef, intercept):
        return np.vstack([coef * self.scale[:, None], intercept + self.mean @ coef])

    def original(self, theta):
        coef = theta[:-1] / self.scale[:, None]
        return coef, theta[-1] - self.mean @ coef


def _newton(problem, coef, intercept, max_iter=200):
    form = _Standardised(problem)
    theta = form.standard(coef, intercept)
    loss, decrement, polish = form.loss(theta), np.inf, 0
    for _ in range(max_iter):
        gradient, H = form.derivatives(theta)
        g = gradient.T.ravel()
        step = _solve(H, g)
        decrement = 0.5 * float(g @ step)
        polish += decrement < 1e-14 * loss
        if polish > 1:
            break
        direction = step.reshape(theta.shape[::-1]).T
        theta, loss = _backtrack(form, theta, loss, direction, decrement)
    return *form.original(theta), decrement


def _backtrack(form, theta, loss, direction, decrement):
    rate = 1.0
    while rate > 1e-10:
        trial = theta - rate * direction
        value = form.loss(trial)
        if value <= loss - 1e-4 * rate * decrement + 4e-16 * abs(loss):
            return trial, value
        rate /= 2
    return theta, loss


def _solve(H, g):
    scale = 1.0 / np.sqrt(np.diag(H))
    scaled = H * scale * scale[:, None]
    try:
        return scale * linalg.solve(scaled, scale * g, assume_a="pos")
    except linalg.LinAlgError:
        return scale * linalg.lstsq(scaled, scale * g)[0]


def _newton_cg(problem, coef, intercept, max_iter=100):
    """Problems with too many unknowns for a Hessian: its products, preconditioned."""
    X, n = problem.X, problem.n_samples
    free = float(problem.fit_intercept)
    theta = np.vstack([coef, intercept])

    def loss_of(theta):
        return loss_at(problem, theta[:-1], theta[-1])

    P = residual(X @ theta[:-1] + theta[-1], problem.y)[1]
    precondition = _preconditioner(problem, P)
    loss, decrement = loss_of(theta), np.inf
    for _ in range(max_iter):
        R, P = residual(X @ theta[:-1] + theta[-1], problem.y)
        g = np.vstack([X.T @ R / n + problem.alpha * theta[:-1], free * R.mean(axis=0)])
        hessian = _hessian_operator(problem, P)
        # The error of g^T H^-1 g is the square of that of the step: this tells when to stop.
        step = cg(hessian, g.ravel(), rtol=1e-4, maxiter=4000, M=precondition)[0]
        step = step.reshape(theta.shape)
        decrement = 0.5 * float(np.vdot(g, step))
        if decrement < 1e-15 * loss:
            break
        rate = 1.0
        while loss_of(theta - rate * step) > loss + 4e-16 * loss and rate > 1e-10:
            rate /= 2
        theta = theta - rate * step
        loss = loss_of(theta)
    return theta[:-1], theta[-1], decrement


def _hessian_operator(problem, P):
    """Products with the Hessian where the probabilities are P; see :func:`residual`.

    A direction that moves all intercepts together costs nothing, and the gradient has none of it.
    Without an intercept its coordinate is the identity.
    """
    X, alpha, K = problem.X, problem.alpha, P.shape[1]
    shape = (problem.n_features + 1, K)

    def multiply(v):
        v = v.reshape(shape)
        z = X @ v[:-1] + problem.fit_intercept * v[-1]
        weighted = P * (1.0 - P) * z if K == 1 else P * (z - np.sum(P * z, axis=1, keepdims=True))
        weighted /= problem.n_samples
        last = weighted.sum(axis=0) if problem.fit_intercept else v[-1]
        return np.vstack([X.T @ weighted + alpha * v[:-1], last]).ravel()

    return LinearOperator((shape[0] * K, shape[0] * K), matvec=multiply)


def _preconditioner(problem, P):
    """The inverse of the Hessian's block of each class, dense, or of its diagonal, sparse."""
    X, K, size = problem.X, problem.n_outputs, problem.n_features + 1
    curvature = P * (1.0 - P) / problem.n_samples
    # The last coordinate has no penalty: what keeps its block regular is nothing beside it.
    ridge = np.append(np.full(size - 1, problem.alpha), 1e-12)
    if sparse.issparse(X):
        squares = np.vstack([X.power(2).T @ curvature, curvature.sum(axis=0)])
        diagonal = (squares + ridge[:, None]).ravel()
        return LinearOperator((size * K, size * K), matvec=lambda v: v / diagonal)
    A = np.column_stack([X, np.ones(len(X))])
    factors = [linalg.cho_factor(A.T @ (A * c[:, None]) + np.diag(ridge)) for c in curvature.T]

    def solve(v):
        columns = zip(factors, v.reshape(size, K).T, strict=True)
        return np.column_stack([linalg.cho_solve(f, c) for f, c in columns]).ravel()

    return LinearOperator((size * K, size * K), matvec=solve)


def least_squares(X, y):
    """Coefficients and intercept of the least-squares fit, beyond float64 accuracy.

    Small problems are solved in rational arithmetic: the exact solution for the floats given,
    rounded once. Large ones, which have to be well conditioned, by normal equations and
    refinement with residuals from X.
    """
    if X.shape[0] * X.shape[1] ** 2 <= 2e7:
        theta = exact_least_squares(np.column_stack([X, np.ones(len(X))]), y)
        return theta[:-1], theta[-1]
    return _refined_least_squares(X, y)


def exact_least_squares(A, y):
    """argmin ||A theta - y|| for the float64 numbers given, in exact arithmetic.

    Normal equations over the integers (every float is an integer times a power of two) and
    elimination over the rationals: no rounding until the last line.
    """
    A_int, A_exponent = _integers(A)
    y_int, y_exponent = _integers(y)
    gram, moment = A_int.T @ A_int, A_int.T @ y_int
    theta = _eliminate(gram.tolist(), moment.tolist())
    shift = Fraction(2) ** int(y_exponent - A_exponent)
    return np.array([float(value * shift) for value in theta])


def _integers(values):
    mantissa, exponent = np.frexp(values)
    lowest = int(exponent[mantissa != 0].min())
    whole = np.ldexp(mantissa, 53).astype(np.int64).astype(object)
    shifts = np.where(mantissa != 0, exponent - lowest, 0).astype(object)
    return whole * 2**shifts, lowest - 53


def _eliminate(matrix, right):
    """Fraction-free elimination (Bareiss, 1968) of a positive definite integer system."""
    rows = [[*row, value] for row, value in zip(matrix, right)]
    size, previous = len(rows), 1
    for k in range(size):
        for i in range(k + 1, size):
            for j in range(k + 1, size + 1):
                product = rows[i][j] * rows[k][k] - rows[i][k] * rows[k][j]
                rows[i][j] = product // previous
        previous = rows[k][k]
    theta = [Fraction(0)] * size
    for i in reversed(range(size)):
        known = sum((rows[i][j] * theta[j] for j in range(i + 1, size)), Fraction(0))
        theta[i] = (rows[i][size] - known) / rows[i][i]
    return theta


def _refined_least_squares(X, y, steps=3):
    n = len(X)
    mean = X.mean(axis=0)
    gram = sum(_centred_gram(X[s : s + ROWS], mean) for s in range(0, n, ROWS))
    factor = linalg.cho_factor(gram)
    coef, intercept = np.zeros(X.shape[1]), y.mean()
    for _ in range(steps):
        rest = y - X @ coef - intercept
        shift = rest.mean()
        correction = linalg.cho_solve(factor, X.T @ (rest - shift))
        coef = coef + correction
        intercept += shift - mean @ correction
    return coef, intercept


def _centred_gram(block, mean):
    centred = block - mean
    return centred.T @ centred
