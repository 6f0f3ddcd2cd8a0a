"""Fast is exact: what a fast path accepts, the exact path accepts with the same bits."""

import base64
import json
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.events.array_parser import ArrayParser
from driftgauge.events.contract import read_json
from driftgauge.events.deserializers import deserialize_bytes
from driftgauge.events.mapped import MappedReader
from driftgauge.events.mapped_fast import compile_bytes, compile_own
from driftgauge.events.records import NO_TIMESTAMP, StoredRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.rows import RECORD_ID, default_id, read_exact
from driftgauge.events.timestamps import LAST_MS
from driftgauge.events.vectors import F32
from tests.events.mapped import read_record
from tests.examples import examples

# Base64 of three numbers needs no padding, of four it does.
DIMENSIONS = (3, 4)


def read_fast(document, raw):
    return compile_own()(StoredRecord(raw), document)


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


def both_ways(raw):
    """Return the outcome of each path: a row, None (fast path only), or the error."""
    try:
        document = read_json(raw)
        fast = read_fast(document, raw)
    except EventError as error:
        return None, error
    try:
        return fast, read_exact(document)
    except EventError as error:
        return fast, error


@settings(max_examples=examples(1_500))
@given(near_events())
def test_exact_path_accepts_events_of_fast_path_with_equal_bits(raw):
    fast, exact = both_ways(raw)
    assert fast is None or fast == exact


@settings(max_examples=examples(500))
@given(st.lists(NUMBERS | st.sampled_from(["true", "false"]), min_size=4, max_size=4), VALUES)
def test_bool_among_numbers_is_refused(numbers, extra):
    text = f'{{"a":{extra},"stream":"images","timestamp":1,"embedding":[{",".join(numbers)}],"b":{extra}}}'
    fast, exact = both_ways(text.encode())
    assert fast is None or fast == exact
    if {"true", "false"} & set(numbers):
        assert fast is None


@given(st.lists(NUMBERS.filter(lambda number: number != "1e400"), min_size=4, max_size=4))
def test_number_is_parsed_as_double_and_rounded_to_float32(numbers):
    raw = f'{{"stream":"images","timestamp":1,"embedding":[{",".join(numbers)}]}}'.encode()
    _, exact = both_ways(raw)
    # Only a number with a fraction or an exponent has a negative zero.
    doubles = [float(number if set(number) & set(".eE") else int(number)) for number in numbers]
    with np.errstate(over="ignore"):
        assert exact == ("images", 1, np.array(doubles).astype("<f4").tobytes(), F32, None, None, None, None)


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 5, 6, 127, 128, 512])
def test_fast_path_accepts_base64_of_any_length(dimension):
    vector = np.arange(dimension, dtype="<f4").tobytes()
    raw = json.dumps(
        {"stream": "s", "timestamp": 1, "embedding_b64": base64.b64encode(vector).decode()}
    ).encode()
    expected = "s", 1, vector, F32, None, None, None, None
    assert read_fast(read_json(raw), raw) == read_exact(read_json(raw)) == expected


@pytest.mark.parametrize(
    ("fields", "event_id", "segments", "snippet"),
    [
        ({}, None, None, None),
        ({"event_id": None, "segments": None, "snippet": None}, None, None, None),
        ({"event_id": "", "segments": {}, "snippet": ""}, "", {}, ""),
        ({"event_id": "é" * 256, "snippet": "é" * 999}, "é" * 256, None, "é" * 999),
        (
            {"segments": {"country": "de", "": "", "é": "\n"}},
            None,
            {"country": "de", "": "", "é": "\n"},
            None,
        ),
        (
            {"event_id": "e", "segments": {str(n): "v" * 256 for n in range(16)}},
            "e",
            {str(n): "v" * 256 for n in range(16)},
            None,
        ),
    ],
)
def test_both_paths_read_optional_fields(fields, event_id, segments, snippet):
    raw = json.dumps({"stream": "images", "timestamp": 1, "embedding": [1, 2, 3, 4], **fields}).encode()
    fast, exact = both_ways(raw)
    assert fast == exact
    assert fast[4:] == (event_id, None, segments, snippet)


