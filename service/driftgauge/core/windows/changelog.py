"""The changelog of a shard: keyed values, of which the last one stands; the shard's state is their union."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import Example
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Segment
from driftgauge.core.windows.result import Verdict, WindowResult
from driftgauge.core.windows.verdict import VerdictHistory
from driftgauge.core.windows.window import Window

__all__ = [
    "BLOCK",
    "DataLoss",
    "EventTimeKey",
    "ExamplesKey",
    "HistoryKey",
    "Key",
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

BLOCK = 64
"""So many source partitions of a topic share one record, so that what has not changed is not written."""


@dataclass(frozen=True, slots=True)
class PositionKey:
    """The shard's `ShardPosition`; written last in every transaction."""


@dataclass(frozen=True, slots=True)
class ShardPosition:
    """How far a shard has applied the partials.

    Attributes:
        shards: How many shards there are.
        offset: The next offset of the partials to read. Commits that have parts from it on and were applied
            nevertheless, for another producer's parts lay between, are known by `producers`.
        log_ms: The shard's log time: the append time of the newest record applied.
        writer: The transactional id that wrote this.
        producers: Of each producer and epoch, the number of the last commit applied and the log time of that.
            An epoch of another producer of the same name may be lower: its clock may be behind.
        gaps, overlaps, orphans: How often the chain was found broken since the shard began.
    """

    shards: int
    offset: int
    log_ms: int
    writer: str
    producers: Mapping[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    gaps: int = 0
    overlaps: int = 0
    orphans: int = 0


@dataclass(frozen=True, slots=True)
class SourcesKey:
    """The `SourceBlock` of the partitions BLOCK * block and following of an events topic."""

    topic: str
    block: int


@dataclass(frozen=True, slots=True, eq=False)
class SourceBlock:
    """How far some partitions of an events topic have been read.

    Attributes:
        topic_id: As in `PartitionProgress`.
        partitions: How many partitions the topic has.
        values: (n, 4) int64, a row a partition: `end`, `since_ms`, `caught_up_ms` (as in
            `PartitionProgress`) and the log time when any of them last moved; NULL where unknown.
    """

    topic_id: str
    partitions: int
    values: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EventTimeKey:
    """(n, 2) int64 for the same partitions as in `SourcesKey`: a stream's `newest_ms` and `read_ms` there."""

    stream: str
    topic: str
    block: int


@dataclass(frozen=True, slots=True)
class DataLoss:
    """Event time of which events of a source partition may be missing from the counts.

    Attributes:
        partition: The source partition.
        from_ms: The earliest event time that may be concerned; None where nothing is known.
        to_ms: The latest, inclusive; None until the partition has been read on, or is idle.
    """

    partition: Partition
    from_ms: int | None
    to_ms: int | None = None

    def touches(self, window: Window) -> bool:
        """Tell whether events of the window may be among the lost ones."""
        before = self.from_ms is not None and window.end_ms <= self.from_ms
        after = self.to_ms is not None and window.start_ms > self.to_ms
        return not (before or after)


@dataclass(frozen=True, slots=True)
class StreamKey:
    """A stream's `StreamStatus`."""

    stream: str


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """What is kept of a stream besides panes and windows; event times in ms, unless named log times.

    Attributes:
        watermark_ms: The watermark; None before there is one.
        final_ms: The purge horizon: windows that end at or before it are final.
        frontier: A watermark that waits for the idle partitions, and the log time at which the others
            reached it.
        foremost: What the foremost partition had reached, and the log time when it had; oldest first.
        given_up: The partitions that hold nothing up until they are level with the stream again.
        losses: Event time of which events may be missing.
        counted_twice: The start and the end of event time, from which windows may hold events twice.
        late: The events that came too late, by window size in ms.
        closed: The windows closed, by window size in ms and verdict.
        revised: The revisions, by window size in ms.
        alarms: The window sizes, ms, whose last window that says anything says drift.
    """

    watermark_ms: int | None = None
    final_ms: int | None = None
    frontier: tuple[int, int] | None = None
    foremost: tuple[tuple[int, int], ...] = ()
    given_up: frozenset[Partition] = frozenset()
    losses: tuple[DataLoss, ...] = ()
    counted_twice: tuple[tuple[int, int], ...] = ()
    late: Mapping[int, int] = field(default_factory=dict)
    closed: Mapping[tuple[int, Verdict], int] = field(default_factory=dict)
    revised: Mapping[int, int] = field(default_factory=dict)
    alarms: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class PaneKey:
    """A tally of one pane, (scheme.length,) int64.

    Attributes:
        stream: The stream's name.
        scheme: The key of the scheme that it was counted under.
        pane: The pane.
        segment: The segment of the events; None for all of them.
    """

    stream: str
    scheme: str
    pane: Window
    segment: Segment | None = None


@dataclass(frozen=True, slots=True)
class ExamplesKey:
    """The examples of one pane."""

    stream: str
    scheme: str
    pane: Window


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A window's result as it was last published."""

    stream: str
    window: Window


@dataclass(frozen=True, slots=True)
class HistoryKey:
    """What a stream's windows of one size, ms, leave behind."""

    stream: str
    size_ms: int


Key = PositionKey | SourcesKey | StreamKey | EventTimeKey | PaneKey | ExamplesKey | PublishedKey | HistoryKey
Value = (
    ShardPosition
    | SourceBlock
    | StreamStatus
    | NDArray[np.int64]
    | tuple[Example, ...]
    | WindowResult
    | VerdictHistory
)
