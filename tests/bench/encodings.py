"""What decoding costs by encoding, all in turns in one process: `python -m tests.bench.encodings`."""

import base64
import statistics
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from tests.events.schema_records import (
    AVRO,
    Embedded,
    Schemas,
    add_field,
    avro_schema,
    protobuf_file,
    serialized,
)
from threadpoolctl import threadpool_limits

from driftgauge.config.inputs import InputSettings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.decoder import Decoder
from driftgauge.events.inference import response_class
from driftgauge.events.inputs import build_readers
from driftgauge.events.records import Records
from driftgauge.events.rows import BaselineContract
from driftgauge.events.schemas import Schema

EVENTS = 1_000  # the size of a usual poll
REPEATS = 25
NOON_MS = 1_762_171_200_000
STREAM = "resnet18-fc1"
AT = {"stream": "stream", "timestamp": "at"}
TENSOR = {"path": "outputs[name=embedding].data", "shape": "outputs[name=embedding].shape"}
INFERENCE = {"stream": {"constant": STREAM}, "event_id": "id", "embedding": TENSOR}
JSON = {"encoding": "json", "stream": "stream", "timestamp": "timestamp"}
INPUTS = {
    "base64, mapped": {**JSON, "embedding": "embedding_b64"},
    "JSON array, mapped": {**JSON, "embedding": "embedding"},
    "bytes": {"encoding": "bytes", "stream": {"constant": STREAM}, "embedding": {"record": "value"}},
    "Avro": {"encoding": "avro", **AT, "embedding": "vector"},
    "Avro, list": {"encoding": "avro", **AT, "embedding": "numbers"},
    "Avro, id and text": {"encoding": "avro", **AT, "embedding": "vector", "event_id": "id"},
    "Protobuf": {"encoding": "protobuf", **AT, "embedding": "vector"},
    "Protobuf, list": {"encoding": "protobuf", **AT, "embedding": "numbers"},
    "Protobuf, id and text": {"encoding": "protobuf", **AT, "embedding": "vector", "event_id": "id"},
    "inference, raw": {"encoding": "inference", **INFERENCE},
    "inference, list": {"encoding": "inference", **INFERENCE},
}
CONTEXT = SerializationContext("embeddings", MessageField.VALUE)


def avro_type(vector: str) -> dict[str, Any]:
    """The type of a record with a stream, a time and the vector in this field."""
    return {**AVRO, "fields": [each for each in AVRO["fields"] if each["name"] in {"stream", "at", vector}]}


def avro_text_type() -> dict[str, Any]:
    """The type of a record with the vector in bytes, an id and a text."""
    texts = [{"name": name, "type": "string"} for name in ("id", "text")]
    return {**AVRO, "fields": [*avro_type("vector")["fields"], *texts]}


def avro_values(vectors: np.ndarray, *, lists: bool) -> list[bytes]:
    vector = "numbers" if lists else "vector"
    client = SchemaRegistryClient.new_client({"url": "mock://"})
    write = AvroSerializer(client, orjson.dumps(avro_type(vector)).decode())
    event = {"stream": STREAM, "at": datetime.fromtimestamp(NOON_MS / 1_000, UTC)}
    return [write({**event, vector: each.tolist() if lists else each.tobytes()}, CONTEXT) for each in vectors]


def protobuf_values(vectors: np.ndarray, *, lists: bool) -> list[bytes]:
    write = ProtobufSerializer(Embedded, SchemaRegistryClient.new_client({"url": "mock://"}))
    values = []
    for each in vectors:
        message = Embedded(stream=STREAM)
        message.at.FromMilliseconds(NOON_MS)
        if lists:
            message.numbers.extend(each)
        else:
            message.vector = each.tobytes()
        values.append(write(message, CONTEXT))
    return values


def text_file() -> descriptor_pb2.FileDescriptorProto:
    """The file of a message with a stream, a time, the vector in bytes, an id and a text."""
    file = descriptor_pb2.FileDescriptorProto(
        name="texts.proto",
        package="shop.search",
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )
    message = file.message_type.add(name="EmbeddedText")
    kinds = ("string", ".google.protobuf.Timestamp", "bytes", "string", "string")
    for number, (name, kind) in enumerate(
        zip(("stream", "at", "vector", "id", "text"), kinds, strict=True), 1
    ):
        add_field(message, name, number, kind)
    return file


