"""Duration texts such as "30s", "1h" and "1d", parsed to and formatted from integer milliseconds."""

import re
from itertools import pairwise

__all__ = ["format_duration", "parse_duration", "round_duration"]

_UNIT_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_UNITS = list(_UNIT_MS)
_ROUNDED = {"years": 31_557_600_000, "days": 86_400_000, "h": 3_600_000, "min": 60_000, "s": 1_000}
_TERM = re.compile(r"(\d{1,15})(ms|[dhms])")


def parse_duration(text: str) -> int:
    """Return the milliseconds of a duration such as "1h30m", "45s" or "250ms".

    Raises:
        ValueError: The text is not a list of numbers with units, or its units repeat or do not descend.
    """
    terms = _TERM.findall(text)
    units = [_UNITS.index(unit) for _, unit in terms]
    if not terms or "".join(number + unit for number, unit in terms) != text:
        message = f"{text!r} is not a duration; write a number and a unit, such as 30s, 10m, 1h or 1d"
        raise ValueError(message)
    if any(later <= earlier for earlier, later in pairwise(units)):
        message = f"{text!r} is not a duration: its units must descend, as in 1d12h or 1h30m"
        raise ValueError(message)
    return sum(int(number) * _UNIT_MS[unit] for number, unit in terms)


def format_duration(milliseconds: int) -> str:
    """Return the canonical text of a non-negative duration: 86,400,000 is "1d", 5,400,000 is "1h30m"."""
    if milliseconds == 0:
        return "0s"
    parts = []
    for unit, unit_ms in _UNIT_MS.items():
        number, milliseconds = divmod(milliseconds, unit_ms)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts)


def round_duration(milliseconds: int) -> str:
    """Return a duration for readers, in the largest unit of which it has two: 86,399,901 is "24 h".

    It has two if it has two once it is rounded to the next smaller unit: 7,199,901 is "2 h", not "120 min".
    """
    for (unit, unit_ms), smaller_ms in zip(_ROUNDED.items(), [*_ROUNDED.values(), 1][1:], strict=True):
        if milliseconds + smaller_ms // 2 >= 2 * unit_ms:
            return f"{milliseconds / unit_ms:.0f} {unit}"
    return f"{milliseconds} ms"
