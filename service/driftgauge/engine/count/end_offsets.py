"""The end offsets of the counted partitions, which show whether COUNT has caught up."""

from driftgauge.clock import Clock
from driftgauge.engine.count.held_partitions import HeldPartitions
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.shared_admin import SharedAdmin

__all__ = ["EndOffsets"]


class EndOffsets:
    """Fetches the end offsets of the counted partitions, at most once per interval.

    A partition keeps its end offset until its position reaches that end: a consumer that is always slightly
    behind never reaches the newest end.
    """

    def __init__(self, held: HeldPartitions, admin: SharedAdmin, clock: Clock, *, interval_ms: int) -> None:
        self._held = held
        self._offsets = LogOffsets(admin)
        self._clock = clock
        self._interval_ms = interval_ms
        self._requested_s = 0.0

    def poll(self) -> None:
        """Store the answers in the partitions, and send the next request if it is due, without blocking."""
        answers = self._offsets.collect()
        if answers is None:
            return
        for partition, end in answers.items():
            source = self._held.find(partition)
            if source is not None and source.end is None and source.end_asked_ms:
                source.end = end
                source.check_end()
        now_s = self._clock.monotonic_s()
        if (now_s - self._requested_s) * 1000 < self._interval_ms:
            return
        self._requested_s = now_s
        now_ms = self._clock.wall_ms()
        for partition in self._offsets.request(
            [each.partition for each in self._held.started if each.end is None]
        ):
            source = self._held.find(partition)
            if source is not None:
                source.end_asked_ms = now_ms
