"""Cursors over Avro records: fastavro accepts and refuses the same, with the same bits and reasons."""

import base64
import io
import json
import struct
import uuid
from functools import partial
from itertools import count

import fastavro
import pytest
from fastavro.read import LOGICAL_READERS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftgauge.events import avro
from driftgauge.events.avro import AvroDeserializer
from driftgauge.events.schemas import PAYLOAD, Schema
from tests.events.both_ways import NOON_MS, VECTOR, read_both, sequences
from tests.events.schema_records import Schemas, framed
from tests.examples import examples

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
UUID = {"type": "string", "logicalType": "uuid"}
MAPPING = {"encoding": "avro", "stream": "stream", "embedding": "v", "timestamp": "at"}
ID = str(uuid.UUID(int=5))


def record(*fields, name="Embedded"):
    return {"type": "record", "name": name, "fields": [{"name": name, "type": kind} for name, kind in fields]}


def deserializer(schema):
    """Return what builds the deserializer of a schema, given what a mapping reads."""
    return partial(AvroDeserializer, Schemas(_7=Schema(json.dumps(schema))))


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


@settings(max_examples=examples(1_500))
@given(cases())
@example((MAPPING | {"embedding": "x"}, record(*HEAD, ("x", UUID)), [framed(EVENT + sized(ID.encode()))]))
def test_fastavro_judges_records_as_their_cursors_do(case):
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
    assert read_both(mapping, deserializer(schema), raws) == [at is not LOCAL] * 2


@pytest.mark.parametrize("items", ["float", "double", {"type": "float"}])
def test_cursor_is_sure_of_usual_lists(items):
    schema = record(("stream", "string"), ("at", MILLIS), ("v", {"type": "array", "items": items}))
    lists = [[0.5, 0.1], [1.5, 3.4e38], [1, float("nan")], [1, float("inf")], [1, 2, 3], []]
    lists += [[1, 1e39], [1, 3.4028235677973362e38]] if items == "double" else []
    raws = [framed(payload(schema, {"stream": "clicks", "at": NOON_MS, "v": each})) for each in lists]
    assert all(read_both(MAPPING, deserializer(schema), raws))


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
    assert read_both(MAPPING, deserializer(schema), [framed(start + raw)] * 2) == [True, True]


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


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("string", varint(2, surplus=5) + b"de"),
        ("string", sized(b"x" * 10_000)),
        ("long", varint(7, surplus=20)),
        ({"type": "array", "items": "long"}, varint(-1) + b"\2\2\0"),
        ({"type": "array", "items": "string"}, varint(-1) + varint(999) + sized(b"de") + b"\0"),
        ({"type": "enum", "name": "E", "symbols": [f"S{i}" for i in range(65)]}, varint(64)),
        ({"type": "long", "logicalType": [1]}, b"\2"),
        ({"type": "array", "items": "long"}, varint(100_000) + b"\2" * 100_000 + b"\0"),
        (
            {"type": "map", "values": "null"},
            varint(500) + b"".join(sized(b"%d" % i) for i in range(500)) + b"\0",
        ),
    ],
    ids=lambda each: str(each)[:60],
)
def test_cursor_is_sure_of_unusual_bytes(kind, raw):
    assert read_after_event(kind, raw) == [True]


def nested(depth):
    kind: object = "string"
    for _ in range(depth):
        kind = {"type": "array", "items": kind}
    return kind


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (nested(30), b"\0"),
        (record(*[(f"a{i}", "long") for i in range(1_000)], name="R"), b"\0" * 1_000),
        ([{"type": "fixed", "name": f"F{i}", "size": 1} for i in range(70)], b"\2a"),
        ({"type": "fixed", "name": "F", "size": -1}, b""),
        ({"type": "fixed", "name": "F", "size": "1"}, b"a"),
        ([], b"\0"),
    ],
    ids=["deep", "long", "many branches", "negative size", "size that is no number", "union of nothing"],
)
def test_schema_beyond_the_bounds_is_left_to_fastavro(kind, raw):
    assert read_after_event(kind, raw) == [False]


def test_logical_type_that_only_fastavro_knows_is_left_to_it(monkeypatch):
    monkeypatch.setitem(LOGICAL_READERS, "long-day", lambda *_: None)
    for kind in ({"type": "long", "logicalType": "day"}, {"type": "long", "logicalType": "night"}):
        assert read_after_event(kind, varint(7)) == [kind["logicalType"] == "night"]


