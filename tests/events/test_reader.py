"""The fast way accepts nothing that the exact way does not, and then with the same bits."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.events.contract import read_json
from driftgauge.events.reader import expect, read_exact, read_fast
from driftgauge.events.rejection import EventError
from tests.events.golden import EXPECTED


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
        0.1000000000000000055511151231257827 1e400"""),
)
ODDITIES = one_of(
    """true false null "1.0" "NaN" "" "true" [] [1] {} NaN Infinity -Infinity 01 .5 1. +1 0x1"""
)
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
VECTORS = st.lists(NUMBERS, min_size=4, max_size=4) | st.lists(NUMBERS | ODDITIES, min_size=3, max_size=5)


def in_base64(size):
    return st.binary(min_size=size, max_size=size).map(lambda data: base64.b64encode(data).decode())


def damaged(text, data):
    place, piece = data
    return text[: place % (len(text) + 1)] + piece + text[place % (len(text) + 1) + len(piece) :]


BASE64 = st.one_of(
    in_base64(16),
    in_base64(15),
    in_base64(17),
    in_base64(16).map(lambda text: text.rstrip("=")),
    in_base64(13).map(lambda text: text + "===="),
    st.builds(
        damaged,
        in_base64(16),
        st.tuples(st.integers(0, 30), st.sampled_from(["=", "==", "-", "_", " ", "\n", "A", "é", "\x00"])),
    ),
)
STREAM = st.sampled_from(["resnet18-fc1"] * 4 + ["clip-text", "nobody", "resnet18-fc1\n", ""])
TIME = st.one_of(
    st.integers(0, 2**41).map(str),
    one_of("""-1 0 1.0 1e12 true null "1" 253402300799999 253402300800000 1762128000000000000
        "2025-11-03T00:00:00Z" "2025-11-03t00:00:00.9999z" "2016-12-31T23:59:60Z" "2025-11-03"
        "2025-02-30T00:00:00Z" "2025-11-03T00:00:00+23:59" "2025-11-03T00:00:00" """),
)
OPTIONAL = st.one_of(
    st.tuples(st.just("model_version"), st.sampled_from(['"2025-10"', '"2025-09"', '""', "null", "1"])),
    st.tuples(st.just("event_id"), st.integers(255, 257).map(lambda n: json.dumps("e" * n)) | VALUES),
    st.tuples(
        st.just("segments"),
        st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=17).map(json.dumps) | VALUES,
    ),
    st.tuples(st.sampled_from(["label", "correct", "tags", "Stream", "urls"]), VALUES),
    st.tuples(st.sampled_from(["stream", "timestamp", "embedding", "embedding_b64"]), VALUES),
)
SPACE = st.sampled_from([""] * 6 + [" ", "\n", "\t\r\n", "\x0c", "\u00a0", "\ufeff"])


@st.composite
def near_events(draw):
    """The text of an event that is nearly, or really, as it should be."""
    members = [("stream", json.dumps(draw(STREAM))), ("timestamp", draw(TIME))]
    if draw(st.booleans()):
        members.append(("embedding", f"[{','.join(draw(VECTORS))}]"))
    else:
        members.append(("embedding_b64", json.dumps(draw(BASE64))))
    members += draw(st.lists(OPTIONAL, max_size=2))
    if draw(st.integers(0, 3)) == 0:
        members = draw(st.permutations(members))
    if draw(st.integers(0, 9)) == 0:
        members.pop(draw(st.integers(0, len(members) - 1)))
    body = ",".join(f"{key(name, draw)}:{draw(SPACE)}{value}" for name, value in members)
    return f"{draw(SPACE)}{{{body}}}{draw(SPACE)}".encode()


def key(name, draw):
    if draw(st.integers(0, 19)):
        return json.dumps(name)
    return f'"\\u{ord(name[0]):04x}{name[1:]}"'


def both_ways(raw):
    """Return what each way makes of it: a row, None (the fast way only), or the error."""
    try:
        document = read_json(raw)
        fast = read_fast(document, raw, EXPECTED)
    except EventError as error:
        return None, error
    try:
        return fast, read_exact(document, EXPECTED)
    except EventError as error:
        return fast, error


@settings(max_examples=1_500, deadline=None)
@given(near_events())
def test_what_the_fast_way_accepts_the_exact_way_accepts_with_the_same_bits(raw):
    fast, exact = both_ways(raw)
    assert fast is None or fast == exact


@settings(max_examples=500)
@given(st.lists(NUMBERS | st.sampled_from(["true", "false"]), min_size=4, max_size=4), VALUES)
def test_a_bool_among_the_numbers_never_passes_whatever_stands_around(numbers, extra):
    text = (
        f'{{"a":{extra},"stream":"resnet18-fc1","timestamp":1,"embedding":[{",".join(numbers)}],"b":{extra}}}'
    )
    fast, exact = both_ways(text.encode())
    assert fast is None or fast == exact
    if {"true", "false"} & set(numbers):
        assert fast is None


def test_the_usual_event_takes_the_fast_way_even_beside_true_and_null():
    raw = b'{"ok":true,"stream":"resnet18-fc1","timestamp":1,"embedding":[1,2,3,4],"n":[null,false]}'
    assert read_fast(read_json(raw), raw, EXPECTED) is not None


@given(st.lists(NUMBERS.filter(lambda number: number != "1e400"), min_size=4, max_size=4))
def test_a_number_is_read_as_a_double_and_rounded_to_float32(numbers):
    raw = f'{{"stream":"resnet18-fc1","timestamp":1,"embedding":[{",".join(numbers)}]}}'.encode()
    _, exact = both_ways(raw)
    # Only a number with a fraction or an exponent has a negative zero.
    doubles = [float(number if set(number) & set(".eE") else int(number)) for number in numbers]
    with np.errstate(over="ignore"):
        assert exact == ("resnet18-fc1", 1, np.array(doubles).astype("<f4").tobytes())


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 5, 6, 127, 128, 512])
def test_base64_of_any_length_takes_the_fast_way(dimension):
    vector = np.arange(dimension, dtype="<f4").tobytes()
    raw = json.dumps(
        {"stream": "s", "timestamp": 1, "embedding_b64": base64.b64encode(vector).decode()}
    ).encode()
    streams = {"s": expect(dimension, None)}
    assert read_fast(read_json(raw), raw, streams) == read_exact(read_json(raw), streams) == ("s", 1, vector)
