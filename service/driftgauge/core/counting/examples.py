"""Example events of each cluster: a mergeable bottom-k sample, the same for any split of the events."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.event_ids import rank_ids

__all__ = [
    "MAX_EXAMPLES",
    "Example",
    "ExampleSampler",
    "can_be_example",
    "examples_by_cluster",
    "merge_examples",
]

MAX_EXAMPLES = 3
"""The most examples of a cluster in a pane."""


class Example(NamedTuple):
    """An example event of a cluster; a tuple, because merging compares many.

    Attributes:
        cluster: The cluster.
        rank: The CRC-32 of its name; the lowest ranks of a cluster are its examples.
        event_id: Its name, which the producer assigned.
        snippet: The beginning of its text; empty where none is kept.
    """

    cluster: int
    rank: int
    event_id: str
    snippet: str = ""


class ExampleSampler:
    """Samples the events of one stream: a few of each cluster and pane.

    The events with the lowest hashes are a mergeable sample (bottom-k sampling: E. Cohen and H. Kaplan,
    Summarizing data using bottom-k sketches, PODC 2007).

    Attributes:
        panes: The examples of each pane, sorted, by its start, event time in ms.
    """

    def __init__(self, pane_ms: int, snippet_bytes: int = 0) -> None:
        self._pane_ms = pane_ms
        self._snippet_bytes = snippet_bytes
        self.panes: dict[int, tuple[Example, ...]] = {}

    def add(
        self,
        time_ms: NDArray[np.int64],
        cluster: NDArray[np.intp],
        event_ids: Sequence[str | None],
        snippets: Sequence[str | None] = (),
    ) -> None:
        """Sample among n events; the columns are (n,), that of the snippets may be empty."""
        ranks = rank_ids(event_ids)
        panes = time_ms // self._pane_ms * self._pane_ms
        # Sort by pane, cluster and rank, and drop events that are no examples.
        order = np.lexsort((ranks, cluster, panes))
        order = order[ranks[order] >= 0]
        cells = np.stack((panes, cluster, ranks))[:, order]
        differs = np.ones(cells.shape, dtype=np.bool_)
        differs[:, 1:] = cells[:, 1:] != cells[:, :-1]
        starts = np.flatnonzero(differs[:2].any(axis=0))
        # Distinct ranks are counted, not events: a name may occur twice, and two names may share a rank.
        numbers = np.cumsum(differs.any(axis=0))
        positions: NDArray[np.int64] = numbers - np.repeat(
            numbers[starts], np.diff(np.append(starts, len(order)))
        )
        sampled: dict[int, list[Example]] = {}
        for row in order[positions < MAX_EXAMPLES].tolist():
            # A character that is cut is dropped.
            text = ((snippets[row] if snippets else None) or "").encode()[: self._snippet_bytes]
            snippet = text.decode(errors="ignore")
            example = Example(int(cluster[row]), int(ranks[row]), event_ids[row] or "", snippet)
            sampled.setdefault(int(panes[row]), []).append(example)
        for start_ms, examples in sampled.items():
            self.panes[start_ms] = merge_examples((self.panes.get(start_ms, ()), examples))


def can_be_example(name: str | None) -> bool:
    """Return whether an event of this name may be an example: printable, and of at most 64 bytes."""
    return bool(rank_ids([name])[0] >= 0)


def merge_examples(samples: Iterable[Iterable[Example]]) -> tuple[Example, ...]:
    """Return the sample of the union of samples, sorted: each cluster's lowest ranks."""
    clusters: dict[int, set[Example]] = {}
    for examples in samples:
        for example in examples:
            clusters.setdefault(example.cluster, set()).add(example)
    return tuple(example for _, union in sorted(clusters.items()) for example in sorted(union)[:MAX_EXAMPLES])


def examples_by_cluster(samples: Iterable[Iterable[Example]]) -> dict[int, tuple[Example, ...]]:
    """Return the merged samples' examples, by cluster."""
    found: dict[int, tuple[Example, ...]] = {}
    for example in merge_examples(samples):
        found[example.cluster] = (*found.get(example.cluster, ()), example)
    return found
