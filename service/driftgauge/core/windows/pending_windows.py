"""The windows of one stream that a closing round may have to publish, ordered by their end."""

from heapq import heappop, heappush

from driftgauge.core.window import Window
from driftgauge.core.windows.closing_round import ClosingRound, Missing
from driftgauge.core.windows.source_progress import FOREVER_MS

__all__ = ["AwaitingWindows", "PendingWindows"]


class PendingWindows:
    """A set of windows that yields those that are due, oldest end first, without looking at the others."""

    def __init__(self) -> None:
        # By size, ms: the starts of the windows as a heap, and as a set.
        self._starts_ms: dict[int, tuple[list[int], set[int]]] = {}

    def __len__(self) -> int:
        return sum(len(known) for _, known in self._starts_ms.values())

    def add(self, window: Window) -> None:
        """Add a window; one that is there already changes nothing."""
        heap, known = self._starts_ms.setdefault(window.size_ms, ([], set()))
        if window.start_ms not in known:
            known.add(window.start_ms)
            heappush(heap, window.start_ms)

    def pop_due(self, due_to_ms: int) -> Window | None:
        """Remove the window with the least end, and of these the shortest; None if none ends by that time."""
        ends = [(heap[0] + size_ms, size_ms) for size_ms, (heap, _) in self._starts_ms.items() if heap]
        if not ends or min(ends)[0] > due_to_ms:
            return None
        _, size_ms = min(ends)
        heap, known = self._starts_ms[size_ms]
        start_ms = heappop(heap)
        known.discard(start_ms)
        return Window(size_ms, start_ms)

    def least_end_ms(self) -> int:
        """Return the least end of all windows; `FOREVER_MS` if there is no window."""
        return min(
            (heap[0] + size_ms for size_ms, (heap, _) in self._starts_ms.items() if heap), default=FOREVER_MS
        )

    def least_start_ms(self, due_to_ms: int) -> int | None:
        """Return the least start of the windows that end by a time; None if there is no such window."""
        return min(
            (
                heap[0]
                for size_ms, (heap, _) in self._starts_ms.items()
                if heap and heap[0] + size_ms <= due_to_ms
            ),
            default=None,
        )


class AwaitingWindows:
    """The windows that were published without some partitions, and these partitions."""

    def __init__(self) -> None:
        self._missing: dict[Window, Missing] = {}
        # No window ends outside of this interval; a narrower one would have to be searched for.
        self._ends_ms: tuple[int, int] | None = None
        self._outlook: tuple[object, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._missing)

    def add(self, window: Window, missing: Missing) -> None:
        """Add a window that was published without these partitions."""
        first_ms, last_ms = self._ends_ms or (window.end_ms, window.end_ms)
        self._ends_ms = min(first_ms, window.end_ms), max(last_ms, window.end_ms)
        self._missing[window] = missing

    def discard(self, window: Window) -> None:
        """Remove a window if it is there."""
        self._missing.pop(window, None)
        if not self._missing:
            self._ends_ms = None

    def find_changed(self, round_: ClosingRound) -> list[Window]:
        """Return the windows for which other partitions are missing than when they were published."""
        if self._ends_ms is None or round_.outlook(*self._ends_ms) == self._outlook:
            return []
        return [
            window
            for window, missing in self._missing.items()
            if window.end_ms <= round_.due_to_ms and round_.missing_by(window.end_ms) != missing
        ]

    def end_round(self, round_: ClosingRound) -> None:
        """Note that all windows were asked by a round."""
        self._outlook = () if self._ends_ms is None else round_.outlook(*self._ends_ms)
