"""Real replicas on a real broker, for `scale.py`: their writes a commit and processor time."""

import base64
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families
from tests.kafka.broker import Broker

from driftgauge.baseline.artifact import Baseline, BaselineMetadata, save
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec

EVENTS_TOPIC = "scale"
PARTIALS, CHANGELOG = "partials", "changelog"
START_S, SETTLE_S, MEASURED_S = 60, 10, 30
TICK_S = 0.1


@dataclass(frozen=True)
class Served:
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


def serve(specs: list[StreamSpec], *, partitions: int, replicas: int, shards: int, rate: int) -> Served:
    """Run replicas, first without events, then with `rate` events of each stream a second."""
    with ExitStack() as stack:
        broker = stack.enter_context(Broker())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic(EVENTS_TOPIC, partitions)])[EVENTS_TOPIC].result(30)
        config = write_config(folder, broker.bootstrap, specs, shards)
        running = [
            stack.enter_context(replica(config, folder / f"{number}.log")) for number in range(replicas)
        ]
        deadline = time.monotonic() + START_S
        while (
            sum(each.value("driftgauge_consumer_assigned_partitions") for each in running)
            < partitions + shards
        ):
            if time.monotonic() > deadline:
                sys.exit(f"the replicas did not share the partitions in {START_S} s")
            time.sleep(0.5)
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
    return Served(
        quiet_s * 1e3 / MEASURED_S / replicas,
        busy_s * 1e3 / took_s,
        commits[PARTIALS] / took_s,
        {name: number / commits[name] for name, number in records.items()},
        {name: number / commits[name] for name, number in sizes.items()},
    )


class Replica:
    """The metrics of a replica process."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._port: int | None = None

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels; 0 until the process serves HTTP."""
        if self._port is None:
            lines = [line for line in self._log.read_text().splitlines() if '"http server started"' in line]
            if not lines:
                return 0
            self._port = int(orjson.loads(lines[0])["port"])
        text = urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10).read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@contextmanager
def replica(config: Path, log: Path) -> Iterator[Replica]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "driftgauge", "serve", "--config", str(config)], stderr=output
        )
        try:
            yield Replica(log)
        finally:
            process.terminate()
            process.wait(30)


def processor_s(running: list[Replica]) -> float:
    return sum(each.value("process_cpu_seconds_total") for each in running)


def count_commits(running: list[Replica]) -> Counter[str]:
    """Return the commits so far, by topic."""
    roles = {PARTIALS: "count", CHANGELOG: "windows"}
    return Counter(
        {
            name: int(
                sum(each.value("driftgauge_commits_total", role=role, outcome="ok") for each in running)
            )
            for name, role in roles.items()
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
    shards = len(first) // 2
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "scale-reader", "enable.partition.eof": True}
    )
    try:
        for (name, shard), start in first.items():
            consumer.assign([TopicPartition(topic(name, shards), shard, start)])
            while True:
                message = consumer.poll(10)
                if message is None or message.error() or (message.offset() or 0) >= last[name, shard]:
                    break
                records[name] += 1
                sizes[name] += len(message.key() or b"") + len(message.value() or b"")
    finally:
        consumer.close()
    return records, sizes


def write_config(folder: Path, bootstrap: str, specs: list[StreamSpec], shards: int) -> Path:
    for spec in specs:
        save(build_baseline(spec.name, spec.baselines[0].reference), folder / f"{spec.name}.safetensors")
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


def build_baseline(stream: str, reference: Reference) -> Baseline:
    return Baseline(
        metadata=BaselineMetadata(
            stream=stream,
            model_version=None,
            dimension=reference.centroids.dimension,
            clusters=reference.centroids.clusters,
            metric=reference.centroids.metric,
            fitted_count=1_000,
            reference_count=int(reference.counts.sum()),
            window_ms=None,
            training_set=False,
            stability=None,
            seed=0,
            created_ms=0,
            versions={},
        ),
        centroids=reference.centroids,
        counts=reference.counts,
        quantile_levels=np.array([0.5, 0.99]),
        distance_quantiles=np.repeat(reference.radii[:, None], 2, axis=1) * np.array([0.5, 1], np.float32),
        mean=reference.projection.mean,
        components=reference.projection.components,
        variances=reference.projection.variances,
        overdispersion=None,
        segments=(),
    )
