"""How fast events are read, by encoding and dimension: `make inputs`, half an hour.

The service and Kafka's client, which does not look at the values, read all events of the same topics on a
real broker, each in a process of its own, in turns. Measured is the processor time an event of the whole
process, librdkafka's threads included, and wall time. The service runs as in production: both roles,
transactions, all statistics, windows of an hour and a day.

A full run needs about 10 GB of disk in the temporary folder.
"""

import multiprocessing
import statistics
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from tests.bench.tables import say_header, say_row
from tests.bench.workload import (
    DISTINCT,
    PARTITIONS,
    Publisher,
    create_topics,
    draw_vectors,
    processor_s,
    save_fitted,
    write_config,
)
from tests.builders.clocks import DAY_MS, MONDAY_MS
from tests.events.golden_encodings import embedded_class, schema_text
from tests.harness.broker import Broker
from tests.harness.registry import Registry
from tests.harness.service import ReplicaProcess
from tests.harness.topics import committed
from tests.options import parse_options
from tests.output import say
from tests.waiting import wait_for

LIMIT_S = 600

STREAM = "bench"

Write = Callable[[np.ndarray, int], bytes]
"""Returns a record's value, given a float32 vector and its event time in ms."""


MakeWrite = Callable[[SchemaRegistryClient, str], Write]
"""Returns what writes a record's value; it registers the schema of a topic, if it needs one."""


def _write_json(vector: np.ndarray, time_ms: int) -> bytes:
    event = {"stream": STREAM, "timestamp": time_ms, "embedding": vector}
    return orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY)


def _write_base64(vector: np.ndarray, time_ms: int) -> bytes:
    text = b64encode(vector.tobytes()).decode()
    return orjson.dumps({"stream": STREAM, "timestamp": time_ms, "embedding_b64": text})


def _framed(serialize: Any, topic: str, build: Callable[[np.ndarray, int], object]) -> Write:
    """Return what frames values as Confluent's serializers do."""
    context = SerializationContext(topic, MessageField.VALUE)
    return lambda vector, time_ms: bytes(serialize(build(vector, time_ms), context))


def _avro(client: SchemaRegistryClient, topic: str) -> Write:
    def build(vector: np.ndarray, time_ms: int) -> object:
        at = datetime.fromtimestamp(time_ms / 1_000, UTC)
        return {"stream": STREAM, "at": at, "vector": vector.tobytes(), "country": None}

    return _framed(AvroSerializer(client, schema_text()), topic, build)


def _protobuf(client: SchemaRegistryClient, topic: str) -> Write:
    embedded = embedded_class()

    def build(vector: np.ndarray, time_ms: int) -> object:
        message = embedded(stream=STREAM, vector=vector.tobytes())
        message.at.FromMilliseconds(time_ms)
        return message

    return _framed(ProtobufSerializer(embedded, client), topic, build)


_FIELDS = {"stream": "stream", "timestamp": "at", "embedding": "vector"}
ENCODINGS: Mapping[str, tuple[MakeWrite, dict[str, object] | None]] = {
    "json": (lambda *_: _write_json, None),
    "base64": (lambda *_: _write_base64, None),
    "bytes": (
        lambda *_: lambda vector, _: vector.tobytes(),
        {
            "encoding": "bytes",
            "stream": {"constant": STREAM},
            "timestamp": {"record": "timestamp"},
            "embedding": {"record": "value"},
        },
    ),
    "avro": (_avro, {"encoding": "avro", **_FIELDS}),
    "protobuf": (_protobuf, {"encoding": "protobuf", **_FIELDS}),
}
"""What writes values of an encoding, and the service's settings of its topic; None: the own contract."""

Spent = Mapping[str, float]
"""The processor time and the wall time of an event, us; of the service also processor time when idle."""


