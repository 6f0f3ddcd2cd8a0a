"""The events of a chaos run: what they are, and the process that publishes them at an even pace.

Both follow from seed, number and time alone, so the publisher makes them anew rather than be sent them.
"""

import base64
import multiprocessing
import signal
import time
from dataclasses import dataclass
from enum import IntEnum
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final

import numpy as np
import orjson
from confluent_kafka import KafkaError, Message, Producer
from numpy.typing import NDArray

PARTITIONS: Final = 12
STREAMS: Final = ("alpha", "beta", "gamma")
SHARES: Final = (0.45, 0.45, 0.1)
# The last stream is keyed to one partition; to it the others are idle. The rest are on every partition.
KEYED_PARTITION: Final = 7
DIMENSION: Final = 4

# A Monday, long ago: silence may close its windows. A second of the run is 20 of event time.
START_MS: Final = 1_762_128_000_000
SPEED: Final = 20
DISORDER_MS: Final = 25_000

# Far apart against their spread, so that rounding cannot move a vector from one cluster to another.
CENTRES: Final = np.vstack([np.zeros(DIMENSION), 10 * np.eye(DIMENSION)])
SPREAD: Final = 0.5

FAULTY: Final = 1 / 1_000
TICK_S: Final = 0.02
START_S: Final = 60.0
LONGEST_OUTAGE_S: Final = 300.0


class Fault(IntEnum):
    """What is wrong with an event; the service's word for it is the name in small letters."""

    NONE = 0
    UNDECODABLE = 1
    UNKNOWN_STREAM = 2
    WRONG_DIMENSION = 3


def blobs(blob: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float32]:
    """One (4,) vector around the centre that each entry names."""
    noise = random.normal(scale=SPREAD, size=(len(blob), DIMENSION))
    return (CENTRES[blob] + noise).astype(np.float32)


@dataclass(frozen=True)
class Workload:
    """Events in order of sending, evenly over `seconds`; each array has one entry an event.

    Attributes:
        stream: Index into STREAMS.
        partition: Where it is sent.
        time_ms: Event time, up to DISORDER_MS before others that are sent earlier.
        vectors: (n, 4) float32; their mix of blobs shifts in the course of the run.
        fault: What is wrong with it.
    """

    seed: int
    seconds: float
    stream: NDArray[np.int64]
    partition: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    vectors: NDArray[np.float32]
    fault: NDArray[np.int64]

    @classmethod
    def make(cls, seed: int, events: int, seconds: float) -> "Workload":
        random = np.random.default_rng(seed)
        progress = np.arange(events) / events
        stream = random.choice(len(STREAMS), p=SHARES, size=events)
        partition = random.integers(PARTITIONS, size=events)
        partition[stream == len(STREAMS) - 1] = KEYED_PARTITION
        delay_ms = random.integers(DISORDER_MS, size=events)
        shifted = random.random(events) < progress / 2
        blob = np.where(shifted, 0, random.integers(len(CENTRES), size=events))
        fault = np.where(random.random(events) < FAULTY, random.choice(list(Fault)[1:], size=events), 0)
        return cls(
            seed=seed,
            seconds=seconds,
            stream=stream,
            partition=partition,
            time_ms=START_MS + (progress * seconds * SPEED * 1_000).astype(np.int64) - delay_ms,
            vectors=blobs(blob, random),
            fault=fault,
        )

    def __len__(self) -> int:
        return len(self.stream)

    def value(self, row: int) -> bytes:
        """The record of one event; no two are alike."""
        fault = self.fault[row]
        vector = self.vectors[row]
        if fault == Fault.WRONG_DIMENSION:
            vector = vector[1:]
        stream = "delta" if fault == Fault.UNKNOWN_STREAM else STREAMS[self.stream[row]]
        document: dict[str, object] = {
            "stream": stream,
            "timestamp": int(self.time_ms[row]),
            "event_id": str(row),
        }
        if stream == "beta":
            document["embedding_b64"] = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        else:
            document["embedding"] = vector
        value = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        return value[:-1] if fault == Fault.UNDECODABLE else value


class Publishing:
    """A process of its own that sends the workload; a context manager that ends it."""

    def __init__(self, workload: Workload, bootstrap: str, topic: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_publish,
            args=(workload.seed, len(workload), workload.seconds, bootstrap, topic, answers),
            daemon=True,
        )
        self._process.start()
        answers.close()

    def __enter__(self) -> "Publishing":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.join()

    def wait_for_start(self) -> float:
        """The moment, by the monotonic clock, when the first event is sent."""
        started_s: float = self._answer(START_S)
        return started_s

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def wait_for_end(self, within_s: float) -> None:
        """Wait until the broker has every event; AssertionError where it has refused one."""
        problem = self._answer(within_s)
        assert problem == "", problem

    def _answer(self, within_s: float) -> Any:
        assert self._answers.poll(within_s), f"the publisher did not answer within {within_s:g} s"
        try:
            return self._answers.recv()
        except EOFError:
            raise AssertionError("the publisher died; it says why on stderr") from None


def _publish(seed: int, events: int, seconds: float, bootstrap: str, topic: str, answers: Connection) -> None:
    """Send everything in order; answers when it begins, and at the end what went wrong, if anything."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    workload = Workload.make(seed, events, seconds)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 10,
            "queue.buffering.max.messages": events,
            "message.timeout.ms": int(LONGEST_OUTAGE_S * 1_000),
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,  # refused connections are part of the run
        }
    )
    failures: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error.str())

    producer.list_topics(topic, timeout=10.0)
    started_s = time.monotonic()
    answers.send(started_s)
    row = 0
    while row < events and not failures:
        due = min(events, int((time.monotonic() - started_s) / seconds * events) + 1)
        for due_row in range(row, due):
            place = int(workload.partition[due_row])
            producer.produce(topic, workload.value(due_row), partition=place, on_delivery=delivered)
        row = due
        producer.poll(TICK_S)
    unsent = producer.flush(LONGEST_OUTAGE_S)
    if unsent:
        failures.append(f"{unsent:,} events were not delivered within {LONGEST_OUTAGE_S:g} s")
    answers.send(failures[0] if failures else "")
