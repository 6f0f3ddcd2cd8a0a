"""The service's own contract as a mapping; the contract itself judges what the fast path is not sure of."""

from driftgauge.config.inputs import InputSettings, VectorSettings
from driftgauge.events.deserializers import compile_array, deserialize_json
from driftgauge.events.mapped import MappedReader
from driftgauge.events.mapped_fast import compile_own
from driftgauge.events.mapped_fields import VectorField
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.rows import Row, read_exact

__all__ = ["OwnContractReader"]

_MAPPING = InputSettings.model_validate(
    {name: name for name in ("stream", "timestamp", "embedding", "event_id", "model_version", "snippet")}
)


_NUMBERS = VectorField(_MAPPING.vectors[0])
_IN_BASE64 = VectorField(VectorSettings.model_validate({"stream": "stream", "embedding": "embedding_b64"}))


class OwnContractReader(MappedReader):
    """Reads one event a record; one thread's, as its parser is."""

    gives_ids = False

    def __init__(self) -> None:
        super().__init__(_MAPPING, deserialize_json, compile_array(["embedding"]))
        self.segments_source = "segments"
        self.unit = None
        self._read_fast = compile_own()

    def read(self, record: RawRecord) -> Row:
        """Return the event of a record.

        Raises:
            EventError: The record has no value, is not JSON, or as `read_exact`.
        """
        if record.value() is None:
            raise EventError(Reason.UNDECODABLE, "no value (a tombstone)")
        row = self._read_fast(record, self._read_mapped(record))
        if row is not None:
            return row
        document = deserialize_json(record)
        try:
            return read_exact(document)
        except EventError as error:
            stream = document.get("stream") if isinstance(document, dict) else None
            error.stream = stream if isinstance(stream, str) else None
            raise

    def vector_fields(self, value: object) -> list[VectorField]:
        """Return the field that has the vector: numbers, else base64."""
        has_numbers = not isinstance(value, dict) or value.get("embedding") is not None
        return [_NUMBERS if has_numbers else _IN_BASE64]

    def segments(self, record: RawRecord, value: object) -> dict[str, str] | None:
        """Return the segments as they are."""
        segments = value.get("segments") if isinstance(value, dict) else None
        return segments if isinstance(segments, dict) else None
