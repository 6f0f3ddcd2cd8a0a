"""Examples of clusters, and the farthest events: mergeable samples, the same for any split of the events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.event_ids import rank_ids

__all__ = [
    "MAX_EXAMPLES",
    "MAX_FARTHEST",
    "Example",
    "ExampleSampler",
    "Examples",
    "FarExample",
    "can_be_example",
    "merge_examples",
]

MAX_EXAMPLES = 3
"""The most examples of a cluster in a pane."""

MAX_FARTHEST = 6
"""The most of the farthest events in a pane."""


class Example(NamedTuple):
    """An example event of a cluster; a tuple, because merging compares many.

    Attributes:
        cluster: The cluster.
        rank: The CRC-32 of its name; the lowest ranks of a cluster are its examples, one
            of each rank.
        event_id: Its name, which the producer assigned.
        snippet: The beginning of its text; empty if none is kept.
    """

    cluster: int
    rank: int
    event_id: str
    snippet: str = ""


class FarExample(NamedTuple):
    """An event beyond the radius of its cluster.

    Attributes:
        distance: Its distance to the centroid, in thousandths of the radius, rounded down.
        rank: The CRC-32 of its name; of equal distances the lowest ranks come first. Of one rank, only the
            farthest event is kept.
        event_id: Its name, which the producer assigned.
        snippet: The beginning of its text; empty if none is kept.
    """

    distance: int
    rank: int
    event_id: str
    snippet: str = ""


_ExampleT = TypeVar("_ExampleT", Example, FarExample)


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of the events of one or more panes.

    Attributes:
        examples: Those of each cluster, sorted.
        farthest: The events that lie farthest beyond the radius of their cluster, the farthest first.
    """

    examples: tuple[Example, ...] = ()
    farthest: tuple[FarExample, ...] = ()

    @property
    def by_cluster(self) -> dict[int, tuple[Example, ...]]:
        """The examples of each cluster that has any."""
        found: dict[int, tuple[Example, ...]] = {}
        for example in self.examples:
            found[example.cluster] = (*found.get(example.cluster, ()), example)
        return found


class ExampleSampler:
    """Samples the events of one stream: a few of each cluster and pane, and the farthest of each pane.

    The events with the lowest hashes are a mergeable sample (bottom-k sampling: E. Cohen and H. Kaplan,
    Summarizing data using bottom-k sketches, PODC 2007), and so are those with the largest distances.

    Attributes:
        panes: The examples of each pane, by its start, event time in ms.
    """

    def __init__(self, pane_ms: int, snippet_bytes: int = 0) -> None:
        self._pane_ms = pane_ms
        self._snippet_bytes = snippet_bytes
        self.panes: dict[int, Examples] = {}

    def add(
        self,
        time_ms: NDArray[np.int64],
        cluster: NDArray[np.intp],
        beyond: NDArray[np.int64],
        event_ids: Sequence[str | None],
        snippets: Sequence[str | None] = (),
    ) -> None:
        """Sample among n events; the columns are (n,), that of the snippets may be empty.

        `beyond` has the distances, as `MeasuredEvents.beyond` measures them.
        """
        ranks = rank_ids(event_ids)
        panes = time_ms // self._pane_ms * self._pane_ms
        can_be = ranks >= 0
        sampled: dict[int, list[Examples]] = {}

        def name(row: int) -> tuple[int, str, str]:
            # A character that is cut is dropped.
            text = ((snippets[row] if snippets else None) or "").encode()[: self._snippet_bytes]
            return int(ranks[row]), event_ids[row] or "", text.decode(errors="ignore")

        for row in _first((panes, cluster), (ranks,), can_be, MAX_EXAMPLES):
            found = Examples(examples=(Example(int(cluster[row]), *name(row)),))
            sampled.setdefault(int(panes[row]), []).append(found)
        is_far = can_be & (beyond >= self._least_far(panes))
        # Of one name in a pane, the farthest event.
        is_far[is_far] = _are_first((panes[is_far], ranks[is_far]), -beyond[is_far])
        for row in _first((panes,), (-beyond, ranks), is_far, MAX_FARTHEST) if is_far.any() else ():
            found = Examples(farthest=(FarExample(int(beyond[row]), *name(row)),))
            sampled.setdefault(int(panes[row]), []).append(found)
        for start_ms, examples in sampled.items():
            before = self.panes.get(start_ms, Examples())
            self.panes[start_ms] = merge_examples((before, *examples))

    def _least_far(self, panes: NDArray[np.int64]) -> int:
        """Return the distance that an event needs to be among the farthest of the panes of n events, (n,)."""
        if not len(panes) or panes.min() != panes.max():
            return 0
        found = self.panes.get(int(panes[0]), Examples()).farthest
        return found[-1].distance if len(found) == MAX_FARTHEST else 0


def _are_first(group: Sequence[NDArray[np.int64]], order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of n rows, (n,) bool, have the smallest number of their group."""
    rows = np.lexsort((order, *group))
    cells, ordered = np.stack(group)[:, rows], order[rows]
    starts = np.flatnonzero(np.insert((cells[:, 1:] != cells[:, :-1]).any(axis=0), 0, values=len(rows) > 0))
    first = np.zeros(len(rows), np.bool_)
    first[rows] = ordered == np.repeat(ordered[starts], np.diff(np.append(starts, len(rows))))
    return first


def _first(
    group: Sequence[NDArray[np.int64]],
    order: Sequence[NDArray[np.int64]],
    mask: NDArray[np.bool_],
    most: int,
) -> list[int]:
    """Return the first rows of each group, in an order, among those for which the (n,) mask is true.

    Distinct numbers are counted, not events: a name may occur twice, and two names may share a rank.
    """
    rows = np.flatnonzero(mask)
    cells = np.stack([column[rows] for column in (*group, *order)])
    ordered = np.lexsort(cells[::-1])
    cells = cells[:, ordered]
    differs = np.ones(cells.shape, dtype=np.bool_)
    differs[:, 1:] = cells[:, 1:] != cells[:, :-1]
    starts = np.flatnonzero(differs[: len(group)].any(axis=0))
    numbers = np.cumsum(differs.any(axis=0))
    lengths = np.diff(np.append(starts, len(ordered)))
    positions: NDArray[np.int64] = numbers - np.repeat(numbers[starts], lengths)
    first: list[int] = rows[ordered[positions < most]].tolist()
    return first


def can_be_example(name: str | None) -> bool:
    """Return whether an event of this name may be an example: printable, and of at most 64 bytes."""
    return bool(rank_ids([name])[0] >= 0)


def merge_examples(samples: Iterable[Examples]) -> Examples:
    """Return the sample of the union of samples: each cluster's lowest ranks, and the farthest of all."""
    clusters: dict[int, set[Example]] = {}
    farthest: set[FarExample] = set()
    for sample in samples:
        farthest.update(sample.farthest)
        for example in sample.examples:
            clusters.setdefault(example.cluster, set()).add(example)
    return Examples(
        tuple(
            example
            for _, union in sorted(clusters.items())
            for example in _distinct(sorted(union))[:MAX_EXAMPLES]
        ),
        _distinct(sorted(farthest, key=lambda each: (-each.distance, each[1:])))[:MAX_FARTHEST],
    )


def _distinct(ordered: Iterable[_ExampleT]) -> tuple[_ExampleT, ...]:
    """Return the first of each rank."""
    first: dict[int, _ExampleT] = {}
    for example in ordered:
        first.setdefault(example.rank, example)
    return tuple(first.values())
