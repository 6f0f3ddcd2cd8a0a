"""The fields and conditions of a mapping as the exact judge finds them, each with its fault in words.

What is not certainly sound becomes an event of the service's own contract, which `read_exact` judges.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from driftgauge.config.inputs import Condition, Source, VectorSettings
from driftgauge.config.paths import parse_path
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.rows import Row, are_segments, is_short, is_stream, pack_list, read_exact
from driftgauge.events.sources import (
    compile_source,
    describe_source,
    to_optional_text,
    to_text,
)
from driftgauge.events.vectors import F32, F64, VectorFormat, split_vectors, to_format

__all__ = [
    "MappedVector",
    "RecordCondition",
    "TextField",
    "Unmet",
    "VectorField",
    "read_row",
    "require",
]

_Found = TypeVar("_Found")


class TextField:
    """An optional field that is text."""

    def __init__(self, name: str, source: Source | None) -> None:
        self._name = name
        self._source = source
        self._get = compile_source(source)

    def __call__(self, record: RawRecord, value: object, item: object) -> str | None:
        """Return the field of a record, or of an item of its list; None if it is missing.

        Raises:
            EventError: The field is no text.
        """
        try:
            return to_optional_text(self._get(record, value, item))
        except ValueError as error:
            where = describe_source(self._source) if self._source is not None else ""
            raise EventError(Reason.INVALID, f"{self._name}: {error} ({where})") from None


class VectorField:
    """One of the vectors of a record, and its stream.

    Attributes:
        settings: The settings.
        number: The format of numbers in bytes.
    """

    def __init__(self, settings: VectorSettings) -> None:
        self.settings = settings
        self._stream = TextField("stream", settings.stream)
        embedding = settings.embedding
        self._get = compile_source(embedding)
        self._shape = compile_source(None if embedding.shape is None else Source(path=embedding.shape))
        self.number = to_format(embedding)

    def stream(self, record: RawRecord, value: object, item: object) -> str:
        """Return the stream's name.

        Raises:
            EventError: The name is missing or no text.
        """
        source = self.settings.stream
        name = require(self._stream(record, value, item), "stream", source)
        return source.rename.get(name, name)

    def find(
        self, record: RawRecord, value: object, item: object
    ) -> tuple[Sequence[list[object] | bytes | memoryview], bool]:
        """Return the vectors of a record, or of an item of its list, and whether there may be several.

        Raises:
            EventError: There is no vector or no shape, or as `split_vectors`.
        """
        source, shape = self.settings.embedding, self._shape(record, value, item)
        found = require(self._get(record, value, item), "embedding", source)
        if source.shape is not None and shape is None:
            raise EventError(Reason.INVALID, f"embedding: its shape is missing ({source.shape})")
        return split_vectors(found, self.number, shape, source.dimension)


def require(value: _Found | None, field: str, source: Source) -> _Found:
    """Return a field's value.

    Raises:
        EventError: The field is missing.
    """
    if value is None:
        raise EventError(Reason.INVALID, f"{field}: missing ({describe_source(source)})")
    return value


class MappedVector(NamedTuple):
    """A vector of a record.

    Attributes:
        stream: The stream's name.
        event_id: The event id.
        items: The numbers, as a list of any values, as bytes, or as a view of floats or doubles.
        number: The format of numbers in bytes.
    """

    stream: str
    event_id: str
    items: list[object] | bytes | memoryview
    number: VectorFormat


def read_row(
    vector: MappedVector,
    time_ms: int,
    version: str | None,
    segments: dict[str, str] | None,
    snippet: str | None,
) -> Row:
    """Return an event: at once where it is certainly one, else by the contract itself.

    Args:
        vector: The vector.
        time_ms: The event time, milliseconds since the epoch.
        version: The model's version; None if the mapping has none, or the record.
        segments: The segments by key; None if the mapping has none.
        snippet: The event's text; None if the mapping has none, or the record.

    Raises:
        EventError: As `read_exact`, or the bytes are no whole number of numbers.
    """
    stream, event_id, items, number = vector
    packed: bytes | memoryview | None = None
    if isinstance(items, list):
        packed, number = pack_list(items), F32
    elif isinstance(items, memoryview):
        packed, number = items, F32 if items.itemsize == F32.size else F64
    elif len(items) % number.size:
        detail = f"embedding: {len(items)} bytes are no whole number of {number.dtype}"
        raise EventError(Reason.INVALID, detail)
    else:
        packed = items
    is_sound = is_short(event_id) and (version is None or is_short(version))
    if packed and is_stream(stream) and is_sound and (segments is None or are_segments(segments)):
        return Row(stream, time_ms, packed, number, event_id, version, segments, snippet)
    event = {
        "stream": stream,
        "timestamp": time_ms,
        "embedding": items if isinstance(items, list) else number.to_float32(items).tolist(),
        "model_version": version,
        "event_id": event_id,
        "segments": segments,
        "snippet": snippet,
    }
    return read_exact(event)


@dataclass(frozen=True, slots=True)
class Unmet:
    """The condition of the configuration that filters a record out.

    Attributes:
        condition: The condition.
        found: The record's value; None where the record has none.
    """

    condition: Condition
    found: object


class RecordCondition:
    """A condition of the configuration, ready to be checked.

    Attributes:
        needs_value: The condition is on the decoded value.
        is_on_attribute: Of a CloudEvent, the condition is not on its data.
    """

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._get = compile_source(condition)
        self._values = frozenset(map(to_text, condition.values or condition.not_in or ()))
        self.needs_value = condition.path is not None or condition.record == "value"
        self.is_on_attribute = condition.path is not None and parse_path(condition.path)[0] != "data"

    def check(self, record: RawRecord, value: object) -> Unmet | None:
        """Return None if a record meets the condition. A value that is missing or no text is in no list.

        Raises:
            EventError: The value cannot be read.
        """
        found, is_listed = self._get(record, value, None), False
        with suppress(ValueError):
            is_listed = to_text(found) in self._values
        exists = self._condition.exists
        is_met = (
            is_listed == (self._condition.not_in is None) if exists is None else exists == (found is not None)
        )
        return None if is_met else Unmet(self._condition, found)
