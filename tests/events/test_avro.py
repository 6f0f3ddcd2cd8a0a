"""Avro behind a schema registry: cursors and fastavro accept and refuse the same."""

import base64
import io
import json
import struct
import uuid
from datetime import UTC, datetime
from functools import partial
from itertools import count

import fastavro
import numpy as np
import pytest
from fastavro.read import LOGICAL_READERS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.events.encodings import avro as avro_module
from driftgauge.events.encodings.avro import Avro
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.needs import Need
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import PAYLOAD, Schema
from tests.events.both_ways import VECTOR, read_both, sequences
from tests.events.mapped import read_record
from tests.events.schema_records import AVRO, NOON_MS, Schemas, avro, avro_schema, framed, stored, undecodable
from tests.examples import examples

NOON = datetime(2025, 11, 3, 12, tzinfo=UTC)
VECTOR4 = np.array([0.5, -1.25, 3, 0.1], "<f4")
VALUE = {
    "stream": "clicks",
    "at": NOON,
    "id": uuid.UUID(int=5),
    "vector": VECTOR4.tobytes(),
    "numbers": [0.5, -1.25, 3.0],
    "segments": {"country": "de"},
}


def deserializer(schema=AVRO, *references):
    return Avro(Schemas(_7=avro_schema(schema, *references)), Need()).decode


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
    deserialize = Avro(Schemas(_7=schema), Need()).decode
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
    deserialize = Avro(Schemas(_7=Schema(text)), Need()).decode
    assert deserialize(stored(framed(b"\x04ab"))) == b"ab"


@pytest.mark.parametrize("depth", [100, 600])
def test_chain_of_references_is_decoded_or_unusable(depth):
    """Checks of a schema nest as its types do, and Python's calls nest 1,000 times."""
    references = [("R0", {"type": "record", "name": "R0", "fields": [{"name": "v", "type": "bytes"}]})]
    for number in range(1, depth):
        fields = [{"name": "a", "type": f"R{number - 1}"}]
        references.append((f"R{number}", {"type": "record", "name": f"R{number}", "fields": fields}))
    build = partial(Avro, Schemas(_7=avro_schema(f"R{depth - 1}", *references)))
    path = "a." * (depth - 1) + "v"
    mapping = {"encoding": "avro", "stream": "a", "embedding": path, "timestamp": {"record": "timestamp"}}
    assert read_both(mapping, build, [framed(b"\x10" + VECTOR)]) == [False]


def test_schema_of_many_nested_types_is_checked_in_time_linear_in_their_number():
    """Each record has two fields of the next one: expanded, they are 2^40 types."""
    schema: object = {"type": "record", "name": "R0", "fields": [{"name": "v", "type": "bytes"}]}
    for number in range(1, 41):
        fields = [{"name": "a", "type": schema}, {"name": "b", "type": f"R{number - 1}"}]
        schema = {"type": "record", "name": f"R{number}", "fields": fields}
    assert "ends within the Avro" in undecodable(deserializer(schema), framed(b"\0"))


MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
UUID = {"type": "string", "logicalType": "uuid"}
MAPPING = {"encoding": "avro", "stream": "stream", "embedding": "v", "timestamp": "at"}
ID = str(uuid.UUID(int=5))


def record(*fields, name="Embedded"):
    return {"type": "record", "name": name, "fields": [{"name": name, "type": kind} for name, kind in fields]}


def building(schema):
    """Return what builds the building of a schema, given what a mapping reads."""
    return partial(Avro, Schemas(_7=Schema(json.dumps(schema))))


