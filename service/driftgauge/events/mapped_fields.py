"""The fields of a mapping, ready to be found in records; and events of its vectors.

What the fast path is not sure of becomes an event of the service's own contract, which `read_exact` judges.
So both accept and refuse the same, with the same bits and for the same reasons.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from driftgauge.config.inputs import Source, VectorSettings
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.rows import Row, are_segments, is_short, is_stream, pack_list, read_exact
from driftgauge.events.sources import (
    Getter,
    compile_path,
    compile_source,
    describe_source,
    to_optional_text,
)
from driftgauge.events.vectors import F32, VectorFormat, split_vectors, to_format

__all__ = ["MappedVector", "TextField", "VectorField", "read_row", "require"]

_Found = TypeVar("_Found")
FoundVectors: TypeAlias = tuple[object, Sequence[list[object] | bytes | memoryview], bool]
"""A vector as a record has it, the vectors in it, and whether there may be several."""


class TextField:
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
        try:
            return to_optional_text(self._get(record, value))
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
        self._shape = None if embedding.shape is None else compile_path(embedding.shape)
        self.number = to_format(embedding)

    def stream(self, record: RawRecord, value: object) -> str:
        """Return the stream's name.

        Raises:
            EventError: The name is missing or no text.
        """
        source = self.settings.stream
        name = require(self._stream(record, value), "stream", source)
        return source.rename.get(name, name)

    def find(self, record: RawRecord, value: object) -> FoundVectors:
        """Return the vector as the record has it, the vectors in it, and whether there may be several.

        Raises:
            EventError: There is no vector or no shape, or as `split_vectors`.
        """
        source, shape = self.settings.embedding, None
        found = require(self._get(record, value), "embedding", source)
        if self._shape is not None and (shape := self._shape(value)) is None:
            raise EventError(Reason.INVALID, f"embedding: its shape is missing ({source.shape})")
        return found, *split_vectors(found, self.number, shape, source.dimension)


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
        items: The numbers, as a list of any values or as bytes.
        number: The format of numbers in bytes.
        may_hold_bool: The list may hold a bool, which struct takes for a number.
    """

    stream: str
    event_id: str
    items: list[object] | bytes | memoryview
    number: VectorFormat
    may_hold_bool: bool


def read_row(vector: MappedVector, time_ms: int, version: str | None, segments: dict[str, str] | None) -> Row:
    """Return an event: by the fast path where it is certainly one, else by the contract itself.

    Args:
        vector: The vector.
        time_ms: The event time, milliseconds since the epoch.
        version: The model's version; None if the mapping has none, or the record.
        segments: The segments by key; None if the mapping has none.

    Raises:
        EventError: As `read_exact`, or the bytes are no whole number of numbers.
    """
    stream, event_id, items, number, may_be_bool = vector
    if isinstance(items, list):
        packed = pack_list(items, may_be_bool=may_be_bool)
        number = F32
    elif len(items) % number.size:
        detail = f"embedding: {len(items)} bytes are no whole number of {number.dtype}"
        raise EventError(Reason.INVALID, detail)
    else:
        packed = bytes(items)
    is_sound = is_short(event_id) and (version is None or is_short(version))
    if packed and is_stream(stream) and is_sound and (segments is None or are_segments(segments)):
        return stream, time_ms, packed, number, event_id, version, segments
    event = {
        "stream": stream,
        "timestamp": time_ms,
        "embedding": items if isinstance(items, list) else number.to_float32(items).tolist(),
        "model_version": version,
        "event_id": event_id,
        "segments": segments,
    }
    return read_exact(event)
