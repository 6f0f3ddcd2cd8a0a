"""The hash of a vector: by its bits, or by its signs, so that near-duplicates share a bin too.

The same for the same item in any batch and on any machine.
"""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["HASH_BINS", "SIGN_BINS", "bins_of", "hash_signs", "hash_vectors"]

_HASH_BITS = 7
HASH_BINS = 1 << _HASH_BITS
"""The number of bins by bits."""
_SIGNS = 11
SIGN_BINS = 1 << _SIGNS
"""The number of bins by signs."""

_WORD_BITS = 32
# The multipliers are part of what a baseline says, so they never change.
_SEED = b"driftgauge: hash of a vector, version 1"


def hash_vectors(vectors: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the bins of (n, d) float32 vectors, (n,) from 0 to 127, by their bits.

    The multilinear hash: the sum of the vector's 16-bit halves, each times a fixed 32-bit multiplier, modulo
    2^32, of which the leading bits are the bin. Over random multipliers any two vectors that differ in a bit
    fall in any two bins with the same probability: numbers of 16 bits leave the leading 17 of 32 so.

    Source: D. Lemire and O. Kaser, Strongly universal string hashing is fast, The Computer Journal 57(11),
    2014.
    """
    halves = np.ascontiguousarray(vectors, dtype="<f4").view("<u2")
    # Products and sums of 32 bits wrap around, so they are exact in any order.
    sums: NDArray[np.uint32] = np.einsum("nd,d->n", halves, _multipliers(halves.shape[1]))
    return (sums >> np.uint32(_WORD_BITS - _HASH_BITS)).astype(np.intp)


def hash_signs(standardized: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return the bins of n vectors by standardized coordinates, (n, r), from 0 to 2,047: see `bins_of`.

    The signs of the last eleven coordinates, or of as many as there are. Near-duplicates differ in few of
    them, and classes of events differ in the leading ones.
    """
    signs = standardized[:, -_SIGNS:] > 0
    return (signs @ (1 << np.arange(signs.shape[1]))).astype(np.uint16)


def bins_of(hashes: NDArray[Any]) -> int:
    """Return the number of bins of hashes by their type: only those by signs are uint16."""
    return SIGN_BINS if hashes.dtype == np.uint16 else HASH_BINS


@lru_cache(maxsize=64)
def _multipliers(count: int) -> NDArray[np.uint32]:
    """Return the first multipliers, (count,) uint32."""
    stream = hashlib.shake_128(_SEED).digest(4 * count)
    return np.frombuffer(stream, "<u4").astype(np.uint32)