@dataclass(frozen=True)
class Case:
    """An encoding and a dimension, with their topic.

    Attributes:
        encoding: A key of `ENCODINGS`.
        dimension: The length of a vector.
        events: The number of events in the topic.
        folder: Where the baseline and the configuration are.
        bootstrap: The broker's address.
        registry: The URL of the schema registry.
    """

    encoding: str
    dimension: int
    events: int
    folder: Path
    bootstrap: str
    registry: str

    @property
    def topic(self) -> str:
        return f"bench-{self.encoding}-{self.dimension}"

    def prepare(self) -> None:
        """Fit the baseline, and fill the topic with events of two days."""
        create_topics(self.bootstrap, {self.topic: PARTITIONS})
        vectors = draw_vectors(self.dimension)
        save_fitted(vectors, STREAM, self.folder / f"{self.topic}.safetensors")
        publisher = Publisher(self.bootstrap, self.topic)
        client = SchemaRegistryClient({"url": self.registry})
        write, size = ENCODINGS[self.encoding][0](client, self.topic), 0
        for number in range(self.events):
            time_ms = MONDAY_MS + number * 2 * DAY_MS // self.events
            value = write(vectors[number % DISTINCT], time_ms)
            size += len(value)
            publisher.send(value, timestamp=time_ms, partition=number % PARTITIONS)
        publisher.flush()
        say(f"{self.topic}: {size / self.events:,.0f} bytes of a value")

    def run_client(self) -> Spent:
        """Return what Kafka's client alone takes."""
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            spent = alone.submit(read_all, self.bootstrap, self.topic, self.events).result()
        return {name: seconds / self.events * 1e6 for name, seconds in spent.items()}

    def run_service(self, number: int) -> Spent:
        """Return what the service takes, both roles in one process, from the first commit to the last event.

        Commits are read from the broker: a scrape of the service would take processor time of its own. So
        does a second without events, which does not count.
        """
        group = f"{self.topic}-{number}"
        with ReplicaProcess(self._config(group), self.folder / f"{group}.log") as service:

            def look(events: int) -> tuple[float, float, int] | None:
                """Return the time, the processor time and the committed events, if these are enough."""
                offsets = committed(self.bootstrap, group, self.topic, range(PARTITIONS), "read_uncommitted")
                seen = sum(offsets.values())
                return (time.monotonic(), processor_s(service.pid), seen) if seen >= events else None

            first, last = (
                np.array(wait_for(f"{events} events", partial(look, events), within_s=LIMIT_S))
                for events in (1, self.events)
            )
            # The last windows close and are published; then nothing is left to do.
            time.sleep(5.0)
            began_s, used_s = time.monotonic(), processor_s(service.pid)
            time.sleep(20.0)
            idle = (processor_s(service.pid) - used_s) / (time.monotonic() - began_s)
            service.stop()
        wall_s, processor, events = last - first
        return {
            "processor": (processor - idle * wall_s) / events * 1e6,
            "wall": wall_s / events * 1e6,
            "idle": idle * 1e3,
        }

    def _config(self, group: str) -> Path:
        _, settings = ENCODINGS[self.encoding]
        stream = {"name": STREAM, "baseline": f"{self.topic}.safetensors", "windows": ["1h", "1d"]}
        stream["allowed_disorder"] = "1h"
        further: dict[str, object] = {} if settings is None else {"inputs": {self.topic: settings}}
        if self.encoding in {"avro", "protobuf"}:
            further["schema_registry"] = {"url": self.registry}
        return write_config(
            self.folder, self.bootstrap, group, self.topic, stream, allowed_age="10000d", **further
        )


def read_all(bootstrap: str, topic: str, events: int) -> Spent:
    """Return the seconds that Kafka's client takes to read all events; fail if it does not within a limit."""
    began_s, used_s = time.monotonic(), processor_s()
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
    unread = events
    while unread:
        unread -= len(consumer.consume(min(1_000, unread), 1))
        assert time.monotonic() - began_s < LIMIT_S, f"{topic}: {unread} events were not read in {LIMIT_S} s"
    spent = {"processor": processor_s() - used_s, "wall": time.monotonic() - began_s}
    consumer.close()
    return spent


def median(runs: list[Spent], measure: str) -> str:
    """Return the median of the runs, and in brackets the least and the most."""
    values = [spent[measure] for spent in runs]
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"


def main() -> None:
    # The turns of both, and the events of every case.
    options = parse_options(__doc__, only=ENCODINGS, rounds=2, events=300_000)
    with ExitStack() as running:
        bootstrap = running.enter_context(Broker()).bootstrap
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        registry = running.enter_context(Registry()).url
        cases = [
            Case(encoding, dimension, options.events, folder, bootstrap, registry)
            for dimension in (128, 512)
            for encoding in options.only
        ]
        for case in cases:
            case.prepare()
        runs: dict[Case, tuple[list[Spent], list[Spent]]] = {case: ([], []) for case in cases}
        for number in range(options.rounds):
            for case, (client, service) in runs.items():
                client.append(case.run_client())
                service.append(case.run_service(number))
    say("us an event, and ms of processor time a second without events: median [least, most]\n")
    say_header("topic", "client only", "driftgauge", "client only, wall", "driftgauge, wall", "idle")
    for case, both in runs.items():
        cells = [median(each, measure) for measure in ("processor", "wall") for each in both]
        say_row(case.topic, *cells, median(both[1], "idle"))


if __name__ == "__main__":
    main()
