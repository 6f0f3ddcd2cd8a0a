"""Kafka transactions of one role, one at a time: records and the group's offsets are committed atomically.

As in Kafka Streams' exactly-once (KIP-447), offsets are sent with the consumer group's metadata, so brokers
refuse a member that has lost its partitions without noticing.

    no producer -----> Starting ------> Ready ------> Open
        ^      start     |    answered    |   begin     |
        |                |                |             |  commit, abort: back to Ready
        +----------------+----------------+-------------+
          a connection was lost, a call failed or was not answered
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, NoReturn

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from driftgauge.clock import Clock
from driftgauge.core.commit_limit import CommitLimit
from driftgauge.core.partition import name_partitions
from driftgauge.engine.clock_guard import Append
from driftgauge.engine.producer.deliveries import Deliveries
from driftgauge.engine.producer.transaction_errors import (
    call_denied,
    call_failed,
    call_refused,
    membership_lost,
)
from driftgauge.errors import BrokerError, ClientLost, TransactionFailed
from driftgauge.kafka.calls import AUTHORIZATION, CALL_S, insist

__all__ = ["ANY", "BEGIN_S", "Headers", "MakeProducer", "Transaction", "bounded", "produce_or_abort"]

_log = logging.getLogger(__name__)

# After this many waits for a full queue the producer counts as lost.
_QUEUE_ATTEMPTS: Final = 10
_QUEUE_WAIT_S: Final = 1.0
_FLUSH_S: Final = 0.2
_INIT: Final = "init_transactions"
_ABORT: Final = "abort_transaction"

# After these a client may have repeated a request, and the first one may still reach a broker.
_LOST_CONNECTION: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError.REQUEST_TIMED_OUT,
    }
)

BEGIN_S: Final = 5.0
"""How long a new producer may take before a commit: a member that does not poll holds up its group."""

ANY: Final = -1
"""Any partition: chosen by the record's key, or at random without one."""

Headers = list[tuple[str, str | bytes | None]]

MakeProducer = Callable[[str, Callable[[KafkaError], None]], Producer]
"""Returns a producer of a transactional id that reports its errors to a callback."""


@dataclass(frozen=True, slots=True)
class _Starting:
    """The brokers have not answered a new producer's init_transactions yet."""

    client: Producer


@dataclass(frozen=True, slots=True)
class _Ready:
    """No transaction is open, and one can begin."""

    client: Producer


@dataclass(slots=True)
class _Open:
    """A transaction is open.

    Attributes:
        client: The producer.
        deliveries: What became of the records.
        is_suspect: Whether the next transaction needs another producer.
    """

    client: Producer
    deliveries: Deliveries
    is_suspect: bool = False


