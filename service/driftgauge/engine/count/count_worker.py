"""The worker of COUNT: counts the assigned partitions' events into partials; keeps no state beyond a commit.

A batch is decoded and counted; each commit interval, one transaction writes partials, dead letters and
offsets.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.commit_limit import CommitLimit
from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId, PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.engine.clock_guard import ClockGuard
from driftgauge.engine.count.culprits import Culprits
from driftgauge.engine.count.dead_letters import DeadLetters
from driftgauge.engine.count.end_offsets import EndOffsets
from driftgauge.engine.count.held_partitions import HeldPartitions
from driftgauge.engine.count.source_partition import SourcePartition
from driftgauge.engine.count.topic_watch import TopicWatch
from driftgauge.engine.producer.transaction import Transaction, bounded, produce_or_abort
from driftgauge.engine.stalled import StalledOffsets
from driftgauge.errors import DriftgaugeError, TransactionFailed
from driftgauge.events.decoder import Decoded, Decoder
from driftgauge.events.outcomes import CommitOutcomes
from driftgauge.events.rejection import overflow
from driftgauge.kafka.intake import sort_messages, to_records
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.records.partials import encode_commit
from driftgauge.telemetry.roles import Phase, RoleTelemetry

__all__ = ["CountWorker"]

# WINDOWS waits up to 5 s by design for the progress of partitions without events.
_IDLE_COMMIT_MS = 2_000
# A batch is large enough for a matrix product to pay.
_BATCH = 1_000
# The bound of the commit before partitions that have lost their position are started again.
_LOST_POSITION_COMMIT_S = 10.0


class CountWorker:
    """Counts the assigned partitions of the events topics; `HeldPartitions` has their states."""

    def __init__(  # noqa: PLR0913 - one caller assembles the worker
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
        part_bytes: int,
        limit: CommitLimit,
    ) -> None:
        self._settings = settings
        self._limit = limit
        self._decoder = decoder
        self._consumer = consumer
        self._transaction = transaction
        self._letters = letters
        self._topics = topics
        self._guard = guard
        self._telemetry = telemetry
        self._clock = clock
        self._part_bytes = part_bytes
        self._counter = IntervalCounter(specs)
        self._stalled = StalledOffsets(admin, clock.monotonic_s)
        self._held = HeldPartitions(
            topics,
            group=settings.group,
            consumer=consumer,
            admin=admin,
            telemetry=telemetry,
            clock=clock,
        )
        self._ends = EndOffsets(self._held, admin, clock, interval_ms=settings.commit_interval)
        self._culprits = Culprits()
        self._outcomes = CommitOutcomes()
        self._commits = 0
        self._interval_began_s = clock.monotonic_s()

    @property
    def is_full(self) -> bool:
        """Whether the counts or the dead letters fill a commit, as timestamps far apart make them do."""
        return self._counter.is_full(self._limit.bytes, self._settings.shards) or self._letters.is_full

    @property
    def batch(self) -> int:
        """Fewer messages if brokers are slow: those of one poll are committed together."""
        return max(1, round(_BATCH * self._limit.ratio))

    def assign(self, partitions: Collection[Partition]) -> None:
        """Count these partitions as well, once their start positions are known."""
        self._held.assign(partitions)

    def process(self, messages: Sequence[Message]) -> None:
        """Decode and count the messages of a poll; buffer the rejected ones."""
        polled = sort_messages(messages, group=self._settings.group)
        self._stalled.excuse(polled.damaged)
        if polled.records:
            self._count_past_culprits(polled.records)
        # A partition may have been paused before its end.
        for source in self._held.reading:
            end = polled.ends.get(source.partition)
            if end is not None:
                source.read(end, end, records=0)
        if polled.lost_positions:
            # Their counts are committed first, because their start is found from the committed offset.
            self._commit(_LOST_POSITION_COMMIT_S)
            self._held.lose_positions(polled.lost_positions)

    def step(self, bound_s: float) -> bool:
        """Start pending partitions; commit the counts if due, and return whether a commit was made.

        Args:
            bound_s: The time bound of a commit.

        Raises:
            TransactionFailed, AuthorizationError: As `Transaction.commit`.
        """
        self._topics.poll()
        self._telemetry.topics_missing(self._topics.missing)
        reading = {source.partition: source.position for source in self._held.reading}
        self._telemetry.stalled(self._stalled.step({**dict.fromkeys(self._held), **reading}))
        self._restart_replaced()
        for source in self._held.step():
            self._outcomes.add_loss(source.partition, source.loss)
        counted = self._held.started
        if not counted:
            return False
        since_ms = (self._clock.monotonic_s() - self._interval_began_s) * 1000
        is_due = since_ms >= self._settings.commit_interval
        if is_due or self.is_full:
            self._ends.poll()
            has_moved = any(source.position > source.committed for source in counted)
            if has_moved or since_ms >= max(_IDLE_COMMIT_MS, self._settings.commit_interval):
                self._commit(bound_s)
                return True
        return False

    def hand_over(self, partitions: Collection[Partition], bound_s: float) -> bool:
        """Commit the counts, then drop these partitions, even if the commit fails; see `Worker`."""
        has_started = any(self._held.find(partition) for partition in partitions)
        try:
            if has_started:
                self._commit(bound_s)
        finally:
            self.drop(partitions)
        return has_started

    def drop(self, partitions: Collection[Partition]) -> None:
        """Stop counting these partitions, without a commit."""
        self._held.release(partitions)
        self._culprits.drop(partitions)
        self._telemetry.waiting_for_schema(self._without_schema())

    def begin_again(self) -> None:
        """Drop the uncommitted counts, and find the start positions of all counted partitions again."""
        self._counter.drop()
        self._letters.clear()
        self._outcomes = CommitOutcomes()
        # A commit before the records are read again would hide that each one with them fails.
        self._interval_began_s = self._clock.monotonic_s()
        self._held.begin_again()

    def handle_failure(self, error: TransactionFailed) -> None:
        """Make dead letters smaller if the topic refused one; nothing is counted before they are written."""
        self._letters.handle_failure(error)

    def _restart_replaced(self) -> None:
        """Begin again if a topic was created again: its counts and offsets are invalid."""
        counted = self._held.started
        if any(self._is_replaced(source) for source in counted):
            self._culprits.drop([source.partition for source in counted])
            self.begin_again()

    def _is_replaced(self, source: SourcePartition) -> bool:
        known_id = self._topics.known[source.partition[0]].id
        # Old brokers report no id.
        return bool(known_id and source.topic_id and known_id != source.topic_id)

    def _count_past_culprits(self, fetched: Sequence[Message]) -> None:
        """Count the records of a poll; begin again if the code fails on one, and refuse that one then."""
        has_failed = False
        for messages in self._culprits.split(fetched):
            try:
                self._count(messages)
            except (DriftgaugeError, KafkaException, MemoryError):
                raise
            except Exception as error:  # noqa: BLE001 - one record must not stop all of them
                self._culprits.note(messages, error)
                has_failed = True
        if has_failed:
            # What failed may be counted by half.
            self.begin_again()

    def _count(self, fetched: Sequence[Message]) -> None:
        now_ms = self._clock.wall_ms()
        sources = {self._held.codes[each.partition]: each for each in self._held.reading}
        codes = {each.partition: code for code, each in sources.items()}
        with self._telemetry.timed(Phase.DECODE):
            messages, records = to_records(fetched, codes, now_ms=now_ms)
            culprit = self._culprits.rejection(fetched)
            if culprit is None:
                decoded = self._decoder.decode(records)
            else:
                decoded = Decoded((), (culprit,) if messages else ())
        with self._telemetry.timed(Phase.COUNT):
            refused = self._counter.count(decoded.batches, now_ms)
        overflown = map(overflow, refused, refused.values())
        rejections = [*decoded.rejections, *overflown]
        self._letters.add(messages, rejections)
        self._outcomes.add(records, decoded, rejections, self._held.names)
        is_read = np.ones(len(messages), dtype=np.bool_)
        is_read[list(decoded.pending)] = False
        for code in np.unique(records.partition[is_read]).tolist():
            rows = np.flatnonzero(is_read & (records.partition == code))
            first, last = int(rows[0]), int(rows[-1])
            source = sources[code]
            source.read(int(records.offset[first]), int(records.offset[last]) + 1, records=len(rows))
            epoch = messages[last].leader_epoch()
            source.leader_epoch = -1 if epoch is None else epoch
        pending = np.unique(records.partition[~is_read]).tolist()
        if pending:
            self._held.pause([sources[code] for code in pending])

    def _commit(self, bound_s: float) -> None:
        """Commit the partials, dead letters and offsets since the last commit in one transaction.

        1. Every shard's partials, with the progress last. 2. The dead letters. 3. The offsets of all
        counted partitions, moved or not, by which the brokers fence a stale owner. 4. After the commit, the
        metrics.
        """
        counted = self._held.started
        if not counted:
            return
        transaction, clock = self._transaction, self._clock
        with (
            self._telemetry.timed(Phase.COMMIT),
            bounded(transaction, self._limit, clock, bound_s) as deadline_s,
        ):
            deltas = self._counter.take(self._held.names, self._settings.shards)
            commit = CommitId(self._transaction.producer, self._transaction.epoch, self._commits)
            self._commits += 1
            # All shards get the same progress of a partition, except for the streams.
            progress = self._held.progress(
                {name: topic.partitions for name, topic in self._topics.known.items()}
            )
            for shard in range(self._settings.shards):
                self._write_partials(shard, commit, deltas.get(shard, ShardDelta()), progress)
            self._letters.write()
            offsets = [self._offset(source) for source in counted]
            self._transaction.commit(offsets, deadline_s - self._clock.monotonic_s())
        for source in counted:
            self._outcomes.add_skipped(source.partition[0], source.skipped, source.skipped_at_start)
            source.commit()
        self._culprits.committed({source.partition: source.committed for source in counted})
        self._interval_began_s = self._clock.monotonic_s()
        self._letters.clear()
        self._report()
        self._guard.observe(self._transaction.append)

    def _write_partials(
        self, shard: int, commit: CommitId, delta: ShardDelta, progress: Mapping[int, PartitionProgress]
    ) -> None:
        parts = encode_commit(
            commit,
            self._settings.shards,
            delta.panes,
            delta.progress(progress),
            self._part_bytes,
            written_ms=self._clock.wall_ms(),
        )
        # The key shows an operator which commits were decided.
        key = f"{commit.producer}/{commit.epoch}/{commit.number}".encode()
        for part in parts:
            produce_or_abort(self._transaction, self._settings.partials_topic, shard, key, part)

    def _offset(self, source: SourcePartition) -> TopicPartition:
        """Return the offset to commit, with the topic's id as its metadata."""
        topic, index = source.partition
        return TopicPartition(topic, index, source.position, source.topic_id, source.leader_epoch)

    def _report(self) -> None:
        outcomes, self._outcomes = self._outcomes, CommitOutcomes()
        self._telemetry.committed()
        self._telemetry.partitions_known(
            {topic: known.partitions for topic, known in self._topics.known.items()}
        )
        self._telemetry.counted(outcomes)
        self._telemetry.waiting_for_schema(self._without_schema())
        for source in self._held.started:
            end = self._stalled.high.get(source.partition)
            if end is not None:
                self._telemetry.read_to(*source.partition, position=source.position, end=end)

    def _without_schema(self) -> list[Partition]:
        return [source.partition for source in self._held.started if source.awaits_schema]
