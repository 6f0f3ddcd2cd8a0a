"""The deserializer of Protobuf behind a schema registry."""

from base64 import b64decode
from collections.abc import Iterable
from typing import Any

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    message,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from driftgauge.events.layouts import Layout
from driftgauge.events.protobuf_layouts import ProtobufWalk
from driftgauge.events.readers import ReaderCache, UnusableSchema
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import (
    Schema,
    SchemaSource,
    read_message_indexes,
    read_schema_id,
)

__all__ = ["ProtobufDeserializer"]

# Files that schemas import without a reference, each after those that it imports.
_WELL_KNOWN = tuple(
    module.DESCRIPTOR
    for module in (
        *(any_pb2, source_context_pb2, type_pb2, api_pb2, descriptor_pb2, duration_pb2, empty_pb2),
        *(field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2),
    )
)

# The file of a schema: no import can have this name, for schemas name theirs otherwise.
_FILE = "schema"


class ProtobufDeserializer:
    """Decodes records with the schemas that they were written with; a `Deserializer`."""

    def __init__(self, schemas: SchemaSource) -> None:
        self._files: ReaderCache[_File] = ReaderCache(schemas, "PROTOBUF", _File)

    def __call__(self, record: RawRecord) -> object:
        """Return a record's message.

        Raises:
            EventError: The value cannot be decoded.
            SchemaPending: Its schema is not known yet.
        """
        raw = record.value() or b""
        message_class, start = self._find(raw)
        try:
            return message_class.FromString(raw[start:])
        except message.DecodeError as error:
            name = message_class.DESCRIPTOR.full_name
            detail = f"value: no {name} of schema {read_schema_id(raw)} ({error})"
            raise EventError(Reason.UNDECODABLE, detail) from None

    def learn(self, layout: Layout) -> None:
        """Walk over a value that was decoded; a `Learner`."""
        message_class, start = self._find(layout.raw)
        layout.take(start)
        ProtobufWalk(layout).walk(message_class.DESCRIPTOR, len(layout.raw))

    def _find(self, raw: bytes) -> tuple[Any, int]:
        """Return the class of a record's message, and where the payload begins.

        Raises:
            EventError: The record does not name a message of a schema.
            SchemaPending: Its schema is not known yet.
        """
        schema_id = read_schema_id(raw)
        indexes, start = read_message_indexes(raw)
        message_class = self._files.get(raw).find(indexes)
        if message_class is None:
            detail = f"value: schema {schema_id} has no message {list(indexes)}"
            raise EventError(Reason.UNDECODABLE, detail)
        return message_class, start


class _File:
    """The messages of a schema.

    Raises:
        UnusableSchema: The schema has no descriptors, or not all of those that it needs.
    """

    def __init__(self, schema: Schema) -> None:
        pool = DescriptorPool()
        known: set[str] = set()
        try:
            files = [_read_file(name, text) for name, text in schema.references]
            files.append(_read_file(_FILE, schema.text))
            referenced = {each.name for each in files}
            for well_known in _WELL_KNOWN:
                if well_known.name not in referenced:
                    pool.AddSerializedFile(well_known.serialized_pb)
                    known.add(well_known.name)
            for each in files:
                _keep_imports(each, known)
                pool.AddSerializedFile(each.SerializeToString())
                known.add(each.name)
            # The pool resolves types when they are first looked up.
            pool.FindFileByName(_FILE)
        except UnusableSchema:
            raise
        except Exception as error:  # noqa: BLE001 - the pool raises TypeError, KeyError and others
            message = f"its descriptors are incomplete ({error})"
            raise UnusableSchema(message) from None
        self._pool = pool
        self._file = files[-1]
        self._classes: dict[tuple[int, ...], Any] = {}

    def find(self, indexes: tuple[int, ...]) -> Any:
        """Return the class of a message, None if the file has no such message."""
        found = self._classes.get(indexes)
        if found is None and (name := self._name(indexes)) is not None:
            found = GetMessageClass(self._pool.FindMessageTypeByName(name))
            self._classes[indexes] = found
        return found

    def _name(self, indexes: tuple[int, ...]) -> str | None:
        """Return the full name of a message."""
        names = [self._file.package] if self._file.package else []
        messages = self._file.message_type
        for index in indexes:
            if index >= len(messages):
                return None
            names.append(messages[index].name)
            messages = messages[index].nested_type
        return ".".join(names)


def _read_file(name: str, text: str) -> descriptor_pb2.FileDescriptorProto:
    """Return a file's descriptor, under the name by which other files import it.

    Raises:
        UnusableSchema: The text is no descriptor.
    """
    try:
        file = descriptor_pb2.FileDescriptorProto.FromString(b64decode(text, validate=True))
    except (ValueError, message.DecodeError):
        reason = "the registry gave no serialized descriptor, but perhaps the source of the schema"
        raise UnusableSchema(reason) from None
    file.name = name
    return file


def _keep_imports(file: descriptor_pb2.FileDescriptorProto, known: Iterable[str]) -> None:
    """Remove imports of files that are not known.

    Serializers leave out references to files of options, such as confluent/meta.proto, which reading does not
    need. Where a type is needed, the pool reports it as missing.
    """
    kept = [name for name in file.dependency if name in known]
    public = [kept.index(name) for i in file.public_dependency if (name := file.dependency[i]) in known]
    del file.dependency[:], file.public_dependency[:], file.weak_dependency[:]
    file.dependency.extend(kept)
    file.public_dependency.extend(public)
