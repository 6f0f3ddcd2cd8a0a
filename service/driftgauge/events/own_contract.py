"""The service's own contract: a preset of the mapping, with the contract itself as the exact judge."""

from collections.abc import Mapping, Sequence
from typing import Any

from driftgauge.config.inputs import InputSettings, VectorSettings
from driftgauge.events.columns import ColumnReader, NotSureError
from driftgauge.events.contract import read_json
from driftgauge.events.encodings import build_encoding
from driftgauge.events.fields import VectorField
from driftgauge.events.reader import Reader
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.rows import Row, are_segments, read_exact
from driftgauge.events.sources import Batch
from driftgauge.events.timestamps import read_timestamp
from driftgauge.events.vectors import LISTS

__all__ = ["OwnContractReader"]

_PRESET = InputSettings.model_validate(
    {name: name for name in ("stream", "timestamp", "embedding", "event_id", "model_version", "snippet")}
)
_NUMBERS = VectorField(_PRESET.vectors[0])
_IN_BASE64 = VectorField(VectorSettings.model_validate({"stream": "stream", "embedding": "embedding_b64"}))


_NONE = type(None)


class _OwnColumns(ColumnReader):
    """Reads the values of the contract, which is stricter than a mapping."""

    own_id = None

    def __init__(self) -> None:
        super().__init__(_PRESET)
        self.read_time = read_timestamp

    def texts(self, column: Sequence[object], most: int | None = None) -> Sequence[str | None]:
        """Return a column that is texts."""
        if not {str, _NONE}.issuperset(map(type, column)):
            raise NotSureError
        return super().texts(column, most)

    def vectors(self, batch: Batch) -> Sequence[Any]:
        """Return the numbers of each event, else its base64."""
        numbers = super().vectors(batch)
        texts = self.texts([value.get("embedding_b64") for value in batch.values])
        kinds = [*map(type, numbers)]
        given = [text for text in texts if text is not None]
        # base64 has no more padding than its bytes need.
        is_odd = str in kinds or any(len(text) % 4 or text[:1] == "[" for text in given)
        is_odd |= any(type(number) is list and type(next(iter(number), 0)) in LISTS for number in numbers)
        if is_odd or len(given) != kinds.count(_NONE):
            raise NotSureError
        return [text if number is None else number for number, text in zip(numbers, texts, strict=True)]

    def segments(self, batch: Batch) -> Sequence[Mapping[str, str] | None]:
        """Return the segments as they are."""
        segments = [value.get("segments") for value in batch.values]
        if not all(each is None or are_segments(each) for each in segments):
            raise NotSureError
        return segments


class OwnContractReader(Reader):
    """Reads one event a record."""

    gives_ids = False

    def __init__(self) -> None:
        super().__init__(_PRESET, build_encoding("", _PRESET, None), _OwnColumns())
        self.segments_source = "segments"
        self.unit = None

    def judge(self, record: RawRecord, value: object) -> list[Row]:
        """Return the event of a record by the contract itself."""
        document = read_json(record.value() or b"")
        try:
            return [read_exact(document)]
        except EventError as error:
            stream = document.get("stream") if isinstance(document, dict) else None
            error.stream = stream if isinstance(stream, str) else None
            raise

    def vector_fields(self, value: object) -> list[VectorField]:
        """Return the field that has the vector: numbers, else base64."""
        has_numbers = not isinstance(value, dict) or value.get("embedding") is not None
        return [_NUMBERS if has_numbers else _IN_BASE64]

    def segments(self, record: RawRecord, value: object, item: object) -> dict[str, str] | None:
        """Return the segments as they are."""
        segments = value.get("segments") if isinstance(value, dict) else None
        return segments if isinstance(segments, dict) else None
