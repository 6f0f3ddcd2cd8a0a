"""The golden events and records: each becomes what its file says, by every path and encoding."""

import base64
import json
import re
import sys
from types import SimpleNamespace
from unittest.mock import Mock, patch

import confluent_kafka
import jsonschema
import numpy as np
import pytest
import yaml
from confluent_kafka import schema_registry

from driftgauge.config.inputs import InputSettings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.columns import RECORD_ID
from driftgauge.events.encodings.inference import response_class
from driftgauge.events.mapped_readers import build_reader
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import Reason
from driftgauge.events.schemas import Schema
from driftgauge.records.window_record import WindowRecord
from tests.builders.events import (
    CONTRACTS,
    INVALID,
    SCHEDULES,
    SCHEMAS,
    VALID,
    WINDOW_RESULTS,
    decode,
    name,
    reason,
)
from tests.events import mapped
from tests.events.both_ways import assert_alike
from tests.events.golden_encodings import (
    BATCH,
    FOLDER,
    NOON_MS,
    SCHEMA_ID,
    STREAM,
    VECTOR,
    avro_record,
    embedded_class,
    embedded_file,
    golden_inputs,
    inference_record,
    protobuf_record,
    schema_text,
)
from tests.events.mapped import read_record
from tests.events.schema_records import Schemas, serialized

BEYOND_THE_SCHEMA = {
    "invalid--timestamp-a-float",
    "invalid--timestamp-with-exponent",
    "invalid--timestamp-30-february",
    "invalid--timestamp-leap-second-at-noon",
    "invalid--timestamp-before-1970",
}


def validator(schema):
    text = (SCHEMAS / f"{schema}.schema.json").read_text("utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


EVENT = validator("event.v1")


def test_golden_events_cover_every_reason():
    # The configuration decides on some of the others, and the service on a fault of its own.
    assert {reason(path) for path in INVALID} == set(Reason) - {Reason.TOO_LARGE, Reason.PAST, Reason.FAULT}


@pytest.mark.parametrize("path", VALID, ids=name)
def test_valid_event_matches_schema_and_is_read_alike_by_both_ways(path):
    EVENT.validate(json.loads(path.read_bytes()))
    ((_,),) = assert_alike(build_own_reader(), StoredRecord(path.read_bytes()))


@pytest.mark.parametrize("path", INVALID, ids=name)
def test_invalid_event_is_rejected_for_reason_in_file_name(path):
    decoded = decode(path.read_bytes())
    assert decoded.batches == ()
    (rejection,) = decoded.rejections
    assert rejection.reason == reason(path)
    assert rejection.stream in {None, *SCHEDULES}
    assert 0 < len(rejection.detail) < 200
    if reason(path) == "invalid":
        assert not any(text in rejection.detail for text in ("kkkk", "xxxx", "vvvv", "eeee", "köln", "hello"))
    # The schema refuses only structural faults.
    if reason(path) != "undecodable":
        structural = reason(path) == "invalid" and path.stem not in BEYOND_THE_SCHEMA
        assert EVENT.is_valid(json.loads(path.read_bytes())) != structural


@pytest.mark.parametrize("path", WINDOW_RESULTS, ids=name)
def test_window_result_serializes_to_file_content(path):
    text = path.read_text("utf-8").rstrip("\n")
    validator("window-result.v1").validate(json.loads(text))
    assert WindowRecord.model_validate_json(text).model_dump_json() == text


USUAL = [0.5, -1.25, 3.0, np.float32(0.1)]


@pytest.mark.parametrize(
    ("case", "time_ms", "vector"),
    [
        ("array", 1_762_128_000_000, USUAL),
        ("base64", 1_762_128_000_000, USUAL),
        ("duplicate-key-the-last-wins", 1_762_128_000_000, USUAL),
        ("integers-as-numbers", 1_762_128_000_000, [1, -2, 0, 2**64]),
        ("negative-zero", 1_762_128_000_000, [-0.0, 0.0, 0.0, 1.0]),
        ("too-small-for-float32-is-zero", 1_762_128_000_000, [0.0, -0.0, 2**-149, 1.0]),
        ("rounded-by-way-of-double", 1_762_128_000_000, [0.1, 0.3, 1.0, 2**24]),
        ("timestamp-epoch", 0, USUAL),
        ("timestamp-with-offset", 1_762_128_000_000, USUAL),
        ("timestamp-with-nanoseconds", 1_762_128_000_123, USUAL),
        ("timestamp-leap-second", 1_483_228_800_000, USUAL),
    ],
)
def test_golden_event_has_expected_time_and_vector(case, time_ms, vector):
    (batch,) = decode((SCHEMAS / "golden" / "valid" / f"{case}.json").read_bytes()).batches
    assert batch.time_ms.tolist() == [time_ms]
    assert batch.vectors.tobytes() == np.array(vector, np.float32).tobytes()


FILES = sorted((SCHEMAS / "golden" / "mapped").glob("*.json"))


def to_record(golden):
    value = golden.get("value_base64", "")
    raw = json.dumps(golden["value"]).encode() if "value" in golden else value and base64.b64decode(value)
    headers = [(header, text.encode()) for header, text in golden.get("headers", {}).items()]
    key = golden["key"].encode() if "key" in golden else None
    return StoredRecord(raw, "mapped", 0, 0, key, headers)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_golden_record_becomes_its_events(path):
    golden = json.loads(path.read_text("utf-8"))
    for expected in golden["records"]:
        decoded = mapped.decode(golden["mapping"], to_record(expected), contracts=CONTRACTS, topic="mapped")
        events = [event for batch in decoded.batches for event in to_events(batch)]
        assert events == expected.get("events", [])
        assert bool(decoded.filtered) is expected.get("filtered", False)
        refused = [expected["refused"]] if "refused" in expected else []
        assert [each.reason for each in decoded.rejections] == refused


def to_events(batch):
    for row in range(len(batch)):
        yield {
            "stream": batch.stream,
            "timestamp": int(batch.time_ms[row]),
            "event_id": batch.event_ids[row],
            "embedding_b64": base64.b64encode(batch.vectors[row].astype("<f4").tobytes()).decode(),
        } | ({"segments": batch.segments[row]} if batch.segments else {})


README = FOLDER.parents[1] / "README.md"
CONTRACT = BaselineContract(STREAM, "first", 4, None, DistanceMetric.EUCLIDEAN)


class Registry(Schemas):
    """A source of the golden records' schemas, of either kind."""

    def find(self, schema_id, kind):
        assert schema_id == SCHEMA_ID
        return Schema(schema_text() if kind == "AVRO" else serialized(embedded_file()))


FROM_REGISTRY = [(NOON_MS, VECTOR.tobytes(), RECORD_ID, {"country": "de"})]
RESPONSE = [(NOON_MS, vector.tobytes(), f"0193f3a2#{i}", None) for i, vector in enumerate(BATCH)]


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("avro", avro_record(), FROM_REGISTRY),
        ("protobuf", protobuf_record(), FROM_REGISTRY),
        ("inference", inference_record(response_class, raw=False), RESPONSE),
        ("inference-raw", inference_record(response_class, raw=True), RESPONSE),
    ],
)
def test_golden_record_is_as_its_library_writes_it_and_is_read(name, written, expected):
    assert (FOLDER / f"{name}.bin").read_bytes() == written
    reader = build_reader("t", {"t": golden_inputs()[name.removesuffix("-raw")]}, Registry())
    rows = read_record(reader, StoredRecord(written, "t", 3, 880, stored_ms=NOON_MS))
    assert [(row.time_ms, bytes(row.vector), row.event_id, row.segments) for row in rows] == expected


