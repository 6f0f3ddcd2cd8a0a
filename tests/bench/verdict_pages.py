"""False pages of the verdict in simulated years without drift: `python tests/bench/verdicts.py pages`.

Each year has its own baseline, drawn from the same population as its windows, so every page is false. Slow
drift is not simulated: it never pages.
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, rel_entr
from tests.bench.population import CLASSES, CLUSTERS, DAY_MS, HOUR_MS, Population, spec
from tests.output import say

from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.statistics.divergence_null import DivergenceNull
from driftgauge.core.statistics.duplicates import DuplicatesNull
from driftgauge.core.statistics.mean_shift import LEADING_COMPONENTS, MeanShiftNull
from driftgauge.core.statistics.overdispersion import Overdispersion, OverdispersionEstimator
from driftgauge.core.windows.distance_tests import DistanceTests, distances_of
from driftgauge.core.windows.result import Verdict, VerdictMemory
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.core.windows.verdict import decide

HOURS_A_YEAR, DAYS_A_YEAR = 8_766, 365
YEARS = 200
# A combined p-value is at least the least of its parts: a window whose statistics all have p-values above
# this multiple of the level cannot be significant and is skipped.
SCREEN = 4
CLEAN_WINDOWS = 200

DrawRows = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.intp]]
"""Draws the rows of windows, shape (windows, n)."""


def independent(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.intp]:
    return rng.integers(0, 10_000, shape)


def bursts(length: int) -> DrawRows:
    """Return a draw of bursts of images of one class; vectors are sorted by class, a thousand each."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.intp]:
        windows, count = shape
        labels = np.repeat(rng.integers(0, CLASSES, (windows, count // length)), length, axis=1)
        return labels * 1_000 + rng.integers(0, 1_000, (windows, count))

    return draw


def days(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return rows of whole days: at night half of the classes are three times as frequent; days vary."""
    windows, count = shape
    night = np.arange(count) * 24 // count < 8
    weights = np.where(night, 0.75, 0.25) + rng.normal(0, 0.03, (windows, 1))
    first = rng.random((windows, count)) < weights
    labels = rng.integers(0, CLASSES // 2, (windows, count)) + np.where(first, 0, CLASSES // 2)
    return labels * 1_000 + rng.integers(0, 1_000, (windows, count))


def pages(population: Population) -> None:
    say("False pages, budget 1 a year, without drift (mean, upper 95 % bound)")
    scenarios = [
        ("independent, windows of 1h, n=200", independent, HOUR_MS, HOURS_A_YEAR, 200, 25, False),
        ("bursts of 5, windows of 1h, n=200", bursts(5), HOUR_MS, HOURS_A_YEAR, 200, 25, True),
        ("a daily cycle, windows of 1d, n=1,200", days, DAY_MS, DAYS_A_YEAR, 1_200, 25, True),
    ]
    for name, draw, size_ms, windows, count, ratio, known in scenarios:
        started_s = time.monotonic()
        found_pages, found_windows, warnings = [], 0, 0
        for year in range(YEARS):
            rng = np.random.default_rng([1, year, count])
            outcome = one_year(population, rng, draw, size_ms, windows, count, ratio * count, known=known)
            found_pages.append(outcome[0])
            found_windows += outcome[1]
            warnings += outcome[2]
        total = sum(found_pages)
        bound = upper_bound(total, YEARS)
        level = window_level(1.0, [size_ms])
        say(
            f"  {name:40} {total / YEARS:.3f} pages a year, at most {bound:.3f}; "
            f"windows found {found_windows / (YEARS * windows):.1e} at level {level:.1e}; "
            f"{warnings / YEARS:.2f} windows a year are found or page ({time.monotonic() - started_s:.0f} s)",
        )


def upper_bound(total: int, years: int) -> float:
    """Return the upper 95 % bound of the pages a year, exact for a Poisson number; years are independent."""
    return float(gammaincinv(total + 1, 0.95)) / years


def one_year(
    population: Population,
    rng: np.random.Generator,
    draw: DrawRows,
    size_ms: int,
    windows: int,
    count: int,
    baseline_count: int,
    *,
    known: bool,
) -> tuple[int, int, int]:
    """Return the pages, the windows found, and the windows that warn or page, of one year."""
    rows, fitted = (draw(rng, (baseline_count // count, count)).ravel() for _ in range(2))
    reference = population.reference(rows, fitted)
    tallies = population.tallies(reference)
    overdispersion = measure(reference, tallies, draw(rng, (CLEAN_WINDOWS, count))) if known else None
    tests = OtherTests(reference, overdispersion)
    stream_spec = spec(reference, size_ms)
    scorer = WindowScorer(stream_spec, reference, overdispersion, calibrated=known)
    screen = Screen(whole_stream(reference), overdispersion, count, SCREEN * stream_spec.alarm.level)
    verdicts: list[Verdict] = []
    memory, number_found = VerdictMemory(), 0
    for chunk in np.array_split(draw(rng, (windows, count)), max(1, windows * count // 200_000)):
        windowed = [Tally(tallies[window].sum(axis=0), CLUSTERS) for window in chunk]
        counts, sums = (np.stack([getattr(each, name) for each in windowed]) for name in ("counts", "sums"))
        suspects = screen.suspects(counts, reference.projection.shift(sums, count))
        for tally, suspicious in zip(windowed, suspects, strict=True):
            found = overwhelming = False
            if suspicious or tests.least_p_value(tally) < SCREEN * stream_spec.alarm.level:
                score = scorer.score(tally)
                assert score is not None
                found, overwhelming = scorer.is_significant_and_large(score), scorer.is_overwhelming(score)
            number_found += found
            verdicts.append(
                decide(memory.recent, is_significant_and_large=found, is_overwhelming=overwhelming)
            )
            memory = VerdictMemory((*memory.recent, found)[-2:])
    warnings = sum(verdict in {Verdict.DRIFT, Verdict.WARNING} for verdict in verdicts)
    return count_pages(verdicts), number_found, warnings


class OtherTests:
    """The tests beside those of the divergence and the mean: novelty, spread, and of the whole duplicates."""

    def __init__(self, part: Reference | SegmentReference, overdispersion: Overdispersion | None) -> None:
        self._distances = DistanceTests(part, overdispersion)
        self._duplicates: DuplicatesNull | None = None
        if isinstance(part, Reference):
            self._duplicates = DuplicatesNull.of(part.hash_counts, overdispersion)

    def least_p_value(self, tally: Tally) -> float:
        """Return the least p-value of a tally."""
        changes = [change.p_value for change in self._distances.spread(tally).changes if change is not None]
        repeated = [] if self._duplicates is None else [self._duplicates.test(tally.hash_counts).p_value]
        return min(self._distances.novelty(tally).p_value, *changes, *repeated)


def count_pages(verdicts: list[Verdict]) -> int:
    """Return how often drift begins."""
    drift = [verdict is Verdict.DRIFT for verdict in verdicts]
    return sum(now and not before for before, now in zip([False, *drift], drift, strict=False))


def measure(
    reference: Reference, tallies: NDArray[np.int64], rows: NDArray[np.intp]
) -> Overdispersion | None:
    """Return the overdispersion measured on separate clean windows, rows (windows, n)."""
    clean = OverdispersionEstimator.empty(reference.components)
    for window in rows:
        tally = Tally(tallies[window].sum(axis=0), CLUSTERS)
        clean = clean.add(
            tally.counts,
            reference.counts,
            reference.projection.shift(tally.sums, tally.count) / reference.projection.deviations,
            reference.mean_count,
            distances_of(tally, reference),
        )
    return clean.overdispersion()


class Screen:
    """Selects the few windows that may be significant, by thresholds of the four statistics."""

    def __init__(
        self, part: SegmentReference, overdispersion: Overdispersion | None, count: int, level: float
    ) -> None:
        """Invert the p-values of windows of `count` events against a baseline, at the p-value `level`."""
        self._count = count
        self._mean = part.mean
        self._shares = part.counts / part.counts.sum()
        inflation = 1.0 if overdispersion is None else overdispersion.inflation(CLUSTERS)
        # The null of a window with the baseline's shares; p-values of other windows may be half of that.
        null = DivergenceNull(part.counts, inflation).of(np.rint(count * self._shares).astype(np.int64))
        self._js = bisect(null.p_value, 1.0, 2 * level)
        mean_null = MeanShiftNull(part.covariance, int(part.counts.sum()), overdispersion)
        deviations = np.linalg.cholesky(part.covariance)
        self._whitening = np.linalg.inv(deviations)
        # T2 is a weighted sum of squares along the columns of the covariance's factor.
        self._weights = np.array([mean_null.test(column, count).t2 for column in deviations.T])
        first = deviations[:, 0]
        scale = bisect(lambda value: mean_null.test(value * first, count).p_value, 1e3, level)
        self._t2 = float(self._weights[0]) * scale**2
        scale = bisect(lambda value: mean_null.test(value * first, count).leading_p_value, 1e3, level)
        self._leading_t2 = float(self._weights[0]) * scale**2
        scale = bisect(lambda value: mean_null.test(value * first, count).centroid_p_value, 1e3, level)
        self._distance = scale * float(np.linalg.norm(first))

    def suspects(self, counts: NDArray[np.int64], shift: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which windows to score (windows,), by counts (windows, k) and shifts (windows, r)."""
        shares = counts / self._count
        middle = (shares + self._shares) / 2
        parts = (rel_entr(shares, middle) + rel_entr(self._shares, middle)).sum(axis=1) / (2 * np.log(2))
        own = shift - self._mean
        terms = np.square(own @ self._whitening.T) * self._weights
        return (
            (parts > self._js)
            | (terms.sum(axis=1) > self._t2)
            | (terms[:, :LEADING_COMPONENTS].sum(axis=1) > self._leading_t2)
            | (np.linalg.norm(own, axis=1) > self._distance)
        )


def whole_stream(reference: Reference) -> SegmentReference:
    """Return the baseline of a whole window as that of a segment."""
    return SegmentReference(
        "",
        "",
        reference.counts,
        np.zeros(reference.components),
        np.diag(reference.projection.variances),
        0,
        (None, None),
    )


def bisect(p_value: Callable[[float], float], high: float, level: float) -> float:
    """Return the approximate value at which a falling p-value reaches `level`, from below."""
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) > level else (low, middle)
    return low
