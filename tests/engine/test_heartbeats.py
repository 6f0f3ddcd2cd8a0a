"""The sender of heartbeats: when it sends, and what becomes of those that are not delivered."""

import os
import socket
from collections import Counter
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.engine import heartbeats
from driftgauge.engine.heartbeats import HeartbeatSender, name_replica
from driftgauge.kafka import client
from driftgauge.kafka.login import Login
from driftgauge.records.heartbeat import Numbers, decode_heartbeat
from tests.builders.telemetry import build_telemetry
from tests.waiting import wait_for

TOPIC = "g.heartbeats"


@pytest.mark.parametrize(
    ("configured", "name"), [(None, "dg-0:7"), ("dg-0", "dg-0:7"), ("blue", "blue on dg-0:7")]
)
def test_name_of_a_replica_is_its_own(monkeypatch, configured, name):
    monkeypatch.setattr(socket, "gethostname", lambda: "dg-0")
    monkeypatch.setattr(os, "getpid", lambda: 7)
    assert name_replica(configured) == name


class RefusingProducer:
    """A producer of a topic that is missing; then its leader takes nothing, refuses, and takes all.

    Attributes:
        values: What the leader has taken.
    """

    def __init__(self):
        self._topics = iter([{}])
        self._outcomes = ["silent", KafkaError(KafkaError.NOT_ENOUGH_REPLICAS)]
        self._waiting, self.values = [], []

    def list_topics(self, timeout):
        return SimpleNamespace(topics=next(self._topics, {TOPIC: None}))

    def produce(self, topic, value, key, on_delivery):
        self._waiting.append((value, on_delivery))

    def flush(self, timeout):
        outcome = self._outcomes.pop(0) if self._outcomes else None
        while self._waiting and not isinstance(outcome, str):
            value, on_delivery = self._waiting.pop(0)
            on_delivery(outcome, None)
            self.values += [value] if outcome is None else []
        return len(self._waiting)

    def purge(self):
        self._outcomes.insert(0, KafkaError(KafkaError._PURGE_QUEUE))


def test_what_is_not_delivered_is_in_the_next_heartbeat(monkeypatch, caplog):
    producer, activity = RefusingProducer(), build_telemetry().activity
    monkeypatch.setattr(client, "producer", lambda _: producer)
    monkeypatch.setattr(heartbeats, "INTERVAL_S", 0.05)
    monkeypatch.setattr(heartbeats, "_RETRY_S", 0.05)
    activity.add(Numbers(read=Counter(embeddings=7)))
    sender = HeartbeatSender(Login({}), TOPIC, "replica-0", activity, SYSTEM_CLOCK)
    sender.start()
    try:
        wait_for("two heartbeats", lambda: len(producer.values) >= 2)
    finally:
        sender.stop()
    first, second = (decode_heartbeat(value) for value in producer.values[:2])
    assert (first.roles, first.read, second.read) == (("count", "windows"), {"embeddings": 7}, {})
    assert {each.replica for each in (first, second)} == {"replica-0"}
    assert len([each for each in caplog.records if "heartbeats are not delivered" in each.message]) == 1