def read(raw, before=b""):
    """Return the event with its vector as float32 bytes, None where the fast path is not sure.

    Args:
        raw: The text.
        before: A text that the parser has read before.
    """
    parser = ArrayParser(["embedding"])
    if before and parser.parse(before) is None:
        # A parser that has met a text without an array does not look at the next ones.
        parser = ArrayParser(["embedding"])
    document = parser.parse(raw)
    row = None if document is None else read_fast(document, raw)
    return row and normalize(row)


def normalize(row):
    stream, time_ms, vector, number, *others = row
    return stream, time_ms, number.to_float32(bytes(vector)).tobytes(), *others


@settings(max_examples=examples(1_000))
@given(near_events(), near_events())
def test_exact_path_accepts_events_with_equal_bits(raw, before):
    row = read(raw, before)
    if row is not None:
        assert row == normalize(read_exact(read_json(raw)))


@settings(max_examples=examples(400))
@given(st.lists(NUMBERS | st.sampled_from(["true", "[1]", "null"]), min_size=4, max_size=5), VALUES)
def test_any_array_is_read_as_by_exact_path_or_not_at_all(items, extra):
    raw = f'{{"stream":"images","timestamp":1,"embedding":[{",".join(items)}],"a":{extra}}}'.encode()
    row = read(raw)
    try:
        exact = normalize(read_exact(read_json(raw)))
    except EventError:
        assert row is None
    else:
        assert row in (None, exact)


@settings(max_examples=examples(300))
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_usual_event_is_accepted_with_all_options(numbers):
    fields = {"event_id": "e", "segments": {"country": "de"}, "model_version": "2025-10", "snippet": "a text"}
    raw = json.dumps({"stream": "images", "timestamp": 1, "embedding": numbers, **fields}).encode()
    row = read(raw)
    assert row is not None
    assert row == (
        "images",
        1,
        np.array(numbers, "<f4").tobytes(),
        "e",
        "2025-10",
        {"country": "de"},
        "a text",
    )


USUAL = b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"note":"a"}'


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"embedding":[1,2,3]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"embedding":[1,2,3,5]}',
        b'{"stream":"images","timestamp":1,"timestamp":2,"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"note":"a","note":"a"}',
        b'{"stream":"images","timestamp":1,"embedding":[[1,2],[3,4]]}',
        b'\xef\xbb\xbf{"stream":"images","timestamp":1,"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"note":"\\ud800"}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,1e400]}',
        b'{"stream":{"a":1},"timestamp":1,"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":"AAAA"}',
        b'{"stream":"images","timestamp":1,"a":{"embedding":[1,2,3,4]}}',
        b'{"stream":"images","timestamp":1,"a\\"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"a"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4]',
        b'[{"stream":"images","timestamp":1,"embedding":[1,2,3,4]}]',
        b"[5]",
    ],
)
def test_text_of_which_only_a_full_parse_can_tell_is_left_to_it(raw):
    assert read(USUAL) is not None
    assert read(raw) is None
    assert read(raw, USUAL) is None


