"""What must be counted, worked out from the events alone and with none of the service's code."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tests.chaos.workload import STREAMS, Fault, Workload

WINDOWS_MS: Mapping[str, int] = {"1m": 60_000, "5m": 300_000}

# Squared distance by which the second nearest centroid is farther than the nearest, at the least.
MARGIN = 1.0

WindowKey = tuple[str, str, int]
"""Stream, window size, start in ms."""

Counts = tuple[int, ...]
"""Events of each cluster."""


def true_counts(workload: Workload, centroids: Mapping[str, NDArray[np.float32]]) -> dict[WindowKey, Counts]:
    """The events of every window by cluster, given each stream's (k, d) centroids."""
    counts: dict[WindowKey, Counts] = {}
    for number, stream in enumerate(STREAMS):
        rows = (workload.stream == number) & (workload.fault == Fault.NONE)
        cluster = nearest(workload.vectors[rows], centroids[stream])
        for window, size_ms in WINDOWS_MS.items():
            place = workload.time_ms[rows] // size_ms
            first = place.min()
            clusters = len(centroids[stream])
            table = np.bincount((place - first) * clusters + cluster, minlength=0)
            table = np.append(table, np.zeros(-len(table) % clusters, dtype=np.int64)).reshape(-1, clusters)
            for row in np.flatnonzero(table.any(axis=1)).tolist():
                counts[stream, window, int(first + row) * size_ms] = tuple(table[row].tolist())
    return counts


def nearest(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.intp]:
    """The (n,) nearest of (k, d) centroids; AssertionError where rounding could decide it."""
    differences = vectors[:, np.newaxis].astype(np.float64) - centroids.astype(np.float64)
    distances = np.square(differences).sum(axis=2)
    first, second = np.partition(distances, 1, axis=1)[:, :2].T
    assert (second - first).min() > MARGIN, "a vector lies between two centroids"
    cluster: NDArray[np.intp] = distances.argmin(axis=1)
    return cluster
