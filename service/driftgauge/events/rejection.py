"""Rejections: records that are not counted, with their reasons."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["EventError", "Reason", "Rejection", "SchemaPending", "overflow"]


class Reason(StrEnum):
    """The reasons of rejections, in order of precedence: a record with several faults gets the first.

    The values are label values of metrics and part of the dead letter's header.
    """

    TOO_LARGE = "too_large"
    """The value is larger than allowed, so nothing of it was read."""

    UNDECODABLE = "undecodable"
    """Not strict JSON (RFC 8259, UTF-8), or no value at all (a tombstone)."""

    INVALID = "invalid"
    """JSON, but not an event of the contract."""

    UNKNOWN_STREAM = "unknown_stream"
    """The event's stream is not configured."""

    WRONG_MODEL = "wrong_model"
    """The event's model version is not the one that the baseline was fitted on."""

    WRONG_DIMENSION = "wrong_dimension"
    """The vector's length is not the baseline's."""

    NON_FINITE = "non_finite"
    """The vector holds NaN, infinity or a number beyond float32."""

    ZERO_VECTOR = "zero_vector"
    """The vector is zero, which has no direction under the cosine metric."""

    FUTURE = "future"
    """The event time is further ahead of the record's time or of the reader's clock than allowed."""

    PAST = "past"
    """The event time is further behind the record's time than allowed."""

    FAULT = "fault"
    """Driftgauge's own code, or a library, fails on the record."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One record that is not counted.

    Attributes:
        row: The index of the record in its batch.
        reason: The reason, a label value.
        detail: The fault, for a human reader.
        stream: The record's stream if it is configured, so that labels never come from payloads; else None.
        gap_ms: By how much the record is later than its event; None unless the reason is future or past.
    """

    row: int
    reason: Reason
    detail: str
    stream: str | None
    gap_ms: int | None = None


def overflow(row: int, stream: str | None) -> Rejection:
    """Return the rejection of an event that decodes, but whose vector is too large for the arithmetic."""
    return Rejection(row, Reason.NON_FINITE, "no nearest centroid: its products overflow float32", stream)


class EventError(Exception):
    """One record breaks the contract; the decoder turns the error into a rejection.

    Attributes:
        reason: The reason, a label value.
        detail: The fault, for a human reader.
        stream: The stream that the record names, configured or not; None if it names none.
    """

    def __init__(self, reason: Reason, detail: str, stream: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.stream = stream


class SchemaPending(Exception):  # noqa: N818 - no error: the record is read again later
    """A record's schema is not known yet, because the schema registry has not answered."""
