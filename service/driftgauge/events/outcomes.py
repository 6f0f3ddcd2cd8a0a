"""What became of the offsets of a partition: records read, records lost unread, offsets without a record."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["RecordLoss", "RecordOutcome", "SkipPlace"]


class RecordOutcome(StrEnum):
    """What became of a record that was read."""

    ACCEPTED = "accepted"
    FILTERED = "filtered"
    REJECTED = "rejected"


class SkipPlace(StrEnum):
    """Where offsets without a record were passed.

    DELETED: Where Kafka deleted the records before they were read, or a truncated log lost them.
    START: Before the first record after the client was given a position. In a topic that has offsets without
        a record only there, the service itself may have passed over records.
    BETWEEN: Before any later record, where the client read without a break.
    """

    DELETED = "deleted"
    START = "start"
    BETWEEN = "between"


@dataclass(frozen=True, slots=True)
class RecordLoss:
    """A loss of records in one partition.

    Attributes:
        records: The number of offsets lost; at least one if the log was truncated.
        start: The offset of the first lost record; if the log was truncated, the committed offset.
        is_truncated: The log was truncated, so the offsets of the lost records are unknown.
    """

    records: int
    start: int
    is_truncated: bool = False

    @property
    def last(self) -> int:
        """The offset of the last lost record; only for a log that was not truncated."""
        return self.start + self.records - 1
