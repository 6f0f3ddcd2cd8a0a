"""The readers of payloads, one for each schema that a record has named."""

from collections.abc import Callable
from typing import Generic, TypeVar

from driftgauge.events.rejection import EventError, Reason, SchemaPending
from driftgauge.events.schemas import Schema, SchemaKind, SchemaSource

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
            build: Builds a reader; raises UnusableSchema.
        """
        self._schemas = schemas
        self._kind = kind
        self._build = build
        self._built: dict[int, _Built | UnusableSchema] = {}

    def get(self, schema_id: int) -> _Built:
        """Return the reader of a schema.

        Raises:
            EventError: There is no such schema, or it cannot be used.
            SchemaPending: The schema is not known yet.
        """
        built = self._built.get(schema_id)
        if built is None:
            schema = self._schemas.find(schema_id, self._kind)
            if schema is None:
                raise SchemaPending
            try:
                built = self._build(schema)
            except UnusableSchema as error:
                # A registry never changes a schema, so the next record would fail too.
                built = error
            self._built[schema_id] = built
        if isinstance(built, UnusableSchema):
            raise EventError(Reason.UNDECODABLE, f"value: schema {schema_id} cannot be used: {built}")
        return built
