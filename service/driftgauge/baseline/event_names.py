"""The labels or texts of events, by which clusters are named: a segment, or a field of the record's value."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from driftgauge.core.counting.batch import EventBatch
from driftgauge.events.mapped import MappedReader
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.sources import compile_path, to_optional_text

__all__ = ["EventNames"]


class EventNames:
    """Takes one column of labels or texts out of events."""

    def __init__(self, column: str, reader: MappedReader) -> None:
        """Create a reader of one column.

        Args:
            column: A segment key; where an event has no such segment, a path in its record's value, such as
                `request.query.text`.
            reader: The reader of the records' topic.
        """
        self._column = column
        self._reader = reader
        self._decoded: tuple[RawRecord, object] | None = None
        self._get: Callable[[object], object] | None
        try:
            self._get = compile_path(column)
        except ValueError:  # a segment key need not be a path
            self._get = None

    def of_event(self, segments: Mapping[str, str] | None, value: Callable[[], object]) -> str | None:
        """Return the label or text of an event; None where it has none, or one that is no text.

        Args:
            segments: The event's segments.
            value: Returns the decoded value of its record.
        """
        if segments is not None and self._column in segments:
            return segments[self._column]
        if self._get is None:
            return None
        try:
            return to_optional_text(self._get(value()))
        except (EventError, ValueError):
            return None

    def of_batch(self, batch: EventBatch, records: Sequence[RawRecord]) -> list[str | None]:
        """Return the labels or texts of a batch's n events.

        Args:
            batch: The events.
            records: The records from which the batch was decoded.
        """
        segments = batch.segments or [None] * len(batch)
        return [
            self.of_event(own, partial(self._decode, records[row]))
            for own, row in zip(segments, batch.row.tolist(), strict=True)
        ]

    def _decode(self, record: RawRecord) -> object:
        # The events of a record follow each other.
        if self._decoded is None or self._decoded[0] is not record:
            self._decoded = record, self._reader.decode(record)
        return self._decoded[1]
