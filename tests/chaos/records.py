"""Reading a topic's committed records from its beginning to its end."""

import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

READ_S: Final = 180.0
REQUEST_TIMEOUT_S: Final = 30.0


def read_committed(bootstrap: str, topic: str) -> Iterator[Message]:
    """Yield the records that are there now, each partition's in order, within a bound."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{topic}.reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    try:
        unread = set(consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in unread])
        deadline = time.monotonic() + READ_S
        while unread:
            assert time.monotonic() < deadline, f"{topic} was not read within {READ_S:g} s"
            for message in consumer.consume(10_000, 0.1):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()
