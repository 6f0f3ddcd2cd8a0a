"""The measurement of how windows vary without drift, and the calibration that it ends with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.calibration import (
    Calibration,
    Measuring,
    SegmentCalibration,
    Source,
)
from driftgauge.core.judging.clean_windows import DAY_MS, CleanWindows, Offset
from driftgauge.core.judging.scoring import WindowScorer
from driftgauge.core.reference import Reference, Segment, SegmentReference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.overdispersion import TWO_WEEKS, Overdispersion, fewest_windows
from driftgauge.core.window import Window

__all__ = ["Change", "Measurement", "calibrate_by_first_windows", "calibrate_by_warm_up"]

# Of all splits. Weeks differ, and a shift of the smallest drift is found at a hundredth of it as well.
_CHANGE_LEVEL: Final = 0.001
# Those of each side of a split: the two days of a weekend differ from all others.
_SIDE_DAYS: Final = 3
_PAIR: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """The clean windows of one size against one baseline so far.

    Attributes:
        warm_up: The declared interval of event time, ms, that they lie in; None: they are the stream's first.
        since_ms: The start of the first of them, event time, ms.
        clean: The windows.
        changed_ms: When the events last changed while they were measured, event time, ms; None: they have
            not.
        has_drifted: They fitted the baseline before they changed.
        has_fitted: They are not all gross drift from the baseline.
    """

    warm_up: tuple[int, int] | None
    since_ms: int
    clean: CleanWindows
    changed_ms: int | None = None
    has_drifted: bool = False
    has_fitted: bool = False

    @classmethod
    def begin(
        cls, window: Window, warm_up: tuple[int, int] | None, reference: Reference, *, has_fitted: bool
    ) -> "Measurement":
        """Return the measurement before its first window."""
        return cls(warm_up, window.start_ms, CleanWindows.empty(reference), has_fitted=has_fitted)

    def is_same(self, warm_up: tuple[int, int] | None, *, has_fitted: bool) -> bool:
        """Return whether it is that of a declared interval, whose end may move, or of windows that fit."""
        begins = [None if each is None else each[0] for each in (self.warm_up, warm_up)]
        return begins[0] == begins[1] and self.has_fitted is has_fitted

    def add(
        self, window: Window, tally: Tally, segments: Mapping[Segment, Tally], reference: Reference
    ) -> "Measurement":
        """Return the measurement with one more window, and with its segments that have enough events."""
        return replace(self, clean=self.clean.add(window, tally, segments, reference))

    def span(self, size_ms: int) -> tuple[int, int]:
        """Return when it begins, and when it ends at the earliest, event time, ms."""
        if self.warm_up is not None:
            return self.warm_up
        return self.since_ms, self.since_ms + TWO_WEEKS * max(DAY_MS, size_ms)

    def summarize(self, window: Window) -> Measuring:
        """Return it in a few numbers after a window."""
        from_ms, end_ms = self.span(window.size_ms)
        return Measuring(from_ms, max(end_ms, window.end_ms), self.changed_ms)

    def is_over(self, window: Window) -> bool:
        """Return whether a window comes after the last that is measured."""
        if self.warm_up is not None:
            return window.end_ms > self.warm_up[1]
        days = self.clean.days
        return len(days) >= TWO_WEEKS and window.start_ms >= days[-1][0] + DAY_MS


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the events among a stream's first windows.

    Attributes:
        at_ms: The start of the first day after it, event time, ms.
        has_fitted: The days before it fit the baseline.
    """

    at_ms: int
    has_fitted: bool


def calibrate_by_warm_up(
    spec: StreamSpec, baseline: Reference, size_ms: int, measurement: Measurement
) -> Calibration | None:
    """Return the calibration by a declared warm-up; None if it has too few windows.

    The offset of these windows from the baseline is tested as one large window.
    """
    clean = measurement.clean
    offsets = _offsets(spec, baseline, clean, fewest_windows(size_ms))
    if None not in offsets:
        return None
    misfits = _misfits(spec, baseline, size_ms, offsets)
    hidden: Mapping[str, float] = {}
    if offsets[None].share and None not in misfits:
        # Drift of the warm-up that this test does not find is in the weighted mean, and hides from windows.
        hidden = _scorer(spec, baseline, size_ms, _compared(offsets)).least_misfit(_tallies(offsets))
    # Two means that differ have no common mean.
    offsets |= {segment: replace(offsets[segment], share=1.0) for segment in misfits}
    calibrations = {segment: _recentred(offset, segment in misfits) for segment, offset in offsets.items()}
    return Calibration(
        Source.WARM_UP,
        size_ms,
        *measurement.span(size_ms),
        registry.tally_length(baseline),
        calibrations[None],
        _segments(spec, baseline, size_ms, calibrations),
        hidden,
        _lasting(clean, size_ms, baseline, offsets[None], calibrations[None]),
    )


