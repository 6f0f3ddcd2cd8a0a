"""The window scorer: the tests of tallies against one baseline, and their combination."""

import math
from collections.abc import Mapping, Sequence
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
from driftgauge.core.statistics.spread import Spread, SpreadMoments
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
        self._whole = _ReferenceScorer(
            reference.counts,
            np.zeros(reference.components),
            np.diag(reference.projection.variances),
            overdispersion,
            DistanceTests(reference, overdispersion),
            reference.spreads[0],
            reference.mean_count,
        )
        self._duplicates = DuplicatesNull.of(reference.hash_counts, overdispersion)
        self._attribution = EvidenceAttribution(reference, overdispersion)
        self._overdispersion = overdispersion
        self._segment_overdispersions = segments
        self._segment_scorers: dict[Segment, _ReferenceScorer] = {}
        self.slow_drift_limit = threshold(_SLOW_DRIFT_MARGIN / spec.alarm.level)
        """The limit at which the statistic of slow drift warns: reached more rarely than a false page."""

    def score(self, tally: Tally) -> Score | None:
        """Return a window's score; None where the window has too few events."""
        if tally.count < self._min_events:
            return None
        shift = self._projection.shift(tally.sums, tally.count)
        duplicates = self._duplicates.test(tally.hash_counts)
        found = self._whole.test(
            tally, shift, [(duplicates.p_value, DUPLICATES_WEIGHT)], calibrated=self._calibrated
        )
        evidence = self._attribution.evidence(
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
            detectable=self._detectable(tally.count),
        )

    def score_histogram(self, counts: NDArray[np.int64]) -> HistogramScore:
        """Return the score of a histogram alone, (k,) with one event at least."""
        return self._whole.score_histogram(counts, calibrated=self._calibrated)

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
        self, tallies: Mapping[Segment, Tally], recent: Mapping[Segment, tuple[bool, ...]] | None
    ) -> tuple[tuple[SegmentResult, ...], dict[Segment, bool]]:
        """Score and judge each segment against the same segment of the baseline.

        Args:
            tallies: The segments' tallies; one without events may be missing.
            recent: Whether each segment was significant and large in the windows before; None: the window is
                incomplete.

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

    def _detectable(self, count: int) -> Detectable:
        js_divergence = self._whole.sensitivity.least_js_divergence(count, self._level)
        return Detectable(
            js_divergence=js_divergence if js_divergence <= 1 else math.inf,
            mean_shift=self._whole.sensitivity.least_mean_shift(count, self._level),
            novelty=self._whole.distances.least_novelty(count, self._level * NOVELTY_WEIGHT / TOTAL_WEIGHT),
            spread=self._whole.distances.least_spread(count, self._level * SPREAD_WEIGHT / TOTAL_WEIGHT),
            duplicates=self._duplicates.least_share(count, self._level * DUPLICATES_WEIGHT / TOTAL_WEIGHT),
        )

    def _test_segment(self, segment: Segment, tally: Tally) -> "_Findings":
        own = self._segment_overdispersions.get(segment)
        if segment not in self._segment_scorers:
            reference = self._segment_references[segment]
            overdispersion = self._overdispersion if own is None else own.overdispersion
            self._segment_scorers[segment] = _ReferenceScorer(
                reference.counts,
                reference.mean,
                reference.covariance,
                overdispersion,
                DistanceTests(reference, overdispersion),
                reference.spreads[0],
            )
        shift = self._projection.shift(tally.sums, tally.count)
        # The overdispersion of the whole stream may be too low for a segment with longer bursts.
        is_calibrated = own is not None and own.calibrated
        return self._segment_scorers[segment].test(tally, shift, calibrated=is_calibrated)


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
        spread: SpreadMoments | None,
        mean_count: int | None = None,
    ) -> None:
        self.distances = distances
        self._counts = counts
        self._mean = mean
        of_tail = 1.0 if overdispersion is None else overdispersion.of_tail(len(counts))
        self._count_null = DivergenceNull(counts, of_tail)
        # The overdispersion of the tail has a margin, which the expected divergence must not include.
        self._floor_share = 1.0 if overdispersion is None else overdispersion.counts / of_tail
        kurtosis = 0.0 if spread is None else spread.kurtosis_of_events(len(mean))
        self._mean_null = MeanShiftNull(covariance, int(counts.sum()), overdispersion, mean_count, kurtosis)
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
        """Return the tests of a tally; other p-values, each with its weight, count in the combination."""
        histogram = self.score_histogram(tally.counts, calibrated=calibrated)
        mean_shift = self._mean_null.test(shift - self._mean, tally.count)
        novelty, spread = self.distances.novelty(tally), self.distances.spread(tally)
        weighted = [
            *_weighted(histogram.js_p_value, mean_shift),
            (novelty.p_value, NOVELTY_WEIGHT),
            *((change.p_value, SPREAD_WEIGHT) for change in spread.changes if change is not None),
            *others,
        ]
        p_value = combine(*zip(*weighted, strict=True))
        return _Findings(histogram, mean_shift, novelty, spread, p_value)