def payload(schema, value):
    """Return a value without its frame; fastavro takes logical types for the numbers that they are."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


HEAD = [("stream", "string"), ("at", MILLIS), ("v", "bytes")]
EVENT = payload(record(*HEAD), {"stream": "clicks", "at": NOON_MS, "v": VECTOR})


def read_after_event(kind, *contents, mapping=MAPPING):
    """Read events that end with a field `x` of a type, given as bytes; return of which the cursor is sure."""
    return read_both(
        mapping, building(record(*HEAD, ("x", kind))), [framed(EVENT + each) for each in contents]
    )


LEAVES = st.sampled_from(
    [
        *("null", "boolean", "int", "long", "float", "double", "string", "bytes"),
        *(MILLIS, MICROS, UUID),
        {"type": "int", "logicalType": "date"},
        {"type": "long", "logicalType": "local-timestamp-millis"},
        {"type": "bytes", "logicalType": "decimal", "precision": 9},
        {"type": "long", "logicalType": "unknown"},
        {"type": "fixed", "size": 4},
        {"type": "enum", "symbols": ["IMAGE", "TEXT"]},
    ]
)


def containers(inner):
    return st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        inner.map(lambda values: {"type": "map", "values": values}),
        st.lists(inner.filter(lambda kind: type(kind) is not list), min_size=1, max_size=3),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda kinds: {
                "type": "record",
                "fields": [{"name": name, "type": kind} for name, kind in zip("abc", kinds, strict=False)],
            }
        ),
    )


TYPES = st.recursive(LEAVES, containers, max_leaves=6)


def named(schema, numbers):
    """Return a type with a name for each of its types that need one."""
    if isinstance(schema, list):
        return [named(each, numbers) for each in schema]
    if not isinstance(schema, dict):
        return schema
    name = {"name": f"N{next(numbers)}"} if schema["type"] in {"record", "fixed", "enum"} else {}
    inner = {key: named(schema[key], numbers) for key in ("items", "values") if key in schema}
    if "fields" in schema:
        inner["fields"] = [field | {"type": named(field["type"], numbers)} for field in schema["fields"]]
    return schema | name | inner


NUMBERS = st.sampled_from([0, 1, -1, NOON_MS, NOON_MS * 1_000, 2**41, 2**62, -(2**63)])


def varint(number, *, surplus=0):
    """Return a number as Avro writes it, with surplus bytes."""
    zigzag, written = (number << 1) ^ (number >> 63), bytearray()
    while zigzag >= 128:
        written.append(zigzag & 127 | 128)
        zigzag >>= 7
    return (
        bytes([*written, zigzag])
        if not surplus
        else bytes([*written, zigzag | 128, *[128] * (surplus - 1), 0])
    )


def sized(raw):
    return varint(len(raw)) + raw


@st.composite
def blocks(draw, items):
    """Draw the items of an array or map, in up to two blocks, of which each may say its size."""
    written = b""
    for _ in range(draw(st.integers(0, 2))):
        block = b"".join(chosen := draw(st.lists(items, min_size=1, max_size=2)))
        has_size = draw(st.integers(0, 9)) == 0
        written += varint(-len(chosen)) + sized(block) if has_size else varint(len(chosen)) + block
    return written + b"\0"


INTEGERS = st.builds(
    lambda number, surplus: varint(number, surplus=surplus), NUMBERS, st.sampled_from([0, 0, 0, 2])
)
BYTES = {
    "null": st.just(b""),
    "boolean": st.sampled_from([b"\0", b"\1", b"\xff"]),
    "int": INTEGERS,
    "long": INTEGERS,
    "float": st.floats(width=32).map(lambda number: struct.pack("<f", number)),
    "double": st.floats().map(lambda number: struct.pack("<d", number)),
    "string": st.sampled_from(["de", "fr", "é", "", ID, ID.upper(), ID.replace("-", "")]).map(
        lambda text: sized(text.encode())
    ),
    "bytes": st.binary(max_size=2).map(sized),
    "fixed": st.binary(min_size=4, max_size=4),
    "enum": st.sampled_from([b"\0", b"\2"]),
}


def contents(schema):
    """Return the strategy of the bytes of a type's values."""
    if isinstance(schema, list):
        branches = [contents(kind).map(varint(i).__add__) for i, kind in enumerate(schema)]
        return st.one_of(branches)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        return st.tuples(*[contents(field["type"]) for field in schema["fields"]]).map(b"".join)
    if kind == "array":
        return blocks(contents(schema["items"]))
    if kind == "map":
        key = st.sampled_from([sized(b"a"), sized(b"b")])
        return blocks(st.builds(bytes.__add__, key, contents(schema["values"])))
    return BYTES[kind]


