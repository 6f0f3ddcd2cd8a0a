"""The records of a topic by their offsets, without a consumer group and without commits."""

import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, Self

from confluent_kafka import KafkaException, Message, TopicPartition

from driftgauge.core.partition import name_partition
from driftgauge.errors import BrokerError, ServiceError
from driftgauge.kafka import client
from driftgauge.kafka.client import REQUEST_TIMEOUT_S, KafkaProperties, OnStatistics
from driftgauge.kafka.cluster import failure
from driftgauge.kafka.intake import sort_messages

__all__ = ["TopicLog"]

_POLL_RECORDS: Final = 1_000
_POLL_S: Final = 0.1
# A partition without a leader moves within a failover, 12 s.
_IDLE_S: Final = 60.0
# A single record arrives within a round trip, or its broker is away.
_FETCH_S: Final = 5.0


class TopicLog:
    """A client that reads the partitions of a topic; for one thread.

    Records of open and aborted transactions are left out. All methods raise AuthorizationError if the cluster
    does not let this client read, and BrokerError if it does not answer.

    Attributes:
        topic: The topic.
        consumer: The client.
    """

    def __init__(
        self,
        properties: KafkaProperties,
        topic: str,
        on_statistics: OnStatistics | None = None,
        *,
        goes_on: bool = False,
    ) -> None:
        """Connect; arguments as `groupless_consumer`."""
        self.topic = topic
        try:
            self.consumer = client.groupless_consumer(properties, on_statistics, goes_on=goes_on)
        except KafkaException as error:
            raise failure(error.args[0], f"{topic} cannot be read") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client."""
        self.consumer.close()

    def bounds(self, index: int) -> tuple[int, int]:
        """Return the first offset of a partition, and its end: that before the first open transaction."""
        at = TopicPartition(self.topic, index)
        try:
            first, end = self.consumer.get_watermark_offsets(at, timeout=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            what = f"the offsets of {name_partition((self.topic, index))} are unknown"
            raise failure(error.args[0], what, right="grant Describe") from error
        return first, end

    def offsets_at(self, time_ms: int, indices: Iterable[int]) -> tuple[dict[int, int], ServiceError | None]:
        """Return each partition's first offset of a record at this time or later; -1 without one.

        A partition without an answer is missing, and one such error is the second value.
        """
        asked = [TopicPartition(self.topic, index, time_ms) for index in indices]
        what = f"the offsets of {self.topic} by time are unknown"
        try:
            found = self.consumer.offsets_for_times(asked, timeout=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise failure(error.args[0], what) from error
        errors = [
            failure(each.error, f"{what}, as in partition {each.partition}") for each in found if each.error
        ]
        offsets = {each.partition: each.offset for each in found if not each.error}
        return offsets, next(iter(errors), None)

    def read(self, index: int, start: int, stop: int, idle_s: float = _IDLE_S) -> Iterator[list[Message]]:
        """Yield the records of a partition between two offsets, the last exclusive; a batch may be empty.

        Raises:
            BrokerError: A record was deleted before it was read, or none came for `idle_s`.
        """
        at = (self.topic, index)
        self.consumer.assign([TopicPartition(self.topic, index, start)])
        position, active_s = start, time.monotonic()
        while position < stop:
            polled = sort_messages(self.consumer.consume(min(_POLL_RECORDS, stop - position), _POLL_S))
            if polled.lost_positions:
                message = (
                    f"Kafka deleted records of {name_partition(at)} from offset {position} on before they "
                    "were read; run again, with a later --from if the topic's retention has passed it"
                )
                raise BrokerError(message)
            now_s = time.monotonic()
            position = max(position, polled.ends.get(at, 0))
            if polled.records:
                active_s = now_s
                position = max(position, (polled.records[-1].offset() or 0) + 1)
                yield [record for record in polled.records if (record.offset() or 0) < stop]
            elif now_s - active_s > idle_s:
                message = (
                    f"{name_partition(at)} gave no records for {idle_s:g} s at offset {position}, before "
                    f"{stop}; check the brokers and try again"
                )
                raise BrokerError(message)

    def value(self, index: int, offset: int) -> bytes | None:
        """Return the value of a record; None if the topic no longer holds it."""
        first, end = self.bounds(index)
        if not first <= offset < end:
            return None
        # If compaction removed the record, the next one is beyond the range.
        records = chain.from_iterable(self.read(index, offset, offset + 1, _FETCH_S))
        return next((record.value() for record in records), None)
