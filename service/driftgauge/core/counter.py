"""Counts one stream on the partitions that are held: assign -> panes, watermark, idleness, horizon."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.active import Active, Counts
from driftgauge.core.counting.batch import Counted, EventBatch
from driftgauge.core.eras import Eras
from driftgauge.core.lane import Lane
from driftgauge.core.partition import Partition
from driftgauge.core.reference import MissingBaselineError, Reference, References
from driftgauge.core.spec import StreamSpec
from driftgauge.core.state import Change, Counting, ExamplesKey, PaneKey, StreamProgress
from driftgauge.core.table import Table
from driftgauge.core.windows.window import Window

__all__ = ["StreamCounter"]


# Panes to be forgotten are in no hurry, and the end of a day may bring many thousands of them at once.
_MAX_FORGOTTEN = 200
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
        """Go on from what the table holds of these partitions.

        Args:
            spec: How the stream is watched.
            partitions: What is held, by code: 0, 1 and so on, in this order.
            table: The state of all partitions.
            references: Finds baselines.
            established: The streams whose configured baseline this process has seen established;
                one that was replaced since then is not brought back.
            now_ms: Wall time; silence is measured from here.

        Raises:
            MissingBaselineError: A baseline that is counted against on these partitions is not to be had.
        """
        self._spec = spec
        self._partitions = partitions
        self._table = table
        self._references = references
        self._lanes = {code: self._restore(partition, now_ms) for code, partition in partitions.items()}
        self._established = established
        self._active: dict[str, Active] = {}
        # Panes against baselines that are no longer counted; the state is to forget them.
        self._stale: set[tuple[Partition, PaneKey | ExamplesKey]] = set()
        # Panes of another length, from when other window sizes were configured: kept until they are final.
        self._foreign: set[tuple[Partition, PaneKey | ExamplesKey]] = set()
        self._settled_ms: int | None = None  # no window before is open
        self._change_baselines()
        for code, partition in partitions.items():
            kept: list[Counts] = [*table.panes(partition).items(), *table.examples(partition).items()]
            for key, value in kept:
                if key.stream != spec.name:
                    continue
                if key.baseline not in self._active:
                    self._stale.add((partition, key))
                elif key.pane.size_ms != spec.pane_ms:
                    self._foreign.add((partition, key))
                elif not self._active[key.baseline].restore(code, key, value):
                    self._stale.add((partition, key))
        # By silent partition: what the stream had come to everywhere when its end was asked for, and the end.
        self._proofs: dict[int, tuple[int | None, int | None]] = {}

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
            if counted.all():
                active.add(batch, cluster)
            elif counted.any():
                active.add(batch.only(counted), cluster[counted])
        # A late event moves no watermark (it is older than the horizon), but it breaks the silence.
        partitions, times = batch.partition[~overflown], batch.time_ms[~overflown]
        for partition in np.unique(partitions).tolist():
            its_times = times[partitions == partition]
            # The first by itself, for a loss ends with it, not where the batch does.
            for time_ms in (its_times[0], its_times.max()):
                self._lanes[partition].observe(int(time_ms), now_ms)
        return Counted(late, overflown, late_by_size)

    def ask(self, now_ms: int) -> list[int]:
        """Return the silent partitions whose end offsets must be measured after this call.

        A reader that is always a little behind, or waits for transactions to end, has never reached
        an end of just now. It is enough that it passes, in silence, an end that was asked for once.
        """
        newest_ms = self._table.newest_ms(self._spec.name)
        asked = [
            code
            for code, lane in self._lanes.items()
            if lane.is_silent(now_ms, self._spec.idle_ms) and self._proofs.get(code, (None, None))[1] is None
        ]
        self._proofs |= dict.fromkeys(asked, (newest_ms, None))
        return asked

    def advance(self, now_ms: int, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Judge idleness, apply the purge horizon, bring in the configured baseline, leave old ones.

        Args:
            now_ms: Wall time.
            positions: Next offset to read of each partition.
            ends: End offsets measured since `ask` was last called; empty while there is no answer.
        """
        self._prove_idle(now_ms, positions, ends)
        self._purge()
        self._change_baselines()

    def changes(self) -> Iterator[Change]:
        """Yield the panes that changed since last asked, and those that are past correction."""
        self._drop_final()
        for _ in range(min(len(self._stale), _MAX_FORGOTTEN)):
            yield Change(*self._stale.pop(), None)
        for active in self._active.values():
            for code, (key, value) in active.take_changed():
                yield Change(self._partitions[code], key, value)

    def progress(self, code: int) -> StreamProgress:
        """Return how far the stream has come on a partition."""
        return self._lanes[code].progress

    def lose(self, code: int) -> None:
        """Take note that a partition no longer keeps events that were to be read."""
        self._lanes[code].lose()

    def counted_against(self) -> set[str]:
        """Return the keys of the baselines counted against on any held partition."""
        return {entry.baseline for lane in self._lanes.values() for entry in lane.counting}

    def reference(self, baseline: str) -> Reference:
        """Return a baseline that is counted against; KeyError where it is not."""
        return self._active[baseline].reference

    def touch(self) -> None:
        """Take everything for changed."""
        for active in self._active.values():
            active.touch()

    def _restore(self, partition: Partition, now_ms: int) -> Lane:
        progress = self._table.progress(partition)
        known = progress.streams.get(self._spec.name) if progress else None
        if known is not None:
            return Lane.restore(known, self._spec.disorder_ms, now_ms)
        # Nothing of the stream was counted here, so nothing was counted against the wrong baseline.
        in_force = self._table.eras(self._spec.name).in_force
        return Lane(self._spec.disorder_ms, now_ms, counting=tuple(Counting(key) for key in in_force))

    def _late(self, batch: EventBatch) -> dict[int, NDArray[np.bool_]]:
        horizons = np.array(
            [_ALWAYS if lane.horizon_ms is None else lane.horizon_ms for lane in self._lanes.values()],
            dtype=np.int64,
        )
        # What is final is not counted, though word of it has come before the horizon was applied here.
        horizon = np.maximum(horizons, self._table.final_ms(self._spec.name) or _ALWAYS)[batch.partition]
        return {size: batch.time_ms - batch.time_ms % size + size <= horizon for size in self._spec.sizes_ms}

    def _prove_idle(self, now_ms: int, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        for code, (newest_ms, known_end) in list(self._proofs.items()):
            lane = self._lanes[code]
            end = ends.get(code) if known_end is None else known_end
            if not lane.is_silent(now_ms, self._spec.idle_ms):
                del self._proofs[code]
            elif end is not None and positions[code] >= end:
                del self._proofs[code]
                if newest_ms is not None:
                    lane.prove_idle(newest_ms, now_ms)
            else:
                self._proofs[code] = newest_ms, end

    def _purge(self) -> None:
        watermark_ms = self._table.watermark_ms(self._spec.name, self._spec.disorder_ms)
        if watermark_ms is None:
            return
        # Only whole panes can be purged, and a horizon that moves more rarely is written more rarely.
        horizon_ms = watermark_ms - self._spec.lateness_ms
        horizon_ms -= horizon_ms % self._spec.pane_ms
        for lane in self._lanes.values():
            lane.purge(horizon_ms)

    def _drop_final(self) -> None:
        """Let go of what belongs to final windows alone."""
        final_ms = self._table.final_ms(self._spec.name)
        if final_ms is None:
            return
        settled_ms = min(final_ms - final_ms % size for size in self._spec.sizes_ms)
        if settled_ms == self._settled_ms:
            return
        self._settled_ms = settled_ms
        for active in self._active.values():
            self._stale |= {(self._partitions[code], key) for code, key in active.drop_before(settled_ms)}
        foreign = {(at, key) for at, key in self._foreign if key.pane.end_ms <= settled_ms}
        self._foreign -= foreign
        self._stale |= foreign
        for lane in self._lanes.values():
            lane.forget_gap(settled_ms)

    def _change_baselines(self) -> None:
        """Begin to count against what is to come into force, leave what no window needs any more."""
        eras = self._table.eras(self._spec.name)
        final_ms = self._table.final_ms(self._spec.name)
        if eras.is_established(self._spec.reference.key):
            self._established.add(self._spec.name)
        over = {
            baseline
            for baseline in self.counted_against()
            if final_ms is not None and eras.is_over(baseline, self._spec.sizes_ms, final_ms)
        }
        wanted = self._wanted(eras)
        for lane in self._lanes.values():
            counted = {entry.baseline for entry in lane.counting}
            from_ms = self._next_pane(lane.progress.reached_ms)
            lane.counting = (
                *(entry for entry in lane.counting if entry.baseline not in over),
                *(Counting(baseline, from_ms) for baseline in wanted if baseline not in counted),
            )
        self._activate()

    def _wanted(self, eras: Eras) -> list[str]:
        """Return the baselines that every partition is to count against."""
        own = self._spec.reference.key
        if not eras.in_force:
            others = sorted(eras.counted - {own})
            return [own, *(other for other in others if self._references(other) is not None)]
        # What is being left must be gone everywhere before it can come again. What has been replaced does
        # not come again by itself, but is not stopped where a process that started later brings it in.
        is_new = self._spec.name not in self._established or own in eras.counted
        return [own] if is_new and not eras.is_leaving(own) else []

    def _next_pane(self, reached_ms: int | None) -> int | None:
        return None if reached_ms is None else Window.around(reached_ms, self._spec.pane_ms).end_ms

    def _activate(self) -> None:
        """Make the baselines that are counted against those which the lanes name."""
        named = self.counted_against()
        for key in self._active.keys() - named:
            self._stale |= {(self._partitions[code], stale) for code, stale in self._active.pop(key).held()}
        for key in named:
            if key not in self._active:
                reference = self._references(key)
                if reference is None:
                    message = (
                        f"baseline {key} of stream {self._spec.name} is counted against, and is not to be had"
                    )
                    raise MissingBaselineError(message)
                self._active[key] = Active(self._spec, reference)
            self._active[key].from_ms = np.array(
                [_beginning(lane, key) for lane in self._lanes.values()], dtype=np.int64
            )


def _beginning(lane: Lane, baseline: str) -> int:
    """Return the event time from which on a partition counts a baseline."""
    for entry in lane.counting:
        if entry.baseline == baseline:
            return _ALWAYS if entry.from_ms is None else entry.from_ms
    return int(_NEVER)
