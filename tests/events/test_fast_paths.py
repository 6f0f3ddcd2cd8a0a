"""Fast is exact: in a batch, each record has the outcome that the exact judge gives it."""

import base64
import gc
import json
import weakref
from unittest.mock import patch

import jsonschema
import numpy as np
import orjson
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.events.columns import Columns
from driftgauge.events.encodings import json as json_module
from driftgauge.events.encodings.json import compile_parser
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import EventError, Reason
from tests.builders.events import SCHEMAS
from tests.events.both_ways import assert_alike
from tests.examples import examples

# Base64 of three numbers needs no padding, of four it does.
DIMENSIONS = (3, 4)


def one_of(words):
    return st.sampled_from(words.split())


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.integers(2**24, 2**26).map(lambda odd: str(2 * odd + 1)),
    one_of("""0 -0 0.0 -0.0 1 1.0 1e0 1E+2 1e-2 1e-50 -1e-400 1.401298464324817e-45 7.006492321624085e-46
        3.4028234663852886e38 3.4028235677973362e38 3.4028235677973366e38 1e39 1e308 16777217
        18446744073709551615 18446744073709551616 -9223372036854775809 1.00000005960464477539062
        0.1000000000000000055511151231257827"""),
)
ODDITIES = one_of("""true false null "1.0" "NaN" "" "true" [] [1] {}""")
BROKEN = one_of("NaN Infinity -Infinity 01 .5 1. +1 0x1 1e400 1e NULL nan '1'")
TEXTS = st.text(max_size=4).map(json.dumps)
VALUES = st.recursive(
    NUMBERS | ODDITIES | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(TEXTS, inner), max_size=3).map(
            lambda items: "{" + ",".join(f"{key}:{value}" for key, value in items) + "}"
        )
    ),
    max_leaves=6,
)
SPACE = st.sampled_from(["", "", "", " ", "\n", "\t\r\n"])


def arrays(size, items=NUMBERS):
    return st.lists(items, min_size=size, max_size=size).map(lambda numbers: f"[{','.join(numbers)}]")


def in_base64(size):
    return st.binary(min_size=size, max_size=size).map(
        lambda data: json.dumps(base64.b64encode(data).decode())
    )


def overwrite(text, offset, piece):
    offset %= len(text)
    return text[:offset] + piece + text[offset + len(piece) :]


TIMES = st.integers(0, 2**42).map(str) | one_of(
    """0 1 1762128000000 253402300799999
    "2025-11-03T00:00:00Z" "2025-11-03t00:00:00.9999z" "2016-12-31T23:59:60Z" """
)
SHORT = st.text(max_size=3)
EXTRAS = st.one_of(
    st.tuples(st.just("model_version"), one_of('"2025-10" "2025-09" null')),
    st.tuples(st.just("event_id"), st.just("null") | st.integers(0, 256).map(lambda n: json.dumps("e" * n))),
    st.tuples(st.just("segments"), st.dictionaries(SHORT, SHORT, max_size=16).map(json.dumps)),
    st.tuples(one_of("embedding embedding_b64"), st.just("null")),
    st.tuples(one_of("label tags Stream urls"), VALUES),
)
FAULTS = {
    "stream": one_of('"images" "texts" "small" "moved" "nobody" "images\\n" "" null ["images"]'),
    "timestamp": one_of(
        """-1 1.0 1e12 true null "1" 253402300800000 1762128000000000000 "2025-11-03" "2025-02-30T00:00:00Z"
        "2025-11-03T00:00:00+23:59" "2025-11-03T00:00:00" "1970-01-01T00:00:00+00:01" """
    ),
    "embedding": st.integers(1, 5).flatmap(lambda size: arrays(size, NUMBERS | ODDITIES)),
    "embedding_b64": st.one_of(
        st.integers(0, 20).flatmap(in_base64),
        in_base64(12).map(lambda text: text.replace('"', '="')),
        in_base64(16).map(lambda text: text.replace("=", "")),
        st.builds(overwrite, in_base64(16), st.integers(0), one_of("= == - _ \\n A é \\u0000")),
    ),
    "model_version": one_of('"2025-09" "" 1 true {}') | SHORT.map(json.dumps),
    "event_id": st.integers(256, 258).map(lambda n: json.dumps("e" * n)),
    "segments": st.dictionaries(SHORT, SHORT, min_size=15, max_size=18).map(json.dumps),
}


