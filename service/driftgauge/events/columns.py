"""Columns: the events of a batch of records, and what became of its other records."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import chain, repeat
from typing import Any

from driftgauge.config.inputs import InputSettings, Source
from driftgauge.events.contract import MAX_TEXT
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, SchemaPending
from driftgauge.events.rows import RECORD_ID, RecordId, Row, default_id, is_stream, pack_list
from driftgauge.events.sources import (
    RECORD_TIME,
    Batch,
    compile_column,
    compile_steps,
    read_time,
    to_optional_text,
)
from driftgauge.events.timestamps import LAST_MS
from driftgauge.events.vectors import (
    F32,
    F64,
    LISTS,
    MOST_VECTORS,
    VectorFormat,
    parse_text,
    split_vectors,
    to_format,
)

__all__ = ["ColumnReader", "Columns", "NotSureError"]

_TEXTS = {str, type(None)}
_VECTORS = {bytes, memoryview, list}
_FORMATS = {"f": F32, "d": F64}
_RECORD_TIMES = compile_column(RECORD_TIME)


@dataclass(slots=True)
class Columns:
    """The events of a batch of records: entry i of each list but the last three is one event.

    Attributes:
        row: The index of the event's record in the batch; never falls.
        stream, time_ms, vector, number, event_id, model_version, segments, snippet: As in a `Row`.
        filtered: The rows of the records that the configuration filters out.
        refused: The rows of the records that are refused as a whole, each with why.
        pending: The rows of the records that cannot be read yet.
    """

    row: list[int] = field(default_factory=list)
    stream: list[str] = field(default_factory=list)
    time_ms: list[int] = field(default_factory=list)
    vector: list[bytes | memoryview] = field(default_factory=list)
    number: list[VectorFormat] = field(default_factory=list)
    event_id: list[str | RecordId | None] = field(default_factory=list)
    model_version: list[str | None] = field(default_factory=list)
    segments: list[dict[str, str] | None] = field(default_factory=list)
    snippet: list[str | None] = field(default_factory=list)
    filtered: list[int] = field(default_factory=list)
    refused: list[tuple[int, Exception]] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.row)

    def add(self, columns: Iterable[Iterable[Any]]) -> None:
        """Add n events: their rows, and n entries of each field of a `Row`."""
        for name, entries in zip(_COLUMNS, columns, strict=True):
            getattr(self, name).extend(entries)

    def refuse(self, row: int, fault: Exception) -> None:
        """Add a record that is refused, or that cannot be read yet."""
        if isinstance(fault, SchemaPending):
            self.pending.append(row)
            return
        if isinstance(fault, EventError):
            # The traceback of the first would hold all values of the batch, in a cycle with these columns.
            fault = EventError(fault.reason, fault.detail, fault.stream)
        self.refused.append((row, fault))

    def take(self, entries: Sequence[int]) -> "Columns":
        """Return the events of some entries, in this order, beside the other records."""
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return replace(self, **{name: [column[i] for i in entries] for name, column in columns.items()})

    def dimensions(self) -> list[int]:
        """Return the number of numbers of each event's vector."""
        return [
            len(vector) if type(vector) is memoryview else len(vector) // number.size
            for vector, number in zip(self.vector, self.number, strict=True)
        ]


_COLUMNS = tuple(each.name for each in fields(Columns))[: 1 + len(Row._fields)]


class NotSureError(Exception):
    """Not all records of a batch are certainly an event; the exact judge is to read them one by one."""


