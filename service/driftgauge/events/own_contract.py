"""The service's own contract: a preset of the mapping whose fields take no other types than its schema says.

An event is strict JSON (RFC 8259, UTF-8 without byte order mark) as orjson parses it. Where the RFC leaves a
choice: the last of duplicate keys wins; a lone surrogate, a number beyond a double's range and nesting deeper
than 1,024 are refused. A number is parsed as a double and then rounded to float32. In optional fields null
means absent. Base64 is RFC 4648's standard alphabet with padding; unused bits in its last character are
ignored. `schemas/event.v1.schema.json` is the contract for others.
"""

from collections.abc import Sequence
from typing import Any

from pybase64 import b64decode

from driftgauge.config.inputs import MAX_SEGMENTS, MAX_TEXT, InputSettings, Source
from driftgauge.events.encodings import build_encoding
from driftgauge.events.fields import Field, FoundVectors, VectorField, are_times, compile_fields
from driftgauge.events.reader import Reader
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.sources import Batch, compile_column
from driftgauge.events.timestamps import read_timestamp
from driftgauge.events.vectors import LISTS, describe_kind

__all__ = ["build_own_reader"]

_LISTS = frozenset(LISTS)
_PRESET = InputSettings.model_validate(
    {name: name for name in ("stream", "timestamp", "embedding", "event_id", "model_version", "snippet")}
)


def build_own_reader() -> Reader:
    """Return the reader of records in the service's own contract, which hold one event each."""
    fields = compile_fields(_PRESET, _require_text)
    fields["time_ms"] = Field("timestamp", _PRESET.timestamp, read_timestamp, are_times, is_required=True)
    fields["segments"] = Field("segments", Source(path="segments"), _check_segments, _are_missing)
    # A value that is no number counts as missing, and refuses no event.
    fields["numbers"] = Field("numbers", Source(path="numbers"), lambda each: each, lambda _: True)
    return Reader(_PRESET, build_encoding("", _PRESET, None), fields, [_OwnVectors()], is_own=True)


class _OwnVectors(VectorField):
    """Numbers in `embedding`, or base64 in `embedding_b64`."""

    def __init__(self) -> None:
        super().__init__(_PRESET.vectors[0], _require_text)
        self.source, self.place = None, "embedding or embedding_b64"
        self._texts = compile_column(Source(path="embedding_b64"))

    def read(self, batch: Batch) -> FoundVectors:
        """Return the vectors of a batch; see `VectorField`."""
        numbers, texts = self._get(batch), self._texts(batch)
        # Most events have numbers: a look at the types takes less time than a call for each.
        are_lists = _LISTS.issuperset(map(type, numbers)) and _are_missing(texts)
        return self.pack(numbers if are_lists else [*map(_choose, numbers, texts)])


def _choose(numbers: Any, text: Any) -> Any:
    """Return the numbers of an event, or the bytes of its base64.

    Raises:
        EventError: It has both or none, or one of another type.
    """
    if (numbers is None) == (text is None):
        raise EventError(Reason.INVALID, "embedding: exactly one of embedding and embedding_b64 is needed")
    if numbers is None:
        try:
            # The decoder takes what is short of padding. Arguments by name would take half of the time again.
            return b64decode(text if len(text) % 4 == 0 else "=", None, True)  # noqa: FBT003
        except (TypeError, ValueError):
            raise EventError(Reason.INVALID, "embedding_b64: no base64 with padding") from None
    if type(numbers) in LISTS:
        return numbers
    detail = f"embedding: {describe_kind(numbers)}, where a list of numbers is expected"
    raise EventError(Reason.INVALID, detail)


def _require_text(value: object) -> str | None:
    if value is None or type(value) is str:
        return value
    message = f"{describe_kind(value)}, where text is expected"
    raise ValueError(message)


def _are_missing(column: Sequence[object]) -> bool:
    return {type(None)}.issuperset(map(type, column))


def _check_segments(segments: Any) -> Any:
    if segments is None:
        return None
    texts = [*segments, *segments.values()] if type(segments) is dict else [None]
    are_short = all(type(each) is str and len(each) <= MAX_TEXT for each in texts)
    if not are_short or len(texts) > 2 * MAX_SEGMENTS:
        message = f"no object of at most {MAX_SEGMENTS} texts of at most {MAX_TEXT} characters each"
        raise ValueError(message)
    return segments
