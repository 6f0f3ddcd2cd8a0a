"""COUNT: the events of the partitions held become partials; nothing is kept beyond a commit.

The road of a batch: take -> decode -> count -> (each commit interval) write partials, dead letters and
offsets in one transaction.
"""

import logging
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId, PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.errors import TransactionAborted
from driftgauge.events.decoder import Decoder
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.kafka.clock import ClockGuard
from driftgauge.kafka.dead_letters import DeadLetters
from driftgauge.kafka.intake import sort_messages, to_records
from driftgauge.kafka.offset_barrier import CommittedOffsets, Start, find_starts
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.kafka.source_partitions import SourcePartition, SourcePartitions, assignment
from driftgauge.kafka.topic_watch import TopicWatch
from driftgauge.kafka.transaction import BEGIN_S, Transaction, produce_or_abort
from driftgauge.kafka.transaction_watch import TransactionWatch
from driftgauge.records.partials import encode_commit
from driftgauge.telemetry.roles import RoleTelemetry, Stage

__all__ = ["CountWorker"]

_log = logging.getLogger(__name__)

# WINDOWS waits for the progress of partitions without events; the design allows 5 s.
_QUIET_MS = 2_000
# How long a commit may take when partitions have lost their position.
_LOST_S = 10.0
_OVERFLOWN = "no nearest centroid: its products overflow float32"


@dataclass(slots=True)
class _Tally:
    """What happened since the last commit; the metrics move after the commit, not before."""

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[str | None, Reason]] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)  # by topic


