"""Reading a range of an events topic: the vectors of a stream, to fit a baseline on, or all records."""

from collections.abc import Callable, Iterator, Sequence

from driftgauge.baseline.collecting import VectorSet
from driftgauge.baseline.event_range import select_events
from driftgauge.baseline.stream_decoder import TopicEvents
from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.partition import name_partition
from driftgauge.events.inputs import build_reader
from driftgauge.events.records import RawRecord
from driftgauge.events.refusals import Refusals
from driftgauge.kafka.schema_registry import open_schema_registry
from driftgauge.progress import Track, WorkProgress
from driftgauge.report.topic_range import TopicRange

__all__ = ["TopicRecords", "read_topic"]


class TopicRecords:
    """A range of a topic as a source of records, with the progress over it.

    Attributes:
        partitions: A number that is above the index of each partition.
        read: The number of records that were read.
    """

    def __init__(self, span: TopicRange, track: Track) -> None:
        self.partitions = 1 + max((each.index for each in span.partitions), default=0)
        self.read = 0
        self._span = span
        self._track = track

    def batches(self) -> Iterator[Sequence[RawRecord]]:
        """Yield the records, as `TopicRange.batches`."""
        self._track(WorkProgress("records read", 0, self._span.offsets))
        for messages in self._span.batches():
            self.read += len(messages)
            yield messages
            self._track(WorkProgress("records read", self.read, self._span.offsets))

    def place(self, record: RawRecord) -> str:
        """Return where a record stands, in words."""
        return f"{name_partition((self._span.topic, record.partition() or 0))}@{record.offset()}"


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
        reader = build_reader(wanted.topic, inputs, schemas)
        first_ms, last_ms = wanted.from_ms - wanted.slack_ms, wanted.until_ms + wanted.slack_ms
        with TopicRange(settings.kafka, wanted.topic, first_ms, last_ms) as span:
            partitions = f"{len(span.partitions)} partitions of {wanted.topic}"
            progress(f"reading about {span.offsets:,} offsets of {partitions}")
            selection, decoder = select_events(
                TopicRecords(span, track),
                wanted,
                reader,
                refusals,
                lead_ms=settings.allowed_lead,
                age_ms=settings.allowed_age,
                largest_bytes=settings.largest_record,
                clock=clock,
            )
    selection.report(progress)
    return selection.finish(decoder.model_version)
