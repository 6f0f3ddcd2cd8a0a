"""Protobuf behind a schema registry: its fields and the schema's class accept and refuse the same."""

import struct

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.events.encodings import protobuf as protobuf_module
from driftgauge.events.encodings.protobuf import Protobuf
from driftgauge.events.needs import Need
from driftgauge.events.rejection import Reason, SchemaPending
from driftgauge.events.schemas import PAYLOAD, Schema
from driftgauge.events.sources import compile_path
from tests.events.both_ways import VECTOR, read_alike, read_both, sequences
from tests.events.schema_records import (
    CLASSES,
    ID,
    NOON_MS,
    SCALARS,
    Embedded,
    Schemas,
    add_fields,
    add_map,
    file_of,
    framed,
    protobuf,
    protobuf_deserializer,
    protobuf_file,
    serialized,
    stored,
    undecodable,
    varint,
)
from tests.examples import examples

FULL = {
    "inner": {"stream": "clicks"},
    "inners": [{"stream": "clicks"}, {"stream": "views"}],
    "segments": {"country": "de"},
    "codes": {7: 1},
    "numbers": [0.5],
}


@pytest.mark.parametrize(
    ("fields", "path", "found"),
    [
        *(({}, name, None) for name in Embedded.DESCRIPTOR.fields_by_name if name != "inners"),
        ({}, "inners", []),
        *(({}, name, None) for name in ("nothing", "SerializeToString", "DESCRIPTOR")),
        ({"stream": "clicks"}, "stream", "clicks"),
        ({"vector": b"ab"}, "vector", b"ab"),
        ({"count": -3}, "count", -3),
        ({"note": ""}, "note", ""),
        ({"numbers": [0.5, 3]}, "numbers", [0.5, 3.0]),
        ({"flags": [True, False]}, "flags", [True, False]),
        ({"kind": 1}, "kind", "IMAGE"),
        ({"kind": 99}, "kind", 99),
        ({"kinds": [1, 2, 99]}, "kinds", ["IMAGE", "TEXT", 99]),
        ({"segments": {"country": "de"}}, "segments", {"country": "de"}),
        ({"codes": {7: 2, -1: 0}}, "codes", {"7": "TEXT", "-1": "UNKNOWN"}),
        (FULL, "inner.stream", "clicks"),
        (FULL, "inners[1].stream", "views"),
        (FULL, "inners[stream=views].stream", "views"),
        (FULL, "inners[2].stream", None),
        (FULL, "segments.country", "de"),
        (FULL, 'codes["7"]', "IMAGE"),
        (FULL, "numbers[0]", 0.5),
        (FULL, "stream.stream", None),
        (FULL, "inner.inner", None),
    ],
)
def test_paths_lead_through_messages(fields, path, found):
    message = Embedded(**fields)
    taken = compile_path(path)(message)
    assert taken == found
    assert type(taken) is type(found)
    assert compile_path(f"outer.{path}")({"outer": message}) == found


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


def test_schema_is_asked_for_once():
    schemas = Schemas(_7=None)
    deserialize = Protobuf(schemas, Need()).decode
    with pytest.raises(SchemaPending):
        deserialize(record(Embedded()))
    schemas.schemas[ID] = Schema(serialized(protobuf_file()))
    for _ in range(3):
        assert compile_path("stream")(deserialize(record(Embedded(stream="clicks")))) == "clicks"
    assert schemas.asked == [(ID, "PROTOBUF")] * 2


POINT = file_of("default", "Point", ("x", "int32"))


def importing(name):
    return file_of("main.proto", "Main", ("point", ".shop.Point"), dependency=[name])


def test_imported_files_are_used_under_the_name_of_their_reference():
    files = ["gone.proto", "shop/point.proto"]
    points = FileDescriptorProto(name="x", syntax="proto3", dependency=files, public_dependency=[0, 1])
    references = (("shop/point.proto", serialized(POINT)), ("shop/points.proto", serialized(points)))
    schema = Schema(serialized(importing("shop/points.proto")), references)
    decoded = Protobuf(Schemas(_7=schema), Need()).decode(stored(framed(b"\0\n\2\10\5")))
    assert compile_path("point.x")(decoded) == 5


