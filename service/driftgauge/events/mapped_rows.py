"""Events of a mapping: from the fields and vectors that were found to rows.

What the fast path is not sure of becomes an event of the service's own contract, which `read_exact` judges.
So both accept and refuse the same, with the same bits and for the same reasons.
"""

from typing import NamedTuple

from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.rows import Row, are_segments, is_short, is_stream, pack_list, read_exact
from driftgauge.events.vectors import F32, VectorFormat

__all__ = ["MappedVector", "read_row"]


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


def read_row(vector: MappedVector, time_ms: int, version: str | None, segments: dict[str, str] | None) -> Row:
    """Return an event: by the fast path where it is certainly one, else by the contract itself.

    Args:
        vector: The vector.
        time_ms: The event time, milliseconds since the epoch.
        version: The model's version; None if the mapping has none, or the record.
        segments: The segments by key; None if the mapping has none.

    Raises:
        EventError: As `read_exact`, or the bytes are no whole number of numbers.
    """
    stream, event_id, items, number, may_be_bool = vector
    if isinstance(items, list):
        packed = pack_list(items, may_be_bool=may_be_bool)
        number = F32
    elif len(items) % number.size:
        detail = f"embedding: {len(items)} bytes are no whole number of {number.dtype}"
        raise EventError(Reason.INVALID, detail)
    else:
        packed = bytes(items)
    is_sound = is_short(event_id) and (version is None or is_short(version))
    if packed and is_stream(stream) and is_sound and (segments is None or are_segments(segments)):
        return stream, time_ms, packed, number, event_id, version, segments
    event = {
        "stream": stream,
        "timestamp": time_ms,
        "embedding": items if isinstance(items, list) else number.to_float32(items).tolist(),
        "model_version": version,
        "event_id": event_id,
        "segments": segments,
    }
    return read_exact(event)
