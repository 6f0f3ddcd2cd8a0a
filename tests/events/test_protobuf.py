"""Protobuf behind a schema registry: its fields and the schema's class accept and refuse the same."""

import struct

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings, TimeSource
from driftgauge.events.encodings import protobuf as protobuf_module
from driftgauge.events.encodings.protobuf import Protobuf
from driftgauge.events.encodings.protobuf_fields import find_packed
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.messages import field_getter
from driftgauge.events.needs import Need
from driftgauge.events.rejection import EventError, Reason, SchemaPending
from driftgauge.events.schemas import PAYLOAD, Schema
from driftgauge.events.sources import compile_path, read_time
from tests.events.both_ways import VECTOR, read_both, sequences
from tests.events.mapped import read_record
from tests.events.schema_records import (
    CLASSES,
    ID,
    NOON_MS,
    SCALARS,
    Embedded,
    Schemas,
    add_field,
    add_map,
    framed,
    protobuf,
    protobuf_deserializer,
    protobuf_file,
    serialized,
    stored,
    undecodable,
)
from tests.examples import examples


def take_field(value, name):
    return field_getter(type(value), name)(value)


FIELDS = [field.name for field in Embedded.DESCRIPTOR.fields]


@pytest.mark.parametrize("name", [*FIELDS, "nothing", "SerializeToString", "DESCRIPTOR"])
def test_unset_or_unknown_field_is_missing(name):
    assert take_field(Embedded(), name) == ([] if name == "inners" else None)


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


VECTOR4 = np.array([0.5, -1.25, 3, 0.1], "<f4")


def embedded():
    message = Embedded(stream="clicks", vector=VECTOR4.tobytes(), numbers=VECTOR4, segments={"country": "de"})
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
    deserialize = Protobuf(schemas, Need()).decode
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
    deserialize = Protobuf(Schemas(_7=Schema(serialized(main), references)), Need()).decode
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
    deserialize = Protobuf(Schemas(_7=Schema(text)), Need()).decode
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
    raw = framed(b"\0" + b"\n\2\10\5" + b"\x12\x10" + VECTOR4.tobytes())
    for unit in ("ms", "s"):
        settings = mapping | {"timestamp": {"path": "at", "unit": unit}}
        assert read_both(settings, protobuf(own, main), [raw]) == [True]
    reader = build_readers(
        {"t": InputSettings.model_validate(mapping)},
        Schemas(_7=Schema(serialized(main), ((own.name, serialized(own)),))),
    )["t"]
    with pytest.raises(EventError) as caught:
        read_record(reader, stored(raw))
    assert caught.value.reason is Reason.INVALID


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


@settings(max_examples=examples(80))
@given(cases())
def test_class_of_the_schema_judges_messages_as_their_fields_do(case):
    mapping, file, raws = case
    read_both(mapping, protobuf(file), raws)


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


HALVES = field(4, 2, packed(0.5, 1.5))
USUAL = event(
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
# How messages are read, their file and bytes, and of which the fields are certain.
MESSAGES = [
    (MAPPING, protobuf_file(), [USUAL], [True]),
    (NUMBERS, protobuf_file(), [USUAL], [True]),
    # Pieces of a vector in a message that is there twice are joined.
    (
        MAPPING | {"embedding": "inner.numbers"},
        vector_file(inner=True),
        [event() + b"".join(field(10, 2, field(4, 2, packed(number))) for number in (0.5, 1.5))],
        [True],
    ),
    (
        NUMBERS,
        vector_file("double"),
        [
            event() + field(4, 2, packed(*each, code="d"))
            for each in ([0.5, 0.1], [1.5, 1e39], [1, 3.4028235677973362e38])
        ],
        [True] * 3,
    ),
    *(
        (
            NUMBERS,
            vector_file(is_packed=is_packed, syntax="proto2"),
            [event() + HALVES, event() + field(4, 5, packed(0.5)) + field(4, 5, packed(1.5))],
            [True, not is_packed],
        )
        for is_packed in (False, True)
    ),
    # A vector that is read in two ways is a list.
    *(
        (
            NUMBERS | read,
            vector_file(inner=True) if "segments" in read else protobuf_file(),
            [event() + HALVES],
            [True],
        )
        for read in (
            {"event_id": "numbers[0]"},
            {"event_id": "numbers"},
            {"segments": {"part": "inner.numbers[0]"}},
            {"where": [{"path": "numbers", "in": ["de"]}]},
        )
    ),
    (
        {
            "encoding": "protobuf",
            "timestamp": "at",
            "vectors": [{"stream": "stream", "embedding": path} for path in ("numbers", "inner.numbers")],
        },
        vector_file(inner=True),
        [event() + HALVES + field(10, 2, field(4, 2, packed(2.5, 3.5)))],
        [True],
    ),
]


@pytest.mark.parametrize(("mapping", "file", "raws", "certain"), MESSAGES, ids=lambda each: str(each)[:60])
def test_fields_of_usual_messages_are_certain(mapping, file, raws, certain):
    assert read_both(mapping, protobuf(file), [value(raw) for raw in raws]) == certain


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
        read_record(reader, record)
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
