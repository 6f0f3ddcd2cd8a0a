"""Event time to tallies: one per partition, pane and segment, from which every window is summed."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.tally import tally_batch

__all__ = ["PanePlace", "Panes"]


@dataclass(frozen=True, slots=True, order=True)
class PanePlace:
    """Where a tally belongs.

    Attributes:
        start_ms: The pane's start.
        partition: The partition's code.
        segment: 0 for all events, or the number of a segment.
    """

    start_ms: int
    partition: int
    segment: int


class Panes:
    """The tallies of one stream against one baseline.

    A pane is the longest stretch of event time that every window size is a multiple of, so an
    event is counted once however many windows it falls into (J. Li et al., No pane, no gain,
    SIGMOD Record 34(1), 2005).
    """

    def __init__(self, pane_ms: int, clusters: int, segments: int) -> None:
        """Hold nothing.

        Args:
            pane_ms: The length of a pane.
            clusters: k.
            segments: How many numbers segments have, 0 among them.
        """
        self._pane_ms = pane_ms
        self._clusters = clusters
        self._segments = segments
        self._panes: dict[PanePlace, NDArray[np.int64]] = {}
        self._changed: set[PanePlace] = set()

    def add(
        self,
        partition: NDArray[np.int32],
        time_ms: NDArray[np.int64],
        segment: NDArray[np.intp],
        *,
        cluster: NDArray[np.intp],
        beyond: NDArray[np.bool_],
        places: NDArray[np.int64],
    ) -> None:
        """Count n events, at least one; `places` is (n, r), the other columns are (n,)."""
        # One number for all three: np.unique on pairs takes fifteen times as long.
        stride = int(partition.max()) + 1
        numbers = (time_ms // self._pane_ms * stride + partition) * self._segments + segment
        keys, group = np.unique(numbers, return_inverse=True)
        tallies = tally_batch(group, len(keys), self._clusters, cluster=cluster, beyond=beyond, places=places)
        for key, added in zip(keys.tolist(), tallies, strict=True):
            rest, number = divmod(key, self._segments)
            pane, source = divmod(rest, stride)
            place = PanePlace(pane * self._pane_ms, source, number)
            held = self._panes.get(place)
            # Never in place: what `take_changed` gave away is somebody else's.
            self._panes[place] = added.copy() if held is None else held + added
            self._changed.add(place)

    def restore(self, place: PanePlace, values: NDArray[np.int64]) -> None:
        """Take in a tally as it was kept."""
        self._panes[place] = values

    def take_changed(self) -> Iterator[tuple[PanePlace, NDArray[np.int64]]]:
        """Yield the tallies counted into since last asked, and where they belong."""
        changed, self._changed = self._changed, set()
        for place in sorted(changed):
            yield place, self._panes[place]

    def places(self) -> Collection[PanePlace]:
        """Return where every tally held belongs."""
        return self._panes.keys()

    def drop(self, place: PanePlace) -> None:
        """Forget a tally."""
        del self._panes[place]
        self._changed.discard(place)

    def touch(self) -> None:
        """Take every tally for changed."""
        self._changed = set(self._panes)