@st.composite
def near_events(draw):
    """Draw the text of an event with up to two faults."""
    dimension = draw(st.sampled_from(DIMENSIONS))
    stream = draw(st.sampled_from(["images", "texts", "a" * 128, "a" * 129, "a b", "é", ""]))
    members = [("stream", json.dumps(stream)), ("timestamp", draw(TIMES))]
    if draw(st.booleans()):
        members.append(("embedding", draw(arrays(dimension))))
    else:
        members.append(("embedding_b64", draw(in_base64(4 * dimension))))
    extras = draw(st.lists(EXTRAS, max_size=2))
    members = draw(st.sampled_from([members + extras, extras + members]))
    for _ in range(draw(st.integers(0, 2))):
        damage(members, draw)
    body = ",".join(f"{draw(SPACE)}{name}:{draw(SPACE)}{value}" for name, value in map(with_key, members))
    return f"{{{body}}}{draw(SPACE)}".encode()


def damage(members, draw):
    name = draw(st.sampled_from(sorted(FAULTS)))
    indices = [index for index, member in enumerate(members) if member[0] == name]
    kind = draw(one_of("fault value broken drop append escape"))
    if kind == "append" or not indices:
        members.append((name, draw(FAULTS[name] | VALUES)))
    elif kind == "drop":
        del members[indices[0]]
    elif kind == "escape":
        members[indices[0]] = (f"\\u{ord(name[0]):04x}{name[1:]}", members[indices[0]][1])
    else:
        members[indices[0]] = (name, draw({"fault": FAULTS[name], "value": VALUES, "broken": BROKEN}[kind]))


def with_key(member):
    return f'"{member[0]}"', member[1]


MAPPING = {"stream": {"constant": "s"}, "timestamp": {"record": "timestamp"}}


def judged(*raws, mapping=None):
    """Return what becomes of texts of the own contract or a mapping, in a batch as one by one."""
    settings = mapping and InputSettings.model_validate(mapping)
    reader = build_own_reader() if mapping is None else build_readers({"t": settings})["t"]
    return assert_alike(reader, *(StoredRecord(raw, stored_ms=1) for raw in raws))


EVENT = jsonschema.Draft202012Validator(json.loads((SCHEMAS / "event.v1.schema.json").read_text("utf-8")))


@settings(max_examples=examples(80))
@given(st.lists(near_events(), min_size=1, max_size=4))
def test_batch_of_events_is_read_as_the_schema_of_the_contract_says(raws):
    for raw, outcome in zip(raws, judged(*raws), strict=True):
        if outcome[0] is Reason.UNDECODABLE:
            continue
        is_read, is_valid = type(outcome) is list, EVENT.is_valid(orjson.loads(raw))
        # The schema does not know which dates exist, and for it 1.0 is a whole number.
        assert is_read == is_valid or (is_valid and outcome[-1].startswith("timestamp: "))


@given(st.lists(NUMBERS.filter(lambda number: number != "1e400"), min_size=4, max_size=4))
def test_number_is_parsed_as_double_and_rounded_to_float32(numbers):
    ((event,),) = judged(f'{{"stream":"images","timestamp":1,"embedding":[{",".join(numbers)}]}}'.encode())
    # Only a number with a fraction or an exponent has a negative zero.
    doubles = [float(number if set(number) & set(".eE") else int(number)) for number in numbers]
    with np.errstate(over="ignore"):
        assert event.vector == np.array(doubles).astype("<f4").tobytes()


def parser(path):
    """Return the parser for a vector at a path, and a function that says whether it cuts a text's arrays."""
    parse = compile_parser(InputSettings.model_validate(MAPPING | {"embedding": path}))

    def cuts(raw):
        with patch.object(json_module, "read_json", side_effect=EventError(Reason.INVALID, "left")):
            try:
                parse(raw)
            except EventError:
                return False
        return True

    return parse, cuts


USUAL = b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"note":"a"}'
OPTIONAL = [
    {},
    {"event_id": None, "segments": None, "snippet": None},
    {"event_id": "", "segments": {}, "snippet": ""},
    {"event_id": "é" * 256, "snippet": "é" * 999},
    {"segments": {"country": "de", "": "", "é": "\n"}, "model_version": "2025-10"},
    {"event_id": "e", "segments": {str(n): "v" * 256 for n in range(16)}, "snippet": "a text"},
]


