"""Mapped records: where fields stand, conditions, and that each is judged as an event of the contract."""

import base64
import json
import sys
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.errors import ConfigError
from driftgauge.events import sources
from driftgauge.events.columns import Columns
from driftgauge.events.mapped_readers import build_readers, missing_libraries
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import Reason
from tests.events.both_ways import near
from tests.events.mapped import IMAGES, TIME_MS, accept, decode, read_settings, refuse, value
from tests.events.schema_records import Schemas

EVENT = StoredRecord(value(v=[1, 2, 3, 4]), stored_headers=[("ce-specversion", b"1.0")], stored_ms=TIME_MS)


def test_fields_stand_anywhere():
    mapping = {
        "stream": "model.name",
        "embedding": "outputs[name=embedding].data",
        "timestamp": {"path": "time", "unit": "s"},
        "event_id": {"record": "key"},
        "model_version": {"header": "version"},
        "segments": {"country": "user.country", "paid": "user.paid", "shop": "user.shop", "age": "user.age"},
    }
    raw = value(
        model={"name": "images"},
        outputs=[{"name": "logits", "data": [1]}, {"name": "embedding", "data": [1, 2, 3, 4]}],
        time=TIME_MS / 1_000 + 0.25,
        user={"country": "de", "paid": True, "shop": 17, "age": None},
    )
    record = StoredRecord(raw, stored_key=b"k-1", stored_headers=[("version", b"v1")])
    segments = {"country": "de", "paid": "true", "shop": "17"}
    assert accept(mapping, record) == [("images", "k-1", TIME_MS + 250, [1, 2, 3, 4], segments)]


@pytest.mark.parametrize("embedding", ["v", {"path": "v", "dimension": 4}])  # on the short path, and not
def test_stream_is_renamed_before_its_name_is_checked(embedding):
    renamed = {"ResNet 18 (fc1)": "images", "18": "images"}
    mapping = {"stream": {"path": "s", "rename": renamed}, "embedding": embedding}
    for name in ("ResNet 18 (fc1)", 18, "images"):
        (event,) = accept(mapping, value(s=name, v=[1, 2, 3, 4]))
        assert event[0] == "images"
    rejection = refuse(mapping, value(s="ResNet 18", v=[1, 2, 3, 4]))
    assert (rejection.reason, rejection.stream) == (Reason.INVALID, None)
    rejection = refuse(mapping, value(s="sentence-transformers/all-MiniLM-L6-v2", v=[1, 2, 3, 4]))
    assert rejection.reason is Reason.UNKNOWN_STREAM


@pytest.mark.parametrize(
    ("mapping", "record", "time_ms"),
    [
        ({"timestamp": "time"}, value(v=[1, 2, 3, 4], t=5), None),
        ({"timestamp": {"path": "t", "unit": "s", "or": "record"}}, value(v=[1, 2, 3, 4]), TIME_MS),
        ({"timestamp": {"path": "t", "unit": "s", "or": "record"}}, value(v=[1, 2, 3, 4], t=5), 5_000),
        ({"timestamp": {"path": "t", "unit": "s", "or": "record"}}, value(v=[1, 2, 3, 4], t="?"), None),
        ({"timestamp": {"header": "t", "or": "record"}}, StoredRecord(value(v=[1, 2, 3, 4])), None),
        ({"encoding": "cloudevents", "embedding": "data.v"}, EVENT, TIME_MS),
        (
            {"encoding": "cloudevents", "embedding": "data.v"},
            replace(EVENT, stored_headers=[("ce-time", b"2025-11-03T00:00:00Z"), *EVENT.stored_headers]),
            TIME_MS,
        ),
    ],
)
def test_missing_time_is_the_records_where_the_mapping_says_so(mapping, record, time_ms):
    decoded = decode(IMAGES | {"embedding": "v"} | mapping, record)
    assert [batch.time_ms.tolist() for batch in decoded.batches] == ([] if time_ms is None else [[time_ms]])


def test_constant_stream_is_known_of_every_record():
    mapping = {**IMAGES, "embedding": "v"}
    assert [each.stream for each in decode(mapping, b"{", None).rejections] == ["images", "images"]
    several = {"vectors": [mapping, {"stream": {"constant": "texts"}, "embedding": "w"}]}
    assert refuse(several, b"{").stream is None


