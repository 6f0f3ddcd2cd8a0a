"""Closes the windows of one stream: which are due, which have changed, which are final."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.tally import Tally
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.changelog import StreamStatus
from driftgauge.core.windows.event_time import Overdue, PartitionTimes, advance_event_time
from driftgauge.core.windows.judging import Completeness, WindowJudge
from driftgauge.core.windows.result import Verdict, WindowResult
from driftgauge.core.windows.sources import NULL, SourceProgress
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.window import Window

__all__ = ["WindowCloser", "WorkBudget"]

# After a standstill thousands may be due at once; the oldest come first, and the rest next round, for nothing
# else is done meanwhile. A comparison, of a window or of a segment of it, takes as long as its clusters, of
# some 15 us each, and 50 more would: 500 with 20 clusters are some 0.6 s, and so are 34 with 1,000.
# With two or three clusters it may take as long as with 300.
_MAX_WORK = 35_000
_WORK_BESIDES_CLUSTERS = 50
_FEW_CLUSTERS, _AS_LONG_AS = 3, 300
# Panes to be forgotten are in no hurry, and the end of a day may bring many thousands of them at once.
_MAX_FORGOTTEN = 2_000

_NEVER_MS = 2**63 - 1

_MISSING = "partitions_missing"
_OTHERWISE = "counted_otherwise"
_TWICE = "counted_twice"


class WorkBudget:
    """What may still be done in a round of all shards and streams, so that it ends in good time."""

    def __init__(self) -> None:
        self._left = self._whole = _MAX_WORK

    def allows(self, work: int) -> bool:
        """Tell whether so much may be done yet; whatever is first in a round may."""
        return self._left >= work or self._left == self._whole

    def spend(self, work: int) -> None:
        """Take note that it was done."""
        self._left -= work


@dataclass(frozen=True, slots=True)
class _ClosingRound:
    """The stream's condition in one round, after its event time has moved on; times in ms."""

    log_ms: int
    standing: PartitionTimes
    given_up: NDArray[np.bool_]
    watermark_ms: int
    silent_to_ms: int
    overdue: Overdue
    everything: bool

    def missing(self, time_ms: int) -> tuple[Partition, ...]:
        """Return the partitions that an event time is waited for on.

        An idle one is among them where it is not known to be read up to when the foremost one was there.
        """
        standing = self.standing
        is_idle = standing.is_idle & (standing.caught_up_ms >= self.overdue.log_ms)
        return standing.named((standing.reached_ms < time_ms) & ~(standing.is_free | is_idle | self.given_up))

    def without(self, time_ms: int) -> tuple[Partition, ...]:
        """Return the partitions that were given up and had not reached an event time."""
        standing = self.standing
        return standing.named((standing.reached_ms < time_ms) & ~standing.is_free & self.given_up)


