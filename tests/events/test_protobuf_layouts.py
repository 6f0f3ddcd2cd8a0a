"""Patterns of Protobuf messages: upb accepts and refuses the same, with the same bits and reasons."""

import struct

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.events.schemas import PAYLOAD
from tests.events.both_ways import NOON_MS, VECTOR, read_both, sequences
from tests.events.schema_records import (
    SCALARS,
    Embedded,
    framed,
    protobuf_deserializer,
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
    """Read events that end with some bytes; return which took a pattern."""
    return read_both(mapping, protobuf_deserializer(), [value(event() + each) for each in contents])


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


@st.composite
def cases(draw):
    """Draw a mapping, and messages or bytes near them."""
    text = st.sampled_from(
        ["note", "inner.stream", "segments.country", "vector", "count", "kind", "at.seconds"]
    )
    mapping = MAPPING | {
        "embedding": draw(st.sampled_from(["vector", "vector", "numbers"])),
        "timestamp": draw(
            st.sampled_from(["at", {"header": "at", "unit": "s"}, {"record": "timestamp"}])
            | st.sampled_from(["s", "ms", "us"]).map(lambda unit: {"path": "count", "unit": unit})
        ),
    }
    if draw(st.booleans()):
        mapping |= {"event_id": draw(text), "segments": {"part": draw(text)}}
    added = st.just(b"") | st.just(b"") | ADDED
    raws = st.builds(lambda before, message, after: value(before + message + after), added, EVENTS, added)
    return mapping, draw(sequences(draw(st.lists(raws, min_size=1, max_size=2)), PAYLOAD + 1))


@settings(max_examples=examples(1_500))
@given(cases())
def test_upb_judges_messages_as_their_patterns_do(case):
    mapping, raws = case
    read_both(mapping, protobuf_deserializer(), raws)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"count": 2**40},
        {"note": "fr"},
        {"kind": 99},
        {"numbers": [0.5, float("nan")]},
        {"segments": {"country": "fr"}},
        {"codes": {7: 2}},
        {"inner": {"stream": "fr"}},
        {"inners": [{"stream": "fr"}]},
        {"at": {"seconds": NOON_S + 1, "nanos": 999_000_000}},
    ],
    ids=str,
)
def test_usual_message_takes_the_pattern(changed):
    usual = {
        "at": {"seconds": NOON_S, "nanos": 500_000_000},
        "count": 5,
        "note": "de",
        "kind": 1,
        "numbers": [0.5, 1],
        "segments": {"country": "de"},
        "codes": {7: 1},
        "inner": {"stream": "de"},
        "inners": [{"stream": "de"}],
    }
    raws = [value(event(**usual)), value(event(**(usual | changed)))]
    assert read_both(MAPPING, protobuf_deserializer(), raws) == [False, True]


@pytest.mark.parametrize(("unit", "count"), [("s", NOON_S), ("ms", NOON_MS), ("us", NOON_MS * 1_000)])
@pytest.mark.parametrize("kind", ["int64", "uint64", "sint64"])
def test_usual_time_takes_the_pattern(unit, count, kind):
    file = protobuf_file()
    (found,) = (each for each in file.message_type[0].field if each.name == "count")
    found.type = SCALARS.Value(f"TYPE_{kind.upper()}")
    mapping = MAPPING | {"timestamp": {"path": "count", "unit": unit}}
    written = [number << 1 if kind == "sint64" else number for number in (count, count + 1, 0)]
    raws = [value(event() + field(8, 0, number)) for number in written]
    assert read_both(mapping, protobuf_deserializer(file), raws) == [False, True, False]


@pytest.mark.parametrize("kind", ["int32", "uint32", "bool"])
def test_time_that_may_be_cut_is_left_to_upb(kind):
    """Of a longer number upb keeps 32 bits, or whether it is 0."""
    file = protobuf_file()
    file.message_type[0].field[7].type = descriptor_pb2.FieldDescriptorProto.Type.Value(
        f"TYPE_{kind.upper()}"
    )
    mapping = MAPPING | {"timestamp": {"path": "count", "unit": "s"}}
    raws = [value(event() + field(8, 0, number)) for number in (NOON_S, NOON_S + 2**32)]
    assert not any(read_both(mapping, protobuf_deserializer(file), raws))


def test_usual_list_takes_the_pattern():
    lists = [[0.5, 0.1], [1.5, 3.4e38], [1, float("nan")], [1, 2, 3]]
    raws = [value(event(numbers=each)) for each in lists]
    assert read_both(MAPPING | {"embedding": "numbers"}, protobuf_deserializer(), raws) == [
        False,
        True,
        True,
        False,
    ]


