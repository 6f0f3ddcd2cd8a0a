"""Fields of Protobuf messages: the schema's class accepts and refuses the same, with the same bits."""

import struct

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.events import protobuf as protobuf_module
from driftgauge.events.needs import Need
from driftgauge.events.protobuf_fields import find_packed
from driftgauge.events.schemas import PAYLOAD
from tests.events.both_ways import NOON_MS, VECTOR, read_both, sequences
from tests.events.schema_records import (
    SCALARS,
    Embedded,
    add_field,
    framed,
    protobuf,
    protobuf_file,
)
from tests.examples import examples

MAPPING = {"encoding": "protobuf", "stream": "stream", "embedding": "vector", "timestamp": "at"}
NOON_S = NOON_MS // 1_000


def value(payload):
    return framed(b"\0" + payload)


def varint(number, surplus=0):
    """Return a number as Protobuf writes it, with surplus bytes."""
    number, written = number % 2**64, bytearray()
    while number >= 128:
        written.append(number & 127 | 128)
        number >>= 7
    return (
        bytes([*written, number])
        if not surplus
        else bytes([*written, number | 128, *[128] * (surplus - 1), 0])
    )


def field(number, wire, content):
    """Return a field: a number, the bytes of a length-delimited one, or as many bytes as the type has."""
    written = varint(content) if wire == 0 else varint(len(content)) + content if wire == 2 else content
    return varint(number << 3 | wire) + written


def event(**fields):
    """Return the bytes of an event of `protobuf_file`."""
    message = Embedded(**({"stream": "clicks", "vector": VECTOR} | fields))
    if "at" not in fields:
        message.at.FromMilliseconds(NOON_MS)
    return message.SerializeToString()


def read_after_event(*contents, mapping=MAPPING):
    """Read events that end with some bytes; return of which the fields are certain."""
    return read_both(mapping, protobuf(), [value(event() + each) for each in contents])


INNER = st.fixed_dictionaries({}, optional={"stream": st.sampled_from(["", "de", "fr", "é"])})


def mostly(usual, *others):
    """Draw the usual value half of the time, so that most records are events of one layout."""
    return st.just(usual) | st.sampled_from([usual, *others])


EVENTS = st.builds(
    event,
    at=mostly({"seconds": NOON_S}, {"seconds": NOON_S, "nanos": 999_999_999}, {"seconds": -1}, {}),
    numbers=mostly([0.5, -1.25], [0.5, float("inf")], []),
    segments=mostly({}, {"country": "de"}, {"country": "fr", "device": "é"}),
    codes=mostly({}, {7: 1}),
    kind=mostly(1, 0, 99),
    count=mostly(NOON_S, 0, 5, NOON_MS, NOON_MS * 1_000, -1),
    note=mostly("de", None, "", "fr", "é"),
    inner=st.none() | INNER,
    inners=mostly([], [{}], [{"stream": "fr"}, {"stream": "é"}]),
    kinds=mostly([], [1, 99]),
    flags=mostly([], [True]),
)
# Fields that are known or not, with any wire type.
ADDED = st.builds(
    lambda number, wire_content: field(number, *wire_content),
    st.integers(1, 14),
    st.one_of(
        st.tuples(st.just(0), st.sampled_from([0, 1, 5, 2**32 + 1, 2**63 - 1, 2**64 - 1])),
        st.tuples(st.just(1), st.binary(min_size=8, max_size=8)),
        st.tuples(st.just(2), st.sampled_from([b"", b"de", b"\x08\5", VECTOR, b"\xff\xff", b"\n\2de"])),
        st.tuples(st.just(5), st.binary(min_size=4, max_size=4)),
        st.tuples(st.just(3), st.just(b"\x0a\0")),
        st.tuples(st.just(4), st.just(b"")),
    ),
)


def vector_file(kind="float", *, inner=False, is_packed=True, syntax="proto3"):
    """A file like `protobuf_file`, with a vector `numbers` of a type, perhaps in the message `inner`."""
    file = protobuf_file()
    file.syntax = syntax
    message = file.message_type[0]
    if syntax == "proto2":
        message.field[8].ClearField("proto3_optional")
        message.field[8].ClearField("oneof_index")
        del message.oneof_decl[:]
    found = message.field[3]
    if inner:
        found = add_field(message.nested_type[0], "numbers", 4, kind, repeated=True)
        # A vector is read as bytes only where no other field has its type.
        del message.field[10]
    found.type = SCALARS.Value(f"TYPE_{kind.upper()}")
    if kind != "string":
        found.options.packed = is_packed
    return file


