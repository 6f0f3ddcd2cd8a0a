"""False pages of a budget shared by segments, streams and sizes: `python tests/bench/budgets.py`.

The population is the CIFAR-10 embeddings, without drift. Each simulated year of hourly windows has its own
baselines and its own overdispersion, measured on 200 clean windows. A window is a random sum of cells, and
each cell is the sum over 50 events drawn once; there are enough cells that windows rarely repeat one. A page
is a window, or a segment of one, whose verdict becomes drift.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.population import (  # noqa: E402
    CLASSES,
    CLUSTERS,
    DAY_MS,
    EMBEDDINGS,
    HOUR_MS,
    Population,
    spec,
)
from tests.bench.verdict_pages import (  # noqa: E402
    CLEAN_WINDOWS,
    HOURS_A_YEAR,
    SCREEN,
    OtherTests,
    Screen,
    count_pages,
    upper_bound,
    whole_stream,
)
from tests.output import say  # noqa: E402

from driftgauge.baseline.fitting import fit_baseline  # noqa: E402
from driftgauge.baseline.moments import moments, project  # noqa: E402
from driftgauge.baseline.radii import beyond_others  # noqa: E402
from driftgauge.baseline.segments import Members, reference_segments  # noqa: E402
from driftgauge.baseline.spreads import measure_spreads, moments_of  # noqa: E402
from driftgauge.core.counting.tally import Tally  # noqa: E402
from driftgauge.core.reference import Reference, SegmentReference  # noqa: E402
from driftgauge.core.spec import StreamSpec  # noqa: E402
from driftgauge.core.statistics.budget import window_level  # noqa: E402
from driftgauge.core.statistics.overdispersion import (  # noqa: E402
    CalibratedOverdispersion,
    Overdispersion,
    OverdispersionEstimator,
)
from driftgauge.core.windows.distance_tests import distances_of  # noqa: E402
from driftgauge.core.windows.result import Verdict  # noqa: E402
from driftgauge.core.windows.scoring import WindowScorer  # noqa: E402
from driftgauge.core.windows.verdict import decide  # noqa: E402

CELL = 50  # events
CELLS = 40_000
BURST = 5
CHUNK = 2_000  # windows in memory at once
HOURS_A_DAY = 24

VALUES = 4  # of each of two keys: each region has its own mix of classes, all devices have the same
SEGMENTS_RATIO = 25  # windows in the baseline
STREAMS = 3
STREAM_CELLS = 2  # cells in an hourly window
STREAM_BASELINE = 48_000  # events: 20 daily windows

Weights = NDArray[np.float64]
"""The probability of each class, (CLASSES,) float64."""


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

    def tallies(self, each: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tally of each cell, (cells, 2 k + B + r + 4), by those of the vectors."""
        tallies: NDArray[np.int64] = self._members @ each
        return tallies


def estimate(
    windows: NDArray[np.int64], part: SegmentReference | None, reference: Reference
) -> Overdispersion | None:
    """Return the overdispersion of clean windows (windows, 2 k + B + r + 4) of the whole, or of a segment."""
    clean = OverdispersionEstimator.empty(reference.components)
    counts = reference.counts if part is None else part.counts
    for values in windows:
        tally = Tally(values, CLUSTERS)
        shift = reference.projection.shift(tally.sums, tally.count)
        standardized = shift / reference.projection.deviations if part is None else part.standardized(shift)
        clean = clean.add(
            tally.counts,
            counts,
            standardized,
            reference.mean_count if part is None else int(counts.sum()),
            distances_of(tally, reference if part is None else part),
        )
    return clean.overdispersion()


