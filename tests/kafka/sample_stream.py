"""A sample stream with its settings, and fakes of client objects that tests cannot create."""

import logging
from dataclasses import dataclass

import orjson
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.decoder import Decoder
from driftgauge.events.rows import BaselineContract
from tests.core.builders import CLUSTERS, build_reference, build_spec

TOPIC, LETTERS = "embeddings", "letters"
STREAM = "images"
START_MS = 1_762_128_000_000
SHARDS = 2


def event(time_ms: int, cluster: int = 0, stream: str = STREAM, **fields: object) -> bytes:
    """Return an event at `time_ms` after the start, in a cluster."""
    vector = [float(number == cluster) for number in range(CLUSTERS)]
    return orjson.dumps({"stream": stream, "timestamp": START_MS + time_ms, "embedding": vector, **fields})


class ManualClock:
    """A clock that advances only by `advance`."""

    def __init__(self, now_ms: int = START_MS + 3_600_000) -> None:
        self.now_ms = now_ms
        self.now_s = 1_000.0
        self.clock = Clock(lambda: self.now_ms, lambda: self.now_s)

    def advance(self, seconds: float) -> None:
        self.now_ms += round(1_000 * seconds)
        self.now_s += seconds


class Record:
    """A message of a poll: a record, or a notice if it has an error."""

    def __init__(
        self,
        value: bytes | None = b"",
        *,
        topic: str | None = TOPIC,
        partition: int | None = 0,
        offset: int | None = 0,
        key: bytes | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
        stamp: tuple[int, int] = (TIMESTAMP_CREATE_TIME, START_MS),
        error: KafkaError | None = None,
    ) -> None:
        self._value, self._key, self._headers = value, key, headers
        self._topic, self._partition, self._offset = topic, partition, offset
        self._stamp, self._error = stamp, error

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return self._key

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self._headers

    def topic(self) -> str | None:
        return self._topic

    def partition(self) -> int | None:
        return self._partition

    def offset(self) -> int | None:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return self._stamp

    def error(self) -> KafkaError | None:
        return self._error


@dataclass(frozen=True)
class ProducedRecord:
    """A record that was produced in a transaction."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


class RecordingTransaction:
    """Keeps the records produced.

    Attributes:
        sent: The records.
        limit: The largest value in bytes that the client accepts.
    """

    def __init__(self) -> None:
        self.sent: list[ProducedRecord] = []
        self.limit = 1_000_000

    def produce(self, topic, partition, key, value, headers=None) -> bool:
        if len(value or b"") > self.limit:
            return False
        self.sent.append(ProducedRecord(topic, partition, key, value, list(headers or [])))
        return True


class LogLines(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


# Windows of one second; one stream of each shard.
SPECS = tuple(
    build_spec(
        stream, reference=build_reference(stream), sizes_ms=(1_000,), disorder_ms=500, lateness_ms=10**9
    )
    for stream in (STREAM, "texts")
)
DECODER = Decoder(
    [
        BaselineContract(spec.name, spec.baselines[0].reference.key, CLUSTERS, None, DistanceMetric.EUCLIDEAN)
        for spec in SPECS
    ],
    lead_ms=300_000,
)


def build_settings(kafka: dict[str, object], *, windows: str, letters: str, events: str) -> Settings:
    """Return a configuration; its baseline files do not exist, and no test reads them."""
    return Settings.model_validate(
        {
            "kafka": kafka,
            "streams": [{"name": spec.name, "baseline": "no-such-file", "windows": ["1s"]} for spec in SPECS],
            "topics": {"events": [events], "windows": windows, "dead_letters": letters},
            "shards": SHARDS,
            "commit_interval": "100ms",
        }
    )
