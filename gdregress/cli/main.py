"""The program: what concerns the process, and the order of the work."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .arguments import parse
from .errors import InputError, Interrupted

__all__ = ["main", "run_program"]

_NEEDED = {"pandas": "cli", "rich": "cli"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status.

    Parameters
    ----------
    argv : list of str, default=None
        The arguments; None: those of the process.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        with _interruptible():
            arguments = parse(argv)
            _check_packages()
            if arguments.command == "predict":
                from .predicting import predict

                predict(arguments)
            else:
                _fit(arguments, argv)
    except InputError as error:
        _complain(str(error))
        return 2
    except MemoryError:
        _complain("the table does not fit into memory")
        return 2
    except (Interrupted, KeyboardInterrupt):
        _complain("interrupted; nothing more is written")
        return 130
    return 0


def _complain(text: str) -> None:
    sys.stderr.write(f"gdregress: {' '.join(text.split())}\n")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the program: a descent would catch KeyboardInterrupt and return what it has."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _check_packages() -> None:
    missing = [name for name in _NEEDED if not _has(name)]
    if missing:
        raise InputError(
            f"the command line needs {' and '.join(missing)}:"
            ' python -m pip install "gdregress[cli,plot]"'
        )


def _has(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None


def _fit(arguments: Any, argv: Sequence[str]) -> None:
    from ..callback import ProgressBar
    from .job import prepare, run
    from .printing import console, print_result
    from .writing import check_can_save, save_model

    has_matplotlib = _has("matplotlib")
    for option in ("output", "report"):
        if getattr(arguments, option) is not None and not has_matplotlib:
            raise InputError(
                f'--{option} needs matplotlib: python -m pip install "gdregress[plot]"'
            )
    if arguments.save is not None:
        check_can_save(arguments.save)
    prepared = prepare(arguments)
    try:
        result = run(prepared, arguments, [ProgressBar()])
    except ValueError as error:  # the fits' own words, such as of a class whose rows weigh nothing
        raise InputError(f"cannot fit {prepared.target.name!r}: {error}") from error
    out = console()
    print_result(result, out)
    out.print()
    if has_matplotlib:
        _draw(result, arguments.output or f"gdregress-{prepared.name}.png", out)
    else:
        out.print('no plot: matplotlib is missing (python -m pip install "gdregress[plot]")')
    if arguments.report is not None:
        from .report import report_html
        from .writing import whole_file

        with whole_file(arguments.report, "--report") as file:
            file.write_text(report_html(result, argv), encoding="utf-8")
        out.print(f"report: {arguments.report}", soft_wrap=True)
    if arguments.save is not None:
        save_model(result.whole.pipeline, arguments.save)
        out.print(
            f"model: {arguments.save} (the exact fit on all {len(result.study.y)} rows; gdregress"
            f" predict {arguments.save} FILE)",
            soft_wrap=True,
        )


def _draw(result: Any, path: str, out: Any) -> None:
    from .pictures import loss_figure
    from .writing import whole_file

    figure = loss_figure(result)
    with whole_file(path, "--output") as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=150)
    out.print(f"loss curves: {path}", soft_wrap=True)


def run_program() -> int:
    """``main`` as a process of its own: streams that lack letters, readers that leave early."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # θ on a terminal that has no Greek
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` say, has seen enough. Nothing may be flushed into its pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
