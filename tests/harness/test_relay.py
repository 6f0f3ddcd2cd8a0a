"""What clients see through the relay: a delayed commit, and a coordinator that is slow and then busy."""

from contextlib import suppress

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from driftgauge.kafka import client
from tests.harness.cluster import Cluster
from tests.harness.relay import Relay
from tests.harness.topics import read
from tests.waiting import PATIENCE_S

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


CALL_S, BUSY_S = 2.0, 10.0


@pytest.mark.broker
def test_client_sees_slow_and_then_busy_coordinator(bootstrap: str) -> None:
    with Relay(bootstrap) as relay, Cluster(bootstrap) as cluster, cluster.member() as member:
        through = {**cluster.properties, "bootstrap.servers": relay.bootstrap}
        first, second = (
            client.transactional_producer(through, f"{cluster.group}.count", lambda _: None) for _ in range(2)
        )
        first.init_transactions(PATIENCE_S)
        slow = relay.slow_coordinator("count", busy_s=BUSY_S)
        first.begin_transaction()
        with pytest.raises(KafkaException) as held:
            first.send_offsets_to_transaction(cluster.at({0: 7}), member.consumer_group_metadata(), CALL_S)
        assert held.value.args[0].code() == KafkaError._TIMED_OUT
        with pytest.raises(KafkaException) as refused:
            second.init_transactions(CALL_S)
        assert refused.value.args[0].code() == KafkaError.CONCURRENT_TRANSACTIONS
        second.init_transactions(PATIENCE_S)
        assert slow.end(0.0), "the second producer was accepted"
        second.begin_transaction()
        second.send_offsets_to_transaction(cluster.at({0: 9}), member.consumer_group_metadata(), PATIENCE_S)
        second.commit_transaction(PATIENCE_S)
        assert cluster.committed() == {0: 9}