class ColumnReader:
    """Reads the fields of records as columns, where each record certainly holds events.

    What is usual of a column, such as texts only, is checked of its types as a whole; the work of an event is
    a few list items.
    """

    own_id: RecordId | None = RECORD_ID
    """The id of an event without one."""

    def __init__(self, settings: InputSettings) -> None:
        """Create a reader of a mapping with one path to vectors."""
        (vector,) = settings.vectors
        self.read_time: Callable[[object], int] = partial(read_time, settings.timestamp)
        self._is_ms = settings.timestamp.unit == "ms"
        # The record's time is in ms.
        self._has_fallback = settings.timestamp.fallback is not None and self._is_ms
        self._rename = vector.stream.rename
        self._number = to_format(vector.embedding)
        self._to_list = None if settings.list_path is None else compile_steps(settings.list_path)
        self._stream = compile_column(vector.stream)
        self._time = compile_column(settings.timestamp)
        self._embedding = compile_column(vector.embedding)
        self._dimension, shape = vector.embedding.dimension, vector.embedding.shape
        self._shape = compile_column(None if shape is None else Source(path=shape))
        self._has_shape = shape is not None
        self._event_id = compile_column(settings.event_id)
        self._model_version = compile_column(settings.model_version)
        self._snippet = compile_column(settings.snippet)
        self._segments = {key: compile_column(source) for key, source in settings.segments.items()}

    def read(
        self, rows: Sequence[int], records: Sequence[RawRecord], values: Sequence[Any]
    ) -> tuple[Sequence[Any], ...]:
        """Return the events of n records, given their rows and decoded values, as columns; see `Columns`.

        Raises:
            NotSureError, ValueError, EventError: A record does not certainly hold events.
        """
        if None in values:
            raise NotSureError
        batch = Batch(records, values, values)
        if self._to_list is not None:
            lists: list[Any] = [*map(self._to_list, values)]
            if not {list}.issuperset(map(type, lists)) or max(map(len, lists)) > MOST_VECTORS:
                raise NotSureError
            rows, records, values = _repeat((rows, records, values), [*map(len, lists)])
            batch = Batch(records, values, [*chain.from_iterable(lists)])
        streams = self.texts(self._stream(batch))
        if self._rename:
            streams = [self._rename.get(each, each) for each in streams]  # type: ignore[arg-type]
        if not all(each is not None and is_stream(each) for each in set(streams)):
            raise NotSureError
        times_ms = self.times_ms(batch, self._time(batch))
        event_ids: Sequence[Any] = self.texts(self._event_id(batch), MAX_TEXT)
        versions = self.texts(self._model_version(batch), MAX_TEXT)
        segments = self.segments(batch)
        snippets = self.texts(self._snippet(batch))
        # The costliest column is the last, for what is not sure of one of the others.
        found = self.vectors(batch)
        is_nested = {type(each) is list and type(next(iter(each), None)) in LISTS for each in found}
        are_many = self._has_shape or self._dimension is not None or is_nested != {False}
        if are_many:
            parts = self._split(found, self._shape(batch), is_nested)
            columns = rows, batch.records, streams, times_ms, event_ids, versions, segments, snippets
            rows, records, streams, times_ms, event_ids, versions, segments, snippets = _repeat(
                columns, [*map(len, parts)]
            )
            found = [*chain.from_iterable(parts)]
        if are_many or self._to_list is not None:
            event_ids = self._number_ids(rows, records, event_ids)
        elif self.own_id is not None and None in event_ids:
            event_ids = [self.own_id if each is None else each for each in event_ids]
        vectors = self._pack(found)
        numbers = [_FORMATS[each.format] if type(each) is memoryview else self._number for each in vectors]
        return rows, streams, times_ms, vectors, numbers, event_ids, versions, segments, snippets

    def texts(self, column: Sequence[object], most: int | None = None) -> Sequence[str | None]:
        """Return a column as texts of at most so many characters, None where a field is missing."""
        texts: Any = column if _TEXTS.issuperset(map(type, column)) else [*map(to_optional_text, column)]
        if most is not None and max(map(len, filter(None, texts)), default=0) > most:
            raise NotSureError
        return texts  # type: ignore[no-any-return]

    def times_ms(self, batch: Batch, column: Sequence[Any]) -> Sequence[int]:
        """Return a column as event times, milliseconds since the epoch."""
        if self._has_fallback and None in column:
            stamps = _RECORD_TIMES(batch)
            column = [stamp if each is None else each for each, stamp in zip(column, stamps, strict=True)]
        is_usual = self._is_ms and {int}.issuperset(map(type, column))
        if is_usual and min(column) >= 0 and max(column) <= LAST_MS:
            return column
        return [*map(self.read_time, column)]

    def vectors(self, batch: Batch) -> Sequence[Any]:
        """Return the vectors as the records have them."""
        return self._embedding(batch)

    def segments(self, batch: Batch) -> Sequence[Mapping[str, str] | None]:
        """Return the segments by key, without those that are missing; None if the mapping has none."""
        if not self._segments:
            return [None] * len(batch.records)
        columns = [self.texts(column(batch), MAX_TEXT) for column in self._segments.values()]
        return [
            {key: text for key, text in zip(self._segments, texts, strict=True) if text is not None}
            for texts in zip(*columns, strict=True)
        ]

    def _split(
        self, found: Sequence[Any], shapes: Sequence[Any], is_nested: Set[bool]
    ) -> list[Sequence[Any]]:
        """Return the vectors of each value that may hold several."""
        is_cut = self._has_shape or self._dimension is not None
        if (self._has_shape and None in shapes) or (not is_cut and is_nested != {True}):
            raise NotSureError
        return [
            split_vectors(each, self._number, shape, self._dimension)[0]
            for each, shape in zip(found, shapes, strict=True)
        ]

    def _number_ids(
        self, rows: Sequence[int], records: Sequence[RawRecord], event_ids: Sequence[str | None]
    ) -> Sequence[str]:
        """Return the ids of events with their number in the record."""
        first: dict[int, int] = {}
        return self.texts(
            [
                f"{default_id(records[i]) if each is None else each}#{i - first.setdefault(row, i)}"
                for i, (row, each) in enumerate(zip(rows, event_ids, strict=True))
            ],
            MAX_TEXT,
        )  # type: ignore[return-value]

    def _pack(self, found: Sequence[Any]) -> Sequence[bytes | memoryview]:
        """Return vectors as bytes in the mapping's format, or as views of floats or doubles."""
        kinds = set(map(type, found))
        if str in kinds:
            found = [parse_text(each) if type(each) is str else each for each in found]
            kinds = set(map(type, found))
        if list in kinds:
            found = [_view(each) if type(each) is list else each for each in found]
        lengths = {len(each) for each in found if type(each) is bytes}
        is_odd = not kinds <= _VECTORS or any(length % self._number.size for length in lengths)
        if is_odd or not all(map(len, found)):
            raise NotSureError
        return found


def _repeat(columns: Iterable[Sequence[Any]], counts: Sequence[int]) -> list[list[Any]]:
    """Return columns where each entry is repeated as often as its count says."""
    return [[*chain.from_iterable(map(repeat, column, counts))] for column in columns]


def _view(numbers: list[object]) -> memoryview:
    packed = pack_list(numbers)
    if packed is None:
        raise NotSureError
    return memoryview(packed).cast("f")  # type: ignore[return-value]
