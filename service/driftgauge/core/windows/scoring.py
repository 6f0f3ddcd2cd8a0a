"""The window scorer: the tests of tallies against one baseline, and their combination."""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics.budget import benjamini_hochberg
from driftgauge.core.statistics.combination import (
    DUPLICATES_WEIGHT,
    JS_WEIGHT,
    MEAN_WEIGHTS,
    NOVELTY_WEIGHT,
    SPREAD_WEIGHT,
    TOTAL_WEIGHT,
    combine,
)
from driftgauge.core.statistics.cusum import threshold
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import DivergenceNull
from driftgauge.core.statistics.duplicates import Duplicates, DuplicatesNull
from driftgauge.core.statistics.mean_shift import MeanShift, MeanShiftNull
from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.statistics.overdispersion import CalibratedOverdispersion, Overdispersion
from driftgauge.core.statistics.power import Detectable, Sensitivity
from driftgauge.core.statistics.spread import Spread
from driftgauge.core.windows.distance_tests import DistanceTests
from driftgauge.core.windows.evidence import EvidenceAttribution
from driftgauge.core.windows.result import HistogramScore, Score, SegmentResult, Verdict
from driftgauge.core.windows.verdict import decide

__all__ = ["WindowScorer"]

# The statistics are correlated, so the combined p-values are not quite uniform: with correlations of 1/2
# among all, the mean run length is 0.42 times that of uniform p-values (simulated).
_SLOW_DRIFT_MARGIN = 2.5

# A window is overwhelming where its p-value is this much below its level, and its drift this many times as
# large as it must be.
_OVERWHELMING_RARITY = 100
_OVERWHELMING_SIZE = 2

# A warm-up is tested once, not in every window.
_MISFIT_LEVEL = 0.01

_NO_SEGMENTS: Mapping[Segment, CalibratedOverdispersion] = MappingProxyType({})


