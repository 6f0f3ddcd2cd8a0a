"""What is read from a source of vectors, and its collection in one growing matrix."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.metadata import MAX_CLUSTER_NAME
from driftgauge.events.vectors import F32, VectorFormat

__all__ = ["TABLE_SUFFIXES", "Collector", "NameColumn", "TableColumns", "VectorSet", "shorten"]

TABLE_SUFFIXES = (".parquet", ".arrow", ".feather", ".ipc")
"""The suffixes of the names of Parquet and Arrow files."""

# The beginning of a text that is kept: as ASCII it takes as much memory as 100 numbers of its vector.
MAX_CHARACTERS = 400

_ELLIPSIS = "…"

# The matrix grows by this share, and by this many rows at least. NumPy writes zeros into new rows, so rows
# that stay unused take memory.
GROWTH = 1 / 16
LEAST_GROWTH = 1_024


@dataclass(frozen=True, slots=True)
class NameColumn:
    """The column that clusters are named by.

    Attributes:
        column: The name of a column, or of an array of a .npz file; of events, see `EventNames`.
        holds_texts: Whether it holds texts; otherwise labels.
    """

    column: str
    holds_texts: bool

    @property
    def option(self) -> str:
        """The option that names the column, for messages."""
        return "--text" if self.holds_texts else "--label"


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns of a table that are read; of a .npz file the last two.

    Attributes:
        vector: The vectors; None takes the only column that can hold vectors.
        number: The format of numbers in a column of bytes.
        time: The event times; None reads none.
        time_unit: The unit of times that are whole numbers.
        assume_utc: Times without an offset are in UTC; else they are refused.
        segments: The segment keys, which are the names of columns.
        name: The labels or texts that clusters are named by; None reads none.
        event_id: The event ids; None reads none.
        numbers: The numbers beside the vectors, which are the names of columns.
    """

    vector: str | None = None
    number: VectorFormat = F32
    time: str | None = None
    time_unit: Literal["s", "ms", "us", "ns"] = "ms"
    assume_utc: bool = False
    segments: tuple[str, ...] = ()
    name: NameColumn | None = None
    event_id: str | None = None
    numbers: tuple[str, ...] = ()


def shorten(text: str, most: int) -> str:
    """Return a text of at most this many bytes of UTF-8; an ellipsis ends a longer one."""
    content = text.encode()
    if len(content) <= most:
        return text
    return f"{content[: most - len(_ELLIPSIS.encode())].decode(errors='ignore').rstrip()}{_ELLIPSIS}"


@dataclass(frozen=True, slots=True)
class VectorSet:
    """The vectors of a source, row i of every column one vector.

    Attributes:
        vectors: (n, d) float32, finite; n and d at least 1.
        times_ms: (n,) int64, event times in milliseconds since the epoch; None if the source has none.
        model_version: The version of the embedding model, if the source or the caller names one.
        segments: n mappings, the segment keys and values of each event; None if the source has no events.
        labels: n labels, None for a vector without one; None if no column of labels was asked for.
        texts: The beginnings of n texts, likewise.
        event_ids: n event ids, None for a vector without one; None if no vector has one.
        numbers: (n,) float64 by name, the numbers beside the vectors; NaN if one is missing.
    """

    vectors: NDArray[np.float32]
    times_ms: NDArray[np.int64] | None
    model_version: str | None
    segments: tuple[Mapping[str, str], ...] | None
    labels: Sequence[str | None] | None = None
    texts: Sequence[str | None] | None = None
    event_ids: Sequence[str | None] | None = None
    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class Collector:
    """Collects vectors of one length in a matrix that is never copied.

    If the number of vectors is known, the matrix is allocated once. Otherwise it grows in place: for
    blocks of this size the C library moves pages, and not their contents.
    """

    def __init__(
        self,
        dimension: int,
        capacity: int = 0,
        keys: Collection[str] | None = None,
        name: NameColumn | None = None,
    ) -> None:
        """Create an empty collection.

        Args:
            dimension: d.
            capacity: The number of vectors, if it is known. Memory is taken as the rows are written.
            keys: The segment keys to keep; None keeps all.
            name: The column of labels or texts; None without one.
        """
        self._matrix = np.empty((capacity, dimension), np.float32)
        self._times_ms: list[NDArray[np.int64]] = []
        self._keys = keys
        self._segments: list[Mapping[str, str]] = []
        # Events share the mapping of their values: a million mappings of their own would take 200 MB.
        self._shared: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
        self._labels: list[str | None] | None = None if name is None or name.holds_texts else []
        self._texts: list[str | None] | None = [] if name is not None and name.holds_texts else None
        self._names: dict[str, str] = {}
        self._event_ids: list[str | None] = []
        self._numbers: dict[str, list[NDArray[np.float64]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def dimension(self) -> int:
        """The length of a vector, d."""
        return self._matrix.shape[1]

    def add(
        self,
        vectors: NDArray[np.float32],
        times_ms: NDArray[np.int64] | None = None,
        segments: Sequence[Mapping[str, str] | None] | None = None,
        names: Sequence[str | None] | None = None,
        event_ids: Sequence[str | None] | None = None,
        numbers: Mapping[str, NDArray[np.float64]] = MappingProxyType({}),
    ) -> None:
        """Append n vectors.

        Args:
            vectors: (n, d) float32.
            times_ms: (n,) int64, milliseconds since the epoch; for all additions, or for none.
            segments: n mappings; for all additions, or for none.
            names: n labels, of which 80 bytes each are kept, or texts, of which 400 characters are; for all
                additions of a collection with a column of them.
            event_ids: n event ids; for all additions, or for none.
            numbers: (n,) float64 by name, the same names in all additions.
        """
        end = self._count + len(vectors)
        if end > len(self._matrix):
            rows = max(end, int(end * (1 + GROWTH)), len(self._matrix) + LEAST_GROWTH)
            # No view of the matrix exists before `finish`.
            self._matrix.resize((rows, self.dimension), refcheck=False)
        self._matrix[self._count : end] = vectors
        self._count = end
        if times_ms is not None:
            self._times_ms.append(times_ms)
        if segments is not None:
            self._segments += [self._share(labels or {}) for labels in segments]
        if self._labels is not None and names is not None:
            # Vectors share their labels, as they share mappings.
            short = [name and shorten(name, MAX_CLUSTER_NAME) for name in names]
            self._labels += [name and self._names.setdefault(name, name) for name in short]
        if self._texts is not None and names is not None:
            self._texts += [name and name[:MAX_CHARACTERS] for name in names]
        if event_ids is not None:
            self._event_ids += event_ids
        for name, values in numbers.items():
            self._numbers.setdefault(name, []).append(values)

    def finish(self, model_version: str | None) -> VectorSet:
        """Return all vectors; the collector cannot be used afterwards."""
        self._matrix.resize((self._count, self.dimension), refcheck=False)
        times_ms = np.concatenate(self._times_ms) if self._times_ms else None
        segments = tuple(self._segments) if self._segments else None
        event_ids = self._event_ids if any(self._event_ids) else None
        numbers = {name: np.concatenate(parts) for name, parts in self._numbers.items()}
        return VectorSet(
            self._matrix, times_ms, model_version, segments, self._labels, self._texts, event_ids, numbers
        )

    def _share(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        items = tuple(item for item in labels.items() if self._keys is None or item[0] in self._keys)
        return self._shared.setdefault(items, dict(items))
