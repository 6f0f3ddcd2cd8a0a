"""How rare a divergence is without drift, by importance sampling."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, rel_entr

from driftgauge.core.statistics.concentration import concentration_posterior, dirichlet_multinomial

__all__ = ["Sample", "sample_windows"]

# How many times more windows vary than they should: the first as they should, the last further than
# one in ten million with 20 clusters.
_SPREADS = (1.0, 1.5, 2.5, 4.0)
_BATCH = 20_000


class Sample:
    """Divergences of windows, base 2, each with how many windows without drift it stands for."""

    def __init__(self, divergences: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        order = np.argsort(divergences)[::-1]
        self._divergences = divergences[order]
        self._weights = weights[order] / len(weights)
        self._reached = np.cumsum(self._weights)

    @property
    def mean(self) -> float:
        """The mean divergence."""
        return float(self._divergences @ self._weights)

    def at(self, level: float) -> tuple[float, float, float]:
        """Return the divergence that is about as rare as this, how rare it is, and that one's standard error.

        How rare is counted with all windows of the same divergence.
        """
        place = min(int(np.searchsorted(self._reached, level)), len(self._reached) - 1)
        divergence = self._divergences[place] * (1 - 1e-9)
        last = np.searchsorted(-self._divergences, -divergence, side="right")
        reached = float(self._reached[last - 1])
        squares = float(np.square(self._weights[:last]).sum())
        return float(divergence), reached, float(np.sqrt(max(squares - reached**2 / len(self._weights), 0.0)))


def sample_windows(baseline_counts: NDArray[np.int64], count: int, windows: int) -> Sample:
    """Draw windows of the posterior predictive null, far ones more often than they come.

    They are drawn from a mixture of Dirichlet-multinomial distributions that vary more than theirs, and
    weighed by how much more probable the null makes them.
    """
    random = np.random.default_rng([count, windows])
    grid, probabilities = concentration_posterior(baseline_counts.astype(np.float64))
    parameters = baseline_counts + grid[:, None]
    totals = parameters.sum(axis=1)
    wider = []
    for spread in _SPREADS:
        # Counts vary by 1 + n/m of what a multinomial's do.
        fewer = count / (spread * (1 + count / totals) - 1)
        wider.append(parameters * (fewer / totals)[:, None])
    drawn_from = np.concatenate(wider)
    chances = np.tile(probabilities, len(_SPREADS)) / len(_SPREADS)
    baseline = baseline_counts / baseline_counts.sum()
    divergences, weights = [], []
    for _ in range(windows // _BATCH):
        which = drawn_from[random.choice(len(chances), p=chances, size=_BATCH)]
        shares = random.standard_gamma(which)
        counts = random.multinomial(count, shares / shares.sum(axis=1, keepdims=True))
        mean = (counts / count + baseline) / 2
        parts = rel_entr(counts / count, mean) + rel_entr(baseline, mean)
        divergences.append(parts.sum(axis=1) / (2 * np.log(2)))
        weights.append(np.exp(_log(counts, parameters, probabilities) - _log(counts, drawn_from, chances)))
    return Sample(np.concatenate(divergences), np.concatenate(weights))


def _log(
    counts: NDArray[np.int64], parameters: NDArray[np.float64], chances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the log-probability of each window, but for what all mixtures share."""
    logs = [
        np.log(chance) + dirichlet_multinomial(counts.astype(np.float64), own)
        for chance, own in zip(chances, parameters, strict=True)
    ]
    total: NDArray[np.float64] = logsumexp(logs, axis=0)
    return total
