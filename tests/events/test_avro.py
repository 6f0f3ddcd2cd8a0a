"""Avro behind a schema registry: cursors and fastavro accept and refuse the same."""

import base64
import struct
import uuid
from functools import partial
from itertools import count

import pytest
from fastavro.read import LOGICAL_READERS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftgauge.events.encodings import avro as avro_module
from driftgauge.events.encodings.avro import Avro
from driftgauge.events.needs import Need
from driftgauge.events.rejection import Reason
from driftgauge.events.schemas import PAYLOAD, Schema
from tests.events.both_ways import VECTOR, read_alike, read_both, sequences
from tests.events.schema_records import (
    NOON_MS,
    Schemas,
    avro,
    avro_schema,
    framed,
    stored,
    undecodable,
    varint,
)
from tests.examples import examples

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
UUID = {"type": "string", "logicalType": "uuid"}
MAPPING = {"encoding": "avro", "stream": "stream", "embedding": "v", "timestamp": "at"}
ID = str(uuid.UUID(int=5))


def record(*fields, name="Embedded"):
    return {"type": "record", "name": name, "fields": [{"name": name, "type": kind} for name, kind in fields]}


def array(items):
    return {"type": "array", "items": items}


def mapped(values):
    return {"type": "map", "values": values}


def fixed(size, name="F"):
    return {"type": "fixed", "name": name, "size": size}


def building(schema, *references):
    """Return what builds the building of a schema, given what a mapping reads."""
    return partial(Avro, Schemas(_7=avro_schema(schema, *references)))


HEAD = [("stream", "string"), ("at", MILLIS), ("v", "bytes")]
EVENT = avro({"stream": "clicks", "at": NOON_MS, "v": VECTOR}, record(*HEAD))


def long(number, surplus=0):
    """Return a number as Avro writes it, with surplus bytes."""
    return varint((number << 1) ^ (number >> 63), surplus)


def sized(raw):
    return long(len(raw)) + raw


# Confluent's registry keeps topics with events of several types so.
INNER = record(("x", "long"), name="shop.In")
OUTER = record(("i", "shop.In"), ("j", ["null", "shop.In"]), name="shop.Out")
REFERENCES = [("shop.In", INNER), ("shop.Out", OUTER)]


@pytest.mark.parametrize(
    ("schema", "raw", "decoded"),
    [
        (avro_schema(["shop.In", "shop.Out"], *REFERENCES), b"\x00\x02", {"x": 1}),
        (
            avro_schema(["shop.In", "shop.Out"], *REFERENCES),
            b"\x02\x02\x02\x04",
            {"i": {"x": 1}, "j": {"x": 2}},
        ),
        (avro_schema("shop.Out", *REFERENCES), b"\x02\x00", {"i": {"x": 1}, "j": None}),
        *((Schema(text), b"\x04ab", b"ab") for text in ('"bytes"', "bytes", '{"type": "bytes"}')),
    ],
)
def test_referenced_and_primitive_types_are_decoded(schema, raw, decoded):
    assert Avro(Schemas(_7=schema), Need()).decode(stored(framed(raw))) == decoded


def doubled(depth, kind):
    """Return a record of two records of one type, and so on to this depth."""
    for level in range(1, depth + 1):
        kind = record(("a", kind), ("b", kind["name"]), name=f"E{level}")
    return kind


NOTHING = record(("x", "null"), name="N")
# Ten bytes that name 2^40 items.
MANY_ITEMS = b"\x02\x02\x02x\x80\x80\x80\x80\x80\x40"


@pytest.mark.parametrize(
    ("schema", "raw", "detail"),
    [
        (Schema("nonsense"), b"\0", "schema 7 cannot be used: no Avro schema"),
        (Schema('{"type": "record"}'), b"\0", "no Avro schema"),
        (Schema("[" * 100_000), b"\0", "no Avro schema"),
        (avro_schema(record(("x", "shop.Gone"))), b"\0", "no Avro schema"),
        (avro_schema(record(("x", ["null", "E"]), name="E")), b"\0", "it is recursive"),
        (avro_schema(record(("x", mapped("E")), name="E")), b"\0", "it is recursive"),
        (avro_schema(record(("x", fixed(4, "string")))), b"\0", "as one of Avro's"),
        (avro_schema(doubled(12, record(name="E0"))), b"\0", "more than 1000 values that take no bytes"),
        # Expanded, these are 2^40 types: they are checked in time linear in their number.
        (avro_schema(doubled(40, record(("v", "bytes"), name="E0"))), b"\0", "ends within the Avro"),
        (avro_schema(record(*HEAD)), EVENT + b"ab", "2 bytes follow the Avro of schema 7"),
        *(
            (
                avro_schema(record(("m", ["null", mapped(array(items))]))),
                MANY_ITEMS,
                "items that take no bytes",
            )
            for items in ("null", NOTHING, fixed(0), {"type": "null"})
        ),
    ],
    ids=lambda each: str(each)[:60],
)
def test_unusable_schema_or_value_is_reported_with_each_record(schema, raw, detail):
    deserialize = Avro(Schemas(_7=schema), Need()).decode
    for _ in range(2):
        assert detail in undecodable(deserialize, framed(raw))


