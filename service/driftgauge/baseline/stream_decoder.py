"""Decoding the events of a stream that has no baseline yet, by the readers and checks of the service."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from driftgauge.baseline.collecting import NameColumn
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import InputError
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.clock_gaps import ClockGaps
from driftgauge.events.columns import Columns
from driftgauge.events.decoder import Decoded, Decoder
from driftgauge.events.reader import Reader
from driftgauge.events.records import RawRecord, Records
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
        numbers: The names of the numbers to read.
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
    numbers: tuple[str, ...] = ()


class StreamDecoder:
    """Decodes records, and learns dimension and model version of one stream's events from them.

    Records of the stream with a time outside the range are counted and left out before anything is learned:
    an older model may have made them. The dimension is the most frequent one of the first records in the
    range. Without a chosen version, all events in the range must have the same version, or none.

    Attributes:
        model_version: The version, None while no event has one.
        streams: The streams of the events; of very many, some thousands.
        outside: The number of the stream's records before the range, and after it.
        gaps: By how much the times of the stream's records in the range differ from those of its events.
    """

    def __init__(
        self,
        wanted: TopicEvents,
        reader: Reader,
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
        self.model_version = wanted.model_version
        self.streams: set[str] = set()
        self.outside = [0, 0]
        self.gaps = ClockGaps()
        self._wanted = wanted
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
        self._decoder = self._build([])

    def decode(self, records: Records) -> Decoded:
        """Return the decoded records, the batches of this stream only.

        Raises:
            InputError: The events in the range have several model versions, and none is chosen.
        """
        wanted, columns = self._wanted, self._decoder.read(records.raw)
        if len(self.streams) < _MOST_STREAMS:
            self.streams.update(columns.stream)
        # The time of the first event of each record of the stream.
        inside: dict[int, int] = {}
        outside: dict[int, int] = {}
        kept = []
        for entry, (row, stream, time_ms) in enumerate(
            zip(columns.row, columns.stream, columns.time_ms, strict=True)
        ):
            is_inside = wanted.from_ms <= time_ms < wanted.until_ms
            if stream == wanted.stream:
                (inside if is_inside else outside).setdefault(row, time_ms)
            if stream != wanted.stream or is_inside:
                kept.append(entry)
        outside = {row: time_ms for row, time_ms in outside.items() if row not in inside}
        columns = columns.take([entry for entry in kept if columns.row[entry] not in outside])
        self.gaps.add(wanted.stream, [records.raw[row] for row in inside], [*inside.values()])
        known = {**self._dimensions}, self.model_version
        self._learn_dimensions(columns, inside)
        self._learn_version(columns, records.raw)
        if known != (self._dimensions, self.model_version):
            versions = {wanted.stream: self.model_version}
            self._decoder = self._build(
                BaselineContract(
                    stream, "", dimension, versions.get(stream), wanted.metric, numbers=wanted.numbers
                )
                for stream, dimension in self._dimensions.items()
            )
        decoded = self._decoder.check(columns, records)
        for time_ms in outside.values():
            self.outside[time_ms >= wanted.until_ms] += 1
        batches = tuple(batch for batch in decoded.batches if batch.stream == wanted.stream)
        return replace(decoded, batches=batches)

    def _learn_dimensions(self, columns: Columns, own: Collection[int]) -> None:
        """Learn dimensions from the events of the stream's records in the range, given their rows."""
        found: dict[str, dict[int, int]] = {}
        for row, stream, dimension in zip(columns.row, columns.stream, columns.dimensions(), strict=True):
            if row in own and stream not in self._dimensions:
                # Of several vectors of one stream in a record the first counts.
                found.setdefault(stream, {}).setdefault(row, dimension)
        for stream, dimensions in found.items():
            self._dimensions[stream] = Counter(dimensions.values()).most_common(1)[0][0]

    def _learn_version(self, columns: Columns, raw: Sequence[RawRecord]) -> None:
        """Learn the version of the stream's events in the range, if none is chosen.

        Raises:
            InputError: They have several.
        """
        for row, stream, version in zip(columns.row, columns.stream, columns.model_version, strict=True):
            is_known = self._wanted.model_version is not None or version in (None, self.model_version)
            if stream != self._wanted.stream or is_known:
                continue
            if self.model_version is not None:
                message = (
                    f"{self._place(raw[row])}: model version {version!r} after {self.model_version!r}; "
                    f"choose one with --model-version"
                )
                raise InputError(message)
            self.model_version = version
