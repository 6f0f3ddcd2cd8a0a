"""Protobuf messages with fields in maps, and of proto2."""

import pytest
from google.protobuf import descriptor_pb2

from driftgauge.config.inputs import InputSettings
from driftgauge.events.inputs import build_readers
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import Schema
from tests.events.both_ways import NOON_MS, VECTOR, read_both, stored
from tests.events.schema_records import Schemas, add_field, add_map, protobuf, serialized
from tests.events.test_protobuf_fields import MAPPING, event, field, value

IN_MAP = MAPPING | {"event_id": "segments.id", "segments": {"country": "segments.country"}}
ENTRY = field(1, 2, b"country") + field(2, 2, b"de")


def test_fields_in_a_map_are_read_by_its_keys():
    entries = [{"country": "de", "id": "a"}, {"country": "fr", "id": "b"}, {"country": "fr"}, {"other": "fr"}]
    raws = [value(event(segments=each)) for each in entries]
    assert all(read_both(IN_MAP, protobuf(), raws))


@pytest.mark.parametrize(
    "entries",
    [
        [ENTRY, ENTRY],
        [field(1, 2, b"country")],
        [field(2, 2, b"de")],
        [field(2, 2, b"de") + field(1, 2, b"country")],
        [ENTRY + field(2, 2, b"fr")],
        [ENTRY + field(3, 2, b"fr")],
        [field(1, 2, b"country") + field(3, 2, b"fr") + field(2, 2, b"de")],
        [field(1, 2, b"country") + field(2, 2, b"")],
        [field(1, 2, b"country") + field(2, 0, 5)],
    ],
    ids=str,
)
def test_odd_entry_of_a_map_is_judged_alike(entries):
    raw = event() + b"".join(field(5, 2, each) for each in entries)
    read_both(IN_MAP, protobuf(), [value(raw)])


def proto2_file():
    """A file of proto2, with an extensible message."""
    file = descriptor_pb2.FileDescriptorProto(name="two.proto", package="shop", syntax="proto2")
    message = file.message_type.add(name="Two")
    for number, (name, kind) in enumerate(
        {"stream": "string", "vector": "bytes", "count": "int64"}.items(), 1
    ):
        add_field(message, name, number, kind)
    return file


def test_default_of_proto2_is_read():
    file = proto2_file()
    file.message_type[0].field[2].default_value = str(NOON_MS)
    mapping = MAPPING | {"timestamp": "count"}
    start = field(1, 2, b"clicks") + field(2, 2, VECTOR)
    raws = [value(start + each) for each in (field(3, 0, 5), field(3, 0, 0), b"", field(3, 0, 7))]
    assert all(read_both(mapping, protobuf(file), raws))


@pytest.mark.parametrize("raw", [b"\xff\xfe", VECTOR[:3] + b"\xff" + VECTOR[4:]])
@pytest.mark.parametrize("path", ["stream", "names[0]", "segments.id"])
def test_text_of_proto2_that_is_not_utf8_is_no_bytes(path, raw):
    """Protobuf gives its bytes, which could pass for two floats."""
    file = proto2_file()
    add_field(file.message_type[0], "names", 4, "string", repeated=True)
    add_map(file.message_type[0], "segments", 5, "string", "string", ".shop.Two")
    fields = field(1, 2, raw) + field(4, 2, raw) + field(5, 2, field(1, 2, b"id") + field(2, 2, raw))
    mapping = {
        "encoding": "protobuf",
        "stream": {"constant": "clicks"},
        "embedding": path,
        "timestamp": {"record": "timestamp"},
    }
    record = stored(value(fields))
    reader = build_readers(
        {"t": InputSettings.model_validate(mapping)}, Schemas(_7=Schema(serialized(file)))
    )["t"]
    with pytest.raises(EventError, match="not UTF-8") as caught:
        reader.read(record)
    assert caught.value.reason is Reason.INVALID


def test_key_of_proto2_that_is_not_utf8_is_judged_alike():
    """Of two keys of an entry the last one counts."""
    file = proto2_file()
    add_map(file.message_type[0], "segments", 4, "string", "string", ".shop.Two")
    mapping = MAPPING | {"timestamp": {"record": "timestamp"}, "event_id": "segments.id"}
    start, ends = field(1, 2, b"clicks") + field(2, 2, VECTOR), field(1, 2, b"id") + field(2, 2, b"e")
    keys = [b"", field(1, 2, b"\xed")]
    raws = [value(start + field(4, 2, key + ends)) for key in keys]
    read_both(mapping, protobuf(file), raws)


def test_extensible_message_is_judged_alike():
    file = proto2_file()
    file.message_type[0].extension_range.add(start=100, end=200)
    raw = value(field(1, 2, b"clicks") + field(2, 2, VECTOR))
    mapping = MAPPING | {"timestamp": {"record": "timestamp"}}
    assert read_both(mapping, protobuf(file), [raw]) == [True]
