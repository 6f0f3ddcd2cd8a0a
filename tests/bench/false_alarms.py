"""False alarms of the divergence test: `python -m tests.bench.false_alarms`, 6 minutes of one core.

For each setting it draws baselines. Their true shares come from Dirichlet(3), Dirichlet(1/2), equal shares,
Dirichlet(3) in a few of the clusters (as in a segment), Zipf's law, or k-means clusters of one half of the
CIFAR-10 training images' embeddings, counted on the other half. Then it draws windows of the same true
shares and counts those with small p-values. Only the largest divergences have them: p-values are computed in
falling order of the divergence until many in a row are far above the level. The interval of the mean rate is
clustered by baseline: the windows of a baseline are not independent.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, rel_entr
from tests.bench.embeddings import DATA, IMAGES, Array, Vectors, load_vectors
from tests.options import parse_options
from tests.output import say

from driftgauge.baseline.clustering import find_centroids
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.statistics.nulls.divergence_null import DivergenceNull

CLUSTERS = (5, 20, 50)
WINDOWS = 1_000  # of each baseline
NOMINAL = 0.01
BUDGET = 1 / 8_766  # one page a year on one hourly stream
CONFIDENCE = 0.99


Draw = Callable[[np.random.Generator], Array]
"""Draws true shares, (k,) float64."""


def find_p_values(baseline_counts: NDArray[np.int64], windows: NDArray[np.int64], count: int) -> Array:
    """Return the p-values of windows, rows (k,) of `count` events, that may be significant; (windows,)."""
    shares, baseline_shares = windows / count, baseline_counts / baseline_counts.sum()
    mean = (shares + baseline_shares) / 2
    parts = rel_entr(shares, mean) + rel_entr(baseline_shares, mean)
    divergences = parts.sum(axis=1) / (2 * math.log(2))
    p_values, large = np.ones(len(windows)), 0
    for row in np.argsort(-divergences):
        p_values[row] = DivergenceNull.of(windows[row], baseline_counts, 1.0).p_value(divergences[row])
        # No p-value is computed after this many in a row above twice the level.
        large = large + 1 if p_values[row] > 2 * NOMINAL else 0
        if large == 25:
            break
    return p_values


def alarm_rates(draw: Draw, baselines: int, clusters: int, count: int, ratio: int) -> Array:
    """Return each baseline's share of windows with alarms, (baselines, 2), at both levels."""
    random, rates = np.random.default_rng([clusters, count, ratio]), []
    for _ in range(baselines):
        shares = draw(random)
        baseline_counts = random.multinomial(ratio * count, shares)
        p_values = find_p_values(baseline_counts, random.multinomial(count, shares, WINDOWS), count)
        rates.append([np.mean(p_values <= level) for level in (NOMINAL, BUDGET)])
    return np.array(rates)


def dirichlet(clusters: int, concentration: float, filled: int | None = None) -> Draw:
    """Draw shares from a symmetric Dirichlet distribution, in some of the clusters; the others are empty."""
    weights = np.full(filled or clusters, concentration)
    return lambda random: np.append(random.dirichlet(weights), np.zeros(clusters - len(weights)))


def fixed(shares: Array) -> Draw:
    return lambda _: shares / shares.sum()


def real(vectors: Vectors, clusters: int) -> Draw:
    """Return fixed shares of k-means clusters of real vectors."""
    fitted, counted = np.split(np.random.default_rng(clusters).permutation(vectors), 2)
    centroids = find_centroids(fitted, clusters, DistanceMetric.EUCLIDEAN, 0, lambda _: None)
    return fixed(np.bincount(centroids.assign(counted), minlength=clusters))


def describe(rates: Array, level: float, unit: float) -> str:
    """Return the mean rate, its interval, whether the level is in it, and the rate of the worst baselines."""
    mean = rates.mean()
    margin = ndtri((1 + CONFIDENCE) / 2) * rates.std(ddof=1) / math.sqrt(len(rates))
    in_interval = "yes" if abs(mean - level) <= margin else "low" if mean < level else "HIGH"
    worst = np.sort(rates)[-(len(rates) // 20) :].mean()
    return (
        f"{mean / unit:5.2f} [{(mean - margin) / unit:5.2f}, {(mean + margin) / unit:5.2f}] {in_interval:>4} "
        f"{worst / unit:6.2f}"
    )


def main() -> None:
    options = parse_options(__doc__, data=DATA, baselines=200)
    say(
        f"{options.baselines} baselines x {WINDOWS:,} windows a line: the mean rate, its {CONFIDENCE:.0%} "
        "interval clustered by baseline,\nwhether the level lies in it, and the mean of the worst 5 % of "
        f"baselines\n(at the budget's level mostly chance: {WINDOWS:,} windows make {WINDOWS * BUDGET:.1f} "
        f"pages)\n\n{'':>17}   {'per cent, nominal 1':<33}   pages a year, budget 1 (hourly windows)"
    )
    (vectors,) = load_vectors(options.data, IMAGES, "train")
    sources: dict[str, tuple[Callable[[int], Draw], tuple[int, ...]]] = {
        "shares from Dirichlet(3)": (partial(dirichlet, concentration=3.0), CLUSTERS),
        "shares from Dirichlet(1/2)": (partial(dirichlet, concentration=0.5), CLUSTERS),
        "equal shares": (lambda clusters: fixed(np.ones(clusters)), CLUSTERS),
        "shares from Dirichlet(3) of 5 clusters": (partial(dirichlet, concentration=3.0, filled=5), (50,)),
        "shares from Dirichlet(3) of 10 clusters": (partial(dirichlet, concentration=3.0, filled=10), (50,)),
        "shares of Zipf's law": (lambda clusters: fixed(1 / np.arange(1, clusters + 1)), (50, 300)),
        "shares of k-means on images": (partial(real, vectors), CLUSTERS),
    }
    for source, (draw, sizes) in sources.items():
        say(f"\n{source}")
        for clusters in sizes:
            shares = draw(clusters)
            # Baseline events per window event, and events of a window.
            for ratio, count in product((10, 50), (100, 500, 2_000)):
                nominal, budget = alarm_rates(shares, options.baselines, clusters, count, ratio).T
                say(
                    f"k={clusters:<3} n={count:<5,} m={ratio:>2}n  {describe(nominal, NOMINAL, 0.01)}   "
                    f"{describe(budget, BUDGET, BUDGET)}"
                )


if __name__ == "__main__":
    main()
