"""One closing round of a stream: its event time, and the partitions that each window waits for."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.changelog import StreamStatus
from driftgauge.core.windows.event_time import PartitionTimes, advance_event_time
from driftgauge.core.windows.sources import NULL, SourceProgress
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.window import Window

__all__ = ["ClosingRound"]


@dataclass(frozen=True, slots=True)
class ClosingRound:
    """The event time of a stream in one round, after it has advanced; times in ms.

    Attributes:
        log_ms: The shard's log time.
        times: The times of the n source partitions.
        given_up: (n,) bool, the partition is given up.
        watermark_ms: The watermark; NULL before there is one.
        silent_to_ms: The time up to which every awaited partition is read and idle; NULL where one is not.
        overdue_ms: The event time before which windows are closed incomplete: the foremost partition had
            reached it `incomplete_ms` ago; NULL before there is one.
        overdue_log_ms: The log time at which it had.
        has_source_ended: The source has ended: every window is due.
    """

    log_ms: int
    times: PartitionTimes
    given_up: NDArray[np.bool_]
    watermark_ms: int
    silent_to_ms: int
    overdue_ms: int
    overdue_log_ms: int
    has_source_ended: bool

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
        state.set_status(_end_losses(status, times, spec.disorder_ms))
        overdue_ms, overdue_log_ms = status.foremost[0] if status.foremost else (NULL, log_ms)
        watermark_ms = NULL if status.watermark_ms is None else status.watermark_ms
        return cls(
            log_ms=log_ms,
            times=times,
            given_up=given_up,
            watermark_ms=watermark_ms,
            silent_to_ms=times.silent_to_ms(given_up, watermark_ms),
            overdue_ms=overdue_ms if log_ms - overdue_log_ms >= spec.incomplete_ms else NULL,
            overdue_log_ms=overdue_log_ms,
            has_source_ended=has_source_ended,
        )

    def awaited_by(self, window: Window) -> tuple[Partition, ...] | None:
        """Return the partitions that a due window still waits for; None where the window is not due."""
        if self.has_source_ended or window.end_ms <= max(self.watermark_ms, self.silent_to_ms):
            return ()
        if window.end_ms > self.overdue_ms:
            return None
        # An idle partition is awaited too, until it is read up to when the foremost one passed the window.
        is_idle = self.times.is_idle & (self.times.caught_up_ms >= self.overdue_log_ms)
        is_behind = self.times.reached_ms < window.end_ms
        return self.times.select(is_behind & ~(self.times.is_exempt | is_idle | self.given_up))

    def given_up_for(self, window: Window) -> tuple[Partition, ...]:
        """Return the partitions that were given up before they reached the end of a window."""
        if self.has_source_ended:
            return ()
        is_behind = self.times.reached_ms < window.end_ms
        return self.times.select(is_behind & ~self.times.is_exempt & self.given_up)


def _end_losses(status: StreamStatus, times: PartitionTimes, disorder_ms: int) -> StreamStatus:
    """End the data losses of partitions that are idle or removed: no later event can be among the lost."""
    if all(loss.to_ms is not None for loss in status.losses):
        return status
    rows = dict(zip(times.partitions, range(len(times.partitions)), strict=True))
    losses = []
    for loss in status.losses:
        row = None if loss.partition is None else rows.get(loss.partition)
        if loss.to_ms is None and (row is None or times.is_idle[row]):
            newest_ms = 0 if times.foremost_ms is None else times.foremost_ms
            caught_up_ms = 0 if row is None else int(times.caught_up_ms[row])
            losses.append(replace(loss, to_ms=max(caught_up_ms, newest_ms + 2 * disorder_ms)))
        else:
            losses.append(loss)
    return replace(status, losses=tuple(losses))
