"""What the simulation promises of brokers and clients is what they do: the same tests on both."""

from contextlib import contextmanager, suppress
from functools import partial
from random import Random
from uuid import uuid4

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicCollection, TopicPartition

from driftgauge.errors import TransactionFailed
from driftgauge.kafka import client
from driftgauge.kafka.intake import sort_messages
from driftgauge.kafka.shared_admin import SharedAdmin
from tests.builders.clocks import MONDAY_MS
from tests.harness.closing import close
from tests.harness.cluster import Cluster
from tests.harness.relay import Relay
from tests.simulation.kafka import SimulatedAdmin, SimulatedConsumer, SimulatedKafka, SimulatedTransaction

BOUND_S = 10.0


class Simulated:
    """The part of a `Cluster` that the tests use, simulated."""

    events, windows, group = "events", "windows", "group"

    def __init__(self):
        self.kafka = SimulatedKafka(MONDAY_MS, Random(1))
        self.kafka.create(self.events, 2)
        self.kafka.create(self.windows, 1)
        self.shared_admin = SharedAdmin(lambda: SimulatedAdmin(self.kafka), self.kafka.clock())

    def consumer(self, group):
        return SimulatedConsumer(self.kafka, group)

    def close(self, consumer):
        consumer.close()

    def transaction(self, name=None):
        transaction = SimulatedTransaction(self.kafka, name or uuid4().hex, self.group, self.kafka.clock())
        transaction.start(BOUND_S)
        return transaction

    @contextmanager
    def cut_off(self, transaction):
        transaction.outcome = "unanswered"
        yield

    def publish(self, *values):
        for value in values:
            self.kafka.logs[self.events, 0].append(self.kafka.now_ms, value=value)

    def delete_records(self, topic, partition, before):
        self.kafka.logs[topic, partition].delete(before)

    def recreate(self, topic):
        self.kafka.create(topic, 1)

    def await_that(self, is_met, condition):
        for _ in range(100):
            if is_met():
                return
            self.kafka.advance(0.1)
        pytest.fail(condition)

    offsets = Cluster.offsets


class Real(Cluster):
    """A cluster with what the simulation has besides; transactions reach it through a relay."""

    def __init__(self, bootstrap, relay):
        super().__init__(bootstrap)
        self.relay = relay

    def transaction(self, name=None, **properties):
        return super().transaction(name, **{"bootstrap.servers": self.relay.bootstrap}, **properties)

    @contextmanager
    def cut_off(self, transaction):
        """Let nothing reach the brokers meanwhile."""
        self.relay.cut()
        yield
        self.relay.reconnect()

    def consumer(self, group):
        return (
            client.consumer(self.properties, group) if group else client.groupless_consumer(self.properties)
        )

    def close(self, consumer):
        close(consumer, "the consumer of a test")

    def recreate(self, topic):
        self.delete(topic)
        self.create(topic, 1)


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.broker)])
def cluster(request):
    if request.param == "simulated":
        yield Simulated()
    else:
        bootstrap = request.getfixturevalue("bootstrap")
        with Relay(bootstrap) as relay, Real(bootstrap, relay) as real:
            yield real


class Member:
    """A member of the group that notes what it is told, and polls."""

    def __init__(self, cluster):
        self.told = []
        self.owned = set()
        self.consumer = cluster.consumer(cluster.group)
        self.consumer.subscribe(
            [cluster.events],
            **{name: partial(self._note, name) for name in ("on_assign", "on_revoke", "on_lost")},
        )

    def _note(self, name, consumer, partitions):
        if name == "on_assign":
            consumer.incremental_assign([])
        else:
            consumer.incremental_unassign([])
        named = {each.partition for each in partitions}
        self.told += [(name, named)] if named else []
        self.owned = self.owned | named if name == "on_assign" else self.owned - named

    def owns(self, *partitions):
        self.consumer.consume(1, 0.05)
        return self.owned == {*partitions}


@contextmanager
def joined(cluster, *partitions):
    """Yield a member that owns partitions."""
    member = Member(cluster)
    try:
        cluster.await_that(lambda: member.owns(*partitions), f"{partitions} to be assigned")
        yield member
    finally:
        cluster.close(member.consumer)


