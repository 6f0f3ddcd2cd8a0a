"""The contract, version 1: the models of events and window results.

An event is strict JSON (RFC 8259, UTF-8 without byte order mark) as orjson parses it. Where the RFC leaves a
choice: the last of duplicate keys wins; a lone surrogate, a number beyond a double's range and nesting deeper
than 1,024 are refused. A number is parsed as a double and then rounded to float32. In optional fields null
means absent. Base64 is RFC 4648's standard alphabet with padding; unused bits in its last character are
ignored.

`schemas/` is generated from the two models (see `schema`).
"""

from binascii import a2b_base64
from typing import Annotated, Literal, Self

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

from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.timestamps import DATE_TIME, LAST_MS, read_timestamp

__all__ = [
    "MAX_SEGMENTS",
    "MAX_TEXT",
    "STREAM_NAME",
    "ClusterRecord",
    "DetectableRecord",
    "Event",
    "ExampleRecord",
    "MeanShiftRecord",
    "PartitionRecord",
    "SegmentRecord",
    "SlowDriftRecord",
    "WindowRecord",
    "read_json",
    "validate_event",
]

STREAM_NAME = r"[A-Za-z0-9._-]{1,128}"
"""A stream's name as a regular expression."""

MAX_TEXT = 256
"""The maximal number of characters of a short text."""

MAX_SEGMENTS = 16
"""The maximal number of segments of an event."""

# Whole 16-character blocks carry whole float32s; 6 characters carry 4 bytes, 11 carry 8.
_FLOATS_BASE64 = (
    r"(?:[A-Za-z0-9+/]{16})*"
    r"(?:[A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{11}=|[A-Za-z0-9+/]{6}==)"
)
_UTC_DATE_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z"

# In some regular expression dialects, Python's among them, $ also matches before a final newline.
_ONE_LINE: dict[str, object] = {"not": {"pattern": "\\n"}}

ShortText = Annotated[str, Field(max_length=MAX_TEXT)]
Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
VerdictName = Literal["ok", "warning", "drift", "insufficient", "incomplete"]
UtcDateTime = Annotated[str, Field(pattern=f"^{_UTC_DATE_TIME}$")]


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
        with np.errstate(over="ignore"):
            return np.array(self.embedding, np.float64).astype("<f4").tobytes()


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, use_attribute_docstrings=True)


class ClusterRecord(_Record):
    """One cluster of a window."""

    id: Count
    """The cluster's number in the baseline."""

    count: Count
    """Events of the window in this cluster."""

    share: Finite
    """The cluster's share of the window's events, 0 to 1."""

    baseline_share: Finite
    """The cluster's share of the baseline's events, 0 to 1."""

    js_contribution: Finite | None
    """The cluster's term of the divergence; all terms sum to it. Null if the window is not scored."""


class MeanShiftRecord(_Record):
    """The shift of the mean of a window's vectors along the baseline's leading components."""

    t2: Finite
    """Hotelling's T2 of the shift."""

    p_value: Finite
    """The probability, without drift, of a T2 at least as large."""

    excess: Finite
    """The size of the shift, independent of the count: its squared Mahalanobis length less the
    expectation without drift. Below 0 if the shift is smaller than noise."""

    centroid_distance: Finite
    """The Euclidean length of the shift, in the units of the vectors."""

    centroid_p_value: Finite
    """The probability, without drift, of a centroid distance at least as large."""

    components: tuple[Finite, ...]
    """Each component's share of the squared Mahalanobis length; the shares sum to 1."""


class DetectableRecord(_Record):
    """The least drift that four of five windows of this count find; null where they find none."""

    js_divergence: Finite | None
    """A change of the mix of clusters, as `js_divergence` without noise."""

    mean_shift: Finite | None
    """A shift of all events, as `excess` in the mean shift."""


class SlowDriftRecord(_Record):
    """Small evidence accumulated over windows."""

    statistic: Finite
    """The CUSUM of the windows' evidence, 0 or more."""

    limit: Finite
    """The value from which the statistic warns."""


class ExampleRecord(_Record):
    """Some events of a cluster."""

    cluster: Count
    """The cluster."""

    event_ids: tuple[str, ...]
    """The `event_id`s of the events."""


