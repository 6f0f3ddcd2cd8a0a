"""The judge of a stream: judges its windows by its state, and returns their results."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import Examples
from driftgauge.core.counting.numbers import TALLY_ROWS, NumberTally
from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.calibrating import Siblings
from driftgauge.core.judging.judge import WindowJudge
from driftgauge.core.judging.number_judging import NumberMemory, NumberResult, judge_number, remember
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.spec import StreamSpec
from driftgauge.core.window import Window
from driftgauge.core.windows.completeness import Completeness
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.stream_state import StreamState

__all__ = ["StreamJudge"]


class StreamJudge:
    """Judges the windows of one stream by its state."""

    def __init__(self, spec: StreamSpec, state: StreamState, siblings: Siblings) -> None:
        """Read from and remember in a stream's state."""
        self._spec = spec
        self._state = state
        self._judge = WindowJudge(spec, state, siblings)

    def judge(
        self,
        window: Window,
        tally: Tally,
        reference: Reference,
        completeness: Completeness,
        log_ms: int,
        numbers: Mapping[str, NDArray[np.int64]] = MappingProxyType({}),
    ) -> WindowResult:
        """Return the next result of a window.

        Args:
            window: The window.
            tally: Its tally.
            reference: The baseline to compare with.
            completeness: How completely the window was counted.
            log_ms: The shard's log time.
            numbers: The tallies of its numbers, by their keys.
        """
        before = self._state.published.get(window)
        judged = self._judge.judge(
            window,
            tally,
            self._segment_tallies(window, reference),
            reference,
            before.memory if before is not None and before.baseline_id == reference.baseline_id else None,
            is_incomplete=completeness.incomplete_reason is not None,
        )
        status, slow_drift = self._state.status, judged.slow_drift
        movers = () if judged.score is None else judged.score.movers
        examples = Examples()
        if movers:
            examples = self._state.panes.examples(self._spec.scheme(reference).key, window)
        found = examples.by_cluster
        by_cluster = {mover: found[mover] for mover in movers if mover in found}
        snippets = {cluster: tuple(each.snippet for each in own) for cluster, own in by_cluster.items()}
        return WindowResult(
            stream=self._spec.name,
            window=window,
            revision=0 if before is None else before.revision + 1,
            counts=tally.counts,
            baseline_counts=judged.reference.counts,
            baseline_id=reference.baseline_id,
            missing=completeness.missing,
            events_lost=completeness.events_lost,
            published_ms=log_ms,
            score=judged.score,
            verdict=judged.verdict,
            superseded=None if before is None else before.verdict,
            slow_drift=None if slow_drift is None else slow_drift.statistic,
            slow_drift_since_ms=None if slow_drift is None else slow_drift.since_ms,
            slow_drift_limit=judged.slow_drift_limit,
            segments=judged.segments,
            examples={cluster: tuple(each.event_id for each in own) for cluster, own in by_cluster.items()},
            memory=judged.memory,
            counted_twice=completeness.counted_twice,
            incomplete_reason=completeness.incomplete_reason,
            snippets={cluster: own for cluster, own in snippets.items() if any(own)},
            applied_total=status.applied,
            late_total=status.late.get(window.size_ms, 0),
            calibration=judged.calibration,
            measuring=judged.measuring,
            farthest=examples.farthest,
            numbers=self._judge_numbers(
                window, numbers, reference, before, tally.count, is_conclusive=judged.verdict.is_conclusive
            ),
        )

    def _judge_numbers(
        self,
        window: Window,
        tallies: Mapping[str, NDArray[np.int64]],
        reference: Reference,
        before: WindowResult | None,
        events: int,
        *,
        is_conclusive: bool,
    ) -> dict[str, NumberResult]:
        """Return what a window says of each number; every revision is judged with the same memory."""
        if before is not None and before.baseline_id == reference.baseline_id:
            remembered: Mapping[str, NumberMemory] = {
                name: each.before for name, each in before.numbers.items()
            }
        else:
            remembered = self._remembered(window, reference)
        results = {}
        # A cycle averages out in longer windows than those of the baseline.
        is_measured = window.size_ms <= (reference.overdispersion_ms or 0)
        for number in self._spec.numbers:
            values = tallies.get(number.key)
            if values is None:
                values = np.zeros((TALLY_ROWS, len(reference.counts)), np.int64)
            baseline = reference.numbers.get(number.name)
            results[number.name] = judge_number(
                number,
                NumberTally(number, values),
                baseline,
                remembered.get(number.name, NumberMemory()),
                events=events,
                is_conclusive=is_conclusive,
                fewest=self._spec.min_events,
                between=baseline.between if baseline is not None and is_measured else 0.0,
            )
        return results

    def _remembered(self, window: Window, reference: Reference) -> Mapping[str, NumberMemory]:
        """Return what is remembered of numbers before a window, from the last one that was published."""
        last = self._state.newest.get(window.size_ms)
        if last is None or last.window >= window or last.baseline_id != reference.baseline_id:
            return {}
        return remember(last.numbers, (window.start_ms - last.window.end_ms) // window.size_ms)

    def _segment_tallies(self, window: Window, reference: Reference) -> dict[Segment, Tally]:
        scheme = self._spec.scheme(reference).of_segments
        tallies = {}
        for segment in reference.segments_by(self._spec.alarm.segment_keys):
            counts = self._state.panes.counts(scheme.key, window, (segment.key, segment.value))
            if counts is not None:
                tallies[segment.key, segment.value] = Tally(counts.values, scheme.fields)
        return tallies
