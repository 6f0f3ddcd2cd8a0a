"""The event time of one stream in one shard: watermark, idle partitions, partitions given up.

All waiting is measured in the shard's log time and the readers' clocks, which the changelog keeps, so
neither a rebalance nor a shard that is behind makes a wait begin again or end too early.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.changelog import StreamStatus
from driftgauge.core.windows.sources import NULL, SourceProgress

__all__ = ["Overdue", "PartitionTimes", "advance_event_time"]

# How finely it is remembered what the foremost partition had reached when: parts of `incomplete_ms`.
_MARKS = 8


@dataclass(frozen=True, eq=False)
class PartitionTimes:
    """Where the source partitions of a stream stand in one round; all columns are (n,), times in ms.

    Attributes:
        partitions: The n partitions of the configured events topics.
        newest_ms: int64, the highest credible event time of the stream there; NULL before its first event.
        reached_ms: int64, the same less the allowed disorder.
        caught_up_ms, moved_ms: int64, see `TopicProgress`.
        is_unheard: bool, nothing has been heard of the partition yet.
        is_free: bool, the stream has never been seen on the partition's topic, and the partition has been
            caught up: nothing waits for it.
        is_idle: bool, the partition was caught up at a time later by `idle_ms` than the reading of the
            stream's last event there.
    """

    partitions: list[Partition]
    newest_ms: NDArray[np.int64]
    reached_ms: NDArray[np.int64]
    caught_up_ms: NDArray[np.int64]
    moved_ms: NDArray[np.int64]
    is_unheard: NDArray[np.bool_]
    is_free: NDArray[np.bool_]
    is_idle: NDArray[np.bool_]

    @classmethod
    def of(
        cls, spec: StreamSpec, sources: SourceProgress, times: dict[str, NDArray[np.int64]]
    ) -> "PartitionTimes":
        """Return where a stream stands, by its (n, 2) `EventTimeKey` values of each topic."""
        columns = sources.columns
        end, since_ms, caught_up_ms, moved_ms = columns.values.T
        newest_ms, read_ms = np.full((2, len(end)), NULL, dtype=np.int64)
        is_free = caught_up_ms != NULL
        for name, (first, last) in columns.rows.items():
            own = times.get(name)
            if own is not None:
                newest_ms[first : first + len(own)], read_ms[first : first + len(own)] = own.T
                is_free[first:last] &= bool((own[:, 0] == NULL).all())
        seen = newest_ms != NULL
        quiet_from_ms = np.where(seen, read_ms, since_ms)
        return cls(
            partitions=sources.partitions,
            newest_ms=newest_ms,
            reached_ms=np.where(seen, newest_ms - spec.disorder_ms, NULL),
            caught_up_ms=caught_up_ms,
            moved_ms=moved_ms,
            is_unheard=end == NULL,
            is_free=is_free,
            is_idle=(caught_up_ms != NULL) & (caught_up_ms - spec.idle_ms >= quiet_from_ms),
        )

    @cached_property
    def foremost_ms(self) -> int | None:
        """The highest event time that a partition has reached; None before the stream's first event."""
        reached = int(self.reached_ms.max(initial=NULL))
        return None if reached == NULL else reached

    def is_among(self, partitions: frozenset[Partition]) -> NDArray[np.bool_]:
        """Tell which of the partitions are named, (n,)."""
        if not partitions:
            return np.zeros(len(self.partitions), dtype=np.bool_)
        return np.fromiter((at in partitions for at in self.partitions), np.bool_, len(self.partitions))

    def named(self, mask: NDArray[np.bool_]) -> tuple[Partition, ...]:
        """Return the partitions for which the (n,) mask is true, sorted."""
        return tuple(sorted(self.partitions[row] for row in np.flatnonzero(mask).tolist()))

    def silent_to_ms(self, given_up: NDArray[np.bool_]) -> int | None:
        """Return up to when all that count are known to be read and idle; None where one is not idle."""
        counts = ~(self.is_free | given_up)
        if self.foremost_ms is None or not counts.any() or not self.is_idle[counts].all():
            return None
        return int(self.caught_up_ms[counts].min())


