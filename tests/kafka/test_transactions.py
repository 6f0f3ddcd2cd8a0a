"""Tests of the facts that exactly-once counting relies on: transactions, offsets and partition ends.

README.md beside this file describes them.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from tests.harness.topics import non_member
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

TIMEOUT_S = 30.0
READ_COMMITTED = "read_committed"
READ_UNCOMMITTED = "read_uncommitted"


@dataclass(frozen=True)
class Read:
    """The result of reading a partition from its beginning to the end that the client reported."""

    records: list[tuple[int, bytes | None]]  # offset and value
    end: int  # the offset of the end-of-partition event
    position: int  # the consumer's position once it has seen that event


@pytest.fixture
def topic(bootstrap: str) -> str:
    """A new topic of one partition."""
    name = f"txn-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": bootstrap})  # a request needs its client until it is answered
    admin.create_topics([NewTopic(name, 1)])[name].result(TIMEOUT_S)
    return name


def consumer(
    bootstrap: str, *, group: str = "reader", isolation: str = READ_COMMITTED
) -> AbstractContextManager[Consumer]:
    return non_member(
        bootstrap, group, isolation_level=isolation, enable_partition_eof=True, auto_offset_reset="earliest"
    )


def transactional(bootstrap: str, transactional_id: str) -> Producer:
    """Return a producer that has fenced every earlier one of its transactional id."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": 20_000,
        }
    )
    producer.init_transactions(TIMEOUT_S)
    return producer


def write(producer: Producer, topic: str, *values: bytes) -> None:
    """Write in the open transaction, and wait until the broker has the records."""
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(TIMEOUT_S) == 0


def write_committed(producer: Producer, topic: str, *values: bytes) -> None:
    producer.begin_transaction()
    write(producer, topic, *values)
    producer.commit_transaction(TIMEOUT_S)


def read(bootstrap: str, topic: str, isolation: str, until: int) -> Read:
    """Read from the beginning to the first reported end at or after offset `until`.

    Earlier ends are ignored, because a transaction's marker may follow its commit a little later.
    """
    records: list[tuple[int, bytes | None]] = []
    partition = TopicPartition(topic, 0, OFFSET_BEGINNING)
    deadline = time.monotonic() + TIMEOUT_S
    with consumer(bootstrap, isolation=isolation) as client:
        client.assign([partition])
        while time.monotonic() < deadline:
            message = client.poll(0.1)
            if message is None:
                continue
            error = message.error()
            offset = message.offset()
            assert offset is not None
            if error is None:
                records.append((offset, message.value()))
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            elif offset >= until:
                return Read(records, offset, client.position([partition])[0].offset)
    pytest.fail(f"No end at or after {until} in {TIMEOUT_S:.0f} s; read: {records}")


def committed(
    bootstrap: str,
    group: str,
    topic: str,
    isolation: str = READ_COMMITTED,
    timeout_s: float = TIMEOUT_S,
) -> tuple[int, str | None]:
    """Return the group's committed offset and metadata of partition 0."""
    with consumer(bootstrap, group=group, isolation=isolation) as client:
        (found,) = client.committed([TopicPartition(topic, 0)], timeout=timeout_s)
        return found.offset, found.metadata


def error_of(call: Callable[[], object]) -> KafkaError:
    """Return the error that `call` must raise."""
    with pytest.raises(KafkaException) as raised:
        call()
    error = raised.value.args[0]
    assert isinstance(error, KafkaError)
    return error


def join(client: Consumer, topic: str) -> None:
    """Subscribe, and wait until the member owns a partition."""
    client.subscribe([topic])

    def assigned() -> list[TopicPartition]:
        client.poll(0.1)
        return client.assignment()

    wait_for(f"an assignment of {topic}", assigned, within_s=TIMEOUT_S)


def test_marker_of_committed_transaction_takes_an_offset(bootstrap: str, topic: str) -> None:
    producer = transactional(bootstrap, topic)

    write_committed(producer, topic, b"a", b"b")
    write_committed(producer, topic, b"c")

    # The markers have offsets 2 and 4. No isolation level shows a record there, but the reported end and the
    # position pass over them, so position == end means that everything was read.
    expected = Read([(0, b"a"), (1, b"b"), (3, b"c")], end=5, position=5)
    assert read(bootstrap, topic, READ_COMMITTED, until=5) == expected
    assert read(bootstrap, topic, READ_UNCOMMITTED, until=5) == expected


def test_aborted_transaction_is_visible_only_to_read_uncommitted(bootstrap: str, topic: str) -> None:
    producer = transactional(bootstrap, topic)
    producer.begin_transaction()
    write(producer, topic, b"lost")
    producer.abort_transaction(TIMEOUT_S)

    assert read(bootstrap, topic, READ_COMMITTED, until=2) == Read([], end=2, position=2)
    assert read(bootstrap, topic, READ_UNCOMMITTED, until=2).records == [(0, b"lost")]


