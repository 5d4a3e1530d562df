"""The command line: what may be asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .. import __version__
from .errors import InputError

__all__ = ["BUNDLED", "MODELS", "PICTURES", "fit_parser", "parse", "predict_parser"]

BUNDLED = {"diabetes": "regression", "breast_cancer": "classification", "digits": "classification"}
PICTURES = (".png", ".svg", ".pdf")
MODELS = (".skops", ".joblib", ".pkl")

_EPILOG = """\
gdregress predict MODEL FILE.csv    predict with a model that --save wrote

examples:
  gdregress                                  the bundled diabetes data
  gdregress houses.csv --target price        your table
  gdregress houses.csv --target price --save model.skops --report houses.html
  gdregress predict model.skops new.csv --output prices.csv
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; ``command`` is "fit" or "predict"."""
    predicting = bool(argv) and argv[0] == "predict"
    # `gdregress fit FILE` is what some will try.
    rest = argv[1:] if argv and argv[0] in {"predict", "fit"} else argv
    arguments = (predict_parser() if predicting else fit_parser()).parse_args(rest)
    arguments.command = "predict" if predicting else "fit"
    _check_reading(arguments)
    if not predicting:
        _check_fit(arguments)
    elif arguments.output and not Path(arguments.output).parent.is_dir():
        raise InputError(f"--output {arguments.output!r}: there is no such folder")
    return arguments


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are ours: one line, status 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; {self.prog} --help lists what may be asked for")


def _reading_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the file is written (found out where not given)")
    group.add_argument("--delimiter", metavar="CHAR", help="between cells; tab and blanks by name")
    group.add_argument("--decimal", choices=[".", ","], help="the decimal mark")
    group.add_argument("--encoding", metavar="NAME", help="such as utf-8, cp1252, utf-16")
    group.add_argument("--header", choices=["first", "none"], help="whether the first line names")
    group.add_argument(
        "--na", action="append", default=[], metavar="WORD", help="a cell that is a gap; repeatable"
    )


def fit_parser() -> argparse.ArgumentParser:
    """The options of the main job."""
    parser = _Parser(
        prog="gdregress",
        description="Fit a table exactly and by gradient descent, search over learning rates, and\n"
        "show the coefficients and what each fit did.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gdregress {__version__}")
    parser.add_argument(
        "file", nargs="?", metavar="FILE|NAME", help="a table, '-' for stdin, or a bundled data set"
    )
    parser.add_argument(
        "--data",
        metavar="FILE|NAME",
        help=f"the same as an option; bundled are {', '.join(BUNDLED)} (default: diabetes)",
    )
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict: name or number")
    parser.add_argument(
        "--task",
        choices=["auto", "regression", "classification"],
        default="auto",
        help="what the target is (default: guessed from its values, and told)",
    )
    group = parser.add_argument_group("columns (names or numbers from 1 on, separated by commas)")
    for name, text in [
        ("columns", "use only these"),
        ("drop", "leave these out"),
        ("categorical", "take these for categories, numbers or not"),
    ]:
        group.add_argument(f"--{name}", action="append", default=[], metavar="LIST", help=text)
    group.add_argument("--weights", metavar="COLUMN", help="how much each row counts")
    group.add_argument("--groups", metavar="COLUMN", help="rows of one group are never split")
    _reading_options(parser)
    group = parser.add_argument_group("fits")
    group.add_argument(
        "--iterations",
        type=int,
        default=200,
        metavar="N",
        help="iterations of each candidate learning rate (default: 200)",
    )
    group.add_argument(
        "--alpha",
        type=float,
        help="strength of the penalty (default: 0 where that has a solution; printed)",
    )
    group.add_argument("--seed", type=int, default=0, help="for the rows held out (default: 0)")
    group = parser.add_argument_group("what is written")
    group.add_argument("--output", metavar="FILE", help="loss curves: .png, .svg or .pdf")
    group.add_argument("--report", metavar="FILE", help="everything in one .html")
    group.add_argument("--save", metavar="FILE", help="the exact fit: .skops, .joblib or .pkl")
    return parser


def predict_parser() -> argparse.ArgumentParser:
    """The options of ``gdregress predict``."""
    parser = _Parser(
        prog="gdregress predict", description="Predict the rows of a table with a saved model."
    )
    parser.add_argument("model", metavar="MODEL", help="what --save wrote")
    parser.add_argument("file", metavar="FILE", help="a table with the same columns, or '-'")
    parser.add_argument("--output", metavar="FILE.csv", help="the predictions (default: stdout)")
    _reading_options(parser)
    return parser


def _check_reading(arguments: argparse.Namespace) -> None:
    delimiter = arguments.delimiter
    names = {"tab": "\t", r"\t": "\t", "blanks": r"\s+", "blank": r"\s+", "space": r"\s+"}
    names |= {" ": r"\s+", "comma": ",", "semicolon": ";"}
    if delimiter is not None:
        arguments.delimiter = delimiter = names.get(delimiter, delimiter)
        if (len(delimiter) != 1 and delimiter != r"\s+") or delimiter in "\"'\r\n":
            raise InputError(f"--delimiter takes one character; got {delimiter!r}")
        if arguments.decimal == delimiter:
            raise InputError(f"--delimiter and --decimal are both {delimiter!r}")


def _check_fit(arguments: argparse.Namespace) -> None:
    if arguments.file is not None and arguments.data is not None:
        raise InputError(f"two tables are given, {arguments.file!r} and --data {arguments.data!r}")
    arguments.data = arguments.file or arguments.data or "diabetes"
    if arguments.iterations < 1:
        raise InputError(f"--iterations takes a number from 1 on; got {arguments.iterations}")
    if arguments.alpha is not None and not 0.0 <= arguments.alpha < float("inf"):
        raise InputError(f"--alpha takes a number from 0 on; got {arguments.alpha}")
    if not 0 <= arguments.seed < 2**32:
        raise InputError(f"--seed takes a number from 0 to 2**32 - 1; got {arguments.seed}")
    for option, suffixes in [
        ("output", PICTURES),
        ("report", (".html", ".htm")),
        ("save", MODELS),
    ]:
        value = getattr(arguments, option)
        if value is not None:
            _check_path(f"--{option}", Path(value), suffixes)


def _check_path(option: str, path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse before the work begins what could not be written after it."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{option} {str(path)!r} must end in {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise InputError(f"{option} {str(path)!r}: there is no folder {str(path.parent)!r}")
    if path.is_dir():
        raise InputError(f"{option} {str(path)!r} is a folder")