class WindowScorer:
    """Scores tallies of one stream against one baseline."""

    def __init__(
        self,
        spec: StreamSpec,
        reference: Reference,
        overdispersion: Overdispersion | None,
        *,
        calibrated: bool,
        segments: Mapping[Segment, CalibratedOverdispersion] = _NO_SEGMENTS,
    ) -> None:
        """Prepare the null distributions.

        Args:
            spec: The stream's configuration.
            reference: The baseline.
            overdispersion: The overdispersion of the events; None where it is unknown.
            calibrated: The overdispersion was measured on windows of the size that is judged.
            segments: The overdispersion of segments; other segments use that of the whole stream.
        """
        self._alarm = spec.alarm
        self._min_events = spec.min_events
        self._calibrated = calibrated
        self._projection = reference.projection
        self._segment_references = {
            (segment.key, segment.value): segment
            for segment in reference.segments_by(spec.alarm.segment_keys)
        }
        self._level = spec.alarm.overall_level
        self._reference = reference
        self._overdispersion = overdispersion
        self._segment_overdispersions = segments
        self._whole = None if _depends_on_count(overdispersion) else _Tests.of(reference, overdispersion)
        self._segment_scorers: dict[Segment, _ReferenceScorer] = {}
        self.slow_drift_limit = threshold(_SLOW_DRIFT_MARGIN / spec.alarm.level)
        """The limit at which the statistic of slow drift warns: reached more rarely than a false page."""

    def score(self, tally: Tally) -> Score | None:
        """Return a window's score; None where the window has too few events."""
        if tally.count < self._min_events:
            return None
        tests = self._tests(tally.count)
        shift = self._projection.shift(tally.sums, tally.count) - self._reference.mean
        duplicates = tests.duplicates.test(tally.hash_counts)
        found = tests.whole.test(
            tally, shift, [(duplicates.p_value, DUPLICATES_WEIGHT)], calibrated=self._calibrated
        )
        evidence = tests.attribution.evidence(
            tally.counts,
            shift,
            found.histogram.js_p_value,
            found.mean_shift,
            found.novelty,
            found.spread,
            duplicates,
        )
        return Score(
            **{each.name: getattr(found.histogram, each.name) for each in fields(found.histogram)},
            mean_shift=found.mean_shift,
            novelty=found.novelty,
            spread=found.spread,
            duplicates=duplicates,
            p_value=found.p_value,
            evidence=evidence,
            kind=evidence.kind if found.p_value < self._level else None,
            detectable=self._detectable(tests, tally.count),
        )

    def score_histogram(self, counts: NDArray[np.int64]) -> HistogramScore:
        """Return the score of a histogram alone, (k,) with one event at least."""
        return self._tests(int(counts.sum())).whole.score_histogram(counts, calibrated=self._calibrated)

    def is_significant_and_large(self, score: Score) -> bool:
        """Return whether a window is significant and large."""
        size = self._size(score.js_excess, score.mean_shift, score.novelty, score.spread, score.duplicates)
        return score.p_value < self._level and size >= 1

    def is_overwhelming(self, score: Score) -> bool:
        """Return whether a window's evidence is beyond the alarm budget by itself.

        Chance makes windows as significant as that far more rarely than the budget allows pages: a hundred
        times, and ten times where bursts inflate few directions, for which the tail of a measured
        overdispersion is exact only at 1e-4. The p-value is that of the divergence and the mean alone: rare
        bursts of outliers may be missing in the clean windows.
        """
        p_value = combine(*zip(*_weighted(score.js_p_value, score.mean_shift), strict=True))
        is_beyond = max(p_value, score.p_value) < self._level / _OVERWHELMING_RARITY
        return (
            score.calibrated
            and is_beyond
            and self._alarm.size(score.js_excess, score.mean_shift.excess) >= _OVERWHELMING_SIZE
        )

    def judge_segments(
        self,
        tallies: Mapping[Segment, Tally],
        recent: Mapping[Segment, tuple[bool, ...]] | None,
        misfits: Container[Segment | None] = (),
    ) -> tuple[tuple[SegmentResult, ...], dict[Segment, bool]]:
        """Score and judge each segment against the same segment of the baseline.

        Args:
            tallies: The segments' tallies; one without events may be missing.
            recent: Whether each segment was significant and large in the windows before; None: the window is
                incomplete.
            misfits: The segments whose warm-up differs from the baseline.

        Returns:
            The results, and whether each scored segment is significant and large.
        """
        counts = {
            segment: tallies[segment].count if segment in tallies else 0
            for segment in self._segment_references
        }
        scores = {
            segment: self._test_segment(segment, tallies[segment])
            for segment, count in counts.items()
            if count >= self._min_events
        }
        adjusted = dict(
            zip(
                scores,
                benjamini_hochberg([score.p_value for score in scores.values()]).tolist(),
                strict=True,
            )
        )
        significant_and_large = {
            segment: adjusted[segment] <= self._level
            and self._size(score.histogram.js_excess, score.mean_shift, score.novelty, score.spread) >= 1
            for segment, score in scores.items()
        }
        results = []
        for segment, count in counts.items():
            score = scores.get(segment)
            if recent is None:
                verdict = Verdict.INCOMPLETE
            elif score is None:
                verdict = Verdict.INSUFFICIENT
            else:
                verdict = decide(
                    recent.get(segment, ()),
                    is_significant_and_large=significant_and_large[segment],
                    is_misfit=segment in misfits,
                )
            results.append(
                SegmentResult(
                    segment=segment,
                    count=count,
                    js_divergence=None if score is None else score.histogram.js_divergence,
                    js_excess=None if score is None else score.histogram.js_excess,
                    mean_shift_excess=None if score is None else score.mean_shift.excess,
                    novelty_excess=None if score is None else score.novelty.excess,
                    spread_excess=None if score is None else score.spread.excess,
                    p_value=None if score is None else score.p_value,
                    adjusted_p_value=adjusted.get(segment),
                    calibrated=None if score is None else score.histogram.calibrated,
                    verdict=verdict,
                )
            )
        return tuple(results), significant_and_large

    def misfits(self, tallies: Mapping[Segment | None, Tally]) -> frozenset[Segment | None]:
        """Return the segments of a warm-up that differ from the baseline, None for all events.

        Each tally is tested as one large window, but for duplicates: its items come again in each window.
        """
        differing = set()
        for segment, tally in tallies.items():
            if segment is None:
                shift = self._projection.shift(tally.sums, tally.count) - self._reference.mean
                found = self._tests(tally.count).whole.test(tally, shift, calibrated=True)
            else:
                found = self._test_segment(segment, tally)
            size = self._size(found.histogram.js_excess, found.mean_shift, found.novelty, found.spread)
            if found.p_value < _MISFIT_LEVEL / len(tallies) and size >= 1:
                differing.add(segment)
        return frozenset(differing)

    def _size(
        self,
        js_excess: float,
        mean_shift: MeanShift,
        novelty: Novelty,
        spread: Spread,
        duplicates: Duplicates | None = None,
    ) -> float:
        # Beyond the radius lie few events, and the noise of few is often large.
        novelty_excess = novelty.excess if novelty.p_value < self._level else 0.0
        spreads = [change.excess for change in spread.changes if change and change.p_value < self._level]
        share = duplicates.share if duplicates is not None and duplicates.p_value < self._level else 0.0
        return self._alarm.size(
            js_excess, mean_shift.excess, novelty_excess, max(spreads, default=0.0), share
        )

    def _tests(self, count: int) -> "_Tests":
        """Return the tests of a window of n events."""
        if self._whole is not None:
            return self._whole
        assert self._overdispersion is not None  # noqa: S101 - only an overdispersion depends on the count
        reference = self._reference
        return _Tests.of(
            reference,
            self._overdispersion.at(count, int(reference.counts.sum()), reference.mean_count),
        )

    def _detectable(self, tests: "_Tests", count: int) -> Detectable:
        whole = tests.whole
        js_divergence = whole.sensitivity.least_js_divergence(count, self._level)
        return Detectable(
            js_divergence=js_divergence if js_divergence <= 1 else math.inf,
            mean_shift=whole.sensitivity.least_mean_shift(count, self._level),
            novelty=whole.distances.least_novelty(count, self._level * NOVELTY_WEIGHT / TOTAL_WEIGHT),
            spread=whole.distances.least_spread(count, self._level * SPREAD_WEIGHT / TOTAL_WEIGHT),
            duplicates=tests.duplicates.least_share(count, self._level * DUPLICATES_WEIGHT / TOTAL_WEIGHT),
        )

    def _test_segment(self, segment: Segment, tally: Tally) -> "_Findings":
        own = self._segment_overdispersions.get(segment)
        # The overdispersion of the whole stream may be too low for a segment with longer bursts.
        is_calibrated = own is not None and own.calibrated
        scorer = self._segment_scorers.get(segment)
        if scorer is None:
            reference = self._segment_references[segment]
            overdispersion = self._overdispersion if own is None else own.overdispersion
            is_fixed = not _depends_on_count(overdispersion)
            if overdispersion is not None:
                count = int(reference.counts.sum())
                overdispersion = overdispersion.at(tally.count, count, count)
            scorer = _ReferenceScorer(
                reference.counts,
                reference.mean,
                reference.covariance,
                overdispersion,
                DistanceTests(reference, overdispersion),
            )
            if is_fixed:
                self._segment_scorers[segment] = scorer
        shift = self._projection.shift(tally.sums, tally.count) - scorer.mean
        return scorer.test(tally, shift, calibrated=is_calibrated)