@pytest.mark.parametrize(
    ("field", "source", "raw", "detail"),
    [
        ("stream", "s", value(v=[1]), "stream: missing (s)"),
        ("stream", "s", value(v=[1], s=1.5), "stream: neither text nor a whole number, but float (s)"),
        ("stream", "s", value(v=[1], s=["images"]), "stream: neither text nor a whole number, but list (s)"),
        ("stream", {"record": "key"}, value(v=[1]), "stream: not UTF-8 (the record's key)"),
        ("timestamp", "t", value(v=[1]), "timestamp: missing (t)"),
        ("timestamp", "t", value(v=[1], t=None), "timestamp: missing (t)"),
        ("timestamp", "t", value(v=[1], t=True), "timestamp: neither a number nor an RFC 3339 date-time, but "
         "bool (t)"),
        ("timestamp", "t", value(v=[1], t=10**18 * 2), "timestamp: not within the years 1970 to 9999, UTC (a "
         "number is in milliseconds); the numbers look like nanoseconds: set timestamp.unit to ns in inputs "
         "(t)"),
        ("event_id", {"header": "h"}, value(v=[1]), "event_id: not UTF-8 (header h)"),
        ("event_id", "i", value(v=[1], i={"a": 1}), "event_id: neither text nor a whole number, but "
         "dict (i)"),
        ("model_version", "m", value(v=[1], m=1.0), "model_version: neither text nor a whole number, but "
         "float (m)"),
        ("segments", {"k": "k"}, value(v=[1], k=[1]), "segments.k: neither text nor a whole number, but list "
         "(k)"),
        ("embedding", "e", value(v=[1]), "embedding: missing (e)"),
        ("embedding", "e", value(e=None), "embedding: missing (e)"),
        ("embedding", {"path": "e", "shape": "s"}, value(e=[1]), "embedding: its shape is missing (s)"),
        ("embedding", "e", value(e={}), "embedding: an object, where a list of numbers, bytes or text is "
         "expected"),
        ("embedding", "e", value(e=[{"v": [1]}]), "embedding.0: an object, where a number is expected"),
        ("embedding", "e", value(e=[1, "2"]), "embedding.1: text, where a number is expected"),
        ("embedding", "e", value(e=[]), "embedding: empty, where at least one number is expected"),
    ],
)  # fmt: skip
def test_detail_names_field_and_source(field, source, raw, detail):
    mapping = {**IMAGES, "embedding": "v", field: source}
    record = StoredRecord(raw, stored_key=b"\xff", stored_headers=[("h", b"\xff")], stored_ms=TIME_MS)
    rejection = refuse(mapping, record)
    assert (rejection.reason, rejection.detail) == (Reason.INVALID, detail)
    assert rejection.stream == (None if field == "stream" else "images")


WHERE = {**IMAGES, "embedding": "after.v", "where": [{"path": "op", "in": ["c", 1, True]}]}


@pytest.mark.parametrize("op", ["c", "1", 1, True, "true"])
def test_record_that_meets_conditions_is_read(op):
    assert accept(WHERE, value(op=op, after={"v": [1, 2, 3, 4]}))


@pytest.mark.parametrize(
    "raw",
    [None, b"null", b"5", b"[]", value(), value(op="d"), value(op=None), value(op=1.0), value(op=["c"])],
)
def test_record_that_does_not_is_filtered(raw):
    decoded = decode(WHERE, raw)
    assert decoded == replace(decoded, batches=(), rejections=(), filtered=(0,), pending=())


UNCHANGED = "__debezium_unavailable_value"


@pytest.mark.parametrize(
    ("condition", "met", "unmet"),
    [
        (
            {"path": "v", "not_in": [UNCHANGED, 7]},
            [value(v=[1, 2, 3, 4]), value(v="[1, 2, 3, 4]")],
            [value(v=UNCHANGED), value(v=7)],
        ),
        ({"path": "v", "exists": True}, [value(v=[1, 2, 3, 4])], [value(v=None), value(), b"null", None]),
        (
            {"path": "old", "exists": False},
            [value(v=[1, 2, 3, 4]), value(v=[1, 2, 3, 4], old=None)],
            [value(v=[1, 2, 3, 4], old=[1]), value(old=UNCHANGED), value(old=False)],
        ),
        (
            {"header": "kind", "not_in": ["test"]},
            [StoredRecord(value(v=[1, 2, 3, 4]), stored_ms=TIME_MS)],
            [StoredRecord(b"{", stored_headers=[("kind", b"test")])],
        ),
    ],
)
def test_value_may_have_to_be_absent_or_none_of_a_list(condition, met, unmet):
    mapping = {**IMAGES, "embedding": "v", "where": [condition]}
    assert [len(accept(mapping, record)) for record in met] == [1] * len(met)
    assert decode(mapping, *unmet).filtered == tuple(range(len(unmet)))