def test_proto_file_names_the_fields_of_the_record():
    fields = re.findall(r"(\w+) = (\d+);", (FOLDER / "embedded.proto").read_text())
    assert fields == [(each.name, str(each.number)) for each in embedded_class().DESCRIPTOR.fields]


def section():
    """The section of schemas/README.md on encodings with schemas."""
    return README.read_text().partition("\n### Avro, Protobuf, inference\n")[2].partition("\n## ")[0]


def examples():
    """The examples by the topic that they write to."""
    blocks = re.findall(r"```python\n(.*?)```", section(), re.DOTALL)
    return {re.findall(r'topic = "([\w.]+)"', block)[0]: block for block in blocks}


@pytest.mark.parametrize("topic", ["shop.avro", "shop.protobuf", "seldon.shop.model.encoder.outputs"])
def test_producer_of_readme_writes_what_its_mapping_reads(monkeypatch, topic):
    client = schema_registry.SchemaRegistryClient.new_client({"url": "mock://"})
    producer = Mock()
    monkeypatch.setattr(schema_registry, "SchemaRegistryClient", lambda properties: client)
    monkeypatch.setattr(confluent_kafka, "Producer", lambda properties: producer)
    generated = {
        "embedded_pb2": SimpleNamespace(Embedded=embedded_class()),
        "mlserver.grpc.dataplane_pb2": SimpleNamespace(ModelInferResponse=response_class),
    }
    monkeypatch.chdir(FOLDER)
    with patch.dict(sys.modules, generated):
        exec(examples()[topic], {})  # noqa: S102 - our own documentation
    producer.produce.assert_called_once()
    written_to, value = producer.produce.call_args.args
    assert written_to == topic
    inputs = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", section(), re.DOTALL)[0])["inputs"]
    settings = InputSettings.model_validate(inputs[topic])
    schemas = Schemas()
    if settings.traits.needs_registry:
        schema_id = int.from_bytes(value[1:5], "big")
        schemas.schemas[schema_id] = Schema(client.get_schema(schema_id).schema_str)
    reader = build_reader(topic, {topic: settings}, schemas)
    (row,) = read_record(reader, StoredRecord(value, topic, stored_ms=NOON_MS))
    assert bytes(row.vector) == VECTOR.tobytes()