class Reader:
    """Reads a partition from an offset."""

    def __init__(self, cluster, topic, offset=OFFSET_BEGINNING):
        self._cluster = cluster
        self.consumer = cluster.consumer("")
        self.consumer.incremental_assign([TopicPartition(topic, 0, offset)])

    def read(self, is_over):
        """Return values, ends and lost positions in their order, until they are enough."""
        found = []

        def is_read():
            polled = sort_messages(self.consumer.consume(100, 0.05))
            found.extend(message.value() for message in polled.records)
            found.extend(polled.ends.values())
            found.extend("lost" for _ in polled.lost_positions)
            return is_over(found)

        self._cluster.await_that(is_read, f"a partition to be read: {found}")
        return found


def read(cluster, topic, *, has_open=False):
    """Return the values of a partition, and its end, once all that is decided can be read."""
    if not has_open:
        at = topic, 0
        cluster.await_that(lambda: cluster.offsets([at]) == cluster.offsets([at], stable=True), "the markers")
    reader = Reader(cluster, topic)
    try:
        return reader.read(lambda found: found and isinstance(found[-1], int))
    finally:
        cluster.close(reader.consumer)


def produce(cluster, transaction, *values):
    with suppress(RuntimeError):
        transaction.begin(BOUND_S)
    for value in values:
        assert transaction.produce(cluster.windows, 0, b"key", value)


def begun(cluster, member, *values, name=None):
    """Return a transaction of the member that has produced values."""
    transaction = cluster.transaction(name)
    transaction.bind(member.consumer)
    produce(cluster, transaction, *values)
    return transaction


def commit(cluster, transaction, offset):
    transaction.commit([TopicPartition(cluster.events, 0, offset)], BOUND_S)


def test_commit_shows_records_and_offsets_together(cluster):
    transaction = cluster.transaction()
    produce(cluster, transaction, b"dropped")
    transaction.abort(BOUND_S)
    with joined(cluster, 0, 1) as member:
        transaction.bind(member.consumer)
        produce(cluster, transaction, b"one", b"two")
        transaction.commit([TopicPartition(cluster.events, 0, 7, "so far", 3)], BOUND_S)
        asked = [TopicPartition(cluster.events, partition) for partition in (0, 1)]
        first, second = member.consumer.committed(asked, timeout=BOUND_S)
    *values, end = read(cluster, cluster.windows)
    # Markers take offsets; of what is aborted, the client may have sent nothing, or the marker alone.
    assert (values, 3 <= end <= 5) == ([b"one", b"two"], True)
    assert (first.offset, first.metadata, first.leader_epoch) == (7, "so far", 3)
    assert (second.offset, second.error) == (-1001, None)
    assert not transaction.needs_producer


def test_readers_stop_at_first_open_transaction(cluster):
    at = cluster.windows, 0
    with joined(cluster, 0, 1) as member:
        first = begun(cluster, member, b"of it")
        cluster.await_that(lambda: cluster.offsets([at])[at] == 1, "the first record")
        second = begun(cluster, member, b"of it")
        cluster.await_that(lambda: cluster.offsets([at])[at] == 2, "the records")
        commit(cluster, second, 7)
        cluster.await_that(lambda: cluster.offsets([at]) == {at: 3}, "the marker")
        assert cluster.offsets([at], stable=True) == {at: 0}
        assert read(cluster, cluster.windows, has_open=True) == [0]
        first.abort(BOUND_S)
        assert read(cluster, cluster.windows) == [b"of it", 4]


def test_successor_of_same_id_ends_transaction_and_fences(cluster):
    with joined(cluster, 0, 1) as member:
        first, second = (
            begun(cluster, member, value, name="name-" + cluster.group) for value in (b"left open", b"kept")
        )
        commit(cluster, second, 7)
        with pytest.raises(TransactionFailed) as lost:
            commit(cluster, first, 8)
        assert (lost.value.is_fenced, first.needs_producer) == (True, True)
        (answer,) = member.consumer.committed([TopicPartition(cluster.events, 0)], timeout=BOUND_S)
        assert answer.offset == 7
    assert read(cluster, cluster.windows)[0] == b"kept"


