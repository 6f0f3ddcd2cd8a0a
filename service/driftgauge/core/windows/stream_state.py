"""The state of one stream in one shard: panes, event time, results, and the changelog keys to write.

What the event times of a stream say:

    watermark  no partition is waited for up to it
    horizon    `final_ms`, the watermark less the allowed lateness: windows that end by it are final
    purgeable  no window needs the panes before it
    purged     panes before it may be missing
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from heapq import heappop, heappush
from typing import cast

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import Examples
from driftgauge.core.counting.partial import PaneDelta, StreamTime
from driftgauge.core.judging.calibration import Calibration
from driftgauge.core.judging.measuring import Measurement
from driftgauge.core.judging.verdict import Verdict, VerdictHistory
from driftgauge.core.partition import Partition
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import (
    BLOCK_PARTITIONS,
    CalibrationKey,
    DataLoss,
    EventTimeKey,
    EventTimes,
    ExamplesKey,
    HistoryKey,
    Key,
    MeasurementKey,
    PaneCounts,
    PaneKey,
    PublishedKey,
    StreamKey,
    StreamStatus,
    Value,
)
from driftgauge.core.windows.pane_store import PaneStore
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.round_load import RoundLoad
from driftgauge.core.windows.source_progress import NULL
from driftgauge.core.windows.work_budget import WorkBudget

__all__ = ["StreamState"]

_NO_TIMES = np.empty((0, 2), dtype=np.int64)


class StreamState:
    """The state of one stream; every change marks its changelog key dirty until drained."""

    def __init__(self, stream: str, load: RoundLoad | None = None) -> None:
        """Begin with empty state.

        Args:
            stream: The stream's name.
            load: The load of its shard, to which every dirty key is added.
        """
        self.stream = stream
        self.status = StreamStatus()
        self.times: dict[str, NDArray[np.int64]] = {}
        """(n, 2) int64 by topic, see `EventTimes`."""
        self.published: dict[Window, WindowResult] = {}
        self.newest: Mapping[int, WindowResult] = {}
        """The newest published result of each window size, ms; a new mapping replaces it on each change."""
        self.conclusive: Mapping[int, WindowResult] = {}
        """The newest published result with a conclusion, as `newest`."""
        self.histories: dict[tuple[int, str], VerdictHistory] = {}
        """By window size, ms, and the baseline's key, as those that follow."""
        self.measurements: dict[tuple[int, str], Measurement] = {}
        self.calibrations: dict[tuple[int, str], Calibration] = {}
        self.panes = PaneStore(stream)
        self.has_changed = True
        """Whether counts or event time have changed since the dirty panes were drained."""
        self.read_ms = NULL
        """The latest wall time, by a reader's clock, at which an event was read; NULL while unknown."""
        self.is_forgotten = False
        """Whether the whole state has been deleted, since the stream retired long ago."""
        self._dirty_panes: set[Window] = set()
        self._dirty_keys: dict[Key, None] = {}  # in the order in which they changed
        self._load = load or RoundLoad()
        self._ends: list[tuple[int, Window]] = []  # a heap of the published windows by their ends

    def restore(self, key: Key, value: Value) -> None:
        """Restore a changelog entry."""
        match key:
            case StreamKey():
                self.status = cast("StreamStatus", value)
            case EventTimeKey():
                first = key.block * BLOCK_PARTITIONS
                block = cast("EventTimes", value).values
                self._times_for(key.topic, first + len(block))[first : first + len(block)] = block
                self.read_ms = max(self.read_ms, int(block[:, 1].max(initial=NULL)))
            case PaneKey() | ExamplesKey():
                self.panes.put(key, value)
                self._dirty_panes.add(key.pane)
            case PublishedKey():
                self._set_result(cast("WindowResult", value))
            case HistoryKey():
                self.histories[key.size_ms, key.baseline] = cast("VerdictHistory", value)
            case MeasurementKey():
                self.measurements[key.size_ms, key.baseline] = cast("Measurement", value)
            case CalibrationKey():
                self.calibrations[key.size_ms, key.baseline] = cast("Calibration", value)
            case _:
                message = f"{key} is not a key of a stream"
                raise TypeError(message)

    def set_status(self, status: StreamStatus) -> None:
        """Replace the status."""
        if status != self.status:
            self.status = status
            self._mark_dirty(StreamKey(self.stream))

    def add_pane(self, delta: PaneDelta) -> None:
        """Add a delta to the counts and the examples of a pane."""
        pane = Window(delta.scheme.pane_ms, delta.start_ms)
        key = PaneKey(self.stream, delta.scheme.key, pane, delta.segment)
        self.panes.add_counts(key, PaneCounts(delta.values, delta.numbers))
        self.has_changed = True
        self._mark_dirty(key)
        self._dirty_panes.add(pane)
        of_examples = ExamplesKey(self.stream, delta.scheme.key, pane)
        examples = Examples(delta.examples, delta.farthest)
        if examples != Examples() and self.panes.add_examples(of_examples, examples):
            self._mark_dirty(of_examples)

    def observe(
        self, partition: Partition, time: StreamTime, disorder_ms: int, *, is_shortened: bool = False
    ) -> None:
        """Advance the event time of a source partition; its first new event ends a data loss.

        An event further behind than the allowed disorder ends none: what was lost before it may be newer. Of
        a shortened partition, see `SourceBlock`, events before the stream's first one may be missing.
        """
        self.has_changed = True
        topic, index = partition
        row = self._times_for(topic, index + 1)[index]
        if is_shortened and row[0] == NULL:
            self.mark_loss(partition, disorder_ms)
        reached_ms = NULL if row[0] == NULL else int(row[0]) - disorder_ms
        row[0] = max(int(row[0]), time.newest_ms)
        row[1] = max(int(row[1]), time.read_ms)
        self.read_ms = max(self.read_ms, time.read_ms)
        self._mark_dirty(EventTimeKey(self.stream, topic, index // BLOCK_PARTITIONS))
        end_ms = time.first_ms if time.first_ms >= reached_ms else time.newest_ms
        if self.status.losses and end_ms >= reached_ms:
            self.end_loss(partition, end_ms + disorder_ms)

    def drop_topic(self, topic: str) -> None:
        """Drop the event time of a topic that was recreated."""
        self.has_changed = True
        times = self.times.pop(topic, None)
        if times is not None:
            for block in range(-(-len(times) // BLOCK_PARTITIONS)):
                self._mark_dirty(EventTimeKey(self.stream, topic, block))

    def mark_loss(self, partition: Partition, disorder_ms: int) -> None:
        """Mark data loss: events of a source partition after those counted so far are missing."""
        self.has_changed = True
        topic, index = partition
        times = self.times.get(topic)
        newest_ms = NULL if times is None or index >= len(times) else int(times[index, 0])
        known = next((loss for loss in self.status.losses if loss.partition == partition), None)
        if known is not None:
            from_ms = known.from_ms  # the earlier loss extends to the end of this one
        else:
            from_ms = None if newest_ms == NULL else newest_ms - disorder_ms
        others = tuple(loss for loss in self.status.losses if loss.partition != partition)
        self.set_status(replace(self.status, losses=(*others, DataLoss(partition, from_ms))))

    def mark_all_lost(self, to_ms: int) -> None:
        """Mark that events of any partition may be missing from all windows that begin up to a time."""
        self.has_changed = True
        self.set_status(replace(self.status, losses=(*self.status.losses, DataLoss(None, None, to_ms))))

    def end_loss(self, partition: Partition, to_ms: int) -> None:
        """End the open data loss of a source partition at this event time."""
        losses = tuple(
            DataLoss(partition, loss.from_ms, to_ms)
            if loss.partition == partition and loss.to_ms is None
            else loss
            for loss in self.status.losses
        )
        self.set_status(replace(self.status, losses=losses))

    def is_open(self, window: Window) -> bool:
        """Return whether a window is not final."""
        return self.status.final_ms is None or window.end_ms > self.status.final_ms

    def has_alarm(self, size_ms: int) -> bool:
        """Return whether the newest published window of a size, ms, with a conclusion says drift."""
        result = self.conclusive.get(size_ms)
        return result is not None and result.verdict is Verdict.DRIFT

    def drain_dirty_panes(self) -> set[Window]:
        """Return the panes that have changed since the last call."""
        touched, self._dirty_panes, self.has_changed = self._dirty_panes, set(), False
        return touched

    def publish(self, result: WindowResult) -> None:
        """Set the last published result of a window, without its texts, which are kept with panes only."""
        self._set_result(replace(result, snippets={}) if result.snippets else result)
        self._mark_dirty(PublishedKey(self.stream, result.window))

    def remember(
        self, size_ms: int, baseline: str, value: VerdictHistory | Measurement | Calibration
    ) -> None:
        """Set what judging remembers of the windows of a size, ms, against the baseline with a key."""
        match value:
            case VerdictHistory():
                self.histories[size_ms, baseline] = value
                self._mark_dirty(HistoryKey(self.stream, size_ms, baseline))
            case Measurement():
                self.measurements[size_ms, baseline] = value
                self._mark_dirty(MeasurementKey(self.stream, size_ms, baseline))
            case Calibration():
                self.calibrations[size_ms, baseline] = value
                self._mark_dirty(CalibrationKey(self.stream, size_ms, baseline))

    def forget_measurement(self, size_ms: int, baseline: str) -> None:
        """Delete a measurement, if there is one."""
        if self.measurements.pop((size_ms, baseline), None) is not None:
            self._mark_dirty(MeasurementKey(self.stream, size_ms, baseline))

    def forget_judging(self, size_ms: int, baseline: str) -> None:
        """Delete all that judging remembers of the windows of a size, ms, against a baseline."""
        self.forget_measurement(size_ms, baseline)
        if self.histories.pop((size_ms, baseline), None) is not None:
            self._mark_dirty(HistoryKey(self.stream, size_ms, baseline))
        if self.calibrations.pop((size_ms, baseline), None) is not None:
            self._mark_dirty(CalibrationKey(self.stream, size_ms, baseline))

    def purge_final_results(self, sizes_ms: Collection[int], budget: WorkBudget) -> None:
        """Delete the final results, the oldest first, as many as a budget has deletions.

        Those stay from which the gauges of these window sizes follow: the newest of each size, and the newest
        with a conclusion that no later event can change.
        """
        purged: list[Window] = []
        conclusive: dict[int, Window] = {}
        newest: list[Window] = []
        while self._ends and not self.is_open(self._ends[0][1]) and len(purged) < budget.deletions:
            _, window = heappop(self._ends)
            result, size_ms = self.published.get(window), window.size_ms
            if result is None:
                continue
            if size_ms not in sizes_ms:
                purged.append(window)
            elif result.verdict.is_conclusive:
                if size_ms in conclusive:
                    purged.append(conclusive[size_ms])
                conclusive[size_ms] = window
            elif result is self.newest[size_ms]:
                newest.append(window)
            else:
                purged.append(window)
        for window in (*conclusive.values(), *newest):
            heappush(self._ends, (window.end_ms, window))
        self._purge(purged)
        budget.deletions -= len(purged)

    @property
    def purged_ms(self) -> int:
        """The event time before which panes may be missing; NULL before any is."""
        return NULL if self.status.purged_ms is None else self.status.purged_ms

    def purgeable_ms(self, sizes_ms: Iterable[int]) -> int:
        """Return the event time before which no window of some sizes, ms, needs its panes any more.

        Windows of other sizes need theirs as long as a result of their size is kept: another replica, which
        has that size, may revise it. NULL before there is a horizon.
        """
        final_ms, sizes = self.status.final_ms, {*sizes_ms, *self.newest}
        return NULL if final_ms is None else min(final_ms - final_ms % size_ms for size_ms in sizes)

    @property
    def is_retired(self) -> bool:
        """Whether the stream has had no events for long, and only its status and histories are kept."""
        return self.is_forgotten or self.status.retired_ms is not None

    def admit(self, uncounted_to_ms: int | None) -> None:
        """Admit the stream, as a new one or after it retired; its events before a time may not be counted."""
        self.is_forgotten = False
        self.set_status(replace(self.status, retired_ms=None))
        if uncounted_to_ms is not None:
            self.miss_panes(uncounted_to_ms)

    def retire(self, log_ms: int, sizes_ms: Iterable[int], budget: WorkBudget) -> bool:
        """Keep no more than the status and the histories of a stream without further events.

        All its windows become final, so that no later event begins one of them again without the events
        counted so far.

        Args:
            log_ms: The shard's log time.
            sizes_ms: The window sizes.
            budget: The deletions that are left in this round.

        Returns:
            Whether the stream is retired; there may be too many panes to delete at once.
        """
        end_ms = self.panes.end_ms
        if end_ms is not None:
            sizes = {*sizes_ms, *(window.size_ms for window in self.published)}
            ends_ms = [end_ms, *(Window.around(end_ms - 1, size_ms).end_ms for size_ms in sizes)]
            known_ms = self.status.final_ms
            final_ms = max(ends_ms) if known_ms is None else max(known_ms, *ends_ms)
            self.set_status(replace(self.status, final_ms=final_ms))
            self.miss_panes(end_ms)
            if not self.purge_panes(end_ms, budget):
                return False
        for topic in list(self.times):
            self.drop_topic(topic)
        self._purge(list(self.published))
        self._ends.clear()
        # A downtime of all readers would move, and so write, what is known of the foremost partition.
        self.set_status(replace(self.status, foremost=(), retired_ms=log_ms))
        return True

    def forget(self) -> None:
        """Delete the status and the histories of a retired stream."""
        self.is_forgotten = True
        self.status = StreamStatus()
        self._mark_dirty(StreamKey(self.stream))
        for size_ms, baseline in list(self.histories):
            self.forget_judging(size_ms, baseline)

    def purge_panes(self, purgeable_ms: int, budget: WorkBudget) -> bool:
        """Delete panes that end by a time, as many as a budget lets; return whether none is left."""
        purged, is_done = self.panes.purge(purgeable_ms, budget.deletions)
        for key in purged:
            self._mark_dirty(key)
        budget.deletions -= len(purged)
        return is_done

    def drain_changes(self) -> Iterator[tuple[Key, Value | None]]:
        """Yield the changelog entries since the last call; None for a deleted key."""
        dirty, self._dirty_keys = self._dirty_keys, {}
        for key in dirty:
            yield key, self._value_of(key)

    def miss_panes(self, end_ms: int) -> None:
        """Note that panes before an event time may be missing."""
        self.set_status(replace(self.status, purged_ms=max(self.purged_ms, end_ms)))

    def _mark_dirty(self, key: Key) -> None:
        number = len(self._dirty_keys)
        self._dirty_keys[key] = None
        if len(self._dirty_keys) > number:
            self._load.add_entry(self.panes.get(key) if isinstance(key, PaneKey | ExamplesKey) else None)

    def _set_result(self, result: WindowResult) -> None:
        window, size_ms = result.window, result.window.size_ms
        if window not in self.published:
            heappush(self._ends, (window.end_ms, window))
        self.published[window] = result
        newest, conclusive = self.newest.get(size_ms), self.conclusive.get(size_ms)
        if newest is None or window >= newest.window:
            self.newest = {**self.newest, size_ms: result}
        if result.verdict.is_conclusive:
            if conclusive is None or window >= conclusive.window:
                self.conclusive = {**self.conclusive, size_ms: result}
        elif conclusive is not None and window == conclusive.window:
            # A revision of it concludes nothing any more.
            self._find_newest()

    def _purge(self, windows: Iterable[Window]) -> None:
        """Delete published results."""
        purged = [self.published.pop(window) for window in windows]
        for result in purged:
            self._mark_dirty(PublishedKey(self.stream, result.window))
        shown = {*self.newest.values(), *self.conclusive.values()}
        if not shown.isdisjoint(purged):
            self._find_newest()

    def _find_newest(self) -> None:
        results = [self.published[window] for window in sorted(self.published)]
        self.newest = {result.window.size_ms: result for result in results}
        self.conclusive = {
            result.window.size_ms: result for result in results if result.verdict.is_conclusive
        }

    def _value_of(self, key: Key) -> Value | None:
        match key:
            case StreamKey():
                return None if self.is_forgotten else self.status
            case EventTimeKey():
                times = self.times.get(key.topic, _NO_TIMES)[
                    key.block * BLOCK_PARTITIONS : (key.block + 1) * BLOCK_PARTITIONS
                ]
                return EventTimes(times.copy()) if len(times) else None
            case PaneKey() | ExamplesKey():
                return cast("PaneCounts | Examples | None", self.panes.get(key))
            case PublishedKey():
                return self.published.get(key.window)
            case HistoryKey() | MeasurementKey() | CalibrationKey():
                kinds = {
                    HistoryKey: self.histories,
                    MeasurementKey: self.measurements,
                    CalibrationKey: self.calibrations,
                }
                known = cast("Mapping[tuple[int, str], Value]", kinds[type(key)])
                return known.get((key.size_ms, key.baseline))
            case _:
                message = f"{key} is not a key of a stream"
                raise TypeError(message)

    def _times_for(self, topic: str, partitions: int) -> NDArray[np.int64]:
        times = self.times.get(topic)
        if times is None or len(times) < partitions:
            known = 0 if times is None else len(times)
            added = np.full((partitions - known, 2), NULL, dtype=np.int64)
            times = self.times[topic] = added if times is None else np.concatenate((times, added))
        return times
