"""Records of a source partition that were lost before they were read."""

from dataclasses import dataclass

__all__ = ["RecordLoss"]


@dataclass(frozen=True, slots=True)
class RecordLoss:
    """A loss of records in one partition.

    Attributes:
        records: The number of offsets lost; at least one where the log was truncated.
        start: The offset of the first lost record; where the log was truncated, the committed offset.
        is_truncated: The log was truncated, so the offsets of the lost records are unknown.
    """

    records: int
    start: int
    is_truncated: bool = False

    @property
    def last(self) -> int:
        """The offset of the last lost record; only for a log that was not truncated."""
        return self.start + self.records - 1
