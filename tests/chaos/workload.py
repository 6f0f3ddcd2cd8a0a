"""The events of a chaos run, generated from a specification, and the process that publishes them."""

import base64
import multiprocessing
import signal
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
import orjson
from confluent_kafka import Producer
from numpy.typing import NDArray

from tests.harness.topics import DeliveryFailures
from tests.waiting import PATIENCE_S

PARTITIONS: Final = 12
STREAMS: Final = ("alpha", "beta", "gamma", "live", "minutes")
# The stream of the burst has no share.
SHARES: Final = (0.42, 0.42, 0.08, 0.08)
# The stream of the topic with the unclean election.
LOSSY: Final = "lossy"
KEYED, LIVE, BURST = (STREAMS.index(stream) for stream in ("gamma", "live", "minutes"))
DIMENSION: Final = 4

# A Monday in the past, so that idle partitions let windows close. Event time runs at 20 times the speed of
# the run, except in the live stream, whose event time is the send time.
START_MS: Final = 1_762_128_000_000
LIVE_DISORDER_MS: Final = 3_000

# A late event arrives after its windows are final: the service allows 30 minutes, some of which a partition
# may lag the others.
LATE_MS: Final = (3_600_000, 10_800_000)

# The centres are far apart relative to the spread, so that rounding cannot change a vector's cluster.
CENTRES: Final = np.vstack([np.zeros(DIMENSION), 10 * np.eye(DIMENSION)])


class Fault(IntEnum):
    """What makes an event invalid; the service's rejection reason is the name in lower case."""

    NONE = 0
    UNDECODABLE = 1
    UNKNOWN_STREAM = 2
    WRONG_DIMENSION = 3


def blobs(blob: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float32]:
    """Return a (4,) vector around the centre of each entry."""
    noise = random.normal(scale=0.5, size=(len(blob), DIMENSION))
    return (CENTRES[blob] + noise).astype(np.float32)


