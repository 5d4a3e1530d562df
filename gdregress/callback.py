"""Callbacks of our own, in the form of ``sklearn.callback``: progress, a time limit, a checkpoint.

scikit-learn's ``ScoringMonitor`` (and its own ``ProgressBar``) serve the estimators of this package
too.
"""

import math
import os
import time
from pathlib import Path
from typing import Any

from ._progress import ProgressBar
from ._ranges import POSITIVE, WHOLE, Range
from ._saving import n_iter_of
from .checkpoint import check_can_be_stored, load_checkpoint, write_checkpoint

__all__ = ["Checkpoint", "ProgressBar", "TimeLimit", "load_checkpoint"]

_PATH = Range("a path", others=lambda value: isinstance(value, (str, os.PathLike)))


class TimeLimit:
    """Stop a fit when its time is up.

    The clock starts with the ``fit`` of the estimator that the callback is set on, and is looked
    at after every iteration, so that a fit makes at least one. Set on a Pipeline or a search it is
    handed on to their estimators, and limits the whole. It serves every estimator that supports
    callbacks and honours their request to stop; those of this package then say so in
    ``stop_reason_``.

    Parameters
    ----------
    seconds : float
        The limit, > 0, in seconds of wall-clock time.

    Raises
    ------
    ValueError, TypeError
        If `seconds` is not a positive number.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> from gdregress.callback import TimeLimit
    >>> model = LinearRegression(solver="gd", max_iter=10**9, tol=0)
    >>> model = model.set_callbacks(TimeLimit(0.1)).fit([[0.0], [2.0]], [1.0, 3.0])
    >>> print(model.stop_reason_)
    A callback asked to stop.
    """

    max_propagation_depth: int | None = None  # to all estimators below the one it is set on

    def __init__(self, seconds: float) -> None:
        self.seconds: float = POSITIVE.check("TimeLimit", "seconds", seconds)
        self._deadlines: dict[Any, float] = {}

    def setup(self, estimator: Any, context: Any) -> None:
        """The outermost fit begins."""
        # The monotonic clock is the machine's: workers of a search read the same.
        self._deadlines[context.root_uuid] = time.monotonic() + self.seconds

    def teardown(self, estimator: Any, context: Any) -> None:
        """The outermost fit has ended."""
        self._deadlines.pop(context.root_uuid, None)

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Nothing to do."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._deadlines.get(context.root_uuid, math.inf)


class Checkpoint:
    """Store a descent on disk while it runs, so that it can go on after a crash.

    The file is replaced as a whole (written beside it, then renamed), so that there is a complete
    checkpoint at every moment. It is an npz archive of arrays and one JSON text: no pickle, and
    nothing in it is executed when it is loaded. It holds what :func:`load_checkpoint` needs to
    continue to the last bit: the parameters, theta, the rule's memory, the generator of the
    batches, the best iterates, the counters and the history; but none of the rows.

    Parameters
    ----------
    path : str or path-like
        The file; in an existing folder. An earlier checkpoint there is replaced.
    every : int, default=1
        Iterations (epochs) between two writes. The end of the fit is always written.

    Raises
    ------
    ValueError, TypeError
        When the fit begins: for an exact solver, which has nothing to continue; for another
        estimator than those of this package; within a search, whose candidates would overwrite
        each other's file; for a schedule or rule of your own without a name, and labels that are
        neither text nor numbers.

    Examples
    --------
    >>> from gdregress import LinearRegression
    >>> from gdregress.callback import Checkpoint, load_checkpoint
    >>> X, y = [[0.0], [1.0], [3.0]], [1.0, 3.0, 5.0]
    >>> model = LinearRegression(learning_rate=0.1, max_iter=50, tol=0)
    >>> model = model.set_callbacks(Checkpoint("descent.npz", every=10)).fit(X, y)
    >>> again = load_checkpoint("descent.npz").fit(X, y)  # it had ended: nothing is left to do
    >>> again.n_iter_, bool(again.coef_ == model.coef_)
    (50, True)
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        self.path: str | os.PathLike[str] = _PATH.check("Checkpoint", "path", path)
        self.every: int = WHOLE.check("Checkpoint", "every", every)

    def setup(self, estimator: Any, context: Any) -> None:
        """Refuse now what could not be written later."""
        check_can_be_stored(estimator)
        above = context.parent
        while above is not None:
            if not above.sequential_subtasks:
                raise ValueError(
                    f"Checkpoint writes one file for one fit; within {above.estimator_name} every "
                    f"candidate would overwrite {os.fspath(self.path)!r}. Fit the best one alone, "
                    f"with a Checkpoint of its own."
                )
            above = above.parent
        if Path(self.path).is_dir():
            raise ValueError(
                f"'path' of Checkpoint must be a file, and {os.fspath(self.path)!r} is a folder; "
                f"add a name such as 'fit.npz'."
            )
        folder = Path(self.path).parent
        if not folder.is_dir():
            raise ValueError(
                f"'path' of Checkpoint must be in an existing folder; got {self.path!r}."
            )

    def teardown(self, estimator: Any, context: Any) -> None:
        """Nothing to do."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Nothing to do."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Write, every so many iterations and when the fit has ended."""
        ended = context.task_name != "iteration"
        if ended or n_iter_of(estimator) % self.every == 0:
            write_checkpoint(self.path, estimator)
