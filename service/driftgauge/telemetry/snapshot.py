"""Immutable snapshots for a scrape: stream configuration, and shard state as of the last commit."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from driftgauge.config import StreamLabels
from driftgauge.core.durations import format_duration
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.changelog import ShardPosition, StreamStatus
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.shard import ShardState
from driftgauge.records.descriptions import BaselineDescription

__all__ = [
    "ShardSnapshot",
    "StreamView",
    "WatchedStream",
    "take_snapshot",
]


@dataclass(frozen=True, slots=True)
class WatchedStream:
    """The exported configuration of a stream.

    Attributes:
        spec: The stream's specification.
        descriptions: What its baselines say besides their numbers, by identity.
        labels: The labels of the stream's alerts.
        overdue_ms: Returns how long after the closing of a window of a size, ms, the next one is overdue, ms.
    """

    spec: StreamSpec
    descriptions: Mapping[str, BaselineDescription]
    labels: StreamLabels
    overdue_ms: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """The state of one stream; all parts are immutable, so a snapshot copies nothing.

    Attributes:
        status: The stream's progress and totals.
        newest: The newest closed window by size, ms; sizes without one are missing.
    """

    status: StreamStatus
    newest: Mapping[int, WindowResult]


@dataclass(frozen=True, slots=True)
class StreamView:
    """Everything that a scrape exports for a stream; `baseline` is the one in force now."""

    watched: WatchedStream
    snapshot: StreamSnapshot
    baseline: Reference

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Yield each window size as text and in ms."""
        return ((format_duration(size_ms), size_ms) for size_ms in self.watched.spec.sizes_ms)

    def newest(self) -> Iterator[tuple[str, WindowResult]]:
        """Yield the newest closed window of each size that has one, with the size as text."""
        newest = self.snapshot.newest
        return ((window, newest[size_ms]) for window, size_ms in self.sizes() if size_ms in newest)


@dataclass(frozen=True, slots=True)
class ShardSnapshot:
    """The state of one shard: its configured streams, and its position with the counts of broken chains."""

    streams: Mapping[str, StreamSnapshot]
    position: ShardPosition


_EMPTY = StreamSnapshot(StreamStatus(), {})


def take_snapshot(state: ShardState, streams: Collection[str]) -> ShardSnapshot:
    """Return a snapshot of a shard and its streams, including streams without events."""
    return ShardSnapshot({stream: _snapshot_stream(state, stream) for stream in streams}, state.position)


def _snapshot_stream(state: ShardState, stream: str) -> StreamSnapshot:
    found = state.streams.get(stream)
    if found is None:
        return _EMPTY
    return StreamSnapshot(found.status, found.newest)
