"""Stand-ins for what the client library does not let a test make, and one small stream to count."""

import logging
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import orjson
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError

from driftgauge.config import Settings
from driftgauge.core.counting.assignment import Centroids, Metric
from driftgauge.core.pipeline import Pipeline
from driftgauge.core.counting.projection import Projection
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.spec import Alarm, StreamSpec
from driftgauge.core.state import Change, Progress, ProgressKey
from driftgauge.core.table import Table
from driftgauge.events.decoder import Decoder, StreamContract
from driftgauge.events.state import decode
from driftgauge.kafka.assignment import Assignment
from driftgauge.kafka.output import Output
from driftgauge.kafka.ownership import Ownership
from driftgauge.telemetry.health import Health
from driftgauge.telemetry.metrics import Telemetry, WatchedStream

TOPIC, STATE, WINDOWS, LETTERS = "embeddings", "state", "windows", "letters"
STREAM = "images"
SIZE_MS = 1_000
START_MS = 1_762_128_000_000

SPEC = StreamSpec(
    name=STREAM,
    reference=Reference(
        baseline_id="sha256:" + 8 * "0abc",
        centroids=Centroids(np.eye(4, dtype=np.float32), Metric.EUCLIDEAN),
        counts=np.array([40, 30, 20, 10], dtype=np.int64),
        radii=np.full(4, 0.5, dtype=np.float32),
        projection=Projection(
            np.array([0.4, 0.3, 0.2, 0.1]), np.eye(2, 4, dtype=np.float32), np.array([0.24, 0.21])
        ),
        dependence=None,
        dependence_ms=None,
        segments=tuple(
            SegmentReference("country", value, np.array(counts), np.zeros(2), np.diag([0.24, 0.21]))
            for value, counts in {"de": (25, 15, 10, 5), "other": (15, 15, 10, 5)}.items()
        ),
        content=b"the file of the baseline",
    ),
    sizes_ms=(SIZE_MS, 4 * SIZE_MS),
    disorder_ms=500,
    lateness_ms=1_000,
    idle_ms=2_000,
    incomplete_ms=60_000,
    min_events=1,
    alarm=Alarm(level=0.001, js_divergence=0.01, mean_shift=0.05, segment_keys=("country",)),
)
DECODER = Decoder({STREAM: StreamContract(4, "v7", Metric.EUCLIDEAN)})


def event(time_ms: int, cluster: int = 0, **fields: object) -> bytes:
    """An event at `time_ms` after the start, in a cluster."""
    vector = [float(place == cluster) for place in range(4)]
    return orjson.dumps({"stream": STREAM, "timestamp": START_MS + time_ms, "embedding": vector, **fields})


def build_settings(bootstrap: str = "localhost:9092", group: str = "g", **changes: object) -> Settings:
    """A configuration without any lead; what it says of the stream's baseline is read by nobody."""
    streams = [{"name": STREAM, "baseline": "no-such-file", "windows": ["1s", "4s"]}]
    topics = {"events": [TOPIC], "windows": WINDOWS, "dead_letters": LETTERS, "state": {TOPIC: STATE}}
    kafka = {"bootstrap.servers": bootstrap, "group.id": group}
    fields = {"kafka": kafka, "streams": streams, "topics": topics, "allowed_lead": "0s"}
    return Settings.model_validate({**fields, **changes})


def build_telemetry() -> Telemetry:
    health = Health(lambda: 0)
    health.refreshed()
    return Telemetry("0.1.0", [WatchedStream(SPEC, "v7", START_MS, "warning")], [TOPIC], health)


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


