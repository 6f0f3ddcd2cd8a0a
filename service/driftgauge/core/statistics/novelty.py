"""The test of novelty: whether more events than in the baseline lie beyond the radius of their cluster.

Novelty may lie around all clusters or beside one, so it is tested in the whole window and in each cluster. A
kind of event that lies beside one cluster is three of the window's outliers among two of chance, but three of
that cluster's among 0.1.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics import special
from driftgauge.core.statistics.combination import combine
from driftgauge.core.statistics.nulls.tails import student_p_value, student_quantile
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import POWER, halve
from driftgauge.core.statistics.statistic import Finding, Null, Statistic

__all__ = [
    "CLUSTER_OUTLIERS",
    "NOVELTY",
    "RADIUS_LEVEL",
    "Novelty",
    "NoveltyNull",
    "expected_outliers",
    "main_cluster",
    "own_outlier_shares",
]

RADIUS_LEVEL = 0.99
"""The share of a cluster's reference vectors within its radius."""

CLUSTER_OUTLIERS = "cluster_outliers"
"""The number of events beyond the radius of each cluster, k integers."""
_SHARES = "outlier_shares"
"""The expected shares of events beyond the radius, (k,) float64 or (1,) of a segment, after a warm-up."""
_SEGMENT_OUTLIERS = "outliers"
"""The number of a segment's reference vectors beyond the radius of their cluster, as it is without each."""

# The weights of the test of the whole window and of that of its clusters. With equal weights a topic that the
# baseline never saw, which lies around many clusters, is found less often.
_WHOLE_WEIGHT, _CLUSTERS_WEIGHT = 3.0, 1.0
_WHOLE_SHARE = _WHOLE_WEIGHT / (_WHOLE_WEIGHT + _CLUSTERS_WEIGHT)
# Novelty is mostly in the cluster that holds this part of it.
_MOSTLY = 0.5

# A negative binomial variable whose variance is this little above its mean is a Poisson variable.
_LEAST_SURPLUS = 1e-9

