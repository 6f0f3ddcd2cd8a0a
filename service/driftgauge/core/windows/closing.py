"""The window closer: publishes the due windows of one stream, and their revisions."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.calibrating import Siblings
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import PaneCounts
from driftgauge.core.windows.closing_round import ClosingRound, Missing
from driftgauge.core.windows.completeness import Completeness, find_doubts
from driftgauge.core.windows.pending_windows import AwaitingWindows, PendingWindows
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.round_load import history_bytes, window_bytes
from driftgauge.core.windows.source_progress import FOREVER_MS, NULL, SourceProgress
from driftgauge.core.windows.stream_judge import StreamJudge
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.work_budget import ASKING, WorkBudget, window_work

__all__ = ["WindowCloser"]

_MONTH_MS = 30 * 86_400_000


class WindowCloser:
    """Closes the windows of one stream by the state of its shard.

    A window is due when the watermark passes its end; or when every partition is idle and known to be read
    up to a time after its end; or, incomplete, when the foremost partition passed its end `incomplete_ms`
    ago in log time. Later events are still counted, and each round in which a window has changed gives one
    further revision. A window is final once the horizon passes its end.
    """

    def __init__(self, spec: StreamSpec, state: StreamState, siblings: Siblings) -> None:
        """Continue from a stream's state.

        Args:
            spec: The stream's configuration.
            state: Its state.
            siblings: Returns the calibrations of streams that share its entry.
        """
        self._spec = spec
        self._state = state
        self._judge = StreamJudge(spec, state, siblings)
        self._by_scheme = {spec.scheme(each.reference).key: each.reference for each in spec.baselines}
        references, keys = self._by_scheme.values(), spec.alarm.segment_keys
        self._work = max(window_work(each, keys) for each in references)
        self._bytes = max(
            window_bytes(each, len(each.segments_by(keys)), len(spec.numbers)) for each in references
        )
        self._history_bytes = max(history_bytes(each, len(each.segments_by(keys))) for each in references)
        # When each listed baseline is superseded for good, event time in ms; None: never.
        self._superseded_ms = {
            each.reference.key: following.from_ms if following else None
            for each, following in zip_longest(spec.baselines, spec.baselines[1:])
        }
        self._pending = PendingWindows()
        self._awaiting = AwaitingWindows()
        self._doubts: tuple[object, ...] = ((), ())
        self._purge_done_ms: int | None = None
        self._at_rest_until_ms = NULL

    def close(
        self, sources: SourceProgress, log_ms: int, budget: WorkBudget, *, has_source_ended: bool = False
    ) -> tuple[list[WindowResult], bool]:
        """Publish due windows that are new or changed, oldest end first, and purge those that are final.

        Args:
            sources: The progress of the source partitions.
            log_ms: The shard's log time.
            budget: The work left in this round; windows beyond it wait for the next round.
            has_source_ended: The source has ended: every window is due.

        Returns:
            The results, and whether due windows wait for the next round.
        """
        if not has_source_ended and self._can_skip(sources, log_ms):
            return [], False
        round_ = ClosingRound.begin(
            self._spec, self._state, sources, log_ms, has_source_ended=has_source_ended
        )
        self._add_windows_of(self._state.drain_dirty_panes())
        self._add_newly_doubted_windows()
        self._add(self._awaiting.find_changed(round_))
        results: list[WindowResult] = []
        sizes_ms: set[int] = set()
        # The history of a size is written with its first window.
        while budget.allows(self._work, self._bytes + self._history_bytes) and (
            window := self._pending.pop_due(round_.due_to_ms)
        ):
            missing = round_.missing_by(window.end_ms)
            if missing[0]:
                self._awaiting.add(window, missing)
            result = self._publish(window, missing, round_)
            if result is None:
                budget.spend(ASKING)
            else:
                results.append(result)
                is_first = window.size_ms not in sizes_ms
                sizes_ms.add(window.size_ms)
                budget.spend(self._work, self._bytes + is_first * self._history_bytes)
        waiting_from_ms = self._pending.least_start_ms(round_.due_to_ms)
        watermark_ms = FOREVER_MS if has_source_ended else self._state.status.watermark_ms
        self._advance_horizon(watermark_ms, waiting_from_ms)
        self._purge(budget)
        self._awaiting.end_round(round_)
        is_left = self._awaiting or waiting_from_ms is not None
        is_purged = self._purge_done_ms == self._state.status.final_ms
        # If nothing waits for time, nothing closes before the next window ends.
        is_at_rest = round_.is_at_rest and is_purged and not is_left
        self._at_rest_until_ms = self._pending.least_end_ms() if is_at_rest else NULL
        return results, waiting_from_ms is not None

    @property
    def has_published_all(self) -> bool:
        """Whether every window with events is published, and waits for no partition."""
        return not (self._pending or self._awaiting)

    def _can_skip(self, sources: SourceProgress, log_ms: int) -> bool:
        """Return whether a round would change nothing: most of many streams are at rest most of the time."""
        columns = sources.columns
        return (
            not self._state.has_changed
            and columns.latest_caught_up_ms < self._at_rest_until_ms
            and log_ms - columns.oldest_move_ms < min(self._spec.incomplete_ms, self._spec.give_up_ms)
        )

    def _advance_horizon(self, watermark_ms: int | None, waiting_from_ms: int | None) -> None:
        """Advance the horizon to the watermark less the allowed lateness, and drop past doubts.

        Args:
            watermark_ms: The watermark; no further event comes of a source that has ended.
            waiting_from_ms: The least start of the due windows that wait for the next round; they must not
                become final. None if no window waits.
        """
        spec, state, status = self._spec, self._state, self._state.status
        if watermark_ms is None:
            return
        horizon_ms = watermark_ms - spec.lateness_ms
        # Only whole panes can be purged, and a horizon that moves more rarely is written more rarely.
        horizon_ms -= horizon_ms % spec.pane_ms
        final_ms = horizon_ms if waiting_from_ms is None else min(horizon_ms, waiting_from_ms)
        if status.final_ms is not None and final_ms <= status.final_ms:
            return
        state.set_status(replace(status, final_ms=final_ms))
        purgeable_ms = state.purgeable_ms(spec.sizes_ms)
        losses = tuple(loss for loss in status.losses if loss.to_ms is None or loss.to_ms >= purgeable_ms)
        counted_twice = tuple(each for each in status.counted_twice if each[1] > purgeable_ms)
        state.set_status(replace(state.status, losses=losses, counted_twice=counted_twice))
        self._forget_histories(final_ms)

    def _purge(self, budget: WorkBudget) -> None:
        """Delete a portion of the final results and panes."""
        state, final_ms = self._state, self._state.status.final_ms
        if final_ms is None or final_ms == self._purge_done_ms:
            return
        state.purge_final_results(self._spec.sizes_ms, budget)
        purgeable_ms = state.purgeable_ms(self._spec.sizes_ms)
        # A former owner with larger sizes may have kept panes that are not needed here.
        state.miss_panes(purgeable_ms)
        if state.purge_panes(purgeable_ms, budget) and budget.deletions:
            self._purge_done_ms = final_ms

    def _forget_histories(self, final_ms: int) -> None:
        """Delete the histories of baselines that no window has been judged by for a month.

        A new baseline may be taken back, and one that is not listed may be that of replicas with a newer
        configuration.
        """
        for (size_ms, baseline), history in list(self._state.histories.items()):
            superseded_ms = self._superseded_ms.get(baseline, history.end_ms)
            if superseded_ms is not None and superseded_ms + _MONTH_MS <= final_ms:
                self._state.forget_judging(size_ms, baseline)

    def _add_windows_of(self, panes: Iterable[Window]) -> None:
        """Add the open windows that these panes may change to the pending ones."""
        for pane in panes:
            windows = {
                Window.around(time_ms, size_ms)
                for time_ms in (pane.start_ms, pane.end_ms - 1)
                for size_ms in self._spec.sizes_ms
            }
            if pane.size_ms > self._spec.pane_ms:
                # Of another scheme: no window is judged by such a pane, and any number may lie within it.
                windows |= {
                    window
                    for window in self._state.published
                    if window.size_ms in self._spec.sizes_ms
                    and window.start_ms < pane.end_ms
                    and pane.start_ms < window.end_ms
                }
            self._add(filter(self._state.is_open, windows))

    def _add_newly_doubted_windows(self) -> None:
        """Add the published windows whose loss or double count became known since their last revision."""
        status = self._state.status
        doubts = status.losses, status.counted_twice
        # A window that is published later has the doubts of its time.
        if doubts != self._doubts:
            self._doubts = doubts
            self._add(
                window
                for window, result in self._state.published.items()
                # Only a replica that still has a size revises its windows.
                if window.size_ms in self._spec.sizes_ms
                and self._state.is_open(window)
                and find_doubts(status, window, result) != (result.events_lost, result.counted_twice)
            )

    def _add(self, windows: Iterable[Window]) -> None:
        """Add windows to those that are asked once they are due."""
        for window in windows:
            self._awaiting.discard(window)
            self._pending.add(window)

    def _publish(self, window: Window, missing: Missing, round_: ClosingRound) -> WindowResult | None:
        """Publish a due window if it is new or has changed."""
        reference, is_counted_otherwise = self._reference(window)
        if reference is None:
            return None
        scheme = self._spec.scheme(reference)
        counts = self._state.panes.counts(scheme.key, window)
        before = self._state.published.get(window)
        if counts is None:
            # All its events were counted under schemes that this configuration does not know.
            if before is not None and not self._is_counted_further(before):
                return None
            counts = PaneCounts(np.zeros(scheme.length, np.int64))
        tally = Tally(counts.values, scheme.fields)
        is_purged = window.start_ms < self._state.purged_ms
        completeness = Completeness.assess(
            find_doubts(self._state.status, window, before),
            awaited=missing[0],
            given_up=missing[1],
            is_counted_otherwise=is_counted_otherwise,
            is_purged=is_purged,
        )
        if (
            before is not None
            and before.baseline_id == reference.baseline_id
            and before.count == tally.count
            and completeness.is_unchanged_since(before)
        ):
            return None
        result = self._judge.judge(window, tally, reference, completeness, round_.log_ms, counts.numbers)
        had_alarm = self._state.has_alarm(window.size_ms)
        self._state.publish(result)
        self._add_to_totals(result, had_alarm=had_alarm)
        return result

    def _is_counted_further(self, before: WindowResult) -> bool:
        """Return whether schemes that this configuration does not know counted other events than a result."""
        panes = self._state.panes
        scheme, *others = panes.schemes(before.window)
        found = panes.counts(scheme, before.window)
        # Every tally begins with the number of events of each cluster of its scheme's baseline; of another
        # baseline than the result's the number of clusters is not known.
        is_own = scheme.rpartition("-")[0] in before.baseline_id
        return (
            bool(others)
            or found is None
            or not is_own
            or found.values[: len(before.counts)].sum() != before.count
        )

    def _reference(self, window: Window) -> tuple[Reference | None, bool]:
        """Return the baseline to compare a window with, and whether another scheme counted it as well.

        The baseline is the one in force, unless the whole window was counted under another configured one. It
        is None if nothing of the window was counted.
        """
        in_force = self._spec.baseline_at(window.start_ms)
        expected = self._spec.scheme(in_force).key
        schemes = self._state.panes.schemes(window)
        if expected in schemes:
            return in_force, len(schemes) > 1
        known = sorted(schemes & self._by_scheme.keys())
        if known:
            return self._by_scheme[known[0]], True
        return (in_force if schemes else None), True

    def _add_to_totals(self, result: WindowResult, *, had_alarm: bool) -> None:
        """Add a published window to the stream's totals.

        Args:
            result: Its result.
            had_alarm: Whether its window size had an alarm before.
        """
        status, size_ms = self._state.status, result.window.size_ms
        closed, drifts_passed = dict(status.closed), dict(status.drifts_passed)
        is_new = result.verdict is not result.superseded
        if is_new:
            closed[size_ms, result.verdict] = closed.get((size_ms, result.verdict), 0) + 1
        says_drift = is_new and result.verdict is Verdict.DRIFT
        if (had_alarm or says_drift) and not self._state.has_alarm(size_ms):
            drifts_passed[size_ms] = drifts_passed.get(size_ms, 0) + 1
        self._state.set_status(replace(status, closed=closed, drifts_passed=drifts_passed))