class Transaction:
    """A transaction that opens by `begin` and closes by `commit` or `abort`, again and again.

    It makes and replaces its producer. A producer that lost a connection or saw a time-out is replaced before
    the next transaction, even if the commit succeeded. librdkafka ends a transaction without an epoch bump,
    so a delayed EndTxn request may end the next transaction
    (https://github.com/confluentinc/librdkafka/issues/5423). A new producer of the same id fences that
    request.

    Attributes:
        epoch: The producer's epoch in commits: when it was made, in wall-clock milliseconds, and strictly
            increasing. `start` and `begin` alone change it.
        append: When brokers appended the last transaction's first record to a topic with LogAppendTime.
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
        self._make = make_producer
        self._id = transactional_id
        self._busy_ids = 0  # how many ids were left because they stayed busy
        self._group = group
        self._stopping = stopping
        self._clock = clock
        self._state: _Starting | _Ready | _Open | None = None
        self._consumer: Consumer | None = None
        self._member_id: str | None = None
        self.epoch = 0
        self.append: Append | None = None

    @property
    def needs_producer(self) -> bool:
        """Whether the next transaction needs a new producer, which also ends the last one if that is open."""
        return not isinstance(self._state, _Ready | _Open)

    @property
    def producer(self) -> str:
        """The producer's name in commits: the transactional id, which `start` and `begin` may change."""
        return f"{self._id}.{self._busy_ids}" if self._busy_ids else self._id

    def close(self) -> None:
        """Release the producer, even with an open transaction; `start` makes another."""
        self._state = None

    def start(self, bound_s: float) -> None:
        """Make a producer, which ends the transaction that an earlier one of the same id left open.

        If brokers do not answer within the bound, the next call continues with the same new producer,
        because two new ones would fence each other. If the id is still busy, the next call uses another id.

        Raises:
            TransactionFailed: The brokers did not answer within the bound.
            AuthorizationError: The cluster denies the right.
        """
        if not isinstance(self._state, _Starting):
            # The old producer is released before there is a new one.
            self._state = None
            self._state = _Starting(self._make(self.producer, self._on_error))
        client = self._state.client
        try:
            self._insist(_INIT, client.init_transactions, bound_s)
        except ClientLost as error:
            cause = error.__cause__
            if not isinstance(cause, KafkaException):
                # The call is still running, or there was no thread for it.
                self._state = None
            elif cause.args[0].code() == KafkaError.CONCURRENT_TRANSACTIONS:
                _log.warning(
                    "transactional id is busy; the producer uses another one",
                    extra={
                        "transactional_id": self.producer,
                        "error": str(error),
                        "remedy": "check for partitions of its last transaction that have no leader",
                    },
                )
                self._leave_id()
            raise TransactionFailed(str(error), reason=error.reason) from error
        except KafkaException as error:
            self._fail(_INIT, error)
        self.epoch = max(self._clock.wall_ms(), self.epoch + 1)
        self._state = _Ready(client)

    def bind(self, consumer: Consumer) -> None:
        """Commit for this consumer from now on, while it remains the member of its group that it is now."""
        self._consumer = consumer
        self._member_id = consumer.memberid()

    def begin(self, bound_s: float) -> None:
        """Open a transaction, with a new producer if the last one must be replaced.

        Raises:
            TransactionFailed, AuthorizationError: As `start`.
        """
        if isinstance(self._state, _Open):
            message = "a transaction is open already"
            raise RuntimeError(message)
        try:
            if isinstance(self._state, _Ready):
                # This poll reports connections lost since the last call, and a permanent failure.
                self._state.client.poll(0)
            while not isinstance(ready := self._state, _Ready):
                self.start(bound_s)
            client = ready.client
            client.begin_transaction()
        except KafkaException as error:
            self._fail("begin_transaction", error)
        self._state = _Open(client, Deliveries(self._clock.wall_ms, self._clock.monotonic_s))

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
            TransactionFailed, AuthorizationError: As `commit`.
        """
        opened = self._opened()
        wait_s = 0.0
        for _ in range(_QUEUE_ATTEMPTS):
            try:
                # This poll serves delivery reports, and raises a permanent failure.
                opened.client.poll(wait_s)
                opened.client.produce(
                    topic,
                    partition=partition,
                    key=key,
                    value=value,
                    headers=headers or [],
                    on_delivery=opened.deliveries.report,
                )
            except BufferError:
                wait_s = _QUEUE_WAIT_S
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    return False
                self._fail("produce", error)
            else:
                return True
        self._state = None
        waited_s = _QUEUE_ATTEMPTS * _QUEUE_WAIT_S
        message = f"the producer's queue has been full for {waited_s:g} s; check the brokers"
        raise TransactionFailed(message)

    def commit(self, offsets: Sequence[TopicPartition], bound_s: float) -> None:
        """Commit the records together with these offsets of the group of the bound consumer.

        There must be at least one offset: without one the group's coordinator is not asked, and a stale
        owner is not refused. All records are delivered first, so that partitions that refuse them are named,
        and the group's offsets are not part of a transaction that cannot end.
        While brokers are away librdkafka may exceed the bound: it sends offsets for up to
        transaction.timeout.ms (measured, 2.16).

        Raises:
            TransactionFailed: The group's committed offsets show whether there was a commit, from when
                `start` or `begin` has made a new producer, if there is none now.
            AuthorizationError: The cluster denies the right.
        """
        opened = self._opened()
        deadline_s = self._clock.monotonic_s() + bound_s
        self._deliver(deadline_s)
        member = self._group_metadata()
        if member is None:
            self.abort(CALL_S)
            raise membership_lost(self._group)
        client = opened.client
        self._call(
            "send_offsets_to_transaction",
            lambda timeout_s: client.send_offsets_to_transaction(list(offsets), member, timeout_s),
            deadline_s - self._clock.monotonic_s(),
        )
        left_s = deadline_s - self._clock.monotonic_s()
        self._call("commit_transaction", client.commit_transaction, left_s)
        self._end(opened)

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
            TransactionFailed, AuthorizationError: As `commit`.
        """
        deadline_s = self._clock.monotonic_s() + bound_s
        self.begin(bound_s)
        self.produce(topic, partition, None, value)
        self._deliver(deadline_s)
        self.abort(CALL_S)
        return self.append

    def abort(self, bound_s: float) -> None:
        """Abort the transaction if one is open; an abort that fails is left to a new producer.

        Raises:
            TransactionFailed: The brokers did not answer within the bound, or refused.
        """
        if isinstance(opened := self._state, _Open):
            self._call(_ABORT, opened.client.abort_transaction, bound_s)
            self._end(opened)

    def _opened(self) -> _Open:
        if isinstance(self._state, _Open):
            return self._state
        message = "no transaction is open"
        raise RuntimeError(message)

    def _end(self, opened: _Open) -> None:
        self.append = opened.deliveries.append
        self._state = None if opened.is_suspect else _Ready(opened.client)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in _LOST_CONNECTION:
            self._suspect()

    def _suspect(self) -> None:
        """Replace the producer before the next transaction.

        While a producer starts, errors concern no transaction, for none has begun.
        """
        if isinstance(self._state, _Open):
            self._state.is_suspect = True
        elif isinstance(self._state, _Ready):
            self._state = None

    def _leave_id(self) -> None:
        """Let the next producer have another transactional id.

        A transaction that has ended keeps its id busy until its markers are in all of its partitions. While
        one of these cannot be written to, no other transaction of the id can begin.
        """
        self._busy_ids += 1
        self._state = None

    def _deliver(self, deadline_s: float) -> None:
        """Wait until brokers have all records; abort if a partition does not take its records in time."""
        opened = self._opened()
        producer, deliveries = opened.client, opened.deliveries
        while len(producer) and (wait_s := deadline_s - self._clock.monotonic_s()) > 0:
            if self._stopping.is_set():
                # The next owner reads again what is not committed.
                deadline_s -= max(wait_s - CALL_S, 0)
            try:
                if producer.flush(min(wait_s, _FLUSH_S)):
                    # Records also stay in the queue of a transaction that has failed. While one is open, this
                    # call changes nothing, and its error shows the client's state.
                    producer.begin_transaction()
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE:
                    self._fail("produce", error)
        deliveries.end()
        is_late = bool(len(producer))
        if is_late or deliveries.failed:
            is_aborted = self._abort_or_leave()
            if is_late:
                # The abort reports undelivered records as purged. If a record is too large, those of other
                # partitions are purged as well, and not to blame.
                with suppress(KafkaException):
                    producer.poll(0)
            self._raise_undelivered(deliveries, is_aborted=is_aborted)

    def _abort_or_leave(self) -> bool:
        """Abort, or leave the transaction to a new producer, which is safe before a commit was requested.

        Return whether it is aborted.

        Raises:
            TransactionFailed: Another process has taken the transactional id.
        """
        try:
            self.abort(CALL_S)
        except TransactionFailed as error:
            if error.is_fenced:
                raise
            remedy = "none; if this repeats, check the brokers"
            _log.warning(
                "abort failed; a new producer aborts the transaction",
                extra={"transactional_id": self.producer, "error": str(error), "remedy": remedy},
            )
            return False
        return True

    def _raise_undelivered(self, deliveries: Deliveries, *, is_aborted: bool) -> NoReturn:
        """Raise an error that names the partitions that did not take the transaction's records.

        Raises:
            TransactionFailed: Always.
        """
        deliveries.blame_late()
        # The sequence numbers of failed records would be missing in this producer's next batches.
        self._state = None
        # A transaction that could not be aborted needs a new producer of the same id to end it.
        if deliveries.unwritable and is_aborted:
            self._leave_id()
        if deliveries.is_slow and not (deliveries.unwritable or deliveries.too_large):
            message = (
                f"brokers took {deliveries.taken:,} records of a transaction, and not the rest in time; the "
                "next ones are smaller; if this repeats, find out what slows the brokers or the network"
            )
            raise TransactionFailed(message, is_slow=True)
        names = name_partitions({*deliveries.unwritable, *deliveries.too_large})
        why = "records were not delivered in time" if deliveries.error is None else deliveries.error.str()
        # Without an answer to the abort there are no delivery reports.
        where = ", ".join(names) or "some partitions"
        remedy = "check these partitions"
        if deliveries.too_large:
            topics = ", ".join(sorted({topic for topic, _ in deliveries.too_large}))
            remedy = f"raise max.message.bytes of {topics}, and message.max.bytes under kafka"
        message = f"records for {where} were not delivered ({why}); {remedy}"
        raise TransactionFailed(
            message,
            unwritable=deliveries.unwritable,
            too_large=deliveries.too_large,
            reason="" if deliveries.error is None else deliveries.error.name(),
        )

    def _call(self, name: str, call: Callable[[float], object], bound_s: float) -> None:
        """Call the producer, again while the error is retriable; without an answer there is no producer.

        Raises:
            TransactionFailed, AuthorizationError: As `commit`.
        """
        try:
            self._insist(name, call, max(bound_s, CALL_S))
        except ClientLost as error:
            # An unanswered call may still succeed later.
            self._state = None
            raise TransactionFailed(str(error), reason=error.reason) from error
        except KafkaException as error:
            self._fail(name, error)

    def _insist(self, name: str, call: Callable[[float], object], bound_s: float) -> None:
        insist(
            name,
            call,
            bound_s,
            monotonic=self._clock.monotonic_s,
            stopping=self._stopping,
            on_retry=self._suspect,
        )

    def _fail(self, name: str, error: KafkaException) -> NoReturn:
        """Raise the error of a call; abort the transaction if it can be, else there is no producer.

        Raises:
            TransactionFailed, AuthorizationError: As `commit`.
        """
        cause: KafkaError = error.args[0]
        opened, transactional_id = self._state, self.producer
        if cause.code() in AUTHORIZATION:
            if not isinstance(opened, _Open) or name == _ABORT:
                self._state = None
            raise call_denied(name, transactional_id, cause, group=self._group) from error
        # In a failed transaction `produce` reports only the wrong state.
        has_failed = cause.txn_requires_abort() or (name == "produce" and cause.code() == KafkaError._STATE)
        if not isinstance(opened, _Open) or name == _ABORT or cause.fatal() or not has_failed:
            self._state = None
            raise call_failed(name, transactional_id, cause) from error
        is_aborted = self._abort_or_leave()
        if opened.deliveries.failed:
            self._raise_undelivered(opened.deliveries, is_aborted=is_aborted)
        raise call_refused(name, transactional_id, cause) from error


