"""What the service's transactions promise, on a real broker; by a stand-in what one cannot be made to say."""

import os
import threading
import time
from contextlib import suppress
from itertools import count

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, KafkaException, TopicPartition

from driftgauge.clock import Clock
from driftgauge.errors import AuthorizationError, BrokerError, ClientLost, TransactionAborted
from driftgauge.kafka import calls, client
from driftgauge.kafka import transaction as transaction_module
from driftgauge.kafka.transaction import State, Transaction
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


def produce(transaction, topic, value=b"value", partition=-1):
    if transaction.state is State.CLOSED:
        transaction.begin(BOUND_S)
    return transaction.produce(topic, partition, b"key", value)


class Remembering:
    """A consumer whose membership is of another time."""

    def __init__(self, consumer):
        self._metadata = consumer.consumer_group_metadata()

    def consumer_group_metadata(self):
        return self._metadata

    def memberid(self):
        return "of another time"


@pytest.mark.broker
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


@pytest.mark.broker
def test_an_abort_leaves_nothing_and_the_next_transaction_stands(cluster, member):
    transaction = cluster.transaction()
    produce(transaction, cluster.windows, b"dropped")
    transaction.abort(BOUND_S)
    transaction.abort(BOUND_S)
    produce(transaction, cluster.windows, b"kept")
    transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert cluster.read(cluster.windows) == [(b"key", b"kept")]


@pytest.mark.broker
def test_offsets_alone_are_a_transaction_as_well(cluster, member):
    transaction = cluster.transaction()
    for offset in (7, 9):
        transaction.begin(BOUND_S)
        transaction.commit(cluster.at({0: offset}), member, BOUND_S)
        assert cluster.committed() == {0: offset}


@pytest.mark.broker
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
    other = client.consumer(cluster.properties, cluster.group)
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


@pytest.mark.broker
@pytest.mark.parametrize(
    ("make_stale", "why"),
    [
        (refuse_left, "[Uu]nknown member"),
        (refuse_replaced, "generation"),
        (refuse_still, "[Uu]nknown member|no longer a member of its group"),
    ],
)
def test_who_has_lost_the_partitions_commits_nothing_and_can_go_on(cluster, make_stale, why):
    # One that does not poll for so long leaves the group.
    with cluster.member(**{"max.poll.interval.ms": 2_000}) as member:
        transaction = cluster.transaction()
        produce(transaction, cluster.windows, b"of a stale owner")
        stale = make_stale(cluster, member)
        with pytest.raises(TransactionAborted, match=why):
            transaction.commit(cluster.at({0: 7}), stale, BOUND_S)
    assert cluster.read(cluster.windows) == []
    assert cluster.committed() == {}
    with cluster.member() as fresh:
        produce(transaction, cluster.windows, b"later")
        transaction.commit(cluster.at({0: 8}), fresh, BOUND_S)
    assert cluster.read(cluster.windows) == [(b"key", b"later")]


@pytest.mark.broker
def test_who_is_fenced_while_a_transaction_is_open_loses_it(cluster, member):
    fenced = cluster.transaction("name")
    produce(fenced, cluster.windows)
    cluster.transaction("name")
    with pytest.raises(ClientLost, match=f"send_offsets_to_transaction failed for good .*{IN_THE_WAY}"):
        fenced.commit(cluster.at({0: 7}), member, BOUND_S)
    fenced.abort(BOUND_S)
    assert cluster.read(cluster.windows) == []
    assert cluster.committed() == {}


@pytest.mark.broker
def test_who_is_fenced_between_two_transactions_learns_it_in_the_next(cluster, member):
    fenced = cluster.transaction("name")
    fenced.begin(BOUND_S)
    fenced.commit(cluster.at({0: 7}), member, BOUND_S)
    cluster.transaction("name")

    def write_on():
        for _ in range(100):
            produce(fenced, cluster.windows)
            time.sleep(0.05)

    with pytest.raises(ClientLost, match=IN_THE_WAY):
        write_on()
    assert fenced.state is State.LOST
    assert cluster.read(cluster.windows) == []
    assert cluster.committed() == {0: 7}


