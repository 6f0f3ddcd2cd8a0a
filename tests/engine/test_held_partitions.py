"""Partitions of COUNT: where each starts, and what the client reads of it; the simulation shows the rest."""

import logging
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError

from driftgauge.engine.count.end_offsets import EndOffsets
from driftgauge.engine.count.held_partitions import HeldPartitions
from driftgauge.engine.count.topic_watch import EventsTopic
from driftgauge.errors import AuthorizationError
from driftgauge.events.outcomes import RecordLoss
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import ManualClock
from tests.builders.messages import TOPIC
from tests.engine.parts import GroupConsumer, QuickAdmin

FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)


class Group:
    """The partitions of a member whose group has committed offset 40 of both, in logs from 3 to 90.

    Attributes:
        known_s: When the topic was last known to be there.
    """

    def __init__(self):
        self.clock, self.admin, self.known_s = ManualClock(), QuickAdmin(3, 90), float("inf")
        self.topics = Mock(known={TOPIC: EventsTopic("id-1", 2)})
        self.topics.is_known_since.side_effect = lambda _, since_s: self.known_s >= since_s
        self.committed = {0: (40, "id-1"), 1: (40, "id-1")}
        self.consumer = GroupConsumer(self.committed)
        self.telemetry = Mock(spec=RoleTelemetry)
        self.held = HeldPartitions(
            self.topics,
            group="driftgauge",
            consumer=self.consumer,
            admin=self.admin,
            telemetry=self.telemetry,
            clock=self.clock.clock,
        )

    def step(self, times=5):
        """Return the partitions that start, in several steps."""
        started = []
        for _ in range(times):
            started += self.held.step()
            self.clock.advance(0.1)
        return sorted(source.partition for source in started)

    def start(self):
        """Return the first partition, which starts."""
        self.held.assign([FIRST])
        assert self.step() == [FIRST]
        return self.held.find(FIRST)

    def commit_to(self, position):
        """Read all records of the first partition up to a position, and commit it."""
        first = self.held.find(FIRST)
        first.read(first.position, position, records=position - first.position)
        first.commit()


@pytest.fixture
def group():
    return Group()


def test_records_count_once_topic_is_known_since_client_was_given_position(group):
    """It may have been created again, and the client be given a position of the new log."""
    group.known_s = group.clock.monotonic_s
    group.held.assign([FIRST])
    group.clock.advance(0.1)
    assert group.step() == [FIRST]
    for _ in range(2):
        assert group.held.reading == []
        group.known_s = group.clock.monotonic_s
        group.step()
        assert group.held.reading == group.held.started
        # What a pause has held back is given to the client again.
        group.held.pause(group.held.reading)
        group.clock.advance(1)
        group.step()
    assert group.consumer.sought == [(*FIRST, 40, 5)] * 2


@pytest.mark.parametrize("told", [{}, {0: (30, "id-1")}], ids=["nothing", "older"])
@pytest.mark.parametrize("heals", [True, False])
def test_partition_begins_again_no_earlier_than_it_has_committed(group, caplog, told, heals):
    """A coordinator that has loaded a part of its log tells older offsets, or none."""
    group.held.assign([FIRST, SECOND])
    group.step()
    group.commit_to(60)
    del group.committed[0]
    group.committed.update(told)
    group.held.begin_again()
    assert group.step(90) == [SECOND], "it does not hold up the others"
    if heals:
        group.committed[0] = (60, "id-1")
    assert group.step(30) == [FIRST]
    assert group.held.find(FIRST).committed == (60 if heals else told.get(0, (3,))[0])
    assert ("went back" in caplog.text) == (not heals)


def test_offset_set_by_hand_and_that_of_another_topic_are_believed(group):
    group.start()
    group.commit_to(60)
    group.held.release([FIRST])
    assert group.start().committed == 40, "nobody may set it while the group has members"
    group.commit_to(60)
    group.topics.known[TOPIC] = EventsTopic("id-2", 2)
    del group.committed[0]
    group.held.begin_again()
    assert group.step() == [FIRST]
    assert group.held.find(FIRST).begins


@pytest.mark.parametrize(
    ("end", "committed", "loss"), [(30, 30, None), (None, 40, RecordLoss(1, 40, is_truncated=True))]
)
def test_truncated_log_is_read_on_from_its_end_or_marked(group, end, committed, loss):
    group.start()
    group.held.lose_positions({FIRST: end})
    assert group.step() == [FIRST]
    first = group.held.find(FIRST)
    # With the former epoch, the client would find the same truncation again.
    assert (first.committed, first.position, first.leader_epoch) == (committed, committed, -1)
    assert first.loss == loss


def test_partition_is_caught_up_to_the_time_of_a_request_for_its_end(group):
    first, asked_ms = group.start(), group.clock.wall_ms
    ends = EndOffsets(group.held, group.admin, group.clock.clock, interval_ms=1_000)
    before = len(group.admin.asked)
    for _ in range(2):
        ends.poll()
        group.clock.advance(0.4)
    assert first.caught_up_ms is None
    first.read(40, 90, records=50)
    assert first.caught_up_ms == asked_ms
    for requests in (1, 2):
        ends.poll()
        assert len(group.admin.asked) == before + requests
        group.clock.advance(0.2)
    group.held.begin_again()
    group.step()
    ends.poll()
    assert group.held.find(FIRST).end is None, "the answer came for the partition as it was before"


def start(committed, position, **fields):
    return {"committed": committed, "position": position, "loss": None, "leader_epoch": -1, **fields}


@pytest.mark.parametrize(
    ("committed", "log", "expected", "logged"),
    [
        ((40, "id-1"), (10, 90), start(40, 40, begins=False, leader_epoch=5), None),
        ((-1001, ""), (10, 90), start(10, 10, begins=True), None),
        ((40, "id-1"), (70, 90), start(40, 70, begins=False, loss=RecordLoss(30, 40)), None),
        (
            (40, "id-0"),
            (0, 90),
            start(0, 0, begins=True),
            "the topic was deleted and created again; the new one is read from its beginning",
        ),
        (
            (40, "id-1"),
            (0, 30),
            start(30, 30, begins=False, loss=RecordLoss(1, 30, is_truncated=True)),
            "Kafka lost records",
        ),
        # Brokers before 2.8 give topics no id.
        ((40, ""), (0, 90), start(40, 40, begins=False, leader_epoch=5), None),
    ],
    ids=[
        "the committed offset",
        "no offset",
        "deleted records",
        "another topic's offset",
        "a truncated log",
        "no id",
    ],
)
def test_start_follows_from_committed_offset_and_log(group, caplog, committed, log, expected, logged):
    caplog.set_level(logging.ERROR)
    group.committed |= {0: committed}
    group.admin.begin, group.admin.end = log
    found = group.start()
    assert {name: getattr(found, name) for name in expected} == expected
    assert [logged in record.getMessage() for record in caplog.records] == [True] * bool(logged)


def test_partition_waits_while_group_does_not_answer_and_says_why(group):
    group.held.assign([FIRST])
    group.consumer.error = KafkaError.COORDINATOR_LOAD_IN_PROGRESS
    assert group.step() == []
    _, waiting_for, _ = group.telemetry.start_waits.call_args.args
    assert waiting_for.startswith("the group's committed offsets (")
    group.consumer.error = None
    assert group.step(9) == [FIRST]
    group.held.begin_again()
    group.consumer.error = KafkaError.GROUP_AUTHORIZATION_FAILED
    with pytest.raises(
        AuthorizationError,
        match=r"not allowed to read the committed offsets of the group driftgauge .*; grant Read on",
    ):
        group.step()