@contextmanager
def bounded(transaction: Transaction, limit: CommitLimit, clock: Clock, bound_s: float) -> Iterator[float]:
    """Open a transaction, yield its deadline in monotonic seconds, and adjust the limit to the time it took.

    Records must be encoded before, and a new producer may take `BEGIN_S` before the time begins:
    brokers abort a transaction that is open for longer than `transaction.timeout.ms`.

    Raises:
        TransactionFailed, AuthorizationError: As `Transaction.start`.
    """
    transaction.begin(min(bound_s, BEGIN_S))
    began_s = clock.monotonic_s()
    try:
        yield began_s + bound_s
    except BrokerError as error:
        # A partition that takes nothing makes a commit of any size late.
        if not (isinstance(error, TransactionFailed) and (error.unwritable or error.too_large)):
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
        TransactionFailed: As `Transaction.produce`, or the record is too large.
        AuthorizationError: As `Transaction.produce`.
    """
    if not transaction.produce(topic, partition, key, value, headers):
        transaction.abort(CALL_S)
        added = sum(len(part or b"") for header in headers or [] for part in header)
        message = (
            f"a record of {len(value or b'') + added:,} bytes for {topic} is too large for the client; raise "
            "message.max.bytes under kafka, and max.message.bytes of the topic"
        )
        reason = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE).name()
        raise TransactionFailed(message, too_large={(topic, partition): key}, reason=reason)