def advance_event_time(
    status: StreamStatus, standing: PartitionTimes, spec: StreamSpec, log_ms: int
) -> StreamStatus:
    """Return the status with its event time moved on to a shard's log time."""
    status = _give_up(status, standing, spec, log_ms)
    status = _advance_watermark(status, standing, log_ms)
    return _mark_foremost(status, standing, spec, log_ms)


def _give_up(status: StreamStatus, standing: PartitionTimes, spec: StreamSpec, log_ms: int) -> StreamStatus:
    """Give up the partitions that stand still; take back those that are level with the stream again.

    One that nothing has been heard of since the shard's first record is waited for as long as a window is.
    """
    patience_ms = np.where(standing.is_unheard, min(spec.incomplete_ms, spec.give_up_ms), spec.give_up_ms)
    stands_still = (log_ms - standing.moved_ms >= patience_ms) & ~standing.is_free
    given_up = standing.is_among(status.given_up)
    if not (stands_still.any() or given_up.any()):
        return status if not status.given_up else replace(status, given_up=frozenset())
    watermark_ms = NULL if status.watermark_ms is None else status.watermark_ms
    # Idle by what is known of long ago says nothing of the backlog that it may have.
    is_idle = standing.is_idle & (standing.caught_up_ms >= log_ms - spec.incomplete_ms)
    is_level = is_idle | ((standing.reached_ms != NULL) & (standing.reached_ms >= watermark_ms))
    given_up = stands_still | (given_up & ~is_level)
    return replace(status, given_up=frozenset(standing.named(given_up)))


def _advance_watermark(status: StreamStatus, standing: PartitionTimes, log_ms: int) -> StreamStatus:
    """Move the watermark to what all partitions have reached that are neither idle nor given up.

    What they reached at some log time holds for the stream once each idle partition is known to be read
    up to that log time, so that one that became unreadable while idle is not overlooked.
    """
    counts = ~(standing.is_free | standing.is_among(status.given_up))
    idle = counts & standing.is_idle
    active = counts & ~standing.is_idle
    if active.any():
        least = int(standing.reached_ms[active].min())
        candidate = None if least == NULL else least
    else:
        candidate = standing.foremost_ms
    frontier, watermark_ms = status.frontier, status.watermark_ms
    if frontier is not None and (candidate is None or candidate < frontier[0]):
        # One that was idle speaks again, behind the others.
        frontier = None
    # Where nothing is idle a frontier holds at once, so the one that waited gives way to the new one.
    for _ in range(2):
        if frontier is None and candidate is not None and (watermark_ms is None or candidate > watermark_ms):
            frontier = candidate, log_ms
        if frontier is not None and (standing.caught_up_ms[idle] >= frontier[1]).all():
            watermark_ms = frontier[0] if watermark_ms is None else max(watermark_ms, frontier[0])
            frontier = None
    if (frontier, watermark_ms) == (status.frontier, status.watermark_ms):
        return status
    return replace(status, frontier=frontier, watermark_ms=watermark_ms)


def _mark_foremost(
    status: StreamStatus, standing: PartitionTimes, spec: StreamSpec, log_ms: int
) -> StreamStatus:
    """Remember what the foremost partition has reached by now, and forget what is older than needed."""
    foremost_ms, marks = standing.foremost_ms, status.foremost
    if foremost_ms is not None and (
        not marks or (foremost_ms > marks[-1][0] and log_ms - marks[-1][1] >= spec.incomplete_ms // _MARKS)
    ):
        marks = (*marks, (foremost_ms, log_ms))
    while len(marks) > 1 and log_ms - marks[1][1] >= spec.incomplete_ms:
        marks = marks[1:]
    return status if marks is status.foremost else replace(status, foremost=marks)


@dataclass(frozen=True, slots=True)
class Overdue:
    """What has been waited for long enough.

    Attributes:
        to_ms: The event time that the foremost partition had reached `incomplete_ms` ago; NULL: none.
        log_ms: The log time at which it had.
    """

    to_ms: int
    log_ms: int

    @classmethod
    def of(cls, status: StreamStatus, spec: StreamSpec, log_ms: int) -> "Overdue":
        """Return what is overdue by the marks of a status."""
        if status.foremost and log_ms - status.foremost[0][1] >= spec.incomplete_ms:
            return cls(*status.foremost[0])
        return cls(NULL, NULL)
