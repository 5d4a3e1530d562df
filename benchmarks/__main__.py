"""``python -m benchmarks``: measure gdregress against its peers, print, and store."""

import argparse
import json
import shlex
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from . import accuracy, classification, descent, least_squares, memory, minibatch
from .page import write_page
from .report import Report, environment

GROUPS = (
    "least_squares",
    "accuracy",
    "logistic",
    "softmax",
    "tables",
    "kinds",
    "small",
    "sparse",
    "memory",
    "descent",
    "minibatch",
)


@dataclass(frozen=True)
class Options:
    """What the command line asked for.

    Attributes
    ----------
    quick : bool
        A twentieth of the rows: a test of the runner, not of the package.
    only : str
        Cases whose name contains this, or matches it as a shell pattern.
    repeats : int
        Pairs of timed runs; short fits are repeated more often.
    budget : float
        Seconds one fit of a peer may take while it is being tuned.
    tables : tuple of Path
        Folders of further tables.
    threads : tuple of int or None
        Numbers of threads to measure classification with; None is what the system gives.
    fast : bool
        Less patience with peers that are behind, and fewer repetitions.
    """

    quick: bool = False
    only: str = ""
    repeats: int = 7
    budget: float = 60.0
    tables: tuple = ()
    threads: tuple = (None,)
    fast: bool = False

    @property
    def small(self):
        """Seconds for the pairs of a short fit."""
        return 0.4 if self.fast else 1.0

    @property
    def large(self):
        """Seconds for the pairs of a long fit."""
        return 6.0 if self.fast else 120.0

    def wants(self, name):
        pattern = self.only.lower()
        return pattern in name.lower() or fnmatch(name.lower(), pattern)

    def size(self, full):
        return max(full // 20, 500) if self.quick else full


def parse(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure gdregress against its peers. Run on an otherwise idle machine.",
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"all, {', '.join(GROUPS)}")
    parser.add_argument("--quick", action="store_true", help="small shapes; figures not judged")
    parser.add_argument("--only", default="", metavar="PATTERN", help="part of a case's name")
    parser.add_argument("--repeats", type=int, metavar="N", help="pairs of timed runs (7)")
    parser.add_argument("--budget", type=float, metavar="S", help="seconds a peer's fit may take")
    parser.add_argument(
        "--tables",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="more tables: csv or data; may be given again",
    )
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[None], metavar="N", help="numbers of threads"
    )
    parser.add_argument("--fast", action="store_true", help="less patience, fewer repetitions")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep what was measured; adds to what is there"
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write the page of results, with its pictures"
    )
    parser.add_argument(
        "--from", type=Path, dest="source", metavar="FILE", help="measure nothing: a kept run"
    )
    parser.add_argument("--note", default="", metavar="TEXT", help="what to know about this run")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    args = parser.parse_args(arguments)
    if args.source and not args.page:
        parser.error("--from FILE draws the page of a kept run: give --page FILE as well")
    unknown = set(args.groups) - {"all", *GROUPS}
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    return args


def main(arguments=None):
    """Run the groups asked for, or draw the page of a run that was kept."""
    args = parse(arguments)
    if args.source:
        write_page(json.loads(args.source.read_text(encoding="utf-8")), args.page)
        return
    options = Options(
        quick=args.quick,
        only=args.only,
        repeats=args.repeats or (3 if args.quick else 5 if args.fast else 7),
        budget=args.budget or (5.0 if args.quick else 10.0 if args.fast else 60.0),
        tables=tuple(args.tables),
        threads=tuple(args.threads),
        fast=args.fast,
    )
    groups = GROUPS if not args.groups or "all" in args.groups else args.groups
    if args.list:
        _list(groups, options)
        return
    command = _command(sys.argv[1:] if arguments is None else arguments)
    report = Report(quick=args.quick, command=command, path=args.json, remark=args.note)
    print(_machine())
    try:
        for group in groups:
            _runner(group)(options, report)
    finally:
        report.summary()
        if args.page:
            kept = args.json and json.loads(args.json.read_text(encoding="utf-8"))
            write_page(kept or report.content(), args.page)


def _command(arguments):
    """What was typed, without the folders of this machine."""
    texts, hidden = [], False
    for text in map(str, arguments):
        texts.append("FOLDER" if hidden else shlex.quote(text))
        hidden = text == "--tables"
    return " ".join(["python -m benchmarks", *texts])


def _runner(group):
    modules = {
        "least_squares": least_squares.run,
        "accuracy": accuracy.run,
        "memory": memory.run,
        "descent": descent.run,
        "minibatch": minibatch.run,
    }
    if group in modules:
        return modules[group]
    cases = getattr(classification, group)
    return lambda options, report: classification.run(group, cases(options), options, report)


def _list(groups, options):
    names = {
        "least_squares": lambda: [case.name for case in least_squares.cases(options)],
        "accuracy": lambda: ["condition 1e2, ... to condition 1e14, ..."],
        "memory": lambda: [f"{e} {x}" for x in memory.LAYOUTS for e in _estimators()],
        "descent": lambda: list(descent.CASES),
        "minibatch": lambda: [case.name for case in minibatch.cases(options)],
    }
    for group in groups:
        print(group)
        listed = names.get(group)
        found = listed() if listed else [c.name for c in getattr(classification, group)(options)]
        for name in found:
            print(f"    {name}")


def _estimators():
    return [name for key, name in memory.ESTIMATORS.items() if key != "sklearn"]


def _machine():
    facts = environment()
    versions = ", ".join(f"{k} {v}" for k, v in facts["versions"].items() if v)
    return f"Python {facts['python']}, {facts['cpus']} CPUs, {versions}"


if __name__ == "__main__":
    main()
