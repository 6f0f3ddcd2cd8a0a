"""One Kafka transaction at a time: what is produced in it and the group's offsets stand or fall together.

The pattern of Kafka Streams' exactly-once (KIP-447): the offsets go out with the metadata of the
consumer's group, so a member that has lost its partitions, though it does not know, is refused.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Final, NoReturn

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from driftgauge.clock import Clock
from driftgauge.core.partition import name_partitions
from driftgauge.errors import AuthorizationError, ClientLost, TransactionAborted
from driftgauge.kafka.calls import AUTHORIZATION, CALL_S, insist
from driftgauge.kafka.clock import Append
from driftgauge.kafka.deliveries import Deliveries
from driftgauge.kafka.transactional import MakeProducer, TransactionalProducer

__all__ = ["ANY", "AUTHORIZATION", "BEGIN_S", "Headers", "State", "Transaction", "must_produce"]

_log = logging.getLogger(__name__)

# A full queue is waited on this often, and so long each time, before the broker counts as lost.
_QUEUE_ATTEMPTS: Final = 10
_QUEUE_WAIT_S: Final = 1.0
_FLUSH_S: Final = 0.2

# Brokers fence with one and the same error.
_FENCED: Final = (
    "; the transaction was open for longer than transaction.timeout.ms, or another process uses this "
    "replica's name"
)

BEGIN_S: Final = 5.0
"""How long a new producer may take before a commit: the group waits for a member that is not polled."""

ANY: Final = -1
"""Any partition: by the record's key, or at random."""

Headers = list[tuple[str, str | bytes | None]]


class State(Enum):
    """Where a `Transaction` stands.

    CLOSED: none is open; `begin` opens one.
    OPEN: records and offsets can be added; `commit` and `abort` close it.
    LOST: its producer is of no use, and what the last one came to may be in doubt; a new producer, made
        by `start` or `begin`, settles it.
    """

    CLOSED = auto()
    OPEN = auto()
    LOST = auto()


