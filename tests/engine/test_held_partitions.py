"""Partitions of COUNT: where each starts, its progress and losses, and what the client reads of it."""

import logging
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError, TopicPartition

from driftgauge.engine.count.end_offsets import EndOffsets
from driftgauge.engine.count.held_partitions import HeldPartitions
from driftgauge.engine.count.source_partition import SourcePartition
from driftgauge.engine.count.topic_watch import EventsTopic
from driftgauge.engine.offset_barrier import CommittedOffsets, find_starts
from driftgauge.errors import AuthorizationError
from driftgauge.events.outcomes import RecordLoss
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import ManualClock
from tests.engine.fakes import GroupConsumer, OffsetConsumer, QuickAdmin
from tests.kafka.slow_admin import SlowAdmin

TOPIC = "embeddings"
FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)


class KnownTopics:
    """The part of the topic watch that held partitions use."""

    def __init__(self):
        self.known = {TOPIC: EventsTopic("id-1", 2)}
        self.known_s = float("inf")

    def is_known_since(self, topic, since_s):
        return topic in self.known and self.known_s >= since_s


class Group:
    """The partitions of a member whose group has committed offset 40 of both, in logs from 3 to 90."""

    def __init__(self):
        self.clock, self.topics, self.admin = ManualClock(), KnownTopics(), QuickAdmin(3, 90)
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

    def given(self):
        """Return what the client was given and what was taken from it since the last call."""
        log, self.consumer.log[:] = list(self.consumer.log), []
        return [(call, sorted(partitions, key=lambda each: each[:2])) for call, partitions in log]


@pytest.fixture
def group():
    return Group()


def test_records_count_once_topic_is_known_since_client_was_given_position(group):
    """It may have been created again, and the client be given a position of the new log."""
    group.topics.known_s = group.clock.monotonic_s
    group.held.assign([FIRST])
    group.clock.advance(0.1)
    assert group.step() == [FIRST]
    for _ in range(2):
        assert group.held.reading == []
        group.topics.known_s = group.clock.monotonic_s
        group.step()
        assert group.held.reading == group.held.started
        # What a pause has held back is given to the client again.
        group.held.pause(group.held.reading)
        group.clock.advance(1)
        group.step()
    assert group.consumer.sought == [(*FIRST, 40, 5)] * 2


@pytest.mark.parametrize("epoch", [3, -1])
def test_paused_partitions_are_read_again_where_they_stopped(group, epoch):
    group.held.assign([FIRST, SECOND])
    group.step()
    first, second = (group.held.find(each) for each in (FIRST, SECOND))
    assert [each.partitions for each in group.held.progress({TOPIC: 7}).values()] == [7, 7]
    first.read(40, 44, records=4)
    first.leader_epoch = epoch
    group.held.pause([first])
    group.clock.advance(0.6)
    group.held.pause([second])
    group.given()
    group.step(5)
    # The client's own type shows an unknown epoch as None.
    at = (*FIRST, 44, 3 if epoch == 3 else None)
    assert (group.given(), group.consumer.sought[-1]) == ([("assign", [at])], at)
    assert group.held.reading == [first]
    assert (first.awaits_schema, second.awaits_schema) == (True, True), "no record has been read since"
    first.read(44, 44, records=0)
    assert first.awaits_schema, "the end of the log is no record"
    first.read(44, 45, records=1)
    assert not first.awaits_schema
    group.held.release([SECOND])
    group.clock.advance(5)
    group.step()
    assert group.given() == []


@pytest.mark.parametrize("told", [{}, {0: (30, "id-1")}], ids=["nothing", "older"])
@pytest.mark.parametrize("heals", [True, False])
def test_partition_begins_again_no_earlier_than_it_has_committed(group, caplog, told, heals):
    """A coordinator that has loaded a part of its log tells older offsets, or none."""
    group.held.assign([FIRST, SECOND])
    group.step()
    read_to(group.held.find(FIRST), 60)
    group.held.find(FIRST).commit()
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
    group.held.assign([FIRST])
    group.step()
    read_to(group.held.find(FIRST), 60)
    group.held.find(FIRST).commit()
    group.held.release([FIRST])
    group.held.assign([FIRST])
    assert group.step() == [FIRST]
    assert group.held.find(FIRST).committed == 40, "nobody may set it while the group has members"
    group.topics.known[TOPIC] = EventsTopic("id-2", 2)
    del group.committed[0]
    group.held.begin_again()
    assert group.step() == [FIRST]
    assert group.held.find(FIRST).begins


