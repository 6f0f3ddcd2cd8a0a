"""What segments, streams and sizes that share a budget page: `python tests/bench/budgets.py`, 15 minutes.

The CIFAR-10 embeddings are the population, and nothing drifts: 200 years of windows by the hour, each year
with baselines, and an overdispersion measured on 200 clean windows, of its own. Windows are put together from
cells: sums over 50 events that are drawn once, so many that a window hardly ever has one twice. A page is a
window, or a segment of one, whose verdict becomes drift.
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
    World,
    say,
    spec,
)
from tests.bench.verdict_pages import (  # noqa: E402
    CLEAN_WINDOWS,
    HOURS_A_YEAR,
    YEARS,
    Screen,
    count_pages,
    most,
    whole_of,
)

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
CHUNK = 2_000  # windows at a time
HOURS_A_DAY = 24

VALUES = 4  # of each of two keys: regions have classes of a mix of their own, devices make no difference
SEGMENTS_RATIO = 25  # the baseline's windows
STREAMS = 3
STREAM_CELLS = 2  # of a window of an hour
STREAM_BASELINE = 48_000  # events: 20 windows of a day

Weights = NDArray[np.float64]
"""How probable each class is, (CLASSES,) float64."""


def draw_rows(random: np.random.Generator, weights: Weights, count: int, length: int) -> NDArray[np.intp]:
    """Return rows of events in bursts of one class; vectors stand by class, a thousand each."""
    labels = np.repeat(random.choice(CLASSES, count // length, p=weights), length)
    return labels * 1_000 + random.integers(0, 1_000, count)


@dataclass(frozen=True)
class Cells:
    """Sums over the events of each cell: (cells, k) counts and (cells, d) vectors, float64."""

    counts: NDArray[np.int64]
    vectors: NDArray[np.float64]

    @classmethod
    def draw(cls, world: World, weights: Weights, length: int) -> "Cells":
        random = np.random.default_rng([3, length, *np.rint(1_000 * weights).astype(int)])
        rows = draw_rows(random, weights, CELLS * CELL, length).reshape(CELLS, CELL)
        places = world.clusters[rows] + CLUSTERS * np.arange(CELLS)[:, None]
        counts = np.bincount(places.ravel(), minlength=CLUSTERS * CELLS).reshape(CELLS, CLUSTERS)
        vectors = np.stack([world.vectors[own].sum(axis=0, dtype=np.float64) for own in rows])
        return cls(counts.astype(np.int64), vectors)

    def tallies(self, reference: Reference) -> NDArray[np.int64]:
        """Return each cell's counts and sums of places, (cells, k + r) int64."""
        projection = reference.projection
        along = (self.vectors - CELL * projection.mean) @ projection.components.T.astype(np.float64)
        return np.concatenate([self.counts, np.rint(along / projection.step).astype(np.int64)], axis=1)


def learn(
    windows: NDArray[np.int64], part: SegmentReference, reference: Reference, count: int
) -> Overdispersion | None:
    """Return the overdispersion of clean windows of so many events, (windows, k + r)."""
    clean = OverdispersionEstimator.empty(reference.components)
    shifts = part.standardized(reference.projection.shift(windows[:, CLUSTERS:], count))
    for counts, shift in zip(windows[:, :CLUSTERS], shifts, strict=True):
        clean = clean.add(counts, part.counts, shift, int(part.counts.sum()))
    return clean.overdispersion()


def to_tally(values: NDArray[np.int64]) -> Tally:
    """Return a tally of counts and sums, (k + r,)."""
    return Tally(np.insert(values, CLUSTERS, 0), CLUSTERS)


class Followed:
    """What windows are compared with, one after the other, and how often they page."""

    def __init__(
        self, part: SegmentReference, overdispersion: Overdispersion | None, count: int, level: float
    ) -> None:
        # The combined p-value is never below the least of the three.
        self.screen = Screen(part, overdispersion, count, 4 * level)
        self.found: list[bool] = []

    def pages(self) -> int:
        """Return how often drift has begun."""
        verdicts: list[Verdict] = []
        for place, found in enumerate(self.found):
            recent = tuple(self.found[max(place - 2, 0) : place])
            verdicts.append(decide(recent, is_significant_and_large=found, has_power=True))
        return count_pages(verdicts)


Outcome = tuple[int, int]
"""Pages, and windows that are found or have a segment that is."""


