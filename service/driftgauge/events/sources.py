"""Sources of an event's fields: where they are in a record, compiled to functions."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from math import inf
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import orjson

from driftgauge.config.inputs import NumberSource, Source, TimeSource
from driftgauge.config.paths import Every, Json, Step, parse_path
from driftgauge.events.messages import field_getter, timestamp_ms
from driftgauge.events.records import NO_TIMESTAMP, RawRecord, read_headers
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.timestamps import UNIT_NS, in_range, read_timestamp, to_epoch_ms
from driftgauge.events.vectors import LISTS

__all__ = [
    "RECORD_TIME",
    "Batch",
    "Getter",
    "compile_column",
    "compile_path",
    "compile_source",
    "compile_steps",
    "describe_source",
    "read_time",
    "to_optional_text",
    "to_text",
]

Getter: TypeAlias = Callable[[RawRecord, object], object]
"""Returns a field of a record or of its decoded value, None if it is missing."""

RECORD_TIME = TimeSource(record="timestamp")
"""The record's timestamp."""


class RecordTime(int):
    """The timestamp of a record, milliseconds since the epoch, whatever unit the mapping names."""


_MS_NS = 1_000_000
_HAS_OFFSET = re.compile(r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$")
_NO_OFFSET = (
    "a date-time without an offset from UTC; let producers write it with one, or, if it is in UTC, set "
    "timestamp.assume_utc to true in inputs"
)
# As many digits as the largest double has.
_DECIMAL = re.compile(r"([0-9]{1,309})(?:\.([0-9]{1,9})[0-9]*)?")
_TYPES = 4_096
_find_getter: Callable[[type, str], Callable[[object], object]] = lru_cache(_TYPES)(field_getter)
_find_number_getter: Callable[[type, str], Callable[[object], object]] = lru_cache(_TYPES)(
    partial(field_getter, is_number=True)
)
# All items of a record, and all of its conditions, that are in one text parse it once.
_parse_json = lru_cache(maxsize=1)(orjson.loads)


def compile_source(source: Source) -> Getter:
    """Return the function that gets a source's field."""
    if source.path is not None:
        get = compile_path(source.path)
        return lambda record, value: get(value)
    if source.record is not None:
        return _OF_RECORD[source.record]
    name, constant = source.header, source.constant
    return lambda record, value: constant if name is None else _get_header(name, record)


class Batch(NamedTuple):
    """Records, their decoded values, and of each the item of the `[*]` in the mapping, else the value.

    Attributes:
        parsed: The values of texts in JSON by the path to the texts, which all fields in them share.
    """

    records: Sequence[RawRecord]
    values: Sequence[Any]
    items: Sequence[Any]
    parsed: dict[Sequence[Step], Sequence[Any]]


def compile_column(source: Source | None) -> Callable[[Batch], Sequence[Any]]:
    """Return the function that gets a source's field of a batch; None if there is no source."""
    constant = None if source is None else source.constant
    if source is None or constant is not None:
        return lambda batch: [constant] * len(batch.records)
    if isinstance(source, TimeSource) and source.fallback is not None:
        find = compile_column(source.model_copy(update={"fallback": None}))
        return lambda batch: [
            _get_record_time(record) if each is None else each
            for each, record in zip(find(batch), batch.records, strict=True)
        ]
    if source.path is None:
        get_each = compile_source(source)
        return lambda batch: [*map(get_each, batch.records, batch.values)]
    steps = parse_path(source.path)
    start = steps.index(Every()) + 1 if Every() in steps else 0
    if Json() in steps[start:]:
        return _compile_parsed(steps, start)
    get, name = compile_steps(steps[start:], is_number=isinstance(source, NumberSource)), steps[0]
    if start or len(steps) > 1 or not isinstance(name, str):
        return lambda batch: [*map(get, batch.items if start else batch.values)]
    # The usual case, in a third of the time.
    return lambda batch: [value.get(name) if type(value) is dict else get(value) for value in batch.values]


def _compile_parsed(steps: Sequence[Step], start: int) -> Callable[[Batch], Sequence[Any]]:
    """Return the function that gets a field in JSON within text; the first `start` steps lead to items."""
    end = steps.index(Json(), start) + 1
    place, parse, get = tuple(steps[:end]), compile_steps(steps[start:end]), compile_steps(steps[end:])

    def get_column(batch: Batch) -> Sequence[Any]:
        if place not in batch.parsed:
            batch.parsed[place] = [*map(parse, batch.items if start else batch.values)]
        return [*map(get, batch.parsed[place])]

    return get_column


def compile_path(text: str) -> Callable[[object], object]:
    """Return the function that follows a path into a value, and returns None if the path ends early.

    Raises:
        ValueError: The text is no path, or one to every item of a list.
    """
    return compile_steps(parse_path(text))


def describe_source(source: Source) -> str:
    """Return a source in words."""
    if isinstance(source, TimeSource) and source.fallback:
        return f"{describe_source(source.model_copy(update={'fallback': None}))} or the record's timestamp"
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
        value: A number, whole or with a fraction; the same as text; an RFC 3339 date-time, or one as Python
            writes it; a datetime, as Avro's logical types give; or Protobuf's Timestamp. Digits below a
            millisecond are truncated.

    Raises:
        ValueError: The value is none of these, or not within the years 1970 to 9999; or it has no offset, and
            the source does not assume UTC.
    """
    if type(value) is int:
        return in_range(value * UNIT_NS[source.unit] // _MS_NS, source.unit)
    if type(value) is RecordTime:
        return in_range(int(value))
    if isinstance(value, bytes):
        value = to_text(value)
    if type(value) is float:
        if not 0 <= value < inf:
            message = "no number from 0 on that is finite"
            raise ValueError(message)
        # A double holds the seconds of our days to a quarter of a microsecond: 0.001 is a millisecond.
        value = f"{abs(value):.6f}"  # of -0.0, which is no negative number, without the sign
    if isinstance(value, str):
        return _read_text(source, value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            if not source.assume_utc:
                raise ValueError(_NO_OFFSET)
            value = value.replace(tzinfo=UTC)
        return in_range(to_epoch_ms(value), source.unit)
    if (stamp_ms := timestamp_ms(value)) is not None:
        return in_range(stamp_ms, source.unit)
    message = f"neither a number nor an RFC 3339 date-time, but {type(value).__name__}"
    raise ValueError(message)


def _read_text(source: TimeSource, text: str) -> int:
    unit, decimal = source.unit, _DECIMAL.fullmatch(text)
    if decimal is None:
        # Python's str() of a datetime has a space for the T, and no offset if the time has none.
        text = text[:11].replace(" ", "T") + text[11:]
        if _HAS_OFFSET.search(text):
            return read_timestamp(text)
        time_ms = read_timestamp(f"{text}Z")
        if not source.assume_utc:
            raise ValueError(_NO_OFFSET)
        return time_ms
    whole, fraction = decimal[1], decimal[2] or ""
    value_ns = int(whole) * UNIT_NS[unit] + int(fraction.ljust(9, "0")) * UNIT_NS[unit] // UNIT_NS["s"]
    return in_range(value_ns // _MS_NS, unit)


def _get_header(name: str, record: RawRecord) -> object:
    return next((value for key, value in reversed(read_headers(record)) if key == name), None)


def _get_timestamp(record: RawRecord, _: object = None) -> int | None:
    kind, time_ms = record.timestamp()
    return None if kind == NO_TIMESTAMP else time_ms


def _get_record_time(record: RawRecord) -> RecordTime | None:
    time_ms = _get_timestamp(record)
    return None if time_ms is None else RecordTime(time_ms)


_OF_RECORD: Mapping[str, Getter] = {
    "key": lambda record, value: record.key(),
    "timestamp": _get_timestamp,
    "value": lambda record, value: value,
}


def compile_steps(steps: Sequence[Step], *, is_number: bool = False) -> Callable[[object], object]:
    """Return the function that follows steps into a value, or to a number; see `compile_path`."""
    takes = [_compile_step(step) for step in steps]
    if is_number and steps and isinstance(steps[-1], str):
        takes[-1] = _compile_number(steps[-1])
    if len(takes) == 1:
        return takes[0]
    named = list(zip(steps, takes, strict=True))

    def follow(value: object) -> object:
        for step, take in named:
            # In place: objects of JSON are what most values consist of. They are read by name alone.
            value = value.get(step) if type(value) is dict else take(value)
        return value

    return follow


def _compile_number(name: str) -> Callable[[object], object]:
    return lambda value: (
        value.get(name) if type(value) is dict else _find_number_getter(type(value), name)(value)
    )


def _compile_step(step: Step) -> Callable[[object], object]:
    """Return the function that takes a step into a value; None if there is none."""
    if isinstance(step, str):
        return lambda value: (
            value.get(step) if type(value) is dict else _find_getter(type(value), step)(value)
        )
    if isinstance(step, int):
        return lambda value: value[step] if isinstance(value, LISTS) and step < len(value) else None
    if isinstance(step, Json):
        return _enter_json
    if isinstance(step, Every):
        message = "only the fields of events have paths to every item of a list"
        raise ValueError(message)
    get = _compile_step(step.field)

    def is_chosen(item: object) -> bool:
        try:
            return to_text(get(item)) == step.value
        except ValueError:
            return False

    return lambda value: next(filter(is_chosen, value), None) if isinstance(value, LISTS) else None


def _enter_json(value: object) -> object:
    """Return the JSON value of a text; None if there is no text.

    Raises:
        EventError: The text is no JSON.
    """
    try:
        return _parse_json(value) if isinstance(value, str | bytes) else None
    except ValueError as error:
        raise EventError(Reason.INVALID, f"[json]: the text is no JSON ({error})") from None