def test_strict_prefix_is_undecodable():
    decode, raw = building(record(*HEAD))(Need()).decode, framed(EVENT)
    for end in range(len(raw)):
        assert " at 0x" not in undecodable(decode, raw[:end])


@pytest.mark.parametrize("depth", [100, 600])
def test_chain_of_references_is_decoded_or_unusable(depth):
    """Checks of a schema nest as its types do, and Python's calls nest 1,000 times."""
    first = record(("v", "bytes"), name="R0")
    others = [record(("a", f"R{number - 1}"), name=f"R{number}") for number in range(1, depth)]
    references = [(each["name"], each) for each in (first, *others)]
    path = "a." * (depth - 1) + "v"
    mapping = MAPPING | {"stream": "a", "embedding": path, "timestamp": {"record": "timestamp"}}
    assert read_both(mapping, building(f"R{depth - 1}", *references), [framed(b"\x10" + VECTOR)]) == [False]


OF_X = MAPPING | {"stream": {"constant": "clicks"}, "embedding": "x", "timestamp": {"record": "timestamp"}}


@pytest.mark.parametrize(
    ("mapping", "kind", "raw"),
    [
        (OF_X, array("boolean"), avro([True] * 4, array("boolean"))),
        (OF_X, array("string"), avro(["1"] * 4, array("string"))),
        (OF_X, array(["null", "int"]), avro([None] * 4, array(["null", "int"]))),
        # Times beyond all dates.
        *((OF_X | {"timestamp": "x"}, MILLIS, long(time_ms)) for time_ms in (10**15, -5 * 10**14, 2**62)),
    ],
    ids=str,
)
def test_value_of_another_kind_is_invalid(mapping, kind, raw):
    ((reason, *_),) = read_alike(mapping, building(record(("x", kind))), [framed(raw)])
    assert reason is Reason.INVALID


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
        inner.map(array),
        inner.map(mapped),
        st.lists(inner.filter(lambda kind: type(kind) is not list), min_size=1, max_size=3),
        st.lists(inner, min_size=1, max_size=3).map(lambda kinds: record(*zip("abc", kinds, strict=False))),
    )


TYPES = st.recursive(LEAVES, containers, max_leaves=6)


def named(schema, numbers):
    """Return a type with a name of its own for each of its types that need one."""
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


@st.composite
def blocks(draw, items):
    """Draw the items of an array or map, in up to two blocks, of which each may say its size."""
    written = b""
    for _ in range(draw(st.integers(0, 2))):
        block = b"".join(chosen := draw(st.lists(items, min_size=1, max_size=2)))
        has_size = draw(st.integers(0, 9)) == 0
        written += long(-len(chosen)) + sized(block) if has_size else long(len(chosen)) + block
    return written + b"\0"


