"""The counted partitions that are paused, because a record of theirs cannot be read yet."""

from collections.abc import Collection

from confluent_kafka import Consumer, TopicPartition

from driftgauge.clock import Clock
from driftgauge.core.partition import Partition
from driftgauge.kafka.source_partitions import SourcePartition

__all__ = ["PausedPartitions"]

# Most schemas arrive within this time, and a registry that is away is not asked more often.
_RETRY_S = 1.0


class PausedPartitions:
    """Takes partitions from the client, and returns them later at the positions where they stopped.

    Attributes:
        waiting: The partitions of which no record has been read since they were paused.
    """

    def __init__(self, consumer: Consumer, clock: Clock) -> None:
        self._consumer = consumer
        self._clock = clock
        self._paused: dict[Partition, tuple[SourcePartition, float]] = {}
        self.waiting: set[Partition] = set()

    def __contains__(self, partition: object) -> bool:
        return partition in self._paused

    def pause(self, sources: Collection[SourcePartition]) -> None:
        """Stop reading these partitions."""
        until_s = self._clock.monotonic_s() + _RETRY_S
        self._consumer.incremental_unassign([TopicPartition(*source.partition) for source in sources])
        for source in sources:
            self._paused[source.partition] = source, until_s
            # The log may be truncated meanwhile; the client cannot validate a position without an epoch.
            source.is_validated = source.leader_epoch < 0
            self.waiting.add(source.partition)

    def resume(self) -> None:
        """Read the partitions whose pause has ended."""
        now_s = self._clock.monotonic_s()
        due = [source for source, until_s in self._paused.values() if now_s >= until_s]
        if due:
            for source in due:
                del self._paused[source.partition]
            self._consumer.incremental_assign([source.start() for source in due])

    def forget(self, partitions: Collection[Partition]) -> None:
        """Leave these partitions to the caller, who assigns them or has stopped them."""
        for partition in partitions:
            self._paused.pop(partition, None)
            self.waiting.discard(partition)
