"""The record of a fit, and the reasons to stop."""

import copy
import json
import pickle
from collections.abc import Mapping

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from gdregress.history import COLUMNS, History, StopReason


def recorded(n_rows=3):
    history = History()
    for k in range(n_rows):
        history.record(k, 2 * k, 10.0 / (k + 1), update_norm=0.5**k, learning_rate=0.1)
        history.record_path(np.full((2, 1, 1), float(k)))
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
    history, theta = History(), np.zeros((2, 1, 1))
    for k in range(3):
        theta += 1.0
        history.record(k, k, 0.0)
        history.record_path(theta)
    history.shape_path((1,), (), "float64")
    assert_array_equal(history.coef_path, [[1.0], [2.0], [3.0]])


def test_a_copy_goes_on_by_itself():
    history = recorded()
    other = history.copy()
    other.record(3, 6, 1.0)
    other.record_path(np.zeros((2, 1, 1)))
    assert (len(history), len(other)) == (3, 4)
    for record, n_rows in ((history, 3), (other, 4)):
        record.shape_path((1,), (), "float64")
        assert record.coef_path.shape == (n_rows, 1)
    assert_array_equal(other["loss"][:3], history["loss"])
    assert np.all(np.diff(other["seconds"]) >= 0)


def test_truncation_forgets_rows_and_path():
    history = recorded(5)
    history.truncate(2)
    assert_array_equal(history["loss"], [10.0, 5.0])
    history.shape_path((1,), (), "float32")
    assert_array_equal(history.coef_path, [[0.0], [1.0]])
    assert_array_equal(history.intercept_path, [0.0, 1.0])
    assert history.coef_path.dtype == history.intercept_path.dtype == np.float32


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


@pytest.mark.parametrize("share", [History.copy, copy.copy])
def test_records_with_a_common_beginning_do_not_disturb_each_other(share):
    """The rows they begin with are shared, not copied: whoever writes second moves away."""
    first = recorded(3)
    second = share(first)
    third = share(second)
    for record, loss in ((second, -2.0), (first, -1.0), (third, -3.0)):
        record.record(3, 6, loss)
    first.record(4, 8, -10.0)
    losses = [10.0, 5.0, 10.0 / 3]
    assert_array_equal(first["loss"], [*losses, -1.0, -10.0])
    assert_array_equal(second["loss"], [*losses, -2.0])
    assert_array_equal(third["loss"], [*losses, -3.0])
    # Rolled back and written anew, while another still has the row that was rolled back.
    fourth = share(first)
    first.truncate(4)
    first.record(4, 8, -20.0)
    assert (fourth["loss"][-1], first["loss"][-1]) == (-10.0, -20.0)


def test_a_copy_costs_the_same_however_long_the_record_is():
    """Ten thousand times copied and gone on with: the rows move only when their array is full."""
    history, arrays = History(), []
    for k in range(10_000):
        history = history.copy()
        history.record(k, k, float(k))
        if not arrays or history._rows.array is not arrays[-1]:
            arrays.append(history._rows.array)
    assert_array_equal(history["loss"], np.arange(10_000.0))
    assert len(arrays) <= 12  # 16 rows, doubled
    assert sum(map(len, arrays)) <= 4 * 10_000


def test_the_last_rows_alone():
    history = recorded(5)
    before = history.copy()
    history.keep_last(2)
    assert_array_equal(history["iteration"], [3, 4])
    history.shape_path((1,), (), "float64")
    assert_array_equal(history.intercept_path, [3.0, 4.0])
    history.keep_last(10)
    assert len(history) == 2
    assert len(before) == 5
    arrays = set()
    for k in range(5, 1000):  # a stream without an end takes no more room than it shows
        history.record(k, 2 * k, 1.0)
        history.keep_last(20)
        arrays.add(len(history._rows.array))
    assert_array_equal(history["iteration"], np.arange(980, 1000))
    assert max(arrays) <= 40
    history.truncate(19)
    assert history["iteration"][-1] == 998


def test_the_mark_of_the_row_that_was_returned():
    history = recorded(5)
    assert history.returned == 4
    history.mark_returned(2)
    assert history.returned == 2
    again = pickle.loads(pickle.dumps(history))
    assert again.returned == history.copy().returned == copy.deepcopy(history).returned == 2
    history.keep_last(4)
    assert history.returned == 1  # the row of iteration 2 still
    again.record(5, 10, 0.1)
    assert again.returned == 5  # a fit that went on
    with pytest.raises(ValueError, match="no row of iteration 0"):
        history.mark_returned(0)
    with pytest.raises(ValueError, match="no row of iteration 9"):
        history.mark_returned(9)


