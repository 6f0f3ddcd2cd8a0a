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
    """A producer of a topic that is missing; then its leader takes nothing, refuses, or takes all.

    Attributes:
        values: What the leader has taken.
    """

    def __init__(self):
        self.outcomes = ["missing", "silent", "refused", "taken"]
        self.values = []
        self._waiting = []

    def list_topics(self, timeout):
        is_missing = self.outcomes[0] == "missing"
        self.outcomes = self.outcomes[is_missing:]
        return SimpleNamespace(topics={} if is_missing else {TOPIC: None})

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
