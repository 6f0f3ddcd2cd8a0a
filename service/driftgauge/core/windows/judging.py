"""Judges the windows of a stream: score, segments, examples, verdict; and the history that they enter."""

from dataclasses import dataclass

from driftgauge.core.counting.tally import Tally
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics.overdispersion import (
    CalibratedOverdispersion,
    Overdispersion,
    OverdispersionEstimator,
)
from driftgauge.core.windows.result import Verdict, VerdictMemory, WindowResult
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.verdict import VerdictHistory, decide, enter
from driftgauge.core.windows.window import Window

__all__ = ["Completeness", "WindowJudge"]


@dataclass(frozen=True, slots=True)
class Completeness:
    """How a window came to be counted, besides its tally.

    Attributes:
        missing: The partitions that had not reached the window's end.
        incomplete_reason: Why it is incomplete; None where it is judged in full.
        events_lost: Events of it may have been lost.
        counted_twice: Events of it may have been counted twice.
    """

    missing: tuple[Partition, ...] = ()
    incomplete_reason: str | None = None
    events_lost: bool = False
    counted_twice: bool = False

    @classmethod
    def of(cls, result: WindowResult) -> "Completeness":
        """Return those under which a result was published."""
        return cls(result.missing, result.incomplete_reason, result.events_lost, result.counted_twice)


