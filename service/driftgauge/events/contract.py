"""The contract, version 1: the event that producers send and the record of a window's result.

An event is strict JSON (RFC 8259, UTF-8 without byte order mark) as orjson reads it. Where the
RFC leaves the choice, this is the choice: the last of duplicate keys wins, a lone surrogate, a
number beyond a double's range and nesting deeper than 1,024 are refused. A number is read as a
double and then rounded to float32. In optional fields null means absent. Base64 is RFC 4648's
standard alphabet with padding; left-over bits in its last character are not looked at.

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
"""The most characters of a short text."""

MAX_SEGMENTS = 16
"""The most segments of an event."""

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
    """One embedding that a model produced. Exactly one of embedding and embedding_b64 is given."""

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
    """The embedding stream it belongs to: one model's output at one place."""

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
    """When it happened: epoch milliseconds, written without fraction or exponent, or an RFC 3339
    date-time with offset; within the years 1970 to 9999. Digits below a millisecond are cut off."""

    embedding: Annotated[list[float], Field(min_length=1, fail_fast=True)] | None = None
    """The vector, as a flat array of numbers. Each is rounded to float32 and must stay finite:
    nothing beyond about 3.4e38."""

    embedding_b64: (
        Annotated[str, Field(pattern=f"^{_FLOATS_BASE64}$", json_schema_extra=_ONE_LINE)] | None
    ) = None
    """The vector, as base64 (standard alphabet, with padding) of little-endian float32 numbers,
    each finite. Several times cheaper to read than the array."""

    model_version: ShortText | None = None
    """The version of the model that made the vector. Where the baseline knows its own and this
    one differs, the event is kept out of the comparison."""

    event_id: ShortText | None = None
    """The producer's own name for the event."""

    segments: Annotated[dict[ShortText, ShortText], Field(max_length=MAX_SEGMENTS)] | None = None
    """What the event can be told apart by, such as country or device."""

    @model_validator(mode="after")
    def _one_embedding(self) -> Self:
        if (self.embedding is None) == (self.embedding_b64 is None):
            message = "exactly one of embedding and embedding_b64 is needed"
            raise ValueError(message)
        return self

    def packed_vector(self) -> bytes:
        """Return the vector as little-endian float32; infinite where float32 overflows."""
        if self.embedding_b64 is not None:
            return a2b_base64(self.embedding_b64)
        with np.errstate(over="ignore"):
            return np.array(self.embedding, np.float64).astype("<f4").tobytes()


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, use_attribute_docstrings=True)


class ClusterRecord(_Record):
    """One cluster's part in a window."""

    id: Count
    """The cluster, as the baseline numbers it."""

    count: Count
    """Events of the window in this cluster."""

    share: Finite
    """Its share of the window's events, 0 to 1."""

    baseline_share: Finite
    """Its share of the baseline's events, 0 to 1."""

    js_contribution: Finite | None
    """Its term of the divergence; the terms sum to it. Null if the window is not scored."""


class MeanShiftRecord(_Record):
    """How far the mean of a window's vectors has moved along the baseline's leading components."""

    t2: Finite
    """Hotelling's T2 of the shift."""

    p_value: Finite
    """How often, without drift, T2 is as large."""

    excess: Finite
    """The size of the shift, free of the count: its Mahalanobis length squared, less what is expected of
    it without drift. Below 0 where there is less than noise."""

    centroid_distance: Finite
    """The length of the shift, in the vectors' own units."""

    centroid_p_value: Finite
    """How often, without drift, that is as long."""

    components: tuple[Finite, ...]
    """Each component's share of the size; they sum to 1."""


class SlowDriftRecord(_Record):
    """Small evidence that builds up over windows."""

    statistic: Finite
    """The CUSUM of the windows' evidence, 0 or more."""

    limit: Finite
    """What it must reach to warn."""


class ExampleRecord(_Record):
    """Some events of a cluster."""

    cluster: Count
    """The cluster."""

    event_ids: tuple[str, ...]
    """Their `event_id`s."""


class SegmentRecord(_Record):
    """A window's events of one segment, compared with the baseline's of the same; null where not scored."""

    key: str
    """What tells the events apart, such as country."""

    value: str
    """Its value for these; other for all values without a segment."""

    count: Count
    """Events counted."""

    js_divergence: Finite | None
    """As of the window."""

    js_excess: Finite | None
    """As of the window."""

    mean_shift_excess: Finite | None
    """As `excess` of the window's mean shift."""

    p_value: Finite | None
    """As of the window, for this segment alone."""

    adjusted_p_value: Finite | None
    """The p-value adjusted for the number of segments (Benjamini-Hochberg)."""

    calibrated: bool | None
    """As of the window: whether the overdispersion of this segment's own events is known."""

    verdict: VerdictName
    """As of the window."""


