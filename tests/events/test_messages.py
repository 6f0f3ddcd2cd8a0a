"""Fields of Protobuf messages."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.timestamp_pb2 import Timestamp

from driftgauge.config.inputs import TimeSource
from driftgauge.events.messages import field_getter
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.sources import compile_path, read_time
from tests.events.schema_records import CLASSES, Embedded, add_map


def take_field(value, name):
    return field_getter(type(value), name)(value)


FIELDS = [field.name for field in Embedded.DESCRIPTOR.fields]


@pytest.mark.parametrize("name", [*FIELDS, "nothing", "SerializeToString", "DESCRIPTOR"])
def test_unset_or_unknown_field_is_missing(name):
    assert take_field(Embedded(), name) is None


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("stream", "clicks", "clicks"),
        ("vector", b"ab", b"ab"),
        ("count", -3, -3),
        ("note", "", ""),
        ("numbers", [0.5, 3], [0.5, 3.0]),
        ("flags", [True, False], [True, False]),
        ("kind", 1, "IMAGE"),
        ("kind", 99, 99),
        ("kinds", [1, 2, 99], ["IMAGE", "TEXT", 99]),
        ("segments", {"country": "de"}, {"country": "de"}),
        ("codes", {7: 2, -1: 0}, {"7": "TEXT", "-1": "UNKNOWN"}),
    ],
)
def test_field_that_is_set_is_found(name, value, found):
    taken = take_field(Embedded(**{name: value}), name)
    assert taken == found
    assert type(taken) is type(found)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("inner.stream", "clicks"),
        ("inners[1].stream", "views"),
        ("inners[stream=views].stream", "views"),
        ("inners[2].stream", None),
        ("segments.country", "de"),
        ('codes["7"]', "IMAGE"),
        ("numbers[0]", 0.5),
        ("stream.stream", None),
        ("inner.inner", None),
    ],
)
def test_paths_lead_through_messages(path, found):
    inner = CLASSES["Embedded.Inner"]
    message = Embedded(
        inner=inner(stream="clicks"),
        inners=[inner(stream="clicks"), inner(stream="views")],
        segments={"country": "de"},
        codes={7: 1},
        numbers=[0.5],
    )
    assert compile_path(path)(message) == found
    assert compile_path(f"outer.{path}")({"outer": message}) == found


def test_timestamp_is_a_time():
    source = TimeSource(path="at", unit="s")
    assert read_time(source, Timestamp(seconds=1_762_171_200, nanos=123_999_999)) == 1_762_171_200_123
    with pytest.raises(ValueError, match="1970"):
        read_time(source, Timestamp(seconds=-1))
    with pytest.raises(ValueError, match="neither a number nor"):
        read_time(source, Embedded())


def test_map_of_proto2_with_key_that_is_not_utf8_is_invalid():
    """Only proto3 refuses the message; this record must not end the process."""
    file = descriptor_pb2.FileDescriptorProto(name="two.proto", syntax="proto2")
    add_map(file.message_type.add(name="Two"), "segments", 1, "string", "string", ".Two")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    value = message_factory.GetMessageClass(pool.FindMessageTypeByName("Two")).FromString(b"\n\3\n\1\xff")
    with pytest.raises(EventError, match="a key of the map segments is not UTF-8") as caught:
        compile_path("segments.country")(value)
    assert caught.value.reason is Reason.INVALID
