"""The record of a fit, and the reasons to stop."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from gdregress.history import COLUMNS, History, StopReason


def recorded(n_rows=3):
    history = History()
    for k in range(n_rows):
        history.record(k, 2 * k, 10.0 / (k + 1), update_norm=0.5**k, learning_rate=0.1)
        history.record_path(np.full((2, 1), float(k)))
    return history


def test_columns_are_arrays_of_one_entry_per_row():
    history = recorded()
    assert len(history) == 3
    assert_array_equal(history["iteration"], [0, 1, 2])
    assert_array_equal(history["step"], [0, 2, 4])
    assert_array_equal(history["loss"], [10.0, 5.0, 10.0 / 3])
    assert_array_equal(history["update_norm"], [1.0, 0.5, 0.25])
    assert history["iteration"].dtype.kind == history["step"].dtype.kind == "i"
    for name in ("gradient_norm", "validation_loss"):  # not computed
        assert_array_equal(history[name], np.full(3, np.nan))


def test_names_of_the_columns():
    history = recorded()
    assert tuple(history) == tuple(history.keys()) == COLUMNS
    assert {"iteration", "step", "loss", "gradient_norm", "update_norm"} <= set(COLUMNS)
    assert {"learning_rate", "seconds", "validation_loss"} <= set(COLUMNS)
    with pytest.raises(KeyError, match=r"'speed'.*validation_loss"):
        history["speed"]


def test_an_array_that_was_handed_out_is_the_readers_own():
    history = recorded()
    history["loss"][:] = -1.0
    assert_array_equal(history["loss"], [10.0, 5.0, 10.0 / 3])


def test_seconds_do_not_run_backwards():
    seconds = recorded(50)["seconds"]
    assert np.all(np.diff(seconds) >= 0)
    assert seconds[0] >= 0


def test_the_path_holds_copies():
    history, theta = History(), np.zeros((2, 1))
    for k in range(3):
        theta += 1.0
        history.record(k, k, 0.0)
        history.record_path(theta)
    assert [path[0, 0] for path in history._path] == [1.0, 2.0, 3.0]


def test_a_copy_goes_on_by_itself():
    history = recorded()
    other = history.copy()
    other.record(3, 6, 1.0)
    other.record_path(np.zeros((2, 1)))
    assert (len(history), len(other)) == (3, 4)
    assert (len(history._path), len(other._path)) == (3, 4)
    assert_array_equal(other["loss"][:3], history["loss"])
    assert np.all(np.diff(other["seconds"]) >= 0)


def test_truncation_forgets_rows_and_path():
    history = recorded(5)
    history.truncate(2)
    assert_array_equal(history["loss"], [10.0, 5.0])
    assert len(history._path) == 2


def test_the_clock_resumes_where_the_last_row_was(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    history = History()
    now[0] = 103.0
    history.record(0, 0, 1.0)
    now[0] = 1000.0  # a pause of which the fit knows nothing
    history.resume_clock()
    now[0] = 1002.0
    history.record(1, 1, 0.5)
    assert_array_equal(history["seconds"], [3.0, 5.0])


def test_it_becomes_a_frame_and_a_pickle():
    history = recorded()
    frame = history.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == list(COLUMNS)
    assert_array_equal(frame["loss"], history["loss"])
    again = pickle.loads(pickle.dumps(history))
    for name in COLUMNS:
        assert_array_equal(again[name], history[name])


def test_repr_says_where_the_loss_began_and_ended():
    assert repr(History()) == "History(0 rows)"
    assert repr(recorded()) == "History(3 rows, loss 10 -> 3.33333)"


@pytest.mark.parametrize("reason", list(StopReason))
def test_stop_reasons_are_sentences(reason):
    assert isinstance(reason, str)
    assert str(reason)[0].isupper()
    assert str(reason).endswith(".")
    assert pickle.loads(pickle.dumps(reason)) is reason


def test_stop_reasons_differ():
    assert len({str(reason) for reason in StopReason}) == len(StopReason)
