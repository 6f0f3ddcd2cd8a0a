"""False pages of a budget shared by segments, streams and sizes: `python tests/bench/budgets.py`, 15 minutes.

The population is the CIFAR-10 embeddings, without drift. It simulates 200 years of hourly windows. Each year
has its own baselines and its own overdispersion, measured on 200 clean windows. A window is a random sum of
cells, and each cell is the sum over 50 events drawn once; there are enough cells that windows rarely repeat
one. A page is a window, or a segment of one, whose verdict becomes drift. Novelty and spread are not tested
here, since segments have neither; `verdicts.py pages` tests them.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
    YEARS,
    Screen,
    count_pages,
    upper_bound,
    whole_stream,
)
from tests.output import say  # noqa: E402

from driftgauge.baseline.fitting import fit_baseline  # noqa: E402
from driftgauge.baseline.moments import moments, project  # noqa: E402
from driftgauge.baseline.segments import Members, reference_segments  # noqa: E402
from driftgauge.core.counting.tally import Tally  # noqa: E402
from driftgauge.core.reference import Reference, SegmentReference  # noqa: E402
from driftgauge.core.spec import StreamSpec  # noqa: E402
from driftgauge.core.statistics.budget import window_level  # noqa: E402
from driftgauge.core.statistics.overdispersion import (  # noqa: E402
    CalibratedOverdispersion,
    Overdispersion,
    OverdispersionEstimator,
)
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


@dataclass(frozen=True)
class Cells:
    """Sums over the events of each cell: (cells, k) cluster counts and (cells, d) vectors, float64."""

    counts: NDArray[np.int64]
    vectors: NDArray[np.float64]

    @classmethod
    def draw(cls, population: Population, weights: Weights, length: int) -> "Cells":
        random = np.random.default_rng([3, length, *np.rint(1_000 * weights).astype(int)])
        rows = draw_rows(random, weights, CELLS * CELL, length).reshape(CELLS, CELL)
        slots = population.clusters[rows] + CLUSTERS * np.arange(CELLS)[:, None]
        counts = np.bincount(slots.ravel(), minlength=CLUSTERS * CELLS).reshape(CELLS, CLUSTERS)
        vectors = np.stack([population.vectors[own].sum(axis=0, dtype=np.float64) for own in rows])
        return cls(counts.astype(np.int64), vectors)

    def tallies(self, reference: Reference) -> NDArray[np.int64]:
        """Return each cell's cluster counts and sums of coordinates, (cells, k + r) int64."""
        projection = reference.projection
        coordinates = (self.vectors - CELL * projection.mean) @ projection.components.T.astype(np.float64)
        return np.concatenate([self.counts, np.rint(coordinates / projection.step).astype(np.int64)], axis=1)


def estimate(
    windows: NDArray[np.int64], part: SegmentReference, reference: Reference, count: int
) -> Overdispersion | None:
    """Return the overdispersion measured on clean windows (windows, k + r) of `count` events."""
    clean = OverdispersionEstimator.empty(reference.components)
    shifts = part.standardized(reference.projection.shift(windows[:, CLUSTERS:], count))
    for counts, shift in zip(windows[:, :CLUSTERS], shifts, strict=True):
        clean = clean.add(counts, part.counts, shift, int(part.counts.sum()))
    return clean.overdispersion()


def to_tally(values: NDArray[np.int64]) -> Tally:
    """Return the tally of cluster counts and sums, (k + r,)."""
    counts = values[:CLUSTERS]
    # As many outliers as expected: their p-value of about a half says nothing.
    return Tally(
        np.concatenate([counts, [round(0.01 * counts.sum())], values[CLUSTERS:], np.zeros(4, np.int64)]),
        CLUSTERS,
    )


