"""What the service's transactions promise, on a real broker; by a stand-in what one cannot be made to say."""

import os
import threading
import time
from contextlib import suppress
from itertools import count
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftgauge.errors import AuthorizationError, BrokerError, ClientLost, TransactionAborted
from driftgauge.kafka import client
from driftgauge.kafka import transaction as transaction_module
from driftgauge.kafka.transaction import Transaction
from tests.kafka.cluster import Cluster

BOUND_S = 5.0
IN_THE_WAY = "another process uses this replica's name"


@pytest.fixture
def cluster(bootstrap):
    with Cluster(bootstrap, partitions=1) as cluster:
        yield cluster


@pytest.fixture
def member(cluster):
    with cluster.member() as member:
        yield member


def produce(transaction, topic, value=b"value", **more):
    return transaction.produce(topic, key=b"key", value=value, **more)


def commit_at_last(transaction, topic, value, offsets, member):
    """Commit one record. After a refused record the client may refuse once more, for its sequence numbers."""
    for _ in range(2):
        with suppress(TransactionAborted):
            produce(transaction, topic, value)
            transaction.commit(offsets, member, BOUND_S)
            return
    produce(transaction, topic, value)
    transaction.commit(offsets, member, BOUND_S)


class Remembering:
    """A consumer whose membership is of another time."""

    def __init__(self, consumer):
        self._metadata = consumer.consumer_group_metadata()

    def consumer_group_metadata(self):
        return self._metadata


@pytest.mark.integration
def test_records_and_offsets_are_seen_together_and_not_before(cluster, member):
    transaction = cluster.transaction()
    assert produce(transaction, cluster.windows, b"one")
    assert produce(transaction, cluster.letters, b"two")
    assert cluster.read(cluster.windows) == cluster.read(cluster.letters) == []
    assert cluster.committed() == {}
    transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert cluster.read(cluster.windows) == [(b"key", b"one")]
    assert cluster.read(cluster.letters) == [(b"key", b"two")]
    assert cluster.committed() == {0: 7}


@pytest.mark.integration
def test_an_abort_leaves_nothing_and_the_next_transaction_stands(cluster, member):
    transaction = cluster.transaction()
    produce(transaction, cluster.windows, b"dropped")
    transaction.abort(BOUND_S)
    transaction.abort(BOUND_S)
    produce(transaction, cluster.windows, b"kept")
    transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert cluster.read(cluster.windows) == [(b"key", b"kept")]


@pytest.mark.integration
def test_offsets_alone_are_a_transaction_as_well(cluster, member):
    transaction = cluster.transaction()
    for offset in (7, 9):
        transaction.commit(cluster.at({0: offset}), member, BOUND_S)
        assert cluster.committed() == {0: offset}


@pytest.mark.integration
def test_a_successor_of_the_same_name_ends_what_was_left_open_at_once(cluster):
    left = cluster.transaction("name", **{"transaction.timeout.ms": 60_000})
    produce(left, cluster.windows, b"left open")
    started_s = time.monotonic()
    with cluster.member() as member:
        successor = cluster.transaction("name")
        produce(successor, cluster.windows, b"kept")
        successor.commit(cluster.at({0: 7}), member, BOUND_S)
    assert cluster.read(cluster.windows) == [(b"key", b"kept")]
    assert time.monotonic() - started_s < 20


def refuse_left(cluster, member):
    stale = Remembering(member)
    member.close()
    return stale


def refuse_replaced(cluster, member):
    """The member is one of a later generation."""
    stale = Remembering(member)
    other = client.consumer(cluster.properties)
    other.subscribe([cluster.events])

    def is_later():
        other.poll(0.05)
        member.poll(0.05)
        return member.consumer_group_metadata() != stale.consumer_group_metadata()

    cluster.await_that(is_later, "another generation")
    assert member.memberid().encode() in stale.consumer_group_metadata(), "it is the same member"
    other.close()
    return stale


def refuse_still(cluster, member):
    """The owner has stood still for too long, which its client knows of; another has its partitions."""
    with cluster.member() as other:
        assert [at.partition for at in other.assignment()] == [0]
        assert member.memberid() is None
    return member


