"""What a stream's windows are compared with."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.assignment import Centroids
from driftgauge.core.counting.projection import Projection
from driftgauge.core.statistics.overdispersion import Overdispersion

__all__ = ["OTHER", "Reference", "Segment", "SegmentReference"]

_KEY_CHARACTERS = 16

OTHER = "other"
"""The value of a segment that holds what no other segment of its key holds."""

Segment = tuple[str, str]
"""A part of a stream's events: the key that tells them apart, such as "country", and its value."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentReference:
    """What the events of one segment are compared with.

    Attributes:
        key: What tells the events apart, such as "country".
        value: Its value for these events; "other" for all values that have no segment.
        counts: (k,) int64, the histogram of the segment's reference vectors.
        mean: (r,) float64, their mean along the components, relative to the baseline's mean.
        covariance: (r, r) float64, the covariance of one of them along the components, about their mean.
        overdispersion: How much more the windows of its events vary than those of independent ones; None: not
            known.
    """

    key: str
    value: str
    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    overdispersion: Overdispersion | None = None

    def standardized(self, shift: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return shifts from the baseline's mean as from the segment's, and of a covariance of 1.

        Args:
            shift: (…, r) float64, along the components.

        Returns:
            The same, (…, r) float64, in units of the covariance's Cholesky factor.
        """
        deviations = np.linalg.cholesky(self.covariance)
        standardized: NDArray[np.float64] = np.linalg.solve(deviations, (shift - self.mean).T).T
        return standardized


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A frozen baseline, as far as counting and comparing need it.

    Attributes:
        baseline_id: Its identity.
        centroids: Its centroids, k of them.
        counts: (k,) int64, its histogram.
        radii: (k,) float32, the distance from its centroid within which 99 % of a cluster's vectors lie.
        projection: Its mean and its leading components, r of them.
        overdispersion: How much more its windows vary than those of independent events; None: not known.
        dependence_ms: The length of the windows on which that was measured; None without it.
        segments: What segments of the events are compared with.
    """

    baseline_id: str
    centroids: Centroids
    counts: NDArray[np.int64]
    radii: NDArray[np.float32]
    projection: Projection
    overdispersion: Overdispersion | None
    overdispersion_ms: int | None
    segments: tuple[SegmentReference, ...]

    @property
    def key(self) -> str:
        """As much of the identity as tells baselines apart, to stand in partials and in keys."""
        return self.baseline_id.removeprefix("sha256:")[:_KEY_CHARACTERS]

    @property
    def components(self) -> int:
        """The number of components, r."""
        return len(self.projection.variances)

    def are_outliers(self, vectors: NDArray[np.float32], clusters: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Tell which of n vectors (n, d) lie beyond the radius of their cluster (n,)."""
        return self.centroids.distances(vectors, clusters) > self.radii[clusters]

    def segments_by(self, keys: Iterable[str]) -> tuple[SegmentReference, ...]:
        """Return what the segments of these keys are compared with, in the order of the keys."""
        return tuple(segment for key in keys for segment in self.segments if segment.key == key)
