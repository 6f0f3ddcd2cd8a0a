"""Sending refused records back to their topics, each once, in transactions with a group's offsets."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Self

from confluent_kafka import KafkaException, TopicPartition

from driftgauge.events.records import FIRST_ORIGIN
from driftgauge.kafka import client
from driftgauge.kafka.client import REQUEST_TIMEOUT_S, KafkaProperties
from driftgauge.kafka.dead_letters import RefusedRecord
from driftgauge.kafka.metadata import count_partitions, failure
from driftgauge.kafka.transaction import ANY

__all__ = ["Requeue"]

# More than a failover, 12 s.
_TRANSACTION_S = 30.0


class Requeue:
    """Sends the dead letters of one reason back.

    A group of its own holds the offsets up to which they were sent. The transactional id has its name, so
    that the start of another run fences this one.
    """

    def __init__(self, properties: KafkaProperties, topic: str, group: str, events: Collection[str]) -> None:
        """Create the clients.

        Args:
            properties: librdkafka's properties.
            topic: The dead-letter topic.
            group: The group of the offsets.
            events: The topics that records are sent back to.
        """
        self._topic = topic
        self._group = group
        self._events = events
        self._admin = client.admin(properties)
        self._consumer = client.consumer(properties, group)
        # The prefix is that of the service's ids, so that the same right covers it.
        self._id = f"driftgauge.{group}"
        self._producer = client.transactional_producer(properties, self._id, lambda _: None)
        self._sizes: dict[str, int] = {}  # the numbers of partitions of these topics

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Close the consumer; raise AuthorizationError or BrokerError for what the client raised."""
        self._consumer.close()
        if isinstance(error, KafkaException):
            raise failure(
                error.args[0],
                "refused records cannot be sent back",
                right=f"grant Read on group {self._group}, Write on transactional id {self._id} and on "
                f"{', '.join(sorted(self._events))}",
                remedy="check the brokers and run again: nothing is sent twice",
            ) from error

    def start(self) -> None:
        """End the transactions of every other run."""
        self._sizes = count_partitions(self._admin, self._events)
        self._producer.init_transactions(_TRANSACTION_S)

    def positions(self, partitions: Sequence[int]) -> dict[int, int]:
        """Return the offsets up to which letters were sent, by partition; -1001 where none was."""
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        found = self._consumer.committed(asked, REQUEST_TIMEOUT_S)
        return {each.partition: each.offset for each in found}

    def send(self, records: Sequence[RefusedRecord], positions: Mapping[int, int]) -> None:
        """Send records back, and commit the offsets by partition up to which letters were then sent.

        A record keeps its key, value, headers, timestamp, which may be its event time, and partition, if the
        topic still has it. Where this fails, nothing was sent, or that is unknown; the positions after the
        next start show it.
        """
        offsets = [TopicPartition(self._topic, partition, end) for partition, end in positions.items()]
        try:
            self._producer.begin_transaction()
            for record in records:
                first = (
                    [] if FIRST_ORIGIN in dict(record.headers) else [(FIRST_ORIGIN, record.origin.encode())]
                )
                self._producer.produce(
                    record.topic,
                    record.letter.value(),
                    record.letter.key(),
                    self._partition(record),
                    headers=[*record.headers, *first],
                    timestamp=record.time_ms,
                )
            self._producer.send_offsets_to_transaction(
                offsets, self._consumer.consumer_group_metadata(), _TRANSACTION_S
            )
            self._producer.commit_transaction(_TRANSACTION_S)
        except KafkaException:
            with suppress(KafkaException):
                self._producer.abort_transaction(_TRANSACTION_S)
            raise

    def _partition(self, record: RefusedRecord) -> int:
        return int(record.partition) if int(record.partition) < self._sizes.get(record.topic, 0) else ANY
