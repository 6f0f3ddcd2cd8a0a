"""Tests of `deploy.demo.embedded_broker`."""

import socket
from contextlib import suppress

import pytest
from confluent_kafka import OFFSET_INVALID, TopicPartition

from driftgauge.kafka import client
from tests.harness.demo import EmbeddedBroker
from tests.waiting import wait_for

PATIENCE_S = 120.0


@pytest.fixture
def events():
    """A broker with 200 events; and what they are."""
    with EmbeddedBroker(["events"]) as broker:
        producer = client.producer({"bootstrap.servers": broker.bootstrap})
        values = [b"%03d" % number for number in range(200)]
        for value in values:
            producer.produce("events", value)
        assert producer.flush(PATIENCE_S) == 0
        yield broker, values


def test_group_reads_events_and_broker_discards_transactional_offsets(events):
    broker, values = events
    consumer, read = client.consumer({"bootstrap.servers": broker.bootstrap}, "g"), []
    consumer.subscribe(
        ["events"],
        on_assign=lambda _, partitions: consumer.incremental_assign(
            [TopicPartition(each.topic, each.partition, 0) for each in partitions]
        ),
    )

    def has_read_all():
        read.extend(each.value() for each in consumer.consume(100, 0.1) if each.error() is None)
        return len(read) >= len(values)

    wait_for("the events to be read", has_read_all, within_s=PATIENCE_S)
    assert sorted(read) == values
    producer = client.transactional_producer({"bootstrap.servers": broker.bootstrap}, "id", lambda _: None)
    producer.init_transactions(PATIENCE_S)
    producer.begin_transaction()
    metadata = consumer.consumer_group_metadata()
    producer.send_offsets_to_transaction([TopicPartition("events", 0, 7)], metadata, PATIENCE_S)
    producer.commit_transaction(PATIENCE_S)
    (answer,) = consumer.committed([TopicPartition("events", 0)], timeout=PATIENCE_S)
    assert answer.offset == OFFSET_INVALID
    consumer.close()


def answers(broker):
    host, port = broker.bootstrap.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
    except ConnectionRefusedError:
        return False
    return True


def test_brokers_are_isolated_silent_on_loopback_and_stop_with_their_context(capfd):
    with suppress(LookupError), EmbeddedBroker(["here"]) as one, EmbeddedBroker(["a", "b"]) as two:
        assert one.bootstrap != two.bootstrap
        assert answers(one)
        metadata = client.admin({"bootstrap.servers": two.bootstrap}).list_topics(timeout=PATIENCE_S)
        assert {name: len(topic.partitions) for name, topic in metadata.topics.items()} == {"a": 4, "b": 4}
        assert {server.host for server in metadata.brokers.values()} == {"127.0.0.1"}
        raise LookupError
    assert not answers(one)
    assert not answers(two)
    assert capfd.readouterr() == ("", "")
