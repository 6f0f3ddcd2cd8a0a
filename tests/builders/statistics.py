"""Builders of histograms, spectra of covariances, and statistics simulated under the null."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import rel_entr

from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.nulls.quadratic_form import QuadraticForm

# The variances along the leading components of real image embeddings, and a few other shapes.
SPECTRA = {
    "images": [13.2, 7.2, 6.9, 6.4, 5.9, 5.5, 4.6, 4.2, 3.4, 1.8, 0.56, 0.17, 0.08] + 19 * [0.02],
    "steep": [100.0, 10.0, 1.0, 0.1],
    "one large": [20.0] + 31 * [1.0],
    "with zeros": [2.0, 1.0, 1.0, 0.0, 0.0],
}


def divergence(counts: ArrayLike, baseline_counts: ArrayLike) -> float:
    """Return the base-2 Jensen-Shannon divergence of two histograms (k,), at most 1."""
    return min(math.fsum(js_contributions(np.asarray(counts), np.asarray(baseline_counts))), 1.0)


def draw_baseline(clusters: int, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return a histogram (k,) of `count` events whose shares have a Dirichlet concentration of 3."""
    random = np.random.default_rng([clusters, count, seed])
    return random.multinomial(count, random.dirichlet(np.full(clusters, 3.0)))


def split_pool(pool: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return a random part (k,) of `count` events of a pool (k,)."""
    return np.random.default_rng(seed).multivariate_hypergeometric(pool, count, method="marginals")


def divergences_of(windows: NDArray[np.int64], pool: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the divergence of each window, a row (k,) of the same count, from the rest of the pool (k,)."""
    count = windows[0].sum()
    shares, others = windows / count, (pool - windows) / (pool.sum() - count)
    mean = (shares + others) / 2
    divergences: NDArray[np.float64] = (rel_entr(shares, mean) + rel_entr(others, mean)).sum(axis=1)
    return divergences / (2 * math.log(2))


def draw_divergences(pool: NDArray[np.int64], count: int, windows: int) -> NDArray[np.float64]:
    """Return the divergences (windows,) of random parts of a pool (k,), of `count` events, from the rest."""
    random = np.random.default_rng([count, windows])
    return divergences_of(random.multivariate_hypergeometric(pool, count, windows, method="marginals"), pool)


def draw_sums(
    weights: NDArray[np.float64], degrees: float, number: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return weighted sums (number,) of squared normal variables, each over an estimate of their scale.

    Args:
        weights: (k,) weights of the squares.
        degrees: The degrees of freedom of the estimate; infinite where the scale is known.
        number: The number of sums.
        random: The random generator.
    """
    sums: NDArray[np.float64] = random.standard_normal((number, len(weights))) ** 2 @ weights
    return sums if degrees == math.inf else sums / (random.chisquare(degrees, number) / degrees)


def find_quantile(weights: NDArray[np.float64], degrees: float, p_value: float) -> float:
    """Return the value of the weighted sum with this tail probability."""
    form = QuadraticForm(weights, degrees)
    return float(brentq(lambda value: math.log(form.tail(value) / p_value), 1e-6, 1e5 * weights.sum()))
