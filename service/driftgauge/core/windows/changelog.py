"""The changelog entries of a shard: the last value of each key, together the shard's state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import Examples
from driftgauge.core.judging.calibration import Calibration
from driftgauge.core.judging.measuring import Measurement
from driftgauge.core.judging.verdict import Verdict, VerdictHistory
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Segment
from driftgauge.core.window import Window
from driftgauge.core.windows.result import WindowResult

__all__ = [
    "BLOCK_PARTITIONS",
    "AcceptedLoss",
    "AcceptedLossKey",
    "CalibrationKey",
    "DataLoss",
    "EventTimeKey",
    "EventTimes",
    "ExamplesKey",
    "HistoryKey",
    "Key",
    "MeasurementKey",
    "PaneCounts",
    "PaneKey",
    "PositionKey",
    "PublishedKey",
    "ShardPosition",
    "SourceBlock",
    "SourcesKey",
    "StreamKey",
    "StreamStatus",
    "Value",
]

BLOCK_PARTITIONS = 64
"""The number of source partitions of a topic in one block; blocks without changes are not written."""


@dataclass(frozen=True, slots=True)
class PositionKey:
    """The shard's `ShardPosition`; written last in every transaction."""


@dataclass(frozen=True, slots=True)
class ShardPosition:
    """The position up to which a shard has applied the partials.

    Attributes:
        shards: The number of shards.
        offset: The next offset of the partials to read. Interleaved commits with parts from this offset on
            may be applied already; `producers` identifies them.
        log_ms: The shard's log time: the append time of the newest commit applied, as far as the clock of
            that commit's reader bears it out.
        producers: By producer and epoch, the number of the last commit applied, the offset of its last part,
            and its log time: of all whose last part is at `offset` or later, and of each producer's newest. A
            later producer of the same name may have a lower epoch: its clock may be behind.
        gaps, overlaps, orphans: The gaps and overlaps of the chain and the dropped parts since the shard
            began.
        keys: The number of keys of the shard's changelog, this one among them; None: unknown.
        lost_to_ms: The event time up to which windows may have begun when an operator last accepted that
            records of the changelog are lost; None: unknown.
        surplus: The events counted as surplus since the shard began, see `Admission`: their number, and the
            end of the last pane that they belong to, event time in ms; by the pattern of their entry.
    """

    shards: int
    offset: int
    log_ms: int
    producers: Mapping[tuple[str, int], tuple[int, int, int]] = field(default_factory=dict)
    gaps: int = 0
    overlaps: int = 0
    orphans: int = 0
    keys: int | None = None
    lost_to_ms: int | None = None
    surplus: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AcceptedLossKey:
    """The `AcceptedLoss` of the shard, which an operator writes and the next restore deletes."""


@dataclass(frozen=True, slots=True)
class AcceptedLoss:
    """An operator's word that the shard goes on without the records that its changelog lacks.

    It holds for a shard that has stopped. One that went on has committed since, and its log time is later.

    Attributes:
        accepted_ms: When it was given, wall time.
    """

    accepted_ms: int


@dataclass(frozen=True, slots=True)
class SourcesKey:
    """The `SourceBlock` of the partitions of an events topic from BLOCK_PARTITIONS * block on."""

    topic: str
    block: int


@dataclass(frozen=True, slots=True, eq=False)
class SourceBlock:
    """The progress of one block of partitions of an events topic.

    Attributes:
        topic_id: As in `PartitionProgress`.
        former_ids: The ids of deleted topics of the same name, the latest last.
        partitions: The number of partitions of the topic.
        values: (n, 4) int64, one row for each partition: `end`, `since_ms`, `caught_up_ms` (as in
            `PartitionProgress`) and the log time at which one of them last advanced; NULL if unknown.
        shortened: The rows of partitions whose first records had been deleted before any was read, until the
            partition is read to its end.
    """

    topic_id: str
    former_ids: tuple[str, ...]
    partitions: int
    values: NDArray[np.int64]
    shortened: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EventTimeKey:
    """The `EventTimes` of a stream on the partitions of the `SourcesKey` block."""

    stream: str
    topic: str
    block: int


@dataclass(frozen=True, slots=True, eq=False)
class EventTimes:
    """The event times of a stream on some partitions.

    Attributes:
        values: (n, 2) int64, one row for each partition: `newest_ms` and `read_ms`, as in `StreamTime`.
    """

    values: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DataLoss:
    """An interval of event time in which events of a source partition may be missing from the counts.

    Attributes:
        partition: The source partition; None: any.
        from_ms: The earliest event time that may be affected; None if it is unknown.
        to_ms: The latest, inclusive; None until later events of the partition are read, or it is idle.
    """

    partition: Partition | None
    from_ms: int | None
    to_ms: int | None = None

    def affects(self, window: Window) -> bool:
        """Return whether lost events may belong to the window."""
        before = self.from_ms is not None and window.end_ms <= self.from_ms
        after = self.to_ms is not None and window.start_ms > self.to_ms
        return not (before or after)


