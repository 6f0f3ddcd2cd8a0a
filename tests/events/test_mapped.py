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


# Fields stand anywhere.
ANYWHERE = {
    "stream": "model.name",
    "embedding": "outputs[name=embedding].data",
    "timestamp": {"path": "time", "unit": "s"},
    "event_id": {"record": "key"},
    "model_version": {"header": "version"},
    "segments": {"country": "user.country", "paid": "user.paid", "shop": "user.shop", "age": "user.age"},
}
SCATTERED = value(
    model={"name": "images"},
    outputs=[{"name": "logits", "data": [1]}, {"name": "embedding", "data": [1, 2, 3, 4]}],
    time=TIME_MS / 1_000 + 0.25,
    user={"country": "de", "paid": True, "shop": 17, "age": None},
)
SEGMENTS = {"country": "de", "paid": "true", "shop": "17"}
BATCH = {**IMAGES, "event_id": "id", "embedding": {"path": "v", "shape": "shape"}}
# Vectors of several streams are numbered through.
SEVERAL = {
    "vectors": [
        {"stream": {"constant": "images"}, "embedding": "i"},
        {"stream": "s", "embedding": {"path": "t", "dtype": "f16"}},
    ]
}
HALVES = base64.b64encode(np.array([1, 2], "<f2").tobytes()).decode()
BF16 = (np.array([1, -2, 0.5, 4], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
BYTES = {**IMAGES, "encoding": "bytes", "embedding": {"record": "value", "dtype": "bf16"}}
RENAMED = {"path": "s", "rename": {"ResNet 18 (fc1)": "images", "18": "images"}}


@pytest.mark.parametrize(
    ("mapping", "record", "events"),
    [
        (
            ANYWHERE,
            StoredRecord(SCATTERED, stored_key=b"k-1", stored_headers=[("version", b"v1")]),
            [("images", "k-1", TIME_MS + 250, [1, 2, 3, 4], SEGMENTS)],
        ),
        *(
            (
                BATCH,
                value(id="e", v=vectors, shape=[2, 4]),
                [
                    ("images", "e#0", TIME_MS, [1, 2, 3, 4], None),
                    ("images", "e#1", TIME_MS, [5, 6, 7, 8], None),
                ],
            )
            for vectors in ([1, 2, 3, 4, 5, 6, 7, 8], [[1, 2, 3, 4], [5, 6, 7, 8]])
        ),
        (BATCH, value(v=[], shape=[0, 4]), []),
        (
            SEVERAL,
            value(i=[[1, 2, 3, 4], [5, 6, 7, 8]], s="texts", t=HALVES),
            [
                ("images", "orders-0-0#0", TIME_MS, [1, 2, 3, 4], None),
                ("images", "orders-0-0#1", TIME_MS, [5, 6, 7, 8], None),
                ("texts", "orders-0-0#2", TIME_MS, [1, 2], None),
            ],
        ),
        (BYTES, BF16, [("images", "orders-0-0", TIME_MS, [1, -2, 0.5, 4], None)]),
        # A parser that leaves the vector's numbers as bytes must not be used where a path leads into it.
        (
            {**IMAGES, "embedding": "v", "event_id": "v[0]", "where": [{"path": "v[1]", "in": [2]}]},
            value(v=[1, 2, 3, 4]),
            [("images", "1", TIME_MS, [1, 2, 3, 4], None)],
        ),
        # On the short path, and not.
        *(
            (
                {"stream": RENAMED, "embedding": embedding},
                value(s=name, v=[1, 2, 3, 4]),
                [("images", id_, TIME_MS, [1, 2, 3, 4], None)],
            )
            for embedding, id_ in (("v", "orders-0-0"), ({"path": "v", "dimension": 4}, "orders-0-0#0"))
            for name in ("ResNet 18 (fc1)", 18, "images")
        ),
    ],
    ids=lambda each: str(each)[:60],
)
def test_record_becomes_its_events(mapping, record, events):
    assert accept(mapping, record) == events


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
NOT_UNCHANGED = {"path": "v", "not_in": [UNCHANGED]}


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
        # Checked before the value is decoded.
        (
            {"header": "type", "in": ["a"]},
            [StoredRecord(value(v=[1, 2, 3, 4]), stored_headers=[("type", b"a")], stored_ms=TIME_MS)],
            [StoredRecord(b"{", stored_headers=[("type", kind)]) for kind in (b"b", b"\xff")],
        ),
    ],
)
def test_value_may_have_to_be_absent_or_none_of_a_list(condition, met, unmet):
    mapping = {**IMAGES, "embedding": "v", "where": [condition]}
    assert [len(accept(mapping, record)) for record in met] == [1] * len(met)
    assert decode(mapping, *unmet).filtered == tuple(range(len(unmet)))


