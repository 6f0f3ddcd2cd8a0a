"""The window scorer: the tests of tallies under one calibration, and their combination."""

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import fsum
from typing import Any

import numpy as np

from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.calibration import Calibration, few_events
from driftgauge.core.judging.evidence import attribute_evidence
from driftgauge.core.judging.verdict import Signs, SlowDrift, Verdict, decide
from driftgauge.core.reference import Reference, Segment, SegmentReference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.budget import benjamini_hochberg
from driftgauge.core.statistics.combination import combine
from driftgauge.core.statistics.cusum import threshold
from driftgauge.core.statistics.divergence import DIVERGENCE, Divergence
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import fewest_events
from driftgauge.core.statistics.statistic import Findings, Statistic

__all__ = ["Score", "SegmentResult", "WindowScorer", "least_drift"]

# The statistics are correlated, so the combined p-values are not quite uniform: with correlations of 1/2
# among all, the mean run length is 0.42 times that of uniform p-values (simulated).
_SLOW_DRIFT_MARGIN = 2.5

# Evidence is overwhelming if its p-value is this much below the level, and the drift this many times as large
# as it must be: as the smallest drift worth finding.
_OVERWHELMING_RARITY = 100
_OVERWHELMING_SIZE = 2

# To so many parts of a doubling the events of a window worth few are rounded.
_ROUNDING = 4

# The p-value of a window that shows that the baseline fits: to count for no drift is not enough, since one of
# a baseline that does not fit may narrowly do so.
_FITTING = 0.5

# Clean windows are tested once, not in every window.
_MISFIT_LEVEL = 0.01


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Score:
    """A comparison of a window's events with the baseline.

    Attributes:
        findings: The findings of the statistics.
        p_value: The combined p-value of all tests.
        calibrated: The p-values use an overdispersion that was measured on windows of this length; otherwise
            they may be too small.
        evidence: The share of each kind of drift in the evidence, 0 to 1; the shares sum to 1. Of a
            significant window that was judged it is that of the run; see `VerdictMemory.evidence`.
        kind: The kind with the largest share; None if the window is not significant.
        detectable: The least drift from the baseline by each statistic's name that is found with the target
            power by a window of this count; infinity if none is found.
        events_needed: The events of a window that would find the smallest drift of every kind with that
            power; None if no number of them does, since the baseline or the calibration is the limit.
    """

    findings: Findings
    p_value: float
    calibrated: bool
    evidence: Mapping[str, float]
    kind: str | None
    detectable: Mapping[str, float]
    events_needed: int | None = None

    def in_run(self, evidence: Mapping[str, float]) -> "Score":
        """Return the score of a window of a run with this evidence by kind; the same if not significant."""
        if self.kind is None:
            return self
        total = fsum(evidence.values())
        shares = {kind: each / total for kind, each in evidence.items()}
        return replace(self, evidence=shares, kind=max(shares, key=shares.__getitem__))

    @property
    def divergence(self) -> Divergence:
        """The finding of the divergence, which every window has."""
        return self.findings.of(DIVERGENCE)

    @property
    def movers(self) -> tuple[int, ...]:
        """The clusters that contribute most to the divergence, the largest first."""
        return self.divergence.movers


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """The result of one segment of a window; the scores are None if the segment was not scored.

    Attributes:
        segment: The segment's key and value.
        count: The number of its events.
        js_divergence: As in `Divergence`.
        excess: The excess of each finding, by the statistic's name.
        p_value: As in `Score`.
        adjusted_p_value: The p-value adjusted for the number of segments (Benjamini-Hochberg).
        calibrated: As in `Score`; False if the overdispersion is that of the whole stream.
        verdict: As for a window.
    """

    segment: Segment
    count: int
    js_divergence: float | None
    excess: Mapping[str, float] | None
    p_value: float | None
    adjusted_p_value: float | None
    calibrated: bool | None
    verdict: Verdict


