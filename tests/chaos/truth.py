"""What must be counted, worked out from the events alone and with none of the service's code."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.chaos.workload import LOSSY, STREAMS, Fault, Workload

OF_OLD: Mapping[str, int] = {"1m": 60_000, "5m": 300_000}
# Short ones, for a run must not wait long for the last of them.
OF_LIVE: Mapping[str, int] = {"10s": 10_000, "30s": 30_000}
WINDOWS_MS: Mapping[str, Mapping[str, int]] = {
    stream: OF_LIVE if stream == "live" else OF_OLD for stream in (*STREAMS, LOSSY)
}

# Squared distance by which the second nearest centroid is farther than the nearest, at the least.
MARGIN = 1.0

WindowKey = tuple[str, str, int]
"""Stream, window size, start in ms."""

Counts = tuple[int, ...]
"""Events of each cluster."""


SeriesKey = tuple[str, str]
"""Stream, window size."""


@dataclass(frozen=True)
class Truth:
    """What must be counted.

    Attributes:
        on_time: The events of every window by cluster without those that are late.
        all: The same with them.
    """

    on_time: Mapping[WindowKey, Counts]
    all: Mapping[WindowKey, Counts]

    @classmethod
    def of(cls, workload: Workload, centroids: Mapping[str, NDArray[np.float32]]) -> "Truth":
        """The truth, given each stream's (k, d) centroids."""
        sound = workload.fault == Fault.NONE
        return cls(
            on_time=true_counts(workload, centroids, sound & ~workload.late),
            all=true_counts(workload, centroids, sound),
        )


def true_counts(
    workload: Workload, centroids: Mapping[str, NDArray[np.float32]], which: NDArray[np.bool_]
) -> dict[WindowKey, Counts]:
    """The events of every window by cluster, of those for which the (n,) mask is true."""
    counts: dict[WindowKey, Counts] = {}
    for number, stream in enumerate(STREAMS):
        rows = (workload.stream == number) & which
        cluster = nearest(workload.vectors[rows], centroids[stream])
        for window, size_ms in WINDOWS_MS[stream].items():
            numbers = count_cells(workload.time_ms[rows] // size_ms, cluster, len(centroids[stream]))
            counts |= {(stream, window, place * size_ms): each for place, each in numbers.items()}
    return counts


def count_cells(place: NDArray[np.int64], cluster: NDArray[np.intp], clusters: int) -> dict[int, Counts]:
    """How many of n events fall into each place and cluster, by place."""
    first = place.min()
    table = np.bincount((place - first) * clusters + cluster)
    table = np.append(table, np.zeros(-len(table) % clusters, dtype=np.int64)).reshape(-1, clusters)
    rows = np.flatnonzero(table.any(axis=1)).tolist()
    return {int(first + row): tuple(table[row].tolist()) for row in rows}


def nearest(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.intp]:
    """The (n,) nearest of (k, d) centroids; AssertionError where rounding could decide it."""
    differences = vectors[:, np.newaxis].astype(np.float64) - centroids.astype(np.float64)
    distances = np.square(differences).sum(axis=2)
    first, second = np.partition(distances, 1, axis=1)[:, :2].T
    assert (second - first).min() > MARGIN, "a vector lies between two centroids"
    cluster: NDArray[np.intp] = distances.argmin(axis=1)
    return cluster
