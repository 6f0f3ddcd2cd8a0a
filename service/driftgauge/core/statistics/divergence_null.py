"""How large a divergence is when nothing has drifted, and how rare a larger one."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammaln, rel_entr

from driftgauge.core.statistics.concentration import concentrations

__all__ = ["DivergenceDistribution", "DivergenceNull", "noise_floor"]

# A p-value is never zero.
_LEAST_P_VALUE = float(np.finfo(np.float64).tiny)

# The counts of a cluster that are looked at: so many, this many standard deviations to either side, and
# as far upwards as counts of mean 0 with such a tail reach.
_COUNTS = 160
_REACH = 10.0
_UPWARDS = 36.0

# What varies less, for its mean, or is less skewed, is taken to be so nevertheless.
_LEAST_VARIANCE = 1e-12
_LEAST_SKEWNESS = 1e-3


def noise_floor(clusters: int, count: int, baseline_count: float) -> float:
    """Return the Jensen-Shannon divergence to expect without any drift, base 2, 0 or more.

    E[JSD] is about (k - 1) / (8 ln 2) * (1/n + 1/m) for independent events (second-order
    expansion, in which 8 ln 2 * nm/(n+m) * JSD is chi-squared with k - 1 degrees of freedom).
    It is some per cent low where clusters hold few events, and too low where events come in
    related bursts.

    Args:
        clusters: k, the number of clusters.
        count: n, the window's events, at least 1.
        baseline_count: m, the events behind the baseline's histogram, at least 1; infinity is allowed.
    """
    return (clusters - 1) / (8 * math.log(2)) * (1 / count + 1 / baseline_count)


@dataclass(frozen=True, slots=True, eq=False)
class DivergenceDistribution:
    """The distribution of the divergence of windows of one count while nothing drifts.

    It is a mixture of a scaled and shifted chi-squared distributions, one for each concentration.

    Attributes:
        probabilities: (a,) float64, how probable each concentration is.
        means: (a,) float64, base 2, as the divergence.
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
        """Return how probable a base-2 divergence this large or larger is, above 0 and at most 1."""
        # Half of the degrees of freedom, and the divergence in units of twice the scale from where it begins.
        shapes = 4 / np.square(self.skewnesses)
        places = shapes + (js_divergence - self.means) / (self.deviations * self.skewnesses / 2)
        tail = float(self.probabilities @ gammaincc(shapes, np.maximum(places, 0.0)))
        return min(max(tail, _LEAST_P_VALUE), 1.0)


