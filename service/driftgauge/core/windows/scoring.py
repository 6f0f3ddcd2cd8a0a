"""Scores the windows of one stream against one baseline, and tells which are significant and large."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.spec import Alarm, StreamSpec
from driftgauge.core.statistics.budget import benjamini_hochberg
from driftgauge.core.statistics.combination import combine
from driftgauge.core.statistics.cusum import threshold
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import DivergenceNull
from driftgauge.core.statistics.mean_shift import MeanShiftNull
from driftgauge.core.statistics.overdispersion import CalibratedOverdispersion, Overdispersion
from driftgauge.core.statistics.power import Sensitivity
from driftgauge.core.windows.result import Score, SegmentResult, Verdict
from driftgauge.core.windows.verdict import decide

__all__ = ["WindowScorer"]

# The statistics are correlated, so that combined p-values are not quite uniform: with correlations of 1/2, as
# they are on embeddings of images, the mean run length is 0.63 of what it is for uniform ones (simulated).
_SLOW_CARE = 2.0

_NONE: Mapping[Segment, CalibratedOverdispersion] = MappingProxyType({})


class WindowScorer:
    """Compares tallies with a baseline."""

    def __init__(
        self,
        spec: StreamSpec,
        reference: Reference,
        overdispersion: Overdispersion | None,
        *,
        calibrated: bool,
        segments: Mapping[Segment, CalibratedOverdispersion] = _NONE,
    ) -> None:
        """Prepare to compare.

        Args:
            spec: How the stream is watched.
            reference: The baseline.
            overdispersion: How related the events are; None: not known.
            calibrated: It is that of windows of the size that is judged.
            segments: How related the events of segments are; those of all others are taken to be as the
                whole stream's.
        """
        self._alarm = spec.alarm
        self._min_events = spec.min_events
        self._calibrated = calibrated
        self._projection = reference.projection
        self._segments = {
            (segment.key, segment.value): segment
            for segment in reference.segments_by(spec.alarm.segment_keys)
        }
        self._level = spec.alarm.overall_level
        self._whole = _ReferenceScorer(
            reference.counts,
            np.zeros(reference.components),
            np.diag(reference.projection.variances),
            overdispersion,
            spec.alarm,
            self._level,
        )
        self._overdispersion = overdispersion
        self._known = segments
        self._parts: dict[Segment, _ReferenceScorer] = {}
        self.slow_drift_limit = threshold(_SLOW_CARE / spec.alarm.level)
        """What the statistic of slow drift must reach: more rarely than a page may be false."""

    def score(self, tally: Tally) -> Score | None:
        """Compare a window's events with the baseline's; None where they are too few for that."""
        if tally.count < self._min_events:
            return None
        shift = self._projection.shift(tally.sums, tally.count)
        return self._whole.score(tally, shift, calibrated=self._calibrated)

    def is_significant_and_large(self, score: Score) -> bool:
        """Tell whether a window is significant and large."""
        return score.p_value < self._level and self._is_large(score)

    def has_power(self, count: int) -> bool:
        """Tell whether drift worth finding would be found in a window of so many events."""
        return count >= self._whole.least_count

    def judge_segments(
        self, tallies: Mapping[Segment, Tally], recent: Mapping[Segment, tuple[bool, ...]] | None
    ) -> tuple[tuple[SegmentResult, ...], dict[Segment, bool]]:
        """Compare each segment's events with those of the baseline's segment.

        Args:
            tallies: The segments' tallies; one without events may be missing.
            recent: Of the windows before, whether each segment was found; None: the window is incomplete.

        Returns:
            The results, and whether each segment that was scored is significant and large.
        """
        counts = {segment: tallies[segment].count if segment in tallies else 0 for segment in self._segments}
        scores = {
            segment: self._compare(segment, tallies[segment])
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
        found = {
            segment: adjusted[segment] <= self._level and self._is_large(score)
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
                    is_significant_and_large=found[segment],
                    has_power=count >= self._parts[segment].least_count,
                )
            results.append(
                SegmentResult(
                    segment=segment,
                    count=count,
                    js_divergence=None if score is None else score.js_divergence,
                    js_excess=None if score is None else score.js_excess,
                    mean_shift_excess=None if score is None else score.mean_shift.excess,
                    p_value=None if score is None else score.p_value,
                    adjusted_p_value=adjusted.get(segment),
                    calibrated=None if score is None else score.calibrated,
                    verdict=verdict,
                )
            )
        return tuple(results), found

    def _is_large(self, score: Score) -> bool:
        return (
            score.js_excess >= self._alarm.js_excess_floor
            or score.mean_shift.excess >= self._alarm.mean_shift_excess_floor
        )

    def _compare(self, segment: Segment, tally: Tally) -> Score:
        known = self._known.get(segment)
        if segment not in self._parts:
            reference = self._segments[segment]
            # One segment alone must be found at the level's part that is left to the least of them.
            self._parts[segment] = _ReferenceScorer(
                reference.counts,
                reference.mean,
                reference.covariance,
                self._overdispersion if known is None else known.overdispersion,
                self._alarm,
                self._level / len(self._segments),
            )
        shift = self._projection.shift(tally.sums, tally.count)
        # A segment's events may come in longer bursts than the whole stream's.
        is_calibrated = known is not None and known.calibrated
        return self._parts[segment].score(tally, shift, calibrated=is_calibrated)


class _ReferenceScorer:
    """Compares events with those of a baseline, or of one segment of it."""

    def __init__(
        self,
        counts: NDArray[np.int64],
        mean: NDArray[np.float64],
        covariance: NDArray[np.float64],
        overdispersion: Overdispersion | None,
        alarm: Alarm,
        level: float,
    ) -> None:
        self._counts = counts
        self._mean = mean
        inflation = 1.0 if overdispersion is None else overdispersion.inflation(len(counts))
        self._count_null = DivergenceNull(counts, inflation)
        # The null's inflation has a margin for its tail, and the expectation is proportional to it.
        self._floor_share = 1.0 if overdispersion is None else overdispersion.counts / inflation
        self._mean_null = MeanShiftNull(covariance, int(counts.sum()), overdispersion)
        sensitivity = Sensitivity.of(len(counts), len(mean), int(counts.sum()), overdispersion)
        least = sensitivity.least_count(level, alarm.js_divergence, alarm.mean_shift)
        self.least_count = math.inf if least is None else least
        """The fewest events among which drift worth finding would be found at the level."""

    def score(self, tally: Tally, shift: NDArray[np.float64], *, calibrated: bool) -> Score:
        contributions = js_contributions(tally.counts, self._counts)
        # fsum: the same sum whatever the order of the clusters. Rounding must not carry it above 1.
        divergence = min(math.fsum(contributions), 1.0)
        null = self._count_null.at(tally.count)
        noise_floor = null.expected * self._floor_share
        js_p_value = null.p_value(divergence)
        mean_shift = self._mean_null.test(shift - self._mean, tally.count)
        return Score(
            js_divergence=divergence,
            js_distance=math.sqrt(divergence),
            contributions=contributions,
            noise_floor=noise_floor,
            js_excess=divergence - noise_floor,
            js_p_value=js_p_value,
            mean_shift=mean_shift,
            p_value=combine([js_p_value, mean_shift.p_value, mean_shift.centroid_p_value]),
            novelty=tally.outliers / tally.count,
            calibrated=calibrated,
        )
