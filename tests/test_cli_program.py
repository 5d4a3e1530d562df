"""The program as a process: interruption, missing packages, pipes, and how it is started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tables import columns, text

import gdregress
from gdregress.cli import main

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
def test_ctrl_c_ends_it_with_one_line(tmp_path):
    (tmp_path / "t.csv").write_text(text(columns()))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    argv = ["t.csv", "--target", "y", "--iterations", "100000000", "--save", "m.joblib"]
    with subprocess.Popen(
        [sys.executable, "-m", "gdregress", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    ) as process:
        time.sleep(4.0)  # until the search, which would take hours
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == "gdregress: interrupted; nothing more is written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


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