def text_class() -> type[Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(text_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.search.EmbeddedText"))


def draw_texts(count: int) -> tuple[list[str], list[str]]:
    """Return ids of 1 to 9 digits, which are read, and texts of 5 to 80 characters, which are not."""
    random = np.random.default_rng(1)
    ids = [str(each) for each in random.integers(1, 10**8, count, endpoint=True)]
    return ids, ["x" * length for length in random.integers(5, 80, count, endpoint=True)]


def avro_text_values(vectors: np.ndarray) -> list[bytes]:
    client = SchemaRegistryClient.new_client({"url": "mock://"})
    write = AvroSerializer(client, orjson.dumps(avro_text_type()).decode())
    event = {"stream": STREAM, "at": datetime.fromtimestamp(NOON_MS / 1_000, UTC)}
    rows = zip(vectors, *draw_texts(len(vectors)), strict=True)
    return [
        write({**event, "vector": each.tobytes(), "id": event_id, "text": text}, CONTEXT)
        for each, event_id, text in rows
    ]


def protobuf_text_values(vectors: np.ndarray) -> list[bytes]:
    kind = text_class()
    write = ProtobufSerializer(kind, SchemaRegistryClient.new_client({"url": "mock://"}))
    values = []
    for each, event_id, text in zip(vectors, *draw_texts(len(vectors)), strict=True):
        message = kind(stream=STREAM, vector=each.tobytes(), id=event_id, text=text)
        message.at.FromMilliseconds(NOON_MS)
        values.append(write(message, CONTEXT))
    return values


def inference_values(vectors: np.ndarray, *, lists: bool) -> list[bytes]:
    values = []
    for each in vectors:
        response = response_class(model_name="encoder", id="0193")
        output = response.outputs.add(name="embedding", datatype="FP32", shape=[1, len(each)])
        if lists:
            output.contents.fp32_contents.extend(each)
        else:
            response.raw_output_contents.append(each.tobytes())
        values.append(response.SerializeToString())
    return values


def base64_values(vectors: np.ndarray) -> list[bytes]:
    return [
        orjson.dumps(
            {
                "stream": STREAM,
                "timestamp": NOON_MS,
                "embedding_b64": base64.b64encode(each.tobytes()).decode(),
            }
        )
        for each in vectors
    ]


def array_values(vectors: np.ndarray) -> list[bytes]:
    events = ({"stream": STREAM, "timestamp": NOON_MS, "embedding": each} for each in vectors)
    return [orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY) for event in events]


SCHEMAS = {
    "Avro": avro_schema(avro_type("vector")),
    "Avro, list": avro_schema(avro_type("numbers")),
    "Avro, id and text": avro_schema(avro_text_type()),
    **dict.fromkeys(["Protobuf", "Protobuf, list"], Schema(serialized(protobuf_file()))),
    "Protobuf, id and text": Schema(serialized(text_file())),
}


def to_records(topic: str, values: Iterable[bytes]) -> Records:
    """The records as a consumer hands them over."""
    stamp = TIMESTAMP_CREATE_TIME, NOON_MS
    raw = [
        Message(topic=topic, partition=0, offset=offset, value=value, timestamp=stamp)
        for offset, value in enumerate(values)
    ]
    return Records(
        raw=raw,
        partition=np.zeros(len(raw), np.int32),
        offset=np.arange(len(raw), dtype=np.int64),
        credible_ms=np.full(len(raw), NOON_MS, np.int64),
    )


def main() -> None:
    generator = np.random.default_rng(0)
    inputs = {name: InputSettings.model_validate(settings) for name, settings in INPUTS.items()}
    for dimension in (128, 512):
        vectors = generator.standard_normal((EVENTS, dimension), np.float32)
        values = {
            "base64": base64_values(vectors),
            "base64, mapped": base64_values(vectors),
            "JSON array": array_values(vectors),
            "JSON array, mapped": array_values(vectors),
            "bytes": [each.tobytes() for each in vectors],
            "Avro": avro_values(vectors, lists=False),
            "Avro, list": avro_values(vectors, lists=True),
            "Avro, id and text": avro_text_values(vectors),
            "Protobuf": protobuf_values(vectors, lists=False),
            "Protobuf, list": protobuf_values(vectors, lists=True),
            "Protobuf, id and text": protobuf_text_values(vectors),
            "inference, raw": inference_values(vectors, lists=False),
            "inference, list": inference_values(vectors, lists=True),
        }
        readers = {}
        for name, settings in inputs.items():
            schemas = Schemas()
            schemas.schemas = {1: SCHEMAS.get(name)}
            readers |= build_readers({name: settings}, schemas)
        contract = BaselineContract(STREAM, "first", dimension, None, DistanceMetric.EUCLIDEAN)
        # Each its own: after a text without an array, a decoder's parser of arrays skips some.
        decoders = {name: Decoder([contract], lead_ms=0, readers=readers) for name in values}
        records = {name: to_records(name, each) for name, each in values.items()}
        seconds: dict[str, list[float]] = {name: [] for name in records}
        for _ in range(REPEATS):
            for name, batch in records.items():
                start = time.process_time()
                decoded = decoders[name].decode(batch)
                seconds[name].append(time.process_time() - start)
                if sum(map(len, decoded.batches)) != EVENTS:
                    sys.exit(f"{name}: events were refused: {decoded.rejections[:1]}")
        sys.stdout.write(f"{dimension} numbers, us of processor time an event: median (minimum), ratio\n")
        first = statistics.median(next(iter(seconds.values()))) / EVENTS * 1e6
        for name, each in seconds.items():
            median, least = (value / EVENTS * 1e6 for value in (statistics.median(each), min(each)))
            sys.stdout.write(f"  {name:34} {median:7.2f} ({least:6.2f}) {median / first:6.2f}\n")


if __name__ == "__main__":
    # As in the service.
    with threadpool_limits(limits=1):
        main()
