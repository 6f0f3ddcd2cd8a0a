"""What the last records of an events topic say of their events' times."""

from driftgauge.config import Settings
from driftgauge.events.clock_gaps import ClockGaps
from driftgauge.events.decoder import Decoder
from driftgauge.events.inputs import build_reader
from driftgauge.events.schemas import SchemaSource
from driftgauge.events.timestamps import LAST_MS
from driftgauge.report.topic_range import TopicRange

__all__ = ["describe_event_times"]

# Of a topic with hundreds of partitions, reading them all would take minutes.
_RECORDS, _PARTITIONS = 100, 8


def describe_event_times(settings: Settings, topic: str, schemas: SchemaSource | None) -> list[str]:
    """Return a sentence for each stream whose last events are whole hours from their records.

    The topic's last 100 records are read, from eight partitions at most.

    Raises:
        BrokerError: The cluster or the schema registry does not answer, or denies the topic.
        ConfigError: A library is not installed.
        InputError: The topic is missing.
    """
    gaps = ClockGaps()
    decoder = Decoder([], lead_ms=LAST_MS, readers={topic: build_reader(topic, settings.inputs, schemas)})
    with TopicRange(settings.kafka, topic, 0, LAST_MS) as span:
        records = span.read_last(_RECORDS, _PARTITIONS)
    for record, outcome in zip(records, decoder.read(records), strict=True):
        events = [outcome] if isinstance(outcome, tuple) else outcome if isinstance(outcome, list) else ()
        for stream, time_ms in {event[:2] for event in events}:
            gaps.add(stream, record, time_ms)
    return gaps.describe()
