"""Lists of objects: every item is an event, with fields of its own and of its record."""

import json
from functools import partial

import pytest
from pydantic import ValidationError

from driftgauge.events import vectors as vectors_module
from driftgauge.events.encodings.avro import Avro
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import Reason
from tests.events.both_ways import VECTOR, assert_alike, read_alike
from tests.events.mapped import IMAGES, TIME_MS, accept, read_settings, refuse, value
from tests.events.schema_records import (
    Schemas,
    add_fields,
    avro,
    avro_schema,
    framed,
    protobuf,
    protobuf_file,
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
        # Numbers are no items that are vectors.
        *((value(vectors=[first, 2]), Reason.INVALID,
           "embedding: a number, where a list of numbers, bytes or text is expected; item 0 of vectors")
          for first in (1, 1.5)),
        (value(vectors=[1] * 10_001), Reason.INVALID, "embedding: more than 10,000 vectors in one record"),
        (value(vectors=5), Reason.INVALID, "vectors: a number, where a list is expected"),
    ],
)  # fmt: skip
def test_one_wrong_item_refuses_its_record(raw, reason, detail):
    rejection = refuse(MAPPING | ({"embedding": "vectors[*]"} if b"vectors" in raw else {}), raw)
    assert (rejection.reason, rejection.detail) == (reason, detail)


@pytest.mark.parametrize("number", range(1, 8))
def test_fault_names_the_first_wrong_item(number):
    for first in range(number):
        all_after = [item()] * first + [{}] * (number - first)
        assert refuse(MAPPING, value(data=all_after)).detail.endswith(f"; item {first} of data")
        only = [{} if index == first else item() for index in range(number)]
        assert refuse(MAPPING, value(data=only)).detail.endswith(f"; item {first} of data")


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


# Less than the limit alone, and more than it twice.
WIDE = {"embedding": [[1]] * 51}


@pytest.mark.parametrize(
    ("embeddings", "items"),
    [
        (["data[*].embedding"], [WIDE] * 2),
        (["data[*].embedding"], [{"embedding": [[1]] * 100}] * 3),
        (["data[*].embedding", "data[*].other"], [{"embedding": [1], "other": [1]}] * 51),
        (["data[*].embedding", "data[*].other"], [WIDE | {"other": [[1]] * 50}]),
    ],
)
def test_vectors_of_all_items_count_for_the_limit(monkeypatch, embeddings, items):
    monkeypatch.setattr(vectors_module, "MOST_VECTORS", 100)
    vectors = [{**IMAGES, "embedding": each} for each in embeddings]
    settings = read_settings({"vectors": vectors})
    reader = build_readers({"t": settings})["t"]
    half = value(data=items[: len(items) // 2])
    outcomes = assert_alike(reader, StoredRecord(half, "t", 0, 0, stored_ms=TIME_MS),
                            StoredRecord(value(data=items), "t", 0, 1, stored_ms=TIME_MS))  # fmt: skip
    assert type(outcomes[0]) is list
    reason, _, detail = outcomes[1]
    assert reason is Reason.INVALID
    assert detail.startswith("embedding: more than 100 vectors in one record")


NUMBERS = {"type": "array", "items": "float"}
ITEM = {"type": "record", "name": "I", "fields": [{"name": "v", "type": NUMBERS}]}
LIST = {"type": "record", "name": "E", "fields": [{"name": "data", "type": {"type": "array", "items": ITEM}}]}


def file_with_items():
    file = protobuf_file()
    add_fields(file.message_type[0].nested_type[0], ("v", "repeated float"))
    return file


@pytest.mark.parametrize(
    ("encoding", "path", "build", "raw", "empty"),
    [
        ("avro", "data[*].v", partial(Avro, Schemas(_7=avro_schema(LIST))),
         avro({"data": [{"v": [0.5, -1.25]}] * 2}, LIST), avro({"data": []}, LIST)),
        ("protobuf", "inners[*].v", protobuf(file_with_items()),
         b"\0" + (b"\x5a\x0a\x12\x08" + VECTOR) * 2, b"\0"),
    ],
)  # fmt: skip
def test_items_are_read_in_avro_and_protobuf(encoding, path, build, raw, empty):
    mapping = {**IMAGES, "encoding": encoding, "embedding": path, "timestamp": {"record": "timestamp"}}
    events, nothing = read_alike(mapping, build, [framed(raw), framed(empty)])
    assert [event.event_id for event in events] == ["embeddings-3-880#0", "embeddings-3-880#1"]
    assert [event.vector for event in events] == [VECTOR] * 2
    assert nothing == []
