"""Continuous events of two streams, clean or drifted: an hour of event time every half second."""

import threading
import time
from collections.abc import Iterator
from types import TracebackType

import numpy as np
import orjson
from numpy.typing import NDArray

from driftgauge.baseline.artifact import save
from driftgauge.baseline.fitting import Provenance, fit_baseline
from driftgauge.baseline.segments import find_members, parse_choice
from tests.harness.case import CLUSTERS, DIMENSION, HOUR_MS, START_MS, Case
from tests.harness.topics import TIMEOUT_S, DeliveryFailures

__all__ = ["COUNTRIES", "PARTITIONS", "REJECTED_RECORDS", "LiveTraffic", "SegmentedCase"]

PARTITIONS = 4
TICK_S = 0.5
EVENTS_PER_HOUR = 240
SHIFT = 2.0
MODEL_VERSION = "v1"
COUNTRIES = ("de", "fr", "it")
SEGMENTS = "country=de,fr"
# Half of the vectors give the histogram, which needs at least twenty times the events of the largest window:
# the sampling error of a smaller baseline is in every window, and accumulates to slow drift.
REFERENCE_COUNT = 30_000


class SegmentedCase(Case):
    """A case whose baselines have a model version, segments by country, and names of clusters."""

    def fit(self, stream: str) -> None:
        reference = np.random.default_rng(11).normal(size=(REFERENCE_COUNT, DIMENSION)).astype(np.float32)
        labels = [{"country": COUNTRIES[row % len(COUNTRIES)]} for row in range(REFERENCE_COUNT)]
        baseline = fit_baseline(
            reference,
            stream=stream,
            model_version=MODEL_VERSION,
            clusters=CLUSTERS,
            created_ms=START_MS,
            progress=lambda _: None,
            provenance=Provenance(
                members=find_members(labels, [parse_choice(SEGMENTS)]),
                labels=["above" if vector[0] > 0 else "below" for vector in reference],
                event_ids=[f"{stream}-{row}" for row in range(REFERENCE_COUNT)],
            ),
        )
        save(baseline, self.folder / f"{stream}.safetensors")


def event(
    stream: str, time_ms: int, vector: NDArray[np.float32] | list[float], number: int, **fields: object
) -> bytes:
    """Return an encoded event; `fields` replace the default fields."""
    document = {
        "stream": stream,
        "timestamp": time_ms,
        "embedding": vector,
        "model_version": MODEL_VERSION,
        "event_id": f"{stream}-{time_ms}-{number}",
        "segments": {"country": COUNTRIES[number % len(COUNTRIES)]},
        **fields,
    }
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


_VECTOR = [0.0] * DIMENSION
REJECTED_RECORDS = {
    "undecodable": b"{",
    "invalid": b'{"stream": "alpha"}',
    "unknown_stream": event("unwatched", START_MS, _VECTOR, 0),
    "wrong_model": event("alpha", START_MS, _VECTOR, 0, model_version="v0"),
    "wrong_dimension": event("alpha", START_MS, [0.0], 0),
    "non_finite": event("alpha", START_MS, [1e39] * DIMENSION, 0),
    "future": event("alpha", 4_102_444_800_000, _VECTOR, 0),
}
"""One record for each reason of a rejection."""

_LATE = event("alpha", START_MS - HOUR_MS, _VECTOR, 0)


class LiveTraffic:
    """Publishes hour after hour of each stream in a thread, until its context ends."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._drifted = dict.fromkeys(case.streams, False)
        self._rejected_due = threading.Event()
        self._stopping = threading.Event()
        self._producer = case.producer()
        self._failures = DeliveryFailures()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "LiveTraffic":
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        unsent = self._producer.flush(TIMEOUT_S)
        if exc is None:
            assert (unsent, self._failures) == (0, [])

    def set(self, stream: str, *, drifted: bool) -> float:
        """Set whether a stream's next events have drifted; return the time, seconds since the epoch."""
        now_s = time.time()
        self._drifted[stream] = drifted
        return now_s

    def publish_rejected(self) -> None:
        """Add one record for each reason of a rejection, and an event two hours late, to the next hour."""
        self._rejected_due.set()

    def _run(self) -> None:
        started = time.monotonic()
        hour = 0
        while not self._stopping.wait(max(started + hour * TICK_S - time.monotonic(), 0)):
            for partition, value in self._hour(hour):
                self._producer.produce(
                    self._case.events_topic, value, partition=partition, on_delivery=self._failures.note
                )
            self._producer.poll(0)
            hour += 1

    def _hour(self, hour: int) -> Iterator[tuple[int, bytes]]:
        start_ms = START_MS + hour * HOUR_MS
        for index, (stream, drifted) in enumerate(self._drifted.items()):
            random = np.random.default_rng((index, hour))
            vectors = random.normal(SHIFT * drifted, size=(EVENTS_PER_HOUR, DIMENSION)).astype(np.float32)
            for number, vector in enumerate(vectors):
                time_ms = start_ms + number * HOUR_MS // EVENTS_PER_HOUR
                yield number % PARTITIONS, event(stream, time_ms, vector, number)
        if self._rejected_due.is_set():
            self._rejected_due.clear()
            yield from ((0, value) for value in (*REJECTED_RECORDS.values(), _LATE))
            yield 0, event("alpha", start_ms - 2 * HOUR_MS, _VECTOR, 0)