INTEGERS = st.builds(long, NUMBERS, st.sampled_from([0, 0, 0, 2]))
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
        branches = [contents(kind).map(long(i).__add__) for i, kind in enumerate(schema)]
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
    vector = draw(st.sampled_from(["bytes", array("float"), array("double"), ["null", "bytes"]]))
    at = draw(st.sampled_from([MILLIS, MICROS, "long", ["null", MILLIS]]))
    x = named(draw(TYPES), count())
    head = ("stream", "string"), ("at", at), ("v", vector)
    value = {"stream": "clicks", "at": NOON_MS * (1_000 if at == MICROS else 1)}
    value["v"] = [0.5, -1.25] if isinstance(vector, dict) else VECTOR
    start = avro(value, record(*head))
    raws = [framed(start + raw) for raw in draw(st.lists(contents(x), min_size=1, max_size=3))]
    mapping = MAPPING | {
        "timestamp": {"path": "at", "unit": draw(st.sampled_from(["ms", "ms", "us", "s", "ns"]))},
        "where": draw(st.sampled_from([(), (), ({"path": "x.a", "in": ["de", 5]},)])),
    }
    if draw(st.booleans()):
        ids = ["stream", "x", "x.a", "x.a.b", "x[0].a", "x.a[1]", "x.a[b=de].a"]
        parts = ["x", "x.a", "x.b", "x.b.a", "v", "at", "x[0]", "x[a=fr].b"]
        mapping["event_id"] = draw(st.sampled_from(ids))
        mapping["segments"] = {"part": draw(st.sampled_from(parts))}
    if draw(st.integers(0, 3)) == 0:
        mapping["embedding"] = draw(st.sampled_from(["x", "x.a", {"path": "v", "dimension": 1}]))
    return mapping, record(*head, ("x", x)), draw(sequences(raws, PAYLOAD))


@settings(max_examples=examples(80))
@given(cases())
@example((MAPPING | {"embedding": "x"}, record(*HEAD, ("x", UUID)), [framed(EVENT + sized(ID.encode()))]))
def test_fastavro_judges_records_as_their_cursors_do(case):
    mapping, schema, raws = case
    read_both(mapping, building(schema), raws)


NAMES = ('", v)\nraise SystemExit  # ', "import os", "k0", "é", "__class__")
TEXTS = mapped(record(("a", "string"), name="R"))
LISTS = array(record(("a", "string"), ("n", ["null", "long"]), ("b", ["null", "string"]), name="R"))
LISTED = b"\4" + sized(b"de") + b"\0\2" + sized(b"x") + sized(b"fr") + b"\2\4\2" + sized(b"y") + b"\0"
EITHER = mapped(["string", record(("a", "string"), name="R")])
TWO_KEYS = b"\4" + sized(b"k") + b"\2" + sized(b"de") + sized(b"k") + b"\0" + sized(b"fr") + b"\0"
ENUM = {"type": "enum", "name": "E", "symbols": ["IMAGE", "TEXT"]}
PAIR = record(("a", "long"), ("b", ["null", "string"]), name="R")
ODD = MAPPING | {"event_id": "x"}
TWO_VECTORS = {
    "encoding": "avro",
    "timestamp": "at",
    "vectors": [{"stream": "stream", "embedding": path} for path in ("v", "x")],
}


def part(path):
    return MAPPING | {"segments": {"part": path}}


def nested(depth):
    kind = "string"
    for _ in range(depth):
        kind = array(kind)
    return kind


def values(kind, *found):
    return [avro(each, kind) for each in found]


