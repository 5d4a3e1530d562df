"""``python -m gdregress``: the main job on bundled data and on CSV files, and bad input."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gdregress
from gdregress.__main__ import main
from gdregress._tables import load_csv

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_csv(name, header, rows):
    lines = [",".join(header), *(",".join(map(str, row)) for row in rows)]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


def linear_rows(n=40):
    """Rows of x1, x2, y with y = 2 x1 - x2 + 1 exactly."""
    rng = np.random.default_rng(0)
    return [[a, b, 2 * a - b + 1] for a, b in rng.normal(size=(n, 2)).round(3)]


def table_rows(text, first_words):
    """The cells of the rows that start with `first_words`."""
    lines = [line for line in text.splitlines() if line.startswith(first_words)]
    return [re.split(r"\s{2,}", line) for line in lines]


def test_regression_from_csv(capsys):
    write_csv("line.csv", ["x1", "x2", "y"], linear_rows())
    assert main(["--data", "line.csv", "--target", "y", "--iterations", "50"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "regression on line" in out
    ((_, score, *_rest),) = table_rows(out, "exact")
    assert float(score) == 1.0
    loose, tight = table_rows(out, "descent")
    assert min(float(loose[1]), float(tight[1])) > 0.999
    # Off the exact solution, relative, in coefficients and loss: the tolerance decides how far.
    assert 1e-6 < float(loose[4]) < 1e-2
    assert 0 <= float(tight[4]) < 1e-4
    assert 0 <= float(tight[5]) <= float(loose[5]) < 1e-4
    assert table_rows(out, "search")
    assert Path("gdregress-line.png").read_bytes().startswith(PNG_SIGNATURE)


def test_each_rate_is_named_by_what_it_did(capsys):
    write_csv("line.csv", ["x1", "x2", "y"], linear_rows())
    assert main(["--data", "line.csv", "--target", "y"]) == 0
    out, _ = capsys.readouterr()
    verdicts = {
        cells[1]: cells[-1]
        for cells in (re.split(r"\s{2,}", line) for line in out.splitlines())
        if len(cells) == 5 and "× automatic" in cells[1]
    }
    assert verdicts["0.01 × automatic"] == "too small"
    assert verdicts["1 × automatic"] == "good"
    assert verdicts["2.2 × automatic"] == "diverging"


@pytest.mark.parametrize("labels", [["no", "yes"], ["0", "1"], ["a", "b", "c"]])
def test_classification_from_csv(capsys, labels):
    rng = np.random.default_rng(1)
    centres = 4 * np.eye(len(labels), 2)
    rows = [
        [*(centres[i % len(labels)] + rng.normal(size=2)).round(3), labels[i % len(labels)]]
        for i in range(60)
    ]
    write_csv("kinds.csv", ["u", "v", "kind"], rows)
    assert main(["--data", "kinds.csv", "--target", "kind", "--iterations", "50"]) == 0
    out, _ = capsys.readouterr()
    assert "classification on kinds" in out
    assert "alpha = 1/m = 0.0222" in out
    ((_, score, *_rest),) = table_rows(out, "exact")
    assert float(score) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diabetes", "breast_cancer", "digits"])
def test_bundled_data(capsys, name):
    assert main(["--data", name]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert Path(f"gdregress-{name}.png").read_bytes().startswith(PNG_SIGNATURE)
    loose, tight = table_rows(out, "descent")
    assert float(tight[5]) < 1e-8 < float(loose[5]) < 1e-2
    for verdict in ("too small", "good", "too large", "diverging"):
        assert f"  {verdict}\n" in out


def test_the_default_is_a_bundled_regression(capsys):
    assert main(["--iterations", "20"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "regression on diabetes" in out
    assert Path("gdregress-diabetes.png").exists()


def test_a_whole_number_target_of_few_kinds_is_a_class():
    rows = [[i % 7, i % 3] for i in range(60)]
    write_csv("t.csv", ["x", "y"], rows)
    assert load_csv("t.csv", "y", "auto", ",").task == "classification"
    assert load_csv("t.csv", "y", "regression", ",").task == "regression"
    write_csv("t.csv", ["x", "y"], [[i % 7, (i % 3) + 0.5] for i in range(60)])
    assert load_csv("t.csv", "y", "auto", ",").task == "regression"
    write_csv("t.csv", ["x", "y"], [[i % 7, i] for i in range(60)])
    assert load_csv("t.csv", "y", "auto", ",").task == "regression"


def test_what_a_csv_file_may_look_like():
    text = '\ufeff"a ; b"; y ;c\r\n' + "".join(
        f"{i};{2 * i}.5; 1e{i % 3}\r\n\r\n" for i in range(25)
    )
    Path("odd.csv").write_text(text, encoding="utf-8", newline="")
    table = load_csv("odd.csv", "y", "auto", ";")
    assert table.X.shape == (25, 2)
    assert table.X[4].tolist() == [4.0, 10.0]
    assert table.y[:2].tolist() == [0.5, 2.5]


GOOD = linear_rows(30)


def with_cell(i, j, cell):
    rows = [list(row) for row in GOOD]
    rows[i][j] = cell
    return rows


BAD_INPUT = {
    "no such file": (None, [], "no file 'none.csv'; --data takes diabetes, breast_cancer, digits"),
    "a text feature": (
        with_cell(2, 1, "red"),
        ["--target", "y"],
        "column 'x2'.*line 4: 'red' is text",
    ),
    "a missing value": (
        with_cell(0, 0, ""),
        ["--target", "y"],
        "column 'x1'.*line 2: a value is missing",
    ),
    "a missing value, NA": (with_cell(0, 0, "NA"), ["--target", "y"], "a value is missing"),
    "a missing label": (
        [[a, b, "" if a == GOOD[3][0] else "u"] for a, b, _ in GOOD],
        ["--target", "y"],
        "column 'y'.*line 5: a value is missing",
    ),
    "an infinite value": (
        with_cell(0, 0, "inf"),
        ["--target", "y"],
        "'inf' is not a finite number",
    ),
    "a value whose square overflows": (
        with_cell(0, 0, "1e160"),
        ["--target", "y"],
        "'1e160' is too large to be squared",
    ),
    "no target": (GOOD, [], "--target is needed.*'x1', 'x2', 'y'"),
    "another target": (GOOD, ["--target", "z"], "no column 'z'.*'x1', 'x2', 'y'"),
    "a text target for a regression": (
        with_cell(1, 2, "much"),
        ["--target", "y", "--task", "regression"],
        "'much' is text.*--task regression needs a numeric target",
    ),
    "a short row": (
        [*GOOD, [1.0, 2.0]],
        ["--target", "y"],
        "line 32.*2 cells where the header has 3",
    ),
    "few rows": (GOOD[:5], ["--target", "y"], "5 rows.*at least 20"),
    "only a header": ([], ["--target", "y"], "0 rows.*at least 20"),
    "one value": ([[a, b, 1] for a, b, _ in GOOD], ["--target", "y"], "has one value only: 1"),
    "a rare class": (
        [[a, b, "u" if i else "v"] for i, (a, b, _) in enumerate(GOOD)],
        ["--target", "y"],
        "class 'v'.*has 1 rows; at least 4",
    ),
    "a long delimiter": (
        GOOD,
        ["--target", "y", "--delimiter", "::"],
        "--delimiter takes one character",
    ),
    "no iterations": (GOOD, ["--target", "y", "--iterations", "0"], "--iterations takes.*got 0"),
    "no such folder": (GOOD, ["--target", "y", "--output", "no/a.png"], "there is no folder 'no'"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_status_2(capsys, case):
    rows, options, message = BAD_INPUT[case]
    name = "none.csv"
    if rows is not None:
        name = write_csv("t.csv", ["x1", "x2", "y"], rows)
    assert main(["--data", name, *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert re.search(message, err)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'t.csv' is empty"),
        (b"\n\n\n", "'t.csv' is empty"),
        (b"\xff\xfe\x00a", "not a CSV file in UTF-8"),
        (b"a,,y\n1,2,3\n", "column 2 of 't.csv' has no name"),
        (b"a,a,y\n1,2,3\n", "more than one column 'a'"),
        (b"y\n" + b"1\n2\n" * 20, "no column but the target"),
    ],
)
def test_a_broken_file_is_one_line_and_status_2(capsys, content, message):
    Path("t.csv").write_bytes(content)
    assert main(["--data", "t.csv", "--target", "y"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_a_folder_is_no_file(capsys):
    Path("folder").mkdir()
    assert main(["--data", "folder", "--target", "y"]) == 2
    assert re.fullmatch(r"gdregress: cannot read 'folder': .+\n", capsys.readouterr().err)


def test_a_target_for_bundled_data_is_refused(capsys):
    assert main(["--data", "diabetes", "--target", "y"]) == 2
    assert "--target and --task are for CSV files" in capsys.readouterr().err


def test_without_matplotlib_the_tables_still_come(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_csv("line.csv", ["x1", "x2", "y"], linear_rows())
    assert main(["--data", "line.csv", "--target", "y", "--iterations", "10"]) == 0
    out, _ = capsys.readouterr()
    assert table_rows(out, "exact")
    assert "no plot: matplotlib is missing" in out
    assert not Path("gdregress-line.png").exists()


def test_the_output_option_names_the_plot(capsys):
    write_csv("line.csv", ["x1", "x2", "y"], linear_rows())
    assert (
        main(["--data", "line.csv", "--target", "y", "--iterations", "10", "--output", "a.png"])
        == 0
    )
    assert Path("a.png").read_bytes().startswith(PNG_SIGNATURE)
    assert "loss curves: a.png" in capsys.readouterr().out


def test_as_a_program():
    """A real process: no traceback, and nothing but the one line on stderr."""
    result = subprocess.run(
        [sys.executable, "-m", "gdregress", "--data", "none.csv"],
        capture_output=True,
        text=True,
        cwd=Path(gdregress.__file__).parent.parent,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
