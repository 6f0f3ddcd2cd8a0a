"""One life of a role's Kafka clients: join -> work -> hand over -> close, until one of them fails.

    Joining ------> Working <------> HandingOver ------> Closed
       assigned     ^     |     revoked, stopped
          settled   |     v   commit in doubt
                    Settling

What is assigned has states of its own, which the worker keeps: COUNT's partitions wait for their offsets,
then they are counted; WINDOWS' shards are restored, then they run, or they are set aside or stopped.
"""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from driftgauge.clock import Clock
from driftgauge.core.partition import Partition
from driftgauge.errors import AuthorizationError, BrokerError, ClientLost, DriftgaugeError, TransactionAborted
from driftgauge.kafka.transaction import AUTHORIZATION, State, Transaction
from driftgauge.telemetry.roles import RoleTelemetry

__all__ = ["Closed", "HandingOver", "Joining", "Session", "SessionState", "Settling", "Worker", "Working"]

# consume() returns with this many or when the time is up: enough for a matrix product to pay,
# short enough for a signal to be heard at once (Python runs no handler inside it).
_BATCH = 1_000
_POLL_S = 0.1
# While a broker fails over a commit is insisted on, for as long as brokers keep a transaction open;
# what takes longer is settled by a new producer.
_COMMIT_S = 12.0
# The others of the group wait for one who gives partitions up, and a supervisor for one who leaves.
_HAND_OVER_S = 4.0
_ABORT_S = 4.0
_MAX_ABORTS = 5
# So long a new producer may take at a time, for the consumer must be polled meanwhile; and in all.
_SETTLE_S = 5.0
_LONGEST_DOUBT_S = 60.0


@dataclass(frozen=True, slots=True)
class Joining:
    """Nothing has been assigned yet."""


@dataclass(frozen=True, slots=True)
class Working:
    """What is assigned is restored and worked on; the last so many transactions were aborted."""

    aborts: int = 0


@dataclass(frozen=True, slots=True)
class Settling:
    """Since then it is not known whether the last commit stands; a new producer settles it."""

    since_s: float
    aborts: int


@dataclass(frozen=True, slots=True)
class HandingOver:
    """These partitions are given up, after a last commit that takes no longer than the bound."""

    partitions: tuple[Partition, ...]
    bound_s: float


@dataclass(frozen=True, slots=True)
class Closed:
    """The group has been left."""


SessionState = Joining | Working | Settling | HandingOver | Closed


class Worker(Protocol):
    """What a role does with the partitions that its group gives it."""

    def assign(self, partitions: Collection[Partition]) -> None:
        """Take these partitions on."""

    def process(self, messages: Sequence[Message]) -> None:
        """Take in what a poll brought."""

    def step(self, bound_s: float) -> bool:
        """Do what is due; tell whether a commit was among it."""

    def hand_over(self, partitions: Collection[Partition], bound_s: float) -> None:
        """Commit what was done, and give these partitions up, whether the commit succeeds or not."""

    def drop(self, partitions: Collection[Partition]) -> None:
        """Give these partitions up; nothing may be committed for them any more."""

    def rewind(self) -> None:
        """Go back to what was committed."""

    def reset(self) -> None:
        """Drop what was done, and find out what is committed."""

    def handle_abort(self, error: TransactionAborted) -> None:
        """Take note of what the last transaction could not write to; `rewind` follows."""


