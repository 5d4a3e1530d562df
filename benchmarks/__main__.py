"""``python -m benchmarks``: measure gdregress against its peers, print, and store."""

import argparse
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from . import accuracy, classification, descent, least_squares, memory
from .report import Report, environment

GROUPS = (
    "least_squares",
    "accuracy",
    "logistic",
    "softmax",
    "tables",
    "kinds",
    "sparse",
    "memory",
    "descent",
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
    tables : Path or None
        Folder of further tables.
    """

    quick: bool = False
    only: str = ""
    repeats: int = 7
    budget: float = 60.0
    tables: Path | None = None

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
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="more tables: csv or data")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="suboptimality against time")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    args = parser.parse_args(arguments)
    unknown = set(args.groups) - {"all", *GROUPS}
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    return args


def main(arguments=None):
    """Run the groups asked for."""
    args = parse(arguments)
    options = Options(
        quick=args.quick,
        only=args.only,
        repeats=args.repeats or (3 if args.quick else 7),
        budget=args.budget or (5.0 if args.quick else 60.0),
        tables=args.tables,
    )
    groups = GROUPS if not args.groups or "all" in args.groups else args.groups
    if args.list:
        _list(groups, options)
        return
    report = Report(quick=args.quick)
    print(_machine())
    try:
        for group in groups:
            _runner(group)(options, report)
    finally:
        report.summary()
        if args.json:
            report.write_json(args.json)
        if args.plot:
            report.plot(args.plot)


def _runner(group):
    modules = {
        "least_squares": least_squares.run,
        "accuracy": accuracy.run,
        "memory": memory.run,
        "descent": descent.run,
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
