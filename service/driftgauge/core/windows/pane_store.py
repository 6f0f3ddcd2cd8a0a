"""The panes of one stream: tallies and examples by scheme, segment and pane."""

from collections.abc import Collection, Iterator
from heapq import heappop, heappush
from itertools import chain
from typing import Any

from driftgauge.core.counting.examples import Examples, merge_examples
from driftgauge.core.reference import Segment
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import ExamplesKey, PaneCounts, PaneKey

__all__ = ["PaneStore"]


class PaneStore:
    """The tallies and examples of one stream, by the start of their pane, event time in ms.

    All panes of a scheme have one length, which is a part of the scheme's key.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._lengths_ms: dict[str, int] = {}  # by scheme
        self._tallies: dict[tuple[str, Segment | None], dict[int, PaneCounts]] = {}
        self._examples: dict[str, dict[int, Examples]] = {}
        # The same starts in heaps, because a purge must not look at the panes that stay.
        self._tally_starts: dict[tuple[str, Segment | None], list[int]] = {}
        self._example_starts: dict[str, list[int]] = {}

    def __len__(self) -> int:
        """The number of tallies."""
        return sum(map(len, self._tallies.values()))

    def get(self, key: PaneKey | ExamplesKey) -> Any:
        """Return the counts or the examples of a pane; None if the pane is missing."""
        return self._panes_of(key).get(key.pane.start_ms)

    def put(self, key: PaneKey | ExamplesKey, value: Any) -> None:
        """Set the counts or the examples of a pane."""
        self._lengths_ms[key.scheme] = key.pane.size_ms
        panes, start_ms = self._panes_of(key), key.pane.start_ms
        if start_ms not in panes:
            heappush(self._starts_of(key), start_ms)
        panes[start_ms] = value

    def add_counts(self, key: PaneKey, counts: PaneCounts) -> None:
        """Add counts to those of a pane."""
        before = self.get(key)
        # Not in place: drained entries share the arrays.
        self.put(key, counts if before is None else PaneCounts.sum((before, counts)))

    def add_examples(self, key: ExamplesKey, examples: Examples) -> bool:
        """Merge examples into those of a pane; return whether they have changed."""
        before = self.get(key) or Examples()
        merged = merge_examples((before, examples))
        if merged != before:
            self.put(key, merged)
        return merged != before

    @property
    def end_ms(self) -> int | None:
        """The end of the last pane; None without any."""
        held: list[tuple[str, Collection[int]]] = [*self._examples.items()]
        held += ((scheme, panes) for (scheme, _), panes in self._tallies.items())
        ends_ms = (max(panes) + self._lengths_ms[scheme] for scheme, panes in held if panes)
        return max(ends_ms, default=None)

    def counts(self, scheme: str, window: Window, segment: Segment | None = None) -> PaneCounts | None:
        """Return a window's counts under a scheme; None if no pane was counted."""
        panes = self._tallies.get((scheme, segment), {})
        found = [panes[start_ms] for start_ms in self._starts_ms(scheme, window, panes)]
        return PaneCounts.sum(found) if found else None

    def schemes(self, window: Window) -> set[str]:
        """Return the schemes under which events of a window were, or may have been, counted."""
        return {
            scheme
            for (scheme, segment), panes in self._tallies.items()
            if segment is None and any(True for _ in self._starts_ms(scheme, window, panes))
        }

    def examples(self, scheme: str, window: Window) -> Examples:
        """Return a window's examples."""
        panes = self._examples.get(scheme, {})
        return merge_examples(panes[start_ms] for start_ms in self._starts_ms(scheme, window, panes))

    def purge(self, purgeable_ms: int, at_most: int) -> tuple[list[PaneKey | ExamplesKey], bool]:
        """Delete at most this many panes that end at or before an event time.

        Returns:
            The deleted keys, and whether no such pane is left.
        """
        purged: list[PaneKey | ExamplesKey] = []
        for (scheme, segment), starts_ms in self._tally_starts.items():
            found = self._pop_ended(scheme, starts_ms, purgeable_ms, at_most - len(purged))
            purged += [PaneKey(self._stream, scheme, pane, segment) for pane in found]
        for scheme, starts_ms in self._example_starts.items():
            found = self._pop_ended(scheme, starts_ms, purgeable_ms, at_most - len(purged))
            purged += [ExamplesKey(self._stream, scheme, pane) for pane in found]
        for key in purged:
            del self._panes_of(key)[key.pane.start_ms]
        is_left = any(
            starts_ms and starts_ms[0] + self._lengths_ms[scheme] <= purgeable_ms
            for scheme, starts_ms in chain(
                ((scheme, starts_ms) for (scheme, _), starts_ms in self._tally_starts.items()),
                self._example_starts.items(),
            )
        )
        return purged, not is_left

    def _panes_of(self, key: PaneKey | ExamplesKey) -> dict[int, Any]:
        if isinstance(key, PaneKey):
            return self._tallies.setdefault((key.scheme, key.segment), {})
        return self._examples.setdefault(key.scheme, {})

    def _starts_of(self, key: PaneKey | ExamplesKey) -> list[int]:
        if isinstance(key, PaneKey):
            return self._tally_starts.setdefault((key.scheme, key.segment), [])
        return self._example_starts.setdefault(key.scheme, [])

    def _starts_ms(self, scheme: str, window: Window, panes: Collection[int]) -> Iterator[int]:
        """Return where those of some panes of a scheme start that overlap a window."""
        length_ms = self._lengths_ms.get(scheme, window.size_ms)
        starts_ms = range(window.start_ms - window.start_ms % length_ms, window.end_ms, length_ms)
        # Another program may write panes of a millisecond.
        few, many = sorted((starts_ms, panes), key=len)
        return (start_ms for start_ms in few if start_ms in many)

    def _pop_ended(self, scheme: str, starts_ms: list[int], purgeable_ms: int, at_most: int) -> list[Window]:
        """Take at most this many panes that end at or before an event time from a scheme's heap of starts."""
        length_ms = self._lengths_ms[scheme]
        found: list[Window] = []
        while starts_ms and starts_ms[0] + length_ms <= purgeable_ms and len(found) < at_most:
            found.append(Window(length_ms, heappop(starts_ms)))
        return found
