"""Slow drift by CUSUM or by scans over windows: `python tests/bench/slow_drift.py`, a minute.

The evidence of a window is the normal quantile of 1 - p, clipped at 4 either side, as `cusum.py` has it. The
scan is the largest sum over the last 1, 2, 4, ... windows, over the square root of their number. All
thresholds are set by simulation to the same average run length without drift. Then drift raises every
window's evidence by a constant, and the table has the average number of windows until each warns.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.output import say  # noqa: E402

RUN_LENGTH = 20_000
PATHS = 400
CHUNK = 20_000
REFERENCE = 0.5
SHIFTS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SCALES = (6, 8)
"""Scans over up to 32 and 128 windows: the number of powers of two."""

Array = NDArray[np.float64]


def evidence(random: np.random.Generator, shift: float, length: int) -> Array:
    return np.clip(random.standard_normal((PATHS, length)) + shift, -4, 4)


def cusum(values: Array) -> Array:
    """Return the CUSUM after each window, (paths, windows)."""
    walk = np.cumsum(values - REFERENCE, axis=1)
    return walk - np.minimum(np.minimum.accumulate(walk, axis=1), 0)


def scan(values: Array, scales: int) -> Array:
    """Return the largest standardized sum of the last windows, (paths, windows)."""
    walk = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    largest = np.full(values.shape, -np.inf)
    for power in range(scales):
        length = 2**power
        sums = (walk[:, length:] - walk[:, :-length]) / np.sqrt(length)
        np.maximum(largest[:, length - 1 :], sums, out=largest[:, length - 1 :])
    return largest


def threshold(statistic: Array) -> float:
    """Return the value that paths without drift reach once in `RUN_LENGTH` windows, for the first time."""
    # A path that has crossed by L windows with probability q has a run length of about L / -ln(1 - q).
    highest = np.sort(statistic.max(axis=1))
    crossed = 1 - np.exp(-statistic.shape[1] / RUN_LENGTH)
    return float(highest[int((1 - crossed) * len(highest))])


def delay(statistic: Array, limit: float) -> float:
    """Return the mean number of windows until the statistic reaches a limit."""
    reached = statistic >= limit
    return float(np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, statistic.shape[1]).mean())


def main() -> None:
    random = np.random.default_rng(0)
    statistics = {"CUSUM": cusum}
    for scales in SCALES:
        statistics[f"scan to {2 ** (scales - 1)}"] = lambda values, scales=scales: scan(values, scales)
    clean = evidence(random, 0.0, CHUNK)
    limits = {name: threshold(statistic(clean)) for name, statistic in statistics.items()}
    say(f"Windows until a warning; run length without drift {RUN_LENGTH:,}, {PATHS} paths\n")
    say(
        "| evidence a window | "
        + " | ".join(f"{name} (limit {limits[name]:.2f})" for name in statistics)
        + " |"
    )
    say("|---" * (1 + len(statistics)) + "|")
    for shift in SHIFTS:
        values = evidence(random, shift, 4_000)
        cells = [f"{delay(statistic(values), limits[name]):.1f}" for name, statistic in statistics.items()]
        say(f"| {shift} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