class Session:
    """Joins a role's group and lets the worker work until it is told to stop.

    Attributes:
        state: Where it stands.
    """

    def __init__(
        self,
        topics: Sequence[str],
        worker: Worker,
        *,
        consumer: Consumer,
        transaction: Transaction,
        telemetry: RoleTelemetry,
        clock: Clock,
    ) -> None:
        self._topics = list(topics)
        self._worker = worker
        self._consumer = consumer
        self._transaction = transaction
        self._telemetry = telemetry
        self._clock = clock
        self._assigned: set[Partition] = set()
        self._failure: DriftgaugeError | None = None  # what a callback met; the loop acts on it
        self._is_stale = False  # a callback has gone back, so what the poll brought is read again
        self.state: SessionState = Joining()

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set, then commit and leave the group.

        Raises:
            BrokerError: A new session is needed.
            AuthorizationError: The cluster does not let us.
            StateError: What is kept in Kafka cannot be used.
        """
        try:
            self._work(stopping)
        except KafkaException as error:
            # A client that has failed for good says so from whatever is called next.
            cause: KafkaError = error.args[0]
            message = f"a Kafka client failed ({cause.str()})"
            if cause.code() in AUTHORIZATION:
                message = f"{message}; check the client's rights"
                raise AuthorizationError(message) from error
            raise ClientLost(message) from error

    def _work(self, stopping: threading.Event) -> None:
        try:
            self._consumer.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not stopping.is_set():
                messages = self._consumer.consume(_BATCH, _POLL_S)
                self._telemetry.polled()
                self.state = self._turn(messages)
            self._hand_over(self._assigned, _HAND_OVER_S)
            self._act_on_callbacks()
        except BaseException:
            # Whatever went wrong, what is held must not be committed on the way out.
            self._drop(self._assigned)
            raise
        finally:
            self._consumer.close()
            self.state = Closed()

    def _turn(self, messages: Sequence[Message]) -> SessionState:
        """Do what is due, and return where that leads."""
        state, has_gone_back = self._act_on_callbacks()
        if isinstance(state, Settling):
            state = self._settle(state)
        # After either, what was fetched before is read again.
        if has_gone_back or isinstance(state, Settling):
            return state
        try:
            self._worker.process(messages)
            has_committed = self._worker.step(_COMMIT_S)
        except TransactionAborted as error:
            return self._go_back(error, state)
        except ClientLost as error:
            return self._doubt(error, state)
        return Working() if has_committed else state

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The worker assigns each one from the offset that it finds; without a call the client would.
        consumer.incremental_assign([])
        added = {(partition.topic, partition.partition) for partition in partitions}
        self._assigned |= added
        self._telemetry.assigned(added, self._assigned)
        self._worker.assign(sorted(added))
        if isinstance(self.state, Joining):
            self.state = Working()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Without a call the client would take away what was never really assigned.
        consumer.incremental_unassign([])
        self._hand_over([(each.topic, each.partition) for each in partitions], _HAND_OVER_S)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign([])
        lost = [(each.topic, each.partition) for each in partitions]
        self._telemetry.lost(lost)
        self._drop(lost)

    def _hand_over(self, partitions: Collection[Partition], bound_s: float) -> None:
        """Commit and give up what the group takes away, or what a stop gives back, within a deadline."""
        given_up = sorted(self._assigned.intersection(partitions))
        before, self.state = self.state, HandingOver(tuple(given_up), bound_s)
        try:
            if self._failure is not None:
                # After a failure there is nothing to commit until the loop has gone back.
                self._worker.drop(given_up)
            elif given_up and (self._transaction.state is State.LOST or _has_aborted(before)):
                # A new producer takes longer than the group waits. And going back after an abort assigns the
                # partitions again. The client takes that for the answer to a loss that it has yet to report:
                # it joins the group as a new member and reports a revocation. A commit of this member would
                # be accepted, though other members have the partitions since.
                self._drop(given_up)
            elif given_up:
                self._worker.hand_over(given_up, bound_s)
        except DriftgaugeError as error:
            self._failure = error
        self._assigned.difference_update(given_up)
        self._telemetry.revoked(given_up)
        self.state = before

    def _drop(self, partitions: Collection[Partition]) -> None:
        """Give these up, and let nothing stand that was not committed."""
        dropped = sorted(self._assigned.intersection(partitions))
        self._assigned.difference_update(dropped)
        try:
            self._worker.drop(dropped)
            self._transaction.abort(_ABORT_S)
            self._worker.rewind()
            self._is_stale = True
        except (BrokerError, KafkaException) as error:
            self._failure = ClientLost(f"what was not committed could not be dropped ({error})")

    def _act_on_callbacks(self) -> tuple[SessionState, bool]:
        """Raise what a callback met; where it was an abort go back. Tell whether anybody has gone back."""
        failure, self._failure = self._failure, None
        is_stale, self._is_stale = self._is_stale, False
        if isinstance(failure, TransactionAborted):
            return self._go_back(failure, self.state), True
        if isinstance(failure, ClientLost):
            return self._doubt(failure, self.state), True
        if failure is not None:
            raise failure
        return self.state, is_stale

    def _doubt(self, error: ClientLost, state: SessionState) -> Settling:
        """Begin again by what the brokers make of a commit whose outcome is not known.

        The consumer stays in its group: a new one would wait until the group has given up the old one.

        Raises:
            ClientLost: It was not a transaction that failed; or another process has taken the name, and would
                be fenced in turn without a pause; or it was one of many.
        """
        if self._transaction.state is not State.LOST or error.is_fenced:
            raise error
        self._telemetry.aborted(str(error))
        self._telemetry.set_ready(is_ready=False)
        self._worker.reset()
        return Settling(self._clock.monotonic_s(), _count(error, state))

    def _settle(self, state: Settling) -> Settling | Working:
        """Let a new producer end what is in doubt.

        Raises:
            ClientLost: It takes too long; new clients may do better.
        """
        try:
            self._transaction.start(_SETTLE_S)
        except ClientLost:
            if self._clock.monotonic_s() - state.since_s > _LONGEST_DOUBT_S:
                raise
            return state
        self._telemetry.set_ready(is_ready=True)
        return Working(state.aborts)

    def _go_back(self, error: TransactionAborted, state: SessionState) -> SessionState:
        """Begin again from what was committed.

        Raises:
            ClientLost: It was one of many.
        """
        self._telemetry.aborted(str(error))
        self._worker.handle_abort(error)
        self._worker.rewind()
        return state if isinstance(state, Settling) else Working(_count(error, state))


def _has_aborted(state: SessionState) -> bool:
    """Return whether no transaction has been committed since the last abort."""
    return isinstance(state, Working | Settling) and state.aborts > 0


def _count(error: BrokerError, state: SessionState) -> int:
    """Return how many transactions in a row have failed now.

    Raises:
        ClientLost: They are too many; a new session comes after a pause.
    """
    aborts = state.aborts + 1 if isinstance(state, Working | Settling) else 1
    if aborts == _MAX_ABORTS:
        message = f"{_MAX_ABORTS} transactions in a row failed, the last because {error}"
        raise ClientLost(message) from error
    return aborts