def year_of_segments(
    world: World, kinds: list[Cells], mixes: list[Weights], length: int, year: int
) -> Outcome:
    """Return what a year of a stream by the hour brings, with two keys of four values."""
    random = np.random.default_rng([4, year, length])
    each = SEGMENTS_RATIO * CELL
    rows = np.concatenate([draw_rows(random, mix, VALUES * each, length) for mix in mixes])
    region, device = (
        np.repeat(np.arange(VALUES), VALUES * each),
        np.tile(np.repeat(np.arange(VALUES), each), VALUES),
    )
    reference = world.reference(rows)
    along = project(world.vectors, rows, moments(world.vectors, rows))
    members = [
        Members(key, str(value), labels == value)
        for key, labels in (("region", region), ("device", device))
        for value in range(VALUES)
    ]
    segments = reference_segments(members, world.clusters[rows], along, CLUSTERS, lambda _: None)
    reference = replace(reference, segments=segments)
    tallies = [kind.tallies(reference) for kind in kinds]

    def windows(number: int) -> tuple[NDArray[np.int64], dict[tuple[str, str], NDArray[np.int64]]]:
        """Windows, and each segment of them: (windows, k + r)."""
        cells = np.stack([its[random.integers(0, CELLS, (number, VALUES))] for its in tallies], axis=1)
        sums = {("region", str(value)): cells[:, value].sum(axis=1) for value in range(VALUES)}
        sums |= {("device", str(value)): cells[:, :, value].sum(axis=1) for value in range(VALUES)}
        return cells.sum(axis=(1, 2)), sums

    whole, count = whole_of(reference), VALUES * VALUES * CELL
    overdispersion, known = None, {}
    if length > 1:
        clean, parts = windows(CLEAN_WINDOWS)
        overdispersion = learn(clean, whole, reference, count)
        for part in segments:
            own = learn(parts[part.key, part.value], part, reference, count // VALUES)
            assert own is not None
            known[part.key, part.value] = CalibratedOverdispersion(own, calibrated=True)
    its_spec = spec(reference, HOUR_MS)
    its_spec = replace(its_spec, alarm=replace(its_spec.alarm, segment_keys=("region", "device")))
    scorer = WindowScorer(its_spec, reference, overdispersion, calibrated=True, segments=known)
    level = its_spec.alarm.level / 2
    all_of_it = Followed(whole, overdispersion, count, level)
    followed = {
        (part.key, part.value): Followed(
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
        suspects = all_of_it.screen.suspects(sums[:, :CLUSTERS], shift(sums[:, CLUSTERS:], count))
        of_segments = np.zeros_like(suspects)
        for segment, its in followed.items():
            values = parts[segment]
            of_segments |= its.screen.suspects(
                values[:, :CLUSTERS], shift(values[:, CLUSTERS:], count // VALUES)
            )
        for place in range(len(sums)):
            found = False
            if suspects[place]:
                score = scorer.score(to_tally(sums[place]))
                assert score is not None
                found = scorer.is_significant_and_large(score)
            all_of_it.found.append(found)
            these: dict[tuple[str, str], bool] = {}
            if of_segments[place]:
                these = scorer.judge_segments(
                    {segment: to_tally(values[place]) for segment, values in parts.items()}, {}
                )[1]
            for segment, its in followed.items():
                its.found.append(these.get(segment, False))
    every = [all_of_it, *followed.values()]
    return sum(its.pages() for its in every), int(np.any([its.found for its in every], axis=0).sum())


def year_of_streams(world: World, kind: Cells, mix: Weights, length: int, year: int) -> Outcome:
    """Return what a year of three streams by the hour and the day brings."""
    level = window_level(1.0, [HOUR_MS, DAY_MS] * STREAMS)
    pages = found = 0
    for stream in range(STREAMS):
        random = np.random.default_rng([5, year, stream, length])
        reference = world.reference(draw_rows(random, mix, STREAM_BASELINE, length))
        tallies, whole = kind.tallies(reference), whole_of(reference)
        count = STREAM_CELLS * CELL

        def hours(
            number: int, tallies: NDArray[np.int64] = tallies, random: np.random.Generator = random
        ) -> NDArray[np.int64]:
            return tallies[random.integers(0, CELLS, (number, STREAM_CELLS))].sum(axis=1)

        overdispersion = learn(hours(CLEAN_WINDOWS), whole, reference, count) if length > 1 else None
        by_hour = hours(HOURS_A_YEAR // HOURS_A_DAY * HOURS_A_DAY)
        by_day = by_hour.reshape(-1, HOURS_A_DAY, by_hour.shape[1]).sum(axis=1)
        for sums, its_count, size_ms in (
            (by_hour, count, HOUR_MS),
            (by_day, HOURS_A_DAY * count, DAY_MS),
        ):
            its_spec: StreamSpec = spec(reference, size_ms)
            its_spec = replace(its_spec, alarm=replace(its_spec.alarm, level=level))
            scorer = WindowScorer(its_spec, reference, overdispersion, calibrated=True)
            followed = Followed(whole, overdispersion, its_count, level)
            shift = reference.projection.shift(sums[:, CLUSTERS:], its_count)
            for place, suspicious in enumerate(followed.screen.suspects(sums[:, :CLUSTERS], shift)):
                score = scorer.score(to_tally(sums[place])) if suspicious else None
                followed.found.append(score is not None and scorer.is_significant_and_large(score))
            pages += followed.pages()
            found += sum(followed.found)
    return pages, found


def measure(name: str, year_of: Callable[[int], Outcome]) -> None:
    began_s = time.monotonic()
    total, found = np.sum([year_of(year) for year in range(YEARS)], axis=0).tolist()
    say(
        f"  {name:60} {total / YEARS:.3f} pages a year, at most {most(total):.3f}; "
        f"{found / YEARS:.2f} windows a year are found ({time.monotonic() - began_s:.0f} s)"
    )


def main() -> None:
    if not EMBEDDINGS.exists():
        sys.exit("the CIFAR-10 embeddings are not at hand: nothing is measured")
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
    world = World(vectors, fitted.centroids.assign(vectors), fitted.centroids)
    say(f"False pages, budget 1 a year, without drift, {YEARS} years (mean, upper 95 % bound)")
    even = np.full(CLASSES, 1 / CLASSES)
    halves = np.repeat([2.0, 1.0], CLASSES // 2)
    mixes = [np.roll(halves, 2 * value) / halves.sum() for value in range(VALUES)]
    for length, how in ((1, "independent"), (BURST, f"bursts of {BURST}")):
        kinds = [Cells.draw(world, mix, length) for mix in mixes]
        measure(
            f"2 keys of {VALUES} values, 1h, n={VALUES * VALUES * CELL}, {how}",
            lambda year, kinds=kinds, length=length: year_of_segments(world, kinds, mixes, length, year),
        )
        kind = Cells.draw(world, even, length)
        measure(
            f"{STREAMS} streams by 1h and 1d, n={STREAM_CELLS * CELL} an hour, {how}",
            lambda year, kind=kind, length=length: year_of_streams(world, kind, even, length, year),
        )


if __name__ == "__main__":
    main()