class WindowJudge:
    """Judges the windows of one stream in the light of those before."""

    def __init__(self, spec: StreamSpec, state: StreamState) -> None:
        """Judge by what a stream's state holds, and keep the history there."""
        self._spec = spec
        self._state = state
        self._scorers: dict[tuple[str, int, int], WindowScorer] = {}

    def judge(
        self,
        window: Window,
        tally: Tally,
        reference: Reference,
        circumstances: Completeness,
        log_ms: int,
    ) -> WindowResult:
        """Return the next result of a window, and let it enter the history if it is its turn.

        Args:
            window: Which window.
            tally: What was counted of it.
            reference: What it is compared with.
            circumstances: How it was counted.
            log_ms: The shard's log time.
        """
        before = self._state.published.get(window)
        is_incomplete = circumstances.incomplete_reason is not None
        history = self._history(window, reference)
        scorer = self._scorer(window, reference, history)
        score = scorer.score(tally)
        entered = before.memory if before and before.baseline_id == reference.baseline_id else None
        is_next = entered is None and window.end_ms > history.end_ms
        memory = entered
        if memory is None and score is not None and not is_incomplete:
            # One that comes after a later one is judged by itself, and so is one that is declared clean.
            alone = not is_next or self._is_warm_up(window)
            memory = VerdictMemory() if alone else history.memory_at(window)
        tallies = self._segment_tallies(window, reference)
        segments, found = scorer.judge_segments(
            tallies,
            None if is_incomplete else ({} if memory is None else memory.segments),
        )
        slow_drift, after = None, None
        verdict = Verdict.INCOMPLETE if is_incomplete else Verdict.INSUFFICIENT
        if score is not None and memory is not None and not is_incomplete:
            is_significant_and_large = scorer.is_significant_and_large(score)
            after = enter(
                memory,
                is_significant_and_large=is_significant_and_large,
                p_value=score.p_value,
                slow_drift_limit=scorer.slow_drift_limit,
                segments=found,
            )
            slow_drift = after.slow_drift
            verdict = decide(
                memory.recent,
                is_significant_and_large=is_significant_and_large,
                has_power=scorer.has_power(tally.count),
                has_slow_drift=slow_drift >= scorer.slow_drift_limit,
            )
        if after is not None and is_next:
            self._state.remember(
                window.size_ms,
                history.learn(window, *self._learn(history, tally, tallies, reference))
                if self._is_warm_up(window)
                else history.remember(window, after),
            )
        movers = () if score is None else score.movers
        named = self._state.named(self._spec.scheme(reference).key, window) if movers else {}
        return WindowResult(
            stream=self._spec.name,
            window=window,
            revision=0 if before is None else before.revision + 1,
            counts=tally.counts,
            baseline_counts=reference.counts,
            baseline_id=reference.baseline_id,
            missing=circumstances.missing,
            events_lost=circumstances.events_lost,
            published_ms=log_ms,
            score=score,
            verdict=verdict,
            superseded=None if before is None else before.verdict,
            slow_drift=slow_drift,
            slow_drift_limit=scorer.slow_drift_limit,
            segments=segments,
            examples={cluster: named[cluster] for cluster in movers if cluster in named},
            memory=memory,
            counted_twice=circumstances.counted_twice,
            incomplete_reason=circumstances.incomplete_reason,
        )

    def _history(self, window: Window, reference: Reference) -> VerdictHistory:
        history = self._state.histories.get(window.size_ms)
        if history is None or history.baseline_id != reference.baseline_id:
            end_ms = 0 if history is None else history.end_ms
            history = VerdictHistory.begin(reference.baseline_id, reference.components, end_ms)
        return history.warmed_by(self._spec.alarm.warm_up)

    def _learn(
        self, history: VerdictHistory, tally: Tally, tallies: dict[Segment, Tally], reference: Reference
    ) -> tuple[OverdispersionEstimator, dict[Segment, OverdispersionEstimator]]:
        """Return what the warm-up has taught with one more window, of the whole and of its segments."""
        shift = reference.projection.shift(tally.sums, tally.count)
        whole = history.clean.add(
            tally.counts,
            reference.counts,
            shift / reference.projection.deviations,
            int(reference.counts.sum()),
        )
        segments = dict(history.segments)
        for part in reference.segments_by(self._spec.alarm.segment_keys):
            segment = part.key, part.value
            own = tallies.get(segment)
            if own is None or own.count < self._spec.min_events:
                continue
            clean = segments.get(segment, OverdispersionEstimator.empty(reference.components))
            shift = part.standardized(reference.projection.shift(own.sums, own.count))
            segments[segment] = clean.add(own.counts, part.counts, shift, int(part.counts.sum()))
        return whole, segments

    def _scorer(self, window: Window, reference: Reference, history: VerdictHistory) -> WindowScorer:
        warm_up = self._spec.alarm.warm_up
        # Only once it is over, so that it is one and the same for all windows after it.
        is_over = warm_up is not None and window.end_ms > warm_up[1]
        place = reference.key, window.size_ms, history.clean.windows if is_over else 0
        if place not in self._scorers:
            learned: Overdispersion | None = history.clean.overdispersion() if is_over else None
            # How related events are shows in windows of one length; of longer ones it is the least.
            is_own = reference.overdispersion_ms == window.size_ms
            segments = {
                (part.key, part.value): CalibratedOverdispersion(part.overdispersion, calibrated=is_own)
                for part in reference.segments
                if part.overdispersion is not None
            }
            if is_over:
                found = {segment: clean.overdispersion() for segment, clean in history.segments.items()}
                segments |= {
                    segment: CalibratedOverdispersion(own, calibrated=True)
                    for segment, own in found.items()
                    if own is not None
                }
            self._scorers[place] = WindowScorer(
                self._spec,
                reference,
                learned or reference.overdispersion,
                calibrated=learned is not None or is_own,
                segments=segments,
            )
        return self._scorers[place]

    def _is_warm_up(self, window: Window) -> bool:
        warm_up = self._spec.alarm.warm_up
        return warm_up is not None and warm_up[0] <= window.start_ms and window.end_ms <= warm_up[1]

    def _segment_tallies(self, window: Window, reference: Reference) -> dict[Segment, Tally]:
        scheme = self._spec.scheme(reference).key
        tallies = {}
        for segment in reference.segments_by(self._spec.alarm.segment_keys):
            place = segment.key, segment.value
            values = self._state.tally(scheme, window, place)
            if values is not None:
                tallies[place] = Tally(values, len(reference.counts))
        return tallies
