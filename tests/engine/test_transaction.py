"""Transactions over a fake producer: outcomes of failures, delivery reports, and the bound of a commit."""

import gc
import threading
import weakref
from contextlib import suppress
from functools import partial
from itertools import count
from unittest.mock import Mock

import pytest
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from driftgauge.clock import Clock
from driftgauge.core.commit_limit import MAX_COMMIT_BYTES, CommitLimit
from driftgauge.engine.producer.deliveries import Deliveries
from driftgauge.engine.producer.transaction import Transaction, bounded
from driftgauge.errors import AuthorizationError, TransactionFailed
from driftgauge.kafka import calls
from tests.builders.clocks import ManualClock
from tests.builders.messages import TOPIC, FakeMessage

BOUND_S = 5.0
SEND, COMMIT = COMMIT_STEPS = "send_offsets_to_transaction", "commit_transaction"
ABORT = "abort_transaction"


def make_error(code, **flags):
    return KafkaError(code, "why", **flags)


AWAY = make_error(KafkaError._TIMED_OUT, retriable=True)
FENCED = make_error(KafkaError._FENCED, fatal=True)
INVALID = make_error(KafkaError.INVALID_TXN_STATE, fatal=True)
WRONG_STATE = make_error(KafkaError._STATE)
REFUSED = make_error(KafkaError.INVALID_PRODUCER_ID_MAPPING, txn_requires_abort=True)
DENIED = make_error(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
AUTHORIZATION = [
    (
        {SEND: [make_error(code, **flags)]},
        AuthorizationError,
        rf"is not allowed \(why\); {remedy}",
        SEND,
        False,
    )
    for code, remedy in (
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, "check the client's rights"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "grant Read on the group "),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "check the client's rights"),
        (
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "grant Write and Describe on the transactional id id",
        ),
    )
    for flags in ({}, {"fatal": True}, {"txn_requires_abort": True})
]
# The errors of each step, one a call; what is raised, with its text; the producer's last call, and whether it
# needs a successor.
FAILURES = [
    *(
        (
            {step: [AWAY] * 100},
            TransactionFailed,
            rf"{step} was not answered within \d+ s \(why\); check",
            step,
            True,
        )
        for step in COMMIT_STEPS
    ),
    *(
        (
            {step: [REFUSED]},
            TransactionFailed,
            rf"{step} was refused \(why\) .* id id; .* repeats",
            ABORT,
            False,
        )
        for step in COMMIT_STEPS
    ),
    *(
        (
            {step: [error]},
            TransactionFailed,
            rf"{step} failed for good \(why\) for the transactional id id; ",
            step,
            True,
        )
        for step in ("begin_transaction", *COMMIT_STEPS)
        for error in (FENCED, INVALID, WRONG_STATE, make_error(KafkaError.UNKNOWN_TOPIC_OR_PART))
    ),
    ({SEND: [REFUSED], ABORT: [FENCED]}, TransactionFailed, "abort_transaction failed for good", ABORT, True),
    *(
        ({SEND: [REFUSED], ABORT: [error]}, TransactionFailed, f"{SEND} was refused", ABORT, True)
        for error in (INVALID, WRONG_STATE)
    ),
    ({SEND: [REFUSED], ABORT: [DENIED]}, AuthorizationError, "abort_transaction is not allowed", ABORT, True),
]


class FakeProducer:
    """A producer whose calls fail with the errors given, one per call, and then succeed.

    Partitions that are not `unwritable` take records; an abort purges the records of the others.

    Attributes:
        calls: The names of the calls, in order.
        queue: The topic, the partition and the callback of each record that is not delivered yet.
        errors: Errors that the next poll reports.
    """

    def __init__(self, unwritable=(), **failures):
        self._failures = {name: [*errors] for name, errors in failures.items()}
        self._unwritable = unwritable
        self.calls, self.queue, self.errors = [], [], []

    def __len__(self):
        return len(self.queue)

    def __getattr__(self, name):
        """Return any other method: it may fail, and does nothing else."""
        return partial(self._call, name)

    def begin_transaction(self):
        if "begin_transaction" in self.calls[-1:] or self.queue:
            raise KafkaException(make_error(KafkaError._STATE))
        self._call("begin_transaction")

    def abort_transaction(self, _):
        self._report(list(self.queue), make_error(KafkaError._PURGE_QUEUE))
        self._call("abort_transaction")

    def poll(self, _):
        while self.errors:
            self.on_error(self.errors.pop())

    def produce(self, topic, *, partition, on_delivery, **_):
        self.queue.append((topic, partition, on_delivery))

    def flush(self, _):
        self._report([record for record in self.queue if record[1] not in self._unwritable], None)
        return len(self.queue)

    def _call(self, name, *_):
        self.calls.append(name)
        if self._failures.get(name):
            raise KafkaException(self._failures[name].pop(0))

    def _report(self, records, error):
        for record in records:
            self.queue.remove(record)
            topic, partition, on_delivery = record
            on_delivery(error, FakeMessage(topic=topic, partition=partition))


