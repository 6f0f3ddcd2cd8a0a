"""How far one stream has come in event time: a watermark per partition, idleness, the minimum."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Watermarks"]


@dataclass(slots=True)
class _Progress:
    """One partition's progress in this stream.

    Attributes:
        last_seen_ms: Wall time of the stream's last event here, at first of the assignment.
        newest_ms: Highest event time seen; None counts as minus infinity.
    """

    last_seen_ms: int
    newest_ms: int | None = None


class Watermarks:
    """The watermark of one stream over the partitions it is expected on.

    A partition's watermark is the highest event time seen there minus the allowed disorder. The
    stream's is the minimum over the partitions that are not idle, and never goes back.

    A timeout alone does not make a partition idle, for its events may wait unread (FLIP-471). It
    is idle as long as it is silent and each end offset asked for shows that the reader has passed
    it; this is proved anew every round, because a reader that has fallen behind since must not
    pass for caught up. What is proved is proved for the moment of asking: until then the
    partition had nothing to say. So beside an idle partition the others count with what they had
    reached when the ends were asked for, not with what has come since.
    """

    def __init__(self, partitions: Iterable[int], *, disorder_ms: int, idle_ms: int, now_ms: int) -> None:
        self._disorder_ms = disorder_ms
        self._idle_ms = idle_ms
        self._partitions = {partition: _Progress(last_seen_ms=now_ms) for partition in partitions}
        self._newest_when_asked = self._newest()
        self._watermark_ms: int | None = None
        self._all_idle = False

    def observe(self, partition: int, newest_ms: int, now_ms: int) -> None:
        """Take note of events up to `newest_ms` on a partition, read at wall time `now_ms`."""
        progress = self._partitions[partition]
        progress.last_seen_ms = now_ms
        progress.newest_ms = newest_ms if progress.newest_ms is None else max(progress.newest_ms, newest_ms)

    def ask(self, now_ms: int) -> list[int]:
        """Return the silent partitions, whose end offsets must be measured after this call."""
        self._newest_when_asked = self._newest()
        return [partition for partition in self._partitions if self._is_silent(partition, now_ms)]

    def advance(self, now_ms: int, positions: Mapping[int, int], ends: Mapping[int, int]) -> int | None:
        """Judge idleness and return the stream's watermark in ms; None while it is unknown.

        Args:
            now_ms: Wall time.
            positions: Next offset to read of each partition.
            ends: End offsets measured since `ask` was last called; empty while there is no answer.
        """
        idle = {
            partition
            for partition, end in ends.items()
            if self._is_silent(partition, now_ms) and positions[partition] >= end
        }
        self._all_idle = len(idle) == len(self._partitions)
        newest = self._newest_when_asked if idle else self._newest()
        if self._all_idle:
            # Nothing older is pending anywhere.
            reached = max((time for time in newest.values() if time is not None), default=None)
        else:
            reached = _lowest(time for partition, time in newest.items() if partition not in idle)
        if reached is not None:
            candidate = reached - self._disorder_ms
            if self._watermark_ms is None or candidate > self._watermark_ms:
                self._watermark_ms = candidate
        return self._watermark_ms

    @property
    def all_idle(self) -> bool:
        """The last round found that nothing of this stream is to be expected for now."""
        return self._all_idle

    @property
    def last_seen_ms(self) -> int:
        """Wall time of the stream's last event on any partition."""
        return max(progress.last_seen_ms for progress in self._partitions.values())

    @property
    def watermark_ms(self) -> int | None:
        """The stream's watermark as last advanced, ms."""
        return self._watermark_ms

    def _is_silent(self, partition: int, now_ms: int) -> bool:
        return now_ms - self._partitions[partition].last_seen_ms >= self._idle_ms

    def _newest(self) -> dict[int, int | None]:
        return {partition: progress.newest_ms for partition, progress in self._partitions.items()}


def _lowest(times: Iterable[int | None]) -> int | None:
    """Return the lowest time, ms; None, as minus infinity, where one is not known."""
    lowest = None
    for time in times:
        if time is None:
            return None
        lowest = time if lowest is None else min(lowest, time)
    return lowest