@pytest.mark.parametrize(
    ("text", "indexes", "detail"),
    [
        (serialized(protobuf_file()), b"\2\4", "no message [2]"),
        (serialized(protobuf_file()), b"\4\2\0", "no message [1, 0]"),
        (serialized(protobuf_file()), b"", "ends within its message indexes"),
        (
            'syntax = "proto3"; message E {}',
            b"\0",
            "no serialized descriptor, but perhaps the source",
        ),
        ("eA==", b"\0", "no serialized descriptor"),
        (serialized(importing("point.proto")), b"\0", "no Protobuf schema"),
    ],
    ids=lambda each: str(each)[:60],
)
def test_unusable_schema_or_index_is_reported_with_each_record(text, indexes, detail):
    decode = Protobuf(Schemas(_7=Schema(text)), Need()).decode
    for _ in range(2):
        assert detail in undecodable(decode, framed(indexes))


MAPPING = {"encoding": "protobuf", "stream": "stream", "embedding": "vector", "timestamp": "at"}
NOON_S = NOON_MS // 1_000


def value(payload):
    return framed(b"\0" + payload)


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


def scalar(kind):
    return SCALARS.Value(f"TYPE_{kind.upper()}")


def vector_file(kind="float", *, inner=False, is_alone=True, is_packed=True, syntax="proto3"):
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
        add_fields(message.nested_type[0], ("numbers", f"repeated {kind}"), first=4)
        found = message.nested_type[0].field[1]
        # A vector is read as bytes only where no other field has its type.
        if is_alone:
            del message.field[10]
    found.type = scalar(kind)
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
            each.type = scalar(draw(st.sampled_from(SCALAR_TYPES)))
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
    file.message_type[0].field[7].type = scalar(kind)
    mapping = MAPPING | {"timestamp": {"path": "count", "unit": unit}}
    written = [number << 1 if kind == "sint64" else number for number in (count, count + 1, 0)]
    raws = [value(event() + field(8, 0, number)) for number in written]
    assert all(read_both(mapping, protobuf(file), raws))


def packed(*numbers, code="f"):
    return struct.pack(f"<{len(numbers)}{code}", *numbers)


NUMBERS = MAPPING | {"embedding": "numbers"}
INNER_NUMBERS = MAPPING | {"embedding": "inner.numbers"}
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


@pytest.mark.parametrize(("fields", "is_certain"), VECTORS.values(), ids=VECTORS)
def test_packed_vector_is_certain_where_all_of_it_is_there(fields, is_certain):
    assert read_both(NUMBERS, protobuf(), [value(event() + b"".join(fields))]) == [is_certain]
    inner = value(event() + field(10, 2, b"".join(fields)))
    mapping = INNER_NUMBERS | {"event_id": "inner.stream"}
    assert read_both(mapping, protobuf(vector_file(inner=True)), [inner]) == [is_certain]


def test_classes_that_read_vectors_are_bounded(monkeypatch):
    monkeypatch.setattr(protobuf_module, "_MOST_READERS", 0)
    assert read_both(NUMBERS, protobuf(), [value(event() + HALVES)]) == [True]


def test_cut_vector_in_another_field_of_the_same_type_is_undecodable():
    cut = field(11, 2, field(4, 2, packed(0.5)[:3]))
    raws = [value(event() + field(10, 2, HALVES) + more) for more in (b"", cut)]
    _, (reason, *_) = read_alike(INNER_NUMBERS, protobuf(vector_file(inner=True, is_alone=False)), raws)
    assert reason is Reason.UNDECODABLE


def two_messages():
    """Return a file whose third message has the first one's fields, two of them with other numbers."""
    file = protobuf_file()
    second = file.message_type.add()
    second.CopyFrom(file.message_type[0])
    second.name = "Second"
    del second.nested_type[:]
    second.field[0].number, second.field[8].number = 9, 1
    return file


def proto2_file():
    """Return a file of proto2 with a default, repeated names and a map of segments."""
    fields = [("stream", "string"), ("vector", "bytes"), ("count", "int64"), ("names", "repeated string")]
    file = file_of("two.proto", "Two", *fields, syntax="proto2")
    file.message_type[0].field[2].default_value = str(NOON_MS)
    add_map(file.message_type[0], "segments", "string", "string", ".shop.Two")
    return file