def calibrate_by_first_windows(
    spec: StreamSpec, baseline: Reference, size_ms: int, measurement: Measurement
) -> Calibration | Change:
    """Return the calibration by the stream's first windows, or the change of its events among them.

    They show how windows vary, and never where these lie: drift that began among them must not become what
    is normal. If the windows differ from the baseline and not from each other, it does not fit, and later
    windows are compared with these.
    """
    clean = measurement.clean
    whole = clean.all.offset(baseline, least=_PAIR)
    assert whole is not None  # noqa: S101 - there are windows on many days
    if not (whole.groups or baseline.overdispersion):
        # A baseline of other events than a sample of many days shows as one that does not fit.
        whole = replace(whole, baseline=Overdispersion.independent(baseline.components))
    change = _find_change(spec, baseline, size_ms, clean, whole)
    if change is not None:
        return change
    together = replace(whole, windows=_vary_together(clean, baseline, whole.windows))
    # After drift windows differ from a baseline that fits.
    is_misfit = not measurement.has_drifted and bool(_misfits(spec, baseline, size_ms, {None: together}))
    whole = replace(whole, windows=_by_days(clean, whole.windows, baseline))
    of_all = SegmentCalibration(replace(whole.windows, baseline=whole.baseline))
    if is_misfit:
        whole = replace(whole, share=1.0)
        of_all = _recentred(whole, is_misfit=True)
    return Calibration(
        Source.FIRST_WINDOWS,
        size_ms,
        *measurement.span(size_ms),
        registry.tally_length(baseline),
        of_all,
        _segments(spec, baseline, size_ms, {}),
        lasting=_lasting(clean, size_ms, baseline, whole, of_all),
    )


def _find_change(
    spec: StreamSpec, baseline: Reference, size_ms: int, clean: CleanWindows, whole: Offset
) -> Change | None:
    """Return the change of the events, if the days before and after some day differ; else None.

    Each split into two sides of three days or more is tested, by how days vary within the sides.
    """
    splits = range(_SIDE_DAYS, len(clean.days) - _SIDE_DAYS + 1)
    found: list[tuple[float, int, Offset]] = []
    for split in splits:
        before, after = (clean.of_days(baseline, days) for days in (slice(split), slice(split, None)))
        share = (split - 1) / (len(clean.days) - _PAIR)
        weights = share, 1 - share
        within = before.overdispersion(baseline).plus(after.overdispersion(baseline), weights, weights)
        first = replace(whole, tally=Tally(before.values, registry.fields_of(baseline)), windows=within)
        calibration = _recentred(replace(first, groups=None, share=1.0), is_misfit=False)
        scorer = _scorer(spec, baseline, size_ms, {None: calibration})
        p_value = scorer.misfit(
            Tally(after.values, registry.fields_of(baseline)), _CHANGE_LEVEL / len(splits)
        )
        if p_value is not None:
            found.append((p_value, split, first))
    if not found:
        return None
    _, split, first = min(found, key=lambda each: each[:2])
    has_fitted = not _misfits(spec, baseline, size_ms, {None: first})
    return Change(clean.days[split][0], has_fitted=has_fitted)


def _recentred(offset: Offset, is_misfit: bool) -> SegmentCalibration:  # noqa: FBT001 - named by its callers
    """Return the calibration of windows that are compared with the clean ones by their share."""
    values, overdispersion = offset.tally.values, offset.recentred
    if isinstance(offset.reference, SegmentReference) and offset.groups is None:
        # Nearly the same, and a matrix less for each of many segments.
        overdispersion = replace(overdispersion, baseline=None)
    return SegmentCalibration(overdispersion, values=values, share=offset.share, is_misfit=is_misfit)


def _compared(offsets: Mapping[Segment | None, Offset]) -> dict[Segment | None, SegmentCalibration]:
    """Return the calibration of all clean windows as one that is compared with the baseline."""
    return {segment: SegmentCalibration(offset.overdispersion) for segment, offset in offsets.items()}