class PageCounter:
    """Counts the pages of consecutive windows of a stream or segment, and screens the windows."""

    def __init__(
        self,
        part: Reference | SegmentReference,
        overdispersion: Overdispersion | None,
        count: int,
        level: float,
    ) -> None:
        # The combined p-value is at least the least of the single ones.
        self._level = SCREEN * level
        own = whole_stream(part) if isinstance(part, Reference) else part
        self._screen = Screen(own, overdispersion, count, self._level)
        self._tests = OtherTests(part, overdispersion)
        self.found: list[bool] = []

    def suspects(self, windows: NDArray[np.int64], reference: Reference) -> NDArray[np.bool_]:
        """Return which windows to score, (windows,), by their tallies (windows, 2 k + B + r + 4)."""
        tallies = [Tally(values, CLUSTERS) for values in windows]
        shift = reference.projection.shift(np.stack([each.sums for each in tallies]), tallies[0].count)
        near = [self._tests.least_p_value(each) < self._level for each in tallies]
        return self._screen.suspects(windows[:, :CLUSTERS], shift) | np.array(near)

    def pages(self) -> int:
        """Return the number of times the verdict became drift."""
        verdicts: list[Verdict] = []
        for window, found in enumerate(self.found):
            recent = tuple(self.found[max(window - 2, 0) : window])
            verdicts.append(decide(recent, is_significant_and_large=found))
        return count_pages(verdicts)


Outcome = tuple[int, int]
"""Pages, and windows that are significant and large or have such a segment."""


def simulate_segments(
    population: Population, cells: list[Cells], mixes: list[Weights], length: int, year: int
) -> Outcome:
    """Simulate a year of hourly windows of a stream with two segment keys of four values."""
    random = np.random.default_rng([4, year, length])
    each = SEGMENTS_RATIO * CELL
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

    def windows(number: int) -> tuple[NDArray[np.int64], dict[tuple[str, str], NDArray[np.int64]]]:
        """Return the tallies of windows and of each of their segments, (windows, 2 k + B + r + 4)."""
        cells = np.stack([own[random.integers(0, CELLS, (number, VALUES))] for own in tallies], axis=1)
        sums = {("region", str(value)): cells[:, value].sum(axis=1) for value in range(VALUES)}
        sums |= {("device", str(value)): cells[:, :, value].sum(axis=1) for value in range(VALUES)}
        return cells.sum(axis=(1, 2)), sums

    count = VALUES * VALUES * CELL
    overdispersion, known = None, {}
    if length > 1:
        clean, parts = windows(CLEAN_WINDOWS)
        overdispersion = estimate(clean, None, reference)
        for part in reference.segments:
            own = estimate(parts[part.key, part.value], part, reference)
            assert own is not None
            known[part.key, part.value] = CalibratedOverdispersion(own, calibrated=True)
    stream_spec = spec(reference, HOUR_MS)
    stream_spec = replace(stream_spec, alarm=replace(stream_spec.alarm, segment_keys=("region", "device")))
    scorer = WindowScorer(stream_spec, reference, overdispersion, calibrated=True, segments=known)
    level = stream_spec.alarm.level / 2
    stream = PageCounter(reference, overdispersion, count, level)
    counters = {
        (part.key, part.value): PageCounter(
            part,
            known[part.key, part.value].overdispersion if known else None,
            count // VALUES,
            level,
        )
        for part in reference.segments
    }
    for first in range(0, HOURS_A_YEAR, CHUNK):
        sums, parts = windows(min(CHUNK, HOURS_A_YEAR - first))
        suspects = stream.suspects(sums, reference)
        segment_suspects = np.any(
            [counter.suspects(parts[segment], reference) for segment, counter in counters.items()], axis=0
        )
        for window in range(len(sums)):
            stream.found.append(bool(suspects[window]) and is_found(scorer, sums[window]))
            verdicts: dict[tuple[str, str], bool] = {}
            if segment_suspects[window]:
                verdicts = scorer.judge_segments(
                    {segment: Tally(values[window], CLUSTERS) for segment, values in parts.items()}, {}
                )[1]
            for segment, counter in counters.items():
                counter.found.append(verdicts.get(segment, False))
    all_counters = [stream, *counters.values()]
    found = np.any([each.found for each in all_counters], axis=0)
    return sum(each.pages() for each in all_counters), int(found.sum())


