"""One session of a role's Kafka clients: join, work, hand over, leave, until it is stopped or a client fails.

After a lost producer the session polls on without commits, until a new producer has settled the last
transaction. The worker keeps the states of assigned partitions. COUNT's partitions wait for their offsets,
then they are counted. WINDOWS' shards are restored, then they run, or they are set aside or stopped.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from driftgauge.clock import Clock
from driftgauge.core.partition import Partition
from driftgauge.engine.producer.transaction import Transaction
from driftgauge.errors import AuthorizationError, BrokerError, ClientLost, DriftgaugeError, TransactionFailed
from driftgauge.kafka.calls import AUTHORIZATION
from driftgauge.kafka.login import LoginWatch
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.watchdog import Pulse

__all__ = ["Session", "Worker"]

# How many messages are processed before the wait for more. A poll takes only what the client's queue holds,
# so the queue's bound in bytes is also that of what a poll returns.
_BATCH = 1_000
_GATHER_S = 0.1
# A poll that has just emptied the queue of a backlog waits for the fetch that refills it.
_REFILL_S = 0.01
# A commit is retried during a broker's failover for as long as brokers keep a transaction open; after that
# a new producer settles it.
_COMMIT_S = 12.0
# The group waits for a member that hands partitions over, and a supervisor for a process that stops.
_HAND_OVER_S = 4.0
_ABORT_S = 4.0
_MAX_ABORTS = 5
# Each attempt to start a new producer is short, because the consumer must be polled between attempts.
_SETTLE_S = 5.0
_LONGEST_SETTLING_S = 60.0


class Worker(Protocol):
    """Processes the partitions that the group assigns to a role."""

    @property
    def batch(self) -> int:
        """The most messages that `process` takes at once."""

    @property
    def is_full(self) -> bool:
        """Whether the next commit is full: the next call is that of `step`, which commits."""

    def assign(self, partitions: Collection[Partition]) -> None:
        """Start to restore these partitions."""

    def process(self, messages: Sequence[Message]) -> None:
        """Process the messages of a poll; ignore those of partitions that are not being read.

        Such a message arrives in the poll whose callback released its partition, or began it again.
        """

    def step(self, bound_s: float) -> bool:
        """Do the work that is due; return whether it included a commit."""

    def hand_over(self, partitions: Collection[Partition], bound_s: float) -> bool:
        """Commit the work done, then release these partitions, even if the commit fails.

        Return whether there was a commit.
        """

    def drop(self, partitions: Collection[Partition]) -> None:
        """Release these partitions without a commit."""

    def begin_again(self) -> None:
        """Drop uncommitted work, and begin all held partitions again at their committed offsets.

        Until a later `step` has found these offsets, the consumer reads none of the partitions.
        """

    def handle_failure(self, error: TransactionFailed) -> None:
        """Handle the partitions that the last transaction could not write to; `begin_again` follows."""


class Session:
    """Joins a role's group and drives the worker until the session is stopped, or needs new clients."""

    def __init__(
        self,
        topics: Sequence[str],
        worker: Worker,
        *,
        consumer: Consumer,
        transaction: Transaction,
        login: LoginWatch,
        pulse: Pulse,
        telemetry: RoleTelemetry,
        clock: Clock,
    ) -> None:
        self._topics = list(topics)
        self._worker = worker
        self._consumer = consumer
        self._transaction = transaction
        self._login = login
        self._pulse = pulse
        self._telemetry = telemetry
        self._clock = clock
        self._assigned: set[Partition] = set()
        self._failure: DriftgaugeError | None = None  # of a callback; the loop handles it
        self._must_begin_again = False  # because a callback dropped partitions with uncommitted work
        # Callbacks also run while the consumer closes. The transaction may serve the next session by then.
        self._has_ended = False
        self._aborts = 0  # how many of the last transactions failed in a row
        # When the producer was lost whose last transaction no new one has settled yet.
        self._unsettled_since_s: float | None = None

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set, or the login needs new clients; then commit and leave the group.

        The consumer is closed by its owner.

        Raises:
            BrokerError, AuthorizationError, StateError: As `steps`.
        """
        for pause_s in self.steps(stopping.is_set):
            stopping.wait(pause_s)

    def steps(self, is_stopping: Callable[[], bool]) -> Iterator[float]:
        """Do what `run` does, and yield after each poll for how many seconds to wait before the next.

        Raises:
            BrokerError: A new session is needed.
            AuthorizationError: The cluster denies a right.
            StateError: The state in Kafka cannot be used.
        """
        try:
            yield from self._work(is_stopping)
        except KafkaException as error:
            # Any call raises this once a client has failed permanently.
            cause: KafkaError = error.args[0]
            message = (
                f"a Kafka client of the role that reads {', '.join(self._topics)} failed ({cause.str()})"
            )
            if cause.code() in AUTHORIZATION:
                message = f"{message}; check the client's rights on its topics and its group"
                raise AuthorizationError(message, reason=cause.name()) from error
            message = f"{message}; new clients replace it; if this repeats, check the brokers"
            raise ClientLost(message) from error

    def _work(self, is_stopping: Callable[[], bool]) -> Iterator[float]:
        try:
            self._consumer.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            polled = 0
            while not (is_stopping() or self._login.needs_new_clients()):
                before, polled = polled, self._poll()
                if not self._assigned:
                    # Nothing is read or committed, so no call fails.
                    self._login.require_accepted()
                    self._pulse.require_joined()
                gather_s = _GATHER_S if before < _BATCH else _REFILL_S
                yield gather_s if polled < _BATCH else 0.0
            if not self._assigned:
                # Closing its consumer does not make such a member leave its group (librdkafka 2.16), and the
                # next rebalance would wait for its session to expire.
                self._consumer.unsubscribe()
            self._hand_over(self._assigned, _HAND_OVER_S)
            self._finish_callbacks()
        except BaseException:
            # After a failure the uncommitted work must not be committed while the consumer closes.
            self._drop(self._assigned)
            raise
        finally:
            self._has_ended = True

    def _poll(self) -> int:
        """Process what the consumer has fetched, then do the work that is due; return the number of messages.

        The number is `_BATCH` even if the worker is full, because more messages may wait.
        """
        polled, size = 0, self._worker.batch
        while True:
            messages = self._consumer.consume(size, 0)
            self._telemetry.polled()
            polled += len(messages)
            is_last = len(messages) < size or polled >= _BATCH
            if self._process(messages, is_last=is_last):
                return _BATCH
            if is_last:
                return polled

    def _process(self, messages: Sequence[Message], *, is_last: bool) -> bool:
        """Process the messages of a poll, then do the work that is due; return whether the worker was full.

        A polled message is processed, or its partition begins again at an offset before it; there is no third
        way. So every poll reaches the worker, whatever the state. The worker ignores a message only if it
        does not read the partition; such a partition belongs to another member, or begins again by way of its
        committed offset. Nothing is assigned to the consumer in between, so no later poll can skip a record.
        """
        self._finish_callbacks()
        unsettled_since_s = self._unsettled_since_s
        is_full = False
        with self._beginning_again():
            self._worker.process(messages)
            is_full = self._worker.is_full
            if unsettled_since_s is None and (is_last or is_full) and self._worker.step(_COMMIT_S):
                self._aborts = 0
        if unsettled_since_s is not None and (is_last or is_full):
            self._settle(unsettled_since_s)
        return is_full

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The worker assigns partitions with their offsets; without this call the client assigns them itself.
        consumer.incremental_assign([])
        if self._has_ended:
            return
        added = {(partition.topic, partition.partition) for partition in partitions}
        if not self._assigned:
            # Partitions that are still held belong to the member that they were assigned to.
            self._transaction.bind(consumer)
        self._assigned |= added
        self._telemetry.assigned(added, self._assigned)
        self._worker.assign(sorted(added))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Without this call the client unassigns partitions that the worker has not assigned yet.
        consumer.incremental_unassign([])
        self._hand_over([(each.topic, each.partition) for each in partitions], _HAND_OVER_S)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign([])
        lost = [(each.topic, each.partition) for each in partitions]
        self._telemetry.lost(lost)
        if not self._has_ended:
            self._drop(lost)

    def _hand_over(self, partitions: Collection[Partition], bound_s: float) -> None:
        """Commit and release partitions that the group revokes, or that a stop returns, within a deadline."""
        leaving = sorted(self._assigned.intersection(partitions))
        try:
            if not leaving:
                pass
            elif self._failure is not None or self._must_begin_again:
                # After a failure or a loss the uncommitted work holds counts that must not be committed.
                self._worker.drop(leaving)
            elif self._unsettled_since_s is not None:
                # A new producer takes longer than the group waits.
                self._drop(leaving)
            elif self._worker.hand_over(leaving, bound_s):
                self._aborts = 0
        except DriftgaugeError as error:
            self._failure = error
        self._assigned.difference_update(leaving)
        self._telemetry.revoked(leaving)

    def _drop(self, partitions: Collection[Partition]) -> None:
        """Release these partitions and abort the open transaction."""
        dropped = sorted(self._assigned.intersection(partitions))
        self._assigned.difference_update(dropped)
        try:
            self._worker.drop(dropped)
            self._transaction.abort(_ABORT_S)
            self._must_begin_again = True
        except (BrokerError, KafkaException) as error:
            self._failure = ClientLost(
                f"uncommitted work could not be dropped ({error}); new clients replace these"
            )

    def _finish_callbacks(self) -> None:
        """Do what callbacks left to do.

        Raises:
            DriftgaugeError: As `_beginning_again`.
        """
        failure, self._failure = self._failure, None
        must_begin_again, self._must_begin_again = self._must_begin_again, False
        if must_begin_again:
            self._worker.begin_again()
        with self._beginning_again():
            if failure is not None:
                raise failure

    @contextmanager
    def _beginning_again(self) -> Iterator[None]:
        """After a transaction that failed, begin again at the committed offsets.

        Without a producer, a new one settles the transaction. The consumer stays in its group, because
        a new member would wait until the old one's session expires.

        Raises:
            DriftgaugeError: The failure, unless it was that of a transaction.
            TransactionFailed: Another process uses the transactional id, and the two would fence each other
                without a pause.
            ClientLost: Five transactions in a row failed.
        """
        try:
            yield
        except TransactionFailed as error:
            if error.is_fenced:
                raise
            self._worker.handle_failure(error)
            self._telemetry.aborted(error)
            self._worker.begin_again()
            if self._unsettled_since_s is not None:
                return
            self._aborts += 1
            if self._aborts == _MAX_ABORTS:
                message = f"{_MAX_ABORTS} transactions in a row failed, the last because {error}"
                raise ClientLost(message, reason=error.reason) from error
            # A role without partitions begins no transaction, and would never ask for a new producer.
            if self._transaction.needs_producer:
                self._unsettled_since_s = self._clock.monotonic_s()

    def _settle(self, unsettled_since_s: float) -> None:
        """Let a new producer settle the last transaction; the role is not ready while brokers let it wait.

        Raises:
            TransactionFailed: The new producer has not started within 60 s; a new session is needed.
        """
        try:
            self._transaction.start(_SETTLE_S)
        except TransactionFailed as error:
            if self._clock.monotonic_s() - unsettled_since_s > _LONGEST_SETTLING_S:
                raise
            self._telemetry.set_ready(is_ready=False, why=str(error))
        else:
            self._unsettled_since_s = None
            self._telemetry.settled()
