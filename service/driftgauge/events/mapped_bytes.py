"""Reading of records that are nothing but a vector in bytes, a poll at once in two thirds of the time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import TypeAlias

from driftgauge.config.inputs import InputSettings
from driftgauge.events.records import NO_TIMESTAMP, RawRecord
from driftgauge.events.rows import RECORD_ID, Row, Schedule
from driftgauge.events.timestamps import LAST_MS
from driftgauge.events.vectors import to_format

__all__ = ["BytesReader", "compile_bytes"]

BytesReader: TypeAlias = Callable[[Sequence[RawRecord], Mapping[str, Schedule]], Iterable[Row] | None]
"""Returns the events of one or more records if all certainly are one, else None."""


def compile_bytes(settings: InputSettings) -> BytesReader | None:
    """Return the function that reads the records of a mapping, None where not all else is constant or theirs.

    A record's event is its value, in a constant stream, at the record's time, without optional fields.
    """
    vector = settings.vectors[0]
    stream = vector.stream.constant
    is_plain = (
        settings.encoding == "bytes"
        and len(settings.vectors) == 1
        and stream is not None
        and vector.embedding.record == "value"
        and not vector.embedding.may_be_several
        and settings.timestamp.record == "timestamp"
    )
    optional = settings.where or settings.event_id or settings.model_version or settings.segments
    if stream is None or not is_plain or optional:
        return None
    number = to_format(vector.embedding)

    def read(records: Sequence[RawRecord], schedules: Mapping[str, Schedule]) -> Iterable[Row] | None:
        schedule = schedules.get(stream)
        kinds, times_ms = zip(*[record.timestamp() for record in records], strict=True)
        if schedule is None or NO_TIMESTAMP in kinds:
            return None
        expected = schedule[0]
        if min(times_ms) < expected.from_ms or max(times_ms) > LAST_MS:
            return None
        values = [record.value() for record in records]
        size = expected.dimension * number.size
        if None in values or set(map(len, values)) != {size}:  # type: ignore[arg-type]
            return None
        return zip(repeat(expected), repeat(number), times_ms, values, repeat(RECORD_ID), repeat(None))

    return read
