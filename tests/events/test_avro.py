"""Avro behind a schema registry."""

import json
import uuid
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest

from driftgauge.config.inputs import InputSettings
from driftgauge.events.avro import AvroDeserializer
from driftgauge.events.inputs import build_readers
from driftgauge.events.needs import Need
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import Schema
from tests.events.both_ways import read_both
from tests.events.mapped import read_record
from tests.events.schema_records import AVRO, Schemas, avro, avro_schema, framed, stored, undecodable

NOON = datetime(2025, 11, 3, 12, tzinfo=UTC)
NOON_MS = 1_762_171_200_000
VECTOR = np.array([0.5, -1.25, 3, 0.1], "<f4")
VALUE = {
    "stream": "clicks",
    "at": NOON,
    "id": uuid.UUID(int=5),
    "vector": VECTOR.tobytes(),
    "numbers": [0.5, -1.25, 3.0],
    "segments": {"country": "de"},
}


def deserializer(schema=AVRO, *references):
    return AvroDeserializer(Schemas(_7=avro_schema(schema, *references)), Need())


@pytest.mark.parametrize(("item", "value"), [("boolean", True), ("string", "1"), (["null", "int"], None)])
def test_list_of_other_values_than_numbers_is_invalid(item, value):
    schema = {
        "type": "record",
        "name": "E",
        "fields": [{"name": "v", "type": {"type": "array", "items": item}}],
    }
    mapping = {"encoding": "avro", "stream": {"constant": "clicks"}, "embedding": "v"}
    mapping["timestamp"] = {"constant": "2025-11-03T12:00:00Z"}
    readers = build_readers({"t": InputSettings.model_validate(mapping)}, Schemas(_7=avro_schema(schema)))
    with pytest.raises(EventError) as caught:
        read_record(readers["t"], stored(framed(avro({"v": [value] * 4}, schema))))
    assert caught.value.reason is Reason.INVALID


def test_union_of_referenced_types_is_decoded():
    # Confluent's registry keeps topics with events of several types so.
    inner = {"type": "record", "name": "In", "namespace": "shop", "fields": [{"name": "x", "type": "long"}]}
    fields = [{"name": "i", "type": "shop.In"}, {"name": "j", "type": ["null", "shop.In"]}]
    outer = {"type": "record", "name": "Out", "namespace": "shop", "fields": fields}
    references = [("shop.In", inner), ("shop.Out", outer)]
    deserialize = deserializer(["shop.In", "shop.Out"], *references)
    assert deserialize(stored(framed(b"\x00\x02"))) == {"x": 1}
    assert deserialize(stored(framed(b"\x02\x02\x02\x04"))) == {"i": {"x": 1}, "j": {"x": 2}}
    assert deserializer("shop.Out", *references)(stored(framed(b"\x02\x00"))) == {"i": {"x": 1}, "j": None}


def doubled(depth):
    """Return a record of two records, and so on to this depth, of which none takes a byte."""
    inner: dict[str, object] = {"type": "record", "name": "E0", "fields": []}
    for level in range(1, depth + 1):
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"E{level - 1}"}]
        inner = {"type": "record", "name": f"E{level}", "fields": fields}
    return inner


@pytest.mark.parametrize(
    ("schema", "detail"),
    [
        (Schema("nonsense"), "schema 7 cannot be used: no Avro schema"),
        (Schema('{"type": "record"}'), "no Avro schema"),
        (Schema("[" * 100_000), "no Avro schema"),
        (
            avro_schema({"type": "record", "name": "E", "fields": [{"name": "x", "type": "shop.Gone"}]}),
            "no Avro schema",
        ),
        (
            avro_schema({"type": "record", "name": "E", "fields": [{"name": "x", "type": ["null", "E"]}]}),
            "it is recursive",
        ),
        (
            avro_schema(
                {
                    "type": "record",
                    "name": "E",
                    "fields": [{"name": "x", "type": {"type": "map", "values": "E"}}],
                }
            ),
            "it is recursive",
        ),
        (
            avro_schema(
                {
                    "type": "record",
                    "name": "E",
                    "fields": [{"name": "x", "type": {"type": "fixed", "name": "string", "size": 4}}],
                }
            ),
            "as one of Avro's",
        ),
        (avro_schema(doubled(12)), "more than 1000 values that take no bytes"),
    ],
)
def test_unusable_schema_is_reported_with_each_record(schema, detail):
    deserialize = AvroDeserializer(Schemas(_7=schema), Need())
    for _ in range(2):
        assert detail in undecodable(deserialize, framed(b"\0"))


