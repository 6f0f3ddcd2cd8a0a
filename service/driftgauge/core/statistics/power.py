"""How surely drift of a given size is found, and how many events that takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, chndtr, fdtri, ncfdtr

from driftgauge.core.statistics.divergence_null import noise_floor
from driftgauge.core.statistics.overdispersion import Overdispersion

__all__ = ["POWER", "Sensitivity", "js_divergence_power", "mean_shift_power"]

POWER = 0.8
"""The power that is promised of a window: drift worth finding is found so often."""

# 8 ln 2 times the effective count and the base-2 divergence is chi-squared.
_JS_SCALE = 8 * math.log(2)

# The verdict combines three p-values. Where one test alone sees the drift, its p-value must be a
# third of the level: the Cauchy combination of a small p-value and two unremarkable ones is 3 p
# (Y. Liu and J. Xie, Cauchy combination test, Journal of the American Statistical Association
# 115, 2020). More tests that see it only help.
_TESTS = 3

# At this non-centrality any test is sure, but for one against a baseline of one or two events more than
# components, where the distribution cannot be computed much beyond.
_MAX_NONCENTRALITY = 1e9
_HALVINGS = 50


def js_divergence_power(noncentrality: float, clusters: int, level: float) -> float:
    """Return how often the test of the histogram finds drift of a non-centrality, 0 to 1.

    8 ln 2 * nm/(n+m) * JSD is about chi-squared with k - 1 degrees of freedom, and with drift D
    non-central by 8 ln 2 * nm/(n+m) * D (second-order expansion of the divergence). With phi-fold
    overdispersion n and m count phi times less (J. N. K. Rao and A. J. Scott, The analysis of
    categorical data from complex sample surveys, Journal of the American Statistical Association
    76, 1981).

    Args:
        noncentrality: The non-centrality, 0 or more.
        clusters: k, 2 at least.
        level: The level of this test alone.
    """
    freedom = clusters - 1
    return 1 - float(chndtr(chdtri(freedom, level), freedom, noncentrality))


def mean_shift_power(noncentrality: float, components: int, baseline_count: float, level: float) -> float:
    """Return how often Hotelling's test of the mean finds drift of a non-centrality, 0 to 1.

    T2 (m-r) / (r (m-1)) is F with r and m - r degrees of freedom, for the covariance is estimated
    from the m events of the baseline; with a shift of Mahalanobis length D it is non-central by
    nm/(n+m) * D^2.

    Source: T. W. Anderson, An Introduction to Multivariate Statistical Analysis, 3rd edition, Wiley,
    2003, chapter 5.

    Args:
        noncentrality: The non-centrality, 0 or more.
        components: r, 1 at least.
        baseline_count: m; 0 is returned where it is no more than r, and infinity is allowed.
        level: The level of this test alone.
    """
    freedom = baseline_count - components
    if freedom <= 0:
        return 0.0
    if math.isinf(freedom):
        return 1 - float(chndtr(chdtri(components, level), components, noncentrality))
    # The upper quantile as one over the lower of the inverse ratio: 1 - level would be rounded.
    quantile = 1 / fdtri(freedom, components, level)
    return 1 - float(ncfdtr(components, freedom, min(noncentrality, _MAX_NONCENTRALITY), quantile))


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What decides, beside a window's count and level, which drift is found.

    A level is always the window's: what the combined p-value is compared with.

    Attributes:
        clusters: k, 2 at least.
        components: r, 1 at least.
        baseline_count: m, the events the baseline counts; infinity for far more than any window's.
        counts_inflation: The overdispersion of the counts, 1 for independent events.
        means_inflation: How many times the variance of independent events the mean has, in the
            direction where that is most: a shift in any direction is found at least as often.
    """

    clusters: int
    components: int
    baseline_count: float = math.inf
    counts_inflation: float = 1.0
    means_inflation: float = 1.0

    @classmethod
    def of(
        cls, clusters: int, components: int, baseline_count: float, overdispersion: Overdispersion | None
    ) -> "Sensitivity":
        """Return the sensitivity with a known overdispersion; with None events are taken for independent."""
        if overdispersion is None:
            return cls(clusters, components, baseline_count)
        inflation = float(np.linalg.eigvalsh(overdispersion.means)[-1])
        return cls(clusters, components, baseline_count, overdispersion.counts, inflation)

    def noise_floor(self, count: int) -> float:
        """Return the base-2 divergence to expect without drift in a window of so many events, 1 or more."""
        return noise_floor(self.clusters, count, self.baseline_count) * self.counts_inflation

    def js_divergence_power(self, count: int, level: float, js_divergence: float) -> float:
        """Return how often a window finds a base-2 divergence by its histogram, 0 to 1."""
        noncentrality = _JS_SCALE * self._effective(count, self.counts_inflation) * js_divergence
        return js_divergence_power(noncentrality, self.clusters, level / _TESTS)

    def mean_shift_power(self, count: int, level: float, mean_shift: float) -> float:
        """Return how often a window finds a shift, its Mahalanobis length squared, by its mean, 0 to 1."""
        noncentrality = self._effective(count, self.means_inflation) * mean_shift
        return mean_shift_power(noncentrality, self.components, self.baseline_count, level / _TESTS)

    def least_js_divergence(self, count: int, level: float) -> float:
        """Return the least base-2 divergence that a window finds with the power promised.

        Above 1, which no divergence is, where it finds none.
        """
        return self._js_needed(level) / self._effective(count, self.counts_inflation)

    def least_mean_shift(self, count: int, level: float) -> float:
        """Return the least shift, its Mahalanobis length squared, that is found with the power promised.

        Infinity where none is.
        """
        return self._shift_needed(level) / self._effective(count, self.means_inflation)

    def least_count(self, level: float, js_divergence: float, mean_shift: float) -> int | None:
        """Return the fewest events with which either drift is found with the power promised.

        None where the baseline counts too few events for that, however many the window has.
        """
        by_counts = self.least_js_divergence_count(level, js_divergence)
        by_mean = self.least_mean_shift_count(level, mean_shift)
        return None if by_counts is None or by_mean is None else max(by_counts, by_mean)

    def least_js_divergence_count(self, level: float, js_divergence: float) -> int | None:
        """Return the fewest events with which the histogram finds a divergence; None as above."""
        return self._count(self._js_needed(level) / js_divergence, self.counts_inflation)

    def least_mean_shift_count(self, level: float, mean_shift: float) -> int | None:
        """Return the fewest events with which the mean finds a shift; None as above."""
        return self._count(self._shift_needed(level) / mean_shift, self.means_inflation)

    def _js_needed(self, level: float) -> float:
        """Return the product of effective count and divergence that has the power promised."""
        return (
            _noncentrality(lambda value: js_divergence_power(value, self.clusters, level / _TESTS))
            / _JS_SCALE
        )

    def _shift_needed(self, level: float) -> float:
        """Return the product of effective count and shift that has the power promised."""
        return _noncentrality(
            lambda value: mean_shift_power(value, self.components, self.baseline_count, level / _TESTS)
        )

    def _effective(self, count: int, inflation: float) -> float:
        """Return nm/(n+m) of a window, its events and the baseline's both overdispersed."""
        return 1 / (1 / count + 1 / self.baseline_count) / inflation

    def _count(self, effective: float, inflation: float) -> int | None:
        """Return the count of a window with such an nm/(n+m) at least, or None."""
        remainder = 1 / (effective * inflation) - 1 / self.baseline_count
        return math.ceil(1 / remainder) if remainder > 0 else None


def _noncentrality(power: Callable[[float], float]) -> float:
    """Return the non-centrality at which a growing power reaches what is promised, or infinity."""
    high = 1.0
    while power(high) < POWER:
        high *= 2
        if high > _MAX_NONCENTRALITY:
            return math.inf
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if power(middle) < POWER:
            low = middle
        else:
            high = middle
    return high
