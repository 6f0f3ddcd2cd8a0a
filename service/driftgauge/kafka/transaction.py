"""Kafka transactions of one role, one at a time: records and the group's offsets are committed atomically.

As in Kafka Streams' exactly-once (KIP-447), offsets are sent with the consumer group's metadata, so brokers
refuse a member that has lost its partitions without noticing.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Final, NoReturn

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from driftgauge.clock import Clock
from driftgauge.core.commit_limit import CommitLimit
from driftgauge.core.partition import name_partitions
from driftgauge.errors import BrokerError, ClientLost, TransactionAborted
from driftgauge.kafka.calls import AUTHORIZATION, CALL_S, insist
from driftgauge.kafka.clock import Append
from driftgauge.kafka.deliveries import Deliveries
from driftgauge.kafka.transaction_errors import call_denied, call_failed, call_refused, membership_lost
from driftgauge.kafka.transactional import MakeProducer, TransactionalProducer

__all__ = [
    "ANY",
    "AUTHORIZATION",
    "BEGIN_S",
    "Headers",
    "State",
    "Transaction",
    "bounded",
    "produce_or_abort",
]

_log = logging.getLogger(__name__)

# After this many waits for a full queue the client counts as lost.
_QUEUE_ATTEMPTS: Final = 10
_QUEUE_WAIT_S: Final = 1.0
_FLUSH_S: Final = 0.2

BEGIN_S: Final = 5.0
"""How long a new producer may take before a commit: a member that does not poll holds up its group."""

ANY: Final = -1
"""Any partition: chosen by the record's key, or at random without one."""

Headers = list[tuple[str, str | bytes | None]]


class State(Enum):
    """The states of a `Transaction`.

    CLOSED: No transaction is open; `begin` opens one.
    OPEN: Records and offsets can be added; `commit` and `abort` close the transaction.
    LOST: The producer is unusable, and the outcome of the last transaction may be unknown; a new producer,
        made by `start` or `begin`, settles it.
    """

    CLOSED = auto()
    OPEN = auto()
    LOST = auto()


