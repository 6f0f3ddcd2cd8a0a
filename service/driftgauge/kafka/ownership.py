"""What is held from an assignment to its loss: the counts, and how far they have been committed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition
from numpy.typing import NDArray

from driftgauge.config import Settings
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.partition import Partition
from driftgauge.core.pipeline import Pipeline
from driftgauge.core.result import WindowResult
from driftgauge.core.state import Change
from driftgauge.errors import StateError
from driftgauge.events.decoder import Decoder
from driftgauge.events.records import Records
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.kafka.assignment import Assignment
from driftgauge.kafka.intake import read_notices, to_records
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.output import Output
from driftgauge.kafka.transaction import Transaction
from driftgauge.telemetry.metrics import Stage, Telemetry

__all__ = ["Ownership"]


_MAX_LETTER_BYTES = 16 * 1024 * 1024
# What a message takes besides; its headers are left out, for to read them is dear and may fail.
_FRAME_BYTES = 500


@dataclass(slots=True)
class _Tally:
    """What happened since the last commit; the metrics move after the commit, not before."""

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[str | None, Reason]] = field(default_factory=Counter)
    late: Counter[tuple[str, int]] = field(default_factory=Counter)  # (stream, window size in ms)
    lost: Counter[str] = field(default_factory=Counter)  # topic
    results: list[WindowResult] = field(default_factory=list)


class Ownership:
    """Counts what the held partitions bring, closes windows, publishes, commits.

    Counts, results, dead letters and offsets stand together or not at all: when a commit fails,
    this object is dropped, and another begins from what was committed.
    """

    def __init__(
        self,
        *,
        assignment: Assignment,
        pipeline: Pipeline,
        decoder: Decoder,
        ends: LogOffsets,
        transaction: Transaction,
        output: Output,
        telemetry: Telemetry,
        clock_ms: Callable[[], int],
        settings: Settings,
    ) -> None:
        self._assignment = assignment
        self._pipeline = pipeline
        self._decoder = decoder
        self._ends = ends
        self._transaction = transaction
        self._output = output
        self._telemetry = telemetry
        self._clock_ms = clock_ms
        self._lead_ms = settings.allowed_lead
        self._rewrite_commits = settings.state_rewrite_commits
        self._commits = 0
        self._tally = _Tally()
        # Held back until the commit: a transaction is open for milliseconds then, which is as long as
        # whoever reads or takes over must wait for a replica that dies, and as long as one can be lost.
        self._letters: list[tuple[Message, Rejection]] = []
        self._letter_bytes = 0

    @property
    def is_full(self) -> bool:
        """So much is held back that it should be committed at once."""
        return self._letter_bytes >= _MAX_LETTER_BYTES

    def lose(self, lost: Mapping[Partition, int]) -> None:
        """Take note of how many records the logs no longer keep of what was to be read first."""
        for code, partition in self._assignment.partitions.items():
            if partition in lost:
                self._pipeline.lose(code)
                self._tally.lost[partition[0]] += lost[partition]

    def process(self, messages: Sequence[Message]) -> None:
        """Decode, assign and count what a poll brought; send what is refused to the dead letters.

        Raises:
            PositionLost: A partition's log no longer keeps what is next.
            TransactionAborted, ClientLost, BrokerError: Kafka reports it; what was not committed is to
                be counted again.
            AuthorizationError: The cluster does not let us.
            StateError: A partition goes back to what has been counted already.
        """
        # Before the notices move them: the end of a partition is told behind the records before it.
        positions = np.array(list(self._assignment.positions.values()), dtype=np.int64)
        taken = read_notices(messages, self._assignment)
        if not taken:
            return
        now_ms = self._clock_ms()
        with self._telemetry.timed(Stage.DECODE):
            records = to_records(taken, self._assignment, now_ms=now_ms, lead_ms=self._lead_ms)
            decoded = self._decoder.decode(records)
        self._check_order(records, positions)
        with self._telemetry.timed(Stage.COUNT):
            rejections = list(decoded.rejections)
            for batch in decoded.batches:
                rejections += self._count(batch, now_ms)
        for rejection in rejections:
            self._tally.rejected[rejection.stream, rejection.reason] += 1
            message = taken[rejection.row]
            self._letters.append((message, rejection))
            self._letter_bytes += _FRAME_BYTES + len(message.key() or b"") + len(message.value() or b"")
        for code in np.unique(records.partition).tolist():
            self._assignment.advance(code, int(records.offset[records.partition == code].max()) + 1)

    def commit(self, consumer: Consumer, bound_s: float, *, is_current: bool) -> bool:
        """Close what is due, and commit all that happened since the last time; False if that was nothing.

        Args:
            consumer: The group's member.
            bound_s: How long the brokers may take.
            is_current: The table was up to date a moment ago; otherwise no window is closed.

        Raises:
            TransactionAborted, ClientLost, AuthorizationError: As `Transaction.commit`.
        """
        with self._telemetry.timed(Stage.CLOSE):
            now_ms = self._clock_ms()
            silent = self._ends.collect()
            partitions = self._assignment.partitions
            ends = {code: silent[at] for code, at in partitions.items() if silent and at in silent}
            rewritten = self._rewrite()
            moved = self._pipeline.advance(now_ms, self._assignment.positions, ends, close=is_current)
            if silent is not None:
                self._ends.request([partitions[code] for code in self._pipeline.ask(now_ms)])
        changes = [*rewritten, *moved.changes]
        if not changes:
            return False
        with self._telemetry.timed(Stage.COMMIT):
            for change in changes:
                self._output.keep(change)
            for result in moved.results:
                self._output.publish(result)
            for message, rejection in self._letters:
                self._output.dead_letter(message, rejection)
            # Where the state's position moves the group's offset moves as well: restarts compare them.
            # Where it does not, the offset is sent all the same: by it a stale owner is refused.
            positions = {partitions[code]: at for code, at in self._assignment.positions.items()}
            written = sorted({change.partition for change in changes})
            self._transaction.commit(
                [TopicPartition(*partition, positions[partition]) for partition in written], consumer, bound_s
            )
        self._commits += 1
        self._letters, self._letter_bytes = [], 0
        self._tally.results += moved.results
        self._report()
        return True

    def report_positions(self, consumer: Consumer) -> None:
        """Export how far each partition has been read, and how far it goes."""
        for code, (topic, index) in self._assignment.partitions.items():
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, index), cached=True)
            if end >= 0:
                self._telemetry.read_to(topic, index, position=self._assignment.positions[code], end=end)

    def _rewrite(self) -> list[Change]:
        """Begin to write the whole state anew where that is wanted and due."""
        due = self._rewrite_commits is not None and self._commits % self._rewrite_commits == 0
        return self._pipeline.rewrite() if due else []

    def _check_order(self, records: Records, positions: NDArray[np.int64]) -> None:
        back = records.offset < positions[records.partition]
        if back.any():
            code = int(records.partition[back][0])
            topic, index = self._assignment.partitions[code]
            message = (
                f"{topic}[{index}] went back from offset {positions[code]} to {records.offset[back][0]}: "
                "the topic was made anew, or lost records; delete the group and its state topics, or use "
                "another group.id"
            )
            raise StateError(message)

    def _count(self, batch: EventBatch, now_ms: int) -> list[Rejection]:
        counted = self._pipeline.count(batch, now_ms)
        self._tally.accepted[batch.stream] += int((~counted.late & ~counted.overflown).sum())
        for size_ms, late in counted.late_by_size.items():
            self._tally.late[batch.stream, size_ms] += int(late.sum())
        return [
            Rejection(row, reason, detail, batch.stream)
            for mask, reason, detail in (
                (counted.overflown, Reason.NON_FINITE, "no nearest centroid: its products overflow float32"),
                (counted.late & ~counted.overflown, Reason.LATE, "all its windows are past correction"),
            )
            for row in batch.row[mask].tolist()
        ]

    def _report(self) -> None:
        tally, self._tally = self._tally, _Tally()
        self._telemetry.committed()
        for stream, number in tally.accepted.items():
            self._telemetry.accepted(stream, number)
        for (source, reason), number in tally.rejected.items():
            self._telemetry.rejected(source, reason, number)
        for (stream, size_ms), number in tally.late.items():
            self._telemetry.late(stream, size_ms, number)
        for topic, number in tally.lost.items():
            self._telemetry.records_lost(topic, number)
        self._telemetry.closed(tally.results)
