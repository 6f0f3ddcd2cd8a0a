"""What a scrape shows of the shards that are held, as it was at their last commits."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from driftgauge.core.counting.partial import shard_of
from driftgauge.core.result import Verdict, WindowResult
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.shard import ShardState

__all__ = ["ShardSnapshot", "StreamSnapshot", "take_snapshot"]


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """One stream; every mapping by window size in ms holds all configured sizes, but for `newest`.

    Attributes:
        newest: The newest closed window of each size that has one.
        watermark_ms: The watermark; None while it is unknown.
        open_windows: How many windows hold events and are not final.
        late: How many events came too late.
        closed: How many windows were closed, by size and verdict.
        revised: How many revisions there were.
        alarms: Whether the last window that says anything says drift.
    """

    newest: Mapping[int, WindowResult]
    watermark_ms: int | None
    open_windows: Mapping[int, int]
    late: Mapping[int, int]
    closed: Mapping[tuple[int, Verdict], int]
    revised: Mapping[int, int]
    alarms: Mapping[int, bool]


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


def take_snapshot(shard: int, shards: int, state: ShardState, specs: Iterable[StreamSpec]) -> ShardSnapshot:
    """Return what a scrape shows of a shard, streams without events among them."""
    own = [spec for spec in specs if shard_of(spec.name, shards) == shard]
    return ShardSnapshot(
        streams={spec.name: _stream(spec, state) for spec in own},
        gaps=state.position.gaps,
        overlaps=state.position.overlaps,
        orphans=state.position.orphans,
    )


def _stream(spec: StreamSpec, state: ShardState) -> StreamSnapshot:
    known = state.streams.get(spec.name)
    sizes = spec.sizes_ms
    if known is None:
        none = dict.fromkeys(sizes, 0)
        closed = {(size_ms, verdict): 0 for size_ms in sizes for verdict in Verdict}
        return StreamSnapshot({}, None, none, none, closed, none, dict.fromkeys(sizes, False))
    status = known.status
    return StreamSnapshot(
        newest=_newest(known.published.values(), sizes),
        watermark_ms=status.watermark_ms,
        open_windows=state.open_windows(spec.name),
        late={size_ms: status.late.get(size_ms, 0) for size_ms in sizes},
        closed={
            (size_ms, verdict): status.closed.get((size_ms, verdict), 0)
            for size_ms in sizes
            for verdict in Verdict
        },
        revised={size_ms: status.revised.get(size_ms, 0) for size_ms in sizes},
        alarms={size_ms: size_ms in status.alarms for size_ms in sizes},
    )


def _newest(published: Iterable[WindowResult], sizes_ms: Collection[int]) -> dict[int, WindowResult]:
    newest: dict[int, WindowResult] = {}
    for result in published:
        size_ms = result.window.size_ms
        known = newest.get(size_ms)
        if size_ms in sizes_ms and (known is None or result.window > known.window):
            newest[size_ms] = result
    return newest
