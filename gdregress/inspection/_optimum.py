"""An unpenalised fit at its optimum, found to the end in an orthonormal basis of the columns.

In a :class:`~gdregress.problem.basis.Basis` the second moments of X are the unit matrix: no
information matrix ``A = sum_i s_i c_i [u_i 1] [u_i 1]^T``, c being the curvature of the loss, is as
ill-conditioned as X. A fit without an optimum, or that is not there, is refused with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from ..history import StopReason
from ..problem.basis import Basis
from ..problem.margins import largest_move
from ..problem.objective import BlockObjective
from ..problem.penalty import ElasticNet
from ..rows.blocks import Block
from ..rows.design import weigh
from ..rows.kernels import Sum
from ..solvers.newton.separation import AT_REST, Separation, separation_near
from ._problem import Problem, Refusal

__all__ = ["Optimum", "Residuals", "in_basis", "optimum_of", "sure_frame"]

_EPS = np.finfo(np.float64).eps
# No linear combination of the coefficients may be further from the optimum, in standard errors.
_AT_OPTIMUM = 0.1
# Information in the basis below this reciprocal condition has saturated.
_SATURATED = 1e-13
_MOST_PARAMETERS = 10_000
# Newton's method to the end: so close, in standard errors, that one more step is the last.
_ARRIVED, _MOST_STEPS = 1e-8, 5
# A change of the predictions below this share of y is rounding.
_ROUNDING = 64.0 * _EPS


@dataclass(frozen=True)
class Optimum:
    """The optimum of an unpenalised loss, at which a fit has arrived.

    A fit ends within a tolerance of it; from there Newton's method goes to the end in the basis, so
    that nothing here depends on the solver or its tolerance.

    Directions in the basis have one row for each column of u, and the intercept last where it is
    fitted: ``n_terms`` of them. Parameters of softmax are those of all classes but the reference.

    Attributes
    ----------
    problem : Problem
    inside : BlockObjective
        The objective in the basis.
    theta : ndarray of shape (n_columns + 1, 1, n_outputs)
        In the basis.
    estimate : ndarray of shape (n_features + 1, n_outputs)
        The same in the original columns.
    outputs : ndarray of int
        The outputs that have parameters of their own.
    root : ndarray of shape (q, q)
        Lower triangle with ``root root^T = A``, in the order of ``theta[:, 0, outputs].ravel()``;
        of one target for squares, whose targets share it.
    residual_squares : ndarray of shape (n_outputs,)
        ``sum_i s_i e_i^2`` for squares.
    log_loss : float
        ``sum_i s_i loss_i``.
    """

    problem: Problem
    inside: BlockObjective
    theta: np.ndarray
    estimate: np.ndarray
    outputs: np.ndarray
    root: np.ndarray
    residual_squares: np.ndarray
    log_loss: float

    @property
    def basis(self) -> Basis:
        return self.inside.frame

    @property
    def n_terms(self) -> int:
        return self.basis.n_columns + int(self.inside.fit_intercept)

    @property
    def n_samples(self) -> int:
        return int(self.inside.blocks.n_weighing)

    @property
    def n_parameters(self) -> int:
        return len(self.root)

    @property
    def df_resid(self) -> int:
        return self.n_samples - self.n_parameters

    @property
    def scale(self) -> np.ndarray:
        """phi of each model: the variance of a residual of weight 1; 1 for the logistic losses."""
        if self.inside.is_quadratic:
            return self.residual_squares / self.df_resid
        return np.ones(1)

    def out_of_basis(self) -> np.ndarray:
        """theta of the original columns by theta of the basis, (n_features [+ 1], n_terms)."""
        n_terms = self.n_terms
        unit = np.zeros((self.basis.n_columns + 1, n_terms, 1))
        unit[:n_terms, :, 0] = np.eye(n_terms)
        outside = self.basis.leave(unit)[:, :, 0]
        return outside if self.inside.fit_intercept else outside[:-1]


class Residuals(Sum):
    """Of squares: ``sum_i s_i e_i^2`` of each target, ``[u 1]^T s e``, and ``[u 1]^T s [u 1]``.

    The last is the unit matrix times S only to the accuracy of the basis.
    """

    def __call__(self, block: Block, theta: np.ndarray) -> tuple[np.ndarray, ...]:
        design, y, s = block
        residual = design.times(theta)[:, 0] - y
        weighted = weigh(residual, s)
        squares = np.einsum("nk,nk->k", weighted, residual)
        return squares, design.pull(weighted), design.gram(s)


def optimum_of(problem: Problem, reference: int = 0) -> Optimum:
    """The fit of `problem`, which has to be the optimum of an unpenalised loss on its rows.

    Parameters
    ----------
    problem : Problem
    reference : int
        The class that the others are compared with, for more than two.

    Raises
    ------
    ValueError
        Where it is not, or has none, with the reason and the remedy.
    """
    _check_design(problem)
    objective = problem.objective
    basis = Basis.of(objective.in_frame(sure_frame(objective)))
    if basis.n_columns < objective.blocks.n_features:
        raise problem.fails(
            f"needs columns that do not depend on each other: X has rank {basis.n_columns} of "
            f"{objective.blocks.n_features}, and the coefficients of {_dependent(problem, basis)} "
            f"could be anything",
            "leave these columns out (one level of each group of dummies)",
        )
    inside = in_basis(objective, basis, objective.penalty)
    theta = basis.enter(problem.theta)
    if objective.is_quadratic:
        return _least_squares(problem, inside, theta)
    return _likelihood(problem, inside, theta, reference)


def _check_design(problem: Problem) -> None:
    """What can be said before anything is computed."""
    model, objective = problem.model, problem.objective
    if model.alpha > 0:
        raise problem.fails(
            f"needs a fit without a penalty: alpha={model.alpha!r} shrinks the coefficients, which "
            f"then have a bias and no standard errors",
            "refit with alpha=0, or estimate the spread with a bootstrap",
        )
    if getattr(model, "class_weight", None) is not None:
        raise problem.fails(
            f"needs the likelihood of the rows as they are: class_weight={model.class_weight!r} "
            f"counts rows as if there were more or fewer of them",
            "refit with class_weight=None",
        )
    if model.stop_reason_ is StopReason.EARLY:
        raise problem.fails(
            "needs a fit that went on to its optimum: early stopping is a penalty of its own",
            "refit with early_stopping=False",
        )
    n_samples = int(objective.blocks.n_weighing)
    n_terms = objective.blocks.n_features + int(objective.fit_intercept)
    n_parameters = n_terms * (1 if objective.is_quadratic else max(1, objective.shape[1] - 1))
    if n_samples <= n_terms:
        raise problem.fails(
            f"needs more rows than coefficients: {n_samples} rows of positive weight, "
            f"{n_terms} coefficients",
            "give more rows or fewer columns",
        )
    if n_parameters > _MOST_PARAMETERS:
        raise problem.fails(
            f"needs a covariance matrix of {n_parameters} x {n_parameters}, more than "
            f"{_MOST_PARAMETERS} coefficients allow",
            "give fewer columns",
        )


def sure_frame(objective: BlockObjective) -> Any:
    """A frame that is sure where one is needed at all."""
    frame = objective.frames.sampled()
    return (
        frame if frame.is_identity and objective.blocks.stores_zeros else objective.frames.exact()
    )


def in_basis(objective: BlockObjective, basis: Basis, penalty: ElasticNet) -> BlockObjective:
    """The objective in a basis, which makes rows dense, and a penalty of its coefficients there."""
    return BlockObjective(
        objective.blocks.for_dense_rows().in_frame(basis),
        objective.loss,
        penalty,
        objective.shape[1],
        fit_intercept=objective.fit_intercept,
    )


def _dependent(problem: Problem, basis: Basis) -> str:
    """The names of columns that depend on the others."""
    unit = np.linalg.norm(basis.backward, axis=0)  # the spread of each column
    constant = unit <= 16.0 * basis.frame.noise(basis.mean)
    scaled = np.where(constant, 0.0, basis.backward / np.where(unit > 0.0, unit, 1.0))
    _, pivots = linalg.qr(scaled, mode="r", pivoting=True)
    return listed(problem.names, np.sort(pivots[basis.n_columns :]))


def listed(names: list[str], columns: np.ndarray, most: int = 6) -> str:
    """Names of columns for a sentence, the first few."""
    few = ", ".join(repr(names[j]) for j in columns[:most])
    return few + (f" and {len(columns) - most} more" if len(columns) > most else "")


def _least_squares(problem: Problem, inside: BlockObjective, theta: np.ndarray) -> Optimum:
    squares, gradient, gram = inside.blocks.reduce(Residuals(), theta)
    n_terms = inside.frame.n_columns + int(inside.fit_intercept)
    root = linalg.cholesky(gram[:n_terms, :n_terms], lower=True)
    step = np.zeros((len(theta), 1, len(squares)))
    step[:n_terms, 0] = -linalg.cho_solve((root, True), gradient[:n_terms])
    decrease = -np.einsum("jk,jk->k", gradient, step[:, 0])  # of the sum of squares
    squares = np.maximum(squares - decrease, 0.0)
    # |c^T step| <= off se(c) for every c; a step that moves predictions by rounding is none.
    y, weight = inside.blocks.y, inside.blocks.sample_weight
    rounding = _ROUNDING**2 * np.average(y * y, axis=0, weights=weight)
    scale = squares / (inside.blocks.n_weighing - n_terms)
    moves = decrease > rounding * inside.total_weight
    off = np.sqrt(np.divide(decrease, scale, out=np.zeros_like(scale), where=moves & (scale > 0.0)))
    off[moves & (scale == 0.0)] = np.inf
    _check_at_optimum(problem, float(off.max()))
    return Optimum(
        problem,
        inside,
        theta + step,
        (problem.theta + inside.frame.leave(step))[:, 0],
        np.arange(len(squares)),
        root,
        squares,
        0.5 * float(squares.sum()),
    )


def _likelihood(
    problem: Problem, inside: BlockObjective, theta: np.ndarray, reference: int
) -> Optimum:
    n_outputs = inside.shape[1]
    outputs = np.arange(n_outputs)
    if inside.loss.has_gauge:
        outputs = np.delete(outputs, reference)  # its coefficients are zero
    begin = theta
    for iteration in range(_MOST_STEPS):
        loss, root, step = _newton_step(problem, inside, theta, outputs)
        flat = step[: len(root) // len(outputs), 0][:, outputs].ravel()
        off = float(np.linalg.norm(root.T @ flat))  # |c^T step| <= off se(c) for every c
        if iteration == 0:
            _check_overlap(problem, inside, step)
            _check_at_optimum(problem, off)
        theta = theta + step
        if off <= _ARRIVED:
            break
    estimate = problem.theta + inside.frame.leave(theta - begin)
    log_loss = inside.total_weight * loss - 0.5 * off * off
    return Optimum(
        problem, inside, theta, estimate[:, 0], outputs, root, np.zeros(n_outputs), log_loss
    )


def _newton_step(
    problem: Problem, inside: BlockObjective, theta: np.ndarray, outputs: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """The mean loss at theta, the root of the information, and the Newton step of `outputs`."""
    at = inside.at(theta)
    hessian = at.hessian
    n_outputs, total_weight = inside.shape[1], inside.total_weight
    n_terms = inside.frame.n_columns + int(inside.fit_intercept)
    q = len(outputs) * n_terms
    blocks = hessian.reshape(len(theta), n_outputs, len(theta), n_outputs)
    blocks = blocks[:n_terms][:, outputs][:, :, :n_terms][:, :, :, outputs]
    information = total_weight * blocks.reshape(q, q)
    eigenvalues = linalg.eigvalsh(information)
    if not eigenvalues[0] > _SATURATED * eigenvalues[-1]:
        raise _separated(problem, separation_near(problem.objective, problem.theta))
    root = linalg.cholesky(information, lower=True)
    pull = total_weight * at.gradient[:n_terms, 0][:, outputs].ravel()
    step = np.zeros_like(theta)
    step[:n_terms, 0, outputs] = -linalg.cho_solve((root, True), pull).reshape(n_terms, -1)
    return float(at.loss[0]), root, step


def _check_overlap(problem: Problem, inside: BlockObjective, step: np.ndarray) -> None:
    """Refuse classes that are separated, which a Newton step that moves no row by 1 rules out."""
    if not largest_move(inside, step) < AT_REST:
        found = separation_near(problem.objective, problem.theta)
        if found.kind != "none":
            raise _separated(problem, found)


def _separated(problem: Problem, found: Separation) -> Refusal:
    """The error of classes without an optimum, with the columns that do most of the separating."""
    how = "are separated" if found.kind == "complete" else "are separated in part"
    if not found.direction.any():
        return problem.fails(
            "needs classes that overlap: these are so nearly separated that probabilities of 0 and "
            "1 leave no information about some coefficients",
            "leave columns out, or give up standard errors and fit with alpha > 0",
        )
    return problem.fails(
        f"needs classes that overlap: these {how}, mostly by "
        f"{listed(problem.names, found.columns)}, and without a penalty the loss has no optimum at "
        f"which coefficients could have standard errors",
        "leave these columns out, or give up standard errors and fit with alpha > 0",
    )


def _check_at_optimum(problem: Problem, off: float) -> None:
    if off <= _AT_OPTIMUM:
        return
    model = problem.model
    exact = f"solver={model._exact_solvers[-1]!r}"
    raise problem.fails(
        f"needs coefficients at the optimum on the X, y and sample_weight given, and these are "
        f"{off:.2g} standard errors away from it",
        f"pass the rows and weights that the fit saw, and refit with {exact}, or with more "
        f"iterations and a smaller tol, if it did not reach the optimum",
    )
