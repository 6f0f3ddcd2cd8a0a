"""The panes of one stream: tallies and examples by scheme, segment and pane."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import Example, examples_by_cluster, merge_examples
from driftgauge.core.reference import Segment
from driftgauge.core.windows.changelog import ExamplesKey, PaneKey
from driftgauge.core.windows.pane_map import PaneMap
from driftgauge.core.windows.window import Window

__all__ = ["PaneStore"]

_SchemeSegment = tuple[str, Segment | None]


class PaneStore:
    """The tallies and examples of one stream."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._tallies: dict[_SchemeSegment, PaneMap[NDArray[np.int64]]] = {}
        self._examples: dict[str, PaneMap[tuple[Example, ...]]] = {}

    def get(self, key: PaneKey | ExamplesKey) -> Any:
        """Return the tally or the examples of a pane; None where the pane is missing."""
        return self._panes_of(key).get(key.pane)

    def put(self, key: PaneKey | ExamplesKey, value: Any) -> None:
        """Set the tally or the examples of a pane."""
        self._panes_of(key).put(key.pane, value)

    def add_tally(self, key: PaneKey, values: NDArray[np.int64]) -> None:
        """Add (scheme.length,) int64 values to the tally of a pane."""
        before = self.get(key)
        # Not in place: drained entries share the array.
        self.put(key, values if before is None else before + values)

    def add_examples(self, key: ExamplesKey, examples: tuple[Example, ...]) -> bool:
        """Merge examples into those of a pane; return whether they have changed."""
        before = self.get(key) or ()
        merged = merge_examples((before, examples))
        if merged != before:
            self.put(key, merged)
        return merged != before

    def tally(self, scheme: str, window: Window, segment: Segment | None = None) -> NDArray[np.int64] | None:
        """Return a window's tally under a scheme, (scheme.length,) int64; None where no pane was counted."""
        total = None
        for values in self._tallies.get((scheme, segment), PaneMap()).within(window):
            total = values if total is None else total + values
        return total

    def schemes(self, window: Window) -> set[str]:
        """Return the schemes under which events of a window were, or may have been, counted."""
        return {
            scheme
            for (scheme, segment), panes in self._tallies.items()
            if segment is None and panes.overlaps(window)
        }

    def examples(self, scheme: str, window: Window) -> dict[int, tuple[Example, ...]]:
        """Return a window's examples by cluster."""
        return examples_by_cluster(self._examples.get(scheme, PaneMap()).within(window))

    def starts(self) -> set[int]:
        """Return the start times of the panes that hold events, event time in ms."""
        whole = (panes for (_, segment), panes in self._tallies.items() if segment is None)
        return set().union(*(panes.starts() for panes in whole))

    def purge(self, settled_ms: int, at_most: int) -> tuple[list[PaneKey | ExamplesKey], bool]:
        """Delete at most this many panes that end at or before an event time.

        Returns:
            The deleted keys, and whether no such pane is left.
        """
        stale: list[PaneKey | ExamplesKey] = [
            PaneKey(self._stream, scheme, pane, segment)
            for (scheme, segment), panes in self._tallies.items()
            for pane in panes
            if pane.end_ms <= settled_ms
        ]
        stale += [
            ExamplesKey(self._stream, scheme, pane)
            for scheme, panes in self._examples.items()
            for pane in panes
            if pane.end_ms <= settled_ms
        ]
        purged = stale[:at_most]
        for key in purged:
            self._panes_of(key).remove(key.pane)
        return purged, len(stale) <= at_most

    def _panes_of(self, key: PaneKey | ExamplesKey) -> PaneMap[Any]:
        if isinstance(key, PaneKey):
            return self._tallies.setdefault((key.scheme, key.segment), PaneMap())
        return self._examples.setdefault(key.scheme, PaneMap())
