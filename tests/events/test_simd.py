"""The reader by simdjson: what it accepts, the contract accepts with the same bits."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.events.contract import read_json
from driftgauge.events.native import read_exact
from driftgauge.events.rejection import EventError
from driftgauge.events.simd import SimdReader
from tests.events.test_native import NUMBERS, STREAMS, VALUES, near_events
from tests.examples import examples

READER = SimdReader()


def read(raw):
    """Return the event with its vector as float32 bytes, None where the reader is not sure."""
    row = READER.read(raw, STREAMS)
    return row and normalize(row)


def normalize(row):
    contract, number, time_ms, vector, event_id, segments = row
    return contract, time_ms, number.to_float32(bytes(vector)).tobytes(), event_id, segments


@settings(max_examples=examples(3_000))
@given(near_events())
def test_exact_path_accepts_events_of_simdjson_with_equal_bits(raw):
    row = read(raw)
    if row is not None:
        assert row == normalize(read_exact(read_json(raw), STREAMS))


@settings(max_examples=examples(1_000))
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
        b'{"stream":"images","stream":"texts","timestamp":1,"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":[[1,2],[3,4]]}',
        b'\xef\xbb\xbf{"stream":"images","timestamp":1,"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4],"note":"\\ud800"}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3,1e400]}',
        b'{"stream":{"a":1},"timestamp":1,"embedding":[1,2,3,4]}',
        b'{"stream":"images","timestamp":1,"embedding":"AAAA"}',
        b'{"stream":"images","timestamp":1,"embedding":[1,2,3]}',
    ],
)
def test_text_that_parsers_may_judge_differently_is_left_to_others(raw):
    assert read(raw) is None


def test_reader_goes_on_after_refusal():
    sound = b'{"stream":"images","timestamp":1,"embedding":[1,2,3,4]}'
    assert read(b'{"stream":"images","timestamp":1,"embedding":[1,2,3,true]}') is None
    assert read(sound) is not None
    assert read(sound) is not None
