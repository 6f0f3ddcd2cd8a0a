"""The transactional producer over fakes: when it is replaced, by which id and epoch."""

import threading
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError, KafkaException

from driftgauge.errors import ClientLost
from driftgauge.kafka import calls
from driftgauge.kafka.transaction import State
from tests.kafka.transaction_fakes import (
    BOUND_S,
    COMMIT_STEPS,
    FakeProducer,
    commit,
    make_error,
    started,
    unstarted_transaction,
)


def test_fenced_producer_is_not_replaced_at_once():
    """A new producer would fence the other process of this name, and so on in turns."""
    first = FakeProducer()
    transaction, factory = started(first, FakeProducer())
    commit(transaction)
    first.poll = Mock(side_effect=KafkaException(make_error(KafkaError._FENCED, fatal=True)))
    with pytest.raises(ClientLost, match="another process uses this replica's name"):
        transaction.begin(BOUND_S)
    assert factory.ids == ["id"]


def test_next_transaction_keeps_working_producer_and_epoch():
    transaction, factory = started(FakeProducer())
    commit(transaction)
    epoch = transaction.epoch
    commit(transaction)
    assert (factory.ids, transaction.epoch) == (["id"], epoch)


@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_producer_is_replaced_after_time_out_and_commit(step):
    first, second = (
        FakeProducer(**{step: [make_error(KafkaError._TIMED_OUT, retriable=True)]}),
        FakeProducer(),
    )
    transaction, factory = started(first, second, monotonic=lambda: 0.0)
    commit(transaction)
    assert factory.ids == ["id"], "before the next transaction, not within this one"
    commit(transaction)
    assert factory.ids == ["id", "id"]
    assert second.calls == ["init_transactions", "begin_transaction", *COMMIT_STEPS]


@pytest.mark.parametrize(
    ("code", "replaced"),
    [
        (KafkaError._TRANSPORT, True),
        (KafkaError._TIMED_OUT, True),
        (KafkaError._ALL_BROKERS_DOWN, True),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, False),
    ],
)
def test_producer_is_replaced_after_lost_connection(code, replaced):
    first = FakeProducer()
    transaction, factory = started(first, FakeProducer())
    transaction.begin(BOUND_S)
    first.errors = [make_error(code)]
    commit(transaction)
    commit(transaction)
    assert factory.ids == ["id"] * (2 if replaced else 1)


def test_epoch_grows_with_every_producer_even_if_clock_steps_back():
    wall_ms = [5_000]
    transaction, _ = started(*(FakeProducer() for _ in range(3)), clock_ms=lambda: wall_ms[-1])
    epochs = [transaction.epoch]
    for now_ms in (4_000, 9_000):
        wall_ms.append(now_ms)
        transaction.start(BOUND_S)
        epochs.append(transaction.epoch)
    assert epochs == [5_000, 5_001, 9_000]


def test_lost_transaction_is_settled_by_new_producer_of_same_id():
    first = FakeProducer(commit_transaction=[make_error(KafkaError._STATE)])
    transaction, factory = started(first, FakeProducer())
    with pytest.raises(ClientLost):
        commit(transaction)
    transaction.begin(BOUND_S)
    commit(transaction)
    assert factory.ids == ["id", "id"]


def test_busy_id_is_replaced_by_another():
    busy = make_error(KafkaError.CONCURRENT_TRANSACTIONS, retriable=True)
    transaction, factory = unstarted_transaction(FakeProducer(init_transactions=[busy] * 100), FakeProducer())
    with pytest.raises(ClientLost, match="init_transactions was not answered"):
        transaction.start(BOUND_S)
    transaction.start(BOUND_S)
    assert factory.ids == ["id", "id.1"]
    commit(transaction)


def test_unanswered_producer_is_started_again():
    away = make_error(KafkaError._TIMED_OUT, retriable=True)
    first = FakeProducer(init_transactions=[away] * 3)
    transaction, factory = unstarted_transaction(first)
    with pytest.raises(ClientLost, match="init_transactions was not answered"):
        transaction.start(1.0)
    transaction.start(BOUND_S)
    assert factory.ids == ["id"]
    assert first.calls[:3] == ["init_transactions"] * 3
    commit(transaction)


def test_producer_with_hanging_call_is_replaced(monkeypatch):
    first, released = FakeProducer(), threading.Event()
    first.init_transactions = lambda _: released.wait()
    transaction, factory = unstarted_transaction(first, FakeProducer())
    with monkeypatch.context() as impatient:
        for bound in ("HANGING_S", "CALL_S", "_LEAST_S"):
            impatient.setattr(calls, bound, 0.05)
        with pytest.raises(ClientLost, match="did not return"):
            transaction.start(BOUND_S)
    transaction.start(BOUND_S)
    assert factory.ids == ["id", "id"]
    released.set()


def test_closed_transaction_starts_with_new_producer_of_same_id():
    transaction, factory = started(FakeProducer(), FakeProducer())
    transaction.begin(BOUND_S)
    transaction.close()
    assert transaction.state is State.LOST
    transaction.start(BOUND_S)
    assert factory.ids == ["id", "id"]
