"""Reading the vectors of a stream from a range of an events topic, to fit a baseline on."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from confluent_kafka import Message

from driftgauge.baseline.collecting import VectorSet
from driftgauge.baseline.event_range import EventSelection, TopicEvents
from driftgauge.baseline.stream_decoder import StreamDecoder
from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.errors import BrokerError
from driftgauge.events.inputs import build_readers
from driftgauge.events.mapped import MappedReader
from driftgauge.events.records import Records, credible_ms
from driftgauge.events.refusals import Refusals
from driftgauge.kafka.schema_registry import open_schema_registry
from driftgauge.progress import Track, WorkProgress
from driftgauge.report.topic_range import TopicRange

__all__ = ["read_topic"]

_PENDING_S = 60.0
_RETRY_S = 0.2


def read_topic(
    settings: Settings,
    wanted: TopicEvents,
    clock: Clock,
    progress: Callable[[str], None],
    *,
    track: Track,
    refusals: Refusals,
) -> VectorSet:
    """Return the vectors of a stream's events in a range of event time, ordered by partition and offset.

    The topic is read once, without a group and without commits, to its end at the start of the run.

    Args:
        settings: The configuration.
        wanted: The events to read.
        clock: The clocks.
        progress: Receives a line about what is read, and about what was read.
        track: Receives the progress.
        refusals: Counts the records of the stream that the service would refuse; these are left out.

    Raises:
        InputError: The topic is missing, or holds no event of the stream in the range.
        ConfigError: A library or a property of the schema registry is missing or wrong.
        ServiceError: Kafka or the schema registry does not answer, or does not let this client read.
    """
    inputs = {topic: each for topic, each in settings.inputs.items() if topic == wanted.topic}
    with open_schema_registry(settings, inputs.values(), clock) as schemas:
        reader = build_readers(inputs, schemas).get(wanted.topic)
        selection = EventSelection(wanted, refusals, reader)
        return _read(settings, wanted, reader, clock, progress, track, selection)


def _read(
    settings: Settings,
    wanted: TopicEvents,
    reader: MappedReader | None,
    clock: Clock,
    progress: Callable[[str], None],
    track: Track,
    selection: EventSelection,
) -> VectorSet:
    decoder = StreamDecoder(
        wanted.stream,
        wanted.topic,
        reader,
        metric=wanted.metric,
        model_version=wanted.model_version,
        from_ms=wanted.from_ms,
        until_ms=wanted.until_ms,
        lead_ms=settings.allowed_lead,
        age_ms=settings.allowed_age,
        largest_bytes=settings.largest_record,
    )
    first_ms, last_ms = wanted.from_ms - wanted.slack_ms, wanted.until_ms + wanted.slack_ms
    with TopicRange(settings.kafka, wanted.topic, first_ms, last_ms) as span:
        progress(
            f"reading about {span.offsets:,} offsets of {len(span.partitions)} partitions of {wanted.topic}"
        )
        track(WorkProgress("records read", 0, span.offsets))
        for messages in span.batches():
            _decode(decoder, messages, selection, clock)
            track(WorkProgress("records read", selection.records, span.offsets))
    selection.report(progress)
    return selection.finish(decoder.model_version)


def _decode(
    decoder: StreamDecoder, messages: Sequence[Message], selection: EventSelection, clock: Clock
) -> None:
    """Decode messages, again where a schema is not known yet.

    Raises:
        BrokerError: The schema registry gave no schema for a minute.
    """
    started_s = clock.monotonic_s()
    waiting = list(messages)
    while waiting:
        decoded = decoder.decode(_to_records(waiting, clock.wall_ms()))
        selection.count(waiting, len(decoded.filtered), decoded.rejections)
        for batch in decoded.batches:
            selection.add(batch, waiting)
        if len(decoded.pending) < len(waiting):
            # A batch may need several schemas, and each may take some tries.
            started_s = clock.monotonic_s()
        waiting = [waiting[row] for row in decoded.pending]
        selection.records -= len(waiting)
        if waiting:
            if clock.monotonic_s() - started_s > _PENDING_S:
                first = waiting[0]
                message = (
                    f"{first.topic()}[{first.partition()}]@{first.offset()}: the schema registry has not "
                    f"answered for its schema within {_PENDING_S:g} s; check the registry and run again"
                )
                raise BrokerError(message)
            time.sleep(_RETRY_S)


def _to_records(messages: Sequence[Message], now_ms: int) -> Records:
    """Return the messages of one partition as columns."""
    return Records(
        raw=messages,
        partition=np.zeros(len(messages), np.int32),
        offset=np.array([message.offset() for message in messages], np.int64),
        credible_ms=credible_ms(messages, now_ms),
    )
