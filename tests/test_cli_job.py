"""The main job from the command line: fits, coefficients, verdicts, files, and bad input."""

import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from sklearn.metrics import r2_score
from tables import columns, groups, text

from gdregress.cli import main
from gdregress.cli.arguments import parse
from gdregress.cli.fitting import Fit, verdict
from gdregress.cli.inference import coefficients
from gdregress.cli.job import prepare, study_of
from gdregress.history import StopReason

PNG, PDF = b"\x89PNG\r\n\x1a\n", b"%PDF"
TABLE = columns()
N = len(TABLE["y"])


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def without_matplotlib(monkeypatch):
    """Drawing takes longer than all the rest."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def written(table, name="t.csv"):
    content = table if isinstance(table, str) else text(table)
    Path(name).write_text(content, encoding="utf-8")
    return name


def study_and_coefficients(table, *options):
    """Without the search, which takes most of the time."""
    arguments = parse([written(table), "--target", "y", *options])
    study = study_of(prepare(arguments), arguments)
    return study, coefficients(study, study.fit(on_all=True))


def coefficients_of(table, *options):
    return study_and_coefficients(table, *options)[1]


def fit_lines(out, first_words):
    """The cells of the rows that start with `first_words`."""
    lines = [line for line in out.splitlines() if line.startswith(first_words)]
    return [re.split(r"\s{2,}", line) for line in lines]


def labels_of(table, n_classes):
    noise = np.random.default_rng(3).normal(size=N)
    cuts = np.quantile(table["x"] + noise, np.linspace(0, 1, n_classes + 1)[1:-1])
    return np.array(["low", "mid", "top"])[np.digitize(table["x"] + noise, cuts)]


def test_a_regression(capsys, without_matplotlib):
    assert main([written(TABLE), "--target", "y", "--iterations", "50"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "regression of 'y' on t" in out
    ((_, score, *_rest),) = fit_lines(out, "normal_equations")
    assert float(score) > 0.95
    ((_, _, _, _, off, left, *_),) = fit_lines(out, "nesterov")
    assert 0 <= float(off) < 1e-4
    assert 0 <= float(left) < 1e-8
    assert fit_lines(out, "search")
    assert "no plot: matplotlib is missing" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_classification(capsys, without_matplotlib, n_classes):
    table = {**TABLE, "y": labels_of(TABLE, n_classes)}
    assert main([written(table), "--target", "y", "--iterations", "50"]) == 0
    out, _ = capsys.readouterr()
    assert "classification of 'y' on t" in out
    assert "log-odds" in out
    assert fit_lines(out, "newton")


@pytest.mark.parametrize("name", ["diabetes", pytest.param("digits", marks=pytest.mark.slow)])
def test_bundled_data(capsys, name):
    assert main(["--data", name, "--iterations", "20"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert Path(f"gdregress-{name}.png").read_bytes().startswith(PNG)
    assert f"loss curves: gdregress-{name}.png" in out


def test_coefficients_are_those_of_statsmodels_in_the_units_of_the_table():
    table = {"x": TABLE["x"] * 1e6 + 1e9, "k": TABLE["k"], "y": TABLE["y"]}
    found = coefficients_of(table)
    X = sm.add_constant(np.column_stack([(table["x"] - 1e9) / 1e6, table["k"]]))
    theirs = sm.OLS(table["y"], X).fit()
    ours = found.rows
    assert [row.name for row in ours] == ["(intercept)", "x", "k"]
    unit = np.array([1e-6, 1.0])
    np.testing.assert_allclose([r.estimate for r in ours[1:]], theirs.params[1:] * unit, rtol=1e-9)
    np.testing.assert_allclose([r.error for r in ours[1:]], theirs.bse[1:] * unit, rtol=1e-9)
    np.testing.assert_allclose([r.p for r in ours[1:]], theirs.pvalues[1:], rtol=1e-6)
    spread = np.std([table["x"], table["k"]], axis=1)
    np.testing.assert_allclose(
        [row.per_deviation for row in ours[1:]], theirs.params[1:] * unit * spread, rtol=1e-9
    )
    assert f"R² {theirs.rsquared:.4f}" in found.summary[0]


def test_coefficients_of_categories_weights_and_clusters():
    weights = np.random.default_rng(5).uniform(0.5, 2.0, size=N)
    table = {**TABLE, "g": groups(), "w": weights, "block": np.arange(N) // 6}
    frame = pd.DataFrame(table)
    names = ["(intercept)", "x", "k", "g=green", "g=red"]
    theirs = smf.wls("y ~ x + k + C(g)", frame, weights=weights).fit()
    order = ["Intercept", "x", "k", "C(g)[T.green]", "C(g)[T.red]"]
    ours = coefficients_of(table, "--weights", "w", "--drop", "block").rows
    assert [row.name for row in ours] == names
    np.testing.assert_allclose([row.estimate for row in ours], theirs.params[order], rtol=1e-8)
    np.testing.assert_allclose([row.error for row in ours], theirs.bse[order], rtol=1e-8)

    cluster = smf.ols("y ~ x + k + C(g)", frame).fit(
        cov_type="cluster", cov_kwds={"groups": frame["block"]}
    )
    ours = coefficients_of(table, "--groups", "block", "--drop", "w").rows
    np.testing.assert_allclose([row.error for row in ours], cluster.bse[order], rtol=1e-8)


def test_coefficients_without_standard_errors_say_why():
    separable = {**TABLE, "y": np.where(TABLE["x"] > 0, "high", "low")}
    study, found = study_and_coefficients(separable)
    assert study.alpha == 1 / len(study.train)
    assert found.statistic is None
    assert "separated" in found.notes[0]
    # The estimates reproduce the fit's own linear predictor.
    estimates = {row.name: row.estimate for row in found.rows}
    z = estimates["(intercept)"] + estimates["x"] * TABLE["x"] + estimates["k"] * TABLE["k"]
    theirs = study.fit(on_all=True).pipeline.predict_proba(study.X)[:, 1]
    np.testing.assert_allclose(theirs, 1 / (1 + np.exp(-z)), rtol=1e-9)
    study, penalised = study_and_coefficients(TABLE, "--alpha", "0.5")
    assert study.fit().model.alpha == 0.5
    assert "penalised" in penalised.notes[0]


def test_dependent_columns_are_left_out_of_the_table_by_name():
    table = {"x": TABLE["x"], "k": TABLE["k"], "sum": TABLE["x"] + TABLE["k"], "y": TABLE["y"]}
    found = coefficients_of(table)
    assert [row.name for row in found.rows] == ["(intercept)", "x", "k"]
    assert "combinations of the columns above them: sum" in found.notes[0]
    assert found.statistic == "t"


def test_dependent_columns_are_told_once(capsys, without_matplotlib):
    table = {"x": TABLE["x"], "k": TABLE["k"], "sum": TABLE["x"] + TABLE["k"], "y": TABLE["y"]}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main([written(table), "--target", "y", "--iterations", "20"]) == 0
    assert [str(w.message) for w in caught if "combinations" in str(w.message)] == []
    assert "note on the exact fit" in capsys.readouterr().out


def test_a_column_that_determines_the_target_leaves_names_in_one_line(capsys, without_matplotlib):
    table = {"x": TABLE["x"], "gross": 1.19 * TABLE["y"], "k": TABLE["k"], "y": TABLE["y"]}
    assert main([written(table), "--target", "y", "--iterations", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("gross "))
    assert float(row.split()[3]) > 1e6
    assert any(line.startswith("(intercept) ") for line in lines)


def test_more_columns_than_rows(capsys, without_matplotlib):
    rng = np.random.default_rng(0)
    table = {f"x{j}": rng.normal(size=30).round(3) for j in range(50)}
    assert main([written({**table, "y": TABLE["y"][:30]}), "--target", "y"]) == 0
    out, _ = capsys.readouterr()
    assert "alpha = 1/m = 0.0455" in out
    assert "no standard errors" in out


@pytest.mark.parametrize("rows", [5, 8, 10, 16, 19])
def test_small_tables_are_fitted_too(capsys, without_matplotlib, rows):
    table = {name: values[:rows] for name, values in TABLE.items()}
    assert main([written(table), "--target", "y", "--iterations", "20"]) == 0
    out, _ = capsys.readouterr()
    assert f"{rows} rows to fit, none held out" in out
    assert ("Too few rows to cross-validate" in out) == (rows < 10)


def test_the_search_agrees_with_its_verdicts(capsys, without_matplotlib):
    assert main(["--data", "diabetes"]) == 0
    out, _ = capsys.readouterr()
    verdicts = dict(re.findall(r"([\d.]+) × automatic +\S+ +\S+ +(.+)", out))
    assert verdicts == {
        "0.01": "too small",
        "0.1": "good  <- chosen",
        "1": "good",
        "1.995": "too large",
        "2.2": "diverging",
    }


def test_verdicts_by_one_yardstick():
    class Model:
        def __init__(self, rate, reason=StopReason.MAX_ITER):
            self.learning_rate_, self.stop_reason_ = rate, reason

    def fit(*arguments):
        return Fit([Model(*arguments)], 0.0, [])

    chosen, best = fit(1.0), (0.6, 1e-4)
    assert verdict(chosen, best, chosen, best) == "good"
    assert verdict(fit(0.5), (0.595, 1e-2), chosen, best) == "good"
    assert verdict(fit(0.1), (0.3, 0.2), chosen, best) == "too small"
    assert verdict(fit(2.0), (0.3, 0.2), chosen, best) == "too large"
    assert verdict(fit(2.0), (0.3, 1e-6), chosen, best) == "overfits"
    assert verdict(fit(2.0, StopReason.DIVERGED), (0.6, 0.0), chosen, best) == "diverging"


def test_the_yardstick_is_the_loss_of_the_best_constant():
    study, _ = study_and_coefficients(TABLE)
    y = study.y[study.train]
    assert study.constant_loss() == pytest.approx(np.var(y) / 2, rel=1e-12)
    exact, constant = study.fit(), study.fit(learning_rate=1e-9, max_iter=1, tol=0)
    constant.model.loss_ = study.constant_loss()
    share = 1 - r2_score(y, exact.pipeline.predict(study.X.iloc[study.train]))
    assert study.left(exact, exact) == 0.0
    assert study.left(constant, exact) == pytest.approx(1 - share, rel=1e-12)
    study, _ = study_and_coefficients({**TABLE, "y": labels_of(TABLE, 2)})
    share = np.mean(study.y[study.train] == "low")
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert study.constant_loss() == pytest.approx(entropy, rel=1e-12)


def test_preparation_is_fitted_on_the_rows_to_fit_alone():
    # The median of the column that fills its gaps must not see the rows held out.
    table = {**TABLE, "x": TABLE["x"].astype(str).astype(object)}
    table["x"][::7] = ""
    study, _ = study_and_coefficients(table)
    seen = study.X["x"].iloc[study.train]
    imputer = study.fit().pipeline["prepare"].named_transformers_["numbers"]
    assert imputer.statistics_[0] == np.nanmedian(seen)
    assert len(study.test) == 15


def test_groups_are_never_split():
    table = {**TABLE, "block": np.arange(N) // 6}
    study, _ = study_and_coefficients(table, "--groups", "block")
    train, test = (set(study.groups[rows]) for rows in (study.train, study.test))
    assert train
    assert test
    assert not train & test


def test_weights_count_like_repeated_rows():
    counts = np.random.default_rng(0).integers(1, 4, size=N)
    few, _ = study_and_coefficients({**TABLE, "w": counts}, "--weights", "w")
    repeated = {name: np.repeat(values, counts) for name, values in TABLE.items()}
    many, _ = study_and_coefficients(repeated)
    new = pd.DataFrame(TABLE)
    np.testing.assert_allclose(
        few.fit(on_all=True).pipeline.predict(new),
        many.fit(on_all=True).pipeline.predict(new),
        rtol=1e-9,
    )


@pytest.mark.parametrize(("suffix", "start"), [("png", PNG), ("pdf", PDF), ("svg", b"<?xml")])
def test_the_suffix_decides_what_the_picture_is(suffix, start):
    assert main([written(TABLE), "--target", "y", "--iterations", "5", f"--output=a.{suffix}"]) == 0
    assert Path(f"a.{suffix}").read_bytes().startswith(start)
    assert sorted(path.name for path in Path().iterdir()) == [f"a.{suffix}", "t.csv"]


@pytest.mark.parametrize("target", ["y", "g"])
def test_the_report_is_one_file_with_everything(target):
    table = {"x <b>": TABLE["x"], "k": TABLE["k"], "g": groups(), "y": TABLE["y"]}
    argv = [written(table), "--target", target, "--iterations", "5", "--report", "a.html"]
    assert main(argv) == 0
    page = Path("a.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert "x &lt;b&gt;" in page
    assert "<b>" not in page
    for heading in ("Coefficients", "Fits", "Search over learning rates"):
        assert f"<h2>{heading}" in page
    # Nothing is loaded from elsewhere, and no id stands twice.
    assert not re.findall(
        r'(?:src|href)="(?!#|data:)[^"]*"', re.sub(r'xmlns[^"]*"[^"]*"', "", page)
    )
    assert "<script" not in page
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)


BAD = {
    "no target": ([], "--target is needed with 't.csv'; its columns are 'x', 'k', 'y'"),
    "another target": (["--target", "z"], "no column 'z' in 't.csv'"),
    "no such folder": (["--target", "y", "--output", "no/a.png"], "there is no folder 'no'"),
    "another picture": (["--target", "y", "--output", "a.gif"], "must end in .png, .svg, .pdf"),
    "text for a regression": (["--target", "g", "--task", "regression"], "is text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2(capsys, case):
    options, message = BAD[case]
    table = {**TABLE, "g": groups()} if "g" in options else TABLE
    assert main(["--data", written(table), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gdregress: ")
    assert err.count("\n") == 1
    assert message in err


def test_what_a_fit_refuses_is_one_line(capsys):
    labels = labels_of(TABLE, 2)
    table = {**TABLE, "w": np.where(labels == "low", 0, 1), "y": labels}
    assert main([written(table), "--target", "y", "--weights", "w"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gdregress: cannot fit 'y': ")
    assert err.count("\n") == 1


def test_bundled_data_have_their_own_target(capsys):
    assert main(["--data", "diabetes", "--target", "y"]) == 2
    assert "--target and --task are for files" in capsys.readouterr().err


def test_a_name_may_hold_what_rich_would_take_for_markup(capsys, without_matplotlib):
    table = {"[bold]x[/bold]": TABLE["x"], ":smile:": TABLE["k"], "y": TABLE["y"]}
    assert main([written(table), "--target", "y", "--iterations", "5"]) == 0
    out, _ = capsys.readouterr()
    assert "[bold]x[/bold]" in out
    assert ":smile:" in out


def test_a_failed_write_leaves_what_was_there(monkeypatch, capsys):
    from matplotlib.figure import Figure

    Path("a.png").write_bytes(b"old")

    def fails(_, file, **__):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fails)
    argv = [written(TABLE), "--target", "y", "--iterations", "5", "--output", "a.png"]
    assert main(argv) == 2
    assert "cannot write 'a.png': No space left" in capsys.readouterr().err
    assert Path("a.png").read_bytes() == b"old"
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "t.csv"]