@pytest.mark.broker
def test_what_the_brokers_gave_up_for_its_age_is_lost_and_said_to_be_perhaps_too_old(cluster, member):
    transaction = cluster.transaction(**{"transaction.timeout.ms": 1_000, "socket.timeout.ms": 900})
    produce(transaction, cluster.windows)
    at = cluster.windows, 0
    cluster.await_that(lambda: cluster.ask([at], stable=True)[at] > 1, "the broker to end it")
    with pytest.raises(ClientLost, match=r"failed for good .* open for longer than transaction\.timeout\.ms"):
        transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert cluster.committed() == {}


@pytest.mark.broker
def test_record_too_large_for_topic_aborts_and_names_partition(cluster, member):
    small = f"{cluster.windows}-small"
    cluster.create(small, 1, max_message_bytes="1000")
    transaction = cluster.transaction()
    produce(transaction, cluster.letters, b"beside it")
    produce(transaction, small, os.urandom(5_000))
    with pytest.raises(TransactionAborted, match=rf"{small}\[0\] were not delivered .*too large") as aborted:
        transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert (aborted.value.too_large, aborted.value.unwritable) == ({(small, 0)}, frozenset())
    assert cluster.read(cluster.letters) == []
    assert cluster.committed() == {}
    produce(transaction, cluster.letters, b"later")
    transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert cluster.read(cluster.letters) == [(b"key", b"later")]


@pytest.mark.broker
def test_produce_after_failed_record_aborts(cluster, member):
    small = f"{cluster.windows}-small"
    cluster.create(small, 1, max_message_bytes="1000")
    transaction = cluster.transaction()
    produce(transaction, small, os.urandom(5_000))

    def write_on():
        for _ in range(200):
            produce(transaction, cluster.windows, b"dropped")
            time.sleep(0.02)

    with pytest.raises(TransactionAborted, match="too large") as aborted:
        write_on()
    assert (aborted.value.too_large, aborted.value.unwritable) == ({(small, 0)}, frozenset())
    produce(transaction, cluster.windows, b"kept")
    transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert cluster.read(cluster.windows) == [(b"key", b"kept")]


@pytest.mark.broker
def test_each_commit_tells_when_the_broker_appended_its_first_stamped_record(cluster, member):
    stamped = f"{cluster.windows}-stamped"
    cluster.create(stamped, 1, message_timestamp_type="LogAppendTime")
    transaction = cluster.transaction()
    began_ms = time.time_ns() // 1_000_000
    produce(transaction, cluster.windows, b"of the producer's time")
    produce(transaction, stamped)
    transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    append = transaction.append
    assert began_ms <= append.sent_ms <= append.append_ms <= append.received_ms <= began_ms + 10_000
    produce(transaction, cluster.windows)
    transaction.commit(cluster.at({0: 8}), member, BOUND_S)
    assert transaction.append is None, "no topic of this commit has the broker's time"


@pytest.mark.broker
def test_offsets_carry_metadata_and_leader_epoch(cluster, member):
    transaction = cluster.transaction()
    transaction.begin(BOUND_S)
    offset = TopicPartition(cluster.events, 0, 7, "so far", 0)
    transaction.commit([offset], member, BOUND_S)
    (answer,) = member.committed([TopicPartition(cluster.events, 0)], timeout=10)
    assert (answer.offset, answer.metadata, answer.leader_epoch) == (7, "so far", 0)


@pytest.mark.broker
def test_a_record_that_the_client_does_not_take_is_told_and_the_others_stand(cluster, member):
    transaction = cluster.transaction()
    assert produce(transaction, cluster.windows, b"before")
    assert not produce(transaction, cluster.windows, bytes(2_000_000))
    assert produce(transaction, cluster.windows, b"after")
    transaction.commit(cluster.at({0: 7}), member, BOUND_S)
    assert cluster.read(cluster.windows) == [(b"key", b"before"), (b"key", b"after")]


@pytest.mark.broker
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


