"""Clean traffic, its false pages and the delay to drift: `python -m tests.bench.traffic pages|delays`.

Images come in sessions of neighbours of one class. How frequent the classes are follows the hour of the day
and the weekend, and differs a little from day to day; fewer events come at night. All weeks have the same
distribution, so without drift every page is false. Each stream is an installation with its own mix of
classes, cycles and baseline, which is a random sample of the events of the weeks before, without times.

- `pages`: clean days, after a warm-up if one is declared.
- `delays`: clean days, then drift, and the windows until the verdict is drift.
"""

import argparse
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.spatial.distance import jensenshannon
from scipy.special import gammaincinv
from tests.bench.dependence import Rows, Stream
from tests.bench.embeddings import IMAGES, load, load_vectors, parser_with_data
from tests.bench.population import CLASSES, CLUSTERS, DAY_MS, HOUR_MS, Population
from tests.bench.power import mean_and_error
from tests.output import say
from threadpoolctl import threadpool_limits

from driftgauge.baseline.fitting import fit_baseline
from driftgauge.core.judging.verdict import Verdict
from driftgauge.streams import to_reference

# Of each size of windows: its length, ms, and the mean number of events.
SIZES = {"1h": (HOUR_MS, 200), "1d": (DAY_MS, 1_200)}
BASELINE = 5_000  # events; half of them are in the histogram
BASELINE_DAYS = 28  # before the stream begins
DAYS_A_YEAR, HOURS_A_DAY, DAYS_A_WEEK = 365.25, 24, 7

SESSION = 4  # events of a session, on average: one, and a Poisson number of others
LONGEST = 12  # events of a session
# A session is an image and others by how near they are: every so many of the thousand of its class.
STRIDE = 40
NIGHT = 0.5  # of the mean volume: how much less comes at midnight, and more at noon
# Standard deviations of the logarithm of a class's weight.
OF_STREAMS = 0.3  # between streams
OF_HOURS = 0.2  # of the amplitude of its daily cycle, whose top is at any hour
OF_WEEKENDS = 0.2  # of how much more or less frequent it is at weekends
OF_DAYS = 0.15  # of the own offset of a day, an AR(1) process
CORRELATION = 0.6  # of the offsets of two days in a row

CLEAN_DAYS = 21  # before drift, those of a warm-up included, but at least a week after it
LASTING = 14  # days of drift
# Of all sessions are moved to one class, whose share of .1 becomes .28, or of all events are blurred.
DRIFTED = 0.2
A_CLASS, BLURRED = "a class more frequent", "blurred"


def draw_shares(random: np.random.Generator, days: int) -> NDArray[np.float64]:
    """Draw the share of each class in each hour of a stream from Monday on, (hours, CLASSES)."""
    day = np.arange(days * HOURS_A_DAY)[:, np.newaxis] / HOURS_A_DAY
    of_stream, amplitudes, of_weekends = (
        random.normal(0, deviation, CLASSES) for deviation in (OF_STREAMS, OF_HOURS, OF_WEEKENDS)
    )
    daily = amplitudes * np.cos(2 * np.pi * (day - random.random(CLASSES)))
    # A weekend begins on Friday evening and ends on Monday morning.
    weekend = np.interp(day % DAYS_A_WEEK, (0, 0.25, 4.75, 5.25, 6.75, 7), (0.5, 0, 0, 1, 1, 0.5))
    steps = random.normal(0, OF_DAYS, (days, CLASSES))
    steps[1:] *= np.sqrt(1 - CORRELATION**2)
    of_days = np.repeat(lfilter([1], [1, -CORRELATION], steps, axis=0), HOURS_A_DAY, axis=0)
    weights = np.exp(of_stream + daily + of_weekends * weekend + of_days)
    return weights / weights.sum(axis=1, keepdims=True)


