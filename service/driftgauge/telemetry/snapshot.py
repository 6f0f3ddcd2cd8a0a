"""What a scrape shows of the shards that are held, as it was at their last commits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from driftgauge.core.result import WindowResult
from driftgauge.core.windows.changelog import StreamStatus
from driftgauge.core.windows.shard import ShardState

__all__ = ["ShardSnapshot", "StreamSnapshot", "take_snapshot"]


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
class ShardSnapshot:
    """One shard.

    Attributes:
        streams: Its configured streams.
        gaps, overlaps, orphans: How often the chain of progress was found broken.
    """

    streams: Mapping[str, StreamSnapshot] = field(default_factory=dict)
    gaps: int = 0
    overlaps: int = 0
    orphans: int = 0


_NOTHING = StreamSnapshot(StreamStatus(), {}, {})


def take_snapshot(state: ShardState, streams: Collection[str]) -> ShardSnapshot:
    """Return what a scrape shows of a shard and its streams, those without events among them.

    Taken at every commit, so that it must cost little for each stream, however many windows are open.
    """
    return ShardSnapshot(
        streams={stream: _take_stream(state, stream) for stream in streams},
        gaps=state.position.gaps,
        overlaps=state.position.overlaps,
        orphans=state.position.orphans,
    )


def _take_stream(state: ShardState, stream: str) -> StreamSnapshot:
    known = state.streams.get(stream)
    if known is None:
        return _NOTHING
    return StreamSnapshot(known.status, known.newest, state.open_windows(stream))
