"""Why a record is not counted."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["EventError", "Reason", "Rejection"]


class Reason(StrEnum):
    """The reasons, in order of precedence: a record with several faults gets the first.

    The values are label values of metrics and go into the dead letter's header.
    """

    UNDECODABLE = "undecodable"
    """Not strict JSON (RFC 8259, UTF-8), or no value at all (a tombstone)."""

    INVALID = "invalid"
    """JSON, but not an event of the contract."""

    UNKNOWN_STREAM = "unknown_stream"
    """Its stream is not configured."""

    WRONG_MODEL = "wrong_model"
    """It names another model version than the one the baseline was fitted on."""

    WRONG_DIMENSION = "wrong_dimension"
    """Its vector is not as long as the baseline's."""

    NON_FINITE = "non_finite"
    """Its vector holds NaN or infinity, or a number that float32 cannot."""

    ZERO_VECTOR = "zero_vector"
    """Its vector has no direction, under the cosine metric."""

    FUTURE = "future"
    """Its event time is further ahead of its record or of the reader's clock than is allowed."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One record that is not counted.

    Attributes:
        row: The record's place in the batch it came in.
        reason: Why, as a label value.
        detail: Why, for a human reader.
        stream: The record's stream if it is a configured one: labels never come from payloads.
    """

    row: int
    reason: Reason
    detail: str
    stream: str | None


class EventError(Exception):
    """One record breaks the contract; whoever reads events turns it into a rejection.

    Attributes:
        reason: Why, as a label value.
        detail: Why, for a human reader.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