@st.composite
def cases(draw):
    """Draw a mapping, a schema, and records of it or near them."""
    vector = draw(
        st.sampled_from(
            [
                "bytes",
                {"type": "array", "items": "float"},
                {"type": "array", "items": "double"},
                ["null", "bytes"],
            ]
        )
    )
    at = draw(st.sampled_from([MILLIS, MICROS, "long", ["null", MILLIS]]))
    x = named(draw(TYPES), count())
    schema = record(("stream", "string"), ("at", at), ("v", vector), ("x", x))
    value = {"stream": "clicks", "at": NOON_MS * (1_000 if at == MICROS else 1)}
    value["v"] = [0.5, -1.25] if isinstance(vector, dict) else VECTOR
    start = payload(
        record(*[(name, kind) for name, kind in zip(value, ("string", at, vector), strict=True)]), value
    )
    raws = [framed(start + raw) for raw in draw(st.lists(contents(x), min_size=1, max_size=3))]
    mapping = MAPPING | {
        "timestamp": {"path": "at", "unit": draw(st.sampled_from(["ms", "ms", "us", "s", "ns"]))},
        "event_id": draw(st.sampled_from(["stream", "x", "x.a", "x.a.b", "x[0].a", "x.a[1]", "x.a[b=de].a"])),
        "segments": {
            "part": draw(st.sampled_from(["x", "x.a", "x.b", "x.b.a", "v", "at", "x[0]", "x[a=fr].b"]))
        },
        "where": draw(st.sampled_from([(), (), ({"path": "x.a", "in": ["de", 5]},)])),
    }
    if draw(st.booleans()):
        del mapping["event_id"], mapping["segments"]
    if draw(st.integers(0, 3)) == 0:
        mapping["embedding"] = draw(st.sampled_from(["x", "x.a", {"path": "v", "dimension": 1}]))
    return mapping, schema, draw(sequences(raws, PAYLOAD))


@settings(max_examples=examples(80))
@given(cases())
@example((MAPPING | {"embedding": "x"}, record(*HEAD, ("x", UUID)), [framed(EVENT + sized(ID.encode()))]))
def test_fastavro_judges_records_as_their_cursors_do(case):
    mapping, schema, raws = case
    read_both(mapping, building(schema), raws)


VALUES = {
    "null": [None, None],
    "boolean": [True, False],
    "int": [5, -5],
    "long": [5, 2**61],
    "float": [0.5, float("nan")],
    "double": [0.5, 1e300],
    "string": ["de", "fr"],
    "bytes": [b"ab", b"\xff\0"],
}
USUAL = [
    *VALUES.items(),
    (UUID, [ID, ID]),
    (MICROS, [NOON_MS * 1_000, NOON_MS * 1_000 + 1]),
    ({"type": "fixed", "name": "F", "size": 2}, [b"ab", b"\n\n"]),
    ({"type": "enum", "name": "E", "symbols": ["IMAGE", "TEXT"]}, ["TEXT", "TEXT"]),
    (["null", "string"], ["de", "fr"]),
    ({"type": "array", "items": "float"}, [[1.5, 2.5], [0.5, 3.5]]),
    ({"type": "array", "items": "long"}, [[5, -5], [2**61, 5]]),
    ({"type": "map", "values": "string"}, [{"country": "de"}, {"country": "fr"}]),
    (
        record(("a", "long"), ("b", ["null", "string"]), name="R"),
        [{"a": 1, "b": None}, {"a": 900, "b": None}],
    ),
]


@pytest.mark.parametrize(("kind", "values"), USUAL, ids=str)
def test_cursor_is_sure_of_usual_fields(kind, values):
    assert read_after_event(kind, *[payload(kind, value) for value in values]) == [True, True]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("at", [MILLIS, MICROS, LOCAL, "long", "int", "double", ["null", "long"]], ids=str)
