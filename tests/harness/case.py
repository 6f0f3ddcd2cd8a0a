"""The topics, groups, baselines and configuration of one test on the real broker."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema
import numpy as np
import orjson
import yaml
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from numpy.typing import NDArray

from driftgauge.baseline.artifact import save
from driftgauge.baseline.fitting import fit_baseline
from driftgauge.core.durations import format_duration, parse_duration
from driftgauge.events.timestamps import format_timestamp
from tests.harness.service import DRIFTGAUGE, ReplicaProcess
from tests.harness.topics import SHORT_SESSION, TIMEOUT_S, DeliveryFailures, TopicOwner, committed, non_member

ROOT = Path(__file__).parents[2]
DIMENSION = 4
CLUSTERS = 4
SHARDS = 2
# A Monday long before the wall time, so that idle partitions may close its windows.
START_MS = 1_762_128_000_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
# Beyond the end of every window of a test.
CLOSING_MS = START_MS + 30 * DAY_MS

WindowKey = tuple[str, str, str]
"""Stream, window size, start."""


@dataclass(frozen=True)
class SourceEvent:
    """An event to publish; if `partition` is -1 the producer chooses."""

    stream: str
    time_ms: int
    vector: NDArray[np.float32]
    partition: int = -1
    confidence: float | None = None

    @property
    def value(self) -> bytes:
        document = {"stream": self.stream, "timestamp": self.time_ms, "embedding": self.vector}
        if self.confidence is not None:
            document["numbers"] = {"confidence": self.confidence}
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def make_events(stream: str, number: int, *, start_ms: int, span_ms: int, seed: int) -> list[SourceEvent]:
    """Return events spread evenly over a span of event time."""
    vectors = np.random.default_rng(seed).normal(size=(number, DIMENSION)).astype(np.float32)
    return [
        SourceEvent(stream, start_ms + row * span_ms // number, vector) for row, vector in enumerate(vectors)
    ]


REFERENCE = np.random.default_rng(7).normal(size=(800, DIMENSION)).astype(np.float32)
"""The vectors of each baseline."""


@dataclass
class Case(TopicOwner):
    """The topics, groups and files of one test, all with unique names."""

    folder: Path
    bootstrap: str
    windows: Sequence[str] = ("1h",)
    streams: Sequence[str] = ("alpha",)
    partitions: int | None = 4
    stream_settings: Mapping[str, object] = field(default_factory=dict)
    kafka: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    topic_config: Mapping[str, str] = field(default_factory=dict)
    shards: int = SHARDS
    further_topics: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.name = f"{self.folder.name}-{uuid4().hex[:8]}"
        self.events_topic = f"{self.name}.events"
        self.windows_topic = f"{self.name}.windows"
        self.dead_letters_topic = f"{self.name}.dead-letters"
        self.windows_group = f"{self.name}.windows"
        self.partials_topic = f"driftgauge.{self.name}.partials.{self.shards}"
        self.changelog_topic = f"driftgauge.{self.name}.changelog.{self.shards}"
        self.config = self.folder / "driftgauge.yaml"
        # Refused connections are expected where a test stops brokers.
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        self._runs = 0
        if self.partitions is not None:
            self.create(self.events_topic, self.partitions, **self.topic_config)
        for stream in self.streams:
            self.fit(stream)
        self.write_config()

    def fit(self, stream: str) -> None:
        baseline = fit_baseline(
            REFERENCE,
            stream=stream,
            clusters=CLUSTERS,
            created_ms=START_MS,
            progress=lambda _: None,
        )
        save(baseline, self.folder / f"{stream}.safetensors")

    def write_config(self) -> None:
        kafka = {
            "bootstrap.servers": self.bootstrap,
            "group.id": self.name,
            # A killed member delays its successor for a session timeout. None keeps the service's default.
            **SHORT_SESSION,
            **self.kafka,
        }
        tree = {
            "kafka": {name: value for name, value in kafka.items() if value is not None},
            "topics": {
                "events": [self.events_topic, *self.further_topics],
                "windows": self.windows_topic,
                "dead_letters": self.dead_letters_topic,
                "marks": f"{self.name}.marks",
            },
            "streams": [self._stream(stream) for stream in self.streams],
            "http": {"port": 0},
            "shards": self.shards,
            "commit_interval": "200ms",
            # Event times are those of a fixed Monday.
            "allowed_age": "10000d",
            **self.settings,
        }
        self.config.write_text(yaml.safe_dump(tree))

    def _stream(self, stream: str) -> dict[str, object]:
        settings = {
            "name": stream,
            "baseline": f"{stream}.safetensors",
            "windows": list(self.windows),
            "idle_timeout": "5s",
            "min_events": 1,
            **self.stream_settings,
        }
        return {name: value for name, value in settings.items() if value is not None}

    def serve(
        self,
        replica: str | None = None,
        settings: Mapping[str, str] | None = None,
        program: Sequence[str] = DRIFTGAUGE,
        role: str = "all",
    ) -> ReplicaProcess:
        """Start the service, with a fixed replica name if given; each run has its own log."""
        self._runs += 1
        named = {} if replica is None else {"DRIFTGAUGE_REPLICA": replica}
        log = self.folder / f"serve-{self._runs}.log"
        return ReplicaProcess(self.config, log, {**named, **(settings or {})}, program, role)

    @contextmanager
    def serving(self, *arguments: Any, **options: Any) -> Iterator[ReplicaProcess]:
        """Start the service as `serve` does; when the context ends, it must stop with status 0."""
        with self.serve(*arguments, **options) as service:
            yield service
            service.stop()

    @contextmanager
    def ready(self, *arguments: Any, **options: Any) -> Iterator[ReplicaProcess]:
        """Start the service as `serving` does, and wait until it is ready."""
        with self.serving(*arguments, **options) as service:
            service.wait_until_ready()
            yield service

    def producer(self, **properties: str | int) -> Producer:
        return Producer(
            {"bootstrap.servers": self.bootstrap, "sticky.partitioning.linger.ms": 0} | properties
        )

    def send(self, *values: bytes | None, topic: str | None = None, **options: Any) -> None:
        """Send records as they are, with these options of `produce`."""
        # More than any topic of a test takes.
        producer = self.producer(**{"message.max.bytes": 20_000_000})
        for value in values:
            producer.produce(topic or self.events_topic, value, **options)
        assert producer.flush(TIMEOUT_S) == 0

    def begin_transaction(self) -> Producer:
        """Return a producer with an open transaction, which brokers let stay open."""
        producer = self.producer(**{"transactional.id": self.name, "transaction.timeout.ms": 600_000})
        producer.init_transactions(TIMEOUT_S)
        producer.begin_transaction()
        return producer

    def publish(
        self, events: Iterable[SourceEvent], *, keyed: bool = False, topic: str | None = None
    ) -> None:
        """Send events without a rate limit; if `keyed`, each stream goes to one partition."""
        producer = self.producer()
        failures = DeliveryFailures()
        for event in events:
            key = event.stream if keyed else None
            at = {"partition": event.partition, "on_delivery": failures.note}
            producer.produce(topic or self.events_topic, event.value, key, **at)
            producer.poll(0)
        assert producer.flush(TIMEOUT_S) == 0
        assert failures == []

    def publish_last(self, events: Sequence[SourceEvent]) -> int:
        """Publish events and then the closing events; return how many were published."""
        self.publish(events)
        return len(events) + self.close_windows()

    def close_windows(self) -> int:
        """Publish the closing events, which close every earlier window; return their number."""
        closing = self.closing_events()
        self.publish(closing)
        return len(closing)

    def closing_events(self) -> list[SourceEvent]:
        """Return one event of each stream on each partition, at a time beyond all windows."""
        return [event for stream in self.streams for event in self.on_every_partition(CLOSING_MS, stream)]

    def on_every_partition(self, time_ms: int, stream: str = "alpha") -> list[SourceEvent]:
        """Return one event of a stream, of zeros, on each partition."""
        vector = np.zeros(DIMENSION, dtype=np.float32)
        return [SourceEvent(stream, time_ms, vector, partition) for partition in range(self.partitions or 0)]

    def counts_of(self, events: Iterable[SourceEvent]) -> dict[WindowKey, int]:
        """Return the number of events in each window."""
        numbers: Counter[WindowKey] = Counter()
        for event in events:
            for window in self.windows:
                size_ms = parse_duration(window)
                start = format_timestamp(event.time_ms - event.time_ms % size_ms)
                numbers[event.stream, format_duration(size_ms), start] += 1
        return dict(numbers)

    def results(self) -> list[dict[str, Any]]:
        """Return every window result, in the order of writing per window; each matches the schema."""
        schema = orjson.loads((ROOT / "schemas" / "window-result.v1.schema.json").read_bytes())
        validator = jsonschema.Draft202012Validator(schema)
        records = [orjson.loads(message.value() or b"") for message in self.read(self.windows_topic)]
        for record in records:
            validator.validate(record)
        return records

    def final_results(self) -> dict[WindowKey, dict[str, Any]]:
        """Return the last result of each window; fail unless its revisions were published once, in order."""
        final: dict[WindowKey, dict[str, Any]] = {}
        for record in self.results():
            key = record["stream"], record["window"], record["start"]
            assert record["revision"] == (final[key]["revision"] + 1 if key in final else 0), record
            final[key] = record
        return final

    def final_counts(self, stream: str | None = None) -> dict[WindowKey, int]:
        """Return the last count of each window, of one stream or all."""
        return {
            key: record["count"] for key, record in self.final_results().items() if stream in (None, key[0])
        }

    def dead_letters(self) -> list[Message]:
        return self.read(self.dead_letters_topic)

    def positions(self) -> dict[int, int]:
        """Return the offsets that COUNT has committed, by partition; open transactions do not count."""
        return self._committed(self.name, self.events_topic)

    def shard_positions(self) -> dict[int, int]:
        """Return the offsets that WINDOWS has committed in the partials topic, by shard."""
        return self._committed(self.windows_group, self.partials_topic)

    def _committed(self, group: str, topic: str) -> dict[int, int]:
        # A transaction that is open must not delay the answer.
        return committed(
            self.bootstrap, group, topic, range(self.count_partitions(topic)), "read_uncommitted"
        )

    def move_offset(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Set a group's offset as an operator does; the group must have no members."""
        wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
        altered = self.admin.alter_consumer_group_offsets([wanted])[group].result(TIMEOUT_S)
        assert all(each.error is None for each in altered.topic_partitions)

    def delete_group(self, group: str) -> None:
        """Delete a group, as its expiry does."""
        self.admin.delete_consumer_groups([group])[group].result(TIMEOUT_S)

    def ends(self) -> dict[int, int]:
        """Return the end offset of each partition of the events topic."""
        with non_member(self.bootstrap, self.name, isolation_level="read_uncommitted") as consumer:
            return {
                partition: consumer.get_watermark_offsets(
                    TopicPartition(self.events_topic, partition), timeout=TIMEOUT_S
                )[1]
                for partition in range(self.count_partitions(self.events_topic))
            }

    def members(self) -> int:
        """Return the number of members of both groups."""
        return self.count_members(self.name, self.windows_group)

    def wait_for_counts(self, service: ReplicaProcess, expected: Mapping[WindowKey, int]) -> None:
        """Wait until exactly the expected windows are published, with the expected counts.

        Those of the closing events may be published as well: on a busy machine silence closes them meanwhile.
        """
        closing = self.counts_of(self.closing_events()).keys() - expected.keys()
        service.wait_for(
            lambda: f"{len(expected)} windows: expected {dict(expected)}, found {self.final_counts()}",
            lambda: (
                {key: count for key, count in self.final_counts().items() if key not in closing} == expected
            ),
        )
