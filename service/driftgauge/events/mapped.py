"""Reading of records by a mapping from the configuration, wherever an event's fields stand.

What the fast path is not sure of becomes an event of the service's own contract, which `read_exact` judges.
So both accept and refuse the same, with the same bits and for the same reasons.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from driftgauge.config.inputs import Condition, InputSettings, Source, VectorSettings
from driftgauge.events.contract import MAX_TEXT
from driftgauge.events.native import may_hold_bool, read_exact
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.rows import Row, Schedule, has_valid_options, in_force
from driftgauge.events.sources import (
    Getter,
    compile_path,
    compile_source,
    describe_source,
    read_time,
    to_text,
)
from driftgauge.events.vectors import F32, VectorFormat, split_vectors

__all__ = ["Deserializer", "MappedFields", "MappedReader"]

Deserializer = Callable[[RawRecord], object]
"""Returns a record's decoded value. Raises EventError or SchemaPending, as `Reader`."""

_Found = TypeVar("_Found")

_NUMBERS = {int, float}
# An id made of a long topic's name keeps its end, and has room for the number of a vector.
_LONGEST_ID = MAX_TEXT - 16


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


class MappedReader:
    """Reads the events of a topic's records by its mapping; a `Reader`."""

    def __init__(self, settings: InputSettings, deserialize: Deserializer) -> None:
        self._settings = settings
        self._deserialize = deserialize
        # Conditions that need no decoded value come first: what they filter out need not be decodable.
        conditions = [_Condition(condition) for condition in settings.where]
        self._before = [each for each in conditions if not each.needs_value]
        self._after = [each for each in conditions if each.needs_value]
        self._time = compile_source(settings.timestamp)
        self._event_id = _Text("event_id", settings.event_id)
        self._model_version = _Text("model_version", settings.model_version)
        self._segments = {key: _Text(f"segments.{key}", source) for key, source in settings.segments.items()}
        self._vectors = [_Vector(vector) for vector in settings.vectors]

    def __call__(self, record: RawRecord, schedules: Mapping[str, Schedule]) -> tuple[Row, ...] | None:
        """Return the record's events, None if a condition filters the record out; see `Reader`."""
        value = self.decode(record)
        if value is None:
            return None
        stream: str | None = None
        rows: list[Row] = []
        try:
            streams = [vector.stream(record, value) for vector in self._vectors]
            stream = streams[0]
            fields = self.fields(record, value)
            for vector, stream in zip(self._vectors, streams, strict=True):
                vectors, are_many = vector.split(record, value)
                if are_many or len(streams) > 1:
                    ids = [f"{fields.event_id}#{len(rows) + i}" for i in range(len(vectors))]
                else:
                    ids = [fields.event_id]
                for each, event_id in zip(vectors, ids, strict=True):
                    rows.append(_read_row(stream, fields, event_id, each, vector.number, record, schedules))
        except EventError as error:
            error.stream = stream
            raise
        return tuple(rows)

    def decode(self, record: RawRecord) -> object | None:
        """Return the decoded value of a record, None if a condition filters the record out.

        Raises:
            EventError: The value cannot be decoded.
            SchemaPending: The value cannot be decoded yet.
        """
        for condition in self._before:
            if not condition.is_met(record, None):
                return None
        if record.value() is None:
            # A tombstone has no field, so it meets no condition on one.
            if self._after:
                return None
            raise EventError(Reason.UNDECODABLE, "no value (a tombstone)")
        value = self._deserialize(record)
        if value is None:
            raise EventError(Reason.INVALID, "value: null")
        for condition in self._after:
            if not condition.is_met(record, value):
                return None
        return value

    def fields(self, record: RawRecord, value: object) -> MappedFields:
        """Return the fields that the record's events share.

        Raises:
            EventError: A field is missing or has a wrong value.
        """
        segments: dict[str, str] | None = None
        if self._segments:
            found = ((key, text(record, value)) for key, text in self._segments.items())
            segments = {key: each for key, each in found if each is not None}
        event_id = self._event_id(record, value)
        if event_id is None:
            event_id = f"{record.topic()}-{record.partition()}-{record.offset()}"[-_LONGEST_ID:]
        return MappedFields(
            self._read_time(record, value), event_id, self._model_version(record, value), segments
        )

    def dimensions(self, record: RawRecord, value: object) -> dict[str, int]:
        """Return the length of the record's vectors by stream; of several of one stream, the first.

        Raises:
            EventError: A stream or a vector is missing or has a wrong type.
        """
        lengths: dict[str, int] = {}
        for vector in self._vectors:
            first = next(iter(vector.split(record, value)[0]), None)
            if first is not None:
                size = vector.number.size if isinstance(first, bytes) else 1
                lengths.setdefault(vector.stream(record, value), len(first) // size)
        return lengths

    def _read_time(self, record: RawRecord, value: object) -> int:
        source = self._settings.timestamp
        found = _require(self._time(record, value), "timestamp", source)
        try:
            return read_time(source, found)
        except ValueError as error:
            raise EventError(Reason.INVALID, f"timestamp: {error} ({describe_source(source)})") from None


class _Condition:
    """A condition on a record."""

    def __init__(self, condition: Condition) -> None:
        self._get = compile_source(condition)
        self._values = frozenset(map(to_text, condition.values))
        self.needs_value = condition.path is not None or condition.record == "value"

    def is_met(self, record: RawRecord, value: object) -> bool:
        try:
            return to_text(self._get(record, value)) in self._values
        except ValueError:
            return False


class _Text:
    """An optional field that is text."""

    def __init__(self, name: str, source: Source | None) -> None:
        self._name = name
        self._source = source
        self._get: Getter = (lambda record, value: None) if source is None else compile_source(source)

    def __call__(self, record: RawRecord, value: object) -> str | None:
        """Return the field, None if it is missing.

        Raises:
            EventError: The field is no text.
        """
        found = self._get(record, value)
        if found is None or type(found) is str:
            return found
        try:
            return to_text(found)
        except ValueError as error:
            where = describe_source(self._source) if self._source is not None else ""
            raise EventError(Reason.INVALID, f"{self._name}: {error} ({where})") from None


class _Vector:
    """One of the vectors of a record, and its stream."""

    def __init__(self, settings: VectorSettings) -> None:
        self._settings = settings
        self._stream = _Text("stream", settings.stream)
        self._get = compile_source(settings.embedding)
        embedding = settings.embedding
        self._shape = None if embedding.shape is None else compile_path(embedding.shape)
        self.number = (
            F32
            if embedding.dtype == "f32"
            else VectorFormat(embedding.dtype, embedding.scale, embedding.zero_point)
        )

    def stream(self, record: RawRecord, value: object) -> str:
        """Return the stream's name.

        Raises:
            EventError: The name is missing or no text.
        """
        return _require(self._stream(record, value), "stream", self._settings.stream)

    def split(self, record: RawRecord, value: object) -> tuple[Sequence[list[object] | bytes], bool]:
        """Return the vectors, and whether there may be several; see `split_vectors`."""
        embedding = self._settings.embedding
        found = _require(self._get(record, value), "embedding", embedding)
        shape = None
        if self._shape is not None and (shape := self._shape(value)) is None:
            raise EventError(Reason.INVALID, f"embedding: its shape is missing ({embedding.shape})")
        return split_vectors(found, self.number, shape)


def _read_row(
    stream: str,
    fields: MappedFields,
    event_id: str,
    vector: list[object] | bytes,
    number: VectorFormat,
    record: RawRecord,
    schedules: Mapping[str, Schedule],
) -> Row:
    """Return an event: by the fast path where it is certainly one, else by the contract itself."""
    schedule = schedules.get(stream)
    if schedule is not None:
        expected = in_force(schedule, fields.time_ms)
        if has_valid_options(fields.model_version, event_id, fields.segments, expected):
            if type(vector) is bytes:
                if len(vector) == expected.dimension * number.size:
                    return expected, number, fields.time_ms, vector, event_id, fields.segments
            elif len(vector) == expected.dimension:
                try:
                    packed = expected.pack(*vector)
                except (struct.error, OverflowError):
                    packed = b""
                raw = record.value() or b""
                if packed and (not may_hold_bool(raw) or _NUMBERS.issuperset(map(type, vector))):
                    return expected, F32, fields.time_ms, packed, event_id, fields.segments
    if isinstance(vector, bytes):
        if len(vector) % number.size:
            detail = f"embedding: {len(vector)} bytes are no whole number of {number.dtype}"
            raise EventError(Reason.INVALID, detail)
        vector = number.to_float32(vector).tolist()
    event = {
        "stream": stream,
        "timestamp": fields.time_ms,
        "embedding": vector,
        "model_version": fields.model_version,
        "event_id": event_id,
        "segments": fields.segments,
    }
    return read_exact(event, schedules)


def _require(value: _Found | None, field: str, source: Source) -> _Found:
    """Return a field's value.

    Raises:
        EventError: The field is missing.
    """
    if value is None:
        raise EventError(Reason.INVALID, f"{field}: missing ({describe_source(source)})")
    return value