class WindowCloser:
    """Closes the windows of one stream by the state of its shard.

    A window is due when the watermark passes its end; or when every partition is idle and known to be read
    up to a time after its end; or, incomplete, when the foremost partition passed its end `incomplete_ms`
    ago in log time. Events that come later are still counted, and each round that finds the window changed
    gives one further revision. Once the purge horizon passes its end the window is final.
    """

    def __init__(self, spec: StreamSpec, state: StreamState) -> None:
        """Go on from what the state holds."""
        self._spec = spec
        self._state = state
        self._judge = WindowJudge(spec, state)
        self._by_scheme = {spec.scheme(each.reference).key: each.reference for each in spec.baselines}
        self._work = max(map(self._work_of, self._by_scheme.values()))
        self._pending: set[Window] = set()
        self._settled_ms = NULL
        self._rests_to_ms = NULL

    def close(
        self, sources: SourceProgress, log_ms: int, budget: WorkBudget, *, everything: bool = False
    ) -> tuple[list[WindowResult], bool]:
        """Publish what is due and new or changed, oldest end first; make final what can no longer change.

        Args:
            sources: How far the source partitions have been read.
            log_ms: The shard's log time.
            budget: What may still be done; what is left over waits for the next round.
            everything: Every window is due, for the source has ended.

        Returns:
            The windows, and whether others wait for the next round.
        """
        if not everything and self._rests(sources, log_ms):
            return [], False
        round_ = self._begin(sources, log_ms, everything=everything)
        self._look_again_at(self._state.take_touched())
        self._look_again_at_marked()
        results: list[WindowResult] = []
        blocked: list[Window] = []
        for window in sorted(self._pending, key=lambda window: (window.end_ms, window.size_ms)):
            missing = self._missing(window, round_)
            if missing is None:
                continue
            if not budget.allows(self._work):
                blocked.append(window)
                continue
            if not missing:
                # Otherwise it waits for those, whatever comes of it now.
                self._pending.discard(window)
            result = self._publish(window, missing, round_)
            if result is not None:
                results.append(result)
                budget.spend(self._work)
        self._finish(round_, blocked)
        self._rests_to_ms = self._find_rest(round_)
        return results, bool(blocked)

    def _rests(self, sources: SourceProgress, log_ms: int) -> bool:
        """Tell whether a round would change nothing: most of many streams are silent most of the time."""
        spec, columns = self._spec, sources.columns
        return (
            not self._state.has_news
            and columns.latest_ms < self._rests_to_ms
            and log_ms - columns.stillest_ms < min(spec.incomplete_ms, spec.give_up_ms)
        )

    def _find_rest(self, round_: _ClosingRound) -> int:
        """Return up to when silence closes nothing of a stream whose event time cannot move; else NULL."""
        status, foremost_ms = self._state.status, round_.standing.foremost_ms
        if (
            foremost_ms is None
            or status.watermark_ms != foremost_ms
            or [reached_ms for reached_ms, _ in status.foremost] != [foremost_ms]
            or status.frontier
            or status.given_up
            or status.losses
            or status.counted_twice
            or self._settled_ms != self._settled_at(status.final_ms or 0)
        ):
            return NULL
        next_ms = min((window.end_ms for window in self._pending), default=_NEVER_MS)
        # What is due already was left to the next round.
        return next_ms if next_ms > foremost_ms else NULL

    def _work_of(self, reference: Reference) -> int:
        segments = reference.segments_by(self._spec.alarm.segment_keys)
        clusters = len(reference.counts)
        clusters = _AS_LONG_AS if clusters <= _FEW_CLUSTERS else clusters
        return (1 + len(segments)) * (_WORK_BESIDES_CLUSTERS + clusters)

    def _begin(self, sources: SourceProgress, log_ms: int, *, everything: bool) -> _ClosingRound:
        """Move the stream's event time on."""
        state, spec = self._state, self._spec
        standing = PartitionTimes.of(spec, sources, state.times)
        status = advance_event_time(state.status, standing, spec, log_ms)
        given_up = standing.is_among(status.given_up)
        state.set_status(self._end_losses(status, standing))
        silent_to_ms = standing.silent_to_ms(given_up)
        return _ClosingRound(
            log_ms=log_ms,
            standing=standing,
            given_up=given_up,
            watermark_ms=NULL if status.watermark_ms is None else status.watermark_ms,
            silent_to_ms=NULL if silent_to_ms is None else silent_to_ms,
            overdue=Overdue.of(status, spec, log_ms),
            everything=everything,
        )

    def _end_losses(self, status: StreamStatus, standing: PartitionTimes) -> StreamStatus:
        """End what was lost on partitions that are idle, or removed: nothing of it is of the future."""
        if all(loss.to_ms is not None for loss in status.losses):
            return status
        known = dict(zip(standing.partitions, range(len(standing.partitions)), strict=True))
        losses = []
        for loss in status.losses:
            row = known.get(loss.partition)
            if loss.to_ms is None and (row is None or standing.is_idle[row]):
                newest_ms = 0 if standing.foremost_ms is None else standing.foremost_ms
                caught_up_ms = 0 if row is None else int(standing.caught_up_ms[row])
                to_ms = max(caught_up_ms, newest_ms + 2 * self._spec.disorder_ms)
                losses.append(replace(loss, to_ms=to_ms))
            else:
                losses.append(loss)
        return replace(status, losses=tuple(losses))

    def _look_again_at(self, panes: Iterable[Window]) -> None:
        """Look again at the windows that these panes are part of, or reach into."""
        for pane in panes:
            for size_ms in self._spec.sizes_ms:
                first_ms = pane.start_ms - pane.start_ms % size_ms
                windows = (Window(size_ms, start_ms) for start_ms in range(first_ms, pane.end_ms, size_ms))
                self._pending.update(filter(self._is_open, windows))

    def _look_again_at_marked(self) -> None:
        """Look again at what was published before it was known that its counts are in doubt."""
        status = self._state.status
        if status.losses or status.counted_twice:
            self._pending |= {
                window
                for window, result in self._state.published.items()
                if self._is_open(window)
                and self._doubts(window, result) != (result.events_lost, result.counted_twice)
            }

    def _doubts(self, window: Window, before: WindowResult | None) -> tuple[bool, bool]:
        """Tell whether events of a window may be lost, and whether some may have been counted twice."""
        status = self._state.status
        lost = any(loss.touches(window) for loss in status.losses)
        twice = any(start < window.end_ms and window.start_ms < end for start, end in status.counted_twice)
        if before is not None:
            lost, twice = lost or before.events_lost, twice or before.counted_twice
        return lost, twice

    def _is_open(self, window: Window) -> bool:
        final_ms = self._state.status.final_ms
        return final_ms is None or window.end_ms > final_ms

    def _missing(self, window: Window, round_: _ClosingRound) -> tuple[Partition, ...] | None:
        """Return the partitions that a window still waits for; None where it is not due."""
        if round_.everything or window.end_ms <= max(round_.watermark_ms, round_.silent_to_ms):
            return ()
        if window.end_ms > round_.overdue.to_ms:
            return None
        return round_.missing(window.end_ms)

    def _publish(
        self, window: Window, missing: tuple[Partition, ...], round_: _ClosingRound
    ) -> WindowResult | None:
        """Publish a due window if it is new or has changed."""
        reference, is_otherwise = self._reference(window)
        if reference is None:
            return None
        values = self._state.tally(self._spec.scheme(reference).key, window)
        if values is None:
            return None
        tally = Tally(values, len(reference.counts))
        before = self._state.published.get(window)
        lost, twice = self._doubts(window, before)
        reasons = ((bool(missing), _MISSING), (is_otherwise, _OTHERWISE), (twice, _TWICE))
        given_up = () if round_.everything else round_.without(window.end_ms)
        circumstances = Completeness(
            missing=tuple(sorted((*missing, *given_up))),
            incomplete_reason=next((reason for holds, reason in reasons if holds), None),
            events_lost=lost,
            counted_twice=twice,
        )
        if (
            before is not None
            and before.baseline_id == reference.baseline_id
            and before.count == tally.count
            and self._says_the_same(before, circumstances)
        ):
            return None
        result = self._judge.judge(window, tally, reference, circumstances, round_.log_ms)
        self._state.publish(result)
        self._count(result)
        return result

    @staticmethod
    def _says_the_same(before: WindowResult, now: Completeness) -> bool:
        """Tell whether a window was published under the same circumstances, or better ones.

        A partition that is given up after a window was complete says nothing of that window.
        """
        known = Completeness.of(before)
        if known.incomplete_reason is None and now.incomplete_reason is None:
            known = replace(known, missing=now.missing)
        return known == now

    def _reference(self, window: Window) -> tuple[Reference | None, bool]:
        """Return what a window is compared with, and whether it was counted under another scheme as well.

        That is the baseline in force, unless all of it was counted under another that is configured.
        """
        in_force = self._spec.baseline_at(window.start_ms)
        expected = self._spec.scheme(in_force).key
        schemes = self._state.schemes(window)
        if expected in schemes:
            return in_force, len(schemes) > 1
        known = sorted(schemes & self._by_scheme.keys())
        return (self._by_scheme[known[0]] if known else None), True

    def _count(self, result: WindowResult) -> None:
        """Add a published window to the stream's totals."""
        state, status, size_ms = self._state, self._state.status, result.window.size_ms
        closed, revised, alarms = dict(status.closed), dict(status.revised), status.alarms
        if result.verdict is not result.superseded:
            closed[size_ms, result.verdict] = closed.get((size_ms, result.verdict), 0) + 1
        if result.revision:
            revised[size_ms] = revised.get(size_ms, 0) + 1
        is_newest = state.newest[size_ms] is result
        if is_newest and result.verdict is Verdict.DRIFT:
            alarms |= {size_ms}
        elif is_newest and result.verdict in {Verdict.OK, Verdict.WARNING}:
            alarms -= {size_ms}
        state.set_status(replace(status, closed=closed, revised=revised, alarms=alarms))

    def _finish(self, round_: _ClosingRound, blocked: list[Window]) -> None:
        """Make final what is past the purge horizon; keep the newest window of each size."""
        state, spec, status = self._state, self._spec, self._state.status
        if status.watermark_ms is not None:
            # Only whole panes can be purged, and a horizon that moves more rarely is written more rarely.
            horizon_ms = round_.watermark_ms - spec.lateness_ms
            horizon_ms -= horizon_ms % spec.pane_ms
            final_ms = min([horizon_ms, *(window.start_ms for window in blocked)])
            if status.final_ms is None or final_ms > status.final_ms:
                self._make_final(final_ms)
        if state.status.final_ms is None:
            return
        settled_ms = self._settled_at(state.status.final_ms)
        if settled_ms > self._settled_ms and state.forget_panes(settled_ms, _MAX_FORGOTTEN):
            self._settled_ms = settled_ms

    def _settled_at(self, final_ms: int) -> int:
        """Return the event time before which no window of any size is open, given the purge horizon."""
        return min(final_ms - final_ms % size_ms for size_ms in self._spec.sizes_ms)

    def _make_final(self, final_ms: int) -> None:
        state, status = self._state, self._state.status
        settled_ms = self._settled_at(final_ms)
        state.set_status(
            replace(
                status,
                final_ms=final_ms,
                losses=tuple(
                    loss for loss in status.losses if loss.to_ms is None or loss.to_ms >= settled_ms
                ),
                counted_twice=tuple(each for each in status.counted_twice if each[1] > settled_ms),
            )
        )
        self._pending = {window for window in self._pending if window.end_ms > final_ms}
        newest = {state.newest[size_ms].window for size_ms in self._spec.sizes_ms if size_ms in state.newest}
        state.forget_published(
            [window for window in state.published if window.end_ms <= final_ms and window not in newest]
        )
