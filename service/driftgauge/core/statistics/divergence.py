"""The divergence of the mix of clusters: Jensen-Shannon divergence of two histograms, and its test."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.tally import CLUSTER_COUNTS, Tally
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.nulls.divergence_null import DivergenceNull, relative_entropy
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import effective_count, js_needed
from driftgauge.core.statistics.statistic import Finding, Null, Statistic

__all__ = ["DIVERGENCE", "MAX_MOVERS", "Divergence", "js_contributions"]

MAX_MOVERS = 3
"""The number of clusters that are named as movers."""


@dataclass(frozen=True, slots=True, eq=False)
class Divergence(Finding):
    """A comparison of a histogram with the baseline's.

    Attributes:
        js_divergence: Jensen-Shannon divergence, base 2, 0 to 1.
        js_distance: Its square root.
        contributions: (k,) float64, each cluster's part; the parts sum to the divergence.
        noise_floor: The expected divergence without drift, given the pooled counts of window and baseline.
        excess: The divergence less the noise floor; below 0 if the divergence is below the floor.
        p_value: The probability without drift of a divergence at least as large.
    """

    always_counts = True

    js_divergence: float
    js_distance: float
    contributions: NDArray[np.float64]
    noise_floor: float
    excess: float
    p_value: float

    @property
    def movers(self) -> tuple[int, ...]:
        """The clusters that contribute most to the divergence, the largest first."""
        order = np.argsort(-self.contributions, kind="stable")[:MAX_MOVERS]
        return tuple(cluster for cluster in order.tolist() if self.contributions[cluster] > 0)


class _DivergenceStatistic(Statistic[Divergence]):
    """The divergence of the mix; its overdispersion is that of the counts."""

    name = "js_divergence"
    kind = "mix"
    finding = Divergence
    fields: ClassVar = {CLUSTER_COUNTS: "k"}
    smallest = 0.01
    largest = 1.0
    # A class or a topic that is missing is found mostly by the divergence.
    weights = (1.0,)
    decides_alone = True

    def measure(self, events: MeasuredEvents) -> tuple[NDArray[np.intp]]:
        return (events.cluster,)

    def null(
        self, reference: Reference, segment: SegmentReference | None, overdispersion: Overdispersion
    ) -> Null[Divergence]:
        return _Null((segment or reference).counts, overdispersion)

    def shown(self, finding: Divergence) -> float:
        return finding.js_divergence

    def numbers(self, finding: Divergence) -> dict[str, float]:
        return {
            "js_divergence": finding.js_divergence,
            "js_distance": finding.js_distance,
            "noise_floor": finding.noise_floor,
            "js_excess": finding.excess,
            "js_p_value": finding.p_value,
        }


DIVERGENCE = _DivergenceStatistic()


def js_contributions(counts: NDArray[np.int64], baseline_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each cluster's contribution to the base-2 Jensen-Shannon divergence, (k,) float64.

    With p and q the two histograms as shares and m their mean, cluster i contributes
    (p_i log2(p_i / m_i) + q_i log2(q_i / m_i)) / 2, which is never negative (log-sum inequality);
    0 log 0 is 0. The contributions sum to the divergence, which lies between 0 and 1. The Jensen-Shannon
    distance is the square root of the divergence.

    Source: J. Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on
    Information Theory 37(1), 1991.

    Args:
        counts: (k,) int64, the window's histogram, at least one event.
        baseline_counts: (k,) int64, the baseline's histogram, at least one event.
    """
    shares = counts / counts.sum()
    baseline_shares = baseline_counts / baseline_counts.sum()
    mean = (shares + baseline_shares) / 2
    terms = (relative_entropy(shares, mean) + relative_entropy(baseline_shares, mean)) / 2
    # Rounding can leave a term slightly below zero if both shares are equal.
    return np.maximum(terms, 0.0)


class _Null(Null[Divergence]):
    """The null distribution against a histogram."""

    def __init__(self, counts: NDArray[np.int64], overdispersion: Overdispersion) -> None:
        self._counts, self._overdispersion = counts, overdispersion
        self._of_tail = overdispersion.of_tail(len(counts))

    def test(self, tally: Tally) -> Divergence:
        contributions = js_contributions(tally.counts, self._counts)
        # fsum does not depend on the order of the clusters, and rounding must not carry the sum above 1.
        divergence = min(math.fsum(contributions), 1.0)
        null = DivergenceNull.of(tally.counts, self._counts, self._of_tail)
        # The overdispersion of the tail has a margin, which the expected divergence must not include.
        noise_floor = null.expected * (self._overdispersion.counts / self._of_tail)
        return Divergence(
            js_divergence=divergence,
            js_distance=math.sqrt(divergence),
            contributions=contributions,
            noise_floor=noise_floor,
            excess=divergence - noise_floor,
            p_value=null.p_value(divergence),
        )

    def least(self, count: int, level: float) -> float:
        effective = effective_count(count, int(self._counts.sum()), self._overdispersion.counts)
        least = js_needed(len(self._counts), level, self._overdispersion.reduce(math.inf)) / effective
        return least if least <= 1 else math.inf
