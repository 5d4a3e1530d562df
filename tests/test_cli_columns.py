"""What each column and the target become, from the values that stand in them."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from tables import columns, groups, text

from gdregress.cli.arguments import parse
from gdregress.cli.cells import as_dates, as_labels, as_numbers, date_format
from gdregress.cli.columns import TableColumns
from gdregress.cli.errors import InputError
from gdregress.cli.job import prepare

TABLE = columns()
N = len(TABLE["y"])


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def prepared(table, *options, target="y"):
    content = table if isinstance(table, str) else text(table)
    Path("t.csv").write_text(content, encoding="utf-8")
    return prepare(parse(["t.csv", "--target", target, *options]))


def with_column(values, name="z"):
    return {name: values, **TABLE}


def quoted(values):
    return [f'"{value}"' for value in values]


def kind_of(values, name="z", **options):
    found = prepared(with_column(values, name), *options.pop("options", ()))
    return next(column for column in found.columns if column.name == name)


KINDS = {
    "numbers": (TABLE["x"] + 1, "number"),
    "thousands": (quoted(f"{1000 * (i + 1):,}" for i in range(N)), "number"),
    "thousands with blanks": (
        [f"{1000 * (i + 1):,}".replace(",", " ") for i in range(N)],
        "number",
    ),
    "dollars": (quoted(f"${1000.5 * (i + 1):,.2f}" for i in range(N)), "number"),
    "euros after": ([f"{i}.50 €" for i in range(N)], "number"),
    "percent": ([f"{i}%" for i in range(N)], "number"),
    "parentheses for minus": ([f"({i})" if i % 2 else str(i) for i in range(N)], "number"),
    "decimal commas in quotes": (quoted(f"{i},5" for i in range(N)), "number ,"),
    "yes and no": (["yes", "no"] * 30, "category"),
    "True and False": (["True", "False"] * 30, "category"),
    "true and false": (["true", "false"] * 30, "category"),
    "T and F": (["T", "F"] * 30, "category"),
    "1 and 0": ([1, 0] * 30, "number"),
    "levels": (groups(), "category"),
    "ISO dates": (np.datetime64("2020-01-01") + np.arange(N), "date %Y-%m-%d"),
    "date and time": (
        [f"2020-01-{1 + i // 24:02d} {i % 24:02d}:30:00" for i in range(N)],
        "date %Y-%m-%d %H:%M:%S",
    ),
    "day first": ([f"{1 + i % 28:02d}/{1 + i // 28:02d}/2020" for i in range(N)], "date %d/%m/%Y"),
    "month first": ([f"{1 + i // 28}/{1 + i % 28}/2020" for i in range(N)], "date %m/%d/%Y"),
    "months": ([f"{2000 + i // 12}-{1 + i % 12:02d}" for i in range(N)], "date %Y-%m"),
    "months before years": ([f"{1 + i % 12}/{2000 + i // 12}" for i in range(N)], "date %m/%Y"),
    "quarters": ([f"{2000 + i // 4}Q{1 + i % 4}" for i in range(N)], "date %YQ%q"),
    "words for months": ([f"{1 + i % 28} Jan {2000 + i}" for i in range(N)], "date %d %b %Y"),
    "times": ([f"{i % 24:02d}:{i % 60:02d}" for i in range(N)], "date %H:%M"),
    "years": (1950 + np.arange(N), "number"),
    "seconds since 1970": (1_600_000_000 + 3600 * np.arange(N), "number"),
    "all gaps": ([""] * N, None),
    "one value": (["a"] * N, None),
    "one number": ([7] * N, None),
    "names": ([f"C{i:04d}" for i in range(N)], None),
    "almost as many values as rows": ([f"c{i % 40}" for i in range(N)], None),
    "sentences": ([f"this is text number {i} of many words" for i in range(N)], None),
}


@pytest.mark.parametrize("case", KINDS)
def test_kinds(case):
    values, kind = KINDS[case]
    column = kind_of(values)
    assert column.kind == kind
    assert column.words


@pytest.mark.parametrize(
    ("name", "values", "is_used"),
    [
        ("id", np.arange(N), False),
        ("id", np.random.default_rng(0).permutation(N), False),
        ("customer_id", np.arange(N) + 1000, False),
        ("PassengerId", np.arange(N) + 1, False),
        ("Unnamed: 0", np.arange(N), False),
        ("", np.arange(N), False),
        ("X", np.arange(N) + 1, False),
        ("X", np.random.default_rng(0).permutation(N), True),
        ("number", np.arange(N) % 7, True),
        ("year", 1900 + np.arange(N), True),
        ("period", np.arange(N), True),
        ("paid", np.arange(N) % 2, True),
        ("grid", np.arange(N) % 7, True),
        ("id", TABLE["x"] + 1, True),
    ],
)
def test_identifiers_go_by_name_and_values(name, values, is_used):
    found = prepared(with_column(values, name))
    shown = name or "column_1"
    assert (shown in found.kinds) == is_used
    if not is_used:
        assert shown in prepared(with_column(values, name), "--columns", f"{shown},x").kinds


def test_a_cell_among_numbers_that_is_none_becomes_a_gap_and_is_told():
    cells = TABLE["x"].astype(str).astype(object)
    cells[5] = "oops"
    column = kind_of(cells)
    assert column.kind == "number"
    assert "'oops' in line 7" in column.words
    assert column.gaps == 1


def test_a_number_beyond_all_floats_among_text_becomes_a_gap_and_is_told():
    cells = TABLE["x"].astype(str).astype(object)
    cells[5], cells[7] = "1e400", "oops"
    column = kind_of(cells)
    assert column.kind == "number"
    assert "'1e400' in line 7" in column.words
    assert column.gaps == 2


def test_columns_that_say_the_same_are_used_once():
    labels = groups()
    codes = {"red": "R", "green": "G", "blue": "B"}
    table = with_column(labels, "colour") | {
        "letter": [codes[label] for label in labels],
        "x again": TABLE["x"],
    }
    found = prepared(table)
    words = {column.name: column.words for column in found.columns}
    assert words["letter"] == "one to one with 'colour'"
    assert words["x again"] == "the same as 'x'"
    assert set(found.kinds) == {"colour", "x", "k"}


def test_a_column_that_determines_the_target_is_told():
    notes = prepared(with_column(2 * TABLE["y"] + 1)).notes
    assert any(note.startswith("'z' determines the target") for note in notes)
    labels = groups()
    table = {"x": TABLE["x"], "z": [f"is {label}" for label in labels], "y": labels}
    assert any("'z' determines the target" in note for note in prepared(table).notes)
    above = np.where(TABLE["x"] > 0.2, "above", "below")
    table = {"x": TABLE["x"], "k": TABLE["k"], "y": above}
    found = [note for note in prepared(table).notes if "determines" in note]
    assert len(found) == 1
    assert found[0].startswith("'x'")
    assert not any("determines" in note for note in prepared(TABLE).notes)


def test_chosen_columns():
    table = with_column(groups())
    assert set(prepared(table, "--columns", "x,z").kinds) == {"x", "z"}
    assert set(prepared(table, "--drop", "x", "--drop", "z").kinds) == {"k"}
    assert prepared(table, "--categorical", "k").kinds["k"] == "category"
    assert set(prepared(table, "--columns", "1,2").kinds) == {"z", "x"}
    comma = {'"a, b"': TABLE["x"], **TABLE}
    assert "a, b" not in prepared(comma, "--drop", "a, b", "--drop", "x").kinds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--columns", "w"], "--columns: no column 'w'"),
        (["--drop", "x,k"], "no column but the target 'y' is left"),
        (["--drop", "y"], "--drop names the target 'y'"),
        (["--weights", "y"], "--weights 'y' is in use"),
        (["--weights", "x"], "--weights 'x': -.* in line .* is negative"),
        (["--groups", "w"], "--groups: no column 'w'"),
    ],
)
def test_wrong_columns(options, message):
    with pytest.raises(InputError, match=message):
        prepared(TABLE, *options)


def test_an_identifier_alone_is_no_feature():
    with pytest.raises(InputError, match=r"left to fit 'y' on: 'id'.*--columns NAME uses it"):
        prepared({"id": np.arange(N), "y": TABLE["y"]})


def test_a_count_of_the_rows_is_a_feature_where_there_is_no_other():
    count = np.arange(1, N + 1)
    assert prepared({"x": count, "y": TABLE["y"]}).kinds == {"x": "number"}
    assert "X" not in prepared({"X": count, "z": TABLE["x"], "y": TABLE["y"]}).kinds
    lines = text({"x": count, "y": TABLE["y"]}, header=False)
    assert prepared(lines, target="2").kinds == {"column_1": "number"}


TARGETS = {
    "numbers": (TABLE["y"], "regression"),
    "money": (quoted(f"${1000.5 + 30 * i:,.2f}" for i in range(N)), "regression"),
    "thousands": (quoted(f"{1000 + 30 * i:,}" for i in range(N)), "regression"),
    "percent": ([f"{i}%" for i in range(N)], "regression"),
    "two floats": ([0.5, 1.5] * 30, "regression"),
    "many whole numbers": (np.arange(N) % 20, "regression"),
    "few whole numbers": (np.arange(N) % 5, "classification"),
    "one and two": ([1, 2] * 30, "classification"),
    "text": (["a", "b", "c"] * 20, "classification"),
    "yes and no": (["yes", "no"] * 30, "classification"),
    "True and False": (["True", "False"] * 30, "classification"),
    "stars": ([f"{1 + i % 4} stars" for i in range(N)], "classification"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_the_task_is_guessed_and_told(case):
    values, task = TARGETS[case]
    found = prepared({**TABLE, "y": values})
    assert found.target.task == task
    assert any(f"a {task}" in note for note in found.notes)


def test_the_task_can_be_set():
    labels = prepared({**TABLE, "y": [0.5, 1.5] * 30}, "--task", "classification").target
    assert labels.task == "classification"
    assert set(labels.y) == {"0.5", "1.5"}
    numbers = prepared({**TABLE, "y": [1, 2] * 30}, "--task", "regression").target
    assert numbers.y[:2].tolist() == [1.0, 2.0]
    truth = prepared({**TABLE, "y": ["True", "False"] * 30}, "--task", "regression").target
    assert truth.y[:2].tolist() == [1.0, 0.0]


def test_the_target_by_number_or_in_other_letters():
    assert prepared(TABLE, target="3").target.name == "y"
    assert prepared(TABLE, target="Y").target.name == "y"


def test_rows_without_a_target_are_left_out_with_a_word():
    cells = TABLE["y"].astype(str).astype(object)
    cells[[3, 9]] = ["", "?"]
    found = prepared({**TABLE, "y": cells})
    assert len(found.target.y) == N - 2
    np.testing.assert_array_equal(found.rows["x"], np.delete(TABLE["x"], [3, 9]))
    assert any("2 row(s) without a target are left out, line 5 first" in n for n in found.notes)


def test_a_rare_class_is_left_out_with_a_word():
    found = prepared({**TABLE, "y": ["a", "b"] * 29 + ["c", "c"]})
    assert set(found.target.y) == {"a", "b"}
    assert len(found.rows) == 58
    assert any("'c' (2)" in note for note in found.notes)


STRAY = TABLE["y"].astype(str).astype(object)
STRAY[6] = "oops"
WRONG_TARGETS = {
    "a stray cell": (STRAY, [], "column 'y' of 't.csv', line 8: 'oops' is text, not a number"),
    "a stray cell among classes": (
        ["1", "2"] * 29 + ["1", "two"],
        [],
        "line 61: 'two' is text, not a number",
    ),
    "text for a regression": (["a", "b"] * 30, ["--task", "regression"], "line 2: 'a' is text"),
    "one value": ([3.5] * N, [], "has one value only: 3.5"),
    "one class": (["a"] * N, [], "has one value only: 'a'"),
    "a class for each row": ([f"c{i}" for i in range(N)], [], "has 60 classes in 60 rows"),
    "gaps alone": ([""] * N, [], "has no value in any row"),
    "dates": (np.datetime64("2020-01-01") + np.arange(N), [], "60 classes in 60 rows"),
}


@pytest.mark.parametrize("case", WRONG_TARGETS)
def test_a_target_that_cannot_be_learned(case):
    values, options, message = WRONG_TARGETS[case]
    with pytest.raises(InputError, match=message):
        prepared({**TABLE, "y": values}, *options)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_too_few_rows(rows):
    with pytest.raises(InputError, match=rf"has {rows} row\(s\) with a target; at least 5"):
        prepared({name: values[:rows] for name, values in TABLE.items()})


def test_weights_and_groups_are_no_features():
    table = {**TABLE, "w": [1, 2, ""] * 20, "g": groups()}
    found = prepared(table, "--weights", "w", "--groups", "g")
    assert set(found.kinds) == {"x", "k"}
    assert found.weights.tolist() == [1.0, 2.0] * 20
    assert found.groups.tolist() == [g for i, g in enumerate(groups()) if i % 3 != 2]
    assert len(found.target.y) == len(found.rows) == 40


def test_dates_are_years_and_their_fraction():
    dates = pd.Series(["2020-01-01", "2020-07-01", "2021-07-02", None])
    # 2020 has 366 days, of which 182 are over on 1 July.
    expected = [2020.0, 2020 + 182 / 366, 2021 + 182 / 365, np.nan]
    np.testing.assert_allclose(as_dates(dates, "%Y-%m-%d"), expected, rtol=1e-15)
    np.testing.assert_allclose(as_dates(pd.Series(["2020Q3", "x"]), "%YQ%q"), [2020.5, np.nan])
    np.testing.assert_allclose(as_dates(pd.Series(["06:45"]), "%H:%M"), [6.75])


def test_which_comes_first_day_or_month():
    assert date_format(["13/01/2020", "02/01/2020"]) == ("%d/%m/%Y", None)
    assert date_format(["01/13/2020", "01/02/2020"]) == ("%m/%d/%Y", None)
    # Both are possible; in one of them the dates ascend.
    assert date_format(["01/02/2020", "02/02/2020", "01/03/2020"]) == ("%d/%m/%Y", "%m/%d/%Y")
    assert date_format(["hello", "world"]) is None
    assert date_format(["12-14", "12-15"]) is None


@pytest.mark.parametrize(
    ("cell", "decimal", "value"),
    [
        ("1,234", ".", 1234.0),
        ("1,234", ",", 1.234),
        ("1.234,5", ",", 1234.5),
        ("1 234", ".", 1234.0),
        ("1\u202f234,5", ",", 1234.5),
        ("1'234.5", ".", 1234.5),
        ("$1,234.50", ".", 1234.5),
        ("-$5", ".", -5.0),
        ("$-5", ".", -5.0),
        ("(5.5)", ".", -5.5),
        ("12 %", ".", 12.0),
        ("1e3", ".", 1000.0),
        ("−5", ".", -5.0),
        ("12,34", ".", np.nan),
        ("1,2,3", ".", np.nan),
        ("5 kg", ".", np.nan),
        ("A/5 21171", ".", np.nan),
        ("2020-01-01", ".", np.nan),
        ("(5", ".", np.nan),
        ("", ".", np.nan),
    ],
)
def test_numbers_in_their_dress(cell, decimal, value):
    np.testing.assert_equal(as_numbers(pd.Series([cell], dtype=object), decimal)[0], value)


def test_one_label_for_one_value():
    assert as_labels(pd.Series([2.0, 2.5, np.nan])).tolist()[:2] == ["2", "2.5"]
    assert as_labels(pd.Series([2, 3])).tolist() == ["2", "3"]
    assert as_labels(pd.Series([True, False])).tolist() == ["True", "False"]


def test_the_first_step_is_an_ordinary_transformer():
    frame = pd.DataFrame({"a": ["$1,200", None], "b": ["x", "y"], "c": [1, 2]})
    step = TableColumns({"b": "category", "a": "number"}, target="t")
    found = clone(step).fit(frame).transform(frame[["a", "b"]])
    assert found.columns.tolist() == step.fit(frame).get_feature_names_out().tolist() == ["b", "a"]
    np.testing.assert_array_equal(found["a"], [1200.0, np.nan])
    with pytest.raises(ValueError, match="the table lacks column"):
        step.fit(frame).transform(frame[["a"]])
    with pytest.raises(TypeError, match="takes a pandas DataFrame"):
        step.transform(frame.to_numpy())


def test_options_that_contradict_themselves():
    for argv, message in [
        (["a.csv", "--data", "b.csv"], "two tables"),
        (["--delimiter", "::"], "--delimiter takes one character"),
        (["--delimiter", ",", "--decimal", ","], "are both ','"),
        (["--iterations", "0"], "--iterations takes"),
        (["--iterations", "many"], "invalid int value: 'many'; gdregress --help"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["predict", "m.skops"], "required: FILE; gdregress predict --help"),
        (["--alpha", "-1"], "--alpha takes"),
        (["--seed", "-1"], "--seed takes"),
        (["--output", "a.jpg"], "must end in .png, .svg, .pdf"),
        (["--report", "a.txt"], "must end in .html"),
        (["--save", "a.model"], "must end in .skops, .joblib, .pkl"),
        (["--output", "no/a.png"], "there is no folder 'no'"),
    ]:
        with pytest.raises(InputError, match=message):
            parse(argv)
    assert isinstance(parse(["--delimiter", "tab"]), argparse.Namespace)
    assert parse(["--delimiter", "tab"]).delimiter == "\t"
