"""Whose transaction stands open in an internal topic: the records say who wrote them."""

from contextlib import closing

from confluent_kafka import Consumer, TopicPartition

from driftgauge.config import Settings
from driftgauge.core.partition import Partition
from driftgauge.core.windows.changelog import PositionKey
from driftgauge.errors import StateError
from driftgauge.kafka import client
from driftgauge.records.changelog import decode, encode_key
from driftgauge.records.partials import decode_part

__all__ = ["writer_of"]

# A shard's position is the last record of its transaction.
_RECORDS = 5_000
_WAIT_S = 1.0


def writer_of(settings: Settings, partition: Partition, offset: int) -> str | None:
    """Return the transactional id that wrote the open transaction at an offset; None where none says so."""
    topic, index = partition
    # Other topics are written by producers that we do not know.
    if topic not in {settings.partials_topic, settings.changelog_topic}:
        return None
    with closing(client.uncommitted_consumer(settings.kafka)) as consumer:
        consumer.assign([TopicPartition(topic, index, offset)])
        return _read(consumer, is_partials=topic == settings.partials_topic)


def _read(consumer: Consumer, *, is_partials: bool) -> str | None:
    position = encode_key(PositionKey())
    for message in consumer.consume(_RECORDS, _WAIT_S):
        key, value = message.key(), message.value()
        if message.error() is not None or value is None:
            continue
        try:
            if is_partials:
                return decode_part(value).commit.producer
            if key == position and (decoded := decode(key, value)) is not None:
                return getattr(decoded[1], "writer", None)
        except StateError:
            continue
    return None
