"""The window scorer: the tests of tallies against one baseline, and their combination."""

from collections.abc import Container, Iterable, Mapping
from math import fsum
from types import MappingProxyType
from typing import Any

import numpy as np

from driftgauge.core.counting.tally import Tally, TallyField
from driftgauge.core.reference import Reference, Segment, SegmentReference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.budget import benjamini_hochberg
from driftgauge.core.statistics.combination import combine
from driftgauge.core.statistics.cusum import threshold
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.overdispersion import CalibratedOverdispersion, Overdispersion
from driftgauge.core.statistics.statistic import Findings, Statistic
from driftgauge.core.windows.evidence import attribute_evidence
from driftgauge.core.windows.result import Score, SegmentResult, SlowDrift, Verdict
from driftgauge.core.windows.verdict import decide

__all__ = ["WindowScorer", "least_drift"]

# The statistics are correlated, so the combined p-values are not quite uniform: with correlations of 1/2
# among all, the mean run length is 0.42 times that of uniform p-values (simulated).
_SLOW_DRIFT_MARGIN = 2.5

# A window is overwhelming where its p-value is this much below its level, and its drift this many times as
# large as it must be: as the smallest drift worth finding.
_OVERWHELMING_RARITY = 100
_OVERWHELMING_SIZE = 2

# A warm-up is tested once, not in every window.
_MISFIT_LEVEL = 0.01

_NO_SEGMENTS: Mapping[Segment, CalibratedOverdispersion] = MappingProxyType({})
_NO_SIZES: Mapping[str, float] = MappingProxyType({})


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
        hidden: Mapping[str, float] = _NO_SIZES,
    ) -> None:
        """Prepare the null distributions.

        Args:
            spec: The stream's configuration.
            reference: The baseline.
            overdispersion: The overdispersion of the events; None where it is unknown: they are taken for
                independent.
            calibrated: The overdispersion was measured on windows of the size that is judged.
            segments: The overdispersion of segments; other segments use that of the whole stream.
            hidden: The drift by each statistic's name that may hide in the reference: no less is detectable.
        """
        self._alarm = spec.alarm
        self._min_events = spec.min_events
        self._calibrated = calibrated
        self._reference = reference
        self._segment_references = {
            (segment.key, segment.value): segment
            for segment in reference.segments_by(spec.alarm.segment_keys)
        }
        self._level = spec.alarm.overall_level
        self._overdispersion = overdispersion or Overdispersion.independent(reference.components)
        self._segment_overdispersions = segments
        self._hidden = hidden
        self._scorers: dict[Segment | None, _ReferenceScorer] = {}
        self.slow_drift_limit = threshold(_SLOW_DRIFT_MARGIN / spec.alarm.level)
        """The limit at which the statistic of slow drift warns: reached more rarely than a false page."""

    def score(self, tally: Tally) -> Score | None:
        """Return a window's score; None where the window has too few events."""
        if tally.count < self._min_events:
            return None
        scorer = self._scorer(None, tally.count)
        findings, p_value = scorer.test(tally)
        evidence = attribute_evidence(tally, findings, self._reference, scorer.overdispersion)
        return Score(
            findings=findings,
            p_value=p_value,
            calibrated=self._calibrated,
            evidence=evidence,
            kind=max(evidence, key=evidence.__getitem__) if p_value < self._level else None,
            detectable={
                name: max(size, self._hidden.get(name, 0.0))
                for name, size in scorer.detectable(tally.count, self._level).items()
            },
        )

    def is_significant_and_large(self, score: Score) -> bool:
        """Return whether a window is significant and large."""
        return score.p_value < self._level and self._size(score.findings, self._level) >= 1

    def is_overwhelming(self, score: Score) -> bool:
        """Return whether a window's evidence is beyond the alarm budget by itself.

        Chance makes windows as significant as that far more rarely than the budget allows pages: a hundred
        times, and ten times where bursts inflate few directions, for which the tail of a measured
        overdispersion is exact only at 1e-4. The p-value is that of the divergence and the mean alone: rare
        bursts of outliers may be missing in the clean windows.
        """
        deciding = [each for each in registry.STATISTICS if each.decides_alone]
        p_value = max(_combine(deciding, score.findings), score.p_value)
        return (
            score.calibrated
            and p_value < self._level / _OVERWHELMING_RARITY
            and self._size(score.findings, self._level, deciding) >= _OVERWHELMING_SIZE
        )

    def is_lasting(self, slow_drift: SlowDrift, start_ms: int, fields: tuple[TallyField, ...]) -> bool:
        """Return whether the windows of slow drift together are overwhelming.

        Without drift, the statistic rises where windows vary more than was measured. They then differ from
        the reference in many ways, and together hardly at all.

        Args:
            slow_drift: The slow drift after the window.
            start_ms: The start of that window.
            fields: The fields of its blocks' tallies.
        """
        # One window has a test of its own. A few hours at the top of a daily cycle may differ much together
        # while the statistic is low.
        if slow_drift.since_ms in {None, start_ms} or slow_drift.statistic < self.slow_drift_limit / 2:
            return False
        tally = Tally(np.sum([values for _, values in slow_drift.blocks], axis=0), fields)
        p_value, size = self._test_together(None, tally, self._level)
        return p_value < self._level / _OVERWHELMING_RARITY and size >= _OVERWHELMING_SIZE

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
            segment: self._scorer(segment, count).test(tallies[segment])
            for segment, count in counts.items()
            if count >= self._min_events
        }
        adjusted = dict(
            zip(
                scores,
                benjamini_hochberg([p_value for _, p_value in scores.values()]).tolist(),
                strict=True,
            )
        )
        significant_and_large = {
            segment: adjusted[segment] <= self._level and self._size(findings, self._level) >= 1
            for segment, (findings, _) in scores.items()
        }
        results = []
        for segment, count in counts.items():
            findings, p_value = scores.get(segment, (None, None))
            if recent is None:
                verdict = Verdict.INCOMPLETE
            elif findings is None:
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
                    js_divergence=None if findings is None else findings.of(DIVERGENCE).js_divergence,
                    excess=None
                    if findings is None
                    else {name: each.excess for name, each in findings.items()},
                    p_value=p_value,
                    adjusted_p_value=adjusted.get(segment),
                    calibrated=None if findings is None else self._is_calibrated(segment),
                    verdict=verdict,
                )
            )
        return tuple(results), significant_and_large

    def misfits(self, tallies: Mapping[Segment | None, Tally]) -> frozenset[Segment | None]:
        """Return the segments of a warm-up that differ from the baseline, None for all events.

        The tally of each segment's windows together is tested as one large window.
        """
        differing, level = set(), _MISFIT_LEVEL / len(tallies)
        for segment, tally in tallies.items():
            p_value, size = self._test_together(segment, tally, level)
            if p_value < level and size >= 1:
                differing.add(segment)
        return frozenset(differing)

    def least_misfit(self, tallies: Mapping[Segment | None, Tally]) -> dict[str, float]:
        """Return the least drift of all events that `misfits` finds, as `Score.detectable`."""
        count = tallies[None].count
        found = self._scorer(None, count).detectable(count, _MISFIT_LEVEL / len(tallies))
        # What is found is no misfit below the floor.
        names = [each.name for each in _tested_together(found)]
        return {name: max(found[name], self._alarm.floor(name)) for name in names}

    def _test_together(self, segment: Segment | None, tally: Tally, level: float) -> tuple[float, float]:
        """Return the combined p-value and the size at a level of several windows, as one large window."""
        findings, _ = self._scorer(segment, tally.count).test(tally)
        tested = _tested_together(findings)
        return _combine(tested, findings), self._size(findings, level, tested)

    def _size(
        self, findings: Findings, level: float, statistics: Iterable[Statistic[Any]] | None = None
    ) -> float:
        """Return the largest excess over its floor that is significant at a level; large from 1 on."""
        names = findings if statistics is None else [each.name for each in statistics]
        sizes: Iterable[float] = (
            findings[name].significant_excess(level) / self._alarm.floor(name) for name in names
        )
        return max(sizes)

    def _is_calibrated(self, segment: Segment) -> bool:
        # The overdispersion of the whole stream may be too low for a segment with longer bursts.
        own = self._segment_overdispersions.get(segment)
        return own is not None and own.calibrated

    def _scorer(self, segment: Segment | None, count: int) -> "_ReferenceScorer":
        """Return the scorer of windows of n events, of all events or of a segment's."""
        scorer = self._scorers.get(segment)
        if scorer is None or scorer.count not in {None, count}:
            own = None if segment is None else self._segment_overdispersions.get(segment)
            scorer = self._scorers[segment] = _ReferenceScorer(
                self._reference,
                None if segment is None else self._segment_references[segment],
                self._overdispersion if own is None else own.overdispersion,
                count,
            )
        return scorer


