"""Rows: well-formed events as readers hand them to the decoder, and what a baseline requires of them."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.contract import MAX_SEGMENTS, MAX_TEXT
from driftgauge.events.records import RawRecord
from driftgauge.events.vectors import VectorFormat

__all__ = [
    "NUMBERS",
    "RECORD_ID",
    "BaselineContract",
    "Events",
    "Reader",
    "RecordId",
    "Row",
    "Schedule",
    "default_id",
    "has_valid_options",
    "in_force",
    "may_hold_bool",
    "pack_list",
]


NUMBERS = frozenset((int, float))
"""The types of a decoded vector's numbers."""

# An id made of a long topic's name keeps its end, and has room for the number of a vector.
_LONGEST_ID = MAX_TEXT - 16


class RecordId:
    """The type of `RECORD_ID`."""


RECORD_ID: Final = RecordId()
"""Stands for the id of an event that has none of its own: `default_id`, made where it is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class BaselineContract:
    """The requirements of a baseline on the events of its stream while it is in force.

    Attributes:
        stream: The stream's name.
        baseline: The baseline's key.
        dimension: The length of a vector.
        model_version: The model's version; None if the baseline has none.
        metric: The distance metric; a zero vector has no direction under cosine.
        from_ms: The event time from which the baseline is in force; 0, the earliest event time, for a
            stream's first.
        size: Bytes of a float32 vector.
        base64_length: Characters of a float32 vector in base64.
        pack: Packs numbers into a vector; struct.error for other values, OverflowError beyond float32.
    """

    stream: str
    baseline: str
    dimension: int
    model_version: str | None
    metric: DistanceMetric
    from_ms: int = 0
    size: int = field(init=False)
    base64_length: int = field(init=False)
    pack: Callable[..., bytes] = field(init=False)

    def __post_init__(self) -> None:
        packing = struct.Struct(f"<{self.dimension}f")
        object.__setattr__(self, "size", packing.size)
        object.__setattr__(self, "base64_length", -(-packing.size // 3) * 4)
        object.__setattr__(self, "pack", packing.pack)


Schedule: TypeAlias = tuple[BaselineContract, ...]
"""The contracts of a stream's baselines, newest first."""

Row: TypeAlias = tuple[
    BaselineContract,
    VectorFormat,
    int,
    bytes | memoryview,
    str | RecordId | None,
    dict[str, str] | None,
]
"""A well-formed event: contract, format of the vector, event time in ms, vector, id, segments.

The decoder checks the values per batch, so the vector may hold non-finite numbers here.
"""


Events: TypeAlias = Row | list[Row] | None
"""The event of a record, or its events; None where the configuration filters the record out."""


class Reader(Protocol):
    """Reads the events of a topic's records."""

    def read_all(
        self, records: Sequence[RawRecord], schedules: Mapping[str, Schedule]
    ) -> Iterable[Row] | None:
        """Return the event of each record, faster than one by one; None unless all certainly are one."""

    def read(self, record: RawRecord, schedules: Mapping[str, Schedule]) -> Events:
        """Return the events of a record.

        Raises:
            EventError: The record is refused as a whole.
            SchemaPending: The record cannot be read yet.
        """


def default_id(record: RawRecord) -> str:
    """Return the id of a record's event where it has none of its own."""
    return f"{record.topic()}-{record.partition()}-{record.offset()}"[-_LONGEST_ID:]


def in_force(schedule: Schedule, time_ms: int) -> BaselineContract:
    """Return the contract of the baseline in force at an event time."""
    return next(contract for contract in schedule if contract.from_ms <= time_ms)


def has_valid_options(
    version: object, event_id: object, segments: object, expected: BaselineContract
) -> bool:
    """Return whether the optional fields are certainly valid.

    `type(x) is` rather than isinstance, which is slower and takes a bool for an int.
    """
    if version is not None and not (_is_short(version) and expected.model_version in (None, version)):
        return False
    if event_id is not None and not _is_short(event_id):
        return False
    if segments is None:
        return True
    if type(segments) is not dict or len(segments) > MAX_SEGMENTS:
        return False
    return all(map(_is_short, segments)) and all(map(_is_short, segments.values()))


def pack_list(numbers: list[object], expected: BaselineContract, *, may_be_bool: bool) -> bytes | None:
    """Return a vector of numbers as float32, None where it is not certainly one of the baseline's.

    Args:
        numbers: Any values.
        expected: The contract.
        may_be_bool: A value may be a bool, which struct takes for a number.
    """
    try:
        packed = expected.pack(*numbers)
    except (struct.error, OverflowError):
        return None
    return packed if not may_be_bool or NUMBERS.issuperset(map(type, numbers)) else None


def may_hold_bool(raw: bytes) -> bool:
    """Return whether an array in the JSON text can hold a bool, which struct takes for a number.

    Searching for single bytes costs a tenth of looking at the type of every number.
    """
    start, end = raw.find(b"["), raw.rfind(b"]")
    return raw.find(b"u", start, end) >= 0 or raw.find(b"l", start, end) >= 0  # true, false


def _is_short(value: object) -> bool:
    return type(value) is str and len(value) <= MAX_TEXT
