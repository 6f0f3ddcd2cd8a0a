"""Engines without a service: consuming alone, the floor, and a plain consumer with scikit-learn.

A process of its own, with the arguments BOOTSTRAP TOPIC ENCODING EVENTS MATRICES; prints a JSON object of
processor time and wall time, in seconds, by engine. Of encodings that only the service reads: consuming.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition
from sklearn.cluster import KMeans
from tests.bench.input_values import ENCODINGS, processor_s

BATCH = 1_000
LIMIT_S = 300


def run(
    bootstrap: str, topic: str, events: int, process: Callable[[list[Message]], None]
) -> dict[str, float]:
    """Return the time of consuming some events and processing them in batches."""
    began, began_wall = processor_s(), time.monotonic()
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
    seen = 0
    while seen < events:
        messages = consumer.consume(min(BATCH, events - seen), 1)
        seen += len(messages)
        process(messages)
        if time.monotonic() - began_wall > LIMIT_S:
            sys.exit(f"{topic}: {seen} of {events} events in {LIMIT_S} s")
    spent = {"processor": processor_s() - began, "wall": time.monotonic() - began_wall}
    consumer.close()
    return spent


def main() -> None:
    bootstrap, topic, encoding, events, path = sys.argv[1:]
    spent = {"consuming": run(bootstrap, topic, int(events), lambda messages: None)}
    if encoding in ENCODINGS:
        spent |= run_reading(bootstrap, topic, encoding, int(events), path)
    sys.stdout.write(json.dumps(spent))


def run_reading(
    bootstrap: str, topic: str, encoding: str, events: int, path: str
) -> dict[str, dict[str, float]]:
    """Return the time of the engines that read the values."""
    read = ENCODINGS[encoding].read
    with np.load(path) as matrices:
        centroids, components = matrices["centroids"], matrices["components"]
    columns = np.ascontiguousarray(centroids.T)
    directions = np.ascontiguousarray(components.T)
    model = KMeans(len(centroids), init=centroids, n_init=1, max_iter=1).fit(centroids)
    counts = np.zeros(len(centroids), np.int64)

    def matrix(messages: list[Message]) -> np.ndarray:
        vectors = np.empty((len(messages), len(columns)), np.float32)
        for row, message in enumerate(messages):
            vectors[row] = read(message.value())
        return vectors

    def floor(messages: list[Message]) -> None:
        vectors = matrix(messages)
        (vectors @ columns).argmax(axis=1)
        (vectors @ directions).sum(axis=0)

    def plain(messages: list[Message]) -> None:
        nonlocal counts
        if messages:
            counts += np.bincount(model.predict(matrix(messages)), minlength=len(counts))

    spent = {
        "floor": run(bootstrap, topic, events, floor),
        "consumer with scikit-learn": run(bootstrap, topic, events, plain),
    }
    assert counts.sum() == events
    return spent


if __name__ == "__main__":
    main()