@pytest.mark.integration
@pytest.mark.parametrize(
    ("make_stale", "why"),
    [
        (refuse_left, "[Uu]nknown member"),
        (refuse_replaced, "generation"),
        (refuse_still, "[Uu]nknown member"),
    ],
)
def test_who_has_lost_the_partitions_commits_nothing_and_can_go_on(cluster, make_stale, why):
    # One that does not poll for so long leaves the group.
    with cluster.member(**{"max.poll.interval.ms": 2_000}) as member:
        transaction = cluster.transaction()
        produce(transaction, cluster.windows, b"of a stale owner")
        stale = make_stale(cluster, member)
        with pytest.raises(TransactionAborted, match=rf"send_offsets_to_transaction was refused \(.*{why}"):
            transaction.commit(cluster.at({0: 7}), stale, BOUND_S)
    assert cluster.read(cluster.windows) == []
    assert cluster.committed() == {}
    with cluster.member() as fresh:
        produce(transaction, cluster.windows, b"later")
        transaction.commit(cluster.at({0: 8}), fresh, BOUND_S)
    assert cluster.read(cluster.windows) == [(b"key", b"later")]


@pytest.mark.integration
def test_who_is_fenced_while_a_transaction_is_open_loses_it(cluster, member):
    fenced = cluster.transaction("name")
    produce(fenced, cluster.windows)
    cluster.transaction("name")
    with pytest.raises(ClientLost, match=f"send_offsets_to_transaction failed for good .*{IN_THE_WAY}"):
        fenced.commit(cluster.at({0: 7}), member, BOUND_S)
    fenced.abort(BOUND_S)
    assert cluster.read(cluster.windows) == []
    assert cluster.committed() == {}


@pytest.mark.integration
def test_who_is_fenced_between_two_transactions_learns_it_in_the_next(cluster, member):
    fenced = cluster.transaction("name")
    fenced.commit(cluster.at({0: 7}), member, BOUND_S)
    cluster.transaction("name")

    def write_on():
        for _ in range(100):
            produce(fenced, cluster.windows)
            time.sleep(0.05)

    # The broker's answer comes out of a produce, and of whatever is tried afterwards.
    with pytest.raises(ClientLost, match=IN_THE_WAY):
        write_on()
    with pytest.raises(ClientLost, match=f"begin_transaction failed for good .*{IN_THE_WAY}"):
        produce(fenced, cluster.windows)
    with pytest.raises(ClientLost, match=f"begin_transaction failed for good .*{IN_THE_WAY}"):
        fenced.commit(cluster.at({0: 9}), member, BOUND_S)
    assert cluster.read(cluster.windows) == []
    assert cluster.committed() == {0: 7}


@pytest.mark.integration
def test_what_the_brokers_gave_up_for_its_age_is_lost_and_said_to_be_perhaps_too_old(cluster, member):
    transaction = cluster.transaction(**{"transaction.timeout.ms": 1_000})
    produce(transaction, cluster.windows)
    at = cluster.windows, 0
    cluster.await_that(lambda: cluster.ask([at], stable=True)[at] > 1, "the broker to end it")
    with pytest.raises(ClientLost, match=r"failed for good .* open for longer than transaction\.timeout\.ms"):
        transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert cluster.committed() == {}


@pytest.mark.integration
def test_a_record_that_its_topic_does_not_take_aborts_the_transaction_it_is_in(cluster, member):
    small = f"{cluster.windows}-small"
    cluster.create(small, 1, max_message_bytes="1000")
    transaction = cluster.transaction()
    heard = []
    produce(transaction, cluster.letters, b"beside it")
    produce(transaction, small, os.urandom(5_000), on_delivery=lambda error, _: heard.append(error))
    with pytest.raises(TransactionAborted, match=r"was refused"):
        transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert [error.code() for error in heard] == [KafkaError.MSG_SIZE_TOO_LARGE]
    assert cluster.read(cluster.letters) == []
    assert cluster.committed() == {}
    commit_at_last(transaction, cluster.letters, b"later", cluster.at({0: 7}), member)
    assert cluster.read(cluster.letters) == [(b"key", b"later")]