def unstarted_transaction(*producers, clock_ms=lambda: 1_000, monotonic=None, stopping=None):
    """Return a transaction with these producers, one after the other, and the ids that they were asked for.

    Its clock advances by a second at every reading unless one is given.
    """
    left, ids = [*producers], []

    def make(transactional_id, on_error):
        ids.append(transactional_id)
        left[0].on_error = on_error
        return left.pop(0)

    clock = Clock(clock_ms, monotonic or count().__next__)
    return Transaction(make, "id", clock, group="group", stopping=stopping or threading.Event()), ids


def started(*producers, **clocks):
    transaction, ids = unstarted_transaction(*producers, **clocks)
    transaction.start(BOUND_S)
    return transaction, ids


def member_named(name):
    """Return a consumer that is this member of its group."""
    return Mock(**{"memberid.return_value": name})


def commit(transaction, bound_s=BOUND_S):
    """Commit one offset for a member, in a new transaction unless one is open."""
    transaction.bind(member_named("member"))
    with suppress(RuntimeError):
        transaction.begin(BOUND_S)
    transaction.commit([TopicPartition("t", 0, 1)], bound_s)


@pytest.mark.parametrize(("failures", "raised", "text", "last_call", "is_lost"), [*FAILURES, *AUTHORIZATION])
def test_failure_has_its_outcome(failures, raised, text, last_call, is_lost):
    producer = FakeProducer(**failures)
    transaction, ids = started(producer, FakeProducer())
    with pytest.raises(raised, match=text):
        commit(transaction)
    calls = [*producer.calls]
    assert (calls[-1], transaction.needs_producer) == (last_call, is_lost)
    if is_lost:
        # An answer may still arrive, so the producer gets no further call.
        transaction.abort(BOUND_S)
        commit(transaction)
        assert (producer.calls, ids) == (calls, ["id", "id"])


@pytest.mark.parametrize(
    ("failures", "reported", "is_replaced"),
    [
        ({}, None, False),
        ({}, KafkaError.TOPIC_AUTHORIZATION_FAILED, False),
        ({}, KafkaError._TRANSPORT, True),
        ({}, KafkaError._TIMED_OUT, True),
        ({}, KafkaError._ALL_BROKERS_DOWN, True),
        # Unanswered calls are repeated.
        *(({step: [AWAY] * 3}, None, True) for step in COMMIT_STEPS),
    ],
)
def test_producer_is_replaced_after_a_lost_connection_alone(failures, reported, is_replaced):
    first = FakeProducer(**failures)
    transaction, ids = started(first, FakeProducer(), monotonic=lambda: 0.0)
    transaction.begin(BOUND_S)
    first.errors = [] if reported is None else [make_error(reported)]
    epoch = transaction.epoch
    commit(transaction)
    assert ids == ["id"], "before the next transaction, not within this one"
    commit(transaction)
    assert ids == ["id"] * (1 + is_replaced)
    assert (transaction.epoch > epoch) == is_replaced


@pytest.mark.parametrize("step", ["init_transactions", *COMMIT_STEPS])
def test_hanging_call_loses_producer(step, monkeypatch):
    producer, release = FakeProducer(), threading.Event()
    setattr(producer, step, lambda *_: release.wait(10))
    transaction, ids = unstarted_transaction(producer, FakeProducer())
    for bound in ("HANGING_S", "CALL_S", "_LEAST_S"):
        monkeypatch.setattr(calls, bound, 0.05)
    with pytest.raises(TransactionFailed, match=rf"{step} did not return within 0\.05 s"):
        commit(transaction)
    monkeypatch.undo()
    release.set()
    commit(transaction)
    assert ids == ["id", "id"]


