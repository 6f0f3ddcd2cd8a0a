"""What became of the records and offsets of a commit interval, as the metrics report it after the commit."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from driftgauge.core.partition import Partition
from driftgauge.events.clock_gaps import count_gaps
from driftgauge.events.rejection import Reason, Rejection

if TYPE_CHECKING:
    # Telemetry needs no decoder.
    from driftgauge.events.decoder import Decoded
    from driftgauge.events.records import Records

__all__ = ["CommitOutcomes", "RecordLoss", "RecordOutcome", "SkipPlace"]


class RecordOutcome(StrEnum):
    """What became of a record that was read."""

    ACCEPTED = "accepted"
    FILTERED = "filtered"
    REJECTED = "rejected"


class SkipPlace(StrEnum):
    """Where offsets without a record were passed.

    DELETED: Where Kafka deleted the records before they were read, or a truncated log lost them.
    START: Before the first record after the client was given a position. In a topic that has offsets without
        a record only there, the service itself may have passed over records.
    BETWEEN: Before any later record, while the client read without a break.
    """

    DELETED = "deleted"
    START = "start"
    BETWEEN = "between"


@dataclass(frozen=True, slots=True)
class RecordLoss:
    """A loss of records in one partition.

    Attributes:
        records: The number of offsets lost; at least one if the log was truncated.
        start: The offset of the first lost record; if the log was truncated, the committed offset.
        is_truncated: The log was truncated, so the offsets of the lost records are unknown.
    """

    records: int
    start: int
    is_truncated: bool = False

    @property
    def last(self) -> int:
        """The offset of the last lost record; only for a log that was not truncated."""
        return self.start + self.records - 1


@dataclass(slots=True)
class CommitOutcomes:
    """What became of records and offsets since the last commit.

    Attributes:
        events: Accepted events by stream.
        accepted: Records with accepted events by stream.
        rejected: Records by topic, configured stream (None if that is not known) and reason.
        records: Records by topic and outcome.
        gaps: Records by stream and by how many half hours they are after their events, those refused for
            their time among them; see `count_gaps`.
        losses: Losses of records before they were read, by partition.
        skipped: Offsets passed without a record, by topic and place.
    """

    events: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str | None, Reason]] = field(default_factory=Counter)
    records: Counter[tuple[str, RecordOutcome]] = field(default_factory=Counter)
    gaps: Counter[tuple[str, int]] = field(default_factory=Counter)
    losses: dict[Partition, RecordLoss] = field(default_factory=dict)
    skipped: Counter[tuple[str, SkipPlace]] = field(default_factory=Counter)

    def add_loss(self, partition: Partition, loss: RecordLoss | None) -> None:
        """Note a partition's loss since its last commit, if there is one."""
        if loss is not None:
            self.losses[partition] = loss

    def add_skipped(self, topic: str, skipped: int, at_start: int) -> None:
        """Count the offsets that a partition's commit covers without a record, `at_start` of them there."""
        self.skipped[topic, SkipPlace.START] += at_start
        self.skipped[topic, SkipPlace.BETWEEN] += max(skipped - at_start, 0)

    def add(
        self,
        records: "Records",
        decoded: "Decoded",
        rejections: Sequence[Rejection],
        partitions: Mapping[int, Partition],
    ) -> None:
        """Count a batch of records.

        Args:
            records: The records.
            decoded: What they were decoded to.
            rejections: The refused records, those among them that no cluster could be found for.
            partitions: The partitions by code.
        """
        refused_ms: defaultdict[str, list[int]] = defaultdict(list)
        for rejection in rejections:
            topic, _ = partitions[int(records.partition[rejection.row])]
            self.rejected[topic, rejection.stream, rejection.reason] += 1
            if rejection.stream is not None and rejection.gap_ms is not None:
                refused_ms[rejection.stream].append(rejection.gap_ms)
        gaps = [(stream, np.array(gaps_ms, np.int64)) for stream, gaps_ms in refused_ms.items()]
        refused = np.array([rejection.row for rejection in rejections], dtype=np.intp)
        filtered = np.array(decoded.filtered, dtype=np.intp)
        is_accepted = np.ones(len(records.raw), dtype=np.bool_)
        is_accepted[[*decoded.pending, *decoded.filtered, *refused.tolist()]] = False
        for batch in decoded.batches:
            is_own = is_accepted[batch.row]
            rows = batch.row[is_own]
            self.events[batch.stream] += len(rows)
            # The events of a record follow each other, and have its time.
            is_first = np.diff(rows, prepend=-1) != 0
            self.accepted[batch.stream] += int(np.count_nonzero(is_first))
            gaps.append((batch.stream, records.credible_ms[rows[is_first]] - batch.time_ms[is_own][is_first]))
        for stream, gaps_ms in gaps:
            for half_hours, number in count_gaps(gaps_ms).items():
                self.gaps[stream, half_hours] += number
        for outcome, codes in (
            (RecordOutcome.ACCEPTED, records.partition[is_accepted]),
            (RecordOutcome.FILTERED, records.partition[filtered]),
            (RecordOutcome.REJECTED, records.partition[refused]),
        ):
            for code, number in enumerate(np.bincount(codes).tolist()):
                if number:
                    self.records[partitions[code][0], outcome] += number
