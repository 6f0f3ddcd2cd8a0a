"""The judging of simulated windows for `budget.py`: only those that may be significant are scored."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr
from tests.bench.population import CLUSTERS

from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.calibration import Calibration, PartCalibration, fields_of
from driftgauge.core.judging.clean_windows import WindowSums
from driftgauge.core.judging.scoring import WindowScorer
from driftgauge.core.judging.verdict import Verdict, decide
from driftgauge.core.reference import Reference, Segment, SegmentReference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.mean_shift import CLIPPED_COORDINATE_SUMS, MeanShiftNull
from driftgauge.core.statistics.nulls.divergence_null import DivergenceNull
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, Overdispersion

# A combined p-value is at least the least of its parts: a window whose statistics all have p-values above
# this multiple of the level cannot be significant and is not scored.
SCREEN = 4

_NO_SEGMENTS: Mapping[Segment, PartCalibration] = MappingProxyType({})

Tallies = NDArray[np.int64]
"""The tallies of windows, (windows, 2 k + B + r + 4)."""

Outcome = tuple[int, int]
"""Pages, and windows that are significant and large or have such a segment."""


def judge_windows(
    spec: StreamSpec,
    reference: Reference,
    overdispersion: Overdispersion | None,
    count: int,
    parts: Iterable[Tallies],
) -> Outcome:
    """Return the outcome of consecutive windows of `count` events, which come in parts."""
    scorer = build_scorer(spec, reference, overdispersion)
    counter = PageCounter(reference, None, overdispersion, count, spec.alarm.level)
    for windows in parts:
        for values, is_suspect in zip(windows, counter.suspects(windows, reference), strict=True):
            counter.add_window(scorer, values if is_suspect else None)
    return counter.pages(), sum(counter.found)


def build_scorer(
    spec: StreamSpec,
    reference: Reference,
    overdispersion: Overdispersion | None,
    segments: Mapping[Segment, PartCalibration] = _NO_SEGMENTS,
) -> WindowScorer:
    """Return the scorer of windows of a known overdispersion; None: that of independent events."""
    (size_ms,) = spec.sizes_ms
    known = overdispersion or Overdispersion.independent(reference.components)
    calibration = Calibration.of_baseline(
        replace(reference, overdispersion=known, overdispersion_ms=size_ms), size_ms
    )
    return WindowScorer(spec, reference, replace(calibration, segments=segments), size_ms)


class PageCounter:
    """Counts the pages of consecutive windows of a stream or segment, and screens the windows."""

    def __init__(
        self,
        reference: Reference,
        segment: SegmentReference | None,
        overdispersion: Overdispersion | None,
        count: int,
        level: float,
    ) -> None:
        self._fields = registry.fields_of(reference)
        self._level = SCREEN * level
        own = _whole_stream(reference) if segment is None else segment
        overdispersion = overdispersion or Overdispersion.independent(reference.components)
        self._screen = _Screen(own, overdispersion, count, self._level)
        # Those of the divergence and the mean are screened by thresholds.
        self._nulls = [
            each.null(reference, segment, overdispersion)
            for each in registry.counted(reference.arrays)
            if each.variances and (segment is None or each.in_segments)
        ]
        self.found: list[bool] = []
        self._deciding: list[bool] = []

    def suspects(self, windows: Tallies, reference: Reference) -> NDArray[np.bool_]:
        """Return which windows to score, (windows,)."""
        tallies = [Tally(values, self._fields) for values in windows]
        shift = reference.projection.shift(
            np.stack([each[CLIPPED_COORDINATE_SUMS] for each in tallies]), tallies[0].count
        )
        near = [self._least_p_value(each) < self._level for each in tallies]
        return self._screen.suspects(windows[:, :CLUSTERS], shift) | np.array(near)

    def add_window(self, scorer: WindowScorer, values: NDArray[np.int64] | None) -> None:
        """Add a window of the stream by its tally; None: it is no suspect."""
        tally = None if values is None else Tally(values, self._fields)
        score = None if tally is None else scorer.score(tally)
        if tally is None or score is None:
            self.add(is_found=False)
        else:
            signs = scorer.read_signs(score, tally)
            self.add(is_found=signs.counts, decides=signs.decides)

    def add(self, *, is_found: bool, decides: bool = False) -> None:
        """Add a window that has been judged."""
        self.found.append(is_found)
        self._deciding.append(decides)

    def pages(self) -> int:
        """Return the number of times the verdict became drift."""
        pages, before = 0, False
        for window, (found, decides) in enumerate(zip(self.found, self._deciding, strict=True)):
            recent = tuple(self.found[max(window - 2, 0) : window])
            verdict = decide(recent, counts=found, warns=False, decides=decides)
            pages += verdict is Verdict.DRIFT and not before
            before = verdict is Verdict.DRIFT
        return pages

    def _least_p_value(self, tally: Tally) -> float:
        """Return the least p-value of the tests beside those of the divergence and the mean."""
        p_values = (p_value for null in self._nulls for p_value in null.test(tally).p_values)
        return min(p_value for p_value in p_values if p_value is not None)


def estimate(
    windows: Tallies, reference: Reference, part: SegmentReference | None = None
) -> Overdispersion | None:
    """Return the overdispersion of clean windows, of the whole or of a segment."""
    fields, own = registry.fields_of(reference), fields_of(reference, part)
    clean = WindowSums.empty(reference, part)
    for values in windows:
        tally = Tally(values, fields)
        parts = np.concatenate([tally[field.name] for field in own])
        clean = clean.add(Tally(parts, own), reference, part)
    return None if clean.windows.windows < MIN_WINDOWS else clean.overdispersion(reference, part)


class _Screen:
    """Selects the few windows that may be significant by divergence or mean, by thresholds."""

    def __init__(
        self, part: SegmentReference, overdispersion: Overdispersion, count: int, level: float
    ) -> None:
        """Invert the p-values of windows of `count` events against a baseline, at the p-value `level`."""
        self._count = count
        self._mean = part.mean
        self._shares = part.counts / part.counts.sum()
        of_tail = overdispersion.of_tail(CLUSTERS)
        # The null of a window with the baseline's shares; p-values of other windows may be half of that.
        null = DivergenceNull.of(np.rint(count * self._shares).astype(np.int64), part.counts, of_tail)
        self._js = _bisect(null.p_value, 1.0, 2 * level)
        mean_null = MeanShiftNull(part.covariance, int(part.counts.sum()), overdispersion)
        deviations = np.linalg.cholesky(part.covariance)
        self._whitening = np.linalg.inv(deviations)
        # T2 is a weighted sum of squares along the columns of the covariance's factor.
        self._weights = np.array([mean_null.test(column, count).t2 for column in deviations.T])
        first = deviations[:, 0]
        scale = _bisect(lambda value: mean_null.test(value * first, count).p_value, 1e3, level)
        self._t2 = float(self._weights[0]) * scale**2
        scale = _bisect(lambda value: mean_null.test(value * first, count).centroid_p_value, 1e3, level)
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
            | (np.linalg.norm(own, axis=1) > self._distance)
        )


def _whole_stream(reference: Reference) -> SegmentReference:
    """Return the baseline of a whole window as that of a segment."""
    return SegmentReference(
        "",
        "",
        reference.counts,
        reference.mean,
        reference.covariance,
        {},
    )


def _bisect(p_value: Callable[[float], float], high: float, level: float) -> float:
    """Return the approximate value at which a falling p-value reaches `level`, from below."""
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) > level else (low, middle)
    return low
