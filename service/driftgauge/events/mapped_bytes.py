"""Reading of records that are nothing but a vector in bytes, a poll at once in two thirds of the time."""

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import TypeAlias

from driftgauge.config.inputs import InputSettings
from driftgauge.events.records import NO_TIMESTAMP, RawRecord
from driftgauge.events.rows import RECORD_ID, Row, is_stream
from driftgauge.events.timestamps import LAST_MS
from driftgauge.events.vectors import to_format

__all__ = ["BytesReader", "compile_bytes"]

BytesReader: TypeAlias = Callable[[Sequence[RawRecord]], Iterable[Row] | None]
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
    if stream is None or not is_stream(stream) or not is_plain or optional:
        return None
    number = to_format(vector.embedding)

    def read(records: Sequence[RawRecord]) -> Iterable[Row] | None:
        kinds, times_ms = zip(*[record.timestamp() for record in records], strict=True)
        if NO_TIMESTAMP in kinds or min(times_ms) < 0 or max(times_ms) > LAST_MS:
            return None
        values = [record.value() for record in records]
        if None in values or any(size % number.size or not size for size in set(map(len, values))):  # type: ignore[arg-type]
            return None
        return zip(
            repeat(stream),
            times_ms,
            values,
            repeat(number),
            repeat(RECORD_ID),
            repeat(None),
            repeat(None),
        )

    return read
