"""Transactions over fakes: retries, failed calls, aborts, undelivered records."""

import threading

import pytest
from confluent_kafka import KafkaError, TopicPartition

from driftgauge.errors import AuthorizationError, BrokerError, ClientLost, TransactionAborted
from driftgauge.kafka import calls
from driftgauge.kafka.transaction import State
from tests.builders.messages import FakeMessage
from tests.kafka.transaction_fakes import (
    BOUND_S,
    COMMIT_STEPS,
    FakeMember,
    FakeProducer,
    commit,
    make_error,
    started,
)

UNANSWERED = [(COMMIT_STEPS[0], TransactionAborted), (COMMIT_STEPS[1], ClientLost)]


@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_retriable_call_is_repeated(step):
    producer = FakeProducer(**{step: [make_error(KafkaError._TIMED_OUT, retriable=True)] * 3})
    commit(started(producer, monotonic=lambda: 0.0)[0])
    assert producer.calls.count(step) == 4
    assert "abort_transaction" not in producer.calls


@pytest.mark.parametrize(("step", "raised"), UNANSWERED)
def test_unanswered_call_has_unknown_outcome_only_at_commit(step, raised):
    """An answer may still arrive, so the same producer must not be used again."""
    producer = FakeProducer(**{step: [make_error(KafkaError._TIMED_OUT, retriable=True)] * 100})
    transaction, factory = started(producer, FakeProducer())
    with pytest.raises(raised, match=rf"{step} was not answered within \d+ s \(why\); check the brokers"):
        commit(transaction)
    assert 2 <= producer.calls.count(step) <= BOUND_S + 2
    assert transaction.state is State.LOST
    transaction.abort(BOUND_S)
    assert producer.calls[-1] == step
    transaction.begin(BOUND_S)
    commit(transaction)
    assert factory.ids == ["id", "id"]


@pytest.mark.parametrize(("step", "raised"), UNANSWERED)
def test_hanging_call_loses_producer(step, raised, monkeypatch):
    monkeypatch.setattr(calls, "HANGING_S", 0.05)
    producer = FakeProducer()
    release = threading.Event()
    setattr(producer, step, lambda *_: release.wait(10))
    transaction, _ = started(producer)
    with pytest.raises(raised, match=rf"{step} did not return within 0\.05 s"):
        commit(transaction)
    release.set()
    assert transaction.state is State.LOST


@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_call_that_requires_abort_aborts(step):
    error = make_error(KafkaError.INVALID_PRODUCER_ID_MAPPING, txn_requires_abort=True)
    producer = FakeProducer(**{step: [error]})
    transaction, _ = started(producer)
    with pytest.raises(
        TransactionAborted, match=rf"{step} was refused \(why\) for the transactional id id; .* repeats"
    ) as aborted:
        commit(transaction)
    assert aborted.value.unwritable == frozenset()
    assert producer.calls[-1] == "abort_transaction"
    assert transaction.state is State.CLOSED


@pytest.mark.parametrize("step", ["begin_transaction", *COMMIT_STEPS])
@pytest.mark.parametrize(
    "error",
    [
        make_error(KafkaError._FENCED, fatal=True),
        make_error(KafkaError.INVALID_TXN_STATE, fatal=True),
        make_error(KafkaError._STATE),
        make_error(KafkaError.UNKNOWN_TOPIC_OR_PART),
    ],
)
def test_permanent_failure_loses_client_without_further_calls(step, error):
    producer = FakeProducer(**{step: [error]})
    transaction, _ = started(producer)
    with pytest.raises(ClientLost, match=rf"{step} failed for good \(why\) for the transactional id id; "):
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
def test_missing_right_raises_authorization_error(code, flags):
    transaction, _ = started(FakeProducer(send_offsets_to_transaction=[make_error(code, **flags)]))
    with pytest.raises(AuthorizationError, match=r"is not allowed \(why\); check the client's rights"):
        commit(transaction)


