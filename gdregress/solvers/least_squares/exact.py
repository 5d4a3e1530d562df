"""Exact least squares: the one place where the way to the minimum is chosen.

``WAYS`` lists them in the order in which they are tried. The first that suits the problem and gets
there is the answer, and says why (``solver_reason_``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...problem.moments import CentredMoments
from .direct import equations_of_basis, from_triangle, normal_equations, wide
from .found import LeastSquaresSolution, extreme_units
from .lsmr import solve_by_lsmr
from .row_space import row_space_work, solve_in_row_space

__all__ = ["LIMITS", "WAYS", "Limits", "solve_least_squares"]

# Multiplications of dense matrices are so many times faster than those of sparse products.
_DENSE_SPEED = 10


@dataclass(frozen=True)
class Limits:
    """Where one way ends and the next begins.

    Attributes
    ----------
    sparse_columns : int
        More columns of rows that store no zeros: no dense p x p matrix, unless nothing else helps.
    dense_entries, dense_work : float
        The dense matrix that may then be, 0.25 GiB, and the multiplications of its factor.
    work : float
        Multiplications of sparse products, some tens of seconds.
    rows : int
        Rows whose Gram matrix is formed.
    wide : float
        Of rows that store zeros, only where the columns are so many times as many.
    proof : float
        Multiplications of a triangle that take no longer than a proof from the rows.
    lsmr_steps : int
        Steps that LSMR gets however little they may cost.
    """

    sparse_columns: int = 2000
    dense_entries: float = 2**25
    dense_work: float = 2e11
    work: float = 2e10
    rows: int = 4096
    wide: float = 2.0
    proof: float = 2e5
    lsmr_steps: int = 20


LIMITS = Limits()


class _Problem:
    """A problem by what the choice asks, and what the ways share; found when it is asked for."""

    def __init__(self, objective, solver, limits):
        self.objective, self.limits = objective, limits
        blocks = objective.blocks
        self.n_samples, self.n_features = blocks.n_samples, blocks.n_features
        self.has_many = not blocks.stores_zeros and self.n_features > limits.sparse_columns
        self.is_tall = self.n_features < self.n_samples
        self.asks_for_triangle = solver == "lstsq" and not self.has_many
        few, many = sorted((self.n_samples, self.n_features))
        self.factoring = many * few**2
        self.has_room = self.n_features * few <= limits.dense_entries

    @property
    def is_dense(self):
        """Whether a dense matrix may be factored."""
        return not self.has_many or (self.has_room and self.factoring <= self.limits.dense_work)

    @property
    def has_gram(self):
        """Whether ``X^T X`` may be formed."""
        if self.is_dense or not self.has_room:
            return self.is_dense
        return self.objective.blocks.design.gram_work() <= self.limits.work

    @property
    def has_few_rows(self):
        """Whether the matrix of the rows is much smaller than they are."""
        is_wide = self.n_features >= self.limits.wide * self.n_samples
        return not self.has_many and is_wide and self.among_rows < np.inf

    @cached_property
    def among_rows(self):
        """What the matrix of the rows costs; infinite where it is out of reach."""
        return row_space_work(self.objective.blocks, self.limits.rows)

    @cached_property
    def moments(self):
        return CentredMoments.of(self.objective.blocks, self.objective.fit_intercept)

    def by_lsmr(self, work):
        return solve_by_lsmr(self.objective, work, self.limits.lsmr_steps)

    @cached_property
    def by_lsmr_at_first(self):
        """LSMR takes a handful of steps on well-conditioned columns, and for ever on others.

        It gets about the time that the cheapest matrix would take: that of the rows, where these
        are few, or a dense factor; or some tens of seconds where both are out of reach.
        """
        return self.by_lsmr(self._at_first)

    @property
    def _at_first(self):
        dense = self.factoring / _DENSE_SPEED if self.has_room else np.inf
        return min(self.limits.work, self.among_rows, dense)

    @property
    def by_lsmr_at_last(self):
        """LSMR, for as long as it may take."""
        most = self.limits.work
        return self.by_lsmr_at_first if self._at_first == most else self.by_lsmr(most)


@dataclass(frozen=True)
class Way:
    """One way to the minimum.

    Attributes
    ----------
    why : str
    suits : callable
        Whether it may be gone; of a :class:`_Problem`, like the next.
    solve : callable
        The solution, or None where this way does not lead there.
    """

    why: str
    suits: Callable[[_Problem], bool]
    solve: Callable[[_Problem], LeastSquaresSolution | None]


WAYS = (
    Way(
        "LSMR, for X has many sparse columns and products with it get there soon",
        lambda of: of.has_many,
        lambda of: of.by_lsmr_at_first if of.by_lsmr_at_first.converged else None,
    ),
    Way(
        "the matrix of the rows, for X has more sparse columns than rows",
        lambda of: of.has_many and of.among_rows < np.inf,
        lambda of: solve_in_row_space(of.objective),
    ),
    Way(
        "the matrix of the rows, for X has more columns than rows",
        lambda of: of.has_few_rows and not of.asks_for_triangle,
        lambda of: solve_in_row_space(of.objective, to_rounding=True),
    ),
    Way(
        "the rows themselves, for X has no fewer columns than rows",
        lambda of: of.is_dense and not of.is_tall,
        lambda of: wide(of.objective),
    ),
    Way(
        "a triangle, as asked for",
        lambda of: of.asks_for_triangle,
        lambda of: from_triangle(of.objective, of.moments),
    ),
    Way(
        "normal equations, for the condition of the columns leaves them their digits",
        lambda of: of.is_tall and of.has_gram,
        lambda of: normal_equations(of.objective, of.moments),
    ),
    Way(
        "normal equations, for the rows prove that some columns depend on the others",
        lambda of: of.is_tall and of.has_gram and of.factoring > of.limits.proof,
        lambda of: equations_of_basis(of.objective, of.moments),
    ),
    Way(
        "a triangle, for the condition of the columns leaves normal equations too few digits",
        lambda of: of.is_dense,
        lambda of: from_triangle(of.objective, of.moments),
    ),
    Way(
        "LSMR, for X has many sparse columns and a matrix is out of reach",
        lambda of: of.has_many,
        lambda of: of.by_lsmr_at_last,
    ),
)


def solve_least_squares(objective, solver):
    """Minimise a quadratic block objective exactly; `solver` is as in ``LinearRegression``."""
    blocks = objective.blocks
    unit = extreme_units(blocks.y)
    if unit is None:
        return _solve(objective, solver).checked()
    found = _solve(objective.with_y(objective.blocks.y / unit), solver)
    if (unit == unit[0]).all():
        losses = [float(unit[0] * loss * unit[0]) for loss in (found.start[0], found.loss)]
    else:
        theta = found.theta * unit
        losses = [float(objective.value(at)[0]) for at in (np.zeros_like(theta), theta)]
    return found.times(unit, losses)


def _solve(objective, solver):
    """The solution of the first of the ``WAYS`` that leads there."""
    problem = _Problem(objective, solver, LIMITS)
    for way in WAYS:
        found = way.solve(problem) if way.suits(problem) else None
        if found is not None:
            found.why = way.why
            return found
    raise AssertionError("the last of the ways that suit always leads there")
