"""A columnar batch of the accepted events of one stream and baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.event_ids import RecordIds

__all__ = ["EventBatch"]


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Valid events of one stream and one baseline; row i of every column is one event.

    Attributes:
        stream: The stream's name.
        baseline: The key of the baseline that is in force at the events' times.
        row: (n,) intp, the event's index in the records from which the batch was decoded.
        partition: (n,) int32, the code of the event's source partition.
        offset: (n,) int64, its offset there; grows within a partition.
        time_ms: (n,) int64, event time in milliseconds since the epoch, UTC.
        credible_ms: (n,) int64, the credible event time, which moves the watermark: the least of event
            time, record time and the reader's clock.
        vectors: (n, d) float32, finite embeddings.
        event_ids: n event ids, None for an event without one; empty if no event has one.
        segments: n mappings of segment keys to values, None for an event without any; empty if no event
            has any.
        snippets: n texts, None for an event without one; empty if no event has one.
        numbers: (n,) float64 by name, the numbers that the stream names; NaN for an event without one.
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
    snippets: Sequence[str | None] = ()
    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time_ms)

    def filter(self, mask: NDArray[np.bool_]) -> "EventBatch":
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
            self.event_ids.filter(mask)
            if isinstance(self.event_ids, RecordIds)
            else list(compress(self.event_ids, mask)),
            list(compress(self.segments, mask)),
            list(compress(self.snippets, mask)),
            {name: values[mask] for name, values in self.numbers.items()},
        )