@pytest.mark.broker
def test_without_brokers_each_step_gives_up_within_its_bound(kafka_broker, cluster, outage, monkeypatch):
    # Offsets are sent for as long, whatever the bound.
    short = {"transaction.timeout.ms": 2_000, "socket.timeout.ms": 1_900}
    full, with_offsets, open_ = (
        cluster.transaction(**{**short, "queue.buffering.max.messages": 1}) for _ in range(3)
    )
    new = cluster.unstarted()
    with cluster.member() as member:
        metadata = Remembering(member)
        produce(open_, cluster.windows)
        # The first record of a transaction needs its topic to be known; then the queue is emptied.
        produce(full, cluster.windows)
        full.abort(BOUND_S)
        full.begin(BOUND_S)
        with_offsets.begin(BOUND_S)
        outage()

        def assert_given_up(step, what, raised=ClientLost):
            began_s = time.monotonic()
            with pytest.raises(raised, match=rf"{what} (was not answered within [12] s|did not return)"):
                step(1.0)
            assert time.monotonic() - began_s < 2.0 + calls.HANGING_S

        assert_given_up(new.start, "init_transactions")
        assert_given_up(
            lambda bound_s: with_offsets.commit(cluster.at({0: 7}), metadata, bound_s),
            "send_offsets_to_transaction",
            TransactionAborted,
        )
        assert_given_up(open_.abort, "abort_transaction")
        monkeypatch.setattr(transaction_module, "_QUEUE_ATTEMPTS", 1)
        produce(full, cluster.windows)
        with pytest.raises(ClientLost, match="queue has been full for 1 s; check the brokers"):
            produce(full, cluster.windows)


@pytest.mark.broker
def test_transaction_over_a_broker_restart_stands_once_though_it_may_take_another(
    kafka_broker, cluster, outage
):
    # Longer than a restart takes on a slow machine.
    transaction = cluster.transaction(**{"transaction.timeout.ms": 60_000})
    with cluster.member(**{"session.timeout.ms": 30_000}) as member:
        produce(transaction, cluster.windows)
        outage()
        restart = threading.Timer(1.0, kafka_broker.restart)
        restart.start()
        try:
            # A call that hangs on the broker is left to itself: what is known then is that nothing stands.
            with suppress(TransactionAborted):
                transaction.commit(cluster.at({0: 7}), member, 30.0)
            if transaction.state is State.LOST:
                assert cluster.committed() == {}
                transaction.begin(30.0)
                produce(transaction, cluster.windows)
                transaction.commit(cluster.at({0: 7}), member, 30.0)
        finally:
            restart.join()
    assert cluster.read(cluster.windows) == [(b"key", b"value")]
    assert cluster.committed() == {0: 7}


class ToldProducer:
    """A producer whose calls fail with the errors given, one a call, and then succeed.

    Records are taken by the partitions that are not `unwritable`; an abort purges the others.
    """

    def __init__(self, unwritable=(), **failures):
        self.failures = failures
        self.unwritable = unwritable
        self.calls = []
        self.queue = []
        self.heard = []  # errors that the next poll reports

    def __len__(self):
        return len(self.queue)

    def __getattr__(self, name):
        def call(*_, **__):
            self.calls.append(name)
            if self.failures.get(name):
                raise KafkaException(self.failures[name].pop(0))

        return call

    def poll(self, _):
        while self.heard:
            self.on_error(self.heard.pop())

    def produce(self, topic, *, partition, on_delivery, **_):
        self.queue.append((topic, partition, on_delivery))

    def raise_(self, why):
        raise KafkaException(why)

    def flush(self, _):
        self._report([record for record in self.queue if record[1] not in self.unwritable], None)
        return len(self.queue)

    def begin_transaction(self):
        if "begin_transaction" in self.calls[-1:] or self.queue:
            raise KafkaException(error(KafkaError._STATE))
        self.__getattr__("begin_transaction")()

    def abort_transaction(self, _):
        self._report(list(self.queue), error(KafkaError._PURGE_QUEUE))
        self.__getattr__("abort_transaction")()

    def _report(self, records, why):
        for topic, partition, on_delivery in records:
            self.queue.remove((topic, partition, on_delivery))
            on_delivery(why, ToldMessage(topic, partition))


class ToldMessage:
    def __init__(self, topic, partition):
        self._at = topic, partition

    def topic(self):
        return self._at[0]

    def partition(self):
        return self._at[1]

    def timestamp(self):
        return TIMESTAMP_CREATE_TIME, 1


class Member:
    def consumer_group_metadata(self):
        return b""

    def memberid(self):
        return "member"


class Makes:
    """Makes the producers given, one after the other, and remembers by which id."""

    def __init__(self, *producers):
        self.producers = list(producers)
        self.ids = []

    def __call__(self, transactional_id, on_error):
        self.ids.append(transactional_id)
        producer = self.producers[len(self.ids) - 1]
        producer.on_error = on_error
        return producer


