"""Sources of an event's fields: where they are in a record, compiled to functions."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from math import inf, modf
from typing import TypeAlias
from uuid import UUID

from driftgauge.config.inputs import Source, TimeSource
from driftgauge.config.paths import Choice, Step, parse_path
from driftgauge.events.messages import is_message, take_field, timestamp_ms
from driftgauge.events.records import NO_TIMESTAMP, RawRecord
from driftgauge.events.timestamps import read_timestamp

__all__ = [
    "Getter",
    "compile_path",
    "compile_source",
    "describe_source",
    "read_time",
    "to_optional_text",
    "to_text",
]

Getter: TypeAlias = Callable[[RawRecord, object], object]
"""Returns the field of a record, given the record and its decoded value; None where the field is missing."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The nanoseconds of each unit.
_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_MS_NS = 1_000_000
# The microseconds of each unit; a double holds the seconds of our days to a quarter of a microsecond.
_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_MS_US = 1_000
_US_NS = 1_000
_DECIMAL = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,9})[0-9]*)?")
_DAY_MS = 86_400_000


def compile_source(source: Source) -> Getter:
    """Return the function that gets a source's field."""
    if source.path is not None:
        get = compile_path(source.path)
        return lambda _, value: get(value)
    if source.header is not None:
        return partial(_get_header, source.header)
    match source.record:
        case "key":
            return lambda record, _: record.key()
        case "timestamp":
            return _get_timestamp
        case "value":
            return lambda _, value: value
    constant = source.constant
    return lambda record, value: constant


def compile_path(text: str) -> Callable[[object], object]:
    """Return the function that follows a path into a value, and returns None where the path ends early."""
    steps = parse_path(text)
    names = tuple(step for step in steps if isinstance(step, str))
    if len(names) == len(steps):
        # Mappings are what most values consist of, and this loop takes half the time of the other one.
        return partial(_follow_names, names)
    return partial(_follow, steps)


def describe_source(source: Source) -> str:
    """Return a source in words."""
    if source.path is not None:
        return source.path
    if source.header is not None:
        return f"header {source.header}"
    return f"the record's {source.record}" if source.record is not None else f"constant {source.constant!r}"


def to_text(value: object) -> str:
    """Return a field as text: text, UTF-8 bytes, whole numbers, booleans and UUIDs have one.

    Raises:
        ValueError: The value has none.
    """
    if type(value) is str:
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            message = "not UTF-8"
            raise ValueError(message) from None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | UUID):
        return str(value)
    message = f"neither text nor a whole number, but {type(value).__name__}"
    raise ValueError(message)


def to_optional_text(value: object) -> str | None:
    """Return a field as text, None if it is missing.

    Raises:
        ValueError: As `to_text`.
    """
    return value if value is None or type(value) is str else to_text(value)


def read_time(source: TimeSource, value: object) -> int:
    """Return an event time in milliseconds since the epoch.

    Args:
        source: Where the value came from, and the unit of a number.
        value: A number, whole or with a fraction; the same as text; an RFC 3339 date-time; a datetime, as
            Avro's logical types give; or Protobuf's Timestamp. Digits below a millisecond are truncated.

    Raises:
        ValueError: The value is none of these, or not within the years 1970 to 9999.
    """
    # Most times are whole numbers, which take the way past the other tests.
    if type(value) is not int:
        if isinstance(value, bytes):
            value = to_text(value)
        if isinstance(value, str):
            return _read_text(value, source.unit)
        if isinstance(value, datetime):
            since = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH
            return read_timestamp(since.days * _DAY_MS + since.seconds * 1_000 + since.microseconds // 1_000)
        if type(value) is float:
            return read_timestamp(_round_down(value, source.unit))
        if (stamp_ms := timestamp_ms(value)) is not None:
            return read_timestamp(stamp_ms)
        message = f"neither a number nor an RFC 3339 date-time, but {type(value).__name__}"
        raise ValueError(message)
    return read_timestamp(value if source.unit == "ms" else value * _NS[source.unit] // _MS_NS)


def _read_text(text: str, unit: str) -> int:
    decimal = _DECIMAL.fullmatch(text)
    if decimal is None:
        return read_timestamp(text)
    whole, fraction = decimal[1], decimal[2] or ""
    value_ns = int(whole) * _NS[unit] + int(fraction.ljust(9, "0")) * _NS[unit] // _NS["s"]
    return read_timestamp(value_ns // _MS_NS)


def _round_down(value: float, unit: str) -> int:
    """Return whole milliseconds; a decimal fraction such as .001 counts although no double is equal to it.

    Raises:
        ValueError: The value is negative or not finite.
    """
    if not 0 <= value < inf:
        message = "no number from 0 on that is finite"
        raise ValueError(message)
    # The whole part is exact, and may be larger than a product of doubles is.
    fraction, whole = modf(value)
    return (int(whole) * _NS[unit] // _US_NS + round(fraction * _US[unit])) // _MS_US


def _get_header(name: str, record: RawRecord, _: object) -> object:
    try:
        headers = record.headers() or ()
    except SystemError:
        # The client fails on a header name that is not UTF-8, which brokers accept.
        return None
    return next((value for key, value in reversed(headers) if key == name), None)


def _get_timestamp(record: RawRecord, _: object) -> int | None:
    kind, time_ms = record.timestamp()
    return None if kind == NO_TIMESTAMP else time_ms


def _follow_names(names: Sequence[str], value: object) -> object:
    for name in names:
        if type(value) is dict:
            value = value.get(name)
        elif value is None:
            return None
        else:
            value = _take_field(name, value)
    return value


def _follow(steps: Sequence[Step], value: object) -> object:
    for step in steps:
        if value is None:
            return None
        value = _take(step, value)
    return value


def _take(step: Step, value: object) -> object:
    if isinstance(step, str):
        return _take_field(step, value)
    if type(value) is not list and (not isinstance(value, Sequence) or isinstance(value, str | bytes)):
        return None
    if isinstance(step, Choice):
        for item in value:
            if _is_chosen(step, item):
                return item
        return None
    return value[step] if step < len(value) else None


def _take_field(name: str, value: object) -> object:
    # Mappings come last: the test of an abstract class takes longer than all others.
    if type(value) is dict:
        return value.get(name)
    if is_message(value):
        return take_field(value, name)
    return value.get(name) if isinstance(value, Mapping) else None


def _is_chosen(choice: Choice, item: object) -> bool:
    try:
        return to_text(_take_field(choice.field, item)) == choice.value
    except ValueError:
        return False
