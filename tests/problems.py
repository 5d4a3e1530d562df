"""Problems with a known answer, and gradient descent as the textbook writes it.

Nothing in this module calls the package's numerics: the tests compare the package with it.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import expit, log_softmax, logsumexp, softmax
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression

EXACT_LINEAR = ["normal_equations", "lstsq", "auto"]
LINEAR_SOLVERS = [*EXACT_LINEAR, "gd"]
EXACT_LOGISTIC = ["newton", "auto"]
LOGISTIC_SOLVERS = [*EXACT_LOGISTIC, "gd"]

# Settings with which a solver comes within 1e-9 of the optimum of a well-conditioned problem. Both
# bounds are on a loss relative to the first; the error of the coefficients is their square root.
_TO_THE_END = {"gd": {"tol": 1e-24, "max_iter": 100_000}}
_NEWTON_TO_THE_END = {"tol": 1e-12}


def linear(solver, **params):
    """A `LinearRegression` that solves well-conditioned problems to 1e-9."""
    return LinearRegression(solver=solver, **{**_TO_THE_END.get(solver, {}), **params})


def logistic(solver, **params):
    """A `LogisticRegression` that solves well-conditioned problems to 1e-9."""
    settings = _TO_THE_END.get(solver, _NEWTON_TO_THE_END)
    return LogisticRegression(solver=solver, **{**settings, **params})


class Problem(NamedTuple):
    """Data, and the optimum of the objective on them in the shapes of the fitted attributes."""

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None
    coef: np.ndarray
    intercept: np.ndarray | float
    loss: float


def least_squares(
    n_samples=60, n_features=4, n_targets=None, *, fit_intercept=True, noise=1.0, seed=0
):
    """Least squares with chosen coefficients: the residual is orthogonal to the design."""
    rng = np.random.default_rng(seed)
    n_outputs = n_targets or 1
    X = rng.standard_normal((n_samples, n_features)) + 0.5
    coef = rng.uniform(1, 3, (n_outputs, n_features)) * rng.choice([-1, 1], (n_outputs, n_features))
    intercept = rng.uniform(1, 3, n_outputs) if fit_intercept else np.zeros(n_outputs)

    design = np.column_stack([X, np.ones(n_samples)]) if fit_intercept else X
    basis = np.linalg.qr(design)[0]
    residual = noise * rng.standard_normal((n_samples, n_outputs))
    for _ in range(2):  # twice is enough
        residual -= basis @ (basis.T @ residual)

    y = X @ coef.T + intercept + residual
    loss = 0.5 * np.sum(residual**2) / n_samples
    if n_targets is None:
        return Problem(X, y[:, 0], None, coef[0], intercept[0], loss)
    return Problem(X, y, None, coef, intercept, loss)


def classification(n_samples=50, n_features=3, n_classes=2, *, alpha=0.0, seed=0):
    """Logistic regression with chosen coefficients.

    Every row appears once with each label, weighted by q = p + delta, where p is the model's
    probability and delta a linear function of the row with mean(x delta) = alpha w: the gradient
    mean(x (p - q)) + alpha w then vanishes.
    """
    rng = np.random.default_rng(seed)
    n_outputs = 1 if n_classes == 2 else n_classes
    X = rng.standard_normal((n_samples, n_features)) + 0.5
    coef = rng.uniform(-1, 1, (n_outputs, n_features))
    intercept = rng.uniform(-0.5, 0.5, n_outputs)
    if n_classes > 2:  # the softmax gauge
        coef -= coef.mean(axis=0)
        intercept -= intercept.mean()

    decision = X @ coef.T + intercept
    log_p = log_softmax(decision if n_classes > 2 else np.hstack([0 * decision, decision]), axis=1)
    A = np.column_stack([X, np.ones(n_samples)])
    pull = np.vstack([alpha * coef.T, np.zeros(n_outputs)])
    delta = A @ np.linalg.solve(A.T @ A / n_samples, pull)
    q = np.exp(log_p) + (delta if n_classes > 2 else np.hstack([-delta, delta]))
    assert (q > 0).all(), "alpha is too large for this construction"

    return Problem(
        X=np.tile(X, (n_classes, 1)),
        y=np.repeat(np.arange(n_classes), n_samples),
        sample_weight=2.5 * q.T.ravel(),  # the objective is a weighted mean: 2.5 cancels
        coef=coef,
        intercept=intercept,
        loss=-np.sum(q * log_p) / n_samples + 0.5 * alpha * np.sum(coef**2),
    )


def overlapping_classes(n_classes):
    """Diabetes with its target cut at the quantiles: classes that no plane separates.

    Its well-conditioned columns, standardised, so that descent arrives as well.
    """
    X, y = load_diabetes(return_X_y=True)
    cuts = np.quantile(y, np.linspace(0, 1, n_classes + 1)[1:-1])
    return StandardScaler().fit_transform(X[:, [1, 2, 3, 6, 8]]), np.searchsorted(cuts, y)


def exact_least_squares(X, y, sample_weight=None, *, alpha=0.0, fit_intercept=True):
    """The optimum of these very floats, (n_features + 1, n_outputs), in rational arithmetic.

    The normal equations by Gauss-Jordan elimination; the intercept is last, 0 where there is none.
    """
    columns = [*X.T, np.full(len(X), float(fit_intercept))]
    A, A_units = zip(*map(_integers, columns))
    B, B_units = zip(*map(_integers, y.reshape(len(y), -1).T))
    weight = _integers(np.ones(len(y)) if sample_weight is None else sample_weight)[0]
    A, B = np.array(A), np.array(B)
    moments = ((A * weight) @ np.vstack([A, B]).T).tolist()
    n = len(A)
    M = [[Fraction(value) for value in row] for row in moments]
    for k in range(n - 1):
        M[k][k] += Fraction(alpha) * weight.sum() * A_units[k] ** 2
    M[-1][n - 1] += int(not fit_intercept)
    for k in range(n):
        M[k] = [value / M[k][k] for value in M[k]]
        for i in range(n):
            if i != k:
                M[i] = [x - M[i][k] * z for x, z in zip(M[i], M[k])]
    return np.array([row[n:] for row in M]) * np.outer(A_units, [Fraction(1, u) for u in B_units])


def _integers(values):
    """Floats times a power of two that makes integers of them, and that power."""
    ratios = [float(value).as_integer_ratio() for value in values]
    unit = max(denominator for _, denominator in ratios)
    return np.array([n * (unit // d) for n, d in ratios], dtype=object), unit


# Backward stable methods have small constants in their bounds; Householder QR is observed below 2.
_SMALL_CONSTANT = 5.0


def least_squares_error(theta, X, y, sample_weight=None, *, alpha=0.0, fit_intercept=True):
    """The error of theta (p + 1, K), in units of what a backward stable method may make of it.

    With A the centred columns of unit length, w their coefficients, k the condition of A, s its
    largest singular value and r the residuals, the perturbation theory of least squares has

        |dw| <= c eps (k + k^2 |r| / (s |w|)) |w|         (Golub & Van Loan 2013, theorem 5.3.1)
        |db| <= sum |mean_j dw_j| + c eps (|mean_y| + sum |mean_j w_j|)

    A method is as accurate as Householder QR of the centred columns where both ratios are at
    most 1, with c = 5, whatever the order of its sums. A penalty adds rows to A.
    """
    exact = exact_least_squares(X, y, sample_weight, alpha=alpha, fit_intercept=fit_intercept)
    difference = (np.vectorize(Fraction)(theta) - exact).astype(float)
    y = y.reshape(len(y), -1)
    weight = np.ones(len(X)) if sample_weight is None else sample_weight
    root = np.sqrt(weight)[:, None]
    X_mean, y_mean = (np.average(a, axis=0, weights=weight) * fit_intercept for a in (X, y))
    A = np.vstack([root * (X - X_mean), np.sqrt(alpha * weight.sum()) * np.eye(X.shape[1])])
    unit = np.linalg.norm(A, axis=0)
    singular = np.linalg.svd(A / unit, compute_uv=False)
    condition = singular[0] / singular[-1]
    b = np.vstack([root * (y - y_mean), np.zeros_like(difference[:-1])])
    coef = exact[:-1].astype(float)
    residual = np.linalg.norm(b - A @ coef, axis=0)
    size = np.linalg.norm(unit[:, None] * coef, axis=0)
    eps = _SMALL_CONSTANT * np.finfo(float).eps
    bound = eps * (condition * size + condition**2 * residual / singular[0])
    error = np.linalg.norm(unit[:, None] * difference[:-1], axis=0)
    far = abs(X_mean) @ abs(difference[:-1])
    rounding = eps * (abs(y_mean) + abs(X_mean) @ abs(coef))
    if not fit_intercept:
        assert not theta[-1].any()
        return float((error / bound).max())
    return float(np.maximum(error / bound, abs(difference[-1]) / (far + rounding)).max())


class Model(NamedTuple):
    """A loss of the linear predictor Z; its gradient is mean(Z) - Y, its curvature is bounded."""

    mean: Callable
    loss: Callable
    curvature: float


SQUARES = Model(lambda Z: Z, lambda Y, Z: 0.5 * ((Z - Y) ** 2).sum(axis=1), 1.0)
SIGMOID = Model(expit, lambda Y, Z: (np.logaddexp(0, Z) - Y * Z).sum(axis=1), 0.25)
SOFTMAX = Model(
    partial(softmax, axis=1), lambda Y, Z: logsumexp(Z, axis=1) - (Y * Z).sum(axis=1), 0.5
)


class Textbook:
    """A weighted mean loss with a ridge penalty, and plain gradient descent on it.

    theta is (n_features + 1, n_outputs), the intercept last and not penalised.
    """

    def __init__(self, model, X, Y, sample_weight=None, alpha=0.0):
        self.model, self.Y, self.alpha = model, Y, alpha
        self.A = np.column_stack([X, np.ones(len(X))])
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        self.weight = weight / weight.sum()
        self.penalised = np.append(np.ones(X.shape[1]), 0.0)[:, None]  # not the intercept

    def loss(self, theta):
        mean = self.weight @ self.model.loss(self.Y, self.A @ theta)
        return mean + 0.5 * self.alpha * np.sum(self.penalised * theta**2)

    def gradient(self, theta):
        residual = self.model.mean(self.A @ theta) - self.Y
        return self.A.T @ (self.weight[:, None] * residual) + self.alpha * self.penalised * theta

    def hessian_bound(self):
        gram = self.model.curvature * self.A.T @ (self.weight[:, None] * self.A)
        return gram + self.alpha * np.diag(self.penalised[:, 0])

    def largest_eigenvalue(self):
        return np.linalg.eigvalsh(self.hessian_bound())[-1]

    def descend(self, learning_rate, n_iter, start=None):
        """The iterates, (n_iter + 1, n_features + 1, n_outputs)."""
        theta = np.zeros((self.A.shape[1], self.Y.shape[1])) if start is None else start
        path = [theta]
        for _ in range(n_iter):
            theta = theta - learning_rate * self.gradient(theta)
            path.append(theta)
        return np.array(path)

    def losses(self, path):
        return np.array([self.loss(theta) for theta in path])


class DescentCase(NamedTuple):
    """Standardised real data for an estimator, and the textbook's view of the same problem."""

    estimator: type
    model: Model
    X: np.ndarray
    y: np.ndarray
    Y: np.ndarray  # targets or one-hot labels, 2-D

    def textbook(self, **kwargs):
        return Textbook(self.model, self.X, self.Y, **kwargs)


