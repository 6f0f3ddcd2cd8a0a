"""Schemas, and records in the framing of a schema registry."""

import base64
import io
import json
from functools import partial
from typing import Any

import fastavro
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from driftgauge.events.encodings.protobuf import Protobuf
from driftgauge.events.needs import Need
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import Schema

ID = 7
NOON_MS = 1_762_171_200_000
AVRO: dict[str, Any] = {
    "type": "record",
    "name": "Embedded",
    "namespace": "shop.search",
    "fields": [
        {"name": "stream", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "vector", "type": "bytes"},
        {"name": "numbers", "type": ["null", {"type": "array", "items": "float"}]},
        {"name": "segments", "type": {"type": "map", "values": "string"}},
    ],
}
SCALARS = descriptor_pb2.FieldDescriptorProto.Type


class Schemas:
    """A source of schemas: those given by id; None is not known yet, others do not exist."""

    def __init__(self, **schemas):
        self.schemas = {int(name[1:]): schema for name, schema in schemas.items()}
        self.asked = []

    def find(self, schema_id, kind):
        self.asked.append((schema_id, kind))
        if schema_id not in self.schemas:
            raise EventError(Reason.UNDECODABLE, f"value: schema {schema_id} is unknown")
        return self.schemas[schema_id]


def framed(payload, schema_id=ID, magic=0):
    return bytes([magic]) + schema_id.to_bytes(4, "big") + payload


def stored(raw):
    """Return a record with this value, from which a mapping can read the rest."""
    headers = [("stream", b"clicks"), ("at", b"1762171200")]
    return StoredRecord(raw, "embeddings", 3, 880, b"clicks", headers, NOON_MS)


def undecodable(deserialize, raw):
    """Return the detail of the rejection of an undecodable record."""
    with pytest.raises(EventError) as caught:
        deserialize(stored(raw))
    assert caught.value.reason is Reason.UNDECODABLE
    return caught.value.detail


def avro_schema(schema, *references):
    return Schema(json.dumps(schema), tuple((name, json.dumps(text)) for name, text in references))


def avro(value, schema=AVRO):
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


def varint(number, surplus=0):
    """Return a number as Protobuf writes it, with surplus bytes."""
    number, written = number % 2**64, bytearray()
    while number >= 128:
        written.append(number & 127 | 128)
        number >>= 7
    if surplus:
        return bytes([*written, number | 128, *[128] * (surplus - 1), 0])
    return bytes([*written, number])


def add_fields(message, *fields, first=None):
    """Add fields (name, kind), numbered on; a kind is as in a .proto file, with a dot before full names."""
    for number, (name, words) in enumerate(fields, first or len(message.field) + 1):
        *label, kind = words.split()
        field = message.field.add(name=name, number=number, label=3 if "repeated" in label else 1)
        if kind[0] == ".":
            field.type_name = kind
        else:
            field.type = SCALARS.Value(f"TYPE_{kind.upper()}")
        if "optional" in label:
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{name}")


def add_map(message, name, key, value, scope):
    entry = message.nested_type.add(name=f"{name.title()}Entry", options={"map_entry": True})
    add_fields(entry, ("key", key), ("value", value))
    add_fields(message, (name, f"repeated {scope}.{entry.name}"))


def file_of(name, message, *fields, package="shop", syntax="proto3", dependency=()):
    """Return a file with a message of some fields (name, kind), numbered from 1."""
    messages = [{"name": message}]
    file = descriptor_pb2.FileDescriptorProto(
        name=name, package=package, syntax=syntax, dependency=dependency, message_type=messages
    )
    add_fields(file.message_type[0], *fields)
    return file


def protobuf_file():
    """The file of shop.search.Embedded, with two more messages: Other, and Embedded.Inner."""
    imports = ["google/protobuf/timestamp.proto", "confluent/meta.proto"]
    file = file_of("embedded.proto", "Embedded", package="shop.search", dependency=imports)
    kinds = enumerate(("UNKNOWN", "IMAGE", "TEXT"))
    file.enum_type.add(name="Kind", value=[{"name": name, "number": number} for number, name in kinds])
    (message,) = file.message_type
    add_fields(message.nested_type.add(name="Inner"), ("stream", "string"))
    add_fields(
        message,
        ("stream", "string"),
        ("at", ".google.protobuf.Timestamp"),
        ("vector", "bytes"),
        ("numbers", "repeated float"),
    )
    add_map(message, "segments", "string", "string", ".shop.search.Embedded")
    add_map(message, "codes", "int32", ".shop.search.Kind", ".shop.search.Embedded")
    add_fields(
        message,
        ("kind", ".shop.search.Kind"),
        ("count", "int64"),
        ("note", "optional string"),
        ("inner", ".shop.search.Embedded.Inner"),
        ("inners", "repeated .shop.search.Embedded.Inner"),
        ("kinds", "repeated .shop.search.Kind"),
        ("flags", "repeated bool"),
    )
    add_fields(file.message_type.add(name="Other"), ("stream", "string"))
    return file


def serialized(file):
    """A file as the registry gives it, where the serialized format is asked for."""
    return base64.b64encode(file.SerializeToString()).decode()


def protobuf_deserializer(*files):
    """Return the deserializer of the last of some files, which imports the others; by default Embedded's."""
    return protobuf(*files)(Need()).decode


def protobuf(*files):
    """Return what builds such a deserializer, given what a mapping reads."""
    *imports, file = files or [protobuf_file()]
    references = tuple((each.name, serialized(each)) for each in imports)
    return partial(Protobuf, Schemas(_7=Schema(serialized(file), references)))


def classes():
    """The classes of the messages by name, in a pool of their own."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    file = protobuf_file()
    del file.dependency[1:]
    pool.Add(file)
    names = ("Embedded", "Other", "Embedded.Inner")
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"shop.search.{name}"))
        for name in names
    }


CLASSES = classes()
Embedded = CLASSES["Embedded"]
