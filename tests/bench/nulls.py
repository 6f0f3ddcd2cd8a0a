"""Simulated over nominal false alarm rates without drift: `python tests/bench/nulls.py`.

Plain simulation of millions of windows; standard errors in brackets. Above 1 there are too many alarms.
"""

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.builders.statistics import SPECTRA, draw_baseline, draw_divergences, draw_sums, find_quantile  # noqa: E402

from driftgauge.core.statistics.divergence_null import DivergenceNull  # noqa: E402

WINDOWS, BATCHES = 200_000, 20
SUM_LEVELS = (0.3, 1e-2, 1e-4)
DIVERGENCE_LEVELS = (1e-2, 1e-3)
# Clusters, baseline events, window events: few clusters, where the tail is hardest to sum.
DIVERGENCES = ((5, 5_000, 1_000), (5, 5_000, 100), (2, 1_000, 112))


def sum_rates() -> Iterator[tuple[str, float, float]]:
    """Yield the rate at which each weighted sum exceeds its quantile: name, level, rate."""
    for name, spectrum in SPECTRA.items():
        weights = np.array(spectrum)
        for degrees in (40.0, math.inf):
            random = np.random.default_rng(0)
            limits = [find_quantile(weights, degrees, level) for level in SUM_LEVELS]
            passed = np.zeros(len(limits))
            for _ in range(BATCHES):
                sums = draw_sums(weights, degrees, WINDOWS, random)
                passed += [(sums > limit).mean() for limit in limits]
            for level, rate in zip(SUM_LEVELS, passed / BATCHES, strict=True):
                yield f"sum of squares, {name}, {degrees:g} degrees", level, rate


def divergence_rates() -> Iterator[tuple[str, float, float]]:
    """Yield the rate of significant divergences by setting and level: name, level, rate."""
    for clusters, baseline_count, count in DIVERGENCES:
        baseline_counts = draw_baseline(clusters, baseline_count)
        null = DivergenceNull(baseline_counts, 1.0).at(count)
        divergences = np.sort(draw_divergences(baseline_counts, count, WINDOWS * BATCHES // 2))
        for level in DIVERGENCE_LEVELS:
            # P-values fall as divergences rise.
            low, high = 0, len(divergences)
            while low < high:
                middle = (low + high) // 2
                if null.p_value(float(divergences[middle])) <= level:
                    high = middle
                else:
                    low = middle + 1
            rate = (len(divergences) - low) / len(divergences)
            yield f"divergence, {clusters} clusters, {baseline_count:,} and {count:,} events", level, rate


def main() -> None:
    start_s = time.perf_counter()
    for rates, windows in ((sum_rates(), WINDOWS * BATCHES), (divergence_rates(), WINDOWS * BATCHES // 2)):
        for name, level, rate in rates:
            error = math.sqrt(level * (1 - level) / windows) / level
            sys.stdout.write(f"{name:<50}{level:>8.0e}{rate / level:>8.3f} ({error:.3f})\n")
            sys.stdout.flush()
    sys.stdout.write(f"{time.perf_counter() - start_s:.0f} s\n")


if __name__ == "__main__":
    main()
