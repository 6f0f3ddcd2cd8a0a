"""Accuracy of the divergence's p-value in the tail: `python tests/bench/tails.py`, 3 minutes of one core.

It prints the p-value over the true tail probability without drift, down to one in ten million, by importance
sampling; in brackets its standard error. A ratio below 1 means too many alarms. The pool is fixed, and holds
what window and baseline are expected to hold.
"""

import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.builders.statistics import split_pool  # noqa: E402
from tests.core.rare import sample_windows  # noqa: E402

from driftgauge.core.statistics.divergence_null import DivergenceNull  # noqa: E402

LEVELS = (0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
WINDOWS = 400_000


def even(clusters: int) -> NDArray[np.float64]:
    """Return equal shares."""
    return np.full(clusters, 1 / clusters)


def zipf(clusters: int) -> NDArray[np.float64]:
    """Return shares by Zipf's law: one over the rank."""
    shares = 1 / np.arange(1, clusters + 1)
    return shares / shares.sum()


CASES = (
    (even, 2, 2_000, 200),
    (zipf, 5, 5_000, 200),
    (even, 20, 20_000, 1_000),
    (zipf, 20, 20_000, 1_000),
    (even, 20, 2_000, 50),
    (even, 20, 2_000, 10_000),
    (even, 300, 20_000, 1_000),
    (zipf, 300, 20_000, 1_000),
    (even, 300, 20_000, 50),
    (zipf, 300, 2_000, 10_000),
)


def main() -> None:
    start = time.perf_counter()
    sys.stdout.write(f"{'shares, k, m, n':<26}" + "".join(f"{level:>14.0e}" for level in LEVELS) + "\n")
    for make, clusters, baseline_count, count in CASES:
        ends = np.rint(np.cumsum((baseline_count + count) * make(clusters))).astype(np.int64)
        pool = np.diff(ends, prepend=0)
        window = split_pool(pool, count)
        sample = sample_windows(pool, count, WINDOWS)
        null = DivergenceNull(pool - window, 1.0).of(window)
        name = f"{make.__name__}, {clusters}, {baseline_count:,}, {count:,}"
        sys.stdout.write(f"{name:<26}")
        for level in LEVELS:
            divergence, share, error = sample.at(level)
            sys.stdout.write(f"{null.p_value(divergence) / share:>8.2f} ({error / share:.2f})")
        sys.stdout.write("\n")
        sys.stdout.flush()
    sys.stdout.write(f"{time.perf_counter() - start:.0f} s\n")


if __name__ == "__main__":
    main()