class WindowScorer:
    """Scores tallies of one stream under one calibration."""

    def __init__(self, spec: StreamSpec, baseline: Reference, calibration: Calibration, size_ms: int) -> None:
        """Prepare the null distributions.

        Args:
            spec: The stream's configuration.
            baseline: The baseline.
            calibration: The calibration.
            size_ms: The length of the windows, ms.
        """
        self._alarm = spec.alarm
        self._min_events = spec.min_events
        self.calibration = calibration
        self.is_calibrated = not calibration.is_provisional and calibration.size_ms == size_ms
        """Whether windows of this length measured the calibration."""
        self.reference = calibration.recentre(baseline)
        """What windows are compared with."""
        self.summary = calibration.summarize()
        """The calibration in a few numbers."""
        self._segment_references = {
            (segment.key, segment.value): segment
            for segment in self.reference.segments_by(spec.alarm.segment_keys)
        }
        self._level = spec.alarm.overall_level
        self._scorers: dict[tuple[Segment | None, int | None], _ReferenceScorer] = {}
        self.slow_drift_limit = threshold(_SLOW_DRIFT_MARGIN / spec.alarm.level)
        """The limit at which the statistic of slow drift warns: reached more rarely than a false page."""

    def score(self, tally: Tally) -> Score | None:
        """Return a window's score; None if the window has too few events."""
        if tally.count < self._min_events:
            return None
        scorer = self._scorer(None, tally.count)
        findings, p_value = scorer.test(tally)
        evidence = attribute_evidence(tally, findings, self.reference, scorer.overdispersion)
        return Score(
            findings=findings,
            p_value=p_value,
            calibrated=self.is_calibrated,
            evidence=evidence,
            kind=max(evidence, key=evidence.__getitem__) if p_value < self._level else None,
            detectable=self._detectable(tally.count),
            events_needed=self._events_needed,
        )

    def _detectable(self, count: int) -> dict[str, float]:
        hidden = self.calibration.hidden
        found = self._scorer(None, count).detectable(count, self._level)
        return {name: max(size, hidden.get(name, 0.0)) for name, size in found.items()}

    @cached_property
    def _events_needed(self) -> int | None:
        smallest = self._alarm.smallest
        return fewest_events(
            lambda count: all(size <= smallest[name] for name, size in self._detectable(count).items())
        )

    def read_signs(self, score: Score, tally: Tally) -> Signs:
        """Return what a window's score allows its verdict to say.

        While nobody knows how windows vary, the score may warn, but only gross drift counts, which is
        significant even in a window that is worth few events.
        """
        findings, p_value = score.findings, score.p_value
        warns = self._is_significant_and_large(findings, p_value)
        counts = warns
        if self.calibration.is_provisional:
            findings, p_value = self._scorer(None, tally.count, of_few=True).test(tally)
            counts = self._is_significant_and_large(findings, p_value)
        decides, fits = self._is_overwhelming(findings, p_value), p_value >= _FITTING
        return Signs(warns, counts, decides, fits, score.p_value)

    def is_gross(self, tally: Tally) -> bool:
        """Return whether a window's drift is significant and large even if it is worth few events."""
        return self._is_significant_and_large(*self._scorer(None, tally.count, of_few=True).test(tally))

    def is_lasting(self, slow_drift: SlowDrift, start_ms: int) -> bool:
        """Return whether the windows of slow drift together are overwhelming.

        Without drift, the statistic rises while windows vary more than was measured. They then differ from
        the reference in many ways, and together hardly at all.

        Args:
            slow_drift: The slow drift after the window.
            start_ms: The start of that window.
        """
        # One window has a test of its own. A few hours at the top of a daily cycle may differ much together
        # while the statistic is low.
        if self.calibration.lasting is None or slow_drift.since_ms in {None, start_ms}:
            return False
        if slow_drift.statistic < self.slow_drift_limit / 2:
            return False
        values = np.sum([values for _, values in slow_drift.blocks], axis=0)
        tally = Tally(values, registry.fields_of(self.reference))
        scorer = _ReferenceScorer(self.reference, None, self.calibration.lasting, tally.count)
        p_value, size = self._test_together(scorer, tally, self._level)
        return p_value < self._level / _OVERWHELMING_RARITY and size >= _OVERWHELMING_SIZE

    def judge_segments(
        self, tallies: Mapping[Segment, Tally], recent: Mapping[Segment, tuple[bool, ...]] | None
    ) -> tuple[tuple[SegmentResult, ...], dict[Segment, bool]]:
        """Score and judge each segment against the same segment of the baseline.

        Args:
            tallies: The segments' tallies; one without events may be missing.
            recent: Whether each segment counted for drift in the windows before; None: the window is
                incomplete.

        Returns:
            The results, and whether each scored segment counts for drift.
        """
        events = {
            segment: tallies[segment].count if segment in tallies else 0
            for segment in self._segment_references
        }
        scores = {
            segment: self._scorer(segment, count, of_few=self.calibration.is_provisional).test(
                tallies[segment]
            )
            for segment, count in events.items()
            if count >= self._min_events
        }
        p_values = benjamini_hochberg([p_value for _, p_value in scores.values()]).tolist()
        adjusted = dict(zip(scores, p_values, strict=True))
        counts = {
            segment: adjusted[segment] <= self._level and self._size(findings, self._level) >= 1
            for segment, (findings, _) in scores.items()
        }
        results = [
            self._segment_result(segment, count, scores.get(segment), adjusted.get(segment), counts, recent)
            for segment, count in events.items()
        ]
        return tuple(results), counts

    def _segment_result(
        self,
        segment: Segment,
        count: int,
        score: tuple[Findings, float] | None,
        adjusted: float | None,
        counts: Mapping[Segment, bool],
        recent: Mapping[Segment, tuple[bool, ...]] | None,
    ) -> SegmentResult:
        """Return the result of a segment of n events."""
        if recent is None:
            verdict = Verdict.INCOMPLETE
        elif score is None:
            verdict = Verdict.INSUFFICIENT
        else:
            verdict = decide(
                recent.get(segment, ()),
                counts=counts[segment],
                warns=False,
                is_misfit=segment in self.calibration.segments
                and self.calibration.segments[segment].is_misfit,
            )
        findings, p_value = score or (None, None)
        return SegmentResult(
            segment=segment,
            count=count,
            js_divergence=None if findings is None else findings.of(DIVERGENCE).js_divergence,
            excess=None if findings is None else {name: each.excess for name, each in findings.items()},
            p_value=p_value,
            adjusted_p_value=adjusted,
            calibrated=None if findings is None else self._is_segment_calibrated(segment),
            verdict=verdict,
        )

    def misfits(self, tallies: Mapping[Segment | None, Tally]) -> frozenset[Segment | None]:
        """Return the segments of clean windows that differ from the reference, None for all events.

        The tally of each segment's windows together is tested as one large window.
        """
        level = _MISFIT_LEVEL / len(tallies)
        found = {segment: self.misfit(tally, level, segment) for segment, tally in tallies.items()}
        return frozenset(segment for segment, p_value in found.items() if p_value is not None)

    def misfit(self, tally: Tally, level: float, segment: Segment | None = None) -> float | None:
        """Return the p-value of windows together that differ from the reference; None if they do not."""
        p_value, size = self._test_together(self._scorer(segment, tally.count), tally, level)
        return p_value if p_value < level and size >= 1 else None

    def least_misfit(self, tallies: Mapping[Segment | None, Tally]) -> dict[str, float]:
        """Return the least drift of all events that `misfits` finds, as `Score.detectable`."""
        count = tallies[None].count
        found = self._scorer(None, count).detectable(count, _MISFIT_LEVEL / len(tallies))
        # What is found is no misfit below the floor.
        names = [each.name for each in _tested_together(found)]
        return {name: max(found[name], self._alarm.floor(name)) for name in names}

    def _is_significant_and_large(self, findings: Findings, p_value: float) -> bool:
        return p_value < self._level and self._size(findings, self._level) >= 1

    def _is_overwhelming(self, findings: Findings, p_value: float) -> bool:
        """Return whether a window's evidence is beyond the alarm budget by itself.

        Chance makes windows as significant as that far more rarely than the budget allows pages: a hundred
        times, and ten times if bursts inflate few directions, for which the tail of a measured overdispersion
        is exact only at 1e-4. The p-value is that of the divergence and the mean alone: rare bursts of
        outliers may be missing in the clean windows.
        """
        deciding = [each for each in registry.STATISTICS if each.decides_alone]
        return (
            (self.is_calibrated or self.calibration.is_provisional)
            and max(_combine(deciding, findings), p_value) < self._level / _OVERWHELMING_RARITY
            and self._size(findings, self._level, deciding) >= _OVERWHELMING_SIZE
        )

    def _test_together(self, scorer: "_ReferenceScorer", tally: Tally, level: float) -> tuple[float, float]:
        """Return the combined p-value and the size at a level of several windows, as one large window."""
        findings, _ = scorer.test(tally)
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

    def _is_segment_calibrated(self, segment: Segment) -> bool:
        # The overdispersion of the whole stream may be too low for a segment with longer bursts.
        own = self.calibration.segments.get(segment)
        return self.is_calibrated and own is not None and own.is_own

    def _scorer(self, segment: Segment | None, count: int, *, of_few: bool = False) -> "_ReferenceScorer":
        """Return the scorer of windows of n events, of all events or of a segment's."""
        # Rounded to a quarter of a doubling, so that windows of about as many events share one.
        rounded = round(2 ** (round(_ROUNDING * math.log2(count)) / _ROUNDING)) if of_few else None
        scorer, of_count = self._scorers.get((segment, rounded)), rounded or count
        if scorer is None or scorer.count not in {None, of_count}:
            known = self.calibration.whole if segment is None else self.calibration.segments.get(segment)
            overdispersion = (known or self.calibration.whole).overdispersion
            scorer = self._scorers[segment, rounded] = _ReferenceScorer(
                self.reference,
                None if segment is None else self._segment_references[segment],
                few_events(of_count, self.reference) if of_few else overdispersion,
                of_count,
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
    unfitted = set(registry.STATISTICS) - set(registry.fitted(reference.arrays))
    missing = fsum(weight for each in unfitted for weight in each.weights)
    return scorer.detectable(count, level * scorer.weight / (scorer.weight + missing))


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
        compared = segment or reference
        at = overdispersion.at(count, int(compared.counts.sum()), compared.mean_count)
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
