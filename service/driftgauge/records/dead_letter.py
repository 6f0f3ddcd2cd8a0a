"""A dead letter: a record that was refused, with headers that say why, and where it was read."""

from dataclasses import dataclass
from typing import Final

from driftgauge.events.records import RawRecord, StoredRecord

__all__ = ["FIRST_HEADER", "RefusedRecord", "read_letter"]

FIRST_HEADER: Final = "driftgauge.reason"
"""The first of the headers that are added."""

# Their names follow it.
_PREFIX = "driftgauge."
_ADDED = ("reason", "detail", "topic", "partition", "offset", "timestamp", "omitted", "stream")


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A rejected record, as its dead letter has it.

    Attributes:
        letter: The dead letter, whose key and value are the record's.
        headers: The record's own headers.
        reason, detail: Why it was rejected.
        topic, partition, offset: Where it was read; empty text if a header is missing.
        timestamp: The record's timestamp, ms; empty text if it had none.
        omitted: What the dead letter lacks of it; empty text for nothing.
        stream: Its stream; empty text if that is unknown.
    """

    letter: RawRecord
    headers: list[tuple[str, str | bytes | None]]
    reason: str
    detail: str
    topic: str
    partition: str
    offset: str
    timestamp: str
    omitted: str
    stream: str

    @property
    def is_whole(self) -> bool:
        """Whether the dead letter has all of it, and where it was read."""
        return not self.omitted and self.partition.isdecimal()

    @property
    def origin(self) -> str:
        """Where the record was read, in one text."""
        return f"{self.topic}[{self.partition}]@{self.offset}"

    @property
    def raw(self) -> RawRecord:
        """The record as a reader of its topic gets it."""
        return StoredRecord(
            self.letter.value(),
            self.topic,
            int(self.partition),
            self.letter.offset() or 0,
            self.letter.key(),
            self.headers,
            self.time_ms,
        )

    @property
    def time_ms(self) -> int:
        """The record's timestamp, or that of its dead letter if it had none, in ms."""
        return int(self.timestamp) if self.timestamp.isdecimal() else self.letter.timestamp()[1]


def read_letter(letter: RawRecord) -> RefusedRecord:
    """Return the record that a dead letter holds."""
    headers = [*(letter.headers() or [])]
    # A producer's own header may have the name of an added one, which stand last.
    names = [name for name, _ in headers]
    own = len(names) - 1 - names[::-1].index(FIRST_HEADER) if FIRST_HEADER in names else len(names)
    added = dict(headers[own:])
    # The client gives values as bytes.
    values = [bytes(added.get(_PREFIX + name) or b"") for name in _ADDED]
    texts = [value.decode(errors="replace") for value in values]
    return RefusedRecord(letter, headers[:own], *texts)
