"""A range of an events topic as a source of records."""

from collections.abc import Iterator, Sequence

from driftgauge.core.partition import name_partition
from driftgauge.events.records import RawRecord
from driftgauge.progress import Track, WorkProgress
from driftgauge.report.topic_range import TopicRange

__all__ = ["TopicRecords"]


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
