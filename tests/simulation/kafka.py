"""A Kafka without processes or threads: it keeps what brokers and clients promise, and no more.

Logs, groups and transactions as the service's workers see them, over simulated time. Where a client may do
one thing or another, chance decides.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    TIMESTAMP_LOG_APPEND_TIME,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
    Uuid,
)
from confluent_kafka.admin import OffsetSpec

from driftgauge.clock import Clock
from driftgauge.core.partition import Partition
from driftgauge.engine.clock_guard import Append
from driftgauge.engine.producer.transaction_errors import membership_lost
from driftgauge.errors import TransactionFailed
from tests.builders.messages import FakeMessage

TIMEOUT_S = 13.0
"""Brokers abort a transaction that has been open for longer."""

Callback = Callable[[Any, list[TopicPartition]], None]


class Stored(FakeMessage):
    """A record of a log, or the marker of a transaction's end, as a consumer gets it.

    Attributes:
        at: The offset; `epoch`: the leader's epoch; `append_ms`: when it was appended.
        sent: The transaction that wrote it, if one did.
        kept_ms: Until when compaction keeps a deletion; None before the first one that meets it.
    """

    def __init__(self, at: int, epoch: int, append_ms: int, sent: "Sent | None", **content: Any) -> None:
        stamp = TIMESTAMP_LOG_APPEND_TIME, append_ms
        super().__init__(offset=at, stamp=stamp, leader_epoch=epoch, **content)
        self.at, self.epoch, self.append_ms, self.sent = at, epoch, append_ms, sent
        self.kept_ms: int | None = None


@dataclass(eq=False)
class Sent:
    """A transaction as its coordinator knows it.

    Attributes:
        producer: The transactional id; `group`: that of the offsets; `tag`: what its producer says of itself.
        begun_s: When it began.
        records: Its records.
        offsets: The offsets that it commits.
        is_prepared: The commit is decided, and not carried out.
        is_committed: None while it is open.
    """

    producer: str
    group: str
    begun_s: float
    tag: Any = None
    records: list["Stored"] = field(default_factory=list)
    offsets: dict[Partition, TopicPartition] = field(default_factory=dict)
    is_prepared: bool = False
    is_committed: bool | None = None


class Log:
    """The log of one partition.

    Attributes:
        begin, end: The offsets of the first record kept, and of the next one.
        epochs: The leaders' epochs, and the offset at which each began.
        stored: The records kept, markers among them.
        open: The open transactions with records here, and the offset of the first of each.
    """

    def __init__(self, topic: str, partition: int) -> None:
        self.at = topic, partition
        self.begin = self.end = 0
        self.epochs = [(0, 0)]
        self.stored: list[Stored] = []
        self.open: dict[Sent, int] = {}

    def append(self, now_ms: int, sent: Sent | None = None, **content: Any) -> Stored:
        """Append a record, and return it."""
        content |= {"topic": self.at[0], "partition": self.at[1]}
        self.stored.append(Stored(self.end, self.epochs[-1][0], now_ms, sent, **content))
        if sent is not None:
            self.open.setdefault(sent, self.end)
        self.end += 1
        return self.stored[-1]

    def settle(self, sent: Sent, now_ms: int) -> None:
        """Append the marker of a transaction that has ended."""
        if self.open.pop(sent, None) is not None:
            # Readers pass over a record of a transaction that was not committed, and so over a marker.
            self.append(now_ms).sent = Sent("", "", 0.0, is_committed=False)

    @property
    def stable(self) -> int:
        """The offset up to which records can be read: the end before the first open transaction."""
        return min(self.open.values(), default=self.end)

    def read(self, offset: int) -> list[Stored]:
        """Return what is stored from an offset up to the stable one, markers and aborted records too."""
        first, stable = bisect_left(self.stored, offset, key=lambda each: each.at), self.stable
        return [each for each in self.stored[first : first + 2_000] if each.at < stable]

    def delete(self, before: int) -> None:
        """Delete the records before an offset, as retention does."""
        self.begin = before
        self.stored = [each for each in self.stored if each.at >= before]

    def truncate(self, end: int) -> None:
        """Lose the records from an offset on: a replica without them has become the leader."""
        self.stored = [each for each in self.stored if each.at < end]
        self.end = end
        self.epochs.append((self.epochs[-1][0] + 1, end))

    def end_of(self, epoch: int) -> int:
        """Return the offset at which the epoch after this one began, or the end."""
        return next((first for later, first in self.epochs if later > epoch), self.end)

    def compact(self, before: int, now_ms: int) -> None:
        """Remove the records before a stable offset that have a later value, and deletions.

        A deletion stays for an hour after the first compaction that meets it (KIP-534), so that a reader that
        has seen the value sees it removed.
        """
        newest = {each.key(): each.at for each in self.stored if is_read(each)}
        for each in self.stored:
            if each.at < min(before, self.stable) and each.kept_ms is None:
                each.kept_ms = now_ms + 3_600_000
        self.stored = [
            each
            for each in self.stored
            if each.kept_ms is None
            or (
                is_read(each)
                and newest[each.key()] == each.at
                and (each.value() is not None or now_ms < each.kept_ms)
            )
        ]


def is_read(each: Stored) -> bool:
    """Return whether a reader gets what is stored."""
    return each.sent is None or each.sent.is_committed is True


class Group:
    """A consumer group: who owns which partition, and the committed offsets.

    Attributes:
        members: The members by id.
        wanted: Who is to own each partition; `owners`: who does.
    """

    def __init__(self, kafka: "SimulatedKafka") -> None:
        self._kafka = kafka
        self.members: dict[str, SimulatedConsumer] = {}
        self.committed: dict[Partition, TopicPartition] = {}
        self.wanted: dict[Partition, SimulatedConsumer] = {}
        self.owners: dict[Partition, SimulatedConsumer] = {}

    def spread(self, holders: Sequence["SimulatedConsumer"] = ()) -> None:
        """Give partition i to `holders[i]`, if it is a member; else move only what an equal share needs."""
        members = [*self.members.values()]
        topics = {topic for each in members for topic in each.topics}
        partitions = sorted(at for at in self._kafka.logs if at[0] in topics)
        before, self.wanted = self.wanted, {}
        for number, at in enumerate(partitions):
            load, owner = [*self.wanted.values()], before.get(at)
            if holders and holders[number % len(holders)] in members:
                self.wanted[at] = holders[number % len(holders)]
            elif owner in members and load.count(owner) * len(members) < len(partitions):
                self.wanted[at] = owner
            else:
                self.wanted[at] = min(members, key=load.count)

    def expel(self, consumer: "SimulatedConsumer") -> None:
        """Take its partitions from a member, which learns of it later."""
        self.members = {name: each for name, each in self.members.items() if each is not consumer}
        self.owners = {at: each for at, each in self.owners.items() if each is not consumer}
        self.spread()


class SimulatedKafka:
    """The brokers.

    Attributes:
        now_ms: The brokers' clock.
        logs: The logs; `ids`: the number of each topic's id; `groups`: the groups.
        unreadable: The partitions without a leader.
        record_s, byte_s: What a record and a byte of a transaction take, in seconds.
        on_end: Called with each transaction that has ended.
    """

    def __init__(self, now_ms: int, random: Random) -> None:
        self.now_ms, self.random = now_ms, random
        self.logs: dict[Partition, Log] = {}
        self.ids: dict[str, int] = {}
        self.groups: dict[str, Group] = {}
        self.unreadable: set[Partition] = set()
        self.record_s, self.byte_s = 1e-4, 1e-7
        self.on_end: Callable[[Sent], None] = lambda _: None
        self.producers: dict[str, int] = {}
        self.open: dict[str, Sent] = {}
        self.joins = 0
        self._answers: list[Callable[[], object]] = []

    @property
    def now_s(self) -> float:
        """The time, in seconds."""
        return self.now_ms / 1_000

    def clock(self, skew_ms: int = 0) -> Clock:
        """Return the clock of a process whose wall clock is off."""
        return Clock(lambda: self.now_ms + skew_ms, lambda: self.now_s)

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic; one of this name is deleted."""
        self.ids[topic] = len(self.ids) + self.ids.get(topic, 0) + 1
        self.grow(topic, 0)
        self.grow(topic, partitions)

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic so many partitions."""
        self.logs = {at: log for at, log in self.logs.items() if at[0] != topic or at[1] < partitions} | {
            (topic, index): Log(topic, index)
            for index in range(partitions)
            if (topic, index) not in self.logs
        }
        for group in self.groups.values():
            if group.members:
                group.spread()

    def topic_id(self, topic: str) -> str:
        """Return the id of a topic, as clients write it."""
        return f"{1:016x}{self.ids[topic]:016x}"

    def sizes(self) -> dict[str, int]:
        """Return the number of partitions of each topic."""
        return {topic: sum(at[0] == topic for at in self.logs) for topic in self.ids}

    def group(self, name: str) -> Group:
        """Return a group."""
        return self.groups.setdefault(name, Group(self))

    def advance(self, seconds: float) -> None:
        """Let time pass: answers arrive, and transactions time out."""
        self.now_ms += round(1_000 * seconds)
        answers, self._answers = self._answers, []
        for answer in answers:
            answer()
        for sent in [*self.open.values()]:
            if self.now_s - sent.begun_s > TIMEOUT_S:
                # The producer cannot go on with it.
                self.producers[sent.producer] += 1
                self.end(sent, is_committed=sent.is_prepared)

    def answer(self, give: Callable[[], object]) -> None:
        """Give an answer now or later."""
        if self.random.random() < 0.5:
            give()
        else:
            self._answers.append(give)

    def start(self, producer: str) -> int:
        """Fence earlier producers of this id, end their transaction, and return the new one's number."""
        self.producers[producer] = self.producers.get(producer, 0) + 1
        if sent := self.open.get(producer):
            self.end(sent, is_committed=sent.is_prepared)
        return self.producers[producer]

    def end(self, sent: Sent, *, is_committed: bool) -> None:
        """Commit or abort a transaction."""
        # An oracle that fails in a commit lets its session abort what has ended.
        self.open.pop(sent.producer, None)
        sent.is_committed = is_committed
        if is_committed:
            self.group(sent.group).committed |= sent.offsets
        # The markers may come later than the answer, and than the offsets.
        logs = [*self.logs.values()]
        self.answer(lambda: [log.settle(sent, self.now_ms) for log in logs])
        self.on_end(sent)


