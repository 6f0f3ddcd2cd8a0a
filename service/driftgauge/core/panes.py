"""Event time to counts: a histogram per partition and pane, from which every window is summed."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Panes"]


@dataclass(slots=True)
class _Pane:
    counts: NDArray[np.int64]  # (k,)
    first_offset: int


class Panes:
    """The open counts of one stream: (partition, pane) -> histogram of integers.

    A pane is the longest stretch of event time that every window size is a multiple of, so an
    event is counted once however many windows it falls into (J. Li et al., No pane, no gain,
    SIGMOD Record 34(1), 2005).

    Each pane remembers the offset of its first event: a reader that starts again from the lowest
    of these rebuilds every open pane in full.
    """

    def __init__(self, pane_ms: int, clusters: int) -> None:
        self._pane_ms = pane_ms
        self._clusters = clusters
        self._panes: dict[int, dict[int, _Pane]] = {}  # start of the pane, ms -> partition -> pane

    def add(
        self,
        partition: NDArray[np.int32],
        offset: NDArray[np.int64],
        time_ms: NDArray[np.int64],
        cluster: NDArray[np.intp],
    ) -> None:
        """Count n events, at least one; the columns are (n,), and offsets grow within a partition."""
        # One number for pane and partition: np.unique on pairs takes fifteen times as long.
        stride = int(partition.max()) + 1
        keys, first, group = np.unique(
            time_ms // self._pane_ms * stride + partition, return_index=True, return_inverse=True
        )
        cells = group * self._clusters + cluster
        counts = np.bincount(cells, minlength=len(keys) * self._clusters)
        counts = counts.astype(np.int64, copy=False).reshape(len(keys), self._clusters)
        for key, row, added in zip(keys.tolist(), first, counts, strict=True):
            number, source = divmod(key, stride)
            by_partition = self._panes.setdefault(number * self._pane_ms, {})
            pane = by_partition.get(source)
            if pane is None:
                by_partition[source] = _Pane(added.copy(), int(offset[row]))
            else:
                pane.counts += added

    def starts(self) -> Iterable[int]:
        """Return the starts of the open panes, ms."""
        return self._panes.keys()

    def total(self, start_ms: int, end_ms: int) -> NDArray[np.int64]:
        """Return the (k,) counts of event time [start, end), summed over panes and partitions."""
        total = np.zeros(self._clusters, dtype=np.int64)
        for pane_start in range(start_ms, end_ms, self._pane_ms):
            for pane in self._panes.get(pane_start, {}).values():
                total += pane.counts
        return total

    def drop(self, starts: Iterable[int]) -> None:
        """Forget panes."""
        for start in starts:
            del self._panes[start]

    def first_offsets(self) -> dict[int, int]:
        """Return, by partition, the lowest offset of an event in an open pane."""
        first: dict[int, int] = {}
        for by_partition in self._panes.values():
            for partition, pane in by_partition.items():
                first[partition] = min(pane.first_offset, first.get(partition, pane.first_offset))
        return first
