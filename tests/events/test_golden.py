"""The golden events and records: each becomes what its file says, by every path and encoding."""

import base64
import json
import re
import sys
from dataclasses import replace
from types import ModuleType
from typing import ClassVar

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
from driftgauge.events.decoder import Decoder
from driftgauge.events.encodings.inference import response_class
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import Reason
from driftgauge.events.schemas import Schema
from driftgauge.records.window_record import WindowRecord
from tests.builders.events import (
    CONTRACTS,
    INVALID,
    LATEST_MS,
    SCHEDULES,
    SCHEMAS,
    VALID,
    WINDOW_RESULTS,
    build_records,
    decode,
    name,
    reason,
)
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


@pytest.fixture(scope="module")
def event_schema():
    return validator("event.v1")


def validator(schema):
    text = (SCHEMAS / f"{schema}.schema.json").read_text("utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


def test_golden_events_cover_every_reason():
    # The configuration decides on some of the others, and the service on a fault of its own.
    assert {reason(path) for path in INVALID} == set(Reason) - {Reason.TOO_LARGE, Reason.PAST, Reason.FAULT}


@pytest.mark.parametrize("path", VALID, ids=name)
def test_valid_event_is_read_alike_by_both_ways(path):
    ((_,),) = assert_alike(build_own_reader(), StoredRecord(path.read_bytes()))


@pytest.mark.parametrize("path", VALID, ids=name)
def test_valid_event_matches_schema(path, event_schema):
    event_schema.validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize("path", INVALID, ids=name)
def test_invalid_event_is_rejected_for_reason_in_file_name(path):
    decoded = decode(path.read_bytes())
    assert decoded.batches == ()
    (rejection,) = decoded.rejections
    assert rejection.reason == reason(path)
    assert rejection.detail
    assert rejection.stream in {None, *SCHEDULES}


@pytest.mark.parametrize("path", [path for path in INVALID if reason(path) != "undecodable"], ids=name)
def test_schema_refuses_only_structural_faults(path, event_schema):
    structural = reason(path) == "invalid" and path.stem not in BEYOND_THE_SCHEMA
    assert event_schema.is_valid(json.loads(path.read_bytes())) != structural


@pytest.mark.parametrize("path", [path for path in INVALID if reason(path) == "invalid"], ids=name)
def test_detail_of_invalid_event_quotes_no_payload(path):
    detail = decode(path.read_bytes()).rejections[0].detail
    assert len(detail) < 200
    assert not any(quoted in detail for quoted in ("kkkk", "xxxx", "vvvv", "eeee", "köln", "hello"))


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
TOPIC = "mapped"


def to_record(index, golden):
    value = golden.get("value_base64", "")
    if "value" in golden:
        raw = json.dumps(golden["value"]).encode()
    else:
        raw = None if value is None else base64.b64decode(value)
    headers = [(header, text.encode()) for header, text in golden.get("headers", {}).items()]
    key = golden["key"].encode() if "key" in golden else None
    return StoredRecord(raw, TOPIC, 0, index, key, headers)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_golden_record_becomes_its_events(path):
    golden = json.loads(path.read_text("utf-8"))
    readers = build_readers({TOPIC: InputSettings.model_validate(golden["mapping"])})
    decoder = Decoder(CONTRACTS, lead_ms=0, readers=readers)
    for index, expected in enumerate(golden["records"]):
        records = replace(build_records([b""], LATEST_MS), raw=[to_record(index, expected)])
        decoded = decoder.decode(records)
        found: dict[str, object] = {}
        if decoded.filtered:
            found = {"filtered": True}
        elif decoded.rejections:
            found = {"refused": decoded.rejections[0].reason}
        else:
            found = {"events": [event for batch in decoded.batches for event in to_events(batch)]}
        outcome = {key: expected[key] for key in ("events", "filtered", "refused") if key in expected}
        assert found == outcome, f"record {index}"


def to_events(batch):
    for row in range(len(batch)):
        event = {
            "stream": batch.stream,
            "timestamp": int(batch.time_ms[row]),
            "event_id": batch.event_ids[row],
            "embedding_b64": base64.b64encode(batch.vectors[row].astype("<f4").tobytes()).decode(),
        }
        if batch.segments:
            event["segments"] = batch.segments[row]
        yield event


README = FOLDER.parents[1] / "README.md"
CONTRACT = BaselineContract(STREAM, "first", 4, None, DistanceMetric.EUCLIDEAN)


class Registry(Schemas):
    """A source of the golden records' schemas, of either kind."""

    def find(self, schema_id, kind):
        assert schema_id == SCHEMA_ID
        return Schema(schema_text() if kind == "AVRO" else serialized(embedded_file()))


def read(settings, value):
    reader = build_readers({"embeddings": settings}, Registry())["embeddings"]
    record = StoredRecord(value, "embeddings", 3, 880, stored_ms=NOON_MS)
    return read_record(reader, record)


@pytest.mark.parametrize("encoding", ["avro", "protobuf"])
def test_golden_record_behind_registry_is_read(encoding):
    ((_, time_ms, vector, _, event_id, _, segments, _),) = read(
        golden_inputs()[encoding], (FOLDER / f"{encoding}.bin").read_bytes()
    )
    assert (time_ms, vector, event_id) == (NOON_MS, VECTOR.tobytes(), RECORD_ID)
    assert segments == {"country": "de"}


@pytest.mark.parametrize("name", ["inference", "inference-raw"])
def test_golden_response_is_read(name):
    rows = read(golden_inputs()["inference"], (FOLDER / f"{name}.bin").read_bytes())
    assert [(bytes(row.vector), row.event_id) for row in rows] == [
        (vector.tobytes(), f"0193f3a2#{i}") for i, vector in enumerate(BATCH)
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("avro", avro_record()),
        ("protobuf", protobuf_record()),
        ("inference", inference_record(response_class, raw=False)),
        ("inference-raw", inference_record(response_class, raw=True)),
    ],
)
def test_golden_record_is_as_its_library_writes_it(name, value):
    assert (FOLDER / f"{name}.bin").read_bytes() == value


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


