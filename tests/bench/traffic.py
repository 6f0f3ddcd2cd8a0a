"""Clean traffic, its false pages and the delay to drift: `python -m tests.bench.traffic pages|delays`.

Images come in sessions of neighbours of one class. How frequent the classes are follows the hour of the day
and the weekend, and differs a little from day to day; fewer events come at night. All weeks have the same
distribution, so without drift every page is false. Each stream is an installation with its own mix of
classes, cycles and baseline, which is a random sample of the events of the weeks before, without times.

- `pages`: clean days, after a warm-up if one is declared.
- `delays`: clean days, then drift, and the windows until the verdict is drift.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from scipy.signal import lfilter
from scipy.special import gammaincinv
from tests.bench.embeddings import DATA, IMAGES, Array, Rows, Vectors, load, load_vectors
from tests.bench.judged import CLUSTERS, Stream, tally_each
from tests.bench.tables import say_header, say_row
from tests.builders.baselines import fit
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.options import parse_options
from threadpoolctl import threadpool_limits

from driftgauge.core.judging.verdict import Verdict
from driftgauge.streams import to_reference


@dataclass(frozen=True)
class Size:
    """A size of windows: its length, the mean number of events, and the windows of drift in a stream."""

    length_ms: int
    events: int
    lasting: int

    @property
    def a_day(self) -> int:
        return DAY_MS // self.length_ms


SIZES = {"1h": Size(HOUR_MS, 200, 336), "1d": Size(DAY_MS, 1_200, 40)}
CLASSES = 10
BASELINE_DAYS = 28  # before the stream begins
HOURS_A_DAY, DAYS_A_WEEK = 24, 7

SESSION = 4  # events of a session, on average: one, and a Poisson number of others
LONGEST = 12  # events of a session
# A session is an image and others by how near they are: every so many of the thousand of its class.
STRIDE = 40
CORRELATION = 0.6  # of a class's offsets in two days in a row


@dataclass(frozen=True)
class Drift:
    """The share of all sessions that one class takes over, and of the events that are blurred."""

    of_class: float = 0.0
    blurred: float = 0.0


NONE = Drift()
DRIFTS = {
    "all blurred": Drift(blurred=1.0),
    "20 % blurred": Drift(blurred=0.2),
    "a class +20 %": Drift(of_class=0.2),
    "a class +10 %": Drift(of_class=0.1),
}


def draw_shares(random: np.random.Generator, days: int) -> Array:
    """Draw the share of each class in each hour of a stream from Monday on, (hours, CLASSES)."""
    day = np.arange(days * HOURS_A_DAY)[:, np.newaxis] / HOURS_A_DAY
    # Of the logarithm of a class's weight: between streams, the amplitude of its daily cycle, whose top is at
    # any hour, and how much more or less frequent it is at weekends.
    of_stream, amplitudes, of_weekends = (random.normal(0, each, CLASSES) for each in (0.3, 0.2, 0.2))
    daily = amplitudes * np.cos(2 * np.pi * (day - random.random(CLASSES)))
    # A weekend begins on Friday evening and ends on Monday morning.
    weekend = np.interp(day % DAYS_A_WEEK, (0, 0.25, 4.75, 5.25, 6.75, 7), (0.5, 0, 0, 1, 1, 0.5))
    # The own offset of a day is an AR(1) process.
    steps = random.normal(0, 0.15, (days, CLASSES))
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
        # Half of the mean volume comes at midnight, and as much more at noon.
        self._volume = events * (1 - 0.5 * np.cos(2 * np.pi * hours / HOURS_A_DAY))

    def draw(self, first: int, last: int, drift: Drift = NONE) -> Rows:
        """Draw the rows of the events of the hours from `first` until before `last`."""
        random, volume = self._random, self._volume[first:last]
        number = random.poisson(volume.sum() / SESSION)
        hours = first + random.choice(len(volume), number, p=volume / volume.sum())
        ends = self._shares[hours, :-1].cumsum(axis=1)
        labels = (random.random((number, 1)) > ends).sum(axis=1)
        labels[random.random(number) < drift.of_class] = self._class
        of_class = len(self._alike) // CLASSES
        items = labels * of_class + random.integers(0, of_class, number)
        lengths = np.minimum(1 + random.poisson(SESSION - 1, number), LONGEST)
        positions = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
        rows = self._alike[np.repeat(items, lengths), positions]
        return rows + len(self._alike) * (random.random(len(rows)) < drift.blurred)


@cache
def load_images(folder: Path) -> tuple[Vectors, Rows]:
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
    """A stream with a baseline of its own.

    Attributes:
        stream: What judges its windows.
    """

    def __init__(self, folder: Path, size: Size, warm_up: int, days: int, number: int) -> None:
        """Fit the baseline, and judge the warm-up.

        Args:
            folder: That of the embeddings.
            size: The size of the windows.
            warm_up: The days that are declared clean; 0: none.
            days: The days after them that can be judged.
            number: That of the stream, its seed.
        """
        vectors, alike = load_images(folder)
        self._hours = size.length_ms // HOUR_MS
        self._hour = BASELINE_DAYS * HOURS_A_DAY
        random = np.random.default_rng([number, 39])
        self._traffic = Traffic(random, alike, BASELINE_DAYS + warm_up + days, size.events / self._hours)
        # Half of these events are in the histogram.
        sample = random.choice(self._traffic.draw(0, self._hour), 5_000, replace=False)
        reference = to_reference(fit(vectors[sample], clusters=CLUSTERS, seed=number))
        windows = warm_up * size.a_day
        self.stream = Stream(reference, tally_each(reference, vectors), size.length_ms, windows)
        self.judge_clean(windows)

    def draw(self, drift: Drift = NONE) -> Rows:
        """Draw the next window."""
        first, self._hour = self._hour, self._hour + self._hours
        return self._traffic.draw(first, self._hour, drift)

    def judge_clean(self, windows: int) -> list[Verdict]:
        """Return the verdicts of the next windows."""
        return [self.stream.judge(self.draw()).verdict for _ in range(windows)]


def judge_clean(folder: Path, size: Size, warm_up: int, days: int, number: int) -> list[Verdict]:
    """Return the verdicts of the days after the warm-up of a stream."""
    return Installation(folder, size, warm_up, days, number).judge_clean(days * size.a_day)


def windows_until_drift(folder: Path, size: Size, warm_up: int, drift: Drift, number: int) -> float:
    """Return the windows of drift until the verdict is drift; infinite if it never is."""
    # Three clean weeks, those of a warm-up included, but at least one after it.
    clean, lasting = max(21 - warm_up, DAYS_A_WEEK), size.lasting
    installation = Installation(folder, size, warm_up, clean + 1 + lasting // size.a_day, number)
    # Streams begin to drift at different hours.
    installation.judge_clean(clean * size.a_day + number % size.a_day)
    return installation.stream.judge_until_drift(installation.draw(drift) for _ in range(lasting))


def count_pages(verdicts: list[Verdict]) -> int:
    """Return how often an alarm begins; a window that is not judged ends none."""
    is_drift = np.array([each is Verdict.DRIFT for each in verdicts if each.is_conclusive])
    return int((is_drift & np.diff(is_drift, prepend=False)).sum())


def pages(pool: Executor, options: argparse.Namespace) -> None:
    """Print the false pages of clean traffic, and the share of its windows by verdict."""
    others = [each for each in Verdict if each is not Verdict.INCOMPLETE]
    say_header("windows", "stream-years", "pages", "a year [upper 95 %]", *others)
    years = options.streams * options.days / 365.25
    for name, size in SIZES.items():
        judged = partial(judge_clean, options.data, size, options.warm_up, options.days)
        verdicts = list(pool.map(judged, range(options.streams)))
        total = sum(count_pages(each) for each in verdicts)
        limit = gammaincinv(total + 1, 0.95) / years
        shares = [f"{np.mean(np.array(verdicts) == each):.2%}" for each in others]
        say_row(name, f"{years:.1f}", total, f"{total / years:.2f} [{limit:.2f}]", *shares)


def delays(pool: Executor, options: argparse.Namespace) -> None:
    """Print the windows from the beginning of drift until it is found."""
    say_header("windows", "drift", "median", "90 %", "never")
    for name, size in SIZES.items():
        for kind, drift in DRIFTS.items():
            judged = partial(windows_until_drift, options.data, size, options.warm_up, drift)
            until = list(pool.map(judged, range(options.streams)))
            half, most = np.quantile(until, (0.5, 0.9), method="inverted_cdf")
            say_row(name, kind, f"{half:g}", f"{most:g}", f"{np.mean(np.isinf(until)):.2f}")


PARTS: dict[str, Callable[[Executor, argparse.Namespace], None]] = {"pages": pages, "delays": delays}


def main() -> None:
    # Clean days of each stream for `pages`, and the days before them that are declared clean.
    options = parse_options(__doc__, part=PARTS, data=DATA, streams=2, days=60, warm_up=0, processes=1)
    with ProcessPoolExecutor(options.processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        PARTS[options.part](pool, options)


if __name__ == "__main__":
    main()
