"""The test of novelty: whether more events than in the baseline lie beyond the radius of their cluster."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtr

from driftgauge.core.statistics.student import student_p_value, student_quantile
from driftgauge.core.statistics.target_power import POWER

__all__ = ["RADIUS_LEVEL", "Novelty", "NoveltyNull", "expected_outliers"]

RADIUS_LEVEL = 0.99
"""The share of a cluster's reference vectors within its radius."""

# A negative binomial variable whose variance is this little above its mean is a Poisson variable.
_LEAST_SURPLUS = 1e-9
_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Novelty:
    """The share of a window's events beyond the radius of their cluster, and its test.

    Attributes:
        share: The share, 0 to 1.
        excess: The share less its expectation without drift.
        p_value: The probability of more events without drift and half of that of exactly as many (mid-p), in
            (0, 1).
    """

    share: float
    excess: float
    p_value: float


def expected_outliers(
    counts: NDArray[np.float64 | np.int64], baseline_counts: NDArray[np.int64]
) -> tuple[float, float]:
    """Return mean and variance of the number of events beyond the radius, for independent events.

    The radius of a cluster with m reference vectors is a quantile of their distances. So the share of all
    events beyond it is a beta variable, whatever the distribution of the distances, and the number among n
    events is beta-binomial (S. S. Wilks, Annals of Mathematical Statistics 12, 1941). The quantile is
    interpolated, and so are the parameters, which overstates the number of a cluster of 50 vectors by an
    eighth. The clusters' numbers are independent.

    Args:
        counts: (k,) float64 or int64, the window's histogram.
        baseline_counts: (k,) int64, the baseline's.
    """
    beyond = (baseline_counts * (1 - RADIUS_LEVEL) + RADIUS_LEVEL) / (baseline_counts + 1)
    # Any two events of a cluster are correlated by this, since they share the radius.
    related = 1 / (baseline_counts + 2)
    variances = counts * beyond * (1 - beyond) * (1 + np.maximum(counts - 1, 0) * related)
    return math.fsum(counts * beyond), math.fsum(variances)


class NoveltyNull:
    """The null distribution of the number of a window's events beyond their cluster's radius.

    It is negative binomial, with the mean and the variance of `expected_outliers`, the variance times the
    overdispersion: counts of rare events whose rate varies from window to window, as with bursts of them.

    The overdispersion phi is an estimate from W windows. Squares of rare bursts vary more than those of
    normal variables: with a mean of mu a window, the kurtosis is about 3 + phi / mu, and the estimate has
    2 W / (2 + phi / mu) degrees of freedom. Clean windows have an expectation of one outlier or more, mostly;
    so mu is taken as 1.
    """

    def __init__(self, baseline_counts: NDArray[np.int64], overdispersion: float, windows: float) -> None:
        """Prepare the distribution.

        Args:
            baseline_counts: (k,) int64, the baseline's histogram, above 0.
            overdispersion: The variance of the number relative to independent events, 1 or more.
            windows: The clean windows behind the overdispersion; infinite where it is known.
        """
        self._baseline_counts = baseline_counts
        self._overdispersion = overdispersion
        self._degrees = 2 * windows / (2 + overdispersion)

    def standardized(self, outliers: int, counts: NDArray[np.int64]) -> float:
        """Return the number of outliers less its expectation, in standard errors."""
        mean, variance = expected_outliers(counts, self._baseline_counts)
        return (outliers - mean) / math.sqrt(variance * self._overdispersion)

    def test(self, outliers: int, counts: NDArray[np.int64]) -> Novelty:
        """Return the novelty of a window with this histogram, (k,) int64 with one event or more."""
        mean, variance = expected_outliers(counts, self._baseline_counts)
        variance = max(variance * self._overdispersion, mean * (1 + _LEAST_SURPLUS))
        count = int(counts.sum())
        at_least = _tail(outliers, mean, variance)
        # With whole p-values, a window of few events would seem calmer than it is in every later sum.
        p_value = (at_least + _tail(outliers + 1, mean, variance)) / 2
        return Novelty(
            share=outliers / count,
            excess=(outliers - mean) / count,
            p_value=student_p_value(p_value, self._degrees),
        )

    def least_excess(self, count: int, level: float) -> float:
        """Return the least share above the expected one that a window finds with the target power.

        The alternative: a part of the events lies beyond the radius of their cluster, and the others are as
        in the baseline. Infinity where no number of outliers is significant.

        Args:
            count: n, 1 or more, with the baseline's mix of clusters.
            level: The level of this test alone.
        """
        counts = count * self._baseline_counts / self._baseline_counts.sum()
        mean, variance = expected_outliers(counts, self._baseline_counts)
        variance = max(variance * self._overdispersion, mean * (1 + _LEAST_SURPLUS))
        exact = float(ndtr(student_quantile(level, self._degrees)))
        # Half of a number: the p-value counts half of the probability of exactly as many.
        number = _halve(lambda number: _tail(number + 0.5, mean, variance) <= exact, mean, float(count))
        # The variance stays in proportion to the mean.
        least = _halve(
            lambda mean_with: _tail(number + 0.5, mean_with, variance * mean_with / mean) >= POWER,
            mean,
            float(count),
        )
        return (least - mean) / count if least < count else math.inf


def _halve(is_enough: Callable[[float], bool], low: float, high: float) -> float:
    """Return the least number between two from which on a condition holds; `high` where it never does."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _tail(number: float, mean: float, variance: float) -> float:
    """Return the probability that a negative binomial variable is `number` or more, in (0, 1]."""
    if number <= 0:
        return 1.0
    size = mean * mean / (variance - mean)
    return max(float(betainc(number, size, mean / (mean + size))), sys.float_info.min)
