"""Raw records of a source, as columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Records"]


@dataclass(frozen=True, slots=True)
class Records:
    """A batch of raw records, as columns; row i of every column is one record.

    Attributes:
        values: n values, unchanged; None is a tombstone.
        partition: (n,) int32, the partition of the record.
        offset: (n,) int64, the offset of the record; increases within a partition.
        credible_ms: (n,) int64, the minimum of the record's time and the reader's clock, milliseconds UTC.
    """

    values: Sequence[bytes | None]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    credible_ms: NDArray[np.int64]