@dataclass(frozen=True)
class Sent:
    """A record that was produced in a transaction."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


class RecordingTransaction:
    """Keeps each transaction that is committed: its records, and its offsets by partition.

    `limit` is the bytes of a record's value that the client takes, `refusal` what the next commit
    raises, `delivery` the error that the open records are refused with.
    """

    def __init__(self) -> None:
        self.open: list[Sent] = []
        self.commits: list[tuple[list[Sent], dict[tuple[str, int], int]]] = []
        self.limit = 1_000_000
        self.refusal: Exception | None = None
        self._reports: list = []

    def produce(self, topic, *, partition=-1, key, value, headers=None, on_delivery=None) -> bool:
        if len(value or b"") > self.limit:
            return False
        self.open.append(Sent(topic, partition, key, value, list(headers or [])))
        self._reports.append(on_delivery)
        return True

    def commit(self, offsets, consumer, bound_s) -> None:
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            self.open = []
            raise refusal
        self.report(None)
        self.commits.append((self.open, {(at.topic, at.partition): at.offset for at in offsets}))
        self.open = []

    def report(self, error: KafkaError | None) -> None:
        """Tell of every open record whether the broker took it."""
        for report in filter(None, self._reports):
            report(error, None)
        self._reports = []

    def to(self, topic: str) -> list[Sent]:
        """What was committed to a topic."""
        return [sent for records, _ in self.commits for sent in records if sent.topic == topic]


class KnownEnds:
    """Answers each request for end offsets at the next `collect`; until then there is none."""

    def __init__(self) -> None:
        self.requests: list[list[tuple[str, int]]] = []
        self.ends: dict[tuple[str, int], int] = {}

    def request(self, partitions: Iterable[tuple[str, int]]) -> None:
        self.requests.append(list(partitions))

    def collect(self) -> dict[tuple[str, int], int]:
        asked = self.requests[-1] if self.requests else []
        return {at: self.ends[at] for at in asked if at in self.ends}


class SlowAdmin:
    """An administration client whose answers come when a test gives them."""

    def __init__(self) -> None:
        self.asked: list[dict] = []

    def list_offsets(self, partitions, *, isolation_level, request_timeout):
        answers = {partition: Future() for partition in partitions}
        self.asked.append(answers)
        return answers


class Owner:
    """An owner of some of the partitions, over stand-ins; its state is what `log` has committed."""

    def __init__(
        self,
        partitions: int = 1,
        *,
        held: Collection[int] | None = None,
        log: RecordingTransaction | None = None,
        clock: Clock | None = None,
        rewrite_commits: int | None = None,
    ) -> None:
        self.log = log or RecordingTransaction()
        self.clock = clock or Clock()
        self.ends = KnownEnds()
        self.telemetry = build_telemetry()
        self.table = Table()
        every = [(TOPIC, index) for index in range(partitions)]
        self.table.expect(every)
        self._followed = 0
        self.follow()
        mine = [at for at in every if held is None or at[1] in held]
        kept = {at: self.table.progress(at) for at in mine}
        self.assignment = Assignment({at: known.position if known else 0 for at, known in kept.items()})
        self.telemetry.assigned(mine)
        self.ownership = Ownership(
            assignment=self.assignment,
            pipeline=Pipeline(
                [SPEC],
                held=self.assignment.partitions,
                every=every,
                table=self.table,
                find_reference=lambda spec, _: spec.reference,
                established=set(),
                now_ms=self.clock(),
            ),
            decoder=DECODER,
            ends=self.ends,
            transaction=self.log,
            output=Output(
                self.log,
                windows_topic=WINDOWS,
                dead_letters_topic=LETTERS,
                state_topics={TOPIC: STATE},
                max_letter_bytes=1_000_000,
            ),
            telemetry=self.telemetry,
            clock_ms=self.clock,
            settings=build_settings(state_rewrite_commits=rewrite_commits),
        )

    def follow(self) -> None:
        """Bring what was committed since into the table."""
        for records, _ in self.log.commits[self._followed :]:
            for sent in records:
                if sent.topic == STATE:
                    self.table.apply(Change((TOPIC, sent.partition), *decode(sent.key, sent.value)))
        self._followed = len(self.log.commits)

    def read(self, *values: bytes | None, partition: int = 0, offset: int | None = None) -> None:
        """Process values that stand on a partition from an offset on, by default the next."""
        start = self.position(partition) if offset is None else offset
        stamp = (TIMESTAMP_CREATE_TIME, self.clock())
        self.ownership.process(
            [
                Record(value, partition=partition, offset=place, stamp=stamp)
                for place, value in enumerate(values, start)
            ]
        )

    def position(self, partition: int = 0) -> int:
        code = self.assignment.code(TOPIC, partition)
        assert code is not None
        return self.assignment.positions[code]

    def commit(self, *, after_ms: int = 0) -> None:
        """Commit after some wall time, and read what was committed."""
        self.clock.now_ms += after_ms
        self.ownership.commit(None, 1.0, is_current=True)
        self.follow()

    def kept(self, partition: int = 0) -> Progress | None:
        """The progress that was last committed of a partition."""
        changes = [decode(sent.key, sent.value) for sent in self.log.to(STATE) if sent.partition == partition]
        return next((value for key, value in reversed(changes) if key == ProgressKey()), None)

    @property
    def windows(self) -> list[dict]:
        """The results published, in order."""
        return [orjson.loads(sent.value) for sent in self.log.to(WINDOWS)]

    @property
    def letters(self) -> list[dict[str, bytes | None]]:
        """The headers of the dead letters, in order."""
        return [dict(sent.headers) for sent in self.log.to(LETTERS)]

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
