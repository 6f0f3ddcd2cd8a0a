"""Transactions on a real broker: refused records, time-outs, outages, a lost connection; see also
`test_simulated_kafka`.
"""

import os
import time
from contextlib import suppress
from unittest.mock import Mock

import pytest

from driftgauge.engine.producer import transaction as transaction_module
from driftgauge.errors import TransactionFailed
from driftgauge.kafka import calls
from tests.harness.cluster import Cluster
from tests.harness.relay import Relay

pytestmark = pytest.mark.broker

BOUND_S = 5.0


@pytest.fixture
def member(cluster):
    with cluster.member() as member:
        yield member


def produce(transaction, topic, value=b"value", partition=-1):
    with suppress(RuntimeError):
        transaction.begin(BOUND_S)
    return transaction.produce(topic, partition, b"key", value)


def test_timed_out_transaction_is_lost_and_names_timeout(cluster, member):
    transaction = cluster.transaction(**{"transaction.timeout.ms": 1_000, "socket.timeout.ms": 900})
    produce(transaction, cluster.windows)
    at = cluster.windows, 0
    cluster.await_that(lambda: cluster.offsets([at], stable=True)[at] > 1, "the broker to end it")
    with pytest.raises(
        TransactionFailed, match=r"failed for good .* open for longer than transaction\.timeout\.ms"
    ):
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
        with pytest.raises(TransactionFailed, match="too large") as aborted:
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
    yield kafka_broker.node.stop
    if not kafka_broker.node.running:
        kafka_broker.node.restart()


def test_each_step_ends_within_its_bound_without_brokers(kafka_broker, cluster, outage, monkeypatch):
    # librdkafka sends offsets for as long as the transaction may take, beyond the bound.
    short = {"transaction.timeout.ms": 2_000, "socket.timeout.ms": 1_900}
    full, with_offsets, open_ = (
        cluster.transaction(**{**short, "queue.buffering.max.messages": 1}) for _ in range(3)
    )
    new = cluster.unstarted_transaction()
    with cluster.member() as member:
        # The member itself is lost without brokers.
        known = {"consumer_group_metadata.return_value": member.consumer_group_metadata()}
        owner = Mock(**known, **{"memberid.return_value": "an earlier member"})
        produce(open_, cluster.windows)
        # A first record makes the topic known; the abort then empties the queue.
        produce(full, cluster.windows)
        full.abort(BOUND_S)
        full.begin(BOUND_S)
        with_offsets.begin(BOUND_S)
        outage()

        def assert_unanswered(step, what):
            began_s = time.monotonic()
            with pytest.raises(
                TransactionFailed, match=rf"{what} (was not answered within [12] s|did not return)"
            ):
                step(1.0)
            assert time.monotonic() - began_s < 2.0 + calls.HANGING_S

        assert_unanswered(new.start, "init_transactions")
        assert_unanswered(
            lambda bound_s: cluster.commit_for(owner, with_offsets, cluster.at({0: 7}), bound_s),
            "send_offsets_to_transaction",
        )
        assert_unanswered(open_.abort, "abort_transaction")
        monkeypatch.setattr(transaction_module, "_QUEUE_ATTEMPTS", 1)
        produce(full, cluster.windows)
        with pytest.raises(TransactionFailed, match="queue has been full for 1 s; check the brokers"):
            produce(full, cluster.windows)


LOST_BOUND_S = 10.0


def test_producer_is_replaced_after_lost_connection_in_transaction(bootstrap):
    """The client repeats its requests and reports that the commit succeeded, but is still replaced."""
    with Relay(bootstrap) as relay, Cluster(bootstrap, partitions=1) as cluster:
        transaction = cluster.transaction(**{"bootstrap.servers": relay.bootstrap})
        with cluster.member() as member:
            epochs = []
            for position in range(1, 5):
                began_s = time.monotonic()
                transaction.begin(LOST_BOUND_S)
                epochs.append(transaction.epoch)
                transaction.produce(cluster.windows, -1, b"key", b"%d" % position)
                if position == 2:
                    relay.cut()
                    relay.reconnect()
                cluster.commit_for(member, transaction, cluster.at({0: position}), LOST_BOUND_S)
                # A longer call hangs, as with librdkafka's own recovery of metadata.
                assert time.monotonic() - began_s < LOST_BOUND_S
        assert epochs[0] == epochs[1] < epochs[2] == epochs[3]
        assert cluster.committed() == {0: 4}
        assert [value for _, value in cluster.pairs(cluster.windows)] == [b"1", b"2", b"3", b"4"]
