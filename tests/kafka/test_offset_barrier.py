"""Tests of `driftgauge.kafka.offset_barrier`."""

import logging

import pytest
from confluent_kafka import KafkaError

from driftgauge.errors import AuthorizationError
from driftgauge.kafka.offset_barrier import CommittedOffsets, find_starts
from tests.kafka.fakes import OffsetConsumer
from tests.kafka.slow_admin import SlowAdmin

TOPIC = "embeddings"
GROUP = "driftgauge"
PARTITIONS = [(TOPIC, index) for index in range(4)]


def run(steps, clock, *, within=50, each=lambda: None):
    """Return the generator's result; the clock moves half a second per step. None if it does not end."""
    for _ in range(within):
        each()
        try:
            next(steps)
        except StopIteration as done:
            return done.value
        clock.advance(0.5)
    return None


class StartFinder:
    """Runs find_starts against committed offsets and logs, given by their beginnings and ends."""

    def __init__(self, clock, consumer, logs, ids=None):
        self.clock, self.consumer, self.logs = clock, consumer, logs
        self.admin = SlowAdmin()
        self.slow = set()
        self.offsets = CommittedOffsets(consumer, clock.clock, GROUP)
        self.ids = {TOPIC: "id-1"} if ids is None else ids
        self._answered = 0

    def find(self, partitions, within=50):
        steps = find_starts(partitions, self.offsets, self.admin, self.ids, self.clock.clock, self.slow)
        return run(steps, self.clock, within=within, each=self._answer)

    def _answer(self):
        for number, request in enumerate(self.admin.asked[self._answered :], self._answered):
            for at in request:
                log = self.logs.get(at.partition)
                if log is None:
                    self.admin.fail(number, (TOPIC, at.partition))
                else:
                    # Beginnings are requested before ends.
                    self.admin.answer(number, (TOPIC, at.partition), log[number % 2])
            self._answered = number + 1


def start(committed, position, **fields):
    return {"committed": committed, "position": position, "is_truncated": False, **fields}


@pytest.mark.parametrize(
    ("committed", "log", "expected", "logged"),
    [
        (
            {0: (40, "id-1")},
            (10, 90),
            start(40, 40, begins=False, lost=0, leader_epoch=5),
            None,
        ),
        ({}, (10, 90), start(10, 10, begins=True, lost=0, leader_epoch=-1), None),
        (
            {0: (40, "id-1")},
            (70, 90),
            start(40, 70, begins=False, lost=30, leader_epoch=-1),
            None,
        ),
        (
            {0: (40, "id-0")},
            (0, 90),
            start(0, 0, begins=True, lost=0, leader_epoch=-1),
            "the topic was deleted and created again; the new one is read from its beginning",
        ),
        (
            {0: (40, "id-1")},
            (0, 30),
            start(30, 30, begins=False, lost=0, leader_epoch=-1, is_truncated=True),
            "Kafka lost records",
        ),
    ],
    ids=["the committed offset", "no offset", "deleted records", "another topic's offset", "a truncated log"],
)
def test_start_follows_from_committed_offset_and_log(clock, caplog, committed, log, expected, logged):
    caplog.set_level(logging.ERROR)
    finder = StartFinder(clock, OffsetConsumer(committed), {0: log})
    found = finder.find(PARTITIONS[:1])[TOPIC, 0]
    assert {name: getattr(found, name) for name in expected} == expected
    assert [logged in record.getMessage() for record in caplog.records] == [True] * bool(logged)


@pytest.mark.parametrize(("metadata", "known"), [("id-1", ""), ("", "id-1")])
def test_unknown_topic_id_keeps_offset(clock, metadata, known):
    finder = StartFinder(clock, OffsetConsumer({0: (40, metadata)}), {0: (0, 90)}, {TOPIC: known})
    assert finder.find(PARTITIONS[:1])[TOPIC, 0].committed == 40


def test_partition_without_leader_does_not_delay_others(clock):
    finder = StartFinder(clock, OffsetConsumer({0: (1, ""), 1: (1, "")}), {0: (0, 9)})
    assert list(finder.find(PARTITIONS[:2])) == [(TOPIC, 0)]
    assert finder.slow == {(TOPIC, 1)}
    asked = len(finder.admin.asked)
    assert list(finder.find(PARTITIONS[:2])) == [(TOPIC, 0)]
    requests = [{at.partition for at in request} for request in finder.admin.asked[asked:]]
    assert {0, 1} not in requests, "the slow one is asked on its own"
    assert finder.find(PARTITIONS[1:2], within=5) is None
    finder.logs[1] = (0, 9)
    assert list(finder.find(PARTITIONS[1:2])) == [(TOPIC, 1)]


@pytest.mark.parametrize("pending", range(4))
def test_pending_offset_does_not_delay_other_partitions(clock, pending):
    consumer = OffsetConsumer({index: (index, "") for index in range(4)})
    consumer.pending = {pending}
    finder = StartFinder(clock, consumer, dict.fromkeys(range(4), (0, 9)))
    waiting, found = list(PARTITIONS), {}
    while len(waiting) > 1:
        answers = finder.find(waiting)
        found |= answers
        waiting = [partition for partition in waiting if partition not in answers]
    assert waiting == [(TOPIC, pending)]
    assert set(found) == set(PARTITIONS) - {(TOPIC, pending)}
    assert finder.find(waiting, within=10) is None
    consumer.pending = set()
    assert finder.find(waiting)[TOPIC, pending].committed == pending


def test_waiting_for_names_client_error(clock):
    consumer = OffsetConsumer({0: (1, "")})
    consumer.error = KafkaError.COORDINATOR_LOAD_IN_PROGRESS
    offsets = CommittedOffsets(consumer, clock.clock, GROUP)
    steps = offsets.fetch(PARTITIONS[:1])
    next(steps)
    assert offsets.waiting_for.startswith("the group's committed offsets (")
    consumer.error = None
    assert run(steps, clock)[TOPIC, 0].offset == 1


def test_fetch_without_right_raises_authorization_error(clock):
    consumer = OffsetConsumer({})
    consumer.error = KafkaError.GROUP_AUTHORIZATION_FAILED
    with pytest.raises(
        AuthorizationError,
        match=f"not allowed to read the committed offsets of the group {GROUP} .*; grant Read on the group",
    ):
        next(CommittedOffsets(consumer, clock.clock, GROUP).fetch(PARTITIONS[:1]))
