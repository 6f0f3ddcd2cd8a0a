"""`driftgauge publish`: send the vectors of a file as events, at a rate and over a span of event time."""

import base64
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import click
import numpy as np
import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from numpy.typing import NDArray

from driftgauge.cli.options import DURATION, RECORDED, TIME, array_option, config_option, read_settings
from driftgauge.cli.printing import counted_refusals, json_option, print_report
from driftgauge.cli.progress import show_progress
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.engine.producer.transaction import ANY
from driftgauge.errors import BrokerError, ConfigError
from driftgauge.events.timestamps import format_timestamp
from driftgauge.kafka import client
from driftgauge.kafka.cluster import failure
from driftgauge.nearest import suggest
from driftgauge.progress import Track, WorkProgress, ignore_progress
from driftgauge.recorded.record_files import choose_topic

__all__ = ["Publication", "publish", "publish_command", "send"]

_FLUSH_S = 30.0
# Events are sent in slices of this length, which keeps the rate without a sleep per event.
_SLICE_S = 0.05
# The events between two reports of the progress at full speed.
_REPORT_EVENTS = 1_000


@click.command("publish")
@click.argument("source", metavar="FILE", type=RECORDED)
@config_option
@click.option("--stream", required=True, help="The stream name in the events.")
@click.option("--topic", help="The topic.  [default: the first events topic of the configuration]")
@array_option
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Events per second.  [default: full speed]"
)
@click.option(
    "--start",
    "start_ms",
    type=TIME,
    help="Event time of the first event, RFC 3339.  [default: now minus --span]",
)
@click.option(
    "--span",
    "span_ms",
    type=DURATION,
    default="1h",
    show_default=True,
    help="Length of event time that the events cover.",
)
@click.option(
    "--disorder", "disorder_ms", type=DURATION, default="0s", help="Largest disorder of the event times."
)
@click.option(
    "--model-version",
    help="The model version in the events. Of recorded events, only those with it or without one are sent.",
)
@click.option("--base64", "as_base64", is_flag=True, help="Send vectors as base64 instead of JSON numbers.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random numbers."
)
@json_option
def publish_command(
    source: Path,
    config_path: Path,
    stream: str,
    topic: str | None,
    array: str | None,
    rate: float | None,
    start_ms: int | None,
    span_ms: int,
    disorder_ms: int,
    model_version: str | None,
    as_base64: bool,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Send the vectors in FILE as events, spread evenly over a span of event time.

    Events from .jsonl or .jsonl.gz files keep their own times unless --start is given.
    """
    from driftgauge.baseline.vectors import read_vectors

    settings = read_settings(config_path)
    topic = _choose_target(settings, topic, stream)
    with show_progress() as track, counted_refusals() as refusals:
        read = read_vectors(
            source, array=array, stream=stream, model_version=model_version, refusals=refusals, track=track
        )
    model_version = read.model_version
    if start_ms is None and read.times_ms is not None:
        publication = Publication(topic, stream, read.vectors, read.times_ms, model_version, as_base64)
    else:
        publication = Publication.spread(
            topic=topic,
            stream=stream,
            vectors=read.vectors,
            start_ms=SYSTEM_CLOCK.wall_ms() - span_ms if start_ms is None else start_ms,
            span_ms=span_ms,
            disorder_ms=disorder_ms,
            seed=seed,
            model_version=model_version,
            as_base64=as_base64,
        )
    with show_progress() as track:
        publish(client.producer(settings.kafka), publication, rate=rate, track=track)
    first, last = (
        format_timestamp(int(time_ms)) for time_ms in (publication.times_ms.min(), publication.times_ms.max())
    )
    sent = {
        "topic": topic,
        "stream": stream,
        "model_version": model_version,
        "published": len(read.vectors),
        "first": first,
        "last": last,
        "refused": refusals.by_reason(),
    }
    line = f"published {len(read.vectors):,} events to {topic}, event time {first} to {last}"
    print_report(sent, lambda _: [line], as_json=as_json)


def _choose_target(settings: Settings, topic: str | None, stream: str) -> str:
    """Return the topic to send events of a stream to.

    Raises:
        ConfigError: The service would not read them there, or would refuse all of them.
    """
    topic = choose_topic(settings, topic or settings.topics.events[0])
    if stream not in settings.by_stream:
        remedy = suggest(stream, settings.by_stream.names, "add the stream to streams")
        message = (
            f"the configuration has no stream {stream}; the service would refuse all of its events; {remedy}"
        )
        raise ConfigError(message)
    if topic in settings.inputs:
        message = (
            f"inputs maps the records of {topic}, and publish sends events in the service's own contract, "
            "which the service would refuse there; choose a topic without a mapping (--topic), or take "
            f"inputs.{topic} out of the configuration"
        )
        raise ConfigError(message)
    return topic


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
        numbers: (n,) by name, the numbers beside the vectors.
        event_ids: n ids of the events; empty: they have none.
    """

    topic: str
    stream: str
    vectors: NDArray[np.float32]
    times_ms: NDArray[np.int64]
    model_version: str | None = None
    as_base64: bool = False
    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    event_ids: Sequence[str] = ()

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
        numbers: Mapping[str, NDArray[np.float64]] = MappingProxyType({}),
        event_ids: Sequence[str] = (),
    ) -> "Publication":
        """Return (n, d) vectors spread evenly over event time [start, start + span), in sending order.

        With disorder, events are sent after others that are up to `disorder_ms` later in event time.
        """
        times_ms = start_ms + np.arange(len(vectors), dtype=np.int64) * span_ms // len(vectors)
        delay_ms = np.random.default_rng(seed).uniform(0, disorder_ms, len(vectors))
        order = np.argsort(times_ms + delay_ms, kind="stable")
        sent = {name: values[order] for name, values in numbers.items()}
        ids = [event_ids[row] for row in order] if event_ids else ()
        return cls(topic, stream, vectors[order], times_ms[order], model_version, as_base64, sent, ids)

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
        if self.event_ids:
            event["event_id"] = self.event_ids[row]
        if self.numbers:
            event["numbers"] = {name: float(values[row]) for name, values in self.numbers.items()}
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


def send(
    producer: Producer,
    topic: str,
    records: Iterable[tuple[str | bytes | None, bytes]],
    partition: int = ANY,
) -> None:
    """Send records, keys and values, in order; to the partitions of their keys, unless one is given.

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
            producer.produce(topic, value, key, partition, on_delivery=delivered)
        except BufferError:
            if producer.flush(_FLUSH_S):
                break
            producer.produce(topic, value, key, partition, on_delivery=delivered)
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