@pytest.mark.integration
def test_what_is_added_to_a_transaction_that_has_failed_aborts_it(cluster, member):
    small = f"{cluster.windows}-small"
    cluster.create(small, 1, max_message_bytes="1000")
    transaction = cluster.transaction()
    produce(transaction, small, os.urandom(5_000))

    def write_on():
        for _ in range(200):
            produce(transaction, cluster.windows, b"dropped")
            time.sleep(0.02)

    with pytest.raises(TransactionAborted, match="produce was refused"):
        write_on()
    commit_at_last(transaction, cluster.windows, b"kept", cluster.at({0: 7}), member)
    assert cluster.read(cluster.windows) == [(b"key", b"kept")]


@pytest.mark.integration
def test_a_record_that_the_client_does_not_take_is_told_and_the_others_stand(cluster, member):
    transaction = cluster.transaction()
    assert produce(transaction, cluster.windows, b"before")
    assert not produce(transaction, cluster.windows, bytes(2_000_000))
    assert produce(transaction, cluster.windows, b"after")
    transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert cluster.read(cluster.windows) == [(b"key", b"before"), (b"key", b"after")]


@pytest.mark.integration
def test_a_full_queue_is_waited_on(cluster, member):
    transaction = cluster.transaction(**{"queue.buffering.max.messages": 1})
    values = [b"%d" % number for number in range(5)]
    for value in values:
        assert produce(transaction, cluster.windows, value)
    transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert [value for _, value in cluster.read(cluster.windows)] == values


@pytest.fixture
def outage(kafka_broker):
    """Stops the broker; it runs again after the test."""
    yield kafka_broker.stop
    if not kafka_broker.running:
        kafka_broker.restart()


# What the client adds to the bound: its own for offsets, and one call.
# So long after its bound a call may return at the latest; see `_HANGING_S`.
LATE_S = 12.0


@pytest.mark.integration
def test_without_brokers_each_step_gives_up_within_its_bound(kafka_broker, cluster, outage, monkeypatch):
    started, with_offsets, open_ = (
        cluster.transaction(**{"transaction.timeout.ms": 2_000, "queue.buffering.max.messages": 1})
        for _ in range(3)
    )
    new = Transaction(client.transactional_producer(cluster.properties, cluster.group))
    with cluster.member() as member:
        metadata = Remembering(member)
        produce(open_, cluster.windows)
        # The first record of a transaction needs its topic to be known; then the queue is emptied.
        produce(started, cluster.windows)
        started.abort(BOUND_S)
        outage()

        def assert_given_up(step, what, bound_s):
            began_s = time.monotonic()
            with pytest.raises(ClientLost, match=rf"{what} was not answered within {bound_s:g} s"):
                step(bound_s)
            assert time.monotonic() - began_s < bound_s + LATE_S

        assert_given_up(new.start, "init_transactions", 1.0)
        assert_given_up(
            lambda bound_s: with_offsets.commit(cluster.at({0: 7}), metadata, bound_s),
            "send_offsets_to_transaction",
            1.0,
        )
        assert_given_up(open_.abort, "abort_transaction", 1.0)
        monkeypatch.setattr(transaction_module, "_QUEUE_ATTEMPTS", 2)
        produce(started, cluster.windows)
        with pytest.raises(ClientLost, match="queue has been full for 2 s; check the brokers"):
            produce(started, cluster.windows)


@pytest.mark.integration
def test_a_broker_that_restarts_within_the_bound_is_waited_for(kafka_broker, cluster, outage):
    # Longer than a restart takes on a slow machine.
    transaction = cluster.transaction(**{"transaction.timeout.ms": 60_000})
    with cluster.member(**{"session.timeout.ms": 30_000}) as member:
        produce(transaction, cluster.windows)
        outage()
        restart = threading.Timer(1.0, kafka_broker.restart)
        restart.start()
        try:
            transaction.commit(cluster.at({0: 7}), member, 30.0)
        finally:
            restart.join()
    assert cluster.read(cluster.windows) == [(b"key", b"value")]
    assert cluster.committed() == {0: 7}


class ToldProducer:
    """A producer whose calls fail with the errors given, one a call, and then succeed."""

    def __init__(self, **failures):
        self.failures = failures
        self.calls = []

    def __getattr__(self, name):
        def call(*_, **__):
            self.calls.append(name)
            if self.failures.get(name):
                raise KafkaException(self.failures[name].pop(0))

        return call