def _depends_on_count(overdispersion: Overdispersion | None) -> bool:
    return overdispersion is not None and overdispersion.baseline is not None


def _weighted(js_p_value: float, mean_shift: MeanShift) -> list[tuple[float, float]]:
    """Return the p-values of the divergence and the mean, each with its weight."""
    return [(js_p_value, JS_WEIGHT), *zip(mean_shift.p_values, MEAN_WEIGHTS, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class _Findings:
    """The tests of one tally, and their combined p-value."""

    histogram: HistogramScore
    mean_shift: MeanShift
    novelty: Novelty
    spread: Spread
    p_value: float


class _ReferenceScorer:
    """Scores tallies against a baseline or one of its segments."""

    def __init__(
        self,
        counts: NDArray[np.int64],
        mean: NDArray[np.float64],
        covariance: NDArray[np.float64],
        overdispersion: Overdispersion | None,
        distances: DistanceTests,
        mean_count: int | None = None,
    ) -> None:
        self.distances = distances
        self.mean = mean
        self._counts = counts
        of_tail = 1.0 if overdispersion is None else overdispersion.of_tail(len(counts))
        self._count_null = DivergenceNull(counts, of_tail)
        # The overdispersion of the tail has a margin, which the expected divergence must not include.
        self._floor_share = 1.0 if overdispersion is None else overdispersion.counts / of_tail
        self._mean_null = MeanShiftNull(covariance, int(counts.sum()), overdispersion, mean_count)
        self.sensitivity = Sensitivity.of(
            len(counts), len(mean), int(counts.sum()), overdispersion, mean_count
        )

    def score_histogram(self, counts: NDArray[np.int64], *, calibrated: bool) -> HistogramScore:
        contributions = js_contributions(counts, self._counts)
        # fsum does not depend on the order of the clusters, and rounding must not carry the sum above 1.
        divergence = min(math.fsum(contributions), 1.0)
        null = self._count_null.of(counts)
        noise_floor = null.expected * self._floor_share
        return HistogramScore(
            js_divergence=divergence,
            js_distance=math.sqrt(divergence),
            contributions=contributions,
            noise_floor=noise_floor,
            js_excess=divergence - noise_floor,
            js_p_value=null.p_value(divergence),
            calibrated=calibrated,
        )

    def test(
        self,
        tally: Tally,
        shift: NDArray[np.float64],
        others: Sequence[tuple[float, float]] = (),
        *,
        calibrated: bool,
    ) -> _Findings:
        """Return the tests of a tally by the shift of its mean from the reference's.

        Other p-values, each with its weight, count in the combination.
        """
        histogram = self.score_histogram(tally.counts, calibrated=calibrated)
        mean_shift = self._mean_null.test(shift, tally.count)
        novelty, spread = self.distances.novelty(tally), self.distances.spread(tally)
        weighted = [
            *_weighted(histogram.js_p_value, mean_shift),
            (novelty.p_value, NOVELTY_WEIGHT),
            *((change.p_value, SPREAD_WEIGHT) for change in spread.changes if change is not None),
            *others,
        ]
        p_value = combine(*zip(*weighted, strict=True))
        return _Findings(histogram, mean_shift, novelty, spread, p_value)


@dataclass(frozen=True, slots=True, eq=False)
class _Tests:
    """The tests of all of a window's events."""

    whole: _ReferenceScorer
    duplicates: DuplicatesNull
    attribution: EvidenceAttribution

    @classmethod
    def of(cls, reference: Reference, overdispersion: Overdispersion | None) -> "_Tests":
        """Prepare the null distributions; without overdispersion, events are independent."""
        return cls(
            _ReferenceScorer(
                reference.counts,
                reference.mean,
                np.diag(reference.projection.variances),
                overdispersion,
                DistanceTests(reference, overdispersion),
                reference.mean_count,
            ),
            DuplicatesNull.of(reference.hash_counts, overdispersion),
            EvidenceAttribution(reference, overdispersion),
        )
