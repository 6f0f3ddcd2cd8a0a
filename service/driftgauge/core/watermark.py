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
        end_mark: The partition's end offset, taken once the stream had been silent for long enough.
        idle: Silent for long enough, and the reader has since passed `end_mark`.
    """

    last_seen_ms: int
    newest_ms: int | None = None
    end_mark: int | None = None
    idle: bool = False


class Watermarks:
    """The watermark of one stream over the partitions it is expected on.

    A partition's watermark is the highest event time seen there minus the allowed disorder. The
    stream's is the minimum over the partitions that are not idle, and never goes back. A timeout
    alone does not make a partition idle, for its events may wait unread (FLIP-471): the reader
    must also have passed the end offset that was seen once the timeout had run out.
    """

    def __init__(self, partitions: Iterable[int], *, disorder_ms: int, idle_ms: int, now_ms: int) -> None:
        self._disorder_ms = disorder_ms
        self._idle_ms = idle_ms
        self._partitions = {partition: _Progress(last_seen_ms=now_ms) for partition in partitions}
        self._watermark_ms: int | None = None

    def observe(self, partition: int, newest_ms: int, now_ms: int) -> None:
        """Take note of events up to `newest_ms` on a partition, read at wall time `now_ms`."""
        progress = self._partitions[partition]
        progress.last_seen_ms = now_ms
        progress.newest_ms = newest_ms if progress.newest_ms is None else max(progress.newest_ms, newest_ms)
        progress.end_mark = None
        progress.idle = False

    def silent(self, now_ms: int) -> list[int]:
        """Return the partitions whose end offset is needed to tell whether they are idle."""
        return [
            partition
            for partition, progress in self._partitions.items()
            if not progress.idle
            and progress.end_mark is None
            and now_ms - progress.last_seen_ms >= self._idle_ms
        ]

    def advance(self, now_ms: int, positions: Mapping[int, int], ends: Mapping[int, int]) -> int | None:
        """Judge idleness and return the stream's watermark in ms; None while it is unknown.

        Args:
            now_ms: Wall time.
            positions: Next offset to read of each partition.
            ends: End offsets measured since `silent` last named the partition.
        """
        for partition in self.silent(now_ms):
            self._partitions[partition].end_mark = ends.get(partition)
        for partition, progress in self._partitions.items():
            if progress.end_mark is not None and positions[partition] >= progress.end_mark:
                progress.idle = True
        reached = [progress.newest_ms for progress in self._partitions.values() if not progress.idle]
        if reached:
            newest = None if None in reached else min(time for time in reached if time is not None)
        else:
            # All are idle and fully read, so nothing older is pending anywhere.
            seen = [p.newest_ms for p in self._partitions.values() if p.newest_ms is not None]
            newest = max(seen, default=None)
        if newest is not None:
            candidate = newest - self._disorder_ms
            if self._watermark_ms is None or candidate > self._watermark_ms:
                self._watermark_ms = candidate
        return self._watermark_ms

    @property
    def all_idle(self) -> bool:
        """Nothing of this stream is to be expected for now."""
        return all(progress.idle for progress in self._partitions.values())

    @property
    def last_seen_ms(self) -> int:
        """Wall time of the stream's last event on any partition."""
        return max(progress.last_seen_ms for progress in self._partitions.values())

    @property
    def watermark_ms(self) -> int | None:
        """The stream's watermark as last advanced, ms."""
        return self._watermark_ms
