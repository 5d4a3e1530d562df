"""The progress bar: what it shows, to whom, at what cost, and what it leaves behind."""

import io
import os
import pickle
import re
import socket
import sys
import textwrap
import threading
import warnings
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

import numpy as np
import pytest
from joblib import parallel_backend
from problems import descent_case
from recording import Patient, Recorder
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress import _progress as progress
from gdregress.callback import ProgressBar, TimeLimit

rich_console = pytest.importorskip("rich.console")

SHOW_CURSOR = "\x1b[?25h"


def terminal():
    """A console like that of a terminal, and what is written to it."""
    written = io.StringIO()
    return rich_console.Console(file=written, force_terminal=True, width=120), written


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not progress._displays
    # scikit-learn's own transport leaves a thread with a function of the same name behind
    mine = [t for t in threading.enumerate() if t.name == progress.__name__]
    for thread in mine:
        thread.join(10)
        assert not thread.is_alive()


def sigmoid(**params):
    case = descent_case("sigmoid")
    return LogisticRegression(**{"solver": "gd", "max_iter": 200, "tol": 0, **params}), case


def test_it_shows_where_the_fit_stands():
    console, written = terminal()
    model, case = sigmoid()
    model.set_callbacks(ProgressBar(console)).fit(case.X, case.y)
    shown = written.getvalue()
    assert "LogisticRegression" in shown
    assert "200/200" in shown
    last = model.history_.last_row()
    for word in (f"loss {last['loss']:.4g}", f"gradient {last['gradient_norm']:.4g}", "rate "):
        assert word in shown
    assert shown.rstrip().endswith(SHOW_CURSOR)


def test_a_fit_that_stops_early_fills_its_bar():
    console, written = terminal()
    model, case = sigmoid(max_iter=10**6)
    model.set_callbacks(ProgressBar(console), Recorder(stop_after=7)).fit(case.X, case.y)
    assert "7/7" in written.getvalue()


@pytest.mark.parametrize("estimator", [LinearRegression(), LogisticRegression(alpha=0.1)], ids=repr)
def test_exact_solvers_too(estimator):
    console, written = terminal()
    case = descent_case("squares" if isinstance(estimator, LinearRegression) else "sigmoid")
    model = clone(estimator).set_callbacks(ProgressBar(console)).fit(case.X, case.y)
    assert f"{model.n_iter_}/{model.n_iter_}" in written.getvalue()
    assert f"loss {model.loss_:.4g}" in written.getvalue()


def test_it_is_quiet_where_nobody_watches(capsys):
    model, case = sigmoid()
    expected = clone(model).fit(case.X, case.y)
    model.set_callbacks(ProgressBar()).fit(case.X, case.y)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    np.testing.assert_array_equal(model.coef_, expected.coef_)


