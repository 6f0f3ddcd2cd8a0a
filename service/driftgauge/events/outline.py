"""Outlines of records: time, streams, lengths and version of their events, where no baseline tells them."""

from collections.abc import Mapping
from typing import NamedTuple

from driftgauge.events.conditions import Unmet
from driftgauge.events.contract import read_json, validate_event
from driftgauge.events.mapped import MappedReader
from driftgauge.events.records import RawRecord

__all__ = ["Outline", "outline"]

_FLOAT_BYTES = 4


class Outline(NamedTuple):
    """What a record's events are, before their values are checked.

    Attributes:
        time_ms: The event time, milliseconds since the epoch.
        dimensions: The length of the vectors by stream; of several vectors of one stream, the first.
        model_version: The model's version; None if the record has none.
    """

    time_ms: int
    dimensions: Mapping[str, int]
    model_version: str | None


def outline(record: RawRecord, reader: MappedReader | None) -> Outline | None:
    """Return the outline of a record, None if the configuration filters the record out.

    Args:
        record: The record.
        reader: The reader of its topic; None where the topic is in the service's own contract.

    Raises:
        EventError: The record is refused, whatever its streams' baselines are.
        SchemaPending: The record cannot be read yet.
    """
    if reader is None:
        event = validate_event(read_json(record.value() or b""))
        dimension = len(event.packed_vector()) // _FLOAT_BYTES
        return Outline(event.timestamp, {event.stream: dimension}, event.model_version)
    value = reader.decode(record)
    if type(value) is Unmet:
        return None
    return Outline(
        reader.time_ms(record, value), reader.dimensions(record, value), reader.model_version(record, value)
    )
