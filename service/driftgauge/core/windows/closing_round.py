"""One closing round of a stream: its event time, and the partitions that each window waits for."""

from bisect import bisect_left
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.changelog import StreamStatus
from driftgauge.core.windows.event_time import PartitionTimes, advance_event_time, is_at_rest
from driftgauge.core.windows.source_progress import FOREVER_MS, NULL, SourceProgress
from driftgauge.core.windows.stream_state import StreamState

__all__ = ["ClosingRound", "Missing"]

Missing = tuple[tuple[Partition, ...], tuple[Partition, ...]]
"""The partitions that a window still waits for, and those that were given up before they reached its end."""


@dataclass(frozen=True, slots=True)
class ClosingRound:
    """The event time of a stream in one round, after it has advanced; times in ms.

    Attributes:
        log_ms: The shard's log time.
        times: The times of the n source partitions.
        given_up: (n,) bool, the partition is given up.
        complete_to_ms: The event time up to which no window waits for a partition any more: the watermark, or
            the time up to which every awaited partition is read and idle; `FOREVER_MS` once the source ends.
        overdue_ms: The event time before which windows are closed incomplete: the foremost partition had
            reached it `incomplete_ms` ago; NULL before there is one.
        overdue_log_ms: The log time at which it had.
        is_at_rest: Only further events, or partitions that do not advance, move the event time.
    """

    log_ms: int
    times: PartitionTimes
    given_up: NDArray[np.bool_]
    complete_to_ms: int
    overdue_ms: int
    overdue_log_ms: int
    is_at_rest: bool
    _found: dict[int, Missing] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        spec: StreamSpec,
        state: StreamState,
        sources: SourceProgress,
        log_ms: int,
        *,
        has_source_ended: bool,
    ) -> "ClosingRound":
        """Advance the event time of a stream to a log time, and return the round."""
        times = PartitionTimes.of(spec, sources, state.times)
        status = advance_event_time(state.status, times, spec, log_ms)
        given_up = times.mask_of(status.given_up)
        state.set_status(_end_losses(status, times, spec.disorder_ms, log_ms))
        overdue_ms, overdue_log_ms = status.foremost[0] if status.foremost else (NULL, log_ms)
        watermark_ms = NULL if status.watermark_ms is None else status.watermark_ms
        all_idle_to_ms = times.all_idle_to_ms(given_up, watermark_ms)
        return cls(
            log_ms=log_ms,
            times=times,
            given_up=given_up,
            complete_to_ms=FOREVER_MS if has_source_ended else max(watermark_ms, all_idle_to_ms),
            overdue_ms=overdue_ms if log_ms - overdue_log_ms >= spec.incomplete_ms else NULL,
            overdue_log_ms=overdue_log_ms,
            is_at_rest=is_at_rest(state.status, times),
        )

    @property
    def due_to_ms(self) -> int:
        """The event time up to which windows are due."""
        return max(self.complete_to_ms, self.overdue_ms)

    def missing_by(self, end_ms: int) -> Missing:
        """Return the partitions that are missing for a due window with this end."""
        if self.complete_to_ms == FOREVER_MS:
            return (), ()
        # The answer changes only at the times that partitions have reached.
        step = bisect_left(self.times.steps_ms, end_ms)
        if step not in self._found:
            is_behind = (self.times.reached_ms < end_ms) & ~self.times.is_exempt
            # An idle partition is awaited too, until it is read up to when the foremost one passed the end.
            is_idle = self.times.is_idle & (self.times.caught_up_ms >= self.overdue_log_ms)
            self._found[step] = (
                self.times.select(is_behind & ~(is_idle | self.given_up)),
                self.times.select(is_behind & self.given_up),
            )
        awaited, given_up = self._found[step]
        return () if end_ms <= self.complete_to_ms else awaited, given_up

    def outlook(self, first_ms: int, last_ms: int) -> tuple[object, ...]:
        """Return what `missing_by` depends on for windows whose ends lie in an interval.

        Windows need not be asked again while it stays the same.
        """
        reached_ms = self.times.reached_ms
        between = np.flatnonzero((reached_ms >= first_ms) & (reached_ms < last_ms))
        complete_to_ms = max(min(self.complete_to_ms, last_ms), first_ms - 1)
        behind = self.missing_by(first_ms), self.missing_by(last_ms)
        return complete_to_ms, between.tobytes(), reached_ms[between].tobytes(), behind


def _end_losses(status: StreamStatus, times: PartitionTimes, disorder_ms: int, log_ms: int) -> StreamStatus:
    """End the data losses of partitions that are idle or removed: no later event can be among the lost.

    The partition may have been caught up before the lost events happened, so the shard's log time ends them.
    """
    if all(loss.to_ms is not None for loss in status.losses):
        return status
    rows = dict(zip(times.partitions, range(len(times.partitions)), strict=True))
    losses = []
    for loss in status.losses:
        row = None if loss.partition is None else rows.get(loss.partition)
        if loss.to_ms is None and (row is None or times.is_idle[row]):
            newest_ms = 0 if times.foremost_ms is None else times.foremost_ms
            losses.append(replace(loss, to_ms=max(log_ms, newest_ms + 2 * disorder_ms)))
        else:
            losses.append(loss)
    return replace(status, losses=tuple(losses))
