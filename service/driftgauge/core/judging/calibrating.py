"""The calibrator of a stream: measures its clean windows, and chooses the calibration of each window."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.calibration import Calibration, Source, tally_length
from driftgauge.core.judging.measuring import (
    Measurement,
    calibrate_by_first_windows,
    calibrate_by_warm_up,
)
from driftgauge.core.judging.scoring import WindowScorer
from driftgauge.core.judging.verdict import Signs, VerdictHistory
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.spec import StreamSpec
from driftgauge.core.window import Window

__all__ = ["Calibrator", "Remembered", "Siblings", "no_siblings"]


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


def no_siblings(_size_ms: int, _baseline: str) -> Iterable[tuple[str, Calibration]]:
    """Return no calibration: the stream shares its entry with none."""
    return ()


class Calibrator:
    """Measures the clean windows of one stream, and chooses what its windows are judged by."""

    def __init__(self, spec: StreamSpec, known: Remembered, siblings: Siblings = no_siblings) -> None:
        """Read from and keep in what is remembered of the stream."""
        self._spec = spec
        self._known = known
        self._siblings = siblings
        self._of_baselines: dict[tuple[int, str], Calibration] = {}

    def choose(self, window: Window, reference: Reference) -> Calibration:
        """Return the calibration of a window.

        It is that by windows of its length, else what the baseline knows of these, else that by others: the
        longest shorter ones, or those of the baseline, which are a lower bound for longer ones.
        """
        found = self._own(window.size_ms, reference, window)
        if found is not None:
            return found
        key = window.size_ms, reference.key
        if key not in self._of_baselines:
            self._of_baselines[key] = Calibration.of_baseline(reference, window.size_ms)
        of_baseline = self._of_baselines[key]
        if reference.overdispersion_ms == window.size_ms:
            return of_baseline
        shorter = self._shorter(window, reference)
        if shorter is None and of_baseline.is_provisional:
            shorter = self._borrow(window, reference)
        return shorter or of_baseline

    def is_declared(self, window: Window, reference: Reference) -> bool:
        """Return whether a window lies in the declared warm-up."""
        warm_up = self._warm_up_of(window.size_ms, reference)
        return warm_up is not None and warm_up[0] <= window.start_ms and window.end_ms <= warm_up[1]

    def has_never_fitted(self, window: Window, reference: Reference) -> bool:
        """Return whether all windows of a stream that measures itself were gross drift."""
        measurement = self.measurement(window.size_ms, reference)
        return self._measures_itself(window, reference) and not (measurement and measurement.has_fitted)

    def measurement(self, size_ms: int, reference: Reference) -> Measurement | None:
        """Return the measurement that goes on."""
        found = self._known.measurements.get((size_ms, reference.key))
        # A new statistic makes longer tallies, which cannot be added to those before.
        is_usable = found is not None and len(found.first.all.values) == tally_length(reference)
        return found if is_usable else None

    def learn(
        self,
        window: Window,
        tally: Tally,
        segments: Mapping[Segment, Tally],
        reference: Reference,
        scorer: WindowScorer,
        signs: Signs,
    ) -> None:
        """Add a window that is next in order to the measurement that goes on, if there is one.

        If its calibration was borrowed it is kept, so that later windows are judged by the same. A revision
        borrows too, but must not replace what its own windows measured since.
        """
        size_ms, is_declared = window.size_ms, self.is_declared(window, reference)
        is_borrowed = scorer.calibration.source is Source.BORROWED
        if is_borrowed and self._known.calibrations.get((size_ms, reference.key)) is not scorer.calibration:
            self._known.remember(size_ms, reference.key, scorer.calibration)
        if not (is_declared or self._measures_itself(window, reference)):
            return
        warm_up = self._warm_up_of(size_ms, reference) if is_declared else None
        measurement = self.measurement(size_ms, reference)
        if measurement is None or measurement.warm_up != warm_up:
            measurement = Measurement.begin(window, warm_up, reference)
        if is_declared:
            scored = {segment: own for segment, own in segments.items() if own.count >= self._spec.min_events}
            measurement = measurement.add(window, tally, scored, reference)
        else:
            # Of a provisional window the signs say so already.
            is_gross = signs.counts if scorer.calibration.is_provisional else scorer.is_gross(tally)
            measurement = measurement.add_first(window, tally, reference, is_gross=is_gross)
        self._known.remember(size_ms, reference.key, measurement)

    def end(self, window: Window, reference: Reference, measured_to_ms: int) -> Calibration | None:
        """Return the calibration that a measurement ends with, if a window comes after those measured.

        Args:
            window: The window.
            reference: The baseline.
            measured_to_ms: The end of the last window before it, event time, ms.
        """
        size_ms, key = window.size_ms, reference.key
        measurement = self.measurement(size_ms, reference)
        if measurement is None or not measurement.is_over(window):
            return None
        if measurement.warm_up not in {None, self._warm_up_of(size_ms, reference)}:
            return None
        found: Calibration | Measurement | None
        if measurement.warm_up is None:
            found = calibrate_by_first_windows(self._spec, reference, size_ms, measurement)
        else:
            found = calibrate_by_warm_up(self._spec, reference, size_ms, measurement)
        if isinstance(found, Measurement):
            self._known.remember(size_ms, key, found)
            return None
        if found is not None:
            if measurement.warm_up is None:
                # It ends later than it could if windows were missing.
                found = replace(found, to_ms=max(found.to_ms, measured_to_ms))
            self._known.remember(size_ms, key, found)
        self._known.forget_measurement(size_ms, key)
        return found

    def _own(self, size_ms: int, reference: Reference, window: Window) -> Calibration | None:
        """Return the remembered calibration by windows of a size, ms, if it holds for a window."""
        found = self._known.calibrations.get((size_ms, reference.key))
        if found is None or window.end_ms <= found.to_ms:
            return None
        # It knows nothing of a statistic that is new since.
        if found.length != tally_length(reference):
            return None
        return found if self._is_still_declared(found, reference) else None

    def _is_still_declared(self, found: Calibration, reference: Reference) -> bool:
        """Return whether no other warm-up is declared than the one that measured a calibration."""
        declared = self._warm_up_of(found.size_ms, reference)
        return found.source is not Source.WARM_UP or declared in {None, (found.from_ms, found.to_ms)}

    def _shorter(self, window: Window, reference: Reference) -> Calibration | None:
        """Return the calibration by the longest windows that are shorter than a window.

        Hours that were not declared clean say nothing of how days vary.
        """
        for size_ms in sorted(self._spec.sizes_ms, reverse=True):
            if size_ms < window.size_ms:
                found = self._own(size_ms, reference, window)
                if found is not None and found.source is Source.WARM_UP:
                    return found
        return None

    def _borrow(self, window: Window, reference: Reference) -> Calibration | None:
        """Return the variation of the sibling that was measured first, or against the baseline before.

        A sibling lends to windows after those that measured it, as if all streams were read in order.
        """
        siblings = [
            (each.to_ms, stream, each)
            for stream, each in self._siblings(window.size_ms, reference.key)
            if each.source is Source.FIRST_WINDOWS and each.to_ms < window.end_ms and None not in each.misfits
        ]
        if siblings:
            return replace(min(siblings, key=lambda each: each[:2])[2], source=Source.BORROWED)
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

        After a declared warm-up they do if it had too few of them, and too few shorter ones as well.
        """
        warm_up = self._warm_up_of(window.size_ms, reference)
        if reference.overdispersion_ms == window.size_ms or (warm_up and window.end_ms <= warm_up[1]):
            return False
        found = self._known.calibrations.get((window.size_ms, reference.key))
        is_measured = found is not None and found.source in {Source.FIRST_WINDOWS, Source.WARM_UP}
        if found is not None and is_measured and found.length == tally_length(reference):
            return not self._is_still_declared(found, reference)
        return self._shorter(window, reference) is None

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
