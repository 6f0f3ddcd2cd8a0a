"""Statistical power: the probability of finding a given drift, and the sample size that it takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from scipy.special import chdtri, chndtr, fdtri, ncfdtr

from driftgauge.core.statistics.combination import JS_WEIGHT, T2_WEIGHT, TOTAL_WEIGHT
from driftgauge.core.statistics.divergence_null import noise_floor
from driftgauge.core.statistics.halving import halve
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.target_power import POWER

__all__ = ["Detectable", "Sensitivity", "js_divergence_power", "mean_shift_power"]

# 8 ln 2 times the effective count and the base-2 divergence is chi-squared.
_JS_SCALE = 8 * math.log(2)

# A test that alone is significant must be so at its share of the level; see `combine`.
_JS_SHARE = JS_WEIGHT / TOTAL_WEIGHT
_T2_SHARE = T2_WEIGHT / TOTAL_WEIGHT

# At this non-centrality every test has full power, except against a baseline of one or two events more than
# components, for which the distribution cannot be computed much further.
_MAX_NONCENTRALITY = 1e9
_HALVINGS = 50


def js_divergence_power(noncentrality: float, clusters: int, level: float) -> float:
    """Return the power of the test of the histogram at a non-centrality, 0 to 1.

    8 ln 2 * nm/(n+m) * JSD is about chi-squared with k - 1 degrees of freedom, and with drift D
    non-central by 8 ln 2 * nm/(n+m) * D (second-order expansion of the divergence). Overdispersion by
    phi divides n and m by phi (J. N. K. Rao and A. J. Scott, The analysis of categorical data from
    complex sample surveys, Journal of the American Statistical Association 76, 1981).

    Args:
        noncentrality: The non-centrality, 0 or more.
        clusters: k, 2 at least.
        level: The level of this test alone.
    """
    degrees = clusters - 1
    return 1 - float(chndtr(chdtri(degrees, level), degrees, min(noncentrality, _MAX_NONCENTRALITY)))


def mean_shift_power(noncentrality: float, components: int, baseline_count: float, level: float) -> float:
    """Return the power of Hotelling's test of the mean at a non-centrality, 0 to 1.

    T2 (m-r) / (r (m-1)) is F with r and m - r degrees of freedom, since the covariance is estimated
    from the m events of the baseline. With a shift of Mahalanobis length D its non-centrality is
    nm/(n+m) * D^2.

    Source: T. W. Anderson, An Introduction to Multivariate Statistical Analysis, 3rd edition, Wiley,
    2003, chapter 5.

    Args:
        noncentrality: The non-centrality, 0 or more.
        components: r, 1 at least.
        baseline_count: m; the power is 0 where m is r or less, and infinity is allowed.
        level: The level of this test alone.
    """
    degrees = baseline_count - components
    noncentrality = min(noncentrality, _MAX_NONCENTRALITY)
    if degrees <= 0:
        return 0.0
    if math.isinf(degrees):
        return 1 - float(chndtr(chdtri(components, level), components, noncentrality))
    # The upper quantile as one over the lower of the inverse ratio: 1 - level would be rounded.
    quantile = 1 / fdtri(degrees, components, level)
    missed = float(ncfdtr(components, degrees, noncentrality, quantile))
    # At some non-centralities of 1,300 to 5,500 ncfdtr is NaN. The neighbours on both sides have full power.
    return 1.0 if math.isnan(missed) else 1 - missed


@dataclass(frozen=True, slots=True)
class Detectable:
    """The least drift that a window finds with the target power; infinity where it finds none.

    Attributes:
        js_divergence: The base-2 divergence of a change of mix between clusters that hold many events.
        mean_shift: The squared Mahalanobis length of a shift of all events along the components.
        novelty: The share of events that lie beyond the radius of their cluster, above the expected one.
        spread: The relative growth of all squared distances from the baseline's mean.
        duplicates: The share of one repeated item.
    """

    js_divergence: float
    mean_shift: float
    novelty: float
    spread: float
    duplicates: float


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

    @classmethod
    def of(
        cls,
        clusters: int,
        components: int,
        baseline_count: float,
        overdispersion: Overdispersion | None,
        mean_count: float | None = None,
    ) -> "Sensitivity":
        """Return the sensitivity under an overdispersion; None: events are assumed independent."""
        if overdispersion is None:
            return cls(clusters, components, baseline_count, mean_count=mean_count)
        counts, means = overdispersion.counts, overdispersion.largest_mean
        return cls(clusters, components, baseline_count, counts, means, mean_count)

    def noise_floor(self, count: int) -> float:
        """Return the expected base-2 divergence of a window of `count` events, 1 or more, without drift."""
        return noise_floor(self.clusters, count, self.baseline_count) * self.counts_overdispersion

    def least_js_divergence(self, count: int, level: float) -> float:
        """Return the least base-2 divergence that a window finds with the target power.

        The result is above 1, the largest divergence, where no divergence is found.
        """
        effective = _effective(count, self.baseline_count, self.counts_overdispersion)
        return _js_needed(self.clusters, level) / effective

    def least_mean_shift(self, count: int, level: float) -> float:
        """Return the least shift, its squared Mahalanobis length, that is found with the target power.

        Infinity where no shift is found.
        """
        needed = _shift_needed(self.components, self.baseline_count, level)
        return needed / _effective(count, self._mean_count, self.means_overdispersion)

    def least_count(self, level: float, js_divergence: float, mean_shift: float) -> int | None:
        """Return the fewest events with which either drift is found with the target power.

        None where the baseline has too few events for a window of any size.
        """
        by_counts = self.least_js_divergence_count(level, js_divergence)
        by_mean = self.least_mean_shift_count(level, mean_shift)
        return None if by_counts is None or by_mean is None else max(by_counts, by_mean)

    def least_js_divergence_count(self, level: float, js_divergence: float) -> int | None:
        """Return the fewest events with which the histogram finds a divergence; None as in `least_count`."""
        effective = _js_needed(self.clusters, level) / js_divergence
        return _count(effective, self.baseline_count, self.counts_overdispersion)

    def least_mean_shift_count(self, level: float, mean_shift: float) -> int | None:
        """Return the fewest events with which the mean finds a shift; None as in `least_count`."""
        needed = _shift_needed(self.components, self.baseline_count, level)
        return _count(needed / mean_shift, self._mean_count, self.means_overdispersion)

    @property
    def _mean_count(self) -> float:
        return self.baseline_count if self.mean_count is None else self.mean_count


def _effective(count: int, baseline_count: float, overdispersion: float) -> float:
    """Return nm/(n+m) of a window, divided by the overdispersion."""
    return 1 / (1 / count + 1 / baseline_count) / overdispersion


def _count(effective: float, baseline_count: float, overdispersion: float) -> int | None:
    """Return the least count of a window with this effective count, or None where no count has it."""
    remainder = 1 / (effective * overdispersion) - 1 / baseline_count
    return math.ceil(1 / remainder) if remainder > 0 else None


# Every window asks, and a search takes half a millisecond.
@lru_cache(maxsize=1_024)
def _js_needed(clusters: int, level: float) -> float:
    """Return the product of effective count and divergence that has the target power."""
    return _noncentrality(lambda value: js_divergence_power(value, clusters, level * _JS_SHARE)) / _JS_SCALE


@lru_cache(maxsize=1_024)
def _shift_needed(components: int, baseline_count: float, level: float) -> float:
    """Return the product of effective count and shift that has the target power."""
    return _noncentrality(
        lambda value: mean_shift_power(value, components, baseline_count, level * _T2_SHARE)
    )


def _noncentrality(power: Callable[[float], float]) -> float:
    """Return the non-centrality at which an increasing power function reaches the target; may be infinite."""
    # scipy.special.chndtrinc agrees to 2e-15 for the histogram, but ncfdtrinc only to 3e-5 for the mean, and
    # not above 10,000. scipy.optimize.brentq takes 0.1 ms, not 0.4, but would add 23 MiB to the service.
    high = 1.0
    while power(high) < POWER:
        high *= 2
        if high > _MAX_NONCENTRALITY:
            return math.inf
    return halve(lambda value: not power(value) < POWER, 0.0, high, _HALVINGS)
