"""Builders of the core's baselines: references, projections and segments, of unit vectors or random ones."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.hashing import HASH_BINS, hash_vectors
from driftgauge.core.counting.projection import MINOR_COMPONENTS, SPREADS, Projection
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.minor_shift import MINOR_DIRECTIONS, MINOR_MOMENTS, MINOR_SPECTRUM
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.relations import RELATION_MOMENTS, RELATION_SPECTRUM
from tests.builders.clocks import HOUR_MS

CLUSTERS = 4
Spreads = tuple[tuple[float, ...] | None, ...]
"""Of the spreads, three at most, count, mean, variance, skewness and kurtosis."""

# The share of each cluster in a baseline's vectors, which are unit vectors.
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
COMPONENTS = 2


def build_reference(name: str = "first", *, shift: int = 0, count: int = 100, **changes: Any) -> Reference:
    """Return a baseline whose centroids are the unit vectors: unit vector i is of cluster i + `shift`."""
    counts = np.rint(SHARES * count).astype(np.int64)
    hashes = hash_vectors(np.eye(CLUSTERS, dtype=np.float32))
    hash_counts = np.bincount(hashes, np.roll(counts, -shift), minlength=HASH_BINS).astype(np.int64)
    fields = {
        "baseline_id": "sha256:" + hashlib.sha256(name.encode()).hexdigest(),
        "centroids": Centroids(
            np.roll(np.eye(CLUSTERS, dtype=np.float32), shift, axis=0), DistanceMetric.EUCLIDEAN
        ),
        "counts": counts,
        "mean_count": count,
        "covariance_count": count,
        "radii": np.full(CLUSTERS, 0.5, dtype=np.float32),
        "projection": build_projection(shift),
        "cluster_means": np.zeros((CLUSTERS, COMPONENTS)),
        "mean": np.zeros(COMPONENTS),
        "arrays": build_arrays(hash_counts),
        "overdispersion": None,
        "overdispersion_ms": HOUR_MS if changes.get("overdispersion") else None,
        "segments": (),
    }
    return Reference(**{**fields, **changes})


def measured(reference: Reference) -> Reference:
    """Return a baseline that knows how hours vary: as their events are independent."""
    independent = Overdispersion.independent(reference.components)
    return replace(reference, overdispersion=independent, overdispersion_ms=HOUR_MS)


def build_arrays(hash_counts: NDArray[np.int64], spreads: Spreads = ()) -> dict[str, NDArray[Any]]:
    """Return the arrays of a baseline's statistics."""
    return {"hash_counts": hash_counts, "spread_moments": build_moments(*spreads)}


def build_moments(*spreads: tuple[float, ...] | None) -> NDArray[np.float64]:
    """Return the moments of spreads; zeros of one that does not vary."""
    return np.array([each or (0.0,) * 5 for each in (*spreads, None, None, None)[:SPREADS]]).T


def build_segment_arrays(outliers: int = 0, spreads: Spreads = ()) -> dict[str, NDArray[Any]]:
    """Return the arrays of a segment's statistics."""
    return {"outliers": np.array(outliers), "spread_moments": build_moments(*spreads)}


def build_projection(shift: int = 0) -> Projection:
    """Return the mean and the leading components of the vectors behind such a baseline."""
    mean = np.roll(SHARES, -shift)
    variances, directions = np.linalg.eigh(np.diag(mean) - np.outer(mean, mean))
    leading = np.argsort(-variances)[:COMPONENTS]
    return Projection(mean, directions.T[leading].astype(np.float32), variances[leading])


def build_segment_reference(key: str, value: str, *counts: int) -> SegmentReference:
    """Return a segment with this number of unit vectors of each cluster, without outliers and spreads."""
    projection = build_projection()
    along = projection.measure(np.eye(CLUSTERS, dtype=np.float32))[0] * projection.step
    mean = np.average(along, axis=0, weights=counts)
    covariance = np.cov(along, rowvar=False, fweights=counts)
    return SegmentReference(key, value, np.array(counts), mean, covariance, build_segment_arrays())


def build_random_reference(
    name: str, random: np.random.Generator, *, dimension: int, clusters: int = 20, segments: int = 0
) -> Reference:
    """Return a baseline of 50,000 vectors with random centroids, and with this number of equal segments."""
    components = min(32, dimension)
    directions, _ = np.linalg.qr(random.standard_normal((dimension, dimension)))
    counts = np.full(clusters, 50_000 // clusters, np.int64)
    values = ["other", *(f"c{number}" for number in range(segments - 1))][:segments]
    spreads = (
        (50_000, 1.0, 2 / components, (8 / components) ** 0.5, 3 + 12 / components),
        (50_000, 1.0, 2 / dimension, (8 / dimension) ** 0.5, 3 + 12 / dimension)
        if dimension > components
        else None,
        (50_000, 1.0, 2 / components / 64, 0.0, 3.0),
    )
    minor = np.zeros((MINOR_COMPONENTS, dimension), np.float32)
    minor[: dimension - components] = directions[components : components + MINOR_COMPONENTS]
    return Reference(
        baseline_id=f"sha256:{name}",
        centroids=Centroids(
            random.standard_normal((clusters, dimension), np.float32), DistanceMetric.EUCLIDEAN
        ),
        counts=counts,
        mean_count=50_000,
        covariance_count=50_000,
        radii=np.full(clusters, 2 * dimension**0.5, np.float32),
        projection=Projection(
            np.zeros(dimension),
            directions[:components].astype(np.float32),
            np.ones(components),
            float(dimension - components),
            minor,
        ),
        cluster_means=np.zeros((clusters, components)),
        mean=np.zeros(components),
        arrays=build_arrays(np.full(HASH_BINS, 50_000 // HASH_BINS), spreads)
        | {
            RELATION_MOMENTS: np.tile([[50_000.0], [0.0], [0.004], [0.0], [3.0]], 72),
            RELATION_SPECTRUM: np.ones(36),
            MINOR_DIRECTIONS: minor,
            MINOR_MOMENTS: np.tile([[50_000.0], [0.0], [1e12], [0.0], [3.0]], MINOR_COMPONENTS)
            * minor.any(axis=1),
            MINOR_SPECTRUM: np.ones(MINOR_COMPONENTS),
        },
        overdispersion=None,
        overdispersion_ms=None,
        segments=tuple(
            SegmentReference(
                "country",
                value,
                counts // segments,
                np.zeros(components),
                np.eye(components),
                build_segment_arrays(500 // segments, spreads),
            )
            for value in values
        ),
    )


FIRST = build_reference("first")
# This baseline assigns every event to another cluster than the first one does.
OTHER = build_reference("other", shift=1)

RICH = build_reference("rich", count=100_000)
DE, REST = ("country", "de"), ("country", "other")
SEGMENTED = replace(
    RICH,
    segments=(
        build_segment_reference(*DE, 20_000, 15_000, 10_000, 5_000),
        build_segment_reference(*REST, 20_000, 15_000, 10_000, 5_000),
    ),
)