FLAT = {**IMAGES, "embedding": "v"}
OF_TYPE = FLAT | {"where": [{"header": "type", "in": ["a"]}]}
OF_KEY = FLAT | {"where": [{"record": "key", "in": ["k"]}]}
BY_NAME = {"stream": RENAMED, "embedding": "v"}


@pytest.mark.parametrize(
    ("mapping", "record", "reason", "detail"),
    [
        # A missing value is in no list.
        (FLAT | {"where": [NOT_UNCHANGED]}, value(), Reason.INVALID, "embedding: missing (v)"),
        (FLAT | {"where": [NOT_UNCHANGED]}, None, Reason.UNDECODABLE, ""),
        (OF_TYPE, StoredRecord(b"{", stored_headers=[("type", b"a")]), Reason.UNDECODABLE, ""),
        # A tombstone and null are refused without a condition on the value.
        (OF_KEY, StoredRecord(None, stored_key=b"k"), Reason.UNDECODABLE, ""),
        (OF_KEY, StoredRecord(b"null", stored_key=b"k"), Reason.INVALID, "value: null"),
        (BYTES, BF16[:-1], Reason.INVALID, "embedding: 7 bytes are no whole number of bf16"),
        (BYTES, BF16[:-2], Reason.WRONG_DIMENSION, ""),
        (BYTES, b"", Reason.INVALID, "embedding"),
        # A stream is renamed before its name is checked.
        (BY_NAME, value(s="ResNet 18", v=[1, 2, 3, 4]), Reason.INVALID, "stream: "),
        (BY_NAME, value(s="sentence-transformers/all", v=[1, 2, 3, 4]), Reason.UNKNOWN_STREAM, "stream: "),
        *(
            (FLAT, f'{{"v":{hide.format(odd)}}}'.encode(), Reason.INVALID, "embedding.0")
            for odd in ("true", "false")
            for hide in ('"[{},2,3,4]"', '"\\u005b{},2,3,4\\u005d"', "[{},2,3,4]")
        ),
        *(
            (
                {**IMAGES, "embedding": "p[json].v", "where": where},
                value(p=text),
                Reason.INVALID,
                "[json]: the text is no JSON (",
            )
            for text in ("", "{", "x" * 9, "[" * 5_000, "\ufeff{}", '{"v":[NaN]}', '{"v":1e999}')
            for where in ([], [{"path": "p[json].v", "exists": True}])
        ),
        # An id with a number of two digits is longer than those before.
        *(
            (FLAT | {"event_id": "id"}, value(id="e" * length, v=[[1] * dimension] * 11), reason, "")
            for length, dimension, reason in (
                (253, 3, Reason.WRONG_DIMENSION),
                (254, 3, Reason.INVALID),
                (254, 4, Reason.INVALID),
            )
        ),
    ],
    ids=lambda each: str(each)[:60],
)
def test_record_is_refused(mapping, record, reason, detail):
    rejection = refuse(mapping, record)
    assert rejection.reason is reason
    assert rejection.detail.startswith(detail)
    assert rejection.stream == mapping["stream"].get("constant")


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


@pytest.mark.parametrize(
    ("encoding", "missing", "schemas", "problem"),
    [
        *(
            (encoding, [], None, rf"inputs\.topic-{encoding}: .* registry; set schema_registry\.url")
            for encoding in ("avro", "protobuf")
        ),
        *(
            (encoding, missing, Schemas(), rf"encoding {encoding} needs .*pip install driftgauge\[registry\]")
            for encoding, missing in (
                ("avro", ["fastavro"]),
                ("protobuf", ["google.protobuf"]),
                ("inference", ["google.protobuf"]),
                ("inference", ["google"]),
            )
        ),
    ],
)
def test_missing_registry_or_library_is_reported_with_its_remedy(
    monkeypatch, encoding, missing, schemas, problem
):
    for library in missing:
        # Else a package would be found within one that is missing.
        monkeypatch.delitem(sys.modules, "google.protobuf", raising=False)
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=problem):
        build_readers(inputs(encoding), schemas)


def test_other_encodings_need_no_extra(monkeypatch):
    for library in ("fastavro", "google.protobuf"):
        monkeypatch.setitem(sys.modules, library, None)
    assert missing_libraries(inputs("json", "bytes", "cloudevents").values()) == []
