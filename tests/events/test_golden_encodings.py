"""The golden records of encodings with schemas, and the producers of schemas/README.md."""

import re
import sys
from types import ModuleType
from typing import ClassVar

import confluent_kafka
import numpy as np
import pytest
import yaml
from confluent_kafka import schema_registry

from driftgauge.config.inputs import InputSettings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.inference import response_class
from driftgauge.events.inputs import build_readers
from driftgauge.events.records import StoredRecord
from driftgauge.events.rows import RECORD_ID, BaselineContract
from driftgauge.events.schemas import Schema
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
    assert [(row[2], row[4]) for row in rows] == [
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
    if settings.needs_registry:
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
