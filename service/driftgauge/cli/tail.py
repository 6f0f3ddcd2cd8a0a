"""The last records of a topic, read without a consumer group."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from driftgauge.config import Settings
from driftgauge.errors import BrokerError, ConfigError
from driftgauge.kafka import client
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.metadata import failure, missing_topics

__all__ = ["read_last"]

# The time in which the brokers must send something.
_SILENCE_S = 15.0
_BATCH = 1_000
# The client connects again by itself.
_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})


def read_last(settings: Settings, topic: str, number: int) -> list[Message]:
    """Return the last committed records of a topic by their timestamps, the oldest first.

    Nothing is committed, and no group is joined.

    Raises:
        ConfigError: The topic does not exist.
        BrokerError: The cluster does not answer.
        AuthorizationError: The cluster does not let this client read.
    """
    if missing_topics(client.admin(settings.kafka), [topic]):
        message = f"topic {topic} does not exist; check kafka.bootstrap.servers, or create the topic"
        raise ConfigError(message)
    with closing(client.groupless_consumer(settings.kafka)) as consumer:
        try:
            records = _read(consumer, topic, number)
        except KafkaException as error:
            what = f"the last records of {topic} cannot be read"
            raise failure(error.args[0], what, right=f"grant Read on {topic}") from error
    records.sort(key=lambda record: (record.timestamp()[1], record.partition(), record.offset()))
    return records[-number:]


def _read(consumer: Consumer, topic: str, number: int) -> list[Message]:
    """Return the last records of each partition, `number` of each where there are so many.

    Markers of transactions and compacted records take offsets too, so a partition that has brought too few
    is read again from further back.
    """
    known = consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
    bounds = {
        partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=REQUEST_TIMEOUT_S)
        for partition in known.partitions
    }
    spans = {partition: number for partition, (low, high) in bounds.items() if high > low}
    records: list[Message] = []
    while spans:
        starts = {
            partition: max(bounds[partition][0], bounds[partition][1] - span)
            for partition, span in spans.items()
        }
        found: dict[int, list[Message]] = {partition: [] for partition in starts}
        ends = {partition: bounds[partition][1] for partition in starts}
        for message in _read_range(consumer, topic, starts, ends):
            found[message.partition() or 0].append(message)
        again = {}
        for partition, messages in found.items():
            if len(messages) < number and starts[partition] > bounds[partition][0]:
                again[partition] = 4 * spans[partition]
            else:
                records += messages[-number:]
        spans = again
    return records


def _read_range(
    consumer: Consumer, topic: str, starts: Mapping[int, int], ends: Mapping[int, int]
) -> Iterator[Message]:
    """Yield the records from `starts` to before `ends`, both by partition."""
    consumer.assign([TopicPartition(topic, partition, starts[partition]) for partition in ends])
    unread = set(ends)
    heard_s = time.monotonic()
    while unread:
        messages = consumer.consume(_BATCH, 0.5)
        if messages:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > _SILENCE_S:
            text = f"the brokers sent nothing of {topic} for {_SILENCE_S:g} s; check the brokers"
            raise BrokerError(text)
        for message in messages:
            error, partition, offset = message.error(), message.partition() or 0, message.offset() or 0
            if error is None:
                if partition in unread and offset < ends[partition]:
                    yield message
                if offset + 1 >= ends[partition]:
                    unread.discard(partition)
            elif error.code() == KafkaError._PARTITION_EOF:
                # Without a record at the end, where markers of transactions stand.
                unread.discard(partition)
            elif error.code() not in _PASSING:
                raise KafkaException(error)
