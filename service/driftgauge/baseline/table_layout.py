"""Which columns of a table, or arrays of a .npz file, are read, and how."""

from dataclasses import dataclass
from typing import Literal

from driftgauge.baseline.collecting import NameColumn
from driftgauge.events.vectors import F32, VectorFormat

__all__ = ["TABLE_SUFFIXES", "TableColumns"]

TABLE_SUFFIXES = (".parquet", ".arrow", ".feather", ".ipc")
"""The suffixes of the names of Parquet and Arrow files."""


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns of a table that are read; of a .npz file the last two.

    Attributes:
        vector: The vectors; None takes the only column that can hold vectors.
        number: The format of numbers in a column of bytes.
        time: The event times; None reads none.
        time_unit: The unit of times that are whole numbers.
        segments: The segment keys, which are the names of columns.
        name: The labels or texts that clusters are named by; None reads none.
        event_id: The event ids; None reads none.
    """

    vector: str | None = None
    number: VectorFormat = F32
    time: str | None = None
    time_unit: Literal["s", "ms", "us", "ns"] = "ms"
    segments: tuple[str, ...] = ()
    name: NameColumn | None = None
    event_id: str | None = None
