"""References: the frozen baseline, and its segments, that windows are compared with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.assignment import Centroids
from driftgauge.core.counting.numbers import NumberTally
from driftgauge.core.counting.projection import Projection
from driftgauge.core.statistics.overdispersion import Overdispersion

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
        arrays: The arrays of the statistics by name; see `Statistic.segment_arrays`.
        overdispersion: The overdispersion of the segment's windows; None: unknown.
    """

    key: str
    value: str
    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    arrays: Mapping[str, NDArray[Any]]
    overdispersion: Overdispersion | None = None

    @property
    def mean_count(self) -> int:
        """The number of vectors of its mean."""
        return int(self.counts.sum())

    @property
    def covariance_count(self) -> int:
        """The number of vectors of its covariance."""
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
        covariance_count: The number of vectors of its covariance, those that the components were fitted on.
        radii: (k,) float32, the distance from its centroid within which 99 % of a cluster's vectors lie.
        projection: Its mean and its r leading components.
        cluster_means: (k, r) float64, the mean of each cluster along the components, relative to the
            baseline's mean.
        mean: (r,) float64, the mean along the components of the events that windows are compared with,
            relative to the baseline's mean.
        arrays: The arrays of the statistics by name; see `Statistic.arrays`.
        overdispersion: The overdispersion of its windows; None: unknown.
        overdispersion_ms: The length of the windows on which the overdispersion was measured; None without
            one.
        segments: The references of segments.
        groups: The overdispersion of its own events by groups; None if there are none, or windows measured
            it.
        numbers: The tallies of the numbers that it knows, by name.
    """

    baseline_id: str
    centroids: Centroids
    counts: NDArray[np.int64]
    mean_count: int
    covariance_count: int
    radii: NDArray[np.float32]
    projection: Projection
    cluster_means: NDArray[np.float64]
    mean: NDArray[np.float64]
    arrays: Mapping[str, NDArray[Any]]
    overdispersion: Overdispersion | None
    overdispersion_ms: int | None
    segments: tuple[SegmentReference, ...]
    groups: Overdispersion | None = None
    numbers: Mapping[str, NumberTally] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The short form of the identity for partials and record keys, 16 hex digits."""
        return self.baseline_id.removeprefix("sha256:")[:_KEY_CHARACTERS]

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(r, r) float64, the covariance along the components of the vectors that they were fitted on."""
        return np.diag(self.projection.variances)

    def standardized(self, shift: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return shifts from the baseline's mean, (…, r), less its mean and in standard deviations."""
        standardized: NDArray[np.float64] = (shift - self.mean) / self.projection.deviations
        return standardized

    @property
    def components(self) -> int:
        """The number of components, r."""
        return len(self.projection.variances)

    def segments_by(self, keys: Iterable[str]) -> tuple[SegmentReference, ...]:
        """Return the references of the segments of these keys, in the order of the keys."""
        return tuple(segment for key in keys for segment in self.segments if segment.key == key)
