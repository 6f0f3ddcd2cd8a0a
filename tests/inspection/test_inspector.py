"""Tests of `driftgauge.inspection.inspector` and of its report."""

from dataclasses import replace
from unittest.mock import Mock

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.cli.printing import render
from driftgauge.errors import BrokerError
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import Reason
from driftgauge.inspection.describing import as_json, describe_record, describe_summary
from driftgauge.inspection.inspector import Inspector
from tests.builders.baselines import save_baseline
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.configs import settings_in
from tests.builders.events import build_event
from tests.events.mapped import value
from tests.events.schema_records import framed
from tests.events.test_mapped import VALID_RECORDS, near_records
from tests.examples import examples

TOPIC = "orders"
NOW_MS = MONDAY_MS + HOUR_MS
MAPPING = {
    "where": [{"path": "op", "in": ["c", 1]}],
    "stream": {"constant": "images"},
    "embedding": "v",
    "timestamp": "t",
    "event_id": "id",
    "model_version": "m",
    "segments": {"country": "country"},
}


SOUND = {"op": "c", "t": MONDAY_MS + 250, "id": 7, "m": "m1", "country": "de", "v": [3, 4, 0, 0]}


def build(folder, mapping=None, schemas=None, **sections):
    inputs = {} if mapping is None else {TOPIC: mapping}
    return Inspector(settings_in(folder, topics={"events": [TOPIC]}, inputs=inputs, **sections), schemas)


def inspect(inspector, *values):
    return [
        inspector.inspect(
            each if isinstance(each, StoredRecord) else StoredRecord(each, TOPIC, 2, 17, stored_ms=NOW_MS),
            NOW_MS,
        )
        for each in values
    ]


def lines(inspector, content):
    (inspected,) = inspect(inspector, content)
    return render(describe_record(inspected)).split("\n")


@pytest.fixture
def fitted(tmp_path):
    """A stream with a mapping, and with a baseline of 4 dimensions."""
    save_baseline(tmp_path, model_version="m1")
    return build(tmp_path, MAPPING)


@pytest.mark.parametrize(
    ("mapping", "content"),
    [
        pytest.param(MAPPING, value(**SOUND), id="mapped"),
        pytest.param(MAPPING, value(op=1, t=MONDAY_MS, v=[1, 2, 3, 4]), id="without optional fields"),
        pytest.param(
            None, build_event(MONDAY_MS, 1, event_id="e", segments={"country": "de"}), id="own contract"
        ),
    ],
)
def test_accepted_record_is_shown_field_by_field(tmp_path, snapshot, mapping, content):
    save_baseline(tmp_path, model_version="m1" if mapping else None)
    assert "\n".join(lines(build(tmp_path, mapping), content)) == snapshot


def test_missing_field_is_shown_with_the_nearest_one(tmp_path):
    mapping = {
        "stream": {"path": "meta.modell"},
        "timestamp": "time",
        "embedding": "request.vectr",
        "model_version": "versions[0]",
    }
    content = value(meta={"model": "images", "key": 1}, times=1, request={"vector": [1]}, version="m1", v=1.5)
    shown = "\n".join(lines(build(tmp_path, mapping), content))
    parts = (
        "wrong: stream: missing (meta.modell); did you mean model?",
        "wrong: timestamp: missing (time); did you mean times?",
        "wrong: embedding: missing (request.vectr); did you mean vector?",
        "none; did you mean version?  (versions[0])",
    )
    assert [part for part in parts if part not in shown] == []
    # A wrong field is shown once, also beside a vector that is right.
    shown = lines(build(tmp_path, {**mapping, "embedding": "request.vector", "event_id": "v"}), content)
    assert [sum(line.startswith(f"  {name} ") for line in shown) for name in ("stream", "event id")] == [1, 1]


