"""The repetition of items among reference vectors: their hashes, and its overdispersion."""

import math

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.moments import blocks
from driftgauge.core.counting.hashing import HASH_BINS, hash_vectors
from driftgauge.core.statistics.duplicates import DuplicatesNull

__all__ = ["by_groups", "by_windows", "count_hashes", "hashes_of"]


def hashes_of(vectors: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the hashes of m rows of (n, d) float32 vectors, (m,)."""
    return np.concatenate([hash_vectors(vectors[block]) for block in blocks(rows)])


def count_hashes(hashes: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the number of m vectors of each hash, (128,) int64, from their hashes, (m,)."""
    return np.bincount(hashes, minlength=HASH_BINS).astype(np.int64)


def by_windows(numbers: NDArray[np.intp], hashes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return Pearson's X2 of the hashes of each window, over its mean at the rate of all vectors, (windows,).

    Args:
        numbers: (m,), the window of each vector, from 0 without gaps.
        hashes: (m,), its hash.
    """
    null = DuplicatesNull(count_hashes(hashes), 1.0, math.inf)
    counts = np.bincount(numbers * HASH_BINS + hashes, minlength=(int(numbers.max()) + 1) * HASH_BINS)
    return np.array([null.ratio(own) for own in counts.reshape(-1, HASH_BINS)])


def by_groups(groups: NDArray[np.intp], hashes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return Pearson's X2 of the hashes of each group times its size, over B - 1, (groups,) float64.

    The mean is the group's size where its vectors are different items.

    Args:
        groups: (m,), the group of each vector, from 0 without gaps.
        hashes: (m,), its hash.
    """
    pairs, counts = np.unique(groups * HASH_BINS + hashes, return_counts=True)
    squares = np.bincount(pairs // HASH_BINS, weights=np.square(counts))
    return (HASH_BINS * squares - np.square(np.bincount(groups))) / (HASH_BINS - 1)