def test_usual_list_of_doubles_takes_the_pattern():
    file = protobuf_file()
    file.message_type[0].field[3].type = descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE
    numbers = [[0.5, 0.1], [1.5, 1e39], [1, 3.4028235677973362e38]]
    raws = [value(event() + field(4, 2, struct.pack("<2d", *each))) for each in numbers]
    assert read_both(MAPPING | {"embedding": "numbers"}, protobuf_deserializer(file), raws) == [
        False,
        True,
        True,
    ]


# Records of one layout, the last of which upb takes for something else than the first.
ODD = {
    "text that is not UTF-8": [field(9, 2, b"de"), field(9, 2, b"\xff\xfe")],
    "text within a message that is not UTF-8": [field(10, 2, b"\n\2de"), field(10, 2, b"\n\2\xff\xfe")],
    "key that is not UTF-8": [field(5, 2, b"\n\2de"), field(5, 2, b"\n\2\xff\xfe")],
    "number of over 64 bits": [field(8, 0, 5), varint(8 << 3) + b"\xff" * 10],
    "number of ten bytes": [field(8, 0, 2**63)] * 2,
    "longer number within a message": [
        field(2, 2, b"\x08\5\x10\5") + field(3, 2, b"x"),
        field(2, 2, b"\x08\x85\x80\x08") + field(3, 2, b"x"),
    ],
    "number that leaves its message": [
        field(6, 2, b"\x08\5"),
        varint(6 << 3 | 2) + b"\2" + b"\x08\x85\0",
    ],
    "group": [varint(14 << 3 | 3) + varint(14 << 3 | 4)] * 2,
    "known field of another wire type": [field(9, 0, 5)] * 2,
    "packed numbers": [field(12, 2, b"\1\2")] * 2,
    "field that is read twice": [field(1, 2, b"clicks")] * 2,
    "message that is there twice": [field(2, 2, b"\x08\5")] * 2,
    "many items": [field(11, 2, b"") * 100_000] * 2,
}


@pytest.mark.parametrize("name", ODD)
def test_odd_message_is_left_to_upb(name):
    assert not any(read_after_event(*ODD[name]))


@pytest.mark.parametrize(
    "mapping",
    [
        {"event_id": "segments"},
        {"event_id": "codes.7"},
        {"event_id": "inners.stream"},
        {"event_id": "kind"},
        {"event_id": "numbers"},
        {"event_id": "at.seconds"},
    ],
    ids=str,
)
def test_odd_text_is_left_to_upb(mapping):
    fields = {"segments": {"country": "de"}, "codes": {7: 1}, "inners": [{"stream": "e"}]}
    raw = value(event(**fields, count=5, kind=1, numbers=[1]))
    assert not any(read_both(MAPPING | mapping, protobuf_deserializer(), [raw, raw]))


STAMPS = {
    "nanoseconds of a second or more": (b"\x08\5\x10" + varint(5, 4), b"\x08\5\x10" + varint(10**9)),
    "nanoseconds of over 32 bits": (b"\x08\5\x10" + varint(5, 4), b"\x08\5\x10" + varint(2**32 + 10**6)),
    "nanoseconds first": (b"\x10\5\x08\5",) * 2,
    "seconds twice": (b"\x08\5\x08\7",) * 2,
    "negative seconds": (b"\x08" + varint(-1),) * 2,
    "unknown field": (b"\x08\5" + field(3, 2, b"\x80" * 1_000_000),) * 2,
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("name", STAMPS)
def test_odd_timestamp_is_left_to_upb(name):
    start = field(1, 2, b"clicks") + field(3, 2, VECTOR)
    raws = [value(start + field(2, 2, stamp)) for stamp in STAMPS[name]]
    # The first only shows the layout.
    assert not read_both(MAPPING, protobuf_deserializer(), raws)[1]


def test_numbers_in_two_pieces_are_left_to_upb():
    for pieces in (
        [field(4, 2, VECTOR[:4]), field(4, 2, VECTOR[4:])],
        [field(4, 2, VECTOR[:4]), field(4, 5, VECTOR[4:])],
    ):
        raw = value(event() + b"".join(pieces))
        assert not any(read_both(MAPPING | {"embedding": "numbers"}, protobuf_deserializer(), [raw, raw]))


def test_pattern_is_of_one_message():
    file = protobuf_file()
    second = file.message_type.add()
    second.CopyFrom(file.message_type[0])
    second.name = "Second"
    del second.nested_type[:]
    second.field[0].number, second.field[8].number = 9, 1
    raws = [framed(indexes + event(note="clicks")) for indexes in (b"\0", b"\2\4", b"\2\0", b"\2\4")]
    assert read_both(MAPPING, protobuf_deserializer(file), raws) == [False, False, False, True]
