"""Stand-ins for what the client library does not let a test make, and one small stream to count."""

import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import orjson
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, KafkaException

from driftgauge.core.assignment import Centroids, Metric
from driftgauge.core.pipeline import Pipeline, StreamSpec
from driftgauge.events.decoder import Decoder, StreamContract
from driftgauge.kafka.assignment import Assignment
from driftgauge.kafka.output import Output
from driftgauge.kafka.ownership import Ownership
from driftgauge.kafka.state import Restored
from driftgauge.telemetry.metrics import Telemetry, WatchedStream

TOPIC = "embeddings"
STREAM = "images"
SIZE_MS = 1_000
START_MS = 1_762_128_000_000
NOTHING = Restored((), {})


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now_ms: int = START_MS + 3_600_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class Record:
    """What a poll brings: a record, or a notice where it bears an error."""

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


class RecordingProducer:
    """Keeps what it is given, and fails as it is told.

    `full` is how often the queue is full from now on, `unsent` what a flush says it has not sent,
    `refusal` the error that records are refused with on delivery, `fault` what `produce` raises,
    `limit` the bytes that a flush may send: a broker refuses a batch that is larger as a whole.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = []
        self.full = 0
        self.unsent = 0
        self.refusal: KafkaError | None = None
        self.fault: Exception | None = None
        self.limit = 1_000_000
        self.polled_s: list[float] = []
        self._undelivered: deque = deque()

    def produce(self, topic, value=None, key=None, headers=(), on_delivery=None) -> None:
        if self.fault is not None:
            raise self.fault
        if self.full:
            self.full -= 1
            raise BufferError
        self.sent.append((topic, key, value, list(headers)))
        parts = [key, value, *(part for header in headers for part in header)]
        self._undelivered.append((on_delivery, sum(len(part) for part in parts if part)))

    def poll(self, timeout_s: float) -> int:
        self.polled_s.append(timeout_s)
        return 0

    def flush(self, timeout_s: float) -> int:
        error = self.refusal
        if sum(size for _, size in self._undelivered) > self.limit:
            error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
        while self._undelivered:
            self._undelivered.popleft()[0](error, None)
        return self.unsent

    def to(self, topic: str) -> list[tuple]:
        """Return what was sent to a topic, as (key, value, headers)."""
        return [rest for sent_to, *rest in self.sent if sent_to == topic]


class RecordingState:
    """Keeps every commit; refuses as many as it is told."""

    def __init__(self) -> None:
        self.commits: list[tuple] = []
        self.refusals = 0

    def restore(self, partitions: Sequence[tuple[str, int]]) -> Restored:
        return Restored(*self.commits[-1]) if self.commits else NOTHING

    def commit(self, progress, snapshots) -> None:
        if self.refusals:
            self.refusals -= 1
            raise KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS))
        self.commits.append((tuple(progress), dict(snapshots)))


class KnownEnds:
    """Answers each request for end offsets at the next `collect`."""

    def __init__(self) -> None:
        self.requests: list[dict[int, tuple[str, int]]] = []
        self.ends: dict[tuple[str, int], int] = {}

    def request(self, partitions) -> None:
        self.requests.append(dict(partitions))

    def collect(self) -> dict[int, int]:
        asked = self.requests[-1] if self.requests else {}
        return {code: self.ends[at] for code, at in asked.items() if at in self.ends}


class SlowAdmin:
    """An administration client whose answers come when a test gives them."""

    def __init__(self) -> None:
        self.asked: list[dict] = []

    def list_offsets(self, partitions, *, request_timeout):
        answers = {partition: Future() for partition in partitions}
        self.asked.append(answers)
        return answers


SPEC = StreamSpec(
    name=STREAM,
    baseline_id="sha256:abc",
    centroids=Centroids(np.eye(4, dtype=np.float32), Metric.EUCLIDEAN),
    baseline_counts=np.array([40, 30, 20, 10], dtype=np.int64),
    sizes_ms=(SIZE_MS, 4 * SIZE_MS),
    disorder_ms=500,
    lateness_ms=1_000,
    idle_ms=2_000,
    min_events=1,
)
DECODER = Decoder({STREAM: StreamContract(4, "v7", Metric.EUCLIDEAN)})


def event(time_ms: int, cluster: int = 0, **fields: object) -> bytes:
    """An event at `time_ms` after the start, in a cluster."""
    vector = [float(place == cluster) for place in range(4)]
    return orjson.dumps({"stream": STREAM, "timestamp": START_MS + time_ms, "embedding": vector, **fields})


class Replica:
    """One owner of every partition, over stand-ins that outlive it."""

    def __init__(
        self,
        partitions: int = 1,
        *,
        state: RecordingState | None = None,
        producer: RecordingProducer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.state = state or RecordingState()
        self.producer = producer or RecordingProducer()
        self.clock = clock or Clock()
        self.ends = KnownEnds()
        self.telemetry = Telemetry("0.1.0", [WatchedStream(SPEC, "v7", START_MS)], [TOPIC])
        held = [(TOPIC, index) for index in range(partitions)]
        restored = self.state.restore(held)
        self.assignment = Assignment(held, restored.progress)
        self.telemetry.assigned(held)
        self.ownership = Ownership(
            assignment=self.assignment,
            pipeline=Pipeline([SPEC], self.assignment.partitions, self.clock(), restored.snapshots),
            decoder=DECODER,
            ends=self.ends,
            output=Output(self.producer, windows_topic="windows", dead_letters_topic="letters"),
            state=self.state,
            telemetry=self.telemetry,
            clock_ms=self.clock,
            lead_ms=0,
        )

    def read(self, *values: bytes | None, partition: int = 0, offset: int = 0) -> None:
        """Process values that stand on a partition from an offset on."""
        self.ownership.process(
            [
                Record(value, partition=partition, offset=place, stamp=(TIMESTAMP_CREATE_TIME, self.clock()))
                for place, value in enumerate(values, offset)
            ]
        )

    def commit(self) -> None:
        self.ownership.commit(flush_s=1.0)

    @property
    def windows(self) -> list[dict]:
        """The results published, in order."""
        return [orjson.loads(value) for _, value, _ in self.producer.to("windows")]

    @property
    def letters(self) -> list[dict[str, bytes | None]]:
        """The headers of the dead letters, in order."""
        return [dict(headers) for _, _, headers in self.producer.to("letters")]

    def value(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"driftgauge_{name}", labels)

    def events(self, outcome: str, stream: str = STREAM) -> float | None:
        return self.value("events_total", stream=stream, outcome=outcome)


class Lines(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