@dataclass(frozen=True)
class WorkloadSpec:
    """What determines a workload.

    Attributes:
        seed: The random seed.
        events: The number of events, those of the burst included.
        seconds: The duration of publishing.
        live_from_ms: The wall clock time at which publishing starts; the live stream's first event time.
        released_s: When the burst is released, from the start of publishing; not before 0.3 of it.
    """

    seed: int
    events: int
    seconds: float
    live_from_ms: int
    released_s: float

    @property
    def fast_ms(self) -> int:
        """How far fast clocks are ahead; less in a short run, which cannot wait for such windows."""
        return min(240_000, int(self.seconds * 800))

    @property
    def panes(self) -> int:
        """The number of panes of the burst."""
        return min(self.events // 5, 20_000)


@dataclass(frozen=True)
class Workload:
    """Events in send order, at a constant rate but for the burst; each array has one entry an event.

    Attributes:
        spec: What determines the events.
        sent_ms: When the event is sent, from the start of publishing.
        stream: Index into STREAMS.
        partition: The partition to which the event is sent.
        time_ms: Event time; out of order by the disorder, or more if straggling, late or fast.
        blob: Index into CENTRES; the mix shifts during the run. It is the number beside the vector.
        vectors: (n, 4) float32, around the centres.
        fault: What makes the event invalid, if anything.
        late: Whether the event arrives after all its windows are final.
    """

    spec: WorkloadSpec
    sent_ms: NDArray[np.float64]
    stream: NDArray[np.int64]
    partition: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    blob: NDArray[np.int64]
    vectors: NDArray[np.float32]
    fault: NDArray[np.int64]
    late: NDArray[np.bool_]

    @classmethod
    def make(cls, spec: WorkloadSpec) -> "Workload":
        random, events = np.random.default_rng(spec.seed), spec.events - spec.panes - 1
        progress = np.arange(events) / events
        stream = random.choice(len(SHARES), p=SHARES, size=events)
        partition = random.integers(PARTITIONS, size=events)
        # The keyed stream has one partition, the other streams have all.
        partition[stream == KEYED] = 7
        is_live = stream == LIVE
        # Before a tenth of the run no window is final yet.
        late = ~is_live & (random.random(events) < 1 / 200) & (progress >= 0.1)
        # A straggling event arrives after its windows have closed, and causes a revision.
        straggling = ~is_live & (random.random(events) < 1 / 1_000)
        fast = is_live & (random.random(events) < 0.3)
        fast &= (progress > 0.2) & (progress < 0.7)
        delay_ms = random.integers(25_000, size=events)
        delay_ms += np.where(straggling, random.integers(120_000, 300_000, size=events), 0)
        delay_ms += np.where(late, random.integers(*LATE_MS, size=events), 0)
        live_delay_ms = random.integers(LIVE_DISORDER_MS, size=events) - np.where(fast, spec.fast_ms, 0)
        sent_ms = progress * spec.seconds * 1_000
        time_ms = np.where(
            is_live,
            spec.live_from_ms + sent_ms.astype(np.int64) - live_delay_ms,
            START_MS + (sent_ms * 20).astype(np.int64) - delay_ms,
        )
        shifted = random.random(events) < progress / 2
        blob = np.where(shifted, 0, random.integers(len(CENTRES), size=events))
        fault = np.where(random.random(events) < 1 / 1_000, random.choice(list(Fault)[1:], size=events), 0)
        steady = cls(spec, sent_ms, stream, partition, time_ms, blob, blobs(blob, random), fault, late)
        return _merge(steady, _burst(spec, random))

    def __len__(self) -> int:
        return len(self.stream)

    @property
    def ends(self) -> dict[int, int]:
        """The number of events sent to each partition."""
        return dict(enumerate(np.bincount(self.partition, minlength=PARTITIONS).tolist()))

    def value(self, row: int) -> bytes:
        """Return the record of one event; no two are equal."""
        fault = self.fault[row]
        vector = self.vectors[row]
        if fault == Fault.WRONG_DIMENSION:
            vector = vector[1:]
        stream = "delta" if fault == Fault.UNKNOWN_STREAM else STREAMS[self.stream[row]]
        document: dict[str, object] = {
            "stream": stream,
            "timestamp": int(self.time_ms[row]),
            "event_id": str(row),
            "numbers": {"blob": int(self.blob[row])},
        }
        if stream == "beta":
            document["embedding_b64"] = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        else:
            document["embedding"] = vector
        value = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        return value[:-1] if fault == Fault.UNDECODABLE else value


def _burst(spec: WorkloadSpec, random: np.random.Generator) -> Workload:
    """Return old events of one partition, a minute apart, so that each has a pane of its own.

    One event of another partition holds the watermark until it is released, so that all panes wait, and then
    close together.
    """
    events = spec.panes + 1
    pane, is_last = np.arange(events), np.arange(events) == spec.panes
    is_holding = (pane == 0) | is_last
    # The stream has a longer idle timeout.
    held_s = random.uniform(0.1, 0.3) * min(spec.seconds, 90.0)
    blob = random.integers(len(CENTRES), size=events)
    return Workload(
        spec=spec,
        sent_ms=np.where(is_last, spec.released_s, spec.released_s - held_s) * 1_000,
        stream=np.full(events, BURST),
        partition=np.where(is_holding, 8, 3),
        # The last pane has two events, and ends where the other streams begin.
        time_ms=START_MS + (np.minimum(pane, spec.panes - 1) - spec.panes) * 60_000,
        blob=blob,
        vectors=blobs(blob, random),
        fault=np.zeros(events, dtype=np.int64),
        late=np.zeros(events, dtype=np.bool_),
    )


def _merge(first: Workload, second: Workload) -> Workload:
    """Return the events of two workloads in the order in which they are sent."""
    order = np.argsort(np.concatenate([first.sent_ms, second.sent_ms]), kind="stable")
    arrays = (each.name for each in fields(Workload) if each.name != "spec")
    return replace(
        first,
        **{name: np.concatenate([getattr(first, name), getattr(second, name)])[order] for name in arrays},
    )


LONGEST_OUTAGE_S: Final = 900.0


class PublisherProcess(AbstractContextManager["PublisherProcess"]):
    """A child process that publishes the workload; a context manager that kills it."""

    def __init__(self, workload: Workload, bootstrap: str, topic: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_publish,
            args=(workload.spec, bootstrap, topic, answers),
            daemon=True,
        )
        self._process.start()
        answers.close()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def wait_for_answer(self, within_s: float) -> Any:
        """Return when the first event was sent, by the monotonic clock; then, what was not delivered."""
        assert self._answers.poll(within_s), f"the publisher did not answer within {within_s:g} s"
        try:
            return self._answers.recv()
        except EOFError:
            raise AssertionError("the publisher died; see its stderr") from None


def _publish(spec: WorkloadSpec, bootstrap: str, topic: str, answers: Connection) -> None:
    """Publish all events in order; send the start time, and at the end the errors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and kills this process
    workload = Workload.make(spec)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 10,
            "queue.buffering.max.messages": spec.events,
            "message.timeout.ms": int(LONGEST_OUTAGE_S * 1_000),
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,  # refused connections are expected
        }
    )
    failures = DeliveryFailures()
    producer.list_topics(topic, timeout=PATIENCE_S)
    # No live event may be sent before its event time.
    time.sleep(max(0.0, spec.live_from_ms / 1_000 - time.time()))
    started_s = time.monotonic()
    answers.send(started_s)
    row = 0
    while row < len(workload) and not failures:
        elapsed_ms = (time.monotonic() - started_s) * 1_000
        due = int(np.searchsorted(workload.sent_ms, elapsed_ms, side="right"))
        for due_row in range(row, due):
            partition = int(workload.partition[due_row])
            producer.produce(topic, workload.value(due_row), partition=partition, on_delivery=failures.note)
        row = due
        producer.poll(0.02)
    unsent = producer.flush(LONGEST_OUTAGE_S)
    late = [f"{unsent:,} events were not delivered within {LONGEST_OUTAGE_S:g} s"] if unsent else []
    answers.send([*(error.str() for error in failures[:1]), *late])
