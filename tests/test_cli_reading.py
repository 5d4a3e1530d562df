"""Reading tables as people have them: encodings, delimiters, headers, gaps, compression, size."""

import argparse
import bz2
import gzip
import io
import lzma
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables import columns, decimal_comma, groups, text

from gdregress.cli.errors import InputError
from gdregress.cli.reading import read

TABLE = columns()


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def options(**given):
    defaults = {"encoding": None, "delimiter": None, "decimal": None, "header": None, "na": []}
    return argparse.Namespace(**(defaults | given))


def read_text(content, **given):
    data = content if isinstance(content, bytes) else content.encode()
    Path("t.csv").write_bytes(data)
    return read("t.csv", options(**given))


def shifted(table, name, values):
    return {name: values, **table}


WRITTEN = {
    "plain": text(TABLE),
    "byte order mark": "\ufeff" + text(TABLE),
    "utf-16": text(TABLE).encode("utf-16"),
    "utf-16 without a mark": text(TABLE).encode("utf-16-le"),
    "utf-16 without a mark, big-endian": text(TABLE).encode("utf-16-be"),
    "utf-32": text(TABLE).encode("utf-32"),
    "semicolons": text(TABLE, ";"),
    "semicolons, decimal comma": text(TABLE, ";", cell=decimal_comma),
    "tabs": text(TABLE, "\t"),
    "tabs, decimal comma": text(TABLE, "\t", cell=decimal_comma),
    "bars": text(TABLE, "|"),
    "blanks": text(TABLE, "   "),
    "comma and blank": text(TABLE, ", "),
    "Windows line ends": text(TABLE, end="\r\n"),
    "old Mac line ends": text(TABLE, end="\r"),
    "no line end at the end": text(TABLE).rstrip("\n"),
    "blank lines between": text(TABLE, end="\n\n"),
    "quoted cells": text(TABLE, cell=lambda value: f'"{value}"'),
    "a comment above": "# by hand\n# in 2020\n" + text(TABLE),
    "a title above": "A table\n\n" + text(TABLE),
    "a title with a comma above": 'Source,"World, Bank"\n\n' + text(TABLE),
    "comments between": text(TABLE).replace("\n", "\n# a note\n", 3),
    "blanks around names": text(TABLE).replace("x,k,y", " x , k , y ", 1),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_the_same_table_however_it_is_written(case):
    frame = read_text(WRITTEN[case]).frame
    assert list(frame.columns) == ["x", "k", "y"]
    np.testing.assert_array_equal(
        frame.to_numpy(dtype=float), np.column_stack(list(TABLE.values()))
    )


@pytest.mark.parametrize(
    ("delimiter", "cell"),
    [(",", str), (";", str), ("\t", str), ("  ", str), (";", decimal_comma), ("  ", decimal_comma)],
)
def test_a_table_without_a_header_keeps_its_first_row(delimiter, cell):
    table = read_text(text(TABLE, delimiter, header=False, cell=cell))
    assert list(table.frame.columns) == ["column_1", "column_2", "column_3"]
    np.testing.assert_array_equal(
        table.frame.to_numpy(dtype=float), np.column_stack(list(TABLE.values()))
    )
    assert any("first line is taken for a row" in note for note in table.notes)


@pytest.mark.parametrize(
    "table",
    [
        shifted(TABLE, "g", groups()),
        {**TABLE, "g": np.repeat(["Iris-setosa", "Iris-virginica"], 30)},
        {"g": groups(), "h": groups()[::-1]},
        shifted(TABLE, "g", ["?", *groups()[1:]]),
    ],
)
def test_text_cells_do_not_make_a_header(table):
    frame = read_text(text(table, header=False)).frame
    assert len(frame) == 60
    assert len(read_text(text(table)).frame) == 60


def test_a_header_of_years_is_one():
    table = {"country": [f"land {i}" for i in range(20)]}
    table |= {str(year): np.arange(20.0) + year for year in range(1990, 2000)}
    frame = read_text(text(table)).frame
    assert list(frame.columns[:3]) == ["country", "1990", "1991"]
    assert len(frame) == 20


def test_header_options_overrule_the_guess():
    numbers = text(TABLE, header=False)
    assert len(read_text(numbers, header="first").frame) == 59
    assert list(read_text(numbers, header="first").frame.columns)[1] == str(TABLE["k"][0])
    assert len(read_text(text(TABLE), header="none").frame) == 61


@pytest.mark.parametrize("header", ["x,k,y,", "x,k,y"])
def test_a_trailing_comma_adds_nothing_but_gaps(header):
    lines = text(TABLE, closing=",").replace("x,k,y,", header, 1)
    frame = read_text(lines).frame
    assert frame.shape == (60, 4)
    assert frame["column_4"].isna().all()
    np.testing.assert_array_equal(frame["y"], TABLE["y"])


def test_names_of_rows_without_a_name_in_the_header():
    # R's write.table: the header is one cell short.
    header, *rows = text(TABLE, " ").splitlines()
    lines = [header, *(f'"row {i}" {row}' for i, row in enumerate(rows))]
    table = read_text("\n".join(lines))
    assert list(table.frame.columns) == ["column_1", "x", "k", "y"]
    assert table.frame["column_1"][3] == "row 3"
    assert table.unnamed == {"column_1"}


def test_names_that_are_blank_or_there_twice():
    table = read_text(text(TABLE).replace("x,k,y", "x,,x", 1))
    assert list(table.frame.columns) == ["x", "column_2", "x.2"]
    assert any("x.2" in note for note in table.notes)
    assert any("column_2" in note for note in table.notes)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_what_stands_in_the_cells_alone_is_no_delimiter(delimiter):
    rng = np.random.default_rng(0)
    rows = [["Größe", "Straße", "Aktiv", "Datum", "Kunde", "Umsatz"]]
    for k in range(120):
        size, euros = 1500 + k, rng.integers(0, 10**6)
        rows.append(
            [
                f"{size // 10},{size % 10}",
                rng.choice(["Öl", "Ring"]),
                rng.choice(["ja", "nein"]),
                f"{k % 28 + 1:02d}.03.2021",
                f"K{k:05d}",
                f"1.{euros // 1000:03d},{euros % 100:02d} €",
            ]
        )
    table = read_text("\n".join(delimiter.join(row) for row in rows))
    assert list(table.frame) == rows[0]
    assert table.dialect.delimiter == delimiter
    assert table.frame["Größe"].tolist() == [(1500 + k) / 10 for k in range(120)]


def test_umlauts_in_another_encoding():
    content = text({"größe": TABLE["x"], "stadt": ["Köln", "Münster"] * 30}).encode("cp1252")
    table = read_text(content)
    assert list(table.frame.columns) == ["größe", "stadt"]
    assert table.frame["stadt"][0] == "Köln"
    assert any("cp1252" in note for note in table.notes)
    assert read_text(content, encoding="latin-1").frame["stadt"][1] == "Münster"


def test_an_umlaut_far_behind_the_sample():
    # The first 256 KiB are ASCII: the sample cannot tell.
    table = {"s": ["a" * 20] * 20_000 + ["ü"], "y": np.arange(20_001)}
    assert read_text(text(table).encode("cp1252")).frame["s"].iloc[-1] == "ü"
    assert read_text(text(table)).frame["s"].iloc[-1] == "ü"


@pytest.mark.parametrize(
    "word", ["?", "NA", "-", ".", "none", "NULL", "n/a", "#N/A", " ", "? ", ""]
)
def test_what_stands_for_a_gap(word):
    cells = TABLE["x"].astype(str).astype(object)
    cells[[0, 3]] = word
    column = read_text(text({**TABLE, "z": cells, "x": cells})).frame[["x", "z"]]
    assert column.isna().to_numpy().sum() == 4
    rest = np.delete(column.to_numpy(dtype=float), [0, 3], axis=0)
    np.testing.assert_array_equal(rest[:, 0], np.delete(TABLE["x"], [0, 3]))


def test_words_of_the_users_for_gaps():
    cells = TABLE["x"].astype(str).astype(object)
    cells[3], cells[5] = "-999", "n.n."
    frame = read_text(text({"x": cells, "y": TABLE["y"]}), na=["-999", "n.n."]).frame
    assert np.flatnonzero(frame["x"].isna()).tolist() == [3, 5]
    # A sentinel is not guessed.
    cells[5] = "1"
    assert read_text(text({"x": cells, "y": TABLE["y"]})).frame["x"][3] == -999


@pytest.mark.parametrize("suffix", [".csv", ".gz", ".bz2", ".xz", ".zip"])
@pytest.mark.parametrize("kind", ["gzip", "bz2", "xz", "zip"])
def test_compressed_whatever_it_is_called(suffix, kind):
    data = text(TABLE).encode()
    packed = {
        "gzip": lambda: gzip.compress(data),
        "bz2": lambda: bz2.compress(data),
        "xz": lambda: lzma.compress(data),
        "zip": lambda: zipped({"t.csv": data}),
    }[kind]()
    Path(f"table{suffix}").write_bytes(packed)
    table = read(f"table{suffix}", options())
    assert table.source.name == "table"
    np.testing.assert_array_equal(table.frame["y"], TABLE["y"])


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def test_stdin(monkeypatch):
    class Stdin:
        buffer = io.BytesIO(gzip.compress(text(TABLE).encode()))

    monkeypatch.setattr(sys, "stdin", Stdin)
    table = read("-", options())
    assert table.source.shown == "stdin"
    np.testing.assert_array_equal(table.frame["x"], TABLE["x"])


def test_parquet():
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(shifted(TABLE, "g", groups()))
    frame["g"] = frame["g"].astype("category")
    frame.to_parquet("t.parquet")
    found = read("t.parquet", options()).frame
    np.testing.assert_array_equal(found["y"], TABLE["y"])
    assert found["g"].tolist() == groups().tolist()


def test_parquet_without_pyarrow(monkeypatch):
    pytest.importorskip("pyarrow")
    pd.DataFrame(TABLE).to_parquet("t.parquet")

    def missing(*_, **__):
        raise ImportError

    monkeypatch.setattr(pd, "read_parquet", missing)
    with pytest.raises(InputError, match="pip install pyarrow"):
        read("t.parquet", options())


def test_a_row_that_ends_early_is_told():
    table = read_text(text(TABLE) + "1,2\n")
    assert np.isnan(table.frame["y"].iloc[-1])
    assert any("1 row(s) have fewer cells" in n and "line 62" in n for n in table.notes)


def test_line_numbers_count_what_stands_in_the_file():
    lines = '"a\nb",y\n\n# note\n1,"2\n3"\n4,5\n\n6,x\n7,8\n'
    table = read_text(lines)
    assert table.frame.columns.tolist() == ["a b", "y"]
    assert [table.line(row) for row in range(4)] == ["line 5", "line 7", "line 9", "line 10"]


def test_cells_that_begin_like_comments_are_cells():
    cells = [f"#{i % 3}" for i in range(60)]
    assert len(read_text(text({"g": cells, **TABLE})).frame) == 60
    some = ["#1" if i % 9 == 0 else "a" for i in range(60)]
    assert len(read_text(text({"g": some, **TABLE})).frame) == 60


WRONG = {
    "nothing": (b"", "'t.csv' is empty"),
    "blank lines": (b"\n\n  \n", "'t.csv' is empty"),
    "a header alone": (b"a,b,y\n", "'t.csv' has a header but no rows"),
    "bytes": (bytes(range(256)) * 20, "'t.csv' is no table in text"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "but a PNG image"),
    "a zero byte": (b"a,y\n1,2\x00\n" * 30, "it holds zero bytes"),
    "a web page": (b"<html><body>Not found</body></html>", "'t.csv' is HTML"),
    "JSON": (b'{"x": [1, 2], "y": [3, 4]}', "'t.csv' is JSON"),
    "a workbook": (zipped({"[Content_Types].xml": b"", "x": b""}), "an Office file"),
    "two files in a zip": (zipped({"a.csv": b"1", "b.csv": b"2"}), "holds 2 files, not one"),
    "a broken gzip": (gzip.compress(text(TABLE).encode())[:100], "cannot decompress 't.csv'"),
    "a long row": (
        text(TABLE) + "1,2,3,4\n",
        "line 62 of 't.csv' has 4 cells where the header has 3",
    ),
    "a long first row": (
        text(TABLE).replace("\n", "\n1,2,3,4\n", 1),
        "line 2 of 't.csv' has 4 cells where the header has 3",
    ),
    "an open quote": (text(TABLE) + '1,"2,3\n', "a quote is opened and never closed"),
    "an infinite number": (text(TABLE) + "inf,2,3\n", "column 'x' of 't.csv', line 62: inf"),
    "a number without a square": (text(TABLE) + "-1e200,2,3\n", "line 62: -1e\\+200 is too large"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_table_is_explained_in_one_line(case):
    content, message = WRONG[case]
    with pytest.raises(InputError, match=message) as caught:
        read_text(content)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_almost_right():
    Path("houses.csv").write_text(text(TABLE))
    with pytest.raises(InputError, match=r"no file 'house.csv'; did you mean 'houses.csv'"):
        read("house.csv", options())
    with pytest.raises(InputError, match="there is no folder 'nowhere'"):
        read("nowhere/houses.csv", options())


def test_a_folder():
    Path("folder").mkdir()
    Path("folder/a.csv").write_text("x")
    with pytest.raises(InputError, match=r"'folder' is a folder, not a file; it holds 'a.csv'"):
        read("folder", options())


def test_an_encoding_that_does_not_exist_or_does_not_fit():
    with pytest.raises(InputError, match="'utf-9' is no encoding"):
        read_text(text(TABLE), encoding="utf-9")
    with pytest.raises(InputError, match="is not text in utf-8"):
        read_text("größe,y\n1,2\n".encode("cp1252"), encoding="utf-8")


@pytest.mark.slow
def test_reading_costs_no_more_than_twice_pandas():
    import time

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(100_000, 10)))
    frame.to_csv("big.csv", index=False)

    def seconds(call):
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    pairs = [
        (
            seconds(lambda: read("big.csv", options())),
            seconds(lambda: pd.read_csv("big.csv")),
        )
        for _ in range(5)
    ]
    assert np.median([ours / theirs for ours, theirs in pairs]) < 2.0
