"""False pages of the service's own judge in hours without drift: `python -m tests.bench.pages`, 20 minutes.

Images come in bursts of one class. How frequent half of the classes are follows the hour of the day, and in
some settings the weekend; some bursts of an hour are of the same classes as in the hour before. Each baseline
is fitted on hours spread evenly over the two weeks of the warm-up. Baseline and windows are drawn from the
same images, so every page is false.
"""

import time

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv
from tests.bench.dependence import Rows, Stream
from tests.bench.embeddings import IMAGES, load, load_vectors, parser_with_data
from tests.bench.population import CLASSES, CLUSTERS, HOUR_MS, Population
from tests.output import say

from driftgauge.baseline.fitting import fit_baseline
from driftgauge.core.windows.result import Verdict
from driftgauge.streams import to_reference

BASELINES = 20
HOURS_A_YEAR, HOURS_A_DAY, DAYS_A_WEEK, WEEKDAYS = 8_766, 24, 7, 5
WARM_UP = 2 * DAYS_A_WEEK * HOURS_A_DAY
COUNT = 200  # events in a window
BURST = 5
CORRELATION = 0.1  # of the classes of an hour with those of the hour before
# In the share of half of the classes: the amplitude of the daily cycle, and how much larger weekends are.
CYCLES = ((0.1, 0.0), (0.18, 0.0), (0.1, 0.15))
RATIOS = (0.04, 0.4)  # n/m


class Traffic:
    """The hours of a stream of images, which are sorted by class and as many of each."""

    def __init__(self, random: np.random.Generator, images: int, daily: float, weekend: float) -> None:
        self._random, self._of_class = random, images // CLASSES
        self._daily, self._weekend = daily, weekend
        self._labels = np.zeros(COUNT // BURST, np.intp)

    def draw(self, hour: int) -> Rows:
        """Draw the rows of an hour."""
        day, number = hour // HOURS_A_DAY, len(self._labels)
        share = 0.5 + self._daily * np.cos(2 * np.pi * hour / HOURS_A_DAY)
        share += self._weekend * (day % DAYS_A_WEEK >= WEEKDAYS)
        half = np.where(self._random.random(number) < share, 0, CLASSES // 2)
        labels = half + self._random.integers(0, CLASSES // 2, number)
        self._labels = np.where(self._random.random(number) < CORRELATION, self._labels, labels)
        images = self._random.integers(0, self._of_class, COUNT)
        return np.repeat(self._labels, BURST) * self._of_class + images


def judge(
    vectors: NDArray[np.float32], number: int, cycles: tuple[float, float], ratio: float, hours: int
) -> list[Verdict]:
    """Return the verdicts of the hours after the warm-up, against a baseline of their own."""
    traffic = Traffic(np.random.default_rng([number, int(100 * ratio)]), len(vectors), *cycles)
    # As many events again are fitted on.
    windows = 2 * round(1 / ratio)
    sampled = np.arange(windows) * WARM_UP // windows
    baseline = fit_baseline(
        vectors[np.concatenate([traffic.draw(hour) for hour in sampled])],
        stream="bench",
        clusters=CLUSTERS,
        seed=number,
        created_ms=0,
        progress=lambda _: None,
    )
    reference, centroids = to_reference(baseline), baseline.centroids
    tallies = Population(vectors, centroids.assign(vectors), centroids).tallies(reference)
    stream = Stream(reference, tallies, HOUR_MS, WARM_UP)
    return [stream.judge(traffic.draw(hour)).verdict for hour in range(WARM_UP + hours)][WARM_UP:]


def main() -> None:
    parser = parser_with_data(__doc__)
    parser.add_argument("--years", type=float, default=0.3, help="of each baseline (default: 0.3)")
    options = parser.parse_args()
    (vectors,) = load_vectors(options.data, IMAGES, "train")
    (labels,) = load(options.data, IMAGES, "train_label")
    vectors = vectors[np.argsort(labels, kind="stable")]
    start, years = time.perf_counter(), BASELINES * options.years
    say(f"{BASELINES} baselines, {years:g} years in all, budget 1 page a year: a year [upper 95 % limit]\n")
    say("| daily | weekends | n/m | pages | most of one baseline | drift | warning | misfit |")
    say("|---" * 8 + "|")
    hours = round(HOURS_A_YEAR * options.years)
    for daily, weekend in CYCLES:
        for ratio in RATIOS:
            verdicts = np.array(
                [judge(vectors, number, (daily, weekend), ratio, hours) for number in range(BASELINES)]
            )
            is_drift = verdicts == Verdict.DRIFT
            pages = (is_drift & np.diff(is_drift, axis=1, prepend=False)).sum(axis=1)
            limit = gammaincinv(pages.sum() + 1, 0.95) / years
            others = (Verdict.DRIFT, Verdict.WARNING, Verdict.MISFIT)
            shares = " | ".join(f"{np.mean(verdicts == each):.2%}" for each in others)
            rate = f"{pages.sum() / years:.2f} [{limit:.2f}]"
            say(f"| {daily} | +{weekend} | {ratio} | {rate} | {pages.max()} | {shares} |")
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
