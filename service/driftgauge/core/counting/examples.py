"""Some events of each cluster by name, chosen so that any split of the events chooses the same."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_EXAMPLES", "MAX_NAME_BYTES", "Example", "ExampleSampler", "merge_examples", "name_examples"]

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


class ExampleSampler:
    """Samples the events of one stream: a few of each cluster for each pane.

    The lowest of a hash are a sample that can be merged (bottom-k sampling: E. Cohen and H. Kaplan,
    Summarizing data using bottom-k sketches, PODC 2007).
    """

    def __init__(self, pane_ms: int) -> None:
        self._pane_ms = pane_ms
        self._panes: dict[int, tuple[Example, ...]] = {}

    def add(
        self, time_ms: NDArray[np.int64], cluster: NDArray[np.intp], event_ids: Sequence[str | None]
    ) -> None:
        """Sample among n events; the columns are (n,)."""
        ranks = np.array([_rank(name) for name in event_ids])
        panes = time_ms // self._pane_ms * self._pane_ms
        # The lowest ranks of each pane and cluster stand first among their like.
        order = np.lexsort((ranks, cluster, panes))
        order = order[ranks[order] >= 0]
        cells = np.stack((panes, cluster, ranks))[:, order]
        differs = np.ones(cells.shape, dtype=np.bool_)
        differs[:, 1:] = cells[:, 1:] != cells[:, :-1]
        starts = np.flatnonzero(differs[:2].any(axis=0))
        # Names are counted, not events: one may come twice, and two may share a rank.
        numbers = np.cumsum(differs.any(axis=0))
        places: NDArray[np.int64] = numbers - np.repeat(
            numbers[starts], np.diff(np.append(starts, len(order)))
        )
        found: dict[int, list[Example]] = {}
        for row in order[places < MAX_EXAMPLES].tolist():
            example = Example(int(cluster[row]), int(ranks[row]), event_ids[row] or "")
            found.setdefault(int(panes[row]), []).append(example)
        for start_ms, examples in found.items():
            self._panes[start_ms] = merge_examples((self._panes.get(start_ms, ()), examples))

    def panes(self) -> Iterator[tuple[int, tuple[Example, ...]]]:
        """Yield the start of each pane, ms, and its examples, sorted."""
        yield from sorted(self._panes.items())


def merge_examples(samples: Iterable[Iterable[Example]]) -> tuple[Example, ...]:
    """Return the sample of the union of what was sampled, sorted: each cluster's lowest ranks."""
    clusters: dict[int, set[Example]] = {}
    for examples in samples:
        for example in examples:
            clusters.setdefault(example.cluster, set()).add(example)
    return tuple(example for _, found in sorted(clusters.items()) for example in sorted(found)[:MAX_EXAMPLES])


def name_examples(samples: Iterable[Iterable[Example]]) -> dict[int, tuple[str, ...]]:
    """Return the names of the merged examples by cluster."""
    names: dict[int, tuple[str, ...]] = {}
    for example in merge_examples(samples):
        names[example.cluster] = (*names.get(example.cluster, ()), example.event_id)
    return names


def _rank(name: str | None) -> int:
    """Return an event's rank; -1 where it is no example."""
    if not name or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        return -1
    return zlib.crc32(name.encode())
