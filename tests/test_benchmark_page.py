"""The page of results is written from a kept run alone, and says what is lost as well."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FIGURE = {"bound": 1.0, "at_least": True, "unit": "×"}
ENVIRONMENT = {
    "python": "3.11",
    "system": "Linux",
    "machine": "x86_64",
    "processor": "Some Processor",
    "cpus": 2,
    "versions": {"numpy": "2.4", "glum": None},
    "thread_pools": [{"internal_api": "openblas", "version": "0.3", "architecture": "Haswell"}],
}


def row(case, peer, ratio, threads, **others):
    verdict = "met" if ratio >= 1.0 else "NOT MET"
    return {
        "group": "kinds",
        "case": case,
        "peer": peer,
        "ours": 1.0,
        "theirs": ratio,
        "unit": "s",
        "value": ratio,
        "figure": FIGURE,
        "our_error": 1e-9,
        "peer_error": 5e-9,
        "note": "",
        "threads": threads,
        "shape": "100 × 10",
        "spread": [0.9 * ratio, 1.1 * ratio],
        "facts": {
            "iterations": 7,
            "passes": 12.5,
            "matrices": 1,
            "loosest tol": 0.1,
            "time at the loosest tol": 0.8,
        },
        "verdict": verdict,
        **others,
    }


def run_of(rows, command="python -m benchmarks kinds"):
    curve = {
        "case": "spam, standardised, alpha 1/m",
        "label": "scikit-learn lbfgs",
        "seconds": [0.1, 0.2],
        "suboptimality": [1e-3, 1e-9],
    }
    run = {
        "command": command,
        "date": "2026-01-01",
        "groups": ["kinds"],
        "quick": False,
        "note": "On a machine at rest.",
        "environment": ENVIRONMENT,
    }
    return {"runs": [run], "rows": rows, "curves": [curve]}


ROWS = [
    row("spam, raw, alpha 1/m", "scikit-learn lbfgs, tol=1e-05", 8.0, 1),
    row("spam, raw, alpha 1/m", "glum irls, tol=1e-05", 0.5, 1),
    row("spam, raw, alpha 1/m", "scikit-learn lbfgs, tol=1e-05", 2.0, 2),
    row("spam, standardised, alpha 1/m", "scikit-learn lbfgs, tol=1e-05", 2.0, 1),
]


def test_the_page_of_a_kept_run(tmp_path):
    pytest.importorskip("matplotlib")
    kept, page = tmp_path / "run.json", tmp_path / "docs" / "page.md"
    kept.write_text(json.dumps(run_of(ROWS)))
    command = [sys.executable, "-m", "benchmarks", "--from", str(kept), "--page", str(page)]
    subprocess.run(command, cwd=ROOT, check=True)
    text = page.read_text(encoding="utf-8")
    # The nearest peer counts: (0.5 × 2)^(1/2) on one thread, 2 on two.
    assert "1 thread: geometric mean of the ratio to the nearest peer 1.00 over 2 tables" in text
    assert "2 threads: geometric mean of the ratio to the nearest peer 2.00 over 1 tables" in text
    line = next(line for line in text.splitlines() if line.startswith("| spam, raw"))
    assert "| glum irls 0.5 s | **0.50** | 0.62 |" in line
    # At the loosest tolerance gdregress takes 0.8 of the time.
    assert "Tuned as the peers are: 1.25, from 0.62." in text
    assert "Tuned as the peers are: 2.50, from 2.50." in text
    assert line.endswith("| 7 | 12.5 | 1 |")
    lost = text[text.index("## What is not met") :]
    assert lost.count("glum irls") == 1
    for fact in (
        "Some Processor",
        "numpy 2.4",
        "python -m benchmarks kinds",
        "2026-01-01",
        "at rest",
    ):
        assert fact in text
    for name in ("benchmark-ratios.png", "benchmark-curves.png"):
        assert f"(images/{name})" in text
        assert (page.parent / "images" / name).stat().st_size > 1000


def test_a_later_instalment_replaces_what_it_measured_anew():
    program = """
import json, sys
from benchmarks.report import merged
print(json.dumps(merged(*json.load(sys.stdin))))
"""
    later = row("spam, raw, alpha 1/m", "scikit-learn newton-cg, tol=1e-05", 3.0, 1)
    both = [run_of(ROWS), run_of([later], "python -m benchmarks kinds --only spam")]
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        check=True,
        input=json.dumps(both),
        capture_output=True,
        text=True,
    )
    found = json.loads(answer.stdout)
    assert found["rows"] == [*ROWS[2:], later]
    assert len(found["runs"]) == 2
    assert len(found["curves"]) == 1
