"""What the verdict as shipped is worth: `python tests/bench/verdicts.py [pages] [power] [weeks]`.

The CIFAR-10 embeddings are the population. False pages: at least 200 years of windows without drift,
each year with a baseline of its own, drawn from the same population as its windows, so that nothing but
chance is to be found; slow drift, which never pages, is left out. Power and delay: baseline and windows
from separate halves of the test images, so what a finite half deviates is in them, and all of the verdict.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, rel_entr

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


from driftgauge.baseline.fitting import fit_baseline  # noqa: E402
from driftgauge.baseline.moments import moments  # noqa: E402
from driftgauge.core.counting.assignment import Centroids  # noqa: E402
from driftgauge.core.counting.projection import Projection  # noqa: E402
from driftgauge.core.counting.tally import Tally, tally_batch  # noqa: E402
from driftgauge.core.reference import Reference, SegmentReference  # noqa: E402
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec  # noqa: E402
from driftgauge.core.statistics.budget import window_level  # noqa: E402
from driftgauge.core.statistics.divergence_null import DivergenceNull  # noqa: E402
from driftgauge.core.statistics.mean_shift import MeanShiftNull  # noqa: E402
from driftgauge.core.statistics.overdispersion import Overdispersion, OverdispersionEstimator  # noqa: E402
from driftgauge.core.windows.result import Verdict, VerdictMemory  # noqa: E402
from driftgauge.core.windows.scoring import WindowScorer  # noqa: E402
from driftgauge.core.windows.verdict import decide, update_memory  # noqa: E402
from driftgauge.streams import to_reference  # noqa: E402

EMBEDDINGS = ROOT.parent / "shared" / "data" / "cifar10-resnet18-fc1.npz"
CLUSTERS = 20
CLASSES = 10
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
HOURS_A_YEAR, DAYS_A_YEAR = 8_766, 365
YEARS = 200
# A window that is found has a statistic whose own p-value is below the level: combined they are never less
# than the least of them. All windows without one below so many times the level are passed over.
SCREEN = 4
CLEAN_WINDOWS = 200
SPLITS = 10
RUNS = 40  # sequences of windows for each split
LONGEST = 10  # windows after the beginning of drift

Draw = Callable[[np.random.Generator, int], NDArray[np.intp]]
"""Draws the rows of so many windows, (windows, n)."""


@dataclass(frozen=True)
class World:
    """Vectors to draw from, all of one set of centroids.

    Attributes:
        vectors: (N, d) float32, by class.
        clusters: (N,), the cluster of each.
        centroids: The centroids.
    """

    vectors: NDArray[np.float32]
    clusters: NDArray[np.intp]
    centroids: Centroids

    def reference(self, rows: NDArray[np.intp], overdispersion: Overdispersion | None = None) -> Reference:
        """Return the baseline of some rows."""
        found = moments(self.vectors, rows)
        return Reference(
            baseline_id="sha256:bench",
            centroids=self.centroids,
            counts=np.bincount(self.clusters[rows], minlength=CLUSTERS).astype(np.int64),
            radii=np.full(CLUSTERS, np.inf, dtype=np.float32),
            projection=Projection(found.mean, found.components, found.variances),
            overdispersion=overdispersion,
            overdispersion_ms=None,
            segments=(),
        )


def spec(reference: Reference, size_ms: int, budget: float = 1.0) -> StreamSpec:
    """A stream as it is configured by default, with windows of one size."""
    return StreamSpec(
        name="bench",
        baselines=(ScheduledBaseline(reference),),
        sizes_ms=(size_ms,),
        disorder_ms=0,
        lateness_ms=0,
        idle_ms=0,
        incomplete_ms=0,
        give_up_ms=0,
        min_events=5 * CLUSTERS,
        alarm=Alarm(level=window_level(budget, [size_ms]), js_divergence=0.01, mean_shift=0.05),
    )


def tallies(clusters: NDArray[np.intp], coordinates: NDArray[np.int64]) -> list[Tally]:
    """Return the tally of each window; the columns are (windows, n) and (windows, n, r)."""
    windows, count = clusters.shape
    values = tally_batch(
        np.repeat(np.arange(windows), count),
        windows,
        CLUSTERS,
        cluster=clusters.ravel(),
        outliers=np.zeros(windows * count, dtype=np.bool_),
        coordinates=coordinates.reshape(windows * count, -1),
    )
    return [Tally(row, CLUSTERS) for row in values]


# --- false pages


def independent(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.intp]:
    return rng.integers(0, 10_000, shape)


def bursts(length: int) -> Callable[[np.random.Generator, tuple[int, int]], NDArray[np.intp]]:
    """Rows in bursts of images of one class; vectors stand by class, a thousand each."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.intp]:
        windows, count = shape
        labels = np.repeat(rng.integers(0, CLASSES, (windows, count // length)), length, axis=1)
        return labels * 1_000 + rng.integers(0, 1_000, (windows, count))

    return draw


def days(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.intp]:
    """Rows of whole days: by night half of the classes come three times as often; no day is like another."""
    windows, count = shape
    night = np.arange(count) * 24 // count < 8
    weights = np.where(night, 0.75, 0.25) + rng.normal(0, 0.03, (windows, 1))
    first = rng.random((windows, count)) < weights
    labels = rng.integers(0, CLASSES // 2, (windows, count)) + np.where(first, 0, CLASSES // 2)
    return labels * 1_000 + rng.integers(0, 1_000, (windows, count))


def pages(world: World) -> None:
    say("False pages, budget 1 a year, without drift (mean, upper 95 % bound)")
    scenarios = [
        ("independent, windows of 1h, n=200", independent, HOUR_MS, HOURS_A_YEAR, 200, 25, False),
        ("bursts of 5, windows of 1h, n=200", bursts(5), HOUR_MS, HOURS_A_YEAR, 200, 25, True),
        ("a daily cycle, windows of 1d, n=1,200", days, DAY_MS, DAYS_A_YEAR, 1_200, 25, True),
    ]
    for name, draw, size_ms, windows, count, ratio, known in scenarios:
        began_s = time.monotonic()
        found_pages, found_windows, warnings = [], 0, 0
        for year in range(YEARS):
            rng = np.random.default_rng([1, year, count])
            outcome = one_year(world, rng, draw, size_ms, windows, count, ratio * count, known=known)
            found_pages.append(outcome[0])
            found_windows += outcome[1]
            warnings += outcome[2]
        total = sum(found_pages)
        bound = most(total)
        level = window_level(1.0, [size_ms])
        say(
            f"  {name:40} {total / YEARS:.3f} pages a year, at most {bound:.3f}; "
            f"windows found {found_windows / (YEARS * windows):.1e} at level {level:.1e}; "
            f"{warnings / YEARS:.2f} windows a year are found or page ({time.monotonic() - began_s:.0f} s)",
        )


def most(total: int) -> float:
    """Return the upper 95 % bound of the pages a year, exact for a Poisson number; years are independent."""
    return float(gammaincinv(total + 1, 0.95)) / YEARS


def one_year(
    world: World,
    rng: np.random.Generator,
    draw: Callable[[np.random.Generator, tuple[int, int]], NDArray[np.intp]],
    size_ms: int,
    windows: int,
    count: int,
    baseline_count: int,
    *,
    known: bool,
) -> tuple[int, int, int]:
    """Return the pages, the windows found, and the windows that warn or page, of one year."""
    rows = draw(rng, (baseline_count // count, count)).ravel()
    reference = world.reference(rows)
    projection = reference.projection
    coordinates = projection.coordinates(world.vectors)
    overdispersion = (
        measure(reference, world, coordinates, draw(rng, (CLEAN_WINDOWS, count))) if known else None
    )
    its_spec = spec(reference, size_ms)
    scorer = WindowScorer(its_spec, reference, overdispersion, calibrated=known)
    screen = Screen(whole_of(reference), overdispersion, count, SCREEN * its_spec.alarm.level)
    verdicts: list[Verdict] = []
    memory, number_found = VerdictMemory(), 0
    for chunk in np.array_split(draw(rng, (windows, count)), max(1, windows * count // 200_000)):
        clusters = world.clusters[chunk]
        sums = coordinates[chunk].sum(axis=1)
        counts = np.apply_along_axis(np.bincount, 1, clusters, minlength=CLUSTERS)
        for window, suspicious in enumerate(screen.suspects(counts, projection.shift(sums, count))):
            found = False
            if suspicious:
                values = np.concatenate([counts[window], [0], sums[window]])
                score = scorer.score(Tally(values, CLUSTERS))
                found = score is not None and scorer.is_significant_and_large(score)
            number_found += found
            verdicts.append(decide(memory.recent, is_significant_and_large=found, has_power=True))
            memory = VerdictMemory((*memory.recent, found)[-2:])
    warnings = sum(verdict in {Verdict.DRIFT, Verdict.WARNING} for verdict in verdicts)
    return count_pages(verdicts), number_found, warnings


def count_pages(verdicts: list[Verdict]) -> int:
    """Return how often drift begins."""
    drift = [verdict is Verdict.DRIFT for verdict in verdicts]
    return sum(now and not before for before, now in zip([False, *drift], drift, strict=False))


def measure(
    reference: Reference, world: World, coordinates: NDArray[np.int64], rows: NDArray[np.intp]
) -> Overdispersion | None:
    """Return the overdispersion of clean windows of their own, (windows, n) rows."""
    clean = OverdispersionEstimator.empty(reference.components)
    for window in rows:
        shift = reference.projection.shift(coordinates[window].sum(axis=0), len(window))
        clean = clean.add(
            np.bincount(world.clusters[window], minlength=CLUSTERS),
            reference.counts,
            shift / reference.projection.deviations,
            int(reference.counts.sum()),
        )
    return clean.overdispersion()


class Screen:
    """Finds the few windows that may be significant, by thresholds of the three statistics."""

    def __init__(
        self, part: SegmentReference, overdispersion: Overdispersion | None, count: int, least: float
    ) -> None:
        """Take what windows of so many events are compared with, and the p-value of a suspicious one."""
        self._count = count
        self._mean = part.mean
        self._shares = part.counts / part.counts.sum()
        inflation = 1.0 if overdispersion is None else overdispersion.inflation(CLUSTERS)
        null = DivergenceNull(part.counts, inflation).at(count)
        self._js = bisect(null.p_value, 1.0, least)
        mean_null = MeanShiftNull(part.covariance, int(part.counts.sum()), overdispersion)
        deviations = np.linalg.cholesky(part.covariance)
        self._whitening = np.linalg.inv(deviations)
        # T2 is a weighted sum of squares along the columns of the covariance's factor.
        self._weights = np.array([mean_null.test(column, count).t2 for column in deviations.T])
        first = deviations[:, 0]
        scale = bisect(lambda value: mean_null.test(value * first, count).p_value, 1e3, least)
        self._t2 = float(self._weights[0]) * scale**2
        scale = bisect(lambda value: mean_null.test(value * first, count).centroid_p_value, 1e3, least)
        self._distance = scale * float(np.linalg.norm(first))

    def suspects(self, counts: NDArray[np.int64], shift: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which windows, of (windows, k) counts and (windows, r) shifts, must be looked at."""
        shares = counts / self._count
        middle = (shares + self._shares) / 2
        parts = (rel_entr(shares, middle) + rel_entr(self._shares, middle)).sum(axis=1) / (2 * np.log(2))
        own = shift - self._mean
        return (
            (parts > self._js)
            | (np.square(own @ self._whitening.T) @ self._weights > self._t2)
            | (np.linalg.norm(own, axis=1) > self._distance)
        )


def whole_of(reference: Reference) -> SegmentReference:
    """Return what the whole of a window is compared with, as if it were a segment."""
    return SegmentReference(
        "", "", reference.counts, np.zeros(reference.components), np.diag(reference.projection.variances)
    )


def bisect(p_value: Callable[[float], float], high: float, least: float) -> float:
    """Return about where a falling p-value comes down to a level, from below."""
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) > least else (low, middle)
    return low


# --- power and delay


def power(data: dict[str, NDArray[np.float32]]) -> None:
    say(
        f"The verdict as shipped: level of a budget of 1 page a year on windows of 1h, floors on; baseline\n"
        f"and windows from separate halves of the test images, {SPLITS} splits x {RUNS} runs of {LONGEST}"
    )
    say(
        "  what                  n   windows found   drift by window 2   3   5   10   windows until drift"
        "   warning by 3   5   10"
    )
    for name in ("test", "blurred_mild", "darkened_mild", "blurred", "darkened"):
        for count in (200, 1_000):
            found: list[float] = []
            delays: list[int | None] = []
            warnings: list[int | None] = []
            for split in range(SPLITS):
                for run_found, warned, delay in runs(data, name, count, split):
                    found += run_found
                    warnings.append(warned)
                    delays.append(delay)
            by = [share(delays, window) for window in (2, 3, 5, LONGEST)]
            warned_by = [share(warnings, window) for window in (3, 5, LONGEST)]
            known = [delay for delay in delays if delay is not None]
            until = f"{np.mean(known):.1f}" if len(known) == len(delays) else f"more than {LONGEST} for some"
            say(
                f"  {name:15}{count:>8,}{np.mean(found):>15.1%}{by[0]:>19.0%}{by[1]:>6.0%}{by[2]:>5.0%}"
                f"{by[3]:>5.0%}   {until:21}{warned_by[0]:>13.0%}{warned_by[1]:>5.0%}{warned_by[2]:>5.0%}",
            )


def share(delays: list[int | None], window: int) -> float:
    return sum(delay is not None and delay <= window for delay in delays) / len(delays)


def runs(
    data: dict[str, NDArray[np.float32]], name: str, count: int, split: int
) -> Iterator[tuple[list[bool], int | None, int | None]]:
    """Yield, for each run, which windows were found, and by which the verdict was warning and drift."""
    rng = np.random.default_rng([2, split])
    order = rng.permutation(len(data["test"]))
    mine, theirs = np.split(order, 2)
    baseline = fit_baseline(
        data["test"][mine],
        stream="bench",
        model_version=None,
        clusters=CLUSTERS,
        seed=split,
        created_ms=0,
        progress=lambda _: None,
    )
    world = World(data[name], baseline.centroids.assign(data[name]), baseline.centroids)
    reference = to_reference(baseline)
    scorer = WindowScorer(spec(reference, HOUR_MS), reference, None, calibrated=False)
    coordinates = reference.projection.coordinates(world.vectors)
    for _ in range(RUNS):
        windows = np.stack([rng.choice(theirs, count, replace=False) for _ in range(LONGEST)])
        memory, found, warned, delay = VerdictMemory(), [], None, None
        for number, tally in enumerate(tallies(world.clusters[windows], coordinates[windows]), start=1):
            score = scorer.score(tally)
            assert score is not None
            is_significant_and_large = scorer.is_significant_and_large(score)
            found.append(is_significant_and_large)
            after = update_memory(
                memory,
                is_significant_and_large=is_significant_and_large,
                p_value=score.p_value,
                slow_drift_limit=scorer.slow_drift_limit,
                segments={},
            )
            verdict = decide(
                memory.recent,
                is_significant_and_large=is_significant_and_large,
                has_power=True,
                has_slow_drift=after.slow_drift >= scorer.slow_drift_limit,
            )
            if verdict is not Verdict.OK and warned is None:
                warned = number
            if verdict is Verdict.DRIFT and delay is None:
                delay = number
            memory = after
        yield found, warned, delay


# --- the three weeks


def weeks(data: dict[str, NDArray[np.float32]]) -> None:
    say("The three weeks: baseline on `train`, windows of 1d of 1,000 events, budget 1 page a year")
    baseline = fit_baseline(
        data["train"],
        stream="bench",
        model_version=None,
        clusters=CLUSTERS,
        created_ms=0,
        progress=lambda _: None,
    )
    reference = to_reference(baseline)
    scorer = WindowScorer(spec(reference, DAY_MS), reference, None, calibrated=False)
    memory = VerdictMemory()
    for week, name in enumerate(("test", "blurred", "darkened"), start=1):
        vectors = data[name][:7_000]
        clusters = baseline.centroids.assign(vectors).reshape(7, 1_000)
        coordinates = reference.projection.coordinates(vectors).reshape(7, 1_000, -1)
        said = []
        for tally in tallies(clusters, coordinates):
            score = scorer.score(tally)
            assert score is not None
            is_significant_and_large = scorer.is_significant_and_large(score)
            after = update_memory(
                memory,
                is_significant_and_large=is_significant_and_large,
                p_value=score.p_value,
                slow_drift_limit=scorer.slow_drift_limit,
                segments={},
            )
            verdict = decide(
                memory.recent,
                is_significant_and_large=is_significant_and_large,
                has_power=scorer.has_power(tally.count),
                has_slow_drift=after.slow_drift >= scorer.slow_drift_limit,
            )
            memory = after
            said.append(
                f"{verdict} ({score.js_excess:.3f}, {score.mean_shift.excess:.2f}, p {score.p_value:.0e})"
            )
        say(f"  week {week}, {name}: " + "; ".join(said))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    if not EMBEDDINGS.exists():
        sys.exit("the CIFAR-10 embeddings are not at hand: nothing is measured")
    with np.load(EMBEDDINGS) as archive:
        labels = archive["test_label"]
        names = ("train", "test", "blurred", "darkened", "blurred_mild", "darkened_mild")
        data = {name: archive[name].astype(np.float32) for name in names}
    wanted = sys.argv[1:] or ["weeks", "power", "pages"]
    if "weeks" in wanted:
        weeks(data)
    if "power" in wanted:
        power(data)
    if "pages" in wanted:
        vectors = data["test"][np.argsort(labels, kind="stable")]
        fitted = fit_baseline(
            vectors,
            stream="bench",
            model_version=None,
            clusters=CLUSTERS,
            created_ms=0,
            progress=lambda _: None,
        )
        pages(World(vectors, fitted.centroids.assign(vectors), fitted.centroids))


if __name__ == "__main__":
    main()
