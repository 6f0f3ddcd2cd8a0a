"""What is held from an assignment to its loss: the counts, and how far they have been committed."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

from driftgauge.core.batch import EventBatch
from driftgauge.core.pipeline import Pipeline
from driftgauge.core.result import WindowResult
from driftgauge.events.decoder import Decoder
from driftgauge.events.records import Records
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.kafka.assignment import Assignment
from driftgauge.kafka.ends import EndOffsets
from driftgauge.kafka.intake import read_notices, to_records
from driftgauge.kafka.output import Output
from driftgauge.kafka.state import Progress, StateStore, other_log
from driftgauge.telemetry.metrics import Stage, Telemetry

__all__ = ["Ownership"]


@dataclass(slots=True)
class _Tally:
    """What happened since the last commit; the metrics move after the commit, not before."""

    accepted: Counter[str] = field(default_factory=Counter)
    replayed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[str | None, Reason]] = field(default_factory=Counter)
    late: Counter[tuple[str, int]] = field(default_factory=Counter)  # (stream, window size in ms)
    results: list[WindowResult] = field(default_factory=list)


class Ownership:
    """Counts what the held partitions bring, closes windows, publishes, commits.

    A commit follows the delivery of everything it stands for, so a crash repeats results and dead
    letters rather than losing them; a repeated result bears the same key and revision.
    """

    def __init__(
        self,
        *,
        assignment: Assignment,
        pipeline: Pipeline,
        decoder: Decoder,
        ends: EndOffsets,
        output: Output,
        state: StateStore,
        telemetry: Telemetry,
        clock_ms: Callable[[], int],
        lead_ms: int,
    ) -> None:
        self._assignment = assignment
        self._pipeline = pipeline
        self._decoder = decoder
        self._ends = ends
        self._output = output
        self._state = state
        self._telemetry = telemetry
        self._clock_ms = clock_ms
        self._lead_ms = lead_ms
        # (codes,) int64: up to where an earlier run had processed each partition.
        self._before = np.array(
            [assignment.processed_before(code) for code in assignment.partitions], dtype=np.int64
        )
        self._tally = _Tally()
        self._committed: list[Progress] = []

    @property
    def caught_up(self) -> bool:
        """Everything that an earlier run had processed has been counted again."""
        return self._assignment.caught_up

    def process(self, messages: Sequence[Message]) -> None:
        """Decode, assign and count what a poll brought; send what is refused to the dead letters.

        Raises:
            BrokerError: Kafka reports what waiting will not mend, or takes no dead letters.
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
        # What an earlier run had processed is only counted again, to rebuild the open windows: it
        # was reported then, and refused events were sent on then.
        again = records.offset < self._before[records.partition]
        with self._telemetry.timed(Stage.COUNT):
            rejections = list(decoded.rejections)
            for batch in decoded.batches:
                rejections += self._count(batch, again[batch.row], now_ms)
        for rejection in rejections:
            if not again[rejection.row]:
                self._tally.rejected[rejection.stream, rejection.reason] += 1
                self._output.dead_letter(taken[rejection.row], rejection)
        for code in np.unique(records.partition).tolist():
            self._assignment.advance(code, int(records.offset[records.partition == code].max()) + 1)

    def commit(self, *, flush_s: float) -> None:
        """Close what is due, publish it, wait until it is kept, then commit the progress.

        While an earlier run's work is being counted again nothing is closed or committed, for the
        windows are not yet whole. A commit that fails is tried again at the next turn.

        Raises:
            BrokerError: The broker refused a result or a dead letter for good.
            StateError: The state does not fit where it is kept.
        """
        if not self.caught_up:
            return
        with self._telemetry.timed(Stage.CLOSE):
            self._close()
        with self._telemetry.timed(Stage.COMMIT):
            if not self._output.flush(flush_s):
                self._telemetry.commit_failed("the broker has not yet kept all results and dead letters")
            elif self._save():
                self._report()

    def report_positions(self, consumer: Consumer) -> None:
        """Export how far each partition has been read, and how far it goes."""
        for code, (topic, index) in self._assignment.partitions.items():
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, index), cached=True)
            position = self._assignment.positions[code]
            if position >= 0 and end >= 0:
                self._telemetry.read_to(topic, index, position=position, end=end)

    def _check_order(self, records: Records, positions: NDArray[np.int64]) -> None:
        back = records.offset < positions[records.partition]
        if back.any():
            code = int(records.partition[back][0])
            topic, index = self._assignment.partitions[code]
            where = f"{topic}[{index}]"
            finding = f"went back from offset {positions[code]} to {records.offset[back][0]}"
            raise other_log(where, finding)

    def _count(self, batch: EventBatch, again: NDArray[np.bool_], now_ms: int) -> list[Rejection]:
        counted = self._pipeline.count(batch, now_ms)
        fresh = ~again
        self._tally.replayed[batch.stream] += int(again.sum())
        self._tally.accepted[batch.stream] += int((fresh & ~counted.late & ~counted.overflown).sum())
        for size_ms, late in counted.late_by_size.items():
            self._tally.late[batch.stream, size_ms] += int((fresh & late).sum())
        return [
            Rejection(row, reason, detail, batch.stream)
            for mask, reason, detail in (
                (counted.overflown, Reason.NON_FINITE, "no nearest centroid: its products overflow float32"),
                (counted.late & ~counted.overflown, Reason.LATE, "all its windows are past correction"),
            )
            for row in batch.row[mask].tolist()
        ]

    def _close(self) -> None:
        now_ms = self._clock_ms()
        ends = self._ends.collect()
        results = self._pipeline.close(now_ms, self._assignment.positions, ends or {})
        if ends is not None:
            silent = self._pipeline.ask(now_ms)
            self._ends.request({code: self._assignment.partitions[code] for code in silent})
        for result in results:
            self._output.publish(result)
        self._tally.results += results

    def _save(self) -> bool:
        first_open = self._pipeline.first_open_offsets()
        progress = []
        for code, (topic, index) in self._assignment.partitions.items():
            position = self._assignment.positions[code]
            if position >= 0:
                progress.append(Progress(topic, index, position, first_open.get(code, position)))
        if progress == self._committed and not self._tally.results:
            return True
        try:
            self._state.commit(progress, self._pipeline.snapshots())
        except KafkaException as error:
            self._telemetry.commit_failed(error.args[0].str())
            return False
        self._telemetry.committed()
        self._committed = progress
        return True

    def _report(self) -> None:
        tally, self._tally = self._tally, _Tally()
        for stream, number in tally.accepted.items():
            self._telemetry.accepted(stream, number)
        for stream, number in tally.replayed.items():
            self._telemetry.replayed(stream, number)
        for (source, reason), number in tally.rejected.items():
            self._telemetry.rejected(source, reason, number)
        for (stream, size_ms), number in tally.late.items():
            self._telemetry.late(stream, size_ms, number)
        self._telemetry.closed(tally.results, self._clock_ms())
        self._telemetry.advanced(self._pipeline.watermarks_ms(), self._pipeline.open_windows())
