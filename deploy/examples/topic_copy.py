"""Copy a topic's committed records to a file, and back, with partitions, keys, headers and times.

    python deploy/examples/topic_copy.py read driftgauge.yaml TOPIC >topic.copy
    python deploy/examples/topic_copy.py write driftgauge.yaml TOPIC <topic.copy

Brokers and login are the configuration's. The topic must exist with as many partitions before it is written.
"""

import os
import sys
from ast import literal_eval
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from driftgauge.config import load_settings
from driftgauge.kafka import client
from driftgauge.kafka.client import KafkaProperties

_TIMEOUT_S = 60.0
_FLUSHED_RECORDS = 1_000


def read(kafka: KafkaProperties, topic: str) -> None:
    """Print a Python tuple for each record that is there now."""
    consumer = client.groupless_consumer(kafka)
    unread = set(consumer.list_topics(timeout=_TIMEOUT_S).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in unread])
    while unread:
        message = consumer.poll(_TIMEOUT_S)
        if message is None:
            sys.exit("the brokers do not answer; the copy is incomplete")
        error = message.error()
        if error is None:
            _, time_ms = message.timestamp()
            record = message.partition(), time_ms, message.key(), message.value(), message.headers()
            sys.stdout.write(f"{record}\n")
        elif error.code() == KafkaError._PARTITION_EOF:
            unread.discard(message.partition())
        else:
            raise KafkaException(error)
    consumer.close()


def write(kafka: KafkaProperties, topic: str) -> None:
    """Append the printed records."""

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            raise KafkaException(error)

    producer = client.producer(kafka)
    for number, line in enumerate(sys.stdin, 1):
        partition, time_ms, key, value, headers = literal_eval(line)
        producer.produce(
            topic,
            value,
            key,
            partition,
            on_delivery=delivered,
            timestamp=time_ms,
            headers=headers,
        )
        if number % _FLUSHED_RECORDS == 0:
            producer.flush(_TIMEOUT_S)
    if producer.flush(_TIMEOUT_S):
        sys.exit("the brokers did not take every record")


if __name__ == "__main__":
    action, config, topic = sys.argv[1:]
    kafka = load_settings(Path(config), os.environ).kafka
    {"read": read, "write": write}[action](kafka, topic)
