"""The readers of payloads, one for each schema that a record has named."""

from collections.abc import Callable
from typing import Generic, TypeVar

from driftgauge.events.rejection import EventError, Reason, SchemaPending
from driftgauge.events.schemas import PAYLOAD, Schema, SchemaKind, SchemaSource, read_schema_id

__all__ = ["ReaderCache", "UnusableSchema"]

_Built = TypeVar("_Built")


class UnusableSchema(Exception):  # noqa: N818 - the registry's state, reported as an EventError
    """A schema that no reader can be built of; the text says why."""


class ReaderCache(Generic[_Built]):
    """Builds what reads the records of a schema, once for each schema."""

    def __init__(self, schemas: SchemaSource, kind: SchemaKind, build: Callable[[Schema], _Built]) -> None:
        """Create a cache.

        Args:
            schemas: Where schemas come from.
            kind: Their type.
            build: Builds a reader; what it raises makes the schema unusable.
        """
        self._schemas = schemas
        self._kind = kind
        self._build = build
        self._built: dict[bytes, _Built | UnusableSchema] = {}

    def get(self, raw: bytes) -> _Built:
        """Return the reader of the schema that a record names.

        Raises:
            EventError: The record names no schema, there is none, or it cannot be used.
            SchemaPending: The schema is not known yet.
        """
        frame = raw[:PAYLOAD]
        built = self._built.get(frame)
        if built is None:
            schema = self._schemas.find(read_schema_id(raw), self._kind)
            if schema is None:
                raise SchemaPending
            try:
                built = self._build(schema)
            except UnusableSchema as error:
                # A registry never changes a schema, so the next record would fail too.
                built = error
            except Exception as error:  # noqa: BLE001 - the registry's text may be anything
                built = UnusableSchema(f"no {self._kind.title()} schema ({type(error).__name__}: {error})")
            self._built[frame] = built
        if isinstance(built, UnusableSchema):
            detail = f"value: schema {read_schema_id(raw)} cannot be used: {built}"
            raise EventError(Reason.UNDECODABLE, detail)
        return built