class Transaction:
    """Opens with `begin`, closes with `commit` or `abort`; makes and replaces its own producer."""

    def __init__(
        self,
        make_producer: MakeProducer,
        transactional_id: str,
        clock: Clock,
    ) -> None:
        self._producer = TransactionalProducer(make_producer, transactional_id, clock)
        self._clock = clock
        self._state = State.LOST
        self._deliveries = Deliveries(clock.wall_ms)

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @property
    def producer(self) -> str:
        """The name that commits carry: the transactional id in use, which `begin` may change as well."""
        return self._producer.transactional_id

    @property
    def epoch(self) -> int:
        """The epoch that commits carry; it grows with every producer, that is in `start` and `begin` only."""
        return self._producer.epoch

    @property
    def append(self) -> Append | None:
        """When the last transaction's first record on a topic with the brokers' time was appended."""
        return self._deliveries.append

    def close(self) -> None:
        """Let the producer go, whatever is open; `start` makes another."""
        self._state = State.LOST
        self._producer.close()

    def start(self, bound_s: float) -> None:
        """Make a producer, and end what an earlier one of the same transactional id left open.

        Raises:
            ClientLost: The brokers did not answer within the bound.
            AuthorizationError: They do not let us.
        """
        self._state = State.LOST
        self._producer.renew(bound_s)
        self._state = State.CLOSED

    def begin(self, bound_s: float) -> None:
        """Open a transaction, with a new producer where the last one calls for it.

        Raises:
            ClientLost, AuthorizationError: As `start`.
        """
        if self._state is State.CLOSED:
            # Here the client reports connections that it lost since, and that it has failed for good.
            try:
                self._producer.client.poll(0)
            except KafkaException as error:
                self._fail("poll", error)
        if self._state is State.LOST or self._producer.is_suspect:
            self.start(bound_s)
        self._require(State.CLOSED)
        self._deliveries = Deliveries(self._clock.wall_ms)
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
        """Hand a record to the client; False where it is too large for it. Partition -1 is any.

        Raises:
            TransactionAborted, ClientLost, AuthorizationError: As `commit`.
        """
        self._require(State.OPEN)
        wait_s = 0.0
        for _ in range(_QUEUE_ATTEMPTS):
            try:
                # Here delivery reports are heard, and that the client has failed for good.
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

    def commit(self, offsets: Sequence[TopicPartition], consumer: Consumer, bound_s: float) -> None:
        """Make all of it stand, with these offsets of the consumer's group.

        There must be an offset at least: without one the group is not asked, and a stale owner not
        refused. Records are waited for first, so that partitions that do not take them are known by
        name, and the group's offsets are no part of a transaction that cannot end.
        While the brokers are away the bound is kept as far as librdkafka keeps it, which sends offsets
        for up to transaction.timeout.ms whatever it is told (measured, 2.16).

        Raises:
            TransactionAborted: Nothing of it stands.
            ClientLost: Whether it stands is in doubt, until `start` or `begin` has returned and the
                group's committed offsets say.
            AuthorizationError: The cluster does not let us.
        """
        self._require(State.OPEN)
        deadline_s = self._clock.monotonic_s() + bound_s
        self._deliver(deadline_s)
        # Fresh each time: it names the group's generation, by which a stale owner is known.
        member = consumer.consumer_group_metadata()
        if not consumer.memberid():
            # Of one who has lost membership it names nobody, and brokers take such offsets from anybody.
            self.abort(CALL_S)
            message = "the member has lost its place in the group; others may have its partitions"
            raise TransactionAborted(message)
        producer = self._producer.client
        self._insist(
            "send_offsets_to_transaction",
            lambda timeout_s: producer.send_offsets_to_transaction(list(offsets), member, timeout_s),
            deadline_s - self._clock.monotonic_s(),
            is_doubtful=False,
        )
        left_s = deadline_s - self._clock.monotonic_s()
        self._insist("commit_transaction", producer.commit_transaction, left_s)
        self._state = State.CLOSED

    def measure(self, topic: str, partition: int, value: bytes, bound_s: float) -> Append | None:
        """Write a record that never stands, and return when it was appended; None: it was not told.

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
        """Let nothing of it stand.

        Raises:
            ClientLost: The brokers did not answer within the bound, or refuse.
        """
        if self._state is State.OPEN:
            # Whoever fails in here is not asked to abort again.
            self._state = State.LOST
            self._insist("abort_transaction", self._producer.client.abort_transaction, bound_s)
            self._state = State.CLOSED

    def _deliver(self, deadline_s: float) -> None:
        """Wait until the brokers have all records; abort where a partition has not."""
        producer = self._producer.client
        while len(producer) and (wait_s := deadline_s - self._clock.monotonic_s()) > 0:
            try:
                is_waiting = producer.flush(min(wait_s, _FLUSH_S)) > 0
            except KafkaException as error:
                self._fail("flush", error)
            if is_waiting:
                self._check()
        if len(producer):
            # What is still on its way is reported as purged.
            self._drop()
            with suppress(KafkaException):
                producer.poll(0)
            self._deliveries.blame_purged()
            self._raise_undelivered()
        if self._deliveries.failed:
            self._drop()
            self._raise_undelivered()

    def _check(self) -> None:
        """Ask the client whether the transaction has failed: records wait all the same, but in vain."""
        try:
            # To begin while one is open is no more than to be told the state.
            self._producer.client.begin_transaction()
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                self._fail("produce", error)

    def _drop(self) -> None:
        """Abort; where that fails as well a new producer does it, for the brokers were not asked to commit.

        Raises:
            ClientLost: Another process has taken the id.
        """
        try:
            self.abort(CALL_S)
        except ClientLost as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError._FENCED:
                raise
            _log.warning("transaction is left to a new producer", extra={"error": str(error)})

    def _raise_undelivered(self) -> NoReturn:
        """Say which partitions did not take the records of the transaction that was aborted."""
        deliveries = self._deliveries
        # Numbers of the records that failed are missing in what the producer would send next.
        self._producer.suspect()
        # One that could not be aborted is ended by a new producer of its id.
        if deliveries.unwritable and self._state is State.CLOSED:
            self._producer.leave_id()
        names = name_partitions(deliveries.unwritable | deliveries.too_large)
        why = "records were not delivered in time" if deliveries.error is None else deliveries.error.str()
        # Where the abort hung as well nothing was reported.
        where = ", ".join(names) or "some partitions"
        message = f"records for {where} were not delivered ({why}); check these partitions"
        raise TransactionAborted(message, unwritable=deliveries.unwritable, too_large=deliveries.too_large)

    def _insist(
        self, what: str, call: Callable[[float], object], bound_s: float, *, is_doubtful: bool = True
    ) -> None:
        """Make a call; where it is given up it may yet succeed, so nothing more is asked of the client.

        Before the brokers were asked to commit that is no doubt: a new producer of the id ends it all.
        """
        try:
            insist(
                what,
                call,
                max(bound_s, CALL_S),
                monotonic=self._clock.monotonic_s,
                on_retry=self._producer.suspect,
            )
        except ClientLost as error:
            self._state = State.LOST
            if is_doubtful:
                raise
            raise TransactionAborted(str(error)) from error
        except KafkaException as error:
            self._fail(what, error)

    def _fail(self, what: str, error: KafkaException) -> NoReturn:
        cause: KafkaError = error.args[0]
        was_open = self._state is State.OPEN
        if cause.code() in AUTHORIZATION:
            message = f"{what} is not allowed ({cause.str()}); check the client's rights"
            raise AuthorizationError(message) from error
        # Whoever adds to a transaction that has failed is told no more than that.
        has_failed = cause.txn_requires_abort() or (what == "produce" and cause.code() == KafkaError._STATE)
        if not was_open or cause.fatal() or not has_failed:
            self._state = State.LOST
            is_fenced = cause.code() == KafkaError._FENCED
            message = f"{what} failed for good ({cause.str()}){_FENCED if is_fenced else ''}"
            raise ClientLost(message, is_fenced=is_fenced) from error
        self._drop()
        if self._deliveries.failed:
            self._raise_undelivered()
        message = f"{what} was refused ({cause.str()})"
        raise TransactionAborted(message) from error

    def _require(self, state: State) -> None:
        if self._state is not state:
            message = f"the transaction is {self._state.name.lower()}, not {state.name.lower()}"
            raise RuntimeError(message)


def must_produce(
    transaction: Transaction, topic: str, partition: int, key: bytes | None, value: bytes | None
) -> None:
    """Write a record that cannot be done without.

    Raises:
        TransactionAborted, ClientLost, AuthorizationError: As `Transaction.produce`; it is too large.
    """
    if not transaction.produce(topic, partition, key, value):
        transaction.abort(CALL_S)
        message = (
            f"a record of {len(value or b''):,} bytes for {topic}[{partition}] is too large for the client"
        )
        raise TransactionAborted(message, too_large={(topic, partition)})
