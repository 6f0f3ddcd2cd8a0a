"""Kafka's client alone, which does not look at the values.

A process of its own, with the arguments BOOTSTRAP TOPIC EVENTS; prints a JSON object of processor time and
wall time, in seconds.
"""

import json
import sys
import time

from confluent_kafka import Consumer, TopicPartition
from tests.bench.usage import processor_s

BATCH = 1_000
LIMIT_S = 300


def main() -> None:
    bootstrap, topic, events = sys.argv[1:]
    began_s, unread = time.monotonic(), int(events)
    used_s = processor_s()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            # As in the service: the default of 1 s stalls a fast reader, that of 100,000 takes memory.
            "fetch.queue.backoff.ms": 20,
            "queued.min.messages": 10_000,
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, index, 0) for index in partitions])
    while unread:
        unread -= len(consumer.consume(min(BATCH, unread), 1))
        if time.monotonic() - began_s > LIMIT_S:
            sys.exit(f"{topic}: {unread} of {events} events were not read in {LIMIT_S} s")
    sys.stdout.write(json.dumps({"processor": processor_s() - used_s, "wall": time.monotonic() - began_s}))
    consumer.close()


if __name__ == "__main__":
    main()
