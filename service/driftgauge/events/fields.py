"""The fields of events: each is found, made what it must be and checked in one place, of a whole batch.

A value that is not what it must be raises its fault in words. `Reader` then reads smaller batches, and
refuses the record that has the fault.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from driftgauge.config.fields import STREAM_NAME
from driftgauge.config.inputs import MAX_TEXT, InputSettings, Source, VectorSettings
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.sources import (
    Batch,
    compile_column,
    describe_source,
    read_time,
    to_optional_text,
)
from driftgauge.events.timestamps import LAST_MS
from driftgauge.events.vectors import (
    F32,
    F64,
    LISTS,
    VectorFormat,
    check_numbers,
    pack_list,
    parse_text,
    split_vectors,
    to_format,
)

__all__ = [
    "Field",
    "FoundVectors",
    "NumberFields",
    "SegmentFields",
    "VectorField",
    "are_times",
    "compile_fields",
    "is_stream",
    "to_numbers",
]

ToText: TypeAlias = Callable[[Any], str | None]
"""Returns a value as text, None if it is missing; ValueError says why it has none."""

_TEXTS = {str, type(None)}
_FLAT = {bytes, memoryview, list}
_FORMATS = {"f": F32, "d": F64}
_MOST_NAMES = 4_096
_NUMBERS = {float, int, bool, type(None)}
_IS_STREAM = re.compile(STREAM_NAME).fullmatch


class Field:
    """A field of events.

    Attributes:
        source: Where it is; None if the mapping has none.
        place: The same in words.
    """

    def __init__(
        self,
        name: str,
        source: Source | None,
        convert: Callable[[Any], Any],
        are_usual: Callable[[Sequence[Any]], bool],
        *,
        is_required: bool = False,
    ) -> None:
        """Create a field.

        Args:
            name: Its name in messages.
            source: Where it is.
            convert: Makes a value what it must be; ValueError says why it cannot.
            are_usual: Whether no value of a column needs to be converted.
            is_required: Every event has one.
        """
        self.source = source
        self.place = "not mapped" if source is None else describe_source(source)
        self._name = name
        self._get = compile_column(source)
        self._convert = convert
        self._are_usual = are_usual
        self._is_required = is_required

    def read(self, batch: Batch) -> Sequence[Any]:
        """Return the field of each entry of a batch; None if it is missing.

        Raises:
            EventError: A value is not what it must be.
        """
        column = self._get(batch)
        if self.source is None or self._are_usual(column):
            return column
        if self._is_required and None in column:
            raise EventError(Reason.INVALID, f"{self._name}: missing ({self.place})")
        try:
            return [*map(self._convert, column)]
        except ValueError as error:
            raise EventError(Reason.INVALID, f"{self._name}: {error} ({self.place})") from None


class SegmentFields:
    """The segments of events, each from a place of its own.

    Attributes:
        source, place: As of a `Field`.
    """

    source = None

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._fields = {
            key: Field(f"segments.{key}", source, _to_short, _are_short) for key, source in sources.items()
        }
        self.place = ", ".join(each.place for each in self._fields.values()) or "not mapped"

    def read(self, batch: Batch) -> Sequence[dict[str, str] | None]:
        """Return the segments of each entry, without those that are missing; None without a mapping.

        Raises:
            EventError: As of a `Field`.
        """
        if not self._fields:
            return [None] * len(batch.records)
        columns = [field.read(batch) for field in self._fields.values()]
        return [
            {key: text for key, text in zip(self._fields, texts, strict=True) if text is not None}
            for texts in zip(*columns, strict=True)
        ]


class NumberFields:
    """The numbers of events, each from a place of its own.

    Attributes:
        source, place: As of a `Field`.
    """

    source = None

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._columns = {name: compile_column(source) for name, source in sources.items()}
        self.place = ", ".join(map(describe_source, sources.values())) or "not mapped"

    def read(self, batch: Batch) -> Sequence[object]:
        """Return the values of each entry by name, of any type; None without a mapping."""
        if not self._columns:
            return [None] * len(batch.records)
        columns = [_read_any(get, batch) for get in self._columns.values()]
        return [dict(zip(self._columns, values, strict=True)) for values in zip(*columns, strict=True)]


def _read_any(get: Callable[[Batch], Sequence[Any]], batch: Batch) -> Sequence[Any]:
    """Return a field of each entry; None of one whose text is no JSON, which refuses no event."""
    try:
        return get(batch)
    except EventError:
        if len(batch.records) == 1:
            return [None]
    entries = zip(batch.records, batch.values, batch.items, strict=True)
    return [_read_any(get, Batch([record], [value], [item], {}))[0] for record, value, item in entries]


def to_numbers(column: Sequence[object], name: str) -> NDArray[np.float64]:
    """Return a number of n events as (n,) float64, given their values by name; NaN if it is missing.

    True is 1 and false 0. A text may hold a number, as headers do. Everything else is missing; what is
    infinite counts as missing later.
    """
    found = [each.get(name) if type(each) is dict else None for each in column]
    if _NUMBERS.issuperset(map(type, found)):
        with suppress(OverflowError):
            return np.array(found, np.float64)
    return np.fromiter(map(_to_number, found), np.float64, len(found))


def _to_number(value: Any) -> float:
    try:
        # Python alone reads an underscore between digits.
        return math.nan if value is None or "_" in str(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


class FoundVectors(NamedTuple):
    """The n vectors of a batch.

    Attributes:
        vectors: The numbers of each, in bytes or as a view of floats or doubles; there is one at least.
        numbers: Their format.
        entries: The entry of each, which never falls; None if every entry has one.
        are_many: Whether the entry of each may have several; None if none may.
    """

    vectors: Sequence[bytes | memoryview]
    numbers: Sequence[VectorFormat]
    entries: Sequence[int] | None = None
    are_many: Sequence[bool] | None = None


class VectorField:
    """Where vectors are in records, and the streams of these.

    Attributes:
        stream: The field of the stream's name.
        source: Where the vector is.
        place: The same in words.
    """

    def __init__(self, settings: VectorSettings, to_text: ToText = to_optional_text) -> None:
        rename = settings.stream.rename
        self.stream = Field(
            "stream",
            settings.stream,
            partial(_to_stream, rename=rename, to_text=to_text),
            lambda column: _are_streams(column) and rename.keys().isdisjoint(column),
            is_required=True,
        )
        embedding = settings.embedding
        self.source: Source | None = embedding
        self.place = describe_source(embedding)
        self._shape_path, self._dimension = embedding.shape, embedding.dimension
        self._get = compile_column(embedding)
        self._shape = compile_column(embedding.shape_source)
        self._number = to_format(embedding)

    def read(self, batch: Batch) -> FoundVectors:
        """Return the vectors of a batch.

        Raises:
            EventError: A value is missing, or is not what vectors can be.
        """
        found = self._get(batch)
        kinds = set(map(type, found))
        if str in kinds:
            found = [parse_text(each) if type(each) is str else each for each in found]
            kinds = set(map(type, found))
        is_nested = list in kinds and any(
            type(each) is list and each and type(each[0]) in LISTS for each in found
        )
        if not (self._shape_path or self._dimension or is_nested) and kinds <= _FLAT:
            return self.pack(found)
        if None in found:
            raise EventError(Reason.INVALID, f"embedding: missing ({self.place})")
        shapes = self._shape(batch)
        if self._shape_path and None in shapes:
            raise EventError(Reason.INVALID, f"embedding: its shape is missing ({self._shape_path})")
        split = [
            split_vectors(each, self._number, shape, self._dimension)
            for each, shape in zip(found, shapes, strict=True)
        ]
        entries = [entry for entry, (vectors, _) in enumerate(split) for _ in vectors]
        # Items of a list may each have as many as a record: they are counted before they are packed.
        check_numbers([id(batch.records[entry]) for entry in entries])
        packed = self.pack([*chain.from_iterable(vectors for vectors, _ in split)])
        return packed._replace(
            entries=entries,
            are_many=[are_many for vectors, are_many in split for _ in vectors],
        )

    def pack(self, found: Sequence[list[object] | bytes | memoryview]) -> FoundVectors:
        """Return single vectors packed.

        Raises:
            EventError: One is empty, has another value than numbers, or a number's bytes are incomplete.
        """
        vectors: list[Any] = [pack_list(each) if type(each) is list else each for each in found]
        if not all(map(len, vectors)):
            raise EventError(Reason.INVALID, "embedding: empty, where at least one number is expected")
        size = self._number.size
        for length in {len(each) for each in vectors if type(each) is bytes}:
            if length % size:
                detail = f"embedding: {length} bytes are no whole number of {self._number.dtype}"
                raise EventError(Reason.INVALID, detail)
        numbers = [_FORMATS[each.format] if type(each) is memoryview else self._number for each in vectors]
        return FoundVectors(vectors, numbers)


def compile_fields(
    settings: InputSettings, to_text: ToText = to_optional_text
) -> dict[str, Field | SegmentFields | NumberFields]:
    """Return the fields of a mapping but those of its vectors, by the column that each fills."""
    time, to_short = settings.timestamp, partial(_to_short, to_text=to_text)
    are_usual = are_times if time.unit == "ms" else lambda _: False
    return {
        "time_ms": Field("timestamp", time, partial(read_time, time), are_usual, is_required=True),
        "event_id": Field("event_id", settings.event_id, to_short, _are_short),
        "model_version": Field("model_version", settings.model_version, to_short, _are_short),
        "segments": SegmentFields(settings.segments),
        "snippet": Field("snippet", settings.snippet, to_text, _are_texts),
        "numbers": NumberFields(settings.numbers),
    }


def _are_texts(column: Sequence[object]) -> bool:
    """Return whether all values of a column are texts or missing."""
    return _TEXTS.issuperset(map(type, column))


def _are_short(column: Sequence[Any]) -> bool:
    """Return whether all values of a column are short texts or missing."""
    return _are_texts(column) and max(map(len, filter(None, column)), default=0) <= MAX_TEXT


def _are_streams(column: Sequence[Any]) -> bool:
    """Return whether all values of a column are names of streams."""
    return {str}.issuperset(map(type, column)) and all(map(is_stream, set(column)))


def are_times(column: Sequence[Any]) -> bool:
    """Return whether all values of a column are milliseconds since the epoch."""
    is_whole = {int}.issuperset(map(type, column))
    return is_whole and min(column, default=0) >= 0 and max(column, default=0) <= LAST_MS


def _to_short(value: object, to_text: ToText = to_optional_text) -> str | None:
    """Return a value as a short text, None if it is missing.

    Raises:
        ValueError: It is none.
    """
    text = to_text(value)
    if text is not None and len(text) > MAX_TEXT:
        message = f"longer than {MAX_TEXT} characters"
        raise ValueError(message)
    return text


def _to_stream(value: object, rename: Mapping[str, str], to_text: ToText) -> str:
    """Return a value as the name of a stream.

    Raises:
        ValueError: It is none.
    """
    text = to_text(value) or ""
    name = rename.get(text, text)
    if not is_stream(name):
        message = f"no name of a stream, which matches {STREAM_NAME}"
        raise ValueError(message)
    return name


@lru_cache(_MOST_NAMES)
def is_stream(name: str) -> bool:
    """Return whether a text is valid as the name of a stream."""
    return _IS_STREAM(name) is not None