def with_segments(
    population: Population, rows: NDArray[np.intp], fitted: NDArray[np.intp], members: list[Members]
) -> Reference:
    """Return the baseline of some rows with segments; the same members of both sets of rows are theirs."""
    reference = population.reference(rows, fitted)
    vectors, clusters = population.vectors, population.clusters[rows]
    found = moments(vectors, rows, fitted)
    spreads, outliers = measure_spreads(vectors, fitted, found, population.centroids, reference.radii)
    distances = population.centroids.distances(vectors[rows], clusters)
    segments = reference_segments(
        members,
        clusters,
        project(vectors, rows, found),
        beyond_others(distances, clusters),
        {each.name: moments_of(spreads[each.rows], outliers[each.rows]) for each in members},
        CLUSTERS,
        lambda _: None,
    )
    return replace(reference, segments=segments)


def is_found(scorer: WindowScorer, values: NDArray[np.int64]) -> bool:
    score = scorer.score(Tally(values, CLUSTERS))
    assert score is not None
    return scorer.is_significant_and_large(score)


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

        def hours(
            number: int, tallies: NDArray[np.int64] = tallies, random: np.random.Generator = random
        ) -> NDArray[np.int64]:
            return tallies[random.integers(0, CELLS, (number, STREAM_CELLS))].sum(axis=1)

        overdispersion = estimate(hours(CLEAN_WINDOWS), None, reference) if length > 1 else None
        by_hour = hours(HOURS_A_YEAR // HOURS_A_DAY * HOURS_A_DAY)
        by_day = by_hour.reshape(-1, HOURS_A_DAY, by_hour.shape[1]).sum(axis=1)
        for sums, window_count, size_ms in (
            (by_hour, count, HOUR_MS),
            (by_day, HOURS_A_DAY * count, DAY_MS),
        ):
            stream_spec: StreamSpec = spec(reference, size_ms)
            stream_spec = replace(stream_spec, alarm=replace(stream_spec.alarm, level=level))
            scorer = WindowScorer(stream_spec, reference, overdispersion, calibrated=True)
            counter = PageCounter(reference, overdispersion, window_count, level)
            counter.found = [
                bool(suspicious) and is_found(scorer, values)
                for values, suspicious in zip(sums, counter.suspects(sums, reference), strict=True)
            ]
            pages += counter.pages()
            found += sum(counter.found)
    return pages, found


def measure(name: str, years: int, simulate: Callable[[int], Outcome]) -> None:
    started_s = time.monotonic()
    total, found = np.sum([simulate(year) for year in range(years)], axis=0).tolist()
    say(
        f"  {name:60} {total / years:.3f} pages a year, at most {upper_bound(total, years):.3f}; "
        f"{found / years:.2f} windows a year are found ({time.monotonic() - started_s:.0f} s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--years", type=int, default=20, help="default: 20")
    years = parser.parse_args().years
    if not EMBEDDINGS.exists():
        sys.exit(f"the CIFAR-10 embeddings are missing: {EMBEDDINGS}")
    with np.load(EMBEDDINGS) as archive:
        vectors = archive["test"].astype(np.float32)[np.argsort(archive["test_label"], kind="stable")]
    fitted = fit_baseline(
        vectors,
        stream="bench",
        model_version=None,
        clusters=CLUSTERS,
        created_ms=0,
        progress=lambda _: None,
    )
    population = Population(vectors, fitted.centroids.assign(vectors), fitted.centroids)
    say(f"False pages, budget 1 a year, without drift, {years} years (mean, upper 95 % bound)")
    even = np.full(CLASSES, 1 / CLASSES)
    halves = np.repeat([2.0, 1.0], CLASSES // 2)
    mixes = [np.roll(halves, 2 * value) / halves.sum() for value in range(VALUES)]
    for length, how in ((1, "independent"), (BURST, f"bursts of {BURST}")):
        cells = [Cells(population, mix, length) for mix in mixes]
        measure(
            f"2 keys of {VALUES} values, 1h, n={VALUES * VALUES * CELL}, {how}",
            years,
            lambda year, cells=cells, length=length: simulate_segments(
                population, cells, mixes, length, year
            ),
        )
        pool = Cells(population, even, length)
        measure(
            f"{STREAMS} streams by 1h and 1d, n={STREAM_CELLS * CELL} an hour, {how}",
            years,
            lambda year, pool=pool, length=length: simulate_streams(population, pool, even, length, year),
        )


if __name__ == "__main__":
    main()
