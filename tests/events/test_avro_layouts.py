"""Patterns of Avro records: fastavro accepts and refuses the same, with the same bits and reasons."""

import io
import json
import struct
import uuid
from itertools import count

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.events.avro import AvroDeserializer
from driftgauge.events.schemas import PAYLOAD, Schema
from tests.events.both_ways import NOON_MS, VECTOR, read_both, sequences
from tests.events.schema_records import Schemas, framed
from tests.examples import examples

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
UUID = {"type": "string", "logicalType": "uuid"}
MAPPING = {"encoding": "avro", "stream": "stream", "embedding": "v", "timestamp": "at"}
ID = str(uuid.UUID(int=5))


def record(*fields, name="Embedded"):
    return {"type": "record", "name": name, "fields": [{"name": name, "type": kind} for name, kind in fields]}


def deserializer(schema):
    return AvroDeserializer(Schemas(_7=Schema(json.dumps(schema))))


def payload(schema, value):
    """Return a value without its frame; fastavro takes logical types for the numbers that they are."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


HEAD = [("stream", "string"), ("at", MILLIS), ("v", "bytes")]
EVENT = payload(record(*HEAD), {"stream": "clicks", "at": NOON_MS, "v": VECTOR})


def read_after_event(kind, *contents, mapping=MAPPING):
    """Read events that end with a field `x` of a type, given as bytes; return which took a pattern."""
    return read_both(
        mapping, deserializer(record(*HEAD, ("x", kind))), [framed(EVENT + each) for each in contents]
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
        "event_id": draw(st.sampled_from(["stream", "x", "x.a", "x.a.b"])),
        "segments": {"part": draw(st.sampled_from(["x", "x.a", "x.b", "x.b.a"]))},
    }
    if draw(st.booleans()):
        del mapping["event_id"], mapping["segments"]
    return mapping, schema, draw(sequences(raws, PAYLOAD))


@settings(max_examples=examples(1_500))
@given(cases())
def test_fastavro_judges_records_as_their_patterns_do(case):
    mapping, schema, raws = case
    read_both(mapping, deserializer(schema), raws)


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
def test_usual_field_takes_the_pattern(kind, values):
    assert read_after_event(kind, *[payload(kind, value) for value in values]) == [False, True]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("at", [MILLIS, MICROS, "long", "int", ["null", "long"]], ids=str)
def test_usual_time_takes_the_pattern(at, unit):
    schema = record(("stream", "string"), ("at", at), ("v", "bytes"))
    mapping = MAPPING | {"timestamp": {"path": "at", "unit": unit}}
    scale = (
        {"s": 1e-3, "ms": 1, "us": 1_000, "ns": 1_000_000}[unit] if at in ("long", ["null", "long"]) else 1
    )
    scale = 1_000 if at == MICROS else scale
    times = [0, -1] if at == "int" else [round(NOON_MS * scale), round(NOON_MS * scale) + 1]
    values = [{"stream": "clicks", "at": time, "v": VECTOR} for time in [times[0], *times]]
    assert read_both(mapping, deserializer(schema), [framed(payload(schema, each)) for each in values])[1]


@pytest.mark.parametrize("items", ["float", "double", {"type": "float"}])
def test_usual_list_takes_the_pattern(items):
    schema = record(("stream", "string"), ("at", MILLIS), ("v", {"type": "array", "items": items}))
    lists = [[0.5, 0.1], [1.5, 3.4e38], [1, float("nan")], [1, float("inf")], [1, 2, 3]]
    lists += [[1, 1e39], [1, 3.4028235677973362e38]] if items == "double" else []
    raws = [framed(payload(schema, {"stream": "clicks", "at": NOON_MS, "v": each})) for each in lists]
    assert read_both(MAPPING, deserializer(schema), raws)[:4] == [False, True, True, True]


# Fields that are read as something else in a later record of the same layout, by what patterns do not guard.
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
    "text that is no UUID": (UUID, [sized(ID.encode()), sized(ID.encode().replace(b"0", b"x"))]),
    "shorter UUID": (UUID, [sized(ID.replace("-", "").encode()), varint(32) + ID.encode()]),
    "symbol that is not there": ({"type": "enum", "name": "E", "symbols": ["A"]}, [b"\0", b"\2"]),
    "branch that is not there": (["null"], [b"\0", b"\2"]),
    "number that is cut off": ("long", [varint(2**40), b"\x80" * 5]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_field_is_left_to_fastavro(name):
    kind, raws = ODD[name]
    assert not any(read_after_event(kind, *raws))


# Layouts of which no pattern is learned, though fastavro accepts them.
UNUSUAL = {
    "long varint": ("string", varint(2, surplus=10) + b"de"),
    "varint of ten bytes": ("long", varint(-(2**63))),
    "length beyond 64 bits": ("string", b"\x84" + b"\x80" * 8 + b"\x02de"),
    "block with its size": ({"type": "array", "items": "long"}, varint(-1) + b"\2\2\0"),
    "date": ({"type": "int", "logicalType": "date"}, b"\2"),
    "many symbols": ({"type": "enum", "name": "E", "symbols": [f"S{i}" for i in range(65)]}, b"\2"),
    "logical type that is no text": ({"type": "long", "logicalType": [1]}, b"\2"),
    "long key": ({"type": "map", "values": "null"}, b"\2" + sized(b"k" * 100_000) + b"\0"),
    "many items": ({"type": "array", "items": "long"}, varint(100_000) + b"\2" * 100_000 + b"\0"),
    "many keys": (
        {"type": "map", "values": "null"},
        varint(500) + b"".join(sized(b"%d" % i) for i in range(500)) + b"\0",
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_layout_has_no_pattern(name):
    kind, raw = UNUSUAL[name]
    assert not any(read_after_event(kind, raw, raw))


@pytest.mark.parametrize(
    ("items", "raw"),
    [
        (["float"], b"\4" + b"\0" + VECTOR[:4] + b"\0" + VECTOR[4:] + b"\0"),
        ({"type": "array", "items": "float"}, b"\2\4" + VECTOR + b"\0\0"),
        ("float", b"\2" + VECTOR[:4] + b"\2" + VECTOR[4:] + b"\0"),
        ("float", varint(-2) + sized(VECTOR) + b"\0"),
        ("long", b"\4\2\2\0"),
    ],
    ids=str,
)
def test_unusual_vector_has_no_pattern(items, raw):
    schema = record(("stream", "string"), ("at", MILLIS), ("v", {"type": "array", "items": items}))
    start = payload(record(*HEAD[:2]), {"stream": "clicks", "at": NOON_MS})
    assert read_both(MAPPING, deserializer(schema), [framed(start + raw)] * 2) == [False, False]


def test_last_of_two_equal_keys_counts():
    values = ["string", record(("a", "string"), name="R")]
    raw = b"\4" + sized(b"k") + b"\2" + sized(b"de") + sized(b"k") + b"\0" + sized(b"fr") + b"\0"
    for path in ("x.k", "x.k.a"):
        mapping = MAPPING | {"segments": {"part": path}}
        assert not any(read_after_event({"type": "map", "values": values}, raw, raw, mapping=mapping))


def test_last_of_two_equal_fields_counts():
    schema = record(*HEAD, ("x", record(("a", "string"), name="R")), ("x", "string"))
    raw = framed(EVENT + sized(b"de") + sized(b"fr"))
    mapping = MAPPING | {"segments": {"part": "x.a"}}
    assert read_both(mapping, deserializer(schema), [raw, raw]) == [False, False]


def test_pattern_is_of_one_schema():
    other = record(("v", "bytes"), ("at", MILLIS), ("stream", "string"))
    deserialize = AvroDeserializer(
        Schemas(_7=Schema(json.dumps(record(*HEAD))), _8=Schema(json.dumps(other)))
    )
    raws = [framed(EVENT), framed(EVENT, 8), framed(EVENT)]
    assert read_both(MAPPING, deserialize, raws) == [False, False, True]
