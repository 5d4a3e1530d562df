"""What text stands for: numbers as people write them, dates, times."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["as_dates", "as_labels", "as_numbers", "date_format", "is_time_of_day", "number_style"]

_CURRENCY = r"(?:[$€£¥₹₽₩]|US\$|USD|EUR|GBP|CHF|Rs\.?)"
_DRESS = re.compile(
    rf"^(?P<open>\()?(?P<sign1>[+\-−])?{_CURRENCY}?\s*(?P<sign2>[+\-−])?(?P<digits>[\d.,'’\s]*\d[\d.,'’\s]*"
    rf"(?:[eE][+-]?\d+)?)\s*(?:%|{_CURRENCY})?(?P<close>\))?$"
)
# A group mark stands between groups of three digits and nowhere else.
_STYLES = {
    ".": re.compile(r"(?:\d+|\d{1,3}(?:([,'’\s])\d{3})(?:\1\d{3})*)?(?:\.\d*)?(?:[eE][+-]?\d+)?"),
    ",": re.compile(r"(?:\d+|\d{1,3}(?:([.'’\s])\d{3})(?:\1\d{3})*)?(?:,\d*)?(?:[eE][+-]?\d+)?"),
}
_FORMATS = [
    *("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"),
    *("%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%fZ"),
    *("%Y-%m-%d %H:%M:%S%z", "%Y-%m-%dT%H:%M:%S%z", "%Y/%m/%d", "%Y/%m/%d %H:%M"),
    *("%Y/%m/%d %H:%M:%S", "%Y.%m.%d", "%Y-%m", "%Y/%m", "%YM%m", "%Y-%b", "%Y %b", "%Y %B"),
    *("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%Y", "%d.%m.%y", "%d-%m-%Y"),
    *("%m-%d-%Y", "%d-%m-%y", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%y %H:%M"),
    *("%d/%m/%y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %I:%M %p"),
    *("%m/%d/%Y %I:%M:%S %p", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d-%m-%Y %H:%M"),
    *("%m/%Y", "%m/%y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
    *(
        "%b %d %Y",
        "%b-%d-%Y",
        "%b %Y",
        "%B %Y",
        "%b-%Y",
        "%b-%y",
        "%d%b%Y",
        "%H:%M:%S",
        "%H:%M",
        "%I:%M %p",
        "%H.%M.%S",
    ),
]
# strptime has no quarters.
_QUARTER = "%YQ%q"
_QUARTERS = re.compile(r"(\d{4})[-: ]?Q([1-4])")
_MAYBE_DATE = re.compile(
    r"\d.*[-/.:\s].*\d|[A-Za-z]{3,9}[-\s]\d|\d{4}M\d|\d{1,2}[A-Za-z]{3}\d|\d (AM|PM)"
)


def _number(text: str, decimal: str) -> float:
    """The number that a dressed text stands for, or NaN."""
    match = _DRESS.match(text)
    if match is None or bool(match["open"]) != bool(match["close"]):
        return np.nan
    if match["sign1"] and match["sign2"]:
        return np.nan
    digits = match["digits"].strip()
    if not _STYLES[decimal].fullmatch(digits):
        return np.nan
    digits = re.sub(r"[,'’\s]" if decimal == "." else r"[.'’\s]", "", digits).replace(",", ".")
    try:
        value = float(digits)
    except ValueError:
        return np.nan
    if np.isinf(value):  # 1e400
        return np.nan
    negative = bool(match["open"]) != ((match["sign1"] or match["sign2"] or "+") in "-−")
    return -value if negative else value


def number_style(texts: Any, decimal: str = ".") -> tuple[str, float]:
    """The decimal mark with which most of `texts` are numbers, and their share.

    ``"1,234"`` may be either; the mark of the file goes first, and the other is taken only where it
    reads more of the texts.
    """
    other = "," if decimal == "." else "."
    shares = {}
    for mark in (decimal, other):
        shares[mark] = float(np.mean([not np.isnan(_number(t, mark)) for t in texts] or [False]))
    mark = other if shares[other] > shares[decimal] else decimal
    return mark, shares[mark]


def as_numbers(column: Any, decimal: str) -> Any:
    """Text as numbers; what is none becomes NaN, and what is a number already stays."""
    if pd.api.types.is_bool_dtype(column):
        return column.astype(float)
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(float) if column.dtype.kind != "f" else column
    found = {value: _number(str(value).strip(), decimal) for value in column.dropna().unique()}
    return column.map(found).astype(float)


def date_format(texts: Any) -> tuple[str, str | None] | None:
    """The format in which all of `texts` are dates, and a rival that reads them too; or None."""
    texts = pd.Series(list(texts), dtype=object)
    if all(_QUARTERS.fullmatch(str(text)) for text in texts):
        return _QUARTER, None
    probe = texts.iloc[:50]
    if not all(_MAYBE_DATE.search(str(text)) for text in probe):
        return None
    fitting = [form for form in _FORMATS if _fits(probe, form) and _fits(texts, form)]
    if not fitting:
        return None
    rivals = [
        form for form in fitting[1:] if sorted(form) == sorted(fitting[0]) and form != fitting[0]
    ]
    if not rivals:
        return fitting[0], None
    # Both orders of day and month read every cell: dates in a table mostly ascend.
    ordered = [f for f in (fitting[0], *rivals) if _is_sorted(texts, f)]
    chosen = ordered[0] if len(ordered) == 1 else fitting[0]
    return chosen, next(f for f in (fitting[0], *rivals) if f != chosen)


def _fits(texts: Any, form: str) -> bool:
    try:
        return bool(pd.to_datetime(texts, format=form, errors="coerce", utc=True).notna().all())
    except (ValueError, OverflowError):
        return False


def _is_sorted(texts: Any, form: str) -> bool:
    dates = pd.to_datetime(texts, format=form, utc=True)
    return bool(dates.is_monotonic_increasing or dates.is_monotonic_decreasing)


def is_time_of_day(form: str) -> bool:
    """Whether a format has hours and no date."""
    return not any(part in form for part in ("%Y", "%y", "ISO"))


def as_dates(column: Any, form: str) -> Any:
    """Dates as years with their fraction, times of day as hours; what is neither becomes NaN."""
    if form == _QUARTER:
        parts = column.astype(object).astype(str).str.extract(_QUARTERS).astype(float)
        return parts[0] + (parts[1] - 1.0) / 4.0
    if pd.api.types.is_datetime64_any_dtype(column):
        dates = column.dt.tz_convert(None) if column.dt.tz is not None else column
    else:
        dates = pd.to_datetime(column, format=form, errors="coerce", utc=True).dt.tz_convert(None)
    if is_time_of_day(form):
        return dates.dt.hour + dates.dt.minute / 60.0 + dates.dt.second / 3600.0
    start = dates.dt.to_period("Y").dt.start_time
    length = np.where(dates.dt.is_leap_year, 366.0, 365.0)
    return dates.dt.year + (dates - start) / pd.Timedelta(days=1) / length


def as_labels(column: Any) -> Any:
    """Whatever a column holds as text, gaps as NaN: 2.0 and 2 are one label."""
    values = column.dropna().unique()
    if pd.api.types.is_float_dtype(column):
        labels = {value: f"{value:.15g}" for value in values}
    else:
        labels = {value: str(value).strip() for value in values}
    return column.astype(object).map(labels).astype(object)
