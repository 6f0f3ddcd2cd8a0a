"""Sends records to a topic: vectors as events, at a given rate and over a given span of event time."""

import base64
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from numpy.typing import NDArray

from driftgauge.errors import BrokerError
from driftgauge.kafka.metadata import failure
from driftgauge.progress import Track, WorkProgress, ignore_progress

__all__ = ["Publication", "publish", "send"]

_FLUSH_S = 30.0
# Events are sent in slices of this length, which keeps the rate without a sleep per event.
_SLICE_S = 0.05
# The events between two reports of the progress at full speed.
_REPORT_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class Publication:
    """The events to send.

    Attributes:
        topic: The topic.
        stream: The events' stream.
        vectors: (n, d) float32.
        times_ms: (n,) int64, the event time of each vector.
        model_version: The events' model version; None leaves it out.
        as_base64: Send the vectors as base64 of little-endian float32 rather than JSON numbers.
    """

    topic: str
    stream: str
    vectors: NDArray[np.float32]
    times_ms: NDArray[np.int64]
    model_version: str | None = None
    as_base64: bool = False

    @classmethod
    def spread(
        cls,
        *,
        topic: str,
        stream: str,
        vectors: NDArray[np.float32],
        start_ms: int,
        span_ms: int,
        disorder_ms: int,
        seed: int,
        model_version: str | None = None,
        as_base64: bool = False,
    ) -> "Publication":
        """Return (n, d) vectors spread evenly over event time [start, start + span), in sending order.

        With disorder, events are sent after others that are up to `disorder_ms` later in event time.
        """
        times_ms = start_ms + np.arange(len(vectors), dtype=np.int64) * span_ms // len(vectors)
        delay_ms = np.random.default_rng(seed).uniform(0, disorder_ms, len(vectors))
        order = np.argsort(times_ms + delay_ms, kind="stable")
        return cls(topic, stream, vectors[order], times_ms[order], model_version, as_base64)

    def event(self, row: int) -> bytes:
        """Return the event of one row, encoded by the contract."""
        vector = self.vectors[row]
        event: dict[str, object] = {"stream": self.stream, "timestamp": int(self.times_ms[row])}
        if self.model_version is not None:
            event["model_version"] = self.model_version
        if self.as_base64:
            event["embedding_b64"] = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        else:
            event["embedding"] = vector
        return orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY)


def publish(
    producer: Producer, publication: Publication, *, rate: float | None, track: Track = ignore_progress
) -> None:
    """Send every event in order, at most `rate` per second if given; report the progress to `track`.

    The record timestamp stays the current time, because Kafka's retention uses it.

    Raises:
        AuthorizationError, BrokerError: As `send`.
    """

    def paced() -> Iterator[tuple[None, bytes]]:
        started_s, total = time.monotonic(), len(publication.vectors)
        for row in range(total):
            if rate is not None or row % _REPORT_EVENTS == 0:
                track(WorkProgress("events sent", row, total))
            if rate is not None:
                # poll returns at the first delivery report, long before the next event is due.
                while (ahead_s := row / rate - (time.monotonic() - started_s)) > _SLICE_S:
                    producer.poll(ahead_s)
            yield None, publication.event(row)

    send(producer, publication.topic, paced())


def send(producer: Producer, topic: str, records: Iterable[tuple[str | None, bytes]]) -> None:
    """Send records, keys and values, in order.

    Raises:
        AuthorizationError: The user may not write to the topic.
        BrokerError: The brokers did not accept every record.
    """
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    what = f"topic {topic} did not take every record"
    for key, value in records:
        try:
            producer.produce(topic, value, key, on_delivery=delivered)
        except BufferError:
            if producer.flush(_FLUSH_S):
                break
            producer.produce(topic, value, key, on_delivery=delivered)
        except KafkaException as error:
            failures.append(error.args[0])
        producer.poll(0)
        if failures:
            break
    left = producer.flush(_FLUSH_S)
    if failures:
        raise failure(failures[0], what, right=f"grant Write on {topic}")
    if left:
        message = f"{what} within {_FLUSH_S:g} s; check the brokers and the topic"
        raise BrokerError(message)