_Numbers = float | NDArray[np.float64 | np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Novelty(Finding):
    """The share of a window's events beyond the radius of their cluster, and its test.

    Attributes:
        share: The share, 0 to 1.
        excess: The share less its expectation without drift.
        p_value: The combined p-value of the tests of the whole and of the clusters, in (0, 1).
        contributions: (k,) float64, each cluster's part of the excess; the parts sum to the excess.
    """

    share: float
    excess: float
    p_value: float
    contributions: NDArray[np.float64]


class _NoveltyStatistic(Statistic[Novelty]):
    """The share of events beyond the radius of their cluster."""

    name = "novelty"
    kind = "novelty"
    finding = Novelty
    fields: ClassVar = {CLUSTER_OUTLIERS: "k"}
    smallest = 0.02
    largest = 1.0
    # Small, so that a slight change of mix or of the mean is found as often as without: on images and texts
    # novelty and spread cost these 0.01 to 0.04 of power.
    weights = (0.5,)
    segment_arrays: ClassVar = {_SEGMENT_OUTLIERS: ("int64", "", 0)}
    variances = 1

    def measure(self, events: MeasuredEvents) -> tuple[NDArray[np.intp]]:
        return (np.where(events.are_outliers, events.cluster, -1),)

    def fit(
        self, measured: Mapping[str, NDArray[Any]], outliers: NDArray[np.bool_]
    ) -> dict[str, NDArray[Any]]:
        return {_SEGMENT_OUTLIERS: np.array(outliers.sum(), np.int64)}

    def null(
        self, reference: Reference, segment: SegmentReference | None, overdispersion: Overdispersion
    ) -> Null[Novelty]:
        # By cluster against a baseline, of all clusters together against a segment.
        (variation,) = overdispersion.of(self.name, self.variances).tolist()
        return NoveltyNull(*_expected(reference, segment), variation, overdispersion.windows)

    def recentre(
        self, reference: Reference, segment: SegmentReference | None, tally: Tally, share: float
    ) -> dict[str, NDArray[Any]]:
        before = _expected(reference, segment)[1]
        outliers, counts = _group(tally, len(before))
        # The events of the warm-up, and as many of the baseline as hold one outlier.
        rates = (outliers + 1) / (counts + 1 / before)
        return {_SHARES: share * rates + (1 - share) * before}

    def numbers(self, finding: Novelty) -> dict[str, float]:
        return {
            "novelty_ratio": finding.share,
            "novelty_excess_ratio": finding.excess,
            "novelty_p_value": finding.p_value,
        }

    def columns(self, measured: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        return (measured[CLUSTER_OUTLIERS] >= 0).astype(np.float64)[:, None]


NOVELTY = _NoveltyStatistic()


def main_cluster(contributions: NDArray[np.float64]) -> int | None:
    """Return the cluster that holds most of the excess, by the contributions (k,); None if none does."""
    excess, largest = math.fsum(contributions), int(contributions.argmax())
    return largest if contributions[largest] > max(_MOSTLY * excess, 0.0) else None


def own_outlier_shares(baseline_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the expected share of each cluster's events beyond the radius that its own vectors gave, (k,).

    The radius of a cluster with m reference vectors is a quantile of their distances. So the share of all
    events beyond it is a beta variable, whatever the distribution of the distances, and the number among n
    events is beta-binomial (S. S. Wilks, Annals of Mathematical Statistics 12, 1941). The quantile is
    interpolated, and so are the parameters, which overstates the number of a cluster of 50 vectors by an
    eighth.

    Args:
        baseline_counts: (k,) int64, the baseline's histogram.
    """
    return (baseline_counts * (1 - RADIUS_LEVEL) + RADIUS_LEVEL) / (baseline_counts + 1)


def expected_outliers(
    counts: NDArray[np.float64 | np.int64], baseline_counts: NDArray[np.int64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of each cluster's number of events beyond its radius, for independent events.

    The numbers are beta-binomial, and those of different clusters independent.

    Args:
        counts: (k,) float64 or int64, the window's histogram.
        baseline_counts: (k,) int64, the number of vectors by which each share is known.
        shares: (k,) float64, the expected shares beyond the radius.

    Returns:
        (k,) float64 each.
    """
    # Any two events of a cluster are correlated by this, since they share the radius.
    related = 1 / (baseline_counts + 2)
    variances = counts * shares * (1 - shares) * (1 + np.maximum(counts - 1, 0) * related)
    return counts * shares, variances


class NoveltyNull:
    """The null distribution of the number of a window's events beyond their cluster's radius.

    It is negative binomial, with the mean and the variance of `expected_outliers`, the variance times the
    overdispersion: counts of rare events whose rate varies from window to window, as with bursts of them. The
    overdispersion is that of the whole window's number; a cluster's is too rare to be measured by itself.

    The overdispersion phi is an estimate from W windows. Squares of rare bursts vary more than those of
    normal variables: with a mean of mu a window, the kurtosis is about 3 + phi / mu, and the estimate has
    2 W / (2 + phi / mu) degrees of freedom. Clean windows have an expectation of one outlier or more, mostly;
    so mu is taken as 1.
    """

    def __init__(
        self,
        baseline_counts: NDArray[np.int64],
        shares: NDArray[np.float64],
        overdispersion: float,
        windows: float,
    ) -> None:
        """Prepare the distribution.

        Args:
            baseline_counts: (k,) int64, the baseline's histogram, above 0.
            shares: (k,) float64, the expected share of each cluster's events beyond its radius.
            overdispersion: The variance of the number relative to independent events, 1 or more.
            windows: The clean windows behind the overdispersion; infinite if it is known.
        """
        self._baseline_counts = baseline_counts
        self._shares = shares
        self._overdispersion = overdispersion
        self._degrees = 2 * windows / (2 + overdispersion)

    def test(self, tally: Tally) -> Novelty:
        """Return the novelty of a window with one event or more."""
        outliers, counts = _group(tally, len(self._shares))
        means, variances = expected_outliers(counts, self._baseline_counts, self._shares)
        count, total = int(counts.sum()), int(outliers.sum())
        (whole,) = self._p_values(
            np.array([total]), *(np.array([math.fsum(each)]) for each in (means, variances))
        )
        held = counts > 0
        of_clusters = self._p_values(outliers[held], means[held], variances[held])
        p_values = [student_p_value(p_value, self._degrees) for p_value in (whole, of_clusters.min())]
        # Bonferroni: one of the clusters is below a p-value at most this many times as often.
        p_values[1] = min(len(of_clusters) * p_values[1], 1.0)
        contributions = (outliers - means) / count
        return Novelty(
            share=total / count,
            excess=math.fsum(contributions),
            p_value=combine(p_values, [_WHOLE_WEIGHT, _CLUSTERS_WEIGHT]),
            contributions=contributions,
        )

    def least(self, count: int, level: float) -> float:
        """Return the least share above the expected one that a window finds with the target power.

        The alternative: a part of the events lies beyond the radius of their cluster, and the others are as
        in the baseline. Infinity if no number of outliers is significant.

        Args:
            count: n, 1 or more, with the baseline's mix of clusters.
            level: The level of novelty alone.
        """
        counts = count / self._baseline_counts.sum() * self._baseline_counts
        mean, variance = map(math.fsum, expected_outliers(counts, self._baseline_counts, self._shares))
        variance = max(variance * self._overdispersion, mean * (1 + _LEAST_SURPLUS))
        # The alternative does not lie beside one cluster, so the test of the whole finds it.
        exact = float(special.ndtr(student_quantile(level * _WHOLE_SHARE, self._degrees)))
        # Half of a number: the p-value counts half of the probability of exactly as many.
        number = halve(lambda number: bool(_tail(number + 0.5, mean, variance) <= exact), mean, float(count))
        # The variance stays in proportion to the mean.
        least = halve(
            lambda mean_with: bool(_tail(number + 0.5, mean_with, variance * mean_with / mean) >= POWER),
            mean,
            float(count),
        )
        return (least - mean) / count if least < count else math.inf

    def standardized(self, tally: Tally) -> NDArray[np.float64]:
        """Return the deviation of the number of outliers, (1,), in standard errors of independent events."""
        outliers, counts = _group(tally, len(self._shares))
        variance = counts @ (self._shares * (1 - self._shares))
        return np.array([(outliers.sum() - counts @ self._shares) / math.sqrt(variance)])

    def _p_values(
        self,
        outliers: NDArray[np.int64],
        means: NDArray[np.float64],
        variances: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the probabilities of more outliers and half of those of exactly as many (mid-p), (n,).

        With whole p-values, a window of few events would seem calmer than it is in every later sum.
        """
        variances = np.maximum(variances * self._overdispersion, means * (1 + _LEAST_SURPLUS))
        p_values: NDArray[np.float64] = (
            _tail(outliers, means, variances) + _tail(outliers + 1, means, variances)
        ) / 2
        return p_values


def _tail(number: _Numbers, mean: _Numbers, variance: _Numbers) -> NDArray[np.float64]:
    """Return the probability that a negative binomial variable is `number` or more, in (0, 1]."""
    size = mean * mean / (variance - mean)
    # The limit at 0 is 1, and no probability is 0.
    tail = special.betainc(np.maximum(number, sys.float_info.min), size, mean / (mean + size))
    bounded: NDArray[np.float64] = np.maximum(tail, sys.float_info.min)
    return bounded


def _group(tally: Tally, groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return outliers and events, by cluster or of all clusters together."""
    outliers, counts = (
        each.reshape(groups, -1).sum(axis=1) for each in (tally[CLUSTER_OUTLIERS], tally.counts)
    )
    return outliers, counts


def _expected(
    reference: Reference, segment: SegmentReference | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return events and expected share of outliers, by cluster or of all clusters of a segment together."""
    if segment is None:
        counts = reference.counts
        shares = reference.arrays.get(_SHARES)
        return counts, own_outlier_shares(counts) if shares is None else shares
    counts = segment.counts.sum(keepdims=True)
    # Too few of a segment's vectors are outliers for a share by cluster. Half of one is added, which is
    # Jeffreys' prior.
    return counts, segment.arrays.get(_SHARES, (segment.arrays[_SEGMENT_OUTLIERS] + 0.5) / (counts + 1))
