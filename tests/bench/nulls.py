"""Simulated over nominal false alarm rates of the mean's sums of squares: `python tests/bench/nulls.py`.

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

from tests.builders.statistics import SPECTRA, draw_sums, find_quantile  # noqa: E402

WINDOWS, BATCHES = 200_000, 20
LEVELS = (0.3, 1e-2, 1e-4)


def sum_rates() -> Iterator[tuple[str, float, float]]:
    """Yield the rate at which each weighted sum exceeds its quantile: name, level, rate."""
    for name, spectrum in SPECTRA.items():
        weights = np.array(spectrum)
        for degrees in (40.0, math.inf):
            random = np.random.default_rng(0)
            limits = [find_quantile(weights, degrees, level) for level in LEVELS]
            passed = np.zeros(len(limits))
            for _ in range(BATCHES):
                sums = draw_sums(weights, degrees, WINDOWS, random)
                passed += [(sums > limit).mean() for limit in limits]
            for level, rate in zip(LEVELS, passed / BATCHES, strict=True):
                yield f"sum of squares, {name}, {degrees:g} degrees", level, rate


def main() -> None:
    start_s = time.perf_counter()
    for name, level, rate in sum_rates():
        error = math.sqrt(level * (1 - level) / (WINDOWS * BATCHES)) / level
        sys.stdout.write(f"{name:<50}{level:>8.0e}{rate / level:>8.3f} ({error:.3f})\n")
        sys.stdout.flush()
    sys.stdout.write(f"{time.perf_counter() - start_s:.0f} s\n")


if __name__ == "__main__":
    main()
