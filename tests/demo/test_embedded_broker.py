"""Tests of `deploy.demo.embedded_broker`."""

import socket
from contextlib import suppress

import pytest
from confluent_kafka import OFFSET_INVALID, TopicPartition

from driftgauge.kafka import client
from tests.harness.demo import EmbeddedBroker
from tests.waiting import wait_for

PATIENCE_S = 120.0


class ReadingMember:
    """A member of a group that reads all partitions given to it from their beginning."""

    def __init__(self, broker, topic):
        quick = {
            "bootstrap.servers": broker.bootstrap,
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 300,
        }
        self.consumer = client.consumer(quick, "g")
        self.held = set()
        self.values = []
        self.consumer.subscribe([topic], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke)

    def read(self):
        self.values += [each.value() for each in self.consumer.consume(100, 0.1) if each.error() is None]

    def _assign(self, consumer, partitions):
        consumer.incremental_assign([TopicPartition(each.topic, each.partition, 0) for each in partitions])
        self.held |= {each.partition for each in partitions}

    def _revoke(self, consumer, partitions):
        consumer.incremental_unassign(partitions)
        self.held -= {each.partition for each in partitions}


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


def read_until(condition, *members):
    def is_met():
        for member in members:
            member.read()
        return condition()

    wait_for(lambda: f"members that hold {[member.held for member in members]}", is_met, within_s=PATIENCE_S)


@pytest.mark.stack
def test_rebalance_shares_partitions_and_keeps_assigned_ones(events):
    broker, _ = events
    first = ReadingMember(broker, "events")
    read_until(lambda: len(first.held) == 4, first)
    second = ReadingMember(broker, "events")
    read_until(lambda: len(first.held) == len(second.held) == 2, first, second)
    assert first.held | second.held == {0, 1, 2, 3}
    kept = set(first.held)
    second.consumer.close()
    read_until(lambda: len(first.held) == 4, first)
    assert kept <= first.held
    first.consumer.close()


def test_group_reads_events_and_broker_discards_transactional_offsets(events):
    broker, values = events
    member = ReadingMember(broker, "events")
    read_until(lambda: len(member.values) >= len(values), member)
    assert sorted(member.values) == values
    producer = client.transactional_producer({"bootstrap.servers": broker.bootstrap}, "id", lambda _: None)
    producer.init_transactions(PATIENCE_S)
    producer.begin_transaction()
    metadata = member.consumer.consumer_group_metadata()
    producer.send_offsets_to_transaction([TopicPartition("events", 0, 7)], metadata, PATIENCE_S)
    producer.commit_transaction(PATIENCE_S)
    (answer,) = member.consumer.committed([TopicPartition("events", 0)], timeout=PATIENCE_S)
    assert answer.offset == OFFSET_INVALID
    member.consumer.close()


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