class CountWorker:
    """Counts the partitions of the events topics that the group gives it.

    An assigned partition waits for its committed offset, then it is counted until it is handed over.
    """

    def __init__(  # noqa: PLR0913 - it is put together in one place
        self,
        settings: Settings,
        specs: Sequence[StreamSpec],
        decoder: Decoder,
        *,
        consumer: Consumer,
        admin: SharedAdmin,
        transaction: Transaction,
        letters: DeadLetters,
        topics: TopicWatch,
        guard: ClockGuard,
        telemetry: RoleTelemetry,
        clock: Clock,
        max_partial_bytes: int,
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self._consumer = consumer
        self._admin = admin
        self._transaction = transaction
        self._letters = letters
        self._topics = topics
        self._guard = guard
        self._telemetry = telemetry
        self._clock = clock
        self._max_partial_bytes = max_partial_bytes
        self._counter = IntervalCounter(specs)
        self._offsets = CommittedOffsets(consumer, clock)
        self._ends = LogOffsets(admin)
        self._watch = TransactionWatch(settings, admin, telemetry, clock)
        self._sources = SourcePartitions()
        self._waiting: list[Partition] = []  # assigned, and not yet counted
        self._barrier: Generator[None, None, dict[Partition, Start]] | None = None
        self._barrier_ids: Mapping[str, str] = {}
        self._waiting_since_s = self._assigned_s = 0.0
        # Of those that wait: their log did not hold their position, and ended where it is known.
        self._cut: dict[Partition, int | None] = {}
        self._tally = _Tally()
        self._asked_s = 0.0
        self._commits = 0
        self._committed_s = clock.monotonic_s()

    def assign(self, partitions: Collection[Partition]) -> None:
        """Wait for the offsets of these partitions as well."""
        self._wait_for([*self._waiting, *partitions])

    def process(self, messages: Sequence[Message]) -> None:
        """Decode, assign and count what a poll brought; hold back what is refused."""
        records, lost = sort_messages(messages, self._read_to)
        # A message that was fetched before a partition was given up may still come after it.
        taken = [each for each in records if self._sources.find(each.topic(), each.partition()) is not None]
        if taken:
            self._count(taken)
        if lost:
            # What was counted of them is committed first, for their offset is looked for again.
            self._commit(_LOST_S)
            stopped = self._stop(lost)
            self._cut |= {partition: lost[partition] for partition in stopped}
            self._wait_for([*self._waiting, *stopped])

    def step(self, bound_s: float) -> bool:
        """Go on with the barrier; commit what was counted if it is time, and tell whether it was.

        Args:
            bound_s: How long the brokers may take for a commit.

        Raises:
            TransactionAborted, ClientLost, AuthorizationError: As `Transaction.commit`.
        """
        self._topics.poll()
        self._watch.step([*self._waiting, *(source.partition for source in self._sources)])
        self._leave_replaced()
        self._pass_barrier()
        self._validate_positions()
        if not len(self._sources):
            return False
        since_ms = (self._clock.monotonic_s() - self._committed_s) * 1000
        is_due = since_ms >= self._settings.commit_interval
        if is_due or self._counter.is_full or self._letters.is_full:
            self._ask_for_ends()
            has_moved = any(source.position > source.committed for source in self._sources)
            if has_moved or since_ms >= max(_QUIET_MS, self._settings.commit_interval):
                self._commit(bound_s)
                return True
        return False

    def hand_over(self, partitions: Collection[Partition], bound_s: float) -> None:
        """Commit what was counted, and give these partitions up."""
        try:
            if any(self._sources.find(*partition) for partition in partitions):
                self._commit(bound_s)
        finally:
            self.drop(partitions)

    def drop(self, partitions: Collection[Partition]) -> None:
        """Give these partitions up, whatever was counted of them."""
        self._stop(partitions)
        self._wait_for([each for each in self._waiting if each not in set(partitions)])

    def rewind(self) -> None:
        """Drop what was not committed, and read it again."""
        self._counter.drop()
        self._letters.drop()
        self._tally = _Tally()
        for source in self._sources:
            source.rewind()
            self._tally.lost[source.partition[0]] += source.missing
        again = [assignment(source) for source in self._sources]
        self._consumer.incremental_unassign(again)
        self._consumer.incremental_assign(again)

    def reset(self) -> None:
        """Drop what was counted, and let all partitions wait for their offsets."""
        waiting = [*self._waiting, *self._stop([source.partition for source in self._sources])]
        self.rewind()
        self._wait_for(waiting)

    def handle_abort(self, error: TransactionAborted) -> None:
        """Say what could not be written to: counting waits, for all shards are in one transaction."""
        self._telemetry.unwritable(error.unwritable)
        self._letters.handle_abort(error)

    def _wait_for(self, partitions: list[Partition]) -> None:
        if partitions != self._waiting:
            if not self._waiting:
                self._waiting_since_s = self._clock.monotonic_s()
            self._waiting, self._barrier = partitions, None
            self._assigned_s = self._clock.monotonic_s()

    def _stop(self, partitions: Collection[Partition]) -> list[Partition]:
        stopped = self._sources.remove(partitions)
        self._ends.forget(stopped)
        self._consumer.incremental_unassign([TopicPartition(*partition) for partition in stopped])
        return stopped

    def _leave_replaced(self) -> None:
        """Let the partitions wait whose topic was deleted, or created again: their offsets mean nothing."""
        replaced = [each.partition for each in self._sources if self._is_replaced(each)]
        if replaced:
            waiting = [*self._waiting, *self._stop(replaced)]
            # What was counted of them must not be committed with the others.
            self.rewind()
            self._wait_for(waiting)

    def _is_replaced(self, source: SourcePartition) -> bool:
        known = self._topics.known.get(source.partition[0])
        # A broker may tell no id.
        return known is None or bool(known.id and source.topic_id and known.id != source.topic_id)

    def _pass_barrier(self) -> None:
        """Begin to count the partitions that wait, as soon as their offsets are known."""
        # By its id a topic is known that was created again, so an older answer will not do.
        there = [each for each in self._waiting if self._topics.is_known_since(each[0], self._assigned_s)]
        if not there:
            return
        if self._barrier is None:
            self._barrier_ids = {topic: it.id for topic, it in self._topics.known.items()}
            self._barrier = find_starts(there, self._offsets, self._admin, self._barrier_ids, self._clock)
        waited_s = self._clock.monotonic_s() - self._waiting_since_s
        try:
            next(self._barrier)
        except StopIteration as passed:
            self._start(passed.value, self._barrier_ids)
            self._telemetry.restored(waited_s, passed.value.keys())
        else:
            self._telemetry.restore_waits(there, self._offsets.waiting_for, waited_s)

    def _start(self, starts: dict[Partition, Start], ids: Mapping[str, str]) -> None:
        now_ms = self._clock.wall_ms()
        started = [self._sources.add(at, start, ids[at[0]], now_ms) for at, start in starts.items()]
        for source in started:
            # Where retention took nothing the log was cut, and has grown again.
            if source.partition in self._cut and not (source.lost or source.begins):
                source.read_from_cut(self._cut[source.partition])
            self._tally.lost[source.partition[0]] += source.missing
        self._cut = {partition: end for partition, end in self._cut.items() if partition not in starts}
        self._consumer.incremental_assign([assignment(source) for source in started])
        self._barrier = None
        self._waiting = [partition for partition in self._waiting if partition not in starts]

    def _validate_positions(self) -> None:
        """Let the client ask whether the logs still hold what was read of them, by the leaders' epochs.

        It does so on a seek, not on an assignment, and refuses one for a moment after that.
        """
        for source in self._sources:
            if source.is_validated:
                continue
            try:
                self._consumer.seek(assignment(source))
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE:
                    raise
            else:
                source.is_validated = True

    def _read_to(self, partition: Partition, position: int) -> None:
        source = self._sources.find(*partition)
        if source is not None:
            source.read_to(position)

    def _count(self, messages: list[Message]) -> None:
        now_ms = self._clock.wall_ms()
        with self._telemetry.timed(Stage.DECODE):
            records = to_records(messages, self._sources, now_ms=now_ms)
            decoded = self._decoder.decode(records)
        rejections = list(decoded.rejections)
        with self._telemetry.timed(Stage.COUNT):
            for batch in decoded.batches:
                overflown = self._counter.count(batch, now_ms)
                self._tally.accepted[batch.stream] += int((~overflown).sum())
                rejections += [
                    Rejection(row, Reason.NON_FINITE, _OVERFLOWN, batch.stream)
                    for row in batch.row[overflown].tolist()
                ]
        for rejection in rejections:
            self._tally.rejected[rejection.stream, rejection.reason] += 1
        self._letters.add(messages, rejections)
        for code in np.unique(records.partition).tolist():
            last = int(np.flatnonzero(records.partition == code)[-1])
            source = self._sources.by_code(code)
            source.read_to(int(records.offset[last]) + 1)
            epoch = messages[last].leader_epoch()
            source.leader_epoch = -1 if epoch is None else epoch

    def _ask_for_ends(self) -> None:
        """Ask where the partitions end, without waiting; an end once asked for stays until it is passed.

        A reader that is always a little behind has never reached an end of just now.
        """
        answers = self._ends.collect()
        if answers is None:
            return
        for partition, end in answers.items():
            source = self._sources.find(*partition)
            if source is not None and source.end is None and source.asked_ms:
                source.end = end
                source.read_to(source.position)
        now_s = self._clock.monotonic_s()
        if (now_s - self._asked_s) * 1000 < self._settings.commit_interval:
            return
        self._asked_s = now_s
        now_ms = self._clock.wall_ms()
        for partition in self._ends.request([each.partition for each in self._sources if each.end is None]):
            source = self._sources.find(*partition)
            if source is not None:
                source.asked_ms = now_ms

    def _commit(self, bound_s: float) -> None:
        """Write all that happened since the last commit, and let it stand with the offsets.

        1. Every shard's partials, its progress last. 2. The dead letters. 3. The offsets of all partitions
        held, moved or not: by them a stale owner is refused. 4. Only then the metrics.
        """
        if not len(self._sources):
            return
        deadline_s = self._clock.monotonic_s() + bound_s
        with self._telemetry.timed(Stage.COMMIT):
            self._transaction.begin(min(bound_s, BEGIN_S))
            deltas = self._counter.take(self._sources.names, self._settings.shards)
            commit = CommitId(self._transaction.producer, self._transaction.epoch, self._commits)
            self._commits += 1
            # All shards are told the same of a partition, but for their streams.
            progress = self._sources.progress(
                {name: it.partitions for name, it in self._topics.known.items()}
            )
            for shard in range(self._settings.shards):
                self._write_partials(shard, commit, deltas.get(shard, ShardDelta()), progress)
            self._letters.write()
            offsets = [self._offset(source) for source in self._sources]
            self._transaction.commit(offsets, self._consumer, deadline_s - self._clock.monotonic_s())
        for source in self._sources:
            source.commit()
        self._committed_s = self._clock.monotonic_s()
        self._letters.drop()
        self._report()
        self._guard.observe(self._transaction.append)

    def _write_partials(
        self, shard: int, commit: CommitId, delta: ShardDelta, progress: Mapping[int, PartitionProgress]
    ) -> None:
        parts = encode_commit(
            commit,
            self._settings.shards,
            delta.panes,
            delta.examples,
            delta.progress(progress),
            self._max_partial_bytes,
        )
        for part in parts:
            produce_or_abort(self._transaction, self._settings.partials_topic, shard, None, part)

    def _offset(self, source: SourcePartition) -> TopicPartition:
        """Return what is committed of a partition: its offset, and the topic's id beside it."""
        topic, index = source.partition
        return TopicPartition(topic, index, source.position, source.topic_id, source.leader_epoch)

    def _report(self) -> None:
        tally, self._tally = self._tally, _Tally()
        self._telemetry.committed()
        self._telemetry.partitions_known(
            {topic: known.partitions for topic, known in self._topics.known.items()}
        )
        self._telemetry.counted(tally.accepted, tally.rejected, tally.lost)
        for source in self._sources:
            topic, index = source.partition
            _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, index), cached=True)
            if end >= 0:
                self._telemetry.read_to(topic, index, position=source.position, end=end)
