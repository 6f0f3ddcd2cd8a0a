"""Transactions on a real broker: atomic commits, fencing, stale owners, outages."""

import os
import threading
import time
from contextlib import suppress

import pytest
from confluent_kafka import TopicPartition

from driftgauge.errors import ClientLost, TransactionAborted
from driftgauge.kafka import calls, client
from driftgauge.kafka import transaction as transaction_module
from driftgauge.kafka.transaction import State
from tests.harness.closing import close
from tests.harness.cluster import Cluster

pytestmark = pytest.mark.broker

BOUND_S = 5.0
SAME_NAME = "another process uses this replica's name"


@pytest.fixture
def cluster(bootstrap):
    with Cluster(bootstrap, partitions=1) as cluster:
        yield cluster


@pytest.fixture
def member(cluster):
    with cluster.member() as member:
        yield member


def produce(transaction, topic, value=b"value", partition=-1):
    if transaction.state is State.CLOSED:
        transaction.begin(BOUND_S)
    return transaction.produce(topic, partition, b"key", value)


class StaleMember:
    """A consumer with outdated group metadata."""

    def __init__(self, consumer):
        self._metadata = consumer.consumer_group_metadata()

    def consumer_group_metadata(self):
        return self._metadata

    def memberid(self):
        return "an earlier member"


def test_commit_shows_records_and_offsets_together(cluster, member):
    transaction = cluster.transaction()
    produce(transaction, cluster.windows, b"dropped")
    transaction.abort(BOUND_S)
    transaction.abort(BOUND_S)
    assert produce(transaction, cluster.windows, b"one")
    assert produce(transaction, cluster.letters, b"two")
    assert cluster.pairs(cluster.windows) == cluster.pairs(cluster.letters) == []
    assert cluster.committed() == {}
    offset = TopicPartition(cluster.events, 0, 7, "so far", 0)
    cluster.commit_for(member, transaction, [offset], BOUND_S)
    assert cluster.pairs(cluster.windows) == [(b"key", b"one")]
    assert cluster.pairs(cluster.letters) == [(b"key", b"two")]
    (answer,) = member.committed([TopicPartition(cluster.events, 0)], timeout=10)
    assert (answer.offset, answer.metadata, answer.leader_epoch) == (7, "so far", 0)
    transaction.begin(BOUND_S)
    cluster.commit_for(member, transaction, cluster.at({0: 9}), BOUND_S)
    assert cluster.committed() == {0: 9}, "offsets alone"


def test_successor_of_same_id_aborts_open_transaction(cluster):
    left = cluster.transaction("name", **{"transaction.timeout.ms": 60_000})
    produce(left, cluster.windows, b"left open")
    started_s = time.monotonic()
    with cluster.member() as member:
        successor = cluster.transaction("name")
        produce(successor, cluster.windows, b"kept")
        cluster.commit_for(member, successor, cluster.at({0: 7}), BOUND_S)
    assert cluster.pairs(cluster.windows) == [(b"key", b"kept")]
    assert time.monotonic() - started_s < 20


def make_left_member(cluster, member):
    stale = StaleMember(member)
    close(member, "the member that leaves")
    return stale


def make_replaced_member(cluster, member):
    """The member has joined a later generation since."""
    stale = StaleMember(member)
    other = client.consumer(cluster.properties, cluster.group)
    other.subscribe([cluster.events])

    def is_later():
        other.poll(0.05)
        member.poll(0.05)
        return member.consumer_group_metadata() != stale.consumer_group_metadata()

    cluster.await_that(is_later, "a later generation")
    assert member.memberid().encode() in stale.consumer_group_metadata(), "another member"
    close(other, "the later member")
    return stale


def make_stalled_member(cluster, member):
    """The member has not polled for too long and has left the group; another has its partitions."""
    with cluster.member() as other:
        assert [at.partition for at in other.assignment()] == [0]
        assert member.memberid() is None
    return member


@pytest.mark.parametrize(
    ("make_stale", "why"),
    [
        (make_left_member, "[Uu]nknown member"),
        (make_replaced_member, "generation"),
        (make_stalled_member, "[Uu]nknown member|lost its place in its group"),
    ],
)
def test_stale_owner_commits_nothing_and_continues_as_new_member(cluster, make_stale, why):
    # A member that does not poll for this long leaves the group.
    with cluster.member(**{"max.poll.interval.ms": 2_000}) as member:
        transaction = cluster.transaction()
        produce(transaction, cluster.windows, b"of a stale owner")
        stale = make_stale(cluster, member)
        with pytest.raises(TransactionAborted, match=why):
            cluster.commit_for(stale, transaction, cluster.at({0: 7}), BOUND_S)
    assert cluster.pairs(cluster.windows) == []
    assert cluster.committed() == {}
    with cluster.member() as fresh:
        produce(transaction, cluster.windows, b"later")
        cluster.commit_for(fresh, transaction, cluster.at({0: 8}), BOUND_S)
    assert cluster.pairs(cluster.windows) == [(b"key", b"later")]


def test_producer_fenced_between_transactions_fails_in_next(cluster, member):
    fenced = cluster.transaction("name")
    fenced.begin(BOUND_S)
    cluster.commit_for(member, fenced, cluster.at({0: 7}), BOUND_S)
    cluster.transaction("name")

    def write_on():
        for _ in range(100):
            produce(fenced, cluster.windows)
            time.sleep(0.05)

    with pytest.raises(ClientLost, match=SAME_NAME):
        write_on()
    assert fenced.state is State.LOST
    assert cluster.pairs(cluster.windows) == []
    assert cluster.committed() == {0: 7}