class Transaction:
    """A transaction that opens by `begin` and closes by `commit` or `abort`, again and again.

    It makes and replaces its producer.
    """

    def __init__(
        self,
        make_producer: MakeProducer,
        transactional_id: str,
        clock: Clock,
        *,
        group: str,
        stopping: threading.Event,
    ) -> None:
        """Start without a producer.

        Args:
            make_producer: Makes producers.
            transactional_id: Their transactional id.
            clock: The clock.
            group: The group of the bound consumers, for messages.
            stopping: Once it is set, brokers that do not answer are not waited for.
        """
        self._group = group
        self._stopping = stopping
        self._producer = TransactionalProducer(make_producer, transactional_id, clock, stopping)
        self._clock = clock
        self._state = State.LOST
        self._deliveries = Deliveries(clock.wall_ms, clock.monotonic_s)
        self._consumer: Consumer | None = None
        self._member_id: str | None = None

    @property
    def state(self) -> State:
        """The state of the transaction."""
        return self._state

    @property
    def producer(self) -> str:
        """The producer's name in commits: the transactional id, which `start` and `begin` may change."""
        return self._producer.transactional_id

    @property
    def epoch(self) -> int:
        """The producer's epoch in commits, which grows with every producer, in `start` and `begin` only."""
        return self._producer.epoch

    @property
    def append(self) -> Append | None:
        """When brokers appended the last transaction's first record to a topic with LogAppendTime."""
        return self._deliveries.append

    def close(self) -> None:
        """Release the producer, even with an open transaction; `start` makes another."""
        self._state = State.LOST
        self._producer.close()

    def start(self, bound_s: float) -> None:
        """Make a producer and end the transaction that an earlier one of the same id left open.

        Raises:
            ClientLost: The brokers did not answer within the bound.
            AuthorizationError: The cluster denies the right.
        """
        self._state = State.LOST
        self._producer.renew(bound_s)
        self._state = State.CLOSED

    def bind(self, consumer: Consumer) -> None:
        """Commit for this consumer from now on, while it remains the member of its group that it is now."""
        self._consumer = consumer
        self._member_id = consumer.memberid()

    def begin(self, bound_s: float) -> None:
        """Open a transaction, with a new producer where the last one must be replaced.

        Raises:
            ClientLost, AuthorizationError: As `start`.
        """
        if self._state is State.CLOSED:
            # This poll reports connections lost since the last call, and a permanent failure.
            try:
                self._producer.client.poll(0)
            except KafkaException as error:
                self._fail("poll", error)
        if self._state is State.LOST or self._producer.is_suspect:
            self.start(bound_s)
        self._require(State.CLOSED)
        self._deliveries = Deliveries(self._clock.wall_ms, self._clock.monotonic_s)
        try:
            self._producer.client.begin_transaction()
        except KafkaException as error:
            self._fail("begin_transaction", error)
        self._state = State.OPEN

    def produce(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
    ) -> bool:
        """Pass a record to the client; return False if the record is too large for the client.

        Partition -1 is any.

        Raises:
            TransactionAborted, ClientLost, AuthorizationError: As `commit`.
        """
        self._require(State.OPEN)
        wait_s = 0.0
        for _ in range(_QUEUE_ATTEMPTS):
            try:
                # This poll serves delivery reports, and raises a permanent failure.
                self._producer.client.poll(wait_s)
                self._producer.client.produce(
                    topic,
                    partition=partition,
                    key=key,
                    value=value,
                    headers=headers or [],
                    on_delivery=self._deliveries.report,
                )
            except BufferError:
                wait_s = _QUEUE_WAIT_S
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    return False
                self._fail("produce", error)
            else:
                return True
        self._state = State.LOST
        waited_s = _QUEUE_ATTEMPTS * _QUEUE_WAIT_S
        message = f"the producer's queue has been full for {waited_s:g} s; check the brokers"
        raise ClientLost(message)

    def commit(self, offsets: Sequence[TopicPartition], bound_s: float) -> None:
        """Commit the records together with these offsets of the group of the bound consumer.

        There must be at least one offset: without one the group's coordinator is not asked, and a stale
        owner is not refused. All records are delivered first, so that partitions that refuse them are named,
        and the group's offsets are not part of a transaction that cannot end.
        While brokers are away librdkafka may exceed the bound: it sends offsets for up to
        transaction.timeout.ms (measured, 2.16).

        Raises:
            TransactionAborted: Nothing was committed.
            ClientLost: The outcome is unknown until `start` or `begin` returns; then the group's committed
                offsets show it.
            AuthorizationError: The cluster denies the right.
        """
        self._require(State.OPEN)
        deadline_s = self._clock.monotonic_s() + bound_s
        self._deliver(deadline_s)
        member = self._group_metadata()
        if member is None:
            self.abort(CALL_S)
            raise membership_lost(self._group)
        producer = self._producer.client
        self._call(
            "send_offsets_to_transaction",
            lambda timeout_s: producer.send_offsets_to_transaction(list(offsets), member, timeout_s),
            deadline_s - self._clock.monotonic_s(),
            is_before_commit=True,
        )
        left_s = deadline_s - self._clock.monotonic_s()
        self._call("commit_transaction", producer.commit_transaction, left_s)
        self._state = State.CLOSED

    def _group_metadata(self) -> object | None:
        """Return the group's metadata for a commit, None if the consumer has lost its place in the group.

        Each commit needs fresh metadata: its generation lets the coordinator refuse a stale owner. But the
        coordinator accepts metadata without a member id, and that of a lost member that has joined again. A
        client joins again before it reports the loss if `incremental_unassign` is called (librdkafka 2.16).
        """
        if self._consumer is None:
            return None
        metadata = self._consumer.consumer_group_metadata()
        member_id = self._consumer.memberid()
        return metadata if member_id and member_id == self._member_id else None

    def measure(self, topic: str, partition: int, value: bytes, bound_s: float) -> Append | None:
        """Write a record, abort it, and return when the broker appended it; None without LogAppendTime.

        Raises:
            TransactionAborted, ClientLost, AuthorizationError: As `commit`.
        """
        deadline_s = self._clock.monotonic_s() + bound_s
        self.begin(bound_s)
        self.produce(topic, partition, None, value)
        self._deliver(deadline_s)
        self.abort(CALL_S)
        return self.append

    def abort(self, bound_s: float) -> None:
        """Abort the transaction if one is open.

        Raises:
            ClientLost: The brokers did not answer within the bound, or refused.
        """
        if self._state is State.OPEN:
            # An abort that fails is not repeated by this producer.
            self._state = State.LOST
            self._call("abort_transaction", self._producer.client.abort_transaction, bound_s)
            self._state = State.CLOSED

    def _deliver(self, deadline_s: float) -> None:
        """Wait until brokers have all records; abort if a partition does not take its records in time."""
        producer = self._producer.client
        while len(producer) and (wait_s := deadline_s - self._clock.monotonic_s()) > 0:
            if self._stopping.is_set():
                # The next owner reads again what is not committed.
                deadline_s -= max(wait_s - CALL_S, 0)
            try:
                is_waiting = producer.flush(min(wait_s, _FLUSH_S)) > 0
            except KafkaException as error:
                self._fail("flush", error)
            if is_waiting:
                self._check()
        self._deliveries.end()
        if len(producer):
            # The abort reports undelivered records as purged.
            self._abort_or_leave()
            with suppress(KafkaException):
                producer.poll(0)
            self._raise_undelivered()
        if self._deliveries.failed:
            self._abort_or_leave()
            self._raise_undelivered()

    def _check(self) -> None:
        """Raise if the transaction has failed; the queue does not show that, because records stay in it."""
        try:
            # While a transaction is open this call changes nothing, and its error shows the client's state.
            self._producer.client.begin_transaction()
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                self._fail("produce", error)

    def _abort_or_leave(self) -> None:
        """Abort; if the abort fails leave it to a new producer, which is safe before a commit was requested.

        Raises:
            ClientLost: Another process has taken the transactional id.
        """
        try:
            self.abort(CALL_S)
        except ClientLost as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError._FENCED:
                raise
            remedy = "none; if this repeats, check the brokers"
            _log.warning(
                "abort failed; a new producer aborts the transaction",
                extra={"transactional_id": self.producer, "error": str(error), "remedy": remedy},
            )

    def _raise_undelivered(self) -> NoReturn:
        """Raise an error that names the partitions that did not take the aborted transaction's records.

        Raises:
            TransactionAborted: Always.
        """
        deliveries = self._deliveries
        deliveries.blame_late()
        # The sequence numbers of failed records would be missing in this producer's next batches.
        self._producer.suspect()
        # A transaction that could not be aborted needs a new producer of the same id to end it.
        if deliveries.unwritable and self._state is State.CLOSED:
            self._producer.leave_id()
        if deliveries.is_slow and not (deliveries.unwritable or deliveries.too_large):
            message = (
                f"brokers took {deliveries.taken:,} records of a transaction, and not the rest in time; the "
                "next ones are smaller; if this repeats, find out what slows the brokers or the network"
            )
            raise TransactionAborted(message, is_slow=True)
        names = name_partitions({*deliveries.unwritable, *deliveries.too_large})
        why = "records were not delivered in time" if deliveries.error is None else deliveries.error.str()
        # Without an answer to the abort there are no delivery reports.
        where = ", ".join(names) or "some partitions"
        remedy = "check these partitions"
        if deliveries.too_large:
            topics = ", ".join(sorted({topic for topic, _ in deliveries.too_large}))
            remedy = f"raise max.message.bytes of {topics}, and message.max.bytes under kafka"
        message = f"records for {where} were not delivered ({why}); {remedy}"
        raise TransactionAborted(
            message,
            unwritable=deliveries.unwritable,
            too_large=deliveries.too_large,
            reason="" if deliveries.error is None else deliveries.error.name(),
        )

    def _call(
        self,
        name: str,
        call: Callable[[float], object],
        bound_s: float,
        *,
        is_before_commit: bool = False,
    ) -> None:
        """Call the producer, again while the error is retriable; without an answer the producer is lost.

        An unanswered call may still succeed later. Before the commit was requested a new producer of the
        same id aborts the transaction, so its outcome is known.

        Raises:
            ClientLost: The outcome of the call is unknown, or the producer failed permanently.
            TransactionAborted: The transaction was aborted, or a new producer will abort it.
            AuthorizationError: The cluster denies the right.
        """
        try:
            insist(
                name,
                call,
                max(bound_s, CALL_S),
                monotonic=self._clock.monotonic_s,
                stopping=self._stopping,
                on_retry=self._producer.suspect,
            )
        except ClientLost as error:
            self._state = State.LOST
            if is_before_commit:
                raise TransactionAborted(str(error), reason=error.reason) from error
            raise
        except KafkaException as error:
            self._fail(name, error)

    def _fail(self, name: str, error: KafkaException) -> NoReturn:
        """Raise the error of a failed call by its remedy; abort the transaction if it can be aborted.

        Raises:
            TransactionAborted, ClientLost, AuthorizationError: As `_call`.
        """
        cause: KafkaError = error.args[0]
        was_open = self._state is State.OPEN
        if cause.code() in AUTHORIZATION:
            raise call_denied(name, self.producer, cause, group=self._group) from error
        # In a failed transaction `produce` reports only the wrong state.
        has_failed = cause.txn_requires_abort() or (name == "produce" and cause.code() == KafkaError._STATE)
        if not was_open or cause.fatal() or not has_failed:
            self._state = State.LOST
            raise call_failed(name, self.producer, cause) from error
        transactional_id = self.producer
        self._abort_or_leave()
        if self._deliveries.failed:
            self._raise_undelivered()
        raise call_refused(name, transactional_id, cause) from error

    def _require(self, state: State) -> None:
        if self._state is not state:
            message = f"the transaction is {self._state.name.lower()}, not {state.name.lower()}"
            raise RuntimeError(message)