def _tested_together(names: Container[str]) -> list[Statistic[Any]]:
    """Return the statistics among these names that test several windows as one."""
    return [each for each in registry.STATISTICS if each.name in names and not each.is_within_windows]


def _combine(statistics: Iterable[Statistic[Any]], findings: Findings) -> float:
    """Return the combined p-value of the tests of some statistics."""
    weighted = [pair for each in statistics for pair in each.weighted(findings.of(each))]
    return combine(*zip(*weighted, strict=True))


def least_drift(reference: Reference, count: int, level: float) -> dict[str, float]:
    """Return the least drift that windows of n events find at a level, as `Score.detectable`.

    The level is shared with the statistics that the reference has no arrays for: once it is fitted, or fitted
    again, it has them.
    """
    overdispersion = reference.overdispersion or Overdispersion.independent(reference.components)
    scorer = _ReferenceScorer(reference, None, overdispersion, count)
    return scorer.detectable(count, level * scorer.weight / registry.total_weight())


class _ReferenceScorer:
    """Scores tallies against a baseline or one of its segments.

    Attributes:
        count: The events of the windows that it scores; None: any number.
        overdispersion: The overdispersion of their difference from the baseline.
        weight: The sum of the weights of its tests.
    """

    def __init__(
        self,
        reference: Reference,
        segment: SegmentReference | None,
        overdispersion: Overdispersion,
        count: int,
    ) -> None:
        part = reference if segment is None else segment
        at = overdispersion.at(count, int(part.counts.sum()), part.mean_count)
        self.count, self.overdispersion = None if at is overdispersion else count, at
        self._nulls = {
            statistic: statistic.null(
                reference, segment, overdispersion if statistic.is_within_windows else at
            )
            for statistic in registry.counted(reference.arrays)
            if segment is None or statistic.in_segments
        }
        self.weight = fsum(weight for statistic in self._nulls for weight in statistic.weights)

    def test(self, tally: Tally) -> tuple[Findings, float]:
        """Return the findings of a tally, and their combined p-value."""
        findings = Findings({each.name: null.test(tally) for each, null in self._nulls.items()})
        return findings, _combine(self._nulls, findings)

    def detectable(self, count: int, level: float) -> dict[str, float]:
        """Return the least drift that a window finds, by the name of each statistic that is tested."""
        # A test that alone is significant must be so at its share of the level.
        sizes = {
            each.name: null.least(count, level / self.weight * each.weights[0])
            for each, null in self._nulls.items()
        }
        return {name: size for name, size in sizes.items() if size is not None}
