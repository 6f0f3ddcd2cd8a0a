"""Some events of each cluster by name, chosen so that any split of the events chooses the same."""

import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_EXAMPLES", "MAX_NAME_BYTES", "Example", "Examples", "merge"]

MAX_EXAMPLES = 3
"""So many events of each cluster are remembered of a pane."""

MAX_NAME_BYTES = 64
"""Events with longer names are no examples: the state must hold them, whatever producers think of."""


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """An event of a cluster.

    Attributes:
        cluster: The cluster.
        rank: The CRC-32 of its name: of a cluster's events those of the lowest ranks are examples.
        event_id: The name that the producer gave it.
    """

    cluster: int
    rank: int
    event_id: str


class Examples:
    """The examples of one stream against one baseline: (pane, partition) -> a few of each cluster.

    The lowest of a hash are a sample that can be merged (bottom-k sampling: E. Cohen and H. Kaplan,
    Summarizing data using bottom-k sketches, PODC 2007).
    """

    def __init__(self, pane_ms: int) -> None:
        self._pane_ms = pane_ms
        self._held: dict[tuple[int, int], dict[int, list[Example]]] = {}  # (pane's start, partition)
        self._changed: set[tuple[int, int]] = set()

    def add(
        self,
        partition: NDArray[np.int32],
        time_ms: NDArray[np.int64],
        cluster: NDArray[np.intp],
        event_ids: Sequence[str | None],
    ) -> None:
        """Choose among n events; the columns are (n,)."""
        ranks = np.array([_rank(name) for name in event_ids])
        panes = time_ms // self._pane_ms * self._pane_ms
        # The lowest ranks of each pane, partition and cluster stand first among their like.
        order = np.lexsort((ranks, cluster, partition, panes))
        order = order[ranks[order] >= 0]
        cells = np.stack((panes, partition, cluster, ranks))[:, order]
        differs = np.ones(cells.shape, dtype=np.bool_)
        differs[:, 1:] = cells[:, 1:] != cells[:, :-1]
        starts = np.flatnonzero(differs[:3].any(axis=0))
        # Names are counted, not events: one may come twice, and two may share a rank.
        numbers = np.cumsum(differs.any(axis=0))
        places: NDArray[np.int64] = numbers - np.repeat(
            numbers[starts], np.diff(np.append(starts, len(order)))
        )
        for row in order[places < MAX_EXAMPLES].tolist():
            example = Example(int(cluster[row]), int(ranks[row]), event_ids[row] or "")
            self._take((int(panes[row]), int(partition[row])), example)

    def restore(self, partition: int, start_ms: int, examples: Iterable[Example]) -> None:
        """Take in the examples of a pane as they were kept."""
        held = self._held.setdefault((start_ms, partition), {})
        for example in examples:
            held.setdefault(example.cluster, []).append(example)

    def take_changed(self) -> Iterator[tuple[int, int, tuple[Example, ...]]]:
        """Yield (partition, pane's start, examples) of each pane whose examples changed since last asked."""
        changed, self._changed = self._changed, set()
        for place in sorted(changed):
            start_ms, partition = place
            examples = sorted(example for held in self._held[place].values() for example in held)
            yield partition, start_ms, tuple(examples)

    def places(self) -> Collection[tuple[int, int]]:
        """Return the (pane's start, partition) of every pane held."""
        return self._held.keys()

    def drop(self, start_ms: int, partition: int) -> None:
        """Forget a pane."""
        del self._held[start_ms, partition]
        self._changed.discard((start_ms, partition))

    def touch(self) -> None:
        """Take every pane for changed."""
        self._changed = set(self._held)

    def _take(self, place: tuple[int, int], example: Example) -> None:
        held = self._held.setdefault(place, {}).setdefault(example.cluster, [])
        # A name that comes twice is one example.
        if example in held or (len(held) == MAX_EXAMPLES and example > held[-1]):
            return
        held.append(example)
        held.sort()
        del held[MAX_EXAMPLES:]
        self._changed.add(place)


def _rank(name: str | None) -> int:
    """Return an event's rank; -1 where it is no example."""
    if not name or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        return -1
    return zlib.crc32(name.encode())


def merge(kept: Iterable[Iterable[Example]]) -> dict[int, tuple[str, ...]]:
    """Return the names of the examples of each cluster over several panes and partitions."""
    clusters: dict[int, set[Example]] = {}
    for examples in kept:
        for example in examples:
            clusters.setdefault(example.cluster, set()).add(example)
    return {
        cluster: tuple(example.event_id for example in sorted(found)[:MAX_EXAMPLES])
        for cluster, found in sorted(clusters.items())
    }
