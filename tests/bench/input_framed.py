"""The encodings of the throughput benchmark that need a schema registry; only the service reads these."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from tests.bench.input_values import STREAM
from tests.events.golden_encodings import embedded_class, schema_text

Write = Callable[[np.ndarray, int], bytes]


@dataclass(frozen=True)
class FramedEncoding:
    """An encoding with the vector in a field of bytes, framed as Confluent's serializers frame it.

    Attributes:
        make_write: Registers the schema of a topic and returns what writes a record's value.
        settings: The service's settings of a topic in this encoding.
    """

    make_write: Callable[[SchemaRegistryClient, str], Write]
    settings: dict[str, object]


def _avro(client: SchemaRegistryClient, topic: str) -> Write:
    serialize = AvroSerializer(client, schema_text())
    context = SerializationContext(topic, MessageField.VALUE)

    def write(vector: np.ndarray, time_ms: int) -> bytes:
        at = datetime.fromtimestamp(time_ms / 1_000, UTC)
        event = {"stream": STREAM, "at": at, "vector": vector.tobytes(), "country": None}
        return bytes(serialize(event, context))

    return write


def _protobuf(client: SchemaRegistryClient, topic: str) -> Write:
    embedded = embedded_class()
    serialize = ProtobufSerializer(embedded, client)
    context = SerializationContext(topic, MessageField.VALUE)

    def write(vector: np.ndarray, time_ms: int) -> bytes:
        message = embedded(stream=STREAM, vector=vector.tobytes())
        message.at.FromMilliseconds(time_ms)
        return bytes(serialize(message, context))

    return write


_FIELDS = {"stream": "stream", "timestamp": "at", "embedding": "vector"}
FRAMED = {
    "avro": FramedEncoding(_avro, {"encoding": "avro", **_FIELDS}),
    "protobuf": FramedEncoding(_protobuf, {"encoding": "protobuf", **_FIELDS}),
}
