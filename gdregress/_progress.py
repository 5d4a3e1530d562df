"""A progress bar that tells how the descent stands, at a constant cost per iteration.

What happens in a process is counted there and told to the display of the process that began the
fit: by a call within it, by a local socket from the workers of a search.
"""

import json
import math
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from time import monotonic, sleep
from typing import Any

from ._screen import INTERVAL, screen_for
from ._watch import record_of

__all__ = ["ProgressBar"]

# How old a task is, in seconds, when it gets a line: a search makes hundreds of short fits that
# nobody could read.
_WORTH_A_LINE = 0.3
# Fits whose lines are shown at once.
_MAX_LINES = 12

# Of this process, by the identity of the outermost fit: what hears of its tasks.
_displays: dict = {}
# Of a worker, by address: its way to the display.
_connections: dict = {}
_sending = threading.Lock()


class ProgressBar:
    """Show how a fit gets on: iterations made, loss, gradient norm, rate and time left.

    It needs rich (``pip install "gdregress[progress]"``), and writes to a terminal or a notebook.
    Where nobody watches, in a pipe, a log file or a run of continuous integration (the environment
    variable ``CI``), it is quiet. Set on a Pipeline or a search it is handed on to their
    estimators; with ``n_jobs`` the workers report to the bar of the process that began. Fits that
    are over within a moment get no line of their own, only a step of what contains them.

    An iteration costs the same however many went before, a few microseconds: scikit-learn's
    ``ProgressBar``, which serves here too, adds up all earlier ones at each.

    Parameters
    ----------
    console : rich.console.Console, default=None
        Where to write, whatever it is; by default the standard error of a terminal, or the
        notebook. It is not pickled.

    Raises
    ------
    ImportError
        If rich is not installed.

    See Also
    --------
    TimeLimit : Ends a fit when its time is up.

    Examples
    --------
    >>> from gdregress import LogisticRegression
    >>> from gdregress.callback import ProgressBar
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
    >>> model = LogisticRegression(solver="gd", max_iter=50, tol=0).set_callbacks(ProgressBar())
    >>> model.fit(X, y).n_iter_
    50
    """

    max_propagation_depth: int | None = None  # to all estimators below the one it is set on

    def __init__(self, console: Any = None) -> None:
        try:
            import rich  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "ProgressBar needs rich; install it with pip install 'gdregress[progress]'."
            ) from error
        self.console: Any = console
        self._addresses: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Pickled while a fit runs, it is on its way to a worker, which will need an address.
        for key, display in list(_displays.items()):
            if key in self._addresses:
                self._addresses[key] = display.address()
        return {"console": None, "_addresses": self._addresses.copy()}

    def setup(self, estimator: Any, context: Any) -> None:
        """The outermost fit begins."""
        screen = screen_for(self.console)
        if screen is not None:
            key = str(context.root_uuid)
            _displays[key] = _Display(screen)
            self._addresses[key] = None

    def teardown(self, estimator: Any, context: Any) -> None:
        """The outermost fit has ended, well or not: leave the terminal as it was."""
        key = str(context.root_uuid)
        self._addresses.pop(key, None)
        display = _displays.pop(key, None)
        if display is not None:
            display.close()

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """A task with parts gets a count, and a line if it lasts."""
        display = self._display(context)
        if display is not None and context.max_subtasks != 0:
            display.begin(context)

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Count a part of what contains it."""
        display = self._display(context)
        if display is not None:
            display.end(context)

    def _display(self, context):
        """What hears of the task; None where nobody watches."""
        if not self._addresses:
            return None
        key = str(context.root_uuid)
        display = _displays.get(key)
        inherited = display is not None and display.process != os.getpid()  # of a forked worker
        if (display is None or inherited) and self._addresses.get(key) is not None:
            display = _displays[key] = _Remote(key, *self._addresses[key])
        return display


@dataclass
class _Task:
    """A task with parts, as the process that runs it knows it."""

    path: tuple
    name: str
    total: int | None
    began: float = field(default_factory=monotonic)
    told: float = -math.inf
    completed: int = 0  # parts of no parts
    figures: list = field(default_factory=list)


class _Counter:
    """Counts the tasks of one process, and tells of them now and then."""

    def __init__(self):
        self.process = os.getpid()
        self._tasks = {}

    def begin(self, context):
        path = _path(context)
        task = _Task(path, _name(context), context.max_subtasks)
        self._tasks[context] = task
        if len(path) == 1 or not context.sequential_subtasks:  # the whole, and searches
            self.tell(task)

    def end(self, context):
        task = self._tasks.pop(context, None)
        if task is not None:  # had parts
            task.figures = _figures(record_of(context))
            self.tell(task, ended=True)
            return
        task = self._tasks.get(context.parent)
        if task is None:  # its parent runs in another process
            self.tell(_Task(_path(context), _name(context), 0), ended=True)
            return
        task.completed += 1
        now = monotonic()
        old_enough = len(task.path) == 1 or now - task.began > _WORTH_A_LINE
        if old_enough and now - task.told > INTERVAL:
            task.told = now
            task.figures = _figures(record_of(context))
            self.tell(task)

    def tell(self, task, *, ended=False):
        raise NotImplementedError


class _Remote(_Counter):
    """Tells the process that began the fit, over its socket."""

    def __init__(self, fit, address, secret):
        super().__init__()
        self._fit, self._address = fit, address
        if address not in _connections:
            try:
                _connections[address] = Client(address, authkey=bytes.fromhex(secret))
            except OSError:
                _connections[address] = None

    def end(self, context):
        super().end(context)
        if not self._tasks:  # a worker hears of no end of the outermost fit
            _displays.pop(self._fit, None)

    def tell(self, task, *, ended=False):
        connection = _connections[self._address]
        if connection is None:
            return
        message = [task.path, task.name, task.total, task.completed, task.figures, ended]
        try:
            with _sending:
                connection.send_bytes(json.dumps(message).encode())
        except OSError:  # nobody listens any more: no reason for a fit to fail
            _connections[self._address] = None


class _Display(_Counter):
    """Draws the tasks of this process and of its workers."""

    def __init__(self, screen):
        super().__init__()
        self._screen = screen
        self._lines = {}  # path -> [line, parts with parts, parts without]
        self._listener, self._peers, self._closed = None, [], False
        self._lock = threading.Lock()

    def tell(self, task, *, ended=False):
        self._draw(task.path, task.name, task.total, task.completed, task.figures, ended)

    def _draw(self, path, name, total, completed, figures, ended):
        with self._lock:
            if path not in self._lines and not ended and len(self._lines) < _MAX_LINES:
                depth = sum(path[:length] in self._lines for length in range(1, len(path)))
                self._lines[path] = [self._screen.add("  " * depth + name, total, path), 0, 0]
            line = self._lines.get(path)
            if line is not None:
                line[2] = completed
                self._screen.update(line[0], line[1] + line[2], figures)
            above = self._lines.get(path[:-1])
            if ended and above is not None:
                above[1] += 1
                self._screen.update(above[0], above[1] + above[2], ())
            if ended and line is not None:
                self._screen.finish(line[0], keep=len(path) == 1)
                del self._lines[path]

    def address(self):
        """Where workers reach this display: an address, and the key to prove that they may."""
        if self._listener is None:
            key = os.urandom(32)
            listener = Listener(authkey=key, backlog=64)
            self._listener = (listener, key)
            _thread(self._accept, listener).start()
        listener, key = self._listener
        return listener.address, key.hex()

    def _accept(self, listener):
        while not self._closed:
            try:
                connection = listener.accept()
            except (EOFError, AuthenticationError):  # nobody that was asked to come
                continue
            except OSError:  # one that left in the middle of it
                sleep(INTERVAL)
                continue
            self._peers.append(connection)
            _thread(self._listen, connection).start()

    def _listen(self, connection):
        while True:
            try:
                path, *rest = json.loads(connection.recv_bytes())
            except (OSError, EOFError, TypeError):  # closed, here or there
                return
            self._draw(tuple(path), *rest)

    def close(self):
        self._closed = True
        if self._listener is not None:
            listener, _ = self._listener
            # Wakes the thread that waits for workers. Without a key: nobody has to answer.
            with suppress(OSError):
                Client(listener.address).close()
            listener.close()
            for peer in self._peers:
                _hang_up(peer)
        with self._lock:
            self._screen.close()


def _thread(target, argument):
    """A thread that does not keep the process alive, known by the name of this module."""
    return threading.Thread(target=target, args=(argument,), name=__name__, daemon=True)


def _hang_up(connection):
    """Close a connection, from which another thread may read: that alone would not wake it."""
    if hasattr(socket, "AF_UNIX"):
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
    connection.close()


def _path(context):
    """The numbers of a task and of those around it, the outermost first."""
    path = []
    while context is not None:
        path.append(context.task_id)
        context = context.parent
    return tuple(reversed(path))


def _name(context):
    """What a line is called; fits within a search by their number there."""
    if context.parent is not None and context.source_estimator_name is None:
        return context.task_name
    above = context
    while above.parent is not None:
        if not above.parent.sequential_subtasks:
            return f"{context.estimator_name} {above.task_id + 1}"
        above = above.parent
    return context.estimator_name


def _figures(record):
    """Where a fit stands, in words; none for the estimators of other packages."""
    if not record:
        return []
    row = record.last_row()
    shown = {"loss": "loss", "gradient_norm": "gradient", "learning_rate": "rate"}
    return [f"{label} {row[name]:.4g}" for name, label in shown.items() if row[name] == row[name]]