@pytest.mark.parametrize("fields", OPTIONAL, ids=str)
@given(numbers=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_array_of_usual_event_is_cut(fields, numbers):
    raw = json.dumps({"stream": "images", "timestamp": 1, "embedding": numbers, **fields}).encode()
    parse, cuts = parser("embedding")
    assert cuts(raw)
    assert parse(raw)["embedding"].tolist() == numbers
    ((event,),) = judged(raw)
    assert event.vector == np.array(numbers, "<f4").tobytes()
    assert event[4:] == tuple(
        fields.get(name) for name in ("event_id", "model_version", "segments", "snippet")
    )


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"images","timestamp":1,"embedding":[[1,2],[3,4]]}',
        b'{"stream":"images","timestamp":1,"embedding":[[[1] ],[2]]}',
        b'{"stream":"images","timestamp":1,"embedding":[[1],[[2] ]]}',
        b'{"stream":"images","timestamp":1,"embedding":[[1] , [2]]}',
        b'{"stream":"images","timestamp":1,"embedding":[[1,2],[ ]]}',
        b'{"stream":"images","timestamp":1,"embedding":[1 ]}',
        b'{"stream":"images","timestamp":1,"embedding":[[1,2],[]]}',
        b'{"stream":"images","timestamp":1,"embedding":[[],1]}',
        b'{"stream":"images","timestamp":1,"embedding":[[[1]]]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,[2]]}',
        b'{"stream":"images","timestamp":1,"embedding":[]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"embedding":[1,2,3]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"embedding":"AAAA"}',
        b'{"stream":"images","timestamp":1,"embedding":["a"],"embedding":[1,2,3,5]}',
        b'{"stream":"images","timestamp":1,"timestamp":2,"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"snippet":"4]"}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"snippet":"]"}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4]4],"snippet":"a"}',
        b'\xef\xbb\xbf{"stream":"images","timestamp":1,"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"note":"\\ud800"}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,1e400]}',
        b'{"stream":"images","timestamp":1,"embedding":[18446744073709551616]}',
        b'{"stream":"images","timestamp":1,"segments":{"embedding":[1]},"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"event_id":{"embedding":[1]},"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"a":{"embedding":[1,2,3,4]}}',
        b'{"stream":"images","timestamp":1,"a\\"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"a":"\\"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"a"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4]',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4',
        b'{"stream":"images","timestamp":1,"embedding"',
        b'[{"stream":"images","timestamp":1,"embedding":[1,2,3,4]}]',
        b"[5]",
        b"null",
        *(
            b'{"stream":"images","timestamp":1,"embedding_b64":"%b"}' % base64.b64encode(bytes(4 * dimension))
            for dimension in (1, 2, 3, 4, 5, 6, 127, 128, 512)
        ),
    ],
    ids=lambda raw: raw[:99],
)
def test_odd_text_is_judged_as_by_the_contract(raw):
    judged(raw, USUAL)
    judged(raw, USUAL, mapping=MAPPING | {"embedding": "embedding"})


# Where an array stands, and its numbers.
ARRAYS = [
    ("v", {"v": [1.5, 2]}, [[1.5, 2]]),
    ("v", {"v": [1.5, 2], "note": "a ]"}, [[1.5, 2]]),
    ("v", {"v": [1.5, 2], "note": "[a]", "tags": ["a", 2]}, [[1.5, 2]]),
    ("v", {"note": "2]", "v": [1.5, 2]}, [[1.5, 2]]),
    ("w[0]", {"w": [[1.5, 2]]}, [[1.5, 2]]),
    ('a["v"]', {"a": {"v": [1.5, 2]}}, [[1.5, 2]]),
    ("after.v", {"before": {"v": [0]}, "after": {"v": [1.5]}}, [[1.5]]),
    ("data[1].v", {"data": [{"v": [0]}, {"v": [1.5]}]}, [[1.5]]),
    ("data[k=x].v", {"data": [{"v": [0]}, {"k": "x", "v": [1.5]}]}, [[1.5]]),
    ("data[*].v", {"data": [{"v": [0]}, {"v": [1.5]}]}, [[0], [1.5]]),
    ("data[*].a.v", {"data": [{"a": {"v": [0]}}, {"a": {"v": [1.5]}}]}, [[0], [1.5]]),
    ("[*].v", [{"v": [0]}, {"v": [1.5]}], [[0], [1.5]]),
]
ARRAYS_OF_ARRAYS = [
    ("v", {"v": [[1.5, 2], [3, 4]]}, [[1.5, 2], [3, 4]]),
    ("data[*]", {"data": [[0], [1.5]]}, [[0], [1.5]]),
]


