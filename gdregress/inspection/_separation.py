"""Whether classes are separated, so that unpenalised logistic regression has no optimum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..logistic import LogisticRegression
from ..problem.margins import largest_move
from ..rows.columns import spans
from ..solvers.newton.separation import separation as separation_of
from ._problem import Problem, unfitted_problem_of
from ._text import TextTable, number

__all__ = ["Separation", "separation"]

# A margin below this share of the largest is zero but for rounding.
_ROUNDING = 1e-7

_WORDS = {
    "none": "the classes overlap: logistic regression has one optimum without a penalty",
    "quasi-complete": (
        "a part of the rows is separated: without a penalty the loss falls for ever along this "
        "direction, and coefficients grow without end"
    ),
    "complete": (
        "all rows are separated: without a penalty the loss falls to zero along this direction, "
        "and coefficients grow without end"
    ),
    "undecided": "too many coefficients to find out",
}


@dataclass(frozen=True, repr=False)
class Separation:
    """What :func:`separation` returns.

    Attributes
    ----------
    kind : {"none", "quasi-complete", "complete", "undecided"}
    is_separated : bool
        Whether there is no optimum without a penalty.
    columns : tuple of str
        Those that do most of the separating.
    coef : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept : ndarray of shape (1,) or (n_classes,)
        The direction, in the shapes of ``coef_`` and ``intercept_``: moving along it raises the
        margin of some rows and lowers none. It moves the linear predictor of a row by 1 at most;
        zeros where the classes overlap.
    n_separated, n_samples : int
        Rows whose margin it raises, over some other class; and all rows of positive weight.
    names : tuple of str
    classes : tuple
    """

    kind: str
    columns: tuple[str, ...]
    coef: np.ndarray
    intercept: np.ndarray
    n_separated: int
    n_samples: int
    names: tuple[str, ...]
    classes: tuple[Any, ...]

    @property
    def is_separated(self) -> bool:
        return self.kind in {"quasi-complete", "complete"}

    def to_frame(self) -> Any:
        """The direction as a pandas DataFrame: a row for each column of X, and the intercept."""
        import pandas as pd

        outputs = self.classes if len(self.coef) > 1 else (self.classes[1],)
        direction = np.vstack([self.coef.T, self.intercept])
        return pd.DataFrame(direction, index=[*self.names, "intercept"], columns=list(outputs))

    def text(self) -> str:
        """What was found, in words."""
        return self._layout().text()

    __repr__ = __str__ = text

    def _repr_html_(self) -> str:
        return self._layout().html()

    def _layout(self) -> TextTable:
        lead = [f"{self.kind}: {_WORDS[self.kind]}."]
        if not self.is_separated:
            return TextTable(f"Separation on {self.n_samples} rows", lead=lead)
        of = f"{self.n_separated} of {self.n_samples} rows"
        lead += [f"Moving along it takes {of} away from another class, and none towards one:"]
        outputs = [str(label) for label in self.classes]
        header = ["", *(outputs if len(self.coef) > 1 else [f"towards {outputs[1]}"])]
        chosen = [self.names.index(name) for name in self.columns]
        rows = [[self.names[j], *(number(float(v)) for v in self.coef[:, j])] for j in chosen]
        rows.append(["intercept", *(number(float(v)) for v in self.intercept)])
        return TextTable(f"Separation on {self.n_samples} rows", header, rows, lead=lead)


def separation(
    X: Any, y: Any, *, sample_weight: Any = None, fit_intercept: bool = True
) -> Separation:
    """Whether a plane separates the classes, all of them or in part, and along which columns.

    Row i has the margin ``a_ik = x_i^T (w_y - w_k) + b_y - b_k`` of its class y over another k.
    Unpenalised logistic regression has no optimum if and only if along some direction (W, b) no
    margin is negative and some are positive: complete separation where all are, quasi-complete
    where some are. The direction comes from Newton's method, which runs along it, and a linear
    programme; a Newton step that moves every row by less than 1 proves that there is none.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        Labels of two or more classes.
    sample_weight : array-like of shape (n_samples,), default=None
        Rows of weight 0 play no part.
    fit_intercept : bool, default=True

    Returns
    -------
    Separation

    Raises
    ------
    ValueError
        For bad data.

    References
    ----------
    Albert & Anderson (1984), "On the existence of maximum likelihood estimates in logistic
    regression models"; Konis (2007), "Linear programming algorithms for detecting separated data
    in binary logistic regression models".

    Examples
    --------
    >>> import pandas as pd
    >>> from gdregress.inspection import separation
    >>> X = pd.DataFrame({"age": [20, 30, 40, 50, 60, 70], "treated": [0, 0, 0, 1, 0, 1]})
    >>> separation(X, ["ill", "well", "ill", "well", "well", "well"])
    Separation on 6 rows
    quasi-complete: a part of the rows is separated: without a penalty the loss
    falls for ever along this direction, and coefficients grow without end.
    Moving along it takes 2 of 6 rows away from another class, and none towards one:
    <BLANKLINE>
               towards well
    treated          1.0000
    intercept             0
    """
    problem_on = unfitted_problem_of(
        LogisticRegression(fit_intercept=fit_intercept),
        X,
        y,
        sample_weight,
        caller="separation",
    )
    with problem_on as problem:
        found = separation_of(problem.objective)
        direction = _normalised(problem, found.direction)
        return Separation(
            kind=found.kind,
            columns=tuple(problem.names[j] for j in found.columns),
            coef=direction[:-1].T.copy(),
            intercept=direction[-1].copy(),
            n_separated=_n_separated(problem, direction) if direction.any() else 0,
            n_samples=int(problem.objective.blocks.n_weighing),
            names=tuple(problem.names),
            classes=tuple(problem.model.classes_.tolist()),
        )


def _normalised(problem: Problem, direction: np.ndarray) -> np.ndarray:
    """The direction, with the row that moves most moving by 1, and without rounding."""
    if not direction.any():
        return direction
    direction = direction / largest_move(problem.objective, direction[:, None])
    pull = np.abs(direction)
    pull[:-1] *= spans(problem.objective.blocks)[:, None]
    return np.where(pull > _ROUNDING * 1e-3, direction, 0.0)


def _n_separated(problem: Problem, direction: np.ndarray) -> int:
    """The rows that a step along the direction moves away from some other class."""
    blocks = problem.objective.blocks
    count = 0
    for begin in range(0, blocks.n_samples, blocks.block_rows):
        rows = slice(begin, min(begin + blocks.block_rows, blocks.n_samples))
        block = blocks.block(rows)
        z = block.design.times(direction[:, None])
        # Back along the direction, the class that gains most on a row's own is the least of z.
        margin = -problem.objective.loss.margin(block.y, -z)[:, 0]
        separated = margin > _ROUNDING * np.abs(z).max(initial=0.0)
        if block.sample_weight is not None:
            separated &= block.sample_weight > 0.0
        count += int(np.count_nonzero(separated))
    return count
