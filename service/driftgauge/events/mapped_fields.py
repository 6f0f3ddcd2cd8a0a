"""The fields of a mapping, ready to be found in records."""

from collections.abc import Sequence
from typing import TypeVar

from driftgauge.config.inputs import Source, VectorSettings
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.sources import (
    Getter,
    compile_path,
    compile_source,
    describe_source,
    to_optional_text,
)
from driftgauge.events.vectors import split_vectors, to_format

__all__ = ["TextField", "VectorField", "require"]

_Found = TypeVar("_Found")


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
        self._get = compile_source(settings.embedding)
        embedding = settings.embedding
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

    def embedding(self, record: RawRecord, value: object) -> object:
        """Return the vector, or the vectors, as the record has them.

        Raises:
            EventError: There is none.
        """
        return require(self._get(record, value), "embedding", self.settings.embedding)

    def split(
        self, embedding: object, value: object
    ) -> tuple[Sequence[list[object] | bytes | memoryview], bool]:
        """Return the vectors, and whether there may be several; see `split_vectors`.

        Raises:
            EventError: As `split_vectors`, or the shape is missing.
        """
        shape = None
        if self._shape is not None and (shape := self._shape(value)) is None:
            where = self.settings.embedding.shape
            raise EventError(Reason.INVALID, f"embedding: its shape is missing ({where})")
        return split_vectors(embedding, self.number, shape, self.settings.embedding.dimension)


def require(value: _Found | None, field: str, source: Source) -> _Found:
    """Return a field's value.

    Raises:
        EventError: The field is missing.
    """
    if value is None:
        raise EventError(Reason.INVALID, f"{field}: missing ({describe_source(source)})")
    return value
