"""Any record is accepted, filtered or refused as a whole, and judged as an event of the contract is."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.events import mapped_fields as rows_module
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import Reason
from tests.events.both_ways import near
from tests.events.mapped import IMAGES, TIME_MS, accept, decode, refuse, value
from tests.events.test_own_contract import NUMBERS, ODDITIES, SPACE
from tests.examples import examples


def verdict(decoded):
    """Return what became of one record: its reason, or streams, baselines, times and bits."""
    if decoded.rejections:
        (rejection,) = decoded.rejections
        return rejection.reason, rejection.stream
    return [
        (batch.stream, batch.baseline, batch.time_ms.tolist(), batch.vectors.tobytes())
        for batch in decoded.batches
    ]


ITEMS = st.lists(NUMBERS | ODDITIES, max_size=5) | st.lists(NUMBERS, min_size=4, max_size=4)


@pytest.mark.parametrize("way", ["fast", "exact"])
@settings(max_examples=examples(600))
@given(
    items=ITEMS.filter(lambda items: not items or items[0] not in {"[]", "[1]"}),
    stream=st.sampled_from(["images", "texts", "moved", "nobody"]),
    time_ms=st.sampled_from([0, TIME_MS - 1, TIME_MS, TIME_MS + 60_001]),
    version=st.sampled_from([None, "v1", "v2", "v" * 257]),
    form=st.sampled_from(["list", "text"]),
    space=SPACE,
)
def test_mapped_event_is_judged_as_event_of_the_contract(way, items, stream, time_ms, version, form, space):
    array = f"[{(space + ',').join(items)}]"
    shared = {"stream": stream, "timestamp": time_ms, "model_version": version}
    native = json.dumps(shared)[:-1] + f',"embedding":{array}}}'
    vector = array if form == "list" else json.dumps(array)
    nested = f'{{"a":{json.dumps(shared)},"v":[{vector}]}}'
    mapping = {
        "stream": "a.stream",
        "timestamp": "a.timestamp",
        "model_version": "a.model_version",
        "embedding": "v[0]",
    }
    with pytest.MonkeyPatch.context() as patch:
        if way == "exact":
            patch.setattr(rows_module, "is_short", lambda *_: False)
        found = decode(mapping, nested.encode())
    expected = decode(None, native.encode())
    if form == "text" and expected.rejections and expected.rejections[0].reason is Reason.UNDECODABLE:
        return
    assert verdict(found) == verdict(expected)


TEXTS_OF_BYTES = st.one_of(
    st.binary(max_size=20).map(lambda raw: base64.b64encode(raw).decode()),
    st.binary(min_size=16, max_size=16).map(lambda raw: base64.b64encode(raw).decode()),
    st.builds(
        lambda raw, offset, piece: raw[:offset] + piece + raw[offset + 1 :],
        st.binary(min_size=16, max_size=16).map(lambda raw: base64.b64encode(raw).decode()),
        st.integers(0, 24),
        st.sampled_from(["", "=", "==", "-", "_", "\n", "é", "\0", "A"]),
    ),
)


@settings(max_examples=examples(400))
@given(TEXTS_OF_BYTES)
def test_mapped_base64_is_judged_as_base64_of_the_contract(text):
    found = decode({**IMAGES, "embedding": "v"}, value(v=text))
    expected = decode(
        None, value(stream="images", timestamp=TIME_MS, embedding_b64=text, event_id="orders-0-0")
    )
    assert verdict(found) == verdict(expected)


@settings(max_examples=examples(200))
@given(st.binary(min_size=12, max_size=20) | st.binary(min_size=16, max_size=16))
def test_bytes_are_judged_as_base64_of_the_contract(raw):
    mapping = {**IMAGES, "encoding": "bytes", "embedding": {"record": "value"}}
    text = base64.b64encode(raw).decode()
    expected = decode(None, value(stream="images", timestamp=TIME_MS, embedding_b64=text))
    assert verdict(decode(mapping, raw)) == verdict(expected)


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
def near_records(draw, record):
    """Draw a record near a valid one."""
    raw = draw(st.one_of(st.none(), st.binary(max_size=40), *[near(record.value(), pieces=PIECES)] * 4))
    headers = [
        (name, draw(st.one_of(st.just(content), st.none(), near(content, pieces=PIECES))))
        for name, content in record.headers()
        if draw(st.integers(0, 9))
    ]
    key = draw(st.none() | st.just(record.key()) | st.binary(max_size=3))
    return StoredRecord(raw, stored_key=key, stored_headers=headers)


@pytest.mark.parametrize("text", ["", "{", "x" * 9, "[" * 5_000, "\ufeff{}", '{"v":[NaN]}', '{"v":1e999}'])
@pytest.mark.parametrize("where", [[], [{"path": "p[json].v", "exists": True}]], ids=["read", "condition"])
def test_text_that_is_no_json_is_invalid(text, where):
    rejection = refuse({**IMAGES, "embedding": "p[json].v", "where": where}, value(p=text))
    assert (rejection.reason, rejection.stream) == (Reason.INVALID, "images")
    assert rejection.detail.startswith("[json]: the text is no JSON (")


def test_bool_is_no_number_where_the_list_is_escaped_in_text():
    text = rb'{"p":"{\"v\":\u005btrue,1,1,1\u005d}"}'
    assert refuse({**IMAGES, "embedding": "p[json].v"}, text).reason is Reason.INVALID


@pytest.mark.parametrize("encoding", sorted(VALID_RECORDS))
def test_valid_record_is_accepted(encoding):
    mapping, record, events = VALID_RECORDS[encoding]
    assert len(accept(mapping, record)) == events


@pytest.mark.parametrize("encoding", sorted(VALID_RECORDS))
@settings(max_examples=examples(500))
@given(data=st.data())
def test_any_record_is_accepted_filtered_or_rejected_as_a_whole(encoding, data):
    mapping, valid, _ = VALID_RECORDS[encoding]
    records = data.draw(st.lists(near_records(valid) | st.just(valid), min_size=1, max_size=4))
    decoded = decode(mapping, *records)
    rejected = [rejection.row for rejection in decoded.rejections]
    assert rejected == sorted(set(rejected))
    assert all(rejection.detail for rejection in decoded.rejections)
    assert not set(rejected) & set(decoded.filtered)
    assert decoded.pending == ()
    accepted = set(range(len(records))) - set(rejected) - set(decoded.filtered)
    assert {row for batch in decoded.batches for row in batch.row.tolist()} <= accepted
    assert all(np.isfinite(batch.vectors).all() for batch in decoded.batches)
    # Alone, each record has the same verdict and the same events.
    for row, record in enumerate(records):
        alone = decode(mapping, record)
        assert (row in rejected, row in decoded.filtered) == (bool(alone.rejections), bool(alone.filtered))
        if alone.rejections:
            together = next(each for each in decoded.rejections if each.row == row)
            assert replace(together, row=0) == alone.rejections[0]
        vectors = [batch.vectors[batch.row == row] for batch in decoded.batches]
        assert sorted(map(len, vectors)) == sorted(
            [*(len(batch) for batch in alone.batches), *[0] * (len(vectors) - len(alone.batches))]
        )
