"""What the core is given to count: the accepted events of one stream, as columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["EventBatch"]


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one stream that passed the contract; row i of every column is one event.

    Attributes:
        stream: The stream's name.
        row: (n,) intp, the event's place in the records it was decoded from.
        partition: (n,) int32, which of the source's partitions it came from.
        offset: (n,) int64, its place in that partition; grows within a partition.
        time_ms: (n,) int64, event time in milliseconds since the epoch, UTC.
        vectors: (n, d) float32, finite embeddings.
    """

    stream: str
    row: NDArray[np.intp]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.time_ms)
