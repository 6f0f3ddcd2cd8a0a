"""The states of COUNT's partitions, and what the client reads in each."""

from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError

from driftgauge.core.counting.interval import ShardDelta
from driftgauge.core.counting.partial import StreamTime
from driftgauge.kafka.held_partitions import HeldPartitions
from driftgauge.kafka.topic_watch import EventsTopic
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import ManualClock
from tests.kafka.fakes import GroupConsumer, QuickAdmin

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


def test_partition_waits_until_its_topic_is_known_since_assignment(group):
    group.topics.known_s = group.clock.monotonic_s - 1
    group.held.assign([FIRST])
    assert group.step() == []
    assert group.consumer.asked == [], "no offset is fetched before the topic id is known"
    group.topics.known_s = group.clock.monotonic_s
    assert group.step() == [FIRST]
    assert group.given() == [("assign", [(*FIRST, 40, 5)])]


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


def test_offset_that_is_pending_is_waited_for(group):
    group.consumer.pending = {0}
    group.held.assign([FIRST])
    assert group.step() == []
    assert group.telemetry.restore_waits.call_args.args[0] == [FIRST]
    assert (list(group.held), group.held.started, group.given()) == ([FIRST], [], [])


def test_partition_assigned_again_needs_a_new_answer(group):
    group.held.assign([FIRST])
    group.step(1)
    group.held.release([FIRST])
    # Another member commits before the partition returns.
    group.committed[0] = (60, "id-1")
    group.held.assign([FIRST])
    assert group.step() == [FIRST]
    assert group.held.find(FIRST).position == 60


def test_partition_keeps_its_code(group):
    group.held.assign([FIRST, SECOND])
    group.step()
    codes = dict(group.held.codes)
    assert {code: each for each, code in codes.items()} == group.held.names
    group.given()
    group.held.release([FIRST, ("other", 0)])
    assert group.given() == [("unassign", [FIRST])]
    assert group.held.find(FIRST) is None
    group.held.assign([FIRST])
    group.step()
    assert group.held.codes == codes


@pytest.mark.parametrize("epoch", [3, -1])
def test_paused_partitions_are_read_again_where_they_stopped(group, epoch):
    group.held.assign([FIRST, SECOND])
    group.step()
    first, second = (group.held.find(each) for each in (FIRST, SECOND))
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


def test_lost_position_continues_at_the_truncation(group):
    group.held.assign([FIRST, SECOND])
    group.step()
    group.given()
    group.held.lose_positions({FIRST: 20, SECOND: None, ("other", 0): None})
    assert group.given() == [("unassign", [FIRST, SECOND])]
    assert list(group.held) == [FIRST, SECOND]
    # What is pending stays so, with the truncation.
    group.held.begin_again()
    group.step()
    assert group.given() == [("assign", [(*FIRST, 20, None), (*SECOND, 40, None)])]
    assert [group.held.find(each).missing for each in (FIRST, SECOND)] == [0, 1]


def test_truncation_is_past_where_retention_deleted_the_position(group):
    group.held.assign([FIRST])
    group.step()
    group.admin.begin = 50
    group.held.lose_positions({FIRST: 20})
    group.step()
    source = group.held.find(FIRST)
    assert (source.committed, source.position, source.missing) == (40, 50, 10)


def test_progress_of_shards_differs_in_streams_only(group):
    group.held.assign([FIRST, SECOND])
    group.step()
    first, second = (group.held.find(each) for each in (FIRST, SECOND))
    first.read(40, 60, records=20)
    known = group.held.progress({TOPIC: 2})
    alone = [first.progress(2), second.progress(2)]
    assert list(known.values()) == alone
    times = {group.held.codes[SECOND]: {"images": StreamTime(newest_ms=3, read_ms=2, first_ms=1)}}
    by_partition = ShardDelta(times=times).progress(known)
    assert [each.streams for each in by_partition] == [{}, *times.values()]
    assert ShardDelta().progress(known) == alone, "a shard gets nothing of another's streams"


def test_recreated_topic_is_read_from_its_beginning_whatever_was_truncated(group):
    group.held.assign([FIRST])
    group.step()
    group.topics.known[TOPIC] = EventsTopic("id-2", 2)
    group.held.lose_positions({FIRST: 20})
    group.step()
    source = group.held.find(FIRST)
    assert (source.topic_id, source.position, source.begins, source.missing) == ("id-2", 3, True, 0)


def test_client_validates_a_position_once_it_lets(group):
    group.held.assign([FIRST])
    group.consumer.seek_error = KafkaError._STATE
    group.step()
    # What comes before that may follow records that were never given, so it is read again.
    assert (group.consumer.sought, group.held.reading) == ([], [])
    group.consumer.seek_error = None
    group.step()
    assert group.consumer.sought == [(*FIRST, 40, 5)]
    assert group.held.reading == group.held.started
