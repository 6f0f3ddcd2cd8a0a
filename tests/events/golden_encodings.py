"""The golden records of encodings with schemas; `python -m tests.events.golden_encodings` writes them again.

The serializers of confluent-kafka write Avro and Protobuf. The classes of MLServer write inference responses:
name its dataplane_pb2.py with --dataplane, or those records stay as they are.
"""

import argparse
import runpy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from driftgauge.config.inputs import InputSettings
from tests.events.schema_records import add_map, file_of

FOLDER = Path(__file__).parents[2] / "schemas/golden/encodings"
STREAM = "resnet18-fc1"
NOON = datetime(2025, 11, 3, 12, tzinfo=UTC)
NOON_MS = 1_762_171_200_000
VECTOR = np.array([0.5, -1.25, 3, 0.1], "<f4")
BATCH = np.stack([VECTOR, VECTOR + 1])
# The golden records name the first schema of their registry.
SCHEMA_ID = 1


def schema_text() -> str:
    return (FOLDER / "embedded.avsc").read_text()


def embedded_file() -> descriptor_pb2.FileDescriptorProto:
    """Return the descriptors of embedded.proto, as protoc makes them."""
    file = file_of(
        "embedded.proto",
        "Embedded",
        ("stream", "string"),
        ("at", ".google.protobuf.Timestamp"),
        ("vector", "bytes"),
        package="shop.search",
        dependency=[timestamp_pb2.DESCRIPTOR.name],
    )
    add_map(file.message_type[0], "segments", "string", "string", ".shop.search.Embedded")
    return file


def embedded_class() -> Any:
    """Return the class of Embedded, as protoc generates it."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(embedded_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.search.Embedded"))


def golden_inputs() -> dict[str, InputSettings]:
    """Return the settings by which the golden records are read."""
    tree = yaml.safe_load((FOLDER / "inputs.yaml").read_text())
    return {name: InputSettings.model_validate(settings) for name, settings in tree.items()}


def avro_record() -> bytes:
    serialize = AvroSerializer(SchemaRegistryClient.new_client({"url": "mock://"}), schema_text())
    value = {"stream": STREAM, "at": NOON, "vector": VECTOR.tobytes(), "country": "de"}
    return serialize(value, SerializationContext("embeddings", MessageField.VALUE))


def protobuf_record() -> bytes:
    message_class = embedded_class()
    serialize = ProtobufSerializer(message_class, SchemaRegistryClient.new_client({"url": "mock://"}))
    message = message_class(stream=STREAM, vector=VECTOR.tobytes(), segments={"country": "de"})
    message.at.FromDatetime(NOON)
    return serialize(message, SerializationContext("embeddings", MessageField.VALUE))


def inference_record(response_class: Any, *, raw: bool) -> bytes:
    response = response_class(model_name="encoder", model_version="1", id="0193f3a2")
    output = response.outputs.add(name="embedding", datatype="FP32", shape=BATCH.shape)
    output.parameters["content_type"].string_param = "np"
    if raw:
        response.raw_output_contents.append(BATCH.tobytes())
    else:
        output.contents.fp32_contents.extend(BATCH.ravel())
    return response.SerializeToString(deterministic=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataplane", type=Path, help="mlserver/grpc/dataplane_pb2.py")
    dataplane = parser.parse_args().dataplane
    records = {"avro.bin": avro_record(), "protobuf.bin": protobuf_record()}
    if dataplane is not None:
        response_class = runpy.run_path(str(dataplane))["ModelInferResponse"]
        for name, raw in (("inference.bin", False), ("inference-raw.bin", True)):
            records[name] = inference_record(response_class, raw=raw)
    for name, value in records.items():
        (FOLDER / name).write_bytes(value)


if __name__ == "__main__":
    main()
