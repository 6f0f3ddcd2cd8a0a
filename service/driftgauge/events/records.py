"""Raw records of a source: one by one as the source hands them over, and a batch of them as columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_TIMESTAMP", "Headers", "RawRecord", "Records", "StoredRecord", "credible_ms", "read_headers"]

Headers = Sequence[tuple[str, str | bytes | None]]

NO_TIMESTAMP = 0
"""The kind of a record's timestamp if it has none, as in confluent-kafka."""

_CREATE_TIME = 1


class RawRecord(Protocol):
    """A record as confluent-kafka's `Message` hands it over."""

    def value(self) -> bytes | None:
        """Return the value; None is a tombstone."""

    def key(self) -> bytes | None:
        """Return the key."""

    def headers(self) -> Any:
        """Return the headers in order, `Headers`, or None."""

    def timestamp(self) -> tuple[int, int]:
        """Return the timestamp's kind, 0 for none, and its milliseconds since the epoch."""

    def topic(self) -> str | None:
        """Return the topic."""

    def partition(self) -> int | None:
        """Return the index of the partition."""

    def offset(self) -> int | None:
        """Return the offset."""


FIRST_ORIGIN: Final = "driftgauge.first-origin"
"""The header of a requeued record: the place where it was first refused."""


def read_headers(record: RawRecord) -> Headers:
    """Return a record's headers; none if the client fails on a name that is not UTF-8."""
    try:
        return record.headers() or ()
    except SystemError:
        return ()


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record that was read from elsewhere than a broker, such as a file's line; see `RawRecord`."""

    stored_value: bytes | None
    stored_topic: str = ""
    stored_partition: int = 0
    stored_offset: int = 0
    stored_key: bytes | None = None
    stored_headers: Headers = ()
    stored_ms: int | None = None

    def value(self) -> bytes | None:
        """Return the value."""
        return self.stored_value

    def key(self) -> bytes | None:
        """Return the key."""
        return self.stored_key

    def headers(self) -> Headers:
        """Return the headers."""
        return self.stored_headers

    def timestamp(self) -> tuple[int, int]:
        """Return the timestamp's kind and milliseconds."""
        return (NO_TIMESTAMP, -1) if self.stored_ms is None else (_CREATE_TIME, self.stored_ms)

    def topic(self) -> str:
        """Return the topic."""
        return self.stored_topic

    def partition(self) -> int:
        """Return the partition."""
        return self.stored_partition

    def offset(self) -> int:
        """Return the offset."""
        return self.stored_offset


OLDEST_MS: Final = 10_000 * 86_400_000
"""No record is older than this, in ms: a time of 1970 is a number in another unit."""


@dataclass(frozen=True, slots=True)
class Records:
    """A batch of raw records; row i of every column is one record.

    Attributes:
        raw: n records, unchanged.
        partition: (n,) int32, the code of the record's partition.
        offset: (n,) int64, the offset of the record; increases within a partition.
        credible_ms: (n,) int64, the minimum of the record's time and the reader's clock, milliseconds UTC.
    """

    raw: Sequence[RawRecord]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    credible_ms: NDArray[np.int64]


def credible_ms(raw: Sequence[RawRecord], now_ms: int) -> NDArray[np.int64]:
    """Return up to which time each record's event times are credible, (n,) int64, milliseconds UTC.

    That is the earlier of the record's timestamp and the reader's clock, because a producer with a wrong
    clock may have set the timestamp. A timestamp of 1970 is a number in another unit, and says nothing.

    Args:
        raw: n records.
        now_ms: The reader's clock, milliseconds since the epoch.
    """
    stamps = [record.timestamp() for record in raw]
    times_ms = np.array([now_ms if kind == NO_TIMESTAMP else ms for kind, ms in stamps], dtype=np.int64)
    times_ms[times_ms < now_ms - OLDEST_MS] = now_ms
    return np.minimum(times_ms, now_ms, out=times_ms)
