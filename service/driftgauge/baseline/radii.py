"""Outliers among the vectors that gave the radii."""

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.statistics.novelty import RADIUS_LEVEL

__all__ = ["beyond_others"]


def beyond_others(distances: NDArray[np.float32], ids: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which of m vectors lie beyond the radius of their cluster as it is without them, (m,) bool.

    A radius is a quantile of the distances of a cluster's own vectors, so a larger share of new vectors lies
    beyond: of a cluster of 500, 1.2 % instead of 1 %. Without a vector the radius is one of the others', and
    the vector is as new.

    Args:
        distances: (m,) float32, the distance of each vector from the centroid of its cluster.
        ids: (m,), its cluster.
    """
    beyond = np.zeros(len(ids), dtype=np.bool_)
    for cluster in np.unique(ids):
        rows = np.flatnonzero(ids == cluster)
        rows = rows[np.argsort(distances[rows], kind="stable")]
        lengths = distances[rows].astype(np.float64)
        # The radius interpolates between two of the others in order; the vector may be the second of them.
        position = RADIUS_LEVEL * max(len(rows) - 2, 0)
        below, part = int(position), position % 1
        for index in range(below + 1, len(rows)):
            above = below + 2 if index == below + 1 else below + 1
            upper = lengths[min(above, len(rows) - 1)]
            beyond[rows[index]] = lengths[index] > lengths[below] + part * (upper - lengths[below])
    return beyond
