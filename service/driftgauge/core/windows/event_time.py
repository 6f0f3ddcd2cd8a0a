"""The event time of one stream in one shard: watermark, idle partitions, partitions given up.

What a source partition is to a stream, and whether the watermark waits for it:

    unreported  no count task has reported it yet; waits
    exempt      it was caught up, and its topic has no event of the stream; does not wait
    idle        it was caught up `idle_ms` after the last event of the stream was read there; waits only until
                the partition is read further
    given up    it has not advanced for `give_up_ms`; does not wait until it is level with the stream again
    awaited     neither exempt nor given up

A stream is at rest while only further events, or partitions that do not advance, move its event time. If it
shares its entry with others, it retires after a week without events; see `ShardState`.

The shard measures every wait in its log time and the readers' clocks, which the changelog keeps. So neither
a rebalance nor a shard that is behind restarts a wait or ends it too early.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.changelog import StreamStatus
from driftgauge.core.windows.source_progress import NULL, SourceProgress

__all__ = ["PartitionTimes", "advance_event_time", "is_at_rest"]

# The resolution of `StreamStatus.foremost`, in parts of `incomplete_ms`.
_FOREMOST_STEPS = 8


@dataclass(frozen=True, eq=False)
class PartitionTimes:
    """The times of a stream's source partitions in one round; all columns are (n,), times in ms.

    Attributes:
        partitions: The n partitions of the configured events topics.
        reached_ms: int64, the highest credible event time of the stream there less the allowed disorder; NULL
            before its first event.
        caught_up_ms, moved_ms: int64, see `SourceBlock`.
        is_unreported, is_exempt, is_idle: bool, see above.
    """

    partitions: list[Partition]
    reached_ms: NDArray[np.int64]
    caught_up_ms: NDArray[np.int64]
    moved_ms: NDArray[np.int64]
    is_unreported: NDArray[np.bool_]
    is_exempt: NDArray[np.bool_]
    is_idle: NDArray[np.bool_]

    @classmethod
    def of(
        cls, spec: StreamSpec, sources: SourceProgress, times: dict[str, NDArray[np.int64]]
    ) -> "PartitionTimes":
        """Return the times of a stream from its (n, 2) `EventTimes` of each topic."""
        columns = sources.columns
        end, since_ms, caught_up_ms, moved_ms = columns.values.T
        newest_ms, read_ms = np.full((2, len(end)), NULL, dtype=np.int64)
        is_exempt = caught_up_ms != NULL
        for name, (first, last) in columns.rows.items():
            own = times.get(name)
            if own is not None:
                newest_ms[first : first + len(own)], read_ms[first : first + len(own)] = own.T
                is_exempt[first:last] &= bool((own[:, 0] == NULL).all())
        seen = newest_ms != NULL
        without_events_ms = np.where(seen, read_ms, since_ms)
        return cls(
            partitions=columns.partitions,
            reached_ms=np.where(seen, newest_ms - spec.disorder_ms, NULL),
            caught_up_ms=caught_up_ms,
            moved_ms=moved_ms,
            is_unreported=end == NULL,
            is_exempt=is_exempt,
            is_idle=(caught_up_ms != NULL) & (caught_up_ms - spec.idle_ms >= without_events_ms),
        )

    @cached_property
    def foremost_ms(self) -> int | None:
        """The highest event time that any partition has reached; None before the stream's first event."""
        reached = int(self.reached_ms.max(initial=NULL))
        return None if reached == NULL else reached

    @cached_property
    def steps_ms(self) -> list[int]:
        """The event times that partitions have reached, ascending."""
        found: list[int] = np.unique(self.reached_ms).tolist()
        return found

    def mask_of(self, partitions: frozenset[Partition]) -> NDArray[np.bool_]:
        """Return an (n,) mask that is true for these partitions."""
        if not partitions:
            return np.zeros(len(self.partitions), dtype=np.bool_)
        return np.fromiter((at in partitions for at in self.partitions), np.bool_, len(self.partitions))

    def select(self, mask: NDArray[np.bool_]) -> tuple[Partition, ...]:
        """Return the partitions where the (n,) mask is true, sorted."""
        return tuple(sorted(self.partitions[row] for row in np.flatnonzero(mask).tolist()))

    def all_idle_to_ms(self, given_up: NDArray[np.bool_], watermark_ms: int) -> int:
        """Return the time up to which every awaited partition is read and idle; NULL if one is not.

        A partition stays idle while its reader is frozen, and there may be events behind it. The watermark
        waits until idle partitions are read further, so this time waits for the watermark.
        """
        is_awaited = ~(self.is_exempt | given_up)
        are_all_idle = is_awaited.any() and self.is_idle[is_awaited].all()
        if self.foremost_ms is None or watermark_ms < self.foremost_ms or not are_all_idle:
            return NULL
        return int(self.caught_up_ms[is_awaited].min())


