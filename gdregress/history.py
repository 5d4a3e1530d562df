"""What a fit tells: one row per iteration, and the reason it stopped."""

import copy
import struct
import time
from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from enum import ReprEnum
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from ._growing import FIRST_ROWS, GrowingRows
from ._precision import held_in
from ._typing import FloatArray, Theta

__all__ = ["COLUMNS", "History", "Reason", "StopReason"]

COLUMNS = (
    "iteration",
    "step",
    "loss",
    "gradient_norm",
    "update_norm",
    "learning_rate",
    "seconds",
    "validation_loss",
)
_INTEGER = {"iteration", "step"}
_ROW = np.dtype([(name, np.int64 if name in _INTEGER else np.float64) for name in COLUMNS])
# The same as a struct, which writes a row four times as fast as NumPy does.
_pack_row = struct.Struct(
    "=" + "".join("q" if name in _INTEGER else "d" for name in COLUMNS)
).pack_into
_ROW_SIZE = _ROW.itemsize
# What a table shows of a long record: so many rows of its beginning and of its end.
_SHOWN_ROWS = 5


class Reason(str):
    """Why a fit stopped: a sentence, and the same in a few words, for a legend.

    Parameters
    ----------
    sentence, short : str

    Examples
    --------
    >>> Reason("The gradient points elsewhere than before.", "gradient turned").short
    'gradient turned'
    """

    short: str

    def __new__(cls, sentence: str, short: str) -> Self:
        reason = super().__new__(cls, sentence)
        reason.short = short
        return reason

    def __getnewargs__(self) -> tuple[str, str]:
        return str(self), self.short

    def packed(self) -> str | list[str]:
        """As text, for :meth:`unpacked`: the name of a member, or both sentences."""
        return self.name if isinstance(self, StopReason) else [str(self), self.short]

    @staticmethod
    def unpacked(packed: str | list[str]) -> "Reason":
        """The reason that was packed."""
        return StopReason[packed] if isinstance(packed, str) else Reason(*packed)


class StopReason(Reason, ReprEnum):
    """Why a fit of this package stopped; each member is a sentence, ``short`` the same in short."""

    SOLVED = "The exact solution was computed.", "solved exactly"
    UNSOLVED = (
        "The iterations for many sparse columns stopped at their limit, short of the solution.",
        "not solved",
    )
    GRADIENT = "The loss can fall by no more than tol of what a fit can gain.", "converged"
    DECREMENT = (
        "The Newton decrement fell to the tolerance or to rounding level.",
        "converged",
    )
    UPDATE = "The update became smaller than tol.", "update below tol"
    LOSS = "The loss has stopped decreasing.", "loss no longer falls"
    MAX_ITER = "The maximum number of iterations was reached.", "reached max_iter"
    EARLY = "The validation loss has stopped improving.", "stopped early"
    DIVERGED = "The loss diverged; the best iterate was kept.", "diverged"
    SEPARABLE = (
        "The classes are linearly separable: without a penalty there is no optimum.",
        "separable classes",
    )
    CALLBACK = "A callback asked to stop.", "stopped by a callback"
    INTERRUPTED = "The fit was interrupted; the best iterate was kept.", "interrupted"
    EPOCH = "One pass over the rows given was made.", "one pass made"


