"""The window judge: turns a tally into a result with score, segments, examples and verdict."""

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, Segment, SegmentReference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.mean_shift import CLIPPED_COORDINATE_SUMS
from driftgauge.core.statistics.overdispersion import (
    CalibratedOverdispersion,
    Overdispersion,
    OverdispersionEstimator,
)
from driftgauge.core.windows.completeness import Completeness
from driftgauge.core.windows.result import Verdict, VerdictMemory, WindowResult
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.verdict import VerdictHistory, decide, update_memory
from driftgauge.core.windows.window import Window

__all__ = ["WindowJudge", "standardized_of"]


class WindowJudge:
    """Judges the windows of one stream with the history of the windows before."""

    def __init__(self, spec: StreamSpec, state: StreamState) -> None:
        """Read from and keep the history in a stream's state."""
        self._spec = spec
        self._state = state
        self._scorers: dict[tuple[str, int, int], WindowScorer] = {}

    def judge(
        self,
        window: Window,
        tally: Tally,
        reference: Reference,
        completeness: Completeness,
        log_ms: int,
    ) -> WindowResult:
        """Return the next result of a window, and add the window to the history if it is next in order.

        Args:
            window: The window.
            tally: Its tally.
            reference: The baseline to compare with.
            completeness: How completely the window was counted.
            log_ms: The shard's log time.
        """
        before = self._state.published.get(window)
        is_incomplete = completeness.incomplete_reason is not None
        history = self._history(window, reference)
        scorer = self._scorer(window, reference, history)
        score = scorer.score(tally)
        memory = before.memory if before and before.baseline_id == reference.baseline_id else None
        is_next = memory is None and window.end_ms > history.end_ms
        if memory is None and score is not None and not is_incomplete:
            # A window after a later one is judged without memory, and so is a window of the warm-up.
            is_alone = not is_next or self._is_warm_up(window)
            memory = VerdictMemory() if is_alone else history.memory_for(window)
        tallies = self._segment_tallies(window, reference)
        segments, significant_and_large = scorer.judge_segments(
            tallies,
            None if is_incomplete else ({} if memory is None else memory.segments),
        )
        slow_drift, after = None, None
        verdict = Verdict.INCOMPLETE if is_incomplete else Verdict.INSUFFICIENT
        if score is not None and memory is not None and not is_incomplete:
            is_significant_and_large = scorer.is_significant_and_large(score)
            after = update_memory(
                memory,
                is_significant_and_large=is_significant_and_large,
                p_value=score.p_value,
                slow_drift_limit=scorer.slow_drift_limit,
                segments=significant_and_large,
            )
            slow_drift = after.slow_drift
            verdict = decide(
                memory.recent,
                is_significant_and_large=is_significant_and_large,
                # What is declared clean pages by no single window.
                is_overwhelming=not self._is_warm_up(window) and scorer.is_overwhelming(score),
                has_slow_drift=slow_drift >= scorer.slow_drift_limit,
            )
        if after is not None and is_next:
            self._state.set_history(
                window.size_ms,
                history.add_warm_up(window, *self._calibrate(history, tally, tallies, reference))
                if self._is_warm_up(window)
                else history.add(window, after),
            )
        movers = () if score is None else score.movers
        found = self._state.panes.examples(self._spec.scheme(reference).key, window) if movers else {}
        examples = {cluster: found[cluster] for cluster in movers if cluster in found}
        return WindowResult(
            stream=self._spec.name,
            window=window,
            revision=0 if before is None else before.revision + 1,
            counts=tally.counts,
            baseline_counts=reference.counts,
            baseline_id=reference.baseline_id,
            missing=completeness.missing,
            events_lost=completeness.events_lost,
            published_ms=log_ms,
            score=score,
            verdict=verdict,
            superseded=None if before is None else before.verdict,
            slow_drift=slow_drift,
            slow_drift_limit=scorer.slow_drift_limit,
            segments=segments,
            examples={cluster: tuple(each.event_id for each in own) for cluster, own in examples.items()},
            memory=memory,
            counted_twice=completeness.counted_twice,
            incomplete_reason=completeness.incomplete_reason,
            snippets={
                cluster: tuple(each.snippet for each in own)
                for cluster, own in examples.items()
                if any(each.snippet for each in own)
            },
        )

    def _history(self, window: Window, reference: Reference) -> VerdictHistory:
        history = self._state.histories.get(window.size_ms)
        if history is None or history.baseline_id != reference.baseline_id:
            end_ms = 0 if history is None else history.end_ms
            history = VerdictHistory.begin(reference.baseline_id, reference.components, end_ms)
        return history.with_warm_up(self._spec.alarm.warm_up)

    def _calibrate(
        self, history: VerdictHistory, tally: Tally, tallies: dict[Segment, Tally], reference: Reference
    ) -> tuple[OverdispersionEstimator, dict[Segment, OverdispersionEstimator]]:
        """Return the overdispersion estimators of the whole and of segments after one more warm-up window."""
        shift = reference.projection.shift(tally[CLIPPED_COORDINATE_SUMS], tally.count)
        whole = history.clean.add(
            tally.counts,
            reference.counts,
            shift / reference.projection.deviations,
            reference.mean_count,
            standardized_of(tally, reference),
        )
        segments = dict(history.segments)
        for part in reference.segments_by(self._spec.alarm.segment_keys):
            segment = part.key, part.value
            own = tallies.get(segment)
            if own is None or own.count < self._spec.min_events:
                continue
            clean = segments.get(segment, OverdispersionEstimator.empty(reference.components))
            shift = part.standardized(reference.projection.shift(own[CLIPPED_COORDINATE_SUMS], own.count))
            segments[segment] = clean.add(
                own.counts,
                part.counts,
                shift,
                part.mean_count,
                standardized_of(own, reference, part),
            )
        return whole, segments

    def _scorer(self, window: Window, reference: Reference, history: VerdictHistory) -> WindowScorer:
        warm_up = self._spec.alarm.warm_up
        # The calibration is used only after the warm-up, so that all later windows share one.
        is_over = warm_up is not None and window.end_ms > warm_up[1]
        key = reference.key, window.size_ms, history.clean.windows if is_over else 0
        if key not in self._scorers:
            measured: Overdispersion | None = history.clean.overdispersion() if is_over else None
            # Overdispersion holds for windows of one length, and is a lower bound for longer ones.
            is_own = reference.overdispersion_ms == window.size_ms
            segments = {
                (part.key, part.value): CalibratedOverdispersion(part.overdispersion, calibrated=is_own)
                for part in reference.segments
                if part.overdispersion is not None
            }
            if is_over:
                segments |= {
                    segment: CalibratedOverdispersion(own, calibrated=True)
                    for segment, clean in history.segments.items()
                    if (own := clean.overdispersion()) is not None
                }
            self._scorers[key] = WindowScorer(
                self._spec,
                reference,
                measured or reference.overdispersion,
                calibrated=measured is not None or is_own,
                segments=segments,
            )
        return self._scorers[key]

    def _is_warm_up(self, window: Window) -> bool:
        warm_up = self._spec.alarm.warm_up
        return warm_up is not None and warm_up[0] <= window.start_ms and window.end_ms <= warm_up[1]

    def _segment_tallies(self, window: Window, reference: Reference) -> dict[Segment, Tally]:
        scheme = self._spec.scheme(reference).of_segments
        tallies = {}
        for segment in reference.segments_by(self._spec.alarm.segment_keys):
            key = segment.key, segment.value
            values = self._state.panes.tally(scheme.key, window, key)
            if values is not None:
                tallies[key] = Tally(values, scheme.fields)
        return tallies


def standardized_of(
    tally: Tally, reference: Reference, segment: SegmentReference | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return what `OverdispersionEstimator.add` takes of a clean window beside its counts and its shift."""
    return {
        each.name: each.null(reference, segment, None).standardized(tally)
        for each in registry.counted(reference)
        if each.variances and (segment is None or each.in_segments)
    }