LISTS = st.lists(st.integers(-9, 9) | st.floats(-9, 9), max_size=3)
NOISE = st.recursive(
    st.none() | st.text(alphabet='ab"[]:\\é', max_size=4) | LISTS,
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", 'a"b']), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def objects(draw, needed, noise):
    """Draw an object with a needed member and other ones, in any order."""
    members = {**draw(st.dictionaries(st.sampled_from(["x", "b", 'x"b', "ab"]), noise, max_size=3)), **needed}
    return {name: members[name] for name in draw(st.permutations(sorted(members)))}


@settings(max_examples=examples(400))
@given(st.data(), LISTS, st.booleans())
def test_any_value_parses_to_the_same_or_is_left_to_full_parse(data, numbers, ascii_only):
    """The names of the path stand in strings, in nested objects, and in longer names."""
    value = data.draw(objects({"a": data.draw(objects({"b": numbers}, NOISE))}, NOISE))
    document = ArrayParser(["a", "b"]).parse(json.dumps(value, ensure_ascii=ascii_only).encode())
    event("left" if document is None else "parsed")
    if document is not None:
        assert np.frombuffer(document["a"]["b"]).tolist() == numbers
        assert {**document, "a": {**document["a"], "b": numbers}} == value


@pytest.mark.parametrize("levels", [10, 998, 999, 1_022, 1_023, 1_024])
@pytest.mark.parametrize(("opening", "closing"), [('{"x":', "}"), ("[", "]"), ('[{"x":', "}]")])
@pytest.mark.parametrize("value", ["1", "{}", "[]"])
def test_value_nested_too_deep_for_full_parse_is_not_accepted(levels, opening, closing, value):
    raw = f'{{"v":[1],"x":{opening * levels}{value}{closing * levels}}}'.encode()
    if ArrayParser(["v"]).parse(raw) is None:
        assert levels > 10 or "[" in opening
    else:
        read_json(raw)


def test_array_in_array_is_left_to_full_parse():
    """simdjson flattens it, also where it has as many numbers as items."""
    for array in ("[[1],[2]]", "[1,[2]]", "[[],1,[2,3]]", '[1,2],"y":[[3]]'):
        assert ArrayParser(["v"]).parse(f'{{"x":[0],"v":{array}}}'.encode()) is None


@pytest.mark.parametrize("members", [31, 32])
def test_text_with_many_names_is_left_to_full_parse(members):
    """To look for each name takes time with the square of their number."""
    raw = json.dumps({f"x{number}": number for number in range(members)} | {"v": [1]}).encode()
    assert (ArrayParser(["v"]).parse(raw) is None) is (members == 32)


@pytest.mark.parametrize("arrays", [64, 65])
def test_text_with_many_arrays_is_left_to_full_parse(arrays):
    """Each is searched for, also in a string."""
    raw = json.dumps({"x": "[]" * (arrays - 1), "v": [1]}).encode()
    assert (ArrayParser(["v"]).parse(raw) is None) is (arrays == 65)


TIME_MS = 1_000
SHORT_MAPPING = {
    "stream": {"path": "s", "rename": {"nobody": "texts", "7": "moved"}},
    "embedding": {"path": "v", "dtype": "f16"},
    "timestamp": "t",
    "event_id": "id",
    "model_version": "m",
    "snippet": "x",
    "segments": {"country": "c"},
}
SETTINGS = InputSettings.model_validate(SHORT_MAPPING)
TEXT = st.none() | st.sampled_from(["", "e", "e" * 300]) | st.integers(0, 9) | st.booleans()
USUAL_VALUE = {"s": "images", "v": base64.b64encode(bytes(4)).decode(), "t": TIME_MS, "m": "v2", "c": "de"}
MAPPED_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "s": st.sampled_from(["images", "nobody", 7, None]),
        "v": st.binary(min_size=4, max_size=6).map(lambda raw: base64.b64encode(raw).decode())
        | st.sampled_from(["[1,2]", "=", "AAAA=", [1], [[1, 2], [3, 4]], None, {}])
        | st.lists(st.sampled_from([1, 2.5, -0.0, 1e39, 2**70, True, "2", None]), min_size=2, max_size=2),
        "t": st.sampled_from(
            [0, TIME_MS - 1, TIME_MS, -1, True, 1.5, "1000", "2025-11-03T00:00:00Z", None, 2**70]
        ),
        "id": TEXT,
        "m": st.sampled_from(["v2", "v1", 2, None]),
        "x": TEXT,
        "c": TEXT,
    },
).map(lambda changed: USUAL_VALUE | changed)


RECORD = StoredRecord(b"{}", "topic", 3, 7)


def read_short(value):
    return MappedReader(SETTINGS, lambda _: value)._single(RECORD, value)


