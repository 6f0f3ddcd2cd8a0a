"""Reading a range of a topic once, by record time, without a consumer group and without commits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_NOT_AVAILABLE, KafkaError, Message

from driftgauge.core.partition import name_partition
from driftgauge.errors import InputError
from driftgauge.events.records import RawRecord
from driftgauge.events.timestamps import format_timestamp
from driftgauge.kafka.client import KafkaProperties, admin
from driftgauge.kafka.cluster import count_partitions, metadata, require_visible
from driftgauge.kafka.rights import connection
from driftgauge.nearest import suggest
from driftgauge.progress import Track, WorkProgress, ignore_progress
from driftgauge.topics.topic_log import TopicLog

__all__ = ["PartitionRange", "TopicRange"]


@dataclass(frozen=True, slots=True)
class PartitionRange:
    """The offsets of a partition that may be read, the first inclusive, the last exclusive."""

    index: int
    start: int
    stop: int


class TopicRange(TopicLog):
    """The records of a topic between two record times, up to the end of each partition; a `RecordSource`.

    The end is that at the start. Partitions are read one after the other, so that the same log gives the
    same order of records. Record times need not be in order: a partition has passed the range once many
    records in a row are later. The first later record alone would not do, since a producer with a wrong
    clock, or the marker of a transaction, would end the range.

    Attributes:
        ranges: The offsets of each partition that has any.
        offsets: About how many offsets will be read.
        partitions: A number that is above the index of each partition.
    """

    def __init__(
        self,
        properties: KafkaProperties,
        topic: str,
        from_ms: int,
        until_ms: int,
        track: Track = ignore_progress,
        *,
        events: Sequence[str] = (),
        later_records: int = 5_000,
    ) -> None:
        """Find the offsets.

        Args:
            properties: librdkafka's properties.
            topic: The topic.
            from_ms: The first record time, milliseconds since the epoch; 0 for all records.
            until_ms: The record time before which the range ends.
            track: Receives the progress of `batches`.
            events: The events topics, if the service creates this topic once they exist.
            later_records: So many records in a row, all later than the range, show that a partition has
                passed it.

        Raises:
            AuthorizationError: The cluster does not let this client read the topic.
            BrokerError: The cluster does not answer.
            InputError: The topic is missing.
        """
        indices = range(_count_partitions(properties, topic, events))
        super().__init__(properties, topic)
        bounds = {index: self.bounds(index) for index in indices}
        self._ends = {index: end for index, (_, end) in bounds.items()}
        # A record without a time is at no time.
        starts = self._until_end(from_ms if from_ms > 0 else OFFSET_BEGINNING)
        stops = self._until_end(max(until_ms, 0))
        self._until_ms, self._track, self._later_records = until_ms, track, later_records
        self.ranges = tuple(
            PartitionRange(index, starts[index], end)
            for index, end in self._ends.items()
            if starts[index] < end
        )
        # By partition whose first records are deleted, the earliest time of those that are read first.
        self._cut = {each.index: 0 for each in self.ranges if 0 < each.start <= bounds[each.index][0]}
        self.partitions = 1 + max((each.index for each in self.ranges), default=0)
        self.offsets = sum(max(min(stops[each.index], each.stop) - each.start, 0) for each in self.ranges)

    def batches(self) -> Iterator[list[Message]]:
        """Yield the records, partition by partition, in the order of their offsets.

        Raises:
            AuthorizationError: The cluster does not let this client read the topic.
            BrokerError: The cluster does not answer, or has deleted records of the range.
        """
        done = 0
        self._track(WorkProgress("records read", done, self.offsets))
        for partition in self.ranges:
            for records in self.read_range(partition):
                done += len(records)
                if records:
                    if self._cut.get(partition.index) == 0:
                        self._cut[partition.index] = min(record.timestamp()[1] for record in records)
                    yield records
                self._track(WorkProgress("records read", done, self.offsets))

    def describe_cut(self, from_ms: int) -> str | None:
        """Return a sentence if records from a time on are deleted, by those that `batches` has read."""
        cut_ms = max(self._cut.values(), default=0)
        if cut_ms <= from_ms:
            return None
        return (
            f"topic {self.topic} begins at {format_timestamp(cut_ms)}, and the range at "
            f"{format_timestamp(from_ms)}: older records are deleted, as by its retention, and "
            "windows that began before are not whole"
        )

    def holds(self, from_ms: int, until_ms: int) -> bool:
        """Return whether a record was written between two times."""
        starts, stops = self._until_end(from_ms), self._until_end(until_ms)
        return any(starts[index] < stops[index] for index in self._ends)

    def place(self, record: RawRecord) -> str:
        """Return where a record stands, in words."""
        return f"{name_partition((self.topic, record.partition() or 0))}@{record.offset()}"

    def read_last(self, number: int) -> list[Message]:
        """Return the last records by their timestamps, the oldest first; errors as for `batches`.

        Markers of transactions and compacted records take offsets too, so a partition that has brought too
        few is read again from further back.
        """
        records: list[Message] = []
        for partition in self.ranges:
            found: list[Message] = []
            span, start = number, partition.stop
            while len(found) < number and start > partition.start:
                start = max(partition.start, partition.stop - span)
                read = self.read_range(replace(partition, start=start))
                found = [record for batch in read for record in batch]
                span *= 4
            records += found[-number:]
        records.sort(key=lambda record: (record.timestamp()[1], record.partition(), record.offset()))
        return records[-number:]

    def read_range(self, partition: PartitionRange) -> Iterator[list[Message]]:
        """Yield the records of a partition before the time at which the range ends; a batch may be empty."""
        later = 0
        for records in self.read(partition.index, partition.start, partition.stop):
            is_later = [self._is_later(record) for record in records]
            # Records in a row at the end of this batch, and those before if the whole batch is later.
            run = next((i for i, each in enumerate(reversed(is_later)) if not each), None)
            later = later + len(records) if run is None else run
            yield [record for record, late in zip(records, is_later, strict=True) if not late]
            if later >= self._later_records:
                return

    def _is_later(self, record: Message) -> bool:
        kind, time_ms = record.timestamp()
        return kind != TIMESTAMP_NOT_AVAILABLE and time_ms >= self._until_ms

    def _until_end(self, time_ms: int) -> dict[int, int]:
        """Return each partition's first offset of a record at this time or later, else its end."""
        found, error = self.offsets_at(time_ms, self._ends)
        if error is not None:
            raise error
        return {index: end if found[index] < 0 else found[index] for index, end in self._ends.items()}


def _count_partitions(properties: KafkaProperties, topic: str, events: Sequence[str]) -> int:
    errors: list[KafkaError] = []
    client = admin(properties, on_error=errors.append)
    with connection(client, errors):
        count = count_partitions(client, [topic]).get(topic)
    if count is not None:
        return count
    known = metadata(client).topics
    # The service waits for the first that is missing.
    missing = next((each for each in (*events, topic) if each not in known), topic)
    require_visible(client, [missing])
    remedy = suggest(missing, known, "name a topic of the cluster, or check kafka.bootstrap.servers")
    if missing in events:
        remedy += f" (`driftgauge serve` creates {topic} once all events topics exist)"
    elif events:
        remedy = "start `driftgauge serve`, which creates it, or check topics and kafka.bootstrap.servers"
    message = f"topic {missing} does not exist; {remedy}"
    raise InputError(message)
