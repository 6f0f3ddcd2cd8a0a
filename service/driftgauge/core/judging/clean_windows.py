"""Clean windows: the sums over windows without drift that show how they vary, and where they lie."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.verdict import SpanTally
from driftgauge.core.reference import Reference, Segment, SegmentReference
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.duplicates import HASH_COUNTS, repeat_rate
from driftgauge.core.statistics.mean_shift import CLIPPED_COORDINATE_SUMS
from driftgauge.core.statistics.overdispersion import Overdispersion, OverdispersionEstimator
from driftgauge.core.statistics.statistic import Null
from driftgauge.core.window import Window

__all__ = ["DAY_MS", "CleanWindows", "Offset", "WindowSums"]

DAY_MS = 86_400_000
"""A day in UTC, ms."""


@dataclass(frozen=True, slots=True, eq=False)
class WindowSums:
    """The sums over windows of all events or of a segment.

    Attributes:
        values: The sum of their tallies, int64.
        windows: The estimator of their overdispersion around their own mean.
    """

    values: NDArray[np.int64]
    windows: OverdispersionEstimator

    @classmethod
    def empty(cls, reference: Reference, segment: SegmentReference | None = None) -> "WindowSums":
        """Return the sums over no windows, to be compared with a baseline or a segment of it."""
        fields = registry.fields_of(reference, segment)
        length = sum(each.length for each in fields)
        estimator = OverdispersionEstimator.empty(fields[0].length, reference.components)
        return cls(np.zeros(length, np.int64), estimator)

    def add(
        self, tally: Tally, reference: Reference, segment: SegmentReference | None = None
    ) -> "WindowSums":
        """Return the sums with one more window."""
        standardized = _standardized(tally, reference, segment)
        return WindowSums(self.values + tally.values, self.windows.add(tally.counts, *standardized))

    def overdispersion(self, reference: Reference, segment: SegmentReference | None = None) -> Overdispersion:
        """Return the overdispersion of two windows or more around their own mean."""
        tally = Tally(self.values, registry.fields_of(reference, segment))
        standardized = _standardized(tally, reference, segment, are_together=True)
        return self.windows.overdispersion(tally.counts, *standardized)

    def offset(
        self, baseline: Reference, segment: SegmentReference | None = None, *, least: int
    ) -> "Offset | None":
        """Return the offset from a baseline, or a segment of it; None: there are fewer windows than `least`.

        Windows that hold whole groups vary as groups do, or as these windows show if that is more, with the
        tails of few groups.
        """
        if self.windows.windows < least:
            return None
        tally, reference = Tally(self.values, registry.fields_of(baseline, segment)), segment or baseline
        windows = self.overdispersion(baseline, segment)
        groups, expected = baseline.groups, baseline.overdispersion
        known = groups or reference.overdispersion or windows
        if groups is not None and expected is not None:
            known = expected.baseline or groups
            if expected.baseline is None:
                windows = max(groups, windows, key=lambda each: each.of_mean)
                windows = replace(windows, kurtosis=expected.kurtosis)
        own, of_baseline = (
            each.of_mean / count for each, count in ((windows, tally.count), (known, reference.mean_count))
        )
        # If groups are known later windows may hold others than these do.
        share = of_baseline / (of_baseline + own) if groups is None else 0.0
        return Offset(tally, reference, windows, groups, known, share)


@dataclass(frozen=True, slots=True, eq=False)
class Offset:
    """The offset of clean windows from a baseline or segment.

    A baseline of other documents, users or days differs from every later window by the same offset. However
    many the windows are, they may hold few groups, such as articles that come again. Counts do not show how
    many: as many are assumed as the baseline has, or fewer if few items come again.

    Attributes:
        tally: The tally of all the windows.
        reference: The baseline or segment.
        windows: The overdispersion of windows around their own mean.
        groups: That of the baseline by its groups; None: there are none.
        baseline: That of the baseline, and of what later windows have in common.
        share: The weight of the windows in their mean with the baseline, 0 to 1, by the inverse of their
            variances; 0 if groups are known.
    """

    tally: Tally
    reference: Reference | SegmentReference
    windows: Overdispersion
    groups: Overdispersion | None
    baseline: Overdispersion
    share: float

    @property
    def overdispersion(self) -> Overdispersion:
        """The overdispersion of the windows as one window, and of the baseline that it is compared with."""
        return replace(self._of_all, baseline=self.groups or self.baseline)

    @property
    def recentred(self) -> Overdispersion:
        """The overdispersion of later windows, and of the reference with the share of these."""
        mean_count = self.reference.mean_count
        total = self.tally.count + mean_count
        own, other = total * self.share**2 / self.tally.count, total * (1 - self.share) ** 2
        reference = self._of_all.plus(
            self.baseline, (own, other / int(self.reference.counts.sum())), (own, other / mean_count)
        )
        return replace(self.windows, baseline=reference)

    @property
    def _of_all(self) -> Overdispersion:
        """The overdispersion of the mean of all windows."""
        if self.groups is None:
            return self.windows
        # The rate at which two events are the same item is one over the number of items that come again. The
        # mean varies as that of so many events does, on top of how windows of them vary around it.
        hashes = self.reference.arrays.get(HASH_COUNTS)
        repeated = 0.0 if hashes is None else repeat_rate(self.tally[HASH_COUNTS]) - repeat_rate(hashes)
        of_items = self.tally.count * max(repeated, 0.0)
        of_groups = max(of_items, self.tally.count / self.reference.mean_count)
        independent = Overdispersion.independent(len(self.groups.means))
        weights = of_groups, of_items - of_groups
        excess = self.groups.plus(independent, weights, weights)
        return self.windows.plus(excess, (1, 1), (1, 1))


@dataclass(frozen=True, slots=True, eq=False)
class CleanWindows:
    """The sums over clean windows of one size.

    Attributes:
        all: Those over the windows, of all events.
        days: The tally of each day with windows, in UTC, the first day first.
        segments: Those over the windows of each segment that had enough events to be scored.
    """

    all: WindowSums
    days: tuple[SpanTally, ...] = ()
    segments: Mapping[Segment, WindowSums] = field(default_factory=dict)

    @classmethod
    def empty(cls, reference: Reference) -> "CleanWindows":
        """Return the sums over no windows against a baseline."""
        return cls(WindowSums.empty(reference))

    def add(
        self, window: Window, tally: Tally, segments: Mapping[Segment, Tally], reference: Reference
    ) -> "CleanWindows":
        """Return the sums with one more window, and with the segments of it that have enough events."""
        start_ms, days, values = Window.around(window.start_ms, DAY_MS).start_ms, self.days, tally.values
        if days and days[-1][0] == start_ms:
            days, values = days[:-1], days[-1][1] + values
        references = {(each.key, each.value): each for each in reference.segments}
        return CleanWindows(
            self.all.add(tally, reference),
            (*days, (start_ms, values)),
            {
                **self.segments,
                **{
                    segment: self.of_segment(reference, references[segment]).add(
                        own, reference, references[segment]
                    )
                    for segment, own in segments.items()
                },
            },
        )

    def of_segment(self, reference: Reference, segment: SegmentReference) -> WindowSums:
        """Return the sums over the windows of a segment."""
        return self.segments.get((segment.key, segment.value)) or WindowSums.empty(reference, segment)

    def of_days(self, reference: Reference, days: slice = slice(None)) -> WindowSums:
        """Return the sums over some of its days, each as one window."""
        fields, sums = registry.fields_of(reference), WindowSums.empty(reference)
        for _, values in self.days[days]:
            sums = sums.add(Tally(values, fields), reference)
        return sums


@lru_cache(maxsize=256)
def _independent_nulls(reference: Reference, segment: SegmentReference | None) -> dict[str, Null[Any]]:
    """Return the null distributions of windows of independent events, of the statistics that vary."""
    independent = Overdispersion.independent(reference.components)
    return {
        each.name: each.null(reference, segment, independent)
        for each in registry.counted(reference.arrays)
        if each.variances and (segment is None or each.in_segments)
    }


def _standardized(
    tally: Tally, reference: Reference, segment: SegmentReference | None, *, are_together: bool = False
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Return what the estimator takes of a window beside its counts, or of several windows together."""
    shift = reference.projection.shift(tally[CLIPPED_COORDINATE_SUMS], tally.count)
    within = {each.name for each in registry.STATISTICS if each.is_within_windows} if are_together else ()
    return (segment or reference).standardized(shift) * math.sqrt(tally.count), {
        name: null.standardized(tally)
        for name, null in _independent_nulls(reference, segment).items()
        if name not in within
    }
