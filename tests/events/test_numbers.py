"""Numbers beside the embedding as events carry them: what is no number is missing, and refuses nothing."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.events.columns import Columns
from driftgauge.events.encodings import build_encoding
from driftgauge.events.fields import to_numbers
from driftgauge.events.needs import find_needs
from driftgauge.events.records import StoredRecord
from driftgauge.events.schemas import Schema
from tests.events.both_ways import exactly, make_reader
from tests.events.mapped import CONTRACTS, IMAGES, TIME_MS, decode, value
from tests.events.schema_records import Embedded, Schemas, avro, framed, protobuf, stored

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
        ({"confidence": "1_0", "correct": "1e1"}, (None, 10.0)),
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


@pytest.mark.parametrize("shared", [False, True])
def test_number_of_protobuf_without_presence_is_zero_where_it_is_not_written(shared):
    mapping = {
        **IMAGES,
        "encoding": "protobuf",
        "timestamp": "at",
        "embedding": "numbers",
        "numbers": {"confidence": "count", "correct": "note"},
        "where": [{"path": "count", "not_in": [7]}] if shared else [],
    }
    settings = InputSettings.model_validate(mapping)
    reader = make_reader(settings, protobuf()(find_needs(settings)))
    records = []
    for fields in ({"count": 3, "note": "0.5"}, {}):
        message = Embedded(numbers=[1, 2, 3, 4], **fields)
        message.at.FromMilliseconds(TIME_MS)
        records.append(stored(framed(b"\0" + message.SerializeToString())))
    for read_by in (reader, exactly(reader)):
        columns = Columns()
        read_by.read(records, 0, columns)
        assert columns.refused == []
        np.testing.assert_array_equal(to_numbers(columns.numbers, "confidence"), [3, 0])
        np.testing.assert_array_equal(to_numbers(columns.numbers, "correct"), [0.5, math.nan])


def test_avro_has_numbers_in_both_ways_of_reading():
    mapping = {**IMAGES, "encoding": "avro", "timestamp": "at", "embedding": "vector"}
    settings = InputSettings.model_validate(mapping | {"numbers": {"confidence": "score"}})
    schema = {
        "type": "record",
        "name": "Embedded",
        "fields": [
            {"name": "at", "type": "long"},
            {"name": "score", "type": ["null", "double"]},
            {"name": "vector", "type": {"type": "array", "items": "float"}},
        ],
    }
    source = Schemas(_7=Schema(json.dumps(schema)))
    reader = make_reader(settings, build_encoding("", settings, source))
    values = [{"at": TIME_MS, "score": score, "vector": [1.0, 2.0, 3.0, 4.0]} for score in (0.5, None, 0.0)]
    records = [stored(framed(avro(each, schema))) for each in values]
    for read_by in (reader, exactly(reader)):
        columns = Columns()
        read_by.read(records, 0, columns)
        assert columns.refused == []
        np.testing.assert_array_equal(to_numbers(columns.numbers, "confidence"), [0.5, math.nan, 0.0])