class DivergenceNull:
    """The distribution of the divergence between a window and a baseline while nothing drifts.

    It is the posterior predictive one: the true shares are Dirichlet (the baseline's counts plus a
    concentration, of which the counts tell as well: see `concentrations`), a window is multinomial with
    them, and is compared with the baseline's histogram. So the baseline's own sampling is part of the
    noise. It holds its level on average over baselines, not for each of them: a baseline that by chance
    lies far from the truth alarms more often than one close to it.

    The divergence is nearly chi-squared with k - 1 degrees of freedom where all clusters are well filled.
    Where they are not, it still is nearly chi-squared once it is scaled and shifted so that mean, variance
    and skewness are right (E. S. Pearson, Note on an approximation to the distribution of non-central
    chi-squared, Biometrika 46, 1959). Nothing is simulated, so the same window has the same answer in every
    process.

    Overdispersion divides the counts, the window's and the baseline's (Rao and Scott's correction of
    the first order, Journal of the American Statistical Association 76, 1981).
    """

    def __init__(self, baseline_counts: NDArray[np.int64], inflation: float) -> None:
        """Take the baseline.

        Args:
            baseline_counts: (k,) int64, the baseline's histogram: two clusters or more, some of which
                may be empty.
            inflation: The overdispersion of the counts, 1 for independent events, never less.

        Raises:
            ValueError: There are fewer than two clusters, no events, or less dispersion than independent
                events have.
        """
        if len(baseline_counts) < 2 or not baseline_counts.sum():  # noqa: PLR2004
            message = "a histogram needs two clusters and an event for its divergence to vary"
            raise ValueError(message)
        if inflation < 1:
            message = f"an overdispersion of {inflation} is less than that of independent events"
            raise ValueError(message)
        self._shares = baseline_counts / baseline_counts.sum()
        self._inflation = inflation
        effective = baseline_counts / inflation
        self._per_event = 1 / effective.sum()
        grid, self._probabilities = concentrations(effective)
        self._parameters: NDArray[np.float64] = effective + grid[:, None]

    def at(self, count: int) -> DivergenceDistribution:
        """Return the distribution for windows of so many events, at least 1."""
        # The counts of a window are independent negative binomial ones, given their sum.
        effective = max(count / self._inflation, 1.0)
        whole = math.floor(effective)
        own, totals = self._parameters[:, :, None], self._parameters.sum(axis=1)[:, None, None]
        counts, log_sizes = _counts(whole * own / totals, 1 + whole / totals)
        parts = _divergence_parts(counts / whole, self._shares[:, None])
        rising = log_sizes + gammaln(counts + own) - gammaln(counts + 1)
        # One count by itself is beta-binomial, which is all that the mean needs.
        others = np.maximum(whole - counts, 0.0)
        alone = rising + gammaln(others + totals - own) - gammaln(others + 1)
        alone = _normalized(np.where(counts <= whole, alone, -np.inf))
        means = (alone * parts).sum(axis=(1, 2))
        # From variance and skewness what goes with the sum is removed, as if all were normal: of the parts
        # that vary all but one are left.
        free = _normalized(rising + counts * np.log(whole / (whole + totals)))
        counts = counts - (free * counts).sum(axis=2, keepdims=True)
        parts = parts - (free * parts).sum(axis=2, keepdims=True)
        parts -= counts * (_total(free * parts * counts) / _total(free * np.square(counts)))
        own_variances = (free * np.square(parts)).sum(axis=2)
        variances = own_variances.sum(axis=1)
        varying = np.maximum(np.square(variances) / np.square(own_variances).sum(axis=1), 2.0)
        remaining = 1 - 1 / varying
        variances = np.maximum(variances * remaining, _LEAST_VARIANCE * np.square(means))
        thirds = _total(free * np.power(parts, 3)).ravel() * remaining
        skewnesses = np.maximum(thirds / variances**1.5, _LEAST_SKEWNESS)
        # A part of an event makes the divergence as much smaller as it makes its floor.
        shrink = (1 / effective + self._per_event) / (1 / whole + self._per_event)
        return DivergenceDistribution(
            self._probabilities, means * shrink, np.sqrt(variances) * shrink, skewnesses
        )


def _counts(
    means: NDArray[np.float64], dispersions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return counts of each cluster to look at, (k, p) float64, and the log of how many each stands for.

    They are the closer the smaller they are, for the roots of counts vary alike whatever their mean.

    Args:
        means: (a, k, 1) float64, what each cluster counts on average, under each concentration.
        dispersions: (a, 1, 1) float64, the least that its variance may be of that.
    """
    reach = _REACH * np.sqrt(means * dispersions)
    lowest = np.sqrt(np.maximum(means - reach, 0.0).min(axis=0))
    highest = np.sqrt((means + reach + _UPWARDS * dispersions).max(axis=0))
    counts = np.rint(np.square(lowest + (highest - lowest) * np.linspace(0, 1, _COUNTS)))
    ends = np.floor((counts[:, 1:] + counts[:, :-1]) / 2)
    sizes = np.diff(ends, prepend=counts[:, :1] - 1, append=counts[:, -1:])
    with np.errstate(divide="ignore"):
        return counts, np.log(sizes)


def _normalized(log_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities, (a, k, p) float64, that sum to 1 over the counts of each cluster."""
    weights = np.exp(log_weights - log_weights.max(axis=2, keepdims=True))
    probabilities: NDArray[np.float64] = weights / weights.sum(axis=2, keepdims=True)
    return probabilities


def _total(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over clusters and counts, (a, 1, 1) float64."""
    total: NDArray[np.float64] = values.sum(axis=(1, 2), keepdims=True)
    return total


def _divergence_parts(shares: NDArray[np.float64], baseline: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each cluster's part of the divergence of shares, (k, p) float64, base 2."""
    mean = (shares + baseline) / 2
    parts: NDArray[np.float64] = (rel_entr(shares, mean) + rel_entr(baseline, mean)) / (2 * math.log(2))
    return parts