# A field `x` after an event: how it is read, its type, its bytes, and of which the cursor is sure.
FIELDS = [
    *(
        (MAPPING, kind, values(kind, *found), [True, True])
        for kind, found in [
            ("null", [None, None]),
            ("boolean", [True, False]),
            ("int", [5, -5]),
            ("long", [5, 2**61]),
            ("float", [0.5, float("nan")]),
            ("double", [0.5, 1e300]),
            ("string", ["de", "fr"]),
            ("bytes", [b"ab", b"\xff\0"]),
            (UUID, [ID, ID]),
            (MICROS, [NOON_MS * 1_000, NOON_MS * 1_000 + 1]),
            (fixed(2), [b"ab", b"\n\n"]),
            (ENUM, ["TEXT", "TEXT"]),
            (["null", "string"], ["de", "fr"]),
            (array("float"), [[1.5, 2.5], [0.5, 3.5]]),
            (array("long"), [[5, -5], [2**61, 5]]),
            (mapped("string"), [{"country": "de"}, {"country": "fr"}]),
            (PAIR, [{"a": 1, "b": None}, {"a": 900, "b": None}]),
        ]
    ),
    # Code of a cursor holds no name of a schema; fastavro checks names only where it is told to.
    *(
        (
            MAPPING if '"' in name else part(f'x["{name}"].a'),
            TEXTS,
            [b"\2" + sized(name.encode()) + sized(b"de") + b"\0"],
            [True],
        )
        for name in NAMES
    ),
    (MAPPING, "string", [long(2, 5) + b"de"], [True]),
    (MAPPING, "string", [sized(b"x" * 10_000)], [True]),
    (MAPPING, "long", [long(7, 20)], [True]),
    (MAPPING, array("long"), [long(-1) + b"\2\2\0"], [True]),
    (MAPPING, nested(1), [long(-1) + long(999) + sized(b"de") + b"\0"], [True]),
    (MAPPING, ENUM | {"symbols": [f"S{i}" for i in range(65)]}, [long(64)], [True]),
    (MAPPING, {"type": "long", "logicalType": [1]}, [b"\2"], [True]),
    (MAPPING, array("long"), [long(100_000) + b"\2" * 100_000 + b"\0"], [True]),
    (MAPPING, mapped("null"), [long(500) + b"".join(sized(b"%d" % i) for i in range(500)) + b"\0"], [True]),
    # Beyond the bounds: deep, long, many branches, of a negative size or none, and a union of nothing.
    (MAPPING, nested(30), [b"\0"], [False]),
    (MAPPING, record(*[(f"a{i}", "long") for i in range(1_000)], name="R"), [b"\0" * 1_000], [False]),
    (MAPPING, [fixed(1, f"F{i}") for i in range(70)], [b"\2a"], [False]),
    (MAPPING, fixed(-1), [b""], [False]),
    (MAPPING, fixed("1"), [b"a"], [False]),
    (MAPPING, [], [b"\0"], [False]),
    *((part(path), LISTS, [LISTED], [True]) for path in ("x[0].b", "x[a=fr].b", "x[1].c", "x[9].b", "x.b")),
    (part("x[0]"), LISTS, [LISTED], [False]),
    (part("x[json].b"), "string", [sized(b'{"b":"de"}')], [True]),
    # The last of two equal keys counts: a record is no text, so of the first one's text nothing is sure.
    (part("x.k"), EITHER, [TWO_KEYS], [False]),
    (part("x.k.a"), EITHER, [TWO_KEYS], [True]),
    (TWO_VECTORS, array("float"), [b"\4" + VECTOR + b"\0"], [True]),
]


@pytest.mark.parametrize(("mapping", "kind", "raws", "sure"), FIELDS, ids=lambda each: str(each)[:60])
def test_cursor_is_sure_of_usual_fields_within_its_bounds(mapping, kind, raws, sure):
    schema = record(*HEAD, ("x", kind))
    assert read_both(mapping, building(schema), [framed(EVENT + raw) for raw in raws]) == sure


# Fields that a cursor passes, and other bytes of the same field that only fastavro judges.
ODD_FIELDS = {
    "text that is not UTF-8": ("string", sized(b"de"), sized(b"\xff\xfe")),
    "key that is not UTF-8": (
        mapped("null"),
        b"\2" + sized(b"a") + b"\0",
        b"\2" + sized(b"\xff") + b"\0",
    ),
    "time beyond all dates": (MILLIS, long(5), long(2**61)),
    "time beyond all dates in us": (MICROS, long(5), long(2**61)),
    "time of a day beyond the day": ({"type": "long", "logicalType": "time-micros"}, long(5), long(2**61)),
    "day beyond all dates": ({"type": "int", "logicalType": "date"}, long(5), long(2**30)),
    "text that is no UUID": (UUID, sized(ID.encode()), sized(ID.encode().replace(b"0", b"x"))),
    "shorter UUID": (UUID, sized(ID.encode()), sized(ID.replace("-", "").encode())),
    "symbol that is not there": (ENUM, b"\2", b"\4"),
    "symbol below the first": (ENUM, b"\2", b"\1"),
    "branch that is not there": (["null"], b"\0", b"\2"),
    "branch below the first": (["null", "long"], b"\2\2", b"\1"),
    "long number of a branch": (["null", "long"], b"\2\2", b"\x82\0\2"),
    "number that is cut off": ("long", long(2**40), b"\x80" * 5),
    "negative length": ("bytes", sized(b"ab"), long(-1) + b"ab"),
    "length beyond the record": ("bytes", sized(b"ab"), long(2**40) + b"ab"),
    "length beyond 64 bits": ("string", sized(b"de"), b"\x84" + b"\x80" * 8 + b"\x02de"),
    "more items than bytes": (array(fixed(1)), b"\2a\0", long(2**40) + b"a"),
}


