"""Reads a topic's records from the beginning to the end."""

import time
from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from tests.kafka.closing import close
from tests.waiting import PATIENCE_S


def read(
    bootstrap: str, topic: str, *, within_s: float, isolation: str = "read_committed"
) -> Iterator[Message]:
    """Yield the present records, each partition's in order; none if the topic does not exist."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{topic}.reader",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    try:
        known = consumer.list_topics(timeout=PATIENCE_S).topics
        unread = set(known[topic].partitions) if topic in known else set()
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in unread])
        deadline = time.monotonic() + within_s
        while unread:
            assert time.monotonic() < deadline, f"{topic} was not read within {within_s:g} s"
            for message in consumer.consume(10_000, 0.1):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                else:
                    raise KafkaException(error)
    finally:
        close(consumer, f"the reader of {topic}")