@pytest.mark.parametrize(
    ("embedding", "parts"),
    [
        (
            "data",
            ("embedding.0: an object, where a number", "; vectors are in data[*].v, "),
        ),
        (
            "data[1]",
            ("embedding: an object, where a list", "; vectors are in data[*].v, "),
        ),
        ("dat[*].v", ("timestamp      2025-11-03T01:00:00Z", "wrong: dat: missing; did you mean data?")),
        ("found[*].v", ("wrong: found: missing; vectors are in data[*].v, rows", "images  (constant")),
        ("query[*].v", ("wrong: query: an object, where a list is expected; vectors are in data[*].v, ",)),
        (
            "data[0].v",
            ("warning: embedding: data holds 4 items in 2 records, 2 are read, and the others are",),
        ),
        ("rows[1]", ("warning: embedding: rows holds 6 items in 2 records, 2 are read, and the others are",)),
        ("query.v", ()),
        ("query.one[0]", ()),
        # Probabilities, labels and a text beside a vector are none.
        ("outputs[0].data", ()),
    ],
)
def test_vectors_of_lists_that_a_mapping_misses_or_leaves_out_are_said(tmp_path, embedding, parts):
    vector = [1.0, 2, 3, 4]
    content = value(t=1, data=[{"v": vector}, {"v": vector}, {"n": 1}], rows=[vector] * 3,
                    query={"v": vector, "one": [vector]},
                    outputs=[{"data": each} for each in (vector, [0.1, 0.9], ["a"] * 4, "de")])  # fmt: skip
    mapping = {"stream": {"constant": "images"}, "timestamp": {"record": "timestamp"}, "embedding": embedding}
    inspector = build(tmp_path, mapping)
    inspected = inspect(inspector, content, content)
    summary = render(describe_summary(inspected, inspector.problems))
    shown = render(describe_record(inspected[0])) + summary
    assert [part for part in parts if part not in shown] == []
    assert ("warning: embedding" in summary) == any("warning" in part for part in parts)


@pytest.mark.parametrize(
    ("fields", "outcome", "line"),
    [
        (
            {"v": [1]},
            "refused, wrong_dimension: embedding: 1 numbers, the baseline has 4",
            "1 numbers: 1; norm 1",
        ),
        (
            {"v": [[1, 2, 3, 4], [1, 2, 3], [1]]},
            "refused, wrong_dimension: embedding: vector 2 of 3 has 3 numbers, the baseline has 4",
            "3 numbers: 1, 2, 3; norm 3.742",
        ),
        ({"m": "m2"}, "refused, wrong_model: model_version: 'm2', the baseline's is 'm1'", "m2  (m)"),
        (
            {"v": "?"},
            "refused, invalid: embedding: neither base64 nor",
            "wrong: embedding: neither base64 nor",
        ),
        ({"v": [1, None]}, "refused, invalid: embedding.1", "wrong: embedding.1: null, where a number"),
        ({"t": "x", "v": []}, "refused, invalid: timestamp: not an RFC 3339", "wrong: timestamp: not an RFC"),
        ({"id": 1.5}, "refused, invalid: event_id: neither text", "wrong: event_id: neither text"),
        ({"country": []}, "refused, invalid: segments.country: neither", "wrong: segments.country: neither"),
        ({"t": NOW_MS + 300_001}, "refused, future: timestamp: 5 min ahead", "2025-11-03T01:05:00.001Z"),
        ({"t": NOW_MS // 1_000}, "look like seconds: set timestamp.unit to s in inputs", "1970-01-21T09:28"),
        ({"v": [1e39, 0, 0, 0]}, "refused, non_finite: embedding.0: inf", "inf, 0, 0, 0; norm inf"),
        ({"id": "a\nb"}, "accepted, 1 event", "event id       a\\nb"),
    ],
)
def test_outcome_and_field_name_what_is_wrong(fitted, fields, outcome, line):
    first, *others = lines(fitted, value(**{**SOUND, **fields}))
    assert outcome in first
    assert any(line in other for other in others)


@pytest.mark.parametrize(
    ("content", "condition"),
    [
        (value(op="d"), "op is 'd', not one of: c, 1"),
        (value(op=2), "op is '2', not one of: c, 1"),
        (value(), "op is missing, not one of: c, 1"),
        (value(op=[1]), "op is neither text nor a whole number, but list, not one of: c, 1"),
        (None, "op is missing, not one of: c, 1"),
        (value(op="c", v="none"), "v is 'none', one of: none, off"),
        (value(op="c", old=1), "old exists"),
        (value(op="c"), "v is missing"),
    ],
)
def test_filtered_record_names_condition(tmp_path, content, condition):
    further = [
        {"path": "v", "not_in": ["none", "off"]},
        {"path": "old", "exists": False},
        {"path": "v", "exists": True},
    ]
    fitted = build(tmp_path, {**MAPPING, "where": [*MAPPING["where"], *further]})
    assert lines(fitted, content) == [f"orders[2]@17, 2025-11-03T01:00:00Z: filtered, {condition}"]


@pytest.mark.parametrize("matches", [False, True])
def test_without_baseline_dimension_and_version_are_not_checked(tmp_path, matches):
    shared = {"match": "im*", "most": 1, "baseline": "images.safetensors", "windows": ["1h"]}
    unfitted = build(tmp_path, MAPPING, **({"streams": [shared]} if matches else {}))
    inspected = inspect(unfitted, value(**{**SOUND, "v": [1, 2], "m": "m9"}), value(**{**SOUND, "v": [1e39]}))
    note, summary = describe_summary(inspected, unfitted.problems)
    assert note.startswith("stream images: no baseline yet, so dimension and model version were not checked")
    assert "images.safetensors does not exist; fit it" in note
    assert summary == "2 records: 1 accepted (1 event), 0 filtered, 1 refused (1 non_finite)"


def test_without_baseline_vectors_of_a_stream_have_one_dimension(tmp_path):
    (inspected,) = inspect(build(tmp_path, MAPPING), value(**{**SOUND, "v": [[1, 2], [3]]}))
    assert inspected.rejection.reason is Reason.WRONG_DIMENSION
    found = inspect(build(tmp_path, {**MAPPING, "stream": "s"}), value(**SOUND, s="other"), value(**SOUND))
    assert [each.rejection.reason for each in found] == [Reason.UNKNOWN_STREAM, Reason.INVALID]


def test_only_first_of_many_events_are_shown(fitted):
    found = lines(fitted, value(**{**SOUND, "v": [[1, 2, 3, 4]] * 1_009}))
    assert found[0].endswith("accepted, 1,009 events")
    assert sum("vector" in line for line in found) == 3
    assert found[-1] == "  and 1,006 more events"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "refused, undecodable: no value (a tombstone)"),
        (b"[]", "refused, invalid: stream: missing"),
        (b"{}", "refused, invalid: stream"),
        (value(stream="images", timestamp=1, embedding=[[1], [2]]), "refused, invalid: embedding.0"),
        (
            value(stream="images", timestamp=NOW_MS // 1_000, embedding=[1]),
            "like seconds: the contract is in",
        ),
        (value(stream="images", timestamp=1, embedding="x"), "refused, invalid: embedding: text, where"),
        (value(stream="images", timestamp=1, embedding_b64="?"), "wrong: embedding_b64: no base64"),
        (
            value(stream="images", timestamp=1, embedding_b64="AACAPw=="),
            "1 numbers: 1; norm 1  (embedding or embedding_b64)",
        ),
    ],
)
def test_other_records_in_the_service_contract_are_shown(tmp_path, content, part):
    assert part in "\n".join(lines(build(tmp_path), content))