SCALAR_TYPES = (
    *("string", "bytes", "bool", "float", "double", "fixed32", "sfixed64"),
    *("int32", "int64", "uint32", "uint64", "sint32", "sint64"),
)


@st.composite
def files(draw):
    """Draw a file like `protobuf_file`, of which some fields have other types."""
    file = vector_file(
        draw(st.sampled_from(["float", "float", "double", "int64", "string"])),
        inner=draw(st.booleans()),
        is_packed=draw(st.sampled_from([True, True, False])),
        syntax=draw(st.sampled_from(["proto2", "proto3"])),
    )
    message = file.message_type[0]
    for each in message.field:
        if each.name in {"stream", "vector", "count", "note"} and draw(st.integers(0, 3)) == 0:
            each.type = SCALARS.Value(f"TYPE_{draw(st.sampled_from(SCALAR_TYPES)).upper()}")
            if not each.proto3_optional and draw(st.booleans()):
                each.label = each.LABEL_REPEATED
    return file


@st.composite
def cases(draw):
    """Draw a mapping, a file, and messages or bytes near those of `protobuf_file`."""
    text = st.sampled_from(
        [
            "note",
            "inner.stream",
            "segments.country",
            "vector",
            "count",
            "kind",
            "at.seconds",
            "inner",
            "numbers",
            "numbers[0]",
            "inners[0].stream",
            "inners[stream=fr].stream",
            "codes.7",
            "inners",
            "segments",
        ]
    )
    mapping = MAPPING | {
        "embedding": draw(st.sampled_from(["vector", "numbers", "numbers", "kinds", "inner.numbers"])),
        "timestamp": draw(
            st.sampled_from(["at", {"header": "at", "unit": "s"}, {"record": "timestamp"}])
            | st.sampled_from(["s", "ms", "us"]).map(lambda unit: {"path": "count", "unit": unit})
            | st.sampled_from(["s", "ms", "us"]).map(lambda unit: {"path": "at", "unit": unit})
        ),
        "where": draw(st.sampled_from([(), (), ({"path": "note", "in": ["de"]},)])),
    }
    if draw(st.booleans()):
        mapping |= {"event_id": draw(text), "segments": {"part": draw(text)}}
    added = st.just(b"") | st.just(b"") | ADDED
    raws = st.builds(lambda before, message, after: value(before + message + after), added, EVENTS, added)
    file = draw(st.just(protobuf_file()) | files())
    return mapping, file, draw(sequences(draw(st.lists(raws, min_size=1, max_size=2)), PAYLOAD + 1))


@settings(max_examples=examples(1_500))
@given(cases())
def test_class_of_the_schema_judges_messages_as_their_fields_do(case):
    mapping, file, raws = case
    read_both(mapping, protobuf(file), raws)


def test_usual_message_is_certain():
    usual = event(
        at={"seconds": NOON_S, "nanos": 500_000_000},
        count=5,
        note="de",
        kind=1,
        numbers=[0.5, 1],
        segments={"country": "de"},
        codes={7: 1},
        inner={"stream": "de"},
        inners=[{"stream": "de"}],
    )
    for embedding in ("vector", "numbers"):
        assert read_both(MAPPING | {"embedding": embedding}, protobuf(), [value(usual)]) == [True]


@pytest.mark.parametrize(("unit", "count"), [("s", NOON_S), ("ms", NOON_MS), ("us", NOON_MS * 1_000)])
@pytest.mark.parametrize("kind", ["int64", "uint64", "sint64"])
def test_usual_time_is_certain(unit, count, kind):
    file = protobuf_file()
    (found,) = (each for each in file.message_type[0].field if each.name == "count")
    found.type = SCALARS.Value(f"TYPE_{kind.upper()}")
    mapping = MAPPING | {"timestamp": {"path": "count", "unit": unit}}
    written = [number << 1 if kind == "sint64" else number for number in (count, count + 1, 0)]
    raws = [value(event() + field(8, 0, number)) for number in written]
    assert all(read_both(mapping, protobuf(file), raws))


