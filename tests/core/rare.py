"""Tail probabilities of the divergence without drift, by importance sampling."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from tests.builders.statistics import divergences_of

__all__ = ["Sample", "sample_windows"]

# Factors by which the sampled windows vary more than the null: the first is the null, and the last reaches
# beyond one in ten million with 20 clusters.
_SPREADS = (1.0, 1.5, 2.5, 4.0)
_BATCH = 20_000


class Sample:
    """Divergences of sampled windows, base 2, with their importance weights."""

    def __init__(self, divergences: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        order = np.argsort(divergences)[::-1]
        self._divergences = divergences[order]
        self._weights = weights[order] / len(weights)
        self._reached = np.cumsum(self._weights)

    def at(self, level: float) -> tuple[float, float, float]:
        """Return the divergence of about this tail probability, its tail probability, and the standard error.

        The tail probability includes all windows of the same divergence.
        """
        rank = min(int(np.searchsorted(self._reached, level)), len(self._reached) - 1)
        divergence = self._divergences[rank] * (1 - 1e-9)
        last = np.searchsorted(-self._divergences, -divergence, side="right")
        reached = float(self._reached[last - 1])
        squares = float(np.square(self._weights[:last]).sum())
        return float(divergence), reached, float(np.sqrt(max(squares - reached**2 / len(self._weights), 0.0)))


def sample_windows(pool: NDArray[np.int64], count: int, windows: int) -> Sample:
    """Draw windows of `count` events from the pool by importance sampling of the far tail.

    The proposal is a mixture of the null, multivariate hypergeometric, and of Dirichlet-multinomial
    distributions with larger variance. The weight of a window is its likelihood ratio of null to proposal.
    The divergence is symmetric, so the smaller part of the pool is drawn; at most a quarter of it.

    Args:
        pool: (k,) int64, the events of window and baseline in each cluster.
        count: The window's events.
        windows: The number of windows, a multiple of 20,000.
    """
    random = np.random.default_rng([count, windows])
    total = int(pool.sum())
    drawn = min(count, total - count)
    # The variance of a Dirichlet-multinomial over that of a multinomial variable is 1 + n / concentration.
    variances = [spread * (1 - drawn / total) for spread in _SPREADS[1:]]
    parameters = [drawn / (variance - 1) * pool / total for variance in variances]
    divergences, weights = [], []
    for _ in range(windows // _BATCH):
        each = _BATCH // len(_SPREADS)
        counts = np.concatenate(
            [random.multivariate_hypergeometric(pool, drawn, each, method="marginals")]
            + [random.multinomial(drawn, random.dirichlet(own, each)) for own in parameters]
        )
        divergences.append(divergences_of(counts, pool))
        null = _log_hypergeometric(counts, pool)
        proposals = [null, *(_log_dirichlet_multinomial(counts, own) for own in parameters)]
        weights.append(np.exp(null - logsumexp(proposals, axis=0)) * len(proposals))
    return Sample(np.concatenate(divergences), np.concatenate(weights))


def _log_hypergeometric(counts: NDArray[np.int64], pool: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log-probability of each window, a row of `counts`, under the null."""
    return _log_choose(pool, counts).sum(axis=1) - _log_choose(pool.sum(), counts[0].sum())


def _log_choose(total: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    ways: NDArray[np.float64] = gammaln(total + 1) - gammaln(chosen + 1) - gammaln(total - chosen + 1)
    return ways


def _log_dirichlet_multinomial(
    counts: NDArray[np.int64], parameters: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the log-probability of each window under the parameters of the Dirichlet distribution."""
    own = gammaln(counts + parameters) - gammaln(parameters) - gammaln(counts + 1)
    count, total = counts[0].sum(), parameters.sum()
    ways: NDArray[np.float64] = own.sum(axis=1) + gammaln(count + 1) + gammaln(total) - gammaln(count + total)
    return ways
