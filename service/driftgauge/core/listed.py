"""How rare a divergence is when nothing has drifted, from windows looked at one by one."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, rel_entr

from driftgauge.core.concentration import dirichlet_multinomial

__all__ = ["LEAST_P_VALUE", "Listed", "can_be_listed", "divergence_parts"]

# Up to so many windows of a count are looked at, each of them.
MOST_LISTED = 3_000

# So few clusters have so many at most that are looked at, whatever their count; these reach to so many
# standard deviations of windows without drift.
THINNED_CLUSTERS = 3
MOST_THINNED = 20_000
REACH = 10.0

# Further out the tail has no float of its own, and a p-value is never zero.
LEAST_P_VALUE = float(np.finfo(np.float64).tiny)

# Windows may share their divergences but for rounding: closer than this they are the same.
TOLERANCE = 1e-12


def can_be_listed(clusters: int, count: int) -> bool:
    """Return whether windows of so many events can be looked at one by one."""
    return clusters <= THINNED_CLUSTERS or _ways(clusters, count) <= MOST_LISTED


class Listed:
    """Windows one by one: all that are possible; of two or three clusters with many events, a grid of them.

    The grid has every count where events are few and every so many'th where they are many, which stands for
    those around it. With two clusters that is exact up to some 30,000 events, and right to 1 % beyond; with
    three it is right to 6 % down to p = 1e-5, and to 9 % beyond. The p-value never rises with the divergence.
    """

    def __init__(
        self,
        shares: NDArray[np.float64],
        parameters: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        count: int,
    ) -> None:
        """Take the baseline and a count of events.

        Args:
            shares: (k,) float64, the baseline's histogram as shares.
            parameters: (a, k) float64, those that the Dirichlet distribution of the true shares may have.
            probabilities: (a,) float64, how probable each of them is.
            count: The window's events, at least 1, few enough: see `can_be_listed`.
        """
        if _ways(len(shares), count) <= MOST_LISTED:
            windows = _histograms(len(shares), count)
            sizes = np.ones(len(windows))
        else:
            windows, sizes = _grid(parameters, count)
        log_probability = dirichlet_multinomial(windows[:, None], parameters)
        log_probability -= gammaln(windows + 1).sum(axis=1)[:, None]
        weights = np.exp(log_probability - log_probability.max(axis=0)) * sizes[:, None]
        weights = weights / weights.sum(axis=0) @ probabilities
        divergences = divergence_parts(windows / count, shares).sum(axis=1) / math.log(2)
        order = np.argsort(divergences)
        self._divergences = divergences[order]
        self._reached = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
        self.expected = float(divergences @ weights)

    def p_value(self, js_divergence: float) -> float:
        """Return how probable a base-2 divergence this large or larger is, above 0 and at most 1."""
        place = np.searchsorted(self._divergences, js_divergence - TOLERANCE)
        return min(max(float(self._reached[place]), LEAST_P_VALUE), 1.0)


def divergence_parts(shares: NDArray[np.float64], baseline: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each cluster's part of the divergence of shares, (…, k) float64, in nats."""
    mean = (shares + baseline) / 2
    parts: NDArray[np.float64] = (rel_entr(shares, mean) + rel_entr(baseline, mean)) / 2
    return parts


def _ways(clusters: int, count: int) -> int:
    """Return in how many ways so many events spread over clusters."""
    return math.comb(count + clusters - 1, clusters - 1)


def _histograms(clusters: int, count: int) -> NDArray[np.float64]:
    """Return all ways to spread so many events over clusters, (ways, k) float64."""
    ways = np.zeros((1, 0), dtype=np.int64)
    for _ in range(clusters - 1):
        left = count - ways.sum(axis=1)
        repeated = np.repeat(ways, left + 1, axis=0)
        ends = np.cumsum(left + 1)
        taken = np.arange(ends[-1]) - np.repeat(ends - left - 1, left + 1)
        ways = np.column_stack([repeated, taken])
    return np.column_stack([ways, count - ways.sum(axis=1)]).astype(np.float64)


def _grid(parameters: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a grid of histograms, (p, k) float64, and how many each stands for, (p,) float64.

    It is a grid of the counts of all clusters but the largest, which has what they leave.
    """
    total = parameters.sum(axis=1, keepdims=True)
    # Roots of counts vary alike whatever their mean, by half of a standard deviation of a count of one.
    roots = np.sqrt(parameters * (count / total))
    reach = REACH / 2 * np.sqrt(1 + count / total)
    lowest = np.maximum(roots - reach, 0.0).min(axis=0)
    highest = np.minimum((roots + reach).max(axis=0), math.sqrt(count))
    number = int(MOST_THINNED ** (1 / (parameters.shape[1] - 1)))
    *others, largest = np.argsort(parameters[0])
    axes = [
        np.unique(np.rint(np.square(np.linspace(lowest[other], highest[other], number)))) for other in others
    ]
    counts = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    sizes = np.prod(np.meshgrid(*map(_sizes, axes), indexing="ij"), axis=0).ravel()
    left = count - counts.sum(axis=1)
    windows = np.empty((len(counts), parameters.shape[1]))
    windows[:, others], windows[:, largest] = counts, left
    return windows[left >= 0], sizes[left >= 0]


def _sizes(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many whole numbers are closest to each of these, (p,) float64."""
    ends = np.floor((places[1:] + places[:-1]) / 2)
    return np.diff(ends, prepend=places[0] - 1, append=places[-1])
