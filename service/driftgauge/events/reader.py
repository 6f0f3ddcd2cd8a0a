"""Reading of records by a mapping: events as columns, and each refused record with its fault."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

from driftgauge.config.inputs import MAX_TEXT, InputSettings
from driftgauge.config.settings import LARGEST_RECORD
from driftgauge.errors import BrokerError
from driftgauge.events.columns import RECORD_ID, Columns, default_id
from driftgauge.events.conditions import RecordCondition, Unmet
from driftgauge.events.encodings.encoding import Encoding
from driftgauge.events.fields import Field, FoundVectors, NumberFields, SegmentFields, VectorField
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.sources import Batch, compile_steps
from driftgauge.events.vectors import LISTS, check_number, check_numbers, describe_kind

__all__ = ["Reader"]

# The decoded value of a hostile record may take twenty times the memory of its bytes.
_MOST_BYTES = 2_000_000
# One odd record among many costs about as much again as reading all of them.
_PARTS = 8

Events = Mapping[str, Sequence[Any]]
"""Entries of events by the name of their column, see `Columns`; none of none."""


class Reader:
    """Reads the events of a topic's records by its mapping.

    Attributes:
        settings: The mapping.
        fields: What reads the fields but those of vectors, by column.
        vectors: What reads each vector of the mapping, and its stream.
        is_own: Records are in the service's own contract, where an event without an id has none; of a mapping
            it gets topic, partition and offset as one.
        unit: The unit of a time that is a number, as the mapping says; None in the service's own contract.
        stream: The stream of all events, if it is a constant.
    """

    def __init__(
        self,
        settings: InputSettings,
        encoding: Encoding,
        fields: Mapping[str, Field | SegmentFields | NumberFields],
        vectors: Sequence[VectorField],
        *,
        is_own: bool = False,
    ) -> None:
        self.settings = settings
        self.fields = fields
        self.vectors = vectors
        self.is_own = is_own
        self.unit = None if is_own else settings.timestamp.unit
        streams = {vector.stream.constant for vector in settings.vectors}
        self.stream = streams.pop() if len(streams) == 1 else None
        self._encoding = encoding
        # Conditions that need no decoded value come first: what they filter out need not be decodable.
        conditions = [RecordCondition(condition) for condition in settings.where]
        self._before = [each for each in conditions if not each.needs_value]
        self._after = [each for each in conditions if each.needs_value]
        # KServe logs requests and responses: what a condition on an attribute filters out is not decoded.
        self._on_attributes = [each for each in self._after if each.is_on_attribute]
        # A call less for the usual record.
        self._decode_mapped = self._decode if conditions else encoding.decode_mapped
        self._to_list = None if settings.list_path is None else compile_steps(settings.list_path)
        self._list_name = (settings.vectors[0].embedding.path or "").partition("[*]")[0] or "the value"
        self._are_many = len(vectors) > 1 or self._to_list is not None

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
                value = self._decode(record) if raw is None else self._decode_mapped(record)
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
        """Add the events of some records at once; if that fails in parts, until one record is refused."""
        try:
            columns.add(self.read_values(rows, records, values))
        except (MemoryError, BrokerError):
            raise
        except Exception as fault:  # noqa: BLE001 - as in `read`
            if len(rows) == 1:
                columns.refuse(rows[0], self._locate(fault, records[0], values[0]))
                return
        else:
            return
        part = -(-len(rows) // _PARTS)
        for start in range(0, len(rows), part):
            end = start + part
            self._add(columns, rows[start:end], records[start:end], values[start:end])

    def _locate(self, fault: Exception, record: RawRecord, value: object) -> Exception:
        """Return why a record is refused: of a list the fault of its first wrong item, which it names."""
        with suppress(EventError):
            if self._to_list is not None and (wrong := self.find_wrong(record, value)) is not None:
                index, error = wrong
                detail = f"{error.detail}; item {index} of {self._list_name}"
                return EventError(error.reason, detail, error.stream)
        return fault

    def find_wrong(self, record: RawRecord, value: object) -> tuple[int, EventError] | None:
        """Return the index of a record's first wrong item, see `items`, and its fault; None without one.

        Raises:
            EventError: As `items`.
        """
        items = self.items(value)
        start, end = 0, len(items)
        while start < end:
            # A list may have thousands of items, and only the last be wrong.
            middle = max(start + 1, (start + end) // 2)
            size = middle - start
            try:
                self.read_batch([0] * size, Batch([record] * size, [value] * size, items[start:middle], {}))
            except EventError as error:
                if size == 1:
                    return start, error
                end = middle
            else:
                start = middle
        return None

    def read_values(
        self, rows: Sequence[int], records: Sequence[RawRecord], values: Sequence[object]
    ) -> Events:
        """Return the events of n records, given their rows and decoded values.

        Raises:
            EventError: A record is refused.
        """
        if self._to_list is None and None not in values:
            return self.read_batch(rows, Batch(records, values, values, {}))
        lists = [*map(self.items, values)]
        columns: tuple[Sequence[Any], ...] = rows, records, values
        rows, records, values = (
            [*chain.from_iterable(map(repeat, column, map(len, lists)))] for column in columns
        )
        return self.read_batch(rows, Batch(records, values, [*chain.from_iterable(lists)], {}))

    def read_batch(self, rows: Sequence[int], batch: Batch) -> Events:
        """Return the events of a batch of n entries, given the rows of their records.

        Raises:
            EventError: An entry is refused.
        """
        streams = [vector.stream.read(batch) for vector in self.vectors]
        stream = streams[0]
        try:
            columns = {name: field.read(batch) for name, field in self.fields.items()}
            # The costliest columns are the last, for what is refused by one of the others.
            found = []
            for stream, vector in zip(streams, self.vectors, strict=True):  # noqa: B007 - of the fault below
                found.append(vector.read(batch))
        except EventError as error:
            error.stream = stream[0]
            raise
        columns["row"] = rows
        vectors, numbers, entries, _ = found[0]
        if self._are_many or entries is not None:
            return self._number(batch, columns, streams, found)
        if not self.is_own:
            columns["event_id"] = [RECORD_ID if each is None else each for each in columns["event_id"]]
        return columns | {"stream": stream, "vector": vectors, "number": numbers}

    def _number(
        self,
        batch: Batch,
        columns: Events,
        streams: Sequence[Sequence[str]],
        found: Sequence[FoundVectors],
    ) -> Events:
        """Return events of entries that may have several, with their number in the record in the id."""
        parts = []
        for stream, (vectors, numbers, entries, are_many) in zip(streams, found, strict=True):
            owners = range(len(vectors)) if entries is None else entries
            flags = repeat(self._are_many) if are_many is None or self._are_many else are_many
            parts += [*zip(owners, [stream[i] for i in owners], vectors, numbers, flags, strict=False)]
        if not parts:
            return {}
        # Of an entry in the order of the mapping, because sorting is stable.
        entries, stream, vectors, numbers, flags = zip(*sorted(parts, key=itemgetter(0)), strict=True)
        columns = {name: [column[i] for i in entries] for name, column in columns.items()}
        check_numbers(columns["row"])
        first: dict[int, int] = {}
        ids = columns["event_id"] = [
            f"{default_id(batch.records[entry]) if each is None else each}#{i - first.setdefault(row, i)}"
            if is_many
            else RECORD_ID
            if each is None
            else each
            for i, (entry, row, each, is_many) in enumerate(
                zip(entries, columns["row"], columns["event_id"], flags, strict=True)
            )
        ]
        if any(type(each) is str and len(each) > MAX_TEXT for each in ids):
            detail = f"event_id: longer than {MAX_TEXT} characters with the number of the vector"
            raise EventError(Reason.INVALID, detail)
        return columns | {"stream": stream, "vector": vectors, "number": numbers}

    def items(self, value: object) -> Sequence[object]:
        """Return the items of the list of a decoded value that are events; the value if it is one itself.

        Raises:
            EventError: The value is null, or there is no such list.
        """
        if value is None:
            raise EventError(Reason.INVALID, "value: null")
        if self._to_list is None:
            return [value]
        found = self._to_list(value)
        if not isinstance(found, LISTS):
            kind = "missing" if found is None else f"{describe_kind(found)}, where a list is expected"
            raise EventError(Reason.INVALID, f"{self._list_name}: {kind}")
        check_number(len(found))
        return found.tolist() if isinstance(found, memoryview) else found

    def decode(self, record: RawRecord) -> object:
        """Return the decoded value of a record, or the condition that filters the record out as `Unmet`.

        Raises:
            EventError: The value cannot be decoded.
            SchemaPending: The value cannot be decoded yet.
        """
        return self._decode(record, is_mapped=False)

    def _decode(self, record: RawRecord, *, is_mapped: bool = True) -> object:
        decode = self._encoding.decode_mapped if is_mapped else self._encoding.decode
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
