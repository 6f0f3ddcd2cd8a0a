"""The calibrator of a stream: measures its clean windows, and chooses the calibration of each window."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.calibration import Calibration, Source
from driftgauge.core.judging.measuring import (
    Change,
    Measurement,
    calibrate_by_first_windows,
    calibrate_by_warm_up,
)
from driftgauge.core.judging.scoring import WindowScorer
from driftgauge.core.judging.verdict import Signs, VerdictHistory
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.core.window import Window

__all__ = ["Calibrator", "Remembered", "Siblings"]


class Remembered(Protocol):
    """What is remembered of the windows of a stream, by their size, ms, and the baseline's key."""

    histories: dict[tuple[int, str], VerdictHistory]
    measurements: dict[tuple[int, str], Measurement]
    calibrations: dict[tuple[int, str], Calibration]

    def remember(
        self, size_ms: int, baseline: str, value: VerdictHistory | Measurement | Calibration
    ) -> None:
        """Replace what is remembered of one kind."""

    def forget_measurement(self, size_ms: int, baseline: str) -> None:
        """Delete a measurement, if there is one."""


Siblings = Callable[[int, str], Iterable[tuple[str, Calibration]]]
"""Returns the calibrations of streams that share the entry, by a window size, ms, and a baseline's key."""


class Calibrator:
    """Measures the clean windows of one stream, and chooses what its windows are judged by."""

    def __init__(self, spec: StreamSpec, known: Remembered, siblings: Siblings) -> None:
        """Read from and keep in what is remembered of the stream."""
        self._spec = spec
        self._known = known
        self._siblings = siblings
        self._of_baselines: dict[tuple[int, str], Calibration] = {}

    def choose(self, window: Window, reference: Reference, *, lent_from_ms: int | None) -> Calibration:
        """Return the calibration of a window.

        It is that by windows of its length, else what the baseline knows: of others it is a lower bound for
        longer ones. If the baseline knows nothing, a window that is next in order borrows, and what it
        borrows is remembered, so that later windows are judged by the same.

        Args:
            window: The window.
            reference: The baseline.
            lent_from_ms: The end of the window before it, event time, ms; None if it may not borrow.
        """
        key = window.size_ms, reference.key
        found = self._usable(window.size_ms, reference)
        if found is not None and window.end_ms > found.to_ms:
            return found
        if key not in self._of_baselines:
            self._of_baselines[key] = Calibration.of_baseline(reference, window.size_ms)
        of_baseline = self._of_baselines[key]
        if not of_baseline.is_provisional or lent_from_ms is None:
            return of_baseline
        borrowed = self._borrow(window, reference)
        if borrowed is None:
            return of_baseline
        borrowed = replace(borrowed, source=Source.BORROWED, to_ms=lent_from_ms)
        self._known.remember(*key, borrowed)
        return borrowed

    def is_declared(self, window: Window, reference: Reference) -> bool:
        """Return whether a window lies in the declared warm-up."""
        warm_up = self._warm_up_of(window.size_ms, reference)
        return warm_up is not None and warm_up[0] <= window.start_ms and window.end_ms <= warm_up[1]

    def measurement(self, size_ms: int, reference: Reference) -> Measurement | None:
        """Return the measurement that goes on."""
        found = self._known.measurements.get((size_ms, reference.key))
        # A new statistic makes longer tallies, which cannot be added to those before.
        is_usable = found is not None and len(found.clean.all.values) == registry.tally_length(reference)
        return found if is_usable else None

    def learn(
        self,
        window: Window,
        tally: Tally,
        segments: Mapping[Segment, Tally],
        reference: Reference,
        scorer: WindowScorer,
        signs: Signs,
        *,
        has_fitted: bool,
    ) -> None:
        """Add a window that is next in order to the measurement that goes on, if there is one.

        If some window has fitted the baseline, gross drift shows nothing of how clean windows vary, and those
        measured before are none. Segments of windows that nobody declared clean vary as all events do.
        """
        key, is_declared = (window.size_ms, reference.key), self.is_declared(window, reference)
        if is_declared:
            warm_up, has_fitted = self._warm_up_of(window.size_ms, reference), True
            scored = {segment: own for segment, own in segments.items() if own.count >= self._spec.min_events}
        else:
            warm_up, scored = None, {}
            if not self._measures_itself(window, reference):
                return
            # Of a provisional window the signs say so already.
            if has_fitted and (signs.counts if scorer.calibration.is_provisional else scorer.is_gross(tally)):
                return
        measurement = self.measurement(window.size_ms, reference)
        if measurement is None or not measurement.is_same(warm_up, has_fitted=has_fitted):
            known = self._usable(window.size_ms, reference)
            if is_declared and known is not None and known.began_with(warm_up):
                # Only its end was moved, and its beginning cannot be measured again.
                return
            measurement = Measurement.begin(window, warm_up, reference, has_fitted=has_fitted)
        measurement = replace(measurement, warm_up=warm_up)
        self._known.remember(*key, measurement.add(window, tally, scored, reference))

    def end(self, window: Window, reference: Reference, measured_to_ms: int) -> Calibration | None:
        """Return the calibration that a measurement ends with, if a window comes after those measured.

        Args:
            window: The window.
            reference: The baseline.
            measured_to_ms: The end of the last window before it, event time, ms.
        """
        key, measurement = (window.size_ms, reference.key), self.measurement(window.size_ms, reference)
        if measurement is None:
            return None
        warm_up = self._warm_up_of(window.size_ms, reference)
        if measurement.is_same(warm_up, has_fitted=True):
            # Its end may have moved meanwhile.
            measurement = replace(measurement, warm_up=warm_up)
        if not measurement.is_over(window):
            return None
        found: Calibration | Change | None
        if measurement.warm_up is None:
            found = calibrate_by_first_windows(self._spec, reference, window.size_ms, measurement)
        else:
            found = calibrate_by_warm_up(self._spec, reference, window.size_ms, measurement)
        if isinstance(found, Change):
            begun = Measurement.begin(window, None, reference, has_fitted=measurement.has_fitted)
            has_drifted = measurement.has_drifted or found.has_fitted
            self._known.remember(*key, replace(begun, changed_ms=found.at_ms, has_drifted=has_drifted))
            return None
        if found is not None:
            # It ends earlier or later than it could: days end at midnight, and windows may be missing.
            to_ms = measured_to_ms if measurement.warm_up is None else found.to_ms
            found = replace(found, to_ms=to_ms)
            self._known.remember(*key, found)
        self._known.forget_measurement(*key)
        return found

    def _usable(self, size_ms: int, reference: Reference) -> Calibration | None:
        """Return the remembered calibration by windows of a size, ms, unless a statistic is new since."""
        found = self._known.calibrations.get((size_ms, reference.key))
        return found if found is not None and found.length == registry.tally_length(reference) else None

    def _borrow(self, window: Window, reference: Reference) -> Calibration | None:
        """Return the variation of the sibling that was measured first, or against the baseline before.

        A sibling lends to windows after those that measured it, as if all streams were read in order.
        """
        siblings = [
            (each.to_ms, stream, each)
            for stream, each in self._siblings(window.size_ms, reference.key)
            if each.source is Source.FIRST_WINDOWS and each.to_ms < window.end_ms and not each.whole.is_misfit
        ]
        if siblings:
            return min(siblings, key=lambda each: each[:2])[2]
        before = self._before(window.size_ms, reference)
        return None if before is None else before.for_another_baseline(reference)

    def _before(self, size_ms: int, reference: Reference) -> Calibration | None:
        """Return the calibration against the baseline before, which may no longer be listed."""
        keys = [each.reference.key for each in self._spec.baselines]
        number = keys.index(reference.key) if reference.key in keys else 0
        if number:
            listed = self._spec.baselines[number - 1].reference
            remembered = self._known.calibrations.get((size_ms, listed.key))
            found = remembered or Calibration.of_baseline(listed, size_ms)
            return None if found.is_provisional else found
        others = [
            each
            for (own_ms, key), each in sorted(self._known.calibrations.items())
            if own_ms == size_ms and key not in keys
        ]
        return max(others, key=lambda each: each.to_ms, default=None)

    def _measures_itself(self, window: Window, reference: Reference) -> bool:
        """Return whether windows like this one show by themselves how they vary.

        After a declared warm-up they do if it had too few of them.
        """
        warm_up = self._warm_up_of(window.size_ms, reference)
        is_within = warm_up is not None and warm_up[0] < window.end_ms <= warm_up[1]
        if reference.overdispersion_ms == window.size_ms or is_within:
            return False
        found = self._usable(window.size_ms, reference)
        return found is None or found.source is Source.BORROWED

    def _warm_up_of(self, size_ms: int, reference: Reference) -> tuple[int, int] | None:
        """Return the declared warm-up of a baseline, for windows of a size, ms."""
        warm_up = self._spec.alarm.warm_up
        owner = self._spec.baselines[-1].reference if warm_up is None else self._spec.baseline_at(warm_up[0])
        if owner.key == reference.key:
            return warm_up
        # A new baseline is listed with its own, while windows of the one before still come.
        measurement = self._known.measurements.get((size_ms, reference.key))
        if measurement is not None:
            return measurement.warm_up
        found = self._known.calibrations.get((size_ms, reference.key))
        return (found.from_ms, found.to_ms) if found is not None and found.source is Source.WARM_UP else None
