"""Numbers beside the embedding as events carry them: what is no number is missing, and refuses nothing."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.events.fields import to_numbers
from driftgauge.events.records import StoredRecord
from tests.events.mapped import CONTRACTS, IMAGES, TIME_MS, decode, value

NAMED = [replace(each, numbers=("confidence", "correct")) for each in CONTRACTS]
OWN = {"stream": "images", "timestamp": TIME_MS, "embedding": [1, 2, 3, 4]}
MAPPED = {**IMAGES, "embedding": "v", "numbers": {"confidence": "out.score", "correct": {"header": "ok"}}}


def read(mapping, *records):
    """Return both numbers of each event, None where one is missing."""
    decoded = decode(mapping, *records, contracts=NAMED)
    assert decoded.rejections == ()
    columns = [[*batch.numbers.values()] for batch in decoded.batches]
    found = np.concatenate([np.stack(each, axis=1) for each in columns])
    return [tuple(None if math.isnan(each) else each for each in row) for row in found.tolist()]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"confidence": 0.5, "correct": True}, (0.5, 1.0)),
        ({"confidence": 2, "correct": False}, (2.0, 0.0)),
        ({"confidence": "0.25"}, (0.25, None)),
        ({"confidence": None, "correct": [1]}, (None, None)),
        ({"confidence": "high", "other": 1}, (None, None)),
        ({}, (None, None)),
        ([0.5], (None, None)),
        (0.5, (None, None)),
        (None, (None, None)),
    ],
)
def test_own_contract(numbers, expected):
    usual = value(**OWN, numbers={"confidence": 0.75, "correct": 1})
    assert read(None, usual, value(**OWN, numbers=numbers), usual) == [(0.75, 1.0), expected, (0.75, 1.0)]
    assert read(None, value(**OWN)) == [(None, None)]


@pytest.mark.parametrize("encoding", ["json", "cloudevents"])
def test_mapping_of_fields_and_headers(encoding):
    own = {**MAPPED, "encoding": encoding}
    body = {"v": [1, 2, 3, 4], "out": {"score": 0.5}}
    headers = [("ok", b"1"), ("content-type", b"application/json")]
    if encoding == "cloudevents":
        own |= {"embedding": "data.v", "numbers": {**own["numbers"], "confidence": "data.out.score"}}
        headers += [("ce_specversion", b"1.0"), ("ce_id", b"a"), ("ce_source", b"b"), ("ce_type", b"c")]
    records = [
        StoredRecord(json.dumps(each).encode(), stored_headers=headers[start:], stored_ms=TIME_MS)
        for each, start in ((body, 0), ({"v": [1, 2, 3, 4]}, 1))
    ]
    assert read(own, *records) == [(0.5, 1.0), (None, None)]


def test_items_of_a_list_have_numbers_of_their_own():
    mapping = {**IMAGES, "embedding": "data[*].v", "numbers": {"confidence": "data[*].p", "correct": "ok"}}
    items = [{"v": [1, 2, 3, 4], "p": 0.5}, {"v": [1, 2, 3, 4]}]
    assert read(mapping, value(data=items, ok=True)) == [(0.5, 1.0), (None, 1.0)]


def test_text_that_is_no_json_is_missing():
    mapping = {**IMAGES, "embedding": "v", "numbers": {"confidence": "text[json].p"}}
    found = decode(
        mapping,
        *(value(v=[1, 2, 3, 4], text=text) for text in ('{"p": 0.5}', "{", '{"p": 0.25}')),
        contracts=[replace(each, numbers=("confidence",)) for each in CONTRACTS],
    )
    assert found.rejections == ()
    np.testing.assert_array_equal(found.batches[0].numbers["confidence"], [0.5, np.nan, 0.25])


def test_stream_without_numbers_has_none():
    (batch,) = decode(None, value(**OWN, numbers={"confidence": 0.5})).batches
    assert batch.numbers == {}


@given(
    st.lists(
        st.none()
        | st.floats()
        | st.integers(-(10**400), 10**400)
        | st.booleans()
        | st.text(max_size=3)
        | st.lists(st.floats(), max_size=2)
    )
)
def test_any_column_is_read_value_by_value(values):
    column = [{"a": each} for each in values]
    np.testing.assert_array_equal(
        to_numbers(column, "a"), np.array([to_numbers([each], "a")[0] for each in column])
    )
