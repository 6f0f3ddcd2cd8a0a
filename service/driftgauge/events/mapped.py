"""Reading of records by a mapping from the configuration, wherever an event's fields are."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from driftgauge.config.inputs import InputSettings, VectorSettings
from driftgauge.events.deserializers import read_attributes
from driftgauge.events.mapped_fast import compile_bytes, compile_single
from driftgauge.events.mapped_fields import (
    MappedVector,
    RecordCondition,
    TextField,
    Unmet,
    VectorField,
    read_row,
    require,
)
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.rows import Events, Row, default_id, may_hold_bool
from driftgauge.events.sources import RECORD_TIME, compile_source, describe_source, read_time
from driftgauge.events.vectors import F32, F64

__all__ = ["Deserializer", "MappedReader"]

Deserializer = Callable[[RawRecord], object]
"""Returns a record's decoded value. Raises EventError or SchemaPending, as `MappedReader.read`."""


class MappedReader:
    """Reads the events of a topic's records by its mapping.

    Attributes:
        settings: The mapping.
        event_id, model_version, snippet: The fields, given a record and its decoded value.
        segments_source: Where the segments are, in words.
        gives_ids: Whether an event without an id gets topic, partition and offset as one.
        unit: The unit of a time that is a number, as its mapping says; None without a mapping.
        stream: The stream of all events, if it is a constant.
    """

    gives_ids = True

    def __init__(
        self, settings: InputSettings, deserialize: Deserializer, read_mapped: Deserializer | None = None
    ) -> None:
        """Create a reader.

        Args:
            settings: The mapping.
            deserialize: The deserializer of its encoding.
            read_mapped: One that takes less time, and may leave out what the mapping does not read.
        """
        self.settings = settings
        self.unit: str | None = settings.timestamp.unit
        streams = {vector.stream.constant for vector in settings.vectors}
        self.stream = streams.pop() if len(streams) == 1 else None
        self._shows_lists = settings.shows_lists
        self._deserialize = deserialize
        self._read_mapped = read_mapped or deserialize
        # Conditions that need no decoded value come first: what they filter out need not be decodable.
        conditions = [RecordCondition(condition) for condition in settings.where]
        self._before = [each for each in conditions if not each.needs_value]
        self._after = [each for each in conditions if each.needs_value]
        # KServe logs requests and responses: what a condition on an attribute filters out is not decoded.
        is_cloudevent = settings.encoding == "cloudevents"
        self._on_attributes = [each for each in self._after if each.is_on_attribute and is_cloudevent]
        self._has_conditions = bool(conditions)
        self._time = compile_source(settings.timestamp)
        self._record_time = compile_source(RECORD_TIME)
        self.event_id = TextField("event_id", settings.event_id)
        self.model_version = TextField("model_version", settings.model_version)
        self.snippet = TextField("snippet", settings.snippet)
        self._segments = {
            key: TextField(f"segments.{key}", source) for key, source in settings.segments.items()
        }
        self.segments_source = ", ".join(map(describe_source, settings.segments.values())) or "not mapped"
        self._vectors = [VectorField(vector) for vector in settings.vectors]
        is_single = len(settings.vectors) == 1 and not settings.vectors[0].embedding.may_be_several
        self._bytes = compile_bytes(settings)
        get_segments = self.segments if self._segments else None
        self._single = compile_single(settings, get_segments) if is_single else None

    def read_all(self, records: Sequence[RawRecord]) -> Iterable[Row] | None:
        """Return the event of each record, faster than one by one; None unless all certainly are one."""
        return None if self._bytes is None else self._bytes(records)

    def read(self, record: RawRecord) -> Events:
        """Return the events of a record.

        Raises:
            EventError: The record is refused as a whole.
            SchemaPending: The record cannot be read yet.
        """
        # A call less for the usual record: one with a value, of a mapping without conditions.
        value = None if self._has_conditions or record.value() is None else self._read_mapped(record)
        if value is None:
            value = self._decode(record, self._read_mapped)
            if type(value) is Unmet:
                return None
        row = None if self._single is None else self._single(record, value)
        return self._read(record, value) if row is None else row

    def _read(self, record: RawRecord, value: object) -> list[Row]:
        """Return the events of a record, given its decoded value.

        Raises:
            EventError: The record is refused.
        """
        stream: str | None = None
        try:
            streams = self.streams(record, value)
            stream = streams[0]
            time_ms, event_id = self.time_ms(record, value), self.event_id(record, value)
            event_id = default_id(record) if event_id is None else event_id
            version, segments = self.model_version(record, value), self.segments(record, value)
            snippet = self.snippet(record, value)
            rows = []
            for _, vectors in self.each_vector(record, value, streams, event_id):
                if isinstance(vectors, EventError):
                    raise vectors
                for vector in vectors:
                    stream = vector.stream
                    rows.append(read_row(vector, time_ms, version, segments, snippet))
        except EventError as error:
            error.stream = error.stream or stream
            raise
        return rows

    def decode(self, record: RawRecord) -> object:
        """Return the decoded value of a record, or the condition that filters the record out as `Unmet`.

        Raises:
            EventError: The value cannot be decoded.
            SchemaPending: The value cannot be decoded yet.
        """
        return self._decode(record, self._deserialize)

    def _decode(self, record: RawRecord, deserialize: Deserializer) -> object:
        attributes = read_attributes(record) if self._on_attributes else None
        for condition in self._before + (self._on_attributes if attributes is not None else []):
            if (unmet := condition.check(record, attributes)) is not None:
                return unmet
        is_tombstone = record.value() is None
        value = None if is_tombstone else deserialize(record)
        # Neither a tombstone nor null has a field, so they meet no condition on one.
        for condition in self._after:
            if (unmet := condition.check(record, value)) is not None:
                return unmet
        if is_tombstone:
            raise EventError(Reason.UNDECODABLE, "no value (a tombstone)")
        if value is None:
            raise EventError(Reason.INVALID, "value: null")
        return value

    def vector_fields(self, value: object) -> list[VectorField]:
        """Return the fields of a value that are vectors."""
        return self._vectors

    def streams(self, record: RawRecord, value: object) -> list[str]:
        """Return the stream of each vector of the mapping.

        Raises:
            EventError: A name is missing or no text.
        """
        return [vector.stream(record, value) for vector in self.vector_fields(value)]

    def time_ms(self, record: RawRecord, value: object) -> int:
        """Return the event time, milliseconds since the epoch.

        Raises:
            EventError: The time is missing or no time.
        """
        source, found = self.settings.timestamp, self._time(record, value)
        if found is None and source.fallback:
            source, found = RECORD_TIME, self._record_time(record, value)
        found = require(found, "timestamp", source)
        try:
            return read_time(source, found)
        except ValueError as error:
            raise EventError(Reason.INVALID, f"timestamp: {error} ({describe_source(source)})") from None

    def segments(self, record: RawRecord, value: object) -> dict[str, str] | None:
        """Return the segments by key, without those that are missing; None if the mapping has none.

        Raises:
            EventError: The value of a segment is no text.
        """
        if not self._segments:
            return None
        found = ((key, text(record, value)) for key, text in self._segments.items())
        return {key: each for key, each in found if each is not None}

    def each_vector(
        self, record: RawRecord, value: object, streams: Sequence[str], event_id: str
    ) -> Iterator[tuple[VectorSettings, list[MappedVector] | EventError]]:
        """Yield each vector of the mapping with the vectors that it finds in a record, or their fault."""
        numbers = count()
        for source, stream in zip(self.vector_fields(value), streams, strict=True):
            try:
                embedding, vectors, are_many = source.find(record, value)
            except EventError as error:
                error.stream = stream
                yield source.settings, error
                continue
            # The record's text does not show what a list holds that comes from a text within it. The text is
            # searched once, not for each of its vectors.
            is_shown = self._shows_lists and type(embedding) is list
            may_be_bool = not is_shown or may_hold_bool(record.value() or b"")
            number_format = source.number
            if isinstance(embedding, memoryview):
                number_format = F32 if embedding.itemsize == F32.size else F64
                vectors = [memoryview(vector).cast("B") for vector in vectors]  # type: ignore[arg-type]
            ids = [event_id]
            if are_many or len(streams) > 1:
                ids = [f"{event_id}#{next(numbers)}" for _ in vectors]
            yield (
                source.settings,
                [
                    MappedVector(stream, own_id, vector, number_format, may_be_bool)
                    for own_id, vector in zip(ids, vectors, strict=True)
                ],
            )
