"""What the core is given to count: the accepted events of one stream, as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

__all__ = ["EventBatch"]


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one stream and one baseline that passed the contract; row i of every column is one event.

    Attributes:
        stream: The stream's name.
        baseline: The key of the baseline that is in force at the events' times.
        row: (n,) intp, the event's place in the records it was decoded from.
        partition: (n,) int32, which of the source's partitions it came from.
        offset: (n,) int64, its place in that partition; grows within a partition.
        time_ms: (n,) int64, event time in milliseconds since the epoch, UTC.
        credible_ms: (n,) int64, as far as the event moves the watermark: the least of its time, its
            record's time and the reader's clock.
        vectors: (n, d) float32, finite embeddings.
        event_ids: n names that the producer gave the events, None for an event without; empty where
            no event has one.
        segments: n mappings of what the events can be told apart by, None for an event without; empty
            where no event has any.
    """

    stream: str
    baseline: str
    row: NDArray[np.intp]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    credible_ms: NDArray[np.int64]
    vectors: NDArray[np.float32]
    event_ids: Sequence[str | None] = ()
    segments: Sequence[Mapping[str, str] | None] = ()

    def __len__(self) -> int:
        return len(self.time_ms)

    def only(self, mask: NDArray[np.bool_]) -> "EventBatch":
        """Return the events for which the (n,) mask is true."""
        return EventBatch(
            self.stream,
            self.baseline,
            self.row[mask],
            self.partition[mask],
            self.offset[mask],
            self.time_ms[mask],
            self.credible_ms[mask],
            self.vectors[mask],
            list(compress(self.event_ids, mask)),
            list(compress(self.segments, mask)),
        )
