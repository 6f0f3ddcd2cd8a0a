"""Immutable snapshots for a scrape: stream configuration, and shard state as of the last commit."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from driftgauge.config import StreamLabels
from driftgauge.core.durations import format_duration
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.admission import EntryStreams
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


StreamSnapshot: TypeAlias = tuple[StreamStatus, Mapping[int, WindowResult], Mapping[int, WindowResult]]
"""A stream's progress and totals; its newest closed window, and the newest with a conclusion, by size, ms.

Sizes without one are missing. All three are immutable, so a snapshot copies nothing.
"""


@dataclass(frozen=True, slots=True)
class StreamView:
    """Everything that a scrape exports for a stream.

    Attributes:
        watched: Its configuration.
        status, newest, conclusive: Its state, see `StreamSnapshot`.
        baseline: The baseline in force now.
    """

    watched: WatchedStream
    status: StreamStatus
    newest: Mapping[int, WindowResult]
    conclusive: Mapping[int, WindowResult]
    baseline: Reference

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Yield each window size as text and in ms."""
        return ((format_duration(size_ms), size_ms) for size_ms in self.watched.spec.sizes_ms)

    def has_alarm(self, size_ms: int) -> bool:
        """Return whether the newest window of a size with a conclusion says drift."""
        result = self.conclusive.get(size_ms)
        return result is not None and result.verdict is Verdict.DRIFT

    def windows(self) -> Iterator[tuple[str, WindowResult]]:
        """Yield the newest closed window of each size that has one, with the size as text."""
        return ((window, self.newest[size_ms]) for window, size_ms in self.sizes() if size_ms in self.newest)


@dataclass(frozen=True, slots=True)
class ShardSnapshot:
    """The state of one shard.

    Attributes:
        streams: Its configured streams.
        position: Its position, with the counts of broken chains.
        entries: The streams of each entry that streams share, by its pattern.
        panes: The number of panes that it keeps.
    """

    streams: Mapping[str, StreamSnapshot]
    position: ShardPosition
    entries: Mapping[str, EntryStreams]
    panes: int


_EMPTY: StreamSnapshot = (StreamStatus(), {}, {})


def take_snapshot(state: ShardState, streams: Collection[str]) -> ShardSnapshot:
    """Return a snapshot of a shard and its streams, including streams without events."""
    held = {stream: (found.status, found.newest, found.conclusive) for stream, found in state.streams.items()}
    shown = {stream: held.get(stream, _EMPTY) for stream in streams}
    panes = sum(len(found.panes) for found in state.streams.values())
    return ShardSnapshot(shown, state.position, state.entries, panes)
