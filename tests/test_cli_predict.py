"""``--save`` and ``gdregress predict``: the same predictions, on tables that differ a little."""

import io
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression as TheirRegression
from tables import columns, groups, text

from gdregress.cli import main

TABLE = {**columns(), "g": groups()}
N = len(TABLE["y"])


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def saved(table=TABLE, name="m.joblib", target="y", **options):
    Path("t.csv").write_text(text(table, **options), encoding="utf-8")
    assert main(["t.csv", f"--target={target}", "--iterations", "5", "--save", name]) == 0
    return name


def predicted(capsys, model, table, *options):
    content = table if isinstance(table, str) else text(table)
    Path("new.csv").write_text(content, encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", model, "new.csv", *options]) == 0
    out, err = capsys.readouterr()
    return pd.read_csv(io.StringIO(out)) if out else None, err


@pytest.mark.parametrize("suffix", ["skops", "joblib", "pkl"])
def test_a_saved_model_predicts_what_the_pipeline_did(capsys, suffix):
    if suffix == "skops":
        pytest.importorskip("skops")
    frame, err = predicted(capsys, saved(name=f"m.{suffix}"), TABLE)
    X = np.column_stack([TABLE["x"], TABLE["k"], TABLE["g"] == "green", TABLE["g"] == "red"])
    expected = TheirRegression().fit(X, TABLE["y"]).predict(X)
    assert frame.columns.tolist() == ["predicted y"]
    np.testing.assert_allclose(frame["predicted y"], expected, rtol=1e-9, atol=1e-9)
    assert "the file has the target: R² " in err


def test_classes_come_with_probabilities(capsys):
    frame, err = predicted(capsys, saved(target="g"), TABLE)
    assert frame.columns.tolist() == [
        "predicted g",
        "probability blue",
        "probability green",
        "probability red",
    ]
    np.testing.assert_allclose(frame.iloc[:, 1:].sum(axis=1), 1.0, rtol=1e-12)
    most = frame.columns[1:].str.removeprefix("probability ").to_numpy()
    assert (most[frame.iloc[:, 1:].to_numpy().argmax(axis=1)] == frame["predicted g"]).all()
    assert "accuracy" in err


def test_columns_go_by_name(capsys):
    model = saved()
    plain, _ = predicted(capsys, model, {name: TABLE[name] for name in "xkg"})
    other = {"extra": np.arange(N), "g": TABLE["g"], "k": TABLE["k"], "x": TABLE["x"]}
    frame, err = predicted(capsys, model, other)
    pd.testing.assert_frame_equal(frame, plain)
    assert "not used by the model: extra" in err


def test_a_missing_column_is_named(capsys):
    model = saved()
    Path("new.csv").write_text(text({name: TABLE[name] for name in "xg"}))
    assert main(["predict", model, "new.csv", "--output", "p.csv"]) == 2
    assert "lacks 'k', which the model needs" in capsys.readouterr().err
    assert not Path("p.csv").exists()


def test_gaps_and_levels_that_the_fit_has_not_seen(capsys):
    model = saved()
    new = {"x": ["", "oops", "1.5"], "k": [1, 2, 3], "g": ["violet", "red", ""]}
    frame, err = predicted(capsys, model, new)
    assert "x: 1 cell(s) are no number and count as gaps, 'oops' in line 3 first" in err
    assert "g: the fit has not seen 'violet', '(missing)'" in err
    # A gap is the median, a strange level the level of reference (blue, the first).
    median = float(np.median(TABLE["x"]))
    same = {"x": [median, median, "1.5"], "k": [1, 2, 3], "g": ["blue", "red", "blue"]}
    expected, _ = predicted(capsys, model, same)
    pd.testing.assert_frame_equal(frame, expected)


def test_one_row_and_files_without_a_header(capsys):
    model = saved(target="3", header=False)
    frame, _ = predicted(capsys, model, text(TABLE, header=False))
    single = {name: values[:1] for name, values in TABLE.items()}
    one, _ = predicted(capsys, model, text(single, header=False), "--header", "none")
    np.testing.assert_allclose(one.iloc[0], frame.iloc[0])


def test_columns_without_names_go_by_place_with_and_without_the_target(capsys):
    table = {"y": TABLE["y"], "x": TABLE["x"], "g": TABLE["g"]}
    model = saved(table, target="1", header=False)
    full, _ = predicted(capsys, model, text(table, header=False))
    del table["y"]
    part, err = predicted(capsys, model, text(table, header=False))
    pd.testing.assert_frame_equal(part, full)
    assert "those of the fit without the target, column_1" in err
    Path("new.csv").write_text(text({"x": TABLE["x"]}, header=False))
    assert main(["predict", model, "new.csv"]) == 2
    assert "has 1 columns without names" in capsys.readouterr().err


def test_output_goes_to_a_file(capsys):
    frame, err = predicted(capsys, saved(), TABLE, "--output", "p.csv")
    assert frame is None
    assert "predictions of 'y': p.csv" in err
    assert len(pd.read_csv("p.csv")) == N


def test_money_dates_and_categories_of_numbers_are_read_as_in_the_fit(capsys):
    rng = np.random.default_rng(0)
    table = {
        "price": [f'"${v:,.2f}"' for v in rng.uniform(1e3, 1e5, size=N)],
        "day": [f"{1 + i % 28:02d}/{1 + i // 28:02d}/2020" for i in range(N)],
        "kind": rng.integers(0, 3, size=N),
        "y": TABLE["y"],
    }
    Path("t.csv").write_text(text(table))
    argv = ["t.csv", "--target", "y", "--categorical", "kind", "--iterations", "5"]
    assert main([*argv, "--save", "m.joblib"]) == 0
    frame, _ = predicted(capsys, "m.joblib", table)
    # Few rows, as the guesses on them would go astray: the model knows what the columns are.
    few, err = predicted(capsys, "m.joblib", {name: values[:2] for name, values in table.items()})
    pd.testing.assert_frame_equal(few, frame.iloc[:2])
    assert "count as gaps" not in err


def test_the_saved_pipeline_works_from_python():
    model = joblib.load(saved())
    assert np.corrcoef(model.predict(pd.DataFrame(TABLE)), TABLE["y"])[0, 1] > 0.95


@pytest.mark.parametrize("suffix", ["joblib", "pkl", "skops"])
def test_what_is_no_model(capsys, suffix):
    if suffix == "skops":
        pytest.importorskip("skops")
    Path("new.csv").write_text(text(TABLE))
    assert main(["predict", f"none.{suffix}", "new.csv"]) == 2
    assert "no model 'none." in capsys.readouterr().err
    Path(f"m.{suffix}").write_bytes(b"nonsense")
    assert main(["predict", f"m.{suffix}", "new.csv"]) == 2
    err = capsys.readouterr().err
    assert "is no model that --save wrote" in err
    assert err.count("\n") == 1
    Path("other.pkl").write_bytes(pickle.dumps(TheirRegression()))
    assert main(["predict", "other.pkl", "new.csv"]) == 2
    assert "holds LinearRegression" in capsys.readouterr().err


def test_skops_builds_nothing_of_strangers(capsys):
    io_ = pytest.importorskip("skops.io")
    model = joblib.load(saved())
    model.steps[-1] = ("model", Stranger())
    io_.dump(model, "m.skops")
    Path("new.csv").write_text(text(TABLE))
    assert main(["predict", "m.skops", "new.csv"]) == 2
    assert "types that gdregress does not save" in capsys.readouterr().err


class Stranger(TheirRegression):
    """A type that is not ours."""