@dataclass(frozen=True, slots=True)
class StreamKey:
    """A stream's `StreamStatus`."""

    stream: str


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """The status of a stream besides panes and windows; times in ms, event times unless called log times.

    Attributes:
        watermark_ms: The watermark; None before there is one.
        final_ms: The horizon: windows that end at or before it are final.
        pending_watermark: A watermark that waits for the idle partitions, and the log time at which the other
            partitions reached it.
        foremost: The event time that the foremost partition had reached, and the log time at which it had;
            oldest first.
        given_up: The partitions that the watermark does not wait for until they reach it again.
        losses: The data losses.
        counted_twice: The intervals (start, end) of event time in which events may be counted twice.
        late: The number of late events, by window size in ms.
        closed: The number of windows closed, by window size in ms and verdict.
        purged_ms: The event time before which panes may be missing: deleted, or not counted before the stream
            was admitted; None: before any is.
        applied: The number of all events that the shard has applied, late ones among them.
        drifts_passed: The number of drifts that have passed, by window size in ms: alarms that ended, and
            windows that came to say drift when a later window said otherwise.
        retired_ms: The log time at which the stream retired; None while it is admitted.
    """

    watermark_ms: int | None = None
    final_ms: int | None = None
    pending_watermark: tuple[int, int] | None = None
    foremost: tuple[tuple[int, int], ...] = ()
    given_up: frozenset[Partition] = frozenset()
    losses: tuple[DataLoss, ...] = ()
    counted_twice: tuple[tuple[int, int], ...] = ()
    late: Mapping[int, int] = field(default_factory=dict)
    closed: Mapping[tuple[int, Verdict], int] = field(default_factory=dict)
    purged_ms: int | None = None
    applied: int = 0
    drifts_passed: Mapping[int, int] = field(default_factory=dict)
    retired_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PaneKey:
    """The `PaneCounts` of one pane.

    Attributes:
        stream: The stream's name.
        scheme: The key of the scheme under which the events were counted.
        pane: The pane.
        segment: The segment of the events; None for all events.
    """

    stream: str
    scheme: str
    pane: Window
    segment: Segment | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PaneCounts:
    """What one pane has counted.

    Attributes:
        values: (scheme.length,) int64, the tally.
        numbers: The tallies of the numbers beside the vectors, by their keys; none of a segment. A version
            that does not know them writes the pane without them: then they count fewer events than the tally.
    """

    values: NDArray[np.int64]
    numbers: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def sum(cls, counts: Sequence["PaneCounts"]) -> "PaneCounts":
        """Return the sum of the counts of one scheme; there is one at least."""
        keys = dict.fromkeys(key for each in counts for key in each.numbers)
        return cls(
            np.sum([each.values for each in counts], axis=0, dtype=np.int64),
            {
                key: np.sum([each.numbers[key] for each in counts if key in each.numbers], axis=0)
                for key in keys
            },
        )


@dataclass(frozen=True, slots=True)
class ExamplesKey:
    """The examples of one pane."""

    stream: str
    scheme: str
    pane: Window


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """The last published result of a window."""

    stream: str
    window: Window


@dataclass(frozen=True, slots=True)
class HistoryKey:
    """The `VerdictHistory` of a stream's windows of one size, ms, against the baseline with a key."""

    stream: str
    size_ms: int
    baseline: str


@dataclass(frozen=True, slots=True)
class MeasurementKey:
    """The `Measurement` of the same windows, until it ends with a calibration."""

    stream: str
    size_ms: int
    baseline: str


@dataclass(frozen=True, slots=True)
class CalibrationKey:
    """The `Calibration` of the same windows."""

    stream: str
    size_ms: int
    baseline: str


Key = (
    PositionKey
    | AcceptedLossKey
    | SourcesKey
    | StreamKey
    | EventTimeKey
    | PaneKey
    | ExamplesKey
    | PublishedKey
    | HistoryKey
    | MeasurementKey
    | CalibrationKey
)
Value = (
    ShardPosition
    | AcceptedLoss
    | SourceBlock
    | StreamStatus
    | EventTimes
    | PaneCounts
    | Examples
    | WindowResult
    | VerdictHistory
    | Measurement
    | Calibration
)
