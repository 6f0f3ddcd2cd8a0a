"""Event time to counts: a histogram per partition and pane, from which every window is summed."""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["Panes"]


class Panes:
    """The counts of one stream against one baseline: (partition, pane) -> histogram of integers.

    A pane is the longest stretch of event time that every window size is a multiple of, so an
    event is counted once however many windows it falls into (J. Li et al., No pane, no gain,
    SIGMOD Record 34(1), 2005).
    """

    def __init__(self, pane_ms: int, clusters: int) -> None:
        self._pane_ms = pane_ms
        self._clusters = clusters
        self._panes: dict[tuple[int, int], NDArray[np.int64]] = {}  # (pane's start, partition) -> (k,)
        self._changed: set[tuple[int, int]] = set()

    def add(
        self, partition: NDArray[np.int32], time_ms: NDArray[np.int64], cluster: NDArray[np.intp]
    ) -> None:
        """Count n events, at least one; the columns are (n,)."""
        # One number for pane and partition: np.unique on pairs takes fifteen times as long.
        stride = int(partition.max()) + 1
        keys, group = np.unique(time_ms // self._pane_ms * stride + partition, return_inverse=True)
        cells = group * self._clusters + cluster
        counts = np.bincount(cells, minlength=len(keys) * self._clusters)
        counts = counts.astype(np.int64, copy=False).reshape(len(keys), self._clusters)
        for key, added in zip(keys.tolist(), counts, strict=True):
            number, source = divmod(key, stride)
            place = number * self._pane_ms, source
            held = self._panes.get(place)
            # Never in place: what `take_changed` gave away is somebody else's.
            self._panes[place] = added.copy() if held is None else held + added
            self._changed.add(place)

    def restore(self, partition: int, start_ms: int, counts: NDArray[np.int64]) -> None:
        """Take in a pane as it was kept."""
        self._panes[start_ms, partition] = counts

    def take_changed(self) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """Yield (partition, pane's start, counts) of each pane counted into since last asked."""
        changed, self._changed = self._changed, set()
        for start_ms, partition in sorted(changed):
            yield partition, start_ms, self._panes[start_ms, partition]

    def places(self) -> Collection[tuple[int, int]]:
        """Return the (pane's start, partition) of every pane held."""
        return self._panes.keys()

    def drop(self, start_ms: int, partition: int) -> None:
        """Forget a pane."""
        del self._panes[start_ms, partition]
        self._changed.discard((start_ms, partition))

    def touch(self) -> None:
        """Take every pane for changed."""
        self._changed = set(self._panes)
