"""The contract of events, version 1.

An event is strict JSON (RFC 8259, UTF-8 without byte order mark) as orjson parses it. Where the RFC leaves a
choice: the last of duplicate keys wins; a lone surrogate, a number beyond a double's range and nesting deeper
than 1,024 are refused. A number is parsed as a double and then rounded to float32. In optional fields null
means absent. Base64 is RFC 4648's standard alphabet with padding; unused bits in its last character are
ignored.

`schemas/` is generated from this model and from `records.window_record`.
"""

from binascii import a2b_base64
from typing import Annotated, Self

import numpy as np
import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from driftgauge.config.fields import STREAM_NAME
from driftgauge.config.inputs import MAX_SEGMENTS, MAX_TEXT
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.timestamps import DATE_TIME, LAST_MS, read_timestamp
from driftgauge.events.vectors import describe_kind

__all__ = [
    "MAX_SEGMENTS",
    "MAX_TEXT",
    "STREAM_NAME",
    "Event",
    "read_json",
    "validate_event",
]

# Whole 16-character blocks carry whole float32s; 6 characters carry 4 bytes, 11 carry 8.
_FLOATS_BASE64 = (
    r"(?:[A-Za-z0-9+/]{16})*"
    r"(?:[A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{11}=|[A-Za-z0-9+/]{6}==)"
)

# What a vector should be, where pydantic's own message names Python's types.
_EXPECTED = {
    "list_type": "a list of numbers is",
    "float_type": "a number is",
    "too_short": "at least one number is",
}

# In some regular expression dialects, Python's among them, $ also matches before a final newline.
_ONE_LINE: dict[str, object] = {"not": {"pattern": "\\n"}}

ShortText = Annotated[str, Field(max_length=MAX_TEXT)]


class Event(BaseModel):
    """One embedding that a model produced. Exactly one of embedding and embedding_b64 is required."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["embedding"],
                    "properties": {"embedding": {"type": "array"}, "embedding_b64": {"type": "null"}},
                },
                {
                    "required": ["embedding_b64"],
                    "properties": {"embedding_b64": {"type": "string"}, "embedding": {"type": "null"}},
                },
            ]
        },
    )

    stream: Annotated[str, Field(pattern=f"^{STREAM_NAME}$", json_schema_extra=_ONE_LINE)]
    """The embedding stream of the event: the output of one model in one deployment."""

    timestamp: Annotated[
        int,
        BeforeValidator(read_timestamp),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 0, "maximum": LAST_MS},
                    {"type": "string", "format": "date-time", "pattern": f"^{DATE_TIME}$", **_ONE_LINE},
                ]
            }
        ),
    ]
    """The event time: epoch milliseconds, written without fraction or exponent, or an RFC 3339
    date-time with offset; within the years 1970 to 9999. Digits below a millisecond are truncated."""

    embedding: Annotated[list[float], Field(min_length=1, fail_fast=True)] | None = None
    """The vector, as a flat array of numbers. Each is rounded to float32 and must stay finite:
    nothing beyond about 3.4e38."""

    embedding_b64: (
        Annotated[str, Field(pattern=f"^{_FLOATS_BASE64}$", json_schema_extra=_ONE_LINE)] | None
    ) = None
    """The vector, as base64 (standard alphabet, with padding) of little-endian float32 numbers,
    each finite. Several times faster to decode than the array."""

    model_version: ShortText | None = None
    """The version of the model that produced the vector. An event is refused if the baseline has a
    model version and this one differs."""

    event_id: ShortText | None = None
    """The producer's identifier of the event."""

    snippet: str | None = None
    """The beginning of the event's text. It is shown with examples, behind a login, where the stream's
    `snippet_bytes` says how much of it is kept; otherwise it is dropped."""

    segments: Annotated[dict[ShortText, ShortText], Field(max_length=MAX_SEGMENTS)] | None = None
    """The event's segments by key, such as country or device."""

    @model_validator(mode="after")
    def _one_embedding(self) -> Self:
        if (self.embedding is None) == (self.embedding_b64 is None):
            message = "exactly one of embedding and embedding_b64 is needed"
            raise ValueError(message)
        return self

    def packed_vector(self) -> bytes:
        """Return the vector as little-endian float32; numbers beyond float32 become infinite."""
        if self.embedding_b64 is not None:
            return a2b_base64(self.embedding_b64)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array(self.embedding, np.float64).astype("<f4").tobytes()


def read_json(raw: bytes) -> object:
    """Return the JSON value of a record.

    Raises:
        EventError: The record is not strict JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise EventError(Reason.UNDECODABLE, str(error)) from None


def validate_event(document: object) -> Event:
    """Return the event of a JSON value; this is the definition of a valid event.

    Raises:
        EventError: The value is not an event; the detail names the first fault and never quotes a value.
    """
    try:
        return Event.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        # Below a field's name only array indices are named, since a key is the producer's text.
        path = [str(part) for part in fault["loc"][:1]]
        path += [str(part) for part in fault["loc"][1:] if isinstance(part, int)]
        message = fault["msg"].removeprefix("Value error, ")
        if path[:1] == ["embedding"] and fault["type"] in _EXPECTED:
            message = f"{describe_kind(fault['input'])}, where {_EXPECTED[fault['type']]} expected"
        raise EventError(Reason.INVALID, f"{'.'.join(path) or 'event'}: {message}") from None