def _standardised(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def descent_case(name):
    """One of DESCENT_CASES."""
    if name in ("squares", "three targets"):
        X, y = _standardised(load_diabetes)
        if name == "three targets":
            y = np.column_stack([y, np.log(y), (y > 150) - 0.5])
        return DescentCase(LinearRegression, SQUARES, X, y, y.reshape(len(X), -1))
    if name == "sigmoid":
        X, y = _standardised(load_breast_cancer)
        return DescentCase(LogisticRegression, SIGMOID, X[:, :8], y, y[:, None].astype(float))
    X, y = _standardised(load_iris)
    return DescentCase(LogisticRegression, SOFTMAX, X, y, np.eye(3)[y])


DESCENT_CASES = ["squares", "three targets", "sigmoid", "softmax"]
each_case = pytest.mark.parametrize("name", DESCENT_CASES)


def to_theta(coef, intercept):
    """Coefficients and intercept in scikit-learn's shapes as the textbook's theta."""
    return np.vstack([np.atleast_2d(coef).T, np.atleast_1d(intercept)[None, :]])


def to_attributes(theta, like):
    """The textbook's theta in the shapes of the fitted estimator `like`."""
    return theta[:-1].T.reshape(like.coef_.shape), theta[-1].reshape(np.shape(like.intercept_))
