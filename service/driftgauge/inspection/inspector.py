"""The inspector: judges single records of a topic as the service does, and shows their fields."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from driftgauge.config import Settings
from driftgauge.core.by_stream import ByStream
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import BrokerError
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.conditions import Unmet
from driftgauge.events.decoder import Decoder
from driftgauge.events.mapped_readers import build_reader
from driftgauge.events.records import RawRecord, Records, credible_ms
from driftgauge.events.rejection import Rejection
from driftgauge.events.schemas import SchemaSource
from driftgauge.inspection.fields import FoundFields, find_fields
from driftgauge.streams import build_contracts, load_available_streams

__all__ = ["InspectedRecord", "Inspector"]


@dataclass(frozen=True, slots=True)
class InspectedRecord:
    """What the service makes of a record.

    Attributes:
        record: The record.
        events: The number of accepted events.
        rejection: Why the record is refused; None if it is not.
        unmet: The condition that filters it out; None if none does.
        found: The record's fields.
        unchecked: The streams without a baseline: dimension and model version were not checked.
    """

    record: RawRecord
    events: int
    rejection: Rejection | None
    unmet: Unmet | None
    found: FoundFields
    unchecked: tuple[str, ...]


class Inspector:
    """Judges records by the configuration, and by the baselines if there are any.

    Attributes:
        problems: Why streams have no usable baselines, by stream; empty if they have.
    """

    def __init__(self, settings: Settings, schemas: SchemaSource | None = None) -> None:
        """Create an inspector.

        Args:
            settings: The configuration.
            schemas: Where schemas come from, for encodings that need them: a `WaitingSource`.

        Raises:
            ConfigError: A library is not installed, or there is no source of schemas.
        """
        streams, problems = load_available_streams(settings)
        self.problems = ByStream({stream.key: problems.get(stream.key, []) for stream in settings.streams})
        self._settings = settings
        self._contracts = build_contracts(streams)
        self._readers = {
            topic: build_reader(topic, settings.inputs, schemas) for topic in settings.topics.events
        }

    def inspect(self, record: RawRecord, now_ms: int) -> InspectedRecord:
        """Return what the service makes of a record that is read at wall time `now_ms`.

        Raises:
            BrokerError: The schema registry does not answer.
        """
        try:
            reader = self._readers[record.topic() or ""]
            value = reader.decode(record)
            unmet = value if isinstance(value, Unmet) else None
            found = FoundFields() if unmet else find_fields(reader, record, value)
        except BrokerError:
            raise
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
            found,
            tuple(stream for stream, _ in found.dimensions if stream in unchecked),
        )

    def _unchecked(self, dimensions: Sequence[tuple[str, int]]) -> dict[str, BaselineContract]:
        """Return a contract for each stream without a baseline, which requires what the record has."""
        first = dict(reversed(dimensions))
        return {
            stream: BaselineContract(stream, "", first.get(stream) or 1, None, DistanceMetric.EUCLIDEAN)
            for stream in {*self.problems.names, *first}
            if self.problems.get(stream)
        }