@pytest.mark.parametrize(
    ("error", "raised", "match"),
    [
        (make_error(KafkaError._FENCED, fatal=True), ClientLost, "abort_transaction failed for good"),
        (make_error(KafkaError._STATE), TransactionAborted, "send_offsets_to_transaction was refused"),
        (
            make_error(KafkaError.INVALID_TXN_STATE, fatal=True),
            TransactionAborted,
            "send_offsets_to_transaction was refused",
        ),
    ],
)
def test_failed_abort_needs_new_producer_unless_fenced(error, raised, match):
    refused = make_error(KafkaError.UNKNOWN_MEMBER_ID, txn_requires_abort=True)
    transaction, _ = started(FakeProducer(send_offsets_to_transaction=[refused], abort_transaction=[error]))
    with pytest.raises(raised, match=match):
        commit(transaction)
    assert transaction.state is State.LOST


def test_unwritable_partition_with_failed_abort_keeps_id():
    away = [make_error(KafkaError._TIMED_OUT, retriable=True)] * 100
    stuck = FakeProducer(unwritable={3}, abort_transaction=away)
    transaction, factory = started(stuck, FakeProducer())
    transaction.begin(BOUND_S)
    transaction.produce("t", 3, b"k", b"v")
    with pytest.raises(TransactionAborted) as aborted:
        commit(transaction)
    assert aborted.value.unwritable == {("t", 3)}
    transaction.begin(BOUND_S)
    assert factory.ids == ["id", "id"]


def test_undelivered_records_abort_before_offsets_are_sent():
    stuck, next_ = FakeProducer(unwritable={3, 5}), FakeProducer()
    transaction, factory = started(stuck, next_)
    transaction.begin(BOUND_S)
    for partition in (1, 3, 5, 5):
        assert transaction.produce("t", partition, b"k", b"v")
    with pytest.raises(TransactionAborted, match=r"t\[3\], t\[5\] were not delivered .*in time") as aborted:
        commit(transaction)
    assert aborted.value.unwritable == {("t", 3), ("t", 5)}
    assert not set(COMMIT_STEPS) & set(stuck.calls)
    assert stuck.calls[-1] == "abort_transaction"
    commit(transaction)
    # The first id stays busy until its transaction's markers can be written.
    assert factory.ids == ["id", "id.1"]
    assert next_.calls[-1] == "commit_transaction"


def test_failed_record_aborts_and_names_partition():
    producer = FakeProducer()
    transaction, _ = started(producer, FakeProducer())
    transaction.begin(BOUND_S)
    transaction.produce("t", 1, b"k", b"v")
    transaction.produce("t", 2, b"k", b"v")
    failed = producer.queue.pop()
    failed[2](make_error(KafkaError._MSG_TIMED_OUT), FakeMessage(topic="t", partition=2))
    with pytest.raises(TransactionAborted, match=r"t\[2\] were not delivered \(why\)") as aborted:
        commit(transaction)
    assert aborted.value.unwritable == {("t", 2)}
    assert not set(COMMIT_STEPS) & set(producer.calls)


def test_producer_error_names_no_partition():
    fenced = make_error(KafkaError._FENCED, fatal=True)
    producer = FakeProducer(send_offsets_to_transaction=[fenced])
    transaction, _ = started(producer)
    transaction.begin(BOUND_S)
    transaction.produce("t", 2, b"k", b"v")
    producer.queue.pop()[2](make_error(KafkaError._FENCED), FakeMessage(topic="t", partition=2))
    with pytest.raises(ClientLost, match="another process uses this replica's name"):
        commit(transaction)


def test_produce_without_open_transaction_raises():
    transaction, _ = started(FakeProducer())
    with pytest.raises(RuntimeError, match="the transaction is closed, not open"):
        transaction.produce("t", 0, b"k", b"v")


def test_only_authorization_errors_are_no_broker_errors():
    assert issubclass(ClientLost, BrokerError)
    assert issubclass(TransactionAborted, BrokerError)
    assert not issubclass(AuthorizationError, BrokerError)


@pytest.mark.parametrize("later_id", [None, "", "another member"])
def test_former_member_commits_no_offsets(later_id):
    """Brokers accept offsets without a member, and of the member that rejoined after a loss."""
    producer, member = FakeProducer(), FakeMember()
    transaction, _ = started(producer)
    transaction.bind(member)
    member.member_id = later_id
    transaction.begin(BOUND_S)
    assert transaction.produce("t", 0, b"k", b"v")
    with pytest.raises(TransactionAborted, match=r"lost its place in its group group, .* repeats"):
        transaction.commit([TopicPartition("t", 0, 1)], BOUND_S)
    assert transaction.state is State.CLOSED
    assert not set(COMMIT_STEPS) & set(producer.calls)
