"""Comparison of two baselines: whether drift results against them are comparable."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.artifact import Baseline
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.mean_shift import MeanShiftNull
from driftgauge.core.statistics.power import Sensitivity

__all__ = ["Comparability", "Comparison", "Match", "compare", "mean_distance"]

# Half of the smallest drift worth detecting: below these floors the verdict calls no drift material.
MATERIAL_DIVERGENCE = 0.005
MATERIAL_SHIFT = 0.025

# The largest distance between matching centroids, as a fraction of the cluster's median distance. In
# refits on CIFAR-10 embeddings and handwritten digits with 5 to 50 clusters, baselines whose centroids all
# matched put at least 88 % of the vectors into matching clusters (median 96 %), the others at least 56 %
# (median 80 %).
MATCH_RADIUS = 0.35


class Comparability(StrEnum):
    """The comparability of results against two baselines."""

    SAME = "same"
    """Both have the same identity."""
    COMPARABLE = "comparable"
    """Number by number: the centroids are equal, and the references differ by less than a drift."""
    RENUMBERED = "renumbered"
    """Roughly: each centroid of A matches one of B, under another number."""
    MOVED = "moved"
    """Not comparable: the clusters are equal or match, but the references differ by a drift."""
    REGROUPED = "regrouped"
    """Not comparable: the clusters differ."""
    INCOMPATIBLE = "incompatible"
    """Not comparable: the embedding spaces differ."""

    @property
    def is_comparable(self) -> bool:
        """Whether results can be compared number by number."""
        return self in {Comparability.SAME, Comparability.COMPARABLE}


@dataclass(frozen=True, slots=True)
class Match:
    """The nearest of B's centroids to one of A's.

    Attributes:
        cluster: A's cluster.
        nearest: B's cluster.
        distance: The distance between their centroids: Euclidean, or 1 - cosine.
        ratio: The distance as a fraction of the median distance in A's cluster; infinite where only the
            median is 0.
    """

    cluster: int
    nearest: int
    distance: float
    ratio: float


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The comparison of baselines A and B.

    Attributes:
        first: A.
        second: B.
        comparability: Whether results against A and B can be compared.
        matches: Each of A's centroids with the nearest of B's; empty where the spaces differ.
        mean_distance: The Mahalanobis distance between the means along A's components, in A's standard
            deviations; None where the spaces differ.
        mean_excess: The squared mean distance less its expectation without drift.
        js_divergence: The Jensen-Shannon divergence of the histograms, base 2; None where the centroids
            differ.
        js_excess: The divergence less its expectation without drift.
    """

    first: Baseline
    second: Baseline
    comparability: Comparability
    matches: tuple[Match, ...] = ()
    mean_distance: float | None = None
    mean_excess: float | None = None
    js_divergence: float | None = None
    js_excess: float | None = None

    @property
    def pairs(self) -> int:
        """The number of B's centroids that are the nearest to one of A's."""
        return len({match.nearest for match in self.matches})


def compare(first: Baseline, second: Baseline) -> Comparison:
    """Return the comparison of baseline A, the first, with B, the second."""
    if _have_different_spaces(first, second):
        return Comparison(first, second, Comparability.INCOMPATIBLE)
    matches = _match(first, second)
    shift = first.components.astype(np.float64) @ (second.mean - first.mean)
    first_count, second_count = first.metadata.reference_count, second.metadata.reference_count
    mean_null = MeanShiftNull(
        np.diag(first.variances), first_count, first.overdispersion, first.metadata.mean_count
    )
    mean_excess = mean_null.test(shift, second.metadata.mean_count).excess
    divergence = excess = None
    if np.array_equal(first.centroids.values, second.centroids.values):
        sensitivity = Sensitivity.of(
            first.metadata.clusters, len(first.variances), first_count, first.overdispersion
        )
        divergence = float(js_contributions(second.counts, first.counts).sum())
        excess = divergence - sensitivity.noise_floor(second_count)
    return Comparison(
        first,
        second,
        _rate(first, second, matches, mean_excess, excess),
        matches,
        mean_distance(first, shift),
        mean_excess,
        divergence,
        excess,
    )


def mean_distance(baseline: Baseline, shift: NDArray[np.float64]) -> float:
    """Return the Mahalanobis distance from a baseline's mean of a (r,) shift along its components."""
    return float(np.sqrt(np.sum(np.square(shift) / baseline.variances)))


def _have_different_spaces(first: Baseline, second: Baseline) -> bool:
    """Return whether the embedding spaces differ; an unknown model version matches any."""
    versions = {first.metadata.model_version, second.metadata.model_version} - {None}
    return (
        first.metadata.dimension != second.metadata.dimension
        or first.metadata.metric is not second.metadata.metric
        or len(versions) > 1
    )


def _match(first: Baseline, second: Baseline) -> tuple[Match, ...]:
    """Return the nearest of B's centroids to each of A's; both have the same metric."""
    own_centroids, other_centroids = (
        baseline.centroids.values.astype(np.float64) for baseline in (first, second)
    )
    matches = []
    for cluster, (centroid, radius) in enumerate(
        zip(own_centroids, first.distances(0.5).tolist(), strict=True)
    ):
        if first.metadata.metric is DistanceMetric.COSINE:
            # For unit vectors 1 - cosine is half the squared distance, which is exactly 0 for equal ones.
            distances = np.square(other_centroids - centroid).sum(axis=1) / 2
        else:
            distances = np.linalg.norm(other_centroids - centroid, axis=1)
        nearest = int(distances.argmin())
        distance = float(distances[nearest])
        ratio = distance / radius if radius > 0 else (np.inf if distance > 0 else 0.0)
        matches.append(Match(cluster, nearest, distance, ratio))
    return tuple(matches)


def _rate(
    first: Baseline,
    second: Baseline,
    matches: tuple[Match, ...],
    mean_excess: float,
    js_excess: float | None,
) -> Comparability:
    """Return the comparability in one embedding space; `js_excess` is None where the centroids differ."""
    if first.identity == second.identity:
        return Comparability.SAME
    if js_excess is None:
        is_paired = len({match.nearest for match in matches}) == len(matches) == second.metadata.clusters
        if not is_paired or max(match.ratio for match in matches) > MATCH_RADIUS:
            return Comparability.REGROUPED
    if mean_excess >= MATERIAL_SHIFT or (js_excess is not None and js_excess >= MATERIAL_DIVERGENCE):
        return Comparability.MOVED
    return Comparability.RENUMBERED if js_excess is None else Comparability.COMPARABLE
