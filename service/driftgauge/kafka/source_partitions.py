"""The source partitions that a replica counts, and how far each has been read."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import TopicPartition

from driftgauge.core.counting.partial import PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.kafka.offset_barrier import Start

__all__ = ["SourcePartition", "SourcePartitions", "assignment"]


@dataclass(slots=True)
class SourcePartition:
    """One partition that is counted.

    Attributes:
        partition: Its topic and index.
        topic_id: The topic's id when it was begun with; empty where the broker tells none.
        code: The number that batches name it by.
        committed: The group's committed offset.
        position: The next offset to read.
        begins: Nothing was committed before.
        lost: How many records after `committed` Kafka deleted before they were read.
        since_ms: Since when it has been read here, wall time.
        caught_up_ms: The latest wall time up to which it is known to be read; None: not known.
        end: Where its log ended at `asked_ms`; None while there is no question open.
        asked_ms: The wall time before its end was asked for.
        leader_epoch: The leader epoch of the last record read; -1 where it is not known.
        is_cut: The log ended before what had been read of it: records written since may be missed.
        is_validated: The client has asked whether the log still holds what was read of it.
    """

    partition: Partition
    topic_id: str
    code: int
    committed: int
    position: int
    begins: bool
    lost: int
    since_ms: int
    caught_up_ms: int | None = None
    end: int | None = None
    asked_ms: int = 0
    leader_epoch: int = -1
    is_cut: bool = False
    is_validated: bool = False
    _caught_up_before_ms: int | None = None  # when it was last committed

    @property
    def missing(self) -> int:
        """How many records after `committed` are missing, at least."""
        return max(self.lost, int(self.is_cut))

    def read_to(self, position: int) -> None:
        """Take note that everything before `position` has been read."""
        self.position = max(self.position, position)
        if self.end is not None and self.position >= self.end:
            self.caught_up_ms, self.end = self.asked_ms, None

    def progress(self, partitions: int) -> PartitionProgress:
        """Return what a commit says of it, given its topic's number of partitions; of streams nothing."""
        return PartitionProgress(
            partition=self.partition,
            topic_id=self.topic_id,
            partitions=partitions,
            start=self.committed,
            end=self.position,
            begins=self.begins,
            lost=self.missing,
            since_ms=self.since_ms,
            caught_up_ms=self.caught_up_ms,
        )

    def read_from_cut(self, end: int | None) -> None:
        """Go on where the log was cut, at `end`: the shards see by the offsets that it went back.

        Where that is not known it goes on after what was counted, and what was written between is missed.
        """
        if end is not None and end < self.committed:
            self.committed = self.position = end
        else:
            self.is_cut = True
        # Asked by the old epoch the client would be told the same for ever.
        self.is_validated, self.leader_epoch = True, -1

    def commit(self) -> None:
        """Take note that what was read is committed."""
        self.committed, self.begins, self.lost, self.is_cut = self.position, False, 0, False
        self._caught_up_before_ms = self.caught_up_ms

    def rewind(self) -> None:
        """Go back to what is committed, past what Kafka deleted."""
        self.position = self.committed + self.lost
        self.caught_up_ms = self._caught_up_before_ms
        self.end, self.leader_epoch = None, -1


class SourcePartitions:
    """Those that are counted, by partition and by code."""

    def __init__(self) -> None:
        self._held: dict[Partition, SourcePartition] = {}
        self._codes: dict[Partition, int] = {}
        self.names: dict[int, Partition] = {}
        """What a code stands for; a partition that comes again has the same one."""

    def __iter__(self) -> Iterator[SourcePartition]:
        return iter(self._held.values())

    def __len__(self) -> int:
        return len(self._held)

    def find(self, topic: str | None, index: int | None) -> SourcePartition | None:
        """Return a partition; None where it is not counted here."""
        # librdkafka's messages may name no partition, by their type.
        return None if topic is None or index is None else self._held.get((topic, index))

    def add(self, partition: Partition, start: Start, topic_id: str, now_ms: int) -> SourcePartition:
        """Begin to count a partition."""
        code = self._codes.setdefault(partition, len(self._codes))
        self.names[code] = partition
        self._held[partition] = SourcePartition(
            partition,
            topic_id,
            code,
            committed=start.committed,
            position=start.position,
            begins=start.begins,
            lost=start.lost,
            since_ms=now_ms,
            leader_epoch=start.leader_epoch,
            is_cut=start.is_cut,
            # Without an epoch there is nothing to ask by.
            is_validated=start.leader_epoch < 0,
        )
        return self._held[partition]

    def progress(self, sizes: Mapping[str, int]) -> dict[int, PartitionProgress]:
        """Return what a commit says of each, by its code, given the topics' numbers of partitions."""
        return {source.code: source.progress(sizes[source.partition[0]]) for source in self}

    def remove(self, partitions: Collection[Partition]) -> list[Partition]:
        """Stop counting these; return those of them that were counted."""
        return [partition for partition in partitions if self._held.pop(partition, None) is not None]

    def by_code(self, code: int) -> SourcePartition:
        """Return a partition that is counted; KeyError where it is not."""
        return self._held[self.names[code]]


def assignment(partition: SourcePartition) -> TopicPartition:
    """Return from where the client is to read a partition."""
    topic, index = partition.partition
    return TopicPartition(topic, index, partition.position, leader_epoch=partition.leader_epoch)
