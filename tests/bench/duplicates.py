"""The test of duplicates on simulated windows: `python tests/bench/duplicates.py`, some minutes.

First, how often windows of different items are found, by the gamma distribution in use and by its limit, the
chi-squared distribution. Second, how often windows of traffic with popular items are found against a baseline
that is a sample of it: the popularity is one over a power of the rank, of the same items in all windows or of
other ones in each; and of traffic in which events are sent twice, against 24 clean windows. Third, the power
by the number of bins.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.output import say  # noqa: E402

from driftgauge.core.counting.hashing import HASH_BINS  # noqa: E402
from driftgauge.core.statistics.duplicates import DuplicatesNull, repeat_rate  # noqa: E402

LEVELS = (1e-2, 1e-3, 1e-4)
MANY = 400  # of the baseline, in each bin
ITEM = 0.05
SIZES = ((5_000, 200), (5_000, 1_000), (50_000, 200), (50_000, 1_000), (50_000, 5_000))

Counts = NDArray[np.int64]


def rates(p_values: NDArray[np.float64]) -> str:
    return " | ".join(f"{np.mean(p_values < level) / level:.2f}" for level in LEVELS)


def even(bins: int = HASH_BINS) -> NDArray[np.float64]:
    return np.full(bins, 1 / bins)


def different(random: np.random.Generator) -> None:
    say(f"\nDifferent items, windows found over the level {LEVELS}: in use, chi-squared\n")
    null = DuplicatesNull(np.full(HASH_BINS, MANY), 1.0, math.inf)
    for count in (10, 20, 50, 100, 200, 1_000):
        windows = random.multinomial(count, even(), 100_000)
        used = np.array([null.test(window).p_value for window in windows])
        statistic = [(1 + (count - 1) * repeat_rate(window)) * (HASH_BINS - 1) for window in windows]
        say(f"| {count} | {rates(used)} | {rates(chi2.sf(statistic, HASH_BINS - 1))} |")


def popular(random: np.random.Generator) -> None:
    say(f"\nPopular items, windows found over the level {LEVELS}: the same in all, others in each\n")
    for items, exponent in ((1_000_000, 0.7), (10_000, 1.0), (100_000, 1.2)):
        popularity = 1 / np.arange(1, items + 1) ** exponent
        popularity /= popularity.sum()

        def draw(popularity: NDArray[np.float64] = popularity, items: int = items) -> NDArray[np.float64]:
            bins = random.integers(HASH_BINS, size=items)
            return np.bincount(bins, popularity, minlength=HASH_BINS).astype(np.float64)

        for baseline, count in (
            (5_000, 200),
            (5_000, 1_000),
            (50_000, 200),
            (50_000, 1_000),
            (50_000, 5_000),
        ):
            same, others = [], []
            for _ in range(20):
                shares = draw()
                null = DuplicatesNull(random.multinomial(baseline, shares), 1.0, math.inf)
                same += [null.test(window).p_value for window in random.multinomial(count, shares, 1_000)]
                others += [null.test(random.multinomial(count, draw())).p_value for _ in range(50)]
            found = f"{rates(np.array(same))} | {rates(np.array(others))}"
            say(f"| {items}, {exponent} | {baseline} | {count} | {found} |")


def retried(random: np.random.Generator) -> None:
    say(f"\nEvents sent twice, windows found over the level {LEVELS}: with 24 clean windows, without\n")
    known = DuplicatesNull(np.full(HASH_BINS, MANY), 1.0, math.inf)
    for share in (0.01, 0.05, 0.2):
        for count in (200, 1_000, 5_000):

            def window(count: int = count, share: float = share) -> Counts:
                once = random.integers(HASH_BINS, size=round(count / (1 + share)))
                return np.bincount(np.r_[once, once[random.random(len(once)) < share]], minlength=HASH_BINS)

            calibrated, independent = [], []
            for _ in range(20):
                ratio = float(np.mean([known.ratio(window()) for _ in range(24)]))
                null = DuplicatesNull(np.full(HASH_BINS, MANY), max(ratio, 1.0), 24)
                windows = [window() for _ in range(500)]
                calibrated += [null.test(each).p_value for each in windows]
                independent += [known.test(each).p_value for each in windows]
            found = f"{rates(np.array(calibrated))} | {rates(np.array(independent))}"
            say(f"| {share} | {count} | {found} |")


def powers(random: np.random.Generator) -> None:
    say(f"\nOne item in {ITEM:.0%} of events, found at 1 %, by the number of bins\n")
    for bins in (32, 64, 128, 256, 512):
        null = DuplicatesNull(np.full(bins, MANY), 1.0, math.inf)
        cells = []
        for count in (100, 200, 500, 1_000):
            item = random.binomial(count, ITEM, 4_000)
            windows = [random.multinomial(count - own, even(bins)) for own in item]
            found = [
                null.test(each + own * (np.arange(bins) == 0))
                for each, own in zip(windows, item, strict=True)
            ]
            cells.append(f"{np.mean([each.p_value < LEVELS[0] for each in found]):.2f}")
        say(f"| {bins} | {' | '.join(cells)} |")


def main() -> None:
    steps: tuple[Callable[[np.random.Generator], None], ...] = (different, popular, retried, powers)
    for step in steps:
        step(np.random.default_rng(0))


if __name__ == "__main__":
    main()
