"""Protobuf behind a schema registry."""

import numpy as np
import pytest
from google.protobuf import descriptor_pb2

from driftgauge.config.inputs import InputSettings
from driftgauge.events.inputs import build_readers
from driftgauge.events.needs import Need
from driftgauge.events.protobuf import ProtobufDeserializer
from driftgauge.events.rejection import EventError, Reason, SchemaPending
from driftgauge.events.schemas import Schema
from driftgauge.events.sources import compile_path
from tests.events.both_ways import read_both
from tests.events.schema_records import (
    CLASSES,
    ID,
    Embedded,
    Schemas,
    add_field,
    framed,
    protobuf,
    protobuf_deserializer,
    protobuf_file,
    serialized,
    stored,
    undecodable,
)

NOON_MS = 1_762_171_200_000
VECTOR = np.array([0.5, -1.25, 3, 0.1], "<f4")


def embedded():
    message = Embedded(stream="clicks", vector=VECTOR.tobytes(), numbers=VECTOR, segments={"country": "de"})
    message.at.FromMilliseconds(NOON_MS)
    return message


def record(message, indexes=b"\0"):
    return stored(framed(indexes + message.SerializeToString()))


@pytest.mark.parametrize(
    ("indexes", "name"),
    [(b"\0", "Embedded"), (b"\2\2", "Other"), (b"\4\0\0", "Embedded.Inner"), (b"\2\0", "Embedded")],
)
def test_message_is_chosen_by_its_indexes(indexes, name):
    decoded = protobuf_deserializer()(record(CLASSES[name](stream="clicks"), indexes))
    assert decoded.DESCRIPTOR.full_name == f"shop.search.{name}"
    assert decoded.stream == "clicks"


@pytest.mark.parametrize(
    ("indexes", "detail"),
    [(b"\2\4", "no message [2]"), (b"\4\2\0", "no message [1, 0]"), (b"", "ends within its message indexes")],
)
def test_message_that_the_schema_lacks_is_undecodable(indexes, detail):
    assert detail in undecodable(protobuf_deserializer(), framed(indexes))


def test_schema_is_asked_for_once():
    schemas = Schemas(_7=None)
    deserialize = ProtobufDeserializer(schemas, Need())
    with pytest.raises(SchemaPending):
        deserialize(record(embedded()))
    schemas.schemas[ID] = Schema(serialized(protobuf_file()))
    for _ in range(3):
        assert compile_path("stream")(deserialize(record(embedded()))) == "clicks"
    assert schemas.asked == [(ID, "PROTOBUF")] * 2


def importing_file(*dependencies, public=()):
    """A file whose only message has a field of the type shop.Point."""
    file = descriptor_pb2.FileDescriptorProto(
        name="main.proto", package="shop", syntax="proto3", dependency=dependencies, public_dependency=public
    )
    add_field(file.message_type.add(name="Main"), "point", 1, ".shop.Point")
    return file


def point_file(name="point.proto"):
    file = descriptor_pb2.FileDescriptorProto(name=name, package="shop", syntax="proto3")
    add_field(file.message_type.add(name="Point"), "x", 1, "int32")
    return file


def test_imported_files_are_used_under_the_name_of_their_reference():
    points = descriptor_pb2.FileDescriptorProto(
        name="x", syntax="proto3", dependency=["gone.proto", "shop/point.proto"], public_dependency=[0, 1]
    )
    main = importing_file("shop/points.proto")
    references = (
        ("shop/point.proto", serialized(point_file("default"))),
        ("shop/points.proto", serialized(points)),
    )
    deserialize = ProtobufDeserializer(Schemas(_7=Schema(serialized(main), references)), Need())
    assert compile_path("point.x")(deserialize(stored(framed(b"\0\n\2\10\5")))) == 5


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ('syntax = "proto3"; message E {}', "no serialized descriptor, but perhaps the source"),
        ("eA==", "no serialized descriptor"),
        (serialized(importing_file("point.proto")), "no Protobuf schema"),
    ],
)
def test_unusable_schema_is_reported_with_each_record(text, detail):
    deserialize = ProtobufDeserializer(Schemas(_7=Schema(text)), Need())
    for _ in range(2):
        assert detail in undecodable(deserialize, framed(b"\0"))


def test_timestamp_of_a_schema_without_nanos_is_no_time():
    """A registry may have a file of its own for that type, and its record must not end the process."""
    own = descriptor_pb2.FileDescriptorProto(
        name="google/protobuf/timestamp.proto", package="google.protobuf", syntax="proto3"
    )
    add_field(own.message_type.add(name="Timestamp"), "seconds", 1, "int64")
    main = descriptor_pb2.FileDescriptorProto(
        name="main.proto", package="shop", syntax="proto3", dependency=[own.name]
    )
    message = main.message_type.add(name="Main")
    add_field(message, "at", 1, ".google.protobuf.Timestamp")
    add_field(message, "vector", 2, "bytes")
    mapping = {
        "encoding": "protobuf",
        "stream": {"constant": "clicks"},
        "embedding": "vector",
        "timestamp": "at",
    }
    raw = framed(b"\0" + b"\n\2\10\5" + b"\x12\x10" + VECTOR.tobytes())
    for unit in ("ms", "s"):
        settings = mapping | {"timestamp": {"path": "at", "unit": unit}}
        assert read_both(settings, protobuf(own, main), [raw]) == [True]
    reader = build_readers(
        {"t": InputSettings.model_validate(mapping)},
        Schemas(_7=Schema(serialized(main), ((own.name, serialized(own)),))),
    )["t"]
    with pytest.raises(EventError) as caught:
        reader.read(stored(raw))
    assert caught.value.reason is Reason.INVALID
