"""The null distribution of the Jensen-Shannon divergence: p-values and noise floor without drift."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammaln, rel_entr, softmax

from driftgauge.core.statistics.concentration import concentration_posterior

__all__ = ["DivergenceDistribution", "DivergenceNull", "noise_floor"]

# A p-value is never zero.
_LEAST_P_VALUE = float(np.finfo(np.float64).tiny)

# The grid of a cluster's counts: its size, its reach in standard deviations to either side of the mean, and
# its extra reach upwards, which covers the tail of counts of mean 0. With 160 counts and a reach of 10,
# p-values differ by 1 % at 1e-2 and by at most 4 % at 1e-7, for 2 to 300 clusters.
_COUNTS = 64
_REACH = 5.5
_UPWARDS = 16.0

# The gamma approximation needs a variance and a skewness above zero: the least, the variance as a multiple
# of the squared mean.
_LEAST_VARIANCE = 1e-12
_LEAST_SKEWNESS = 1e-3


def noise_floor(clusters: int, count: int, baseline_count: float) -> float:
    """Return the expected base-2 Jensen-Shannon divergence without drift, 0 or more.

    E[JSD] is about (k - 1) / (8 ln 2) * (1/n + 1/m) for independent events (second-order
    expansion, in which 8 ln 2 * nm/(n+m) * JSD is chi-squared with k - 1 degrees of freedom).
    This is some per cent too low where clusters hold few events, and lower still for events in
    correlated bursts.

    Args:
        clusters: k, the number of clusters.
        count: n, the window's events, at least 1.
        baseline_count: m, the events of the baseline's histogram, at least 1; infinity is allowed.
    """
    return (clusters - 1) / (8 * math.log(2)) * (1 / count + 1 / baseline_count)


@dataclass(frozen=True, slots=True, eq=False)
class DivergenceDistribution:
    """The null distribution of the divergence of windows of one count.

    A mixture of a scaled and shifted chi-squared distributions, one for each concentration.

    Attributes:
        probabilities: (a,) float64, the probability of each concentration.
        means: (a,) float64, means, base 2 as the divergence.
        deviations: (a,) float64, standard deviations.
        skewnesses: (a,) float64, above 0.
    """

    probabilities: NDArray[np.float64]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    skewnesses: NDArray[np.float64]

    @property
    def expected(self) -> float:
        """E[JSD], base 2."""
        return float(self.probabilities @ self.means)

    def p_value(self, js_divergence: float) -> float:
        """Return the probability of a base-2 divergence this large or larger, above 0 and at most 1."""
        # The chi-squared distributions as gamma distributions: shape, and distance from the origin in scales.
        shapes = 4 / np.square(self.skewnesses)
        scaled = shapes + (js_divergence - self.means) / (self.deviations * self.skewnesses / 2)
        tail = float(self.probabilities @ gammaincc(shapes, np.maximum(scaled, 0.0)))
        return min(max(tail, _LEAST_P_VALUE), 1.0)


class DivergenceNull:
    """The null distribution of the divergence between windows and a baseline.

    The posterior predictive distribution: the true shares are Dirichlet (the baseline's counts plus a
    concentration, which is estimated from the counts too: see `concentration_posterior`), and a window is
    multinomial with these shares. So the baseline's own sampling error is part of the noise. The level
    holds on average over baselines, not for each: a baseline that by chance lies far from the true shares
    alarms more often than one close to them.

    The divergence is nearly chi-squared with k - 1 degrees of freedom where every cluster has many events.
    Elsewhere it is nearly a chi-squared variable that is scaled and shifted to the right mean, variance and
    skewness (E. S. Pearson, Note on an approximation to the distribution of non-central chi-squared,
    Biometrika 46, 1959). Nothing is simulated, so every process computes the same p-value for a window.

    Overdispersion divides the counts of window and baseline (Rao and Scott's correction of the first
    order, Journal of the American Statistical Association 76, 1981).
    """

    def __init__(self, baseline_counts: NDArray[np.int64], inflation: float) -> None:
        """Prepare the distribution for a baseline.

        Args:
            baseline_counts: (k,) int64, the baseline's histogram: two clusters or more, some of which
                may be empty.
            inflation: The overdispersion of the counts, 1 (independent events) or more.

        Raises:
            ValueError: There are fewer than two clusters, no events, or an overdispersion below 1.
        """
        if len(baseline_counts) < 2 or not baseline_counts.sum():  # noqa: PLR2004
            message = "a baseline histogram needs at least two clusters and one event"
            raise ValueError(message)
        if inflation < 1:
            message = f"an overdispersion of {inflation} is less than 1, that of independent events"
            raise ValueError(message)
        self._shares = baseline_counts / baseline_counts.sum()
        self._inflation = inflation
        effective = baseline_counts / inflation
        self._per_event = 1 / effective.sum()
        grid, self._probabilities = concentration_posterior(effective)
        self._parameters: NDArray[np.float64] = effective + grid[:, None]

    def at(self, count: int) -> DivergenceDistribution:
        """Return the distribution for windows of `count` events, at least 1."""
        # Given their sum, the counts of a window are independent negative binomial variables.
        effective = max(count / self._inflation, 1.0)
        whole = math.floor(effective)
        own, totals = self._parameters[:, :, None], self._parameters.sum(axis=1)[:, None, None]
        counts, log_sizes = _count_grid(whole * own / totals, 1 + whole / totals)
        parts = _divergence_parts(counts / whole, self._shares[:, None])
        rising = log_sizes + gammaln(counts + own) - gammaln(counts + 1)
        # The mean needs each count's marginal distribution only, which is beta-binomial.
        others = np.maximum(whole - counts, 0.0)
        marginal = rising + gammaln(others + totals - own) - gammaln(others + 1)
        marginal = softmax(np.where(counts <= whole, marginal, -np.inf), axis=2)
        means = (marginal * parts).sum(axis=(1, 2))
        # The sum is fixed, so the component correlated with it is regressed out of variance and skewness,
        # as if all were normal: one degree of freedom less.
        free = softmax(rising + counts * np.log(whole / (whole + totals)), axis=2)
        counts = counts - (free * counts).sum(axis=2, keepdims=True)
        parts = parts - (free * parts).sum(axis=2, keepdims=True)
        parts -= counts * (_total(free * parts * counts) / _total(free * np.square(counts)))
        own_variances = (free * np.square(parts)).sum(axis=2)
        variances = own_variances.sum(axis=1)
        varying = np.maximum(np.square(variances) / np.square(own_variances).sum(axis=1), 2.0)
        remaining = 1 - 1 / varying
        variances = np.maximum(variances * remaining, _LEAST_VARIANCE * np.square(means))
        thirds = _total(free * np.square(parts) * parts).ravel() * remaining
        skewnesses = np.maximum(thirds / variances**1.5, _LEAST_SKEWNESS)
        # The fraction of an event that `whole` drops scales the divergence as it scales the noise floor.
        shrink = (1 / effective + self._per_event) / (1 / whole + self._per_event)
        return DivergenceDistribution(
            self._probabilities, means * shrink, np.sqrt(variances) * shrink, skewnesses
        )


def _count_grid(
    means: NDArray[np.float64], dispersions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a grid of counts of each cluster, (k, p) float64, and the log of the width of each grid cell.

    The grid is even in the square root of the count, which stabilizes the variance.

    Args:
        means: (a, k, 1) float64, each cluster's mean count under each concentration.
        dispersions: (a, 1, 1) float64, the least ratio of its variance to its mean.
    """
    reach = _REACH * np.sqrt(means * dispersions)
    lowest = np.sqrt(np.maximum(means - reach, 0.0).min(axis=0))
    highest = np.sqrt((means + reach + _UPWARDS * dispersions).max(axis=0))
    counts = np.rint(np.square(lowest + (highest - lowest) * np.linspace(0, 1, _COUNTS)))
    ends = np.floor((counts[:, 1:] + counts[:, :-1]) / 2)
    sizes = np.diff(ends, prepend=counts[:, :1] - 1, append=counts[:, -1:])
    with np.errstate(divide="ignore"):
        return counts, np.log(sizes)


def _total(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over clusters and counts, (a, 1, 1) float64."""
    total: NDArray[np.float64] = values.sum(axis=(1, 2), keepdims=True)
    return total


def _divergence_parts(shares: NDArray[np.float64], baseline: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each cluster's contribution to the base-2 divergence, (k, p) float64."""
    mean = (shares + baseline) / 2
    parts: NDArray[np.float64] = (rel_entr(shares, mean) + rel_entr(baseline, mean)) / (2 * math.log(2))
    return parts