class Member:
    def consumer_group_metadata(self):
        return b""


def commit(producer):
    Transaction(producer).commit([TopicPartition("t", 0, 1)], Member(), BOUND_S)


STEPS = ("send_offsets_to_transaction", "commit_transaction")


def error(code, **flags):
    return KafkaError(code, "why", **flags)


@pytest.mark.parametrize("step", STEPS)
def test_what_may_be_repeated_is_repeated(step):
    producer = ToldProducer(**{step: [error(KafkaError._TIMED_OUT, retriable=True)] * 3})
    commit(producer)
    assert producer.calls.count(step) == 4
    assert "abort_transaction" not in producer.calls


@pytest.mark.parametrize("step", STEPS)
def test_what_is_repeated_in_vain_is_the_clients_end_and_nothing_more_is_asked_of_it(step, monkeypatch):
    """Of an answer that may yet come the client would be asked in vain to forget it."""
    clock_s = count()  # a second each time that it is looked at
    monkeypatch.setattr(
        transaction_module, "time", SimpleNamespace(monotonic=lambda: next(clock_s), sleep=lambda _: None)
    )
    producer = ToldProducer(**{step: [error(KafkaError._TIMED_OUT, retriable=True)] * 100})
    transaction = Transaction(producer)
    with pytest.raises(ClientLost, match=rf"{step} was not answered within \d+ s \(why\); check the brokers"):
        transaction.commit([TopicPartition("t", 0, 1)], Member(), BOUND_S)
    assert 2 <= producer.calls.count(step) <= BOUND_S + 2
    transaction.abort(BOUND_S)
    assert producer.calls[-1] == step


@pytest.mark.parametrize("step", STEPS)
def test_what_asks_for_an_abort_is_aborted(step):
    producer = ToldProducer(
        **{step: [error(KafkaError.INVALID_PRODUCER_ID_MAPPING, txn_requires_abort=True)]}
    )
    with pytest.raises(TransactionAborted, match=rf"{step} was refused \(why\)"):
        commit(producer)
    assert producer.calls[-1] == "abort_transaction"


@pytest.mark.parametrize("step", ["begin_transaction", *STEPS])
@pytest.mark.parametrize(
    "told",
    [
        error(KafkaError._FENCED, fatal=True),
        error(KafkaError.INVALID_TXN_STATE, fatal=True),
        error(KafkaError._STATE),
        error(KafkaError.UNKNOWN_TOPIC_OR_PART),
    ],
)
def test_what_is_neither_is_the_clients_end_and_nothing_more_is_asked_of_it(step, told):
    producer = ToldProducer(**{step: [told]})
    transaction = Transaction(producer)
    with pytest.raises(ClientLost, match=rf"{step} failed for good \(why\)"):
        transaction.commit([TopicPartition("t", 0, 1)], Member(), BOUND_S)
    transaction.abort(BOUND_S)
    assert producer.calls[-1] == step


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    ],
)
@pytest.mark.parametrize("flags", [{}, {"fatal": True}, {"txn_requires_abort": True}])
def test_what_is_not_allowed_is_the_operators_to_mend(code, flags):
    producer = ToldProducer(send_offsets_to_transaction=[error(code, **flags)])
    with pytest.raises(AuthorizationError, match=r"is not allowed \(why\); check the client's rights"):
        commit(producer)


@pytest.mark.parametrize(
    "told",
    [
        error(KafkaError._FENCED, fatal=True),
        error(KafkaError._STATE),
        error(KafkaError.UNKNOWN_PRODUCER_ID, txn_requires_abort=True),
    ],
)
def test_what_cannot_be_aborted_is_the_clients_end_whatever_was_to_be_aborted_for(told):
    refused = error(KafkaError.UNKNOWN_MEMBER_ID, txn_requires_abort=True)
    producer = ToldProducer(send_offsets_to_transaction=[refused], abort_transaction=[told])
    with pytest.raises(ClientLost, match="abort_transaction failed for good"):
        commit(producer)


def test_every_error_but_those_of_rights_is_one_that_a_new_session_may_mend():
    assert issubclass(ClientLost, BrokerError)
    assert issubclass(TransactionAborted, BrokerError)
    assert not issubclass(AuthorizationError, BrokerError)