def _tallies(offsets: Mapping[Segment | None, Offset]) -> dict[Segment | None, Tally]:
    return {segment: offset.tally for segment, offset in offsets.items()}


def _misfits(
    spec: StreamSpec, baseline: Reference, size_ms: int, offsets: Mapping[Segment | None, Offset]
) -> frozenset[Segment | None]:
    """Return the segments of which all clean windows as one differ from the baseline."""
    return _scorer(spec, baseline, size_ms, _compared(offsets)).misfits(_tallies(offsets))


def _offsets(
    spec: StreamSpec, baseline: Reference, clean: CleanWindows, least: int
) -> dict[Segment | None, Offset]:
    """Return the offset of all events and of each segment with this many windows or more."""
    found: dict[Segment | None, Offset | None] = {None: clean.all.offset(baseline, least=least)}
    for reference in baseline.segments_by(spec.alarm.segment_keys):
        segment = reference.key, reference.value
        if segment in clean.segments:
            found[segment] = clean.segments[segment].offset(baseline, reference, least=least)
    return {segment: offset for segment, offset in found.items() if offset is not None}


def _scorer(
    spec: StreamSpec,
    baseline: Reference,
    size_ms: int,
    calibrations: Mapping[Segment | None, SegmentCalibration],
) -> WindowScorer:
    """Return the scorer of clean windows as one."""
    segments = {segment: each for segment, each in calibrations.items() if segment is not None}
    calibration = Calibration(
        Source.WARM_UP, size_ms, 0, 0, registry.tally_length(baseline), calibrations[None], segments
    )
    return WindowScorer(spec, baseline, calibration, size_ms)


def _segments(
    spec: StreamSpec,
    baseline: Reference,
    size_ms: int,
    calibrations: Mapping[Segment | None, SegmentCalibration],
) -> dict[Segment, SegmentCalibration]:
    """Return the calibration of each segment that has one, of its own windows or of the baseline."""
    segments = {segment: each for segment, each in calibrations.items() if segment is not None}
    for reference in baseline.segments_by(spec.alarm.segment_keys):
        segment = reference.key, reference.value
        if segment not in segments and reference.overdispersion is not None:
            is_own = baseline.overdispersion_ms == size_ms
            segments[segment] = SegmentCalibration(reference.overdispersion, is_own=is_own)
    return segments


def _by_days(clean: CleanWindows, windows: Overdispersion, baseline: Reference) -> Overdispersion:
    """Return the overdispersion of windows, of as many independent ones as their days let them be.

    Windows of one day have in common what their days differ by, so they show it as often as there are days.
    The degrees of freedom of both add up as F. E. Satterthwaite's (Biometrics Bulletin 2, 1946).
    """
    sums = clean.of_days(baseline)
    number, of_days = clean.all.windows.windows, sums.windows.windows
    if of_days < _PAIR or number <= of_days:
        return windows
    whole = windows.of_mean
    between = sums.overdispersion(baseline).of_mean - whole
    between = min(max(between / (number / of_days - 1), 0.0), whole)
    known = whole**2 / (between**2 / (of_days - 1) + (whole - between) ** 2 / (number - of_days))
    return replace(windows, windows=min(known, number))


def _vary_together(clean: CleanWindows, baseline: Reference, windows: Overdispersion) -> Overdispersion:
    """Return the overdispersion of many windows together: as days vary, or windows if these vary more."""
    days = clean.of_days(baseline)
    if days.windows.windows < _PAIR:
        return windows
    return max(days.overdispersion(baseline), windows, key=lambda each: each.of_mean)


def _lasting(
    clean: CleanWindows, size_ms: int, baseline: Reference, whole: Offset, of_all: SegmentCalibration
) -> Overdispersion | None:
    """Return the overdispersion of the windows of slow drift together; None if there are too few days."""
    days = clean.of_days(baseline).offset(baseline, least=TWO_WEEKS)
    # What days have in common shows less in days of few events.
    are_half_full = 2 * size_ms * clean.all.windows.windows >= TWO_WEEKS * DAY_MS
    if days is None or not are_half_full:
        return None
    of_days = replace(days, share=whole.share, baseline=whole.baseline)
    compared = replace(of_days.windows, baseline=whole.baseline)
    if of_all.values is not None:
        compared = of_days.recentred
    # Windows of the same days have more in common than their own variation shows.
    varying = max(compared, of_all.overdispersion, key=lambda each: each.of_mean)
    return replace(varying, baseline=compared.baseline)
