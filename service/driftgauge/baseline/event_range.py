"""The events of one stream in a range of event time, and the counts of all others."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from driftgauge.baseline.collecting import Collector, VectorSet
from driftgauge.baseline.stream_decoder import StreamDecoder, TopicEvents
from driftgauge.clock import SYSTEM_CLOCK, Clock
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.durations import format_duration
from driftgauge.errors import InputError
from driftgauge.events.conditions import Unmet
from driftgauge.events.reader import Reader
from driftgauge.events.records import OLDEST_MS, RawRecord
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import EventError, Reason, Rejection
from driftgauge.events.sources import compile_path, to_optional_text
from driftgauge.events.timestamps import LAST_MS, format_timestamp
from driftgauge.events.unread_items import ListItems, describe_unread, find_items
from driftgauge.nearest import suggest
from driftgauge.progress import Track
from driftgauge.recorded.record_files import LONGEST_LINE, RecordFiles, RecordSource, decode_batch

__all__ = ["EventNames", "EventSelection", "read_events", "select_events"]

# From this share of the slack on, later records probably hold events of the range as well.
_LATE_SHARE = 0.75

# Longer messages hide the fault.
_MOST_STREAMS = 20

# So many are decoded once more, to see what the mapping leaves out.
_FIRST_RECORDS = 100


def select_events(
    source: RecordSource,
    wanted: TopicEvents,
    reader: Reader,
    refusals: Refusals,
    *,
    lead_ms: int,
    age_ms: int,
    largest_bytes: int,
    clock: Clock,
) -> "EventSelection":
    """Return the wanted events of a source.

    Args:
        source: The records.
        wanted: The events to select.
        reader: The reader of the topic.
        refusals: Counts the records of the stream that are refused; these are left out.
        lead_ms: How far an event's time may be ahead of its record.
        age_ms: How far it may be behind.
        largest_bytes: The largest value of a record that is read.
        clock: The clocks.
    """
    decoder = StreamDecoder(
        wanted, reader, lead_ms=lead_ms, age_ms=age_ms, largest_bytes=largest_bytes, place=source.place
    )
    selection = EventSelection(wanted, refusals, reader, decoder, source.place)
    for raw in source.batches():
        decoded, records = decode_batch(decoder.decode, raw, clock)
        selection.count(records, len(decoded.filtered), decoded.rejections)
        for batch in decoded.batches:
            selection.add(batch, records)
    return selection


class EventSelection:
    """The events in the range, and the numbers of all others."""

    def __init__(
        self,
        wanted: TopicEvents,
        refusals: Refusals,
        reader: Reader,
        decoder: StreamDecoder,
        place: Callable[[RawRecord], str],
    ) -> None:
        """Create an empty selection.

        Args:
            wanted: The events to select.
            refusals: Counts the records of the stream that are refused.
            reader: The reader of the topic.
            decoder: Knows streams and version of the events that are added, and the number of those outside.
            place: Says where a record stands.
        """
        self.records = 0
        self._place = place
        self._decoder = decoder
        self._refusals = refusals
        self._wanted = wanted
        self._reader = reader
        self._names = None if wanted.name is None else EventNames(wanted.name.column, reader)
        self._collector: Collector | None = None
        self._filtered = self._other = 0
        self._first: list[RawRecord] = []
        # The times of the first and the last event, and of the last record with one.
        self._first_ms, self._last_ms, self._latest_ms = LAST_MS, 0, 0

    def __len__(self) -> int:
        return 0 if self._collector is None else len(self._collector)

    def add(self, batch: EventBatch, records: Sequence[RawRecord]) -> None:
        """Add the events of a batch."""
        if self._collector is None:
            self._collector = Collector(
                batch.vectors.shape[1], keys=self._wanted.keys, name=self._wanted.name
            )
        unknown = [None] * len(batch)
        self._collector.add(
            batch.vectors,
            batch.time_ms,
            batch.segments or unknown,
            None if self._names is None else self._names.of_batch(batch, records),
            batch.event_ids or unknown,
            batch.numbers,
        )
        self._first_ms = min(self._first_ms, int(batch.time_ms.min()))
        self._last_ms = max(self._last_ms, int(batch.time_ms.max()))
        self._latest_ms = max(self._latest_ms, *(records[row].timestamp()[1] for row in batch.row.tolist()))

    def count(self, records: Sequence[RawRecord], filtered: int, rejections: Sequence[Rejection]) -> None:
        """Count the records of a batch."""
        self.records += len(records)
        self._first += records[: _FIRST_RECORDS - len(self._first)]
        self._filtered += filtered
        for rejection in rejections:
            if rejection.reason in {Reason.UNKNOWN_STREAM, Reason.WRONG_MODEL}:
                self._other += 1
                continue
            self._refusals.add(self._place(records[rejection.row]), rejection.reason, rejection.detail)

    def report(self, progress: Callable[[str], None]) -> None:
        """Report what was read, and what of it was left out."""
        wanted = self._wanted
        before, after = self._decoder.outside
        asked = f"{format_timestamp(wanted.from_ms)} to {format_timestamp(wanted.until_ms)}"
        # The topic may hold only a part of the range, by its retention for example.
        span = f"{format_timestamp(self._first_ms)} to {format_timestamp(self._last_ms)}"
        found = f" from {span}" if len(self) else ""
        progress(
            f"{self.records:,} records read: {len(self):,} events of stream {wanted.stream}{found}; "
            f"asked for: {asked}; outside: {before:,} before, {after:,} after; {self._other:,} records of "
            f"other streams or versions, {self._filtered:,} filtered, {self._refusals.numbers.total():,} "
            "refused"
        )
        late_ms = self._latest_ms - wanted.until_ms
        if late_ms > _LATE_SHARE * wanted.slack_ms:
            late = format_duration(late_ms // 1_000 * 1_000)
            progress(
                f"warning: events of the range were recorded up to {late} after its end, almost as late as "
                f"the records that were read; give a longer --slack"
            )

    def warn(self, progress: Callable[[str], None]) -> None:
        """Report times that look wrong, and vectors of the first records that the mapping leaves out."""
        found = (items for record in self._first for items in self._find_items(record))
        unread = describe_unread(found, len(self._first) if len(self._first) < self.records else None)
        for warning in (*self._decoder.gaps.describe(), *unread):
            progress(f"warning: {warning}")

    def _find_items(self, record: RawRecord) -> list[ListItems]:
        try:
            value = self._reader.decode(record)
            return [] if isinstance(value, Unmet) else [*find_items(self._reader.settings, value)]
        except Exception:  # noqa: BLE001 - the decoder has reported why a record cannot be read
            return []

    def finish(self, source: str) -> VectorSet:
        """Return the events in the range; `source` names the topic or file.

        Raises:
            InputError: There is none.
        """
        if self._collector is not None:
            return self._collector.finish(self._decoder.model_version)
        wanted, streams = self._wanted, sorted(self._decoder.streams)
        version = "" if wanted.model_version is None else f" of model version {wanted.model_version!r}"
        found, remedies = [], []
        if wanted.stream not in streams:
            listed = ", ".join(streams[:_MOST_STREAMS]) or "none"
            more = f" and {len(streams) - _MOST_STREAMS:,} more" if len(streams) > _MOST_STREAMS else ""
            found.append(f"streams that were read: {listed}{more}")
            if streams:
                remedies.append(suggest(wanted.stream, streams, "check --stream and the topic's inputs"))
        if not self.records:
            remedies.append(
                "no record was read: the source is empty, or, of a topic, none was written within --slack of "
                "the time from --from to --until"
            )
        if reasons := self._refusals.by_reason():
            refused = ", ".join(f"{number:,} {reason}" for reason, number in reasons.items())
            found.append(f"{self._refusals.numbers.total():,} records were refused ({refused})")
            remedies.append("correct what the lines above say of those that were refused")
        before, after = self._decoder.outside
        if before or after:
            found.append(f"{before:,} records of the stream are before the range, and {after:,} after it")
            remedies.append(
                "choose another range by --from and --until, or, if events are recorded long after they "
                "happened, a longer --slack"
            )
        if not remedies:
            remedies.append("check --model-version and the topic's inputs")
        said = "; ".join([*found, *remedies])
        message = f"{source}: no event of stream {wanted.stream!r}{version}; {said}"
        raise InputError(message)


class EventNames:
    """Takes one column of labels or texts out of events."""

    def __init__(self, column: str, reader: Reader) -> None:
        """Create a reader of one column.

        Args:
            column: A segment key; if an event has no such segment, a path in its record's value, such as
                `request.query.text`.
            reader: The reader of the records' topic.
        """
        self._column = column
        self._reader = reader
        self._decoded: tuple[RawRecord, object] | None = None
        self._get: Callable[[object], object] | None = None
        with suppress(ValueError):  # a segment key need not be a path
            self._get = compile_path(column)

    def of_batch(self, batch: EventBatch, records: Sequence[RawRecord]) -> list[str | None]:
        """Return the labels or texts of n events; None if an event has none, or one that is no text.

        Args:
            batch: The events.
            records: The records from which the batch was decoded.
        """
        segments = batch.segments or [None] * len(batch)
        return [
            self._of_event(own or {}, records[row])
            for own, row in zip(segments, batch.row.tolist(), strict=True)
        ]

    def _of_event(self, segments: Mapping[str, str], record: RawRecord) -> str | None:
        if self._get is None or self._column in segments:
            return segments.get(self._column)
        try:
            # The events of a record follow each other.
            if self._decoded is None or self._decoded[0] is not record:
                self._decoded = record, self._reader.decode(record)
            return to_optional_text(self._get(self._decoded[1]))
        except (EventError, ValueError):
            return None


def read_events(
    path: Path, wanted: TopicEvents, reader: Reader, track: Track, refusals: Refusals
) -> EventSelection:
    """Return one stream's events, in the order of the file.

    Args:
        path: The file, see `RecordFiles`.
        wanted: The events to read.
        reader: The reader of their topic.
        track: Receives the progress.
        refusals: Counts the records of the stream that are refused; these are left out.

    Raises:
        InputError: The file cannot be read, or a version must be chosen.
    """
    # No time is too far ahead of the clock in a file; a line that was cut is too large.
    return select_events(
        RecordFiles([path], wanted.topic, track, refusals),
        wanted,
        reader,
        refusals,
        lead_ms=LAST_MS,
        age_ms=OLDEST_MS,
        largest_bytes=LONGEST_LINE - 1,
        clock=SYSTEM_CLOCK,
    )
