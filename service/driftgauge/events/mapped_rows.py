"""Events of a mapping: from the fields and vectors that were found to rows.

What the fast path is not sure of becomes an event of the service's own contract, which `read_exact` judges.
So both accept and refuse the same, with the same bits and for the same reasons.
"""

from collections.abc import Mapping
from typing import NamedTuple

from driftgauge.events.contract import MAX_TEXT
from driftgauge.events.native import read_exact
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.rows import NUMBERS, Row, Schedule, has_valid_options, in_force, pack_list
from driftgauge.events.vectors import F32, VectorFormat

__all__ = ["MappedFields", "MappedVector", "is_well_formed", "read_row"]


class MappedFields(NamedTuple):
    """The fields that the events of a record share.

    Attributes:
        time_ms: The event time, milliseconds since the epoch.
        event_id: The event id.
        model_version: The model's version; None if the mapping has none, or the record.
        segments: The segments by key; None if the mapping has none.
    """

    time_ms: int
    event_id: str
    model_version: str | None
    segments: dict[str, str] | None


class MappedVector(NamedTuple):
    """A vector of a record.

    Attributes:
        stream: The stream's name.
        event_id: The event id.
        items: The numbers, as a list of any values or as bytes.
        number: The format of numbers in bytes.
        may_hold_bool: The list may hold a bool, which struct takes for a number.
    """

    stream: str
    event_id: str
    items: list[object] | bytes | memoryview
    number: VectorFormat
    may_hold_bool: bool


def is_well_formed(vector: MappedVector) -> bool:
    """Return whether a vector is certainly not invalid, if another one of its record is not."""
    if len(vector.event_id) > MAX_TEXT:
        return False
    items = vector.items
    if not isinstance(items, list):
        return len(items) > 0 and len(items) % vector.number.size == 0
    return len(items) > 0 and NUMBERS.issuperset(map(type, items))


def read_row(vector: MappedVector, fields: MappedFields, schedules: Mapping[str, Schedule]) -> Row:
    """Return an event: by the fast path where it is certainly one, else by the contract itself.

    Raises:
        EventError: As `read_exact`.
    """
    stream, event_id, items, number, may_be_bool = vector
    schedule = schedules.get(stream)
    if schedule is not None:
        expected = in_force(schedule, fields.time_ms)
        if has_valid_options(fields.model_version, event_id, fields.segments, expected):
            if not isinstance(items, list):
                if len(items) == expected.dimension * number.size:
                    return expected, number, fields.time_ms, items, event_id, fields.segments
            elif (packed := pack_list(items, expected, may_be_bool=may_be_bool)) is not None:
                return expected, F32, fields.time_ms, packed, event_id, fields.segments
    if not isinstance(items, list):
        if len(items) % number.size:
            detail = f"embedding: {len(items)} bytes are no whole number of {number.dtype}"
            raise EventError(Reason.INVALID, detail)
        items = number.to_float32(items).tolist()
    event = {
        "stream": stream,
        "timestamp": fields.time_ms,
        "embedding": items,
        "model_version": fields.model_version,
        "event_id": event_id,
        "segments": fields.segments,
    }
    return read_exact(event, schedules)
