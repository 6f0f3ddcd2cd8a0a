"""The registry of statistics: the one list that counting, scoring, records, metrics and pages go over.

Read it as `registry.STATISTICS`, so that all see the same list.
"""

from collections.abc import Mapping
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.tally import Directions, TallyField
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.duplicates import DUPLICATES, HASH_COUNTS
from driftgauge.core.statistics.mean_shift import MEAN_SHIFT
from driftgauge.core.statistics.minor_shift import MINOR_SHIFT
from driftgauge.core.statistics.novelty import NOVELTY
from driftgauge.core.statistics.relations import RELATIONS
from driftgauge.core.statistics.spread import SPREAD
from driftgauge.core.statistics.statistic import Statistic

__all__ = ["STATISTICS", "counted", "fields_of", "fitted", "measure", "place", "tally_length", "total_weight"]

STATISTICS: tuple[Statistic[Any], ...] = (
    DIVERGENCE,
    MEAN_SHIFT,
    NOVELTY,
    SPREAD,
    DUPLICATES,
    RELATIONS,
    MINOR_SHIFT,
)
"""The statistics. The first counts the events of each cluster, which a tally begins with."""


def fitted(arrays: Mapping[str, Any]) -> tuple[Statistic[Any], ...]:
    """Return the statistics whose arrays a baseline has; it was fitted before the others were there."""
    return tuple(each for each in STATISTICS if each.arrays.keys() <= arrays.keys())


def counted(arrays: Mapping[str, Any]) -> tuple[Statistic[Any], ...]:
    """Return the statistics of a baseline with these arrays; the others are neither counted nor tested."""
    return tuple(each for each in fitted(arrays) if each.varies(arrays))


def fields_of(reference: Reference, segment: SegmentReference | None = None) -> tuple[TallyField, ...]:
    """Return the fields of a tally against a baseline: of all events, or of those of a segment."""
    lengths: dict[str | int, int] = {
        "h": _hash_bins(reference),
        "k": reference.centroids.clusters,
        "r": reference.components,
    }
    return tuple(
        TallyField(name, lengths[length] if isinstance(length, str) else length, each.in_segments)
        for each in counted(reference.arrays)
        if segment is None or each.in_segments
        for name, length in each.fields.items()
    )


def tally_length(reference: Reference) -> int:
    """Return the number of integers of a tally of all events."""
    return sum(each.length for each in fields_of(reference))


def place(reference: Reference, vectors: NDArray[np.float32], cluster: NDArray[np.intp]) -> MeasuredEvents:
    """Return n events relative to a baseline, by their vectors (n, d) and clusters (n,)."""
    return MeasuredEvents(
        vectors,
        cluster,
        reference.centroids,
        reference.radii,
        reference.projection,
        reference.cluster_means,
        _hash_bins(reference),
    )


def measure(reference: Reference, events: MeasuredEvents) -> list[NDArray[Any] | Directions]:
    """Return what n events add to each of these fields; see `tally_batch`."""
    return [added for each in counted(reference.arrays) for added in each.measure(events)]


def _hash_bins(reference: Reference) -> int:
    """Return the number of bins that events are hashed to: as many as the baseline has."""
    return len(reference.arrays.get(HASH_COUNTS, ()))


def total_weight() -> float:
    """Return the sum of all weights.

    If one test alone is significant, the combined p-value is its own times this over its weight.
    """
    return fsum(weight for each in STATISTICS for weight in each.weights)
