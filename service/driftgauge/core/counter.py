"""Counts one stream on the partitions that are held: assign -> panes, watermark, idleness, horizon."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.batch import EventBatch
from driftgauge.core.lane import Lane
from driftgauge.core.panes import Panes
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.state import Change, Counting, PaneKey, Partition, StreamProgress
from driftgauge.core.table import Table
from driftgauge.core.window import Window

__all__ = ["Counted", "References", "StreamCounter"]

References = Callable[[str], Reference | None]
"""Finds a baseline by its key; None where it is not to be had."""


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


@dataclass(slots=True)
class _Active:
    """A baseline that is counted against.

    Attributes:
        reference: The baseline.
        panes: The counts.
        from_ms: (partitions,) int64, the event time from which on each partition counts it.
        until_ms: The event time from which on no window needs it; None where one always does.
    """

    reference: Reference
    panes: Panes
    from_ms: NDArray[np.int64]
    until_ms: int | None = None


_ALWAYS = -1
_NEVER = np.iinfo(np.int64).max


class StreamCounter:
    """What the owner of some partitions knows of one stream."""

    def __init__(
        self,
        spec: StreamSpec,
        partitions: Mapping[int, Partition],
        table: Table,
        references: References,
        established: set[str],
        now_ms: int,
    ) -> None:
        """Go on from what the table holds of these partitions (code -> partition).

        Args:
            spec: How the stream is watched.
            partitions: What is held.
            table: The state of all partitions.
            references: Finds baselines.
            established: The streams whose configured baseline this process has seen as the newest
                in force; one that was replaced since then is not brought back.
            now_ms: Wall time; silence is measured from here.
        """
        self._spec = spec
        self._partitions = partitions
        self._table = table
        self._references = references
        self._lanes = {code: self._restore(partition, now_ms) for code, partition in partitions.items()}
        self._established = established
        self._active: dict[str, _Active] = {}
        # Panes against baselines that are no longer counted; the state is to forget them.
        self._stale: set[tuple[Partition, PaneKey]] = set()
        # Panes of another length, from when other window sizes were configured: kept until they are final.
        self._foreign: set[tuple[Partition, PaneKey]] = set()
        self._change_baselines()
        for code, partition in partitions.items():
            for key, counts in table.panes(partition).items():
                if key.stream != spec.name:
                    continue
                if key.baseline not in self._active:
                    self._stale.add((partition, key))
                elif key.pane.size_ms == spec.pane_ms:
                    self._active[key.baseline].panes.restore(code, key.pane.start_ms, counts)
                else:
                    self._foreign.add((partition, key))
        self._asked_newest_ms: int | None = None

    def count(self, batch: EventBatch, now_ms: int) -> Counted:
        """Assign and count a batch that was read at wall time `now_ms`."""
        late_by_size = self._late(batch)
        late = np.logical_and.reduce(list(late_by_size.values()))
        clusters = {}
        overflown = np.zeros(len(batch), dtype=np.bool_)
        for key, active in self._active.items():
            if active.reference.centroids.dimension == batch.vectors.shape[1]:
                clusters[key] = active.reference.centroids.assign(batch.vectors)
                overflown |= clusters[key] < 0
        kept = ~(late | overflown)
        for key, cluster in clusters.items():
            active = self._active[key]
            counted = kept & (batch.time_ms >= active.from_ms[batch.partition])
            if active.until_ms is not None:
                counted &= batch.time_ms < active.until_ms
            if counted.any():
                active.panes.add(batch.partition[counted], batch.time_ms[counted], cluster[counted])
        # A late event moves no watermark (it is older than the horizon), but it breaks the silence.
        partitions, times = batch.partition[~overflown], batch.time_ms[~overflown]
        for partition in np.unique(partitions).tolist():
            its_times = times[partitions == partition]
            self._lanes[partition].observe(int(its_times.max()), now_ms)
        return Counted(late, overflown, late_by_size)

    def ask(self, now_ms: int) -> list[int]:
        """Return the silent partitions, whose end offsets must be measured after this call."""
        self._asked_newest_ms = self._table.newest_ms(self._spec.name)
        return [code for code, lane in self._lanes.items() if lane.is_silent(now_ms, self._spec.idle_ms)]

    def advance(self, now_ms: int, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Judge idleness, apply the purge horizon, bring in the configured baseline, leave old ones.

        Args:
            now_ms: Wall time.
            positions: Next offset to read of each partition.
            ends: End offsets measured since `ask` was last called; empty while there is no answer.
        """
        for code, end in ends.items():
            lane = self._lanes[code]
            caught_up = lane.is_silent(now_ms, self._spec.idle_ms) and positions[code] >= end
            if caught_up and self._asked_newest_ms is not None:
                lane.prove_idle(self._asked_newest_ms)
        self._purge()
        self._change_baselines()

    def changes(self) -> Iterator[Change]:
        """Yield the panes that changed since last asked, and those that are past correction."""
        final_ms = self._table.final_ms(self._spec.name)
        for key, active in self._active.items():
            if final_ms is not None:
                for start_ms, code in list(active.panes.places()):
                    if self._is_final(self._pane(start_ms), final_ms):
                        active.panes.drop(start_ms, code)
                        yield Change(self._partitions[code], self._pane_key(key, start_ms), None)
            for code, start_ms, counts in active.panes.take_changed():
                yield Change(self._partitions[code], self._pane_key(key, start_ms), counts)
        if final_ms is not None:
            final = {(at, key) for at, key in self._foreign if self._is_final(key.pane, final_ms)}
            self._foreign -= final
            self._stale |= final
        stale, self._stale = self._stale, set()
        for partition, pane in sorted(stale, key=str):
            yield Change(partition, pane, None)

    def progress(self, code: int) -> StreamProgress:
        """Return how far the stream has come on a partition."""
        return self._lanes[code].progress

    def lose(self, code: int) -> None:
        """Take note that a partition no longer keeps events that were to be read."""
        self._lanes[code].lose(self._spec.disorder_ms)

    def counted_against(self) -> set[str]:
        """Return the keys of the baselines counted against on any held partition."""
        return {entry.baseline for lane in self._lanes.values() for entry in lane.counting}

    def touch(self) -> None:
        """Take everything for changed."""
        for active in self._active.values():
            active.panes.touch()

    def _restore(self, partition: Partition, now_ms: int) -> Lane:
        progress = self._table.progress(partition)
        known = progress.streams.get(self._spec.name) if progress else None
        if known is not None:
            return Lane.restore(known, now_ms)
        # Nothing of the stream was counted here, so nothing was counted against the wrong baseline.
        in_force = self._table.eras(self._spec.name).in_force
        return Lane(now_ms, counting=tuple(Counting(baseline) for baseline in in_force))

    def _late(self, batch: EventBatch) -> dict[int, NDArray[np.bool_]]:
        horizons = np.array(
            [_ALWAYS if lane.horizon_ms is None else lane.horizon_ms for lane in self._lanes.values()],
            dtype=np.int64,
        )
        horizon = horizons[batch.partition]
        return {size: batch.time_ms - batch.time_ms % size + size <= horizon for size in self._spec.sizes_ms}

    def _purge(self) -> None:
        watermark_ms = self._table.watermark_ms(self._spec.name, self._spec.disorder_ms)
        if watermark_ms is None:
            return
        # Only whole panes can be purged, and a horizon that moves more rarely is written more rarely.
        horizon_ms = watermark_ms - self._spec.lateness_ms
        horizon_ms -= horizon_ms % self._spec.pane_ms
        for lane in self._lanes.values():
            lane.purge(horizon_ms)

    def _change_baselines(self) -> None:
        spec, eras = self._spec, self._table.eras(self._spec.name)
        own = spec.reference.key
        if eras.newest == own:
            self._established.add(spec.name)
        final_ms = self._table.final_ms(spec.name)
        introduce = spec.name not in self._established and not self._is_leaving(own)
        for lane in self._lanes.values():
            known = {entry.baseline for entry in lane.counting}
            if own not in known and introduce:
                lane.counting += (Counting(own, self._next_pane(lane.progress.reached_ms)),)
            for baseline in known:
                until_ms = eras.until_ms(baseline, spec.sizes_ms)
                if final_ms is not None and until_ms is not None and until_ms <= final_ms:
                    lane.counting = tuple(entry for entry in lane.counting if entry.baseline != baseline)
            if lane.gap is not None and lane.gap.to_ms is not None and final_ms is not None:
                last_ms = max(Window.around(lane.gap.to_ms, size).end_ms for size in spec.sizes_ms)
                lane.gap = None if last_ms <= final_ms else lane.gap
        self._activate()

    def _is_leaving(self, baseline: str) -> bool:
        """Tell whether some partition counts a newer baseline beside this one, which must be left first."""
        return any(
            any(entry.baseline == baseline for entry in lane.counting[:-1])
            for lane in self._table.lanes(self._spec.name).values()
            if lane is not None
        )

    def _next_pane(self, reached_ms: int | None) -> int | None:
        return None if reached_ms is None else Window.around(reached_ms, self._spec.pane_ms).end_ms

    def _activate(self) -> None:
        """Make the baselines that are counted against those which the lanes name."""
        eras = self._table.eras(self._spec.name)
        named = self.counted_against()
        for key in self._active.keys() - named:
            for start_ms, code in self._active.pop(key).panes.places():
                self._stale.add((self._partitions[code], self._pane_key(key, start_ms)))
        for key in named:
            active = self._active.get(key)
            if active is None:
                reference = self._references(key)
                if reference is None:
                    continue
                panes = Panes(self._spec.pane_ms, reference.centroids.clusters)
                active = self._active[key] = _Active(reference, panes, np.empty(0, dtype=np.int64))
            active.until_ms = eras.until_ms(key, self._spec.sizes_ms)
            active.from_ms = np.array(
                [_beginning(lane, key) for lane in self._lanes.values()], dtype=np.int64
            )

    def _pane(self, start_ms: int) -> Window:
        return Window(self._spec.pane_ms, start_ms)

    def _pane_key(self, baseline: str, start_ms: int) -> PaneKey:
        return PaneKey(self._spec.name, baseline, self._pane(start_ms))

    def _is_final(self, pane: Window, final_ms: int) -> bool:
        last_ms = pane.end_ms - 1
        return all(Window.around(last_ms, size).end_ms <= final_ms for size in self._spec.sizes_ms)


def _beginning(lane: Lane, baseline: str) -> int:
    """Return the event time from which on a partition counts a baseline."""
    for entry in lane.counting:
        if entry.baseline == baseline:
            return _ALWAYS if entry.from_ms is None else entry.from_ms
    return int(_NEVER)
