"""Reading of records by a mapping: events as columns, and by the exact judge what is not certainly one."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from driftgauge.config.inputs import InputSettings, VectorSettings
from driftgauge.config.settings import LARGEST_RECORD
from driftgauge.errors import BrokerError
from driftgauge.events.columns import ColumnReader, Columns
from driftgauge.events.encodings.encoding import Encoding
from driftgauge.events.fields import (
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
from driftgauge.events.rows import Row, default_id
from driftgauge.events.sources import RECORD_TIME, compile_source, compile_steps, describe_source, read_time
from driftgauge.events.vectors import check_number, describe_kind

__all__ = ["Reader"]

# The decoded value of a hostile record may take twenty times the memory of its bytes.
_MOST_BYTES = 2_000_000
# One odd record among many costs about as much again as reading all of them.
_PARTS = 8


class Reader:
    """Reads the events of a topic's records by its mapping.

    Attributes:
        settings: The mapping.
        event_id, model_version, snippet: The fields, given a record, its decoded value and an item of it.
        segments_source: Where the segments are, in words.
        gives_ids: Whether an event without an id gets topic, partition and offset as one.
        unit: The unit of a time that is a number, as its mapping says; None without a mapping.
        stream: The stream of all events, if it is a constant.
    """

    gives_ids = True

    def __init__(self, settings: InputSettings, encoding: Encoding, columns: ColumnReader | None) -> None:
        """Create a reader.

        Args:
            settings: The mapping.
            encoding: What decodes values.
            columns: What reads batches; None if the mapping has more than one path to vectors.
        """
        self.settings = settings
        self.unit: str | None = settings.timestamp.unit
        streams = {vector.stream.constant for vector in settings.vectors}
        self.stream = streams.pop() if len(streams) == 1 else None
        self._encoding = encoding
        self._columns = columns
        # Conditions that need no decoded value come first: what they filter out need not be decodable.
        conditions = [RecordCondition(condition) for condition in settings.where]
        self._before = [each for each in conditions if not each.needs_value]
        self._after = [each for each in conditions if each.needs_value]
        # KServe logs requests and responses: what a condition on an attribute filters out is not decoded.
        self._on_attributes = [each for each in self._after if each.is_on_attribute]
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
        self._to_list = None if settings.list_path is None else compile_steps(settings.list_path)
        self._list_name = (settings.vectors[0].embedding.path or "").partition("[*]")[0] or "the value"

    def read(
        self,
        records: Sequence[RawRecord],
        first: int,
        columns: Columns,
        largest_bytes: int = LARGEST_RECORD,
    ) -> None:
        """Add what becomes of records of this topic to columns.

        Args:
            records: The records.
            first: The row of the first of them.
            columns: Is added to; what a record is refused for may be any exception of its encoding.
            largest_bytes: The largest value of a record that is read.

        Raises:
            BrokerError: There is no schema registry that answers.
        """
        rows: list[int] = []
        values: list[object] = []
        held = 0
        for row, record in enumerate(records, first):
            raw = record.value()
            size = 0 if raw is None else len(raw)
            if size > largest_bytes:
                detail = f"value: {size:,} bytes, {largest_bytes:,} are allowed (largest_record)"
                columns.refuse(row, EventError(Reason.TOO_LARGE, detail))
                continue
            try:
                # A call less for the usual record: one with a value, of a mapping without conditions.
                value = None if self._has_conditions or raw is None else self._encoding.decode_mapped(record)
                if value is None:
                    value = self._decode(record, self._encoding.decode_mapped)
            except (MemoryError, BrokerError):
                raise
            except Exception as fault:  # noqa: BLE001 - a record must not stop all of them
                columns.refuse(row, fault)
                continue
            if type(value) is Unmet:
                columns.filtered.append(row)
                continue
            rows.append(row)
            values.append(value)
            held += size
            if held > _MOST_BYTES:
                self._add(columns, rows, [records[each - first] for each in rows], values)
                rows, values, held = [], [], 0
        if rows:
            self._add(columns, rows, [records[each - first] for each in rows], values)

    def _add(
        self, columns: Columns, rows: Sequence[int], records: Sequence[RawRecord], values: Sequence[object]
    ) -> None:
        """Add the events of some records: as columns if each certainly is one, else in parts, at last singly.

        The exact judge reads a single record that is not certainly an event.
        """
        part = 1
        if self._columns is not None:
            try:
                columns.add(self._columns.read(rows, records, values))
            except (MemoryError, BrokerError):
                raise
            except Exception:  # noqa: BLE001 - whatever it is, the exact judge meets it again
                part = -(-len(rows) // _PARTS)
            else:
                return
        if len(rows) > 1:
            for start in range(0, len(rows), part):
                end = start + part
                self._add(columns, rows[start:end], records[start:end], values[start:end])
            return
        try:
            found = self.judge(records[0], values[0])
        except (MemoryError, BrokerError):
            raise
        except Exception as fault:  # noqa: BLE001 - as in `read`
            columns.refuse(rows[0], fault)
        else:
            if found:
                columns.add([[rows[0]] * len(found), *zip(*found, strict=True)])

    def judge(self, record: RawRecord, value: object) -> list[Row]:
        """Return the events of a record, given its decoded value.

        Raises:
            EventError: The record is refused.
        """
        numbers = count()
        return [
            row
            for index, item in enumerate(self.items(value))
            for row in self._judge_item(record, value, item, index, numbers)
        ]

    def _judge_item(
        self, record: RawRecord, value: object, item: object, index: int, numbers: Iterator[int]
    ) -> Iterator[Row]:
        stream: str | None = None
        try:
            streams = self.streams(record, value, item)
            stream = streams[0]
            time_ms, event_id = self.time_ms(record, value, item), self.event_id(record, value, item)
            event_id = default_id(record) if event_id is None else event_id
            version, segments = self.model_version(record, value, item), self.segments(record, value, item)
            snippet = self.snippet(record, value, item)
            for _, vectors in self.each_vector(record, value, item, streams, event_id, numbers):
                if isinstance(vectors, EventError):
                    raise vectors
                for vector in vectors:
                    stream = vector.stream
                    yield read_row(vector, time_ms, version, segments, snippet)
        except EventError as error:
            where = "" if self._to_list is None else f"; item {index} of {self._list_name}"
            raise EventError(error.reason, f"{error.detail}{where}", error.stream or stream) from None

    def items(self, value: object) -> Sequence[object]:
        """Return the items of the list of a decoded value that are events; the value where it is one itself.

        Raises:
            EventError: The value is null, or there is no such list.
        """
        if value is None:
            raise EventError(Reason.INVALID, "value: null")
        if self._to_list is None:
            return [value]
        found = self._to_list(value)
        if isinstance(found, memoryview):
            return found.tolist()
        if not isinstance(found, list):
            kind = "missing" if found is None else f"{describe_kind(found)}, where a list is expected"
            raise EventError(Reason.INVALID, f"{self._list_name}: {kind}")
        check_number(len(found))
        return found

    def decode(self, record: RawRecord) -> object:
        """Return the decoded value of a record, or the condition that filters the record out as `Unmet`.

        Raises:
            EventError: The value cannot be decoded.
            SchemaPending: The value cannot be decoded yet.
        """
        return self._decode(record, self._encoding.decode)

    def _decode(self, record: RawRecord, decode: Callable[[RawRecord], object]) -> object:
        attributes = self._encoding.attributes(record) if self._on_attributes else None
        for condition in self._before + (self._on_attributes if attributes is not None else []):
            if (unmet := condition.check(record, attributes)) is not None:
                return unmet
        is_tombstone = record.value() is None
        value = None if is_tombstone else decode(record)
        # Neither a tombstone nor null has a field, so they meet no condition on one.
        for condition in self._after:
            if (unmet := condition.check(record, value)) is not None:
                return unmet
        if is_tombstone:
            raise EventError(Reason.UNDECODABLE, "no value (a tombstone)")
        return value

    def vector_fields(self, value: object) -> list[VectorField]:
        """Return the fields of a value that are vectors."""
        return self._vectors

    def streams(self, record: RawRecord, value: object, item: object) -> list[str]:
        """Return the stream of each vector of the mapping.

        Raises:
            EventError: A name is missing or no text.
        """
        return [vector.stream(record, value, item) for vector in self.vector_fields(value)]

    def time_ms(self, record: RawRecord, value: object, item: object) -> int:
        """Return the event time, milliseconds since the epoch.

        Raises:
            EventError: The time is missing or no time.
        """
        source, found = self.settings.timestamp, self._time(record, value, item)
        if found is None and source.fallback:
            source, found = RECORD_TIME, self._record_time(record, value, item)
        found = require(found, "timestamp", source)
        try:
            return read_time(source, found)
        except ValueError as error:
            raise EventError(Reason.INVALID, f"timestamp: {error} ({describe_source(source)})") from None

    def segments(self, record: RawRecord, value: object, item: object) -> dict[str, str] | None:
        """Return the segments by key, without those that are missing; None if the mapping has none.

        Raises:
            EventError: The value of a segment is no text.
        """
        if not self._segments:
            return None
        found = ((key, text(record, value, item)) for key, text in self._segments.items())
        return {key: each for key, each in found if each is not None}

    def each_vector(
        self,
        record: RawRecord,
        value: object,
        item: object,
        streams: Sequence[str],
        event_id: str,
        numbers: Iterator[int],
    ) -> Iterator[tuple[VectorSettings, list[MappedVector] | EventError]]:
        """Yield each vector of the mapping with the vectors that it finds in an item, or their fault.

        Args:
            record: The record.
            value: Its decoded value.
            item: The item, see `items`.
            streams: The stream of each vector of the mapping.
            event_id: The id of the item's event.
            numbers: Number the events of the record.
        """
        for source, stream in zip(self.vector_fields(value), streams, strict=True):
            try:
                vectors, are_many = source.find(record, value, item)
            except EventError as error:
                error.stream = stream
                yield source.settings, error
                continue
            ids = [event_id]
            if are_many or len(streams) > 1 or self._to_list is not None:
                ids = [f"{event_id}#{next(numbers)}" for _ in vectors]
            yield (
                source.settings,
                [
                    MappedVector(stream, own_id, vector, source.number)
                    for own_id, vector in zip(ids, vectors, strict=True)
                ],
            )