@contextmanager
def bounded(transaction: Transaction, limit: CommitLimit, clock: Clock, bound_s: float) -> Iterator[float]:
    """Open a transaction, yield its deadline in monotonic seconds, and adjust the limit to the time it took.

    What is written must be encoded before, and a new producer may take `BEGIN_S` before the time begins:
    brokers abort a transaction that is open for longer than `transaction.timeout.ms`.

    Raises:
        ClientLost, AuthorizationError: As `Transaction.start`.
    """
    transaction.begin(min(bound_s, BEGIN_S))
    began_s = clock.monotonic_s()
    try:
        yield began_s + bound_s
    except BrokerError as error:
        # A partition that takes nothing makes a commit of any size late.
        if not (isinstance(error, TransactionAborted) and (error.unwritable or error.too_large)):
            limit.aborted(clock.monotonic_s() - began_s)
        raise
    limit.committed(clock.monotonic_s() - began_s)


def produce_or_abort(
    transaction: Transaction,
    topic: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers | None = None,
) -> None:
    """Pass a record to the client; abort the transaction if the record is too large.

    Raises:
        TransactionAborted: As `Transaction.produce`, or the record is too large.
        ClientLost, AuthorizationError: As `Transaction.produce`.
    """
    if not transaction.produce(topic, partition, key, value, headers):
        transaction.abort(CALL_S)
        added = sum(len(part or b"") for header in headers or [] for part in header)
        message = (
            f"a record of {len(value or b'') + added:,} bytes for {topic} is too large for the client; raise "
            "message.max.bytes under kafka, and max.message.bytes of the topic"
        )
        reason = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE).name()
        raise TransactionAborted(message, too_large={(topic, partition): key}, reason=reason)
