"""What a parameter may be: a table beside each constructor, and the one check of it.

    _ranges = {"beta": Range("a number in [0, 1)", float, low=0, high=1, closed="left"), ...}

Every message names the object, the parameter, what is accepted, and the value received.
"""

import math
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from inspect import signature
from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = ["NON_NEGATIVE", "POSITIVE", "SHARE", "TRUTH", "WHOLE", "Range", "check_ranges", "either"]


@dataclass(frozen=True)
class Range:
    """What is accepted: in words, as a kind of number within bounds, and as single values.

    Attributes
    ----------
    accepted : str
        The sentence of the error; ``{words}`` stands for the words.
    kind : {float, int, bool} or None
        A real or a whole number, or a truth value; None where there are only `words` and `others`.
    low, high : float
        The bounds of a number.
    closed : {"both", "left", "right", "neither"}
        Which of the bounds it may take.
    words : collection of str, or callable
        Words; where others may add to them, a table by these words or what lists them.
    optional : bool
        Whether None is accepted.
    others : callable, optional
        Given anything else, whether it is accepted.
    hint : callable, optional
        Given what is not accepted, what more there is to say, or nothing.
    """

    accepted: str
    kind: type | None = None
    low: float = -math.inf
    high: float = math.inf
    closed: str = "neither"
    words: Collection[str] | Callable[[], Collection[str]] = ()
    optional: bool = False
    others: Callable[[Any], bool] | None = None
    hint: Callable[[Any], str] | None = None

    def check(self, owner: str, name: str, value: Any) -> Any:
        """The value, a number as Python's own; ValueError or TypeError where it is not accepted."""
        is_plain = type(value) is self.kind
        if is_plain and self.low < value < self.high:
            return value
        if not is_plain:
            is_word = isinstance(value, str) and value in self._words()
            if is_word or (value is None and self.optional):
                return value
        if is_plain or self._is_of_kind(value):
            if not self._is_within(value):
                raise self._error(ValueError, owner, name, value)
            return self.kind(value)  # type: ignore[misc]
        if self.others is not None and self.others(value):
            return value
        is_near = isinstance(value, str) and self._words()
        is_near = is_near or (self.kind is int and isinstance(value, Real))
        raise self._error(ValueError if is_near else TypeError, owner, name, value)

    def _words(self) -> Collection[str]:
        return self.words() if callable(self.words) else self.words

    def _is_of_kind(self, value: Any) -> bool:
        is_truth = isinstance(value, (bool, np.bool_))
        if self.kind is None or self.kind is bool:
            return is_truth and self.kind is bool
        return isinstance(value, Integral if self.kind is int else Real) and not is_truth

    def _is_within(self, value: Any) -> bool:
        try:
            number = value if self.kind is int else float(value)
        except OverflowError:  # an integer beyond float64
            return False
        above = self.low <= number if self.closed in {"both", "left"} else self.low < number
        below = number <= self.high if self.closed in {"both", "right"} else number < self.high
        return above and below

    def _error(self, kind: type[Exception], owner: str, name: str, value: Any) -> Exception:
        hint = "" if self.hint is None else self.hint(value)
        accepted = self.accepted.replace("{words}", ", ".join(map(repr, self._words())))
        return kind(f"{name!r} of {owner} must be {accepted}; got {value!r}.{hint}")


TRUTH = Range("True or False", bool)
WHOLE = Range("an integer >= 1", int, low=1, closed="left")
POSITIVE = Range("a positive number", float, low=0.0)
NON_NEGATIVE = Range("a number >= 0", float, low=0.0, closed="left")
SHARE = Range("a number in [0, 1)", float, low=0.0, high=1.0, closed="left")


def either(words: Collection[str]) -> str:
    """Words as they are typed, in a sentence: ``'gd', 'momentum' or 'nesterov'``."""
    *others, last = map(repr, words)
    return f"{', '.join(others)} or {last}" if others else last


def check_ranges(owner: Any) -> dict[str, Any]:
    """The parameters of an object that have a range beside its constructor, each checked."""
    kind, checked = type(owner), {}
    defaults = _accepted_defaults(kind)
    for key, each in owner._ranges.items():
        value = getattr(owner, key)
        # Nearly all are the very objects that the constructor offers.
        is_default = key in defaults and value is defaults[key]
        checked[key] = value if is_default else each.check(kind.__name__, key, value)
    return checked


@cache
def _accepted_defaults(kind: type) -> dict[str, Any]:
    """The defaults of a constructor that their ranges accept as they are."""
    accepted, ranges = {}, kind._ranges  # type: ignore[attr-defined]
    for key, parameter in signature(kind).parameters.items():
        with suppress(KeyError, TypeError, ValueError):
            if ranges[key].check(kind.__name__, key, parameter.default) is parameter.default:
                accepted[key] = parameter.default
    return accepted
