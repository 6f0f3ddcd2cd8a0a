"""A batch's road through the core: assign -> panes -> watermark -> windows -> score."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.assignment import Centroids
from driftgauge.core.batch import EventBatch
from driftgauge.core.result import Window, WindowResult, score
from driftgauge.core.watermark import Watermarks
from driftgauge.core.windows import ClosedWindow, Windows, WindowsSnapshot

__all__ = ["Counted", "Pipeline", "StreamSpec"]

_ID_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How one stream is watched.

    Attributes:
        name: The stream's name.
        baseline_id: The identity of its baseline.
        centroids: The baseline's centroids, k of them.
        baseline_counts: (k,) int64, the baseline's histogram.
        sizes_ms: The window sizes, ms.
        disorder_ms: How far behind the newest event of its partition an event may be expected.
        lateness_ms: How long after its closing a window is still corrected.
        idle_ms: Wall time of silence after which a partition may count as idle.
        min_events: A window with fewer events is not scored.
    """

    name: str
    baseline_id: str
    centroids: Centroids
    baseline_counts: NDArray[np.int64]
    sizes_ms: tuple[int, ...]
    disorder_ms: int
    lateness_ms: int
    idle_ms: int
    min_events: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of a batch; the masks are (n,) bool over its rows.

    Attributes:
        late: Every window of the event is past correction; not counted.
        overflown: No nearest centroid exists in float32; not counted.
        late_by_size: Per window size, ms: the event's window of that size is past correction.
    """

    late: NDArray[np.bool_]
    overflown: NDArray[np.bool_]
    late_by_size: Mapping[int, NDArray[np.bool_]]


class _Stream:
    """The state of one stream."""

    def __init__(
        self, spec: StreamSpec, partitions: Collection[int], now_ms: int, snapshot: WindowsSnapshot
    ) -> None:
        self.spec = spec
        self.windows = Windows(
            spec.sizes_ms,
            spec.centroids.clusters,
            lateness_ms=spec.lateness_ms,
            # Kept in little room; so much of it tells one baseline from another.
            baseline_id=spec.baseline_id[-_ID_CHARACTERS:],
            snapshot=snapshot,
        )
        self.watermarks = Watermarks(
            partitions, disorder_ms=spec.disorder_ms, idle_ms=spec.idle_ms, now_ms=now_ms
        )

    def count(self, batch: EventBatch, now_ms: int) -> Counted:
        late_by_size = self.windows.late(batch.time_ms)
        late = np.logical_and.reduce(list(late_by_size.values()))
        cluster = self.spec.centroids.assign(batch.vectors)
        overflown = cluster < 0
        kept = ~(late | overflown)
        if kept.any():
            self.windows.panes.add(
                batch.partition[kept], batch.offset[kept], batch.time_ms[kept], cluster[kept]
            )
        # A late event moves no watermark (it is older than the horizon), but it breaks the silence.
        partitions, times = batch.partition[~overflown], batch.time_ms[~overflown]
        for partition in np.unique(partitions).tolist():
            self.watermarks.observe(partition, int(times[partitions == partition].max()), now_ms)
        return Counted(late, overflown, late_by_size)

    def close(self, now_ms: int, positions: Mapping[int, int], ends: Mapping[int, int]) -> list[WindowResult]:
        watermark_ms = self.watermarks.advance(now_ms, positions, ends)
        idle = self.watermarks.all_idle

        def is_due(window: Window) -> bool:
            passed = watermark_ms is not None and window.end_ms <= watermark_ms
            # A window whose end is still to come by wall time may yet be filled: silence does not close it.
            return passed or (idle and window.end_ms <= now_ms)

        closed = [self._result(window) for window in self.windows.close(is_due)]
        if watermark_ms is not None:
            self.windows.purge(watermark_ms)
        if idle and now_ms - self.watermarks.last_seen_ms >= max(self.spec.sizes_ms) + self.spec.lateness_ms:
            self.windows.retire(now_ms)
        return closed

    def finish(self) -> list[WindowResult]:
        return [self._result(window) for window in self.windows.close(lambda _: True)]

    def _result(self, closed: ClosedWindow) -> WindowResult:
        spec = self.spec
        enough = int(closed.counts.sum()) >= spec.min_events
        return WindowResult(
            stream=spec.name,
            window=closed.window,
            revision=closed.revision,
            counts=closed.counts,
            baseline_counts=spec.baseline_counts,
            baseline_id=spec.baseline_id,
            score=score(closed.counts, spec.baseline_counts) if enough else None,
            repeated=closed.repeated,
        )


class Pipeline:
    """Counts batches of events and closes windows, for all streams over one set of partitions."""

    def __init__(
        self,
        specs: Iterable[StreamSpec],
        partitions: Collection[int],
        now_ms: int,
        snapshots: Mapping[str, WindowsSnapshot],
    ) -> None:
        """Start with nothing counted.

        Args:
            specs: The streams.
            partitions: Every partition that events are expected on.
            now_ms: Wall time; silence is measured from here.
            snapshots: What an earlier run left, by stream; the events of its open panes are to
                be counted again.
        """
        self._streams = {
            spec.name: _Stream(spec, partitions, now_ms, snapshots.get(spec.name, WindowsSnapshot()))
            for spec in specs
        }

    def count(self, batch: EventBatch, now_ms: int) -> Counted:
        """Assign and count a batch that was read at wall time `now_ms`.

        Raises:
            KeyError: The batch's stream is none of the specs'.
        """
        return self._streams[batch.stream].count(batch, now_ms)

    def ask(self, now_ms: int) -> set[int]:
        """Return the partitions whose end offset, measured after this call, the next `close` needs."""
        return {partition for stream in self._streams.values() for partition in stream.watermarks.ask(now_ms)}

    def close(self, now_ms: int, positions: Mapping[int, int], ends: Mapping[int, int]) -> list[WindowResult]:
        """Advance event time; return the windows that are due, new or changed, and purge old ones.

        Args:
            now_ms: Wall time.
            positions: Next offset to read, of every partition.
            ends: End offsets of the partitions that `ask` last named; empty while there is no answer.
        """
        return [
            result for stream in self._streams.values() for result in stream.close(now_ms, positions, ends)
        ]

    def finish(self) -> list[WindowResult]:
        """Return every window that is new or changed, for the source has ended."""
        return [result for stream in self._streams.values() for result in stream.finish()]

    def first_open_offsets(self) -> dict[int, int]:
        """Return, by partition, the lowest offset whose event is in an open pane, where there is one."""
        first: dict[int, int] = {}
        for stream in self._streams.values():
            for partition, offset in stream.windows.panes.first_offsets().items():
                first[partition] = min(offset, first.get(partition, offset))
        return first

    def snapshots(self) -> dict[str, WindowsSnapshot]:
        """Return, by stream, what reading the open panes' events again would not restore."""
        return {name: stream.windows.snapshot() for name, stream in self._streams.items()}

    def watermarks_ms(self) -> dict[str, int]:
        """Return the watermarks that are known, by stream, ms."""
        known = {name: stream.watermarks.watermark_ms for name, stream in self._streams.items()}
        return {name: watermark for name, watermark in known.items() if watermark is not None}

    def open_windows(self) -> dict[tuple[str, int], int]:
        """Return how many windows hold events and are open to correction, by stream and size in ms."""
        return {
            (name, size_ms): number
            for name, stream in self._streams.items()
            for size_ms, number in stream.windows.count_open().items()
        }