def begin(committed=0, *, lost=0, begins=False, leader_epoch=-1, now_ms=1_000):
    return SourcePartition(
        FIRST, "id", committed, committed + lost, now_ms, begins, lost, leader_epoch=leader_epoch
    )


def read_to(source, position):
    """Read all records up to a position."""
    source.read(source.position, position, records=max(position - source.position, 0))


def test_progress_and_loss_cover_what_follows_the_last_commit():
    source = begin(880, lost=120, begins=True, leader_epoch=3)
    assert (source.start().offset, source.start().leader_epoch) == (1_000, 3)
    read_to(source, 1_060)
    first = source.progress(4)
    assert (first.start, first.end, first.lost, first.begins) == (880, 1_060, 120, True)
    assert (first.topic_id, first.partitions, first.since_ms, first.caught_up_ms) == ("id", 4, 1_000, None)
    assert source.loss == RecordLoss(120, 880)
    assert source.loss.last == 999
    source.commit()
    again = source.progress(4)
    assert (again.start, again.end, again.lost, again.begins) == (1_060, 1_060, 0, False)
    assert source.loss is None


def test_known_truncation_resumes_at_its_offset():
    source = begin(300, leader_epoch=3)
    source.resume_after_truncation(200)
    assert (source.committed, source.position, source.missing) == (200, 200, 0)
    assert source.progress(1).start == 200
    assert source.leader_epoch == -1


def test_partition_is_caught_up_to_the_time_of_a_request_for_its_end(admin, clock):
    source = begin(now_ms=clock.wall_ms)
    held = SimpleNamespace(started=[source], find={FIRST: source}.get)
    ends = EndOffsets(held, admin, clock.clock, interval_ms=1_000)
    first_ms = clock.wall_ms
    ends.poll()
    admin.answer(0, FIRST, 0)
    clock.advance(0.9)
    ends.poll()
    assert source.caught_up_ms == first_ms
    assert len(admin.asked) == 1, "one request in each interval"
    clock.advance(0.1)
    second_ms = clock.wall_ms
    ends.poll()
    admin.answer(1, FIRST, 5)
    clock.advance(1)
    ends.poll()
    assert (source.caught_up_ms, source.end, len(admin.asked)) == (first_ms, 5, 2), "behind the last end"
    read_to(source, 5)
    assert source.caught_up_ms == second_ms
    clock.advance(1)
    ends.poll()
    again = begin(5, now_ms=clock.wall_ms)
    held.started, held.find = [again], {FIRST: again}.get
    admin.answer(2, FIRST, 9)
    ends.poll()
    assert again.end is None, "the answer came for the partition as it was before"


GROUP = "driftgauge"
PARTITIONS = [(TOPIC, index) for index in range(4)]


def run(steps, clock, each=lambda: None):
    """Return the generator's result; the clock moves half a second per step."""
    for _ in range(50):
        each()
        try:
            next(steps)
        except StopIteration as done:
            return done.value
        clock.advance(0.5)
    return None


def find(clock, committed, log, topic_id="id-1"):
    """Return the start of the first partition, of a log given by its beginning and end."""
    admin = SlowAdmin()
    offsets = CommittedOffsets(OffsetConsumer(committed), clock.clock, GROUP)
    steps = find_starts(PARTITIONS[:1], offsets, admin, {TOPIC: topic_id}, clock.clock, set(), {})

    def answer():
        # The beginning is requested before the end.
        for number, answers in enumerate(admin.asked):
            if not answers[TopicPartition(*PARTITIONS[0])].done():
                admin.answer(number, PARTITIONS[0], log[number])

    return run(steps, clock, answer)[PARTITIONS[0]]


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
    found = find(clock, committed, log)
    assert {name: getattr(found, name) for name in expected} == expected
    assert [logged in record.getMessage() for record in caplog.records] == [True] * bool(logged)


@pytest.mark.parametrize(("metadata", "known"), [("id-1", ""), ("", "id-1")])
def test_unknown_topic_id_keeps_offset(clock, metadata, known):
    assert find(clock, {0: (40, metadata)}, (0, 90), known).committed == 40


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