def packed(*numbers, code="f"):
    return struct.pack(f"<{len(numbers)}{code}", *numbers)


NUMBERS = MAPPING | {"embedding": "numbers"}
# Fields 4, and whether the numbers are certainly those of their bytes.
VECTORS = {
    "one piece": ([field(4, 2, packed(0.5, 1.5))], True),
    "two pieces": ([field(4, 2, packed(0.5)), field(4, 2, packed(1.5))], True),
    "empty piece": ([field(4, 2, b""), field(4, 2, packed(0.5, 1.5))], True),
    "nothing": ([], True),
    "empty": ([field(4, 2, b"")], True),
    "no number": ([field(4, 2, packed(float("nan"), 1))], True),
    "three numbers": ([field(4, 2, packed(1, 2, 3))], True),
    "cut piece": ([field(4, 2, packed(0.5, 1.5)[:7])], False),
    "two cut pieces": ([field(4, 2, packed(0.5)[:3]), field(4, 2, b"x" + packed(1.5))], False),
    "not packed": ([field(4, 5, packed(0.5)), field(4, 5, packed(1.5))], False),
    "packed and not": ([field(4, 2, packed(0.5)), field(4, 5, packed(1.5))], False),
    "not packed and packed": ([field(4, 5, packed(1.5)), field(4, 2, packed(0.5))], False),
    "one number too many": ([field(4, 2, packed(0.5, 1.5)), field(4, 5, packed(2.5))], False),
    "another wire type": ([field(4, 2, packed(0.5, 1.5)), field(4, 0, 5)], False),
    "unknown field": ([field(4, 2, packed(0.5, 1.5)), field(99, 0, 5)], False),
}


@pytest.mark.parametrize("name", VECTORS)
def test_packed_vector_is_certain_where_all_of_it_is_there(name):
    fields, is_certain = VECTORS[name]
    assert read_both(NUMBERS, protobuf(), [value(event() + b"".join(fields))]) == [is_certain]
    inner = value(event() + field(10, 2, b"".join(fields)))
    mapping = MAPPING | {"embedding": "inner.numbers", "event_id": "inner.stream"}
    assert read_both(mapping, protobuf(vector_file(inner=True)), [inner]) == [is_certain]


def test_pieces_of_a_vector_in_a_message_that_is_there_twice_are_joined():
    pieces = [field(10, 2, field(4, 2, packed(number))) for number in (0.5, 1.5)]
    mapping = MAPPING | {"embedding": "inner.numbers"}
    assert read_both(mapping, protobuf(vector_file(inner=True)), [value(event() + b"".join(pieces))]) == [
        True
    ]


def test_packed_vector_of_doubles_is_certain():
    numbers = [[0.5, 0.1], [1.5, 1e39], [1, 3.4028235677973362e38]]
    raws = [value(event() + field(4, 2, packed(*each, code="d"))) for each in numbers]
    assert all(read_both(NUMBERS, protobuf(vector_file("double")), raws))


@pytest.mark.parametrize("is_packed", [False, True])
def test_vector_of_proto2_is_read(is_packed):
    file = vector_file(is_packed=is_packed, syntax="proto2")
    raws = [
        value(event() + field(4, 2, packed(0.5, 1.5))),
        value(event() + field(4, 5, packed(0.5)) + field(4, 5, packed(1.5))),
    ]
    assert read_both(NUMBERS, protobuf(file), raws) == [True, not is_packed]


@pytest.mark.parametrize(
    "mapping",
    [
        {"event_id": "numbers[0]"},
        {"event_id": "numbers"},
        {"segments": {"part": "inner.numbers[0]"}},
        {"where": [{"path": "numbers", "in": ["de"]}]},
    ],
    ids=str,
)
def test_vector_that_is_read_in_two_ways_is_a_list(mapping):
    raw = value(event() + field(4, 2, packed(0.5, 1.5)))
    file = vector_file(inner=True) if "segments" in mapping else protobuf_file()
    assert read_both(NUMBERS | mapping, protobuf(file), [raw]) == [True]


