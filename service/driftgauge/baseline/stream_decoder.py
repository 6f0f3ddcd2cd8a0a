"""Decoding the events of a stream that has no baseline yet, by the readers and checks of the service."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from driftgauge.baseline.collecting import NameColumn
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import InputError
from driftgauge.events.decoder import Decoded, Decoder, Outcome
from driftgauge.events.mapped import MappedReader
from driftgauge.events.records import RawRecord, Records
from driftgauge.events.rejection import Reason
from driftgauge.events.rows import BaselineContract, Row, count_numbers
from driftgauge.events.timestamps import LAST_MS

__all__ = ["StreamDecoder", "TopicEvents"]

# A wrong mapping may read as many names as there are records.
_MOST_STREAMS = 10_000


@dataclass(frozen=True, slots=True)
class TopicEvents:
    """The events to read.

    Attributes:
        topic: The topic.
        stream: The stream.
        from_ms: The first event time, milliseconds since the epoch.
        until_ms: The event time before which the range ends.
        slack_ms: How much earlier and later records are read than the range of event time.
        model_version: The version to read; None reads the only one.
        metric: The metric of the baseline; under cosine, zero vectors are refused.
        keys: The segment keys to keep; None keeps all.
        name: The labels or texts that clusters are named by; None reads none.
    """

    topic: str
    stream: str
    from_ms: int = 0
    until_ms: int = LAST_MS + 1
    slack_ms: int = 0
    model_version: str | None = None
    metric: DistanceMetric = DistanceMetric.EUCLIDEAN
    keys: Collection[str] | None = ()
    name: NameColumn | None = None


class StreamDecoder:
    """Decodes records, and learns dimension and model version of one stream's events from them.

    Both are learned from events in the range only: an older model may have made those before it. The
    dimension is the most frequent one of the first such records. Without a chosen version, all events in the
    range must have the same version, or none. Events outside the range may have any version.

    Attributes:
        stream: The stream.
        model_version: The version, None while no event has one.
        streams: The streams of the events; of very many, some thousands.
    """

    def __init__(
        self,
        wanted: TopicEvents,
        reader: MappedReader,
        *,
        lead_ms: int,
        age_ms: int,
        largest_bytes: int,
        place: Callable[[RawRecord], str],
    ) -> None:
        """Create a decoder of one topic's records.

        Args:
            wanted: The events to decode.
            reader: The reader of the topic.
            lead_ms: How far an event's time may be ahead of its record.
            age_ms: How far an event's time may be behind its record.
            largest_bytes: The largest value of a record that is read.
            place: Says where a record stands.
        """
        self.stream = wanted.stream
        self.model_version = wanted.model_version
        self.streams: set[str] = set()
        self._chosen = wanted.model_version is not None
        self._metric = wanted.metric
        self._from_ms = max(wanted.from_ms, 0)
        self._until_ms = wanted.until_ms
        self._place = place
        self._build = partial(
            Decoder,
            lead_ms=lead_ms,
            age_ms=age_ms,
            readers={wanted.topic: reader},
            largest_bytes=largest_bytes,
        )
        # A record's events are accepted together, so other streams in records of this one are also expected.
        self._dimensions: dict[str, int] = {}
        # Before the first event in the range, dimensions are those of events outside, to count these.
        self._is_learned = False
        self._decoder = self._build([])

    def decode(self, records: Records) -> Decoded:
        """Return the decoded records, the batches of this stream only.

        Raises:
            InputError: The events in the range have several model versions, and none is chosen.
        """
        # The stream's events by row; those of other streams in its records are also expected.
        outcomes = list(self._decoder.read(records.raw))
        rows = {row: _events(outcome) for row, outcome in enumerate(outcomes)}
        if len(self.streams) < _MOST_STREAMS:
            self.streams.update(event[0] for events in rows.values() for event in events)
        own = {
            row: events for row, events in rows.items() if any(event[0] == self.stream for event in events)
        }
        inside = {row: events for row, events in own.items() if self._holds(events[0][1])}
        known = {**self._dimensions}, self.model_version
        self._learn_dimensions(inside, own)
        self._learn_version(inside, records.raw)
        if known != (self._dimensions, self.model_version):
            self._decoder = self._build(self._contracts())
        decoded = self._decoder.check(outcomes, records)
        batches = tuple(batch for batch in decoded.batches if batch.stream == self.stream)
        rejections = tuple(
            replace(each, reason=Reason.WRONG_MODEL)
            if each.reason is Reason.WRONG_DIMENSION and not self._holds(rows[each.row][0][1])
            else each
            for each in decoded.rejections
        )
        return Decoded(batches, rejections, decoded.filtered)

    def _contracts(self) -> list[BaselineContract]:
        # Of several contracts from one time on, the first is in force.
        of_any = [(None, 0)]
        of_own = [(self.model_version, self._from_ms), (None, self._until_ms), *of_any]
        return [
            BaselineContract(stream, "", dimension, version, self._metric, start_ms)
            for stream, dimension in self._dimensions.items()
            for version, start_ms in (of_own if stream == self.stream else of_any)
        ]

    def _learn_dimensions(
        self, inside: Mapping[int, Sequence[Row]], own: Mapping[int, Sequence[Row]]
    ) -> None:
        """Learn dimensions from events in the range; before there is one, from those outside.

        Args:
            inside: The events of the stream's records in the range, by row.
            own: The events of all of the stream's records.
        """
        if inside and not self._is_learned:
            self._dimensions.clear()
            self._is_learned = True
        found: dict[str, Counter[int]] = {}
        for events in (inside if self._is_learned else own).values():
            # Of several vectors of one stream in a record the first counts.
            for stream, _, vector, number, *_ in {event[0]: event for event in reversed(events)}.values():
                if stream not in self._dimensions:
                    found.setdefault(stream, Counter())[count_numbers(vector, number)] += 1
        for stream, dimensions in found.items():
            self._dimensions[stream] = dimensions.most_common(1)[0][0]

    def _learn_version(self, inside: Mapping[int, Sequence[Row]], raw: Sequence[RawRecord]) -> None:
        """Learn the version of the events in the range, if none is chosen.

        Raises:
            InputError: They have several.
        """
        for row, events in inside.items():
            version = events[0][5]
            if self._chosen or version in (None, self.model_version):
                continue
            if self.model_version is not None:
                message = (
                    f"{self._place(raw[row])}: model version {version!r} after {self.model_version!r}; "
                    f"choose one with --model-version"
                )
                raise InputError(message)
            self.model_version = version

    def _holds(self, time_ms: int) -> bool:
        return self._from_ms <= time_ms < self._until_ms


def _events(outcome: Outcome) -> Sequence[Row]:
    """Return the events of a record; none where it is refused, filtered or cannot be read yet."""
    if isinstance(outcome, tuple):
        return (outcome,)
    return outcome if isinstance(outcome, list) else ()
