"""Verdicts, kinds, times and numbers in words, as the page and the report show them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

__all__ = [
    "LEAST_P",
    "as_sentence",
    "format_moment",
    "format_number",
    "format_p_value",
    "format_percent",
    "format_points",
    "format_signed_percent",
    "name_first",
]

_MISSING = "–"  # noqa: RUF001 - a dash stands for no number
_S_MS = 1_000
_SMALL = 1e-4
LEAST_P = 1e-15
"""No test is accurate below."""


def format_moment(time_ms: int) -> str:
    """Return a time in UTC such as "10 Nov 2025, 06:00 UTC", with seconds if there are any.

    The script of the page finds times of this form, and shows them as local ones if a reader chooses so.
    """
    moment = datetime.fromtimestamp(time_ms / _S_MS, UTC)
    clock = f"{moment:%H:%M:%S}" if time_ms % 60_000 else f"{moment:%H:%M}"
    return f"{moment.day} {moment:%b %Y}, {clock} UTC"


def format_number(value: float | None) -> str:
    """Return a number with three significant digits; a dash for a missing one."""
    if value is None or math.isnan(value):
        return _MISSING
    if value == 0:
        return "0"
    if abs(value) < _SMALL:
        return f"{value:.1e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 6)}f}"


def as_sentence(text: str) -> str:
    """Return a text with its first letter in upper case, and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def name_first(names: Sequence[str], most: int, unnamed: int = 0) -> str:
    """Return the first of some names, separated by commas, and how many more there are, with unnamed ones."""
    number = max(len(names) - most, 0) + unnamed
    more = f" and {number:,} more" if number else ""
    return f"{', '.join(names[:most])}{more}"


def format_percent(share: float | None) -> str:
    """Return a share as a percentage, with a digit after the point below 10 %; a dash for a missing one."""
    if share is None or math.isnan(share):
        return _MISSING
    percent = 100 * share
    if 0 < percent < 0.05:  # noqa: PLR2004 - would be shown as none
        return "< 0.1 %"
    return f"{percent:.1f} %" if 0 < abs(percent) < 9.95 else f"{percent:.0f} %"  # noqa: PLR2004 - rounds to 10


def format_signed_percent(change: float) -> str:
    """Return a relative change as a percentage with its sign."""
    return f"{100 * change:+.1f} %"


def format_points(change: float) -> str:
    """Return the difference of two shares in percentage points with its sign."""
    return f"{100 * change:+.1f} points"


def format_p_value(p_value: float | None) -> str:
    """Return a p-value with two significant digits; a dash for a missing one."""
    if p_value is None or math.isnan(p_value):
        return _MISSING
    if p_value < LEAST_P:
        return f"< {LEAST_P:g}"
    return f"{p_value:.2g}" if p_value >= _SMALL else f"{p_value:.0e}"
