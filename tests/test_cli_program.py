"""The program as a process: interruption, missing packages, pipes, and how it is started."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tables import columns, text

import gdregress
from gdregress.cli import main
from gdregress.cli.arguments import fit_parser, predict_parser
from gdregress.cli.fitting import Study

ROOT = Path(gdregress.__file__).parent.parent


def run(*argv, **keywords):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "gdregress", *argv],
        capture_output=True,
        text=True,
        env=environment,
        encoding="utf-8",
        **keywords,
    )


def test_bad_input_ends_with_status_2_and_one_line(tmp_path):
    result = run("none.csv", "--target", "y", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1


def test_version_and_help(capsys):
    for option, expected in [("--version", gdregress.__version__), ("--help", "gdregress predict")]:
        with pytest.raises(SystemExit) as caught:
            main([option])
        assert caught.value.code == 0
        assert expected in capsys.readouterr().out


def test_help_of_predict(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert "MODEL" in capsys.readouterr().out


def test_piped_output_is_plain_and_a_closed_pipe_no_error(tmp_path):
    (tmp_path / "t.csv").write_text(text(columns()))
    result = run("-", "--target", "y", "--iterations=5", cwd=tmp_path, input=text(columns()))
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout
    assert "regression of 'y' on stdin" in result.stdout
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f"{sys.executable} -m gdregress t.csv --target y --iterations 5 | head -1"
    piped = subprocess.run(
        command, shell=True, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert piped.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_it_with_one_line(tmp_path, monkeypatch, capsys):
    # A descent takes KeyboardInterrupt for its own, and the search would go on with the next one.
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(text(columns()))
    search = Study.search

    def interrupted(*arguments):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        return search(*arguments)

    monkeypatch.setattr(Study, "search", interrupted)
    # A shell has those whom it starts in the background ignore it.
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        argv = ["t.csv", "--target", "y", "--iterations", "100000000", "--save", "m.joblib"]
        assert main(argv) == 130
        assert capsys.readouterr() == ("", "gdregress: interrupted; nothing more is written\n")
        assert os.listdir() == ["t.csv"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, outside)


@pytest.mark.parametrize("package", ["pandas", "rich"])
def test_without_the_packages_of_the_extra(monkeypatch, capsys, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert main([]) == 2
    err = capsys.readouterr().err
    assert f"the command line needs {package}" in err
    assert "gdregress[cli,plot]" in err


def test_a_picture_without_matplotlib(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["--output", "a.png"]) == 2
    assert "--output needs matplotlib" in capsys.readouterr().err


def test_memory_that_does_not_suffice(monkeypatch, capsys):
    from gdregress.cli import reading

    def fails(*_, **__):
        raise MemoryError

    monkeypatch.setattr(reading, "_parse", fails)
    path = Path(__file__).with_name("tables.py")
    assert main([str(path), "--target", "1", "--delimiter", ","]) == 2
    assert "does not fit into memory" in capsys.readouterr().err


def test_the_page_names_every_option():
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`?(--[a-z]+)", page))
    options = {
        option
        for parser in (fit_parser(), predict_parser())
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    assert told <= options
    assert options - told <= {"--help", "--data"}