def test_reported_end_is_before_open_transaction(bootstrap: str, topic: str) -> None:
    """Under read_committed the end is not the end of the log, so a restore must compare both."""
    producer = transactional(bootstrap, topic)
    write_committed(producer, topic, b"done")
    producer.begin_transaction()
    write(producer, topic, b"open")

    assert read(bootstrap, topic, READ_COMMITTED, until=2) == Read([(0, b"done")], 2, 2)
    partition = TopicPartition(topic, 0)
    with consumer(bootstrap) as client:
        # The stable offset, not the high watermark, which is 3.
        assert client.get_watermark_offsets(partition, timeout=TIMEOUT_S) == (0, 2)
        # The cached one, which comes with fetched data, is the high watermark nevertheless.
        client.assign([TopicPartition(topic, 0, 2)])
        message = client.poll(TIMEOUT_S)
        assert message is not None
        assert message.error().code() == KafkaError._PARTITION_EOF
        assert client.get_watermark_offsets(partition, cached=True)[1] == 3
    with consumer(bootstrap, isolation=READ_UNCOMMITTED) as client:
        assert client.get_watermark_offsets(partition, timeout=TIMEOUT_S) == (0, 3)
    producer.abort_transaction(TIMEOUT_S)


def test_fenced_producer_cannot_commit(bootstrap: str, topic: str) -> None:
    stale = transactional(bootstrap, topic)
    stale.begin_transaction()
    write(stale, topic, b"stale")
    owner = transactional(bootstrap, topic)  # takes over, and aborts the open transaction

    for call in (stale.commit_transaction, stale.abort_transaction, stale.begin_transaction):
        error = error_of(call)
        assert error.code() == KafkaError._FENCED
        assert error.fatal()
        assert not error.retriable()
        assert not error.txn_requires_abort()

    write_committed(owner, topic, b"owner")
    assert read(bootstrap, topic, READ_COMMITTED, until=4).records == [(2, b"owner")]
    assert read(bootstrap, topic, READ_UNCOMMITTED, until=4).records == [
        (0, b"stale"),
        (2, b"owner"),
    ]


def test_offsets_become_visible_with_commit(bootstrap: str, topic: str) -> None:
    group = topic
    producer = transactional(bootstrap, topic)
    with consumer(bootstrap, group=group) as member:
        join(member, topic)
        producer.begin_transaction()
        write(producer, topic, b"output")
        producer.send_offsets_to_transaction(
            [TopicPartition(topic, 0, 7, metadata="rev=3")],
            member.consumer_group_metadata(),
            TIMEOUT_S,
        )

        assert committed(bootstrap, group, topic, READ_UNCOMMITTED) == (OFFSET_INVALID, None)
        # Under read_committed the request waits for the open transaction instead of returning the old offset.
        error = error_of(lambda: committed(bootstrap, group, topic, timeout_s=1.0))
        assert error.code() == KafkaError._TIMED_OUT

        producer.commit_transaction(TIMEOUT_S)
        assert committed(bootstrap, group, topic) == (7, "rev=3")

        producer.begin_transaction()
        producer.send_offsets_to_transaction(
            [TopicPartition(topic, 0, 9)], member.consumer_group_metadata(), TIMEOUT_S
        )
        producer.abort_transaction(TIMEOUT_S)
        assert committed(bootstrap, group, topic) == (7, "rev=3")


def test_offsets_of_former_member_are_refused(bootstrap: str, topic: str) -> None:
    """This refusal guards against an owner that lost its partitions without noticing."""
    producer = transactional(bootstrap, topic)
    with consumer(bootstrap, group=topic) as member:
        join(member, topic)
        stale = member.consumer_group_metadata()

    producer.begin_transaction()
    error = error_of(
        lambda: producer.send_offsets_to_transaction([TopicPartition(topic, 0, 7)], stale, TIMEOUT_S)
    )
    assert error.code() == KafkaError.UNKNOWN_MEMBER_ID
    assert error.txn_requires_abort()
    assert not error.fatal()
    producer.abort_transaction(TIMEOUT_S)
    assert committed(bootstrap, topic, topic) == (OFFSET_INVALID, None)


@pytest.mark.parametrize("metadata", ["rev=3;größe=1", "m" * 4095, "é" * 4095])
def test_commit_keeps_metadata(bootstrap: str, topic: str, metadata: str) -> None:
    with consumer(bootstrap, group=topic) as client:
        client.commit(offsets=[TopicPartition(topic, 0, 5, metadata=metadata)], asynchronous=False)
    assert committed(bootstrap, topic, topic) == (5, metadata)


def test_commit_without_metadata_clears_metadata(bootstrap: str, topic: str) -> None:
    with consumer(bootstrap, group=topic) as client:
        client.commit(offsets=[TopicPartition(topic, 0, 5, metadata="old")], asynchronous=False)
        client.commit(offsets=[TopicPartition(topic, 0, 6)], asynchronous=False)
    assert committed(bootstrap, topic, topic) == (6, None)


def test_commit_with_too_long_metadata_is_refused(bootstrap: str, topic: str) -> None:
    """The broker accepts 4096 UTF-16 units, and the client uses one for a closing NUL."""
    offsets = [TopicPartition(topic, 0, 5, metadata="m" * 4096)]
    with consumer(bootstrap, group=topic) as client:
        error = error_of(lambda: client.commit(offsets=offsets, asynchronous=False))
        assert error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE
        assert not error.retriable()

        producer = transactional(bootstrap, topic)
        producer.begin_transaction()
        group = client.consumer_group_metadata()
        error = error_of(lambda: producer.send_offsets_to_transaction(offsets, group, TIMEOUT_S))
        assert error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE
        assert error.txn_requires_abort()
        producer.abort_transaction(TIMEOUT_S)
    assert committed(bootstrap, topic, topic) == (OFFSET_INVALID, None)