@pytest.mark.parametrize("mapping", [MAPPING, ODD], ids=["not read", "read"])
@pytest.mark.parametrize(("kind", "usual", "odd"), ODD_FIELDS.values(), ids=ODD_FIELDS)
def test_odd_field_is_left_to_fastavro(kind, usual, odd, mapping):
    raws = [framed(EVENT + usual), framed(EVENT + odd)]
    is_certain, is_odd_certain = read_both(mapping, building(record(*HEAD, ("x", kind))), raws)
    assert not is_odd_certain
    assert is_certain or mapping != MAPPING


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("at", [MILLIS, MICROS, LOCAL, "long", "int", "double", ["null", "long"]], ids=str)
def test_cursor_is_sure_of_usual_times_with_an_offset(at, unit):
    first = 0 if at == "int" else NOON_MS * 1_000 if at == MICROS else NOON_MS
    schema = record(("stream", "string"), ("at", at), ("v", "bytes"))
    times = values(schema, *({"stream": "clicks", "at": first + i, "v": VECTOR} for i in range(2)))
    mapping = MAPPING | {"timestamp": {"path": "at", "unit": unit}}
    assert read_both(mapping, building(schema), [*map(framed, times)]) == [at is not LOCAL] * 2


NO_FLOATS = [[1, 1e39], [1, 3.4028235677973362e38]]
LISTS_OF_NUMBERS = [[0.5, 0.1], [1.5, 3.4e38], [1, float("nan")], [1, float("inf")], [1, 2, 3], []]
VECTORS = [
    *((array(items), values(array(items), *LISTS_OF_NUMBERS)) for items in ("float", {"type": "float"})),
    (array("double"), values(array("double"), *LISTS_OF_NUMBERS, *NO_FLOATS)),
    (array(["null", "float"]), [b"\4" + b"\2" + VECTOR[:4] + b"\2" + VECTOR[4:] + b"\0"]),
    (array(array("float")), [b"\2\4" + VECTOR + b"\0\0"]),
    (array("float"), [b"\2" + VECTOR[:4] + b"\2" + VECTOR[4:] + b"\0"]),
    (array("float"), [long(-2) + sized(VECTOR) + b"\0"]),
    (array("long"), [b"\4\2\2\0"]),
    (fixed(8), [VECTOR]),
    ("string", [sized(base64.b64encode(VECTOR))]),
    (["null", "bytes"], [b"\2" + sized(VECTOR)]),
    ({"type": "bytes", "logicalType": "decimal", "precision": 9}, [sized(VECTOR)]),
]


@pytest.mark.parametrize(("kind", "raws"), VECTORS, ids=lambda each: str(each)[:60])
def test_cursor_is_sure_of_vectors_of_all_forms(kind, raws):
    start = avro({"stream": "clicks", "at": NOON_MS}, record(*HEAD[:2]))
    # The second time the cursor is there already.
    records = [framed(start + raw) for raw in raws] * 2
    assert all(read_both(MAPPING, building(record(*HEAD[:2], ("v", kind))), records))


def test_logical_type_that_only_fastavro_knows_is_left_to_it(monkeypatch):
    monkeypatch.setitem(LOGICAL_READERS, "long-day", lambda *_: None)
    for name, is_sure in (("day", False), ("night", True)):
        schema = record(*HEAD, ("x", {"type": "long", "logicalType": name}))
        assert read_both(MAPPING, building(schema), [framed(EVENT + long(7))]) == [is_sure]


OTHER = record(("v", "bytes"), ("at", MILLIS), ("stream", "string"))


@pytest.mark.parametrize(("second", "most"), [(record(*HEAD), 1), (OTHER, avro_module._MOST_CURSORS)])
def test_cursors_are_of_one_schema_and_bounded(monkeypatch, second, most):
    monkeypatch.setattr(avro_module, "_MOST_CURSORS", most)
    build = partial(Avro, Schemas(_7=avro_schema(record(*HEAD)), _8=avro_schema(second)))
    raws = [framed(EVENT), framed(EVENT, 8), framed(EVENT)]
    assert read_both(MAPPING, build, raws) == [True, False, True]


UNION = [
    record(*HEAD, name="A"),
    record(("v", "bytes"), ("stream", "string"), ("at", MILLIS), name="B"),
    "string",
]
SECOND = sized(VECTOR) + sized(b"clicks") + long(NOON_MS)
TWICE = record(*HEAD, ("x", record(("a", "string"), name="R")), ("x", "string"))
WHERE = MAPPING | {"where": [{"path": "op", "in": ["c", "u"]}]}
# How records are read, their schema and bytes, and of which the cursor is sure.
RECORDS = [
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