@pytest.mark.parametrize(("ci", "shown"), [("true", False), ("1", False), ("", True), (None, True)])
def test_continuous_integration_is_no_watcher(ci, shown, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    written = Terminal()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CI"):
        monkeypatch.delenv(name, raising=False)
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    model, case = sigmoid()
    model.set_callbacks(ProgressBar()).fit(case.X, case.y)
    assert ("200/200" in written.getvalue()) == shown
    assert bool(written.getvalue()) == shown


def test_it_looks_at_the_clock_and_not_at_every_iteration(monkeypatch):
    """The display is told once in a while, however many iterations there are, and last of all."""
    told = []
    draw = progress._Display._draw
    monkeypatch.setattr(
        progress._Display, "_draw", lambda self, *args: (told.append(args), draw(self, *args))
    )
    now = [0.0]

    def clock():
        now[0] += 1e-3  # a look at the clock takes a millisecond
        return now[0]

    monkeypatch.setattr(progress, "monotonic", clock)
    model, case = sigmoid(max_iter=5000)
    model.set_callbacks(ProgressBar(terminal()[0])).fit(case.X, case.y)
    completed = [args[3] for args in told]
    assert completed[0] == 0
    assert completed[-1] == 5000
    assert 10 < len(completed) < 5000 * 2e-3 / progress.INTERVAL + 10
    assert completed == sorted(completed)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_within_a_search(n_jobs, monkeypatch):
    console, written = terminal()
    ended = []
    draw = progress._Display._draw
    monkeypatch.setattr(
        progress._Display,
        "_draw",
        lambda self, *args: (ended.append(args[1]) if args[-1] else None, draw(self, *args)),
    )
    model, case = sigmoid(max_iter=20)
    pipeline = Pipeline([("scale", StandardScaler()), ("model", model)])
    grid = {"model__learning_rate": [0.01, 0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs)
    search.set_callbacks(ProgressBar(console)).fit(case.X, case.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    shown = written.getvalue()
    assert "GridSearchCV" in shown
    assert "search" in shown
    assert "2/2" in shown
    assert shown.rstrip().endswith(SHOW_CURSOR)
    assert "Pipeline 1" in ended  # the fits of workers are heard of
    pickle.loads(pickle.dumps(search)).predict(case.X)  # the bar is no hindrance


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_forked_workers_tell_and_do_not_draw(monkeypatch):
    told = []
    draw = progress._Display._draw

    def noting(self, *args):
        told.append((os.getpid(), *args))
        draw(self, *args)

    monkeypatch.setattr(progress._Display, "_draw", noting)
    for name in ("_WORTH_A_LINE", "INTERVAL"):  # which a fork inherits
        monkeypatch.setattr(progress, name, 0.0)
    model, case = sigmoid(max_iter=200)
    search = GridSearchCV(model, {"learning_rate": [0.01, 0.1]}, cv=2, n_jobs=2, refit=False)
    with warnings.catch_warnings(), parallel_backend("multiprocessing"):
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        search.set_callbacks(ProgressBar(terminal()[0])).fit(case.X, case.y)
    assert {process for process, *_ in told} == {os.getpid()}
    running = [args for _, *args in told if re.fullmatch("LogisticRegression [1-4]", args[1])]
    assert any(0 < completed < 200 for _, _, _, completed, _, _ in running)
    assert any(figures and figures[0].startswith("loss 0.") for *_, figures, _ in running)


def test_a_stranger_at_the_door_is_turned_away():
    display = progress._Display(progress.screen_for(terminal()[0]))
    address, secret = display.address()
    with pytest.raises(AuthenticationError):
        Client(address, authkey=b"guessed")
    with Client(address, authkey=bytes.fromhex(secret)) as friend:
        friend.send_bytes(b'[[0], "Fit", 3, 1, [], false]')
    display.close()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="another kind of door")
def test_strangers_who_leave_at_once_do_not_keep_the_door_shut():
    """Each may end the handshake anywhere; closing the display had to wait for ever then."""
    for _ in range(5):
        display = progress._Display(progress.screen_for(terminal()[0]))
        address, secret = display.address()
        for _ in range(5):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(address)
        Client(address, authkey=bytes.fromhex(secret)).close()
        closing = threading.Thread(target=display.close, daemon=True)
        closing.start()
        closing.join(timeout=30.0)
        assert not closing.is_alive()


@pytest.mark.parametrize("error", [RuntimeError("of a callback"), KeyboardInterrupt()])
def test_an_error_leaves_the_terminal_as_it_was(error):
    console, written = terminal()
    model, case = sigmoid()
    bar = ProgressBar(console)
    model.set_callbacks(bar, Recorder(stop_after=5, error=error))
    with pytest.raises(type(error)):
        model.fit(case.X, case.y)
    assert written.getvalue().rstrip().endswith(SHOW_CURSOR)
    model.set_callbacks(bar).fit(case.X, case.y)
    assert "200/200" in written.getvalue()


def test_a_fit_within_a_fit_draws_nothing():
    console, written = terminal()

    class Inner(Recorder):
        def on_fit_task_end(self, estimator, context):
            if context.task_name == "iteration" and context.task_id == 0:
                other, case = sigmoid(max_iter=33)
                other.set_callbacks(ProgressBar(console)).fit(case.X, case.y)

    model, case = sigmoid()
    model.set_callbacks(ProgressBar(console), Inner()).fit(case.X, case.y)
    assert "200/200" in written.getvalue()


def test_it_serves_other_estimators():
    console, written = terminal()
    Patient().set_callbacks(ProgressBar(console), TimeLimit(0.2)).fit()
    assert "Patient" in written.getvalue()


def test_without_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ImportError, match=r"gdregress\[progress\]"):
        ProgressBar()


@pytest.mark.slow
def test_in_a_notebook():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    code = """
    from gdregress import LogisticRegression
    from gdregress.callback import ProgressBar
    X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
    model = LogisticRegression(solver="gd", max_iter=3000, tol=0).set_callbacks(ProgressBar())
    model.fit(X, y).history_
    """
    notebook = nbformat.v4.new_notebook()
    notebook.cells.append(nbformat.v4.new_code_cell(textwrap.dedent(code)))
    nbclient.NotebookClient(notebook, timeout=60).execute()
    bar, record = notebook.cells[0].outputs  # one output that was replaced, and the last line's
    assert "3000/3000" in bar["data"]["text/html"]
    assert "loss 0." in bar["data"]["text/html"]
    assert "<th>loss</th>" in record["data"]["text/html"]