def test_cursors_of_a_topic_are_bounded(monkeypatch):
    monkeypatch.setattr(avro, "_MOST_CURSORS", 1)
    schema = Schema(json.dumps(record(*HEAD)))
    build = partial(AvroDeserializer, Schemas(_7=schema, _8=schema))
    raws = [framed(EVENT), framed(EVENT, 8), framed(EVENT)]
    assert read_both(MAPPING, build, raws) == [True, False, True]


def test_last_of_two_equal_keys_counts():
    values = ["string", record(("a", "string"), name="R")]
    raw = b"\4" + sized(b"k") + b"\2" + sized(b"de") + sized(b"k") + b"\0" + sized(b"fr") + b"\0"
    # A record is no text, so of the first one's text the cursor is not sure.
    for path, is_certain in (("x.k", False), ("x.k.a", True)):
        mapping = MAPPING | {"segments": {"part": path}}
        assert read_after_event({"type": "map", "values": values}, raw, mapping=mapping) == [is_certain]


@pytest.mark.parametrize("name", ['", v)\nraise SystemExit  # ', "import os", "k0", "é", "__class__"])
def test_names_of_a_schema_are_no_code(name):
    """fastavro checks names only where it is told to."""
    inner = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}
    schema = record(*HEAD, ("x", {"type": "map", "values": inner}))
    raw = framed(EVENT + b"\2" + sized(name.encode()) + sized(b"de") + b"\0")
    mapping = MAPPING | {"segments": {"part": f'x["{name}"].a'}} if '"' not in name else MAPPING
    assert read_both(mapping, deserializer(schema), [raw]) == [True]


def test_last_of_two_equal_fields_counts():
    schema = record(*HEAD, ("x", record(("a", "string"), name="R")), ("x", "string"))
    raw = framed(EVENT + sized(b"de") + sized(b"fr"))
    mapping = MAPPING | {"segments": {"part": "x.a"}}
    assert read_both(mapping, deserializer(schema), [raw]) == [False]


def test_cursor_is_of_one_schema():
    other = record(("v", "bytes"), ("at", MILLIS), ("stream", "string"))
    build = partial(
        AvroDeserializer, Schemas(_7=Schema(json.dumps(record(*HEAD))), _8=Schema(json.dumps(other)))
    )
    raws = [framed(EVENT), framed(EVENT, 8), framed(EVENT)]
    assert read_both(MAPPING, build, raws) == [True, False, True]


def test_union_of_records_is_read_by_its_branches():
    schema = [
        record(*HEAD, name="A"),
        record(("v", "bytes"), ("stream", "string"), ("at", MILLIS), name="B"),
        "string",
    ]
    second = sized(VECTOR) + sized(b"clicks") + varint(NOON_MS)
    raws = [framed(b"\0" + EVENT), framed(b"\2" + second), framed(b"\4" + sized(b"de"))]
    assert read_both(MAPPING, deserializer(schema), raws) == [True, True, False]


@pytest.mark.parametrize("path", ["x[0].b", "x[a=fr].b", "x[1].c", "x[9].b", "x.b", "x[0]"])
def test_items_of_lists_are_read(path):
    items = record(("a", "string"), ("n", ["null", "long"]), ("b", ["null", "string"]), name="R")
    raw = b"\4" + sized(b"de") + b"\0\2" + sized(b"x") + sized(b"fr") + b"\2\4\2" + sized(b"y") + b"\0"
    mapping = MAPPING | {"segments": {"part": path}}
    assert read_after_event({"type": "array", "items": items}, raw, mapping=mapping) == [path != "x[0]"]


def test_json_in_text_is_read():
    mapping = MAPPING | {"segments": {"part": "x[json].b"}}
    assert read_after_event("string", sized(b'{"b":"de"}'), mapping=mapping) == [True]


def test_several_vectors_are_read():
    kind = {"type": "array", "items": "float"}
    mapping = {
        "encoding": "avro",
        "timestamp": "at",
        "vectors": [{"stream": "stream", "embedding": "v"}, {"stream": "stream", "embedding": "x"}],
    }
    assert read_after_event(kind, b"\4" + VECTOR + b"\0", mapping=mapping) == [True]


@pytest.mark.parametrize("at", [MILLIS, "long"])
def test_condition_is_checked(at):
    schema = record(("op", "string"), ("stream", "string"), ("at", at), ("v", "bytes"))
    mapping = MAPPING | {"where": [{"path": "op", "in": ["c", "u"]}]}
    raws = [framed(sized(op) + EVENT) for op in (b"c", b"d")]
    assert read_both(mapping, deserializer(schema), raws) == [True, True]
