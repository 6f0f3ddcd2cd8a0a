"""The window judge: turns a tally into a result with score, segments, examples and verdict."""

from dataclasses import dataclass, replace

import numpy as np

from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, CalibratedOverdispersion
from driftgauge.core.windows.completeness import Completeness
from driftgauge.core.windows.result import Verdict, VerdictMemory, WindowResult
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.verdict import DAY_MS, VerdictHistory, decide, update_memory
from driftgauge.core.windows.warm_up import Offset, WarmUp, recentre
from driftgauge.core.windows.window import Window

__all__ = ["WindowJudge"]

# Two weeks, so that a weekly cycle is no drift.
_LEAST_DAYS = 14


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    """What the windows of one size are compared with.

    Attributes:
        reference: The baseline, re-centred after a warm-up.
        scorer: The scorer against it.
        misfits: The segments whose warm-up differs from the baseline; None stands for all events.
        lasting: The scorer of the windows of slow drift together, which vary as days do; None: the warm-up
            has too few days, and a weekly cycle would be drift.
    """

    reference: Reference
    scorer: WindowScorer
    misfits: frozenset[Segment | None] = frozenset()
    lasting: WindowScorer | None = None


class WindowJudge:
    """Judges the windows of one stream with the history of the windows before."""

    def __init__(self, spec: StreamSpec, state: StreamState) -> None:
        """Read from and keep the history in a stream's state."""
        self._spec = spec
        self._state = state
        self._comparisons: dict[tuple[str, int, int, int], _Comparison] = {}

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
        comparison = self._comparison(window, reference, history)
        scorer = comparison.scorer
        score = scorer.score(tally)
        memory = before.memory if before and before.baseline_id == reference.baseline_id else None
        is_next = memory is None and window.end_ms > history.end_ms
        if memory is None and score is not None and not is_incomplete:
            # A window after a later one is judged without memory, and so is a window of the warm-up.
            is_alone = not is_next or _is_warm_up(history, window)
            memory = VerdictMemory() if is_alone else history.memory_for(window)
        tallies = self._segment_tallies(window, reference)
        segments, significant_and_large = scorer.judge_segments(
            tallies,
            None if is_incomplete else ({} if memory is None else memory.segments),
            comparison.misfits,
        )
        slow_drift, after = None, None
        verdict = Verdict.INCOMPLETE if is_incomplete else Verdict.INSUFFICIENT
        if score is not None and memory is not None and not is_incomplete:
            is_significant_and_large = scorer.is_significant_and_large(score)
            after = update_memory(
                memory,
                window,
                tally,
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
                is_overwhelming=(not _is_warm_up(history, window) and scorer.is_overwhelming(score))
                or (
                    comparison.lasting is not None
                    and comparison.lasting.is_lasting(slow_drift, window.start_ms, tally.fields)
                ),
                has_slow_drift=slow_drift.statistic >= scorer.slow_drift_limit,
                is_misfit=None in comparison.misfits,
            )
        if after is not None and is_next:
            self._state.set_history(
                window.size_ms,
                reference.key,
                history.add_warm_up(window, tally, reference, self._calibrate(history, tallies, reference))
                if _is_warm_up(history, window)
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
            baseline_counts=comparison.reference.counts,
            baseline_id=reference.baseline_id,
            missing=completeness.missing,
            events_lost=completeness.events_lost,
            published_ms=log_ms,
            score=score,
            verdict=verdict,
            superseded=None if before is None else before.verdict,
            slow_drift=None if slow_drift is None else slow_drift.statistic,
            slow_drift_since_ms=None if slow_drift is None else slow_drift.since_ms,
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
        history = self._state.histories.get((window.size_ms, reference.key))
        # A new statistic makes longer tallies, which cannot be added to those before.
        if history is None or len(history.clean.values) != self._spec.scheme(reference).length:
            history = VerdictHistory.begin(reference, 0 if history is None else history.end_ms)
        warm_up = self._spec.alarm.warm_up
        # A new baseline is listed with its own warm-up, while windows of the one before can still change.
        owner = self._spec.baselines[-1].reference if warm_up is None else self._spec.baseline_at(warm_up[0])
        return history.with_warm_up(warm_up, reference) if owner.key == reference.key else history

    def _calibrate(
        self, history: VerdictHistory, tallies: dict[Segment, Tally], reference: Reference
    ) -> dict[Segment, WarmUp]:
        """Return the warm-up of the segments after one more window."""
        segments = dict(history.segments)
        for part in reference.segments_by(self._spec.alarm.segment_keys):
            segment = part.key, part.value
            own = tallies.get(segment)
            if own is None or own.count < self._spec.min_events:
                continue
            before = segments.get(segment, WarmUp.empty(own.fields, reference.components))
            segments[segment] = before.add(own, reference, part)
        return segments

    def _comparison(self, window: Window, reference: Reference, history: VerdictHistory) -> _Comparison:
        warm_up = history.warm_up
        size_ms, measured = window.size_ms, None
        if warm_up is not None and window.end_ms > warm_up[1]:
            # The calibration is used only after the warm-up, so that all later windows share one.
            size_ms, measured = self._measured(window.size_ms, history, reference)
        windows = 0 if measured is None else measured.clean.windows.windows
        key = reference.key, window.size_ms, size_ms, windows
        if key not in self._comparisons:
            # Overdispersion holds for windows of one length, and is a lower bound for longer ones.
            is_own = reference.overdispersion_ms == window.size_ms
            segments = {
                (part.key, part.value): CalibratedOverdispersion(part.overdispersion, calibrated=is_own)
                for part in reference.segments
                if part.overdispersion is not None
            }
            calibrated = None
            if measured is not None:
                calibrated = self._calibrated(
                    reference, size_ms, measured, segments, is_own=size_ms == window.size_ms
                )
            self._comparisons[key] = calibrated or _Comparison(
                reference,
                WindowScorer(
                    self._spec, reference, reference.overdispersion, calibrated=is_own, segments=segments
                ),
            )
        return self._comparisons[key]

    def _measured(
        self, size_ms: int, history: VerdictHistory, reference: Reference
    ) -> tuple[int, VerdictHistory]:
        """Return the longest windows up to a size, ms, of which the warm-up has enough, and their history.

        The offset is the same for windows of any length, and a short warm-up has few long ones. Where it has
        too few of any length, or the baseline knows how windows of this length vary, these are the windows of
        the size itself.
        """
        if reference.overdispersion_ms == size_ms:
            return size_ms, history
        for each_ms in sorted(self._spec.sizes_ms, reverse=True):
            each = history if each_ms == size_ms else self._state.histories.get((each_ms, reference.key))
            if (
                each_ms <= size_ms
                and each is not None
                and each.warm_up == history.warm_up
                and len(each.clean.values) == len(history.clean.values)
                and each.clean.windows.windows >= MIN_WINDOWS
            ):
                return each_ms, each
        return size_ms, history

    def _calibrated(
        self,
        baseline: Reference,
        size_ms: int,
        history: VerdictHistory,
        segments: dict[Segment, CalibratedOverdispersion],
        *,
        is_own: bool,
    ) -> _Comparison | None:
        """Return the comparison with the windows of the warm-up; None where they are too few.

        The offset of these windows from the baseline is tested as one large window.

        Args:
            baseline: The baseline.
            size_ms: The length of the windows of the warm-up, ms.
            history: Their history.
            segments: The overdispersion of segments, to which those of the warm-up are added.
            is_own: Windows of this length are judged, not longer ones, of which theirs is a lower bound.
        """
        scheme = self._spec.scheme(baseline)
        whole = history.clean.offset(scheme.fields, baseline)
        if whole is None:
            return None
        offsets: dict[Segment | None, Offset] = {None: whole}
        for part in baseline.segments_by(self._spec.alarm.segment_keys):
            own = history.segments.get((part.key, part.value))
            offset = None if own is None else own.offset(scheme.of_segments.fields, baseline, part)
            if offset is not None:
                offsets[part.key, part.value] = offset
            elif part.overdispersion is None:
                segments[part.key, part.value] = CalibratedOverdispersion(
                    replace(whole.windows, baseline=whole.groups and whole.baseline), calibrated=False
                )
        known = {
            segment: CalibratedOverdispersion(offset.overdispersion, calibrated=True)
            for segment, offset in offsets.items()
            if segment is not None
        }
        scorer = WindowScorer(self._spec, baseline, whole.overdispersion, calibrated=True, segments=known)
        tallies = {segment: offset.tally for segment, offset in offsets.items()}
        misfits = scorer.misfits(tallies)
        # Drift of the warm-up that this test does not find is in the weighted mean, and hides from windows.
        hidden = scorer.least_misfit(tallies) if whole.share and None not in misfits else {}
        # Two means that differ have no common mean.
        offsets |= {segment: replace(offsets[segment], share=1.0) for segment in misfits}
        reference = recentre(baseline, offsets)
        segments |= {
            segment: CalibratedOverdispersion(offset.recentred, calibrated=is_own)
            for segment, offset in offsets.items()
            if segment is not None
        }
        overdispersion = offsets[None].recentred
        scorer = WindowScorer(
            self._spec, reference, overdispersion, calibrated=is_own, segments=segments, hidden=hidden
        )
        days = history.whole_days(baseline).offset(scheme.fields, baseline, least=_LEAST_DAYS)
        # What days have in common shows less in days of few events.
        are_half_full = 2 * size_ms * history.clean.windows.windows >= _LEAST_DAYS * DAY_MS
        if days is None or not is_own or not are_half_full:
            return _Comparison(reference, scorer, misfits)
        # Windows of the same days have more in common than their own variation shows.
        of_days = replace(days, share=offsets[None].share, baseline=whole.baseline).recentred
        varying = max(of_days, overdispersion, key=lambda each: float(np.trace(each.means)))
        together = WindowScorer(
            self._spec, reference, replace(varying, baseline=of_days.baseline), calibrated=True
        )
        return _Comparison(reference, scorer, misfits, together)

    def _segment_tallies(self, window: Window, reference: Reference) -> dict[Segment, Tally]:
        scheme = self._spec.scheme(reference).of_segments
        tallies = {}
        for segment in reference.segments_by(self._spec.alarm.segment_keys):
            key = segment.key, segment.value
            values = self._state.panes.tally(scheme.key, window, key)
            if values is not None:
                tallies[key] = Tally(values, scheme.fields)
        return tallies


def _is_warm_up(history: VerdictHistory, window: Window) -> bool:
    """Return whether a window is declared clean for the baseline of a history."""
    warm_up = history.warm_up
    return warm_up is not None and warm_up[0] <= window.start_ms and window.end_ms <= warm_up[1]
