"""References: the frozen baseline, and its segments, that windows are compared with."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.assignment import Centroids
from driftgauge.core.counting.projection import Projection
from driftgauge.core.statistics.novelty import shares_beyond_own_radius
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.spread import SpreadMoments

__all__ = ["OTHER", "Reference", "Segment", "SegmentReference"]

_KEY_CHARACTERS = 16

OTHER = "other"
"""The value of the segment with the events that belong to no other segment of its key."""

Segment = tuple[str, str]
"""A segment of a stream's events: a key, such as "country", and its value."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentReference:
    """The reference of one segment's events.

    Attributes:
        key: The segment's key, such as "country".
        value: Its value; "other" for all values without a segment.
        counts: (k,) int64, the histogram of the segment's reference vectors.
        mean: (r,) float64, their mean along the components, relative to the baseline's mean.
        covariance: (r, r) float64, their covariance along the components.
        outliers: The number of them beyond the radius of their cluster, as it is without each of them.
        spreads: The moments of their spreads, over vectors of the segment that are not among them; None: a
            spread does not vary.
        overdispersion: The overdispersion of the segment's windows; None: unknown.
    """

    key: str
    value: str
    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    outliers: int
    spreads: tuple[SpreadMoments | None, SpreadMoments | None]
    overdispersion: Overdispersion | None = None

    @property
    def outlier_shares(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The number of reference vectors and the share of events beyond the radii, (1,) each.

        Too few of a segment's vectors are outliers for a share by cluster. Half of one is added, which is
        Jeffreys' prior.
        """
        count = self.counts.sum(keepdims=True)
        return count, (self.outliers + 0.5) / (count + 1)

    @property
    def mean_count(self) -> int:
        """The number of vectors of its mean."""
        return int(self.counts.sum())

    def standardized(self, shift: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return shifts standardized by the segment's mean and covariance.

        Args:
            shift: (…, r) float64, along the components, from the baseline's mean.

        Returns:
            (…, r) float64, the shifts from the segment's mean, in units of the Cholesky factor of its
            covariance.
        """
        deviations = np.linalg.cholesky(self.covariance)
        standardized: NDArray[np.float64] = np.linalg.solve(deviations, (shift - self.mean).T).T
        return standardized


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A frozen baseline, with the fields that counting and scoring need.

    Attributes:
        baseline_id: Its identity.
        centroids: Its k centroids.
        counts: (k,) int64, its histogram.
        mean_count: The number of vectors of its mean, those that the centroids were fitted on included.
        radii: (k,) float32, the distance from its centroid within which 99 % of a cluster's vectors lie.
        projection: Its mean and its r leading components.
        cluster_means: (k, r) float64, the mean of each cluster along the components, relative to the
            baseline's mean.
        spreads: The moments of the spread along the components and of that of the residual; None: it does
            not vary.
        hash_counts: (B,) int64, the number of its vectors of each hash.
        overdispersion: The overdispersion of its windows; None: unknown.
        overdispersion_ms: The length of the windows on which the overdispersion was measured; None without
            one.
        segments: The references of segments.
        offset: (r,) float64, the mean along the components of the events that windows are compared with,
            relative to the baseline's mean; None: zeros.
        outlier_rates: (k,) float64, the share of these events of each cluster beyond its radius; None: as the
            baseline's own vectors give it.
    """

    baseline_id: str
    centroids: Centroids
    counts: NDArray[np.int64]
    mean_count: int
    radii: NDArray[np.float32]
    projection: Projection
    cluster_means: NDArray[np.float64]
    spreads: tuple[SpreadMoments | None, SpreadMoments | None]
    hash_counts: NDArray[np.int64]
    overdispersion: Overdispersion | None
    overdispersion_ms: int | None
    segments: tuple[SegmentReference, ...]
    offset: NDArray[np.float64] | None = None
    outlier_rates: NDArray[np.float64] | None = None

    @property
    def key(self) -> str:
        """The short form of the identity for partials and record keys, 16 hex digits."""
        return self.baseline_id.removeprefix("sha256:")[:_KEY_CHARACTERS]

    @property
    def outlier_shares(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The number of reference vectors and the share of events beyond the radius by cluster, (k,) each."""
        if self.outlier_rates is not None:
            return self.counts, self.outlier_rates
        return self.counts, shares_beyond_own_radius(self.counts)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean along the components of the events that windows are compared with, (r,)."""
        return np.zeros(self.components) if self.offset is None else self.offset

    @property
    def groups_overdispersion(self) -> Overdispersion | None:
        """The overdispersion by groups; None where there are none, or windows measured it."""
        if self.overdispersion is None or self.overdispersion_ms is not None:
            return None
        return self.overdispersion.baseline or self.overdispersion

    @property
    def components(self) -> int:
        """The number of components, r."""
        return len(self.projection.variances)

    def are_outliers(self, vectors: NDArray[np.float32], clusters: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of n vectors (n, d) lie beyond the radius of their cluster (n,), (n,) bool."""
        return self.centroids.distances(vectors, clusters) > self.radii[clusters]

    def segments_by(self, keys: Iterable[str]) -> tuple[SegmentReference, ...]:
        """Return the references of the segments of these keys, in the order of the keys."""
        return tuple(segment for key in keys for segment in self.segments if segment.key == key)
