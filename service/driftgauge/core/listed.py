"""How rare a divergence is when nothing has drifted, from windows looked at one by one."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, rel_entr

__all__ = ["LEAST_P_VALUE", "Listed", "divergence_parts", "histograms_of"]

# Up to so many windows are looked at, each of them: all that there are, or those in which no cluster but the
# largest is further than so many standard deviations from what is to be expected.
MOST_LISTED = 10_000
REACH = 10.0

# Of two clusters one count in so many is looked at where these are more.
MOST_THINNED = 4_000

# Further out the tail has no float of its own, and a p-value is never zero.
LEAST_P_VALUE = float(np.finfo(np.float64).tiny)

# Windows may share their divergences but for rounding: closer than this they are the same.
TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Histograms:
    """Windows of one count, p of them.

    Attributes:
        counts: For each of k clusters what it may count, (q,) float64, q of its own.
        places: (k, p) int64, which of its counts each cluster has.
        sizes: (p,) float64, how many windows each stands for.
    """

    counts: tuple[NDArray[np.float64], ...]
    places: NDArray[np.int64]
    sizes: NDArray[np.float64]


class Listed:
    """Windows one by one, which is exact; with two clusters and some 60,000 events or more right to 1 %.

    The p-value never rises with the divergence.
    """

    def __init__(
        self,
        shares: NDArray[np.float64],
        parameters: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        count: int,
        windows: Histograms,
    ) -> None:
        """Take the baseline and the windows of a count.

        Args:
            shares: (k,) float64, the baseline's histogram as shares.
            parameters: (a, k) float64, those that the Dirichlet distribution of the true shares may have.
            probabilities: (a,) float64, how probable each of them is.
            count: The window's events, at least 1.
            windows: Those to look at.
        """
        log_weights = np.zeros((len(parameters), len(windows.sizes)))
        divergences = np.zeros(len(windows.sizes))
        # What a cluster adds to a window depends on its count alone, and there are fewer counts than windows.
        for counts, places, own, share in zip(
            windows.counts, windows.places, parameters.T[:, :, None], shares, strict=True
        ):
            log_weights += (gammaln(counts + own) - gammaln(counts + 1))[:, places]
            divergences += (divergence_parts(counts / count, share) / math.log(2))[places]
        weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True)) * windows.sizes
        weights = probabilities @ (weights / weights.sum(axis=1, keepdims=True))
        order = np.argsort(divergences)
        self._divergences = divergences[order]
        self._reached = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
        self.expected = float(divergences @ weights)

    def p_value(self, js_divergence: float) -> float:
        """Return how probable a base-2 divergence this large or larger is, above 0 and at most 1."""
        place = np.searchsorted(self._divergences, js_divergence - TOLERANCE)
        return min(max(float(self._reached[place]), LEAST_P_VALUE), 1.0)


def divergence_parts(
    shares: NDArray[np.float64], baseline: NDArray[np.float64] | np.float64
) -> NDArray[np.float64]:
    """Return each cluster's part of the divergence of shares, (…, k) float64, in nats."""
    mean = (shares + baseline) / 2
    parts: NDArray[np.float64] = (rel_entr(shares, mean) + rel_entr(baseline, mean)) / 2
    return parts


def histograms_of(parameters: NDArray[np.float64], count: int) -> Histograms | None:
    """Return the windows of so many events to look at one by one; None where there are too many.

    Args:
        parameters: (a, k) float64, those that the Dirichlet distribution of the true shares may have.
        count: The events, at least 1.
    """
    clusters = parameters.shape[1]
    if math.comb(count + clusters - 1, clusters - 1) <= MOST_LISTED:
        places = _all_places(clusters, count)
        return Histograms((np.arange(count + 1.0),) * clusters, places, np.ones(places.shape[1]))
    lowest, highest = _within_reach(parameters, count)
    *others, largest = np.argsort(parameters[0])
    if clusters == 2:  # noqa: PLR2004
        counts, sizes = _thinned(lowest[others[0]], highest[others[0]])
        places = np.broadcast_to(np.arange(len(counts)), (2, len(counts)))
        both = (count - counts, counts) if largest == 0 else (counts, count - counts)
        return Histograms(both, places, sizes)
    numbers = (highest - lowest + 1).astype(np.int64)[others]
    if math.prod(numbers.tolist()) > MOST_LISTED:
        return None
    axes = {other: np.arange(lowest[other], highest[other] + 1) for other in others}
    grid = np.indices(tuple(numbers.tolist())).reshape(len(others), -1)
    left = count - sum(axes[other][places] for other, places in zip(others, grid, strict=True))
    grid, left = grid[:, left >= 0], left[left >= 0]
    axes[largest] = np.arange(left.min(), left.max() + 1)
    places = np.empty((clusters, len(left)), dtype=np.int64)
    places[others], places[largest] = grid, left - left.min()
    return Histograms(tuple(axes[cluster] for cluster in range(clusters)), places, np.ones(len(left)))


def _all_places(clusters: int, count: int) -> NDArray[np.int64]:
    """Return all ways to spread so many events over clusters, (k, ways) int64."""
    ways = np.zeros((0, 1), dtype=np.int64)
    for _ in range(clusters - 1):
        left = count - ways.sum(axis=0)
        repeated = np.repeat(ways, left + 1, axis=1)
        ends = np.cumsum(left + 1)
        taken = np.arange(ends[-1]) - np.repeat(ends - left - 1, left + 1)
        ways = np.vstack([repeated, taken])
    return np.vstack([ways, count - ways.sum(axis=0)])


def _within_reach(
    parameters: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the most that each cluster counts in what is looked at, (k,) float64 each."""
    total = parameters.sum(axis=1, keepdims=True)
    # Roots of counts vary alike whatever their mean, by half of a standard deviation of a count of one.
    roots = np.sqrt(parameters * (count / total))
    reach = REACH / 2 * np.sqrt(1 + count / total)
    lowest = np.floor(np.square(np.maximum(roots - reach, 0.0).min(axis=0)))
    highest = np.ceil(np.square((roots + reach).max(axis=0)))
    return lowest, np.minimum(highest, count)


def _thinned(lowest: float, highest: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return counts between two, (p,) float64, and how many each stands for, (p,) float64."""
    spaced = np.linspace(math.sqrt(lowest), math.sqrt(highest), MOST_THINNED)
    counts = np.unique(np.rint(np.square(spaced)))
    ends = np.floor((counts[1:] + counts[:-1]) / 2)
    return counts, np.diff(ends, prepend=counts[0] - 1, append=counts[-1])
