"""What the statistics measure of events: each measurement is taken once, when the first of them asks."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.assignment import Centroids
from driftgauge.core.counting.hashing import HASH_BINS, SIGN_BINS, hash_signs, hash_vectors
from driftgauge.core.counting.projection import Projection

__all__ = ["MeasuredEvents"]

_MOST_BEYOND = 2**31 - 1


@dataclass(frozen=True, eq=False)
class MeasuredEvents:
    """The vectors of n events, and their place relative to a baseline.

    Attributes:
        vectors: (n, d) float32, finite.
        cluster: (n,), the cluster of each.
        centroids: The baseline's k centroids.
        radii: (k,) float32, the radius of each cluster.
        projection: The baseline's mean and components.
        cluster_means: (k, r) float64, the mean of each cluster along the components.
        hash_bins: The number of bins that they are hashed to.
    """

    vectors: NDArray[np.float32]
    cluster: NDArray[np.intp]
    centroids: Centroids
    radii: NDArray[np.float32]
    projection: Projection
    cluster_means: NDArray[np.float64]
    hash_bins: int = HASH_BINS

    @cached_property
    def are_outliers(self) -> NDArray[np.bool_]:
        """(n,), whether each lies beyond the radius of its cluster."""
        return self._distances > self.radii[self.cluster]

    @property
    def beyond(self) -> NDArray[np.int64]:
        """(n,) int64, the distance of each in thousandths of its cluster's radius; -1 within the radius."""
        beyond = np.full(len(self.cluster), -1, np.int64)
        rows = np.flatnonzero(self.are_outliers)
        # A cluster of equal vectors has no radius.
        with np.errstate(divide="ignore"):
            times = self._distances[rows] / self.radii[self.cluster[rows]].astype(np.float64)
        beyond[rows] = np.minimum(1_000 * times, _MOST_BEYOND)
        return beyond

    @property
    def coordinates(self) -> NDArray[np.int64]:
        """(n, r) int64, the coordinates along the components; see `Projection.measure`."""
        return self._projected[0]

    @property
    def spreads(self) -> NDArray[np.int64]:
        """(n, 2) int64, the spreads; see `Projection.measure`."""
        return self._projected[1]

    @property
    def standardized(self) -> NDArray[np.float64]:
        """(n, r) float64, the standardized coordinates; see `Projection.measure`."""
        return self._projected[2]

    @property
    def steps(self) -> NDArray[np.float64]:
        """(n, d) float64, the vectors from the mean in whole numbers; see `Projection.measure`."""
        return self._projected[3]

    @cached_property
    def hashes(self) -> NDArray[np.intp] | NDArray[np.uint16]:
        """(n,), the hash of each vector."""
        return hash_signs(self.standardized) if self.hash_bins == SIGN_BINS else hash_vectors(self.vectors)

    @cached_property
    def _distances(self) -> NDArray[np.float32]:
        return self.centroids.distances(self.vectors, self.cluster)

    @cached_property
    def _projected(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        return self.projection.measure(self.vectors)
