"""The inspector: judges single records of a topic as the service does, and shows their fields."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.conditions import Unmet
from driftgauge.events.decoder import Decoder
from driftgauge.events.inputs import build_reader
from driftgauge.events.records import RawRecord, Records, credible_ms
from driftgauge.events.rejection import Rejection, SchemaPending
from driftgauge.events.rows import BaselineContract
from driftgauge.events.schemas import SchemaSource
from driftgauge.inspection.fields import FoundFields, find_fields
from driftgauge.streams import build_contracts, load_available_streams

__all__ = ["InspectedRecord", "Inspector"]

# An unknown schema is asked for three times within 3 s, and a request takes up to 5 s.
_PATIENCE_S = 9.0
_RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class InspectedRecord:
    """What the service makes of a record.

    Attributes:
        record: The record.
        events: The number of accepted events.
        rejection: Why the record is refused; None if it is not.
        unmet: The condition that filters it out; None if none does.
        is_pending: The record's schema is not known yet.
        found: The record's fields.
        unchecked: The streams without a baseline: dimension and model version were not checked.
    """

    record: RawRecord
    events: int
    rejection: Rejection | None
    unmet: Unmet | None
    is_pending: bool
    found: FoundFields
    unchecked: tuple[str, ...]


class Inspector:
    """Judges records by the configuration, and by the baselines where there are any.

    Attributes:
        problems: Why streams have no usable baselines, by stream.
    """

    def __init__(self, settings: Settings, schemas: SchemaSource | None = None) -> None:
        """Create an inspector.

        Args:
            settings: The configuration.
            schemas: Where schemas come from, for encodings that need them.

        Raises:
            ConfigError: A library is not installed, or there is no source of schemas.
        """
        streams, self.problems = load_available_streams(settings)
        self._settings = settings
        self._contracts = build_contracts(streams)
        self._readers = {
            topic: build_reader(topic, settings.inputs, schemas) for topic in settings.topics.events
        }

    def inspect_all(self, records: Sequence[RawRecord], clock: Clock) -> list[InspectedRecord]:
        """Return what the service makes of records; wait some seconds for the schemas that they need."""
        inspected = [self.inspect(record, clock.wall_ms()) for record in records]
        deadline_s = clock.monotonic_s() + _PATIENCE_S
        while any(each.is_pending for each in inspected) and clock.monotonic_s() < deadline_s:
            time.sleep(_RETRY_S)
            inspected = [
                self.inspect(each.record, clock.wall_ms()) if each.is_pending else each for each in inspected
            ]
        return inspected

    def inspect(self, record: RawRecord, now_ms: int) -> InspectedRecord:
        """Return what the service makes of a record that is read at wall time `now_ms`."""
        try:
            found, unmet = self._find(record)
        except SchemaPending:
            # The schema may come at any moment, and then the decoder would know no dimension.
            return InspectedRecord(record, 0, None, None, True, FoundFields(), ())  # noqa: FBT003
        except Exception:  # noqa: BLE001 - the decoder reports why a record cannot be read
            found, unmet = FoundFields(), None
        unchecked = self._unchecked(found.dimensions)
        decoder = Decoder(
            [*self._contracts, *unchecked.values()],
            lead_ms=self._settings.allowed_lead,
            age_ms=self._settings.allowed_age,
            readers=self._readers,
            largest_bytes=self._settings.largest_record,
        )
        decoded = decoder.decode(
            Records(
                [record],
                np.zeros(1, np.int32),
                np.array([record.offset() or 0], np.int64),
                credible_ms([record], now_ms),
            )
        )
        return InspectedRecord(
            record,
            sum(map(len, decoded.batches)),
            next(iter(decoded.rejections), None),
            unmet,
            bool(decoded.pending),
            found,
            tuple(stream for stream, _ in found.dimensions if stream in unchecked),
        )

    def _find(self, record: RawRecord) -> tuple[FoundFields, Unmet | None]:
        """Return the fields of a record, and the condition that filters it out; no field of one too large."""
        reader = self._readers[record.topic() or ""]
        if len(record.value() or b"") > self._settings.largest_record:
            return FoundFields(), None
        value = reader.decode(record)
        return (
            (FoundFields(), value) if isinstance(value, Unmet) else (find_fields(reader, record, value), None)
        )

    def _unchecked(self, dimensions: Sequence[tuple[str, int]]) -> dict[str, BaselineContract]:
        """Return a contract for each stream without a baseline, which requires what the record has."""
        first = dict(reversed(dimensions))
        return {
            stream: BaselineContract(stream, "", first.get(stream) or 1, None, DistanceMetric.EUCLIDEAN)
            for stream in self.problems
        }