def test_cursor_is_sure_of_usual_times_with_an_offset(at, unit):
    schema = record(("stream", "string"), ("at", at), ("v", "bytes"))
    mapping = MAPPING | {"timestamp": {"path": "at", "unit": unit}}
    times = (
        [0, 7]
        if at == "int"
        else [NOON_MS * 1_000, NOON_MS * 1_000 + 1]
        if at == MICROS
        else [NOON_MS, NOON_MS + 1]
    )
    values = [{"stream": "clicks", "at": time, "v": VECTOR} for time in times]
    raws = [framed(payload(schema, each)) for each in values]
    assert read_both(mapping, building(schema), raws) == [at is not LOCAL] * 2


@pytest.mark.parametrize("items", ["float", "double", {"type": "float"}])
def test_cursor_is_sure_of_usual_lists(items):
    schema = record(("stream", "string"), ("at", MILLIS), ("v", {"type": "array", "items": items}))
    lists = [[0.5, 0.1], [1.5, 3.4e38], [1, float("nan")], [1, float("inf")], [1, 2, 3], []]
    lists += [[1, 1e39], [1, 3.4028235677973362e38]] if items == "double" else []
    raws = [framed(payload(schema, {"stream": "clicks", "at": NOON_MS, "v": each})) for each in lists]
    assert all(read_both(MAPPING, building(schema), raws))


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (
            {"type": "array", "items": ["null", "float"]},
            b"\4" + b"\2" + VECTOR[:4] + b"\2" + VECTOR[4:] + b"\0",
        ),
        ({"type": "array", "items": {"type": "array", "items": "float"}}, b"\2\4" + VECTOR + b"\0\0"),
        ({"type": "array", "items": "float"}, b"\2" + VECTOR[:4] + b"\2" + VECTOR[4:] + b"\0"),
        ({"type": "array", "items": "float"}, varint(-2) + sized(VECTOR) + b"\0"),
        ({"type": "array", "items": "long"}, b"\4\2\2\0"),
        ({"type": "fixed", "name": "F", "size": 8}, VECTOR),
        ("string", sized(base64.b64encode(VECTOR))),
        (["null", "bytes"], b"\2" + sized(VECTOR)),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9}, sized(VECTOR)),
    ],
    ids=str,
)
def test_cursor_is_sure_of_vectors_of_all_forms(kind, raw):
    schema = record(("stream", "string"), ("at", MILLIS), ("v", kind))
    start = payload(record(*HEAD[:2]), {"stream": "clicks", "at": NOON_MS})
    assert read_both(MAPPING, building(schema), [framed(start + raw)] * 2) == [True, True]


# Fields that a cursor passes, and other bytes of the same field that only fastavro judges.
ODD = {
    "text that is not UTF-8": ("string", [sized(b"de"), sized(b"\xff\xfe")]),
    "key that is not UTF-8": (
        {"type": "map", "values": "null"},
        [b"\2" + sized(b"a") + b"\0", b"\2" + sized(b"\xff") + b"\0"],
    ),
    "time beyond all dates": (MILLIS, [varint(5), varint(2**61)]),
    "time beyond all dates in us": (MICROS, [varint(5), varint(2**61)]),
    "time of a day beyond the day": (
        {"type": "long", "logicalType": "time-micros"},
        [varint(5), varint(2**61)],
    ),
    "day beyond all dates": ({"type": "int", "logicalType": "date"}, [varint(5), varint(2**30)]),
    "text that is no UUID": (UUID, [sized(ID.encode()), sized(ID.encode().replace(b"0", b"x"))]),
    "shorter UUID": (UUID, [sized(ID.encode()), sized(ID.replace("-", "").encode())]),
    "symbol that is not there": ({"type": "enum", "name": "E", "symbols": ["A"]}, [b"\0", b"\2"]),
    "symbol below the first": ({"type": "enum", "name": "E", "symbols": ["A"]}, [b"\0", b"\1"]),
    "branch that is not there": (["null"], [b"\0", b"\2"]),
    "branch below the first": (["null", "long"], [b"\2\2", b"\1"]),
    "long number of a branch": (["null", "long"], [b"\2\2", b"\x82\0\2"]),
    "number that is cut off": ("long", [varint(2**40), b"\x80" * 5]),
    "negative length": ("bytes", [sized(b"ab"), varint(-1) + b"ab"]),
    "length beyond the record": ("bytes", [sized(b"ab"), varint(2**40) + b"ab"]),
    "length beyond 64 bits": ("string", [sized(b"de"), b"\x84" + b"\x80" * 8 + b"\x02de"]),
    "more items than bytes": (
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 1}},
        [b"\2a\0", varint(2**40) + b"a"],
    ),
}