class Traffic:
    """The traffic of one stream from Monday on."""

    def __init__(self, random: np.random.Generator, alike: Rows, days: int, events: float) -> None:
        """Draw the mix of all days.

        Args:
            random: The generator of everything that is drawn.
            alike: The images of a session that begins with each, (N, LONGEST); sorted by class.
            days: The number of days.
            events: The mean number of events an hour.
        """
        self._random, self._alike = random, alike
        self._class = random.integers(0, CLASSES)
        self._shares = draw_shares(random, days)
        hours = np.arange(days * HOURS_A_DAY)
        self._volume = events * (1 - NIGHT * np.cos(2 * np.pi * hours / HOURS_A_DAY))

    def draw(self, first: int, last: int, drift: str | None = None) -> Rows:
        """Draw the rows of the events of the hours from `first` until before `last`."""
        random, volume = self._random, self._volume[first:last]
        number = random.poisson(volume.sum() / SESSION)
        hours = first + random.choice(len(volume), number, p=volume / volume.sum())
        ends = self._shares[hours, :-1].cumsum(axis=1)
        labels = (random.random((number, 1)) > ends).sum(axis=1)
        if drift == A_CLASS:
            labels[random.random(number) < DRIFTED] = self._class
        of_class = len(self._alike) // CLASSES
        items = labels * of_class + random.integers(0, of_class, number)
        lengths = np.minimum(1 + random.poisson(SESSION - 1, number), LONGEST)
        positions = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
        rows = self._alike[np.repeat(items, lengths), positions]
        return rows + len(self._alike) * (drift == BLURRED) * (random.random(len(rows)) < DRIFTED)


@cache
def load_images(folder: Path) -> tuple[NDArray[np.float32], Rows]:
    """Return images by class and the same blurred, (2 N, d), and the sessions of each image, (N, LONGEST)."""
    vectors, blurred = load_vectors(folder, IMAGES, "test", "blurred")
    (labels,) = load(folder, IMAGES, "test_label")
    order = np.argsort(labels, kind="stable")
    alike = []
    for rows in np.split(np.arange(len(vectors)), CLASSES):
        own = vectors[order[rows]].astype(np.float64)
        squares = np.square(own).sum(axis=1)
        distances = squares[:, np.newaxis] + squares - 2 * own @ own.T
        np.fill_diagonal(distances, -1)
        alike.append(rows[np.argsort(distances, axis=1)[:, : LONGEST * STRIDE : STRIDE]])
    return np.concatenate([vectors[order], blurred[order]]), np.concatenate(alike)


class Installation:
    """A stream with a baseline of its own, judged window by window."""

    def __init__(self, folder: Path, size: str, warm_up: int, days: int, number: int) -> None:
        """Fit the baseline, and judge the warm-up.

        Args:
            folder: That of the embeddings.
            size: The size of the windows.
            warm_up: The days that are declared clean; 0: none.
            days: The days after them that can be judged.
            number: That of the stream, its seed.
        """
        vectors, alike = load_images(folder)
        size_ms, events = SIZES[size]
        self._hours = size_ms // HOUR_MS
        self._hour = BASELINE_DAYS * HOURS_A_DAY
        random = np.random.default_rng([number, 39])
        self._traffic = Traffic(random, alike, BASELINE_DAYS + warm_up + days, events / self._hours)
        baseline = fit_baseline(
            vectors[random.choice(self._traffic.draw(0, self._hour), BASELINE, replace=False)],
            stream="bench",
            clusters=CLUSTERS,
            seed=number,
            created_ms=0,
            progress=lambda _: None,
        )
        reference, centroids = to_reference(baseline), baseline.centroids
        tallies = Population(vectors, centroids.assign(vectors), centroids).tallies(reference)
        windows = warm_up * DAY_MS // size_ms
        self._stream = Stream(reference, tallies, size_ms, windows)
        for _ in range(windows):
            self.judge()

    def judge(self, drift: str | None = None) -> Verdict:
        """Draw and judge the next window."""
        first, self._hour = self._hour, self._hour + self._hours
        return self._stream.judge(self._traffic.draw(first, self._hour, drift)).verdict


