"""The encodings of the benchmark of inputs: how values hold a vector, and how the service reads them."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from tests.events.golden_encodings import embedded_class, schema_text

STREAM = "bench"

Write = Callable[[np.ndarray, int], bytes]
"""Returns a record's value, given a float32 vector and its event time in ms."""


@dataclass(frozen=True)
class Encoding:
    """An encoding of events.

    Attributes:
        make_write: Returns what writes a record's value; it registers the schema of a topic, if it needs one.
        settings: The service's settings of a topic in this encoding; None: its own contract.
    """

    make_write: Callable[[SchemaRegistryClient, str], Write]
    settings: dict[str, object] | None = None


def _plain(write: Write) -> Callable[[object, str], Write]:
    return lambda *_: write


def _write_json(vector: np.ndarray, time_ms: int) -> bytes:
    event = {"stream": STREAM, "timestamp": time_ms, "embedding": vector}
    return orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY)


def _write_base64(vector: np.ndarray, time_ms: int) -> bytes:
    text = b64encode(vector.tobytes()).decode()
    return orjson.dumps({"stream": STREAM, "timestamp": time_ms, "embedding_b64": text})


def _framed(serialize: Any, topic: str, build: Callable[[np.ndarray, int], object]) -> Write:
    """Return what frames values as Confluent's serializers do."""
    context = SerializationContext(topic, MessageField.VALUE)
    return lambda vector, time_ms: bytes(serialize(build(vector, time_ms), context))


def _avro(client: SchemaRegistryClient, topic: str) -> Write:
    def build(vector: np.ndarray, time_ms: int) -> object:
        at = datetime.fromtimestamp(time_ms / 1_000, UTC)
        return {"stream": STREAM, "at": at, "vector": vector.tobytes(), "country": None}

    return _framed(AvroSerializer(client, schema_text()), topic, build)


def _protobuf(client: SchemaRegistryClient, topic: str) -> Write:
    embedded = embedded_class()

    def build(vector: np.ndarray, time_ms: int) -> object:
        message = embedded(stream=STREAM, vector=vector.tobytes())
        message.at.FromMilliseconds(time_ms)
        return message

    return _framed(ProtobufSerializer(embedded, client), topic, build)


_FIELDS = {"stream": "stream", "timestamp": "at", "embedding": "vector"}
ENCODINGS = {
    "json": Encoding(_plain(_write_json)),
    "base64": Encoding(_plain(_write_base64)),
    "bytes": Encoding(
        _plain(lambda vector, _: vector.tobytes()),
        {
            "encoding": "bytes",
            "stream": {"constant": STREAM},
            "timestamp": {"record": "timestamp"},
            "embedding": {"record": "value"},
        },
    ),
    "avro": Encoding(_avro, {"encoding": "avro", **_FIELDS}),
    "protobuf": Encoding(_protobuf, {"encoding": "protobuf", **_FIELDS}),
}
