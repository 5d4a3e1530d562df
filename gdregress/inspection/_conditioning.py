"""How well the columns of X are told apart: rank, condition, and which depend on which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg
from sklearn.utils import check_array

from .._checks import check_sample_weight, normalised_weights
from .._linalg import rank_threshold
from ..linear import LinearRegression
from ..problem.losses import SquaredLoss
from ..problem.moments import CentredFactor
from ..problem.objective import BlockObjective
from ..problem.penalty import ElasticNet
from ..rows.blocks import RowBlocks
from ..rows.overflow import overflow
from ..rows.threads import single_threaded_blas
from ._text import TextTable, number

__all__ = ["Conditioning", "Dependence", "conditioning"]

_EPS = np.finfo(np.float64).eps
# Belsley, Kuh & Welsch: a condition index from here on is moderate to strong, and a near-dependency
# joins columns of whose variance it makes more than half.
_STRONG, _SHARE = 30.0, 0.5
# A coefficient of a dependence below this share of the largest is rounding.
_NEGLIGIBLE = 1e-9
_SHOWN = 12


@dataclass(frozen=True, repr=False)
class Dependence:
    """A column that the others determine: ``column = sum_j coefficient_j x_j + constant``.

    Attributes
    ----------
    column : str
    combination : dict of {str: float}
        The other columns and their coefficients; empty for a constant column.
    constant : float
        0 without an intercept.
    index : int
        The position of the column.
    """

    column: str
    combination: dict[str, float]
    constant: float
    index: int

    def __repr__(self) -> str:
        if not self.combination:
            return f"{self.column} = {number(self.constant)}, a constant"
        terms = [(value, name) for name, value in self.combination.items()]
        text = " ".join(
            ("- " if value < 0 else "+ ") + _times(abs(value), name) for value, name in terms
        )
        text = text.removeprefix("+ ")
        size = max(abs(value) for value, _ in terms)
        if abs(self.constant) > _NEGLIGIBLE * size:
            text += f" {'-' if self.constant < 0 else '+'} {number(abs(self.constant))}"
        return f"{self.column} = {text}"


def _times(value: float, name: str) -> str:
    return name if abs(value - 1.0) < _NEGLIGIBLE else f"{number(value)} {name}"


@dataclass(frozen=True, repr=False)
class Conditioning:
    """What :func:`conditioning` returns.

    Attributes
    ----------
    names : tuple of str
    n_samples : int
        Rows of positive weight.
    rank : int
    condition_number : float
        Largest over smallest singular value of the centred columns of unit length; infinite where
        columns depend on each other.
    dependencies : tuple of Dependence
        One for each column that the others determine.
    variance_inflation : ndarray of shape (n_features,)
        ``1 / (1 - R_j^2)``, R_j^2 of the regression of column j on the others: so many times larger
        is the variance of its coefficient than if no other column were like it.
    condition_indices : ndarray of shape (n_terms,)
        Largest singular value over each, ascending; of ``terms``.
    variance_proportions : ndarray of shape (n_terms, n_terms)
        Row k: the share of the variance of each coefficient that comes from condition index k.
        Columns sum to 1; they are those of ``terms``.
    terms : tuple of str
        The columns, or with ``centered=False`` the intercept and the columns.
    near_dependencies : tuple of (float, tuple of str)
        Condition indices above 30, and the terms of whose variance each makes more than half.
    """

    names: tuple[str, ...]
    n_samples: int
    rank: int
    condition_number: float
    dependencies: tuple[Dependence, ...]
    variance_inflation: np.ndarray
    condition_indices: np.ndarray
    variance_proportions: np.ndarray
    terms: tuple[str, ...]
    near_dependencies: tuple[tuple[float, tuple[str, ...]], ...]

    def to_frame(self) -> Any:
        """The variance proportions as a pandas DataFrame, condition indices as its index."""
        import pandas as pd

        index = pd.Index(self.condition_indices, name="condition index")
        return pd.DataFrame(self.variance_proportions, index=index, columns=list(self.terms))

    def text(self) -> str:
        """What was found, as plain text."""
        return self._layout().text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self._layout().html()

    def _layout(self) -> TextTable:
        lead = [
            f"{self.n_samples} rows, {len(self.names)} columns: rank {self.rank}, condition number "
            f"{self.condition_number:.3g} (columns centred, of unit length)"
        ]
        if self.dependencies:
            lead += ["", "Columns that the others determine:"]
            lead += [f"  {dependence!r}" for dependence in self.dependencies[:_SHOWN]]
            left = len(self.dependencies) - _SHOWN
            lead += [f"  and {left} more"] if left > 0 else []
        if self.near_dependencies:
            lead += ["", "Near-dependencies (condition index above 30):"]
            lead += [
                f"  {index:.3g}: {', '.join(terms)}"
                for index, terms in self.near_dependencies[-_SHOWN:]
            ]
        if not (self.dependencies or self.near_dependencies):
            lead += ["No column depends on the others, and none nearly."]
        order = np.argsort(-self.variance_inflation, kind="stable")[:_SHOWN]
        rows = [[self.names[j], number(float(self.variance_inflation[j]))] for j in order]
        return TextTable("Conditioning of X", ["", "variance inflation"], rows, lead=lead)


def conditioning(
    X: Any, *, sample_weight: Any = None, fit_intercept: bool = True, centered: bool = True
) -> Conditioning:
    """Rank, condition number, and which columns of X depend on which, exactly or nearly.

    With centred columns of unit length, ``diag(s)^(1/2) (X - mean) D^-1 = U diag(sigma) V^T``, the
    rank is the number of singular values above ``max(m, p) eps sigma_1`` and the condition number
    ``sigma_1 / sigma_p``: those of ``rank_`` and ``condition_number_``, free of units and means.
    The variance of coefficient j is, but for a factor, ``sum_k V_jk^2 / sigma_k^2``, so that

        pi_kj = (V_jk^2 / sigma_k^2) / sum_l (V_jl^2 / sigma_l^2)

    is the share that condition index ``sigma_1 / sigma_k`` has in it. An index above 30 together
    with two or more shares above one half is a near-dependency between these columns.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    sample_weight : array-like of shape (n_samples,), default=None
    fit_intercept : bool, default=True
        Whether the model has an intercept, so that a constant column is one too many.
    centered : bool, default=True
        Whether the condition indices are those of centred columns. False takes ``[1 X]`` with unit
        columns, to the letter of Belsley, Kuh & Welsch: means far from zero count then.

    Returns
    -------
    Conditioning

    Raises
    ------
    ValueError
        For bad data.

    References
    ----------
    Belsley, Kuh & Welsch (1980), "Regression Diagnostics", chapter 3; Golub & Van Loan (2013),
    "Matrix Computations", section 5.5.

    Examples
    --------
    >>> import pandas as pd
    >>> from gdregress.inspection import conditioning
    >>> X = pd.DataFrame({"celsius": [1.0, 4.0, 9.0, 16.0], "rain": [3.0, 1.0, 2.0, 5.0]})
    >>> X["fahrenheit"] = 1.8 * X["celsius"] + 32
    >>> found = conditioning(X)
    >>> found.rank, len(found.dependencies)
    (2, 1)
    >>> found.dependencies[0]
    fahrenheit = 1.8000 celsius + 32.000
    """
    names = [str(name) for name in getattr(X, "columns", ())]
    X = check_array(X, accept_sparse="csr", dtype=None, input_name="X", ensure_min_samples=2)
    if X.dtype.kind not in "fiub":
        X = check_array(X, accept_sparse="csr", dtype=np.float64, input_name="X")
    weight = normalised_weights(check_sample_weight(LinearRegression(), sample_weight, X))
    names = names if len(names) == X.shape[1] else [f"x{j}" for j in range(X.shape[1])]
    with single_threaded_blas() as workers, np.errstate(all="ignore"):
        try:
            design = _Design.of(X, weight, fit_intercept, workers)
        except FloatingPointError as error:
            raise ValueError(f"conditioning: {error}") from error
    return _found(design, names, centered and fit_intercept)


@dataclass(frozen=True)
class _Design:
    """``root`` with ``root^T root`` the centred Gram matrix of X, in columns divided by `scale`."""

    root: np.ndarray
    mean: np.ndarray  # of the original columns
    scale: np.ndarray
    total_weight: float
    n_samples: int
    fit_intercept: bool

    @classmethod
    def of(cls, X: Any, weight: Any, fit_intercept: bool, workers: int) -> _Design:
        blocks = RowBlocks(X, np.zeros((X.shape[0], 1)), weight, workers)
        objective = BlockObjective(
            blocks, SquaredLoss(), ElasticNet(), 1, fit_intercept=fit_intercept
        )
        frame = objective.frames.exact()
        factor = CentredFactor.from_objective(objective.in_frame(frame), frame, np.zeros(1))
        if not np.isfinite(factor.root).all():
            raise FloatingPointError(overflow("X"))
        mean = frame.shift + frame.scale * factor.mean_x
        n_samples = int(blocks.n_weighing)
        return cls(
            factor.root, mean, frame.scale, blocks.total_weight, n_samples, bool(fit_intercept)
        )


def _found(design: _Design, names: list[str], centered: bool) -> Conditioning:
    n_features = len(names)
    unit = np.linalg.norm(design.root, axis=0)
    regular = unit > 0.0
    unit = np.where(regular, unit, 1.0)
    scaled = design.root / unit
    sigma, vt = linalg.svd(scaled)[1:]
    threshold = rank_threshold(design.n_samples, n_features)
    kept = sigma > threshold * sigma[0]
    rank = int(kept.sum())
    full = rank == n_features
    if centered or not design.fit_intercept:
        terms, term_sigma, term_vt = names, sigma, vt
    else:
        terms = ["intercept", *names]
        term_sigma, term_vt = linalg.svd(_uncentred(design))[1:]
    inflation = _variances(sigma, vt, kept)
    indices, proportions = _decomposed(term_sigma, term_vt, threshold)
    near = tuple(
        (float(index), tuple(terms[j] for j in np.flatnonzero(row > _SHARE)))
        for index, row in zip(indices, proportions)
        if _STRONG < index < np.inf and np.count_nonzero(row > _SHARE) > 1
    )
    return Conditioning(
        names=tuple(names),
        n_samples=design.n_samples,
        rank=rank,
        condition_number=float(sigma[0] / sigma[-1]) if full else np.inf,
        dependencies=tuple(_dependencies(design, scaled, unit, rank, names)),
        variance_inflation=inflation,
        condition_indices=indices,
        variance_proportions=proportions,
        terms=tuple(terms),
        near_dependencies=near,
    )


def _uncentred(design: _Design) -> np.ndarray:
    """The triangle of ``diag(s)^(1/2) [1 X]`` with unit columns."""
    n_features = len(design.mean)
    root = np.zeros((n_features + 1, n_features + 1))
    size = np.sqrt(design.total_weight)
    root[0, 0], root[0, 1:] = size, size * design.mean / design.scale
    root[1:, 1:] = design.root
    unit = np.linalg.norm(root, axis=0)
    return root / np.where(unit > 0.0, unit, 1.0)


def _variances(sigma: np.ndarray, vt: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """``sum_k V_jk^2 / sigma_k^2``; infinite for columns with a part in a dependence."""
    variance = ((vt[kept] / sigma[kept, None]) ** 2).sum(axis=0)
    part = np.sqrt((vt[~kept] ** 2).sum(axis=0))
    variance[part > np.sqrt(_EPS)] = np.inf
    return variance


def _decomposed(
    sigma: np.ndarray, vt: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Condition indices, ascending, and variance proportions, a row for each."""
    zero = sigma <= threshold * sigma[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        indices = np.where(zero, np.inf, sigma[0] / sigma)
    # An exact dependence takes all the variance of the columns that have a part in it.
    least = np.where(zero, threshold * (sigma[0] or 1.0), sigma)
    parts = vt**2
    parts[zero] = np.where(parts[zero] > _EPS, parts[zero], 0.0)
    parts = parts / least[:, None] ** 2
    return indices, parts / parts.sum(axis=0)


def _dependencies(
    design: _Design, scaled: np.ndarray, unit: np.ndarray, rank: int, names: list[str]
) -> list[Dependence]:
    """The columns that come last in a pivoted QR factorisation, by those that come first.

    Where columns are equally good, and nearly so, the earlier ones are to explain the later.
    """
    if rank == len(names):
        return []
    preference = 0.1 ** (np.arange(len(names)) / len(names))
    pivots = linalg.qr(scaled * preference, mode="r", pivoting=True)[1]
    (triangle,) = linalg.qr(scaled[:, pivots], mode="r")
    basis, rest = pivots[:rank], pivots[rank:]
    coef = np.zeros((rank, len(rest)))
    if rank:  # LAPACK knows no empty triangle
        coef = linalg.solve_triangular(triangle[:rank, :rank], triangle[:rank, rank:])
    found = []
    for k, column in enumerate(rest):
        combination: dict[str, float] = {}
        constant = float(design.mean[column])
        size = np.abs(coef[:, k]).max(initial=0.0)
        for j in np.argsort(basis):
            if abs(coef[j, k]) <= _NEGLIGIBLE * size or not scaled[:, column].any():
                continue
            other = basis[j]
            value = coef[j, k] * (unit[column] / unit[other])
            value *= float(design.scale[column] / design.scale[other])
            combination[names[other]] = float(value)
            constant -= float(value * design.mean[other])
        if not design.fit_intercept:
            constant = 0.0
        found.append(Dependence(names[column], combination, constant, int(column)))
    return sorted(found, key=lambda dependence: dependence.index)