class PageCounter:
    """Counts the pages of consecutive windows of a stream or segment, and screens the windows."""

    def __init__(
        self, part: SegmentReference, overdispersion: Overdispersion | None, count: int, level: float
    ) -> None:
        # The combined p-value is at least the least of the single ones.
        self.screen = Screen(part, overdispersion, count, 4 * level)
        self.found: list[bool] = []

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
    rows = np.concatenate([draw_rows(random, mix, VALUES * each, length) for mix in mixes])
    region, device = (
        np.repeat(np.arange(VALUES), VALUES * each),
        np.tile(np.repeat(np.arange(VALUES), each), VALUES),
    )
    reference = population.reference(rows)
    coordinates = project(population.vectors, rows, moments(population.vectors, rows))
    members = [
        Members(key, str(value), labels == value)
        for key, labels in (("region", region), ("device", device))
        for value in range(VALUES)
    ]
    segments = reference_segments(members, population.clusters[rows], coordinates, CLUSTERS, lambda _: None)
    reference = replace(reference, segments=segments)
    tallies = [pool.tallies(reference) for pool in cells]

    def windows(number: int) -> tuple[NDArray[np.int64], dict[tuple[str, str], NDArray[np.int64]]]:
        """Return the sums of windows and of each of their segments, (windows, k + r)."""
        cells = np.stack([own[random.integers(0, CELLS, (number, VALUES))] for own in tallies], axis=1)
        sums = {("region", str(value)): cells[:, value].sum(axis=1) for value in range(VALUES)}
        sums |= {("device", str(value)): cells[:, :, value].sum(axis=1) for value in range(VALUES)}
        return cells.sum(axis=(1, 2)), sums

    whole, count = whole_stream(reference), VALUES * VALUES * CELL
    overdispersion, known = None, {}
    if length > 1:
        clean, parts = windows(CLEAN_WINDOWS)
        overdispersion = estimate(clean, whole, reference, count)
        for part in segments:
            own = estimate(parts[part.key, part.value], part, reference, count // VALUES)
            assert own is not None
            known[part.key, part.value] = CalibratedOverdispersion(own, calibrated=True)
    stream_spec = spec(reference, HOUR_MS)
    stream_spec = replace(stream_spec, alarm=replace(stream_spec.alarm, segment_keys=("region", "device")))
    scorer = WindowScorer(stream_spec, reference, overdispersion, calibrated=True, segments=known)
    level = stream_spec.alarm.level / 2
    stream = PageCounter(whole, overdispersion, count, level)
    counters = {
        (part.key, part.value): PageCounter(
            part,
            known[part.key, part.value].overdispersion if known else None,
            count // VALUES,
            level,
        )
        for part in segments
    }
    for first in range(0, HOURS_A_YEAR, CHUNK):
        sums, parts = windows(min(CHUNK, HOURS_A_YEAR - first))
        shift = reference.projection.shift
        suspects = stream.screen.suspects(sums[:, :CLUSTERS], shift(sums[:, CLUSTERS:], count))
        segment_suspects = np.zeros_like(suspects)
        for segment, counter in counters.items():
            values = parts[segment]
            segment_suspects |= counter.screen.suspects(
                values[:, :CLUSTERS], shift(values[:, CLUSTERS:], count // VALUES)
            )
        for window in range(len(sums)):
            found = False
            if suspects[window]:
                score = scorer.score(to_tally(sums[window]))
                assert score is not None
                found = scorer.is_significant_and_large(score)
            stream.found.append(found)
            verdicts: dict[tuple[str, str], bool] = {}
            if segment_suspects[window]:
                verdicts = scorer.judge_segments(
                    {segment: to_tally(values[window]) for segment, values in parts.items()}, {}
                )[1]
            for segment, counter in counters.items():
                counter.found.append(verdicts.get(segment, False))
    all_counters = [stream, *counters.values()]
    found = np.any([each.found for each in all_counters], axis=0)
    return sum(each.pages() for each in all_counters), int(found.sum())


def simulate_streams(population: Population, pool: Cells, mix: Weights, length: int, year: int) -> Outcome:
    """Simulate a year of hourly and daily windows of three streams."""
    level = window_level(1.0, [HOUR_MS, DAY_MS] * STREAMS)
    pages = found = 0
    for stream in range(STREAMS):
        random = np.random.default_rng([5, year, stream, length])
        reference = population.reference(draw_rows(random, mix, STREAM_BASELINE, length))
        tallies, whole = pool.tallies(reference), whole_stream(reference)
        count = STREAM_CELLS * CELL

        def hours(
            number: int, tallies: NDArray[np.int64] = tallies, random: np.random.Generator = random
        ) -> NDArray[np.int64]:
            return tallies[random.integers(0, CELLS, (number, STREAM_CELLS))].sum(axis=1)

        overdispersion = estimate(hours(CLEAN_WINDOWS), whole, reference, count) if length > 1 else None
        by_hour = hours(HOURS_A_YEAR // HOURS_A_DAY * HOURS_A_DAY)
        by_day = by_hour.reshape(-1, HOURS_A_DAY, by_hour.shape[1]).sum(axis=1)
        for sums, window_count, size_ms in (
            (by_hour, count, HOUR_MS),
            (by_day, HOURS_A_DAY * count, DAY_MS),
        ):
            stream_spec: StreamSpec = spec(reference, size_ms)
            stream_spec = replace(stream_spec, alarm=replace(stream_spec.alarm, level=level))
            scorer = WindowScorer(stream_spec, reference, overdispersion, calibrated=True)
            counter = PageCounter(whole, overdispersion, window_count, level)
            shift = reference.projection.shift(sums[:, CLUSTERS:], window_count)
            for window, suspicious in enumerate(counter.screen.suspects(sums[:, :CLUSTERS], shift)):
                score = scorer.score(to_tally(sums[window])) if suspicious else None
                counter.found.append(score is not None and scorer.is_significant_and_large(score))
            pages += counter.pages()
            found += sum(counter.found)
    return pages, found


def measure(name: str, simulate: Callable[[int], Outcome]) -> None:
    started_s = time.monotonic()
    total, found = np.sum([simulate(year) for year in range(YEARS)], axis=0).tolist()
    say(
        f"  {name:60} {total / YEARS:.3f} pages a year, at most {upper_bound(total):.3f}; "
        f"{found / YEARS:.2f} windows a year are found ({time.monotonic() - started_s:.0f} s)"
    )


def main() -> None:
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
    say(f"False pages, budget 1 a year, without drift, {YEARS} years (mean, upper 95 % bound)")
    even = np.full(CLASSES, 1 / CLASSES)
    halves = np.repeat([2.0, 1.0], CLASSES // 2)
    mixes = [np.roll(halves, 2 * value) / halves.sum() for value in range(VALUES)]
    for length, how in ((1, "independent"), (BURST, f"bursts of {BURST}")):
        cells = [Cells.draw(population, mix, length) for mix in mixes]
        measure(
            f"2 keys of {VALUES} values, 1h, n={VALUES * VALUES * CELL}, {how}",
            lambda year, cells=cells, length=length: simulate_segments(
                population, cells, mixes, length, year
            ),
        )
        pool = Cells.draw(population, even, length)
        measure(
            f"{STREAMS} streams by 1h and 1d, n={STREAM_CELLS * CELL} an hour, {how}",
            lambda year, pool=pool, length=length: simulate_streams(population, pool, even, length, year),
        )


if __name__ == "__main__":
    main()
