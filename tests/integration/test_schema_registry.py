"""Events in Avro and Protobuf behind a real schema registry, which goes away and comes back."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.events.golden_encodings import embedded_class, schema_text
from tests.harness.case import HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.harness.fixtures import running
from tests.harness.registry import Registry
from tests.harness.service import ReplicaProcess

pytestmark = pytest.mark.broker

EVENTS = 200
MAPPING = {"stream": "stream", "timestamp": "at", "embedding": "vector"}
# An id that no registry has given.
UNKNOWN_ID = 2_000_000_000
# A later version of the schema, which has an id of its own.
DEVICE = '{"name": "device", "type": "string", "default": "phone"}'
LATER_SCHEMA = f"{schema_text().rpartition(']')[0].rstrip()},\n{DEVICE}]}}"
EMBEDDED = embedded_class()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running(Registry) as registry:
        yield registry


def serialize(write: Any, topic: str, values: list[Any]) -> list[bytes]:
    context = SerializationContext(topic, MessageField.VALUE)
    return [bytes(write(value, context)) for value in values]


def avro_document(event: SourceEvent) -> dict[str, object]:
    at = datetime.fromtimestamp(event.time_ms / 1_000, UTC)
    return {"stream": event.stream, "at": at, "vector": event.vector.tobytes(), "country": None}


def protobuf_message(event: SourceEvent) -> Any:
    message = EMBEDDED(stream=event.stream, vector=event.vector.tobytes())
    message.at.FromMilliseconds(event.time_ms)
    return message


def waiting(service: ReplicaProcess) -> int:
    return int(service.scrape().total("driftgauge_blocked_partitions", reason="schema"))


def test_only_partitions_that_need_a_new_schema_wait_for_registry(
    tmp_path: Path, bootstrap: str, registry: Registry
) -> None:
    topics = of_avro, of_protobuf = f"{tmp_path.name}.avro", f"{tmp_path.name}.protobuf"
    inputs = {topic: {"encoding": topic.rpartition(".")[2], **MAPPING} for topic in topics}
    settings = {"inputs": inputs, "schema_registry": {"url": registry.url}}
    case = Case(tmp_path, bootstrap, partitions=2, further_topics=topics, settings=settings)
    for topic in topics:
        case.create(topic, 2)
    events = make_events("alpha", EVENTS, start_ms=START_MS, span_ms=HOUR_MS, seed=1)
    documents, messages = [*map(avro_document, events)], [*map(protobuf_message, events)]
    with closing(SchemaRegistryClient({"url": registry.url})) as client:
        avro = serialize(AvroSerializer(client, schema_text()), of_avro, documents)
        new = serialize(AvroSerializer(client, LATER_SCHEMA), of_avro, documents)
        protobuf = serialize(ProtobufSerializer(EMBEDDED, client), of_protobuf, messages)
    assert new[0][:5] != avro[0][:5]
    unknown = b"\0" + UNKNOWN_ID.to_bytes(4, "big") + avro[0][5:]
    with case.ready() as service:
        case.publish(events)
        for partition in (0, 1):
            case.send(*avro, topic=of_avro, partition=partition)
            case.send(*protobuf, topic=of_protobuf, partition=partition)
        service.wait_for("both encodings to be counted", lambda: service.counted() == 5 * EVENTS)
        assert waiting(service) == 0

        # The registry answers for an id that it never gave: a dead letter, after a few seconds.
        case.send(unknown, *avro, topic=of_avro, partition=1)
        service.wait_for("the records after an unknown id", lambda: service.counted() == 6 * EVENTS)
        service.wait_for(
            "the dead letter", lambda: [each.value() for each in case.dead_letters()] == [unknown]
        )

        registry.stop()
        case.send(*new, *avro, topic=of_avro, partition=0)
        case.send(*avro, topic=of_avro, partition=1)
        case.send(*protobuf, topic=of_protobuf, partition=0)
        case.publish(events)
        service.wait_for("all other partitions to be counted", lambda: service.counted() == 9 * EVENTS)
        service.wait_for("one partition to wait", lambda: waiting(service) == 1)
        service.wait_for_log("the schema registry gives no schemas; the partitions that need them wait")
        assert service.counted() == 9 * EVENTS
        assert service.is_ready()

        registry.start()
        service.wait_for("the waiting partition to be counted", lambda: service.counted() == 11 * EVENTS)
        service.wait_for("no partition to wait", lambda: waiting(service) == 0)
        assert len(case.dead_letters()) == 1
