"""Real replicas on a real broker, for `scale.py`: their writes a commit and processor time."""

import base64
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from tests.builders.baselines import save_baseline
from tests.harness.broker import Broker
from tests.harness.service import ReplicaProcess
from tests.harness.topics import read as read_topic
from tests.waiting import wait_for

from driftgauge.core.spec import StreamSpec

EVENTS_TOPIC = "scale"
PARTIALS, CHANGELOG = "partials", "changelog"
START_S, SETTLE_S, MEASURED_S = 60, 10, 30
TICK_S = 0.1


@dataclass(frozen=True)
class ReplicaLoad:
    """The figures of one replica.

    Attributes:
        quiet_ms: Processor time a second without events.
        busy_ms: Processor time a second with events.
        commits: Commits of COUNT a second.
        records, bytes: Written by a commit, by partials and changelog.
    """

    quiet_ms: float
    busy_ms: float
    commits: float
    records: Mapping[str, float]
    bytes: Mapping[str, float]


def serve(specs: list[StreamSpec], *, partitions: int, replicas: int, shards: int, rate: int) -> ReplicaLoad:
    """Run replicas, first without events, then with `rate` events of each stream a second."""
    with ExitStack() as stack:
        broker = stack.enter_context(Broker())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic(EVENTS_TOPIC, partitions)])[EVENTS_TOPIC].result(30)
        config = write_config(folder, broker.bootstrap, specs, shards)
        running = [
            stack.enter_context(ReplicaProcess(config, folder / f"{number}.log"))
            for number in range(replicas)
        ]
        wait_for(
            "the replicas to share the partitions",
            lambda: total(running, "driftgauge_consumer_assigned_partitions") == partitions + shards,
            within_s=START_S,
        )
        time.sleep(SETTLE_S)
        quiet = processor_s(running)
        time.sleep(MEASURED_S)
        quiet_s = processor_s(running) - quiet
        random = np.random.default_rng(0)
        producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 50, "log_level": 0})
        publish(producer, specs, partitions, rate, SETTLE_S, random)
        busy, commits = processor_s(running), count_commits(running)
        before = ends(broker.bootstrap, shards)
        started_s = time.monotonic()
        publish(producer, specs, partitions, rate, MEASURED_S, random)
        took_s = (time.monotonic() - started_s) * replicas
        busy_s, commits = processor_s(running) - busy, count_commits(running) - commits
        records, sizes = read(broker.bootstrap, before, ends(broker.bootstrap, shards))
    return ReplicaLoad(
        quiet_s * 1e3 / MEASURED_S / replicas,
        busy_s * 1e3 / took_s,
        commits[PARTIALS] / took_s,
        {name: number / commits[name] for name, number in records.items()},
        {name: number / commits[name] for name, number in sizes.items()},
    )


def total(running: list[ReplicaProcess], name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with these labels, over all replicas."""
    return sum(each.scrape().total(name, **labels) for each in running)


def processor_s(running: list[ReplicaProcess]) -> float:
    return total(running, "process_cpu_seconds_total")


def count_commits(running: list[ReplicaProcess]) -> Counter[str]:
    """Return the commits so far, by topic."""
    return Counter(
        {
            name: int(total(running, "driftgauge_commits_total", role=role, outcome="ok"))
            for name, role in ((PARTIALS, "count"), (CHANGELOG, "windows"))
        }
    )


def publish(
    producer: Producer,
    specs: list[StreamSpec],
    partitions: int,
    rate: int,
    seconds: float,
    random: np.random.Generator,
) -> None:
    """Publish every stream's events in real time, spread over the partitions."""
    started_s, sent = time.monotonic(), 0
    dimension = specs[0].baselines[0].reference.centroids.dimension
    while (passed_s := time.monotonic() - started_s) < seconds:
        while sent < passed_s * rate * len(specs):
            event = {
                "stream": specs[sent % len(specs)].name,
                "timestamp": time.time_ns() // 1_000_000,
                "embedding_b64": base64.b64encode(
                    random.standard_normal(dimension, np.float32).tobytes()
                ).decode(),
            }
            producer.produce(EVENTS_TOPIC, orjson.dumps(event), partition=int(random.integers(partitions)))
            sent += 1
        producer.poll(0)
        time.sleep(TICK_S)
    producer.flush(10)


def topic(name: str, shards: int) -> str:
    return f"driftgauge.scale.{name}.{shards}"


def ends(bootstrap: str, shards: int) -> dict[tuple[str, int], int]:
    """Return the end offsets of the internal topics."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "scale-reader"})
    try:
        return {
            (name, shard): consumer.get_watermark_offsets(TopicPartition(topic(name, shards), shard), 10)[1]
            for name in (PARTIALS, CHANGELOG)
            for shard in range(shards)
        }
    finally:
        consumer.close()


def read(
    bootstrap: str, first: dict[tuple[str, int], int], last: dict[tuple[str, int], int]
) -> tuple[Counter[str], Counter[str]]:
    """Return the number and the bytes of the records between offsets; markers are not records."""
    records: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for name in (PARTIALS, CHANGELOG):
        for message in read_topic(bootstrap, topic(name, len(first) // 2), within_s=START_S):
            at = name, message.partition() or 0
            if first[at] <= (message.offset() or 0) < last[at]:
                records[name] += 1
                sizes[name] += len(message.key() or b"") + len(message.value() or b"")
    return records, sizes


def write_config(folder: Path, bootstrap: str, specs: list[StreamSpec], shards: int) -> Path:
    for spec in specs:
        save_baseline(folder, spec.name, reference=spec.baselines[0].reference)
    config = folder / "driftgauge.yaml"
    streams = [
        {
            "name": spec.name,
            "baseline": f"{spec.name}.safetensors",
            "windows": ["1m", "1h"],
            "min_events": spec.min_events,
        }
        for spec in specs
    ]
    tree = {
        "kafka": {"bootstrap.servers": bootstrap, "group.id": "scale"},
        "topics": {
            "events": [EVENTS_TOPIC],
            "windows": "scale.windows",
            "dead_letters": "scale.dead-letters",
        },
        "shards": shards,
        "streams": streams,
        "http": {"port": 0},
    }
    config.write_text(yaml.safe_dump(tree))
    return config
