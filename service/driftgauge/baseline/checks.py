"""Validation of the vectors that a baseline is fitted on."""

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.moments import blocks
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import BaselineError

__all__ = ["check_vectors", "named", "or_fewer"]

# Five vectors per cluster in each half, the usual minimum expectation for a chi-squared statistic.
VECTORS_PER_CLUSTER = 10

# Products and squares of larger values may not fit into float32.
MAX_VALUE = 1e15

# The most rows or clusters that a message names.
MAX_NAMED = 5


def check_vectors(vectors: NDArray[np.float32], clusters: int, metric: DistanceMetric) -> None:
    """Check that a baseline can be fitted on (n, d) float32 vectors.

    Raises:
        BaselineError: No baseline can be fitted; the message states the remedy.
    """
    if clusters < 2:  # noqa: PLR2004
        message = f"{clusters} clusters are too few to compare histograms; use --clusters 2 or more"
        raise BaselineError(message)
    needed = clusters * VECTORS_PER_CLUSTER
    if len(vectors) < needed:
        most = len(vectors) // VECTORS_PER_CLUSTER
        remedy = f"give more vectors, or use --clusters {most} or fewer" if most > 1 else "give more vectors"
        message = (
            f"{len(vectors):,} vectors are too few for {clusters} clusters, which need {needed:,}; {remedy}"
        )
        raise BaselineError(message)
    for rows in blocks(np.arange(len(vectors))):
        block = vectors[rows]
        # Comparisons with NaN are false, so this finds NaN and infinity as well.
        unusable = ~(np.abs(block) <= MAX_VALUE).all(axis=1)
        if unusable.any():
            message = (
                f"{named(rows[unusable], 'row')} hold NaN, infinity or values beyond {MAX_VALUE:g}; "
                f"remove these vectors or scale all of them"
            )
            raise BaselineError(message)
        zero = np.linalg.norm(block, axis=1) == 0
        if metric is DistanceMetric.COSINE and zero.any():
            message = (
                f"{named(rows[zero], 'row')} are of length zero in float32 and have no direction, which "
                f"the cosine metric compares; remove these vectors or use --metric euclidean"
            )
            raise BaselineError(message)
    if (vectors.max(axis=0) == vectors.min(axis=0)).all():
        message = f"all {len(vectors):,} vectors are the same; give the model's vectors of varied inputs"
        raise BaselineError(message)


def named(numbers: NDArray[np.intp], noun: str) -> str:
    """Return the noun and the first numbers, such as "rows 3, 7, 9 and 12 more"."""
    first = ", ".join(str(number) for number in numbers[:MAX_NAMED])
    more = f" and {len(numbers) - MAX_NAMED:,} more" if len(numbers) > MAX_NAMED else ""
    return f"{noun}s {first}{more}"


def or_fewer(clusters: int) -> str:
    """Return the remedy of at most this many clusters; empty for fewer than two."""
    return f", or use --clusters {clusters} or fewer" if clusters > 1 else ""
