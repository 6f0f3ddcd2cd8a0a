"""Lists of objects: every item is an event, with fields of its own and of its record."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from driftgauge.config.inputs import InputSettings
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import Reason
from driftgauge.events.schemas import Schema
from tests.events.both_ways import assert_alike
from tests.events.mapped import IMAGES, TIME_MS, accept, read_record, read_settings, refuse, value
from tests.events.schema_records import (
    Schemas,
    add_field,
    avro,
    avro_schema,
    framed,
    protobuf_file,
    serialized,
)

MAPPING = {**IMAGES, "embedding": "data[*].embedding", "event_id": "id"}


def item(first=1, **fields):
    return {"embedding": [first, 2, 3, 4], **fields}


def test_every_item_is_an_event_with_its_index_in_the_id():
    mapping = {
        "stream": "data[*].kind",
        "timestamp": "created",
        "embedding": "data[*].embedding",
        "model_version": "model",
        "event_id": "id",
        "segments": {"country": "user.country", "part": "data[*].part"},
    }
    items = [item(1, kind="images", part="a"), {"embedding": [1, 2], "kind": "texts"}, item(3, kind="images")]
    raw = value(id="e", created=5, model="v1", user={"country": "de"}, data=items)
    assert sorted(accept(mapping, raw), key=lambda event: event[1]) == [
        ("images", "e#0", 5, [1, 2, 3, 4], {"country": "de", "part": "a"}),
        ("texts", "e#1", 5, [1, 2], {"country": "de"}),
        ("images", "e#2", 5, [3, 2, 3, 4], {"country": "de"}),
    ]


@pytest.mark.parametrize(
    ("mapping", "raw", "ids"),
    [
        (MAPPING, value(data=[item()]), ["orders-0-0#0"]),
        (MAPPING, value(id="e", data=[]), []),
        (MAPPING | {"event_id": "data[*].id"}, value(data=[item(id="a"), item(id="b")]), ["a#0", "b#1"]),
        (MAPPING, value(id="e", data=[{"embedding": [[1, 2, 3, 4]] * 2}, item()]), ["e#0", "e#1", "e#2"]),
        (
            MAPPING | {"embedding": {"path": "data[*].embedding", "dimension": 4}},
            value(id="e", data=[{"embedding": [1] * 8}, item()]),
            ["e#0", "e#1", "e#2"],
        ),
        (MAPPING | {"embedding": "[*]"}, b"[[1, 2, 3, 4], [5, 6, 7, 8]]", ["orders-0-0#0", "orders-0-0#1"]),
        (MAPPING | {"embedding": "p[json].data[*].embedding"}, value(p=json.dumps({"data": [item()]})),
         ["orders-0-0#0"]),
    ],
)  # fmt: skip
def test_events_are_numbered_within_their_record(mapping, raw, ids):
    assert [event[1] for event in accept(mapping, raw)] == ids


@pytest.mark.parametrize(
    ("raw", "reason", "detail"),
    [
        (value(), Reason.INVALID, "data: missing"),
        (value(data={"embedding": [1]}), Reason.INVALID, "data: an object, where a list is expected"),
        (value(data="x"), Reason.INVALID, "data: text, where a list is expected"),
        (value(data=[item(), {}]), Reason.INVALID, "embedding: missing (data[*].embedding); item 1 of data"),
        (value(data=[item(), {"embedding": [1, "2"]}]), Reason.INVALID,
         "embedding.1: text, where a number is expected; item 1 of data"),
        (value(data=[item(), 5]), Reason.INVALID, "embedding: missing (data[*].embedding); item 1 of data"),
        (value(data=[item(), {"embedding": [1, 2]}]), Reason.WRONG_DIMENSION,
         "embedding: vector 2 of 2 has 2 numbers, the baseline has 4"),
        (value(data=[item()] * 10_001), Reason.INVALID, "embedding: more than 10,000 vectors in one record"),
    ],
)  # fmt: skip
def test_one_wrong_item_refuses_its_record(raw, reason, detail):
    rejection = refuse(MAPPING, raw)
    assert (rejection.reason, rejection.detail) == (reason, detail)


@pytest.mark.parametrize("number", range(1, 8))
def test_fault_names_the_first_wrong_item(number):
    for first in range(number):
        items = [item() if index < first else {} for index in range(number)]
        assert refuse(MAPPING, value(data=items)).detail.endswith(f"; item {first} of data")
        items = [{} if index == first else item() for index in range(number)]
        assert refuse(MAPPING, value(data=items)).detail.endswith(f"; item {first} of data")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"embedding": "a[*].b[*].v"}, "once at most"),
        ({"event_id": "others[*].id"}, "the same list"),
        ({"embedding": "v", "event_id": "data[*].id"}, r"write \[\*\] in the path of embedding"),
        ({"where": [{"path": "data[*].kind", "exists": True}]}, "conditions are on records"),
        ({"embedding": {"path": "data[*].v", "shape": "others[*].shape"}}, "the same list"),
    ],
)
def test_mapping_reads_items_of_one_list(fields, message):
    with pytest.raises(ValidationError, match=message):
        read_settings(MAPPING | fields)


@pytest.mark.parametrize(
    ("embedding", "detail"),
    [
        ([1, 2], "embedding: a number, where a list of numbers, bytes or text is expected; item 0 of data"),
        ([1.5], "embedding: a number, where a list of numbers, bytes or text is expected; item 0 of data"),
        ([1] * 10_001, "embedding: more than 10,000 vectors in one record"),
        (5, "data: a number, where a list is expected"),
    ],
)
def test_list_of_numbers_has_no_items_that_are_vectors(embedding, detail):
    reader = build_readers({"t": read_settings({**IMAGES, "embedding": "data[*]"})})["t"]
    (outcome,) = assert_alike(reader, StoredRecord(value(data=embedding), "t", 0, 0, stored_ms=TIME_MS))
    assert outcome[2] == detail


ANY_ITEM = st.fixed_dictionaries(
    {},
    optional={
        "embedding": st.sampled_from(
            [[1, 2, 3, 4], [1.5], [], [True], "AACAPw==", [[1, 2], [3, 4]], None, {}]
        ),
        "id": st.sampled_from(["a", 5, "x" * 255, None, [1]]),
    },
)


@given(
    st.lists(
        st.lists(ANY_ITEM | st.just(item()) | st.just(5), max_size=3) | st.none(), min_size=1, max_size=5
    )
)
def test_batch_of_lists_is_judged_as_each(lists):
    settings = InputSettings.model_validate(
        MAPPING | {"timestamp": {"record": "timestamp"}, "event_id": "data[*].id"}
    )
    reader = build_readers({"t": settings})["t"]
    records = [
        StoredRecord(value(data=each), "t", 0, row, stored_ms=TIME_MS) for row, each in enumerate(lists)
    ]
    assert_alike(reader, *records)


# Less than the limit alone, and more than it twice.
WIDE = {"embedding": [[1]] * 5_001}


@pytest.mark.parametrize(
    ("embeddings", "items"),
    [
        (["data[*].embedding"], [WIDE] * 2),
        (["data[*].embedding"], [{"embedding": [[1]] * 10_000}] * 3),
        (["data[*].embedding", "data[*].other"], [{"embedding": [1], "other": [1]}] * 5_001),
        (["data[*].embedding", "data[*].other"], [WIDE | {"other": [[1]] * 5_000}]),
    ],
)
def test_vectors_of_all_items_count_for_the_limit(embeddings, items):
    vectors = [{**IMAGES, "embedding": each} for each in embeddings]
    settings = read_settings({"vectors": vectors})
    reader = build_readers({"t": settings})["t"]
    half = value(data=items[: len(items) // 2])
    outcomes = assert_alike(reader, StoredRecord(half, "t", 0, 0, stored_ms=TIME_MS),
                            StoredRecord(value(data=items), "t", 0, 1, stored_ms=TIME_MS))  # fmt: skip
    assert type(outcomes[0]) is list
    reason, _, detail = outcomes[1]
    assert reason is Reason.INVALID
    assert detail.startswith("embedding: more than 10,000 vectors in one record")


def test_items_are_read_in_avro_and_protobuf():
    numbers = {"type": "array", "items": "float"}
    element = {"type": "record", "name": "I", "fields": [{"name": "v", "type": numbers}]}
    data = {"name": "data", "type": {"type": "array", "items": element}}
    schema = {"type": "record", "name": "E", "fields": [data]}
    in_avro = framed(avro({"data": [{"v": [1, 2]}, {"v": [3, 4]}]}, schema))
    none_in_avro = framed(avro({"data": []}, schema))
    file = protobuf_file()
    add_field(file.message_type[0].nested_type[0], "v", 2, "float", repeated=True)
    inner = b"\x12\x08" + np.array([1, 2], "<f4").tobytes()
    in_protobuf = framed(b"\0" + b"\x5a\x0a" + inner + b"\x5a\x0a" + inner)
    for encoding, path, source, raw, empty in (
        ("avro", "data[*].v", avro_schema(schema), in_avro, none_in_avro),
        ("protobuf", "inners[*].v", Schema(serialized(file)), in_protobuf, framed(b"\0")),
    ):
        mapping = {**IMAGES, "encoding": encoding, "embedding": path, "timestamp": {"record": "timestamp"}}
        reader = build_readers({"t": InputSettings.model_validate(mapping)}, Schemas(_7=source))["t"]
        record = StoredRecord(raw, "t", 0, 1, stored_ms=TIME_MS)
        rows = read_record(reader, record)
        assert [row.event_id for row in rows] == ["t-0-1#0", "t-0-1#1"]
        assert rows[0].number.to_float32(rows[0].vector).tolist() == [1, 2]
        assert_alike(reader, record)
        assert assert_alike(reader, StoredRecord(empty, "t", 0, 2, stored_ms=TIME_MS)) == [[]]
