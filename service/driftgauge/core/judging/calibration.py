"""The calibration: how windows of one size vary without drift, and what they are compared with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.verdict import FEW_EVENTS
from driftgauge.core.reference import Reference, Segment, SegmentReference
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.mean_shift import CLIPPED_COORDINATE_SUMS, MEAN_SHIFT
from driftgauge.core.statistics.overdispersion import Overdispersion

__all__ = [
    "Calibration",
    "CalibrationSummary",
    "Measuring",
    "SegmentCalibration",
    "Source",
    "few_events",
]

# So many windows make an estimate as good as known.
_MANY_WINDOWS = 1e6


class Source(StrEnum):
    """What measured a calibration.

    Attributes:
        NONE: Nothing has: the windows are judged provisionally.
        BASELINE: The baseline's own windows.
        WARM_UP: The windows of the declared warm-up.
        FIRST_WINDOWS: The first windows of the stream.
        BORROWED: The first windows against the baseline before, or of a stream that shares the entry.
    """

    NONE = "none"
    BASELINE = "baseline"
    WARM_UP = "warm_up"
    FIRST_WINDOWS = "first_windows"
    BORROWED = "borrowed"


@dataclass(frozen=True, slots=True, eq=False)
class SegmentCalibration:
    """The calibration of the events of a segment, or of all events.

    Attributes:
        overdispersion: The overdispersion of the windows, and of what they are compared with.
        is_own: Of a segment: its own windows measured it, not those of all events.
        values: The sum of the tallies of clean windows, int64, which the baseline is re-centred by; None: the
            windows are compared with the baseline as it is.
        share: The weight of these windows in their mean with the baseline, 0 to 1.
        is_misfit: These windows differ from the baseline.
    """

    overdispersion: Overdispersion
    is_own: bool = True
    values: NDArray[np.int64] | None = None
    share: float = 0.0
    is_misfit: bool = False


@dataclass(frozen=True, slots=True)
class CalibrationSummary:
    """A calibration in a few numbers, for people.

    Attributes:
        source: What measured it.
        size_ms: As in `Calibration`.
        from_ms: As in `Calibration`.
        to_ms: As in `Calibration`.
        windows: How many independent windows it is worth; None if nobody measured it.
        overdispersion: How many times as much as those of independent events the windows vary, by each
            statistic's name: of several numbers, the one that varies most.
        is_misfit: The clean windows differ from the baseline.
    """

    source: Source
    size_ms: int
    from_ms: int
    to_ms: int
    windows: float | None
    overdispersion: Mapping[str, float]
    is_misfit: bool


@dataclass(frozen=True, slots=True)
class Measuring:
    """The measurement that a provisional verdict waits for.

    Attributes:
        from_ms: The start of the first window that is measured, event time, ms.
        until_ms: When it ends at the earliest, event time, ms.
        changed_ms: When the events last changed while they were measured, so that it began again, event time,
            ms; None: they have not.
    """

    from_ms: int
    until_ms: int
    changed_ms: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The calibration of the windows of one size against one baseline; judging reads nothing else.

    Attributes:
        source: What measured it.
        size_ms: The length of the windows that measured it, ms; it holds for longer ones as a lower bound.
        from_ms: The start of the first of these windows, event time, ms.
        to_ms: The end of the last of them, before which no window is judged by it.
        length: The number of integers of a tally when it was measured: a new statistic is not in it.
        whole: That of all events.
        segments: That of each segment that has one; others vary as all events do.
        hidden: The drift by each statistic's name that these windows may hide: no less is detectable.
        lasting: The overdispersion of the windows of slow drift together, which vary as days do; None: there
            are too few days, and a weekly cycle would be drift.
    """

    source: Source
    size_ms: int
    from_ms: int
    to_ms: int
    length: int
    whole: SegmentCalibration
    segments: Mapping[Segment, SegmentCalibration] = field(default_factory=dict)
    hidden: Mapping[str, float] = field(default_factory=dict)
    lasting: Overdispersion | None = None

    @classmethod
    def of_baseline(cls, reference: Reference, size_ms: int) -> "Calibration":
        """Return what a baseline knows of windows of a size, ms, by its own, which may have another."""
        is_known = reference.overdispersion is not None and reference.overdispersion_ms is not None
        independent = Overdispersion.independent(reference.components)
        return cls(
            Source.BASELINE if is_known else Source.NONE,
            reference.overdispersion_ms or size_ms,
            0,
            0,
            registry.tally_length(reference),
            SegmentCalibration(reference.overdispersion or independent),
            {
                (each.key, each.value): SegmentCalibration(each.overdispersion)
                for each in reference.segments
                if each.overdispersion is not None
            },
        )

    def for_another_baseline(self, reference: Reference) -> "Calibration":
        """Return the variation as a new baseline inherits it.

        Its components point elsewhere, so all vary as much as the one that varied most.
        """
        before = self.whole.overdispersion
        overdispersion = Overdispersion(
            before.windows,
            before.counts,
            before.largest_mean * np.eye(reference.components),
            {name: np.full(len(each), each.max()) for name, each in before.others.items()},
            kurtosis=before.kurtosis,
        )
        length = registry.tally_length(reference)
        return Calibration(Source.BORROWED, self.size_ms, 0, 0, length, SegmentCalibration(overdispersion))

    def summarize(self) -> CalibrationSummary:
        """Return it in a few numbers."""
        of_all = self.whole.overdispersion
        known = {
            DIVERGENCE.name: of_all.counts,
            MEAN_SHIFT.name: of_all.largest_mean,
            **{name: float(each.max()) for name, each in of_all.others.items()},
        }
        overdispersion = {each.name: known[each.name] for each in registry.STATISTICS if each.name in known}
        windows = of_all.windows if math.isfinite(of_all.windows) else None
        return CalibrationSummary(
            self.source,
            self.size_ms,
            self.from_ms,
            self.to_ms,
            windows,
            overdispersion,
            self.whole.is_misfit,
        )

    def began_with(self, warm_up: tuple[int, int] | None) -> bool:
        """Return whether a warm-up measured it that began as this one."""
        return self.source is Source.WARM_UP and warm_up is not None and self.from_ms == warm_up[0]

    @property
    def is_provisional(self) -> bool:
        """Whether nobody knows how the windows vary, so that only gross drift is drift."""
        return self.source is Source.NONE

    def recentre(self, baseline: Reference) -> Reference:
        """Return what windows are compared with: the baseline, re-centred if clean windows say where."""
        segments = tuple(
            replace(segment, **_changes(found, baseline, segment))
            if (found := self.segments.get((segment.key, segment.value))) is not None
            else segment
            for segment in baseline.segments
        )
        changes = _changes(self.whole, baseline)
        if not changes:
            return replace(baseline, segments=segments)
        return replace(baseline, mean_count=int(changes["counts"].sum()), segments=segments, **changes)