class SegmentRecord(_Record):
    """A window's events of one segment, compared with the baseline's; scores are null if not scored."""

    key: str
    """The segment's key, such as country."""

    value: str
    """The key's value for these events; other for all values without a segment."""

    count: Count
    """Events counted."""

    js_divergence: Finite | None
    """As in the window."""

    js_excess: Finite | None
    """As in the window."""

    mean_shift_excess: Finite | None
    """As `excess` in the window's mean shift."""

    p_value: Finite | None
    """As in the window, for this segment alone."""

    adjusted_p_value: Finite | None
    """The p-value adjusted for the number of segments (Benjamini-Hochberg)."""

    calibrated: bool | None
    """As in the window: whether the overdispersion of this segment's own events is known."""

    verdict: VerdictName
    """As in the window."""


class PartitionRecord(_Record):
    """A partition of an events topic."""

    topic: str
    """The topic."""

    partition: Count
    """The index of the partition."""


class WindowRecord(_Record):
    """The result of one window; a higher revision of the same stream, window and start replaces it."""

    stream: str
    """The embedding stream."""

    window: str
    """The window's length, such as 1h."""

    start: UtcDateTime
    """Event time at which the window starts, UTC, inclusive."""

    end: UtcDateTime
    """Event time at which the window ends, UTC, exclusive."""

    revision: Count
    """0 when the window closes; one higher each time its counts or other fields change."""

    count: Count
    """Events counted."""

    verdict: VerdictName
    """drift: two of the last three windows are significant and large. warning: only this window is, or there
    is slow drift. ok: no drift was found; `detectable` says how small a drift would have been. insufficient:
    too few events to be scored. incomplete: partitions are missing, or `incomplete_reason` names another
    fault of the counts."""

    js_divergence: Finite | None
    """Jensen-Shannon divergence from the baseline, base 2, 0 to 1; not the distance. Null if the window
    has too few events to be scored."""

    js_distance: Finite | None
    """The divergence's square root. Null if the window is not scored."""

    noise_floor: Finite | None
    """The expected divergence without drift, for this count. Null if the window is not scored."""

    js_excess: Finite | None
    """The divergence less the noise floor; below 0 if it is smaller than noise. Null if not scored."""

    js_p_value: Finite | None
    """The probability, without drift, of a divergence at least as large. Null if the window is not scored."""

    mean_shift: MeanShiftRecord | None
    """The shift of the mean. Null if the window is not scored."""

    p_value: Finite | None
    """The combined p-value of divergence and mean shift. Null if the window is not scored."""

    calibrated: bool | None
    """Whether the overdispersion by related events is measured. If it is guessed or unknown, p-values may be
    too small where events come in bursts. Null if the window is not scored."""

    novelty: Finite | None
    """The share of events further from their centroid than 99 % of the baseline's; about 0.01 without
    drift. Null if the window is not scored."""

    detectable: DetectableRecord | None
    """The least drift that a window of this count finds. Null if the window is not scored."""

    slow_drift: SlowDriftRecord | None
    """The slow drift up to this window. Null if the window is incomplete or not scored."""

    baseline: Annotated[str, Field(pattern="^sha256:[0-9a-f]+$")]
    """The identity of the baseline."""

    incomplete: tuple[PartitionRecord, ...]
    """The partitions that had not passed the window's end at publication; a higher revision follows when
    they have. Empty if none is missing."""

    incomplete_reason: str | None = None
    """Why the verdict is incomplete although `incomplete` names no partition: counted_twice, or
    counted_otherwise (under a baseline, pane length or segments other than those in force). Null otherwise.
    Later versions may add reasons."""

    events_lost: bool
    """Whether Kafka may have deleted events of the window before they were read."""

    counted_twice: bool = False
    """Whether events of the window may have been counted twice."""

    clusters: tuple[ClusterRecord, ...]
    """Every cluster of the baseline, by id."""

    movers: tuple[Count, ...]
    """The clusters with the largest contributions to the divergence, three at most, the largest first."""

    examples: tuple[ExampleRecord, ...]
    """Some events of the movers, if events have an `event_id`."""

    segments: tuple[SegmentRecord, ...]
    """Every configured segment."""


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
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # Below a field's name only array indices are named, since a key is the producer's text.
        path = [str(part) for part in fault["loc"][:1]]
        path += [str(part) for part in fault["loc"][1:] if isinstance(part, int)]
        message = fault["msg"].removeprefix("Value error, ")
        raise EventError(Reason.INVALID, f"{'.'.join(path) or 'event'}: {message}") from None
