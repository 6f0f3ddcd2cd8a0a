"""The sender of heartbeats: when it sends, and what becomes of those that are not delivered."""

import logging
import os
import socket
from contextlib import contextmanager

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from deploy.demo.broker import EmbeddedBroker

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.engine import heartbeats
from driftgauge.engine.heartbeats import HeartbeatSender, name_replica
from driftgauge.kafka import client
from driftgauge.kafka.login import Login
from driftgauge.records.heartbeat import Numbers, decode_heartbeat
from tests.builders.telemetry import build_telemetry
from tests.waiting import wait_for

TOPIC = "g.heartbeats"


@contextmanager
def sending(monkeypatch, activity, bootstrap="unused"):
    monkeypatch.setattr(heartbeats, "INTERVAL_S", 0.05)
    monkeypatch.setattr(heartbeats, "_RETRY_S", 0.05)
    login = Login({"bootstrap.servers": bootstrap})
    sender = HeartbeatSender(login, TOPIC, "replica-0", activity, SYSTEM_CLOCK)
    sender.start()
    try:
        yield
    finally:
        sender.stop()


@pytest.mark.parametrize(
    ("configured", "name"), [(None, "dg-0:7"), ("dg-0", "dg-0:7"), ("blue", "blue on dg-0:7")]
)
def test_name_of_a_replica_is_its_own(monkeypatch, configured, name):
    monkeypatch.setattr(socket, "gethostname", lambda: "dg-0")
    monkeypatch.setattr(os, "getpid", lambda: 7)
    assert name_replica(configured) == name


def read(numbers):
    added = Numbers()
    added.read["embeddings"] = numbers
    return added


def test_heartbeats_begin_once_the_topic_is_there(monkeypatch):
    activity = build_telemetry().activity
    activity.add(read(7))
    with EmbeddedBroker([]) as broker, sending(monkeypatch, activity, broker.bootstrap):
        properties = {"bootstrap.servers": broker.bootstrap}
        metadata = Producer(properties).list_topics
        assert TOPIC not in metadata(timeout=60).topics
        metadata(TOPIC, timeout=60)  # which creates it
        consumer = Consumer({**properties, "group.id": "unused"})
        consumer.assign([TopicPartition(TOPIC, index, OFFSET_BEGINNING) for index in range(4)])
        found = wait_for("two heartbeats", lambda: len(got := consumer.consume(2, 1.0)) == 2 and got)
        consumer.close()
    assert {record.key() for record in found} == {b"replica-0"}
    first, second = sorted(
        (decode_heartbeat(record.value()) for record in found), key=lambda each: not each.read
    )
    assert (first.roles, first.read, second.read) == (("count", "windows"), {"embeddings": 7}, {})


class RefusingProducer:
    """A producer of a topic whose leader takes nothing, refuses, or takes all, in this order.

    Attributes:
        values: What the leader has taken.
    """

    def __init__(self):
        self.outcomes = ["silent", "refused", "taken"]
        self.values = []
        self._waiting = []

    def list_topics(self, timeout):
        return type("Metadata", (), {"topics": {TOPIC: None}})

    def produce(self, topic, value, key, on_delivery):
        self._waiting.append((value, on_delivery))

    def flush(self, timeout):
        outcome = self.outcomes[0]
        if outcome != "silent":
            self._deliver(KafkaError(KafkaError.NOT_ENOUGH_REPLICAS) if outcome == "refused" else None)
        return len(self._waiting)

    def purge(self):
        self._deliver(KafkaError(KafkaError._PURGE_QUEUE))

    def _deliver(self, error):
        for value, on_delivery in self._waiting:
            on_delivery(error, None)
            if error is None:
                self.values.append(value)
        self._waiting = []
        self.outcomes = self.outcomes[1:] or ["taken"]


def test_what_is_not_delivered_is_in_the_next_heartbeat(monkeypatch, caplog):
    producer = RefusingProducer()
    monkeypatch.setattr(client, "producer", lambda _: producer)
    activity = build_telemetry().activity
    activity.add(read(7))
    with caplog.at_level(logging.WARNING), sending(monkeypatch, activity):
        wait_for("two heartbeats", lambda: len(producer.values) >= 2)
    assert [decode_heartbeat(value).read for value in producer.values[:2]] == [{"embeddings": 7}, {}]
    assert len([each for each in caplog.records if "heartbeats are not delivered" in each.message]) == 1