def test_two_vectors_of_one_message_are_read():
    mapping = {
        "encoding": "protobuf",
        "timestamp": "at",
        "vectors": [{"stream": "stream", "embedding": path} for path in ("numbers", "inner.numbers")],
    }
    raw = value(event() + field(4, 2, packed(0.5, 1.5)) + field(10, 2, field(4, 2, packed(2.5, 3.5))))
    assert read_both(mapping, protobuf(vector_file(inner=True)), [raw]) == [True]


def test_classes_that_read_vectors_are_bounded(monkeypatch):
    monkeypatch.setattr(protobuf_module, "_MOST_READERS", 0)
    assert read_both(NUMBERS, protobuf(), [value(event() + field(4, 2, packed(0.5, 1.5)))]) == [True]


# Records that upb takes for something else than their bytes say at first sight.
ODD = {
    "text that is not UTF-8": field(9, 2, b"\xff\xfe"),
    "text within a message that is not UTF-8": field(10, 2, b"\n\2\xff\xfe"),
    "key that is not UTF-8": field(5, 2, b"\n\2\xff\xfe"),
    "number of over 64 bits": varint(8 << 3) + b"\xff" * 10,
    "number of ten bytes": field(8, 0, 2**63),
    "number that leaves its message": varint(6 << 3 | 2) + b"\2" + b"\x08\x85\0",
    "group": varint(14 << 3 | 3) + varint(14 << 3 | 4),
    "known field of another wire type": field(9, 0, 5),
    "packed numbers": field(12, 2, b"\1\2"),
    "field that is read twice": field(1, 2, b"clicks"),
    "message that is there twice": field(2, 2, b"\x08\5"),
    "many items": field(11, 2, b"") * 100_000,
}


@pytest.mark.parametrize("name", ODD)
def test_odd_message_is_judged_alike(name):
    read_after_event(ODD[name], mapping=MAPPING | {"event_id": "note", "segments": {"part": "segments.de"}})


STAMPS = {
    "nanoseconds of a second or more": (b"\x08\5\x10" + varint(5, 4), b"\x08\5\x10" + varint(10**9)),
    "nanoseconds of over 32 bits": (b"\x08\5\x10" + varint(5, 4), b"\x08\5\x10" + varint(2**32 + 10**6)),
    "nanoseconds first": (b"\x10\5\x08\5",) * 2,
    "seconds twice": (b"\x08\5\x08\7",) * 2,
    "negative seconds": (b"\x08" + varint(-1),) * 2,
    "unknown field": (b"\x08\5" + field(3, 2, b"\x80" * 1_000_000),) * 2,
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("unit", ["ms", "s"])
@pytest.mark.parametrize("name", STAMPS)
def test_odd_timestamp_is_judged_alike(name, unit):
    start = field(1, 2, b"clicks") + field(3, 2, VECTOR)
    raws = [value(start + field(2, 2, stamp)) for stamp in STAMPS[name]]
    read_both(MAPPING | {"timestamp": {"path": "at", "unit": unit}}, protobuf(), raws)


def test_fields_are_of_one_message():
    file = protobuf_file()
    second = file.message_type.add()
    second.CopyFrom(file.message_type[0])
    second.name = "Second"
    del second.nested_type[:]
    second.field[0].number, second.field[8].number = 9, 1
    raws = [framed(indexes + event(note="clicks")) for indexes in (b"\0", b"\2\4", b"\2\0", b"\2\4")]
    assert read_both(MAPPING, protobuf(file), raws) == [True] * 4


def test_vector_of_a_type_that_another_field_has_too_is_left_to_the_schemas_class():
    file = FileDescriptorProto(name="nested.proto", syntax="proto3")
    inner, outer = file.message_type.add(name="Inner"), file.message_type.add(name="Outer")
    add_field(inner, "v", 1, "double", repeated=True)
    add_field(outer, "c", 1, ".Inner")
    need = Need({"c": Need({"v": Need(kinds={"vector"})})})

    def found():
        pool = DescriptorPool()
        pool.Add(file)
        return [each.name for each in find_packed(pool.FindMessageTypeByName("Outer"), need)]

    assert found() == ["c", "v"]
    add_field(outer, "o", 2, ".Inner", repeated=True)
    assert found() == [], "a cut vector in the other field would be missed"