@example(USUAL_VALUE | {"id": "e" * 300}, "ms", "json")
@example(USUAL_VALUE | {"m": "v1"}, "ms", "json")
@example(USUAL_VALUE | {"t": LAST_MS + 1}, "ms", "json")
@example(USUAL_VALUE | {"t": -1}, "ms", "json")
@example(USUAL_VALUE | {"v": [1, True]}, "ms", "json")
@example(USUAL_VALUE | {"v": [1, True]}, "ms", "avro")
@given(MAPPED_VALUES, st.sampled_from(["s", "ms", "us"]), st.sampled_from(["json", "avro"]))
def test_general_path_accepts_events_of_short_path_with_equal_bits(value, unit, encoding):
    timestamp = {"path": "t", "unit": unit}
    settings = InputSettings.model_validate(SHORT_MAPPING | {"timestamp": timestamp, "encoding": encoding})
    # Only a text of JSON shows whether a list may hold a bool.
    record = replace(RECORD, stored_value=json.dumps(value).encode() if encoding == "json" else b"")
    general = MappedReader(settings, lambda _: value)
    short = general._single(record, value)
    general._single = None
    try:
        rows = read_record(general, record)
    except EventError:
        assert short is None
        return
    if short is not None:
        stream, time_ms, vector, number, event_id, *others = short
        event_id = default_id(record) if event_id is RECORD_ID else event_id
        assert rows == [(stream, time_ms, vector, number, event_id, *others)]


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_usual_record_is_accepted(dimension):
    vector = np.arange(dimension, dtype="<f2").tobytes()
    text = base64.b64encode(vector).decode()
    row = read_short({"s": "images", "v": text, "t": TIME_MS, "m": "v2", "c": "de", "x": 7})
    assert row is not None
    stream, time_ms, found, number, *others = row
    assert (stream, time_ms, found, number.dtype) == ("images", TIME_MS, vector, "f16")
    assert others == [RECORD_ID, "v2", {"country": "de"}, "7"]


BYTES_MAPPING = {"encoding": "bytes", "stream": {"constant": "images"}, "timestamp": {"record": "timestamp"}}
BYTES_MAPPING["embedding"] = {"record": "value"}
SOUND = StoredRecord(b"12345678", "topic", 3, 7, stored_ms=TIME_MS)
RECORDS = st.builds(
    replace,
    st.just(SOUND),
    stored_value=st.sampled_from([b"12345678"] * 6 + [b"123456789012", b"123", b"", None]),
    stored_ms=st.sampled_from([TIME_MS, TIME_MS + 1, LAST_MS] * 3 + [LAST_MS + 1, 0, -1, None]),
    stored_offset=st.integers(0, 9),
    stored_partition=st.integers(0, 9),
)


def build_reader(**fields):
    return MappedReader(InputSettings.model_validate(BYTES_MAPPING | fields), deserialize_bytes)


@given(st.lists(RECORDS, min_size=1, max_size=3))
def test_path_of_each_record_accepts_the_same_with_equal_bits(records):
    reader = build_reader()
    rows = reader.read_all(records)
    event("left" if rows is None else "read")
    each = []
    for record in records:
        with suppress(EventError):
            each.append(reader.read(record))
    if rows is not None:
        assert list(rows) == each
    else:
        assert len(each) < len(records)


def test_time_of_a_record_without_one_is_not_taken():
    class Record(StoredRecord):
        def timestamp(self):
            return NO_TIMESTAMP, TIME_MS

    assert build_reader().read_all([SOUND]) is not None
    assert build_reader().read_all([Record(b"12345678")]) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"encoding": "json"},
        {"stream": {"header": "stream"}},
        {"embedding": {"header": "vector"}},
        {"embedding": {"record": "key"}},
        {"embedding": {"record": "value", "dimension": 2}},
        {"timestamp": {"header": "at"}},
        {"event_id": {"record": "key"}},
        {"model_version": {"header": "version"}},
        {"segments": {"country": {"header": "country"}}},
        {"where": [{"record": "key", "in": ["a"]}]},
    ],
)
def test_other_mappings_are_not_read_so(fields):
    assert compile_bytes(InputSettings.model_validate(BYTES_MAPPING)) is not None
    assert compile_bytes(InputSettings.model_validate(BYTES_MAPPING | fields)) is None
