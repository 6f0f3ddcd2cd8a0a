"""Decoding the events of a stream that has no baseline yet, by the readers and checks of the service."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import InputError
from driftgauge.events.contract import MAX_TEXT
from driftgauge.events.decoder import Decoded, Decoder
from driftgauge.events.mapped import MappedReader
from driftgauge.events.outline import Outline, outline
from driftgauge.events.records import RawRecord, Records
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.events.rows import BaselineContract

__all__ = ["StreamDecoder"]

# A version that no event has, because it is too long: every event with a version is refused at first, and
# the first of them says which version it is.
_NO_VERSION = "-" * (MAX_TEXT + 1)


class StreamDecoder:
    """Decodes records, and learns dimension and model version of one stream's events from them.

    Both are learned from events in the range only: an older model may have made those before it. The
    dimension is the most frequent one of the first such records. Without a chosen version, all events in the
    range must have the same version, or none. Events outside the range may have any version.
    """

    def __init__(
        self,
        stream: str,
        topic: str,
        reader: MappedReader | None,
        *,
        metric: DistanceMetric,
        model_version: str | None,
        from_ms: int,
        until_ms: int,
        lead_ms: int,
    ) -> None:
        """Create a decoder of one topic's records.

        Args:
            stream: The stream.
            topic: The topic.
            reader: The reader of the topic; None where the topic is in the service's own contract.
            metric: The metric of the baseline; under cosine, zero vectors are refused.
            model_version: The version to read; None reads the only one.
            from_ms: The first event time of the range, milliseconds since the epoch.
            until_ms: The event time before which the range ends.
            lead_ms: How far an event's time may be ahead of its record.
        """
        self.stream = stream
        self.model_version = model_version
        self._chosen = model_version is not None
        self._readers = {} if reader is None else {topic: reader}
        self._reader = reader
        self._metric = metric
        self._from_ms = max(from_ms, 0)
        self._until_ms = until_ms
        self._lead_ms = lead_ms
        # Only a mapping with several sources of stream names finds other streams beside this one.
        self._has_several = reader is not None and any(
            vector.stream != reader.settings.vectors[0].stream for vector in reader.settings.vectors
        )
        # A record's events are accepted together, so other streams in records of this one are also expected.
        self._dimensions: dict[str, int] = {}
        # Before the first event in the range, dimensions are those of events outside, to count these.
        self._is_learned = False
        self._decoder = self._build()

    @property
    def dimension(self) -> int | None:
        """The length of the stream's vectors; None before the first of its events in the range."""
        return self._dimensions.get(self.stream) if self._is_learned else None

    def decode(self, records: Records) -> Decoded:
        """Return the decoded records, the batches of this stream only.

        Raises:
            InputError: The events in the range have several model versions, and none is chosen.
        """
        if not self._is_learned:
            self._learn_first_dimensions(records.raw)
        decoded = self._decoder.decode(records)
        while self._learn_from(records, decoded.rejections):
            decoded = self._decoder.decode(records)
        batches = tuple(batch for batch in decoded.batches if batch.stream == self.stream)
        rejections = tuple(
            replace(each, reason=Reason.WRONG_MODEL)
            if each.reason is Reason.WRONG_DIMENSION and self._is_outside(records.raw[each.row])
            else each
            for each in decoded.rejections
        )
        return Decoded(batches, rejections, decoded.filtered, decoded.pending)

    def _build(self) -> Decoder:
        contracts = []
        for stream, dimension in self._dimensions.items():
            if stream != self.stream:
                contracts.append(BaselineContract(stream, "", dimension, None, self._metric))
                continue
            version = self.model_version or _NO_VERSION
            # Of several contracts from one time on, the first is in force.
            for expected, start_ms in ((version, self._from_ms), (None, self._until_ms), (None, 0)):
                contracts.append(BaselineContract(stream, "", dimension, expected, self._metric, start_ms))
        return Decoder(contracts, lead_ms=self._lead_ms, readers=self._readers)

    def _learn_first_dimensions(self, raw: Iterable[RawRecord]) -> None:
        """Learn the dimensions from events in the range; before there is one, from those outside."""
        outlines = [each for each in self._outlines(raw) if self.stream in each.dimensions]
        inside = [each for each in outlines if self._holds(each.time_ms)]
        if inside:
            self._dimensions.clear()
            self._is_learned = True
        self._learn_dimensions(inside or outlines)

    def _learn_dimensions(self, outlines: Iterable[Outline]) -> bool:
        """Learn the dimensions of this stream's records; return whether any is new."""
        found: dict[str, Counter[int]] = {}
        for each in outlines:
            for stream, dimension in each.dimensions.items():
                if stream not in self._dimensions:
                    found.setdefault(stream, Counter())[dimension] += 1
        if not found:
            return False
        for stream, dimensions in found.items():
            self._dimensions[stream] = dimensions.most_common(1)[0][0]
        self._decoder = self._build()
        return True

    def _learn_from(self, records: Records, rejections: Iterable[Rejection]) -> bool:
        """Learn from refused records what their events need; return whether to decode again."""
        unknown = []
        for rejection in rejections:
            record = records.raw[rejection.row]
            if rejection.reason is Reason.WRONG_MODEL and not self._chosen and self._learn_version(record):
                return True
            if rejection.reason is Reason.UNKNOWN_STREAM and self._is_learned and self._has_several:
                unknown.append(record)
        return self._learn_dimensions(
            each
            for each in self._outlines(unknown)
            if self.stream in each.dimensions and self._holds(each.time_ms)
        )

    def _learn_version(self, record: RawRecord) -> bool:
        """Learn the version of this stream's events; return False if the record has another fault as well."""
        for each in self._outlines([record]):
            if self.model_version is not None:
                message = (
                    f"{record.topic()}[{record.partition()}]@{record.offset()}: model version "
                    f"{each.model_version!r} after {self.model_version!r}; choose one with --model-version"
                )
                raise InputError(message)
            self.model_version = each.model_version
            self._decoder = self._build()
            return True
        return False

    def _holds(self, time_ms: int) -> bool:
        return self._from_ms <= time_ms < self._until_ms

    def _is_outside(self, record: RawRecord) -> bool:
        return any(not self._holds(each.time_ms) for each in self._outlines([record]))

    def _outlines(self, raw: Iterable[RawRecord]) -> Iterator[Outline]:
        for record in raw:
            found = None
            # The decoder reports why a record cannot be read.
            with suppress(Exception):
                found = outline(record, self._reader)
            if found is not None:
                yield found
