"""Protobuf behind a schema registry."""

from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

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

from driftgauge.config.inputs import InputSettings
from driftgauge.events.encodings.encoding import Encoding
from driftgauge.events.encodings.protobuf_fields import (
    UnusualMessage,
    compile_getters,
    declare_bytes,
    find_packed,
)
from driftgauge.events.needs import Need, find_needs
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import (
    PAYLOAD,
    ReaderCache,
    Schema,
    SchemaSource,
    UnusableSchema,
    read_message_indexes,
    read_schema_id,
)

__all__ = ["Protobuf", "build"]

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
# A file whose messages all have vectors would be kept as often as it has messages.
_MOST_READERS = 16
# The bytes before the payload if one zero stands for the indexes.
_FIRST = PAYLOAD + 1


class Protobuf(Encoding):
    """Decodes records with the schemas that they were written with."""

    def __init__(self, schemas: SchemaSource, need: Need) -> None:
        """Create the encoding.

        Args:
            schemas: Where schemas come from.
            need: What the mapping reads of a message.
        """
        self._is_read_whole = bool(need.kinds) or need.has_shared_number
        self._first: dict[bytes, _Message] = {}
        self._files: ReaderCache[_File] = ReaderCache(schemas, "PROTOBUF", partial(_File, need=need))

    def decode(self, record: RawRecord) -> object:
        """Return a record's message."""
        raw = record.value() or b""
        found, start = self._find(raw)
        try:
            return found.message_class.FromString(raw[start:])
        except message.DecodeError as error:
            name = found.message_class.DESCRIPTOR.full_name
            detail = f"value: no {name} of schema {read_schema_id(raw)} ({error})"
            raise EventError(Reason.UNDECODABLE, detail) from None

    def decode_mapped(self, record: RawRecord) -> object:
        """Return the fields that the mapping reads of a record's message."""
        if self._is_read_whole:
            return self.decode(record)
        raw = record.value() or b""
        # The usual record is of a file's first message.
        frame, start = raw[:_FIRST], _FIRST
        found = self._first.get(frame)
        if found is None:
            found, start = self._find(raw)
            if start == _FIRST:
                self._first[frame] = found
        try:
            value = found.reader_class.FromString(raw[start:])
            return {name: get(value) for name, get in found.getters}
        except (message.DecodeError, EventError, UnusualMessage):
            # The class of the schema judges the record.
            return self.decode(record)

    def _find(self, raw: bytes) -> tuple["_Message", int]:
        """Return the classes of a record's message, and where the payload begins.

        Raises:
            EventError: The record does not name a message of a schema.
            SchemaPending: Its schema is not known yet.
        """
        schema_id = read_schema_id(raw)
        indexes, start = read_message_indexes(raw)
        found = self._files.get(raw).find(indexes)
        if found is None:
            detail = f"value: schema {schema_id} has no message {list(indexes)}"
            raise EventError(Reason.UNDECODABLE, detail)
        return found, start


def build(settings: InputSettings, schemas: SchemaSource) -> Encoding:
    """Return the encoding for a mapping."""
    return Protobuf(schemas, find_needs(settings))


class _Message(NamedTuple):
    """A message's class, the class that reads it, and what gets the mapping's fields from the latter."""

    message_class: Any
    reader_class: Any
    getters: Sequence[tuple[str, Callable[[Any], object]]]


class _File:
    """The messages of a schema.

    Raises:
        UnusableSchema: The schema has no descriptors.
        Exception: It has not all of those that it needs; the pool raises TypeError, KeyError and others.
    """

    def __init__(self, schema: Schema, need: Need) -> None:
        files = [_read_file(name, text) for name, text in schema.references]
        files.append(_read_file(_FILE, schema.text))
        self._pool = _build_pool(files)
        self._files = files
        self._need = need
        self._messages: dict[tuple[int, ...], _Message] = {}

    def find(self, indexes: tuple[int, ...]) -> _Message | None:
        """Return the classes of a message, None if the file has no such message."""
        found = self._messages.get(indexes)
        if found is None and (descriptor := self._find_descriptor(indexes)) is not None:
            message_class = reader_class = GetMessageClass(descriptor)
            vector = find_packed(descriptor, self._need)
            if vector and len(self._messages) < _MOST_READERS:
                # The numbers stay bytes, for upb makes a Python object of each number of a list.
                pool = _build_pool([declare_bytes(file, vector[-1]) for file in self._files])
                reader_class = GetMessageClass(pool.FindMessageTypeByName(descriptor.full_name))
            else:
                vector = ()
            getters = compile_getters(descriptor, self._need, vector)
            found = self._messages[indexes] = _Message(message_class, reader_class, getters)
        return found

    def _find_descriptor(self, indexes: tuple[int, ...]) -> Any | None:
        """Return the descriptor of a message, None if the file has no such message."""
        descriptor = None
        messages: Sequence[Any] = [*self._pool.FindFileByName(_FILE).message_types_by_name.values()]
        for index in indexes:
            if index >= len(messages):
                return None
            descriptor = messages[index]
            messages = descriptor.nested_types
        return descriptor


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


def _build_pool(files: Sequence[descriptor_pb2.FileDescriptorProto]) -> DescriptorPool:
    """Return the pool of files, each of which comes after those that it imports."""
    pool = DescriptorPool()
    known: set[str] = set()
    names = {file.name for file in files}
    for well_known in _WELL_KNOWN:
        if well_known.name not in names:
            pool.AddSerializedFile(well_known.serialized_pb)
            known.add(well_known.name)
    for file in files:
        _keep_imports(file, known)
        pool.AddSerializedFile(file.SerializeToString())
        known.add(file.name)
    # The pool resolves types when they are first looked up.
    pool.FindFileByName(_FILE)
    return pool


def _keep_imports(file: descriptor_pb2.FileDescriptorProto, known: Iterable[str]) -> None:
    """Remove imports of files that are not known.

    Serializers leave out references to files of options, such as confluent/meta.proto, which reading does not
    need. If a type is needed, the pool reports it as missing.
    """
    kept = [name for name in file.dependency if name in known]
    public = [kept.index(name) for i in file.public_dependency if (name := file.dependency[i]) in known]
    del file.dependency[:], file.public_dependency[:], file.weak_dependency[:]
    file.dependency.extend(kept)
    file.public_dependency.extend(public)