def test_missing_value_is_in_no_list():
    mapping = {**IMAGES, "embedding": "v", "where": [{"path": "v", "not_in": [UNCHANGED]}]}
    assert refuse(mapping, value()).detail == "embedding: missing (v)"
    assert refuse(mapping, None).reason is Reason.UNDECODABLE


def test_condition_on_header_is_checked_before_the_value_is_decoded():
    mapping = {**IMAGES, "embedding": "v", "where": [{"header": "type", "in": ["a"]}]}
    assert decode(mapping, StoredRecord(b"{", stored_headers=[("type", b"b")])).filtered == (0,)
    assert decode(mapping, StoredRecord(b"{", stored_headers=[("type", b"\xff")])).filtered == (0,)
    rejection = refuse(mapping, StoredRecord(b"{", stored_headers=[("type", b"a")]))
    assert rejection.reason is Reason.UNDECODABLE


def test_tombstone_and_null_are_refused_without_a_condition_on_the_value():
    mapping = {**IMAGES, "embedding": "v", "where": [{"record": "key", "in": ["k"]}]}
    assert refuse(mapping, StoredRecord(None, stored_key=b"k")).reason is Reason.UNDECODABLE
    assert refuse(mapping, StoredRecord(b"null", stored_key=b"k")).detail == "value: null"


BATCH = {**IMAGES, "event_id": "id", "embedding": {"path": "v", "shape": "shape"}}


@pytest.mark.parametrize("vectors", [[1, 2, 3, 4, 5, 6, 7, 8], [[1, 2, 3, 4], [5, 6, 7, 8]]])
def test_vectors_of_a_record_are_numbered(vectors):
    events = accept(BATCH, value(id="e", v=vectors, shape=[2, 4]))
    assert [(event_id, vector[0]) for _, event_id, _, vector, _ in events] == [("e#0", 1), ("e#1", 5)]


def test_record_without_vectors_is_accepted_without_events():
    assert accept(BATCH, value(v=[], shape=[0, 4])) == []


def test_vectors_of_several_streams_are_numbered_through():
    mapping = {
        "vectors": [
            {"stream": {"constant": "images"}, "embedding": "i"},
            {"stream": "s", "embedding": {"path": "t", "dtype": "f16"}},
        ]
    }
    halves = base64.b64encode(np.array([1, 2], "<f2").tobytes()).decode()
    events = accept(mapping, value(i=[[1, 2, 3, 4], [5, 6, 7, 8]], s="texts", t=halves))
    assert [(stream, event_id) for stream, event_id, *_ in events] == [
        ("images", "orders-0-0#0"),
        ("images", "orders-0-0#1"),
        ("texts", "orders-0-0#2"),
    ]


TWO = {"vectors": [{"stream": "s", "embedding": "v"}, {"stream": "t", "embedding": "w"}]}


@pytest.mark.parametrize(
    ("fields", "reason", "stream"),
    [
        ({"s": "other"}, Reason.UNKNOWN_STREAM, None),
        ({"t": "other"}, Reason.UNKNOWN_STREAM, None),
        ({"v": [1]}, Reason.WRONG_DIMENSION, "images"),
        ({"w": [1]}, Reason.WRONG_DIMENSION, "texts"),
        ({"v": [1], "t": "other"}, Reason.UNKNOWN_STREAM, None),
        ({"v": [1], "w": [True, 1]}, Reason.INVALID, "texts"),
        ({"s": "other", "w": "?"}, Reason.INVALID, "texts"),
        ({"s": "other", "w": [None, 1]}, Reason.INVALID, "texts"),
        ({"v": [1, 2, 3, 1e39], "w": [1]}, Reason.WRONG_DIMENSION, "texts"),
        ({"v": [1, 2, 3, 1e39], "w": [0, 0]}, Reason.NON_FINITE, "images"),
        ({"w": [0, 0]}, Reason.ZERO_VECTOR, "texts"),
        ({"v": [[1, 2, 3, 4], [1, 2, 3, 1e39]]}, Reason.NON_FINITE, "images"),
        ({"v": [[1, 2, 3], [1, 2, "3", 4]]}, Reason.INVALID, "images"),
    ],
)
def test_record_is_refused_as_a_whole_for_its_first_reason(fields, reason, stream):
    rejection = refuse(TWO, value(**{"s": "images", "t": "texts", "v": [1, 2, 3, 4], "w": [1, 2], **fields}))
    assert (rejection.reason, rejection.stream) == (reason, stream)


