"""The parser of texts with one long array: what is read by it, the contract accepts with the same bits."""

import json

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from driftgauge.events.array_parser import ArrayParser
from driftgauge.events.contract import read_json
from driftgauge.events.native import read_exact, read_fast
from driftgauge.events.rejection import EventError
from tests.events.test_native import NUMBERS, STREAMS, VALUES, near_events
from tests.examples import examples


def read(raw):
    """Return the event with its vector as float32 bytes, None where the fast path is not sure."""
    # A parser that has met a text without an array does not look at the next ones.
    document = ArrayParser(["embedding"]).parse(raw)
    row = None if document is None else read_fast(document, raw, STREAMS)
    return row and normalize(row)


def normalize(row):
    contract, number, time_ms, vector, event_id, segments = row
    return contract, time_ms, number.to_float32(bytes(vector)).tobytes(), event_id, segments


@settings(max_examples=examples(1_000))
@given(near_events())
def test_exact_path_accepts_events_with_equal_bits(raw):
    row = read(raw)
    if row is not None:
        assert row == normalize(read_exact(read_json(raw), STREAMS))


@settings(max_examples=examples(400))
@given(st.lists(NUMBERS | st.sampled_from(["true", "[1]", "null"]), min_size=4, max_size=5), VALUES)
def test_any_array_is_read_as_by_exact_path_or_not_at_all(items, extra):
    raw = f'{{"stream":"images","timestamp":1,"embedding":[{",".join(items)}],"a":{extra}}}'.encode()
    row = read(raw)
    try:
        exact = normalize(read_exact(read_json(raw), STREAMS))
    except EventError:
        assert row is None
    else:
        assert row in (None, exact)


@settings(max_examples=examples(300))
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_usual_event_is_accepted_with_all_options(numbers):
    fields = {"event_id": "e", "segments": {"country": "de"}, "model_version": "2025-10"}
    raw = json.dumps({"stream": "images", "timestamp": 1, "embedding": numbers, **fields}).encode()
    row = read(raw)
    assert row is not None
    assert row[1:] == (1, np.array(numbers, "<f4").tobytes(), "e", {"country": "de"})


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"embedding":[1,2,3]}',
        b'{"stream":"images","timestamp":1,"embedding":[[1,2],[3,4]]}',
        b'\xef\xbb\xbf{"stream":"images","timestamp":1,"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"note":"\\ud800"}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,1e400]}',
        b'{"stream":{"a":1},"timestamp":1,"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":"AAAA"}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3]}',
        b'{"stream":"images","timestamp":1,"a":{"embedding":[1,2,3,4]}}',
        b'{"stream":"images","timestamp":1,"a\\"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"a"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4]',
        b'[{"stream":"images","timestamp":1,"embedding":[1,2,3,4]}]',
    ],
)
def test_text_of_which_only_a_full_parse_can_tell_is_left_to_it(raw):
    assert read(raw) is None


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


def test_array_at_nested_path_is_cut():
    parser = ArrayParser(["a", "b"])
    texts = (
        b'{"b": [7], "a": {"c": [1], "b" : [1, 2.5, -3]}}',
        b'{"a": {"c": [1], "b" : [1, 2.5, -3]}, "b": [7]}',
    )
    first, document, _ = (parser.parse(text) for text in (*texts, texts[0]))
    assert np.frombuffer(first["a"]["b"]).tolist() == [1, 2.5, -3], "the first array of that name is another"
    assert first["b"] == [7]
    assert np.frombuffer(document["a"]["b"]).tolist() == [1, 2.5, -3]
    assert document["b"] == [7]


def test_parser_looks_at_every_32nd_text_while_none_has_an_array():
    parser = ArrayParser(["embedding"])
    sound = b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4]}'
    assert parser.parse(b'{"stream":"images","timestamp":1,"embedding":[1,2,3,true]}') is None
    assert [parser.parse(sound) is None for _ in range(34)] == [True] * 31 + [False] * 3


@pytest.fixture
def parsed(monkeypatch):
    """Return the texts that are parsed but for their arrays."""
    texts = []

    def loads(raw):
        texts.append(raw)
        return json.loads(raw)

    monkeypatch.setattr("driftgauge.events.array_parser.orjson.loads", loads)
    return texts


def test_array_that_was_right_is_tried_first(parsed):
    parser = ArrayParser(["after", "v"])
    change = b'{"before":{"v":[1]},"after":{"v":[2]}}'
    for number in (2, 3, 4):
        assert np.frombuffer(parser.parse(change)["after"]["v"]).tolist() == [2]
        assert len(parsed) == number


def test_text_with_many_arrays_of_the_name_is_parsed_a_few_times_only(parsed):
    nested = b",".join([b'{"embedding":[1]}'] * 1_000)
    assert ArrayParser(["embedding"]).parse(b'{"a":[' + nested + b"]}") is None
    assert len(parsed) == 3
