"""Types: under ``mypy --strict`` a programme of a user is right, and mistakes are found."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """The lines that mypy finds fault with, by file: (line number, kind)."""
    pytest.importorskip("mypy", reason="mypy comes with the extra 'lint'; the CI installs it")
    folder = tmp_path_factory.mktemp("mypy")
    # Away from the configuration of the package, which a user does not have.
    config = folder / "mypy.ini"
    config.write_text("[mypy]\nfollow_imports = silent\nignore_missing_imports = True\n")
    files = sorted((HERE / "typed").glob("*.py"))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir"]
    result = subprocess.run(
        [*command, folder, "--config-file", config, *files],
        capture_output=True,
        text=True,
        cwd=HERE.parent,
    )
    assert not result.stderr, result.stderr
    found = re.findall(r"^(.*?):(\d+): error: .* \[([\w-]+)\]$", result.stdout, re.MULTILINE)
    assert len(found) == result.stdout.count(": error: "), result.stdout
    by_file = {file.name: [] for file in files}
    for file, line, kind in found:
        by_file[Path(file).name].append((int(line), kind))
    return by_file


@pytest.mark.slow
def test_a_programme_of_a_user(faults):
    assert faults["user.py"] == []


@pytest.mark.slow
def test_mistakes_are_found(faults):
    lines = (HERE / "typed" / "mistakes.py").read_text(encoding="utf-8").splitlines()
    expected = [
        (number, line.split("# ")[1]) for number, line in enumerate(lines, 1) if "  # " in line
    ]
    assert len(expected) > 5
    assert faults["mistakes.py"] == expected


def test_the_programme_runs():
    command = [sys.executable, "-W", "ignore", HERE / "typed" / "user.py"]
    subprocess.run(command, check=True, cwd=HERE.parent)