def test_bytes_are_the_vector():
    mapping = {**IMAGES, "encoding": "bytes", "embedding": {"record": "value", "dtype": "bf16"}}
    raw = (np.array([1, -2, 0.5, 4], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    ((_, _, _, vector, _),) = accept(mapping, raw)
    assert vector == [1, -2, 0.5, 4]
    assert refuse(mapping, raw[:-1]).detail == "embedding: 7 bytes are no whole number of bf16"
    assert refuse(mapping, raw[:-2]).reason is Reason.WRONG_DIMENSION
    assert refuse(mapping, b"").reason is Reason.INVALID


@pytest.mark.parametrize("odd", ["true", "false"])
@pytest.mark.parametrize("hide", ['"[{},2,3,4]"', '"\\u005b{},2,3,4\\u005d"', "[{},2,3,4]"])
def test_bool_is_no_number_wherever_the_list_stands(odd, hide):
    rejection = refuse({**IMAGES, "embedding": "v"}, f'{{"v":{hide.format(odd)}}}'.encode())
    assert rejection.reason is Reason.INVALID
    assert "embedding.0" in rejection.detail


@pytest.mark.parametrize(("length", "is_accepted"), [(253, True), (254, False)])
def test_ids_of_all_vectors_must_be_short(length, is_accepted):
    """An id with a number of two digits is longer than those before."""
    for dimension, reason in ((4, None), (3, Reason.WRONG_DIMENSION)):
        raw = value(id="e" * length, v=[[1] * dimension] * 11)
        decoded = decode({**IMAGES, "embedding": "v", "event_id": "id"}, raw)
        expected = reason if is_accepted else Reason.INVALID
        assert [rejection.reason for rejection in decoded.rejections] == (
            [] if expected is None else [expected]
        )


CLOUDEVENT = [("ce_specversion", b"1.0"), ("ce_type", b"response"), ("content-type", b"application/json")]
V2 = value(
    id="e", model_version="v1", outputs=[{"name": "e", "shape": [2, 4], "data": [1.5, 2, 3, 4, 5, 6, 7, 8]}]
)
# By encoding: a mapping, a valid record, and the number of its events.
VALID_RECORDS = {
    "json": (
        {
            "where": [{"path": "op", "in": ["c", "u"]}],
            "stream": "source.table",
            "timestamp": {"path": "ts", "unit": "us"},
            "event_id": "after.id",
            "segments": {"country": "after.country"},
            "embedding": "after.v",
        },
        StoredRecord(
            b'{"op":"c","source":{"table":"images"},"ts":1762128000000000,"after":{"id":7,"country":"de",'
            b'"v":[[0.5,-1.25,3,0.1],[1,2,3,4]]}}'
        ),
        2,
    ),
    "json in text": (
        {
            "stream": {"constant": "images"},
            "timestamp": "p[json].t",
            "event_id": "id",
            "model_version": "p[json].m",
            "embedding": "p[json].v",
        },
        StoredRecord(value(id="e", p=json.dumps({"t": TIME_MS, "m": "v1", "v": [0.5, -1.25, 3, 0.1]}))),
        1,
    ),
    "bytes": (
        {
            "encoding": "bytes",
            "stream": {"header": "s"},
            "timestamp": {"header": "t"},
            "event_id": {"record": "key"},
            "embedding": {"record": "value", "dtype": "f64"},
        },
        StoredRecord(
            np.array([0.5, -1.25, 3, 0.1], "<f8").tobytes(),
            stored_key=b"k",
            stored_headers=[("s", b"images"), ("t", b"1762128000000")],
        ),
        1,
    ),
    "cloudevents": (
        {
            "encoding": "cloudevents",
            "where": [{"path": "type", "in": ["response"]}],
            "stream": {"constant": "images"},
            "timestamp": "time",
            "event_id": "data.id",
            "model_version": "data.model_version",
            "embedding": {"path": "data.outputs[name=e].data", "shape": "data.outputs[name=e].shape"},
        },
        StoredRecord(V2, stored_headers=[*CLOUDEVENT, ("ce_time", b"2025-11-03T00:00:00.25Z")]),
        2,
    ),
}
ODD_TEXTS = 'NaN nan Infinity -Infinity null true 1e400 1e39 -1 1.5 [ ] [[ {} , " \\u0074 "op":"d", "v":[1],'
PIECES = [*ODD_TEXTS.encode().split(), b"1762128000000000000000", b"\xff", b"\0"]


@st.composite
def near_records(draw, record, values=None):
    """Draw a record near a valid one, perhaps with a value of `values`."""
    near_value = st.one_of(st.none(), st.binary(max_size=40), *[near(record.value(), pieces=PIECES)] * 4)
    headers = [
        (name, draw(st.one_of(st.just(content), st.none(), near(content, pieces=PIECES))))
        for name, content in record.headers()
        if draw(st.integers(0, 9))
    ]
    key = draw(st.none() | st.just(record.key()) | st.binary(max_size=3))
    return replace(
        record,
        stored_value=draw(near_value if values is None else values),
        stored_key=key,
        stored_headers=headers,
    )


@pytest.mark.parametrize("place", ["", "data[*]."])
def test_text_of_several_fields_is_parsed_once(place):
    fields = {"model_version": f"{place}p[json].m", "segments": {"k": f"{place}p[json].k"}}
    settings = read_settings({**IMAGES, "embedding": f"{place}p[json].v", **fields})
    texts = [json.dumps({"v": [row], "m": "v1", "k": "a"}) for row in range(10)]
    raws = [value(p=each, data=[{"p": each}]) for each in texts]
    records = [StoredRecord(raw, "t", 0, 0, stored_ms=TIME_MS) for raw in raws]
    with patch.object(sources, "_parse_json", wraps=sources._parse_json) as parse:
        build_readers({"t": settings})["t"].read(records, 0, columns := Columns())
    assert [number.to_float32(each).tolist() for number, each in
            zip(columns.number, columns.vector, strict=True)] == [[row] for row in range(10)]  # fmt: skip
    assert columns.segments == [{"k": "a"}] * 10
    assert [call.args[0] for call in parse.call_args_list] == texts


@pytest.mark.parametrize("text", ["", "{", "x" * 9, "[" * 5_000, "\ufeff{}", '{"v":[NaN]}', '{"v":1e999}'])
@pytest.mark.parametrize("where", [[], [{"path": "p[json].v", "exists": True}]], ids=["read", "condition"])
def test_text_that_is_no_json_is_invalid(text, where):
    rejection = refuse({**IMAGES, "embedding": "p[json].v", "where": where}, value(p=text))
    assert (rejection.reason, rejection.stream) == (Reason.INVALID, "images")
    assert rejection.detail.startswith("[json]: the text is no JSON (")


@pytest.mark.parametrize("encoding", sorted(VALID_RECORDS))
def test_valid_record_is_accepted(encoding):
    mapping, record, events = VALID_RECORDS[encoding]
    assert len(accept(mapping, record)) == events


def inputs(*encodings):
    return {
        f"topic-{encoding}": InputSettings.model_validate(
            {
                "encoding": encoding,
                "stream": {"header": "stream"},
                "timestamp": {"record": "timestamp"},
                "embedding": {"record": "value"},
            }
        )
        for encoding in encodings
    }


@pytest.mark.parametrize("encoding", ["avro", "protobuf"])
def test_encoding_with_schemas_needs_their_source(encoding):
    problem = f"inputs.topic-{encoding}: encoding {encoding} needs a schema registry; set schema_registry.url"
    with pytest.raises(ConfigError, match=problem):
        build_readers(inputs(encoding))


@pytest.mark.parametrize(
    ("encoding", "library"),
    [
        ("avro", "fastavro"),
        ("protobuf", "google.protobuf"),
        ("inference", "google.protobuf"),
        ("inference", "google"),
    ],
)
def test_missing_library_is_reported_with_its_remedy(monkeypatch, encoding, library):
    monkeypatch.setitem(sys.modules, library, None)
    if library == "google":
        monkeypatch.delitem(sys.modules, "google.protobuf", raising=False)
    with pytest.raises(ConfigError, match=rf"encoding {encoding} needs .*pip install driftgauge\[registry\]"):
        build_readers(inputs(encoding), Schemas())


def test_other_encodings_need_no_extra(monkeypatch):
    for library in ("fastavro", "google.protobuf"):
        monkeypatch.setitem(sys.modules, library, None)
    assert missing_libraries(inputs("json", "bytes", "cloudevents").values()) == []


def test_numbers_of_vector_are_other_fields_as_well():
    """A parser that leaves the vector's numbers as bytes must not be used where a path leads into it."""
    mapping = {**IMAGES, "embedding": "v", "event_id": "v[0]", "where": [{"path": "v[1]", "in": [2]}]}
    ((_, event_id, *_),) = accept(mapping, value(v=[1, 2, 3, 4]))
    assert event_id == "1"
