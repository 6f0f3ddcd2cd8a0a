"""Sensitivity: the least drift of the mix and of the mean that windows find, and the events that it takes."""

import math
from dataclasses import dataclass

from driftgauge.core.statistics import registry
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.divergence_null import noise_floor
from driftgauge.core.statistics.mean_shift import MEAN_SHIFT
from driftgauge.core.statistics.power import effective_count, js_needed, shift_needed

__all__ = ["Sensitivity"]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The power of the tests against one baseline, and the least drift and sample size for it.

    A level is always the window's, which the combined p-value is compared with.

    Attributes:
        clusters: k, 2 at least.
        components: r, 1 at least.
        baseline_count: m, the events of the baseline's histogram; infinity for far more than any window's.
        mean_count: M, the events of the baseline's mean; None: the same m.
        counts_overdispersion: The overdispersion of the counts, 1 for independent events.
        means_overdispersion: The variance of the mean relative to independent events, in the direction where
            it is largest: the power is at least as high in every other direction.
    """

    clusters: int
    components: int
    baseline_count: float = math.inf
    counts_overdispersion: float = 1.0
    means_overdispersion: float = 1.0
    mean_count: float | None = None

    def noise_floor(self, count: int) -> float:
        """Return the expected base-2 divergence of a window of `count` events, 1 or more, without drift."""
        return noise_floor(self.clusters, count, self.baseline_count) * self.counts_overdispersion

    def least_js_divergence(self, count: int, level: float) -> float:
        """Return the least base-2 divergence that a window finds with the target power.

        The result is above 1, the largest divergence, where no divergence is found.
        """
        effective = effective_count(count, self.baseline_count, self.counts_overdispersion)
        return js_needed(self.clusters, _share(level, DIVERGENCE.weights[0])) / effective

    def least_mean_shift(self, count: int, level: float) -> float:
        """Return the least shift, its squared Mahalanobis length, that is found with the target power.

        Infinity where no shift is found.
        """
        needed = shift_needed(self.components, self.baseline_count, _share(level, MEAN_SHIFT.weights[0]))
        return needed / effective_count(count, self._mean_count, self.means_overdispersion)

    def least_count(self, level: float, js_divergence: float, mean_shift: float) -> int | None:
        """Return the fewest events with which either drift is found with the target power.

        None where the baseline has too few events for a window of any size.
        """
        by_counts = self.least_js_divergence_count(level, js_divergence)
        by_mean = self.least_mean_shift_count(level, mean_shift)
        return None if by_counts is None or by_mean is None else max(by_counts, by_mean)

    def least_js_divergence_count(self, level: float, js_divergence: float) -> int | None:
        """Return the fewest events with which the histogram finds a divergence; None as in `least_count`."""
        effective = js_needed(self.clusters, _share(level, DIVERGENCE.weights[0])) / js_divergence
        return _count(effective, self.baseline_count, self.counts_overdispersion)

    def least_mean_shift_count(self, level: float, mean_shift: float) -> int | None:
        """Return the fewest events with which the mean finds a shift; None as in `least_count`."""
        needed = shift_needed(self.components, self.baseline_count, _share(level, MEAN_SHIFT.weights[0]))
        return _count(needed / mean_shift, self._mean_count, self.means_overdispersion)

    @property
    def _mean_count(self) -> float:
        return self.baseline_count if self.mean_count is None else self.mean_count


def _count(effective: float, baseline_count: float, overdispersion: float) -> int | None:
    """Return the least count of a window with this effective count, or None where no count has it."""
    remainder = 1 / (effective * overdispersion) - 1 / baseline_count
    return math.ceil(1 / remainder) if remainder > 0 else None


def _share(level: float, weight: float) -> float:
    """Return the level of one test: one that alone is significant must be so at its share; see `combine`."""
    return level * weight / registry.total_weight()