def test_it_is_a_mapping():
    history = recorded()
    assert isinstance(history, Mapping)
    plain = dict(history)
    assert type(plain) is dict
    assert tuple(plain) == tuple(name for name, _ in history.items()) == COLUMNS
    assert len(history.items()) == len(history.values()) == len(history.keys()) == len(COLUMNS)
    for columns in (plain, dict(history.items()), {**history}, history | {}, {} | history):
        for name in COLUMNS:
            assert_array_equal(columns[name], history[name])
    for name, column in zip(COLUMNS, history.values(), strict=True):
        assert_array_equal(column, history[name])
    assert "loss" in history
    assert "speed" not in history
    assert_array_equal(history.get("loss"), history["loss"])
    assert history.get("speed") is None
    assert history.get("speed", 1) == 1
    with pytest.raises(TypeError, match="JSON"):
        json.dumps(history)  # not an empty object


@pytest.mark.parametrize(
    "change",
    [
        lambda history: history.__setitem__("loss", 1),
        lambda history: history.__delitem__("loss"),
        lambda history: history.update(loss=1),
        lambda history: history.__ior__({"loss": 1}),
        lambda history: history.setdefault("speed", 1),
        lambda history: history.pop("loss"),
        lambda history: history.popitem(),
        lambda history: history.clear(),
    ],
)
def test_nothing_can_be_written_into_it(change):
    history = recorded()
    with pytest.raises(TypeError, match="cannot be changed"):
        change(history)
    assert history == recorded_like(history)


def recorded_like(history):
    return pickle.loads(pickle.dumps(history))


def test_equality():
    history = recorded()
    assert history == history.copy() == copy.deepcopy(history) == recorded_like(history)
    other = history.copy()
    other.record(3, 6, 1.0)
    assert history != other
    other.truncate(3)
    assert history == other
    other.mark_returned(1)
    assert history != other
    assert history != dict(history)
    with pytest.raises(TypeError, match="hash"):
        hash(history)


@pytest.mark.parametrize("again", [recorded_like, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_it_survives_a_pickle_and_goes_on(again):
    history = recorded()
    history.shape_path((1,), (), "float32")
    other = again(history)
    for name in COLUMNS:
        assert_array_equal(other[name], history[name])
        assert other[name].dtype == history[name].dtype
    assert_array_equal(other.coef_path, history.coef_path)
    other.record(3, 6, 0.5)
    other.record_path(np.ones((2, 1, 1)))
    assert (len(history), len(other), len(other.coef_path)) == (3, 4, 4)
    assert other["seconds"][-1] >= other["seconds"][-2]


def test_it_becomes_a_frame():
    history = recorded()
    for frame in (history.to_frame(), pd.DataFrame(history)):
        assert list(frame.columns) == list(COLUMNS)
        for name in COLUMNS:
            assert_array_equal(frame[name], history[name])
    assert pl.DataFrame(history)["step"].to_list() == [0, 2, 4]


def test_no_path_unless_it_was_kept():
    history = History()
    history.record(0, 0, 1.0)
    history.shape_path((1,), (), "float64")
    assert not hasattr(history, "coef_path")
    with pytest.raises(AttributeError, match="store_path=True"):
        history.intercept_path  # noqa: B018


def test_repr_says_where_the_loss_began_and_ended():
    assert repr(History()) == "History(0 rows)"
    assert repr(recorded()) == "History(3 rows, loss 10 -> 3.33333)"


@pytest.mark.parametrize(("n_rows", "n_shown"), [(0, 0), (3, 3), (11, 11), (500, 11)])
def test_the_table_of_a_notebook(n_rows, n_shown):
    shown = recorded(n_rows)._repr_html_()
    assert shown.count("<tr>") == n_shown + 1
    assert shown.count("…") == (8 - 2 if n_rows == 500 else 0)
    assert ("<th>loss</th>" in shown) == (n_rows > 0)
    assert "validation_loss" not in shown  # holds nothing
    if n_rows == 500:
        assert "<td>499</td><td>998</td><td>0.02</td>" in shown


@pytest.mark.parametrize("reason", list(StopReason))
def test_stop_reasons_are_sentences(reason):
    assert isinstance(reason, str)
    assert str(reason)[0].isupper()
    assert str(reason).endswith(".")
    assert pickle.loads(pickle.dumps(reason)) is reason


def test_stop_reasons_differ():
    assert len({str(reason) for reason in StopReason}) == len(StopReason)
