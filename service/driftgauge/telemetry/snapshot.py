"""What a scrape shows of streams: their configuration, and what the shards knew at their last commits."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from driftgauge.core.durations import format_duration
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.changelog import ShardPosition, StreamStatus
from driftgauge.core.windows.result import SegmentResult, WindowResult
from driftgauge.core.windows.shard import ShardState

__all__ = [
    "ShardSnapshot",
    "ShownStream",
    "WatchedBaseline",
    "WatchedStream",
    "take_snapshot",
]


@dataclass(frozen=True, slots=True)
class WatchedBaseline:
    """What is exported of a baseline while it is in force.

    Attributes:
        reference: What the stream is compared with.
        model_version: The model version it was fitted on; None where it names none.
        created_ms: When it was fitted, wall time.
    """

    reference: Reference
    model_version: str | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class WatchedStream:
    """What is exported of a stream before its first event.

    Attributes:
        spec: How it is watched.
        baselines: Its baselines.
        drift_severity: How urgent drift is: critical, warning or info.
        overdue_ms: How long after a window was closed the next one is overdue; None: as `StreamSpec` has it.
    """

    spec: StreamSpec
    baselines: tuple[WatchedBaseline, ...]
    drift_severity: str
    overdue_ms: int | None = None

    def in_force(self, time_ms: int) -> WatchedBaseline:
        """Return the baseline that is in force at an event time."""
        reference = self.spec.baseline_at(time_ms)
        return next(baseline for baseline in self.baselines if baseline.reference is reference)

    def overdue_after(self, size_ms: int) -> int:
        """Return how long after a window of a size was closed the next one is overdue, ms."""
        return self.overdue_ms or self.spec.overdue_ms(size_ms)


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """One stream; nothing in it changes any more, so that taking it copies nothing.

    Attributes:
        status: Its progress and totals.
        newest: The newest closed window of each size, ms, that has one.
        open_windows: How many windows of each size, ms, hold events and are not final.
    """

    status: StreamStatus
    newest: Mapping[int, WindowResult]
    open_windows: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class ShownStream:
    """All that a scrape shows of a stream; `baseline` is the one in force now."""

    watched: WatchedStream
    known: StreamSnapshot
    baseline: WatchedBaseline

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Yield each window size, by name and in ms."""
        return ((format_duration(size_ms), size_ms) for size_ms in self.watched.spec.sizes_ms)

    def newest(self) -> Iterator[tuple[str, WindowResult]]:
        """Yield the newest closed window of each size that has one."""
        newest = self.known.newest
        return ((window, newest[size_ms]) for window, size_ms in self.sizes() if size_ms in newest)

    def segments(self) -> Iterator[tuple[tuple[str, ...], SegmentResult]]:
        """Yield the segments of these windows, each with its labels."""
        for window, result in self.newest():
            for segment in result.segments:
                yield (window, *segment.segment), segment


@dataclass(frozen=True, slots=True)
class ShardSnapshot:
    """One shard: its configured streams, and its position, which counts how often its chain was broken."""

    streams: Mapping[str, StreamSnapshot]
    position: ShardPosition


_NOTHING = StreamSnapshot(StreamStatus(), {}, {})


def take_snapshot(state: ShardState, streams: Collection[str]) -> ShardSnapshot:
    """Return what a scrape shows of a shard and its streams, those without events among them.

    Taken at every commit, so that it must cost little for each stream, however many windows are open.
    """
    return ShardSnapshot({stream: _take_stream(state, stream) for stream in streams}, state.position)


def _take_stream(state: ShardState, stream: str) -> StreamSnapshot:
    known = state.streams.get(stream)
    if known is None:
        return _NOTHING
    return StreamSnapshot(known.status, known.newest, state.open_windows(stream))
