"""A stream's windows to results: score, segments, examples, verdict; and the history that they enter."""

from driftgauge.core.dependence import CleanWindows, Dependence, Known
from driftgauge.core.judge import Judge
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.result import Recall, Verdict, WindowResult
from driftgauge.core.spec import StreamSpec
from driftgauge.core.table import Table
from driftgauge.core.counting.tally import Tally
from driftgauge.core.verdict import History, decide, enter
from driftgauge.core.windows.window import Window

__all__ = ["Scoring"]


class Scoring:
    """Judges the windows of one stream in the light of those before; held by the owner of its home."""

    def __init__(self, spec: StreamSpec, table: Table) -> None:
        """Go on from what the table holds."""
        self._spec = spec
        self._table = table
        self._judges: dict[tuple[str, int, int], Judge] = {}
        self.histories = table.histories(spec.name)
        """What the windows of each size, ms, have left behind."""

    def judge(
        self,
        window: Window,
        tally: Tally,
        reference: Reference,
        before: WindowResult | None,
        *,
        missing: tuple[Partition, ...],
        events_lost: bool,
        now_ms: int,
    ) -> WindowResult:
        """Return the next result of a window, and let it enter the history if it is its turn.

        Args:
            window: Which window.
            tally: What was counted of it.
            reference: What it is compared with.
            before: Its result so far, if there is one.
            missing: The partitions that it lacks.
            events_lost: Whether events of it may have been lost.
            now_ms: Wall time.
        """
        history = self._history(window, reference)
        judge = self._judge(window, reference, history)
        score = judge.score(tally)
        entered = before.recall if before and before.baseline_id == reference.baseline_id else None
        is_next = entered is None and window.end_ms > history.end_ms
        recall = entered
        if recall is None and score is not None and not missing:
            # One that comes after a later one is judged by itself, and so is one that is declared clean.
            alone = not is_next or self._is_warm_up(window)
            recall = Recall() if alone else history.recall_at(window)
        tallies = self._segment_tallies(window, reference)
        segments, found = judge.judge_segments(
            tallies,
            None if missing else ({} if recall is None else recall.segments),
        )
        slow, after = None, None
        verdict = Verdict.INCOMPLETE if missing else Verdict.INSUFFICIENT
        if score is not None and recall is not None and not missing:
            is_found = judge.is_found(score)
            after = enter(
                recall,
                is_found=is_found,
                p_value=score.p_value,
                slow_limit=judge.slow_limit,
                segments=found,
            )
            slow = after.slow
            verdict = decide(
                recall.recent,
                is_found=is_found,
                has_power=judge.has_power(tally.count),
                is_slow=slow >= judge.slow_limit,
            )
        if after is not None and is_next:
            self.histories[window.size_ms] = (
                history.learn(window, *self._learn(history, tally, tallies, reference))
                if self._is_warm_up(window)
                else history.remember(window, after)
            )
        movers = () if score is None else score.movers
        named = self._table.named(self._spec.name, reference.key, window) if movers else {}
        return WindowResult(
            stream=self._spec.name,
            window=window,
            revision=0 if before is None else before.revision + 1,
            counts=tally.counts,
            baseline_counts=reference.counts,
            baseline_id=reference.baseline_id,
            missing=missing,
            events_lost=events_lost,
            published_ms=now_ms,
            score=score,
            verdict=verdict,
            superseded=None if before is None else before.verdict,
            slow=slow,
            slow_limit=judge.slow_limit,
            segments=segments,
            examples={cluster: named[cluster] for cluster in movers if cluster in named},
            recall=recall,
        )

    def _history(self, window: Window, reference: Reference) -> History:
        history = self.histories.get(window.size_ms)
        if history is None or history.baseline_id != reference.baseline_id:
            end_ms = 0 if history is None else history.end_ms
            history = History.begin(reference.baseline_id, reference.components, end_ms)
        return history.warmed_by(self._spec.alarm.warm_up)

    def _learn(
        self, history: History, tally: Tally, tallies: dict[Segment, Tally], reference: Reference
    ) -> tuple[CleanWindows, dict[Segment, CleanWindows]]:
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
            clean = segments.get(segment, CleanWindows.empty(reference.components))
            shift = part.standardized(reference.projection.shift(own.sums, own.count))
            segments[segment] = clean.add(own.counts, part.counts, shift, int(part.counts.sum()))
        return whole, segments

    def _judge(self, window: Window, reference: Reference, history: History) -> Judge:
        warm_up = self._spec.alarm.warm_up
        # Only once it is over, so that it is one and the same for all windows after it.
        is_over = warm_up is not None and window.end_ms > warm_up[1]
        place = reference.key, window.size_ms, history.clean.windows if is_over else 0
        if place not in self._judges:
            learned: Dependence | None = history.clean.dependence() if is_over else None
            # How related events are shows in windows of one length; of longer ones it is the least.
            is_own = reference.dependence_ms == window.size_ms
            segments = {
                (part.key, part.value): Known(part.dependence, calibrated=is_own)
                for part in reference.segments
                if part.dependence is not None
            }
            if is_over:
                found = {segment: clean.dependence() for segment, clean in history.segments.items()}
                segments |= {
                    segment: Known(own, calibrated=True) for segment, own in found.items() if own is not None
                }
            self._judges[place] = Judge(
                self._spec,
                reference,
                learned or reference.dependence,
                calibrated=learned is not None or is_own,
                segments=segments,
            )
        return self._judges[place]

    def _is_warm_up(self, window: Window) -> bool:
        warm_up = self._spec.alarm.warm_up
        return warm_up is not None and warm_up[0] <= window.start_ms and window.end_ms <= warm_up[1]

    def _segment_tallies(self, window: Window, reference: Reference) -> dict[Segment, Tally]:
        tallies = {}
        for segment in reference.segments_by(self._spec.alarm.segment_keys):
            place = segment.key, segment.value
            values = self._table.tally(self._spec.name, reference.key, window, place)
            if values is not None:
                tallies[place] = Tally(values, len(reference.counts))
        return tallies
