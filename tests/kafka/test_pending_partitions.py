"""Partitions that wait for their topic, or for an offset that is pending."""

from unittest.mock import Mock

import pytest

from driftgauge.kafka.pending_partitions import PendingPartitions
from driftgauge.kafka.topic_watch import EventsTopic
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import ManualClock
from tests.kafka.fakes import OffsetConsumer
from tests.kafka.slow_admin import SlowAdmin

TOPIC = "embeddings"
FIRST = (TOPIC, 0)


class KnownTopics:
    """The part of the topic watch that pending partitions use."""

    def __init__(self):
        self.known = {TOPIC: EventsTopic("id-1", 2)}
        self.known_s = float("inf")

    def is_known_since(self, topic, since_s):
        return topic in self.known and self.known_s >= since_s


class Barrier:
    """Pending partitions whose logs begin at offset 3 and end at 90, once a test makes them answer."""

    def __init__(self):
        self.clock, self.admin, self.topics = ManualClock(), SlowAdmin(), KnownTopics()
        self.consumer = OffsetConsumer({0: (40, "id-1")})
        self.telemetry = Mock(spec=RoleTelemetry)
        self.pending = PendingPartitions(
            self.topics,
            group="driftgauge",
            consumer=self.consumer,
            admin=self.admin,
            telemetry=self.telemetry,
            clock=self.clock.clock,
        )

    def poll(self, times=5):
        for _ in range(times):
            starts = self.pending.poll()
            if starts:
                return starts
            for number, request in enumerate(self.admin.asked):
                for at, answer in request.items():
                    if not answer.done():
                        # Beginnings are requested before ends.
                        self.admin.answer(number, (TOPIC, at.partition), (3, 90)[number % 2])
            self.clock.advance(0.5)
        return {}


@pytest.fixture
def barrier():
    return Barrier()


def test_partition_waits_until_its_topic_is_known_since_assignment(barrier):
    barrier.topics.known_s = barrier.clock.monotonic_s - 1
    barrier.pending.add([FIRST])
    assert barrier.poll() == {}
    assert barrier.consumer.asked == [], "no offset is fetched before the topic id is known"
    barrier.topics.known_s = barrier.clock.monotonic_s
    assert barrier.poll().keys() == {FIRST}


def test_pending_offset_is_reported_as_waiting(barrier):
    barrier.consumer.pending = {0}
    barrier.pending.add([FIRST])
    assert barrier.poll() == {}
    assert barrier.telemetry.restore_waits.call_args.args[0] == [FIRST]
    assert list(barrier.pending) == [FIRST]
