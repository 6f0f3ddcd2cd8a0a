"""Events in Avro and Protobuf behind a real schema registry, which goes away and comes back."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.events.golden_encodings import embedded_class, schema_text
from tests.harness.case import DIMENSION, HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.harness.fixtures import running
from tests.harness.registry import Registry
from tests.harness.service import ReplicaProcess

pytestmark = pytest.mark.broker

EVENTS = 200
MAPPING = {"stream": "stream", "timestamp": "at", "embedding": "vector"}
# An id that no registry has given.
UNKNOWN_ID = 2_000_000_000


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running(Registry) as registry:
        yield registry


class Topics:
    """A topic of each encoding, with two partitions each, and the serializers of confluent-kafka."""

    def __init__(self, folder: Path, bootstrap: str, registry: Registry) -> None:
        self.case = Case(folder, bootstrap, partitions=None)
        name = self.case.name
        self.avro, self.protobuf = f"{name}.avro", f"{name}.protobuf"
        self.case.further_topics = [self.avro, self.protobuf]
        for topic in (self.case.events_topic, *self.case.further_topics):
            self.case.create(topic, 2)
        self.case.settings = {
            "inputs": {
                self.avro: {"encoding": "avro", **MAPPING},
                self.protobuf: {"encoding": "protobuf", **MAPPING},
            },
            "schema_registry": {"url": registry.url},
        }
        self.case.write_config()
        self.client = SchemaRegistryClient({"url": registry.url})
        self._producer = self.case.producer()
        self._message_class = embedded_class()
        self._write_avro = AvroSerializer(self.client, schema_text())
        self._write_protobuf = ProtobufSerializer(self._message_class, self.client)

    def new_avro_serializer(self) -> AvroSerializer:
        """Return the serializer of a later version of the schema, which has an id of its own."""
        field = '{"name": "device", "type": "string", "default": "phone"}'
        head, _, tail = schema_text().rpartition("]\n}")
        return AvroSerializer(self.client, f"{head.rstrip()},\n{field}{']' + chr(10) + '}'}{tail}")

    def avro_value(self, event: SourceEvent, write: AvroSerializer | None = None) -> bytes:
        value = {
            "stream": event.stream,
            "at": datetime.fromtimestamp(event.time_ms / 1_000, UTC),
            "vector": event.vector.tobytes(),
            "country": None,
        }
        return self._serialize(write or self._write_avro, value, self.avro)

    def protobuf_value(self, event: SourceEvent) -> bytes:
        message = self._message_class(stream=event.stream, vector=event.vector.tobytes())
        message.at.FromMilliseconds(event.time_ms)
        return self._serialize(self._write_protobuf, message, self.protobuf)

    def produce(self, topic: str, values: Sequence[bytes], partition: int) -> None:
        for value in values:
            self._producer.produce(topic, value, partition=partition)
        assert self._producer.flush(30) == 0

    @staticmethod
    def _serialize(write: Any, value: Any, topic: str) -> bytes:
        return bytes(write(value, SerializationContext(topic, MessageField.VALUE)))


@pytest.fixture
def topics(tmp_path: Path, bootstrap: str, registry: Registry) -> Iterator[Topics]:
    topics = Topics(tmp_path, bootstrap, registry)
    yield topics
    topics.client.close()


def waiting(service: ReplicaProcess) -> int:
    return int(service.scrape().total("driftgauge_blocked_partitions", reason="schema"))


def test_only_partitions_that_need_a_new_schema_wait_for_registry(topics: Topics, registry: Registry) -> None:
    case = topics.case
    events = make_events("alpha", EVENTS, start_ms=START_MS, span_ms=HOUR_MS, seed=1)
    avro = [topics.avro_value(event) for event in events]
    protobuf = [topics.protobuf_value(event) for event in events]
    write_new = topics.new_avro_serializer()
    new = [topics.avro_value(event, write_new) for event in events]
    assert new[0][:5] != avro[0][:5]
    vector = np.zeros(DIMENSION, np.float32)
    unknown = (
        b"\0" + UNKNOWN_ID.to_bytes(4, "big") + topics.avro_value(SourceEvent("alpha", START_MS, vector))[5:]
    )

    with case.serving() as service:
        service.wait_until_ready()
        case.publish(events)
        for partition in (0, 1):
            topics.produce(topics.avro, avro, partition)
            topics.produce(topics.protobuf, protobuf, partition)
        counted = 5 * EVENTS
        service.wait_for("both encodings to be counted", lambda: service.counted() == counted)
        assert waiting(service) == 0

        # The registry answers for an id that it never gave: a dead letter, after a few seconds.
        topics.produce(topics.avro, [unknown, *avro], 1)
        counted += EVENTS
        service.wait_for("the records after an unknown id", lambda: service.counted() == counted)
        service.wait_for("the dead letter", lambda: len(case.dead_letters()) == 1)
        (letter,) = case.dead_letters()
        assert letter.value() == unknown
        detail = dict(letter.headers() or [])["driftgauge.detail"]
        assert detail == f"value: schema {UNKNOWN_ID} is unknown to the schema registry".encode()

        registry.stop()
        topics.produce(topics.avro, [*new, *avro], 0)
        topics.produce(topics.avro, avro, 1)
        topics.produce(topics.protobuf, protobuf, 0)
        case.publish(events)
        counted += 3 * EVENTS
        service.wait_for("all other partitions to be counted", lambda: service.counted() == counted)
        service.wait_for("one partition to wait", lambda: waiting(service) == 1)
        service.wait_for(
            "the outage to be logged",
            lambda: bool(
                service.logged("the schema registry gives no schemas; the partitions that need them wait")
            ),
        )
        assert service.counted() == counted
        assert service.is_ready()

        registry.start()
        counted += 2 * EVENTS
        service.wait_for("the waiting partition to be counted", lambda: service.counted() == counted)
        service.wait_for("no partition to wait", lambda: waiting(service) == 0)
        assert len(case.dead_letters()) == 1