class Producer:
    """A producer that keeps what it is given."""

    values: ClassVar[list[tuple[str, bytes]]] = []

    def __init__(self, properties):
        self.properties = properties

    def produce(self, topic, value):
        self.values.append((topic, value))

    def flush(self):
        return 0


def module(name, **members):
    made = ModuleType(name)
    made.__dict__.update(members)
    return made


@pytest.mark.parametrize("topic", ["shop.avro", "shop.protobuf", "seldon.shop.model.encoder.outputs"])
def test_producer_of_readme_writes_what_its_mapping_reads(monkeypatch, topic):
    client = schema_registry.SchemaRegistryClient.new_client({"url": "mock://"})
    monkeypatch.setattr(schema_registry, "SchemaRegistryClient", lambda properties: client)
    monkeypatch.setattr(confluent_kafka, "Producer", Producer)
    monkeypatch.setattr(Producer, "values", [])
    monkeypatch.setitem(sys.modules, "embedded_pb2", module("embedded_pb2", Embedded=embedded_class()))
    dataplane = module("dataplane_pb2", ModelInferResponse=response_class)
    monkeypatch.setitem(sys.modules, "mlserver", module("mlserver"))
    monkeypatch.setitem(sys.modules, "mlserver.grpc", module("mlserver.grpc"))
    monkeypatch.setitem(sys.modules, "mlserver.grpc.dataplane_pb2", dataplane)
    monkeypatch.chdir(FOLDER)
    exec(examples()[topic], {})  # noqa: S102 - our own documentation
    ((written_to, value),) = Producer.values
    assert written_to == topic
    inputs = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", section(), re.DOTALL)[0])["inputs"]
    settings = InputSettings.model_validate(inputs[topic])
    if settings.traits.needs_registry:
        registered = client.get_schema(int.from_bytes(value[1:5], "big"))
        schema = Schema(registered.schema_str)
        schemas = Schemas()
        schemas.schemas[int.from_bytes(value[1:5], "big")] = schema
    else:
        schemas = None
    reader = build_readers({topic: settings}, schemas)[topic]
    record = StoredRecord(value, topic, stored_ms=NOON_MS)
    ((_, _, vector, *_),) = read_record(reader, record)
    assert np.frombuffer(vector, "<f4").tolist() == VECTOR.tolist()
