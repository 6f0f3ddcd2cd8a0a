"""The global table: the state of all partitions, merged, as every replica knows it."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.eras import Eras
from driftgauge.core.counting.examples import Example, merge
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Segment
from driftgauge.core.result import WindowResult
from driftgauge.core.state import (
    BaselineKey,
    Change,
    ExamplesKey,
    FinalKey,
    HistoryKey,
    PaneKey,
    Progress,
    ProgressKey,
    PublishedKey,
    StreamProgress,
)
from driftgauge.core.verdict import History
from driftgauge.core.windows.window import Window

__all__ = ["Table"]

_Place = tuple[str, str, Segment | None]
_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(slots=True)
class _Kept:
    """What is known of one partition."""

    progress: Progress | None = None
    panes: dict[PaneKey, NDArray[np.int64]] = field(default_factory=dict)
    examples: dict[ExamplesKey, tuple[Example, ...]] = field(default_factory=dict)
    published: dict[PublishedKey, WindowResult] = field(default_factory=dict)
    histories: dict[HistoryKey, History] = field(default_factory=dict)
    finals: dict[str, int] = field(default_factory=dict)
    parts: dict[BaselineKey, bytes] = field(default_factory=dict)


class Table:
    """Last-write-wins over the partitions' changes; counts are added over the partitions."""

    def __init__(self) -> None:
        self._kept: dict[Partition, _Kept] = {}
        self._expected: frozenset[Partition] = frozenset()
        # Asked for many times a round; a round takes in many changes first.
        self._lanes: dict[str, Mapping[Partition, StreamProgress | None]] = {}
        # (stream, baseline, segment) -> length of the panes -> start -> tally; lengths and starts in ms
        self._totals: dict[_Place, dict[int, dict[int, NDArray[np.int64]]]] = {}
        # How often a stream's panes have come or gone, and its open windows as of then: there are thousands.
        self._shapes: Counter[str] = Counter()
        self._open_windows: dict[str, tuple[object, dict[int, int]]] = {}
        self._changed: dict[_Place, set[Window]] = {}
        self._newest: dict[tuple[str, int], WindowResult] = {}

    def expect(self, partitions: Collection[Partition]) -> None:
        """Say which partitions there are; one without a progress holds every watermark back."""
        self._expected = frozenset(partitions)
        self._lanes.clear()

    def apply(self, change: Change) -> None:
        """Take in one partition's new value, in the order in which they were written."""
        kept = self._kept.setdefault(change.partition, _Kept())
        match change.key:
            case ProgressKey():
                kept.progress = cast("Progress | None", change.value)
                self._lanes.clear()
            case PaneKey() as key:
                self._apply_pane(kept, key, cast("NDArray[np.int64] | None", change.value))
            case ExamplesKey() as key:
                _put(kept.examples, key, cast("tuple[Example, ...] | None", change.value))
            case PublishedKey() as key:
                published = cast("WindowResult | None", change.value)
                _put(kept.published, key, published)
                if published is not None:
                    self._show(published)
            case HistoryKey() as key:
                _put(kept.histories, key, cast("History | None", change.value))
            case FinalKey() as key:
                _put(kept.finals, key.stream, cast("int | None", change.value))
            case BaselineKey() as key:
                _put(kept.parts, key, cast("bytes | None", change.value))

    def progress(self, partition: Partition) -> Progress | None:
        """Return how far a partition has been counted; None where it has not been."""
        return self._kept[partition].progress if partition in self._kept else None

    def panes(self, partition: Partition) -> Mapping[PaneKey, NDArray[np.int64]]:
        """Return a partition's own tallies, each (k + 1 + r,)."""
        return self._kept[partition].panes if partition in self._kept else {}

    def examples(self, partition: Partition) -> Mapping[ExamplesKey, tuple[Example, ...]]:
        """Return a partition's own examples."""
        return self._kept[partition].examples if partition in self._kept else {}

    def tally(
        self, stream: str, baseline: str, window: Window, segment: Segment | None = None
    ) -> NDArray[np.int64] | None:
        """Return a window's tally (k + 1 + r,), over its panes and all partitions; None where it has none."""
        total = None
        for length_ms, panes in self._totals.get((stream, baseline, segment), {}).items():
            for start_ms in _starts(window, length_ms):
                values = panes.get(start_ms)
                if values is not None:
                    total = values if total is None else total + values
        return total

    def named(self, stream: str, baseline: str, window: Window) -> dict[int, tuple[str, ...]]:
        """Return the names of a window's examples by cluster, over its panes and all partitions."""
        lengths = self._totals.get((stream, baseline, None), {})
        keys = [
            ExamplesKey(stream, baseline, Window(length_ms, start_ms))
            for length_ms, panes in lengths.items()
            for start_ms in _starts(window, length_ms)
            if start_ms in panes
        ]
        kept = (held.examples for held in self._kept.values() if held.examples)
        return merge(examples[key] for examples in kept for key in keys if key in examples)

    def all_panes(self, stream: str) -> set[Window]:
        """Return the stream's panes, on any partition and against any baseline."""
        return {
            Window(length_ms, start_ms)
            for (name, _, segment), lengths in self._totals.items()
            if name == stream and segment is None
            for length_ms, panes in lengths.items()
            for start_ms in panes
        }

    def take_changed(self, stream: str) -> set[Window]:
        """Return the stream's panes that changed since last asked and still stand."""
        places = [place for place in self._changed if place[0] == stream]
        return {pane for place in places for pane in self._changed.pop(place)}

    def home(self, stream: str, choose: Callable[[str], Partition]) -> Partition:
        """Return the partition whose owner closes the stream's windows.

        Where it once was it stays, though partitions be added; a new stream's is chosen.
        """
        homes = [partition for partition, kept in self._kept.items() if stream in kept.finals]
        return min(homes) if homes else choose(stream)

    def final_ms(self, stream: str) -> int | None:
        """Return the event time, ms, up to which the stream's windows are final."""
        return max(
            (kept.finals[stream] for kept in self._kept.values() if stream in kept.finals), default=None
        )

    def histories(self, stream: str) -> dict[int, History]:
        """Return what the stream's windows leave behind, by size in ms."""
        return {
            key.size_ms: history
            for kept in self._kept.values()
            for key, history in kept.histories.items()
            if key.stream == stream
        }

    def published(self, stream: str) -> dict[Window, WindowResult]:
        """Return the stream's results that are still open to correction, and the newest of each size."""
        return {
            key.window: published
            for kept in self._kept.values()
            for key, published in kept.published.items()
            if key.stream == stream
        }

    def newest(self) -> Mapping[tuple[str, int], WindowResult]:
        """Return the newest window published of each stream and window size in ms."""
        return self._newest

    def lanes(self, stream: str) -> Mapping[Partition, StreamProgress | None]:
        """Return how far the stream has come on every partition; None where nobody knows."""
        if stream not in self._lanes:
            # A partition that was added may be counted before word of it has come here otherwise.
            partitions = self._expected | {at for at, kept in self._kept.items() if kept.progress is not None}
            progress = {partition: self.progress(partition) for partition in partitions}
            self._lanes[stream] = {
                partition: None if known is None else known.streams.get(stream)
                for partition, known in progress.items()
            }
        return self._lanes[stream]

    def watermark_ms(self, stream: str, disorder_ms: int) -> int | None:
        """Return the stream's watermark, ms: the lowest over its partitions; None while one is unknown.

        A partition's is what it has reached minus the allowed disorder. An idle one has reached
        what the stream had come to when it was proven idle.
        """
        reached = [lane.reached_ms if lane else None for lane in self.lanes(stream).values()]
        known = [time_ms for time_ms in reached if time_ms is not None]
        return min(known) - disorder_ms if known and len(known) == len(reached) else None

    def newest_ms(self, stream: str) -> int | None:
        """Return the highest event time seen on any partition, ms."""
        times = (lane.newest_ms for lane in self.lanes(stream).values() if lane is not None)
        return max((time_ms for time_ms in times if time_ms is not None), default=None)

    def open_windows(self, stream: str, sizes_ms: tuple[int, ...]) -> dict[int, int]:
        """Return how many windows of each size, ms, hold events and are still open to correction."""
        final_ms = self.final_ms(stream) or 0
        version = self._shapes.get(stream), final_ms, sizes_ms
        known = self._open_windows.get(stream)
        if known is None or known[0] != version:
            known = self._open_windows[stream] = version, self._count_windows(stream, sizes_ms, final_ms)
        return known[1]

    def _count_windows(self, stream: str, sizes_ms: tuple[int, ...], final_ms: int) -> dict[int, int]:
        starts = {pane.start_ms for pane in self.all_panes(stream)}
        windows = {size: {start - start % size for start in starts} for size in sizes_ms}
        return {size: sum(start + size > final_ms for start in windows[size]) for size in sizes_ms}

    def is_silent(self, stream: str) -> bool:
        """Tell whether every partition was proven idle after the stream's last event anywhere."""
        newest_ms = self.newest_ms(stream)
        return newest_ms is not None and all(
            lane is not None and lane.idle_to_ms is not None and lane.idle_to_ms >= newest_ms
            for lane in self.lanes(stream).values()
        )

    def horizon_ms(self, stream: str) -> int | None:
        """Return the purge horizon that every partition has applied, ms; None while one has none."""
        applied = [lane.horizon_ms if lane else None for lane in self.lanes(stream).values()]
        known = [time_ms for time_ms in applied if time_ms is not None]
        return min(known) if known and len(known) == len(applied) else None

    def eras(self, stream: str) -> Eras:
        """Return which baseline is in force when."""
        return Eras([lane.counting if lane else () for lane in self.lanes(stream).values()])

    def baseline(self, baseline: str) -> bytes | None:
        """Return a baseline's file, by its key; None where it is not kept, or not whole."""
        for kept in self._kept.values():
            for number in {key.parts for key in kept.parts if key.baseline == baseline}:
                keys = [BaselineKey(baseline, place, number) for place in range(number)]
                if all(key in kept.parts for key in keys):
                    return b"".join(kept.parts[key] for key in keys)
        return None

    def baselines(self, partition: Partition) -> set[str]:
        """Return the keys of the baselines whose files a partition keeps whole."""
        numbers = Counter((key.baseline, key.parts) for key in self.baseline_parts(partition))
        return {baseline for (baseline, parts), number in numbers.items() if number == parts}

    def baseline_parts(self, partition: Partition) -> Iterable[BaselineKey]:
        """Return the keys of the baselines' parts that a partition keeps."""
        return tuple(self._kept[partition].parts) if partition in self._kept else ()

    def counts_against(self, baseline: str) -> bool:
        """Tell whether some partition counts some stream against a baseline."""
        return any(
            entry.baseline == baseline
            for kept in self._kept.values()
            if kept.progress is not None
            for lane in kept.progress.streams.values()
            for entry in lane.counting
        )

    def _apply_pane(self, kept: _Kept, key: PaneKey, values: NDArray[np.int64] | None) -> None:
        place, start_ms = (key.stream, key.baseline, key.segment), key.pane.start_ms
        totals = self._totals.setdefault(place, {}).setdefault(key.pane.size_ms, {})
        before = kept.panes.get(key)
        total = totals.get(start_ms)
        if before is not None and total is not None:
            total = total - before
        if values is not None:
            total = values if total is None else total + values
        _put(kept.panes, key, values)
        changed = self._changed.setdefault(place, set())
        if total is None or not total.any():
            self._shapes[key.stream] += totals.pop(start_ms, None) is not None
            changed.discard(key.pane)
        else:
            self._shapes[key.stream] += start_ms not in totals
            totals[start_ms] = total
            changed.add(key.pane)

    def _show(self, published: WindowResult) -> None:
        place = published.stream, published.window.size_ms
        shown = self._newest.get(place)
        if shown is None or (published.window.end_ms, published.revision) >= (
            shown.window.end_ms,
            shown.revision,
        ):
            self._newest[place] = published


def _starts(window: Window, length_ms: int) -> range:
    """Return where the panes of a length start that lie within a window."""
    first_ms = -(-window.start_ms // length_ms) * length_ms
    return range(first_ms, window.end_ms - length_ms + 1, length_ms)


def _put(held: dict[_K, _V], key: _K, value: _V | None) -> None:
    if value is None:
        held.pop(key, None)
    else:
        held[key] = value
