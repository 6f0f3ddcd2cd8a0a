"""The ids of events, and their ranks among the examples of a cluster."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_ID_BYTES", "RecordIds", "rank_ids"]

MAX_ID_BYTES = 64
"""The longest id of an example in UTF-8, which bounds the state."""

_ENDS = 1_000
# What the last three digits of a number add to the CRC-32 of a text that ends with 000. A CRC is linear: of
# texts of one length, those of two ends differ in the same bits after any beginning.
_END_BITS = np.array([zlib.crc32(b"%03d" % end) ^ zlib.crc32(b"000") for end in range(_ENDS)], np.int64)


class RecordIds(Sequence[str]):
    """The ids of n events that have none of their own: their records' topic-partition-offset.

    An id is made when it is asked for, since few events become examples.
    """

    def __init__(
        self, prefixes: Mapping[int, str], partition: NDArray[np.int32], offset: NDArray[np.int64]
    ) -> None:
        """Name the events.

        Args:
            prefixes: The beginning of the ids of each partition, by its code.
            partition: (n,) int32, the codes of the records' partitions.
            offset: (n,) int64, their offsets, none negative.
        """
        self._prefixes, self._partition, self._offset = prefixes, partition, offset

    def __len__(self) -> int:
        return len(self._offset)

    def __getitem__(self, row: Any) -> Any:
        return f"{self._prefixes[int(self._partition[row])]}{self._offset[row]}"

    def filter(self, mask: NDArray[np.bool_]) -> "RecordIds":
        """Return the ids for which the (n,) mask is true."""
        return RecordIds(self._prefixes, self._partition[mask], self._offset[mask])

    def ranks(self) -> NDArray[np.int64]:
        """Return the ranks, (n,) int64, as `rank_ids` does; a run of a thousand offsets is one CRC."""
        thousands = self._offset // _ENDS
        differs = np.ones(len(thousands), np.bool_)
        differs[1:] = (np.diff(thousands) != 0) | (np.diff(self._partition) != 0)
        starts = np.flatnonzero(differs)
        runs = zip(self._partition[starts].tolist(), thousands[starts].tolist(), strict=True)
        bases = np.array([_rank(f"{self._prefixes[code]}{thousand}000") for code, thousand in runs], np.int64)
        ranks = np.repeat(bases, np.diff(np.append(starts, len(thousands)))) ^ _END_BITS[self._offset % _ENDS]
        # Smaller numbers have fewer digits.
        small = np.flatnonzero(thousands == 0)
        few = zip(self._partition[small].tolist(), self._offset[small].tolist(), strict=True)
        ranks[small] = [_rank(f"{self._prefixes[code]}{offset}") for code, offset in few]
        return ranks


def rank_ids(event_ids: Sequence[str | None]) -> NDArray[np.int64]:
    """Return the rank of n events, (n,) int64: the CRC-32 of the id in UTF-8.

    It is negative if an event can be no example: without an id that is printable and of at most 64 bytes.
    """
    if isinstance(event_ids, RecordIds):
        return event_ids.ranks()
    return np.array([_rank(event_id) for event_id in event_ids], np.int64)


def _rank(event_id: str | None) -> int:
    if not event_id or not event_id.isprintable():
        return -1
    encoded = event_id.encode()
    return zlib.crc32(encoded) if len(encoded) <= MAX_ID_BYTES else -1