def judge_clean(folder: Path, size: str, warm_up: int, days: int, number: int) -> list[Verdict]:
    """Return the verdicts of the days after the warm-up of a stream."""
    installation = Installation(folder, size, warm_up, days, number)
    return [installation.judge() for _ in range(days * DAY_MS // SIZES[size][0])]


def windows_until_drift(folder: Path, size: str, warm_up: int, drift: str, number: int) -> tuple[float, bool]:
    """Return the windows until drift is found, infinite: never, and whether an alarm was on before."""
    clean = max(CLEAN_DAYS - warm_up, DAYS_A_WEEK)
    installation = Installation(folder, size, warm_up, clean + 1 + LASTING, number)
    windows = DAY_MS // SIZES[size][0]
    # Streams begin to drift at different hours.
    before = [installation.judge() for _ in range(clean * windows + number % windows)]
    verdicts = (installation.judge(drift) for _ in range(LASTING * windows))
    until = next((until for until, each in enumerate(verdicts, 1) if each is Verdict.DRIFT), np.inf)
    return until, before[-1] is Verdict.DRIFT


def count_pages(verdicts: list[Verdict]) -> int:
    """Return how often an alarm begins; a window that is not judged ends none."""
    inconclusive = {Verdict.INSUFFICIENT, Verdict.INCOMPLETE}
    is_drift = np.array([each is Verdict.DRIFT for each in verdicts if each not in inconclusive])
    return int((is_drift & np.diff(is_drift, prepend=False)).sum())


def pages(pool: Executor, options: argparse.Namespace) -> None:
    """Print the false pages of clean traffic, and the share of its windows by verdict."""
    others = [each for each in Verdict if each is not Verdict.INCOMPLETE]
    say("| windows | pages | a year [upper 95 %] | by stream | most of one | " + " | ".join(others) + " |")
    say("|---" * (5 + len(others)) + "|")
    years = options.days / DAYS_A_YEAR
    for size in SIZES:
        judged = partial(judge_clean, options.data, size, options.warm_up, options.days)
        verdicts = list(pool.map(judged, range(options.streams)))
        counts = [count_pages(each) for each in verdicts]
        total, all_years = sum(counts), options.streams * years
        limit = gammaincinv(total + 1, 0.95) / all_years
        shares = " | ".join(f"{np.mean(np.array(verdicts) == each):.2%}" for each in others)
        say(
            f"| {size} | {total} | {total / all_years:.2f} [{limit:.2f}] "
            f"| {mean_and_error([count / years for count in counts])} | {max(counts)} | {shares} |"
        )


def delays(pool: Executor, options: argparse.Namespace) -> None:
    """Print the windows from the beginning of drift until it is found."""
    say("| windows | drift | median | 90 % | never | in alarm before |\n" + "|---" * 6 + "|")
    for size in SIZES:
        for drift in (A_CLASS, BLURRED):
            judged = partial(windows_until_drift, options.data, size, options.warm_up, drift)
            until, alarms = zip(*pool.map(judged, range(options.streams)), strict=True)
            half, most = np.quantile(until, (0.5, 0.9), method="inverted_cdf")
            say(
                f"| {size} | {drift} | {half:g} | {most:g} | {np.mean(np.isinf(until)):.2f} "
                f"| {np.mean(alarms):.2f} |"
            )


def describe(streams: int) -> str:
    """Return how the mix of clean streams varies."""
    weeks = np.stack(
        [draw_shares(np.random.default_rng([number, 40]), 8 * DAYS_A_WEEK) for number in range(streams)]
    ).reshape(streams, 8, DAYS_A_WEEK * HOURS_A_DAY, CLASSES)
    means = weeks.mean(axis=2)
    low, high = (np.median(extreme / means) for extreme in (weeks.min(axis=2), weeks.max(axis=2)))
    of_weeks, of_hours = (
        np.median(np.square(jensenshannon(*mixes, base=2, axis=-1)))
        for mixes in ((means[:, 1:], means[:, :-1]), (weeks, means[:, :, np.newaxis]))
    )
    return (
        f"Medians: a class's share in an hour is {low:.2f} to {high:.2f} of its week's mean; two weeks in a "
        f"row diverge by {of_weeks:.4f} bits, an hour and its week by {of_hours:.4f}.\n"
    )


def main() -> None:
    parser = parser_with_data(__doc__)
    parser.add_argument("part", choices=["pages", "delays"])
    parser.add_argument("--streams", type=int, default=2, help="default: 2")
    parser.add_argument("--days", type=int, default=60, help="clean days of each for pages (default: 60)")
    parser.add_argument("--warm-up", type=int, default=0, help="days declared clean before (default: 0)")
    parser.add_argument("--processes", type=int, default=1, help="default: 1")
    options = parser.parse_args()
    start = time.perf_counter()
    say(describe(options.streams))
    with ProcessPoolExecutor(options.processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        (pages if options.part == "pages" else delays)(pool, options)
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
