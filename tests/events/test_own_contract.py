"""The fast path accepts only events that the exact path accepts, with the same bits."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.events.contract import read_json
from driftgauge.events.mapped_fast import compile_own
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.rows import read_exact
from driftgauge.events.vectors import F32
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