@pytest.mark.parametrize(
    ("path", "text", "found", "is_cut"),
    [
        *((path, json.dumps(value), found, True) for path, value, found in ARRAYS + ARRAYS_OF_ARRAYS),
        *((path, json.dumps(value, indent=1), found, True) for path, value, found in ARRAYS),
        # The end of an array in an array is looked for where it is written without spaces.
        *((path, json.dumps(value, indent=1), found, False) for path, value, found in ARRAYS_OF_ARRAYS),
        # The spaces of usual serializers.
        *(
            ("v", f'{{"v"{colon}{numbers}{more}}}', [[1.5, 2]], True)
            for colon in (":", ": ", " : ")
            for numbers in ("[1.5,2]", "[ 1.5, 2 ]")
            for more in ("", ',"tags":["a"]')
        ),
    ],
)
def test_arrays_are_cut_wherever_they_stand(path, text, found, is_cut):
    raw = text.encode()
    (events,) = judged(raw, mapping=MAPPING | {"embedding": path})
    assert [np.frombuffer(event.vector, "<f4").tolist() for event in events] == found
    assert parser(path)[1](raw) is is_cut


LISTS = st.lists(st.integers(-9, 9) | st.floats(-9, 9), max_size=3)
NOISE = st.recursive(
    st.none() | st.text(alphabet='ab"[]:\\é', max_size=4) | LISTS | st.lists(LISTS, max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", 'a"b']), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def objects(draw, needed, noise):
    """Draw an object with a needed member and other ones, in any order."""
    members = {**draw(st.dictionaries(st.sampled_from(["x", "b", 'x"b', "ab"]), noise, max_size=3)), **needed}
    return {name: members[name] for name in draw(st.permutations(sorted(members)))}


def restore(value):
    """Return a value with lists for views."""
    if isinstance(value, memoryview):
        return value.tolist()
    return [*map(restore, value)] if isinstance(value, list) else value


@settings(max_examples=examples(80))
@given(st.data(), LISTS | st.lists(LISTS, max_size=2), st.booleans())
def test_value_of_any_text_is_the_same_as_far_as_it_is_read(data, numbers, ascii_only):
    """The names of the path stand in strings, in nested objects, and in longer names."""
    value = data.draw(objects({"a": data.draw(objects({"b": numbers}, NOISE))}, NOISE))
    parse, cuts = parser("a.b")
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    found = parse(raw)
    event("cut" if cuts(raw) else "left")
    assert restore(found["a"]["b"]) == numbers
    assert found.keys() == value.keys()


@pytest.mark.parametrize("levels", [10, 1_020, 1_021, 1_022, 1_023, 1_024])
@pytest.mark.parametrize(("opening", "closing"), [('{"x":', "}"), ("[", "]"), ('[{"x":', "}]")])
@pytest.mark.parametrize("value", ["1", "{}", "[]", '{"v":[1]}', '{"v":[[1]]}'])
def test_nested_value_is_accepted_as_deep_as_by_a_full_parse(levels, opening, closing, value):
    raw = f'{{"v":[1],"x":{opening * levels}{value}{closing * levels}}}'.encode()
    (outcome,) = judged(raw, mapping=MAPPING | {"embedding": "v"})
    if levels in {10, 1_024}:
        assert (type(outcome) is list) is (levels == 10)


ODD_AMONG_MANY = [USUAL.replace(b"[1,", b"[true," if row in {7, 700} else b"[1.5,") for row in range(1_000)]


@pytest.mark.parametrize(
    ("raws", "odd", "most", "in_all"),
    [
        pytest.param(ODD_AMONG_MANY, [7, 700], 1_000, 2_500, id="odd records leave the others to columns"),
        pytest.param([b" " * 600_000 + USUAL] * 10, [], 4, 10, id="values that are held are bounded"),
    ],
)
def test_values_of_a_batch_are_read_together_and_seldom_again(raws, odd, most, in_all):
    """Else one bad record would make a thousand others cost ten times as much."""
    reader = build_own_reader()
    with patch.object(reader, "read_values", wraps=reader.read_values) as read:
        reader.read([*map(StoredRecord, raws)], 0, columns := Columns())
    assert (len(columns), [row for row, _ in columns.refused]) == (len(raws) - len(odd), odd)
    sizes = [len(call.args[0]) for call in read.call_args_list]
    assert max(sizes) <= most
    assert sum(sizes) <= in_all


def test_refused_record_holds_no_values_of_its_batch():
    """Else they stay until the garbage collector looks for cycles, which takes longer than reading them."""
    gc.collect()
    gc.disable()
    try:
        columns = Columns()
        build_own_reader().read([StoredRecord(b"{"), StoredRecord(USUAL), StoredRecord(b"5")], 0, columns)
        died = weakref.ref(columns.vector[0])
        assert len(columns.refused) == 2
        del columns
        assert died() is None
    finally:
        gc.enable()