def test_producer_settles_commit_that_was_not_answered(cluster):
    at = cluster.windows, 0
    with joined(cluster, 0, 1) as member:
        transaction = begun(cluster, member, b"undecided")
        cluster.await_that(lambda: cluster.offsets([at])[at] > 0, "the record")
        # The brokers have the record, and the commit does not reach them in time.
        with cluster.cut_off(transaction), pytest.raises(TransactionFailed) as lost:
            transaction.commit([], 2.0)
        assert (lost.value.is_fenced, transaction.needs_producer) == (False, True)
        transaction.start(BOUND_S)
        produce(cluster, transaction, b"decided")
        transaction.commit([], BOUND_S)
    *values, _ = read(cluster, cluster.windows)
    # The client may have sent the commit again before its successor began.
    assert values in ([b"decided"], [b"undecided", b"decided"])


def test_who_has_left_group_commits_nothing(cluster):
    with joined(cluster, 0, 1) as member:
        transaction = begun(cluster, member, b"of a stale owner")
        member.consumer.unsubscribe()

        def has_left():
            member.consumer.consume(1, 0.05)
            return not member.consumer.memberid()

        cluster.await_that(has_left, "the member to leave")
        with pytest.raises(TransactionFailed):
            commit(cluster, transaction, 7)
        assert not transaction.needs_producer
    assert len(read(cluster, cluster.windows)) == 1


def test_partition_moves_once_its_owner_has_given_it_up(cluster):
    with joined(cluster, 0, 1) as member:
        assert member.told == [("on_assign", {0, 1})]
        other = Member(cluster)
        owned = []

        def has_moved():
            owned.append((frozenset(member.owned), frozenset(other.owned)))
            return member.owns(*member.owned) and other.owns(*other.owned) and len(other.owned) == 1

        cluster.await_that(has_moved, "a partition to move")
        assert all(not mine & theirs for mine, theirs in owned)
        # It may have come back once before the other member had it.
        assert member.told[-1] == ("on_revoke", other.owned)
        cluster.close(other.consumer)
        cluster.await_that(lambda: member.owns(0, 1), "the partition to come back")


def test_end_is_reported_each_time_it_is_reached(cluster):
    cluster.publish(b"one", b"two")
    reader = Reader(cluster, cluster.events)
    assert reader.read(lambda found: 2 in found) == [b"one", b"two", 2]
    cluster.publish(b"three")
    assert reader.read(lambda found: 3 in found) == [b"three", 3]
    cluster.close(reader.consumer)


@pytest.mark.parametrize("offset", [1, 9])
def test_position_that_log_does_not_hold_is_reported_once(cluster, offset):
    cluster.publish(*[b"value"] * 5)
    cluster.delete_records(cluster.events, 0, 3)
    at = cluster.events, 0
    assert cluster.offsets([at], earliest=True) == {at: 3}
    reader = Reader(cluster, cluster.events, offset)
    polls = iter(range(10))
    assert reader.read(lambda found: "lost" in found and next(polls, None) is None) == ["lost"]
    reader.consumer.incremental_unassign([TopicPartition(cluster.events, 0)])
    reader.consumer.incremental_assign([TopicPartition(cluster.events, 0, 3)])
    assert reader.read(lambda found: 5 in found) == [b"value", b"value", 5]
    cluster.close(reader.consumer)


def test_topic_created_again_has_another_id_and_an_empty_log(cluster):
    def topic_id():
        asked = cluster.shared_admin.client.describe_topics(
            TopicCollection([cluster.windows]), request_timeout=5
        )
        cluster.await_that(asked[cluster.windows].done, "the topic")
        return str(asked[cluster.windows].result().topic_id)

    transaction = cluster.transaction()
    produce(cluster, transaction, b"of the former")
    transaction.abort(BOUND_S)
    former = topic_id()
    cluster.recreate(cluster.windows)
    assert topic_id() != former
    assert read(cluster, cluster.windows) == [0]
