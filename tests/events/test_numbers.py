"""Numbers beside the embedding as events carry them: what is no number is missing, and refuses nothing."""

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.events.columns import Columns
from driftgauge.events.encodings.avro import Avro
from driftgauge.events.fields import to_numbers
from driftgauge.events.needs import find_needs
from driftgauge.events.records import StoredRecord
from tests.events.both_ways import exactly, make_reader
from tests.events.mapped import CONTRACTS, IMAGES, TIME_MS, decode, value
from tests.events.schema_records import Embedded, Schemas, avro, avro_schema, framed, protobuf, stored

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
    (without,) = decode(None, usual).batches
    assert without.numbers == {}, "a stream that names none"


CLOUDEVENT = [("ce_specversion", b"1.0"), ("ce_id", b"a"), ("ce_source", b"b"), ("ce_type", b"c")]
CONTENT = ("content-type", b"application/json")
IN_DATA = {"embedding": "data.v", "numbers": {"confidence": "data.out.score", "correct": {"header": "ok"}}}
BODY = {"v": [1, 2, 3, 4]}
# Items of a list have numbers of their own, and text that is no JSON is missing.
ITEMS = {"embedding": "data[*].v", "numbers": {"confidence": "data[*].p", "correct": "ok"}}
IN_TEXT = {"numbers": {"confidence": "text[json].p", "correct": "ok"}}


@pytest.mark.parametrize(
    ("mapping", "headers", "bodies", "expected"),
    [
        ({}, [("ok", b"1"), CONTENT], [BODY | {"out": {"score": 0.5}}], [(0.5, 1.0)]),
        ({}, [CONTENT], [BODY], [(None, None)]),
        ({"encoding": "cloudevents", **IN_DATA}, [("ok", b"1"), CONTENT, *CLOUDEVENT],
         [BODY | {"out": {"score": 0.5}}], [(0.5, 1.0)]),
        ({"encoding": "cloudevents", **IN_DATA}, [CONTENT, *CLOUDEVENT], [BODY], [(None, None)]),
        (ITEMS, [], [{"ok": True, "data": [BODY | {"p": 0.5}, BODY]}], [(0.5, 1.0), (None, 1.0)]),
        (IN_TEXT, [], [BODY | {"text": text} for text in ('{"p": 0.5}', "{", '{"p": 0.25}')],
         [(0.5, None), (None, None), (0.25, None)]),
    ],
)  # fmt: skip
def test_mapping_of_fields_and_headers(mapping, headers, bodies, expected):
    raws = [json.dumps(body).encode() for body in bodies]
    records = [StoredRecord(raw, stored_headers=headers, stored_ms=TIME_MS) for raw in raws]
    assert read(MAPPED | mapping, *records) == expected


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


AVRO_SCHEMA = {
    "type": "record",
    "name": "Embedded",
    "fields": [
        {"name": "at", "type": "long"},
        {"name": "score", "type": ["null", "double"]},
        {"name": "vector", "type": {"type": "array", "items": "float"}},
    ],
}


def in_avro(**fields):
    return framed(avro({"at": TIME_MS, "vector": [1.0, 2.0, 3.0, 4.0], **fields}, AVRO_SCHEMA))


def in_protobuf(**fields):
    message = Embedded(numbers=[1, 2, 3, 4], **fields)
    message.at.FromMilliseconds(TIME_MS)
    return framed(b"\0" + message.SerializeToString())


PROTOBUF = {
    "encoding": "protobuf",
    "embedding": "numbers",
    "numbers": {"confidence": "count", "correct": "note"},
}


@pytest.mark.parametrize(
    ("mapping", "build", "raws", "expected"),
    [
        *(
            # A number without presence is 0 where it is not written.
            (
                PROTOBUF | {"where": where},
                protobuf(),
                [in_protobuf(count=3, note="0.5"), in_protobuf()],
                {"confidence": [3, 0], "correct": [0.5, math.nan]},
            )
            for where in ([], [{"path": "count", "not_in": [7]}])
        ),
        (
            {"encoding": "avro", "embedding": "vector", "numbers": {"confidence": "score"}},
            partial(Avro, Schemas(_7=avro_schema(AVRO_SCHEMA))),
            [in_avro(score=0.5), in_avro(score=None), in_avro(score=0.0)],
            {"confidence": [0.5, math.nan, 0.0]},
        ),
    ],
)
def test_numbers_are_read_alike_in_both_ways(mapping, build, raws, expected):
    settings = InputSettings.model_validate({**IMAGES, "timestamp": "at", **mapping})
    reader = make_reader(settings, build(find_needs(settings)))
    for read_by in (reader, exactly(reader)):
        read_by.read([*map(stored, raws)], 0, columns := Columns())
        assert columns.refused == []
        for name, values in expected.items():
            np.testing.assert_array_equal(to_numbers(columns.numbers, name), values)
