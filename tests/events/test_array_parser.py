"""The parser of texts with one long array: what is read by it, the contract accepts with the same bits."""

import json

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from driftgauge.events.array_parser import ArrayParser
from driftgauge.events.contract import read_json
from driftgauge.events.rejection import EventError
from driftgauge.events.rows import read_exact
from tests.events.test_own_contract import NUMBERS, VALUES, near_events, read_fast
from tests.examples import examples


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
