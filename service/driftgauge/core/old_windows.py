"""Panes of all partitions to tumbling windows: which are due, which changed, which are final."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from driftgauge.core.eras import Eras
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Reference, References
from driftgauge.core.result import WindowResult
from driftgauge.core.scoring import Scoring
from driftgauge.core.spec import StreamSpec
from driftgauge.core.state import FinalKey, Gap, HistoryKey, PublishedKey, StreamProgress, Value
from driftgauge.core.table import Table
from driftgauge.core.counting.tally import Tally
from driftgauge.core.windows.window import Window

__all__ = ["Closed", "Windows"]

# After a standstill thousands may be due at once; the oldest come first, and the rest next round, for nothing
# else is done meanwhile. A comparison, of a window or of a segment of it, takes as long as its clusters, of
# some 15 us each, and 50 more would: 500 with 20 clusters are some 0.6 s, and so are 34 with 1,000.
# With two or three clusters it may take as long as with 300.
_MAX_WORK = 35_000
_WORK_BESIDES_CLUSTERS = 50
_FEW_CLUSTERS, _AS_LONG_AS = 3, 300


@dataclass(slots=True)
class Closed:
    """What a closing round brought.

    Attributes:
        results: The windows published, oldest end first.
        changes: What the home partition's state changes by.
    """

    results: list[WindowResult] = field(default_factory=list)
    changes: dict[PublishedKey | HistoryKey | FinalKey, Value | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Round:
    """The stream's condition in a closing round; times in ms."""

    now_ms: int
    lanes: Mapping[Partition, StreamProgress | None]
    eras: Eras
    gaps: list[Gap]
    watermark_ms: int | None
    horizon_ms: int | None
    silent: bool
    foremost_ms: int | None
    everything: bool
    _behind: dict[int, tuple[Partition, ...]] = field(default_factory=dict)

    @cached_property
    def _by_reach(self) -> list[tuple[int, Partition]]:
        """The partitions by what they have come to, those that nothing is known of first."""
        return sorted(
            (-1 if lane is None or lane.reached_ms is None else lane.reached_ms, partition)
            for partition, lane in self.lanes.items()
        )

    def behind(self, time_ms: int) -> tuple[Partition, ...]:
        """Return the partitions that have not come to an event time, sorted.

        Behind one that is stuck thousands of windows may wait, and all lack the same few.
        """
        number = bisect_left(self._by_reach, time_ms, key=lambda known: known[0])
        if number not in self._behind:
            self._behind[number] = tuple(sorted(partition for _, partition in self._by_reach[:number]))
        return self._behind[number]