def test_registry_that_does_not_answer_is_waited_for_once(tmp_path):
    registry, schemas = {"url": "http://127.0.0.1:1"}, Mock()
    schemas.find.side_effect = BrokerError("the registry is away")
    inspector = build(tmp_path, {**MAPPING, "encoding": "avro"}, schemas, schema_registry=registry)
    with pytest.raises(BrokerError):
        inspect(inspector, framed(b""))
    schemas.find.assert_called_once()


@pytest.mark.parametrize("encoding", [*sorted(VALID_RECORDS), None])
@settings(max_examples=examples(40))
@given(data=st.data())
def test_any_record_is_described_once(tmp_path_factory, encoding, data):
    folder = tmp_path_factory.mktemp("config")
    mapping, valid, _ = VALID_RECORDS[encoding or "json"]
    inspector = build(folder, mapping if encoding else None)
    records = data.draw(st.lists(near_records(valid), max_size=3))
    inspected = inspect(inspector, *(replace(record, stored_topic=TOPIC) for record in records))
    assert all(render(describe_record(each), 40) for each in inspected)
    documents = orjson.loads(orjson.dumps(as_json(inspected, inspector.problems)))["records"]
    assert sum(each["events"] for each in documents) == sum(each.events for each in inspected)
    for each in inspected:
        assert (each.rejection is not None) + (each.unmet is not None) <= 1
        assert each.events == 0 or (each.rejection is None and each.unmet is None)
    assert f"{len(records)} record" in render(describe_summary(inspected, inspector.problems))
