"""Reading a range of a topic once, by record time, without a consumer group and without commits."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from driftgauge.core.partition import name_partition
from driftgauge.errors import BrokerError, InputError
from driftgauge.events.records import RawRecord
from driftgauge.events.timestamps import format_timestamp
from driftgauge.kafka.client import REQUEST_TIMEOUT_S, KafkaProperties, admin, range_consumer
from driftgauge.kafka.intake import sort_messages
from driftgauge.kafka.metadata import count_partitions, failure, metadata, require_visible
from driftgauge.kafka.rights import connection
from driftgauge.nearest import suggest
from driftgauge.progress import Track, WorkProgress, ignore_progress

__all__ = ["PartitionRange", "TopicRange"]

_POLL_RECORDS = 1_000
_POLL_S = 0.1
# A partition without a leader moves within a failover, 12 s.
_IDLE_S = 60.0
# So many records in a row, all later than the range, show that the partition has passed it.
_LATER_RECORDS = 5_000


@dataclass(frozen=True, slots=True)
class PartitionRange:
    """The offsets of a partition that may be read, the first inclusive, the last exclusive."""

    index: int
    start: int
    stop: int


class TopicRange:
    """The records of a topic between two record times, up to the end of each partition; a `RecordSource`.

    The end is that at the start. Partitions are read one after the other, so that the same log gives the
    same order of records. Records of open and aborted transactions are left out. Record times need not be in
    order: a partition has passed the range once many records in a row are later. The first later record alone
    would not do, since a producer with a wrong clock, or the marker of a transaction, would end the range.

    Attributes:
        topic: The topic.
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
    ) -> None:
        """Find the offsets.

        Args:
            properties: librdkafka's properties.
            topic: The topic.
            from_ms: The first record time, milliseconds since the epoch; 0 for all records.
            until_ms: The record time before which the range ends.
            track: Receives the progress of `batches`.
            events: The events topics, if the service creates this topic once they exist.

        Raises:
            AuthorizationError: The cluster does not let this client read the topic.
            BrokerError: The cluster does not answer.
            InputError: The topic is missing.
        """
        self.topic = topic
        errors: list[KafkaError] = []
        client = admin(properties, on_error=errors.append)
        with connection(client, errors):
            count = count_partitions(client, [topic]).get(topic)
        if count is None:
            known = metadata(client).topics
            # The service waits for the first that is missing.
            missing = next((each for each in (*events, topic) if each not in known), topic)
            require_visible(client, [missing])
            remedy = suggest(missing, known, "name a topic of the cluster, or check kafka.bootstrap.servers")
            if missing in events:
                remedy += f" (`driftgauge serve` creates {topic} once all events topics exist)"
            elif events:
                remedy = (
                    "start `driftgauge serve`, which creates it, or check topics and kafka.bootstrap.servers"
                )
            message = f"topic {missing} does not exist; {remedy}"
            raise InputError(message)
        self._consumer = range_consumer(properties)
        indices = range(count)
        ends = _find_offsets(client, topic, indices, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        first = _find_offsets(client, topic, indices, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        # A record without a time is at no time.
        starts = self._offsets_at(from_ms if from_ms > 0 else OFFSET_BEGINNING, ends)
        stops = self._offsets_at(max(until_ms, 0), ends)
        self._until_ms, self._track, self._ends = until_ms, track, ends
        self.ranges = tuple(
            PartitionRange(index, starts[index], ends[index])
            for index in indices
            if starts[index] < ends[index]
        )
        # By partition whose first records are deleted, the earliest time of those that are read first.
        self._cut = {each.index: 0 for each in self.ranges if 0 < each.start <= first[each.index]}
        self.partitions = 1 + max((each.index for each in self.ranges), default=0)
        self.offsets = sum(max(min(stops[each.index], each.stop) - each.start, 0) for each in self.ranges)

    def __enter__(self) -> "TopicRange":
        return self

    def __exit__(self, *exc: object) -> None:
        self._consumer.close()

    def batches(self) -> Iterator[list[Message]]:
        """Yield the records, partition by partition, in the order of their offsets.

        Raises:
            AuthorizationError: The cluster does not let this client read the topic.
            BrokerError: The cluster does not answer, or has deleted records of the range.
        """
        done = 0
        self._track(WorkProgress("records read", done, self.offsets))
        for partition in self.ranges:
            for records in _read(self._consumer, self.topic, partition, self._until_ms):
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
        starts, stops = self._offsets_at(from_ms, self._ends), self._offsets_at(until_ms, self._ends)
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
                read = _read(self._consumer, self.topic, replace(partition, start=start), self._until_ms)
                found = [record for batch in read for record in batch]
                span *= 4
            records += found[-number:]
        records.sort(key=lambda record: (record.timestamp()[1], record.partition(), record.offset()))
        return records[-number:]

    def _offsets_at(self, time_ms: int, ends: dict[int, int]) -> dict[int, int]:
        """Return each partition's first offset of a record at this time or later, else its end."""
        asked = [TopicPartition(self.topic, index, time_ms) for index in ends]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise failure(error.args[0], f"the offsets of {self.topic} by time are unknown") from error
        for each in found:
            if each.error is not None:
                where = name_partition((self.topic, each.partition))
                raise failure(each.error, f"the offsets of {where} by time are unknown")
        return {each.partition: ends[each.partition] if each.offset < 0 else each.offset for each in found}


def _find_offsets(client: AdminClient, topic: str, indices: range, spec: OffsetSpec) -> dict[int, int]:
    """Return the first offsets of the partitions, or the ends before their first open transactions."""
    pending = client.list_offsets(
        {TopicPartition(topic, index): spec for index in indices},
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=REQUEST_TIMEOUT_S,
    )
    found = {}
    for partition, future in pending.items():
        try:
            found[partition.partition] = int(future.result().offset)
        except KafkaException as error:
            where = name_partition((topic, partition.partition))
            raise failure(
                error.args[0], f"the offsets of {where} are unknown", right="grant Describe"
            ) from error
    return found


def _read(
    consumer: Consumer, topic: str, partition: PartitionRange, until_ms: int
) -> Iterator[list[Message]]:
    at = (topic, partition.index)
    consumer.assign([TopicPartition(topic, partition.index, partition.start)])
    position, later = partition.start, 0
    active_s = time.monotonic()
    while position < partition.stop and later < _LATER_RECORDS:
        polled = sort_messages(consumer.consume(min(_POLL_RECORDS, partition.stop - position), _POLL_S))
        records = polled.records
        if polled.lost:
            message = (
                f"Kafka deleted records of {name_partition(at)} from offset {position} on before they were "
                f"read; run again, with a later --from if the topic's retention has passed it"
            )
            raise BrokerError(message)
        now_s = time.monotonic()
        position = max(position, polled.ends.get(at, 0))
        if records:
            active_s = now_s
            position = max(position, (records[-1].offset() or 0) + 1)
            is_later = [_is_later(record, until_ms) for record in records]
            # Records in a row at the end of this batch, and those before if the whole batch is later.
            run = next((i for i, each in enumerate(reversed(is_later)) if not each), None)
            later = later + len(records) if run is None else run
            yield [
                record
                for record, late in zip(records, is_later, strict=True)
                if not late and (record.offset() or 0) < partition.stop
            ]
        elif now_s - active_s > _IDLE_S:
            message = (
                f"{name_partition(at)} gave no records for {_IDLE_S:g} s at offset {position}, before "
                f"{partition.stop}; check the brokers and run again"
            )
            raise BrokerError(message)


def _is_later(record: Message, until_ms: int) -> bool:
    kind, time_ms = record.timestamp()
    return kind != TIMESTAMP_NOT_AVAILABLE and time_ms >= until_ms