def test_call_without_a_thread_says_which_limit_to_raise(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
    with pytest.raises(TransactionFailed, match="podPidsLimit") as lost:
        unstarted_transaction(FakeProducer())[0].start(1.0)
    assert lost.value.reason == "_CRIT_SYS_RESOURCE"


@pytest.mark.parametrize(
    ("abort", "next_id"), [([], "id.1"), ([AWAY] * 100, "id")], ids=["aborted", "the abort is not answered"]
)
def test_undelivered_records_abort_before_offsets_are_sent(abort, next_id):
    stuck, next_ = FakeProducer(unwritable={3, 5}, abort_transaction=abort), FakeProducer()
    transaction, ids = started(stuck, next_)
    transaction.begin(BOUND_S)
    for partition in (3, 5, 5):
        assert transaction.produce("t", partition, b"k", b"v")
    with pytest.raises(TransactionFailed, match=r"t\[3\], t\[5\] were not delivered .*in time") as aborted:
        commit(transaction)
    assert aborted.value.unwritable == {("t", 3), ("t", 5)}
    assert not set(COMMIT_STEPS) & set(stuck.calls)
    transaction.begin(BOUND_S)
    commit(transaction)
    # After the abort the first id stays busy until its markers can be written.
    assert ids == ["id", next_id]
    assert next_.calls[-1] == COMMIT


@pytest.mark.parametrize(
    ("code", "sends", "text", "unwritable", "too_large"),
    [
        (KafkaError.NOT_ENOUGH_REPLICAS, [], r"t\[2\] were not delivered \(why\)", {("t", 2)}, {}),
        (KafkaError.MSG_SIZE_TOO_LARGE, [], r"raise max\.message\.bytes of t", set(), {("t", 2): b"k"}),
        # The producer itself failed.
        *(
            (code, [FENCED], "another process uses this replica's name", set(), {})
            for code in (
                KafkaError._FENCED,
                KafkaError.INVALID_PRODUCER_EPOCH,
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
            )
        ),
    ],
)
def test_failed_record_names_its_partition_unless_the_producer_failed(
    code, sends, text, unwritable, too_large
):
    producer = FakeProducer(**{SEND: sends})
    transaction, _ = started(producer)
    transaction.begin(BOUND_S)
    transaction.produce("t", 1, b"k", b"v")
    transaction.produce("t", 2, b"k", b"v")
    producer.queue.pop()[2](make_error(code), FakeMessage(topic="t", partition=2, key=b"k"))
    with pytest.raises(TransactionFailed, match=text) as failed:
        commit(transaction)
    assert (failed.value.unwritable, failed.value.too_large) == (unwritable, too_large)
    assert COMMIT not in producer.calls


@pytest.mark.parametrize("later_id", [None, "", "another member"])
def test_former_member_commits_no_offsets(later_id):
    """Brokers accept offsets without a member, and of the member that rejoined after a loss."""
    producer, member = FakeProducer(), member_named("member")
    transaction, _ = started(producer)
    transaction.bind(member)
    member.memberid.return_value = later_id
    transaction.begin(BOUND_S)
    assert transaction.produce("t", 0, b"k", b"v")
    with pytest.raises(TransactionFailed, match=r"lost its place in its group group, .* repeats"):
        transaction.commit([TopicPartition("t", 0, 1)], BOUND_S)
    assert not transaction.needs_producer
    assert not set(COMMIT_STEPS) & set(producer.calls)


def test_epoch_grows_with_every_producer_even_if_clock_steps_back():
    wall_ms = [5_000]
    transaction, _ = started(*(FakeProducer() for _ in range(3)), clock_ms=lambda: wall_ms[-1])
    epochs = [transaction.epoch]
    for now_ms in (4_000, 9_000):
        wall_ms.append(now_ms)
        transaction.start(BOUND_S)
        epochs.append(transaction.epoch)
    assert epochs == [5_000, 5_001, 9_000]


@pytest.mark.parametrize(
    ("error", "failures", "asked"),
    [
        (make_error(KafkaError.CONCURRENT_TRANSACTIONS, retriable=True), 100, ["id", "id.1"]),
        (AWAY, 3, ["id"]),
    ],
    ids=["a busy id is replaced by another", "an unanswered producer is started again"],
)
def test_failed_start_is_repeated(error, failures, asked):
    first = FakeProducer(init_transactions=[error] * failures)
    transaction, ids = unstarted_transaction(first, FakeProducer())
    with pytest.raises(TransactionFailed, match="init_transactions was not answered"):
        transaction.start(1.0)
    transaction.start(BOUND_S)
    assert ids == asked
    commit(transaction)


def test_connection_lost_before_the_first_transaction_needs_no_other_producer(monkeypatch):
    first, lost = FakeProducer(), make_error(KafkaError._TRANSPORT)
    monkeypatch.setattr(first, "init_transactions", lambda _: first.on_error(lost))
    transaction, ids = started(first, FakeProducer())
    commit(transaction)
    assert ids == ["id"]


def test_close_releases_the_producer_whose_successor_has_the_same_id():
    transaction, ids = started(producer := FakeProducer(), FakeProducer())
    transaction.begin(BOUND_S)
    released = weakref.ref(producer)
    transaction.close()
    del producer
    gc.collect()
    assert (released(), transaction.needs_producer) == (None, True)
    commit(transaction)
    assert ids == ["id", "id"]


def test_stop_ends_the_waits_for_brokers():
    stopping = threading.Event()
    stopping.set()
    away = FakeProducer(init_transactions=[AWAY] * 100)
    with pytest.raises(TransactionFailed, match="init_transactions was not answered"):
        unstarted_transaction(away, stopping=stopping)[0].start(100)
    assert away.calls == ["init_transactions"]
    now_s = count()
    transaction, _ = started(FakeProducer(unwritable={3}), monotonic=now_s.__next__, stopping=stopping)
    transaction.begin(BOUND_S)
    transaction.produce("t", 3, None, b"")
    with pytest.raises(TransactionFailed):
        commit(transaction, 1_000)
    assert next(now_s) < 100


@pytest.fixture
def deliveries(clock):
    return Deliveries(lambda: clock.wall_ms, clock.clock.monotonic_s)


def test_too_large_record_is_known_by_its_key(deliveries):
    error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    for key, size in ((b"first", 10), (b"large", 900), (b"last", 20)):
        deliveries.report(error, FakeMessage(b"x" * size, partition=3, key=key))
    assert deliveries.too_large == {(TOPIC, 3): b"large"}


def test_append_is_first_report_with_log_append_time(deliveries):
    for kind, append_ms in ((TIMESTAMP_CREATE_TIME, 1), (TIMESTAMP_LOG_APPEND_TIME, 5)):
        deliveries.report(None, FakeMessage(stamp=(kind, append_ms)))
    found = deliveries.append
    assert found.append_ms == 5
    deliveries.report(None, FakeMessage(stamp=(TIMESTAMP_LOG_APPEND_TIME, 9)))
    assert deliveries.append is found


HERE = {(TOPIC, 3)}
LATE = [KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._MSG_TIMED_OUT]


@pytest.mark.parametrize("code", LATE)
@pytest.mark.parametrize(
    ("taken_from", "silent_s", "unwritable", "is_slow"),
    [
        # Of several partitions some have to wait for their turn.
        (2, 4.9, set(), True),
        (3, 4.9, set(), True),
        (2, 5, HERE, False),
        (3, 5, HERE, False),
        (None, 0, HERE, False),
    ],
)
def test_no_partition_is_blamed_while_brokers_take_records(
    deliveries, clock, code, taken_from, silent_s, unwritable, is_slow
):
    if taken_from is not None:
        deliveries.report(None, FakeMessage(partition=taken_from))
    clock.advance(silent_s)
    deliveries.end()
    # The abort takes its time as well.
    clock.advance(10)
    deliveries.report(KafkaError(code), FakeMessage(partition=3))
    # If the producer fails, records are purged as well, and its next call says why.
    assert deliveries.failed == (code == KafkaError._MSG_TIMED_OUT)
    deliveries.blame_late()
    assert (deliveries.unwritable, deliveries.is_slow) == (unwritable, is_slow)


FULL = MAX_COMMIT_BYTES


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(True, 5.9)], FULL),
        ([(True, 6.0)], FULL // 2),
        ([(False, 12.0)] * 2, FULL // 4),
        # Fenced, or a partition refused a record at once: a smaller commit would fail as well.
        ([(False, 0.1)] * 5, FULL),
        ([(False, 12.0)] * 9, 2**20),
        ([(True, 6.0), *[(True, 1.9)] * 9], FULL // 2),
        ([(True, 6.0), *[(True, 1.9)] * 10], FULL),
        # Neither quick nor slow: ten quick ones begin again.
        ([(True, 6.0), *[(True, 1.9)] * 9, (True, 2.0), (True, 1.9)], FULL // 2),
        ([(True, 6.0), *[(True, 1.9)] * 9, (False, 0.1), (True, 1.9)], FULL // 2),
        ([(True, 0.1)] * 30, FULL),
    ],
)
def test_bound_follows_time_of_commits(steps, expected):
    limit = CommitLimit()
    for is_committed, took_s in steps:
        (limit.committed if is_committed else limit.aborted)(took_s)
    assert limit.bytes == expected


@pytest.mark.parametrize(
    ("error", "ratio"),
    [
        (TransactionFailed("slow", is_slow=True), 0.5),
        (TransactionFailed("no answer"), 0.5),
        (TransactionFailed("silent", unwritable=[("changelog", 0)]), 1.0),
        (TransactionFailed("large", too_large={("changelog", 0): b"key"}), 1.0),
    ],
)
def test_partition_that_takes_nothing_does_not_lower_bound(error, ratio):
    limit, clock = CommitLimit(), ManualClock()

    def fail():
        clock.advance(12)
        raise error

    with pytest.raises(TransactionFailed), bounded(Mock(), limit, clock.clock, 12.0):
        fail()
    assert limit.ratio == ratio