@pytest.mark.parametrize("time_ms", [10**15, -5 * 10**14, 2**62])
def test_time_beyond_all_dates_is_invalid(time_ms):
    at = {"type": "long", "logicalType": "timestamp-millis"}
    schema = {"type": "record", "name": "E", "fields": [{"name": "at", "type": at}]}
    with pytest.raises(EventError) as caught:
        deserializer(schema)(stored(framed(avro(time_ms, "long"))))
    assert caught.value.reason is Reason.INVALID


NOTHING = {"type": "record", "name": "N", "fields": [{"name": "x", "type": "null"}]}


@pytest.mark.parametrize(
    "items", ["null", NOTHING, {"type": "fixed", "name": "F", "size": 0}, {"type": "null"}]
)
def test_array_of_items_without_bytes_is_refused(items):
    schema = {
        "type": "record",
        "name": "E",
        "fields": [
            {"name": "m", "type": ["null", {"type": "map", "values": {"type": "array", "items": items}}]}
        ],
    }
    # Ten bytes that name 2^40 items.
    detail = undecodable(deserializer(schema), framed(b"\x02\x02\x02x\x80\x80\x80\x80\x80\x40"))
    assert "items that take no bytes" in detail


def test_surplus_bytes_are_undecodable():
    assert "2 bytes follow the Avro of schema 7" in undecodable(deserializer(), framed(avro(VALUE) + b"ab"))


def test_strict_prefix_is_undecodable():
    deserialize, raw = deserializer(), framed(avro(VALUE))
    for end in range(len(raw)):
        assert " at 0x" not in undecodable(deserialize, raw[:end])


@pytest.mark.parametrize("text", ['"bytes"', "bytes", json.dumps({"type": "bytes"})])
def test_primitive_schema_is_decoded(text):
    deserialize = AvroDeserializer(Schemas(_7=Schema(text)), Need())
    assert deserialize(stored(framed(b"\x04ab"))) == b"ab"


@pytest.mark.parametrize("depth", [100, 600])
def test_chain_of_references_is_decoded_or_unusable(depth):
    """Checks of a schema nest as its types do, and Python's calls nest 1,000 times."""
    references = [("R0", {"type": "record", "name": "R0", "fields": [{"name": "v", "type": "bytes"}]})]
    for number in range(1, depth):
        fields = [{"name": "a", "type": f"R{number - 1}"}]
        references.append((f"R{number}", {"type": "record", "name": f"R{number}", "fields": fields}))
    build = partial(AvroDeserializer, Schemas(_7=avro_schema(f"R{depth - 1}", *references)))
    path = "a." * (depth - 1) + "v"
    mapping = {"encoding": "avro", "stream": "a", "embedding": path, "timestamp": {"record": "timestamp"}}
    assert read_both(mapping, build, [framed(b"\x10" + VECTOR[:2].tobytes())]) == [False]


def test_schema_of_many_nested_types_is_checked_in_time_linear_in_their_number():
    """Each record has two fields of the next one: expanded, they are 2^40 types."""
    schema: object = {"type": "record", "name": "R0", "fields": [{"name": "v", "type": "bytes"}]}
    for number in range(1, 41):
        fields = [{"name": "a", "type": schema}, {"name": "b", "type": f"R{number - 1}"}]
        schema = {"type": "record", "name": f"R{number}", "fields": fields}
    assert "ends within the Avro" in undecodable(deserializer(schema), framed(b"\0"))
