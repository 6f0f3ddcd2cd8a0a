"""Compare two baselines and rate how far results against them are comparable."""

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

# Half of the smallest drift worth finding, the floors below which the verdict calls no drift material.
MATERIAL_DIVERGENCE = 0.005
MATERIAL_SHIFT = 0.025

# How far apart two centroids may lie to be taken for the same cluster, in parts of the radius within
# which half of a cluster's vectors lie. Of baselines fitted again, on CIFAR-10 embeddings and
# handwritten digits in 5 to 50 clusters, those whose centroids all paired up so put 88 % or more of the
# vectors into matching clusters (96 % in the middle), and the others 56 % or more (80 %).
MATCH_RADIUS = 0.35


class Comparability(StrEnum):
    """How far results against two baselines can be compared."""

    SAME = "same"
    """They have one identity."""
    COMPARABLE = "comparable"
    """Number by number: the centroids are the same, and the references differ by less than a drift."""
    RENUMBERED = "renumbered"
    """Roughly: each centroid of the one lies next to one of the other's."""
    MOVED = "moved"
    """Not: the clusters are the same or pair up, and the references differ as a drift would."""
    REGROUPED = "regrouped"
    """Not: the clusters are others."""
    INCOMPATIBLE = "incompatible"
    """Not: the vectors lie in other spaces."""

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
        distance: How far their centroids lie apart: the Euclidean distance, or 1 - cosine.
        ratio: The same in parts of the radius within which half of A's cluster lies; infinite where
            that is 0 and the distance is not.
    """

    cluster: int
    nearest: int
    distance: float
    ratio: float


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Baselines A and B side by side.

    Attributes:
        first: A.
        second: B.
        comparability: What follows.
        matches: Each of A's centroids with the nearest of B's; empty where they lie in other spaces.
        mean_distance: How far B's mean lies from A's along A's components, as a Mahalanobis distance: in
            A's standard deviations; None where they lie in other spaces.
        mean_excess: Its square, less what two samples of one population would show.
        js_divergence: Between their histograms, base 2; None where they have other centroids.
        js_excess: The same, less what two samples of one population would show.
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
        """How many of B's centroids are the nearest to one of A's."""
        return len({match.nearest for match in self.matches})


def compare(first: Baseline, second: Baseline) -> Comparison:
    """Compare baseline B, the second, with A, the first."""
    if _are_of_other_spaces(first, second):
        return Comparison(first, second, Comparability.INCOMPATIBLE)
    matches = _match(first, second)
    shift = first.components.astype(np.float64) @ (second.mean - first.mean)
    own, count = first.metadata.reference_count, second.metadata.reference_count
    mean_null = MeanShiftNull(np.diag(first.variances), own, first.overdispersion)
    mean_excess = mean_null.test(shift, count).excess
    divergence = excess = None
    if np.array_equal(first.centroids.values, second.centroids.values):
        sensitivity = Sensitivity.of(first.metadata.clusters, len(first.variances), own, first.overdispersion)
        divergence = float(js_contributions(second.counts, first.counts).sum())
        excess = divergence - sensitivity.noise_floor(count)
    return Comparison(
        first,
        second,
        _judge(first, second, matches, mean_excess, excess),
        matches,
        mean_distance(first, shift),
        mean_excess,
        divergence,
        excess,
    )


def mean_distance(baseline: Baseline, shift: NDArray[np.float64]) -> float:
    """Return the Mahalanobis distance from a baseline's mean of a (r,) shift along its components."""
    return float(np.sqrt(np.sum(np.square(shift) / baseline.variances)))


def _are_of_other_spaces(first: Baseline, second: Baseline) -> bool:
    """Return whether the embedding spaces differ; an unknown model version matches any."""
    versions = {first.metadata.model_version, second.metadata.model_version} - {None}
    return (
        first.metadata.dimension != second.metadata.dimension
        or first.metadata.metric is not second.metadata.metric
        or len(versions) > 1
    )


def _match(first: Baseline, second: Baseline) -> tuple[Match, ...]:
    """Return the nearest of B's centroids to each of A's; the metric is the same."""
    own, others = (baseline.centroids.values.astype(np.float64) for baseline in (first, second))
    matches = []
    for cluster, (centroid, radius) in enumerate(zip(own, first.distances(0.5).tolist(), strict=True)):
        if first.metadata.metric is DistanceMetric.COSINE:
            # Of unit length, so 1 - cosine is half the squared distance, which is exactly 0 for equals.
            distances = np.square(others - centroid).sum(axis=1) / 2
        else:
            distances = np.linalg.norm(others - centroid, axis=1)
        nearest = int(distances.argmin())
        distance = float(distances[nearest])
        apart = distance / radius if radius > 0 else (np.inf if distance > 0 else 0.0)
        matches.append(Match(cluster, nearest, distance, apart))
    return tuple(matches)


def _judge(
    first: Baseline,
    second: Baseline,
    matches: tuple[Match, ...],
    mean_excess: float,
    js_excess: float | None,
) -> Comparability:
    """Return what follows for baselines of one space; `js_excess` is None where their centroids differ."""
    if first.identity == second.identity:
        return Comparability.SAME
    if js_excess is None:
        is_paired = len({match.nearest for match in matches}) == len(matches) == second.metadata.clusters
        if not is_paired or max(match.ratio for match in matches) > MATCH_RADIUS:
            return Comparability.REGROUPED
    if mean_excess >= MATERIAL_SHIFT or (js_excess is not None and js_excess >= MATERIAL_DIVERGENCE):
        return Comparability.MOVED
    return Comparability.RENUMBERED if js_excess is None else Comparability.COMPARABLE