@dataclass
class _Assigned:
    """A partition that a consumer reads.

    Attributes:
        log: Its log when it was assigned.
        position: The offset of the next record; None once it is lost.
        epoch: The epoch of the last record; negative: it is not known.
        end: The end that the consumer was told of last.
        leader: The epoch of the last known leader; None: it has asked for nothing yet.
    """

    log: Log
    position: int | None
    epoch: int
    end: int = -1
    leader: int | None = None


class SimulatedConsumer:
    """A consumer that reads what is assigned to it, and may be a member of a group.

    Attributes:
        most: The most messages of one call.
        topics: What it has subscribed.
    """

    def __init__(self, kafka: SimulatedKafka, group: str = "") -> None:
        self._kafka, self._group = kafka, kafka.group(group)
        self.most = 10**9
        self.topics: list[str] = []
        self._callbacks: dict[str, Callback] = {}
        self._member: str | None = None
        self._owned: set[Partition] = set()
        self._lost: set[Partition] = set()
        self._is_told = False
        self._assigned: dict[Partition, _Assigned] = {}

    # The group

    def subscribe(self, topics: list[str], **callbacks: Callback) -> None:
        self.topics, self._callbacks = topics, callbacks

    def memberid(self) -> str | None:
        return self._member

    def unsubscribe(self) -> None:
        self._callbacks, self._member = {}, None
        self._group.expel(self)

    def close(self) -> None:
        if self._callbacks:
            self._give_up(self._owned, "on_revoke" if self._is_member else "on_lost")
            self.unsubscribe()

    @property
    def _is_member(self) -> bool:
        return self._member in self._group.members

    @property
    def is_steady(self) -> bool:
        """Whether it is a member, knows what it has lost, and owns what it is to own."""
        wanted = {at for at, owner in self._group.wanted.items() if owner is self}
        return self._is_member and not self._lost and self._owned == wanted

    def _serve(self) -> None:
        """Join the group, or learn what has changed in it."""
        if not self._is_member:
            self._join()
            return
        if self._lost:
            self._give_up(self._lost, "on_lost")
            self._lost = set()
        wanted = {at for at, owner in self._group.wanted.items() if owner is self}
        if revoked := self._owned - wanted:
            self._give_up(revoked, "on_revoke")
        # Others own some of them until they have given them up.
        added = {at for at in wanted - self._owned if at not in self._group.owners}
        # Each rebalance ends with a call, also without new partitions.
        if added or not self._is_told:
            self._is_told = True
            self._owned |= added
            self._group.owners |= dict.fromkeys(added, self)
            self._call("on_assign", added)

    def _join(self) -> None:
        """Join the group as a new member, without what it owned before."""
        self._lost, self._owned, self._is_told = self._lost | self._owned, set(), False
        self._kafka.joins += 1
        self._member = f"member-{self._kafka.joins}"
        self._group.members[self._member] = self
        self._group.spread()

    def _give_up(self, partitions: Iterable[Partition], callback: str) -> None:
        self._call(callback, partitions)
        self._owned, self._is_told = self._owned.difference(partitions), False
        owners = self._group.owners
        self._group.owners = {
            at: owner for at, owner in owners.items() if owner is not self or at in self._owned
        }

    def _call(self, callback: str, partitions: Iterable[Partition]) -> None:
        self._callbacks[callback](self, [TopicPartition(*at) for at in sorted(partitions)])

    # Reading

    def consume(self, number: int, timeout_s: float) -> list[Any]:
        number = min(number, self._kafka.random.choice([3, number]))
        # The client may have taken messages from its queue before it runs a callback in the same call.
        is_early = self._kafka.random.random() < 0.5
        early = self._fetch(number) if is_early else []
        if self._callbacks:
            self._serve()
        return early if is_early else self._fetch(number)

    def _fetch(self, number: int) -> list[Any]:
        messages: list[Any] = []
        order = [at for at, each in self._assigned.items() if each.position is not None]
        self._kafka.random.shuffle(order)
        for at in order:
            log, own = self._kafka.logs.get(at), self._assigned[at]
            if log is None or at in self._kafka.unreadable:
                continue
            if reason := _lost_position(own, log):
                messages.append(_notice(at, own.position, KafkaError(KafkaError._AUTO_OFFSET_RESET, reason)))
                own.position = None
                continue
            for each in log.read(own.position):
                if len(messages) >= min(number, self.most):
                    break
                own.position, own.epoch = each.at + 1, each.epoch
                if is_read(each):
                    messages.append(each)
            else:
                # Of what is stored last, compaction and retention leave no trace but the offset.
                if own.position >= log.stable or not log.read(own.position):
                    own.position = max(own.position, log.stable)
                    if own.end != own.position:
                        own.end = own.position
                        messages.append(_notice(at, own.end, KafkaError(KafkaError._PARTITION_EOF)))
        self.most -= min(self.most, sum(each.error() is None for each in messages))
        return messages

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            at = each.topic, each.partition
            assert at not in self._assigned, f"assigned twice: {at}"
            log = self._kafka.logs[at]
            position = log.begin if each.offset == OFFSET_BEGINNING else each.offset
            self._assigned[at] = _Assigned(log, position, _epoch(each))

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        if self._callbacks and not self._is_member and self._kafka.random.random() < 0.5:
            # The client joins again before it reports the loss.
            self._join()
        for each in partitions:
            del self._assigned[each.topic, each.partition]

    def seek(self, partition: TopicPartition) -> None:
        own = self._assigned.get((partition.topic, partition.partition))
        if own is None or own.leader is None:
            # So soon after its assignment.
            raise KafkaException(KafkaError(KafkaError._STATE))
        if own.position is not None:
            own.position, own.leader, own.epoch = partition.offset, -1, _epoch(partition)

    def committed(self, asked: Sequence[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        self._kafka.advance(timeout / 10)
        pending = {at for sent in self._kafka.open.values() for at in sent.offsets}
        if pending & {(each.topic, each.partition) for each in asked}:
            self._kafka.advance(timeout)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        known = self._group.committed
        return [
            known.get((at.topic, at.partition)) or TopicPartition(at.topic, at.partition, OFFSET_INVALID)
            for at in asked
        ]


def _lost_position(own: _Assigned, log: Log) -> str:
    """Return why the log does not hold the position; empty: it does."""
    leader = log.epochs[-1][0]
    # A client checks its position when it learns of a new leader, not when the position is assigned.
    known, own.leader = leader if own.leader is None else own.leader, leader
    # A log that was created again is shorter when the client meets it.
    if own.log is not log or not log.begin <= own.position <= log.end:
        return "fetch failed due to requested offset not available on the broker"
    if known < leader and own.epoch >= 0 and log.end_of(own.epoch) < own.position:
        return f"Partition truncation detected: broker end offset is {log.end_of(own.epoch)}"
    return ""


def _epoch(at: TopicPartition) -> int:
    return -1 if at.leader_epoch is None else at.leader_epoch


def _notice(at: Partition, offset: int, error: KafkaError) -> FakeMessage:
    return FakeMessage(topic=at[0], partition=at[1], offset=offset, error=error)


class SimulatedAdmin:
    """The client that a `SharedAdmin` shares."""

    def __init__(self, kafka: SimulatedKafka) -> None:
        self._kafka = kafka

    def list_offsets(
        self,
        asked: Mapping[TopicPartition, OffsetSpec],
        *,
        isolation_level: IsolationLevel,
        request_timeout: float,
    ) -> dict[TopicPartition, Future[Any]]:
        # Whoever asks may name them in the order of a set, which no seed decides.
        return {
            at: self._answer(lambda at=at: self._offset(at, asked[at], isolation_level))
            for at in sorted(asked, key=lambda at: (at.topic, at.partition))
        }

    def describe_topics(self, asked: TopicCollection, *, request_timeout: float) -> dict[str, Future[Any]]:
        return {
            topic: self._answer(lambda topic=topic: self._describe(topic))
            for topic in sorted(asked.topic_names)
        }

    def list_topics(self, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(controller_id=1, brokers={1: None})

    def _answer(self, answer: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()

        def give() -> None:
            try:
                future.set_result(answer())
            except KafkaException as error:
                future.set_exception(error)

        self._kafka.answer(give)
        return future

    def _offset(self, at: TopicPartition, spec: OffsetSpec, isolation: IsolationLevel) -> SimpleNamespace:
        log = self._kafka.logs.get((at.topic, at.partition))
        if log is None or log.at in self._kafka.unreadable:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        end = log.stable if isolation is IsolationLevel.READ_COMMITTED else log.end
        return SimpleNamespace(offset=log.begin if spec is OffsetSpec.earliest() else end)

    def _describe(self, topic: str) -> SimpleNamespace:
        if topic not in self._kafka.ids:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        return SimpleNamespace(
            topic_id=Uuid(1, self._kafka.ids[topic]), partitions=range(self._kafka.sizes()[topic])
        )


class SimulatedTransaction:
    """A `Transaction` over simulated brokers.

    Attributes:
        producer, epoch, needs_producer, append: As in `Transaction`.
        tag: What the transactions are to be known by.
        outcome: What becomes of the next commit, see `commit`.
        pause_after: After how many records of the next transaction `on_pause` is called, once.
        sizes: The bytes of each transaction that was to be committed.
    """

    def __init__(
        self, kafka: SimulatedKafka, producer: str, group: str, clock: Clock, tag: Any = None
    ) -> None:
        self._kafka, self.producer, self._group, self._clock, self.tag = kafka, producer, group, clock, tag
        self.epoch, self._number = 0, 0
        self.needs_producer, self._is_open = True, False
        self.append: Append | None = None
        self.outcome = ""
        self.pause_after: int | None = None
        self.on_pause: Callable[[], None] = lambda: None
        self.sizes: list[int] = []
        self._consumer: SimulatedConsumer | None = None
        self._member: str | None = None

    def start(self, bound_s: float) -> None:
        self._number = self._kafka.start(self.producer)
        self.epoch = max(self._clock.wall_ms(), self.epoch + 1)
        self.needs_producer = self._is_open = False

    def close(self) -> None:
        self.needs_producer, self._is_open = True, False

    def bind(self, consumer: SimulatedConsumer) -> None:
        self._consumer, self._member = consumer, consumer.memberid()

    def begin(self, bound_s: float) -> None:
        if self.needs_producer:
            self.start(bound_s)
        self._require_own()
        if self._is_open:
            raise RuntimeError("a transaction is open already")
        self._sent = Sent(self.producer, self._group, self._kafka.now_s, self.tag)
        self._sent_ms = self._clock.wall_ms()
        self._kafka.open[self.producer] = self._sent
        self._is_open = True

    def produce(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Any = None
    ) -> bool:
        assert self._is_open, "no transaction is open"
        self._require_own()
        if partition < 0:
            partition = self._kafka.random.randrange(self._kafka.sizes()[topic])
        log = self._kafka.logs[topic, partition]
        record = log.append(self._kafka.now_ms, self._sent, key=key, value=value, headers=headers)
        self._sent.records.append(record)
        if len(self._sent.records) == self.pause_after:
            self._pause()
        return True

    def commit(self, offsets: Sequence[TopicPartition], bound_s: float) -> None:
        """Commit, unless `outcome` says otherwise.

        refused     Brokers abort the transaction.
        unanswered  The commit is not answered, and has not reached the brokers.
        prepared    The commit is not answered, and the brokers carry it out later.
        lost        The commit is not answered, and has taken effect.
        suspect     The commit succeeds, and its producer has lost a connection.
        """
        outcome, self.outcome = self.outcome, ""
        sent, kafka = self._sent, self._kafka
        size = sum(len(part or b"") for each in sent.records for part in (each.key(), each.value()))
        self.sizes.append(size)
        took_s = len(sent.records) * kafka.record_s + size * kafka.byte_s
        kafka.advance(max(min(took_s, bound_s), 0))
        self._require_own()
        if took_s > bound_s or outcome == "refused":
            self.abort(0)
            if not outcome:
                # The sequence numbers of records that were not delivered would be missing.
                self.close()
            raise TransactionFailed("not in time", is_slow=not outcome)
        if self._consumer is None or self._consumer.memberid() not in {self._member} - {None}:
            self.abort(0)
            raise membership_lost(self._group)
        if offsets and self._member not in kafka.group(self._group).members:
            self.abort(0)
            raise TransactionFailed(f"{self._member} is no member of {self._group}")
        sent.offsets = {(each.topic, each.partition): each for each in offsets}
        self._pause()
        self._require_own()
        if outcome not in ("", "suspect"):
            self.close()
            sent.is_prepared = outcome == "prepared"
            if outcome == "lost":
                kafka.end(sent, is_committed=True)
            raise TransactionFailed(f"the commit is {outcome}")
        kafka.end(sent, is_committed=True)
        self.append = Append(self._sent_ms, self._clock.wall_ms(), kafka.now_ms)
        self._is_open, self.needs_producer = False, bool(outcome)

    def abort(self, bound_s: float) -> None:
        if self._is_open:
            self._require_own()
            self._kafka.end(self._sent, is_committed=False)
            self._is_open = False

    def _pause(self) -> None:
        if self.pause_after is not None:
            self.pause_after = None
            self.on_pause()
            self._require_own()

    def _require_own(self) -> None:
        """Fail if another producer has this id, or the transaction was aborted.

        Raises:
            TransactionFailed: So it is.
        """
        if self._kafka.producers[self.producer] != self._number:
            self.close()
            raise TransactionFailed(f"{self.producer} is fenced", is_fenced=True)