def started(*producers, clock_ms=lambda: 1_000, monotonic=None):
    ticks = count()  # a second each time that it is looked at
    makes = Makes(*producers)
    transaction = Transaction(makes, "id", Clock(clock_ms, monotonic or (lambda: next(ticks))))
    transaction.start(BOUND_S)
    return transaction, makes


def commit(transaction):
    if transaction.state is State.CLOSED:
        transaction.begin(BOUND_S)
    transaction.commit([TopicPartition("t", 0, 1)], Member(), BOUND_S)


STEPS = ("send_offsets_to_transaction", "commit_transaction")
GIVEN_UP = [(STEPS[0], TransactionAborted), (STEPS[1], ClientLost)]


def error(code, **flags):
    return KafkaError(code, "why", **flags)


@pytest.mark.parametrize("step", STEPS)
def test_retriable_call_is_repeated(step):
    producer = ToldProducer(**{step: [error(KafkaError._TIMED_OUT, retriable=True)] * 3})
    commit(started(producer, monotonic=lambda: 0.0)[0])
    assert producer.calls.count(step) == 4
    assert "abort_transaction" not in producer.calls


@pytest.mark.parametrize(("step", "told"), GIVEN_UP)
def test_call_repeated_in_vain_is_in_doubt_only_after_the_brokers_were_asked_to_commit(step, told):
    """Of an answer that may yet come the client would be asked in vain to forget it."""
    producer = ToldProducer(**{step: [error(KafkaError._TIMED_OUT, retriable=True)] * 100})
    transaction, makes = started(producer, ToldProducer())
    with pytest.raises(told, match=rf"{step} was not answered within \d+ s \(why\); check the brokers"):
        commit(transaction)
    assert 2 <= producer.calls.count(step) <= BOUND_S + 2
    assert transaction.state is State.LOST
    transaction.abort(BOUND_S)
    assert producer.calls[-1] == step
    transaction.begin(BOUND_S)
    commit(transaction)
    assert makes.ids == ["id", "id"]


@pytest.mark.parametrize(("step", "told"), GIVEN_UP)
def test_call_that_hangs_is_left_to_itself(step, told, monkeypatch):
    monkeypatch.setattr(calls, "HANGING_S", 0.05)
    producer = ToldProducer()
    release = threading.Event()
    setattr(producer, step, lambda *_: release.wait(10))
    transaction, _ = started(producer)
    with pytest.raises(told, match=rf"{step} did not return within 0\.05 s"):
        commit(transaction)
    release.set()
    assert transaction.state is State.LOST


@pytest.mark.parametrize("step", STEPS)
def test_call_that_requires_abort_aborts(step):
    told = error(KafkaError.INVALID_PRODUCER_ID_MAPPING, txn_requires_abort=True)
    producer = ToldProducer(**{step: [told]})
    transaction, _ = started(producer)
    with pytest.raises(TransactionAborted, match=rf"{step} was refused \(why\)") as aborted:
        commit(transaction)
    assert aborted.value.unwritable == frozenset()
    assert producer.calls[-1] == "abort_transaction"
    assert transaction.state is State.CLOSED


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
def test_any_other_failure_loses_the_client_and_nothing_more_is_asked(step, told):
    producer = ToldProducer(**{step: [told]})
    transaction, _ = started(producer)
    with pytest.raises(ClientLost, match=rf"{step} failed for good \(why\)"):
        commit(transaction)
    assert transaction.state is State.LOST
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
def test_missing_right_is_the_operators_to_grant(code, flags):
    transaction, _ = started(ToldProducer(send_offsets_to_transaction=[error(code, **flags)]))
    with pytest.raises(AuthorizationError, match=r"is not allowed \(why\); check the client's rights"):
        commit(transaction)


@pytest.mark.parametrize(
    ("told", "raised", "match"),
    [
        (error(KafkaError._FENCED, fatal=True), ClientLost, "abort_transaction failed for good"),
        (error(KafkaError._STATE), TransactionAborted, "send_offsets_to_transaction was refused"),
        (
            error(KafkaError.INVALID_TXN_STATE, fatal=True),
            TransactionAborted,
            "send_offsets_to_transaction was refused",
        ),
    ],
)
def test_failed_abort_is_left_to_a_new_producer_unless_another_process_has_the_id(told, raised, match):
    refused = error(KafkaError.UNKNOWN_MEMBER_ID, txn_requires_abort=True)
    transaction, _ = started(ToldProducer(send_offsets_to_transaction=[refused], abort_transaction=[told]))
    with pytest.raises(raised, match=match):
        commit(transaction)
    assert transaction.state is State.LOST


