"""Reading of records with one vector in bytes or base64, in half of the general path's time."""

from collections.abc import Mapping

from pybase64 import b64decode

from driftgauge.config.inputs import InputSettings
from driftgauge.events.contract import MAX_TEXT
from driftgauge.events.records import RawRecord
from driftgauge.events.rows import Row, Schedule, has_valid_options, in_force
from driftgauge.events.sources import compile_source, read_time, to_optional_text
from driftgauge.events.vectors import F64, to_format

__all__ = ["SingleVectorReader", "default_id"]

# An id made of a long topic's name keeps its end, and has room for the number of a vector.
_LONGEST_ID = MAX_TEXT - 16


def default_id(record: RawRecord) -> str:
    """Return the id of a record's event where it has none of its own."""
    return f"{record.topic()}-{record.partition()}-{record.offset()}"[-_LONGEST_ID:]


class SingleVectorReader:
    """Accepts only records that certainly are an event; the others are for the general path."""

    def __init__(self, settings: InputSettings) -> None:
        """Create a reader for a mapping of one vector, without a shape."""
        (vector,) = settings.vectors
        self._stream = compile_source(vector.stream)
        self._vector = compile_source(vector.embedding)
        self._number = to_format(vector.embedding)
        self._time_source = settings.timestamp
        self._time = compile_source(settings.timestamp)
        self._event_id = None if settings.event_id is None else compile_source(settings.event_id)
        self._version = None if settings.model_version is None else compile_source(settings.model_version)
        self._segments = {key: compile_source(source) for key, source in settings.segments.items()}

    def read(self, record: RawRecord, value: object, schedules: Mapping[str, Schedule]) -> Row | None:
        """Return the event of a record, given its decoded value, if it certainly is one, else None."""
        vector, number = self._vector(record, value), self._number
        segments: dict[str, str] | None = None
        try:
            stream = to_optional_text(self._stream(record, value))
            event_id = None if self._event_id is None else to_optional_text(self._event_id(record, value))
            version = None if self._version is None else to_optional_text(self._version(record, value))
            if self._segments:
                found = ((key, to_optional_text(get(record, value))) for key, get in self._segments.items())
                segments = {key: text for key, text in found if text is not None}
            if type(vector) is str and not vector.startswith("["):
                vector = b64decode(vector, validate=True)
            time_ms = read_time(self._time_source, self._time(record, value))
        except ValueError:
            return None
        if stream is None or (schedule := schedules.get(stream)) is None:
            return None
        if type(vector) is memoryview:
            # `ArrayParser` read the numbers as doubles.
            number = F64
        elif type(vector) is not bytes:
            return None
        expected = schedule[0] if time_ms >= schedule[0].from_ms else in_force(schedule, time_ms)
        if len(vector) != expected.dimension * number.size:
            return None
        if not has_valid_options(version, event_id, segments, expected):
            return None
        own_id = default_id(record) if event_id is None else event_id
        return expected, number, time_ms, vector, own_id, segments
