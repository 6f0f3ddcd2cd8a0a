"""Schemas of a schema registry, what reads their records, and the framing that names a record's schema."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Generic, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from driftgauge.clock import Clock
from driftgauge.errors import BrokerError
from driftgauge.events.rejection import EventError, Reason, SchemaPending

__all__ = [
    "PAYLOAD",
    "ReaderCache",
    "Schema",
    "SchemaFault",
    "SchemaKind",
    "SchemaSource",
    "UnusableSchema",
    "WaitingSource",
    "read_message_indexes",
    "read_schema_id",
]

SchemaKind: TypeAlias = Literal["AVRO", "PROTOBUF"]
"""The type of a schema, as the registry names it."""

PAYLOAD = 5
"""Where the payload begins, for Avro; for Protobuf the message indexes are before it."""

# A registry is asked for an unknown schema three times within 3 s, and each request takes up to 5 s.
_PATIENCE_S = 30.0
_RETRY_S = 0.1
_FRAME = Struct(">BI")
# Registries number schemas from 1 with a signed int, and give no error code for an id beyond that.
_MAX_ID = 2**31 - 1
_Built = TypeVar("_Built")
# An int64 takes ten bytes of seven bits.
_LONGEST = 10
# Messages of Protobuf are nested at most this deep.
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema with those that it refers to.

    Attributes:
        text: The schema: Avro in JSON, or a FileDescriptorProto in base64.
        references: The schemas that it refers to, directly or not, each after those that it refers to itself:
            names and texts. A name is that of an Avro type or of an imported Protobuf file.
    """

    text: str
    references: tuple[tuple[str, str], ...] = ()


class SchemaSource(Protocol):
    """Where schemas come from."""

    def find(self, schema_id: int, kind: SchemaKind) -> Schema | None:
        """Return the schema with this id, None while it is not known yet; never waits.

        Raises:
            EventError: There is no such schema, or it is of another type.
        """


class SchemaFault(NamedTuple):
    """Why a schema is not known yet.

    Attributes:
        cause: The error of the last try, in words.
        remedy: What to do.
        is_answer: The server has answered, and would answer the same again.
    """

    cause: str
    remedy: str
    is_answer: bool


class RetriedSource(SchemaSource, Protocol):
    """A `SchemaSource` that asks for a schema until it knows it, and tells why it does not."""

    def fault(self, schema_id: int, kind: SchemaKind) -> SchemaFault | None:
        """Return why a schema is not known yet; None if no try has failed."""


class WaitingSource:
    """A `SchemaSource` that waits for schemas, for commands, which have nothing else to do meanwhile."""

    def __init__(self, schemas: RetriedSource, clock: Clock) -> None:
        self._schemas = schemas
        self._clock = clock

    def find(self, schema_id: int, kind: SchemaKind) -> Schema:
        """Return the schema with this id.

        Raises:
            EventError: There is no such schema, or it is of another type.
            BrokerError: The registry does not give it and would not later, or not for half a minute.
        """
        until_s = self._clock.monotonic_s() + _PATIENCE_S
        while (schema := self._schemas.find(schema_id, kind)) is None:
            fault = self._schemas.fault(schema_id, kind)
            if fault is not None and fault.is_answer:
                message = (
                    f"the schema registry does not give schema {schema_id} ({fault.cause}); {fault.remedy}"
                )
                raise BrokerError(message)
            if self._clock.monotonic_s() > until_s:
                cause, remedy = ("no answer", "check the schema registry") if fault is None else fault[:2]
                message = (
                    f"the schema registry has not given schema {schema_id} within {_PATIENCE_S:g} s "
                    f"({cause}); {remedy}, and run again"
                )
                raise BrokerError(message)
            time.sleep(_RETRY_S)
        return schema


def read_schema_id(raw: bytes) -> int:
    """Return the schema id of a record in the framing of Confluent's serializers.

    Raises:
        EventError: The record has no such framing, or no registry gives its schema id.
    """
    if len(raw) < PAYLOAD:
        detail = f"value: {len(raw)} bytes, too short for a magic byte and a schema id"
        raise EventError(Reason.UNDECODABLE, detail)
    magic, schema_id = _FRAME.unpack_from(raw)
    if magic != 0:
        detail = f"value: its magic byte is {magic}, not 0; a schema registry's serializer did not write it"
        raise EventError(Reason.UNDECODABLE, detail)
    if not 0 < schema_id <= _MAX_ID:
        detail = f"value: its schema id is {schema_id}, which no schema registry gives"
        raise EventError(Reason.UNDECODABLE, detail)
    return int(schema_id)


def read_message_indexes(raw: bytes) -> tuple[tuple[int, ...], int]:
    """Return where a Protobuf record's type is in its file, and where the payload begins.

    The first index is of a message in the file, each other one of a message within the one before.

    Raises:
        EventError: The record has no such indexes.
    """
    # A single 0 stands for a file's first message.
    if raw[PAYLOAD : PAYLOAD + 1] == b"\0":
        return (0,), PAYLOAD + 1
    count, position = _read_varint(raw, PAYLOAD)
    if not 0 < count <= _MAX_DEPTH:
        raise EventError(Reason.UNDECODABLE, f"value: {count} message indexes")
    indexes = []
    for _ in range(count):
        index, position = _read_varint(raw, position)
        if index < 0:
            raise EventError(Reason.UNDECODABLE, f"value: its message index {index} is negative")
        indexes.append(index)
    return tuple(indexes), position


def _read_varint(raw: bytes, start: int) -> tuple[int, int]:
    """Return a zigzag varint, and the position after it."""
    number = 0
    for i, byte in enumerate(raw[start : start + _LONGEST]):
        number |= (byte & 0x7F) << 7 * i
        if byte < 0x80:  # noqa: PLR2004 - the bit of all bytes but the last
            return (number >> 1) ^ -(number & 1), start + i + 1
    detail = "value: ends within its message indexes, or one has over ten bytes"
    raise EventError(Reason.UNDECODABLE, detail)


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