def test_unwritable_partition_whose_transaction_could_not_be_aborted_leaves_that_to_its_own_id():
    away = [error(KafkaError._TIMED_OUT, retriable=True)] * 100
    stuck = ToldProducer(unwritable={3}, abort_transaction=away)
    transaction, makes = started(stuck, ToldProducer())
    transaction.begin(BOUND_S)
    transaction.produce("t", 3, b"k", b"v")
    with pytest.raises(TransactionAborted) as aborted:
        commit(transaction)
    assert aborted.value.unwritable == {("t", 3)}
    transaction.begin(BOUND_S)
    assert makes.ids == ["id", "id"]


def test_undelivered_records_abort_before_offsets_are_sent_and_name_their_partitions():
    stuck, next_ = ToldProducer(unwritable={3, 5}), ToldProducer()
    transaction, makes = started(stuck, next_)
    transaction.begin(BOUND_S)
    for partition in (1, 3, 5, 5):
        assert transaction.produce("t", partition, b"k", b"v")
    with pytest.raises(TransactionAborted, match=r"t\[3\], t\[5\] were not delivered .*in time") as aborted:
        commit(transaction)
    assert aborted.value.unwritable == {("t", 3), ("t", 5)}
    assert not set(STEPS) & set(stuck.calls)
    assert stuck.calls[-1] == "abort_transaction"
    commit(transaction)
    # The first id stays busy until the markers of its transaction can be written.
    assert makes.ids == ["id", "id.1"]
    assert next_.calls[-1] == "commit_transaction"


def test_failed_record_aborts_and_names_its_partition():
    producer = ToldProducer()
    transaction, _ = started(producer, ToldProducer())
    transaction.begin(BOUND_S)
    transaction.produce("t", 1, b"k", b"v")
    transaction.produce("t", 2, b"k", b"v")
    failed = producer.queue.pop()
    failed[2](error(KafkaError._MSG_TIMED_OUT), ToldMessage("t", 2))
    with pytest.raises(TransactionAborted, match=r"t\[2\] were not delivered \(why\)") as aborted:
        commit(transaction)
    assert aborted.value.unwritable == {("t", 2)}
    assert not set(STEPS) & set(producer.calls)


def test_report_about_the_producer_blames_no_partition():
    fenced = error(KafkaError._FENCED, fatal=True)
    producer = ToldProducer(send_offsets_to_transaction=[fenced])
    transaction, _ = started(producer)
    transaction.begin(BOUND_S)
    transaction.produce("t", 2, b"k", b"v")
    producer.queue.pop()[2](error(KafkaError._FENCED), ToldMessage("t", 2))
    with pytest.raises(ClientLost, match=IN_THE_WAY):
        commit(transaction)


def test_client_that_failed_for_good_meanwhile_is_lost_and_not_replaced_at_once():
    """Another process of this name would be fenced in turn, and so on."""
    first = ToldProducer()
    transaction, makes = started(first, ToldProducer())
    commit(transaction)
    first.poll = lambda _: first.raise_(error(KafkaError._FENCED, fatal=True))
    with pytest.raises(ClientLost, match=IN_THE_WAY):
        transaction.begin(BOUND_S)
    assert makes.ids == ["id"]


def test_next_transaction_keeps_a_sound_producer_and_its_epoch():
    transaction, makes = started(ToldProducer())
    commit(transaction)
    epoch = transaction.epoch
    commit(transaction)
    assert (makes.ids, transaction.epoch) == (["id"], epoch)


@pytest.mark.parametrize("step", STEPS)
def test_producer_that_saw_a_time_out_is_replaced_though_the_commit_succeeded(step):
    first, second = ToldProducer(**{step: [error(KafkaError._TIMED_OUT, retriable=True)]}), ToldProducer()
    transaction, makes = started(first, second, monotonic=lambda: 0.0)
    commit(transaction)
    assert makes.ids == ["id"], "before the next transaction, not within this one"
    commit(transaction)
    assert makes.ids == ["id", "id"]
    assert second.calls == ["init_transactions", "begin_transaction", *STEPS]


