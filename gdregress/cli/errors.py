"""What the user gave cannot be used: one line, no traceback."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["InputError", "Interrupted", "listed"]


class InputError(Exception):
    """What the user gave cannot be used; the message says what, why and what helps, in one line."""


class Interrupted(BaseException):
    """Ctrl-C. No ``KeyboardInterrupt``: a descent takes that for its own and goes on after it."""


def listed(names: Sequence[object], most: int = 8) -> str:
    """The first names of many, quoted as Python would."""
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(repr(str(name)) for name in names[:most]) + more