@pytest.mark.parametrize("mapping", [MAPPING, MAPPING | {"event_id": "x"}], ids=["not read", "read"])
@pytest.mark.parametrize("name", ODD)
def test_odd_field_is_left_to_fastavro(name, mapping):
    kind, (usual, odd) = ODD[name]
    is_certain, is_odd_certain = read_after_event(kind, usual, odd, mapping=mapping)
    assert not is_odd_certain
    assert is_certain or mapping != MAPPING


def nested(depth):
    kind: object = "string"
    for _ in range(depth):
        kind = {"type": "array", "items": kind}
    return kind


def part(path):
    return MAPPING | {"segments": {"part": path}}


LIST = {
    "type": "array",
    "items": record(("a", "string"), ("n", ["null", "long"]), ("b", ["null", "string"]), name="R"),
}
LISTED = b"\4" + sized(b"de") + b"\0\2" + sized(b"x") + sized(b"fr") + b"\2\4\2" + sized(b"y") + b"\0"
EITHER = {"type": "map", "values": ["string", record(("a", "string"), name="R")]}
TWO_KEYS = b"\4" + sized(b"k") + b"\2" + sized(b"de") + sized(b"k") + b"\0" + sized(b"fr") + b"\0"
LONGS = {"type": "array", "items": "long"}
TWO_VECTORS = {
    "encoding": "avro",
    "timestamp": "at",
    "vectors": [{"stream": "stream", "embedding": path} for path in ("v", "x")],
}
# A field `x` after an event: how it is read, its type, its bytes, and whether the cursor is sure of it.
FIELDS = [
    (MAPPING, "string", varint(2, surplus=5) + b"de", True),
    (MAPPING, "string", sized(b"x" * 10_000), True),
    (MAPPING, "long", varint(7, surplus=20), True),
    (MAPPING, LONGS, varint(-1) + b"\2\2\0", True),
    (MAPPING, nested(1), varint(-1) + varint(999) + sized(b"de") + b"\0", True),
    (MAPPING, {"type": "enum", "name": "E", "symbols": [f"S{i}" for i in range(65)]}, varint(64), True),
    (MAPPING, {"type": "long", "logicalType": [1]}, b"\2", True),
    (MAPPING, LONGS, varint(100_000) + b"\2" * 100_000 + b"\0", True),
    (
        MAPPING,
        {"type": "map", "values": "null"},
        varint(500) + b"".join(sized(b"%d" % i) for i in range(500)) + b"\0",
        True,
    ),
    # Beyond the bounds: deep, long, many branches, of a negative size or none, and a union of nothing.
    (MAPPING, nested(30), b"\0", False),
    (MAPPING, record(*[(f"a{i}", "long") for i in range(1_000)], name="R"), b"\0" * 1_000, False),
    (MAPPING, [{"type": "fixed", "name": f"F{i}", "size": 1} for i in range(70)], b"\2a", False),
    (MAPPING, {"type": "fixed", "name": "F", "size": -1}, b"", False),
    (MAPPING, {"type": "fixed", "name": "F", "size": "1"}, b"a", False),
    (MAPPING, [], b"\0", False),
    *((part(path), LIST, LISTED, True) for path in ("x[0].b", "x[a=fr].b", "x[1].c", "x[9].b", "x.b")),
    (part("x[0]"), LIST, LISTED, False),
    (part("x[json].b"), "string", sized(b'{"b":"de"}'), True),
    # The last of two equal keys counts: a record is no text, so of the first one's text nothing is sure.
    (part("x.k"), EITHER, TWO_KEYS, False),
    (part("x.k.a"), EITHER, TWO_KEYS, True),
    (TWO_VECTORS, {"type": "array", "items": "float"}, b"\4" + VECTOR + b"\0", True),
]