@pytest.mark.parametrize(
    ("code", "replaced"),
    [
        (KafkaError._TRANSPORT, True),
        (KafkaError._TIMED_OUT, True),
        (KafkaError._ALL_BROKERS_DOWN, True),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, False),
    ],
)
def test_producer_that_lost_a_connection_is_replaced(code, replaced):
    first = ToldProducer()
    transaction, makes = started(first, ToldProducer())
    transaction.begin(BOUND_S)
    first.heard = [error(code)]
    commit(transaction)
    commit(transaction)
    assert makes.ids == ["id"] * (2 if replaced else 1)


def test_epoch_grows_with_every_producer_whatever_the_clock_says():
    wall_ms = [5_000]
    transaction, _ = started(*(ToldProducer() for _ in range(3)), clock_ms=lambda: wall_ms[-1])
    epochs = [transaction.epoch]
    for now_ms in (4_000, 9_000):
        wall_ms.append(now_ms)
        transaction.start(BOUND_S)
        epochs.append(transaction.epoch)
    assert epochs == [5_000, 5_001, 9_000]


def test_lost_transaction_is_settled_by_a_new_producer_of_the_same_id():
    first = ToldProducer(commit_transaction=[error(KafkaError._STATE)])
    transaction, makes = started(first, ToldProducer())
    with pytest.raises(ClientLost):
        commit(transaction)
    transaction.begin(BOUND_S)
    commit(transaction)
    assert makes.ids == ["id", "id"]


def unstarted(*producers):
    makes = Makes(*producers)
    return Transaction(makes, "id", Clock(lambda: 1_000, count().__next__)), makes


def test_busy_id_is_left_for_another():
    busy = error(KafkaError.CONCURRENT_TRANSACTIONS, retriable=True)
    transaction, makes = unstarted(ToldProducer(init_transactions=[busy] * 100), ToldProducer())
    with pytest.raises(ClientLost, match="init_transactions was not answered"):
        transaction.start(BOUND_S)
    transaction.start(BOUND_S)
    assert makes.ids == ["id", "id.1"]
    commit(transaction)


def test_producer_that_was_not_answered_is_asked_again_and_no_other_is_made():
    away = error(KafkaError._TIMED_OUT, retriable=True)
    first = ToldProducer(init_transactions=[away] * 3)
    transaction, makes = unstarted(first)
    with pytest.raises(ClientLost, match="init_transactions was not answered"):
        transaction.start(1.0)
    transaction.start(BOUND_S)
    assert makes.ids == ["id"]
    assert first.calls[:3] == ["init_transactions"] * 3
    commit(transaction)


def test_producer_whose_call_hangs_is_left_to_itself(monkeypatch):
    first, released = ToldProducer(), threading.Event()
    first.init_transactions = lambda _: released.wait()  # type: ignore[attr-defined]
    transaction, makes = unstarted(first, ToldProducer())
    with monkeypatch.context() as impatient:
        for bound in ("HANGING_S", "CALL_S", "_LEAST_S"):
            impatient.setattr(calls, bound, 0.05)
        with pytest.raises(ClientLost, match="did not return"):
            transaction.start(BOUND_S)
    transaction.start(BOUND_S)
    assert makes.ids == ["id", "id"]
    released.set()


def test_closed_transaction_is_started_with_another_producer_of_the_same_id():
    transaction, makes = started(ToldProducer(), ToldProducer())
    transaction.begin(BOUND_S)
    transaction.close()
    assert transaction.state is State.LOST
    transaction.start(BOUND_S)
    assert makes.ids == ["id", "id"]


def test_nothing_is_added_to_a_transaction_that_is_not_open():
    transaction, _ = started(ToldProducer())
    with pytest.raises(RuntimeError, match="the transaction is closed, not open"):
        transaction.produce("t", 0, b"k", b"v")


def test_every_error_but_those_of_rights_is_one_that_a_new_session_may_mend():
    assert issubclass(ClientLost, BrokerError)
    assert issubclass(TransactionAborted, BrokerError)
    assert not issubclass(AuthorizationError, BrokerError)


def test_a_member_that_has_lost_its_place_commits_no_offsets(monkeypatch):
    # Its metadata names nobody, and brokers take offsets of nobody from anybody.
    monkeypatch.setattr(Member, "memberid", lambda _: None)
    producer = ToldProducer()
    transaction, _ = started(producer)
    assert produce(transaction, "t")
    with pytest.raises(TransactionAborted, match="no longer a member of its group"):
        transaction.commit([TopicPartition("t", 0, 1)], Member(), BOUND_S)
    assert transaction.state is State.CLOSED
