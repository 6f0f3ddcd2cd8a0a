"""The reading state of a source partition that a replica counts."""

from dataclasses import dataclass

from confluent_kafka import TopicPartition

from driftgauge.core.counting.partial import PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.events.outcomes import RecordLoss

__all__ = ["SourcePartition"]


@dataclass(slots=True)
class SourcePartition:
    """The reading state of one counted partition.

    Attributes:
        partition: The topic and index.
        topic_id: The topic's id at the start of counting; empty if the broker reports none.
        committed: The group's committed offset; the log's beginning if there is none, and its end if a
            truncated log ended before it.
        position: The next offset to read.
        since_ms: The wall time at which this replica started to read the partition.
        begins: The group had no committed offset for this topic.
        lost: The number of records after `committed` that Kafka deleted before they were read.
        caught_up_ms: The latest wall time up to which all records are read; None if unknown.
        end: The log's end offset at `end_asked_ms`; None while no end is known that is still to be reached.
        end_asked_ms: The wall time just before the end offset was requested.
        leader_epoch: The leader epoch of the last record read; -1 if unknown.
        is_truncated: The log was truncated below `committed`; records written since may be missed.
        given_s: When the client was given the position, in monotonic seconds.
        is_validated: The topic has had its id since then, and the client has been made to validate the
            position against the leader's epoch.
        paused_until_s: Until when its next record is waited for, in monotonic seconds; None if it is read.
        awaits_schema: No record has been read since one came whose schema is unknown.
        records: The number of records read after `committed`.
        skipped_at_start: The offsets without a record that were passed by the first message after a start.
    """

    partition: Partition
    topic_id: str
    committed: int
    position: int
    since_ms: int
    begins: bool = False
    lost: int = 0
    caught_up_ms: int | None = None
    end: int | None = None
    end_asked_ms: int = 0
    leader_epoch: int = -1
    is_truncated: bool = False
    given_s: float = 0.0
    is_validated: bool = False
    paused_until_s: float | None = None
    awaits_schema: bool = False
    records: int = 0
    skipped_at_start: int = 0
    _is_at_start: bool = True  # no message has come since the client was given the position

    @property
    def loss(self) -> RecordLoss | None:
        """The loss of records after `committed`; None if there is none."""
        records = max(self.lost, int(self.is_truncated))
        return RecordLoss(records, self.committed, is_truncated=not self.lost) if records else None

    @property
    def skipped(self) -> int:
        """The number of offsets from `committed` to `position` without a record, other than lost ones.

        A transaction marker has an offset and is no record, nor is what compaction or an abort removed. A
        topic without these has none, unless the service itself passes over records.
        """
        return max(self.position - self.committed - self.lost - self.records, 0)

    def start(self) -> TopicPartition:
        """Return the partition with the position and epoch at which the client is made to read it."""
        self._is_at_start = True
        topic, index = self.partition
        return TopicPartition(topic, index, self.position, leader_epoch=self.leader_epoch)

    def read(self, first: int, after: int, *, records: int) -> None:
        """Record that the client has delivered some records, or the end of the log.

        Args:
            first: The first offset delivered.
            after: The offset after the last one delivered.
            records: The number of records delivered.
        """
        if self._is_at_start:
            self.skipped_at_start += max(first - self.position, 0)
            self._is_at_start = False
        self.records += records
        self.awaits_schema &= not records
        self.position = max(self.position, after)
        self.check_end()

    def check_end(self) -> None:
        """Record that the partition is caught up if the position has reached the end asked for."""
        if self.end is not None and self.position >= self.end:
            self.caught_up_ms, self.end = self.end_asked_ms, None

    def progress(self, partitions: int) -> PartitionProgress:
        """Return the progress to commit, without streams, given the topic's number of partitions."""
        return PartitionProgress(
            partition=self.partition,
            topic_id=self.topic_id,
            partitions=partitions,
            start=self.committed,
            end=self.position,
            begins=self.begins,
            lost=self.loss.records if self.loss else 0,
            skipped=self.skipped,
            since_ms=self.since_ms,
            caught_up_ms=self.caught_up_ms,
        )

    def resume_after_truncation(self, end: int | None) -> None:
        """Continue at `end`, where the log was truncated; the shards see from the offsets that it went back.

        If `end` is unknown, continue at the committed offset and mark the records before it as missed.
        """
        if end is not None and end < self.committed:
            self.committed = self.position = end
        else:
            self.is_truncated = True
        # With the old epoch the client would report the same truncation on every validation.
        self.leader_epoch = -1

    def commit(self) -> None:
        """Record that the position is committed."""
        self.committed, self.begins, self.lost, self.is_truncated = self.position, False, 0, False
        self.records = self.skipped_at_start = 0
