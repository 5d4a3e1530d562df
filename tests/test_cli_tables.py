"""Whole runs of the command line on tables of many kinds, with no option but the target.

Each is fitted, or stopped with one line that is right; nothing ends in a traceback.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import statsmodels.datasets
from tables import columns, decimal_comma, groups, text

from gdregress.cli import main

N = 60
TABLE = columns()
X, K, Y = TABLE["x"], TABLE["k"], TABLE["y"]
LABELS = groups()


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Pictures take longer than all the rest; tests/test_cli_job.py looks at them.
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def lines(row, n=N):
    return "".join(f"{row(i)}\n" for i in range(n))


def with_gaps(values, every=7, word=""):
    return [word if i % every == 0 else value for i, value in enumerate(values)]


# name: (content, target, words that the output must hold)
FITTED = {
    "R's nameless first column": (
        text({'""': [f'"{i + 1}"' for i in range(N)], **TABLE}),
        "y",
        ["column_1  left out: an identifier"],
    ),
    "Excel in German": (
        "sep=;\n" + text({"Preis": X, "Menge": K, "Umsatz": Y}, ";", cell=decimal_comma),
        "Umsatz",
        ["delimiter semicolon", "decimal mark ','"],
    ),
    "NumPy's savetxt": (
        "# x k y\n" + text(TABLE, " ", header=False, cell=lambda v: f"{v:.18e}"),
        "y",
        ["stand in the comment above the first row", "'y' on t"],
    ),
    "blanks, quoted text and question marks": (
        lines(lambda i: f'{Y[i]}  {K[i]}   {"?" if i == 3 else X[i]}\t"ford {i % 4}"'),
        "1",
        ["no header", "category of 4 levels"],
    ),
    "blanks at both ends": (lines(lambda i: f"  {X[i]} {K[i]}  {Y[i]} "), "3", ["60 rows, 3"]),
    "all text, no header": (
        lines(lambda i: f"{LABELS[i]},{'ab'[K[i] % 2]},{'yes' if X[i] > 0.5 else 'no'}"),
        "3",
        ["no header", "text with 2 values: a classification"],
    ),
    "an air-quality station": (
        "Date;Time;CO;NOx;;\n"
        + lines(
            lambda i: (
                f"{10 + i // 6}/03/2004;{i % 24:02d}.00.00;{decimal_comma(X[i])};"
                f"{decimal_comma(Y[i])};;"
            )
        )
        + ";;;;;\n" * 5,
        "NOx",
        ["date %d/%m/%Y, in years", "date %H.%M.%S, in hours", "5 row(s) without a target"],
    ),
    "passengers of a ship": (
        "PassengerId,Survived,Class,Name,Sex,Age,Cabin\n"
        + lines(
            lambda i: (
                f'{i + 1},{int(Y[i] > 2)},{K[i] % 3 + 1},"Doe, Mr. J. {i}",'
                f"{'male' if (7 * i) % 5 < 3 else 'female'},{'' if i % 6 == 0 else 20 + i % 40},"
                f"{'' if i % 4 else f'C{i}'}"
            )
        ),
        "Survived",
        ["Name         left out", "PassengerId  left out", "two values, 0 and 1"],
    ),
    "a bank's indicators": (
        '"Data Source","Indicators",\n\n"Country Name","Code","1990","1991",\n'
        + lines(lambda i: f'"Land {i}","L{i:02d}","{X[i]}","{Y[i]}",'),
        "1991",
        ["above the table are skipped"],
    ),
    "prices with currency": (
        text({"price": [f'"${1000 + 9000 * abs(v):,.2f}"' for v in X], "rate": K, "y": Y}),
        "y",
        ["is read as 2134"],
    ),
    "percent in the target": (text({"x": X, "y": [f"{v:.1f}%" for v in Y]}), "y", ["regression"]),
    "gaps nearly everywhere": (
        text({"a": with_gaps(X, 2), "b": ["only" if i == 7 else "" for i in range(N)], **TABLE}),
        "y",
        ["a missing", "category of 1 level"],
    ),
    "booleans in four spellings": (
        text(
            {
                "a": np.where(X > 0, "TRUE", "FALSE"),
                "b": np.where(X > 0.3, "yes", "no"),
                "c": with_gaps(np.where(K > 2, "T", "F")),
                "y": Y,
            }
        ),
        "y",
        ["a       category of 2 levels", "c=(missing)"],
    ),
    "monthly passengers": (
        '"Month","Passengers"\n'
        + lines(lambda i: f'"{1949 + i // 12}-{1 + i % 12:02d}",{112 + i}'),
        "Passengers",
        ["date %Y-%m, in years"],
    ),
    "a year and a target": (text({"Year": 1885 + np.arange(N), "Water": Y}), "Water", ["Year"]),
    "sixteen rows": (
        text({name: values[:16] for name, values in TABLE.items()}),
        "y",
        ["none held out"],
    ),
    "five rows": (
        text({name: values[:5] for name, values in TABLE.items()}),
        "y",
        ["Too few rows to cross-validate"],
    ),
    "more columns than rows": (
        text(
            {f"x{j}": np.cos((j + 1.5) * np.arange(25.0) ** 1.1) for j in range(40)} | {"y": Y[:25]}
        ),
        "y",
        ["columns for so few rows", "no standard errors"],
    ),
    "three classes": (text({**TABLE, "y": LABELS}), "y", ["log-odds against blue", "class red"]),
    "classes of whole numbers": (text({"x": X, "y": K}), "y", ["whole numbers of 5 kinds"]),
    "a rare class": (
        text({"x": X, "y": ["u", "v"] * 29 + ["w", "w"]}),
        "y",
        ["2 row(s) of classes", "'w' (2)"],
    ),
    "classes with gaps": (
        text({"x": X, "y": with_gaps(K % 2, 9, "NA")}),
        "y",
        ["7 row(s) without a target are left out, line 2 first"],
    ),
    "classes that a plane separates": (
        text({"x": X, "k": K, "y": np.where(X > 0, "a", "b")}),
        "y",
        ["a plane separates", "no standard errors"],
    ),
    "a column that is the target": (text({"x": X, "z": 3 * Y - 1, "y": Y}), "y", ["determines"]),
    "two columns that add up to the target": (
        text({"a": K, "b": 3 * K**2, "c": X, "y": K + 3 * K**2 + 0.5}),
        "y",
        ["leaves no residual"],
    ),
    "columns that repeat each other": (
        text({"a": X, "b": X, "c": LABELS, "d": [f"is {v}" for v in LABELS], "y": Y}),
        "y",
        ["the same as 'a'", "one to one with 'c'"],
    ),
    "one value of one column": (
        text({"x": X, "y": np.where(K > 2, "a", "b"), "z": ["q"] * N}),
        "y",
        ["constant: 'q' in every row"],
    ),
    "names that need care": (
        text({"a,b".join('""'): X, '"say ""k"""': K, "[red]": LABELS, "y": Y}),
        "y",
        ['say "k"', "[red]=green"],
    ),
    "columns far from zero in very different units": (
        text({"revenue": 1e9 + 1e8 * X, "rate": 0.05 + 0.001 * K, "y": Y}),
        "y",
        ["revenue"],
    ),
}


@pytest.mark.parametrize("case", FITTED)
def test_it_is_fitted(capsys, case):
    content, target, words = FITTED[case]
    Path("t.csv").write_text(content, encoding="utf-8")
    assert main(["t.csv", f"--target={target}", "--iterations", "5"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    flat = " ".join(out.split())
    for word in words:
        assert " ".join(word.split()) in flat
    assert max(map(len, out.splitlines())) <= 80


SHIPPED = [
    *sorted(Path(sklearn.datasets.__file__).parent.glob("data/*.csv*")),
    *sorted(Path(statsmodels.datasets.__file__).parent.glob("*/*.csv")),
]
TARGETS = {"diabetes_data_raw": "1"}  # others by their last column
STOPPED = {
    "diabetes_target": "no column but the target",
    "fertility": "has no value in any row",
}


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_tables_that_packages_ship(capsys, path):
    name = path.name.split(".")[0]
    status = main([str(path), f"--target={TARGETS.get(name, '-1')}", "--iterations", "5"])
    out, err = capsys.readouterr()
    assert status == (2 if name in STOPPED else 0), err
    assert STOPPED.get(name, "") in err
    assert err.count("\n") == status // 2
    assert "Traceback" not in out + err
