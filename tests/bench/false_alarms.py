"""How often windows without drift alarm: `python tests/bench/false_alarms.py`, five minutes of one core.

For each setting it draws baselines: true shares from Dirichlet(3), a baseline's histogram from them. The
p-value of the divergence is inverted once for each baseline, then windows of the same true shares are
drawn and counted that diverge as much. The interval of the mean rate has the baselines as its clusters:
their rates are independent, their windows share a baseline.
"""

import math
import sys
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, rel_entr

from driftgauge.core.significance import CountNull

CLUSTERS = (5, 20, 50)
COUNTS = (100, 500, 2_000)
RATIOS = (10, 50)  # the baseline's events to the window's
CONCENTRATION = 3.0

BASELINES = 200
WINDOWS = 5_000  # of each baseline
WORST = BASELINES // 20

NOMINAL = 0.01
BUDGET = 1 / 8_766  # a page a year on one hourly stream
CONFIDENCE = 0.99


def find_threshold(null: CountNull, level: float, count: int) -> float:
    """Return the least divergence whose p-value is at most the level."""
    below, threshold = 0.0, 1.0
    while threshold - below > 1e-9 * threshold:
        middle = (below + threshold) / 2
        if null.p_value(middle, count) <= level:
            threshold = middle
        else:
            below = middle
    return threshold


def draw_divergences(
    random: np.random.Generator,
    shares: NDArray[np.float64],
    baseline_counts: NDArray[np.int64],
    count: int,
) -> NDArray[np.float64]:
    """Return the divergences of windows without drift, (WINDOWS,) float64."""
    clusters = len(shares)
    possible = np.arange(count + 1)[:, None] / count
    baseline_shares = baseline_counts / baseline_counts.sum()
    mean = (possible + baseline_shares) / 2
    terms = (rel_entr(possible, mean) + rel_entr(baseline_shares, mean)) / (2 * math.log(2))
    drawn = random.multinomial(count, shares, WINDOWS)
    return terms.ravel()[drawn * clusters + np.arange(clusters)].sum(axis=1)


def alarm_rates(clusters: int, count: int, ratio: int) -> NDArray[np.float64]:
    """Return each baseline's share of windows with alarms, (BASELINES, 2), at both levels."""
    random = np.random.default_rng([clusters, count, ratio])

    def rates() -> Iterator[tuple[float, float]]:
        for _ in range(BASELINES):
            shares = random.dirichlet(np.full(clusters, CONCENTRATION))
            baseline_counts = random.multinomial(ratio * count, shares)
            null = CountNull(baseline_counts, 1.0)
            divergences = draw_divergences(random, shares, baseline_counts, count)
            nominal, budget = (
                float(np.mean(divergences >= find_threshold(null, level, count)))
                for level in (NOMINAL, BUDGET)
            )
            yield nominal, budget

    return np.array(list(rates()))


def describe(rates: NDArray[np.float64], level: float, unit: float) -> str:
    """Return the mean rate, its interval, whether the level is in it, and the rate of the worst baselines."""
    mean = rates.mean()
    half = ndtri((1 + CONFIDENCE) / 2) * rates.std(ddof=1) / math.sqrt(len(rates))
    verdict = "yes" if abs(mean - level) <= half else "low" if mean < level else "HIGH"
    worst = np.sort(rates)[-WORST:].mean()
    return (
        f"{mean / unit:5.2f} [{(mean - half) / unit:5.2f}, {(mean + half) / unit:5.2f}] {verdict:>4} "
        f"{worst / unit:6.2f}"
    )


def main() -> None:
    start = time.perf_counter()
    sys.stdout.write(
        f"{BASELINES} baselines x {WINDOWS:,} windows a line: the mean rate, its {CONFIDENCE:.0%} interval "
        "clustered by baseline,\nwhether the level lies in it, and the mean of the worst 5 % of baselines\n"
        f"(at the budget's level mostly chance: {WINDOWS:,} windows make {WINDOWS * BUDGET:.1f} pages)\n"
        f"\n{'':>17}   {'per cent, nominal 1':<33}   pages a year, budget 1 (hourly windows)\n"
    )
    for clusters in CLUSTERS:
        for ratio in RATIOS:
            for count in COUNTS:
                nominal, budget = alarm_rates(clusters, count, ratio).T
                sys.stdout.write(
                    f"k={clusters:<2} n={count:<5,} m={ratio:>2}n   {describe(nominal, NOMINAL, 0.01)}   "
                    f"{describe(budget, BUDGET, BUDGET)}\n"
                )
                sys.stdout.flush()
    sys.stdout.write(f"\n{time.perf_counter() - start:.0f} s\n")


if __name__ == "__main__":
    main()
