"""Baselines, and simulated divergences of windows without drift."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftgauge.core.statistics.concentration import concentration_posterior
from driftgauge.core.statistics.divergence import js_contributions

__all__ = ["divergence", "draw_baseline", "draw_divergences"]


def divergence(counts: ArrayLike, baseline_counts: ArrayLike) -> float:
    """Return the base-2 Jensen-Shannon divergence of two histograms (k,), at most 1."""
    return min(math.fsum(js_contributions(np.asarray(counts), np.asarray(baseline_counts))), 1.0)


def draw_baseline(clusters: int, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return a histogram (k,) of `count` events whose shares have a Dirichlet concentration of 3."""
    random = np.random.default_rng([clusters, count, seed])
    return random.multinomial(count, random.dirichlet(np.full(clusters, 3.0)))


def draw_divergences(
    baseline_counts: NDArray[np.int64], count: int, windows: int, inflation: float = 1.0
) -> NDArray[np.float64]:
    """Return the divergences (windows,) of windows simulated from the posterior predictive null."""
    random = np.random.default_rng([count, windows])
    grid, probabilities = concentration_posterior(baseline_counts / inflation)
    drawn = np.concatenate(
        [
            random.multinomial(count, random.dirichlet(baseline_counts / inflation + concentration, number))
            for concentration, number in zip(grid, random.multinomial(windows, probabilities), strict=True)
        ]
    )
    possible = np.repeat(np.arange(count + 1)[:, None], len(baseline_counts), axis=1)
    p, q = possible / count, baseline_counts / baseline_counts.sum()
    mean = np.where(p + q > 0, p + q, 1) / 2
    terms = (p * np.log2(np.where(p > 0, p / mean, 1)) + q * np.log2(np.where(q > 0, q / mean, 1))) / 2
    divergences: NDArray[np.float64] = np.take_along_axis(terms, drawn, axis=0).sum(axis=1)
    return divergences
