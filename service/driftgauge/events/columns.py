"""Columns: the events of a batch of records, and what became of its other records."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from driftgauge.config.inputs import MAX_TEXT
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, SchemaPending
from driftgauge.events.vectors import VectorFormat

__all__ = ["RECORD_ID", "Columns", "RecordId", "default_id"]

# An id made of a long topic's name keeps its end, and has room for the number of a vector.
_LONGEST_ID = MAX_TEXT - 16


class RecordId:
    """The type of `RECORD_ID`."""


RECORD_ID: Final = RecordId()
"""Stands for the id of an event that has none of its own: `default_id`, made when it is asked for."""


def default_id(record: RawRecord) -> str:
    """Return the id of a record's event if it has none of its own."""
    return f"{record.topic()}-{record.partition()}-{record.offset()}"[-_LONGEST_ID:]


@dataclass(slots=True)
class Columns:
    """The events of a batch of records: entry i of each list but the last three is one event.

    Attributes:
        row: The index of the event's record in the batch; never falls.
        stream: The stream's name.
        time_ms: The event time, milliseconds since the epoch.
        vector: Its numbers, which need not be finite; there is one at least.
        number: Their format.
        event_id: The id; None without one.
        model_version: The model's version; None without one.
        segments: The segments by key; None without any.
        snippet: The event's text; None without one.
        numbers: The values by the names of numbers; anything else than a mapping without any.
        filtered: The rows of the records that the configuration filters out.
        refused: The rows of the records that are refused as a whole, each with why.
        pending: The rows of the records that cannot be read yet.
    """

    row: list[int] = field(default_factory=list)
    stream: list[str] = field(default_factory=list)
    time_ms: list[int] = field(default_factory=list)
    vector: list[bytes | memoryview] = field(default_factory=list)
    number: list[VectorFormat] = field(default_factory=list)
    event_id: list[str | RecordId | None] = field(default_factory=list)
    model_version: list[str | None] = field(default_factory=list)
    segments: list[dict[str, str] | None] = field(default_factory=list)
    snippet: list[str | None] = field(default_factory=list)
    numbers: list[object] = field(default_factory=list)
    filtered: list[int] = field(default_factory=list)
    refused: list[tuple[int, Exception]] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.row)

    def add(self, events: Mapping[str, Iterable[Any]]) -> None:
        """Add n events, given n entries of each column by its name; none of none."""
        for name, entries in events.items():
            getattr(self, name).extend(entries)

    def refuse(self, row: int, fault: Exception) -> None:
        """Add a record that is refused, or that cannot be read yet."""
        if isinstance(fault, SchemaPending):
            self.pending.append(row)
            return
        if isinstance(fault, EventError):
            # The traceback of the first would hold all values of the batch, in a cycle with these columns.
            fault = EventError(fault.reason, fault.detail, fault.stream)
        self.refused.append((row, fault))

    def take(self, entries: Sequence[int]) -> "Columns":
        """Return the events of some entries, in this order, beside the other records."""
        columns = {name: getattr(self, name) for name in _OF_EVENTS}
        return replace(self, **{name: [column[i] for i in entries] for name, column in columns.items()})

    def dimensions(self) -> list[int]:
        """Return the number of numbers of each event's vector."""
        return [
            len(vector) if type(vector) is memoryview else len(vector) // number.size
            for vector, number in zip(self.vector, self.number, strict=True)
        ]


_OF_EVENTS = tuple(each.name for each in fields(Columns))[:-3]
