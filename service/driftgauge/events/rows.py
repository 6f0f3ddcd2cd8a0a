"""Rows: well-formed events as the exact judge returns them, and what a baseline requires of them."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct, error
from typing import Final, NamedTuple

from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.contract import MAX_SEGMENTS, MAX_TEXT, STREAM_NAME, validate_event
from driftgauge.events.records import RawRecord
from driftgauge.events.vectors import F32, VectorFormat

__all__ = [
    "RECORD_ID",
    "BaselineContract",
    "RecordId",
    "Row",
    "are_segments",
    "default_id",
    "in_force",
    "is_short",
    "is_stream",
    "pack_list",
    "read_exact",
]

_NUMBERS = frozenset((int, float))
# An id made of a long topic's name keeps its end, and has room for the number of a vector.
_LONGEST_ID = MAX_TEXT - 16
_MOST_NAMES = 4_096
_IS_STREAM = re.compile(STREAM_NAME).fullmatch


class RecordId:
    """The type of `RECORD_ID`."""


RECORD_ID: Final = RecordId()
"""Stands for the id of an event that has none of its own: `default_id`, made where it is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class BaselineContract:
    """The requirements of a baseline on the events of its stream while it is in force.

    Attributes:
        stream: The stream's name, or the pattern of the names that share the baseline, see `ByStream`.
        baseline: The baseline's key; empty where the first events stand for a baseline.
        dimension: The length of a vector.
        model_version: The model's version; None if the baseline has none.
        metric: The distance metric; a zero vector has no direction under cosine.
        from_ms: The event time from which the baseline is in force; 0, the earliest event time, for a
            stream's first.
    """

    stream: str
    baseline: str
    dimension: int
    model_version: str | None
    metric: DistanceMetric
    from_ms: int = 0


class Row(NamedTuple):
    """A well-formed event.

    Attributes:
        stream: The stream's name.
        time_ms: The event time, milliseconds since the epoch.
        vector: Its numbers, which need not be finite; there is one at least.
        number: Their format.
        event_id: The id; None without one.
        model_version: The model's version; None without one.
        segments: The segments by key; None without any.
        snippet: The event's text; None without one.
    """

    stream: str
    time_ms: int
    vector: bytes | memoryview
    number: VectorFormat
    event_id: str | RecordId | None
    model_version: str | None
    segments: dict[str, str] | None
    snippet: str | None


def default_id(record: RawRecord) -> str:
    """Return the id of a record's event where it has none of its own."""
    return f"{record.topic()}-{record.partition()}-{record.offset()}"[-_LONGEST_ID:]


def read_exact(document: object) -> Row:
    """Return the event of a JSON value by the contract itself.

    Raises:
        EventError: The value is no valid event; the detail names the fault.
    """
    event = validate_event(document)
    return Row(
        event.stream,
        event.timestamp,
        event.packed_vector(),
        F32,
        event.event_id,
        event.model_version,
        event.segments,
        event.snippet,
    )


def in_force(schedule: Iterable[BaselineContract], time_ms: int) -> BaselineContract:
    """Return the contract of the baseline in force at an event time, given a stream's, newest first."""
    return next(contract for contract in schedule if contract.from_ms <= time_ms)


@lru_cache(_MOST_NAMES)
def is_stream(name: str) -> bool:
    """Return whether a text is valid as the name of a stream."""
    return _IS_STREAM(name) is not None


def are_segments(segments: object) -> bool:
    """Return whether a value is certainly valid as segments."""
    return (
        type(segments) is dict
        and len(segments) <= MAX_SEGMENTS
        and all(map(is_short, segments))
        and all(map(is_short, segments.values()))
    )


def pack_list(numbers: list[object]) -> bytes | None:
    """Return a list of any values as float32, None where it is not certainly one of numbers."""
    try:
        packed = _packer(len(numbers))(*numbers)
    except (error, OverflowError):
        return None
    # struct takes a bool for a number.
    return packed if _NUMBERS.issuperset(map(type, numbers)) else None


@lru_cache(64)
def _packer(length: int) -> Callable[..., bytes]:
    """Return the function that packs numbers; struct.error for other values, OverflowError beyond float32."""
    return Struct(f"<{length}f").pack


def is_short(value: object) -> bool:
    """Return whether a value is a short text."""
    return type(value) is str and len(value) <= MAX_TEXT