def test_timed_out_transaction_is_lost_and_names_timeout(cluster, member):
    transaction = cluster.transaction(**{"transaction.timeout.ms": 1_000, "socket.timeout.ms": 900})
    produce(transaction, cluster.windows)
    at = cluster.windows, 0
    cluster.await_that(lambda: cluster.offsets([at], stable=True)[at] > 1, "the broker to end it")
    with pytest.raises(ClientLost, match=r"failed for good .* open for longer than transaction\.timeout\.ms"):
        cluster.commit_for(member, transaction, cluster.at({0: 7}), BOUND_S)
    assert cluster.committed() == {}


def test_record_too_large_for_topic_aborts_and_names_partition(cluster, member):
    small = f"{cluster.windows}-small"
    cluster.create(small, 1, max_message_bytes="1000")
    transaction = cluster.transaction()

    def write_on():
        for _ in range(200):
            produce(transaction, cluster.letters, b"beside it")
            time.sleep(0.02)

    for fail in (lambda: cluster.commit_for(member, transaction, cluster.at({0: 7}), BOUND_S), write_on):
        produce(transaction, cluster.letters, b"beside it")
        produce(transaction, small, os.urandom(5_000))
        with pytest.raises(TransactionAborted, match="too large") as aborted:
            fail()
        assert (aborted.value.too_large, aborted.value.unwritable) == ({(small, 0): b"key"}, frozenset())
    assert cluster.pairs(cluster.letters) == []
    assert cluster.committed() == {}
    produce(transaction, cluster.letters, b"later")
    cluster.commit_for(member, transaction, cluster.at({0: 7}), BOUND_S)
    assert cluster.pairs(cluster.letters) == [(b"key", b"later")]


def test_append_is_time_of_first_record_with_log_append_time(cluster, member):
    stamped = f"{cluster.windows}-stamped"
    cluster.create(stamped, 1, message_timestamp_type="LogAppendTime")
    transaction = cluster.transaction()
    began_ms = time.time_ns() // 1_000_000
    produce(transaction, cluster.windows, b"with the producer's time")
    produce(transaction, stamped)
    cluster.commit_for(member, transaction, cluster.at({0: 7}), BOUND_S)
    append = transaction.append
    assert began_ms <= append.sent_ms <= append.append_ms <= append.received_ms <= began_ms + 10_000
    produce(transaction, cluster.windows)
    cluster.commit_for(member, transaction, cluster.at({0: 8}), BOUND_S)
    assert transaction.append is None, "no topic of this commit has LogAppendTime"


def test_full_queue_is_waited_for_and_too_large_record_is_refused(cluster, member):
    transaction = cluster.transaction(**{"queue.buffering.max.messages": 1})
    values = [b"%d" % number for number in range(5)]
    for value in values:
        assert produce(transaction, cluster.windows, value)
        assert not produce(transaction, cluster.windows, bytes(2_000_000))
    cluster.commit_for(member, transaction, cluster.at({0: 7}), BOUND_S)
    assert [value for _, value in cluster.pairs(cluster.windows)] == values


@pytest.fixture
def outage(kafka_broker):
    """Stops the broker; it runs again after the test."""
    yield kafka_broker.stop
    if not kafka_broker.running:
        kafka_broker.restart()


def test_each_step_ends_within_its_bound_without_brokers(kafka_broker, cluster, outage, monkeypatch):
    # librdkafka sends offsets for as long as the transaction may take, beyond the bound.
    short = {"transaction.timeout.ms": 2_000, "socket.timeout.ms": 1_900}
    full, with_offsets, open_ = (
        cluster.transaction(**{**short, "queue.buffering.max.messages": 1}) for _ in range(3)
    )
    new = cluster.unstarted_transaction()
    with cluster.member() as member:
        metadata = StaleMember(member)
        produce(open_, cluster.windows)
        # A first record makes the topic known; the abort then empties the queue.
        produce(full, cluster.windows)
        full.abort(BOUND_S)
        full.begin(BOUND_S)
        with_offsets.begin(BOUND_S)
        outage()

        def assert_unanswered(step, what, raised=ClientLost):
            began_s = time.monotonic()
            with pytest.raises(raised, match=rf"{what} (was not answered within [12] s|did not return)"):
                step(1.0)
            assert time.monotonic() - began_s < 2.0 + calls.HANGING_S

        assert_unanswered(new.start, "init_transactions")
        assert_unanswered(
            lambda bound_s: cluster.commit_for(metadata, with_offsets, cluster.at({0: 7}), bound_s),
            "send_offsets_to_transaction",
            TransactionAborted,
        )
        assert_unanswered(open_.abort, "abort_transaction")
        monkeypatch.setattr(transaction_module, "_QUEUE_ATTEMPTS", 1)
        produce(full, cluster.windows)
        with pytest.raises(ClientLost, match="queue has been full for 1 s; check the brokers"):
            produce(full, cluster.windows)


def test_transaction_during_broker_restart_commits_once(kafka_broker, cluster, outage):
    # A restart takes less, even on a slow machine.
    transaction = cluster.transaction(**{"transaction.timeout.ms": 60_000})
    with cluster.member(**{"session.timeout.ms": 30_000}) as member:
        produce(transaction, cluster.windows)
        outage()
        restart = threading.Timer(1.0, kafka_broker.restart)
        restart.start()
        try:
            # A call that hangs on the broker ends as an abort: nothing was committed.
            with suppress(TransactionAborted):
                cluster.commit_for(member, transaction, cluster.at({0: 7}), 30.0)
            if transaction.state is State.LOST:
                assert cluster.committed() == {}
                transaction.begin(30.0)
                produce(transaction, cluster.windows)
                cluster.commit_for(member, transaction, cluster.at({0: 7}), 30.0)
        finally:
            restart.join()
    assert cluster.pairs(cluster.windows) == [(b"key", b"value")]
    assert cluster.committed() == {0: 7}