class Windows:
    """Closes the windows of one stream; held by the owner of the stream's home partition.

    A window is due when the watermark passes its end, or, by wall time, when its end has passed
    and the stream is silent everywhere. Events that come later are still counted, and each round
    that finds a changed count gives a higher revision. Every partition refuses events for windows
    past its purge horizon; where all partitions have done so the counts can no longer change, and
    with one last look the window is final.

    Only what the table says is judged, which is what has been committed. It may say less of one
    partition than an earlier owner knew; such a window waits until the table has come as far.
    """

    def __init__(self, spec: StreamSpec, table: Table) -> None:
        """Go on from what the table holds."""
        self._spec = spec
        self._table = table
        self._published = table.published(spec.name)
        self._scoring = Scoring(spec, table)
        segments = spec.reference.segments_by(spec.alarm.segment_keys)
        clusters = len(spec.reference.counts)
        clusters = _AS_LONG_AS if clusters <= _FEW_CLUSTERS else clusters
        work = (1 + len(segments)) * (_WORK_BESIDES_CLUSTERS + clusters)
        self._max_published = max(_MAX_WORK // work, 1)
        self._final_ms = table.final_ms(spec.name)
        self._pending: set[Window] = set()
        self._touched: set[Window] = set()  # of these, those of which something has changed
        self._overdue_since_ms: dict[Window, int] = {}
        self._touch(table.all_panes(spec.name))

    def close(self, now_ms: int, references: References, *, everything: bool = False) -> Closed:
        """Publish what is due, new or changed; make final what can no longer change.

        Args:
            now_ms: Wall time.
            references: Finds baselines.
            everything: Every window is due, for the source has ended.
        """
        closed = Closed()
        state = self._look(now_ms, everything=everything)
        self._touch(self._table.take_changed(self._spec.name))
        self._note_losses(state)
        blocked: list[Window] = []
        for window in sorted(self._pending, key=lambda window: (window.end_ms, window.size_ms)):
            missing = self._missing(window, state)
            if missing is None or self._still_lacks(window, missing):
                continue
            if len(closed.results) == self._max_published:
                blocked.append(window)
                continue
            baseline = state.eras.of(window)
            reference = None if baseline is None else references(baseline)
            if reference is not None:
                self._publish(window, reference, missing, state, closed)
            elif state.eras.begin_after(window):
                self._pending.discard(window)
            else:
                blocked.append(window)
        self._finish(state, blocked, closed)
        return closed

    def state(self) -> dict[PublishedKey | HistoryKey | FinalKey, Value | None]:
        """Return all that the home partition's state holds of the stream."""
        state: dict[PublishedKey | HistoryKey | FinalKey, Value | None] = {
            PublishedKey(self._spec.name, window): published for window, published in self._published.items()
        }
        for size_ms, history in self._scoring.histories.items():
            state[HistoryKey(self._spec.name, size_ms)] = history
        if self._final_ms is not None:
            state[FinalKey(self._spec.name)] = self._final_ms
        return state

    def _look(self, now_ms: int, *, everything: bool) -> _Round:
        spec, table = self._spec, self._table
        lanes = table.lanes(spec.name)
        reached = [lane.reached_ms for lane in lanes.values() if lane and lane.reached_ms is not None]
        return _Round(
            now_ms=now_ms,
            lanes=lanes,
            eras=table.eras(spec.name),
            gaps=[lane.gap for lane in lanes.values() if lane and lane.gap],
            watermark_ms=table.watermark_ms(spec.name, spec.disorder_ms),
            horizon_ms=table.horizon_ms(spec.name),
            silent=table.is_silent(spec.name),
            foremost_ms=max(reached) - spec.disorder_ms if reached else None,
            everything=everything,
        )

    def _touch(self, panes: Iterable[Window]) -> None:
        """Look again at the windows that these panes are part of."""
        for pane in panes:
            for size_ms in self._spec.sizes_ms:
                window = Window.around(pane.start_ms, size_ms)
                if window.contains(pane) and self._is_open(window):
                    self._pending.add(window)
                    self._touched.add(window)

    def _is_open(self, window: Window) -> bool:
        return self._final_ms is None or window.end_ms > self._final_ms

    def _note_losses(self, state: _Round) -> None:
        """Look again at what was published before it was known that events of it were lost."""
        for gap in state.gaps:
            concerned = {
                window
                for window, published in self._published.items()
                if not published.events_lost and self._is_open(window) and gap.touches(window)
            }
            self._pending |= concerned
            self._touched |= concerned

    def _still_lacks(self, window: Window, missing: tuple[Partition, ...]) -> bool:
        """Tell whether a window was published without these partitions, and nothing has changed since."""
        published = self._published.get(window)
        return (
            bool(missing)
            and window not in self._touched
            and published is not None
            and published.missing == missing
        )

    def _missing(self, window: Window, state: _Round) -> tuple[Partition, ...] | None:
        """Return the partitions that a window is to be published without; None where it is not due."""
        passed = state.watermark_ms is not None and window.end_ms <= state.watermark_ms
        purged = state.horizon_ms is not None and window.end_ms <= state.horizon_ms
        # A window whose end is still to come by wall time may yet be filled: silence does not close it.
        silent = state.silent and window.end_ms <= state.now_ms
        if passed or purged or silent or state.everything:
            self._overdue_since_ms.pop(window, None)
            return ()
        if state.foremost_ms is None or window.end_ms > state.foremost_ms:
            return None
        since_ms = self._overdue_since_ms.setdefault(window, state.now_ms)
        if state.now_ms - since_ms < self._spec.incomplete_ms:
            return None
        return state.behind(window.end_ms + self._spec.disorder_ms)

    def _publish(
        self,
        window: Window,
        reference: Reference,
        missing: tuple[Partition, ...],
        state: _Round,
        closed: Closed,
    ) -> None:
        """Publish a due window if it is new or has changed."""
        self._touched.discard(window)
        if not missing:
            # Otherwise it waits for those, whatever comes of it now.
            self._pending.discard(window)
        values = self._table.tally(self._spec.name, reference.key, window)
        if values is None:
            return
        tally = Tally(values, len(reference.counts))
        before = self._published.get(window)
        lost = (before is not None and before.events_lost) or any(gap.touches(window) for gap in state.gaps)
        if before is not None and before.baseline_id == reference.baseline_id:
            said = before.count, before.missing, before.events_lost
            # An event that was counted stays counted, so less is older, and as much is the same.
            if tally.count < before.count or (tally.count, missing, lost) == said:
                return
        histories = dict(self._scoring.histories)
        result = self._scoring.judge(
            window, tally, reference, before, missing=missing, events_lost=lost, now_ms=state.now_ms
        )
        self._published[window] = result
        closed.results.append(result)
        closed.changes[PublishedKey(self._spec.name, window)] = result
        history = self._scoring.histories.get(window.size_ms)
        if history is not None and history is not histories.get(window.size_ms):
            closed.changes[HistoryKey(self._spec.name, window.size_ms)] = history

    def _finish(self, state: _Round, blocked: list[Window], closed: Closed) -> None:
        """Make final what every partition refuses events for; keep the newest window of each size."""
        if state.horizon_ms is None:
            # The home is settled from the first round on.
            final_ms = 0 if self._final_ms is None else self._final_ms
        else:
            final_ms = min([state.horizon_ms, *(window.start_ms for window in blocked)])
        if self._final_ms is not None and final_ms <= self._final_ms:
            return
        self._final_ms = final_ms
        closed.changes[FinalKey(self._spec.name)] = final_ms
        self._pending = {window for window in self._pending if window.end_ms > final_ms}
        self._touched &= self._pending
        newest = {
            size: max((w for w in self._published if w.size_ms == size), default=None)
            for size in self._spec.sizes_ms
        }
        for window in sorted(self._published):
            if window.end_ms <= final_ms and window != newest.get(window.size_ms):
                del self._published[window]
                closed.changes[PublishedKey(self._spec.name, window)] = None
        self._overdue_since_ms = {
            window: since_ms
            for window, since_ms in self._overdue_since_ms.items()
            if window.end_ms > final_ms
        }