def extensible_file():
    file = proto2_file()
    file.message_type[0].extension_range.add(start=100, end=200)
    return file


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
START = field(1, 2, b"clicks") + field(2, 2, VECTOR)
BY_RECORD = MAPPING | {"timestamp": {"record": "timestamp"}}
IN_MAP = MAPPING | {"event_id": "segments.id", "segments": {"country": "segments.country"}}
ENTRIES = [
    {"country": "de", "id": "a"},
    {"country": "fr", "id": "b"},
    {"country": "fr"},
    {"other": "fr"},
]
TWO_VECTORS = {
    "encoding": "protobuf",
    "timestamp": "at",
    "vectors": [{"stream": "stream", "embedding": path} for path in ("numbers", "inner.numbers")],
}
# How messages are read, their file and bytes, and whether the fields of each are certain.
MESSAGES = [
    (MAPPING, protobuf_file(), [USUAL], [True]),
    (NUMBERS, protobuf_file(), [USUAL], [True]),
    # Pieces of a vector in a message that is there twice are joined.
    (
        INNER_NUMBERS,
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
    (NUMBERS | {"event_id": "numbers[0]"}, protobuf_file(), [event() + HALVES], [True]),
    (NUMBERS | {"event_id": "numbers"}, protobuf_file(), [event() + HALVES], [True]),
    (NUMBERS | {"where": [{"path": "numbers", "in": ["de"]}]}, protobuf_file(), [event() + HALVES], [True]),
    (
        NUMBERS | {"segments": {"part": "inner.numbers[0]"}},
        vector_file(inner=True),
        [event() + HALVES],
        [True],
    ),
    (
        TWO_VECTORS,
        vector_file(inner=True),
        [event() + HALVES + field(10, 2, field(4, 2, packed(2.5, 3.5)))],
        [True],
    ),
    (IN_MAP, protobuf_file(), [event(segments=each) for each in ENTRIES], [True] * 4),
    # The default of proto2.
    (
        MAPPING | {"timestamp": "count"},
        proto2_file(),
        [START + each for each in (field(3, 0, 5), field(3, 0, 0), b"", field(3, 0, 7))],
        [True] * 4,
    ),
    (BY_RECORD, extensible_file(), [START], [True]),
]


@pytest.mark.parametrize(("mapping", "file", "raws", "certain"), MESSAGES, ids=lambda each: str(each)[:60])
def test_fields_of_usual_messages_are_certain(mapping, file, raws, certain):
    assert read_both(mapping, protobuf(file), [value(raw) for raw in raws]) == certain


def test_fields_are_of_one_message():
    raws = [framed(indexes + event(note="clicks")) for indexes in (b"\0", b"\2\4", b"\2\0", b"\2\4")]
    assert read_both(MAPPING, protobuf(two_messages()), raws) == [True] * 4


ODD = MAPPING | {"event_id": "note", "segments": {"part": "segments.de"}}
ENTRY = field(1, 2, b"country") + field(2, 2, b"de")
SECONDS = b"\x08\5"
# Fields behind an event that upb takes for something else than their bytes say at first sight.
ODD_FIELDS = {
    "text that is not UTF-8": (ODD, field(9, 2, b"\xff\xfe")),
    "text within a message that is not UTF-8": (ODD, field(10, 2, b"\n\2\xff\xfe")),
    "key that is not UTF-8": (ODD, field(5, 2, b"\n\2\xff\xfe")),
    "number of over 64 bits": (ODD, varint(8 << 3) + b"\xff" * 10),
    "number of ten bytes": (ODD, field(8, 0, 2**63)),
    "number that leaves its message": (ODD, varint(6 << 3 | 2) + b"\2" + b"\x08\x85\0"),
    "group": (ODD, varint(14 << 3 | 3) + varint(14 << 3 | 4)),
    "known field of another wire type": (ODD, field(9, 0, 5)),
    "packed numbers": (ODD, field(12, 2, b"\1\2")),
    "field that is read twice": (ODD, field(1, 2, b"clicks")),
    "message that is there twice": (ODD, field(2, 2, SECONDS)),
    "many items": (ODD, field(11, 2, b"") * 100_000),
    "two equal entries": (IN_MAP, field(5, 2, ENTRY) * 2),
    "entry without value": (IN_MAP, field(5, 2, field(1, 2, b"country"))),
    "entry without key": (IN_MAP, field(5, 2, field(2, 2, b"de"))),
    "value before key": (IN_MAP, field(5, 2, field(2, 2, b"de") + field(1, 2, b"country"))),
    "two values": (IN_MAP, field(5, 2, ENTRY + field(2, 2, b"fr"))),
    "unknown field behind an entry": (IN_MAP, field(5, 2, ENTRY + field(3, 2, b"fr"))),
    "unknown field in an entry": (
        IN_MAP,
        field(5, 2, field(1, 2, b"country") + field(3, 2, b"fr") + field(2, 2, b"de")),
    ),
    "empty value": (IN_MAP, field(5, 2, field(1, 2, b"country") + field(2, 2, b""))),
    "value of another wire type": (IN_MAP, field(5, 2, field(1, 2, b"country") + field(2, 0, 5))),
}


STAMPS = {
    "nanoseconds of a second or more": [SECONDS + b"\x10" + each for each in (varint(5, 4), varint(10**9))],
    "nanoseconds of over 32 bits": [SECONDS + b"\x10" + varint(2**32 + 10**6)],
    "nanoseconds first": [b"\x10\5" + SECONDS] * 2,
    "seconds twice": [SECONDS + b"\x08\7"] * 2,
    "negative seconds": [b"\x08" + varint(-1)] * 2,
    "unknown field": [SECONDS + field(3, 2, b"\x80" * 1_000_000)] * 2,
    "nothing": [b"", b""],
}


WITHOUT_TIME = field(1, 2, b"clicks") + field(3, 2, VECTOR)
ODD_MESSAGES = {
    **{name: (mapping, [event() + content]) for name, (mapping, content) in ODD_FIELDS.items()},
    **{
        f"{name}, {unit}": (
            MAPPING | {"timestamp": {"path": "at", "unit": unit}},
            [WITHOUT_TIME + field(2, 2, stamp) for stamp in stamps],
        )
        for name, stamps in STAMPS.items()
        for unit in ("ms", "s")
    },
}


@pytest.mark.parametrize(("mapping", "messages"), ODD_MESSAGES.values(), ids=ODD_MESSAGES)
def test_odd_message_is_judged_alike(mapping, messages):
    read_both(mapping, protobuf(), [*map(value, messages)])


STAMP = file_of(
    "google/protobuf/timestamp.proto", "Timestamp", ("seconds", "int64"), package="google.protobuf"
)
STAMPED = file_of(
    "main.proto",
    "Main",
    ("at", ".google.protobuf.Timestamp"),
    ("vector", "bytes"),
    dependency=[STAMP.name],
)


@pytest.mark.parametrize("unit", ["ms", "s"])
def test_timestamp_of_a_schema_without_nanos_is_no_time(unit):
    """A registry may have a file of its own for that type, and its record must not end the process."""
    raws = [value(field(1, 2, SECONDS) + field(2, 2, VECTOR))]
    mapping = MAPPING | {"stream": {"constant": "clicks"}, "timestamp": {"path": "at", "unit": unit}}
    assert read_both(mapping, protobuf(STAMP, STAMPED), raws) == [True]
    ((reason, *_),) = read_alike(mapping, protobuf(STAMP, STAMPED), raws)
    assert reason is Reason.INVALID


@pytest.mark.parametrize("raw", [b"\xff\xfe", VECTOR[:3] + b"\xff" + VECTOR[4:]])
@pytest.mark.parametrize("path", ["stream", "names[0]", "segments.id"])
def test_text_of_proto2_that_is_not_utf8_is_no_bytes(path, raw):
    """Protobuf gives its bytes, which could pass for two floats."""
    fields = field(1, 2, raw) + field(4, 2, raw) + field(5, 2, field(1, 2, b"id") + field(2, 2, raw))
    mapping = BY_RECORD | {"stream": {"constant": "clicks"}, "embedding": path}
    ((reason, _, detail),) = read_alike(mapping, protobuf(proto2_file()), [value(fields)])
    assert reason is Reason.INVALID
    assert "not UTF-8" in detail


def test_key_of_proto2_that_is_not_utf8_is_invalid():
    """Only proto3 refuses the message; this record must not end the process."""
    # Of two keys of an entry the last one counts.
    keys = [field(1, 2, b"\xff"), field(1, 2, b"\xed"), field(1, 2, b"\xed") + field(1, 2, b"id")]
    raws = [value(START + field(5, 2, key + field(2, 2, b"e"))) for key in keys]
    mapping = BY_RECORD | {"event_id": "segments.id"}
    *wrong, sound = read_alike(mapping, protobuf(proto2_file()), raws)
    assert [fault[0] for fault in wrong] == [Reason.INVALID] * 2
    assert sound[0].event_id == "e"