def advance_event_time(
    status: StreamStatus, times: PartitionTimes, spec: StreamSpec, log_ms: int
) -> StreamStatus:
    """Return the status with event time advanced to a shard's log time."""
    status = _give_up(status, times, spec, log_ms)
    status = _advance_watermark(status, times, log_ms)
    return _record_foremost(status, times, spec, log_ms)


def is_at_rest(status: StreamStatus, times: PartitionTimes) -> bool:
    """Return whether time alone moves nothing: the watermark has reached the foremost partition.

    Then only further events move the event time, and partitions that do not advance for `incomplete_ms` or
    `give_up_ms`. A loss that has not ended does not count: its partition is not idle, so the window of the
    stream's last event is not closed either.
    """
    return (
        times.foremost_ms is not None
        and status.watermark_ms == times.foremost_ms
        and [reached_ms for reached_ms, _ in status.foremost] == [times.foremost_ms]
        and not status.given_up
    )


def _give_up(status: StreamStatus, times: PartitionTimes, spec: StreamSpec, log_ms: int) -> StreamStatus:
    """Give up the partitions that do not advance; wait again for those that have reached the watermark.

    An unreported partition is given up after `incomplete_ms` already.
    """
    timeout_ms = np.where(times.is_unreported, min(spec.incomplete_ms, spec.give_up_ms), spec.give_up_ms)
    has_timed_out = (log_ms - times.moved_ms >= timeout_ms) & ~times.is_exempt
    is_given_up = times.mask_of(status.given_up)
    if not (has_timed_out.any() or is_given_up.any()):
        return status if not status.given_up else replace(status, given_up=frozenset())
    watermark_ms = NULL if status.watermark_ms is None else status.watermark_ms
    # A partition that was last caught up long ago may have a backlog by now.
    is_idle = times.is_idle & (times.caught_up_ms >= log_ms - spec.incomplete_ms)
    has_caught_up = is_idle | ((times.reached_ms != NULL) & (times.reached_ms >= watermark_ms))
    is_given_up = has_timed_out | (is_given_up & ~has_caught_up)
    return replace(status, given_up=frozenset(times.select(is_given_up)))


def _advance_watermark(status: StreamStatus, times: PartitionTimes, log_ms: int) -> StreamStatus:
    """Advance the watermark to the least event time of the partitions that are neither idle nor given up.

    The watermark takes an event time that they reached at some log time once each idle partition is known to
    be read up to that log time. So a partition that became unreadable while idle holds the watermark.
    """
    is_awaited = ~(times.is_exempt | times.mask_of(status.given_up))
    idle = is_awaited & times.is_idle
    active = is_awaited & ~times.is_idle
    if active.any():
        least = int(times.reached_ms[active].min())
        candidate = None if least == NULL else least
    else:
        candidate = times.foremost_ms
    pending, watermark_ms = status.pending_watermark, status.watermark_ms
    if pending is not None and (candidate is None or candidate < pending[0]):
        # An idle partition has become active again, behind the others.
        pending = None
    # Twice: once no idle partition holds the old one, the new candidate may pass in the same round.
    for _ in range(2):
        if pending is None and candidate is not None and (watermark_ms is None or candidate > watermark_ms):
            pending = candidate, log_ms
        if pending is not None and (times.caught_up_ms[idle] >= pending[1]).all():
            watermark_ms = pending[0] if watermark_ms is None else max(watermark_ms, pending[0])
            pending = None
    if (pending, watermark_ms) == (status.pending_watermark, status.watermark_ms):
        return status
    return replace(status, pending_watermark=pending, watermark_ms=watermark_ms)


def _record_foremost(
    status: StreamStatus, times: PartitionTimes, spec: StreamSpec, log_ms: int
) -> StreamStatus:
    """Record the event time that the foremost partition has reached, and drop records that are too old."""
    foremost_ms, records = times.foremost_ms, status.foremost
    if foremost_ms is not None and (
        not records
        or (foremost_ms > records[-1][0] and log_ms - records[-1][1] >= spec.incomplete_ms // _FOREMOST_STEPS)
    ):
        records = (*records, (foremost_ms, log_ms))
    while len(records) > 1 and log_ms - records[1][1] >= spec.incomplete_ms:
        records = records[1:]
    return status if records is status.foremost else replace(status, foremost=records)
