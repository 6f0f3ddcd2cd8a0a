"""Parsing and formatting of event times: epoch milliseconds, or RFC 3339 with an offset."""

import re
from datetime import UTC, datetime, timedelta

__all__ = [
    "DATE_TIME",
    "LAST_MS",
    "UNIT_NS",
    "format_timestamp",
    "in_range",
    "parse_timestamp",
    "read_timestamp",
    "to_epoch_ms",
    "unit_hint",
]

LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, the last year of RFC 3339."""

UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
"""The nanoseconds of each unit of a time that is a number."""

_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# 2001 to 2100. Units are a thousandfold apart, so at most one of them gives such a time.
_LIKELY_MS = range(978_307_200_000, 4_102_444_800_000)

# Stricter than datetime.fromisoformat, which also accepts other ISO 8601 forms and, from Python 3.13, the
# hour 24.
DATE_TIME = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)"
    r"(?:\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
"""RFC 3339's date-time as a regular expression, except for the lengths of months."""

_DATE_TIME = re.compile(DATE_TIME)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECOND_MS = 1_000
_DAY_MS = 86_400_000


def read_timestamp(value: object) -> int:
    """Return the milliseconds since the epoch of an event's timestamp.

    Args:
        value: An int of epoch milliseconds, or a text that `parse_timestamp` accepts.

    Raises:
        ValueError: The value is neither, or not within the years 1970 to 9999.
    """
    if type(value) is int:  # isinstance would accept a bool
        return in_range(value)
    if type(value) is str:
        return parse_timestamp(value)
    message = "neither an integer of epoch milliseconds nor an RFC 3339 string"
    raise ValueError(message)


def parse_timestamp(text: str) -> int:
    """Return the milliseconds since the epoch of an RFC 3339 date-time.

    The offset is Z or +hh:mm; T and Z may be in lower case; digits below a millisecond are
    truncated.

    Raises:
        ValueError: The text is no such date-time, or not within the years 1970 to 9999.
    """
    if _DATE_TIME.fullmatch(text) is None:
        message = "not an RFC 3339 date-time with offset, such as 2025-11-03T00:00:00Z"
        raise ValueError(message)
    leap = text[17:19] == "60"
    moment = datetime.fromisoformat((text[:17] + "59" + text[19:] if leap else text).upper())
    time_ms = to_epoch_ms(moment)
    if leap:
        # Epoch time has no leap seconds; as in POSIX, 23:59:60 is the next day's first second.
        time_ms += _SECOND_MS
        if time_ms % _DAY_MS >= _SECOND_MS:
            message = "a leap second (:60) can only be 23:59:60 UTC"
            raise ValueError(message)
    return in_range(time_ms)


def to_epoch_ms(moment: datetime) -> int:
    """Return the whole milliseconds since the epoch of a time with a zone."""
    return (moment - _EPOCH) // _MILLISECOND


def format_timestamp(time_ms: int) -> str:
    """Return the RFC 3339 date-time in UTC, without a fraction if the second is whole."""
    moment = _EPOCH + time_ms * _MILLISECOND
    precision = "milliseconds" if time_ms % _SECOND_MS else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def in_range(time_ms: int, unit: str | None = None) -> int:
    """Return a time; its number was read in the unit that a mapping says, None without a mapping.

    Raises:
        ValueError: It is not within the years 1970 to 9999.
    """
    if 0 <= time_ms <= LAST_MS:
        return time_ms
    message = (
        f"not within the years 1970 to 9999, UTC (a number is in {_UNITS[unit or 'ms']})"
        f"{unit_hint(time_ms, unit)}"
    )
    raise ValueError(message)


def unit_hint(time_ms: int, unit: str | None) -> str:
    """Return which unit the number behind a wrong time looks like, and the remedy; empty if it is none.

    Args:
        time_ms: The time, milliseconds since the epoch.
        unit: The unit in which a mapping says that the number is; None without a mapping.
    """
    for other, ns in UNIT_NS.items():
        if other != (unit or "ms") and time_ms * ns // UNIT_NS[unit or "ms"] in _LIKELY_MS:
            remedy = f"set timestamp.unit to {other} in inputs" if unit else "the contract is in milliseconds"
            return f"; the numbers look like {_UNITS[other]}: {remedy}"
    return ""