class History(dict[str, NDArray[Any]]):
    """The record of a fit; row k is the state at theta^k, k = 0..n_iter_.

    Where a descent returns a mean of its iterates, theta^k is their mean so far.

    ``history["loss"]`` is the column as an array; the columns are ``iteration``, ``step`` (the
    number of updates made), ``loss`` (the full objective), ``gradient_norm`` (Euclidean, of its
    smooth part, in the units of loss per unit of theta), ``update_norm`` (of the last iteration),
    ``learning_rate`` (of the last step), ``seconds`` (since the fit began) and
    ``validation_loss``. What was not computed is NaN.

    It is a mapping from the names of the columns to arrays, made when they are read: ``dict(h)``,
    ``h.items()`` and ``pandas.DataFrame(h)`` (which asks for a dict) do what one expects, and
    nothing can be written into it. Its length is, as that of a data frame, the number of rows.

    Attributes
    ----------
    returned : int
        The row of the iterate that the fit has returned: the last, but for early stopping,
        divergence and interruption, which return the best.
    coef_path : ndarray of shape (n_iter + 1, *coef_.shape)
        Coefficients at every row, with ``store_path=True``; absent otherwise.
    intercept_path : ndarray of shape (n_iter + 1, *intercept_.shape)
        Intercepts likewise.
    steps : History
        With ``store_path="step"`` and mini-batches: a row for every single step, with the paths.
        Row k has theta after step k, and the loss and gradient norm *of the mini-batch* of that
        step, penalty included, at the point where its gradient was taken, before the step (as
        deep-learning libraries print it); its ``iteration`` is the epoch. Row 0 is the start, with
        the loss of all rows. For full batches the rows of the history itself are the steps.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> model = LinearRegression(learning_rate=0.1, max_iter=2, tol=0).fit([[0.0], [2.0]], [1, 3])
    >>> model.history_["loss"].round(4)
    array([2.5   , 1.37  , 0.7536])
    """

    def __init__(self) -> None:
        # The names alone: whatever reads a dict past its methods finds no numbers to mistake.
        super().__init__(dict.fromkeys(COLUMNS))  # type: ignore[arg-type]
        self._rows = GrowingRows(np.empty(FIRST_ROWS, _ROW))
        self._path: GrowingRows | None = None
        self._shapes: tuple[tuple[int, ...], tuple[int, ...], str] | None = None
        self._steps: History | None = None
        self._mark: tuple[int, int] | None = None
        self._began = time.perf_counter()

    def record(
        self,
        iteration: int,
        step: int,
        loss: float,
        *,
        gradient_norm: float = np.nan,
        update_norm: float = np.nan,
        learning_rate: float = np.nan,
        validation_loss: float = np.nan,
    ) -> None:
        """Append one row."""
        rows = self._rows
        end = rows.end
        if end == len(rows.array) or end != rows.used[0]:
            rows.move()
            end = rows.end
        _pack_row(
            rows.array,
            end * _ROW_SIZE,
            iteration,
            step,
            loss,
            gradient_norm,
            update_norm,
            learning_rate,
            time.perf_counter() - self._began,
            validation_loss,
        )
        rows.used[0] = rows.end = end + 1

    def record_path(self, theta: Theta) -> None:
        """Append a copy of theta to the path."""
        if self._path is None:
            self._path = GrowingRows(np.empty((FIRST_ROWS, *theta.shape)))
        self._path.append(theta)

    def shape_path(
        self, coef_shape: tuple[int, ...], intercept_shape: tuple[int, ...], dtype: str
    ) -> None:
        """Set how ``coef_path`` and ``intercept_path`` show a theta."""
        self._shapes = coef_shape, intercept_shape, np.dtype(dtype).type.__name__
        if self._steps is not None:
            self._steps.shape_path(coef_shape, intercept_shape, dtype)

    def begin_steps(self) -> "History":
        """The record of the single steps, which begins or goes on."""
        if self._steps is None:
            self._steps = History()
            self._steps._began = self._began
        return self._steps

    @property
    def steps(self) -> "History":
        """The record of every single step."""
        if self._steps is None:
            raise AttributeError(
                "The fit has kept no single steps; set store_path='step' and a batch_size before."
            )
        return self._steps

    def mark_returned(self, iteration: int) -> None:
        """Set which iterate the fit has returned; a later row takes the mark away."""
        row = int(np.searchsorted(self._rows.view["iteration"], iteration, side="right")) - 1
        if row < 0 or self._rows.view["iteration"][row] != iteration:
            raise ValueError(f"The history has no row of iteration {iteration!r}.")
        self._mark = self._rows.end, row - len(self)

    @property
    def returned(self) -> int:
        """The row of the iterate that the fit has returned."""
        if self._mark is None or self._mark[0] != self._rows.end:
            return len(self) - 1
        return len(self) + self._mark[1]

    def copy(self) -> "History":
        """A record that may go on without touching this one, its clock included."""
        other = copy.copy(self)
        other.resume_clock()
        return other

    def __copy__(self) -> "History":
        other = History()
        vars(other).update(vars(self))
        other._rows = copy.copy(self._rows)
        other._path, other._steps = copy.copy(self._path), copy.copy(self._steps)
        return other

    def truncate(self, n_rows: int) -> None:
        """Forget all but the first rows."""
        self._rows.truncate(n_rows)
        if self._steps is not None:
            last = self._rows.view["step"][-1] if len(self) else -1
            n_steps = np.searchsorted(self._steps._rows.view["step"], last, side="right")
            self._steps.truncate(int(n_steps))
        if self._path is not None:
            self._path.truncate(n_rows)

    def keep_last(self, n_rows: int) -> None:
        """Forget all but the last rows."""
        self._rows.keep_last(n_rows)
        if self._steps is not None and len(self):
            steps = self._steps._rows.view["step"]
            first = np.searchsorted(steps, self._rows.view["step"][0])
            self._steps.keep_last(len(steps) - int(first))
        if self._path is not None:
            self._path.keep_last(n_rows)

    def resume_clock(self) -> None:
        """Continue ``seconds`` from the last row, as if no time had passed since."""
        if len(self):
            self._began = time.perf_counter() - self._rows.view["seconds"][-1]
        if self._steps is not None:
            self._steps._began = self._began

    def last_row(self) -> dict[str, float]:
        """The last row as a dict of numbers, at a cost that does not depend on the others."""
        return dict(zip(COLUMNS, self._rows.view[-1].item(), strict=True))

    def last(self, column: str) -> float:
        """One number of the last row."""
        return self._rows.view[column][-1].item()

    # A mapping from names to columns.

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(COLUMNS)

    def __getitem__(self, column: str) -> NDArray[Any]:
        if column not in COLUMNS:
            raise KeyError(f"The history has no column {column!r}; it has {', '.join(COLUMNS)}.")
        return self._rows.view[column].copy()

    def get(self, column: str, default: Any = None) -> Any:
        """The column, or the default where there is none of this name."""
        return self[column] if column in COLUMNS else default

    def items(self) -> ItemsView[str, NDArray[Any]]:
        """Names and columns."""
        return dict(self).items()

    def values(self) -> ValuesView[NDArray[Any]]:
        """The columns."""
        return dict(self).values()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return False
        return _same(self.packed(), other.packed())

    def __ne__(self, other: object) -> bool:  # a dict has one of its own
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError(
            "A History is the record of a fit and cannot be changed; see dict(history)."
        )

    __setitem__: Callable[..., NoReturn] = _refuse
    __delitem__: Callable[..., NoReturn] = _refuse
    __ior__: Callable[..., NoReturn] = _refuse
    clear: Callable[..., NoReturn] = _refuse
    pop: Callable[..., NoReturn] = _refuse
    popitem: Callable[..., NoReturn] = _refuse
    setdefault: Callable[..., NoReturn] = _refuse
    update: Callable[..., NoReturn] = _refuse

    @property
    def coef_path(self) -> FloatArray:
        """Coefficients at every row."""
        theta, (shape, _, dtype) = self._thetas()
        (path,) = held_in(dtype, theta[:, :-1].swapaxes(1, 2))
        return path.reshape(len(theta), *shape)

    @property
    def intercept_path(self) -> FloatArray:
        """Intercepts at every row."""
        theta, (_, shape, dtype) = self._thetas()
        (path,) = held_in(dtype, theta[:, -1])
        return path.reshape(len(theta), *shape)

    def _thetas(self):
        """The path as (n_rows, n_features + 1, n_outputs), and the shapes to show it in."""
        if self._path is None or self._shapes is None:
            raise AttributeError("The fit has kept no path; set store_path=True before it.")
        return self._path.view[:, :, 0], self._shapes

    # In and out.

    def packed(self) -> dict[str, Any]:
        """All of it as arrays, numbers and text, for :meth:`unpacked`."""
        view = self._rows.view
        kept = [k for k, name in enumerate(COLUMNS) if not np.isnan(view[name]).all()]
        if len(view) and np.array_equal(view["step"], view["iteration"]):
            kept.remove(COLUMNS.index("step"))  # full batches
        rows = np.empty((len(view), len(kept)))
        for place, k in enumerate(kept):
            rows[:, place] = view[COLUMNS[k]]
        # The numbers of the columns, as digits.
        packed: dict[str, Any] = {"columns": "".join(map(str, kept)), "rows": rows}
        if self._path is not None:
            packed |= {"path": self._path.view.copy(), "shapes": self._shapes}
        if self._steps is not None:
            packed["steps"] = self._steps.packed()
        if self.returned != len(self) - 1:
            packed["returned"] = self.returned
        return packed

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any]) -> "History":
        """The record that was packed; its clock goes on from the last row."""
        history = cls()
        stored = dict(zip(map(int, packed["columns"]), packed["rows"].T, strict=True))
        rows = np.empty(len(packed["rows"]), _ROW)
        for k, name in enumerate(COLUMNS):
            rows[name] = stored.get(k, rows["iteration"] if name == "step" else np.nan)
        history._rows = GrowingRows(rows, len(rows))
        if "path" in packed:
            history._path = GrowingRows(np.array(packed["path"]), len(packed["path"]))
            if packed["shapes"] is not None:
                coef_shape, intercept_shape, dtype = packed["shapes"]
                history._shapes = tuple(coef_shape), tuple(intercept_shape), dtype
        if "steps" in packed:
            history._steps = cls.unpacked(packed["steps"])
        if "returned" in packed:
            history._mark = len(rows), packed["returned"] - len(rows)
        history.resume_clock()
        return history

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return History.unpacked, (self.packed(),)

    def to_frame(self) -> Any:
        """The record as a ``pandas.DataFrame`` (needs pandas)."""
        import pandas as pd

        return pd.DataFrame(dict(self))

    def __repr__(self) -> str:
        if not len(self):
            return "History(0 rows)"
        loss = self._rows.view["loss"]
        return f"History({len(self)} rows, loss {loss[0]:.6g} -> {loss[-1]:.6g})"

    def _repr_html_(self) -> str:
        """A table of the first and the last rows, of the columns that hold anything."""
        columns = {name: column for name, column in self.items() if not np.isnan(column).all()}
        shown, gap = list(range(len(self))), None
        if len(self) > 2 * _SHOWN_ROWS + 1:
            shown, gap = [*shown[:_SHOWN_ROWS], *shown[-_SHOWN_ROWS:]], _SHOWN_ROWS
        lines = [
            "".join(f"<td>{column[row]:.6g}</td>" for column in columns.values()) for row in shown
        ]
        if gap is not None:
            lines.insert(gap, "<td>…</td>" * len(columns))
        head = "".join(f"<th>{name}</th>" for name in columns)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return (
            f"<table><caption>{len(self)} rows</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )


def _same(one, other):
    """Whether two packed records, or parts of them, hold the same."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    return one == other