def few_events(count: int, reference: Reference) -> Overdispersion:
    """Return the overdispersion of windows of n events that are worth few independent ones."""
    factor = max(count / FEW_EVENTS, 1.0)
    return Overdispersion(
        _MANY_WINDOWS,
        factor,
        factor * np.eye(reference.components),
        {
            each.name: np.full(each.variances, factor)
            for each in registry.counted(reference.arrays)
            if each.variances
        },
        baseline=Overdispersion.independent(reference.components),
    )


def _changes(
    calibration: SegmentCalibration, baseline: Reference, segment: SegmentReference | None = None
) -> dict[str, Any]:
    """Return the histogram, of as many events as clean windows and baseline, and the other expectations."""
    if calibration.values is None:
        return {}
    own, share = segment or baseline, calibration.share
    tally = Tally(calibration.values, registry.fields_of(baseline, segment))
    shares = share * tally.counts / tally.count + (1 - share) * own.counts / own.counts.sum()
    shift = baseline.projection.shift(tally[CLIPPED_COORDINATE_SUMS], tally.count)
    arrays = dict(own.arrays)
    for statistic in registry.counted(baseline.arrays):
        if segment is None or statistic.in_segments:
            arrays |= statistic.recentre(baseline, segment, tally, share)
    return {
        "counts": np.rint((tally.count + own.mean_count) * shares).astype(np.int64),
        "mean": share * shift + (1 - share) * own.mean,
        "arrays": arrays,
    }
