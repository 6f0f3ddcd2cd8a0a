import logging

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from driftgauge.errors import AuthorizationError
from driftgauge.kafka.offset_barrier import CommittedOffsets, Start, find_starts
from tests.kafka.parts import StandingClock
from tests.kafka.slow_admin import SlowAdmin

TOPIC = "embeddings"
PARTITIONS = [(TOPIC, index) for index in range(4)]


class Group:
    """A consumer that knows a group's offsets, of which some hang in a transaction."""

    def __init__(self, offsets):
        self.offsets = offsets
        self.hanging = set()
        self.error = None
        self.asked = []

    def committed(self, asked, *, timeout):
        self.asked.append([each.partition for each in asked])
        if self.error is not None:
            raise KafkaException(KafkaError(self.error))
        if self.hanging & {each.partition for each in asked}:
            # So the client answers: for none of them.
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [self._answer(each) for each in asked]

    def _answer(self, asked):
        offset, metadata = self.offsets.get(asked.partition, (OFFSET_INVALID, ""))
        return TopicPartition(asked.topic, asked.partition, offset, metadata, 5)


@pytest.fixture
def clock():
    return StandingClock()


def run(steps, clock, *, within=50, each=lambda: None):
    """What a generator returns, half a second passing at each step."""
    for _ in range(within):
        each()
        try:
            next(steps)
        except StopIteration as done:
            return done.value
        clock.move(0.5)
    return None


class Cluster:
    """Asks find_starts about some partitions, and answers for where their logs begin and end."""

    def __init__(self, clock, group, logs, ids=None):
        self.clock, self.group, self.logs = clock, group, logs
        self.admin = SlowAdmin()
        self.offsets = CommittedOffsets(group, clock.clock)
        self.ids = {TOPIC: "id-1"} if ids is None else ids
        self._answered = 0

    def find(self, partitions, within=50):
        steps = find_starts(partitions, self.offsets, self.admin, self.ids, self.clock.clock)
        return run(steps, self.clock, within=within, each=self._answer)

    def _answer(self):
        for number, request in enumerate(self.admin.asked[self._answered :], self._answered):
            for at in request:
                log = self.logs.get(at.partition)
                if log is None:
                    self.admin.fail(number, (TOPIC, at.partition))
                else:
                    # Begins are asked for before ends.
                    self.admin.answer(number, (TOPIC, at.partition), log[number % 2])
            self._answered = number + 1


def test_reading_goes_on_from_the_committed_offset(clock):
    cluster = Cluster(clock, Group({0: (40, "id-1")}), {0: (10, 90)})
    assert cluster.find(PARTITIONS[:1]) == {(TOPIC, 0): Start(40, 40, begins=False, lost=0, leader_epoch=5)}


def test_without_an_offset_reading_begins_where_the_log_does(clock):
    cluster = Cluster(clock, Group({}), {0: (10, 90)})
    assert cluster.find(PARTITIONS[:1]) == {(TOPIC, 0): Start(10, 10, begins=True, lost=0, leader_epoch=-1)}


def test_records_that_were_deleted_are_a_number_and_no_gap(clock):
    cluster = Cluster(clock, Group({0: (40, "id-1")}), {0: (70, 90)})
    assert cluster.find(PARTITIONS[:1]) == {(TOPIC, 0): Start(40, 70, begins=False, lost=30, leader_epoch=-1)}


def test_the_offset_of_another_topic_of_the_name_means_nothing(clock, caplog):
    caplog.set_level(logging.ERROR)
    cluster = Cluster(clock, Group({0: (40, "id-0")}), {0: (0, 90)})
    assert cluster.find(PARTITIONS[:1]) == {(TOPIC, 0): Start(0, 0, begins=True, lost=0, leader_epoch=-1)}
    assert [record.getMessage() for record in caplog.records] == [
        "the topic was deleted and created again; the new one is read from its beginning"
    ]


@pytest.mark.parametrize(("metadata", "known"), [("id-1", ""), ("", "id-1")])
def test_where_no_id_is_told_the_topic_is_taken_for_the_same(clock, metadata, known):
    cluster = Cluster(clock, Group({0: (40, metadata)}), {0: (0, 90)}, {TOPIC: known})
    assert cluster.find(PARTITIONS[:1])[TOPIC, 0].committed == 40


def test_a_log_that_ends_before_the_offset_is_read_from_its_end_and_said(clock, caplog):
    caplog.set_level(logging.ERROR)
    cluster = Cluster(clock, Group({0: (40, "id-1")}), {0: (0, 30)})
    assert cluster.find(PARTITIONS[:1]) == {
        (TOPIC, 0): Start(30, 30, begins=False, lost=0, leader_epoch=-1, is_truncated=True)
    }
    assert "Kafka lost records" in caplog.records[0].getMessage()


def test_a_partition_without_a_leader_holds_up_no_other(clock):
    cluster = Cluster(clock, Group({0: (1, ""), 1: (1, "")}), {0: (0, 9)})
    assert list(cluster.find(PARTITIONS[:2])) == [(TOPIC, 0)]
    assert cluster.find(PARTITIONS[1:2], within=5) is None
    cluster.logs[1] = (0, 9)
    assert list(cluster.find(PARTITIONS[1:2])) == [(TOPIC, 1)]


@pytest.mark.parametrize("hanging", range(4))
def test_an_offset_that_hangs_holds_up_no_other(clock, hanging):
    group = Group({index: (index, "") for index in range(4)})
    group.hanging = {hanging}
    cluster = Cluster(clock, group, dict.fromkeys(range(4), (0, 9)))
    waiting, found = list(PARTITIONS), {}
    while len(waiting) > 1:
        answers = cluster.find(waiting)
        found |= answers
        waiting = [partition for partition in waiting if partition not in answers]
    assert waiting == [(TOPIC, hanging)]
    assert set(found) == set(PARTITIONS) - {(TOPIC, hanging)}
    assert cluster.find(waiting, within=10) is None
    group.hanging = set()
    assert cluster.find(waiting)[TOPIC, hanging].committed == hanging


def test_what_is_waited_for_is_named(clock):
    group = Group({0: (1, "")})
    group.error = KafkaError.COORDINATOR_LOAD_IN_PROGRESS
    offsets = CommittedOffsets(group, clock.clock)
    steps = offsets.fetch(PARTITIONS[:1])
    next(steps)
    assert offsets.waiting_for.startswith("the group's committed offsets (")
    group.error = None
    assert run(steps, clock)[TOPIC, 0].offset == 1


def test_it_is_asked_twice_a_second_at_most(clock):
    group = Group({0: (1, "")})
    group.hanging = {0}
    steps = CommittedOffsets(group, clock.clock).fetch(PARTITIONS[:1])
    for _ in range(10):
        next(steps)
    assert len(group.asked) == 1
    clock.move(0.5)
    next(steps)
    assert len(group.asked) == 2


def test_what_must_not_be_asked_is_the_operators_to_mend(clock):
    group = Group({})
    group.error = KafkaError.GROUP_AUTHORIZATION_FAILED
    with pytest.raises(AuthorizationError, match="check the client's rights"):
        next(CommittedOffsets(group, clock.clock).fetch(PARTITIONS[:1]))
