"""False pages of the verdict in simulated years without drift: `python -m tests.bench.budget single|shared`.

The population is the CIFAR-10 embeddings. Each year has its own baselines, drawn from the same population as
its windows, so every page is false. For bursts and days the overdispersion is measured on 200 clean windows.
Slow drift is not simulated here; see `traffic.py`.

- `single`: one stream with windows of one size.
- `shared`: a budget shared by three streams with two sizes, and by a stream and its eight segments. A window
  is a random sum of cells, and each cell is the sum over 50 events drawn once; there are enough cells that
  windows rarely repeat one. A page is a window, or a segment of one, whose verdict becomes drift.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import gammaincinv
from tests.bench.budget_judging import Outcome, PageCounter, Tallies, build_scorer, estimate, judge_windows
from tests.bench.embeddings import IMAGES, load, load_vectors, parser_with_data
from tests.bench.population import CLASSES, CLUSTERS, DAY_MS, HOUR_MS, Population, spec
from tests.builders.baselines import project
from tests.output import say

from driftgauge.baseline.fitting import fit_baseline
from driftgauge.baseline.moments import leave_one_out_outliers
from driftgauge.baseline.moments import measure as measure_vectors
from driftgauge.baseline.segments import Members, reference_segments
from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.calibration import PartCalibration
from driftgauge.core.reference import Reference
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.statistics.novelty import NOVELTY
from driftgauge.core.statistics.spread import SPREAD

HOURS_A_YEAR, DAYS_A_YEAR, HOURS_A_DAY = 8_766, 365, 24
CLEAN_WINDOWS = 200
BURST = 5
RATIO = 25  # windows in the baseline

CELL = 50  # events
CELLS = 40_000
CHUNK = 2_000  # windows in memory at once
VALUES = 4  # of each of two keys: each region has its own mix of classes, all devices have the same
STREAMS = 3
STREAM_CELLS = 2  # cells in an hourly window
STREAM_BASELINE = 48_000  # events: 20 daily windows

Weights = NDArray[np.float64]
"""The probability of each class, (CLASSES,) float64."""

DrawRows = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.intp]]
"""Draws the rows of windows, shape (windows, n); vectors are sorted by class, a thousand each."""


def independent(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.intp]:
    return random.integers(0, 10_000, shape)


def bursts(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return rows in bursts of images of one class."""
    windows, count = shape
    labels = np.repeat(random.integers(0, CLASSES, (windows, count // BURST)), BURST, axis=1)
    return labels * 1_000 + random.integers(0, 1_000, (windows, count))


def days(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return rows of whole days: at night half of the classes are three times as frequent; days vary."""
    windows, count = shape
    night = np.arange(count) * 24 // count < 8
    weights = np.where(night, 0.75, 0.25) + random.normal(0, 0.03, (windows, 1))
    first = random.random((windows, count)) < weights
    labels = random.integers(0, CLASSES // 2, (windows, count)) + np.where(first, 0, CLASSES // 2)
    return labels * 1_000 + random.integers(0, 1_000, (windows, count))


def single(population: Population, years: int) -> None:
    """Print the pages of one stream with windows of one size."""
    for name, draw, size_ms, windows, count in (
        ("1h, n=200, independent", independent, HOUR_MS, HOURS_A_YEAR, 200),
        (f"1h, n=200, bursts of {BURST}", bursts, HOUR_MS, HOURS_A_YEAR, 200),
        ("1d, n=1,200, a daily cycle", days, DAY_MS, DAYS_A_YEAR, 1_200),
    ):

        def simulate(
            year: int,
            draw: DrawRows = draw,
            size_ms: int = size_ms,
            windows: int = windows,
            count: int = count,
        ) -> Outcome:
            random = np.random.default_rng([1, year, count])
            rows, fitted = (draw(random, (RATIO, count)).ravel() for _ in range(2))
            reference = population.reference(rows, fitted)
            tallies = population.tallies(reference)

            def sums(rows: NDArray[np.intp]) -> Tallies:
                return np.stack([tallies[window].sum(axis=0) for window in rows])

            overdispersion = None
            if draw is not independent:
                overdispersion = estimate(sums(draw(random, (CLEAN_WINDOWS, count))), reference)
            chunks = np.array_split(draw(random, (windows, count)), max(1, windows * count // 200_000))
            return judge_windows(
                spec(reference, size_ms), reference, overdispersion, count, map(sums, chunks)
            )

        measure(name, years, windows, window_level(1.0, [size_ms]), simulate)


def draw_rows(random: np.random.Generator, weights: Weights, count: int, length: int) -> NDArray[np.intp]:
    """Return rows of events in bursts of one class; vectors are sorted by class, a thousand each."""
    labels = np.repeat(random.choice(CLASSES, count // length, p=weights), length)
    return labels * 1_000 + random.integers(0, 1_000, count)


class Cells:
    """Cells of events: the sum of each one's tallies, drawn once."""

    def __init__(self, population: Population, weights: Weights, length: int) -> None:
        random = np.random.default_rng([3, length, *np.rint(1_000 * weights).astype(int)])
        rows = draw_rows(random, weights, CELLS * CELL, length)
        ends = np.arange(CELLS + 1) * CELL
        # Row i counts how often each vector is in cell i.
        self._members = csr_array(
            (np.ones(len(rows), np.int64), rows, ends), (CELLS, len(population.vectors))
        )

    def tallies(self, each: Tallies) -> Tallies:
        """Return the tally of each cell, by those of the vectors."""
        tallies: Tallies = self._members @ each
        return tallies


def simulate_segments(
    population: Population, cells: list[Cells], mixes: list[Weights], length: int, year: int
) -> Outcome:
    """Simulate a year of hourly windows of a stream with two segment keys of four values."""
    random = np.random.default_rng([4, year, length])
    each = RATIO * CELL
    rows, fitted = (
        np.concatenate([draw_rows(random, mix, VALUES * each, length) for mix in mixes]) for _ in range(2)
    )
    region, device = (
        np.repeat(np.arange(VALUES), VALUES * each),
        np.tile(np.repeat(np.arange(VALUES), each), VALUES),
    )
    members = [
        Members(key, str(value), labels == value)
        for key, labels in (("region", region), ("device", device))
        for value in range(VALUES)
    ]
    reference = with_segments(population, rows, fitted, members)
    by_vector = population.tallies(reference)
    tallies = [pool.tallies(by_vector) for pool in cells]

    def windows(number: int) -> tuple[Tallies, dict[tuple[str, str], Tallies]]:
        """Return the tallies of windows, and of each of their segments."""
        cells = np.stack([own[random.integers(0, CELLS, (number, VALUES))] for own in tallies], axis=1)
        sums = {("region", str(value)): cells[:, value].sum(axis=1) for value in range(VALUES)}
        sums |= {("device", str(value)): cells[:, :, value].sum(axis=1) for value in range(VALUES)}
        return cells.sum(axis=(1, 2)), sums

    count = VALUES * VALUES * CELL
    overdispersion, known = None, {}
    if length > 1:
        clean, parts = windows(CLEAN_WINDOWS)
        overdispersion = estimate(clean, reference)
        for part in reference.segments:
            own = estimate(parts[part.key, part.value], reference, part)
            assert own is not None
            known[part.key, part.value] = PartCalibration(own)
    stream_spec = spec(reference, HOUR_MS)
    stream_spec = replace(stream_spec, alarm=replace(stream_spec.alarm, segment_keys=("region", "device")))
    scorer = build_scorer(stream_spec, reference, overdispersion, known)
    level = stream_spec.alarm.level / 2
    stream = PageCounter(reference, None, overdispersion, count, level)
    counters = {}
    for part in reference.segments:
        segment = part.key, part.value
        own = known[segment].overdispersion if known else None
        counters[segment] = PageCounter(reference, part, own, count // VALUES, level)
    for first in range(0, HOURS_A_YEAR, CHUNK):
        sums, parts = windows(min(CHUNK, HOURS_A_YEAR - first))
        suspects = stream.suspects(sums, reference)
        segment_suspects = np.any(
            [counter.suspects(parts[segment], reference) for segment, counter in counters.items()], axis=0
        )
        for window in range(len(sums)):
            stream.add_window(scorer, sums[window] if suspects[window] else None)
            verdicts: dict[tuple[str, str], bool] = {}
            if segment_suspects[window]:
                verdicts = scorer.judge_segments(
                    {
                        segment: Tally(values[window], registry.fields_of(reference))
                        for segment, values in parts.items()
                    },
                    {},
                )[1]
            for segment, counter in counters.items():
                counter.add(is_found=verdicts.get(segment, False))
    all_counters = [stream, *counters.values()]
    found = np.any([each.found for each in all_counters], axis=0)
    return sum(each.pages() for each in all_counters), int(found.sum())


def with_segments(
    population: Population, rows: NDArray[np.intp], fitted: NDArray[np.intp], members: list[Members]
) -> Reference:
    """Return the baseline of some rows with segments, whose members are among these rows."""
    reference = population.reference(rows, fitted)
    vectors, clusters = population.vectors, population.clusters[rows]
    found = reference.projection
    measured = measure_vectors(
        vectors, rows, found, population.centroids, reference.radii, reference.cluster_means
    )
    distances = population.centroids.distances(vectors[rows], clusters)
    beyond = leave_one_out_outliers(distances, clusters)
    arrays = {}
    for member in members:
        own = {name: each[member.rows] for name, each in measured.items()}
        sample = own, beyond[member.rows]
        arrays[member.name] = NOVELTY.fit(*sample) | SPREAD.fit(*sample)
    segments = reference_segments(
        members, clusters, project(vectors[rows], found), arrays, CLUSTERS, lambda _: None
    )
    return replace(reference, segments=segments)


def simulate_streams(population: Population, pool: Cells, mix: Weights, length: int, year: int) -> Outcome:
    """Simulate a year of hourly and daily windows of three streams."""
    level = window_level(1.0, [HOUR_MS, DAY_MS] * STREAMS)
    pages = found = 0
    for stream in range(STREAMS):
        random = np.random.default_rng([5, year, stream, length])
        rows, fitted = (draw_rows(random, mix, STREAM_BASELINE, length) for _ in range(2))
        reference = population.reference(rows, fitted)
        tallies = pool.tallies(population.tallies(reference))
        count = STREAM_CELLS * CELL

        def hours(number: int, tallies: Tallies = tallies, random: np.random.Generator = random) -> Tallies:
            return tallies[random.integers(0, CELLS, (number, STREAM_CELLS))].sum(axis=1)

        overdispersion = estimate(hours(CLEAN_WINDOWS), reference) if length > 1 else None
        by_hour = hours(HOURS_A_YEAR // HOURS_A_DAY * HOURS_A_DAY)
        by_day = by_hour.reshape(-1, HOURS_A_DAY, by_hour.shape[1]).sum(axis=1)
        for sums, window_count, size_ms in (
            (by_hour, count, HOUR_MS),
            (by_day, HOURS_A_DAY * count, DAY_MS),
        ):
            own = spec(reference, size_ms)
            own = replace(own, alarm=replace(own.alarm, level=level))
            outcome = judge_windows(own, reference, overdispersion, window_count, [sums])
            pages, found = pages + outcome[0], found + outcome[1]
    return pages, found


def shared(population: Population, years: int) -> None:
    """Print the pages of a budget that segments, streams and sizes share."""
    even = np.full(CLASSES, 1 / CLASSES)
    halves = np.repeat([2.0, 1.0], CLASSES // 2)
    mixes = [np.roll(halves, 2 * value) / halves.sum() for value in range(VALUES)]
    for length, how in ((1, "independent"), (BURST, f"bursts of {BURST}")):
        cells = [Cells(population, mix, length) for mix in mixes]
        measure(
            f"1h, n={VALUES * VALUES * CELL}, 2 keys of {VALUES} values, {how}",
            years,
            HOURS_A_YEAR,
            window_level(1.0, [HOUR_MS]),
            lambda year, cells=cells, length=length: simulate_segments(
                population, cells, mixes, length, year
            ),
        )
        pool = Cells(population, even, length)
        measure(
            f"{STREAMS} streams by 1h and 1d, n={STREAM_CELLS * CELL} an hour, {how}",
            years,
            STREAMS * (HOURS_A_YEAR + DAYS_A_YEAR),
            window_level(1.0, [HOUR_MS, DAY_MS] * STREAMS),
            lambda year, pool=pool, length=length: simulate_streams(population, pool, even, length, year),
        )


def measure(name: str, years: int, windows: int, level: float, simulate: Callable[[int], Outcome]) -> None:
    """Print the outcome of years; the bound is exact for a Poisson number, since years are independent."""
    started_s = time.monotonic()
    total, found = np.sum([simulate(year) for year in range(years)], axis=0).tolist()
    bound = float(gammaincinv(total + 1, 0.95)) / years
    say(
        f"  {name:50} {total} pages, {total / years:.3f} a year, at most {bound:.3f}; {found / years:.2f} "
        f"windows a year are found, {found / (years * windows):.1e} of all at level {level:.1e} "
        f"({time.monotonic() - started_s:.0f} s)"
    )


def main() -> None:
    parser = parser_with_data(__doc__)
    parser.add_argument("part", choices=["single", "shared"])
    parser.add_argument("--years", type=int, default=20, help="default: 20")
    options = parser.parse_args()
    (vectors,) = load_vectors(options.data, IMAGES, "test")
    (labels,) = load(options.data, IMAGES, "test_label")
    vectors = vectors[np.argsort(labels, kind="stable")]
    fitted = fit_baseline(vectors, stream="bench", clusters=CLUSTERS, created_ms=0, progress=lambda _: None)
    population = Population(vectors, fitted.centroids.assign(vectors), fitted.centroids)
    say(f"False pages, budget 1 a year, without drift, {options.years} years (mean, upper 95 % bound)")
    (single if options.part == "single" else shared)(population, options.years)


if __name__ == "__main__":
    main()
