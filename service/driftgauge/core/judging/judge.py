"""The window judge: chooses the calibration of a window, scores it, decides, and remembers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.calibrating import Calibrator, Remembered, Siblings
from driftgauge.core.judging.calibration import (
    Calibration,
    CalibrationSummary,
    Measuring,
    Source,
)
from driftgauge.core.judging.scoring import Score, SegmentResult, WindowScorer
from driftgauge.core.judging.verdict import (
    Signs,
    SlowDrift,
    Verdict,
    VerdictHistory,
    VerdictMemory,
    decide,
    update_memory,
)
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.core.window import Window

__all__ = ["Judgement", "WindowJudge"]


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """The judgement of a window.

    Attributes:
        score: The comparison with the baseline; None if there were too few events.
        verdict: The verdict.
        segments: The results of its segments.
        memory: The memory that the window is judged with once it was complete and scored; None before.
        slow_drift: The slow drift after this window; None while the window is incomplete or not scored.
        slow_drift_limit: The limit at which its statistic warns.
        reference: What the window was compared with.
        calibration: What it was judged by.
        measuring: The measurement that a provisional verdict waits for; None if it waits for none.
    """

    score: Score | None
    verdict: Verdict
    segments: tuple[SegmentResult, ...]
    memory: VerdictMemory | None
    slow_drift: SlowDrift | None
    slow_drift_limit: float
    reference: Reference
    calibration: CalibrationSummary
    measuring: Measuring | None


class WindowJudge:
    """Judges the windows of one stream by what is remembered of the windows before."""

    def __init__(self, spec: StreamSpec, known: Remembered, siblings: Siblings) -> None:
        """Read from and keep in what is remembered of the stream."""
        self._spec = spec
        self._known = known
        self._calibrator = Calibrator(spec, known, siblings)
        self._scorers: dict[tuple[int, str], WindowScorer] = {}

    def judge(
        self,
        window: Window,
        tally: Tally,
        segments: Mapping[Segment, Tally],
        reference: Reference,
        memory: VerdictMemory | None,
        *,
        is_incomplete: bool,
    ) -> Judgement:
        """Judge a window, and remember it if it is next in order.

        Args:
            window: The window.
            tally: Its tally.
            segments: The tallies of its segments; one without events may be missing.
            reference: The baseline to compare with.
            memory: The memory that an earlier revision was judged with against this baseline; None: none was.
            is_incomplete: Whether events may be missing from it, or be counted twice.
        """
        is_new = memory is None and not is_incomplete and tally.count >= self._spec.min_events
        end_ms = self._history(window, reference).end_ms
        is_next = is_new and window.end_ms > end_ms
        if is_new:
            memory = self._recall(window, reference, is_next=is_next)
        scorer = self._scorer(window, reference, lent_from_ms=end_ms if is_next else None)
        score = scorer.score(tally)
        results, counts = scorer.judge_segments(
            segments, None if is_incomplete else {} if memory is None else memory.segments
        )
        verdict, slow_drift = Verdict.INCOMPLETE if is_incomplete else Verdict.INSUFFICIENT, None
        if score is not None and memory is not None and not is_incomplete:
            signs, limit = scorer.read_signs(score, tally), scorer.slow_drift_limit
            evidence = memory.add_evidence(score.evidence, is_significant=score.kind is not None)
            score = score.in_run(evidence)
            after = update_memory(
                memory, window, tally, signs, slow_drift_limit=limit, segments=counts, evidence=evidence
            )
            slow_drift = after.slow_drift
            verdict = self._decide(window, reference, scorer, signs, memory, slow_drift)
            is_misfit = scorer.calibration.whole.is_misfit and verdict is not Verdict.DRIFT
            if is_misfit or verdict is Verdict.MISFIT:
                results = _say_misfit(results, scorer.calibration)
            if is_next:
                self._remember(window, reference, after)
                self._calibrator.learn(
                    window, tally, segments, reference, scorer, signs, has_fitted=after.has_fitted
                )
        return Judgement(
            score,
            verdict,
            results,
            memory,
            slow_drift,
            scorer.slow_drift_limit,
            scorer.reference,
            scorer.summary,
            self._measuring(window, reference, scorer),
        )

    def _recall(self, window: Window, reference: Reference, *, is_next: bool) -> VerdictMemory:
        """Return the memory for the first complete revision of a window, which may end a measurement.

        A window after a later one is judged without memory, and so is a window of the warm-up.
        """
        history = self._history(window, reference)
        if not is_next:
            return VerdictMemory(has_fitted=history.memory.has_fitted)
        found = self._calibrator.end(window, reference, history.end_ms)
        if found is not None:
            # What the windows before add up to, they do not by this calibration; and if it is a misfit, they
            # were compared with a baseline that does not fit.
            memory = VerdictMemory() if found.whole.is_misfit else history.memory
            memory = replace(memory, slow_drift=SlowDrift(), evidence={})
            self._known.remember(window.size_ms, reference.key, VerdictHistory(history.end_ms, memory))
        if self._calibrator.is_declared(window, reference):
            return VerdictMemory()
        return self._history(window, reference).memory_for(window)

    def _scorer(self, window: Window, reference: Reference, *, lent_from_ms: int | None) -> WindowScorer:
        """Return the scorer of a window under the calibration that holds for it."""
        calibration = self._calibrator.choose(window, reference, lent_from_ms=lent_from_ms)
        key = window.size_ms, reference.key
        scorer = self._scorers.get(key)
        if scorer is None or scorer.calibration is not calibration:
            scorer = WindowScorer(self._spec, reference, calibration, window.size_ms)
            self._scorers[key] = scorer
        return scorer

    def _decide(
        self,
        window: Window,
        reference: Reference,
        scorer: WindowScorer,
        signs: Signs,
        memory: VerdictMemory,
        slow_drift: SlowDrift,
    ) -> Verdict:
        """Return the verdict of a complete window that was scored."""
        calibration = scorer.calibration
        # A single window that is declared clean pages nobody.
        decides = signs.decides and not self._calibrator.is_declared(window, reference)
        verdict = decide(
            memory.recent,
            counts=signs.counts,
            warns=signs.warns or slow_drift.statistic >= scorer.slow_drift_limit,
            decides=decides or scorer.is_lasting(slow_drift, window.start_ms),
            is_misfit=calibration.whole.is_misfit,
        )
        # Before a stream is measured, drift from its first window on is that of another baseline.
        is_measured = calibration.source not in {Source.NONE, Source.BORROWED}
        is_misfit = verdict is Verdict.DRIFT and not (is_measured or memory.has_fitted)
        return Verdict.MISFIT if is_misfit else verdict

    def _remember(self, window: Window, reference: Reference, after: VerdictMemory) -> None:
        """Add a window that is next in order to the history."""
        is_declared = self._calibrator.is_declared(window, reference)
        history = VerdictHistory(window.end_ms, VerdictMemory(has_fitted=True) if is_declared else after)
        self._known.remember(window.size_ms, reference.key, history)

    def _history(self, window: Window, reference: Reference) -> VerdictHistory:
        history = self._known.histories.get((window.size_ms, reference.key), VerdictHistory())
        length = registry.tally_length(reference)
        # A new statistic makes longer tallies, which cannot be added to those before.
        if all(len(values) == length for _, values in history.memory.slow_drift.blocks):
            return history
        return VerdictHistory(history.end_ms, replace(history.memory, slow_drift=SlowDrift()))

    def _measuring(self, window: Window, reference: Reference, scorer: WindowScorer) -> Measuring | None:
        if not scorer.calibration.is_provisional:
            return None
        measurement = self._calibrator.measurement(window.size_ms, reference)
        return None if measurement is None else measurement.summarize(window)


def _say_misfit(results: tuple[SegmentResult, ...], calibration: Calibration) -> tuple[SegmentResult, ...]:
    """Return the results of segments of a stream that does not fit: these fit no better.

    Only a warm-up shows where a segment lies.
    """
    known = {segment for segment, found in calibration.segments.items() if found.values is not None}
    return tuple(
        replace(each, verdict=Verdict.MISFIT)
        if each.verdict is Verdict.DRIFT and each.segment not in known
        else each
        for each in results
    )