class PartitionRecord(_Record):
    """A partition of an events topic."""

    topic: str
    """The topic."""

    partition: Count
    """The partition's index in it."""


class WindowRecord(_Record):
    """The result of one window; a higher revision of the same stream, window and start replaces it."""

    stream: str
    """The embedding stream."""

    window: str
    """The window's length, such as 1h."""

    start: UtcDateTime
    """Event time at which it starts, UTC, inclusive."""

    end: UtcDateTime
    """Event time at which it ends, UTC, exclusive."""

    revision: Count
    """0 when the window closed; one higher each time that its counts changed, or what else is said of it."""

    count: Count
    """Events counted."""

    verdict: VerdictName
    """What the window says. drift: significant and large, in two of the last three windows. warning: in
    this window alone so far, or slow drift. ok: none, and drift worth finding would have been found.
    insufficient: too few events to say so. incomplete: partitions are missing, or `incomplete_reason` says
    what else is wrong with the counts."""

    js_divergence: Finite | None
    """Jensen-Shannon divergence from the baseline, base 2, 0 to 1; the divergence, not the distance.
    Null if the window has too few events to be scored."""

    js_distance: Finite | None
    """The divergence's square root. Null if the window is not scored."""

    noise_floor: Finite | None
    """The divergence to expect without any drift, for this count. Null if the window is not scored."""

    js_excess: Finite | None
    """The divergence less the noise floor; below 0 where there is less than noise. Null if not scored."""

    js_p_value: Finite | None
    """How often, without drift, the divergence is as large. Null if the window is not scored."""

    mean_shift: MeanShiftRecord | None
    """The shift of the mean. Null if the window is not scored."""

    p_value: Finite | None
    """How often, without drift, divergence and mean shift together are as extreme. Null if not scored."""

    calibrated: bool | None
    """Whether the p-values know how related events are; if not it is guessed, or not known at all, and they
    may be too small where events come in bursts. Null if the window is not scored."""

    novelty: Finite | None
    """The share of events further from their centroid than 99 % of the baseline's; about 0.01 without
    drift. Null if the window is not scored."""

    slow_drift: SlowDriftRecord | None
    """What has built up over the windows up to this one. Null if the window is incomplete or not scored."""

    baseline: Annotated[str, Field(pattern="^sha256:[0-9a-f]+$")]
    """Identity of the baseline compared with."""

    incomplete: tuple[PartitionRecord, ...]
    """The partitions that had not passed the window's end when this was published; a higher revision
    follows when they have. Empty if none is missing."""

    incomplete_reason: str | None = None
    """Why the verdict is incomplete although `incomplete` names no partition: counted_twice, or
    counted_otherwise (under a baseline, pane length or segments other than those in force). Null otherwise;
    there may be further reasons in time."""

    events_lost: bool
    """Whether events of the window may have been lost, because their topic no longer kept them."""

    counted_twice: bool = False
    """Whether events of the window may have been counted twice."""

    clusters: tuple[ClusterRecord, ...]
    """Every cluster of the baseline, by id."""

    movers: tuple[Count, ...]
    """The clusters that contribute most to the divergence, three at most, the foremost first."""

    examples: tuple[ExampleRecord, ...]
    """Some events of these clusters, where events have an `event_id`."""

    segments: tuple[SegmentRecord, ...]
    """Every segment that is configured."""


def read_json(raw: bytes) -> object:
    """Return the JSON value of a record.

    Raises:
        EventError: It is not strict JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise EventError(Reason.UNDECODABLE, str(error)) from None


def validate_event(document: object) -> Event:
    """Return the event of a JSON value; the one judge of what an event is.

    Raises:
        EventError: It is not an event; the detail names the first fault and never quotes a value.
    """
    try:
        return Event.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # Below the field's own name only an array's index is ours; a key is the producer's text.
        place = [str(part) for part in fault["loc"][:1]]
        place += [str(part) for part in fault["loc"][1:] if isinstance(part, int)]
        message = fault["msg"].removeprefix("Value error, ")
        raise EventError(Reason.INVALID, f"{'.'.join(place) or 'event'}: {message}") from None
