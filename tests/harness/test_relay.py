"""A delayed commit splits the next transaction, unless a new producer runs it."""

from contextlib import suppress

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.harness.relay import Relay
from tests.harness.topics import read

pytestmark = pytest.mark.broker

TIMEOUT_S = 20.0
PARTITIONS = 3


def producer_of(relay: Relay, name: str) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": relay.bootstrap,
            "transactional.id": name,
            "reconnect.backoff.max.ms": 200,
            "metadata.recovery.strategy": "none",
            "log_level": 0,
        }
    )
    producer.init_transactions(TIMEOUT_S)
    return producer


@pytest.mark.parametrize("is_replaced", [False, True])
def test_delayed_commit_splits_next_transaction_of_same_producer(bootstrap: str, is_replaced: bool) -> None:
    topic = f"late-commit-{is_replaced}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS)])[topic].result(TIMEOUT_S)
    with Relay(bootstrap) as relay:
        producer = producer_of(relay, topic)
        held = relay.hold_next_commit()
        producer.begin_transaction()
        produce(producer, topic, "first")
        producer.commit_transaction(TIMEOUT_S)
        assert held.transactional_id == topic
        if is_replaced:
            producer = producer_of(relay, topic)
        producer.begin_transaction()
        with suppress(KafkaException):
            produce(producer, topic, "second")
        assert held.wait_until_delivered()
        with suppress(KafkaException):
            producer.abort_transaction(TIMEOUT_S)
    values = [message.value() for message in read(bootstrap, topic, within_s=TIMEOUT_S)]
    assert values.count(b"first") == PARTITIONS
    assert (values.count(b"second") > 0) != is_replaced, "records of the aborted transaction"


def produce(producer: Producer, topic: str, value: str) -> None:
    for partition in range(PARTITIONS):
        producer.produce(topic, value, partition=partition)
        producer.flush(TIMEOUT_S)