@pytest.mark.parametrize(("mapping", "kind", "raw", "is_sure"), FIELDS, ids=lambda each: str(each)[:60])
def test_cursor_is_sure_of_all_within_its_bounds(mapping, kind, raw, is_sure):
    assert read_after_event(kind, raw, mapping=mapping) == [is_sure]


def test_logical_type_that_only_fastavro_knows_is_left_to_it(monkeypatch):
    monkeypatch.setitem(LOGICAL_READERS, "long-day", lambda *_: None)
    for kind in ({"type": "long", "logicalType": "day"}, {"type": "long", "logicalType": "night"}):
        assert read_after_event(kind, varint(7)) == [kind["logicalType"] == "night"]


def test_cursors_of_a_topic_are_bounded(monkeypatch):
    monkeypatch.setattr(avro_module, "_MOST_CURSORS", 1)
    schema = Schema(json.dumps(record(*HEAD)))
    build = partial(Avro, Schemas(_7=schema, _8=schema))
    raws = [framed(EVENT), framed(EVENT, 8), framed(EVENT)]
    assert read_both(MAPPING, build, raws) == [True, False, True]


def test_cursor_is_of_one_schema():
    other = record(("v", "bytes"), ("at", MILLIS), ("stream", "string"))
    build = partial(Avro, Schemas(_7=Schema(json.dumps(record(*HEAD))), _8=Schema(json.dumps(other))))
    raws = [framed(EVENT), framed(EVENT, 8), framed(EVENT)]
    assert read_both(MAPPING, build, raws) == [True, False, True]


# fastavro checks the names of a schema only where it is told to.
NAMES = ('", v)\nraise SystemExit  # ', "import os", "k0", "é", "__class__")
TEXTS = {
    "type": "map",
    "values": {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]},
}
UNION = [
    record(*HEAD, name="A"),
    record(("v", "bytes"), ("stream", "string"), ("at", MILLIS), name="B"),
    "string",
]
SECOND = sized(VECTOR) + sized(b"clicks") + varint(NOON_MS)
TWICE = record(*HEAD, ("x", record(("a", "string"), name="R")), ("x", "string"))
WHERE = MAPPING | {"where": [{"path": "op", "in": ["c", "u"]}]}
# How records are read, their schema and bytes, and of which the cursor is sure.
RECORDS = [
    *(
        (
            MAPPING if '"' in name else part(f'x["{name}"].a'),
            record(*HEAD, ("x", TEXTS)),
            [EVENT + b"\2" + sized(name.encode()) + sized(b"de") + b"\0"],
            [True],
        )
        for name in NAMES
    ),
    # Of two equal fields the last one counts.
    (part("x.a"), TWICE, [EVENT + sized(b"de") + sized(b"fr")], [False]),
    (MAPPING, UNION, [b"\0" + EVENT, b"\2" + SECOND, b"\4" + sized(b"de")], [True, True, False]),
    *(
        (
            WHERE,
            record(("op", "string"), ("stream", "string"), ("at", at), ("v", "bytes")),
            [sized(op) + EVENT for op in (b"c", b"d")],
            [True, True],
        )
        for at in (MILLIS, "long")
    ),
]


@pytest.mark.parametrize(("mapping", "schema", "raws", "sure"), RECORDS, ids=lambda each: str(each)[:60])
def test_cursor_is_sure_of_records(mapping, schema, raws, sure):
    assert read_both(mapping, building(schema), [framed(raw) for raw in raws]) == sure
